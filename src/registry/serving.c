/* What a replica should serve: the models that changed after a revision, each with the versions its policy asks for.
 *
 * A fixed number of queries whatever the number of models: models; their aliases; the versions that aliases and stages
 * point to; the versions that the server's own policy adds; names that are gone. Only a model with a policy of its own
 * costs one query more. Versions nobody points to are not read unless a policy asks for them. All of it is one read
 * transaction: one moment. CROSS JOIN: SQLite takes the tables in that order, first the models that changed, which an
 * index on revision gives. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/memory.h"
#include "registry/registry_internal.h"

enum { LATEST_MAX = 1000, SPECIFIC_MAX = 1000 };

/* policy ----------------------------------------------------------------------------------------------------------- */

static sw_status parse_latest(const json_t *json, struct sw_version_policy *ret, struct sw_error *err) {
    json_t *count = json_object_get(json, "count");
    json_int_t n = json_integer_value(count);
    if (json_object_size(json) != 2 || !json_is_integer(count) || n < 1 || n > LATEST_MAX) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "policy: latest has `count`, 1 to %d, and nothing else", LATEST_MAX);
    }
    *ret = (struct sw_version_policy){.kind = SW_POLICY_LATEST, .latest = (unsigned)n};
    return SW_OK;
}

static sw_status parse_specific(const json_t *json, struct sw_arena *arena, struct sw_version_policy *ret,
                                struct sw_error *err) {
    json_t *versions = json_object_get(json, "versions"), *version;
    size_t i, count = json_array_size(versions);
    if (json_object_size(json) != 2 || count < 1 || count > SPECIFIC_MAX) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT,
                       "policy: specific has `versions`, a list of 1 to %d, and nothing else", SPECIFIC_MAX);
    }
    int64_t *numbers = sw_arena_calloc(arena, count, sizeof *numbers);
    if (!numbers) {
        return sw_registry_out_of_memory(err);
    }
    json_array_foreach(versions, i, version) {
        if (!json_is_integer(version) || json_integer_value(version) < 1) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "policy: versions[%zu] must be a version's number", i);
        }
        numbers[i] = json_integer_value(version);
    }
    *ret = (struct sw_version_policy){.kind = SW_POLICY_SPECIFIC, .specific = numbers, .specific_count = count};
    return SW_OK;
}

sw_status sw_version_policy_parse(const json_t *json, struct sw_arena *arena, struct sw_version_policy *ret,
                                  struct sw_error *err) {
    const char *kind = json_string_value(json_object_get(json, "kind"));
    struct sw_str name = sw_str_of(kind);
    if (sw_str_is(name, "latest")) {
        return parse_latest(json, ret, err);
    }
    if (sw_str_is(name, "specific")) {
        return parse_specific(json, arena, ret, err);
    }
    bool live = sw_str_is(name, "live"), all = sw_str_is(name, "all");
    if ((!live && !all) || json_object_size(json) != 1) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT,
                       "policy: must be {\"kind\": \"live\"}, {\"kind\": \"latest\", \"count\": N}, "
                       "{\"kind\": \"specific\", \"versions\": [...]} or {\"kind\": \"all\"}");
    }
    *ret = (struct sw_version_policy){.kind = live ? SW_POLICY_LIVE : SW_POLICY_ALL};
    return SW_OK;
}

/* collecting ------------------------------------------------------------------------------------------------------- */

/* A version found by some query, to be sorted under its model. */
struct found {
    size_t model; /* index */
    struct sw_served_version version;
};

struct collection {
    struct sw_tx *tx;
    struct sw_arena *arena;
    int64_t since;
    struct sw_version_policy fallback;
    struct sw_served_model *models;
    struct sw_version_policy *policies; /* of each model; DEFAULT: it has none of its own */
    size_t model_count;
    struct sw_map by_name; /* index + 1 */
    struct found *found;   /* on the heap */
    size_t found_count, found_capacity;
};

static bool adds_versions(const struct sw_version_policy *policy) {
    return policy->kind == SW_POLICY_LATEST || policy->kind == SW_POLICY_ALL || policy->kind == SW_POLICY_SPECIFIC;
}

static size_t index_of(struct collection *c, const char *model) {
    size_t index = (size_t)(uintptr_t)sw_map_get(&c->by_name, sw_str_of(model));
    return index ? index - 1 : SIZE_MAX; /* none: a model that serves nothing was left out */
}

