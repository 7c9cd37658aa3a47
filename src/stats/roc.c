/* See roc.h. */
#include "stats/roc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static int by_score(const void *a, const void *b) {
    double x = ((const struct sw_scored *)a)->score, y = ((const struct sw_scored *)b)->score;
    return (x > y) - (x < y);
}

struct sw_scored *sw_scored_sorted(const struct sw_scored *items, size_t count) {
    struct sw_scored *sorted = sw_calloc(count + 1, sizeof *sorted);
    if (sorted && count) {
        memcpy(sorted, items, count * sizeof *sorted);
        qsort(sorted, count, sizeof *sorted, by_score);
    }
    return sorted;
}

/* Appends a point; the one before it goes when it lies on the straight line between its neighbours. */
static void add_point(struct sw_roc *roc, struct sw_roc_point point) {
    if (roc->count >= 2) {
        const struct sw_roc_point *a = &roc->points[roc->count - 2], *b = &roc->points[roc->count - 1];
        bool vertical = a->false_positives == b->false_positives && b->false_positives == point.false_positives;
        bool level = a->true_positives == b->true_positives && b->true_positives == point.true_positives;
        roc->count -= vertical || level;
    }
    roc->points[roc->count++] = point;
}

/* From the highest score down, ties together. */
static void trace(const struct sw_scored *sorted, size_t count, struct sw_roc *roc) {
    struct sw_roc_point at = {.threshold = INFINITY};
    double pairs = 0; /* in which the positive wins, ties half */
    add_point(roc, at);
    for (size_t i = count; i > 0;) {
        uint64_t positives = 0, negatives = 0;
        double score = sorted[i - 1].score;
        for (; i > 0 && sorted[i - 1].score == score; i--) {
            positives += sorted[i - 1].positive;
            negatives += !sorted[i - 1].positive;
        }
        pairs += (double)negatives * ((double)at.true_positives + (double)positives / 2);
        at.threshold = score;
        at.true_positives += positives;
        at.false_positives += negatives;
        add_point(roc, at);
    }
    roc->positives = at.true_positives;
    roc->negatives = at.false_positives;
    bool both = roc->positives && roc->negatives;
    roc->auc = both ? pairs / ((double)roc->positives * (double)roc->negatives) : NAN;
}

sw_status sw_roc_make(const struct sw_scored *items, size_t count, struct sw_roc *ret, struct sw_error *err) {
    for (size_t i = 0; i < count; i++) {
        if (isnan(items[i].score)) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "score %zu is NaN", i);
        }
    }
    struct sw_scored *sorted SW_AUTO_FREE = sw_scored_sorted(items, count);
    struct sw_roc roc = {.points = sw_calloc(count + 1, sizeof *roc.points)};
    if (!sorted || !roc.points) {
        sw_free(roc.points);
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory for %zu scores", count);
    }
    trace(sorted, count, &roc);
    *ret = roc;
    return SW_OK;
}

void sw_roc_deinit(struct sw_roc *roc) {
    sw_free(roc->points);
    *roc = (struct sw_roc){0};
}

struct sw_confusion sw_confusion_at(const struct sw_scored *items, size_t count, double threshold) {
    struct sw_confusion c = {0};
    for (size_t i = 0; i < count; i++) {
        bool called = items[i].score >= threshold;
        c.true_positives += called && items[i].positive;
        c.false_positives += called && !items[i].positive;
        c.false_negatives += !called && items[i].positive;
        c.true_negatives += !called && !items[i].positive;
    }
    return c;
}
