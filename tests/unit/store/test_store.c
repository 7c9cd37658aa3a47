/* The store's contract, the same on both databases: values, transactions, revisions, writers in turn, pool, migrations,
 * watcher. */
#include "fixture.h"

#include <stdio.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/thread.h"
#include "store/migrations_internal.h"

/* ---- values */

static void test_values_come_back(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    struct sw_tx *tx = begin(f->store, SW_TX_WRITE);
    exec(tx, "CREATE TABLE t (id BIGINT PRIMARY KEY, i BIGINT, d DOUBLE PRECISION, x TEXT)", SW_NO_PARAMS);
    const struct {
        int64_t i;
        double d;
        const char *x;
    } cases[] = {
        {INT64_MIN, 0.1, ""}, {INT64_MAX, -1e300, "gr\xc3\xbc\xc3\x9f' $1 \"?"}, {0, 5e-324, "a\nb\\"}, {-1, 3, NULL}};
    for (size_t n = 0; n < SW_COUNTOF(cases); n++) {
        int64_t changed;
        check(sw_tx_exec(
            tx, "INSERT INTO t (id, i, d, x) VALUES ($1, $2, $3, $4)",
            SW_PARAMS(sw_v_int((int64_t)n), sw_v_int(cases[n].i), sw_v_double(cases[n].d), sw_v_text(cases[n].x)),
            &changed, &f->err));
        assert_int_equal(changed, 1);
    }
    struct sw_rows rows;
    check(sw_tx_query(tx, "SELECT i, d, x FROM t WHERE id >= $2 AND id < $1 ORDER BY id",
                      SW_PARAMS(sw_v_int(100), sw_v_int(0)), &f->arena, &rows, &f->err));
    assert_int_equal(rows.count, SW_COUNTOF(cases));
    assert_int_equal(rows.columns, 3);
    for (size_t n = 0; n < rows.count; n++) {
        assert_int_equal(sw_rows_int(&rows, n, 0), cases[n].i);
        assert_true(sw_rows_at(&rows, n, 1)->real == cases[n].d);
        assert_int_equal(sw_rows_at(&rows, n, 1)->kind, SW_VALUE_DOUBLE);
        if (cases[n].x) {
            assert_string_equal(sw_rows_text(&rows, n, 2), cases[n].x);
            assert_int_equal(sw_rows_at(&rows, n, 2)->text.len, strlen(cases[n].x));
        } else {
            assert_true(sw_rows_is_null(&rows, n, 2) && !sw_rows_text(&rows, n, 2));
        }
    }
    int64_t changed;
    check(sw_tx_exec(tx, "UPDATE t SET x = $1 WHERE id < $2", SW_PARAMS(sw_v_null(), sw_v_int(2)), &changed, &f->err));
    assert_int_equal(changed, 2);
    check(sw_tx_exec(tx, "CREATE INDEX t_i ON t (i)", SW_NO_PARAMS, &changed, &f->err));
    assert_int_equal(changed, 0);
    check(
        sw_tx_query(tx, "DELETE FROM t WHERE id = $1 RETURNING i", SW_PARAMS(sw_v_int(3)), &f->arena, &rows, &f->err));
    assert_int_equal(sw_rows_int(&rows, 0, 0), -1);
    check(sw_tx_query(tx, "SELECT count(*), sum(id) FROM t", SW_NO_PARAMS, &f->arena, &rows, &f->err));
    assert_int_equal(sw_rows_int(&rows, 0, 0), 3);
    assert_int_equal(sw_rows_int(&rows, 0, 1), 3);
    check(sw_tx_query(tx, "SELECT i FROM t WHERE id = $1", SW_PARAMS(sw_v_int(77)), &f->arena, &rows, &f->err));
    assert_int_equal(rows.count, 0);
    assert_int_equal(rows.columns, 1);
    commit(tx);
}

static void test_text_must_be_utf8_without_nul(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    const struct sw_str bad[] = {SW_STR("a\0b"), SW_STR("\xff"), SW_STR("\xed\xa0\x80")};
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        struct sw_tx *tx = begin(f->store, SW_TX_WRITE);
        expect_status(f, sw_tx_exec(tx, "UPDATE audit_head SET hash = $1", SW_PARAMS(sw_v_str(bad[i])), NULL, &f->err),
                      SW_E_INVALID_ARGUMENT, "UTF-8");
        sw_tx_rollback(tx);
    }
}

