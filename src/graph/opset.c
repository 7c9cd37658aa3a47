/* See opset.h. Source: the operator change log of ONNX. Between 7 and 13 most operators only gained types and
 * attributes with harmless defaults: those stand in `compatible`. In others attributes became inputs, which is done
 * here (`moved`), or the meaning changed, which is checked one by one. An operator in no table is refused: what is not
 * known cannot be promised. Operators of other domains have versions of their own and stay as they are. */
#include "graph/opset.h"

#include <math.h>

#include "base/memory.h"
#include "graph/onnx_internal.h"

enum { OPSET_FIRST = 7, OPSET_LAST = 13, BODY_DEPTH_MAX = 40 };

static const char *const compatible[] = {
    "Abs",
    "Acos",
    "Acosh",
    "Add",
    "And",
    "ArgMax",
    "ArgMin",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "AveragePool",
    "BitShift",
    "Cast",
    "Ceil",
    "Celu",
    "Compress",
    "Concat",
    "ConcatFromSequence",
    "Constant",
    "ConstantOfShape",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "Cos",
    "Cosh",
    "CumSum",
    "DepthToSpace",
    "DequantizeLinear",
    "Det",
    "Div",
    "DynamicQuantizeLinear",
    "Einsum",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Expand",
    "EyeLike",
    "Flatten",
    "Floor",
    "GRU",
    "Gather",
    "GatherElements",
    "GatherND",
    "Gemm",
    "GlobalAveragePool",
    "GlobalLpPool",
    "GlobalMaxPool",
    "Greater",
    "GreaterOrEqual",
    "HardSigmoid",
    "Identity",
    "If",
    "InstanceNormalization",
    "IsInf",
    "IsNaN",
    "LRN",
    "LSTM",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "Loop",
    "LpNormalization",
    "LpPool",
    "MatMul",
    "MatMulInteger",
    "Max",
    "MaxPool",
    "MaxRoiPool",
    "MaxUnpool",
    "Mean",
    "MeanVarianceNormalization",
    "Min",
    "Mod",
    "Mul",
    "Multinomial",
    "Neg",
    "NonMaxSuppression",
    "NonZero",
    "Not",
    "OneHot",
    "Or",
    "PRelu",
    "Pow",
    "QLinearConv",
    "QLinearMatMul",
    "QuantizeLinear",
    "RNN",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Range",
    "Reciprocal",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSumSquare",
    "Relu",
    "Reshape",
    "ReverseSequence",
    "RoiAlign",
    "Round",
    "ScatterElements",
    "ScatterND",
    "Selu",
    "SequenceAt",
    "SequenceConstruct",
    "SequenceEmpty",
    "SequenceErase",
    "SequenceInsert",
    "SequenceLength",
    "Shape",
    "Shrink",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Size",
    "Softplus",
    "Softsign",
    "SpaceToDepth",
    "SplitToSequence",
    "Sqrt",
    "StringNormalizer",
    "Sub",
    "Sum",
    "Tan",
    "Tanh",
    "TfIdfVectorizer",
    "ThresholdedRelu",
    "Tile",
    "Transpose",
    "Unique",
    "Where",
    "Xor",
};

/* Attributes that became inputs: of `op`, in version `since`, attribute `name` is input `input`. */
static const struct moved {
    const char *op;
    int64_t since;
    const char *name;
    size_t input;
    enum { INTS, FLOAT_SCALAR, INT_LIST /* one number, as a list */ } kind;
    bool is_required;
} moved[] = {
    {"Clip", 11, "min", 1, FLOAT_SCALAR, false}, {"Clip", 11, "max", 2, FLOAT_SCALAR, false},
    {"Pad", 11, "pads", 1, INTS, true},          {"Pad", 11, "value", 2, FLOAT_SCALAR, false},
    {"Slice", 10, "starts", 1, INTS, true},      {"Slice", 10, "ends", 2, INTS, true},
    {"Slice", 10, "axes", 3, INTS, false},       {"TopK", 10, "k", 1, INT_LIST, true},
    {"Split", 13, "split", 1, INTS, false},      {"Squeeze", 13, "axes", 1, INTS, false},
    {"Unsqueeze", 13, "axes", 1, INTS, true},    {"ReduceSum", 13, "axes", 1, INTS, false},
};

struct raising {
    struct sw_onnx *onnx;
    struct sw_onnx_names names;
    struct sw_onnx_index index; /* for ranks; of the outer graph */
    int64_t from, target;
    int depth;
    sw_status status;
    struct sw_error *err;
};

static const char *label(const Onnx__NodeProto *node) { /* what people call the node */
    const char *name = sw_onnx_text(node->name);
    return *name || !node->n_output ? name : sw_onnx_text(node->output[0]);
}

