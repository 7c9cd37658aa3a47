/* SQLite: transactions and statements on one connection.
 *
 * Statements are prepared once a connection and kept by their text. $1, $2, ... are SQLite's named parameters, found
 * by name. Write transactions take the lock at once (BEGIN IMMEDIATE), so that none fails half-way because another
 * wrote. */
#include "store/sqlite_internal.h"

#include <stdio.h>

#include "base/memory.h"

/* ---- statements */

/* Keeps a prepared statement; with too many different texts all of them go. */
static void keep(struct sw_sqlite_conn *conn, struct sw_str sql, sqlite3_stmt *statement) {
    if (conn->statements.count >= SW_STORE_STATEMENTS_MAX) {
        sw_sqlite_forget_statements(conn);
    }
    sw_map_put(&conn->statements, sql, statement);
}

static sw_status prepare(struct sw_sqlite_conn *conn, const char *sql, sqlite3_stmt **ret, struct sw_error *err) {
    struct sw_str text = sw_str_of(sql);
    sqlite3_stmt *statement = sw_map_get(&conn->statements, text);
    if (!statement) {
        const char *path = conn->base.store->path, *tail;
        if (sqlite3_prepare_v3(conn->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, &tail) != SQLITE_OK) {
            return sw_sqlite_failure(conn->db, path, sql, err);
        }
        if (!statement || *tail) {
            sqlite3_finalize(statement);
            return sw_fail(err, SW_E_INTERNAL, "not one statement: %s", sql);
        }
        keep(conn, text, statement);
    }
    if (!conn->writable && !sqlite3_stmt_readonly(statement)) {
        return sw_fail(err, SW_E_INTERNAL, "a read transaction may not change anything: %s", sql);
    }
    *ret = statement;
    return SW_OK;
}

static int bind_one(sqlite3_stmt *statement, int index, const struct sw_value *value) {
    switch (value->kind) {
    case SW_VALUE_INT: return sqlite3_bind_int64(statement, index, value->integer);
    case SW_VALUE_DOUBLE: return sqlite3_bind_double(statement, index, value->real);
    case SW_VALUE_TEXT: /* never NULL: that would bind SQL's NULL */
        return sqlite3_bind_text64(statement, index, value->text.len ? value->text.data : "", value->text.len,
                                   SQLITE_STATIC, SQLITE_UTF8);
    default: return sqlite3_bind_null(statement, index);
    }
}

static sw_status bind(struct sw_sqlite_conn *conn, sqlite3_stmt *statement, const struct sw_value *params, size_t count,
                      struct sw_error *err) {
    if (sqlite3_bind_parameter_count(statement) != (int)count) {
        return sw_fail(err, SW_E_INTERNAL, "%zu values for the %d parameters of: %s", count,
                       sqlite3_bind_parameter_count(statement), sqlite3_sql(statement));
    }
    for (size_t i = 0; i < count; i++) {
        char name[24];
        snprintf(name, sizeof name, "$%zu", i + 1);
        int index = sqlite3_bind_parameter_index(statement, name);
        if (index == 0) {
            return sw_fail(err, SW_E_INTERNAL, "there is no %s in: %s", name, sqlite3_sql(statement));
        }
        if (bind_one(statement, index, &params[i]) != SQLITE_OK) {
            return sw_sqlite_failure(conn->db, conn->base.store->path, "binding a value", err);
        }
    }
    return SW_OK;
}

static sw_status ready(struct sw_sqlite_conn *conn, const char *sql, const struct sw_value *params, size_t count,
                       sqlite3_stmt **ret, struct sw_error *err) {
    SW_TRY(prepare(conn, sql, ret, err));
    sw_status status = bind(conn, *ret, params, count, err);
    if (status) {
        sqlite3_clear_bindings(*ret);
    }
    return status;
}

/* After the last step: the values bound belong to the caller and are let go of. */
static sw_status settle(struct sw_sqlite_conn *conn, sqlite3_stmt *statement, int rc, struct sw_error *err) {
    sw_status status = SW_OK;
    if (rc != SQLITE_DONE && rc != SQLITE_ROW) {
        status = sw_sqlite_failure(conn->db, conn->base.store->path, sqlite3_sql(statement), err);
    }
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return status;
}

