/* The scheduler's threads: what core.c decides, they do.
 *
 * Each crew has a condition of its own. A worker with nothing to do sleeps; when something will be ready by the passing
 * of time (a batch that waits for more, a deadline), one of the sleepers sets itself an alarm: `alarm_ns`, which the
 * others need not repeat.
 *
 * Invariant: while something is ready and a worker of its crew sleeps, one of them has been woken and has not looked
 * yet. Whoever makes something ready wakes one (submit, the end of a run of a limited flow), and a worker that leaves
 * something behind, ready or in need of an alarm, wakes the next before it goes to work. */
#include "sched/scheduler.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/memory.h"
#include "base/thread.h"
#include "sched/sched_internal.h"

/* The kernel's preference of threads with short work over those with long: about three to one. */
enum { LONG_NICE = 5, EXPIRE_MAX = 64 };
/* Whether the client is still there is asked only of works that waited longer: a client that half-closes its connection
 * looks as if it had gone, and gets its answer as long as there is no crowd. */
#define ASK_AFTER_NS UINT64_C(10000000)
#define NOTE_EVERY_NS UINT64_C(20000000)

struct crew_state {
    pthread_cond_t work;
    unsigned idle;
    uint64_t alarm_ns; /* when a sleeping worker will look by itself; UINT64_MAX: none will */
};

struct worker {
    struct sw_scheduler *scheduler;
    enum crew crew;
    pthread_t thread;
    struct sw_batch_runner runner;
    struct take take;
    struct sw_work *expired[EXPIRE_MAX];
};

struct sw_scheduler {
    struct sw_scheduler_options options;
    pthread_mutex_t lock; /* core, flows, crews, stopping */
    struct core core;
    struct crew_state crews[CREWS];
    bool stopping;
    struct sw_batch_pool *pool;
    struct worker *workers;
    unsigned worker_count;
    _Alignas(SW_CACHE_LINE) _Atomic uint64_t elsewhere_ns; /* of sw_scheduler_note_short; relaxed: a hint */
};

static uint64_t now_ns(const struct sw_scheduler *s) {
    return sw_now_ns(s->options.clock);
}

/* ---- workers */

static void wake(struct sw_scheduler *s, enum crew crew) {
    if (s->crews[crew].idle) {
        pthread_cond_signal(&s->crews[crew].work);
    }
}

static void wake_all(struct sw_scheduler *s) {
    for (size_t i = 0; i < CREWS; i++) {
        pthread_cond_broadcast(&s->crews[i].work);
    }
}

/* Under the lock: the crew that has to be woken so that a sleeper's alarm is set for works to be given up at that time;
 * preferably `own`. CREWS: none. */
static enum crew watch_for(const struct sw_scheduler *s, enum crew own, uint64_t give_up_at) {
    const enum crew second = own == CREW_SHORT ? CREW_LONG : CREW_SHORT;
    const struct crew_state *c = &s->crews[own], *other = &s->crews[second];
    if (give_up_at == UINT64_MAX) {
        return CREWS;
    }
    if (c->idle) {
        return give_up_at < c->alarm_ns ? own : CREWS;
    }
    return other->idle && give_up_at < other->alarm_ns ? second : CREWS;
}

/* Under the lock, until `until` (UINT64_MAX: until woken). */
static void sleep_until(struct sw_scheduler *s, enum crew crew, uint64_t until, uint64_t now) {
    struct crew_state *c = &s->crews[crew];
    c->idle++;
    if (until < c->alarm_ns) {
        struct timespec at;
        c->alarm_ns = until;
        clock_gettime(CLOCK_MONOTONIC, &at); /* the kernel's clock, whatever ours is */
        uint64_t kernel = (uint64_t)at.tv_sec * 1000000000 + (uint64_t)at.tv_nsec + (until > now ? until - now : 0);
        at = (struct timespec){.tv_sec = (time_t)(kernel / 1000000000), .tv_nsec = (long)(kernel % 1000000000)};
        (void)pthread_cond_timedwait(&c->work, &s->lock, &at); /* woken or not: it looks */
        c->alarm_ns = UINT64_MAX;
    } else {
        pthread_cond_wait(&c->work, &s->lock);
    }
    c->idle--;
}

