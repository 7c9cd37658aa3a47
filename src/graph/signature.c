/* See signature.h. Two walks over the file (base/wire): the first collects inputs, outputs, operator set and external
 * data; the second takes those inputs away that an initializer gives a value, so that what is held grows with the
 * inputs and never with the number of weights. Nodes are walked too, into their attributes: subgraphs have
 * initializers of their own, and a constant may have its bytes in another file.
 *
 * Field numbers are those of onnx.proto: ModelProto, GraphProto, ValueInfoProto, TypeProto, TensorProto, NodeProto,
 * AttributeProto. */
#include "graph/signature.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/map.h"
#include "base/memory.h"
#include "base/wire.h"
#include "tensor/tensor.h"

enum {
    VALUES_MAX = 4096, /* inputs, and outputs */
    FILES_MAX = 10000, /* of external data */
    NAME_MAX_BYTES = 1024,
    LOCATION_MAX = 4096,
    RANK_MAX = 64,
    DEPTH_MAX = 32,      /* graphs in graphs */
    FIELDS_MAX = 1 << 29 /* bounds the time that a file of nothing but tiny fields takes */
};

enum {
    MODEL_IR_VERSION = 1,
    MODEL_GRAPH = 7,
    MODEL_OPSET = 8,
    MODEL_FUNCTIONS = 25,
    OPSET_DOMAIN = 1,
    OPSET_VERSION = 2,
    FUNCTION_NODE = 7,
    GRAPH_NODE = 1,
    GRAPH_INITIALIZER = 5,
    GRAPH_INPUT = 11,
    GRAPH_OUTPUT = 12,
    GRAPH_SPARSE_INITIALIZER = 15,
    NODE_ATTRIBUTE = 5,
    ATTRIBUTE_TENSOR = 5,
    ATTRIBUTE_GRAPH = 6,
    ATTRIBUTE_TENSORS = 10,
    ATTRIBUTE_GRAPHS = 11,
    ATTRIBUTE_SPARSE = 22,
    ATTRIBUTE_SPARSES = 23,
    SPARSE_VALUES = 1,
    SPARSE_INDICES = 2,
    TENSOR_NAME = 8,
    TENSOR_EXTERNAL = 13,
    TENSOR_LOCATION = 14,
    LOCATION_EXTERNAL = 1,
    ENTRY_KEY = 1,
    ENTRY_VALUE = 2,
    VALUE_NAME = 1,
    VALUE_TYPE = 2,
    TYPE_TENSOR = 1,
    TENSOR_TYPE_ELEMENT = 1,
    TENSOR_TYPE_SHAPE = 2,
    SHAPE_DIMENSION = 1,
    DIMENSION_VALUE = 1
};

static const enum sw_dtype dtypes[] = {
    /* by TensorProto.DataType */
    [1] = SW_DTYPE_FP32,  [2] = SW_DTYPE_UINT8,   [3] = SW_DTYPE_INT8,    [4] = SW_DTYPE_UINT16, [5] = SW_DTYPE_INT16,
    [6] = SW_DTYPE_INT32, [7] = SW_DTYPE_INT64,   [8] = SW_DTYPE_BYTES,   [9] = SW_DTYPE_BOOL,   [10] = SW_DTYPE_FP16,
    [11] = SW_DTYPE_FP64, [12] = SW_DTYPE_UINT32, [13] = SW_DTYPE_UINT64, [16] = SW_DTYPE_BF16,
};

struct reader {
    struct sw_wire wire;
    json_t *inputs, *outputs, *external;
    struct sw_map names;     /* of inputs: -> their object, borrowed from `inputs` */
    struct sw_map locations; /* in `external` */
    int64_t opset;           /* of the default domain; 0: none */
    bool has_graph, has_version;
    struct sw_error *err;
};

struct value {
    char name[NAME_MAX_BYTES + 1];
    enum sw_dtype dtype; /* SW_DTYPE_INVALID: no tensor, or of a type that cannot be served */
    bool shaped;
    uint32_t rank;
    int64_t shape[RANK_MAX];
};

