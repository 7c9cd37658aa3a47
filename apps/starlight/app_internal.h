/* What the files of the HTTP side share.
 *
 *   app.c          life; the handler of /inference; fetching
 *   app_request.c  from a request to an image: JSON, form, raw
 *   app_answer.c   from the outputs of the model to the answer
 *   app_metrics.c  starlight_* metrics */
#ifndef APPS_STARLIGHT_APP_INTERNAL_H
#define APPS_STARLIGHT_APP_INTERNAL_H

#include "api/call.h"
#include "apps/starlight/app.h"
#include "apps/starlight/text.h"
#include "sched/executor.h"

enum { FORMAT_LABELS = SW_STARLIGHT_FORMATS + 1, VERDICT_LABELS = SW_STARLIGHT_METHODS + 1 };

/* Series, made at their first use. */
struct app_metrics {
    struct sw_metrics *metrics;
    struct sw_series *duration, *bytes;
    _Atomic(struct sw_series *) inferences[VERDICT_LABELS][FORMAT_LABELS]; /* by method, the last: clean; by format, the
                                                                              last: another */
    _Atomic(struct sw_series *) refused[SW_STATUS_COUNT];
    _Atomic(struct sw_series *) fetches[SW_STATUS_COUNT];
};

struct sw_starlight_app {
    uint32_t magic;
    struct sw_starlight_app_options options; /* its texts for the fetcher are gone after create */
    char *model;
    struct sw_fetcher *fetcher;   /* NULL: image_url is not allowed */
    struct sw_executor *fetching; /* its lane */
    struct app_metrics metrics;
};

/* One POST /inference; in the request's arena. */
struct inference {
    struct sw_api_call call; /* first */
    struct sw_starlight_app *app;
    const char *field; /* where the image is, for errors: "image_url", "image_base64", the form's field, "body" */
    struct sw_str image;
    struct sw_str url; /* data not NULL: the image is to be fetched from there */
    struct sw_fetched fetched;
};

/* ---- app_request.c */

/* The request's one image, or its URL; and its place in c->field. SW_E_INVALID_ARGUMENT: none, several, malformed;
 * SW_E_UNSUPPORTED_MEDIA: a content type that is none of these; SW_E_TOO_LARGE. */
SW_MUST_CHECK sw_status app_read_request(struct inference *c, struct sw_error *err);
/* Bounds the image and makes it the model's input. SW_E_INFERENCE_FAILED: the model takes no images. */
SW_MUST_CHECK sw_status app_use_image(struct inference *c, struct sw_str image, struct sw_error *err);

/* ---- app_answer.c */

/* SW_E_INFERENCE_FAILED: the model lacks an output. */
SW_MUST_CHECK sw_status app_encode(struct sw_api_call *call, struct sw_error *err);

/* ---- app_metrics.c */

void app_metrics_init(struct app_metrics *m, struct sw_metrics *metrics);
/* method SW_STARLIGHT_METHODS: clean. format: as the image's info names it. */
void app_metrics_count(struct app_metrics *m, enum sw_starlight_method method, struct sw_str format, uint64_t bytes,
                       uint64_t duration_ns);
void app_metrics_refused(struct app_metrics *m, sw_status reason);
void app_metrics_fetched(struct app_metrics *m, sw_status outcome);

#endif
