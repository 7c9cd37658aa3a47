/* The audit log: what is appended comes back, and every way of tampering is found and named. */
#include "fixture.h"

#include <stdio.h>

#include "base/memory.h"
#include "store/audit_internal.h"

static void append_many(struct fixture *f, int count) {
    struct sw_tx *tx = begin(f->store, SW_TX_WRITE);
    for (int i = 1; i <= count; i++) {
        append_audit(tx, "digits", i);
    }
    commit(tx);
}

static void expect_fault(struct fixture *f, int64_t seq, const char *fault) {
    struct sw_audit_report report;
    check(sw_audit_verify(f->store, &report, &f->err));
    assert_string_equal(report.fault, fault);
    assert_int_equal(report.fault_seq, seq);
}

static void test_empty_log_holds(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    struct sw_audit_report report;
    check(sw_audit_verify(f->store, &report, &f->err));
    assert_int_equal(report.rows, 0);
    assert_string_equal(report.head_hash, "");
    expect_fault(f, 0, "");
}

/* A reader in another language must come to the same hash; this one was made with Python's hashlib. */
static void test_hash_is_the_documented_one(void **state) {
    (void)state;
    struct sw_audit_row row = {.seq = 1,
                               .time_ms = 1700000000123,
                               .actor = "key:ci",
                               .action = "alias.set",
                               .object = "digits@champion",
                               .request_id = "",
                               .after = "{\"version\":3}"};
    char hash[SW_AUDIT_HASH_MAX];
    sw_audit_hash("", &row, hash);
    assert_string_equal(hash, "a227cc2d3e22dc8397f0695f22d6385acb9dd3091b4531a9ae3680ed9a8b0c49");
    row.seq = 2;
    char second[SW_AUDIT_HASH_MAX];
    sw_audit_hash(hash, &row, second);
    assert_string_equal(second, "b4f76773a9af302de022c9914e63a325b4661090de8a8260754391b3b8f563a4");
}

static void test_long_log_holds(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    append_many(f, 1203); /* more than two pages */
    struct sw_audit_report report;
    check(sw_audit_verify(f->store, &report, &f->err));
    assert_int_equal(report.rows, 1203);
    assert_int_equal(report.fault_seq, 0);
    struct sw_tx *tx = begin(f->store, SW_TX_READ);
    struct sw_rows rows;
    check(sw_tx_query(tx, "SELECT hash FROM audit_head", SW_NO_PARAMS, &f->arena, &rows, &f->err));
    assert_string_equal(report.head_hash, sw_rows_text(&rows, 0, 0));
    sw_tx_rollback(tx);
    raw(f, "DELETE FROM audit WHERE seq = 1001");
    expect_fault(f, 1001, "row 1001 is missing");
    check(sw_audit_verify(f->store, &report, &f->err));
    assert_int_equal(report.rows, 1000);
}

/* A page of such rows takes more memory than verifying is given. */
static void test_large_rows_hold(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    enum { ROWS = 18, BYTES = 8 << 20 };
    SW_AUTO_FREE char *text = sw_xcalloc(1, BYTES + 1);
    memset(text, 'x', BYTES);
    append_many(f, 3);
    for (int i = 0; i < ROWS; i++) {
        json_t *after = json_string(text);
        struct sw_audit_entry entry = {.actor = "a", .action = "model.update", .object = "digits", .after = after};
        struct sw_tx *tx = begin(f->store, SW_TX_WRITE);
        check(sw_audit_append(tx, &entry, 1, NULL, &f->err));
        commit(tx);
        json_decref(after);
    }
    append_many(f, 600);
    struct sw_audit_report report;
    check(sw_audit_verify(f->store, &report, &f->err));
    assert_int_equal(report.rows, ROWS + 603);
    assert_int_equal(report.fault_seq, 0);
    raw(f, "UPDATE audit SET actor = 'b' WHERE seq = 20");
    expect_fault(f, 20, "row 20 was changed, or rows were inserted or removed before it");
}

