/* slipway validate: what serve does when it loads a model, one check at a time, each told.
 *
 * The file is loaded twice: once bare, to tell a fault of the model from one of its bundle, then as serve does. */
#include <dirent.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "cli/cli.h"
#include "cli/engines.h"
#include "base/units.h"

enum { DETAIL_MAX = 768, VERSIONS_MAX = 1024 };

enum check_result { CHECK_OK, CHECK_SKIPPED, CHECK_FAILED };

struct validation {
    const struct sw_args *args;
    struct sw_model_options options;
    bool json;
    bool colours;
    json_t *report; /* of the path being checked */
    json_t *checks;
    int exit_code; /* the worst so far */
    uint64_t check_start_ns;
};

static void begin_check(struct validation *v) {
    v->check_start_ns = sw_now_ns(sw_clock_system());
}

static void end_check(struct validation *v, const char *name, enum check_result result, const char *detail) {
    static const char *const words[] = {"ok", "--", "FAIL"};
    static const char *const names[] = {"ok", "skipped", "failed"};
    static const char *const colours[] = {"\033[32m", "", "\033[1;31m"};
    double ms = (double)(sw_now_ns(sw_clock_system()) - v->check_start_ns) / 1e6;
    json_array_append_new(v->checks, json_pack("{s:s, s:s, s:s, s:f}", "name", name, "result", names[result], "detail",
                                               detail, "ms", ms));
    if (!v->json) {
        const char *colour = v->colours ? colours[result] : "";
        printf("  %s%-5s%s %-9s %s\n", colour, words[result], *colour ? "\033[0m" : "", name, detail);
        fflush(stdout);
    }
    begin_check(v);
}

static sw_status fail_check(struct validation *v, const char *name, const struct sw_error *err) {
    end_check(v, name, CHECK_FAILED, err->message);
    int code = sw_status_table[err->code].exit;
    v->exit_code = code > v->exit_code ? code : v->exit_code;
    return err->code;
}

/* --- the checks -------------------------------------------------------------------------------------------------- */

static sw_status check_bundle(struct validation *v, const char *path, struct sw_bundle **ret) {
    struct sw_error err;
    if (sw_bundle_load(path, ret, &err)) {
        return fail_check(v, "bundle", &err);
    }
    const struct sw_bundle *b = *ret;
    char detail[DETAIL_MAX];
    const char *description = b->description ? b->description : "";
    snprintf(detail, sizeof detail, "%s%s%s%s", b->name, b->description ? ": " : "", description,
             sw_path_is_dir(path) ? "" : " (a bare model file: everything is inferred)");
    end_check(v, "bundle", CHECK_OK, detail);
    json_object_set_new(v->report, "model", json_string(b->name));
    return SW_OK;
}

static struct sw_engine *engine_for(const struct validation *v, const char *path) {
    for (size_t i = 0; i < v->options.engine_count; i++) {
        struct sw_engine *engine = v->options.engines[i];
        if (engine->ops->accepts(engine, sw_str_of(path))) {
            return engine;
        }
    }
    return NULL;
}

static sw_status check_file(struct validation *v, const char *path) {
    struct sw_error err;
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode)) {
        (void)sw_fail(&err, SW_E_NOT_FOUND, "%s: no such file", path);
        return fail_check(v, "file", &err);
    }
    if (!engine_for(v, path)) {
        (void)sw_fail(&err, SW_E_MODEL_INVALID, "%s: not a model file that an engine here can load (.onnx)", path);
        return fail_check(v, "file", &err);
    }
    char detail[DETAIL_MAX], number[32];
    snprintf(detail, sizeof detail, "%s, %s bytes", path, sw_cli_thousands((uint64_t)info.st_size, number));
    end_check(v, "file", CHECK_OK, detail);
    return SW_OK;
}

static void append_property(void *arg, const char *key, const char *value) {
    struct sw_buf *out = arg;
    sw_buf_printf(out, "; %s %s", key, value);
}

