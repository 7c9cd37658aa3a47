/* Backup and restore of the registry: metadata and files, verified down to each digest.
 *
 *   DIR/slipway-backup.json                   says what the folder is: {"format": 1}
 *   DIR/blobs/ab/abcdef...                    files by SHA-256, shared by all snapshots: a second backup copies only
 *                                             new ones
 *   DIR/snapshots/20261121T130000.123Z/       one backup:
 *       metadata.sqlite | metadata.pgdump     a consistent copy of the database
 *       blobs.txt                             "SHA-256 SIZE" of every file that it may refer to
 *       manifest.json                         time, revision, digests of the two files above
 *
 * Making one, while servers run: a hold keeps gc away; the database is copied; then every file it refers to, each
 * hashed on the way, those that are there already hashed too; the manifest is written last, under a temporary name of
 * the folder that is then renamed: a folder without a dot in front is a complete backup. Restoring: manifest, database
 * copy and every file are verified while they are put into an empty store; then the audit chain of the restored
 * database is verified. Point in time: the newest snapshot not after it.
 *
 * Works on the stores themselves, no server needed. One thread; blocks. */
#ifndef SW_REGISTRY_BACKUP_H
#define SW_REGISTRY_BACKUP_H

#include <jansson.h>

#include "artifact/artifact.h"
#include "store/store.h"

/* Called now and then with what is done; may be NULL. */
typedef void sw_backup_progress(void *arg, uint64_t done_bytes, uint64_t total_bytes);

struct sw_backup_options {
    const char *directory; /* of the backups; made when missing; must be empty or hold backups */
    struct sw_clock *clock;
    sw_backup_progress *progress;
    void *progress_arg;
};

/* One more backup. *ret: {"format", "program", "snapshot", "time", "time_ms", "revision", "store", "metadata": {"file",
 * "sha256", "bytes"}, "blobs": the same, "files", "bytes", "copied_files", "copied_bytes"}. SW_E_CONFLICT: the folder
 * holds something else. A file that is damaged or missing in the artifact store: SW_E_DIGEST_MISMATCH or
 * SW_E_NOT_FOUND, naming it; no snapshot is made. */
SW_MUST_CHECK sw_status sw_backup_create(struct sw_store *store, struct sw_artifacts *artifacts,
                                         const struct sw_backup_options *options, json_t **ret, struct sw_error *err);

/* Manifests of the complete backups, oldest first: a JSON array of what sw_backup_create gave. SW_E_NOT_FOUND: no
 * backups there. */
SW_MUST_CHECK sw_status sw_backup_list(const char *directory, json_t **ret, struct sw_error *err);

/* Reads every byte of the newest snapshot not after at_ms (0: the newest) and compares digests. SW_E_DIGEST_MISMATCH
 * naming what is damaged. *ret: its manifest. */
SW_MUST_CHECK sw_status sw_backup_verify(const struct sw_backup_options *options, uint64_t at_ms, json_t **ret,
                                         struct sw_error *err);

/* Fills an empty database and the artifact store from it. The store is opened by this call and closed again.
 * SW_E_NOT_FOUND: no snapshot that old; SW_E_CONFLICT: the database is not empty; SW_E_DIGEST_MISMATCH: the backup is
 * damaged: nothing was restored (files that were put into the artifact store stay there, unreferenced). *ret: the
 * manifest, with "restored_files" and "audit_ok". */
SW_MUST_CHECK sw_status sw_backup_restore(const struct sw_backup_options *options, uint64_t at_ms,
                                          const struct sw_store_options *store_options, struct sw_artifacts *artifacts,
                                          json_t **ret, struct sw_error *err);

#endif
