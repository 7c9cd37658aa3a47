/* Inside the store: connections, the pool, who may write, health.
 *
 *   store.c      transactions over the pool          sqlite.c, sqlite_open.c      the driver for SQLite
 *   pool.c       connections, back-off, health       postgres*.c                  the driver for PostgreSQL
 *   turn.c       who may write next, in this process migrate.c, watch.c, audit.c,
 *                                                     inspect.c                    over the above
 *
 * Locks, in the order in which they may be taken: the turn (held for a whole write transaction), then pool mutex (held
 * for a few instructions, never over I/O). */
#ifndef SW_STORE_STORE_INTERNAL_H
#define SW_STORE_STORE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "store/store.h"

enum { SW_STORE_POOL_MAX = 20, SW_STORE_STATEMENTS_MAX = 256, SW_STORE_PARAMS_MAX = 64 };

enum sw_store_owner { SW_OWNER_NONE, SW_OWNER_OURS, SW_OWNER_OTHER };

struct sw_conn;

/* One kind of database. A function that finds the connection dead sets conn->broken and returns SW_E_UNAVAILABLE. */
struct sw_driver {
    sw_status (*connect)(struct sw_store *store, struct sw_conn **ret, struct sw_error *err);
    /* The same to look only: makes and changes nothing. SW_E_NOT_FOUND: the file does not exist. */
    sw_status (*connect_to_look)(struct sw_store *store, struct sw_conn **ret, struct sw_error *err);
    void (*close)(struct sw_conn *conn);
    /* A write transaction holds the writer lock of the database from here on, and its revision has been counted up. */
    sw_status (*begin)(struct sw_conn *conn, enum sw_tx_mode mode, int64_t *ret_revision, struct sw_error *err);
    /* For migrations: no revision, no time limit on statements; with the writer lock when `write`. */
    sw_status (*begin_bare)(struct sw_conn *conn, bool write, struct sw_error *err);
    sw_status (*commit)(struct sw_conn *conn, enum sw_tx_mode mode, int64_t revision, struct sw_error *err);
    void (*rollback)(struct sw_conn *conn);
    sw_status (*exec)(struct sw_conn *conn, const char *sql, const struct sw_value *params, size_t count,
                      int64_t *ret_changed, struct sw_error *err);
    sw_status (*query)(struct sw_conn *conn, const char *sql, const struct sw_value *params, size_t count,
                       struct sw_arena *arena, struct sw_rows *ret, struct sw_error *err);
    sw_status (*script)(struct sw_conn *conn, const char *sql, struct sw_error *err); /* several statements */
    /* Whose database is it? */
    sw_status (*owner)(struct sw_conn *conn, enum sw_store_owner *ret, struct sw_error *err);
    sw_status (*claim)(struct sw_conn *conn, struct sw_error *err); /* marks an empty one as ours */
    /* For the watcher: asks to be told of changes; what to poll besides (-1: nothing); may there have been a change
     * since the last call? `due`: the time for polling is up, so that a server that tells nothing must be asked. */
    sw_status (*listen)(struct sw_conn *conn, struct sw_error *err);
    int (*poll_fd)(struct sw_conn *conn);
    sw_status (*changed)(struct sw_conn *conn, bool due, bool *ret, struct sw_error *err);
};

extern const struct sw_driver sw_sqlite_driver, sw_postgres_driver;

struct sw_conn {
    const struct sw_driver *driver;
    struct sw_store *store;
    bool broken; /* never goes back to the pool */
};

/* First come, first served; one process, one database. */
struct sw_turn_waiter;
struct sw_turn {
    pthread_mutex_t mutex;
    struct sw_turn_waiter *first, *last;
    bool taken;
};
void sw_turn_init(struct sw_turn *turn);
void sw_turn_deinit(struct sw_turn *turn);
bool sw_turn_take(struct sw_turn *turn, uint64_t wait_ms); /* false: time ran out */
void sw_turn_give(struct sw_turn *turn);

/* Was the database there when last used? While it is not, one thread at a time tries, not before next_try_ns. */
struct sw_health {
    bool up;
    bool trying;
    uint64_t delay_ms; /* of the back-off; 0: the next failure is the first */
    uint64_t next_try_ns;
    struct sw_error reason; /* why it is not up */
};

struct sw_watch;

struct sw_store {
    struct sw_store_options options; /* url points to the one below */
    char *url;
    char *path;  /* SQLite: of the file */
    char *place; /* for messages: the file, or host, port and database; never a password */
    const struct sw_driver *driver;
    enum sw_store_dialect dialect;

    struct sw_turn turn;

    atomic_bool reached;   /* once: from then on a missing SQLite file is an accident, not a beginning */
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t freed;  /* a connection or a place for one */
    pthread_cond_t probed; /* health.trying has ended */
    struct sw_conn *idle[SW_STORE_POOL_MAX]; /* the newest last */
    unsigned idle_count, open_count;
    struct sw_health health;

    _Atomic(struct sw_watch *) watch;
};

struct sw_tx {
    struct sw_store *store;
    struct sw_conn *conn;
    enum sw_tx_mode mode;
    int64_t revision;
    sw_status failed; /* of the first statement that failed; then only a rollback is left */
};

/* Fill store->path and store->place from the URL. */
sw_status sw_sqlite_place(struct sw_store *store, struct sw_error *err);
sw_status sw_postgres_place(struct sw_store *store, struct sw_error *err);

/* Store without any connection yet. SW_E_USAGE as sw_store_open. */
sw_status sw_store_create(const struct sw_store_options *options, struct sw_store **ret, struct sw_error *err);

/* A connection outside the pool, to a database that is migrated. Honours the back-off; records health. */
sw_status sw_store_connect(struct sw_store *store, struct sw_conn **ret, struct sw_error *err);
sw_status sw_pool_take(struct sw_store *store, bool *ret_fresh, struct sw_conn **ret, struct sw_error *err);
void sw_pool_give(struct sw_store *store, struct sw_conn *conn); /* closes it when it is broken */
void sw_pool_drain(struct sw_store *store);                      /* closes the idle ones */
/* A statement or transaction went well (NULL) or did not. */
void sw_store_note(struct sw_store *store, const struct sw_error *failure);

uint64_t sw_deadline_ns(uint64_t wait_ms); /* on CLOCK_MONOTONIC */
void sw_cond_init_monotonic(pthread_cond_t *cond);
/* false when the time ran out */
bool sw_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t deadline_ns);

/* The values of a statement: texts must be UTF-8 without NUL, as PostgreSQL demands. SW_E_INVALID_ARGUMENT. */
sw_status sw_params_check(const struct sw_value *params, size_t count, struct sw_error *err);

/* Cells of a result while it is read, on the heap, and the step into the arena. */
struct sw_rows_builder {
    struct sw_arena *arena;
    struct sw_value *cells;
    size_t used, capacity, columns;
};
/* NULL when memory is exhausted. The cell is zeroed (SQL NULL). */
struct sw_value *sw_rows_builder_next(struct sw_rows_builder *builder);
bool sw_rows_builder_text(struct sw_rows_builder *builder, struct sw_value *cell, const char *data, size_t len);
sw_status sw_rows_builder_finish(struct sw_rows_builder *builder, size_t rows, struct sw_rows *ret,
                                 struct sw_error *err);
void sw_rows_builder_deinit(struct sw_rows_builder *builder);
sw_status sw_rows_too_large(struct sw_error *err);

/* watch.c */
void sw_watch_wake(struct sw_store *store); /* after a commit in this process */
void sw_watch_stop(struct sw_store *store);

#endif
