/* Bodies in pieces, for routes with a stream function: what comes is collected in one buffer, and the function called
 * for each that is full.
 *
 *     NONE --BEGIN--> BEGINNING --done--> OPEN --DATA--> CALLED --done--> OPEN --body complete--> NONE (the handler)
 *                         |                                |
 *                         +---- the answer is set ---------+--> NONE (the answer)
 *
 * A call that returns SW_HTTP_ASYNC leaves the connection suspended: nothing is read, and it cannot be closed, until
 * somebody calls sw_http_stream_continue. Then libmicrohttpd (0.9.75 and later) repeats what it said before: the
 * headers after BEGIN, the bytes that were not taken after DATA, the end after the last DATA.
 *
 * Invariants
 * - A full piece is delivered when a further byte has come, or the body is complete. So while its call is under way
 *   something is left with libmicrohttpd, which makes it ask again at once after the call.
 * - The connection's word is BUSY exactly during a call, so the time-out is one from piece to piece.
 * - The buffer is there from before BEGIN to the last DATA's end, counted for buffered_max, and never grows. */
#include "http/http_internal.h"

sw_status sw_http_stream_prepare(struct request *r, struct sw_error *err) {
    if (r->encoding != ENCODING_IDENTITY) {
        return sw_fail(err, SW_E_UNSUPPORTED_MEDIA, "this route takes its body as it is, without a Content-Encoding");
    }
    if (!r->expects_body) {
        return SW_OK;
    }
    uint64_t length = r->x.content_length;
    return sw_http_body_grow(r, &r->raw, length < SW_HTTP_PIECE_MAX ? (size_t)length : SW_HTTP_PIECE_MAX, err);
}

/* The stream is over: the answer is set, or the handler sets it. */
static void leave(struct request *r) {
    r->stream = STREAM_NONE;
    sw_http_bodies_release(r);
}

/* A call is done. */
static enum stream_result settle(struct request *r) {
    struct sw_http_connection *c = r->x.connection;
    atomic_store_explicit(&r->async, ASYNC_NONE, memory_order_relaxed);
    sw_http_busy_end(c->io, r);
    r->raw.len = 0;
    r->stream = STREAM_OPEN;
    if (!sw_http_step(c, r->expects_body || r->expects_continue ? STATE_BODY : STATE_BUSY)) {
        return STREAM_GONE;
    }
    if (r->x.status) {
        SW_ASSERT(r->file.fd < 0); /* only the handler may answer with a file */
        leave(r);
        return STREAM_ANSWERED;
    }
    return STREAM_READY;
}

static enum stream_result call(struct request *r, enum sw_http_stream_event event, struct sw_str piece) {
    if (!sw_http_step(r->x.connection, STATE_BUSY)) {
        return STREAM_GONE;
    }
    r->stream = event == SW_HTTP_STREAM_BEGIN ? STREAM_BEGINNING : STREAM_CALLED;
    if (!sw_http_busy_begin(r)) {
        return settle(r);
    }
    return sw_http_await(r, r->x.route->stream(&r->x, event, piece)) ? settle(r) : STREAM_WAITS;
}

static enum stream_result deliver(struct request *r) {
    return call(r, SW_HTTP_STREAM_DATA, (struct sw_str){r->raw.data, r->raw.len});
}

enum stream_result sw_http_stream_begin(struct request *r) {
    return call(r, SW_HTTP_STREAM_BEGIN, (struct sw_str){NULL, 0});
}

enum stream_result sw_http_stream_resumed(struct request *r) {
    /* Acquire: what the call did is seen here. A suspended connection is not asked about. */
    SW_ASSERT(atomic_load_explicit(&r->async, memory_order_acquire) == ASYNC_FINISHED);
    return settle(r);
}

enum stream_result sw_http_stream_take(struct request *r, const char *data, size_t *len) {
    while (*len) {
        if (r->raw.len == r->raw.capacity) {
            enum stream_result result = deliver(r);
            if (result != STREAM_READY) {
                return result;
            }
        }
        size_t room = r->raw.capacity - r->raw.len, n = *len < room ? *len : room;
        memcpy(r->raw.data + r->raw.len, data, n);
        r->raw.len += n;
        r->received += n;
        data += n;
        *len -= n;
    }
    return STREAM_READY;
}

enum stream_result sw_http_stream_end(struct request *r) {
    if (r->raw.len) {
        enum stream_result result = deliver(r);
        if (result != STREAM_READY) {
            return result;
        }
    }
    leave(r);
    return STREAM_READY;
}
