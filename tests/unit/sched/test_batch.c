/* Batches: what is joined, how outputs are split, whose memory lives how long, and who fails. */
#include "sched/batch.h"
#include "session.h"

enum { REQUESTS = 12, INPUTS = 2 };

struct request {
    struct sw_work work; /* first */
    struct sw_arena arena;
    struct sw_tensor inputs[INPUTS];
    uint32_t wanted[2];
    sw_status status;
    char message[64];
    int done, sent;
};

static struct session session;
static struct sw_batch_pool *pool;
static struct sw_batch_runner runner;
static struct sw_batch_report reports[64];
static size_t report_count;

static void note_report(void *arg, const struct sw_batch_report *report) {
    assert_true(report_count < 64);
    reports[report_count++] = *report;
}

/* Of a batch whose requests are all answered and forgotten as soon as the last one is done; NULL: of none. */
static struct request *forgotten;
static size_t forgotten_count;
static size_t unsent, most_unsent; /* done, but not sent: now, and at most */

static void note_done(struct sw_work *work, sw_status status, const struct sw_error *err) {
    struct request *r = (struct request *)work;
    assert_int_equal(r->sent, r->done);
    r->status = status;
    snprintf(r->message, sizeof r->message, "%.63s", status ? err->message : "");
    r->done++;
    unsent++;
    most_unsent = unsent > most_unsent ? unsent : most_unsent;
}

static void note_sent(struct sw_work *work) {
    struct request *r = (struct request *)work;
    assert_int_equal(++r->sent, r->done);
    unsent--;
    if (forgotten && r == &forgotten[forgotten_count - 1]) {
        for (size_t i = 0; i < forgotten_count; i++) {
            sw_arena_deinit(&forgotten[i].arena);
        }
        assert_int_equal(session.alive, 0); /* the model may be unloaded now */
    }
}

/* `rows` rows of `width` numbers in each of `inputs` inputs: value, value + 1, ... */
static void request_init(struct request *r, size_t inputs, int64_t rows, int64_t width, float value) {
    static const char *const names[INPUTS] = {"x0", "x1"};
    *r = (struct request){.wanted = {0, 1}};
    sw_arena_init(&r->arena, 0, 0);
    for (size_t i = 0; i < inputs; i++) {
        struct sw_error err;
        assert_int_equal(sw_tensor_alloc(&r->inputs[i], &r->arena, sw_str_of(names[i]), SW_DTYPE_FP32,
                                         (int64_t[]){rows, width}, 2, &err),
                         SW_OK);
        for (size_t k = 0; k < r->inputs[i].count; k++) {
            ((float *)r->inputs[i].data)[k] = value + (float)k;
        }
    }
    r->work = (struct sw_work){.done = note_done,
                               .send = note_sent,
                               .session = &session.base,
                               .inputs = r->inputs,
                               .input_count = inputs,
                               .wanted = r->wanted,
                               .wanted_count = 2,
                               .arena = &r->arena};
    sw_work_measure(&r->work);
}

static void run(struct request *requests, size_t count) {
    struct sw_work *works[REQUESTS];
    for (size_t i = 0; i < count; i++) {
        works[i] = &requests[i].work;
    }
    report_count = most_unsent = 0;
    sw_batch_run(&runner, works, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(requests[i].done, 1);
        assert_int_equal(requests[i].sent, 1);
    }
}

static void check_rows(const struct request *r, const float *expected) {
    assert_int_equal(r->status, SW_OK);
    for (size_t o = 0; o < 2; o++) {
        const struct sw_tensor *t = &r->work.outputs[o];
        assert_int_equal(t->shape[0], r->inputs[0].shape[0]);
        assert_int_equal(t->count, r->inputs[0].shape[0]);
        for (size_t row = 0; row < t->count; row++) {
            assert_true(((const float *)t->data)[row] == expected[row] * (float)(o + 1));
        }
    }
}

static int setup(void **state) {
    session_init(&session, 1, -1, 2);
    pool = sw_batch_pool_create();
    runner = (struct sw_batch_runner){.pool = pool, .clock = sw_clock_system(), .report = note_report};
    return 0;
}

static int setup_two_inputs(void **state) {
    setup(state);
    sw_specs_deinit(&session.inputs);
    session.inputs = session_specs("x", 2, -1, -1);
    return 0;
}

static int teardown(void **state) {
    sw_batch_runner_deinit(&runner);
    sw_batch_pool_destroy(pool);
    session_deinit(&session);
    return 0;
}

