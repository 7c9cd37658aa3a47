/* A new version: files first, row second.
 *
 *   1. what the caller sent is checked                                   (no I/O)
 *   2. model and number are looked at, to fail early                     (read transaction)
 *   3. each file is there, with that size; bundle and graph are read     (no transaction: may be slow)
 *   4. number, row, files, tags, audit; blobs are still not being deleted (write transaction; decides) */
#include <inttypes.h>
#include <stdlib.h>

#include "base/memory.h"
#include "registry/registry_internal.h"

struct creation {
    struct sw_registry *registry;
    const struct sw_actor *actor;
    const char *model;
    bool create_model;
    const struct sw_version_spec *spec;
    struct sw_arena *arena;
    struct sw_inspection inspection;
    json_t *metrics; /* bundle's and caller's */
    struct sw_digest digest;
    uint64_t size;
    int64_t number;
};

static sw_status check_spec(const struct sw_version_spec *spec, struct sw_error *err) {
    SW_TRY(sw_registry_check_files(spec->files, spec->file_count, err));
    SW_TRY(sw_registry_check_text("description", spec->description, SW_REGISTRY_DESCRIPTION_MAX, err));
    SW_TRY(sw_registry_check_text("source", spec->source, SW_REGISTRY_SOURCE_MAX, err));
    SW_TRY(sw_registry_check_text("run_id", spec->run_id, 256, err));
    SW_TRY(sw_registry_check_tags(spec->tags, false, err));
    if (spec->expected_number < 0) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "expected_version: must be positive");
    }
    return sw_registry_check_metrics(spec->metrics, false, err);
}

static sw_status check_number(const struct creation *c, int64_t latest, struct sw_error *err) {
    if (c->spec->expected_number && c->spec->expected_number != latest + 1) {
        return sw_fail(err, SW_E_CONFLICT, "the next version of model %s is %" PRId64 ", not %" PRId64, c->model,
                       latest + 1, c->spec->expected_number);
    }
    return SW_OK;
}

/* The highest number given under the name: of the model, or of the one that was deleted. */
static sw_status latest_number(struct sw_tx *tx, const char *model, int64_t *ret, bool *ret_exists,
                               struct sw_error *err) {
    SW_AUTO_ARENA struct sw_arena arena;
    sw_arena_init(&arena, 64 << 10, 0);
    struct sw_rows rows;
    SW_TRY(sw_tx_query(tx,
                       "SELECT latest, 1 FROM models WHERE name = $1 UNION ALL "
                       "SELECT latest, 0 FROM models_gone WHERE name = $1",
                       SW_PARAMS(sw_v_text(model)), &arena, &rows, err));
    *ret = rows.count ? sw_rows_int(&rows, 0, 0) : 0;
    *ret_exists = rows.count && sw_rows_int(&rows, 0, 1) == 1;
    return SW_OK;
}

static sw_status look(const struct creation *c, struct sw_error *err) {
    SW_AUTO_TX struct sw_tx *tx = NULL;
    int64_t latest;
    bool exists;
    SW_TRY(sw_store_begin(c->registry->store, SW_TX_READ, &tx, err));
    SW_TRY(latest_number(tx, c->model, &latest, &exists, err));
    if (!exists && !c->create_model) {
        return sw_registry_no_model(c->model, err);
    }
    return check_number(c, latest, err);
}

/* files ------------------------------------------------------------------------------------------------------------ */

static sw_status check_stored(const struct creation *c, struct sw_error *err) {
    for (size_t i = 0; i < c->spec->file_count; i++) {
        const struct sw_version_file *file = &c->spec->files[i];
        struct sw_blob blob;
        struct sw_error why = {0};
        sw_status status = sw_artifacts_stat(c->registry->artifacts, &file->digest, &blob, &why);
        if (status == SW_E_NOT_FOUND) {
            return sw_fail(err, SW_E_DIGEST_MISMATCH, "files: %s: nothing with SHA-256 %s has been uploaded",
                           file->path, file->digest.hex);
        }
        if (status) {
            return sw_fail(err, status, "files: %s: %s", file->path, why.message);
        }
        if (blob.size != file->size) {
            return sw_fail(err, SW_E_DIGEST_MISMATCH,
                           "files: %s: what has SHA-256 %s is of %" PRIu64 " bytes, not of %" PRIu64, file->path,
                           file->digest.hex, blob.size, file->size);
        }
    }
    return SW_OK;
}

