/* Reading archives that strangers made: tar (plain, gzip, zstd, xz) and zip, as a stream of regular files.
 *
 *   archive.c       what kind of file is it; limits, paths and duplicates, the same for both
 *   archive_tar.c   tar: zstd by libarchive, headers here (libarchive's reader bounds no sparse map)
 *   archive_gzip.c  gzip, whose checksum must be checked
 *   archive_xz.c    xz, whose decompressor needs a limit of memory
 *   archive_zip.c   zip: by libarchive; stored and deflated entries
 *
 * Only regular files and folders are taken. Refused, naming the entry: links, devices, FIFOs, sparse and encrypted
 * files, absolute paths, "..", one path twice, more bytes than an entry announces or fewer, anything compressed more
 * than once, data behind the end. Left out: what macOS adds (._NAME, .DS_Store, __MACOSX). Memory is bounded whatever
 * the archive says. */
#ifndef SW_REGISTRY_ARCHIVE_INTERNAL_H
#define SW_REGISTRY_ARCHIVE_INTERNAL_H

#include "base/error.h"
#include "base/map.h"
#include "base/str.h"
#include "registry/registry_internal.h"

struct sw_archive_limits {
    size_t files_max;
    uint64_t bytes_max;  /* of all files together */
    uint64_t ratio_max;  /* bytes of all files: at most this many times the packed size ... */
    uint64_t ratio_from; /* ... or this many */
};

/* Called for each file in the order of the archive: begin, data (any number of times), end. What they return ends the
 * reading. */
struct sw_archive_sink {
    void *arg;
    /* path: valid (sw_registry_path_valid), never twice, until `end` returns. size: as announced, and what data will
     * bring. */
    sw_status (*begin)(void *arg, const char *path, uint64_t size, struct sw_error *err);
    sw_status (*data)(void *arg, const void *data, size_t len, struct sw_error *err);
    sw_status (*end)(void *arg, struct sw_error *err);
};

enum sw_archive_kind {
    SW_ARCHIVE_NONE,
    SW_ARCHIVE_TAR,
    SW_ARCHIVE_GZIP,
    SW_ARCHIVE_ZSTD,
    SW_ARCHIVE_XZ,
    SW_ARCHIVE_ZIP
};
/* By its first bytes; the three packed ones are taken for a packed tar. SW_E_IO. */
SW_MUST_CHECK sw_status sw_archive_detect(int fd, enum sw_archive_kind *ret, struct sw_error *err);

/* fd: a regular file; its offset is moved. SW_E_MODEL_INVALID: broken or refused; SW_E_TOO_LARGE: beyond a limit;
 * SW_E_IO. */
SW_MUST_CHECK sw_status sw_archive_read(int fd, enum sw_archive_kind kind, const struct sw_archive_limits *limits,
                                        const struct sw_archive_sink *sink, struct sw_error *err);

/* ---- between these files */

enum {
    SW_ARCHIVE_PIECE = 256 << 10, /* bytes handed on at once */
    SW_ARCHIVE_OVERHEAD =
        64 << 20,              /* bytes of a tar that are no content of files: headers, padding, what is left out */
    SW_ARCHIVE_NAME_MAX = 8192 /* bytes of a path before it is cleaned */
};

struct sw_unpack {
    const struct sw_archive_limits *limits;
    const struct sw_archive_sink *sink;
    struct sw_error *err;
    uint64_t packed; /* size of the archive */
    uint64_t content_max;
    uint64_t bytes; /* of files so far */
    size_t files, entries;
    struct sw_map seen;                  /* paths */
    char path[SW_REGISTRY_PATH_MAX + 1]; /* of the entry, cleaned */
    bool taken;                          /* it is passed on */
    uint64_t announced, received;
    char piece[SW_ARCHIVE_PIECE];
};

enum sw_entry_kind { SW_ENTRY_FILE, SW_ENTRY_FOLDER, SW_ENTRY_LINK, SW_ENTRY_OTHER };

/* An entry begins: checks it, counts it, decides whether it is taken (folders and junk are not). size: its content. */
SW_MUST_CHECK sw_status sw_unpack_begin(struct sw_unpack *u, struct sw_str name, enum sw_entry_kind kind,
                                        uint64_t size);
SW_MUST_CHECK sw_status sw_unpack_data(struct sw_unpack *u, const void *data, size_t len);
/* The entry ends: has it brought what it announced? */
SW_MUST_CHECK sw_status sw_unpack_end(struct sw_unpack *u);
/* SW_E_MODEL_INVALID: "archive: PATH: what". */
sw_status sw_unpack_refuse(struct sw_unpack *u, const char *what);

struct sw_xz;
struct sw_xz *sw_xz_create(int fd);   /* from its offset on; NULL: out of memory */
void sw_xz_destroy(struct sw_xz *xz); /* NULL is allowed */
/* Up to len bytes; *ret_len less than len: the end. SW_E_MODEL_INVALID, SW_E_TOO_LARGE (of memory), SW_E_IO. */
SW_MUST_CHECK sw_status sw_xz_read(struct sw_xz *xz, void *data, size_t len, size_t *ret_len, struct sw_error *err);

struct sw_gzip;
struct sw_gzip *sw_gzip_create(int fd); /* as sw_xz_create */
void sw_gzip_destroy(struct sw_gzip *gzip);
/* As sw_xz_read; len at most SW_ARCHIVE_PIECE. */
SW_MUST_CHECK sw_status sw_gzip_read(struct sw_gzip *gzip, void *data, size_t len, size_t *ret_len,
                                     struct sw_error *err);

SW_MUST_CHECK sw_status sw_unpack_tar(struct sw_unpack *u, int fd, enum sw_archive_kind kind);
SW_MUST_CHECK sw_status sw_unpack_zip(struct sw_unpack *u, int fd);

#endif
