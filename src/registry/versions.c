/* Versions: found, shown, listed, described, deleted; their files.
 *
 * A deleted version keeps its row, so that its number stays taken and histories can name it, and loses everything
 * else: files (the blobs are then gc's, unless another version has them), tags. Nothing points to a deleted version. */
#include <inttypes.h>
#include <unistd.h>

#include "base/memory.h"
#include "registry/registry_internal.h"

static sw_status check_version(const char *model, const char *version, struct sw_error *err) {
    SW_TRY(sw_registry_check_name(model, err));
    if (!version || !version[0] || !sw_utf8_valid(sw_str_of(version))) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "version: must be a number, an alias or \"live\"");
    }
    return SW_OK;
}

/* read ------------------------------------------------------------------------------------------------------------- */

sw_status sw_registry_resolve(struct sw_registry *registry, const char *model, const char *version, int64_t *ret_number,
                              struct sw_error *err) {
    SW_TRY(check_version(model, version, err));
    SW_AUTO_TX struct sw_tx *tx = NULL;
    SW_TRY(sw_store_begin(registry->store, SW_TX_READ, &tx, err));
    return sw_registry_find_version(tx, model, version, ret_number, err);
}

sw_status sw_registry_get_version(struct sw_registry *registry, const char *model, const char *version, json_t **ret,
                                  struct sw_error *err) {
    SW_TRY(check_version(model, version, err));
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    SW_AUTO_TX struct sw_tx *tx = NULL;
    int64_t number;
    SW_TRY(sw_store_begin(registry->store, SW_TX_READ, &tx, err));
    SW_TRY(sw_registry_find_version(tx, model, version, &number, err));
    return sw_registry_version_document(tx, model, number, &arena, ret, err);
}

/* Key of the last row of the page before. */
struct after {
    const char *model; /* "": the first page */
    int64_t version;
};

static sw_status read_token(const struct sw_page *page, const char *model, struct sw_arena *arena, struct after *ret,
                            struct sw_error *err) {
    *ret = (struct after){.model = model ? model : "", .version = INT64_MAX};
    if (!page->token) {
        return SW_OK;
    }
    struct sw_str kind, name, number = sw_str_split(sw_str_of(page->token), '~', &kind);
    number = sw_str_split(number, '~', &name);
    const char *copy = sw_arena_strdup(arena, name);
    if (!sw_str_is(kind, "v") || !sw_registry_name_valid(name) || !sw_parse_i64(number, &ret->version) || !copy ||
        (model && !sw_str_is(name, model))) {
        return sw_page_bad_token(err);
    }
    ret->model = copy;
    return SW_OK;
}

static void list_conditions(struct sw_query *query, const struct sw_version_filter *filter, const struct after *after,
                            size_t limit) {
    if (filter->model) {
        sw_query_param(query, " AND v.model = $", sw_v_text(filter->model));
        sw_query_param(query, " AND v.version < $", sw_v_int(after->version));
    } else {
        sw_query_param(query, " AND v.model >= $", sw_v_text(after->model));
        sw_query_param(query, " AND (v.model > $", sw_v_text(after->model));
        sw_query_param(query, " OR v.version < $", sw_v_int(after->version));
        sw_query_text(query, ")");
    }
    if (filter->stage >= 0) {
        sw_query_param(query, " AND v.stage = $", sw_v_text(sw_stage_name((enum sw_stage)filter->stage)));
    }
    if (filter->run_id) {
        sw_query_param(query, " AND v.run_id = $", sw_v_text(filter->run_id));
    }
    if (filter->source) {
        sw_query_param(query, " AND v.source = $", sw_v_text(filter->source));
    }
    sw_query_param(query, " ORDER BY v.model, v.version DESC LIMIT $", sw_v_int((int64_t)limit + 1));
}

static void list_query(struct sw_query *query, const struct sw_version_filter *filter, const struct after *after,
                       size_t limit, struct sw_arena *arena) {
    sw_query_init(query, arena);
    sw_query_text(query, "SELECT ");
    sw_query_text(query, sw_registry_version_columns);
    sw_query_text(query, " FROM versions v JOIN models m ON m.name = v.model");
    if (filter->tag_key) {
        sw_query_param(query, " JOIN version_tags t ON t.model = v.model AND t.version = v.version AND t.key = $",
                       sw_v_text(filter->tag_key));
    }
    sw_query_text(query, " WHERE v.deleted_ms IS NULL");
    if (filter->tag_key && filter->tag_value) {
        sw_query_param(query, " AND t.value = $", sw_v_text(filter->tag_value));
    }
    list_conditions(query, filter, after, limit);
}

