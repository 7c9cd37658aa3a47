/* The metadata store: one SQL interface over SQLite (default) and PostgreSQL.
 *
 * The registry above writes SQL once, in what both understand: parameters $1, $2, ... ; TEXT, BIGINT, DOUBLE
 * PRECISION; INSERT ... ON CONFLICT DO UPDATE; RETURNING; keyset pagination. JSON is kept as TEXT. Where the two must
 * differ (partitions), sw_store_dialect says which it is.
 *
 * Transactions. A read transaction sees one consistent state (SQLite: a WAL snapshot; PostgreSQL: REPEATABLE READ READ
 * ONLY). Write transactions follow one another over all replicas: beginning one takes the store's writer lock (SQLite:
 * BEGIN IMMEDIATE; PostgreSQL: pg_advisory_xact_lock), so that the audit chain has one end, compare-and-set needs no
 * retry, and no two writers deadlock. A commit is durable before it returns. Every write transaction gets a revision:
 * the number of write transactions so far, stamped on what it changes; committing tells the watchers of all replicas.
 *
 * Failure. The database need not be there: sw_store_open succeeds without it, begin then fails with SW_E_UNAVAILABLE
 * at once while a back-off runs, and the first begin that reaches it migrates and goes on. A connection that breaks
 * inside a transaction fails that transaction with SW_E_UNAVAILABLE (of a commit: the outcome is unknown, the message
 * says so).
 *
 * Migrations: src/store/migrations/NNNN_name.sql (or NNNN_name.sqlite.sql and NNNN_name.postgresql.sql), compiled in,
 * applied in order, each in a transaction with its row in `schema_migrations` (number, name, SHA-256 of its text),
 * under a lock that makes several replicas starting at once safe. A database with a number this program does not know,
 * or with another digest, is refused: SW_E_CONFLICT, naming it; nothing is changed.
 *
 * Threads: any thread may begin a transaction; a transaction belongs to one thread at a time. Connections come from a
 * pool; who finds it empty waits at most pool_wait_ms, then SW_E_UNAVAILABLE. */
#ifndef SW_STORE_STORE_H
#define SW_STORE_STORE_H

#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/str.h"

struct sw_store;
struct sw_tx;

enum sw_store_dialect { SW_STORE_SQLITE, SW_STORE_POSTGRESQL };

struct sw_store_options {
    const char *url;               /* "sqlite:PATH" (folders are made) or "postgresql://..." (as libpq reads it) */
    unsigned pool_max;             /* connections for transactions; 1 to 20 */
    uint64_t pool_wait_ms;         /* most time to wait for a connection of the pool */
    uint64_t connect_timeout_ms;   /* PostgreSQL */
    uint64_t statement_timeout_ms; /* PostgreSQL statement_timeout; SQLite busy_timeout */
    uint64_t poll_ms; /* the watcher looks this often even when nobody notified it (SQLite: data_version) */
    bool notify;      /* PostgreSQL: LISTEN/NOTIFY; false: polling only (a pooler in between) */
    uint64_t backoff_min_ms, backoff_max_ms; /* between attempts to reconnect: doubles, with jitter */
    struct sw_clock *clock;
};
void sw_store_options_default(struct sw_store_options *options); /* everything but the URL */

/* SW_E_USAGE: a URL of another kind. SW_E_CONFLICT: a newer program has migrated it, or it is another program's.
 * SW_E_IO: not a database, damaged, no permission. A PostgreSQL that cannot be reached is no failure. */
SW_MUST_CHECK sw_status sw_store_open(const struct sw_store_options *options, struct sw_store **ret,
                                      struct sw_error *err);
void sw_store_close(struct sw_store *store); /* no transaction is open; ends the watcher. NULL is allowed */
enum sw_store_dialect sw_store_dialect(const struct sw_store *store);

/* Looks at a database without changing it: no file, table or migration is made. How many of the *ret_known migrations
 * of this program it has; 0: it is empty. SW_E_NOT_FOUND: SQLite's file does not exist; SW_E_CONFLICT: newer, or
 * another program's; SW_E_IO: damaged, no permission; SW_E_UNAVAILABLE: PostgreSQL cannot be reached. */
SW_MUST_CHECK sw_status sw_store_inspect(const struct sw_store_options *options, int *ret_applied, int *ret_known,
                                         struct sw_error *err);

/* Was the database reachable and migrated when last used? SW_E_UNAVAILABLE with the reason when not. No I/O: for
 * readiness and metrics; the watcher's own attempts keep it fresh. */
sw_status sw_store_health(struct sw_store *store, struct sw_error *err);

/* ---- values and rows */

struct sw_value {
    enum { SW_VALUE_NULL, SW_VALUE_INT, SW_VALUE_DOUBLE, SW_VALUE_TEXT } kind;
    int64_t integer;
    double real;
    struct sw_str text;
};

