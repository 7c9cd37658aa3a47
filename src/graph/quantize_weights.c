/* Weights to INT8.
 *
 * Symmetric: q = round(w / scale), scale = max |w| / 127 (63 with reduce_range), one scale a channel of the output, or
 * one for all. Rounding is to nearest, halves to even, as QuantizeLinear does.
 *
 * The bias is kept in INT32 as multiples of scale(x) * scale(w), the unit in which products add up. A channel with tiny
 * weights and a large bias would overflow it; its scale is raised until the bias fits (below BIAS_MAX), which costs
 * nothing that the bias does not drown anyway.
 *
 * In two cases the codes are stored as UINT8, plus 128, with 128 as their zero point, which means the same:
 *
 * - weights that several nodes share. For a processor without VNNI ONNX Runtime turns INT8 weights into just that,
 * lest sums saturate; but where nodes share them it cannot (1.30 fails to load the model), and without it would be
 * wrong;
 *   - ConvInteger, for whose INT8 weights it has no fast kernel. */
#include <float.h>
#include <math.h>

#include "base/memory.h"
#include "graph/quantize_internal.h"

#define BIAS_MAX 1073741824.0 /* 2^30 */

struct block { /* one plan's weights while they are worked on */
    const struct sw_plan *plan;
    const float *values;
    size_t count, inner; /* elements in all; elements from one channel to the next */
    bool is_single;      /* one scale for all channels */
    size_t scale_count;
    float *scales;
    int limit; /* greatest |q| */
};

static size_t channel_of(const struct block *b, size_t i) {
    return b->is_single ? 0 : i / b->inner % b->plan->channels;
}

/* A scale below which products with the input's scale lose their precision, or the bias does not fit. */
static float least_scale(const struct sw_plan *plan, size_t channel, float input_scale) {
    float least = FLT_MIN * 1024;
    if (input_scale > 0) {
        double bias = plan->bias_values ? fabs((double)plan->bias_values[channel]) : 0;
        least = fmaxf(least, FLT_MIN * 1024 / fminf(input_scale, 1));
        least = fmaxf(least, (float)(bias / BIAS_MAX / input_scale));
    }
    return least;
}

/* *ret_raised: did a bias make one of them larger? Then they fit no other node. */
static void find_scales(struct block *b, float input_scale, bool *ret_raised) {
    for (size_t i = 0; i < b->count; i++) {
        size_t c = channel_of(b, i);
        b->scales[c] = fmaxf(b->scales[c], fabsf(b->values[i]));
    }
    *ret_raised = false;
    for (size_t c = 0; c < b->scale_count; c++) {
        b->scales[c] = b->scales[c] > 0 ? b->scales[c] / (float)b->limit : 0;
    }
    for (size_t channel = 0; channel < b->plan->channels; channel++) {
        size_t c = b->is_single ? 0 : channel;
        float least = least_scale(b->plan, channel, input_scale);
        *ret_raised = *ret_raised || (b->scales[c] < least && input_scale > 0);
        b->scales[c] = fmaxf(b->scales[c], least);
    }
}

static void round_values(const struct block *b, int8_t *ret) {
    float limit = (float)b->limit;
    for (size_t i = 0; i < b->count; i++) {
        float q = rintf(b->values[i] / b->scales[channel_of(b, i)]);
        ret[i] = (int8_t)fmaxf(-limit, fminf(limit, q));
    }
}

/* Rows to columns, in place of `values`. */
static void transpose_matrix(const int8_t *from, int8_t *to, size_t rows, size_t columns) {
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < columns; c++) {
            to[c * rows + r] = from[r * columns + c];
        }
    }
}

static sw_status no_memory(struct sw_quantizer *q, const struct sw_plan *plan) {
    return sw_fail(q->err, SW_E_UNAVAILABLE, "no memory for the weights of '%.200s'", sw_node_label(plan->node));
}

