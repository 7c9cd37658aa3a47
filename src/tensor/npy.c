/* See npy.h. The header is a Python dict literal of three keys, {'descr': '<f4', 'fortran_order': False, 'shape':
 * (3, 4), }, in any order, padded with blanks. */
#include "tensor/npy.h"

#include <math.h>

enum { MAGIC_LEN = 6, HEADER_MAX = 65536 };

static const struct {
    const char *descr;
    enum sw_dtype dtype;
} types[] = {
    {"|b1", SW_DTYPE_BOOL},  {"|u1", SW_DTYPE_UINT8},  {"|i1", SW_DTYPE_INT8},  {"<u2", SW_DTYPE_UINT16},
    {"<i2", SW_DTYPE_INT16}, {"<u4", SW_DTYPE_UINT32}, {"<i4", SW_DTYPE_INT32}, {"<u8", SW_DTYPE_UINT64},
    {"<i8", SW_DTYPE_INT64}, {"<f2", SW_DTYPE_FP16},   {"<f4", SW_DTYPE_FP32},  {"<f8", SW_DTYPE_FP64},
};

struct header {
    struct sw_str text; /* what is left of it */
    struct sw_tensor *t;
    bool has_type, has_order, has_shape, fortran;
    struct sw_error *err;
};

static sw_status broken(struct header *h, const char *what) {
    return sw_fail(h->err, SW_E_INVALID_ARGUMENT, "not a .npy array: %s", what);
}

static void skip_blanks(struct header *h) {
    while (h->text.len && (h->text.data[0] == ' ' || h->text.data[0] == '\n')) {
        h->text.data++;
        h->text.len--;
    }
}

static bool take(struct header *h, char c) {
    skip_blanks(h);
    if (h->text.len == 0 || h->text.data[0] != c) {
        return false;
    }
    h->text.data++;
    h->text.len--;
    return true;
}

/* A quoted text without escapes. */
static bool take_quoted(struct header *h, struct sw_str *ret) {
    skip_blanks(h);
    char quote = h->text.len ? h->text.data[0] : 0;
    const char *end = quote == '\'' || quote == '"' ? memchr(h->text.data + 1, quote, h->text.len - 1) : NULL;
    if (!end) {
        return false;
    }
    *ret = (struct sw_str){h->text.data + 1, (size_t)(end - h->text.data) - 1};
    h->text.len -= ret->len + 2;
    h->text.data = end + 1;
    return true;
}

static bool take_word(struct header *h, const char *word) {
    skip_blanks(h);
    size_t len = strlen(word);
    if (!sw_str_starts(h->text, sw_str_of(word))) {
        return false;
    }
    h->text.data += len;
    h->text.len -= len;
    return true;
}

static sw_status read_type(struct header *h) {
    struct sw_str descr;
    if (!take_quoted(h, &descr)) {
        return broken(h, "its type is not a plain one");
    }
    for (size_t i = 0; i < SW_COUNTOF(types); i++) {
        if (sw_str_is(descr, types[i].descr)) {
            h->t->dtype = types[i].dtype;
            h->has_type = true;
            return SW_OK;
        }
    }
    return sw_fail(h->err, SW_E_INVALID_ARGUMENT,
                   "a .npy array of type '" SW_STR_FMT "'; read are little-endian numbers and bool", SW_STR_ARG(descr));
}

static sw_status read_dimension(struct header *h) {
    int64_t size = 0;
    size_t digits = 0;
    skip_blanks(h);
    for (; digits < h->text.len && h->text.data[digits] >= '0' && h->text.data[digits] <= '9'; digits++) {
        if (digits > 17) {
            return broken(h, "a dimension out of range");
        }
        size = size * 10 + (h->text.data[digits] - '0');
    }
    if (digits == 0 || h->t->rank == SW_RANK_MAX) {
        return broken(h, digits ? "too many dimensions" : "its shape is not a list of sizes");
    }
    h->text.data += digits;
    h->text.len -= digits;
    h->t->shape[h->t->rank++] = size;
    return SW_OK;
}

