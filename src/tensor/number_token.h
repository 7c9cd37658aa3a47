/* A number whose end is known or guessed beforehand: read without a branch on its length or on where its point stands.
 *
 * The first eight bytes hold the point, if there is one: it is found, the digits in front of it are moved up by a byte,
 * and eight digits are combined at once. What follows, at most 16 digits, is loaded by its end and combined at once too.
 * The exponent, if there is one, is taken off first. */
#ifndef SW_TENSOR_NUMBER_TOKEN_H
#define SW_TENSOR_NUMBER_TOKEN_H

#include "tensor/number_internal.h"

#if defined(__SSE2__) && !defined(SW_NO_SIMD)
#define SW_SSE2
#include <emmintrin.h>
#endif

/* Bytes that must be readable before and behind a token. */
enum { SW_TOKEN_LEAD = 8, SW_TOKEN_SLACK = 16 };
enum { SW_TOKEN_MAX = 24 }; /* bytes without sign and exponent */

/* The last `count` (0 to 16) bytes before `end` as digits; false when some are not. 16 bytes are loaded. */
SW_INLINE bool sw_last_digits(const char *end, size_t count, uint64_t *ret) {
#ifdef SW_SSE2
    static const unsigned char masks[32] = {[16] = 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                            0xff,        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(end - 16));
    __m128i mask = _mm_loadu_si128((const __m128i *)(const void *)(masks + count));
    v = _mm_and_si128(_mm_xor_si128(v, _mm_set1_epi8('0')), mask);
    int others = _mm_movemask_epi8(_mm_or_si128(_mm_add_epi8(v, _mm_set1_epi8(0x76)), v));
    v = _mm_srli_epi16(_mm_mullo_epi16(v, _mm_set1_epi16(2561)), 8); /* eight numbers below 100, of 16 bits */
    v = _mm_madd_epi16(v, _mm_set1_epi32(100 | 1 << 16));            /* four below 10^4, of 32 bits */
    v = _mm_packs_epi32(v, v);
    v = _mm_madd_epi16(v, _mm_set1_epi32(10000 | 1 << 16)); /* two below 10^8 */
    uint64_t halves = (uint64_t)_mm_cvtsi128_si64(v);
    *ret = (uint64_t)(uint32_t)halves * 100000000 + (halves >> 32);
    return !others;
#else
    uint64_t head = sw_load_word(end - 16) ^ 0x3030303030303030u, tail = sw_load_word(end - 8) ^ 0x3030303030303030u;
    unsigned absent = 8 * (16 - (unsigned)count);
    head = absent >= 64 ? 0 : head >> absent << absent;
    tail = absent <= 64 ? tail : absent == 128 ? 0 : tail >> (absent - 64) << (absent - 64);
    *ret = sw_eight_digits(head) * 100000000 + sw_eight_digits(tail);
    return !(sw_nondigits(head) | sw_nondigits(tail));
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

/* The JSON number that is all of [p, end). false: it is none, or too long or too odd for this; nothing is said then. */
SW_INLINE bool sw_scan_token(const char *p, const char *end, struct sw_decimal *ret) {
    ret->negative = *p == '-';
    ret->cut = false;
    p += ret->negative;
    int64_t written = 0;
    uint32_t last;
    memcpy(&last, end - 4, sizeof last);
    if (SW_UNLIKELY(last & 0x40404040)) { /* letters have this bit; digits, points, signs, blanks and commas do not */
        end = sw_token_exponent(p, end, &written);
        if (SW_UNLIKELY(!end)) {
            return false;
        }
    }
    size_t length = (size_t)(end - p);
    if (SW_UNLIKELY(length - 1 > SW_TOKEN_MAX - 1)) {
        return false;
    }
    size_t rest = length > 8 ? length - 8 : 0;
    uint64_t text = sw_load_word(p) ^ 0x3030303030303030u;
    uint64_t word = text << (64 - 8 * (length - rest)); /* zeros in front of what is shorter */

    uint64_t dot = word ^ 0x1e1e1e1e1e1e1e1eu; /* '.' ^ '0' */
    dot = (dot - 0x0101010101010101u) & ~dot & 0x8080808080808080u;
    dot &= 0 - dot; /* the top bit of the point's byte, or 0 */
    uint64_t before = word & ((dot >> 7) - 1), behind = word & (0 - (dot << 1));
    word = before << (dot ? 8 : 0) | (dot ? behind : 0);
    int64_t decimals = dot ? (int64_t)rest + 7 - (__builtin_ctzll(dot) >> 3) : 0;

    uint64_t first = text & 0xff, second = text >> 8 & 0xff;
    bool bad = (first > 9) | ((first == 0) & (second <= 9) & (length > 1)) | (dot >> 63 & !rest);
    ret->digits = sw_eight_digits(word);
    ret->exponent = written - decimals;
    if (rest) {
        uint64_t tail;
        bad |= !sw_last_digits(end, rest, &tail) | (ret->digits >= sw_power_integer[SW_DIGITS_EXACT - rest]);
        ret->digits = ret->digits * sw_power_integer[rest] + tail;
    }
    return SW_LIKELY(!(bad | (sw_nondigits(word) != 0)));
}

#endif
