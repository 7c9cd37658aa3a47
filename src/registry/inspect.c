/* What files are, before they become a version: which one is the model, what the bundle says, what the graph takes
 * and gives. The rules are those of sw_bundle_load, applied to a list of paths instead of a folder, so that what is
 * accepted here is found by the loader; nothing is loaded, and only bundle.yaml is read as a whole.
 *
 * Invariant: a path that the bundle or the graph names counts only when it is one of the files; nothing else is
 * opened. */
#include <errno.h>
#include <math.h>
#include <unistd.h>

#include "base/file.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/yaml.h"
#include "graph/signature.h"
#include "registry/registry_internal.h"

enum { BUNDLE_MAX = 1 << 20 };

static const char *const model_endings[] = {".onnx", ".fake.json"}; /* as in pipeline/bundle.c */

struct inspect {
    struct sw_registry *registry;
    const char *model;
    const struct sw_version_file *files;
    size_t count;
    struct sw_map by_path;
    struct sw_bundle *bundle; /* never NULL once read: that of an empty bundle.yaml when there is none */
    struct sw_error *err;
};

/* The path of a file named `name` in the folder that `beside` (a path, or "") lies in, without "." parts; NULL when
 * it leaves the version. On the heap. */
static char *resolve(const char *beside, const char *name) {
    struct sw_buf out;
    struct sw_str part, rest = sw_str_of(name);
    const char *slash = strrchr(beside, '/');
    if (!sw_path_is_inside(rest)) {
        return NULL;
    }
    sw_buf_init(&out, 2 * SW_REGISTRY_PATH_MAX + strlen(name));
    sw_buf_append(&out, beside, slash ? (size_t)(slash - beside) : 0);
    while (rest.data) {
        rest = sw_str_split(rest, '/', &part);
        if (!sw_str_is(part, ".")) {
            if (out.len) {
                sw_buf_append_c(&out, '/');
            }
            sw_buf_append_str(&out, part);
        }
    }
    char *path = out.failed || !out.len ? NULL : sw_xstrndup(out.data, out.len);
    sw_buf_deinit(&out);
    return path;
}

/* The file called `name` beside `beside`; SW_E_MODEL_INVALID, saying who (`where`) names it. */
static sw_status find_file(const struct inspect *in, const char *where, const char *beside, const char *name,
                           const struct sw_version_file **ret) {
    SW_AUTO_FREE char *path = resolve(beside, name);
    if (!path) {
        return sw_fail(in->err, SW_E_MODEL_INVALID, "%s: \"%.200s\" is no path inside the version", where, name);
    }
    const struct sw_version_file *file = sw_map_get(&in->by_path, sw_str_of(path));
    if (!file) {
        return sw_fail(in->err, SW_E_MODEL_INVALID, "%s: \"%.200s\" is not among the files", where, path);
    }
    if (ret) {
        *ret = file;
    }
    return SW_OK;
}

static sw_status open_file(const struct inspect *in, const struct sw_version_file *file, int *ret_fd) {
    uint64_t size = 0;
    int fd = -1;
    sw_status status = sw_artifacts_open_blob(in->registry->artifacts, &file->digest, &fd, &size, in->err);
    if (status == SW_E_NOT_FOUND) {
        return sw_fail(in->err, SW_E_DIGEST_MISMATCH, "%.200s: nothing with SHA-256 %s has been uploaded", file->path,
                       file->digest.hex);
    }
    SW_TRY(status);
    if (size != file->size) {
        close(fd);
        return sw_fail(in->err, SW_E_DIGEST_MISMATCH, "%.200s: has %llu bytes, not %llu", file->path,
                       (unsigned long long)size, (unsigned long long)file->size);
    }
    *ret_fd = fd;
    return SW_OK;
}

/* the bundle ------------------------------------------------------------------------------------------------------- */

static sw_status read_fd(const struct inspect *in, int fd, const char *path, struct sw_buf *text) {
    char piece[16384];
    for (;;) {
        ssize_t n = read(fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return sw_fail(in->err, SW_E_IO, "%s: %s", path, strerror(errno));
        }
        if (n == 0) {
            return SW_OK;
        }
        sw_buf_append(text, piece, (size_t)n);
        if (text->failed) {
            return sw_fail(in->err, SW_E_MODEL_INVALID, "%s: more than %d bytes", path, BUNDLE_MAX);
        }
    }
}

