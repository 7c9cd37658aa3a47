/* Values of tensors: in the message (raw bytes, or a list of the type's own), or in another file. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "graph/onnx_internal.h"

static const struct {
    const char *name;
    size_t bytes; /* of one element; 0: less than one, or no fixed size */
} types[] = {
    {"UNDEFINED", 0},      {"FLOAT", 4},    {"UINT8", 1},        {"INT8", 1},           {"UINT16", 2},
    {"INT16", 2},          {"INT32", 4},    {"INT64", 8},        {"STRING", 0},         {"BOOL", 1},
    {"FLOAT16", 2},        {"DOUBLE", 8},   {"UINT32", 4},       {"UINT64", 8},         {"COMPLEX64", 8},
    {"COMPLEX128", 16},    {"BFLOAT16", 2}, {"FLOAT8E4M3FN", 1}, {"FLOAT8E4M3FNUZ", 1}, {"FLOAT8E5M2", 1},
    {"FLOAT8E5M2FNUZ", 1}, {"UINT4", 0},    {"INT4", 0},         {"FLOAT4E2M1", 0},
};

const char *sw_onnx_type_name(int32_t data_type) {
    return data_type >= 0 && (size_t)data_type < SW_COUNTOF(types) ? types[data_type].name : "an unknown type";
}

bool sw_onnx_count(const Onnx__TensorProto *tensor, size_t *ret) {
    uint64_t count = 1;
    bool empty = false;
    if (tensor->n_dims > SW_ONNX_RANK_MAX) {
        return false;
    }
    for (size_t i = 0; i < tensor->n_dims; i++) {
        if (tensor->dims[i] < 0 || (uint64_t)tensor->dims[i] > SW_ONNX_BYTES_MAX) {
            return false;
        }
        empty = empty || tensor->dims[i] == 0;
    }
    for (size_t i = 0; i < tensor->n_dims && !empty; i++) { /* below 2^31 each, checked after each step: no overflow */
        count *= (uint64_t)tensor->dims[i];
        if (count > SW_ONNX_BYTES_MAX) {
            return false;
        }
    }
    *ret = empty ? 0 : (size_t)count;
    return true;
}

const char *sw_onnx_shape_text(const Onnx__TensorProto *tensor, char *buffer, size_t size) {
    size_t used = (size_t)snprintf(buffer, size, "[");
    for (size_t i = 0; i < tensor->n_dims && used < size; i++) {
        used += (size_t)snprintf(buffer + used, size - used, "%s%lld", i ? "," : "", (long long)tensor->dims[i]);
    }
    if (used < size) {
        snprintf(buffer + used, size - used, "]");
    }
    return buffer;
}

static sw_status misfit(const Onnx__TensorProto *tensor, struct sw_error *err) {
    char shape[128];
    return sw_fail(err, SW_E_MODEL_INVALID, "tensor '%.200s': its data does not fit its shape %s",
                   sw_onnx_text(tensor->name), sw_onnx_shape_text(tensor, shape, sizeof shape));
}

/* Raw data of `count` elements of `size` bytes; copied where it is not aligned to them. */
static sw_status raw_values(const Onnx__TensorProto *tensor, size_t count, size_t size, struct sw_arena *arena,
                            const void **ret, struct sw_error *err) {
    if (tensor->raw_data.len != count * size) {
        return misfit(tensor, err);
    }
    if ((uintptr_t)tensor->raw_data.data % size == 0) {
        *ret = tensor->raw_data.data;
        return SW_OK;
    }
    void *copy = sw_arena_alloc(arena, count * size);
    if (!copy) {
        return sw_fail(err, SW_E_UNAVAILABLE, "no memory for the values of '%.200s'", sw_onnx_text(tensor->name));
    }
    memcpy(copy, tensor->raw_data.data, count * size);
    *ret = copy;
    return SW_OK;
}

/* own, own_count: the list for values of this type. */
static sw_status values(const Onnx__TensorProto *tensor, int32_t type, size_t size, const void *own, size_t own_count,
                        struct sw_arena *arena, const void **ret, size_t *ret_count, struct sw_error *err) {
    static const int64_t nothing[1];
    size_t count;
    if (tensor->data_type != type) {
        return sw_fail(err, SW_E_MODEL_INVALID, "tensor '%.200s' is of type %s, not %s", sw_onnx_text(tensor->name),
                       sw_onnx_type_name(tensor->data_type), sw_onnx_type_name(type));
    }
    if (tensor->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL || !sw_onnx_count(tensor, &count)) {
        return misfit(tensor, err);
    }
    *ret_count = count;
    if (count == 0) {
        *ret = nothing;
        return SW_OK;
    }
    if (tensor->has_raw_data) {
        return raw_values(tensor, count, size, arena, ret, err);
    }
    if (own_count != count) {
        return misfit(tensor, err);
    }
    *ret = own;
    return SW_OK;
}

