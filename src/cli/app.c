/* Wiring of the server. The order of destruction is the point: first nothing new comes in, then what runs ends, then
 * what it used goes. */
#include "cli/app.h"

#include "api/api.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/thread.h"
#include "cli/apps.h"
#include "cli/backend.h"
#include "cli/cache_config.h"
#include "cli/engines.h"
#include "cli/monitoring_config.h"
#include "http/http.h"
#include "observe/metrics.h"
#include "registry/upkeep.h"
#include "rollout/serving.h"
#include "sched/executor.h"
#include "sched/scheduler.h"

/* Calls of the registry block on database and disks: they have threads of their own, so that no prediction waits. */
enum { MODEL_THREADS_DEFAULT = 1, CONTROL_THREADS = 4, CONTROL_QUEUE = 256, RETRY_MIN_MS = 500, RETRY_MAX_MS = 5000 };

struct sw_app {
    struct sw_cli_engines engines;
    struct sw_metrics *metrics;
    struct sw_scheduler *scheduler;
    struct sw_cache *cache;      /* NULL: switched off */
    struct sw_executor *control; /* NULL without a registry */
    struct sw_backend backend;
    struct sw_monitor *monitor; /* NULL: switched off */
    struct sw_apps *apps;
    struct sw_api *api;
    struct sw_repository *repository;
    struct sw_http_server *server;
    pthread_mutex_t serving_lock; /* the store's watcher lives longer than serving */
    struct sw_serving *serving;   /* NULL: not yet, no more, or no registry */
    struct sw_upkeep *upkeep;     /* NULL: the same */
    uint64_t keep_predictions_ms;
};

/* A number of threads from its key: 0 is one per core, within the key's bounds. */
static unsigned thread_count(const struct sw_config *config, enum sw_config_key key) {
    uint64_t n = sw_config_number(config, key);
    if (n == 0) {
        n = sw_cpu_count();
    }
    return (unsigned)(n < sw_config_keys[key].max ? n : sw_config_keys[key].max);
}

static sw_status create_scheduler(struct sw_app *app, const struct sw_config *config, struct sw_error *err) {
    struct sw_scheduler_options options = {
        .workers = thread_count(config, SW_KEY_SCHEDULER_WORKERS),
        .slow_ns = sw_config_ms(config, SW_KEY_SCHEDULER_SLOW_RUN) * 1000000,
        .clock = sw_clock_system(),
        .on_run = sw_api_on_run,
    };
    return sw_scheduler_create(&options, &app->scheduler, err);
}

static struct sw_api_scheduling scheduling(const struct sw_config *config) {
    return (struct sw_api_scheduling){
        .inline_ns_max = sw_config_number(config, SW_KEY_SCHEDULER_INLINE_MAX_US) * 1000,
        .alone_ns_max = sw_config_number(config, SW_KEY_SCHEDULER_INLINE_ALONE_MAX_US) * 1000,
        .slow_ns = sw_config_ms(config, SW_KEY_SCHEDULER_SLOW_RUN) * 1000000,
        .workers = thread_count(config, SW_KEY_SCHEDULER_WORKERS),
        .no_batching = !sw_config_bool(config, SW_KEY_SCHEDULER_BATCHING),
        .max_delay_ns = sw_config_number(config, SW_KEY_SCHEDULER_MAX_DELAY_US) * 1000,
        .queue_max = sw_config_number(config, SW_KEY_SCHEDULER_QUEUE),
        .wait_ns_max = sw_config_ms(config, SW_KEY_SCHEDULER_QUEUE_TIME) * 1000000,
    };
}

static sw_status create_api(struct sw_app *app, const struct sw_config *config, struct sw_error *err) {
    struct sw_api_options options = {
        .metrics = app->metrics,
        .scheduler = app->scheduler,
        .scheduling = scheduling(config),
        .cache = app->cache,
        .clock = sw_clock_system(),
        .engine_version = sw_app_engine_version(app),
        .access_log = (int)sw_config_number(config, SW_KEY_LOG_ACCESS),
        .monitor = app->monitor,
        .registry = app->backend.registry,
        .registry_reason = app->backend.reason,
        .control = app->control,
        .openapi = sw_apps_openapi(app->apps),
    };
    return sw_api_create(&options, &app->api, err);
}

static size_t queue_depth(void *arg) {
    struct sw_app *app = arg;
    return sw_scheduler_waiting(app->scheduler);
}

static sw_status open_backend(struct sw_app *app, const struct sw_config *config, struct sw_error *err) {
    struct sw_model_options model = sw_cli_model_options(&app->engines, MODEL_THREADS_DEFAULT);
    bool warning;
    SW_TRY(sw_backend_open(config, &model, &app->backend, &warning, err));
    if (warning) {
        sw_log(SW_LOG_WARN, "no registry", SW_F_STR("reason", app->backend.reason));
    }
    if (!app->backend.registry) {
        return SW_OK;
    }
    return sw_executor_create(CONTROL_THREADS, CONTROL_QUEUE, &app->control, err);
}

