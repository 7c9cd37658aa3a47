/* What the files of api share beside what applications may use too (call.h, reply.h, mount.h): the state of the API,
 * statistics of a model, and rows of the repository. */
#ifndef SW_API_API_INTERNAL_H
#define SW_API_API_INTERNAL_H

#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

#include "api/api.h"
#include "api/call.h"
#include "api/mount.h"
#include "api/reply.h"
#include "base/log.h"
#include "base/map.h"
#include "base/memory.h"
#include "spec/routes.h"
#include "tensor/oip_tensor.h"

struct sw_api_model;

enum { SW_API_MAGIC = 0x53574150, SW_API_STREAMS_MAX = 64 };

/* Where work on the registry runs (registry_common.h). Only the first is an executor of the options; the others are the
 * API's own, so that slow work never holds up quick questions, and a piece of an upload always finds its place in the
 * queue. */
enum sw_api_lane {
    SW_API_QUICK,   /* milliseconds: questions, small changes, rollbacks */
    SW_API_GATES,   /* promotions: loads and runs a model */
    SW_API_BULK,    /* as long as files are large: unpack, commit to the artifact store, gc, audit verify */
    SW_API_FILES,   /* downloads: verifying a file before it is sent reads it */
    SW_API_PIECES,  /* one piece of a streamed body; at most one job for each of SW_API_STREAMS_MAX streams */
    SW_API_CACHE,   /* purging the result cache; there without a registry too */
    SW_API_MONITOR, /* what the monitor is asked and told; there without a registry too */
    SW_API_LANES
};

struct sw_api {
    uint32_t magic;
    struct sw_api_options options;
    struct sw_repository *repository;
    struct sw_serving *serving;              /* NULL: models come from files only */
    struct sw_executor *lanes[SW_API_LANES]; /* NULL: without what it works on */
    atomic_uint streams;                     /* bodies being streamed */
    _Atomic(struct sw_http_server *) server; /* NULL before start and after destroy */
    atomic_int access_log;
    atomic_bool draining;
    uint64_t started_ns;
    pthread_mutex_t models_lock;
    struct sw_map models;        /* "name/version" -> struct sw_api_model; entries live as long as the API */
    struct sw_api_model *none;   /* counts requests that reached no model */
    pthread_mutex_t scrape_lock; /* one scrape at a time */
};

struct sw_api *sw_api_of(struct sw_http_exchange *x); /* x->app, checked */

/* ---- model.c: statistics of a model version; they outlive loads and unloads */

struct sw_api_shard;
struct sw_api_routes_row;

struct sw_api_model {
    char *name;            /* "" for none */
    char version_text[24]; /* "" for none */
    char *answer_head;     /* {"model_name":"x","model_version":"1" */
    size_t answer_head_length;
    struct sw_series *phases[4]; /* queue, pre, run, post; by enum sw_api_phase */
    struct sw_series *latency;
    struct sw_recorder *recorder; /* of the monitor; NULL: there is none */
    _Atomic(struct sw_series *) failures[SW_STATUS_COUNT];
    _Atomic(struct sw_api_routes_row *) *rows; /* by route index; the last: no route */
    struct sw_api_shard *shards;
    struct sw_flow *flow;                                   /* NULL for none */
    struct sw_series *batch_rows;                           /* NULL for none */
    struct sw_cache_model *cache;                           /* NULL: its results are not kept */
    struct sw_series *cache_requests[SW_API_CACHE_RESULTS]; /* with cache; but for OFF */
};

enum sw_api_phase { SW_API_QUEUE, SW_API_PRE, SW_API_RUN, SW_API_POST };

/* One inference as it is counted; times in nanoseconds. Runs of the scheduler are counted by sw_api_on_run. */
struct sw_api_sample {
    sw_status status;
    uint64_t executions; /* that sw_api_on_run did not count */
    uint64_t batch_size; /* rows of each */
    uint64_t now_ns;     /* when it ended, on the API's clock */
    uint64_t total_ns;
    uint64_t phase_ns[4];
    enum sw_api_cache_result cache;
    bool client_gone; /* it failed because nobody waits for it any more */
};

struct sw_api_model *sw_api_model_create(struct sw_api *api, const char *name, int64_t version); /* name NULL: none */
void sw_api_model_destroy(struct sw_api_model *m);
void sw_api_model_count(struct sw_api *api, struct sw_api_model *m, const struct sw_api_sample *sample);
void sw_api_model_count_http(struct sw_api *api, struct sw_api_model *m, const struct sw_http_exchange *x,
                             uint64_t duration_ns);
/* What the model said, for the monitor: verdicts and predictions among the outputs of one run of `rows` rows. */
void sw_api_model_observe(struct sw_api_model *m, const struct sw_model *model, const struct sw_inference *run,
                          uint64_t rows);
/* Requests that the result cache had, and had not. */
void sw_api_model_cache_totals(const struct sw_api_model *m, uint64_t *ret_hits, uint64_t *ret_misses);
/* Appends the model_stats object of the statistics extension. */
void sw_api_model_write_stats(const struct sw_api *api, const struct sw_api_model *m, struct sw_buf *out);

/* ---- terms.c: deadline and priority of a request */

/* From the headers and the bundle. SW_E_INVALID_ARGUMENT naming the header. */
SW_MUST_CHECK sw_status sw_api_read_terms(struct sw_api_call *call, struct sw_error *err);

