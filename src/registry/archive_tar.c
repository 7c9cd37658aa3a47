/* Tar: ustar, the pax extension (POSIX.1-2001) and GNU's long names, from a stream that libarchive decompresses (gzip
 * and xz: archive_gzip.c, archive_xz.c).
 *
 *   [ headers of names ('x' pax, 'L' GNU) ]*  header  content, padded to 512   ...   two blocks of zeros
 *
 * Every number is checked against what is left before it is used; headers that carry names are bounded. An archive
 * must end with zeros: one that was cut between two files is no archive, and what stands behind the end belongs to
 * none. */
#include <archive.h>
#include <archive_entry.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/memory.h"
#include "registry/archive_internal.h"

enum { BLOCK = 512, EXTENSION_MAX = 1 << 20 };

struct header { /* as it stands in the file */
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100], magic[6], version[2];
    char owner[32], group[32], major[8], minor[8], prefix[155], rest[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "a tar header is one block");

struct tar {
    struct sw_unpack *u;
    struct archive *stream; /* plain or zstd; else NULL */
    struct sw_gzip *gzip;
    struct sw_xz *xz;
    uint64_t total, total_max; /* bytes of the unpacked stream */
    struct sw_buf path;        /* for the next entry, from 'x' or 'L' */
    bool has_path, has_size;
    uint64_t size; /* from 'x' */
};

static sw_status broken(struct tar *t, const char *what) {
    return sw_fail(t->u->err, SW_E_MODEL_INVALID, "archive: broken: %s", what);
}

/* the stream ------------------------------------------------------------------------------------------------------- */

/* Up to len bytes; *ret_len 0: the end. */
static sw_status read_some(struct tar *t, void *data, size_t len, size_t *ret_len) {
    la_ssize_t n = t->stream ? archive_read_data(t->stream, data, len) : 0;
    size_t got = n > 0 ? (size_t)n : 0;
    if (n < 0) {
        const char *why = archive_error_string(t->stream);
        return sw_fail(t->u->err, SW_E_MODEL_INVALID, "archive: cannot be unpacked: %.200s", why ? why : "broken");
    }
    if (t->gzip) {
        SW_TRY(sw_gzip_read(t->gzip, data, len, &got, t->u->err));
    }
    if (t->xz) {
        SW_TRY(sw_xz_read(t->xz, data, len, &got, t->u->err));
    }
    t->total += got;
    if (t->total > t->total_max) {
        return sw_fail(t->u->err, SW_E_TOO_LARGE, "archive: unpacks to more than %llu bytes",
                       (unsigned long long)t->total_max);
    }
    *ret_len = got;
    return SW_OK;
}

/* Exactly len bytes. */
static sw_status read_all(struct tar *t, void *data, size_t len) {
    size_t used = 0, n = 1;
    while (used < len && n) {
        SW_TRY(read_some(t, (char *)data + used, len - used, &n));
        used += n;
    }
    return used == len ? SW_OK : broken(t, "it ends in the middle");
}

static uint64_t padding(uint64_t size) {
    return (BLOCK - size % BLOCK) % BLOCK;
}

static sw_status skip(struct tar *t, uint64_t len) {
    while (len) {
        size_t n = len < SW_ARCHIVE_PIECE ? (size_t)len : SW_ARCHIVE_PIECE;
        SW_TRY(read_all(t, t->u->piece, n));
        len -= n;
    }
    return SW_OK;
}

/* headers ---------------------------------------------------------------------------------------------------------- */

/* Octal digits between blanks, ended by a blank or NUL; or, with the first bit set, a big-endian number (GNU). */
static bool read_number(const char *field, size_t len, uint64_t *ret) {
    uint64_t value = 0;
    size_t i = 0;
    if ((unsigned char)field[0] == 0x80) {
        for (i = 1; i < len; i++) {
            if (value >> 55) {
                return false;
            }
            value = value << 8 | (unsigned char)field[i];
        }
        *ret = value;
        return true;
    }
    while (i < len && field[i] == ' ') {
        i++;
    }
    for (; i < len && field[i] >= '0' && field[i] <= '7'; i++) {
        value = value << 3 | (uint64_t)(field[i] - '0'); /* at most 12 digits: 36 bits */
    }
    *ret = value;
    return i == len || field[i] == ' ' || field[i] == '\0';
}

static bool checksum_fits(const struct header *h) {
    const unsigned char *p = (const unsigned char *)h;
    uint64_t sum = 0, stored;
    for (size_t i = 0; i < BLOCK; i++) {
        bool own = i >= offsetof(struct header, checksum) && i < offsetof(struct header, type);
        sum += own ? ' ' : p[i];
    }
    return read_number(h->checksum, sizeof h->checksum, &stored) && stored == sum;
}

