/* Worker threads with one bounded queue: where models too slow for an I/O thread run.
 *
 * Invariant: a submitted job runs exactly once, unless submit refused it. */
#ifndef SW_SCHED_EXECUTOR_H
#define SW_SCHED_EXECUTOR_H

#include "base/error.h"

struct sw_executor;

/* threads >= 1; queue_max jobs may wait. */
SW_MUST_CHECK sw_status sw_executor_create(unsigned threads, size_t queue_max, struct sw_executor **ret,
                                           struct sw_error *err);
void sw_executor_destroy(struct sw_executor *executor); /* runs what is queued, then joins */

/* fn(arg) on a worker. SW_E_TOO_MANY_REQUESTS when the queue is full. Never blocks. */
SW_MUST_CHECK sw_status sw_executor_submit(struct sw_executor *executor, void (*fn)(void *arg), void *arg,
                                           struct sw_error *err);
size_t sw_executor_waiting(struct sw_executor *executor);

#endif
