#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

static sw_status read_all(int fd, const char *path, size_t max_bytes, struct sw_buf *buf, struct sw_error *err) {
    struct stat st;
    if (fstat(fd, &st)) {
        return sw_fail(err, SW_E_IO, "%s: %s", path, strerror(errno));
    }
    if (!S_ISREG(st.st_mode)) {
        return sw_fail(err, SW_E_IO, "%s: not a regular file", path);
    }
    if (st.st_size < 0 || (uint64_t)st.st_size > max_bytes) {
        return sw_fail(err, SW_E_TOO_LARGE, "%s: %lld bytes, at most %zu are read", path, (long long)st.st_size,
                       max_bytes);
    }
    for (;;) {
        /* One byte more than expected, to meet the end without growing; files of /proc say size 0. */
        size_t size = (size_t)st.st_size;
        size_t room = size > 0 && size >= buf->len ? size - buf->len + 1 : 4096;
        room = room > buf->max - buf->len ? buf->max - buf->len : room;
        if (room == 0) {
            return sw_fail(err, SW_E_TOO_LARGE, "%s: more than %zu bytes", path, max_bytes);
        }
        if (!sw_buf_reserve(buf, room)) {
            return sw_fail(err, SW_E_UNAVAILABLE, "%s: out of memory", path);
        }
        ssize_t n = read(fd, buf->data + buf->len, room);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return sw_fail(err, SW_E_IO, "%s: %s", path, strerror(errno));
        }
        buf->len += (size_t)n;
        buf->data[buf->len] = '\0';
        if (n == 0) {
            return SW_OK;
        }
    }
}

sw_status sw_file_read(const char *path, size_t max_bytes, struct sw_buf *ret_buf, struct sw_error *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return sw_fail(err, errno == ENOENT || errno == ENOTDIR ? SW_E_NOT_FOUND : SW_E_IO, "%s: %s", path,
                       strerror(errno));
    }
    struct sw_buf buf;
    SW_ASSERT(max_bytes < SIZE_MAX / 2);
    sw_buf_init(&buf, max_bytes + 1); /* the byte more tells a file of max_bytes from a longer one */
    sw_status status = read_all(fd, path, max_bytes, &buf, err);
    close(fd);
    if (status) {
        sw_buf_deinit(&buf);
        return status;
    }
    *ret_buf = buf;
    return SW_OK;
}

bool sw_path_is_dir(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool sw_path_is_file(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

char *sw_path_join(const char *dir, const char *name) {
    size_t n = strlen(dir), m = strlen(name);
    bool slash = n > 0 && dir[n - 1] != '/';
    char *path = sw_xmalloc(n + slash + m + 1);
    memcpy(path, dir, n);
    path[n] = '/';
    memcpy(path + n + slash, name, m + 1);
    return path;
}

struct sw_str sw_path_base(struct sw_str path) {
    while (path.len > 1 && path.data[path.len - 1] == '/') {
        path.len--;
    }
    for (size_t i = path.len; i > 0; i--) {
        if (path.data[i - 1] == '/' && i < path.len) {
            return (struct sw_str){path.data + i, path.len - i};
        }
    }
    return path;
}

bool sw_path_is_inside(struct sw_str name) {
    if (name.len == 0 || memchr(name.data, '\0', name.len)) {
        return false;
    }
    while (name.data) {
        struct sw_str part;
        name = sw_str_split(name, '/', &part);
        if (part.len == 0 || sw_str_is(part, "..")) {
            return false;
        }
    }
    return true;
}

void sw_program_folder(char *ret_path, size_t size) {
    ssize_t n = readlink("/proc/self/exe", ret_path, size - 1);
    ret_path[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(ret_path, '/');
    if (slash) {
        *slash = '\0';
    }
}
