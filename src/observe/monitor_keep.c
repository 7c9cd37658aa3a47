/* The monitor and the store: read once after the start, written as things change; see monitor.h.
 *
 * Reading comes first: a point that is written replaces the one that is there, so it must hold what was there. Until the
 * store could be read nothing is written; what happens meanwhile is in memory and is added to what is read then. */
#include <math.h>

#include "base/log.h"
#include "base/memory.h"
#include "observe/monitor_internal.h"

enum { BATCH_POINTS = 500, RETRY_MS = 10 * 1000 };

static uint64_t earlier(uint64_t now_ms, uint64_t by_ms) {
    return now_ms > by_ms ? now_ms - by_ms : 0;
}

/* ---- reading */

struct collected {
    struct sw_saved_points points;
    bool is_whole;
};

static void collect_point(void *arg, const struct sw_saved_point *saved) {
    struct collected *c = arg;
    c->is_whole = c->is_whole && sw_saved_points_add(&c->points, saved);
}

/* All of a span or nothing, so that it can be read again: reading twice would count twice. */
static sw_status read_span(struct sw_monitor *monitor, unsigned span_ms, uint64_t since_ms, struct collected *ret,
                           struct sw_error *err) {
    *ret = (struct collected){.is_whole = true};
    sw_status status = sw_points_load(monitor->store, monitor->instance, span_ms, since_ms, collect_point, ret, err);
    if (!status && !ret->is_whole) {
        status = sw_fail(err, SW_E_UNAVAILABLE, "no memory for what the store has");
    }
    return status;
}

static void restore_points(struct sw_monitor *monitor, const struct sw_saved_points *points, uint64_t now_ms) {
    for (size_t i = 0; i < points->count; i++) {
        sw_history_restore(&monitor->history, &points->items[i], now_ms);
    }
}

static sw_status read_points(struct sw_monitor *monitor, struct sw_error *err) {
    uint64_t now_ms = sw_monitor_now_ms(monitor);
    uint64_t fine_ms = earlier(now_ms, (uint64_t)SW_FINE_POINTS * SW_FINE_MS);
    uint64_t coarse_ms = earlier(now_ms, SW_HISTORY_MS);
    struct collected fine, coarse = {0};
    sw_status status = read_span(monitor, SW_FINE_MS, fine_ms, &fine, err);
    status = status ? status : read_span(monitor, SW_COARSE_MS, coarse_ms, &coarse, err);
    if (!status) {
        pthread_mutex_lock(&monitor->lock);
        restore_points(monitor, &fine.points, now_ms);
        restore_points(monitor, &coarse.points, now_ms);
        pthread_mutex_unlock(&monitor->lock);
    }
    sw_saved_points_deinit(&fine.points);
    sw_saved_points_deinit(&coarse.points);
    return status;
}

/* Under the lock. Who was not told before the end is told now, or, without a receiver, never. */
static void resume_delivery(struct sw_monitor *monitor, struct sw_alert *alert) {
    char dropped[SW_ALERT_ID_MAX];
    if (alert->delivery != SW_DELIVERY_WAITING) {
        return;
    }
    if (monitor->notify) {
        sw_notify_push(monitor->notify, alert,
                       dropped); /* one that had to go is of a queue that was full: it is known */
    } else {
        alert->delivery = SW_DELIVERY_NONE;
        alert->unsaved = true;
    }
}

static void restore_alert(void *arg, struct sw_alert *alert) {
    struct sw_monitor *monitor = arg;
    pthread_mutex_lock(&monitor->lock);
    if (sw_alerts_find(&monitor->alerts, alert->id)) {
        sw_alert_destroy(alert);
    } else {
        resume_delivery(monitor, alert);
        sw_alerts_restore(&monitor->alerts, alert, sw_monitor_now_ms(monitor));
    }
    pthread_mutex_unlock(&monitor->lock);
}

/* ---- alerts */

struct changes {
    struct sw_alert **copies;
    size_t count;
};

static struct changes take_changes(struct sw_monitor *monitor) {
    struct changes c = {0};
    pthread_mutex_lock(&monitor->lock);
    for (size_t i = 0; i < monitor->alerts.count; i++) {
        c.count += monitor->alerts.list[i]->unsaved;
    }
    c.copies = sw_xcalloc(c.count + 1, sizeof *c.copies);
    c.count = 0;
    for (size_t i = 0; i < monitor->alerts.count; i++) {
        struct sw_alert *alert = monitor->alerts.list[i];
        if (alert->unsaved) {
            c.copies[c.count++] = sw_alert_copy(alert);
            alert->unsaved = false;
        }
    }
    pthread_mutex_unlock(&monitor->lock);
    return c;
}

