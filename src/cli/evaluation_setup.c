/* See evaluation_setup.h. */
#include "cli/evaluation_setup.h"

#include <errno.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/thread.h"
#include "tensor/number.h"

static sw_status open_all(struct sw_evaluation_setup *s, size_t worst, struct sw_error *err) {
    const struct sw_args *args = s->args;
    const char *data = sw_args_text(args, SW_OPTION_DATA);
    const struct sw_judge_options judging = {.positive = sw_args_text(args, SW_OPTION_POSITIVE),
                                             .score = sw_args_text(args, SW_OPTION_SCORE),
                                             .label = sw_args_text(args, SW_OPTION_LABEL),
                                             .threshold = sw_args_text(args, SW_OPTION_THRESHOLD)};
    struct sw_sample first;
    struct sw_judge judge;
    if (!data) {
        return sw_fail(err, SW_E_USAGE, "--data is missing: the labelled samples");
    }
    s->threads = (unsigned)sw_args_integer(args, SW_OPTION_THREADS);
    s->threads = s->threads ? s->threads : sw_cpu_count();
    SW_TRY(sw_dataset_open(data, &s->dataset, err));
    SW_TRY(sw_dataset_first(s->dataset, &s->arena, &first, err));
    if (first.label.kind == SW_LABEL_NONE) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "%s: the sample has no label",
                       sw_sample_where(s->dataset, &first, &s->arena));
    }
    SW_TRY(sw_cli_engines_open(s->config, &s->engines, err));
    struct sw_model_options options = sw_cli_model_options(&s->engines, 1);
    options.skip_golden = true;
    SW_TRY(sw_model_load(args->positional[0], NULL, 1, &options, &s->model, err));
    SW_TRY(sw_judge_make(s->model, &judging, &first.label, &judge, err));
    sw_evaluation_init(&s->evaluation, &judge, worst);
    return SW_OK;
}

sw_status sw_evaluation_setup_open(struct sw_evaluation_setup *s, const struct sw_args *args, size_t worst,
                                   int *ret_exit, struct sw_error *err) {
    *s = (struct sw_evaluation_setup){.args = args};
    *ret_exit = -1;
    sw_arena_init(&s->arena, 0, 0);
    s->config = sw_cli_config(args, ret_exit);
    if (!s->config) {
        return SW_E_USAGE;
    }
    *ret_exit = -1;
    return open_all(s, worst, err);
}

sw_status sw_evaluation_setup_run(struct sw_evaluation_setup *s, struct sw_error *err) {
    uint64_t start = sw_now_ns(sw_clock_system());
    SW_TRY(sw_evaluation_run(&s->evaluation, s->dataset, s->threads, stderr, err));
    s->elapsed_ns = sw_now_ns(sw_clock_system()) - start;
    const struct sw_worst *failures = &s->evaluation.failures;
    if (sw_evaluation_evaluated(&s->evaluation) == 0 && failures->count) {
        return sw_fail(err, SW_E_UNPROCESSABLE, "no sample could be evaluated; %s: %s", failures->items[0].where,
                       failures->items[0].detail);
    }
    return SW_OK;
}

void sw_evaluation_setup_close(struct sw_evaluation_setup *s) {
    sw_evaluation_deinit(&s->evaluation);
    sw_model_unref(s->model);
    sw_cli_engines_close(&s->engines);
    sw_dataset_close(s->dataset);
    sw_config_destroy(s->config);
    sw_arena_deinit(&s->arena);
}

sw_status sw_option_number(const struct sw_args *args, enum sw_option_id id, const char *name, double min, double max,
                           double *ret, struct sw_error *err) {
    const char *text = sw_args_text(args, id);
    double value;
    if (!text) {
        return SW_OK;
    }
    const char *end = text + strlen(text);
    if (sw_parse_double(text, end, &value) != end || value < min || value > max) {
        return sw_fail(err, SW_E_USAGE, "--%s: '%.40s' must be a number from %g to %g", name, text, min, max);
    }
    *ret = value;
    return SW_OK;
}

sw_status sw_json_write_file(const char *path, json_t *json, size_t digits, struct sw_error *err) {
    FILE *file = fopen(path, "we");
    if (!file) {
        return sw_fail(err, SW_E_IO, "%s: %s", path, strerror(errno));
    }
    bool failed = json_dumpf(json, file, JSON_INDENT(2) | JSON_REAL_PRECISION(digits)) != 0;
    failed = fputc('\n', file) == EOF || failed;
    if (fclose(file) != 0 || failed) {
        return sw_fail(err, SW_E_IO, "%s: %s", path, strerror(errno));
    }
    return SW_OK;
}
