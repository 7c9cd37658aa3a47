/* The binary tensor form. In memory and on the wire fixed-size types look alike (little-endian), so reading borrows and
 * writing borrows; only BYTES is taken apart and put together. */
#include "tensor/binary.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the wire is little-endian and so is memory");

enum { LENGTH_SIZE = 4, DATA_ALIGN = 64 };

static sw_status read_bytes(struct sw_tensor *t, struct sw_str blob, struct sw_arena *arena, struct sw_error *err) {
    if (blob.len / LENGTH_SIZE < t->count) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT,
                       "tensor \"" SW_STR_FMT "\": %zu bytes of binary data cannot hold %zu BYTES elements",
                       SW_STR_ARG(t->name), blob.len, t->count);
    }
    struct sw_str *elements = sw_arena_alloc(arena, t->count * sizeof *elements);
    if (!elements) {
        return sw_fail(err, SW_E_UNAVAILABLE, "tensor \"" SW_STR_FMT "\": no memory for %zu elements",
                       SW_STR_ARG(t->name), t->count);
    }
    size_t at = 0;
    for (size_t i = 0; i < t->count; i++) {
        uint32_t length = 0;
        size_t left = blob.len - at;
        if (left >= LENGTH_SIZE) {
            memcpy(&length, blob.data + at, LENGTH_SIZE);
        }
        if (left < LENGTH_SIZE || length > left - LENGTH_SIZE) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT,
                           "tensor \"" SW_STR_FMT "\": element %zu reaches beyond the %zu bytes of binary data",
                           SW_STR_ARG(t->name), i, blob.len);
        }
        elements[i] = (struct sw_str){blob.data + at + LENGTH_SIZE, length};
        at += LENGTH_SIZE + length;
    }
    if (at != blob.len) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT,
                       "tensor \"" SW_STR_FMT "\": its %zu elements take %zu bytes of binary data, %zu were given",
                       SW_STR_ARG(t->name), t->count, at, blob.len);
    }
    t->data = elements;
    return SW_OK;
}

static sw_status check_bool(const struct sw_tensor *t, struct sw_str blob, struct sw_error *err) {
    const unsigned char *bytes = (const unsigned char *)blob.data;
    unsigned char seen = 0;
    for (size_t i = 0; i < blob.len; i++) {
        seen |= bytes[i];
    }
    for (size_t i = 0; seen > 1; i++) {
        if (bytes[i] > 1) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "tensor \"" SW_STR_FMT "\": element %zu is %u, a BOOL is 0 or 1",
                           SW_STR_ARG(t->name), i, bytes[i]);
        }
    }
    return SW_OK;
}

sw_status sw_binary_read(struct sw_tensor *t, struct sw_str blob, struct sw_arena *arena, struct sw_error *err) {
    if (t->dtype == SW_DTYPE_BYTES) {
        return read_bytes(t, blob, arena, err);
    }
    size_t size = sw_dtype_size(t->dtype), want = t->count * size;
    if (blob.len != want) {
        char text[128];
        return sw_fail(err, SW_E_INVALID_ARGUMENT,
                       "tensor \"" SW_STR_FMT "\": shape %s of %s takes %zu bytes of binary data, %zu were given",
                       SW_STR_ARG(t->name), sw_shape_format(t->shape, t->rank, text, sizeof text),
                       sw_dtype_name(t->dtype), want, blob.len);
    }
    if (t->dtype == SW_DTYPE_BOOL) {
        SW_TRY(check_bool(t, blob, err));
    }
    if (want && ((uintptr_t)blob.data & (size - 1)) == 0) {
        t->data = (void *)(uintptr_t)blob.data; /* borrowed; tensors of requests are only read */
        return SW_OK;
    }
    void *copy = sw_arena_alloc_aligned(arena, want, DATA_ALIGN);
    if (!copy) {
        return sw_fail(err, SW_E_UNAVAILABLE, "tensor \"" SW_STR_FMT "\": no memory for %zu bytes", SW_STR_ARG(t->name),
                       want);
    }
    if (want) {
        memcpy(copy, blob.data, want);
    }
    t->data = copy;
    return SW_OK;
}

size_t sw_binary_size(const struct sw_tensor *t) {
    if (t->dtype != SW_DTYPE_BYTES) {
        return t->count * sw_dtype_size(t->dtype);
    }
    const struct sw_str *elements = t->data;
    size_t size = t->count * LENGTH_SIZE;
    for (size_t i = 0; i < t->count; i++) {
        size += elements[i].len;
    }
    return size;
}

sw_status sw_binary_write(const struct sw_tensor *t, struct sw_arena *arena, struct sw_str *ret, struct sw_error *err) {
    size_t size = sw_binary_size(t);
    if (t->dtype != SW_DTYPE_BYTES) {
        *ret = (struct sw_str){t->data, size};
        return SW_OK;
    }
    const struct sw_str *elements = t->data;
    char *blob = sw_arena_alloc(arena, size), *out = blob;
    if (!blob) {
        return sw_fail(err, SW_E_UNAVAILABLE, "tensor \"" SW_STR_FMT "\": no memory for %zu bytes", SW_STR_ARG(t->name),
                       size);
    }
    for (size_t i = 0; i < t->count; i++) {
        if (elements[i].len > UINT32_MAX) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT,
                           "tensor \"" SW_STR_FMT "\": element %zu is longer than 4 GiB, which binary data cannot hold",
                           SW_STR_ARG(t->name), i);
        }
        uint32_t length = (uint32_t)elements[i].len;
        memcpy(out, &length, LENGTH_SIZE);
        if (length) {
            memcpy(out + LENGTH_SIZE, elements[i].data, length);
        }
        out += LENGTH_SIZE + length;
    }
    *ret = (struct sw_str){blob, size};
    return SW_OK;
}