static void rows_come_back_to_their_requests(void **state) {
    struct request r[3];
    request_init(&r[0], 1, 2, 2, 10); /* rows 10 11, 12 13 */
    request_init(&r[1], 1, 1, 2, 20);
    request_init(&r[2], 1, 3, 2, 30);
    run(r, 3);
    check_rows(&r[0], (float[]){21, 25});
    check_rows(&r[1], (float[]){41});
    check_rows(&r[2], (float[]){61, 65, 69});
    assert_int_equal(session.runs, 1);
    assert_int_equal(session.rows_max, 6);
    assert_int_equal(report_count, 1);
    assert_int_equal(reports[0].requests, 3);
    assert_int_equal(most_unsent, 3); /* all answers are made before the first is sent */
    assert_int_equal(reports[0].rows, 6);
    assert_int_equal(reports[0].units, 6);
    assert_int_equal(r[1].work.batch_rows, 6);
    assert_true((uintptr_t)session.last_data % 64 == 0);
    /* The runtime's memory lives until the last request lets go of it, whatever the order. */
    for (size_t i = 0; i < 3; i++) {
        static const size_t order[] = {1, 0, 2};
        assert_int_equal(session.alive, 2);
        check_rows(&r[2], (float[]){61, 65, 69});
        sw_arena_deinit(&r[order[i]].arena);
    }
    assert_int_equal(session.alive, 0);
}

static void alone_nothing_is_copied(void **state) {
    struct request r;
    request_init(&r, 1, 2, 2, 1);
    run(&r, 1);
    check_rows(&r, (float[]){3, 7});
    assert_ptr_equal(session.last_data, r.inputs[0].data);
    sw_arena_deinit(&r.arena);
}

static void inputs_in_another_order(void **state) {
    struct request r[2];
    request_init(&r[0], 2, 1, 2, 1);
    request_init(&r[1], 2, 1, 2, 5);
    struct sw_tensor swapped = r[1].inputs[0];
    r[1].inputs[0] = r[1].inputs[1];
    r[1].inputs[1] = swapped;
    ((float *)r[1].inputs[0].data)[0] = 100; /* x1 */
    sw_work_measure(&r[1].work);
    assert_true(sw_batch_joins(&r[0].work, &r[1].work));
    run(r, 2);
    check_rows(&r[0], (float[]){6});
    check_rows(&r[1], (float[]){5 + 6 + 100 + 6});
    sw_arena_deinit(&r[0].arena);
    sw_arena_deinit(&r[1].arena);
}

static void what_can_be_joined(void **state) {
    struct request a, b;
    struct session other;
    session_init(&other, 2, -1, -1);
    request_init(&a, 2, 2, 3, 1);
    request_init(&b, 2, 5, 3, 1);
    assert_true(sw_batch_joins(&a.work, &b.work));
    assert_int_equal(b.work.rows, 5);
    assert_int_equal(b.work.units, 15); /* of the smallest run, [1, 1] */
    assert_int_equal(b.work.bytes, 2 * 15 * 4);
    b.work.session = &other.base;
    assert_false(sw_batch_joins(&a.work, &b.work));
    b.work.session = &session.base;
    b.wanted[1] = 0;
    assert_false(sw_batch_joins(&a.work, &b.work));
    b.wanted[1] = 1;
    b.work.wanted_count = 1;
    assert_false(sw_batch_joins(&a.work, &b.work));
    b.work.wanted_count = 2;
    b.work.input_count = 1;
    sw_work_measure(&b.work);
    assert_false(sw_batch_joins(&a.work, &b.work));
    sw_arena_deinit(&b.arena);
    request_init(&b, 2, 2, 4, 1); /* another width is another group */
    assert_false(sw_batch_joins(&a.work, &b.work));
    b.inputs[0].dtype = SW_DTYPE_INT32;
    b.inputs[0].shape[1] = b.inputs[1].shape[1] = 3;
    sw_work_measure(&b.work);
    assert_false(sw_batch_joins(&a.work, &b.work));
    sw_arena_deinit(&b.arena);
    request_init(&b, 2, 2, 3, 1);
    b.inputs[1].shape[0] = 1; /* which of both are the rows? */
    sw_work_measure(&b.work);
    assert_int_equal(b.work.rows, 0);
    assert_false(sw_batch_joins(&a.work, &b.work));
    sw_arena_deinit(&b.arena);
    request_init(&b, 2, 0, 3, 1); /* no rows */
    assert_int_equal(b.work.rows, 0);
    assert_int_equal(b.work.units, 1);
    sw_arena_deinit(&b.arena);
    sw_arena_deinit(&a.arena);
    session_deinit(&other);
}

