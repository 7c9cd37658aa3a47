/* The life of a connection and of the requests on it: libmicrohttpd's callbacks, all on the connection's I/O thread.
 *
 * For each request libmicrohttpd calls on_uri (request line read), on_access with the headers (on_headers), with each
 * piece of the body (on_body, or on_stream for routes with a stream function), once more when it is complete
 * (on_complete), again after each resume, and on_completed at the end, however it ends. It takes an answer only in
 * on_headers, and then closes the connection, or in on_complete. A request that is refused earlier has its answer set
 * and the rest of its body read and dropped, as far as that is cheap; else it is answered in on_headers, or past
 * libmicrohttpd with sw_http_send_raw_reply.
 *
 * A closed socket with unread data makes the kernel send a reset, which can overtake the answer. So where data may
 * still come, a duplicate of the descriptor goes to sw_http_linger. */
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"
#include "http/http_internal.h"

bool sw_http_step(struct sw_http_connection *c, enum connection_state state) {
    unsigned long long next = ((c->own_word >> STATE_BITS) + 1) << STATE_BITS | (unsigned)state;
    if ((c->own_word & STATE_MASK) == STATE_ENDED) {
        return false;
    }
    if (!atomic_compare_exchange_strong_explicit(&c->word, &c->own_word, next, memory_order_acq_rel,
                                                 memory_order_acquire)) {
        return false; /* only the acceptor can have come in between: own_word is now ENDED's */
    }
    c->own_word = next;
    return true;
}

static bool is_ended(const struct sw_http_connection *c) {
    return (atomic_load_explicit(&c->word, memory_order_acquire) & STATE_MASK) == STATE_ENDED;
}

/* Was it the acceptor's clock that ended it? */
static bool was_too_slow(const struct sw_http_connection *c) {
    return is_ended(c) && !atomic_load_explicit(&c->left, memory_order_relaxed);
}

static void name_thread(struct sw_http_io *io) {
    char name[16];
    snprintf(name, sizeof name, "sw-io-%u", io->index);
    pthread_setname_np(pthread_self(), name);
    io->named = true;
}

static void on_open(struct sw_http_io *io, struct MHD_Connection *mhd, void **context) {
    if (!io->named) {
        name_thread(io);
    }
    struct sw_http_connection *c = sw_aligned_alloc(SW_CACHE_LINE, sizeof *c);
    if (!c) {
        return; /* its first request ends it: see on_uri */
    }
    memset(c, 0, sizeof *c);
    c->io = io;
    c->mhd = mhd;
    c->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    c->seen.since_ns = sw_now_ns(io->server->options.clock);
    *context = c;
    pthread_mutex_lock(&io->lock);
    c->next = io->connections;
    if (c->next) {
        c->next->previous = c;
    }
    io->connections = c;
    pthread_mutex_unlock(&io->lock);
}

static void on_close(struct sw_http_io *io, struct sw_http_connection *c) {
    if (c) {
        pthread_mutex_lock(&io->lock);
        *(c->previous ? &c->previous->next : &io->connections) = c->next;
        if (c->next) {
            c->next->previous = c->previous;
        }
        pthread_mutex_unlock(&io->lock);
        sw_free(c);
    }
    atomic_fetch_sub(&io->load, 1);
    atomic_fetch_sub(&io->server->connections, 1);
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode code) {
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        on_open(cls, mhd, context);
    } else {
        on_close(cls, *context);
    }
}