static bool is_zero(const void *data, size_t len) {
    const char *p = data;
    for (size_t i = 0; i < len; i++) {
        if (p[i]) {
            return false;
        }
    }
    return true;
}

static struct sw_str field_text(const char *field, size_t len) {
    return (struct sw_str){field, strnlen(field, len)};
}

/* The name of the entry: from an extension before it, else prefix and name. */
static struct sw_str entry_name(struct tar *t, const struct header *h, char *buffer, size_t size) {
    if (t->has_path) {
        return sw_buf_str(&t->path);
    }
    struct sw_str name = field_text(h->name, sizeof h->name), prefix = field_text(h->prefix, sizeof h->prefix);
    if (memcmp(h->magic, "ustar", 6) != 0 || !prefix.len) { /* GNU's magic has a blank there, and no prefix */
        return name;
    }
    int n = snprintf(buffer, size, "%.*s/%.*s", (int)prefix.len, prefix.data, (int)name.len, name.data);
    return (struct sw_str){buffer, n > 0 ? (size_t)n : 0};
}

static void set_path(struct tar *t, struct sw_str path) {
    sw_buf_clear(&t->path);
    sw_buf_append_str(&t->path, path);
    t->has_path = true;
}

/* extensions ------------------------------------------------------------------------------------------------------- */

/* "LENGTH KEY=VALUE\n", the length counting itself. */
static sw_status pax_record(struct tar *t, struct sw_str *rest, bool global) {
    struct sw_str digits, key, body = sw_str_split(*rest, ' ', &digits);
    uint64_t length;
    if (!body.data || !sw_parse_u64(digits, &length) || length <= digits.len + 1 || length > rest->len ||
        rest->data[length - 1] != '\n') {
        return broken(t, "a pax header");
    }
    body.len = (size_t)length - digits.len - 2; /* without the blank and the line's end */
    *rest = (struct sw_str){rest->data + length, rest->len - (size_t)length};
    struct sw_str value = sw_str_split(body, '=', &key);
    if (!value.data) {
        return broken(t, "a pax header without '='");
    }
    if (sw_str_starts(key, SW_STR("GNU.sparse."))) {
        return sw_fail(t->u->err, SW_E_MODEL_INVALID, "archive: sparse files are not taken; pack without --sparse");
    }
    if (global) {
        return SW_OK; /* comments, as of git archive */
    }
    if (sw_str_is(key, "path")) {
        set_path(t, value);
    } else if (sw_str_is(key, "size")) {
        t->has_size = sw_parse_u64(value, &t->size);
        return t->has_size ? SW_OK : broken(t, "the size in a pax header");
    }
    return SW_OK;
}

/* The content of an 'x', 'g', 'L' or 'K' header. */
static sw_status read_extension(struct tar *t, char type, uint64_t size) {
    if (size > EXTENSION_MAX) {
        return broken(t, "a header of more than 1 MiB");
    }
    SW_AUTO_FREE char *text = sw_malloc((size_t)size + 1);
    if (!text) {
        return sw_fail(t->u->err, SW_E_UNAVAILABLE, "out of memory");
    }
    SW_TRY(read_all(t, text, (size_t)size));
    SW_TRY(skip(t, padding(size)));
    struct sw_str rest = {text, (size_t)size};
    if (type == 'L') {
        set_path(t, field_text(text, (size_t)size));
    }
    while ((type == 'x' || type == 'g') && rest.len) {
        SW_TRY(pax_record(t, &rest, type == 'g'));
    }
    return t->path.failed ? broken(t, "a path of more than " SW_STRINGIFY(EXTENSION_MAX) " bytes") : SW_OK;
}

/* entries ---------------------------------------------------------------------------------------------------------- */

static enum sw_entry_kind entry_kind(const struct header *h, struct sw_str name) {
    switch (h->type) {
    case '\0': return name.len && name.data[name.len - 1] == '/' ? SW_ENTRY_FOLDER : SW_ENTRY_FILE;
    case '0':
    case '7': return SW_ENTRY_FILE;
    case '5': return SW_ENTRY_FOLDER;
    case '1':
    case '2': return SW_ENTRY_LINK;
    default: return SW_ENTRY_OTHER; /* devices, FIFOs, sparse files, pieces of other volumes */
    }
}