/* Upkeep thread. */
static void keep_monitor(void *arg) {
    struct sw_app *app = arg;
    if (app->monitor) {
        sw_monitor_keep(app->monitor, false);
    }
}

/* --- the registry as the repository's and the follower's source -------------------------------------------------- */

static sw_status changes(void *arg, int64_t since, struct sw_arena *arena, struct sw_served_model **ret,
                         size_t *ret_count, int64_t *ret_revision, struct sw_error *err) {
    struct sw_app *app = arg;
    return sw_registry_serving(app->backend.registry, since, &app->backend.policy, arena, ret, ret_count, ret_revision,
                               err);
}

static sw_status materialise(void *arg, const char *model, int64_t version, char **ret_path, struct sw_error *err) {
    struct sw_app *app = arg;
    return sw_registry_materialise(app->backend.registry, model, version, ret_path, err);
}

static void dematerialise(void *arg, const char *path) {
    struct sw_app *app = arg;
    sw_registry_dematerialise(app->backend.registry, path);
}

/* Watcher thread of the store. */
static void on_changed(void *arg, int64_t revision) {
    struct sw_app *app = arg;
    pthread_mutex_lock(&app->serving_lock);
    if (app->serving) {
        sw_serving_wake(app->serving);
    }
    pthread_mutex_unlock(&app->serving_lock);
}

sw_status sw_app_follow(struct sw_app *app, struct sw_error *err) {
    if (!app->backend.registry) {
        return SW_OK;
    }
    struct sw_serving_options options = {
        .repository = app->repository,
        .source = {.arg = app, .changes = changes},
        .retry_min_ms = RETRY_MIN_MS,
        .retry_max_ms = RETRY_MAX_MS,
        .clock = sw_clock_system(),
    };
    struct sw_serving *serving;
    SW_TRY(sw_serving_start(&options, &serving, err));
    sw_api_attach_serving(app->api, serving);
    pthread_mutex_lock(&app->serving_lock);
    app->serving = serving;
    pthread_mutex_unlock(&app->serving_lock);
    SW_TRY(sw_store_watch(app->backend.store, on_changed, app, err));
    struct sw_upkeep_options upkeep = {
        .store = app->backend.store,
        .artifacts = app->backend.artifacts,
        .keep_predictions_ms = app->keep_predictions_ms,
        .also = keep_monitor,
        .also_arg = app,
        .clock = sw_clock_system(),
    };
    return sw_upkeep_start(&upkeep, &app->upkeep, err);
}

bool sw_app_has_followed(struct sw_app *app) {
    return !app->serving || sw_serving_ready(app->serving);
}

struct followed {
    size_t count;
    char *name;
    size_t name_size;
};

static void note_live(void *arg, const struct sw_repository_row *row) {
    struct followed *f = arg;
    if (row->managed && row->live && row->state == SW_MODEL_READY) {
        if (f->count++ == 0 && f->name) {
            snprintf(f->name, f->name_size, "%s", row->name);
        }
    }
}

size_t sw_app_followed(struct sw_app *app, char *ret_name, size_t name_size) {
    struct followed f = {.name = ret_name, .name_size = name_size};
    sw_repository_each(app->repository, note_live, &f);
    return f.count;
}

/* The lock is not held while it ends: the watcher must not wait for the follower. */
static void stop_following(struct sw_app *app) {
    pthread_mutex_lock(&app->serving_lock);
    struct sw_serving *serving = app->serving;
    app->serving = NULL;
    pthread_mutex_unlock(&app->serving_lock);
    sw_serving_stop(serving);
}

/* --- the rest ---------------------------------------------------------------------------------------------------- */

static sw_status create_repository(struct sw_app *app, const struct sw_config *config, struct sw_error *err) {
    struct sw_repository_options options = {
        .model = sw_cli_model_options(&app->engines, MODEL_THREADS_DEFAULT),
        .on_ready = sw_api_on_ready,
        .on_ready_arg = app->api,
        .fetch = materialise,
        .unfetch = dematerialise,
        .fetch_arg = app,
        .keep_previous_ms = sw_config_ms(config, SW_KEY_REGISTRY_KEEP_PREVIOUS),
        .memory_max = sw_config_number(config, SW_KEY_REGISTRY_MEMORY),
    };
    options.model.trial = sw_config_bool(config, SW_KEY_SCHEDULER_BATCHING);
    SW_TRY(sw_repository_create(&options, &app->repository, err));
    sw_api_attach(app->api, app->repository);
    return SW_OK;
}

static sw_status create_parts(struct sw_app *app, const struct sw_config *config, struct sw_error *err) {
    SW_TRY(sw_cli_engines_open(config, &app->engines, err));
    app->metrics = sw_metrics_create();
    SW_TRY(create_scheduler(app, config, err));
    SW_TRY(sw_cache_from_config(config, &app->cache, err));
    SW_TRY(open_backend(app, config, err));
    SW_TRY(sw_monitoring_create(config, app->metrics, queue_depth, app, &app->monitor, err));
    if (app->monitor && app->backend.registry) {
        sw_monitor_attach_store(app->monitor, app->backend.store);
    }
    SW_TRY(sw_apps_create(config, app->metrics, &app->apps, err));
    SW_TRY(create_api(app, config, err));
    return create_repository(app, config, err);
}

