/* Back end: blobs in blobs/ab/HEX of the store's folder, which several processes may share. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "artifact/artifact_internal.h"

static sw_status open_blob(struct sw_artifacts *artifacts, const struct sw_digest *digest, struct sw_local *ret,
                           struct stat *ret_st, struct sw_error *err) {
    struct sw_local local = {.fd = -1};
    sw_folder_blob_name("blobs", digest, local.name);
    sw_status status = sw_folder_open(artifacts, local.name, O_RDONLY, &local.fd, ret_st, err);
    if (status == SW_E_NOT_FOUND) {
        return sw_fail(err, SW_E_NOT_FOUND, "there is no blob %s", digest->hex);
    }
    SW_TRY(status);
    local.size = (uint64_t)ret_st->st_size;
    *ret = local;
    return SW_OK;
}

/* Is the blob here already, sound, and now as durable and young as if it had been put this moment? */
static bool renew(struct sw_artifacts *artifacts, const struct sw_put *put) {
    struct stat st;
    struct sw_local local;
    struct sw_digest digest;
    uint64_t size;
    char shard[SW_ARTIFACT_NAME_MAX];
    if (open_blob(artifacts, put->digest, &local, &st, NULL)) {
        return false;
    }
    snprintf(shard, sizeof shard, "blobs/%.2s", put->digest->hex);
    bool good = local.size == put->size && sw_digest_fd(local.fd, local.name, &digest, &size, NULL) == SW_OK &&
                sw_digest_eq(&digest, put->digest) && futimens(local.fd, NULL) == 0 && fsync(local.fd) == 0 &&
                sw_folder_sync(artifacts, shard, NULL) == SW_OK && sw_folder_sync(artifacts, "blobs", NULL) == SW_OK &&
                sw_folder_is(artifacts, local.name, local.fd);
    close(local.fd);
    return good;
}

/* A damaged blob of that name is replaced by the good bytes; a sound one stays, so that links to it share it. */
static sw_status put_blob(struct sw_artifacts *artifacts, const struct sw_put *put, struct sw_error *err) {
    if (renew(artifacts, put)) {
        return SW_OK;
    }
    return sw_folder_adopt(artifacts, put->name, put->fd, "blobs", put->digest, err);
}

static sw_status stat_blob(struct sw_artifacts *artifacts, const struct sw_digest *digest, struct sw_blob *ret,
                           struct sw_error *err) {
    struct stat st;
    struct sw_local local;
    SW_TRY(open_blob(artifacts, digest, &local, &st, err));
    close(local.fd);
    *ret = (struct sw_blob){*digest, local.size, sw_folder_mtime_ms(&st)};
    return SW_OK;
}

static sw_status local_blob(struct sw_artifacts *artifacts, const struct sw_digest *digest, uint64_t size,
                            struct sw_local *ret, struct sw_error *err) {
    struct stat st;
    return open_blob(artifacts, digest, ret, &st, err);
}

/* Evidence stays where it is: the registry names it, an operator restores it. */
static bool discard_blob(struct sw_artifacts *artifacts, const struct sw_local *local) {
    return false;
}

static sw_status verify_blob(struct sw_artifacts *artifacts, const struct sw_digest *digest, struct sw_error *err) {
    struct sw_local local;
    struct sw_digest found;
    struct stat st;
    uint64_t size;
    SW_TRY(open_blob(artifacts, digest, &local, &st, err));
    sw_status status = sw_digest_fd(local.fd, local.name, &found, &size, err);
    close(local.fd);
    SW_TRY(status);
    if (!sw_digest_eq(&found, digest)) {
        return sw_fail(err, SW_E_DIGEST_MISMATCH, "blob %s is damaged: its %llu bytes have the digest %s", digest->hex,
                       (unsigned long long)size, found.hex);
    }
    return SW_OK;
}

/* Without fsync: what a power cut brings back is a blob that nothing refers to, and gc finds it again. */
static sw_status remove_blob(struct sw_artifacts *artifacts, const struct sw_digest *digest, struct sw_error *err) {
    char name[SW_ARTIFACT_NAME_MAX];
    sw_folder_blob_name("blobs", digest, name);
    return sw_folder_remove(artifacts, name, err);
}

struct each {
    sw_artifacts_each_fn *fn;
    void *arg;
};

static bool each_file(void *arg, const char *name, const char *file, const struct stat *st) {
    const struct each *each = arg;
    struct sw_blob blob = {.size = (uint64_t)st->st_size, .modified_ms = sw_folder_mtime_ms(st)};
    char expected[SW_ARTIFACT_NAME_MAX];
    if (!sw_digest_parse(sw_str_of(file), &blob.digest)) {
        return true; /* not ours */
    }
    sw_folder_blob_name("blobs", &blob.digest, expected);
    return strcmp(expected, name) != 0 || each->fn(each->arg, &blob);
}

static sw_status each_blob(struct sw_artifacts *artifacts, sw_artifacts_each_fn *fn, void *arg, struct sw_error *err) {
    struct each each = {fn, arg};
    return sw_folder_each(artifacts, "blobs", each_file, &each, err);
}

/* Commit renames from uploads/, which is swept for both back ends: there is nothing more to look for. */
static sw_status sweep_blobs(struct sw_artifacts *artifacts, uint64_t older_ms, bool dry_run, struct sw_swept *swept,
                             struct sw_error *err) {
    return SW_OK;
}

/* Can a file be made and filled in uploads/? A folder that is gone is an outage, not an answer that something is not
 * there. */
static sw_status probe_folder(struct sw_artifacts *artifacts, struct sw_error *err) {
    int code = 0;
    int fd = openat(artifacts->root, "uploads", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600);
    if (fd >= 0) {
        char page[4096] = {0}; /* more than an inode holds by itself: a full disk shows */
        code = sw_folder_pwrite(fd, page, sizeof page, 0);
        code = code ? code : fdatasync(fd) ? errno : 0;
        close(fd);
    } else if (errno == EOPNOTSUPP || errno == EISDIR) { /* a file system without O_TMPFILE */
        code = faccessat(artifacts->root, "uploads", W_OK, 0) ? errno : 0;
    } else {
        code = errno;
    }
    if (code == ENOENT) {
        return sw_fail(err, SW_E_IO, "the folder uploads in %s is gone", artifacts->directory);
    }
    return code ? sw_folder_fail(err, code, "write into", artifacts->directory) : SW_OK;
}

const struct sw_blob_ops sw_blob_fs_ops = {
    .put = put_blob,
    .stat = stat_blob,
    .local = local_blob,
    .discard = discard_blob,
    .verify = verify_blob,
    .remove = remove_blob,
    .each = each_blob,
    .sweep = sweep_blobs,
    .probe = probe_folder,
};
