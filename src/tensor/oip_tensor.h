/* Tensors as the Open Inference Protocol writes them in JSON:
 *   {"name": "x", "shape": [1, 45], "datatype": "FP32", "parameters": {...}, "data": [...]}
 * Used for request bodies and for golden answers. `data` may stand before shape and datatype. */
#ifndef SW_TENSOR_OIP_TENSOR_H
#define SW_TENSOR_OIP_TENSOR_H

#include "tensor/json.h"

enum { SW_TENSORS_MAX = 256 }; /* most tensors of one request */

/* Reads one tensor object at the cursor. `specs` (may be NULL) is the model's signature: an unknown name or other dtype
 * is refused before data is parsed, so that nothing large is allocated for it. Parameters understood:
 * binary_data_size (then `data` must be absent; *blobs is advanced by it and the tensor read from there; `blobs` NULL:
 * refused), content_type "base64" for BYTES (elements decoded). Unknown parameters are ignored. */
SW_MUST_CHECK sw_status sw_oip_read_tensor(struct sw_json *json, const struct sw_tensor_specs *specs,
                                           struct sw_str *blobs, struct sw_tensor *ret);

/* Reads an array of them (1..SW_TENSORS_MAX), from the arena; duplicate names are refused. */
SW_MUST_CHECK sw_status sw_oip_read_tensors(struct sw_json *json, const struct sw_tensor_specs *specs,
                                            struct sw_str *blobs, struct sw_tensor **ret, size_t *ret_count);

/* Base64 (RFC 4648, padding required, no blanks) into the arena. */
SW_MUST_CHECK sw_status sw_base64_decode(struct sw_str text, struct sw_arena *arena, struct sw_str *ret,
                                         struct sw_error *err);

#endif
