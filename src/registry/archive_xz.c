/* xz, by liblzma itself: libarchive lets a file ask for dictionaries of 4 GiB, liblzma takes a limit. What `xz -9`
 * writes needs 65 MiB to be read. See archive_internal.h. */
#include <errno.h>
#include <lzma.h>
#include <unistd.h>

#include "base/memory.h"
#include "registry/archive_internal.h"

enum { XZ_PIECE = 64 << 10 };
#define XZ_MEMORY_MAX (UINT64_C(128) << 20)

struct sw_xz {
    lzma_stream stream;
    int fd;
    bool at_end; /* of the file */
    bool ended;  /* of what it unpacks to */
    uint8_t piece[XZ_PIECE];
};

struct sw_xz *sw_xz_create(int fd) {
    struct sw_xz *xz = SW_NEW(struct sw_xz);
    xz->stream = (lzma_stream)LZMA_STREAM_INIT;
    xz->fd = fd;
    if (lzma_stream_decoder(&xz->stream, XZ_MEMORY_MAX, LZMA_CONCATENATED) != LZMA_OK) {
        sw_free(xz);
        return NULL;
    }
    return xz;
}

void sw_xz_destroy(struct sw_xz *xz) {
    if (xz) {
        lzma_end(&xz->stream);
        sw_free(xz);
    }
}

static sw_status fill(struct sw_xz *xz, struct sw_error *err) {
    ssize_t n;
    do {
        n = read(xz->fd, xz->piece, sizeof xz->piece);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return sw_fail(err, SW_E_IO, "archive: %s", strerror(errno));
    }
    xz->at_end = n == 0;
    xz->stream.next_in = xz->piece;
    xz->stream.avail_in = (size_t)n;
    return SW_OK;
}

sw_status sw_xz_read(struct sw_xz *xz, void *data, size_t len, size_t *ret_len, struct sw_error *err) {
    xz->stream.next_out = data;
    xz->stream.avail_out = len;
    while (xz->stream.avail_out && !xz->ended) {
        if (xz->stream.avail_in == 0 && !xz->at_end) {
            SW_TRY(fill(xz, err));
        }
        switch (lzma_code(&xz->stream, xz->at_end ? LZMA_FINISH : LZMA_RUN)) {
        case LZMA_OK: break;
        case LZMA_STREAM_END: xz->ended = true; break;
        case LZMA_MEMLIMIT_ERROR:
            return sw_fail(err, SW_E_TOO_LARGE, "archive: unpacking it takes more than %llu MiB of memory",
                           (unsigned long long)(XZ_MEMORY_MAX >> 20));
        case LZMA_MEM_ERROR: return sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
        default: return sw_fail(err, SW_E_MODEL_INVALID, "archive: cannot be unpacked: broken or cut off");
        }
    }
    *ret_len = len - xz->stream.avail_out;
    return SW_OK;
}
