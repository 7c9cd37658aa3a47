/* Log-linear histogram; see histogram.h. */
#include "base/histogram.h"

#include <math.h>

enum { SUB = 1 << SW_HISTOGRAM_BITS };

void sw_histogram_clear(struct sw_histogram *histogram) {
    memset(histogram, 0, sizeof *histogram);
}

static size_t bucket_of(uint64_t value) {
    if (value < SUB) {
        return (size_t)value;
    }
    unsigned shift = 63 - (unsigned)__builtin_clzll(value) - SW_HISTOGRAM_BITS;
    return ((size_t)shift << SW_HISTOGRAM_BITS) + (size_t)(value >> shift); /* value >> shift: SUB .. 2 * SUB - 1 */
}

void sw_histogram_bucket(size_t index, uint64_t *ret_low, uint64_t *ret_width) {
    SW_ASSERT(index < SW_HISTOGRAM_BUCKETS);
    unsigned shift = index < SUB ? 0 : (unsigned)(index >> SW_HISTOGRAM_BITS) - 1;
    *ret_low = (uint64_t)(index - ((size_t)shift << SW_HISTOGRAM_BITS)) << shift;
    *ret_width = (uint64_t)1 << shift;
}

void sw_histogram_record(struct sw_histogram *h, uint64_t value) {
    h->buckets[bucket_of(value)]++;
    h->min = h->count == 0 || value < h->min ? value : h->min;
    h->max = value > h->max ? value : h->max;
    h->count++;
    double distance = (double)value - h->mean;
    h->mean += distance / (double)h->count;
    h->m2 += distance * ((double)value - h->mean);
}

void sw_histogram_merge(struct sw_histogram *into, const struct sw_histogram *from) {
    if (from->count == 0) {
        return;
    }
    double a = (double)into->count, b = (double)from->count, distance = from->mean - into->mean;
    into->mean += distance * b / (a + b);
    into->m2 += from->m2 + distance * distance * a * b / (a + b);
    into->min = into->count == 0 || from->min < into->min ? from->min : into->min;
    into->max = from->max > into->max ? from->max : into->max;
    into->count += from->count;
    for (size_t i = 0; i < SW_HISTOGRAM_BUCKETS; i++) {
        into->buckets[i] += from->buckets[i];
    }
}

double sw_histogram_percentile(const struct sw_histogram *h, double percent) {
    if (h->count == 0) {
        return 0;
    }
    double rank = percent / 100 * (double)h->count, before = 0;
    for (size_t i = 0; i < SW_HISTOGRAM_BUCKETS; i++) {
        double count = (double)h->buckets[i];
        if (count > 0 && before + count >= rank) {
            uint64_t low, width;
            sw_histogram_bucket(i, &low, &width);
            double value = sw_histogram_interpolate((double)low, (double)(width - 1), rank, before, count);
            return fmin(fmax(value, (double)h->min), (double)h->max);
        }
        before += count;
    }
    return (double)h->max;
}

double sw_histogram_deviation(const struct sw_histogram *h) {
    return h->count ? sqrt(h->m2 / (double)h->count) : 0;
}
