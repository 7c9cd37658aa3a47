/* The folder of backups; shared by backup.c and restore.c. */
#ifndef SW_REGISTRY_BACKUP_INTERNAL_H
#define SW_REGISTRY_BACKUP_INTERNAL_H

#include "registry/backup.h"
#include "registry/registry_internal.h"

enum { SW_SNAPSHOT_NAME_MAX = 64 };

/* The folder opened as an artifact store: DIR/blobs. create: to be written, made when missing; else only read.
 * SW_E_NOT_FOUND: holds no backups; SW_E_CONFLICT: holds something else. */
SW_MUST_CHECK sw_status sw_backup_set_open(const struct sw_backup_options *options, bool create,
                                           struct sw_artifacts **ret, struct sw_error *err);
char *sw_backup_path(const char *directory, const char *snapshot, const char *file); /* heap; file NULL: the folder */
/* Writes `len` bytes to a new file and fsyncs it. */
SW_MUST_CHECK sw_status sw_backup_write_file(const char *path, const void *data, size_t len, struct sw_error *err);
SW_MUST_CHECK sw_status sw_backup_sync_folder(const char *path, struct sw_error *err);
/* The newest complete snapshot with time <= at_ms (0: any); its manifest and folder name. */
SW_MUST_CHECK sw_status sw_backup_choose(const char *directory, uint64_t at_ms, json_t **ret_manifest,
                                         char ret_name[SW_SNAPSHOT_NAME_MAX], struct sw_error *err);
/* Digest and size of a file of the snapshot against what its manifest says under "key": {"file", "sha256", "bytes"}.
 * *ret_path (may be NULL) on the heap. */
SW_MUST_CHECK sw_status sw_backup_check_file(const char *directory, const char *snapshot, const json_t *manifest,
                                             const char *key, char **ret_path, struct sw_error *err);
/* Calls fn for each file of blobs.txt (checked against the manifest first). */
typedef sw_status sw_backup_blob_fn(void *arg, const struct sw_digest *digest, uint64_t size, struct sw_error *err);
SW_MUST_CHECK sw_status sw_backup_each_blob(const char *directory, const char *snapshot, const json_t *manifest,
                                            sw_backup_blob_fn *fn, void *arg, struct sw_error *err);

#endif