/* The file alone, without the bundle. */
static sw_status check_load(struct validation *v, const char *path) {
    struct sw_engine *engine = engine_for(v, path);
    struct sw_session_options options = {.threads = v->options.default_threads};
    struct sw_session *session;
    struct sw_error err;
    uint64_t start_ns = sw_now_ns(sw_clock_system());
    if (engine->ops->load(engine, path, &options, &session, &err)) {
        return fail_check(v, "load", &err);
    }
    struct sw_buf detail;
    sw_buf_init(&detail, DETAIL_MAX);
    sw_buf_printf(&detail, "%s %s in %.1f ms", engine->ops->name, engine->ops->version(engine),
                  (double)(sw_now_ns(sw_clock_system()) - start_ns) / 1e6);
    engine->ops->describe(session, append_property, &detail);
    end_check(v, "load", CHECK_OK, detail.data);
    sw_buf_deinit(&detail);
    engine->ops->unload(session);
    return SW_OK;
}

/* As serve does it: steps, signature, warm-up run. */
static sw_status check_model(struct validation *v, const char *path, struct sw_model **ret) {
    struct sw_error err;
    struct sw_model_options options = v->options;
    options.skip_golden = options.trial = true;
    sw_status status = sw_model_load(path, NULL, 1, &options, ret, &err);
    if (status == SW_E_INFERENCE_FAILED) {
        return fail_check(v, "warm-up", &err);
    }
    if (status) {
        return fail_check(v, "steps", &err);
    }
    const struct sw_model *m = *ret;
    char detail[DETAIL_MAX];
    size_t n = (size_t)snprintf(detail, sizeof detail,
                                "before: %s; after:", m->input_step ? m->input_step->ops->name : "none");
    for (size_t i = 0; i < m->output_step_count && n < sizeof detail; i++) {
        n += (size_t)snprintf(detail + n, sizeof detail - n, "%s %s", i ? "," : "", m->output_steps[i]->ops->name);
    }
    if (m->output_step_count == 0 && n < sizeof detail) {
        snprintf(detail + n, sizeof detail - n, " none");
    }
    end_check(v, "steps", CHECK_OK, detail);
    bool apart = m->probe.rows == SW_ROWS_APART;
    snprintf(detail, sizeof detail, "%.1f us a run; requests can%s be batched%s%s", (double)m->run_ns / 1e3,
             apart ? "" : "not", apart ? "" : ": ", m->probe.note);
    end_check(v, "warm-up", CHECK_OK, detail);
    return SW_OK;
}

static sw_status check_golden(struct validation *v, const struct sw_model *model) {
    if (sw_args_has(v->args, SW_OPTION_NO_GOLDEN)) {
        end_check(v, "golden", CHECK_SKIPPED, "left out by --no-golden");
        return SW_OK;
    }
    if (!model->bundle->golden_path) {
        end_check(v, "golden", CHECK_SKIPPED, "the bundle has no golden answers");
        return SW_OK;
    }
    size_t count = 0;
    struct sw_error err;
    if (sw_golden_check(model, v->options.clock, &count, &err)) {
        return fail_check(v, "golden", &err);
    }
    char detail[DETAIL_MAX];
    snprintf(detail, sizeof detail, "%zu of %zu answers match", count, count);
    end_check(v, "golden", CHECK_OK, detail);
    return SW_OK;
}

/* --- signature --------------------------------------------------------------------------------------------------- */

static void print_specs(const char *side, const struct sw_tensor_specs *specs) {
    for (size_t i = 0; i < specs->count; i++) {
        const struct sw_tensor_spec *spec = &specs->items[i];
        char shape[256];
        printf("  %-7s %-24s %-6s %s%s\n", side, spec->name, sw_dtype_name(spec->dtype),
               sw_shape_format(spec->shape, spec->rank, shape, sizeof shape), spec->optional ? " optional" : "");
    }
}

static json_t *specs_json(const struct sw_tensor_specs *specs) {
    json_t *list = json_array();
    for (size_t i = 0; i < specs->count; i++) {
        const struct sw_tensor_spec *spec = &specs->items[i];
        json_t *shape = json_array();
        for (uint32_t d = 0; d < spec->rank; d++) {
            json_array_append_new(shape, json_integer(spec->shape[d]));
        }
        json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:b}", "name", spec->name, "datatype",
                                              sw_dtype_name(spec->dtype), "shape", shape, "optional", spec->optional));
    }
    return list;
}