/* ---- call.c, for cached.c */

/* The outputs are there: encodes (or says why that cannot be) and counts. The answer is not sent yet. */
void sw_api_call_answer(struct sw_api_call *call);
void sw_api_call_fail(struct sw_api_call *call, const struct sw_error *err);
/* To the scheduler, from any thread; SW_HTTP_DONE: refused, and answered so, not sent yet. */
enum sw_http_result sw_api_call_go_on(struct sw_api_call *call);

/* ---- cached.c: the result cache on the way of an inference; see there */

enum sw_api_found { SW_API_MISS, SW_API_HIT, SW_API_WAITS };
enum sw_api_found sw_api_cached_look(struct sw_api_call *call);
bool sw_api_cached_has(const struct sw_api_call *call, size_t run); /* are this run's outputs from the cache? */
size_t sw_api_cached_count(const struct sw_api_call *call);         /* how many runs' are */
void sw_api_cached_keep(struct sw_api_call *call);                  /* the model ran, and the call is answered */
void sw_api_cached_fail(struct sw_api_call *call, const struct sw_error *err); /* it is to be answered with an error */
void sw_api_cached_end(struct sw_api_call *call); /* the last before the answer is sent, whatever it is */
/* Sets up what the bundle asks for, before the model is published. */
void sw_api_cache_model(struct sw_api *api, struct sw_api_model *m, struct sw_model *model);

/* ---- cache.c */

void sw_api_set_cache_gauges(struct sw_api *api, struct sw_metrics *metrics);

/* ---- scheduling.c: how a model's requests are run, and how that is shown */

/* Decides model->plan and sets up the flow; before the model is published. */
void sw_api_schedule_model(struct sw_api *api, struct sw_api_model *m, struct sw_model *model);
/* ,"scheduling":{...} of the statistics. */
void sw_api_put_scheduling(struct sw_buf *out, const struct sw_api_model *m);
/* ,"dynamic_batching":{...},"instance_group":[...] of the configuration, as far as they apply. */
void sw_api_put_batching(struct sw_buf *out, const struct sw_api_model *m);
/* Calls fn with "key", "value" for what the configuration shows as parameters. */
void sw_api_describe_plan(const struct sw_model *model, void (*fn)(void *arg, const char *key, const char *value),
                          void *arg);
uint64_t sw_api_max_batch(const struct sw_model *model); /* rows; 0: not batched */
void sw_api_set_queue_gauges(struct sw_api *api, struct sw_metrics *metrics);

/* ---- rows.c: the repository, copied into the arena so that no lock is held while an answer is written */

struct sw_api_row {
    const char *name;
    int64_t version;
    enum sw_model_state state;
    const char *reason;
    bool live, managed; /* as struct sw_repository_row */
    uint64_t bytes;
    /* of ready versions; else NULL and 0 */
    struct sw_api_model *stats;
    const char *model_path;
    uint64_t loaded_wall_ms, load_ns;
    double accuracy, false_positive_rate; /* NaN: nobody measured it */
};

/* Rows of the model (name.data NULL: of all) in the repository's order. SW_E_UNAVAILABLE: out of memory. */
SW_MUST_CHECK sw_status sw_api_rows(struct sw_api *api, struct sw_arena *arena, struct sw_str name,
                                    struct sw_api_row **ret, size_t *ret_count, struct sw_error *err);
void sw_api_put_version(struct sw_buf *out, int64_t version); /* as a JSON string; "" when not known */
sw_status sw_api_unknown_model(struct sw_str name, struct sw_error *err);

/* ---- ops.c */

void sw_api_scrape(void *api, struct sw_metrics *metrics);
/* "status", ..., "models" and "degraded" of /health, without braces. */
SW_MUST_CHECK sw_status sw_api_put_health(struct sw_http_exchange *x, struct sw_buf *out, struct sw_error *err);
/* Not draining, the registry read once, and every first load over; else *ret_reason (arena) says why. */
bool sw_api_is_ready(struct sw_api *api, struct sw_arena *arena, const char **ret_reason);

/* ---- degraded.c: parts that are away while serving goes on */

/* ,"degraded":[{"part","reason"}]; nothing when all are well. */
void sw_api_put_degraded(struct sw_api *api, struct sw_buf *out);
/* Has the registry been read since the start, and is what it wanted then loaded, well or not? Else *ret_reason (static
 * or arena). True where nothing follows a registry. */
bool sw_api_registry_seen(struct sw_api *api, struct sw_arena *arena, const char **ret_reason);
void sw_api_set_dependency_gauges(struct sw_api *api, struct sw_metrics *metrics);

/* ---- predict_parse.c */

struct sw_predict_call {
    struct sw_api_call call;
    bool columnar; /* "inputs" asked for, answered with "outputs" */
    bool each;     /* one run a row */
    bool strip;    /* each: dimension 0 of an output is the 1 that the row did not spell out */
    size_t rows;
};

SW_MUST_CHECK sw_status sw_predict_parse(struct sw_api_call *call, struct sw_error *err);
/* The same for a body known to be JSON. */
SW_MUST_CHECK sw_status sw_predict_parse_json(struct sw_api_call *call, struct sw_error *err);

/* ---- oip_infer.c */

extern const struct sw_api_codec sw_oip_infer_codec;

#endif
