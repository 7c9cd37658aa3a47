/* Models: made, shown, listed, changed, renamed, deleted.
 *
 * A model is one row; what hangs on it follows by foreign keys. A name that ceases to be a model leaves a row in
 * models_gone, from which replicas learn that it is gone and a later model of that name where to go on numbering.
 * Invariant: a name is in models or in models_gone, never in both. */
#include "base/memory.h"
#include "registry/registry_internal.h"

/* create ----------------------------------------------------------------------------------------------------------- */

/* Takes the name out of models_gone: *ret_latest is the highest number given under it, 0 when it is new. */
static sw_status revive_name(struct sw_tx *tx, const char *name, int64_t *ret_latest, struct sw_error *err) {
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    struct sw_rows rows;
    SW_TRY(sw_tx_query(tx, "DELETE FROM models_gone WHERE name = $1 RETURNING latest", SW_PARAMS(sw_v_text(name)),
                       &arena, &rows, err));
    *ret_latest = rows.count ? sw_rows_int(&rows, 0, 0) : 0;
    return SW_OK;
}

static sw_status refuse_existing(struct sw_tx *tx, const char *name, struct sw_error *err) {
    struct sw_error none;
    sw_status status = sw_registry_need_model(tx, name, &none);
    if (status == SW_OK) {
        return sw_fail(err, SW_E_CONFLICT, "model %s exists already", name);
    }
    return status == SW_E_NOT_FOUND ? SW_OK : sw_fail(err, status, "%s", none.message);
}

sw_status sw_registry_insert_model(struct sw_registry *registry, struct sw_tx *tx, const struct sw_actor *actor,
                                   const char *name, const char *description, struct sw_error *err) {
    int64_t latest, now = sw_registry_now(registry);
    SW_TRY(refuse_existing(tx, name, err));
    SW_TRY(revive_name(tx, name, &latest, err));
    return sw_tx_exec(tx,
                      "INSERT INTO models (name, description, latest, live_seq, stage_seq, created_ms, updated_ms, "
                      "created_by, revision) VALUES ($1, $2, $3, 0, 0, $4, $4, $5, $6)",
                      SW_PARAMS(sw_v_text(name), sw_v_text(description), sw_v_int(latest), sw_v_int(now),
                                sw_v_text(actor->name), sw_v_int(sw_tx_revision(tx))),
                      NULL, err);
}

static sw_status create_model(struct sw_registry *registry, struct sw_tx *tx, const struct sw_actor *actor,
                              const char *name, const char *description, const json_t *tags, struct sw_arena *arena,
                              json_t **ret, struct sw_error *err) {
    SW_TRY(sw_registry_insert_model(registry, tx, actor, name, description, err));
    struct sw_diff diff;
    sw_diff_init(&diff);
    sw_status status = sw_registry_change_tags(tx, name, 0, NULL, tags, &diff, err);
    sw_diff_deinit(&diff);
    SW_TRY(status);
    json_t *after = json_pack("{s:s?, s:O?}", "description", description, "tags", tags);
    SW_TRY(sw_registry_audit(registry, tx, actor, "model.create", name, NULL, after, err));
    return sw_registry_model_document(tx, name, arena, ret, err);
}

sw_status sw_registry_create_model(struct sw_registry *registry, const struct sw_actor *actor, const char *name,
                                   const char *description, const json_t *tags, json_t **ret, struct sw_error *err) {
    SW_TRY(sw_registry_check_actor(actor, err));
    SW_TRY(sw_registry_check_name(name, err));
    SW_TRY(sw_registry_check_text("description", description, SW_REGISTRY_DESCRIPTION_MAX, err));
    SW_TRY(sw_registry_check_tags(tags, false, err));
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    struct sw_tx *tx;
    json_t *document = NULL;
    SW_TRY(sw_store_begin(registry->store, SW_TX_WRITE, &tx, err));
    sw_status status = create_model(registry, tx, actor, name, description, tags, &arena, &document, err);
    return sw_registry_end_with(tx, status, true, document, ret, err);
}

/* read ------------------------------------------------------------------------------------------------------------- */

sw_status sw_registry_get_model(struct sw_registry *registry, const char *name, json_t **ret, struct sw_error *err) {
    SW_TRY(sw_registry_check_name(name, err));
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    SW_AUTO_TX struct sw_tx *tx = NULL;
    SW_TRY(sw_store_begin(registry->store, SW_TX_READ, &tx, err));
    return sw_registry_model_document(tx, name, &arena, ret, err);
}

