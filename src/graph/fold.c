/* Folding: what multiplies and shifts the channels of a Conv, Gemm or MatMul afterwards is done to its weights and
 * bias.
 *
 *   s * (W x + b) + t  =  (s W) x + (s b + t)        s, t: one number a channel
 *
 * BatchNormalization (of inference), Mul and Add with constants. A runtime does the same to a float model when it loads
 * it, but can no longer once quantisation stands in between; so it is done before. Only where nothing else looks at the
 * value in between. A MatMul has no bias, so only factors go into it. */
#include <math.h>

#include "base/memory.h"
#include "graph/quantize_internal.h"

struct folding {
    struct sw_quantizer *q;
    Onnx__NodeProto *node;
    bool is_conv, is_gemm;
    struct sw_onnx_constant weights, bias;
    const float *values;
    int64_t dims[SW_ONNX_RANK_MAX];
    size_t rank, axis, channels;
    double *scale, *shift; /* one a channel */
    size_t count;          /* of nodes folded */
};

void sw_graph_compact(Onnx__GraphProto *graph) {
    size_t kept = 0;
    for (size_t i = 0; i < graph->n_node; i++) {
        if (graph->node[i]) {
            graph->node[kept++] = graph->node[i];
        }
    }
    graph->n_node = kept;
}

/* --- what can be folded into -------------------------------------------------------------------------------------- */

/* Reads weights and bias. false: they are not what folding needs. */
static bool begin(struct folding *f) {
    struct sw_quantizer *q = f->q;
    Onnx__NodeProto *node = f->node;
    f->is_conv = sw_onnx_has_op(node, "Conv");
    f->is_gemm = sw_onnx_has_op(node, "Gemm");
    if ((!f->is_conv && !f->is_gemm && !sw_onnx_has_op(node, "MatMul")) || node->n_output != 1 ||
        sw_quantizer_is_excluded(q, node)) {
        return false;
    }
    f->weights = sw_onnx_constant_of(&q->index, sw_onnx_input(node, 1));
    if (!f->weights.tensor || f->weights.tensor->data_type != SW_ONNX_FLOAT) {
        return false;
    }
    size_t count;
    f->rank = f->weights.tensor->n_dims;
    if (!sw_onnx_count(f->weights.tensor, &count) || count == 0) {
        return false;
    }
    if (f->is_conv ? f->rank < 3 : f->is_gemm ? f->rank != 2 : f->rank < 2) {
        return false;
    }
    bool first = f->is_conv || (f->is_gemm && sw_onnx_attribute_int(node, "transB", 0));
    f->axis = first ? 0 : f->rank - 1;
    f->channels = (size_t)f->weights.tensor->dims[f->weights.order[f->axis]];
    if (*sw_onnx_input(node, 2)) {
        f->bias = sw_onnx_constant_of(&q->index, sw_onnx_input(node, 2));
        return f->bias.tensor && f->bias.tensor->data_type == SW_ONNX_FLOAT && !f->bias.is_transposed;
    }
    return true;
}

/* --- what can be folded in ---------------------------------------------------------------------------------------- */

/* A constant that broadcasts along the channels of what f->node makes, as one number a channel. */
static bool per_channel(struct folding *f, const char *name, double *ret) {
    struct sw_onnx_constant c = sw_onnx_constant_of(&f->q->index, name);
    size_t rank = c.tensor ? c.tensor->n_dims : 0, count;
    const float *values;
    if (!c.tensor || c.is_transposed || c.tensor->data_type != SW_ONNX_FLOAT ||
        sw_onnx_floats(c.tensor, &f->q->scratch, &values, &count, NULL)) {
        return false;
    }
    /* where the channels are in the constant, counted from its end */
    size_t from_end = f->is_conv ? f->rank - 1 : 1, rank_max = f->is_conv ? f->rank : f->is_gemm ? 2 : 1;
    if (rank > rank_max || (count != 1 && (count != f->channels || rank < from_end ||
                                           c.tensor->dims[rank - from_end] != (int64_t)f->channels))) {
        return false;
    }
    for (size_t i = 0; i < f->channels; i++) {
        ret[i] = values[count == 1 ? 0 : i];
    }
    return true;
}

