/* Making a backup; see backup.h for the folder and the order of things. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "registry/backup_internal.h"
#include "registry/holds.h"

enum {
    CLOCK_SKEW_MS = 10 * 60 *
                    1000, /* between replicas: what became unneeded this long before the hold is still copied */
    BLOBS_TEXT_MAX = 1 << 30,
};

struct backup {
    struct sw_store *store;
    struct sw_artifacts *artifacts;
    const struct sw_backup_options *options;
    struct sw_artifacts *set;
    struct sw_hold hold;
    char part[SW_SNAPSHOT_NAME_MAX + 2]; /* name of the folder until it is complete: with a dot in front */
    char name[SW_SNAPSHOT_NAME_MAX];     /* of the snapshot */
    uint64_t time_ms;
    int64_t revision;
    struct sw_rows blobs; /* digest, size */
    struct sw_arena arena;
    uint64_t total_bytes, done_bytes, copied_bytes;
    size_t copied;
};

static void snapshot_name(uint64_t wall_ms, char ret[SW_SNAPSHOT_NAME_MAX]) {
    char text[SW_TIMESTAMP_MAX]; /* 2026-11-21T13:00:00.123Z -> 20261121T130000.123Z */
    sw_format_timestamp(wall_ms, text);
    size_t n = 0;
    for (const char *p = text; *p; p++) {
        if (*p != '-' && *p != ':') {
            ret[n++] = *p;
        }
    }
    ret[n] = '\0';
}

static sw_status begin_snapshot(struct backup *b, struct sw_error *err) {
    char name[SW_SNAPSHOT_NAME_MAX];
    snapshot_name(b->options->clock->wall_ms(b->options->clock), name);
    snprintf(b->part, sizeof b->part, ".%s", name);
    SW_AUTO_FREE char *folder = sw_backup_path(b->options->directory, b->part, NULL);
    if (mkdir(folder, 0700)) {
        return sw_fail(err, errno == ENOSPC ? SW_E_INSUFFICIENT_STORAGE : SW_E_IO, "cannot make %s: %s", folder,
                       strerror(errno));
    }
    return SW_OK;
}

static const char *metadata_name(const struct backup *b) {
    return sw_store_dialect(b->store) == SW_STORE_SQLITE ? "metadata.sqlite" : "metadata.pgdump";
}

/* The time of a backup is read when the database has been copied: so the copy holds nothing that came later. */
static sw_status copy_database(struct backup *b, struct sw_error *err) {
    SW_AUTO_FREE char *metadata = sw_backup_path(b->options->directory, b->part, metadata_name(b));
    SW_TRY(sw_store_dump(b->store, metadata, &b->revision, err));
    b->time_ms = b->options->clock->wall_ms(b->options->clock);
    snapshot_name(b->time_ms, b->name);
    return SW_OK;
}

/* Files that the copy of the database may refer to: those that something refers to now, and those that ceased to be
 * needed since the hold was taken. None has vanished in between: gc stands still. */
static sw_status list_blobs(struct backup *b, struct sw_error *err) {
    SW_AUTO_TX struct sw_tx *tx = NULL;
    SW_TRY(sw_store_begin(b->store, SW_TX_READ, &tx, err));
    SW_TRY(sw_tx_query(tx,
                       "SELECT b.digest, b.size FROM blobs b WHERE b.referenced_ms >= $1 OR "
                       "EXISTS (SELECT 1 FROM version_files f WHERE f.digest = b.digest) OR "
                       "EXISTS (SELECT 1 FROM mlflow_artifacts m WHERE m.digest = b.digest) ORDER BY b.digest",
                       SW_PARAMS(sw_v_int((int64_t)b->hold.started_ms - CLOCK_SKEW_MS)), &b->arena, &b->blobs, err));
    for (size_t i = 0; i < b->blobs.count; i++) {
        b->total_bytes += (uint64_t)sw_rows_int(&b->blobs, i, 1);
    }
    return SW_OK;
}

/* ---- files */

/* Copies a file from store to store, verified on both sides. */
static sw_status copy_blob(struct backup *b, const struct sw_digest *digest, uint64_t size, struct sw_error *err) {
    struct sw_blob stored;
    SW_AUTO_FREE char *folder = sw_backup_path(b->options->directory, b->part, NULL);
    SW_AUTO_FREE char *path = sw_path_join(folder, "file");
    SW_TRY(sw_artifacts_fetch(b->artifacts, digest, size, path, err));
    sw_status status = sw_artifacts_put_file(b->set, path, digest, &stored, err);
    if (unlink(path) && !status) {
        status = sw_fail(err, SW_E_IO, "cannot delete %s: %s", path, strerror(errno));
    }
    b->copied += status == SW_OK;
    b->copied_bytes += status == SW_OK ? size : 0;
    return status;
}

