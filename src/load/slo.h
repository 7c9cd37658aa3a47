/* Does a result of `slipway load` or `slipway bench` keep what was agreed? */
#ifndef SW_LOAD_SLO_H
#define SW_LOAD_SLO_H

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"

enum { SW_SLO_CRITERIA_MAX = 3, SW_SLO_BUCKETS_MAX = 20000 };

struct sw_slo_bucket {
    double low, width, count; /* values low .. low + width - 1, in ns */
};

/* What a result says; zeroed memory may be deinited. */
struct sw_slo_measured {
    double requests, throughput_per_s, error_rate;
    struct sw_slo_bucket *buckets; /* ascending; heap */
    size_t bucket_count;
    double successes; /* values in the buckets */
    double min_ns, max_ns;
};

/* SW_E_INVALID_ARGUMENT names the member that is missing or makes no sense. A result without a single request is
 * refused: nothing follows from it. */
SW_MUST_CHECK sw_status sw_slo_read(const json_t *result, struct sw_slo_measured *ret, struct sw_error *err);
void sw_slo_deinit(struct sw_slo_measured *measured);

/* Latency of the successes in ms at `percent`, as sw_histogram_percentile. With none: infinity. */
double sw_slo_latency_ms(const struct sw_slo_measured *measured, double percent);

/* A limit below 0 is not asked for. */
struct sw_slo_limits {
    double latency_max_ms, throughput_min_per_s, error_rate_max, percent;
};

struct sw_slo_criterion {
    const char *name, *unit;
    double value, limit;
    bool is_minimum; /* value >= limit is wanted, else value <= limit */
    bool passed;
};

/* Returns how many. */
size_t sw_slo_judge(const struct sw_slo_measured *measured, const struct sw_slo_limits *limits,
                    struct sw_slo_criterion ret[SW_SLO_CRITERIA_MAX]);

#endif