/* The golden gate stands among them as failed. */
static bool golden_failed(const char *gates) {
    SW_AUTO_JSON json_t *list = gates ? json_loads(gates, 0, NULL) : NULL;
    size_t i;
    json_t *gate;
    json_array_foreach(list, i, gate) {
        const char *name = json_string_value(json_object_get(gate, "name"));
        const char *status = json_string_value(json_object_get(gate, "status"));
        if (name && status && strcmp(name, "golden") == 0 && strcmp(status, "failed") == 0) {
            return true;
        }
    }
    return false;
}

/* Rows of (model, version, size, digest), of pinned ones also the gates that somebody forced it over, or NULL. */
static void take_versions(struct collection *c, const struct sw_rows *rows, bool pinned) {
    for (size_t i = 0; i < rows->count; i++) {
        size_t model = index_of(c, sw_rows_text(rows, i, 0));
        if (model == SIZE_MAX) {
            continue;
        }
        if (c->found_count == c->found_capacity) {
            c->found_capacity = c->found_capacity ? c->found_capacity * 2 : 256;
            c->found = sw_xrealloc(c->found, c->found_capacity * sizeof *c->found);
        }
        c->found[c->found_count++] = (struct found){
            .model = model,
            .version = {.number = sw_rows_int(rows, i, 1),
                        .bytes = (uint64_t)sw_rows_int(rows, i, 2),
                        .digest = sw_rows_text(rows, i, 3),
                        .pinned = pinned,
                        .golden_waived = pinned && golden_failed(sw_rows_text(rows, i, 4))},
        };
    }
}

static sw_status add_model(struct collection *c, const struct sw_rows *rows, size_t i, struct sw_error *err) {
    SW_AUTO_JSON json_t *policy = NULL;
    struct sw_served_model *model = &c->models[c->model_count];
    *model = (struct sw_served_model){
        .name = sw_rows_text(rows, i, 0),
        .live = sw_rows_int(rows, i, 1),
        .previous = sw_rows_int(rows, i, 2),
    };
    SW_TRY(sw_registry_json(sw_rows_text(rows, i, 3), &policy, err));
    if (policy) {
        SW_TRY(sw_version_policy_parse(policy, c->arena, &c->policies[c->model_count], err));
    }
    sw_map_put(&c->by_name, sw_str_of(model->name), (void *)(uintptr_t)(c->model_count + 1));
    c->model_count++;
    return SW_OK;
}

/* since 0: only models that would serve something, as far as the row tells. */
static const char *models_sql(const struct collection *c) {
    if (c->since) {
        return "SELECT name, live, previous, policy FROM models WHERE revision > $1 ORDER BY name";
    }
    if (adds_versions(&c->fallback)) {
        return "SELECT name, live, previous, policy FROM models WHERE revision > $1 AND latest > 0 ORDER BY name";
    }
    return "SELECT name, live, previous, policy FROM models WHERE revision > $1 AND (live IS NOT NULL OR "
           "policy IS NOT NULL OR name IN (SELECT model FROM aliases)) ORDER BY name";
}

static sw_status collect_models(struct collection *c, struct sw_error *err) {
    struct sw_rows rows, gone = {0};
    SW_TRY(sw_tx_query(c->tx, models_sql(c), SW_PARAMS(sw_v_int(c->since)), c->arena, &rows, err));
    if (c->since) {
        SW_TRY(sw_tx_query(c->tx, "SELECT name FROM models_gone WHERE revision > $1 ORDER BY name",
                           SW_PARAMS(sw_v_int(c->since)), c->arena, &gone, err));
    }
    size_t count = rows.count + gone.count;
    c->models = sw_arena_calloc(c->arena, count ? count : 1, sizeof *c->models);
    c->policies = sw_arena_calloc(c->arena, count ? count : 1, sizeof *c->policies);
    if (!c->models || !c->policies) {
        return sw_registry_out_of_memory(err);
    }
    for (size_t i = 0; i < rows.count; i++) {
        SW_TRY(add_model(c, &rows, i, err));
    }
    for (size_t i = 0; i < gone.count; i++) {
        c->models[c->model_count++] = (struct sw_served_model){.name = sw_rows_text(&gone, i, 0), .deleted = true};
    }
    return SW_OK;
}

/* Appends FROM and WHERE. The first of the tables is `t`: only rows of models that changed (since 0: of all). */
static void of_changed(struct collection *c, struct sw_query *query, const char *tables, const char *where) {
    sw_query_text(query, c->since ? " FROM models m CROSS JOIN " : " FROM ");
    sw_query_text(query, tables);
    sw_query_text(query, where);
    if (c->since) {
        sw_query_param(query, " AND m.name = t.model AND m.revision > $", sw_v_int(c->since));
    }
}