static sw_status read_shape(struct header *h) {
    if (!take(h, '(')) {
        return broken(h, "its shape is no tuple");
    }
    while (!take(h, ')')) {
        SW_TRY(read_dimension(h));
        if (!take(h, ',') && (h->text.len == 0 || h->text.data[0] != ')')) {
            return broken(h, "its shape is no tuple");
        }
    }
    h->has_shape = true;
    return SW_OK;
}

static sw_status read_entry(struct header *h) {
    struct sw_str key;
    if (!take_quoted(h, &key) || !take(h, ':')) {
        return broken(h, "its header is no mapping");
    }
    if (sw_str_is(key, "descr") && !h->has_type) {
        return read_type(h);
    }
    if (sw_str_is(key, "shape") && !h->has_shape) {
        return read_shape(h);
    }
    if (sw_str_is(key, "fortran_order") && !h->has_order) {
        h->has_order = true;
        h->fortran = take_word(h, "True");
        return h->fortran || take_word(h, "False") ? SW_OK : broken(h, "fortran_order is neither True nor False");
    }
    return broken(h, "its header has an unknown or repeated key");
}

static sw_status read_header(struct header *h) {
    if (!take(h, '{')) {
        return broken(h, "its header is no mapping");
    }
    while (!take(h, '}')) {
        SW_TRY(read_entry(h));
        if (!take(h, ',') && (h->text.len == 0 || h->text.data[0] != '}')) {
            return broken(h, "its header is no mapping");
        }
    }
    skip_blanks(h);
    if (h->text.len || !h->has_type || !h->has_order || !h->has_shape) {
        return broken(h, "its header lacks descr, fortran_order or shape, or has more");
    }
    if (h->fortran && h->t->rank > 1) {
        return sw_fail(h->err, SW_E_INVALID_ARGUMENT,
                       "a .npy array in Fortran order; save it with numpy.ascontiguousarray");
    }
    return SW_OK;
}

/* *ret_header: the text of the header; *ret_data: what stands behind it. */
static sw_status split(struct sw_str bytes, struct sw_str *ret_header, struct sw_str *ret_data, struct header *h) {
    const unsigned char *p = (const unsigned char *)bytes.data;
    if (bytes.len < MAGIC_LEN + 4 || memcmp(p, "\x93NUMPY", MAGIC_LEN) != 0) {
        return broken(h, "it does not begin like one");
    }
    size_t version = p[MAGIC_LEN], start = version == 1 ? 10 : 12;
    if (version < 1 || version > 3 || bytes.len < start) {
        return broken(h, "an unknown version");
    }
    size_t len = p[8] | (size_t)p[9] << 8;
    if (version > 1) {
        len |= (size_t)p[10] << 16 | (size_t)p[11] << 24;
    }
    if (len > HEADER_MAX || len > bytes.len - start) {
        return broken(h, "its header is cut off");
    }
    *ret_header = (struct sw_str){bytes.data + start, len};
    *ret_data = (struct sw_str){bytes.data + start + len, bytes.len - start - len};
    return SW_OK;
}

sw_status sw_npy_read(struct sw_str bytes, struct sw_arena *arena, struct sw_tensor *ret, struct sw_error *err) {
    struct sw_tensor t = {0};
    struct header h = {.t = &t, .err = err};
    struct sw_str data = {0};
    SW_TRY(split(bytes, &h.text, &data, &h));
    SW_TRY(read_header(&h));
    if (!sw_shape_count(t.shape, t.rank, &t.count)) {
        return broken(&h, "too many elements");
    }
    size_t size = sw_dtype_size(t.dtype);
    if (data.len != t.count * size) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "a .npy array of %zu bytes where its shape asks for %zu", data.len,
                       t.count * size);
    }
    t.data = (void *)data.data;
    if ((uintptr_t)data.data % size != 0) {
        t.data = sw_arena_alloc_aligned(arena, data.len, 64);
        if (!t.data) {
            return sw_fail(err, SW_E_UNAVAILABLE, "no memory for an array of %zu bytes", data.len);
        }
        memcpy(t.data, data.data, data.len);
    }
    for (size_t i = 0; i < t.count && t.dtype == SW_DTYPE_BOOL; i++) {
        if (((const uint8_t *)t.data)[i] > 1) {
            return broken(&h, "a bool that is neither 0 nor 1");
        }
    }
    *ret = t;
    return SW_OK;
}

