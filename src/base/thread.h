/* Threads with names, and read-mostly snapshots.
 *
 * Snapshots (quiescent-state based reclamation, as in P. McKenney, "Read-copy update"): readers bracket their use of
 * shared immutable data with sw_epoch_enter/leave, which cost two stores to a line of their own; a writer swaps an
 * atomic pointer, then calls sw_epoch_wait, after which no reader still sees the old data. Readers never wait. */
#ifndef SW_BASE_THREAD_H
#define SW_BASE_THREAD_H

#include <pthread.h>

#include "base/error.h"
#include "base/macros.h"

/* Starts a joinable thread with all signals blocked. `name` is at most 15 characters. `nice` >= 0 lowers its
 * priority (0: unchanged). */
SW_MUST_CHECK sw_status sw_thread_start(pthread_t *ret_thread, const char *name, int nice, void *(*fn)(void *),
                                        void *arg, struct sw_error *err);

/* Lowers the calling thread's priority to this nice value. On Linux the value belongs to the thread. Where it is refused
 * nothing changes, which costs only fairness. */
void sw_thread_set_nice(int nice);

/* A small dense number of the calling thread, < SW_THREADS_MAX, given at first use and taken back when the thread
 * ends: shards of counters are indexed by it. */
enum { SW_THREADS_MAX = 256 };
unsigned sw_thread_index(void);

void sw_epoch_enter(void); /* may nest */
void sw_epoch_leave(void);
void sw_epoch_wait(void); /* not from inside enter/leave */

unsigned sw_cpu_count(void); /* that this process may use (affinity and cgroup quota), at least 1 */

#endif
