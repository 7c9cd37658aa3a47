/* What a sweep advises, from cells that the test makes up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "base/memory.h"
#include "cli/bench_sweep.h"

enum { CELLS_MAX = 8 };

struct row {
    unsigned threads;
    int64_t batch;
    double rows_per_s, run_ms; /* every run; below 0: failed */
};

static struct sw_sweep_advice advise(const struct row *rows, size_t count, double latency_max_ms) {
    struct sw_sweep_cell *cells SW_AUTO_FREE = sw_xcalloc(CELLS_MAX, sizeof *cells);
    for (size_t i = 0; i < count; i++) {
        cells[i] = (struct sw_sweep_cell){.threads = rows[i].threads,
                                          .callers = 1,
                                          .batch = rows[i].batch,
                                          .failed = rows[i].run_ms < 0,
                                          .run_ns = SW_NEW(struct sw_histogram)};
        if (!cells[i].failed) {
            cells[i].rows_per_s = rows[i].rows_per_s;
            sw_histogram_record(cells[i].run_ns, (uint64_t)(rows[i].run_ms * 1e6));
        }
    }
    struct sw_sweep_advice advice = sw_sweep_advise(cells, count, latency_max_ms);
    for (size_t i = 0; i < count; i++) {
        sw_free(cells[i].run_ns);
    }
    return advice;
}

#define ADVISE(limit, ...) \
    advise((const struct row[]){__VA_ARGS__}, sizeof((const struct row[]){__VA_ARGS__}) / sizeof(struct row), limit)

static void the_smallest_batch_near_the_best(void **state) {
    struct sw_sweep_advice a = ADVISE(-1, {1, 1, 100, 1}, {1, 2, 150, 2}, {1, 4, 191, 3}, {1, 8, 200, 5});
    assert_int_equal(a.cell, 2);
    assert_true(a.limit_met && fabs(a.gain - 1.91) < 1e-9);
    assert_int_equal(ADVISE(-1, {1, 1, 100, 1}, {1, 2, 150, 2}, {1, 4, 189, 3}, {1, 8, 200, 5}).cell, 3);
    assert_int_equal(ADVISE(-1, {1, 1, 96, 1}, {1, 2, 100, 2}).cell, 0); /* batching gains nothing */
}

static void fewer_threads_when_it_makes_no_difference(void **state) {
    assert_int_equal(ADVISE(-1, {2, 1, 100, 1}, {1, 1, 99, 1}).cell, 1);
    assert_int_equal(ADVISE(-1, {1, 1, 50, 1}, {2, 1, 100, 1}).cell, 1);
    assert_int_equal(ADVISE(-1, {1, 4, 100, 1}, {2, 1, 100, 1}).cell, 1); /* the batch goes before the threads */
}

static void a_limit_rules_cells_out(void **state) {
    struct sw_sweep_advice a = ADVISE(3, {1, 1, 100, 1}, {1, 2, 150, 2}, {1, 4, 300, 4});
    assert_int_equal(a.cell, 1);
    assert_true(a.limit_met && fabs(a.gain - 1.5) < 1e-9);
    a = ADVISE(0.5, {1, 1, 100, 2}, {2, 1, 80, 1}, {1, 4, 300, 4});
    assert_int_equal(a.cell, 1); /* the nearest */
    assert_false(a.limit_met);
    assert_true(fabs(a.gain - 0.8) < 1e-9);
}

static void failed_cells_do_not_count(void **state) {
    assert_int_equal(ADVISE(-1, {1, 1, 100, 1}, {1, 2, 900, -1}).cell, 0);
    assert_int_equal(ADVISE(5, {1, 1, 100, -1}, {1, 2, 100, 9}).cell, 1);
    assert_int_equal(ADVISE(-1, {1, 1, 100, -1}, {1, 2, 100, -1}).cell, SIZE_MAX);
    assert_int_equal(ADVISE(5, {1, 1, 100, -1}).cell, SIZE_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_smallest_batch_near_the_best),
        cmocka_unit_test(fewer_threads_when_it_makes_no_difference),
        cmocka_unit_test(a_limit_rules_cells_out),
        cmocka_unit_test(failed_cells_do_not_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
