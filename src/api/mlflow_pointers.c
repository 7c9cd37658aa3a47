/* Aliases and stages as MLflow's clients set them. What makes a version live (alias champion, stage Production) goes
 * through the gates, as anywhere; an MLflow client cannot force. */
#include "api/mlflow.h"

#define CHAMPION "champion"

enum { MESSAGE_MAX = 16 << 10 };

/* The error and what each failed gate says: clients show nothing but the message. */
static void reply_gates(struct sw_http_exchange *x, const json_t *gates, const struct sw_error *err) {
    struct sw_buf message;
    json_t *gate;
    size_t i;
    sw_buf_init_arena(&message, &x->arena, MESSAGE_MAX);
    sw_buf_append_str(&message, sw_str_of(err->message));
    json_array_foreach(gates, i, gate) {
        const char *status = json_string_value(json_object_get(gate, "status"));
        const char *name = json_string_value(json_object_get(gate, "name"));
        const char *detail = json_string_value(json_object_get(gate, "detail"));
        if (status && name && strcmp(status, "failed") == 0) {
            sw_buf_printf(&message, "; %s: %s", name, detail ? detail : "failed");
        }
    }
    sw_mlflow_reply_error(x, 409, "INVALID_STATE", err, message.failed ? err->message : message.data);
}

/* *ret_done false: the gates failed, and the answer says so. */
static sw_status promote(struct sw_http_exchange *x, struct sw_registry *registry, const char *model,
                         const struct sw_promotion *what, bool *ret_done, struct sw_error *err) {
    struct sw_actor actor;
    json_auto_t *doc = NULL, *gates = NULL;
    SW_TRY(sw_api_actor(x, NULL, &actor, err));
    sw_status status = sw_registry_promote(registry, &actor, model, what, &doc, &gates, err);
    *ret_done = !status;
    if (status && gates) {
        reply_gates(x, gates, err);
        return SW_OK;
    }
    return status;
}

/* stages ----------------------------------------------------------------------------------------------------------- */

static sw_status read_stage(struct sw_http_exchange *x, struct sw_promotion *what, struct sw_error *err) {
    const char *stage = NULL;
    const struct sw_api_field fields[] = {
        {.name = "stage", .kind = SW_MEMBER_TEXT, .ret = &stage, .required = true, .max = 64},
        {.name = "archive_existing_versions", .kind = SW_MEMBER_BOOL, .ret = &what->archive_existing},
    };
    SW_TRY(sw_mlflow_read(x, fields, SW_COUNTOF(fields), err));
    SW_TRY(sw_api_stage_name(sw_str_of(stage), &what->stage, err));
    if (what->archive_existing && what->stage != SW_STAGE_STAGING && what->stage != SW_STAGE_PRODUCTION) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "'archive_existing_versions' goes with Staging and Production only");
    }
    return SW_OK;
}

static sw_status transition(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    struct sw_promotion what = {.stage = -1};
    const char *model;
    bool is_done;
    SW_TRY(sw_mlflow_model_name(x, "name", &model, err));
    SW_TRY(sw_mlflow_version_number(x, &what.version, err));
    SW_TRY(read_stage(x, &what, err));
    SW_TRY(promote(x, registry, model, &what, &is_done, err));
    return is_done ? sw_mlflow_reply_version(x, registry, model, what.version, err) : SW_OK;
}

enum sw_http_result sw_mlflow_transition_stage(struct sw_http_exchange *x) {
    struct sw_promotion what = {.stage = -1};
    struct sw_error err;
    if (read_stage(x, &what, &err)) {
        return sw_api_reply_error(x, &err);
    }
    return sw_api_blocking(x, what.stage == SW_STAGE_PRODUCTION ? SW_API_GATES : SW_API_QUICK, transition);
}

/* aliases ---------------------------------------------------------------------------------------------------------- */

static sw_status set_alias(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    struct sw_promotion what = {.stage = -1};
    const char *model;
    bool is_done;
    SW_TRY(sw_mlflow_model_name(x, "name", &model, err));
    SW_TRY(sw_mlflow_alias_name(x, &what.alias, err));
    SW_TRY(sw_mlflow_version_number(x, &what.version, err));
    SW_TRY(promote(x, registry, model, &what, &is_done, err));
    if (is_done) {
        sw_mlflow_reply_empty(x);
    }
    return SW_OK;
}

enum sw_http_result sw_mlflow_set_alias(struct sw_http_exchange *x) {
    const char *alias;
    struct sw_error err;
    if (sw_mlflow_alias_name(x, &alias, &err)) {
        return sw_api_reply_error(x, &err);
    }
    return sw_api_blocking(x, strcmp(alias, CHAMPION) == 0 ? SW_API_GATES : SW_API_QUICK, set_alias);
}

static sw_status get_alias(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    const char *model, *alias;
    SW_TRY(sw_mlflow_model_name(x, "name", &model, err));
    SW_TRY(sw_mlflow_alias_name(x, &alias, err));
    return sw_mlflow_reply_version(x, registry, model, alias, err);
}

enum sw_http_result sw_mlflow_get_alias(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, get_alias);
}

/* Deleting an alias that is not there succeeds, as it does with MLflow; the model must be. */
static sw_status delete_alias(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    const char *model, *alias;
    struct sw_actor actor;
    json_auto_t *doc = NULL;
    SW_TRY(sw_mlflow_model_name(x, "name", &model, err));
    SW_TRY(sw_mlflow_alias_name(x, &alias, err));
    SW_TRY(sw_api_actor(x, NULL, &actor, err));
    sw_status status = sw_registry_delete_alias(registry, &actor, model, alias, err);
    if (status == SW_E_NOT_FOUND) {
        status = sw_registry_get_model(registry, model, &doc, err);
    }
    SW_TRY(status);
    sw_mlflow_reply_empty(x);
    return SW_OK;
}

enum sw_http_result sw_mlflow_delete_alias(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, delete_alias);
}
