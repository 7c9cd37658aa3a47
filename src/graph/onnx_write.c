/* Writing: protobuf-c packs into a buffer of one piece at a time, so that no second copy of the weights is made. Fields
 * come in the order of their numbers and lists in their own, so the same model gives the same bytes. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "graph/onnx_internal.h"

enum { PIECE = 256 << 10 };

struct sink {
    ProtobufCBuffer base; /* first: protobuf-c hands its address to append */
    int fd, error;
    uint64_t bytes;
    size_t used;
    char piece[PIECE];
};

static void write_all(struct sink *s, const char *data, size_t len) {
    while (len && !s->error) {
        ssize_t n = write(s->fd, data, len);
        if (n < 0) {
            s->error = errno == EINTR ? 0 : errno;
            continue;
        }
        data += n;
        len -= (size_t)n;
    }
}

static void append(ProtobufCBuffer *buffer, size_t len, const uint8_t *data) {
    struct sink *s = (struct sink *)buffer;
    s->bytes += len;
    if (len > PIECE - s->used) {
        write_all(s, s->piece, s->used);
        s->used = 0;
    }
    if (len > PIECE) {
        write_all(s, (const char *)data, len);
    } else if (len) {
        memcpy(s->piece + s->used, data, len);
        s->used += len;
    }
}

sw_status sw_onnx_write(const struct sw_onnx *onnx, int fd, uint64_t *ret_bytes, struct sw_error *err) {
    size_t size = onnx__model_proto__get_packed_size(onnx->proto);
    if (size > SW_ONNX_BYTES_MAX) {
        return sw_fail(err, SW_E_TOO_LARGE, "the model takes %zu bytes; an ONNX file without external data holds %llu",
                       size, (unsigned long long)SW_ONNX_BYTES_MAX);
    }
    struct sink *s = SW_NEW(struct sink);
    s->base.append = append;
    s->fd = fd;
    onnx__model_proto__pack_to_buffer(onnx->proto, &s->base);
    write_all(s, s->piece, s->used);
    int error = s->error;
    uint64_t bytes = s->bytes;
    sw_free(s);
    if (error) {
        return sw_fail(err, error == ENOSPC || error == EDQUOT ? SW_E_INSUFFICIENT_STORAGE : SW_E_IO, "%s",
                       strerror(error));
    }
    SW_ASSERT(bytes == size);
    *ret_bytes = bytes;
    return SW_OK;
}

/* Writes, syncs and closes; fd is consumed. */
static sw_status fill(const struct sw_onnx *onnx, int fd, uint64_t *ret_bytes, struct sw_error *err) {
    sw_status status = sw_onnx_write(onnx, fd, ret_bytes, err);
    if (!status && fsync(fd) != 0) {
        status = sw_fail(err, SW_E_IO, "%s", strerror(errno));
    }
    if (close(fd) != 0 && !status) {
        status = sw_fail(err, SW_E_IO, "%s", strerror(errno));
    }
    return status;
}

/* The name in the folder is durable only when the folder is synced. Some file systems cannot; the file is there. */
static void sync_folder(const char *path) {
    size_t len = (size_t)(sw_path_base(sw_str_of(path)).data - path);
    SW_AUTO_FREE char *folder = len ? sw_xstrndup(path, len) : sw_xstrdup(".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

sw_status sw_onnx_save(const struct sw_onnx *onnx, const char *path, uint64_t *ret_bytes, struct sw_error *err) {
    size_t size = strlen(path) + sizeof ".XXXXXX";
    SW_AUTO_FREE char *temporary = sw_xmalloc(size);
    snprintf(temporary, size, "%s.XXXXXX", path);
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0) {
        return sw_fail(err, SW_E_IO, "%s: %s", path, strerror(errno));
    }
    mode_t mask = umask(0);
    umask(mask);
    uint64_t bytes = 0;
    sw_status status = fchmod(fd, 0644 & ~mask) == 0 ? SW_OK : sw_fail(err, SW_E_IO, "%s", strerror(errno));
    if (status) {
        close(fd);
    } else {
        status = fill(onnx, fd, &bytes, err);
    }
    if (!status && rename(temporary, path) != 0) {
        status = sw_fail(err, SW_E_IO, "%s", strerror(errno));
    }
    if (status) {
        unlink(temporary);
        return sw_error_prefix(err, "%s", path);
    }
    sync_folder(path);
    *ret_bytes = bytes;
    return SW_OK;
}

sw_status sw_onnx_save_temporary(const struct sw_onnx *onnx, char **ret_path, struct sw_error *err) {
    static const char ending[] = ".onnx";
    const char *folder = getenv("TMPDIR");
    SW_AUTO_FREE char *path = sw_path_join(folder && *folder ? folder : "/tmp", "slipway-XXXXXX.onnx");
    int fd = mkostemps(path, sizeof ending - 1, O_CLOEXEC); /* mode 0600 */
    if (fd < 0) {
        return sw_fail(err, SW_E_IO, "%s: %s", path, strerror(errno));
    }
    uint64_t bytes;
    sw_status status = sw_onnx_write(onnx, fd, &bytes, err);
    if (close(fd) != 0 && !status) {
        status = sw_fail(err, SW_E_IO, "%s", strerror(errno));
    }
    if (status) {
        unlink(path);
        return sw_error_prefix(err, "%s", path);
    }
    *ret_path = path;
    path = NULL;
    return SW_OK;
}
