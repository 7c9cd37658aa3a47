/* Results shared by replicas: a client of Redis (or Valkey, KeyDB: whatever speaks RESP2 and has GET, SET PX).
 *
 * Redis is a help, never a need. Whatever goes wrong there (away, slow, full, garbage, half an answer, wrong password) is
 * a miss, is counted, and costs a request at most timeout_ms, once: the first failure opens the circuit breaker, and
 * while it is open every question is a miss at once. Then one thread tries PING by itself, after breaker_min_ms, twice as
 * long after each failure up to breaker_max_ms (jittered by a quarter), and an answer closes the breaker.
 *
 *     ask -----> questions --+--> thread `sw-redis`: takes all that waits, sends it as one pipeline a node,
 *     keep ----> entries ----+    reads the answers, calls `done` of each
 *
 * Both queues are bounded; what does not fit is a miss, or is dropped, and counted. Entries wait while there are
 * questions. The protocol is read by hiredis (its reader and its formatter); connections are this module's own, so that
 * they never block beyond a deadline and may be TLS, which Debian's hiredis cannot.
 *
 * A cluster is recognised by asking (CLUSTER SLOTS): keys go to the node of their slot, MOVED refreshes the map, ASK is
 * followed once. Without one the first address that answers is used, the others when it fails.
 *
 * Keys: PREFIX + 64 hex digits. Each value is an envelope of this module: magic, length and SHA-256 of what follows, so
 * that what another program wrote there, or a cut value, is not taken for a result.
 *
 * Purging: each model has a generation that is part of what its keys are made of (cache.h). A purge writes a new random
 * one under PREFIX "generation:" MODEL; the thread reads those of the watched models once a second, so that a purge on
 * one replica is seen by all. One that Redis lost is written again by who still knows it.
 *
 * Threads: any thread asks, keeps, watches; `done` and on_generation run on `sw-redis`, or on the thread that destroys. */
#ifndef SW_SCHED_CACHE_REDIS_H
#define SW_SCHED_CACHE_REDIS_H

#include "base/clock.h"
#include "base/error.h"
#include "base/str.h"

struct sw_redis;

enum { SW_REDIS_KEY = 32, SW_REDIS_ADDRESSES_MAX = 32 };

struct sw_redis_options {
    /* Addresses separated by commas or blanks: HOST[:PORT], [IPv6]:PORT, unix:/PATH, redis://[USER[:PASSWORD]@]HOST..[/DB],
     * rediss://...; user, password, database and TLS of a URL count for all. */
    const char *addresses;
    const char *username, *password; /* may be NULL; never logged, never part of a message */
    unsigned database;               /* not for a cluster */
    bool tls;
    bool tls_insecure;                     /* the server's certificate is not checked */
    const char *tls_ca;                    /* file; NULL: what the machine trusts */
    const char *tls_cert, *tls_key;        /* files; of this client; may be NULL */
    const char *tls_server_name;           /* NULL: the address's host */
    const char *prefix;                    /* "slipway:cache:" */
    uint64_t timeout_ms;                   /* from a question to its answer, connecting included */
    uint64_t breaker_min_ms, breaker_max_ms;
    size_t value_max;     /* bytes; larger ones are not kept, and not read */
    size_t questions_max; /* waiting */
    size_t entries_max;   /* waiting to be written */
    size_t entry_bytes_max; /* of those in all */
    struct sw_clock *clock;
    /* A watched model has another generation than this replica knew. */
    void (*on_generation)(void *arg, const char *model, uint64_t generation);
    void *arg;
};

/* Connects in the background: a Redis that is away is no error here. SW_E_INVALID_ARGUMENT: addresses or files that
 * are none; SW_E_IO. */
SW_MUST_CHECK sw_status sw_redis_create(const struct sw_redis_options *options, struct sw_redis **ret,
                                        struct sw_error *err);
/* Ends the thread; questions that wait become misses, entries that wait are dropped. NULL is allowed. */
void sw_redis_destroy(struct sw_redis *redis);

/* A question; lies in its request's memory, and is the client's from ask to done. */
struct sw_redis_question {
    uint8_t key[SW_REDIS_KEY];
    /* value.data NULL: a miss, for whatever reason; else valid during the call. */
    void (*done)(struct sw_redis_question *question, struct sw_str value);
    uint64_t asked_ns; /* the client's */
    struct sw_redis_question *next;
};

/* false: not taken (breaker open, queue full, shutting down): a miss. Never blocks. Afterwards `done` is called once. */
SW_MUST_CHECK bool sw_redis_ask(struct sw_redis *redis, struct sw_redis_question *question);

/* Something to be written; made by the caller, given back by `release` (any thread) whether it was written or dropped. */
struct sw_redis_entry {
    uint8_t key[SW_REDIS_KEY];
    struct sw_str value;
    uint64_t ttl_ms; /* at least 1 */
    void (*release)(struct sw_redis_entry *entry);
    struct sw_redis_entry *next;
};
void sw_redis_keep(struct sw_redis *redis, struct sw_redis_entry *entry); /* taken over; never blocks */

/* Watches the generation of a model; `generation` is what the caller has now (0: never purged). Watching again is allowed
 * and changes nothing. */
void sw_redis_watch(struct sw_redis *redis, const char *model, uint64_t generation);
void sw_redis_unwatch(struct sw_redis *redis, const char *model);
/* A purge: the new generation is written as soon as Redis answers, and until then whenever it does. Never blocks. */
void sw_redis_set_generation(struct sw_redis *redis, const char *model, uint64_t generation);

struct sw_redis_stats {
    bool breaker_open;
    char reason[160]; /* why; of the last failure */
    size_t waiting;   /* questions */
    unsigned nodes;   /* connected */
    bool cluster;
    uint64_t hits, misses;
    uint64_t timeouts, errors, garbage; /* questions that became misses that way; `errors` the connection's and the server's */
    uint64_t refused;                   /* not taken: breaker open or queue full */
    uint64_t kept, dropped, failed;     /* entries: written, not taken, refused by the server or lost */
    uint64_t opened;                    /* how often the breaker opened */
};
void sw_redis_look(struct sw_redis *redis, struct sw_redis_stats *ret);

#endif
