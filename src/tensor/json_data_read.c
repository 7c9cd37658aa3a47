/* Reading arrays of numbers straight into tensor memory: the hot path of every JSON request.
 *
 * A run is the elements of one innermost array, or of the whole flat array. There is one run reader a data type, made
 * from a macro so that conversion and loop are one piece of machine code; nested levels above it recurse at most
 * SW_RANK_MAX deep. A run reader stops at the first byte it cannot use and leaves the diagnosis to cold code.
 *
 * Where one number ends is where the next begins: done naively, each waits for the one before it. So the commas of 64
 * bytes are found first, and every number between two of them is read on its own; that it ends at its comma is
 * checked, and predicted. The last number of a run, and whatever is laid out otherwise, goes the plain way. */
#include "tensor/json.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "tensor/number_internal.h"

enum { BLOCK = 64 };

/* One read: what and how far. */
struct reader {
    struct sw_json *json;
    struct sw_tensor *t;
    size_t done; /* elements stored */
};

SW_INLINE const char *skip_blanks(const char *p, const char *end) {
    if (SW_UNLIKELY(p < end && (unsigned char)*p <= ' ')) {
        do {
            if (*p != ' ' && *p != '\n' && *p != '\t' && *p != '\r') {
                break;
            }
            p++;
        } while (p < end);
    }
    return p;
}

/* Bit i: byte p[i] is a comma. 64 bytes are read. */
SW_INLINE uint64_t comma_bits(const char *p) {
    uint64_t bits = 0;
#ifdef __SSE2__
    const __m128i comma = _mm_set1_epi8(',');
    for (int i = 0; i < 4; i++) {
        __m128i found = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(const void *)(p + 16 * i)), comma);
        bits |= (uint64_t)(uint32_t)_mm_movemask_epi8(found) << (16 * i);
    }
#else
    for (int i = 0; i < 8; i++) {
        uint64_t v = sw_load_word(p + 8 * i) ^ 0x2c2c2c2c2c2c2c2cu, low = 0x7f7f7f7f7f7f7f7fu;
        uint64_t zero = ~(((v & low) + low) | v | low) >> 7; /* bit 0 of each byte that was a comma */
        bits |= (zero * 0x0102040810204080u >> 56) << (8 * i);
    }
#endif
    return bits;
}

/* Element readers, two a data type. read_x: the byte behind the element at p, or NULL. token_x: the same for an element
 * that probably ends at token_end, with SW_TOKEN_SLACK more bytes behind it. */
SW_INLINE const char *read_fp32(const char *p, const char *end, float *out) {
    return sw_read_float(p, end, out);
}

SW_INLINE const char *token_fp32(const char *p, const char *token_end, const char *end, float *out) {
    struct sw_decimal d;
    if (SW_LIKELY(sw_scan_token(p, token_end, &d))) {
        return SW_LIKELY(sw_decimal_float(&d, p, token_end, out)) ? token_end : NULL;
    }
    return sw_read_float(p, end, out);
}

SW_INLINE const char *read_fp64(const char *p, const char *end, double *out) {
    return sw_read_double(p, end, out);
}

SW_INLINE const char *token_fp64(const char *p, const char *token_end, const char *end, double *out) {
    struct sw_decimal d;
    if (SW_LIKELY(sw_scan_token(p, token_end, &d))) {
        return SW_LIKELY(sw_decimal_double(&d, p, token_end, out)) ? token_end : NULL;
    }
    return sw_read_double(p, end, out);
}

#define DEFINE_INT(KIND, TYPE, MIN, MAX)                                       \
    SW_INLINE const char *read_##KIND(const char *p, const char *end, TYPE *out) { \
        int64_t value;                                                         \
        p = sw_read_int(p, end, (MIN), (MAX), &value);                         \
        if (SW_LIKELY(p)) {                                                    \
            *out = (TYPE)value;                                                \
        }                                                                      \
        return p;                                                              \
    }
