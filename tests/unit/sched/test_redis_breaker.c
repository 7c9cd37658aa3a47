/* The circuit breaker of the client of Redis: when it probes, how long it waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/cache/redis_internal.h"

static const uint64_t MIN_NS = 100, MAX_NS = 1000;

/* The wait of a failure at `now` is `full` less at most a quarter. */
static void expect_wait(const struct redis_breaker *b, uint64_t now, uint64_t full) {
    assert_int_equal(b->state, REDIS_OPEN);
    assert_in_range(b->retry_ns - now, full - full / 4, full);
    assert_false(redis_breaker_due(b, b->retry_ns - 1));
    assert_true(redis_breaker_due(b, b->retry_ns));
}

static void it_begins_open_and_probes_at_once(void **state) {
    struct redis_breaker b;
    redis_breaker_init(&b, MIN_NS, MAX_NS, 1, 5000);
    assert_true(redis_breaker_due(&b, 5000));
    redis_breaker_probe(&b);
    assert_false(redis_breaker_due(&b, 6000));
    redis_breaker_close(&b);
    assert_int_equal(b.state, REDIS_CLOSED);
    assert_int_equal(b.opened, 0);
}

static void it_waits_twice_as_long_after_each_failure(void **state) {
    struct redis_breaker b;
    redis_breaker_init(&b, MIN_NS, MAX_NS, 1, 0);
    redis_breaker_probe(&b);
    redis_breaker_close(&b);
    uint64_t now = 7;
    redis_breaker_fail(&b, now);
    assert_int_equal(b.opened, 1);
    for (uint64_t full = MIN_NS; full < 16 * MAX_NS; full *= 2) {
        expect_wait(&b, now, full < MAX_NS ? full : MAX_NS);
        now = b.retry_ns;
        redis_breaker_probe(&b);
        redis_breaker_fail(&b, now);
    }
    assert_int_equal(b.opened, 1);
}

/* A second failure of what is open already is that of another connection: it moves nothing. */
static void failures_while_open_change_nothing(void **state) {
    struct redis_breaker b;
    redis_breaker_init(&b, MIN_NS, MAX_NS, 1, 0);
    redis_breaker_close(&b);
    redis_breaker_fail(&b, 50);
    struct redis_breaker before = b;
    redis_breaker_fail(&b, 60);
    assert_memory_equal(&before, &b, sizeof b);
}

/* PING works, nothing else does: each closing is followed by a failure, and the waits go on growing. */
static void only_an_answer_brings_the_wait_back(void **state) {
    struct redis_breaker b;
    redis_breaker_init(&b, MIN_NS, MAX_NS, 1, 0);
    redis_breaker_close(&b);
    redis_breaker_fail(&b, 0);
    redis_breaker_probe(&b);
    redis_breaker_close(&b);
    redis_breaker_fail(&b, 0);
    expect_wait(&b, 0, 2 * MIN_NS);
    redis_breaker_probe(&b);
    redis_breaker_close(&b);
    redis_breaker_prove(&b);
    redis_breaker_fail(&b, 0);
    expect_wait(&b, 0, MIN_NS);
    assert_int_equal(b.opened, 3);
}

static void replicas_come_back_at_different_moments(void **state) {
    uint64_t first = 0;
    bool differ = false;
    for (uint64_t seed = 1; seed < 9; seed++) {
        struct redis_breaker b;
        redis_breaker_init(&b, 1000000, 1000000, seed, 0);
        redis_breaker_close(&b);
        redis_breaker_fail(&b, 0);
        differ |= first && first != b.retry_ns;
        first = b.retry_ns;
    }
    assert_true(differ);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_begins_open_and_probes_at_once),
        cmocka_unit_test(it_waits_twice_as_long_after_each_failure),
        cmocka_unit_test(failures_while_open_change_nothing),
        cmocka_unit_test(only_an_answer_brings_the_wait_back),
        cmocka_unit_test(replicas_come_back_at_different_moments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
