/* Counters of one model version: what threads count is collected whole, once, whenever it is collected. */
#include "observe/recorder.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>

#include <cmocka.h>

#include "base/memory.h"

static struct sw_recorder *recorder;

static int setup(void **state) {
    recorder = sw_recorder_create();
    return 0;
}

static int teardown(void **state) {
    sw_recorder_destroy(recorder);
    return 0;
}

static struct sw_recorded collect(void) {
    struct sw_recorded r;
    assert_true(sw_recorder_collect(recorder, &r));
    return r;
}

static uint64_t in_histogram(const struct sw_point *point) {
    uint64_t total = 0;
    for (size_t i = 0; i < point->values.used; i++) {
        total += point->values.entries[i].count;
    }
    return total;
}

static void latencies_and_failures(void **state) {
    sw_recorder_success(recorder, 1500000);
    sw_recorder_success(recorder, 500000);
    sw_recorder_success(recorder, 250000000);
    sw_recorder_failure(recorder, SW_FAILURE_CLIENT);
    sw_recorder_failure(recorder, SW_FAILURE_SERVER);
    sw_recorder_failure(recorder, SW_FAILURE_SERVER);
    struct sw_recorded r = collect();
    assert_int_equal(r.latency.count, 3);
    assert_true(r.latency.sum == 252 && r.latency.min == 0.5 && r.latency.max == 250);
    assert_true(r.latency.sum_squares == 1.5 * 1.5 + 0.5 * 0.5 + 250.0 * 250);
    assert_int_equal(r.latency.failures[SW_FAILURE_CLIENT], 1);
    assert_int_equal(r.latency.failures[SW_FAILURE_REJECTED], 0);
    assert_int_equal(r.latency.failures[SW_FAILURE_SERVER], 2);
    assert_int_equal(r.latency.values.used, 3);
    assert_int_equal(r.latency.values.entries[1].cell, sw_loghist_cell(1.5));
    assert_int_equal(r.verdict.count, 0);
    assert_int_equal(r.prediction.count, 0);
    sw_recorded_deinit(&r);
    /* Nothing is counted twice, and extremes are of the time between two collections. */
    sw_recorder_success(recorder, 2000000);
    r = collect();
    assert_int_equal(r.latency.count, 1);
    assert_true(r.latency.min == 2 && r.latency.max == 2 && r.latency.sum == 2);
    assert_int_equal(r.latency.failures[SW_FAILURE_SERVER], 0);
    sw_recorded_deinit(&r);
    r = collect();
    assert_int_equal(r.latency.count, 0);
    assert_int_equal(r.latency.values.used, 0);
    sw_recorded_deinit(&r);
}

/* Outside of the cells that have a counter of their own: the nearest takes them, the exact extremes stay. */
static void latencies_out_of_range(void **state) {
    sw_recorder_success(recorder, 0);
    sw_recorder_success(recorder, 1);
    sw_recorder_success(recorder, 3600 * UINT64_C(1000000000));
    struct sw_recorded r = collect();
    assert_int_equal(in_histogram(&r.latency), 3);
    assert_true(r.latency.min == 0 && r.latency.max == 3600000);
    assert_true(fabs(sw_loghist_value(r.latency.values.entries[0].cell) - 0.001) < 0.0001);
    assert_true(sw_loghist_value(r.latency.values.entries[1].cell) > 128000);
    sw_recorded_deinit(&r);
}

static void verdicts(void **state) {
    const uint8_t some[] = {0, 1, 1, 0, 0};
    sw_recorder_verdicts(recorder, some, 5);
    struct sw_recorded r = collect();
    assert_int_equal(r.verdict.count, 5);
    assert_true(r.verdict.sum == 2 && r.verdict.min == 0 && r.verdict.max == 1);
    assert_int_equal(in_histogram(&r.verdict), 5);
    sw_recorded_deinit(&r);
    sw_recorder_verdicts(recorder, some + 1, 2);
    r = collect();
    assert_true(r.verdict.count == 2 && r.verdict.sum == 2 && r.verdict.min == 1 && r.verdict.max == 1);
    sw_recorded_deinit(&r);
}

