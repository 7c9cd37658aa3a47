/* Batches: runs of several requests as one.
 *
 * Requests can be joined when they are for the same session and outputs, and their inputs have the same names, data
 * types and shapes but for dimension 0. Nothing is ever padded: what does not fit runs in another batch.
 *
 *     request a [2,784] --+                                  +--> a's outputs: rows 0-1, pointing into the run's memory
 *     request b [1,784] --+--> one tensor [4,784] --> run -->+--> b's outputs: row 2
 *     request c [1,784] --+    (64-byte aligned)             +--> c's outputs: row 3
 *
 * A request that runs alone is not copied at all. Outputs of a batch stay where the runtime put them; that memory has a
 * reference for each request, dropped when the request's arena is reset, on whichever thread that happens.
 *
 * When a batch fails, its halves are run, and so on down to single requests: one bad row costs a few more runs, fails
 * alone, and the others get their answers. */
#ifndef SW_SCHED_BATCH_H
#define SW_SCHED_BATCH_H

#include "base/clock.h"
#include "sched/work.h"

enum { SW_BATCH_REQUESTS_MAX = 1024 };

/* One run of a session as it ended. */
struct sw_batch_report {
    sw_status status;
    size_t requests;
    uint64_t rows, units;
    uint64_t gather_ns; /* to join the inputs */
    uint64_t run_ns;
    bool unsplittable; /* an output had not one row for each input row: this model must not be batched */
};

struct sw_batch_pool;

/* What a worker needs to run batches; its own. */
struct sw_batch_runner {
    struct sw_batch_pool *pool;
    struct sw_clock *clock;
    void (*report)(void *arg, const struct sw_batch_report *report); /* after each run, before any `done` of it */
    void *arg;
    void *scratch; /* joined inputs */
    size_t scratch_size;
};

/* Memory of finished batches, kept for the next ones. Requests hold pieces of it, so it is destroyed after they are. */
struct sw_batch_pool *sw_batch_pool_create(void);
void sw_batch_pool_destroy(struct sw_batch_pool *pool);
void sw_batch_runner_deinit(struct sw_batch_runner *runner);

/* Could both share a run? Of measured runs. */
bool sw_batch_joins(const struct sw_work *a, const struct sw_work *b);

/* Runs 1 to SW_BATCH_REQUESTS_MAX requests that can be joined, and calls `done` of each. */
void sw_batch_run(struct sw_batch_runner *runner, struct sw_work *const *works, size_t count);

#endif
