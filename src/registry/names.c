/* What names, paths, tags and texts may be. Everything from outside passes here before it reaches a query or a file. */
#include <math.h>

#include "base/map.h"
#include "base/memory.h"
#include "registry/registry_internal.h"

static bool is_alnum(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_digits(struct sw_str s) {
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9') {
            return false;
        }
    }
    return s.len > 0;
}

const char *sw_stage_name(enum sw_stage stage) {
    static const char *const names[] = {"None", "Staging", "Production", "Archived"};
    SW_ASSERT((size_t)stage < SW_COUNTOF(names));
    return names[stage];
}

bool sw_stage_parse(struct sw_str text, enum sw_stage *ret) {
    for (enum sw_stage stage = SW_STAGE_NONE; stage <= SW_STAGE_ARCHIVED; stage++) {
        if (sw_str_ieq(text, sw_str_of(sw_stage_name(stage)))) {
            *ret = stage;
            return true;
        }
    }
    return false;
}

bool sw_registry_name_valid(struct sw_str name) {
    if (name.len < 1 || name.len > 128 || !is_alnum(name.data[0])) {
        return false;
    }
    for (size_t i = 1; i < name.len; i++) {
        char c = name.data[i];
        if (!is_alnum(c) && c != '.' && c != '_' && c != '-') {
            return false;
        }
    }
    return true;
}

bool sw_registry_key_valid(struct sw_str key) {
    for (size_t i = 0; i < key.len; i++) {
        if (!is_alnum(key.data[i]) && !memchr("_.:/ -", key.data[i], 6)) {
            return false;
        }
    }
    return key.len >= 1 && key.len <= SW_REGISTRY_TAG_KEY_MAX;
}

bool sw_registry_alias_valid(struct sw_str alias) {
    if (!sw_registry_name_valid(alias) || is_digits(alias)) {
        return false;
    }
    if (sw_str_ieq(alias, SW_STR("latest")) || sw_str_ieq(alias, SW_STR("live"))) {
        return false;
    }
    struct sw_str rest = {alias.data + 1, alias.len - 1};
    return !((alias.data[0] == 'v' || alias.data[0] == 'V') && is_digits(rest));
}

/* Unicode's control characters: C0, DEL and C1 (in UTF-8 C2 80 to C2 9F). */
static bool has_control(struct sw_str s) {
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        unsigned char next = i + 1 < s.len ? (unsigned char)s.data[i + 1] : 0;
        if (c < 0x20 || c == 0x7f || (c == 0xc2 && next >= 0x80 && next <= 0x9f)) {
            return true;
        }
    }
    return false;
}

bool sw_registry_path_valid(struct sw_str path) {
    if (path.len < 1 || path.len > SW_REGISTRY_PATH_MAX || !sw_utf8_valid(path) || has_control(path) ||
        memchr(path.data, '\\', path.len)) {
        return false;
    }
    struct sw_str rest = path, part;
    while (rest.data) {
        rest = sw_str_split(rest, '/', &part);
        if (part.len == 0 || part.len > 255 || sw_str_is(part, ".") || sw_str_is(part, "..")) {
            return false;
        }
    }
    return true;
}

/* checks ----------------------------------------------------------------------------------------------------------- */

sw_status sw_registry_check_name(const char *name, struct sw_error *err) {
    if (!name || !sw_registry_name_valid(sw_str_of(name))) {
        return sw_fail(
            err, SW_E_INVALID_ARGUMENT,
            "\"%.150s\" is no name for a model: 1 to 128 of letters, digits, '.', '_', '-', the first a letter "
            "or digit",
            name ? name : "");
    }
    return SW_OK;
}

sw_status sw_registry_check_text(const char *field, const char *text, size_t max, struct sw_error *err) {
    if (!text) {
        return SW_OK;
    }
    struct sw_str s = sw_str_of(text);
    if (s.len > max) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "%s: %zu bytes, at most %zu are allowed", field, s.len, max);
    }
    if (!sw_utf8_valid(s)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "%s: is not UTF-8", field);
    }
    return SW_OK;
}

sw_status sw_registry_check_actor(const struct sw_actor *actor, struct sw_error *err) {
    SW_ASSERT(actor && actor->name);
    if (!actor->name[0] || has_control(sw_str_of(actor->name))) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "actor: must be a name without control characters");
    }
    SW_TRY(sw_registry_check_text("actor", actor->name, 256, err));
    SW_TRY(sw_registry_check_text("request_id", actor->request_id, 256, err));
    return sw_registry_check_text("reason", actor->reason, SW_REGISTRY_REASON_MAX, err);
}

