/* Does a candidate break those who call the live version?
 *
 * Inputs are contravariant: what callers send now must still be taken (same datatype, a shape at least as wide), and
 * nothing more may be required. Outputs are covariant: what callers read now must still be there, of the same
 * datatype, with a shape that is one of those they expect. A dimension of -1 stands for every size, a shape of null
 * for every shape. */
#include "registry/registry_internal.h"

static json_t *find(const json_t *list, const char *name) {
    size_t i;
    json_t *item;
    json_array_foreach((json_t *)list, i, item) {
        const char *own = json_string_value(json_object_get(item, "name"));
        if (own && strcmp(own, name) == 0) {
            return item;
        }
    }
    return NULL;
}

static bool is_optional(const json_t *value) {
    return json_is_true(json_object_get(value, "optional"));
}

/* Is every shape that `inner` stands for one that `outer` stands for? */
static bool shape_within(const json_t *inner, const json_t *outer) {
    if (!json_is_array(outer)) {
        return true;
    }
    if (!json_is_array(inner) || json_array_size(inner) != json_array_size(outer)) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(outer); i++) {
        json_int_t a = json_integer_value(json_array_get(inner, i)), b = json_integer_value(json_array_get(outer, i));
        if (b >= 0 && a != b) {
            return false;
        }
    }
    return true;
}

/* "[-1,3]", or "any shape". */
static const char *shape_text(const json_t *shape, char *buffer, size_t size) {
    size_t used = 0;
    if (!json_is_array(shape)) {
        snprintf(buffer, size, "any shape");
        return buffer;
    }
    buffer[0] = '\0';
    for (size_t i = 0; i < json_array_size(shape) && used < size; i++) {
        int n = snprintf(buffer + used, size - used, "%s%lld", i ? "," : "[",
                         (long long)json_integer_value(json_array_get(shape, i)));
        used += n > 0 ? (size_t)n : 0;
    }
    if (used < size) {
        snprintf(buffer + used, size - used, "%s", json_array_size(shape) ? "]" : "[]");
    }
    return buffer;
}

static const char *datatype(const json_t *value) {
    const char *name = json_string_value(json_object_get(value, "datatype"));
    return name ? name : "no tensor";
}

static bool shape_breaks(const char *kind, const char *name, const json_t *live, const json_t *candidate, bool input,
                         char *why, size_t size) {
    const json_t *before = json_object_get(live, "shape"), *now = json_object_get(candidate, "shape");
    char a[160], b[160];
    if (input ? shape_within(before, now) : shape_within(now, before)) {
        return false;
    }
    snprintf(why, size, "%s '%.200s' has shape %s, was %s", kind, name, shape_text(now, a, sizeof a),
             shape_text(before, b, sizeof b));
    return true;
}

/* One input or output of the live version against that of the candidate (NULL: gone). */
static bool value_breaks(const json_t *live, const json_t *candidate, bool input, char *why, size_t size) {
    const char *kind = input ? "input" : "output", *name = json_string_value(json_object_get(live, "name"));
    if (!candidate) {
        snprintf(why, size, "%s '%.200s' is gone", kind, name);
    } else if (strcmp(datatype(live), datatype(candidate)) != 0) {
        snprintf(why, size, "%s '%.200s' is %.20s, was %.20s", kind, name, datatype(candidate), datatype(live));
    } else if (input && is_optional(live) && !is_optional(candidate)) {
        snprintf(why, size, "input '%.200s' has become required", name);
    } else if (!input && is_optional(candidate) && !is_optional(live)) {
        snprintf(why, size, "output '%.200s' may now be missing", name);
    } else {
        return shape_breaks(kind, name, live, candidate, input, why, size);
    }
    return true;
}

static bool list_breaks(const json_t *live, const json_t *candidate, bool input, char *why, size_t size) {
    size_t i;
    json_t *value;
    json_array_foreach((json_t *)live, i, value) {
        const char *name = json_string_value(json_object_get(value, "name"));
        if (name && value_breaks(value, find(candidate, name), input, why, size)) {
            return true;
        }
    }
    return false;
}

static bool requires_more(const json_t *live, const json_t *candidate, char *why, size_t size) {
    size_t i;
    json_t *value;
    json_array_foreach((json_t *)candidate, i, value) {
        const char *name = json_string_value(json_object_get(value, "name"));
        if (name && !is_optional(value) && !find(live, name)) {
            snprintf(why, size, "input '%.200s' is new and required", name);
            return true;
        }
    }
    return false;
}

bool sw_signature_breaks(const json_t *live, const json_t *candidate, char *ret_why, size_t why_size) {
    const json_t *inputs = json_object_get(live, "inputs"), *new_inputs = json_object_get(candidate, "inputs");
    return list_breaks(inputs, new_inputs, true, ret_why, why_size) ||
           requires_more(inputs, new_inputs, ret_why, why_size) ||
           list_breaks(json_object_get(live, "outputs"), json_object_get(candidate, "outputs"), false, ret_why,
                       why_size);
}
