/* Data types, shapes, allocation, and the search for values that are not finite. Signatures: specs.c. */
#include "tensor/tensor.h"

enum { DATA_ALIGN = 64, BLOCK = 1024 };

static const struct {
    const char *name;
    size_t size;
} types[SW_DTYPE_COUNT] = {
    [SW_DTYPE_INVALID] = {"INVALID", 0},
    [SW_DTYPE_BOOL] = {"BOOL", 1},
    [SW_DTYPE_UINT8] = {"UINT8", 1},
    [SW_DTYPE_UINT16] = {"UINT16", 2},
    [SW_DTYPE_UINT32] = {"UINT32", 4},
    [SW_DTYPE_UINT64] = {"UINT64", 8},
    [SW_DTYPE_INT8] = {"INT8", 1},
    [SW_DTYPE_INT16] = {"INT16", 2},
    [SW_DTYPE_INT32] = {"INT32", 4},
    [SW_DTYPE_INT64] = {"INT64", 8},
    [SW_DTYPE_FP16] = {"FP16", 2},
    [SW_DTYPE_FP32] = {"FP32", 4},
    [SW_DTYPE_FP64] = {"FP64", 8},
    [SW_DTYPE_BF16] = {"BF16", 2},
    [SW_DTYPE_BYTES] = {"BYTES", sizeof(struct sw_str)},
};

size_t sw_dtype_size(enum sw_dtype dtype) {
    SW_ASSERT(dtype > SW_DTYPE_INVALID && dtype < SW_DTYPE_COUNT);
    return types[dtype].size;
}

const char *sw_dtype_name(enum sw_dtype dtype) {
    SW_ASSERT((unsigned)dtype < SW_DTYPE_COUNT);
    return types[dtype].name;
}

enum sw_dtype sw_dtype_parse(struct sw_str name) {
    for (enum sw_dtype d = SW_DTYPE_INVALID + 1; d < SW_DTYPE_COUNT; d++) {
        if (sw_str_is(name, types[d].name)) {
            return d;
        }
    }
    return SW_DTYPE_INVALID;
}

bool sw_shape_count(const int64_t *shape, uint32_t rank, size_t *ret_count) {
    uint64_t count = 1;
    bool empty = false, too_many = false;
    for (uint32_t i = 0; i < rank; i++) {
        if (shape[i] < 0) {
            return false;
        }
        /* [2^40, 0] is empty, not too large; but no single dimension may exceed the bound. */
        if ((uint64_t)shape[i] > SW_ELEMENTS_MAX) {
            return false;
        }
        empty = empty || shape[i] == 0;
        count = too_many ? count : count * (uint64_t)shape[i]; /* <= 2^31 * 2^31 */
        too_many = too_many || count > SW_ELEMENTS_MAX;
    }
    if (too_many && !empty) {
        return false;
    }
    *ret_count = empty ? 0 : (size_t)count;
    return true;
}

const char *sw_shape_format(const int64_t *shape, uint32_t rank, char *buffer, size_t size) {
    SW_ASSERT(size > 0);
    size_t used = 0;
    for (uint32_t i = 0; i < rank && used < size; i++) {
        int n = snprintf(buffer + used, size - used, "%s%lld", i ? "," : "[", (long long)shape[i]);
        used += n > 0 ? (size_t)n : 0;
    }
    if (used < size) {
        snprintf(buffer + used, size - used, "%s", rank ? "]" : "[]");
    }
    return buffer;
}

sw_status sw_tensor_alloc(struct sw_tensor *ret, struct sw_arena *arena, struct sw_str name, enum sw_dtype dtype,
                          const int64_t *shape, uint32_t rank, struct sw_error *err) {
    struct sw_tensor t = {.name = name, .dtype = dtype, .rank = rank};
    char text[128];
    if (rank > SW_RANK_MAX) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "tensor \"" SW_STR_FMT "\": %u dimensions, at most %d are possible",
                       SW_STR_ARG(name), rank, SW_RANK_MAX);
    }
    if (!sw_shape_count(shape, rank, &t.count)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT,
                       "tensor \"" SW_STR_FMT "\": shape %s is negative or has more than %llu elements",
                       SW_STR_ARG(name), sw_shape_format(shape, rank, text, sizeof text),
                       (unsigned long long)SW_ELEMENTS_MAX);
    }
    if (rank) {
        memcpy(t.shape, shape, rank * sizeof *shape);
    }
    size_t bytes = t.count * sw_dtype_size(dtype); /* <= 2^31 * 16 */
    t.data = sw_arena_alloc_aligned(arena, bytes, DATA_ALIGN);
    if (!t.data) {
        return sw_fail(err, SW_E_UNAVAILABLE, "tensor \"" SW_STR_FMT "\": no memory for %zu bytes of shape %s",
                       SW_STR_ARG(name), bytes, sw_shape_format(shape, rank, text, sizeof text));
    }
    if (dtype == SW_DTYPE_BYTES) {
        memset(t.data, 0, bytes);
    }
    *ret = t;
    return SW_OK;
}