static sw_status collect_aliases(struct collection *c, struct sw_error *err) {
    struct sw_query query;
    struct sw_rows rows;
    sw_query_init(&query, c->arena);
    sw_query_text(&query, "SELECT t.model, t.alias, t.version");
    of_changed(c, &query, "aliases t", " WHERE t.version > 0");
    sw_query_text(&query, " ORDER BY t.model, t.alias");
    SW_TRY(sw_query_run(&query, c->tx, c->arena, &rows, err));
    struct sw_served_alias *aliases = sw_arena_calloc(c->arena, rows.count ? rows.count : 1, sizeof *aliases);
    if (!aliases) {
        return sw_registry_out_of_memory(err);
    }
    for (size_t i = 0; i < rows.count; i++) { /* in order of the models: each has one run of them */
        size_t model = index_of(c, sw_rows_text(&rows, i, 0));
        if (model == SIZE_MAX) {
            continue;
        }
        aliases[i] = (struct sw_served_alias){sw_rows_text(&rows, i, 1), sw_rows_int(&rows, i, 2)};
        if (!c->models[model].aliases) {
            c->models[model].aliases = &aliases[i];
        }
        c->models[model].alias_count++;
    }
    return SW_OK;
}

/* Those with an alias and those in Production; the live one is among them. Only by force does a version become champion
 * or go to Production over a gate that failed. */
static sw_status collect_pinned(struct collection *c, struct sw_error *err) {
    struct sw_query query;
    struct sw_rows rows;
    sw_query_init(&query, c->arena);
    sw_query_text(&query, "SELECT v.model, v.version, v.size, v.digest, CASE WHEN t.alias = 'champion' AND "
                          "v.gates LIKE '%\"failed\"%' THEN v.gates END");
    of_changed(c, &query, "aliases t CROSS JOIN versions v", " WHERE v.model = t.model AND v.version = t.version");
    sw_query_text(&query, " UNION SELECT t.model, t.version, t.size, t.digest, CASE WHEN t.gates LIKE '%\"failed\"%' "
                          "THEN t.gates END");
    of_changed(c, &query, "versions t", " WHERE t.stage = 'Production'");
    SW_TRY(sw_query_run(&query, c->tx, c->arena, &rows, err));
    take_versions(c, &rows, true);
    return SW_OK;
}

/* The newest `latest` of every model without a policy of its own. */
static sw_status collect_fallback(struct collection *c, struct sw_error *err) {
    struct sw_rows rows;
    int64_t latest = c->fallback.kind == SW_POLICY_ALL ? INT64_MAX : (int64_t)c->fallback.latest;
    SW_TRY(sw_tx_query(c->tx,
                       "SELECT r.model, r.version, r.size, r.digest FROM (SELECT v.model, v.version, v.size, v.digest, "
                       "row_number() OVER (PARTITION BY v.model ORDER BY v.version DESC) AS place FROM models m "
                       "CROSS JOIN versions v WHERE v.model = m.name AND m.revision > $1 AND m.policy IS NULL "
                       "AND v.deleted_ms IS NULL) r WHERE r.place <= $2",
                       SW_PARAMS(sw_v_int(c->since), sw_v_int(latest)), c->arena, &rows, err));
    take_versions(c, &rows, false);
    return SW_OK;
}

static sw_status collect_specific(struct collection *c, const char *model, const struct sw_version_policy *policy,
                                  struct sw_error *err) {
    SW_AUTO_JSON json_t *list = json_array();
    const char *sql, *text;
    struct sw_rows rows;
    for (size_t i = 0; i < policy->specific_count; i++) {
        json_array_append_new(list, json_pack("[sI]", model, (json_int_t)policy->specific[i]));
    }
    SW_TRY(sw_registry_json_text(c->arena, list, &text, err));
    SW_TRY(sw_registry_page_sql(c->tx, SW_PAGE_VERSIONS,
                                "SELECT v.model, v.version, v.size, v.digest FROM page p CROSS JOIN versions v "
                                "WHERE v.model = p.model AND v.version = p.version AND v.deleted_ms IS NULL",
                                c->arena, &sql, err));
    SW_TRY(sw_tx_query(c->tx, sql, SW_PARAMS(sw_v_text(text)), c->arena, &rows, err));
    take_versions(c, &rows, false);
    return SW_OK;
}

