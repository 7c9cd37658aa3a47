/* Which nodes are quantised, which stay, and why. */
#include <math.h>

#include "base/memory.h"
#include "graph/quantize_internal.h"

/* --- the report --------------------------------------------------------------------------------------------------- */

static struct sw_quantize_node *add_report(struct sw_quantizer *q, const Onnx__NodeProto *node) {
    struct sw_quantize_report *report = q->report;
    struct sw_arena *arena = &report->arena;
    size_t capacity = report->count & (report->count - 1) ? 0 : report->count ? report->count * 2 : 1;
    if (capacity) { /* full: it holds a power of two */
        struct sw_quantize_node *grown = sw_onnx_take(arena, capacity * sizeof *grown);
        if (report->count) {
            memcpy(grown, report->nodes, report->count * sizeof *grown);
        }
        report->nodes = grown;
    }
    struct sw_quantize_node *entry = &report->nodes[report->count++];
    entry->name = sw_onnx_strdup(arena, sw_node_label(node));
    entry->op = sw_onnx_strdup(arena, node->op_type);
    entry->shape = "";
    return entry;
}

static bool is_candidate(const Onnx__NodeProto *node) {
    return sw_onnx_has_op(node, "MatMul") || sw_onnx_has_op(node, "Gemm") || sw_onnx_has_op(node, "Conv");
}

/* --- one node ----------------------------------------------------------------------------------------------------- */

static bool is_constant_input(const struct sw_quantizer *q, const char *name) {
    return sw_onnx_constant_of(&q->index, name).tensor != NULL;
}

static bool all_finite(const float *values, size_t count) {
    bool finite = true;
    for (size_t i = 0; i < count; i++) {
        finite = finite && isfinite(values[i]);
    }
    return finite;
}

/* Reads weights and dimensions into the plan. Returns why it cannot be quantised, or NULL. */
static const char *check_weights(struct sw_quantizer *q, struct sw_plan *plan) {
    struct sw_arena *texts = &q->report->arena;
    const Onnx__TensorProto *tensor = plan->weights.tensor;
    if (!tensor) {
        return sw_arena_printf(texts, "its weights are %s", plan->weights.why_not);
    }
    if (tensor->data_type != SW_ONNX_FLOAT) {
        return sw_arena_printf(texts, "its weights are %s", sw_onnx_type_name(tensor->data_type));
    }
    size_t count, rank = tensor->n_dims;
    const float *values;
    if (!sw_onnx_count(tensor, &count) || count == 0) {
        return "its weights are empty";
    }
    if (plan->kind == SW_PLAN_GEMM ? rank != 2 : plan->kind == SW_PLAN_CONV ? rank < 3 : rank < 2) {
        return sw_arena_printf(texts, "its weights have %zu dimension%s", rank, rank == 1 ? "" : "s");
    }
    if (sw_onnx_floats(tensor, &q->scratch, &values, &count, NULL) || !all_finite(values, count)) {
        return "its weights do not fit their shape, or hold NaN or infinite values";
    }
    plan->rank = rank;
    for (size_t i = 0; i < rank; i++) {
        plan->dims[i] = tensor->dims[plan->weights.order[i]];
    }
    return NULL;
}

/* The bias of a Conv or Gemm. */
static const char *check_bias(struct sw_quantizer *q, struct sw_plan *plan) {
    plan->bias = plan->kind == SW_PLAN_MATMUL ? "" : sw_onnx_input(plan->node, 2);
    if (!*plan->bias) {
        return NULL;
    }
    struct sw_onnx_constant bias = sw_onnx_constant_of(&q->index, plan->bias);
    bool is_plain = bias.tensor && !bias.is_transposed && bias.tensor->data_type == SW_ONNX_FLOAT;
    if (is_plain && sw_bias_values(q, bias.tensor, plan->channels, plan->beta, &plan->bias_values)) {
        return "its bias does not fit its shape";
    }
    if (plan->bias_values) {
        return all_finite(plan->bias_values, plan->channels) ? NULL : "its bias holds NaN or infinite values";
    }
    if (plan->kind == SW_PLAN_CONV) {
        return is_plain ? "its bias is not one number a channel" : "its bias is not constant";
    }
    return is_plain || plan->beta == 1.0F ? NULL : "its bias is not constant, and beta is not 1";
}

static const char *check_node(struct sw_quantizer *q, struct sw_plan *plan) {
    const Onnx__NodeProto *node = plan->node;
    plan->x = sw_onnx_input(node, 0);
    plan->weights = sw_onnx_constant_of(&q->index, sw_onnx_input(node, 1));
    plan->alpha = plan->kind == SW_PLAN_GEMM ? sw_onnx_attribute_float(node, "alpha", 1) : 1;
    plan->beta = plan->kind == SW_PLAN_GEMM ? sw_onnx_attribute_float(node, "beta", 1) : 1;
    if (sw_quantizer_is_excluded(q, node)) {
        return "excluded";
    }
    if (node->n_output != 1 || !*sw_onnx_text(node->output[0]) || !*plan->x) {
        return "it lacks an input or an output";
    }
    if (is_constant_input(q, plan->x)) {
        return plan->weights.tensor ? "both inputs are constant" : "its first input is the constant, not its second";
    }
    const struct sw_onnx_value *x = sw_onnx_find(&q->index, plan->x);
    if (x && x->producer && sw_onnx_has_op(x->producer, "DequantizeLinear")) {
        return "its input is already quantised";
    }
    const char *why = check_weights(q, plan);
    if (why) {
        return why;
    }
    bool first = plan->kind == SW_PLAN_CONV || (plan->kind == SW_PLAN_GEMM && sw_onnx_attribute_int(node, "transB", 0));
    plan->axis = first ? 0 : plan->rank - 1;
    plan->channels = (size_t)plan->dims[plan->axis];
    if (!isfinite(plan->alpha) || !isfinite(plan->beta)) {
        return "alpha or beta is NaN or infinite";
    }
    return check_bias(q, plan);
}

