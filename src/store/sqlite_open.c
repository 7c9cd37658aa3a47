/* Opening a SQLite file: folder and file with narrow modes, WAL, the settings that durability rests on, and what its
 * errors mean.
 *
 * The file is created by us, not by SQLite, so that its mode is 0600 from the first moment; WAL and index take the mode
 * over from it. It is only ever opened by us when it did not exist: closing a descriptor of a file that SQLite
 * has open would drop SQLite's locks. */
#include "store/sqlite_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/memory.h"

sw_status sw_sqlite_place(struct sw_store *store, struct sw_error *err) {
    (void)err;
    store->path = sw_xstrdup(store->url + strlen("sqlite:"));
    store->place = sw_xstrdup(store->path);
    return SW_OK;
}

static bool is_disk_full(sqlite3 *db) {
    int number = sqlite3_system_errno(db);
    return number == ENOSPC || number == EDQUOT;
}

static sw_status io_failure(sqlite3 *db, const char *path, const char *doing, struct sw_error *err) {
    if (is_disk_full(db)) {
        return sw_fail(err, SW_E_INSUFFICIENT_STORAGE, "%s: the disk is full", path);
    }
    int number = sqlite3_system_errno(db);
    return sw_fail(err, SW_E_IO, "%s: %s: %s%s%s", path, doing, sqlite3_errmsg(db), number ? ": " : "",
                   number ? strerror(number) : "");
}

sw_status sw_sqlite_failure(sqlite3 *db, const char *path, const char *doing, struct sw_error *err) {
    switch (sqlite3_errcode(db) & 0xff) {
    case SQLITE_CONSTRAINT: return sw_fail(err, SW_E_CONFLICT, "%s", sqlite3_errmsg(db));
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return sw_fail(err, SW_E_UNAVAILABLE, "%s is locked by another program for too long", path);
    case SQLITE_FULL: return sw_fail(err, SW_E_INSUFFICIENT_STORAGE, "%s: the disk is full", path);
    case SQLITE_NOTADB:
        return sw_fail(err, SW_E_IO,
                       "%s is not a SQLite database, or its beginning is damaged: restore a backup, or move it away to "
                       "start with an empty one",
                       path);
    case SQLITE_CORRUPT:
        return sw_fail(err, SW_E_IO, "%s is damaged (%s): restore a backup, or move it away to start with an empty one",
                       path, sqlite3_errmsg(db));
    case SQLITE_NOMEM: return sw_fail(err, SW_E_UNAVAILABLE, "%s: out of memory", path);
    case SQLITE_TOOBIG: return sw_fail(err, SW_E_TOO_LARGE, "%s: %s", path, sqlite3_errmsg(db));
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_PROTOCOL: return io_failure(db, path, doing, err);
    default: return sw_fail(err, SW_E_INTERNAL, "%s: %s: %s", path, doing, sqlite3_errmsg(db));
    }
}

sw_status sw_sqlite_run(sqlite3 *db, const char *path, const char *sql, struct sw_error *err) {
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? SW_OK : sw_sqlite_failure(db, path, sql, err);
}

/* ---- the file */

static sw_status sync_folder(const char *folder, struct sw_error *err) {
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : fsync(fd);
    int number = errno;
    if (fd >= 0) {
        close(fd);
    }
    return rc == 0 ? SW_OK : sw_fail(err, SW_E_IO, "%s: %s", folder, strerror(number));
}

/* The folder a path lies in, on the heap. */
static char *folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash) {
        return sw_xstrdup(".");
    }
    return slash == path ? sw_xstrdup("/") : sw_xstrndup(path, (size_t)(slash - path));
}

static sw_status make_folders(char *folder, struct sw_error *err) {
    for (char *at = folder + 1;; at++) {
        if (*at != '/' && *at != '\0') {
            continue;
        }
        char end = *at;
        *at = '\0';
        bool made = mkdir(folder, 0700) == 0;
        if (!made && errno != EEXIST) {
            sw_status code = errno == ENOSPC || errno == EDQUOT ? SW_E_INSUFFICIENT_STORAGE : SW_E_IO;
            return sw_fail(err, code, "cannot make the folder %s: %s", folder, strerror(errno));
        }
        if (made) {
            SW_AUTO_FREE char *parent = folder_of(folder);
            SW_TRY(sync_folder(parent, err));
        }
        if (end == '\0') {
            return SW_OK;
        }
        *at = end;
    }
}

