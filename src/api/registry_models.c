/* Models of the registry: list, create, show, change, delete. */
#include "api/registry_common.h"

enum { TAG_MAX = 8192 };

/* "KEY=VALUE" of the query into the filter. */
static sw_status read_tag(struct sw_http_exchange *x, struct sw_model_filter *filter, struct sw_error *err) {
    const char *text = NULL;
    struct sw_str key;
    SW_TRY(sw_api_query_text(x, "tag", TAG_MAX, &text, err));
    if (!text) {
        return SW_OK;
    }
    struct sw_str value = sw_str_split(sw_str_of(text), '=', &key);
    if (!value.data || !sw_registry_key_valid(key)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "query argument 'tag' is '%s': KEY=VALUE is wanted", text);
    }
    filter->tag_key = sw_arena_strdup(&x->arena, key);
    filter->tag_value = sw_arena_strdup(&x->arena, value);
    return filter->tag_key && filter->tag_value ? SW_OK : sw_api_no_memory(err);
}

static sw_status list(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    struct sw_model_filter filter = {0};
    struct sw_page page;
    json_auto_t *doc = NULL;
    SW_TRY(sw_api_query_page(x, &page, err));
    SW_TRY(sw_api_query_text(x, "prefix", 128, &filter.name_prefix, err));
    SW_TRY(read_tag(x, &filter, err));
    SW_TRY(sw_registry_list_models(registry, &filter, &page, &doc, err));
    sw_api_reply_doc(x, 200, doc);
    return SW_OK;
}

enum sw_http_result sw_api_registry_models(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, list);
}

static sw_status create(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    const char *text = NULL, *description = NULL, *name;
    json_t *tags = NULL;
    const struct sw_api_field fields[] = {
        {.name = "name", .kind = SW_MEMBER_TEXT, .ret = &text, .required = true, .max = 4096},
        {.name = "description", .kind = SW_MEMBER_TEXT, .ret = &description, .max = SW_API_DESCRIPTION_MAX},
        {.name = "tags", .kind = SW_MEMBER_OBJECT, .ret = &tags},
    };
    struct sw_actor actor;
    json_auto_t *doc = NULL;
    SW_TRY(sw_api_read(x, false, fields, SW_COUNTOF(fields), err));
    SW_TRY(sw_api_model_name(x, sw_str_of(text), &name, err));
    SW_TRY(sw_api_actor(x, NULL, &actor, err));
    SW_TRY(sw_registry_create_model(registry, &actor, name, description, tags, &doc, err));
    sw_api_location(x, "/api/v1/models/%s", name);
    sw_api_reply_doc(x, 201, doc);
    return SW_OK;
}

enum sw_http_result sw_api_registry_create_model(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, create);
}

static sw_status show(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    const char *name;
    json_auto_t *doc = NULL;
    SW_TRY(sw_api_model_name(x, x->params[0], &name, err));
    SW_TRY(sw_registry_get_model(registry, name, &doc, err));
    sw_api_reply_doc(x, 200, doc);
    return SW_OK;
}

enum sw_http_result sw_api_registry_model(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, show);
}

static sw_status update(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    const char *name, *description;
    json_t *body, *tags, *policy;
    const struct sw_api_field fields[] = {
        {.name = "description", .kind = SW_MEMBER_TEXT, .ret = &description, .max = SW_API_DESCRIPTION_MAX},
        {.name = "tags", .kind = SW_MEMBER_OBJECT, .ret = &tags},
        {.name = "policy", .kind = SW_MEMBER_ANY, .ret = &policy},
    };
    struct sw_actor actor;
    json_auto_t *doc = NULL;
    SW_TRY(sw_api_model_name(x, x->params[0], &name, err));
    SW_TRY(sw_api_body(x, false, &body, err));
    SW_TRY(sw_api_fields(x, body, fields, SW_COUNTOF(fields), err));
    SW_TRY(sw_api_actor(x, NULL, &actor, err));
    SW_TRY(sw_registry_update_model(registry, &actor, name, body, &doc, err));
    sw_api_reply_doc(x, 200, doc);
    return SW_OK;
}

enum sw_http_result sw_api_registry_update_model(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, update);
}

static sw_status remove_model(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    const char *name, *reason = NULL;
    bool force = false;
    struct sw_actor actor;
    SW_TRY(sw_api_model_name(x, x->params[0], &name, err));
    SW_TRY(sw_api_query_bool(x, "force", &force, err));
    SW_TRY(sw_api_query_text(x, "reason", SW_API_REASON_MAX, &reason, err));
    SW_TRY(sw_api_actor(x, reason, &actor, err));
    SW_TRY(sw_registry_delete_model(registry, &actor, name, force, err));
    sw_api_reply_nothing(x);
    return SW_OK;
}

enum sw_http_result sw_api_registry_delete_model(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, remove_model);
}
