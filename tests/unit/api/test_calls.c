/* Calls as an application makes them: a model by its name, an answer and errors of its own, and holds: a part of the
 * request that another thread completes, before, while or after parse returns. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "api/call.h"
#include "api/mount.h"
#include "api/reply.h"
#include "base/thread.h"
#include "harness.h"
#include "models.h"

/* What the body asks for. */
enum {
    PLAIN = 'p',      /* parse does it all */
    ELSEWHERE = 'e',  /* a thread completes the runs */
    AT_ONCE = 'a',    /* the same, and it has ended before parse returns */
    FAILS = 'f',      /* the thread fails */
    NOT_HANDED = 'n', /* parse takes a hold and fails */
    BAD = 'b',        /* parse fails */
};

struct my_call {
    struct sw_api_call call; /* first */
    char kind;
    bool fails;
};

struct part {
    struct my_call *c;
    bool fails;
};

static sw_status make_runs(struct my_call *c, struct sw_error *err) {
    struct sw_arena *arena = &c->call.x->arena;
    struct sw_tensor *t = sw_arena_calloc(arena, 1, sizeof *t);
    int64_t shape[1] = {1};
    SW_TRY(sw_tensor_alloc(t, arena, SW_STR("x"), SW_DTYPE_FP32, shape, 1, err));
    ((float *)t->data)[0] = 42;
    return sw_api_one_run(&c->call, t, 1, err);
}

static atomic_int parts_running;

static void *run_part(void *arg) {
    struct part part = *(struct part *)arg; /* the arena may be gone after release */
    struct sw_error err;
    if (part.fails) {
        sw_fail(&err, SW_E_UNPROCESSABLE, "elsewhere: it is broken");
    }
    sw_api_call_release(&part.c->call, part.fails ? &err : NULL);
    atomic_fetch_sub(&parts_running, 1);
    return NULL;
}

static pthread_t begin_part(struct my_call *c, bool fails) {
    struct part *part = sw_arena_alloc(&c->call.x->arena, sizeof *part);
    pthread_t thread;
    assert_non_null(part);
    *part = (struct part){c, fails};
    sw_api_call_hold(&c->call);
    atomic_fetch_add(&parts_running, 1);
    assert_int_equal(pthread_create(&thread, NULL, run_part, part), 0);
    return thread;
}

static sw_status my_parse(struct sw_api_call *call, struct sw_error *err) {
    struct my_call *c = (struct my_call *)call;
    pthread_t first;
    c->kind = call->x->body.len ? call->x->body.data[0] : '\0';
    switch (c->kind) {
    case PLAIN: return make_runs(c, err);
    case ELSEWHERE:
    case AT_ONCE:
    case FAILS:
        SW_TRY(make_runs(c, err));
        bool at_once = c->kind == AT_ONCE;
        first = begin_part(c, c->kind == FAILS);
        return at_once ? (pthread_join(first, NULL) ? SW_E_INTERNAL : SW_OK)
                       : (pthread_detach(first) ? SW_E_INTERNAL : SW_OK);
    case NOT_HANDED: sw_api_call_hold(call); return sw_fail(err, SW_E_TOO_MANY_REQUESTS, "nobody has time");
    default: return sw_fail(err, SW_E_INVALID_ARGUMENT, "body: '%c' is none of them", c->kind);
    }
}

static sw_status my_encode(struct sw_api_call *call, struct sw_error *err) {
    struct sw_buf out;
    sw_api_buf(call->x, &out);
    SW_LIT(&out, "{");
    sw_api_put_string(&out, "model", call->model->name);
    SW_LIT(&out, ",\"sum\":");
    sw_api_put_double(&out, ((const float *)call->runs[0].outputs[0].data)[0]);
    sw_buf_append_c(&out, '}');
    sw_api_reply(call->x, 200, &out);
    return SW_OK;
}

