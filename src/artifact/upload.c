/* Uploads: bytes on their way to become a blob.
 *
 *   uploads/ID        what was received so far; who writes it holds an exclusive flock, over processes too
 *   uploads/ID.json   what was announced: {"size":N,"sha256":"..."}, both optional
 *
 * Invariants: the hasher of an open upload has seen exactly its first `offset` bytes, and the file has no others. The
 * lock is worth something only while ID still names the locked file, which is checked after taking it. When the disk
 * is full the upload is given up at once and its bytes freed: `dead` remembers that. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/file.h>
#include <unistd.h>

#include "artifact/artifact_internal.h"
#include "base/hash.h"
#include "base/memory.h"

enum { INFO_BYTES_MAX = 4096 };

struct sw_upload {
    struct sw_artifacts *artifacts;
    int fd;
    char name[SW_ARTIFACT_NAME_MAX];
    char *path;
    struct sw_upload_info info; /* offset is kept up to date */
    struct sw_hasher *hasher;
    bool dirty; /* written to since it was opened */
    bool dead;
};

static bool is_id(struct sw_str id) {
    for (size_t i = 0; i < id.len; i++) {
        if (!((id.data[i] >= '0' && id.data[i] <= '9') || (id.data[i] >= 'a' && id.data[i] <= 'f'))) {
            return false;
        }
    }
    return id.len == SW_UPLOAD_ID;
}

static void data_name(const char *id, char ret_name[SW_ARTIFACT_NAME_MAX]) {
    snprintf(ret_name, SW_ARTIFACT_NAME_MAX, "uploads/%s", id);
}

static void info_name(const char *id, char ret_name[SW_ARTIFACT_NAME_MAX]) {
    snprintf(ret_name, SW_ARTIFACT_NAME_MAX, "uploads/%s.json", id);
}

static sw_status not_found(const char *id, struct sw_error *err) {
    return sw_fail(err, SW_E_NOT_FOUND, "there is no upload %s", id);
}

/* Both files; the one with the bytes first, so that no crash leaves bytes that nobody announced. */
static sw_status remove_files(const struct sw_artifacts *artifacts, const char *id, struct sw_error *err) {
    char data[SW_ARTIFACT_NAME_MAX], info[SW_ARTIFACT_NAME_MAX];
    data_name(id, data);
    info_name(id, info);
    sw_status status = sw_folder_remove(artifacts, data, err);
    sw_status other = sw_folder_remove(artifacts, info, status ? NULL : err);
    return status ? status : other;
}

/* ---- what was announced */

static sw_status write_info(const struct sw_artifacts *artifacts, const struct sw_upload_info *info,
                            struct sw_error *err) {
    char name[SW_ARTIFACT_NAME_MAX], text[128 + SW_DIGEST_HEX];
    int fd, n = 0;
    info_name(info->id, name);
    if (info->size != UINT64_MAX) {
        n = snprintf(text, sizeof text, "{\"size\":%llu%s", (unsigned long long)info->size,
                     info->has_digest ? "," : "");
    } else {
        n = snprintf(text, sizeof text, "{");
    }
    n += info->has_digest ? snprintf(text + n, sizeof text - (size_t)n, "\"sha256\":\"%s\"}", info->digest.hex)
                          : snprintf(text + n, sizeof text - (size_t)n, "}");
    SW_TRY(sw_folder_open(artifacts, name, O_WRONLY | O_CREAT | O_EXCL, &fd, NULL, err));
    int code = sw_folder_pwrite(fd, text, (size_t)n, 0);
    close(fd);
    return code ? sw_folder_fail(err, code, "write", name) : SW_OK;
}

static bool parse_info(const char *text, size_t len, struct sw_upload_info *info) {
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    const json_t *size = json_object_get(root, "size"), *digest = json_object_get(root, "sha256");
    info->size = json_is_integer(size) ? (uint64_t)json_integer_value(size) : UINT64_MAX;
    info->has_digest = json_is_string(digest);
    bool good = json_is_object(root) && (!size || (json_is_integer(size) && json_integer_value(size) >= 0)) &&
                (!digest || (info->has_digest && sw_digest_parse(sw_str_of(json_string_value(digest)), &info->digest)));
    json_decref(root);
    return good;
}

