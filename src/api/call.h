/* One inference, from the body of a request to its answer: the way through every protocol that runs models, those of
 * applications too.
 *
 * A codec says how a body becomes runs of the model and how their outputs become the answer; everything between is the
 * same for all: the model's reference, where the work happens, time-outs, counting. A protocol's own struct begins with
 * struct sw_api_call, lives in the request's arena and is zeroed:
 *
 *     struct my_call { struct sw_api_call call; ... };
 *     static const struct sw_api_codec codec = {.call_size = sizeof(struct my_call), .parse = ..., .encode = ...};
 *     enum sw_http_result my_handler(struct sw_http_exchange *x) {
 *         struct sw_api_call *call;
 *         struct sw_error err;
 *         if (sw_api_call_create(x, &codec, SW_STR("my-model"), (struct sw_str){NULL, 0}, &call, &err)) {
 *             return sw_api_reply_error(x, &err);
 *         }
 *         return sw_api_call_run(call);
 *     }
 *
 * Threads: create and run are called by the route's handler (I/O thread); the codec's functions run there or on a
 * worker, one after the other and never two at once. */
#ifndef SW_API_CALL_H
#define SW_API_CALL_H

#include <stdatomic.h>

#include "http/http.h"
#include "pipeline/model.h"
#include "sched/work.h"

struct sw_api;
struct sw_api_cached;
struct sw_api_call;
struct sw_api_model;

/* What the result cache had for a call. */
enum sw_api_cache_result {
    SW_API_CACHE_OFF,    /* the model has none, or was not asked yet */
    SW_API_CACHE_MISS,   /* the model ran */
    SW_API_CACHE_HIT,    /* it did not */
    SW_API_CACHE_SHARED, /* it ran once, for several that came at the same time: this is not the one it ran for */
    SW_API_CACHE_BYPASS, /* the client wanted a run */
    SW_API_CACHE_RESULTS
};

/* A protocol; a constant. Memory comes from x->arena. */
struct sw_api_codec {
    size_t call_size; /* of the protocol's struct, which begins with struct sw_api_call */
    /* Body to call->runs. */
    sw_status (*parse)(struct sw_api_call *call, struct sw_error *err);
    /* Outputs of the runs to the answer, status 200 included. */
    sw_status (*encode)(struct sw_api_call *call, struct sw_error *err);
    /* Sets the answer of a failure of parse, the runs or encode, or of a full queue. NULL: sw_http_reply_error. */
    void (*fail)(struct sw_api_call *call, const struct sw_error *err);
};

struct sw_api_call {
    struct sw_http_exchange *x;
    struct sw_api *api;
    const struct sw_api_codec *codec;
    struct sw_model *model; /* a reference, dropped when the arena is reset */
    struct sw_api_model *stats;
    struct sw_inference *runs; /* of parse; in the arena */
    size_t run_count;          /* at least 1 after parse */
    uint64_t deadline_ns;      /* when the answer is wanted, on the API's clock; 0: any time */
    enum sw_priority priority;
    bool parsed;
    bool batched;      /* the scheduler ran it, and counted the run */
    uint64_t start_ns; /* on the API's clock */
    uint64_t parse_ns, queue_ns;
    struct sw_work work; /* call.c: what waits in the scheduler */

    bool looked_up;               /* the result cache was asked */
    struct sw_api_cached *cached; /* cached.c's; NULL: no cache for this call */
    enum sw_api_cache_result cache_result;

    /* call.c: what has to be done before the runs: parse, and each sw_api_call_hold of it. */
    atomic_int holds;
    const struct sw_error *held_error; /* why a hold failed; NULL: it did not */
};

/* Acquires the model and makes the call. version: a number, an alias, or empty for what is live. The model's version is
 * put into the answer's headers. SW_E_NOT_FOUND, SW_E_UNAVAILABLE: of sw_repository_acquire; SW_E_INVALID_ARGUMENT: a
 * deadline or priority in the headers that is none. */
SW_MUST_CHECK sw_status sw_api_call_create(struct sw_http_exchange *x, const struct sw_api_codec *codec,
                                           struct sw_str name, struct sw_str version, struct sw_api_call **ret,
                                           struct sw_error *err);
/* Parses, runs and answers, here or on a worker; the handler returns what this returns. */
enum sw_http_result sw_api_call_run(struct sw_api_call *call);

/* Both, for the model that the path names (parameter 0, and 1 when the route has a version); a failure is answered. */
enum sw_http_result sw_api_call_start(struct sw_http_exchange *x, const struct sw_api_codec *codec);

/* For a part of the request that has to be waited for and must not keep a worker from running models (a picture that
 * another server has). parse calls hold, hands the call to a thread that may wait, no longer touches the call, its runs
 * or the arena, and returns SW_OK; that thread completes the runs, with x->arena for memory, and calls release as its
 * last act on the call. The runs begin then, or the call fails with the error given. One hold a call. A parse that fails
 * after a hold has handed the call to nobody; the hold is void. */
/* The releasing thread has to end before the API's scheduler is stopped: release may hand the call to it. */
void sw_api_call_hold(struct sw_api_call *call);
void sw_api_call_release(struct sw_api_call *call, const struct sw_error *err); /* err NULL: done */

/* ---- for parse */

/* A deadline and a priority in the body, as Triton has them: microseconds (0: none) from the end of the headers, the
 * earlier of this and X-Timeout-Ms counts; and 1 for high, more for normal, 0 for what X-Priority says.
 * SW_E_INVALID_ARGUMENT naming the parameter. */
SW_MUST_CHECK sw_status sw_api_call_set_timeout_us(struct sw_api_call *call, int64_t timeout_us, struct sw_error *err);
SW_MUST_CHECK sw_status sw_api_call_set_priority(struct sw_api_call *call, int64_t priority, struct sw_error *err);

enum sw_api_body { SW_API_BODY_JSON, SW_API_BODY_STEP };
/* What the Content-Type says the body is: JSON, or one element for the model's input step; SW_E_UNSUPPORTED_MEDIA. */
SW_MUST_CHECK sw_status sw_api_body_kind(const struct sw_api_call *call, enum sw_api_body *ret, struct sw_error *err);
/* The Content-Type without its parameters, blanks trimmed; empty when there is none. */
struct sw_str sw_api_media_type(struct sw_http_exchange *x);
bool sw_api_is_json(struct sw_str media_type);
/* The only input that must be given; NULL when there are several or none. */
const struct sw_tensor_spec *sw_api_only_input(const struct sw_model *model);
/* One run with one BYTES tensor whose only element is `element` (not copied). SW_E_UNSUPPORTED_MEDIA: the model has no
 * such input; SW_E_INVALID_ARGUMENT: the element is empty, or the input takes several. */
SW_MUST_CHECK sw_status sw_api_one_element(struct sw_api_call *call, struct sw_str element, struct sw_error *err);
/* The same with the whole body. */
SW_MUST_CHECK sw_status sw_api_body_as_element(struct sw_api_call *call, struct sw_error *err);
/* One run of `count` inputs. */
SW_MUST_CHECK sw_status sw_api_one_run(struct sw_api_call *call, struct sw_tensor *inputs, size_t count,
                                       struct sw_error *err);

#endif
