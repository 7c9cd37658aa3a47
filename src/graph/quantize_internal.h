/* One quantisation under way, between quantize*.c and fold.c.
 *
 * The stages, in order (quantize.c): fold; plan (which nodes, and which stay); raise the operator set; calibrate;
 * rewrite (quantize_qdq.c or quantize_dynamic.c); take away what nothing uses any more. */
#ifndef SW_GRAPH_QUANTIZE_INTERNAL_H
#define SW_GRAPH_QUANTIZE_INTERNAL_H

#include "graph/onnx_internal.h"
#include "graph/quantize.h"

enum sw_plan_kind { SW_PLAN_MATMUL, SW_PLAN_GEMM, SW_PLAN_CONV };

/* A node that is to be quantised. y = alpha * x W + beta * bias. */
struct sw_plan {
    enum sw_plan_kind kind;
    Onnx__NodeProto *node;
    const char *x; /* its data */
    struct sw_onnx_constant weights;
    int64_t dims[SW_ONNX_RANK_MAX]; /* of the weights */
    size_t rank;
    size_t axis; /* of the weights: channels of the output; always the last or the first but for transB */
    size_t channels;
    float alpha, beta;        /* 1 but for Gemm */
    const char *bias;         /* its name; "": none */
    const float *bias_values; /* `channels` of them, beta included; NULL: none, or not one a channel */
    size_t report;            /* its place in the report */
};

/* Weights as they stand in the new model. */
struct sw_int8_weights {
    const char *values; /* an initializer */
    const float *scales;
    size_t scale_count;
    bool is_single;          /* one scale, for all channels */
    bool is_unsigned;        /* UINT8 codes around 128 */
    const char *dequantized; /* QDQ: what DequantizeLinear makes of them; NULL: not emitted yet */
};

struct sw_quantizer {
    struct sw_onnx *onnx;
    const struct sw_quantize_options *options;
    struct sw_quantize_report *report;
    struct sw_onnx_names names;
    struct sw_onnx_index index; /* of the graph before rewriting; rebuilt by sw_quantizer_reindex */
    bool has_index;
    int64_t ir_before;     /* version of the format at the start */
    struct sw_plan *plans; /* in the order of the graph; in `scratch` */
    size_t plan_count;
    struct sw_map used_before; /* initializers that something used at the start */
    struct sw_map made;        /* initializers that folding made */
    struct sw_map shared;      /* content of small initializers -> name */
    struct sw_map weights;     /* source, axis, factor -> struct sw_int8_weights */
    struct sw_onnx_list nodes; /* of the new graph, while it is rewritten */
    struct sw_arena scratch;
    struct sw_error *err;
};

/* --- quantize.c */
SW_MUST_CHECK sw_status sw_quantizer_reindex(struct sw_quantizer *q);
bool sw_quantizer_is_excluded(const struct sw_quantizer *q, const Onnx__NodeProto *node);
/* "fc1", or what it makes: what people call the node. Borrowed from the model. */
const char *sw_node_label(const Onnx__NodeProto *node);
/* Puts a new node at the end of the new graph; lists of names as for sw_onnx_new_node. Returns it. */
Onnx__NodeProto *sw_quantizer_emit(struct sw_quantizer *q, const char *op, const char *const *inputs,
                                   const char *const *outputs);
/* An initializer with these bytes, copied; one with the same type, shape and bytes is used again. Returns its name. */
const char *sw_quantizer_shared(struct sw_quantizer *q, int32_t type, const int64_t *dims, size_t rank,
                                const void *data, size_t size);

/* --- fold.c: BatchNormalization, Mul and Add behind Conv, Gemm and MatMul go into weights and bias. */
SW_MUST_CHECK sw_status sw_quantizer_fold(struct sw_quantizer *q);
/* Takes the nodes out of the graph that are NULL in its list. */
void sw_graph_compact(Onnx__GraphProto *graph);

/* --- quantize_plan.c: fills plans and the report. */
/* SW_E_USAGE: an excluded name that no node has. */
SW_MUST_CHECK sw_status sw_quantizer_check_excluded(const struct sw_quantizer *q);
SW_MUST_CHECK sw_status sw_quantizer_plan(struct sw_quantizer *q);
/* Values of a bias, one a channel: [N], [1,N], [1] or a scalar. NULL: of another shape. SW_E_MODEL_INVALID: not FP32. */
SW_MUST_CHECK sw_status sw_bias_values(struct sw_quantizer *q, const Onnx__TensorProto *tensor, size_t channels,
                                       float factor, const float **ret);

/* --- quantize_weights.c */
/* INT8 weights of the plan. input_scale > 0: the scales are large enough that the bias fits into INT32 as multiples of
 * input_scale * scale. transpose: of a matrix, so that channels are its columns. Weights that several nodes share are
 * made once. */
SW_MUST_CHECK sw_status sw_quantizer_weights(struct sw_quantizer *q, const struct sw_plan *plan, float input_scale,
                                             bool transpose, struct sw_int8_weights **ret);

/* --- quantize_qdq.c, quantize_dynamic.c */
SW_MUST_CHECK sw_status sw_quantizer_qdq(struct sw_quantizer *q, struct sw_engine *engine,
                                         const struct sw_session_options *session, const struct sw_samples *samples);
SW_MUST_CHECK sw_status sw_quantizer_dynamic(struct sw_quantizer *q);

#endif