static sw_status list_page(struct sw_tx *tx, const struct sw_version_filter *filter, const struct after *after,
                           size_t limit, struct sw_arena *arena, json_t **ret, struct sw_error *err) {
    struct sw_query query;
    struct sw_rows rows;
    list_query(&query, filter, after, limit, arena);
    SW_TRY(sw_query_run(&query, tx, arena, &rows, err));
    if (rows.count == 0 && filter->model) {
        SW_TRY(sw_registry_need_model(tx, filter->model, err));
    }
    const char *token = NULL;
    if (rows.count > limit) {
        rows.count = limit;
        token = sw_arena_printf(arena, "v~%s~%" PRId64, sw_rows_text(&rows, limit - 1, 0),
                                sw_rows_int(&rows, limit - 1, 1));
    }
    json_t *versions = NULL;
    SW_TRY(sw_registry_version_documents(tx, &rows, arena, &versions, err));
    *ret = json_pack("{s:o, s:s?}", "versions", versions, "next_page_token", token);
    return SW_OK;
}

sw_status sw_registry_list_versions(struct sw_registry *registry, const struct sw_version_filter *filter,
                                    const struct sw_page *page, json_t **ret, struct sw_error *err) {
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    size_t limit;
    struct after after;
    if (filter->model) {
        SW_TRY(sw_registry_check_name(filter->model, err));
    }
    SW_TRY(sw_page_limit(page, &limit, err));
    SW_TRY(read_token(page, filter->model, &arena, &after, err));
    SW_AUTO_TX struct sw_tx *tx = NULL;
    SW_TRY(sw_store_begin(registry->store, SW_TX_READ, &tx, err));
    return list_page(tx, filter, &after, limit, &arena, ret, err);
}

/* files ------------------------------------------------------------------------------------------------------------ */

sw_status sw_registry_list_files(struct sw_registry *registry, const char *model, const char *version, json_t **ret,
                                 struct sw_error *err) {
    SW_TRY(check_version(model, version, err));
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    SW_AUTO_TX struct sw_tx *tx = NULL;
    int64_t number;
    struct sw_version_file *files;
    size_t count;
    SW_TRY(sw_store_begin(registry->store, SW_TX_READ, &tx, err));
    SW_TRY(sw_registry_find_version(tx, model, version, &number, err));
    SW_TRY(sw_registry_files_tx(tx, model, number, &arena, &files, &count, err));
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(list, json_pack("{s:s, s:s, s:I}", "path", files[i].path, "sha256", files[i].digest.hex,
                                              "size", (json_int_t)files[i].size));
    }
    *ret = json_pack("{s:o}", "files", list);
    return SW_OK;
}

static sw_status find_file(struct sw_registry *registry, const char *model, const char *version, const char *path,
                           struct sw_digest *ret_digest, uint64_t *ret_size, struct sw_error *err) {
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    SW_AUTO_TX struct sw_tx *tx = NULL;
    int64_t number;
    struct sw_rows rows;
    SW_TRY(sw_store_begin(registry->store, SW_TX_READ, &tx, err));
    SW_TRY(sw_registry_find_version(tx, model, version, &number, err));
    SW_TRY(sw_tx_query(tx, "SELECT digest, size FROM version_files WHERE model = $1 AND version = $2 AND path = $3",
                       SW_PARAMS(sw_v_text(model), sw_v_int(number), sw_v_text(path)), &arena, &rows, err));
    if (rows.count == 0) {
        return sw_fail(err, SW_E_NOT_FOUND, "%s/%" PRId64 " has no file %.200s", model, number, path);
    }
    if (!sw_digest_parse(sw_rows_at(&rows, 0, 0)->text, ret_digest)) {
        return sw_fail(err, SW_E_IO, "the database has no digest for %s of %s/%" PRId64, path, model, number);
    }
    *ret_size = (uint64_t)sw_rows_int(&rows, 0, 1);
    return SW_OK;
}

sw_status sw_registry_open_file(struct sw_registry *registry, const char *model, const char *version, const char *path,
                                int *ret_fd, uint64_t *ret_size, struct sw_digest *ret_digest, struct sw_error *err) {
    SW_TRY(check_version(model, version, err));
    if (!path || !sw_registry_path_valid(sw_str_of(path))) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "path: is no path inside a version");
    }
    struct sw_digest digest;
    uint64_t recorded, size;
    int fd;
    SW_TRY(find_file(registry, model, version, path, &digest, &recorded, err));
    SW_TRY(sw_artifacts_open_blob(registry->artifacts, &digest, &fd, &size, err));
    if (size != recorded) {
        close(fd);
        return sw_fail(err, SW_E_DIGEST_MISMATCH, "%s: %" PRIu64 " bytes are stored, it has %" PRIu64, path, size,
                       recorded);
    }
    *ret_fd = fd;
    *ret_size = size;
    *ret_digest = digest;
    return SW_OK;
}

