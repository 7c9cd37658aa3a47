/* A look at bundle.yaml before a push; the rules are those of registry/inspect.c, which has the last word. */
#include <jansson.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/yaml.h"
#include "cli/package.h"
#include "pipeline/bundle.h"

enum { BUNDLE_MAX = 1 << 20 };

static const struct sw_package_file *find(const struct sw_package *package, struct sw_str path) {
    for (size_t i = 0; i < package->count; i++) {
        if (sw_str_is(path, package->files[i].path)) {
            return &package->files[i];
        }
    }
    return NULL;
}

static bool is_model_at_top(const char *path) {
    struct sw_str name = sw_str_of(path);
    return !strchr(path, '/') && (sw_str_ends(name, SW_STR(".onnx")) || sw_str_ends(name, SW_STR(".fake.json")));
}

/* A bundle that names no model needs exactly one at the top. */
static sw_status check_only(const struct sw_package *package, struct sw_error *err) {
    const char *first = NULL;
    for (size_t i = 0; i < package->count; i++) {
        const char *path = package->files[i].path;
        if (!is_model_at_top(path)) {
            continue;
        }
        if (first && sw_str_ends(sw_str_of(first), SW_STR(".onnx")) && sw_str_ends(sw_str_of(path), SW_STR(".onnx"))) {
            return sw_fail(err, SW_E_MODEL_INVALID,
                           "several .onnx files (%.80s, %.80s); name one as `model` in bundle.yaml", first, path);
        }
        first = first && sw_str_ends(sw_str_of(first), SW_STR(".onnx")) ? first : path;
    }
    return first ? SW_OK
                 : sw_fail(err, SW_E_MODEL_INVALID,
                           "no model file: none of the %zu files at the top ends with .onnx, and no bundle.yaml names "
                           "one",
                           package->count);
}

static sw_status check_name(struct sw_str text, const char *model, struct sw_error *err) {
    json_t *tree = NULL;
    SW_TRY(sw_yaml_parse(text, &tree, err)); /* it was parsed before: this finds whether the key is there */
    sw_status status = SW_OK;
    const char *name = json_string_value(json_object_get(tree, "name"));
    if (name && strcmp(name, model) != 0) {
        status = sw_fail(err, SW_E_MODEL_INVALID,
                         "the bundle is called '%.130s': push it as %.130s, or change `name` to %s", name, name, model);
    }
    json_decref(tree);
    return status;
}

/* Paths with "." parts are left to the server. */
static sw_status check_model_file(const struct sw_package *package, const struct sw_bundle *bundle,
                                  struct sw_error *err) {
    struct sw_str path = sw_str_of(bundle->model_path);
    if (sw_str_starts(path, SW_STR("./")) || strstr(bundle->model_path, "/./") || find(package, path)) {
        return SW_OK;
    }
    return sw_fail(err, SW_E_MODEL_INVALID, "model: \"%.200s\" is not among the files", bundle->model_path);
}

static sw_status check_bundle(const struct sw_package *package, struct sw_str text, const char *model,
                              bool *ret_has_model, struct sw_error *err) {
    struct sw_bundle *bundle = NULL;
    SW_TRY(sw_bundle_parse(text, "", &bundle, err));
    *ret_has_model = bundle->model_path != NULL;
    sw_status status = check_name(text, model, err);
    if (!status && bundle->model_path) {
        status = check_model_file(package, bundle, err);
    }
    sw_bundle_destroy(bundle);
    return status;
}

sw_status sw_package_check(const struct sw_package *package, const char *model, struct sw_error *err) {
    const struct sw_package_file *file = find(package, SW_STR("bundle.yaml"));
    bool has_model = false;
    if (package->is_archive) {
        return SW_OK;
    }
    if (file) {
        struct sw_buf text;
        SW_TRY(sw_file_read(file->local, BUNDLE_MAX, &text, err));
        sw_status status = check_bundle(package, sw_buf_str(&text), model, &has_model, err);
        sw_buf_deinit(&text);
        if (status) {
            return sw_error_prefix(err, "%s", file->local);
        }
    }
    return has_model ? SW_OK : check_only(package, err);
}
