#include "base/str.h"

static unsigned char lower(char c) {
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

bool sw_str_ieq(struct sw_str a, struct sw_str b) {
    if (a.len != b.len) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        if (lower(a.data[i]) != lower(b.data[i])) {
            return false;
        }
    }
    return true;
}

bool sw_str_starts(struct sw_str s, struct sw_str prefix) {
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.data, prefix.data, prefix.len) == 0);
}

bool sw_str_ends(struct sw_str s, struct sw_str suffix) {
    return s.len >= suffix.len &&
           (suffix.len == 0 || memcmp(s.data + s.len - suffix.len, suffix.data, suffix.len) == 0);
}

struct sw_str sw_str_trim(struct sw_str s) {
    while (s.len && (*s.data == ' ' || *s.data == '\t')) {
        s.data++, s.len--;
    }
    while (s.len && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t')) {
        s.len--;
    }
    return s;
}

struct sw_str sw_str_split(struct sw_str s, char separator, struct sw_str *head) {
    const char *at = s.len ? memchr(s.data, separator, s.len) : NULL;
    if (!at) {
        *head = s;
        return (struct sw_str){NULL, 0};
    }
    *head = (struct sw_str){s.data, (size_t)(at - s.data)};
    return (struct sw_str){at + 1, s.len - head->len - 1};
}

bool sw_parse_u64(struct sw_str s, uint64_t *ret) {
    uint64_t value = 0;
    if (s.len == 0 || s.len > 20) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(s.data[i] - '0'), &value)) {
            return false;
        }
    }
    *ret = value;
    return true;
}

bool sw_parse_i64(struct sw_str s, int64_t *ret) {
    bool negative = s.len && s.data[0] == '-';
    uint64_t value;
    if (!sw_parse_u64(negative ? (struct sw_str){s.data + 1, s.len - 1} : s, &value) ||
        value > (uint64_t)INT64_MAX + negative) {
        return false;
    }
    *ret = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

/* Length of the character that starts at p, by table 3-7 of the Unicode standard; 0 when ill-formed. */
static size_t utf8_step(const unsigned char *p, size_t left) {
    unsigned char c = p[0];
    if (c < 0x80) {
        return 1;
    }
    size_t n = c >= 0xc2 && c <= 0xdf ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
    if (n == 0 || n > left) {
        return 0;
    }
    unsigned char low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    unsigned char high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return n;
}

bool sw_utf8_valid(struct sw_str s) {
    const unsigned char *p = (const unsigned char *)s.data;
    size_t i = 0;
    while (i < s.len) {
        uint64_t word;
        if (s.len - i >= 8 && (memcpy(&word, p + i, 8), !(word & 0x8080808080808080u))) {
            i += 8;
            continue;
        }
        size_t n = utf8_step(p + i, s.len - i);
        if (n == 0) {
            return false;
        }
        i += n;
    }
    return true;
}
