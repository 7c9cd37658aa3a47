/* Migrations: what the database has is compared with what is compiled in, then what is missing is applied.
 *
 * Every step looks again under the writer lock, since another replica may have been faster. Invariant:
 * schema_migrations has a row exactly for the migrations whose changes are committed. */
#include "store/migrations_internal.h"

static const struct sw_migration *find(int64_t number) {
    for (size_t i = 0; i < sw_migration_count; i++) {
        if (sw_migrations[i].number == number) {
            return &sw_migrations[i];
        }
    }
    return NULL;
}

static sw_status check_row(struct sw_conn *conn, const struct sw_rows *rows, size_t row, struct sw_error *err) {
    int64_t number = sw_rows_int(rows, row, 0);
    const char *name = sw_rows_text(rows, row, 1);
    const struct sw_migration *known = find(number);
    if (!known) {
        return sw_fail(err, SW_E_CONFLICT,
                       "%s has been migrated by a newer program: migration %04lld (%s) is not known to this one, which "
                       "has changed nothing; run the newer program or restore a backup made before the upgrade",
                       conn->store->place, (long long)number, name);
    }
    if (strcmp(known->text[conn->store->dialect].sha256, sw_rows_text(rows, row, 2)) != 0) {
        return sw_fail(
            err, SW_E_CONFLICT,
            "%s has been migrated by another program: the text of migration %04lld (%s) was another one there; "
            "nothing was changed",
            conn->store->place, (long long)number, name);
    }
    return SW_OK;
}

/* In a transaction: fails when the database is not one of ours; *ret_next is the first migration it lacks, or NULL;
 * *ret_applied, how many it has. */
static sw_status find_missing(struct sw_conn *conn, struct sw_arena *arena, const struct sw_migration **ret_next,
                              size_t *ret_applied, struct sw_error *err) {
    enum sw_store_owner owner;
    SW_TRY(conn->driver->owner(conn, &owner, err));
    if (owner == SW_OWNER_OTHER) {
        return sw_fail(err, SW_E_CONFLICT, "%s is a database of another program; nothing was changed",
                       conn->store->place);
    }
    struct sw_rows rows = {0};
    if (owner == SW_OWNER_OURS) {
        SW_TRY(conn->driver->query(conn, "SELECT number, name, sha256 FROM schema_migrations ORDER BY number",
                                   SW_NO_PARAMS, arena, &rows, err));
    }
    for (size_t i = 0; i < rows.count; i++) {
        SW_TRY(check_row(conn, &rows, i, err));
    }
    size_t row = 0;
    *ret_applied = rows.count;
    *ret_next = NULL;
    for (size_t i = 0; i < sw_migration_count && !*ret_next; i++) {
        if (row < rows.count && sw_rows_int(&rows, row, 0) == sw_migrations[i].number) {
            row++;
        } else {
            *ret_next = &sw_migrations[i];
        }
    }
    return SW_OK;
}

static sw_status apply(struct sw_conn *conn, const struct sw_migration *migration, struct sw_error *err) {
    const struct sw_migration_text *text = &migration->text[conn->store->dialect];
    struct sw_clock *clock = conn->store->options.clock;
    sw_status status = migration == sw_migrations ? conn->driver->claim(conn, err) : SW_OK;
    if (!status) {
        status = conn->driver->script(conn, text->sql, err);
    }
    if (!status) {
        status = conn->driver->exec(
            conn, "INSERT INTO schema_migrations (number, name, sha256, applied_ms) VALUES ($1, $2, $3, $4)",
            SW_PARAMS(sw_v_int(migration->number), sw_v_text(migration->name), sw_v_text(text->sha256),
                      sw_v_int((int64_t)clock->wall_ms(clock))),
            NULL, err);
    }
    if (status && err) {
        sw_error_prefix(err, "migration %04lld_%s", (long long)migration->number, migration->name);
    }
    return status;
}

/* One transaction: applies the first migration that is missing, if any. */
static sw_status step(struct sw_conn *conn, struct sw_arena *arena, bool write, bool *ret_missing,
                      struct sw_error *err) {
    SW_TRY(conn->driver->begin_bare(conn, write, err));
    const struct sw_migration *next = NULL;
    size_t applied;
    sw_status status = find_missing(conn, arena, &next, &applied, err);
    if (!status && next && write) {
        status = apply(conn, next, err);
    }
    if (status || !next || !write) {
        conn->driver->rollback(conn);
        *ret_missing = next != NULL;
        return status;
    }
    *ret_missing = true;
    return conn->driver->commit(conn, SW_TX_READ, 0, err);
}

sw_status sw_migrate(struct sw_conn *conn, struct sw_error *err) {
    struct sw_arena arena;
    sw_arena_init(&arena, 1024 * 1024, 0);
    bool missing = false;
    sw_status status = step(conn, &arena, false, &missing, err); /* mostly this is all, and it waits for no writer */
    while (!status && missing) {
        sw_arena_reset(&arena);
        status = step(conn, &arena, true, &missing, err);
    }
    sw_arena_deinit(&arena);
    return status;
}

sw_status sw_migrations_applied(struct sw_conn *conn, size_t *ret_applied, struct sw_error *err) {
    SW_TRY(conn->driver->begin_bare(conn, false, err));
    struct sw_arena arena;
    const struct sw_migration *next;
    sw_arena_init(&arena, 1024 * 1024, 0);
    sw_status status = find_missing(conn, &arena, &next, ret_applied, err);
    sw_arena_deinit(&arena);
    conn->driver->rollback(conn);
    return status;
}