sw_status sw_sqlite_make_folder(const char *path, struct sw_error *err) {
    SW_AUTO_FREE char *folder = folder_of(path);
    return make_folders(folder, err);
}

sw_status sw_sqlite_create_file(const char *path, struct sw_error *err) {
    struct stat info;
    if (stat(path, &info) == 0) {
        return S_ISREG(info.st_mode) ? SW_OK : sw_fail(err, SW_E_IO, "%s is not a file", path);
    }
    SW_TRY(sw_sqlite_make_folder(path, err));
    SW_AUTO_FREE char *folder = folder_of(path);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        sw_status code = errno == ENOSPC || errno == EDQUOT ? SW_E_INSUFFICIENT_STORAGE : SW_E_IO;
        return errno == EEXIST ? SW_OK : sw_fail(err, code, "cannot create %s: %s", path, strerror(errno));
    }
    close(fd);
    return sync_folder(folder, err);
}

sw_status sw_sqlite_open_file(const char *path, bool read_only, sqlite3 **ret, struct sw_error *err) {
    sqlite3 *db = NULL;
    int flags = (read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) | SQLITE_OPEN_NOMUTEX |
                SQLITE_OPEN_EXRESCODE;
    if (sqlite3_open_v2(path, &db, flags, NULL) != SQLITE_OK) {
        sw_status status = db ? sw_sqlite_failure(db, path, "opening", err)
                              : sw_fail(err, SW_E_UNAVAILABLE, "%s: out of memory", path);
        sqlite3_close(db);
        return status;
    }
    *ret = db;
    return SW_OK;
}

/* ---- connections */

/* Reads the header and the root page of a file, so that a foreign or cut one is found at once and left as it is. */
static sw_status look(sqlite3 *db, const char *path, struct sw_error *err) {
    return sw_sqlite_run(db, path, "SELECT count(*) FROM sqlite_schema; PRAGMA schema_version", err);
}

/* Turns WAL on, which stays in the file; two processes may do it at the same time, of which one is told "busy" without
 * the busy handler being asked. */
