/* What an ONNX file says of itself that the runtime does not pass on: format version, operator sets, producer version,
 * and inputs that declare no shape (the runtime reports those as scalars).
 *
 * A walk over the protobuf fields of the file that skips weights and nodes; it reads a few kilobytes of any model.
 * Best effort: a file that is not well-formed gives what was read until then, and the runtime says what is wrong. */
#ifndef SW_ENGINE_ORT_ONNX_HEAD_H
#define SW_ENGINE_ORT_ONNX_HEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/wire.h"

enum { ONNX_OPSETS_MAX = 16, ONNX_DOMAIN_MAX = 64, ONNX_NAME_MAX = 256 };

struct onnx_head {
    bool complete; /* the whole file was walked without finding it malformed */
    bool has_graph;
    int64_t ir_version;
    char producer_version[ONNX_DOMAIN_MAX];
    struct {
        char domain[ONNX_DOMAIN_MAX]; /* "ai.onnx" for the default one */
        int64_t version;
    } opsets[ONNX_OPSETS_MAX];
    size_t opset_count;
    char shapeless_input[ONNX_NAME_MAX]; /* the first input without a shape, or "" */
};

void onnx_head_read(struct sw_wire *wire, struct onnx_head *ret);

#endif
