/* See bundle.h. Text to a jansson tree (base/yaml), the tree checked key by key into the struct, files looked up last,
 * so that parsing alone touches no file. */
#include "pipeline/bundle.h"

#include <dirent.h>
#include <errno.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/units.h"
#include "base/yaml.h"
#include "pipeline/params.h"
#include "pipeline/step.h"

#define CACHE_TTL_MIN_US UINT64_C(1000000)
#define CACHE_TTL_MAX_US (UINT64_C(720) * 3600 * 1000000)
enum { BUNDLE_BYTES_MAX = 1 << 20, NAME_MAX_LENGTH = 128, DESCRIPTION_MAX = 16384 };

static const char *const model_endings[] = {".onnx", ".fake.json"};

bool sw_model_name_valid(struct sw_str name) {
    if (name.len == 0 || name.len > NAME_MAX_LENGTH) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alnum && (i == 0 || (c != '.' && c != '_' && c != '-'))) {
            return false;
        }
    }
    return true;
}

/* A valid name out of a file or folder name: other characters become '-', leading ones that may not lead are dropped.
 */
static char *name_from_path(struct sw_str path) {
    struct sw_str base = sw_path_base(path);
    for (size_t i = 0; i < SW_COUNTOF(model_endings); i++) {
        if (sw_str_ends(base, sw_str_of(model_endings[i]))) {
            base.len -= strlen(model_endings[i]);
            break;
        }
    }
    char *name = sw_xmalloc(NAME_MAX_LENGTH + 1);
    size_t n = 0;
    for (size_t i = 0; i < base.len && n < NAME_MAX_LENGTH; i++) {
        char c = base.data[i];
        name[n] = n == 0 || c == '.' || c == '_' || sw_model_name_valid((struct sw_str){&c, 1}) ? c : '-';
        n += n > 0 || sw_model_name_valid((struct sw_str){name, 1});
    }
    name[n] = '\0';
    if (n == 0) {
        sw_free(name);
        return sw_xstrdup("model");
    }
    return name;
}

void sw_bundle_destroy(struct sw_bundle *bundle) {
    if (!bundle) {
        return;
    }
    sw_free(bundle->path);
    sw_free(bundle->dir);
    sw_free(bundle->name);
    sw_free(bundle->model_path);
    sw_free(bundle->description);
    sw_free(bundle->golden_path);
    json_decref(bundle->input);
    json_decref(bundle->output);
    json_decref(bundle->gates);
    json_decref(bundle->metadata);
    sw_free(bundle);
}

static struct sw_bundle *bundle_new(const char *path, const char *dir) {
    struct sw_bundle *bundle = SW_NEW(struct sw_bundle);
    bundle->path = sw_xstrdup(path);
    bundle->dir = sw_xstrdup(dir);
    bundle->batching.max_delay_us = -1;
    bundle->weight = 1;
    bundle->memory_arena = true;
    return bundle;
}

enum { ROWS_MAX = 65536 };

/* Rows that batches are to have: ascending, none above max_batch. */
static sw_status read_preferred(const struct sw_params *p, struct sw_bundle *bundle) {
    const json_t *list = json_object_get(p->object, "preferred");
    if (!list) {
        return SW_OK;
    }
    if (!json_is_array(list) || json_array_size(list) == 0 || json_array_size(list) > SW_BUNDLE_PREFERRED_MAX) {
        return sw_params_fail(p, "preferred", "must be a list of 1 to %d numbers of rows", SW_BUNDLE_PREFERRED_MAX);
    }
    int64_t most = bundle->batching.max_batch ? bundle->batching.max_batch : ROWS_MAX, before = 1;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        if (!json_is_integer(item) || json_integer_value(item) <= before || json_integer_value(item) > most) {
            return sw_params_fail(p, "preferred", "item %zu must be an integer above %lld and at most %lld", i + 1,
                                  (long long)before, (long long)most);
        }
        before = json_integer_value(item);
        bundle->batching.preferred[bundle->batching.preferred_count++] = (uint32_t)before;
    }
    return SW_OK;
}

static sw_status read_batching(const struct sw_params *top, struct sw_bundle *bundle) {
    static const char *const known[] = {"max_batch", "max_delay_us", "preferred", "timeout_ms", "max_queue", NULL};
    struct sw_params p = {.path = "batching", .err = top->err};
    SW_TRY(sw_params_object(top, "batching", &p.object));
    SW_TRY(sw_params_only(&p, known));
    SW_TRY(sw_params_int(&p, "max_batch", 1, ROWS_MAX, &bundle->batching.max_batch));
    SW_TRY(sw_params_int(&p, "max_delay_us", 0, 10 * 1000 * 1000, &bundle->batching.max_delay_us));
    SW_TRY(sw_params_int(&p, "timeout_ms", 1, SW_TIMEOUT_MS_MAX, &bundle->batching.timeout_ms));
    SW_TRY(sw_params_int(&p, "max_queue", 1, 1000 * 1000, &bundle->batching.max_queue));
    return read_preferred(&p, bundle);
}

