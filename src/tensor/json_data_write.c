/* Writing tensors as JSON arrays: in pieces of PIECE elements into reserved room, one writer a data type. */
#include "tensor/json.h"
#include "tensor/number_internal.h"

enum { PIECE = 64, ELEMENT_MAX = SW_NUMBER_MAX + 1 }; /* a number and its comma */

/* One write: where to and what. */
struct writer {
    struct sw_buf *out;
    const struct sw_tensor *t;
    bool allow_nonfinite;
    struct sw_error *err;
};

SW_INLINE char *put_bool(char *out, uint8_t value) {
    memcpy(out, value ? "true " : "false", 5);
    return out + (value ? 4 : 5);
}

/* Writes count elements, a comma behind each; at most ELEMENT_MAX bytes an element. */
#define DEFINE_PIECE(NAME, TYPE, PUT)                                            \
    static char *NAME(char *out, const void *data, size_t start, size_t count) { \
        const TYPE *elements = (const TYPE *)data + start;                       \
        for (size_t i = 0; i < count; i++) {                                     \
            out = PUT(out, elements[i]);                                         \
            *out++ = ',';                                                        \
        }                                                                        \
        return out;                                                              \
    }
DEFINE_PIECE(piece_bool, uint8_t, put_bool)
DEFINE_PIECE(piece_uint8, uint8_t, sw_format_uint)
DEFINE_PIECE(piece_uint16, uint16_t, sw_format_uint)
DEFINE_PIECE(piece_uint32, uint32_t, sw_format_uint)
DEFINE_PIECE(piece_uint64, uint64_t, sw_format_uint)
DEFINE_PIECE(piece_int8, int8_t, sw_format_int)
DEFINE_PIECE(piece_int16, int16_t, sw_format_int)
DEFINE_PIECE(piece_int32, int32_t, sw_format_int)
DEFINE_PIECE(piece_int64, int64_t, sw_format_int)

static char *piece_fp32(char *out, const void *data, size_t start, size_t count) {
    return sw_format_float_list(out, (const float *)data + start, count);
}

static char *piece_fp64(char *out, const void *data, size_t start, size_t count) {
    return sw_format_double_list(out, (const double *)data + start, count);
}

static char *(*const pieces[SW_DTYPE_COUNT])(char *out, const void *data, size_t start, size_t count) = {
    [SW_DTYPE_BOOL] = piece_bool,     [SW_DTYPE_UINT8] = piece_uint8,   [SW_DTYPE_UINT16] = piece_uint16,
    [SW_DTYPE_UINT32] = piece_uint32, [SW_DTYPE_UINT64] = piece_uint64, [SW_DTYPE_INT8] = piece_int8,
    [SW_DTYPE_INT16] = piece_int16,   [SW_DTYPE_INT32] = piece_int32,   [SW_DTYPE_INT64] = piece_int64,
    [SW_DTYPE_FP32] = piece_fp32,     [SW_DTYPE_FP64] = piece_fp64,
};

/* Elements start .. start + count - 1 of BYTES, commas between. */
static sw_status write_strings(const struct writer *w, size_t start, size_t count) {
    const struct sw_str *elements = w->t->data;
    for (size_t i = start; i < start + count; i++) {
        if (!sw_utf8_valid(elements[i])) {
            return sw_fail(w->err, SW_E_INVALID_ARGUMENT,
                           "tensor \"" SW_STR_FMT "\": element %zu is not UTF-8; ask for it as binary data",
                           SW_STR_ARG(w->t->name), i);
        }
        if (i > start) {
            sw_buf_append_c(w->out, ',');
        }
        sw_buf_append_json(w->out, elements[i]);
    }
    return SW_OK;
}

/* The same for numbers. */
static void write_numbers(const struct writer *w, size_t start, size_t count) {
    struct sw_buf *out = w->out;
    char *(*piece)(char *, const void *, size_t, size_t) = pieces[w->t->dtype];
    for (size_t done = 0; done < count && !out->failed;) {
        size_t n = count - done < PIECE ? count - done : PIECE, room = n * ELEMENT_MAX;
        bool last = done + n == count; /* its comma is dropped */
        if (SW_LIKELY(out->len <= out->max && room <= out->max - out->len)) {
            if (sw_buf_reserve(out, room)) {
                char *end = piece(out->data + out->len, w->t->data, start + done, n) - last;
                out->len = (size_t)(end - out->data);
                *end = '\0';
            }
        } else { /* close to the buffer's end: it may fit all the same */
            char text[PIECE * ELEMENT_MAX];
            char *end = piece(text, w->t->data, start + done, n) - last;
            sw_buf_append(out, text, (size_t)(end - text));
        }
        done += n;
    }
}

