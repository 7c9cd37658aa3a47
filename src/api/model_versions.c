/* GET /models/versions and POST /models/rollback: the versions of served models in one answer, and one step back. In an
 * application's routes: those of its model.
 *
 * What is loaded comes from memory. Of models that the registry manages, its facts about each version and its history
 * are added; when it cannot be read the answer is made without them and says so. */
#include <sys/stat.h>

#include "api/registry_common.h"

enum { HISTORY_SHOWN = 20, VERSIONS_SHOWN = 100, MODELS_ASKED_MAX = 100 };

/* What the registry says about one model. */
struct facts {
    json_t *versions; /* RegistryVersion, newest first; NULL: nothing */
    json_t *history;
    const char *error; /* why there is nothing; NULL: not asked, or all is here */
};

struct answer {
    struct sw_http_exchange *x;
    struct sw_registry *registry; /* NULL: none */
    struct sw_buf out;
    size_t asked;     /* models that the registry was asked about: each takes some queries */
    const char *away; /* why it is not asked any more: it was away, or was asked often enough */
};

/* Rows of one model, ascending: they stand together (sw_repository_each). */
struct group {
    const char *name;
    const struct sw_api_row *rows;
    size_t count;
};

/* ---- facts */

static sw_status ask(struct sw_registry *registry, const char *name, struct facts *facts, struct sw_error *err) {
    struct sw_version_filter filter = {.model = name, .stage = -1};
    struct sw_page page = {.limit = VERSIONS_SHOWN};
    json_auto_t *versions = NULL, *history = NULL;
    SW_TRY(sw_registry_list_versions(registry, &filter, &page, &versions, err));
    SW_TRY(sw_registry_history(registry, name, HISTORY_SHOWN, &history, err));
    facts->versions = json_incref(json_object_get(versions, "versions"));
    facts->history = json_incref(json_object_get(history, "history"));
    return SW_OK;
}

static void find_facts(struct answer *a, const char *name, struct facts *facts) {
    struct sw_error err;
    if (a->asked++ == MODELS_ASKED_MAX) {
        a->away = "too many models for one answer: ask for one with ?model=";
    }
    if (!a->away && ask(a->registry, name, facts, &err)) {
        const char *text = sw_arena_strdup(&a->x->arena, sw_str_of(err.message));
        facts->error = text ? text : "no memory";
        a->away = err.code == SW_E_UNAVAILABLE ? facts->error : NULL;
        return;
    }
    facts->error = a->away;
}

static void drop_facts(struct facts *facts) {
    json_decref(facts->versions);
    json_decref(facts->history);
}

/* ---- one version */

static void put_number(struct sw_buf *out, const char *key, double value) {
    sw_buf_printf(out, ",\"%s\":", key);
    sw_api_put_double(out, value);
}

static void put_size(struct sw_buf *out, const struct sw_api_row *row, const json_t *doc) {
    struct stat st;
    SW_LIT(out, ",\"size_bytes\":");
    if (doc) {
        sw_api_put_json(out, json_object_get(doc, "size_bytes"));
    } else if (row && row->managed) {
        sw_api_put_u64(out, row->bytes);
    } else if (row && row->model_path && stat(row->model_path, &st) == 0) {
        sw_api_put_u64(out, (uint64_t)st.st_size);
    } else {
        SW_LIT(out, "null");
    }
}

/* As the registry has it, else as the bundle that is loaded says. */
static double metric(const json_t *doc, const char *name, double loaded) {
    const json_t *value = json_object_get(json_object_get(doc, "metrics"), name);
    return json_is_number(value) ? json_number_value(value) : loaded;
}

static void put_registry_facts(struct sw_buf *out, const json_t *doc) {
    SW_LIT(out, ",\"stage\":");
    sw_api_put_json(out, json_object_get(doc, "stage"));
    SW_LIT(out, ",\"aliases\":");
    sw_api_put_json(out, json_object_get(doc, "aliases"));
}

/* row NULL: not loaded; doc NULL: not in the registry, or it is not known what it says. */
static void put_available(struct sw_buf *out, int64_t version, const struct sw_api_row *row, const json_t *doc) {
    char deployed_at[SW_TIMESTAMP_MAX];
    sw_buf_printf(out, "{\"version\":%lld,", (long long)version);
    sw_api_put_string(out, "status", sw_model_state_name(row ? row->state : SW_MODEL_UNAVAILABLE));
    sw_buf_append_c(out, ',');
    sw_api_put_string(out, "reason", row ? row->reason : "not loaded");
    put_size(out, row, doc);
    SW_LIT(out, ",\"deployed_at\":");
    if (row && row->loaded_wall_ms) {
        sw_format_timestamp(row->loaded_wall_ms, deployed_at);
        sw_buf_append_json(out, sw_str_of(deployed_at));
    } else {
        SW_LIT(out, "null");
    }
    put_number(out, "load_ms", row && row->stats ? (double)row->load_ns / 1e6 : NAN);
    put_number(out, "accuracy", metric(doc, "accuracy", row ? row->accuracy : NAN));
    put_number(out, "false_positive_rate", metric(doc, "false_positive_rate", row ? row->false_positive_rate : NAN));
    if (doc) {
        put_registry_facts(out, doc);
    }
    sw_buf_append_c(out, '}');
}

