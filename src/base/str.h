/* Borrowed strings: a pointer and a length, not necessarily NUL-terminated, never owned.
 *
 * Functions that take sw_str do not keep it beyond the call unless they say so. */
#ifndef SW_BASE_STR_H
#define SW_BASE_STR_H

#include <stdbool.h>
#include <string.h>

#include "base/macros.h"

struct sw_str {
    const char *data; /* may be NULL when len is 0 */
    size_t len;
};

#define SW_STR(literal) ((struct sw_str){"" literal, sizeof(literal) - 1})
#define SW_STR_FMT "%.*s"
#define SW_STR_ARG(s) (int)((s).len > 200 ? 200 : (s).len), ((s).data ? (s).data : "") /* for messages: cut at 200 */

static inline struct sw_str sw_str_of(const char *c_string) {
    return (struct sw_str){c_string, c_string ? strlen(c_string) : 0};
}

static inline bool sw_str_eq(struct sw_str a, struct sw_str b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool sw_str_is(struct sw_str a, const char *c_string) {
    size_t n = strlen(c_string);
    return a.len == n && (n == 0 || memcmp(a.data, c_string, n) == 0);
}

bool sw_str_ieq(struct sw_str a, struct sw_str b); /* ASCII case ignored */
bool sw_str_starts(struct sw_str s, struct sw_str prefix);
bool sw_str_ends(struct sw_str s, struct sw_str suffix);
struct sw_str sw_str_trim(struct sw_str s); /* spaces and tabs off both ends */

/* Splits at the first `separator`: *head gets what stands before it and the rest (after it) is returned; without one,
 * *head is all of s and the rest has data NULL. */
struct sw_str sw_str_split(struct sw_str s, char separator, struct sw_str *head);

/* Decimal integers, whole string, no blanks; false when malformed or out of range, *ret untouched. */
bool sw_parse_u64(struct sw_str s, uint64_t *ret);
bool sw_parse_i64(struct sw_str s, int64_t *ret);

/* True when s is well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF). */
bool sw_utf8_valid(struct sw_str s);

#endif