static sw_status sqlite_exec(struct sw_conn *base, const char *sql, const struct sw_value *params, size_t count,
                             int64_t *ret_changed, struct sw_error *err) {
    struct sw_sqlite_conn *conn = sw_sqlite_of(base);
    sqlite3_stmt *statement = NULL;
    SW_TRY(ready(conn, sql, params, count, &statement, err));
    int64_t before = sqlite3_total_changes64(conn->db);
    int rc;
    do {
        rc = sqlite3_step(statement);
    } while (rc == SQLITE_ROW);
    /* Statements that change no rows leave the count of the one before. */
    int64_t changed = sqlite3_total_changes64(conn->db) == before ? 0 : sqlite3_changes64(conn->db);
    SW_TRY(settle(conn, statement, rc, err));
    if (ret_changed) {
        *ret_changed = changed;
    }
    return SW_OK;
}

/* False when memory is exhausted. */
static bool read_cell(struct sw_rows_builder *builder, sqlite3_stmt *statement, int column) {
    struct sw_value *cell = sw_rows_builder_next(builder);
    if (!cell) {
        return false;
    }
    switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER: *cell = sw_v_int(sqlite3_column_int64(statement, column)); return true;
    case SQLITE_FLOAT: *cell = sw_v_double(sqlite3_column_double(statement, column)); return true;
    case SQLITE_NULL: return true;
    default: {
        const char *text = (const char *)sqlite3_column_text(statement, column);
        return text && sw_rows_builder_text(builder, cell, text, (size_t)sqlite3_column_bytes(statement, column));
    }
    }
}

static sw_status read_rows(struct sw_sqlite_conn *conn, sqlite3_stmt *statement, struct sw_rows_builder *builder,
                           struct sw_rows *ret, struct sw_error *err) {
    size_t rows = 0;
    bool fits = true;
    int rc;
    while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
        for (size_t column = 0; column < builder->columns && fits; column++) {
            fits = read_cell(builder, statement, (int)column);
        }
        if (!fits) {
            break;
        }
        rows++;
    }
    SW_TRY(settle(conn, statement, rc, err));
    return fits ? sw_rows_builder_finish(builder, rows, ret, err) : sw_rows_too_large(err);
}

static sw_status sqlite_query(struct sw_conn *base, const char *sql, const struct sw_value *params, size_t count,
                              struct sw_arena *arena, struct sw_rows *ret, struct sw_error *err) {
    struct sw_sqlite_conn *conn = sw_sqlite_of(base);
    sqlite3_stmt *statement = NULL;
    SW_TRY(ready(conn, sql, params, count, &statement, err));
    struct sw_rows_builder builder = {.arena = arena, .columns = (size_t)sqlite3_column_count(statement)};
    sw_status status = read_rows(conn, statement, &builder, ret, err);
    sw_rows_builder_deinit(&builder);
    return status;
}

static sw_status sqlite_script(struct sw_conn *base, const char *sql, struct sw_error *err) {
    return sw_sqlite_run(sw_sqlite_of(base)->db, base->store->path, sql, err);
}

/* ---- transactions */

/* One number from a statement without parameters. */
static sw_status one_int(struct sw_sqlite_conn *conn, const char *sql, int64_t *ret, struct sw_error *err) {
    sqlite3_stmt *statement = NULL;
    SW_TRY(ready(conn, sql, SW_NO_PARAMS, &statement, err));
    int rc = sqlite3_step(statement);
    bool found = rc == SQLITE_ROW;
    int64_t value = found ? sqlite3_column_int64(statement, 0) : 0;
    while (rc == SQLITE_ROW) {
        rc = sqlite3_step(statement);
    }
    SW_TRY(settle(conn, statement, rc, err));
    if (!found) {
        return sw_fail(err, SW_E_IO, "%s: a row of the store's own is missing: %s", conn->base.store->path, sql);
    }
    *ret = value;
    return SW_OK;
}

