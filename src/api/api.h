/* The HTTP API: what the routes of spec/routes.toml do. One file a protocol: oip.c, predict.c, repository.c, ops.c, and
 * registry_*.c for the registry.
 *
 * x->app of every exchange is the struct sw_api. Wiring, by cli/serve.c: metrics, api, repository (on_ready =
 * sw_api_on_ready), sw_api_attach, HTTP server (routes, on_done = sw_api_on_done). */
#ifndef SW_API_API_H
#define SW_API_API_H

#include "http/http.h"
#include "observe/monitor.h"
#include "registry/registry.h"
#include "rollout/repository.h"
#include "rollout/serving.h"
#include "sched/cache/cache.h"
#include "sched/executor.h"
#include "sched/scheduler.h"

struct sw_api;

/* How inferences are run, where a bundle does not say; see docs/batching.md. */
struct sw_api_scheduling {
    uint64_t inline_ns_max; /* models whose measured run is shorter run on the I/O thread; 0: never */
    uint64_t alone_ns_max;  /* the same for an I/O thread with only one connection */
    uint64_t slow_ns;       /* as in struct sw_scheduler_options */
    unsigned workers;       /* the same */
    bool no_batching;
    uint64_t max_delay_ns;
    size_t queue_max;
    uint64_t wait_ns_max;
};

struct sw_api_options {
    struct sw_metrics *metrics;
    struct sw_scheduler *scheduler; /* with on_run = sw_api_on_run; borrowed until sw_api_destroy */
    struct sw_api_scheduling scheduling;
    struct sw_cache *cache; /* results of models that ask for it; borrowed until sw_api_destroy; NULL: none are kept */
    struct sw_clock *clock;
    const char *engine_version; /* of ONNX Runtime, for /version */
    enum { SW_ACCESS_LOG_OFF, SW_ACCESS_LOG_ERRORS, SW_ACCESS_LOG_ALL } access_log;
    struct sw_monitor *monitor;   /* borrowed until sw_api_destroy; NULL: its routes answer 503 */
    struct sw_registry *registry; /* borrowed until sw_api_destroy; NULL: its routes answer 503 */
    const char *registry_reason;  /* borrowed: why there is none, for these answers; may be NULL */
    struct sw_executor
        *control;        /* borrowed until the server is destroyed: where quick registry calls, which block, run.
                                     Needed with a registry */
    const char *openapi; /* borrowed until sw_api_destroy: /openapi.json; NULL: that of the API's own routes */
};

SW_MUST_CHECK sw_status sw_api_create(const struct sw_api_options *options, struct sw_api **ret, struct sw_error *err);
void sw_api_destroy(
    struct sw_api *api); /* after the server and the repository are gone, before the registry is closed */

/* Before the server starts. */
void sw_api_attach(struct sw_api *api, struct sw_repository *repository);
/* Before the server starts: readiness then waits for the first look at the registry, and tells when a later one failed.
 * Borrowed until the server is destroyed. */
void sw_api_attach_serving(struct sw_api *api, struct sw_serving *serving);
/* As soon as the server has started: connection gauges are read from it. NULL before it is destroyed. */
void sw_api_set_server(struct sw_api *api, struct sw_http_server *server);
void sw_api_set_access_log(struct sw_api *api, int mode); /* SIGHUP */

/* Readiness fails from now on (SIGTERM). */
void sw_api_set_draining(struct sw_api *api);

/* For struct sw_repository_options and struct sw_http_options. */
void sw_api_on_ready(void *api, struct sw_model *model);
void sw_api_on_done(void *api, struct sw_http_exchange *x, uint64_t duration_ns);
/* For struct sw_scheduler_options. */
void sw_api_on_run(void *model_stats, const struct sw_batch_report *report);

/* Generated from spec/routes.toml. */
extern const struct sw_route sw_api_routes[];
extern const size_t sw_api_route_count;
extern const char sw_api_openapi_json[];      /* the document of these routes, NUL-terminated */
extern const size_t sw_api_openapi_paths_end; /* bytes before the brace that ends its paths: more paths go there */

#endif
