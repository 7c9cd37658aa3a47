#include "store/partitions.h"

#include <stdio.h>

#include "store/store_internal.h"

enum { DAY_MS = 86400000, DELETE_ROWS = 2000 };

/* ---- days */

static void describe(int64_t day, struct sw_partition *ret) {
    time_t seconds = (time_t)(day * (DAY_MS / 1000));
    struct tm date;
    gmtime_r(&seconds, &date);
    *ret = (struct sw_partition){.from_ms = day * DAY_MS, .until_ms = (day + 1) * DAY_MS};
    strftime(ret->name, sizeof ret->name, "predictions_%Y%m%d", &date);
}

/* False when the name is not one that describe gives. */
static bool parse(struct sw_str name, struct sw_partition *ret) {
    struct sw_str prefix = SW_STR("predictions_");
    uint64_t number;
    if (!sw_str_starts(name, prefix) ||
        !sw_parse_u64((struct sw_str){name.data + prefix.len, name.len - prefix.len}, &number) || number > 99991231) {
        return false;
    }
    struct tm date = {.tm_year = (int)(number / 10000) - 1900,
                      .tm_mon = (int)(number / 100 % 100) - 1,
                      .tm_mday = (int)(number % 100)};
    time_t seconds = timegm(&date);
    if (seconds < 0) {
        return false;
    }
    describe(seconds / (DAY_MS / 1000), ret);
    return sw_str_is(name, ret->name);
}

static sw_status list(struct sw_tx *tx, struct sw_arena *arena, struct sw_partition **ret, size_t *ret_count,
                      struct sw_error *err) {
    struct sw_rows rows;
    SW_TRY(sw_tx_query(tx,
                       "SELECT CAST(c.relname AS TEXT) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
                       "WHERE i.inhparent = to_regclass('predictions') ORDER BY c.relname",
                       SW_NO_PARAMS, arena, &rows, err));
    struct sw_partition *partitions = sw_arena_calloc(arena, rows.count + 1, sizeof *partitions);
    if (!partitions) {
        return sw_rows_too_large(err);
    }
    size_t count = 0;
    for (size_t i = 0; i < rows.count; i++) {
        count += parse(sw_rows_at(&rows, i, 0)->text, &partitions[count]);
    }
    *ret = partitions;
    *ret_count = count;
    return SW_OK;
}

sw_status sw_partitions_list(struct sw_store *store, struct sw_arena *arena, struct sw_partition **ret,
                             size_t *ret_count, struct sw_error *err) {
    if (sw_store_dialect(store) == SW_STORE_SQLITE) {
        *ret = NULL;
        *ret_count = 0;
        return SW_OK;
    }
    struct sw_tx *tx;
    SW_TRY(sw_store_begin(store, SW_TX_READ, &tx, err));
    sw_status status = list(tx, arena, ret, ret_count, err);
    sw_tx_rollback(tx);
    return status;
}

/* ---- making */

/* The rows of the day must be out of the default partition before the day can be attached. */
static sw_status make(struct sw_tx *tx, const struct sw_partition *partition, struct sw_error *err) {
    const char *name = partition->name;
    long long from = (long long)partition->from_ms, until = (long long)partition->until_ms;
    char sql[640];
    int n = snprintf(
        sql, sizeof sql,
        "CREATE TABLE %s (LIKE predictions INCLUDING ALL);"
        "WITH moved AS (DELETE FROM predictions_default WHERE time_ms >= %lld AND time_ms < %lld RETURNING *)"
        " INSERT INTO %s SELECT * FROM moved;"
        "ALTER TABLE predictions ATTACH PARTITION %s FOR VALUES FROM (%lld) TO (%lld)",
        name, from, until, name, name, from, until);
    SW_ASSERT(n > 0 && (size_t)n < sizeof sql);
    return tx->conn->driver->script(tx->conn, sql, err);
}

