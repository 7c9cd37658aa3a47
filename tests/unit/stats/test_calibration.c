/* Calibrations: cases with answers in closed form, the conditions of an optimum, monotony, and what cannot be fitted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>

#include "base/macros.h"
#include "stats/calibration.h"

enum { MANY = 4000 };

static struct sw_calibration fit(enum sw_calibration_method method, enum sw_calibration_input input,
                                 const struct sw_scored *items, size_t count) {
    struct sw_calibration k;
    struct sw_error err;
    if (sw_calibration_fit(method, input, items, count, &k, &err)) {
        fail_msg("%s", err.message);
    }
    return k;
}

static void assert_near(double got, double want, double tolerance) {
    if (!(fabs(got - want) <= tolerance)) {
        fail_msg("%.17g is not %.17g +- %g", got, want, tolerance);
    }
}

static double sigmoid(double v) {
    return 1 / (1 + exp(-v));
}

static double next_uniform(uint64_t *seed) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return ((double)(*seed >> 12) + 0.5) / 0x1p52;
}

/* Logits in [-6, 6], twice too sure and shifted: positive with probability sigmoid(logit / 2 - 0.5). */
static void make_overconfident(struct sw_scored items[MANY]) {
    uint64_t seed = 7;
    for (size_t i = 0; i < MANY; i++) {
        double logit = next_uniform(&seed) * 12 - 6;
        items[i] = (struct sw_scored){logit, next_uniform(&seed) < sigmoid(logit / 2 - 0.5)};
    }
}

static void two_scores_have_a_closed_form(void **state) {
    /* At score 0: 1 of 4 positive; at 1: 3 of 4. With two scores the fit meets the mean target of each. */
    static const struct sw_scored items[] = {{0, true},  {0, false}, {0, false}, {0, false},
                                             {1, false}, {1, true},  {1, true},  {1, true}};
    const double high = 5.0 / 6, low = 1.0 / 6; /* (4 + 1) / (4 + 2), 1 / (4 + 2) */
    double at_0 = (high + 3 * low) / 4, at_1 = (3 * high + low) / 4;
    struct sw_calibration k = fit(SW_CALIBRATION_PLATT, SW_CALIBRATION_LOGIT, items, 8);
    assert_near(sw_calibration_apply(&k, 0), at_0, 1e-9);
    assert_near(sw_calibration_apply(&k, 1), at_1, 1e-9);
    assert_near(k.b, log((1 - at_0) / at_0), 1e-8);
    assert_near(k.a + k.b, log((1 - at_1) / at_1), 1e-8);
    sw_calibration_deinit(&k);
}

static void temperature_of_one_score(void **state) {
    /* Logits -2 and 2, right 3 times of 4: sigmoid(2 / T) is the mean target. */
    static const struct sw_scored items[] = {{2, true},   {2, true},   {2, true},   {2, false},
                                             {-2, false}, {-2, false}, {-2, false}, {-2, true}};
    double target = (3 * 5.0 / 6 + 1.0 / 6) / 4;
    struct sw_calibration k = fit(SW_CALIBRATION_TEMPERATURE, SW_CALIBRATION_LOGIT, items, 8);
    assert_near(k.a, 2 / log(target / (1 - target)), 1e-8);
    assert_near(sw_calibration_apply(&k, 2), target, 1e-9);
    struct sw_scored probabilities[8];
    for (size_t i = 0; i < 8; i++) {
        probabilities[i] = (struct sw_scored){sigmoid(items[i].score), items[i].positive};
    }
    struct sw_calibration q = fit(SW_CALIBRATION_TEMPERATURE, SW_CALIBRATION_PROBABILITY, probabilities, 8);
    assert_near(q.a, k.a, 1e-8);
    assert_near(sw_calibration_apply(&q, sigmoid(2)), target, 1e-9);
}

