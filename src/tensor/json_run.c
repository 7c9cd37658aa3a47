/* Reading runs of numbers. There is one run reader a data type, made from a macro so that conversion and loop are one
 * piece of machine code.
 *
 * Where one number ends is where the next begins: done naively, each waits for the one before it. So the separators
 * (commas and closing brackets) of some blocks of text are listed first, without a branch for each, and every number
 * between two of them is read on its own; that it ends at its separator is checked, and predicted. The last numbers of
 * the text, and whatever is laid out otherwise, go the plain way. */
#include "tensor/json_run.h"

#include "tensor/number_token.h"

enum {
    BLOCK = 64,      /* bytes searched for separators at a time */
    LIST_ENOUGH = 64, /* separators: then the search stops */
    LIST_MAX = LIST_ENOUGH + BLOCK,
    SEARCH_MAX = 64 * BLOCK /* bytes searched for one list */
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
 * behind the first blank are counted eight at a time. */
SW_INLINE const char *skip_inner_blanks(const char *p) {
    while (SW_UNLIKELY((unsigned char)*p <= ' ') && is_blank(*p)) {
        uint64_t others = sw_load_word(++p) ^ 0x2020202020202020u;
        p += others ? __builtin_ctzll(others) >> 3 : 8;
    }
    return p;
}

/* Bit i: byte p[i] is a comma (*ret_commas) or a closing bracket (*ret_brackets). 64 bytes are read. */
SW_INLINE void find_in_block(const char *p, uint64_t *ret_commas, uint64_t *ret_brackets) {
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
    *ret_commas = commas;
    *ret_brackets = brackets;
}

/* Number of bits set; baseline x86-64 has no instruction for it. */
SW_INLINE size_t count_bits(uint64_t v) {
    v -= v >> 1 & 0x5555555555555555u;
    v = (v & 0x3333333333333333u) + (v >> 2 & 0x3333333333333333u);
    return ((v + (v >> 4)) & 0x0f0f0f0f0f0f0f0fu) * 0x0101010101010101u >> 56;
}

/* The separators behind p, as distances from it. */
struct list {
    size_t count;
    bool closed; /* the last one is a bracket; the others are commas */
    uint16_t at[LIST_MAX + 4];
};

/* Lists the separators up to the first bracket: at most `want`, and only what has SW_TOKEN_SLACK more bytes of text
 * behind it. */
SW_INLINE void list_separators(const char *p, const char *end, size_t want, struct list *list) {
    size_t enough = want < LIST_ENOUGH ? want : LIST_ENOUGH, n = 0;
    list->closed = false;
    for (size_t base = 0; n < enough && base < SEARCH_MAX && (size_t)(end - p) >= base + BLOCK + SW_TOKEN_SLACK;
         base += BLOCK) {
        uint64_t commas, brackets;
        find_in_block(p + base, &commas, &brackets);
        if (SW_UNLIKELY(brackets)) {
            uint64_t first = brackets & (0 - brackets);
            commas = (commas & (first - 1)) | first;
            list->closed = true;
        }
        size_t found = count_bits(commas);
        for (size_t i = 0; i < found; i += 4) { /* four at a time: how many there are is seldom mispredicted */
            for (size_t k = 0; k < 4; k++) {
                list->at[n + i + k] = (uint16_t)(base + (size_t)__builtin_ctzll(commas | (uint64_t)1 << 63));
                commas &= commas - 1;
            }
        }
        n += found;
        if (list->closed) {
            break;
        }
    }
    list->closed = list->closed && n <= want;
    list->count = n < want ? n : want;
}

/* Element readers, two a data type. read_x: the byte behind the element at p, or NULL. token_x: the same for an element
 * that probably ends at token_end, with SW_TOKEN_LEAD bytes of text before and SW_TOKEN_SLACK behind it. */
#define DEFINE_FLOAT(KIND, TYPE, READ, CONVERT)                                                                 \
    SW_INLINE const char *read_##KIND(const char *p, const char *end, TYPE *out) {                              \
        return READ(p, end, out);                                                                               \
    }                                                                                                           \
    static __attribute__((noinline)) const char *other_##KIND(const char *p, const char *end, TYPE *out) {      \
        return READ(p, end, out);                                                                               \
    }                                                                                                           \
    SW_INLINE const char *token_##KIND(const char *p, const char *token_end, const char *end, TYPE *out) {      \
        struct sw_decimal d;                                                                                    \
        if (SW_LIKELY(sw_scan_token(p, token_end, &d)) && SW_LIKELY(CONVERT(&d, p, token_end, out))) {          \
            return token_end;                                                                                   \
        }                                                                                                       \
        return other_##KIND(p, end, out);                                                                       \
    }
