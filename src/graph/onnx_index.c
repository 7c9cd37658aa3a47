/* Who makes a value, and who uses it. */
#include "base/memory.h"
#include "graph/onnx_internal.h"

enum { CHAIN_MAX = 16, RANK_VISITS_MAX = 256 };

/* --- building ----------------------------------------------------------------------------------------------------- */

struct building {
    struct sw_onnx_index *index;
    struct sw_error *err;
};

static struct sw_onnx_value *value_of(struct sw_onnx_index *index, const char *name) {
    struct sw_onnx_value *value = sw_map_get(&index->values, sw_str_of(name));
    if (!value) {
        value = sw_onnx_take(&index->arena, sizeof *value);
        value->name = name;
        sw_map_put(&index->values, sw_str_of(name), value);
    }
    return value;
}

/* Whatever name a subgraph mentions may be one of the outer graph. */
static void capture(void *arg, Onnx__GraphProto *body) {
    struct sw_onnx_index *index = arg;
    for (size_t i = 0; i < body->n_node; i++) {
        const Onnx__NodeProto *node = body->node[i];
        for (size_t k = 0; k < node->n_input; k++) {
            if (*sw_onnx_text(node->input[k])) {
                value_of(index, node->input[k])->is_captured = true;
            }
        }
        sw_onnx_each_body(node, capture, index);
    }
    for (size_t i = 0; i < body->n_output; i++) {
        if (*sw_onnx_text(body->output[i]->name)) {
            value_of(index, body->output[i]->name)->is_captured = true;
        }
    }
}

static void add_use(struct sw_onnx_index *index, Onnx__NodeProto *node, size_t input) {
    struct sw_onnx_value *value = value_of(index, node->input[input]);
    struct sw_onnx_use *use = sw_onnx_take(&index->arena, sizeof *use);
    *use = (struct sw_onnx_use){.node = node, .input = input};
    if (value->last_use) {
        value->last_use->next = use;
    } else {
        value->uses = use;
    }
    value->last_use = use;
    value->use_count++;
}

static sw_status add_node(struct building *b, Onnx__NodeProto *node) {
    for (size_t i = 0; i < node->n_input; i++) {
        if (*sw_onnx_text(node->input[i])) {
            add_use(b->index, node, i);
        }
    }
    for (size_t i = 0; i < node->n_output; i++) {
        if (!*sw_onnx_text(node->output[i])) {
            continue;
        }
        struct sw_onnx_value *value = value_of(b->index, node->output[i]);
        if (value->producer || value->initializer || value->is_input) {
            return sw_fail(b->err, SW_E_MODEL_INVALID, "'%.200s' is made twice", value->name);
        }
        value->producer = node;
    }
    sw_onnx_each_body(node, capture, b->index);
    return SW_OK;
}

/* *ret: the value of this name, which inputs, outputs and initializers must have. */
static sw_status named(struct building *b, const char *name, const char *what, struct sw_onnx_value **ret) {
    if (!*sw_onnx_text(name)) {
        return sw_fail(b->err, SW_E_MODEL_INVALID, "an %s without a name", what);
    }
    *ret = value_of(b->index, name);
    return SW_OK;
}

static sw_status build(struct building *b, Onnx__GraphProto *graph) {
    struct sw_onnx_value *value = NULL;
    for (size_t i = 0; i < graph->n_input; i++) {
        SW_TRY(named(b, graph->input[i]->name, "input", &value));
        value->is_input = true;
    }
    for (size_t i = 0; i < graph->n_initializer; i++) {
        SW_TRY(named(b, graph->initializer[i]->name, "initializer", &value));
        if (value->initializer) {
            return sw_fail(b->err, SW_E_MODEL_INVALID, "initializer '%.200s' is given twice", value->name);
        }
        value->initializer = graph->initializer[i];
    }
    for (size_t i = 0; i < graph->n_node; i++) {
        SW_TRY(add_node(b, graph->node[i]));
    }
    for (size_t i = 0; i < graph->n_output; i++) {
        SW_TRY(named(b, graph->output[i]->name, "output", &value));
        value->is_output = true;
    }
    return SW_OK;
}

sw_status sw_onnx_index_init(struct sw_onnx_index *index, struct sw_onnx *onnx, struct sw_error *err) {
    struct building b = {index, err};
    sw_map_init(&index->values);
    sw_arena_init(&index->arena, 0, 0);
    return build(&b, onnx->proto->graph);
}