/* Parameter `input` of a BatchNormalization: as many numbers as there are channels. */
static const float *parameter(struct folding *f, const Onnx__NodeProto *node, size_t input) {
    struct sw_onnx_constant c = sw_onnx_constant_of(&f->q->index, sw_onnx_input(node, input));
    const float *values;
    size_t count;
    if (!c.tensor || sw_onnx_floats(c.tensor, &f->q->scratch, &values, &count, NULL) || count != f->channels) {
        return NULL;
    }
    return values;
}

static bool fold_normalization(struct folding *f, const Onnx__NodeProto *node) {
    const float *gamma = parameter(f, node, 1), *beta = parameter(f, node, 2), *mean = parameter(f, node, 3),
                *variance = parameter(f, node, 4);
    double epsilon = sw_onnx_attribute_float(node, "epsilon", 1e-5F);
    if (!gamma || !beta || !mean || !variance || node->n_output != 1 ||
        sw_onnx_attribute_int(node, "training_mode", 0) || (!f->is_conv && !f->is_gemm)) {
        return false;
    }
    for (size_t i = 0; i < f->channels; i++) {
        if (!(variance[i] + epsilon > 0)) {
            return false;
        }
    }
    for (size_t i = 0; i < f->channels; i++) {
        double factor = gamma[i] / sqrt(variance[i] + epsilon);
        f->scale[i] *= factor;
        f->shift[i] = (f->shift[i] - mean[i]) * factor + beta[i];
    }
    return true;
}

static bool fold_arithmetic(struct folding *f, const Onnx__NodeProto *node, size_t data_input) {
    bool product = sw_onnx_has_op(node, "Mul");
    if (node->n_input != 2 || (!product && !f->is_conv && !f->is_gemm)) {
        return false;
    }
    double *values = sw_onnx_take(&f->q->scratch, f->channels * sizeof *values);
    if (!per_channel(f, node->input[1 - data_input], values)) {
        return false;
    }
    for (size_t i = 0; i < f->channels; i++) {
        f->scale[i] *= product ? values[i] : 1;
        f->shift[i] = product ? f->shift[i] * values[i] : f->shift[i] + values[i];
    }
    return true;
}

/* Folds the one node that uses what f->node makes. false: there is none, or it cannot be. */
static bool fold_next(struct folding *f) {
    Onnx__GraphProto *graph = f->q->onnx->proto->graph;
    const struct sw_onnx_value *made = sw_onnx_find(&f->q->index, f->node->output[0]);
    if (!made || made->use_count != 1 || made->is_output || made->is_captured) {
        return false;
    }
    Onnx__NodeProto *next = made->uses->node;
    bool folded = sw_onnx_has_op(next, "BatchNormalization")
                      ? made->uses->input == 0 && fold_normalization(f, next)
                      : (sw_onnx_has_op(next, "Mul") || sw_onnx_has_op(next, "Add")) && next->n_output == 1 &&
                            fold_arithmetic(f, next, made->uses->input);
    if (!folded) {
        return false;
    }
    struct sw_onnx_value *result = sw_onnx_find(&f->q->index, next->output[0]);
    result->producer = f->node;
    f->node->output[0] = next->output[0];
    for (size_t i = 0; i < graph->n_node; i++) {
        graph->node[i] = graph->node[i] == next ? NULL : graph->node[i];
    }
    f->count++;
    return true;
}

/* --- the result --------------------------------------------------------------------------------------------------- */

