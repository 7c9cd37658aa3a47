/* The scheduler under load, in simulated time: batches under closed loops, shares among models, goodput in overload.
 *
 * Clients of a closed loop send the next request `think` after the answer; those of an open loop at fixed intervals.
 * Workers take as long as the model says. Everything is exact and the same on every machine. */
#include <stdlib.h>

#include "world.h"

enum { FLOWS = 17, CLIENTS = 128, POOL = 4096, SAMPLES = 100000 };

struct model {
    struct sw_flow flow;
    uint64_t run_ns, row_ns; /* as it is, whatever the settings say */
    uint64_t busy_ns, rows, runs, done, in_time, refused, late;
    uint64_t *latency_ns; /* of the first SAMPLES answers */
};

struct client {
    struct model *model;
    bool open;
    uint64_t period_ns;  /* think time, or interval */
    uint64_t timeout_ns; /* 0: none */
    uint64_t next_at;    /* UINT64_MAX: waits for its answer */
};

struct request {
    struct sw_work work; /* first */
    struct client *client;
    uint64_t sent_ns;
    bool used;
};

struct hand {
    bool busy;
    uint64_t until, since;
    struct take take;
};

static struct session session;
static struct core core;
static struct model models[FLOWS];
static size_t model_count;
static struct client clients[CLIENTS];
static size_t client_count;
static struct request requests[POOL];
static struct hand hands[CREWS][WORLD_WORKERS];
static unsigned workers;
static uint64_t now;

/* ---- building */

static void world_begin(unsigned worker_count) {
    session_init(&session, 1, -1, 2);
    core_init(&core, worker_count, 20 * MS);
    workers = worker_count;
    model_count = client_count = 0;
    memset(hands, 0, sizeof hands);
    memset(requests, 0, sizeof requests);
    now = 1000 * MS;
}

static struct model *add_model(const struct sw_flow_settings *settings, uint64_t run_ns, uint64_t row_ns) {
    struct model *m = &models[model_count++];
    *m = (struct model){.run_ns = run_ns, .row_ns = row_ns, .latency_ns = sw_xcalloc(SAMPLES, sizeof(uint64_t))};
    core_add(&core);
    flow_init(&m->flow, &core, settings, m);
    return m;
}

static void add_clients(struct model *m, size_t count, bool open, uint64_t period_ns, uint64_t timeout_ns) {
    for (size_t i = 0; i < count; i++) {
        assert_true(client_count < CLIENTS);
        clients[client_count++] = (struct client){m, open, period_ns, timeout_ns, now + 1 + i * period_ns / count};
    }
}

/* ---- the world */

static struct request *new_request(void) {
    for (size_t i = 0; i < POOL; i++) {
        if (!requests[i].used) {
            requests[i].used = true;
            return &requests[i];
        }
    }
    fail_msg("more requests than the world holds");
    return NULL;
}

static void answered(struct request *r, bool ok) {
    struct client *c = r->client;
    struct model *m = c->model;
    uint64_t latency = now - r->sent_ns;
    if (ok) {
        m->latency_ns[m->done < SAMPLES ? m->done : SAMPLES - 1] = latency;
        m->done++;
        m->in_time += !c->timeout_ns || latency <= c->timeout_ns;
    }
    if (!c->open) {
        c->next_at = now + c->period_ns;
    }
    r->used = false;
}

static void send_request(struct client *c) {
    struct request *r = new_request();
    struct sw_refusal refusal;
    struct sw_flow *flow = &c->model->flow;
    world_work(&session, &r->work, 1);
    r->client = c;
    r->sent_ns = now;
    r->work.deadline_ns = c->timeout_ns ? now + c->timeout_ns : 0;
    r->work.shape_hash = (uint64_t)(c->model - models);
    c->next_at = c->open ? now + c->period_ns : UINT64_MAX;
    enum crew crew = flow_crew(flow, &r->work);
    if (flow_admit(flow, crew, r->work.deadline_ns, now, &refusal, NULL)) {
        c->model->refused++;
        answered(r, false);
        return;
    }
    core_push(&core, &flow->queues[crew], &r->work, now);
}

