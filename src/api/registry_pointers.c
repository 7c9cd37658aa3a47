/* Aliases, stages, promotion and rollback: which version a name means, and which one is live. */
#include "api/registry_common.h"

#define CHAMPION "champion"

/* ---- aliases */

static sw_status list_aliases(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    const char *model;
    json_auto_t *doc = NULL;
    SW_TRY(sw_api_model_name(x, x->params[0], &model, err));
    SW_TRY(sw_registry_list_aliases(registry, model, &doc, err));
    sw_api_reply_doc(x, 200, doc);
    return SW_OK;
}

enum sw_http_result sw_api_registry_aliases(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, list_aliases);
}

static sw_status show_alias(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    const char *model, *alias;
    json_auto_t *doc = NULL;
    SW_TRY(sw_api_model_name(x, x->params[0], &model, err));
    SW_TRY(sw_api_alias_name(x, x->params[1], &alias, err));
    SW_TRY(sw_registry_get_alias(registry, model, alias, &doc, err));
    sw_api_version_header(x, doc, "version");
    sw_api_reply_doc(x, 200, doc);
    return SW_OK;
}

enum sw_http_result sw_api_registry_alias(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, show_alias);
}

static sw_status delete_alias(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    const char *model, *alias, *reason = NULL;
    struct sw_actor actor;
    SW_TRY(sw_api_model_name(x, x->params[0], &model, err));
    SW_TRY(sw_api_alias_name(x, x->params[1], &alias, err));
    SW_TRY(sw_api_query_text(x, "reason", SW_API_REASON_MAX, &reason, err));
    SW_TRY(sw_api_actor(x, reason, &actor, err));
    SW_TRY(sw_registry_delete_alias(registry, &actor, model, alias, err));
    sw_api_reply_nothing(x);
    return SW_OK;
}

enum sw_http_result sw_api_registry_delete_alias(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, delete_alias);
}

/* ---- promotion, of which setting an alias and moving to a stage are parts
 *
 * What is asked for decides the lane, so bodies are read on the I/O thread: they are small (control_body_max). */

struct promotion {
    struct sw_promotion what;
    const char *model;
    struct sw_actor actor;
};

/* 409 with the gates as details. */
static void reply_gates(struct sw_http_exchange *x, json_t *gates, const struct sw_error *err) {
    json_auto_t *details = json_object();
    json_object_set(details, "gates", gates);
    sw_api_reply_details(x, err, details);
}

static sw_status promote(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    const struct promotion *p = x->state;
    json_auto_t *doc = NULL, *gates = NULL;
    sw_status status = sw_registry_promote(registry, &p->actor, p->model, &p->what, &doc, &gates, err);
    if (status && gates) {
        reply_gates(x, gates, err);
        return SW_OK;
    }
    SW_TRY(status);
    sw_api_version_header(x, doc, "version");
    sw_api_reply_doc(x, 200, doc);
    return SW_OK;
}

/* Members that all three requests have, then `more`. */
static sw_status read_promotion(struct sw_http_exchange *x, struct promotion *p, const struct sw_api_field *more,
                                size_t more_count, struct sw_error *err) {
    const char *reason = NULL;
    struct sw_api_field fields[8] = {
        {.name = "version", .kind = SW_MEMBER_VERSION, .ret = &p->what.version, .required = true},
        {.name = "force", .kind = SW_MEMBER_BOOL, .ret = &p->what.force},
        {.name = "reason", .kind = SW_MEMBER_TEXT, .ret = &reason, .max = SW_API_REASON_MAX},
        {.name = "allow_breaking", .kind = SW_MEMBER_BOOL, .ret = &p->what.allow_breaking},
    };
    SW_ASSERT(4 + more_count <= SW_COUNTOF(fields));
    for (size_t i = 0; i < more_count; i++) {
        fields[4 + i] = more[i];
    }
    SW_TRY(sw_api_model_name(x, x->params[0], &p->model, err));
    SW_TRY(sw_api_read(x, false, fields, 4 + more_count, err));
    SW_TRY(sw_api_actor(x, reason, &p->actor, err));
    if (p->what.force && !(reason && *reason)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "'force' needs a 'reason'");
    }
    return SW_OK;
}

static enum sw_http_result start(struct sw_http_exchange *x, struct promotion *p) {
    bool has_gates = p->what.stage == SW_STAGE_PRODUCTION || (p->what.alias && strcmp(p->what.alias, CHAMPION) == 0);
    x->state = p;
    return sw_api_blocking(x, has_gates ? SW_API_GATES : SW_API_QUICK, promote);
}

