/* slipway calibrate: fits a calibration to a model's scores on labelled samples, for the step calibrate of its bundle. */
#include <math.h>

#include "base/memory.h"
#include "cli/evaluation_setup.h"
#include "pipeline/calibration_file.h"

struct calibrate {
    struct sw_evaluation_setup setup;
    enum sw_calibration_method method;
    enum sw_calibration_input input;
    struct sw_calibration calibration;
    struct sw_scored *items;
    size_t count;
};

static sw_status read_choice(const struct sw_args *args, enum sw_option_id id, const char *name,
                             const char *const *choices, size_t count, int *ret, struct sw_error *err) {
    const char *text = sw_args_text(args, id);
    char list[128] = "";
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, choices[i]) == 0) {
            *ret = (int)i;
            return SW_OK;
        }
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "", choices[i]);
    }
    return sw_fail(err, SW_E_USAGE, "--%s: '%.40s' must be one of %s", name, text, list);
}

static sw_status read_settings(struct calibrate *c, const struct sw_args *args, struct sw_error *err) {
    static const char *const inputs[] = {"logit", "probability"};
    const char *methods[SW_CALIBRATION_METHODS];
    int method, input;
    for (int i = 0; i < SW_CALIBRATION_METHODS; i++) {
        methods[i] = sw_calibration_method_name((enum sw_calibration_method)i);
    }
    SW_TRY(read_choice(args, SW_OPTION_METHOD, "method", methods, SW_CALIBRATION_METHODS, &method, err));
    SW_TRY(read_choice(args, SW_OPTION_INPUT, "input", inputs, SW_COUNTOF(inputs), &input, err));
    if (!sw_args_text(args, SW_OPTION_OUTPUT)) {
        return sw_fail(err, SW_E_USAGE, "--output is missing: the file to write");
    }
    c->method = (enum sw_calibration_method)method;
    c->input = (enum sw_calibration_input)input;
    return SW_OK;
}

/* What the fit did, on the samples it was fitted on: log loss before (where the score says a probability) and after. */
static sw_status tell(const struct calibrate *c, struct sw_error *err) {
    struct sw_reliability after;
    struct sw_scored *mapped SW_AUTO_FREE = sw_calloc(c->count, sizeof *mapped);
    const char *output = sw_args_text(c->setup.args, SW_OPTION_OUTPUT);
    if (!mapped) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory for %zu scores", c->count);
    }
    for (size_t i = 0; i < c->count; i++) {
        mapped[i] = (struct sw_scored){sw_calibration_apply(&c->calibration, c->items[i].score), c->items[i].positive};
    }
    SW_TRY(sw_reliability_make(mapped, c->count, SW_BINS_EQUAL_MASS, 10, &after, err));
    const struct sw_rate *positives = &c->setup.evaluation.all.detection;
    if (sw_args_has(c->setup.args, SW_OPTION_JSON)) {
        json_t *json = sw_calibration_json(&c->calibration, c->count);
        sw_cli_print_json(stdout, json);
        json_decref(json);
    } else {
        char n[32], of[32];
        printf("%s: %s calibration fitted on %s samples, %s of them positive\n\n", c->setup.model->name,
               sw_calibration_method_name(c->method), sw_cli_thousands(c->count, n),
               sw_cli_thousands(positives->of, of));
        printf(
            "  On these samples: log loss %.6f, Brier score %.6f, ECE %.6f. Other samples judge it: slipway evaluate.\n"
            "  wrote %s\n",
            after.log_loss, after.brier, after.expected_error, output);
    }
    sw_reliability_deinit(&after);
    return SW_OK;
}

static sw_status calibrate(struct calibrate *c, struct sw_error *err) {
    struct sw_evaluation *e = &c->setup.evaluation;
    if (e->judge.task != SW_TASK_BINARY || e->judge.score == SW_JUDGE_NONE) {
        return sw_fail(err, SW_E_USAGE,
                       "calibration needs labels that are true or false, and one score; name it with "
                       "--score");
    }
    SW_TRY(sw_evaluation_setup_run(&c->setup, err));
    if (e->failures.count) {
        return sw_fail(err, SW_E_UNPROCESSABLE, "%llu samples could not be evaluated; %s: %s",
                       (unsigned long long)e->outcomes[SW_OUTCOME_FAILED], e->failures.items[0].where,
                       e->failures.items[0].detail);
    }
    SW_TRY(sw_evaluation_scored(e, &c->items, &c->count, err));
    SW_TRY(sw_calibration_fit(c->method, c->input, c->items, c->count, &c->calibration, err));
    json_t *json = sw_calibration_json(&c->calibration, c->count);
    sw_status status = sw_json_write_file(sw_args_text(c->setup.args, SW_OPTION_OUTPUT), json, 17, err);
    json_decref(json);
    return status ? status : tell(c, err);
}

int sw_run_calibrate(const struct sw_args *args) {
    struct calibrate c = {0};
    struct sw_error err;
    int code;
    if (read_settings(&c, args, &err)) {
        return sw_cli_fail(args, &err);
    }
    sw_status status = sw_evaluation_setup_open(&c.setup, args, 0, &code, &err);
    status = status ? status : calibrate(&c, &err);
    if (code < 0) {
        code = status ? sw_cli_fail(args, &err) : SW_EXIT_DONE;
    }
    sw_free(c.items);
    sw_calibration_deinit(&c.calibration);
    sw_evaluation_setup_close(&c.setup);
    return code;
}
