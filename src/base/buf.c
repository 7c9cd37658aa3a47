#include "base/buf.h"

#include "base/arena.h"
#include "base/memory.h"

void sw_buf_init(struct sw_buf *buf, size_t max) {
    *buf = (struct sw_buf){.max = max};
}

void sw_buf_init_arena(struct sw_buf *buf, struct sw_arena *arena, size_t max) {
    *buf = (struct sw_buf){.max = max, .arena = arena};
}

void sw_buf_deinit(struct sw_buf *buf) {
    if (!buf->arena) {
        sw_free(buf->data);
    }
    *buf = (struct sw_buf){.max = buf->max, .arena = buf->arena};
}

void sw_buf_clear(struct sw_buf *buf) {
    buf->len = 0;
    buf->failed = false;
    if (buf->data) {
        buf->data[0] = '\0';
    }
}

bool sw_buf_reserve(struct sw_buf *buf, size_t extra) {
    if (buf->failed || extra > buf->max || buf->len > buf->max - extra) {
        buf->failed = true;
        return false;
    }
    size_t need = buf->len + extra + 1;
    if (SW_LIKELY(need <= buf->capacity)) {
        return true;
    }
    size_t capacity = buf->capacity + buf->capacity / 2;
    capacity = capacity < need ? need : capacity;
    capacity = capacity < 256 ? 256 : capacity;
    capacity = capacity > buf->max ? buf->max + 1 : capacity;
    char *data = buf->arena ? sw_arena_grow(buf->arena, buf->data, buf->capacity, capacity, 16)
                            : sw_realloc(buf->data, capacity);
    if (!data) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

void sw_buf_append(struct sw_buf *buf, const void *data, size_t len) {
    if (sw_buf_reserve(buf, len)) {
        if (len) {
            memcpy(buf->data + buf->len, data, len);
        }
        buf->len += len;
        buf->data[buf->len] = '\0';
    }
}

void sw_buf_append_str(struct sw_buf *buf, struct sw_str s) {
    sw_buf_append(buf, s.data, s.len);
}

void sw_buf_append_c(struct sw_buf *buf, char c) {
    sw_buf_append(buf, &c, 1);
}

void sw_buf_printf(struct sw_buf *buf, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    sw_buf_vprintf(buf, fmt, args);
    va_end(args);
}

void sw_buf_vprintf(struct sw_buf *buf, const char *fmt, va_list args) {
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (n < 0) {
        buf->failed = true;
    } else if (sw_buf_reserve(buf, (size_t)n)) {
        vsnprintf(buf->data + buf->len, (size_t)n + 1, fmt, args);
        buf->len += (size_t)n;
    }
}

/* Length of the well-formed UTF-8 character at s (which is not ASCII), or 0. */
static size_t utf8_length(struct sw_str s) {
    for (size_t n = 2; n <= 4 && n <= s.len; n++) {
        if (sw_utf8_valid((struct sw_str){s.data, n})) {
            return n;
        }
    }
    return 0;
}

static void append_json_special(struct sw_buf *buf, unsigned char c) {
    switch (c) {
    case '"': SW_LIT(buf, "\\\""); break;
    case '\\': SW_LIT(buf, "\\\\"); break;
    case '\n': SW_LIT(buf, "\\n"); break;
    case '\r': SW_LIT(buf, "\\r"); break;
    case '\t': SW_LIT(buf, "\\t"); break;
    default: sw_buf_printf(buf, "\\u%04x", c); break;
    }
}

void sw_buf_append_json(struct sw_buf *buf, struct sw_str s) {
    sw_buf_append_c(buf, '"');
    size_t plain = 0; /* start of the run not yet appended */
    for (size_t i = 0; i < s.len;) {
        unsigned char c = (unsigned char)s.data[i];
        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
            i++;
            continue;
        }
        size_t n = c >= 0x80 ? utf8_length((struct sw_str){s.data + i, s.len - i}) : 0;
        if (n) {
            i += n;
            continue;
        }
        sw_buf_append(buf, s.data + plain, i - plain);
        if (c >= 0x80) {
            SW_LIT(buf, "\xef\xbf\xbd");
        } else {
            append_json_special(buf, c);
        }
        plain = ++i;
    }
    if (plain < s.len) {
        sw_buf_append(buf, s.data + plain, s.len - plain);
    }
    sw_buf_append_c(buf, '"');
}
