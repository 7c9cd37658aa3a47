#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/http.h"

static enum sw_http_result nothing(struct sw_http_exchange *x) {
    return SW_HTTP_DONE;
}

static const struct sw_route routes[] = {
    {.method = SW_HTTP_GET, .path = "/", .handler = nothing, .index = 0},
    {.method = SW_HTTP_GET, .path = "/v2", .handler = nothing, .index = 1},
    {.method = SW_HTTP_GET, .path = "/v2/models/{model}", .handler = nothing, .index = 2},
    {.method = SW_HTTP_POST, .path = "/v2/models/{model}/infer", .handler = nothing, .index = 3},
    {.method = SW_HTTP_GET, .path = "/v2/models/stats", .handler = nothing, .index = 4},
    {.method = SW_HTTP_POST, .path = "/v1/models/{model}:predict", .handler = nothing, .index = 5},
    {.method = SW_HTTP_POST, .path = "/v1/models/{model}/versions/{version}:predict", .handler = nothing, .index = 6},
    {.method = SW_HTTP_GET, .path = "/v1/models/{model}", .handler = nothing, .index = 7},
    {.method = SW_HTTP_DELETE, .path = "/v1/models/{model}", .handler = nothing, .index = 8},
    {.method = SW_HTTP_GET, .path = "/a/b/c", .handler = nothing, .index = 9},
    {.method = SW_HTTP_GET, .path = "/a/{x}/d", .handler = nothing, .index = 10},
    {.method = SW_HTTP_POST, .path = "/a/{x}/c", .handler = nothing, .index = 11},
    {.method = SW_HTTP_GET, .path = "/f/{m}/files", .handler = nothing, .index = 12},
    {.method = SW_HTTP_GET, .path = "/f/{m}/files/{path*}", .handler = nothing, .index = 13},
    {.method = SW_HTTP_GET, .path = "/f/{m}/files/literal", .handler = nothing, .index = 14},
    {.method = SW_HTTP_POST, .path = "/f/{m}/files/{one}", .handler = nothing, .index = 15},
    {.method = SW_HTTP_POST, .path = "/f/{m}/files/{one}:copy", .handler = nothing, .index = 16},
    {.method = SW_HTTP_PUT, .path = "/f/{m}/files/{one}/{two}/{three}", .handler = nothing, .index = 17},
    {.method = SW_HTTP_DELETE, .path = "/f/{m}/files/{path*}", .handler = nothing, .index = 18},
};

static struct sw_router *router;
static struct sw_arena arena;
static struct sw_str params[SW_HTTP_PARAMS_MAX];
static unsigned allowed;

static int start(void **state) {
    router = sw_router_create(routes, SW_COUNTOF(routes));
    sw_arena_init(&arena, 0, 0);
    return 0;
}

static int stop(void **state) {
    sw_router_destroy(router);
    sw_arena_deinit(&arena);
    return 0;
}

/* Index of the route, or -1. */
static int match(enum sw_http_method method, const char *path) {
    memset(params, 0, sizeof params);
    allowed = 12345;
    const struct sw_route *route = sw_router_match(router, method, sw_str_of(path), &arena, params, &allowed);
    return route ? route->index : -1;
}

static void literals(void **state) {
    assert_int_equal(match(SW_HTTP_GET, "/"), 0);
    assert_int_equal(match(SW_HTTP_GET, "/v2"), 1);
    assert_int_equal(match(SW_HTTP_GET, "/a/b/c"), 9);
    const char *const unknown[] = {
        "",        "v2",    "//", "/v2/",  "/v",       "/v22",       "/V2",         "/a/b",
        "/a/b/c/", "/a//c", "*",  "/./v2", "/a/../v2", "/v2/models", "/v2/models/", "/v2/models//infer"};
    for (size_t i = 0; i < SW_COUNTOF(unknown); i++) {
        assert_int_equal(match(SW_HTTP_GET, unknown[i]), -1);
        assert_int_equal(allowed, 0);
    }
}

static void parameters(void **state) {
    assert_int_equal(match(SW_HTTP_GET, "/v2/models/digits"), 2);
    assert_true(sw_str_is(params[0], "digits"));
    assert_int_equal(match(SW_HTTP_POST, "/v2/models/.../infer"), 3);
    assert_true(sw_str_is(params[0], "..."));
    assert_int_equal(match(SW_HTTP_POST, "/v1/models/m/versions/12:predict"), 6);
    assert_true(sw_str_is(params[0], "m"));
    assert_true(sw_str_is(params[1], "12"));
}

