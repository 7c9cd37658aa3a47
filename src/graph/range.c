#include "graph/range.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

static const double BOUND_MIN = 0x1p-100; /* smaller values are as good as 0 */

void sw_range_init(struct sw_range *range, bool histogram) {
    *range = (struct sw_range){0};
    if (histogram) {
        range->bins = sw_xcalloc(SW_RANGE_BINS, sizeof *range->bins);
    }
}

void sw_range_deinit(struct sw_range *range) {
    sw_free(range->bins);
    range->bins = NULL;
}

/* Bins twice as wide: two neighbours become one, and both halves move towards the middle. */
static void widen(struct sw_range *range) {
    const size_t n = SW_RANGE_BINS, quarter = n / 4, half = n / 2;
    uint64_t *bins = range->bins;
    for (size_t i = 0; i < quarter; i++) { /* outwards from the middle, so that nothing is read after it was written */
        bins[half + i] = bins[half + 2 * i] + bins[half + 2 * i + 1];
        bins[half - 1 - i] = bins[half - 1 - 2 * i] + bins[half - 2 - 2 * i];
    }
    memset(bins, 0, quarter * sizeof *bins);
    memset(bins + half + quarter, 0, quarter * sizeof *bins);
    range->bound *= 2;
}

/* Makes [-bound, bound) hold the value. */
static void reach(struct sw_range *range, double magnitude) {
    if (range->bound == 0) {
        int exponent;
        frexp(magnitude > BOUND_MIN ? magnitude : BOUND_MIN, &exponent); /* magnitude < 2^exponent */
        range->bound = ldexp(1, exponent);
    }
    while (magnitude >= range->bound) {
        widen(range);
    }
}

bool sw_range_add(struct sw_range *range, const float *values, size_t count) {
    float low = INFINITY, high = -INFINITY;
    bool finite = true;
    for (size_t i = 0; i < count; i++) {
        finite = finite && isfinite(values[i]);
        low = values[i] < low ? values[i] : low;
        high = values[i] > high ? values[i] : high;
    }
    if (!finite || count == 0) {
        return finite;
    }
    range->min = range->count == 0 || low < range->min ? low : range->min;
    range->max = range->count == 0 || high > range->max ? high : range->max;
    range->count += count;
    if (range->bins) {
        reach(range, fmax(fabs((double)low), fabs((double)high)));
        const double per_unit = SW_RANGE_BINS / 2.0 / range->bound; /* a power of two: the product is exact */
        for (size_t i = 0; i < count; i++) {
            range->bins[(size_t)((int64_t)floor((double)values[i] * per_unit) + SW_RANGE_BINS / 2)]++;
        }
    }
    return true;
}

void sw_range_percentile(const struct sw_range *range, double percentile, double *ret_low, double *ret_high) {
    SW_ASSERT(range->count > 0);
    *ret_low = range->min;
    *ret_high = range->max;
    if (!range->bins || percentile >= 100) {
        return;
    }
    uint64_t cut = (uint64_t)floor((double)range->count * (100 - percentile) / 200), sum = 0;
    double width = range->bound * 2 / SW_RANGE_BINS;
    size_t low = 0, high = SW_RANGE_BINS - 1;
    for (; sum + range->bins[low] <= cut; low++) {
        sum += range->bins[low];
    }
    for (sum = 0; sum + range->bins[high] <= cut; high--) {
        sum += range->bins[high];
    }
    *ret_low = fmax(range->min, -range->bound + (double)low * width);
    *ret_high = fmin(range->max, -range->bound + (double)(high + 1) * width);
}
