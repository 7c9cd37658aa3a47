/* The JSON cursor: grammar, strings, duplicate keys, skipping. Numbers are read by number_read.c, arrays of them by
 * json_data_read.c.
 *
 * State of the open containers is a bit each (fresh, objects), so that entering and leaving costs nothing and skipping
 * needs no recursion. The keys of all open objects lie on one stack; closing an object pops its keys. */
#include "tensor/json.h"

#include <stdarg.h>

#include "tensor/number_internal.h"

void sw_json_init(struct sw_json *json, struct sw_str text, struct sw_arena *arena, struct sw_error *err) {
    SW_ASSERT(arena);
    *json = (struct sw_json){
        .begin = text.data, .p = text.data, .end = text.data + text.len, .arena = arena, .err = err};
}

sw_status sw_json_fail(struct sw_json *json, const char *fmt, ...) {
    if (!json->err) {
        return SW_E_INVALID_ARGUMENT;
    }
    char message[SW_ERROR_MESSAGE_MAX - 32];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    return sw_fail(json->err, SW_E_INVALID_ARGUMENT, "%s at byte %zu", message, (size_t)(json->p - json->begin));
}

static sw_status out_of_memory(struct sw_json *json) {
    return sw_fail(json->err, SW_E_UNAVAILABLE, "no memory left for this request's JSON");
}

SW_INLINE void skip_blanks(struct sw_json *json) {
    while (json->p < json->end && (*json->p == ' ' || *json->p == '\n' || *json->p == '\t' || *json->p == '\r')) {
        json->p++;
    }
}

char sw_json_peek(struct sw_json *json) {
    skip_blanks(json);
    return json->p < json->end ? *json->p : '\0';
}

/* Fails for the byte at the cursor where `expected` should stand. */
SW_COLD static sw_status unexpected(struct sw_json *json, const char *expected) {
    if (json->p >= json->end) {
        return sw_json_fail(json, "malformed JSON: the text ends where %s should stand", expected);
    }
    unsigned char c = (unsigned char)*json->p;
    if (c > 0x20 && c < 0x7f) {
        return sw_json_fail(json, "malformed JSON: '%c' where %s should stand", c, expected);
    }
    return sw_json_fail(json, "malformed JSON: byte 0x%02x where %s should stand", c, expected);
}

static sw_status enter(struct sw_json *json, bool object) {
    if (sw_json_peek(json) != (object ? '{' : '[')) {
        return unexpected(json, object ? "an object" : "an array");
    }
    if (json->depth >= SW_JSON_DEPTH_MAX) {
        return sw_json_fail(json, "JSON is nested more than %d levels deep", SW_JSON_DEPTH_MAX);
    }
    uint64_t bit = (uint64_t)1 << json->depth;
    json->fresh |= bit;
    json->objects = object ? json->objects | bit : json->objects & ~bit;
    json->key_start[json->depth] = json->key_count;
    json->depth++;
    json->p++;
    return SW_OK;
}

sw_status sw_json_enter_object(struct sw_json *json) {
    return enter(json, true);
}

sw_status sw_json_enter_array(struct sw_json *json) {
    return enter(json, false);
}

/* Moves to the next member: *ret_more with the cursor on it, or false with the container closed. */
static sw_status advance(struct sw_json *json, char close, bool *ret_more) {
    SW_ASSERT(json->depth > 0);
    uint64_t bit = (uint64_t)1 << (json->depth - 1);
    bool fresh = json->fresh & bit;
    char c = sw_json_peek(json);
    if (c == close) {
        json->p++;
        json->depth--;
        json->key_count = json->key_start[json->depth];
        *ret_more = false;
        return SW_OK;
    }
    if (fresh) {
        json->fresh &= ~bit;
    } else {
        if (c != ',') {
            return unexpected(json, close == '}' ? "',' or '}'" : "',' or ']'");
        }
        json->p++;
        skip_blanks(json);
    }
    *ret_more = true;
    return SW_OK;
}

/* Remembers a key; fails when its object has it already. */
static sw_status remember_key(struct sw_json *json, struct sw_str key) {
    uint32_t start = json->key_start[json->depth - 1];
    for (uint32_t i = start; i < json->key_count; i++) {
        if (sw_str_eq(json->keys[i], key)) {
            return sw_json_fail(json, "duplicate key \"" SW_STR_FMT "\"", SW_STR_ARG(key));
        }
    }
    if (json->key_count - start >= SW_JSON_KEYS_MAX) {
        return SW_OK;
    }
    if (json->key_count == json->key_capacity) {
        uint32_t capacity = json->key_capacity ? json->key_capacity * 2 : 16;
        struct sw_str *keys = sw_arena_grow(json->arena, json->keys, json->key_capacity * sizeof *keys,
                                            capacity * sizeof *keys, _Alignof(struct sw_str));
        if (!keys) {
            return out_of_memory(json);
        }
        json->keys = keys;
        json->key_capacity = capacity;
    }
    json->keys[json->key_count++] = key;
    return SW_OK;
}

