/* The generations of the watched models: one round a second asks for each of them, at most FLYING_MAX at a time, and
 * writes those that are dirty.
 *
 * A purge of ours is written with SET. One that Redis has lost is written again with SET NX, so that it never replaces
 * a newer one of another replica. An answer to a question from before a purge of ours is not taken for news (version). */
#include "base/memory.h"
#include "sched/cache/redis_internal.h"

enum { FLYING_MAX = 64 };
static const uint64_t ROUND_NS = 1000000000;

void redis_watches_init(struct redis_watches *w) {
    *w = (struct redis_watches){.count = 0};
    pthread_mutex_init(&w->lock, NULL);
    sw_map_init(&w->by_model);
}

void redis_watches_deinit(struct redis_watches *w) {
    for (size_t i = 0; i < w->count; i++) {
        sw_free(w->list[i]);
    }
    sw_free(w->list);
    sw_map_deinit(&w->by_model);
    pthread_mutex_destroy(&w->lock);
}

/* --- any thread --------------------------------------------------------------------------------------------------- */

/* With the lock. */
static struct redis_watch *add(struct redis_watches *w, const char *model, uint64_t generation) {
    size_t len = strlen(model);
    struct redis_watch *watch = sw_map_get(&w->by_model, (struct sw_str){model, len});
    if (watch || len >= REDIS_MODEL_MAX) {
        return watch;
    }
    if (w->count == w->capacity) {
        w->capacity = w->capacity ? 2 * w->capacity : 16;
        w->list = sw_xrealloc(w->list, w->capacity * sizeof(struct redis_watch *));
    }
    watch = sw_xcalloc(1, sizeof *watch + len + 1);
    watch->number = ++w->numbers;
    watch->generation = generation;
    memcpy(watch->model, model, len);
    (void)sw_map_put(&w->by_model, (struct sw_str){model, len}, watch);
    w->list[w->count++] = watch;
    return watch;
}

void redis_watches_add(struct redis_watches *w, const char *model, uint64_t generation) {
    pthread_mutex_lock(&w->lock);
    (void)add(w, model, generation);
    pthread_mutex_unlock(&w->lock);
}

void redis_watches_set(struct redis_watches *w, const char *model, uint64_t generation) {
    pthread_mutex_lock(&w->lock);
    struct redis_watch *watch = add(w, model, generation);
    if (watch) {
        watch->generation = generation;
        watch->version++;
        watch->dirty = true;
    }
    pthread_mutex_unlock(&w->lock);
    atomic_store(&w->changed, true);
}

/* --- the thread --------------------------------------------------------------------------------------------------- */

