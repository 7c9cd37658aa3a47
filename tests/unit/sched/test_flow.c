/* What the scheduler decides, moment by moment: delays, batches, priorities, shares, admission. */
#include "world.h"

static struct session session;
static struct core core;
static struct sw_flow flow;
static struct sw_work works[256];
static size_t used;
static struct take take;
static uint64_t now;
static double load = 1; /* of the workers, as they find it */

static void begin(const struct sw_flow_settings *settings) {
    session_init(&session, 1, -1, 2);
    core_init(&core, 2, 20 * MS);
    core_add(&core);
    flow_init(&flow, &core, settings, NULL);
    core.crews[CREW_SHORT].load = load;
    used = 0;
    now = 1000 * MS;
}

static void end(void) {
    core_remove(&core, &flow);
    core_deinit(&core);
    session_deinit(&session);
}

static struct sw_work *make(uint64_t rows) {
    assert_true(used < 256);
    return world_work(&session, &works[used++], rows);
}

static struct sw_work *push(struct sw_work *work) {
    core_push(&core, &flow.queues[flow_crew(&flow, work)], work, now);
    return work;
}

/* What a worker gets when `idle` others sleep; count 0: nothing. */
static size_t get(unsigned idle) {
    uint64_t at;
    bool more;
    return core_take(&core, CREW_SHORT, idle, now, &take, &at, &more) ? take.count : 0;
}

static uint64_t ready_in(unsigned free) {
    uint64_t at = queue_ready_at(&flow.queues[CREW_SHORT], now, free);
    return at == UINT64_MAX ? at : at - now;
}

static void finish(const struct take *t) {
    core_finish(&core, t, now, t->expected_ns, 0);
    core.crews[CREW_SHORT].load = load;
}

/* The same, some time later. */
static void finish_later(const struct take *t) {
    now += 3 * MS;
    finish(t);
}

/* The big MLP: 480 us and 140 us a row. */
static struct sw_flow_settings big(void) {
    return world_settings(480 * US, 140 * US);
}

static void idle_means_at_once(void **state) {
    struct sw_flow_settings s = big();
    begin(&s);
    for (int i = 0; i < 20; i++) { /* one client, again and again */
        push(make(1));
        assert_int_equal(ready_in(2), 0);
        assert_int_equal(get(1), 1);
        now += 620 * US;
        finish(&take);
        now += 60 * US;
    }
    end();
}

static void waits_for_clients_that_were_here(void **state) {
    struct sw_flow_settings s = big();
    begin(&s);
    for (int i = 0; i < 20; i++) {
        push(make(1));
        now += 2 * US;
    }
    assert_int_equal(get(0), 20);
    now += 3 * MS;
    finish(&take);
    struct take first = take;
    now += 20 * US;
    push(make(1));
    /* 19 more are expected; joined they save hundreds of microseconds. */
    assert_in_range(ready_in(1), 1 * US, 500 * US);
    assert_int_equal(get(0), 0);
    for (int i = 0; i < 18; i++) {
        now += 5 * US;
        push(make(1));
        assert_true(ready_in(1) > 0);
    }
    now += 5 * US;
    push(make(1)); /* all are here */
    assert_int_equal(ready_in(1), 0);
    assert_int_equal(get(0), 20);
    now += 3 * MS;
    finish(&take);
    (void)first;
    /* This time most do not come back: the wait ends when nobody has come for a while, long before max_delay. */
    now += 20 * US;
    push(make(1));
    now += 5 * US;
    push(make(1));
    uint64_t wait = ready_in(1);
    assert_in_range(wait, 1 * US, 200 * US);
    now += wait;
    assert_int_equal(get(0), 2);
    finish(&take);
    /* And a while later it is known that there are only two. */
    now += 200 * MS;
    for (int i = 0; i < 4; i++) {
        push(make(1));
        push(make(1));
        assert_int_equal(ready_in(1), 0);
        assert_int_equal(get(0), 2);
        now += 100 * MS;
        finish(&take);
    }
    end();
}

