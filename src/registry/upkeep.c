/* The thread of upkeep; see upkeep.h. */
#include "registry/upkeep.h"

#include <errno.h>
#include <time.h>

#include "base/memory.h"
#include "base/thread.h"
#include "store/partitions.h"

enum { DAY_MS = 24 * 3600 * 1000, PARTITIONS_RETRY_MS = 60000, NICE = 10 };

struct sw_upkeep {
    struct sw_upkeep_options options;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t stop_changed;
    bool stop;
};

/* ---- steps */

static void probe(const struct sw_upkeep_options *options, struct sw_upkeep_state *state, uint64_t now_ns) {
    struct sw_error err; /* kept by the artifact store itself: sw_artifacts_health */
    sw_status status = sw_artifacts_probe(options->artifacts, &err);
    uint64_t pause_ms = status ? SW_UPKEEP_RETRY_MS : SW_UPKEEP_PROBE_MS;
    state->probe_at_ns = now_ns + pause_ms * 1000000u;
}

static sw_status renew_partitions(const struct sw_upkeep_options *options, uint64_t now_ms) {
    struct sw_error err; /* of the database: sw_store_health tells, this is tried again */
    SW_TRY(sw_partitions_ensure(options->store, now_ms, SW_UPKEEP_DAYS_AHEAD, NULL, &err));
    if (options->keep_predictions_ms && options->keep_predictions_ms < now_ms) {
        SW_TRY(sw_partitions_expire(options->store, now_ms - options->keep_predictions_ms, NULL, NULL, &err));
    }
    return SW_OK;
}

/* Shortly after midnight (UTC) of the next day; soon when it failed. */
static void partitions(const struct sw_upkeep_options *options, struct sw_upkeep_state *state, uint64_t now_ms) {
    state->partitions_at_ms = renew_partitions(options, now_ms) ? now_ms + PARTITIONS_RETRY_MS
                                                                : (now_ms / DAY_MS + 1) * DAY_MS;
}

uint64_t sw_upkeep_step(const struct sw_upkeep_options *options, struct sw_upkeep_state *state) {
    uint64_t now_ns = sw_now_ns(options->clock), now_ms = options->clock->wall_ms(options->clock);
    /* An operation of somebody else may have met the outage since the last probe: then it is time to look for its end. */
    bool away = sw_artifacts_health(options->artifacts, NULL) != SW_OK;
    if (away && state->probe_at_ns > now_ns + SW_UPKEEP_RETRY_MS * UINT64_C(1000000)) {
        state->probe_at_ns = now_ns;
    }
    if (now_ns >= state->probe_at_ns) {
        probe(options, state, now_ns);
    }
    if (now_ms >= state->partitions_at_ms) {
        partitions(options, state, now_ms);
    }
    if (options->also) {
        options->also(options->also_arg);
    }
    return SW_UPKEEP_RETRY_MS;
}

/* ---- the thread */

static bool wait_ms(struct sw_upkeep *upkeep, uint64_t ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&upkeep->lock);
    while (!upkeep->stop && pthread_cond_timedwait(&upkeep->stop_changed, &upkeep->lock, &until) != ETIMEDOUT) {
    }
    bool stop = upkeep->stop;
    pthread_mutex_unlock(&upkeep->lock);
    return !stop;
}

static void *run(void *arg) {
    struct sw_upkeep *upkeep = arg;
    struct sw_upkeep_state state = {0};
    uint64_t pause_ms;
    do {
        pause_ms = sw_upkeep_step(&upkeep->options, &state);
    } while (wait_ms(upkeep, pause_ms));
    return NULL;
}

sw_status sw_upkeep_start(const struct sw_upkeep_options *options, struct sw_upkeep **ret, struct sw_error *err) {
    struct sw_upkeep *upkeep = SW_NEW(struct sw_upkeep);
    upkeep->options = *options;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&upkeep->stop_changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&upkeep->lock, NULL);
    sw_status status = sw_thread_start(&upkeep->thread, "sw-upkeep", NICE, run, upkeep, err);
    if (status) {
        pthread_cond_destroy(&upkeep->stop_changed);
        pthread_mutex_destroy(&upkeep->lock);
        sw_free(upkeep);
        return status;
    }
    *ret = upkeep;
    return SW_OK;
}

void sw_upkeep_stop(struct sw_upkeep *upkeep) {
    if (!upkeep) {
        return;
    }
    pthread_mutex_lock(&upkeep->lock);
    upkeep->stop = true;
    pthread_cond_signal(&upkeep->stop_changed);
    pthread_mutex_unlock(&upkeep->lock);
    int rc = pthread_join(upkeep->thread, NULL);
    SW_ASSERT(rc == 0);
    pthread_cond_destroy(&upkeep->stop_changed);
    pthread_mutex_destroy(&upkeep->lock);
    sw_free(upkeep);
}