static void test_result_larger_than_arena(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    struct sw_tx *tx = begin(f->store, SW_TX_WRITE);
    exec(tx, "CREATE TABLE t (id BIGINT PRIMARY KEY, x TEXT)", SW_NO_PARAMS);
    for (int i = 0; i < 2000; i++) {
        exec(tx, "INSERT INTO t VALUES ($1, $2)", SW_PARAMS(sw_v_int(i), sw_v_text("a text of some length, really")));
    }
    commit(tx);
    struct sw_arena small;
    sw_arena_init(&small, 65536, 0);
    tx = begin(f->store, SW_TX_READ);
    struct sw_rows rows = {.count = 77};
    expect_status(f, sw_tx_query(tx, "SELECT id, x FROM t", SW_NO_PARAMS, &small, &rows, &f->err), SW_E_TOO_LARGE, "");
    assert_int_equal(rows.count, 77);
    sw_tx_rollback(tx);
    sw_arena_deinit(&small);
    assert_int_equal(ask_int(f, "SELECT count(*) FROM t"), 2000); /* the connection is still good */
    check(sw_store_health(f->store, &f->err));
}

static void test_many_statements(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    struct sw_tx *tx = begin(f->store, SW_TX_READ);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < SW_STORE_STATEMENTS_MAX + 50; i++) {
            char sql[64];
            struct sw_rows rows;
            snprintf(sql, sizeof sql, "SELECT CAST(%d AS BIGINT) + $1", i);
            check(sw_tx_query(tx, sql, SW_PARAMS(sw_v_int(1)), &f->arena, &rows, &f->err));
            assert_int_equal(sw_rows_int(&rows, 0, 0), i + 1);
        }
    }
    sw_tx_rollback(tx);
}

/* ---- transactions */

static void test_commit_and_rollback(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    struct sw_tx *tx = begin(f->store, SW_TX_WRITE);
    assert_int_equal(sw_tx_revision(tx), 1);
    assert_ptr_equal(sw_tx_store(tx), f->store);
    exec(tx, "CREATE TABLE t (id BIGINT PRIMARY KEY)", SW_NO_PARAMS);
    exec(tx, "INSERT INTO t VALUES (1)", SW_NO_PARAMS);
    commit(tx);
    tx = begin(f->store, SW_TX_WRITE);
    assert_int_equal(sw_tx_revision(tx), 2);
    exec(tx, "INSERT INTO t VALUES (2)", SW_NO_PARAMS);
    sw_tx_rollback(tx);
    sw_tx_rollback(NULL);
    assert_int_equal(ask_int(f, "SELECT count(*) FROM t"), 1);
    tx = begin(f->store, SW_TX_WRITE);
    assert_int_equal(sw_tx_revision(tx), 2); /* one that was rolled back does not count */
    commit(tx);
    tx = begin(f->store, SW_TX_READ);
    assert_int_equal(sw_tx_revision(tx), 2);
    commit(tx);
}

static void test_failed_statement_ends_the_transaction(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    struct sw_tx *tx = begin(f->store, SW_TX_WRITE);
    exec(tx, "CREATE TABLE t (id BIGINT PRIMARY KEY, up BIGINT REFERENCES t (id))", SW_NO_PARAMS);
    exec(tx, "INSERT INTO t VALUES (1, NULL)", SW_NO_PARAMS);
    commit(tx);
    const char *const bad[] = {"INSERT INTO t VALUES (1, NULL)", "INSERT INTO t VALUES (3, 99)"};
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        tx = begin(f->store, SW_TX_WRITE);
        exec(tx, "INSERT INTO t VALUES (2, 1)", SW_NO_PARAMS);
        expect_status(f, sw_tx_exec(tx, bad[i], SW_NO_PARAMS, NULL, &f->err), SW_E_CONFLICT, "");
        expect_status(f, sw_tx_exec(tx, "INSERT INTO t VALUES (4, 1)", SW_NO_PARAMS, NULL, &f->err), SW_E_CONFLICT,
                      "earlier");
        expect_status(f, sw_tx_commit(tx, &f->err), SW_E_CONFLICT, "earlier");
        assert_int_equal(ask_int(f, "SELECT count(*) FROM t"), 1);
    }
}

