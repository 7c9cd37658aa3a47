/* Files and folders below the store's folder: opened without following links, made durable by fsync of the file before
 * the rename and of the folders after it.
 *
 * Invariant: what stands under its final name below blobs/ was complete and on the disk before it got that name. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "artifact/artifact_internal.h"

sw_status sw_folder_fail(struct sw_error *err, int code, const char *verb, const char *name) {
    sw_status status = code == ENOSPC || code == EDQUOT ? SW_E_INSUFFICIENT_STORAGE
                       : code == ENOENT                 ? SW_E_NOT_FOUND
                                                        : SW_E_IO;
    return sw_fail(err, status, "cannot %s %s: %s", verb, name, strerror(code));
}

void sw_folder_blob_name(const char *top, const struct sw_digest *digest, char ret_name[SW_ARTIFACT_NAME_MAX]) {
    snprintf(ret_name, SW_ARTIFACT_NAME_MAX, "%s/%.2s/%.64s", top, digest->hex, digest->hex);
}

sw_status sw_folder_sync(const struct sw_artifacts *artifacts, const char *name, struct sw_error *err) {
    int fd = openat(artifacts->root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return sw_folder_fail(err, errno, "open folder", name);
    }
    int code = fsync(fd) ? errno : 0;
    close(fd);
    return code ? sw_folder_fail(err, code, "fsync folder", name) : SW_OK;
}

sw_status sw_folder_make(const struct sw_artifacts *artifacts, const char *name, struct sw_error *err) {
    struct stat st;
    if (mkdirat(artifacts->root, name, 0750) && errno != EEXIST) {
        return sw_folder_fail(err, errno, "make folder", name);
    }
    if (fstatat(artifacts->root, name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISDIR(st.st_mode)) {
        return sw_fail(err, SW_E_IO, "%s in %s is not a folder", name, artifacts->directory);
    }
    return SW_OK;
}

sw_status sw_folder_open(const struct sw_artifacts *artifacts, const char *name, int flags, int *ret_fd,
                         struct stat *ret_st, struct sw_error *err) {
    struct stat st;
    int fd = openat(artifacts->root, name, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0 && errno == ELOOP) {
        return sw_fail(err, SW_E_IO, "%s is a link, not a regular file", name);
    }
    if (fd < 0) {
        return sw_folder_fail(err, errno, "open", name);
    }
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        close(fd);
        return sw_fail(err, SW_E_IO, "%s is not a regular file", name);
    }
    *ret_fd = fd;
    if (ret_st) {
        *ret_st = st;
    }
    return SW_OK;
}

bool sw_folder_is(const struct sw_artifacts *artifacts, const char *name, int fd) {
    struct stat a, b;
    return fstatat(artifacts->root, name, &a, AT_SYMLINK_NOFOLLOW) == 0 && fstat(fd, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

sw_status sw_folder_adopt(const struct sw_artifacts *artifacts, const char *name, int fd, const char *top,
                          const struct sw_digest *digest, struct sw_error *err) {
    char target[SW_ARTIFACT_NAME_MAX], shard[SW_ARTIFACT_NAME_MAX];
    sw_folder_blob_name(top, digest, target);
    snprintf(shard, sizeof shard, "%s/%.2s", top, digest->hex);
    SW_TRY(sw_folder_make(artifacts, shard, err));
    if (fchmod(fd, 0444) || futimens(fd, NULL)) { /* the time of a blob is when it became one */
        return sw_folder_fail(err, errno, "set the mode of", name);
    }
    if (fsync(fd)) {
        return sw_folder_fail(err, errno, "fsync", name);
    }
    if (renameat(artifacts->root, name, artifacts->root, target)) {
        return sw_folder_fail(err, errno, "rename", name);
    }
    SW_TRY(sw_folder_sync(artifacts, shard, err));
    return sw_folder_sync(artifacts, top, err); /* the shard may be new, made here or by another at this moment */
}

sw_status sw_folder_remove(const struct sw_artifacts *artifacts, const char *name, struct sw_error *err) {
    if (unlinkat(artifacts->root, name, 0) && errno != ENOENT) {
        return sw_folder_fail(err, errno, "delete", name);
    }
    return SW_OK;
}

/* Calls fn for what is in the folder: entries of `kind` (S_IFREG, S_IFDIR) that are still there when looked at. */
static sw_status list(const struct sw_artifacts *artifacts, const char *name, mode_t kind, sw_folder_each_fn *fn,
                      void *arg, bool *ret_more, struct sw_error *err) {
    int fd = openat(artifacts->root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        int code = errno;
        if (fd >= 0) {
            close(fd);
        }
        return sw_folder_fail(err, code, "list", name);
    }
    *ret_more = true;
    int code = 0;
    while (*ret_more) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry) {
            code = errno;
            break;
        }
        struct stat st;
        char path[SW_ARTIFACT_NAME_MAX];
        size_t n = (size_t)snprintf(path, sizeof path, "%s/%s", name, entry->d_name);
        bool is_dots = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
        if (is_dots || n >= sizeof path || fstatat(artifacts->root, path, &st, AT_SYMLINK_NOFOLLOW) ||
            (st.st_mode & S_IFMT) != kind) {
            continue; /* none of ours has such a name; or it was deleted meanwhile */
        }
        *ret_more = fn(arg, path, entry->d_name, &st);
    }
    closedir(dir);
    return code ? sw_folder_fail(err, code, "list", name) : SW_OK;
}

sw_status sw_folder_list(const struct sw_artifacts *artifacts, const char *name, sw_folder_each_fn *fn, void *arg,
                         struct sw_error *err) {
    bool more;
    return list(artifacts, name, S_IFREG, fn, arg, &more, err);
}

struct walk {
    const struct sw_artifacts *artifacts;
    sw_folder_each_fn *fn;
    void *arg;
    sw_status status;
    struct sw_error *err;
};

static bool walk_shard(void *arg, const char *name, const char *file, const struct stat *st) {
    struct walk *walk = arg;
    bool more = true;
    walk->status = list(walk->artifacts, name, S_IFREG, walk->fn, walk->arg, &more, walk->err);
    return more && !walk->status;
}

sw_status sw_folder_each(const struct sw_artifacts *artifacts, const char *top, sw_folder_each_fn *fn, void *arg,
                         struct sw_error *err) {
    struct walk walk = {artifacts, fn, arg, SW_OK, err};
    bool more;
    SW_TRY(list(artifacts, top, S_IFDIR, walk_shard, &walk, &more, err));
    return walk.status;
}

int sw_folder_pwrite(int fd, const void *data, size_t len, uint64_t offset) {
    const char *at = data;
    while (len > 0) {
        ssize_t n = pwrite(fd, at, len, (off_t)offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno;
        }
        if (n == 0) {
            return ENOSPC; /* POSIX allows it for a regular file only when there is no room */
        }
        at += n;
        offset += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

uint64_t sw_folder_mtime_ms(const struct stat *st) {
    return (uint64_t)st->st_mtim.tv_sec * 1000u + (uint64_t)st->st_mtim.tv_nsec / 1000000u;
}

bool sw_folder_is_older(const struct sw_artifacts *artifacts, const struct stat *st, uint64_t older_ms) {
    uint64_t now = artifacts->clock->wall_ms(artifacts->clock), then = sw_folder_mtime_ms(st);
    return now >= then && now - then >= older_ms;
}

uint64_t sw_folder_free(const struct sw_artifacts *artifacts) {
    struct statvfs vfs;
    if (fstatvfs(artifacts->root, &vfs)) {
        return UINT64_MAX;
    }
    return (uint64_t)vfs.f_bavail * vfs.f_frsize;
}