static sw_status read_cache(const struct sw_params *top, struct sw_bundle *bundle) {
    static const char *const known[] = {"enable", "ttl", NULL};
    struct sw_params p = {.path = "cache", .err = top->err};
    const char *ttl = NULL;
    uint64_t us = 0;
    SW_TRY(sw_params_object(top, "cache", &p.object));
    SW_TRY(sw_params_only(&p, known));
    SW_TRY(sw_params_bool(&p, "enable", &bundle->cache.enable));
    SW_TRY(sw_params_string(&p, "ttl", &ttl));
    if (ttl && (!sw_parse_duration(sw_str_of(ttl), &us) || us < CACHE_TTL_MIN_US || us > CACHE_TTL_MAX_US)) {
        return sw_params_fail(&p, "ttl", "\"%.40s\" is no duration from 1s to 720h, such as 10m", ttl);
    }
    bundle->cache.ttl_ms = us / 1000;
    return SW_OK;
}

static sw_status read_instances(const struct sw_params *top, struct sw_bundle *bundle) {
    static const char *const known[] = {"threads", "count", "weight", "memory_arena", NULL};
    struct sw_params p = {.path = "instances", .err = top->err};
    int64_t threads = 0, count = 0;
    SW_TRY(sw_params_object(top, "instances", &p.object));
    SW_TRY(sw_params_only(&p, known));
    SW_TRY(sw_params_int(&p, "threads", 1, 1024, &threads));
    SW_TRY(sw_params_int(&p, "count", 1, 1024, &count));
    SW_TRY(sw_params_number(&p, "weight", 0.01, 100, &bundle->weight));
    bundle->threads = (unsigned)threads;
    bundle->instances = (unsigned)count;
    return sw_params_bool(&p, "memory_arena", &bundle->memory_arena);
}

/* "softmax, labels, threshold" in the buffer. */
static const char *known_steps(enum sw_step_side side, char *buffer, size_t size) {
    const struct sw_step_ops *ops;
    size_t used = 0;
    buffer[0] = '\0';
    for (size_t i = 0; (ops = sw_step_at(i)) && used < size; i++) {
        if (ops->side == side) {
            int n = snprintf(buffer + used, size - used, "%s%s", used ? ", " : "", ops->name);
            used += n > 0 ? (size_t)n : 0;
        }
    }
    return buffer;
}

static sw_status read_input(const struct sw_params *top, struct sw_bundle *bundle) {
    struct sw_params p = {.path = "input", .err = top->err};
    const char *kind = "tensor";
    char list[240];
    SW_TRY(sw_params_object(top, "input", &p.object));
    if (!p.object) {
        return SW_OK;
    }
    SW_TRY(sw_params_string(&p, "kind", &kind));
    if (!sw_step_find(SW_STEP_INPUT, sw_str_of(kind))) {
        return sw_params_fail(&p, "kind", "no such step \"%.40s\"; known: %s", kind,
                              known_steps(SW_STEP_INPUT, list, sizeof list));
    }
    bundle->input = json_deep_copy(p.object);
    json_object_set_new(bundle->input, "kind", json_string(kind));
    return SW_OK;
}

/* Checks the step names of one mapping and takes allow_nonfinite out of it. */
static sw_status read_output_mapping(const struct sw_params *p, json_t *mapping, struct sw_bundle *bundle) {
    struct sw_params here = {.object = mapping, .path = p->path, .err = p->err};
    SW_TRY(sw_params_bool(&here, "allow_nonfinite", &bundle->allow_nonfinite));
    json_object_del(mapping, "allow_nonfinite");
    const char *key;
    json_t *value;
    json_object_foreach(mapping, key, value) {
        if (!sw_step_find(SW_STEP_OUTPUT, sw_str_of(key))) {
            char list[240];
            return sw_params_fail(p, key, "no such step; known: %s, and the setting allow_nonfinite",
                                  known_steps(SW_STEP_OUTPUT, list, sizeof list));
        }
    }
    return SW_OK;
}

static sw_status read_output_list(const struct sw_params *p, json_t *list, struct sw_bundle *bundle) {
    for (size_t i = 0; i < json_array_size(list);) {
        json_t *item = json_array_get(list, i);
        if (!json_is_object(item) || json_object_size(item) != 1) {
            return sw_params_fail(p, NULL, "item %zu must be a mapping of one step to its parameters, is %s", i + 1,
                                  json_is_object(item) ? "a mapping of another size" : sw_params_kind(item));
        }
        SW_TRY(read_output_mapping(p, item, bundle));
        if (json_object_size(item) == 0) {
            json_array_remove(list, i);
        } else {
            i++;
        }
    }
    return SW_OK;
}

