/* HTTP/1.1 server over libmicrohttpd. Knows no models.
 *
 * One acceptor thread hands each connection to that of N I/O threads which has fewest (one libmicrohttpd daemon each,
 * epoll, no listening socket: libmicrohttpd's own thread pool spreads connections badly). A request is read whole into
 * its exchange's arena (on stream routes: in pieces), decoded (gzip, deflate), handed to its route's handler, and
 * answered. A watcher, once a second or when the earliest deadline is due, ends connections that send headers or body
 * too slowly.
 *
 * Life of an exchange: made by the I/O thread when the headers are complete; owned by the handler until it returns
 * SW_HTTP_DONE, or, after SW_HTTP_ASYNC, until somebody calls sw_http_finish; then by the server until the answer is
 * sent; then reset and kept for reuse by that thread. */
#ifndef SW_HTTP_HTTP_H
#define SW_HTTP_HTTP_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/str.h"

enum sw_http_method {
    SW_HTTP_GET,
    SW_HTTP_HEAD,
    SW_HTTP_POST,
    SW_HTTP_PUT,
    SW_HTTP_PATCH,
    SW_HTTP_DELETE,
    SW_HTTP_OTHER
};
const char *sw_http_method_name(enum sw_http_method method);

enum sw_http_result { SW_HTTP_DONE, SW_HTTP_ASYNC };

enum { SW_HTTP_PARAMS_MAX = 4, SW_HTTP_HEADERS_MAX = 16, SW_HTTP_PARTS_MAX = 66, SW_REQUEST_ID_MAX = 128 };

struct sw_http_exchange;
typedef enum sw_http_result sw_http_handler(struct sw_http_exchange *x);

/* A route with a stream function gets its body in pieces instead of whole, so that a body of any size takes bounded
 * memory (one buffer of SW_HTTP_PIECE_MAX, counted for buffered_max; when that is used up: 503 before BEGIN).
 *
 * Order of calls for one request, never two at once: BEGIN (headers are complete, the body has not begun; who expects a
 * 100 gets it after this), DATA for each piece (exactly SW_HTTP_PIECE_MAX bytes, the last one perhaps fewer; as
 * received: content encodings are refused with 415), then the route's handler, with an empty x->body. A request without
 * a body has no DATA.
 *
 * Each call may return SW_HTTP_ASYNC and go on elsewhere: then nothing more is read from the client (it feels
 * back-pressure) until somebody calls sw_http_stream_continue; the exchange and the piece stay valid until then, even
 * when the client goes away meanwhile. The time-out is body_timeout from piece to piece, and does not run while a call
 * is under way.
 *
 * A call that sets an answer (sw_http_reply_error and so on, not a file) before it is done ends the stream: the rest of
 * the body is read and dropped when it is known to be short, else the connection is closed after the answer; the
 * handler is not called. When the client goes away in between, or the server ends, neither is; what the stream holds is
 * released by the arena's deferred calls (I/O thread). */
enum sw_http_stream_event { SW_HTTP_STREAM_BEGIN, SW_HTTP_STREAM_DATA };
enum { SW_HTTP_PIECE_MAX = 256 * 1024 };
typedef enum sw_http_result sw_http_stream(struct sw_http_exchange *x, enum sw_http_stream_event event,
                                           struct sw_str piece);
/* After SW_HTTP_ASYNC of a stream call (an answer may be set); any thread. The exchange must not be touched afterwards
 * until the next call. */
void sw_http_stream_continue(struct sw_http_exchange *x);

