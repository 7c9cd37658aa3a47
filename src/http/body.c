/* Request bodies: where their bytes are put, aligned, counted and bounded.
 *
 * A declared length up to BODY_AT_ONCE_MAX is reserved in the exchange's arena before data arrives. Longer and chunked
 * bodies grow geometrically on the heap, as data comes: who declares 64 MiB and sends nothing holds little memory, and
 * for large blocks realloc moves pages and not bytes. What is reserved counts for the server's buffered_max, apart from
 * small bodies, which connections_max bounds already.
 *
 * Invariant: (body.data + shift) % BODY_ALIGN == 0, where shift is binary_header_length if present, else 0. */
#include "base/memory.h"
#include "http/http_internal.h"

static size_t pad_for(const struct request *r, const char *base) {
    size_t shift = r->x.binary_header_length == SIZE_MAX ? 0 : r->x.binary_header_length;
    return (size_t)(0 - ((uintptr_t)base + shift)) % BODY_ALIGN;
}

/* Counts `extra` more bytes against buffered_max. */
static sw_status charge(struct request *r, size_t extra, struct sw_error *err) {
    struct sw_http_server *server = r->x.server;
    size_t before = atomic_fetch_add_explicit(&server->buffered, extra, memory_order_relaxed);
    if (before + extra > server->options.buffered_max) {
        atomic_fetch_sub_explicit(&server->buffered, extra, memory_order_relaxed);
        return sw_fail(err, SW_E_UNAVAILABLE, "the server holds too many request bodies at the moment");
    }
    r->charged += extra;
    return SW_OK;
}

static sw_status no_memory(struct sw_error *err, size_t bytes) {
    return sw_fail(err, SW_E_UNAVAILABLE, "no memory for a body of %zu bytes", bytes);
}

/* Room for `capacity` bytes, more than before. What is there is kept. */
sw_status sw_http_body_grow(struct request *r, struct body *body, size_t capacity, struct sw_error *err) {
    SW_ASSERT(capacity > body->capacity && (!body->base || body->on_heap));
    if (capacity > BODY_FREE_OF_CHARGE) {
        SW_TRY(charge(r, capacity - body->capacity, err));
    }
    size_t pad = body->base ? (size_t)(body->data - body->base) : 0;
    char *base = sw_realloc(body->base, capacity + BODY_ALIGN);
    if (!base) {
        return no_memory(err, capacity);
    }
    size_t new_pad = pad_for(r, base);
    if (body->len && new_pad != pad) {
        memmove(base + new_pad, base + pad, body->len);
    }
    body->base = base;
    body->data = base + new_pad;
    body->capacity = capacity;
    body->on_heap = true;
    return SW_OK;
}

void sw_http_body_release(struct request *r, struct body *body) {
    if (body->on_heap) {
        sw_free(body->base);
    }
    *body = (struct body){0};
}

void sw_http_bodies_release(struct request *r) {
    sw_http_body_release(r, &r->raw);
    sw_http_body_release(r, &r->decoded);
    if (r->charged) {
        atomic_fetch_sub_explicit(&r->x.server->buffered, r->charged, memory_order_relaxed);
        r->charged = 0;
    }
}

static sw_status too_large(const struct request *r, struct sw_error *err) {
    return sw_fail(err, SW_E_TOO_LARGE, "the body is larger than the limit of %zu bytes", r->body_limit);
}

sw_status sw_http_body_begin(struct request *r, struct sw_error *err) {
    if (r->x.content_length == UINT64_MAX) {
        return SW_OK;
    }
    if (r->x.content_length > r->body_limit) {
        return too_large(r, err);
    }
    size_t capacity = (size_t)r->x.content_length;
    if (capacity > BODY_AT_ONCE_MAX) {
        return SW_OK;
    }
    if (capacity > BODY_FREE_OF_CHARGE) {
        SW_TRY(charge(r, capacity, err));
    }
    char *base = sw_arena_alloc_aligned(&r->x.arena, capacity + BODY_ALIGN, BODY_ALIGN);
    if (!base) {
        return no_memory(err, capacity);
    }
    r->raw = (struct body){.base = base, .data = base + pad_for(r, base), .capacity = capacity};
    return SW_OK;
}

sw_status sw_http_body_append(struct request *r, const char *data, size_t len, struct sw_error *err) {
    struct body *body = &r->raw;
    if (len > r->body_limit - body->len) {
        return too_large(r, err);
    }
    size_t need = body->len + len;
    if (need > body->capacity) {
        size_t most = r->x.content_length < r->body_limit ? (size_t)r->x.content_length : r->body_limit;
        size_t capacity = body->capacity ? body->capacity * 2 : BODY_FREE_OF_CHARGE;
        if (body->capacity == 0 && r->x.content_length != UINT64_MAX) {
            capacity = BODY_AT_ONCE_MAX / 2;
        }
        capacity = capacity > most ? most : capacity;
        SW_TRY(sw_http_body_grow(r, body, capacity < need ? need : capacity, err));
    }
    memcpy(body->data + body->len, data, len);
    body->len = need;
    return SW_OK;
}
