/* See cache.h. */
#include "sched/cache/cache.h"

#include <pthread.h>

#include "base/hash.h"
#include "base/memory.h"

struct sw_cache {
    struct sw_cache_options options;
    struct sw_cache_memory *memory; /* NULL: none */
    struct sw_flights *flights;
    struct sw_redis *redis; /* NULL: none */
    pthread_mutex_t models_lock;
    struct sw_cache_model *models;
};

/* ---- models */

static struct sw_cache_model *find_locked(struct sw_cache *cache, struct sw_str name) {
    struct sw_cache_model *m = cache->models;
    while (m && !sw_str_is(name, m->name)) {
        m = m->next;
    }
    return m;
}

struct sw_cache_model *sw_cache_find(struct sw_cache *cache, struct sw_str name) {
    pthread_mutex_lock(&cache->models_lock);
    struct sw_cache_model *m = find_locked(cache, name);
    pthread_mutex_unlock(&cache->models_lock);
    return m;
}

struct sw_cache_model *sw_cache_model(struct sw_cache *cache, const char *name) {
    pthread_mutex_lock(&cache->models_lock);
    struct sw_cache_model *m = find_locked(cache, sw_str_of(name));
    bool made = !m;
    if (made) {
        m = SW_NEW(struct sw_cache_model);
        m->name = sw_xstrdup(name);
        m->next = cache->models;
        cache->models = m;
    }
    pthread_mutex_unlock(&cache->models_lock);
    if (made && cache->redis) {
        sw_redis_watch(cache->redis, name, 0);
    }
    return m;
}

/* Thread of Redis: another replica has purged. */
static void on_generation(void *arg, const char *model, uint64_t generation) {
    struct sw_cache *cache = arg;
    struct sw_cache_model *m = sw_cache_find(cache, sw_str_of(model));
    if (m && atomic_exchange(&m->generation, generation) != generation && cache->memory) {
        sw_cache_memory_purge(cache->memory, m);
    }
}

static void purge_model(struct sw_cache *cache, struct sw_cache_model *m, size_t *ret_entries) {
    uint64_t generation = sw_random_u64() | 1; /* never 0 */
    atomic_store(&m->generation, generation);
    if (cache->redis) {
        sw_redis_set_generation(cache->redis, m->name, generation);
    }
    *ret_entries += cache->memory ? sw_cache_memory_purge(cache->memory, m) : 0;
}

void sw_cache_purge(struct sw_cache *cache, struct sw_cache_model *model, size_t *ret_entries) {
    *ret_entries = 0;
    if (model) {
        purge_model(cache, model, ret_entries);
        return;
    }
    pthread_mutex_lock(&cache->models_lock);
    struct sw_cache_model *first = cache->models; /* models are added in front, and never removed */
    pthread_mutex_unlock(&cache->models_lock);
    for (struct sw_cache_model *m = first; m; m = m->next) {
        purge_model(cache, m, ret_entries);
    }
}

/* ---- life */

static sw_status connect_redis(struct sw_cache *cache, struct sw_error *err) {
    if (!cache->options.redis) {
        return SW_OK;
    }
    struct sw_redis_options options = *cache->options.redis;
    options.value_max = cache->options.value_max;
    options.clock = cache->options.clock;
    options.on_generation = on_generation;
    options.arg = cache;
    return sw_redis_create(&options, &cache->redis, err);
}

sw_status sw_cache_create(const struct sw_cache_options *options, struct sw_cache **ret, struct sw_error *err) {
    struct sw_cache *cache = SW_NEW(struct sw_cache);
    cache->options = *options;
    SW_ASSERT(pthread_mutex_init(&cache->models_lock, NULL) == 0);
    cache->flights = sw_flights_create();
    if (options->bytes_max) {
        cache->memory = sw_cache_memory_create(&(struct sw_cache_memory_options){
            .bytes_max = options->bytes_max, .entries_max = options->entries_max, .value_max = options->value_max});
    }
    sw_status status = connect_redis(cache, err);
    cache->options.redis = NULL; /* the caller's */
    if (status) {
        sw_cache_destroy(cache);
        return status;
    }
    *ret = cache;
    return SW_OK;
}

