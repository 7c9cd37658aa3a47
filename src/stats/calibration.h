/* From a score to a probability that means what it says: fitted on labelled scores that the model was not trained on.
 *
 * Every calibration is monotone: a higher score never gets a lower probability. NaN stays NaN. */
#ifndef SW_STATS_CALIBRATION_H
#define SW_STATS_CALIBRATION_H

#include "stats/roc.h"

enum { SW_CALIBRATION_KNOTS_MAX = 1 << 20 };

enum sw_calibration_method {
    SW_CALIBRATION_PLATT,       /* 1 / (1 + exp(a s + b)), a < 0. J. Platt, "Probabilistic outputs for support vector
                                   machines", 1999 */
    SW_CALIBRATION_TEMPERATURE, /* sigmoid(logit / a), a > 0. Guo et al., "On calibration of modern neural networks",
                                   2017 */
    SW_CALIBRATION_BETA,        /* sigmoid(a ln p - b ln(1 - p) + c), a, b >= 0, not both 0. Kull et al., "Beta
                                   calibration", 2017 */
    SW_CALIBRATION_ISOTONIC,    /* straight lines between knots, level outside */
    SW_CALIBRATION_METHODS
};

/* What the score is. Platt and isotonic take any number; temperature and beta work on the probability of a logit or on
 * the logit of a probability, so they must know. Logits of probabilities are held within [-36.7, 36.7] (2^-53). */
enum sw_calibration_input { SW_CALIBRATION_LOGIT, SW_CALIBRATION_PROBABILITY };

struct sw_calibration {
    enum sw_calibration_method method;
    enum sw_calibration_input input;
    double a, b, c; /* as above; isotonic: unused */
    double *x, *y;  /* isotonic: knots, x rising, y not falling, in [0, 1]; owned */
    size_t count;   /* >= 1 */
};

const char *sw_calibration_method_name(enum sw_calibration_method method); /* "platt", ... */

/* The probability of a score. Infinities give the limit. */
double sw_calibration_apply(const struct sw_calibration *calibration, double score);
void sw_calibration_deinit(struct sw_calibration *calibration);

/* Fits by likelihood. Platt, temperature and beta: Newton's method with backtracking on targets (n+ + 1) / (n+ + 2) and
 * 1 / (n- + 2) instead of 1 and 0, so that classes that do not overlap have a finite answer too (H. Lin, C. Lin,
 * R. Weng, "A note on Platt's probabilistic outputs for support vector machines", 2007). Isotonic: pool adjacent
 * violators (Ayer et al., 1955).
 *
 * SW_E_UNPROCESSABLE when the scores do not allow it: a class is missing, an infinite score, scores that do not rise
 * with the truth. SW_E_INVALID_ARGUMENT: NaN; a probability outside [0, 1] where one is asked for. */
SW_MUST_CHECK sw_status sw_calibration_fit(enum sw_calibration_method method, enum sw_calibration_input input,
                                           const struct sw_scored *items, size_t count, struct sw_calibration *ret,
                                           struct sw_error *err);

#endif
