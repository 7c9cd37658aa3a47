/* The dynamic form: activations are quantised in each run, from the values they have then.
 *
 *   x -> DynamicQuantizeLinear -+- codes -----> MatMulInteger -> Cast -> Mul -> Add (bias) -> y
 *                               +- zero point -^                          ^
 *                               +- scale -> Mul (scales of the weights) --+
 *
 * One DynamicQuantizeLinear for all nodes that read x. What comes out is FP32 and has the name it had, so nothing else
 * in the graph changes. Runtimes know this chain and run it as one. */
#include "base/memory.h"
#include "graph/quantize_internal.h"

struct codes { /* of one x */
    const char *codes, *scale, *zero;
};

struct writer {
    struct sw_quantizer *q;
    struct sw_map codes;   /* name of x -> struct codes */
    struct sw_map plan_of; /* address of the node -> struct sw_plan */
};

static const char *fresh(struct writer *w) {
    return sw_onnx_fresh_name(&w->q->names);
}

static const struct codes *write_codes(struct writer *w, const char *x) {
    struct codes *c = sw_map_get(&w->codes, sw_str_of(x));
    if (!c) {
        c = sw_onnx_take(&w->q->scratch, sizeof *c);
        *c = (struct codes){fresh(w), fresh(w), fresh(w)};
        sw_quantizer_emit(w->q, "DynamicQuantizeLinear", (const char *[]){x, NULL},
                          (const char *[]){c->codes, c->scale, c->zero, NULL});
        sw_map_put(&w->codes, sw_str_of(x), c);
    }
    return c;
}

/* Numbers one a channel as they broadcast against y: a row for matrices, [C,1,1] for a Conv of two dimensions. */
static const char *channel_values(struct writer *w, const struct sw_plan *plan, const float *values, size_t count) {
    int64_t dims[SW_ONNX_RANK_MAX];
    size_t rank = plan->kind == SW_PLAN_CONV ? plan->rank - 1 : 1;
    for (size_t i = 0; i < rank; i++) {
        dims[i] = i == 0 ? (int64_t)count : 1;
    }
    rank = count == 1 ? 0 : rank;
    return sw_quantizer_shared(w->q, SW_ONNX_FLOAT, dims, rank, values, count * sizeof *values);
}

static const char *transposed_codes(struct writer *w, const char *codes) {
    const char *turned = fresh(w);
    sw_quantizer_emit(w->q, "Transpose", (const char *[]){codes, NULL}, (const char *[]){turned, NULL});
    return turned;
}

/* Attributes of the Conv that mean the same to ConvInteger: all of them. */
static void copy_attributes(struct writer *w, const Onnx__NodeProto *from, Onnx__NodeProto *to) {
    to->attribute = sw_onnx_take(&w->q->onnx->arena, from->n_attribute * sizeof *to->attribute);
    to->n_attribute = from->n_attribute;
    for (size_t i = 0; i < from->n_attribute; i++) {
        to->attribute[i] = from->attribute[i];
    }
}

/* The integer product, in FP32: a name. */
static sw_status write_product(struct writer *w, const struct sw_plan *plan, const struct codes *x,
                               struct sw_int8_weights **ret_weights, const char **ret) {
    bool is_conv = plan->kind == SW_PLAN_CONV, is_gemm = plan->kind == SW_PLAN_GEMM;
    bool turn_x = is_gemm && sw_onnx_attribute_int(plan->node, "transA", 0);
    bool turn_w = is_gemm && plan->axis == 0;
    SW_TRY(sw_quantizer_weights(w->q, plan, 0, turn_w, ret_weights));
    const char *codes = turn_x ? transposed_codes(w, x->codes) : x->codes, *sum = fresh(w), *product = fresh(w);
    const uint8_t middle = 128;
    const char *zero = (*ret_weights)->is_unsigned ? sw_quantizer_shared(w->q, SW_ONNX_UINT8, NULL, 0, &middle, 1)
                                                   : NULL;
    Onnx__NodeProto *node = sw_quantizer_emit(w->q, is_conv ? "ConvInteger" : "MatMulInteger",
                                              (const char *[]){codes, (*ret_weights)->values, x->zero, zero, NULL},
                                              (const char *[]){sum, NULL});
    if (is_conv) {
        copy_attributes(w, plan->node, node);
    }
    node = sw_quantizer_emit(w->q, "Cast", (const char *[]){sum, NULL}, (const char *[]){product, NULL});
    sw_onnx_set_int(&w->q->onnx->arena, node, "to", SW_ONNX_FLOAT);
    *ret = product;
    return SW_OK;
}