/* At the optimum the gradient is 0: sum over samples of (probability - target) * feature. */
static void fits_are_optima(void **state) {
    static struct sw_scored items[MANY];
    make_overconfident(items);
    double positives = 0;
    for (size_t i = 0; i < MANY; i++) {
        positives += items[i].positive;
    }
    double high = (positives + 1) / (positives + 2), low = 1 / (MANY - positives + 2);
    for (int method = SW_CALIBRATION_PLATT; method <= SW_CALIBRATION_BETA; method++) {
        struct sw_calibration k = fit((enum sw_calibration_method)method, SW_CALIBRATION_LOGIT, items, MANY);
        double gradient[3] = {0};
        for (size_t i = 0; i < MANY; i++) {
            double s = items[i].score;
            double miss = sw_calibration_apply(&k, s) - (items[i].positive ? high : low);
            gradient[0] += miss * (method == SW_CALIBRATION_BETA ? log(sigmoid(s)) : s);
            gradient[1] += method == SW_CALIBRATION_BETA ? miss * -log(sigmoid(-s)) : 0;
            gradient[2] += method == SW_CALIBRATION_TEMPERATURE ? 0 : miss;
        }
        for (int g = 0; g < 3; g++) {
            assert_near(gradient[g] / MANY, 0, 1e-8);
        }
    }
    struct sw_calibration platt = fit(SW_CALIBRATION_PLATT, SW_CALIBRATION_LOGIT, items, MANY);
    assert_near(platt.a, -0.5, 0.05); /* what the data were made with */
    assert_near(platt.b, 0.5, 0.1);
}

static void beta_fixes_a_negative_coefficient_at_zero(void **state) {
    /* ln p alone explains these: positives where p is high, and the share falls again at the top. */
    static const struct sw_scored items[] = {{0.1, false}, {0.1, false}, {0.2, false},  {0.2, true},   {0.5, true},
                                             {0.5, true},  {0.5, true},  {0.999, true}, {0.999, true}, {0.999, false}};
    struct sw_calibration k = fit(SW_CALIBRATION_BETA, SW_CALIBRATION_PROBABILITY, items, SW_COUNTOF(items));
    assert_true(k.a > 0);
    assert_true(k.b == 0);
    assert_true(sw_calibration_apply(&k, 0.2) < sw_calibration_apply(&k, 0.5));
    assert_true(isfinite(sw_calibration_apply(&k, 1)));
}

static void isotonic_pools_violators(void **state) {
    /* by score: 1: 0; 2: 1; 3: 0; 4: 0, 1 (a tie); 5: 1; 6: 1 -> 2 to 4 pool to 2/4, 5 and 6 to 1 */
    static const struct sw_scored items[] = {{4, true}, {1, false}, {3, false}, {2, true},
                                             {5, true}, {4, false}, {6, true}};
    struct sw_calibration k = fit(SW_CALIBRATION_ISOTONIC, SW_CALIBRATION_LOGIT, items, SW_COUNTOF(items));
    static const double x[] = {1, 2, 4, 5, 6}, y[] = {0, 0.5, 0.5, 1, 1};
    assert_int_equal(k.count, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_true(k.x[i] == x[i] && k.y[i] == y[i]);
    }
    assert_true(sw_calibration_apply(&k, 0) == 0);
    assert_true(sw_calibration_apply(&k, 1.5) == 0.25);
    assert_true(sw_calibration_apply(&k, 3) == 0.5);
    assert_true(sw_calibration_apply(&k, 4.5) == 0.75);
    assert_true(sw_calibration_apply(&k, 9) == 1);
    assert_true(sw_calibration_apply(&k, -INFINITY) == 0);
    assert_true(sw_calibration_apply(&k, INFINITY) == 1);
    sw_calibration_deinit(&k);
}

