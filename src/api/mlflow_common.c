/* Requests and documents of the routes for MLflow's clients: see mlflow.h. */
#include "api/mlflow.h"

#include <time.h>

/* requests --------------------------------------------------------------------------------------------------------- */

static void release(void *arg) {
    json_decref(arg);
}

sw_status sw_mlflow_keep(struct sw_http_exchange *x, json_t *json, struct sw_error *err) {
    if (!json || !sw_arena_defer(&x->arena, release, json)) {
        json_decref(json);
        return sw_api_no_memory(err);
    }
    return SW_OK;
}

/* The body, parsed once: it is the exchange's state from then on. */
static sw_status body_of(struct sw_http_exchange *x, json_t **ret, struct sw_error *err) {
    json_t *body = x->state;
    if (!body) {
        SW_TRY(sw_api_body(x, true, &body, err));
        x->state = body;
    }
    *ret = body;
    return SW_OK;
}

sw_status sw_mlflow_read(struct sw_http_exchange *x, const struct sw_api_field *fields, size_t count,
                         struct sw_error *err) {
    json_t *body;
    SW_TRY(body_of(x, &body, err));
    json_auto_t *known = json_object();
    for (size_t i = 0; i < count; i++) {
        json_t *value = json_object_get(body, fields[i].name);
        if (value && json_object_set(known, fields[i].name, value)) {
            return sw_api_no_memory(err);
        }
    }
    return sw_api_fields(x, known, fields, count, err);
}

static sw_status read_text(struct sw_http_exchange *x, const char *key, const char **ret, struct sw_error *err) {
    const char *text = NULL;
    if (x->method == SW_HTTP_GET || x->method == SW_HTTP_HEAD) {
        SW_TRY(sw_api_query_text(x, key, SW_MLFLOW_TEXT_MAX, &text, err));
    } else {
        const struct sw_api_field field = {
            .name = key, .kind = SW_MEMBER_TEXT, .ret = &text, .max = SW_MLFLOW_TEXT_MAX};
        SW_TRY(sw_mlflow_read(x, &field, 1, err));
    }
    if (!text) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "'%s' is missing", key);
    }
    *ret = text;
    return SW_OK;
}

sw_status sw_mlflow_model_name(struct sw_http_exchange *x, const char *key, const char **ret, struct sw_error *err) {
    const char *text;
    SW_TRY(read_text(x, key, &text, err));
    return sw_api_model_name(x, sw_str_of(text), ret, err);
}

sw_status sw_mlflow_alias_name(struct sw_http_exchange *x, const char **ret, struct sw_error *err) {
    const char *text;
    SW_TRY(read_text(x, "alias", &text, err));
    return sw_api_alias_name(x, sw_str_of(text), ret, err);
}

static sw_status check_number(const char *text, const char **ret, struct sw_error *err) {
    int64_t number;
    if (text[0] < '1' || text[0] > '9' || !sw_parse_i64(sw_str_of(text), &number)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "'version' is '%.100s': a number from 1 is wanted", text);
    }
    *ret = text;
    return SW_OK;
}

sw_status sw_mlflow_version_number(struct sw_http_exchange *x, const char **ret, struct sw_error *err) {
    const char *text = NULL;
    if (x->method == SW_HTTP_GET || x->method == SW_HTTP_HEAD) {
        SW_TRY(read_text(x, "version", &text, err));
    } else {
        const struct sw_api_field field = {
            .name = "version", .kind = SW_MEMBER_VERSION, .ret = &text, .required = true};
        SW_TRY(sw_mlflow_read(x, &field, 1, err));
    }
    return check_number(text, ret, err);
}

sw_status sw_mlflow_tags(struct sw_http_exchange *x, json_t **ret, struct sw_error *err) {
    json_t *list = NULL, *entry, *tags = json_object();
    const struct sw_api_field field = {.name = "tags", .kind = SW_MEMBER_ARRAY, .ret = &list};
    size_t i;
    SW_TRY(sw_mlflow_keep(x, tags, err));
    SW_TRY(sw_mlflow_read(x, &field, 1, err));
    json_array_foreach(list, i, entry) {
        const char *key = json_string_value(json_object_get(entry, "key"));
        json_t *value = json_object_get(entry, "value");
        if (!key || (value && !json_is_string(value))) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "'tags' must be a list of objects with the texts key and value");
        }
        if (value ? json_object_set(tags, key, value) : json_object_set_new(tags, key, json_string(""))) {
            return sw_api_no_memory(err);
        }
    }
    *ret = list ? tags : NULL;
    return SW_OK;
}

