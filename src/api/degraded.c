/* Parts that may go away while serving goes on from memory: the metadata store, the artifact store, the look at the
 * registry. Readiness, health and metrics tell. No I/O: each part says how its last use went. */
#include "api/api_internal.h"

static sw_status store_health(struct sw_api *api, struct sw_error *err) {
    return sw_store_health(sw_registry_store(api->options.registry), err);
}

static sw_status artifacts_health(struct sw_api *api, struct sw_error *err) {
    return sw_artifacts_health(sw_registry_artifacts(api->options.registry), err);
}

static void put_part(struct sw_buf *out, bool *first, const char *part, const char *reason) {
    sw_buf_append_str(out, *first ? SW_STR(",\"degraded\":[{") : SW_STR(",{"));
    *first = false;
    sw_api_put_string(out, "part", part);
    sw_buf_append_c(out, ',');
    sw_api_put_string(out, "reason", reason);
    sw_buf_append_c(out, '}');
}

static void put_registry_parts(struct sw_api *api, struct sw_buf *out, bool *none) {
    struct sw_error err;
    if (store_health(api, &err)) {
        put_part(out, none, "metadata store", err.message);
    }
    if (artifacts_health(api, &err)) {
        put_part(out, none, "artifact store", err.message);
    }
    /* When the store is away its reading failed for that reason, which needs no second entry. */
    if (*none && api->serving && sw_serving_health(api->serving, &err)) {
        put_part(out, none, "registry", err.message);
    }
}

void sw_api_put_degraded(struct sw_api *api, struct sw_buf *out) {
    bool none = true;
    struct sw_cache_stats cache = {0};
    if (api->options.registry) {
        put_registry_parts(api, out, &none);
    }
    if (api->options.cache) {
        sw_cache_look(api->options.cache, &cache);
    }
    if (cache.has_redis && cache.redis.breaker_open) {
        put_part(out, &none, "result cache", cache.redis.reason);
    }
    if (!none) {
        sw_buf_append_c(out, ']');
    }
}

bool sw_api_registry_seen(struct sw_api *api, struct sw_arena *arena, const char **ret_reason) {
    struct sw_error err;
    if (!api->serving || sw_serving_ready(api->serving)) {
        return true;
    }
    if (sw_serving_health(api->serving, &err) == SW_OK) {
        *ret_reason = "the models of the registry are being loaded";
        return false;
    }
    const char *reason = sw_arena_printf(arena, "the registry has not been read yet: %s", err.message);
    *ret_reason = reason ? reason : "the registry has not been read yet";
    return false;
}

void sw_api_set_dependency_gauges(struct sw_api *api, struct sw_metrics *metrics) {
    static const struct {
        const char *name;
        sw_status (*health)(struct sw_api *api, struct sw_error *err);
    } parts[] = {{"store", store_health}, {"artifacts", artifacts_health}};
    if (!api->options.registry) {
        return;
    }
    for (size_t i = 0; i < SW_COUNTOF(parts); i++) {
        struct sw_error err;
        struct sw_series *series = sw_metrics_series(metrics, SW_METRIC_SLIPWAY_DEPENDENCY_UP, &parts[i].name);
        sw_series_set(series, parts[i].health(api, &err) == SW_OK);
    }
}