static sw_status read_entry(struct tar *t, const struct header *h, uint64_t size) {
    char buffer[sizeof h->prefix + sizeof h->name + 2];
    struct sw_str name = entry_name(t, h, buffer, sizeof buffer);
    enum sw_entry_kind kind = entry_kind(h, name);
    size = t->has_size ? t->size : size;
    if (size > INT64_MAX) {
        return broken(t, "a size out of range");
    }
    if (kind == SW_ENTRY_FOLDER) { /* some give folders a size; no content follows */
        size = 0;
    }
    SW_TRY(sw_unpack_begin(t->u, name, kind, size));
    for (uint64_t left = size; left;) {
        size_t n = left < SW_ARCHIVE_PIECE ? (size_t)left : SW_ARCHIVE_PIECE;
        SW_TRY(read_all(t, t->u->piece, n));
        SW_TRY(sw_unpack_data(t->u, t->u->piece, n));
        left -= n;
    }
    SW_TRY(skip(t, padding(size)));
    t->has_path = t->has_size = false;
    return sw_unpack_end(t->u);
}

/* Behind the first block of zeros there may be nothing but zeros. */
static sw_status read_tail(struct tar *t) {
    for (size_t n = 1; n;) {
        SW_TRY(read_some(t, t->u->piece, SW_ARCHIVE_PIECE, &n));
        if (!is_zero(t->u->piece, n)) {
            return broken(t, "there is data behind its end");
        }
    }
    return t->has_path || t->has_size ? broken(t, "it ends in the middle") : SW_OK;
}

static sw_status read_entries(struct tar *t) {
    struct header h;
    for (;;) {
        uint64_t size;
        SW_TRY(read_all(t, &h, sizeof h));
        if (is_zero(&h, sizeof h)) {
            return read_tail(t);
        }
        if (!checksum_fits(&h)) {
            return broken(t, "no tar, or a damaged header");
        }
        if (!read_number(h.size, sizeof h.size, &size)) {
            return broken(t, "a size that is no number");
        }
        bool extension = h.type == 'x' || h.type == 'g' || h.type == 'L' || h.type == 'K';
        if (extension) {
            SW_TRY(read_extension(t, h.type, size));
        } else if (h.type != 'V') { /* the name of the volume has no content */
            SW_TRY(read_entry(t, &h, size));
        }
    }
}

/* the decompressor ------------------------------------------------------------------------------------------------- */

/* Only the filter that is asked for; one that would run another program (ARCHIVE_WARN) is none. */
static sw_status set_up(struct tar *t, enum sw_archive_kind kind) {
    struct archive *a = t->stream;
    int rc = ARCHIVE_OK;
    if (kind == SW_ARCHIVE_ZSTD) {
        rc = archive_read_support_filter_zstd(a);
    }
    if (rc != ARCHIVE_OK || archive_read_support_format_raw(a) != ARCHIVE_OK) {
        return sw_fail(t->u->err, SW_E_NOT_IMPLEMENTED, "archive: this libarchive cannot unpack it");
    }
    return SW_OK;
}

static sw_status open_stream(struct tar *t, int fd, enum sw_archive_kind kind) {
    struct archive_entry *entry;
    if (kind == SW_ARCHIVE_XZ) {
        t->xz = sw_xz_create(fd);
        return t->xz ? SW_OK : sw_fail(t->u->err, SW_E_UNAVAILABLE, "out of memory");
    }
    if (kind == SW_ARCHIVE_GZIP) {
        t->gzip = sw_gzip_create(fd);
        return t->gzip ? SW_OK : sw_fail(t->u->err, SW_E_UNAVAILABLE, "out of memory");
    }
    t->stream = archive_read_new();
    if (!t->stream) {
        return sw_fail(t->u->err, SW_E_UNAVAILABLE, "out of memory");
    }
    SW_TRY(set_up(t, kind));
    if (archive_read_open_fd(t->stream, fd, 64 << 10) != ARCHIVE_OK ||
        archive_read_next_header(t->stream, &entry) != ARCHIVE_OK) {
        const char *why = archive_error_string(t->stream);
        return sw_fail(t->u->err, SW_E_MODEL_INVALID, "archive: cannot be unpacked: %.200s", why ? why : "empty");
    }
    if (archive_filter_count(t->stream) > (kind == SW_ARCHIVE_TAR ? 1 : 2)) {
        return sw_fail(t->u->err, SW_E_MODEL_INVALID, "archive: compressed more than once");
    }
    return SW_OK;
}

sw_status sw_unpack_tar(struct sw_unpack *u, int fd, enum sw_archive_kind kind) {
    struct tar t = {.u = u};
    if (__builtin_add_overflow(u->content_max, SW_ARCHIVE_OVERHEAD, &t.total_max)) {
        t.total_max = UINT64_MAX;
    }
    sw_buf_init(&t.path, EXTENSION_MAX);
    sw_status status = open_stream(&t, fd, kind);
    status = status ? status : read_entries(&t);
    archive_read_free(t.stream); /* NULL is allowed */
    sw_gzip_destroy(t.gzip);
    sw_xz_destroy(t.xz);
    sw_buf_deinit(&t.path);
    return status;
}