static const char *add_floats(struct folding *f, const int64_t *dims, size_t rank, float *values, size_t count) {
    struct sw_onnx *onnx = f->q->onnx;
    Onnx__TensorProto *tensor = sw_onnx_new_tensor(&onnx->arena, sw_onnx_fresh_name(&f->q->names), SW_ONNX_FLOAT, dims,
                                                   rank, values, count * sizeof *values);
    sw_onnx_add_initializer(onnx, tensor);
    sw_map_put(&f->q->made, sw_str_of(tensor->name), f);
    return tensor->name;
}

/* New weights: values of channel i times scale[i] * alpha. */
static sw_status scale_weights(struct folding *f, double alpha, const char **ret) {
    size_t count = 1, inner = 1;
    for (size_t i = 0; i < f->rank; i++) {
        count *= (size_t)f->dims[i];
        inner *= i > f->axis ? (size_t)f->dims[i] : 1;
    }
    float *scaled = sw_arena_alloc(&f->q->onnx->arena, count * sizeof *scaled);
    if (!scaled) {
        return sw_fail(f->q->err, SW_E_UNAVAILABLE, "no memory for the weights of '%.200s'", sw_node_label(f->node));
    }
    for (size_t i = 0; i < count; i++) {
        scaled[i] = (float)(f->values[i] * f->scale[i / inner % f->channels] * alpha);
    }
    *ret = add_floats(f, f->dims, f->rank, scaled, count);
    return SW_OK;
}

static const char *scale_bias(struct folding *f, const float *bias) {
    int64_t channels = (int64_t)f->channels;
    float *shifted = sw_onnx_take(&f->q->onnx->arena, f->channels * sizeof *shifted);
    for (size_t i = 0; i < f->channels; i++) {
        shifted[i] = (float)((bias ? bias[i] : 0) * f->scale[i] + f->shift[i]);
    }
    return add_floats(f, &channels, 1, shifted, f->channels);
}

static sw_status finish(struct folding *f, const float *bias) {
    Onnx__NodeProto *node = f->node;
    double alpha = f->is_gemm ? sw_onnx_attribute_float(node, "alpha", 1) : 1;
    const char *inputs[4] = {node->input[0]};
    SW_TRY(scale_weights(f, alpha, &inputs[1]));
    inputs[2] = f->is_conv || f->is_gemm ? scale_bias(f, bias) : NULL;
    sw_onnx_set_inputs(&f->q->onnx->arena, node, inputs);
    if (f->is_gemm) {
        sw_onnx_remove_attribute(node, "alpha");
        sw_onnx_remove_attribute(node, "beta");
    }
    f->q->report->folded += f->count;
    return SW_OK;
}

static sw_status fold_node(struct folding *f) {
    struct sw_quantizer *q = f->q;
    const float *bias = NULL;
    if (!begin(f)) {
        return SW_OK;
    }
    SW_TRY(sw_onnx_constant_floats(&f->weights, &q->scratch, &f->values, f->dims, &f->rank, q->err));
    if (f->bias.tensor) {
        float beta = f->is_gemm ? sw_onnx_attribute_float(f->node, "beta", 1) : 1;
        SW_TRY(sw_bias_values(q, f->bias.tensor, f->channels, beta, &bias));
        if (!bias) {
            return SW_OK;
        }
    }
    f->scale = sw_onnx_take(&q->scratch, f->channels * sizeof *f->scale);
    f->shift = sw_onnx_take(&q->scratch, f->channels * sizeof *f->shift);
    for (size_t i = 0; i < f->channels; i++) {
        f->scale[i] = 1;
    }
    while (fold_next(f)) {
    }
    return f->count ? finish(f, bias) : SW_OK;
}

sw_status sw_quantizer_fold(struct sw_quantizer *q) {
    Onnx__GraphProto *graph = q->onnx->proto->graph;
    sw_status status = SW_OK;
    for (size_t i = 0; i < graph->n_node && !status; i++) {
        struct folding f = {.q = q, .node = graph->node[i]};
        status = f.node ? fold_node(&f) : SW_OK;
    }
    sw_graph_compact(graph);
    return status ? status : sw_quantizer_reindex(q);
}