sw_status sw_onnx_floats(const Onnx__TensorProto *tensor, struct sw_arena *arena, const float **ret, size_t *ret_count,
                         struct sw_error *err) {
    const void *data = NULL;
    SW_TRY(values(tensor, SW_ONNX_FLOAT, sizeof(float), tensor->float_data, tensor->n_float_data, arena, &data,
                  ret_count, err));
    *ret = data;
    return SW_OK;
}

sw_status sw_onnx_ints(const Onnx__TensorProto *tensor, struct sw_arena *arena, const int64_t **ret, size_t *ret_count,
                       struct sw_error *err) {
    const void *data = NULL;
    SW_TRY(values(tensor, SW_ONNX_INT64, sizeof(int64_t), tensor->int64_data, tensor->n_int64_data, arena, &data,
                  ret_count, err));
    *ret = data;
    return SW_OK;
}

Onnx__TensorProto *sw_onnx_new_tensor(struct sw_arena *arena, const char *name, int32_t data_type, const int64_t *dims,
                                      size_t rank, const void *data, size_t size) {
    Onnx__TensorProto *tensor = sw_onnx_take(arena, sizeof *tensor);
    onnx__tensor_proto__init(tensor);
    tensor->name = sw_onnx_strdup(arena, name);
    tensor->has_data_type = true;
    tensor->data_type = data_type;
    tensor->n_dims = rank;
    tensor->dims = sw_onnx_take(arena, rank * sizeof *tensor->dims);
    for (size_t i = 0; i < rank; i++) {
        tensor->dims[i] = dims[i];
    }
    tensor->has_raw_data = true;
    tensor->raw_data.data = (uint8_t *)data;
    tensor->raw_data.len = size;
    return tensor;
}

/* --- external data ------------------------------------------------------------------------------------------------ */

struct loading {
    struct sw_onnx *onnx;
    const char *dir;
    sw_status status; /* the first fault */
    struct sw_error *err;
};

struct place {
    const char *location;
    uint64_t offset, length;
    bool has_length;
};

static sw_status read_place(const Onnx__TensorProto *t, struct place *ret, struct sw_error *err) {
    for (size_t i = 0; i < t->n_external_data; i++) {
        const char *key = sw_onnx_text(t->external_data[i]->key), *text = sw_onnx_text(t->external_data[i]->value);
        bool good = true;
        if (strcmp(key, "location") == 0) {
            ret->location = text;
        } else if (strcmp(key, "offset") == 0) {
            good = sw_parse_u64(sw_str_of(text), &ret->offset);
        } else if (strcmp(key, "length") == 0) {
            good = ret->has_length = sw_parse_u64(sw_str_of(text), &ret->length);
        }
        if (!good) {
            return sw_fail(err, SW_E_MODEL_INVALID, "tensor '%.200s': %s of its external data is '%.40s'",
                           sw_onnx_text(t->name), key, text);
        }
    }
    size_t count, type = t->data_type >= 0 ? (size_t)t->data_type : 0;
    if (!ret->has_length && type < SW_COUNTOF(types) && types[type].bytes && sw_onnx_count(t, &count)) {
        ret->length = count * types[type].bytes;
        ret->has_length = true;
    }
    if (!ret->location || !ret->has_length || !sw_path_is_inside(sw_str_of(ret->location))) {
        return sw_fail(err, SW_E_MODEL_INVALID, "tensor '%.200s': its external data is '%.200s', %s",
                       sw_onnx_text(t->name), sw_onnx_text(ret->location),
                       ret->location && ret->has_length ? "outside the model's folder" : "of unknown place or length");
    }
    return SW_OK;
}

static sw_status read_exactly(int fd, const struct place *place, uint8_t *data, struct sw_error *err) {
    for (uint64_t done = 0; done < place->length;) {
        ssize_t n = pread(fd, data + done, (size_t)(place->length - done), (off_t)(place->offset + done));
        if (n < 0 && errno != EINTR) {
            return sw_fail(err, SW_E_IO, "%s", strerror(errno));
        }
        if (n == 0) {
            return sw_fail(err, SW_E_MODEL_INVALID, "ends before byte %llu, where the model expects data",
                           (unsigned long long)(place->offset + place->length));
        }
        done += n > 0 ? (uint64_t)n : 0;
    }
    return SW_OK;
}

