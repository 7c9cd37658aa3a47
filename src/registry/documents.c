/* Rows -> the documents that the API shows. A page of them costs one query for each further table (tags, aliases,
 * counts), never one a row: the page's keys go along as one JSON parameter, and what comes back finds its document
 * through a map. */
#include <inttypes.h>

#include "base/map.h"
#include "base/memory.h"
#include "registry/registry_internal.h"

json_t *sw_registry_time(int64_t wall_ms, bool is_null) {
    char text[SW_TIMESTAMP_MAX];
    if (is_null) {
        return json_null();
    }
    sw_format_timestamp((uint64_t)wall_ms, text);
    return json_string(text);
}

static json_t *time_at(const struct sw_rows *rows, size_t row, size_t column) {
    return sw_registry_time(sw_rows_int(rows, row, column), sw_rows_is_null(rows, row, column));
}

static json_t *int_at(const struct sw_rows *rows, size_t row, size_t column) {
    return sw_rows_is_null(rows, row, column) ? json_null() : json_integer(sw_rows_int(rows, row, column));
}

/* Key of a document in the map: "model" or "model/3". */
static const char *key_of(struct sw_arena *arena, const char *model, int64_t version) {
    return version ? sw_arena_printf(arena, "%s/%" PRId64, model, version) : model;
}

/* Documents of one page while further tables are read into them. */
struct page {
    struct sw_tx *tx;
    struct sw_arena *arena;
    enum sw_page_kind kind;
    struct sw_map documents; /* borrowed from the array */
    const char *keys;        /* JSON of the page, parameter $1 */
};

static sw_status page_query(struct page *page, const char *statement, struct sw_rows *ret, struct sw_error *err) {
    const char *sql;
    SW_TRY(sw_registry_page_sql(page->tx, page->kind, statement, page->arena, &sql, err));
    return sw_tx_query(page->tx, sql, SW_PARAMS(sw_v_text(page->keys)), page->arena, ret, err);
}

/* Document that row `row` belongs to; its first columns are the key. */
static json_t *page_document(struct page *page, const struct sw_rows *rows, size_t row) {
    bool versions = page->kind == SW_PAGE_VERSIONS;
    const char *key = key_of(page->arena, sw_rows_text(rows, row, 0), versions ? sw_rows_int(rows, row, 1) : 0);
    return key ? sw_map_get(&page->documents, sw_str_of(key)) : NULL;
}

static sw_status page_tags(struct page *page, const char *statement, struct sw_error *err) {
    struct sw_rows rows;
    SW_TRY(page_query(page, statement, &rows, err));
    size_t column = page->kind == SW_PAGE_VERSIONS ? 2 : 1;
    for (size_t i = 0; i < rows.count; i++) {
        json_t *document = page_document(page, &rows, i);
        json_t *value = json_string(sw_rows_text(&rows, i, column + 1));
        if (!document ||
            json_object_set_new(json_object_get(document, "tags"), sw_rows_text(&rows, i, column), value)) {
            return sw_registry_out_of_memory(err);
        }
    }
    return SW_OK;
}

/* Page's keys as JSON, and its documents by key. */
static sw_status page_init(struct page *page, const struct sw_rows *rows, json_t *array, struct sw_error *err) {
    SW_AUTO_JSON json_t *keys = json_array();
    for (size_t i = 0; i < rows->count; i++) {
        const char *model = sw_rows_text(rows, i, 0);
        int64_t version = page->kind == SW_PAGE_VERSIONS ? sw_rows_int(rows, i, 1) : 0;
        json_t *entry = version ? json_pack("[sI]", model, (json_int_t)version) : json_string(model);
        const char *key = key_of(page->arena, model, version);
        if (json_array_append_new(keys, entry) || !key) {
            return sw_registry_out_of_memory(err);
        }
        sw_map_put(&page->documents, sw_str_of(key), json_array_get(array, i));
    }
    return sw_registry_json_text(page->arena, keys, &page->keys, err);
}

/* models ----------------------------------------------------------------------------------------------------------- */

const char sw_registry_model_columns[] =
    "m.name, m.description, m.created_ms, m.updated_ms, m.live, m.latest, m.policy, m.revision, m.created_by";

static sw_status model_row(const struct sw_rows *rows, size_t i, json_t *array, struct sw_error *err) {
    json_t *policy = NULL;
    SW_TRY(sw_registry_json(sw_rows_text(rows, i, 6), &policy, err));
    int64_t latest = sw_rows_int(rows, i, 5);
    json_t *document = json_pack("{s:s, s:s?, s:{}, s:o, s:o, s:s, s:o, s:o, s:{}, s:o?, s:i, s:I}", "name",
                                 sw_rows_text(rows, i, 0), "description", sw_rows_text(rows, i, 1), "tags",
                                 "created_at", time_at(rows, i, 2), "updated_at", time_at(rows, i, 3), "created_by",
                                 sw_rows_text(rows, i, 8), "live", int_at(rows, i, 4), "latest",
                                 latest ? json_integer(latest) : json_null(), "aliases", "policy", policy, "versions",
                                 0, "revision", (json_int_t)sw_rows_int(rows, i, 7));
    return json_array_append_new(array, document) ? sw_registry_out_of_memory(err) : SW_OK;
}

