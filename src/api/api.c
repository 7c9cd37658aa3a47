/* The API object: its life, and what it notes when a model becomes ready and when an answer is sent (metrics, access
 * log). */
#include "api/api.h"

#include "api/api_internal.h"
#include "base/thread.h"
#include "tensor/json.h"

static const struct {
    unsigned threads;
    size_t queue_max;
} own_lanes[SW_API_LANES] = {
    [SW_API_GATES] = {2, 32},
    [SW_API_BULK] = {2, SW_API_STREAMS_MAX},
    [SW_API_FILES] = {2, SW_API_STREAMS_MAX},
    [SW_API_PIECES] = {2, SW_API_STREAMS_MAX},
    [SW_API_CACHE] = {1, 16},
    [SW_API_MONITOR] = {2, 64},
};

static bool has_lane(const struct sw_api *api, size_t lane) {
    switch (lane) {
    case SW_API_CACHE: return api->options.cache != NULL;
    case SW_API_MONITOR: return api->options.monitor != NULL;
    default: return api->options.registry != NULL;
    }
}

static sw_status create_lanes(struct sw_api *api, struct sw_error *err) {
    if (api->options.registry) {
        api->lanes[SW_API_QUICK] = api->options.control;
    }
    for (size_t i = 0; i < SW_API_LANES; i++) {
        if (own_lanes[i].threads && has_lane(api, i)) {
            SW_TRY(sw_executor_create(own_lanes[i].threads, own_lanes[i].queue_max, &api->lanes[i], err));
        }
    }
    return SW_OK;
}

static void destroy_lanes(struct sw_api *api) {
    for (size_t i = 0; i < SW_API_LANES; i++) {
        if (own_lanes[i].threads) {
            sw_executor_destroy(api->lanes[i]);
        }
    }
}

sw_status sw_api_create(const struct sw_api_options *options, struct sw_api **ret, struct sw_error *err) {
    if (!options->metrics || !options->scheduler || !options->clock || (options->registry && !options->control)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT,
                       "the API needs metrics, a scheduler and a clock, and with a registry an executor for it");
    }
    struct sw_api *api = SW_NEW(struct sw_api);
    api->magic = SW_API_MAGIC;
    api->options = *options;
    sw_status status = create_lanes(api, err);
    if (status) {
        destroy_lanes(api);
        sw_free(api);
        return status;
    }
    atomic_init(&api->access_log, (int)options->access_log);
    api->started_ns = sw_now_ns(options->clock);
    pthread_mutex_init(&api->models_lock, NULL);
    pthread_mutex_init(&api->scrape_lock, NULL);
    sw_map_init(&api->models);
    api->none = sw_api_model_create(api, NULL, 0);
    sw_metrics_add_process(options->metrics);
    sw_metrics_on_scrape(options->metrics, sw_api_scrape, api);
    *ret = api;
    return SW_OK;
}

void sw_api_destroy(struct sw_api *api) {
    if (!api) {
        return;
    }
    SW_ASSERT(api->magic == SW_API_MAGIC);
    destroy_lanes(api);
    const struct sw_map_entry *entry;
    for (size_t i = 0; (entry = sw_map_next(&api->models, &i));) {
        sw_api_model_destroy(entry->value);
    }
    sw_map_deinit(&api->models);
    sw_api_model_destroy(api->none);
    pthread_mutex_destroy(&api->models_lock);
    pthread_mutex_destroy(&api->scrape_lock);
    api->magic = 0;
    sw_free(api);
}

void sw_api_attach(struct sw_api *api, struct sw_repository *repository) {
    api->repository = repository;
}

void sw_api_attach_serving(struct sw_api *api, struct sw_serving *serving) {
    api->serving = serving;
}

void sw_api_set_server(struct sw_api *api, struct sw_http_server *server) {
    atomic_store(&api->server, server);
}

void sw_api_set_access_log(struct sw_api *api, int mode) {
    atomic_store_explicit(&api->access_log, mode, memory_order_relaxed);
}

void sw_api_set_draining(struct sw_api *api) {
    atomic_store(&api->draining, true);
}

