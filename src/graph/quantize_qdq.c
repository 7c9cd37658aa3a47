/* The QDQ form: pairs of QuantizeLinear and DequantizeLinear around quantised nodes.
 *
 *   x ---> Q -> DQ ---+
 *   w (INT8) -> DQ ---+-> Gemm -> Relu -> Q -> DQ -> the next
 *   b (INT32) -> DQ --+
 *
 * Which values get a pair:
 *
 *   - what a quantised node reads, one pair for all its readers;
 *   - what a Conv makes, behind its Relu or Clip if it has one: without it a runtime would run the Conv in floats. Gemm
 *     and MatMul can give floats, so what they make is quantised only where a quantised node reads it.
 *
 * A pair behind Relu rather than in front of it spends no codes on values that Relu would cut off. Where the value was
 * made by a quantised node, everybody reads the pair: one reader of the float value would keep the runtime from fusing.
 * Where it was made by something else, only quantised nodes do.
 *
 * Operators that only move values (MaxPool, Reshape, Transpose, ...) give what they got; so a pair behind them has the
 * scale of the pair in front of them, and the second one changes nothing.
 *
 * MatMul -> Add (constant row) of a matrix becomes a Gemm with that bias, as a runtime would do itself, but then with a
 * bias in floats, with which its INT8 kernel cannot work. */
#include <math.h>

#include "base/memory.h"
#include "graph/quantize_internal.h"

struct activation {
    const char *name;
    float low, high, scale;
    int zero;
    bool everyone;      /* all readers take the pair */
    const char *source; /* the float value that is quantised: name, or what its producer makes instead */
    const char *made;   /* what DequantizeLinear makes */
};

struct writer {
    struct sw_quantizer *q;
    struct sw_map activations; /* name -> struct activation */
    struct sw_map plan_of;     /* address of the node -> struct sw_plan */
    struct sw_observed *observed;
    size_t observed_count;
};

/* --- which values ------------------------------------------------------------------------------------------------- */

static struct activation *find_activation(const struct writer *w, const char *name) {
    return sw_map_get(&w->activations, sw_str_of(name));
}

static struct activation *want(struct writer *w, const char *name) {
    struct activation *a = find_activation(w, name);
    if (!a) {
        a = sw_onnx_take(&w->q->scratch, sizeof *a);
        a->name = name;
        sw_map_put(&w->activations, sw_str_of(name), a);
    }
    return a;
}

static struct sw_plan *plan_of(const struct writer *w, const Onnx__NodeProto *node) {
    return sw_map_get(&w->plan_of, (struct sw_str){(const char *)&node, sizeof(Onnx__NodeProto *)});
}

/* The one node that uses this value, and nobody else looks at it; else NULL. */
static Onnx__NodeProto *only_user(const struct sw_quantizer *q, const char *name) {
    const struct sw_onnx_value *value = sw_onnx_find(&q->index, name);
    bool alone = value && value->use_count == 1 && !value->is_output && !value->is_captured;
    return alone ? value->uses->node : NULL;
}

static bool is_cut(const Onnx__NodeProto *node) { /* Relu, Clip: the runtime's quantisation does it on the way */
    return node->n_output == 1 && (sw_onnx_has_op(node, "Relu") || sw_onnx_has_op(node, "Clip"));
}

/* What the node makes in the end: its output, or that of the Relu or Clip that alone uses it. */
static const char *end_of(const struct sw_quantizer *q, const Onnx__NodeProto *node) {
    const Onnx__NodeProto *next = only_user(q, node->output[0]);
    return next && is_cut(next) && strcmp(sw_onnx_input(next, 0), node->output[0]) == 0 ? next->output[0]
                                                                                        : node->output[0];
}

static bool is_used(const struct sw_quantizer *q, const char *name) {
    const struct sw_onnx_value *value = sw_onnx_find(&q->index, name);
    return value && (value->use_count || value->is_output || value->is_captured);
}

static void choose_activations(struct writer *w) {
    struct sw_quantizer *q = w->q;
    for (size_t i = 0; i < q->plan_count; i++) {
        const struct sw_plan *plan = &q->plans[i];
        want(w, plan->x);
        if (plan->kind == SW_PLAN_CONV && is_used(q, end_of(q, plan->node))) {
            want(w, end_of(q, plan->node));
        }
    }
}

/* --- ranges ------------------------------------------------------------------------------------------------------- */

