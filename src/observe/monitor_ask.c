/* What clients ask of the monitor, and tell it; see monitor.h. */
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "observe/monitor_internal.h"

enum { AHEAD_MAX_MS = 60 * 1000 }; /* how far a client's clock may be ahead */

/* ---- metrics that clients log */

static sw_status check(const struct sw_logged *point, size_t index, uint64_t now_ms, struct sw_error *err) {
    if (!(fabs(point->value) <= SW_HISTORY_VALUE_MAX)) { /* NaN too */
        return sw_fail(err, SW_E_UNPROCESSABLE, "metrics[%zu]: the value of '%s' must be a number from -2^63 to 2^63",
                       index, point->name);
    }
    uint64_t time_ms = point->time_ms;
    if (time_ms && (time_ms > now_ms + AHEAD_MAX_MS || time_ms + SW_HISTORY_MS <= now_ms)) {
        return sw_fail(err, SW_E_UNPROCESSABLE,
                       "metrics[%zu]: the timestamp of '%s' is %s: the last seven days are kept", index, point->name,
                       time_ms > now_ms ? "in the future" : "too old");
    }
    return SW_OK;
}

static sw_status log_all(struct sw_monitor *monitor, const struct sw_logged *points, size_t count,
                         struct sw_track **tracks, struct sw_error *err) {
    uint64_t now_ms = sw_monitor_now_ms(monitor);
    for (size_t i = 0; i < count; i++) {
        SW_TRY(check(&points[i], i, now_ms, err));
    }
    for (size_t i = 0; i < count; i++) {
        tracks[i] = sw_history_track(&monitor->history, points[i].name, points[i].labels, points[i].label_count, true,
                                     err);
        if (!tracks[i]) { /* those that were made for nothing go with the next expiry */
            return sw_error_prefix(err, "metrics[%zu]", i);
        }
    }
    for (size_t i = 0; i < count; i++) {
        sw_history_add(&monitor->history, tracks[i], now_ms, points[i].time_ms ? points[i].time_ms : now_ms,
                       points[i].value);
    }
    return SW_OK;
}

sw_status sw_monitor_log(struct sw_monitor *monitor, const struct sw_logged *points, size_t count,
                         struct sw_error *err) {
    struct sw_track *tracks[SW_MONITOR_LOG_MAX];
    SW_ASSERT(count <= SW_MONITOR_LOG_MAX);
    pthread_mutex_lock(&monitor->lock);
    sw_status status = log_all(monitor, points, count, tracks, err);
    pthread_mutex_unlock(&monitor->lock);
    return status;
}

/* ---- statistics */

sw_status sw_monitor_query(struct sw_monitor *monitor, const struct sw_query *query, struct sw_summary *ret_steps,
                           struct sw_summary *ret_total, size_t *ret_tracks, uint64_t *ret_since_ms,
                           struct sw_error *err) {
    pthread_mutex_lock(&monitor->lock);
    sw_monitor_collect(monitor);
    sw_status status = sw_history_query(&monitor->history, query, ret_steps, ret_total, ret_tracks, err);
    *ret_since_ms = monitor->history.oldest_ms;
    pthread_mutex_unlock(&monitor->lock);
    return status;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

json_t *sw_monitor_metric_names(struct sw_monitor *monitor) {
    json_t *list = json_array();
    pthread_mutex_lock(&monitor->lock);
    size_t count = 0;
    const char **names = sw_xcalloc(monitor->history.track_count + 1, sizeof *names);
    for (const struct sw_track *track = monitor->history.tracks; track; track = track->next) {
        names[count++] = track->metric;
    }
    qsort(names, count, sizeof *names, by_text);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || strcmp(names[i], names[i - 1]) != 0) {
            json_array_append_new(list, json_string(names[i]));
        }
    }
    pthread_mutex_unlock(&monitor->lock);
    sw_free(names);
    return list;
}

/* ---- alerts */

/* From the store, after what changed is written there, so that the answer is up to the moment. */
static sw_status list_stored(struct sw_monitor *monitor, const struct sw_alert_filter *filter, json_t *ret,
                             struct sw_error *err) {
    pthread_mutex_lock(&monitor->keep_lock);
    sw_status status = sw_monitor_keep_alerts(monitor, err);
    pthread_mutex_unlock(&monitor->keep_lock);
    return status ? status : sw_alerts_select(monitor->store, filter, ret, err);
}

