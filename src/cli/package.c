/* Collecting and hashing; see package.h. */
#include "cli/package.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "graph/signature.h"
#include "registry/registry.h"

enum { PIECE = 1 << 20 };

bool sw_package_is_archive_name(struct sw_str name) {
    static const char *const ends[] = {".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".zip"};
    for (size_t i = 0; i < SW_COUNTOF(ends); i++) {
        struct sw_str end = sw_str_of(ends[i]);
        if (name.len > end.len && sw_str_ieq((struct sw_str){name.data + name.len - end.len, end.len}, end)) {
            return true;
        }
    }
    return false;
}

/* Consumes path and local. */
static sw_status add_file(struct sw_package *package, char *path, char *local, uint64_t size, struct sw_error *err) {
    sw_status status = SW_OK;
    if (!sw_registry_path_valid(sw_str_of(path))) {
        status = sw_fail(
            err, SW_E_INVALID_ARGUMENT,
            "%s: a file's name in the registry is at most 512 bytes of printable UTF-8 without backslashes", local);
    } else if (package->count == SW_PACKAGE_FILES_MAX) {
        status = sw_fail(err, SW_E_TOO_LARGE, "more than %d files", SW_PACKAGE_FILES_MAX);
    }
    if (status) {
        sw_free(path);
        sw_free(local);
        return status;
    }
    if (package->count == package->capacity) {
        package->capacity = package->capacity ? package->capacity * 2 : 16;
        package->files = sw_xrealloc(package->files, package->capacity * sizeof *package->files);
    }
    package->files[package->count++] = (struct sw_package_file){.path = path, .local = local, .size = size};
    package->bytes += size;
    return SW_OK;
}

/* --- folders ----------------------------------------------------------------------------------------------------- */

static int visible(const struct dirent *entry) {
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static sw_status walk(struct sw_package *package, const char *local, const char *prefix, unsigned depth,
                      struct sw_error *err);

static sw_status take_entry(struct sw_package *package, const char *folder, const char *prefix, const char *name,
                            unsigned depth, struct sw_error *err) {
    struct stat info;
    char *local = sw_path_join(folder, name);
    char *path = *prefix ? sw_path_join(prefix, name) : sw_xstrdup(name);
    sw_status status = SW_OK;
    if (lstat(local, &info) != 0) {
        status = sw_fail(err, SW_E_IO, "%s: %s", local, strerror(errno));
    } else if (S_ISDIR(info.st_mode)) {
        status = walk(package, local, path, depth + 1, err);
    } else if (S_ISLNK(info.st_mode)) {
        status = sw_fail(err, SW_E_INVALID_ARGUMENT, "%s is a link; put the file itself there (cp -L)", local);
    } else if (!S_ISREG(info.st_mode)) {
        status = sw_fail(err, SW_E_INVALID_ARGUMENT, "%s is neither a file nor a folder", local);
    } else if (access(local, R_OK) != 0) {
        status = sw_fail(err, SW_E_IO, "%s cannot be read: %s", local, strerror(errno));
    } else {
        return add_file(package, path, local, (uint64_t)info.st_size, err);
    }
    sw_free(path);
    sw_free(local);
    return status;
}

static sw_status walk(struct sw_package *package, const char *local, const char *prefix, unsigned depth,
                      struct sw_error *err) {
    struct dirent **list;
    if (depth > SW_PACKAGE_DEPTH_MAX) {
        return sw_fail(err, SW_E_TOO_LARGE, "%s: folders are nested more than %d deep", local, SW_PACKAGE_DEPTH_MAX);
    }
    int n = scandir(local, &list, visible, alphasort);
    if (n < 0) {
        return sw_fail(err, SW_E_IO, "%s cannot be read: %s", local, strerror(errno));
    }
    sw_status status = SW_OK;
    for (int i = 0; i < n; i++) {
        if (list[i]->d_name[0] == '.') {
            package->hidden_count++;
        } else if (!status) {
            status = take_entry(package, local, prefix, list[i]->d_name, depth, err);
        }
        free(list[i]); /* of scandir */
    }
    free(list);
    return status;
}

/* --- one file ---------------------------------------------------------------------------------------------------- */

static sw_status add_external(struct sw_package *package, const char *folder, const char *name, struct sw_error *err) {
    struct stat info;
    if (!sw_path_is_inside(sw_str_of(name))) {
        return sw_fail(err, SW_E_MODEL_INVALID, "the model keeps data in '%s', outside its own folder", name);
    }
    char *local SW_AUTO_FREE = sw_path_join(folder, name);
    if (lstat(local, &info) != 0) {
        return sw_fail(err, errno == ENOENT ? SW_E_NOT_FOUND : SW_E_IO, "%s, which the model keeps its data in: %s",
                       local, strerror(errno));
    }
    if (!S_ISREG(info.st_mode) || access(local, R_OK) != 0) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "%s, which the model keeps its data in, is no file that can be read",
                       local);
    }
    return add_file(package, sw_xstrdup(name), sw_xstrdup(local), (uint64_t)info.st_size, err);
}