static struct sw_http_connection *connection_of(struct MHD_Connection *mhd) {
    return MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

/* The request line is complete; its result becomes the request's context, which on_headers sets. */
static void *on_uri(void *cls, const char *uri, struct MHD_Connection *mhd) {
    struct sw_http_connection *c = connection_of(mhd);
    if (c) {
        sw_http_step(c, STATE_HEADERS); /* when that fails, on_headers sees it */
        c->uri_length = uri ? strlen(uri) : 0;
    }
    return NULL;
}

/* Paths and queries are left as sent: the router and sw_http_query decode what they need. */
static size_t on_unescape(void *cls, struct MHD_Connection *mhd, char *text) {
    return strlen(text);
}

static enum sw_http_method parse_method(const char *name) {
    static const enum sw_http_method methods[] = {SW_HTTP_GET, SW_HTTP_POST,  SW_HTTP_HEAD,
                                                  SW_HTTP_PUT, SW_HTTP_PATCH, SW_HTTP_DELETE};
    for (size_t i = 0; i < SW_COUNTOF(methods); i++) {
        if (strcmp(name, sw_http_method_name(methods[i])) == 0) {
            return methods[i];
        }
    }
    return SW_HTTP_OTHER;
}

/* "http://host/path" -> "/path": the absolute form, which a server has to take. */
static struct sw_str origin_form(struct sw_str uri) {
    if (!sw_str_starts(uri, SW_STR("http://")) && !sw_str_starts(uri, SW_STR("https://"))) {
        return uri;
    }
    const char *host = (const char *)memchr(uri.data, '/', uri.len) + 2;
    const char *end = uri.data + uri.len;
    const char *path = host < end ? memchr(host, '/', (size_t)(end - host)) : NULL;
    return path ? (struct sw_str){path, (size_t)(end - path)} : SW_STR("/");
}

static sw_status check_request_line(const struct sw_http_connection *c, const char *url, const char *version,
                                    struct sw_error *err) {
    if (url + c->uri_length + 1 != version) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "the request line holds a NUL byte or is malformed");
    }
    if (strchr(url, ' ')) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "the request target holds a space");
    }
    return SW_OK;
}

static sw_status check_header_size(const struct sw_http_connection *c, struct sw_error *err) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    size_t most = c->io->server->options.header_bytes_max;
    if (info && info->header_size > most) {
        return sw_fail(err, SW_E_HEADERS_TOO_LARGE, "the request line and headers are longer than %zu bytes", most);
    }
    return SW_OK;
}

/* Adds the Allow header, and fails with its words. */
static sw_status refuse_method(struct sw_http_exchange *x, unsigned allowed, struct sw_error *err) {
    struct sw_buf buf;
    sw_buf_init_arena(&buf, &x->arena, 256);
    for (enum sw_http_method method = SW_HTTP_GET; method < SW_HTTP_OTHER; method++) {
        if (allowed & 1u << method) {
            sw_buf_printf(&buf, "%s%s", buf.len ? ", " : "", sw_http_method_name(method));
        }
    }
    if (buf.failed || !buf.len) {
        return sw_fail(err, SW_E_METHOD_NOT_ALLOWED, SW_STR_FMT " does not take this method", SW_STR_ARG(x->path));
    }
    sw_http_add_header(x, "Allow", buf.data);
    return sw_fail(err, SW_E_METHOD_NOT_ALLOWED, SW_STR_FMT " takes only %s", SW_STR_ARG(x->path), buf.data);
}

static sw_status find_route(struct sw_http_exchange *x, struct sw_error *err) {
    unsigned allowed;
    x->route = sw_router_match(x->server->router, x->method, x->path, &x->arena, x->params, &allowed);
    if (x->route) {
        return SW_OK;
    }
    if (allowed) {
        return refuse_method(x, allowed, err);
    }
    return sw_fail(err, SW_E_NOT_FOUND, "there is no route " SW_STR_FMT, SW_STR_ARG(x->path));
}

/* Everything that can be decided before the body. */
static sw_status prepare(struct sw_http_connection *c, struct request *r, const char *url, const char *method,
                         const char *version, struct sw_error *err) {
    struct sw_http_exchange *x = &r->x;
    const struct sw_http_options *options = &x->server->options;
    sw_status status = sw_http_headers_read(r, method, version, err); /* first: it also finds the request id */
    if (status == SW_OK) {
        status = check_request_line(c, url, version, err);
        x->close |= status != SW_OK;
    }
    if (status == SW_OK) {
        status = check_header_size(c, err);
        x->close |= status != SW_OK;
    }
    SW_TRY(status);
    SW_TRY(find_route(x, err));
    if (x->route->stream) {
        return sw_http_stream_prepare(r, err);
    }
    r->body_limit = x->route->large_body ? options->body_max : options->control_body_max;
    return r->expects_body ? sw_http_body_begin(r, err) : SW_OK;
}

/* Whether the body of a refused request is not worth reading. */
static bool must_answer_now(const struct request *r) {
    if (r->x.close || r->expects_continue || r->x.error == SW_E_TOO_LARGE) {
        return true;
    }
    return r->x.content_length != UINT64_MAX && r->x.content_length > DISCARD_KEEP_MAX;
}