static void test_faults_of_the_program(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    const struct {
        const char *sql;
        size_t count;
    } cases[] = {{"SELEC 1", 0}, {"SELECT $1 + 1", 0}, {"SELECT x FROM nowhere", 0}, {"SELECT 1", 1}};
    size_t count = SW_COUNTOF(cases) - on_postgres(); /* which does not mind a value too many */
    for (size_t i = 0; i < count; i++) {
        struct sw_tx *tx = begin(f->store, SW_TX_READ);
        struct sw_value one = sw_v_int(1);
        struct sw_rows rows;
        expect_status(f, sw_tx_query(tx, cases[i].sql, &one, cases[i].count, &f->arena, &rows, &f->err), SW_E_INTERNAL,
                      cases[i].sql);
        sw_tx_rollback(tx);
    }
}

static void test_read_transactions_change_nothing(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    struct sw_tx *tx = begin(f->store, SW_TX_READ);
    expect_status(f, sw_tx_exec(tx, "UPDATE store_state SET revision = 100", SW_NO_PARAMS, NULL, &f->err),
                  SW_E_INTERNAL, "UPDATE store_state");
    sw_tx_rollback(tx);
    check(sw_store_health(f->store, &f->err));
    assert_int_equal(ask_int(f, "SELECT revision FROM store_state"), 0);
}

static void test_readers_see_one_state(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    struct sw_tx *writer = begin(f->store, SW_TX_WRITE);
    exec(writer, "CREATE TABLE t (id BIGINT PRIMARY KEY)", SW_NO_PARAMS);
    commit(writer);
    struct sw_tx *reader = begin(f->store, SW_TX_READ);
    writer = begin(f->store, SW_TX_WRITE); /* neither waits for the other */
    exec(writer, "INSERT INTO t VALUES (1)", SW_NO_PARAMS);
    commit(writer);
    struct sw_rows rows;
    check(sw_tx_query(reader, "SELECT count(*) FROM t", SW_NO_PARAMS, &f->arena, &rows, &f->err));
    assert_int_equal(sw_rows_int(&rows, 0, 0), 0);
    assert_int_equal(sw_tx_revision(reader), 1);
    sw_tx_rollback(reader);
    assert_int_equal(ask_int(f, "SELECT count(*) FROM t"), 1);
}

/* ---- writers */

enum { WRITERS = 6, WRITES = 25 };

static void *count_up(void *arg) {
    struct fixture *f = arg;
    struct sw_arena arena;
    sw_arena_init(&arena, 0, 0);
    for (int i = 0; i < WRITES; i++) {
        struct sw_tx *tx = begin(f->store, SW_TX_WRITE);
        struct sw_rows rows;
        struct sw_error err;
        sw_status status = sw_tx_query(tx, "SELECT n FROM t", SW_NO_PARAMS, &arena, &rows, &err);
        assert_int_equal(status, SW_OK);
        exec(tx, "UPDATE t SET n = $1, revision = $2",
             SW_PARAMS(sw_v_int(sw_rows_int(&rows, 0, 0) + 1), sw_v_int(sw_tx_revision(tx))));
        append_audit(tx, "counter", i);
        commit(tx);
    }
    sw_arena_deinit(&arena);
    return NULL;
}

static void test_writers_follow_one_another(void **state) {
    struct fixture *f = *state;
    f->options.pool_max = 2; /* fewer than writers: who waits for its turn holds no connection */
    fixture_open(f);
    struct sw_tx *tx = begin(f->store, SW_TX_WRITE);
    exec(tx, "CREATE TABLE t (n BIGINT, revision BIGINT)", SW_NO_PARAMS);
    exec(tx, "INSERT INTO t VALUES (0, 0)", SW_NO_PARAMS);
    commit(tx);
    pthread_t threads[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        check(sw_thread_start(&threads[i], "writer", 0, count_up, f, &f->err));
    }
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(ask_int(f, "SELECT n FROM t"), WRITERS * WRITES);
    assert_int_equal(ask_int(f, "SELECT revision FROM t"), WRITERS * WRITES + 1);
    struct sw_audit_report report;
    check(sw_audit_verify(f->store, &report, &f->err));
    assert_int_equal(report.rows, WRITERS * WRITES);
    assert_int_equal(report.fault_seq, 0);
}