#define DEFINE_UINT(KIND, TYPE, MAX)                                           \
    SW_INLINE const char *read_##KIND(const char *p, const char *end, TYPE *out) { \
        uint64_t value;                                                        \
        p = sw_read_uint(p, end, (MAX), &value);                               \
        if (SW_LIKELY(p)) {                                                    \
            *out = (TYPE)value;                                                \
        }                                                                      \
        return p;                                                              \
    }
DEFINE_INT(int8, int8_t, INT8_MIN, INT8_MAX)
DEFINE_INT(int16, int16_t, INT16_MIN, INT16_MAX)
DEFINE_INT(int32, int32_t, INT32_MIN, INT32_MAX)
DEFINE_INT(int64, int64_t, INT64_MIN, INT64_MAX)
DEFINE_UINT(uint8, uint8_t, UINT8_MAX)
DEFINE_UINT(uint16, uint16_t, UINT16_MAX)
DEFINE_UINT(uint32, uint32_t, UINT32_MAX)
DEFINE_UINT(uint64, uint64_t, UINT64_MAX)
#define TOKEN_LIKE_ANY(KIND, TYPE)                                                                              \
    SW_INLINE const char *token_##KIND(const char *p, const char *token_end, const char *end, TYPE *out) {      \
        return read_##KIND(p, end, out);                                                                        \
    }
TOKEN_LIKE_ANY(int8, int8_t)
TOKEN_LIKE_ANY(int16, int16_t)
TOKEN_LIKE_ANY(int32, int32_t)
TOKEN_LIKE_ANY(int64, int64_t)
TOKEN_LIKE_ANY(uint8, uint8_t)
TOKEN_LIKE_ANY(uint16, uint16_t)
TOKEN_LIKE_ANY(uint32, uint32_t)
TOKEN_LIKE_ANY(uint64, uint64_t)

SW_INLINE const char *read_bool(const char *p, const char *end, uint8_t *out) {
    if (end - p >= 4 && memcmp(p, "true", 4) == 0) {
        *out = 1;
        return p + 4;
    }
    if (end - p >= 5 && memcmp(p, "false", 5) == 0) {
        *out = 0;
        return p + 5;
    }
    return NULL;
}
TOKEN_LIKE_ANY(bool, uint8_t)

/* Where a run stopped. `count` elements were stored; `at` is the first byte not used: behind the last element and its
 * blanks (and behind its comma when bad_element), or at an element that could not be read. */
struct stop {
    const char *at;
    size_t count;
    bool bad_element;
};

/* Reads elements with commas between them until no comma follows or `room` (at least 1) are stored. */
#define DEFINE_RUN(KIND, TYPE)                                                                   \
    static struct stop run_##KIND(const char *p, const char *end, void *data, size_t room) {     \
        TYPE *out = data;                                                                        \
        size_t i = 0;                                                                            \
        for (const char *block = p; end - block >= BLOCK + SW_TOKEN_SLACK; block += BLOCK) {     \
            for (uint64_t commas = comma_bits(block); commas; commas &= commas - 1) {            \
                const char *comma = block + __builtin_ctzll(commas);                             \
                if (SW_UNLIKELY(i == room) ||                                                    \
                    SW_UNLIKELY(token_##KIND(skip_blanks(p, end), comma, end, &out[i]) != comma)) { \
                    goto plain;                                                                  \
                }                                                                                \
                i++;                                                                             \
                p = comma + 1;                                                                   \
            }                                                                                    \
        }                                                                                        \
    plain:                                                                                       \
        while (i < room) {                                                                       \
            p = skip_blanks(p, end);                                                             \
            const char *next = read_##KIND(p, end, &out[i]);                                     \
            if (SW_UNLIKELY(!next)) {                                                            \
                return (struct stop){p, i, true};                                                \
            }                                                                                    \
            i++;                                                                                 \
            p = skip_blanks(next, end);                                                          \
            if (SW_UNLIKELY(p == end || *p != ',') || i == room) {                               \
                return (struct stop){p, i, false};                                               \
            }                                                                                    \
            p++;                                                                                 \
        }                                                                                        \
        return (struct stop){p - 1, i, false}; /* the blocks ended with a comma behind the last that fits */ \
    }
