/* slipway slo check: a result of load or bench against limits. */
#include <math.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/units.h"
#include "load/slo.h"

enum { RESULT_BYTES_MAX = 256 << 20 };
static const double PERCENT_MIN = 50, PERCENT_MAX = 99.99, NOT_ASKED = -1;

/* --- options ------------------------------------------------------------------------------------------------------ */

static sw_status read_limit(const struct sw_args *args, enum sw_option_id id, const char *name, double max, double *ret,
                            struct sw_error *err) {
    const char *text = sw_args_text(args, id);
    double value = NOT_ASKED;
    if (text && (!sw_parse_decimal(text, &value) || value < 0 || value > max)) {
        return sw_fail(err, SW_E_USAGE, "--%s is '%s', but must be a number from 0%s", name, text,
                       max == 1 ? " to 1" : " on");
    }
    *ret = value;
    return SW_OK;
}

static sw_status read_limits(const struct sw_args *args, struct sw_slo_limits *ret, struct sw_error *err) {
    const char *percent = sw_args_text(args, SW_OPTION_PERCENTILE);
    SW_TRY(read_limit(args, SW_OPTION_MAX_LATENCY_MS, "max-latency-ms", INFINITY, &ret->latency_max_ms, err));
    SW_TRY(read_limit(args, SW_OPTION_MIN_THROUGHPUT, "min-throughput", INFINITY, &ret->throughput_min_per_s, err));
    SW_TRY(read_limit(args, SW_OPTION_MAX_ERROR_RATE, "max-error-rate", 1, &ret->error_rate_max, err));
    if (!sw_parse_decimal(percent, &ret->percent) || ret->percent < PERCENT_MIN || ret->percent > PERCENT_MAX) {
        return sw_fail(err, SW_E_USAGE, "--percentile is '%s', but must be a number from 50 to 99.99", percent);
    }
    if (ret->latency_max_ms < 0 && ret->throughput_min_per_s < 0 && ret->error_rate_max < 0) {
        return sw_fail(err, SW_E_USAGE, "give at least one of --max-latency-ms, --min-throughput, --max-error-rate");
    }
    return SW_OK;
}

/* --- the result --------------------------------------------------------------------------------------------------- */

/* What cannot be read or makes no sense could not be checked: exit code 3, not that of wrong usage. */
static sw_status read_result(const char *path, struct sw_slo_measured *ret, struct sw_error *err) {
    struct sw_buf text;
    json_error_t fault;
    SW_TRY(sw_file_read(path, RESULT_BYTES_MAX, &text, err));
    json_t *json = json_loadb(text.data ? text.data : "", text.len, JSON_REJECT_DUPLICATES, &fault);
    sw_buf_deinit(&text);
    if (!json) {
        return sw_fail(err, SW_E_IO, "%s is no JSON: %s (line %d)", path, fault.text, fault.line);
    }
    struct sw_error inner;
    sw_status status = sw_slo_read(json, ret, &inner);
    json_decref(json);
    return status ? sw_fail(err, SW_E_IO, "%s: %s", path, inner.message) : SW_OK;
}

/* --- output ------------------------------------------------------------------------------------------------------- */

static void format_value(const struct sw_slo_criterion *c, double value, char ret[64]) {
    if (isinf(value)) {
        snprintf(ret, 64, "no success");
    } else {
        snprintf(ret, 64, "%.6g%s%s", value, *c->unit && *c->unit != '/' ? " " : "", c->unit);
    }
}

static void name_of(const struct sw_slo_criterion *c, double percent, char ret[64]) {
    bool latency = !strcmp(c->name, "latency");
    if (latency) {
        snprintf(ret, 64, "%s p%g", c->name, percent);
    } else {
        snprintf(ret, 64, "%s", strcmp(c->name, "error_rate") != 0 ? c->name : "error rate");
    }
}

static void print_criteria(const struct sw_slo_criterion *criteria, size_t count, double percent) {
    for (size_t i = 0; i < count; i++) {
        const struct sw_slo_criterion *c = &criteria[i];
        char name[64], value[64], limit[64];
        name_of(c, percent, name);
        format_value(c, c->value, value);
        format_value(c, c->limit, limit);
        printf("%-4s  %-16s %14s  %s %s\n", c->passed ? "ok" : "FAIL", name, value,
               c->is_minimum ? "at least" : "at most", limit);
    }
}

static void print_json(const struct sw_slo_criterion *criteria, size_t count, double percent, bool passed) {
    json_t *items = json_array();
    for (size_t i = 0; i < count; i++) {
        const struct sw_slo_criterion *c = &criteria[i];
        json_t *item = json_pack("{s:s, s:o, s:f, s:s, s:b}", "name", c->name, "value",
                                 isinf(c->value) ? json_null() : json_real(c->value), "limit", c->limit, "wanted",
                                 c->is_minimum ? "at_least" : "at_most", "passed", c->passed);
        if (!strcmp(c->name, "latency")) {
            json_object_set_new(item, "percentile", json_real(percent));
            json_object_set_new(item, "unit", json_string(c->unit));
        }
        json_array_append_new(items, item);
    }
    json_t *json = json_pack("{s:b, s:o}", "passed", passed, "criteria", items);
    sw_cli_print_json(stdout, json);
    json_decref(json);
}

int sw_run_slo_check(const struct sw_args *args) {
    struct sw_error err;
    struct sw_slo_limits limits;
    struct sw_slo_measured measured = {0};
    struct sw_slo_criterion criteria[SW_SLO_CRITERIA_MAX];
    if (read_limits(args, &limits, &err) || read_result(args->positional[0], &measured, &err)) {
        return sw_cli_fail(args, &err);
    }
    size_t count = sw_slo_judge(&measured, &limits, criteria);
    bool passed = true;
    for (size_t i = 0; i < count; i++) {
        passed &= criteria[i].passed;
    }
    if (sw_args_has(args, SW_OPTION_JSON)) {
        print_json(criteria, count, limits.percent, passed);
    } else {
        print_criteria(criteria, count, limits.percent);
    }
    sw_slo_deinit(&measured);
    return passed ? SW_EXIT_DONE : SW_EXIT_FAILED;
}
