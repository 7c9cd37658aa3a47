/* See cache_config.h. */
#include "cli/cache_config.h"

#include "base/clock.h"

enum { MEMORY_MIN = 64 << 10 }; /* tables, and a few results */

/* What may wait for Redis: more than connections would have in flight, and entries for a moment of its absence. */
enum { QUESTIONS_MAX = 4096, ENTRIES_MAX = 4096, ENTRY_BYTES_MAX = 64 << 20 };

static struct sw_redis_options redis_options(const struct sw_config *config) {
    return (struct sw_redis_options){
        .addresses = sw_config_text(config, SW_KEY_CACHE_REDIS),
        .username = sw_config_text(config, SW_KEY_CACHE_REDIS_USERNAME),
        .password = sw_config_text(config, SW_KEY_CACHE_REDIS_PASSWORD),
        .database = (unsigned)sw_config_number(config, SW_KEY_CACHE_REDIS_DATABASE),
        .tls = sw_config_bool(config, SW_KEY_CACHE_REDIS_TLS),
        .tls_insecure = sw_config_bool(config, SW_KEY_CACHE_REDIS_TLS_INSECURE),
        .tls_ca = sw_config_text(config, SW_KEY_CACHE_REDIS_TLS_CA),
        .tls_cert = sw_config_text(config, SW_KEY_CACHE_REDIS_TLS_CERT),
        .tls_key = sw_config_text(config, SW_KEY_CACHE_REDIS_TLS_KEY),
        .tls_server_name = sw_config_text(config, SW_KEY_CACHE_REDIS_TLS_SERVER_NAME),
        .prefix = sw_config_text(config, SW_KEY_CACHE_REDIS_PREFIX),
        .timeout_ms = sw_config_ms(config, SW_KEY_CACHE_REDIS_TIMEOUT),
        .breaker_min_ms = sw_config_ms(config, SW_KEY_CACHE_REDIS_RETRY),
        .breaker_max_ms = sw_config_ms(config, SW_KEY_CACHE_REDIS_RETRY_MAX),
        .questions_max = QUESTIONS_MAX,
        .entries_max = ENTRIES_MAX,
        .entry_bytes_max = ENTRY_BYTES_MAX,
    };
}

sw_status sw_cache_from_config(const struct sw_config *config, struct sw_cache **ret, struct sw_error *err) {
    struct sw_redis_options redis = redis_options(config);
    struct sw_cache_options options = {
        .bytes_max = sw_config_number(config, SW_KEY_CACHE_MEMORY),
        .entries_max = sw_config_number(config, SW_KEY_CACHE_ENTRIES),
        .value_max = sw_config_number(config, SW_KEY_CACHE_MAX_RESULT),
        .redis = redis.addresses ? &redis : NULL,
        .clock = sw_clock_system(),
    };
    redis.breaker_max_ms = redis.breaker_max_ms > redis.breaker_min_ms ? redis.breaker_max_ms : redis.breaker_min_ms;
    if (!options.bytes_max && !options.redis) {
        *ret = NULL;
        return SW_OK;
    }
    if (options.bytes_max && options.bytes_max < MEMORY_MIN) {
        return sw_fail(err, SW_E_USAGE,
                       "cache.memory: %zu bytes are too few to keep results in: at least 64KiB, or 0 for none",
                       options.bytes_max);
    }
    sw_status status = sw_cache_create(&options, ret, err);
    if (status == SW_E_INVALID_ARGUMENT) {
        err->code = status = SW_E_USAGE;
        sw_error_prefix(err, "cache.redis");
    }
    return status;
}
