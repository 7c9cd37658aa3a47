/* PostgreSQL: transactions and statements on one connection.
 *
 * Statements are prepared once a connection, by text and kinds of parameters; without NOTIFY, when a pooler may stand
 * in between, each is sent whole. Numbers travel as int8 and float8, texts as text, in binary; NULL has no type. Write
 * transactions hold one advisory lock of the database from begin to end, so they follow one another. */
#include "store/postgres_internal.h"

#include <endian.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/memory.h"

/* pg_type.h */
enum {
    OID_BOOL = 16,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_TEXT = 25,
    OID_FLOAT4 = 700,
    OID_FLOAT8 = 701,
    OID_NUMERIC = 1700
};

#define WRITER_LOCK "6011295534392899855" /* one number for all that is ours: "Slipway" and 15 in bytes */

/* ---- parameters */

struct arguments {
    int count;
    Oid types[SW_STORE_PARAMS_MAX];
    const char *values[SW_STORE_PARAMS_MAX];
    int lengths[SW_STORE_PARAMS_MAX];
    int formats[SW_STORE_PARAMS_MAX]; /* 1: binary */
    uint64_t numbers[SW_STORE_PARAMS_MAX];
    char kinds[SW_STORE_PARAMS_MAX + 1];
};

static void set_number(struct arguments *to, size_t i, uint64_t bits, Oid type, char kind) {
    to->numbers[i] = htobe64(bits);
    to->values[i] = (const char *)&to->numbers[i];
    to->lengths[i] = sizeof bits;
    to->types[i] = type;
    to->kinds[i] = kind;
}

static sw_status set_arguments(struct arguments *to, const struct sw_value *params, size_t count,
                               struct sw_error *err) {
    to->count = (int)count;
    for (size_t i = 0; i < count; i++) {
        uint64_t bits;
        to->formats[i] = 1;
        switch (params[i].kind) {
        case SW_VALUE_INT: set_number(to, i, (uint64_t)params[i].integer, OID_INT8, 'i'); break;
        case SW_VALUE_DOUBLE:
            memcpy(&bits, &params[i].real, sizeof bits);
            set_number(to, i, bits, OID_FLOAT8, 'd');
            break;
        case SW_VALUE_TEXT:
            if (params[i].text.len > INT32_MAX / 2) {
                return sw_fail(err, SW_E_TOO_LARGE, "a text for the store has more than 1 GiB");
            }
            to->values[i] = params[i].text.len ? params[i].text.data : "";
            to->lengths[i] = (int)params[i].text.len;
            to->types[i] = OID_TEXT;
            to->kinds[i] = 't';
            break;
        default:
            to->values[i] = NULL;
            to->lengths[i] = 0;
            to->types[i] = 0;
            to->kinds[i] = 'n';
        }
    }
    to->kinds[count] = '\0';
    return SW_OK;
}

/* ---- statements */

/* The name of the prepared statement; prepared now if it is not yet. Borrowed from the connection. */
static sw_status prepare(struct sw_postgres_conn *conn, const char *sql, const struct arguments *arguments,
                         const char **ret, struct sw_error *err) {
    struct sw_buf key;
    sw_buf_init(&key, (size_t)1024 * 1024);
    sw_buf_printf(&key, "%s %s", arguments->kinds, sql);
    SW_ASSERT(!key.failed);
    char *name = sw_map_get(&conn->statements, sw_buf_str(&key));
    sw_status status = SW_OK;
    if (!name && conn->statements.count >= SW_STORE_STATEMENTS_MAX) {
        sw_postgres_forget_statements(conn);
        status = sw_postgres_simple(conn, "DEALLOCATE ALL", NULL, err);
    }
    if (!name && !status) {
        char text[24];
        snprintf(text, sizeof text, "s%u", conn->statement_count++);
        status = sw_postgres_finish(conn, PQsendPrepare(conn->pq, text, sql, arguments->count, arguments->types), sql,
                                    NULL, NULL, NULL, err);
        if (!status) {
            name = sw_xstrdup(text);
            sw_map_put(&conn->statements, sw_buf_str(&key), name);
        }
    }
    sw_buf_deinit(&key);
    *ret = name;
    return status;
}

