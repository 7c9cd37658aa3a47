/* Differences of paired rates: the published example, symmetry, and coverage by simulation. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <math.h>

#include "stats/paired.h"

static struct sw_paired counts(uint64_t both, uint64_t first, uint64_t second, uint64_t neither) {
    return (struct sw_paired){both, first, second, neither};
}

/* R. G. Newcombe 1998, table II: 36, 12, 2 and 0 pairs; there first minus second: 0.0569 to 0.3404. */
static void test_the_published_example(void **state) {
    struct sw_paired p = counts(36, 12, 2, 0);
    struct sw_interval i = sw_interval_paired(&p, 0.95);
    assert_float_equal(sw_paired_difference(&p), -0.2, 1e-12);
    assert_float_equal(i.low, -0.3404, 5e-5);
    assert_float_equal(i.high, -0.0569, 5e-5);
}

static void test_turned_round(void **state) {
    static const uint64_t cases[][4] = {{36, 12, 2, 10}, {0, 3, 1, 6000}, {97, 9, 5, 34}, {0, 0, 0, 5}, {1, 0, 7, 0}};
    for (size_t k = 0; k < 5; k++) {
        const uint64_t *c = cases[k];
        struct sw_paired p = counts(c[0], c[1], c[2], c[3]), turned = counts(c[0], c[2], c[1], c[3]);
        struct sw_interval i = sw_interval_paired(&p, 0.95), t = sw_interval_paired(&turned, 0.95);
        assert_float_equal(i.low, -t.high, 1e-12);
        assert_float_equal(i.high, -t.low, 1e-12);
        double difference = sw_paired_difference(&p);
        assert_true(i.low <= difference && difference <= i.high && i.low >= -1 && i.high <= 1);
        struct sw_interval wide = sw_interval_paired(&p, 0.999);
        assert_true(wide.low <= i.low && wide.high >= i.high);
    }
}

static void test_no_samples(void **state) {
    struct sw_paired p = counts(0, 0, 0, 0);
    struct sw_interval i = sw_interval_paired(&p, 0.95);
    assert_true(isnan(sw_paired_difference(&p)) && i.low == -1 && i.high == 1);
}

/* Models that never differ: the interval is around 0, and narrow when there are many samples. */
static void test_models_that_agree(void **state) {
    struct sw_paired p = counts(2, 0, 0, 5998);
    struct sw_interval i = sw_interval_paired(&p, 0.95);
    assert_true(i.low < 0 && i.high > 0 && i.high < 0.002 && i.low > -0.002);
}

static uint64_t random_state;

static double uniform(void) { /* splitmix64 */
    uint64_t z = (random_state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

/* How often the true difference lies inside, for truths of all kinds: 95 % and little less. */
static void test_coverage(void **state) {
    static const double truths[][4] = {
        {0.6, 0.1, 0.05, 0.25}, {0.02, 0.01, 0.03, 0.94}, {0.9, 0.02, 0.02, 0.06}, {0.25, 0.25, 0.25, 0.25}};
    random_state = 1;
    for (size_t k = 0; k < 4; k++) {
        const double *t = truths[k];
        for (size_t n = 40; n <= 640; n *= 4) {
            unsigned inside = 0;
            enum { RUNS = 2000 };
            for (int run = 0; run < RUNS; run++) {
                struct sw_paired p = {0};
                for (size_t i = 0; i < n; i++) {
                    double u = uniform();
                    uint64_t *cell = u < t[0]                 ? &p.both
                                     : u < t[0] + t[1]        ? &p.first_only
                                     : u < t[0] + t[1] + t[2] ? &p.second_only
                                                              : &p.neither;
                    ++*cell;
                }
                struct sw_interval i = sw_interval_paired(&p, 0.95);
                inside += i.low <= t[2] - t[1] && t[2] - t[1] <= i.high;
            }
            assert_true(inside > RUNS * 0.925);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_published_example),
        cmocka_unit_test(test_turned_round),
        cmocka_unit_test(test_no_samples),
        cmocka_unit_test(test_models_that_agree),
        cmocka_unit_test(test_coverage),
    };
    return cmocka_run_group_tests_name("stats/paired", tests, NULL, NULL);
}
