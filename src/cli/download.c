/* One file from the server; see download.h. */
#include "cli/download.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/upload.h"
#include "registry/registry.h"

enum { PIECE = 1 << 20, FOLDER_MODE = 0777, FILE_MODE = 0666 };

/* One file on its way. */
struct receiving {
    struct sw_receiver *receiver;
    const char *path; /* inside the folder, for messages */
    const char *name; /* its last part */
    int folder;       /* where it goes */
    char part[NAME_MAX + 1];
    int fd; /* of the part */
    struct sw_hasher *hasher;
    uint64_t size;    /* announced */
    uint64_t have;    /* bytes in the part, hashed */
    uint64_t skipped; /* of them from an earlier pull */
    struct sw_error fault;
};

sw_status sw_receiver_open_folder(const char *path, int *ret_dir, struct sw_error *err) {
    if (mkdir(path, FOLDER_MODE) != 0 && errno != EEXIST) {
        return sw_fail(err, SW_E_IO, "%s cannot be made: %s", path, strerror(errno));
    }
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return sw_fail(err, SW_E_IO, "%s: %s", path, strerror(errno));
    }
    *ret_dir = fd;
    return SW_OK;
}

bool sw_download_path_fits(struct sw_str path) {
    if (!sw_registry_path_valid(path) || !sw_path_is_inside(path)) {
        return false;
    }
    while (path.data) {
        struct sw_str part;
        path = sw_str_split(path, '/', &part);
        if (sw_str_is(part, ".") || part.len > NAME_MAX) {
            return false;
        }
    }
    return true;
}

/* --- folders ----------------------------------------------------------------------------------------------------- */

/* Opens the folder that holds the file, making what is missing; the last part's name in *ret_name. */
static sw_status enter_folders(struct receiving *r, struct sw_error *err) {
    const char *rest = r->path;
    const char *slash;
    SW_ASSERT(rest);
    r->folder = dup(r->receiver->dir);
    while (r->folder >= 0 && (slash = strchr(rest, '/'))) {
        char *part SW_AUTO_FREE = sw_xstrndup(rest, (size_t)(slash - rest));
        int inner = mkdirat(r->folder, part, FOLDER_MODE) == 0 || errno == EEXIST
                        ? openat(r->folder, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                        : -1;
        int error = errno;
        close(r->folder);
        r->folder = inner;
        errno = error;
        rest = slash + 1;
    }
    r->name = rest;
    if (r->folder < 0) {
        bool link = errno == ELOOP || errno == ENOTDIR;
        return sw_fail(err, SW_E_IO, "%s: %s", r->path,
                       link ? "a folder on the way is a link or a file" : strerror(errno));
    }
    return SW_OK;
}

/* --- what is there already --------------------------------------------------------------------------------------- */

/* Hashes what can be read from fd on; *ret_size may be NULL. */
static sw_status hash_rest(int fd, struct sw_hasher *hasher, uint64_t *ret_size, struct sw_error *err) {
    char *piece SW_AUTO_FREE = sw_xmalloc(PIECE);
    uint64_t size = 0;
    ssize_t n;
    while ((n = read(fd, piece, PIECE)) != 0) {
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return sw_fail(err, SW_E_IO, "%s", strerror(errno));
        }
        sw_hasher_update(hasher, piece, (size_t)n);
        size += (uint64_t)n;
    }
    *ret_size = size;
    return SW_OK;
}

/* SW_OK with *ret_same: the file is there; SW_E_CONFLICT: something else is. */
static sw_status check_existing(struct receiving *r, const struct sw_digest *digest, bool *ret_same,
                                struct sw_error *err) {
    struct stat info;
    *ret_same = false;
    int fd = openat(r->folder, r->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        return SW_OK;
    }
    if (fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && (uint64_t)info.st_size == r->size) {
        struct sw_digest found;
        struct sw_hasher *hasher = sw_hasher_create();
        uint64_t size = 0;
        sw_status status = hash_rest(fd, hasher, &size, err);
        sw_hasher_finish(hasher, &found);
        *ret_same = !status && !strcmp(found.hex, digest->hex);
    }
    if (fd >= 0) {
        close(fd);
    }
    if (*ret_same || r->receiver->force) {
        return SW_OK;
    }
    return sw_fail(err, SW_E_CONFLICT, "%s is there already and is not the same; --force replaces it", r->path);
}