/* A LIKE pattern means the same in both databases only with this: SQLite's LIKE ignores case, its GLOB does not. */
const char *sw_query_glob_of_like(struct sw_arena *arena, const char *like) {
    struct sw_buf glob;
    sw_buf_init_arena(&glob, arena, 64 << 10);
    for (; *like; like++) {
        if (*like == '%') {
            sw_buf_append_c(&glob, '*');
        } else if (*like == '_') {
            sw_buf_append_c(&glob, '?');
        } else if (strchr("*?[", *like)) {
            sw_buf_printf(&glob, "[%c]", *like);
        } else {
            sw_buf_append_c(&glob, *like);
        }
    }
    return glob.failed ? NULL : glob.data ? glob.data : "";
}

static sw_status like_condition(struct sw_query *query, struct sw_tx *tx, struct sw_arena *arena, const char *like,
                                struct sw_error *err) {
    if (strlen(like) > 1000) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "name: a pattern of more than 1000 bytes");
    }
    if (sw_store_dialect(sw_tx_store(tx)) == SW_STORE_SQLITE) {
        const char *glob = sw_query_glob_of_like(arena, like);
        if (!glob) {
            return sw_registry_out_of_memory(err);
        }
        sw_query_param(query, " AND m.name GLOB $", sw_v_text(glob));
        return SW_OK;
    }
    sw_query_param(query, " AND m.name LIKE $", sw_v_text(like));
    sw_query_text(query, " ESCAPE ''");
    return SW_OK;
}

static sw_status list_query(struct sw_query *query, struct sw_tx *tx, const struct sw_model_filter *filter,
                            const char *after, size_t limit, struct sw_arena *arena, struct sw_error *err) {
    sw_query_init(query, arena);
    sw_query_text(query, "SELECT ");
    sw_query_text(query, sw_registry_model_columns);
    if (filter->tag_key) { /* (key, model) is an index: the rows come in the page's order */
        sw_query_param(query, " FROM model_tags t JOIN models m ON m.name = t.model WHERE t.key = $",
                       sw_v_text(filter->tag_key));
        if (filter->tag_value) {
            sw_query_param(query, " AND t.value = $", sw_v_text(filter->tag_value));
        }
        sw_query_param(query, " AND t.model > $", sw_v_text(after));
    } else {
        sw_query_param(query, " FROM models m WHERE m.name > $", sw_v_text(after));
    }
    if (filter->name) {
        sw_query_param(query, " AND m.name = $", sw_v_text(filter->name));
    }
    if (filter->name_prefix) { /* '~' is above every character of a name */
        const char *end = sw_arena_printf(arena, "%s~", filter->name_prefix);
        if (!end) {
            return sw_registry_out_of_memory(err);
        }
        sw_query_param(query, " AND m.name >= $", sw_v_text(filter->name_prefix));
        sw_query_param(query, " AND m.name < $", sw_v_text(end));
    }
    if (filter->name_like) {
        SW_TRY(like_condition(query, tx, arena, filter->name_like, err));
    }
    sw_query_param(query, filter->tag_key ? " ORDER BY t.model LIMIT $" : " ORDER BY m.name LIMIT $",
                   sw_v_int((int64_t)limit + 1));
    return SW_OK;
}

/* The name that a token stands for; "" for the first page. */
static sw_status read_token(const struct sw_page *page, const char **ret_after, struct sw_error *err) {
    if (!page->token) {
        *ret_after = "";
        return SW_OK;
    }
    if (strncmp(page->token, "m~", 2) != 0 || !sw_registry_name_valid(sw_str_of(page->token + 2))) {
        return sw_page_bad_token(err);
    }
    *ret_after = page->token + 2;
    return SW_OK;
}

sw_status sw_registry_list_models(struct sw_registry *registry, const struct sw_model_filter *filter,
                                  const struct sw_page *page, json_t **ret, struct sw_error *err) {
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    size_t limit;
    const char *after;
    SW_TRY(sw_page_limit(page, &limit, err));
    SW_TRY(read_token(page, &after, err));
    SW_AUTO_TX struct sw_tx *tx = NULL;
    SW_TRY(sw_store_begin(registry->store, SW_TX_READ, &tx, err));
    struct sw_query query;
    struct sw_rows rows;
    SW_TRY(list_query(&query, tx, filter, after, limit, &arena, err));
    SW_TRY(sw_query_run(&query, tx, &arena, &rows, err));
    const char *token = NULL;
    if (rows.count > limit) {
        rows.count = limit;
        token = sw_arena_printf(&arena, "m~%s", sw_rows_text(&rows, limit - 1, 0));
    }
    json_t *models = NULL;
    SW_TRY(sw_registry_model_documents(tx, &rows, &arena, &models, err));
    *ret = json_pack("{s:o, s:s?}", "models", models, "next_page_token", token);
    return SW_OK;
}