static void predictions(void **state) {
    const float some[] = {0.25f, 0.75f, -2.0f, 0.0f, NAN, INFINITY, 1e-9f};
    const double more[] = {1e12, -1e300};
    sw_recorder_predictions_f32(recorder, some, 7);
    sw_recorder_predictions_f64(recorder, more, 2);
    struct sw_recorded r = collect();
    assert_int_equal(r.prediction.count, 6); /* NaN, infinity and 1e300 are none */
    assert_true(r.prediction.min == -2 && r.prediction.max == 1e12);
    assert_int_equal(in_histogram(&r.prediction), 6);
    const struct sw_loghist_entry *e = r.prediction.values.entries;
    assert_int_equal(e[0].cell, sw_loghist_cell(-2));
    assert_int_equal(e[1].cell, SW_LOGHIST_ZERO);
    assert_int_equal(e[1].count, 2); /* 0 and what is next to nothing */
    assert_int_equal(e[2].cell, sw_loghist_cell(0.25));
    assert_int_equal(e[3].cell, sw_loghist_cell(0.75));
    assert_true(sw_loghist_value(e[4].cell) > 1e6); /* the last that has a counter */
    sw_recorded_deinit(&r);
}

/* Each cell that a prediction can fall into comes back as the cell of its value. */
static void prediction_cells_agree_with_the_histogram(void **state) {
    for (int sign = -1; sign <= 1; sign += 2) {
        for (int i = 1; i < 4000; i++) {
            double value = sign * exp2(i / 4000.0 * 40 - 20);
            sw_recorder_predictions_f64(recorder, &value, 1);
            struct sw_recorded r = collect();
            assert_int_equal(r.prediction.values.used, 1);
            assert_int_equal(r.prediction.values.entries[0].cell, sw_loghist_cell(value));
            sw_recorded_deinit(&r);
        }
    }
}

/* ---- threads */

enum { THREADS = 6, UPDATES = 30000, GENERATIONS = 3 };
static atomic_int running;

static void *count(void *arg) {
    for (uint64_t i = 1; i <= UPDATES; i++) {
        float prediction = (float)i / UPDATES;
        uint8_t verdict = i % 3 == 0;
        sw_recorder_success(recorder, i * 1000);
        sw_recorder_predictions_f32(recorder, &prediction, 1);
        sw_recorder_verdicts(recorder, &verdict, 1);
        if (i % 10 == 0) {
            sw_recorder_failure(recorder, (enum sw_failure)(i / 10 % SW_FAILURES));
        }
    }
    atomic_fetch_sub(&running, 1);
    return NULL;
}

static void take(struct sw_point *total) {
    struct sw_recorded r = collect();
    const struct sw_point *points[] = {&r.latency, &r.verdict, &r.prediction};
    for (size_t i = 0; i < 3; i++) {
        total[i].count += points[i]->count;
        total[i].sum += points[i]->sum;
        total[i].max = points[i]->count ? fmax(total[i].max, points[i]->max) : total[i].max;
        for (size_t k = 0; k < SW_FAILURES; k++) {
            total[i].failures[k] += points[i]->failures[k];
        }
        assert_true(points[i]->count == 0 || points[i]->min <= points[i]->max);
        assert_true(sw_loghist_merge(&total[i].values, &points[i]->values));
    }
    sw_recorded_deinit(&r);
}

/* Later threads take over the shards of those that ended; somebody collects all the time. */
static void threads_lose_nothing(void **state) {
    struct sw_point total[3] = {{0}};
    for (int g = 0; g < GENERATIONS; g++) {
        pthread_t threads[THREADS];
        atomic_store(&running, THREADS);
        for (int i = 0; i < THREADS; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, count, NULL), 0);
        }
        while (atomic_load(&running) > 0) {
            take(total);
            sched_yield();
        }
        for (int i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
        }
    }
    take(total);
    uint64_t all = (uint64_t)GENERATIONS * THREADS * UPDATES;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(total[i].count, all);
        assert_int_equal(in_histogram(&total[i]), all);
    }
    assert_true(fabs(total[0].sum - (double)all * (UPDATES + 1) / 2 / 1000) < 1e-3 * (double)all);
    assert_true(total[0].max == UPDATES / 1000.0 && total[2].max == 1);
    assert_true(total[1].sum == (double)all / 3);
    for (size_t k = 0; k < SW_FAILURES; k++) {
        assert_int_equal(total[0].failures[k], all / 10 / SW_FAILURES);
    }
    for (size_t i = 0; i < 3; i++) {
        sw_loghist_deinit(&total[i].values);
    }
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(latencies_and_failures),
        CASE(latencies_out_of_range),
        CASE(verdicts),
        CASE(predictions),
        CASE(prediction_cells_agree_with_the_histogram),
        CASE(threads_lose_nothing),
    };
    return cmocka_run_group_tests_name("observe/recorder", tests, NULL, NULL);
}
