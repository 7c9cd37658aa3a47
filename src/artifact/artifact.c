/* The store as a whole: opening, health, and handing out verified blobs.
 *
 * Handing out works on a descriptor: the local copy is opened, hashed through it, and only then linked or copied from
 * that same file. Neither deleting a blob nor evicting it from the cache at that moment can do harm: the descriptor
 * keeps the bytes, and a link whose file is not the one that was hashed is taken back and tried again. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "artifact/artifact_internal.h"
#include "artifact/s3_internal.h"
#include "base/hash.h"
#include "base/memory.h"

enum { ATTEMPTS_MAX = 4 }; /* to hand out a blob that others evict or replace meanwhile */

void sw_artifacts_options_default(struct sw_artifacts_options *options) {
    *options = (struct sw_artifacts_options){
        .cache_max = 20ull << 30,
        .upload_max = 64ull << 30,
        .connect_timeout_ms = 5000,
        .stall_timeout_ms = 30000,
        .clock = sw_clock_system(),
    };
}

/* mkdir -p. */
static sw_status make_folders(const char *path, struct sw_error *err) {
    SW_AUTO_FREE char *copy = sw_xstrdup(path);
    for (char *at = copy + 1;; at++) {
        if (*at != '/' && *at != '\0') {
            continue;
        }
        char end = *at;
        *at = '\0';
        if (mkdir(copy, 0750) && errno != EEXIST) {
            return sw_fail(err, SW_E_IO, "cannot make the folder %s: %s", copy, strerror(errno));
        }
        if (end == '\0') {
            return SW_OK;
        }
        *at = end;
    }
}

