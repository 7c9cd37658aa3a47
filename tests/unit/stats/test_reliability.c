/* Bins, calibration errors and scoring rules against values computed by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>

#include "base/macros.h"
#include "stats/reliability.h"

static struct sw_reliability make(const struct sw_scored *items, size_t count, enum sw_binning binning, size_t bins) {
    struct sw_reliability r;
    struct sw_error err;
    if (sw_reliability_make(items, count, binning, bins, &r, &err)) {
        fail_msg("%s", err.message);
    }
    return r;
}

static void assert_near(double got, double want) {
    if (!(fabs(got - want) <= 1e-15)) {
        fail_msg("%.17g is not %.17g", got, want);
    }
}

static void assert_bin(const struct sw_reliability *r, size_t at, double low, double high, double mean, uint64_t count,
                       uint64_t positives) {
    assert_true(at < r->bin_count);
    assert_near(r->bins[at].low, low);
    assert_near(r->bins[at].high, high);
    assert_near(r->bins[at].mean_predicted, mean);
    assert_int_equal(r->bins[at].count, count);
    assert_int_equal(r->bins[at].positives, positives);
}

static const struct sw_scored items[] = {{0.125, false}, {0.375, true}, {0.0, false}, {0.75, true},
                                         {1.0, true},    {0.75, false}, {0.5, true},  {0.875, true}};

static void equal_width(void **state) {
    struct sw_reliability r = make(items, SW_COUNTOF(items), SW_BINS_EQUAL_WIDTH, 4);
    assert_int_equal(r.bin_count, 4);
    assert_bin(&r, 0, 0, 0.25, 0.0625, 2, 0);
    assert_bin(&r, 1, 0.25, 0.5, 0.375, 1, 1);
    assert_bin(&r, 2, 0.5, 0.75, 0.5, 1, 1);
    assert_bin(&r, 3, 0.75, 1, 0.84375, 4, 3);
    /* (2 * 0.0625 + 0.625 + 0.5 + 4 * 0.09375) / 8 */
    assert_near(r.expected_error, 1.625 / 8);
    assert_near(r.largest_error, 0.625);
    /* squares of 1/8, 5/8, 0, 1/4, 0, 3/4, 1/2, 1/8 */
    assert_near(r.brier, (1 + 25 + 0 + 4 + 0 + 36 + 16 + 1) / 64.0 / 8);
    sw_reliability_deinit(&r);
}

static void equal_mass(void **state) {
    struct sw_reliability r = make(items, SW_COUNTOF(items), SW_BINS_EQUAL_MASS, 4);
    assert_int_equal(r.bin_count, 4);
    assert_bin(&r, 0, 0, 0.125, 0.0625, 2, 0);
    assert_bin(&r, 1, 0.375, 0.5, 0.4375, 2, 2);
    assert_bin(&r, 2, 0.75, 0.75, 0.75, 2, 1);
    assert_bin(&r, 3, 0.875, 1, 0.9375, 2, 2);
    assert_near(r.expected_error, (2 * 0.0625 + 2 * 0.5625 + 2 * 0.25 + 2 * 0.0625) / 8);
    sw_reliability_deinit(&r);
}

static void equal_probabilities_share_a_bin(void **state) {
    static const struct sw_scored ties[] = {{0.5, true}, {0.5, false}, {0.5, true}, {0.5, false}, {0.25, false}};
    struct sw_reliability r = make(ties, SW_COUNTOF(ties), SW_BINS_EQUAL_MASS, 5);
    assert_int_equal(r.bin_count, 2);
    assert_bin(&r, 0, 0.25, 0.25, 0.25, 1, 0);
    assert_bin(&r, 1, 0.5, 0.5, 0.5, 4, 2);
    sw_reliability_deinit(&r);
    r = make(ties, 1, SW_BINS_EQUAL_MASS, 5); /* fewer samples than bins */
    assert_int_equal(r.bin_count, 1);
    assert_int_equal(r.bins[0].count, 1);
    sw_reliability_deinit(&r);
}

/* Every multiple of 1/bins opens its own bin, however the product rounds. */
static void edges_belong_to_the_upper_bin(void **state) {
    for (size_t bins = 1; bins <= 200; bins++) {
        struct sw_scored edges[201];
        for (size_t k = 0; k <= bins; k++) {
            edges[k] = (struct sw_scored){(double)k / (double)bins, false};
        }
        struct sw_reliability r = make(edges, bins + 1, SW_BINS_EQUAL_WIDTH, bins);
        for (size_t k = 0; k < bins; k++) {
            assert_int_equal(r.bins[k].count, k + 1 == bins ? 2 : 1);
        }
        sw_reliability_deinit(&r);
    }
}

static void log_loss_is_bounded(void **state) {
    static const struct sw_scored sure[] = {{0, true}, {1, true}, {0.5, false}};
    struct sw_reliability r = make(sure, 3, SW_BINS_EQUAL_WIDTH, 10);
    assert_near(r.log_loss, (52 * M_LN2 - log1p(-0x1p-52) + M_LN2) / 3);
    sw_reliability_deinit(&r);
}

static void what_is_no_probability_is_refused(void **state) {
    static const double bad[] = {-0x1p-60, 1.0000001, NAN, INFINITY};
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        struct sw_scored two[] = {{0.5, true}, {bad[i], true}};
        struct sw_reliability r;
        struct sw_error err;
        assert_int_equal(sw_reliability_make(two, 2, SW_BINS_EQUAL_WIDTH, 10, &r, &err), SW_E_INVALID_ARGUMENT);
        assert_memory_equal(err.message, "score 1, ", 9);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_width),
        cmocka_unit_test(equal_mass),
        cmocka_unit_test(equal_probabilities_share_a_bin),
        cmocka_unit_test(edges_belong_to_the_upper_bin),
        cmocka_unit_test(log_loss_is_bounded),
        cmocka_unit_test(what_is_no_probability_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