/* One that a crash has cut short is as good as none: whoever sends it must begin anew. */
static sw_status read_info(const struct sw_artifacts *artifacts, struct sw_upload_info *info, struct sw_error *err) {
    char name[SW_ARTIFACT_NAME_MAX], text[INFO_BYTES_MAX];
    int fd;
    info_name(info->id, name);
    sw_status status = sw_folder_open(artifacts, name, O_RDONLY, &fd, NULL, err);
    if (status == SW_E_NOT_FOUND) {
        return not_found(info->id, err);
    }
    SW_TRY(status);
    ssize_t n = read(fd, text, sizeof text);
    int code = errno;
    close(fd);
    if (n < 0) {
        return sw_folder_fail(err, code, "read", name);
    }
    if (!parse_info(text, (size_t)n, info)) {
        return sw_fail(err, SW_E_NOT_FOUND, "upload %s is damaged: begin anew", info->id);
    }
    return SW_OK;
}

/* ---- making and opening */

static sw_status check_room(const struct sw_artifacts *artifacts, uint64_t size, struct sw_error *err) {
    if (size == UINT64_MAX) {
        return SW_OK;
    }
    if (size > artifacts->upload_max) {
        return sw_fail(err, SW_E_TOO_LARGE, "an upload of %llu bytes; at most %llu are taken", (unsigned long long)size,
                       (unsigned long long)artifacts->upload_max);
    }
    uint64_t room = sw_folder_free(artifacts);
    if (size > room) {
        return sw_fail(err, SW_E_INSUFFICIENT_STORAGE, "an upload of %llu bytes; the disk has room for %llu",
                       (unsigned long long)size, (unsigned long long)room);
    }
    return SW_OK;
}

/* Makes both files; the descriptor holds the lock, so that no sweep takes the upload away in between. */
static sw_status create_locked(struct sw_artifacts *artifacts, uint64_t size, const struct sw_digest *digest,
                               struct sw_upload_info *info, int *ret_fd, struct sw_error *err) {
    char name[SW_ARTIFACT_NAME_MAX];
    int fd;
    *info = (struct sw_upload_info){.size = size, .has_digest = digest != NULL};
    if (digest) {
        info->digest = *digest;
    }
    SW_TRY(check_room(artifacts, size, err));
    sw_random_id(info->id);
    data_name(info->id, name);
    sw_status status = sw_folder_open(artifacts, name, O_RDWR | O_CREAT | O_EXCL, &fd, NULL, err);
    if (status) {
        return sw_artifacts_note(artifacts, status, err);
    }
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        status = sw_folder_fail(err, errno, "lock", name);
    } else {
        status = write_info(artifacts, info, err);
    }
    if (status) {
        close(fd);
        (void)remove_files(artifacts, info->id, NULL);
        return sw_artifacts_note(artifacts, status, err);
    }
    *ret_fd = fd;
    return SW_OK;
}

sw_status sw_upload_create(struct sw_artifacts *artifacts, uint64_t size, const struct sw_digest *digest,
                           char ret_id[SW_UPLOAD_ID + 1], struct sw_error *err) {
    struct sw_upload_info info;
    int fd;
    SW_TRY(create_locked(artifacts, size, digest, &info, &fd, err));
    close(fd);
    memcpy(ret_id, info.id, sizeof info.id);
    return SW_OK;
}

static sw_status lock_upload(struct sw_artifacts *artifacts, struct sw_str id, struct sw_upload_info *info, int *ret_fd,
                             struct stat *ret_st, struct sw_error *err) {
    char name[SW_ARTIFACT_NAME_MAX];
    int fd;
    if (!is_id(id)) {
        return sw_fail(err, SW_E_NOT_FOUND, "\"" SW_STR_FMT "\" is no upload id: it has 32 hex digits", SW_STR_ARG(id));
    }
    *info = (struct sw_upload_info){0};
    memcpy(info->id, id.data, SW_UPLOAD_ID);
    data_name(info->id, name);
    sw_status status = sw_folder_open(artifacts, name, O_RDWR, &fd, NULL, err);
    if (status == SW_E_NOT_FOUND) {
        return not_found(info->id, err);
    }
    SW_TRY(status);
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        status = errno == EWOULDBLOCK ? sw_fail(err, SW_E_CONFLICT, "upload %s is in use", info->id)
                                      : sw_folder_fail(err, errno, "lock", name);
    } else if (!sw_folder_is(artifacts, name, fd)) {
        status = not_found(info->id, err); /* committed or deleted while we waited for nothing */
    } else if (fstat(fd, ret_st)) {        /* again: under the lock the size stands still */
        status = sw_folder_fail(err, errno, "stat", name);
    }
    if (status) {
        close(fd);
        return status;
    }
    *ret_fd = fd;
    return SW_OK;
}