static sw_status run(struct sw_postgres_conn *conn, const char *sql, const struct sw_value *params, size_t count,
                     sw_postgres_row *on_row, void *arg, PGresult **ret, struct sw_error *err) {
    struct arguments arguments;
    SW_TRY(set_arguments(&arguments, params, count, err));
    int sent;
    if (conn->base.store->options.notify) {
        const char *name;
        SW_TRY(prepare(conn, sql, &arguments, &name, err));
        sent = PQsendQueryPrepared(conn->pq, name, arguments.count, arguments.values, arguments.lengths,
                                   arguments.formats, 0);
    } else {
        sent = PQsendQueryParams(conn->pq, sql, arguments.count, arguments.types, arguments.values, arguments.lengths,
                                 arguments.formats, 0);
    }
    return sw_postgres_finish(conn, sent, sql, on_row, arg, ret, err);
}

static sw_status postgres_exec(struct sw_conn *base, const char *sql, const struct sw_value *params, size_t count,
                               int64_t *ret_changed, struct sw_error *err) {
    PGresult *result = NULL;
    SW_TRY(run(sw_postgres_of(base), sql, params, count, NULL, NULL, &result, err));
    int64_t changed = 0;
    bool is_select = strncmp(PQcmdStatus(result), "SELECT", 6) == 0;
    if (ret_changed) {
        *ret_changed = !is_select && sw_parse_i64(sw_str_of(PQcmdTuples(result)), &changed) ? changed : 0;
    }
    PQclear(result);
    return SW_OK;
}

/* ---- rows */

struct reader {
    struct sw_rows_builder builder;
    size_t rows;
};

/* False when memory is exhausted. */
static bool read_cell(struct sw_rows_builder *builder, const PGresult *row, int column) {
    struct sw_value *cell = sw_rows_builder_next(builder);
    if (!cell) {
        return false;
    }
    if (PQgetisnull(row, 0, column)) {
        return true;
    }
    const char *text = PQgetvalue(row, 0, column);
    struct sw_str value = {text, (size_t)PQgetlength(row, 0, column)};
    int64_t integer;
    switch (PQftype(row, column)) {
    case OID_BOOL: *cell = sw_v_int(*text == 't'); return true;
    case OID_INT2:
    case OID_INT4:
    case OID_INT8:
    case OID_NUMERIC: /* sum() of int8 */
        *cell = sw_parse_i64(value, &integer) ? sw_v_int(integer) : sw_v_double(strtod(text, NULL));
        return true;
    case OID_FLOAT4:
    case OID_FLOAT8: *cell = sw_v_double(strtod(text, NULL)); return true;
    default: return sw_rows_builder_text(builder, cell, value.data, value.len);
    }
}

static sw_status read_row(void *arg, const PGresult *row, struct sw_error *err) {
    struct reader *reader = arg;
    reader->builder.columns = (size_t)PQnfields(row);
    for (size_t column = 0; column < reader->builder.columns; column++) {
        if (!read_cell(&reader->builder, row, (int)column)) {
            return sw_rows_too_large(err);
        }
    }
    reader->rows++;
    return SW_OK;
}

static sw_status postgres_query(struct sw_conn *base, const char *sql, const struct sw_value *params, size_t count,
                                struct sw_arena *arena, struct sw_rows *ret, struct sw_error *err) {
    struct reader reader = {.builder = {.arena = arena}};
    PGresult *last = NULL;
    sw_status status = run(sw_postgres_of(base), sql, params, count, read_row, &reader, &last, err);
    if (!status) {
        reader.builder.columns = (size_t)PQnfields(last);
        status = sw_rows_builder_finish(&reader.builder, reader.rows, ret, err);
        PQclear(last);
    }
    sw_rows_builder_deinit(&reader.builder);
    return status;
}

static sw_status postgres_script(struct sw_conn *base, const char *sql, struct sw_error *err) {
    return sw_postgres_simple(sw_postgres_of(base), sql, NULL, err);
}

/* ---- transactions */

static void postgres_rollback(struct sw_conn *base) {
    struct sw_postgres_conn *conn = sw_postgres_of(base);
    struct sw_error ignored; /* a connection that cannot roll back is closed, which does it */
    if (!base->broken && sw_postgres_simple(conn, "ROLLBACK", NULL, &ignored)) {
        base->broken = true;
    }
    conn->unlimited = false;
}

static sw_status postgres_begin(struct sw_conn *base, enum sw_tx_mode mode, int64_t *ret_revision,
                                struct sw_error *err) {
    struct sw_postgres_conn *conn = sw_postgres_of(base);
    const char *sql = mode == SW_TX_WRITE
                          ? "BEGIN; SELECT pg_advisory_xact_lock(" WRITER_LOCK ");"
                            "UPDATE store_state SET revision = revision + 1 WHERE id = 1 RETURNING revision"
                          : "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
                            "SELECT revision FROM store_state WHERE id = 1";
    PGresult *result = NULL;
    conn->writable = mode == SW_TX_WRITE;
    sw_status status = sw_postgres_simple(conn, sql, &result, err);
    int64_t revision = 0;
    if (!status && (PQntuples(result) != 1 || !sw_parse_i64(sw_str_of(PQgetvalue(result, 0, 0)), &revision))) {
        status = sw_fail(err, SW_E_IO, "%s: the row of store_state is missing", base->store->place);
    }
    PQclear(result);
    if (status) {
        postgres_rollback(base);
        return status;
    }
    *ret_revision = revision;
    return SW_OK;
}

