/* The result cache as an operator sees it: state, purge, metrics. How requests use it: cached.c. */
#include "api/registry_common.h"

static sw_status need_cache(struct sw_api *api, struct sw_error *err) {
    return api->options.cache
               ? SW_OK
               : sw_fail(err, SW_E_UNAVAILABLE,
                         "the result cache is switched off (cache.memory is 0 and cache.redis is not set)");
}

/* ---- state */

static void put_number(struct sw_buf *out, const char *key, uint64_t value) {
    sw_buf_printf(out, ",\"%s\":%llu", key, (unsigned long long)value);
}

static void put_memory(struct sw_buf *out, const struct sw_cache_stats *stats) {
    const struct sw_cache_memory_stats *m = &stats->memory;
    if (!stats->has_memory) {
        SW_LIT(out, "null");
        return;
    }
    sw_buf_printf(out, "{\"entries\":%zu,\"entries_max\":", m->entries);
    if (m->entries_max) {
        sw_api_put_u64(out, m->entries_max);
    } else {
        SW_LIT(out, "null");
    }
    put_number(out, "bytes", m->bytes);
    put_number(out, "bytes_max", m->bytes_max);
    put_number(out, "inserted", m->inserted);
    put_number(out, "evicted", m->evicted);
    put_number(out, "expired", m->expired);
    put_number(out, "refused", m->refused);
    sw_buf_append_c(out, '}');
}

static void put_redis(struct sw_buf *out, const struct sw_cache_stats *stats) {
    const struct sw_redis_stats *r = &stats->redis;
    if (!stats->has_redis) {
        SW_LIT(out, "null");
        return;
    }
    sw_buf_printf(out, "{\"up\":%s,", r->breaker_open ? "false" : "true");
    sw_api_put_string(out, "reason", r->reason);
    sw_buf_printf(out, ",\"nodes\":%u,\"cluster\":%s", r->nodes, r->cluster ? "true" : "false");
    put_number(out, "hits", r->hits);
    put_number(out, "misses", r->misses);
    put_number(out, "timeouts", r->timeouts);
    put_number(out, "errors", r->errors);
    put_number(out, "garbage", r->garbage);
    put_number(out, "refused", r->refused);
    put_number(out, "written", r->kept);
    put_number(out, "dropped", r->dropped);
    put_number(out, "failed", r->failed);
    sw_buf_append_c(out, '}');
}

static void put_model(struct sw_buf *out, const struct sw_api_model *m) {
    uint64_t hits, misses;
    sw_api_model_cache_totals(m, &hits, &misses);
    sw_buf_append_c(out, '{');
    sw_api_put_string(out, "name", m->name);
    sw_buf_append_c(out, ',');
    sw_api_put_string(out, "version", m->version_text);
    put_number(out, "hits", hits);
    put_number(out, "misses", misses);
    SW_LIT(out, ",\"hit_rate\":");
    sw_api_put_double(out, hits + misses ? (double)hits / (double)(hits + misses) : NAN);
    sw_buf_append_c(out, '}');
}

static void put_models(struct sw_api *api, struct sw_buf *out) {
    const struct sw_map_entry *entry;
    bool first = true;
    pthread_mutex_lock(&api->models_lock);
    for (size_t i = 0; (entry = sw_map_next(&api->models, &i));) {
        const struct sw_api_model *m = entry->value;
        if (m->cache) {
            sw_buf_append_str(out, first ? SW_STR("") : SW_STR(","));
            put_model(out, m);
            first = false;
        }
    }
    pthread_mutex_unlock(&api->models_lock);
}

enum sw_http_result sw_api_cache_show(struct sw_http_exchange *x) {
    struct sw_api *api = sw_api_of(x);
    struct sw_cache_stats stats;
    struct sw_error err;
    struct sw_buf out;
    if (need_cache(api, &err)) {
        return sw_api_reply_error(x, &err);
    }
    sw_cache_look(api->options.cache, &stats);
    sw_api_buf(x, &out);
    SW_LIT(&out, "{\"memory\":");
    put_memory(&out, &stats);
    SW_LIT(&out, ",\"redis\":");
    put_redis(&out, &stats);
    put_number(&out, "waiting", stats.waiting);
    SW_LIT(&out, ",\"models\":[");
    put_models(api, &out);
    SW_LIT(&out, "]}");
    return sw_api_reply(x, 200, &out);
}

