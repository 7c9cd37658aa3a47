/* INT8 quantisation: MatMul, Gemm and Conv with constant FP32 weights; everything else stays as it is.
 *
 * Weights become INT8, symmetric around 0, one scale a channel of the output (the same codes as UINT8 around 128 where
 * several nodes share them, and for ConvInteger: see quantize_weights.c); activations UINT8 or INT8 with a zero point
 * of their own. Two forms of the same arithmetic, both of standard operators only:
 *
 *   QDQ      x -> QuantizeLinear -> DequantizeLinear -+-> Gemm -> Relu -> QuantizeLinear -> DequantizeLinear -> ...
 *            weights (INT8) -> DequantizeLinear ------+       scales from calibration; a runtime runs
 *            bias (INT32)   -> DequantizeLinear ------+       what stands between the pairs in integers
 *
 *   dynamic  x -> DynamicQuantizeLinear -> MatMulInteger -> Cast -> Mul (scale of x * scales of the weights) -> Add
 *                                                             scales of x anew in each run; no calibration
 *
 * How: B. Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
 * CVPR 2018. A value v stands for scale * (v - zero point); 0 is always exact. */
#ifndef SW_GRAPH_QUANTIZE_H
#define SW_GRAPH_QUANTIZE_H

#include <stdbool.h>

#include "graph/calibrate.h"

enum sw_quantize_mode { SW_QUANTIZE_QDQ, SW_QUANTIZE_DYNAMIC };

struct sw_quantize_options {
    enum sw_quantize_mode mode;
    bool per_tensor;            /* one scale for all channels of the weights */
    bool reduce_range;          /* weights in -63 .. 63: for runtimes that add two products in 16 bits */
    bool signed_activations;    /* INT8 instead of UINT8; QDQ only */
    double percentile;          /* of the activations, 90 .. 100; 100: least to greatest */
    const char *const *exclude; /* names of nodes, or of values they make, that stay as they are */
    size_t exclude_count;
};

/* One MatMul, Gemm or Conv of the model. Texts live as long as the report. */
struct sw_quantize_node {
    const char *name; /* of the node, or of what it makes */
    const char *op;
    const char *shape;  /* of its weights, "[784,2048]"; "" when they are no constant */
    const char *reason; /* why it was left; NULL: quantised */
    const char *note;   /* of a quantised one: what is particular about it; or NULL */
};

struct sw_quantize_report {
    struct sw_arena arena;
    struct sw_quantize_node *nodes; /* in the order of the graph, those of subgraphs and functions last */
    size_t count, quantized;
    size_t folded;  /* BatchNormalization, Mul and Add that went into weights and bias */
    size_t samples; /* of the calibration */
    int64_t opset_before, opset_after;
    const char **dropped_inputs; /* weights that were inputs with a default, and are no longer inputs */
    size_t dropped_input_count;
};

/* Quantises the model in place. samples: calibration; NULL only for the dynamic form, which uses none. engine, session:
 * what calibration runs on. *ret: release with sw_quantize_report_destroy.
 *
 * SW_E_MODEL_INVALID: nothing in the model can be quantised (the message says what is in the way), an operator set
 * that cannot be raised, a broken graph; SW_E_USAGE: an excluded name that no such node has; what sw_calibrate
 * reports. After a failure the model may be half changed: good for nothing but sw_onnx_destroy. */
SW_MUST_CHECK sw_status sw_quantize(struct sw_onnx *onnx, const struct sw_quantize_options *options,
                                    struct sw_engine *engine, const struct sw_session_options *session,
                                    const struct sw_samples *samples, struct sw_quantize_report **ret,
                                    struct sw_error *err);
void sw_quantize_report_destroy(struct sw_quantize_report *report); /* NULL is allowed */

#endif