static void never_waits_beyond_max_delay_or_what_it_saves(void **state) {
    struct sw_flow_settings s = big();
    s.max_delay_ns = 50 * US;
    begin(&s);
    for (int i = 0; i < 20; i++) {
        push(make(1));
    }
    assert_int_equal(get(0), 20);
    now += 3 * MS;
    finish(&take);
    push(make(1));
    uint64_t from = now;
    for (int i = 0; i < 12 && ready_in(1); i++) {
        now += 5 * US;
        push(make(1));
    }
    assert_true(now + ready_in(1) - from <= 50 * US);
    now = from + 50 * US;
    assert_int_equal(ready_in(1), 0);
    s.max_delay_ns = 0;
    flow_set(&flow, &s);
    now = from + 1;
    assert_int_equal(ready_in(1), 0);
    while (get(0)) {
        finish(&take);
    }
    end();
}

/* The same clients, but the workers have time: a batch is made of what is there. */
static void a_light_load_does_not_wait(void **state) {
    struct sw_flow_settings s = big();
    load = 0.49;
    begin(&s);
    for (int i = 0; i < 20; i++) {
        push(make(1));
    }
    assert_int_equal(get(0), 20);
    now += 3 * MS;
    finish(&take);
    push(make(1));
    assert_int_equal(ready_in(1), 0);
    core.crews[CREW_SHORT].load = 0.51;
    assert_true(ready_in(1) > 0);
    core.crews[CREW_SHORT].load = 0;
    assert_int_equal(get(0), 1);
    finish(&take);
    load = 1;
    end();
}

static void load_is_measured(void **state) {
    struct sw_flow_settings s = big();
    begin(&s);
    double *measured = &core.crews[CREW_SHORT].load;
    core.crews[CREW_SHORT].since_ns = now;
    for (int i = 0; i < 200; i++) { /* one of two workers, all the time */
        push(make(1));
        assert_int_equal(get(1), 1);
        now += MS;
        core_finish(&core, &take, now, MS, 0);
    }
    assert_true(*measured > 0.49 && *measured < 0.51);
    now += 1000 * MS;
    push(make(1));
    assert_int_equal(get(1), 1);
    core_finish(&core, &take, now, MS, 0);
    assert_true(*measured < 0.01);
    end();
}

/* Two clients and two workers: each has its own. */
static void a_worker_for_each_needs_no_batch(void **state) {
    struct sw_flow_settings s = big();
    begin(&s);
    for (int i = 0; i < 5; i++) {
        push(make(1));
        assert_int_equal(get(1), 1);
        struct take first = take;
        push(make(1));
        assert_int_equal(ready_in(1), 0);
        assert_int_equal(get(0), 1);
        now += 620 * US;
        finish(&take);
        push(make(1));
        assert_int_equal(ready_in(1), 0);
        assert_int_equal(get(0), 1);
        finish(&take);
        now += 300 * US;
        finish(&first);
    }
    end();
}

static void free_workers_share_what_waits(void **state) {
    struct sw_flow_settings s = big();
    begin(&s);
    for (int i = 0; i < 32; i++) {
        push(make(1));
    }
    assert_int_equal(get(1), 16); /* 2.7 ms each instead of 5 ms */
    struct take first = take;
    assert_int_equal(get(0), 16);
    finish(&first);
    finish(&take);
    now += 1000 * MS;
    /* Two rows: 760 us together, 620 us apart: not worth a second worker. */
    push(make(1));
    push(make(1));
    assert_int_equal(get(1), 2);
    finish(&take);
    end();
}

static void groups_by_shape_in_order(void **state) {
    struct sw_flow_settings s = big();
    begin(&s);
    static const uint64_t shapes[] = {1, 2, 1, 1, 2, 1};
    for (size_t i = 0; i < 6; i++) {
        struct sw_work *work = make(1);
        work->shape_hash = shapes[i];
        push(work);
    }
    struct sw_work *alone = make(0);
    push(alone);
    assert_int_equal(get(0), 4);
    assert_ptr_equal(take.works[0], &works[0]);
    assert_ptr_equal(take.works[1], &works[2]);
    assert_ptr_equal(take.works[3], &works[5]);
    finish_later(&take);
    assert_int_equal(get(0), 2);
    assert_ptr_equal(take.works[1], &works[4]);
    finish_later(&take);
    assert_int_equal(get(0), 1);
    assert_ptr_equal(take.works[0], alone);
    finish_later(&take);
    end();
}