static void end_take(struct hand *h) {
    struct model *m = h->take.queue->flow->owner;
    uint64_t took = h->until - h->since;
    core_finish(&core, &h->take, now, took, 0);
    m->busy_ns += took;
    m->runs++;
    for (size_t i = 0; i < h->take.count; i++) {
        m->rows += h->take.works[i]->rows;
        answered((struct request *)h->take.works[i], true);
    }
    h->busy = false;
}

static void expire(void) {
    struct sw_work *expired[64];
    size_t count;
    while (core_next_give_up(&core) <= now && (count = core_expire(&core, now, expired, 64))) {
        for (size_t i = 0; i < count; i++) {
            ((struct request *)expired[i])->client->model->late++;
            answered((struct request *)expired[i], false);
        }
    }
}

static unsigned idle_of(enum crew crew) {
    unsigned idle = 0;
    for (unsigned i = 0; i < workers; i++) {
        idle += !hands[crew][i].busy;
    }
    return idle;
}

/* Idle workers look for work; returns when to look again. */
static uint64_t look(void) {
    uint64_t again = UINT64_MAX;
    for (unsigned crew = 0; crew < CREWS; crew++) {
        for (unsigned i = 0; i < workers; i++) {
            struct hand *h = &hands[crew][i];
            uint64_t at = UINT64_MAX;
            bool more;
            if (!h->busy && core_take(&core, crew, idle_of(crew) - 1, now, &h->take, &at, &more)) {
                const struct model *m = h->take.queue->flow->owner;
                *h = (struct hand){
                    .busy = true, .since = now, .take = h->take, .until = now + m->run_ns + h->take.count * m->row_ns};
            }
            again = at < again ? at : again;
        }
    }
    return again;
}

static uint64_t next_event(uint64_t again) {
    uint64_t at = again, give_up = core_next_give_up(&core);
    at = give_up < at ? give_up : at;
    for (size_t i = 0; i < client_count; i++) {
        at = clients[i].next_at < at ? clients[i].next_at : at;
    }
    for (unsigned i = 0; i < CREWS * WORLD_WORKERS; i++) {
        const struct hand *h = &hands[i / WORLD_WORKERS][i % WORLD_WORKERS];
        at = h->busy && h->until < at ? h->until : at;
    }
    return at;
}

static void run_for(uint64_t ns) {
    uint64_t end = now + ns;
    while (now < end) {
        now = next_event(look());
        for (unsigned i = 0; i < CREWS * WORLD_WORKERS; i++) {
            struct hand *h = &hands[i / WORLD_WORKERS][i % WORLD_WORKERS];
            if (h->busy && h->until <= now) {
                end_take(h);
            }
        }
        expire();
        for (size_t i = 0; i < client_count; i++) {
            if (clients[i].next_at <= now) {
                send_request(&clients[i]);
            }
        }
    }
}

static void forget_counts(void) {
    for (size_t i = 0; i < model_count; i++) {
        struct model *m = &models[i];
        m->busy_ns = m->rows = m->runs = m->done = m->in_time = m->refused = m->late = 0;
    }
}

static void world_end(void) {
    for (size_t i = 0; i < client_count; i++) {
        clients[i].open = false;
        clients[i].period_ns = clients[i].next_at = UINT64_MAX / 2; /* nobody sends any more */
    }
    while (core.waiting || idle_of(CREW_SHORT) + idle_of(CREW_LONG) < 2 * workers) {
        run_for(1);
    }
    for (size_t i = 0; i < model_count; i++) {
        core_remove(&core, &models[i].flow);
        sw_free(models[i].latency_ns);
    }
    core_deinit(&core);
    session_deinit(&session);
}

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t percentile(struct model *m, unsigned p) {
    size_t count = m->done < SAMPLES ? m->done : SAMPLES;
    assert_true(count >= 100);
    qsort(m->latency_ns, count, sizeof(uint64_t), compare);
    return m->latency_ns[count * p / 100];
}

/* ---- batches */

enum { RUN = 480, ROW = 140 }; /* the big MLP, in us */

static struct model *add_big(double slower) {
    struct sw_flow_settings s = world_settings(RUN * US, ROW * US);
    return add_model(&s, (uint64_t)(slower * RUN) * US, (uint64_t)(slower * ROW) * US);
}