static sw_status refuse(struct raising *r, const Onnx__NodeProto *node, const char *why) {
    return sw_fail(r->err, SW_E_MODEL_INVALID,
                   "the model's operator set %lld cannot be raised to %lld: %s '%.150s' %s; export the model with "
                   "operator set %lld or later",
                   (long long)r->from, (long long)r->target, sw_onnx_text(node->op_type), label(node), why,
                   (long long)r->target);
}

/* --- attributes to inputs ----------------------------------------------------------------------------------------- */

static Onnx__TensorProto *attribute_tensor(struct raising *r, const struct moved *m, const Onnx__AttributeProto *a) {
    struct sw_arena *arena = &r->onnx->arena;
    const char *name = sw_onnx_fresh_name(&r->names);
    int64_t count = m->kind == INTS ? (int64_t)a->n_ints : 1;
    if (m->kind == FLOAT_SCALAR) {
        float *value = sw_onnx_take(arena, sizeof *value);
        *value = a->f;
        return sw_onnx_new_tensor(arena, name, SW_ONNX_FLOAT, NULL, 0, value, sizeof *value);
    }
    int64_t *list = sw_onnx_take(arena, (size_t)count * sizeof *list);
    for (int64_t i = 0; i < count; i++) {
        list[i] = m->kind == INTS ? a->ints[i] : a->i;
    }
    return sw_onnx_new_tensor(arena, name, SW_ONNX_INT64, &count, 1, list, (size_t)count * sizeof *list);
}

/* Input `index` becomes `name`; what stands before it and is not given is "". */
static void put_input(struct raising *r, Onnx__NodeProto *node, size_t index, const char *name) {
    size_t count = node->n_input > index + 1 ? node->n_input : index + 1;
    const char **inputs = sw_onnx_take(&r->onnx->arena, (count + 1) * sizeof(const char *));
    for (size_t i = 0; i < count; i++) {
        inputs[i] = i == index ? name : sw_onnx_input(node, i);
    }
    sw_onnx_set_inputs(&r->onnx->arena, node, inputs);
}

static sw_status move_attribute(struct raising *r, Onnx__NodeProto *node, const struct moved *m) {
    const Onnx__AttributeProto *a = sw_onnx_attribute(node, m->name);
    if (!a) {
        return m->is_required ? refuse(r, node, "lacks an attribute that it must have") : SW_OK;
    }
    if ((m->kind == FLOAT_SCALAR && !a->has_f) || (m->kind == INT_LIST && !a->has_i)) {
        return refuse(r, node, "has an attribute of the wrong kind");
    }
    Onnx__TensorProto *tensor = attribute_tensor(r, m, a);
    sw_onnx_add_initializer(r->onnx, tensor); /* of the outer graph: bodies see its values */
    put_input(r, node, m->input, tensor->name);
    sw_onnx_remove_attribute(node, m->name);
    return SW_OK;
}

/* *ret: is this one of those operators? */
static sw_status move_attributes(struct raising *r, Onnx__NodeProto *node, bool *ret) {
    *ret = false;
    for (size_t i = 0; i < SW_COUNTOF(moved); i++) {
        const struct moved *m = &moved[i];
        if (strcmp(m->op, node->op_type) != 0) {
            continue;
        }
        *ret = true;
        if (r->from < m->since && r->target >= m->since) {
            SW_TRY(move_attribute(r, node, m));
        }
    }
    return SW_OK;
}

/* --- changed meanings --------------------------------------------------------------------------------------------- */

/* Before 13 these flatten to a matrix at `axis` (default 1); since then they work along it (default -1). The same when
 * it is the last dimension. */
static sw_status raise_softmax(struct raising *r, Onnx__NodeProto *node) {
    int64_t axis = sw_onnx_attribute_int(node, "axis", 1);
    int rank = r->depth == 0 ? sw_onnx_rank(&r->index, r->onnx->proto->graph, sw_onnx_input(node, 0)) : -1;
    if (axis != -1 && (rank < 1 || axis != rank - 1)) {
        return refuse(r, node,
                      rank < 1 ? "works along an axis that cannot be proved to be the last"
                               : "works along an axis that is not the last, which means something else since");
    }
    sw_onnx_set_int(&r->onnx->arena, node, "axis", -1);
    return SW_OK;
}

static sw_status raise_batch_normalization(struct raising *r, Onnx__NodeProto *node) {
    if (sw_onnx_attribute_int(node, "spatial", 1) != 1) {
        return refuse(r, node, "is not spatial");
    }
    if (node->n_output > 1) {
        return refuse(r, node, "is one for training");
    }
    sw_onnx_remove_attribute(node, "spatial");
    return SW_OK;
}

