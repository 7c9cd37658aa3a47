/* slipway quantize: reads a model, has it quantised, tries the result on the samples and writes it. */
#include "cli/quantize_internal.h"

#include <errno.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "cli/cli.h"

static const double PERCENTILE_LEAST = 90;

/* --- the command line --------------------------------------------------------------------------------------------- */

/* Index of the text among NULL-terminated choices. */
static sw_status choose(const struct sw_args *args, enum sw_option_id id, const char *name, const char *const *choices,
                        int *ret, struct sw_error *err) {
    const char *text = sw_args_text(args, id);
    for (int i = 0; choices[i]; i++) {
        if (strcmp(text, choices[i]) == 0) {
            *ret = i;
            return SW_OK;
        }
    }
    return sw_fail(err, SW_E_USAGE, "--%s %.40s: must be %s or %s", name, text, choices[0], choices[1]);
}

static sw_status read_percentile(const struct sw_args *args, double *ret, struct sw_error *err) {
    const char *text = sw_args_text(args, SW_OPTION_PERCENTILE);
    char *end;
    double value = strtod(text, &end);
    if (!*text || *end || !(value >= PERCENTILE_LEAST && value <= 100)) {
        return sw_fail(err, SW_E_USAGE, "--percentile %.40s: must be a number from 90 to 100", text);
    }
    *ret = value;
    return SW_OK;
}

/* exclude: room for as many names as options were given. */
static sw_status read_options(struct sw_quantization *q, const char **exclude, struct sw_error *err) {
    static const char *const modes[] = {"qdq", "dynamic", NULL}, *const methods[] = {"minmax", "percentile", NULL},
                             *const types[] = {"uint8", "int8", NULL};
    const struct sw_args *args = q->args;
    int mode, method, type;
    double percentile = 100;
    SW_TRY(choose(args, SW_OPTION_MODE, "mode", modes, &mode, err));
    SW_TRY(choose(args, SW_OPTION_METHOD, "method", methods, &method, err));
    SW_TRY(choose(args, SW_OPTION_ACTIVATIONS, "activations", types, &type, err));
    SW_TRY(read_percentile(args, &percentile, err));
    q->mode = modes[mode];
    q->method = methods[method];
    q->options = (struct sw_quantize_options){
        .mode = mode ? SW_QUANTIZE_DYNAMIC : SW_QUANTIZE_QDQ,
        .per_tensor = sw_args_has(args, SW_OPTION_PER_TENSOR),
        .reduce_range = sw_args_has(args, SW_OPTION_REDUCE_RANGE),
        .signed_activations = type == 1,
        .percentile = method ? percentile : 100,
        .exclude = exclude,
    };
    for (size_t i = 0; i < args->given_count; i++) {
        if (args->given[i].option->id == SW_OPTION_EXCLUDE) {
            exclude[q->options.exclude_count++] = args->given[i].value;
        }
    }
    if (mode && type) {
        return sw_fail(err, SW_E_USAGE, "--activations int8 does not go with --mode dynamic, which makes UINT8");
    }
    if (!mode && !sw_args_text(args, SW_OPTION_CALIBRATION)) {
        return sw_fail(err, SW_E_USAGE,
                       "--calibration DATA is needed: samples of what the model will see (or --mode dynamic)");
    }
    return SW_OK;
}

static bool is_model_name(const char *path) {
    return sw_str_ends(sw_str_of(path), SW_STR(".onnx"));
}

static bool is_same_file(const char *a, const char *b) {
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static sw_status check_out(const struct sw_quantization *q, struct sw_error *err) {
    bool is_bundle = sw_path_is_dir(q->in);
    if (!is_bundle && !is_model_name(q->out)) {
        return sw_fail(err, SW_E_USAGE, "%s: must end in .onnx, as %s is no bundle", q->out, q->in);
    }
    if (is_model_name(q->out) && sw_path_is_dir(q->out)) {
        return sw_fail(err, SW_E_USAGE, "%s is a folder", q->out);
    }
    if (is_same_file(q->in, q->out) || is_same_file(q->model->bundle->model_path, q->out)) {
        return sw_fail(err, SW_E_USAGE, "%s is the model itself; write to another place", q->out);
    }
    if (!is_model_name(q->model->bundle->model_path)) {
        return sw_fail(err, SW_E_USAGE, "%s: not an ONNX file", q->model->bundle->model_path);
    }
    return SW_OK;
}

/* --- the work ----------------------------------------------------------------------------------------------------- */

static void show_progress(void *arg, uint64_t runs) {
    if (runs % 16 == 0 && isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r%s: %llu runs ", (const char *)arg, (unsigned long long)runs);
    }
}

static void clear_progress(void) {
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r%40s\r", "");
    }
}