/* update ----------------------------------------------------------------------------------------------------------- */

static sw_status change_description(struct sw_tx *tx, const char *name, json_t *document, const json_t *changes,
                                    struct sw_diff *diff, struct sw_error *err) {
    const char *description;
    bool given;
    json_t *old = json_object_get(document, "description"), *wanted = json_object_get(changes, "description");
    SW_TRY(sw_registry_description(changes, &description, &given, err));
    if (!given || json_equal(old, wanted)) {
        return SW_OK;
    }
    sw_diff_note(diff, "description", NULL, old, wanted);
    return sw_tx_exec(tx, "UPDATE models SET description = $2 WHERE name = $1",
                      SW_PARAMS(sw_v_text(name), sw_v_text(description)), NULL, err);
}

static sw_status change_policy(struct sw_tx *tx, const char *name, json_t *document, const json_t *changes,
                               struct sw_arena *arena, struct sw_diff *diff, struct sw_error *err) {
    json_t *old = json_object_get(document, "policy"), *wanted = json_object_get(changes, "policy");
    if (!wanted || json_equal(old, wanted)) {
        return SW_OK;
    }
    struct sw_version_policy policy;
    if (!json_is_null(wanted)) {
        SW_TRY(sw_version_policy_parse(wanted, arena, &policy, err));
    }
    const char *text;
    SW_TRY(sw_registry_json_text(arena, wanted, &text, err));
    sw_diff_note(diff, "policy", NULL, old, wanted);
    return sw_tx_exec(tx, "UPDATE models SET policy = $2 WHERE name = $1", SW_PARAMS(sw_v_text(name), sw_v_text(text)),
                      NULL, err);
}

static sw_status apply_changes(struct sw_tx *tx, const char *name, json_t *document, const json_t *changes,
                               struct sw_arena *arena, struct sw_diff *diff, struct sw_error *err) {
    SW_TRY(change_description(tx, name, document, changes, diff, err));
    SW_TRY(change_policy(tx, name, document, changes, arena, diff, err));
    return sw_registry_change_tags(tx, name, 0, json_object_get(document, "tags"), json_object_get(changes, "tags"),
                                   diff, err);
}

static sw_status update_model(struct sw_registry *registry, struct sw_tx *tx, const struct sw_actor *actor,
                              const char *name, const json_t *changes, struct sw_arena *arena, bool *ret_changed,
                              json_t **ret, struct sw_error *err) {
    SW_AUTO_JSON json_t *document = NULL;
    SW_TRY(sw_registry_model_document(tx, name, arena, &document, err));
    struct sw_diff diff;
    sw_diff_init(&diff);
    sw_status status = apply_changes(tx, name, document, changes, arena, &diff, err);
    if (!status && diff.changed) {
        status = sw_registry_touch(registry, tx, name, err);
    }
    if (!status && diff.changed) {
        status = sw_diff_audit(&diff, registry, tx, actor, "model.update", name, err);
    }
    *ret_changed = diff.changed;
    sw_diff_deinit(&diff);
    SW_TRY(status);
    return sw_registry_model_document(tx, name, arena, ret, err);
}

sw_status sw_registry_update_model(struct sw_registry *registry, const struct sw_actor *actor, const char *name,
                                   const json_t *changes, json_t **ret, struct sw_error *err) {
    static const char *const known[] = {"description", "tags", "policy", NULL};
    SW_TRY(sw_registry_check_actor(actor, err));
    SW_TRY(sw_registry_check_name(name, err));
    SW_TRY(sw_registry_check_changes(changes, known, err));
    SW_TRY(sw_registry_check_tags(json_object_get(changes, "tags"), true, err));
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    struct sw_tx *tx;
    json_t *document = NULL;
    bool changed = false;
    SW_TRY(sw_store_begin(registry->store, SW_TX_WRITE, &tx, err));
    sw_status status = update_model(registry, tx, actor, name, changes, &arena, &changed, &document, err);
    return sw_registry_end_with(tx, status, changed, document, ret, err);
}