void sw_onnx_index_deinit(struct sw_onnx_index *index) {
    sw_map_deinit(&index->values);
    sw_arena_deinit(&index->arena);
}

struct sw_onnx_value *sw_onnx_find(const struct sw_onnx_index *index, const char *name) {
    return sw_map_get(&index->values, sw_str_of(name));
}

/* --- constants ---------------------------------------------------------------------------------------------------- */

static struct sw_onnx_constant no_constant(const char *why) {
    return (struct sw_onnx_constant){.why_not = why};
}

/* order after a Transpose: dimension i of what comes out is dimension perm[i] of what goes in. */
static bool compose(const Onnx__NodeProto *transpose, size_t rank, size_t order[SW_ONNX_RANK_MAX]) {
    const Onnx__AttributeProto *perm = sw_onnx_attribute(transpose, "perm");
    size_t before[SW_ONNX_RANK_MAX];
    memcpy(before, order, sizeof before);
    if (perm && perm->n_ints != rank) {
        return false;
    }
    uint32_t seen = 0;
    for (size_t i = 0; i < rank; i++) {
        int64_t from = perm ? perm->ints[i] : (int64_t)(rank - 1 - i);
        if (from < 0 || from >= (int64_t)rank || seen & UINT32_C(1) << from) {
            return false;
        }
        seen |= UINT32_C(1) << from;
        order[i] = before[from];
    }
    return true;
}

struct sw_onnx_constant sw_onnx_constant_of(const struct sw_onnx_index *index, const char *name) {
    const Onnx__NodeProto *transposes[CHAIN_MAX];
    size_t transpose_count = 0;
    struct sw_onnx_constant ret = {0};
    for (int step = 0; !ret.tensor; step++) {
        const struct sw_onnx_value *value = sw_onnx_find(index, name);
        if (value && value->initializer) {
            ret.tensor = value->initializer;
            break;
        }
        const Onnx__NodeProto *node = value ? value->producer : NULL;
        if (!node || step == CHAIN_MAX) {
            return no_constant("not constant");
        }
        if (sw_onnx_has_op(node, "DequantizeLinear")) {
            return no_constant("already quantised");
        }
        if (sw_onnx_has_op(node, "Constant")) {
            const Onnx__AttributeProto *a = sw_onnx_attribute(node, "value");
            if (!a || !a->t) {
                return no_constant("no plain tensor");
            }
            ret.tensor = a->t;
        } else if (sw_onnx_has_op(node, "Identity")) {
            name = sw_onnx_input(node, 0);
        } else if (sw_onnx_has_op(node, "Transpose")) {
            transposes[transpose_count++] = node;
            name = sw_onnx_input(node, 0);
        } else {
            return no_constant(sw_onnx_has_op(node, "Cast") ? "cast from another type" : "not constant");
        }
    }
    if (ret.tensor->n_dims > SW_ONNX_RANK_MAX) {
        return no_constant("of too many dimensions");
    }
    for (size_t i = 0; i < SW_ONNX_RANK_MAX; i++) {
        ret.order[i] = i;
    }
    ret.is_transposed = transpose_count > 0;
    while (transpose_count > 0) { /* the one next to the tensor first */
        if (!compose(transposes[--transpose_count], ret.tensor->n_dims, ret.order)) {
            return no_constant("transposed in a way that does not fit");
        }
    }
    return ret;
}

/* dims, order: of what comes out. */
static void permute(const float *from, float *to, const int64_t *source_dims, const size_t *order, size_t rank,
                    size_t count) {
    size_t strides[SW_ONNX_RANK_MAX], at[SW_ONNX_RANK_MAX] = {0}, step[SW_ONNX_RANK_MAX];
    size_t stride = 1;
    for (size_t i = rank; i-- > 0;) {
        strides[i] = stride;
        stride *= (size_t)source_dims[i];
    }
    for (size_t i = 0; i < rank; i++) {
        step[i] = strides[order[i]];
    }
    size_t source = 0;
    for (size_t n = 0; n < count; n++) {
        to[n] = from[source];
        for (size_t i = rank; i-- > 0;) { /* the next place, as an odometer counts */
            source += step[i];
            if (++at[i] < (size_t)source_dims[order[i]]) {
                break;
            }
            source -= at[i] * step[i];
            at[i] = 0;
        }
    }
}

