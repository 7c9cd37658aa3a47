/* Between functions of the registry and the store: ends of transactions, audit rows, look-ups, JSON in text columns. */
#include <inttypes.h>

#include "base/memory.h"
#include "registry/registry_internal.h"

void sw_registry_arena(struct sw_arena *arena) {
    sw_arena_init(arena, SW_REGISTRY_ARENA_MAX, 0);
}

sw_status sw_registry_out_of_memory(struct sw_error *err) {
    return sw_fail(err, SW_E_TOO_LARGE, "what was asked for does not fit into the memory given to one call");
}

sw_status sw_registry_end(struct sw_tx *tx, sw_status status, bool changed, struct sw_error *err) {
    if (status || !changed) {
        sw_tx_rollback(tx);
        return status;
    }
    return sw_tx_commit(tx, err);
}

sw_status sw_registry_end_with(struct sw_tx *tx, sw_status status, bool changed, json_t *document, json_t **ret,
                               struct sw_error *err) {
    status = sw_registry_end(tx, status, changed, err);
    if (status || !ret) {
        json_decref(document);
    } else {
        *ret = document;
    }
    return status;
}

int64_t sw_registry_now(struct sw_registry *registry) {
    return (int64_t)registry->clock->wall_ms(registry->clock);
}

sw_status sw_registry_audit(struct sw_registry *registry, struct sw_tx *tx, const struct sw_actor *actor,
                            const char *action, const char *object, json_t *before, json_t *after,
                            struct sw_error *err) {
    struct sw_audit_entry entry = {
        .actor = actor->name,
        .action = action,
        .object = object,
        .reason = actor->reason,
        .request_id = actor->request_id,
        .before = before,
        .after = after,
    };
    sw_status status = sw_audit_append(tx, &entry, (uint64_t)sw_registry_now(registry), NULL, err);
    json_decref(before);
    json_decref(after);
    return status;
}

sw_status sw_registry_touch(struct sw_registry *registry, struct sw_tx *tx, const char *model, struct sw_error *err) {
    return sw_tx_exec(tx, "UPDATE models SET revision = $2, updated_ms = $3 WHERE name = $1",
                      SW_PARAMS(sw_v_text(model), sw_v_int(sw_tx_revision(tx)), sw_v_int(sw_registry_now(registry))),
                      NULL, err);
}

sw_status sw_registry_no_model(const char *model, struct sw_error *err) {
    return sw_fail(err, SW_E_NOT_FOUND, "no model %.150s in the registry", model);
}

sw_status sw_registry_need_model(struct sw_tx *tx, const char *model, struct sw_error *err) {
    SW_AUTO_ARENA struct sw_arena arena;
    sw_arena_init(&arena, 64 << 10, 0);
    struct sw_rows rows;
    SW_TRY(sw_tx_query(tx, "SELECT revision FROM models WHERE name = $1", SW_PARAMS(sw_v_text(model)), &arena, &rows,
                       err));
    return rows.count ? SW_OK : sw_registry_no_model(model, err);
}

/* versions --------------------------------------------------------------------------------------------------------- */

static sw_status query_version(struct sw_tx *tx, const char *model, const char *version, struct sw_arena *arena,
                               struct sw_rows *ret, struct sw_error *err) {
    int64_t number;
    if (sw_parse_i64(sw_str_of(version), &number)) {
        return sw_tx_query(tx, "SELECT version FROM versions WHERE model = $1 AND version = $2 AND deleted_ms IS NULL",
                           SW_PARAMS(sw_v_text(model), sw_v_int(number)), arena, ret, err);
    }
    if (strcmp(version, "live") == 0) {
        return sw_tx_query(tx, "SELECT live FROM models WHERE name = $1 AND live IS NOT NULL",
                           SW_PARAMS(sw_v_text(model)), arena, ret, err);
    }
    if (!sw_registry_alias_valid(sw_str_of(version))) {
        *ret = (struct sw_rows){0};
        return SW_OK;
    }
    return sw_tx_query(tx, "SELECT version FROM aliases WHERE model = $1 AND alias = $2",
                       SW_PARAMS(sw_v_text(model), sw_v_text(version)), arena, ret, err);
}

sw_status sw_registry_find_version(struct sw_tx *tx, const char *model, const char *version, int64_t *ret_number,
                                   struct sw_error *err) {
    SW_AUTO_ARENA struct sw_arena arena;
    sw_arena_init(&arena, 64 << 10, 0);
    struct sw_rows rows;
    SW_TRY(query_version(tx, model, version, &arena, &rows, err));
    if (rows.count) {
        *ret_number = sw_rows_int(&rows, 0, 0);
        return SW_OK;
    }
    SW_TRY(sw_registry_need_model(tx, model, err));
    if (strcmp(version, "live") == 0) {
        return sw_fail(err, SW_E_NOT_FOUND, "no version of model %s is live", model);
    }
    return sw_fail(err, SW_E_NOT_FOUND, "model %s has no version or alias %.150s", model, version);
}

sw_status sw_registry_files_tx(struct sw_tx *tx, const char *model, int64_t version, struct sw_arena *arena,
                               struct sw_version_file **ret, size_t *ret_count, struct sw_error *err) {
    struct sw_rows rows;
    SW_TRY(sw_tx_query(tx,
                       "SELECT path, digest, size FROM version_files WHERE model = $1 AND version = $2 ORDER BY path",
                       SW_PARAMS(sw_v_text(model), sw_v_int(version)), arena, &rows, err));
    if (rows.count == 0) { /* a version has at least one file until it is deleted */
        return sw_fail(err, SW_E_NOT_FOUND, "model %.150s has no version %" PRId64, model, version);
    }
    struct sw_version_file *files = sw_arena_calloc(arena, rows.count, sizeof *files);
    if (!files) {
        return sw_registry_out_of_memory(err);
    }
    for (size_t i = 0; i < rows.count; i++) {
        files[i].path = sw_rows_text(&rows, i, 0);
        if (!sw_digest_parse(sw_rows_at(&rows, i, 1)->text, &files[i].digest)) {
            return sw_fail(err, SW_E_IO, "the database has no digest for %s of %s/%" PRId64, files[i].path, model,
                           version);
        }
        files[i].size = (uint64_t)sw_rows_int(&rows, i, 2);
    }
    *ret = files;
    *ret_count = rows.count;
    return SW_OK;
}