/* The plan's weights as it multiplies them: alpha is in them. */
static sw_status read_block(struct sw_quantizer *q, struct block *b) {
    int64_t dims[SW_ONNX_RANK_MAX];
    size_t rank;
    const struct sw_plan *plan = b->plan;
    SW_TRY(sw_onnx_constant_floats(&plan->weights, &q->scratch, &b->values, dims, &rank, q->err));
    b->count = b->inner = 1;
    for (size_t i = 0; i < rank; i++) {
        b->count *= (size_t)dims[i];
        b->inner *= i > plan->axis ? (size_t)dims[i] : 1;
    }
    if (plan->alpha != 1.0F) {
        float *scaled = sw_arena_alloc(&q->scratch, b->count * sizeof *scaled);
        if (!scaled) {
            return no_memory(q, plan);
        }
        for (size_t i = 0; i < b->count; i++) {
            scaled[i] = b->values[i] * plan->alpha;
        }
        b->values = scaled;
    }
    b->limit = q->options->reduce_range ? 63 : 127;
    bool stack = plan->kind == SW_PLAN_MATMUL && plan->rank > 2; /* runtimes take no more than one scale there */
    b->is_single = q->options->per_tensor || stack;
    b->scale_count = b->is_single ? 1 : plan->channels;
    b->scales = sw_onnx_take(&q->onnx->arena, b->scale_count * sizeof *b->scales);
    return SW_OK;
}

static bool is_unsigned(const struct sw_quantizer *q, const struct sw_plan *plan) {
    size_t users = 0;
    if (plan->kind == SW_PLAN_CONV && q->options->mode == SW_QUANTIZE_DYNAMIC) {
        return true;
    }
    for (size_t i = 0; i < q->plan_count; i++) {
        users += q->plans[i].weights.tensor == plan->weights.tensor;
    }
    return users > 1;
}

static sw_status make(struct sw_quantizer *q, struct block *b, bool transpose, struct sw_int8_weights *ret) {
    const struct sw_plan *plan = b->plan;
    bool plus_128 = is_unsigned(q, plan);
    int8_t *values = sw_arena_alloc(&q->onnx->arena, b->count);
    int8_t *turned = transpose ? sw_arena_alloc(&q->onnx->arena, b->count) : values;
    if (!values || !turned) {
        return no_memory(q, plan);
    }
    round_values(b, values);
    int64_t dims[SW_ONNX_RANK_MAX];
    memcpy(dims, plan->dims, sizeof dims);
    if (transpose) {
        SW_ASSERT(plan->rank == 2);
        transpose_matrix(values, turned, (size_t)dims[0], (size_t)dims[1]);
        dims[0] = plan->dims[1];
        dims[1] = plan->dims[0];
    }
    for (size_t i = 0; i < b->count && plus_128; i++) {
        turned[i] = (int8_t)(uint8_t)(turned[i] + 128);
    }
    Onnx__TensorProto *tensor = sw_onnx_new_tensor(&q->onnx->arena, sw_onnx_fresh_name(&q->names),
                                                   plus_128 ? SW_ONNX_UINT8 : SW_ONNX_INT8, dims, plan->rank, turned,
                                                   b->count);
    sw_onnx_add_initializer(q->onnx, tensor);
    *ret = (struct sw_int8_weights){.values = tensor->name,
                                    .scales = b->scales,
                                    .scale_count = b->scale_count,
                                    .is_single = b->is_single,
                                    .is_unsigned = plus_128};
    return SW_OK;
}

sw_status sw_quantizer_weights(struct sw_quantizer *q, const struct sw_plan *plan, float input_scale, bool transpose,
                               struct sw_int8_weights **ret) {
    struct block b = {.plan = plan};
    bool raised;
    SW_TRY(read_block(q, &b));
    find_scales(&b, input_scale, &raised);
    char key[128];
    int len = snprintf(key, sizeof key, "%p %p %zu %a %d", (const void *)plan->weights.tensor,
                       plan->weights.is_transposed ? (const void *)plan->node : NULL, plan->axis, (double)plan->alpha,
                       transpose);
    struct sw_str known = {key, (size_t)len};
    struct sw_int8_weights *weights = raised ? NULL : sw_map_get(&q->weights, known);
    if (!weights) {
        weights = sw_onnx_take(&q->scratch, sizeof *weights);
        SW_TRY(make(q, &b, transpose, weights));
        if (!raised) {
            sw_map_put(&q->weights, known, weights);
        }
    }
    *ret = weights;
    return SW_OK;
}
