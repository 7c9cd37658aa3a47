/* Parts of the client of Redis, from the bottom up:
 *
 *     redis_addresses.c   text -> addresses                      pure
 *     redis_breaker.c     the circuit breaker                    pure, time is an argument
 *     redis_wire.c        commands, envelope, slot of a key      pure
 *     redis_reply.c       bytes -> answers, by hiredis' reader   pure
 *     redis_cluster.c     CLUSTER SLOTS, MOVED, ASK              pure
 *     redis_connection.c  a non-blocking socket, plain or TLS
 *     redis_resolve.c     names -> socket addresses, on a thread of their own
 *     redis_node.c        one server: its connection, what it was asked and has not answered yet, its deadline
 *     redis_answer.c      what an answer means to who asked
 *     redis_generation.c  the watched models
 *     redis_route.c       which node is asked; map, seeds, breaker: what happens when one comes or goes
 *     redis.c             the functions of redis.h, the queues, the thread
 *
 * All of it runs on `sw-redis` but redis.c's public functions and redis_resolve.c's look-up. Nothing on that thread blocks
 * except ppoll, which ends at the earliest deadline. */
#ifndef SW_SCHED_CACHE_REDIS_INTERNAL_H
#define SW_SCHED_CACHE_REDIS_INTERNAL_H

#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <hiredis/read.h>

#include "base/buf.h"
#include "base/map.h"
#include "sched/cache/redis.h"

enum {
    REDIS_HOST_MAX = 256,
    REDIS_PREFIX_MAX = 128,
    REDIS_MODEL_MAX = 256,
    REDIS_DIGITS = 2 * SW_REDIS_KEY,
    REDIS_KEY_MAX = REDIS_PREFIX_MAX + 16 + REDIS_MODEL_MAX,
    REDIS_PORT = 6379,
    REDIS_RESOLVED_MAX = 8,
    REDIS_SLOTS = 16384,
    REDIS_NODES_MAX = 256,
    REDIS_REASON_MAX = 160,
};

/* --- addresses ------------------------------------------------------------------------------------------------------ */

struct redis_address {
    char host[REDIS_HOST_MAX]; /* a name, IPv4, IPv6 without brackets, or the path of a socket */
    uint16_t port;             /* 0: a socket's path */
};

struct redis_addresses {
    struct redis_address list[SW_REDIS_ADDRESSES_MAX];
    size_t count;
    char username[REDIS_HOST_MAX], password[512]; /* empty: none given */
    bool tls, has_database;
    unsigned database;
};

/* SW_E_INVALID_ARGUMENT names the address by its number, never by its text, which may hold a password. */
SW_MUST_CHECK sw_status redis_addresses_parse(const char *text, struct redis_addresses *ret, struct sw_error *err);

/* "HOST:PORT", "[IPv6]:PORT", "unix:PATH". */
enum { REDIS_NAME_MAX = REDIS_HOST_MAX + 16 };
void redis_address_name(const struct redis_address *address, char ret[REDIS_NAME_MAX]);

/* --- circuit breaker ------------------------------------------------------------------------------------------------ */

/*               fail                due, probe
 *     CLOSED ----------> OPEN ------------------> PROBING
 *        ^                ^            fail          |
 *        |                +--------------------------+
 *        +------------------------ close ------------+
 *
 * The wait doubles with each failure, and goes back to min_ns only when something was answered that somebody asked for
 * (prove): a server that answers PING and nothing else in time is left alone ever longer. */
enum redis_breaker_state { REDIS_CLOSED, REDIS_OPEN, REDIS_PROBING };

struct redis_breaker {
    enum redis_breaker_state state;
    uint64_t min_ns, max_ns;
    uint64_t wait_ns;  /* before the next probe, should the next thing be a failure */
    uint64_t retry_ns; /* OPEN: when to probe */
    uint64_t opened;   /* CLOSED to OPEN, how often */
    uint64_t random;
};