static inline struct sw_value sw_v_null(void) {
    return (struct sw_value){.kind = SW_VALUE_NULL};
}
static inline struct sw_value sw_v_int(int64_t integer) {
    return (struct sw_value){.kind = SW_VALUE_INT, .integer = integer};
}
static inline struct sw_value sw_v_double(double real) {
    return (struct sw_value){.kind = SW_VALUE_DOUBLE, .real = real};
}
static inline struct sw_value sw_v_str(struct sw_str text) {
    return (struct sw_value){.kind = SW_VALUE_TEXT, .text = text};
}
static inline struct sw_value sw_v_text(const char *text) { /* NULL: SQL NULL */
    return text ? sw_v_str(sw_str_of(text)) : sw_v_null();
}

/* A result, wholly in the arena of the query. Texts are NUL-terminated. */
struct sw_rows {
    size_t count, columns;
    const struct sw_value *cells; /* row-major */
};
const struct sw_value *sw_rows_at(const struct sw_rows *rows, size_t row, size_t column);
int64_t sw_rows_int(const struct sw_rows *rows, size_t row, size_t column);      /* NULL: 0 */
const char *sw_rows_text(const struct sw_rows *rows, size_t row, size_t column); /* NULL: NULL */
bool sw_rows_is_null(const struct sw_rows *rows, size_t row, size_t column);

/* ---- transactions */

enum sw_tx_mode { SW_TX_READ, SW_TX_WRITE };

/* SW_E_UNAVAILABLE: the database is away (or was exchanged for one this program may not use), all connections are in
 * use, or other writers took too long. SW_E_IO: SQLite's file is damaged, or was moved away. */
SW_MUST_CHECK sw_status sw_store_begin(struct sw_store *store, enum sw_tx_mode mode, struct sw_tx **ret,
                                       struct sw_error *err);
/* Ends the transaction in either case. SW_E_UNAVAILABLE: connection lost, the outcome is unknown. */
SW_MUST_CHECK sw_status sw_tx_commit(struct sw_tx *tx, struct sw_error *err);
void sw_tx_rollback(struct sw_tx *tx); /* NULL is allowed: for clean-up after a failure */

/* Runs one statement; parameters are $1 .. $count. *ret_changed (may be NULL): rows changed. After a failure the
 * transaction can only be rolled back. SW_E_CONFLICT: a constraint (unique, foreign key) is violated;
 * SW_E_INSUFFICIENT_STORAGE: disk full; SW_E_UNAVAILABLE: connection lost, time-out, locked too long; SW_E_INTERNAL:
 * bad SQL, or a change in a read transaction; SW_E_IO: damaged. */
SW_MUST_CHECK sw_status sw_tx_exec(struct sw_tx *tx, const char *sql, const struct sw_value *params, size_t count,
                                   int64_t *ret_changed, struct sw_error *err);
/* The same for a statement that gives rows (SELECT, or ... RETURNING). Rows are bounded by the statement's LIMIT and
 * by the arena: SW_E_TOO_LARGE. */
SW_MUST_CHECK sw_status sw_tx_query(struct sw_tx *tx, const char *sql, const struct sw_value *params, size_t count,
                                    struct sw_arena *arena, struct sw_rows *ret, struct sw_error *err);

/* Of a write transaction: the revision it commits as (it is above every committed one). Of a read transaction: that of
 * the newest write it sees. */
int64_t sw_tx_revision(const struct sw_tx *tx);
struct sw_store *sw_tx_store(const struct sw_tx *tx);

#define SW_PARAMS(...) \
    (const struct sw_value[]){__VA_ARGS__}, (sizeof((const struct sw_value[]){__VA_ARGS__}) / sizeof(struct sw_value))
#define SW_NO_PARAMS NULL, 0

/* ---- watching */

/* Calls fn on the watcher's thread, with the newest revision, once at the start, whenever another revision is seen
 * (whoever committed it, on whichever replica), and again after the database was away. fn may use the store. One
 * watcher a store; ended by close. */
typedef void sw_store_changed(void *arg, int64_t revision);
SW_MUST_CHECK sw_status sw_store_watch(struct sw_store *store, sw_store_changed *fn, void *arg, struct sw_error *err);

/* ---- backup (store/backup) */

/* Writes a consistent copy of the whole database while it is in use: SQLite through its online backup into the file
 * `path`; PostgreSQL through pg_dump (custom format), which must be installed. *ret_revision: that of the copy. */
SW_MUST_CHECK sw_status sw_store_dump(struct sw_store *store, const char *path, int64_t *ret_revision,
                                      struct sw_error *err);
/* Fills an empty database (SQLite: the file does not exist; PostgreSQL: no table of ours) from such a copy.
 * SW_E_CONFLICT when it is not empty, or the copy is of the other kind or of a newer program. SW_E_IO: the copy is
 * damaged. Nothing is changed by a failure. */
SW_MUST_CHECK sw_status sw_store_restore(const struct sw_store_options *options, const char *path,
                                         struct sw_error *err);

#endif
