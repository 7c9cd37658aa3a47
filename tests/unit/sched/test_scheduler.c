/* The scheduler with its threads: every work ends exactly once, whatever happens meanwhile. */
#include <pthread.h>
#include <sched.h>

#include "sched/scheduler.h"
#include "session.h"

#define MS UINT64_C(1000000)

struct request {
    struct sw_work work; /* first */
    struct sw_arena arena;
    struct sw_tensor input;
    uint32_t wanted;
    struct sw_flow *flow;
    sw_status status;
    float answer;
    atomic_int done;
    bool gone;
    char thread[16];
};

/* Tasks wait here until it is opened. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned waiting;
    bool open;
} gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, false};

static struct session session;
static struct sw_scheduler *scheduler;
static atomic_uint reports, batches;
static atomic_ullong reported_rows;

static void pass_gate(void) {
    pthread_mutex_lock(&gate.lock);
    gate.waiting++;
    pthread_cond_broadcast(&gate.changed);
    while (!gate.open) {
        pthread_cond_wait(&gate.changed, &gate.lock);
    }
    pthread_mutex_unlock(&gate.lock);
}

static atomic_bool runs_pass_gate;

static void on_run(void *owner, const struct sw_batch_report *report) {
    if (runs_pass_gate) {
        pass_gate();
    }
    atomic_fetch_add(&reports, 1);
    atomic_fetch_add(&batches, report->requests > 1);
    atomic_fetch_add(&reported_rows, report->status ? 0 : report->rows);
    assert_ptr_equal(owner, &session);
}

static void note_done(struct sw_work *work, sw_status status, const struct sw_error *err) {
    struct request *r = (struct request *)work;
    pthread_getname_np(pthread_self(), r->thread, sizeof r->thread);
    r->status = status;
    r->answer = status ? 0 : *(const float *)work->outputs[0].data;
}

static void note_sent(struct sw_work *work) {
    atomic_fetch_add(&((struct request *)work)->done, 1);
}

static bool is_gone(const struct sw_work *work) {
    return ((const struct request *)work)->gone;
}

static void request_init(struct request *r, struct sw_flow *flow, float value) {
    static const int64_t shape[] = {1, 2};
    *r = (struct request){.flow = flow};
    sw_arena_init(&r->arena, 0, 0);
    assert_int_equal(sw_tensor_alloc(&r->input, &r->arena, SW_STR("x0"), SW_DTYPE_FP32, shape, 2, NULL), SW_OK);
    ((float *)r->input.data)[0] = value;
    ((float *)r->input.data)[1] = 1;
    r->work = (struct sw_work){.done = note_done,
                               .send = note_sent,
                               .is_gone = is_gone,
                               .session = &session.base,
                               .inputs = &r->input,
                               .input_count = 1,
                               .wanted = &r->wanted,
                               .wanted_count = 1,
                               .arena = &r->arena,
                               .priority = SW_PRIORITY_NORMAL};
    sw_work_measure(&r->work);
}

static void wait_done(struct request *r) {
    while (!atomic_load(&r->done)) {
        sched_yield();
    }
}

static void submit(struct request *r) {
    struct sw_refusal refusal;
    struct sw_error err;
    if (sw_flow_submit(r->flow, &r->work, &refusal, &err)) {
        fail_msg("%s", err.message);
    }
}

static void wait_at_gate(struct sw_work *work) {
    pass_gate();
    work->done(work, SW_E_INTERNAL, &(struct sw_error){.message = "passed"});
    work->send(work);
}

/* Occupies `count` workers; expected_ns decides of which crew. */
static void block(struct request *blockers, size_t count, struct sw_flow *flow, uint64_t expected_ns) {
    gate.open = false;
    gate.waiting = 0;
    for (size_t i = 0; i < count; i++) {
        request_init(&blockers[i], flow, 0);
        blockers[i].work.task = wait_at_gate;
        blockers[i].work.expected_ns = expected_ns;
        submit(&blockers[i]);
    }
    pthread_mutex_lock(&gate.lock);
    while (gate.waiting < count) {
        pthread_cond_wait(&gate.changed, &gate.lock);
    }
    pthread_mutex_unlock(&gate.lock);
}

static void unblock(struct request *blockers, size_t count) {
    pthread_mutex_lock(&gate.lock);
    gate.open = true;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
    for (size_t i = 0; i < count; i++) {
        wait_done(&blockers[i]);
        sw_arena_deinit(&blockers[i].arena);
    }
}

static struct sw_flow_settings settings(void) {
    struct sw_flow_settings s = {.plan = {.mode = SW_RUN_BATCHED, .max_batch = 16, .enough = 16, .gain = 8},
                                 .max_delay_ns = 500000,
                                 .weight = 1,
                                 .queue_max = 1000};
    for (uint64_t n = 1; n <= 16; n *= 2) {
        sw_profile_set(&s.profile, n, 1000 + n);
    }
    return s;
}