void sw_api_on_ready(void *arg, struct sw_model *model) {
    struct sw_api *api = arg;
    SW_ASSERT(api->magic == SW_API_MAGIC);
    struct sw_buf key;
    sw_buf_init(&key, 4096);
    sw_buf_printf(&key, "%s/%lld", model->name, (long long)model->version);
    pthread_mutex_lock(&api->models_lock);
    struct sw_api_model *m = sw_map_get(&api->models, sw_buf_str(&key));
    if (!m) {
        m = sw_api_model_create(api, model->name, model->version);
        sw_map_put(&api->models, sw_buf_str(&key), m);
    }
    sw_api_schedule_model(api, m, model);
    sw_api_cache_model(api, m, model);
    pthread_mutex_unlock(&api->models_lock);
    sw_buf_deinit(&key);
    model->attachment = m;
}

/* ---- access log */

/* The message of an error answer, from its body in any shape; empty when there is none. */
static struct sw_str error_message(struct sw_http_exchange *x) {
    struct sw_str message = {0}, key;
    struct sw_json json;
    bool more;
    if (x->error == SW_OK || x->part_count == 0) {
        return message;
    }
    sw_json_init(&json, x->parts[0], &x->arena, NULL);
    if (sw_json_enter_object(&json) || sw_json_object_next(&json, &key, &more) || !more) {
        return message;
    }
    if (sw_str_is(key, "error_code")) { /* MLflow's: the message is the next member */
        if (sw_json_skip(&json)) {
            return message;
        }
    } else if (sw_str_is(key, "error") && sw_json_peek(&json) == '"') {
        return sw_json_string(&json, &message) ? (struct sw_str){0} : message;
    } else if (!sw_str_is(key, "error") || sw_json_enter_object(&json)) {
        return message;
    }
    while (!sw_json_object_next(&json, &key, &more) && more) {
        if (sw_str_is(key, "message")) {
            return sw_json_string(&json, &message) ? (struct sw_str){0} : message;
        }
        if (sw_json_skip(&json)) {
            break;
        }
    }
    return message;
}

/* Ours to mend: error. The client's or the weather's (not ready, queue full): not. */
static enum sw_log_level access_level(int status) {
    if (status < 500) {
        return SW_LOG_INFO;
    }
    return status == 503 ? SW_LOG_WARN : SW_LOG_ERROR;
}

static void write_access_log(struct sw_http_exchange *x, const struct sw_api_model *m, uint64_t duration_ns) {
    enum sw_log_level level = access_level(x->status);
    if (level < sw_log_get_level()) {
        return;
    }
    struct sw_log_field fields[10];
    size_t n = 0;
    fields[n++] = SW_F_STR("request_id", x->request_id);
    fields[n++] = SW_F_STR("method", sw_http_method_name(x->method));
    fields[n++] = SW_F_STR("route", x->route ? x->route->path : "none");
    fields[n++] = SW_F_INT("status", x->status);
    fields[n++] = SW_F_INT("duration_us", duration_ns / 1000);
    if (m->name[0]) {
        fields[n++] = SW_F_STR("model", m->name);
        fields[n++] = SW_F_STR("version", m->version_text);
    }
    if (x->error) {
        fields[n++] = SW_F_STR("error", sw_status_name(x->error));
        struct sw_str message = error_message(x);
        if (message.len) {
            fields[n++] = SW_F_STRN("message", message);
        }
    }
    sw_log_write(level, "request", fields, n);
}

void sw_api_on_done(void *arg, struct sw_http_exchange *x, uint64_t duration_ns) {
    struct sw_api *api = arg;
    struct sw_api_model *m = x->owner ? x->owner : api->none;
    sw_api_model_count_http(api, m, x, duration_ns);
    int mode = atomic_load_explicit(&api->access_log, memory_order_relaxed);
    if (mode == SW_ACCESS_LOG_ALL || (mode == SW_ACCESS_LOG_ERRORS && x->status >= 400)) {
        write_access_log(x, m, duration_ns);
    }
}
