/* Changes of descriptions, tags and metrics: what a caller sends is compared with what is there, only differences are
 * written, and exactly those stand in the audit row. Nothing different: nothing written, no row. */
#include "registry/registry_internal.h"

void sw_diff_init(struct sw_diff *diff) {
    *diff = (struct sw_diff){.before = json_object(), .after = json_object()};
}

void sw_diff_deinit(struct sw_diff *diff) {
    json_decref(diff->before);
    json_decref(diff->after);
    *diff = (struct sw_diff){0};
}

static void note_side(json_t *side, const char *field, const char *key, json_t *value) {
    if (!key) {
        json_object_set_new(side, field, value ? json_incref(value) : json_null());
        return;
    }
    if (!json_object_get(side, field)) {
        json_object_set_new(side, field, json_object());
    }
    json_object_set_new(json_object_get(side, field), key, value ? json_incref(value) : json_null());
}

void sw_diff_note(struct sw_diff *diff, const char *field, const char *key, json_t *before, json_t *after) {
    note_side(diff->before, field, key, before);
    note_side(diff->after, field, key, after);
    diff->changed = true;
}

sw_status sw_diff_audit(struct sw_diff *diff, struct sw_registry *registry, struct sw_tx *tx,
                        const struct sw_actor *actor, const char *action, const char *object, struct sw_error *err) {
    json_t *before = diff->before, *after = diff->after;
    diff->before = diff->after = NULL;
    return sw_registry_audit(registry, tx, actor, action, object, before, after, err);
}

sw_status sw_registry_check_changes(const json_t *changes, const char *const *known, struct sw_error *err) {
    if (!json_is_object(changes)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "changes: must be an object");
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)changes, key, value) {
        size_t i = 0;
        while (known[i] && strcmp(known[i], key) != 0) {
            i++;
        }
        if (!known[i]) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "%.100s: cannot be changed, or no such field", key);
        }
    }
    return SW_OK;
}

sw_status sw_registry_description(const json_t *changes, const char **ret, bool *ret_given, struct sw_error *err) {
    json_t *value = json_object_get(changes, "description");
    if (value && !json_is_null(value) && !json_is_string(value)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "description: must be a text or null");
    }
    const char *text = json_string_value(value);
    if (text && strlen(text) != json_string_length(value)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "description: holds a NUL");
    }
    SW_TRY(sw_registry_check_text("description", text, SW_REGISTRY_DESCRIPTION_MAX, err));
    *ret = text;
    *ret_given = value != NULL;
    return SW_OK;
}

/* One tag: set (value not NULL) or removed. */
static sw_status write_tag(struct sw_tx *tx, const char *model, int64_t version, const char *key, const char *value,
                           struct sw_error *err) {
    if (version && value) {
        return sw_tx_exec(tx,
                          "INSERT INTO version_tags (model, version, key, value) VALUES ($1, $2, $3, $4) "
                          "ON CONFLICT (model, version, key) DO UPDATE SET value = excluded.value",
                          SW_PARAMS(sw_v_text(model), sw_v_int(version), sw_v_text(key), sw_v_text(value)), NULL, err);
    }
    if (version) {
        return sw_tx_exec(tx, "DELETE FROM version_tags WHERE model = $1 AND version = $2 AND key = $3",
                          SW_PARAMS(sw_v_text(model), sw_v_int(version), sw_v_text(key)), NULL, err);
    }
    if (value) {
        return sw_tx_exec(tx,
                          "INSERT INTO model_tags (model, key, value) VALUES ($1, $2, $3) "
                          "ON CONFLICT (model, key) DO UPDATE SET value = excluded.value",
                          SW_PARAMS(sw_v_text(model), sw_v_text(key), sw_v_text(value)), NULL, err);
    }
    return sw_tx_exec(tx, "DELETE FROM model_tags WHERE model = $1 AND key = $2",
                      SW_PARAMS(sw_v_text(model), sw_v_text(key)), NULL, err);
}

sw_status sw_registry_change_tags(struct sw_tx *tx, const char *model, int64_t version, json_t *tags,
                                  const json_t *changes, struct sw_diff *diff, struct sw_error *err) {
    const char *key;
    json_t *value;
    size_t count = json_object_size(tags);
    json_object_foreach((json_t *)changes, key, value) {
        json_t *old = json_object_get(tags, key);
        if (old ? json_equal(old, value) : json_is_null(value)) {
            continue;
        }
        SW_TRY(write_tag(tx, model, version, key, json_string_value(value), err));
        sw_diff_note(diff, "tags", key, old, value);
        count += (size_t)!old;
        count -= (size_t)json_is_null(value);
    }
    if (count > SW_REGISTRY_TAGS_MAX && diff->changed) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "tags: there would be %zu of them, at most %d are allowed", count,
                       SW_REGISTRY_TAGS_MAX);
    }
    return SW_OK;
}
