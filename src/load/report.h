/* The result of a load as JSON: docs/load.md describes each member. */
#ifndef SW_LOAD_REPORT_H
#define SW_LOAD_REPORT_H

#include "load/load.h"

/* {"unit": "ns", "count", "min", "max", "buckets": [[low, width, count], ...]}: whole, so that any percentile can be had from
 * it later. A bucket counts the whole numbers low .. low + width - 1. */
json_t *sw_report_histogram(const struct sw_histogram *histogram_ns);
/* {"min", "mean", "std", "p50", "p90", "p95", "p99", "p99.9", "max"} in milliseconds; zeros of an empty one. */
json_t *sw_report_latency(const struct sw_histogram *histogram_ns);

/* settings: what was asked for; consumed. */
json_t *sw_report_load(const struct sw_load_result *result, bool open_loop, json_t *settings);

/* Derived figures, for print and JSON alike. */
double sw_load_throughput(const struct sw_load_result *result); /* successes/s over the measured window */
double sw_load_error_rate(const struct sw_load_result *result); /* failed of all, 0 to 1; 0 without requests */
/* Processor time of the client for one request, in microseconds; 0 without requests. */
double sw_load_cpu_us(const struct sw_load_result *result);

#endif
