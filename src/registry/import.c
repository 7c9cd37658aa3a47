/* An uploaded archive, or bare model file, as a version.
 *
 * An archive is read twice: once only to see whether it keeps to the limits and what its files are called, and once
 * to store them, one upload after another. So an archive that is refused has stored nothing, and a bomb has filled no
 * disk. Files of an import that fails later (a broken bundle, a database that is away) are blobs nobody refers to,
 * which gc removes.
 *
 * The upload ends with the import, whatever comes of it; only one whose bytes have not all arrived stays for its
 * sender. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "base/map.h"
#include "base/memory.h"
#include "registry/archive_internal.h"

enum { RATIO_MAX = 200, RATIO_FROM = 1 << 20 };

struct import {
    struct sw_registry *registry;
    struct sw_version_file *files; /* paths owned */
    size_t count, capacity;
    size_t at;                /* second reading: the file that is being stored */
    struct sw_upload *upload; /* of that file; NULL: none */
    char id[SW_UPLOAD_ID + 1];
};

static void import_deinit(struct import *im) {
    for (size_t i = 0; i < im->count; i++) {
        sw_free((void *)(uintptr_t)im->files[i].path);
    }
    sw_free(im->files);
}

/* first reading ---------------------------------------------------------------------------------------------------- */

static sw_status list_begin(void *arg, const char *path, uint64_t size, struct sw_error *err) {
    struct import *im = arg;
    if (im->count == im->capacity) {
        im->capacity = im->capacity ? 2 * im->capacity : 64;
        im->files = sw_xrealloc(im->files, im->capacity * sizeof *im->files);
    }
    im->files[im->count++] = (struct sw_version_file){.path = sw_xstrdup(path), .size = size};
    return SW_OK;
}

static sw_status list_data(void *arg, const void *data, size_t len, struct sw_error *err) {
    return SW_OK;
}

static sw_status list_end(void *arg, struct sw_error *err) {
    return SW_OK;
}

/* Length of "TOP/" when every file lies in the folder TOP; else 0. */
static size_t common_top(const struct import *im) {
    const char *slash = im->count ? strchr(im->files[0].path, '/') : NULL;
    if (!slash) {
        return 0;
    }
    size_t n = (size_t)(slash - im->files[0].path) + 1;
    for (size_t i = 1; i < im->count; i++) {
        if (strncmp(im->files[i].path, im->files[0].path, n) != 0) {
            return 0;
        }
    }
    return n;
}

static void take_top_off(struct import *im) {
    size_t n = common_top(im);
    for (size_t i = 0; i < im->count && n; i++) {
        char *path = (char *)(uintptr_t)im->files[i].path;
        memmove(path, path + n, strlen(path + n) + 1);
    }
}

/* second reading --------------------------------------------------------------------------------------------------- */

static sw_status store_begin(void *arg, const char *path, uint64_t size, struct sw_error *err) {
    struct import *im = arg;
    struct sw_artifacts *artifacts = im->registry->artifacts;
    if (im->at == im->count || im->files[im->at].size != size) {
        return sw_fail(err, SW_E_IO, "archive: it has changed while it was read");
    }
    SW_TRY(sw_upload_create(artifacts, size, NULL, im->id, err));
    return sw_upload_open(artifacts, sw_str_of(im->id), &im->upload, err);
}

static sw_status store_data(void *arg, const void *data, size_t len, struct sw_error *err) {
    struct import *im = arg;
    return sw_upload_write(im->upload, data, len, err);
}

static sw_status store_end(void *arg, struct sw_error *err) {
    struct import *im = arg;
    struct sw_blob blob;
    struct sw_upload *upload = im->upload;
    im->upload = NULL; /* the commit closes it in any case */
    SW_TRY(sw_upload_commit(upload, &blob, err));
    im->id[0] = '\0';
    SW_TRY(sw_registry_note_blob(im->registry, &blob, err));
    im->files[im->at++].digest = blob.digest;
    return SW_OK;
}

/* Ends what a failure has left half done. */
static void store_abandon(struct import *im) {
    sw_upload_close(im->upload);
    im->upload = NULL;
    if (im->id[0]) { /* what cannot be deleted now is swept later */
        sw_status ignored = sw_upload_delete(im->registry->artifacts, sw_str_of(im->id), NULL);
        (void)ignored;
    }
}

static sw_status unpack(struct import *im, int fd, enum sw_archive_kind kind, struct sw_error *err) {
    const struct sw_archive_limits limits = {.files_max = SW_REGISTRY_FILES_MAX,
                                             .bytes_max = sw_artifacts_upload_max(im->registry->artifacts),
                                             .ratio_max = RATIO_MAX,
                                             .ratio_from = RATIO_FROM};
    const struct sw_archive_sink list = {.arg = im, .begin = list_begin, .data = list_data, .end = list_end};
    const struct sw_archive_sink store = {.arg = im, .begin = store_begin, .data = store_data, .end = store_end};
    SW_TRY(sw_archive_read(fd, kind, &limits, &list, err));
    if (im->count == 0) {
        return sw_fail(err, SW_E_MODEL_INVALID, "archive: there is no file in it");
    }
    take_top_off(im);
    struct sw_error reason;
    sw_status status = sw_registry_check_files(im->files, im->count, &reason);
    if (status) { /* the archive is at fault, not what the caller asked for */
        return sw_fail(err, status == SW_E_INVALID_ARGUMENT ? SW_E_MODEL_INVALID : status, "archive: %s",
                       reason.message);
    }
    status = sw_archive_read(fd, kind, &limits, &store, err);
    if (!status && im->at != im->count) {
        status = sw_fail(err, SW_E_IO, "archive: it has changed while it was read");
    }
    store_abandon(im);
    return status;
}

