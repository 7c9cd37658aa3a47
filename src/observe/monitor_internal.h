/* Insides of the monitor, shared by monitor.c (its life and thread), monitor_keep.c (the store) and monitor_ask.c (what
 * clients do). */
#ifndef SW_OBSERVE_MONITOR_INTERNAL_H
#define SW_OBSERVE_MONITOR_INTERNAL_H

#include <pthread.h>

#include "observe/monitor.h"
#include "observe/resources.h"

struct sw_monitored {
    struct sw_monitored *next;
    char *model, *version;
    struct sw_recorder *recorder;
};

struct sw_monitor {
    struct sw_monitor_options options; /* texts owned */
    char *instance;
    struct sw_notify *notify; /* NULL: nobody is told */
    pthread_t thread;
    bool has_thread;

    pthread_mutex_t lock;
    pthread_cond_t stop_changed;
    bool stop;
    struct sw_history history;
    struct sw_alerts alerts;
    struct sw_monitored *monitored;
    struct {
        uint64_t at_ns; /* monotonic; 0: not yet */
        double cpu_seconds, cpu_percent;
    } sampled;
    uint64_t expired_ms, told_again_ms;

    /* Taken before lock: one writer to the store at a time, so that what is newer is written later. */
    pthread_mutex_t keep_lock;
    struct sw_store *store;              /* NULL: none */
    bool has_points, has_alerts;         /* read from the store, so that writing does not hide what is there */
    uint64_t points_at_ms, expire_at_ms; /* when it is due next; wall clock */
};

static inline uint64_t sw_monitor_now_ms(const struct sw_monitor *monitor) {
    return monitor->options.clock->wall_ms(monitor->options.clock);
}

/* Under the lock: what the recorders have, into the history. */
void sw_monitor_collect(struct sw_monitor *monitor);

/* Under keep_lock: alerts that changed are written. SW_E_UNAVAILABLE: the store is away, or has not been read yet. */
SW_MUST_CHECK sw_status sw_monitor_keep_alerts(struct sw_monitor *monitor, struct sw_error *err);

#endif
