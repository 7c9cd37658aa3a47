/* A walk over the fields of a protobuf message that lies in a file or in memory.
 *
 * The message is never held as a whole: a file is read with pread in pieces of a few KiB, and what the caller does
 * not walk into is skipped without being read. So a file of 2 GB costs as much memory as one of 2 KB.
 *
 *   struct sw_wire_field f = {0};
 *   while (sw_wire_next(w, end, &f)) { ... }
 *
 * gives the fields before `end` one after another. A field of bytes (text, packed numbers, a message) is left unread:
 * walk into it with an inner loop up to f.end, read it with sw_wire_text, or leave it: the next turn goes on behind
 * f.end by itself.
 *
 * Invariants: nothing is read at or beyond the end of the message walked in; messages only nest inward; once
 * something was malformed, `broken` stays set and every call finds nothing more. One owner at a time. */
#ifndef SW_BASE_WIRE_H
#define SW_BASE_WIRE_H

#include "base/macros.h"
#include "base/str.h"

enum sw_wire_kind { SW_WIRE_VARINT = 0, SW_WIRE_FIXED64 = 1, SW_WIRE_BYTES = 2, SW_WIRE_FIXED32 = 5 };
enum { SW_WIRE_CHUNK = 8192 };

struct sw_wire {
    int fd;                      /* -1: memory */
    const unsigned char *memory; /* borrowed */
    uint64_t size;               /* of the whole */
    uint64_t at;                 /* where the next byte is read */
    uint64_t fields;             /* seen so far */
    uint64_t fields_max;         /* more are malformed; 0: no limit */
    bool broken;
    int error; /* errno of a failed read, which is `broken` too; 0: none */
    uint64_t chunk_at;
    size_t chunk_len;
    unsigned char chunk[SW_WIRE_CHUNK];
};

struct sw_wire_field {
    uint32_t number;
    enum sw_wire_kind kind;
    uint64_t value; /* of a varint */
    uint64_t end;   /* where the field ends */
};

void sw_wire_init_fd(struct sw_wire *wire, int fd, uint64_t size); /* fd is borrowed; its offset is not used */
void sw_wire_init_memory(struct sw_wire *wire, const void *data, size_t size);

/* *field: zeroed before the first call, and as the last call left it after that. false: the end of the message, or
 * malformed (wire->broken). */
bool sw_wire_next(struct sw_wire *wire, uint64_t end, struct sw_wire_field *field);
/* The next varint before `end`, for packed numbers; 0 when malformed. */
uint64_t sw_wire_varint(struct sw_wire *wire, uint64_t end);
/* Copies the field of bytes just found, NUL-terminated, cut to `size`; returns its whole length. */
uint64_t sw_wire_text(struct sw_wire *wire, const struct sw_wire_field *field, char *ret, size_t size);

static inline bool sw_wire_is_bytes(const struct sw_wire_field *field, uint32_t number) {
    return field->kind == SW_WIRE_BYTES && field->number == number;
}
static inline bool sw_wire_is_varint(const struct sw_wire_field *field, uint32_t number) {
    return field->kind == SW_WIRE_VARINT && field->number == number;
}

#endif
