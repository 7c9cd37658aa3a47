/* The PostgreSQL driver: connecting (postgres_open.c), sending and waiting (postgres_wire.c), statements and
 * transactions (postgres.c). */
#ifndef SW_STORE_POSTGRES_INTERNAL_H
#define SW_STORE_POSTGRES_INTERNAL_H

#include <libpq-fe.h>

#include "base/map.h"
#include "store/store_internal.h"

struct sw_postgres_conn {
    struct sw_conn base;
    PGconn *pq;
    struct sw_map statements; /* kinds of the parameters and SQL text -> name of the prepared statement (owned) */
    unsigned statement_count; /* names given so far */
    bool writable;            /* of the open transaction */
    bool unlimited;           /* a migration: statements may take as long as they take */
};

static inline struct sw_postgres_conn *sw_postgres_of(struct sw_conn *conn) {
    SW_ASSERT(conn->driver == &sw_postgres_driver);
    return (struct sw_postgres_conn *)conn;
}

#define SW_POSTGRES_CHANNEL "slipway_revision" /* of NOTIFY */

/* postgres_open.c, in the table of postgres.c */
sw_status sw_postgres_connect(struct sw_store *store, struct sw_conn **ret, struct sw_error *err);
void sw_postgres_close(struct sw_conn *conn);
void sw_postgres_forget_statements(struct sw_postgres_conn *conn);

/* ---- postgres_wire.c */

/* One line of libpq's message, which has several; borrowed by the error at once. */
struct sw_str sw_postgres_line(const char *message, char *buffer, size_t size);

/* What a failed result means; `sql` for the message. The connection is broken when the server ended it. */
sw_status sw_postgres_failure(struct sw_postgres_conn *conn, const PGresult *result, const char *sql,
                              struct sw_error *err);

/* Called for each row as it arrives. A failure stops the calls; the rest is read and dropped. */
typedef sw_status sw_postgres_row(void *arg, const PGresult *row, struct sw_error *err);

/* Waits for the results of what was sent, at most as long as a statement may take. *ret (may be NULL): the last one,
 * which the caller clears. on_row may be NULL. */
sw_status sw_postgres_finish(struct sw_postgres_conn *conn, int sent, const char *sql, sw_postgres_row *on_row,
                             void *arg, PGresult **ret, struct sw_error *err);

/* Several statements in one message without parameters; *ret as above. */
sw_status sw_postgres_simple(struct sw_postgres_conn *conn, const char *sql, PGresult **ret, struct sw_error *err);

#endif
