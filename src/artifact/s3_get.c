/* Downloads: an object into a file, hashed on the way, going on by Range after a break.
 *
 * Invariant: the hasher has seen exactly the first `offset` bytes of the object as far as we know it, and the file has
 * them. What an earlier process left in the file is hashed first; when the whole then turns out wrong, one fresh
 * download decides whether it was the left-over or the object. */
#include <errno.h>
#include <unistd.h>

#include "artifact/s3_internal.h"

enum { RESUMES_MAX = 1000, IDLE_RESUMES_MAX = 3 };

struct download {
    int fd; /* -1: only hashed */
    uint64_t offset;
    uint64_t size; /* what it must be; UINT64_MAX: whatever it is */
    struct sw_hasher *hasher;
    bool too_long;
    int code; /* errno of a failed write */
};

static void begin_anew(struct download *download) {
    sw_hasher_discard(download->hasher);
    download->hasher = sw_hasher_create();
    download->offset = 0;
}

/* Is this piece the one that follows? A server may answer a Range with the whole. */
static bool place_piece(struct download *download, const struct sw_s3_answer *answer, uint64_t *position) {
    if (*position == UINT64_MAX) { /* the first of this answer */
        *position = answer->status == 206 ? answer->range_from : 0;
        if (*position == 0 && download->offset > 0) {
            begin_anew(download);
        }
    }
    return *position == download->offset;
}

struct sink {
    struct download *download;
    uint64_t position; /* in the object, of the next piece */
};

static bool on_piece(void *arg, const struct sw_s3_answer *answer, const void *data, size_t len) {
    struct sink *sink = arg;
    struct download *download = sink->download;
    if (!place_piece(download, answer, &sink->position)) {
        return false;
    }
    if (len > download->size - download->offset) {
        download->too_long = true;
        return false;
    }
    if (download->fd >= 0) {
        download->code = sw_folder_pwrite(download->fd, data, len, download->offset);
        if (download->code) {
            return false;
        }
    }
    sw_hasher_update(download->hasher, data, len);
    download->offset += len;
    sink->position += len;
    return true;
}

static sw_status get_once(struct sw_artifacts *artifacts, const char *key, struct download *download,
                          struct sw_error *err) {
    struct sink sink = {download, UINT64_MAX};
    struct sw_s3_request request = {
        .method = "GET", .key = key, .fd = -1, .range_from = download->offset, .sink = on_piece, .arg = &sink};
    sw_status status = sw_s3_do(artifacts, &request, err);
    if (download->code) {
        return sw_folder_fail(err, download->code, "write", "a downloaded blob");
    }
    if (download->too_long) {
        return sw_fail(err, SW_E_DIGEST_MISMATCH, "the object %s has more than the %llu bytes that it should have", key,
                       (unsigned long long)download->size);
    }
    if (status == SW_E_IO) { /* broken off by on_piece for the one reason left */
        return sw_fail(err, SW_E_UNAVAILABLE, "S3 answered a range of %s with another one", key);
    }
    return status;
}

/* Until all of it is here. A break after some bytes is no failure: the rest is asked for. */
static sw_status get_all(struct sw_artifacts *artifacts, const char *key, struct download *download,
                         struct sw_error *err) {
    unsigned idle = 0;
    for (unsigned resumes = 0; resumes < RESUMES_MAX; resumes++) {
        if (download->offset > 0 && download->offset == download->size) {
            return SW_OK;
        }
        uint64_t before = download->offset;
        sw_status status = get_once(artifacts, key, download, err);
        if (status == SW_E_INVALID_ARGUMENT && before > 0) { /* nothing there: the left-over is as long, or longer */
            begin_anew(download);
            idle++;
        } else if (status != SW_E_UNAVAILABLE) {
            return status;
        } else {
            idle = download->offset > before ? 0 : idle + 1;
        }
        if (idle >= IDLE_RESUMES_MAX) {
            return status == SW_E_UNAVAILABLE ? status
                                              : sw_fail(err, SW_E_UNAVAILABLE, "S3 refuses every range of %s", key);
        }
        if (download->offset == 0 && idle > 0 && status == SW_E_UNAVAILABLE) {
            return status; /* sw_s3_call has tried again and again already */
        }
        sw_s3_back_off(artifacts->s3, idle + 2);
    }
    return sw_fail(err, SW_E_UNAVAILABLE, "the transfer of %s broke %d times", key, RESUMES_MAX);
}

static sw_status check(struct download *download, const struct sw_digest *digest, struct sw_error *err) {
    struct sw_digest found;
    sw_hasher_finish(download->hasher, &found);
    download->hasher = NULL;
    if (download->size != UINT64_MAX && download->offset != download->size) {
        return sw_fail(err, SW_E_DIGEST_MISMATCH, "blob %s has %llu bytes in S3, it should have %llu", digest->hex,
                       (unsigned long long)download->offset, (unsigned long long)download->size);
    }
    if (!sw_digest_eq(&found, digest)) {
        return sw_fail(err, SW_E_DIGEST_MISMATCH, "blob %s is damaged in S3: its %llu bytes have the digest %s",
                       digest->hex, (unsigned long long)download->offset, found.hex);
    }
    return SW_OK;
}

static sw_status try_download(struct sw_artifacts *artifacts, const struct sw_digest *digest, uint64_t size, int fd,
                              uint64_t have, uint64_t *ret_size, struct sw_error *err) {
    char key[SW_S3_KEY_MAX];
    struct download download = {.fd = fd, .size = size, .hasher = sw_hasher_create()};
    sw_s3_blob_key(artifacts->s3, digest, key);
    sw_status status = SW_OK;
    if (have > 0) {
        status = sw_hasher_update_fd(download.hasher, fd, have, "a download", err);
        download.offset = have;
    }
    if (!status) {
        status = get_all(artifacts, key, &download, err);
    }
    if (!status) {
        status = check(&download, digest, err);
    }
    if (!status && fd >= 0 && ftruncate(fd, (off_t)download.offset)) { /* a longer left-over */
        status = sw_folder_fail(err, errno, "cut", "a downloaded blob");
    }
    sw_hasher_discard(download.hasher);
    if (!status) {
        *ret_size = download.offset;
    }
    return status;
}

sw_status sw_s3_download(struct sw_artifacts *artifacts, const struct sw_digest *digest, uint64_t size, int fd,
                         uint64_t *ret_size, struct sw_error *err) {
    struct stat st = {0};
    if (fd >= 0 && fstat(fd, &st)) {
        return sw_folder_fail(err, errno, "stat", "a download");
    }
    uint64_t have = (uint64_t)st.st_size;
    if (have > size) {
        have = 0;
    }
    sw_status status = try_download(artifacts, digest, size, fd, have, ret_size, err);
    if (status == SW_E_DIGEST_MISMATCH && have > 0) {
        status = try_download(artifacts, digest, size, fd, 0, ret_size, err);
    }
    return status;
}
