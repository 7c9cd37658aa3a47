/* The store's public face: opening, and transactions over the pool. */
#include "store/store_internal.h"

#include "base/memory.h"

void sw_store_options_default(struct sw_store_options *options) {
    *options = (struct sw_store_options){
        .pool_max = 10,
        .pool_wait_ms = 2000,
        .connect_timeout_ms = 3000,
        .statement_timeout_ms = 10000,
        .poll_ms = 1000,
        .notify = true,
        .backoff_min_ms = 100,
        .backoff_max_ms = 5000,
        .clock = sw_clock_system(),
    };
}

static bool is_postgres_url(struct sw_str url) {
    return sw_str_starts(url, SW_STR("postgresql://")) || sw_str_starts(url, SW_STR("postgres://"));
}

sw_status sw_store_create(const struct sw_store_options *options, struct sw_store **ret, struct sw_error *err) {
    struct sw_str url = sw_str_of(options->url);
    bool sqlite = sw_str_starts(url, SW_STR("sqlite:")) && url.len > strlen("sqlite:");
    if (!sqlite && !is_postgres_url(url)) {
        /* Only the scheme: what follows may hold a password. */
        struct sw_str scheme;
        sw_str_split(url, ':', &scheme);
        return sw_fail(err, SW_E_USAGE,
                       "the store's URL begins with \"" SW_STR_FMT "\"; it must be sqlite:PATH or postgresql://...",
                       SW_STR_ARG(scheme));
    }
    if (options->pool_max < 1 || options->pool_max > SW_STORE_POOL_MAX) {
        return sw_fail(err, SW_E_USAGE, "the store's pool must have 1 to %d connections", SW_STORE_POOL_MAX);
    }
    struct sw_store *store = SW_NEW(struct sw_store);
    store->options = *options;
    store->url = sw_xstrdup(options->url);
    store->options.url = store->url;
    store->dialect = sqlite ? SW_STORE_SQLITE : SW_STORE_POSTGRESQL;
    store->driver = sqlite ? &sw_sqlite_driver : &sw_postgres_driver;
    sw_turn_init(&store->turn);
    pthread_mutex_init(&store->mutex, NULL);
    sw_cond_init_monotonic(&store->freed);
    sw_cond_init_monotonic(&store->probed);
    (void)sw_fail(&store->health.reason, SW_E_UNAVAILABLE, "the store has not been reached yet");
    sw_status status = sqlite ? sw_sqlite_place(store, err) : sw_postgres_place(store, err);
    if (status) {
        sw_store_close(store);
        return status;
    }
    *ret = store;
    return SW_OK;
}

sw_status sw_store_open(const struct sw_store_options *options, struct sw_store **ret, struct sw_error *err) {
    struct sw_store *store = NULL;
    SW_TRY(sw_store_create(options, &store, err));
    struct sw_conn *conn = NULL;
    bool fresh;
    sw_status status = sw_pool_take(store, &fresh, &conn, err);
    if (!status) {
        sw_pool_give(store, conn);
    } else if (status != SW_E_UNAVAILABLE || store->dialect == SW_STORE_SQLITE) {
        sw_store_close(store);
        return status;
    }
    *ret = store;
    return SW_OK;
}

void sw_store_close(struct sw_store *store) {
    if (!store) {
        return;
    }
    sw_watch_stop(store);
    sw_pool_drain(store);
    SW_ASSERT(store->open_count == 0);
    sw_turn_deinit(&store->turn);
    pthread_cond_destroy(&store->freed);
    pthread_cond_destroy(&store->probed);
    pthread_mutex_destroy(&store->mutex);
    sw_free(store->path);
    sw_free(store->place);
    sw_free(store->url);
    sw_free(store);
}

enum sw_store_dialect sw_store_dialect(const struct sw_store *store) {
    return store->dialect;
}

/* ---- transactions */

/* Begins on a pooled connection. One that died while it lay idle shows now, before anything was done: all idle ones
 * are then dropped (they died with it) and a new one is tried. */
static sw_status begin_on_pool(struct sw_store *store, enum sw_tx_mode mode, struct sw_conn **ret,
                               int64_t *ret_revision, struct sw_error *err) {
    for (;;) {
        struct sw_conn *conn = NULL;
        bool fresh;
        struct sw_error failure;
        sw_status status = sw_pool_take(store, &fresh, &conn, &failure);
        if (status) {
            /* A database that was exchanged for one that this program may not use is not there for the caller. */
            return sw_fail(err, status == SW_E_CONFLICT ? SW_E_UNAVAILABLE : status, "%s", failure.message);
        }
        status = store->driver->begin(conn, mode, ret_revision, &failure);
        if (!status) {
            *ret = conn;
            return SW_OK;
        }
        bool dead = conn->broken;
        if (dead || status == SW_E_IO) {
            sw_store_note(store, &failure);
        }
        sw_pool_give(store, conn);
        if (!dead || fresh) {
            return sw_fail(err, status, "%s", failure.message);
        }
        sw_pool_drain(store);
    }
}

