/* The hash of an audit row, for appending and for verifying. */
#ifndef SW_STORE_AUDIT_INTERNAL_H
#define SW_STORE_AUDIT_INTERNAL_H

#include "store/audit.h"

enum { SW_AUDIT_HASH_MAX = 65 }; /* hex and NUL */

struct sw_audit_row {
    int64_t seq, time_ms;
    const char *actor, *action, *object, *reason, *request_id, *before, *after; /* NULL where SQL has it */
    const char *hash;
};

/* SHA-256 over the hash of the row before ("" for the first), then seq and time_ms as 8 bytes, then each text: one
 * byte 0 for NULL, or 1, its length as 8 bytes, and its bytes. Numbers are big-endian. */
void sw_audit_hash(const char *previous, const struct sw_audit_row *row, char ret_hash[SW_AUDIT_HASH_MAX]);

#define SW_AUDIT_COLUMNS "seq, time_ms, actor, action, object, reason, request_id, before_json, after_json, hash"
void sw_audit_read_row(const struct sw_rows *rows, size_t row, struct sw_audit_row *ret);

#endif
