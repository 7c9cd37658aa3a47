/* The words at start; see welcome.h. */
#include "cli/welcome.h"

#include <jansson.h>
#include <limits.h>

#include "base/file.h"
#include "cli/address.h"

#define DEFAULT_SERVER "http://127.0.0.1:8080" /* that the commands talk to when nobody names another */

enum { ELEMENTS_SHOWN_MAX = 64, TEXT_MAX = 8192, GOLDEN_BYTES_MAX = 16 << 20 };

/* Elements of an input with every free dimension 1; SIZE_MAX when too many to show. */
static size_t element_count(const struct sw_tensor_spec *spec) {
    size_t count = 1;
    for (uint32_t i = 0; i < spec->rank; i++) {
        int64_t n = spec->shape[i] < 0 ? 1 : spec->shape[i];
        if (n > ELEMENTS_SHOWN_MAX || count * (size_t)n > ELEMENTS_SHOWN_MAX) {
            return SIZE_MAX;
        }
        count *= (size_t)n;
    }
    return count;
}

static const char *zero_text(enum sw_dtype dtype) {
    switch (dtype) {
    case SW_DTYPE_BOOL: return "false";
    case SW_DTYPE_BYTES: return "\"\"";
    default: return "0";
    }
}

static bool can_show(const struct sw_model *model) {
    for (size_t i = 0; i < model->inputs.count; i++) {
        const struct sw_tensor_spec *spec = &model->inputs.items[i];
        bool binary_only = spec->dtype == SW_DTYPE_FP16 || spec->dtype == SW_DTYPE_BF16;
        if (!spec->optional && (binary_only || element_count(spec) == SIZE_MAX)) {
            return false;
        }
    }
    return model->inputs.count > 0;
}

/* One input as the Open Inference Protocol writes it. A name may hold anything: JSON inside quotes of the shell. */
static void append_input(struct sw_buf *out, const struct sw_tensor_spec *spec) {
    char shape[256];
    int64_t sizes[SW_RANK_MAX];
    for (uint32_t i = 0; i < spec->rank; i++) {
        sizes[i] = spec->shape[i] < 0 ? 1 : spec->shape[i];
    }
    SW_LIT(out, "{\"name\":");
    sw_buf_append_json(out, sw_str_of(spec->name));
    sw_buf_printf(out, ",\"shape\":%s,\"datatype\":\"%s\",\"data\":[",
                  sw_shape_format(sizes, spec->rank, shape, sizeof shape), sw_dtype_name(spec->dtype));
    size_t count = element_count(spec);
    for (size_t i = 0; i < count; i++) {
        sw_buf_printf(out, "%s%s", i ? "," : "", zero_text(spec->dtype));
    }
    SW_LIT(out, "]}");
}

/* Appends text inside single quotes of the shell. */
static void append_quoted(struct sw_buf *out, struct sw_str text) {
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '\'') {
            SW_LIT(out, "'\\''");
        } else {
            sw_buf_append_c(out, text.data[i]);
        }
    }
}

static void append_body(struct sw_buf *out, const struct sw_model *model) {
    struct sw_buf body;
    sw_buf_init(&body, TEXT_MAX);
    SW_LIT(&body, "{\"inputs\":[");
    bool first = true;
    for (size_t i = 0; i < model->inputs.count; i++) {
        if (!model->inputs.items[i].optional) {
            if (!first) {
                SW_LIT(&body, ",");
            }
            append_input(&body, &model->inputs.items[i]);
            first = false;
        }
    }
    SW_LIT(&body, "]}");
    append_quoted(out, sw_buf_str(&body));
    sw_buf_deinit(&body);
}

/* The media type of bodies that the model's input step takes whole, NULL: none. */
static const char *media_type(const struct sw_model *model) {
    static const char *const types[] = {"image/png", "image/jpeg", "application/octet-stream"};
    const struct sw_step *step = model->input_step;
    for (size_t i = 0; step && step->ops->accepts_body && i < SW_COUNTOF(types); i++) {
        if (step->ops->accepts_body(step, sw_str_of(types[i]))) {
            return types[i];
        }
    }
    return NULL;
}

