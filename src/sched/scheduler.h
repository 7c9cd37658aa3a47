/* The scheduler: which request runs next, with which others, on which thread; and which is not let in.
 *
 * A flow is the queue of one model version, with what is known of it: how long runs take, how many rows pay, its weight.
 *
 *     submit --admission--> flow "digits"   [tasks][runs] --+
 *                           flow "detector" [tasks][runs] --+--> crew for short work: one thread a core
 *                           flow "llm"      [tasks][runs] --+--> crew for long work:  the same, lower priority
 *
 * Batches. A worker takes the oldest run of a flow and joins others that wait (batch.h). It waits for more only when that
 * pays: when the workers have been busy for half of the time, clients that were here a moment ago are not waiting now, and
 * there are more of them than free workers; and for at most as long as the joined run saves, or max_delay_ns. So the delay
 * is 0 when there is little load, and 0 when there is so much that batches form from what waits.
 *
 * Fair shares. Each flow has a virtual time: worker time it used, divided by its weight. Who has least goes first
 * (start-time fair queueing: Goyal, Vin, Cheng, 1996). A flooded flow only makes its own requests wait. A run cannot be
 * interrupted, so work expected to take longer than slow_ns goes to a crew of its own, whose threads the kernel prefers
 * less and of which one rests while there is short work: it uses what cores are free and never keeps a short run waiting.
 *
 * Admission. A request is refused at once when queue_max wait, or when it would wait longer than wait_ns_max or than its
 * deadline leaves, by the pace at which the queue has been moving. A run is to end when seven eighths of the time to the
 * deadline have passed: the rest is for the answer and its way. Should admitted requests still end later, the estimate
 * was too good: the part of a deadline that may be spent waiting is lowered with every such request and grows
 * back slowly (additive increase, multiplicative decrease). That keeps the queue short under any overload, in order of
 * arrival; newest-first was not chosen because it lets the oldest requests, which have waited most, wait in vain.
 *
 * Threads: any thread submits; `done` and `task` of a work run on workers. One lock guards the flows, held for a
 * microsecond at most: no work runs, no system call is made and no memory is taken under it. Models that run inline
 * never come here. */
#ifndef SW_SCHED_SCHEDULER_H
#define SW_SCHED_SCHEDULER_H

#include "sched/batch.h"
#include "sched/profile.h"
#include "sched/work.h"

struct sw_scheduler;
struct sw_flow;

enum { SW_SCHEDULER_WORKERS_MAX = 128, SW_PREFERRED_MAX = 8 };

struct sw_scheduler_options {
    unsigned workers; /* threads of each crew, 1 to SW_SCHEDULER_WORKERS_MAX */
    uint64_t slow_ns; /* work that takes longer is for the second crew */
    struct sw_clock *clock;
    /* A worker, after each run and before any `done` of it; owner: of the flow. NULL: nobody is told. */
    void (*on_run)(void *owner, const struct sw_batch_report *report);
};

SW_MUST_CHECK sw_status sw_scheduler_create(const struct sw_scheduler_options *options, struct sw_scheduler **ret,
                                            struct sw_error *err);
/* Ends the threads; what waits is run before. Afterwards submits are refused with SW_E_UNAVAILABLE. */
void sw_scheduler_stop(struct sw_scheduler *scheduler);
/* Stops, and destroys it. Outputs of batches live in its memory: after every request and every flow is gone. */
void sw_scheduler_destroy(struct sw_scheduler *scheduler);

size_t sw_scheduler_waiting(struct sw_scheduler *scheduler); /* works in all flows */

struct sw_flow_settings {
    struct sw_plan plan;                  /* inline counts as single: what comes here although is large */
    struct sw_profile profile;            /* to begin with */
    uint64_t max_delay_ns;                /* longest wait for others; 0: none */
    uint32_t preferred[SW_PREFERRED_MAX]; /* rows, ascending: batches are made of one of these when so many wait */
    size_t preferred_count;
    double weight;        /* > 0; share relative to others */
    unsigned concurrency; /* runs at once; 0: as many as there are workers */
    size_t queue_max;     /* works that may wait */
    uint64_t wait_ns_max; /* longest wait; 0: any */
};

/* owner: for on_run. */
struct sw_flow *sw_flow_create(struct sw_scheduler *scheduler, const struct sw_flow_settings *settings, void *owner);
/* What was learnt of run times is replaced too: the model is another one. Works that wait stay. */
void sw_flow_configure(struct sw_flow *flow, const struct sw_flow_settings *settings);
void sw_flow_destroy(struct sw_flow *flow); /* nothing waits or runs; NULL is allowed */

struct sw_refusal {
    enum sw_drop drop;
    unsigned retry_after_s; /* at least 1 */
};

/* Takes the work over. Refused: SW_E_TOO_MANY_REQUESTS, SW_E_DEADLINE_EXCEEDED, SW_E_UNAVAILABLE (stopped), *ret says
 * more, and the work stays the caller's. A work that was admitted before (`returning`) is only refused when stopped.
 * Never blocks. */
SW_MUST_CHECK sw_status sw_flow_submit(struct sw_flow *flow, struct sw_work *work, struct sw_refusal *ret,
                                       struct sw_error *err);
/* The same answer for a request of one row that is not there yet, so that it need not be read to be refused. Counts it
 * as refused. */
SW_MUST_CHECK sw_status sw_flow_admit(struct sw_flow *flow, uint64_t deadline_ns, struct sw_refusal *ret,
                                      struct sw_error *err);

/* A short run was made elsewhere, on an I/O thread. Cheap: any thread, at each run. */
void sw_scheduler_note_short(struct sw_scheduler *scheduler, uint64_t now_ns);

/* How it stands now. */
struct sw_flow_state {
    size_t waiting;
    uint64_t oldest_ns; /* the longest wait of those; 0: none */
    unsigned running;   /* runs and batches in the hands of workers */
    uint64_t dropped[SW_DROPS];
    struct sw_flow_settings settings; /* with the profile as it is learnt */
};
void sw_flow_look(struct sw_flow *flow, struct sw_flow_state *ret);

#endif