static void test_a_second_store_waits_for_the_writer(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    f->store->options.statement_timeout_ms = 50;
    f->options.statement_timeout_ms = 1000;
    struct sw_store *other;
    check(sw_store_open(&f->options, &other, &f->err));
    struct sw_tx *tx = begin(f->store, SW_TX_WRITE), *refused;
    expect_status(f, sw_store_begin(other, SW_TX_WRITE, &refused, &f->err), SW_E_UNAVAILABLE, "");
    expect_status(f, sw_store_begin(f->store, SW_TX_WRITE, &refused, &f->err), SW_E_UNAVAILABLE, "waited 50 ms");
    struct sw_tx *reader = begin(other, SW_TX_READ);
    sw_tx_rollback(reader);
    commit(tx);
    tx = begin(other, SW_TX_WRITE);
    assert_int_equal(sw_tx_revision(tx), 2);
    sw_tx_rollback(tx);
    sw_store_close(other);
}

struct runner {
    struct sw_turn *turn;
    int id;
    int *order;
    int *at;
};

static void *take_turn(void *arg) {
    struct runner *runner = arg;
    assert_true(sw_turn_take(runner->turn, UINT64_MAX));
    runner->order[(*runner->at)++] = runner->id; /* guarded by the turn */
    sw_turn_give(runner->turn);
    return NULL;
}

/* How many wait; the queue's length is all that tells that a thread has come. */
static bool has_joined(struct sw_turn *turn, const struct sw_turn_waiter *before) {
    pthread_mutex_lock(&turn->mutex);
    bool joined = turn->last != before;
    pthread_mutex_unlock(&turn->mutex);
    return joined;
}

static void test_turns_go_by_arrival(void **state) {
    struct fixture *f = *state;
    struct sw_turn turn;
    sw_turn_init(&turn);
    assert_true(sw_turn_take(&turn, 0));
    assert_false(sw_turn_take(&turn, 0));
    pthread_t threads[5];
    struct runner runners[5];
    int order[5], at = 0;
    for (int i = 0; i < 5; i++) {
        const struct sw_turn_waiter *before = turn.last;
        runners[i] = (struct runner){.turn = &turn, .id = i, .order = order, .at = &at};
        check(sw_thread_start(&threads[i], "runner", 0, take_turn, &runners[i], &f->err));
        while (!has_joined(&turn, before)) {
            sched_yield();
        }
    }
    assert_false(sw_turn_take(&turn, 1)); /* leaves the queue again, from its end */
    sw_turn_give(&turn);
    for (int i = 0; i < 5; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(order[i], i);
    }
    sw_turn_deinit(&turn);
}

/* ---- pool */

static void *begin_and_end(void *arg) {
    struct fixture *f = arg;
    sw_tx_rollback(begin(f->store, SW_TX_READ));
    return NULL;
}

static void test_pool_is_bounded(void **state) {
    struct fixture *f = *state;
    f->options.pool_max = 2;
    f->options.pool_wait_ms = 0;
    fixture_open(f);
    struct sw_tx *first = begin(f->store, SW_TX_READ), *second = begin(f->store, SW_TX_READ), *third;
    expect_status(f, sw_store_begin(f->store, SW_TX_READ, &third, &f->err), SW_E_UNAVAILABLE, "all 2 connections");
    check(sw_store_health(f->store, &f->err)); /* busy is not broken */
    sw_tx_rollback(first);
    third = begin(f->store, SW_TX_READ);
    f->store->options.pool_wait_ms = 60000;
    pthread_t waiting;
    check(sw_thread_start(&waiting, "waiting", 0, begin_and_end, f, &f->err));
    sw_tx_rollback(third);
    sw_tx_rollback(second);
    pthread_join(waiting, NULL);
}

static void test_options_are_checked(void **state) {
    struct fixture *f = *state;
    struct sw_store *store;
    const char *const urls[] = {"mysql://localhost/x", "sqlite:", "", "/just/a/path"};
    for (size_t i = 0; i < SW_COUNTOF(urls); i++) {
        f->options.url = urls[i];
        expect_status(f, sw_store_open(&f->options, &store, &f->err), SW_E_USAGE, "sqlite:PATH");
    }
    f->options.url = f->url;
    f->options.pool_max = 21;
    expect_status(f, sw_store_open(&f->options, &store, &f->err), SW_E_USAGE, "1 to 20");
    f->options.pool_max = 0;
    expect_status(f, sw_store_open(&f->options, &store, &f->err), SW_E_USAGE, "1 to 20");
    sw_store_close(NULL);
}

/* ---- migrations */

