/* A number whose end is known or guessed beforehand: read with hardly a branch on its length or on where its point is.
 *
 * "d.ddd": the digits behind the point are loaded by their end, what stands before them is masked out, and sixteen are
 * combined at once. Other numbers have their point, if any, in the first eight bytes: it is found, the digits in front
 * of it are moved up by a byte, and eight digits are combined at once; what follows, at most 16 digits, is loaded by
 * its end. Exponents are taken off first, in a slower function.
 *
 * Invariant: these functions refuse whatever is no JSON number, and may refuse a number for being long or odd, or when
 * its rounding is not sure. What they refuse is read again as any other text is. */
#ifndef SW_TENSOR_NUMBER_TOKEN_H
#define SW_TENSOR_NUMBER_TOKEN_H

#include "tensor/number_internal.h"

#if defined(__SSE2__) && !defined(SW_NO_SIMD)
#define SW_SSE2
#include <emmintrin.h>
#endif

/* Bytes that must be readable before the end of a token, and behind it. */
enum { SW_TOKEN_LEAD = 32, SW_TOKEN_SLACK = 16 };
enum { SW_TOKEN_MAX = 24 }; /* bytes without sign and exponent */

#ifdef SW_SSE2
/* Sixteen digits, each byte 0..9, as four numbers below 10^4. */
SW_INLINE __m128i sw_four_numbers(__m128i v) {
    v = _mm_srli_epi16(_mm_mullo_epi16(v, _mm_set1_epi16(10 << 8 | 1)), 8); /* eight numbers below 100 */
    return _mm_madd_epi16(v, _mm_set1_epi32(100 | 1 << 16));
}

SW_INLINE __m128i sw_load_digits(const char *p, const unsigned char *mask) {
    __m128i v = _mm_xor_si128(_mm_loadu_si128((const __m128i *)(const void *)p), _mm_set1_epi8('0'));
    return _mm_and_si128(v, _mm_loadu_si128((const __m128i *)(const void *)mask));
}
#endif

/* The last `count` bytes before `end` as digits: the last 16 in *ret_tail, up to 8 before them in *ret_head. When
 * `wide` is not set, count is at most 16. false when some are no digits. SW_TOKEN_LEAD bytes are loaded. */
SW_INLINE bool sw_last_digits(const char *end, size_t count, bool wide, uint64_t *ret_head, uint64_t *ret_tail) {
#ifdef SW_SSE2
#define EIGHT 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff
    static const unsigned char masks[64] = {[32] = EIGHT, EIGHT, EIGHT, EIGHT};
#undef EIGHT
    const __m128i bound = _mm_set1_epi8(0x76); /* adding it sets the top bit of 10 and above */
    __m128i tail = sw_load_digits(end - 16, masks + 16 + count);
    __m128i others = _mm_or_si128(_mm_add_epi8(tail, bound), tail);
    tail = sw_four_numbers(tail);
    __m128i head = tail;
    if (wide) {
        head = sw_load_digits(end - 32, masks + count);
        others = _mm_or_si128(others, _mm_or_si128(_mm_add_epi8(head, bound), head));
        head = sw_four_numbers(head);
    }
    __m128i all = _mm_madd_epi16(_mm_packs_epi32(tail, head), _mm_set1_epi32(10000 | 1 << 16)); /* each below 10^8 */
    uint64_t halves = (uint64_t)_mm_cvtsi128_si64(all);
    *ret_tail = (uint64_t)(uint32_t)halves * 100000000 + (halves >> 32);
    *ret_head = wide ? (uint64_t)_mm_cvtsi128_si64(_mm_shuffle_epi32(all, 0xee)) >> 32 : 0;
    return !_mm_movemask_epi8(others);
#else
    uint64_t v[3], others = 0;
    for (size_t i = 0; i < 3; i++) {
        size_t behind = 8 * i, inside = count > behind ? count - behind : 0; /* digits behind, and in, this word */
        unsigned absent = inside < 8 ? 64 - 8 * (unsigned)inside : 0;
        v[i] = sw_load_word(end - behind - 8) ^ 0x3030303030303030u;
        v[i] = inside ? v[i] >> absent << absent : 0;
        others |= sw_nondigits(v[i]);
    }
    *ret_tail = sw_eight_digits(v[1]) * 100000000 + sw_eight_digits(v[0]);
    *ret_head = sw_eight_digits(v[2]);
    return !others;
#endif
}

