/* Trials at load: rows that influence each other are found, rounding is forgiven, and time is limited. */
#include <stdio.h>

#include "sched/probe.h"
#include "session.h"

static struct session session;
static struct sw_clock hand;

static struct sw_probe probe(uint64_t budget_ns) {
    struct sw_probe p;
    const struct sw_probe_options o = {
        .clock = &hand, .rows_max = 64, .budget_ns = budget_ns, .run_ns = 1100, .slow_ns = 500000000};
    sw_probe_run(&session.base, &o, &p);
    return p;
}

static void start(enum session_mode mode, int64_t rows) {
    sw_clock_manual_init(&hand, 1);
    session_init(&session, 2, rows, 3);
    session.mode = mode;
    session.clock = &hand;
    session.run_ns = 1000;
    session.row_ns = 100;
}

static void independent_rows(void **state) {
    start(SESSION_SUM, -1);
    struct sw_probe p = probe(1000000000);
    assert_int_equal(p.rows, SW_ROWS_APART);
    assert_string_equal(p.note, "");
    for (uint64_t n = 1; n <= 64; n *= 2) {
        assert_int_equal(sw_profile_ns(&p.profile, n), 1000 + n * 100);
    }
    assert_int_equal(session.rows_max, 64);
    session_deinit(&session);
}

static void rounding_is_no_influence(void **state) {
    start(SESSION_DRIFT, -1);
    assert_int_equal(probe(1000000000).rows, SW_ROWS_APART);
    session_deinit(&session);
}

static void rows_that_influence_each_other(void **state) {
    start(SESSION_MEAN, -1);
    struct sw_probe p = probe(1000000000);
    assert_int_equal(p.rows, SW_ROWS_LINKED);
    assert_non_null(strstr(p.note, "rows influence each other: output 'y0'"));
    assert_int_equal(sw_profile_ns(&p.profile, 1), 1100); /* as warmed up */
    session_deinit(&session);
}

static void outputs_of_another_length(void **state) {
    start(SESSION_COUNT, -1);
    struct sw_probe p = probe(1000000000);
    assert_int_equal(p.rows, SW_ROWS_LINKED);
    assert_non_null(strstr(p.note, "for 4 rows and"));
    session_deinit(&session);
}

static void fixed_dimensions(void **state) {
    start(SESSION_SUM, 1);
    struct sw_probe p = probe(1000000000);
    assert_int_equal(p.rows, SW_ROWS_NONE);
    assert_string_equal(p.note, "dimension 0 of input 'x0' is fixed at 1");
    assert_int_equal(session.runs, 0);
    session.inputs.items[0].shape[0] = session.inputs.items[1].shape[0] = -1;
    session.outputs.items[1].rank = 0;
    p = probe(1000000000);
    assert_int_equal(p.rows, SW_ROWS_NONE);
    assert_string_equal(p.note, "output 'y1' has no dimensions");
    session.outputs.items[1].rank = 2;
    session.inputs.items[0].shape[0] = 7;
    session.inputs.items[0].optional = true; /* need not be given */
    assert_int_equal(probe(1000000000).rows, SW_ROWS_APART);
    session_deinit(&session);
}

static sw_status refuse(struct sw_session *s, const struct sw_tensor *inputs, size_t count, const uint32_t *wanted,
                        size_t wanted_count, struct sw_tensor *ret, struct sw_arena *arena, struct sw_error *err) {
    return sw_fail(err, SW_E_INFERENCE_FAILED, "not these numbers");
}

static void a_model_that_refuses_random_rows(void **state) {
    start(SESSION_SUM, -1);
    struct sw_engine_ops ops = *session.engine.ops;
    ops.run = refuse;
    session.engine.ops = &ops;
    struct sw_probe p = probe(1000000000);
    assert_int_equal(p.rows, SW_ROWS_UNTESTED);
    assert_string_equal(p.note, "it does not run on random rows: not these numbers");
    session_deinit(&session);
}

static void time_is_limited(void **state) {
    start(SESSION_SUM, -1);
    session.run_ns = 10000000;
    session.row_ns = 5000000; /* 15 ms a row alone; together 8 runs of the trial */
    uint64_t before = hand.fake_ns;
    struct sw_probe p = probe(200000000);
    assert_int_equal(p.rows, SW_ROWS_APART);
    assert_true(hand.fake_ns - before <= 200000000 + 30000000 + 4 * 15000000);
    assert_int_equal(p.profile.ns[0], 15000000);
    assert_int_equal(p.profile.ns[1], 20000000);
    assert_int_equal(p.profile.ns[2], 30000000);
    assert_int_equal(p.profile.ns[3], 0);
    session_deinit(&session);
    /* What is slow beyond that is not tried at all. */
    start(SESSION_SUM, -1);
    const struct sw_probe_options o = {
        .clock = &hand, .rows_max = 64, .budget_ns = 1, .run_ns = 600000000, .slow_ns = 500000000};
    sw_probe_run(&session.base, &o, &p);
    assert_int_equal(p.rows, SW_ROWS_UNTESTED);
    assert_string_equal(p.note, "a run takes 600 ms: too long for a trial");
    assert_int_equal(session.runs, 0);
    session_deinit(&session);
}

/* Rows that do not get cheaper together are not tried in ever larger numbers. */
static void stops_when_nothing_is_gained(void **state) {
    start(SESSION_SUM, -1);
    session.run_ns = 0;
    struct sw_probe p = probe(1000000000);
    assert_int_equal(session.rows_max, 4);
    assert_int_equal(sw_profile_ns(&p.profile, 4), 400);
    session_deinit(&session);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(independent_rows),
        cmocka_unit_test(rounding_is_no_influence),
        cmocka_unit_test(rows_that_influence_each_other),
        cmocka_unit_test(outputs_of_another_length),
        cmocka_unit_test(fixed_dimensions),
        cmocka_unit_test(a_model_that_refuses_random_rows),
        cmocka_unit_test(time_is_limited),
        cmocka_unit_test(stops_when_nothing_is_gained),
    };
    return cmocka_run_group_tests_name("sched/probe", tests, NULL, NULL);
}
