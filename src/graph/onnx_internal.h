/* Working on a model's graph: what the files of this folder share.
 *
 * Protobuf-c's structs are used as they are. Whatever is added to a model is taken from its arena; a string or array
 * that is replaced simply stays behind there. Allocating here cannot fail in a way that callers see: like sw_xmalloc,
 * the process ends when memory does; only for blocks of weights, whose size comes from the file, is it an error. */
#ifndef SW_GRAPH_ONNX_INTERNAL_H
#define SW_GRAPH_ONNX_INTERNAL_H

#include <stdbool.h>

#include "base/map.h"
#include "graph/onnx.h"
#include "spec/onnx.pb-c.h"

enum {
    SW_ONNX_FLOAT = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT,
    SW_ONNX_UINT8 = ONNX__TENSOR_PROTO__DATA_TYPE__UINT8,
    SW_ONNX_INT8 = ONNX__TENSOR_PROTO__DATA_TYPE__INT8,
    SW_ONNX_INT32 = ONNX__TENSOR_PROTO__DATA_TYPE__INT32,
    SW_ONNX_INT64 = ONNX__TENSOR_PROTO__DATA_TYPE__INT64,
    SW_ONNX_RANK_MAX = 16 /* of tensors that are worked on */
};

/* --- onnx_guard.c: is it safe to unpack? -------------------------------------------------------------------------- */

/* Walks the bytes as the unpacking will, without building anything. SW_E_MODEL_INVALID. */
SW_MUST_CHECK sw_status sw_onnx_guard(const void *data, size_t len, struct sw_error *err);

/* --- onnx_edit.c: lists, names, nodes ----------------------------------------------------------------------------- */

static inline const char *sw_onnx_text(const char *s) { /* absent fields are NULL */
    return s ? s : "";
}

void *sw_onnx_take(struct sw_arena *arena, size_t size);              /* zeroed */
char *sw_onnx_strdup(struct sw_arena *arena, const char *s);          /* NULL: "" */
bool sw_onnx_has_op(const Onnx__NodeProto *node, const char *op);     /* of the default domain */
bool sw_onnx_is_default_domain(const char *domain);                   /* "", "ai.onnx" or NULL */
const char *sw_onnx_input(const Onnx__NodeProto *node, size_t index); /* "": not given */

/* A growing array of pointers in an arena, to become a repeated field. */
struct sw_onnx_list {
    void **items;
    size_t count, capacity;
};
void sw_onnx_push(struct sw_onnx_list *list, struct sw_arena *arena, void *item);

/* The version of the default operator set; 0: not imported. */
int64_t sw_onnx_opset(const Onnx__ModelProto *model);

/* Attributes; NULL or the fallback when absent or of another kind. */
Onnx__AttributeProto *sw_onnx_attribute(const Onnx__NodeProto *node, const char *name);
int64_t sw_onnx_attribute_int(const Onnx__NodeProto *node, const char *name, int64_t fallback);
float sw_onnx_attribute_float(const Onnx__NodeProto *node, const char *name, float fallback);
void sw_onnx_set_int(struct sw_arena *arena, Onnx__NodeProto *node, const char *name, int64_t value);
void sw_onnx_remove_attribute(Onnx__NodeProto *node, const char *name);

/* A node of the default domain, without a name; NULL-terminated lists of names. */
Onnx__NodeProto *sw_onnx_new_node(struct sw_arena *arena, const char *op, const char *const *inputs,
                                  const char *const *outputs);
void sw_onnx_set_inputs(struct sw_arena *arena, Onnx__NodeProto *node, const char *const *inputs);

/* Calls fn for each graph inside the node's attributes (bodies of If, Loop, Scan). */
void sw_onnx_each_body(const Onnx__NodeProto *node, void (*fn)(void *arg, Onnx__GraphProto *body), void *arg);

/* New names: short, and used nowhere in the model, subgraphs included. */
struct sw_onnx_names {
    struct sw_map used;
    struct sw_arena *arena;
    uint64_t next;
};
void sw_onnx_names_init(struct sw_onnx_names *names, struct sw_onnx *onnx);
void sw_onnx_names_deinit(struct sw_onnx_names *names);
char *sw_onnx_fresh_name(struct sw_onnx_names *names);