static sw_status use_wal(sqlite3 *db, struct sw_store *store, struct sw_error *err) {
    uint64_t deadline_ns = sw_deadline_ns(store->options.statement_timeout_ms);
    for (;;) {
        int rc = sqlite3_exec(db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
        if (rc == SQLITE_OK) {
            return SW_OK;
        }
        if ((rc & 0xff) != SQLITE_BUSY || sw_deadline_ns(0) > deadline_ns) {
            return sw_sqlite_failure(db, store->path, "turning the write-ahead log on", err);
        }
        sqlite3_sleep(5);
    }
}

/* Nothing is written before it is known that the file is ours, or empty. */
static sw_status set_up(struct sw_sqlite_conn *conn, struct sw_error *err) {
    struct sw_store *store = conn->base.store;
    uint64_t timeout_ms = store->options.statement_timeout_ms;
    sqlite3_busy_timeout(conn->db, timeout_ms > INT32_MAX ? INT32_MAX : (int)timeout_ms);
    SW_TRY(look(conn->db, store->path, err));
    /* In one transaction: another process may be making the first tables now. */
    enum sw_store_owner owner;
    SW_TRY(sw_sqlite_run(conn->db, store->path, "BEGIN", err));
    sw_status status = sw_sqlite_driver.owner(&conn->base, &owner, err);
    sw_sqlite_driver.rollback(&conn->base);
    SW_TRY(status);
    if (owner == SW_OWNER_OTHER) {
        return sw_fail(err, SW_E_CONFLICT, "%s is a database of another program; nothing was changed", store->path);
    }
    SW_TRY(use_wal(conn->db, store, err));
    return sw_sqlite_run(
        conn->db, store->path,
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;"
        "PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 67108864",
        err);
}

sw_status sw_sqlite_connect(struct sw_store *store, struct sw_conn **ret, struct sw_error *err) {
    if (atomic_load(&store->reached)) {
        if (access(store->path, F_OK) != 0) {
            return sw_fail(err, SW_E_IO, "%s was moved or deleted while it was in use: bring it back, or restart",
                           store->path);
        }
    } else {
        SW_TRY(sw_sqlite_create_file(store->path, err));
    }
    sqlite3 *db = NULL;
    SW_TRY(sw_sqlite_open_file(store->path, false, &db, err));
    struct sw_sqlite_conn *conn = SW_NEW(struct sw_sqlite_conn);
    conn->base = (struct sw_conn){.driver = &sw_sqlite_driver, .store = store};
    conn->db = db;
    sw_map_init(&conn->statements);
    sw_status status = set_up(conn, err);
    if (status) {
        sw_sqlite_close(&conn->base);
        return status;
    }
    *ret = &conn->base;
    return SW_OK;
}

/* "file:PATH?immutable=1" on the heap: SQLite makes no files beside it then, and takes no locks. */
static char *immutable_uri(const char *path) {
    struct sw_buf out;
    sw_buf_init(&out, 3 * strlen(path) + 64);
    SW_LIT(&out, "file:");
    for (const char *c = path; *c; c++) {
        if (*c == '?' || *c == '#' || *c == '%') {
            sw_buf_printf(&out, "%%%02X", (unsigned)*c);
        } else {
            sw_buf_append_c(&out, *c);
        }
    }
    SW_LIT(&out, "?immutable=1");
    SW_ASSERT(!out.failed);
    return out.data;
}

/* A file that lies beside no log is in nobody's use and whole: it is read as it is. */
static sw_status open_to_look(const char *path, sqlite3 **ret, struct sw_error *err) {
    SW_AUTO_FREE char *log = sw_xmalloc(strlen(path) + sizeof "-wal");
    snprintf(log, strlen(path) + sizeof "-wal", "%s-wal", path);
    if (access(log, F_OK) == 0) {
        return sw_sqlite_open_file(path, true, ret, err);
    }
    SW_AUTO_FREE char *uri = immutable_uri(path);
    sqlite3 *db = NULL;
    int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_URI;
    if (sqlite3_open_v2(uri, &db, flags, NULL) != SQLITE_OK) {
        sw_status status = db ? sw_sqlite_failure(db, path, "opening", err)
                              : sw_fail(err, SW_E_UNAVAILABLE, "%s: out of memory", path);
        sqlite3_close(db);
        return status;
    }
    *ret = db;
    return SW_OK;
}

sw_status sw_sqlite_connect_to_look(struct sw_store *store, struct sw_conn **ret, struct sw_error *err) {
    struct stat info;
    if (stat(store->path, &info) != 0) {
        return sw_fail(err, errno == ENOENT || errno == ENOTDIR ? SW_E_NOT_FOUND : SW_E_IO, "%s: %s", store->path,
                       strerror(errno));
    }
    if (!S_ISREG(info.st_mode)) {
        return sw_fail(err, SW_E_IO, "%s is not a file", store->path);
    }
    sqlite3 *db = NULL;
    SW_TRY(open_to_look(store->path, &db, err));
    struct sw_sqlite_conn *conn = SW_NEW(struct sw_sqlite_conn);
    conn->base = (struct sw_conn){.driver = &sw_sqlite_driver, .store = store};
    conn->db = db;
    sw_map_init(&conn->statements);
    sqlite3_busy_timeout(db, 1000);
    sw_status status = look(db, store->path, err);
    if (status) {
        sw_sqlite_close(&conn->base);
        return status;
    }
    *ret = &conn->base;
    return SW_OK;
}

void sw_sqlite_forget_statements(struct sw_sqlite_conn *conn) {
    const struct sw_map_entry *entry;
    for (size_t i = 0; (entry = sw_map_next(&conn->statements, &i));) {
        sqlite3_finalize(entry->value);
    }
    sw_map_deinit(&conn->statements);
    sw_map_init(&conn->statements);
}

void sw_sqlite_close(struct sw_conn *conn) {
    struct sw_sqlite_conn *self = sw_sqlite_of(conn);
    sw_sqlite_forget_statements(self);
    sw_map_deinit(&self->statements);
    int rc = sqlite3_close(self->db);
    SW_ASSERT(rc == SQLITE_OK);
    sw_free(self);
}
