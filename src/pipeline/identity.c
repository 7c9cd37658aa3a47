/* See identity.h. One walk (fts, sorted by name, links followed, as loading does) for both digests. */
#include "pipeline/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <sys/stat.h>
#include <unistd.h>

static int by_name(const FTSENT **a, const FTSENT **b) {
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static void add_text(struct sw_hasher *hasher, const char *text) {
    uint64_t length = strlen(text);
    sw_hasher_update(hasher, &length, sizeof length);
    sw_hasher_update(hasher, text, length);
}

static void add_state(struct sw_hasher *hasher, const char *path, const struct stat *st) {
    const int64_t numbers[] = {(int64_t)st->st_size,        (int64_t)st->st_ino,          (int64_t)st->st_dev,
                               (int64_t)st->st_mtim.tv_sec, (int64_t)st->st_mtim.tv_nsec, (int64_t)st->st_ctim.tv_sec,
                               (int64_t)st->st_ctim.tv_nsec};
    add_text(hasher, path);
    sw_hasher_update(hasher, numbers, sizeof numbers);
}

static sw_status add_file(struct sw_hasher *hasher, const char *inner, const char *path, struct sw_error *err) {
    struct sw_digest digest;
    uint64_t size;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a link is followed, as loading does */
    if (fd < 0) {
        return sw_fail(err, SW_E_IO, "cannot open %s: %s", path, strerror(errno));
    }
    sw_status status = sw_digest_fd(fd, path, &digest, &size, err);
    close(fd);
    SW_TRY(status);
    add_text(hasher, inner);
    sw_hasher_update(hasher, &size, sizeof size);
    sw_hasher_update(hasher, digest.hex, SW_DIGEST_HEX);
    return SW_OK;
}

/* files NULL: a look only. */
static sw_status walk(FTS *fts, const char *dir, struct sw_hasher *files, struct sw_hasher *state,
                      struct sw_error *err) {
    size_t count = 0, root = strlen(dir);
    for (FTSENT *e; (e = fts_read(fts));) {
        switch (e->fts_info) {
        case FTS_F: break;
        case FTS_DC: return sw_fail(err, SW_E_MODEL_INVALID, "%s: links that go round", e->fts_path);
        case FTS_DNR:
        case FTS_ERR:
        case FTS_NS: return sw_fail(err, SW_E_IO, "%s: %s", e->fts_path, strerror(e->fts_errno));
        default: continue; /* folders, and what is no regular file */
        }
        if (++count > SW_IDENTITY_FILES_MAX) {
            return sw_fail(err, SW_E_MODEL_INVALID, "%s: more than %d files", dir, SW_IDENTITY_FILES_MAX);
        }
        add_state(state, e->fts_path + root, e->fts_statp);
        SW_TRY(files ? add_file(files, e->fts_path + root, e->fts_path, err) : SW_OK);
    }
    return errno ? sw_fail(err, SW_E_IO, "%s: %s", dir, strerror(errno)) : SW_OK; /* fts_read sets it at the end */
}

static sw_status digest(const char *dir, struct sw_hasher *files, struct sw_hasher *state, struct sw_error *err) {
    char *const paths[] = {(char *)(uintptr_t)dir, NULL}; /* not written to */
    FTS *fts = fts_open(paths, FTS_LOGICAL | FTS_NOCHDIR, by_name);
    if (!fts) {
        return sw_fail(err, SW_E_IO, "%s: %s", dir, strerror(errno));
    }
    sw_status status = walk(fts, dir, files, state, err);
    fts_close(fts);
    return status;
}

sw_status sw_identity_make(const struct sw_bundle *bundle, struct sw_identity *ret, struct sw_error *err) {
    struct sw_hasher *files = sw_hasher_create(), *state = sw_hasher_create();
    sw_status status = digest(bundle->dir, files, state, err);
    sw_hasher_finish(files, &ret->files);
    sw_hasher_finish(state, &ret->state);
    return status;
}

sw_status sw_identity_check(const struct sw_bundle *bundle, const struct sw_identity *identity, struct sw_error *err) {
    struct sw_hasher *state = sw_hasher_create();
    struct sw_digest now;
    sw_status status = digest(bundle->dir, NULL, state, err);
    sw_hasher_finish(state, &now);
    if (!status && !sw_digest_eq(&now, &identity->state)) {
        status = sw_fail(err, SW_E_MODEL_INVALID, "%s: its files changed while it was loaded", bundle->dir);
    }
    return status;
}
