/* JSON bodies of control requests: strict, and bounded in the memory they take.
 *
 * jansson takes some 100 bytes for a value, which three bytes of text can make ("[],"). So before parsing, everything
 * that may begin another value is counted. */
#include "api/registry_common.h"

enum { VALUES_MAX = 200000, KEY_SHOWN_MAX = 64 };

static sw_status check_type(struct sw_http_exchange *x, struct sw_error *err) {
    struct sw_str media;
    (void)sw_str_split(sw_http_header(x, "Content-Type"), ';', &media);
    media = sw_str_trim(media);
    if (media.len == 0 || sw_str_ieq(media, SW_STR("application/json")) || sw_str_ends(media, SW_STR("+json"))) {
        return SW_OK;
    }
    return sw_fail(err, SW_E_UNSUPPORTED_MEDIA,
                   "content type '" SW_STR_FMT "' is not understood here: send "
                   "application/json",
                   SW_STR_ARG(media));
}

static sw_status check_size(struct sw_str body, struct sw_error *err) {
    if (body.len > SW_API_BODY_MAX) {
        return sw_fail(err, SW_E_TOO_LARGE, "the body has %zu bytes, at most %d are taken here", body.len,
                       SW_API_BODY_MAX);
    }
    size_t values = 1;
    for (size_t i = 0; i < body.len; i++) {
        char c = body.data[i];
        values += c == ',' || c == '[' || c == '{';
    }
    if (values > VALUES_MAX) {
        return sw_fail(err, SW_E_TOO_LARGE, "the body has more than %d values", VALUES_MAX);
    }
    return SW_OK;
}

static bool is_blank(struct sw_str body) {
    for (size_t i = 0; i < body.len; i++) {
        if (!strchr(" \t\r\n", body.data[i]) || body.data[i] == '\0') {
            return false;
        }
    }
    return true;
}

static void release(void *arg) {
    json_decref(arg);
}

/* The arena's from here on. */
static sw_status keep(struct sw_http_exchange *x, json_t *json, json_t **ret, struct sw_error *err) {
    if (!json || !sw_arena_defer(&x->arena, release, json)) {
        json_decref(json);
        return sw_api_no_memory(err);
    }
    *ret = json;
    return SW_OK;
}

sw_status sw_api_body(struct sw_http_exchange *x, bool optional, json_t **ret, struct sw_error *err) {
    if (optional && is_blank(x->body)) {
        return keep(x, json_object(), ret, err);
    }
    SW_TRY(check_type(x, err));
    SW_TRY(check_size(x->body, err));
    json_error_t why;
    json_t *json = json_loadb(x->body.data ? x->body.data : "", x->body.len, JSON_REJECT_DUPLICATES, &why);
    if (!json) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "the body is not JSON: %s, at byte %d", why.text, why.position);
    }
    if (!json_is_object(json)) {
        json_decref(json);
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "the body must be a JSON object");
    }
    return keep(x, json, ret, err);
}

/* ---- members */

static sw_status wrong(const struct sw_api_field *f, const char *wanted, struct sw_error *err) {
    return sw_fail(err, SW_E_INVALID_ARGUMENT, "'%s' must be %s", f->name, wanted);
}

static sw_status take_text(struct sw_http_exchange *x, const json_t *value, const struct sw_api_field *f,
                           struct sw_error *err) {
    char what[80];
    if (!json_is_string(value)) {
        return wrong(f, "a text", err);
    }
    snprintf(what, sizeof what, "'%s'", f->name);
    struct sw_str text = {json_string_value(value), json_string_length(value)};
    return sw_api_text(x, text, what, (size_t)f->max, f->ret, err);
}

static sw_status take_version(struct sw_http_exchange *x, const json_t *value, const struct sw_api_field *f,
                              struct sw_error *err) {
    char number[24];
    struct sw_str text;
    if (json_is_integer(value)) {
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
        text = sw_str_of(number);
    } else if (json_is_string(value)) {
        text = (struct sw_str){json_string_value(value), json_string_length(value)};
    } else {
        return wrong(f, "a number, an alias, or \"live\"", err);
    }
    return sw_api_version_ref(x, text, f->ret, err);
}

static sw_status take_int(const json_t *value, const struct sw_api_field *f, struct sw_error *err) {
    if (!json_is_integer(value) || json_integer_value(value) < f->min || json_integer_value(value) > f->max) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "'%s' must be an integer from %lld to %lld", f->name,
                       (long long)f->min, (long long)f->max);
    }
    *(int64_t *)f->ret = json_integer_value(value);
    return SW_OK;
}

static sw_status take(struct sw_http_exchange *x, json_t *value, const struct sw_api_field *f, struct sw_error *err) {
    switch (f->kind) {
    case SW_MEMBER_TEXT: return take_text(x, value, f, err);
    case SW_MEMBER_VERSION: return take_version(x, value, f, err);
    case SW_MEMBER_INT: return take_int(value, f, err);
    case SW_MEMBER_BOOL:
        if (!json_is_boolean(value)) {
            return wrong(f, "true or false", err);
        }
        *(bool *)f->ret = json_is_true(value);
        return SW_OK;
    case SW_MEMBER_OBJECT:
        if (!json_is_object(value)) {
            return wrong(f, "an object", err);
        }
        break;
    case SW_MEMBER_ARRAY:
        if (!json_is_array(value)) {
            return wrong(f, "a list", err);
        }
        break;
    case SW_MEMBER_ANY: break;
    }
    *(json_t **)f->ret = value;
    return SW_OK;
}

static sw_status refuse_unknown(const json_t *object, const struct sw_api_field *fields, size_t count,
                                struct sw_error *err) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        size_t i = 0;
        while (i < count && strcmp(fields[i].name, key) != 0) {
            i++;
        }
        if (i == count) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "'%.*s' is not a field of this request", KEY_SHOWN_MAX, key);
        }
    }
    return SW_OK;
}

sw_status sw_api_fields(struct sw_http_exchange *x, const json_t *object, const struct sw_api_field *fields,
                        size_t count, struct sw_error *err) {
    SW_TRY(refuse_unknown(object, fields, count, err));
    for (size_t i = 0; i < count; i++) {
        json_t *value = json_object_get(object, fields[i].name);
        bool is_absent = !value || (json_is_null(value) && fields[i].kind != SW_MEMBER_ANY);
        if (is_absent && fields[i].required) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "'%s' is missing", fields[i].name);
        }
        if (!is_absent) {
            SW_TRY(take(x, value, &fields[i], err));
        }
    }
    return SW_OK;
}

sw_status sw_api_read(struct sw_http_exchange *x, bool optional, const struct sw_api_field *fields, size_t count,
                      struct sw_error *err) {
    json_t *body;
    SW_TRY(sw_api_body(x, optional, &body, err));
    return sw_api_fields(x, body, fields, count, err);
}
