/* Operations: health, metrics, version, the OpenAPI document; and the gauges that only the API can read. */
#include "api/api_internal.h"

enum sw_http_result sw_api_index(struct sw_http_exchange *x) {
    static const char text[] =
        "{\"name\":\"slipway\",\"version\":\"" SW_VERSION
        "\",\"links\":{\"health\":\"/health\",\"metrics\":\"/metrics\","
        "\"models\":\"/models/versions\",\"registry\":\"/api/v1/models\",\"open_inference_protocol\":\"/v2\","
        "\"openapi\":\"/openapi.json\"}}";
    sw_http_reply(x, 200, SW_API_JSON, (struct sw_str){text, sizeof text - 1});
    return SW_HTTP_DONE;
}

enum sw_http_result sw_api_version(struct sw_http_exchange *x) {
    struct sw_api *api = sw_api_of(x);
    struct sw_buf out;
    sw_api_buf(x, &out);
    SW_LIT(&out, "{\"version\":\"" SW_VERSION "\",\"engine\":\"onnxruntime\",\"engine_version\":");
    if (api->options.engine_version) {
        sw_buf_append_json(&out, sw_str_of(api->options.engine_version));
    } else {
        SW_LIT(&out, "null");
    }
    sw_buf_append_c(&out, '}');
    return sw_api_reply(x, 200, &out);
}

enum sw_http_result sw_api_openapi(struct sw_http_exchange *x) {
    const char *document = sw_api_of(x)->options.openapi;
    sw_http_reply(x, 200, SW_API_JSON, sw_str_of(document ? document : sw_api_openapi_json));
    return SW_HTTP_DONE;
}

/* ---- health */

/* Why a repository that is not ready is not: its first row in another state. */
static const char *find_reason(struct sw_api *api, struct sw_arena *arena) {
    static const char general[] = "models are being loaded";
    struct sw_api_row *rows;
    size_t count;
    if (sw_api_rows(api, arena, (struct sw_str){0}, &rows, &count, NULL)) {
        return general;
    }
    const struct sw_api_row *found = NULL;
    for (size_t i = 0; i < count; i++) {
        if (rows[i].state != SW_MODEL_READY && (!found || rows[i].state == SW_MODEL_LOADING)) {
            found = &rows[i];
        }
    }
    if (!found) {
        return general;
    }
    const char *text = sw_arena_printf(arena, "model '%s' is %s%s%s", found->name, sw_model_state_name(found->state),
                                       found->reason[0] ? ": " : "", found->reason);
    return text ? text : general;
}

bool sw_api_is_ready(struct sw_api *api, struct sw_arena *arena, const char **ret_reason) {
    if (atomic_load(&api->draining)) {
        *ret_reason = "the server is shutting down";
        return false;
    }
    if (!sw_api_registry_seen(api, arena, ret_reason)) {
        return false;
    }
    if (sw_repository_ready(api->repository)) {
        return true;
    }
    *ret_reason = find_reason(api, arena);
    return false;
}

enum sw_http_result sw_api_health_live(struct sw_http_exchange *x) {
    sw_http_reply(x, 200, SW_API_JSON, SW_STR("{\"status\":\"live\"}"));
    return SW_HTTP_DONE;
}

enum sw_http_result sw_api_health_ready(struct sw_http_exchange *x) {
    struct sw_api *api = sw_api_of(x);
    const char *reason;
    struct sw_buf out;
    bool ready = sw_api_is_ready(api, &x->arena, &reason);
    sw_api_buf(x, &out);
    sw_buf_append_str(&out, ready ? SW_STR("{\"ready\":true") : SW_STR("{\"ready\":false,"));
    if (!ready) {
        sw_api_put_string(&out, "reason", reason);
        x->error = SW_E_UNAVAILABLE;
    }
    sw_api_put_degraded(api, &out);
    sw_buf_append_c(&out, '}');
    return sw_api_reply(x, ready ? 200 : 503, &out);
}

enum sw_http_result sw_api_oip_ready(struct sw_http_exchange *x) {
    return sw_api_health_ready(x);
}

static void put_health_rows(struct sw_buf *out, const struct sw_api_row *rows, size_t count) {
    for (size_t i = 0; i < count; i++) {
        SW_LIT(out, "{");
        sw_api_put_string(out, "name", rows[i].name);
        SW_LIT(out, ",\"version\":");
        sw_api_put_version(out, rows[i].version);
        sw_buf_append_c(out, ',');
        sw_api_put_string(out, "state", sw_model_state_name(rows[i].state));
        if (rows[i].reason[0]) {
            sw_buf_append_c(out, ',');
            sw_api_put_string(out, "reason", rows[i].reason);
        }
        sw_buf_append_str(out, i + 1 < count ? SW_STR("},") : SW_STR("}"));
    }
}

static bool has_live(const struct sw_api_row *rows, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (rows[i].live && rows[i].state == SW_MODEL_READY) {
            return true;
        }
    }
    return false;
}