static sw_status model_aliases(struct page *page, struct sw_error *err) {
    struct sw_rows rows;
    SW_TRY(page_query(page,
                      "SELECT a.model, a.alias, a.version FROM page p CROSS JOIN aliases a WHERE a.model = p.model "
                      "ORDER BY a.model, a.alias",
                      &rows, err));
    for (size_t i = 0; i < rows.count; i++) {
        json_t *aliases = json_object_get(page_document(page, &rows, i), "aliases");
        if (json_object_set_new(aliases, sw_rows_text(&rows, i, 1), json_integer(sw_rows_int(&rows, i, 2)))) {
            return sw_registry_out_of_memory(err);
        }
    }
    return SW_OK;
}

static sw_status model_counts(struct page *page, struct sw_error *err) {
    struct sw_rows rows;
    SW_TRY(page_query(page,
                      "SELECT v.model, count(*) FROM page p CROSS JOIN versions v WHERE v.model = p.model "
                      "AND v.deleted_ms IS NULL GROUP BY v.model",
                      &rows, err));
    for (size_t i = 0; i < rows.count; i++) {
        json_t *document = page_document(page, &rows, i);
        if (json_object_set_new(document, "versions", json_integer(sw_rows_int(&rows, i, 1)))) {
            return sw_registry_out_of_memory(err);
        }
    }
    return SW_OK;
}

static sw_status fill_models(struct page *page, const struct sw_rows *rows, json_t *array, struct sw_error *err) {
    for (size_t i = 0; i < rows->count; i++) {
        SW_TRY(model_row(rows, i, array, err));
    }
    if (rows->count == 0) {
        return SW_OK;
    }
    SW_TRY(page_init(page, rows, array, err));
    SW_TRY(page_tags(page,
                     "SELECT t.model, t.key, t.value FROM page p CROSS JOIN model_tags t WHERE t.model = p.model "
                     "ORDER BY t.model, t.key",
                     err));
    SW_TRY(model_aliases(page, err));
    return model_counts(page, err);
}

/* versions --------------------------------------------------------------------------------------------------------- */

const char sw_registry_version_columns[] =
    "v.model, v.version, v.stage, v.description, v.source, v.run_id, v.replaces, v.signature, v.served_signature, "
    "v.gates, v.gates_ms, v.metrics, v.digest, v.size, v.file_count, v.created_ms, v.updated_ms, v.created_by, m.live";

/* The JSON columns of a version. Those not handed over yet are freed by the caller when another is broken. */
struct version_json {
    json_t *signature, *served_signature, *gates, *metrics;
};

static sw_status read_version_json(const struct sw_rows *rows, size_t i, struct version_json *ret,
                                   struct sw_error *err) {
    SW_TRY(sw_registry_json(sw_rows_text(rows, i, 7), &ret->signature, err));
    SW_TRY(sw_registry_json(sw_rows_text(rows, i, 8), &ret->served_signature, err));
    SW_TRY(sw_registry_json(sw_rows_text(rows, i, 9), &ret->gates, err));
    SW_TRY(sw_registry_json(sw_rows_text(rows, i, 11), &ret->metrics, err));
    ret->metrics = ret->metrics ? ret->metrics : json_object();
    return SW_OK;
}

static sw_status version_row(const struct sw_rows *rows, size_t i, json_t *array, struct sw_error *err) {
    struct version_json json = {0};
    sw_status status = read_version_json(rows, i, &json, err);
    if (status) {
        json_decref(json.signature);
        json_decref(json.served_signature);
        json_decref(json.gates);
        json_decref(json.metrics);
        return status;
    }
    int64_t version = sw_rows_int(rows, i, 1);
    json_t *document = json_pack(
        "{s:s, s:I, s:s, s:[], s:b, s:s?, s:{}, s:o, s:s?, s:s?, s:o, s:o?, s:o?, s:o?, s:o, s:I, s:I, s:s, s:o, s:o, "
        "s:s}",
        "model", sw_rows_text(rows, i, 0), "version", (json_int_t)version, "stage", sw_rows_text(rows, i, 2), "aliases",
        "live", sw_rows_int(rows, i, 18) == version, "description", sw_rows_text(rows, i, 3), "tags", "metrics",
        json.metrics, "source", sw_rows_text(rows, i, 4), "run_id", sw_rows_text(rows, i, 5), "replaces",
        int_at(rows, i, 6), "signature", json.signature, "served_signature", json.served_signature, "gates", json.gates,
        "gates_at", time_at(rows, i, 10), "files", (json_int_t)sw_rows_int(rows, i, 14), "size_bytes",
        (json_int_t)sw_rows_int(rows, i, 13), "digest", sw_rows_text(rows, i, 12), "created_at", time_at(rows, i, 15),
        "updated_at", time_at(rows, i, 16), "created_by", sw_rows_text(rows, i, 17));
    return json_array_append_new(array, document) ? sw_registry_out_of_memory(err) : SW_OK;
}

