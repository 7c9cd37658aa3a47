/* Reading numbers: what the inline fast paths of number_internal.h leave over.
 *
 * 1. Eisel-Lemire: the digits times a 128-bit power of ten gives the significand and enough bits behind it to round
 *    (D. Lemire, "Number Parsing at a Gigabyte per Second", Software: Practice and Experience 51, 2021; N. Mushtak and
 *    D. Lemire, "Fast Number Parsing Without Fallback", 2023, show that it never fails for at most 64 bits of digits).
 *    It rounds to the bits of the target format directly; a float is never made by rounding a double.
 * 2. More than 19 digits: the number lies between `digits` and `digits + 1`; when both round alike, done.
 * 3. Else the C library, in the "C" locale, on a copy with at most DIGITS_KEPT digits: more cannot matter except as
 *    "there is something", which a last digit 1 stands for. */
#include "tensor/number.h"

#include <locale.h>
#include <pthread.h>

#include "tensor/number_internal.h"

/* The longest decimal expansion of a point halfway between two doubles has 767 significant digits. */
enum { DIGITS_KEPT = 800 };

#define EXPONENT_CLAMP ((int64_t)1 << 50)

const double sw_power_double[23] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

const double sw_power_float[SW_FLOAT_POWER_MAX - SW_FLOAT_POWER_MIN + 1] = {
    1e-65, 1e-64, 1e-63, 1e-62, 1e-61, 1e-60, 1e-59, 1e-58, 1e-57, 1e-56, 1e-55, 1e-54, 1e-53, 1e-52, 1e-51,
    1e-50, 1e-49, 1e-48, 1e-47, 1e-46, 1e-45, 1e-44, 1e-43, 1e-42, 1e-41, 1e-40, 1e-39, 1e-38, 1e-37, 1e-36,
    1e-35, 1e-34, 1e-33, 1e-32, 1e-31, 1e-30, 1e-29, 1e-28, 1e-27, 1e-26, 1e-25, 1e-24, 1e-23, 1e-22, 1e-21,
    1e-20, 1e-19, 1e-18, 1e-17, 1e-16, 1e-15, 1e-14, 1e-13, 1e-12, 1e-11, 1e-10, 1e-9,  1e-8,  1e-7,  1e-6,
    1e-5,  1e-4,  1e-3,  1e-2,  1e-1,  1e0,   1e1,   1e2,   1e3,   1e4,   1e5,   1e6,   1e7,   1e8,   1e9,
    1e10,  1e11,  1e12,  1e13,  1e14,  1e15,  1e16,  1e17,  1e18,  1e19,  1e20,  1e21,  1e22,  1e23,  1e24,
    1e25,  1e26,  1e27,  1e28,  1e29,  1e30,  1e31,  1e32,  1e33,  1e34,  1e35,  1e36,  1e37,  1e38,
};

const uint64_t sw_power_integer[20] = {1u,
                                       10u,
                                       100u,
                                       1000u,
                                       10000u,
                                       100000u,
                                       1000000u,
                                       10000000u,
                                       100000000u,
                                       1000000000u,
                                       10000000000u,
                                       100000000000u,
                                       1000000000000u,
                                       10000000000000u,
                                       100000000000000u,
                                       1000000000000000u,
                                       10000000000000000u,
                                       100000000000000000u,
                                       1000000000000000000u,
                                       10000000000000000000u};

/* An IEEE binary format and the decimal exponents that matter to it. */
struct format {
    int mantissa_bits; /* stored */
    int exponent_bias;
    int exponent_infinite;  /* biased exponent of infinity */
    int power_min;          /* below, any 64-bit number of digits rounds to 0 */
    int power_max;          /* above, any is infinite */
    int even_min, even_max; /* powers for which a product can lie exactly halfway */
};

static const struct format FLOAT = {23, 127, 0xff, -65, 38, -17, 10};
static const struct format DOUBLE = {52, 1023, 0x7ff, -342, 308, -4, 23};

/* High and low half of digits * 10^power, with the second multiplication only where the first leaves the bits that
 * decide the rounding unknown. */
SW_INLINE void product(uint64_t digits, int64_t power, int mantissa_bits, uint64_t *ret_high, uint64_t *ret_low) {
    const uint64_t *entry = sw_power_table[power - SW_POWER_MIN];
    unsigned __int128 first = (unsigned __int128)digits * entry[0];
    uint64_t high = (uint64_t)(first >> 64), low = (uint64_t)first;
    uint64_t unsure = UINT64_MAX >> (mantissa_bits + 3);
    if ((high & unsure) == unsure) {
        uint64_t carry = (uint64_t)(((unsigned __int128)digits * entry[1]) >> 64);
        low += carry;
        high += low < carry;
    }
    *ret_high = high;
    *ret_low = low;
}

