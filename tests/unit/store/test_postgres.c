/* What only a server can suffer: being away, being killed, hanging; and how the store comes back. Needs
 * SLIPWAY_TEST_POSTGRES. */
#include "fixture.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/thread.h"

/* A port of 127.0.0.1 that takes connections into its queue and never answers, or that nobody listens on. */
static int make_port(bool listening, unsigned *ret_port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    if (listening) {
        assert_int_equal(listen(fd, 8), 0);
    }
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static const char *password(const struct fixture *f) {
    static char text[100];
    const char *at = strstr(f->url, "slipway:") + strlen("slipway:");
    snprintf(text, sizeof text, "%.*s", (int)(strchr(at, '@') - at), at);
    return text;
}

static void expect_away(struct fixture *f, const char *part_of_message) {
    struct sw_tx *tx;
    expect_status(f, sw_store_begin(f->store, SW_TX_WRITE, &tx, &f->err), SW_E_UNAVAILABLE, part_of_message);
    assert_null(strstr(f->err.message, password(f)));
    expect_status(f, sw_store_health(f->store, &f->err), SW_E_UNAVAILABLE, "");
}

static void write_row(struct fixture *f) {
    struct sw_tx *tx = begin(f->store, SW_TX_WRITE);
    append_audit(tx, "digits", 1);
    commit(tx);
}

static void test_nobody_listens(void **state) {
    struct fixture *f = *state;
    unsigned port;
    int fd = make_port(false, &port);
    char url[200];
    snprintf(url, sizeof url, "postgresql://slipway:%s@127.0.0.1:%u/slipway", password(f), port);
    f->options.url = url;
    fixture_open(f);
    expect_away(f, "cannot connect to PostgreSQL at 127.0.0.1");
    close(fd);
}

static void test_a_look_at_a_server_that_is_away(void **state) {
    struct fixture *f = *state;
    unsigned port;
    int applied = -1, known = -1;
    int fd = make_port(false, &port);
    char url[200];
    check(sw_store_inspect(&f->options, &applied, &known, &f->err));
    assert_int_equal(applied, 0); /* empty: nothing was made */
    raw(f, "CREATE TABLE store_state (id int); DROP TABLE store_state");
    snprintf(url, sizeof url, "postgresql://slipway:%s@127.0.0.1:%u/slipway", password(f), port);
    f->options.url = url;
    expect_status(f, sw_store_inspect(&f->options, &applied, &known, &f->err), SW_E_UNAVAILABLE,
                  "cannot connect to PostgreSQL at 127.0.0.1");
    close(fd);
}

static void test_no_answer(void **state) {
    struct fixture *f = *state;
    unsigned port;
    int fd = make_port(true, &port);
    char url[200];
    snprintf(url, sizeof url, "postgresql://slipway:%s@127.0.0.1:%u/slipway", password(f), port);
    f->options.url = url;
    f->options.connect_timeout_ms = 50;
    fixture_open(f);
    expect_away(f, "no answer within 50 ms");
    close(fd);
}

static void test_wrong_password_and_url(void **state) {
    struct fixture *f = *state;
    char url[512];
    snprintf(url, sizeof url, "%s", f->url);
    strstr(url, "slipway:")[strlen("slipway:")] ^= 1;
    f->options.url = url;
    fixture_open(f);
    expect_away(f, "authentication failed");
    f->options.url = "postgresql://slipway:secret@[::1/x";
    struct sw_store *store;
    expect_status(f, sw_store_open(&f->options, &store, &f->err), SW_E_USAGE, "URL");
    assert_null(strstr(f->err.message, "secret"));
}

static void test_foreign_tables_are_refused(void **state) {
    struct fixture *f = *state;
    raw(f, "CREATE TABLE schema_migrations (version TEXT)");
    struct sw_store *store;
    expect_status(f, sw_store_open(&f->options, &store, &f->err), SW_E_CONFLICT, "another program");
    raw(f, "DROP TABLE schema_migrations; CREATE TABLE albums (id int)"); /* others may live beside us */
    fixture_open(f);
}

static void test_types_of_results(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    struct sw_tx *tx = begin(f->store, SW_TX_READ);
    struct sw_rows rows;
    check(sw_tx_query(tx, "SELECT true, 1 > 2, 7::int2, -7::int4, 1.5::numeric, 2.5::float4, NULL::int8, 'x'::varchar",
                      SW_NO_PARAMS, &f->arena, &rows, &f->err));
    assert_int_equal(sw_rows_int(&rows, 0, 0), 1);
    assert_int_equal(sw_rows_int(&rows, 0, 1), 0);
    assert_int_equal(sw_rows_int(&rows, 0, 2), 7);
    assert_int_equal(sw_rows_int(&rows, 0, 3), -7);
    assert_true(sw_rows_at(&rows, 0, 4)->real == 1.5);
    assert_true(sw_rows_at(&rows, 0, 5)->real == 2.5);
    assert_true(sw_rows_is_null(&rows, 0, 6));
    assert_string_equal(sw_rows_text(&rows, 0, 7), "x");
    sw_tx_rollback(tx);
}

static void test_session_waits_for_the_disk(void **state) {
    struct fixture *f = *state;
    raw(f, "ALTER ROLE slipway SET synchronous_commit = off");
    fixture_open(f);
    int64_t on = ask_int(f, "SELECT CASE WHEN current_setting('synchronous_commit') = 'on' THEN 1 ELSE 0 END");
    raw(f, "ALTER ROLE slipway RESET synchronous_commit");
    assert_int_equal(on, 1);
}

static void test_statement_takes_too_long(void **state) {
    struct fixture *f = *state;
    fixture_open(f); /* migrates, which may take its time */
    sw_store_close(f->store);
    f->options.statement_timeout_ms = 1000;
    fixture_open(f);
    struct sw_tx *tx = begin(f->store, SW_TX_READ);
    struct sw_rows rows;
    expect_status(f, sw_tx_query(tx, "SELECT 1 FROM pg_sleep(60)", SW_NO_PARAMS, &f->arena, &rows, &f->err),
                  SW_E_UNAVAILABLE, "took too long");
    sw_tx_rollback(tx);
    check(sw_store_health(f->store, &f->err)); /* the server is there */
    write_row(f);
}

static void end_connections(struct fixture *f) {
    raw(f, "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'slipway' "
           "AND pid <> pg_backend_pid()");
}

static void *begin_and_end(void *arg) {
    struct fixture *f = arg;
    sw_tx_rollback(begin(f->store, SW_TX_READ));
    return NULL;
}

static void test_dead_idle_connections_are_replaced(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    struct sw_tx *open[4];
    for (int i = 0; i < 4; i++) {
        open[i] = begin(f->store, SW_TX_READ);
    }
    for (int i = 0; i < 4; i++) {
        sw_tx_rollback(open[i]);
    }
    end_connections(f);
    write_row(f); /* nobody notices */
    assert_int_equal(f->store->open_count, 1);
    end_connections(f);
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) {
        check(sw_thread_start(&threads[i], "reader", 0, begin_and_end, f, &f->err));
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
    }
    check(sw_store_health(f->store, &f->err));
}