static void tell_signature(struct validation *v, const struct sw_model *model) {
    json_object_set_new(v->report, "inputs", specs_json(&model->inputs));
    json_object_set_new(v->report, "outputs", specs_json(&model->outputs));
    if (!v->json) {
        printf("\n");
        print_specs("input", &model->inputs);
        print_specs("output", &model->outputs);
    }
}

/* --- one path, or every version in it ---------------------------------------------------------------------------- */

static sw_status check_all(struct validation *v, const char *path, struct sw_bundle **bundle, struct sw_model **model) {
    begin_check(v);
    SW_TRY(check_bundle(v, path, bundle));
    SW_TRY(check_file(v, (*bundle)->model_path));
    SW_TRY(check_load(v, (*bundle)->model_path));
    SW_TRY(check_model(v, path, model));
    sw_status status = check_golden(v, *model);
    tell_signature(v, *model);
    return status;
}

/* Checks one bundle or file; the report is the caller's to release. */
static json_t *validate_one(struct validation *v, const char *path) {
    struct sw_bundle *bundle = NULL;
    struct sw_model *model = NULL;
    v->report = json_pack("{s:s}", "path", path);
    v->checks = json_array();
    json_object_set_new(v->report, "checks", v->checks);
    if (!v->json) {
        printf("%s\n", path);
    }
    sw_status status = check_all(v, path, &bundle, &model);
    json_object_set_new(v->report, "ok", json_boolean(status == SW_OK));
    if (!v->json) {
        printf("\n%s: %s\n", path, status ? "failed" : "passed");
    }
    if (model) {
        sw_model_unref(model);
    }
    if (bundle) {
        sw_bundle_destroy(bundle);
    }
    return v->report;
}

static int by_number(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The version folders (1, 2, ...) of a folder that is no bundle itself. */
static size_t list_versions(const char *path, uint64_t versions[VERSIONS_MAX]) {
    size_t count = 0;
    char *yaml SW_AUTO_FREE = sw_path_join(path, "bundle.yaml");
    DIR *dir = sw_path_is_file(yaml) ? NULL : opendir(path);
    if (!dir) {
        return 0;
    }
    struct dirent *entry;
    while ((entry = readdir(dir)) && count < VERSIONS_MAX) {
        char *child SW_AUTO_FREE = sw_path_join(path, entry->d_name);
        uint64_t number;
        if (sw_parse_u64(sw_str_of(entry->d_name), &number) && number > 0 && sw_path_is_dir(child)) {
            versions[count++] = number;
        }
    }
    closedir(dir);
    qsort(versions, count, sizeof *versions, by_number);
    return count;
}

static json_t *validate_versions(struct validation *v, const char *path, const uint64_t *versions, size_t count) {
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        char name[24];
        snprintf(name, sizeof name, "%llu", (unsigned long long)versions[i]);
        char *child SW_AUTO_FREE = sw_path_join(path, name);
        if (i && !v->json) {
            printf("\n");
        }
        json_array_append_new(list, validate_one(v, child));
    }
    return json_pack("{s:s, s:b, s:o}", "path", path, "ok", v->exit_code == SW_EXIT_DONE, "versions", list);
}

static void validate(struct validation *v, const char *path) {
    uint64_t *versions SW_AUTO_FREE = sw_xcalloc(VERSIONS_MAX, sizeof *versions);
    size_t count = list_versions(path, versions);
    json_t *report = count ? validate_versions(v, path, versions, count) : validate_one(v, path);
    if (v->json) {
        sw_cli_print_json(stdout, report);
    }
    json_decref(report);
}

int sw_run_validate(const struct sw_args *args) {
    int code;
    struct sw_error err;
    struct sw_config *config = sw_cli_config(args, &code);
    if (!config) {
        return code;
    }
    struct sw_cli_engines engines;
    if (sw_cli_engines_open(config, &engines, &err)) {
        sw_config_destroy(config);
        return sw_cli_fail(args, &err);
    }
    struct validation v = {
        .args = args,
        .options = sw_cli_model_options(&engines, 1),
        .json = sw_args_has(args, SW_OPTION_JSON),
        .colours = sw_cli_colours(stdout),
        .exit_code = SW_EXIT_DONE,
    };
    validate(&v, args->positional[0]);
    sw_cli_engines_close(&engines);
    sw_config_destroy(config);
    return v.exit_code;
}
