/* slipway compare: two models on the same samples, side by side, and gates between them. */
#include "cli/compare_internal.h"

#include <math.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/thread.h"
#include "cli/cli.h"
#include "cli/evaluation_setup.h"
#include "graph/signature.h"

static const double FPR_INCREASE_DEFAULT = 0.001;

/* --- opening ------------------------------------------------------------------------------------------------------ */

static sw_status file_size(const char *path, uint64_t *ret, struct sw_error *err) {
    struct stat info;
    if (stat(path, &info) != 0) {
        return sw_fail(err, SW_E_IO, "%s cannot be read", path);
    }
    *ret += (uint64_t)info.st_size;
    return SW_OK;
}

/* Of the model file and of the files that it keeps weights in. */
static sw_status model_size(const char *path, uint64_t *ret, struct sw_error *err) {
    json_t *signature = NULL, *external = NULL, *name;
    size_t i;
    *ret = 0;
    SW_TRY(file_size(path, ret, err));
    if (sw_onnx_signature(path, &signature, &external, NULL)) {
        return SW_OK; /* a file of another engine: that is all of it */
    }
    size_t folder_len = (size_t)(sw_path_base(sw_str_of(path)).data - path);
    SW_AUTO_FREE char *folder = folder_len ? sw_xstrndup(path, folder_len) : sw_xstrdup(".");
    sw_status status = SW_OK;
    json_array_foreach(external, i, name) {
        SW_AUTO_FREE char *file = sw_path_join(folder, json_string_value(name));
        status = status ? status : file_size(file, ret, err);
    }
    json_decref(signature);
    json_decref(external);
    return status;
}

static sw_status open_side(struct sw_comparison *c, struct sw_compare_side *side, struct sw_error *err) {
    struct sw_model_options options = sw_cli_model_options(&c->engines, 1);
    options.skip_golden = true;
    SW_TRY(sw_model_load(side->path, NULL, 1, &options, &side->model, err));
    return model_size(side->model->bundle->model_path, &side->bytes, err);
}

static struct sw_judge_options judge_options(const struct sw_comparison *c) {
    return (struct sw_judge_options){.positive = sw_args_text(c->args, SW_OPTION_POSITIVE),
                                     .score = sw_args_text(c->args, SW_OPTION_SCORE),
                                     .label = sw_args_text(c->args, SW_OPTION_LABEL),
                                     .threshold = sw_args_text(c->args, SW_OPTION_THRESHOLD)};
}

static sw_status make_judges(struct sw_comparison *c, const struct sw_label *label, struct sw_error *err) {
    const struct sw_judge_options options = judge_options(c);
    for (size_t i = 0; i < 2; i++) {
        struct sw_compare_side *side = &c->sides[i];
        sw_status status = sw_judge_make(side->model, &options, label, &side->judge, err);
        if (status) {
            return sw_error_prefix(err, "%s", side->path);
        }
    }
    if (c->sides[0].judge.task != c->sides[1].judge.task) {
        return sw_fail(err, SW_E_USAGE,
                       "one model answers true or false, the other one a class; see --positive, --score and --label");
    }
    c->task = c->sides[0].judge.task;
    c->has_verdicts = true;
    return SW_OK;
}

/* Without labels the models' outputs say what kind of verdict there is: a BOOL, a class, or a score; or none. */
static sw_status guess_judges(struct sw_comparison *c, struct sw_error *err) {
    const struct sw_judge_options options = judge_options(c);
    const struct sw_label truth = {.kind = SW_LABEL_BOOL, .text = SW_STR("false")},
                          text = {.kind = SW_LABEL_TEXT, .text = SW_STR("?")};
    bool asked = options.positive || options.score || options.threshold;
    bool has_bool = false;
    for (size_t i = 0; i < c->sides[0].model->outputs.count; i++) {
        has_bool = has_bool || c->sides[0].model->outputs.items[i].dtype == SW_DTYPE_BOOL;
    }
    bool binary = !options.label && (asked || has_bool);
    if (options.label || asked) {
        return make_judges(c, binary ? &truth : &text, err);
    }
    if (make_judges(c, binary ? &truth : &text, err) && make_judges(c, binary ? &text : &truth, err)) {
        c->has_verdicts = false; /* a regression, an embedding: only outputs are compared */
    }
    return SW_OK;
}