static void test_connection_ends_inside_a_transaction(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    struct sw_tx *tx = begin(f->store, SW_TX_WRITE);
    append_audit(tx, "digits", 1);
    end_connections(f);
    expect_status(f, sw_tx_exec(tx, "UPDATE audit_head SET hash = ''", SW_NO_PARAMS, NULL, &f->err), SW_E_UNAVAILABLE,
                  "");
    expect_status(f, sw_store_health(f->store, &f->err), SW_E_UNAVAILABLE, "");
    expect_status(f, sw_tx_commit(tx, &f->err), SW_E_UNAVAILABLE, "earlier");
    tx = begin(f->store, SW_TX_WRITE);
    append_audit(tx, "digits", 2);
    end_connections(f);
    expect_status(f, sw_tx_commit(tx, &f->err), SW_E_UNAVAILABLE, "is not known");
    write_row(f);
    assert_int_equal(ask_int(f, "SELECT count(*) FROM audit"), 1);
    check(sw_store_health(f->store, &f->err));
}

static void test_exchanged_for_a_newer_database(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    raw(f, "INSERT INTO schema_migrations (number, name, sha256, applied_ms) VALUES (4711, 'of_tomorrow', 'x', 0)");
    write_row(f); /* a newer replica has come during an upgrade: this one goes on */
    end_connections(f);
    expect_away(f, "4711 (of_tomorrow)");
}

/* ---- the server goes and comes; these leave it running */

