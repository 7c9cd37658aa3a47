/* Loading of the configuration; see config.h for the order of the sources. */
#include "cli/config.h"

#include <stdarg.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/yaml.h"
#include "cli/monitoring_config.h"
#include "cli/registry_config.h"
#include "cli/suggest.h"
#include "base/units.h"

enum { FILE_BYTES_MAX = 1 << 20 };

struct loader {
    struct sw_config *config;
    struct sw_config_problems *problems;
};

static void problem(struct loader *loader, bool is_error, const char *fmt, ...) SW_PRINTF(3, 4);
static void problem(struct loader *loader, bool is_error, const char *fmt, ...) {
    struct sw_error text; /* cleans what is not printable, as for every message */
    char message[SW_ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    sw_error_set(&text, SW_E_USAGE, SW_ORIGIN, "%s", message);
    struct sw_config_problems *list = loader->problems;
    list->items = sw_xrealloc(list->items, (list->count + 1) * sizeof *list->items);
    list->items[list->count++] = (struct sw_config_problem){is_error, sw_xstrdup(text.message)};
    list->error_count += is_error;
}

void sw_config_problems_deinit(struct sw_config_problems *problems) {
    for (size_t i = 0; i < problems->count; i++) {
        sw_free(problems->items[i].message);
    }
    sw_free(problems->items);
    *problems = (struct sw_config_problems){0};
}

const char *sw_config_origin_name(enum sw_config_origin origin) {
    static const char *const names[] = {"default", "file", "environment", "flag"};
    return names[origin];
}

bool sw_config_find_key(struct sw_str id, enum sw_config_key *ret_key, const char **ret_near) {
    struct sw_suggestion near = {.word = id};
    for (size_t i = 0; i < SW_KEY_COUNT; i++) {
        if (sw_str_is(id, sw_config_keys[i].id)) {
            *ret_key = (enum sw_config_key)i;
            return true;
        }
        sw_suggestion_add(&near, sw_config_keys[i].id);
    }
    for (size_t i = 0; i < SW_KEY_COUNT && !near.best; i++) {
        if (sw_str_is(id, sw_config_keys[i].name)) {
            near.best = sw_config_keys[i].id; /* the section was forgotten */
        }
    }
    *ret_near = near.best;
    return false;
}

/* --- values ------------------------------------------------------------------------------------------------------ */

static bool parse_boolean(struct sw_str text, uint64_t *ret) {
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    for (size_t i = 0; i < SW_COUNTOF(words); i++) {
        if (sw_str_ieq(text, sw_str_of(words[i]))) {
            *ret = i % 2;
            return true;
        }
    }
    return false;
}

static bool parse_choice(struct sw_str text, const char *const *choices, uint64_t *ret) {
    for (size_t i = 0; choices[i]; i++) {
        if (sw_str_is(text, choices[i])) {
            *ret = i;
            return true;
        }
    }
    return false;
}

/* Reads text as a value of the key, bounds apart. */
static bool parse_value(const struct sw_config_key_info *key, struct sw_str text, uint64_t *ret) {
    switch (key->type) {
    case SW_CONFIG_TEXT:
    case SW_CONFIG_PATH: return true;
    case SW_CONFIG_INTEGER: return sw_parse_u64(text, ret);
    case SW_CONFIG_SIZE: return sw_parse_size(text, ret);
    case SW_CONFIG_DURATION: return sw_parse_duration(text, ret);
    case SW_CONFIG_CHOICE: return parse_choice(text, key->choices, ret);
    case SW_CONFIG_BOOLEAN: return parse_boolean(text, ret);
    }
    return false;
}

static bool is_bounded(const struct sw_config_key_info *key) {
    return key->type == SW_CONFIG_INTEGER || key->type == SW_CONFIG_SIZE || key->type == SW_CONFIG_DURATION;
}

static void format_number(const struct sw_config_key_info *key, uint64_t number, char ret[SW_UNIT_TEXT_MAX]) {
    switch (key->type) {
    case SW_CONFIG_SIZE: sw_format_size(number, ret); break;
    case SW_CONFIG_DURATION: sw_format_duration(number, ret); break;
    default: snprintf(ret, SW_UNIT_TEXT_MAX, "%llu", (unsigned long long)number); break;
    }
}

/* What a value of the key looks like, for messages. */
static void describe_allowed(const struct sw_config_key_info *key, char *text, size_t size) {
    char min[SW_UNIT_TEXT_MAX], max[SW_UNIT_TEXT_MAX];
    format_number(key, key->min, min);
    format_number(key, key->max, max);
    switch (key->type) {
    case SW_CONFIG_INTEGER: snprintf(text, size, "a whole number from %s to %s", min, max); break;
    case SW_CONFIG_SIZE: snprintf(text, size, "a size from %s to %s, such as 64MiB", min, max); break;
    case SW_CONFIG_DURATION:
        snprintf(text, size, "a duration from %s to %s, with its unit, such as 10s or 500ms", min, max);
        break;
    case SW_CONFIG_BOOLEAN: snprintf(text, size, "true or false"); break;
    case SW_CONFIG_CHOICE: {
        size_t n = 0;
        text[0] = '\0';
        for (size_t i = 0; key->choices[i] && n < size; i++) {
            int more = snprintf(text + n, size - n, "%s%s", i ? (key->choices[i + 1] ? ", " : " or ") : "",
                                key->choices[i]);
            n += more > 0 ? (size_t)more : 0;
        }
        break;
    }
    case SW_CONFIG_TEXT:
    case SW_CONFIG_PATH: snprintf(text, size, "text"); break;
    }
}

static char *canonical(const struct sw_config_key_info *key, struct sw_str text, uint64_t number) {
    char formatted[SW_UNIT_TEXT_MAX];
    switch (key->type) {
    case SW_CONFIG_TEXT:
    case SW_CONFIG_PATH: return sw_xstrndup(text.data, text.len);
    case SW_CONFIG_CHOICE: return sw_xstrdup(key->choices[number]);
    case SW_CONFIG_BOOLEAN: return sw_xstrdup(number ? "true" : "false");
    default: format_number(key, number, formatted); return sw_xstrdup(formatted);
    }
}

/* Gives the key a value from one source, or reports why not. `where` NULL: the default. */
static void assign(struct loader *loader, enum sw_config_key key, struct sw_str text, enum sw_config_origin origin,
                   const char *where) {
    const struct sw_config_key_info *info = &sw_config_keys[key];
    uint64_t number = 0;
    bool good = parse_value(info, text, &number);
    if (good && is_bounded(info)) {
        good = number >= info->min && number <= info->max;
    }
    if (!good) {
        char allowed[256];
        describe_allowed(info, allowed, sizeof allowed);
        problem(loader, true, "%s: %s is '" SW_STR_FMT "', but must be %s", where ? where : "default", info->id,
                SW_STR_ARG(info->secret ? SW_STR("(hidden)") : text), allowed);
        return;
    }
    struct sw_config_value *value = &loader->config->values[key];
    sw_free(value->text);
    sw_free(value->where);
    *value = (struct sw_config_value){canonical(info, text, number), number, origin, sw_xstrdup(where)};
}

/* --- sources ----------------------------------------------------------------------------------------------------- */

static void unknown_key(struct loader *loader, const char *where, const char *id) {
    enum sw_config_key key;
    const char *near;
    if (!sw_config_find_key(sw_str_of(id), &key, &near)) {
        problem(loader, true, "%s: unknown key %s%s%s%s", where, id, near ? "; did you mean " : "", near ? near : "",
                near ? "?" : "");
    }
}

static void unknown_section(struct loader *loader, const char *where, const char *section) {
    struct sw_suggestion near = {.word = sw_str_of(section)};
    for (size_t i = 0; i < SW_KEY_COUNT; i++) {
        sw_suggestion_add(&near, sw_config_keys[i].section);
    }
    problem(loader, true, "%s: unknown section %s%s%s%s", where, section, near.best ? "; did you mean " : "",
            near.best ? near.best : "", near.best ? "?" : "");
}

static bool is_section(const char *name) {
    for (size_t i = 0; i < SW_KEY_COUNT; i++) {
        if (!strcmp(name, sw_config_keys[i].section)) {
            return true;
        }
    }
    return false;
}

/* A YAML scalar as the text it was written as, or near enough to be read again. */
static bool scalar_text(const json_t *scalar, char *buffer, size_t size, struct sw_str *ret) {
    switch (json_typeof(scalar)) {
    case JSON_STRING: *ret = (struct sw_str){json_string_value(scalar), json_string_length(scalar)}; return true;
    case JSON_INTEGER: snprintf(buffer, size, "%" JSON_INTEGER_FORMAT, json_integer_value(scalar)); break;
    case JSON_REAL: snprintf(buffer, size, "%g", json_real_value(scalar)); break;
    case JSON_TRUE: snprintf(buffer, size, "true"); break;
    case JSON_FALSE: snprintf(buffer, size, "false"); break;
    default: return false;
    }
    *ret = sw_str_of(buffer);
    return true;
}

static void load_section(struct loader *loader, const char *path, const char *section, json_t *object) {
    const char *name;
    json_t *scalar;
    json_object_foreach(object, name, scalar) {
        char id[256], buffer[64];
        enum sw_config_key key;
        const char *near;
        struct sw_str text;
        snprintf(id, sizeof id, "%s.%s", section, name);
        if (!sw_config_find_key(sw_str_of(id), &key, &near)) {
            unknown_key(loader, path, id);
        } else if (!scalar_text(scalar, buffer, sizeof buffer, &text)) {
            problem(loader, true, "%s: %s has no value, or a list or mapping instead of one", path, id);
        } else {
            assign(loader, key, text, SW_ORIGIN_FILE, path);
        }
    }
}

static sw_status load_file(struct loader *loader, const char *path, struct sw_error *err) {
    struct sw_buf text;
    SW_TRY(sw_file_read(path, FILE_BYTES_MAX, &text, err));
    json_t *root = NULL;
    struct sw_error fault;
    sw_status status = sw_yaml_parse(sw_buf_str(&text), &root, &fault);
    sw_buf_deinit(&text);
    if (status) {
        problem(loader, true, "%s: %s", path, fault.message);
        return SW_OK;
    }
    if (!json_is_object(root)) {
        problem(loader, true, "%s: must hold sections, such as `server: { port: 8080 }`", path);
    }
    const char *section;
    json_t *object;
    json_object_foreach(root, section, object) {
        if (!is_section(section)) {
            unknown_section(loader, path, section);
        } else if (json_is_object(object)) {
            load_section(loader, path, section, object);
        } else if (!json_is_null(object)) {
            problem(loader, true, "%s: %s must hold keys, such as `%s: { ... }`", path, section, section);
        }
    }
    json_decref(root);
    return SW_OK;
}

static bool is_other_variable(struct sw_str name) {
    for (size_t i = 0; sw_config_other_variables[i]; i++) {
        if (sw_str_is(name, sw_config_other_variables[i])) {
            return true;
        }
    }
    return false;
}

static void load_variable(struct loader *loader, struct sw_str name, struct sw_str value) {
    struct sw_suggestion near = {.word = name};
    for (size_t i = 0; i < SW_KEY_COUNT; i++) {
        if (sw_str_is(name, sw_config_keys[i].variable)) {
            assign(loader, (enum sw_config_key)i, value, SW_ORIGIN_ENVIRONMENT, sw_config_keys[i].variable);
            return;
        }
        sw_suggestion_add(&near, sw_config_keys[i].variable);
    }
    if (!is_other_variable(name)) {
        problem(loader, false, "environment: " SW_STR_FMT " is not a variable of Slipway and is ignored%s%s%s",
                SW_STR_ARG(name), near.best ? "; did you mean " : "", near.best ? near.best : "", near.best ? "?" : "");
    }
}

static void load_environment(struct loader *loader, char *const *environment) {
    for (; environment && *environment; environment++) {
        struct sw_str name;
        struct sw_str value = sw_str_split(sw_str_of(*environment), '=', &name);
        if (value.data && sw_str_starts(name, SW_STR("SLIPWAY_"))) {
            load_variable(loader, name, value);
        }
    }
}

/* What no single bound can express: relations between keys, and forms of texts. */
static void check_relations(struct loader *loader) {
    const struct sw_config_value *v = loader->config->values;
    if (v[SW_KEY_SERVER_MAX_BUFFERED_BYTES].number < v[SW_KEY_SERVER_MAX_BODY_BYTES].number) {
        problem(loader, true,
                "server.max_buffered_bytes is %s, less than server.max_body_bytes, %s: no body of that "
                "size could ever be read",
                v[SW_KEY_SERVER_MAX_BUFFERED_BYTES].text, v[SW_KEY_SERVER_MAX_BODY_BYTES].text);
    }
    if (!v[SW_KEY_SERVER_HOST].text[0]) {
        problem(loader, true, "%s: server.host is empty", v[SW_KEY_SERVER_HOST].where);
    }
    for (size_t i = 0; i < SW_KEY_COUNT; i++) {
        struct sw_error err;
        if (!sw_registry_config_check(loader->config, (enum sw_config_key)i, &err) ||
            !sw_monitoring_config_check(loader->config, (enum sw_config_key)i, &err)) {
            problem(loader, true, "%s", err.message);
        }
    }
}

static sw_status load_all(struct loader *loader, const struct sw_config_sources *sources, struct sw_error *err) {
    for (size_t i = 0; i < SW_KEY_COUNT; i++) {
        assign(loader, (enum sw_config_key)i, sw_str_of(sw_config_keys[i].fallback), SW_ORIGIN_DEFAULT, NULL);
    }
    SW_ASSERT(loader->problems->error_count == 0); /* the generator checked the defaults */
    if (sources->file) {
        SW_TRY(load_file(loader, sources->file, err));
    }
    load_environment(loader, sources->environment);
    for (size_t i = 0; i < sources->flag_count; i++) {
        const struct sw_config_flag *flag = &sources->flags[i];
        assign(loader, flag->key, sw_str_of(flag->value), SW_ORIGIN_FLAG, flag->where);
    }
    if (loader->problems->error_count == 0) {
        check_relations(loader);
    }
    return SW_OK;
}

sw_status sw_config_load(const struct sw_config_sources *sources, struct sw_config **ret,
                         struct sw_config_problems *problems, struct sw_error *err) {
    struct sw_config_problems own = {0};
    struct sw_config_problems *list = problems ? problems : &own;
    size_t errors_before = list->error_count;
    SW_ASSERT(errors_before == 0);
    struct loader loader = {SW_NEW(struct sw_config), list};
    sw_status status = load_all(&loader, sources, err);
    for (size_t i = 0; i < list->count && !status; i++) {
        if (list->items[i].is_error) {
            status = sw_fail(err, SW_E_USAGE, "%s", list->items[i].message);
        }
    }
    sw_config_problems_deinit(&own);
    if (status) {
        sw_config_destroy(loader.config);
        return status;
    }
    *ret = loader.config;
    return SW_OK;
}

void sw_config_destroy(struct sw_config *config) {
    if (config) {
        for (size_t i = 0; i < SW_KEY_COUNT; i++) {
            sw_free(config->values[i].text);
            sw_free(config->values[i].where);
        }
        sw_free(config);
    }
}

/* --- reading ----------------------------------------------------------------------------------------------------- */

uint64_t sw_config_number(const struct sw_config *config, enum sw_config_key key) {
    return config->values[key].number;
}

uint64_t sw_config_ms(const struct sw_config *config, enum sw_config_key key) {
    SW_ASSERT(sw_config_keys[key].type == SW_CONFIG_DURATION);
    return (config->values[key].number + 999) / 1000;
}

bool sw_config_bool(const struct sw_config *config, enum sw_config_key key) {
    SW_ASSERT(sw_config_keys[key].type == SW_CONFIG_BOOLEAN);
    return config->values[key].number != 0;
}

const char *sw_config_text(const struct sw_config *config, enum sw_config_key key) {
    const char *text = config->values[key].text;
    return text[0] ? text : NULL;
}