/* Before the body: the answer is set. */
static enum MHD_Result refuse(struct sw_http_connection *c, struct request *r) {
    r->rejected = true;
    /* Without a length libmicrohttpd reads until the end of the stream when the coding is unknown. */
    if (r->x.close || (r->expects_body && must_answer_now(r))) {
        r->linger = true;
        sw_http_step(c, STATE_BUSY);
        return sw_http_send_reply(c, r);
    }
    r->discard = r->expects_body;
    return MHD_YES;
}

static enum MHD_Result on_headers(struct sw_http_io *io, struct MHD_Connection *mhd, const char *url,
                                  const char *method, const char *version, void **context) {
    struct sw_http_connection *c = connection_of(mhd);
    struct request *r = c ? sw_http_request_take(io) : NULL;
    if (!r) {
        return MHD_NO;
    }
    *context = r;
    struct sw_http_exchange *x = &r->x;
    x->connection = c;
    x->start_ns = sw_now_ns(io->server->options.clock);
    x->method = parse_method(method);
    x->path = origin_form(sw_str_of(url));
    struct sw_error err;
    sw_status status = prepare(c, r, url, method, version, &err);
    /* Who expects a 100 may be slow to take it, with or without a body. */
    if (!sw_http_step(c, r->expects_body || r->expects_continue ? STATE_BODY : STATE_BUSY)) {
        return MHD_NO;
    }
    if (status) {
        sw_http_reply_error(x, &err);
        return refuse(c, r);
    }
    if (x->route->stream) {
        enum stream_result result = sw_http_stream_begin(r);
        return result == STREAM_ANSWERED ? refuse(c, r) : result == STREAM_GONE ? MHD_NO : MHD_YES;
    }
    return MHD_YES;
}

/* Answers past libmicrohttpd, which takes no answer in the middle of a body, and ends the connection. */
static enum MHD_Result answer_raw(struct sw_http_connection *c, struct request *r) {
    if (sw_http_step(c, STATE_SENDING)) {
        sw_http_send_raw_reply(c->fd, &r->x);
        r->answered = r->linger = true;
    }
    return MHD_NO;
}

static enum MHD_Result on_body(struct request *r, const char *data, size_t *len) {
    size_t n = *len;
    *len = 0;
    if (!r->discard) {
        struct sw_error err;
        if (sw_http_body_append(r, data, n, &err) == SW_OK) {
            return MHD_YES;
        }
        sw_http_reply_error(&r->x, &err);
        sw_http_body_release(r, &r->raw);
        r->rejected = r->discard = true;
    }
    r->discarded += n;
    return r->discarded <= DISCARD_MAX ? MHD_YES : answer_raw(r->x.connection, r);
}

static enum MHD_Result finish_request(struct sw_http_connection *c, struct request *r) {
    enum MHD_Result result = sw_http_send_reply(c, r);
    sw_http_busy_end(c->io, r);
    return result;
}

static sw_status finish_body(struct request *r, struct sw_error *err) {
    SW_TRY(sw_http_decode(r, err));
    if (r->x.binary_header_length != SIZE_MAX && r->x.binary_header_length > r->x.body.len) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "Inference-Header-Content-Length is %zu but the body has %zu bytes",
                       r->x.binary_header_length, r->x.body.len);
    }
    return SW_OK;
}

static enum MHD_Result on_complete(struct request *r) {
    struct sw_http_exchange *x = &r->x;
    struct sw_http_connection *c = x->connection;
    if (atomic_load_explicit(&r->async, memory_order_acquire) == ASYNC_FINISHED) {
        return finish_request(c, r); /* resumed */
    }
    if ((r->expects_body || r->expects_continue) && !sw_http_step(c, STATE_BUSY)) {
        return MHD_NO;
    }
    if (r->rejected) {
        return sw_http_send_reply(c, r);
    }
    struct sw_error err;
    if (!x->route->stream && finish_body(r, &err)) {
        sw_http_reply_error(x, &err);
        return sw_http_send_reply(c, r);
    }
    if (!sw_http_busy_begin(r)) {
        return finish_request(c, r);
    }
    return sw_http_await(r, x->route->handler(x)) ? finish_request(c, r) : MHD_YES;
}

/* In the middle of the body a stream's function has set the answer. What is left is read, so that the connection can
 * go on, when it is known to be little. */