static void drop_changes(struct sw_monitor *monitor, struct changes *c, bool are_saved) {
    pthread_mutex_lock(&monitor->lock);
    for (size_t i = 0; i < c->count; i++) {
        struct sw_alert *alert = are_saved ? NULL : sw_alerts_find(&monitor->alerts, c->copies[i]->id);
        if (alert) {
            alert->unsaved = true;
        }
        sw_alert_destroy(c->copies[i]);
    }
    pthread_mutex_unlock(&monitor->lock);
    sw_free(c->copies);
}

sw_status sw_monitor_keep_alerts(struct sw_monitor *monitor, struct sw_error *err) {
    if (!monitor->has_alerts) {
        SW_TRY(sw_alerts_load_open(monitor->store, monitor->instance, restore_alert, monitor, err));
        monitor->has_alerts = true;
    }
    struct changes c = take_changes(monitor);
    sw_status status = sw_alerts_save(monitor->store, c.copies, c.count, err);
    drop_changes(monitor, &c, status == SW_OK);
    return status;
}

/* ---- points */

static sw_status write_points(struct sw_monitor *monitor, struct sw_error *err) {
    struct sw_saved_points points;
    sw_status status;
    size_t count;
    do {
        pthread_mutex_lock(&monitor->lock);
        sw_history_take_changed(&monitor->history, BATCH_POINTS, &points);
        pthread_mutex_unlock(&monitor->lock);
        status = sw_points_save(monitor->store, monitor->instance, &points, err);
        if (status) {
            pthread_mutex_lock(&monitor->lock);
            sw_history_put_back(&monitor->history, &points);
            pthread_mutex_unlock(&monitor->lock);
        }
        count = points.count;
        sw_saved_points_deinit(&points);
    } while (!status && count == BATCH_POINTS);
    return status;
}

static sw_status keep_points(struct sw_monitor *monitor, struct sw_error *err) {
    if (!monitor->has_points) {
        SW_TRY(read_points(monitor, err));
        monitor->has_points = true;
    }
    pthread_mutex_lock(&monitor->lock);
    sw_monitor_collect(monitor);
    pthread_mutex_unlock(&monitor->lock);
    return write_points(monitor, err);
}

static sw_status delete_old(struct sw_monitor *monitor, uint64_t now_ms, struct sw_error *err) {
    SW_TRY(sw_points_expire(monitor->store, earlier(now_ms, (uint64_t)SW_FINE_POINTS * SW_FINE_MS),
                            earlier(now_ms, monitor->options.keep_points_ms), NULL, err));
    return sw_alerts_expire(monitor->store, earlier(now_ms, monitor->options.keep_alerts_ms), err);
}

/* ---- all of it */

static bool is_due(uint64_t at_ms, uint64_t now_ms, uint64_t most_ms) {
    return now_ms >= at_ms || at_ms > now_ms + most_ms; /* the wall clock may have been set back */
}

static void keep(struct sw_monitor *monitor, uint64_t now_ms, bool all) {
    struct sw_error err; /* of the database, whose health readiness tells: this is tried again */
    if (sw_monitor_keep_alerts(monitor, &err)) {
        return;
    }
    if (all || is_due(monitor->points_at_ms, now_ms, SW_MONITOR_KEEP_MS)) {
        sw_status status = keep_points(monitor, &err);
        monitor->points_at_ms = now_ms + (status ? RETRY_MS : SW_MONITOR_KEEP_MS);
    }
    if (is_due(monitor->expire_at_ms, now_ms, SW_MONITOR_EXPIRE_MS)) {
        sw_status status = delete_old(monitor, now_ms, &err);
        monitor->expire_at_ms = now_ms + (status ? RETRY_MS : SW_MONITOR_EXPIRE_MS);
    }
}

void sw_monitor_keep(struct sw_monitor *monitor, bool all) {
    if (monitor->store) {
        pthread_mutex_lock(&monitor->keep_lock);
        keep(monitor, sw_monitor_now_ms(monitor), all);
        pthread_mutex_unlock(&monitor->keep_lock);
    }
}