/* ---- one model */

static int64_t number_of(const json_t *doc) {
    return doc ? json_integer_value(json_object_get(doc, "version")) : INT64_MAX;
}

/* Rows and documents (newest first) merged, ascending. */
static void put_versions(struct sw_buf *out, const struct group *group, const json_t *versions) {
    size_t left = json_array_size(versions), i = 0;
    for (bool first = true; i < group->count || left; first = false) {
        const struct sw_api_row *row = i < group->count ? &group->rows[i] : NULL;
        const json_t *doc = left ? json_array_get(versions, left - 1) : NULL;
        int64_t version = row && row->version < number_of(doc) ? row->version : number_of(doc);
        bool has_row = row && row->version == version, has_doc = doc && number_of(doc) == version;
        sw_buf_append_str(out, first ? SW_STR("") : SW_STR(","));
        put_available(out, version, has_row ? row : NULL, has_doc ? doc : NULL);
        i += has_row;
        left -= has_doc;
    }
}

static void put_current(struct sw_buf *out, const struct group *group) {
    SW_LIT(out, ",\"current\":");
    for (size_t i = 0; i < group->count; i++) {
        if (group->rows[i].live && group->rows[i].state == SW_MODEL_READY) {
            sw_buf_printf(out, "%lld", (long long)group->rows[i].version);
            return;
        }
    }
    SW_LIT(out, "null");
}

static void put_model(struct answer *a, const struct group *group) {
    struct facts facts = {0};
    bool managed = !group->count || group->rows[0].managed;
    if (managed && a->registry) {
        find_facts(a, group->name, &facts);
    }
    sw_buf_append_c(&a->out, '{');
    sw_api_put_string(&a->out, "name", group->name);
    put_current(&a->out, group);
    SW_LIT(&a->out, ",\"available\":[");
    put_versions(&a->out, group, facts.versions);
    SW_LIT(&a->out, "],\"history\":");
    if (facts.history) {
        sw_api_put_json(&a->out, facts.history);
    } else {
        SW_LIT(&a->out, "[]");
    }
    if (facts.error) {
        sw_buf_append_c(&a->out, ',');
        sw_api_put_string(&a->out, "history_error", facts.error);
    }
    sw_buf_append_c(&a->out, '}');
    drop_facts(&facts);
}

static void put_models(struct answer *a, const struct sw_api_row *rows, size_t count) {
    for (size_t first = 0, end; first < count; first = end) {
        for (end = first + 1; end < count && !strcmp(rows[end].name, rows[first].name); end++) {
        }
        sw_buf_append_str(&a->out, first ? SW_STR(",") : SW_STR(""));
        put_model(a, &(struct group){rows[first].name, &rows[first], end - first});
    }
}

/* ---- GET /models/versions */

/* Known to the registry although nothing of it is served? */
static sw_status check_in_registry(struct answer *a, struct sw_str only, const char **ret_name, struct sw_error *err) {
    json_auto_t *doc = NULL;
    if (!a->registry || !sw_registry_name_valid(only)) {
        return sw_api_unknown_model(only, err);
    }
    SW_TRY(sw_api_model_name(a->x, only, ret_name, err));
    return sw_registry_get_model(a->registry, *ret_name, &doc, err);
}

static sw_status answer_versions(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    struct sw_str scope = sw_api_scope(x), only = scope.data ? scope : sw_http_query(x, "model");
    struct answer a = {.x = x, .registry = registry};
    struct sw_api_row *rows = NULL;
    struct group unserved = {0};
    size_t count;
    SW_TRY(sw_api_rows(sw_api_of(x), &x->arena, only, &rows, &count, err));
    if (only.data && count == 0) {
        SW_TRY(check_in_registry(&a, only, &unserved.name, err));
    }
    sw_api_buf(x, &a.out);
    SW_LIT(&a.out, "{\"models\":[");
    if (unserved.name) {
        put_model(&a, &unserved);
    }
    put_models(&a, rows, count);
    SW_LIT(&a.out, "]}");
    sw_api_reply(x, 200, &a.out);
    return SW_OK;
}