/* A file of an earlier backup is used again when its bytes are still right; else it is copied anew. */
static sw_status keep_blob(struct backup *b, const struct sw_digest *digest, uint64_t size, struct sw_error *err) {
    struct sw_blob there;
    sw_status status = sw_artifacts_stat(b->set, digest, &there, err);
    if (!status && there.size == size) {
        status = sw_artifacts_verify(b->set, digest, err);
        if (status != SW_E_DIGEST_MISMATCH) {
            return status;
        }
    }
    return !status || status == SW_E_NOT_FOUND || status == SW_E_DIGEST_MISMATCH ? copy_blob(b, digest, size, err)
                                                                                 : status;
}

/* Unneeded files may have gone before the hold was taken (their rows are marked): only what is needed must be there. */
static sw_status is_needed(struct backup *b, const char *digest, bool *ret, struct sw_error *err) {
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    SW_AUTO_TX struct sw_tx *tx = NULL;
    struct sw_rows rows;
    SW_TRY(sw_store_begin(b->store, SW_TX_READ, &tx, err));
    SW_TRY(sw_tx_query(tx, "SELECT 1 FROM blobs WHERE digest = $1 AND state = 'ready'", SW_PARAMS(sw_v_text(digest)),
                       &arena, &rows, err));
    *ret = rows.count > 0;
    return SW_OK;
}

static sw_status keep_row(struct backup *b, size_t row, bool *ret_kept, struct sw_error *err) {
    const char *hex = sw_rows_text(&b->blobs, row, 0);
    uint64_t size = (uint64_t)sw_rows_int(&b->blobs, row, 1);
    struct sw_digest digest;
    *ret_kept = true;
    if (!sw_digest_parse(sw_str_of(hex), &digest)) {
        return sw_fail(err, SW_E_IO, "the database names a file '%s', which is no digest", hex);
    }
    sw_status status = keep_blob(b, &digest, size, err);
    if (status == SW_E_NOT_FOUND) {
        struct sw_error why;
        bool needed = true;
        SW_TRY(is_needed(b, hex, &needed, &why));
        if (!needed) {
            *ret_kept = false;
            return SW_OK;
        }
    }
    return status ? sw_error_prefix(err, "file %s", hex) : SW_OK;
}

static sw_status keep_all(struct backup *b, struct sw_buf *text, size_t *ret_count, struct sw_error *err) {
    for (size_t i = 0; i < b->blobs.count; i++) {
        bool kept;
        SW_TRY(sw_hold_renew(&b->hold, err));
        SW_TRY(keep_row(b, i, &kept, err));
        b->done_bytes += (uint64_t)sw_rows_int(&b->blobs, i, 1);
        if (kept) {
            sw_buf_printf(text, "%s %lld\n", sw_rows_text(&b->blobs, i, 0), (long long)sw_rows_int(&b->blobs, i, 1));
            ++*ret_count;
        }
        if (b->options->progress) {
            b->options->progress(b->options->progress_arg, b->done_bytes, b->total_bytes);
        }
    }
    return text->failed ? sw_registry_out_of_memory(err) : SW_OK;
}

/* ---- the manifest */

static sw_status describe_file(struct backup *b, const char *file, json_t **ret, struct sw_error *err) {
    SW_AUTO_FREE char *path = sw_backup_path(b->options->directory, b->part, file);
    struct sw_digest digest;
    uint64_t size;
    SW_TRY(sw_digest_file(path, &digest, &size, err));
    *ret = json_pack("{s:s, s:s, s:I}", "file", file, "sha256", digest.hex, "bytes", (json_int_t)size);
    return *ret ? SW_OK : sw_registry_out_of_memory(err);
}

static sw_status build_manifest(struct backup *b, size_t files, json_t **ret, struct sw_error *err) {
    char time[SW_TIMESTAMP_MAX];
    struct sw_audit_report audit;
    SW_AUTO_JSON json_t *metadata = NULL, *blobs = NULL;
    sw_format_timestamp(b->time_ms, time);
    SW_TRY(describe_file(b, metadata_name(b), &metadata, err));
    SW_TRY(describe_file(b, "blobs.txt", &blobs, err));
    SW_TRY(sw_audit_verify(b->store, &audit, err));
    if (audit.fault_seq) {
        return sw_fail(err, SW_E_DIGEST_MISMATCH, "the audit chain does not hold (%s): see `slipway audit verify`",
                       audit.fault);
    }
    *ret = json_pack("{s:i, s:s, s:s, s:s, s:I, s:I, s:s, s:O, s:O, s:I, s:I, s:I, s:I}", "format", 1, "program",
                     SW_VERSION, "snapshot", b->name, "time", time, "time_ms", (json_int_t)b->time_ms, "revision",
                     (json_int_t)b->revision, "store",
                     sw_store_dialect(b->store) == SW_STORE_SQLITE ? "sqlite" : "postgresql", "metadata", metadata,
                     "blobs", blobs, "files", (json_int_t)files, "bytes", (json_int_t)b->total_bytes, "copied_files",
                     (json_int_t)b->copied, "copied_bytes", (json_int_t)b->copied_bytes);
    return *ret ? SW_OK : sw_registry_out_of_memory(err);
}