/* rename, delete --------------------------------------------------------------------------------------------------- */

static sw_status leave_name(struct sw_tx *tx, const char *name, int64_t latest, struct sw_error *err) {
    return sw_tx_exec(tx, "INSERT INTO models_gone (name, latest, revision) VALUES ($1, $2, $3)",
                      SW_PARAMS(sw_v_text(name), sw_v_int(latest), sw_v_int(sw_tx_revision(tx))), NULL, err);
}

static sw_status rename_model(struct sw_registry *registry, struct sw_tx *tx, const struct sw_actor *actor,
                              const char *name, const char *new_name, struct sw_arena *arena, json_t **ret,
                              struct sw_error *err) {
    struct sw_pointers pointers;
    int64_t gone_latest;
    SW_TRY(sw_pointers_load(tx, name, arena, &pointers, err));
    SW_TRY(refuse_existing(tx, new_name, err));
    SW_TRY(revive_name(tx, new_name, &gone_latest, err));
    int64_t latest = gone_latest > pointers.latest ? gone_latest : pointers.latest;
    SW_TRY(sw_tx_exec(tx, "UPDATE models SET name = $2, latest = $3 WHERE name = $1",
                      SW_PARAMS(sw_v_text(name), sw_v_text(new_name), sw_v_int(latest)), NULL, err));
    SW_TRY(leave_name(tx, name, pointers.latest, err));
    SW_TRY(sw_registry_touch(registry, tx, new_name, err));
    SW_TRY(sw_registry_audit(registry, tx, actor, "model.rename", name, json_pack("{s:s}", "name", name),
                             json_pack("{s:s}", "name", new_name), err));
    return sw_registry_model_document(tx, new_name, arena, ret, err);
}

sw_status sw_registry_rename_model(struct sw_registry *registry, const struct sw_actor *actor, const char *name,
                                   const char *new_name, json_t **ret, struct sw_error *err) {
    SW_TRY(sw_registry_check_actor(actor, err));
    SW_TRY(sw_registry_check_name(name, err));
    SW_TRY(sw_registry_check_name(new_name, err));
    if (strcmp(name, new_name) == 0) {
        SW_AUTO_JSON json_t *same = NULL;
        SW_TRY(sw_registry_get_model(registry, name, &same, err));
        if (ret) {
            *ret = json_incref(same);
        }
        return SW_OK;
    }
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    struct sw_tx *tx;
    json_t *document = NULL;
    SW_TRY(sw_store_begin(registry->store, SW_TX_WRITE, &tx, err));
    sw_status status = rename_model(registry, tx, actor, name, new_name, &arena, &document, err);
    return sw_registry_end_with(tx, status, true, document, ret, err);
}

static sw_status delete_model(struct sw_registry *registry, struct sw_tx *tx, const struct sw_actor *actor,
                              const char *name, bool force, struct sw_arena *arena, struct sw_error *err) {
    struct sw_pointers pointers;
    SW_TRY(sw_pointers_load(tx, name, arena, &pointers, err));
    if (pointers.live && !force) {
        return sw_fail(err, SW_E_CONFLICT, "model %s has a live version, %lld; deleting it needs force", name,
                       (long long)pointers.live);
    }
    SW_TRY(sw_registry_release_blobs(registry, tx, name, 0, err));
    SW_TRY(sw_tx_exec(tx, "DELETE FROM models WHERE name = $1", SW_PARAMS(sw_v_text(name)), NULL, err));
    SW_TRY(leave_name(tx, name, pointers.latest, err));
    json_t *before = sw_pointers_document(&pointers);
    json_object_set_new(before, "latest", json_integer(pointers.latest));
    return sw_registry_audit(registry, tx, actor, "model.delete", name, before, NULL, err);
}

sw_status sw_registry_delete_model(struct sw_registry *registry, const struct sw_actor *actor, const char *name,
                                   bool force, struct sw_error *err) {
    SW_TRY(sw_registry_check_actor(actor, err));
    SW_TRY(sw_registry_check_name(name, err));
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    struct sw_tx *tx;
    SW_TRY(sw_store_begin(registry->store, SW_TX_WRITE, &tx, err));
    sw_status status = delete_model(registry, tx, actor, name, force, &arena, err);
    return sw_registry_end(tx, status, true, err);
}