static struct sw_flow *begin_at(unsigned workers, const struct sw_flow_settings *s, struct sw_clock *clock_used) {
    const struct sw_scheduler_options options = {
        .workers = workers, .slow_ns = 20 * MS, .clock = clock_used, .on_run = on_run};
    struct sw_error err;
    session_init(&session, 1, -1, 2);
    reports = batches = 0;
    reported_rows = 0;
    assert_int_equal(sw_scheduler_create(&options, &scheduler, &err), SW_OK);
    return sw_flow_create(scheduler, s, &session);
}

static struct sw_flow *begin(unsigned workers, const struct sw_flow_settings *s) {
    return begin_at(workers, s, sw_clock_system());
}

static void end(struct sw_flow *flow) {
    sw_scheduler_stop(scheduler);
    sw_flow_destroy(flow);
    sw_scheduler_destroy(scheduler);
    session_deinit(&session);
}

/* ---- tests */

static void what_waits_is_joined(void **state) {
    struct sw_flow_settings s = settings();
    struct sw_flow *flow = begin(1, &s);
    struct request blocker, r[10];
    struct sw_flow_state look;
    block(&blocker, 1, flow, 0);
    for (size_t i = 0; i < 10; i++) {
        request_init(&r[i], flow, 10 * (float)i);
        submit(&r[i]);
    }
    assert_int_equal(sw_scheduler_waiting(scheduler), 10);
    sw_flow_look(flow, &look);
    assert_int_equal(look.waiting, 10);
    unblock(&blocker, 1);
    for (size_t i = 0; i < 10; i++) {
        wait_done(&r[i]);
        assert_int_equal(r[i].status, SW_OK);
        assert_true(r[i].answer == 10 * (float)i + 1);
        assert_int_equal(r[i].work.batch_rows, 10);
        assert_string_equal(r[i].thread, "sw-worker-0");
    }
    assert_int_equal(session.runs, 1);
    assert_int_equal(reports, 1);
    assert_int_equal(session.alive, 1); /* answers still stand in the run's memory */
    for (size_t i = 0; i < 10; i++) {
        sw_arena_deinit(&r[i].arena);
    }
    end(flow);
}

/* Of those that waited long enough for it to matter. */
static void who_has_gone_is_not_run(void **state) {
    struct sw_flow_settings s = settings();
    struct sw_clock hand;
    sw_clock_manual_init(&hand, 1);
    struct sw_flow *flow = begin_at(1, &s, &hand);
    struct request blocker, r[4];
    struct sw_flow_state look;
    block(&blocker, 1, flow, 0);
    for (size_t i = 0; i < 4; i++) {
        sw_clock_manual_advance(&hand, i == 3 ? 15 * MS : 0);
        request_init(&r[i], flow, 1);
        r[i].gone = i % 2;
        submit(&r[i]);
    }
    unblock(&blocker, 1);
    for (size_t i = 0; i < 4; i++) {
        wait_done(&r[i]);
        assert_int_equal(r[i].status, i == 1 ? SW_E_IO : SW_OK);
        sw_arena_deinit(&r[i].arena);
    }
    assert_int_equal(r[1].work.drop, SW_DROP_GONE);
    assert_int_equal(reported_rows, 3);
    sw_scheduler_stop(scheduler); /* after which the count is there */
    sw_flow_look(flow, &look);
    assert_int_equal(look.dropped[SW_DROP_GONE], 1);
    end(flow);
}

/* All workers of the crew are busy: the deadline is kept by one of the other crew. */
static void deadlines_are_kept_by_others(void **state) {
    struct sw_flow_settings s = settings();
    struct sw_flow *flow = begin(2, &s);
    struct request blockers[2], r;
    block(blockers, 2, flow, 0);
    request_init(&r, flow, 1);
    r.work.deadline_ns = sw_now_ns(sw_clock_system()) + 5 * MS;
    submit(&r);
    wait_done(&r);
    assert_int_equal(r.status, SW_E_DEADLINE_EXCEEDED);
    assert_int_equal(r.work.drop, SW_DROP_DEADLINE);
    assert_int_equal(strncmp(r.thread, "sw-long-", 8), 0);
    assert_int_equal(session.runs, 0);
    unblock(blockers, 2);
    sw_arena_deinit(&r.arena);
    end(flow);
}

static void long_tasks_leave_workers_free(void **state) {
    struct sw_flow_settings s = settings();
    struct sw_flow *flow = begin(1, &s);
    struct request blocker, r;
    block(&blocker, 1, flow, 21 * MS);
    request_init(&r, flow, 1);
    submit(&r);
    wait_done(&r);
    assert_int_equal(r.status, SW_OK);
    unblock(&blocker, 1);
    assert_string_equal(blocker.thread, "sw-long-0");
    sw_arena_deinit(&r.arena);
    end(flow);
}