sw_status sw_mlflow_tag_change(struct sw_http_exchange *x, bool sets, json_t **ret, struct sw_error *err) {
    const char *key = NULL, *value = "";
    const struct sw_api_field fields[] = {
        {.name = "key", .kind = SW_MEMBER_TEXT, .ret = &key, .required = true, .max = SW_MLFLOW_TEXT_MAX},
        {.name = "value", .kind = SW_MEMBER_TEXT, .ret = &value, .max = 64 << 10},
    };
    SW_TRY(sw_mlflow_read(x, fields, sets ? 2 : 1, err));
    json_t *changes = sets ? json_pack("{s:{s:s}}", "tags", key, value) : json_pack("{s:{s:n}}", "tags", key);
    SW_TRY(sw_mlflow_keep(x, changes, err));
    *ret = changes;
    return SW_OK;
}

sw_status sw_mlflow_description_change(struct sw_http_exchange *x, json_t **ret, struct sw_error *err) {
    const char *description = NULL;
    const struct sw_api_field field = {
        .name = "description", .kind = SW_MEMBER_TEXT, .ret = &description, .max = SW_API_DESCRIPTION_MAX};
    SW_TRY(sw_mlflow_read(x, &field, 1, err));
    json_t *changes = json_pack("{s:s?}", "description", description);
    SW_TRY(sw_mlflow_keep(x, changes, err));
    *ret = changes;
    return SW_OK;
}

/* answers ---------------------------------------------------------------------------------------------------------- */

void sw_mlflow_reply_empty(struct sw_http_exchange *x) {
    sw_http_reply(x, 200, SW_API_JSON, SW_STR("{}"));
}

void sw_mlflow_reply(struct sw_http_exchange *x, const char *key, json_t *value) {
    json_auto_t *doc = json_object();
    json_object_set_new(doc, key, value);
    sw_api_reply_doc(x, 200, doc);
}

void sw_mlflow_reply_error(struct sw_http_exchange *x, int status, const char *error_code, const struct sw_error *err,
                           const char *message) {
    struct sw_buf out;
    sw_http_reply_error(x, err); /* x->error, and what is sent when memory runs out below */
    sw_api_buf(x, &out);
    sw_buf_append_c(&out, '{');
    sw_api_put_string(&out, "error_code", error_code);
    sw_buf_append_c(&out, ',');
    sw_api_put_string(&out, "message", message);
    sw_buf_append_c(&out, '}');
    if (!out.failed) {
        sw_api_reply(x, status, &out);
    }
}

sw_status sw_mlflow_exists(struct sw_http_exchange *x, sw_status status, const struct sw_error *err) {
    if (status != SW_E_CONFLICT) {
        return status;
    }
    sw_mlflow_reply_error(x, 400, "RESOURCE_ALREADY_EXISTS", err, err->message);
    return SW_OK;
}

/* documents -------------------------------------------------------------------------------------------------------- */