static void rows_fit_the_largest_batch(void **state) {
    struct sw_flow_settings s = big();
    s.plan.max_batch = 8;
    begin(&s);
    push(make(5));
    push(make(4));  /* does not fit any more */
    push(make(3));  /* does */
    push(make(20)); /* larger than any batch: alone */
    push(make(1));
    assert_int_equal(get(0), 2);
    assert_int_equal(take.works[1]->rows, 3);
    finish_later(&take);
    assert_int_equal(get(0), 2);
    assert_int_equal(take.works[0]->rows, 4);
    assert_int_equal(take.works[1]->rows, 1);
    finish_later(&take);
    assert_int_equal(get(0), 1);
    assert_int_equal(take.works[0]->rows, 20);
    finish_later(&take);
    end();
}

static void preferred_sizes(void **state) {
    struct sw_flow_settings s = big();
    s.preferred[0] = 4;
    s.preferred[1] = 8;
    s.preferred_count = 2;
    begin(&s);
    for (int i = 0; i < 13; i++) {
        push(make(1));
    }
    assert_int_equal(get(0), 8);
    finish_later(&take);
    assert_int_equal(get(0), 4);
    finish_later(&take);
    now += MS;
    assert_int_equal(get(0), 1); /* as no more came */
    finish_later(&take);
    end();
}

static void high_before_normal_but_not_for_ever(void **state) {
    struct sw_flow_settings s = big();
    s.plan.mode = SW_RUN_SINGLE;
    begin(&s);
    struct sw_work *normal = push(make(1));
    size_t before = 0;
    bool passed = false;
    for (int i = 0; i < 20 && !passed; i++) {
        struct sw_work *high = make(1);
        high->priority = SW_PRIORITY_HIGH;
        push(high);
        assert_int_equal(get(0), 1);
        passed = take.works[0] == normal;
        before += !passed;
        finish(&take);
    }
    assert_true(passed);
    assert_int_equal(before, 8);
    while (get(0)) {
        finish(&take);
    }
    end();
}

static void high_leads_the_batch(void **state) {
    struct sw_flow_settings s = big();
    s.plan.max_batch = 4;
    begin(&s);
    for (int i = 0; i < 4; i++) {
        push(make(1));
    }
    for (int i = 0; i < 2; i++) {
        struct sw_work *high = make(1);
        high->priority = SW_PRIORITY_HIGH;
        push(high);
    }
    assert_int_equal(get(0), 4);
    assert_ptr_equal(take.works[0], &works[4]);
    assert_ptr_equal(take.works[1], &works[5]);
    assert_ptr_equal(take.works[2], &works[0]);
    finish_later(&take);
    assert_int_equal(get(0), 2);
    finish_later(&take);
    end();
}

static void task_fn(struct sw_work *work) {
}

static struct sw_work *make_task(uint64_t expected_ns) {
    struct sw_work *task = make(0);
    task->task = task_fn;
    task->expected_ns = expected_ns;
    return task;
}

static void tasks_feed_batches(void **state) {
    struct sw_flow_settings s = big();
    begin(&s);
    push(make(1));
    push(make_task(100 * US));
    push(make_task(100 * US));
    assert_int_equal(get(0), 1);
    assert_true(take.is_task);
    finish(&take);
    assert_int_equal(get(0), 1);
    assert_true(take.is_task);
    finish(&take);
    assert_int_equal(get(0), 1);
    assert_false(take.is_task);
    finish(&take);
    /* Where nothing is gained by joining, the oldest goes first. */
    s.plan.mode = SW_RUN_SINGLE;
    flow_set(&flow, &s);
    push(make(1));
    now += US;
    push(make_task(100 * US));
    assert_int_equal(get(0), 1);
    assert_false(take.is_task);
    finish(&take);
    assert_int_equal(get(0), 1);
    finish(&take);
    end();
}

static void concurrency_is_of_runs(void **state) {
    struct sw_flow_settings s = big();
    s.concurrency = 1;
    begin(&s);
    push(make(1));
    assert_int_equal(get(1), 1);
    struct take running = take;
    push(make(1));
    assert_int_equal(ready_in(2), UINT64_MAX);
    assert_int_equal(get(1), 0);
    push(make_task(10)); /* may run beside */
    assert_int_equal(get(1), 1);
    assert_true(take.is_task);
    finish(&take);
    assert_int_equal(get(1), 0);
    finish(&running);
    assert_int_equal(get(1), 1);
    finish(&take);
    end();
}