/* the upload ------------------------------------------------------------------------------------------------------- */

/* What stands as a blob under its own digest: a bare model file. *upload is closed and set to NULL. */
static sw_status take_bare(struct import *im, struct sw_upload **upload, const char *file_name, struct sw_error *err) {
    struct sw_str name = sw_path_base(sw_str_of(file_name && file_name[0] ? file_name : "model.onnx"));
    struct sw_blob blob;
    if (!sw_registry_path_valid(name)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "file_name: \"" SW_STR_FMT "\" is no name for a file",
                       SW_STR_ARG(name));
    }
    struct sw_upload *taken = *upload;
    *upload = NULL;
    SW_TRY(sw_upload_commit(taken, &blob, err));
    SW_TRY(sw_registry_note_blob(im->registry, &blob, err));
    im->files = SW_NEW(struct sw_version_file);
    im->files[0] = (struct sw_version_file){
        .path = sw_xstrndup(name.data, name.len), .digest = blob.digest, .size = blob.size};
    im->count = 1;
    return SW_OK;
}

/* An archive is no blob, so nobody else compares it with the digest that was announced. */
static sw_status check_digest(const struct sw_upload *upload, const struct sw_upload_info *info, struct sw_error *err) {
    struct sw_digest digest;
    uint64_t size;
    if (!info->has_digest) {
        return SW_OK;
    }
    SW_TRY(sw_digest_file(sw_upload_path(upload), &digest, &size, err));
    if (strcmp(digest.hex, info->digest.hex) != 0) {
        return sw_fail(err, SW_E_DIGEST_MISMATCH, "the upload has SHA-256 %s, announced was %s", digest.hex,
                       info->digest.hex);
    }
    return SW_OK;
}

static sw_status take_upload(struct import *im, struct sw_upload **upload, const struct sw_upload_info *info,
                             const char *file_name, struct sw_error *err) {
    enum sw_archive_kind kind;
    int fd = open(sw_upload_path(*upload), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return sw_fail(err, SW_E_IO, "the upload: %s", strerror(errno));
    }
    sw_status status = sw_archive_detect(fd, &kind, err);
    if (!status && kind == SW_ARCHIVE_NONE) {
        status = take_bare(im, upload, file_name, err);
    } else if (!status) {
        status = check_digest(*upload, info, err);
        status = status ? status : unpack(im, fd, kind, err);
    }
    close(fd);
    return status;
}

static sw_status create(struct import *im, const struct sw_actor *actor, const char *model, bool create_model,
                        const struct sw_version_spec *spec, json_t **ret, struct sw_error *err) {
    struct sw_version_spec whole = {0};
    if (spec) {
        whole = *spec;
    }
    whole.files = im->files;
    whole.file_count = im->count;
    return sw_registry_create_version(im->registry, actor, model, create_model, &whole, ret, err);
}

/* The upload's id: the last part of its path. */
static struct sw_str upload_id(const struct sw_upload *upload) {
    return sw_path_base(sw_str_of(sw_upload_path(upload)));
}

sw_status sw_registry_import(struct sw_registry *registry, const struct sw_actor *actor, const char *model,
                             bool create_model, struct sw_upload *upload, const char *file_name,
                             const struct sw_version_spec *spec, json_t **ret, struct sw_error *err) {
    struct import im = {.registry = registry};
    struct sw_upload_info info;
    char id[SW_UPLOAD_ID + 1];
    snprintf(id, sizeof id, SW_STR_FMT, SW_STR_ARG(upload_id(upload)));
    sw_status status = sw_upload_stat(registry->artifacts, sw_str_of(id), &info, err);
    if (!status && info.size != UINT64_MAX && sw_upload_offset(upload) != info.size) {
        status = sw_fail(err, SW_E_INVALID_ARGUMENT, "the upload has %llu of %llu bytes",
                         (unsigned long long)sw_upload_offset(upload), (unsigned long long)info.size);
        sw_upload_close(upload);
        return status;
    }
    status = status ? status : sw_registry_check_name(model, err);
    status = status ? status : take_upload(&im, &upload, &info, file_name, err);
    sw_upload_close(upload);
    status = status ? status : create(&im, actor, model, create_model, spec, ret, err);
    import_deinit(&im);
    sw_status gone = sw_upload_delete(registry->artifacts, sw_str_of(id), NULL); /* else it is swept later */
    (void)gone;
    return status;
}
