/* Raising a model's operator set: rewriting what older versions of the operators meant.
 *
 * From 7 (where broadcasting became what it is) up to 13 (where DequantizeLinear learnt to scale per channel). */
#ifndef SW_GRAPH_OPSET_H
#define SW_GRAPH_OPSET_H

#include "graph/onnx.h"

/* After it, the default operator set is at least `target` (at most 13) and the IR version fits. A model that has it
 * already is not touched. SW_E_MODEL_INVALID, naming the node and why it cannot be raised; the model is then half
 * changed, good for nothing but sw_onnx_destroy. */
SW_MUST_CHECK sw_status sw_onnx_raise_opset(struct sw_onnx *onnx, int64_t target, struct sw_error *err);

#endif