sw_status sw_onnx_constant_floats(const struct sw_onnx_constant *constant, struct sw_arena *arena, const float **ret,
                                  int64_t dims[SW_ONNX_RANK_MAX], size_t *ret_rank, struct sw_error *err) {
    const Onnx__TensorProto *tensor = constant->tensor;
    const float *data;
    size_t count, rank = tensor->n_dims;
    SW_TRY(sw_onnx_floats(tensor, arena, &data, &count, err));
    for (size_t i = 0; i < rank; i++) {
        dims[i] = tensor->dims[constant->order[i]];
    }
    *ret_rank = rank;
    *ret = data;
    if (!constant->is_transposed || count == 0) {
        return SW_OK;
    }
    float *copy = sw_arena_alloc(arena, count * sizeof *copy);
    if (!copy) {
        return sw_fail(err, SW_E_UNAVAILABLE, "no memory for the values of '%.200s'", sw_onnx_text(tensor->name));
    }
    permute(data, copy, tensor->dims, constant->order, rank, count);
    *ret = copy;
    return SW_OK;
}

/* --- ranks -------------------------------------------------------------------------------------------------------- */

static int declared_rank(Onnx__ValueInfoProto *const *list, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        const Onnx__TypeProto *type = list[i]->type;
        if (strcmp(sw_onnx_text(list[i]->name), name) == 0 && type &&
            type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE && type->tensor_type->shape) {
            return (int)type->tensor_type->shape->n_dim;
        }
    }
    return -1;
}

/* What the operator makes of its inputs' ranks. */
static int rank_at(const struct sw_onnx_index *index, const Onnx__GraphProto *graph, const char *name, int *budget) {
    static const char *const keep[] = {"Relu",
                                       "Sigmoid",
                                       "Tanh",
                                       "LeakyRelu",
                                       "Clip",
                                       "Dropout",
                                       "Identity",
                                       "Elu",
                                       "Selu",
                                       "PRelu",
                                       "BatchNormalization",
                                       "Conv",
                                       "ConvTranspose",
                                       "MaxPool",
                                       "AveragePool",
                                       "GlobalAveragePool",
                                       "GlobalMaxPool",
                                       "LRN",
                                       "Softmax",
                                       "LogSoftmax",
                                       "Neg",
                                       "Abs",
                                       "Exp",
                                       "Log",
                                       "Sqrt",
                                       "Cast",
                                       "InstanceNormalization",
                                       "Softplus",
                                       "HardSigmoid",
                                       "Pad",
                                       "Transpose"};
    static const char *const broadcast[] = {"Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Sum"};
    int declared = declared_rank(graph->value_info, graph->n_value_info, name);
    declared = declared >= 0 ? declared : declared_rank(graph->input, graph->n_input, name);
    declared = declared >= 0 ? declared : declared_rank(graph->output, graph->n_output, name);
    const struct sw_onnx_value *value = sw_onnx_find(index, name);
    if (declared >= 0 || !value || --*budget < 0) {
        return declared;
    }
    if (value->initializer) {
        return (int)value->initializer->n_dims;
    }
    const Onnx__NodeProto *node = value->producer;
    if (!node) {
        return -1;
    }
    if (sw_onnx_has_op(node, "Gemm") || sw_onnx_has_op(node, "Flatten")) {
        return 2;
    }
    for (size_t i = 0; i < SW_COUNTOF(keep); i++) {
        if (sw_onnx_has_op(node, keep[i])) {
            return rank_at(index, graph, sw_onnx_input(node, 0), budget);
        }
    }
    bool product = sw_onnx_has_op(node, "MatMul");
    for (size_t i = 0; i < SW_COUNTOF(broadcast) && !product; i++) {
        product = sw_onnx_has_op(node, broadcast[i]);
    }
    int a = product ? rank_at(index, graph, sw_onnx_input(node, 0), budget) : -1;
    int b = a >= 0 ? rank_at(index, graph, sw_onnx_input(node, 1), budget) : -1;
    if (a < 0 || b < 0 || (sw_onnx_has_op(node, "MatMul") && (a < 2 || b < 2))) {
        return -1;
    }
    return a > b ? a : b;
}

int sw_onnx_rank(const struct sw_onnx_index *index, const Onnx__GraphProto *graph, const char *name) {
    int budget = RANK_VISITS_MAX; /* a value is asked for once a path that leads to it: there may be very many */
    return rank_at(index, graph, name, &budget);
}