static int open_and_append(struct fixture *f) {
    struct sw_tx *tx;
    if (sw_store_open(&f->options, &f->store, &f->err) || sw_store_begin(f->store, SW_TX_WRITE, &tx, &f->err)) {
        fprintf(stderr, "child: %s\n", f->err.message);
        return 1;
    }
    append_audit(tx, "child", 1);
    int code = sw_tx_commit(tx, &f->err) ? 2 : 0;
    sw_store_close(f->store);
    return code;
}

static void test_replicas_migrate_at_once(void **state) {
    struct fixture *f = *state;
    enum { REPLICAS = 8 };
    int children[REPLICAS];
    for (int i = 0; i < REPLICAS; i++) {
        children[i] = child_start(open_and_append, f);
    }
    open_gate(f);
    for (int i = 0; i < REPLICAS; i++) {
        assert_int_equal(child_wait(children[i]), 0);
    }
    fixture_open(f);
    assert_int_equal(ask_int(f, "SELECT count(*) FROM schema_migrations"), sw_migration_count);
    assert_int_equal(ask_int(f, "SELECT revision FROM store_state"), REPLICAS);
    struct sw_audit_report report;
    check(sw_audit_verify(f->store, &report, &f->err));
    assert_int_equal(report.rows, REPLICAS);
    assert_int_equal(report.fault_seq, 0);
}

static void test_newer_database_is_refused(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    sw_store_close(f->store);
    f->store = NULL;
    raw(f, "INSERT INTO schema_migrations (number, name, sha256, applied_ms) VALUES (4711, 'of_tomorrow', 'x', 0)");
    struct sw_store *store;
    expect_status(f, sw_store_open(&f->options, &store, &f->err), SW_E_CONFLICT, "4711 (of_tomorrow)");
    raw(f, "DELETE FROM schema_migrations WHERE number = 4711");
    raw(f, "UPDATE schema_migrations SET sha256 = 'x' WHERE number = 2");
    expect_status(f, sw_store_open(&f->options, &store, &f->err), SW_E_CONFLICT, "0002 (audit)");
}

static void test_missing_migrations_are_applied(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    sw_store_close(f->store);
    raw(f, "DELETE FROM schema_migrations WHERE number = 3");
    raw(f, "DROP TABLE predictions");
    fixture_open(f);
    assert_int_equal(ask_int(f, "SELECT count(*) FROM predictions"), 0);
    assert_int_equal(ask_int(f, "SELECT count(*) FROM schema_migrations"), sw_migration_count);
}

static void test_failing_migration_changes_nothing(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    sw_store_close(f->store);
    f->store = NULL;
    raw(f, "DELETE FROM schema_migrations WHERE number = 2");
    raw(f, "DROP TABLE audit_head"); /* so that 0002 gets as far as `audit`, which is there */
    struct sw_store *store;
    expect_status(f, sw_store_open(&f->options, &store, &f->err), SW_E_INTERNAL, "migration 0002_audit");
    raw(f, "DROP TABLE audit");
    fixture_open(f);
    assert_int_equal(ask_int(f, "SELECT count(*) FROM audit_head"), 1);
}

/* ---- a look */

static void expect_applied(struct fixture *f, int wanted) {
    int applied = -1, known = -1;
    check(sw_store_inspect(&f->options, &applied, &known, &f->err));
    assert_int_equal(applied, wanted);
    assert_int_equal(known, sw_migration_count);
}

static void test_a_look_counts_and_migrates_nothing(void **state) {
    struct fixture *f = *state;
    int count = (int)sw_migration_count;
    fixture_open(f);
    expect_applied(f, count); /* while it is in use */
    commit(begin(f->store, SW_TX_WRITE));
    sw_store_close(f->store);
    f->store = NULL;
    expect_applied(f, count);
    raw(f, "DELETE FROM schema_migrations WHERE number = 3");
    raw(f, "DROP TABLE predictions");
    expect_applied(f, count - 1);
    expect_applied(f, count - 1);
    raw(f, "CREATE TABLE predictions (id INTEGER)"); /* it was not made by looking */
}