static sw_status postgres_begin_bare(struct sw_conn *base, bool write, struct sw_error *err) {
    struct sw_postgres_conn *conn = sw_postgres_of(base);
    conn->writable = write;
    sw_status status = sw_postgres_simple(
        conn, write ? "BEGIN; SELECT pg_advisory_xact_lock(" WRITER_LOCK "); SET LOCAL statement_timeout = 0" : "BEGIN",
        NULL, err);
    conn->unlimited = write && !status;
    if (status) {
        postgres_rollback(base);
    }
    return status;
}

static sw_status postgres_commit(struct sw_conn *base, enum sw_tx_mode mode, int64_t revision, struct sw_error *err) {
    struct sw_postgres_conn *conn = sw_postgres_of(base);
    char sql[128] = "COMMIT";
    if (mode == SW_TX_WRITE && base->store->options.notify) {
        snprintf(sql, sizeof sql, "SELECT pg_notify('" SW_POSTGRES_CHANNEL "', '%lld'); COMMIT", (long long)revision);
    }
    PGresult *result = NULL;
    sw_status status = sw_postgres_simple(conn, sql, &result, err);
    conn->unlimited = false;
    if (status && base->broken && mode == SW_TX_WRITE && err) {
        sw_error_prefix(err, "whether the change was made is not known");
    } else if (status && !base->broken) {
        postgres_rollback(base);
    } else if (!status && strcmp(PQcmdStatus(result), "COMMIT") != 0) {
        status = sw_fail(err, SW_E_INTERNAL, "%s: the transaction was rolled back instead of committed",
                         base->store->place);
    }
    PQclear(result);
    return status;
}

/* ---- whose database */

/* Read from the catalog itself: to_regclass may answer from a cache older than the writer lock we waited for. */
static sw_status postgres_owner(struct sw_conn *base, enum sw_store_owner *ret, struct sw_error *err) {
    PGresult *result = NULL;
    SW_TRY(
        sw_postgres_simple(sw_postgres_of(base),
                           "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                           "WHERE n.nspname = current_schema() AND c.relname IN ('schema_migrations', 'store_state')",
                           &result, err));
    const char *count = PQgetvalue(result, 0, 0);
    *ret = *count == '0' ? SW_OWNER_NONE : *count == '2' ? SW_OWNER_OURS : SW_OWNER_OTHER;
    PQclear(result);
    return SW_OK;
}

static sw_status postgres_claim(struct sw_conn *base, struct sw_error *err) {
    (void)base; /* its tables say so */
    (void)err;
    return SW_OK;
}

/* ---- watching */

static sw_status postgres_listen(struct sw_conn *base, struct sw_error *err) {
    if (!base->store->options.notify) {
        return SW_OK;
    }
    return sw_postgres_simple(sw_postgres_of(base), "LISTEN " SW_POSTGRES_CHANNEL, NULL, err);
}

static int postgres_poll_fd(struct sw_conn *base) {
    return PQsocket(sw_postgres_of(base)->pq);
}

static sw_status postgres_changed(struct sw_conn *base, bool due, bool *ret, struct sw_error *err) {
    struct sw_postgres_conn *conn = sw_postgres_of(base);
    if (!PQconsumeInput(conn->pq)) {
        return sw_postgres_failure(conn, NULL, "", err);
    }
    *ret = due;
    PGnotify *notification;
    while ((notification = PQnotifies(conn->pq))) {
        PQfreemem(notification);
        *ret = true;
    }
    return SW_OK;
}

const struct sw_driver sw_postgres_driver = {
    .connect = sw_postgres_connect,
    .connect_to_look = sw_postgres_connect,
    .close = sw_postgres_close,
    .begin = postgres_begin,
    .begin_bare = postgres_begin_bare,
    .commit = postgres_commit,
    .rollback = postgres_rollback,
    .exec = postgres_exec,
    .query = postgres_query,
    .script = postgres_script,
    .owner = postgres_owner,
    .claim = postgres_claim,
    .listen = postgres_listen,
    .poll_fd = postgres_poll_fd,
    .changed = postgres_changed,
};