/* What tags and metrics have in common: an object with valid keys, not too many. */
static sw_status check_members(const json_t *object, const char *what, size_t max, struct sw_error *err) {
    if (!json_is_object(object)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "%s: must be an object", what);
    }
    if (json_object_size(object) > max) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "%s: %zu members, at most %zu are allowed", what,
                       json_object_size(object), max);
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value) {
        if (!sw_registry_key_valid(sw_str_of(key))) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT,
                           "%s: \"%.260s\" is no key: 1 to %d of letters, digits, '_', '.', ':', '/', ' ', '-'", what,
                           key, SW_REGISTRY_TAG_KEY_MAX);
        }
    }
    return SW_OK;
}

sw_status sw_registry_check_tags(const json_t *tags, bool nulls, struct sw_error *err) {
    if (!tags) {
        return SW_OK;
    }
    SW_TRY(check_members(tags, "tags", SW_REGISTRY_TAGS_MAX, err));
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)tags, key, value) {
        if (nulls && json_is_null(value)) {
            continue;
        }
        if (!json_is_string(value)) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "tags.%s: must be a text%s", key,
                           nulls ? ", or null to remove it" : "");
        }
        size_t len = json_string_length(value);
        if (len > SW_REGISTRY_TAG_VALUE_MAX || memchr(json_string_value(value), 0, len)) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "tags.%s: must be at most %d bytes, without NUL", key,
                           SW_REGISTRY_TAG_VALUE_MAX);
        }
    }
    return SW_OK;
}

sw_status sw_registry_check_metrics(const json_t *metrics, bool nulls, struct sw_error *err) {
    if (!metrics) {
        return SW_OK;
    }
    SW_TRY(check_members(metrics, "metrics", SW_REGISTRY_METRICS_MAX, err));
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)metrics, key, value) {
        bool removed = nulls && json_is_null(value);
        if (!removed && (!json_is_number(value) || !isfinite(json_number_value(value)))) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "metrics.%s: must be a number%s", key,
                           nulls ? ", or null to remove it" : "");
        }
    }
    return SW_OK;
}

/* A file stands in the map under its path, a folder under its path with a '/' behind. */
static sw_status check_file(struct sw_map *seen, const struct sw_version_file *file, struct sw_error *err) {
    static char marker;
    struct sw_str path = sw_str_of(file->path);
    if (!sw_registry_path_valid(path)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT,
                       "files: \"" SW_STR_FMT "\" is no path inside a version: relative, no \"..\", at most %d bytes",
                       SW_STR_ARG(path), SW_REGISTRY_PATH_MAX);
    }
    char folder[SW_REGISTRY_PATH_MAX + 2];
    memcpy(folder, path.data, path.len);
    folder[path.len] = '/';
    if (sw_map_get(seen, (struct sw_str){folder, path.len + 1}) || sw_map_put(seen, path, &marker)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "files: " SW_STR_FMT " stands there twice", SW_STR_ARG(path));
    }
    for (size_t i = 0; i < path.len; i++) {
        if (path.data[i] != '/') {
            continue;
        }
        if (sw_map_get(seen, (struct sw_str){path.data, i})) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "files: %.*s is a file and a folder", (int)i, path.data);
        }
        sw_map_put(seen, (struct sw_str){path.data, i + 1}, &marker);
    }
    return SW_OK;
}

sw_status sw_registry_check_files(const struct sw_version_file *files, size_t count, struct sw_error *err) {
    if (count < 1 || count > SW_REGISTRY_FILES_MAX) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "files: %zu of them; a version has 1 to %d", count,
                       SW_REGISTRY_FILES_MAX);
    }
    struct sw_map seen;
    sw_map_init(&seen);
    uint64_t total = 0;
    sw_status status = SW_OK;
    for (size_t i = 0; i < count && !status; i++) {
        status = check_file(&seen, &files[i], err);
        if (!status && (files[i].size > INT64_MAX - total)) {
            status = sw_fail(err, SW_E_INVALID_ARGUMENT, "files: %s: size out of range", files[i].path);
        }
        total += files[i].size;
    }
    sw_map_deinit(&seen);
    return status;
}