static sw_status open_data(const char *path, const struct place *place, int *ret, struct sw_error *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat info;
    if (fd < 0) {
        return sw_fail(err, errno == ENOENT ? SW_E_MODEL_INVALID : SW_E_IO, "%s, in which the model keeps its data",
                       strerror(errno));
    }
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || (uint64_t)info.st_size < place->offset ||
        (uint64_t)info.st_size - place->offset < place->length) {
        close(fd);
        return sw_fail(err, SW_E_MODEL_INVALID, "too short, or no regular file: the model expects %llu bytes at %llu",
                       (unsigned long long)place->length, (unsigned long long)place->offset);
    }
    *ret = fd;
    return SW_OK;
}

static sw_status load_tensor(struct loading *l, Onnx__TensorProto *t) {
    struct place place = {0};
    if (!t || t->data_location != ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL) {
        return SW_OK;
    }
    SW_TRY(read_place(t, &place, l->err));
    if (!l->dir) {
        return sw_fail(l->err, SW_E_MODEL_INVALID, "tensor '%.200s' has external data, which cannot be read here",
                       sw_onnx_text(t->name));
    }
    if (place.length > SW_ONNX_BYTES_MAX || l->onnx->bytes + place.length > SW_ONNX_BYTES_MAX) {
        return sw_fail(l->err, SW_E_TOO_LARGE,
                       "with its external data the model is larger than %llu bytes, the most that one ONNX file holds",
                       (unsigned long long)SW_ONNX_BYTES_MAX);
    }
    SW_AUTO_FREE char *path = sw_path_join(l->dir, place.location);
    uint8_t *data = sw_arena_alloc(&l->onnx->arena, (size_t)place.length);
    if (!data) {
        return sw_fail(l->err, SW_E_UNAVAILABLE, "no memory for %s", path);
    }
    int fd = -1;
    sw_status status = open_data(path, &place, &fd, l->err);
    if (!status) {
        status = read_exactly(fd, &place, data, l->err);
        close(fd);
    }
    if (status) {
        return l->err ? sw_error_prefix(l->err, "%s", path) : status;
    }
    l->onnx->bytes += place.length;
    t->has_raw_data = true;
    t->raw_data = (ProtobufCBinaryData){.data = data, .len = (size_t)place.length};
    t->n_external_data = 0;
    t->has_data_location = false;
    t->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__DEFAULT;
    return SW_OK;
}

static void load_one(struct loading *l, Onnx__TensorProto *t) {
    if (!l->status) {
        l->status = load_tensor(l, t);
    }
}

static void load_sparse(struct loading *l, Onnx__SparseTensorProto *sparse) {
    if (sparse) {
        load_one(l, sparse->values);
        load_one(l, sparse->indices);
    }
}

static void load_graph(struct loading *l, Onnx__GraphProto *graph);

static void load_body(void *arg, Onnx__GraphProto *body) {
    load_graph(arg, body);
}

static void load_node(struct loading *l, Onnx__NodeProto *node) {
    for (size_t i = 0; i < node->n_attribute; i++) {
        Onnx__AttributeProto *a = node->attribute[i];
        load_one(l, a->t);
        load_sparse(l, a->sparse_tensor);
        for (size_t k = 0; k < a->n_tensors; k++) {
            load_one(l, a->tensors[k]);
        }
        for (size_t k = 0; k < a->n_sparse_tensors; k++) {
            load_sparse(l, a->sparse_tensors[k]);
        }
    }
    sw_onnx_each_body(node, load_body, l);
}

static void load_graph(struct loading *l, Onnx__GraphProto *graph) {
    for (size_t i = 0; i < graph->n_initializer; i++) {
        load_one(l, graph->initializer[i]);
    }
    for (size_t i = 0; i < graph->n_sparse_initializer; i++) {
        load_sparse(l, graph->sparse_initializer[i]);
    }
    for (size_t i = 0; i < graph->n_node; i++) {
        load_node(l, graph->node[i]);
    }
}

sw_status sw_onnx_load_external(struct sw_onnx *onnx, const char *dir, struct sw_error *err) {
    struct loading l = {.onnx = onnx, .dir = dir, .err = err};
    load_graph(&l, onnx->proto->graph);
    for (size_t i = 0; i < onnx->proto->n_functions; i++) {
        Onnx__FunctionProto *function = onnx->proto->functions[i];
        for (size_t k = 0; k < function->n_node; k++) {
            load_node(&l, function->node[k]);
        }
    }
    for (size_t i = 0; i < onnx->proto->n_training_info && !l.status; i++) {
        Onnx__TrainingInfoProto *training = onnx->proto->training_info[i];
        if (training->initialization) {
            load_graph(&l, training->initialization);
        }
        if (training->algorithm) {
            load_graph(&l, training->algorithm);
        }
    }
    return l.status;
}
