/* Intervals of a proportion: published values, and the definition itself, summed exactly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>

#include "base/macros.h"
#include "stats/interval.h"
#include "stats/special.h"

static void assert_near(double got, double want, double tolerance) {
    if (!(fabs(got - want) <= tolerance)) {
        fail_msg("%.17g is not %.17g +- %g", got, want, tolerance);
    }
}

/* R. Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17 (1998), table I:
 * 95 %, methods 3 (score, Wilson) and 5 (Clopper-Pearson), four decimals. */
static void published_values(void **state) {
    static const struct {
        uint64_t k, n;
        double wilson_low, wilson_high, exact_low, exact_high;
    } table[] = {
        {81, 263, 0.2553, 0.3662, 0.2527, 0.3676},
        {15, 148, 0.0624, 0.1605, 0.0578, 0.1617},
        {0, 20, 0.0000, 0.1611, 0.0000, 0.1684},
        {1, 29, 0.0061, 0.1718, 0.0009, 0.1776},
    };
    for (size_t i = 0; i < SW_COUNTOF(table); i++) {
        struct sw_interval w = sw_interval_proportion(SW_INTERVAL_WILSON, table[i].k, table[i].n, 0.95);
        struct sw_interval e = sw_interval_proportion(SW_INTERVAL_EXACT, table[i].k, table[i].n, 0.95);
        assert_near(w.low, table[i].wilson_low, 5.1e-5);
        assert_near(w.high, table[i].wilson_high, 5.1e-5);
        assert_near(e.low, table[i].exact_low, 5.1e-5);
        assert_near(e.high, table[i].exact_high, 5.1e-5);
    }
}

/* P(X <= k) of a binomial variable, term by term. */
static double binomial_cdf(uint64_t k, uint64_t n, double p) {
    long double term = powl(1 - (long double)p, (long double)n), sum = 0;
    for (uint64_t i = 0; i <= k; i++) {
        sum += term;
        term *= (long double)(n - i) / (long double)(i + 1) * (long double)p / (1 - (long double)p);
    }
    return (double)sum;
}

/* The exact bounds are where a tail of the binomial distribution is (1 - confidence) / 2: every k of several n. */
static void exact_bounds_have_exact_tails(void **state) {
    static const uint64_t sizes[] = {1, 2, 5, 30, 200};
    static const double confidences[] = {0.5, 0.9, 0.95, 0.999};
    for (size_t s = 0; s < SW_COUNTOF(sizes); s++) {
        for (size_t c = 0; c < SW_COUNTOF(confidences); c++) {
            uint64_t n = sizes[s];
            double tail = (1 - confidences[c]) / 2;
            for (uint64_t k = 0; k <= n; k++) {
                struct sw_interval e = sw_interval_proportion(SW_INTERVAL_EXACT, k, n, confidences[c]);
                assert_true(e.low <= (double)k / (double)n && (double)k / (double)n <= e.high);
                assert_true(k > 0 || e.low == 0);
                assert_true(k < n || e.high == 1);
                if (k > 0) {
                    assert_near(1 - binomial_cdf(k - 1, n, e.low), tail, 1e-10);
                }
                if (k < n) {
                    assert_near(binomial_cdf(k, n, e.high), tail, 1e-10);
                }
            }
        }
    }
}

/* Of the Wilson bounds, the score test's statistic is z: (k/n - p)^2 = z^2 p (1 - p) / n. */
static void wilson_bounds_solve_their_equation(void **state) {
    double z = sw_normal_quantile(0.975);
    assert_near(z, 1.959963984540054, 1e-14);
    for (uint64_t n = 1; n <= 1000; n += 37) {
        for (uint64_t k = 0; k <= n; k++) {
            struct sw_interval w = sw_interval_proportion(SW_INTERVAL_WILSON, k, n, 0.95);
            double rate = (double)k / (double)n;
            assert_true(w.low <= rate && rate <= w.high && w.low >= 0 && w.high <= 1);
            assert_true(k == 0 || w.low > 0);
            assert_near((rate - w.low) * (rate - w.low), z * z * w.low * (1 - w.low) / (double)n, 1e-12);
            assert_near((rate - w.high) * (rate - w.high), z * z * w.high * (1 - w.high) / (double)n, 1e-12);
        }
    }
}

/* None of n: the exact upper bound has a closed form, also for large n. */
static void none_of_many(void **state) {
    static const uint64_t sizes[] = {10, 6000, 1000000, 100000000};
    for (size_t i = 0; i < SW_COUNTOF(sizes); i++) {
        double n = (double)sizes[i], want = -expm1(log(0.025) / n);
        struct sw_interval e = sw_interval_proportion(SW_INTERVAL_EXACT, 0, sizes[i], 0.95);
        assert_true(e.low == 0);
        assert_near(e.high / want, 1, 1e-6);
        e = sw_interval_proportion(SW_INTERVAL_EXACT, sizes[i], sizes[i], 0.95);
        assert_true(e.high == 1);
        assert_near((1 - e.low) / want, 1, 1e-6);
    }
    struct sw_interval nothing = sw_interval_proportion(SW_INTERVAL_WILSON, 0, 0, 0.95);
    assert_true(nothing.low == 0 && nothing.high == 1);
    nothing = sw_interval_proportion(SW_INTERVAL_EXACT, 0, 0, 0.95);
    assert_true(nothing.low == 0 && nothing.high == 1);
}

static void beta_function(void **state) {
    /* I_x(1, b) = 1 - (1 - x)^b; I_x(a, 1) = x^a; I_1/2(a, a) = 1/2; I_x(2, 3) = x^2 (6 - 8 x + 3 x^2) */
    for (double x = 0.05; x < 1; x += 0.05) {
        assert_near(sw_beta_cdf(1, 7, x), 1 - pow(1 - x, 7), 1e-14);
        assert_near(sw_beta_cdf(2.5, 1, x), pow(x, 2.5), 1e-14);
        assert_near(sw_beta_cdf(2, 3, x), x * x * (6 - 8 * x + 3 * x * x), 1e-14);
        assert_near(sw_beta_quantile(2, 3, sw_beta_cdf(2, 3, x)), x, 1e-13);
    }
    assert_near(sw_beta_cdf(1e6, 1e6, 0.5), 0.5, 1e-9);
    assert_true(sw_beta_cdf(3, 4, 0) == 0 && sw_beta_cdf(3, 4, 1) == 1 && isnan(sw_beta_cdf(3, 4, NAN)));
    assert_true(sw_beta_quantile(3, 4, 0) == 0 && sw_beta_quantile(3, 4, 1) == 1);
}

static void normal_quantiles(void **state) {
    assert_near(sw_normal_quantile(0.5), 0, 1e-15);
    assert_near(sw_normal_quantile(0.9), 1.2815515655446004, 1e-14);
    assert_near(sw_normal_quantile(0.995), 2.5758293035489004, 1e-13);
    assert_near(sw_normal_quantile(0.025), -1.959963984540054, 1e-14);
    assert_near(sw_normal_quantile(1e-12), -7.034483825301131, 1e-11);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_values),
        cmocka_unit_test(exact_bounds_have_exact_tails),
        cmocka_unit_test(wilson_bounds_solve_their_equation),
        cmocka_unit_test(none_of_many),
        cmocka_unit_test(beta_function),
        cmocka_unit_test(normal_quantiles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
