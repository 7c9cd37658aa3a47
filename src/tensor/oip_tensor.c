/* Reading tensors as the Open Inference Protocol writes them. See oip_tensor.h.
 *
 * The fields of a tensor come in any order. `data` is read as soon as name, datatype and shape are known, which is at
 * once in the order that all known clients use; when it comes earlier it is passed over, and read (and so checked) at
 * the end of the object through a second cursor. */
#include "tensor/oip_tensor.h"

#include "tensor/binary.h"

#define TENSOR_FMT "tensor \"" SW_STR_FMT "\": "

enum field { FIELD_NAME = 1, FIELD_SHAPE = 2, FIELD_DATATYPE = 4, FIELD_PARAMETERS = 8, FIELD_DATA = 16 };

/* What was read of one tensor object. */
struct object {
    struct sw_tensor t;
    unsigned seen;        /* enum field */
    bool has_binary_size; /* parameters.binary_data_size */
    uint64_t binary_size;
    bool base64; /* parameters.content_type */
    bool data_done;
    struct sw_json data; /* cursor at `data`, when it was skipped */
};

static sw_status read_shape(struct sw_json *json, struct sw_tensor *t) {
    SW_TRY(sw_json_enter_array(json));
    for (t->rank = 0;; t->rank++) {
        bool more;
        SW_TRY(sw_json_array_next(json, &more));
        if (!more) {
            break;
        }
        if (t->rank == SW_RANK_MAX) {
            return sw_json_fail(json, TENSOR_FMT "shape has more than %d dimensions", SW_STR_ARG(t->name), SW_RANK_MAX);
        }
        int64_t size;
        SW_TRY(sw_json_i64(json, &size));
        if (size < 0) {
            return sw_json_fail(json, TENSOR_FMT "dimension %u of shape is negative", SW_STR_ARG(t->name), t->rank);
        }
        t->shape[t->rank] = size;
    }
    if (!sw_shape_count(t->shape, t->rank, &t->count)) {
        char text[128];
        return sw_json_fail(json, TENSOR_FMT "shape %s has more than %llu elements", SW_STR_ARG(t->name),
                            sw_shape_format(t->shape, t->rank, text, sizeof text), (unsigned long long)SW_ELEMENTS_MAX);
    }
    return SW_OK;
}

static sw_status read_dtype(struct sw_json *json, struct sw_tensor *t) {
    struct sw_str name;
    SW_TRY(sw_json_string(json, &name));
    t->dtype = sw_dtype_parse(name);
    if (t->dtype == SW_DTYPE_INVALID) {
        return sw_json_fail(json, TENSOR_FMT "unknown datatype \"" SW_STR_FMT "\"", SW_STR_ARG(t->name),
                            SW_STR_ARG(name));
    }
    return SW_OK;
}

static sw_status read_parameters(struct sw_json *json, struct object *o) {
    SW_TRY(sw_json_enter_object(json));
    bool has_content_type = false;
    for (;;) {
        struct sw_str key;
        bool more;
        SW_TRY(sw_json_object_next(json, &key, &more));
        if (!more) {
            return SW_OK;
        }
        bool size_key = sw_str_is(key, "binary_data_size"), type_key = sw_str_is(key, "content_type");
        if ((size_key && o->has_binary_size) || (type_key && has_content_type)) {
            return sw_json_fail(json, TENSOR_FMT "duplicate parameter \"" SW_STR_FMT "\"", SW_STR_ARG(o->t.name),
                                SW_STR_ARG(key));
        }
        if (size_key) {
            int64_t size;
            SW_TRY(sw_json_i64(json, &size));
            if (size < 0) {
                return sw_json_fail(json, TENSOR_FMT "binary_data_size is negative", SW_STR_ARG(o->t.name));
            }
            o->has_binary_size = true;
            o->binary_size = (uint64_t)size;
        } else if (type_key && sw_json_peek(json) == '"') {
            struct sw_str type;
            SW_TRY(sw_json_string(json, &type));
            has_content_type = true;
            o->base64 = sw_str_is(type, "base64");
        } else {
            has_content_type = has_content_type || type_key;
            SW_TRY(sw_json_skip(json));
        }
    }
}

/* "a, b, c" in the buffer, cut when too long; returns the buffer. */
static const char *known_names(const struct sw_tensor_specs *specs, char *buffer, size_t size) {
    size_t used = 0;
    buffer[0] = '\0';
    for (size_t i = 0; i < specs->count && used < size; i++) {
        used += (size_t)snprintf(buffer + used, size - used, "%s%s", i ? ", " : "", specs->items[i].name);
    }
    return buffer;
}