sw_status sw_api_put_health(struct sw_http_exchange *x, struct sw_buf *out, struct sw_error *err) {
    struct sw_api *api = sw_api_of(x);
    struct sw_api_row *rows;
    size_t count;
    const char *reason;
    SW_TRY(sw_api_rows(api, &x->arena, sw_api_scope(x), &rows, &count, err));
    bool draining = atomic_load(&api->draining);
    bool ready = sw_api_is_ready(api, &x->arena, &reason) && (!sw_api_scope(x).data || has_live(rows, count));
    uint64_t uptime_ms = (sw_now_ns(api->options.clock) - api->started_ns) / 1000000;
    sw_buf_printf(out, "\"status\":\"%s\",\"version\":\"" SW_VERSION "\",\"uptime_seconds\":%llu.%03u,\"models\":[",
                  draining ? "draining"
                  : ready  ? "ok"
                           : "not_ready",
                  (unsigned long long)(uptime_ms / 1000), (unsigned)(uptime_ms % 1000));
    put_health_rows(out, rows, count);
    sw_buf_append_c(out, ']');
    sw_api_put_degraded(api, out);
    return SW_OK;
}

enum sw_http_result sw_api_health(struct sw_http_exchange *x) {
    struct sw_buf out;
    struct sw_error err;
    sw_api_buf(x, &out);
    sw_buf_append_c(&out, '{');
    if (sw_api_put_health(x, &out, &err)) {
        return sw_api_reply_error(x, &err);
    }
    sw_buf_append_c(&out, '}');
    return sw_api_reply(x, 200, &out);
}

/* ---- metrics */

static void set_model_gauges(void *arg, const struct sw_repository_row *row) {
    struct sw_metrics *metrics = arg;
    char version[24];
    if (row->version <= 0) {
        return;
    }
    snprintf(version, sizeof version, "%lld", (long long)row->version);
    const char *labels[] = {row->name, version};
    sw_series_set(sw_metrics_series(metrics, SW_METRIC_SLIPWAY_MODEL_READY, labels), row->state == SW_MODEL_READY);
    if (row->model) {
        sw_series_set(sw_metrics_series(metrics, SW_METRIC_SLIPWAY_MODEL_LOAD_DURATION_SECONDS, labels),
                      (double)row->model->load_ns / 1e9);
    }
}

static void count_ready(void *arg, const struct sw_repository_row *row) {
    *(size_t *)arg += row->state == SW_MODEL_READY;
}

void sw_api_scrape(void *arg, struct sw_metrics *metrics) {
    struct sw_api *api = arg;
    struct sw_http_server *server = atomic_load(&api->server);
    if (server) {
        sw_series_set(sw_metrics_series(metrics, SW_METRIC_SLIPWAY_HTTP_CONNECTIONS, NULL),
                      sw_http_server_connections(server));
        sw_series_set(sw_metrics_series(metrics, SW_METRIC_SLIPWAY_HTTP_BUFFERED_BYTES, NULL),
                      (double)sw_http_server_buffered(server));
    }
    if (api->repository) {
        size_t ready = 0;
        sw_metrics_reset(metrics, SW_METRIC_SLIPWAY_MODEL_READY); /* versions go with their folders */
        sw_metrics_reset(metrics, SW_METRIC_SLIPWAY_MODEL_LOAD_DURATION_SECONDS);
        sw_repository_each(api->repository, set_model_gauges, metrics);
        sw_repository_each(api->repository, count_ready, &ready);
        sw_series_set(sw_metrics_series(metrics, SW_METRIC_SLIPWAY_MODELS_LOADED, NULL), (double)ready);
    }
    sw_api_set_dependency_gauges(api, metrics);
    sw_series_set(sw_metrics_series(metrics, SW_METRIC_SLIPWAY_EXECUTOR_WAITING, NULL),
                  (double)sw_scheduler_waiting(api->options.scheduler));
    sw_api_set_queue_gauges(api, metrics);
    sw_api_set_cache_gauges(api, metrics);
    sw_series_set(sw_metrics_series(metrics, SW_METRIC_SLIPWAY_LOG_DROPPED_TOTAL, NULL), (double)sw_log_dropped());
    const char *build[] = {SW_VERSION, api->options.engine_version ? api->options.engine_version : ""};
    sw_series_set(sw_metrics_series(metrics, SW_METRIC_SLIPWAY_BUILD_INFO, build), 1);
}

enum sw_http_result sw_api_metrics(struct sw_http_exchange *x) {
    struct sw_api *api = sw_api_of(x);
    struct sw_buf out;
    sw_api_buf(x, &out);
    pthread_mutex_lock(&api->scrape_lock);
    sw_metrics_write(api->options.metrics, &out);
    pthread_mutex_unlock(&api->scrape_lock);
    if (out.failed) {
        return sw_api_reply(x, 200, &out);
    }
    sw_http_reply(x, 200, "text/plain; version=0.0.4; charset=utf-8", sw_buf_str(&out));
    return SW_HTTP_DONE;
}