static sw_status add_model(struct sw_package *package, const char *path, uint64_t size, struct sw_error *err) {
    json_t *signature, *external = NULL;
    struct sw_str base = sw_path_base(sw_str_of(path));
    if (sw_onnx_signature(path, &signature, &external, err)) {
        return sw_error_prefix(err, "%s", path);
    }
    json_decref(signature);
    size_t in_front = (size_t)(base.data - path);
    char *folder SW_AUTO_FREE = in_front ? sw_xstrndup(path, in_front) : sw_xstrdup(".");
    sw_status status = add_file(package, sw_xstrndup(base.data, base.len), sw_xstrdup(path), size, err);
    size_t i;
    json_t *name;
    json_array_foreach(external, i, name) {
        if (!status) {
            status = add_external(package, folder, json_string_value(name), err);
        }
    }
    json_decref(external);
    return status;
}

static sw_status open_path(const char *path, struct sw_package *package, struct sw_error *err) {
    struct stat info;
    struct sw_str base = sw_path_base(sw_str_of(path));
    if (stat(path, &info) != 0) {
        return sw_fail(err, errno == ENOENT || errno == ENOTDIR ? SW_E_NOT_FOUND : SW_E_IO, "%s: %s", path,
                       strerror(errno));
    }
    if (S_ISDIR(info.st_mode)) {
        SW_TRY(walk(package, path, "", 0, err));
        return package->count ? SW_OK
                              : sw_fail(err, SW_E_INVALID_ARGUMENT, "%s holds no files%s", path,
                                        package->hidden_count ? " but hidden ones" : "");
    }
    package->is_archive = sw_package_is_archive_name(base);
    bool is_model = sw_str_ends(base, SW_STR(".onnx"));
    if (!S_ISREG(info.st_mode) || (!package->is_archive && !is_model)) {
        return sw_fail(
            err, SW_E_USAGE,
            "%s is neither a folder, nor an .onnx file, nor an archive (.tar, .tar.gz, .tgz, .tar.xz, .tar.zst, "
            ".zip)",
            path);
    }
    if (access(path, R_OK) != 0) {
        return sw_fail(err, SW_E_IO, "%s cannot be read: %s", path, strerror(errno));
    }
    if (is_model) {
        return add_model(package, path, (uint64_t)info.st_size, err);
    }
    return add_file(package, sw_xstrndup(base.data, base.len), sw_xstrdup(path), (uint64_t)info.st_size, err);
}

sw_status sw_package_open(const char *path, struct sw_package *ret, struct sw_error *err) {
    struct sw_package package = {0};
    sw_status status = open_path(path, &package, err);
    if (status) {
        sw_package_deinit(&package);
        return status;
    }
    *ret = package;
    return SW_OK;
}

void sw_package_deinit(struct sw_package *package) {
    for (size_t i = 0; i < package->count; i++) {
        sw_free(package->files[i].path);
        sw_free(package->files[i].local);
    }
    sw_free(package->files);
    *package = (struct sw_package){0};
}

/* --- digests ----------------------------------------------------------------------------------------------------- */

struct hashing {
    void (*moved)(void *arg, uint64_t done);
    void *arg;
    uint64_t done;
    char *piece;
};

static sw_status hash_open_file(struct hashing *h, struct sw_package_file *file, int fd, struct sw_error *err) {
    struct sw_hasher *hasher = sw_hasher_create();
    uint64_t size = 0;
    ssize_t n;
    while ((n = read(fd, h->piece, PIECE)) != 0) {
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            sw_hasher_discard(hasher);
            return sw_fail(err, SW_E_IO, "%s: %s", file->local, strerror(errno));
        }
        sw_hasher_update(hasher, h->piece, (size_t)n);
        size += (uint64_t)n;
        h->done += (uint64_t)n;
        if (h->moved) {
            h->moved(h->arg, h->done);
        }
    }
    sw_hasher_finish(hasher, &file->digest);
    return size == file->size
               ? SW_OK
               : sw_fail(err, SW_E_CONFLICT, "%s changes while it is read; push it when it is finished", file->local);
}

sw_status sw_package_hash(struct sw_package *package, void (*moved)(void *arg, uint64_t done), void *arg,
                          struct sw_error *err) {
    struct hashing h = {.moved = moved, .arg = arg, .piece = sw_xmalloc(PIECE)};
    sw_status status = SW_OK;
    for (size_t i = 0; i < package->count && !status; i++) {
        struct sw_package_file *file = &package->files[i];
        int fd = open(file->local, O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
            status = sw_fail(err, SW_E_IO, "%s cannot be read: %s", file->local, strerror(errno));
        } else {
            status = hash_open_file(&h, file, fd, err);
            close(fd);
        }
    }
    sw_free(h.piece);
    return status;
}
