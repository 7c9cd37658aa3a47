/* Reading runs of numbers. There is one run reader a data type, made from a macro so that conversion and loop are one
 * piece of machine code.
 *
 * Where one number ends is where the next begins: done naively, each waits for the one before it. So the separators
 * (commas, or the closing bracket) of 64 bytes are found first, and every number between two of them is read on its
 * own; that it ends at its separator is checked, and predicted. The first and last numbers of the text, and whatever is
 * laid out otherwise, go the plain way. */
#include "tensor/json_run.h"

#include "tensor/number_token.h"

#define APART __attribute__((noinline)) /* so that each hot loop has the registers to itself */

enum { BLOCK = 64 };

/* A piece of a run: `count` elements were stored; then either the text at `at` goes on with another element (MORE), or
 * the run stops there (STOPPED), or that is no element (BAD). */
enum state { MORE, STOPPED, BAD };
struct piece {
    const char *at;
    size_t count;
    enum state state;
};

SW_INLINE bool is_blank(char c) {
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

SW_INLINE const char *skip_blanks(const char *p, const char *end) {
    while (p < end && is_blank(*p)) {
        p++;
    }
    return p;
}

/* The same where something that is no blank is known to follow, and 8 bytes are readable behind every blank. Spaces
 * behind the second blank are counted eight at a time. */
SW_INLINE const char *skip_inner_blanks(const char *p) {
    if (SW_LIKELY((unsigned char)*p > ' ') || !is_blank(*p)) {
        return p;
    }
    p++;
    while (SW_UNLIKELY((unsigned char)*p <= ' ') && is_blank(*p)) {
        uint64_t others = sw_load_word(++p) ^ 0x2020202020202020u;
        p += others ? __builtin_ctzll(others) >> 3 : 8;
    }
    return p;
}

/* Bit i: byte p[i] is a comma, or the first closing bracket (*ret_bracket; nothing is marked behind it). 64 bytes are
 * read. */
SW_INLINE uint64_t find_separators(const char *p, uint64_t *ret_bracket) {
    uint64_t commas = 0, brackets = 0;
#ifdef SW_SSE2
    for (int i = 0; i < 4; i++) {
        __m128i text = _mm_loadu_si128((const __m128i *)(const void *)(p + 16 * i));
        commas |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(text, _mm_set1_epi8(','))) << (16 * i);
        brackets |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(text, _mm_set1_epi8(']'))) << (16 * i);
    }
#else
    for (int i = 0; i < 8; i++) {
        uint64_t word = sw_load_word(p + 8 * i), low = 0x7f7f7f7f7f7f7f7fu;
        uint64_t c = word ^ 0x2c2c2c2c2c2c2c2cu, b = word ^ 0x5d5d5d5d5d5d5d5du;
        c = ~(((c & low) + low) | c | low) >> 7; /* bit 0 of each byte that was a comma */
        b = ~(((b & low) + low) | b | low) >> 7;
        commas |= (c * 0x0102040810204080u >> 56) << (8 * i);
        brackets |= (b * 0x0102040810204080u >> 56) << (8 * i);
    }
#endif
    *ret_bracket = brackets & (0 - brackets);
    return SW_UNLIKELY(brackets) ? (commas & (*ret_bracket - 1)) | *ret_bracket : commas;
}

/* Element readers, three a data type. read_x: the byte behind the element at p, or NULL. token_x: reads the element that
 * is all of [p, token_end), where SW_TOKEN_LEAD bytes of text are before its end and SW_TOKEN_SLACK behind; false when
 * there is none or it is not of a usual form. slow_x: as read_x, for what token_x refused. */
