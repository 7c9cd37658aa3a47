/* Who asks, and parameters of path and query: each is checked here before the registry sees it, and an error names it.
 * */
#include "api/registry_common.h"

enum { ACTOR_MAX = 128, PAGE_MAX = 1000, PAGE_TOKEN_MAX = 1024 };

/* ---- texts */

static bool is_clean(struct sw_str text, bool lines) {
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        bool is_space = c == '\t' || c == '\n' || c == '\r';
        if (c == 0x7f || (c < 0x20 && !(lines && is_space))) {
            return false;
        }
    }
    return sw_utf8_valid(text);
}

static sw_status copy(struct sw_http_exchange *x, struct sw_str text, const char **ret, struct sw_error *err) {
    const char *text_copy = sw_arena_strdup(&x->arena, text);
    if (!text_copy) {
        return sw_api_no_memory(err);
    }
    *ret = text_copy;
    return SW_OK;
}

sw_status sw_api_text(struct sw_http_exchange *x, struct sw_str text, const char *what, size_t max, const char **ret,
                      struct sw_error *err) {
    if (text.len > max) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "%s is longer than %zu bytes", what, max);
    }
    if (!is_clean(text, true)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "%s is not clean UTF-8 text", what);
    }
    return copy(x, text, ret, err);
}

sw_status sw_api_actor(struct sw_http_exchange *x, const char *reason, struct sw_actor *ret, struct sw_error *err) {
    struct sw_str claimed = sw_http_header(x, "X-Slipway-Actor");
    const char *name = "anonymous";
    if (claimed.data) {
        if (claimed.len == 0 || claimed.len > ACTOR_MAX || !is_clean(claimed, false)) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "header X-Slipway-Actor: 1 to %d bytes of UTF-8 are wanted",
                           ACTOR_MAX);
        }
        name = sw_arena_printf(&x->arena, "claimed:%.*s", (int)claimed.len, claimed.data);
        if (!name) {
            return sw_api_no_memory(err);
        }
    }
    *ret = (struct sw_actor){.name = name, .request_id = x->request_id, .reason = reason};
    return SW_OK;
}

sw_status sw_api_model_name(struct sw_http_exchange *x, struct sw_str name, const char **ret, struct sw_error *err) {
    if (!sw_registry_name_valid(name)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT,
                       "model name '" SW_STR_FMT
                       "': 1 to 128 letters, digits, '.', '_' and '-' are wanted, the first a "
                       "letter or digit",
                       SW_STR_ARG(name));
    }
    return copy(x, name, ret, err);
}

sw_status sw_api_version_ref(struct sw_http_exchange *x, struct sw_str version, const char **ret,
                             struct sw_error *err) {
    int64_t number;
    bool is_number = version.len && version.data[0] >= '1' && version.data[0] <= '9' && sw_parse_i64(version, &number);
    if (!is_number && !sw_str_is(version, "live") && !sw_registry_alias_valid(version)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT,
                       "version '" SW_STR_FMT "': a number from 1, an alias, or \"live\" is wanted",
                       SW_STR_ARG(version));
    }
    return copy(x, version, ret, err);
}

sw_status sw_api_alias_name(struct sw_http_exchange *x, struct sw_str alias, const char **ret, struct sw_error *err) {
    if (!sw_registry_alias_valid(alias)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT,
                       "alias '" SW_STR_FMT "': 1 to 128 letters, digits, '.', '_' and '-' are wanted, and no number, "
                       "\"latest\", \"live\" or v and digits",
                       SW_STR_ARG(alias));
    }
    return copy(x, alias, ret, err);
}

sw_status sw_api_stage_name(struct sw_str text, int *ret, struct sw_error *err) {
    enum sw_stage stage;
    if (!sw_stage_parse(text, &stage)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "stage '" SW_STR_FMT "': None, Staging, Production or Archived",
                       SW_STR_ARG(text));
    }
    *ret = (int)stage;
    return SW_OK;
}

/* ---- query */

sw_status sw_api_query_text(struct sw_http_exchange *x, const char *name, size_t max, const char **ret,
                            struct sw_error *err) {
    char what[64];
    struct sw_str text = sw_http_query(x, name);
    if (!text.data) {
        return SW_OK;
    }
    snprintf(what, sizeof what, "query argument '%s'", name);
    return sw_api_text(x, text, what, max, ret, err);
}

sw_status sw_api_query_number(struct sw_http_exchange *x, const char *name, uint64_t min, uint64_t max, uint64_t *ret,
                              struct sw_error *err) {
    struct sw_str text = sw_http_query(x, name);
    uint64_t number;
    if (!text.data) {
        return SW_OK;
    }
    if (!sw_parse_u64(text, &number) || number < min || number > max) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT,
                       "query argument '%s' is '" SW_STR_FMT "': a number from %llu to %llu is wanted", name,
                       SW_STR_ARG(text), (unsigned long long)min, (unsigned long long)max);
    }
    *ret = number;
    return SW_OK;
}

sw_status sw_api_query_bool(struct sw_http_exchange *x, const char *name, bool *ret, struct sw_error *err) {
    struct sw_str text = sw_http_query(x, name);
    if (!text.data) {
        return SW_OK;
    }
    if (!sw_str_is(text, "true") && !sw_str_is(text, "false")) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "query argument '%s' is '" SW_STR_FMT "': true or false is wanted",
                       name, SW_STR_ARG(text));
    }
    *ret = sw_str_is(text, "true");
    return SW_OK;
}

sw_status sw_api_query_time(struct sw_http_exchange *x, const char *name, uint64_t *ret, struct sw_error *err) {
    const char *text = NULL;
    SW_TRY(sw_api_query_text(x, name, 64, &text, err));
    if (text && !sw_parse_u64(sw_str_of(text), ret) && !sw_parse_timestamp(sw_str_of(text), ret)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT,
                       "query argument '%s' is '%s': a time as 2026-11-20T21:51:18Z, or milliseconds since 1970, is "
                       "wanted",
                       name, text);
    }
    return SW_OK;
}

sw_status sw_api_query_page(struct sw_http_exchange *x, struct sw_page *ret, struct sw_error *err) {
    uint64_t limit = 100;
    const char *token = NULL;
    SW_TRY(sw_api_query_number(x, "limit", 1, PAGE_MAX, &limit, err));
    SW_TRY(sw_api_query_text(x, "page_token", PAGE_TOKEN_MAX, &token, err));
    *ret = (struct sw_page){.limit = limit, .token = token && *token ? token : NULL};
    return SW_OK;
}