static void go_on(struct sw_work *work) {
    struct request *r = (struct request *)work;
    struct sw_refusal refusal;
    struct sw_error err;
    work->task = NULL;
    work->returning = true;
    sw_work_measure(work);
    if (sw_flow_submit(r->flow, work, &refusal, &err)) {
        work->done(work, err.code, &err);
        work->send(work);
    }
}

static void a_task_goes_on_as_a_run(void **state) {
    struct sw_flow_settings s = settings();
    s.queue_max = 1;
    struct sw_flow *flow = begin(2, &s);
    struct request r;
    request_init(&r, flow, 41);
    r.work.task = go_on;
    submit(&r);
    wait_done(&r);
    assert_int_equal(r.status, SW_OK);
    assert_true(r.answer == 42);
    sw_arena_deinit(&r.arena);
    end(flow);
}

static void refused_when_full_or_stopped(void **state) {
    struct sw_flow_settings s = settings();
    s.queue_max = 2;
    struct sw_flow *flow = begin(1, &s);
    struct request blocker, r[4];
    struct sw_refusal refusal;
    struct sw_error err;
    block(&blocker, 1, flow, 0);
    for (size_t i = 0; i < 4; i++) {
        request_init(&r[i], flow, 1);
    }
    submit(&r[0]);
    submit(&r[1]);
    assert_int_equal(sw_flow_submit(flow, &r[2].work, &refusal, &err), SW_E_TOO_MANY_REQUESTS);
    assert_int_equal(refusal.drop, SW_DROP_FULL);
    assert_int_equal(sw_flow_admit(flow, 0, &refusal, &err), SW_E_TOO_MANY_REQUESTS);
    unblock(&blocker, 1);
    wait_done(&r[0]);
    wait_done(&r[1]);
    assert_int_equal(sw_flow_admit(flow, 0, &refusal, &err), SW_OK);
    sw_scheduler_stop(scheduler);
    assert_int_equal(sw_flow_submit(flow, &r[3].work, &refusal, &err), SW_E_UNAVAILABLE);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(r[i].done, i < 2);
        sw_arena_deinit(&r[i].arena);
    }
    end(flow);
}

static void stopping_runs_what_waits(void **state) {
    struct sw_flow_settings s = settings();
    s.concurrency = 1;
    struct sw_flow *flow = begin(3, &s);
    struct request r[100];
    for (size_t i = 0; i < 100; i++) {
        request_init(&r[i], flow, (float)i);
        submit(&r[i]);
    }
    sw_scheduler_stop(scheduler);
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(r[i].done, 1);
        assert_true(r[i].answer == (float)i + 1);
        sw_arena_deinit(&r[i].arena);
    }
    end(flow);
}

static void *stop(void *arg) {
    sw_scheduler_stop(scheduler);
    return NULL;
}

/* Workers that sleep while the last run waits for another one to end see the end too. */
static void every_worker_sees_the_stop(void **state) {
    struct sw_flow_settings s = settings();
    s.concurrency = 1;
    struct sw_flow *flow = begin(4, &s);
    struct request r[2], late;
    struct sw_refusal refusal;
    struct sw_error err;
    pthread_t stopper;
    gate.open = false;
    gate.waiting = 0;
    runs_pass_gate = true;
    for (size_t i = 0; i < 2; i++) {
        request_init(&r[i], flow, 1);
        submit(&r[i]);
        pthread_mutex_lock(&gate.lock);
        while (!gate.waiting) {
            pthread_cond_wait(&gate.changed, &gate.lock);
        }
        pthread_mutex_unlock(&gate.lock);
    }
    request_init(&late, flow, 1);
    late.work.deadline_ns = 1; /* refused in any case */
    assert_int_equal(pthread_create(&stopper, NULL, stop, NULL), 0);
    while (sw_flow_submit(flow, &late.work, &refusal, &err) != SW_E_UNAVAILABLE) {
        sched_yield();
    }
    for (int i = 0; i < 2000; i++) { /* time for the sleepers to look once more and find nothing */
        assert_int_equal(sw_scheduler_waiting(scheduler), 1);
        sched_yield();
    }
    pthread_mutex_lock(&gate.lock);
    gate.open = true;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
    pthread_join(stopper, NULL);
    runs_pass_gate = false;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(r[i].done, 1);
        assert_int_equal(r[i].status, SW_OK);
        sw_arena_deinit(&r[i].arena);
    }
    sw_arena_deinit(&late.arena);
    end(flow);
}