static sw_status observe(struct writer *w, struct sw_engine *engine, const struct sw_session_options *session,
                         const struct sw_samples *samples) {
    struct sw_quantizer *q = w->q;
    const struct sw_map_entry *entry;
    w->observed = sw_onnx_take(&q->scratch, w->activations.count * sizeof *w->observed);
    for (size_t i = 0; (entry = sw_map_next(&w->activations, &i));) {
        struct sw_observed *o = &w->observed[w->observed_count++];
        o->name = ((const struct activation *)entry->value)->name;
        sw_range_init(&o->range, q->options->percentile < 100);
    }
    return sw_calibrate(q->onnx, engine, session, samples, w->observed, w->observed_count, &q->report->samples, q->err);
}

static const struct sw_observed *observed_of(const struct writer *w, const char *name) {
    for (size_t i = 0; i < w->observed_count; i++) {
        if (strcmp(w->observed[i].name, name) == 0) {
            return &w->observed[i];
        }
    }
    return NULL;
}

/* [low, high] with 0 in it to a scale and a zero point: 256 codes. */
static void set_scale(struct activation *a, double low, double high, bool is_signed) {
    low = fmin(low, 0);
    high = fmax(high, 0);
    a->low = (float)low;
    a->high = (float)high;
    a->scale = (float)((high - low) / 255);
    if (!(a->scale >= 0x1p-100F)) { /* a value that is always 0 */
        a->scale = 1;
    }
    double zero = rint(-low / (double)a->scale);
    a->zero = (int)fmax(0, fmin(255, zero)) - (is_signed ? 128 : 0);
}

static bool moves_values(const Onnx__NodeProto *node) {
    static const char *const ops[] = {"MaxPool",   "Reshape",  "Flatten", "Transpose",    "Squeeze",
                                      "Unsqueeze", "Identity", "Dropout", "DepthToSpace", "SpaceToDepth"};
    for (size_t i = 0; i < SW_COUNTOF(ops); i++) {
        if (sw_onnx_has_op(node, ops[i])) {
            return true;
        }
    }
    return false;
}

/* The activation whose scale this one takes over, through operators that only move values; NULL: none. */
static struct activation *moved_from(const struct writer *w, const struct activation *a) {
    enum { CHAIN_MAX = 32 };
    const char *name = a->name;
    for (int i = 0; i < CHAIN_MAX; i++) {
        const struct sw_onnx_value *value = sw_onnx_find(&w->q->index, name);
        if (!value || !value->producer || !moves_values(value->producer)) {
            return NULL;
        }
        name = sw_onnx_input(value->producer, 0);
        struct activation *before = find_activation(w, name);
        if (before) {
            return before;
        }
    }
    return NULL;
}

/* The first of such a chain: the activation itself where there is none. */
static struct activation *first_of(const struct writer *w, struct activation *a) {
    for (size_t step = 0; step < w->observed_count;
         step++) { /* no chain is longer, but a broken graph may have rings */
        struct activation *before = moved_from(w, a);
        if (!before) {
            break;
        }
        a = before;
    }
    return a;
}

static sw_status choose_scales(struct writer *w) {
    struct sw_quantizer *q = w->q;
    for (size_t i = 0; i < w->observed_count; i++) {
        const struct sw_observed *o = &w->observed[i];
        struct activation *a = find_activation(w, o->name);
        double low = 0, high = 0;
        if (o->range.count) { /* none: only empty tensors were seen */
            sw_range_percentile(&o->range, q->options->percentile, &low, &high);
        }
        set_scale(a, low, high, q->options->signed_activations);
    }
    for (size_t i = 0; i < w->observed_count; i++) {
        struct activation *a = find_activation(w, w->observed[i].name);
        const struct activation *first = first_of(w, a);
        a->low = first->low;
        a->high = first->high;
        a->scale = first->scale;
        a->zero = first->zero;
    }
    return SW_OK;
}

/* --- MatMul and Add to Gemm --------------------------------------------------------------------------------------- */

