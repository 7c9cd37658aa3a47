/* The folder of backups: what is in it, reading and checking snapshots. See backup.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "registry/backup_internal.h"

enum { MANIFEST_MAX = 1 << 20, BLOBS_MAX = 1 << 30, SNAPSHOTS_MAX = 100000 };

static const char marker_name[] = "slipway-backup.json";
static const char marker_text[] = "{\"format\": 1, \"what\": \"backups of a Slipway registry\"}\n";

char *sw_backup_path(const char *directory, const char *snapshot, const char *file) {
    SW_AUTO_FREE char *snapshots = sw_path_join(directory, "snapshots");
    if (!snapshot) {
        return sw_xstrdup(snapshots);
    }
    char *folder = sw_path_join(snapshots, snapshot);
    if (!file) {
        return folder;
    }
    char *path = sw_path_join(folder, file);
    sw_free(folder);
    return path;
}

static sw_status fail_errno(struct sw_error *err, const char *verb, const char *path) {
    int code = errno;
    sw_status status = code == ENOSPC || code == EDQUOT ? SW_E_INSUFFICIENT_STORAGE
                       : code == ENOENT                 ? SW_E_NOT_FOUND
                                                        : SW_E_IO;
    return sw_fail(err, status, "cannot %s %s: %s", verb, path, strerror(code));
}

sw_status sw_backup_sync_folder(const char *path, struct sw_error *err) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return fail_errno(err, "open folder", path);
    }
    sw_status status = fsync(fd) ? fail_errno(err, "fsync", path) : SW_OK;
    close(fd);
    return status;
}

static sw_status write_all(int fd, const char *data, size_t len, const char *path, struct sw_error *err) {
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return fail_errno(err, "write", path);
        }
        data += n;
        len -= (size_t)n;
    }
    return fsync(fd) ? fail_errno(err, "fsync", path) : SW_OK;
}

sw_status sw_backup_write_file(const char *path, const void *data, size_t len, struct sw_error *err) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return fail_errno(err, "make", path);
    }
    sw_status status = write_all(fd, data, len, path, err);
    if (close(fd) && !status) {
        status = fail_errno(err, "close", path);
    }
    return status;
}

/* ---- the folder */

static bool is_empty_folder(const char *path) {
    DIR *d = opendir(path);
    bool empty = true;
    for (struct dirent *e; d && empty && (e = readdir(d));) {
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    }
    if (d) {
        closedir(d);
    }
    return empty;
}

static sw_status make_folder(const char *path, struct sw_error *err) {
    return mkdir(path, 0700) && errno != EEXIST ? fail_errno(err, "make folder", path) : SW_OK;
}

static sw_status make_set(const char *directory, const char *marker, struct sw_error *err) {
    SW_AUTO_FREE char *snapshots = sw_backup_path(directory, NULL, NULL);
    SW_TRY(make_folder(directory, err));
    if (!is_empty_folder(directory)) {
        return sw_fail(err, SW_E_CONFLICT,
                       "%s is not empty and holds no backups: give an empty folder, or one of earlier backups",
                       directory);
    }
    SW_TRY(make_folder(snapshots, err));
    SW_TRY(sw_backup_write_file(marker, marker_text, sizeof marker_text - 1, err));
    return sw_backup_sync_folder(directory, err);
}

static sw_status check_marker(const char *marker, struct sw_error *err) {
    struct sw_buf text;
    SW_TRY(sw_file_read(marker, MANIFEST_MAX, &text, err));
    SW_AUTO_JSON json_t *json = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
    sw_buf_deinit(&text);
    json_int_t format = json_integer_value(json_object_get(json, "format"));
    return format == 1 ? SW_OK
                       : sw_fail(err, SW_E_CONFLICT, "%s: format %lld of backups is not one that this program knows",
                                 marker, (long long)format);
}

sw_status sw_backup_set_open(const struct sw_backup_options *options, bool create, struct sw_artifacts **ret,
                             struct sw_error *err) {
    SW_AUTO_FREE char *marker = sw_path_join(options->directory, marker_name);
    if (!sw_path_is_file(marker)) {
        if (!create) {
            return sw_fail(err, SW_E_NOT_FOUND, "%s holds no backups of a registry", options->directory);
        }
        SW_TRY(make_set(options->directory, marker, err));
    }
    SW_TRY(check_marker(marker, err));
    struct sw_artifacts_options blobs;
    sw_artifacts_options_default(&blobs);
    blobs.directory = options->directory;
    blobs.read_only = !create;
    blobs.clock = options->clock;
    blobs.upload_max = UINT64_MAX;
    return sw_artifacts_open(&blobs, ret, err);
}

/* ---- snapshots */

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void free_names(char **names, size_t count) {
    for (size_t i = 0; i < count; i++) {
        sw_free(names[i]);
    }
    sw_free(names);
}

/* Complete ones, oldest first: names sort by time. */
static sw_status snapshot_names(const char *directory, char ***ret, size_t *ret_count, struct sw_error *err) {
    SW_AUTO_FREE char *folder = sw_backup_path(directory, NULL, NULL);
    DIR *d = opendir(folder);
    if (!d) {
        return sw_fail(err, SW_E_NOT_FOUND, "%s holds no backups of a registry", directory);
    }
    char **names = NULL;
    size_t count = 0;
    for (struct dirent *e; count < SNAPSHOTS_MAX && (e = readdir(d));) {
        if (e->d_name[0] != '.' && strlen(e->d_name) < SW_SNAPSHOT_NAME_MAX) {
            names = sw_xrealloc(names, (count + 1) * sizeof *names);
            names[count++] = sw_xstrdup(e->d_name);
        }
    }
    closedir(d);
    if (count) {
        qsort(names, count, sizeof *names, by_name);
    }
    *ret = names;
    *ret_count = count;
    return SW_OK;
}

