/* What kind of archive a file is, and what every entry of one must keep to. See archive_internal.h. */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "registry/archive_internal.h"

enum { TAR_BLOCK = 512, ENTRIES_PER_FILE = 4 };

/* kinds ------------------------------------------------------------------------------------------------------------ */

/* Every tar, however old, has the sum of its first header's bytes in that header, the sum itself counted as blanks. */
static bool is_tar_header(const unsigned char *block) {
    uint64_t sum = 0, stored = 0;
    size_t i = 148;
    for (size_t k = 0; k < TAR_BLOCK; k++) {
        sum += k >= 148 && k < 156 ? ' ' : block[k];
    }
    while (i < 156 && block[i] == ' ') {
        i++;
    }
    size_t first = i;
    for (; i < 156 && block[i] >= '0' && block[i] <= '7'; i++) {
        stored = stored * 8 + (uint64_t)(block[i] - '0');
    }
    return i > first && stored == sum;
}

sw_status sw_archive_detect(int fd, enum sw_archive_kind *ret, struct sw_error *err) {
    unsigned char block[TAR_BLOCK] = {0};
    ssize_t n;
    do {
        n = pread(fd, block, sizeof block, 0);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return sw_fail(err, SW_E_IO, "archive: %s", strerror(errno));
    }
    static const struct {
        enum sw_archive_kind kind;
        size_t len;
        const char *bytes;
    } magic[] = {{SW_ARCHIVE_GZIP, 2, "\x1f\x8b"},
                 {SW_ARCHIVE_ZSTD, 4, "\x28\xb5\x2f\xfd"},
                 {SW_ARCHIVE_XZ, 6, "\xfd\x37zXZ\x00"},
                 {SW_ARCHIVE_ZIP, 4, "PK\x03\x04"},
                 {SW_ARCHIVE_ZIP, 4, "PK\x05\x06"}};
    *ret = n == TAR_BLOCK && is_tar_header(block) ? SW_ARCHIVE_TAR : SW_ARCHIVE_NONE;
    for (size_t i = 0; i < SW_COUNTOF(magic); i++) {
        if ((size_t)n >= magic[i].len && memcmp(block, magic[i].bytes, magic[i].len) == 0) {
            *ret = magic[i].kind;
        }
    }
    return SW_OK;
}

/* entries ---------------------------------------------------------------------------------------------------------- */

sw_status sw_unpack_refuse(struct sw_unpack *u, const char *what) {
    return sw_fail(u->err, SW_E_MODEL_INVALID, "archive: %.300s: %s", u->path[0] ? u->path : "(an entry)", what);
}

/* The name without "." and empty parts into u->path; a name that is not UTF-8 or too long is refused with what it
 * looks like. */
static sw_status clean_path(struct sw_unpack *u, struct sw_str name) {
    struct sw_str rest = name, part;
    size_t used = 0;
    u->path[0] = '\0';
    if (name.len && name.data[0] == '/') {
        return sw_fail(u->err, SW_E_MODEL_INVALID, "archive: \"" SW_STR_FMT "\": an absolute path", SW_STR_ARG(name));
    }
    while (rest.data) {
        rest = sw_str_split(rest, '/', &part);
        if (part.len == 0 || sw_str_is(part, ".")) {
            continue;
        }
        if (sw_str_is(part, "..")) {
            return sw_fail(u->err, SW_E_MODEL_INVALID, "archive: \"" SW_STR_FMT "\": a path with \"..\"",
                           SW_STR_ARG(name));
        }
        if (used + part.len + 1 > SW_REGISTRY_PATH_MAX) {
            return sw_fail(u->err, SW_E_MODEL_INVALID, "archive: \"" SW_STR_FMT "\": a path of more than %d bytes",
                           SW_STR_ARG(name), SW_REGISTRY_PATH_MAX);
        }
        if (used) {
            u->path[used++] = '/';
        }
        memcpy(u->path + used, part.data, part.len);
        used += part.len;
        u->path[used] = '\0';
    }
    struct sw_str path = {u->path, used};
    if (used && !sw_registry_path_valid(path)) {
        return sw_fail(u->err, SW_E_MODEL_INVALID,
                       "archive: \"" SW_STR_FMT "\": not a path of printable UTF-8 without backslashes",
                       SW_STR_ARG(name));
    }
    return SW_OK;
}

