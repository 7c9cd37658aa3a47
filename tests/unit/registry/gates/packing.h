/* Archives for tests: tar written header by header (so that it can be wrong in every way), zip and compression by
 * libarchive. */
#ifndef TEST_REGISTRY_PACKING_H
#define TEST_REGISTRY_PACKING_H

#include "base/buf.h"

/* One entry, its content padded. `size` is what the header says; the content may have another. */
void tar_entry(struct sw_buf *tar, char type, const char *name, const char *link, uint64_t size, const void *data,
               size_t len);
void tar_file(struct sw_buf *tar, const char *name, const char *text);
void tar_pax(struct sw_buf *tar, char type, const char *key, const char *value); /* before an entry */
void tar_end(struct sw_buf *tar);
/* Corrects the checksum of the header at `offset` after a change. */
void tar_seal(struct sw_buf *tar, size_t offset);

/* filter: "gzip", "zstd", "xz", "bzip2". Into *ret, initialised by this call. */
void pack(const struct sw_buf *plain, const char *filter, struct sw_buf *ret);

struct zip_entry {
    const char *name, *text;
    const char *link; /* a symbolic link to that; NULL: a file */
    bool folder;
};
/* options: such as "zip:compression=store" or "zip:encryption=zipcrypt"; NULL. */
void zip(const struct zip_entry *entries, size_t count, const char *options, struct sw_buf *ret);

/* The bytes as a file without a name, at offset 0. */
int memory_file(const void *data, size_t len);

#endif