/* The 'e' of an exponent of one to three digits that ends at `end`, with or without sign; NULL: there is none. At least
 * one byte stands before it. *ret: its value. */
SW_INLINE const char *sw_token_exponent(const char *p, const char *end, int64_t *ret) {
    const char *e = end - 4; /* e-07, e+21, e123 */
    if (SW_UNLIKELY((*e | 0x20) != 'e')) {
        e = (end[-3] | 0x20) == 'e' ? end - 3 : (end[-2] | 0x20) == 'e' ? end - 2 : end - 5;
    }
    if (SW_UNLIKELY(e <= p || (*e | 0x20) != 'e')) {
        return NULL;
    }
    bool negative = e[1] == '-';
    const char *digit = e + 1 + (negative | (e[1] == '+'));
    int64_t value = 0;
    if (SW_UNLIKELY(digit == end)) {
        return NULL;
    }
    for (; digit < end; digit++) {
        if (SW_UNLIKELY((unsigned char)(*digit - '0') > 9)) {
            return NULL;
        }
        value = value * 10 + (*digit - '0');
    }
    *ret = negative ? -value : value;
    return e;
}

/* "d.ddd" with `count` digits behind the point, which ends at `end`: 1 to 18 of them, or to 22 when `first`, the digit in
 * front, is 0. */
SW_INLINE bool sw_scan_unit(const char *end, uint64_t first, size_t count, uint64_t *ret) {
    uint64_t head, tail;
    if (count <= 12) { /* 32-bit floats in their shortest form go here, doubles there: seldom mispredicted */
        *ret = first * sw_power_integer[count];
        if (SW_UNLIKELY(!sw_last_digits(end, count, false, &head, &tail))) {
            return false;
        }
    } else {
        *ret = first * sw_power_integer[count < 18 ? count : 18];
        if (SW_UNLIKELY(!sw_last_digits(end, count, true, &head, &tail)) || SW_UNLIKELY(head >= 1000)) {
            return false;
        }
        tail += head * sw_power_integer[16];
    }
    *ret += tail;
    return true;
}

/* Any digits, with a point among the first eight bytes or none. */
SW_INLINE bool sw_scan_any(const char *p, const char *end, uint64_t *ret, int64_t *ret_exponent) {
    size_t length = (size_t)(end - p), rest = length > 8 ? length - 8 : 0;
    uint64_t text = sw_load_word(p) ^ 0x3030303030303030u;
    uint64_t word = text << (64 - 8 * (length - rest)); /* zeros in front of what is shorter */
    uint64_t dot = word ^ 0x1e1e1e1e1e1e1e1eu;          /* '.' ^ '0' */
    dot = (dot - 0x0101010101010101u) & ~dot & 0x8080808080808080u;
    dot &= 0 - dot; /* the top bit of the point's byte, or 0 */
    uint64_t before = word & ((dot >> 7) - 1), behind = word & (0 - (dot << 1));
    word = dot ? before << 8 | behind : word;
    *ret_exponent = dot ? (__builtin_ctzll(dot) >> 3) - 7 - (int64_t)rest : 0;

    uint64_t first = text & 0xff, second = text >> 8 & 0xff;
    bool bad = (first > 9) | ((first == 0) & (second <= 9) & (length > 1)) | (dot >> 63 & !rest);
    uint64_t digits = sw_eight_digits(word);
    if (rest) {
        uint64_t head, tail;
        bad |= !sw_last_digits(end, rest, false, &head, &tail) | (digits >= sw_power_integer[SW_DIGITS_EXACT - rest]);
        digits = digits * sw_power_integer[rest] + tail;
    }
    *ret = digits;
    return !(bad | (sw_nondigits(word) != 0));
}