DEFINE_RUN(bool, uint8_t)
DEFINE_RUN(uint8, uint8_t)
DEFINE_RUN(uint16, uint16_t)
DEFINE_RUN(uint32, uint32_t)
DEFINE_RUN(uint64, uint64_t)
DEFINE_RUN(int8, int8_t)
DEFINE_RUN(int16, int16_t)
DEFINE_RUN(int32, int32_t)
DEFINE_RUN(int64, int64_t)
DEFINE_RUN(fp32, float)
DEFINE_RUN(fp64, double)

static struct stop run(const char *p, const char *end, enum sw_dtype dtype, void *data, size_t room) {
    SW_ASSERT(room > 0);
    switch (dtype) {
    case SW_DTYPE_BOOL: return run_bool(p, end, data, room);
    case SW_DTYPE_UINT8: return run_uint8(p, end, data, room);
    case SW_DTYPE_UINT16: return run_uint16(p, end, data, room);
    case SW_DTYPE_UINT32: return run_uint32(p, end, data, room);
    case SW_DTYPE_UINT64: return run_uint64(p, end, data, room);
    case SW_DTYPE_INT8: return run_int8(p, end, data, room);
    case SW_DTYPE_INT16: return run_int16(p, end, data, room);
    case SW_DTYPE_INT32: return run_int32(p, end, data, room);
    case SW_DTYPE_INT64: return run_int64(p, end, data, room);
    case SW_DTYPE_FP32: return run_fp32(p, end, data, room);
    case SW_DTYPE_FP64: return run_fp64(p, end, data, room);
    default: break;
    }
    SW_ASSERT(!"a data type that JSON carries");
    return (struct stop){p, 0, true};
}

#define TENSOR_FMT "tensor \"" SW_STR_FMT "\": "

static const char *wanted(enum sw_dtype dtype) {
    return dtype == SW_DTYPE_BOOL ? "true or false" : dtype == SW_DTYPE_BYTES ? "a string" : "a number";
}

/* Says what is wrong with the number at the cursor, which is well-formed but was refused. */
static sw_status number_fault(struct reader *r, const char *text_end) {
    const struct sw_tensor *t = r->t;
    const char *p = r->json->p;
    bool integral = !memchr(p, '.', (size_t)(text_end - p)) && !memchr(p, 'e', (size_t)(text_end - p)) &&
                    !memchr(p, 'E', (size_t)(text_end - p));
    bool floating = t->dtype == SW_DTYPE_FP32 || t->dtype == SW_DTYPE_FP64;
    struct sw_str number = {p, (size_t)(text_end - p) > 40 ? 40 : (size_t)(text_end - p)};
    return sw_json_fail(
        r->json, TENSOR_FMT "element %zu: " SW_STR_FMT " is %s %s", SW_STR_ARG(t->name), r->done, SW_STR_ARG(number),
        floating || integral ? "out of range of" : "no integer, which is needed for", sw_dtype_name(t->dtype));
}