/* --- other types -------------------------------------------------------------------------------------------------- */

/* One element as an integer and as a float. false: not a number that can be converted. */
static bool element(const struct sw_tensor *t, size_t i, __int128 *ret_integer, double *ret_real, bool *ret_is_real) {
    const void *d = t->data;
    *ret_is_real = false;
    switch (t->dtype) {
    case SW_DTYPE_BOOL:
    case SW_DTYPE_UINT8: *ret_integer = ((const uint8_t *)d)[i]; return true;
    case SW_DTYPE_UINT16: *ret_integer = ((const uint16_t *)d)[i]; return true;
    case SW_DTYPE_UINT32: *ret_integer = ((const uint32_t *)d)[i]; return true;
    case SW_DTYPE_UINT64: *ret_integer = ((const uint64_t *)d)[i]; return true;
    case SW_DTYPE_INT8: *ret_integer = (int64_t)((const int8_t *)d)[i]; return true;
    case SW_DTYPE_INT16: *ret_integer = ((const int16_t *)d)[i]; return true;
    case SW_DTYPE_INT32: *ret_integer = ((const int32_t *)d)[i]; return true;
    case SW_DTYPE_INT64: *ret_integer = ((const int64_t *)d)[i]; return true;
    case SW_DTYPE_FP16: *ret_real = sw_half_to_float(((const uint16_t *)d)[i]); break;
    case SW_DTYPE_FP32: *ret_real = ((const float *)d)[i]; break;
    case SW_DTYPE_FP64: *ret_real = ((const double *)d)[i]; break;
    default: return false;
    }
    *ret_is_real = true;
    return true;
}

static bool put_integer(void *data, enum sw_dtype dtype, size_t i, __int128 v) {
#define PUT(code, type, least, greatest)                         \
    case code:                                                   \
        if (v < (__int128)(least) || v > (__int128)(greatest)) { \
            return false;                                        \
        }                                                        \
        ((type *)data)[i] = (type)v;                             \
        return true
    switch (dtype) {
        PUT(SW_DTYPE_UINT8, uint8_t, 0, UINT8_MAX);
        PUT(SW_DTYPE_UINT16, uint16_t, 0, UINT16_MAX);
        PUT(SW_DTYPE_UINT32, uint32_t, 0, UINT32_MAX);
        PUT(SW_DTYPE_UINT64, uint64_t, 0, UINT64_MAX);
        PUT(SW_DTYPE_INT8, int8_t, INT8_MIN, INT8_MAX);
        PUT(SW_DTYPE_INT16, int16_t, INT16_MIN, INT16_MAX);
        PUT(SW_DTYPE_INT32, int32_t, INT32_MIN, INT32_MAX);
        PUT(SW_DTYPE_INT64, int64_t, INT64_MIN, INT64_MAX);
    default: return false;
    }
#undef PUT
}

static bool convert_element(const struct sw_tensor *from, struct sw_tensor *to, size_t i) {
    __int128 integer = 0;
    double real = 0;
    bool is_real;
    if (!element(from, i, &integer, &real, &is_real)) {
        return false;
    }
    real = is_real ? real : (double)integer;
    if (to->dtype == SW_DTYPE_FP32) {
        ((float *)to->data)[i] = (float)real;
        return isfinite((float)real) || !isfinite(real);
    }
    if (to->dtype == SW_DTYPE_FP64) {
        ((double *)to->data)[i] = real;
        return true;
    }
    return !is_real && put_integer(to->data, to->dtype, i, integer);
}

sw_status sw_tensor_convert(const struct sw_tensor *t, enum sw_dtype dtype, struct sw_arena *arena,
                            struct sw_tensor *ret, struct sw_error *err) {
    struct sw_tensor to;
    SW_TRY(sw_tensor_alloc(&to, arena, t->name, dtype, t->shape, t->rank, err));
    for (size_t i = 0; i < t->count; i++) {
        if (!convert_element(t, &to, i)) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "'" SW_STR_FMT "', element %zu: a %s that does not fit into %s",
                           SW_STR_ARG(t->name), i, sw_dtype_name(t->dtype), sw_dtype_name(dtype));
        }
    }
    *ret = to;
    return SW_OK;
}
