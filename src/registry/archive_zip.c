/* Zip, through libarchive's reader of the directory at the end (which alone tells links from files). Stored and
 * deflated entries only: other methods may ask for dictionaries of gigabytes.
 *
 * That directory is held in memory as a whole, so its entries are counted before libarchive sees it. Names are UTF-8,
 * whatever the locale of the process: the reading thread has one of its own meanwhile. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <locale.h>
#include <unistd.h>

#include "base/memory.h"
#include "registry/archive_internal.h"

enum { ENTRIES_PER_FILE = 4 };

static sw_status fail_zip(struct sw_unpack *u, struct archive *a) {
    const char *why = archive_error_string(a);
    return sw_fail(u->err, SW_E_MODEL_INVALID, "archive: %.300s%scannot be unpacked: %.150s", u->path,
                   u->path[0] ? ": " : "", why ? why : "broken");
}

/* How often the four bytes that begin an entry of the directory stand in the file: no fewer than there are entries. */
static sw_status count_entries(struct sw_unpack *u, int fd) {
    static const unsigned char mark[4] = "PK\x01\x02";
    size_t count = 0, kept = 0, max = (u->limits->files_max + 1) * ENTRIES_PER_FILE;
    uint64_t at = 0;
    for (;;) {
        ssize_t n = pread(fd, u->piece + kept, sizeof u->piece - kept, (off_t)at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return sw_fail(u->err, SW_E_IO, "archive: %s", strerror(errno));
        }
        if (n == 0) {
            return SW_OK;
        }
        at += (uint64_t)n;
        size_t len = kept + (size_t)n;
        const char *p = u->piece, *end = u->piece + len;
        while ((p = memmem(p, (size_t)(end - p), mark, sizeof mark))) {
            p += sizeof mark;
            if (++count > max) {
                return sw_fail(u->err, SW_E_TOO_LARGE, "archive: more than %zu entries", max);
            }
        }
        kept = len < 3 ? len : 3;
        memmove(u->piece, end - kept, kept);
    }
}

static enum sw_entry_kind entry_kind(struct archive_entry *entry, struct sw_str name) {
    if (archive_entry_symlink(entry) || archive_entry_hardlink(entry)) {
        return SW_ENTRY_LINK;
    }
    switch (archive_entry_filetype(entry)) {
    case AE_IFREG: return name.len && name.data[name.len - 1] == '/' ? SW_ENTRY_FOLDER : SW_ENTRY_FILE;
    case AE_IFDIR: return SW_ENTRY_FOLDER;
    case AE_IFLNK: return SW_ENTRY_LINK;
    default: return SW_ENTRY_OTHER;
    }
}

/* "ZIP 2.0 (deflation)": the only place where the method of an entry is told. */
static bool is_known_method(struct archive *a) {
    const char *name = archive_format_name(a);
    return name && (strstr(name, "(deflation)") || strstr(name, "(uncompressed)"));
}

static sw_status read_data(struct sw_unpack *u, struct archive *a) {
    for (;;) {
        la_ssize_t n = archive_read_data(a, u->piece, sizeof u->piece);
        if (n < 0) { /* a wrong checksum or size too, which libarchive calls a warning */
            return fail_zip(u, a);
        }
        if (n == 0) {
            return SW_OK;
        }
        SW_TRY(sw_unpack_data(u, u->piece, (size_t)n));
    }
}

static sw_status read_entry(struct sw_unpack *u, struct archive *a, struct archive_entry *entry) {
    const char *text = archive_entry_pathname_utf8(entry);
    struct sw_str name = sw_str_of(text ? text : archive_entry_pathname(entry));
    if (!name.data || name.len > SW_ARCHIVE_NAME_MAX) {
        return sw_fail(u->err, SW_E_MODEL_INVALID, "archive: an entry whose name cannot be read");
    }
    enum sw_entry_kind kind = entry_kind(entry, name);
    if (kind == SW_ENTRY_FILE && archive_entry_is_encrypted(entry)) {
        return sw_fail(u->err, SW_E_MODEL_INVALID, "archive: " SW_STR_FMT ": encrypted", SW_STR_ARG(name));
    }
    if (kind == SW_ENTRY_FILE && !archive_entry_size_is_set(entry)) {
        return sw_fail(u->err, SW_E_MODEL_INVALID, "archive: " SW_STR_FMT ": no size is given", SW_STR_ARG(name));
    }
    int64_t size = kind == SW_ENTRY_FILE ? archive_entry_size(entry) : 0;
    if (size < 0) {
        return sw_fail(u->err, SW_E_MODEL_INVALID, "archive: " SW_STR_FMT ": a size out of range", SW_STR_ARG(name));
    }
    if (kind == SW_ENTRY_FILE && !is_known_method(a)) {
        return sw_fail(u->err, SW_E_MODEL_INVALID, "archive: " SW_STR_FMT ": neither stored nor deflated: %.60s",
                       SW_STR_ARG(name), archive_format_name(a));
    }
    SW_TRY(sw_unpack_begin(u, name, kind, (uint64_t)size));
    if (kind == SW_ENTRY_FILE) {
        SW_TRY(read_data(u, a));
    }
    return sw_unpack_end(u);
}

static sw_status read_entries(struct sw_unpack *u, struct archive *a, int fd) {
    if (archive_read_support_format_zip_seekable(a) != ARCHIVE_OK) {
        return sw_fail(u->err, SW_E_NOT_IMPLEMENTED, "archive: this libarchive cannot unpack zip");
    }
    if (archive_read_open_fd(a, fd, 64 << 10) != ARCHIVE_OK) {
        return fail_zip(u, a);
    }
    for (;;) {
        struct archive_entry *entry;
        u->path[0] = '\0';
        int rc = archive_read_next_header(a, &entry);
        if (rc == ARCHIVE_EOF) {
            return SW_OK;
        }
        if (rc != ARCHIVE_OK) { /* also a warning: the two places where an entry is described say different things */
            return fail_zip(u, a);
        }
        SW_TRY(read_entry(u, a, entry));
    }
}

sw_status sw_unpack_zip(struct sw_unpack *u, int fd) {
    SW_TRY(count_entries(u, fd));
    struct archive *a = archive_read_new();
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    if (!a || !utf8) {
        archive_read_free(a);
        if (utf8) {
            freelocale(utf8);
        }
        return sw_fail(u->err, SW_E_UNAVAILABLE, a ? "archive: there is no locale C.UTF-8" : "out of memory");
    }
    locale_t before = uselocale(utf8);
    sw_status status = read_entries(u, a, fd);
    archive_read_free(a);
    uselocale(before);
    freelocale(utf8);
    return status;
}
