/* Copies made while the database is in use, and databases made from copies. */
#include "fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/thread.h"

struct writer {
    struct fixture *f;
    atomic_bool stopping;
    atomic_int written;
};

/* Counter and audit row change together in each transaction, so that a copy of two moments would show. */
static void *write_on(void *arg) {
    struct writer *writer = arg;
    while (!atomic_load(&writer->stopping)) {
        struct sw_tx *tx = begin(writer->f->store, SW_TX_WRITE);
        exec(tx, "UPDATE t SET n = n + 1", SW_NO_PARAMS);
        append_audit(tx, "digits", 1);
        commit(tx);
        atomic_fetch_add(&writer->written, 1);
    }
    return NULL;
}

static void make_table(struct fixture *f) {
    struct sw_tx *tx = begin(f->store, SW_TX_WRITE);
    exec(tx, "CREATE TABLE t (n BIGINT)", SW_NO_PARAMS);
    exec(tx, "INSERT INTO t VALUES (1)", SW_NO_PARAMS);
    append_audit(tx, "digits", 1);
    for (int i = 0; i < 2000; i++) { /* something to copy */
        exec(tx, "INSERT INTO predictions (id, time_ms, model, version) VALUES ($1, $2, 'digits', 1)",
             SW_PARAMS(sw_v_text("a prediction with quite a long name"), sw_v_int(i)));
    }
    commit(tx);
}

/* A place of the same kind that is empty. */
static void use_empty_place(struct fixture *f) {
    sw_store_close(f->store);
    f->store = NULL;
    if (on_postgres()) {
        raw(f, "SET client_min_messages = error; DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    } else {
        snprintf(f->url, sizeof f->url, "sqlite:%s/other/new.db", f->folder);
    }
}

static void copy_path(const struct fixture *f, char *path, size_t size) {
    snprintf(path, size, "%s/copy", f->folder);
}

static void test_copy_while_writing(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    make_table(f);
    struct writer writer = {.f = f};
    pthread_t thread;
    check(sw_thread_start(&thread, "writer", 0, write_on, &writer, &f->err));
    while (atomic_load(&writer.written) == 0) {
        sched_yield();
    }
    char path[100];
    copy_path(f, path, sizeof path);
    int64_t revision = 0;
    check(sw_store_dump(f->store, path, &revision, &f->err));
    int then = atomic_load(&writer.written);
    while (atomic_load(&writer.written) < then + 2) { /* it still can */
        sched_yield();
    }
    atomic_store(&writer.stopping, true);
    pthread_join(thread, NULL);
    assert_true(revision >= 2 && revision < then + 3);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);

    use_empty_place(f);
    check(sw_store_restore(&f->options, path, &f->err));
    fixture_open(f);
    assert_int_equal(ask_int(f, "SELECT revision FROM store_state"), revision);
    assert_int_equal(ask_int(f, "SELECT n FROM t"), revision);
    assert_int_equal(ask_int(f, "SELECT count(*) FROM predictions"), 2000);
    struct sw_audit_report report;
    check(sw_audit_verify(f->store, &report, &f->err));
    assert_int_equal(report.rows, revision);
    assert_int_equal(report.fault_seq, 0);
    commit(begin(f->store, SW_TX_WRITE));
    if (!on_postgres()) {
        assert_int_equal(stat(f->url + 7, &info), 0);
        assert_int_equal(info.st_mode & 0777, 0600);
    }
}

static void make_copy(struct fixture *f, char *path, size_t size) {
    fixture_open(f);
    make_table(f);
    copy_path(f, path, size);
    check(sw_store_dump(f->store, path, NULL, &f->err));
}

static void test_nothing_is_overwritten(void **state) {
    struct fixture *f = *state;
    char path[100];
    make_copy(f, path, sizeof path);
    expect_status(f, sw_store_dump(f->store, path, NULL, &f->err), SW_E_CONFLICT, "exists already");
    expect_status(f, sw_store_restore(&f->options, path, &f->err), SW_E_CONFLICT,
                  on_postgres() ? "not empty" : "exists");
    assert_int_equal(ask_int(f, "SELECT n FROM t"), 1);
    char nowhere[] = "/proc/no/such/copy";
    expect_status(f, sw_store_dump(f->store, nowhere, NULL, &f->err), SW_E_IO, "");
}

static void test_a_stale_log_is_refused(void **state) {
    struct fixture *f = *state;
    char path[100], log[200];
    if (on_postgres()) {
        skip();
    }
    make_copy(f, path, sizeof path);
    use_empty_place(f);
    check(sw_store_restore(&f->options, path, &f->err));
    unlink(f->url + 7);
    snprintf(log, sizeof log, "%s-wal", f->url + 7);
    close(open(log, O_WRONLY | O_CREAT, 0600));
    expect_status(f, sw_store_restore(&f->options, path, &f->err), SW_E_CONFLICT, "-wal exists");
}