static sw_status read_text(const struct inspect *in, const struct sw_version_file *file, struct sw_buf *text) {
    int fd;
    if (file->size > BUNDLE_MAX) {
        return sw_fail(in->err, SW_E_MODEL_INVALID, "%s: %llu bytes, at most %d are read", file->path,
                       (unsigned long long)file->size, BUNDLE_MAX);
    }
    SW_TRY(open_file(in, file, &fd));
    sw_status status = read_fd(in, fd, file->path, text);
    close(fd);
    return status;
}

/* A bundle may leave its name out, but not have another one than the model. */
static sw_status check_name(const struct inspect *in, struct sw_str text) {
    SW_AUTO_JSON json_t *tree = NULL;
    SW_TRY(sw_yaml_parse(text, &tree, in->err)); /* it was parsed before: this finds whether the key is there */
    const char *name = json_string_value(json_object_get(tree, "name"));
    if (name && strcmp(name, in->model) != 0) {
        return sw_fail(in->err, SW_E_MODEL_INVALID, "name: the bundle is called '%.130s', the model '%s'", name,
                       in->model);
    }
    return SW_OK;
}

/* Files that a step's parameters name under the key "file". */
static sw_status check_step_files(const struct inspect *in, const char *side, const json_t *steps) {
    const char *name;
    json_t *params;
    json_object_foreach((json_t *)steps, name, params) {
        const char *file = json_string_value(json_object_get(params, "file"));
        char where[120];
        snprintf(where, sizeof where, "%s.%.80s.file", side, name);
        if (file) {
            SW_TRY(find_file(in, where, "", file, NULL));
        }
    }
    return SW_OK;
}

static sw_status check_bundle_files(const struct inspect *in) {
    const struct sw_bundle *bundle = in->bundle;
    if (bundle->golden_path) {
        SW_TRY(find_file(in, "golden", "", bundle->golden_path, NULL));
    }
    const char *file = json_string_value(json_object_get(bundle->input, "file"));
    if (file) {
        SW_TRY(find_file(in, "input.file", "", file, NULL));
    }
    SW_TRY(check_step_files(in, "output", bundle->output));
    for (size_t i = 0; i < json_array_size(bundle->output); i++) {
        SW_TRY(check_step_files(in, "output", json_array_get(bundle->output, i)));
    }
    return SW_OK;
}

static sw_status read_bundle(struct inspect *in) {
    static const char yaml[] = "bundle.yaml";
    const struct sw_version_file *file = sw_map_get(&in->by_path, SW_STR("bundle.yaml"));
    SW_CLEANUP(sw_buf_deinit) struct sw_buf text;
    sw_buf_init(&text, BUNDLE_MAX);
    if (file) {
        SW_TRY(read_text(in, file, &text));
    }
    sw_status status = sw_bundle_parse(sw_buf_str(&text), "", &in->bundle, in->err);
    status = status ? status : check_name(in, sw_buf_str(&text));
    status = status ? status : check_bundle_files(in);
    if (status && in->err) {
        sw_error_prefix(in->err, "%s", yaml);
    }
    return status;
}

/* the model file --------------------------------------------------------------------------------------------------- */

/* The only file at the top with this ending; *ret NULL: there is none. */
static sw_status find_only(const struct inspect *in, const char *ending, const struct sw_version_file **ret) {
    const struct sw_version_file *found = NULL;
    for (size_t i = 0; i < in->count; i++) {
        const char *path = in->files[i].path;
        if (path[0] == '.' || strchr(path, '/') || !sw_str_ends(sw_str_of(path), sw_str_of(ending))) {
            continue;
        }
        if (found) {
            return sw_fail(in->err, SW_E_MODEL_INVALID,
                           "several %s files (%.80s, %.80s); name one as `model` in bundle.yaml", ending, found->path,
                           path);
        }
        found = &in->files[i];
    }
    *ret = found;
    return SW_OK;
}

/* Does any engine here load a file of this name? Without engines that is not known. */
static bool is_accepted(const struct sw_registry *registry, const char *path) {
    for (size_t i = 0; i < registry->model.engine_count; i++) {
        struct sw_engine *engine = registry->model.engines[i];
        if (engine->ops->accepts(engine, sw_str_of(path))) {
            return true;
        }
    }
    return sw_str_ends(sw_str_of(path), SW_STR(".onnx")) || registry->model.engine_count == 0;
}