#define DEFINE_FLOAT(KIND, TYPE, READ, TOKEN, SLOW)                                                       \
    SW_INLINE const char *read_##KIND(const char *p, const char *end, TYPE *out) {                        \
        return READ(p, end, out);                                                                         \
    }                                                                                                     \
    SW_INLINE bool token_##KIND(const char *p, const char *token_end, TYPE *out) {                        \
        return TOKEN(p, token_end, out);                                                                  \
    }                                                                                                     \
    SW_INLINE const char *slow_##KIND(const char *p, const char *token_end, const char *end, TYPE *out) { \
        return SLOW(p, token_end, end, out);                                                              \
    }
#define DEFINE_INT(KIND, TYPE, MIN, MAX)                                           \
    SW_INLINE const char *read_##KIND(const char *p, const char *end, TYPE *out) { \
        int64_t value;                                                             \
        p = sw_read_int(p, end, (MIN), (MAX), &value);                             \
        if (SW_LIKELY(p)) {                                                        \
            *out = (TYPE)value;                                                    \
        }                                                                          \
        return p;                                                                  \
    }                                                                              \
    TOKEN_LIKE_ANY(KIND, TYPE)
#define DEFINE_UINT(KIND, TYPE, MAX)                                               \
    SW_INLINE const char *read_##KIND(const char *p, const char *end, TYPE *out) { \
        uint64_t value;                                                            \
        p = sw_read_uint(p, end, (MAX), &value);                                   \
        if (SW_LIKELY(p)) {                                                        \
            *out = (TYPE)value;                                                    \
        }                                                                          \
        return p;                                                                  \
    }                                                                              \
    TOKEN_LIKE_ANY(KIND, TYPE)
#define TOKEN_LIKE_ANY(KIND, TYPE)                                                                        \
    SW_INLINE bool token_##KIND(const char *p, const char *token_end, TYPE *out) {                        \
        return read_##KIND(p, token_end + SW_TOKEN_SLACK, out) == token_end;                              \
    }                                                                                                     \
    SW_INLINE const char *slow_##KIND(const char *p, const char *token_end, const char *end, TYPE *out) { \
        return read_##KIND(p, end, out);                                                                  \
    }
DEFINE_FLOAT(fp32, float, sw_read_float, sw_token_float, sw_token_float_slow)
DEFINE_FLOAT(fp64, double, sw_read_double, sw_token_double, sw_token_double_slow)
DEFINE_INT(int8, int8_t, INT8_MIN, INT8_MAX)
DEFINE_INT(int16, int16_t, INT16_MIN, INT16_MAX)
DEFINE_INT(int32, int32_t, INT32_MIN, INT32_MAX)
DEFINE_INT(int64, int64_t, INT64_MIN, INT64_MAX)
DEFINE_UINT(uint8, uint8_t, UINT8_MAX)
DEFINE_UINT(uint16, uint16_t, UINT16_MAX)
DEFINE_UINT(uint32, uint32_t, UINT32_MAX)
DEFINE_UINT(uint64, uint64_t, UINT64_MAX)

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

/* plain_x: element by element, up to one that begins at or behind `until`.
 *
 * fast_x: the elements between separators, as long as a block of text with enough behind it is left. An element that is
 * not all of the text up to its separator is either odd or followed by blanks or at fault; other_x finds out.
 *
 * Both read at least one and at most `room` elements, except that fast_x may read none. */
