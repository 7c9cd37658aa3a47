/* The executor: every accepted job once, a full queue refused, destroy runs what waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "sched/executor.h"

struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open;
    size_t waiting, passed;
    char thread[16];
};

static void gate_init(struct gate *gate) {
    *gate = (struct gate){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
}

static void pass(void *arg) {
    struct gate *gate = arg;
    pthread_mutex_lock(&gate->lock);
    pthread_getname_np(pthread_self(), gate->thread, sizeof gate->thread);
    gate->waiting++;
    pthread_cond_broadcast(&gate->changed);
    while (!gate->open) {
        pthread_cond_wait(&gate->changed, &gate->lock);
    }
    gate->passed++;
    pthread_mutex_unlock(&gate->lock);
}

static void wait_waiting(struct gate *gate, size_t count) {
    pthread_mutex_lock(&gate->lock);
    while (gate->waiting < count) {
        pthread_cond_wait(&gate->changed, &gate->lock);
    }
    pthread_mutex_unlock(&gate->lock);
}

static void open_gate(struct gate *gate) {
    pthread_mutex_lock(&gate->lock);
    gate->open = true;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
}

static void full_queue_refuses(void **state) {
    struct sw_executor *executor = NULL;
    struct gate gate;
    gate_init(&gate);
    assert_int_equal(sw_executor_create(1, 2, &executor, NULL), SW_OK);
    assert_int_equal(sw_executor_submit(executor, pass, &gate, NULL), SW_OK);
    wait_waiting(&gate, 1); /* runs: its place in the queue is free again */
    assert_int_equal(sw_executor_waiting(executor), 0);
    assert_int_equal(sw_executor_submit(executor, pass, &gate, NULL), SW_OK);
    assert_int_equal(sw_executor_submit(executor, pass, &gate, NULL), SW_OK);
    assert_int_equal(sw_executor_waiting(executor), 2);
    struct sw_error err;
    assert_int_equal(sw_executor_submit(executor, pass, &gate, &err), SW_E_TOO_MANY_REQUESTS);
    assert_string_equal(err.message, "2 inferences wait already");
    open_gate(&gate);
    sw_executor_destroy(executor); /* runs the two that wait */
    assert_int_equal(gate.passed, 3);
    assert_string_equal(gate.thread, "sw-worker-0");
}

static void workers_run_at_once(void **state) {
    struct sw_executor *executor = NULL;
    struct gate gate;
    gate_init(&gate);
    assert_int_equal(sw_executor_create(3, 8, &executor, NULL), SW_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(sw_executor_submit(executor, pass, &gate, NULL), SW_OK);
    }
    wait_waiting(&gate, 3); /* would hang with fewer threads */
    open_gate(&gate);
    sw_executor_destroy(executor);
    assert_int_equal(gate.passed, 3);
}

struct resubmit {
    struct sw_executor *executor;
    struct gate *gate;
    sw_status status;
};

static void submit_again(void *arg) {
    struct resubmit *r = arg;
    pass(r->gate);
    r->status = sw_executor_submit(r->executor, pass, r->gate, NULL);
}

static void a_job_may_submit(void **state) {
    struct gate gate;
    gate_init(&gate);
    struct resubmit r = {.gate = &gate, .status = SW_E_INTERNAL};
    assert_int_equal(sw_executor_create(1, 1, &r.executor, NULL), SW_OK);
    assert_int_equal(sw_executor_submit(r.executor, submit_again, &r, NULL), SW_OK);
    wait_waiting(&gate, 1);
    open_gate(&gate);
    sw_executor_destroy(r.executor);
    /* Either it came before destroy closed the queue and ran, or it was refused; never accepted and lost. */
    assert_true(r.status == SW_OK || r.status == SW_E_UNAVAILABLE);
    assert_int_equal(gate.passed, r.status == SW_OK ? 2 : 1);
}

static void refuses_odd_sizes(void **state) {
    struct sw_executor *executor = NULL;
    struct sw_error err;
    assert_int_equal(sw_executor_create(0, 1, &executor, &err), SW_E_INVALID_ARGUMENT);
    assert_int_equal(sw_executor_create(100000, 1, &executor, &err), SW_E_INVALID_ARGUMENT);
    assert_int_equal(sw_executor_create(1, 0, &executor, &err), SW_E_INVALID_ARGUMENT);
    assert_int_equal(sw_executor_create(1, SIZE_MAX, &executor, &err), SW_E_INVALID_ARGUMENT);
    assert_null(executor);
    sw_executor_destroy(NULL);
}

enum { SUBMITTERS = 3, JOBS = 4000 };

struct submitter {
    pthread_t thread;
    struct sw_executor *executor;
    atomic_uchar *ran; /* one a job */
};

static void mark(void *arg) {
    unsigned before = atomic_fetch_add((atomic_uchar *)arg, 1);
    SW_ASSERT(before == 0);
}

static void *submit_loop(void *arg) {
    struct submitter *s = arg;
    for (size_t i = 0; i < JOBS; i++) {
        sw_status status;
        while ((status = sw_executor_submit(s->executor, mark, &s->ran[i], NULL))) {
            SW_ASSERT(status == SW_E_TOO_MANY_REQUESTS && atomic_load(&s->ran[i]) == 0);
            sched_yield();
        }
    }
    return NULL;
}

static void every_accepted_job_runs_once(void **state) {
    static atomic_uchar ran[SUBMITTERS][JOBS];
    struct submitter submitters[SUBMITTERS];
    struct sw_executor *executor = NULL;
    assert_int_equal(sw_executor_create(3, 32, &executor, NULL), SW_OK);
    for (size_t i = 0; i < SUBMITTERS; i++) {
        submitters[i] = (struct submitter){.executor = executor, .ran = ran[i]};
        assert_int_equal(pthread_create(&submitters[i].thread, NULL, submit_loop, &submitters[i]), 0);
    }
    for (size_t i = 0; i < SUBMITTERS; i++) {
        pthread_join(submitters[i].thread, NULL);
    }
    sw_executor_destroy(executor);
    for (size_t i = 0; i < SUBMITTERS; i++) {
        for (size_t j = 0; j < JOBS; j++) {
            assert_int_equal(atomic_load(&ran[i][j]), 1);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_queue_refuses),
        cmocka_unit_test(workers_run_at_once),
        cmocka_unit_test(a_job_may_submit),
        cmocka_unit_test(refuses_odd_sizes),
        cmocka_unit_test(every_accepted_job_runs_once),
    };
    return cmocka_run_group_tests_name("sched/executor", tests, NULL, NULL);
}
