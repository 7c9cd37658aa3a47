/* Among flows: fair shares by virtual time. See scheduler.h and sched_internal.h. */
#include "base/memory.h"
#include "sched/sched_internal.h"

#define LOAD_WINDOW_NS UINT64_C(20000000)
/* So long after the last short run, one worker's worth of processor is left to short ones. */
#define SHORT_MEMORY_NS UINT64_C(100000000)

void core_init(struct core *core, unsigned workers, uint64_t slow_ns) {
    *core = (struct core){.workers = workers, .slow_ns = slow_ns};
}

void core_deinit(struct core *core) {
    SW_ASSERT(core->flow_count == 0);
    for (size_t i = 0; i < CREWS; i++) {
        sw_free(core->crews[i].active);
    }
}

void core_add(struct core *core) {
    core->flow_count++;
    for (size_t i = 0; i < CREWS; i++) {
        core->crews[i].active = sw_xrealloc(core->crews[i].active, core->flow_count * sizeof(struct queue *));
    }
}

void core_remove(struct core *core, const struct sw_flow *flow) {
    SW_ASSERT(flow->running == 0);
    for (size_t i = 0; i < CREWS; i++) {
        SW_ASSERT(flow->queues[i].waiting == 0 && flow->queues[i].index == SIZE_MAX);
    }
    core->flow_count--;
}

static enum crew crew_of(const struct queue *queue) {
    return (enum crew)(queue - queue->flow->queues);
}

/* A queue that slept does not get the time it did not ask for: it starts where the one served last stands. */
static void enter(struct core *core, struct queue *queue) {
    enum crew crew = crew_of(queue);
    queue->index = core->crews[crew].count;
    core->crews[crew].active[core->crews[crew].count++] = queue;
    if (queue->running_works == 0 && queue->virtual_ns < core->crews[crew].virtual_ns) {
        queue->virtual_ns = core->crews[crew].virtual_ns;
    }
}

static void leave(struct core *core, struct queue *queue) {
    enum crew crew = crew_of(queue);
    struct queue *last = core->crews[crew].active[--core->crews[crew].count];
    core->crews[crew].active[queue->index] = last;
    last->index = queue->index;
    queue->index = SIZE_MAX;
}

void core_push(struct core *core, struct queue *queue, struct sw_work *work, uint64_t now) {
    queue_push(queue, work, now);
    core->waiting++;
    if (queue->index == SIZE_MAX) {
        enter(core, queue);
    }
}

static void charge(struct queue *queue, double ns) {
    queue->virtual_ns += ns / queue->flow->settings.weight;
}

/* What it is expected to cost is charged now, so that the next worker looks elsewhere. */
static void give(struct core *core, struct queue *queue, uint64_t now, unsigned free, struct take *ret) {
    double *virtual_ns = &core->crews[crew_of(queue)].virtual_ns;
    *virtual_ns = queue->virtual_ns > *virtual_ns ? queue->virtual_ns : *virtual_ns;
    queue_take(queue, now, free, ret);
    core->waiting -= ret->count;
    core->crews[crew_of(queue)].running++;
    if (crew_of(queue) == CREW_SHORT) {
        core_note_short(core, now);
    }
    queue->flow->running += !ret->is_task;
    queue->running_works += ret->count;
    charge(queue, (double)ret->expected_ns);
    if (queue->waiting == 0) {
        leave(core, queue);
    }
}

void core_note_short(struct core *core, uint64_t now) {
    core->short_ns = now > core->short_ns ? now : core->short_ns;
}

/* When long work may be given: not while it has all workers but one, and there was short work a moment ago. */
static uint64_t allowed_at(const struct core *core, enum crew crew, uint64_t now) {
    unsigned most = core->workers > 1 ? core->workers - 1 : 1;
    bool waits = crew == CREW_LONG && core->short_ns && core->crews[crew].running >= most;
    return waits ? core->short_ns + SHORT_MEMORY_NS : now;
}

bool core_take(struct core *core, enum crew crew, unsigned idle, uint64_t now, struct take *ret, uint64_t *ret_at,
               bool *ret_more) {
    unsigned ready = 0;
    struct queue *best = NULL;
    const uint64_t allowed = allowed_at(core, crew, now);
    *ret_at = UINT64_MAX;
    *ret_more = false;
    ret->queue = NULL;
    if (allowed > now) {
        *ret_at = core->crews[crew].count ? allowed : UINT64_MAX;
        return false;
    }
    for (size_t i = 0; i < core->crews[crew].count; i++) {
        struct queue *queue = core->crews[crew].active[i];
        uint64_t at = queue_ready_at(queue, now, idle + 1);
        if (at > now) {
            *ret_at = at < *ret_at ? at : *ret_at;
            continue;
        }
        ready++;
        if (!best || queue->virtual_ns < best->virtual_ns) {
            best = queue;
        }
    }
    *ret_more = ready > 1;
    if (best) {
        give(core, best, now, idle + 1, ret);
        uint64_t at = queue_ready_at(best, now, idle ? idle : 1); /* what it has left */
        *ret_more |= at <= now;
        *ret_at = at > now && at < *ret_at ? at : *ret_at;
    }
    return best != NULL;
}

/* Part of their time in which the crew's workers are busy, window by window. */
static void note_load(struct core *core, enum crew crew, uint64_t now, uint64_t took_ns) {
    const uint64_t elapsed = now - core->crews[crew].since_ns;
    core->crews[crew].busy_ns += took_ns;
    if (elapsed >= LOAD_WINDOW_NS) {
        double load = (double)core->crews[crew].busy_ns / ((double)elapsed * core->workers);
        core->crews[crew].load = load < 1 ? load : 1;
        core->crews[crew].busy_ns = 0;
        core->crews[crew].since_ns = now;
    }
}

void core_finish(struct core *core, const struct take *take, uint64_t now, uint64_t took_ns, size_t gone) {
    struct queue *queue = take->queue;
    core->crews[crew_of(queue)].running--;
    queue->flow->running -= !take->is_task;
    queue->running_works -= take->count;
    queue->freed_ns = now;
    queue->flow->dropped[SW_DROP_GONE] += gone;
    charge(queue, (double)took_ns - (double)take->expected_ns);
    note_load(core, crew_of(queue), now, took_ns);
    if (now > take->due_ns) {
        flow_came_late(queue->flow, now);
    }
}

size_t core_expire(struct core *core, uint64_t now, struct sw_work **ret, size_t room) {
    size_t count = 0;
    for (size_t crew = 0; crew < CREWS; crew++) {
        for (size_t i = core->crews[crew].count; i > 0 && count < room; i--) { /* backwards: leaving moves the last */
            struct queue *queue = core->crews[crew].active[i - 1];
            if (queue->give_up_ns <= now) {
                count += queue_expire(queue, now, ret + count, room - count);
                if (queue->waiting == 0) {
                    leave(core, queue);
                }
            }
        }
    }
    core->waiting -= count;
    return count;
}

uint64_t core_next_give_up(const struct core *core) {
    uint64_t earliest = UINT64_MAX;
    for (size_t crew = 0; crew < CREWS; crew++) {
        for (size_t i = 0; i < core->crews[crew].count; i++) {
            uint64_t at = core->crews[crew].active[i]->give_up_ns;
            earliest = at < earliest ? at : earliest;
        }
    }
    return earliest;
}