static void my_fail(struct sw_api_call *call, const struct sw_error *err) {
    json_t *details = json_pack("{s:s}", "by", "me");
    sw_api_reply_details(call->x, err, details);
    json_decref(details);
}

static enum sw_http_result handle(struct sw_http_exchange *x) {
    static const struct sw_api_codec codec = {
        .call_size = sizeof(struct my_call), .parse = my_parse, .encode = my_encode, .fail = my_fail};
    const struct sw_api_mount *mount = sw_api_mount_of(x);
    struct sw_api_call *call;
    struct sw_error err;
    if (sw_api_call_create(x, &codec, sw_str_of(mount->model), sw_http_query(x, "version"), &call, &err)) {
        return sw_api_reply_error(x, &err);
    }
    return sw_api_call_run(call);
}

static const struct sw_api_mount mount = {.app = "mine", .model = "adds"}, lost = {.app = "mine", .model = "nobody"};
static const struct sw_route routes[] = {
    {SW_HTTP_POST, "/mine/run", handle, SW_ERROR_NATIVE, 0, true, NULL, &mount},
    {SW_HTTP_POST, "/mine/lost", handle, SW_ERROR_NATIVE, 1, true, NULL, &lost},
};

#define MODEL_ADDS MODEL(TENSOR("x", "FP32", "[\"N\"]"), TENSOR("y", "FP32", "[\"M\"]"), "\"op\": \"sum\"")

static int start(uint64_t inline_ns_max) {
    harness_start(&(struct harness_options){
        .inline_ns_max = inline_ns_max, .routes = routes, .route_count = sizeof routes / sizeof routes[0]});
    harness_model("adds", MODEL_ADDS, true);
    return 0;
}

static int setup_inline(void **state) {
    return start(0);
}

static int setup_workers(void **state) {
    return start(1);
}

static int teardown(void **state) {
    while (atomic_load(&parts_running) > 0) { /* before the executor goes */
        sched_yield();
    }
    harness_stop();
    return 0;
}

static struct answer post(const char *path, char kind, size_t len) {
    char *body = calloc(1, len);
    assert_non_null(body);
    memset(body, ' ', len);
    body[0] = kind;
    struct answer a = harness_send("POST", path, NULL, body, len);
    free(body);
    return a;
}

static void check(char kind, size_t len, int status, const char *words) {
    struct answer a = post("/mine/run", kind, len);
    if (a.status != status || !strstr(a.body, words)) {
        fail_msg("'%c': %d %s", kind, a.status, a.body);
    }
    assert_string_equal(harness_header(&a, "X-Model-Version"), "1");
    assert_true(status == 200 || strstr(a.body, "\"details\":{\"by\":\"me\"}"));
}

/* Long bodies are parsed by a worker. Many times, since which thread is last is a matter of luck. */
static void every_order(void **state) {
    static const char ok[] = "{\"model\":\"adds\",\"sum\":42}";
    for (int i = 0; i < 40; i++) {
        size_t len = i % 4 ? 1 : 200 << 10;
        check(PLAIN, len, 200, ok);
        check(ELSEWHERE, len, 200, ok);
        check(AT_ONCE, len, 200, ok);
        check(FAILS, len, 422, "elsewhere: it is broken");
        check(NOT_HANDED, len, 429, "nobody has time");
        check(BAD, len, 400, "body: 'b' is none of them");
    }
}

static void which_model(void **state) {
    struct answer a = post("/mine/lost", PLAIN, 1);
    assert_int_equal(a.status, 404);
    assert_non_null(strstr(a.body, "model 'nobody' is not known"));
    assert_int_equal(post("/mine/run?version=1", PLAIN, 1).status, 200);
    assert_int_equal(post("/mine/run?version=2", PLAIN, 1).status, 404);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_order, setup_inline, teardown),
        cmocka_unit_test_setup_teardown(every_order, setup_workers, teardown),
        cmocka_unit_test_setup_teardown(which_model, setup_inline, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