#define DEFINE_RUN(KIND, TYPE)                                                                                \
    static APART struct piece plain_##KIND(const char *p, const char *until, const char *end, void *data,     \
                                           size_t room) {                                                     \
        TYPE *out = data;                                                                                     \
        for (size_t i = 0;;) {                                                                                \
            p = skip_blanks(p, end);                                                                          \
            const char *next = read_##KIND(p, end, &out[i]);                                                  \
            if (SW_UNLIKELY(!next)) {                                                                         \
                return (struct piece){p, i, BAD};                                                             \
            }                                                                                                 \
            i++;                                                                                              \
            p = skip_blanks(next, end);                                                                       \
            if (SW_UNLIKELY(p == end || *p != ',') || i == room) {                                            \
                return (struct piece){p, i, STOPPED};                                                         \
            }                                                                                                 \
            p++;                                                                                              \
            if (p >= until) {                                                                                 \
                return (struct piece){p, i, MORE};                                                            \
            }                                                                                                 \
        }                                                                                                     \
    } static APART bool other_##KIND(const char *p, const char *separator, const char *end, TYPE *out) {      \
        const char *next = slow_##KIND(p, separator, end, out);                                               \
        return next && skip_blanks(next, end) == separator;                                                   \
    }                                                                                                         \
    static APART struct piece fast_##KIND(const char *p, const char *end, void *data, size_t room) {          \
        TYPE *out = data, *const stop = out + room;                                                           \
        for (const char *block = p; end - block >= BLOCK + SW_TOKEN_SLACK; block += BLOCK) {                  \
            uint64_t bracket, separators = find_separators(block, &bracket);                                  \
            for (; separators; separators &= separators - 1) {                                                \
                const char *separator = block + __builtin_ctzll(separators);                                  \
                p = skip_inner_blanks(p);                                                                     \
                if (SW_UNLIKELY(!token_##KIND(p, separator, out)) && !other_##KIND(p, separator, end, out)) { \
                    return (struct piece){p, (size_t)(out - (TYPE *)data), MORE};                             \
                }                                                                                             \
                p = separator + 1;                                                                            \
                if (SW_UNLIKELY(++out == stop)) {                                                             \
                    return (struct piece){separator, room, STOPPED};                                          \
                }                                                                                             \
            }                                                                                                 \
            if (SW_UNLIKELY(bracket)) {                                                                       \
                return (struct piece){p - 1, (size_t)(out - (TYPE *)data), STOPPED};                          \
            }                                                                                                 \
        }                                                                                                     \
        return (struct piece){p, (size_t)(out - (TYPE *)data), MORE};                                         \
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

static const struct kind {
    struct piece (*plain)(const char *p, const char *until, const char *end, void *data, size_t room);
    struct piece (*fast)(const char *p, const char *end, void *data, size_t room);
} kinds[SW_DTYPE_COUNT] = {
    [SW_DTYPE_BOOL] = {plain_bool, fast_bool},       [SW_DTYPE_UINT8] = {plain_uint8, fast_uint8},
    [SW_DTYPE_UINT16] = {plain_uint16, fast_uint16}, [SW_DTYPE_UINT32] = {plain_uint32, fast_uint32},
    [SW_DTYPE_UINT64] = {plain_uint64, fast_uint64}, [SW_DTYPE_INT8] = {plain_int8, fast_int8},
    [SW_DTYPE_INT16] = {plain_int16, fast_int16},    [SW_DTYPE_INT32] = {plain_int32, fast_int32},
    [SW_DTYPE_INT64] = {plain_int64, fast_int64},    [SW_DTYPE_FP32] = {plain_fp32, fast_fp32},
    [SW_DTYPE_FP64] = {plain_fp64, fast_fp64},
};

/* Plain until enough text lies behind, then fast until too little lies ahead, then plain. */
struct sw_json_run sw_json_read_run(const char *begin, const char *p, const char *end, enum sw_dtype dtype, void *data,
                                    size_t room) {
    const struct kind *kind = &kinds[dtype];
    SW_ASSERT(room > 0 && kind->fast);
    size_t size = sw_dtype_size(dtype);
    struct piece done = {p, 0, MORE};
    if (SW_UNLIKELY(p - begin < SW_TOKEN_LEAD)) {
        done = kind->plain(p, end - begin > SW_TOKEN_LEAD ? begin + SW_TOKEN_LEAD : end, end, data, room);
    }
    size_t count = done.count;
    if (done.state == MORE) {
        done = kind->fast(done.at, end, (char *)data + count * size, room - count);
        count += done.count;
    }
    if (done.state == MORE) {
        done = kind->plain(done.at, end, end, (char *)data + count * size, room - count);
        count += done.count;
    }
    return (struct sw_json_run){done.at, count, done.state == BAD};
}