/* A text of the file into the buffer: not cut, UTF-8, no NUL. A broken wire gives an empty text; the caller's walk
 * ends by itself then. */
static sw_status read_text(struct reader *r, const struct sw_wire_field *field, const char *what, char *ret,
                           size_t size) {
    uint64_t length = sw_wire_text(&r->wire, field, ret, size);
    if (r->wire.broken) {
        ret[0] = '\0';
        return SW_OK;
    }
    if (length >= size) {
        return sw_fail(r->err, SW_E_MODEL_INVALID, "%s: %llu bytes, at most %zu are read", what,
                       (unsigned long long)length, size - 1);
    }
    struct sw_str text = {ret, (size_t)length};
    if (memchr(ret, 0, text.len) || !sw_utf8_valid(text)) {
        return sw_fail(r->err, SW_E_MODEL_INVALID, "%s: not UTF-8, or with a NUL inside", what);
    }
    return SW_OK;
}

/* inputs and outputs ----------------------------------------------------------------------------------------------- */

static int64_t read_dimension(struct sw_wire *w, uint64_t end) {
    int64_t size = -1; /* a name, or nothing */
    struct sw_wire_field f = {0};
    while (sw_wire_next(w, end, &f)) {
        if (sw_wire_is_varint(&f, DIMENSION_VALUE)) {
            size = (int64_t)f.value;
        }
    }
    return size < 0 ? -1 : size;
}

static sw_status read_shape(struct reader *r, uint64_t end, struct value *value) {
    struct sw_wire_field f = {0};
    value->shaped = true;
    while (sw_wire_next(&r->wire, end, &f)) {
        if (!sw_wire_is_bytes(&f, SHAPE_DIMENSION)) {
            continue;
        }
        if (value->rank == RANK_MAX) {
            return sw_fail(r->err, SW_E_MODEL_INVALID, "'%.200s' has more than %d dimensions", value->name, RANK_MAX);
        }
        value->shape[value->rank++] = read_dimension(&r->wire, f.end);
    }
    return SW_OK;
}

static sw_status read_type(struct reader *r, uint64_t end, struct value *value) {
    struct sw_wire_field f = {0};
    while (sw_wire_next(&r->wire, end, &f)) {
        if (!sw_wire_is_bytes(&f, TYPE_TENSOR)) {
            continue;
        }
        struct sw_wire_field g = {0};
        while (sw_wire_next(&r->wire, f.end, &g)) {
            if (sw_wire_is_varint(&g, TENSOR_TYPE_ELEMENT)) {
                value->dtype = g.value < SW_COUNTOF(dtypes) ? dtypes[g.value] : SW_DTYPE_INVALID;
            } else if (sw_wire_is_bytes(&g, TENSOR_TYPE_SHAPE)) {
                SW_TRY(read_shape(r, g.end, value));
            }
        }
    }
    return SW_OK;
}

static json_t *value_json(const struct value *value) {
    json_t *shape = value->shaped ? json_array() : json_null();
    for (uint32_t i = 0; i < value->rank; i++) {
        json_array_append_new(shape, json_integer(value->shape[i]));
    }
    return json_pack("{s:s, s:s?, s:o}", "name", value->name, "datatype",
                     value->dtype ? sw_dtype_name(value->dtype) : NULL, "shape", shape);
}