/* Opens the part and hashes what an earlier pull left in it. */
static sw_status open_part(struct receiving *r, struct sw_error *err) {
    struct stat info;
    r->fd = openat(r->folder, r->part, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (r->fd < 0 || fstat(r->fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        return sw_fail(err, SW_E_IO, "%s: %s", r->path, r->fd < 0 ? strerror(errno) : "its part is no file");
    }
    if ((uint64_t)info.st_size > r->size && ftruncate(r->fd, 0) != 0) {
        return sw_fail(err, SW_E_IO, "%s: %s", r->path, strerror(errno));
    }
    r->hasher = sw_hasher_create();
    SW_TRY(hash_rest(r->fd, r->hasher, &r->have, err));
    r->skipped = r->have;
    sw_progress_skip(r->receiver->progress, r->have);
    return SW_OK;
}

/* Throws away what is there: the server starts at 0. */
static bool begin_anew(struct receiving *r) {
    sw_hasher_discard(r->hasher);
    r->hasher = sw_hasher_create();
    r->have = 0;
    r->skipped = 0;
    if (ftruncate(r->fd, 0) != 0 || lseek(r->fd, 0, SEEK_SET) != 0) {
        (void)sw_fail(&r->fault, SW_E_IO, "%s: %s", r->path, strerror(errno));
        return false;
    }
    return true;
}

/* --- what comes -------------------------------------------------------------------------------------------------- */

static bool on_begin(void *arg, uint64_t from) {
    struct receiving *r = arg;
    if (from == r->have) {
        return true;
    }
    if (from == 0) {
        return begin_anew(r);
    }
    (void)sw_fail(&r->fault, SW_E_IO, "%s: the server sends from byte %llu, not %llu", r->path,
                  (unsigned long long)from, (unsigned long long)r->have);
    return false;
}

static bool on_write(void *arg, const void *data, size_t len) {
    struct receiving *r = arg;
    const char *p = data;
    size_t left = len;
    if (len > r->size - r->have) {
        (void)sw_fail(&r->fault, SW_E_DIGEST_MISMATCH, "%s: the server sends more than the %llu bytes it announced",
                      r->path, (unsigned long long)r->size);
        return false;
    }
    while (left > 0) {
        ssize_t n = write(r->fd, p, left);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            sw_status code = errno == ENOSPC || errno == EDQUOT ? SW_E_INSUFFICIENT_STORAGE : SW_E_IO;
            (void)sw_fail(&r->fault, code, "%s: %s", r->path, strerror(errno));
            return false;
        }
        p += n;
        left -= (size_t)n;
    }
    sw_hasher_update(r->hasher, data, len);
    r->have += len;
    r->receiver->received += len;
    sw_progress_set(r->receiver->progress, r->receiver->done + r->have);
    return true;
}

/* Until everything came; attempts without progress are counted as in upload.h. */
static sw_status receive_all(struct receiving *r, const char *url_path, struct sw_error *err) {
    struct sw_answer answer = {0};
    struct sw_error fault;
    sw_status status = SW_OK;
    unsigned attempts = 0;
    while (r->have < r->size && attempts < SW_UPLOAD_ATTEMPTS) {
        uint64_t before = r->have;
        struct sw_client_sink sink = {before, on_begin, on_write, r, &r->fault};
        status = sw_client_get(r->receiver->client, url_path, &sink, &answer, &fault);
        if (!status && r->have < r->size) {
            /* All that it wanted to send, or the client had called it broken: another attempt brings the same. */
            status = sw_fail(&fault, SW_E_DIGEST_MISMATCH, "the server sends %llu bytes, but announced %llu",
                             (unsigned long long)r->have, (unsigned long long)r->size);
            answer.may_pass = false;
        }
        if (!status) {
            break;
        }
        attempts = r->have > before ? 1 : attempts + 1;
        if (!answer.may_pass || attempts >= SW_UPLOAD_ATTEMPTS) {
            break;
        }
        uint64_t ms = sw_retry_wait_ms(attempts, answer.retry_after_s);
        if (r->receiver->messages) {
            fprintf(r->receiver->messages, "%sslipway: %s; trying again in %.1f s\n",
                    r->receiver->progress->drawn ? "\n" : "", fault.message, (double)ms / 1000);
        }
        r->receiver->sleep_ms(ms);
    }
    sw_answer_deinit(&answer);
    return status ? sw_fail(err, status, "%s: %s", r->path, fault.message) : SW_OK;
}

/* Durable under its temporary name, then renamed. */
static sw_status finish(struct receiving *r, const struct sw_digest *digest, struct sw_error *err) {
    struct sw_digest found;
    sw_hasher_finish(r->hasher, &found);
    r->hasher = NULL;
    if (strcmp(found.hex, digest->hex) != 0) {
        unlinkat(r->folder, r->part, 0);
        return sw_fail(err, SW_E_DIGEST_MISMATCH, "%s: what came has SHA-256 %s, but %s was announced", r->path,
                       found.hex, digest->hex);
    }
    if (fsync(r->fd) != 0 || renameat(r->folder, r->part, r->folder, r->name) != 0) {
        return sw_fail(err, SW_E_IO, "%s: %s", r->path, strerror(errno));
    }
    return SW_OK;
}

static sw_status receive(struct receiving *r, const char *url_path, const struct sw_digest *digest,
                         struct sw_error *err) {
    bool same;
    SW_TRY(enter_folders(r, err));
    SW_TRY(check_existing(r, digest, &same, err));
    if (same) {
        sw_progress_skip(r->receiver->progress, r->size);
        return SW_OK;
    }
    int n = snprintf(r->part, sizeof r->part, ".%.100s.%.16s.part", r->name, digest->hex);
    SW_ASSERT(n > 0 && (size_t)n < sizeof r->part);
    SW_TRY(open_part(r, err));
    sw_status status = receive_all(r, url_path, err);
    if (status && (status == SW_E_DIGEST_MISMATCH || r->have == 0)) {
        unlinkat(r->folder, r->part, 0); /* nothing that a later pull could go on with */
    }
    return status ? status : finish(r, digest, err);
}

sw_status sw_receive_file(struct sw_receiver *receiver, const char *url_path, const char *path, uint64_t size,
                          const struct sw_digest *digest, struct sw_error *err) {
    if (!sw_download_path_fits(sw_str_of(path))) {
        return sw_fail(err, SW_E_IO, "the server names a file '%s', which would leave the folder", path);
    }
    struct receiving r = {.receiver = receiver, .path = path, .folder = -1, .fd = -1, .size = size};
    sw_status status = receive(&r, url_path, digest, err);
    if (r.fd >= 0) {
        close(r.fd);
    }
    if (r.folder >= 0) {
        close(r.folder);
    }
    sw_hasher_discard(r.hasher);
    receiver->done += status ? 0 : size;
    return status;
}