static void plan_node(struct sw_quantizer *q, Onnx__NodeProto *node) {
    char shape[160];
    struct sw_plan plan = {.node = node, .bias = ""};
    plan.kind = sw_onnx_has_op(node, "Conv")   ? SW_PLAN_CONV
                : sw_onnx_has_op(node, "Gemm") ? SW_PLAN_GEMM
                                               : SW_PLAN_MATMUL;
    plan.report = q->report->count;
    struct sw_quantize_node *entry = add_report(q, node);
    entry->reason = check_node(q, &plan);
    if (plan.weights.tensor) {
        entry->shape = sw_onnx_strdup(&q->report->arena, sw_onnx_shape_text(plan.weights.tensor, shape, sizeof shape));
    }
    if (!entry->reason) {
        if (plan.kind == SW_PLAN_MATMUL && plan.rank > 2 && !q->options->per_tensor) {
            entry->note = "one scale: a stack of matrices";
        }
        q->plans[q->plan_count++] = plan;
        q->report->quantized++;
    }
}

/* --- the rest of the model ---------------------------------------------------------------------------------------- */

static void report_body(void *arg, Onnx__GraphProto *body);

static void report_nodes(struct sw_quantizer *q, Onnx__NodeProto *const *nodes, size_t count, const char *why) {
    for (size_t i = 0; i < count; i++) {
        if (is_candidate(nodes[i])) {
            add_report(q, nodes[i])->reason = why;
        }
        sw_onnx_each_body(nodes[i], report_body, q);
    }
}

static void report_body(void *arg, Onnx__GraphProto *body) {
    report_nodes(arg, body->node, body->n_node, "it is inside a subgraph");
}

static void report_rest(struct sw_quantizer *q) {
    const Onnx__ModelProto *model = q->onnx->proto;
    for (size_t i = 0; i < model->graph->n_node; i++) {
        sw_onnx_each_body(model->graph->node[i], report_body, q);
    }
    for (size_t i = 0; i < model->n_functions; i++) {
        report_nodes(q, model->functions[i]->node, model->functions[i]->n_node, "it is inside a function");
    }
}

/* Is there a node for every name excluded? */
sw_status sw_quantizer_check_excluded(const struct sw_quantizer *q) {
    const Onnx__GraphProto *graph = q->onnx->proto->graph;
    for (size_t i = 0; i < q->options->exclude_count; i++) {
        const char *wanted = q->options->exclude[i];
        bool found = false;
        for (size_t k = 0; k < graph->n_node && !found; k++) {
            const Onnx__NodeProto *node = graph->node[k];
            found = is_candidate(node) && (strcmp(sw_onnx_text(node->name), wanted) == 0 ||
                                           (node->n_output && strcmp(sw_onnx_text(node->output[0]), wanted) == 0));
        }
        if (!found) {
            return sw_fail(q->err, SW_E_USAGE, "no MatMul, Gemm or Conv is called '%.200s', or makes a value called so",
                           wanted);
        }
    }
    return SW_OK;
}

static sw_status nothing_to_do(struct sw_quantizer *q) {
    const struct sw_quantize_report *report = q->report;
    if (report->count == 0) {
        return sw_fail(q->err, SW_E_MODEL_INVALID, "nothing to quantise: the model has no MatMul, Gemm or Conv");
    }
    return sw_fail(q->err, SW_E_MODEL_INVALID, "nothing to quantise: %s '%.120s' stays because %s%s",
                   report->nodes[0].op, report->nodes[0].name, report->nodes[0].reason,
                   report->count > 1 ? ", and so do the others for reasons of theirs" : "");
}

sw_status sw_quantizer_plan(struct sw_quantizer *q) {
    Onnx__GraphProto *graph = q->onnx->proto->graph;
    q->plans = sw_onnx_take(&q->scratch, (graph->n_node + 1) * sizeof *q->plans);
    for (size_t i = 0; i < graph->n_node; i++) {
        if (is_candidate(graph->node[i])) {
            plan_node(q, graph->node[i]);
        }
    }
    report_rest(q);
    return q->plan_count ? SW_OK : nothing_to_do(q);
}

/* --- biases ------------------------------------------------------------------------------------------------------- */

sw_status sw_bias_values(struct sw_quantizer *q, const Onnx__TensorProto *tensor, size_t channels, float factor,
                         const float **ret) {
    const float *values;
    size_t count, rank = tensor->n_dims;
    SW_TRY(sw_onnx_floats(tensor, &q->scratch, &values, &count, q->err));
    bool is_row = count == channels && rank >= 1 && rank <= 2 && tensor->dims[rank - 1] == (int64_t)channels;
    *ret = NULL;
    if (rank > 2 || (count != 1 && !is_row)) {
        return SW_OK;
    }
    float *row = sw_onnx_take(&q->scratch, channels * sizeof *row);
    for (size_t i = 0; i < channels; i++) {
        row[i] = values[count == 1 ? 0 : i] * factor;
    }
    *ret = row;
    return SW_OK;
}
