/* Insides of the scheduler: its decisions (core.c, flow.c), without threads, locks or clocks, so that tests turn the
 * time by hand; and the crews that carry them out (scheduler.c).
 *
 * Everything here is called under the scheduler's lock. `now` is monotonic. */
#ifndef SW_SCHED_SCHED_INTERNAL_H
#define SW_SCHED_SCHED_INTERNAL_H

#include "sched/scheduler.h"

enum crew { CREW_SHORT, CREW_LONG, CREWS };

struct work_list {
    struct sw_work *head, *tail;
    size_t count;
};

/* Most works in the system at once, over the last one to two windows of time. */
struct peak {
    uint64_t since_ns;
    size_t now, before;
};

struct core;
struct sw_flow;

/* What waits in a flow for one crew. */
struct queue {
    struct sw_flow *flow;
    struct work_list tasks[SW_PRIORITIES], runs[SW_PRIORITIES];
    size_t waiting;        /* works in all lists */
    uint64_t waiting_rows; /* of runs; one that cannot be joined counts 1 */
    size_t running_works;  /* in the hands of workers */
    unsigned passed_over;  /* takes of high priority in a row while a normal work waited */
    uint64_t give_up_ns;   /* not later than that of any work that waits; UINT64_MAX: none */

    /* Arrivals of runs. */
    uint64_t first_ns; /* of those that wait now: since when a batch has been forming */
    uint64_t last_ns;  /* 0: never */
    uint64_t freed_ns; /* when a take last ended */
    uint64_t gap_ns;   /* smoothed time from one to the next, or from the end of a take */
    struct peak clients;

    /* The pace. */
    uint64_t taken_ns; /* the last take; 0: it has been empty since */
    uint64_t pace_ns;  /* smoothed time a work takes to go when others follow; 0: not known */

    /* Of the core. */
    double virtual_ns;
    size_t index; /* in core->active; SIZE_MAX: not in it */
};

struct sw_flow {
    struct sw_scheduler *scheduler;
    struct core *core;
    void *owner;
    struct sw_flow_settings settings;
    struct queue queues[CREWS];
    unsigned running;    /* runs and batches in the hands of workers; tasks do not count */
    double margin;       /* part of a deadline that may be spent waiting */
    uint64_t lowered_ns; /* when the margin was lowered last */
    uint64_t dropped[SW_DROPS];
};

struct core {
    uint64_t slow_ns;
    unsigned workers;
    size_t flow_count;
    size_t waiting;    /* works in all queues */
    uint64_t short_ns; /* when something short was last begun, here or on an I/O thread */
    struct {
        struct queue **active; /* queues with waiting works; room for all flows */
        size_t count;
        double virtual_ns;          /* of the queue served last: where one that wakes up starts */
        unsigned running;           /* takes in the hands of its workers */
        uint64_t busy_ns, since_ns; /* of all its workers, in the present window of time */
        double load;                /* part of the last window in which they were busy: 0 to 1 */
    } crews[CREWS];
};

/* What a worker got to do. */
struct take {
    struct queue *queue; /* NULL: nothing */
    bool is_task;
    size_t count;
    uint64_t expected_ns; /* charged already */
    uint64_t due_ns;      /* the earliest of its works; UINT64_MAX: none */
    struct sw_work *works[SW_BATCH_REQUESTS_MAX];
};

/* ---- flow.c: one flow */

void flow_init(struct sw_flow *flow, struct core *core, const struct sw_flow_settings *settings, void *owner);
void flow_set(struct sw_flow *flow, const struct sw_flow_settings *settings);
uint64_t flow_run_ns(const struct sw_flow *flow, uint64_t units); /* expected; 0: not known */
enum crew flow_crew(const struct sw_flow *flow, const struct sw_work *work);
/* SW_OK, or why a work of that deadline (0: none) is not let in; counted. */
sw_status flow_admit(struct sw_flow *flow, enum crew crew, uint64_t deadline_ns, uint64_t now, struct sw_refusal *ret,
                     struct sw_error *err);
/* An admitted work came too late: the next ones are let in more carefully. */
void flow_came_late(struct sw_flow *flow, uint64_t now);
void queue_push(struct queue *queue, struct sw_work *work, uint64_t now);
/* When it has something for a worker: at most now: at once; UINT64_MAX: not by the passing of time alone. free: workers
 * that could take it, the asking one included. */
uint64_t queue_ready_at(const struct queue *queue, uint64_t now, unsigned free);
/* Fills in what it gives; it is ready. */
void queue_take(struct queue *queue, uint64_t now, unsigned free, struct take *ret);
/* Takes out works whose time is over, at most `room`, with `drop` saying why; returns their number. */
size_t queue_expire(struct queue *queue, uint64_t now, struct sw_work **ret, size_t room);
uint64_t queue_oldest_ns(const struct queue *queue); /* when the one that waits longest was queued; 0: none */

/* ---- core.c: among flows */

void core_init(struct core *core, unsigned workers, uint64_t slow_ns);
void core_deinit(struct core *core);
void core_add(struct core *core); /* a flow: room for it */
void core_remove(struct core *core, const struct sw_flow *flow);
void core_push(struct core *core, struct queue *queue, struct sw_work *work, uint64_t now);
/* The next work of this crew, which has `idle` other workers that sleep. true: *ret. *ret_more: there is more that is
 * ready now. *ret_at: when something else will be, by the passing of time; UINT64_MAX: nothing. */
bool core_take(struct core *core, enum crew crew, unsigned idle, uint64_t now, struct take *ret, uint64_t *ret_at,
               bool *ret_more);
/* It ended and took that long; `gone` of its works were given up because their clients had gone. */
void core_finish(struct core *core, const struct take *take, uint64_t now, uint64_t took_ns, size_t gone);
/* Something short ran elsewhere. */
void core_note_short(struct core *core, uint64_t now);
size_t core_expire(struct core *core, uint64_t now, struct sw_work **ret, size_t room);
uint64_t core_next_give_up(const struct core *core);

#endif
