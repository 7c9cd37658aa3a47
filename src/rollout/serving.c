/* The thread that follows the registry, and what it is asked by others. Its work is in sync.c. */
#include "rollout/serving.h"

#include <time.h>

#include "base/memory.h"
#include "base/thread.h"
#include "rollout/serving_internal.h"

/* Under the lock; returns early when something happened. */
static void wait_for_work(struct sw_serving *serving, uint64_t wait_ns) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + wait_ns % 1000000000;
    until.tv_sec += (time_t)(wait_ns / 1000000000 + ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    int rc = 0;
    while (!serving->woken && !serving->ended && !serving->stopping && rc == 0) {
        rc = pthread_cond_timedwait(&serving->changed, &serving->lock, &until);
    }
}

static void *run(void *arg) {
    struct sw_serving *serving = arg;
    pthread_mutex_lock(&serving->lock);
    while (!serving->stopping) {
        pthread_mutex_unlock(&serving->lock);
        uint64_t wait_ns = serving_step(serving);
        pthread_mutex_lock(&serving->lock);
        wait_for_work(serving, wait_ns);
    }
    pthread_mutex_unlock(&serving->lock);
    return NULL;
}

sw_status sw_serving_start(const struct sw_serving_options *options, struct sw_serving **ret, struct sw_error *err) {
    struct sw_serving *serving = serving_create(options);
    sw_status status = sw_thread_start(&serving->thread, "sw-sync", 0, run, serving, err);
    if (status) {
        serving_unref(serving);
        return status;
    }
    *ret = serving;
    return SW_OK;
}

void sw_serving_stop(struct sw_serving *serving) {
    if (!serving) {
        return;
    }
    pthread_mutex_lock(&serving->lock);
    serving->stopping = true;
    pthread_cond_signal(&serving->changed);
    pthread_mutex_unlock(&serving->lock);
    int rc = pthread_join(serving->thread, NULL);
    SW_ASSERT(rc == 0);
    serving_unref(serving); /* the loader may still hold it, for asks that have not ended */
}

void sw_serving_wake(struct sw_serving *serving) {
    pthread_mutex_lock(&serving->lock);
    serving->woken = true;
    pthread_cond_signal(&serving->changed);
    pthread_mutex_unlock(&serving->lock);
}

/* -1: nothing is followed entirely yet. */
static int64_t followed(struct sw_serving *serving) {
    pthread_mutex_lock(&serving->lock);
    int64_t revision = serving->oldest ? serving->oldest->since : serving->seen;
    pthread_mutex_unlock(&serving->lock);
    return revision;
}

int64_t sw_serving_revision(struct sw_serving *serving) {
    int64_t revision = followed(serving);
    return revision > 0 ? revision : 0;
}

bool sw_serving_ready(struct sw_serving *serving) {
    return followed(serving) >= 0;
}

sw_status sw_serving_health(struct sw_serving *serving, struct sw_error *err) {
    pthread_mutex_lock(&serving->lock);
    sw_status status = serving->health.code;
    if (status && err) {
        *err = serving->health;
    }
    pthread_mutex_unlock(&serving->lock);
    return status;
}
