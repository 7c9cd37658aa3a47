/* Tensors: typed, shaped, named blocks of numbers or strings.
 *
 * A tensor borrows everything: name and data live in a request's arena, a body, a session's output, or a bundle.
 * Row-major, native little-endian. BYTES elements are `struct sw_str`; FP16 and BF16 are uint16_t bit patterns; BOOL is
 * one byte, 0 or 1. A scalar has rank 0 and one element. */
#ifndef SW_TENSOR_TENSOR_H
#define SW_TENSOR_TENSOR_H

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"

/* The data types of the Open Inference Protocol v2. */
enum sw_dtype {
    SW_DTYPE_INVALID,
    SW_DTYPE_BOOL,
    SW_DTYPE_UINT8,
    SW_DTYPE_UINT16,
    SW_DTYPE_UINT32,
    SW_DTYPE_UINT64,
    SW_DTYPE_INT8,
    SW_DTYPE_INT16,
    SW_DTYPE_INT32,
    SW_DTYPE_INT64,
    SW_DTYPE_FP16,
    SW_DTYPE_FP32,
    SW_DTYPE_FP64,
    SW_DTYPE_BF16,
    SW_DTYPE_BYTES,
    SW_DTYPE_COUNT
};

enum { SW_RANK_MAX = 16 };

/* Most elements of one tensor; sizes from outside are checked against it before use. */
#define SW_ELEMENTS_MAX ((uint64_t)1 << 31)

struct sw_tensor {
    struct sw_str name;
    enum sw_dtype dtype;
    uint32_t rank;
    int64_t shape[SW_RANK_MAX]; /* every entry >= 0 */
    size_t count;               /* product of shape; 1 for a scalar */
    void *data;                 /* count * sw_dtype_size(dtype) bytes; may be NULL when count is 0 */
};

/* What a model declares of one input or output. */
struct sw_tensor_spec {
    char *name;
    enum sw_dtype dtype;
    uint32_t rank;
    int64_t shape[SW_RANK_MAX];        /* -1: free */
    char *dimension_name[SW_RANK_MAX]; /* symbolic name of a free dimension, or NULL; equal names must be equal sizes */
    bool optional;                     /* input with a default (initializer), or output that may be absent */
};

struct sw_tensor_specs {
    struct sw_tensor_spec *items;
    size_t count;
};

/* Bytes of one element in memory: 1, 2, 4, 8, or sizeof(struct sw_str) for BYTES. */
size_t sw_dtype_size(enum sw_dtype dtype);
const char *sw_dtype_name(enum sw_dtype dtype);   /* "FP32" */
enum sw_dtype sw_dtype_parse(struct sw_str name); /* SW_DTYPE_INVALID when unknown */

/* Product of the dimensions into *ret_count; false when one is negative or the product exceeds SW_ELEMENTS_MAX. */
bool sw_shape_count(const int64_t *shape, uint32_t rank, size_t *ret_count);

/* "[1,3,-1]" in the buffer, cut when too long; returns the buffer. */
const char *sw_shape_format(const int64_t *shape, uint32_t rank, char *buffer, size_t size);

/* Allocates data for dtype and shape from the arena, 64-byte aligned, not zeroed (BYTES: zeroed). */
SW_MUST_CHECK sw_status sw_tensor_alloc(struct sw_tensor *ret, struct sw_arena *arena, struct sw_str name,
                                        enum sw_dtype dtype, const int64_t *shape, uint32_t rank, struct sw_error *err);

const struct sw_tensor_spec *sw_specs_find(const struct sw_tensor_specs *specs, struct sw_str name);
void sw_specs_deinit(struct sw_tensor_specs *specs);
void sw_specs_copy(struct sw_tensor_specs *ret, const struct sw_tensor_specs *from); /* deep */

/* Is t what the spec asks for: dtype, rank, fixed dimensions? SW_E_INVALID_ARGUMENT naming the input, what is expected
 * and what was given. */
SW_MUST_CHECK sw_status sw_tensor_check(const struct sw_tensor *t, const struct sw_tensor_spec *spec,
                                        struct sw_error *err);

/* Every required input present once, none unknown, each fits its spec, dimensions of one name equal. Reorders
 * nothing. */
SW_MUST_CHECK sw_status sw_tensors_check(const struct sw_tensor *tensors, size_t count,
                                         const struct sw_tensor_specs *specs, struct sw_error *err);

/* First element that is NaN or infinite of a floating tensor (FP16, BF16 included), or SIZE_MAX. Vectorisable. */
size_t sw_tensor_find_nonfinite(const struct sw_tensor *t);

/* IEEE half and bfloat16 conversions, round to nearest even. */
float sw_half_to_float(uint16_t half);
uint16_t sw_float_to_half(float value);
float sw_bf16_to_float(uint16_t bits);
uint16_t sw_float_to_bf16(float value);

#endif
