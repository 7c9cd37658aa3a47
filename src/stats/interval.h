/* Confidence intervals of a proportion: k of n. Both are two-sided: (1 - confidence) / 2 on each side. */
#ifndef SW_STATS_INTERVAL_H
#define SW_STATS_INTERVAL_H

#include <stdint.h>

struct sw_interval {
    double low, high; /* 0 <= low <= k / n <= high <= 1 */
};

enum sw_interval_method {
    SW_INTERVAL_WILSON, /* inverts the score test; covers `confidence` on average (E. B. Wilson, "Probable inference, the
                           law of succession, and statistical inference", 1927) */
    SW_INTERVAL_EXACT /* inverts the binomial test; never covers less (C. Clopper, E. Pearson, "The use of confidence or
                           fiducial limits illustrated in the case of the binomial", 1934) */
};

/* k <= n; 0 < confidence < 1. n 0: nothing is known, [0, 1]. */
struct sw_interval sw_interval_proportion(enum sw_interval_method method, uint64_t k, uint64_t n, double confidence);

#endif
