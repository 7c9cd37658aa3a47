/* What stays in memory: bounds, time, owners, and the choice of S3-FIFO against LRU. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/memory.h"
#include "base/thread.h"
#include "sched/cache/ghosts.h"
#include "sched/cache/memory.h"

static struct sw_cache_key key_of(uint64_t n) {
    struct sw_cache_key key;
    const struct sw_str part = {(const char *)&n, sizeof n};
    sw_cache_scope(&part, 1, &key);
    return key;
}

/* A result of one number, padded to so many bytes. */
static struct sw_cache_value *value_of(uint64_t n, size_t numbers) {
    uint64_t *data = sw_xcalloc(numbers, sizeof *data);
    data[0] = n;
    const struct sw_tensor t = {
        .dtype = SW_DTYPE_UINT64, .rank = 1, .shape = {(int64_t)numbers}, .count = numbers, .data = data};
    struct sw_cache_value *value = sw_cache_value_create(&t, NULL, 1, 0, SIZE_MAX);
    sw_free(data);
    assert_non_null(value);
    return value;
}

static void put(struct sw_cache_memory *m, uint64_t n, size_t numbers, const void *owner, uint64_t now,
                uint64_t expires) {
    struct sw_cache_key key = key_of(n);
    struct sw_cache_value *value = value_of(n, numbers);
    sw_cache_memory_put(m, &key, value, owner, now, expires);
    sw_cache_value_unref(value);
}

/* Is it there, and what was put? */
static bool has(struct sw_cache_memory *m, uint64_t n, uint64_t now) {
    struct sw_cache_key key = key_of(n);
    struct sw_cache_value *value = sw_cache_memory_get(m, &key, now), *fresh;
    if (!value) {
        return false;
    }
    fresh = value_of(n, 1);
    uint64_t got = ((const uint64_t *)(sw_cache_value_bytes(value).data + sw_cache_value_bytes(value).len))[-1];
    assert_true(got == n || sw_cache_value_bytes(value).len != sw_cache_value_bytes(fresh).len);
    sw_cache_value_unref(fresh);
    sw_cache_value_unref(value);
    return true;
}

static struct sw_cache_memory *create(size_t bytes, size_t entries, unsigned shards) {
    return sw_cache_memory_create(
        &(struct sw_cache_memory_options){.bytes_max = bytes, .entries_max = entries, .shards = shards});
}

static struct sw_cache_memory_stats look(struct sw_cache_memory *m) {
    struct sw_cache_memory_stats stats;
    sw_cache_memory_look(m, &stats);
    return stats;
}

static void what_is_put_is_found(void **state) {
    struct sw_cache_memory *m = create(1 << 20, 0, 0);
    assert_false(has(m, 1, 0));
    put(m, 1, 1, NULL, 0, 0);
    assert_true(has(m, 1, 0));
    assert_false(has(m, 2, 0));
    put(m, 1, 2, NULL, 0, 0); /* another value in its place */
    assert_int_equal(look(m).entries, 1);
    struct sw_cache_key key = key_of(1);
    struct sw_cache_value *value = sw_cache_memory_get(m, &key, 0), *two = value_of(1, 2);
    assert_int_equal(sw_cache_value_bytes(value).len, sw_cache_value_bytes(two).len);
    sw_cache_memory_destroy(m); /* a value that somebody holds stays */
    assert_memory_equal(sw_cache_value_bytes(value).data, sw_cache_value_bytes(two).data,
                        sw_cache_value_bytes(two).len);
    sw_cache_value_unref(value);
    sw_cache_value_unref(two);
}

static void time_ends_entries(void **state) {
    struct sw_cache_memory *m = create(1 << 20, 0, 0);
    put(m, 1, 1, NULL, 100, 200);
    put(m, 2, 1, NULL, 100, 0);
    assert_true(has(m, 1, 199));
    assert_false(has(m, 1, 200));
    assert_true(has(m, 2, UINT64_MAX));
    assert_int_equal(look(m).entries, 1);
    assert_int_equal(look(m).expired, 1);
    put(m, 1, 1, NULL, 300, 400); /* it may come back */
    assert_true(has(m, 1, 399));
    sw_cache_memory_destroy(m);
}

/* What has expired makes room before what has not, once it comes to the end of its queue. */
static void expired_entries_make_room(void **state) {
    struct sw_cache_memory *m = create(1 << 20, 10, 1);
    for (uint64_t i = 0; i < 10; i++) {
        put(m, i, 1, NULL, 0, 50);
    }
    for (uint64_t i = 10; i < 15; i++) {
        put(m, i, 1, NULL, 60, 0);
    }
    assert_int_equal(look(m).expired, 5);
    assert_int_equal(look(m).evicted, 0);
    sw_cache_memory_destroy(m);
}

