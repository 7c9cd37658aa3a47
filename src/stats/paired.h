/* Two yes-or-no answers to the same questions: how far apart are their rates?
 *
 * Two models judge the same samples, so their errors go together: an interval for the difference of two independent
 * rates would be far too wide. What counts are the samples on which they differ. */
#ifndef SW_STATS_PAIRED_H
#define SW_STATS_PAIRED_H

#include "stats/interval.h"

struct sw_paired {
    uint64_t both, first_only, second_only, neither; /* said yes */
};

static inline uint64_t sw_paired_total(const struct sw_paired *p) {
    return p->both + p->first_only + p->second_only + p->neither;
}
static inline uint64_t sw_paired_first(const struct sw_paired *p) {
    return p->both + p->first_only;
}
static inline uint64_t sw_paired_second(const struct sw_paired *p) {
    return p->both + p->second_only;
}

/* Rate of the second minus rate of the first, -1 .. 1; NaN of no samples. */
double sw_paired_difference(const struct sw_paired *paired);

/* Interval of that difference; of no samples [-1, 1]. From the Wilson intervals of the two rates and their correlation:
 * R. G. Newcombe, "Improved confidence intervals for the difference between binomial proportions based on paired data",
 * Statistics in Medicine 17 (1998), method 10. */
struct sw_interval sw_interval_paired(const struct sw_paired *paired, double confidence);

#endif
