/* Predictions by day: PostgreSQL's partitions, SQLite's deleting through the index. */
#include "store/partitions.h"
#include "fixture.h"

#include <stdio.h>

#define DAY_MS 86400000ull
#define NOON (1795219200000ull + DAY_MS / 2) /* 2026-11-21, 12:00 UTC */

static void add_prediction(struct sw_tx *tx, int number, uint64_t time_ms) {
    char id[24];
    snprintf(id, sizeof id, "p%d", number);
    exec(tx,
         "INSERT INTO predictions (id, time_ms, model, version, request_id, inputs, outputs, latency_us, status) "
         "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
         SW_PARAMS(sw_v_text(id), sw_v_int((int64_t)time_ms), sw_v_text("digits"), sw_v_int(1), sw_v_null(),
                   sw_v_text("[1]"), sw_v_text("[2]"), sw_v_int(250), sw_v_int(200)));
}

static void add_predictions(struct fixture *f, int first, int count, uint64_t time_ms) {
    struct sw_tx *tx = begin(f->store, SW_TX_WRITE);
    for (int i = 0; i < count; i++) {
        add_prediction(tx, first + i, time_ms + (uint64_t)i);
    }
    commit(tx);
}

static void expect_partitions(struct fixture *f, const char *wanted) {
    struct sw_partition *partitions;
    size_t count, at = 0;
    check(sw_partitions_list(f->store, &f->arena, &partitions, &count, &f->err));
    char found[300] = "";
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(partitions[i].until_ms - partitions[i].from_ms, DAY_MS);
        at += (size_t)snprintf(found + at, sizeof found - at, "%s%s", i ? " " : "", partitions[i].name);
    }
    assert_string_equal(found, wanted);
}

static void test_ensure_makes_what_is_missing(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    unsigned made = 77;
    check(sw_partitions_ensure(f->store, NOON, 2, &made, &f->err));
    assert_int_equal(made, on_postgres() ? 3 : 0);
    int64_t revision = ask_int(f, "SELECT revision FROM store_state");
    check(sw_partitions_ensure(f->store, NOON, 2, &made, &f->err));
    assert_int_equal(made, 0);
    assert_int_equal(ask_int(f, "SELECT revision FROM store_state"), revision); /* nothing done, nobody woken */
    check(sw_partitions_ensure(f->store, NOON + DAY_MS, 2, NULL, &f->err));
    expect_partitions(f, on_postgres() ? "predictions_20261121 predictions_20261122 predictions_20261123 "
                                         "predictions_20261124"
                                       : "");
}

static void test_rows_move_out_of_the_default(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    add_predictions(f, 0, 10, NOON);
    add_predictions(f, 100, 5, NOON + 40 * DAY_MS); /* no day for them yet */
    check(sw_partitions_ensure(f->store, NOON, 1, NULL, &f->err));
    add_predictions(f, 200, 3, NOON);
    assert_int_equal(ask_int(f, "SELECT count(*) FROM predictions"), 18);
    if (on_postgres()) {
        assert_int_equal(ask_int(f, "SELECT count(*) FROM predictions_default"), 5);
        assert_int_equal(ask_int(f, "SELECT count(*) FROM predictions_20261121"), 13);
    }
}

static void test_expire_removes_what_is_older(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    check(sw_partitions_ensure(f->store, NOON - 3 * DAY_MS, 4, NULL, &f->err));
    for (int day = 0; day < 5; day++) {
        add_predictions(f, day * 100, 10, NOON - 3 * DAY_MS + (uint64_t)day * DAY_MS);
    }
    add_predictions(f, 900, 4, NOON - 30 * DAY_MS); /* in the default partition */
    unsigned dropped;
    int64_t deleted;
    check(sw_partitions_expire(f->store, NOON - DAY_MS + 5, &dropped, &deleted, &f->err));
    assert_int_equal(dropped, on_postgres() ? 2 : 0);
    assert_int_equal(deleted, on_postgres() ? 4 + 5 : 4 + 25);
    assert_int_equal(ask_int(f, "SELECT count(*) FROM predictions"), 25);
    assert_int_equal(ask_int(f, "SELECT min(time_ms) FROM predictions"), NOON - DAY_MS + 5);
    expect_partitions(f, on_postgres() ? "predictions_20261120 predictions_20261121 predictions_20261122" : "");
    check(sw_partitions_expire(f->store, NOON - DAY_MS + 5, NULL, &deleted, &f->err));
    assert_int_equal(deleted, 0);
}

static void test_expire_of_many_rows(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    add_predictions(f, 0, 4500, NOON); /* more than two bites */
    int64_t deleted;
    check(sw_partitions_expire(f->store, NOON + 4400, NULL, &deleted, &f->err));
    assert_int_equal(deleted, 4400);
    assert_int_equal(ask_int(f, "SELECT count(*) FROM predictions"), 100);
}

static void test_foreign_partitions_are_left_alone(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    if (!on_postgres()) {
        skip();
    }
    raw(f, "CREATE TABLE predictions_20261399 PARTITION OF predictions FOR VALUES FROM (0) TO (10)");
    raw(f, "CREATE TABLE predictions_old PARTITION OF predictions FOR VALUES FROM (10) TO (20)");
    expect_partitions(f, "");
    unsigned dropped;
    check(sw_partitions_expire(f->store, NOON, &dropped, NULL, &f->err));
    assert_int_equal(dropped, 0);
}

static int ensure_in_child(struct fixture *f) {
    unsigned made;
    if (sw_store_open(&f->options, &f->store, &f->err) || sw_partitions_ensure(f->store, NOON, 6, &made, &f->err)) {
        fprintf(stderr, "child: %s\n", f->err.message);
        return 100;
    }
    sw_store_close(f->store);
    return (int)made;
}

static void test_replicas_make_partitions_at_once(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    sw_store_close(f->store);
    f->store = NULL;
    int children[4], made = 0;
    for (int i = 0; i < 4; i++) {
        children[i] = child_start(ensure_in_child, f);
    }
    open_gate(f);
    for (int i = 0; i < 4; i++) {
        made += child_wait(children[i]);
    }
    assert_int_equal(made, on_postgres() ? 7 : 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        store_test(test_ensure_makes_what_is_missing),      store_test(test_rows_move_out_of_the_default),
        store_test(test_expire_removes_what_is_older),      store_test(test_expire_of_many_rows),
        store_test(test_foreign_partitions_are_left_alone), store_test(test_replicas_make_partitions_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
