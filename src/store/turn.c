/* Who may write next in this process: a lock that is handed over in the order of asking, with a time limit.
 *
 * A pthread mutex lets whoever runs take it again and again; a writer in a loop would starve the others. Here the one
 * that gives the turn names its successor. Invariant: the queue is empty unless the turn is taken. */
#include "store/store_internal.h"

#include <errno.h>

struct sw_turn_waiter {
    pthread_cond_t called;
    bool has_turn;
    struct sw_turn_waiter *next;
};

uint64_t sw_deadline_ns(uint64_t wait_ms) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    return wait_ms > UINT64_MAX / 4000000u ? UINT64_MAX / 4 : ns + wait_ms * 1000000u;
}

void sw_cond_init_monotonic(pthread_cond_t *cond) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

bool sw_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t deadline_ns) {
    struct timespec until = {.tv_sec = (time_t)(deadline_ns / 1000000000u),
                             .tv_nsec = (long)(deadline_ns % 1000000000u)};
    return pthread_cond_timedwait(cond, mutex, &until) != ETIMEDOUT;
}

void sw_turn_init(struct sw_turn *turn) {
    *turn = (struct sw_turn){0};
    pthread_mutex_init(&turn->mutex, NULL);
}

void sw_turn_deinit(struct sw_turn *turn) {
    SW_ASSERT(!turn->taken && !turn->first);
    pthread_mutex_destroy(&turn->mutex);
}

static void leave_queue(struct sw_turn *turn, struct sw_turn_waiter *waiter) {
    struct sw_turn_waiter **at = &turn->first, *before = NULL;
    while (*at != waiter) {
        before = *at;
        at = &(*at)->next;
    }
    *at = waiter->next;
    if (turn->last == waiter) {
        turn->last = before;
    }
}

static void join_queue(struct sw_turn *turn, struct sw_turn_waiter *waiter) {
    if (turn->last) {
        turn->last->next = waiter;
    } else {
        turn->first = waiter;
    }
    turn->last = waiter;
}

bool sw_turn_take(struct sw_turn *turn, uint64_t wait_ms) {
    pthread_mutex_lock(&turn->mutex);
    if (!turn->taken) {
        turn->taken = true;
        pthread_mutex_unlock(&turn->mutex);
        return true;
    }
    struct sw_turn_waiter waiter = {.has_turn = false};
    sw_cond_init_monotonic(&waiter.called);
    join_queue(turn, &waiter);
    uint64_t deadline_ns = sw_deadline_ns(wait_ms);
    bool in_time = true;
    while (!waiter.has_turn && in_time) {
        in_time = sw_cond_wait_until(&waiter.called, &turn->mutex, deadline_ns);
    }
    if (!waiter.has_turn) {
        leave_queue(turn, &waiter);
    }
    pthread_mutex_unlock(&turn->mutex);
    pthread_cond_destroy(&waiter.called);
    return waiter.has_turn;
}

void sw_turn_give(struct sw_turn *turn) {
    pthread_mutex_lock(&turn->mutex);
    SW_ASSERT(turn->taken);
    struct sw_turn_waiter *next = turn->first;
    if (next) {
        leave_queue(turn, next);
        next->has_turn = true;
        pthread_cond_signal(&next->called); /* under the mutex: the waiter's memory is its stack */
    } else {
        turn->taken = false;
    }
    pthread_mutex_unlock(&turn->mutex);
}