/* Says what stands at the cursor where element r->done should. */
SW_COLD static sw_status element_fault(struct reader *r) {
    struct sw_json *json = r->json;
    const struct sw_tensor *t = r->t;
    const char *p = json->p, *found = NULL;
    struct sw_decimal d;
    const char *number_end = sw_scan_number(p, json->end, &d);
    if (number_end && t->dtype != SW_DTYPE_BOOL && t->dtype != SW_DTYPE_BYTES) {
        return number_fault(r, number_end);
    }
    size_t left = (size_t)(json->end - p);
    if (left == 0) {
        found = "the text ends";
    } else if (number_end) {
        found = "a number stands";
    } else if (*p == '[' || *p == '{') {
        found = *p == '[' ? "an array stands" : "an object stands";
    } else if (*p == '"') {
        found = "a string stands";
    } else if (*p == 't' || *p == 'f') {
        found = "true or false stands";
    } else if (left >= 4 && memcmp(p, "null", 4) == 0) {
        found = "null stands";
    } else if (*p == 'N' || *p == 'I' || (left > 1 && *p == '-' && p[1] == 'I')) {
        found = "NaN or an infinity stands";
    }
    if (found) {
        return sw_json_fail(json, TENSOR_FMT "element %zu: %s where %s of datatype %s should",
                            SW_STR_ARG(t->name), r->done, found, wanted(t->dtype), sw_dtype_name(t->dtype));
    }
    return sw_json_fail(json, TENSOR_FMT "element %zu: malformed JSON, not %s", SW_STR_ARG(t->name), r->done,
                        wanted(t->dtype));
}

/* An array at `level` has other than `want` members. The cursor is behind the last that fits. */
SW_COLD static sw_status count_fault(struct reader *r, uint32_t level, size_t want, size_t got) {
    const struct sw_tensor *t = r->t;
    char c = sw_json_peek(r->json), text[128];
    if (c != ',' && c != ']') {
        return sw_json_fail(r->json, TENSOR_FMT "malformed JSON: ',' or ']' should follow element %zu",
                            SW_STR_ARG(t->name), r->done ? r->done - 1 : 0);
    }
    bool flat = level == SW_RANK_MAX;
    const char *shape = sw_shape_format(t->shape, t->rank, text, sizeof text);
    if (flat && c == ',') {
        return sw_json_fail(r->json, TENSOR_FMT "data has more than the %zu elements of shape %s", SW_STR_ARG(t->name),
                            want, shape);
    }
    if (flat) {
        return sw_json_fail(r->json, TENSOR_FMT "data has %zu elements, shape %s asks for %zu", SW_STR_ARG(t->name),
                            got, shape, want);
    }
    return sw_json_fail(r->json,
                        TENSOR_FMT "element %zu: an array in dimension %u has %s %zu entries, shape %s asks for "
                                   "%zu",
                        SW_STR_ARG(t->name), r->done, level, c == ',' ? "more than" : "only", got, shape, want);
}

/* Something stands in an array that the shape wants empty. */
SW_COLD static sw_status not_empty_fault(struct reader *r) {
    char text[128];
    return sw_json_fail(r->json, TENSOR_FMT "data has elements, shape %s asks for none", SW_STR_ARG(r->t->name),
                        sw_shape_format(r->t->shape, r->t->rank, text, sizeof text));
}

/* Elements r->done .. r->done + room - 1 at most; the cursor ends behind them. *ret_count: how many. */
static sw_status read_run(struct reader *r, size_t room, size_t *ret_count) {
    struct sw_json *json = r->json;
    struct sw_tensor *t = r->t;
    size_t count = 0;
    if (t->dtype == SW_DTYPE_BYTES) {
        struct sw_str *out = (struct sw_str *)t->data + r->done;
        while (count < room) {
            if (sw_json_peek(json) != '"') {
                return element_fault(r);
            }
            SW_TRY(sw_json_string(json, &out[count]));
            count++;
            r->done++;
            if (sw_json_peek(json) != ',' || count == room) {
                break;
            }
            json->p++;
        }
    } else {
        void *out = (char *)t->data + r->done * sw_dtype_size(t->dtype);
        struct stop stop = run(json->p, json->end, t->dtype, out, room);
        json->p = stop.at;
        count = stop.count;
        r->done += count;
        if (SW_UNLIKELY(stop.bad_element)) {
            return element_fault(r);
        }
    }
    *ret_count = count;
    return SW_OK;
}

static sw_status open_array(struct reader *r) {
    if (sw_json_peek(r->json) != '[') {
        return sw_json_fail(r->json, TENSOR_FMT "element %zu: an array should stand", SW_STR_ARG(r->t->name), r->done);
    }
    r->json->p++;
    return SW_OK;
}

