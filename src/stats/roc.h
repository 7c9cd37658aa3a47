/* Scores with their truth, and the ROC curve: what a threshold at each score would give.
 *
 * A higher score speaks for the positive class; a threshold t calls positive what scores t or more. Scores are numbers,
 * infinities included; a NaN is SW_E_INVALID_ARGUMENT naming its place. */
#ifndef SW_STATS_ROC_H
#define SW_STATS_ROC_H

#include <stdbool.h>

#include "base/error.h"

struct sw_scored {
    double score;
    bool positive; /* the truth */
};

struct sw_confusion {
    uint64_t true_positives, false_positives, true_negatives, false_negatives;
};

struct sw_roc_point {
    double threshold; /* INFINITY for the first, where nothing is called positive */
    uint64_t false_positives, true_positives;
};

/* From (0, 0) to (negatives, positives), thresholds falling, one point a distinct score. Points inside a straight run
 * (only true or only false positives were added on both sides) are left out. */
struct sw_roc {
    struct sw_roc_point *points; /* owned */
    size_t count;
    uint64_t positives, negatives;
    double auc; /* share of pairs of a positive and a negative in which the positive scores more, ties counted half
                   (Mann-Whitney); NaN when a class is missing */
};

SW_MUST_CHECK sw_status sw_roc_make(const struct sw_scored *items, size_t count, struct sw_roc *ret,
                                    struct sw_error *err);
void sw_roc_deinit(struct sw_roc *roc);

struct sw_confusion sw_confusion_at(const struct sw_scored *items, size_t count, double threshold);

/* A copy sorted by score, rising, on the heap (sw_free); NULL: out of memory. */
struct sw_scored *sw_scored_sorted(const struct sw_scored *items, size_t count);

#endif
