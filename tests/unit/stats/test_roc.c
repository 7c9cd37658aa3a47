/* The ROC curve, its area, and counts at a threshold, against what counting by hand or by brute force gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>

#include "base/macros.h"
#include "base/memory.h"
#include "stats/roc.h"

static struct sw_roc make(const struct sw_scored *items, size_t count) {
    struct sw_roc roc;
    struct sw_error err;
    if (sw_roc_make(items, count, &roc, &err)) {
        fail_msg("%s", err.message);
    }
    return roc;
}

static void assert_point(const struct sw_roc *roc, size_t at, double threshold, uint64_t fp, uint64_t tp) {
    assert_true(at < roc->count);
    assert_true(roc->points[at].threshold == threshold);
    assert_int_equal(roc->points[at].false_positives, fp);
    assert_int_equal(roc->points[at].true_positives, tp);
}

static void a_small_curve(void **state) {
    /* falling: 0.9+ 0.8- 0.8+ 0.7+ 0.5+ 0.3- 0.2- */
    static const struct sw_scored items[] = {{0.3, false}, {0.8, true}, {0.2, false}, {0.9, true},
                                             {0.8, false}, {0.5, true}, {0.7, true}};
    struct sw_roc roc = make(items, SW_COUNTOF(items));
    assert_int_equal(roc.positives, 4);
    assert_int_equal(roc.negatives, 3);
    assert_int_equal(roc.count, 5); /* the points at 0.7 and 0.3 lie within straight runs */
    assert_point(&roc, 0, INFINITY, 0, 0);
    assert_point(&roc, 1, 0.9, 0, 1);
    assert_point(&roc, 2, 0.8, 1, 2);
    assert_point(&roc, 3, 0.5, 1, 4);
    assert_point(&roc, 4, 0.2, 3, 4);
    /* pairs won: 0.9 beats 3, 0.8 beats 2 and ties 1, 0.7 and 0.5 beat 2 each: 9.5 of 12 */
    assert_true(roc.auc == 9.5 / 12);
    sw_roc_deinit(&roc);
}

static void the_area_is_the_share_of_pairs(void **state) {
    enum { N = 60 };
    struct sw_scored items[N];
    uint64_t seed = 12345;
    for (int round = 0; round < 50; round++) {
        size_t n = 2 + (size_t)round;
        double won = 0, pairs = 0;
        for (size_t i = 0; i < n; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            items[i] = (struct sw_scored){(double)(seed >> 33) / 4294967296.0 * 8, (seed >> 40) % 2};
            items[i].score = floor(items[i].score * 4) + items[i].positive; /* many ties */
        }
        for (size_t i = 0; i < n * n; i++) {
            const struct sw_scored *a = &items[i / n], *b = &items[i % n];
            if (a->positive && !b->positive) {
                won += a->score > b->score ? 1 : a->score == b->score ? 0.5 : 0;
                pairs++;
            }
        }
        struct sw_roc roc = make(items, n);
        assert_true(pairs > 0 ? fabs(roc.auc - won / pairs) < 1e-15 : isnan(roc.auc));
        for (size_t i = 0; i < roc.count; i++) { /* every point is what counting at its threshold gives */
            struct sw_confusion c = sw_confusion_at(items, n, roc.points[i].threshold);
            assert_int_equal(c.true_positives, roc.points[i].true_positives);
            assert_int_equal(c.false_positives, roc.points[i].false_positives);
            assert_int_equal(c.true_positives + c.false_negatives, roc.positives);
            assert_int_equal(c.false_positives + c.true_negatives, roc.negatives);
        }
        sw_roc_deinit(&roc);
    }
}

static void ends(void **state) {
    static const struct sw_scored perfect[] = {{-INFINITY, false}, {1, false}, {2, true}, {INFINITY, true}};
    static const struct sw_scored equal[] = {{1, true}, {1, false}, {1, true}};
    static const struct sw_scored one_class[] = {{1, true}, {2, true}};
    struct sw_roc roc = make(perfect, 4);
    assert_true(roc.auc == 1);
    sw_roc_deinit(&roc);
    roc = make(equal, 3);
    assert_true(roc.auc == 0.5);
    assert_int_equal(roc.count, 2);
    sw_roc_deinit(&roc);
    roc = make(one_class, 2);
    assert_true(isnan(roc.auc));
    sw_roc_deinit(&roc);
    roc = make(NULL, 0);
    assert_true(isnan(roc.auc));
    assert_int_equal(roc.count, 1);
    sw_roc_deinit(&roc);
}

static void nan_is_refused(void **state) {
    static const struct sw_scored items[] = {{1, true}, {NAN, false}};
    struct sw_roc roc;
    struct sw_error err;
    assert_int_equal(sw_roc_make(items, 2, &roc, &err), SW_E_INVALID_ARGUMENT);
    assert_string_equal(err.message, "score 1 is NaN");
}

static void counts_at_a_threshold(void **state) {
    static const struct sw_scored items[] = {{1, true}, {2, false}, {2, true}, {3, true}, {0, false}};
    struct sw_confusion c = sw_confusion_at(items, 5, 2); /* reached, so called positive */
    assert_int_equal(c.true_positives, 2);
    assert_int_equal(c.false_positives, 1);
    assert_int_equal(c.true_negatives, 1);
    assert_int_equal(c.false_negatives, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_curve),  cmocka_unit_test(the_area_is_the_share_of_pairs), cmocka_unit_test(ends),
        cmocka_unit_test(nan_is_refused), cmocka_unit_test(counts_at_a_threshold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