/* "[...]" of the elements start .. start + count - 1. */
static sw_status write_run(const struct writer *w, size_t start, size_t count) {
    sw_buf_append_c(w->out, '[');
    if (w->t->dtype == SW_DTYPE_BYTES) {
        SW_TRY(write_strings(w, start, count));
    } else {
        write_numbers(w, start, count);
    }
    sw_buf_append_c(w->out, ']');
    return SW_OK;
}

/* The sub-tensor of dimensions level .. rank - 1 that begins at element `start` and has `count` elements. */
static sw_status write_nested(const struct writer *w, uint32_t level, size_t start, size_t count) {
    const struct sw_tensor *t = w->t;
    if (level == t->rank) {
        if (t->dtype == SW_DTYPE_BYTES) {
            return write_strings(w, start, 1);
        }
        write_numbers(w, start, 1);
        return SW_OK;
    }
    if (level + 1 == t->rank) {
        return write_run(w, start, count);
    }
    size_t entries = (size_t)t->shape[level], step = entries ? count / entries : 0;
    if (entries > w->out->max) {
        w->out->failed = true; /* brackets alone would not fit; and [2^31, 0] takes no turn around the loop */
        return SW_OK;
    }
    sw_buf_append_c(w->out, '[');
    for (size_t i = 0; i < entries && !w->out->failed; i++) {
        if (i > 0) {
            sw_buf_append_c(w->out, ',');
        }
        SW_TRY(write_nested(w, level + 1, start + i * step, step));
    }
    sw_buf_append_c(w->out, ']');
    return SW_OK;
}

/* Can elements start .. start + count - 1 be written? */
static sw_status check(const struct writer *w, size_t start, size_t count) {
    const struct sw_tensor *t = w->t;
    if (t->dtype == SW_DTYPE_FP16 || t->dtype == SW_DTYPE_BF16) {
        return sw_fail(w->err, SW_E_INVALID_ARGUMENT,
                       "tensor \"" SW_STR_FMT "\": %s travels as binary data only; ask for it as binary data",
                       SW_STR_ARG(t->name), sw_dtype_name(t->dtype));
    }
    if (w->allow_nonfinite || t->dtype == SW_DTYPE_BYTES || count == 0) {
        return SW_OK;
    }
    struct sw_tensor part = *t;
    part.data = (char *)t->data + start * sw_dtype_size(t->dtype);
    part.count = count;
    size_t bad = sw_tensor_find_nonfinite(&part);
    if (bad != SIZE_MAX) {
        return sw_fail(w->err, SW_E_INFERENCE_FAILED, "tensor \"" SW_STR_FMT "\": element %zu is NaN or infinite",
                       SW_STR_ARG(t->name), start + bad);
    }
    return SW_OK;
}

static sw_status finish(const struct writer *w) {
    if (!w->out->failed) {
        return SW_OK;
    }
    return sw_fail(w->err, SW_E_UNAVAILABLE,
                   "tensor \"" SW_STR_FMT "\": no room for its JSON in an answer of at most "
                   "%zu bytes",
                   SW_STR_ARG(w->t->name), w->out->max);
}

/* Asks for the likely size at once, so that a large answer does not grow step by step. */
static void reserve_likely(struct sw_buf *out, const struct sw_tensor *t, size_t count) {
    static const unsigned char likely[SW_DTYPE_COUNT] = {
        [SW_DTYPE_BOOL] = 6,   [SW_DTYPE_UINT8] = 4, [SW_DTYPE_INT8] = 5,   [SW_DTYPE_UINT16] = 6,
        [SW_DTYPE_INT16] = 6,  [SW_DTYPE_INT32] = 8, [SW_DTYPE_UINT32] = 8, [SW_DTYPE_INT64] = 8,
        [SW_DTYPE_UINT64] = 8, [SW_DTYPE_FP32] = 12, [SW_DTYPE_FP64] = 21,
    };
    size_t bytes = count * likely[t->dtype];
    if (!out->failed && out->len <= out->max && bytes <= out->max - out->len) {
        (void)sw_buf_reserve(out, bytes);
    }
}

sw_status sw_json_write_data(struct sw_buf *out, const struct sw_tensor *t, bool nested, bool allow_nonfinite,
                             struct sw_error *err) {
    struct writer w = {out, t, allow_nonfinite, err};
    SW_TRY(check(&w, 0, t->count));
    reserve_likely(out, t, t->count);
    if (nested) {
        SW_TRY(write_nested(&w, 0, 0, t->count));
    } else {
        SW_TRY(write_run(&w, 0, t->count));
    }
    return finish(&w);
}

sw_status sw_json_write_row(struct sw_buf *out, const struct sw_tensor *t, size_t row, bool allow_nonfinite,
                            struct sw_error *err) {
    SW_ASSERT(t->rank >= 1 && row < (size_t)t->shape[0]);
    struct writer w = {out, t, allow_nonfinite, err};
    size_t step = t->count / (size_t)t->shape[0];
    SW_TRY(check(&w, row * step, step));
    SW_TRY(write_nested(&w, 1, row * step, step));
    return finish(&w);
}