/* The inside of an array of exactly `want` elements, and its closing bracket. */
static sw_status read_exact(struct reader *r, uint32_t level, size_t want) {
    size_t got = 0;
    if (sw_json_peek(r->json) != ']' && want > 0) {
        SW_TRY(read_run(r, want, &got));
    }
    char c = sw_json_peek(r->json);
    if (SW_UNLIKELY(got != want || c != ']')) {
        return want == 0 ? not_empty_fault(r) : count_fault(r, level, want, got);
    }
    r->json->p++;
    return SW_OK;
}

static sw_status read_nested(struct reader *r, uint32_t level) {
    SW_TRY(open_array(r));
    size_t want = (size_t)r->t->shape[level];
    if (level + 1 == r->t->rank) {
        return read_exact(r, level, want);
    }
    for (size_t i = 0; i < want; i++) {
        if (i > 0) {
            if (sw_json_peek(r->json) != ',') {
                return count_fault(r, level, want, i);
            }
            r->json->p++;
        } else if (sw_json_peek(r->json) == ']') {
            return count_fault(r, level, want, 0);
        }
        SW_TRY(read_nested(r, level + 1));
    }
    if (sw_json_peek(r->json) != ']') {
        return want == 0 ? not_empty_fault(r) : count_fault(r, level, want, want);
    }
    r->json->p++;
    return SW_OK;
}

static sw_status check_dtype(struct sw_json *json, const struct sw_tensor *t) {
    if (t->dtype == SW_DTYPE_FP16 || t->dtype == SW_DTYPE_BF16) {
        return sw_json_fail(json, TENSOR_FMT "%s travels as binary data only", SW_STR_ARG(t->name),
                            sw_dtype_name(t->dtype));
    }
    return SW_OK;
}

/* Is the array at the cursor nested (its first member is an array)? */
static bool is_nested(const struct sw_json *json) {
    const char *p = skip_blanks(json->p + 1, json->end);
    return p < json->end && *p == '[';
}

sw_status sw_json_read_data(struct sw_json *json, struct sw_tensor *t) {
    SW_TRY(check_dtype(json, t));
    struct reader r = {json, t, 0};
    char first = sw_json_peek(json);
    if (first != '[') {
        size_t count;
        if (t->rank == 0) {
            return read_run(&r, 1, &count);
        }
        return sw_json_fail(json, TENSOR_FMT "data is not an array", SW_STR_ARG(t->name));
    }
    if (t->rank > 1 && is_nested(json)) {
        return read_nested(&r, 0);
    }
    SW_TRY(open_array(&r));
    return read_exact(&r, SW_RANK_MAX, t->count);
}

/* Reading when the shape is not known: the first array at each level fixes its dimension, the others must agree. */
struct inference {
    struct reader reader;
    size_t capacity; /* elements that fit into t->data */
    size_t max;
    bool known[SW_RANK_MAX]; /* dimension fixed */
};

static sw_status too_many(struct inference *in) {
    return sw_json_fail(in->reader.json, TENSOR_FMT "more than %zu elements", SW_STR_ARG(in->reader.t->name), in->max);
}

/* Room for `extra` more elements. */
static sw_status make_room(struct inference *in, size_t extra) {
    struct sw_tensor *t = in->reader.t;
    size_t need = in->reader.done + extra, size = sw_dtype_size(t->dtype);
    if (need <= in->capacity) {
        return SW_OK;
    }
    if (need > in->max) {
        return too_many(in);
    }
    size_t capacity = in->capacity * 2 < 64 ? 64 : in->capacity * 2;
    capacity = capacity < need ? need : capacity;
    capacity = capacity > in->max ? in->max : capacity;
    void *data = sw_arena_grow(in->reader.json->arena, t->data, in->capacity * size, capacity * size, 64);
    if (!data) {
        return sw_fail(in->reader.json->err, SW_E_UNAVAILABLE, TENSOR_FMT "no memory for %zu elements",
                       SW_STR_ARG(t->name), capacity);
    }
    t->data = data;
    in->capacity = capacity;
    return SW_OK;
}