/* update ----------------------------------------------------------------------------------------------------------- */

/* A version while it is changed. */
struct change {
    struct sw_registry *registry;
    struct sw_tx *tx;
    const struct sw_actor *actor;
    const char *model;
    int64_t number;
    const char *object; /* "digits/3" */
    struct sw_arena *arena;
    struct sw_diff diff;
};

static sw_status change_begin(struct change *c, const char *version, struct sw_error *err) {
    SW_TRY(sw_registry_find_version(c->tx, c->model, version, &c->number, err));
    c->object = sw_arena_printf(c->arena, "%s/%" PRId64, c->model, c->number);
    return c->object ? SW_OK : sw_registry_out_of_memory(err);
}

static sw_status change_description(struct change *c, json_t *document, const json_t *changes, struct sw_error *err) {
    const char *description;
    bool given;
    json_t *old = json_object_get(document, "description"), *wanted = json_object_get(changes, "description");
    SW_TRY(sw_registry_description(changes, &description, &given, err));
    if (!given || json_equal(old, wanted)) {
        return SW_OK;
    }
    sw_diff_note(&c->diff, "description", NULL, old, wanted);
    return sw_tx_exec(c->tx, "UPDATE versions SET description = $3 WHERE model = $1 AND version = $2",
                      SW_PARAMS(sw_v_text(c->model), sw_v_int(c->number), sw_v_text(description)), NULL, err);
}

static sw_status change_metrics(struct change *c, json_t *document, const json_t *changes, struct sw_error *err) {
    json_t *metrics = json_object_get(document, "metrics"), *wanted = json_object_get(changes, "metrics"), *value;
    SW_AUTO_JSON json_t *merged = json_copy(metrics);
    const char *key, *text;
    bool changed = false;
    json_object_foreach(wanted, key, value) {
        json_t *old = json_object_get(metrics, key);
        if (old ? json_equal(old, value) : json_is_null(value)) {
            continue;
        }
        sw_diff_note(&c->diff, "metrics", key, old, value);
        changed = true;
        if (json_is_null(value)) {
            json_object_del(merged, key);
        } else {
            json_object_set(merged, key, value);
        }
    }
    if (!changed) {
        return SW_OK;
    }
    SW_TRY(sw_registry_check_metrics(merged, false, err)); /* how many there are now */
    SW_TRY(sw_registry_json_text(c->arena, merged, &text, err));
    return sw_tx_exec(c->tx, "UPDATE versions SET metrics = $3 WHERE model = $1 AND version = $2",
                      SW_PARAMS(sw_v_text(c->model), sw_v_int(c->number), sw_v_text(text)), NULL, err);
}

static sw_status touch_version(struct change *c, struct sw_error *err) {
    SW_TRY(sw_tx_exec(c->tx, "UPDATE versions SET updated_ms = $3 WHERE model = $1 AND version = $2",
                      SW_PARAMS(sw_v_text(c->model), sw_v_int(c->number), sw_v_int(sw_registry_now(c->registry))), NULL,
                      err));
    return sw_registry_touch(c->registry, c->tx, c->model, err);
}

static sw_status update_version(struct change *c, const char *version, const json_t *changes, json_t **ret,
                                struct sw_error *err) {
    SW_AUTO_JSON json_t *document = NULL;
    SW_TRY(change_begin(c, version, err));
    SW_TRY(sw_registry_version_document(c->tx, c->model, c->number, c->arena, &document, err));
    SW_TRY(change_description(c, document, changes, err));
    SW_TRY(change_metrics(c, document, changes, err));
    SW_TRY(sw_registry_change_tags(c->tx, c->model, c->number, json_object_get(document, "tags"),
                                   json_object_get(changes, "tags"), &c->diff, err));
    if (c->diff.changed) {
        SW_TRY(touch_version(c, err));
        SW_TRY(sw_diff_audit(&c->diff, c->registry, c->tx, c->actor, "version.update", c->object, err));
    }
    return sw_registry_version_document(c->tx, c->model, c->number, c->arena, ret, err);
}

