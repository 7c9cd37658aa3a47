/* Results shared by replicas: a client of Redis (or Valkey, KeyDB: whatever speaks RESP2 and has GET, SET PX).
 *
 * Redis is a help, never a need. Whatever goes wrong there (away, slow, full, garbage, half an answer, wrong password) is
 * a miss, is counted, and costs a request at most timeout_ms, once: the first failure opens the circuit breaker, which
 * ends all that wait, and while it is open every question is a miss at once. Then the thread connects and tries PING by
 * itself, after breaker_min_ms, twice as long after each failure up to breaker_max_ms (less up to a quarter, by chance),
 * and an answer within timeout_ms closes the breaker. It is open until the first connection is made. What opens it: no
 * answer in time, a connection that fails or ends, bytes that are not RESP or not of the command's type, and the errors
 * that every command would get (NOAUTH, WRONGPASS, LOADING, MASTERDOWN). Another error reply is one miss.
 *
 *     ask -----> questions --+--> thread `sw-redis`: takes all that waits, sends it as one pipeline a node,
 *     keep ----> entries ----+    reads the answers, calls `done` of each
 *
 * Both queues are bounded; what does not fit is a miss, or is dropped, and counted. Entries wait while there are
 * questions that were not sent, and at most 1 MiB of them (or one) is on its way. The protocol is read by hiredis (its
 * reader and its formatter); connections are this module's own, so that they never block beyond a deadline and may be
 * TLS, which Debian's hiredis cannot.
 *
 * Names are looked up on threads of their own (`sw-redis-name`), because that may block: no question waits for it, since
 * the breaker is open meanwhile. Nobody waits either while a probe connects, which may therefore take up to a second
 * where timeout_ms is shorter.
 *
 * A cluster is recognised by asking (CLUSTER SLOTS): keys go to the node of their slot, MOVED and ASK are followed once,
 * and MOVED, CLUSTERDOWN and the loss of a node refresh the map. Each node has a breaker of its own, so that the loss of
 * one costs its slots only. Without a cluster the first address that answers is used, the others when it fails.
 *
 * Keys: PREFIX + 64 hex digits. Each value is an envelope of this module: magic, length, SHA-256 of the key and of what
 * follows, so that what another program wrote there, a cut value, or one of another key is not taken for a result. Only as
 * much as value_max is ever kept in memory of an answer, whatever a server announces or sends.
 *
 * Purging: each model has a generation that is part of what its keys are made of (cache.h). A purge writes a new random
 * one under PREFIX "generation:" MODEL; the thread reads those of the watched models once a second, so that a purge on
 * one replica is seen by all. One that Redis lost is written again by who still knows it (SET NX).
 *
 * Threads: any thread asks, keeps, watches, without a lock but for watches; `done` and on_generation run on `sw-redis`,
 * or on the thread that destroys, and may call everything here but destroy. */
#ifndef SW_SCHED_CACHE_REDIS_H
#define SW_SCHED_CACHE_REDIS_H

#include "base/clock.h"
#include "base/error.h"
#include "base/str.h"

struct sw_redis;

enum { SW_REDIS_KEY = 32, SW_REDIS_ADDRESSES_MAX = 32 };

struct sw_redis_options {
    /* Addresses separated by commas or blanks: HOST[:PORT], [IPv6]:PORT, unix:/PATH, redis://[USER[:PASSWORD]@]HOST..[/DB],
     * rediss://...; user, password, database and TLS of a URL count for all. Sockets of a path never use TLS. A message
     * about them names them by their number, because they may hold a password. */
    const char *addresses;
    /* May be NULL, else before those of a URL; never logged, never part of a message. */
    const char *username, *password;
    unsigned database; /* not for a cluster */
    bool tls;
    bool tls_insecure;              /* the server's certificate is not checked */
    const char *tls_ca;             /* file; NULL: what the machine trusts */
    const char *tls_cert, *tls_key; /* files; of this client; may be NULL */
    const char *tls_server_name;    /* NULL: the address's host */
    const char *prefix;             /* "slipway:cache:"; at most 128 bytes */
    uint64_t timeout_ms;            /* from a question to its answer, connecting included */
    uint64_t breaker_min_ms, breaker_max_ms;
    size_t value_max;       /* bytes; larger ones are not kept, and not read */
    size_t questions_max;   /* waiting */
    size_t entries_max;     /* waiting to be written */
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
/* Ends the thread; questions that wait become misses, entries that wait are dropped. NULL is allowed. Nobody may ask, keep
 * or watch any more, but for `done` and `release` that are called by this. Does not wait for a look-up of a name. */
void sw_redis_destroy(struct sw_redis *redis);

/* A question; lies in its request's memory, and is the client's from ask to done. */
struct sw_redis_question {
    uint8_t key[SW_REDIS_KEY];
    /* value.data NULL: a miss, for whatever reason; else valid during the call, and aligned to 16 bytes. */
    void (*done)(struct sw_redis_question *question, struct sw_str value);
    uint64_t asked_ns; /* the client's: set by ask */
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
 * and changes nothing. A name of more than 255 bytes is not watched. */
void sw_redis_watch(struct sw_redis *redis, const char *model, uint64_t generation);
/* A purge: the new generation is written as soon as Redis answers, and until then whenever it does. Never blocks. */
void sw_redis_set_generation(struct sw_redis *redis, const char *model, uint64_t generation);

struct sw_redis_stats {
    bool breaker_open;
    char reason[160]; /* why; of the last failure */
    size_t waiting;   /* questions */
    unsigned nodes;   /* connected */
    bool cluster;
    uint64_t hits, misses;              /* of the questions that were taken; misses for whatever reason */
    uint64_t timeouts, errors, garbage; /* misses of that cause; `errors` are the connection's and the server's */
    uint64_t refused;               /* not taken: breaker open or queue full; or taken, and its node's breaker open */
    uint64_t kept, dropped, failed; /* entries: written, not sent, refused by the server or lost */
    uint64_t opened;                /* how often the breaker opened */
};
void sw_redis_look(struct sw_redis *redis, struct sw_redis_stats *ret);

#endif
