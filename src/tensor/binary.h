/* The binary tensor form of the Open Inference Protocol: little-endian elements, row-major; a BYTES element has its
 * u32 length in front. */
#ifndef SW_TENSOR_BINARY_H
#define SW_TENSOR_BINARY_H

#include "base/buf.h"
#include "tensor/tensor.h"

/* Reads blob into t (dtype, rank, shape, count set; data set here). Borrows the blob when it is aligned for the dtype,
 * else copies into the arena; BYTES elements point into the blob; BOOL bytes must be 0 or 1. The length must match
 * exactly: SW_E_INVALID_ARGUMENT naming the tensor, expected and given bytes. */
SW_MUST_CHECK sw_status sw_binary_read(struct sw_tensor *t, struct sw_str blob, struct sw_arena *arena,
                                       struct sw_error *err);

/* Bytes the binary form takes. */
size_t sw_binary_size(const struct sw_tensor *t);

/* *ret is the binary form: borrowed from t->data for fixed-size types, written into the arena for BYTES. */
SW_MUST_CHECK sw_status sw_binary_write(const struct sw_tensor *t, struct sw_arena *arena, struct sw_str *ret,
                                        struct sw_error *err);

#endif
