#include "base/yaml.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <yaml.h>

#include "base/memory.h"

enum { DEPTH_MAX = 32 };

struct loader {
    yaml_parser_t parser;
    struct sw_error *err;
};

static sw_status fault(struct loader *loader, const yaml_mark_t *at, const char *what) {
    return sw_fail(loader->err, SW_E_INVALID_ARGUMENT, "line %zu, column %zu: %s", at->line + 1, at->column + 1, what);
}

static sw_status next(struct loader *loader, yaml_event_t *event) {
    if (!yaml_parser_parse(&loader->parser, event)) {
        const yaml_parser_t *p = &loader->parser;
        return fault(loader, p->problem_mark.line || p->problem_mark.column ? &p->problem_mark : &p->mark,
                     p->problem ? p->problem : "not YAML");
    }
    return SW_OK;
}

/* Integer and float of the YAML 1.2 core schema (decimal only). */
static json_t *plain_number(const char *s) {
    char *end;
    size_t digits = strspn(s + (*s == '-' || *s == '+'), "0123456789");
    size_t length = strlen(s);
    if (digits > 0 && (size_t)(*s == '-' || *s == '+') + digits == length) {
        errno = 0;
        long long v = strtoll(s, &end, 10);
        return errno ? NULL : json_integer(v);
    }
    if (strspn(s, "0123456789+-.eE") != length || !strpbrk(s, "0123456789")) {
        return NULL;
    }
    double v = strtod(s, &end);
    return *end == '\0' && isfinite(v) ? json_real(v) : NULL;
}

static json_t *plain_scalar(const char *s) {
    if (!*s || !strcmp(s, "~") || !strcmp(s, "null") || !strcmp(s, "Null") || !strcmp(s, "NULL")) {
        return json_null();
    }
    if (!strcmp(s, "true") || !strcmp(s, "True") || !strcmp(s, "TRUE")) {
        return json_true();
    }
    if (!strcmp(s, "false") || !strcmp(s, "False") || !strcmp(s, "FALSE")) {
        return json_false();
    }
    json_t *number = plain_number(s);
    return number ? number : json_string(s);
}

static sw_status scalar(struct loader *loader, const yaml_event_t *event, json_t **ret) {
    const char *text = (const char *)event->data.scalar.value;
    if (strlen(text) != event->data.scalar.length) {
        return fault(loader, &event->start_mark, "a scalar holds a NUL character");
    }
    json_t *value = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE ? plain_scalar(text) : json_string(text);
    if (!value) {
        return fault(loader, &event->start_mark, "not valid UTF-8");
    }
    *ret = value;
    return SW_OK;
}

static sw_status value(struct loader *loader, const yaml_event_t *event, int depth, json_t **ret);

static sw_status sequence(struct loader *loader, int depth, json_t *list) {
    for (;;) {
        yaml_event_t event;
        SW_TRY(next(loader, &event));
        if (event.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&event);
            return SW_OK;
        }
        json_t *item = NULL;
        sw_status status = value(loader, &event, depth + 1, &item);
        yaml_event_delete(&event);
        SW_TRY(status);
        json_array_append_new(list, item);
    }
}

static sw_status mapping_entry(struct loader *loader, const yaml_event_t *key, int depth, json_t *object) {
    if (key->type != YAML_SCALAR_EVENT || key->data.scalar.anchor || key->data.scalar.tag) {
        return fault(loader, &key->start_mark, "a key must be a plain string");
    }
    const char *name = (const char *)key->data.scalar.value;
    if (strlen(name) != key->data.scalar.length || json_object_get(object, name)) {
        return fault(loader, &key->start_mark, "a key appears twice or holds a NUL character");
    }
    yaml_event_t event;
    SW_TRY(next(loader, &event));
    json_t *item = NULL;
    sw_status status = value(loader, &event, depth + 1, &item);
    yaml_event_delete(&event);
    SW_TRY(status);
    return json_object_set_new(object, name, item) ? fault(loader, &key->start_mark, "a key is not valid UTF-8")
                                                   : SW_OK;
}

static sw_status mapping(struct loader *loader, int depth, json_t *object) {
    for (;;) {
        yaml_event_t event;
        SW_TRY(next(loader, &event));
        if (event.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&event);
            return SW_OK;
        }
        sw_status status = mapping_entry(loader, &event, depth, object);
        yaml_event_delete(&event);
        SW_TRY(status);
    }
}

static sw_status value(struct loader *loader, const yaml_event_t *event, int depth, json_t **ret) {
    if (depth > DEPTH_MAX) {
        return fault(loader, &event->start_mark, "nested deeper than 32 levels");
    }
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (event->type == YAML_SCALAR_EVENT) {
        anchor = event->data.scalar.anchor, tag = event->data.scalar.tag;
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        anchor = event->data.sequence_start.anchor, tag = event->data.sequence_start.tag;
    } else if (event->type == YAML_MAPPING_START_EVENT) {
        anchor = event->data.mapping_start.anchor, tag = event->data.mapping_start.tag;
    }
    if (anchor || tag || event->type == YAML_ALIAS_EVENT) {
        return fault(loader, &event->start_mark, "anchors, aliases and tags are not supported");
    }
    if (event->type == YAML_SCALAR_EVENT) {
        return scalar(loader, event, ret);
    }
    bool list = event->type == YAML_SEQUENCE_START_EVENT;
    json_t *made = list ? json_array() : json_object();
    sw_status status = list ? sequence(loader, depth, made) : mapping(loader, depth, made);
    if (status) {
        json_decref(made);
        return status;
    }
    *ret = made;
    return SW_OK;
}

/* Expects an event of this type and drops it. */
static sw_status expect(struct loader *loader, yaml_event_type_t type, const char *otherwise) {
    yaml_event_t event;
    SW_TRY(next(loader, &event));
    bool right = event.type == type;
    yaml_mark_t at = event.start_mark;
    yaml_event_delete(&event);
    return right ? SW_OK : fault(loader, &at, otherwise);
}

static sw_status document(struct loader *loader, json_t **ret) {
    SW_TRY(expect(loader, YAML_STREAM_START_EVENT, "not YAML"));
    yaml_event_t event;
    SW_TRY(next(loader, &event));
    bool empty = event.type == YAML_STREAM_END_EVENT;
    yaml_event_delete(&event);
    if (empty) {
        *ret = json_object();
        return SW_OK;
    }
    SW_TRY(next(loader, &event));
    json_t *root = NULL;
    sw_status status = value(loader, &event, 1, &root);
    yaml_event_delete(&event);
    SW_TRY(status);
    status = expect(loader, YAML_DOCUMENT_END_EVENT, "more than one value");
    status = status ? status : expect(loader, YAML_STREAM_END_EVENT, "more than one document");
    if (status) {
        json_decref(root);
        return status;
    }
    *ret = root;
    return SW_OK;
}

sw_status sw_yaml_parse(struct sw_str text, json_t **ret, struct sw_error *err) {
    struct loader loader = {.err = err};
    if (!yaml_parser_initialize(&loader.parser)) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
    }
    yaml_parser_set_encoding(&loader.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&loader.parser, (const unsigned char *)(text.data ? text.data : ""), text.len);
    sw_status status = document(&loader, ret);
    yaml_parser_delete(&loader.parser);
    return status;
}