void redis_breaker_init(struct redis_breaker *b, uint64_t min_ns, uint64_t max_ns, uint64_t seed, uint64_t now_ns);
bool redis_breaker_due(const struct redis_breaker *b, uint64_t now_ns); /* OPEN, and it is time to probe */
void redis_breaker_probe(struct redis_breaker *b);
void redis_breaker_close(struct redis_breaker *b);
void redis_breaker_prove(struct redis_breaker *b);
void redis_breaker_fail(struct redis_breaker *b, uint64_t now_ns);

/* --- commands, envelope, slots -------------------------------------------------------------------------------------- */

/* Appends a command. Out of memory: out->failed. */
void redis_command(struct sw_buf *out, size_t argc, const struct sw_str *argv);

/* What all keys have in common. */
struct redis_keys {
    char prefix[REDIS_PREFIX_MAX + 1];
    size_t prefix_len;
    char get[REDIS_PREFIX_MAX + REDIS_DIGITS + 64]; /* a GET, formatted once; its digits are replaced */
    size_t get_len, digits_at;
};

void redis_keys_init(struct redis_keys *keys, const char *prefix); /* of at most REDIS_PREFIX_MAX bytes */
/* The text of a key; returns its length. */
size_t redis_key_of(const struct redis_keys *keys, const uint8_t key[SW_REDIS_KEY], char ret[REDIS_KEY_MAX]);
size_t redis_key_of_generation(const struct redis_keys *keys, const char *model, char ret[REDIS_KEY_MAX]);
unsigned redis_slot_of(struct sw_str key); /* 0..REDIS_SLOTS-1; what stands in {} counts alone */

/* Envelope: "slipway" 0x01, length of the value (8 bytes, little-endian), SHA-256 of key and value, value. */
enum { REDIS_ENVELOPE = 48 };
struct redis_digest {
    EVP_MD *sha256;
    EVP_MD_CTX *context;
};
bool redis_digest_init(struct redis_digest *d);
void redis_digest_deinit(struct redis_digest *d);
void redis_envelope_make(struct redis_digest *d, const uint8_t key[SW_REDIS_KEY], struct sw_str value,
                         uint8_t ret[REDIS_ENVELOPE]);
/* false: it is none, or its value is not what was written for this key. *ret_value points into `bytes`. */
bool redis_envelope_open(struct redis_digest *d, const uint8_t key[SW_REDIS_KEY], struct sw_str bytes,
                         struct sw_str *ret_value);

void redis_write_get(const struct redis_keys *keys, const uint8_t key[SW_REDIS_KEY], struct sw_buf *out);
void redis_write_set(const struct redis_keys *keys, struct redis_digest *d, const struct sw_redis_entry *entry,
                     struct sw_buf *out);

/* --- answers -------------------------------------------------------------------------------------------------------- */

/* An answer as the list of its parts, a parent before its children: no tree, no memory of its own for each. */
enum redis_type { REDIS_STRING = 1, REDIS_ARRAY, REDIS_INTEGER, REDIS_NIL, REDIS_STATUS, REDIS_ERROR, REDIS_OVERSIZE };
struct redis_part {
    enum redis_type type; /* OVERSIZE: a string larger than allowed, which was not kept */
    int depth;            /* 0: the answer itself */
    int64_t number;       /* of an integer; of an array's elements */
    size_t at, len;       /* of a text */
};

struct redis_reader {
    redisReader *reader;
    struct redis_part *parts;
    size_t parts_count, parts_capacity;
    struct sw_buf text;
    size_t text_max, parts_max; /* of the answer that is read */
    uint64_t skip;              /* bytes of an oversize string that are still to come */
    bool begun;                 /* parts and text are those of an answer that is not whole yet */
};

enum redis_read { REDIS_READ_MORE, REDIS_READ_ANSWER, REDIS_READ_GARBAGE };

bool redis_reader_init(struct redis_reader *r, size_t text_max); /* text_max: the largest that will ever be allowed */
void redis_reader_deinit(struct redis_reader *r);
/* Drops what was read, for a new connection. */
bool redis_reader_reset(struct redis_reader *r);
bool redis_reader_feed(struct redis_reader *r, const char *data, size_t len); /* false: no memory */
/* The next answer, of at most that many bytes of text and parts; the limits stay the same until it is whole. It is valid
 * until the next call. Memory: text_max, parts_max parts, and as much unread input as was fed at once. */
