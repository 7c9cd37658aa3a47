/* Writing numbers: the shortest decimal that reads back the same.
 *
 * Schubfach (R. Giulietti, "The Schubfach way to render doubles", 2020). The numbers that round to v = c * 2^q form an
 * interval around v. Take the power of ten 10^k next below its width: then the interval holds at least one multiple of
 * 10^k and at most one of 10^(k+1). If it holds one of the latter, that is the shortest; else the multiple of 10^k
 * nearest to v is. All is compared in units of 10^k / 4, as integers: the bounds and v are scaled by a power of ten
 * rounded up to 64 or 128 bits, cut, and made odd when something was cut off ("round to odd"), which keeps every
 * comparison with a multiple of 4 true.
 *
 * The digits are then padded to 9 or 17, made text eight at a time, and trailing zeros left off. */
#include "tensor/number.h"

#include "tensor/number_internal.h"

#define ASCII_ZEROS 0x3030303030303030u

/* value = digits * 10^exponent */
struct shortest {
    uint64_t digits;
    int exponent;
};

/* floor(log10(2^e)), floor(log10(3/4 * 2^e)), floor(log2(10^e)), exact for |e| < 1233. */
SW_INLINE int log10_of_power2(int e) {
    return (e * 1262611) >> 22;
}

SW_INLINE int log10_of_three_quarters(int e) {
    return (e * 1262611 - 524031) >> 22;
}

SW_INLINE int log2_of_power10(int e) {
    return (e * 1741647) >> 19;
}

/* The interval in units of 10^k / 4. */
struct scaled {
    uint64_t lower, value, upper;
};

/* `even`: the ends of the interval round to v too. Which of the candidates wins is as good as random, hence no
 * branches. */
SW_INLINE struct shortest choose(struct scaled x, bool even, int k) {
    uint64_t lower = x.lower + !even, upper = x.upper - !even;
    uint64_t s = x.value / 4, tens = s / 10;
    bool tens_below = lower <= 40 * tens, tens_above = 40 * tens + 40 <= upper;
    bool below = lower <= 4 * s, above = 4 * s + 4 <= upper;
    uint64_t middle = 4 * s + 2;
    bool nearer_above = (x.value > middle) | ((x.value == middle) & (s & 1));
    bool one_inside = below ^ above;
    uint64_t ones = s + ((one_inside & above) | (!one_inside & nearer_above));
    bool use_tens = (s >= 10) & (tens_below ^ tens_above);
    uint64_t mask = 0 - (uint64_t)use_tens;
    return (struct shortest){(ones & ~mask) | ((tens + tens_above) & mask), k + use_tens};
}

/* floor(g * c / 2^64), odd when inexact. g is rounded up, hence "> 1". */
SW_INLINE uint64_t scale_float(uint64_t g, uint32_t c) {
    unsigned __int128 p = (unsigned __int128)g * c;
    return (uint64_t)(p >> 64) | ((uint32_t)((uint64_t)p >> 32) > 1);
}

SW_INLINE struct shortest shortest_float(uint32_t bits) {
    uint32_t fraction = bits & 0x7fffff, biased = bits >> 23 & 0xff;
    uint32_t c = biased ? fraction | 0x800000 : fraction;
    int q = (biased ? (int)biased : 1) - 150;
    bool closer = fraction == 0 && biased > 1; /* the float below is only half as far away as the one above */
    int k = closer ? log10_of_three_quarters(q) : log10_of_power2(q);
    int shift = q + log2_of_power10(-k) + 1;
    const uint64_t *power = sw_power_table[-k - SW_POWER_MIN];
    uint64_t g = power[0] + (power[1] != 0);
    struct scaled x = {scale_float(g, (4 * c - 2 + closer) << shift), scale_float(g, (4 * c) << shift),
                       scale_float(g, (4 * c + 2) << shift)};
    return choose(x, !(c & 1), k);
}

SW_INLINE uint64_t scale_double(uint64_t high, uint64_t low, uint64_t c) {
    uint64_t carry = (uint64_t)(((unsigned __int128)low * c) >> 64);
    unsigned __int128 p = (unsigned __int128)high * c + carry;
    return (uint64_t)(p >> 64) | ((uint64_t)p > 1);
}

