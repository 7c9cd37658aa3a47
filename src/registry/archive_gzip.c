/* gzip, by zlib itself: libarchive checks neither the checksum nor the length at its end, so a damaged archive would
 * become a damaged model. See archive_internal.h. */
#include <errno.h>
#include <unistd.h>
#include <zlib.h>

#include "base/memory.h"
#include "registry/archive_internal.h"

enum { GZIP_PIECE = 64 << 10, GZIP_WRAPPED = 15 + 16 /* windowBits: the largest window, a gzip header and trailer */ };

struct sw_gzip {
    z_stream stream;
    int fd;
    bool at_end; /* of the file */
    bool ended;  /* of one gzip member; another, or zeros, may follow */
    uint8_t piece[GZIP_PIECE];
};

struct sw_gzip *sw_gzip_create(int fd) {
    struct sw_gzip *gzip = SW_NEW(struct sw_gzip);
    gzip->fd = fd;
    if (inflateInit2(&gzip->stream, GZIP_WRAPPED) != Z_OK) {
        sw_free(gzip);
        return NULL;
    }
    return gzip;
}

void sw_gzip_destroy(struct sw_gzip *gzip) {
    if (gzip) {
        inflateEnd(&gzip->stream);
        sw_free(gzip);
    }
}

static sw_status fill(struct sw_gzip *gzip, struct sw_error *err) {
    ssize_t n;
    do {
        n = read(gzip->fd, gzip->piece, sizeof gzip->piece);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return sw_fail(err, SW_E_IO, "archive: %s", strerror(errno));
    }
    gzip->at_end = n == 0;
    gzip->stream.next_in = gzip->piece;
    gzip->stream.avail_in = (uInt)n;
    return SW_OK;
}

static sw_status broken(struct sw_error *err, const char *what) {
    return sw_fail(err, SW_E_MODEL_INVALID, "archive: cannot be unpacked: %s", what);
}

/* Between two members: zeros, which tapes bring, are passed over; anything else must begin another member. */
static sw_status begin_next(struct sw_gzip *gzip, struct sw_error *err) {
    z_stream *s = &gzip->stream;
    while (s->avail_in && *s->next_in == 0) {
        s->next_in++;
        s->avail_in--;
    }
    if (s->avail_in == 0) {
        return SW_OK;
    }
    gzip->ended = false;
    return inflateReset(s) == Z_OK ? SW_OK : broken(err, "broken");
}

static sw_status inflate_some(struct sw_gzip *gzip, struct sw_error *err) {
    switch (inflate(&gzip->stream, Z_NO_FLUSH)) {
    case Z_OK:
    case Z_BUF_ERROR: return SW_OK; /* the latter: it wants more input */
    case Z_STREAM_END: gzip->ended = true; return SW_OK;
    case Z_MEM_ERROR: return sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
    default: return broken(err, gzip->stream.msg ? gzip->stream.msg : "broken");
    }
}

sw_status sw_gzip_read(struct sw_gzip *gzip, void *data, size_t len, size_t *ret_len, struct sw_error *err) {
    z_stream *s = &gzip->stream;
    SW_ASSERT(len <= SW_ARCHIVE_PIECE);
    s->next_out = data;
    s->avail_out = (uInt)len;
    while (s->avail_out) {
        if (s->avail_in == 0 && !gzip->at_end) {
            SW_TRY(fill(gzip, err));
        }
        if (gzip->ended) {
            SW_TRY(begin_next(gzip, err));
        }
        if (gzip->ended && gzip->at_end) {
            break;
        }
        if (!gzip->ended) {
            uInt before = s->avail_out;
            SW_TRY(inflate_some(gzip, err));
            if (gzip->at_end && !gzip->ended && s->avail_out == before) {
                return broken(err, "cut off");
            }
        }
    }
    *ret_len = len - s->avail_out;
    return SW_OK;
}