static struct promotion *new_promotion(struct sw_http_exchange *x, struct sw_error *err) {
    struct promotion *p = sw_arena_calloc(&x->arena, 1, sizeof *p);
    if (!p) {
        sw_api_no_memory(err);
        return NULL;
    }
    p->what.stage = -1;
    return p;
}

enum sw_http_result sw_api_registry_set_alias(struct sw_http_exchange *x) {
    struct sw_error err;
    struct promotion *p = new_promotion(x, &err);
    if (!p || read_promotion(x, p, NULL, 0, &err) || sw_api_alias_name(x, x->params[1], &p->what.alias, &err)) {
        return sw_api_reply_error(x, &err);
    }
    return start(x, p);
}

enum sw_http_result sw_api_registry_set_stage(struct sw_http_exchange *x) {
    struct sw_error err;
    struct promotion *p = new_promotion(x, &err);
    if (!p) {
        return sw_api_reply_error(x, &err);
    }
    const struct sw_api_field more[] = {
        {.name = "archive_existing", .kind = SW_MEMBER_BOOL, .ret = &p->what.archive_existing},
    };
    if (read_promotion(x, p, more, SW_COUNTOF(more), &err) || sw_api_stage_name(x->params[1], &p->what.stage, &err)) {
        return sw_api_reply_error(x, &err);
    }
    return start(x, p);
}

/* Without alias and stage: the whole way to live. */
static sw_status choose_target(struct sw_http_exchange *x, struct promotion *p, const char *alias, const char *stage,
                               const json_t *archive_existing, struct sw_error *err) {
    if (archive_existing && !json_is_boolean(archive_existing)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "'archive_existing' must be true or false");
    }
    p->what.archive_existing = json_is_true(archive_existing);
    if (!alias && !stage) {
        p->what.alias = CHAMPION;
        p->what.stage = SW_STAGE_PRODUCTION;
        p->what.archive_existing = !json_is_false(archive_existing);
        return SW_OK;
    }
    if (alias) {
        SW_TRY(sw_api_alias_name(x, sw_str_of(alias), &p->what.alias, err));
    }
    return stage ? sw_api_stage_name(sw_str_of(stage), &p->what.stage, err) : SW_OK;
}

enum sw_http_result sw_api_registry_promote(struct sw_http_exchange *x) {
    struct sw_error err;
    const char *alias = NULL, *stage = NULL;
    json_t *archive_existing = NULL;
    const struct sw_api_field more[] = {
        {.name = "alias", .kind = SW_MEMBER_TEXT, .ret = &alias, .max = 1024},
        {.name = "stage", .kind = SW_MEMBER_TEXT, .ret = &stage, .max = 64},
        {.name = "archive_existing", .kind = SW_MEMBER_ANY, .ret = &archive_existing},
    };
    struct promotion *p = new_promotion(x, &err);
    if (!p || read_promotion(x, p, more, SW_COUNTOF(more), &err) ||
        choose_target(x, p, alias, stage, archive_existing, &err)) {
        return sw_api_reply_error(x, &err);
    }
    return start(x, p);
}

/* ---- rollback and history */

sw_status sw_api_rollback(struct sw_http_exchange *x, struct sw_registry *registry, const char *model,
                          const char *version, const char *reason, struct sw_error *err) {
    struct sw_actor actor;
    json_auto_t *doc = NULL;
    SW_TRY(sw_api_actor(x, reason, &actor, err));
    SW_TRY(sw_registry_rollback(registry, &actor, model, version, &doc, err));
    sw_api_version_header(x, doc, "version");
    sw_api_reply_doc(x, 200, doc);
    return SW_OK;
}

static sw_status roll_back(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    const char *model, *version = NULL, *reason = NULL;
    const struct sw_api_field fields[] = {
        {.name = "version", .kind = SW_MEMBER_VERSION, .ret = &version},
        {.name = "reason", .kind = SW_MEMBER_TEXT, .ret = &reason, .max = SW_API_REASON_MAX},
    };
    SW_TRY(sw_api_model_name(x, x->params[0], &model, err));
    SW_TRY(sw_api_read(x, true, fields, SW_COUNTOF(fields), err));
    return sw_api_rollback(x, registry, model, version, reason, err);
}

enum sw_http_result sw_api_registry_rollback(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, roll_back);
}

static sw_status history(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    const char *model;
    uint64_t limit = 100;
    json_auto_t *doc = NULL;
    SW_TRY(sw_api_model_name(x, x->params[0], &model, err));
    SW_TRY(sw_api_query_number(x, "limit", 1, 1000, &limit, err));
    SW_TRY(sw_registry_history(registry, model, limit, &doc, err));
    sw_api_reply_doc(x, 200, doc);
    return SW_OK;
}

enum sw_http_result sw_api_registry_history(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, history);
}