static void literal_wins_over_parameter(void **state) {
    assert_int_equal(match(SW_HTTP_GET, "/v2/models/stats"), 4);
    assert_int_equal(match(SW_HTTP_GET, "/v2/models/stat"), 2);
}

static void falls_back_from_literal_to_parameter(void **state) {
    assert_int_equal(match(SW_HTTP_GET, "/a/b/d"), 10);
    assert_true(sw_str_is(params[0], "b"));
    assert_int_equal(match(SW_HTTP_POST, "/a/b/c"), 11); /* the literal branch has only GET */
}

static void verbs(void **state) {
    assert_int_equal(match(SW_HTTP_POST, "/v1/models/m:predict"), 5);
    assert_true(sw_str_is(params[0], "m"));
    assert_int_equal(match(SW_HTTP_POST, "/v1/models/a:predict:predict"), 5);
    assert_true(sw_str_is(params[0], "a:predict"));
    /* No name before the verb: then it is no verb, and as a name it has GET and DELETE. */
    assert_int_equal(match(SW_HTTP_POST, "/v1/models/:predict"), -1);
    assert_int_equal(allowed, 1u << SW_HTTP_GET | 1u << SW_HTTP_HEAD | 1u << SW_HTTP_DELETE);
    assert_int_equal(match(SW_HTTP_GET, "/v1/models/m:other"), 7);
    assert_true(sw_str_is(params[0], "m:other"));
    /* A verb with a wrong method is no name. */
    assert_int_equal(match(SW_HTTP_GET, "/v1/models/m:predict"), -1);
    assert_int_equal(allowed, 1u << SW_HTTP_POST);
    assert_int_equal(match(SW_HTTP_DELETE, "/v1/models/m:predict"), -1);
    assert_int_equal(allowed, 1u << SW_HTTP_POST);
}

static void methods(void **state) {
    assert_int_equal(match(SW_HTTP_HEAD, "/v2"), 1);
    assert_int_equal(match(SW_HTTP_POST, "/v2"), -1);
    assert_int_equal(allowed, 1u << SW_HTTP_GET | 1u << SW_HTTP_HEAD);
    assert_int_equal(match(SW_HTTP_OTHER, "/v2/models/m/infer"), -1);
    assert_int_equal(allowed, 1u << SW_HTTP_POST);
    assert_int_equal(match(SW_HTTP_HEAD, "/v2/models/m/infer"), -1);
    assert_int_equal(allowed, 1u << SW_HTTP_POST);
}

static void the_rest_of_a_path(void **state) {
    assert_int_equal(match(SW_HTTP_GET, "/f/m/files/a"), 13);
    assert_true(sw_str_is(params[0], "m"));
    assert_true(sw_str_is(params[1], "a"));
    assert_int_equal(match(SW_HTTP_GET, "/f/m/files/a/b.onnx/c"), 13);
    assert_true(sw_str_is(params[1], "a/b.onnx/c"));
    assert_int_equal(match(SW_HTTP_HEAD, "/f/m/files/a/b"), 13);
    assert_int_equal(match(SW_HTTP_DELETE, "/f/m/files/a/b"), 18);
    assert_int_equal(match(SW_HTTP_GET, "/f/m/files"), 12); /* no rest at all */
    assert_int_equal(match(SW_HTTP_GET, "/f/m/files/"), -1);
    assert_int_equal(allowed, 0);
    /* Kept as it is: what a path may hold is the handler's matter. */
    assert_int_equal(match(SW_HTTP_GET, "/f/m/files//"), 13);
    assert_true(sw_str_is(params[1], "/"));
    assert_int_equal(match(SW_HTTP_GET, "/f/m/files/../x/"), 13);
    assert_true(sw_str_is(params[1], "../x/"));
    assert_int_equal(match(SW_HTTP_GET, "/f/m%2Fn/files/a%2Fb/%63"), 13); /* decoded as a whole */
    assert_true(sw_str_is(params[0], "m/n"));
    assert_true(sw_str_is(params[1], "a/b/c"));
    assert_int_equal(match(SW_HTTP_GET, "/f/m/files/a/%00"), -1);
    assert_int_equal(allowed, 0);
    assert_int_equal(match(SW_HTTP_PATCH, "/f/m/files/a/b"), -1);
    assert_int_equal(allowed, 1u << SW_HTTP_GET | 1u << SW_HTTP_HEAD | 1u << SW_HTTP_DELETE);
}

