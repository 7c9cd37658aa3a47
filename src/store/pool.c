/* Connections of a store: at most pool_max, made when needed, kept while they work; and what is known of the
 * database's health.
 *
 * A failure to connect, or a connection that breaks, takes health down. While it is down, callers are refused at once
 * with the reason; one of them tries again when the back-off has run out, which doubles with each failure and is
 * spread by chance (from half of it to all), so that replicas do not all come back in one moment. The first success
 * migrates, since the database may be another one now (restored, upgraded, failed over), and takes health up. */
#include "store/migrations_internal.h"
#include "store/store_internal.h"

#include "base/hash.h"

/* With the mutex held: health goes down; the next attempt comes after the back-off. */
static void back_off(struct sw_store *store, const struct sw_error *failure) {
    struct sw_health *health = &store->health;
    uint64_t max_ms = store->options.backoff_max_ms;
    uint64_t delay_ms = health->delay_ms ? health->delay_ms * 2 : store->options.backoff_min_ms;
    health->delay_ms = delay_ms > max_ms ? max_ms : delay_ms;
    uint64_t half_ns = health->delay_ms * 500000u;
    health->next_try_ns = sw_now_ns(store->options.clock) + half_ns + (half_ns ? sw_random_u64() % half_ns : 0);
    health->up = false;
    health->reason = *failure;
}

/* With the mutex held. */
static void set_up(struct sw_store *store) {
    store->health.up = true;
    store->health.delay_ms = 0;
    store->health.next_try_ns = 0;
}

void sw_store_note(struct sw_store *store, const struct sw_error *failure) {
    pthread_mutex_lock(&store->mutex);
    if (!failure) {
        set_up(store);
    } else if (store->health.up) {
        store->health.up = false; /* one attempt to reconnect is free */
        store->health.reason = *failure;
    }
    pthread_mutex_unlock(&store->mutex);
}

sw_status sw_store_health(struct sw_store *store, struct sw_error *err) {
    pthread_mutex_lock(&store->mutex);
    bool up = store->health.up;
    struct sw_error reason = store->health.reason;
    pthread_mutex_unlock(&store->mutex);
    return up ? SW_OK : sw_fail(err, SW_E_UNAVAILABLE, "%s", reason.message);
}

/* May this thread try to connect now? When the database is known to be away: only one at a time, and after the
 * back-off. While the first attempt after a break is under way its outcome is waited for: mostly it is a short one,
 * and good. */
static sw_status may_connect(struct sw_store *store, bool *ret_probe, struct sw_error *err) {
    struct sw_health *health = &store->health;
    uint64_t deadline_ns = sw_deadline_ns(store->options.connect_timeout_ms);
    pthread_mutex_lock(&store->mutex);
    bool in_time = true;
    while (!health->up && health->trying && health->delay_ms == 0 && in_time) {
        in_time = sw_cond_wait_until(&store->probed, &store->mutex, deadline_ns);
    }
    bool refused = !health->up && (health->trying || sw_now_ns(store->options.clock) < health->next_try_ns);
    *ret_probe = !health->up && !refused;
    health->trying = health->trying || *ret_probe;
    struct sw_error reason = health->reason;
    pthread_mutex_unlock(&store->mutex);
    return refused ? sw_fail(err, SW_E_UNAVAILABLE, "%s (trying again soon)", reason.message) : SW_OK;
}

sw_status sw_store_connect(struct sw_store *store, struct sw_conn **ret, struct sw_error *err) {
    bool probe;
    SW_TRY(may_connect(store, &probe, err));
    struct sw_error failure;
    struct sw_conn *conn = NULL;
    sw_status status = store->driver->connect(store, &conn, &failure);
    if (!status && probe) {
        status = sw_migrate(conn, &failure);
        if (status) {
            store->driver->close(conn);
        }
    }
    pthread_mutex_lock(&store->mutex);
    if (probe) {
        store->health.trying = false;
    }
    if (status) {
        back_off(store, &failure);
    } else {
        set_up(store);
        atomic_store(&store->reached, true);
    }
    pthread_mutex_unlock(&store->mutex);
    pthread_cond_broadcast(&store->probed);
    if (status) {
        return sw_fail(err, status, "%s", failure.message);
    }
    *ret = conn;
    return SW_OK;
}

/* With the mutex held: an idle connection, or room for a new one; waits for either. */
static bool find_place(struct sw_store *store, struct sw_conn **ret_idle) {
    uint64_t deadline_ns = sw_deadline_ns(store->options.pool_wait_ms);
    bool in_time = store->options.pool_wait_ms > 0;
    for (;;) {
        if (store->idle_count) {
            *ret_idle = store->idle[--store->idle_count];
            return true;
        }
        if (store->open_count < store->options.pool_max) {
            store->open_count++;
            *ret_idle = NULL;
            return true;
        }
        if (!in_time) {
            return false;
        }
        in_time = sw_cond_wait_until(&store->freed, &store->mutex, deadline_ns);
    }
}

static void give_place_back(struct sw_store *store) {
    pthread_mutex_lock(&store->mutex);
    SW_ASSERT(store->open_count > 0);
    store->open_count--;
    pthread_mutex_unlock(&store->mutex);
    pthread_cond_signal(&store->freed);
}

sw_status sw_pool_take(struct sw_store *store, bool *ret_fresh, struct sw_conn **ret, struct sw_error *err) {
    struct sw_conn *idle = NULL;
    pthread_mutex_lock(&store->mutex);
    bool found = find_place(store, &idle);
    pthread_mutex_unlock(&store->mutex);
    if (!found) {
        return sw_fail(err, SW_E_UNAVAILABLE, "all %u connections to %s are in use", store->options.pool_max,
                       store->place);
    }
    *ret_fresh = !idle;
    if (idle) {
        *ret = idle;
        return SW_OK;
    }
    sw_status status = sw_store_connect(store, ret, err);
    if (status) {
        give_place_back(store);
    }
    return status;
}

void sw_pool_give(struct sw_store *store, struct sw_conn *conn) {
    if (conn->broken) {
        store->driver->close(conn);
        give_place_back(store);
        return;
    }
    pthread_mutex_lock(&store->mutex);
    store->idle[store->idle_count++] = conn;
    pthread_mutex_unlock(&store->mutex);
    pthread_cond_signal(&store->freed);
}

void sw_pool_drain(struct sw_store *store) {
    struct sw_conn *idle[SW_STORE_POOL_MAX];
    pthread_mutex_lock(&store->mutex);
    unsigned count = store->idle_count;
    for (unsigned i = 0; i < count; i++) {
        idle[i] = store->idle[i];
    }
    store->idle_count = 0;
    store->open_count -= count;
    pthread_mutex_unlock(&store->mutex);
    pthread_cond_broadcast(&store->freed);
    for (unsigned i = 0; i < count; i++) {
        store->driver->close(idle[i]);
    }
}