static void bytes_are_bounded(void **state) {
    size_t max = 256 << 10;
    struct sw_cache_memory *m = create(max, 0, 0);
    uint64_t seed = 7;
    for (uint64_t i = 0; i < 20000; i++) {
        put(m, i, 1 + sw_random_next(&seed) % 100, NULL, 0, 0);
        has(m, sw_random_next(&seed) % (i + 1), 0);
        assert_true(look(m).bytes <= max);
    }
    assert_true(look(m).entries > 100);
    assert_true(look(m).bytes > max / 2);
    sw_cache_memory_destroy(m);
}

static void what_is_too_large_is_refused(void **state) {
    struct sw_cache_memory *m = create(64 << 10, 0, 1);
    put(m, 1, 10, NULL, 0, 0);
    put(m, 2, 5000, NULL, 0, 0); /* 40,000 bytes: more than half */
    assert_false(has(m, 2, 0));
    assert_true(has(m, 1, 0)); /* and pushed nothing out */
    assert_int_equal(look(m).refused, 1);
    sw_cache_memory_destroy(m);
}

/* Whatever the shards: bounds are of the whole, and what is as large as is allowed has room. */
static void shards_do_not_show(void **state) {
    static const size_t entries[] = {1, 10, 100, 1000, 5000};
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
        struct sw_cache_memory *m = create(16 << 20, entries[i], 0);
        for (uint64_t n = 0; n < 10000; n++) {
            put(m, n, 1, NULL, 0, 0);
            assert_true(n % 100 || look(m).entries <= entries[i]);
        }
        assert_true(look(m).entries <= entries[i] && look(m).entries >= entries[i] * 9 / 10);
        sw_cache_memory_destroy(m);
    }
    static const size_t large[] = {100, 10 << 10, 200 << 10, 480 << 10};
    for (size_t i = 0; i < sizeof large / sizeof large[0]; i++) {
        struct sw_cache_memory *m = sw_cache_memory_create(
            &(struct sw_cache_memory_options){.bytes_max = 1 << 20, .value_max = large[i]});
        put(m, i, large[i] / sizeof(double), NULL, 0, 0);
        assert_true(has(m, i, 0));
        assert_int_equal(look(m).refused, 0);
        sw_cache_memory_destroy(m);
    }
    struct sw_cache_memory *m = create(16 << 10, 0, 0); /* tables have to have room too */
    for (uint64_t n = 0; n < 1000; n++) {
        put(m, n, 1, NULL, 0, 0);
        assert_true(look(m).bytes <= 16 << 10);
    }
    assert_true(look(m).entries > 10);
    sw_cache_memory_destroy(m);
}

static void owners_are_purged(void **state) {
    struct sw_cache_memory *m = create(1 << 20, 0, 0);
    int a, b;
    for (uint64_t i = 0; i < 100; i++) {
        put(m, i, 1, i % 2 ? &a : &b, 0, 0);
    }
    assert_int_equal(sw_cache_memory_purge(m, &a), 50);
    assert_int_equal(sw_cache_memory_purge(m, &a), 0);
    for (uint64_t i = 0; i < 100; i++) {
        assert_int_equal(has(m, i, 0), i % 2 == 0);
    }
    assert_int_equal(sw_cache_memory_purge(m, NULL), 50);
    assert_int_equal(look(m).entries, 0);
    sw_cache_memory_destroy(m);
}

/* 50 entries are asked for again and again while 10,000 come by once each. */
static void what_is_asked_for_once_evicts_nothing_that_is_asked_for_often(void **state) {
    struct sw_cache_memory *m = create(1 << 20, 100, 1);
    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < 50; i++) {
            if (!has(m, i, 0)) {
                put(m, i, 1, NULL, 0, 0);
            }
        }
    }
    for (uint64_t i = 1000; i < 11000; i++) {
        put(m, i, 1, NULL, 0, 0);
        has(m, i % 50, 0);
    }
    for (uint64_t i = 0; i < 50; i++) {
        assert_true(has(m, i, 0));
    }
    assert_int_equal(look(m).entries, 100);
    sw_cache_memory_destroy(m);
}

/* One that was evicted a short while ago and comes back goes to the main queue, where a flood does not reach it. */
static void who_comes_back_is_remembered(void **state) {
    struct sw_cache_memory *m = create(1 << 20, 100, 1);
    for (uint64_t i = 0; i < 150; i++) {
        put(m, i, 1, NULL, 0, 0);
    }
    assert_false(has(m, 0, 0));
    put(m, 0, 1, NULL, 0, 0);
    for (uint64_t i = 1000; i < 1080; i++) {
        put(m, i, 1, NULL, 0, 0);
    }
    assert_true(has(m, 0, 0));
    sw_cache_memory_destroy(m);
}