/* One ValueInfoProto to the end of the list. */
static sw_status read_value(struct reader *r, uint64_t end, json_t *list, const char *kind) {
    struct value value = {.name = ""};
    struct sw_wire_field f = {0};
    if (json_array_size(list) == VALUES_MAX) {
        return sw_fail(r->err, SW_E_MODEL_INVALID, "more than %d %ss", VALUES_MAX, kind);
    }
    while (sw_wire_next(&r->wire, end, &f)) {
        if (sw_wire_is_bytes(&f, VALUE_NAME)) {
            SW_TRY(read_text(r, &f, kind, value.name, sizeof value.name));
        } else if (sw_wire_is_bytes(&f, VALUE_TYPE)) {
            SW_TRY(read_type(r, f.end, &value));
        }
    }
    if (r->wire.broken) {
        return SW_OK;
    }
    if (!value.name[0]) {
        return sw_fail(r->err, SW_E_MODEL_INVALID, "an %s without a name", kind);
    }
    json_t *json = value_json(&value);
    if (!json || json_array_append_new(list, json) != 0) {
        return sw_fail(r->err, SW_E_UNAVAILABLE, "out of memory");
    }
    if (list == r->inputs && sw_map_put(&r->names, sw_str_of(value.name), json)) {
        return sw_fail(r->err, SW_E_MODEL_INVALID, "input '%.200s' is declared twice", value.name);
    }
    return SW_OK;
}

/* external data ---------------------------------------------------------------------------------------------------- */

/* The value of a StringStringEntryProto when its key is "location". */
static sw_status read_location(struct reader *r, uint64_t end, char *ret, size_t size) {
    char key[16] = "", value[LOCATION_MAX + 1] = "";
    struct sw_wire_field f = {0};
    while (sw_wire_next(&r->wire, end, &f)) {
        if (sw_wire_is_bytes(&f, ENTRY_KEY)) {
            sw_wire_text(&r->wire, &f, key, sizeof key);
        } else if (sw_wire_is_bytes(&f, ENTRY_VALUE)) {
            SW_TRY(read_text(r, &f, "the location of external data", value, sizeof value));
        }
    }
    if (strcmp(key, "location") == 0) {
        snprintf(ret, size, "%s", value);
    }
    return SW_OK;
}

static sw_status add_location(struct reader *r, const char *location) {
    if (sw_map_get(&r->locations, sw_str_of(location))) {
        return SW_OK;
    }
    if (json_array_size(r->external) == FILES_MAX) {
        return sw_fail(r->err, SW_E_MODEL_INVALID, "external data in more than %d files", FILES_MAX);
    }
    sw_map_put(&r->locations, sw_str_of(location), r);
    json_array_append_new(r->external, json_string(location));
    return SW_OK;
}

static sw_status read_tensor(struct reader *r, uint64_t end) {
    char location[LOCATION_MAX + 1] = "";
    bool external = false;
    struct sw_wire_field f = {0};
    while (sw_wire_next(&r->wire, end, &f)) {
        if (sw_wire_is_bytes(&f, TENSOR_EXTERNAL)) {
            SW_TRY(read_location(r, f.end, location, sizeof location));
        } else if (sw_wire_is_varint(&f, TENSOR_LOCATION)) {
            external = f.value == LOCATION_EXTERNAL;
        }
    }
    if (!external || r->wire.broken) {
        return SW_OK;
    }
    return location[0] ? add_location(r, location)
                       : sw_fail(r->err, SW_E_MODEL_INVALID, "a tensor with external data names no file");
}

static sw_status read_sparse(struct reader *r, uint64_t end) {
    struct sw_wire_field f = {0};
    while (sw_wire_next(&r->wire, end, &f)) {
        if (sw_wire_is_bytes(&f, SPARSE_VALUES) || sw_wire_is_bytes(&f, SPARSE_INDICES)) {
            SW_TRY(read_tensor(r, f.end));
        }
    }
    return SW_OK;
}

/* graphs ----------------------------------------------------------------------------------------------------------- */

static sw_status read_graph(struct reader *r, uint64_t end, unsigned depth);

static sw_status read_attribute(struct reader *r, uint64_t end, unsigned depth) {
    struct sw_wire_field f = {0};
    while (sw_wire_next(&r->wire, end, &f)) {
        if (f.kind != SW_WIRE_BYTES) {
            continue;
        }
        switch (f.number) {
        case ATTRIBUTE_TENSOR:
        case ATTRIBUTE_TENSORS: SW_TRY(read_tensor(r, f.end)); break;
        case ATTRIBUTE_SPARSE:
        case ATTRIBUTE_SPARSES: SW_TRY(read_sparse(r, f.end)); break;
        case ATTRIBUTE_GRAPH:
        case ATTRIBUTE_GRAPHS: SW_TRY(read_graph(r, f.end, depth + 1)); break;
        default: break;
        }
    }
    return SW_OK;
}

