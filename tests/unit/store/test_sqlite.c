/* What only a file can suffer: damage, another program's database, a full disk, being moved away. */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"

/* A database with some rows, closed. */
static void make_database(struct fixture *f) {
    fixture_open(f);
    struct sw_tx *tx = begin(f->store, SW_TX_WRITE);
    for (int i = 0; i < 500; i++) {
        append_audit(tx, "digits", i);
    }
    commit(tx);
    sw_store_close(f->store);
    f->store = NULL;
}

static void overwrite(const char *path, off_t at, const void *data, size_t len) {
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, len, at), len);
    close(fd);
}

static void write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void refuse(struct fixture *f, sw_status wanted, const char *part_of_message) {
    struct sw_store *store;
    expect_status(f, sw_store_open(&f->options, &store, &f->err), wanted, part_of_message);
    assert_non_null(strstr(f->err.message, f->file));
}

static void test_modes(void **state) {
    struct fixture *f = *state;
    umask(0);
    fixture_open(f);
    struct sw_tx *tx = begin(f->store, SW_TX_WRITE);
    append_audit(tx, "digits", 1);
    commit(tx);
    const char *const suffixes[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < SW_COUNTOF(suffixes); i++) {
        char path[160];
        struct stat info;
        snprintf(path, sizeof path, "%s%s", f->file, suffixes[i]);
        assert_int_equal(stat(path, &info), 0);
        assert_int_equal(info.st_mode & 0777, 0600);
    }
    struct stat info;
    *strrchr(f->file, '/') = '\0';
    assert_int_equal(stat(f->file, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
}

static void test_settings(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    assert_int_equal(ask_int(f, "SELECT synchronous FROM pragma_synchronous"), 2);
    assert_int_equal(ask_int(f, "SELECT foreign_keys FROM pragma_foreign_keys"), 1);
    assert_int_equal(ask_int(f, "SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'wal'"), 1);
}

static void test_no_database(void **state) {
    struct fixture *f = *state;
    make_database(f);
    write_file(f->file,
               "This is a text that is no database, though it is longer than the header of one would have to be.");
    refuse(f, SW_E_IO, "is not a SQLite database");
    unlink(f->file);
    assert_int_equal(mkdir(f->file, 0700), 0);
    refuse(f, SW_E_IO, "is not a file");
    rmdir(f->file);
    assert_int_equal(symlink("/dev/full", f->file), 0);
    refuse(f, SW_E_IO, "is not a file");
}

static void test_damaged_header(void **state) {
    struct fixture *f = *state;
    make_database(f);
    overwrite(f->file, 0, "damaged damaged ", 16);
    refuse(f, SW_E_IO, "restore a backup");
}

static void test_cut_file(void **state) {
    struct fixture *f = *state;
    make_database(f);
    assert_int_equal(truncate(f->file, 3 * 4096), 0);
    struct sw_store *store = NULL;
    sw_status status = sw_store_open(&f->options, &store, &f->err);
    expect_status(f, status, SW_E_IO, "is damaged");
    assert_non_null(strstr(f->err.message, "restore a backup"));
}

static void test_damaged_page_is_found_when_read(void **state) {
    struct fixture *f = *state;
    make_database(f);
    struct stat info;
    assert_int_equal(stat(f->file, &info), 0);
    char garbage[4096];
    memset(garbage, 0xa5, sizeof garbage);
    for (off_t at = info.st_size / 4096 * 3 / 4 * 4096; at < info.st_size; at += 4096) {
        overwrite(f->file, at, garbage, sizeof garbage);
    }
    fixture_open(f);
    struct sw_audit_report report;
    expect_status(f, sw_audit_verify(f->store, &report, &f->err), SW_E_IO, "is damaged");
    struct sw_error reason;
    assert_int_equal(sw_store_health(f->store, &reason), SW_E_UNAVAILABLE);
    assert_non_null(strstr(reason.message, "is damaged"));
}

static void test_foreign_database_is_left_as_it_is(void **state) {
    struct fixture *f = *state;
    *strrchr(f->file, '/') = '\0';
    assert_int_equal(mkdir(f->file, 0700), 0);
    f->file[strlen(f->file)] = '/';
    const char *const sql[] = {"CREATE TABLE albums (id INTEGER); INSERT INTO albums VALUES (1)",
                               "PRAGMA application_id = 77; CREATE TABLE schema_migrations (version TEXT)",
                               "CREATE TABLE schema_migrations (version TEXT); CREATE TABLE store_state (x TEXT)"};
    for (size_t i = 0; i < SW_COUNTOF(sql); i++) {
        unlink(f->file);
        write_file(f->file, "");
        raw(f, sql[i]);
        struct sw_buf before, after;
        check(sw_file_read(f->file, 1 << 20, &before, &f->err));
        refuse(f, SW_E_CONFLICT, "another program");
        check(sw_file_read(f->file, 1 << 20, &after, &f->err));
        assert_true(sw_str_eq(sw_buf_str(&before), sw_buf_str(&after)));
        sw_buf_deinit(&before);
        sw_buf_deinit(&after);
    }
}

static void look_fails(struct fixture *f, sw_status wanted, const char *part_of_message) {
    int applied, known;
    expect_status(f, sw_store_inspect(&f->options, &applied, &known, &f->err), wanted, part_of_message);
    assert_non_null(strstr(f->err.message, f->file));
}

static void expect_no_file(const struct fixture *f, const char *suffix) {
    char path[160];
    snprintf(path, sizeof path, "%s%s", f->file, suffix);
    assert_int_equal(access(path, F_OK), -1);
}

static void test_a_look_makes_no_file(void **state) {
    struct fixture *f = *state;
    int applied = -1, known = -1;
    look_fails(f, SW_E_NOT_FOUND, "No such file");
    expect_no_file(f, "");
    make_database(f);
    check(sw_store_inspect(&f->options, &applied, &known, &f->err));
    assert_int_equal(applied, known);
    expect_no_file(f, "-wal");
    expect_no_file(f, "-shm");
    assert_int_equal(truncate(f->file, 0), 0);
    check(sw_store_inspect(&f->options, &applied, &known, &f->err));
    assert_int_equal(applied, 0);
    struct stat info;
    assert_int_equal(stat(f->file, &info), 0);
    assert_int_equal(info.st_size, 0);
}

/* '?', '#' and '%' mean something in the address that SQLite is given. */
static void test_a_look_at_a_file_of_any_name(void **state) {
    struct fixture *f = *state;
    int applied = -1, known = -1;
    char url[sizeof f->url + 32];
    snprintf(url, sizeof url, "%s?a=b#c%%41", f->url);
    f->options.url = url;
    make_database(f);
    check(sw_store_inspect(&f->options, &applied, &known, &f->err));
    assert_int_equal(applied, known);
    assert_true(known > 0);
}

static void test_a_look_at_a_damaged_file(void **state) {
    struct fixture *f = *state;
    make_database(f);
    overwrite(f->file, 0, "damaged damaged ", 16);
    look_fails(f, SW_E_IO, "restore a backup");
    unlink(f->file);
    assert_int_equal(mkdir(f->file, 0700), 0);
    look_fails(f, SW_E_IO, "is not a file");
    rmdir(f->file);
    write_file(f->file, "");
    raw(f, "CREATE TABLE albums (id INTEGER)");
    look_fails(f, SW_E_CONFLICT, "another program");
}

/* The process was killed after it made the file and before it made the tables. */
static void test_empty_file_is_a_beginning(void **state) {
    struct fixture *f = *state;
    make_database(f);
    assert_int_equal(truncate(f->file, 0), 0);
    fixture_open(f);
    assert_int_equal(ask_int(f, "SELECT revision FROM store_state"), 0);
}

static void test_file_without_permission(void **state) {
    struct fixture *f = *state;
    make_database(f);
    if (geteuid() == 0) {
        skip(); /* root may do everything */
    }
    chmod(f->file, 0);
    refuse(f, SW_E_IO, "");
}

static void test_moved_file_takes_no_changes(void **state) {
    struct fixture *f = *state;
    fixture_open(f);
    f->options.clock = sw_clock_system();
    f->store->options.backoff_min_ms = f->store->options.backoff_max_ms = 0;
    struct sw_tx *tx = begin(f->store, SW_TX_WRITE);
    append_audit(tx, "digits", 1);
    commit(tx);
    char away[160];
    snprintf(away, sizeof away, "%s.away", f->file);
    assert_int_equal(rename(f->file, away), 0);
    expect_status(f, sw_store_begin(f->store, SW_TX_WRITE, &tx, &f->err), SW_E_IO, "moved");
    assert_int_equal(sw_store_health(f->store, &f->err), SW_E_UNAVAILABLE);
    expect_status(f, sw_store_begin(f->store, SW_TX_WRITE, &tx, &f->err), SW_E_IO, "moved or deleted");
    assert_int_not_equal(access(f->file, F_OK), 0); /* no empty one was made in its place */
    assert_int_equal(rename(away, f->file), 0);
    tx = begin(f->store, SW_TX_WRITE);
    assert_int_equal(sw_tx_revision(tx), 2);
    commit(tx);
    check(sw_store_health(f->store, &f->err));
}

/* ---- full */

static void set_page_limit(struct fixture *f, struct sw_tx *tx, int pages) {
    char sql[64];
    struct sw_rows rows;
    snprintf(sql, sizeof sql, "PRAGMA max_page_count = %d", pages);
    check(sw_tx_query(tx, sql, SW_NO_PARAMS, &f->arena, &rows, &f->err));
}

static sw_status append_until_full(struct fixture *f, struct sw_tx *tx, int limit) {
    sw_status status = SW_OK;
    for (int i = 0; i < limit && !status; i++) {
        status = sw_audit_append(tx, &(struct sw_audit_entry){.actor = "a", .action = "b", .object = "c"}, 1, NULL,
                                 &f->err);
    }
    return status;
}

static void test_full_database(void **state) {
    struct fixture *f = *state;
    f->options.pool_max = 1;
    fixture_open(f);
    struct sw_tx *tx = begin(f->store, SW_TX_WRITE);
    append_audit(tx, "digits", 1);
    commit(tx);
    tx = begin(f->store, SW_TX_WRITE);
    set_page_limit(f, tx, 1); /* rounded up to what there is */
    expect_status(f, append_until_full(f, tx, 100000), SW_E_INSUFFICIENT_STORAGE, "the disk is full");
    expect_status(f, sw_tx_commit(tx, &f->err), SW_E_INSUFFICIENT_STORAGE, "earlier");
    check(sw_store_health(f->store, &f->err)); /* reading goes on */
    assert_int_equal(ask_int(f, "SELECT count(*) FROM audit"), 1);
    tx = begin(f->store, SW_TX_WRITE);
    set_page_limit(f, tx, 1000000);
    append_audit(tx, "digits", 2);
    commit(tx);
    struct sw_audit_report report;
    check(sw_audit_verify(f->store, &report, &f->err));
    assert_int_equal(report.rows, 2);
    assert_int_equal(report.fault_seq, 0);
}

/* Only in this process's view of the file system, so that nothing stays behind. */
static bool mount_small(const char *folder, const char *options) {
    return mkdir(folder, 0700) == 0 && unshare(CLONE_NEWNS) == 0 &&
           mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 && mount("tmpfs", folder, "tmpfs", 0, options) == 0;
}

static void test_full_disk(void **state) {
    struct fixture *f = *state;
    char folder[80];
    snprintf(folder, sizeof folder, "%s/small", f->folder);
    if (!mount_small(folder, "size=1m")) {
        print_message("a tmpfs cannot be mounted here: %s\n", strerror(errno));
        skip();
    }
    snprintf(f->url, sizeof f->url, "sqlite:%s/deep/er/store.db", folder);
    fixture_open(f);
    int committed = 0;
    sw_status status = SW_OK;
    while (!status) {
        struct sw_tx *tx;
        status = sw_store_begin(f->store, SW_TX_WRITE, &tx, &f->err);
        if (!status) {
            status = append_until_full(f, tx, 20);
            if (status) {
                sw_tx_rollback(tx);
            } else {
                status = sw_tx_commit(tx, &f->err);
            }
        }
        committed += !status;
        assert_true(committed < 100000);
    }
    expect_status(f, status, SW_E_INSUFFICIENT_STORAGE, "full");
    assert_true(committed > 0);
    assert_int_equal(ask_int(f, "SELECT count(*) FROM audit"), committed * 20);
    char path[128];
    snprintf(path, sizeof path, "%s/copy", folder);
    expect_status(f, sw_store_dump(f->store, path, NULL, &f->err), SW_E_INSUFFICIENT_STORAGE, "full");
    assert_int_not_equal(access(path, F_OK), 0);
    snprintf(path, sizeof path, "%s/copy.part", folder);
    assert_int_not_equal(access(path, F_OK), 0);
    sw_store_close(f->store);
    fixture_open(f); /* as after a restart, still full */
    struct sw_audit_report report;
    check(sw_audit_verify(f->store, &report, &f->err));
    assert_int_equal(report.rows, committed * 20);
    assert_int_equal(report.fault_seq, 0);
    sw_store_close(f->store);
    f->store = NULL;
    assert_int_equal(umount2(folder, 0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        store_test(test_modes),
        store_test(test_settings),
        store_test(test_no_database),
        store_test(test_damaged_header),
        store_test(test_cut_file),
        store_test(test_damaged_page_is_found_when_read),
        store_test(test_foreign_database_is_left_as_it_is),
        store_test(test_a_look_makes_no_file),
        store_test(test_a_look_at_a_file_of_any_name),
        store_test(test_a_look_at_a_damaged_file),
        store_test(test_empty_file_is_a_beginning),
        store_test(test_file_without_permission),
        store_test(test_moved_file_takes_no_changes),
        store_test(test_full_database),
        store_test(test_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
