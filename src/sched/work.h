/* A piece of work for the scheduler: a run of a session for one request, or a task.
 *
 * It lies in its request's memory and belongs to the scheduler from sw_scheduler_submit until exactly one of these is
 * called, on a worker: `done` and then `send`, for a run that ended or was given up, and for a task that was given up; or
 * `task`. From `send` or `task` on it is the owner's again, who may submit it anew.
 *
 * Of a batch every `done` comes before the first `send`: answers are made while the outputs are in the cache and nobody
 * is woken in between, and the clients of one batch, answered together, come back together. */
#ifndef SW_SCHED_WORK_H
#define SW_SCHED_WORK_H

#include "engine/engine.h"

enum sw_priority { SW_PRIORITY_HIGH, SW_PRIORITY_NORMAL, SW_PRIORITIES };

/* Why a request did not run. */
enum sw_drop {
    SW_DROP_NONE,
    SW_DROP_FULL,     /* as many wait as may */
    SW_DROP_WAIT,     /* it would have waited too long: refused at once */
    SW_DROP_DEADLINE, /* its deadline passed while it waited */
    SW_DROP_GONE,     /* its client has gone */
    SW_DROPS
};
const char *sw_drop_name(enum sw_drop drop); /* "queue_full", "queue_wait", "deadline", "client_gone" */

struct sw_work {
    /* Set by the owner. */
    void (*task)(struct sw_work *work); /* NULL: a run */
    /* err: why, when status is not SW_OK; valid during the call. */
    void (*done)(struct sw_work *work, sw_status status, const struct sw_error *err);
    void (*send)(struct sw_work *work);
    bool (*is_gone)(const struct sw_work *work); /* has the client gone? One system call; NULL: never */
    uint64_t expected_ns;                        /* of a task: how long it takes, roughly; 0: not known */
    uint64_t deadline_ns;                        /* when it is to have ended; 0: any time */
    enum sw_priority priority;

    /* Of a run. */
    struct sw_session *session;
    const struct sw_tensor *inputs; /* checked; valid until done, not copied when it runs alone */
    size_t input_count;
    const uint32_t *wanted; /* indices into the session's outputs */
    size_t wanted_count;
    struct sw_arena *arena; /* the request's: outputs live as long as its memory */
    bool alone;             /* not to be joined with others, whatever the flow's plan, which may be a later model's */

    /* Of a run; set by sw_work_measure. */
    uint64_t rows;       /* dimension 0 of every input; 0: not to be joined with others */
    uint64_t units;      /* size, see profile.h */
    uint64_t bytes;      /* of its inputs */
    uint64_t shape_hash; /* of what must be equal for two runs to be one */

    /* Set for `done`, and queue_ns for `task`. */
    struct sw_tensor *outputs; /* wanted_count, in that order; in the arena or in memory that the arena holds */
    uint64_t queue_ns;         /* waited in all, over several submits */
    uint64_t run_ns;           /* of the run, shared or not */
    uint64_t batch_rows;       /* of the run */
    enum sw_drop drop;

    /* The scheduler's. */
    struct sw_work *previous, *next;
    uint64_t queued_ns;
    uint64_t
        give_up_ns; /* when it is too late for its deadline, or it has waited too long (in all, over several submits): */
    enum sw_drop give_up_for;
    uint64_t
        due_ns; /* when its run is to have ended, so that the answer is there by the deadline; UINT64_MAX: any time */
    bool returning; /* was admitted before: set by the owner of a task that submits itself again */
};

/* Rows, size and shape of a run, from its session and inputs. */
void sw_work_measure(struct sw_work *work);

#endif