sw_status sw_store_begin(struct sw_store *store, enum sw_tx_mode mode, struct sw_tx **ret, struct sw_error *err) {
    if (mode == SW_TX_WRITE && !sw_turn_take(&store->turn, store->options.statement_timeout_ms)) {
        return sw_fail(err, SW_E_UNAVAILABLE, "waited %llu ms for other changes to %s to end",
                       (unsigned long long)store->options.statement_timeout_ms, store->place);
    }
    struct sw_conn *conn = NULL;
    int64_t revision = 0;
    sw_status status = begin_on_pool(store, mode, &conn, &revision, err);
    if (status) {
        if (mode == SW_TX_WRITE) {
            sw_turn_give(&store->turn);
        }
        return status;
    }
    sw_store_note(store, NULL);
    struct sw_tx *tx = SW_NEW(struct sw_tx);
    *tx = (struct sw_tx){.store = store, .conn = conn, .mode = mode, .revision = revision};
    *ret = tx;
    return SW_OK;
}

static void end(struct sw_tx *tx) {
    struct sw_store *store = tx->store;
    sw_pool_give(store, tx->conn);
    if (tx->mode == SW_TX_WRITE) {
        sw_turn_give(&store->turn);
    }
    sw_free(tx);
}

void sw_tx_rollback(struct sw_tx *tx) {
    if (tx) {
        if (!tx->conn->broken) {
            tx->conn->driver->rollback(tx->conn);
        }
        end(tx);
    }
}

sw_status sw_tx_commit(struct sw_tx *tx, struct sw_error *err) {
    if (tx->failed) {
        sw_status failed = tx->failed;
        sw_tx_rollback(tx);
        return sw_fail(err, failed, "the transaction cannot be committed: an earlier statement of it failed");
    }
    struct sw_store *store = tx->store;
    struct sw_error failure;
    sw_status status = tx->conn->driver->commit(tx->conn, tx->mode, tx->revision, &failure);
    if (status && (tx->conn->broken || status == SW_E_IO)) {
        sw_store_note(store, &failure);
    }
    bool changed = !status && tx->mode == SW_TX_WRITE;
    end(tx);
    if (changed) {
        sw_watch_wake(store);
    }
    return status ? sw_fail(err, status, "%s", failure.message) : SW_OK;
}

/* Remembers the first failure, which the transaction cannot outlive. */
static sw_status done(struct sw_tx *tx, sw_status status, const struct sw_error *failure, struct sw_error *err) {
    if (!status) {
        return SW_OK;
    }
    tx->failed = status;
    if (tx->conn->broken || status == SW_E_IO) {
        sw_store_note(tx->store, failure);
    }
    return sw_fail(err, status, "%s", failure->message);
}

static sw_status usable(const struct sw_tx *tx, const struct sw_value *params, size_t count, struct sw_error *err) {
    if (tx->failed) {
        return sw_fail(err, tx->failed, "an earlier statement of the transaction failed");
    }
    return sw_params_check(params, count, err);
}

sw_status sw_tx_exec(struct sw_tx *tx, const char *sql, const struct sw_value *params, size_t count,
                     int64_t *ret_changed, struct sw_error *err) {
    struct sw_error failure;
    sw_status status = usable(tx, params, count, &failure);
    if (!status) {
        status = tx->conn->driver->exec(tx->conn, sql, params, count, ret_changed, &failure);
    }
    return done(tx, status, &failure, err);
}

sw_status sw_tx_query(struct sw_tx *tx, const char *sql, const struct sw_value *params, size_t count,
                      struct sw_arena *arena, struct sw_rows *ret, struct sw_error *err) {
    struct sw_error failure;
    sw_status status = usable(tx, params, count, &failure);
    if (!status) {
        status = tx->conn->driver->query(tx->conn, sql, params, count, arena, ret, &failure);
    }
    return done(tx, status, &failure, err);
}

int64_t sw_tx_revision(const struct sw_tx *tx) {
    return tx->revision;
}

struct sw_store *sw_tx_store(const struct sw_tx *tx) {
    return tx->store;
}