static sw_status open_root(struct sw_artifacts *artifacts, const char *path, struct sw_error *err) {
    char absolute[PATH_MAX];
    if (!realpath(path, absolute)) {
        return sw_fail(err, SW_E_IO, "cannot open the folder %s: %s", path, strerror(errno));
    }
    artifacts->directory = sw_xstrdup(absolute);
    artifacts->root = open(absolute, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (artifacts->root < 0) {
        return sw_fail(err, SW_E_IO, "cannot open the folder %s: %s", path, strerror(errno));
    }
    return SW_OK;
}

static sw_status open_folder(struct sw_artifacts *artifacts, const char *path, bool with_blobs, struct sw_error *err) {
    SW_TRY(make_folders(path, err));
    SW_TRY(open_root(artifacts, path, err));
    sw_status status = sw_folder_make(artifacts, "uploads", err);
    if (!status) {
        status = sw_folder_make(artifacts, with_blobs ? "blobs" : "cache", err);
    }
    if (!status && faccessat(artifacts->root, "uploads", W_OK | X_OK, AT_EACCESS)) {
        status = sw_folder_fail(err, errno, "write into", "uploads");
    }
    if (!status && fsync(artifacts->root)) {
        status = sw_folder_fail(err, errno, "fsync", "its folders");
    }
    if (status) {
        (void)sw_error_prefix(err, "%s", path);
        return status == SW_E_INSUFFICIENT_STORAGE ? status : SW_E_IO;
    }
    return SW_OK;
}

sw_status sw_artifacts_open(const struct sw_artifacts_options *options, struct sw_artifacts **ret,
                            struct sw_error *err) {
    bool with_s3 = options->url && *options->url;
    if (!options->directory || !*options->directory) {
        return sw_fail(err, SW_E_USAGE, "the artifact store needs a local folder");
    }
    SW_ASSERT(!(with_s3 && options->read_only));
    struct sw_artifacts *artifacts = SW_NEW(struct sw_artifacts);
    artifacts->ops = with_s3 ? &sw_blob_s3_ops : &sw_blob_fs_ops;
    artifacts->root = -1;
    artifacts->clock = options->clock ? options->clock : sw_clock_system();
    artifacts->upload_max = options->upload_max;
    SW_ASSERT(pthread_mutex_init(&artifacts->health_lock, NULL) == 0);
    sw_status status = with_s3 ? sw_s3_create(options, &artifacts->s3, err) : SW_OK;
    if (!status) {
        status = options->read_only ? open_root(artifacts, options->directory, err)
                                    : open_folder(artifacts, options->directory, !with_s3, err);
    }
    if (status) {
        sw_artifacts_close(artifacts);
        return status;
    }
    *ret = artifacts;
    return SW_OK;
}

uint64_t sw_artifacts_upload_max(const struct sw_artifacts *artifacts) {
    return artifacts->upload_max;
}

void sw_artifacts_close(struct sw_artifacts *artifacts) {
    if (!artifacts) {
        return;
    }
    sw_s3_destroy(artifacts->s3);
    if (artifacts->root >= 0) {
        close(artifacts->root);
    }
    pthread_mutex_destroy(&artifacts->health_lock);
    sw_free(artifacts->directory);
    sw_free(artifacts);
}

/* Statuses that speak of the request (not found, a wrong digest) say that the back end works. */
static bool is_ill(sw_status status) {
    return status == SW_E_UNAVAILABLE || status == SW_E_IO || status == SW_E_FORBIDDEN ||
           status == SW_E_INSUFFICIENT_STORAGE;
}

sw_status sw_artifacts_note(struct sw_artifacts *artifacts, sw_status status, const struct sw_error *err) {
    pthread_mutex_lock(&artifacts->health_lock);
    if (!is_ill(status)) {
        artifacts->health.code = SW_OK;
    } else if (err) {
        artifacts->health = *err;
    } else {
        (void)sw_fail(&artifacts->health, status, "the last operation failed");
    }
    pthread_mutex_unlock(&artifacts->health_lock);
    return status;
}

sw_status sw_artifacts_health(struct sw_artifacts *artifacts, struct sw_error *err) {
    pthread_mutex_lock(&artifacts->health_lock);
    sw_status status = artifacts->health.code;
    if (status && err) {
        *err = artifacts->health;
    }
    pthread_mutex_unlock(&artifacts->health_lock);
    return status;
}

sw_status sw_artifacts_probe(struct sw_artifacts *artifacts, struct sw_error *err) {
    struct sw_error local = {0};
    sw_status status = sw_artifacts_note(artifacts, artifacts->ops->probe(artifacts, &local), &local);
    if (status && err) {
        *err = local;
    }
    return status;
}

/* ---- verified content */

static sw_status check_size(const struct sw_digest *digest, uint64_t found, uint64_t wanted, struct sw_error *err) {
    if (wanted != UINT64_MAX && found != wanted) {
        return sw_fail(err, SW_E_DIGEST_MISMATCH, "blob %s has %llu bytes, it should have %llu", digest->hex,
                       (unsigned long long)found, (unsigned long long)wanted);
    }
    return SW_OK;
}

static sw_status check_local(struct sw_local *local, const struct sw_digest *digest, uint64_t size,
                             struct sw_error *err) {
    SW_TRY(check_size(digest, local->size, size, err));
    if (local->verified) {
        return SW_OK;
    }
    struct sw_digest found;
    uint64_t read_size;
    SW_TRY(sw_digest_fd(local->fd, local->name, &found, &read_size, err));
    if (!sw_digest_eq(&found, digest)) {
        return sw_fail(err, SW_E_DIGEST_MISMATCH, "blob %s is damaged: its %llu bytes have the digest %s", digest->hex,
                       (unsigned long long)read_size, found.hex);
    }
    local->verified = true;
    local->size = read_size;
    return SW_OK;
}

/* An open, verified local copy. A cached one that is damaged is dropped and brought once more. */
static sw_status open_verified(struct sw_artifacts *artifacts, const struct sw_digest *digest, uint64_t size,
                               struct sw_local *ret, struct sw_error *err) {
    for (int attempt = 1;; attempt++) {
        struct sw_local local;
        SW_TRY(artifacts->ops->local(artifacts, digest, size, &local, err));
        sw_status status = check_local(&local, digest, size, err);
        if (!status) {
            *ret = local;
            return SW_OK;
        }
        bool again = status == SW_E_DIGEST_MISMATCH && artifacts->ops->discard(artifacts, &local);
        close(local.fd);
        if (!again || attempt >= ATTEMPTS_MAX) {
            return status;
        }
    }
}

sw_status sw_artifacts_open_blob(struct sw_artifacts *artifacts, const struct sw_digest *digest, int *ret_fd,
                                 uint64_t *ret_size, struct sw_error *err) {
    struct sw_local local;
    SW_TRY(open_verified(artifacts, digest, UINT64_MAX, &local, err));
    *ret_fd = local.fd; /* hashed and filled with pread and pwrite: its offset is 0 */
    *ret_size = local.size;
    return SW_OK;
}

/* Copies and hashes the open blob into the new file. */
static sw_status copy_bytes(const struct sw_local *local, const struct sw_digest *digest, int target, const char *path,
                            struct sw_error *err) {
    SW_AUTO_FREE char *piece = sw_malloc(SW_ARTIFACT_PIECE);
    if (!piece) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
    }
    struct sw_hasher *hasher = sw_hasher_create();
    sw_status status = SW_OK;
    uint64_t at = 0;
    while (!status) {
        ssize_t n = pread(local->fd, piece, SW_ARTIFACT_PIECE, (off_t)at);
        if (n == 0) {
            break;
        }
        if (n < 0) {
            status = errno == EINTR ? SW_OK : sw_folder_fail(err, errno, "read", local->name);
            continue;
        }
        sw_hasher_update(hasher, piece, (size_t)n);
        int code = sw_folder_pwrite(target, piece, (size_t)n, at);
        status = code ? sw_folder_fail(err, code, "write", path) : SW_OK;
        at += (uint64_t)n;
    }
    struct sw_digest copied;
    sw_hasher_finish(hasher, &copied);
    if (!status && !sw_digest_eq(&copied, digest)) {
        return sw_fail(err, SW_E_DIGEST_MISMATCH, "blob %s changed while it was copied", digest->hex);
    }
    if (!status && fchmod(target, 0444)) {
        return sw_folder_fail(err, errno, "set the mode of", path);
    }
    return status;
}

