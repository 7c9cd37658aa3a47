/* Which part of the number line a tensor's values fill, seen piece by piece.
 *
 * Least and greatest value, and a histogram of RANGE_BINS bins whose width doubles whenever a value lies beyond: bins
 * 2i and 2i + 1 become one. So memory is fixed, nothing has to be known beforehand, and the same values give the same
 * result in whatever pieces they come. The histogram is symmetric around 0, so that 0 is always an edge. */
#ifndef SW_GRAPH_RANGE_H
#define SW_GRAPH_RANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

enum { SW_RANGE_BINS = 8192 };

struct sw_range {
    double min, max; /* of the values so far; count 0: none */
    uint64_t count;
    double bound;   /* the bins cover [-bound, bound); a power of two; 0: no bins yet */
    uint64_t *bins; /* SW_RANGE_BINS; NULL: only min and max are wanted */
};

void sw_range_init(struct sw_range *range, bool histogram);
void sw_range_deinit(struct sw_range *range);

/* false: one of the values is NaN or infinite; then nothing of this piece counts. */
bool sw_range_add(struct sw_range *range, const float *values, size_t count);

/* The narrowest [*ret_low, *ret_high] such that on each side at most (100 - percentile) / 2 percent of the values lie
 * outside, up to the width of a bin, and never wider than least to greatest. percentile 100, or no histogram: least to
 * greatest. percentile: at least 90. At least one value was added. */
void sw_range_percentile(const struct sw_range *range, double percentile, double *ret_low, double *ret_high);

#endif