static sw_status open_samples(struct sw_comparison *c, struct sw_error *err) {
    SW_CLEANUP(sw_arena_deinit) struct sw_arena arena;
    struct sw_set_sample first;
    bool more;
    sw_arena_init(&arena, 0, 0);
    SW_TRY(
        sw_sample_set_open(c->data, c->sides[0].model, sw_args_integer(c->args, SW_OPTION_SAMPLES), &c->samples, err));
    SW_TRY(sw_sample_set_next(c->samples, &arena, &first, &more, err));
    SW_ASSERT(more); /* an empty set is refused when it is opened */
    c->has_labels = first.sample.label.kind != SW_LABEL_NONE;
    return c->has_labels ? make_judges(c, &first.sample.label, err) : guess_judges(c, err);
}

/* --- gates -------------------------------------------------------------------------------------------------------- */

enum needs { NEEDS_NOTHING, NEEDS_BINARY, NEEDS_CLASSES, NEEDS_VERDICTS, NEEDS_TIMES };

static double fpr_increase(const struct sw_comparison *c) {
    return sw_paired_difference(&c->negatives);
}
static double detection_drop(const struct sw_comparison *c) {
    return -sw_paired_difference(&c->positives);
}
static double detection(const struct sw_comparison *c) {
    return (double)sw_paired_second(&c->positives) / (double)sw_paired_total(&c->positives);
}
static double accuracy_drop(const struct sw_comparison *c) {
    return -sw_paired_difference(&c->right);
}
static double agreement(const struct sw_comparison *c) {
    return (double)c->agreed / (double)c->compared;
}

double sw_compare_size_ratio(const struct sw_comparison *c) {
    return (double)c->sides[1].bytes / (double)c->sides[0].bytes;
}

static const struct gate {
    enum sw_option_id option;
    const char *name;
    double (*measure)(const struct sw_comparison *c); /* NaN: cannot be measured */
    enum needs needs;
    bool is_least;
    double max; /* of the option's value */
} gates[] = {
    {SW_OPTION_MAX_FPR_INCREASE, "max-fpr-increase", fpr_increase, NEEDS_BINARY, false, 1},
    {SW_OPTION_MIN_DETECTION, "min-detection", detection, NEEDS_BINARY, true, 1},
    {SW_OPTION_MAX_DETECTION_DROP, "max-detection-drop", detection_drop, NEEDS_BINARY, false, 1},
    {SW_OPTION_MAX_ACCURACY_DROP, "max-accuracy-drop", accuracy_drop, NEEDS_CLASSES, false, 1},
    {SW_OPTION_MIN_AGREEMENT, "min-agreement", agreement, NEEDS_VERDICTS, true, 1},
    {SW_OPTION_MAX_SIZE_RATIO, "max-size-ratio", sw_compare_size_ratio, NEEDS_NOTHING, false, 1000},
    {SW_OPTION_MAX_LATENCY_RATIO, "max-latency-ratio", sw_compare_latency_ratio, NEEDS_TIMES, false, 1000},
};

static const char *what_is_missing(const struct sw_comparison *c, enum needs needs) {
    bool binary = c->has_verdicts && c->has_labels && c->task == SW_TASK_BINARY;
    bool classes = c->has_verdicts && c->has_labels && c->task == SW_TASK_CLASSES;
    switch (needs) {
    case NEEDS_BINARY: return binary ? NULL : "labels that are true or false";
    case NEEDS_CLASSES: return classes ? NULL : "labels that are classes";
    case NEEDS_VERDICTS: return c->has_verdicts ? NULL : "an output that is a verdict; name it with --score or --label";
    case NEEDS_TIMES: return sw_args_integer(c->args, SW_OPTION_TIMED) ? NULL : "requests that are timed: --timed";
    case NEEDS_NOTHING: break;
    }
    return NULL;
}

/* Usage is checked before the run. */
static sw_status check_gates(const struct sw_comparison *c, struct sw_error *err) {
    for (size_t i = 0; i < SW_COUNTOF(gates); i++) {
        double ignored;
        SW_TRY(sw_option_number(c->args, gates[i].option, gates[i].name, 0, gates[i].max, &ignored, err));
        const char *missing = what_is_missing(c, gates[i].needs);
        if (sw_args_text(c->args, gates[i].option) && missing) {
            return sw_fail(err, SW_E_USAGE, "--%s needs %s", gates[i].name, missing);
        }
    }
    return SW_OK;
}

