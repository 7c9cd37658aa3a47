/* The result cache: what a model answered before is answered again without running it. Off unless a bundle asks for it
 * (`cache: { enable: true }`): whether equal inputs may get equal answers only its owner knows.
 *
 *     look --memory--> hit
 *           | miss
 *           +--flight--> another runs the same: wait
 *           | leads
 *           +--Redis (where configured)--> hit: kept in memory too
 *           | miss
 *           +--> the model runs --> keep: memory, Redis, who waited
 *
 * This file joins the parts; who asks them in that order, and suspends and resumes requests meanwhile, is api/cached.c.
 *
 * Generations. Each model (by name, all versions) has one; it is part of its keys. A purge changes it, so that what was
 * kept before, wherever it is, is never found again, not even what a run under way keeps after the purge. With Redis the
 * generation is shared, see redis.h.
 *
 * Threads: any; sw_cache_model lives as long as the cache. */
#ifndef SW_SCHED_CACHE_CACHE_H
#define SW_SCHED_CACHE_CACHE_H

#include <stdatomic.h>

#include "sched/cache/flight.h"
#include "sched/cache/memory.h"
#include "sched/cache/redis.h"

struct sw_cache;

struct sw_cache_options {
    size_t bytes_max;               /* of memory; 0: none is kept in memory */
    size_t entries_max;             /* 0: as many as fit */
    size_t value_max;               /* bytes of one result; larger ones are not kept */
    struct sw_redis_options *redis; /* NULL: none. on_generation, arg, clock and value_max are set here */
    struct sw_clock *clock;
};

/* A model by its name, whatever its version. */
struct sw_cache_model {
    char *name;
    atomic_uint_fast64_t generation; /* 0: never purged */
    struct sw_cache_model *next;     /* the cache's */
};

SW_MUST_CHECK sw_status sw_cache_create(const struct sw_cache_options *options, struct sw_cache **ret,
                                        struct sw_error *err);
/* After every request and every user of a model has ended. NULL is allowed. */
void sw_cache_destroy(struct sw_cache *cache);

/* The model of that name, made when there is none. */
struct sw_cache_model *sw_cache_model(struct sw_cache *cache, const char *name);
/* The model of that name, or NULL. */
struct sw_cache_model *sw_cache_find(struct sw_cache *cache, struct sw_str name);

/* A reference to the value that memory has, or NULL. */
struct sw_cache_value *sw_cache_get(struct sw_cache *cache, const struct sw_cache_key *key);
/* Takes the reference over and keeps the value, just made: in memory and in Redis. ttl_ms 0: until evicted, and
 * SW_CACHE_SHARED_TTL_MS in Redis. */
void sw_cache_keep(struct sw_cache *cache, const struct sw_cache_model *model, const struct sw_cache_key *key,
                   struct sw_cache_value *value, uint64_t ttl_ms);
/* Keeps in memory what Redis had, for what is left of its time; the reference stays the caller's. false: there is
 * nothing left. */
SW_MUST_CHECK bool sw_cache_adopt(struct sw_cache *cache, const struct sw_cache_model *model,
                                  const struct sw_cache_key *key, struct sw_cache_value *value, uint64_t ttl_ms);
#define SW_CACHE_SHARED_TTL_MS (UINT64_C(24) * 3600 * 1000)

/* A value of these outputs for sw_cache_keep, or NULL when it is not to be kept: too large, or no memory. */
struct sw_cache_value *sw_cache_value_of(struct sw_cache *cache, const struct sw_tensor *outputs,
                                         const uint32_t *places, size_t count);
struct sw_flights *sw_cache_flights(struct sw_cache *cache);
/* See sw_redis_ask; false where there is no Redis. */
SW_MUST_CHECK bool sw_cache_ask(struct sw_cache *cache, struct sw_redis_question *question);

/* Forgets everything of this model (NULL: of all), here and in Redis; *ret_entries: how many were in memory. Blocks for
 * as long as going through memory takes: not on an I/O thread. */
void sw_cache_purge(struct sw_cache *cache, struct sw_cache_model *model, size_t *ret_entries);

struct sw_cache_stats {
    struct sw_cache_memory_stats memory;
    bool has_memory, has_redis;
    struct sw_redis_stats redis;
    size_t waiting; /* requests, for others with the same input */
};
void sw_cache_look(struct sw_cache *cache, struct sw_cache_stats *ret);

#endif
