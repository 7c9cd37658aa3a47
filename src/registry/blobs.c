/* Which files the registry knows: the table `blobs`.
 *
 * A blob is committed to the artifact store first and noted here second; a version refers only to noted ones. gc goes
 * the other way in three steps: state 'deleting' in a transaction that sees no reference, the artifact itself, the
 * row. So nobody gets a version whose files are being deleted:
 *   note while 'deleting'          refused; the row is not revived, because the file goes in a moment
 *   note after the row has gone    the row is written first and the file looked for second: had gc deleted the new file
 *                                  (committed before its second step), it is found missing here; later gc runs see
 *                                  the new row */
#include <inttypes.h>

#include "base/map.h"
#include "base/memory.h"
#include "registry/registry_internal.h"

static sw_status being_deleted(const struct sw_digest *digest, struct sw_error *err) {
    return sw_fail(err, SW_E_CONFLICT, "file %.16s... is being deleted by a clean-up; upload it again in a moment",
                   digest->hex);
}

/* *ret_state: "ready", "deleting" or NULL. */
static sw_status blob_state(struct sw_tx *tx, const struct sw_digest *digest, struct sw_arena *arena,
                            const char **ret_state, int64_t *ret_size, struct sw_error *err) {
    struct sw_rows rows;
    SW_TRY(sw_tx_query(tx, "SELECT state, size FROM blobs WHERE digest = $1", SW_PARAMS(sw_v_text(digest->hex)), arena,
                       &rows, err));
    *ret_state = rows.count ? sw_rows_text(&rows, 0, 0) : NULL;
    *ret_size = rows.count ? sw_rows_int(&rows, 0, 1) : 0;
    return SW_OK;
}

static sw_status write_row(struct sw_registry *registry, struct sw_tx *tx, const struct sw_blob *blob,
                           struct sw_error *err) {
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    const char *state;
    int64_t size;
    SW_TRY(blob_state(tx, &blob->digest, &arena, &state, &size, err));
    if (state && strcmp(state, "deleting") == 0) {
        return being_deleted(&blob->digest, err);
    }
    int64_t now = sw_registry_now(registry);
    return sw_tx_exec(
        tx,
        "INSERT INTO blobs (digest, size, state, created_ms, referenced_ms) VALUES ($1, $2, 'ready', $3, $3) "
        "ON CONFLICT (digest) DO UPDATE SET size = excluded.size, referenced_ms = excluded.referenced_ms",
        SW_PARAMS(sw_v_text(blob->digest.hex), sw_v_int((int64_t)blob->size), sw_v_int(now)), NULL, err);
}

sw_status sw_registry_note_blob(struct sw_registry *registry, const struct sw_blob *blob, struct sw_error *err) {
    struct sw_tx *tx;
    SW_TRY(sw_store_begin(registry->store, SW_TX_WRITE, &tx, err));
    SW_TRY(sw_registry_end(tx, write_row(registry, tx, blob, err), true, err));
    struct sw_blob stored;
    sw_status status = sw_artifacts_stat(registry->artifacts, &blob->digest, &stored, err);
    return status == SW_E_NOT_FOUND ? being_deleted(&blob->digest, err) : status;
}

static sw_status touch_blob(struct sw_registry *registry, struct sw_tx *tx, const struct sw_digest *digest,
                            bool *ret_known, int64_t *ret_size, struct sw_error *err) {
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    const char *state;
    SW_TRY(blob_state(tx, digest, &arena, &state, ret_size, err));
    *ret_known = state && strcmp(state, "ready") == 0;
    if (!*ret_known) {
        return SW_OK;
    }
    return sw_tx_exec(tx, "UPDATE blobs SET referenced_ms = $2 WHERE digest = $1",
                      SW_PARAMS(sw_v_text(digest->hex), sw_v_int(sw_registry_now(registry))), NULL, err);
}