static void give_up(struct sw_work *work) {
    struct sw_error err;
    sw_status code = SW_E_DEADLINE_EXCEEDED;
    if (work->drop == SW_DROP_GONE) {
        code = sw_fail(&err, SW_E_IO, "the client has gone");
    } else if (work->drop == SW_DROP_WAIT) {
        code = sw_fail(&err, SW_E_TOO_MANY_REQUESTS, "waited for %llu ms without its turn coming",
                       (unsigned long long)(work->queue_ns / 1000000));
    } else {
        sw_fail(&err, code, "its turn did not come in time for its deadline");
    }
    work->done(work, code, &err);
    work->send(work);
}

/* Takes out, from works that are about to run, those nobody waits for. */
static size_t drop_gone(struct take *take) {
    size_t kept = 0;
    for (size_t i = 0; i < take->count; i++) {
        struct sw_work *work = take->works[i];
        if (work->is_gone && work->queue_ns >= ASK_AFTER_NS && work->is_gone(work)) {
            work->drop = SW_DROP_GONE;
            give_up(work);
        } else {
            take->works[kept++] = work;
        }
    }
    return kept;
}

/* Not under the lock. */
static void carry_out(struct worker *w) {
    struct sw_scheduler *s = w->scheduler;
    struct take *take = &w->take;
    uint64_t start = now_ns(s);
    size_t count = drop_gone(take);
    if (count && take->is_task) {
        take->works[0]->task(take->works[0]);
    } else if (count) {
        sw_batch_run(&w->runner, take->works, count);
    }
    uint64_t end = now_ns(s);
    pthread_mutex_lock(&s->lock);
    struct sw_flow *flow = take->queue->flow;
    core_finish(&s->core, take, end, end - start, take->count - count);
    if (flow->settings.concurrency) { /* it may have been what others waited for */
        wake(s, CREW_SHORT);
        wake(s, CREW_LONG);
    }
    pthread_mutex_unlock(&s->lock);
}

/* A worker, for its flow: learns, and tells the owner. */
static void on_run(void *arg, const struct sw_batch_report *report) {
    struct worker *w = arg;
    struct sw_scheduler *s = w->scheduler;
    struct sw_flow *flow = w->take.queue->flow;
    pthread_mutex_lock(&s->lock);
    if (report->status == SW_OK) {
        sw_profile_observe(&flow->settings.profile, report->units, report->run_ns);
    }
    if (report->unsplittable) {
        struct sw_plan *plan = &flow->settings.plan;
        plan->mode = SW_RUN_SINGLE;
        plan->max_batch = plan->enough = 1;
        snprintf(plan->reason, sizeof plan->reason, "an output of a batch had not one row for each of its rows");
    }
    pthread_mutex_unlock(&s->lock);
    if (s->options.on_run) {
        s->options.on_run(flow->owner, report);
    }
}

/* true: *w got something to do. false: time to end. */
static bool next(struct worker *w, size_t *ret_expired) {
    struct sw_scheduler *s = w->scheduler;
    bool found = false;
    *ret_expired = 0;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        uint64_t now = now_ns(s), at = UINT64_MAX, give_up_at = core_next_give_up(&s->core);
        bool more = false;
        if (give_up_at <= now) {
            *ret_expired = core_expire(&s->core, now, w->expired, EXPIRE_MAX);
            if (*ret_expired) {
                found = true;
                wake(s, w->crew); /* this one has to answer them first */
                if (s->stopping) {
                    wake_all(s); /* there may be nothing left to sleep for */
                }
                break;
            }
            continue; /* whose time it was has been taken before */
        }
        core_note_short(&s->core, atomic_load_explicit(&s->elsewhere_ns, memory_order_relaxed));
        found = core_take(&s->core, w->crew, s->crews[w->crew].idle, now, &w->take, &at, &more);
        if (found) {
            enum crew watch = watch_for(s, w->crew, give_up_at);
            if (more || at < s->crews[w->crew].alarm_ns || watch == w->crew) {
                wake(s, w->crew);
            } else if (watch != CREWS) {
                wake(s, watch);
            }
            break;
        }
        if (s->stopping && s->core.crews[w->crew].count == 0) {
            wake_all(s); /* those who slept when there still was something */
            break;
        }
        sleep_until(s, w->crew, give_up_at < at ? give_up_at : at, now);
    }
    pthread_mutex_unlock(&s->lock);
    return found;
}

