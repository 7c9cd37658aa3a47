/* Status codes and error values.
 *
 * A function that can fail returns sw_status and takes, last, a `struct sw_error *err` that it fills on failure (the
 * caller may pass NULL). Outputs named ret_x are untouched on failure. A function reports or logs, never both: only
 * the boundary (a handler, a command) logs. The codes are declared in spec/errors.toml. */
#ifndef SW_BASE_ERROR_H
#define SW_BASE_ERROR_H

#include "base/macros.h"
#include "spec/errors.h"

enum { SW_ERROR_MESSAGE_MAX = 512 };

struct sw_error {
    sw_status code;
    const char *origin;                 /* file:line that first reported it; static */
    char message[SW_ERROR_MESSAGE_MAX]; /* for people, names the field or file; valid UTF-8; cut when too long */
};

struct sw_status_info {
    const char *name; /* what clients read, such as "not_found" */
    int http;         /* HTTP status */
    int exit;         /* exit code of a command */
    const char *text; /* one sentence for the reference */
};

/* Generated; index with any sw_status. */
extern const struct sw_status_info sw_status_table[SW_STATUS_COUNT];

static inline const char *sw_status_name(sw_status s) {
    return sw_status_table[s].name;
}

static inline int sw_status_http(sw_status s) {
    return sw_status_table[s].http;
}

/* Fills *err (when not NULL) and returns `code`, so that `return sw_fail(err, SW_E_IO, "...");` reads well. Bytes that
 * are not printable UTF-8 in the formatted message are replaced by '?'. */
sw_status sw_error_set(struct sw_error *err, sw_status code, const char *origin, const char *fmt, ...) SW_PRINTF(4, 5);
#define sw_fail(err, code, ...) sw_error_set((err), (code), SW_ORIGIN, __VA_ARGS__)

/* Puts "context: " in front of the message of an error already set; returns its code. Use: name the file or model. */
sw_status sw_error_prefix(struct sw_error *err, const char *fmt, ...) SW_PRINTF(2, 3);

#define SW_TRY(call)                       \
    do {                                   \
        sw_status sw_try_status_ = (call); \
        if (SW_UNLIKELY(sw_try_status_)) { \
            return sw_try_status_;         \
        }                                  \
    } while (0)

#endif
