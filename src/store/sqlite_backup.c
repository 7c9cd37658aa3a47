/* SQLite: copying through its online backup.
 *
 * The source is read inside one read transaction, so that the copy is that of one moment and is not begun again
 * whenever somebody writes; with the write-ahead log, writers do not wait for it. A copy is only good when SQLite's
 * own check of every page finds nothing. */
#include "store/backup_internal.h"
#include "store/sqlite_internal.h"

#include <stdio.h>
#include <unistd.h>

#include "base/memory.h"

enum { STEP_PAGES = 1024 };

/* The one value of a statement, as text in `ret`. */
static sw_status ask(sqlite3 *db, const char *path, const char *sql, char *ret, size_t size, struct sw_error *err) {
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK) {
        return sw_sqlite_failure(db, path, sql, err);
    }
    int rc = sqlite3_step(statement);
    sw_status status = SW_OK;
    if (rc == SQLITE_ROW) {
        const unsigned char *text = sqlite3_column_text(statement, 0);
        snprintf(ret, size, "%s", text ? (const char *)text : "");
    } else if (rc == SQLITE_DONE) {
        *ret = '\0';
    } else {
        status = sw_sqlite_failure(db, path, sql, err);
    }
    sqlite3_finalize(statement);
    return status;
}

static sw_status check(sqlite3 *db, const char *path, struct sw_error *err) {
    char found[200];
    SW_TRY(ask(db, path, "PRAGMA integrity_check(1)", found, sizeof found, err));
    if (strcmp(found, "ok") != 0) {
        return sw_fail(err, SW_E_IO, "%s is damaged: %s", path, found);
    }
    SW_TRY(ask(db, path, "PRAGMA foreign_key_check", found, sizeof found, err));
    if (*found) {
        return sw_fail(err, SW_E_IO, "%s is damaged: a row of %s refers to one that is not there", path, found);
    }
    return SW_OK;
}

static sw_status copy_pages(sqlite3 *from, sqlite3 *to, const char *path, struct sw_error *err) {
    sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");
    if (!backup) {
        return sw_sqlite_failure(to, path, "beginning the copy", err);
    }
    int rc;
    do {
        rc = sqlite3_backup_step(backup, STEP_PAGES);
    } while (rc == SQLITE_OK);
    sqlite3_backup_finish(backup); /* leaves the reason in `to` */
    return rc == SQLITE_DONE ? SW_OK : sw_sqlite_failure(to, path, "copying", err);
}

/* Copies a database whose read transaction is open. The copy needs no log beside it. */
static sw_status copy(sqlite3 *from, const char *target, struct sw_error *err) {
    sqlite3 *to = NULL;
    SW_TRY(sw_sqlite_open_file(target, false, &to, err));
    sw_status status = sw_sqlite_run(to, target, "PRAGMA synchronous = OFF", err); /* the caller's fsync comes once */
    if (!status) {
        status = copy_pages(from, to, target, err);
    }
    if (!status) {
        status = sw_sqlite_run(to, target, "PRAGMA journal_mode = DELETE", err);
    }
    if (!status) {
        status = check(to, target, err);
    }
    sqlite3_close(to);
    return status;
}

static sw_status dump(sqlite3 *from, const char *path, const char *part, int64_t *ret_revision, struct sw_error *err) {
    char revision[24];
    SW_TRY(sw_sqlite_run(from, path, "BEGIN", err));
    SW_TRY(ask(from, path, "SELECT revision FROM store_state WHERE id = 1", revision, sizeof revision, err));
    SW_TRY(copy(from, part, err));
    return sw_parse_i64(sw_str_of(revision), ret_revision) ? SW_OK : sw_fail(err, SW_E_IO, "%s has no revision", path);
}

sw_status sw_sqlite_dump(struct sw_store *store, const char *part, int64_t *ret_revision, struct sw_error *err) {
    sqlite3 *from = NULL;
    SW_TRY(sw_sqlite_open_file(store->path, false, &from, err));
    sqlite3_busy_timeout(from, 5000);
    sw_status status = dump(from, store->path, part, ret_revision, err);
    sqlite3_close(from);
    return status;
}

/* ---- restore */

static sw_status copy_into(const char *copy_path, const char *part, struct sw_error *err) {
    sqlite3 *from = NULL;
    SW_TRY(sw_sqlite_open_file(copy_path, true, &from, err));
    char tables[24];
    sw_status status = ask(from, copy_path, "SELECT count(*) FROM sqlite_schema", tables, sizeof tables, err);
    if (!status) {
        status = copy(from, part, err);
    }
    sqlite3_close(from);
    return status;
}

/* Opening migrates it, and refuses what is not ours or too new; then the log is folded in, for the file moves alone. */
static sw_status check_and_migrate(const struct sw_store *store, const char *part, struct sw_error *err) {
    struct sw_buf url;
    sw_buf_init(&url, 8192);
    sw_buf_printf(&url, "sqlite:%s", part);
    struct sw_store_options options = store->options;
    options.url = url.data;
    struct sw_store *opened = NULL;
    sw_status status = sw_store_open(&options, &opened, err);
    sw_store_close(opened);
    sw_buf_deinit(&url);
    return status;
}

/* A log without its file would be applied to the next file of that name. */
static sw_status check_no_log(const char *path, struct sw_error *err) {
    struct sw_buf log;
    sw_buf_init(&log, 8192);
    sw_buf_printf(&log, "%s-wal", path);
    sw_status status = sw_backup_check_free(log.data, err);
    sw_buf_deinit(&log);
    return status;
}

sw_status sw_sqlite_restore(const struct sw_store *store, const char *copy_path, struct sw_error *err) {
    SW_TRY(sw_backup_check_free(store->path, err));
    SW_TRY(check_no_log(store->path, err));
    SW_TRY(sw_sqlite_make_folder(store->path, err));
    SW_AUTO_FREE char *part = NULL;
    SW_TRY(sw_backup_create_part(store->path, &part, err));
    sw_status status = copy_into(copy_path, part, err);
    if (!status) {
        status = check_and_migrate(store, part, err);
    }
    if (!status) {
        status = sw_backup_finish_part(part, store->path, err);
    }
    if (status) {
        unlink(part);
    }
    return status;
}