/* The inside of the first innermost array: as many elements as there are. */
static sw_status infer_row(struct inference *in, size_t *ret_count) {
    struct reader *r = &in->reader;
    size_t total = 0;
    for (;;) {
        SW_TRY(make_room(in, 1));
        size_t count;
        SW_TRY(read_run(r, in->capacity - r->done, &count));
        total += count;
        char c = sw_json_peek(r->json);
        if (c == ']') {
            break;
        }
        if (c != ',') {
            return count_fault(r, r->t->rank - 1, total, total);
        }
        r->json->p++;
    }
    *ret_count = total;
    return SW_OK;
}

static sw_status ragged(struct inference *in, uint32_t level, size_t got) {
    return sw_json_fail(in->reader.json, TENSOR_FMT "element %zu: not rectangular: an array in dimension %u has %zu "
                        "entries, the one before it has %lld", SW_STR_ARG(in->reader.t->name), in->reader.done, level,
                        got, (long long)in->reader.t->shape[level]);
}

/* One array at `level`, brackets included. */
static sw_status infer_level(struct inference *in, uint32_t level) {
    struct reader *r = &in->reader;
    struct sw_tensor *t = r->t;
    SW_TRY(open_array(r));
    size_t got = 0;
    bool innermost = level + 1 == t->rank;
    if (sw_json_peek(r->json) == ']') {
        /* stays empty */
    } else if (innermost && !in->known[level]) {
        SW_TRY(infer_row(in, &got));
    } else if (innermost) {
        size_t want = (size_t)t->shape[level];
        if (want == 0) {
            return ragged(in, level, 1);
        }
        SW_TRY(make_room(in, want));
        SW_TRY(read_run(r, want, &got));
    } else {
        for (;; r->json->p++) {
            SW_TRY(infer_level(in, level + 1));
            got++;
            if (sw_json_peek(r->json) != ',') {
                break;
            }
        }
    }
    if (in->known[level] && got != (size_t)t->shape[level]) {
        return ragged(in, level, got);
    }
    char c = sw_json_peek(r->json);
    if (c != ']') {
        return in->known[level] && c == ',' ? ragged(in, level, got + 1) : count_fault(r, level, got, got);
    }
    r->json->p++;
    t->shape[level] = (int64_t)got;
    in->known[level] = true;
    return SW_OK;
}

/* Number of '[' that begin the value at the cursor. */
static uint32_t leading_brackets(const struct sw_json *json) {
    uint32_t n = 0;
    const char *p = skip_blanks(json->p, json->end);
    while (p < json->end && *p == '[' && n <= SW_RANK_MAX) {
        n++;
        p = skip_blanks(p + 1, json->end);
    }
    return n;
}

sw_status sw_json_read_infer_shape(struct sw_json *json, struct sw_tensor *t, uint64_t max_elements) {
    SW_TRY(check_dtype(json, t));
    struct sw_tensor result = {.name = t->name, .dtype = t->dtype, .rank = leading_brackets(json)};
    if (result.rank == 0) {
        return sw_json_fail(json, TENSOR_FMT "an array should stand", SW_STR_ARG(t->name));
    }
    if (result.rank > SW_RANK_MAX) {
        return sw_json_fail(json, TENSOR_FMT "more than %d dimensions", SW_STR_ARG(t->name), SW_RANK_MAX);
    }
    size_t max = max_elements < SW_ELEMENTS_MAX ? (size_t)max_elements : (size_t)SW_ELEMENTS_MAX;
    struct inference in = {.reader = {json, &result, 0}, .max = max};
    SW_TRY(infer_level(&in, 0));
    result.count = in.reader.done;
    *t = result;
    return SW_OK;
}