void sw_cache_destroy(struct sw_cache *cache) {
    if (!cache) {
        return;
    }
    sw_redis_destroy(cache->redis);
    sw_cache_memory_destroy(cache->memory);
    sw_flights_destroy(cache->flights);
    for (struct sw_cache_model *m = cache->models, *next; m; m = next) {
        next = m->next;
        sw_free(m->name);
        sw_free(m);
    }
    pthread_mutex_destroy(&cache->models_lock);
    sw_free(cache);
}

/* ---- use */

struct sw_cache_value *sw_cache_get(struct sw_cache *cache, const struct sw_cache_key *key) {
    return cache->memory ? sw_cache_memory_get(cache->memory, key, sw_now_ns(cache->options.clock)) : NULL;
}

/* What waits to be written to Redis. */
struct shared {
    struct sw_redis_entry entry;
    struct sw_cache_value *value;
};

static void release_shared(struct sw_redis_entry *entry) {
    struct shared *shared = (struct shared *)entry; /* its first member */
    sw_cache_value_unref(shared->value);
    sw_free(shared);
}

/* Takes the reference over. */
static void share_value(struct sw_cache *cache, const struct sw_cache_key *key, struct sw_cache_value *value,
                        uint64_t ttl_ms) {
    struct shared *shared = sw_calloc(1, sizeof *shared);
    if (!shared) {
        sw_cache_value_unref(value); /* it is not shared, that is all */
        return;
    }
    shared->value = value;
    memcpy(shared->entry.key, key->bytes, SW_CACHE_KEY);
    shared->entry.value = sw_cache_value_bytes(value);
    shared->entry.ttl_ms = ttl_ms ? ttl_ms : SW_CACHE_SHARED_TTL_MS;
    shared->entry.release = release_shared;
    sw_redis_keep(cache->redis, &shared->entry);
}

static void keep_here(struct sw_cache *cache, const struct sw_cache_model *model, const struct sw_cache_key *key,
                      struct sw_cache_value *value, uint64_t ttl_ms) {
    if (cache->memory) {
        uint64_t now_ns = sw_now_ns(cache->options.clock);
        sw_cache_memory_put(cache->memory, key, value, model, now_ns, ttl_ms ? now_ns + ttl_ms * 1000000 : 0);
    }
}

void sw_cache_keep(struct sw_cache *cache, const struct sw_cache_model *model, const struct sw_cache_key *key,
                   struct sw_cache_value *value, uint64_t ttl_ms) {
    keep_here(cache, model, key, value, ttl_ms);
    if (cache->redis) {
        share_value(cache, key, value, ttl_ms);
    } else {
        sw_cache_value_unref(value);
    }
}

/* Clocks of replicas differ a little: what was made in the future was made now. */
bool sw_cache_adopt(struct sw_cache *cache, const struct sw_cache_model *model, const struct sw_cache_key *key,
                    struct sw_cache_value *value, uint64_t ttl_ms) {
    uint64_t now_ms = cache->options.clock->wall_ms(cache->options.clock), made_ms = sw_cache_value_made_ms(value);
    uint64_t age_ms = now_ms > made_ms ? now_ms - made_ms : 0;
    if (ttl_ms && age_ms >= ttl_ms) {
        return false;
    }
    keep_here(cache, model, key, value, ttl_ms ? ttl_ms - age_ms : 0);
    return true;
}

struct sw_cache_value *sw_cache_value_of(struct sw_cache *cache, const struct sw_tensor *outputs,
                                         const uint32_t *places, size_t count) {
    struct sw_clock *clock = cache->options.clock;
    return sw_cache_value_create(outputs, places, count, clock->wall_ms(clock), cache->options.value_max);
}

struct sw_flights *sw_cache_flights(struct sw_cache *cache) {
    return cache->flights;
}

bool sw_cache_ask(struct sw_cache *cache, struct sw_redis_question *question) {
    return cache->redis && sw_redis_ask(cache->redis, question);
}

void sw_cache_look(struct sw_cache *cache, struct sw_cache_stats *ret) {
    *ret = (struct sw_cache_stats){.has_memory = cache->memory != NULL,
                                   .has_redis = cache->redis != NULL,
                                   .waiting = sw_flights_waiting(cache->flights)};
    if (cache->memory) {
        sw_cache_memory_look(cache->memory, &ret->memory);
    }
    if (cache->redis) {
        sw_redis_look(cache->redis, &ret->redis);
    }
}
