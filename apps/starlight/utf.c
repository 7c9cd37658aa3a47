/* See utf.h. */
#include "apps/starlight/utf.h"

#include "base/macros.h"

/* ---- UTF-8 */

/* Code point of the character at the beginning, its length in *ret_length; -1: malformed or cut off. */
static int32_t decode(const uint8_t *b, size_t length, size_t *ret_length) {
    static const uint8_t first_min[5] = {0, 0, 0x80, 0xA0, 0x90}; /* unused below 2; overlong forms are below these */
    uint8_t lead = b[0];
    if (lead < 0x80) {
        *ret_length = 1;
        return lead;
    }
    size_t n = lead >= 0xC2 && lead <= 0xDF ? 2 : (lead & 0xF0) == 0xE0 ? 3 : lead >= 0xF0 && lead <= 0xF4 ? 4 : 0;
    if (n == 0 || n > length) {
        return -1;
    }
    uint8_t low = lead == 0xE0 || lead == 0xF0 ? first_min[n] : 0x80;
    uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF; /* surrogates; beyond U+10FFFF */
    int32_t code = lead & (0xFF >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if (b[i] < low || b[i] > high) {
            return -1;
        }
        code = (code << 6) | (b[i] & 0x3F);
        low = 0x80;
        high = 0xBF;
    }
    *ret_length = n;
    return code;
}

static bool is_text(int32_t code) {
    if (code < 0x20) {
        return code == '\t' || code == '\n' || code == '\r';
    }
    if (code < 0xA0) {
        return code < 0x7F;
    }
    bool private_use = (code >= 0xE000 && code <= 0xF8FF) || code >= 0xF0000;
    bool noncharacter = (code >= 0xFDD0 && code <= 0xFDEF) || (code & 0xFFFE) == 0xFFFE;
    return !private_use && !noncharacter;
}

size_t sw_starlight_text_prefix(const uint8_t *bytes, size_t length) {
    size_t at = 0, n = 0;
    while (at < length && is_text(decode(bytes + at, length - at, &n))) {
        at += n;
    }
    return at;
}

bool sw_starlight_utf8_cut(const uint8_t *bytes, size_t length) {
    uint8_t padded[4];
    size_t n;
    SW_ASSERT(length >= 1 && length <= 3);
    for (int fill = 0x80; fill <= 0xBF; fill += 0x0F) { /* 80, 8F, 9E, AD, BC: one is allowed behind every lead */
        for (size_t i = 0; i < sizeof padded; i++) {
            padded[i] = i < length ? bytes[i] : (uint8_t)fill;
        }
        if (decode(padded, sizeof padded, &n) >= 0 && n > length) {
            return true;
        }
    }
    return false;
}

bool sw_starlight_is_utf8_text(const uint8_t *bytes, size_t length) {
    enum { LEAST = 4 };
    size_t text = sw_starlight_text_prefix(bytes, length), at = text;
    while (at < length && bytes[at] == 0) {
        at++;
    }
    return at == length && text >= LEAST;
}

/* ---- UTF-16 */

static size_t encode(int32_t code, uint8_t out[4]) {
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint8_t lead[5] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = n - 1; i > 0; i--) {
        out[i] = (uint8_t)(0x80 | (code & 0x3F));
        code >>= 6;
    }
    out[0] = (uint8_t)(lead[n] | code);
    return n;
}

static int32_t unit_at(const uint8_t *b, bool little_endian) {
    return little_endian ? b[0] | b[1] << 8 : b[0] << 8 | b[1];
}

/* Code point at the beginning and its bytes; -1: malformed. */
static int32_t decode16(const uint8_t *b, size_t length, bool little_endian, size_t *ret_length) {
    int32_t unit = length >= 2 ? unit_at(b, little_endian) : -1;
    *ret_length = 2;
    if (unit < 0xD800 || unit > 0xDFFF) {
        return unit;
    }
    int32_t second = unit < 0xDC00 && length >= 4 ? unit_at(b + 2, little_endian) : -1;
    if (second < 0xDC00 || second > 0xDFFF) {
        return -1;
    }
    *ret_length = 4;
    return 0x10000 + ((unit - 0xD800) << 10) + (second - 0xDC00);
}

/* Bytes read in this order; their text in out. */
static size_t read_order(const uint8_t *bytes, size_t length, bool little_endian, uint8_t *out, size_t out_size,
                         size_t *ret_length) {
    size_t at = 0, written = 0, n;
    while (at < length) {
        uint8_t utf8[4];
        int32_t code = decode16(bytes + at, length - at, little_endian, &n);
        if (!is_text(code)) {
            break;
        }
        size_t k = encode(code, utf8);
        if (written + k > out_size) {
            break;
        }
        for (size_t i = 0; i < k; i++) {
            out[written++] = utf8[i];
        }
        at += n;
    }
    *ret_length = written;
    return at;
}

/* How much a character speaks for its byte order: Latin read in the wrong order looks Chinese, and must lose against
 * Latin; Chinese read in the wrong order looks like anything, with a letter here and there, and must lose against Chinese. */
static int weight_of(int32_t code) {
    if (code < 0x700) {
        return is_text(code) ? 3 : code < 0 ? -4 : 0;
    }
    if ((code >= 0x2000 && code < 0x2070) || (code >= 0x3000 && code < 0x3100) || code >= 0x10000) {
        return 2;
    }
    return code < 0x2000 || (code >= 0x4E00 && code < 0xA000) || (code >= 0xAC00 && code < 0xD7A4);
}

/* Of the first 64 units, in this order. */
static int weigh(const uint8_t *bytes, size_t length, bool little_endian) {
    int weight = 0;
    for (size_t at = 0, n; at + 1 < length && at < 128; at += n) {
        weight += weight_of(decode16(bytes + at, length - at, little_endian, &n));
    }
    return weight;
}

size_t sw_starlight_utf16_text(const uint8_t *bytes, size_t length, bool little_endian, uint8_t *out, size_t out_size,
                               size_t *ret_length) {
    size_t skip = 0;
    if (length >= 2 && (unit_at(bytes, false) == 0xFEFF || unit_at(bytes, true) == 0xFEFF)) {
        little_endian = unit_at(bytes, true) == 0xFEFF;
        skip = 2;
    } else {
        int as_is = weigh(bytes, length, little_endian), swapped = weigh(bytes, length, !little_endian);
        little_endian = swapped > as_is ? !little_endian : little_endian;
    }
    size_t used = read_order(bytes + skip, length - skip, little_endian, out, out_size, ret_length);
    if (used == 0) {
        return 0;
    }
    used += skip;
    return length - used == 1 && bytes[used] == 0 ? length : used;
}