static void all_are_monotone(void **state) {
    static struct sw_scored items[MANY];
    make_overconfident(items);
    for (int method = 0; method < SW_CALIBRATION_METHODS; method++) {
        struct sw_calibration k = fit((enum sw_calibration_method)method, SW_CALIBRATION_LOGIT, items, MANY);
        double before = sw_calibration_apply(&k, -INFINITY);
        assert_true(before >= 0);
        for (double s = -800; s <= 800; s += fabs(s) < 10 ? 0.001 : 1) {
            double p = sw_calibration_apply(&k, s);
            assert_true(p >= before && p <= 1);
            before = p;
        }
        assert_true(sw_calibration_apply(&k, INFINITY) >= before);
        assert_true(isnan(sw_calibration_apply(&k, NAN)));
        sw_calibration_deinit(&k);
    }
}

static void a_probability_rounded_past_one_counts_as_one(void **state) {
    const struct sw_calibration k = {.method = SW_CALIBRATION_TEMPERATURE, .input = SW_CALIBRATION_PROBABILITY, .a = 2};
    assert_true(sw_calibration_apply(&k, 1.0000001) == sw_calibration_apply(&k, 1));
    assert_true(sw_calibration_apply(&k, 1) > 0.999);
    assert_true(sw_calibration_apply(&k, -1e-9) == sw_calibration_apply(&k, 0));
}

static void classes_that_do_not_overlap(void **state) {
    static const struct sw_scored items[] = {{-2, false}, {-1, false}, {1, true}, {2, true}};
    for (int method = 0; method < SW_CALIBRATION_METHODS; method++) {
        struct sw_calibration k = fit((enum sw_calibration_method)method, SW_CALIBRATION_LOGIT, items, 4);
        assert_true(isfinite(k.a) && isfinite(k.b) && isfinite(k.c));
        assert_true(sw_calibration_apply(&k, 2) > 0.7 && sw_calibration_apply(&k, -2) < 0.3);
        sw_calibration_deinit(&k);
    }
}

static void what_cannot_be_fitted(void **state) {
    static const struct {
        const char *part;
        sw_status status;
        enum sw_calibration_input input;
        struct sw_scored items[4];
    } cases[] = {
        {"2 positives and 0 negatives", SW_E_UNPROCESSABLE, SW_CALIBRATION_LOGIT, {{1, true}, {2, true}}},
        {"score 1, nan, is no", SW_E_INVALID_ARGUMENT, SW_CALIBRATION_LOGIT, {{1, true}, {NAN, false}}},
        {"score 0 is infinite", SW_E_UNPROCESSABLE, SW_CALIBRATION_LOGIT, {{INFINITY, true}, {0, false}}},
        {"do not rise", SW_E_UNPROCESSABLE, SW_CALIBRATION_LOGIT, {{-1, true}, {1, false}}},
    };
    struct sw_calibration k;
    struct sw_error err;
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        for (int method = 0; method < SW_CALIBRATION_METHODS; method++) {
            assert_int_equal(
                sw_calibration_fit((enum sw_calibration_method)method, cases[i].input, cases[i].items, 2, &k, &err),
                cases[i].status);
            if (!strstr(err.message, cases[i].part)) {
                fail_msg("%s: '%s'", sw_calibration_method_name((enum sw_calibration_method)method), err.message);
            }
        }
    }
    static const struct sw_scored outside[] = {{0.5, true}, {1.5, false}};
    assert_int_equal(sw_calibration_fit(SW_CALIBRATION_BETA, SW_CALIBRATION_PROBABILITY, outside, 2, &k, &err),
                     SW_E_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "is no probability"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_scores_have_a_closed_form),
        cmocka_unit_test(temperature_of_one_score),
        cmocka_unit_test(fits_are_optima),
        cmocka_unit_test(beta_fixes_a_negative_coefficient_at_zero),
        cmocka_unit_test(isotonic_pools_violators),
        cmocka_unit_test(all_are_monotone),
        cmocka_unit_test(a_probability_rounded_past_one_counts_as_one),
        cmocka_unit_test(classes_that_do_not_overlap),
        cmocka_unit_test(what_cannot_be_fitted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