/* One row of the route table; generated from spec/routes.toml (spec/routes.h). */
enum sw_error_shape { SW_ERROR_NATIVE, SW_ERROR_OIP, SW_ERROR_MLFLOW, SW_ERROR_MONITORING };
struct sw_route {
    enum sw_http_method method;
    /* "/v2/models/{model}/infer"; a parameter may be followed by ":verb" in its segment; "{path*}" as the last segment
     * takes the rest of the path, slashes included (at least one byte). At each segment a literal wins over a parameter
     * with a verb, that over a plain one, and that over the rest. */
    const char *path;
    sw_http_handler *handler;
    enum sw_error_shape error_shape;
    uint16_t index;         /* dense, for metrics */
    bool large_body;        /* false: body limit is control_body_max, not body_max */
    sw_http_stream *stream; /* not NULL: the body comes in pieces and has no limit here */
    const void *mount;      /* what the layer above attached to this row; not used by http */
};

/* What a client wants of a cache: no result that lay there (max-age=0 is that too), and that its own is not kept. */
struct sw_cache_control {
    bool no_cache, no_store;
};

struct sw_http_exchange {
    /* request, read-only for handlers */
    enum sw_http_method method;
    const struct sw_route *route;             /* NULL: none matched */
    struct sw_str path;                       /* percent-decoded only in params */
    struct sw_str params[SW_HTTP_PARAMS_MAX]; /* decoded, by position in the route's path */
    struct sw_str body;                       /* after content decoding; 64-byte aligned (see below) */
    uint64_t content_length;                  /* as announced; 0: no body; UINT64_MAX: chunked */
    size_t binary_header_length;              /* Inference-Header-Content-Length; SIZE_MAX when absent. When present,
                                                  body.data + it is 64-byte aligned */
    struct sw_str timeout, priority;          /* X-Timeout-Ms, X-Priority as sent; data NULL when absent */
    struct sw_cache_control cache_control;    /* of all Cache-Control headers */
    char request_id[SW_REQUEST_ID_MAX + 1];
    uint64_t start_ns;     /* when the headers were complete */
    struct sw_arena arena; /* at most 64 MiB and 16 times body_max; when that is used up: 503 */
    struct sw_http_server *server;
    void *app; /* of the server's options */

    /* response */
    int status;
    struct {
        const char *name;
        const char *value;
    } headers[SW_HTTP_HEADERS_MAX]; /* static or in the arena */
    size_t header_count;
    const char *content_type;
    struct sw_str parts[SW_HTTP_PARTS_MAX]; /* body as pieces, static or valid until the arena is reset */
    size_t part_count;
    sw_status error; /* for the observer: SW_OK or why it failed */
    void *owner;     /* for the observer: what the handler worked on (a model's metrics); not used by http */
    void *state;     /* of a stream: what its calls and the handler share; not used by http */
    bool close;      /* close the connection after this answer */

    struct sw_http_connection *connection; /* internal */
};

/* First value of a header (name case-insensitive) or a query argument (decoded); data NULL when absent. Only while the
 * handler runs or, after SW_HTTP_ASYNC, until sw_http_finish. */
struct sw_str sw_http_header(struct sw_http_exchange *x, const char *name);
struct sw_str sw_http_query(struct sw_http_exchange *x, const char *name);
/* The value at this index among those of a query argument that is given several times; data NULL when there are not so
 * many. */
struct sw_str sw_http_query_at(struct sw_http_exchange *x, const char *name, size_t index);

/* name and value: static or in the arena. Control characters in the value become '?'; an empty one is left out. */
void sw_http_add_header(struct sw_http_exchange *x, const char *name, const char *value);
/* Adds a piece of the body: borrowed until the arena is reset. Any number; beyond SW_HTTP_PARTS_MAX they are joined.
 * When there is no memory for that, the answer becomes a 503 without the headers added so far, and further pieces are
 * left out. */
void sw_http_add_part(struct sw_http_exchange *x, struct sw_str part);
/* Sets status, content type and a one-piece body. */
void sw_http_reply(struct sw_http_exchange *x, int status, const char *content_type, struct sw_str body);
/* Sets status and body of an error in the route's shape (also used by the server for its own errors) and x->error. */
void sw_http_reply_error(struct sw_http_exchange *x, const struct sw_error *err);
/* The same with details, a JSON object, where the shape has a place for them. */
void sw_http_reply_error_details(struct sw_http_exchange *x, const struct sw_error *err, struct sw_str details);
void sw_http_reply_status(struct sw_http_exchange *x, sw_status code, const char *fmt, ...) SW_PRINTF(3, 4);

