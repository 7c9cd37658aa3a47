/* Are the probabilities true? Of those who were given 0.8, 8 of 10 should be positive.
 *
 * The scores here are probabilities; one outside [0, 1], or NaN, is SW_E_INVALID_ARGUMENT naming its place. */
#ifndef SW_STATS_RELIABILITY_H
#define SW_STATS_RELIABILITY_H

#include "stats/roc.h"

enum sw_binning {
    SW_BINS_EQUAL_WIDTH, /* [k / bins, (k + 1) / bins), the last one with 1 */
    SW_BINS_EQUAL_MASS   /* as many in each as possible; equal probabilities share a bin */
};

struct sw_reliability_bin {
    double low, high;      /* equal width: its edges; equal mass: the least and the greatest probability in it */
    double mean_predicted; /* of those in it; 0 when empty */
    uint64_t count, positives;
};

struct sw_reliability {
    struct sw_reliability_bin *bins; /* owned; rising; equal mass: none is empty */
    size_t bin_count;
    double
        expected_error; /* ECE: mean over samples of |mean predicted - share of positives| of their bin (Naeini et al.,
                              "Obtaining well calibrated probabilities using Bayesian binning", 2015) */
    double largest_error; /* MCE: the largest of these differences */
    double brier;         /* mean of (probability - truth)^2 (G. W. Brier, 1950) */
    double log_loss;      /* mean of -ln of the probability given to the truth, probabilities held within
                              [2^-52, 1 - 2^-52] */
};

/* count >= 1, bins 1 to 1000. SW_E_UNAVAILABLE: out of memory. */
SW_MUST_CHECK sw_status sw_reliability_make(const struct sw_scored *items, size_t count, enum sw_binning binning,
                                            size_t bins, struct sw_reliability *ret, struct sw_error *err);
void sw_reliability_deinit(struct sw_reliability *reliability);

#endif