static void ghosts_forget_the_oldest(void **state) {
    struct sw_ghosts g;
    sw_ghosts_init(&g);
    uint64_t seed = 3, hashes[2000];
    for (size_t i = 0; i < 2000; i++) {
        hashes[i] = sw_random_next(&seed);
        sw_ghosts_add(&g, hashes[i], 500);
    }
    size_t recent = 0, old = 0;
    for (size_t i = 0; i < 2000; i++) {
        bool is_recent = i >= 1500;
        *(is_recent ? &recent : &old) += sw_ghosts_take(&g, hashes[i]);
    }
    assert_int_equal(old, 0);
    assert_true(recent > 450); /* full buckets forget a few too early */
    assert_false(sw_ghosts_take(&g, hashes[1999]));
    assert_int_equal(sw_ghosts_bytes(&g), 1024 * sizeof(struct sw_ghost));
    sw_ghosts_deinit(&g);
}

/* ---- against LRU: the least recently used of N goes, by a list over all keys */

enum { KEYS = 20000, ROOM = 2000, ASKED = 400000 };

struct lru {
    uint32_t newer[KEYS + 1], older[KEYS + 1]; /* KEYS: the ends */
    bool in[KEYS];
    size_t count;
};

static void lru_unlink(struct lru *l, uint32_t k) {
    l->newer[l->older[k]] = l->newer[k];
    l->older[l->newer[k]] = l->older[k];
}

static bool lru_ask(struct lru *l, uint32_t k) {
    bool hit = l->in[k];
    if (hit) {
        lru_unlink(l, k);
    } else if (l->count == ROOM) {
        uint32_t oldest = l->newer[KEYS];
        lru_unlink(l, oldest);
        l->in[oldest] = false;
    } else {
        l->count++;
    }
    l->in[k] = true;
    l->older[k] = l->older[KEYS];
    l->newer[k] = KEYS;
    l->newer[l->older[KEYS]] = k;
    l->older[KEYS] = k;
    return hit;
}

/* Zipf(1.0): rank r with weight 1/r, by bisection in the sums. */
static uint32_t zipf(const double *sums, uint64_t *seed) {
    double at = (double)(sw_random_next(seed) >> 11) * 0x1p-53 * sums[KEYS - 1];
    uint32_t low = 0, high = KEYS - 1;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (sums[middle] < at) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void hit_rate_is_at_least_that_of_lru(void **state) {
    struct sw_cache_memory *m = create(64 << 20, ROOM, 0);
    struct lru *l = sw_xcalloc(1, sizeof *l);
    double *sums = sw_xcalloc(KEYS, sizeof *sums), sum = 0;
    size_t hits = 0, lru_hits = 0;
    uint64_t seed = 11;
    l->newer[KEYS] = l->older[KEYS] = KEYS;
    for (size_t i = 0; i < KEYS; i++) {
        sums[i] = sum += 1.0 / (double)(i + 1);
    }
    for (size_t i = 0; i < ASKED; i++) {
        uint32_t k = zipf(sums, &seed);
        bool counts = i >= ASKED / 4; /* after warming up */
        lru_hits += lru_ask(l, k) && counts;
        if (has(m, k, 0)) {
            hits += counts;
        } else {
            put(m, k, 1, NULL, 0, 0);
        }
    }
    print_message("S3-FIFO %.4f, LRU %.4f\n", (double)hits / (ASKED * 0.75), (double)lru_hits / (ASKED * 0.75));
    assert_true(hits >= lru_hits);
    sw_free(sums);
    sw_free(l);
    sw_cache_memory_destroy(m);
}

/* ---- threads */

static struct sw_cache_memory *shared;

static void *use_shared(void *arg) {
    uint64_t seed = (uint64_t)(uintptr_t)arg;
    for (int i = 0; i < 20000; i++) {
        uint64_t n = sw_random_next(&seed) % 500;
        if (!has(shared, n, 0)) {
            put(shared, n, 1 + n % 20, (void *)(uintptr_t)(1 + n % 3), 0, n % 7 ? 0 : 1);
        }
        if (i % 1000 == 0) {
            sw_cache_memory_purge(shared, (void *)(uintptr_t)(1 + n % 3));
        }
    }
    return NULL;
}

static void threads_share_it(void **state) {
    pthread_t threads[4];
    struct sw_error err;
    shared = create(100 << 10, 200, 4);
    for (uintptr_t i = 0; i < 4; i++) {
        assert_int_equal(sw_thread_start(&threads[i], "test", 0, use_shared, (void *)(i + 1), &err), SW_OK);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_true(look(shared).entries <= 200);
    assert_true(look(shared).bytes <= 100 << 10);
    sw_cache_memory_destroy(shared);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_is_found),
        cmocka_unit_test(time_ends_entries),
        cmocka_unit_test(expired_entries_make_room),
        cmocka_unit_test(bytes_are_bounded),
        cmocka_unit_test(what_is_too_large_is_refused),
        cmocka_unit_test(shards_do_not_show),
        cmocka_unit_test(owners_are_purged),
        cmocka_unit_test(what_is_asked_for_once_evicts_nothing_that_is_asked_for_often),
        cmocka_unit_test(who_comes_back_is_remembered),
        cmocka_unit_test(ghosts_forget_the_oldest),
        cmocka_unit_test(hit_rate_is_at_least_that_of_lru),
        cmocka_unit_test(threads_share_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