/* With the lock: the first one with at least this number. */
static size_t find(const struct redis_watches *w, uint64_t number) {
    size_t low = 0, high = w->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (w->list[middle]->number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct redis_watch *get(const struct redis_watches *w, uint64_t number) {
    size_t i = find(w, number);
    return i < w->count && w->list[i]->number == number ? w->list[i] : NULL;
}

/* A copy of what a command needs. */
struct sight {
    uint64_t number, version, generation;
    bool dirty;
    char model[REDIS_MODEL_MAX];
};

static void see(const struct redis_watch *watch, struct sight *ret) {
    ret->number = watch->number;
    ret->version = watch->version;
    ret->generation = watch->generation;
    ret->dirty = watch->dirty;
    snprintf(ret->model, sizeof ret->model, "%s", watch->model);
}

static bool see_next(struct redis_watches *w, struct sight *ret) {
    pthread_mutex_lock(&w->lock);
    size_t i = find(w, w->turn + 1);
    bool any = i < w->count;
    if (any) {
        see(w->list[i], ret);
    }
    pthread_mutex_unlock(&w->lock);
    return any;
}

enum how { READ, WRITE, WRITE_IF_ABSENT };

static void send_one(struct sw_redis *redis, const struct sight *s, enum how how) {
    char key[REDIS_KEY_MAX], number[24];
    struct sw_str name = {key, redis_key_of_generation(&redis->keys, s->model, key)};
    struct redis_node *node = redis_node_for(redis, name);
    if (!node) {
        return;
    }
    snprintf(number, sizeof number, "%llu", (unsigned long long)s->generation);
    if (how == READ) {
        redis_command(&node->out, 2, (struct sw_str[]){SW_STR("GET"), name});
    } else {
        redis_command(&node->out, how == WRITE ? 3 : 4,
                      (struct sw_str[]){SW_STR("SET"), name, sw_str_of(number), SW_STR("NX")});
    }
    redis->watches.flying++;
    (void)redis_node_push(node,
                          (struct redis_pending){.kind = how == READ ? REDIS_GENERATION_GET : REDIS_GENERATION_SET,
                                                 .watch = s->number,
                                                 .version = s->version,
                                                 .deadline_ns = redis_now(redis) + redis->timeout_ns});
}

void redis_watches_tick(struct sw_redis *redis, uint64_t now_ns) {
    struct redis_watches *w = &redis->watches;
    if (!atomic_load(&redis->accepting)) {
        w->in_round = false;
        return;
    }
    if (!w->in_round && (now_ns >= w->next_ns || atomic_exchange(&w->changed, false))) {
        atomic_store(&w->changed, false);
        w->in_round = true;
        w->turn = 0;
        w->next_ns = now_ns + ROUND_NS;
    }
    struct sight s;
    while (w->in_round && w->flying < FLYING_MAX) {
        w->in_round = see_next(w, &s);
        if (w->in_round) {
            w->turn = s.number;
            send_one(redis, &s, s.dirty ? WRITE : READ);
        }
    }
}

uint64_t redis_watches_due(const struct sw_redis *redis) {
    const struct redis_watches *w = &redis->watches;
    return !atomic_load(&redis->accepting) || w->in_round ? UINT64_MAX : w->next_ns;
}

void redis_watches_lost(struct sw_redis *redis, const struct redis_pending *pending) {
    (void)pending; /* it is still dirty, or is asked for again */
    redis->watches.flying--;
}

static bool read_generation(const struct redis_reader *r, uint64_t *ret) {
    const struct redis_part *answer = redis_answer(r);
    return answer->type == REDIS_STRING && sw_parse_u64(redis_part_text(r, answer), ret) && *ret > 0;
}

/* What an answer changes, with the lock. */
enum change { NOTHING, NEWS, LOST };

static enum change apply(struct redis_watches *w, const struct redis_pending *pending, const struct redis_reader *r,
                         struct sight *ret) {
    struct redis_watch *watch = get(w, pending->watch);
    uint64_t generation;
    if (!watch || watch->version != pending->version) {
        return NOTHING;
    }
    if (pending->kind == REDIS_GENERATION_SET) {
        watch->dirty = false;
    } else if (read_generation(r, &generation)) {
        if (generation == watch->generation || watch->dirty) {
            return NOTHING;
        }
        watch->generation = generation;
        watch->version++;
        see(watch, ret);
        return NEWS;
    } else if (watch->generation && redis_answer(r)->type == REDIS_NIL) {
        see(watch, ret);
        return LOST;
    } else {
        watch->dirty |= watch->generation && redis_answer(r)->type != REDIS_NIL; /* another program's: replaced */
    }
    return NOTHING;
}

void redis_watches_answer(struct sw_redis *redis, const struct redis_pending *pending, const struct redis_reader *r) {
    struct redis_watches *w = &redis->watches;
    struct sight s;
    w->flying--;
    pthread_mutex_lock(&w->lock);
    enum change change = apply(w, pending, r, &s);
    pthread_mutex_unlock(&w->lock);
    if (change == NEWS && redis->options.on_generation) {
        redis->options.on_generation(redis->options.arg, s.model, s.generation);
    } else if (change == LOST) {
        send_one(redis, &s, WRITE_IF_ABSENT);
    }
}