static sw_status find_model(const struct inspect *in, const struct sw_version_file **ret) {
    const struct sw_version_file *file = NULL;
    if (in->bundle->model_path) {
        SW_TRY(find_file(in, "bundle.yaml: model", "", in->bundle->model_path, &file));
    }
    for (size_t i = 0; i < SW_COUNTOF(model_endings) && !file; i++) {
        SW_TRY(find_only(in, model_endings[i], &file));
    }
    if (!file) {
        return sw_fail(in->err, SW_E_MODEL_INVALID,
                       "no model file: none of the %zu files at the top ends with .onnx, and no bundle.yaml names one",
                       in->count);
    }
    if (!is_accepted(in->registry, file->path)) {
        return sw_fail(in->err, SW_E_MODEL_INVALID, "%.200s: no engine runs files of this kind", file->path);
    }
    *ret = file;
    return SW_OK;
}

static sw_status read_signature(const struct inspect *in, const struct sw_version_file *file, json_t **ret) {
    int fd;
    SW_AUTO_JSON json_t *signature = NULL;
    SW_AUTO_JSON json_t *external = NULL;
    SW_TRY(open_file(in, file, &fd));
    sw_status status = sw_onnx_signature_fd(fd, &signature, &external, in->err);
    close(fd);
    if (status) {
        if (in->err) {
            sw_error_prefix(in->err, "%.200s", file->path);
        }
        return status;
    }
    char where[SW_REGISTRY_PATH_MAX];
    snprintf(where, sizeof where, "%.200s: external data", file->path);
    for (size_t i = 0; i < json_array_size(external); i++) {
        SW_TRY(find_file(in, where, file->path, json_string_value(json_array_get(external, i)), NULL));
    }
    *ret = json_incref(signature);
    return SW_OK;
}

/* the whole -------------------------------------------------------------------------------------------------------- */

/* The numbers of the metadata whose keys can be names of metrics; NULL: none. */
static sw_status take_metrics(const struct inspect *in, json_t **ret) {
    const char *key;
    json_t *value;
    SW_AUTO_JSON json_t *metrics = json_object();
    json_object_foreach(in->bundle->metadata, key, value) {
        if (json_is_number(value) && isfinite(json_number_value(value)) && sw_registry_key_valid(sw_str_of(key))) {
            json_object_set(metrics, key, value);
        }
    }
    if (json_object_size(metrics) > SW_REGISTRY_METRICS_MAX) {
        return sw_fail(in->err, SW_E_MODEL_INVALID, "bundle.yaml: metadata: more than %d numbers",
                       SW_REGISTRY_METRICS_MAX);
    }
    *ret = json_object_size(metrics) ? json_incref(metrics) : NULL;
    return SW_OK;
}

static sw_status inspect(struct inspect *in, struct sw_inspection *ret) {
    const struct sw_version_file *file = NULL;
    SW_TRY(read_bundle(in));
    SW_TRY(find_model(in, &file));
    SW_ASSERT(file);
    SW_TRY(take_metrics(in, &ret->metrics));
    ret->description = sw_xstrdup(in->bundle->description);
    return sw_str_ends(sw_str_of(file->path), SW_STR(".onnx")) ? read_signature(in, file, &ret->signature) : SW_OK;
}

void sw_inspection_deinit(struct sw_inspection *inspection) {
    json_decref(inspection->signature);
    json_decref(inspection->metrics);
    sw_free(inspection->description);
    *inspection = (struct sw_inspection){0};
}

sw_status sw_registry_inspect_version(struct sw_registry *registry, const char *model,
                                      const struct sw_version_file *files, size_t count, struct sw_inspection *ret,
                                      struct sw_error *err) {
    struct inspect in = {.registry = registry, .model = model, .files = files, .count = count, .err = err};
    struct sw_inspection result = {0};
    sw_map_init(&in.by_path);
    for (size_t i = 0; i < count; i++) {
        sw_map_put(&in.by_path, sw_str_of(files[i].path), (void *)(uintptr_t)&files[i]);
    }
    sw_status status = inspect(&in, &result);
    sw_map_deinit(&in.by_path);
    sw_bundle_destroy(in.bundle);
    if (status) {
        sw_inspection_deinit(&result);
        return status;
    }
    *ret = result;
    return SW_OK;
}
