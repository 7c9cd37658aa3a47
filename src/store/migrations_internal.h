/* The migrations that are compiled in, and how they are applied. The table is generated from migrations/ (.sql). */
#ifndef SW_STORE_MIGRATIONS_INTERNAL_H
#define SW_STORE_MIGRATIONS_INTERNAL_H

#include "store/store_internal.h"

struct sw_migration_text {
    const char *sha256; /* of `sql`, in hex */
    const char *sql;
};

struct sw_migration {
    int64_t number;
    const char *name;
    struct sw_migration_text text[2]; /* by enum sw_store_dialect */
};

extern const struct sw_migration sw_migrations[]; /* in order of number */
extern const size_t sw_migration_count;

/* Brings the database up to date. Safe when several processes do it at once: each migration runs in a transaction under
 * the writer lock, which looks first whether it is still missing. SW_E_CONFLICT, nothing changed: the database has one
 * that this program does not know, or with another text. */
SW_MUST_CHECK sw_status sw_migrate(struct sw_conn *conn, struct sw_error *err);

/* How many of the known ones it has; changes nothing. SW_E_CONFLICT as above. */
SW_MUST_CHECK sw_status sw_migrations_applied(struct sw_conn *conn, size_t *ret_applied, struct sw_error *err);

#endif
