#include "base/error.h"

#include <stdarg.h>

#include "base/str.h"

/* Length of the character at p, which may be cut by the end of the text; 0 when it is not UTF-8 or not printable. */
static size_t printable(const char *p, size_t left) {
    unsigned char c = (unsigned char)*p;
    if (c < 0x80) {
        return c >= 0x20 && c != 0x7f;
    }
    for (size_t n = 2; n <= 4 && n <= left; n++) {
        if (sw_utf8_valid((struct sw_str){p, n})) {
            return c == 0xc2 && (unsigned char)p[1] < 0xa0 ? 0 : n; /* U+0080 to U+009F are controls */
        }
    }
    return 0;
}

/* Could these last bytes be the begin of a character that did not fit? */
static bool is_cut(const char *p, size_t left) {
    unsigned char c = (unsigned char)*p;
    size_t want = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    for (size_t i = 1; i < left; i++) {
        if (((unsigned char)p[i] & 0xc0) != 0x80) {
            return false;
        }
    }
    return c >= 0xc2 && c <= 0xf4 && left < want;
}

/* Copies text of `len` bytes into the message, cut to its size, bytes that are not printable UTF-8 as '?'. */
static void set_message(struct sw_error *err, const char *text, size_t len) {
    bool cut = len >= sizeof err->message;
    len = cut ? sizeof err->message - 1 : len;
    size_t at = 0;
    while (at < len) {
        size_t n = printable(text + at, len - at);
        if (n == 0 && cut && is_cut(text + at, len - at)) {
            break;
        }
        if (n) {
            memcpy(err->message + at, text + at, n);
        } else {
            err->message[at] = '?';
        }
        at += n ? n : 1;
    }
    err->message[at] = '\0';
}

/* The arguments may point into err->message itself, so both functions format beside it first. */
sw_status sw_error_set(struct sw_error *err, sw_status code, const char *origin, const char *fmt, ...) {
    SW_ASSERT(code > SW_OK && code < SW_STATUS_COUNT);
    if (err) {
        char text[SW_ERROR_MESSAGE_MAX];
        va_list args;
        va_start(args, fmt);
        int n = vsnprintf(text, sizeof text, fmt, args);
        va_end(args);
        set_message(err, text, n < 0 ? 0 : (size_t)n);
        err->code = code;
        err->origin = origin;
    }
    return code;
}

sw_status sw_error_prefix(struct sw_error *err, const char *fmt, ...) {
    SW_ASSERT(err);
    char text[2 * SW_ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, SW_ERROR_MESSAGE_MAX, fmt, args);
    va_end(args);
    size_t len = n < 0 ? 0 : n < SW_ERROR_MESSAGE_MAX ? (size_t)n : SW_ERROR_MESSAGE_MAX - 1;
    n = snprintf(text + len, sizeof text - len, ": %s", err->message);
    set_message(err, text, len + (n < 0 ? 0 : (size_t)n));
    return err->code;
}

void sw_assert_failed(const char *origin, const char *expression) {
    fprintf(stderr, "slipway: internal error at %s: %s does not hold\n", origin, expression);
    abort();
}
