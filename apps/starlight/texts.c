/* See texts.h. */
#include "apps/starlight/texts.h"

static bool is_plain(uint32_t c) {
    return c >= 0x20 ? c != 0x7f && (c < 0x80 || c >= 0xa0) : (c >= '\t' && c <= '\r') || c == 0x1b;
}

/* The first byte of a character. false: it is none. */
static bool begin(struct sw_starlight_scan *s, uint8_t c) {
    static const struct {
        uint8_t mask, bits, more;
        uint32_t least;
    } kinds[] = {{0x80, 0x00, 0, 0}, {0xe0, 0xc0, 1, 0x80}, {0xf0, 0xe0, 2, 0x800}, {0xf8, 0xf0, 3, 0x10000}};
    for (size_t i = 0; i < SW_COUNTOF(kinds); i++) {
        if ((c & kinds[i].mask) == kinds[i].bits) {
            s->code = c & (uint8_t)~kinds[i].mask;
            s->least = kinds[i].least;
            s->pending = kinds[i].more;
            s->begun = 1;
            return true;
        }
    }
    return false;
}

static bool is_character(const struct sw_starlight_scan *s) {
    bool valid = s->code >= s->least && s->code <= 0x10ffff && (s->code < 0xd800 || s->code > 0xdfff);
    return valid && (s->any_control || is_plain(s->code));
}

void sw_starlight_scan_feed(struct sw_starlight_scan *s, const uint8_t *data, size_t n) {
    for (size_t i = 0; i < n && !s->ended; i++) {
        uint8_t c = data[i];
        if (s->pending == 0) {
            s->nul = c == 0;
            s->ended = s->nul || !begin(s, c);
        } else if ((c & 0xc0) == 0x80) {
            s->code = s->code << 6 | (c & 0x3f);
            s->pending--;
            s->begun++;
        } else {
            s->ended = true;
        }
        if (!s->ended && s->pending == 0) {
            s->ended = !is_character(s);
            s->length += s->ended ? 0 : s->begun;
        }
    }
}

static uint32_t unit_at(struct sw_str s, size_t at, bool little) {
    uint32_t a = (uint8_t)s.data[at], b = (uint8_t)s.data[at + 1];
    return little ? a | b << 8 : a << 8 | b;
}

static bool is_surrogate(uint32_t unit, uint32_t first) {
    return unit >= first && unit < first + 0x400;
}

/* How much a unit speaks for text, so that swapped Latin, which looks Chinese, loses against Latin, and swapped Chinese,
 * which looks like anything, loses against Chinese. */
static uint32_t weight_of(uint32_t unit) {
    if (unit < 0x700) {
        return 3;
    }
    if ((unit >= 0x2000 && unit < 0x2070) || (unit >= 0x3000 && unit < 0x3100)) {
        return 2;
    }
    return (unit >= 0x700 && unit < 0x2000) || (unit >= 0x4e00 && unit < 0xa000) || (unit >= 0xac00 && unit < 0xd7a4);
}

/* 0: not well formed. */
static uint64_t weigh(struct sw_str s, bool little) {
    uint64_t weight = 1;
    for (size_t at = 0; at + 2 <= s.len; at += 2) {
        uint32_t unit = unit_at(s, at, little);
        if (unit == 0) {
            break;
        }
        if (is_surrogate(unit, 0xdc00)) {
            return 0;
        }
        if (is_surrogate(unit, 0xd800)) {
            at += 2;
            if (at + 2 > s.len || !is_surrogate(unit_at(s, at, little), 0xdc00)) {
                return 0;
            }
        }
        weight += weight_of(unit);
    }
    return weight;
}

static size_t put_utf8(char *out, uint32_t c) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6) {
        out[i] = (char)(0x80 | (c & 0x3f));
    }
    out[0] = (char)((0xf00 >> n & 0xff) | c);
    return n;
}

static size_t convert(struct sw_str s, bool little, char *out) {
    size_t n = 0;
    for (size_t at = 0; at + 2 <= s.len; at += 2) {
        uint32_t unit = unit_at(s, at, little);
        if (unit == 0) {
            break;
        }
        if (is_surrogate(unit, 0xd800)) {
            at += 2;
            unit = 0x10000 + ((unit & 0x3ff) << 10) + (unit_at(s, at, little) & 0x3ff);
        }
        n += put_utf8(out + n, unit);
    }
    return n;
}

bool sw_starlight_from_utf16(struct sw_str bytes, bool little_endian, struct sw_arena *arena, struct sw_str *ret) {
    bool marked = bytes.len >= 2 && (unit_at(bytes, 0, true) == 0xfeff || unit_at(bytes, 0, true) == 0xfffe);
    bool little = marked ? unit_at(bytes, 0, true) == 0xfeff : little_endian;
    if (marked) {
        bytes = (struct sw_str){bytes.data + 2, bytes.len - 2};
    }
    uint64_t weight = weigh(bytes, little), other = marked ? 0 : weigh(bytes, !little);
    if (other > weight) {
        little = !little;
        weight = other;
    }
    char *out = weight ? sw_arena_alloc(arena, bytes.len / 2 * 3 + 1) : NULL; /* a unit makes at most three bytes */
    if (!out) {
        return false;
    }
    *ret = (struct sw_str){out, convert(bytes, little, out)};
    return true;
}
