/* What applying and fitting share. */
#ifndef SW_STATS_CALIBRATION_INTERNAL_H
#define SW_STATS_CALIBRATION_INTERNAL_H

#include "stats/calibration.h"

/* The logit of the score, which is no NaN; a probability outside [0, 1] counts as the nearer end. */
double sw_calibration_logit(enum sw_calibration_input input, double score);

double sw_softplus(double v); /* ln(1 + e^v) */

#endif