enum redis_read redis_reader_next(struct redis_reader *r, size_t text_max, size_t parts_max);
static inline const struct redis_part *redis_answer(const struct redis_reader *r) {
    return &r->parts[0];
}
struct sw_str redis_part_text(const struct redis_reader *r, const struct redis_part *part);

/* --- cluster -------------------------------------------------------------------------------------------------------- */

struct redis_range {
    unsigned first, last; /* slots */
    struct redis_address master;
};
/* Ranges of an answer to CLUSTER SLOTS, one after the other: *position begins at 0. `asked` is who answered: an empty
 * host means its own. Returns 1 with a range, 0 at the end, -1 when the answer is none. */
int redis_slots_next(const struct redis_reader *r, const struct redis_address *asked, size_t *position,
                     struct redis_range *ret);

struct redis_redirect {
    bool ask; /* else MOVED */
    unsigned slot;
    struct redis_address address;
};
bool redis_redirect_parse(struct sw_str error, const struct redis_address *asked, struct redis_redirect *ret);

/* --- connections ---------------------------------------------------------------------------------------------------- */

union redis_sockaddr {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un path;
};
struct redis_resolved {
    union redis_sockaddr list[REDIS_RESOLVED_MAX];
    socklen_t sizes[REDIS_RESOLVED_MAX];
    size_t count;
};

/* Without asking anybody: numeric addresses and paths. */
bool redis_resolve_now(const struct redis_address *address, struct redis_resolved *ret);

/* A look-up on a thread of its own, which getaddrinfo may hold up for as long as it likes; `wake_fd` (an eventfd) is
 * written to when it is done. Letting go before that is allowed. */
struct redis_lookup;
SW_MUST_CHECK sw_status redis_lookup_start(const struct redis_address *address, int wake_fd, struct redis_lookup **ret,
                                           struct sw_error *err);
/* false: not yet. With ret->count == 0 *ret_reason says why. */
bool redis_lookup_take(struct redis_lookup *lookup, struct redis_resolved *ret, const char **ret_reason);
void redis_lookup_release(struct redis_lookup *lookup); /* NULL is allowed */

enum redis_io { REDIS_IO_OK, REDIS_IO_AGAIN, REDIS_IO_END, REDIS_IO_ERROR };
struct redis_connection {
    int fd; /* -1: none */
    SSL *ssl;
    bool connected; /* TCP */
    bool ready;     /* and TLS */
    bool wants_write;
    char reason[100]; /* of REDIS_IO_ERROR; static words, OpenSSL's or strerror's: never bytes from the server */
};

SW_MUST_CHECK sw_status redis_tls_create(const struct sw_redis_options *options, SSL_CTX **ret, struct sw_error *err);
/* tls NULL: plain. `name`: whom the certificate must name. */
enum redis_io redis_connection_open(struct redis_connection *c, const union redis_sockaddr *address, socklen_t size,
                                    SSL_CTX *tls, const char *name);
enum redis_io redis_connection_continue(struct redis_connection *c); /* until REDIS_IO_OK: ready */
enum redis_io redis_connection_read(struct redis_connection *c, char *data, size_t size, size_t *ret_len);
enum redis_io redis_connection_write(struct redis_connection *c, const char *data, size_t len, size_t *ret_len);
void redis_connection_close(struct redis_connection *c);

/* --- nodes ---------------------------------------------------------------------------------------------------------- */

enum redis_kind {
    REDIS_AUTH,
    REDIS_SELECT,
    REDIS_FIND_SLOTS, /* is it a cluster? */
    REDIS_PING,
    REDIS_MAP, /* CLUSTER SLOTS of a cluster */
    REDIS_ASKING,
    REDIS_GET,
    REDIS_SET,
    REDIS_GENERATION_GET,
    REDIS_GENERATION_SET,
};

/* A command that was sent, or will be as soon as the connection is ready, and has no answer yet. */
struct redis_pending {
    enum redis_kind kind;
    bool redirected;
    union {
        struct sw_redis_question *question;
        struct sw_redis_entry *entry;
        uint64_t watch; /* its number */
    };
    uint64_t version;     /* of the watch, when it was sent */
    uint64_t deadline_ns; /* when the node fails */
};

