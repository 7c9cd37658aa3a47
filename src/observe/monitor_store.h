/* The monitor's tables in the metadata store: points of the history (monitoring_points) and alerts that fired (alerts).
 *
 * Everything here blocks on the database; SW_E_UNAVAILABLE: it is away. A server writes rows of its own instance; it reads
 * alerts of all. */
#ifndef SW_OBSERVE_MONITOR_STORE_H
#define SW_OBSERVE_MONITOR_STORE_H

#include "observe/alerts.h"
#include "store/store.h"

/* ---- points */

/* Writes them over what is there, in one transaction. */
SW_MUST_CHECK sw_status sw_points_save(struct sw_store *store, const char *instance,
                                       const struct sw_saved_points *points, struct sw_error *err);
/* fn for each stored point of this span that began at since_ms or later. It may keep nothing of it. */
SW_MUST_CHECK sw_status sw_points_load(struct sw_store *store, const char *instance, unsigned span_ms,
                                       uint64_t since_ms, void (*fn)(void *arg, const struct sw_saved_point *saved),
                                       void *arg, struct sw_error *err);
/* Deletes points, of every instance, that began before. *ret_deleted may be NULL. */
SW_MUST_CHECK sw_status sw_points_expire(struct sw_store *store, uint64_t fine_before_ms, uint64_t coarse_before_ms,
                                         int64_t *ret_deleted, struct sw_error *err);

/* ---- alerts */

/* Their course; who acknowledged them is left alone. */
SW_MUST_CHECK sw_status sw_alerts_save(struct sw_store *store, struct sw_alert *const *alerts, size_t count,
                                       struct sw_error *err);
/* Those of this instance that fire, or whose end the receiver has not heard of: fn takes each over. */
SW_MUST_CHECK sw_status sw_alerts_load_open(struct sw_store *store, const char *instance,
                                            void (*fn)(void *arg, struct sw_alert *alert), void *arg,
                                            struct sw_error *err);
/* Of every instance, newest first: appended to *ret as schema MonitoringAlert. */
SW_MUST_CHECK sw_status sw_alerts_select(struct sw_store *store, const struct sw_alert_filter *filter, json_t *ret,
                                         struct sw_error *err);
/* Deletes resolved ones that fired before. */
SW_MUST_CHECK sw_status sw_alerts_expire(struct sw_store *store, uint64_t before_ms, struct sw_error *err);

/* Who changes something, for the audit log. */
struct sw_monitor_actor {
    const char *name;
    const char *request_id; /* may be NULL */
};
/* Notes who has seen it, and the audit row, in one transaction. `unsaved`, when not NULL, is written first: the store may
 * not know it yet. SW_E_NOT_FOUND; SW_E_CONFLICT: somebody has already. *ret: as it is now; the caller's. */
SW_MUST_CHECK sw_status sw_alerts_store_acknowledge(struct sw_store *store, const struct sw_alert *unsaved,
                                                    const char *id, const char *by, const char *note,
                                                    const struct sw_monitor_actor *actor, uint64_t now_ms,
                                                    struct sw_alert **ret, struct sw_error *err);
/* The audit row of a test alert, and the alert. */
SW_MUST_CHECK sw_status sw_alerts_store_test(struct sw_store *store, const struct sw_alert *alert,
                                             const struct sw_monitor_actor *actor, uint64_t now_ms,
                                             struct sw_error *err);

#endif
