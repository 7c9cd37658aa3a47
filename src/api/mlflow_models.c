/* Registered models as MLflow's clients see them: made, shown, described, renamed, deleted, tagged. */
#include "api/mlflow.h"

static sw_status create(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    const char *name, *description = NULL;
    const struct sw_api_field field = {
        .name = "description", .kind = SW_MEMBER_TEXT, .ret = &description, .max = SW_API_DESCRIPTION_MAX};
    json_t *tags;
    json_auto_t *doc = NULL;
    struct sw_actor actor;
    SW_TRY(sw_mlflow_model_name(x, "name", &name, err));
    SW_TRY(sw_mlflow_read(x, &field, 1, err));
    SW_TRY(sw_mlflow_tags(x, &tags, err));
    SW_TRY(sw_api_actor(x, NULL, &actor, err));
    sw_status status = sw_registry_create_model(registry, &actor, name, description, tags, &doc, err);
    if (status) {
        return sw_mlflow_exists(x, status, err);
    }
    return sw_mlflow_reply_model(x, registry, doc, err);
}

enum sw_http_result sw_mlflow_create_model(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, create);
}

static sw_status get(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    const char *name;
    json_auto_t *doc = NULL;
    SW_TRY(sw_mlflow_model_name(x, "name", &name, err));
    SW_TRY(sw_registry_get_model(registry, name, &doc, err));
    return sw_mlflow_reply_model(x, registry, doc, err);
}

enum sw_http_result sw_mlflow_get_model(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, get);
}

/* changes: borrowed. */
static sw_status change(struct sw_http_exchange *x, struct sw_registry *registry, const json_t *changes, json_t **ret,
                        struct sw_error *err) {
    const char *name;
    struct sw_actor actor;
    SW_TRY(sw_mlflow_model_name(x, "name", &name, err));
    SW_TRY(sw_api_actor(x, NULL, &actor, err));
    return sw_registry_update_model(registry, &actor, name, changes, ret, err);
}

static sw_status update(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    json_t *changes;
    json_auto_t *doc = NULL;
    SW_TRY(sw_mlflow_description_change(x, &changes, err));
    SW_TRY(change(x, registry, changes, &doc, err));
    return sw_mlflow_reply_model(x, registry, doc, err);
}

enum sw_http_result sw_mlflow_update_model(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, update);
}

static sw_status change_tag(struct sw_http_exchange *x, struct sw_registry *registry, bool sets, struct sw_error *err) {
    json_t *changes;
    json_auto_t *doc = NULL;
    SW_TRY(sw_mlflow_tag_change(x, sets, &changes, err));
    SW_TRY(change(x, registry, changes, &doc, err));
    sw_mlflow_reply_empty(x);
    return SW_OK;
}

static sw_status set_tag(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    return change_tag(x, registry, true, err);
}

enum sw_http_result sw_mlflow_set_model_tag(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, set_tag);
}

static sw_status delete_tag(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    return change_tag(x, registry, false, err);
}

enum sw_http_result sw_mlflow_delete_model_tag(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, delete_tag);
}

static sw_status rename_model(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    const char *name, *new_name;
    json_auto_t *doc = NULL;
    struct sw_actor actor;
    SW_TRY(sw_mlflow_model_name(x, "name", &name, err));
    SW_TRY(sw_mlflow_model_name(x, "new_name", &new_name, err));
    SW_TRY(sw_api_actor(x, NULL, &actor, err));
    sw_status status = sw_registry_rename_model(registry, &actor, name, new_name, &doc, err);
    if (status) {
        return sw_mlflow_exists(x, status, err);
    }
    return sw_mlflow_reply_model(x, registry, doc, err);
}

enum sw_http_result sw_mlflow_rename_model(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, rename_model);
}

static sw_status delete_model(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    const char *name;
    struct sw_actor actor;
    SW_TRY(sw_mlflow_model_name(x, "name", &name, err));
    SW_TRY(sw_api_actor(x, NULL, &actor, err));
    SW_TRY(sw_registry_delete_model(registry, &actor, name, false, err));
    sw_mlflow_reply_empty(x);
    return SW_OK;
}

enum sw_http_result sw_mlflow_delete_model(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, delete_model);
}
