/* Metrics: counters, gauges and histograms in per-thread shards, merged when scraped.
 *
 * Families are declared in spec/metrics.toml with their type, labels, help and buckets; a series is one combination of
 * label values, found or made under a lock (never on the request path: callers keep the pointer) and then updated with
 * plain stores to the calling thread's own cache line. Series live as long as the registry. At most
 * SW_SERIES_MAX series a family; more are merged into one with every label "overflow", so that labels stay bounded. */
#ifndef SW_OBSERVE_METRICS_H
#define SW_OBSERVE_METRICS_H

#include "base/buf.h"
#include "base/error.h"
#include "spec/metrics.h" /* enum sw_metric: SW_METRIC_HTTP_REQUESTS_TOTAL, ... */

enum { SW_SERIES_MAX = 4096 }; /* SW_METRIC_LABELS_MAX: spec/metrics.h */

struct sw_metrics;
struct sw_series;

struct sw_metrics *sw_metrics_create(void);
void sw_metrics_destroy(struct sw_metrics *metrics);

/* labels: one value per label of the family, in its order. Never NULL. */
struct sw_series *sw_metrics_series(struct sw_metrics *metrics, enum sw_metric metric, const char *const *labels);

void sw_series_add(struct sw_series *series, uint64_t n);         /* counter */
void sw_series_set(struct sw_series *series, double value);       /* gauge or sampled counter; last writer wins */
void sw_series_observe_ns(struct sw_series *series, uint64_t ns); /* histogram in seconds */
void sw_series_observe(struct sw_series *series, uint64_t n);     /* histogram of another unit; n up to 10^9 */
void sw_series_reset(struct sw_series *series);                   /* of something gone: not shown until set */
/* The same for every series of a gauge or sampled counter, for a callback that then sets those that are there. */
void sw_metrics_reset(struct sw_metrics *metrics, enum sw_metric metric);

uint64_t sw_series_total(const struct sw_series *series); /* counter's sum, or a histogram's count */

/* Gauges that are read at scrape time: fn is called for each scrape and sets series. */
void sw_metrics_on_scrape(struct sw_metrics *metrics, void (*fn)(void *arg, struct sw_metrics *metrics), void *arg);

/* The process_* families: memory, descriptors, processor time. Once per registry, at start-up. */
void sw_metrics_add_process(struct sw_metrics *metrics);

/* Prometheus text format 0.0.4. Appends; check out->failed (its maximum was too small, or memory ran out). One scrape
 * at a time; callbacks run on the calling thread, without the lock of sw_metrics_series. */
void sw_metrics_write(struct sw_metrics *metrics, struct sw_buf *out);

#endif