/* Sets the answer to `length` bytes of an open regular file from offset 0, which is sent without being read into
 * memory; the server closes fd in any case. A Range header (one range, RFC 9110) is honoured: 206 or 416; If-Range is
 * compared with etag, and If-None-Match gives 304; headers added before go along. etag (may be NULL): in quotes, static
 * or in the arena. HEAD sends the headers only. Never compressed. A file shorter than `length` is an error 500. */
void sw_http_reply_file(struct sw_http_exchange *x, const char *content_type, int fd, uint64_t length,
                        const char *etag);

/* After SW_HTTP_ASYNC: the response is set; any thread; the exchange must not be touched afterwards. */
void sw_http_finish(struct sw_http_exchange *x);

/* Between SW_HTTP_ASYNC and sw_http_finish, any thread: has the client ended its side of the connection? Nobody will
 * read the answer then (a client that only half-closes counts as gone too). One system call. */
bool sw_http_client_gone(const struct sw_http_exchange *x);
/* I/O thread, in a handler: has this thread no other connection? Then it keeps nobody waiting. */
bool sw_http_is_alone(const struct sw_http_exchange *x);

struct sw_http_options {
    const char *host;
    uint16_t port; /* 0: any free one */
    unsigned io_threads;
    unsigned connections_max;
    size_t header_bytes_max;
    size_t body_max;            /* bytes, after decompression too */
    size_t control_body_max;    /* for routes without large_body */
    size_t buffered_max;        /* bytes of all bodies being held; more: 503 */
    uint64_t header_timeout_ms; /* from first byte (or connect) to end of headers */
    uint64_t body_timeout_ms;   /* from end of headers to end of body; of a stream from piece to piece */
    uint64_t idle_timeout_ms;   /* keep-alive: from an answer to the end of the next request line */
    size_t gzip_min;            /* responses shorter than this are not compressed */
    const struct sw_route *routes;
    size_t route_count;
    void *app;
    /* I/O thread, once for every exchange, when the answer is fully sent or the connection died; before the arena is
     * reset. status is 408 when the body came too slowly and 499 when the client went away before an answer was set. */
    void (*on_done)(void *app, struct sw_http_exchange *x, uint64_t duration_ns);
    struct sw_clock *clock;
};

struct sw_http_server;

SW_MUST_CHECK sw_status sw_http_server_start(const struct sw_http_options *options, struct sw_http_server **ret,
                                             struct sw_error *err);
uint16_t sw_http_server_port(const struct sw_http_server *server);
unsigned sw_http_server_connections(const struct sw_http_server *server);
size_t sw_http_server_buffered(const struct sw_http_server *server); /* bytes counted for buffered_max now */
/* Stops accepting, answers what is running (at most drain_ms), ends idle connections. */
void sw_http_server_drain(struct sw_http_server *server, uint64_t drain_ms);
/* Waits for handlers that are still running (after SW_HTTP_ASYNC: for sw_http_finish). NULL is allowed. */
void sw_http_server_destroy(struct sw_http_server *server);

/* Router, on its own for unit tests and the fuzz target. */
struct sw_router;
struct sw_router *sw_router_create(const struct sw_route *routes, size_t count);
void sw_router_destroy(struct sw_router *router);
/* NULL and *ret_allowed 0: no such path; NULL and *ret_allowed a bit set (1 << method): path known, method not. HEAD
 * matches GET routes. params point into the path or, where percent-decoding was needed, the arena. */
const struct sw_route *sw_router_match(const struct sw_router *router, enum sw_http_method method, struct sw_str path,
                                       struct sw_arena *arena, struct sw_str params[SW_HTTP_PARAMS_MAX],
                                       unsigned *ret_allowed);

#endif