SW_INLINE struct shortest shortest_double(uint64_t bits) {
    uint64_t fraction = bits & 0xfffffffffffff;
    unsigned biased = (unsigned)(bits >> 52) & 0x7ff;
    uint64_t c = biased ? fraction | 0x10000000000000 : fraction;
    int q = (biased ? (int)biased : 1) - 1075;
    bool closer = fraction == 0 && biased > 1;
    int k = closer ? log10_of_three_quarters(q) : log10_of_power2(q);
    int shift = q + log2_of_power10(-k) + 1;
    const uint64_t *power = sw_power_table[-k - SW_POWER_MIN];
    uint64_t low = power[1] + (-k > 55); /* never carries: no entry above 10^55 ends in 64 ones */
    struct scaled x = {scale_double(power[0], low, (4 * c - 2 + closer) << shift),
                       scale_double(power[0], low, (4 * c) << shift),
                       scale_double(power[0], low, (4 * c + 2) << shift)};
    return choose(x, !(c & 1), k);
}

/* Eight digits of x < 10^8 as bytes 0..9, first digit lowest: halves, quarters, eighths side by side in one word. */
SW_INLINE uint64_t split_eight(uint32_t x) {
    uint64_t v = (x / 10000) | (uint64_t)(x % 10000) << 32;
    uint64_t hundreds = ((v * 10486) >> 20) & 0x0000007f0000007fu;
    v = hundreds | (v - hundreds * 100) << 16;
    uint64_t tens = ((v * 103) >> 10) & 0x000f000f000f000fu;
    return tens | (v - tens * 10) << 8;
}

SW_INLINE void store_word(char *out, uint64_t word) {
    memcpy(out, &word, sizeof word);
}

/* Number of decimal digits of x > 0. */
SW_INLINE int digit_count(uint64_t x) {
    int guess = (64 - __builtin_clzll(x)) * 1233 >> 12; /* floor(bits * log10(2)) */
    return guess + (x >= sw_power_integer[guess]);
}

/* Index behind the last byte of an eight-digit word that is not 0; 0 when all are. */
SW_INLINE int significant(uint64_t word) {
    return word ? 8 - (__builtin_clzll(word) >> 3) : 0;
}

/* "e-12" */
static char *put_exponent(char *out, int exponent) {
    *out++ = 'e';
    *out++ = exponent < 0 ? '-' : '+';
    return sw_format_uint(out, (uint64_t)(exponent < 0 ? -exponent : exponent));
}

/* Significant digits in text: `first`, then those of `rest` (eight each, in order of memory, zeros behind the end).
 * `count` of them matter; the decimal point stands behind the first `point`. */
struct digits {
    char first;
    uint64_t rest[2];
    int count, point;
};

SW_INLINE void put_digits(char *out, const struct digits *d, bool wide) {
    *out = d->first;
    store_word(out + 1, d->rest[0]);
    if (wide) {
        store_word(out + 9, d->rest[1]);
    }
}

/* The digits behind the point, which stands behind 1 to 16 others. */
SW_INLINE void put_fraction(char *out, const struct digits *d, bool wide) {
    unsigned shift = 8 * (unsigned)(d->point - 1);
    if (wide) {
        unsigned __int128 rest = ((unsigned __int128)d->rest[1] << 64 | d->rest[0]) >> shift;
        store_word(out, (uint64_t)rest);
        if (d->count - d->point > 8) { /* else it might reach beyond SW_NUMBER_MAX */
            store_word(out + 8, (uint64_t)(rest >> 64));
        }
    } else {
        store_word(out, d->rest[0] >> shift);
    }
}

/* Lays the digits out as JavaScript's Number.prototype.toString does. `wide`: rest[1] is used. Stores whole words and
 * reads none back; what is written behind the end does not matter. */
SW_INLINE char *lay_out(char *out, const struct digits *d, bool wide) {
    if (SW_LIKELY(d->point <= 0 && d->point > -6)) {
        memcpy(out, "0.000000", 8);
        out += 2 - d->point;
        put_digits(out, d, wide);
        return out + d->count;
    }
    if (SW_LIKELY(d->point > 0 && d->point < d->count)) {
        put_digits(out, d, wide);
        put_fraction(out + d->point + 1, d, wide);
        out[d->point] = '.';
        return out + d->count + 1;
    }
    if (d->point > 0 && d->point <= 21) {
        put_digits(out, d, wide);
        memset(out + (wide ? 17 : 9), '0', wide ? 4 : 12);
        return out + d->point;
    }
    put_digits(out + 1, d, wide);
    out[0] = d->first;
    out[1] = '.';
    out += d->count > 1 ? d->count + 1 : 1;
    return put_exponent(out, d->point - 1);
}