static void test_killed_server_and_back_off(void **state) {
    struct fixture *f = *state;
    struct sw_clock clock;
    sw_clock_manual_init(&clock, 1000000000);
    f->options.clock = &clock;
    f->options.backoff_min_ms = 1000;
    f->options.backoff_max_ms = 8000;
    fixture_open(f);
    write_row(f);
    struct sw_tx *tx = begin(f->store, SW_TX_WRITE);
    append_audit(tx, "digits", 2);
    server_do("kill");
    expect_status(f, sw_tx_exec(tx, "UPDATE audit_head SET hash = ''", SW_NO_PARAMS, NULL, &f->err), SW_E_UNAVAILABLE,
                  "");
    sw_tx_rollback(tx);
    uint64_t least_ms = 500, most_ms = 1000; /* half of the delay to all of it; it doubles up to the maximum */
    for (int attempt = 0; attempt < 6; attempt++) {
        expect_away(f, "cannot connect"); /* an attempt, which sets the delay */
        uint64_t wait_ns = f->store->health.next_try_ns - sw_now_ns(&clock);
        assert_in_range(wait_ns, least_ms * 1000000, most_ms * 1000000);
        expect_away(f, "trying again soon"); /* none: the clock stands still */
        sw_clock_manual_advance(&clock, wait_ns - 1);
        expect_away(f, "trying again soon");
        sw_clock_manual_advance(&clock, 1);
        most_ms = most_ms * 2 > 8000 ? 8000 : most_ms * 2;
        least_ms = most_ms / 2;
    }
    server_do("start");
    write_row(f);
    check(sw_store_health(f->store, &f->err));
    assert_int_equal(ask_int(f, "SELECT count(*) FROM audit"), 2);
    struct sw_audit_report report;
    check(sw_audit_verify(f->store, &report, &f->err));
    assert_int_equal(report.fault_seq, 0);
}

static void test_first_reached_later(void **state) {
    struct fixture *f = *state;
    f->options.backoff_min_ms = f->options.backoff_max_ms = 0;
    server_do("stop");
    fixture_open(f);
    expect_away(f, "cannot connect");
    server_do("start");
    write_row(f); /* migrates first */
    check(sw_store_health(f->store, &f->err));
}

static void test_frozen_server(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    struct sw_tx *tx = begin(f->store, SW_TX_WRITE);
    f->store->options.statement_timeout_ms = 0; /* only how long we wait: the server was told another limit */
    server_do("freeze");
    sw_status status = sw_tx_exec(tx, "UPDATE audit_head SET hash = ''", SW_NO_PARAMS, NULL, &f->err);
    server_do("thaw");
    expect_status(f, status, SW_E_UNAVAILABLE, "does not answer");
    sw_tx_rollback(tx);
    f->store->options.statement_timeout_ms = f->options.statement_timeout_ms;
    write_row(f);
    assert_int_equal(ask_int(f, "SELECT count(*) FROM audit_head WHERE hash = ''"), 0);
}

struct seen {
    pthread_mutex_t mutex;
    pthread_cond_t news;
    int calls;
};

static void on_change(void *arg, int64_t revision) {
    struct seen *seen = arg;
    (void)revision;
    pthread_mutex_lock(&seen->mutex);
    seen->calls++;
    pthread_cond_signal(&seen->news);
    pthread_mutex_unlock(&seen->mutex);
}

static void wait_for_calls(struct seen *seen, int calls) {
    uint64_t deadline_ns = sw_deadline_ns(60000);
    bool in_time = true;
    pthread_mutex_lock(&seen->mutex);
    while (seen->calls < calls && in_time) {
        in_time = sw_cond_wait_until(&seen->news, &seen->mutex, deadline_ns);
    }
    pthread_mutex_unlock(&seen->mutex);
    assert_true(in_time);
}

/* Nobody but the watcher uses the store: it notices, and it comes back by itself and tells. */
static void test_watcher_follows_health(void **state) {
    struct fixture *f = *state;
    f->options.backoff_min_ms = f->options.backoff_max_ms = 1;
    f->options.poll_ms = 3600000;
    fixture_open(f);
    struct seen seen = {.calls = 0};
    pthread_mutex_init(&seen.mutex, NULL);
    sw_cond_init_monotonic(&seen.news);
    check(sw_store_watch(f->store, on_change, &seen, &f->err));
    wait_for_calls(&seen, 1);
    server_do("kill");
    while (sw_store_health(f->store, NULL) == SW_OK) {
        sched_yield(); /* the end of its connection wakes it */
    }
    server_do("start");
    wait_for_calls(&seen, 2);
    check(sw_store_health(f->store, &f->err));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        store_test(test_nobody_listens),
        store_test(test_a_look_at_a_server_that_is_away),
        store_test(test_no_answer),
        store_test(test_wrong_password_and_url),
        store_test(test_foreign_tables_are_refused),
        store_test(test_types_of_results),
        store_test(test_session_waits_for_the_disk),
        store_test(test_statement_takes_too_long),
        store_test(test_dead_idle_connections_are_replaced),
        store_test(test_connection_ends_inside_a_transaction),
        store_test(test_exchanged_for_a_newer_database),
        store_test(test_killed_server_and_back_off),
        store_test(test_first_reached_later),
        store_test(test_frozen_server),
        store_test(test_watcher_follows_health),
    };
    if (!on_postgres()) {
        print_message("skipped: run it through tests/servers/postgres.py\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