/* The bias as it is added: a name; NULL: none. */
static const char *bias_name(struct writer *w, const struct sw_plan *plan) {
    struct sw_quantizer *q = w->q;
    if (!*plan->bias) {
        return NULL;
    }
    if (plan->bias_values) {
        return channel_values(w, plan, plan->bias_values, plan->channels);
    }
    struct sw_onnx_constant c = sw_onnx_constant_of(&q->index, plan->bias);
    const float *values;
    size_t count;
    if (plan->beta == 1.0F || !c.tensor || sw_onnx_floats(c.tensor, &q->scratch, &values, &count, NULL)) {
        return plan->bias;
    }
    float *scaled = sw_onnx_take(&q->scratch, count * sizeof *scaled);
    for (size_t i = 0; i < count; i++) {
        scaled[i] = values[i] * plan->beta;
    }
    return sw_quantizer_shared(q, SW_ONNX_FLOAT, c.tensor->dims, c.tensor->n_dims, scaled, count * sizeof *scaled);
}

static sw_status write_plan(struct writer *w, const struct sw_plan *plan) {
    struct sw_quantizer *q = w->q;
    const char *y = plan->node->output[0], *product = NULL;
    const struct codes *x = write_codes(w, plan->x);
    struct sw_int8_weights *weights = NULL;
    SW_TRY(write_product(w, plan, x, &weights, &product));
    const char *weight_scales = channel_values(w, plan, weights->scales, weights->scale_count);
    const char *bias = bias_name(w, plan), *scales = fresh(w), *scaled = bias ? fresh(w) : y;
    sw_quantizer_emit(q, "Mul", (const char *[]){x->scale, weight_scales, NULL}, (const char *[]){scales, NULL});
    sw_quantizer_emit(q, "Mul", (const char *[]){product, scales, NULL}, (const char *[]){scaled, NULL});
    if (bias) {
        sw_quantizer_emit(q, "Add", (const char *[]){scaled, bias, NULL}, (const char *[]){y, NULL});
    }
    return SW_OK;
}

static sw_status write_graph(struct writer *w) {
    struct sw_quantizer *q = w->q;
    Onnx__GraphProto *graph = q->onnx->proto->graph;
    for (size_t i = 0; i < graph->n_node; i++) {
        Onnx__NodeProto *node = graph->node[i];
        const struct sw_plan *plan = sw_map_get(&w->plan_of, (struct sw_str){(const char *)&node, sizeof node});
        if (plan) {
            SW_TRY(write_plan(w, plan));
        } else {
            sw_onnx_push(&q->nodes, &q->scratch, node);
        }
    }
    graph->node = sw_onnx_take(&q->onnx->arena, q->nodes.count * sizeof *graph->node);
    memcpy(graph->node, q->nodes.items, q->nodes.count * sizeof *graph->node);
    graph->n_node = q->nodes.count;
    return SW_OK;
}

sw_status sw_quantizer_dynamic(struct sw_quantizer *q) {
    struct writer w = {.q = q};
    sw_map_init(&w.codes);
    sw_map_init(&w.plan_of);
    for (size_t i = 0; i < q->plan_count; i++) {
        Onnx__NodeProto *node = q->plans[i].node;
        sw_map_put(&w.plan_of, (struct sw_str){(const char *)&node, sizeof node}, &q->plans[i]);
    }
    sw_status status = write_graph(&w);
    sw_map_deinit(&w.codes);
    sw_map_deinit(&w.plan_of);
    return status;
}
