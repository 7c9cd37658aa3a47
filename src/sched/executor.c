/* Executor: N threads that pop one bounded queue.
 *
 * The slots of waiting jobs are made once, so that submitting allocates nothing: a slot goes from `idle` to `waiting`
 * and back, and a full queue is an empty `idle`. A worker copies its job and gives the slot back before it runs it, so
 * that queue_max counts only the jobs that wait.
 *
 * Invariant: idle + waiting + slots in the hands of a thread == queue_max. */
#include "sched/executor.h"

#include "base/memory.h"
#include "base/queue.h"
#include "base/thread.h"

enum { THREADS_MAX = SW_THREADS_MAX / 2, QUEUE_MAX = 1 << 20 };

struct slot {
    void (*fn)(void *arg);
    void *arg;
};

struct sw_executor {
    struct sw_queue *idle, *waiting;
    struct slot *slots;
    size_t queue_max;
    unsigned thread_count;
    pthread_t threads[THREADS_MAX];
};

static void *work(void *arg) {
    struct sw_executor *executor = arg;
    struct slot *slot;
    while ((slot = sw_queue_pop(executor->waiting))) {
        struct slot job = *slot;
        bool given_back = sw_queue_push(executor->idle, slot);
        SW_ASSERT(given_back);
        job.fn(job.arg);
    }
    return NULL;
}

sw_status sw_executor_create(unsigned threads, size_t queue_max, struct sw_executor **ret, struct sw_error *err) {
    if (threads < 1 || threads > THREADS_MAX) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "worker threads: %u is not between 1 and %d", threads, THREADS_MAX);
    }
    if (queue_max < 1 || queue_max > QUEUE_MAX) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "queue of the workers: %zu is not between 1 and %d", queue_max,
                       QUEUE_MAX);
    }
    struct sw_executor *executor = SW_NEW(struct sw_executor);
    executor->idle = sw_queue_create(queue_max);
    executor->waiting = sw_queue_create(queue_max);
    executor->slots = sw_xcalloc(queue_max, sizeof *executor->slots);
    executor->queue_max = queue_max;
    for (size_t i = 0; i < queue_max; i++) {
        bool pushed = sw_queue_push(executor->idle, &executor->slots[i]);
        SW_ASSERT(pushed);
    }
    for (; executor->thread_count < threads; executor->thread_count++) {
        char name[24];
        snprintf(name, sizeof name, "sw-worker-%u", executor->thread_count);
        sw_status status = sw_thread_start(&executor->threads[executor->thread_count], name, 0, work, executor, err);
        if (status) {
            sw_executor_destroy(executor);
            return status;
        }
    }
    *ret = executor;
    return SW_OK;
}

void sw_executor_destroy(struct sw_executor *executor) {
    if (!executor) {
        return;
    }
    sw_queue_close(executor->waiting);
    for (unsigned i = 0; i < executor->thread_count; i++) {
        int rc = pthread_join(executor->threads[i], NULL);
        SW_ASSERT(rc == 0);
    }
    SW_ASSERT(sw_queue_len(executor->waiting) == 0);
    sw_queue_destroy(executor->waiting);
    sw_queue_destroy(executor->idle);
    sw_free(executor->slots);
    sw_free(executor);
}

sw_status sw_executor_submit(struct sw_executor *executor, void (*fn)(void *arg), void *arg, struct sw_error *err) {
    SW_ASSERT(fn);
    struct slot *slot = sw_queue_try_pop(executor->idle);
    if (!slot) {
        return sw_fail(err, SW_E_TOO_MANY_REQUESTS, "%zu inferences wait already", executor->queue_max);
    }
    *slot = (struct slot){fn, arg};
    if (!sw_queue_push(executor->waiting, slot)) {
        bool given_back = sw_queue_push(executor->idle, slot);
        SW_ASSERT(given_back);
        return sw_fail(err, SW_E_UNAVAILABLE, "the server is shutting down");
    }
    return SW_OK;
}

size_t sw_executor_waiting(struct sw_executor *executor) {
    return sw_queue_len(executor->waiting);
}