/* 32 clients, two workers: at best 16 rows at a time on each, 11,800 requests a second, less what the clients need. */
static void a_closed_loop_fills_batches(void **state) {
    world_begin(2);
    struct model *m = add_big(1);
    add_clients(m, 32, false, 100 * US, 0);
    run_for(200 * MS);
    forget_counts();
    run_for(2000 * MS);
    double rate = (double)m->done / 2, batch = (double)m->rows / (double)m->runs;
    print_message("closed loop: %.0f requests/s, batches of %.1f\n", rate, batch);
    assert_true(rate >= 0.9 * 1e9 * 32 / (2.72e6 + 0.1e6));
    assert_true(batch >= 14);
    world_end();
}

/* One client is never made to wait. */
static void one_client_waits_for_nobody(void **state) {
    world_begin(2);
    struct model *m = add_big(1);
    add_clients(m, 1, false, 60 * US, 0);
    run_for(1000 * MS);
    assert_int_equal(percentile(m, 99), (RUN + ROW) * US);
    world_end();
}

/* A light open load is answered as if there were no batching. */
static void a_light_load_is_not_delayed(void **state) {
    world_begin(2);
    struct model *m = add_big(1);
    add_clients(m, 3, true, 10 * MS, 0); /* 300 a second, never two at once */
    run_for(3000 * MS);
    assert_int_equal(percentile(m, 99), (RUN + ROW) * US);
    world_end();
}

/* A load of two fifths is answered within little more than without any wait; one that is heavier, in larger batches. */
static void delays_grow_with_the_load(void **state) {
    double batch[2];
    static const double loads[] = {0.4, 0.95};
    for (size_t i = 0; i < 2; i++) {
        world_begin(2);
        struct model *m = add_big(1);
        size_t count = (size_t)(100 * loads[i]);
        add_clients(m, count, true, (uint64_t)(1e9 * 100 / 11700), 0); /* of 11,700 a second */
        run_for(2000 * MS);
        batch[i] = (double)m->rows / (double)m->runs;
        print_message("%.2f of the load: p50 %.2f ms, batches of %.1f\n", loads[i], (double)percentile(m, 50) / 1e6,
                      batch[i]);
        assert_true(i == 1 || percentile(m, 50) <= 2 * (RUN + ROW) * US);
        world_end();
    }
    assert_true(batch[0] < 4 && batch[1] > 8);
}

/* ---- shares */

static struct sw_flow_settings single(uint64_t run_ns, double weight) {
    struct sw_flow_settings s = world_settings(0, run_ns);
    s.plan.mode = SW_RUN_SINGLE;
    s.plan.max_batch = 1;
    s.weight = weight;
    return s;
}

static void time_is_shared_by_weight(void **state) {
    world_begin(2);
    const struct {
        uint64_t run_us;
        double weight;
        size_t clients;
    } cases[] = {{1000, 1, 50}, {4000, 1, 5}, {250, 2, 20}, {500, 0.5, 8}};
    for (size_t i = 0; i < 4; i++) {
        struct sw_flow_settings s = single(cases[i].run_us * US, cases[i].weight);
        add_clients(add_model(&s, 0, cases[i].run_us * US), cases[i].clients, false, 0, 0);
    }
    run_for(8000 * MS);
    double whole = 2 * 8e9 / 4.5;
    for (size_t i = 0; i < 4; i++) {
        double share = (double)models[i].busy_ns / (cases[i].weight * whole);
        print_message("weight %.1f: %.3f of its share\n", cases[i].weight, share);
        assert_true(share > 0.97 && share < 1.03);
    }
    world_end();
}

/* Fifteen models of 1 ms with one client each, two workers; then also one with `slow_us` and many clients. */
static uint64_t p99_of_fifteen(uint64_t slow_us, size_t slow_clients) {
    world_begin(2);
    struct sw_flow_settings fast = single(1 * MS, 1), slow = single(slow_us * US, 1);
    uint64_t worst = 0;
    for (size_t i = 0; i < 15; i++) {
        add_clients(add_model(&fast, 0, 1 * MS), 1, false, 2 * MS, 0);
    }
    if (slow_clients) {
        add_clients(add_model(&slow, 0, slow_us * US), slow_clients, false, 0, 0);
    }
    run_for(5000 * MS);
    for (size_t i = 0; i < 15; i++) {
        uint64_t p99 = percentile(&models[i], 99);
        worst = p99 > worst ? p99 : worst;
    }
    world_end();
    return worst;
}

