/* Wiring of the server. The order of destruction is the point: first nothing new comes in, then what runs ends, then
 * what it used goes. */
#include "cli/app.h"

#include "api/api.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/thread.h"
#include "cli/engines.h"
#include "http/http.h"
#include "observe/metrics.h"
#include "sched/executor.h"

enum { MODEL_THREADS_DEFAULT = 1 };

struct sw_app {
    struct sw_cli_engines engines;
    struct sw_metrics *metrics;
    struct sw_executor *executor;
    struct sw_api *api;
    struct sw_repository *repository;
    struct sw_http_server *server;
};

/* A number of threads from its key: 0 is one per core, within the key's bounds. */
static unsigned thread_count(const struct sw_config *config, enum sw_config_key key) {
    uint64_t n = sw_config_number(config, key);
    if (n == 0) {
        n = sw_cpu_count();
    }
    return (unsigned)(n < sw_config_keys[key].max ? n : sw_config_keys[key].max);
}

static sw_status create_executor(struct sw_app *app, const struct sw_config *config, struct sw_error *err) {
    return sw_executor_create(thread_count(config, SW_KEY_SCHEDULER_WORKERS),
                              sw_config_number(config, SW_KEY_SCHEDULER_QUEUE), &app->executor, err);
}

static sw_status create_api(struct sw_app *app, const struct sw_config *config, struct sw_error *err) {
    struct sw_api_options options = {
        .metrics = app->metrics,
        .executor = app->executor,
        .clock = sw_clock_system(),
        .inline_ns_max = sw_config_number(config, SW_KEY_SCHEDULER_INLINE_MAX_US) * 1000,
        .engine_version = sw_app_engine_version(app),
        .access_log = (int)sw_config_number(config, SW_KEY_LOG_ACCESS),
    };
    return sw_api_create(&options, &app->api, err);
}

static sw_status create_repository(struct sw_app *app, struct sw_error *err) {
    struct sw_repository_options options = {
        .model = sw_cli_model_options(&app->engines, MODEL_THREADS_DEFAULT),
        .on_ready = sw_api_on_ready,
        .on_ready_arg = app->api,
    };
    SW_TRY(sw_repository_create(&options, &app->repository, err));
    sw_api_attach(app->api, app->repository);
    return SW_OK;
}

static sw_status create_parts(struct sw_app *app, const struct sw_config *config, struct sw_error *err) {
    SW_TRY(sw_cli_engines_open(config, &app->engines, err));
    app->metrics = sw_metrics_create();
    SW_TRY(create_executor(app, config, err));
    SW_TRY(create_api(app, config, err));
    return create_repository(app, err);
}

sw_status sw_app_create(const struct sw_config *config, struct sw_app **ret, struct sw_error *err) {
    struct sw_app *app = SW_NEW(struct sw_app);
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
        .routes = sw_api_routes,
        .route_count = sw_api_route_count,
        .app = app->api,
        .on_done = sw_api_on_done,
        .clock = sw_clock_system(),
    };
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
    if (app->server) {
        sw_api_set_server(app->api, NULL);
        sw_http_server_destroy(app->server);
    }
    if (app->executor) {
        sw_executor_destroy(app->executor);
    }
    sw_repository_destroy(app->repository);
    if (app->api) {
        sw_api_destroy(app->api);
    }
    if (app->metrics) {
        sw_metrics_destroy(app->metrics);
    }
    sw_cli_engines_close(&app->engines);
    sw_free(app);
}

struct sw_repository *sw_app_repository(struct sw_app *app) {
    return app->repository;
}

const char *sw_app_engine_version(const struct sw_app *app) {
    return app->engines.items[0]->ops->version(app->engines.items[0]);
}

uint16_t sw_app_port(const struct sw_app *app) {
    return app->server ? sw_http_server_port(app->server) : 0;
}