enum redis_cause { REDIS_CAUSE_NONE, REDIS_CAUSE_TIMEOUT, REDIS_CAUSE_ERROR, REDIS_CAUSE_GARBAGE, REDIS_CAUSE_REFUSED };

/*     DOWN --start--> LOOKUP --> OPENING --> GREETING --PONG--> UP
 *       ^                                                       |
 *       +----------- fail: from everywhere --------------------+
 *
 * Commands may be added in every state but DOWN: they stand behind AUTH and SELECT in `out`. */
enum redis_node_state { REDIS_NODE_DOWN, REDIS_NODE_LOOKUP, REDIS_NODE_OPENING, REDIS_NODE_GREETING, REDIS_NODE_UP };

struct redis_node {
    struct sw_redis *redis;
    struct redis_address address;
    enum redis_node_state state;
    struct redis_breaker breaker; /* of a node of a cluster; a server alone has that of the client */
    bool finding;                 /* a seed, asked whether it is a cluster */
    bool unhurried;               /* nobody waits: connecting may take longer than a question may */
    bool mapped;                  /* has slots */
    bool read_again;              /* there is more to be read than one turn reads */
    struct redis_lookup *lookup;
    struct redis_resolved resolved;
    size_t resolved_at, resolved_tried;
    struct redis_connection connection;
    struct redis_reader reader;
    struct sw_buf out;
    size_t sent;
    struct redis_pending *ring;
    size_t ring_first, ring_count, ring_capacity;
    uint64_t deadline_ns; /* none of the ring has an earlier one */
    uint64_t started_ns;
};

struct redis_node *redis_node_create(struct sw_redis *redis, const struct redis_address *address); /* NULL: no memory */
void redis_node_destroy(struct redis_node *node);                                                  /* DOWN */
void redis_node_start(struct redis_node *node, uint64_t now_ns);
/* Where the command goes; afterwards redis_node_push tells what it was. */
bool redis_node_push(struct redis_node *node, struct redis_pending pending); /* false: no memory; the node has failed */
struct redis_pending redis_node_pop(struct redis_node *node);                /* the oldest */
/* AUTH, SELECT, CLUSTER SLOTS or PING, as the node's settings want it. */
bool redis_node_greet(struct redis_node *node, enum redis_kind kind);
/* All that it was asked ends with this cause. `reason` is of the server at this address. */
void redis_node_fail(struct redis_node *node, enum redis_cause cause, const char *fmt, ...) SW_PRINTF(3, 4);
void redis_node_stop(struct redis_node *node, enum redis_cause cause); /* the same without a word: nobody is to blame */
void redis_node_flush(struct redis_node *node);                        /* writes as much as it takes */
void redis_node_event(struct redis_node *node);                        /* something happened to its socket */
void redis_node_woken(struct redis_node *node);                        /* a look-up may be done */
void redis_node_expire(struct redis_node *node, uint64_t now_ns);
short redis_node_events(const struct redis_node *node); /* for poll */

/* redis_answer.c: the answer of node->reader is that of the oldest command. May fail the node. */
void redis_node_answer(struct redis_node *node);
/* How large an answer to this kind may be. */
void redis_answer_limits(const struct sw_redis *redis, enum redis_kind kind, size_t *ret_text, size_t *ret_parts);
size_t redis_answer_text_max(const struct sw_redis *redis);
/* The command ends without an answer. */
void redis_pending_end(struct sw_redis *redis, const struct redis_pending *pending, enum redis_cause cause);

/* --- generations ---------------------------------------------------------------------------------------------------- */

struct redis_watch {
    uint64_t number;     /* 1, 2, ...: in this order they stand in the list */
    uint64_t generation; /* that this replica knows */
    uint64_t version;    /* counts changes of `generation`, so that an answer from before is not taken for news */
    bool dirty;          /* to be written */
    char model[];
};