static void merge_add(struct writer *w, struct sw_plan *plan) {
    struct sw_quantizer *q = w->q;
    Onnx__GraphProto *graph = q->onnx->proto->graph;
    const struct sw_observed *x = observed_of(w, plan->x);
    Onnx__NodeProto *add = only_user(q, plan->node->output[0]);
    if (plan->kind != SW_PLAN_MATMUL || plan->rank != 2 || !x || x->rank != 2 || !add || !sw_onnx_has_op(add, "Add") ||
        add->n_input != 2 || add->n_output != 1) {
        return;
    }
    const char *bias = add->input[strcmp(add->input[0], plan->node->output[0]) == 0 ? 1 : 0];
    struct sw_onnx_constant constant = sw_onnx_constant_of(&q->index, bias);
    const float *values = NULL;
    size_t count;
    if (!constant.tensor || constant.is_transposed || constant.tensor->data_type != SW_ONNX_FLOAT ||
        !sw_onnx_count(constant.tensor, &count) || sw_bias_values(q, constant.tensor, plan->channels, 1, &values) ||
        !values) {
        return;
    }
    plan->kind = SW_PLAN_GEMM;
    plan->bias = bias;
    plan->bias_values = values;
    plan->node->op_type = sw_onnx_strdup(&q->onnx->arena, "Gemm");
    plan->node->output[0] = add->output[0];
    q->report->nodes[plan->report].note = "with the Add behind it, as Gemm";
    for (size_t i = 0; i < graph->n_node; i++) {
        graph->node[i] = graph->node[i] == add ? NULL : graph->node[i];
    }
}

/* Every value made by a quantised node, in the end, is read as its pair by all; and so is one that was only moved from
 * there, whose pair changes nothing. */
static void mark_everyone(struct writer *w) {
    for (size_t i = 0; i < w->q->plan_count; i++) {
        const struct sw_plan *plan = &w->q->plans[i];
        const char *ends[] = {end_of(w->q, plan->node), plan->node->output[0]};
        for (size_t k = 0; k < SW_COUNTOF(ends) && (!*plan->bias || plan->bias_values); k++) {
            struct activation *a = find_activation(w, ends[k]);
            if (a) {
                a->everyone = true;
            }
        }
    }
    for (size_t i = 0; i < w->observed_count; i++) {
        struct activation *a = find_activation(w, w->observed[i].name);
        a->everyone = a->everyone || first_of(w, a)->everyone;
    }
}

/* Where everyone reads the pair and the value is an output of the graph, the value takes a new name and the pair gives
 * its own. */