/* Takes over fd. */
static struct sw_upload *make_upload(struct sw_artifacts *artifacts, const struct sw_upload_info *info, int fd) {
    struct sw_upload *upload = SW_NEW(struct sw_upload);
    upload->artifacts = artifacts;
    upload->fd = fd;
    upload->info = *info;
    upload->hasher = sw_hasher_create();
    data_name(info->id, upload->name);
    size_t n = strlen(artifacts->directory) + strlen(upload->name) + 2;
    upload->path = sw_xmalloc(n);
    snprintf(upload->path, n, "%s/%s", artifacts->directory, upload->name);
    return upload;
}

/* Ends the handle, not the upload. */
static void release(struct sw_upload *upload) {
    close(upload->fd);
    sw_hasher_discard(upload->hasher);
    sw_free(upload->path);
    sw_free(upload);
}

sw_status sw_upload_open(struct sw_artifacts *artifacts, struct sw_str id, struct sw_upload **ret,
                         struct sw_error *err) {
    struct sw_upload_info info;
    struct stat st;
    int fd;
    SW_TRY(lock_upload(artifacts, id, &info, &fd, &st, err));
    sw_status status = read_info(artifacts, &info, err);
    if (status) {
        close(fd);
        return status;
    }
    struct sw_upload *upload = make_upload(artifacts, &info, fd);
    upload->info.offset = (uint64_t)st.st_size;
    status = sw_hasher_update_fd(upload->hasher, fd, upload->info.offset, upload->name, err);
    if (status) {
        release(upload);
        return status;
    }
    *ret = upload;
    return SW_OK;
}

sw_status sw_upload_stat(struct sw_artifacts *artifacts, struct sw_str id, struct sw_upload_info *ret,
                         struct sw_error *err) {
    struct sw_upload_info info = {0};
    char name[SW_ARTIFACT_NAME_MAX];
    struct stat st;
    if (!is_id(id)) {
        return sw_fail(err, SW_E_NOT_FOUND, "\"" SW_STR_FMT "\" is no upload id: it has 32 hex digits", SW_STR_ARG(id));
    }
    memcpy(info.id, id.data, SW_UPLOAD_ID);
    data_name(info.id, name);
    if (fstatat(artifacts->root, name, &st, AT_SYMLINK_NOFOLLOW)) {
        return errno == ENOENT ? not_found(info.id, err) : sw_folder_fail(err, errno, "stat", name);
    }
    SW_TRY(read_info(artifacts, &info, err));
    info.offset = (uint64_t)st.st_size;
    info.modified_ms = sw_folder_mtime_ms(&st);
    *ret = info;
    return SW_OK;
}

uint64_t sw_upload_offset(const struct sw_upload *upload) {
    return upload->info.offset;
}

uint64_t sw_upload_size(const struct sw_upload *upload) {
    return upload->info.size;
}

const char *sw_upload_path(const struct sw_upload *upload) {
    return upload->path;
}

/* ---- writing */

/* Gives the bytes back to the disk now, not when the handle is closed. */
static void give_up(struct sw_upload *upload) {
    upload->dead = true;
    (void)remove_files(upload->artifacts, upload->info.id, NULL);
    (void)!ftruncate(upload->fd, 0);
}

static sw_status write_failed(struct sw_upload *upload, int code, struct sw_error *err) {
    sw_status status = sw_folder_fail(err, code, "write", upload->name);
    sw_artifacts_note(upload->artifacts, status, err);
    if (status == SW_E_INSUFFICIENT_STORAGE || ftruncate(upload->fd, (off_t)upload->info.offset)) {
        give_up(upload);
    }
    return status;
}

static sw_status check_dead(const struct sw_upload *upload, struct sw_error *err) {
    if (upload->dead) {
        return sw_fail(err, SW_E_INSUFFICIENT_STORAGE, "upload %s was given up when the disk was full",
                       upload->info.id);
    }
    return SW_OK;
}

sw_status sw_upload_write(struct sw_upload *upload, const void *data, size_t len, struct sw_error *err) {
    const struct sw_upload_info *info = &upload->info;
    SW_TRY(check_dead(upload, err));
    uint64_t max = info->size < upload->artifacts->upload_max ? info->size : upload->artifacts->upload_max;
    if (info->offset > max || len > max - info->offset) {
        return sw_fail(err, SW_E_TOO_LARGE, "upload %s: more than %llu bytes, which is %s", info->id,
                       (unsigned long long)max, max == info->size ? "what was announced" : "the limit of one upload");
    }
    if (len == 0) {
        return SW_OK;
    }
    upload->dirty = true;
    int code = sw_folder_pwrite(upload->fd, data, len, info->offset);
    if (code) {
        return write_failed(upload, code, err);
    }
    sw_hasher_update(upload->hasher, data, len);
    upload->info.offset += len;
    return SW_OK;
}