static sw_status read_output(const struct sw_params *top, struct sw_bundle *bundle) {
    struct sw_params p = {.path = "output", .err = top->err};
    json_t *value = json_object_get(top->object, "output");
    if (!value) {
        return SW_OK;
    }
    if (!json_is_object(value) && !json_is_array(value)) {
        return sw_params_fail(&p, NULL, "must be a mapping or a list of steps, is %s", sw_params_kind(value));
    }
    bundle->output = json_deep_copy(value);
    bool list = json_is_array(value);
    SW_TRY(list ? read_output_list(&p, bundle->output, bundle) : read_output_mapping(&p, bundle->output, bundle));
    if ((list ? json_array_size(bundle->output) : json_object_size(bundle->output)) == 0) {
        json_decref(bundle->output);
        bundle->output = NULL;
    }
    return SW_OK;
}

static sw_status read_gates(const struct sw_params *top, struct sw_bundle *bundle) {
    struct sw_params p = {.path = "gates", .err = top->err};
    SW_TRY(sw_params_object(top, "gates", &p.object));
    const char *key;
    json_t *value;
    json_object_foreach(p.object, key, value) {
        if ((strncmp(key, "max_", 4) != 0 && strncmp(key, "min_", 4) != 0) || !key[4]) {
            return sw_params_fail(&p, key, "a gate begins with max_ or min_ and names a measure");
        }
        if (!json_is_number(value)) {
            return sw_params_fail(&p, key, "must be a number, is %s", sw_params_kind(value));
        }
    }
    bundle->gates = json_incref(p.object);
    return SW_OK;
}

/* A path in the bundle, checked as text only. */
static sw_status read_path(const struct sw_params *top, const char *key, const char *dir, char **ret) {
    const char *name = NULL;
    SW_TRY(sw_params_string(top, key, &name));
    if (!name) {
        return SW_OK;
    }
    if (!sw_path_is_inside(sw_str_of(name))) {
        return sw_params_fail(top, key, "\"%.200s\" must be a path inside the bundle's folder", name);
    }
    *ret = sw_path_join(dir, name);
    return SW_OK;
}

static sw_status read_all(const struct sw_params *top, struct sw_bundle *bundle) {
    static const char *const known[] = {"name",  "model",  "description", "batching", "cache",    "instances",
                                        "input", "output", "golden",      "gates",    "metadata", NULL};
    const char *name = NULL, *description = NULL;
    SW_TRY(sw_params_only(top, known));
    SW_TRY(sw_params_string(top, "name", &name));
    if (name && !sw_model_name_valid(sw_str_of(name))) {
        return sw_params_fail(top, "name",
                              "\"%.140s\" is not a model name: a letter or digit, then at most 127 letters, "
                              "digits, '.', '_' or '-'",
                              name);
    }
    SW_TRY(sw_params_string(top, "description", &description));
    if (description && strlen(description) > DESCRIPTION_MAX) {
        return sw_params_fail(top, "description", "longer than %d bytes", DESCRIPTION_MAX);
    }
    bundle->name = sw_xstrdup(name);
    bundle->description = sw_xstrdup(description);
    SW_TRY(read_path(top, "model", bundle->dir, &bundle->model_path));
    SW_TRY(read_path(top, "golden", bundle->dir, &bundle->golden_path));
    SW_TRY(read_batching(top, bundle));
    SW_TRY(read_cache(top, bundle));
    SW_TRY(read_instances(top, bundle));
    SW_TRY(read_input(top, bundle));
    SW_TRY(read_output(top, bundle));
    SW_TRY(read_gates(top, bundle));
    SW_TRY(sw_params_object(top, "metadata", &bundle->metadata));
    json_incref(bundle->metadata);
    return SW_OK;
}

sw_status sw_bundle_parse(struct sw_str text, const char *dir, struct sw_bundle **ret, struct sw_error *err) {
    json_t *tree = NULL;
    sw_status status = sw_yaml_parse(text, &tree, err);
    if (status) {
        if (err && status == SW_E_INVALID_ARGUMENT) {
            err->code = SW_E_MODEL_INVALID;
        }
        return status == SW_E_INVALID_ARGUMENT ? SW_E_MODEL_INVALID : status;
    }
    struct sw_bundle *bundle = bundle_new(dir, dir);
    if (json_is_object(tree)) {
        struct sw_params top = {.object = tree, .path = "", .err = err};
        status = read_all(&top, bundle);
    } else {
        status = sw_fail(err, SW_E_MODEL_INVALID, "must be a mapping, is %s", sw_params_kind(tree));
    }
    json_decref(tree);
    if (status) {
        sw_bundle_destroy(bundle);
        return status;
    }
    if (!bundle->name) {
        bundle->name = name_from_path(sw_str_of(dir));
    }
    *ret = bundle;
    return SW_OK;
}

