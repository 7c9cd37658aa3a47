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
    v = v * 2561 >> 8; /* every second byte: ten times itself and the next */
    return (((v & 0x000000ff000000ffu) * 0x000f424000000064u) +
            (((v >> 16) & 0x000000ff000000ffu) * 0x0000271000000001u)) >>
           32;
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
bool sw_decimal_float_hard(struct sw_decimal d, const char *text, const char *text_end, float *ret);
bool sw_decimal_double_hard(struct sw_decimal d, const char *text, const char *text_end, double *ret);

/* Clinger's fast path: digits and power of ten are both exact doubles, so that one operation rounds correctly. false:
 * they are not. The exponent is not negative. */
SW_INLINE bool sw_decimal_double_exact(const struct sw_decimal *d, uint64_t *ret) {
    if (d->digits > (uint64_t)1 << 53 || d->exponent > 22) {
        return false;
    }
    double value = (double)(int64_t)d->digits * sw_power_double[d->exponent];
    memcpy(ret, &value, sizeof value);
    return true;
}

/* Eisel-Lemire for a negative exponent of at least -290, so that the result is normal, with the first multiplication
 * only. false: that does not decide, once in 512 times. A number exactly halfway between two doubles is among these: the
 * first word of the power is a little too small, so that the product ends in ones instead of zeros. */
SW_INLINE bool sw_decimal_double_near(const struct sw_decimal *d, uint64_t *ret) {
    uint64_t digits = d->digits | (d->digits == 0);
    int leading = __builtin_clzll(digits);
    unsigned __int128 product = (unsigned __int128)(digits << leading) * sw_power_table[d->exponent - SW_POWER_MIN][0];
    uint64_t high = (uint64_t)(product >> 64);
    if (SW_UNLIKELY((high & 0x1ff) == 0x1ff)) {
        return false;
    }
    int top = (int)(high >> 63);
    uint64_t mantissa = high >> (top + 9); /* 54 bits: hidden bit in front, rounding bit behind */
    int64_t exponent = ((217706 * d->exponent) >> 16) + 63 + top - leading + 1023;
    uint64_t bits = ((uint64_t)(exponent - 1) << 52) + ((mantissa + 1) >> 1); /* the hidden bit adds the 1 */
    *ret = bits & (0 - (uint64_t)(d->digits != 0));
    return true;
}

/* The exponent is at least -290. false: not decided. */
SW_INLINE bool sw_decimal_double_likely(const struct sw_decimal *d, double *ret) {
    uint64_t bits;
    if (SW_UNLIKELY(!(d->exponent < 0 ? sw_decimal_double_near(d, &bits) : sw_decimal_double_exact(d, &bits)))) {
        return false;
    }
    bits |= (uint64_t)d->negative << 63;
    memcpy(ret, &bits, sizeof bits);
    return true;
}

SW_INLINE bool sw_decimal_double(const struct sw_decimal *d, const char *text, const char *text_end, double *ret) {
    return (SW_LIKELY(d->exponent >= -290 && !d->cut) && SW_LIKELY(sw_decimal_double_likely(d, ret))) ||
           sw_decimal_double_hard(*d, text, text_end, ret);
}

/* Powers of ten of which a product with 64-bit digits can be a float, each rounded to a double. */
enum { SW_FLOAT_POWER_MIN = -65, SW_FLOAT_POWER_MAX = 38 };
SW_HIDDEN extern const double sw_power_float[SW_FLOAT_POWER_MAX - SW_FLOAT_POWER_MIN + 1];

/* A float by way of a double that need not be exact. Digits and power are each rounded once (relative error at most
 * 2^-53), and so is their product: altogether the double lies less than 4 of its own last places off. Rounding it to
 * 24 bits gives what rounding the decimal gives unless a point halfway between two floats lies between the two, and
 * these points end in 1 and 28 zeros. false: within 3 places of one, or digits of 64 bits.
 *
 * d->exponent is one of the table above, and the result 0 or a normal float, as is sure for SW_FLOAT_SAFE. */
#define SW_FLOAT_SAFE(exponent) ((exponent) >= -37 && (exponent) <= 19)
SW_INLINE bool sw_decimal_float_near(const struct sw_decimal *d, double *ret) {
    double value = (double)(int64_t)d->digits * sw_power_float[d->exponent - SW_FLOAT_POWER_MIN];
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    bool clear = (int64_t)d->digits >= 0 && ((bits - (0x10000000 - 3)) & 0x1fffffff) > 6;
    bits |= (uint64_t)d->negative << 63;
    memcpy(ret, &bits, sizeof bits);
    return SW_LIKELY(clear);
}

SW_INLINE bool sw_decimal_float(const struct sw_decimal *d, const char *text, const char *text_end, float *ret) {
    double value;
    if (SW_LIKELY(d->exponent >= SW_FLOAT_POWER_MIN && d->exponent <= SW_FLOAT_POWER_MAX && !d->cut) &&
        SW_LIKELY(sw_decimal_float_near(d, &value))) {
        double size = __builtin_fabs(value);
        if (SW_LIKELY((size >= 0x1p-126 && size <= 0x1.fffffep127) || d->digits == 0)) {
            *ret = (float)value;
            return true;
        }
    }
    return sw_decimal_float_hard(*d, text, text_end, ret);
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
