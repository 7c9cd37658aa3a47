/* Router: any bytes as a path, against a table with every kind of segment, compared with a slow and plain model.
 *
 * Input: the first byte chooses the method, the rest is the path. The model compares the path with each pattern by
 * itself and gives every fitting route a key: for each segment how specific the pattern is there. Of the routes that
 * have the method, the one with the smallest key must be found, with its parameters; without one, the methods of all
 * fitting routes must be reported. A fitting verb hides the less specific routes that part from it at that segment. */
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
    ROUTE(SW_HTTP_GET, "/a/{path*}"),
    ROUTE(SW_HTTP_PUT, "/a/{x}/{path*}"),
    ROUTE(SW_HTTP_POST, "/a/{x}:v"),
    ROUTE(SW_HTTP_DELETE, "/v1/{path*}"),
};

enum { ROUTES = sizeof routes / sizeof *routes, SEGMENTS_MAX = 8, LITERAL = 0, PLAIN = 1000, REST = 1001, END = -1 };

struct fit {
    bool fits;
    int key[SEGMENTS_MAX + 1];                 /* LITERAL, PLAIN - length of the verb, PLAIN, REST; END */
    struct sw_str raw[SW_HTTP_PARAMS_MAX + 1]; /* parameters, not decoded */
    size_t params;
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

/* How the pattern fits at one segment, or END when it does not. */
static int fit_segment(struct sw_str pattern, struct sw_str segment, struct fit *fit) {
    if (pattern.len == 0 || pattern.data[0] != '{') {
        return sw_str_eq(pattern, segment) ? LITERAL : END;
    }
    const char *end = (const char *)memchr(pattern.data, '}', pattern.len) + 1;
    struct sw_str verb = {end, (size_t)(pattern.data + pattern.len - end)};
    if (segment.len <= verb.len || !sw_str_ends(segment, verb)) {
        return END;
    }
    fit->raw[fit->params++] = (struct sw_str){segment.data, segment.len - verb.len};
    return PLAIN - (int)verb.len;
}

static struct fit fit_path(const char *text, struct sw_str path) {
    struct fit fit = {0};
    if (path.len == 0 || path.data[0] != '/') {
        return fit;
    }
    struct sw_str pattern = sw_str_of(text + 1), rest = {path.data + 1, path.len - 1}, wanted, segment;
    size_t i = 0;
    for (; pattern.data && rest.data; i++) {
        struct sw_str whole = rest;
        pattern = sw_str_split(pattern, '/', &wanted);
        rest = sw_str_split(rest, '/', &segment);
        if (sw_str_ends(wanted, SW_STR("*}"))) {
            fit.key[i] = whole.len ? REST : END;
            fit.raw[fit.params++] = whole;
            rest.data = NULL;
        } else {
            fit.key[i] = fit_segment(wanted, segment, &fit);
        }
        if (fit.key[i] == END) {
            return fit;
        }
    }
    fit.key[i] = END;
    fit.fits = !pattern.data && !rest.data;
    return fit;
}

static int compare(const struct fit *a, const struct fit *b, size_t *ret_at) {
    size_t i = 0;
    while (a->key[i] == b->key[i] && a->key[i] != END) {
        i++;
    }
    *ret_at = i;
    return a->key[i] - b->key[i];
}

static bool is_hidden(const struct fit *fits, size_t index) {
    for (size_t i = 0, at; i < ROUTES; i++) {
        if (fits[i].fits && compare(&fits[i], &fits[index], &at) < 0 && fits[i].key[at] > LITERAL &&
            fits[i].key[at] < PLAIN) {
            return true;
        }
    }
    return false;
}

static bool has_method(const struct sw_route *route, enum sw_http_method method) {
    return route->method == method || (method == SW_HTTP_HEAD && route->method == SW_HTTP_GET);
}

static void check_params(const struct fit *fit, const struct sw_str *params) {
    for (size_t i = 0; i < fit->params; i++) {
        check(params[i].len > 0 && params[i].len <= fit->raw[i].len);
        if (!memchr(fit->raw[i].data, '%', fit->raw[i].len)) {
            check(sw_str_eq(params[i], fit->raw[i]));
        }
    }
}

static void check_match(enum sw_http_method method, struct sw_str path, const struct sw_route *route,
                        const struct sw_str *params, unsigned allowed) {
    struct fit fits[ROUTES];
    unsigned expected = 0;
    size_t best = ROUTES, at;
    for (size_t i = 0; i < ROUTES; i++) {
        fits[i] = fit_path(routes[i].path, path);
    }
    for (size_t i = 0; i < ROUTES; i++) {
        if (fits[i].fits && !is_hidden(fits, i)) {
            expected |= 1u << routes[i].method;
            if (has_method(&routes[i], method) && (best == ROUTES || compare(&fits[i], &fits[best], &at) < 0)) {
                best = i;
            }
        }
    }
    bool good = true;
    for (size_t i = 0; best < ROUTES && i < fits[best].params; i++) {
        good &= escapes_are_good(fits[best].raw[i]);
    }
    if (best < ROUTES && good) {
        check(route == &routes[best]);
        check_params(&fits[best], params);
    } else {
        expected |= expected & 1u << SW_HTTP_GET ? 1u << SW_HTTP_HEAD : 0;
        check(!route && allowed == (good ? expected : 0));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct sw_router *router;
    if (!router) {
        router = sw_router_create(routes, ROUTES);
    }
    if (size < 1) {
        return 0;
    }
    enum sw_http_method method = (enum sw_http_method)(data[0] % (SW_HTTP_OTHER + 1));
    struct sw_str path = {(const char *)data + 1, size - 1}, params[SW_HTTP_PARAMS_MAX] = {{0}};
    struct sw_arena arena;
    sw_arena_init(&arena, 1 << 20, 0);
    unsigned allowed = 0;
    const struct sw_route *route = sw_router_match(router, method, path, &arena, params, &allowed);
    check_match(method, path, route, params, allowed);
    sw_arena_deinit(&arena);
    return 0;
}
