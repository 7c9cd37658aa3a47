/* Ranges of values: least and greatest, and percentiles against sorting. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <math.h>

#include "base/memory.h"
#include "graph/range.h"

static uint64_t random_state;

static double uniform(void) { /* splitmix64 */
    uint64_t z = (random_state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static float normal(void) {
    return (float)(sqrt(-2 * log(1 - uniform())) * cos(2 * M_PI * uniform()));
}

static int by_value(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void test_least_and_greatest(void **state) {
    struct sw_range range;
    double low, high;
    sw_range_init(&range, false);
    assert_true(sw_range_add(&range, (float[]){3, -1, 2}, 3));
    assert_true(sw_range_add(&range, NULL, 0));
    assert_true(sw_range_add(&range, (float[]){2.5F}, 1));
    assert_int_equal(range.count, 4);
    sw_range_percentile(&range, 99, &low, &high); /* without a histogram: as 100 */
    assert_true(low == -1 && high == 3);
    assert_false(sw_range_add(&range, (float[]){1, NAN}, 2));
    assert_false(sw_range_add(&range, (float[]){-INFINITY}, 1));
    assert_true(range.min == -1 && range.max == 3 && range.count == 4);
    sw_range_deinit(&range);
}

/* Against the sorted values, for values of very different sizes, given in pieces of all lengths. */
static void test_percentiles(void **state) {
    enum { COUNT = 20000 };
    float *values = sw_xcalloc(COUNT, sizeof *values);
    for (int scale = -40; scale <= 60; scale += 20) {
        struct sw_range range;
        double low, high;
        random_state = (uint64_t)scale;
        for (size_t i = 0; i < COUNT; i++) {
            values[i] = ldexpf(normal() + 1, scale);
        }
        sw_range_init(&range, true);
        for (size_t i = 0, n; i < COUNT; i += n) {
            n = 1 + (size_t)(uniform() * 500);
            n = n < COUNT - i ? n : COUNT - i;
            assert_true(sw_range_add(&range, values + i, n));
        }
        qsort(values, COUNT, sizeof *values, by_value);
        double width = range.bound * 2 / SW_RANGE_BINS;
        static const double percentiles[] = {100, 99.99, 99, 95, 90};
        for (size_t i = 0; i < SW_COUNTOF(percentiles); i++) {
            size_t cut = (size_t)((100 - percentiles[i]) / 200 * COUNT);
            sw_range_percentile(&range, percentiles[i], &low, &high);
            assert_true(low <= values[cut] && low >= values[cut] - width);
            assert_true(high >= values[COUNT - 1 - cut] && high <= values[COUNT - 1 - cut] + width);
            assert_true(low >= range.min && high <= range.max);
        }
        sw_range_deinit(&range);
    }
    sw_free(values);
}

/* The same values in other pieces and another order give the same histogram, bit for bit. */
static void test_pieces_do_not_matter(void **state) {
    enum { COUNT = 5000 };
    static float values[COUNT];
    struct sw_range whole, single, backwards;
    random_state = 7;
    for (size_t i = 0; i < COUNT; i++) {
        values[i] = ldexpf(normal(), (int)(uniform() * 60) - 40);
    }
    values[17] = 0;
    values[18] = -1e-38F;
    values[19] = 4096; /* a power of two is the edge of a bin */
    sw_range_init(&whole, true);
    sw_range_init(&single, true);
    sw_range_init(&backwards, true);
    assert_true(sw_range_add(&whole, values, COUNT));
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(sw_range_add(&single, &values[i], 1));
        assert_true(sw_range_add(&backwards, &values[COUNT - 1 - i], 1));
    }
    assert_true(whole.bound == single.bound && whole.bound == backwards.bound);
    assert_memory_equal(whole.bins, single.bins, SW_RANGE_BINS * sizeof *whole.bins);
    assert_memory_equal(whole.bins, backwards.bins, SW_RANGE_BINS * sizeof *whole.bins);
    uint64_t sum = 0;
    for (size_t i = 0; i < SW_RANGE_BINS; i++) {
        sum += whole.bins[i];
    }
    assert_int_equal(sum, COUNT);
    sw_range_deinit(&whole);
    sw_range_deinit(&single);
    sw_range_deinit(&backwards);
}

static void test_one_value_and_zeros(void **state) {
    static const float cases[] = {0, 1, -3.4e38F, 3.4e38F, 1e-45F};
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        struct sw_range range;
        double low, high;
        sw_range_init(&range, true);
        assert_true(sw_range_add(&range, &cases[i], 1));
        sw_range_percentile(&range, 99, &low, &high);
        assert_true(low == cases[i] && high == cases[i]);
        sw_range_deinit(&range);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_least_and_greatest),
        cmocka_unit_test(test_percentiles),
        cmocka_unit_test(test_pieces_do_not_matter),
        cmocka_unit_test(test_one_value_and_zeros),
    };
    return cmocka_run_group_tests_name("graph/range", tests, NULL, NULL);
}