/* Each begins with 20 rows. */
static const struct {
    const char *what, *sql;
    int64_t seq;
    const char *fault;
} tampering[] = {
    {"actor", "UPDATE audit SET actor = 'somebody' WHERE seq = 7", 7,
     "row 7 was changed, or rows were inserted or removed before it"},
    {"time", "UPDATE audit SET time_ms = time_ms + 1 WHERE seq = 1", 1,
     "row 1 was changed, or rows were inserted or removed before it"},
    {"null", "UPDATE audit SET reason = '' WHERE seq = 20", 20,
     "row 20 was changed, or rows were inserted or removed before it"},
    {"state", "UPDATE audit SET before_json = after_json, after_json = before_json WHERE seq = 3", 3,
     "row 3 was changed, or rows were inserted or removed before it"},
    {"hash", "UPDATE audit SET hash = 'x' WHERE seq = 4", 4,
     "row 4 was changed, or rows were inserted or removed before it"},
    {"middle", "DELETE FROM audit WHERE seq = 8", 8, "row 8 is missing"},
    {"several", "DELETE FROM audit WHERE seq IN (8, 9, 10, 15)", 8, "rows 8 to 10 are missing"},
    {"first", "DELETE FROM audit WHERE seq = 1", 1, "row 1 is missing"},
    {"last", "DELETE FROM audit WHERE seq = 20", 20, "row 20 at the end is missing"},
    {"end", "DELETE FROM audit WHERE seq > 17", 18, "rows 18 to 20 at the end are missing"},
    {"all", "DELETE FROM audit", 1, "rows 1 to 20 at the end are missing"},
    {"closed gap",
     "DELETE FROM audit WHERE seq = 8; UPDATE audit SET seq = -seq WHERE seq > 8;"
     "UPDATE audit SET seq = -seq - 1 WHERE seq < 0",
     8, "row 8 was changed, or rows were inserted or removed before it"},
    {"neighbours",
     "UPDATE audit SET seq = -5 WHERE seq = 5; UPDATE audit SET seq = 5 WHERE seq = 6;"
     "UPDATE audit SET seq = 6 WHERE seq = -5",
     5, "row 5 is out of order: it was written as row 6"},
    {"far",
     "UPDATE audit SET seq = -3 WHERE seq = 3; UPDATE audit SET seq = 3 WHERE seq = 14;"
     "UPDATE audit SET seq = 14 WHERE seq = -3",
     3, "row 3 is out of order: it was written as row 14"},
    {"moved back",
     "UPDATE audit SET seq = -seq WHERE seq > 3; UPDATE audit SET seq = 20 WHERE seq = -4;"
     "UPDATE audit SET seq = -seq - 1 WHERE seq < 0",
     4, "row 4 is out of order: it was written as row 5"},
    {"inserted",
     "UPDATE audit SET seq = -seq WHERE seq >= 10; UPDATE audit SET seq = 1 - seq WHERE seq < 0;"
     "INSERT INTO audit SELECT 10, time_ms, 'forger', action, object, reason, request_id, NULL, NULL, hash "
     "FROM audit WHERE seq = 9; UPDATE audit_head SET seq = 21",
     10, "row 10 was changed, or rows were inserted or removed before it"},
    {"head", "UPDATE audit_head SET hash = 'x'", 20, "row 20 or the head of the log was changed: they do not agree"},
    {"no head", "DELETE FROM audit_head", 21, "the head of the log is missing"},
    {"short head", "UPDATE audit_head SET seq = 12", 13,
     "row 13 was inserted at the end: the head of the log ends before it"},
};

static void test_tampering_is_found_and_named(void **state) {
    struct fixture *f = *state;
    for (size_t i = 0; i < SW_COUNTOF(tampering); i++) {
        fixture_teardown(state);
        fixture_setup(state);
        f = *state;
        fixture_open(f);
        append_many(f, 20);
        expect_fault(f, 0, "");
        raw(f, tampering[i].sql);
        print_message("%s\n", tampering[i].what);
        expect_fault(f, tampering[i].seq, tampering[i].fault);
    }
}

/* A forger who knows how hashes are made but does not move the head. */
static void test_well_made_row_at_the_end(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    append_many(f, 3);
    struct sw_audit_report report;
    check(sw_audit_verify(f->store, &report, &f->err));
    struct sw_audit_row row = {.seq = 4, .time_ms = 5, .actor = "a", .action = "b", .object = "c"};
    char hash[SW_AUDIT_HASH_MAX], sql[300];
    sw_audit_hash(report.head_hash, &row, hash);
    snprintf(sql, sizeof sql,
             "INSERT INTO audit (seq, time_ms, actor, action, object, hash) VALUES (4, 5, 'a', 'b', 'c', '%s')", hash);
    raw(f, sql);
    expect_fault(f, 4, "row 4 was inserted at the end: the head of the log ends before it");
}

static void test_values_of_another_kind(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    if (on_postgres()) {
        skip(); /* its columns have types */
    }
    append_many(f, 3);
    raw(f, "UPDATE audit SET time_ms = 'soon', actor = x'00ff', before_json = 'no json' WHERE seq = 2");
    expect_fault(f, 2, "row 2 was changed, or rows were inserted or removed before it");
    json_t *rows;
    check(sw_audit_list(f->store, &(struct sw_audit_filter){.limit = 10}, &rows, &f->err));
    assert_int_equal(json_array_size(rows), 3);
    assert_string_equal(json_string_value(json_object_get(json_array_get(rows, 1), "before")), "no json");
    json_decref(rows);
}

static void test_append_needs_the_head(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    raw(f, "DELETE FROM audit_head");
    struct sw_tx *tx = begin(f->store, SW_TX_WRITE);
    struct sw_audit_entry entry = {.actor = "a", .action = "b", .object = "c"};
    expect_status(f, sw_audit_append(tx, &entry, 1, NULL, &f->err), SW_E_IO, "audit verify");
    sw_tx_rollback(tx);
}

