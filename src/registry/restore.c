/* Verifying a backup, and restoring one; see backup.h. */
#include <errno.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "registry/backup_internal.h"

struct reading {
    const struct sw_backup_options *options;
    struct sw_artifacts *set;
    struct sw_artifacts *target; /* NULL: only verified */
    uint64_t total_bytes, done_bytes;
    int64_t files;
};

static void tell(struct reading *r, uint64_t size) {
    r->files++;
    r->done_bytes += size;
    if (r->options->progress) {
        r->options->progress(r->options->progress_arg, r->done_bytes, r->total_bytes);
    }
}

/* A file that is not there is damage as well. */
static sw_status explain_file(struct sw_error *err, const struct sw_digest *digest) {
    if (err->code == SW_E_NOT_FOUND) {
        return sw_fail(err, SW_E_DIGEST_MISMATCH, "backup file %s is missing", digest->hex);
    }
    return sw_error_prefix(err, "backup file %s", digest->hex);
}

static sw_status verify_blob(void *arg, const struct sw_digest *digest, uint64_t size, struct sw_error *err) {
    struct reading *r = arg;
    struct sw_blob blob;
    if (sw_artifacts_stat(r->set, digest, &blob, err) || sw_artifacts_verify(r->set, digest, err)) {
        return explain_file(err, digest);
    }
    if (blob.size != size) {
        return sw_fail(err, SW_E_DIGEST_MISMATCH, "backup file %s has %llu bytes and should have %llu", digest->hex,
                       (unsigned long long)blob.size, (unsigned long long)size);
    }
    tell(r, size);
    return SW_OK;
}

/* Verified while it is read: put_file compares the digest of what it copied. */
static sw_status restore_blob(void *arg, const struct sw_digest *digest, uint64_t size, struct sw_error *err) {
    struct reading *r = arg;
    char name[SW_DIGEST_HEX + 16];
    snprintf(name, sizeof name, "blobs/%.2s/%s", digest->hex, digest->hex);
    SW_AUTO_FREE char *path = sw_path_join(r->options->directory, name);
    struct sw_blob stored;
    if (sw_artifacts_put_file(r->target, path, digest, &stored, err)) {
        return explain_file(err, digest);
    }
    tell(r, size);
    return SW_OK;
}

static sw_status choose(const struct sw_backup_options *options, uint64_t at_ms, struct reading *ret,
                        json_t **ret_manifest, char ret_name[SW_SNAPSHOT_NAME_MAX], struct sw_error *err) {
    *ret = (struct reading){.options = options};
    SW_TRY(sw_backup_set_open(options, false, &ret->set, err));
    sw_status status = sw_backup_choose(options->directory, at_ms, ret_manifest, ret_name, err);
    if (status) {
        sw_artifacts_close(ret->set);
        return status;
    }
    ret->total_bytes = (uint64_t)json_integer_value(json_object_get(*ret_manifest, "bytes"));
    return SW_OK;
}

sw_status sw_backup_verify(const struct sw_backup_options *options, uint64_t at_ms, json_t **ret,
                           struct sw_error *err) {
    struct reading reading;
    json_t *manifest;
    char name[SW_SNAPSHOT_NAME_MAX];
    SW_TRY(choose(options, at_ms, &reading, &manifest, name, err));
    sw_status status = sw_backup_check_file(options->directory, name, manifest, "metadata", NULL, err);
    if (!status) {
        status = sw_backup_each_blob(options->directory, name, manifest, verify_blob, &reading, err);
    }
    sw_artifacts_close(reading.set);
    if (status) {
        json_decref(manifest);
        return status;
    }
    *ret = manifest;
    return SW_OK;
}

/* ---- restore */

/* Before gigabytes are copied: would the database be taken at the end? (sw_store_restore checks it once more.) */
static sw_status check_target(const struct sw_store_options *store, const json_t *manifest, struct sw_error *err) {
    bool is_sqlite = strncmp(store->url, "sqlite:", 7) == 0;
    const char *kind = json_string_value(json_object_get(manifest, "store"));
    if (!kind || strcmp(kind, is_sqlite ? "sqlite" : "postgresql") != 0) {
        return sw_fail(err, SW_E_CONFLICT, "the backup is of a %s database, and store.url names a %s one",
                       kind ? kind : "nameless", is_sqlite ? "sqlite" : "postgresql");
    }
    if (is_sqlite && access(store->url + 7, F_OK) == 0) {
        return sw_fail(err, SW_E_CONFLICT,
                       "%s exists: a backup is only restored into an empty server; give another --data-dir, "
                       "or move that file away",
                       store->url + 7);
    }
    return SW_OK;
}

static sw_status drop_holds(struct sw_store *store, struct sw_error *err) {
    struct sw_tx *tx;
    SW_TRY(sw_store_begin(store, SW_TX_WRITE, &tx, err));
    return sw_registry_end(tx, sw_tx_exec(tx, "DELETE FROM holds", SW_NO_PARAMS, NULL, err), true, err);
}

/* The restored database: of the manifest's revision, its audit chain whole, the hold of the backup itself gone. */
static sw_status check_restored(const struct sw_store_options *options, const json_t *manifest, struct sw_error *err) {
    struct sw_store *store;
    struct sw_audit_report audit = {0};
    struct sw_tx *tx;
    int64_t revision = 0;
    SW_TRY(sw_store_open(options, &store, err));
    sw_status status = sw_store_begin(store, SW_TX_READ, &tx, err);
    if (!status) {
        revision = sw_tx_revision(tx);
        sw_tx_rollback(tx);
        status = sw_audit_verify(store, &audit, err);
    }
    if (!status && audit.fault_seq) {
        status = sw_fail(err, SW_E_DIGEST_MISMATCH, "the restored audit chain does not hold: %s", audit.fault);
    }
    int64_t wanted = json_integer_value(json_object_get(manifest, "revision"));
    if (!status && revision != wanted) {
        status = sw_fail(err, SW_E_DIGEST_MISMATCH, "the restored database is of revision %lld, the manifest of %lld",
                         (long long)revision, (long long)wanted);
    }
    if (!status) {
        status = drop_holds(store, err);
    }
    sw_store_close(store);
    return status;
}

static sw_status restore(struct reading *r, const char *name, const json_t *manifest,
                         const struct sw_store_options *store, struct sw_error *err) {
    SW_AUTO_FREE char *metadata = NULL;
    const char *directory = r->options->directory;
    SW_TRY(check_target(store, manifest, err));
    SW_TRY(sw_backup_check_file(directory, name, manifest, "metadata", &metadata, err));
    SW_TRY(sw_backup_each_blob(directory, name, manifest, restore_blob, r, err));
    SW_TRY(sw_store_restore(store, metadata, err));
    return check_restored(store, manifest, err);
}

sw_status sw_backup_restore(const struct sw_backup_options *options, uint64_t at_ms,
                            const struct sw_store_options *store_options, struct sw_artifacts *artifacts, json_t **ret,
                            struct sw_error *err) {
    struct reading reading;
    json_t *manifest;
    char name[SW_SNAPSHOT_NAME_MAX];
    SW_TRY(choose(options, at_ms, &reading, &manifest, name, err));
    reading.target = artifacts;
    sw_status status = restore(&reading, name, manifest, store_options, err);
    sw_artifacts_close(reading.set);
    if (status) {
        json_decref(manifest);
        return status;
    }
    json_object_set_new(manifest, "restored_files", json_integer(reading.files));
    json_object_set_new(manifest, "audit_ok", json_true());
    *ret = manifest;
    return SW_OK;
}
