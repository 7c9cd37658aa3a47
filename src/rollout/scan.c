/* Which versions a path holds, and what the model is called.
 *
 *   x.onnx                       version 1 of x
 *   DIR/bundle.yaml              version 1, called as the bundle says
 *   DIR/model.onnx               version 1 of DIR (or the one model file in it)
 *   DIR/1, DIR/2, DIR/10 ...     these versions, each like one of the two above; called as their bundles say, else DIR
 *
 * Version folders are decimal numbers above 0 without leading zeros; other folders are ignored beside them. A broken
 * version does not hide the others: it is listed with its reason. */
#include <dirent.h>
#include <errno.h>

#include "base/file.h"
#include "base/memory.h"
#include "rollout/repository_internal.h"

bool scan_accepts(const struct sw_model_options *options, struct sw_str path) {
    for (size_t i = 0; i < options->engine_count; i++) {
        if (options->engines[i]->ops->accepts(options->engines[i], path)) {
            return true;
        }
    }
    return false;
}

void scan_deinit(struct scan *scan) {
    for (size_t i = 0; i < scan->count; i++) {
        sw_free(scan->items[i].path);
    }
    sw_free(scan->items);
    sw_free(scan->name);
    *scan = (struct scan){0};
}

/* Last component of the path; of the real path when that is "." or "..". On the heap. */
static char *folder_name(const char *path) {
    struct sw_str base = sw_path_base(sw_str_of(path));
    if (!sw_str_is(base, ".") && !sw_str_is(base, "..")) {
        while (base.len > 1 && base.data[base.len - 1] == '/') {
            base.len--;
        }
        return sw_xstrndup(base.data, base.len);
    }
    char *real = realpath(path, NULL);
    base = sw_path_base(sw_str_of(real ? real : path));
    char *name = sw_xstrndup(base.data, base.len);
    sw_free(real);
    return name;
}

static sw_status only_model_file(const struct sw_model_options *options, const char *dir, char **ret,
                                 struct sw_error *err) {
    DIR *d = opendir(dir);
    if (!d) {
        return sw_fail(err, SW_E_IO, "%s: %s", dir, strerror(errno));
    }
    char *found = NULL;
    bool several = false;
    for (struct dirent *e; !several && (e = readdir(d));) {
        if (e->d_name[0] == '.' || !scan_accepts(options, sw_str_of(e->d_name))) {
            continue;
        }
        char *path = sw_path_join(dir, e->d_name);
        if (!sw_path_is_file(path)) {
            sw_free(path);
        } else if (found) {
            several = true;
            sw_free(path);
        } else {
            found = path;
        }
    }
    closedir(d);
    if (several || !found) {
        sw_free(found);
        return several
                   ? sw_fail(err, SW_E_MODEL_INVALID, "%s: several model files and no bundle.yaml to choose one", dir)
                   : sw_fail(err, SW_E_NOT_FOUND, "%s: neither bundle.yaml nor a model file in it", dir);
    }
    *ret = found;
    return SW_OK;
}

sw_status scan_folder(const struct sw_model_options *options, const char *dir, char **ret, bool *ret_named,
                      struct sw_error *err) {
    char *yaml = sw_path_join(dir, "bundle.yaml"), *onnx = sw_path_join(dir, "model.onnx");
    sw_status status = SW_OK;
    *ret_named = sw_path_is_file(yaml);
    if (*ret_named) {
        *ret = sw_xstrdup(dir);
    } else if (sw_path_is_file(onnx)) {
        *ret = sw_xstrdup(onnx);
    } else {
        status = only_model_file(options, dir, ret, err);
    }
    sw_free(yaml);
    sw_free(onnx);
    return status;
}

/* Adds one version. Its name goes to *name when that is still NULL; a different one is an error of the whole scan.
 * `folder` is the name when the bundle gives none; `own` is the folder that the bundle itself lies in, which is what
 * sw_bundle_load calls a bundle without a name. */
static sw_status add_scanned(struct scan *scan, int64_t number, char *path, const char *folder, const char *own,
                             struct sw_error *err) {
    struct scanned_version *v = &scan->items[scan->count++];
    *v = (struct scanned_version){.number = number, .path = path};
    struct sw_bundle *bundle;
    if (sw_bundle_load(path, &bundle, &v->reason)) {
        v->broken = true;
        return SW_OK;
    }
    const char *name = folder && (!own || strcmp(bundle->name, own) == 0) ? folder : bundle->name;
    sw_status status = SW_OK;
    if (!sw_model_name_valid(sw_str_of(name))) {
        status = sw_fail(err, SW_E_MODEL_INVALID, "%s: '%s' cannot be the name of a model", path, name);
    } else if (scan->name && strcmp(scan->name, name) != 0) {
        status = sw_fail(err, SW_E_MODEL_INVALID, "%s: this version is called '%s', another one '%s'", path, name,
                         scan->name);
    } else if (!scan->name) {
        scan->name = sw_xstrdup(name);
    }
    sw_bundle_destroy(bundle);
    return status;
}

