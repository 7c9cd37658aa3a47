/* Growable byte buffer on the heap, with a maximum given at birth.
 *
 * Invariants: data[len] == 0 always readable once something was appended (so `data` prints as a C string); a failed
 * append sets `failed` and every later append does nothing, so that a chain of appends is checked once at the end. */
#ifndef SW_BASE_BUF_H
#define SW_BASE_BUF_H

#include <stdarg.h>

#include "base/macros.h"
#include "base/str.h"

struct sw_arena;

struct sw_buf {
    char *data;
    size_t len;
    size_t capacity;
    size_t max;             /* most bytes it may hold */
    struct sw_arena *arena; /* where memory comes from; NULL: the heap */
    bool failed;
};

void sw_buf_init(struct sw_buf *buf, size_t max);                               /* heap; deinit needed */
void sw_buf_init_arena(struct sw_buf *buf, struct sw_arena *arena, size_t max); /* lives in the arena */
void sw_buf_deinit(struct sw_buf *buf);
void sw_buf_clear(struct sw_buf *buf); /* keeps the memory */

bool sw_buf_reserve(struct sw_buf *buf, size_t extra); /* room for `extra` more bytes and the NUL */
void sw_buf_append(struct sw_buf *buf, const void *data, size_t len);
void sw_buf_append_str(struct sw_buf *buf, struct sw_str s);
void sw_buf_append_c(struct sw_buf *buf, char c);
void sw_buf_printf(struct sw_buf *buf, const char *fmt, ...) SW_PRINTF(2, 3);
void sw_buf_vprintf(struct sw_buf *buf, const char *fmt, va_list args) SW_PRINTF(2, 0);

/* Appends s as a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD. */
void sw_buf_append_json(struct sw_buf *buf, struct sw_str s);

static inline struct sw_str sw_buf_str(const struct sw_buf *buf) {
    return (struct sw_str){buf->data, buf->len};
}

#define SW_LIT(buf, literal) sw_buf_append((buf), "" literal, sizeof(literal) - 1)

#endif
