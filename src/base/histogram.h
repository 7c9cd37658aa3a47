/* Histogram of durations (or any whole numbers) with a bounded relative error, whatever their range.
 *
 * Log-linear buckets, as in G. Tene's HdrHistogram: each power of two is cut into 2^SW_HISTOGRAM_BITS buckets of equal
 * width, and numbers below that are counted exactly. A bucket that begins at `low` is at most low / 128 wide, so a
 * percentile is off by less than 1/128 = 0.79 % of its value. Recording is a shift and an add; memory is fixed (58 KiB);
 * every 64-bit number has a bucket, so nothing is ever cut off.
 *
 *   0 1 2 ... 127 | 128 129 ... 255 | 256 258 ... 510 | 512 516 ... 1020 | ...
 *     width 1     |     width 1     |     width 2     |     width 4      | ...
 *
 * Two histograms merge into what one would have been. Count, smallest and largest are exact; mean and standard deviation
 * are kept by Welford's method, merged by that of Chan, Golub and LeVeque (1979). One owner at a time. */
#ifndef SW_BASE_HISTOGRAM_H
#define SW_BASE_HISTOGRAM_H

#include "base/macros.h"

enum {
    SW_HISTOGRAM_BITS = 7,
    SW_HISTOGRAM_BUCKETS = (64 - SW_HISTOGRAM_BITS + 1) << SW_HISTOGRAM_BITS,
};

/* Zeroed memory is an empty histogram. */
struct sw_histogram {
    uint64_t count;
    uint64_t min, max; /* 0 while empty */
    double mean, m2;   /* m2: sum of squared distances from the mean */
    uint64_t buckets[SW_HISTOGRAM_BUCKETS];
};

void sw_histogram_clear(struct sw_histogram *histogram);
void sw_histogram_record(struct sw_histogram *histogram, uint64_t value);
void sw_histogram_merge(struct sw_histogram *into, const struct sw_histogram *from);

/* The value below or at which `percent` (0 to 100) of the values lie: inside a bucket by linear interpolation, never
 * outside min..max. 0 of an empty histogram. */
double sw_histogram_percentile(const struct sw_histogram *histogram, double percent);
/* Standard deviation of the values as a population. */
double sw_histogram_deviation(const struct sw_histogram *histogram);

/* The values low .. low + width - 1 are counted in bucket `index`. */
void sw_histogram_bucket(size_t index, uint64_t *ret_low, uint64_t *ret_width);

/* The walk of a percentile over buckets that come from anywhere: `rank` values lie before or in the bucket, `before` of
 * them before it, `count` in it. */
static inline double sw_histogram_interpolate(double low, double width, double rank, double before, double count) {
    return low + width * (count > 0 ? (rank - before) / count : 0);
}

#endif