static sw_status collect_own(struct collection *c, const char *model, const struct sw_version_policy *policy,
                             struct sw_error *err) {
    if (policy->kind == SW_POLICY_SPECIFIC) {
        return collect_specific(c, model, policy, err);
    }
    struct sw_rows rows;
    int64_t latest = policy->kind == SW_POLICY_ALL ? INT64_MAX : (int64_t)policy->latest;
    SW_TRY(sw_tx_query(c->tx,
                       "SELECT model, version, size, digest FROM versions WHERE model = $1 AND deleted_ms IS NULL "
                       "ORDER BY version DESC LIMIT $2",
                       SW_PARAMS(sw_v_text(model), sw_v_int(latest)), c->arena, &rows, err));
    take_versions(c, &rows, false);
    return SW_OK;
}

static sw_status collect_added(struct collection *c, struct sw_error *err) {
    bool specific = c->fallback.kind == SW_POLICY_SPECIFIC;
    if (adds_versions(&c->fallback) && !specific) {
        SW_TRY(collect_fallback(c, err));
    }
    for (size_t i = 0; i < c->model_count; i++) {
        bool own = c->policies[i].kind != SW_POLICY_DEFAULT;
        const struct sw_version_policy *policy = own ? &c->policies[i] : &c->fallback;
        if (!c->models[i].deleted && adds_versions(policy) && (own || specific)) {
            SW_TRY(collect_own(c, c->models[i].name, policy, err));
        }
    }
    return SW_OK;
}

/* sorting ---------------------------------------------------------------------------------------------------------- */

static int compare_found(const void *a, const void *b) {
    const struct found *x = a, *y = b;
    if (x->model != y->model) {
        return x->model < y->model ? -1 : 1;
    }
    if (x->version.number != y->version.number) {
        return x->version.number < y->version.number ? -1 : 1;
    }
    if (x->version.pinned != y->version.pinned) { /* the pinned one of two is kept */
        return x->version.pinned ? -1 : 1;
    }
    return (int)y->version.golden_waived - (int)x->version.golden_waived;
}

static sw_status hand_out(struct collection *c, struct sw_error *err) {
    struct sw_served_version *versions = sw_arena_calloc(c->arena, c->found_count ? c->found_count : 1,
                                                         sizeof *versions);
    if (!versions) {
        return sw_registry_out_of_memory(err);
    }
    if (c->found_count) {
        qsort(c->found, c->found_count, sizeof *c->found, compare_found);
    }
    for (size_t i = 0; i < c->found_count; i++) {
        const struct found *one = &c->found[i];
        struct sw_served_model *model = &c->models[one->model];
        if (model->version_count && model->versions[model->version_count - 1].number == one->version.number) {
            continue;
        }
        if (!model->version_count) {
            model->versions = &versions[i];
        }
        model->versions[model->version_count++] = one->version;
    }
    return SW_OK;
}

/* since 0: models that serve nothing after all. */
static void drop_empty(struct collection *c) {
    size_t kept = 0;
    for (size_t i = 0; i < c->model_count; i++) {
        if (c->models[i].version_count) {
            c->models[kept++] = c->models[i];
        }
    }
    c->model_count = kept;
}

static sw_status collect(struct collection *c, struct sw_error *err) {
    SW_TRY(collect_models(c, err));
    SW_TRY(collect_aliases(c, err));
    SW_TRY(collect_pinned(c, err));
    SW_TRY(collect_added(c, err));
    SW_TRY(hand_out(c, err));
    if (!c->since) {
        drop_empty(c);
    }
    return SW_OK;
}

sw_status sw_registry_serving(struct sw_registry *registry, int64_t since, const struct sw_version_policy *fallback,
                              struct sw_arena *arena, struct sw_served_model **ret, size_t *ret_count,
                              int64_t *ret_revision, struct sw_error *err) {
    SW_AUTO_TX struct sw_tx *tx = NULL;
    SW_TRY(sw_store_begin(registry->store, SW_TX_READ, &tx, err));
    struct collection c = {.tx = tx, .arena = arena, .since = since, .fallback = *fallback};
    sw_map_init(&c.by_name);
    sw_status status = collect(&c, err);
    sw_map_deinit(&c.by_name);
    sw_free(c.found);
    if (!status) {
        *ret = c.models;
        *ret_count = c.model_count;
        *ret_revision = sw_tx_revision(tx);
    }
    return status;
}
