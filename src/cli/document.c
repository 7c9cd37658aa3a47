/* Members of documents and pairs of the command line; see document.h. */
#include "cli/document.h"

#include <math.h>

#include "base/memory.h"

static sw_status split_pair(const char *text, const char *what, char **ret_key, const char **ret_value,
                            struct sw_error *err) {
    struct sw_str key;
    struct sw_str value = sw_str_split(sw_str_of(text), '=', &key);
    if (!value.data || !key.len) {
        return sw_fail(err, SW_E_USAGE, "'%s' is not %s", text, what);
    }
    if (!sw_utf8_valid(sw_str_of(text))) {
        return sw_fail(err, SW_E_USAGE, "'%s' is not UTF-8", text);
    }
    *ret_key = sw_xstrndup(key.data, key.len);
    *ret_value = value.data;
    return SW_OK;
}

sw_status sw_pair_parse_tag(json_t *object, const char *text, bool remove, struct sw_error *err) {
    char *key SW_AUTO_FREE = NULL;
    const char *value;
    SW_TRY(split_pair(text, "KEY=VALUE, such as team=vision", &key, &value, err));
    json_object_set_new(object, key, remove && !*value ? json_null() : json_string(value));
    return SW_OK;
}

sw_status sw_pair_parse_metric(json_t *object, const char *text, struct sw_error *err) {
    char *key SW_AUTO_FREE = NULL;
    const char *value;
    char *end;
    SW_TRY(split_pair(text, "KEY=NUMBER, such as auc=0.97", &key, &value, err));
    double number = strtod(value, &end);
    if (!*value || *end || !isfinite(number)) {
        return sw_fail(err, SW_E_USAGE, "%s is '%s', but must be a number, such as 0.97", key, value);
    }
    json_object_set_new(object, key, json_real(number));
    return SW_OK;
}

char *sw_json_compact(const json_t *json) {
    if (!json) {
        return NULL;
    }
    size_t size = json_dumpb(json, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY);
    char *text = sw_xmalloc(size + 1);
    SW_ASSERT(json_dumpb(json, text, size, JSON_COMPACT | JSON_ENCODE_ANY) == size);
    text[size] = '\0';
    return text;
}

const char *sw_json_text(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

const char *sw_json_time(const json_t *object, const char *key, char ret[32]) {
    const char *text = sw_json_text(object, key);
    if (strlen(text) < 19 || text[10] != 'T') {
        return *text ? text : "-";
    }
    snprintf(ret, 32, "%.10s %.8s", text, text + 11);
    return ret;
}

const char *sw_json_number(const json_t *object, const char *key, char ret[32]) {
    const json_t *value = json_object_get(object, key);
    if (json_is_integer(value)) {
        snprintf(ret, 32, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else if (json_is_real(value)) {
        snprintf(ret, 32, "%.6g", json_real_value(value));
    } else {
        snprintf(ret, 32, "-");
    }
    return ret;
}
