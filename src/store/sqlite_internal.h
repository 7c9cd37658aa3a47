/* The SQLite driver: connections (sqlite_open.c) and statements (sqlite.c). */
#ifndef SW_STORE_SQLITE_INTERNAL_H
#define SW_STORE_SQLITE_INTERNAL_H

#include <sqlite3.h>

#include "base/map.h"
#include "store/store_internal.h"

enum { SW_SQLITE_APPLICATION_ID = 0x534c5057 }; /* "SLPW" in the file's header: this is our database */

struct sw_sqlite_conn {
    struct sw_conn base;
    sqlite3 *db;
    struct sw_map statements; /* SQL text -> sqlite3_stmt, reset between uses */
    bool writable;            /* of the open transaction */
    int64_t data_version;     /* of the watcher's: when last asked */
};

static inline struct sw_sqlite_conn *sw_sqlite_of(struct sw_conn *conn) {
    SW_ASSERT(conn->driver == &sw_sqlite_driver);
    return (struct sw_sqlite_conn *)conn;
}

/* What SQLite's newest failure on `db` means for us; the message names the file and, where there is something to do,
 * says what. */
sw_status sw_sqlite_failure(sqlite3 *db, const char *path, const char *doing, struct sw_error *err);

/* Runs SQL without results. */
sw_status sw_sqlite_run(sqlite3 *db, const char *path, const char *sql, struct sw_error *err);

/* Opens a file that exists: no WAL, no pragmas. */
sw_status sw_sqlite_open_file(const char *path, bool read_only, sqlite3 **ret, struct sw_error *err);

/* sqlite_open.c, in the table of sqlite.c */
sw_status sw_sqlite_connect(struct sw_store *store, struct sw_conn **ret, struct sw_error *err);
sw_status sw_sqlite_connect_to_look(struct sw_store *store, struct sw_conn **ret, struct sw_error *err);
void sw_sqlite_close(struct sw_conn *conn);
void sw_sqlite_forget_statements(struct sw_sqlite_conn *conn);

sw_status sw_sqlite_make_folder(const char *path, struct sw_error *err); /* that the file lies in; mode 0700 */

/* An empty file of mode 0600 in folders of mode 0700, durable, unless it is there. */
sw_status sw_sqlite_create_file(const char *path, struct sw_error *err);

#endif