static void one_model_does_not_hold_up_the_others(void **state) {
    uint64_t alone = p99_of_fifteen(0, 0);
    uint64_t flooded = p99_of_fifteen(1000, 64), slower = p99_of_fifteen(5000, 16), slow = p99_of_fifteen(100000, 8);
    print_message("p99 of the others: alone %.1f ms, beside a flooded model %.1f, a slower one %.1f, a slow one %.1f\n",
                  (double)alone / 1e6, (double)flooded / 1e6, (double)slower / 1e6, (double)slow / 1e6);
    assert_true(flooded <= 2 * alone);
    assert_true(slower <= 2 * alone);
    assert_true(slow <= 2 * alone);
}

/* A model that slept for long does not get all the time it did not use. */
static void sleeping_earns_nothing(void **state) {
    world_begin(1);
    struct sw_flow_settings s = single(1 * MS, 1);
    struct model *steady = add_model(&s, 0, 1 * MS), *sleeper = add_model(&s, 0, 1 * MS);
    add_clients(steady, 4, false, 0, 0);
    run_for(5000 * MS);
    forget_counts();
    add_clients(sleeper, 4, false, 0, 0);
    run_for(200 * MS);
    assert_true(steady->busy_ns >= 95 * MS);
    assert_true(sleeper->busy_ns >= 95 * MS);
    world_end();
}

/* ---- overload */

static double peak_rate(void) {
    world_begin(2);
    struct model *m = add_big(1);
    add_clients(m, 128, false, 0, 0);
    run_for(2000 * MS);
    double rate = (double)m->done / 2;
    world_end();
    return rate;
}

/* `times` the load that can be carried, answers wanted within 50 ms; the model takes `slower` times as long as was
 * measured. Returns the part of the peak that is answered in time. */
static double goodput(double peak, double times, double slower, uint64_t *ret_p99) {
    world_begin(2);
    struct model *m = add_big(slower);
    double rate = peak / slower * times;
    add_clients(m, 100, true, (uint64_t)(100 * 1e9 / rate), 50 * MS);
    run_for(1000 * MS);
    forget_counts();
    run_for(3000 * MS);
    double good = (double)m->in_time / 3 / (peak / slower);
    *ret_p99 = percentile(m, 99);
    print_message("%.1f times the load, %.1f times as slow as measured: goodput %.3f of the peak, p99 %.1f ms, %llu "
                  "refused, %llu late\n",
                  times, slower, good, (double)*ret_p99 / 1e6, (unsigned long long)m->refused,
                  (unsigned long long)m->late);
    world_end();
    return good;
}

static void overload_keeps_the_goodput(void **state) {
    double peak = peak_rate();
    uint64_t p99;
    static const double loads[] = {0.5, 0.9, 2, 5};
    for (size_t i = 0; i < SW_COUNTOF(loads); i++) {
        assert_true(goodput(peak, loads[i], 1, &p99) >= 0.9 * (loads[i] < 1 ? loads[i] : 1));
        assert_true(p99 <= 50 * MS);
    }
    /* Also when all that was measured at load is wrong. */
    assert_true(goodput(peak, 2, 3, &p99) >= 0.9);
    assert_true(p99 <= 50 * MS);
    assert_true(goodput(peak, 2, 0.4, &p99) >= 0.9);
    assert_true(p99 <= 50 * MS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_closed_loop_fills_batches), cmocka_unit_test(one_client_waits_for_nobody),
        cmocka_unit_test(a_light_load_is_not_delayed), cmocka_unit_test(delays_grow_with_the_load),
        cmocka_unit_test(time_is_shared_by_weight),    cmocka_unit_test(one_model_does_not_hold_up_the_others),
        cmocka_unit_test(sleeping_earns_nothing),      cmocka_unit_test(overload_keeps_the_goodput),
    };
    return cmocka_run_group_tests_name("sched/load", tests, NULL, NULL);
}