/* A model whose outputs turn out not to be rows is batched once and never again. */
static void outputs_that_are_no_rows_end_batching(void **state) {
    struct sw_flow_settings s = settings();
    struct sw_flow *flow = begin(1, &s);
    struct request blocker, r[4];
    struct sw_flow_state look;
    session.mode = SESSION_COUNT;
    for (int round = 0; round < 2; round++) {
        unsigned before = batches;
        block(&blocker, 1, flow, 0);
        for (size_t i = 0; i < 4; i++) {
            request_init(&r[i], flow, 1); /* each gives two rows */
            submit(&r[i]);
        }
        unblock(&blocker, 1);
        for (size_t i = 0; i < 4; i++) {
            wait_done(&r[i]);
            assert_int_equal(r[i].status, SW_OK);
            sw_arena_deinit(&r[i].arena);
        }
        assert_int_equal(batches - before > 0, round == 0);
        sw_flow_look(flow, &look);
        assert_int_equal(look.settings.plan.mode, SW_RUN_SINGLE);
    }
    end(flow);
}

/* ---- many at once */

enum { SUBMITTERS = 4, EACH = 3000 };

struct submitter {
    pthread_t thread;
    struct sw_flow *flows[2];
    unsigned index;
    unsigned answered, failed, refused;
};

static void *submit_many(void *arg) {
    struct submitter *s = arg;
    struct request *r = sw_xcalloc(1, sizeof *r);
    for (unsigned i = 0; i < EACH; i++) {
        struct sw_refusal refusal;
        struct sw_error err;
        float value = i % 97 == 0 ? SESSION_POISON : (float)(i % 600);
        request_init(r, s->flows[(s->index + i) % 2], value);
        r->work.priority = i % 3 ? SW_PRIORITY_NORMAL : SW_PRIORITY_HIGH;
        if (i % 5 == 0) {
            r->work.task = go_on;
        }
        if (sw_flow_submit(r->flow, &r->work, &refusal, &err)) {
            s->refused++;
        } else {
            wait_done(r);
            assert_int_equal(r->done, 1);
            s->answered += r->status == SW_OK && r->answer == value + 1;
            s->failed += r->status != SW_OK;
        }
        sw_arena_deinit(&r->arena);
    }
    sw_free(r);
    return NULL;
}

static void every_work_ends_once(void **state) {
    struct sw_flow_settings s = settings(), limited = settings();
    limited.concurrency = 1;
    limited.weight = 3;
    struct sw_flow *flow = begin(3, &s), *second = sw_flow_create(scheduler, &limited, &session);
    struct submitter submitters[SUBMITTERS];
    for (unsigned i = 0; i < SUBMITTERS; i++) {
        submitters[i] = (struct submitter){.flows = {flow, second}, .index = i};
        assert_int_equal(pthread_create(&submitters[i].thread, NULL, submit_many, &submitters[i]), 0);
    }
    for (int i = 0; i < 50; i++) { /* reloads, meanwhile */
        sw_flow_configure(flow, i % 2 ? &s : &limited);
        sched_yield();
    }
    for (unsigned i = 0; i < SUBMITTERS; i++) {
        pthread_join(submitters[i].thread, NULL);
        assert_int_equal(submitters[i].refused, 0);
        assert_int_equal(submitters[i].failed, (EACH + 96) / 97); /* the poisoned ones */
        assert_int_equal(submitters[i].answered, EACH - submitters[i].failed);
    }
    sw_scheduler_stop(scheduler);
    sw_flow_destroy(second);
    end(flow);
}

static void refuses_odd_sizes(void **state) {
    struct sw_scheduler_options options = {.workers = 0, .clock = sw_clock_system()};
    struct sw_scheduler *s = NULL;
    assert_int_equal(sw_scheduler_create(&options, &s, NULL), SW_E_INVALID_ARGUMENT);
    options.workers = SW_SCHEDULER_WORKERS_MAX + 1;
    assert_int_equal(sw_scheduler_create(&options, &s, NULL), SW_E_INVALID_ARGUMENT);
    assert_null(s);
    sw_scheduler_destroy(NULL);
    sw_flow_destroy(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_waits_is_joined),
        cmocka_unit_test(who_has_gone_is_not_run),
        cmocka_unit_test(deadlines_are_kept_by_others),
        cmocka_unit_test(long_tasks_leave_workers_free),
        cmocka_unit_test(a_task_goes_on_as_a_run),
        cmocka_unit_test(refused_when_full_or_stopped),
        cmocka_unit_test(stopping_runs_what_waits),
        cmocka_unit_test(outputs_that_are_no_rows_end_batching),
        cmocka_unit_test(every_worker_sees_the_stop),
        cmocka_unit_test(every_work_ends_once),
        cmocka_unit_test(refuses_odd_sizes),
    };
    return cmocka_run_group_tests_name("sched/scheduler", tests, NULL, NULL);
}