/* Refuses what the model cannot take, before anything is allocated for it. */
static sw_status check_spec(struct sw_json *json, const struct sw_tensor_specs *specs, const struct sw_tensor *t) {
    if (!specs) {
        return SW_OK;
    }
    const struct sw_tensor_spec *spec = sw_specs_find(specs, t->name);
    if (!spec) {
        char known[256];
        return sw_json_fail(json, "the model has no input \"" SW_STR_FMT "\" (it has: %s)", SW_STR_ARG(t->name),
                            known_names(specs, known, sizeof known));
    }
    return sw_tensor_check(t, spec, json->err);
}

/* Reads o->data at the cursor. Every element takes at least two bytes of text, its comma or bracket included: a shape
 * that promises more than the text can hold is refused before memory is taken for it. */
static sw_status read_data(struct sw_json *json, const struct sw_tensor_specs *specs, struct object *o) {
    SW_TRY(check_spec(json, specs, &o->t));
    size_t left = (size_t)(json->end - json->p);
    if (o->t.count > left / 2 + 1) {
        char text[128];
        return sw_json_fail(json, TENSOR_FMT "shape %s asks for %zu elements, more than the data can hold",
                            SW_STR_ARG(o->t.name), sw_shape_format(o->t.shape, o->t.rank, text, sizeof text),
                            o->t.count);
    }
    SW_TRY(sw_tensor_alloc(&o->t, json->arena, o->t.name, o->t.dtype, o->t.shape, o->t.rank, json->err));
    SW_TRY(sw_json_read_data(json, &o->t));
    o->data_done = true;
    return SW_OK;
}

/* Passes over `data` that is to be read later. Arrays without strings and objects are judged by their brackets alone:
 * whatever else stands between them meets the reader later, and that accepts an array only up to the same bracket. */
static sw_status pass_data(struct sw_json *json) {
    const char *p = json->p, *end = json->end;
    if (sw_json_peek(json) != '[') {
        return sw_json_skip(json);
    }
    const char *quote = memchr(p, '"', (size_t)(end - p));
    end = quote ? quote : end; /* a string in it would be a quote before its end */
    size_t open = 0;
    do {
        const char *close = memchr(p, ']', (size_t)(end - p));
        if (!close) {
            return sw_json_skip(json);
        }
        while ((p = memchr(p, '[', (size_t)(close - p)))) {
            p++;
            open++;
        }
        p = close + 1;
        open--;
    } while (open > 0);
    if (memchr(json->p, '{', (size_t)(p - json->p))) {
        return sw_json_skip(json);
    }
    json->p = p;
    return SW_OK;
}

static sw_status read_field(struct sw_json *json, const struct sw_tensor_specs *specs, struct sw_str key,
                            struct object *o) {
    static const struct {
        const char *key;
        enum field field;
    } fields[] = {{"name", FIELD_NAME},
                  {"shape", FIELD_SHAPE},
                  {"datatype", FIELD_DATATYPE},
                  {"parameters", FIELD_PARAMETERS},
                  {"data", FIELD_DATA}};
    enum { BEFORE_DATA = FIELD_NAME | FIELD_SHAPE | FIELD_DATATYPE };
    unsigned field = 0;
    for (size_t i = 0; i < SW_COUNTOF(fields); i++) {
        field |= sw_str_is(key, fields[i].key) ? fields[i].field : 0u;
    }
    if (o->seen & field) {
        return sw_json_fail(json, TENSOR_FMT "duplicate key \"" SW_STR_FMT "\"", SW_STR_ARG(o->t.name),
                            SW_STR_ARG(key));
    }
    o->seen |= field;
    switch (field) {
    case FIELD_NAME: return sw_json_string(json, &o->t.name);
    case FIELD_SHAPE: return read_shape(json, &o->t);
    case FIELD_DATATYPE: return read_dtype(json, &o->t);
    case FIELD_PARAMETERS: return read_parameters(json, o);
    case FIELD_DATA:
        if ((o->seen & BEFORE_DATA) == BEFORE_DATA) {
            return read_data(json, specs, o);
        }
        o->data = *json;
        return pass_data(json);
    default: return sw_json_skip(json);
    }
}

static sw_status read_binary(struct sw_json *json, const struct sw_tensor_specs *specs, struct sw_str *blobs,
                             struct object *o) {
    if (!blobs) {
        return sw_json_fail(json, TENSOR_FMT "binary_data_size, but the request carries no binary data",
                            SW_STR_ARG(o->t.name));
    }
    if (o->seen & FIELD_DATA) {
        return sw_json_fail(json, TENSOR_FMT "has both data and binary_data_size", SW_STR_ARG(o->t.name));
    }
    SW_TRY(check_spec(json, specs, &o->t));
    if (o->binary_size > blobs->len) {
        return sw_json_fail(json, TENSOR_FMT "binary_data_size is %llu, only %zu bytes of binary data are left",
                            SW_STR_ARG(o->t.name), (unsigned long long)o->binary_size, blobs->len);
    }
    struct sw_str blob = {blobs->data, (size_t)o->binary_size};
    SW_TRY(sw_binary_read(&o->t, blob, json->arena, json->err));
    *blobs = (struct sw_str){blobs->data + blob.len, blobs->len - blob.len};
    return SW_OK;
}

