/* Router: any bytes as a path, against a table with every kind of segment, compared with a slow and plain matcher.
 *
 * Input: the first byte chooses the method, the rest is the path. The model splits path and pattern into segments and
 * compares them one by one; the router must find a route exactly when the model does, with parameters inside it. */
#include <stdlib.h>

#include "http/http.h"

static enum sw_http_result nothing(struct sw_http_exchange *x) {
    return SW_HTTP_DONE;
}

#define ROUTE(m, p) \
    { .method = m, .path = p, .handler = nothing }
static const struct sw_route routes[] = {
    ROUTE(SW_HTTP_GET, "/"),
    ROUTE(SW_HTTP_GET, "/v2"),
    ROUTE(SW_HTTP_GET, "/v2/models/{model}"),
    ROUTE(SW_HTTP_GET, "/v2/models/stats"),
    ROUTE(SW_HTTP_POST, "/v2/models/{model}/infer"),
    ROUTE(SW_HTTP_POST, "/v2/models/{model}/versions/{version}/infer"),
    ROUTE(SW_HTTP_POST, "/v1/models/{model}:predict"),
    ROUTE(SW_HTTP_POST, "/v1/models/{model}/versions/{version}:predict"),
    ROUTE(SW_HTTP_GET, "/v1/models/{model}"),
    ROUTE(SW_HTTP_DELETE, "/v1/models/{model}"),
    ROUTE(SW_HTTP_GET, "/a/b/c"),
    ROUTE(SW_HTTP_GET, "/a/{x}/d"),
    ROUTE(SW_HTTP_POST, "/a/{x}/{y}/{z}/{w}"),
};

static void check(bool good) {
    if (!good) {
        abort();
    }
}

static bool escapes_are_good(struct sw_str raw) {
    for (size_t i = 0; i < raw.len; i++) {
        if (raw.data[i] == '%') {
            char digits[3] = {0};
            memcpy(digits, raw.data + i + 1, raw.len - i - 1 < 2 ? raw.len - i - 1 : 2);
            if (strspn(digits, "0123456789abcdefABCDEF") != 2 || strcmp(digits, "00") == 0) {
                return false;
            }
        }
    }
    return true;
}

/* *bad_escape when it fits but for an escape. */
static bool segment_fits(struct sw_str pattern, struct sw_str segment, bool *bad_escape) {
    if (pattern.len == 0 || pattern.data[0] != '{') {
        return sw_str_eq(pattern, segment);
    }
    const char *end = (const char *)memchr(pattern.data, '}', pattern.len) + 1;
    struct sw_str suffix = {end, (size_t)(pattern.data + pattern.len - end)};
    if (segment.len <= suffix.len || !sw_str_ends(segment, suffix)) {
        return false;
    }
    *bad_escape |= !escapes_are_good((struct sw_str){segment.data, segment.len - suffix.len});
    return true;
}

static bool path_fits(const char *pattern, struct sw_str path, bool *bad_escape) {
    if (path.len == 0 || path.data[0] != '/') {
        return false;
    }
    struct sw_str a = sw_str_of(pattern + 1), b = {path.data + 1, path.len - 1}, x, y;
    bool bad = false;
    while (a.data && b.data) {
        a = sw_str_split(a, '/', &x);
        b = sw_str_split(b, '/', &y);
        if (!segment_fits(x, y, &bad)) {
            return false;
        }
    }
    *bad_escape |= bad && !a.data && !b.data;
    return !a.data && !b.data;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct sw_router *router;
    if (!router) {
        router = sw_router_create(routes, sizeof routes / sizeof *routes);
    }
    if (size < 1) {
        return 0;
    }
    enum sw_http_method method = (enum sw_http_method)(data[0] % (SW_HTTP_OTHER + 1));
    struct sw_str path = {(const char *)data + 1, size - 1}, params[SW_HTTP_PARAMS_MAX] = {{0}};
    struct sw_arena arena;
    sw_arena_init(&arena, 1 << 20, 0);
    unsigned allowed = 0, expected = 0;
    const struct sw_route *route = sw_router_match(router, method, path, &arena, params, &allowed);

    bool bad_escape = false, found = false;
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (path_fits(routes[i].path, path, &bad_escape)) {
            expected |= 1u << routes[i].method;
            found |= routes[i].method == method || (method == SW_HTTP_HEAD && routes[i].method == SW_HTTP_GET);
        }
    }
    if (route) {
        bool ignored = false;
        check(path_fits(route->path, path, &ignored));
        size_t taken = 0;
        for (const char *p = route->path; (p = strchr(p, '{')); p++) {
            check(taken < SW_HTTP_PARAMS_MAX && params[taken].len > 0 && params[taken].len <= path.len);
            check(!memchr(params[taken].data, '\0', params[taken].len) || memchr(path.data, '\0', path.len));
            taken++;
        }
        check(found);
    } else if (!bad_escape) {
        check(!found);
        unsigned with_head = expected | (expected & 1u << SW_HTTP_GET ? 1u << SW_HTTP_HEAD : 0);
        check(allowed == with_head);
    }
    sw_arena_deinit(&arena);
    return 0;
}