sw_status sw_app_create(const struct sw_config *config, struct sw_app **ret, struct sw_error *err) {
    struct sw_app *app = SW_NEW(struct sw_app);
    pthread_mutex_init(&app->serving_lock, NULL);
    app->keep_predictions_ms = sw_config_ms(config, SW_KEY_STORE_KEEP_PREDICTIONS);
    sw_status status = create_parts(app, config, err);
    if (status) {
        sw_app_destroy(app);
        return status;
    }
    *ret = app;
    return SW_OK;
}

sw_status sw_app_listen(struct sw_app *app, const struct sw_config *config, struct sw_error *err) {
    struct sw_http_options options = {
        .host = sw_config_text(config, SW_KEY_SERVER_HOST),
        .port = (uint16_t)sw_config_number(config, SW_KEY_SERVER_PORT),
        .io_threads = thread_count(config, SW_KEY_SERVER_IO_THREADS),
        .connections_max = (unsigned)sw_config_number(config, SW_KEY_SERVER_MAX_CONNECTIONS),
        .header_bytes_max = sw_config_number(config, SW_KEY_SERVER_MAX_HEADER_BYTES),
        .body_max = sw_config_number(config, SW_KEY_SERVER_MAX_BODY_BYTES),
        .control_body_max = sw_config_number(config, SW_KEY_SERVER_MAX_CONTROL_BODY_BYTES),
        .buffered_max = sw_config_number(config, SW_KEY_SERVER_MAX_BUFFERED_BYTES),
        .header_timeout_ms = sw_config_ms(config, SW_KEY_SERVER_HEADER_TIMEOUT),
        .body_timeout_ms = sw_config_ms(config, SW_KEY_SERVER_BODY_TIMEOUT),
        .idle_timeout_ms = sw_config_ms(config, SW_KEY_SERVER_IDLE_TIMEOUT),
        .gzip_min = sw_config_number(config, SW_KEY_SERVER_GZIP_MIN_BYTES),
        .app = app->api,
        .on_done = sw_api_on_done,
        .clock = sw_clock_system(),
    };
    options.routes = sw_apps_routes(app->apps, &options.route_count);
    SW_TRY(app->monitor ? sw_monitor_start(app->monitor, err) : SW_OK);
    SW_TRY(sw_http_server_start(&options, &app->server, err));
    sw_api_set_server(app->api, app->server);
    return SW_OK;
}

void sw_app_apply(struct sw_app *app, const struct sw_config *config) {
    sw_log_set_level((enum sw_log_level)sw_config_number(config, SW_KEY_LOG_LEVEL));
    sw_api_set_access_log(app->api, (int)sw_config_number(config, SW_KEY_LOG_ACCESS));
}

void sw_app_begin_drain(struct sw_app *app) {
    sw_api_set_draining(app->api);
}

void sw_app_drain(struct sw_app *app, uint64_t drain_ms) {
    if (app->server) {
        sw_http_server_drain(app->server, drain_ms);
    }
}

void sw_app_destroy(struct sw_app *app) {
    if (!app) {
        return;
    }
    if (app->backend.registry) {
        sw_registry_stop(app->backend.registry);
    }
    if (app->server) {
        sw_api_set_server(app->api, NULL);
        sw_http_server_destroy(app->server);
    }
    sw_apps_destroy(app->apps);    /* its threads hand inferences to the scheduler */
    sw_monitor_stop(app->monitor); /* its thread asks the scheduler */
    if (app->scheduler) {
        sw_scheduler_stop(app->scheduler);
    }
    if (app->control) {
        sw_executor_destroy(app->control);
    }
    sw_upkeep_stop(app->upkeep);
    if (app->monitor) {
        sw_monitor_keep(app->monitor, true);
    }
    stop_following(app);
    sw_repository_destroy(app->repository);
    if (app->api) {
        sw_api_destroy(app->api);
    }
    sw_cache_destroy(app->cache);
    sw_scheduler_destroy(app->scheduler);
    sw_monitor_destroy(app->monitor);
    sw_backend_close(&app->backend);
    if (app->metrics) {
        sw_metrics_destroy(app->metrics);
    }
    sw_cli_engines_close(&app->engines);
    pthread_mutex_destroy(&app->serving_lock);
    sw_free(app);
}

struct sw_repository *sw_app_repository(struct sw_app *app) {
    return app->repository;
}

struct sw_registry *sw_app_registry(struct sw_app *app) {
    return app->backend.registry;
}

const struct sw_apps *sw_app_applications(const struct sw_app *app) {
    return app->apps;
}

const char *sw_app_engine_version(const struct sw_app *app) {
    return app->engines.items[0]->ops->version(app->engines.items[0]);
}

uint16_t sw_app_port(const struct sw_app *app) {
    return app->server ? sw_http_server_port(app->server) : 0;
}