/* `part` becomes `path`, which must not exist: by link and unlink, or where the file system has no links, by rename. */
static sw_status give_name(const char *part, const char *path, struct sw_error *err) {
    if (link(part, path) == 0) {
        (void)unlink(part);
        return SW_OK;
    }
    if (errno == EEXIST) {
        return sw_fail(err, SW_E_CONFLICT, "%s exists already", path);
    }
    return rename(part, path) ? sw_folder_fail(err, errno, "make", path) : SW_OK;
}

/* Under a name of its own first: a copy that a crash cut short never has the name that was asked for. */
static sw_status copy_out(const struct sw_local *local, const struct sw_digest *digest, const char *path,
                          struct sw_error *err) {
    char id[33], part[PATH_MAX];
    sw_random_id(id);
    if ((size_t)snprintf(part, sizeof part, "%s.%s.part", path, id) >= sizeof part) {
        return sw_fail(err, SW_E_IO, "the path %.100s... is too long", path);
    }
    int fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return sw_folder_fail(err, errno, "make", part);
    }
    sw_status status = copy_bytes(local, digest, fd, part, err);
    if (close(fd) && !status) {
        status = sw_folder_fail(err, errno, "write", part);
    }
    if (!status) {
        status = give_name(part, path, err);
    }
    if (status) {
        (void)unlink(part);
    }
    return status;
}

/* Links the verified file. *ret_again: what stands under its name is another file now. */
static sw_status link_out(struct sw_artifacts *artifacts, const struct sw_local *local, const struct sw_digest *digest,
                          const char *path, bool *ret_again, struct sw_error *err) {
    *ret_again = false;
    if (linkat(artifacts->root, local->name, AT_FDCWD, path, 0)) {
        switch (errno) {
        case ENOENT: /* evicted or deleted meanwhile, unless it is the target's folder that is missing */
        case EXDEV:
        case EPERM:
        case EMLINK:
        case EOPNOTSUPP: return copy_out(local, digest, path, err);
        case EEXIST: return sw_fail(err, SW_E_CONFLICT, "%s exists already", path);
        default: return sw_folder_fail(err, errno, "link", path);
        }
    }
    struct stat linked, opened;
    if (lstat(path, &linked) || fstat(local->fd, &opened)) {
        return sw_folder_fail(err, errno, "stat", path);
    }
    if (linked.st_dev != opened.st_dev || linked.st_ino != opened.st_ino) {
        *ret_again = true;
        (void)unlink(path);
    }
    return SW_OK;
}

sw_status sw_artifacts_fetch(struct sw_artifacts *artifacts, const struct sw_digest *digest, uint64_t size,
                             const char *path, struct sw_error *err) {
    for (int attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
        bool again;
        struct sw_local local;
        SW_TRY(open_verified(artifacts, digest, size, &local, err));
        sw_status status = link_out(artifacts, &local, digest, path, &again, err);
        close(local.fd);
        if (status || !again) {
            return status;
        }
    }
    return sw_fail(err, SW_E_UNAVAILABLE, "blob %s is being replaced again and again", digest->hex);
}

/* ---- passed on */

sw_status sw_artifacts_stat(struct sw_artifacts *artifacts, const struct sw_digest *digest, struct sw_blob *ret,
                            struct sw_error *err) {
    return artifacts->ops->stat(artifacts, digest, ret, err);
}

sw_status sw_artifacts_verify(struct sw_artifacts *artifacts, const struct sw_digest *digest, struct sw_error *err) {
    return artifacts->ops->verify(artifacts, digest, err);
}

sw_status sw_artifacts_delete(struct sw_artifacts *artifacts, const struct sw_digest *digest, struct sw_error *err) {
    return artifacts->ops->remove(artifacts, digest, err);
}

sw_status sw_artifacts_each(struct sw_artifacts *artifacts, sw_artifacts_each_fn *fn, void *arg, struct sw_error *err) {
    return artifacts->ops->each(artifacts, fn, arg, err);
}
