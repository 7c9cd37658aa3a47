/* Router: a trie over the segments of the route table's paths.
 *
 * A path "/v1/models/{model}:predict" has the segments "v1", "models", "{model}:predict"; "/" has one empty segment. A
 * node's children are literals, then parameters with a suffix (":predict"), then at most one bare parameter, then at
 * most one that takes the rest of the path ("{path*}"), and are tried in that order at each segment: a literal wins
 * over a parameter, and both over the rest. When a branch turns out to have no route for the method, the search goes
 * back and tries the next one. A path that ends in a verb is not tried as a plain name or as a rest, however:
 * "m:predict" with another method is a wrong method and not a model of that name. The depth is that of the table, and
 * a node has few parameter children, so the work for one path is bounded by the table and not by the request.
 *
 * Paths are matched as they were sent: "//" is an empty segment and "." and ".." are ordinary ones. A parameter takes
 * at least one byte, which for a rest may be a slash. Only parameters are percent-decoded, a rest as a whole: whether a
 * slash of it was written as %2F cannot be told afterwards.
 *
 * Immutable after sw_router_create; any thread may match. */
#include "base/memory.h"
#include "http/http.h"

enum { METHOD_COUNT = SW_HTTP_OTHER + 1 };

struct edge {
    struct sw_str text;  /* literal: the segment; parameter: what follows it in its segment, perhaps nothing */
    struct node *target; /* owned */
};

struct node {
    struct edge *literals;
    size_t literal_count;
    struct edge *parameters; /* longest suffix first, so that the bare parameter is last */
    size_t parameter_count;
    struct node *rest; /* owned; has no children */
    const struct sw_route *routes[METHOD_COUNT];
    unsigned allowed; /* bits of the methods that end here */
};

struct sw_router {
    struct node root;
};

struct search {
    struct sw_str *params;
    struct sw_arena *arena;
    enum sw_http_method method;
    unsigned allowed;
    bool failed; /* a parameter of the right branch cannot be decoded */
};

static struct edge *find(struct edge *edges, size_t count, struct sw_str text) {
    for (size_t i = 0; i < count; i++) {
        if (sw_str_eq(edges[i].text, text)) {
            return &edges[i];
        }
    }
    return NULL;
}

static struct node *add_edge(struct edge **edges, size_t *count, struct sw_str text) {
    struct edge *known = find(*edges, *count, text);
    if (known) {
        return known->target;
    }
    *edges = sw_xrealloc(*edges, (*count + 1) * sizeof **edges);
    size_t at = *count;
    for (; at > 0 && (*edges)[at - 1].text.len < text.len; at--) {
        (*edges)[at] = (*edges)[at - 1];
    }
    (*edges)[at] = (struct edge){text, sw_xcalloc(1, sizeof(struct node))};
    ++*count;
    return (*edges)[at].target;
}

/* The child for "{name}", "{name}:verb" or, when it is the last segment, "{name*}". */
static struct node *add_parameter(struct node *node, struct sw_str segment, bool last) {
    const char *end = memchr(segment.data, '}', segment.len);
    SW_ASSERT(end);
    struct sw_str suffix = {end + 1, (size_t)(segment.data + segment.len - end - 1)};
    if (end[-1] != '*') {
        return add_edge(&node->parameters, &node->parameter_count, suffix);
    }
    SW_ASSERT(last && suffix.len == 0);
    if (!node->rest) {
        node->rest = sw_xcalloc(1, sizeof *node->rest);
    }
    return node->rest;
}

static void insert(struct node *node, const struct sw_route *route) {
    struct sw_str rest = sw_str_of(route->path), segment;
    SW_ASSERT(rest.len && rest.data[0] == '/' && route->method <= SW_HTTP_OTHER);
    rest = (struct sw_str){rest.data + 1, rest.len - 1};
    size_t params = 0;
    while (rest.data) {
        rest = sw_str_split(rest, '/', &segment);
        if (segment.len && segment.data[0] == '{') {
            SW_ASSERT(++params <= SW_HTTP_PARAMS_MAX);
            node = add_parameter(node, segment, !rest.data);
        } else {
            node = add_edge(&node->literals, &node->literal_count, segment);
        }
    }
    SW_ASSERT(!node->routes[route->method]); /* a path and method stand in the table once */
    node->routes[route->method] = route;
    node->allowed |= 1u << route->method;
    if (route->method == SW_HTTP_GET) {
        node->allowed |= 1u << SW_HTTP_HEAD;
    }
}

