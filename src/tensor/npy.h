/* Arrays as numpy saves them (.npy): a header with type and shape, then the numbers.
 *
 * Source: numpy.lib.format. Read: versions 1 to 3, little-endian, row-major, numbers and bool. Refused, by name: other
 * byte orders and types, Fortran order of more than one dimension, structured types. */
#ifndef SW_TENSOR_NPY_H
#define SW_TENSOR_NPY_H

#include "tensor/tensor.h"

/* *ret: dtype, rank, shape, count and data; no name. The data is borrowed from `bytes` where it is aligned to its type
 * there, else copied into the arena. SW_E_INVALID_ARGUMENT: no such file, cut off, or one of what is refused;
 * SW_E_UNAVAILABLE: no memory. */
SW_MUST_CHECK sw_status sw_npy_read(struct sw_str bytes, struct sw_arena *arena, struct sw_tensor *ret,
                                    struct sw_error *err);

/* Copies t's values into a new tensor of another numeric type, in the arena; name and shape stay. Integers must fit; to
 * FP32 and FP64 any number goes, to an integer only integers. SW_E_INVALID_ARGUMENT naming the element. */
SW_MUST_CHECK sw_status sw_tensor_convert(const struct sw_tensor *t, enum sw_dtype dtype, struct sw_arena *arena,
                                          struct sw_tensor *ret, struct sw_error *err);

#endif