static sw_status version_aliases(struct page *page, struct sw_error *err) {
    struct sw_rows rows;
    SW_TRY(page_query(page,
                      "SELECT a.model, a.version, a.alias FROM page p CROSS JOIN aliases a WHERE a.model = p.model "
                      "AND a.version = p.version ORDER BY a.model, a.version, a.alias",
                      &rows, err));
    for (size_t i = 0; i < rows.count; i++) {
        json_t *aliases = json_object_get(page_document(page, &rows, i), "aliases");
        if (json_array_append_new(aliases, json_string(sw_rows_text(&rows, i, 2)))) {
            return sw_registry_out_of_memory(err);
        }
    }
    return SW_OK;
}

static sw_status fill_versions(struct page *page, const struct sw_rows *rows, json_t *array, struct sw_error *err) {
    for (size_t i = 0; i < rows->count; i++) {
        SW_TRY(version_row(rows, i, array, err));
    }
    if (rows->count == 0) {
        return SW_OK;
    }
    SW_TRY(page_init(page, rows, array, err));
    SW_TRY(page_tags(page,
                     "SELECT t.model, t.version, t.key, t.value FROM page p CROSS JOIN version_tags t "
                     "WHERE t.model = p.model AND t.version = p.version ORDER BY t.model, t.version, t.key",
                     err));
    return version_aliases(page, err);
}

/* public ----------------------------------------------------------------------------------------------------------- */

typedef sw_status fill_fn(struct page *page, const struct sw_rows *rows, json_t *array, struct sw_error *err);

static sw_status documents(struct sw_tx *tx, enum sw_page_kind kind, fill_fn *fill, const struct sw_rows *rows,
                           struct sw_arena *arena, json_t **ret_array, struct sw_error *err) {
    SW_AUTO_JSON json_t *array = json_array();
    struct page page = {.tx = tx, .arena = arena, .kind = kind};
    sw_map_init(&page.documents);
    sw_status status = fill(&page, rows, array, err);
    sw_map_deinit(&page.documents);
    if (!status) {
        *ret_array = json_incref(array);
    }
    return status;
}

sw_status sw_registry_model_documents(struct sw_tx *tx, const struct sw_rows *rows, struct sw_arena *arena,
                                      json_t **ret_array, struct sw_error *err) {
    return documents(tx, SW_PAGE_MODELS, fill_models, rows, arena, ret_array, err);
}

sw_status sw_registry_version_documents(struct sw_tx *tx, const struct sw_rows *rows, struct sw_arena *arena,
                                        json_t **ret_array, struct sw_error *err) {
    return documents(tx, SW_PAGE_VERSIONS, fill_versions, rows, arena, ret_array, err);
}

sw_status sw_registry_model_document(struct sw_tx *tx, const char *model, struct sw_arena *arena, json_t **ret,
                                     struct sw_error *err) {
    struct sw_rows rows;
    const char *sql = sw_arena_printf(arena, "SELECT %s FROM models m WHERE m.name = $1", sw_registry_model_columns);
    if (!sql) {
        return sw_registry_out_of_memory(err);
    }
    SW_TRY(sw_tx_query(tx, sql, SW_PARAMS(sw_v_text(model)), arena, &rows, err));
    if (rows.count == 0) {
        return sw_registry_no_model(model, err);
    }
    SW_AUTO_JSON json_t *array = NULL;
    SW_TRY(sw_registry_model_documents(tx, &rows, arena, &array, err));
    *ret = json_incref(json_array_get(array, 0));
    return SW_OK;
}

sw_status sw_registry_version_document(struct sw_tx *tx, const char *model, int64_t version, struct sw_arena *arena,
                                       json_t **ret, struct sw_error *err) {
    struct sw_rows rows;
    const char *sql = sw_arena_printf(arena,
                                      "SELECT %s FROM versions v JOIN models m ON m.name = v.model "
                                      "WHERE v.model = $1 AND v.version = $2 AND v.deleted_ms IS NULL",
                                      sw_registry_version_columns);
    if (!sql) {
        return sw_registry_out_of_memory(err);
    }
    SW_TRY(sw_tx_query(tx, sql, SW_PARAMS(sw_v_text(model), sw_v_int(version)), arena, &rows, err));
    if (rows.count == 0) {
        return sw_fail(err, SW_E_NOT_FOUND, "model %.150s has no version %" PRId64, model, version);
    }
    SW_AUTO_JSON json_t *array = NULL;
    SW_TRY(sw_registry_version_documents(tx, &rows, arena, &array, err));
    *ret = json_incref(json_array_get(array, 0));
    return SW_OK;
}