sw_status sw_monitor_alerts(struct sw_monitor *monitor, const struct sw_alert_filter *filter, json_t **ret,
                            struct sw_error *err) {
    json_auto_t *list = json_array();
    struct sw_error away = {0};
    bool wants_pending = filter->has_state && filter->state == SW_ALERT_PENDING; /* which are in memory only */
    bool is_stored = monitor->store && !wants_pending;
    if (!is_stored || list_stored(monitor, filter, list, &away)) {
        json_array_clear(list);
        pthread_mutex_lock(&monitor->lock);
        sw_alerts_list(&monitor->alerts, filter, list);
        pthread_mutex_unlock(&monitor->lock);
    }
    json_t *answer = json_object();
    if (!answer || json_object_set(answer, "alerts", list)) {
        json_decref(answer);
        return sw_fail(err, SW_E_UNAVAILABLE, "no memory for the answer");
    }
    json_object_set_new(answer, "complete", json_boolean(!away.code));
    json_object_set_new(answer, "reason", away.code ? json_string(away.message) : json_null());
    *ret = answer;
    return SW_OK;
}

/* A copy of what the store may not have yet. */
static struct sw_alert *copy_unsaved(struct sw_monitor *monitor, const char *id) {
    pthread_mutex_lock(&monitor->lock);
    const struct sw_alert *alert = sw_alerts_find(&monitor->alerts, id);
    struct sw_alert *copy = alert && alert->unsaved ? sw_alert_copy(alert) : NULL;
    pthread_mutex_unlock(&monitor->lock);
    return copy;
}

static sw_status acknowledge_stored(struct sw_monitor *monitor, const char *id, const char *by, const char *note,
                                    const struct sw_monitor_actor *actor, uint64_t now_ms, json_t **ret,
                                    struct sw_error *err) {
    struct sw_alert *unsaved = copy_unsaved(monitor, id), *stored;
    sw_status status = sw_alerts_store_acknowledge(monitor->store, unsaved, id, by, note, actor, now_ms, &stored, err);
    sw_alert_destroy(unsaved);
    SW_TRY(status);
    pthread_mutex_lock(&monitor->lock);
    struct sw_alert *own = sw_alerts_find(&monitor->alerts, id);
    if (own) {
        sw_alert_acknowledge(own, by, note, now_ms);
    }
    pthread_mutex_unlock(&monitor->lock);
    *ret = sw_alert_to_json(stored);
    sw_alert_destroy(stored);
    return SW_OK;
}

sw_status sw_monitor_acknowledge(struct sw_monitor *monitor, const char *id, const char *by, const char *note,
                                 const struct sw_monitor_actor *actor, json_t **ret, struct sw_error *err) {
    uint64_t now_ms = sw_monitor_now_ms(monitor);
    sw_status status;
    if (monitor->store) {
        pthread_mutex_lock(&monitor->keep_lock);
        status = acknowledge_stored(monitor, id, by, note, actor, now_ms, ret, err);
        pthread_mutex_unlock(&monitor->keep_lock);
        return status;
    }
    pthread_mutex_lock(&monitor->lock);
    status = sw_alerts_acknowledge(&monitor->alerts, id, by, note, now_ms, err);
    if (!status) {
        *ret = sw_alert_to_json(sw_alerts_find(&monitor->alerts, id));
    }
    pthread_mutex_unlock(&monitor->lock);
    return status;
}

/* With a store it and its audit row are there before anything is told. */
static sw_status test_alert(struct sw_monitor *monitor, enum sw_severity severity, const char *message,
                            const struct sw_monitor_actor *actor, json_t **ret, struct sw_error *err) {
    uint64_t now_ms = sw_monitor_now_ms(monitor);
    struct sw_alert *alert;
    pthread_mutex_lock(&monitor->lock);
    sw_status status = sw_alerts_make_test(&monitor->alerts, severity, message, now_ms, &alert, err);
    pthread_mutex_unlock(&monitor->lock);
    SW_TRY(status);
    status = monitor->store ? sw_alerts_store_test(monitor->store, alert, actor, now_ms, err) : SW_OK;
    if (status) {
        sw_alert_destroy(alert);
        return status;
    }
    pthread_mutex_lock(&monitor->lock);
    sw_alerts_fire_test(&monitor->alerts, alert);
    *ret = sw_alert_to_json(alert);
    pthread_mutex_unlock(&monitor->lock);
    return SW_OK;
}

sw_status sw_monitor_test_alert(struct sw_monitor *monitor, enum sw_severity severity, const char *message,
                                const struct sw_monitor_actor *actor, json_t **ret, struct sw_error *err) {
    pthread_mutex_lock(&monitor->keep_lock); /* also: one at a time, so that no more fire than may */
    sw_status status = test_alert(monitor, severity, message, actor, ret, err);
    pthread_mutex_unlock(&monitor->keep_lock);
    return status;
}

json_t *sw_monitor_rules(struct sw_monitor *monitor) {
    pthread_mutex_lock(&monitor->lock);
    json_t *rules = sw_alerts_rules_to_json(&monitor->alerts);
    pthread_mutex_unlock(&monitor->lock);
    return rules;
}