static void test_rolled_back_with_its_change(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    append_many(f, 1);
    struct sw_tx *tx = begin(f->store, SW_TX_WRITE);
    append_audit(tx, "digits", 2);
    sw_tx_rollback(tx);
    append_many(f, 1);
    assert_int_equal(ask_int(f, "SELECT max(seq) FROM audit"), 2);
    expect_fault(f, 0, "");
}

/* ---- list */

static void add(struct sw_tx *tx, const char *actor, const char *action, const char *object, uint64_t wall_ms) {
    struct sw_error err;
    json_t *before = json_pack("{s:i, s:n}", "b", 1, "a");
    struct sw_audit_entry entry = {
        .actor = actor, .action = action, .object = object, .reason = "why", .request_id = "r-1", .before = before};
    int64_t seq;
    assert_int_equal(sw_audit_append(tx, &entry, wall_ms, &seq, &err), SW_OK);
    json_decref(before);
}

/* The seqs a filter finds, newest first, as text. */
static void expect_list(struct fixture *f, struct sw_audit_filter filter, const char *wanted) {
    json_t *rows;
    filter.limit = filter.limit ? filter.limit : 1000;
    check(sw_audit_list(f->store, &filter, &rows, &f->err));
    char found[200] = "";
    size_t at = 0, i;
    json_t *row;
    json_array_foreach(rows, i, row) {
        at += (size_t)snprintf(found + at, sizeof found - at, "%s%lld", i ? " " : "",
                               (long long)json_integer_value(json_object_get(row, "seq")));
    }
    assert_string_equal(found, wanted);
    json_decref(rows);
}

static void test_list_filters(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    struct sw_tx *tx = begin(f->store, SW_TX_WRITE);
    add(tx, "alice", "model.create", "digits", 1000);
    add(tx, "bob", "version.create", "digits/1", 2000);
    add(tx, "bob", "alias.set", "digits@champion", 3000);
    add(tx, "bob", "model.create", "digits2", 4000);
    add(tx, "alice", "modelling.end", "digits-old/1", 5000);
    add(tx, "key:ci", "model.delete", "DIGITS", 6000);
    commit(tx);
    expect_list(f, (struct sw_audit_filter){0}, "6 5 4 3 2 1");
    expect_list(f, (struct sw_audit_filter){.limit = 2}, "6 5");
    expect_list(f, (struct sw_audit_filter){.limit = 2, .before_seq = 5}, "4 3");
    expect_list(f, (struct sw_audit_filter){.object_prefix = "digits"}, "3 2 1");
    expect_list(f, (struct sw_audit_filter){.object_prefix = "digits/1"}, "2");
    expect_list(f, (struct sw_audit_filter){.object_prefix = "nothing"}, "");
    expect_list(f, (struct sw_audit_filter){.action = "model."}, "6 4 1");
    expect_list(f, (struct sw_audit_filter){.action = "model.create"}, "4 1");
    expect_list(f, (struct sw_audit_filter){.action = "model"}, "");
    expect_list(f, (struct sw_audit_filter){.actor = "bob"}, "4 3 2");
    expect_list(f, (struct sw_audit_filter){.since_ms = 2000, .until_ms = 4000}, "3 2");
    expect_list(f,
                (struct sw_audit_filter){.object_prefix = "digits",
                                         .action = "model.",
                                         .actor = "alice",
                                         .since_ms = 1,
                                         .until_ms = 9000,
                                         .before_seq = 9},
                "1");
    expect_list(f, (struct sw_audit_filter){.actor = "' OR 1 = 1 --"}, "");
}

static void test_list_shows_every_field(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    struct sw_tx *tx = begin(f->store, SW_TX_WRITE);
    add(tx, "alice", "model.create", "digits", 1700000000123);
    commit(tx);
    json_t *rows;
    check(sw_audit_list(f->store, &(struct sw_audit_filter){.limit = 1}, &rows, &f->err));
    json_t *row = json_array_get(rows, 0);
    struct sw_audit_report report;
    check(sw_audit_verify(f->store, &report, &f->err));
    json_t *wanted = json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:{s:n, s:i}, s:n, s:s}", "seq", 1, "time",
                               "2023-11-14T22:13:20.123Z", "actor", "alice", "action", "model.create", "object",
                               "digits", "reason", "why", "request_id", "r-1", "before", "a", "b", 1, "after", "hash",
                               report.head_hash);
    assert_true(json_equal(row, wanted));
    json_decref(wanted);
    json_decref(rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        store_test(test_empty_log_holds),
        cmocka_unit_test(test_hash_is_the_documented_one),
        store_test(test_long_log_holds),
        store_test(test_large_rows_hold),
        store_test(test_tampering_is_found_and_named),
        store_test(test_well_made_row_at_the_end),
        store_test(test_values_of_another_kind),
        store_test(test_append_needs_the_head),
        store_test(test_rolled_back_with_its_change),
        store_test(test_list_filters),
        store_test(test_list_shows_every_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