struct sw_router *sw_router_create(const struct sw_route *routes, size_t count) {
    struct sw_router *router = sw_xcalloc(1, sizeof *router);
    for (size_t i = 0; i < count; i++) {
        insert(&router->root, &routes[i]);
    }
    return router;
}

static void clear(struct node *node);

static void clear_edges(struct edge *edges, size_t count) {
    for (size_t i = 0; i < count; i++) {
        clear(edges[i].target);
        sw_free(edges[i].target);
    }
    sw_free(edges);
}

static void clear(struct node *node) {
    clear_edges(node->literals, node->literal_count);
    clear_edges(node->parameters, node->parameter_count);
    sw_free(node->rest);
}

void sw_router_destroy(struct sw_router *router) {
    if (router) {
        clear(&router->root);
        sw_free(router);
    }
}

static int hex(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* *ret is raw itself when nothing is encoded. false: a bad escape, an encoded NUL, or no memory. */
static bool decode(struct sw_str raw, struct sw_arena *arena, struct sw_str *ret) {
    if (!memchr(raw.data, '%', raw.len)) {
        *ret = raw;
        return true;
    }
    char *out = sw_arena_alloc_aligned(arena, raw.len, 1);
    size_t n = 0;
    for (size_t i = 0; out && i < raw.len; i++) {
        char c = raw.data[i];
        if (c == '%') {
            int high = i + 2 < raw.len ? hex(raw.data[i + 1]) : -1;
            int low = i + 2 < raw.len ? hex(raw.data[i + 2]) : -1;
            if (high < 0 || low < 0 || (high | low) == 0) {
                return false;
            }
            c = (char)(high << 4 | low);
            i += 2;
        }
        out[n++] = c;
    }
    *ret = (struct sw_str){out, n};
    return out != NULL;
}

static const struct sw_route *walk(const struct node *node, struct sw_str rest, size_t depth, struct search *search);

static const struct sw_route *end_at(const struct node *node, struct search *search) {
    search->allowed |= node->allowed;
    const struct sw_route *route = node->routes[search->method];
    return !route && search->method == SW_HTTP_HEAD ? node->routes[SW_HTTP_GET] : route;
}

/* `depth` is the number of parameters taken so far. */
static const struct sw_route *enter(const struct node *node, struct sw_str rest, size_t depth, struct search *search) {
    return rest.data ? walk(node, rest, depth, search) : end_at(node, search);
}

static const struct sw_route *take_rest(const struct node *node, struct sw_str rest, size_t depth,
                                        struct search *search) {
    const struct sw_route *route = rest.len ? end_at(node, search) : NULL;
    if (route && !decode(rest, search->arena, &search->params[depth])) {
        search->failed = true;
        return NULL;
    }
    return route;
}

static const struct sw_route *walk(const struct node *node, struct sw_str path, size_t depth, struct search *search) {
    struct sw_str segment, rest = sw_str_split(path, '/', &segment);
    const struct edge *literal = find(node->literals, node->literal_count, segment);
    const struct sw_route *route = literal ? enter(literal->target, rest, depth, search) : NULL;
    for (size_t i = 0; !route && !search->failed && i < node->parameter_count; i++) {
        struct sw_str suffix = node->parameters[i].text;
        if (segment.len > suffix.len && sw_str_ends(segment, suffix)) {
            struct sw_str raw = {segment.data, segment.len - suffix.len};
            unsigned before = search->allowed;
            search->allowed = 0;
            route = enter(node->parameters[i].target, rest, depth + 1, search);
            /* Parameters are filled in on the way back, when the branch is known to be the right one. */
            if (route && !decode(raw, search->arena, &search->params[depth])) {
                search->failed = true;
                return NULL;
            }
            bool known = search->allowed != 0;
            search->allowed |= before;
            if (known && suffix.len) {
                return route;
            }
        }
    }
    if (!route && !search->failed && node->rest) {
        route = take_rest(node->rest, path, depth, search);
    }
    return route;
}

const struct sw_route *sw_router_match(const struct sw_router *router, enum sw_http_method method, struct sw_str path,
                                       struct sw_arena *arena, struct sw_str params[SW_HTTP_PARAMS_MAX],
                                       unsigned *ret_allowed) {
    struct search search = {.params = params, .arena = arena, .method = method};
    const struct sw_route *route = NULL;
    if (path.len && path.data[0] == '/') {
        route = walk(&router->root, (struct sw_str){path.data + 1, path.len - 1}, 0, &search);
    }
    *ret_allowed = search.failed ? 0 : search.allowed;
    return route;
}