static enum MHD_Result refuse_rest(struct request *r, const char *data, size_t *len) {
    struct sw_http_exchange *x = &r->x;
    r->rejected = r->discard = true;
    /* Of a chunked body content_length is UINT64_MAX: what is left is not known. */
    if (x->close || x->content_length - r->received > DISCARD_KEEP_MAX) {
        return answer_raw(x->connection, r);
    }
    return on_body(r, data, len);
}

/* What libmicrohttpd brings for a request until its stream has taken the whole body or set the answer. */
static enum MHD_Result on_stream(struct request *r, const char *data, size_t *len) {
    const bool beginning = r->stream == STREAM_BEGINNING, complete = *len == 0;
    enum stream_result result = r->stream == STREAM_OPEN ? STREAM_READY : sw_http_stream_resumed(r);
    if (beginning) {
        /* libmicrohttpd has repeated the call with the headers; now it sends a 100, if one is expected. */
        SW_ASSERT(complete);
        return result == STREAM_ANSWERED ? refuse(r->x.connection, r) : result == STREAM_GONE ? MHD_NO : MHD_YES;
    }
    if (result == STREAM_READY) {
        result = complete ? sw_http_stream_end(r) : sw_http_stream_take(r, data, len);
    }
    switch (result) {
    case STREAM_GONE: return MHD_NO;
    case STREAM_WAITS: return MHD_YES;
    case STREAM_READY: return complete ? on_complete(r) : MHD_YES;
    case STREAM_ANSWERED: break;
    }
    if (!complete) {
        return refuse_rest(r, data, len);
    }
    r->rejected = true;
    return on_complete(r);
}

static enum MHD_Result on_access(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
                                 const char *version, const char *data, size_t *len, void **context) {
    struct request *r = *context;
    if (!r) {
        return on_headers(cls, mhd, url, method, version, context);
    }
    if (r->stream != STREAM_NONE) {
        return on_stream(r, data, len);
    }
    return *len ? on_body(r, data, len) : on_complete(r);
}

static void on_completed(void *cls, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode code) {
    struct sw_http_io *io = cls;
    struct request *r = *context;
    struct sw_http_connection *c = connection_of(mhd);
    *context = NULL;
    if (r) {
        struct sw_http_exchange *x = &r->x;
        const struct sw_http_options *options = &io->server->options;
        sw_http_busy_end(io, r); /* a client that left while its request ran: libmicrohttpd never asks for the answer */
        if (!r->answered) {
            x->status = was_too_slow(c) ? 408 : 499; /* 499: the client went away, as others count it */
            x->error = was_too_slow(c) ? SW_E_REQUEST_TIMEOUT : SW_E_IO;
        }
        if (r->linger && code != MHD_REQUEST_TERMINATED_CLIENT_ABORT) {
            int copy = fcntl(c->fd, F_DUPFD_CLOEXEC, 0);
            if (copy >= 0) {
                sw_http_linger(io->server, copy);
            }
        }
        if (options->on_done) {
            options->on_done(options->app, x, sw_now_ns(options->clock) - x->start_ns);
        }
        sw_http_request_release(io, r);
    }
    if (c) {
        atomic_store_explicit(&c->served, true, memory_order_relaxed);
        sw_http_step(c, STATE_IDLE);
    }
}

/* The pool holds the request line, headers, what libmicrohttpd notes about each, and its read buffer, which takes half
 * of it. It is cleared after every request, so it must not be larger than needed. */
static size_t pool_size(const struct sw_http_options *options) {
    size_t size = options->header_bytes_max * 2;
    size = size < 16 * 1024 ? 16 * 1024 : size;
    return (size + 4095) & ~(size_t)4095;
}

struct MHD_Daemon *sw_http_daemon_start(struct sw_http_io *io) {
    const struct sw_http_options *options = &io->server->options;
    /* Checks of libmicrohttpd's strict mode are our own: its answer to a missing Host carries the header twice. */
    return MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC, 0, NULL,
        NULL, on_access, io, MHD_OPTION_NOTIFY_CONNECTION, on_connection, io, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
        io, MHD_OPTION_URI_LOG_CALLBACK, on_uri, io, MHD_OPTION_UNESCAPE_CALLBACK, on_unescape, io,
        MHD_OPTION_CONNECTION_LIMIT, options->connections_max + 1024u, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        pool_size(options), MHD_OPTION_CONNECTION_MEMORY_INCREMENT, (size_t)4096, MHD_OPTION_END);
}
