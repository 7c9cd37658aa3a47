/* See npz.h. Libarchive's streaming reader goes from entry to entry and never trusts the directory at the end; an
 * entry's data is taken as it comes, up to the limit, whatever size it announces. */
#include "cli/npz.h"

#include <archive.h>
#include <archive_entry.h>

#include "base/buf.h"
#include "base/memory.h"
#include "tensor/npy.h"

enum { ENTRIES_MAX = 4096, PIECE = 1 << 20 };

struct reader {
    struct archive *archive;
    struct sw_arena *arena;
    struct sw_tensor *tensors; /* SW_NPZ_ARRAYS_MAX */
    size_t count;
    size_t bytes; /* unpacked so far */
    struct sw_error *err;
};

static sw_status broken(struct reader *r) {
    const char *why = archive_error_string(r->archive);
    return sw_fail(r->err, SW_E_INVALID_ARGUMENT, "not a .npz file: %.200s", why ? why : "broken");
}

/* The entry's data on the heap. */
static sw_status read_data(struct reader *r, struct sw_buf *data) {
    for (;;) {
        if (!sw_buf_reserve(data, PIECE)) {
            return sw_fail(r->err, SW_E_TOO_LARGE, "arrays of more than %zu bytes", SW_NPZ_BYTES_MAX);
        }
        la_ssize_t n = archive_read_data(r->archive, data->data + data->len, PIECE);
        if (n < 0) {
            return broken(r);
        }
        if (n == 0) {
            return SW_OK;
        }
        data->len += (size_t)n;
        r->bytes += (size_t)n;
        if (r->bytes > SW_NPZ_BYTES_MAX) {
            return sw_fail(r->err, SW_E_TOO_LARGE, "arrays of more than %zu bytes", SW_NPZ_BYTES_MAX);
        }
    }
}

static sw_status add_array(struct reader *r, struct sw_str name, struct sw_str data) {
    char *copy = sw_arena_alloc_aligned(r->arena, data.len, 64);
    char *own_name = sw_arena_strdup(r->arena, name);
    if (!copy || !own_name) {
        return sw_fail(r->err, SW_E_UNAVAILABLE, "no memory for an array of %zu bytes", data.len);
    }
    if (data.len) {
        memcpy(copy, data.data, data.len);
    }
    struct sw_tensor t;
    SW_TRY(sw_npy_read((struct sw_str){copy, data.len}, r->arena, &t, r->err));
    t.name = (struct sw_str){own_name, name.len};
    for (size_t i = 0; i < r->count; i++) {
        if (sw_str_eq(r->tensors[i].name, name)) {
            return sw_fail(r->err, SW_E_INVALID_ARGUMENT, "two arrays of the same name");
        }
    }
    r->tensors[r->count++] = t;
    return SW_OK;
}

static sw_status read_entry(struct reader *r, struct archive_entry *entry) {
    const char *path = archive_entry_pathname(entry);
    struct sw_str name = sw_str_of(path ? path : "");
    if (!sw_str_ends(name, SW_STR(".npy"))) {
        return SW_OK;
    }
    name.len -= 4;
    if (archive_entry_is_encrypted(entry)) {
        return sw_fail(r->err, SW_E_INVALID_ARGUMENT, "array '" SW_STR_FMT "' is encrypted", SW_STR_ARG(name));
    }
    if (r->count == SW_NPZ_ARRAYS_MAX) {
        return sw_fail(r->err, SW_E_TOO_LARGE, "more than %d arrays", SW_NPZ_ARRAYS_MAX);
    }
    SW_CLEANUP(sw_buf_deinit) struct sw_buf data;
    sw_buf_init(&data, SW_NPZ_BYTES_MAX + PIECE + 1);
    SW_TRY(read_data(r, &data));
    sw_status status = add_array(r, name, sw_buf_str(&data));
    return status && r->err ? sw_error_prefix(r->err, "array '" SW_STR_FMT "'", SW_STR_ARG(name)) : status;
}

static sw_status read_entries(struct reader *r, struct sw_str bytes) {
    if (archive_read_support_format_zip_streamable(r->archive) != ARCHIVE_OK ||
        archive_read_open_memory(r->archive, bytes.data, bytes.len) != ARCHIVE_OK) {
        return broken(r);
    }
    for (size_t i = 0;; i++) {
        struct archive_entry *entry;
        int rc = archive_read_next_header(r->archive, &entry);
        if (rc == ARCHIVE_EOF) {
            return SW_OK;
        }
        if (rc != ARCHIVE_OK) {
            return broken(r);
        }
        if (i == ENTRIES_MAX) {
            return sw_fail(r->err, SW_E_TOO_LARGE, "more than %d entries", ENTRIES_MAX);
        }
        SW_TRY(read_entry(r, entry));
    }
}

sw_status sw_npz_read(struct sw_str bytes, struct sw_arena *arena, struct sw_tensor **ret, size_t *ret_count,
                      struct sw_error *err) {
    struct reader r = {.arena = arena, .err = err};
    r.tensors = sw_arena_calloc(arena, SW_NPZ_ARRAYS_MAX, sizeof *r.tensors);
    r.archive = archive_read_new();
    sw_status status = r.tensors && r.archive ? read_entries(&r, bytes)
                                              : sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
    archive_read_free(r.archive);
    if (!status) {
        *ret = r.tensors;
        *ret_count = r.count;
    }
    return status;
}