enum sw_http_result sw_api_model_versions(struct sw_http_exchange *x) {
    struct sw_error err;
    if (sw_api_of(x)->options.registry) {
        return sw_api_blocking(x, SW_API_QUICK, answer_versions);
    }
    return answer_versions(x, NULL, &err) ? sw_api_reply_error(x, &err) : SW_HTTP_DONE;
}

/* ---- POST /models/rollback */

struct rollback_request {
    const char *model, *version, *reason;
};

static sw_status read_rollback(struct sw_http_exchange *x, struct rollback_request *r, struct sw_error *err) {
    const char *model = NULL;
    const struct sw_api_field fields[] = {
        {.name = "model", .kind = SW_MEMBER_TEXT, .ret = &model, .max = 1024},
        {.name = "version", .kind = SW_MEMBER_VERSION, .ret = &r->version},
        {.name = "reason", .kind = SW_MEMBER_TEXT, .ret = &r->reason, .max = SW_API_REASON_MAX},
    };
    SW_TRY(sw_api_read(x, true, fields, SW_COUNTOF(fields), err));
    struct sw_str scope = sw_api_scope(x);
    if (model && scope.data && !sw_str_is(scope, model)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "model: here it can only be '" SW_STR_FMT "'", SW_STR_ARG(scope));
    }
    if (!model && scope.data) {
        model = scope.data;
    }
    return model ? sw_api_model_name(x, sw_str_of(model), &r->model, err) : SW_OK;
}

/* A model from a file has no history. */
static sw_status check_not_file(struct sw_http_exchange *x, const char *model, struct sw_error *err) {
    struct sw_api_row *rows;
    size_t count;
    SW_TRY(sw_api_rows(sw_api_of(x), &x->arena, sw_str_of(model), &rows, &count, err));
    if (count && !rows[0].managed) {
        return sw_fail(err, SW_E_CONFLICT, "model '%s' is served from a file: there is nothing to go back to", model);
    }
    return SW_OK;
}

/* The live models of one page; *ret_only: the first of all. */
static sw_status count_live(struct sw_http_exchange *x, const json_t *models, size_t *count, const char **ret_only,
                            struct sw_error *err) {
    for (size_t i = 0; i < json_array_size(models) && *count < 2; i++) {
        const json_t *model = json_array_get(models, i);
        if (!json_is_integer(json_object_get(model, "live")) || (*count)++) {
            continue;
        }
        SW_TRY(sw_api_model_name(x, sw_str_of(json_string_value(json_object_get(model, "name"))), ret_only, err));
    }
    return SW_OK;
}

static sw_status find_only_live(struct sw_http_exchange *x, struct sw_registry *registry, const char **ret,
                                struct sw_error *err) {
    struct sw_model_filter filter = {0};
    json_auto_t *doc = NULL;
    size_t count = 0;
    const char *only = NULL, *token = NULL;
    do {
        struct sw_page page = {.limit = 1000, .token = token};
        json_t *next = NULL;
        SW_TRY(sw_registry_list_models(registry, &filter, &page, &next, err));
        json_decref(doc); /* the token of the page before is not needed any more */
        doc = next;
        SW_TRY(count_live(x, json_object_get(doc, "models"), &count, &only, err));
        token = json_string_value(json_object_get(doc, "next_page_token"));
    } while (token && count < 2);
    if (count != 1) {
        return sw_fail(err, count ? SW_E_INVALID_ARGUMENT : SW_E_CONFLICT,
                       count ? "'model' is missing, and more than one model is live"
                             : "no model of the registry is live");
    }
    *ret = only;
    return SW_OK;
}

static sw_status roll_back(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    struct rollback_request r = {0};
    SW_TRY(read_rollback(x, &r, err));
    if (!r.model) {
        SW_TRY(find_only_live(x, registry, &r.model, err));
    }
    SW_TRY(check_not_file(x, r.model, err));
    return sw_api_rollback(x, registry, r.model, r.version, r.reason, err);
}

/* Without a registry the answer is the file's, where there is one. */
static sw_status refuse_rollback(struct sw_http_exchange *x, struct sw_error *err) {
    struct rollback_request r = {0};
    SW_TRY(read_rollback(x, &r, err));
    if (r.model) {
        SW_TRY(check_not_file(x, r.model, err));
    }
    SW_TRY(sw_api_need_registry(sw_api_of(x), err));
    return SW_OK;
}

enum sw_http_result sw_api_models_rollback(struct sw_http_exchange *x) {
    struct sw_error err;
    if (sw_api_of(x)->options.registry) {
        return sw_api_blocking(x, SW_API_QUICK, roll_back);
    }
    sw_status status = refuse_rollback(x, &err);
    SW_ASSERT(status); /* without a registry it has to fail */
    return sw_api_reply_error(x, &err);
}