static void test_a_look_refuses_what_is_not_ours(void **state) {
    struct fixture *f = *state;
    int applied = -1, known = -1;
    fixture_open(f);
    sw_store_close(f->store);
    f->store = NULL;
    raw(f, "INSERT INTO schema_migrations (number, name, sha256, applied_ms) VALUES (4711, 'of_tomorrow', 'x', 0)");
    expect_status(f, sw_store_inspect(&f->options, &applied, &known, &f->err), SW_E_CONFLICT, "4711 (of_tomorrow)");
    raw(f, "DELETE FROM schema_migrations WHERE number = 4711");
    raw(f, "UPDATE schema_migrations SET sha256 = 'x' WHERE number = 2");
    expect_status(f, sw_store_inspect(&f->options, &applied, &known, &f->err), SW_E_CONFLICT, "0002 (audit)");
    raw(f, "DROP TABLE store_state");
    expect_status(f, sw_store_inspect(&f->options, &applied, &known, &f->err), SW_E_CONFLICT, "another program");
    assert_int_equal(applied, -1);
}

/* ---- watching */

struct seen {
    pthread_mutex_t mutex;
    pthread_cond_t news;
    int64_t revision;
    int calls;
};

static void on_change(void *arg, int64_t revision) {
    struct seen *seen = arg;
    pthread_mutex_lock(&seen->mutex);
    seen->revision = revision;
    seen->calls++;
    pthread_cond_signal(&seen->news);
    pthread_mutex_unlock(&seen->mutex);
}

static void seen_init(struct seen *seen) {
    *seen = (struct seen){.revision = -1};
    pthread_mutex_init(&seen->mutex, NULL);
    sw_cond_init_monotonic(&seen->news);
}

static void wait_for_revision(struct seen *seen, int64_t revision) {
    uint64_t deadline_ns = sw_deadline_ns(60000);
    pthread_mutex_lock(&seen->mutex);
    bool in_time = true;
    while (seen->revision != revision && in_time) {
        in_time = sw_cond_wait_until(&seen->news, &seen->mutex, deadline_ns);
    }
    int64_t found = seen->revision;
    pthread_mutex_unlock(&seen->mutex);
    assert_int_equal(found, revision);
}

static void test_watcher_hears_this_process(void **state) {
    struct fixture *f = *state;
    f->options.poll_ms = 3600000; /* it would come too late */
    fixture_open(f);
    struct seen seen;
    seen_init(&seen);
    check(sw_store_watch(f->store, on_change, &seen, &f->err));
    wait_for_revision(&seen, 0);
    for (int i = 1; i <= 3; i++) {
        commit(begin(f->store, SW_TX_WRITE));
        wait_for_revision(&seen, i);
    }
    sw_store_close(f->store);
    f->store = NULL;
    assert_int_equal(seen.calls, 4);
}

static void watch_another_process(struct fixture *f) {
    struct seen seen;
    seen_init(&seen);
    int child = child_start(open_and_append, f); /* before there is any thread */
    fixture_open(f);
    check(sw_store_watch(f->store, on_change, &seen, &f->err));
    wait_for_revision(&seen, 0);
    open_gate(f);
    assert_int_equal(child_wait(child), 0);
    wait_for_revision(&seen, 1);
}

static void test_watcher_hears_another_process(void **state) {
    struct fixture *f = *state;
    f->options.poll_ms = on_postgres() ? 3600000 : 10; /* PostgreSQL: only the notification can tell in time */
    watch_another_process(f);
}

static void test_watcher_polls_without_notifications(void **state) {
    struct fixture *f = *state;
    f->options.notify = false;
    f->options.poll_ms = 10;
    watch_another_process(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        store_test(test_values_come_back),
        store_test(test_text_must_be_utf8_without_nul),
        store_test(test_result_larger_than_arena),
        store_test(test_many_statements),
        store_test(test_commit_and_rollback),
        store_test(test_failed_statement_ends_the_transaction),
        store_test(test_faults_of_the_program),
        store_test(test_read_transactions_change_nothing),
        store_test(test_readers_see_one_state),
        store_test(test_writers_follow_one_another),
        store_test(test_a_second_store_waits_for_the_writer),
        store_test(test_turns_go_by_arrival),
        store_test(test_pool_is_bounded),
        store_test(test_options_are_checked),
        store_test(test_replicas_migrate_at_once),
        store_test(test_newer_database_is_refused),
        store_test(test_missing_migrations_are_applied),
        store_test(test_failing_migration_changes_nothing),
        store_test(test_a_look_counts_and_migrates_nothing),
        store_test(test_a_look_refuses_what_is_not_ours),
        store_test(test_watcher_hears_this_process),
        store_test(test_watcher_hears_another_process),
        store_test(test_watcher_polls_without_notifications),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