/* A file that was moved or deleted goes on to exist for whoever has it open: what is written would be lost. */
static sw_status still_there(struct sw_sqlite_conn *conn, struct sw_error *err) {
    int moved = 0;
    sqlite3_file_control(conn->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    if (moved) {
        conn->base.broken = true;
        return sw_fail(err, SW_E_IO, "%s was moved, replaced or deleted while it was in use", conn->base.store->path);
    }
    return SW_OK;
}

static void sqlite_rollback(struct sw_conn *base) {
    struct sw_sqlite_conn *conn = sw_sqlite_of(base);
    struct sw_error ignored;
    /* Some failures have ended the transaction already. */
    if (!sqlite3_get_autocommit(conn->db) && sw_sqlite_run(conn->db, base->store->path, "ROLLBACK", &ignored)) {
        base->broken = true;
    }
}

static sw_status begin(struct sw_sqlite_conn *conn, bool write, struct sw_error *err) {
    conn->writable = write;
    SW_TRY(still_there(conn, err));
    return sw_sqlite_run(conn->db, conn->base.store->path, write ? "BEGIN IMMEDIATE" : "BEGIN", err);
}

static sw_status sqlite_begin(struct sw_conn *base, enum sw_tx_mode mode, int64_t *ret_revision, struct sw_error *err) {
    struct sw_sqlite_conn *conn = sw_sqlite_of(base);
    bool write = mode == SW_TX_WRITE;
    SW_TRY(begin(conn, write, err));
    sw_status status = one_int(conn,
                               write ? "UPDATE store_state SET revision = revision + 1 WHERE id = 1 RETURNING revision"
                                     : "SELECT revision FROM store_state WHERE id = 1",
                               ret_revision, err);
    if (status) {
        sqlite_rollback(base);
    }
    return status;
}

static sw_status sqlite_begin_bare(struct sw_conn *base, bool write, struct sw_error *err) {
    return begin(sw_sqlite_of(base), write, err);
}

static sw_status sqlite_commit(struct sw_conn *base, enum sw_tx_mode mode, int64_t revision, struct sw_error *err) {
    (void)mode;
    (void)revision;
    sw_status status = sw_sqlite_run(sw_sqlite_of(base)->db, base->store->path, "COMMIT", err);
    if (status) {
        sqlite_rollback(base);
    }
    return status;
}

/* ---- whose file */

static sw_status sqlite_owner(struct sw_conn *base, enum sw_store_owner *ret, struct sw_error *err) {
    struct sw_sqlite_conn *conn = sw_sqlite_of(base);
    int64_t id, tables, own;
    SW_TRY(one_int(conn, "PRAGMA application_id", &id, err));
    SW_TRY(one_int(conn, "SELECT count(*) FROM sqlite_schema", &tables, err));
    SW_TRY(one_int(conn, "SELECT count(*) FROM sqlite_schema WHERE name IN ('schema_migrations', 'store_state')", &own,
                   err));
    *ret = tables == 0 && id == 0                       ? SW_OWNER_NONE
           : id == SW_SQLITE_APPLICATION_ID && own == 2 ? SW_OWNER_OURS
                                                        : SW_OWNER_OTHER;
    return SW_OK;
}

static sw_status sqlite_claim(struct sw_conn *base, struct sw_error *err) {
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA application_id = %d", SW_SQLITE_APPLICATION_ID);
    return sqlite_script(base, sql, err);
}

/* ---- watching */

/* The data_version of a connection changes when another connection has committed. */
static sw_status sqlite_changed(struct sw_conn *base, bool due, bool *ret, struct sw_error *err) {
    (void)due; /* the question is cheap and its answer sure */
    struct sw_sqlite_conn *conn = sw_sqlite_of(base);
    int64_t version;
    SW_TRY(still_there(conn, err));
    SW_TRY(one_int(conn, "PRAGMA data_version", &version, err));
    *ret = version != conn->data_version;
    conn->data_version = version;
    return SW_OK;
}

static sw_status sqlite_listen(struct sw_conn *base, struct sw_error *err) {
    bool ignored;
    return sqlite_changed(base, true, &ignored, err);
}

static int sqlite_poll_fd(struct sw_conn *base) {
    (void)base;
    return -1;
}

const struct sw_driver sw_sqlite_driver = {
    .connect = sw_sqlite_connect,
    .connect_to_look = sw_sqlite_connect_to_look,
    .close = sw_sqlite_close,
    .begin = sqlite_begin,
    .begin_bare = sqlite_begin_bare,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .exec = sqlite_exec,
    .query = sqlite_query,
    .script = sqlite_script,
    .owner = sqlite_owner,
    .claim = sqlite_claim,
    .listen = sqlite_listen,
    .poll_fd = sqlite_poll_fd,
    .changed = sqlite_changed,
};
