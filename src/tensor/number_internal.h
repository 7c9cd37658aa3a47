/* The inline half of number reading, for loops over many numbers: scan the text, convert what is easy.
 *
 * Digits are taken eight at a time: load a word, find how many of its bytes are digits, shift the others out, and
 * combine the eight (leading zeros included) with three multiplications. The number of digits costs no branch.
 * Little-endian only. */
#ifndef SW_TENSOR_NUMBER_INTERNAL_H
#define SW_TENSOR_NUMBER_INTERNAL_H

#include "tensor/number.h"

#include <stdbool.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "digits are read as little-endian words");

#define SW_INLINE static inline __attribute__((always_inline))
#define SW_COLD __attribute__((cold, noinline))
#define SW_HIDDEN __attribute__((visibility("hidden"))) /* reached without the global offset table */

enum { SW_POWER_MIN = -342, SW_POWER_MAX = 324, SW_DIGITS_EXACT = 19 };

/* 10^q, q = SW_POWER_MIN + index, as {high, low} of a 128-bit significand with its top bit set; rounded down for
 * q >= 0 (exact up to 55), up for q < 0. Generated. */
SW_HIDDEN extern const uint64_t sw_power_table[SW_POWER_MAX - SW_POWER_MIN + 1][2];

SW_HIDDEN extern const double sw_power_double[23];    /* 10^0 .. 10^22, exact */
SW_HIDDEN extern const uint64_t sw_power_integer[20]; /* 10^0 .. 10^19 */

/* (-1)^negative * digits * 10^exponent; `cut`: nonzero digits after the 19th were left out. */
struct sw_decimal {
    uint64_t digits;
    int64_t exponent;
    bool negative;
    bool cut;
};