static void long_work_has_its_own_crew(void **state) {
    struct sw_flow_settings s = big();
    begin(&s);
    uint64_t at;
    bool more;
    push(make(1000)); /* 132 ms */
    push(make_task(21 * MS));
    assert_int_equal(get(1), 0);
    push(make(1)); /* is not held up by them */
    assert_int_equal(get(1), 1);
    finish(&take);
    assert_true(core_take(&core, CREW_LONG, 0, now, &take, &at, &more));
    assert_true(more);
    finish(&take);
    assert_true(core_take(&core, CREW_LONG, 0, now, &take, &at, &more));
    assert_false(more);
    finish(&take);
    end();
}

static bool get_long(uint64_t *ret_at) {
    bool more;
    return core_take(&core, CREW_LONG, 1, now, &take, ret_at, &more);
}

/* Two workers: both for long work, until there is short work; then one, until a while after. */
static void a_core_is_left_to_short_work(void **state) {
    struct sw_flow_settings s = big();
    begin(&s);
    uint64_t at;
    for (int i = 0; i < 5; i++) {
        push(make(1000));
    }
    assert_true(get_long(&at));
    struct take first = take;
    assert_true(get_long(&at));
    struct take second = take;
    push(make(1));
    assert_int_equal(get(1), 1);
    finish(&take);
    now += 10 * MS;
    finish(&first);
    assert_false(get_long(&at)); /* the second is still running */
    assert_int_equal(at, now + 90 * MS);
    finish(&second);
    assert_true(get_long(&at));
    first = take;
    core_note_short(&core, now); /* on an I/O thread */
    assert_false(get_long(&at));
    assert_int_equal(at, now + 100 * MS);
    now += 100 * MS;
    assert_true(get_long(&at));
    finish(&take);
    finish(&first);
    assert_true(get_long(&at));
    finish(&take);
    assert_false(get_long(&at));
    assert_int_equal(at, UINT64_MAX);
    end();
}

/* ---- admission */

static sw_status admit(uint64_t deadline_ns, struct sw_refusal *refusal, struct sw_error *err) {
    return flow_admit(&flow, CREW_SHORT, deadline_ns, now, refusal, err);
}

static void limits_of_count_and_wait(void **state) {
    struct sw_flow_settings s = big();
    s.queue_max = 100;
    s.wait_ns_max = 6 * MS;
    begin(&s);
    struct sw_refusal refusal;
    struct sw_error err;
    size_t admitted = 0;
    /* Without experience: 32 rows in 4.96 ms on each of two workers: 77 us a request. */
    while (admit(0, &refusal, &err) == SW_OK) {
        push(make(1));
        admitted++;
    }
    assert_int_equal(admitted, 78);
    assert_int_equal(refusal.drop, SW_DROP_WAIT);
    assert_int_equal(refusal.retry_after_s, 1);
    assert_string_equal(err.message, "78 inferences of this model wait already: about 6 ms");
    s.wait_ns_max = 0;
    flow_set(&flow, &s);
    while (admit(0, &refusal, &err) == SW_OK) {
        push(make(1));
        admitted++;
    }
    assert_int_equal(admitted, 100);
    assert_int_equal(refusal.drop, SW_DROP_FULL);
    assert_string_equal(err.message, "100 inferences of this model wait already");
    assert_int_equal(flow.dropped[SW_DROP_FULL], 1);
    while (get(0)) {
        finish(&take);
    }
    end();
}

static void pace_and_retry_after(void **state) {
    struct sw_flow_settings s = world_settings(0, 100 * MS);
    s.plan.mode = SW_RUN_SINGLE;
    s.wait_ns_max = 1000 * MS;
    begin(&s);
    struct sw_refusal refusal;
    struct sw_error err;
    uint64_t at;
    bool more;
    for (int i = 0; i < 40; i++) {
        push(make(1));
    }
    for (int i = 0; i < 20; i++) { /* it moves by one in 250 ms, though a run takes 100 */
        assert_true(core_take(&core, CREW_LONG, 0, now, &take, &at, &more));
        now += 250 * MS;
        finish(&take);
    }
    assert_int_equal(flow_admit(&flow, CREW_LONG, 0, now, &refusal, &err), SW_E_TOO_MANY_REQUESTS);
    assert_int_equal(refusal.retry_after_s, 5); /* 20 times 250 ms */
    while (core_take(&core, CREW_LONG, 0, now, &take, &at, &more)) {
        finish(&take);
    }
    end();
}

