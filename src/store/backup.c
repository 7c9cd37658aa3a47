/* Copies of the whole database, and databases from copies. A copy is written beside its place, made durable, and then
 * given its name, so that a file of that name is always complete. */
#include "store/backup_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

static sw_status file_failure(const char *path, struct sw_error *err) {
    sw_status code = errno == ENOSPC || errno == EDQUOT ? SW_E_INSUFFICIENT_STORAGE
                     : errno == EEXIST                  ? SW_E_CONFLICT
                                                        : SW_E_IO;
    return sw_fail(err, code, "%s: %s", path, strerror(errno));
}

sw_status sw_backup_check_free(const char *path, struct sw_error *err) {
    struct stat info;
    if (lstat(path, &info) == 0) {
        return sw_fail(err, SW_E_CONFLICT, "%s exists already", path);
    }
    return errno == ENOENT ? SW_OK : file_failure(path, err);
}

sw_status sw_backup_create_part(const char *path, char **ret_part, struct sw_error *err) {
    struct sw_buf part;
    sw_buf_init(&part, 4096 + 8);
    sw_buf_printf(&part, "%s.part", path);
    if (part.failed) {
        sw_buf_deinit(&part);
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "the path of the copy is too long");
    }
    unlink(part.data);
    int fd = open(part.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        sw_status status = file_failure(part.data, err);
        sw_buf_deinit(&part);
        return status;
    }
    close(fd);
    *ret_part = part.data; /* the buffer's memory is the heap's */
    return SW_OK;
}

static sw_status sync_path(const char *path, int flags, struct sw_error *err) {
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0) {
        return file_failure(path, err);
    }
    sw_status status = fsync(fd) == 0 ? SW_OK : file_failure(path, err);
    close(fd);
    return status;
}

sw_status sw_backup_finish_part(const char *part, const char *path, struct sw_error *err) {
    SW_TRY(sync_path(part, O_RDONLY, err));
    if (renameat2(AT_FDCWD, part, AT_FDCWD, path, RENAME_NOREPLACE) != 0) {
        return file_failure(path, err);
    }
    const char *slash = strrchr(path, '/');
    SW_AUTO_FREE char *folder = slash ? sw_xstrndup(path, slash == path ? 1 : (size_t)(slash - path)) : sw_xstrdup(".");
    return sync_path(folder, O_RDONLY | O_DIRECTORY, err);
}

sw_status sw_store_dump(struct sw_store *store, const char *path, int64_t *ret_revision, struct sw_error *err) {
    SW_TRY(sw_backup_check_free(path, err));
    SW_AUTO_FREE char *part = NULL;
    SW_TRY(sw_backup_create_part(path, &part, err));
    int64_t revision = 0;
    sw_status status = store->dialect == SW_STORE_SQLITE ? sw_sqlite_dump(store, part, &revision, err)
                                                         : sw_postgres_dump(store, part, &revision, err);
    if (!status) {
        status = sw_backup_finish_part(part, path, err);
    }
    if (status) {
        unlink(part);
        return status;
    }
    if (ret_revision) {
        *ret_revision = revision;
    }
    return SW_OK;
}

/* Of which kind is a copy? */
static sw_status check_kind(const char *path, enum sw_store_dialect wanted, struct sw_error *err) {
    char head[16] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return file_failure(path, err);
    }
    ssize_t n = read(fd, head, sizeof head);
    sw_status status = n < 0 ? file_failure(path, err) : SW_OK;
    close(fd);
    SW_TRY(status);
    bool sqlite = memcmp(head, "SQLite format 3", sizeof head) == 0, postgres = memcmp(head, "PGDMP", 5) == 0;
    if (!sqlite && !postgres) {
        return sw_fail(err, SW_E_IO, "%s is not a copy of a store", path);
    }
    if (sqlite != (wanted == SW_STORE_SQLITE)) {
        return sw_fail(err, SW_E_CONFLICT, "%s is a copy of a %s database; it cannot be restored into the other kind",
                       path, sqlite ? "SQLite" : "PostgreSQL");
    }
    return SW_OK;
}

sw_status sw_store_restore(const struct sw_store_options *options, const char *path, struct sw_error *err) {
    struct sw_store *store;
    SW_TRY(sw_store_create(options, &store, err));
    sw_status status = check_kind(path, store->dialect, err);
    if (!status) {
        status = store->dialect == SW_STORE_SQLITE ? sw_sqlite_restore(store, path, err)
                                                   : sw_postgres_restore(store, path, err);
    }
    sw_store_close(store);
    return status;
}
