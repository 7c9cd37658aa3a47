#include "pipeline/params.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>

#include "base/file.h"
#include "base/memory.h"

const char *sw_params_kind(const json_t *value) {
    switch (value ? json_typeof(value) : JSON_NULL) {
    case JSON_OBJECT: return "a mapping";
    case JSON_ARRAY: return "a list";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a number";
    case JSON_TRUE:
    case JSON_FALSE: return "true or false";
    case JSON_NULL: break;
    }
    return "empty";
}

sw_status sw_params_fail(const struct sw_params *params, const char *key, const char *fmt, ...) {
    char text[SW_ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    bool dot = key && *params->path;
    return sw_fail(params->err, SW_E_MODEL_INVALID, "%.160s%s%.80s: %s", params->path, dot ? "." : "", key ? key : "",
                   text);
}

static void join(char *buffer, size_t size, const char *const *names) {
    size_t used = 0;
    buffer[0] = '\0';
    for (; *names && used < size; names++) {
        int n = snprintf(buffer + used, size - used, "%s%s", used ? ", " : "", *names);
        used += n > 0 ? (size_t)n : 0;
    }
}

sw_status sw_params_only(const struct sw_params *params, const char *const *known) {
    const char *key;
    json_t *value;
    json_object_foreach(params->object, key, value) {
        const char *const *k = known;
        while (*k && strcmp(*k, key) != 0) {
            k++;
        }
        if (!*k) {
            char list[320];
            join(list, sizeof list, known);
            return sw_params_fail(params, key, "no such key; known here: %s", *known ? list : "none");
        }
    }
    return SW_OK;
}

sw_status sw_params_int(const struct sw_params *params, const char *key, int64_t min, int64_t max, int64_t *ret) {
    json_t *value = json_object_get(params->object, key);
    if (!value) {
        return SW_OK;
    }
    if (!json_is_integer(value)) {
        return sw_params_fail(params, key, "must be an integer, is %s", sw_params_kind(value));
    }
    int64_t n = (int64_t)json_integer_value(value);
    if (n < min || n > max) {
        return sw_params_fail(params, key, "must lie between %lld and %lld, is %lld", (long long)min, (long long)max,
                              (long long)n);
    }
    *ret = n;
    return SW_OK;
}

static sw_status number(const struct sw_params *params, const char *key, const json_t *value, double min, double max,
                        double *ret) {
    if (!json_is_number(value)) {
        return sw_params_fail(params, key, "must be a number, is %s", sw_params_kind(value));
    }
    double v = json_number_value(value);
    if (!(v >= min && v <= max)) {
        return sw_params_fail(params, key, "must lie between %g and %g, is %g", min, max, v);
    }
    *ret = v;
    return SW_OK;
}

sw_status sw_params_number(const struct sw_params *params, const char *key, double min, double max, double *ret) {
    json_t *value = json_object_get(params->object, key);
    return value ? number(params, key, value, min, max, ret) : SW_OK;
}

sw_status sw_params_bool(const struct sw_params *params, const char *key, bool *ret) {
    json_t *value = json_object_get(params->object, key);
    if (!value) {
        return SW_OK;
    }
    if (!json_is_boolean(value)) {
        return sw_params_fail(params, key, "must be true or false, is %s", sw_params_kind(value));
    }
    *ret = json_is_true(value);
    return SW_OK;
}

sw_status sw_params_string(const struct sw_params *params, const char *key, const char **ret) {
    json_t *value = json_object_get(params->object, key);
    if (!value) {
        return SW_OK;
    }
    if (!json_is_string(value) || json_string_length(value) == 0) {
        return sw_params_fail(params, key, "must be a string that is not empty, is %s",
                              json_is_string(value) ? "empty" : sw_params_kind(value));
    }
    *ret = json_string_value(value);
    return SW_OK;
}

sw_status sw_params_choice(const struct sw_params *params, const char *key, const char *const *choices, int *ret) {
    json_t *value = json_object_get(params->object, key);
    if (!value) {
        return SW_OK;
    }
    const char *text = json_string_value(value);
    for (int i = 0; text && choices[i]; i++) {
        if (strcmp(text, choices[i]) == 0) {
            *ret = i;
            return SW_OK;
        }
    }
    char list[200];
    join(list, sizeof list, choices);
    return sw_params_fail(params, key, "must be one of %s, is %.40s", list, text ? text : sw_params_kind(value));
}

sw_status sw_params_numbers(const struct sw_params *params, const char *key, double min, double max, size_t count,
                            double *ret) {
    json_t *value = json_object_get(params->object, key);
    if (!value) {
        return SW_OK;
    }
    if (json_is_array(value) && json_array_size(value) != count) {
        return sw_params_fail(params, key, "must be one number or a list of %zu, has %zu", count,
                              json_array_size(value));
    }
    for (size_t i = 0; i < count; i++) {
        SW_TRY(number(params, key, json_is_array(value) ? json_array_get(value, i) : value, min, max, &ret[i]));
    }
    return SW_OK;
}

sw_status sw_params_object(const struct sw_params *params, const char *key, json_t **ret) {
    json_t *value = json_object_get(params->object, key);
    if (value && !json_is_object(value)) {
        return sw_params_fail(params, key, "must be a mapping, is %s", sw_params_kind(value));
    }
    *ret = value;
    return SW_OK;
}

/* Is `path` (resolved) below `dir` (resolved)? */
static bool is_below(const char *dir, const char *path) {
    size_t n = strlen(dir);
    return strncmp(dir, path, n) == 0 && (path[n] == '/' || (n > 0 && dir[n - 1] == '/'));
}

sw_status sw_params_file(const char *dir, const char *where, const char *name, char **ret, struct sw_error *err) {
    if (!sw_path_is_inside(sw_str_of(name))) {
        return sw_fail(err, SW_E_MODEL_INVALID, "%s: \"%.200s\" must be a path inside the bundle's folder", where,
                       name);
    }
    SW_AUTO_FREE char *path = sw_path_join(dir, name);
    SW_AUTO_FREE char *real_dir = realpath(dir, NULL);
    SW_AUTO_FREE char *real_path = realpath(path, NULL);
    if (!real_dir || !real_path) {
        return sw_fail(err, SW_E_MODEL_INVALID, "%s: \"%.200s\": %s", where, name, strerror(errno));
    }
    if (!is_below(real_dir, real_path)) {
        return sw_fail(err, SW_E_MODEL_INVALID, "%s: \"%.200s\" leads out of the bundle's folder", where, name);
    }
    if (!sw_path_is_file(real_path)) {
        return sw_fail(err, SW_E_MODEL_INVALID, "%s: \"%.200s\" is not a regular file", where, name);
    }
    *ret = path;
    path = NULL;
    return SW_OK;
}
