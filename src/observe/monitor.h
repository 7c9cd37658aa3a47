/* The monitor: what the server knows about itself over time, and the alerts that come of it.
 *
 *   recorders (request path) --+
 *   process, queue             +--> history --> statistics
 *   metrics that clients log --+       |
 *                                      +--> rules --> alerts --> notifications, metrics, log
 *   history, alerts <--> metadata store (where there is one)
 *
 * A thread, sw-monitor, collects every SW_MONITOR_TICK_MS and evaluates the rules. Writing to the store is another's
 * (registry/upkeep.h calls sw_monitor_keep), since a database may be slow and alerts must not wait for it. What is asked
 * is answered from memory, up to the moment.
 *
 * Lock: lock guards history and alerts; held for milliseconds, never over a database, a disk or the network. The notifier's
 * lock is taken under it. The request path takes neither. */
#ifndef SW_OBSERVE_MONITOR_H
#define SW_OBSERVE_MONITOR_H

#include "observe/alerts.h"
#include "observe/metrics.h"
#include "observe/monitor_store.h"
#include "observe/notify.h"
#include "observe/recorder.h"

enum {
    SW_MONITOR_TICK_MS = 10 * 1000,
    SW_MONITOR_KEEP_MS = 60 * 1000,     /* how often points are written to the store */
    SW_MONITOR_EXPIRE_MS = 3600 * 1000, /* how often old ones are deleted there */
    SW_MONITOR_LOG_MAX = 1000,          /* points of one call of sw_monitor_log */
};

struct sw_monitor_options {
    struct sw_clock *clock;
    struct sw_metrics *metrics; /* borrowed; gauges of alerts and limits are set at each scrape */
    const char *instance;       /* names this server among those that share the store */
    const char *external_url;   /* where people reach it */
    size_t memory_max;          /* bytes of history */
    uint64_t memory_limit;      /* bytes the process may use; 0: what its cgroup or the machine says */
    uint64_t keep_points_ms;    /* in the store; minutes are kept for 24 hours in any case */
    uint64_t keep_alerts_ms;
    const char *webhook;       /* NULL: nobody is told */
    const char *webhook_token; /* NULL: none */
    enum sw_notify_format format;
    sw_notify_send *send; /* NULL: sw_notify_http */
    void *send_arg;
    size_t (*queue_depth)(void *arg); /* requests that wait for a worker; NULL: not known */
    void *queue_arg;
};

struct sw_monitor;

/* Takes the rules over, and copies the texts. */
struct sw_monitor *sw_monitor_create(const struct sw_monitor_options *options, struct sw_rules *rules);
/* Its threads. Without this nothing happens by itself: tests call sw_monitor_tick. */
SW_MUST_CHECK sw_status sw_monitor_start(struct sw_monitor *monitor, struct sw_error *err);
/* Ends the threads. Recorders may still be used. NULL is allowed. */
void sw_monitor_stop(struct sw_monitor *monitor);
void sw_monitor_destroy(struct sw_monitor *monitor); /* NULL is allowed */

/* Before start: history and alerts are kept in this store, borrowed until destroy. */
void sw_monitor_attach_store(struct sw_monitor *monitor, struct sw_store *store);

/* Of this model version; the same for the same. Lives as long as the monitor. Not on the request path. */
struct sw_recorder *sw_monitor_recorder(struct sw_monitor *monitor, const char *model, const char *version);

/* Collects, and evaluates the rules. */
void sw_monitor_tick(struct sw_monitor *monitor);

/* Blocks: reads what the store has (once), writes what changed, deletes what is old, each when it is due. `all`: now,
 * whether due or not. Failures are tried again at the next call. */
void sw_monitor_keep(struct sw_monitor *monitor, bool all);

/* ---- what clients do; any thread */

struct sw_logged {
    const char *name; /* sw_metric_name_valid */
    double value;
    uint64_t time_ms; /* 0: now */
    struct sw_label labels[SW_LABELS_MAX];
    size_t label_count;
};
/* All, or none: SW_E_UNPROCESSABLE naming the first that does not fit. count <= SW_MONITOR_LOG_MAX. */
SW_MUST_CHECK sw_status sw_monitor_log(struct sw_monitor *monitor, const struct sw_logged *points, size_t count,
                                       struct sw_error *err);

/* As sw_history_query, after collecting. *ret_since_ms: since when anything is known; 0: nothing is. */
SW_MUST_CHECK sw_status sw_monitor_query(struct sw_monitor *monitor, const struct sw_query *query,
                                         struct sw_summary *ret_steps, struct sw_summary *ret_total, size_t *ret_tracks,
                                         uint64_t *ret_since_ms, struct sw_error *err);
/* Names of metrics that have values: a list of texts, sorted; a new reference. */
json_t *sw_monitor_metric_names(struct sw_monitor *monitor);

/* {"alerts": [MonitoringAlert], "complete", "reason"}; a new reference. From the store, so of all servers that share it;
 * when it is away, those of this one that are in memory, and "complete" is false. Blocks with a store. */
SW_MUST_CHECK sw_status sw_monitor_alerts(struct sw_monitor *monitor, const struct sw_alert_filter *filter,
                                          json_t **ret, struct sw_error *err);
/* Blocks with a store: SW_E_UNAVAILABLE, and nothing is acknowledged, when it is away. *ret: MonitoringAlert. */
SW_MUST_CHECK sw_status sw_monitor_acknowledge(struct sw_monitor *monitor, const char *id, const char *by,
                                               const char *note, const struct sw_monitor_actor *actor, json_t **ret,
                                               struct sw_error *err);
/* An alert that only tests its delivery. The same. */
SW_MUST_CHECK sw_status sw_monitor_test_alert(struct sw_monitor *monitor, enum sw_severity severity,
                                              const char *message, const struct sw_monitor_actor *actor, json_t **ret,
                                              struct sw_error *err);
json_t *sw_monitor_rules(struct sw_monitor *monitor); /* a new reference */

struct sw_monitor_state {
    size_t firing, pending;
    double cpu_percent;    /* of what may be used, in the newest interval; NaN: not known yet */
    uint64_t memory_bytes; /* resident, now */
    double memory_percent; /* of what may be used; NaN: not known */
    size_t queue_depth;
};
void sw_monitor_read_state(struct sw_monitor *monitor, struct sw_monitor_state *ret);

#endif
