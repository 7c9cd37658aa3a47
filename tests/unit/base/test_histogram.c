/* Histogram against exact percentiles of the same values; buckets; merging. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "base/hash.h"
#include "base/histogram.h"
#include "base/memory.h"

enum { VALUES = 20000 };
static const double ERROR_MAX = 1.0 / 128;
static const double percents[] = {0, 1, 10, 50, 75, 90, 95, 99, 99.9, 99.99, 100};

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The values between which the percentile must lie: those of the ranks around it. */
static void assert_percentiles(const struct sw_histogram *h, const uint64_t *sorted, size_t count) {
    for (size_t i = 0; i < SW_COUNTOF(percents); i++) {
        double rank = percents[i] / 100 * (double)count, got = sw_histogram_percentile(h, percents[i]);
        size_t at = rank < 1 ? 0 : (size_t)ceil(rank) - 1;
        double exact = (double)sorted[at], below = (double)sorted[at ? at - 1 : 0];
        assert_true(got <= exact * (1 + ERROR_MAX) + 1e-9);
        assert_true(got >= fmin(below, exact) * (1 - ERROR_MAX) - 1e-9);
    }
}

static void check_values(uint64_t (*make)(uint64_t *random)) {
    struct sw_histogram *h SW_AUTO_FREE = SW_NEW(struct sw_histogram);
    uint64_t *values SW_AUTO_FREE = sw_xcalloc(VALUES, sizeof *values), random = 7;
    double sum = 0, squares = 0;
    for (size_t i = 0; i < VALUES; i++) {
        values[i] = make(&random);
        sw_histogram_record(h, values[i]);
        sum += (double)values[i];
    }
    qsort(values, VALUES, sizeof *values, by_value);
    for (size_t i = 0; i < VALUES; i++) {
        squares += ((double)values[i] - sum / VALUES) * ((double)values[i] - sum / VALUES);
    }
    assert_int_equal(h->count, VALUES);
    assert_int_equal(h->min, values[0]);
    assert_int_equal(h->max, values[VALUES - 1]);
    assert_true(fabs(h->mean - sum / VALUES) <= sum / VALUES * 1e-9);
    double deviation = sqrt(squares / VALUES);
    assert_true(fabs(sw_histogram_deviation(h) - deviation) <= deviation * 1e-6);
    assert_percentiles(h, values, VALUES);
}

static uint64_t small(uint64_t *random) {
    return sw_random_next(random) % 100;
}
static uint64_t even(uint64_t *random) {
    return sw_random_next(random) % 1000000000;
}
/* Over fifty powers of two, as many values in each. */
static uint64_t wide(uint64_t *random) {
    return sw_random_next(random) >> (14 + sw_random_next(random) % 50);
}
static uint64_t two_peaks(uint64_t *random) {
    return (sw_random_next(random) % 10 ? 1000000 : 500000000) + sw_random_next(random) % 1000;
}
static uint64_t same(uint64_t *random) {
    return 123456789;
}

static void percentiles_are_near_the_exact_ones(void **state) {
    check_values(small);
    check_values(even);
    check_values(wide);
    check_values(two_peaks);
    check_values(same);
}

static void one_value_is_given_back_exactly(void **state) {
    struct sw_histogram *h SW_AUTO_FREE = SW_NEW(struct sw_histogram);
    static const uint64_t values[] = {0, 1, 127, 128, 129, 1000000007, UINT64_MAX};
    for (size_t i = 0; i < SW_COUNTOF(values); i++) {
        sw_histogram_clear(h);
        sw_histogram_record(h, values[i]);
        assert_true(sw_histogram_percentile(h, 50) == (double)values[i]);
        assert_true(sw_histogram_deviation(h) == 0);
    }
}

static void empty_is_zero(void **state) {
    struct sw_histogram *h SW_AUTO_FREE = SW_NEW(struct sw_histogram);
    assert_true(sw_histogram_percentile(h, 99) == 0);
    assert_true(sw_histogram_deviation(h) == 0);
}

/* Buckets stand one behind the other from 0 to 2^64 - 1, none wider than 1/128 of its beginning. */
static void buckets_cover_every_number_once(void **state) {
    uint64_t expected = 0;
    for (size_t i = 0; i < SW_HISTOGRAM_BUCKETS; i++) {
        uint64_t low, width;
        sw_histogram_bucket(i, &low, &width);
        assert_int_equal(low, expected);
        assert_true(width == 1 || width * 128 <= low);
        expected = low + width;
    }
    assert_int_equal(expected, 0); /* 2^64 */
}

static void a_value_lands_in_its_bucket(void **state) {
    struct sw_histogram *h SW_AUTO_FREE = SW_NEW(struct sw_histogram);
    for (size_t i = 0; i < SW_HISTOGRAM_BUCKETS; i++) {
        uint64_t low, width;
        sw_histogram_bucket(i, &low, &width);
        sw_histogram_record(h, low);
        sw_histogram_record(h, low + (width - 1));
        assert_int_equal(h->buckets[i], 2);
    }
}

static void merged_is_as_recorded_in_one(void **state) {
    struct sw_histogram *parts SW_AUTO_FREE = sw_xcalloc(4, sizeof *parts);
    struct sw_histogram *one = &parts[3], *sum = &parts[0];
    uint64_t random = 3;
    for (size_t i = 0; i < VALUES; i++) {
        uint64_t value = wide(&random);
        sw_histogram_record(&parts[i % 3 == 2 ? 1 : i % 3], value);
        sw_histogram_record(one, value);
    }
    sw_histogram_merge(sum, &parts[1]);
    sw_histogram_merge(sum, &parts[2]); /* empty */
    assert_int_equal(sum->count, one->count);
    assert_int_equal(sum->min, one->min);
    assert_int_equal(sum->max, one->max);
    assert_memory_equal(sum->buckets, one->buckets, sizeof one->buckets);
    assert_true(fabs(sum->mean - one->mean) <= one->mean * 1e-9);
    assert_true(fabs(sum->m2 - one->m2) <= one->m2 * 1e-9);
    sw_histogram_merge(&parts[2], one); /* into an empty one */
    assert_int_equal(parts[2].min, one->min);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_are_near_the_exact_ones),
        cmocka_unit_test(one_value_is_given_back_exactly),
        cmocka_unit_test(empty_is_zero),
        cmocka_unit_test(buckets_cover_every_number_once),
        cmocka_unit_test(a_value_lands_in_its_bucket),
        cmocka_unit_test(merged_is_as_recorded_in_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