sw_status sw_registry_has_blob(struct sw_registry *registry, const struct sw_digest *digest, bool *ret_known,
                               uint64_t *ret_size, struct sw_error *err) {
    struct sw_tx *tx;
    bool known = false;
    int64_t size = 0;
    SW_TRY(sw_store_begin(registry->store, SW_TX_WRITE, &tx, err));
    sw_status status = touch_blob(registry, tx, digest, &known, &size, err);
    SW_TRY(sw_registry_end(tx, status, known, err));
    if (known) { /* a row without its file is not "here": the upload brings it back */
        struct sw_blob stored;
        status = sw_artifacts_stat(registry->artifacts, digest, &stored, err);
        if (status && status != SW_E_NOT_FOUND) {
            return status;
        }
        known = status == SW_OK && stored.size == (uint64_t)size;
    }
    *ret_known = known;
    if (known && ret_size) {
        *ret_size = (uint64_t)size;
    }
    return SW_OK;
}

/* of versions ------------------------------------------------------------------------------------------------------ */

sw_status sw_registry_files_json(const struct sw_version_file *files, size_t count, struct sw_arena *arena,
                                 const char **ret, struct sw_error *err) {
    SW_AUTO_JSON json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *entry = json_pack("[ssI]", files[i].path, files[i].digest.hex, (json_int_t)files[i].size);
        if (json_array_append_new(list, entry)) {
            return sw_registry_out_of_memory(err);
        }
    }
    return sw_registry_json_text(arena, list, ret, err);
}

/* Names the first file whose blob cannot be used. */
static sw_status refuse_blob(struct sw_tx *tx, const struct sw_version_file *files, size_t count,
                             struct sw_arena *arena, struct sw_error *err) {
    for (size_t i = 0; i < count; i++) {
        const char *state;
        int64_t size;
        SW_TRY(blob_state(tx, &files[i].digest, arena, &state, &size, err));
        if (!state) {
            return sw_fail(err, SW_E_DIGEST_MISMATCH, "files: %s: nothing with SHA-256 %s has been uploaded",
                           files[i].path, files[i].digest.hex);
        }
        if (strcmp(state, "ready") != 0) {
            return being_deleted(&files[i].digest, err);
        }
        if ((uint64_t)size != files[i].size) {
            return sw_fail(err, SW_E_DIGEST_MISMATCH,
                           "files: %s: what has SHA-256 %s is of %" PRId64 " bytes, not of %" PRIu64, files[i].path,
                           files[i].digest.hex, size, files[i].size);
        }
    }
    return sw_fail(err, SW_E_INTERNAL, "files: blobs could not be counted");
}

/* How many different blobs; 0: two files have one digest and different sizes. */
static size_t count_distinct(const struct sw_version_file *files, size_t count) {
    struct sw_map seen;
    sw_map_init(&seen);
    bool clash = false;
    for (size_t i = 0; i < count; i++) {
        const struct sw_version_file *other = sw_map_put(&seen, sw_str_of(files[i].digest.hex), (void *)&files[i]);
        clash = clash || (other && other->size != files[i].size);
    }
    size_t distinct = clash ? 0 : seen.count;
    sw_map_deinit(&seen);
    return distinct;
}

sw_status sw_registry_use_blobs(struct sw_registry *registry, struct sw_tx *tx, const struct sw_version_file *files,
                                size_t count, struct sw_arena *arena, struct sw_error *err) {
    const char *sql, *list;
    SW_TRY(sw_registry_files_json(files, count, arena, &list, err));
    SW_TRY(sw_registry_page_sql(tx, SW_PAGE_FILES,
                                "UPDATE blobs SET referenced_ms = $2 WHERE state = 'ready' "
                                "AND (digest, size) IN (SELECT digest, size FROM page)",
                                arena, &sql, err));
    int64_t changed;
    SW_TRY(sw_tx_exec(tx, sql, SW_PARAMS(sw_v_text(list), sw_v_int(sw_registry_now(registry))), &changed, err));
    return (size_t)changed == count_distinct(files, count) ? SW_OK : refuse_blob(tx, files, count, arena, err);
}

sw_status sw_registry_release_blobs(struct sw_registry *registry, struct sw_tx *tx, const char *model, int64_t version,
                                    struct sw_error *err) {
    return sw_tx_exec(tx,
                      "UPDATE blobs SET referenced_ms = $3 WHERE digest IN "
                      "(SELECT digest FROM version_files WHERE model = $1 AND ($2 = 0 OR version = $2))",
                      SW_PARAMS(sw_v_text(model), sw_v_int(version), sw_v_int(sw_registry_now(registry))), NULL, err);
}