static int by_number(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The numbered folders in dir, ascending; none: *ret_count 0 and *ret NULL. */
static sw_status numbered_folders(const char *dir, int64_t **ret, size_t *ret_count, struct sw_error *err) {
    DIR *d = opendir(dir);
    if (!d) {
        return sw_fail(err, errno == ENOENT ? SW_E_NOT_FOUND : SW_E_IO, "%s: %s", dir, strerror(errno));
    }
    int64_t *numbers = NULL;
    size_t count = 0;
    sw_status status = SW_OK;
    for (struct dirent *e; !status && (e = readdir(d));) {
        int64_t number;
        if (e->d_name[0] < '1' || e->d_name[0] > '9' || !sw_parse_i64(sw_str_of(e->d_name), &number)) {
            continue;
        }
        char *path = sw_path_join(dir, e->d_name);
        if (sw_path_is_dir(path) && count == VERSIONS_MAX) {
            status = sw_fail(err, SW_E_TOO_LARGE, "%s: more than %d versions", dir, VERSIONS_MAX);
        } else if (sw_path_is_dir(path)) {
            numbers = sw_xrealloc(numbers, (count + 1) * sizeof *numbers);
            numbers[count++] = number;
        }
        sw_free(path);
    }
    closedir(d);
    if (status) {
        sw_free(numbers);
        return status;
    }
    if (count) {
        qsort(numbers, count, sizeof *numbers, by_number);
    }
    *ret = numbers;
    *ret_count = count;
    return SW_OK;
}

static sw_status scan_numbered(const struct sw_model_options *options, const char *dir, const int64_t *numbers,
                               size_t count, struct scan *scan, struct sw_error *err) {
    SW_AUTO_FREE char *folder = folder_name(dir);
    scan->items = sw_xcalloc(count, sizeof *scan->items);
    for (size_t i = 0; i < count; i++) {
        char own[24];
        snprintf(own, sizeof own, "%lld", (long long)numbers[i]);
        char *version_dir = sw_path_join(dir, own), *path = NULL;
        bool named = false;
        struct sw_error reason = {0};
        sw_status status = scan_folder(options, version_dir, &path, &named, &reason);
        if (status) {
            scan->items[scan->count++] = (struct scanned_version){
                .number = numbers[i], .path = version_dir, .broken = true, .reason = reason};
            continue;
        }
        sw_free(version_dir);
        SW_TRY(add_scanned(scan, numbers[i], path, folder, named ? own : NULL, err));
    }
    return SW_OK;
}

static sw_status scan_single(const struct sw_model_options *options, const char *path, bool is_dir, struct scan *scan,
                             struct sw_error *err) {
    scan->items = sw_xcalloc(1, sizeof *scan->items);
    if (!is_dir) {
        return add_scanned(scan, 1, sw_xstrdup(path), NULL, NULL, err);
    }
    char *resolved;
    bool named;
    SW_TRY(scan_folder(options, path, &resolved, &named, err));
    SW_AUTO_FREE char *folder = named ? NULL : folder_name(path);
    return add_scanned(scan, 1, resolved, folder, NULL, err);
}

static sw_status scan_any(const struct sw_model_options *options, const char *path, struct scan *scan,
                          struct sw_error *err) {
    bool is_dir = sw_path_is_dir(path);
    if (!is_dir && !sw_path_is_file(path)) {
        return sw_fail(err, SW_E_NOT_FOUND, "%s: no such file or folder", path);
    }
    int64_t *numbers = NULL;
    size_t count = 0;
    if (is_dir) {
        SW_AUTO_FREE char *yaml = sw_path_join(path, "bundle.yaml");
        if (!sw_path_is_file(yaml)) {
            SW_TRY(numbered_folders(path, &numbers, &count, err));
        }
    }
    sw_status status = count ? scan_numbered(options, path, numbers, count, scan, err)
                             : scan_single(options, path, is_dir, scan, err);
    sw_free(numbers);
    return status;
}

sw_status scan_path(const struct sw_model_options *options, const char *path, struct scan *ret, struct sw_error *err) {
    struct scan scan = {0};
    sw_status status = scan_any(options, path, &scan, err);
    if (!status && !scan.name) { /* every version is broken */
        const struct scanned_version *newest = &scan.items[scan.count - 1];
        status = sw_fail(err, newest->reason.code, "%s", newest->reason.message);
    }
    if (status) {
        scan_deinit(&scan);
        return status;
    }
    *ret = scan;
    return SW_OK;
}
