/* One server: connecting, sending, reading, and the deadline of what it was asked. See redis_internal.h for its states. */
#include <poll.h>

#include "base/memory.h"
#include "sched/cache/redis_internal.h"

enum { READ_BYTES = 16384, READS_A_TURN = 32, RING_FIRST = 32, OUT_KEEPS = 256 << 10, OUT_SPARE = 4 << 20 };
static const uint64_t UNHURRIED_NS = 1000000000, LIVED_NS = 1000000000;

struct redis_node *redis_node_create(struct sw_redis *redis, const struct redis_address *address) {
    struct redis_node *node = sw_calloc(1, sizeof *node);
    if (!node) {
        return NULL;
    }
    const struct sw_redis_options *o = &redis->options;
    node->redis = redis;
    node->address = *address;
    node->connection.fd = -1;
    node->deadline_ns = UINT64_MAX;
    sw_buf_init(&node->out, o->questions_max * REDIS_KEY_MAX + 2 * o->value_max + OUT_SPARE);
    node->ring = sw_calloc(RING_FIRST, sizeof *node->ring);
    node->ring_capacity = RING_FIRST;
    redis_breaker_init(&node->breaker, redis->breaker.min_ns, redis->breaker.max_ns,
                       redis->breaker.random + redis->node_count, 0);
    redis_breaker_close(&node->breaker);
    if (!redis_reader_init(&node->reader, redis_answer_text_max(redis)) || !node->ring) {
        redis_node_destroy(node);
        return NULL;
    }
    return node;
}

void redis_node_destroy(struct redis_node *node) {
    SW_ASSERT(node->state == REDIS_NODE_DOWN && node->ring_count == 0);
    redis_reader_deinit(&node->reader);
    sw_buf_deinit(&node->out);
    sw_free(node->ring);
    sw_free(node);
}

/* --- the ring ----------------------------------------------------------------------------------------------------- */

static struct redis_pending *at(const struct redis_node *node, size_t i) {
    SW_ASSERT(node->ring_capacity > 0);
    return &node->ring[(node->ring_first + i) % node->ring_capacity];
}

static bool grow(struct redis_node *node) {
    if (node->ring_count < node->ring_capacity) {
        return true;
    }
    struct redis_pending *more = sw_malloc(2 * node->ring_capacity * sizeof *more);
    if (!more) {
        return false;
    }
    for (size_t i = 0; i < node->ring_count; i++) {
        more[i] = *at(node, i);
    }
    sw_free(node->ring);
    node->ring = more;
    node->ring_first = 0;
    node->ring_capacity *= 2;
    return true;
}

bool redis_node_push(struct redis_node *node, struct redis_pending pending) {
    SW_ASSERT(node->state != REDIS_NODE_DOWN);
    if (node->out.failed || !grow(node)) {
        redis_pending_end(node->redis, &pending, REDIS_CAUSE_ERROR);
        redis_node_fail(node, REDIS_CAUSE_ERROR, "no memory for what is to be sent");
        return false;
    }
    *at(node, node->ring_count++) = pending;
    if (pending.deadline_ns < node->deadline_ns) {
        node->deadline_ns = pending.deadline_ns;
    }
    return true;
}