/* In one transaction: another replica may be making them at the same time. */
static sw_status ensure(struct sw_tx *tx, int64_t today, unsigned days, struct sw_arena *arena, unsigned *ret_made,
                        struct sw_error *err) {
    struct sw_partition *have;
    size_t count;
    SW_TRY(list(tx, arena, &have, &count, err));
    *ret_made = 0;
    for (int64_t day = today; day <= today + (int64_t)days; day++) {
        struct sw_partition wanted;
        describe(day, &wanted);
        bool found = false;
        for (size_t i = 0; i < count && !found; i++) {
            found = have[i].from_ms == wanted.from_ms;
        }
        if (!found) {
            SW_TRY(make(tx, &wanted, err));
            ++*ret_made;
        }
    }
    return SW_OK;
}

sw_status sw_partitions_ensure(struct sw_store *store, uint64_t now_ms, unsigned days, unsigned *ret_made,
                               struct sw_error *err) {
    unsigned made = 0;
    if (sw_store_dialect(store) == SW_STORE_POSTGRESQL) {
        struct sw_tx *tx;
        SW_TRY(sw_store_begin(store, SW_TX_WRITE, &tx, err));
        struct sw_arena arena;
        sw_arena_init(&arena, 1024 * 1024, 0);
        sw_status status = ensure(tx, (int64_t)(now_ms / DAY_MS), days, &arena, &made, err);
        sw_arena_deinit(&arena);
        if (status || made == 0) {
            sw_tx_rollback(tx);
        } else {
            status = sw_tx_commit(tx, err);
        }
        SW_TRY(status);
    }
    if (ret_made) {
        *ret_made = made;
    }
    return SW_OK;
}

/* ---- removing */

static sw_status drop_days(struct sw_tx *tx, int64_t before_ms, struct sw_arena *arena, unsigned *ret_dropped,
                           struct sw_error *err) {
    struct sw_partition *partitions;
    size_t count;
    *ret_dropped = 0;
    SW_TRY(list(tx, arena, &partitions, &count, err));
    for (size_t i = 0; i < count; i++) {
        if (partitions[i].until_ms <= before_ms) {
            char sql[64];
            snprintf(sql, sizeof sql, "DROP TABLE %s", partitions[i].name);
            SW_TRY(tx->conn->driver->script(tx->conn, sql, err));
            ++*ret_dropped;
        }
    }
    return SW_OK;
}

static sw_status expire_days(struct sw_store *store, int64_t before_ms, unsigned *ret_dropped, struct sw_error *err) {
    struct sw_tx *tx;
    SW_TRY(sw_store_begin(store, SW_TX_WRITE, &tx, err));
    struct sw_arena arena;
    sw_arena_init(&arena, 1024 * 1024, 0);
    sw_status status = drop_days(tx, before_ms, &arena, ret_dropped, err);
    sw_arena_deinit(&arena);
    if (status || *ret_dropped == 0) {
        sw_tx_rollback(tx);
        return status;
    }
    return sw_tx_commit(tx, err);
}

static sw_status delete_some(struct sw_store *store, int64_t before_ms, int64_t *ret_deleted, struct sw_error *err) {
    struct sw_tx *tx;
    SW_TRY(sw_store_begin(store, SW_TX_WRITE, &tx, err));
    sw_status status = sw_tx_exec(tx,
                                  "DELETE FROM predictions WHERE time_ms < $1 AND (id, time_ms) IN "
                                  "(SELECT id, time_ms FROM predictions WHERE time_ms < $1 ORDER BY time_ms LIMIT $2)",
                                  SW_PARAMS(sw_v_int(before_ms), sw_v_int(DELETE_ROWS)), ret_deleted, err);
    if (status || *ret_deleted == 0) {
        sw_tx_rollback(tx);
        return status;
    }
    return sw_tx_commit(tx, err);
}

sw_status sw_partitions_expire(struct sw_store *store, uint64_t before_ms, unsigned *ret_dropped, int64_t *ret_deleted,
                               struct sw_error *err) {
    unsigned dropped = 0;
    if (sw_store_dialect(store) == SW_STORE_POSTGRESQL) {
        SW_TRY(expire_days(store, (int64_t)before_ms, &dropped, err));
    }
    int64_t deleted = 0, some;
    do {
        SW_TRY(delete_some(store, (int64_t)before_ms, &some, err));
        deleted += some;
    } while (some == DELETE_ROWS);
    if (ret_dropped) {
        *ret_dropped = dropped;
    }
    if (ret_deleted) {
        *ret_deleted = deleted;
    }
    return SW_OK;
}