/* A file of the bundle to try: the one that its first golden request names, so that the line can be pasted. */
static bool sample_file(const struct sw_model *model, char *ret, size_t size) {
    struct sw_buf text;
    struct sw_error err;
    bool found = false;
    if (!model->bundle->golden_path || sw_file_read(model->bundle->golden_path, GOLDEN_BYTES_MAX, &text, &err)) {
        return false;
    }
    json_t *first = json_loadb(text.data, text.len, JSON_DISABLE_EOF_CHECK, NULL);
    const char *name = NULL;
    json_unpack(first, "{s:[{s:s}]}", "inputs", "file", &name);
    if (name && !strpbrk(name, "' ") && !strpbrk(model->bundle->dir, "' ")) {
        int n = snprintf(ret, size, "%s/%s", model->bundle->dir, name);
        found = n > 0 && (size_t)n < size;
    }
    json_decref(first);
    sw_buf_deinit(&text);
    return found;
}

/* A file as the body. */
static void append_file_request(struct sw_buf *out, const struct sw_model *model, const char *url, const char *path) {
    char file[PATH_MAX];
    bool sample = sample_file(model, file, sizeof file);
    sw_buf_printf(out, "curl -s %s%s -H 'Content-Type: %s' --data-binary @%s", url, path, media_type(model),
                  sample ? file : "FILE");
}

void sw_welcome_request(const struct sw_model *model, const char *url, struct sw_buf *out) {
    if (media_type(model)) {
        char path[256];
        snprintf(path, sizeof path, "/v1/models/%s:predict", model->name);
        append_file_request(out, model, url, path);
    } else if (can_show(model)) {
        sw_buf_printf(out, "curl -s %s/v2/models/%s/infer -H 'Content-Type: application/json' -d '", url, model->name);
        append_body(out, model);
        SW_LIT(out, "'");
    } else {
        sw_buf_printf(out, "curl -s %s/v2/models/%s", url, model->name);
    }
}

void sw_welcome(FILE *file, struct sw_app *app, const struct sw_loads *loads, const char *host, uint64_t start_ms) {
    char url[320];
    struct sw_buf text;
    sw_format_url(host, sw_app_port(app), url, sizeof url);
    sw_buf_init(&text, TEXT_MAX * 2);
    sw_buf_printf(&text, "\nSlipway %s serves ", SW_VERSION);
    char first[256];
    size_t followed = sw_app_followed(app, first, sizeof first);
    bool loaded = sw_loads_ready_count(loads) > 0 || followed == 0; /* "no model yet" only when there is none at all */
    if (loaded) {
        sw_loads_describe(loads, &text);
    }
    if (followed) {
        sw_buf_printf(&text, "%s%zu %s of the registry", loaded ? " and " : "", followed,
                      followed == 1 ? "model" : "models");
    }
    sw_buf_printf(&text, " on %s, ready after %llu ms.\n", url, (unsigned long long)start_ms);
    if (!sw_app_has_followed(app)) {
        SW_LIT(&text, "Models of the registry are still to come; /health/ready tells when they are there.\n");
    }
    size_t unavailable = sw_loads_count(loads) - sw_loads_ready_count(loads);
    if (unavailable) {
        sw_buf_printf(&text, "%zu %s not load; the log says why.\n", unavailable,
                      unavailable == 1 ? "model does" : "models do");
    }
    const char *name = sw_loads_first_ready(loads);
    name = name || !followed ? name : first;
    struct sw_model *model;
    struct sw_error err;
    if (name && sw_repository_acquire(sw_app_repository(app), sw_str_of(name), SW_STR(""), &model, &err) == SW_OK) {
        const struct sw_root_app *root = sw_apps_root(sw_app_applications(app));
        SW_LIT(&text, "\n  Try it:   ");
        if (root && !strcmp(root->model, name) && media_type(model)) {
            append_file_request(&text, model, url, root->try_path);
        } else {
            sw_welcome_request(model, url, &text);
        }
        SW_LIT(&text, "\n");
        sw_repository_release(sw_app_repository(app), model);
    } else {
        SW_LIT(&text, "\n  Name models to serve: slipway serve model.onnx, or --models-dir DIR.\n");
    }
    if (sw_app_registry(app)) {
        sw_buf_printf(&text, "  Registry: slipway model push NAME PATH --promote%s%s\n",
                      strcmp(url, DEFAULT_SERVER) != 0 ? " --server " : "",
                      strcmp(url, DEFAULT_SERVER) != 0 ? url : "");
    }
    sw_buf_printf(&text, "  Look at:  %s/health  %s/metrics  %s/openapi.json\n  Stop:     Ctrl-C\n\n", url, url, url);
    if (!text.failed) {
        fwrite(text.data, 1, text.len, file);
    }
    sw_buf_deinit(&text);
}