static void *work(void *arg) {
    struct worker *w = arg;
    size_t expired;
    while (next(w, &expired)) {
        for (size_t i = 0; i < expired; i++) {
            give_up(w->expired[i]);
        }
        if (!expired) {
            carry_out(w);
        }
    }
    sw_batch_runner_deinit(&w->runner);
    return NULL;
}

/* ---- life */

static sw_status start_workers(struct sw_scheduler *s, struct sw_error *err) {
    static const struct {
        const char *name;
        int nice;
    } crews[CREWS] = {[CREW_SHORT] = {"sw-worker", 0}, [CREW_LONG] = {"sw-long", LONG_NICE}};
    for (unsigned crew = 0; crew < CREWS; crew++) {
        for (unsigned i = 0; i < s->options.workers; i++) {
            struct worker *w = &s->workers[s->worker_count];
            char name[24];
            snprintf(name, sizeof name, "%s-%u", crews[crew].name, i);
            w->scheduler = s;
            w->crew = crew;
            w->runner = (struct sw_batch_runner){
                .pool = s->pool, .clock = s->options.clock, .report = on_run, .arg = w};
            SW_TRY(sw_thread_start(&w->thread, name, crews[crew].nice, work, w, err));
            s->worker_count++;
        }
    }
    return SW_OK;
}

sw_status sw_scheduler_create(const struct sw_scheduler_options *options, struct sw_scheduler **ret,
                              struct sw_error *err) {
    if (options->workers < 1 || options->workers > SW_SCHEDULER_WORKERS_MAX) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "worker threads: %u is not between 1 and %d", options->workers,
                       SW_SCHEDULER_WORKERS_MAX);
    }
    struct sw_scheduler *s = sw_aligned_alloc(SW_CACHE_LINE, sizeof *s);
    if (!s) {
        return sw_fail(err, SW_E_UNAVAILABLE, "no memory for the scheduler");
    }
    memset((void *)s, 0, sizeof *s);
    s->options = *options;
    s->pool = sw_batch_pool_create();
    s->workers = sw_xcalloc((size_t)options->workers * CREWS, sizeof *s->workers);
    core_init(&s->core, options->workers, options->slow_ns);
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    for (size_t i = 0; i < CREWS; i++) {
        pthread_cond_init(&s->crews[i].work, &monotonic);
        s->crews[i].alarm_ns = UINT64_MAX;
    }
    pthread_condattr_destroy(&monotonic);
    sw_status status = start_workers(s, err);
    if (status) {
        sw_scheduler_destroy(s);
        return status;
    }
    *ret = s;
    return SW_OK;
}

void sw_scheduler_stop(struct sw_scheduler *s) {
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    for (size_t i = 0; i < CREWS; i++) {
        pthread_cond_broadcast(&s->crews[i].work);
    }
    pthread_mutex_unlock(&s->lock);
    for (unsigned i = 0; i < s->worker_count; i++) {
        int rc = pthread_join(s->workers[i].thread, NULL);
        SW_ASSERT(rc == 0);
    }
    s->worker_count = 0;
}

void sw_scheduler_destroy(struct sw_scheduler *s) {
    if (!s) {
        return;
    }
    sw_scheduler_stop(s);
    SW_ASSERT(s->core.waiting == 0);
    core_deinit(&s->core);
    sw_batch_pool_destroy(s->pool);
    for (size_t i = 0; i < CREWS; i++) {
        pthread_cond_destroy(&s->crews[i].work);
    }
    pthread_mutex_destroy(&s->lock);
    sw_free(s->workers);
    sw_free(s);
}

/* Written once in a while, so that the line stays shared by all threads that read it. */
void sw_scheduler_note_short(struct sw_scheduler *s, uint64_t now_ns) {
    uint64_t last = atomic_load_explicit(&s->elsewhere_ns, memory_order_relaxed);
    if (now_ns - last > NOTE_EVERY_NS && now_ns > last) {
        atomic_store_explicit(&s->elsewhere_ns, now_ns, memory_order_relaxed);
    }
}

size_t sw_scheduler_waiting(struct sw_scheduler *s) {
    pthread_mutex_lock(&s->lock);
    size_t waiting = s->core.waiting;
    pthread_mutex_unlock(&s->lock);
    return waiting;
}