/* "-0.0" with its point: readers that take "-0" for an integer would lose the sign. */
static char *format_zero(char *out, bool negative) {
    memcpy(out, negative ? "-0.0" : "0   ", 4);
    return out + (negative ? 4 : 1);
}

SW_INLINE char *format_float(char *out, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    bool negative = bits >> 31;
    bits &= 0x7fffffff;
    SW_ASSERT(bits < 0x7f800000);
    if (SW_UNLIKELY(bits == 0)) {
        return format_zero(out, negative);
    }
    *out = '-';
    out += negative;
    if (bits < 0x4b800000 && (float)(int32_t)value == value) { /* an integer below 2^24 */
        return sw_format_uint(out, (uint64_t)(negative ? -(int32_t)value : (int32_t)value));
    }
    struct shortest s = shortest_float(bits);
    int length = digit_count(s.digits);
    uint32_t nine = (uint32_t)(s.digits * sw_power_integer[9 - length]);
    uint64_t rest = split_eight(nine % 100000000);
    struct digits d = {.first = (char)('0' + nine / 100000000),
                       .rest = {rest | ASCII_ZEROS},
                       .count = 1 + significant(rest),
                       .point = s.exponent + length};
    return lay_out(out, &d, false);
}

SW_INLINE char *format_double(char *out, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    bool negative = bits >> 63;
    bits &= 0x7fffffffffffffff;
    SW_ASSERT(bits < 0x7ff0000000000000);
    if (SW_UNLIKELY(bits == 0)) {
        return format_zero(out, negative);
    }
    *out = '-';
    out += negative;
    struct shortest s = shortest_double(bits);
    int length = digit_count(s.digits);
    uint64_t all = s.digits * sw_power_integer[17 - length];
    uint64_t nine = all / 100000000;
    uint64_t middle = split_eight((uint32_t)(nine % 100000000)), last = split_eight((uint32_t)(all % 100000000));
    struct digits d = {.first = (char)('0' + nine / 100000000),
                       .rest = {middle | ASCII_ZEROS, last | ASCII_ZEROS},
                       .count = last ? 9 + significant(last) : 1 + significant(middle),
                       .point = s.exponent + length};
    return lay_out(out, &d, true);
}

char *sw_format_float(char *out, float value) {
    return format_float(out, value);
}

char *sw_format_double(char *out, double value) {
    return format_double(out, value);
}

static char *put_null(char *out) {
    memcpy(out, "null", 4);
    return out + 4;
}

char *sw_format_float_list(char *out, const float *values, size_t count) {
    for (size_t i = 0; i < count; i++) {
        out = SW_LIKELY(__builtin_isfinite(values[i])) ? format_float(out, values[i]) : put_null(out);
        *out++ = ',';
    }
    return out;
}

char *sw_format_double_list(char *out, const double *values, size_t count) {
    for (size_t i = 0; i < count; i++) {
        out = SW_LIKELY(__builtin_isfinite(values[i])) ? format_double(out, values[i]) : put_null(out);
        *out++ = ',';
    }
    return out;
}

char *sw_format_uint(char *out, uint64_t value) {
    char digits[24]; /* zero-padded to 24 */
    if (SW_LIKELY(value < 100000000)) {
        uint64_t word = split_eight((uint32_t)value);
        int zeros = word ? __builtin_ctzll(word) >> 3 : 7;
        store_word(out, (word | ASCII_ZEROS) >> (8 * zeros));
        return out + 8 - zeros;
    }
    store_word(digits + 16, split_eight((uint32_t)(value % 100000000)) | ASCII_ZEROS);
    value /= 100000000;
    store_word(digits + 8, split_eight((uint32_t)(value % 100000000)) | ASCII_ZEROS);
    store_word(digits, split_eight((uint32_t)(value / 100000000)) | ASCII_ZEROS);
    int zeros = 0;
    while (digits[zeros] == '0') {
        zeros++;
    }
    memcpy(out, digits + zeros, (size_t)(24 - zeros));
    return out + 24 - zeros;
}

char *sw_format_int(char *out, int64_t value) {
    *out = '-';
    out += value < 0;
    return sw_format_uint(out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}
