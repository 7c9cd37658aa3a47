/* See wire.h. Source: the "Encoding" page of the Protocol Buffers documentation. Groups (kinds 3 and 4) are not read:
 * the formats walked here have none. */
#include "base/wire.h"

#include <errno.h>
#include <unistd.h>

void sw_wire_init_fd(struct sw_wire *wire, int fd, uint64_t size) {
    SW_ASSERT(fd >= 0);
    memset(wire, 0, offsetof(struct sw_wire, chunk));
    wire->fd = fd;
    wire->size = size;
}

void sw_wire_init_memory(struct sw_wire *wire, const void *data, size_t size) {
    memset(wire, 0, offsetof(struct sw_wire, chunk));
    wire->fd = -1;
    wire->memory = data;
    wire->size = size;
}

/* Fills the chunk from w->at on; false when there is nothing. */
static bool fill(struct sw_wire *w) {
    uint64_t left = w->size - w->at;
    size_t n = left < sizeof w->chunk ? (size_t)left : sizeof w->chunk;
    ssize_t got;
    do {
        got = pread(w->fd, w->chunk, n, (off_t)w->at);
    } while (got < 0 && errno == EINTR);
    w->chunk_at = w->at;
    w->chunk_len = got > 0 ? (size_t)got : 0;
    if (got < 0) {
        w->error = errno;
    }
    if (got <= 0) {
        w->broken = true;
    }
    return got > 0;
}

/* Bytes that lie ready at w->at: *ret points to them; 0: none are left, or they cannot be read. */
static size_t ready(struct sw_wire *w, uint64_t end, const unsigned char **ret) {
    if (w->at >= end || w->broken) {
        return 0;
    }
    uint64_t left = end - w->at;
    if (w->fd < 0) {
        *ret = w->memory + w->at;
        return left < SIZE_MAX ? (size_t)left : SIZE_MAX;
    }
    bool inside = w->at >= w->chunk_at && w->at - w->chunk_at < w->chunk_len;
    if (!inside && !fill(w)) {
        return 0;
    }
    size_t offset = (size_t)(w->at - w->chunk_at), n = w->chunk_len - offset;
    *ret = w->chunk + offset;
    return left < n ? (size_t)left : n;
}

uint64_t sw_wire_varint(struct sw_wire *w, uint64_t end) {
    uint64_t value = 0;
    const unsigned char *p;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (ready(w, end, &p) == 0) {
            break;
        }
        w->at++;
        value |= (uint64_t)(*p & 0x7f) << shift;
        if (!(*p & 0x80)) {
            return value;
        }
    }
    w->broken = true;
    return 0;
}

/* Goes on behind the field. */
static void pass(struct sw_wire *w, const struct sw_wire_field *field) {
    if (!w->broken && field->end > w->at) {
        w->at = field->end;
    }
}

bool sw_wire_next(struct sw_wire *w, uint64_t end, struct sw_wire_field *field) {
    SW_ASSERT(end <= w->size && field->end <= end);
    pass(w, field);
    if (w->broken || w->at >= end) {
        return false;
    }
    uint64_t tag = sw_wire_varint(w, end), size = 0;
    struct sw_wire_field f = {.number = (uint32_t)(tag >> 3), .kind = (enum sw_wire_kind)(tag & 7)};
    switch (f.kind) {
    case SW_WIRE_VARINT: f.value = sw_wire_varint(w, end); break;
    case SW_WIRE_FIXED64: size = 8; break;
    case SW_WIRE_FIXED32: size = 4; break;
    case SW_WIRE_BYTES: size = sw_wire_varint(w, end); break;
    default: w->broken = true;
    }
    w->fields++;
    if (w->broken || f.number == 0 || tag > UINT32_MAX || size > end - w->at ||
        (w->fields_max && w->fields > w->fields_max)) {
        w->broken = true;
        return false;
    }
    f.end = w->at + size;
    *field = f;
    return true;
}

uint64_t sw_wire_text(struct sw_wire *w, const struct sw_wire_field *field, char *ret, size_t size) {
    SW_ASSERT(field->kind == SW_WIRE_BYTES && size > 0 && field->end >= w->at);
    uint64_t length = field->end - w->at;
    size_t wanted = length < size ? (size_t)length : size - 1, used = 0;
    while (used < wanted) {
        const unsigned char *p = NULL;
        size_t n = ready(w, w->at + (wanted - used), &p);
        if (n == 0) {
            break;
        }
        memcpy(ret + used, p, n);
        used += n;
        w->at += n;
    }
    ret[used] = '\0';
    pass(w, field);
    return length;
}
