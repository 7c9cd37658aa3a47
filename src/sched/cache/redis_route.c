/* Which server is asked, and what happens when one comes or goes.
 *
 * One attempt of the client's breaker asks the seeds in turn, each whether it is a cluster (`finder`), until one is up. A
 * server alone is then nodes[0], and when it fails the breaker opens. In a cluster each node has a breaker of its own:
 * the slots of one that is away are misses at once while the others answer; the client's breaker opens when none is
 * left. Nodes are only taken out in redis_settle, so that pointers and indices stay true in between. */
#include "sched/cache/redis_internal.h"

static const uint64_t MAP_AGAIN_NS = 200000000, MAP_WHILE_DOWN_NS = 1000000000;

/* --- nodes -------------------------------------------------------------------------------------------------------- */

static size_t find_node(struct sw_redis *redis, const struct redis_address *address) {
    for (size_t i = 0; i < redis->node_count; i++) {
        const struct redis_address *a = &redis->nodes[i]->address;
        if (a->port == address->port && strcmp(a->host, address->host) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

static size_t find_or_add(struct sw_redis *redis, const struct redis_address *address) {
    size_t i = find_node(redis, address);
    if (i != SIZE_MAX || redis->node_count == REDIS_NODES_MAX) {
        return i;
    }
    struct redis_node *node = redis_node_create(redis, address);
    if (!node) {
        return SIZE_MAX;
    }
    redis->nodes[redis->node_count] = node;
    return redis->node_count++;
}

static void remove_node(struct sw_redis *redis, size_t i) {
    size_t last = --redis->node_count;
    redis_node_destroy(redis->nodes[i]);
    redis->nodes[i] = redis->nodes[last];
    for (size_t slot = 0; slot < REDIS_SLOTS; slot++) {
        uint16_t *owner = &redis->map[slot];
        *owner = *owner == i + 1 ? 0 : *owner == last + 1 ? (uint16_t)(i + 1) : *owner;
    }
}

struct redis_node *redis_node_for(struct sw_redis *redis, struct sw_str key) {
    struct redis_node *node = NULL;
    if (!redis->cluster) {
        node = redis->node_count ? redis->nodes[0] : NULL;
    } else if (redis->map[redis_slot_of(key)]) {
        node = redis->nodes[redis->map[redis_slot_of(key)] - 1];
    }
    return node && node->state != REDIS_NODE_DOWN && node->breaker.state == REDIS_CLOSED ? node : NULL;
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

static void write_command(struct redis_node *node, const struct redis_pending *pending) {
    struct sw_redis *redis = node->redis;
    if (pending->kind == REDIS_GET) {
        redis_write_get(&redis->keys, pending->question->key, &node->out);
    } else {
        redis_write_set(&redis->keys, &redis->digest, pending->entry, &node->out);
    }
    (void)redis_node_push(node, *pending);
}

static struct redis_node *node_of_key(struct sw_redis *redis, const uint8_t key[SW_REDIS_KEY]) {
    char text[REDIS_KEY_MAX];
    return redis_node_for(redis, (struct sw_str){text, redis_key_of(&redis->keys, key, text)});
}

void redis_ask_one(struct sw_redis *redis, struct sw_redis_question *question) {
    struct redis_pending pending = {
        .kind = REDIS_GET, .question = question, .deadline_ns = question->asked_ns + redis->timeout_ns};
    struct redis_node *node = NULL;
    enum redis_cause cause = redis->cause;
    if (atomic_load(&redis->accepting)) {
        node = node_of_key(redis, question->key);
        cause = REDIS_CAUSE_REFUSED;
    }
    if (node && redis_now(redis) >= pending.deadline_ns) { /* this thread was late, which is nobody's fault there */
        node = NULL;
        cause = REDIS_CAUSE_TIMEOUT;
    }
    if (node) {
        write_command(node, &pending);
    } else {
        redis_question_end(redis, question, cause, (struct sw_str){NULL, 0});
    }
}

void redis_keep_one(struct sw_redis *redis, struct sw_redis_entry *entry) {
    struct redis_node *node = atomic_load(&redis->accepting) ? node_of_key(redis, entry->key) : NULL;
    if (!node) {
        redis_entry_end(redis, entry, &redis->counters.dropped);
        return;
    }
    redis->flying_bytes += entry->value.len;
    write_command(node, &(struct redis_pending){
                            .kind = REDIS_SET, .entry = entry, .deadline_ns = redis_now(redis) + redis->timeout_ns});
}

/* Of generations the next round takes care, with the map that is then known. */
void redis_follow(struct redis_node *from, const struct redis_pending *pending, const struct redis_redirect *redirect) {
    struct sw_redis *redis = from->redis;
    size_t i = find_or_add(redis, &redirect->address);
    if (!redirect->ask) {
        redis->map_wanted = true;
        redis->map[redirect->slot] = (uint16_t)(i == SIZE_MAX ? 0 : i + 1);
        if (i != SIZE_MAX) {
            redis->nodes[i]->mapped = true;
        }
    }
    struct redis_node *node = i == SIZE_MAX ? NULL : redis->nodes[i];
    if (node && node->state == REDIS_NODE_DOWN && node->breaker.state == REDIS_CLOSED) {
        redis_node_start(node, redis_now(redis));
    }
    bool can = node && node->state != REDIS_NODE_DOWN && node->breaker.state == REDIS_CLOSED;
    if (!can || pending->redirected || (pending->kind != REDIS_GET && pending->kind != REDIS_SET)) {
        redis_pending_end(redis, pending, can ? REDIS_CAUSE_ERROR : REDIS_CAUSE_REFUSED);
        return;
    }
    struct redis_pending again = *pending;
    again.redirected = true;
    if (redirect->ask) {
        redis_command(&node->out, 1, (struct sw_str[]){SW_STR("ASKING")});
        if (!redis_node_push(node, (struct redis_pending){.kind = REDIS_ASKING, .deadline_ns = again.deadline_ns})) {
            redis_pending_end(redis, pending, REDIS_CAUSE_ERROR);
            return;
        }
    }
    write_command(node, &again);
}

/* --- the map ------------------------------------------------------------------------------------------------------ */

static bool map_is_sound(const struct redis_node *node) {
    struct redis_range range;
    size_t position = 0;
    int rc;
    while ((rc = redis_slots_next(&node->reader, &node->address, &position, &range)) > 0) {
    }
    return rc == 0;
}

bool redis_map_take(struct redis_node *node) {
    struct sw_redis *redis = node->redis;
    struct redis_range range;
    size_t position = 0;
    if (!map_is_sound(node)) {
        return false;
    }
    memset(redis->map, 0, sizeof redis->map);
    for (size_t i = 0; i < redis->node_count; i++) {
        redis->nodes[i]->mapped = false;
    }
    while (redis_slots_next(&node->reader, &node->address, &position, &range) > 0) {
        size_t i = find_or_add(redis, &range.master);
        if (i == SIZE_MAX) {
            redis_say(redis, "the cluster has more nodes than %d, or there is no memory for them", REDIS_NODES_MAX);
            continue;
        }
        redis->nodes[i]->mapped = true;
        for (unsigned slot = range.first; slot <= range.last; slot++) {
            redis->map[slot] = (uint16_t)(i + 1);
        }
    }
    return true;
}

static void set_cluster(struct sw_redis *redis, bool cluster) {
    redis->cluster = cluster;
    atomic_store(&redis->is_cluster, cluster);
}

void redis_is_alone(struct redis_node *node) {
    struct sw_redis *redis = node->redis;
    set_cluster(redis, false);
    node->finding = node->unhurried = false;
    if (!redis->seeds.database || redis_node_greet(node, REDIS_SELECT)) {
        (void)redis_node_greet(node, REDIS_PING);
    }
}

void redis_is_cluster(struct redis_node *node) {
    struct sw_redis *redis = node->redis;
    bool any = false;
    for (size_t i = 0; i < redis->node_count; i++) {
        any |= redis->nodes[i]->mapped;
    }
    node->finding = node->unhurried = false;
    if (redis->seeds.database) {
        redis_node_fail(node, REDIS_CAUSE_ERROR, "it is a cluster, which has only database 0, not %u",
                        redis->seeds.database);
    } else if (!any) {
        redis_node_fail(node, REDIS_CAUSE_ERROR, "it is a cluster without slots");
    } else {
        set_cluster(redis, true);
        (void)redis_node_greet(node, REDIS_PING);
    }
}

static void refresh_map(struct sw_redis *redis) {
    for (size_t i = 0; i < redis->node_count; i++) {
        struct redis_node *node = redis->nodes[i];
        if (node->state == REDIS_NODE_UP) {
            redis_command(&node->out, 2, (struct sw_str[]){SW_STR("CLUSTER"), SW_STR("SLOTS")});
            (void)redis_node_push(
                node, (struct redis_pending){.kind = REDIS_MAP, .deadline_ns = redis_now(redis) + redis->timeout_ns});
            return;
        }
    }
}

/* --- opening and closing ------------------------------------------------------------------------------------------ */

void redis_close_all(struct sw_redis *redis, enum redis_cause cause) {
    atomic_store(&redis->accepting, false);
    for (size_t i = 0; i < redis->node_count; i++) {
        redis_node_stop(redis->nodes[i], cause);
        redis_node_destroy(redis->nodes[i]);
    }
    redis->node_count = 0;
    redis->finder = NULL;
    memset(redis->map, 0, sizeof redis->map);
    set_cluster(redis, false);
}

void redis_node_is_up(struct redis_node *node) {
    struct sw_redis *redis = node->redis;
    node->state = REDIS_NODE_UP;
    redis_breaker_close(&node->breaker);
    if (node == redis->finder) {
        redis->finder = NULL;
        redis_breaker_close(&redis->breaker);
        redis->watches.next_ns = 0;
        atomic_store(&redis->accepting, true);
    }
}

/* Asks the seed whose turn it is. */
static void start_seed(struct sw_redis *redis, uint64_t now_ns) {
    size_t i = find_or_add(redis, &redis->seeds.list[redis->seed]);
    if (i == SIZE_MAX) {
        redis_say(redis, "no memory for a connection");
        return;
    }
    redis->attempts++;
    redis->finder = redis->nodes[i];
    redis->finder->finding = redis->finder->unhurried = true;
    redis_node_start(redis->finder, now_ns);
}

static void next_seed(struct sw_redis *redis, uint64_t now_ns) {
    redis_close_all(redis, redis->cause);
    redis->seed = (redis->seed + 1) % redis->seeds.count;
    if (++redis->seeds_tried < redis->seeds.count) {
        start_seed(redis, now_ns);
    } else {
        redis_breaker_fail(&redis->breaker, now_ns);
    }
}

static bool nobody_is_left(const struct sw_redis *redis) {
    for (size_t i = 0; i < redis->node_count; i++) {
        const struct redis_node *node = redis->nodes[i];
        if (redis->cluster ? node->mapped && node->breaker.state == REDIS_CLOSED : node->state != REDIS_NODE_DOWN) {
            return false;
        }
    }
    return true;
}

static void settle_client(struct sw_redis *redis, uint64_t now_ns) {
    struct redis_breaker *b = &redis->breaker;
    if (b->state == REDIS_PROBING && (!redis->finder || redis->finder->state == REDIS_NODE_DOWN)) {
        next_seed(redis, now_ns);
    } else if (b->state == REDIS_CLOSED && nobody_is_left(redis)) {
        redis_breaker_fail(b, now_ns);
        atomic_store(&redis->counters.opened, b->opened);
        redis->seed = (redis->seed + 1) % redis->seeds.count;
        redis_close_all(redis, redis->cause);
    }
    if (redis_breaker_due(b, now_ns)) {
        redis_breaker_probe(b);
        redis->seeds_tried = 0;
        start_seed(redis, now_ns);
    }
}

/* Starts what is down and may be up; takes out what has no slots any more. Returns whether one is down. */
static bool settle_nodes(struct sw_redis *redis, uint64_t now_ns) {
    bool down = false;
    for (size_t i = redis->node_count; i-- > 0;) {
        struct redis_node *node = redis->nodes[i];
        if (!node->mapped && node != redis->finder && node->ring_count == 0) {
            redis_node_stop(node, REDIS_CAUSE_NONE);
            remove_node(redis, i);
            continue;
        }
        if (node->state == REDIS_NODE_DOWN && node->mapped) {
            bool due = redis_breaker_due(&node->breaker, now_ns);
            if (due) {
                redis_breaker_probe(&node->breaker);
                node->resolved.count = 0;
            }
            if (due || node->breaker.state == REDIS_CLOSED) {
                node->unhurried = due;
                node->finding = false;
                redis_node_start(node, now_ns);
            }
        }
        down |= node->state != REDIS_NODE_UP;
    }
    return down;
}

static void count_nodes(struct sw_redis *redis) {
    unsigned up = 0;
    for (size_t i = 0; i < redis->node_count; i++) {
        up += redis->nodes[i]->state == REDIS_NODE_UP;
    }
    atomic_store(&redis->nodes_up, up);
}

void redis_settle(struct sw_redis *redis, uint64_t now_ns) {
    redis->unsettled = false;
    settle_client(redis, now_ns);
    if (redis->cluster) {
        redis->node_down = settle_nodes(redis, now_ns);
        redis->map_wanted |= redis->node_down && now_ns >= redis->map_ns + MAP_WHILE_DOWN_NS;
        if (redis->map_wanted && now_ns >= redis->map_ns) {
            redis->map_wanted = false;
            redis->map_ns = now_ns + MAP_AGAIN_NS;
            refresh_map(redis);
        }
    }
    count_nodes(redis);
}

uint64_t redis_settle_due(const struct sw_redis *redis) {
    const struct redis_breaker *b = &redis->breaker;
    uint64_t due = b->state == REDIS_OPEN ? b->retry_ns : UINT64_MAX;
    if (!redis->cluster) {
        return due;
    }
    for (size_t i = 0; i < redis->node_count; i++) {
        b = &redis->nodes[i]->breaker;
        due = b->state == REDIS_OPEN && b->retry_ns < due ? b->retry_ns : due;
    }
    uint64_t map = redis->map_wanted  ? redis->map_ns
                   : redis->node_down ? redis->map_ns + MAP_WHILE_DOWN_NS
                                      : UINT64_MAX;
    return map < due ? map : due;
}