/* The only file with this ending in the folder: *ret its path, NULL when there is none. */
static sw_status find_only(const char *dir, const char *ending, char **ret, struct sw_error *err) {
    DIR *d = opendir(dir);
    if (!d) {
        return sw_fail(err, SW_E_IO, "%s: %s", dir, strerror(errno));
    }
    char *found = NULL;
    sw_status status = SW_OK;
    for (struct dirent *e; !status && (e = readdir(d));) {
        if (e->d_name[0] == '.' || !sw_str_ends(sw_str_of(e->d_name), sw_str_of(ending))) {
            continue;
        }
        if (found) {
            status = sw_fail(err, SW_E_MODEL_INVALID,
                             "model: the folder holds several %s files (%.80s, %.80s); name one", ending, found,
                             e->d_name);
        } else {
            found = sw_xstrdup(e->d_name);
        }
    }
    closedir(d);
    if (!status && found) {
        status = sw_params_file(dir, "model", found, ret, err);
    }
    sw_free(found);
    return status;
}

static sw_status find_model(struct sw_bundle *bundle, struct sw_error *err) {
    for (size_t i = 0; i < SW_COUNTOF(model_endings) && !bundle->model_path; i++) {
        SW_TRY(find_only(bundle->dir, model_endings[i], &bundle->model_path, err));
    }
    return bundle->model_path
               ? SW_OK
               : sw_fail(err, SW_E_MODEL_INVALID, "model: not given, and the folder holds no .onnx file");
}

/* A path that parsing joined and checked as text: is the file there and inside the folder? */
static sw_status check_file(const struct sw_bundle *bundle, const char *where, const char *path, struct sw_error *err) {
    size_t n = strlen(bundle->dir);
    const char *name = path + n + (n > 0 && bundle->dir[n - 1] != '/');
    SW_AUTO_FREE char *checked = NULL;
    return sw_params_file(bundle->dir, where, name, &checked, err);
}

static sw_status load_folder(const char *path, struct sw_bundle **ret, struct sw_error *err) {
    SW_AUTO_FREE char *dir = realpath(path, NULL); /* names the bundle even when path is "." */
    SW_AUTO_FREE char *file = sw_path_join(path, "bundle.yaml");
    SW_CLEANUP(sw_buf_deinit) struct sw_buf text;
    sw_buf_init(&text, BUNDLE_BYTES_MAX);
    if (!dir) {
        return sw_fail(err, SW_E_IO, "%s: %s", path, strerror(errno));
    }
    if (sw_path_is_file(file)) {
        SW_TRY(sw_file_read(file, BUNDLE_BYTES_MAX, &text, err));
    }
    struct sw_bundle *bundle = NULL;
    sw_status status = sw_bundle_parse(sw_buf_str(&text), dir, &bundle, err);
    if (!status) {
        status = bundle->model_path ? check_file(bundle, "model", bundle->model_path, err) : find_model(bundle, err);
    }
    if (!status && bundle->golden_path) {
        status = check_file(bundle, "golden", bundle->golden_path, err);
    }
    if (status) {
        sw_bundle_destroy(bundle);
        if (err) {
            sw_error_prefix(err, "%s", file);
        }
        return status;
    }
    sw_free(bundle->path);
    bundle->path = sw_xstrdup(path);
    *ret = bundle;
    return SW_OK;
}

static sw_status load_bare(const char *path, struct sw_bundle **ret, struct sw_error *err) {
    struct sw_str whole = sw_str_of(path);
    bool known = false;
    for (size_t i = 0; i < SW_COUNTOF(model_endings); i++) {
        known = known || sw_str_ends(whole, sw_str_of(model_endings[i]));
    }
    if (!known) {
        return sw_fail(err, SW_E_MODEL_INVALID, "%s: not a model: give a .onnx file or a folder with bundle.yaml",
                       path);
    }
    size_t dir_len = (size_t)(sw_path_base(whole).data - path);
    SW_AUTO_FREE char *dir = dir_len ? sw_xstrndup(path, dir_len > 1 ? dir_len - 1 : 1) : sw_xstrdup(".");
    struct sw_bundle *bundle = bundle_new(path, dir);
    bundle->name = name_from_path(whole);
    bundle->model_path = sw_xstrdup(path);
    *ret = bundle;
    return SW_OK;
}

sw_status sw_bundle_load(const char *path, struct sw_bundle **ret, struct sw_error *err) {
    if (sw_path_is_dir(path)) {
        return load_folder(path, ret, err);
    }
    if (sw_path_is_file(path)) {
        return load_bare(path, ret, err);
    }
    return sw_fail(err, SW_E_NOT_FOUND, "%s: no such file or folder", path);
}
