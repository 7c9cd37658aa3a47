/* Timetable and backlog of an open loop, with times that the test makes up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "base/histogram.h"
#include "base/memory.h"
#include "load/arrivals.h"

enum { START = 1000000, SECOND = 1000000000 };

static uint64_t take(struct sw_arrivals *a) {
    uint64_t moment = sw_arrivals_next(a);
    sw_arrivals_take(a);
    return moment;
}

static void constant_arrivals_do_not_drift(void **state) {
    struct sw_arrivals a;
    sw_arrivals_init(&a, SW_ARRIVALS_CONSTANT, 3, 0, 1, 0, START); /* 333333333.33 ns apart */
    for (uint64_t i = 0; i < 30000; i++) {
        assert_int_equal(take(&a), START + i * SECOND / 3);
    }
    assert_int_equal(sw_arrivals_next(&a), START + 10000ull * SECOND);
}

static void lanes_interleave_to_the_whole_rate(void **state) {
    struct sw_arrivals lanes[3];
    for (unsigned i = 0; i < 3; i++) {
        sw_arrivals_init(&lanes[i], SW_ARRIVALS_CONSTANT, 1000, i, 3, 0, START);
    }
    for (uint64_t i = 0; i < 3000; i++) {
        assert_int_equal(take(&lanes[i % 3]), START + i * SECOND / 1000);
    }
}

static void a_rate_below_one(void **state) {
    struct sw_arrivals a;
    sw_arrivals_init(&a, SW_ARRIVALS_CONSTANT, 0.25, 0, 1, 0, START);
    assert_int_equal(take(&a), START);
    assert_int_equal(take(&a), START + 4ull * SECOND);
}

/* Mean and deviation of exponential gaps are equal; moments never go back; one seed is one sequence. */
static void poisson_arrivals(void **state) {
    struct sw_histogram *gaps SW_AUTO_FREE = SW_NEW(struct sw_histogram);
    struct sw_arrivals a, again, other_lane;
    sw_arrivals_init(&a, SW_ARRIVALS_POISSON, 1000, 0, 2, 42, START);
    sw_arrivals_init(&again, SW_ARRIVALS_POISSON, 1000, 0, 2, 42, START);
    sw_arrivals_init(&other_lane, SW_ARRIVALS_POISSON, 1000, 1, 2, 42, START);
    uint64_t before = START, same = 0;
    for (int i = 0; i < 100000; i++) {
        uint64_t moment = take(&a);
        assert_int_equal(take(&again), moment);
        same += take(&other_lane) == moment;
        assert_true(moment >= before);
        sw_histogram_record(gaps, moment - before);
        before = moment;
    }
    assert_true(same < 10);
    assert_true(fabs(gaps->mean - 2e6) < 2e6 * 0.02); /* two lanes: 500/s each; 6 standard errors */
    assert_true(fabs(sw_histogram_deviation(gaps) - 2e6) < 2e6 * 0.02);
    assert_true(fabs(sw_histogram_percentile(gaps, 50) - 2e6 * log(2)) < 2e6 * 0.02);
}

static void the_backlog_keeps_order_and_bound(void **state) {
    struct sw_backlog b;
    uint64_t due;
    sw_backlog_init(&b, 3);
    assert_int_equal(sw_backlog_oldest(&b), UINT64_MAX);
    assert_false(sw_backlog_pop(&b, &due));
    for (uint64_t round = 0; round < 5; round++) { /* the ring wraps */
        assert_true(sw_backlog_push(&b, round * 10 + 1));
        assert_true(sw_backlog_push(&b, round * 10 + 2));
        assert_int_equal(sw_backlog_oldest(&b), round * 10 + 1);
        assert_true(sw_backlog_pop(&b, &due) && due == round * 10 + 1);
        assert_true(sw_backlog_pop(&b, &due) && due == round * 10 + 2);
    }
    for (uint64_t i = 1; i <= 5; i++) {
        assert_int_equal(sw_backlog_push(&b, i), i <= 3);
    }
    assert_int_equal(b.dropped, 2);
    assert_int_equal(b.count_max, 3);
    assert_true(sw_backlog_pop(&b, &due) && due == 1); /* what came is dropped, not what waits */
    sw_backlog_deinit(&b);
}

/* One connection, 1000 requests/s, answers in no time, but from second 1 to second 2 the server stalls. Each request
 * that was due in the stall waits for its end; a closed loop would have seen one slow request. */
static void a_stall_shows_in_every_request_it_delayed(void **state) {
    struct sw_histogram *latency SW_AUTO_FREE = SW_NEW(struct sw_histogram);
    struct sw_arrivals a;
    struct sw_backlog b;
    const uint64_t stall = START + SECOND, stall_end = START + 2ull * SECOND, end = START + 4ull * SECOND;
    uint64_t late = 0, due;
    sw_backlog_init(&b, 10000);
    sw_arrivals_init(&a, SW_ARRIVALS_CONSTANT, 1000, 0, 1, 0, START);
    for (uint64_t now = START; now < end; now += 1000) {
        bool stalled = now >= stall && now < stall_end;
        for (; sw_arrivals_next(&a) <= now; sw_arrivals_take(&a)) {
            late += stalled;
            assert_true(sw_backlog_push(&b, sw_arrivals_next(&a)));
        }
        while (!stalled && sw_backlog_pop(&b, &due)) {
            sw_histogram_record(latency, now - due);
        }
    }
    assert_int_equal(latency->count, 4000);
    assert_int_equal(late, 1000);
    assert_int_equal(b.count_max, 1001); /* one was due just as the stall ended */
    assert_int_equal(latency->max, SECOND);
    assert_true(fabs(sw_histogram_percentile(latency, 87.5) - SECOND / 2) < SECOND / 100); /* a quarter waited 0..1 s */
    assert_true(sw_histogram_percentile(latency, 74) < 2000);
    sw_backlog_deinit(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constant_arrivals_do_not_drift),
        cmocka_unit_test(lanes_interleave_to_the_whole_rate),
        cmocka_unit_test(a_rate_below_one),
        cmocka_unit_test(poisson_arrivals),
        cmocka_unit_test(the_backlog_keeps_order_and_bound),
        cmocka_unit_test(a_stall_shows_in_every_request_it_delayed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
