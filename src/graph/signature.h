/* Inputs and outputs of an ONNX file, read without loading the model.
 *
 * Walks the protobuf wire format with pread and skips what it does not need (weights), so that time and memory do not
 * grow with the size of the file. Bounded against hostile files: depth, number of values, name lengths. */
#ifndef SW_GRAPH_SIGNATURE_H
#define SW_GRAPH_SIGNATURE_H

#include <jansson.h>

#include "base/error.h"

/* {"inputs": [{"name", "datatype": "FP32", "shape": [-1, 3]}], "outputs": [...], "opset": 17}: datatypes as in the
 * Open Inference Protocol, -1 for a free dimension; initializers are no inputs. datatype is null for a value that is
 * no tensor or of a type that cannot be served; shape where none is declared; opset (of the default domain) where
 * none is given. *ret is a new reference. *ret_external (may be NULL): new array of the external data files that
 * tensors of the graph name, as they are written there. SW_E_MODEL_INVALID: no ONNX file, broken or cut off, or
 * beyond a bound; SW_E_NOT_FOUND; SW_E_IO. Messages do not name the file: the caller does. */
SW_MUST_CHECK sw_status sw_onnx_signature(const char *path, json_t **ret, json_t **ret_external, struct sw_error *err);
/* The same of an open regular file; its offset is neither used nor moved. */
SW_MUST_CHECK sw_status sw_onnx_signature_fd(int fd, json_t **ret, json_t **ret_external, struct sw_error *err);

#endif
