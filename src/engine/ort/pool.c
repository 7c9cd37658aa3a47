/* The runtime's shared worker threads, started late.
 *
 * The runtime has one environment a process, and its thread pool must be given when that environment is created. Most
 * set-ups run every model on the calling thread and need no pool. So the runtime's request for a thread is only noted;
 * the threads start when the first session that wants them is loaded, or when the pool is taken down: a worker ends
 * only when all its siblings have gone to sleep, so every one must exist by then.
 *
 * Invariants: `threads` changes only under the mutex; a slot is free when its worker is NULL. */
#include <pthread.h>

#include "base/log.h"
#include "base/thread.h"
#include "engine/ort/ort_internal.h"

enum { POOL_MAX = 256 };

struct ort_thread {
    ort_worker_fn *worker;
    void *arg;
    pthread_t id;
    bool started;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct ort_thread threads[POOL_MAX];

static void *work(void *arg) {
    const struct ort_thread *thread = arg;
    thread->worker(thread->arg);
    return NULL;
}

/* Called by the runtime while the environment is created. NULL makes it fail. */
struct ort_thread *ort_pool_create_thread(void *options, ort_worker_fn *worker, void *worker_arg) {
    struct ort_thread *made = NULL;
    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < POOL_MAX && !made; i++) {
        if (!threads[i].worker) {
            made = &threads[i];
            *made = (struct ort_thread){.worker = worker, .arg = worker_arg};
        }
    }
    pthread_mutex_unlock(&mutex);
    return made;
}

sw_status ort_pool_start(struct sw_error *err) {
    sw_status status = SW_OK;
    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < POOL_MAX && !status; i++) {
        struct ort_thread *t = &threads[i];
        if (t->worker && !t->started) {
            status = sw_thread_start(&t->id, "sw-ort", 0, work, t, err);
            t->started = !status;
        }
    }
    pthread_mutex_unlock(&mutex);
    return status;
}

/* Called by the runtime for each thread in turn when the environment ends. */
void ort_pool_join_thread(struct ort_thread *thread) {
    struct sw_error err;
    if (ort_pool_start(&err)) {
        /* Joining would wait for siblings that do not exist. Leaving the threads asleep is the lesser evil. */
        sw_log(SW_LOG_WARN, "ONNX Runtime's threads could not be ended", SW_F_STR("reason", err.message));
        return;
    }
    pthread_join(thread->id, NULL);
    pthread_mutex_lock(&mutex);
    *thread = (struct ort_thread){0};
    pthread_mutex_unlock(&mutex);
}
