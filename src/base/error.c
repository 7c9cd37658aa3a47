#include "base/error.h"

#include <stdarg.h>

#include "base/str.h"

/* Replaces what is not printable UTF-8, and a character cut at the end, so that a message can go into JSON and logs. */
static void clean(char *text) {
    for (unsigned char *p = (unsigned char *)text; *p; p++) {
        if (*p < 0x20 || *p == 0x7f) {
            *p = '?';
        }
    }
    size_t n = strlen(text);
    for (int cut = 0; cut < 4 && n > 0 && !sw_utf8_valid((struct sw_str){text, n}); cut++) {
        if (((unsigned char)text[n - 1] & 0xc0) == 0x80 || (unsigned char)text[n - 1] >= 0xc0) {
            n--; /* perhaps a character cut by the buffer's end */
        } else {
            break;
        }
    }
    if (sw_utf8_valid((struct sw_str){text, n})) {
        text[n] = '\0';
        return;
    }
    for (unsigned char *p = (unsigned char *)text; *p; p++) {
        if (*p >= 0x80) {
            *p = '?';
        }
    }
}

sw_status sw_error_set(struct sw_error *err, sw_status code, const char *origin, const char *fmt, ...) {
    SW_ASSERT(code > SW_OK && code < SW_STATUS_COUNT);
    if (err) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(err->message, sizeof err->message, fmt, args);
        va_end(args);
        clean(err->message);
        err->code = code;
        err->origin = origin;
    }
    return code;
}

sw_status sw_error_prefix(struct sw_error *err, const char *fmt, ...) {
    SW_ASSERT(err);
    char rest[SW_ERROR_MESSAGE_MAX];
    memcpy(rest, err->message, sizeof rest);
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(err->message, sizeof err->message, fmt, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof err->message) {
        snprintf(err->message + n, sizeof err->message - (size_t)n, ": %s", rest);
    }
    clean(err->message);
    return err->code;
}

void sw_assert_failed(const char *origin, const char *expression) {
    fprintf(stderr, "slipway: internal error at %s: %s does not hold\n", origin, expression);
    abort();
}