sw_status sw_registry_files(struct sw_registry *registry, const char *model, int64_t version, struct sw_arena *arena,
                            struct sw_version_file **ret, size_t *ret_count, struct sw_error *err) {
    SW_AUTO_TX struct sw_tx *tx = NULL;
    SW_TRY(sw_store_begin(registry->store, SW_TX_READ, &tx, err));
    return sw_registry_files_tx(tx, model, version, arena, ret, ret_count, err);
}

/* JSON ------------------------------------------------------------------------------------------------------------- */

sw_status sw_registry_json(const char *text, json_t **ret, struct sw_error *err) {
    if (!text) {
        *ret = NULL;
        return SW_OK;
    }
    json_error_t why;
    json_t *json = json_loads(text, JSON_DECODE_ANY, &why);
    if (!json) {
        return sw_fail(err, SW_E_IO, "the database holds broken JSON: %s", why.text);
    }
    *ret = json;
    return SW_OK;
}

sw_status sw_registry_json_text(struct sw_arena *arena, const json_t *json, const char **ret, struct sw_error *err) {
    if (!json || json_is_null(json)) {
        *ret = NULL;
        return SW_OK;
    }
    SW_AUTO_FREE char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
    char *copy = text ? sw_arena_strdup(arena, sw_str_of(text)) : NULL;
    if (!copy) {
        return sw_registry_out_of_memory(err);
    }
    *ret = copy;
    return SW_OK;
}

/* A list passed as one JSON parameter ($1) becomes the rows of `page`: the statement's text stays the same whatever
 * the length. The functions for that are the one thing in which the two databases differ here. */
static const char *const page_texts[][2] = {
    [SW_PAGE_MODELS] =
        {
            [SW_STORE_SQLITE] = "WITH page (model) AS (SELECT value FROM json_each($1)) ",
            [SW_STORE_POSTGRESQL] =
                "WITH page (model) AS (SELECT value FROM json_array_elements_text(CAST($1 AS JSON))) ",
        },
    [SW_PAGE_VERSIONS] =
        {
            [SW_STORE_SQLITE] = "WITH page (model, version) AS (SELECT json_extract(value, '$[0]'), "
                                "json_extract(value, '$[1]') FROM json_each($1)) ",
            [SW_STORE_POSTGRESQL] = "WITH page (model, version) AS (SELECT value ->> 0, CAST(value ->> 1 AS BIGINT) "
                                    "FROM json_array_elements(CAST($1 AS JSON))) ",
        },
    [SW_PAGE_FILES] =
        {
            [SW_STORE_SQLITE] = "WITH page (path, digest, size) AS (SELECT json_extract(value, '$[0]'), "
                                "json_extract(value, '$[1]'), json_extract(value, '$[2]') FROM json_each($1)) ",
            [SW_STORE_POSTGRESQL] = "WITH page (path, digest, size) AS (SELECT value ->> 0, value ->> 1, "
                                    "CAST(value ->> 2 AS BIGINT) FROM json_array_elements(CAST($1 AS JSON))) ",
        },
};

sw_status sw_registry_page_sql(struct sw_tx *tx, enum sw_page_kind kind, const char *statement, struct sw_arena *arena,
                               const char **ret, struct sw_error *err) {
    const char *page = page_texts[kind][sw_store_dialect(sw_tx_store(tx))];
    char *text = sw_arena_printf(arena, "%s%s", page, statement);
    if (!text) {
        return sw_registry_out_of_memory(err);
    }
    *ret = text;
    return SW_OK;
}

/* statements in the making ----------------------------------------------------------------------------------------- */

void sw_query_init(struct sw_query *query, struct sw_arena *arena) {
    query->count = 0;
    sw_buf_init_arena(&query->sql, arena, 16 << 10);
}

void sw_query_text(struct sw_query *query, const char *sql) {
    sw_buf_append_str(&query->sql, sw_str_of(sql));
}

void sw_query_param(struct sw_query *query, const char *sql, struct sw_value value) {
    SW_ASSERT(query->count < SW_COUNTOF(query->params) && sw_str_ends(sw_str_of(sql), SW_STR("$")));
    query->params[query->count++] = value;
    sw_buf_printf(&query->sql, "%s%zu", sql, query->count);
}

sw_status sw_query_run(struct sw_query *query, struct sw_tx *tx, struct sw_arena *arena, struct sw_rows *ret,
                       struct sw_error *err) {
    if (query->sql.failed) {
        return sw_registry_out_of_memory(err);
    }
    return sw_tx_query(tx, query->sql.data, query->params, query->count, arena, ret, err);
}

sw_status sw_page_limit(const struct sw_page *page, size_t *ret, struct sw_error *err) {
    if (page->limit > 1000) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "limit: %zu; must be 1 to 1000", page->limit);
    }
    *ret = page->limit ? page->limit : 100;
    return SW_OK;
}

sw_status sw_page_bad_token(struct sw_error *err) {
    return sw_fail(err, SW_E_INVALID_ARGUMENT, "page_token: is not one that a page of this listing gave");
}
