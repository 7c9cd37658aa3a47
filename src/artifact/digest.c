/* SHA-256 through libcrypto, which uses the processor's instructions for it where there are any. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include "artifact/artifact_internal.h"
#include "base/memory.h"

enum { DIGEST_BYTES = SW_DIGEST_HEX / 2 };

bool sw_digest_parse(struct sw_str text, struct sw_digest *ret) {
    struct sw_digest digest;
    if (text.len != SW_DIGEST_HEX) {
        return false;
    }
    for (size_t i = 0; i < SW_DIGEST_HEX; i++) {
        char c = text.data[i];
        c = c >= 'A' && c <= 'F' ? (char)(c - 'A' + 'a') : c;
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
        digest.hex[i] = c;
    }
    digest.hex[SW_DIGEST_HEX] = '\0';
    *ret = digest;
    return true;
}

bool sw_digest_eq(const struct sw_digest *a, const struct sw_digest *b) {
    return memcmp(a->hex, b->hex, SW_DIGEST_HEX) == 0;
}

struct sw_hasher {
    EVP_MD_CTX *context;
};

struct sw_hasher *sw_hasher_create(void) {
    struct sw_hasher *hasher = SW_NEW(struct sw_hasher);
    hasher->context = EVP_MD_CTX_new();
    SW_ASSERT(hasher->context != NULL && EVP_DigestInit_ex(hasher->context, EVP_sha256(), NULL) == 1);
    return hasher;
}

void sw_hasher_update(struct sw_hasher *hasher, const void *data, size_t len) {
    SW_ASSERT(EVP_DigestUpdate(hasher->context, data, len) == 1);
}

void sw_hasher_discard(struct sw_hasher *hasher) {
    if (hasher) {
        EVP_MD_CTX_free(hasher->context);
        sw_free(hasher);
    }
}

void sw_hasher_finish(struct sw_hasher *hasher, struct sw_digest *ret) {
    static const char digits[] = "0123456789abcdef";
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    SW_ASSERT(EVP_DigestFinal_ex(hasher->context, bytes, &n) == 1 && n == DIGEST_BYTES);
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        ret->hex[2 * i] = digits[bytes[i] >> 4];
        ret->hex[2 * i + 1] = digits[bytes[i] & 15];
    }
    ret->hex[SW_DIGEST_HEX] = '\0';
    sw_hasher_discard(hasher);
}

/* Up to `size` bytes of fd into the hasher; *ret_size is how many there were. */
static sw_status hash_fd(struct sw_hasher *hasher, int fd, uint64_t size, const char *name, uint64_t *ret_size,
                         struct sw_error *err) {
    SW_AUTO_FREE char *piece = sw_malloc(SW_ARTIFACT_PIECE);
    if (!piece) {
        return sw_fail(err, SW_E_UNAVAILABLE, "%s: out of memory", name);
    }
    uint64_t at = 0;
    while (at < size) {
        size_t want = size - at < SW_ARTIFACT_PIECE ? (size_t)(size - at) : SW_ARTIFACT_PIECE;
        ssize_t n = pread(fd, piece, want, (off_t)at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return sw_fail(err, SW_E_IO, "cannot read %s: %s", name, strerror(errno));
        }
        if (n == 0) {
            break;
        }
        sw_hasher_update(hasher, piece, (size_t)n);
        at += (uint64_t)n;
    }
    *ret_size = at;
    return SW_OK;
}

sw_status sw_digest_fd(int fd, const char *name, struct sw_digest *ret, uint64_t *ret_size, struct sw_error *err) {
    struct sw_hasher *hasher = sw_hasher_create();
    uint64_t size = 0;
    sw_status status = hash_fd(hasher, fd, UINT64_MAX, name, &size, err);
    if (status) {
        sw_hasher_discard(hasher);
        return status;
    }
    sw_hasher_finish(hasher, ret);
    *ret_size = size;
    return SW_OK;
}

sw_status sw_hasher_update_fd(struct sw_hasher *hasher, int fd, uint64_t size, const char *name, struct sw_error *err) {
    uint64_t got = 0;
    SW_TRY(hash_fd(hasher, fd, size, name, &got, err));
    if (got != size) {
        return sw_fail(err, SW_E_IO, "%s became shorter while it was read", name);
    }
    return SW_OK;
}

sw_status sw_digest_file(const char *path, struct sw_digest *ret, uint64_t *ret_size, struct sw_error *err) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ELOOP) {
        return sw_fail(err, SW_E_IO, "%s is a link, not a regular file", path);
    }
    if (fd < 0) {
        return sw_fail(err, errno == ENOENT || errno == ENOTDIR ? SW_E_NOT_FOUND : SW_E_IO, "cannot open %s: %s", path,
                       strerror(errno));
    }
    sw_status status;
    if (fstat(fd, &st)) {
        status = sw_fail(err, SW_E_IO, "cannot stat %s: %s", path, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        status = sw_fail(err, SW_E_IO, "%s is not a regular file", path);
    } else {
        uint64_t size;
        struct sw_digest digest;
        status = sw_digest_fd(fd, path, &digest, &size, err);
        if (!status) {
            *ret = digest;
            *ret_size = size;
        }
    }
    close(fd);
    return status;
}