static sw_status raise_dropout(struct raising *r, Onnx__NodeProto *node) {
    if (r->from < 12 && r->target >= 12) {
        if (node->n_output > 1) {
            return refuse(r, node, "gives its mask");
        }
        sw_onnx_remove_attribute(node, "ratio"); /* in inference it hands its input on, whatever the ratio */
    }
    return SW_OK;
}

static sw_status raise_scatter(struct raising *r, Onnx__NodeProto *node) {
    if (r->target >= 11) {
        node->op_type = sw_onnx_strdup(&r->onnx->arena, "ScatterElements");
    }
    return SW_OK;
}

static sw_status raise_resize(struct raising *r, Onnx__NodeProto *node) {
    return r->from >= 11 || r->target < 11 ? SW_OK : refuse(r, node, "samples otherwise since version 11");
}

static sw_status raise_scan(struct raising *r, Onnx__NodeProto *node) {
    return r->from >= 9 ? SW_OK : refuse(r, node, "has other inputs since version 9");
}

static const struct {
    const char *op;
    sw_status (*raise)(struct raising *r, Onnx__NodeProto *node);
} changed[] = {
    {"Softmax", raise_softmax}, {"LogSoftmax", raise_softmax},
    {"Hardmax", raise_softmax}, {"BatchNormalization", raise_batch_normalization},
    {"Dropout", raise_dropout}, {"Scatter", raise_scatter},
    {"Resize", raise_resize},   {"Scan", raise_scan},
};

/* --- the walk ----------------------------------------------------------------------------------------------------- */

static sw_status raise_node(struct raising *r, Onnx__NodeProto *node) {
    bool known;
    if (!sw_onnx_is_default_domain(node->domain) || !node->op_type) {
        return SW_OK;
    }
    SW_TRY(move_attributes(r, node, &known));
    for (size_t i = 0; i < SW_COUNTOF(changed) && !known; i++) {
        if (strcmp(changed[i].op, node->op_type) == 0) {
            bool softmax = changed[i].raise == raise_softmax;
            return softmax && r->target < 13 ? SW_OK : changed[i].raise(r, node);
        }
    }
    for (size_t i = 0; i < SW_COUNTOF(compatible) && !known; i++) {
        known = strcmp(compatible[i], node->op_type) == 0;
    }
    return known ? SW_OK : refuse(r, node, "is not known to mean the same there");
}

static void raise_graph(struct raising *r, Onnx__GraphProto *graph);

static void raise_body(void *arg, Onnx__GraphProto *body) {
    struct raising *r = arg;
    r->depth++;
    raise_graph(r, body);
    r->depth--;
}

static void raise_graph(struct raising *r, Onnx__GraphProto *graph) {
    for (size_t i = 0; i < graph->n_node && !r->status; i++) {
        r->status = raise_node(r, graph->node[i]);
        if (!r->status) {
            sw_onnx_each_body(graph->node[i], raise_body, r);
        }
    }
}

static void set_versions(struct sw_onnx *onnx, int64_t target) {
    Onnx__ModelProto *model = onnx->proto;
    int64_t ir = target >= 12 ? 7 : target >= 11 ? 6 : 5; /* the first that may carry it */
    for (size_t i = 0; i < model->n_opset_import; i++) {
        if (sw_onnx_is_default_domain(model->opset_import[i]->domain)) {
            model->opset_import[i]->version = target;
        }
    }
    model->has_ir_version = true;
    model->ir_version = model->ir_version > ir ? model->ir_version : ir;
}

sw_status sw_onnx_raise_opset(struct sw_onnx *onnx, int64_t target, struct sw_error *err) {
    struct raising r = {.onnx = onnx, .from = sw_onnx_opset(onnx->proto), .target = target, .err = err};
    SW_ASSERT(target <= OPSET_LAST);
    if (r.from >= target) {
        return SW_OK;
    }
    if (r.from < OPSET_FIRST || onnx->proto->n_functions > 0) {
        return sw_fail(err, SW_E_MODEL_INVALID,
                       "the model's operator set %lld cannot be raised to %lld%s; export the model with operator set "
                       "%lld or later",
                       (long long)r.from, (long long)target,
                       r.from < OPSET_FIRST ? ": only 7 or later can" : ": it has functions of its own",
                       (long long)target);
    }
    sw_onnx_names_init(&r.names, onnx);
    r.status = sw_onnx_index_init(&r.index, onnx, err);
    if (!r.status) {
        raise_graph(&r, onnx->proto->graph);
    }
    if (!r.status) {
        set_versions(onnx, target);
    }
    sw_onnx_index_deinit(&r.index);
    sw_onnx_names_deinit(&r.names);
    return r.status;
}