SW_INLINE uint64_t sw_load_word(const char *p) {
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* Top bit of each byte that is not 0..9, given the text XOR '0's. Exact up to and including the first such byte. */
SW_INLINE uint64_t sw_nondigits(uint64_t v) {
    return ((v + 0x7676767676767676u) | v) & 0x8080808080808080u;
}

/* Value of eight digits, first digit in the lowest byte, each byte 0..9. */
SW_INLINE uint64_t sw_eight_digits(uint64_t v) {
    v = v * 10 + (v >> 8);
    return (((v & 0x000000ff000000ffu) * 0x000f424000000064u) +
            (((v >> 16) & 0x000000ff000000ffu) * 0x0000271000000001u)) >> 32;
}

/* Appends the digits at p to *value, which wraps when there are too many; returns the byte behind them. */
SW_INLINE const char *sw_take_digits(const char *p, const char *end, uint64_t *value) {
    while (SW_LIKELY(end - p >= 8)) {
        uint64_t v = sw_load_word(p) ^ 0x3030303030303030u;
        uint64_t others = sw_nondigits(v);
        if (SW_LIKELY(others)) {
            unsigned bits = (unsigned)__builtin_ctzll(others) & ~7u; /* 8 * number of digits, 0..56 */
            *value = *value * sw_power_integer[bits >> 3] + sw_eight_digits((v << 8) << (56 - bits));
            return p + (bits >> 3);
        }
        *value = *value * 100000000 + sw_eight_digits(v);
        p += 8;
    }
    for (; p < end && (unsigned char)(*p - '0') <= 9; p++) {
        *value = *value * 10 + (unsigned char)(*p - '0');
    }
    return p;
}

/* The digits and point in [first, digits_end) again, for numbers of more than 19 digits; known to be well-formed.
 * `exponent` is the one written behind them. */
void sw_scan_long(const char *first, const char *digits_end, int64_t exponent, struct sw_decimal *ret);

/* Reads "e+12" at p (which is 'e' or 'E') into *ret, clamped far outside what any number of digits can undo. NULL:
 * no digits. */
const char *sw_scan_exponent(const char *p, const char *end, int64_t *ret);

/* A JSON number at p; NULL when malformed. */
SW_INLINE const char *sw_scan_number(const char *p, const char *end, struct sw_decimal *ret) {
    if (SW_UNLIKELY(p == end)) {
        return NULL;
    }
    ret->negative = *p == '-';
    p += ret->negative;
    const char *first = p;
    if (SW_UNLIKELY(p == end)) {
        return NULL;
    }
    uint64_t digits = (unsigned char)(*p - '0');
    if (SW_UNLIKELY(digits > 9)) {
        return NULL;
    }
    p++;
    if (p < end && (unsigned char)(*p - '0') <= 9) {
        if (SW_UNLIKELY(digits == 0)) {
            return NULL; /* leading zero */
        }
        p = sw_take_digits(p, end, &digits);
    }
    ptrdiff_t count = p - first;
    int64_t exponent = 0;
    if (p < end && *p == '.') {
        const char *fraction = ++p;
        p = sw_take_digits(p, end, &digits);
        if (SW_UNLIKELY(p == fraction)) {
            return NULL;
        }
        count += p - fraction;
        exponent = fraction - p;
    }
    int64_t written = 0;
    const char *digits_end = p;
    if (SW_UNLIKELY(p < end && (*p | 0x20) == 'e')) {
        p = sw_scan_exponent(p, end, &written);
        if (!p) {
            return NULL;
        }
    }
    ret->digits = digits;
    ret->exponent = exponent + written;
    ret->cut = false;
    if (SW_UNLIKELY(count > SW_DIGITS_EXACT)) {
        sw_scan_long(first, digits_end, written, ret);
    }
    return p;
}

/* Everything the inline paths below leave over. [text, text_end) is the number. false: overflow to infinity. */
bool sw_decimal_float_hard(const struct sw_decimal *d, const char *text, const char *text_end, float *ret);
bool sw_decimal_double_hard(const struct sw_decimal *d, const char *text, const char *text_end, double *ret);

/* Clinger's fast path: digits and power of ten are both exact doubles, so that one operation rounds correctly. */
SW_INLINE bool sw_decimal_is_easy(const struct sw_decimal *d) {
    return d->digits <= (uint64_t)1 << 53 && (uint64_t)(d->exponent + 22) <= 44;
}

SW_INLINE double sw_decimal_easy(const struct sw_decimal *d) {
    double value = (double)(int64_t)d->digits;
    return SW_LIKELY(d->exponent <= 0) ? value / sw_power_double[-d->exponent] : value * sw_power_double[d->exponent];
}

SW_INLINE bool sw_decimal_double(const struct sw_decimal *d, const char *text, const char *text_end, double *ret) {
    if (SW_LIKELY(sw_decimal_is_easy(d))) {
        double value = sw_decimal_easy(d);
        uint64_t bits;
        memcpy(&bits, &value, sizeof bits);
        bits |= (uint64_t)d->negative << 63;
        memcpy(ret, &bits, sizeof bits);
        return true;
    }
    return sw_decimal_double_hard(d, text, text_end, ret);
}

/* The easy double is the decimal rounded to 53 bits. Rounding it again to 24 bits gives what rounding the decimal at
 * once gives, unless the double lies exactly between two floats: then the digits lost in the first rounding would have
 * decided. That case goes the hard way. All easy values other than 0 lie in [1e-22, 9.1e37], so no subnormals here. */
SW_INLINE bool sw_decimal_float(const struct sw_decimal *d, const char *text, const char *text_end, float *ret) {
    if (SW_LIKELY(sw_decimal_is_easy(d))) {
        double value = sw_decimal_easy(d);
        uint64_t bits;
        memcpy(&bits, &value, sizeof bits);
        if (SW_LIKELY((bits & 0x1fffffff) != 0x10000000)) {
            bits |= (uint64_t)d->negative << 63;
            memcpy(&value, &bits, sizeof value);
            *ret = (float)value;
            return true;
        }
    }
    return sw_decimal_float_hard(d, text, text_end, ret);
}

SW_INLINE const char *sw_read_double(const char *p, const char *end, double *ret) {
    struct sw_decimal d;
    const char *next = sw_scan_number(p, end, &d);
    return SW_LIKELY(next) && SW_LIKELY(sw_decimal_double(&d, p, next, ret)) ? next : NULL;
}

SW_INLINE const char *sw_read_float(const char *p, const char *end, float *ret) {
    struct sw_decimal d;
    const char *next = sw_scan_number(p, end, &d);
    return SW_LIKELY(next) && SW_LIKELY(sw_decimal_float(&d, p, next, ret)) ? next : NULL;
}

/* A number of the form -d.ddd with 1 to 18 digits behind the point, which ends exactly at token_end; at least
 * SW_TOKEN_SLACK bytes behind that are readable. false: it has another form, or none. How many digits there are costs
 * one branch, between what 32-bit and what 64-bit floats usually have. */
enum { SW_TOKEN_SLACK = 16 };
SW_INLINE bool sw_scan_token(const char *p, const char *token_end, struct sw_decimal *ret) {
    ret->negative = *p == '-';
    p += ret->negative;
    uint64_t first = (unsigned char)(*p - '0');
    size_t count = (size_t)(token_end - p) - 2; /* huge when the token is too short */
    if (SW_UNLIKELY(first > 9 || p[1] != '.' || count - 1 > 17)) {
        return false;
    }
    p += 2;
    uint64_t others;
    if (count <= 8) {
        uint64_t digits = (sw_load_word(p) ^ 0x3030303030303030u) << (64 - 8 * count);
        others = sw_nondigits(digits);
        ret->digits = first * sw_power_integer[count] + sw_eight_digits(digits);
    } else {
        /* The last 16 digits, filled up with zeros in front; what stands before them joins `first`. */
        size_t extra = count > 16 ? count - 16 : 0;
        unsigned shift = 8 * (unsigned)(16 + extra - count);
        uint64_t second = (unsigned char)(p[0] - '0'), third = (unsigned char)(p[1] - '0');
        uint64_t head = sw_load_word(p + extra) ^ 0x3030303030303030u;
        uint64_t tail = (sw_load_word(p + extra + 8) ^ 0x3030303030303030u) << shift | (head >> 1) >> (63 - shift);
        uint64_t lead = extra > 0 ? first * 10 + second : first;
        lead = extra > 1 ? lead * 10 + third : lead;
        head <<= shift;
        others = sw_nondigits(head) | sw_nondigits(tail) | (uint64_t)(second > 9) | (uint64_t)(third > 9);
        ret->digits = lead * sw_power_integer[count - extra] + sw_eight_digits(head) * 100000000 +
                      sw_eight_digits(tail);
    }
    ret->exponent = -(int64_t)count;
    ret->cut = false;
    return SW_LIKELY(!others);
}

/* Writes each value and a comma behind it; "null" where it is not finite. At most SW_NUMBER_MAX + 1 bytes each. */
char *sw_format_float_list(char *out, const float *values, size_t count);
char *sw_format_double_list(char *out, const double *values, size_t count);

/* Digits of a JSON integer (no sign) at p. NULL: malformed, a fraction or exponent follows, or above UINT64_MAX. */
SW_INLINE const char *sw_read_magnitude(const char *p, const char *end, uint64_t *ret) {
    const char *first = p;
    uint64_t value = 0;
    p = sw_take_digits(p, end, &value);
    ptrdiff_t count = p - first;
    if (SW_UNLIKELY(count == 0 || (*first == '0' && count > 1))) {
        return NULL;
    }
    if (SW_UNLIKELY(count > SW_DIGITS_EXACT) &&
        (count > SW_DIGITS_EXACT + 1 || *first != '1' || value < sw_power_integer[SW_DIGITS_EXACT])) {
        return NULL;
    }
    if (p < end && (*p == '.' || (*p | 0x20) == 'e')) {
        return NULL;
    }
    *ret = value;
    return p;
}

SW_INLINE const char *sw_read_int(const char *p, const char *end, int64_t min, int64_t max, int64_t *ret) {
    bool negative = p < end && *p == '-';
    uint64_t magnitude;
    p = sw_read_magnitude(p + negative, end, &magnitude);
    if (SW_UNLIKELY(!p || magnitude > (uint64_t)INT64_MAX + negative)) {
        return NULL;
    }
    int64_t value = (int64_t)(negative ? 0 - magnitude : magnitude);
    if (SW_UNLIKELY(value < min || value > max)) {
        return NULL;
    }
    *ret = value;
    return p;
}

/* "-0" is an integer of value 0 and accepted. */
SW_INLINE const char *sw_read_uint(const char *p, const char *end, uint64_t max, uint64_t *ret) {
    bool negative = p < end && *p == '-';
    uint64_t value;
    p = sw_read_magnitude(p + negative, end, &value);
    if (SW_UNLIKELY(!p || value > max || (negative && value))) {
        return NULL;
    }
    *ret = value;
    return p;
}

#endif