/* What a later open goes on from shall survive a power cut as it is. Best effort: commit checks the digest. */
void sw_upload_close(struct sw_upload *upload) {
    if (!upload) {
        return;
    }
    if (upload->dirty && !upload->dead) {
        (void)!fdatasync(upload->fd);
    }
    release(upload);
}

/* ---- commit */

static sw_status check_complete(struct sw_upload *upload, struct sw_digest *ret_digest, struct sw_error *err) {
    const struct sw_upload_info *info = &upload->info;
    SW_TRY(check_dead(upload, err));
    if (info->size != UINT64_MAX && info->offset < info->size) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "upload %s is not complete: %llu of %llu bytes are here", info->id,
                       (unsigned long long)info->offset, (unsigned long long)info->size);
    }
    sw_hasher_finish(upload->hasher, ret_digest);
    upload->hasher = NULL;
    if (info->size != UINT64_MAX && info->offset > info->size) {
        return sw_fail(err, SW_E_DIGEST_MISMATCH, "upload %s has %llu bytes, %llu were announced", info->id,
                       (unsigned long long)info->offset, (unsigned long long)info->size);
    }
    if (info->has_digest && !sw_digest_eq(ret_digest, &info->digest)) {
        return sw_fail(err, SW_E_DIGEST_MISMATCH, "what was uploaded has the SHA-256 digest %s, announced was %s",
                       ret_digest->hex, info->digest.hex);
    }
    return SW_OK;
}

static sw_status commit(struct sw_upload *upload, struct sw_digest *ret_digest, struct sw_error *err) {
    struct sw_artifacts *artifacts = upload->artifacts;
    SW_TRY(check_complete(upload, ret_digest, err));
    struct sw_put put = {upload->name, upload->fd, upload->info.offset, ret_digest};
    return sw_artifacts_note(artifacts, artifacts->ops->put(artifacts, &put, err), err);
}

/* May whoever uploads try the same bytes again? */
static bool stays(sw_status status) {
    return status == SW_E_INVALID_ARGUMENT || status == SW_E_UNAVAILABLE || status == SW_E_FORBIDDEN;
}

sw_status sw_upload_commit(struct sw_upload *upload, struct sw_blob *ret, struct sw_error *err) {
    struct sw_artifacts *artifacts = upload->artifacts;
    struct sw_error local = {0};
    struct sw_digest digest;
    sw_status status = commit(upload, &digest, &local);
    if (!stays(status)) {
        (void)remove_files(artifacts, upload->info.id, NULL); /* left over ones are swept */
    }
    if (!status) {
        *ret = (struct sw_blob){digest, upload->info.offset, artifacts->clock->wall_ms(artifacts->clock)};
    } else if (err) {
        *err = local;
    }
    release(upload);
    return status;
}

sw_status sw_upload_delete(struct sw_artifacts *artifacts, struct sw_str id, struct sw_error *err) {
    struct sw_upload_info info;
    struct stat st;
    int fd;
    SW_TRY(lock_upload(artifacts, id, &info, &fd, &st, err));
    sw_status status = remove_files(artifacts, info.id, err);
    close(fd);
    return status;
}

/* ---- a local file as a blob */

static sw_status copy_in(struct sw_upload *upload, int fd, const char *path, struct sw_error *err) {
    SW_AUTO_FREE char *piece = sw_malloc(SW_ARTIFACT_PIECE);
    if (!piece) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
    }
    for (;;) {
        ssize_t n = read(fd, piece, SW_ARTIFACT_PIECE);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return sw_fail(err, SW_E_IO, "cannot read %s: %s", path, strerror(errno));
        }
        if (n == 0) {
            return SW_OK;
        }
        SW_TRY(sw_upload_write(upload, piece, (size_t)n, err));
    }
}

/* The upload is ours alone and ends with this call, however it ends. */
static sw_status put_open_file(struct sw_artifacts *artifacts, int fd, const char *path, uint64_t size,
                               const struct sw_digest *expected, struct sw_blob *ret, struct sw_error *err) {
    struct sw_upload_info info;
    int data;
    SW_TRY(create_locked(artifacts, size, expected, &info, &data, err));
    struct sw_upload *upload = make_upload(artifacts, &info, data);
    sw_status status = copy_in(upload, fd, path, err);
    if (!status) {
        status = sw_upload_commit(upload, ret, err);
    } else {
        release(upload);
    }
    if (status) {
        (void)remove_files(artifacts, info.id, NULL);
        (void)sw_error_prefix(err, "%s", path);
    }
    return status;
}

