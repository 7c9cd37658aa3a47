/* JSON straight into tensor memory and back, without a tree in between.
 *
 * Reading is a cursor over the body: strict RFC 8259, UTF-8 checked in strings, depth bounded, every error with its
 * byte offset and, where known, the name of the field. A key that an object repeats is an error; the first
 * SW_JSON_KEYS_MAX keys of each object are remembered for that, also in values that are skipped. A reader of an object
 * in which a key it knows may stand behind more keys than that keeps a bit a key of its own. */
#ifndef SW_TENSOR_JSON_H
#define SW_TENSOR_JSON_H

#include "base/buf.h"
#include "tensor/tensor.h"

enum { SW_JSON_DEPTH_MAX = 64, SW_JSON_KEYS_MAX = 64 };

/* Initialise with sw_json_init. A copy is a second cursor over the same text, to read a value again later: it must be
 * done with before the original goes on, and stay in the container where it was made. */
struct sw_json {
    const char *begin, *p, *end;
    uint32_t depth;         /* open containers */
    struct sw_arena *arena; /* strings with escapes are unescaped into it; never NULL */
    struct sw_error *err;   /* where the first fault goes; may be NULL */
    uint64_t fresh;         /* bit depth - 1: nothing read yet of that container */
    uint64_t objects;       /* bit depth - 1: it is an object */
    struct sw_str *keys;    /* of the open objects, outermost first; in the arena */
    uint32_t key_count, key_capacity;
    uint32_t key_start[SW_JSON_DEPTH_MAX]; /* where the keys of the container at that depth begin */
};

void sw_json_init(struct sw_json *json, struct sw_str text, struct sw_arena *arena, struct sw_error *err);

/* Next value's first byte after blanks, without consuming: '{' '[' '"' 't' 'f' 'n' '-' digit, or 0 at the end. */
char sw_json_peek(struct sw_json *json);

/* Objects and arrays. The caller consumes each value before it asks for the next:
 *
 *   SW_TRY(sw_json_enter_object(json));
 *   for (;;) {
 *       struct sw_str key;
 *       bool more;
 *       SW_TRY(sw_json_object_next(json, &key, &more));
 *       if (!more) {
 *           break;
 *       }
 *       if (sw_str_is(key, "id")) {
 *           SW_TRY(sw_json_string(json, &id));
 *       } else {
 *           SW_TRY(sw_json_skip(json));
 *       }
 *   }
 *
 * Arrays the same way, with sw_json_enter_array and sw_json_array_next. When `more` is false the container is closed.
 * Keys are borrowed from the text or the arena. */
SW_MUST_CHECK sw_status sw_json_enter_object(struct sw_json *json);
SW_MUST_CHECK sw_status sw_json_object_next(struct sw_json *json, struct sw_str *ret_key, bool *ret_more);
SW_MUST_CHECK sw_status sw_json_enter_array(struct sw_json *json);
SW_MUST_CHECK sw_status sw_json_array_next(struct sw_json *json, bool *ret_more);

SW_MUST_CHECK sw_status sw_json_string(struct sw_json *json, struct sw_str *ret); /* borrowed from text or arena */
SW_MUST_CHECK sw_status sw_json_bool(struct sw_json *json, bool *ret);
SW_MUST_CHECK sw_status sw_json_null(struct sw_json *json);
SW_MUST_CHECK sw_status sw_json_i64(struct sw_json *json, int64_t *ret);
SW_MUST_CHECK sw_status sw_json_double(struct sw_json *json, double *ret);
SW_MUST_CHECK sw_status sw_json_skip(struct sw_json *json); /* any value, fully checked */
SW_MUST_CHECK sw_status sw_json_end(struct sw_json *json);  /* only blanks remain */

/* A fault at the cursor: SW_E_INVALID_ARGUMENT with " at byte N" appended. fmt names no byte. */
sw_status sw_json_fail(struct sw_json *json, const char *fmt, ...) SW_PRINTF(2, 3);

/* Reads the array (nested as the shape says, or flat) or, for rank 0, the bare value, at the cursor into t->data.
 * t has dtype, shape and count set and data allocated. Element count and, when nested, the length at each level must
 * fit the shape. NaN, infinities, overflow, fractions for integers, out-of-range integers, wrong kinds: errors naming
 * t->name and the element's index. FP16 and BF16 are refused ("binary only"). */
SW_MUST_CHECK sw_status sw_json_read_data(struct sw_json *json, struct sw_tensor *t);

/* Reads a nested array whose shape is not known beforehand ("instances"): infers the shape (rectangular, else an
 * error), dtype given. At most max_elements. Fills shape, rank, count, data. */
SW_MUST_CHECK sw_status sw_json_read_infer_shape(struct sw_json *json, struct sw_tensor *t, uint64_t max_elements);

/* Appends t's elements as a flat JSON array, or nested by its shape, or (rank 0 nested) the bare value.
 * SW_E_INFERENCE_FAILED naming the tensor and element when a value is NaN or infinite, unless allow_nonfinite, which
 * writes null. SW_E_INVALID_ARGUMENT for 16-bit floats (binary only) and BYTES that are not UTF-8. */
SW_MUST_CHECK sw_status sw_json_write_data(struct sw_buf *out, const struct sw_tensor *t, bool nested,
                                           bool allow_nonfinite, struct sw_error *err);

/* The same for the sub-tensor `row` along dimension 0 (rank >= 1): used for per-instance answers; always nested. */
SW_MUST_CHECK sw_status sw_json_write_row(struct sw_buf *out, const struct sw_tensor *t, size_t row,
                                          bool allow_nonfinite, struct sw_error *err);

#endif
