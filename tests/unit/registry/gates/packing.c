#include "packing.h"

#include <archive.h>
#include <archive_entry.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"

enum { BLOCK = 512 };

/* Octal digits that fill the field but its last byte, a NUL. */
static void octal(char *field, size_t size, uint64_t value) {
    field[size - 1] = '\0';
    for (size_t i = size - 1; i-- > 0; value >>= 3) {
        field[i] = (char)('0' + (value & 7));
    }
}

void tar_seal(struct sw_buf *tar, size_t offset) {
    unsigned char *h = (unsigned char *)tar->data + offset;
    unsigned sum = 0;
    memset(h + 148, ' ', 8);
    for (size_t i = 0; i < BLOCK; i++) {
        sum += h[i];
    }
    octal((char *)h + 148, 7, sum);
}

static void copy(char *field, size_t size, const char *text) {
    size_t n = strlen(text);
    memcpy(field, text, n < size ? n : size);
}

static void pad(struct sw_buf *tar) {
    static const char zeros[BLOCK];
    sw_buf_append(tar, zeros, (BLOCK - tar->len % BLOCK) % BLOCK);
}

void tar_entry(struct sw_buf *tar, char type, const char *name, const char *link, uint64_t size, const void *data,
               size_t len) {
    char h[BLOCK] = {0};
    size_t at = tar->len;
    copy(h, 100, name);
    octal(h + 100, 8, 0644);
    octal(h + 108, 8, 0);
    octal(h + 116, 8, 0);
    octal(h + 124, 12, size);
    octal(h + 136, 12, 0);
    h[156] = type;
    copy(h + 157, 100, link);
    memcpy(h + 257, "ustar\00000", 8);
    sw_buf_append(tar, h, sizeof h);
    tar_seal(tar, at);
    sw_buf_append(tar, data, len);
    pad(tar);
    SW_ASSERT(!tar->failed);
}

void tar_file(struct sw_buf *tar, const char *name, const char *text) {
    tar_entry(tar, '0', name, "", strlen(text), text, strlen(text));
}

void tar_pax(struct sw_buf *tar, char type, const char *key, const char *value) {
    SW_CLEANUP(sw_buf_deinit) struct sw_buf record;
    sw_buf_init(&record, 4 << 20);
    size_t length = strlen(key) + strlen(value) + 3, digits = 1;
    for (size_t before = 0; digits != before;) { /* the length counts its own digits */
        char text[24];
        before = digits;
        digits = (size_t)snprintf(text, sizeof text, "%zu", length + digits);
    }
    sw_buf_printf(&record, "%zu %s=", length + digits, key);
    sw_buf_append(&record, value, strlen(value));
    sw_buf_append_c(&record, '\n');
    tar_entry(tar, type, "PaxHeader", "", record.len, record.data, record.len);
}

void tar_end(struct sw_buf *tar) {
    static const char zeros[2 * BLOCK];
    sw_buf_append(tar, zeros, sizeof zeros);
}

/* libarchive ------------------------------------------------------------------------------------------------------- */

static la_ssize_t append(struct archive *a, void *arg, const void *data, size_t len) {
    sw_buf_append(arg, data, len);
    return (la_ssize_t)len;
}

static void check(struct archive *a, int rc) {
    if (rc != ARCHIVE_OK) {
        fprintf(stderr, "libarchive: %s\n", archive_error_string(a));
        abort();
    }
}

void pack(const struct sw_buf *plain, const char *filter, struct sw_buf *ret) {
    struct archive *a = archive_write_new();
    struct archive_entry *entry = archive_entry_new();
    sw_buf_init(ret, 256 << 20);
    check(a, archive_write_set_format_raw(a));
    check(a, archive_write_add_filter_by_name(a, filter));
    check(a, archive_write_set_bytes_in_last_block(a, 1));
    check(a, archive_write_open(a, ret, NULL, append, NULL));
    archive_entry_set_filetype(entry, AE_IFREG);
    check(a, archive_write_header(a, entry));
    SW_ASSERT(archive_write_data(a, plain->data, plain->len) == (la_ssize_t)plain->len);
    archive_entry_free(entry);
    check(a, archive_write_close(a));
    archive_write_free(a);
}

void zip(const struct zip_entry *entries, size_t count, const char *options, struct sw_buf *ret) {
    struct archive *a = archive_write_new();
    sw_buf_init(ret, 256 << 20);
    check(a, archive_write_set_format_zip(a));
    check(a, archive_write_set_passphrase(a, "secret"));
    if (options) {
        check(a, archive_write_set_options(a, options));
    }
    check(a, archive_write_set_bytes_in_last_block(a, 1));
    check(a, archive_write_open(a, ret, NULL, append, NULL));
    for (size_t i = 0; i < count; i++) {
        struct archive_entry *entry = archive_entry_new();
        archive_entry_set_pathname(entry, entries[i].name);
        archive_entry_set_filetype(entry, entries[i].link ? AE_IFLNK : entries[i].folder ? AE_IFDIR : AE_IFREG);
        archive_entry_set_perm(entry, 0644);
        size_t len = entries[i].text ? strlen(entries[i].text) : 0;
        if (entries[i].link) {
            archive_entry_set_symlink(entry, entries[i].link);
        } else {
            archive_entry_set_size(entry, (la_int64_t)len);
        }
        check(a, archive_write_header(a, entry));
        SW_ASSERT(len == 0 || archive_write_data(a, entries[i].text, len) == (la_ssize_t)len);
        archive_entry_free(entry);
    }
    check(a, archive_write_close(a));
    archive_write_free(a);
}

int memory_file(const void *data, size_t len) {
    int fd = memfd_create("slipway-test", MFD_CLOEXEC);
    SW_ASSERT(fd >= 0 && (len == 0 || write(fd, data, len) == (ssize_t)len) && lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}