/* The JSON number without an exponent that is all of [p, end). d->exponent becomes 0 to -23. */
SW_INLINE bool sw_scan_token(const char *p, const char *end, struct sw_decimal *d) {
    d->negative = *p == '-';
    d->cut = false;
    p += d->negative;
    size_t length = (size_t)(end - p);
    if (SW_LIKELY(p[1] == '.')) {
        uint64_t first = (unsigned char)(*p - '0');
        d->exponent = 2 - (int64_t)length;
        return SW_LIKELY(first <= 9) && SW_LIKELY(length - 3 <= (first ? 17 : 21)) &&
               sw_scan_unit(end, first, length - 2, &d->digits);
    }
    return SW_LIKELY(length - 1 <= SW_TOKEN_MAX - 1) && sw_scan_any(p, end, &d->digits, &d->exponent);
}

/* The same with an exponent, or ".0" behind more digits than would do above. */
SW_INLINE bool sw_scan_odd_token(const char *p, const char *end, struct sw_decimal *d) {
    int64_t written = 0;
    const char *mantissa_end = sw_token_exponent(p, end, &written);
    if (!mantissa_end) {
        mantissa_end = end - 2;
        if (mantissa_end <= p || mantissa_end[0] != '.' || mantissa_end[1] != '0' ||
            !sw_scan_token(p, mantissa_end, d)) {
            return false;
        }
        return d->exponent == 0; /* no second point */
    }
    if (!sw_scan_token(p, mantissa_end, d)) {
        return false;
    }
    d->exponent += written;
    return true;
}

/* Do the last four bytes hold a letter? Digits, points, signs, blanks and commas have not this bit. */
SW_INLINE bool sw_token_has_letter(const char *end) {
    uint32_t last;
    memcpy(&last, end - 4, sizeof last);
    return last & 0x40404040;
}

/* The usual numbers, inline; false: see the slow functions below. */
SW_INLINE bool sw_token_float(const char *p, const char *end, float *ret) {
    _Static_assert(SW_FLOAT_SAFE(0) && SW_FLOAT_SAFE(1 - SW_TOKEN_MAX), "no range to check");
    struct sw_decimal d;
    double value;
    if (SW_UNLIKELY(sw_token_has_letter(end)) || SW_UNLIKELY(!sw_scan_token(p, end, &d)) ||
        SW_UNLIKELY(!sw_decimal_float_near(&d, &value))) {
        return false;
    }
    *ret = (float)value;
    return true;
}

SW_INLINE bool sw_token_double(const char *p, const char *end, double *ret) {
    struct sw_decimal d;
    return SW_LIKELY(!sw_token_has_letter(end)) && SW_LIKELY(sw_scan_token(p, end, &d)) &&
           SW_LIKELY(sw_decimal_double_likely(&d, ret));
}

/* Numbers with an exponent, and all others that the functions above refuse. [.., text_end) is all the text. Return the
 * byte behind the number, or NULL. */
SW_INLINE const char *sw_token_float_slow(const char *p, const char *end, const char *text_end, float *ret) {
    struct sw_decimal d;
    if (SW_LIKELY(sw_scan_odd_token(p, end, &d))) {
        return sw_decimal_float(&d, p, end, ret) ? end : NULL;
    }
    return sw_read_float(p, text_end, ret);
}

SW_INLINE const char *sw_token_double_slow(const char *p, const char *end, const char *text_end, double *ret) {
    struct sw_decimal d;
    if (SW_LIKELY(sw_scan_odd_token(p, end, &d))) {
        return sw_decimal_double(&d, p, end, ret) ? end : NULL;
    }
    return sw_read_double(p, text_end, ret);
}

#endif