/* ---- flows */

struct sw_flow *sw_flow_create(struct sw_scheduler *s, const struct sw_flow_settings *settings, void *owner) {
    struct sw_flow *flow = SW_NEW(struct sw_flow);
    flow_init(flow, &s->core, settings, owner);
    flow->scheduler = s;
    pthread_mutex_lock(&s->lock);
    core_add(&s->core);
    pthread_mutex_unlock(&s->lock);
    return flow;
}

void sw_flow_configure(struct sw_flow *flow, const struct sw_flow_settings *settings) {
    struct sw_scheduler *s = flow->scheduler;
    pthread_mutex_lock(&s->lock);
    flow_set(flow, settings);
    for (size_t i = 0; i < CREWS; i++) { /* what was not ready may be now */
        pthread_cond_broadcast(&s->crews[i].work);
    }
    pthread_mutex_unlock(&s->lock);
}

void sw_flow_destroy(struct sw_flow *flow) {
    if (!flow) {
        return;
    }
    struct sw_scheduler *s = flow->scheduler;
    pthread_mutex_lock(&s->lock);
    core_remove(&s->core, flow);
    pthread_mutex_unlock(&s->lock);
    sw_free(flow);
}

/* Under the lock, after a push: which crew has to look; CREWS: none. */
static enum crew wake_for(const struct sw_scheduler *s, const struct queue *queue, enum crew crew, uint64_t now) {
    const struct crew_state *c = &s->crews[crew];
    if (c->idle) {
        uint64_t at = queue_ready_at(queue, now, c->idle);
        if (at <= now || at < c->alarm_ns) {
            return crew;
        }
    }
    return watch_for(s, crew, queue->give_up_ns);
}

sw_status sw_flow_submit(struct sw_flow *flow, struct sw_work *work, struct sw_refusal *ret, struct sw_error *err) {
    struct sw_scheduler *s = flow->scheduler;
    SW_ASSERT(work->done && work->send && (work->task || work->session) && (unsigned)work->priority < SW_PRIORITIES);
    if (work->task) {
        work->rows = work->units = work->bytes = 0;
    }
    *ret = (struct sw_refusal){.retry_after_s = 1};
    pthread_mutex_lock(&s->lock);
    uint64_t now = now_ns(s);
    enum crew crew = flow_crew(flow, work);
    sw_status status = s->stopping ? sw_fail(err, SW_E_UNAVAILABLE, "the server is shutting down") : SW_OK;
    if (!status && !work->returning) {
        status = flow_admit(flow, crew, work->deadline_ns, now, ret, err);
    }
    if (!status) {
        core_push(&s->core, &flow->queues[crew], work, now);
        enum crew woken = wake_for(s, &flow->queues[crew], crew, now);
        if (woken != CREWS) { /* under the lock: afterwards the work may be done and everything gone */
            pthread_cond_signal(&s->crews[woken].work);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return status;
}

sw_status sw_flow_admit(struct sw_flow *flow, uint64_t deadline_ns, struct sw_refusal *ret, struct sw_error *err) {
    struct sw_scheduler *s = flow->scheduler;
    const struct sw_work typical = {.units = 1};
    *ret = (struct sw_refusal){.retry_after_s = 1};
    pthread_mutex_lock(&s->lock);
    sw_status status = flow_admit(flow, flow_crew(flow, &typical), deadline_ns, now_ns(s), ret, err);
    pthread_mutex_unlock(&s->lock);
    return status;
}

void sw_flow_look(struct sw_flow *flow, struct sw_flow_state *ret) {
    struct sw_scheduler *s = flow->scheduler;
    *ret = (struct sw_flow_state){0};
    pthread_mutex_lock(&s->lock);
    uint64_t now = now_ns(s);
    for (size_t i = 0; i < CREWS; i++) {
        uint64_t oldest = queue_oldest_ns(&flow->queues[i]);
        ret->waiting += flow->queues[i].waiting;
        ret->oldest_ns = oldest && now - oldest > ret->oldest_ns ? now - oldest : ret->oldest_ns;
    }
    ret->running = flow->running;
    ret->settings = flow->settings;
    memcpy(ret->dropped, flow->dropped, sizeof ret->dropped);
    pthread_mutex_unlock(&s->lock);
}