sw_status sw_artifacts_put_file(struct sw_artifacts *artifacts, const char *path, const struct sw_digest *expected,
                                struct sw_blob *ret, struct sw_error *err) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        return sw_fail(err, errno == ENOENT ? SW_E_NOT_FOUND : SW_E_IO, "cannot open %s: %s", path,
                       errno == ELOOP ? "it is a link" : strerror(errno));
    }
    sw_status status;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        status = sw_fail(err, SW_E_IO, "%s is not a regular file", path);
    } else {
        status = put_open_file(artifacts, fd, path, (uint64_t)st.st_size, expected, ret, err);
    }
    close(fd);
    return status;
}

/* ---- sweep */

struct sweep {
    struct sw_artifacts *artifacts;
    uint64_t older_ms;
    bool dry_run;
    struct sw_swept swept;
    sw_status status;
    struct sw_error *err;
    sw_artifacts_swept *fn;
    void *arg;
};

static void sweep_upload(struct sweep *sweep, const char *id, const struct stat *seen) {
    struct sw_upload_info info;
    struct stat st;
    int fd;
    if (!sw_folder_is_older(sweep->artifacts, seen, sweep->older_ms)) {
        return; /* without taking its lock, which would refuse a writer who comes this moment */
    }
    sw_status status = lock_upload(sweep->artifacts, sw_str_of(id), &info, &fd, &st, NULL);
    if (status) {
        return; /* in use, or gone already */
    }
    if (sw_folder_is_older(sweep->artifacts, &st, sweep->older_ms)) {
        status = sweep->dry_run ? SW_OK : remove_files(sweep->artifacts, id, sweep->err);
        sweep->status = status ? status : sweep->status;
        sweep->swept.count += !status;
        sweep->swept.bytes += status ? 0 : (uint64_t)st.st_size;
        if (!status && sweep->fn) {
            sweep->fn(sweep->arg, id, (uint64_t)st.st_size, sw_folder_mtime_ms(&st));
        }
    }
    close(fd);
}

/* An announcement whose bytes are gone: a crash came between the two. */
static void sweep_announcement(struct sweep *sweep, const char *name, const char *file, const struct stat *st) {
    char id[SW_UPLOAD_ID + 1], data[SW_ARTIFACT_NAME_MAX];
    struct stat other;
    snprintf(id, sizeof id, "%.32s", file);
    data_name(id, data);
    if (!sw_folder_is_older(sweep->artifacts, st, sweep->older_ms) ||
        fstatat(sweep->artifacts->root, data, &other, AT_SYMLINK_NOFOLLOW) == 0 || sweep->dry_run) {
        return;
    }
    sw_status status = sw_folder_remove(sweep->artifacts, name, sweep->err);
    sweep->status = status ? status : sweep->status;
}

static bool sweep_file(void *arg, const char *name, const char *file, const struct stat *st) {
    struct sweep *sweep = arg;
    struct sw_str text = sw_str_of(file);
    if (is_id(text)) {
        sweep_upload(sweep, file, st);
    } else if (text.len == SW_UPLOAD_ID + 5 && sw_str_ends(text, SW_STR(".json")) &&
               is_id((struct sw_str){file, SW_UPLOAD_ID})) {
        sweep_announcement(sweep, name, file, st);
    }
    return true; /* what is not ours stays */
}

sw_status sw_artifacts_sweep(struct sw_artifacts *artifacts, uint64_t older_ms, bool dry_run, sw_artifacts_swept *fn,
                             void *arg, size_t *ret_count, uint64_t *ret_bytes, struct sw_error *err) {
    struct sweep sweep = {artifacts, older_ms, dry_run, {0, 0}, SW_OK, err, fn, arg};
    SW_TRY(sw_folder_list(artifacts, "uploads", sweep_file, &sweep, err));
    SW_TRY(sweep.status);
    SW_TRY(artifacts->ops->sweep(artifacts, older_ms, dry_run, &sweep.swept, err));
    if (ret_count) {
        *ret_count = sweep.swept.count;
    }
    if (ret_bytes) {
        *ret_bytes = sweep.swept.bytes;
    }
    return SW_OK;
}