static void the_rest_comes_last(void **state) {
    assert_int_equal(match(SW_HTTP_GET, "/f/m/files/literal"), 14);
    assert_int_equal(match(SW_HTTP_GET, "/f/m/files/literal/x"), 13);
    assert_true(sw_str_is(params[1], "literal/x"));
    assert_int_equal(match(SW_HTTP_DELETE, "/f/m/files/literal"), 18); /* the literal has no DELETE */
    assert_true(sw_str_is(params[1], "literal"));
    assert_int_equal(match(SW_HTTP_POST, "/f/m/files/x"), 15);
    assert_true(sw_str_is(params[1], "x"));
    assert_int_equal(match(SW_HTTP_GET, "/f/m/files/x"), 13); /* the plain parameter has only POST */
    assert_int_equal(match(SW_HTTP_PUT, "/f/m/files/a/b/c"), 17);
    assert_true(sw_str_is(params[3], "c"));
    assert_int_equal(match(SW_HTTP_GET, "/f/m/files/a/b/c"), 13);
    assert_true(sw_str_is(params[1], "a/b/c"));
    assert_int_equal(match(SW_HTTP_PUT, "/f/m/files/a/b"), -1);
    /* A verb is no name and no rest either. */
    assert_int_equal(match(SW_HTTP_POST, "/f/m/files/x:copy"), 16);
    assert_int_equal(match(SW_HTTP_GET, "/f/m/files/x:copy"), -1);
    assert_int_equal(allowed, 1u << SW_HTTP_POST);
    assert_int_equal(match(SW_HTTP_GET, "/f/m/files/x:copy/y"), 13);
}

static void percent_decoding(void **state) {
    assert_int_equal(match(SW_HTTP_GET, "/v2/models/a%2Fb%20%c3%a4"), 2);
    assert_true(sw_str_is(params[0], "a/b \xc3\xa4"));
    assert_int_equal(match(SW_HTTP_GET, "/v2/models/%25%32%35"), 2);
    assert_true(sw_str_is(params[0], "%25"));            /* once, not twice */
    assert_int_equal(match(SW_HTTP_GET, "/%76%32"), -1); /* only parameters are decoded */
    const char *const bad[] = {"/v2/models/%", "/v2/models/a%2", "/v2/models/%zz", "/v2/models/%00", "/v2/models/a%0"};
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        assert_int_equal(match(SW_HTTP_GET, bad[i]), -1);
        assert_int_equal(allowed, 0);
    }
}

static void nothing_is_allocated_for_plain_paths(void **state) {
    struct sw_arena fresh;
    sw_arena_init(&fresh, 0, 0);
    sw_router_match(router, SW_HTTP_POST, SW_STR("/v1/models/m/versions/1:predict"), &fresh, params, &allowed);
    assert_int_equal(fresh.allocated, 0);
    sw_arena_deinit(&fresh);
}

static void no_memory_is_no_match(void **state) {
    struct sw_arena tiny;
    sw_arena_init(&tiny, 1, 0);
    assert_null(sw_router_match(router, SW_HTTP_GET, SW_STR("/v2/models/%41%42"), &tiny, params, &allowed));
    sw_arena_deinit(&tiny);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(literals, start, stop),
        cmocka_unit_test_setup_teardown(parameters, start, stop),
        cmocka_unit_test_setup_teardown(literal_wins_over_parameter, start, stop),
        cmocka_unit_test_setup_teardown(falls_back_from_literal_to_parameter, start, stop),
        cmocka_unit_test_setup_teardown(verbs, start, stop),
        cmocka_unit_test_setup_teardown(methods, start, stop),
        cmocka_unit_test_setup_teardown(the_rest_of_a_path, start, stop),
        cmocka_unit_test_setup_teardown(the_rest_comes_last, start, stop),
        cmocka_unit_test_setup_teardown(percent_decoding, start, stop),
        cmocka_unit_test_setup_teardown(nothing_is_allocated_for_plain_paths, start, stop),
        cmocka_unit_test_setup_teardown(no_memory_is_no_match, start, stop),
    };
    return cmocka_run_group_tests_name("http/router", tests, NULL, NULL);
}