static sw_status decode_elements(struct sw_json *json, struct sw_tensor *t) {
    if (t->dtype != SW_DTYPE_BYTES) {
        return sw_json_fail(json, TENSOR_FMT "content_type base64 is for BYTES, the datatype is %s",
                            SW_STR_ARG(t->name), sw_dtype_name(t->dtype));
    }
    struct sw_str *elements = t->data;
    for (size_t i = 0; i < t->count; i++) {
        struct sw_error fault = {0};
        sw_status s = sw_base64_decode(elements[i], json->arena, &elements[i], &fault);
        if (s) {
            return sw_fail(json->err, s, TENSOR_FMT "element %zu: %s", SW_STR_ARG(t->name), i, fault.message);
        }
    }
    return SW_OK;
}

/* All fields are read: what is missing, and what had to wait. */
static sw_status finish(struct sw_json *json, const struct sw_tensor_specs *specs, struct sw_str *blobs,
                        struct object *o) {
    static const struct {
        enum field field;
        const char *key;
    } needed[] = {{FIELD_NAME, "name"}, {FIELD_DATATYPE, "datatype"}, {FIELD_SHAPE, "shape"}};
    for (size_t i = 0; i < SW_COUNTOF(needed); i++) {
        if (!(o->seen & needed[i].field)) {
            if ((o->seen & FIELD_DATA) && !o->data_done) {
                SW_TRY(sw_json_skip(&o->data)); /* malformed JSON is the graver fault */
            }
            return sw_json_fail(json, TENSOR_FMT "\"%s\" is missing", SW_STR_ARG(o->t.name), needed[i].key);
        }
    }
    if (o->has_binary_size) {
        return read_binary(json, specs, blobs, o);
    }
    if (!(o->seen & FIELD_DATA)) {
        return sw_json_fail(json, TENSOR_FMT "\"data\" is missing", SW_STR_ARG(o->t.name));
    }
    if (!o->data_done) {
        SW_TRY(read_data(&o->data, specs, o));
    }
    return o->base64 ? decode_elements(json, &o->t) : SW_OK;
}

sw_status sw_oip_read_tensor(struct sw_json *json, const struct sw_tensor_specs *specs, struct sw_str *blobs,
                             struct sw_tensor *ret) {
    struct object o = {0};
    SW_TRY(sw_json_enter_object(json));
    for (;;) {
        struct sw_str key;
        bool more;
        SW_TRY(sw_json_object_next(json, &key, &more));
        if (!more) {
            break;
        }
        sw_status status = read_field(json, specs, key, &o);
        if (status) {
            return json->err ? sw_error_prefix(json->err, SW_STR_FMT, SW_STR_ARG(key)) : status;
        }
    }
    SW_TRY(finish(json, specs, blobs, &o));
    *ret = o.t;
    return SW_OK;
}

sw_status sw_oip_read_tensors(struct sw_json *json, const struct sw_tensor_specs *specs, struct sw_str *blobs,
                              struct sw_tensor **ret, size_t *ret_count) {
    struct sw_tensor *tensors = NULL;
    size_t count = 0, capacity = 0;
    SW_TRY(sw_json_enter_array(json));
    for (;; count++) {
        bool more;
        SW_TRY(sw_json_array_next(json, &more));
        if (!more) {
            break;
        }
        if (count == SW_TENSORS_MAX) {
            return sw_json_fail(json, "more than %d tensors", SW_TENSORS_MAX);
        }
        if (count == capacity) {
            size_t grown = capacity ? capacity * 4 : 4;
            tensors = sw_arena_grow(json->arena, tensors, capacity * sizeof *tensors, grown * sizeof *tensors, 16);
            if (!tensors) {
                return sw_fail(json->err, SW_E_UNAVAILABLE, "no memory for %zu tensors", grown);
            }
            capacity = grown;
        }
        SW_TRY(sw_oip_read_tensor(json, specs, blobs, &tensors[count]));
        for (size_t i = 0; i < count; i++) {
            if (sw_str_eq(tensors[i].name, tensors[count].name)) {
                return sw_json_fail(json, TENSOR_FMT "given twice", SW_STR_ARG(tensors[count].name));
            }
        }
    }
    if (count == 0) {
        return sw_json_fail(json, "the list of tensors is empty");
    }
    *ret = tensors;
    *ret_count = count;
    return SW_OK;
}