static struct sw_session_options session_options(const struct sw_quantization *q) {
    return (struct sw_session_options){.threads = (unsigned)sw_args_integer(q->args, SW_OPTION_THREADS),
                                       .memory_arena = true};
}

static struct sw_engine *engine_of(const struct sw_quantization *q) {
    return q->model->session->engine;
}

static sw_status quantize(struct sw_quantization *q, struct sw_error *err) {
    struct sw_session_options session = session_options(q);
    struct sw_samples samples = {0};
    if (q->samples) {
        samples = sw_sample_set_samples(q->samples, show_progress, "calibrating");
    }
    sw_status status = sw_onnx_read(q->model->bundle->model_path, &q->onnx, err);
    if (!status) {
        q->bytes_before = q->onnx->bytes;
        status = sw_quantize(q->onnx, &q->options, engine_of(q), &session, q->samples ? &samples : NULL, &q->report,
                             err);
        clear_progress();
    }
    return status;
}

/* Loads the new model, and runs both over the samples. */
static sw_status try_out(struct sw_quantization *q, struct sw_error *err) {
    struct sw_session_options session = session_options(q);
    struct sw_engine *engine = engine_of(q);
    SW_AUTO_FREE char *path = NULL;
    SW_TRY(sw_onnx_save_temporary(q->onnx, &path, err));
    sw_status status;
    if (q->samples) {
        struct sw_samples samples = sw_sample_set_samples(q->samples, show_progress, "comparing");
        status = sw_difference_measure(q->model->bundle->model_path, path, engine, &session, &samples, &q->differences,
                                       &q->difference_count, err);
        clear_progress();
    } else {
        struct sw_session *loaded = NULL;
        status = engine->ops->load(engine, path, &session, &loaded, err);
        if (loaded) {
            engine->ops->unload(loaded);
        }
    }
    unlink(path);
    return status ? sw_error_prefix(err, "the quantised model does not run") : SW_OK;
}

static sw_status write_out(struct sw_quantization *q, struct sw_error *err) {
    if (is_model_name(q->out)) {
        return sw_onnx_save(q->onnx, q->out, &q->bytes_after, err);
    }
    return sw_quantize_write_bundle(q, sw_args_has(q->args, SW_OPTION_FORCE), err);
}

static sw_status run(struct sw_quantization *q, struct sw_error *err) {
    const char *data = sw_args_text(q->args, SW_OPTION_CALIBRATION);
    struct sw_model_options options = sw_cli_model_options(&q->engines, 1);
    options.skip_golden = true;
    SW_TRY(sw_model_load(q->in, NULL, 1, &options, &q->model, err));
    SW_TRY(check_out(q, err));
    if (data) {
        SW_TRY(sw_sample_set_open(data, q->model, sw_args_integer(q->args, SW_OPTION_SAMPLES), &q->samples, err));
    }
    sw_status status = quantize(q, err);
    if (status == SW_E_MODEL_INVALID || status == SW_E_TOO_LARGE) { /* these do not name the file */
        sw_error_prefix(err, "%s", q->model->bundle->model_path);
    }
    SW_TRY(status);
    SW_TRY(try_out(q, err));
    SW_TRY(write_out(q, err));
    if (sw_args_has(q->args, SW_OPTION_JSON)) {
        sw_quantize_print_json(q);
    } else {
        sw_quantize_print(q);
    }
    return SW_OK;
}

static void release(struct sw_quantization *q) {
    sw_sample_set_close(q->samples);
    sw_differences_free(q->differences, q->difference_count);
    sw_quantize_report_destroy(q->report);
    sw_onnx_destroy(q->onnx);
    sw_model_unref(q->model);
    sw_cli_engines_close(&q->engines);
}

int sw_run_quantize(const struct sw_args *args) {
    int code;
    struct sw_error err;
    struct sw_config *config = sw_cli_config(args, &code);
    if (!config) {
        return code;
    }
    struct sw_quantization q = {.args = args, .in = args->positional[0], .out = args->positional[1]};
    SW_AUTO_FREE const char **exclude = sw_xcalloc(args->given_count + 1, sizeof *exclude);
    sw_status status = read_options(&q, exclude, &err);
    if (!status) {
        status = sw_cli_engines_open(config, &q.engines, &err);
    }
    if (!status) {
        status = run(&q, &err);
    }
    release(&q);
    sw_config_destroy(config);
    return status ? sw_cli_fail(args, &err) : SW_EXIT_DONE;
}