static int compare_lines(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* SHA-256 over the sorted lines "sha256 size path\n". */
static sw_status digest_files(struct creation *c, struct sw_error *err) {
    size_t count = c->spec->file_count;
    char **lines = sw_arena_calloc(c->arena, count, sizeof *lines);
    for (size_t i = 0; lines && i < count; i++) {
        const struct sw_version_file *file = &c->spec->files[i];
        lines[i] = sw_arena_printf(c->arena, "%s %" PRIu64 " %s\n", file->digest.hex, file->size, file->path);
        if (!lines[i]) {
            return sw_registry_out_of_memory(err);
        }
        c->size += file->size;
    }
    if (!lines) {
        return sw_registry_out_of_memory(err);
    }
    qsort(lines, count, sizeof *lines, compare_lines);
    struct sw_hasher *hasher = sw_hasher_create();
    for (size_t i = 0; i < count; i++) {
        sw_hasher_update(hasher, lines[i], strlen(lines[i]));
    }
    sw_hasher_finish(hasher, &c->digest);
    return SW_OK;
}

static sw_status merge_metrics(struct creation *c, struct sw_error *err) {
    c->metrics = c->inspection.metrics ? json_copy(c->inspection.metrics) : json_object();
    if (!c->metrics || (c->spec->metrics && json_object_update(c->metrics, (json_t *)c->spec->metrics))) {
        return sw_registry_out_of_memory(err);
    }
    return sw_registry_check_metrics(c->metrics, false, err);
}

static sw_status inspect(struct creation *c, struct sw_error *err) {
    SW_TRY(check_stored(c, err));
    SW_TRY(digest_files(c, err));
    SW_TRY(
        sw_registry_inspect_version(c->registry, c->model, c->spec->files, c->spec->file_count, &c->inspection, err));
    return merge_metrics(c, err);
}

/* rows ------------------------------------------------------------------------------------------------------------- */

static sw_status need_model(struct creation *c, struct sw_tx *tx, struct sw_error *err) {
    int64_t latest;
    bool exists;
    SW_TRY(latest_number(tx, c->model, &latest, &exists, err));
    SW_TRY(check_number(c, latest, err));
    c->number = latest + 1;
    if (exists) {
        return SW_OK;
    }
    if (!c->create_model) {
        return sw_registry_no_model(c->model, err);
    }
    SW_TRY(sw_registry_insert_model(c->registry, tx, c->actor, c->model, NULL, err));
    return sw_registry_audit(c->registry, tx, c->actor, "model.create", c->model, NULL, json_object(), err);
}

static const char *description_of(const struct creation *c) {
    return c->spec->description ? c->spec->description : c->inspection.description;
}

static sw_status insert_version(struct creation *c, struct sw_tx *tx, struct sw_error *err) {
    const char *signature, *metrics;
    SW_TRY(sw_registry_json_text(c->arena, c->inspection.signature, &signature, err));
    SW_TRY(sw_registry_json_text(c->arena, c->metrics, &metrics, err));
    return sw_tx_exec(
        tx,
        "INSERT INTO versions (model, version, stage, stage_seq, description, source, run_id, replaces, signature, "
        "metrics, digest, size, file_count, created_ms, updated_ms, created_by) "
        "SELECT $1, $2, 'None', 0, $3, $4, $5, live, $6, $7, $8, $9, $10, $11, $11, $12 FROM models WHERE name = $1",
        SW_PARAMS(sw_v_text(c->model), sw_v_int(c->number), sw_v_text(description_of(c)), sw_v_text(c->spec->source),
                  sw_v_text(c->spec->run_id), sw_v_text(signature), sw_v_text(metrics), sw_v_text(c->digest.hex),
                  sw_v_int((int64_t)c->size), sw_v_int((int64_t)c->spec->file_count),
                  sw_v_int(sw_registry_now(c->registry)), sw_v_text(c->actor->name)),
        NULL, err);
}

static sw_status insert_files(struct creation *c, struct sw_tx *tx, struct sw_error *err) {
    const char *sql, *list;
    SW_TRY(sw_registry_files_json(c->spec->files, c->spec->file_count, c->arena, &list, err));
    SW_TRY(sw_registry_page_sql(tx, SW_PAGE_FILES,
                                "INSERT INTO version_files (model, version, path, digest, size) "
                                "SELECT $2, $3, path, digest, size FROM page",
                                c->arena, &sql, err));
    return sw_tx_exec(tx, sql, SW_PARAMS(sw_v_text(list), sw_v_text(c->model), sw_v_int(c->number)), NULL, err);
}

static sw_status insert_tags(struct creation *c, struct sw_tx *tx, struct sw_error *err) {
    struct sw_diff diff;
    sw_diff_init(&diff);
    sw_status status = sw_registry_change_tags(tx, c->model, c->number, NULL, c->spec->tags, &diff, err);
    sw_diff_deinit(&diff);
    return status;
}

static sw_status audit(struct creation *c, struct sw_tx *tx, struct sw_error *err) {
    const char *object = sw_arena_printf(c->arena, "%s/%" PRId64, c->model, c->number);
    if (!object) {
        return sw_registry_out_of_memory(err);
    }
    json_t *after = json_pack("{s:s, s:I, s:I, s:s?, s:s?}", "digest", c->digest.hex, "files",
                              (json_int_t)c->spec->file_count, "size_bytes", (json_int_t)c->size, "source",
                              c->spec->source, "run_id", c->spec->run_id);
    if (c->spec->tags) {
        json_object_set(after, "tags", (json_t *)c->spec->tags);
    }
    return sw_registry_audit(c->registry, tx, c->actor, "version.create", object, NULL, after, err);
}

static sw_status write_rows(struct creation *c, struct sw_tx *tx, json_t **ret, struct sw_error *err) {
    SW_TRY(need_model(c, tx, err));
    SW_TRY(sw_registry_use_blobs(c->registry, tx, c->spec->files, c->spec->file_count, c->arena, err));
    SW_TRY(insert_version(c, tx, err));
    SW_TRY(insert_files(c, tx, err));
    SW_TRY(insert_tags(c, tx, err));
    SW_TRY(sw_tx_exec(tx, "UPDATE models SET latest = $2 WHERE name = $1",
                      SW_PARAMS(sw_v_text(c->model), sw_v_int(c->number)), NULL, err));
    SW_TRY(sw_registry_touch(c->registry, tx, c->model, err));
    SW_TRY(audit(c, tx, err));
    return sw_registry_version_document(tx, c->model, c->number, c->arena, ret, err);
}

static sw_status create(struct creation *c, json_t **ret, struct sw_error *err) {
    struct sw_tx *tx;
    json_t *document = NULL;
    SW_TRY(look(c, err));
    SW_TRY(inspect(c, err));
    SW_TRY(sw_store_begin(c->registry->store, SW_TX_WRITE, &tx, err));
    sw_status status = write_rows(c, tx, &document, err);
    return sw_registry_end_with(tx, status, true, document, ret, err);
}

sw_status sw_registry_create_version(struct sw_registry *registry, const struct sw_actor *actor, const char *model,
                                     bool create_model, const struct sw_version_spec *spec, json_t **ret,
                                     struct sw_error *err) {
    SW_TRY(sw_registry_check_actor(actor, err));
    SW_TRY(sw_registry_check_name(model, err));
    SW_TRY(check_spec(spec, err));
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    struct creation c = {
        .registry = registry,
        .actor = actor,
        .model = model,
        .create_model = create_model,
        .spec = spec,
        .arena = &arena,
    };
    sw_status status = create(&c, ret, err);
    sw_inspection_deinit(&c.inspection);
    json_decref(c.metrics);
    return status;
}