static void write_text(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void expect_still_empty(struct fixture *f) {
    if (on_postgres()) {
        raw(f, "DO $$ BEGIN IF EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace) THEN "
               "RAISE EXCEPTION 'not empty'; END IF; END $$");
    } else {
        char part[600];
        snprintf(part, sizeof part, "%s.part", f->url + 7);
        assert_int_not_equal(access(f->url + 7, F_OK), 0);
        assert_int_not_equal(access(part, F_OK), 0);
    }
}

static void test_bad_copies_are_refused(void **state) {
    struct fixture *f = *state;
    char path[100];
    make_copy(f, path, sizeof path);
    use_empty_place(f);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    char garbage[2000];
    memset(garbage, 0x5a, sizeof garbage);
    int fd = open(path, O_WRONLY);
    for (off_t at = info.st_size / 3; at < info.st_size / 3 * 2; at += 2500) {
        assert_int_equal(pwrite(fd, garbage, sizeof garbage, at), sizeof garbage);
    }
    close(fd);
    expect_status(f, sw_store_restore(&f->options, path, &f->err), SW_E_IO, "");
    expect_still_empty(f);
    assert_int_equal(truncate(path, info.st_size / 2), 0);
    expect_status(f, sw_store_restore(&f->options, path, &f->err), SW_E_IO, "");
    expect_still_empty(f);
    write_text(path, on_postgres() ? "SQLite format 3" : "PGDMP");
    truncate(path, 16);
    expect_status(f, sw_store_restore(&f->options, path, &f->err), SW_E_CONFLICT, "other kind");
    write_text(path, "something else");
    expect_status(f, sw_store_restore(&f->options, path, &f->err), SW_E_IO, "is not a copy of a store");
    unlink(path);
    expect_status(f, sw_store_restore(&f->options, path, &f->err), SW_E_IO, path);
    expect_still_empty(f);
}

static void test_copy_of_a_newer_program_is_refused(void **state) {
    struct fixture *f = *state;
    char path[100];
    fixture_open(f);
    raw(f, "INSERT INTO schema_migrations (number, name, sha256, applied_ms) VALUES (4711, 'of_tomorrow', 'x', 0)");
    copy_path(f, path, sizeof path);
    check(sw_store_dump(f->store, path, NULL, &f->err));
    use_empty_place(f);
    expect_status(f, sw_store_restore(&f->options, path, &f->err), SW_E_CONFLICT, "4711 (of_tomorrow)");
    expect_still_empty(f);
}

/* What is on the command line every user can see: a stand-in for pg_dump writes down what it was given. */
static void test_password_is_not_on_the_command_line(void **state) {
    struct fixture *f = *state;
    if (!on_postgres()) {
        skip();
    }
    fixture_open(f);
    char tool[100], path[100], text[400], *old = strdup(getenv("PATH"));
    snprintf(tool, sizeof tool, "%s/pg_dump", f->folder);
    snprintf(text, sizeof text, "#!/bin/sh\necho \"$@\" >%s/arguments\necho \"$PGPASSWORD\" >%s/password\nexit 3\n",
             f->folder, f->folder);
    write_text(tool, text);
    chmod(tool, 0700);
    setenv("PATH", f->folder, 1);
    copy_path(f, path, sizeof path);
    expect_status(f, sw_store_dump(f->store, path, NULL, &f->err), SW_E_IO, "pg_dump failed (exit code 3)");
    unlink(tool);
    expect_status(f, sw_store_dump(f->store, path, NULL, &f->err), SW_E_IO, "pg_dump is not installed");
    setenv("PATH", old, 1);
    free(old);
    assert_int_not_equal(access(path, F_OK), 0);
    char seen[1000] = "", password[100] = "";
    snprintf(text, sizeof text, "%s/arguments", f->folder);
    FILE *file = fopen(text, "r");
    assert_non_null(fgets(seen, sizeof seen, file));
    fclose(file);
    snprintf(text, sizeof text, "%s/password", f->folder);
    file = fopen(text, "r");
    assert_non_null(fgets(password, sizeof password, file));
    fclose(file);
    password[strcspn(password, "\n")] = '\0';
    assert_true(strlen(password) > 8);
    assert_non_null(strstr(f->url, password));
    assert_null(strstr(seen, password));
    assert_non_null(strstr(seen, "--snapshot="));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        store_test(test_copy_while_writing),
        store_test(test_nothing_is_overwritten),
        store_test(test_a_stale_log_is_refused),
        store_test(test_bad_copies_are_refused),
        store_test(test_copy_of_a_newer_program_is_refused),
        store_test(test_password_is_not_on_the_command_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