struct redis_pending redis_node_pop(struct redis_node *node) {
    SW_ASSERT(node->ring_count > 0);
    struct redis_pending oldest = *at(node, 0);
    node->ring_first = (node->ring_first + 1) % node->ring_capacity;
    if (--node->ring_count == 0) {
        node->deadline_ns = UINT64_MAX;
    }
    return oldest;
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

void redis_node_stop(struct redis_node *node, enum redis_cause cause) {
    struct sw_redis *redis = node->redis;
    if (node->state == REDIS_NODE_DOWN) {
        return;
    }
    node->state = REDIS_NODE_DOWN;
    redis->unsettled = true;
    redis_connection_close(&node->connection);
    redis_lookup_release(node->lookup);
    node->lookup = NULL;
    sw_buf_deinit(&node->out);
    node->sent = 0;
    node->read_again = false;
    while (node->ring_count) {
        struct redis_pending pending = redis_node_pop(node);
        redis_pending_end(redis, &pending, cause);
    }
}

void redis_node_fail(struct redis_node *node, enum redis_cause cause, const char *fmt, ...) {
    struct sw_redis *redis = node->redis;
    char name[REDIS_NAME_MAX], why[REDIS_REASON_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, sizeof why, fmt, args);
    va_end(args);
    redis_address_name(&node->address, name);
    redis_say(redis, "%.70s: %s", name, why);
    redis->cause = cause;
    redis->map_wanted = true;
    redis_breaker_fail(&node->breaker, redis_now(redis));
    if (!redis->cluster) { /* who is told of a miss finds the breaker open */
        atomic_store(&redis->accepting, false);
    }
    redis_node_stop(node, cause);
}

/* --- connecting --------------------------------------------------------------------------------------------------- */

static void opened(struct redis_node *node, enum redis_io io);

static void open_next(struct redis_node *node) {
    const struct sw_redis *redis = node->redis;
    const char *name = redis->options.tls_server_name ? redis->options.tls_server_name : node->address.host;
    size_t i = (node->resolved_at + node->resolved_tried) % node->resolved.count;
    node->state = REDIS_NODE_OPENING;
    opened(node, redis_connection_open(&node->connection, &node->resolved.list[i], node->resolved.sizes[i], redis->tls,
                                       name));
}

static void opened(struct redis_node *node, enum redis_io io) {
    if (io == REDIS_IO_OK) {
        node->state = REDIS_NODE_GREETING;
        node->resolved_at = (node->resolved_at + node->resolved_tried) % node->resolved.count;
    } else if (io != REDIS_IO_AGAIN) {
        bool tls = node->connection.connected;
        if (!tls && ++node->resolved_tried < node->resolved.count) {
            redis_connection_close(&node->connection);
            open_next(node);
        } else {
            redis_node_fail(node, REDIS_CAUSE_ERROR, "%s", node->connection.reason);
        }
    }
}

static void look_up(struct redis_node *node) {
    struct sw_error err;
    /* What was found last time is good enough while somebody may be waiting. */
    if (redis_resolve_now(&node->address, &node->resolved) || node->resolved.count) {
        open_next(node);
    } else if (redis_lookup_start(&node->address, node->redis->wake_fd, &node->lookup, &err)) {
        redis_node_fail(node, REDIS_CAUSE_ERROR, "%.100s", err.message);
    }
}

void redis_node_woken(struct redis_node *node) {
    const char *reason;
    if (node->state != REDIS_NODE_LOOKUP || !redis_lookup_take(node->lookup, &node->resolved, &reason)) {
        return;
    }
    redis_lookup_release(node->lookup);
    node->lookup = NULL;
    if (!node->resolved.count) {
        redis_node_fail(node, REDIS_CAUSE_ERROR, "%s", reason);
        return;
    }
    node->resolved_at = node->redis->attempts % node->resolved.count;
    open_next(node);
}

static uint64_t patience_ns(const struct redis_node *node) {
    uint64_t timeout_ns = node->redis->timeout_ns;
    return node->unhurried && timeout_ns < UNHURRIED_NS ? UNHURRIED_NS : timeout_ns;
}

bool redis_node_greet(struct redis_node *node, enum redis_kind kind) {
    static const struct sw_str words[][2] = {
        [REDIS_FIND_SLOTS] = {SW_STR("CLUSTER"), SW_STR("SLOTS")}, [REDIS_PING] = {SW_STR("PING")}};
    const struct redis_addresses *seeds = &node->redis->seeds;
    char database[16];
    snprintf(database, sizeof database, "%u", seeds->database);
    if (kind == REDIS_AUTH) {
        struct sw_str user = sw_str_of(seeds->username), password = sw_str_of(seeds->password);
        struct sw_str argv[3] = {SW_STR("AUTH"), user.len ? user : password, password};
        redis_command(&node->out, user.len ? 3 : 2, argv);
    } else if (kind == REDIS_SELECT) {
        redis_command(&node->out, 2, (struct sw_str[]){SW_STR("SELECT"), sw_str_of(database)});
    } else {
        redis_command(&node->out, words[kind][1].len ? 2 : 1, words[kind]);
    }
    return redis_node_push(
        node, (struct redis_pending){.kind = kind, .deadline_ns = redis_now(node->redis) + patience_ns(node)});
}

void redis_node_start(struct redis_node *node, uint64_t now_ns) {
    const struct sw_redis *redis = node->redis;
    SW_ASSERT(node->state == REDIS_NODE_DOWN && node->ring_count == 0);
    node->state = REDIS_NODE_LOOKUP;
    node->started_ns = now_ns;
    node->resolved_tried = 0;
    if (!redis_reader_reset(&node->reader)) {
        redis_node_fail(node, REDIS_CAUSE_ERROR, "no memory for a reader");
        return;
    }
    bool going = !redis->seeds.password[0] || redis_node_greet(node, REDIS_AUTH);
    going = going &&
            (node->finding || redis->cluster || !redis->seeds.database || redis_node_greet(node, REDIS_SELECT));
    if (going && redis_node_greet(node, node->finding ? REDIS_FIND_SLOTS : REDIS_PING)) {
        look_up(node);
    }
}

/* --- reading and writing ------------------------------------------------------------------------------------------ */

/* The server may close a connection that nobody uses: the next one is made before anybody asks. */
static void closed(struct redis_node *node, const char *why) {
    uint64_t now = redis_now(node->redis);
    if (node->state == REDIS_NODE_UP && node->ring_count == 0 && now - node->started_ns >= LIVED_NS) {
        redis_node_stop(node, REDIS_CAUSE_NONE);
        redis_node_start(node, now);
    } else {
        redis_node_fail(node, REDIS_CAUSE_ERROR, "%s", why);
    }
}

static void take_answers(struct redis_node *node) {
    while (node->state != REDIS_NODE_DOWN) {
        size_t text_max = 0, parts_max = 1;
        if (node->ring_count) {
            redis_answer_limits(node->redis, at(node, 0)->kind, &text_max, &parts_max);
        }
        enum redis_read read = redis_reader_next(&node->reader, text_max, parts_max);
        if (read == REDIS_READ_MORE) {
            return;
        }
        if (read == REDIS_READ_GARBAGE) {
            redis_node_fail(node, REDIS_CAUSE_GARBAGE, "what it answers is not what Redis would");
        } else if (!node->ring_count) {
            redis_node_fail(node, REDIS_CAUSE_GARBAGE, "it answers what nobody asked");
        } else {
            redis_node_answer(node);
        }
    }
}

static void read_some(struct redis_node *node) {
    char bytes[READ_BYTES];
    node->read_again = false;
    for (int i = 0; i < READS_A_TURN; i++) {
        size_t len;
        enum redis_io io = redis_connection_read(&node->connection, bytes, sizeof bytes, &len);
        if (io == REDIS_IO_AGAIN) {
            return;
        }
        if (io != REDIS_IO_OK) {
            closed(node, io == REDIS_IO_END ? "it closed the connection" : node->connection.reason);
            return;
        }
        if (!redis_reader_feed(&node->reader, bytes, len)) {
            redis_node_fail(node, REDIS_CAUSE_GARBAGE, "no memory for its answer");
            return;
        }
        take_answers(node);
        if (node->state == REDIS_NODE_DOWN) {
            return;
        }
    }
    node->read_again = true;
}

void redis_node_flush(struct redis_node *node) {
    if (node->state != REDIS_NODE_GREETING && node->state != REDIS_NODE_UP) {
        return;
    }
    while (node->sent < node->out.len) {
        size_t n;
        enum redis_io io = redis_connection_write(&node->connection, node->out.data + node->sent,
                                                  node->out.len - node->sent, &n);
        if (io == REDIS_IO_AGAIN) {
            return;
        }
        if (io != REDIS_IO_OK) { /* what it had to say may be there to be read */
            char reason[sizeof node->connection.reason];
            snprintf(reason, sizeof reason, "%s",
                     io == REDIS_IO_END ? "it closed the connection" : node->connection.reason);
            read_some(node);
            if (node->state != REDIS_NODE_DOWN) {
                redis_node_fail(node, REDIS_CAUSE_ERROR, "%s", reason);
            }
            return;
        }
        node->sent += n;
    }
    node->sent = 0;
    if (node->out.capacity > OUT_KEEPS) {
        sw_buf_deinit(&node->out);
    } else {
        sw_buf_clear(&node->out);
    }
}

void redis_node_event(struct redis_node *node) {
    if (node->state == REDIS_NODE_OPENING) {
        opened(node, redis_connection_continue(&node->connection));
    } else if (node->state == REDIS_NODE_GREETING || node->state == REDIS_NODE_UP) {
        read_some(node);
    }
}

/* --- time --------------------------------------------------------------------------------------------------------- */

void redis_node_expire(struct redis_node *node, uint64_t now_ns) {
    if (node->state == REDIS_NODE_DOWN || now_ns < node->deadline_ns) {
        return;
    }
    node->deadline_ns = UINT64_MAX;
    for (size_t i = 0; i < node->ring_count; i++) {
        uint64_t one = at(node, i)->deadline_ns;
        node->deadline_ns = one < node->deadline_ns ? one : node->deadline_ns;
    }
    if (now_ns >= node->deadline_ns) {
        static const char *const what[] = {[REDIS_NODE_LOOKUP] = "its name was not found",
                                           [REDIS_NODE_OPENING] = "no connection",
                                           [REDIS_NODE_GREETING] = "no answer",
                                           [REDIS_NODE_UP] = "no answer"};
        redis_node_fail(node, REDIS_CAUSE_TIMEOUT, "%s within %llu ms", what[node->state],
                        (unsigned long long)(patience_ns(node) / 1000000));
    }
}

short redis_node_events(const struct redis_node *node) {
    bool opening = node->state == REDIS_NODE_OPENING;
    bool out = node->connection.wants_write || (!opening && node->sent < node->out.len);
    return (short)((opening && !node->connection.connected ? 0 : POLLIN) | (out ? POLLOUT : 0));
}