static sw_status read_node(struct reader *r, uint64_t end, unsigned depth) {
    struct sw_wire_field f = {0};
    while (sw_wire_next(&r->wire, end, &f)) {
        if (sw_wire_is_bytes(&f, NODE_ATTRIBUTE)) {
            SW_TRY(read_attribute(r, f.end, depth));
        }
    }
    return SW_OK;
}

/* Depth 0: the model's own graph, whose inputs and outputs are the signature. */
static sw_status read_graph(struct reader *r, uint64_t end, unsigned depth) {
    if (depth > DEPTH_MAX) {
        return sw_fail(r->err, SW_E_MODEL_INVALID, "graphs within graphs, more than %d deep", DEPTH_MAX);
    }
    struct sw_wire_field f = {0};
    while (sw_wire_next(&r->wire, end, &f)) {
        if (f.kind != SW_WIRE_BYTES) {
            continue;
        }
        switch (f.number) {
        case GRAPH_NODE: SW_TRY(read_node(r, f.end, depth)); break;
        case GRAPH_INITIALIZER: SW_TRY(read_tensor(r, f.end)); break;
        case GRAPH_SPARSE_INITIALIZER: SW_TRY(read_sparse(r, f.end)); break;
        case GRAPH_INPUT: SW_TRY(depth ? SW_OK : read_value(r, f.end, r->inputs, "input")); break;
        case GRAPH_OUTPUT: SW_TRY(depth ? SW_OK : read_value(r, f.end, r->outputs, "output")); break;
        default: break;
        }
    }
    return SW_OK;
}

static void read_opset(struct reader *r, uint64_t end) {
    char domain[16] = "";
    int64_t version = 0;
    struct sw_wire_field f = {0};
    while (sw_wire_next(&r->wire, end, &f)) {
        if (sw_wire_is_bytes(&f, OPSET_DOMAIN)) {
            sw_wire_text(&r->wire, &f, domain, sizeof domain);
        } else if (sw_wire_is_varint(&f, OPSET_VERSION)) {
            version = (int64_t)f.value;
        }
    }
    if (!domain[0] || strcmp(domain, "ai.onnx") == 0) {
        r->opset = version;
    }
}

static sw_status read_function(struct reader *r, uint64_t end) {
    struct sw_wire_field f = {0};
    while (sw_wire_next(&r->wire, end, &f)) {
        if (sw_wire_is_bytes(&f, FUNCTION_NODE)) {
            SW_TRY(read_node(r, f.end, 1));
        }
    }
    return SW_OK;
}

/* The first walk. */
static sw_status read_model(struct reader *r) {
    struct sw_wire_field f = {0};
    while (sw_wire_next(&r->wire, r->wire.size, &f)) {
        if (f.kind != SW_WIRE_BYTES) {
            r->has_version = r->has_version || sw_wire_is_varint(&f, MODEL_IR_VERSION);
            continue;
        }
        switch (f.number) {
        case MODEL_OPSET: read_opset(r, f.end); break;
        case MODEL_FUNCTIONS: SW_TRY(read_function(r, f.end)); break;
        case MODEL_GRAPH:
            r->has_graph = true;
            SW_TRY(read_graph(r, f.end, 0));
            break;
        default: break;
        }
    }
    return SW_OK;
}