/* Bits of digits * 10^power rounded to the format, no sign. Infinity on overflow. */
SW_INLINE uint64_t round_decimal(uint64_t digits, int64_t power, struct format f) {
    if (digits == 0 || power < f.power_min) {
        return 0;
    }
    uint64_t infinity = (uint64_t)f.exponent_infinite << f.mantissa_bits;
    if (power > f.power_max) {
        return infinity;
    }
    int leading = __builtin_clzll(digits);
    uint64_t high, low;
    product(digits << leading, power, f.mantissa_bits, &high, &low);
    int top = (int)(high >> 63);
    int shift = top + 64 - f.mantissa_bits - 3;
    uint64_t mantissa = high >> shift; /* mantissa_bits + 2 bits: hidden bit in front, rounding bit behind */
    int exponent = (int)((217706 * power) >> 16) + 63 + top - leading + f.exponent_bias;
    if (SW_UNLIKELY(exponent <= 0)) {
        if (1 - exponent >= 64) {
            return 0;
        }
        mantissa >>= 1 - exponent;
        mantissa = (mantissa + (mantissa & 1)) >> 1;
        return mantissa; /* a carry into the hidden bit makes the smallest normal number */
    }
    if (SW_UNLIKELY(low <= 1 && power >= f.even_min && power <= f.even_max && (mantissa & 3) == 1 &&
                    mantissa << shift == high)) {
        mantissa &= ~(uint64_t)1; /* exactly halfway, and even below */
    }
    mantissa = (mantissa + (mantissa & 1)) >> 1;
    if (mantissa >= (uint64_t)2 << f.mantissa_bits) {
        mantissa = (uint64_t)1 << f.mantissa_bits;
        exponent++;
    }
    if (exponent >= f.exponent_infinite) {
        return infinity;
    }
    return (mantissa & ~((uint64_t)1 << f.mantissa_bits)) | (uint64_t)exponent << f.mantissa_bits;
}

static bool is_digit(char c) {
    return (unsigned char)(c - '0') <= 9;
}

const char *sw_scan_exponent(const char *p, const char *end, int64_t *ret) {
    p++;
    bool negative = p < end && *p == '-';
    p += p < end && (*p == '-' || *p == '+');
    if (p == end || !is_digit(*p)) {
        return NULL;
    }
    int64_t value = 0;
    for (; p < end && is_digit(*p); p++) {
        value = value < EXPONENT_CLAMP ? value * 10 + (*p - '0') : value;
    }
    *ret = negative ? -value : value;
    return p;
}

void sw_scan_long(const char *first, const char *digits_end, int64_t exponent, struct sw_decimal *ret) {
    uint64_t digits = 0;
    int taken = 0;
    bool point = false, cut = false;
    for (const char *p = first; p < digits_end; p++) {
        if (*p == '.') {
            point = true;
        } else if (taken < SW_DIGITS_EXACT) {
            digits = digits * 10 + (uint64_t)(*p - '0');
            taken += digits != 0;
            exponent -= point;
        } else {
            cut = cut || *p != '0';
            exponent += !point;
        }
    }
    ret->digits = digits;
    ret->exponent = exponent;
    ret->cut = cut;
}

static locale_t c_locale;

static void make_locale(void) {
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    SW_ASSERT(c_locale != (locale_t)0);
}

/* The number in text as "DIGITSeEXP" for the C library; the sign left out. */
SW_COLD static void rewrite(const char *text, const char *text_end, char ret[DIGITS_KEPT + 32]) {
    int64_t exponent = 0;
    size_t kept = 0;
    bool point = false, more = false;
    const char *p = text + (*text == '-');
    for (; p < text_end && (is_digit(*p) || *p == '.'); p++) {
        if (*p == '.') {
            point = true;
        } else if (kept < DIGITS_KEPT) {
            if (kept || *p != '0') {
                ret[kept++] = *p;
            }
            exponent -= point;
        } else {
            more = more || *p != '0';
            exponent += !point;
        }
    }
    if (more) {
        ret[kept++] = '1';
        exponent--;
    }
    int64_t written = 0;
    if (p < text_end) {
        p = sw_scan_exponent(p, text_end, &written);
        SW_ASSERT(p == text_end);
    }
    exponent += written;
    int64_t bound = 999999; /* beyond it the result is 0 or infinite whatever the digits kept are */
    exponent = exponent > bound ? bound : exponent < -bound ? -bound : exponent;
    snprintf(ret + kept, 32, "e%lld", (long long)exponent);
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_locale);
}

SW_COLD static uint32_t float_by_library(const char *text, const char *text_end) {
    char copy[DIGITS_KEPT + 32];
    rewrite(text, text_end, copy);
    float value = strtof_l(copy, NULL, c_locale);
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

SW_COLD static uint64_t double_by_library(const char *text, const char *text_end) {
    char copy[DIGITS_KEPT + 32];
    rewrite(text, text_end, copy);
    double value = strtod_l(copy, NULL, c_locale);
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

bool sw_decimal_float_hard(struct sw_decimal d, const char *text, const char *text_end, float *ret) {
    uint32_t bits = (uint32_t)round_decimal(d.digits, d.exponent, FLOAT);
    if (SW_UNLIKELY(d.cut) && bits != (uint32_t)round_decimal(d.digits + 1, d.exponent, FLOAT)) {
        bits = float_by_library(text, text_end);
    }
    if (bits == 0x7f800000) {
        return false;
    }
    bits |= (uint32_t)d.negative << 31;
    memcpy(ret, &bits, sizeof bits);
    return true;
}

bool sw_decimal_double_hard(struct sw_decimal d, const char *text, const char *text_end, double *ret) {
    uint64_t bits = round_decimal(d.digits, d.exponent, DOUBLE);
    if (SW_UNLIKELY(d.cut) && bits != round_decimal(d.digits + 1, d.exponent, DOUBLE)) {
        bits = double_by_library(text, text_end);
    }
    if (bits == 0x7ff0000000000000) {
        return false;
    }
    bits |= (uint64_t)d.negative << 63;
    memcpy(ret, &bits, sizeof bits);
    return true;
}

const char *sw_parse_float(const char *p, const char *end, float *ret) {
    return sw_read_float(p, end, ret);
}

const char *sw_parse_double(const char *p, const char *end, double *ret) {
    return sw_read_double(p, end, ret);
}

const char *sw_parse_int(const char *p, const char *end, int64_t min, int64_t max, int64_t *ret) {
    return sw_read_int(p, end, min, max, ret);
}

const char *sw_parse_uint(const char *p, const char *end, uint64_t max, uint64_t *ret) {
    return sw_read_uint(p, end, max, ret);
}