static void name_activations(struct writer *w) {
    const struct sw_map_entry *entry;
    for (size_t i = 0; (entry = sw_map_next(&w->activations, &i));) {
        struct activation *a = entry->value;
        const struct sw_onnx_value *value = sw_onnx_find(&w->q->index, a->name);
        bool takes_over = a->everyone && value && value->is_output && value->producer;
        const char *fresh = sw_onnx_fresh_name(&w->q->names);
        a->source = takes_over ? fresh : a->name;
        a->made = takes_over ? a->name : fresh;
    }
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static const char *zero_name(struct sw_quantizer *q, int zero) {
    uint8_t code = (uint8_t)zero;
    return sw_quantizer_shared(q, q->options->signed_activations ? SW_ONNX_INT8 : SW_ONNX_UINT8, NULL, 0, &code, 1);
}

static void write_pair(struct writer *w, const struct activation *a) {
    struct sw_quantizer *q = w->q;
    const char *scale = sw_quantizer_shared(q, SW_ONNX_FLOAT, NULL, 0, &a->scale, sizeof a->scale);
    const char *zero = zero_name(q, a->zero), *codes = sw_onnx_fresh_name(&q->names);
    sw_quantizer_emit(q, "QuantizeLinear", (const char *[]){a->source, scale, zero, NULL},
                      (const char *[]){codes, NULL});
    sw_quantizer_emit(q, "DequantizeLinear", (const char *[]){codes, scale, zero, NULL},
                      (const char *[]){a->made, NULL});
}

/* Zero points of weights: of INT8 their own, since the runtime may convert them together with the weights. */
static const char *write_zeros(struct sw_quantizer *q, const struct sw_int8_weights *weights, const int64_t *length,
                               size_t rank) {
    uint8_t *zeros = sw_onnx_take(&q->onnx->arena, weights->scale_count);
    memset(zeros, weights->is_unsigned ? 128 : 0, weights->scale_count);
    if (weights->is_unsigned) {
        return sw_quantizer_shared(q, SW_ONNX_UINT8, length, rank, zeros, weights->scale_count);
    }
    Onnx__TensorProto *tensor = sw_onnx_new_tensor(&q->onnx->arena, sw_onnx_fresh_name(&q->names), SW_ONNX_INT8, length,
                                                   rank, zeros, weights->scale_count);
    sw_onnx_add_initializer(q->onnx, tensor);
    return tensor->name;
}

static const char *write_weights(struct writer *w, const struct sw_plan *plan, const struct activation *x,
                                 struct sw_int8_weights **ret, sw_status *ret_status) {
    struct sw_quantizer *q = w->q;
    struct sw_int8_weights *weights = NULL;
    *ret_status = sw_quantizer_weights(q, plan, x->scale, false, &weights);
    if (*ret_status) {
        return NULL;
    }
    *ret = weights;
    if (weights->dequantized) {
        return weights->dequantized;
    }
    int64_t length = (int64_t)weights->scale_count;
    size_t rank = weights->is_single ? 0 : 1;
    const char *scales = sw_quantizer_shared(q, SW_ONNX_FLOAT, &length, rank, weights->scales,
                                             weights->scale_count * sizeof *weights->scales);
    const char *zeros = write_zeros(q, weights, &length, rank);
    weights->dequantized = sw_onnx_fresh_name(&q->names);
    Onnx__NodeProto *node = sw_quantizer_emit(q, "DequantizeLinear",
                                              (const char *[]){weights->values, scales, zeros, NULL},
                                              (const char *[]){weights->dequantized, NULL});
    if (rank == 1 && plan->axis != 1) { /* 1 is the default */
        sw_onnx_set_int(&q->onnx->arena, node, "axis", (int64_t)plan->axis);
    }
    return weights->dequantized;
}

/* The bias in INT32, in units of scale(x) * scale(w). */
static const char *write_bias(struct writer *w, const struct sw_plan *plan, const struct activation *x,
                              const struct sw_int8_weights *weights) {
    struct sw_quantizer *q = w->q;
    size_t count = plan->channels, scale_count = weights->scale_count;
    int32_t *values = sw_onnx_take(&q->scratch, count * sizeof *values);
    float *scales = sw_onnx_take(&q->scratch, count * sizeof *scales);
    for (size_t i = 0; i < count; i++) {
        float unit = x->scale * weights->scales[weights->is_single ? 0 : i];
        scales[weights->is_single ? 0 : i] = unit;
        values[i] = (int32_t)fmax(-INT32_MAX, fmin(INT32_MAX, rint((double)plan->bias_values[i] / (double)unit)));
    }
    int64_t length = (int64_t)count, scale_length = (int64_t)scale_count;
    size_t rank = weights->is_single ? 0 : 1;
    const char *codes = sw_quantizer_shared(q, SW_ONNX_INT32, &length, 1, values, count * sizeof *values);
    const char *scale = sw_quantizer_shared(q, SW_ONNX_FLOAT, &scale_length, rank, scales,
                                            scale_count * sizeof *scales);
    const char *made = sw_onnx_fresh_name(&q->names);
    Onnx__NodeProto *node = sw_quantizer_emit(q, "DequantizeLinear", (const char *[]){codes, scale, NULL},
                                              (const char *[]){made, NULL});
    if (rank == 1) {
        sw_onnx_set_int(&q->onnx->arena, node, "axis", 0);
    }
    return made;
}

/* A Gemm's C that is no row of constants is added behind it. */
static void write_sum(struct writer *w, const struct sw_plan *plan, const char *made) {
    struct sw_quantizer *q = w->q;
    const char *addend = plan->bias;
    struct sw_onnx_constant c = sw_onnx_constant_of(&q->index, addend);
    const float *values;
    size_t count;
    const struct activation *a = find_activation(w, addend);
    if (a && a->everyone) {
        addend = a->made;
    }
    if (plan->beta != 1.0F && c.tensor && !sw_onnx_floats(c.tensor, &q->scratch, &values, &count, NULL)) {
        float *scaled = sw_onnx_take(&q->scratch, count * sizeof *scaled);
        for (size_t i = 0; i < count; i++) {
            scaled[i] = values[i] * plan->beta;
        }
        addend = sw_quantizer_shared(q, SW_ONNX_FLOAT, c.tensor->dims, c.tensor->n_dims, scaled,
                                     count * sizeof *scaled);
    }
    sw_quantizer_emit(q, "Add", (const char *[]){made, addend, NULL}, (const char *[]){plan->node->output[0], NULL});
    plan->node->output[0] = sw_onnx_strdup(&q->onnx->arena, made);
}

static sw_status write_plan(struct writer *w, const struct sw_plan *plan) {
    struct sw_quantizer *q = w->q;
    Onnx__NodeProto *node = plan->node;
    const struct activation *x = find_activation(w, plan->x);
    struct sw_int8_weights *weights = NULL;
    sw_status status = SW_OK;
    const char *inputs[4] = {x->made};
    inputs[1] = write_weights(w, plan, x, &weights, &status);
    SW_TRY(status);
    inputs[2] = plan->bias_values ? write_bias(w, plan, x, weights) : NULL;
    sw_onnx_set_inputs(&q->onnx->arena, node, inputs);
    sw_onnx_remove_attribute(node, "alpha");
    sw_onnx_remove_attribute(node, "beta");
    sw_onnx_push(&q->nodes, &q->scratch, node);
    if (*plan->bias && !plan->bias_values) {
        write_sum(w, plan, sw_onnx_fresh_name(&q->names));
    }
    return SW_OK;
}

/* A node that stays: reads the pairs that everyone reads. */
static void write_other(struct writer *w, Onnx__NodeProto *node) {
    for (size_t i = 0; i < node->n_input; i++) {
        const struct activation *a = find_activation(w, sw_onnx_text(node->input[i]));
        if (a && a->everyone) {
            node->input[i] = sw_onnx_strdup(&w->q->onnx->arena, a->made);
        }
    }
    sw_onnx_push(&w->q->nodes, &w->q->scratch, node);
}

static sw_status write_node(struct writer *w, Onnx__NodeProto *node) {
    struct sw_quantizer *q = w->q;
    size_t count = node->n_output;
    const struct activation **made = sw_onnx_take(&q->scratch, (count + 1) * sizeof *made);
    for (size_t i = 0; i < count; i++) {
        made[i] = find_activation(w, sw_onnx_text(node->output[i]));
        if (made[i] && made[i]->source != made[i]->name) {
            node->output[i] = sw_onnx_strdup(&q->onnx->arena, made[i]->source);
        }
    }
    const struct sw_plan *plan = plan_of(w, node);
    if (plan) {
        SW_TRY(write_plan(w, plan));
    } else {
        write_other(w, node);
    }
    for (size_t i = 0; i < count; i++) {
        if (made[i]) {
            write_pair(w, made[i]);
        }
    }
    return SW_OK;
}

static sw_status write_graph(struct writer *w) {
    Onnx__GraphProto *graph = w->q->onnx->proto->graph;
    const struct sw_map_entry *entry;
    for (size_t i = 0; (entry = sw_map_next(&w->activations, &i));) {
        const struct sw_onnx_value *value = sw_onnx_find(&w->q->index, entry->key);
        if (!value || !value->producer) { /* an input of the model */
            write_pair(w, entry->value);
        }
    }
    for (size_t i = 0; i < graph->n_node; i++) {
        SW_TRY(write_node(w, graph->node[i]));
    }
    graph->node = sw_onnx_take(&w->q->onnx->arena, w->q->nodes.count * sizeof *graph->node);
    memcpy(graph->node, w->q->nodes.items, w->q->nodes.count * sizeof *graph->node);
    graph->n_node = w->q->nodes.count;
    return SW_OK;
}

static sw_status run(struct writer *w, struct sw_engine *engine, const struct sw_session_options *session,
                     const struct sw_samples *samples) {
    struct sw_quantizer *q = w->q;
    choose_activations(w);
    SW_TRY(observe(w, engine, session, samples));
    SW_TRY(choose_scales(w));
    for (size_t i = 0; i < q->plan_count; i++) {
        merge_add(w, &q->plans[i]);
    }
    sw_graph_compact(q->onnx->proto->graph);
    SW_TRY(sw_quantizer_reindex(q));
    for (size_t i = 0; i < q->plan_count; i++) {
        Onnx__NodeProto *node = q->plans[i].node;
        sw_map_put(&w->plan_of, (struct sw_str){(const char *)&node, sizeof node}, &q->plans[i]);
    }
    mark_everyone(w);
    name_activations(w);
    return write_graph(w);
}

sw_status sw_quantizer_qdq(struct sw_quantizer *q, struct sw_engine *engine, const struct sw_session_options *session,
                           const struct sw_samples *samples) {
    struct writer w = {.q = q};
    sw_map_init(&w.activations);
    sw_map_init(&w.plan_of);
    sw_status status = run(&w, engine, session, samples);
    for (size_t i = 0; i < w.observed_count; i++) {
        sw_range_deinit(&w.observed[i].range);
    }
    sw_map_deinit(&w.activations);
    sw_map_deinit(&w.plan_of);
    return status;
}