/* The name of an initializer: that of its tensor; of a sparse one: that of its values. */
static void read_initializer_name(struct sw_wire *w, uint64_t end, bool sparse, char *ret, size_t size) {
    struct sw_wire_field f = {0};
    while (sw_wire_next(w, end, &f)) {
        if (sparse && sw_wire_is_bytes(&f, SPARSE_VALUES)) {
            read_initializer_name(w, f.end, false, ret, size);
        } else if (!sparse && sw_wire_is_bytes(&f, TENSOR_NAME) && sw_wire_text(w, &f, ret, size) >= size) {
            ret[0] = '\0'; /* longer than any input's name */
        }
    }
}

/* The second walk: inputs that an initializer gives a value leave the map. */
static void drop_initialized(struct reader *r) {
    struct sw_wire *w = &r->wire;
    struct sw_wire_field f = {0};
    w->at = 0;
    w->fields = 0;
    while (r->names.count && sw_wire_next(w, w->size, &f)) {
        struct sw_wire_field g = {0};
        while (sw_wire_is_bytes(&f, MODEL_GRAPH) && sw_wire_next(w, f.end, &g)) {
            bool sparse = sw_wire_is_bytes(&g, GRAPH_SPARSE_INITIALIZER);
            if (sparse || sw_wire_is_bytes(&g, GRAPH_INITIALIZER)) {
                char name[NAME_MAX_BYTES + 1] = "";
                read_initializer_name(w, g.end, sparse, name, sizeof name);
                sw_map_remove(&r->names, sw_str_of(name));
            }
        }
    }
}

static sw_status finish(struct reader *r) {
    if (r->wire.error) {
        return sw_fail(r->err, SW_E_IO, "%s", strerror(r->wire.error));
    }
    if (r->wire.broken) {
        return sw_fail(r->err, SW_E_MODEL_INVALID,
                       r->has_version ? "broken or cut off at byte %llu" : "not an ONNX model (at byte %llu)",
                       (unsigned long long)r->wire.at);
    }
    return r->has_graph ? SW_OK : sw_fail(r->err, SW_E_MODEL_INVALID, "not an ONNX model: there is no graph in it");
}

static sw_status read_file(struct reader *r) {
    SW_TRY(read_model(r));
    SW_TRY(finish(r));
    drop_initialized(r);
    SW_TRY(finish(r));
    for (size_t i = json_array_size(r->inputs); i-- > 0;) {
        const char *name = json_string_value(json_object_get(json_array_get(r->inputs, i), "name"));
        if (!sw_map_get(&r->names, sw_str_of(name))) {
            json_array_remove(r->inputs, i);
        }
    }
    return SW_OK;
}

sw_status sw_onnx_signature_fd(int fd, json_t **ret, json_t **ret_external, struct sw_error *err) {
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        return sw_fail(err, SW_E_IO, "not a regular file");
    }
    struct reader *r = SW_NEW(struct reader);
    sw_wire_init_fd(&r->wire, fd, (uint64_t)info.st_size);
    r->wire.fields_max = FIELDS_MAX;
    r->inputs = json_array();
    r->outputs = json_array();
    r->external = json_array();
    r->err = err;
    sw_map_init(&r->names);
    sw_map_init(&r->locations);
    sw_status status = read_file(r);
    if (!status) {
        *ret = json_pack("{s:O, s:O, s:o}", "inputs", r->inputs, "outputs", r->outputs, "opset",
                         r->opset > 0 ? json_integer(r->opset) : json_null());
        if (ret_external) {
            *ret_external = json_incref(r->external);
        }
    }
    json_decref(r->inputs);
    json_decref(r->outputs);
    json_decref(r->external);
    sw_map_deinit(&r->names);
    sw_map_deinit(&r->locations);
    sw_free(r);
    return status;
}

sw_status sw_onnx_signature(const char *path, json_t **ret, json_t **ret_external, struct sw_error *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* not to wait for the writer of a FIFO */
    if (fd < 0) {
        return sw_fail(err, errno == ENOENT || errno == ENOTDIR ? SW_E_NOT_FOUND : SW_E_IO, "%s", strerror(errno));
    }
    sw_status status = sw_onnx_signature_fd(fd, ret, ret_external, err);
    close(fd);
    return status;
}
