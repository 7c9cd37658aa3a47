/* The configuration in force, as YAML for people (and as a file to start from) and as JSON for programs. */
#include "cli/config.h"

#include "base/buf.h"

enum { COMMENT_COLUMN = 40 };

static const char *shown(const struct sw_config *config, size_t i) {
    return sw_config_keys[i].secret && config->values[i].text[0] ? "********" : config->values[i].text;
}

/* May the text stand without quotes in YAML and still be read as text? Words and paths may; numbers may not. */
static bool is_plain(const char *text) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/";
    static const char others[] = "0123456789_.-";
    size_t letter = strcspn(text, letters), n = 0;
    while (text[n] && (strchr(letters, text[n]) || strchr(others, text[n]))) {
        n++;
    }
    return text[0] && text[0] != '-' && text[letter] && !text[n] && strcmp(text, "off") != 0;
}

static void append_scalar(struct sw_buf *out, const struct sw_config_key_info *key, const char *text) {
    bool is_text = key->type == SW_CONFIG_TEXT || key->type == SW_CONFIG_PATH || key->type == SW_CONFIG_CHOICE;
    if (is_text && !is_plain(text)) {
        sw_buf_append_json(out, sw_str_of(text)); /* JSON strings are YAML strings */
    } else {
        sw_buf_append_str(out, sw_str_of(text));
    }
}

void sw_config_write_yaml(const struct sw_config *config, struct sw_buf *out) {
    const char *section = NULL;
    for (size_t i = 0; i < SW_KEY_COUNT; i++) {
        const struct sw_config_key_info *key = &sw_config_keys[i];
        const struct sw_config_value *value = &config->values[i];
        if (!section || strcmp(section, key->section) != 0) {
            section = key->section;
            sw_buf_printf(out, "%s:\n", section);
        }
        size_t start = out->len;
        sw_buf_printf(out, "  %s: ", key->name);
        append_scalar(out, key, shown(config, i));
        size_t used = out->len - start;
        sw_buf_printf(out, "%*s# ", (int)(used < COMMENT_COLUMN ? COMMENT_COLUMN - used : 1), "");
        sw_buf_append_str(out, sw_str_of(value->where ? value->where : "default"));
        if (key->zero && value->number == 0) {
            sw_buf_printf(out, " (%s)", key->zero);
        } else if (!value->text[0]) {
            SW_LIT(out, " (not set)");
        }
        SW_LIT(out, "\n");
    }
}

static json_t *value_json(const struct sw_config *config, size_t i) {
    const struct sw_config_value *value = &config->values[i];
    switch (sw_config_keys[i].type) {
    case SW_CONFIG_INTEGER:
    case SW_CONFIG_SIZE: return json_integer((json_int_t)value->number);
    case SW_CONFIG_BOOLEAN: return json_boolean(value->number != 0);
    case SW_CONFIG_DURATION:
    case SW_CONFIG_CHOICE:
    case SW_CONFIG_TEXT:
    case SW_CONFIG_PATH: break;
    }
    return value->text[0] ? json_string(shown(config, i)) : json_null();
}

json_t *sw_config_to_json(const struct sw_config *config) {
    json_t *root = json_object();
    for (size_t i = 0; i < SW_KEY_COUNT; i++) {
        const struct sw_config_key_info *key = &sw_config_keys[i];
        json_t *section = json_object_get(root, key->section);
        if (!section) {
            section = json_object();
            json_object_set_new(root, key->section, section);
        }
        json_object_set_new(section, key->name,
                            json_pack("{s:o, s:s, s:s?, s:b}", "value", value_json(config, i), "origin",
                                      sw_config_origin_name(config->values[i].origin), "where", config->values[i].where,
                                      "reloadable", key->reloadable));
    }
    return root;
}
