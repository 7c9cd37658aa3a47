/* Base64, strict: RFC 4648 section 4, padding required, no blanks or line ends, unused bits zero (section 3.5). */
#include "tensor/oip_tensor.h"

enum { GOOD = 0x40, VALUE = 0x3f };

/* GOOD and the value of each character of the alphabet; 0 for all others. */
static const unsigned char values[256] = {
    ['A'] = GOOD | 0,  ['B'] = GOOD | 1,  ['C'] = GOOD | 2,  ['D'] = GOOD | 3,  ['E'] = GOOD | 4,  ['F'] = GOOD | 5,
    ['G'] = GOOD | 6,  ['H'] = GOOD | 7,  ['I'] = GOOD | 8,  ['J'] = GOOD | 9,  ['K'] = GOOD | 10, ['L'] = GOOD | 11,
    ['M'] = GOOD | 12, ['N'] = GOOD | 13, ['O'] = GOOD | 14, ['P'] = GOOD | 15, ['Q'] = GOOD | 16, ['R'] = GOOD | 17,
    ['S'] = GOOD | 18, ['T'] = GOOD | 19, ['U'] = GOOD | 20, ['V'] = GOOD | 21, ['W'] = GOOD | 22, ['X'] = GOOD | 23,
    ['Y'] = GOOD | 24, ['Z'] = GOOD | 25, ['a'] = GOOD | 26, ['b'] = GOOD | 27, ['c'] = GOOD | 28, ['d'] = GOOD | 29,
    ['e'] = GOOD | 30, ['f'] = GOOD | 31, ['g'] = GOOD | 32, ['h'] = GOOD | 33, ['i'] = GOOD | 34, ['j'] = GOOD | 35,
    ['k'] = GOOD | 36, ['l'] = GOOD | 37, ['m'] = GOOD | 38, ['n'] = GOOD | 39, ['o'] = GOOD | 40, ['p'] = GOOD | 41,
    ['q'] = GOOD | 42, ['r'] = GOOD | 43, ['s'] = GOOD | 44, ['t'] = GOOD | 45, ['u'] = GOOD | 46, ['v'] = GOOD | 47,
    ['w'] = GOOD | 48, ['x'] = GOOD | 49, ['y'] = GOOD | 50, ['z'] = GOOD | 51, ['0'] = GOOD | 52, ['1'] = GOOD | 53,
    ['2'] = GOOD | 54, ['3'] = GOOD | 55, ['4'] = GOOD | 56, ['5'] = GOOD | 57, ['6'] = GOOD | 58, ['7'] = GOOD | 59,
    ['8'] = GOOD | 60, ['9'] = GOOD | 61, ['+'] = GOOD | 62, ['/'] = GOOD | 63,
};

static unsigned join(unsigned a, unsigned b, unsigned c, unsigned d) {
    return (a & VALUE) << 18 | (b & VALUE) << 12 | (c & VALUE) << 6 | (d & VALUE);
}

/* The last four characters, of which `padding` are '='. false: a bad character or bits that no byte takes. */
static bool decode_last(const unsigned char *in, size_t padding, unsigned char *out) {
    unsigned a = values[in[0]], b = values[in[1]], c = padding < 2 ? values[in[2]] : GOOD,
             d = padding < 1 ? values[in[3]] : GOOD;
    unsigned bits = join(a, b, c, d);
    if (!(a & b & c & d & GOOD) || (padding == 1 && bits & 0xff) || (padding == 2 && bits & 0xffff)) {
        return false;
    }
    out[0] = (unsigned char)(bits >> 16);
    if (padding < 2) {
        out[1] = (unsigned char)(bits >> 8);
    }
    if (padding < 1) {
        out[2] = (unsigned char)bits;
    }
    return true;
}

sw_status sw_base64_decode(struct sw_str text, struct sw_arena *arena, struct sw_str *ret, struct sw_error *err) {
    if (text.len % 4) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "base64: %zu characters, not a multiple of four", text.len);
    }
    if (text.len == 0) {
        *ret = (struct sw_str){"", 0};
        return SW_OK;
    }
    const unsigned char *in = (const unsigned char *)text.data, *last = in + text.len - 4;
    size_t padding = last[3] != '=' ? 0 : last[2] != '=' ? 1 : 2;
    size_t size = text.len / 4 * 3 - padding;
    unsigned char *data = sw_arena_alloc_aligned(arena, size, 1), *out = data;
    if (!data) {
        return sw_fail(err, SW_E_UNAVAILABLE, "base64: no memory for %zu bytes", size);
    }
    for (; in < last; in += 4, out += 3) {
        unsigned a = values[in[0]], b = values[in[1]], c = values[in[2]], d = values[in[3]];
        if (!(a & b & c & d & GOOD)) {
            break;
        }
        unsigned bits = join(a, b, c, d);
        out[0] = (unsigned char)(bits >> 16);
        out[1] = (unsigned char)(bits >> 8);
        out[2] = (unsigned char)bits;
    }
    if (in < last || !decode_last(last, padding, out)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "base64: invalid in the four characters at offset %zu",
                       (size_t)(in - (const unsigned char *)text.data));
    }
    *ret = (struct sw_str){(const char *)data, size};
    return SW_OK;
}