static sw_status write_manifest(struct backup *b, const json_t *manifest, struct sw_error *err) {
    SW_AUTO_FREE char *path = sw_backup_path(b->options->directory, b->part, "manifest.json");
    char *text = json_dumps(manifest, JSON_INDENT(2));
    if (!text) {
        return sw_registry_out_of_memory(err);
    }
    sw_status status = sw_backup_write_file(path, text, strlen(text), err);
    sw_free(text);
    return status;
}

/* From here on it is a backup. */
static sw_status complete(struct backup *b, struct sw_error *err) {
    SW_AUTO_FREE char *part = sw_backup_path(b->options->directory, b->part, NULL);
    SW_AUTO_FREE char *final = sw_backup_path(b->options->directory, b->name, NULL);
    SW_AUTO_FREE char *folder = sw_backup_path(b->options->directory, NULL, NULL);
    SW_TRY(sw_backup_sync_folder(part, err));
    if (rename(part, final)) {
        return sw_fail(err, SW_E_IO, "cannot rename %s: %s", part, strerror(errno));
    }
    return sw_backup_sync_folder(folder, err);
}

/* ---- the whole */

static sw_status fill_snapshot(struct backup *b, json_t **ret, struct sw_error *err) {
    SW_AUTO_FREE char *list = sw_backup_path(b->options->directory, b->part, "blobs.txt");
    struct sw_buf text;
    size_t files = 0;
    SW_TRY(copy_database(b, err));
    SW_TRY(list_blobs(b, err));
    sw_buf_init(&text, BLOBS_TEXT_MAX);
    sw_status status = keep_all(b, &text, &files, err);
    if (!status) {
        status = sw_backup_write_file(list, text.data ? text.data : "", text.len, err);
    }
    sw_buf_deinit(&text);
    SW_TRY(status);
    SW_AUTO_JSON json_t *manifest = NULL;
    SW_TRY(build_manifest(b, files, &manifest, err));
    SW_TRY(write_manifest(b, manifest, err));
    SW_TRY(complete(b, err));
    *ret = json_incref(manifest);
    return SW_OK;
}

/* What backups that died left behind: parts of snapshots and files half copied. The lock says that none is running. */
static sw_status remove_parts(const struct backup *b, struct sw_error *err) {
    SW_AUTO_FREE char *snapshots = sw_backup_path(b->options->directory, NULL, NULL);
    DIR *d = opendir(snapshots);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.' && e->d_name[1] != '.' && e->d_name[1] != '\0') {
            SW_AUTO_FREE char *part = sw_path_join(snapshots, e->d_name);
            sw_registry_remove_tree(part);
        }
    }
    if (d) {
        closedir(d);
    }
    return sw_artifacts_sweep(b->set, 0, false, NULL, NULL, NULL, NULL, err);
}

static sw_status run(struct backup *b, json_t **ret, struct sw_error *err) {
    SW_TRY(remove_parts(b, err));
    SW_TRY(begin_snapshot(b, err));
    sw_status status = fill_snapshot(b, ret, err);
    if (status) {
        SW_AUTO_FREE char *part = sw_backup_path(b->options->directory, b->part, NULL);
        sw_registry_remove_tree(part);
    }
    return status;
}

/* One backup into a folder at a time: holds the folder's lock until the descriptor is closed. */
static sw_status lock_folder(const char *directory, int *ret_fd, struct sw_error *err) {
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB)) {
        int code = errno;
        if (fd >= 0) {
            close(fd);
        }
        return code == EWOULDBLOCK ? sw_fail(err, SW_E_CONFLICT, "another backup into %s is running", directory)
                                   : sw_fail(err, SW_E_IO, "cannot lock %s: %s", directory, strerror(code));
    }
    *ret_fd = fd;
    return SW_OK;
}

static sw_status create_held(struct backup *b, json_t **ret, struct sw_error *err) {
    char owner[64];
    snprintf(owner, sizeof owner, "process %ld", (long)getpid());
    SW_TRY(sw_hold_take(b->store, b->options->clock, "backup", owner, &b->hold, err));
    sw_status status = run(b, ret, err);
    struct sw_error why;
    sw_status dropped = sw_hold_drop(&b->hold, &why); /* else it ends by itself, within the hour */
    if (dropped && !status) {
        json_decref(*ret);
        status = sw_fail(err, dropped, "the backup %s is complete, but its hold on gc could not be given up: %s",
                         b->name, why.message);
    }
    return status;
}

sw_status sw_backup_create(struct sw_store *store, struct sw_artifacts *artifacts,
                           const struct sw_backup_options *options, json_t **ret, struct sw_error *err) {
    struct backup b = {.store = store, .artifacts = artifacts, .options = options};
    int lock = -1;
    SW_TRY(sw_backup_set_open(options, true, &b.set, err));
    sw_status status = lock_folder(options->directory, &lock, err);
    if (!status) {
        sw_arena_init(&b.arena, (size_t)1 << 30, 0);
        status = create_held(&b, ret, err);
        sw_arena_deinit(&b.arena);
        close(lock);
    }
    sw_artifacts_close(b.set);
    return status;
}