sw_status sw_json_object_next(struct sw_json *json, struct sw_str *ret_key, bool *ret_more) {
    bool more;
    SW_TRY(advance(json, '}', &more));
    if (!more) {
        *ret_more = false;
        return SW_OK;
    }
    if (sw_json_peek(json) != '"') {
        return unexpected(json, "a key in double quotes");
    }
    const char *at = json->p;
    struct sw_str key;
    SW_TRY(sw_json_string(json, &key));
    const char *behind = json->p;
    json->p = at; /* a duplicate is reported where it begins */
    SW_TRY(remember_key(json, key));
    json->p = behind;
    if (sw_json_peek(json) != ':') {
        return unexpected(json, "':'");
    }
    json->p++;
    skip_blanks(json);
    *ret_key = key;
    *ret_more = true;
    return SW_OK;
}

sw_status sw_json_array_next(struct sw_json *json, bool *ret_more) {
    return advance(json, ']', ret_more);
}

/* Four hexadecimal digits at p, or -1. */
static int hex4(const char *p, const char *end) {
    if (end - p < 4) {
        return -1;
    }
    int value = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int digit = c >= '0' && c <= '9'                     ? c - '0'
                    : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                             : -1;
        if (digit < 0) {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

/* Length of the escape at p (a backslash), 0 when malformed or half a surrogate pair. *ret_code: the character. */
static size_t read_escape(const char *p, const char *end, uint32_t *ret_code) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (end - p < 2) {
        return 0;
    }
    if (p[1] != 'u') {
        const char *at = p[1] ? strchr(from, p[1]) : NULL;
        *ret_code = at ? (unsigned char)to[at - from] : 0;
        return at ? 2 : 0;
    }
    int first = hex4(p + 2, end);
    if (first < 0 || (first >= 0xdc00 && first <= 0xdfff)) {
        return 0;
    }
    if (first < 0xd800 || first > 0xdbff) {
        *ret_code = (uint32_t)first;
        return 6;
    }
    int second = end - p >= 12 && p[6] == '\\' && p[7] == 'u' ? hex4(p + 8, end) : -1;
    if (second < 0xdc00 || second > 0xdfff) {
        return 0;
    }
    *ret_code = 0x10000u + ((uint32_t)(first - 0xd800) << 10) + (uint32_t)(second - 0xdc00);
    return 12;
}

static char *put_utf8(char *out, uint32_t code) {
    if (code < 0x80) {
        *out++ = (char)code;
    } else if (code < 0x800) {
        *out++ = (char)(0xc0 | code >> 6);
        *out++ = (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *out++ = (char)(0xe0 | code >> 12);
        *out++ = (char)(0x80 | (code >> 6 & 0x3f));
        *out++ = (char)(0x80 | (code & 0x3f));
    } else {
        *out++ = (char)(0xf0 | code >> 18);
        *out++ = (char)(0x80 | (code >> 12 & 0x3f));
        *out++ = (char)(0x80 | (code >> 6 & 0x3f));
        *out++ = (char)(0x80 | (code & 0x3f));
    }
    return out;
}

#define EVERY_BYTE(x) ((uint64_t)(x)*0x0101010101010101u)

/* First byte at or after p that is a quote, a backslash or a control character, or end. Bytes >= 0x80 set *high. */
static const char *skip_plain(const char *p, const char *end, bool *high) {
    uint64_t seen = 0;
    while (end - p >= 8) {
        uint64_t w = sw_load_word(p), quote = w ^ EVERY_BYTE('"'), slash = w ^ EVERY_BYTE('\\');
        uint64_t special = ((quote - EVERY_BYTE(1)) & ~quote) | ((slash - EVERY_BYTE(1)) & ~slash) |
                           ((w - EVERY_BYTE(0x20)) & ~w);
        special &= EVERY_BYTE(0x80); /* false marks only behind a true one */
        if (special) {
            break;
        }
        seen |= w;
        p += 8;
    }
    for (; p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20; p++) {
        seen |= (unsigned char)*p;
    }
    *high = *high || (seen & EVERY_BYTE(0x80));
    return p;
}

/* Checks the string at the cursor (a quote) and moves behind it. *ret_raw: between the quotes, escapes as they are. */
static sw_status scan_string(struct sw_json *json, struct sw_str *ret_raw, bool *ret_escaped) {
    const char *start = json->p + 1, *p = start;
    bool high = false, escaped = false;
    for (;;) {
        p = skip_plain(p, json->end, &high);
        if (p == json->end) {
            return sw_json_fail(json, "malformed JSON: unterminated string");
        }
        if (*p == '"') {
            break;
        }
        if (*p != '\\') {
            json->p = p;
            return sw_json_fail(json, "malformed JSON: control character 0x%02x in a string", (unsigned char)*p);
        }
        uint32_t code;
        size_t length = read_escape(p, json->end, &code);
        if (length == 0) {
            json->p = p;
            return sw_json_fail(json, "malformed JSON: bad escape or half a surrogate pair in a string");
        }
        escaped = true;
        p += length;
    }
    struct sw_str raw = {start, (size_t)(p - start)};
    if (high && !sw_utf8_valid(raw)) {
        return sw_json_fail(json, "malformed JSON: string is not UTF-8");
    }
    json->p = p + 1;
    *ret_raw = raw;
    *ret_escaped = escaped;
    return SW_OK;
}

static sw_status unescape(struct sw_json *json, struct sw_str raw, struct sw_str *ret) {
    char *text = sw_arena_alloc_aligned(json->arena, raw.len, 1), *out = text; /* an escape is never shorter */
    if (!text) {
        return out_of_memory(json);
    }
    const char *p = raw.data, *end = raw.data + raw.len;
    while (p < end) {
        const char *slash = memchr(p, '\\', (size_t)(end - p));
        size_t plain = (size_t)((slash ? slash : end) - p);
        memcpy(out, p, plain);
        out += plain;
        p += plain;
        if (p < end) {
            uint32_t code;
            p += read_escape(p, end, &code);
            out = put_utf8(out, code);
        }
    }
    *ret = (struct sw_str){text, (size_t)(out - text)};
    return SW_OK;
}

sw_status sw_json_string(struct sw_json *json, struct sw_str *ret) {
    if (sw_json_peek(json) != '"') {
        return unexpected(json, "a string");
    }
    struct sw_str raw;
    bool escaped;
    SW_TRY(scan_string(json, &raw, &escaped));
    if (SW_UNLIKELY(escaped)) {
        return unescape(json, raw, ret);
    }
    *ret = raw;
    return SW_OK;
}

static bool take_word(struct sw_json *json, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(json->end - json->p) >= n && memcmp(json->p, word, n) == 0) {
        json->p += n;
        return true;
    }
    return false;
}

sw_status sw_json_bool(struct sw_json *json, bool *ret) {
    skip_blanks(json);
    bool value = take_word(json, "true");
    if (!value && !take_word(json, "false")) {
        return unexpected(json, "true or false");
    }
    *ret = value;
    return SW_OK;
}

sw_status sw_json_null(struct sw_json *json) {
    skip_blanks(json);
    return take_word(json, "null") ? SW_OK : unexpected(json, "null");
}

sw_status sw_json_i64(struct sw_json *json, int64_t *ret) {
    skip_blanks(json);
    const char *next = sw_read_int(json->p, json->end, INT64_MIN, INT64_MAX, ret);
    if (!next) {
        struct sw_decimal d;
        if (!sw_scan_number(json->p, json->end, &d)) {
            return unexpected(json, "an integer");
        }
        return sw_json_fail(json, "number is not an integer or outside the range of 64 bits");
    }
    json->p = next;
    return SW_OK;
}

sw_status sw_json_double(struct sw_json *json, double *ret) {
    skip_blanks(json);
    const char *next = sw_read_double(json->p, json->end, ret);
    if (!next) {
        struct sw_decimal d;
        if (!sw_scan_number(json->p, json->end, &d)) {
            return unexpected(json, "a number");
        }
        return sw_json_fail(json, "number is too large for a double");
    }
    json->p = next;
    return SW_OK;
}

/* Checks the value at the cursor; a container is only entered. */
static sw_status skip_head(struct sw_json *json) {
    switch (sw_json_peek(json)) {
    case '{': return enter(json, true);
    case '[': return enter(json, false);
    case '"': {
        struct sw_str raw;
        bool escaped;
        return scan_string(json, &raw, &escaped);
    }
    case 't':
    case 'f': {
        bool value;
        return sw_json_bool(json, &value);
    }
    case 'n': return sw_json_null(json);
    default: break;
    }
    struct sw_decimal d;
    const char *next = sw_scan_number(json->p, json->end, &d);
    if (!next) {
        return unexpected(json, "a value");
    }
    json->p = next;
    return SW_OK;
}

sw_status sw_json_skip(struct sw_json *json) {
    uint32_t depth = json->depth;
    do {
        SW_TRY(skip_head(json));
        bool more = false;
        while (json->depth > depth && !more) {
            if (json->objects >> (json->depth - 1) & 1) {
                struct sw_str key;
                SW_TRY(sw_json_object_next(json, &key, &more));
            } else {
                SW_TRY(sw_json_array_next(json, &more));
            }
        }
    } while (json->depth > depth);
    return SW_OK;
}

sw_status sw_json_end(struct sw_json *json) {
    SW_ASSERT(json->depth == 0);
    skip_blanks(json);
    return json->p == json->end ? SW_OK : unexpected(json, "the end of the text");
}