#define DEFINE_INT(KIND, TYPE, MIN, MAX)                                                                        \
    SW_INLINE const char *read_##KIND(const char *p, const char *end, TYPE *out) {                              \
        int64_t value;                                                                                          \
        p = sw_read_int(p, end, (MIN), (MAX), &value);                                                          \
        if (SW_LIKELY(p)) {                                                                                     \
            *out = (TYPE)value;                                                                                 \
        }                                                                                                       \
        return p;                                                                                               \
    }                                                                                                           \
    TOKEN_LIKE_ANY(KIND, TYPE)
#define DEFINE_UINT(KIND, TYPE, MAX)                                                                            \
    SW_INLINE const char *read_##KIND(const char *p, const char *end, TYPE *out) {                              \
        uint64_t value;                                                                                         \
        p = sw_read_uint(p, end, (MAX), &value);                                                                \
        if (SW_LIKELY(p)) {                                                                                     \
            *out = (TYPE)value;                                                                                 \
        }                                                                                                       \
        return p;                                                                                               \
    }                                                                                                           \
    TOKEN_LIKE_ANY(KIND, TYPE)
#define TOKEN_LIKE_ANY(KIND, TYPE)                                                                              \
    SW_INLINE const char *token_##KIND(const char *p, const char *token_end, const char *end, TYPE *out) {      \
        return read_##KIND(p, end, out);                                                                        \
    }
DEFINE_FLOAT(fp32, float, sw_read_float, sw_decimal_float)
DEFINE_FLOAT(fp64, double, sw_read_double, sw_decimal_double)
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

/* A run alternates between the elements of one list of separators and, where there is no list, one plain element. An
 * element before a separator that does not read well there is either followed by blanks or at fault: the plain way
 * tells. */
#define DEFINE_RUN(KIND, TYPE)                                                                                  \
    static struct sw_json_run run_##KIND(const char *begin, const char *p, const char *end, void *data,         \
                                         size_t room) {                                                         \
        TYPE *out = data;                                                                                       \
        size_t i = 0;                                                                                           \
        struct list list;                                                                                       \
        for (;;) {                                                                                              \
            list_separators(p, end, p - begin >= SW_TOKEN_LEAD ? room - i : 0, &list);                          \
            const char *start = p;                                                                              \
            for (size_t k = 0; k < list.count; k++) {                                                           \
                const char *separator = start + list.at[k];                                                     \
                p = skip_inner_blanks(p);                                                                       \
                const char *next = token_##KIND(p, separator, end, &out[i]);                                    \
                if (SW_UNLIKELY(next != separator) &&                                                           \
                    (!next || skip_blanks(next, end) != separator)) {                                           \
                    return (struct sw_json_run){next ? skip_blanks(next, end) : p, i + (next != NULL), !next};  \
                }                                                                                               \
                i++;                                                                                            \
                p = separator + 1;                                                                              \
            }                                                                                                   \
            if (list.closed || i == room) {                                                                     \
                return (struct sw_json_run){p - 1, i, false};                                                   \
            }                                                                                                   \
            if (list.count) {                                                                                   \
                continue;                                                                                       \
            }                                                                                                   \
            p = skip_blanks(p, end);                                                                            \
            const char *next = read_##KIND(p, end, &out[i]);                                                    \
            if (SW_UNLIKELY(!next)) {                                                                           \
                return (struct sw_json_run){p, i, true};                                                        \
            }                                                                                                   \
            i++;                                                                                                \
            p = skip_blanks(next, end);                                                                         \
            if (SW_UNLIKELY(p == end || *p != ',') || i == room) {                                              \
                return (struct sw_json_run){p, i, false};                                                       \
            }                                                                                                   \
            p++;                                                                                                \
        }                                                                                                       \
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

struct sw_json_run sw_json_read_run(const char *begin, const char *p, const char *end, enum sw_dtype dtype, void *data,
                                    size_t room) {
    SW_ASSERT(room > 0);
    switch (dtype) {
    case SW_DTYPE_BOOL: return run_bool(begin, p, end, data, room);
    case SW_DTYPE_UINT8: return run_uint8(begin, p, end, data, room);
    case SW_DTYPE_UINT16: return run_uint16(begin, p, end, data, room);
    case SW_DTYPE_UINT32: return run_uint32(begin, p, end, data, room);
    case SW_DTYPE_UINT64: return run_uint64(begin, p, end, data, room);
    case SW_DTYPE_INT8: return run_int8(begin, p, end, data, room);
    case SW_DTYPE_INT16: return run_int16(begin, p, end, data, room);
    case SW_DTYPE_INT32: return run_int32(begin, p, end, data, room);
    case SW_DTYPE_INT64: return run_int64(begin, p, end, data, room);
    case SW_DTYPE_FP32: return run_fp32(begin, p, end, data, room);
    case SW_DTYPE_FP64: return run_fp64(begin, p, end, data, room);
    default: break;
    }
    SW_ASSERT(!"a data type that JSON carries");
    return (struct sw_json_run){p, 0, true};
}