/* ---- purge */

static sw_status find_model(struct sw_http_exchange *x, struct sw_cache_model **ret, struct sw_error *err) {
    struct sw_str name = x->params[0];
    if (!name.data) {
        *ret = NULL; /* all */
        return SW_OK;
    }
    *ret = sw_cache_find(sw_api_of(x)->options.cache, name);
    return *ret ? SW_OK
                : sw_fail(err, SW_E_NOT_FOUND, "no results of a model '" SW_STR_FMT "' were ever kept",
                          SW_STR_ARG(name));
}

static void purge(void *arg) { /* the lane */
    struct sw_http_exchange *x = arg;
    struct sw_api *api = sw_api_of(x);
    struct sw_cache_model *model;
    struct sw_error err;
    size_t entries;
    if (find_model(x, &model, &err)) {
        sw_api_reply_error(x, &err);
    } else {
        struct sw_buf out;
        sw_cache_purge(api->options.cache, model, &entries);
        sw_log(SW_LOG_INFO, "results purged", SW_F_STR("model", model ? model->name : "all"),
               SW_F_INT("entries", (int64_t)entries), SW_F_STR("request_id", x->request_id));
        sw_api_buf(x, &out);
        sw_buf_printf(&out, "{\"entries\":%zu}", entries);
        sw_api_reply(x, 200, &out);
    }
    sw_http_finish(x); /* not ours from here on */
}

enum sw_http_result sw_api_cache_purge(struct sw_http_exchange *x) {
    struct sw_api *api = sw_api_of(x);
    struct sw_error err;
    if (need_cache(api, &err) || sw_api_submit(api, SW_API_CACHE, purge, x, &err)) {
        return sw_api_reply_error(x, &err);
    }
    return SW_HTTP_ASYNC;
}

/* ---- metrics */

static void set(struct sw_metrics *metrics, enum sw_metric metric, const char *label, uint64_t value) {
    const char *labels[] = {label};
    sw_series_set(sw_metrics_series(metrics, metric, label ? labels : NULL), (double)value);
}

static void set_redis_gauges(struct sw_metrics *metrics, const struct sw_redis_stats *r) {
    set(metrics, SW_METRIC_SLIPWAY_CACHE_REDIS_UP, NULL, !r->breaker_open);
    const struct {
        const char *result;
        uint64_t count;
    } asked[] = {{"hit", r->hits},     {"miss", r->misses},     {"timeout", r->timeouts},
                 {"error", r->errors}, {"garbage", r->garbage}, {"refused", r->refused}},
      wrote[] = {{"written", r->kept}, {"dropped", r->dropped}, {"failed", r->failed}};
    for (size_t i = 0; i < SW_COUNTOF(asked); i++) {
        set(metrics, SW_METRIC_SLIPWAY_CACHE_REDIS_REQUESTS_TOTAL, asked[i].result, asked[i].count);
    }
    for (size_t i = 0; i < SW_COUNTOF(wrote); i++) {
        set(metrics, SW_METRIC_SLIPWAY_CACHE_REDIS_WRITES_TOTAL, wrote[i].result, wrote[i].count);
    }
}

void sw_api_set_cache_gauges(struct sw_api *api, struct sw_metrics *metrics) {
    struct sw_cache_stats stats;
    if (!api->options.cache) {
        return;
    }
    sw_cache_look(api->options.cache, &stats);
    if (stats.has_memory) {
        set(metrics, SW_METRIC_SLIPWAY_CACHE_ENTRIES, NULL, stats.memory.entries);
        set(metrics, SW_METRIC_SLIPWAY_CACHE_BYTES, NULL, stats.memory.bytes);
        set(metrics, SW_METRIC_SLIPWAY_CACHE_REMOVED_TOTAL, "evicted", stats.memory.evicted);
        set(metrics, SW_METRIC_SLIPWAY_CACHE_REMOVED_TOTAL, "expired", stats.memory.expired);
        set(metrics, SW_METRIC_SLIPWAY_CACHE_REMOVED_TOTAL, "refused", stats.memory.refused);
    }
    if (stats.has_redis) {
        set_redis_gauges(metrics, &stats.redis);
    }
}