static sw_status read_manifest(const char *directory, const char *snapshot, json_t **ret, struct sw_error *err) {
    SW_AUTO_FREE char *path = sw_backup_path(directory, snapshot, "manifest.json");
    struct sw_buf text;
    SW_TRY(sw_file_read(path, MANIFEST_MAX, &text, err));
    json_error_t why;
    json_t *json = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, &why);
    sw_buf_deinit(&text);
    if (!json_is_integer(json_object_get(json, "time_ms"))) {
        json_decref(json);
        return sw_fail(err, SW_E_DIGEST_MISMATCH, "%s is damaged: %s", path, json ? "no time_ms" : why.text);
    }
    *ret = json;
    return SW_OK;
}

sw_status sw_backup_list(const char *directory, json_t **ret, struct sw_error *err) {
    char **names;
    size_t count;
    SW_TRY(snapshot_names(directory, &names, &count, err));
    json_t *list = json_array();
    sw_status status = SW_OK;
    for (size_t i = 0; i < count && !status; i++) {
        json_t *manifest;
        status = read_manifest(directory, names[i], &manifest, err);
        if (!status) {
            json_array_append_new(list, manifest);
        }
    }
    free_names(names, count);
    if (status) {
        json_decref(list);
        return status;
    }
    *ret = list;
    return SW_OK;
}

sw_status sw_backup_choose(const char *directory, uint64_t at_ms, json_t **ret_manifest,
                           char ret_name[SW_SNAPSHOT_NAME_MAX], struct sw_error *err) {
    char **names;
    size_t count;
    SW_TRY(snapshot_names(directory, &names, &count, err));
    sw_status status = sw_fail(err, SW_E_NOT_FOUND, "%s: no backup %s", directory, at_ms ? "that old" : "is complete");
    for (size_t i = count; i-- > 0;) {
        json_t *manifest;
        status = read_manifest(directory, names[i], &manifest, err);
        if (status) {
            break;
        }
        if (at_ms == 0 || (uint64_t)json_integer_value(json_object_get(manifest, "time_ms")) <= at_ms) {
            *ret_manifest = manifest;
            snprintf(ret_name, SW_SNAPSHOT_NAME_MAX, "%s", names[i]);
            break;
        }
        json_decref(manifest);
        status = sw_fail(err, SW_E_NOT_FOUND, "%s: the oldest backup, %s, is newer than that", directory, names[0]);
    }
    free_names(names, count);
    return status;
}

sw_status sw_backup_check_file(const char *directory, const char *snapshot, const json_t *manifest, const char *key,
                               char **ret_path, struct sw_error *err) {
    const json_t *part = json_object_get(manifest, key);
    const char *file = json_string_value(json_object_get(part, "file"));
    const char *sha256 = json_string_value(json_object_get(part, "sha256"));
    if (!file || !sha256 || strchr(file, '/')) {
        return sw_fail(err, SW_E_DIGEST_MISMATCH, "%s/%s: the manifest is damaged: no %s", directory, snapshot, key);
    }
    char *path = sw_backup_path(directory, snapshot, file);
    struct sw_digest digest;
    uint64_t size;
    sw_status status = sw_digest_file(path, &digest, &size, err);
    if (!status &&
        (strcmp(digest.hex, sha256) != 0 || size != (uint64_t)json_integer_value(json_object_get(part, "bytes")))) {
        status = sw_fail(err, SW_E_DIGEST_MISMATCH, "%s is not what its manifest says: damaged or changed", path);
    }
    if (status || !ret_path) {
        sw_free(path);
    } else {
        *ret_path = path;
    }
    return status;
}

static sw_status parse_blob_line(struct sw_str line, struct sw_digest *ret_digest, uint64_t *ret_size,
                                 struct sw_error *err) {
    struct sw_str hex;
    struct sw_str size = sw_str_split(line, ' ', &hex);
    return sw_digest_parse(hex, ret_digest) && sw_parse_u64(size, ret_size)
               ? SW_OK
               : sw_fail(err, SW_E_DIGEST_MISMATCH, "blobs.txt: '" SW_STR_FMT "' is no line of it", SW_STR_ARG(line));
}

sw_status sw_backup_each_blob(const char *directory, const char *snapshot, const json_t *manifest,
                              sw_backup_blob_fn *fn, void *arg, struct sw_error *err) {
    SW_AUTO_FREE char *path = NULL;
    struct sw_buf text;
    SW_TRY(sw_backup_check_file(directory, snapshot, manifest, "blobs", &path, err));
    SW_TRY(sw_file_read(path, BLOBS_MAX, &text, err));
    struct sw_str rest = sw_buf_str(&text), line;
    sw_status status = SW_OK;
    while (!status && rest.len) {
        struct sw_digest digest;
        uint64_t size;
        rest = sw_str_split(rest, '\n', &line);
        status = parse_blob_line(line, &digest, &size, err);
        if (!status) {
            status = fn(arg, &digest, size, err);
        }
    }
    sw_buf_deinit(&text);
    return status;
}