/* The registry's times are "2027-01-15T08:00:00.000Z". */
static json_t *milliseconds(const json_t *time) {
    struct tm tm = {0};
    uint64_t fraction;
    const char *rest = json_is_string(time) ? strptime(json_string_value(time), "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
    bool is_good = rest && rest[0] == '.' && strlen(rest) == 5 && sw_parse_u64((struct sw_str){rest + 1, 3}, &fraction);
    return is_good ? json_integer((json_int_t)timegm(&tm) * 1000 + (json_int_t)fraction) : NULL;
}

/* A text that is there and not empty. */
static void copy_text(json_t *to, const char *key, const json_t *from) {
    const char *text = json_string_value(from);
    if (text && *text) {
        json_object_set(to, key, (json_t *)(uintptr_t)from);
    }
}

static void put_tags(json_t *to, const json_t *tags) {
    const char *key;
    json_t *value, *list = json_array();
    json_object_foreach((json_t *)(uintptr_t)tags, key, value) {
        json_array_append_new(list, json_pack("{s:s, s:O}", "key", key, "value", value));
    }
    if (json_array_size(list)) {
        json_object_set(to, "tags", list);
    }
    json_decref(list);
}

static json_t *number_text(const json_t *number) {
    return json_sprintf("%lld", (long long)json_integer_value(number));
}

json_t *sw_mlflow_version(const json_t *version) {
    json_t *doc = json_object(), *aliases = json_object_get(version, "aliases");
    const char *name = json_string_value(json_object_get(version, "model"));
    json_t *number = json_object_get(version, "version");
    json_object_set(doc, "name", json_object_get(version, "model"));
    json_object_set_new(doc, "version", number_text(number));
    json_object_set_new(doc, "creation_timestamp", milliseconds(json_object_get(version, "created_at")));
    json_object_set_new(doc, "last_updated_timestamp", milliseconds(json_object_get(version, "updated_at")));
    copy_text(doc, "user_id", json_object_get(version, "created_by"));
    json_object_set(doc, "current_stage", json_object_get(version, "stage"));
    copy_text(doc, "description", json_object_get(version, "description"));
    copy_text(doc, "source", json_object_get(version, "source"));
    if (!json_object_get(doc, "source")) { /* it came another way: where its files can be read, at least */
        json_object_set_new(doc, "source",
                            json_sprintf(SW_MLFLOW_SCHEME "/" SW_MLFLOW_FOLDER "/%s/%lld", name,
                                         (long long)json_integer_value(number)));
    }
    copy_text(doc, "run_id", json_object_get(version, "run_id"));
    json_object_set_new(doc, "status", json_string("READY"));
    put_tags(doc, json_object_get(version, "tags"));
    if (json_array_size(aliases)) {
        json_object_set(doc, "aliases", aliases);
    }
    return doc;
}

json_t *sw_mlflow_versions(const json_t *versions) {
    json_t *list = json_array(), *version;
    size_t i;
    json_array_foreach(versions, i, version) {
        json_array_append_new(list, sw_mlflow_version(version));
    }
    return list;
}

static void put_aliases(json_t *to, const json_t *aliases) {
    const char *alias;
    json_t *number, *list = json_array();
    json_object_foreach((json_t *)(uintptr_t)aliases, alias, number) {
        json_array_append_new(list, json_pack("{s:s, s:o}", "alias", alias, "version", number_text(number)));
    }
    if (json_array_size(list)) {
        json_object_set(to, "aliases", list);
    }
    json_decref(list);
}

json_t *sw_mlflow_model(const json_t *model, const json_t *versions) {
    json_t *doc = json_object();
    json_object_set(doc, "name", json_object_get(model, "name"));
    json_object_set_new(doc, "creation_timestamp", milliseconds(json_object_get(model, "created_at")));
    json_object_set_new(doc, "last_updated_timestamp", milliseconds(json_object_get(model, "updated_at")));
    copy_text(doc, "user_id", json_object_get(model, "created_by"));
    copy_text(doc, "description", json_object_get(model, "description"));
    if (json_array_size(versions)) {
        json_object_set_new(doc, "latest_versions", sw_mlflow_versions(versions));
    }
    put_tags(doc, json_object_get(model, "tags"));
    put_aliases(doc, json_object_get(model, "aliases"));
    return doc;
}

sw_status sw_mlflow_reply_model(struct sw_http_exchange *x, struct sw_registry *registry, const json_t *model,
                                struct sw_error *err) {
    json_auto_t *names = json_pack("[O]", json_object_get(model, "name")), *newest = NULL;
    SW_TRY(sw_registry_newest_versions(registry, names, &newest, err));
    sw_mlflow_reply(x, "registered_model", sw_mlflow_model(model, json_object_get(newest, "versions")));
    return SW_OK;
}

sw_status sw_mlflow_reply_version(struct sw_http_exchange *x, struct sw_registry *registry, const char *model,
                                  const char *version, struct sw_error *err) {
    json_auto_t *doc = NULL;
    SW_TRY(sw_registry_get_version(registry, model, version, &doc, err));
    sw_mlflow_reply(x, "model_version", sw_mlflow_version(doc));
    return SW_OK;
}
