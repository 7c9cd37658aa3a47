/* See reliability.h. */
#include "stats/reliability.h"

#include <float.h>
#include <math.h>

#include "base/memory.h"

enum { BINS_MAX = 1000 };

static sw_status check_probabilities(const struct sw_scored *items, size_t count, struct sw_error *err) {
    for (size_t i = 0; i < count; i++) {
        if (!(items[i].score >= 0 && items[i].score <= 1)) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "score %zu, %g, is no probability", i, items[i].score);
        }
    }
    return SW_OK;
}

/* mean_predicted holds the sum until finish_bins. */
static void add_to_bin(struct sw_reliability_bin *bin, const struct sw_scored *item) {
    bin->mean_predicted += item->score;
    bin->positives += item->positive;
    bin->count++;
}

static void fill_equal_width(struct sw_reliability *r, const struct sw_scored *items, size_t count, size_t bins) {
    r->bin_count = bins;
    for (size_t k = 0; k < bins; k++) {
        r->bins[k].low = (double)k / (double)bins;
        r->bins[k].high = (double)(k + 1) / (double)bins;
    }
    for (size_t i = 0; i < count; i++) {
        size_t k = (size_t)(items[i].score * (double)bins);
        k = k < bins ? k : bins - 1;
        /* The product may round to the other side of an edge. */
        k -= k > 0 && items[i].score < r->bins[k].low;
        k += k + 1 < bins && items[i].score >= r->bins[k].high;
        add_to_bin(&r->bins[k], &items[i]);
    }
}

/* Bin k ends at (k + 1) / bins of the samples, or behind it where equal probabilities would be parted. */
static void fill_equal_mass(struct sw_reliability *r, const struct sw_scored *sorted, size_t count, size_t bins) {
    for (size_t i = 0, k = 0; i < count && k < bins; k++) {
        size_t end = (size_t)((double)(k + 1) * (double)count / (double)bins + 0.5);
        end = k + 1 == bins || end > count ? count : end;
        if (end <= i) {
            continue; /* an earlier bin has taken its part */
        }
        struct sw_reliability_bin *bin = &r->bins[r->bin_count++];
        bin->low = sorted[i].score;
        for (; i < end || (i < count && sorted[i].score == sorted[i - 1].score); i++) {
            add_to_bin(bin, &sorted[i]);
        }
        bin->high = sorted[i - 1].score;
    }
}

static void finish_bins(struct sw_reliability *r, size_t count) {
    for (size_t k = 0; k < r->bin_count; k++) {
        struct sw_reliability_bin *bin = &r->bins[k];
        if (bin->count == 0) {
            continue;
        }
        double n = (double)bin->count;
        bin->mean_predicted /= n;
        double error = fabs(bin->mean_predicted - (double)bin->positives / n);
        r->expected_error += error * n / (double)count;
        r->largest_error = fmax(r->largest_error, error);
    }
}

static void score_rules(struct sw_reliability *r, const struct sw_scored *items, size_t count) {
    double brier = 0, loss = 0;
    for (size_t i = 0; i < count; i++) {
        double p = items[i].score, miss = p - items[i].positive;
        double given = fmin(fmax(items[i].positive ? p : 1 - p, DBL_EPSILON), 1 - DBL_EPSILON);
        brier += miss * miss;
        loss -= log(given);
    }
    r->brier = brier / (double)count;
    r->log_loss = loss / (double)count;
}

sw_status sw_reliability_make(const struct sw_scored *items, size_t count, enum sw_binning binning, size_t bins,
                              struct sw_reliability *ret, struct sw_error *err) {
    SW_ASSERT(count > 0 && bins > 0 && bins <= BINS_MAX);
    SW_TRY(check_probabilities(items, count, err));
    struct sw_scored *sorted SW_AUTO_FREE = binning == SW_BINS_EQUAL_MASS ? sw_scored_sorted(items, count) : NULL;
    struct sw_reliability r = {.bins = sw_calloc(bins, sizeof *r.bins)};
    if (!r.bins || (binning == SW_BINS_EQUAL_MASS && !sorted)) {
        sw_free(r.bins);
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory for %zu scores", count);
    }
    if (sorted) {
        fill_equal_mass(&r, sorted, count, bins);
    } else {
        fill_equal_width(&r, items, count, bins);
    }
    finish_bins(&r, count);
    score_rules(&r, items, count);
    *ret = r;
    return SW_OK;
}

void sw_reliability_deinit(struct sw_reliability *r) {
    sw_free(r->bins);
    *r = (struct sw_reliability){0};
}