/* Index of the first element whose exponent bits are all ones, or SIZE_MAX. Adding one unit of exponent carries into
 * the sign bit exactly then; blocks are OR-ed together without a branch, so that the compiler uses vectors. */
#define DEFINE_FIND(NAME, TYPE, EXPONENT, UNIT, SIGN)                                \
    static size_t NAME(const TYPE *data, size_t count) {                             \
        for (size_t start = 0; start < count; start += BLOCK) {                      \
            size_t n = count - start < BLOCK ? count - start : BLOCK;                \
            TYPE seen = 0;                                                           \
            for (size_t i = 0; i < n; i++) {                                         \
                seen |= (TYPE)((data[start + i] & (TYPE)(EXPONENT)) + (TYPE)(UNIT)); \
            }                                                                        \
            if (SW_LIKELY(!(seen & (TYPE)(SIGN)))) {                                 \
                continue;                                                            \
            }                                                                        \
            for (size_t i = start;; i++) {                                           \
                if ((data[i] & (TYPE)(EXPONENT)) == (TYPE)(EXPONENT)) {              \
                    return i;                                                        \
                }                                                                    \
            }                                                                        \
        }                                                                            \
        return SIZE_MAX;                                                             \
    }

DEFINE_FIND(find_fp16, uint16_t, 0x7c00, 0x0400, 0x8000)
DEFINE_FIND(find_bf16, uint16_t, 0x7f80, 0x0080, 0x8000)
DEFINE_FIND(find_fp32, uint32_t, 0x7f800000, 0x00800000, 0x80000000)
DEFINE_FIND(find_fp64, uint64_t, 0x7ff0000000000000, 0x0010000000000000, 0x8000000000000000)

size_t sw_tensor_find_nonfinite(const struct sw_tensor *t) {
    switch (t->dtype) {
    case SW_DTYPE_FP16: return find_fp16(t->data, t->count);
    case SW_DTYPE_BF16: return find_bf16(t->data, t->count);
    case SW_DTYPE_FP32: return find_fp32(t->data, t->count);
    case SW_DTYPE_FP64: return find_fp64(t->data, t->count);
    default: return SIZE_MAX;
    }
}

static uint32_t float_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float bits_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

float sw_half_to_float(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 0x1f, fraction = half & 0x3ff;
    if (exponent == 0x1f) {
        return bits_float(sign | 0x7f800000 | fraction << 13);
    }
    if (exponent == 0) {
        float magnitude = (float)fraction * 0x1p-24f;
        return sign ? -magnitude : magnitude;
    }
    return bits_float(sign | (exponent + 112) << 23 | fraction << 13);
}

uint16_t sw_float_to_half(float value) {
    uint32_t bits = float_bits(value), magnitude = bits & 0x7fffffff;
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    if (magnitude > 0x7f800000) {
        return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x1ff)); /* quiet, payload kept */
    }
    if (magnitude >= 0x477ff000) { /* 65520 and above round to infinity */
        return sign | 0x7c00;
    }
    if (magnitude < 0x38800000) { /* below 2^-14: adding 0.5 leaves the multiple of 2^-24 in the low bits, rounded */
        return (uint16_t)(sign | (float_bits(bits_float(magnitude) + 0.5f) - 0x3f000000));
    }
    uint32_t rebased = magnitude - (112u << 23);
    return (uint16_t)(sign | ((rebased + 0xfff + (rebased >> 13 & 1)) >> 13));
}

float sw_bf16_to_float(uint16_t bits) {
    return bits_float((uint32_t)bits << 16);
}

uint16_t sw_float_to_bf16(float value) {
    uint32_t bits = float_bits(value);
    if ((bits & 0x7fffffff) > 0x7f800000) {
        return (uint16_t)(bits >> 16 | 0x40);
    }
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
