/* A client of Redis in a test, and what it is asked and given. */
#ifndef SW_TESTS_SCHED_REDIS_WORLD_H
#define SW_TESTS_SCHED_REDIS_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>

#include "base/buf.h"
#include "base/memory.h"
#include "sched/cache/redis.h"

static const uint64_t LIMIT_NS = 60000000000; /* after which a test gives up */

struct world {
    struct sw_redis_options options;
    struct sw_redis *redis;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t released;
    uint64_t generation; /* the last one that was told */
    size_t generations;
};

struct question {
    struct sw_redis_question base;
    struct world *world;
    bool ended;
    struct sw_buf value; /* data NULL: a miss */
};

struct entry {
    struct sw_redis_entry base;
    struct world *world;
    char value[];
};

static inline void world_on_generation(void *arg, const char *model, uint64_t generation) {
    struct world *w = arg;
    pthread_mutex_lock(&w->lock);
    w->generation = generation;
    w->generations++;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static inline void world_init(struct world *w) {
    *w = (struct world){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    w->options = (struct sw_redis_options){.prefix = "slipway:test:",
                                           .timeout_ms = 20000, /* a slow machine is no failure */
                                           .breaker_min_ms = 1,
                                           .breaker_max_ms = 20,
                                           .value_max = 100000,
                                           .questions_max = 100,
                                           .entries_max = 100,
                                           .entry_bytes_max = 1 << 20,
                                           .clock = sw_clock_system(),
                                           .on_generation = world_on_generation,
                                           .arg = w};
}

static inline void world_open(struct world *w) {
    struct sw_error err;
    if (sw_redis_create(&w->options, &w->redis, &err)) {
        fail_msg("%s", err.message);
    }
}

static inline struct sw_redis_stats stats(struct world *w) {
    struct sw_redis_stats s;
    sw_redis_look(w->redis, &s);
    return s;
}

#define AWAIT(w, condition)                                                 \
    do {                                                                    \
        uint64_t await_end_ = sw_now_ns(sw_clock_system()) + LIMIT_NS;      \
        struct sw_redis_stats s;                                            \
        for (s = stats(w); !(condition); s = stats(w)) {                    \
            if (sw_now_ns(sw_clock_system()) > await_end_) {                \
                fail_msg("in vain: %s (reason: %s)", #condition, s.reason); \
            }                                                               \
            sched_yield();                                                  \
        }                                                                   \
    } while (0)

static inline void world_await_open(struct world *w) { /* the breaker closed, that is */
    AWAIT(w, !s.breaker_open);
}

static inline void make_key(uint8_t key[SW_REDIS_KEY], unsigned number) {
    memset(key, 0, SW_REDIS_KEY);
    memcpy(key, &number, sizeof number);
}

static inline void on_done(struct sw_redis_question *base, struct sw_str value) {
    struct question *q = (struct question *)base;
    pthread_mutex_lock(&q->world->lock);
    assert_false(q->ended);
    if (value.data) {
        sw_buf_append(&q->value, value.data, value.len);
    }
    q->ended = true;
    pthread_cond_broadcast(&q->world->changed);
    pthread_mutex_unlock(&q->world->lock);
}

static inline bool ask(struct world *w, struct question *q, unsigned number) {
    *q = (struct question){.world = w, .base.done = on_done};
    sw_buf_init(&q->value, 1 << 20);
    make_key(q->base.key, number);
    return sw_redis_ask(w->redis, &q->base);
}

static inline void await_answer(struct question *q) {
    pthread_mutex_lock(&q->world->lock);
    while (!q->ended) {
        pthread_cond_wait(&q->world->changed, &q->world->lock);
    }
    pthread_mutex_unlock(&q->world->lock);
}

/* The answer must be that; NULL: a miss. */
static inline void expect_answer(struct question *q, const char *value) {
    await_answer(q);
    if (!value) {
        assert_null(q->value.data);
    } else {
        assert_non_null(q->value.data);
        assert_string_equal(q->value.data, value);
    }
    sw_buf_deinit(&q->value);
}

static inline void expect_get(struct world *w, unsigned number, const char *value) {
    struct question q;
    assert_true(ask(w, &q, number));
    expect_answer(&q, value);
}

static inline void on_release(struct sw_redis_entry *base) {
    struct world *w = ((struct entry *)base)->world;
    sw_free(base);
    pthread_mutex_lock(&w->lock);
    w->released++;
    pthread_mutex_unlock(&w->lock);
}

static inline void keep_bytes(struct world *w, unsigned number, const char *value, size_t len) {
    struct entry *e = sw_xcalloc(1, sizeof *e + len + 1);
    e->world = w;
    memcpy(e->value, value, len);
    e->base = (struct sw_redis_entry){.value = {e->value, len}, .ttl_ms = 60000, .release = on_release};
    make_key(e->base.key, number);
    sw_redis_keep(w->redis, &e->base);
}

static inline void keep(struct world *w, unsigned number, const char *value) {
    keep_bytes(w, number, value, strlen(value));
}

#endif
