/* slipway evaluate: how good is a model on labelled samples? Opens, runs, reports, checks gates. */
#include <math.h>

#include "base/memory.h"
#include "cli/evaluation_report.h"
#include "cli/evaluation_setup.h"

/* The tables that every report has, then those asked for. */
static sw_status add_tables(struct sw_evaluation *e, const struct sw_args *args, struct sw_error *err) {
    static const char *const standard[] = {"method", "format", "method,format", "method,bit_order"};
    size_t count = e->judge.message == SW_JUDGE_NONE ? 3 : 4;
    for (size_t i = 0; e->judge.task == SW_TASK_BINARY && i < count; i++) {
        SW_TRY(sw_evaluation_by(e, standard[i], err));
    }
    for (size_t i = 0; i < args->given_count; i++) {
        if (args->given[i].option->id == SW_OPTION_BY) {
            SW_TRY(sw_evaluation_by(e, args->given[i].value, err));
        }
    }
    return SW_OK;
}

/* --- gates ------------------------------------------------------------------------------------------------------- */

static struct sw_rate false_positives_of(const struct sw_tally *t) {
    return t->false_positives;
}
static struct sw_rate detection_of(const struct sw_tally *t) {
    return t->detection;
}
static struct sw_rate extraction_of(const struct sw_tally *t) {
    return t->extraction;
}
static struct sw_rate accuracy_of(const struct sw_tally *t) {
    return t->right;
}

struct gate {
    enum sw_option_id option;
    const char *name;
    struct sw_rate (*rate)(const struct sw_tally *tally);
    bool each_method; /* the worst of the methods counts */
    enum sw_task task;
};

static const struct gate gates[] = {
    {SW_OPTION_MAX_FPR, "max-fpr", false_positives_of, false, SW_TASK_BINARY},
    {SW_OPTION_MIN_DETECTION, "min-detection", detection_of, false, SW_TASK_BINARY},
    {SW_OPTION_MIN_METHOD_DETECTION, "min-method-detection", detection_of, true, SW_TASK_BINARY},
    {SW_OPTION_MIN_EXTRACTION, "min-extraction", extraction_of, false, SW_TASK_BINARY},
    {SW_OPTION_MIN_METHOD_EXTRACTION, "min-method-extraction", extraction_of, true, SW_TASK_BINARY},
    {SW_OPTION_MIN_ACCURACY, "min-accuracy", accuracy_of, false, SW_TASK_CLASSES},
};

/* Usage is checked before the run. */
static sw_status check_gates(const struct sw_args *args, enum sw_task task, struct sw_error *err) {
    for (size_t i = 0; i < SW_COUNTOF(gates); i++) {
        double ignored;
        SW_TRY(sw_option_number(args, gates[i].option, gates[i].name, 0, 1, &ignored, err));
        if (sw_args_text(args, gates[i].option) && gates[i].task != task) {
            return sw_fail(err, SW_E_USAGE, "--%s does not go with labels that are %s", gates[i].name,
                           task == SW_TASK_BINARY ? "true or false" : "classes");
        }
    }
    return SW_OK;
}

/* The lowest rate of the methods that have one: a method without a detected sample has no extraction to fail. */
static double lowest_of_methods(const struct sw_evaluation *e, const struct gate *gate, char *of, size_t size) {
    const struct sw_map *groups = &e->by[0].groups; /* "method" comes first */
    const char **names SW_AUTO_FREE = sw_map_sorted(groups);
    double lowest = NAN;
    for (size_t i = 0; names[i]; i++) {
        double value = sw_rate_value(gate->rate(sw_map_get(groups, sw_str_of(names[i]))));
        if (!isnan(value) && (isnan(lowest) || value < lowest)) {
            lowest = value;
            snprintf(of, size, "method %s", names[i]);
        }
    }
    return lowest;
}

static void apply_gates(struct sw_report *r, const struct sw_args *args) {
    for (size_t i = 0; i < SW_COUNTOF(gates); i++) {
        double limit = NAN;
        char of[128] = "";
        (void)!sw_option_number(args, gates[i].option, gates[i].name, 0, 1, &limit, NULL); /* checked before */
        if (isnan(limit)) {
            continue;
        }
        double value = gates[i].each_method ? lowest_of_methods(r->evaluation, &gates[i], of, sizeof of)
                                            : sw_rate_value(gates[i].rate(&r->evaluation->all));
        sw_report_gate(r, gates[i].name, limit, value, of);
    }
}

/* --- the report -------------------------------------------------------------------------------------------------- */

static sw_status tell(const struct sw_report *r, const struct sw_args *args, struct sw_error *err) {
    const char *output = sw_args_text(args, SW_OPTION_OUTPUT), *plots = sw_args_text(args, SW_OPTION_PLOTS);
    bool as_json = sw_args_has(args, SW_OPTION_JSON);
    json_t *json = sw_report_json(r);
    if (as_json) {
        sw_cli_print_json(stdout, json);
    } else {
        sw_report_print(r);
    }
    sw_status status = output ? sw_json_write_file(output, json, 9, err) : SW_OK;
    json_decref(json);
    if (!status && (output || plots) && !as_json) {
        printf("\n");
        if (output) {
            printf("wrote %s\n", output);
        }
    }
    return !status && plots ? sw_report_plots(r, plots, !as_json, err) : status;
}

static sw_status read_settings(struct sw_report *r, const struct sw_args *args, struct sw_error *err) {
    const char *interval = sw_args_text(args, SW_OPTION_INTERVAL);
    bool exact = strcmp(interval, "exact") == 0;
    r->confidence = 0.95;
    SW_TRY(sw_option_number(args, SW_OPTION_CONFIDENCE, "confidence", 0.5, 0.9999, &r->confidence, err));
    if (!exact && strcmp(interval, "wilson") != 0) {
        return sw_fail(err, SW_E_USAGE, "--interval: '%.40s' must be wilson or exact", interval);
    }
    r->interval = exact ? SW_INTERVAL_EXACT : SW_INTERVAL_WILSON;
    return SW_OK;
}

static sw_status evaluate(struct sw_evaluation_setup *s, struct sw_report *r, struct sw_error *err) {
    SW_TRY(add_tables(&s->evaluation, s->args, err));
    SW_TRY(check_gates(s->args, s->evaluation.judge.task, err));
    SW_TRY(sw_evaluation_setup_run(s, err));
    r->evaluation = &s->evaluation;
    r->data = sw_args_text(s->args, SW_OPTION_DATA);
    r->threads = s->threads;
    r->elapsed_ns = s->elapsed_ns;
    SW_TRY(sw_report_finish(r, (size_t)sw_args_integer(s->args, SW_OPTION_BINS), err));
    apply_gates(r, s->args);
    return tell(r, s->args, err);
}

int sw_run_evaluate(const struct sw_args *args) {
    struct sw_evaluation_setup setup;
    struct sw_report report = {0};
    struct sw_error err;
    int code;
    size_t worst = (size_t)sw_args_integer(args, SW_OPTION_WORST);
    sw_status status = read_settings(&report, args, &err);
    if (status) {
        return sw_cli_fail(args, &err);
    }
    status = sw_evaluation_setup_open(&setup, args, worst, &code, &err);
    status = status ? status : evaluate(&setup, &report, &err);
    if (code < 0) {
        code = status ? sw_cli_fail(args, &err) : sw_report_passed(&report) ? SW_EXIT_DONE : SW_EXIT_FAILED;
    }
    sw_report_deinit(&report);
    sw_evaluation_setup_close(&setup);
    return code;
}
