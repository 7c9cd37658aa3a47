#include "api/registry_stream.h"

/* ---- life */

/* Closing and deleting touch the disk: not on an I/O thread. */
static void end_held(struct sw_api_held_upload *held) {
    struct sw_error err;
    sw_upload_close(held->upload);
    held->upload = NULL;
    if (held->temporary && held->id[0]) {
        sw_status status = sw_upload_delete(sw_registry_artifacts(held->api->options.registry), sw_str_of(held->id),
                                            &err);
        if (status && status != SW_E_NOT_FOUND) { /* gc finds it later */
            struct sw_log_field fields[] = {SW_F_STR("upload", held->id), SW_F_STR("reason", err.message)};
            sw_log_write(SW_LOG_WARN, "a temporary upload could not be deleted", fields, SW_COUNTOF(fields));
        }
    }
    held->id[0] = '\0';
}

static void free_held(void *arg) { /* lane of pieces, or the I/O thread when nothing is open */
    struct sw_api_held_upload *held = arg;
    struct sw_api *api = held->api;
    end_held(held);
    sw_free(held);
    atomic_fetch_sub(&api->streams, 1); /* last: the place in the lane is this stream's until here */
}

static void release(void *arg) { /* I/O thread, when the arena is reset */
    struct sw_api_held_upload *held = arg;
    bool is_ended = !held->upload && !(held->temporary && held->id[0]);
    if (is_ended || sw_api_submit(held->api, SW_API_PIECES, free_held, held, NULL)) {
        free_held(held);
    }
}

static struct sw_api_held_upload *hold(struct sw_http_exchange *x, bool temporary) {
    struct sw_api_held_upload *held = sw_calloc(1, sizeof *held);
    if (held) {
        *held = (struct sw_api_held_upload){.api = sw_api_of(x), .temporary = temporary};
    }
    if (held && !sw_arena_defer(&x->arena, release, held)) {
        sw_free(held);
        return NULL;
    }
    return held;
}

sw_status sw_api_stream_create(struct sw_http_exchange *x, void *request, bool temporary, struct sw_api_stream **ret,
                               struct sw_error *err) {
    struct sw_api *api = sw_api_of(x);
    if (atomic_fetch_add(&api->streams, 1) >= SW_API_STREAMS_MAX) {
        atomic_fetch_sub(&api->streams, 1);
        return sw_fail(err, SW_E_TOO_MANY_REQUESTS, "%d uploads are under way already", SW_API_STREAMS_MAX);
    }
    struct sw_api_stream *stream = sw_arena_calloc(&x->arena, 1, sizeof *stream);
    struct sw_api_held_upload *held = stream ? hold(x, temporary) : NULL;
    if (!held) {
        atomic_fetch_sub(&api->streams, 1);
        return sw_api_no_memory(err);
    }
    *stream = (struct sw_api_stream){.x = x, .api = api, .held = held, .request = request};
    x->state = stream;
    *ret = stream;
    return SW_OK;
}

struct sw_upload *sw_api_stream_take(struct sw_api_stream *stream) {
    struct sw_upload *upload = stream->held->upload;
    stream->held->upload = NULL;
    return upload;
}

void sw_api_stream_end(struct sw_api_stream *stream) {
    end_held(stream->held);
}

/* ---- steps */

static void run_step(void *arg) { /* a thread of the lane */
    struct sw_api_stream *stream = arg;
    struct sw_http_exchange *x = stream->x;
    struct sw_error err;
    if (stream->step(stream, &err)) {
        sw_api_stream_end(stream); /* before the answer: who reads it may open the upload again at once */
        sw_http_reply_error(x, &err);
    }
    stream->done(x); /* not ours from here on */
}

static enum sw_http_result start(struct sw_api_stream *stream, enum sw_api_lane lane, sw_api_stream_step *step,
                                 void (*done)(struct sw_http_exchange *x)) {
    struct sw_error err;
    stream->step = step;
    stream->done = done;
    if (sw_api_submit(stream->api, lane, run_step, stream, &err)) {
        return sw_api_reply_error(stream->x, &err);
    }
    return SW_HTTP_ASYNC;
}

enum sw_http_result sw_api_stream_run(struct sw_api_stream *stream, enum sw_api_lane lane, sw_api_stream_step *step) {
    return start(stream, lane, step, sw_http_stream_continue);
}

static sw_status write_piece(struct sw_api_stream *stream, struct sw_error *err) {
    return sw_upload_write(stream->held->upload, stream->piece.data, stream->piece.len, err);
}

enum sw_http_result sw_api_stream_write(struct sw_http_exchange *x, struct sw_str piece) {
    struct sw_api_stream *stream = x->state;
    SW_ASSERT(stream && stream->held->upload); /* a BEGIN that did not open it has set an answer */
    stream->piece = piece;
    return sw_api_stream_run(stream, SW_API_PIECES, write_piece);
}

enum sw_http_result sw_api_stream_finish(struct sw_http_exchange *x, enum sw_api_lane lane, sw_api_stream_step *step) {
    SW_ASSERT(x->state);
    return start(x->state, lane, step, sw_http_finish);
}