static void apply_gates(struct sw_comparison *c) {
    /* rates are fractions of counts: equal ones may come out apart in the last digit */
    const double slack = 1e-12;
    for (size_t i = 0; i < SW_COUNTOF(gates); i++) {
        const struct gate *gate = &gates[i];
        bool by_default = gate->option == SW_OPTION_MAX_FPR_INCREASE && !what_is_missing(c, gate->needs) &&
                          sw_paired_total(&c->negatives) > 0;
        double limit = by_default ? FPR_INCREASE_DEFAULT : NAN;
        (void)!sw_option_number(c->args, gate->option, gate->name, 0, gate->max, &limit, NULL); /* checked before */
        if (isnan(limit)) {
            continue;
        }
        double value = gate->measure(c);
        bool passed = gate->is_least ? value >= limit - slack : value <= limit + slack; /* NaN: false */
        c->gates[c->gate_count++] = (struct sw_compare_gate){gate->name, limit, value, gate->is_least, passed};
    }
}

bool sw_compare_passed(const struct sw_comparison *c) {
    bool passed = c->sides[0].failed == 0 && c->sides[1].failed == 0;
    for (size_t i = 0; i < c->gate_count; i++) {
        passed = passed && c->gates[i].passed;
    }
    return passed;
}

/* --- the command -------------------------------------------------------------------------------------------------- */

static sw_status tell(const struct sw_comparison *c, struct sw_error *err) {
    const char *output = sw_args_text(c->args, SW_OPTION_OUTPUT);
    json_t *json = sw_compare_json(c);
    if (sw_args_has(c->args, SW_OPTION_JSON)) {
        sw_cli_print_json(stdout, json);
    } else {
        sw_compare_print(c);
    }
    sw_status status = output ? sw_json_write_file(output, json, 9, err) : SW_OK;
    json_decref(json);
    return status;
}

static sw_status run(struct sw_comparison *c, struct sw_error *err) {
    unsigned threads = (unsigned)sw_args_integer(c->args, SW_OPTION_THREADS);
    if (!c->data) {
        return sw_fail(err, SW_E_USAGE, "--data is missing: the samples to compare on");
    }
    for (size_t i = 0; i < 2; i++) {
        SW_TRY(open_side(c, &c->sides[i], err));
    }
    SW_TRY(open_samples(c, err));
    SW_TRY(check_gates(c, err));
    SW_TRY(sw_compare_run(c, threads ? threads : sw_cpu_count(), err));
    if (c->compared == 0) {
        return sw_fail(err, SW_E_UNPROCESSABLE, "no sample could be compared; %s: %s; %s", c->shown[0].where,
                       c->shown[0].said[0], c->shown[0].said[1]);
    }
    SW_TRY(sw_compare_time(c, (size_t)sw_args_integer(c->args, SW_OPTION_TIMED), err));
    apply_gates(c);
    return tell(c, err);
}

static void release(struct sw_comparison *c) {
    sw_sample_set_close(c->samples);
    sw_differences_free(c->outputs, c->output_count);
    for (size_t i = 0; i < 2; i++) {
        sw_model_unref(c->sides[i].model);
        sw_free(c->sides[i].request);
        sw_free(c->sides[i].run);
    }
    sw_cli_engines_close(&c->engines);
    sw_free(c);
}

int sw_run_compare(const struct sw_args *args) {
    int code;
    struct sw_error err;
    struct sw_config *config = sw_cli_config(args, &code);
    if (!config) {
        return code;
    }
    struct sw_comparison *c = SW_NEW(struct sw_comparison);
    c->args = args;
    c->data = sw_args_text(args, SW_OPTION_DATA);
    c->sides[0].path = args->positional[0];
    c->sides[1].path = args->positional[1];
    sw_status status = sw_cli_engines_open(config, &c->engines, &err);
    if (!status) {
        status = run(c, &err);
    }
    code = status ? sw_cli_fail(args, &err) : sw_compare_passed(c) ? SW_EXIT_DONE : SW_EXIT_FAILED;
    release(c);
    sw_config_destroy(config);
    return code;
}
