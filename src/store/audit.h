/* The audit log: append-only rows, each carrying the hash of the one before.
 *
 * hash = SHA-256 over the previous hash and every field of the row in a fixed, length-prefixed order, so that
 * changing, removing, inserting or reordering rows breaks the chain at that row. `audit_head` holds the number and
 * hash of the newest row, so that rows cut off at the end are noticed too. (Who can rewrite the whole chain and its
 * head can hide it: keep the head that `audit verify` prints, or a backup, elsewhere.)
 *
 * Rows are appended inside the write transaction of the change they describe: either both exist or neither. */
#ifndef SW_STORE_AUDIT_H
#define SW_STORE_AUDIT_H

#include <jansson.h>

#include "store/store.h"

struct sw_audit_entry {
    const char *actor;      /* who: "anonymous", "key:ci", "system" */
    const char *action;     /* "model.create", "version.create", "alias.set", "stage.set", "model.promote", ... */
    const char *object;     /* "digits", "digits/3", "digits@champion" */
    const char *reason;     /* why, as given by the actor (of --force it must be); may be NULL */
    const char *request_id; /* may be NULL */
    json_t *before, *after; /* state before and after; NULL: none. Borrowed */
};

/* Within a write transaction. wall_ms: when. *ret_seq may be NULL. */
SW_MUST_CHECK sw_status sw_audit_append(struct sw_tx *tx, const struct sw_audit_entry *entry, uint64_t wall_ms,
                                        int64_t *ret_seq, struct sw_error *err);

struct sw_audit_report {
    int64_t rows;      /* rows checked */
    int64_t fault_seq; /* 0: the chain holds */
    char
        fault[256]; /* "row 17 was changed, or ...", "row 18 is missing", "rows 19 to 25 at the end are missing", ... */
    char head_hash[65]; /* of the newest row; "" when there is none */
};
/* Reads the whole chain, in pages. SW_OK also when a fault was found: see report. */
SW_MUST_CHECK sw_status sw_audit_verify(struct sw_store *store, struct sw_audit_report *ret, struct sw_error *err);

struct sw_audit_filter {
    int64_t before_seq;          /* rows below it; 0: from the newest */
    size_t limit;                /* at most 1000 */
    const char *object_prefix;   /* "digits" finds digits, digits/3, digits@champion, but not digits2; NULL: all */
    const char *action;          /* exact, or a prefix that ends with "."; NULL: all */
    const char *actor;           /* exact; NULL: all */
    uint64_t since_ms, until_ms; /* 0: open */
};
/* Newest first: [{"seq", "time" (RFC 3339), "actor", "action", "object", "reason", "request_id", "before", "after",
 * "hash"}]. *ret is a new reference. */
SW_MUST_CHECK sw_status sw_audit_list(struct sw_store *store, const struct sw_audit_filter *filter, json_t **ret,
                                      struct sw_error *err);

#endif
