/* Inside backups: the part of each database, files that appear whole or not at all, and programs that are run. */
#ifndef SW_STORE_BACKUP_INTERNAL_H
#define SW_STORE_BACKUP_INTERNAL_H

#include "base/buf.h"
#include "store/store_internal.h"

/* `path` does not exist yet. SW_E_CONFLICT: it does. */
sw_status sw_backup_check_free(const char *path, struct sw_error *err);
/* "PATH.part" on the heap, made empty with mode 0600; one that was left behind is replaced. */
sw_status sw_backup_create_part(const char *path, char **ret_part, struct sw_error *err);
/* fsync, then the part gets its name, which nobody else may have taken meanwhile. */
sw_status sw_backup_finish_part(const char *part, const char *path, struct sw_error *err);

/* Into a file that does not exist, from a part of this folder. */
sw_status sw_sqlite_dump(struct sw_store *store, const char *part, int64_t *ret_revision, struct sw_error *err);
sw_status sw_sqlite_restore(const struct sw_store *store, const char *copy, struct sw_error *err);
sw_status sw_postgres_dump(struct sw_store *store, const char *part, int64_t *ret_revision, struct sw_error *err);
sw_status sw_postgres_restore(struct sw_store *store, const char *copy, struct sw_error *err);

/* Runs a program of the PATH with the environment given, without standard input, and waits for its end. What it writes
 * to standard output is appended to out (NULL: dropped). SW_E_IO: it is not installed, or it failed; the message has
 * the last of what it wrote to standard error. */
sw_status sw_child_run(const char *const *argv, char *const *env, struct sw_buf *out, struct sw_error *err);

#endif