static void a_bad_row_fails_alone(void **state) {
    for (size_t bad = 0; bad < REQUESTS; bad++) {
        struct request r[REQUESTS];
        unsigned before = session.runs;
        for (size_t i = 0; i < REQUESTS; i++) {
            request_init(&r[i], 1, 1 + (int64_t)(i % 2), 2, 1000 * (float)i);
        }
        ((float *)r[bad].inputs[0].data)[0] = SESSION_POISON;
        run(r, REQUESTS);
        for (size_t i = 0; i < REQUESTS; i++) {
            assert_int_equal(r[i].status, i == bad ? SW_E_INFERENCE_FAILED : SW_OK);
            if (i == bad) {
                assert_string_equal(r[i].message, "poison");
            } else {
                float v = 1000 * (float)i;
                check_rows(&r[i], (float[]){2 * v + 1, 2 * v + 5});
            }
        }
        assert_true(session.runs - before <= 9); /* halves, not all twelve */
        for (size_t i = 0; i < REQUESTS; i++) {
            sw_arena_deinit(&r[i].arena);
        }
        assert_int_equal(session.alive, 0);
    }
}

static void all_bad(void **state) {
    struct request r[4];
    for (size_t i = 0; i < 4; i++) {
        request_init(&r[i], 1, 1, 2, SESSION_POISON);
    }
    run(r, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(r[i].status, SW_E_INFERENCE_FAILED);
        sw_arena_deinit(&r[i].arena);
    }
    assert_int_equal(session.runs, 7);
}

/* An output that has other rows than the inputs cannot be split: each runs alone, and the report says so. */
static void outputs_that_are_no_rows(void **state) {
    struct request r[2];
    session.mode = SESSION_COUNT;
    request_init(&r[0], 1, 1, 2, 1); /* two positive numbers */
    request_init(&r[1], 1, 1, 2, 0); /* one */
    run(r, 2);
    assert_int_equal(r[0].status, SW_OK);
    assert_int_equal(r[0].work.outputs[0].shape[0], 2);
    assert_int_equal(r[1].work.outputs[0].shape[0], 1);
    assert_int_equal(report_count, 3);
    assert_true(reports[0].unsplittable && reports[0].status == SW_E_INFERENCE_FAILED);
    assert_false(reports[1].unsplittable || reports[2].unsplittable);
    sw_arena_deinit(&r[0].arena);
    sw_arena_deinit(&r[1].arena);
}

/* A request whose own memory is used up fails; its neighbours do not. */
static void a_full_arena_fails_alone(void **state) {
    struct request r[2];
    request_init(&r[0], 1, 1, 2, 1);
    request_init(&r[1], 1, 1, 2, 1);
    r[0].arena.limit = r[0].arena.allocated;
    while (sw_arena_alloc(&r[0].arena, 16)) {
    }
    run(r, 2);
    assert_int_equal(r[0].status, SW_E_UNAVAILABLE);
    assert_int_equal(r[1].status, SW_OK);
    sw_arena_deinit(&r[0].arena);
    sw_arena_deinit(&r[1].arena);
}

static void nothing_of_a_session_outlives_the_requests(void **state) {
    struct request r[3];
    for (size_t i = 0; i < 3; i++) {
        request_init(&r[i], 1, 1, 2, 1);
    }
    forgotten = r;
    forgotten_count = 3;
    run(r, 3);
    forgotten = NULL;
    assert_int_equal(session.runs, 1);
}

static void memory_is_used_again(void **state) {
    for (int round = 0; round < 50; round++) {
        struct request r[2];
        request_init(&r[0], 1, 200, 2, 1);
        request_init(&r[1], 1, 300, 2, 1);
        run(r, 2);
        assert_int_equal(reports[0].rows, 500);
        sw_arena_deinit(&r[0].arena);
        sw_arena_deinit(&r[1].arena);
        assert_int_equal(session.alive, 0);
    }
    assert_true(runner.scratch_size > 0 && runner.scratch_size <= 8192);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_come_back_to_their_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(alone_nothing_is_copied, setup, teardown),
        cmocka_unit_test_setup_teardown(inputs_in_another_order, setup_two_inputs, teardown),
        cmocka_unit_test_setup_teardown(what_can_be_joined, setup_two_inputs, teardown),
        cmocka_unit_test_setup_teardown(a_bad_row_fails_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(all_bad, setup, teardown),
        cmocka_unit_test_setup_teardown(outputs_that_are_no_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_arena_fails_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_of_a_session_outlives_the_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_is_used_again, setup, teardown),
    };
    return cmocka_run_group_tests_name("sched/batch", tests, NULL, NULL);
}