sw_status sw_registry_update_version(struct sw_registry *registry, const struct sw_actor *actor, const char *model,
                                     const char *version, const json_t *changes, json_t **ret, struct sw_error *err) {
    static const char *const known[] = {"description", "tags", "metrics", NULL};
    SW_TRY(sw_registry_check_actor(actor, err));
    SW_TRY(check_version(model, version, err));
    SW_TRY(sw_registry_check_changes(changes, known, err));
    SW_TRY(sw_registry_check_tags(json_object_get(changes, "tags"), true, err));
    SW_TRY(sw_registry_check_metrics(json_object_get(changes, "metrics"), true, err));
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    struct change c = {.registry = registry, .actor = actor, .model = model, .arena = &arena};
    json_t *document = NULL;
    SW_TRY(sw_store_begin(registry->store, SW_TX_WRITE, &c.tx, err));
    sw_diff_init(&c.diff);
    sw_status status = update_version(&c, version, changes, &document, err);
    bool changed = c.diff.changed;
    sw_diff_deinit(&c.diff);
    return sw_registry_end_with(c.tx, status, changed, document, ret, err);
}

/* delete ----------------------------------------------------------------------------------------------------------- */

static sw_status refuse_pointed(struct change *c, const struct sw_pointers *pointers, struct sw_error *err) {
    struct sw_rows rows;
    SW_TRY(sw_tx_query(c->tx, "SELECT alias FROM aliases WHERE model = $1 AND version = $2 ORDER BY alias LIMIT 1",
                       SW_PARAMS(sw_v_text(c->model), sw_v_int(c->number)), c->arena, &rows, err));
    if (rows.count) {
        return sw_fail(err, SW_E_CONFLICT, "%s has the alias %s; move or delete that first", c->object,
                       sw_rows_text(&rows, 0, 0));
    }
    for (size_t i = 0; i < pointers->production_count; i++) {
        if (pointers->production[i] == c->number) {
            return sw_fail(err, SW_E_CONFLICT, "%s is in stage Production; archive it first", c->object);
        }
    }
    return SW_OK;
}

static sw_status delete_rows(struct change *c, struct sw_error *err) {
    SW_TRY(sw_registry_release_blobs(c->registry, c->tx, c->model, c->number, err));
    SW_TRY(sw_tx_exec(c->tx, "DELETE FROM version_files WHERE model = $1 AND version = $2",
                      SW_PARAMS(sw_v_text(c->model), sw_v_int(c->number)), NULL, err));
    SW_TRY(sw_tx_exec(c->tx, "DELETE FROM version_tags WHERE model = $1 AND version = $2",
                      SW_PARAMS(sw_v_text(c->model), sw_v_int(c->number)), NULL, err));
    return sw_tx_exec(c->tx, "UPDATE versions SET deleted_ms = $3 WHERE model = $1 AND version = $2",
                      SW_PARAMS(sw_v_text(c->model), sw_v_int(c->number), sw_v_int(sw_registry_now(c->registry))), NULL,
                      err);
}

static sw_status delete_version(struct change *c, const char *version, struct sw_error *err) {
    struct sw_pointers pointers;
    SW_AUTO_JSON json_t *document = NULL;
    SW_TRY(change_begin(c, version, err));
    SW_TRY(sw_pointers_load(c->tx, c->model, c->arena, &pointers, err));
    SW_TRY(refuse_pointed(c, &pointers, err));
    SW_TRY(sw_registry_version_document(c->tx, c->model, c->number, c->arena, &document, err));
    SW_TRY(delete_rows(c, err));
    if (pointers.previous == c->number) {
        SW_TRY(sw_pointers_refresh_previous(c->tx, c->model, &pointers, err));
    }
    SW_TRY(touch_version(c, err));
    json_t *before = json_pack("{s:O, s:O, s:O}", "stage", json_object_get(document, "stage"), "digest",
                               json_object_get(document, "digest"), "tags", json_object_get(document, "tags"));
    return sw_registry_audit(c->registry, c->tx, c->actor, "version.delete", c->object, before, NULL, err);
}

sw_status sw_registry_delete_version(struct sw_registry *registry, const struct sw_actor *actor, const char *model,
                                     const char *version, struct sw_error *err) {
    SW_TRY(sw_registry_check_actor(actor, err));
    SW_TRY(check_version(model, version, err));
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    struct change c = {.registry = registry, .actor = actor, .model = model, .arena = &arena};
    SW_TRY(sw_store_begin(registry->store, SW_TX_WRITE, &c.tx, err));
    return sw_registry_end(c.tx, delete_version(&c, version, err), true, err);
}