static void deadlines(void **state) {
    struct sw_flow_settings s = big();
    begin(&s);
    struct sw_refusal refusal;
    struct sw_error err;
    assert_int_equal(admit(now, &refusal, &err), SW_E_DEADLINE_EXCEEDED);
    assert_int_equal(refusal.drop, SW_DROP_DEADLINE);
    assert_int_equal(admit(now + 1, &refusal, &err), SW_OK); /* nothing waits */
    size_t admitted = 0;
    while (admit(now + 20 * MS, &refusal, &err) == SW_OK) {
        struct sw_work *work = make(1);
        work->deadline_ns = now + 20 * MS;
        push(work);
        admitted++;
    }
    assert_in_range(admitted, 142, 144); /* four fifths of it, less one run of 5 ms, at 77.5 us each */
    assert_int_equal(refusal.drop, SW_DROP_WAIT);
    assert_non_null(strstr(err.message, "too long for a deadline in 20 ms"));
    assert_int_equal(admit(now + 100 * MS, &refusal, &err), SW_OK);
    /* Nobody takes them: given up when a run (4.96 ms) would not end in time any more; the first, who was alone, when its
     * time is over. And the next are let in with more care. */
    struct sw_work *expired[200];
    const uint64_t last_start = 20 * MS - 20 * MS / 8 - flow_run_ns(&flow, 32); /* an eighth is for the answers */
    assert_int_equal(core_next_give_up(&core), now + last_start);
    assert_int_equal(core_expire(&core, now + last_start - 1, expired, 200), 0);
    now += last_start;
    assert_int_equal(core_expire(&core, now, expired, 50), 50);
    assert_ptr_equal(expired[0], &works[1]);
    assert_int_equal(expired[0]->drop, SW_DROP_DEADLINE);
    assert_int_equal(expired[0]->queue_ns, last_start);
    assert_int_equal(core_expire(&core, now, expired, 200), admitted - 51);
    assert_int_equal(core_next_give_up(&core), now + 20 * MS - last_start);
    now += 20 * MS - last_start;
    assert_int_equal(core_expire(&core, now, expired, 200), 1);
    assert_ptr_equal(expired[0], &works[0]);
    assert_int_equal(core.waiting, 0);
    assert_int_equal(flow.queues[CREW_SHORT].waiting_rows, 0);
    assert_int_equal(core_next_give_up(&core), UINT64_MAX);
    assert_true(flow.margin < 0.8 && flow.margin > 0.6); /* once in a while, not once a request */
    end();
}

static void waits_no_longer_than_allowed(void **state) {
    struct sw_flow_settings s = big();
    s.wait_ns_max = 30 * MS;
    begin(&s);
    struct sw_work *expired[4], *work = push(make(1));
    now += 30 * MS;
    assert_int_equal(core_expire(&core, now, expired, 4), 1);
    assert_ptr_equal(expired[0], work);
    assert_int_equal(work->drop, SW_DROP_WAIT);
    /* A work that comes back keeps what it has waited, and its time. */
    struct sw_work *task = push(make_task(10));
    now += 20 * MS;
    assert_int_equal(get(0), 1);
    finish(&take);
    task->task = NULL;
    task->returning = true;
    task->rows = task->units = 1;
    push(task);
    now += 9 * MS;
    assert_int_equal(core_expire(&core, now, expired, 4), 0);
    now += 1 * MS;
    assert_int_equal(core_expire(&core, now, expired, 4), 1);
    assert_int_equal(task->queue_ns, 30 * MS);
    end();
}

/* What a task takes on a worker is no waiting. */
static void a_long_task_goes_on_in_time(void **state) {
    struct sw_flow_settings s = big();
    s.wait_ns_max = 30 * MS;
    begin(&s);
    struct sw_work *expired[4], *task = push(make_task(10));
    now += 20 * MS;
    assert_int_equal(get(0), 1);
    now += 1000 * MS;
    finish(&take);
    task->task = NULL;
    task->returning = true;
    task->rows = task->units = 1;
    push(task);
    now += 9 * MS;
    assert_int_equal(core_expire(&core, now, expired, 4), 0);
    now += 1 * MS;
    assert_int_equal(core_expire(&core, now, expired, 4), 1);
    assert_int_equal(task->drop, SW_DROP_WAIT);
    assert_int_equal(task->queue_ns, 30 * MS);
    end();
}

/* Tasks that end by themselves, one after the other, add nothing to a batch: a run that waits gets its turn. */
static void tasks_do_not_starve_runs(void **state) {
    struct sw_flow_settings s = big();
    begin(&s);
    push(make(1));
    bool ran = false;
    push(make_task(100 * US));
    for (int i = 0; i < 50 && !ran; i++) {
        now += 100 * US;
        push(make_task(100 * US)); /* one is always there */
        assert_int_equal(get(0), 1);
        ran = !take.is_task;
        finish(&take);
    }
    assert_true(ran);
    while (get(0)) {
        finish(&take);
    }
    end();
}