struct redis_watches {
    pthread_mutex_t lock; /* leaf: nothing is called with it */
    struct redis_watch **list;
    size_t count, capacity;
    struct sw_map by_model;
    uint64_t numbers;
    uint64_t turn;       /* the number of the last one that was asked for in this round; thread only */
    uint64_t next_ns;    /* of the next round; thread only */
    size_t flying;       /* asked and not answered; thread only */
    bool in_round;       /* thread only */
    atomic_bool changed; /* one is dirty: do not wait for the next round */
};

void redis_watches_init(struct redis_watches *w);
void redis_watches_deinit(struct redis_watches *w);
void redis_watches_add(struct redis_watches *w, const char *model, uint64_t generation);
void redis_watches_set(struct redis_watches *w, const char *model, uint64_t generation);
void redis_watches_tick(struct sw_redis *redis, uint64_t now_ns); /* sends what is due */
uint64_t redis_watches_due(const struct sw_redis *redis);
void redis_watches_answer(struct sw_redis *redis, const struct redis_pending *pending, const struct redis_reader *r);
void redis_watches_lost(struct sw_redis *redis, const struct redis_pending *pending);

/* --- the client ----------------------------------------------------------------------------------------------------- */

struct redis_counters {
    atomic_uint_fast64_t hits, misses, timeouts, errors, garbage, refused, kept, dropped, failed, opened;
};

struct sw_redis {
    struct sw_redis_options options; /* strings are copies, or NULL */
    struct redis_addresses seeds;
    SSL_CTX *tls;
    uint64_t timeout_ns;
    struct redis_keys keys;

    /* Shared. Questions and entries are pushed onto stacks without a lock and taken off all at once by the thread. */
    _Atomic(struct sw_redis_question *) asked;
    _Atomic(struct sw_redis_entry *) given;
    atomic_size_t waiting, entries, entry_bytes;
    atomic_bool accepting, stopping, is_cluster;
    atomic_uint nodes_up;
    struct redis_counters counters;
    pthread_mutex_t lock; /* of reason; leaf */
    char reason[REDIS_REASON_MAX];
    struct redis_watches watches;
    int wake_fd;
    pthread_t thread;

    /* The thread's own. */
    struct redis_digest digest;
    struct redis_breaker breaker;
    struct redis_node *nodes[REDIS_NODES_MAX];
    size_t node_count;
    uint16_t map[REDIS_SLOTS]; /* 1 + index of a node; 0: nobody's */
    bool cluster;
    bool map_wanted, node_down;
    uint64_t map_ns; /* not before */
    size_t seed, seeds_tried, attempts;
    struct redis_node *finder; /* the seed that is asked, until it is up */
    bool unsettled;            /* a node has stopped */
    enum redis_cause cause;    /* why the breaker is open */
    struct sw_redis_entry *first_entry, **last_entry;
    size_t flying_bytes; /* of entries sent and not answered */
};

/* redis_route.c */
void redis_ask_one(struct sw_redis *redis, struct sw_redis_question *question);
void redis_keep_one(struct sw_redis *redis, struct sw_redis_entry *entry);
void redis_follow(struct redis_node *from, const struct redis_pending *pending, const struct redis_redirect *redirect);
struct redis_node *redis_node_for(struct sw_redis *redis, struct sw_str key); /* NULL: nobody can be asked */
bool redis_map_take(struct redis_node *node);   /* the answer of node->reader; false: it is none */
void redis_is_alone(struct redis_node *node);   /* the node that was asked is no cluster, */
void redis_is_cluster(struct redis_node *node); /* or is one, whose map was taken */
void redis_node_is_up(struct redis_node *node);
void redis_settle(struct sw_redis *redis, uint64_t now_ns); /* after anything that may have changed something */
uint64_t redis_settle_due(const struct sw_redis *redis);    /* when it must be called again */
void redis_close_all(struct sw_redis *redis, enum redis_cause cause);

/* redis.c */
uint64_t redis_now(struct sw_redis *redis);
void redis_question_end(struct sw_redis *redis, struct sw_redis_question *question, enum redis_cause cause,
                        struct sw_str value);
void redis_entry_end(struct sw_redis *redis, struct sw_redis_entry *entry, atomic_uint_fast64_t *counter);
void redis_say(struct sw_redis *redis, const char *fmt, ...) SW_PRINTF(2, 3); /* the reason */

#endif