/* What macOS puts beside the files of an archive. */
static bool is_junk(struct sw_str path) {
    struct sw_str part;
    while (path.data) {
        path = sw_str_split(path, '/', &part);
        if (sw_str_is(part, "__MACOSX") || sw_str_is(part, ".DS_Store") || sw_str_starts(part, SW_STR("._"))) {
            return true;
        }
    }
    return false;
}

static sw_status count_file(struct sw_unpack *u, uint64_t size) {
    static char marker;
    const struct sw_archive_limits *limits = u->limits;
    if (sw_map_put(&u->seen, sw_str_of(u->path), &marker)) {
        return sw_unpack_refuse(u, "stands in the archive twice");
    }
    if (++u->files > limits->files_max) {
        return sw_fail(u->err, SW_E_TOO_LARGE, "archive: more than %zu files", limits->files_max);
    }
    if (size > limits->bytes_max - u->bytes) {
        return sw_fail(u->err, SW_E_TOO_LARGE, "archive: its files have more than %llu bytes",
                       (unsigned long long)limits->bytes_max);
    }
    if (size > u->content_max - u->bytes) {
        return sw_fail(u->err, SW_E_TOO_LARGE,
                       "archive: its files have more than %llu times the %llu bytes of the archive",
                       (unsigned long long)limits->ratio_max, (unsigned long long)u->packed);
    }
    u->bytes += size;
    return SW_OK;
}

sw_status sw_unpack_begin(struct sw_unpack *u, struct sw_str name, enum sw_entry_kind kind, uint64_t size) {
    SW_TRY(clean_path(u, name));
    u->announced = size;
    u->received = 0;
    u->taken = false;
    if (++u->entries > (u->limits->files_max + 1) * ENTRIES_PER_FILE) {
        return sw_fail(u->err, SW_E_TOO_LARGE, "archive: more than %zu entries", u->entries - 1);
    }
    switch (kind) {
    case SW_ENTRY_FOLDER: return SW_OK;
    case SW_ENTRY_LINK: return sw_unpack_refuse(u, "a link; only regular files and folders are taken");
    case SW_ENTRY_OTHER: return sw_unpack_refuse(u, "neither a regular file nor a folder");
    case SW_ENTRY_FILE: break;
    }
    if (!u->path[0]) {
        return sw_unpack_refuse(u, "a file without a name");
    }
    if (is_junk(sw_str_of(u->path))) {
        return SW_OK;
    }
    SW_TRY(count_file(u, size));
    u->taken = true;
    return u->sink->begin(u->sink->arg, u->path, size, u->err);
}

sw_status sw_unpack_data(struct sw_unpack *u, const void *data, size_t len) {
    if (len > u->announced - u->received) {
        return sw_unpack_refuse(u, "has more bytes than it announces");
    }
    u->received += len;
    return u->taken && len ? u->sink->data(u->sink->arg, data, len, u->err) : SW_OK;
}

sw_status sw_unpack_end(struct sw_unpack *u) {
    if (u->received != u->announced) {
        return sw_unpack_refuse(u, "has fewer bytes than it announces");
    }
    return u->taken ? u->sink->end(u->sink->arg, u->err) : SW_OK;
}

/* the whole -------------------------------------------------------------------------------------------------------- */

sw_status sw_archive_read(int fd, enum sw_archive_kind kind, const struct sw_archive_limits *limits,
                          const struct sw_archive_sink *sink, struct sw_error *err) {
    struct stat st;
    SW_ASSERT(kind != SW_ARCHIVE_NONE);
    if (fstat(fd, &st) != 0 || lseek(fd, 0, SEEK_SET) != 0) {
        return sw_fail(err, SW_E_IO, "archive: %s", strerror(errno));
    }
    struct sw_unpack *u = SW_NEW(struct sw_unpack);
    u->limits = limits;
    u->sink = sink;
    u->err = err;
    u->packed = (uint64_t)st.st_size;
    if (__builtin_mul_overflow(u->packed, limits->ratio_max, &u->content_max)) {
        u->content_max = UINT64_MAX;
    }
    if (u->content_max < limits->ratio_from) {
        u->content_max = limits->ratio_from;
    }
    sw_map_init(&u->seen);
    sw_status status = kind == SW_ARCHIVE_ZIP ? sw_unpack_zip(u, fd) : sw_unpack_tar(u, fd, kind);
    sw_map_deinit(&u->seen);
    sw_free(u);
    return status;
}