/* A model that was loaded anew may be batched where the one before, whose requests still wait, must not be. */
static void who_must_run_alone_does(void **state) {
    struct sw_flow_settings s = big();
    begin(&s);
    for (int i = 0; i < 2; i++) {
        struct sw_work *work = make(1);
        work->alone = true;
        push(work);
    }
    assert_int_equal(get(0), 1);
    finish_later(&take);
    assert_int_equal(get(0), 1);
    finish_later(&take);
    end();
}

/* A moment when nothing moved, after which the queue was empty, says nothing about the pace. */
static void a_standstill_is_not_the_pace(void **state) {
    struct sw_flow_settings s = world_settings(0, 1 * MS);
    s.plan.mode = SW_RUN_SINGLE;
    s.wait_ns_max = 1000 * MS;
    begin(&s);
    struct sw_refusal refusal;
    struct sw_error err;
    struct sw_work *expired[4];
    for (int i = 0; i < 3; i++) {
        push(make(1));
    }
    assert_int_equal(get(0), 1);
    now += 2000 * MS;
    assert_int_equal(core_expire(&core, now, expired, 4), 2);
    finish(&take);
    now += 60000 * MS;
    push(make(1));
    assert_int_equal(get(0), 1);
    finish(&take);
    push(make(1));
    assert_int_equal(admit(0, &refusal, &err), SW_OK);
    assert_int_equal(get(0), 1);
    finish(&take);
    end();
}

/* One slow moment makes the pace look bad; it must not keep requests out for ever after. */
static void a_bad_pace_is_outlived(void **state) {
    struct sw_flow_settings s = world_settings(0, 1 * MS);
    s.plan.mode = SW_RUN_SINGLE;
    begin(&s);
    struct sw_refusal refusal;
    struct sw_error err;
    push(make(1));
    push(make(1));
    assert_int_equal(get(0), 1);
    now += 900 * MS;
    finish(&take);
    assert_int_equal(get(0), 1);
    finish(&take);
    push(make(1));
    assert_int_equal(admit(now + 100 * MS, &refusal, &err), SW_E_TOO_MANY_REQUESTS);
    assert_int_equal(get(0), 1);
    finish(&take);
    for (int i = 0; i < 60; i++) {
        now += 10 * MS;
        push(make(1));
        assert_int_equal(get(0), 1);
        finish(&take);
    }
    push(make(1));
    assert_int_equal(admit(now + 100 * MS, &refusal, &err), SW_OK);
    assert_int_equal(get(0), 1);
    finish(&take);
    end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_means_at_once),
        cmocka_unit_test(waits_for_clients_that_were_here),
        cmocka_unit_test(never_waits_beyond_max_delay_or_what_it_saves),
        cmocka_unit_test(a_light_load_does_not_wait),
        cmocka_unit_test(load_is_measured),
        cmocka_unit_test(a_worker_for_each_needs_no_batch),
        cmocka_unit_test(free_workers_share_what_waits),
        cmocka_unit_test(groups_by_shape_in_order),
        cmocka_unit_test(rows_fit_the_largest_batch),
        cmocka_unit_test(preferred_sizes),
        cmocka_unit_test(high_before_normal_but_not_for_ever),
        cmocka_unit_test(high_leads_the_batch),
        cmocka_unit_test(tasks_feed_batches),
        cmocka_unit_test(concurrency_is_of_runs),
        cmocka_unit_test(long_work_has_its_own_crew),
        cmocka_unit_test(a_core_is_left_to_short_work),
        cmocka_unit_test(limits_of_count_and_wait),
        cmocka_unit_test(pace_and_retry_after),
        cmocka_unit_test(deadlines),
        cmocka_unit_test(waits_no_longer_than_allowed),
        cmocka_unit_test(a_long_task_goes_on_in_time),
        cmocka_unit_test(tasks_do_not_starve_runs),
        cmocka_unit_test(who_must_run_alone_does),
        cmocka_unit_test(a_standstill_is_not_the_pace),
        cmocka_unit_test(a_bad_pace_is_outlived),
    };
    return cmocka_run_group_tests_name("sched/flow", tests, NULL, NULL);
}
