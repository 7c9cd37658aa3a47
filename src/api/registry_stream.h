/* Bodies that go to disk as they arrive: what the two stream routes (upload, push) share.
 *
 *   BEGIN --open (lane PIECES)--> DATA --write (PIECES)--> DATA ... --> handler --finish (BULK or PIECES)--> answer
 *
 * At most SW_API_STREAMS_MAX at once, each with at most one job on the lane of pieces, whose queue therefore never
 * refuses. However a stream ends (answered, refused, client gone), its upload is closed exactly once: by the step that
 * used it up, by a step that failed, or after the exchange's arena is reset. */
#ifndef SW_API_REGISTRY_STREAM_H
#define SW_API_REGISTRY_STREAM_H

#include "api/registry_common.h"

/* What outlives the exchange. */
struct sw_api_held_upload {
    struct sw_api *api;
    struct sw_upload *upload; /* NULL: not open (any more) */
    char id[SW_UPLOAD_ID + 1];
    bool temporary; /* deleted when the stream ends; else what was received is kept for another request */
};

struct sw_api_stream;
typedef sw_status sw_api_stream_step(struct sw_api_stream *stream, struct sw_error *err);

struct sw_api_stream { /* in the arena; x->state */
    struct sw_http_exchange *x;
    struct sw_api *api;
    struct sw_api_held_upload *held;
    struct sw_str piece;
    sw_api_stream_step *step;
    void (*done)(struct sw_http_exchange *x);
    void *request; /* of the route */
};

/* In BEGIN. Takes a place among the streams (SW_E_TOO_MANY_REQUESTS) and makes x->state. */
SW_MUST_CHECK sw_status sw_api_stream_create(struct sw_http_exchange *x, void *request, bool temporary,
                                             struct sw_api_stream **ret, struct sw_error *err);
/* Runs a step on a lane, then goes on with the stream. A step that fails is answered with its error; one may also set
 * an answer and return SW_OK. */
enum sw_http_result sw_api_stream_run(struct sw_api_stream *stream, enum sw_api_lane lane, sw_api_stream_step *step);
/* DATA: appends the piece. */
enum sw_http_result sw_api_stream_write(struct sw_http_exchange *x, struct sw_str piece);
/* The same as run for the last step, in the route's handler. */
enum sw_http_result sw_api_stream_finish(struct sw_http_exchange *x, enum sw_api_lane lane, sw_api_stream_step *step);
/* The upload for a call that closes it; held no more. */
struct sw_upload *sw_api_stream_take(struct sw_api_stream *stream);
/* Closes the upload now if it is open, and deletes it if it is temporary. */
void sw_api_stream_end(struct sw_api_stream *stream);

#endif
