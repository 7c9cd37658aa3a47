/* PostgreSQL: copying through pg_dump and pg_restore.
 *
 * pg_dump reads in the snapshot of a transaction of ours, in which the revision is read too. Both programs get the
 * connection through their environment, never on the command line, which every user of the machine can read. */
#include "store/backup_internal.h"
#include "store/migrations_internal.h"
#include "store/postgres_internal.h"

#include <unistd.h>

#include "base/memory.h"

/* ---- environment */

enum { ENV_MAX = 512 };

struct environment {
    char *entries[ENV_MAX + 1]; /* NAME=value, owned; NULL at the end */
    size_t count;
};

static void add(struct environment *env, const char *name, const char *value) {
    if (value && *value && env->count < ENV_MAX) {
        struct sw_buf entry;
        sw_buf_init(&entry, (size_t)1024 * 1024);
        sw_buf_printf(&entry, "%s=%s", name, value);
        env->entries[env->count++] = entry.data;
    }
}

/* Options whose outcome is known by now; a service would even override the outcome. */
static bool is_decided(const char *keyword) {
    static const char *const decided[] = {"host", "hostaddr", "port", "password", "service"};
    for (size_t i = 0; i < SW_COUNTOF(decided); i++) {
        if (strcmp(keyword, decided[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Ours without what it says of PostgreSQL, then what the connection was really made with: the host among several, the
 * password wherever it came from. */
static sw_status make_environment(const struct sw_postgres_conn *conn, struct environment *ret, struct sw_error *err) {
    PQconninfoOption *options = PQconninfo(conn->pq);
    if (!options) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
    }
    *ret = (struct environment){.count = 0};
    for (char **at = environ; *at && ret->count < ENV_MAX / 2; at++) {
        if (strncmp(*at, "PG", 2) != 0) {
            ret->entries[ret->count++] = sw_xstrdup(*at);
        }
    }
    for (const PQconninfoOption *option = options; option->keyword; option++) {
        if (option->envvar && !is_decided(option->keyword)) {
            add(ret, option->envvar, option->val);
        }
    }
    PQconninfoFree(options);
    add(ret, "PGHOST", PQhost(conn->pq));
    add(ret, "PGPORT", PQport(conn->pq));
    add(ret, "PGPASSWORD", PQpass(conn->pq));
    return SW_OK;
}

static void free_environment(struct environment *env) {
    for (size_t i = 0; i < env->count; i++) {
        sw_free(env->entries[i]);
    }
}

static sw_status run(struct sw_postgres_conn *conn, const char *const *argv, struct sw_buf *out, struct sw_error *err) {
    struct environment env;
    SW_TRY(make_environment(conn, &env, err));
    sw_status status = sw_child_run(argv, env.entries, out, err);
    free_environment(&env);
    return status;
}

/* ---- dump */

/* Opens a transaction that lives as long as pg_dump needs it. */
static sw_status open_snapshot(struct sw_postgres_conn *conn, int64_t *ret_revision, char *ret_snapshot, size_t size,
                               struct sw_error *err) {
    PGresult *result = NULL;
    SW_TRY(sw_postgres_simple(conn,
                              "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
                              "SET LOCAL idle_in_transaction_session_timeout = 0;"
                              "SELECT revision, pg_export_snapshot() FROM store_state WHERE id = 1",
                              &result, err));
    sw_status status = SW_OK;
    if (PQntuples(result) != 1 || !sw_parse_i64(sw_str_of(PQgetvalue(result, 0, 0)), ret_revision)) {
        status = sw_fail(err, SW_E_IO, "%s: the row of store_state is missing", conn->base.store->place);
    } else {
        snprintf(ret_snapshot, size, "--snapshot=%s", PQgetvalue(result, 0, 1));
    }
    PQclear(result);
    return status;
}

static sw_status dump(struct sw_postgres_conn *conn, const char *part, int64_t *ret_revision, struct sw_error *err) {
    char snapshot[80];
    int64_t revision = 0;
    SW_TRY(open_snapshot(conn, &revision, snapshot, sizeof snapshot, err));
    const char *const dump_argv[] = {
        "pg_dump", "--format=custom", "--no-owner", "--no-privileges", "--no-password", snapshot, "--file", part, NULL};
    SW_TRY(run(conn, dump_argv, NULL, err));
    const char *const list_argv[] = {"pg_restore", "--list", part, NULL};
    SW_TRY(run(conn, list_argv, NULL, err)); /* is it whole? */
    *ret_revision = revision;
    return SW_OK;
}

sw_status sw_postgres_dump(struct sw_store *store, const char *part, int64_t *ret_revision, struct sw_error *err) {
    struct sw_conn *conn;
    SW_TRY(sw_store_connect(store, &conn, err));
    sw_status status = dump(sw_postgres_of(conn), part, ret_revision, err);
    sw_postgres_close(conn);
    return status;
}

/* ---- restore */

/* One line of COPY: number, name, digest, time, with tabs between. */
static sw_status check_line(struct sw_str line, const char *path, struct sw_error *err) {
    struct sw_str number, name, digest;
    struct sw_str rest = sw_str_split(line, '\t', &number);
    rest = sw_str_split(rest, '\t', &name);
    sw_str_split(rest, '\t', &digest);
    for (size_t i = 0; i < sw_migration_count; i++) {
        int64_t value;
        if (sw_parse_i64(number, &value) && value == sw_migrations[i].number &&
            sw_str_is(digest, sw_migrations[i].text[SW_STORE_POSTGRESQL].sha256)) {
            return SW_OK;
        }
    }
    return sw_fail(err, SW_E_CONFLICT,
                   "%s was made by a newer program: migration " SW_STR_FMT " (" SW_STR_FMT
                   ") is not known to this one; nothing was restored",
                   path, SW_STR_ARG(number), SW_STR_ARG(name));
}

/* Which migrations has the copy? Asked before anything is written. */
static sw_status check_migrations(struct sw_postgres_conn *conn, const char *path, struct sw_error *err) {
    struct sw_buf text;
    sw_buf_init(&text, 1024 * 1024);
    const char *const argv[] = {"pg_restore", "--data-only", "--table=schema_migrations", "--file=-", path, NULL};
    sw_status status = run(conn, argv, &text, err);
    size_t rows = 0;
    bool in_rows = false;
    for (struct sw_str rest = sw_buf_str(&text), line; !status && rest.data && rest.len;) {
        rest = sw_str_split(rest, '\n', &line);
        if (in_rows && sw_str_is(line, "\\.")) {
            in_rows = false;
        } else if (in_rows) {
            status = check_line(line, path, err);
            rows++;
        } else {
            in_rows = sw_str_starts(line, SW_STR("COPY "));
        }
    }
    if (!status && rows == 0) {
        status = sw_fail(err, SW_E_CONFLICT, "%s is a copy of another program's database", path);
    }
    sw_buf_deinit(&text);
    return status;
}

static sw_status restore(struct sw_postgres_conn *conn, const char *path, struct sw_error *err) {
    enum sw_store_owner owner;
    SW_TRY(sw_postgres_driver.owner(&conn->base, &owner, err));
    if (owner != SW_OWNER_NONE) {
        return sw_fail(err, SW_E_CONFLICT, "%s is not empty: a copy is only restored into an empty database",
                       conn->base.store->place);
    }
    SW_TRY(check_migrations(conn, path, err));
    struct sw_buf name;
    sw_buf_init(&name, 1024);
    sw_buf_printf(&name, "--dbname=%s", PQdb(conn->pq));
    const char *const argv[] = {"pg_restore",
                                "--no-owner",
                                "--no-privileges",
                                "--no-password",
                                "--exit-on-error",
                                "--single-transaction",
                                name.data,
                                path,
                                NULL};
    sw_status status = run(conn, argv, NULL, err);
    sw_buf_deinit(&name);
    return status;
}

sw_status sw_postgres_restore(struct sw_store *store, const char *path, struct sw_error *err) {
    struct sw_conn *conn;
    SW_TRY(sw_postgres_connect(store, &conn, err)); /* not sw_store_connect, which would make the tables */
    sw_status status = restore(sw_postgres_of(conn), path, err);
    sw_postgres_close(conn);
    return status;
}