/* Appends to the graph's initializers. */
void sw_onnx_add_initializer(struct sw_onnx *onnx, Onnx__TensorProto *tensor);
/* Takes initializer `name` away, and the input, value_info and annotation of that name. */
void sw_onnx_remove_initializer(Onnx__GraphProto *graph, const char *name);

/* --- onnx_tensor.c: values of tensors ----------------------------------------------------------------------------- */

/* Number of elements. false: a negative dimension, more than SW_ONNX_BYTES_MAX, or rank > SW_ONNX_RANK_MAX. */
bool sw_onnx_count(const Onnx__TensorProto *tensor, size_t *ret);
const char *sw_onnx_type_name(int32_t data_type); /* "FLOAT16" */
/* "[64,10]" in the buffer. */
const char *sw_onnx_shape_text(const Onnx__TensorProto *tensor, char *buffer, size_t size);

/* Values of an FP32 tensor; borrowed from the tensor where they lie ready, else copied into the arena.
 * SW_E_MODEL_INVALID: another type, external, or data that does not fit the dimensions; SW_E_UNAVAILABLE: no memory. */
SW_MUST_CHECK sw_status sw_onnx_floats(const Onnx__TensorProto *tensor, struct sw_arena *arena, const float **ret,
                                       size_t *ret_count, struct sw_error *err);
/* The same of INT64. */
SW_MUST_CHECK sw_status sw_onnx_ints(const Onnx__TensorProto *tensor, struct sw_arena *arena, const int64_t **ret,
                                     size_t *ret_count, struct sw_error *err);

/* A tensor with raw data, which is kept, not copied. size: bytes. */
Onnx__TensorProto *sw_onnx_new_tensor(struct sw_arena *arena, const char *name, int32_t data_type, const int64_t *dims,
                                      size_t rank, const void *data, size_t size);

/* Reads external data in. dir NULL: refused. *bytes: grows by what was read; more than SW_ONNX_BYTES_MAX is
 * SW_E_TOO_LARGE. */
SW_MUST_CHECK sw_status sw_onnx_load_external(struct sw_onnx *onnx, const char *dir, struct sw_error *err);

/* --- onnx_index.c: who makes a value, and who uses it ------------------------------------------------------------- */

struct sw_onnx_use {
    Onnx__NodeProto *node;
    size_t input;
    struct sw_onnx_use *next; /* in the order of the graph */
};

struct sw_onnx_value {
    const char *name;
    Onnx__TensorProto *initializer; /* or NULL */
    Onnx__NodeProto *producer;      /* or NULL */
    struct sw_onnx_use *uses, *last_use;
    size_t use_count;
    bool is_input, is_output; /* of the graph */
    bool is_captured;         /* a subgraph uses this name */
};

/* Of the model's own graph, as it stands; not kept up to date. Borrows from the model. */
struct sw_onnx_index {
    struct sw_map values;
    struct sw_arena arena;
};

/* SW_E_MODEL_INVALID: a name that two nodes make, or a node and an initializer. deinit in either case. */
SW_MUST_CHECK sw_status sw_onnx_index_init(struct sw_onnx_index *index, struct sw_onnx *onnx, struct sw_error *err);
void sw_onnx_index_deinit(struct sw_onnx_index *index);
struct sw_onnx_value *sw_onnx_find(const struct sw_onnx_index *index, const char *name); /* NULL: nowhere */

/* A constant: an initializer, or what a Constant node makes of a tensor, seen through Identity and Transpose. */
struct sw_onnx_constant {
    const Onnx__TensorProto *tensor; /* NULL: no constant */
    bool is_transposed;              /* its dimensions are to be read in the order of `order` */
    size_t order[SW_ONNX_RANK_MAX];
    const char *why_not; /* when it is none: static text */
};
struct sw_onnx_constant sw_onnx_constant_of(const struct sw_onnx_index *index, const char *name);

/* Dimensions as the order says, and values: FP32 only. SW_E_MODEL_INVALID, SW_E_UNAVAILABLE. */
SW_MUST_CHECK sw_status sw_onnx_constant_floats(const struct sw_onnx_constant *constant, struct sw_arena *arena,
                                                const float **ret, int64_t dims[SW_ONNX_RANK_MAX], size_t *ret_rank,
                                                struct sw_error *err);

/* The number of dimensions of a value where the graph tells: declared, or by its producer; -1: unknown. */
int sw_onnx_rank(const struct sw_onnx_index *index, const Onnx__GraphProto *graph, const char *name);

#endif
