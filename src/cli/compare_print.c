/* A comparison, for people and for programs. */
#include <math.h>

#include "base/memory.h"
#include "cli/cli.h"
#include "cli/compare_internal.h"
#include "cli/table.h"

enum { CELL_MAX = 128 };
static const double CONFIDENCE = 0.95;

/* Counts of one side of a pair. */
static uint64_t count_of(const struct sw_paired *pair, size_t side) {
    return side ? sw_paired_second(pair) : sw_paired_first(pair);
}

static struct sw_interval interval_of(uint64_t count, uint64_t of) {
    return sw_interval_proportion(SW_INTERVAL_WILSON, count, of, CONFIDENCE);
}

/* --- for people --------------------------------------------------------------------------------------------------- */

/* A share in percent with the digits that matter. */
static const char *percent(double share, char text[32]) {
    double p = 100 * fabs(share);
    snprintf(text, 32, p == 0 ? "%.0f" : p < 1 ? "%.4f" : p < 10 ? "%.3f" : "%.2f", 100 * share);
    return text;
}

/* "3 of 6,000: 0.0500 % (0.0170 to 0.1469)" */
static void rate_cell(struct sw_table *table, uint64_t count, uint64_t of) {
    char text[CELL_MAX], a[32], b[32], value[32], low[32], high[32];
    struct sw_interval interval = interval_of(count, of);
    snprintf(text, sizeof text, "%s of %s: %s %% (%s to %s)", sw_cli_thousands(count, a), sw_cli_thousands(of, b),
             percent(of ? (double)count / (double)of : 0, value), percent(interval.low, low),
             percent(interval.high, high));
    sw_table_cell(table, of ? text : NULL);
}

/* "+0.0167 % (-0.0311 to 0.0876)" */
static void difference_cell(struct sw_table *table, const struct sw_paired *pair) {
    char text[CELL_MAX], value[32], low[32], high[32];
    struct sw_interval interval = sw_interval_paired(pair, CONFIDENCE);
    double difference = sw_paired_difference(pair);
    snprintf(text, sizeof text, "%s%s %% (%s to %s)", difference > 0 ? "+" : "", percent(difference, value),
             percent(interval.low, low), percent(interval.high, high));
    sw_table_cell(table, sw_paired_total(pair) ? text : NULL);
}

static void pair_row(struct sw_table *table, const char *title, const struct sw_paired *pair) {
    uint64_t of = sw_paired_total(pair);
    if (of == 0) {
        return;
    }
    sw_table_cell(table, title);
    rate_cell(table, count_of(pair, 0), of);
    rate_cell(table, count_of(pair, 1), of);
    difference_cell(table, pair);
}

static void time_row(struct sw_table *table, const struct sw_comparison *c, const char *title, bool run, double share) {
    double ms[2];
    char text[CELL_MAX];
    sw_table_cell(table, title);
    for (size_t i = 0; i < 2; i++) {
        const uint64_t *times = run ? c->sides[i].run : c->sides[i].request;
        ms[i] = sw_compare_percentile_ms(times, c->timed, share);
        snprintf(text, sizeof text, ms[i] < 1 ? "%.1f us" : "%.3f ms", ms[i] < 1 ? 1e3 * ms[i] : ms[i]);
        sw_table_cell(table, text);
    }
    snprintf(text, sizeof text, "%.2f of it", ms[1] / ms[0]);
    sw_table_cell(table, text);
}

static void print_table(const struct sw_comparison *c) {
    struct sw_table table;
    char text[CELL_MAX], number[32];
    sw_table_init(&table, "FIGURE", "A", "B", "B AGAINST A", (const char *)NULL);
    sw_table_cell(&table, "model");
    sw_table_cell(&table, c->sides[0].path);
    sw_table_cell(&table, c->sides[1].path);
    sw_table_cell(&table, "");
    sw_table_cell(&table, "size, bytes");
    sw_table_cell(&table, sw_cli_thousands(c->sides[0].bytes, number));
    sw_table_cell(&table, sw_cli_thousands(c->sides[1].bytes, number));
    snprintf(text, sizeof text, "%.3f of it", sw_compare_size_ratio(c));
    sw_table_cell(&table, text);
    pair_row(&table, "false positives", &c->negatives);
    pair_row(&table, "detection", &c->positives);
    pair_row(&table, "accuracy", &c->right);
    if (c->timed) {
        time_row(&table, c, "request, median", false, 50);
        time_row(&table, c, "request, p95", false, 95);
        time_row(&table, c, "model alone, median", true, 50);
        time_row(&table, c, "model alone, p95", true, 95);
    }
    sw_table_print(&table, stdout, sw_cli_terminal_width());
    sw_table_deinit(&table);
}

static void print_agreement(const struct sw_comparison *c) {
    char count[32], of[32], value[32], low[32], high[32];
    if (c->has_verdicts) {
        struct sw_interval interval = interval_of(c->agreed, c->compared);
        printf("\nverdicts    agree on %s of %s samples: %s %% (%s to %s)\n", sw_cli_thousands(c->agreed, count),
               sw_cli_thousands(c->compared, of), percent((double)c->agreed / (double)c->compared, value),
               percent(interval.low, low), percent(interval.high, high));
    } else {
        printf("\nverdicts    none: no output is a class or a score; the outputs themselves are compared\n");
    }
    if (c->score_count) {
        printf("score       moved by at most %.3g, %.3g on average\n", c->score_max,
               c->score_sum / (double)c->score_count);
    }
    for (size_t i = 0; i < c->output_count; i++) {
        const struct sw_difference *d = &c->outputs[i];
        SW_AUTO_FREE char *name = sw_text_clean(d->name);
        if (d->count) {
            printf("output      %s: moved by at most %.3g, %.3g on average (values are %.3g on average)\n", name,
                   d->max, d->mean, d->scale);
        }
    }
}

static void print_cases(const struct sw_comparison *c) {
    struct sw_table table;
    if (c->shown_count == 0) {
        return;
    }
    sw_table_init(&table, "THEY DIFFER ON", "LABEL", "A", "B", (const char *)NULL);
    for (size_t i = 0; i < c->shown_count; i++) {
        sw_table_cell(&table, c->shown[i].where);
        sw_table_cell(&table, *c->shown[i].label ? c->shown[i].label : NULL);
        sw_table_cell(&table, c->shown[i].said[0]);
        sw_table_cell(&table, c->shown[i].said[1]);
    }
    printf("\n");
    sw_table_print(&table, stdout, sw_cli_terminal_width());
    sw_table_deinit(&table);
}

static void print_refusals(const struct sw_comparison *c) {
    char number[32];
    if (c->both_refused) {
        printf("\nrefused     by both models: %s samples\n", sw_cli_thousands(c->both_refused, number));
    }
    for (size_t i = 0; i < 2; i++) {
        if (c->sides[i].failed) {
            printf("\nFAILED      %s refuses %s samples that the other model answers\n", c->sides[i].path,
                   sw_cli_thousands(c->sides[i].failed, number));
        }
    }
}

void sw_compare_print(const struct sw_comparison *c) {
    char number[32];
    printf("%s samples of %s%s; intervals of 95 %%\n\n", sw_cli_thousands(c->seen, number), c->data,
           c->has_labels ? "" : ", without labels");
    print_table(c);
    print_agreement(c);
    print_cases(c);
    print_refusals(c);
    printf("\n");
    for (size_t i = 0; i < c->gate_count; i++) {
        const struct sw_compare_gate *gate = &c->gates[i];
        if (isnan(gate->value)) {
            printf("gate        --%s %g: FAILED, there is nothing to measure it on\n", gate->name, gate->limit);
        } else {
            printf("gate        --%s %g: %s, it is %.6g\n", gate->name, gate->limit, gate->passed ? "passed" : "FAILED",
                   gate->value);
        }
    }
    printf("comparison  %s\n", sw_compare_passed(c) ? "passed" : "FAILED");
}

/* --- for programs ------------------------------------------------------------------------------------------------- */

static json_t *number_json(double value) { /* JSON knows no NaN */
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *rate_json(uint64_t count, uint64_t of) {
    struct sw_interval interval = interval_of(count, of);
    return of ? json_pack("{s:I, s:I, s:f, s:[f, f]}", "count", (json_int_t)count, "of", (json_int_t)of, "rate",
                          (double)count / (double)of, "interval_95", interval.low, interval.high)
              : json_null();
}

static json_t *difference_json(const struct sw_paired *pair) {
    struct sw_interval interval = sw_interval_paired(pair, CONFIDENCE);
    return sw_paired_total(pair) ? json_pack("{s:f, s:[f, f], s:I, s:I}", "value", sw_paired_difference(pair),
                                             "interval_95", interval.low, interval.high, "only_a",
                                             (json_int_t)pair->first_only, "only_b", (json_int_t)pair->second_only)
                                 : json_null();
}

static json_t *times_json(const uint64_t *times, size_t count) {
    return count ? json_pack("{s:f, s:f}", "p50", sw_compare_percentile_ms(times, count, 50), "p95",
                             sw_compare_percentile_ms(times, count, 95))
                 : json_null();
}

static json_t *side_json(const struct sw_comparison *c, size_t i) {
    const struct sw_compare_side *side = &c->sides[i];
    return json_pack("{s:s, s:s, s:I, s:o, s:o, s:o, s:I, s:o, s:o}", "path", side->path, "model", side->model->name,
                     "bytes", (json_int_t)side->bytes, "false_positives",
                     rate_json(count_of(&c->negatives, i), sw_paired_total(&c->negatives)), "detection",
                     rate_json(count_of(&c->positives, i), sw_paired_total(&c->positives)), "accuracy",
                     rate_json(count_of(&c->right, i), sw_paired_total(&c->right)), "refused_alone",
                     (json_int_t)side->failed, "request_ms", times_json(side->request, c->timed), "run_ms",
                     times_json(side->run, c->timed));
}

static json_t *outputs_json(const struct sw_comparison *c) {
    json_t *list = json_array();
    for (size_t i = 0; i < c->output_count; i++) {
        const struct sw_difference *d = &c->outputs[i];
        SW_AUTO_FREE char *name = sw_text_clean(d->name);
        json_array_append_new(list,
                              json_pack("{s:s, s:I, s:o, s:o, s:o}", "name", name, "elements", (json_int_t)d->count,
                                        "max_difference", number_json(d->max), "mean_difference", number_json(d->mean),
                                        "mean_magnitude", number_json(d->scale)));
    }
    return list;
}

static json_t *cases_json(const struct sw_comparison *c) {
    json_t *list = json_array();
    for (size_t i = 0; i < c->shown_count; i++) {
        const struct sw_compare_case *entry = &c->shown[i];
        SW_AUTO_FREE char *where = sw_text_clean(entry->where), *label = sw_text_clean(entry->label),
                          *a = sw_text_clean(entry->said[0]), *b = sw_text_clean(entry->said[1]);
        json_array_append_new(list, json_pack("{s:I, s:s, s:s, s:s, s:s}", "index", (json_int_t)entry->index, "where",
                                              where, "label", label, "a", a, "b", b));
    }
    return list;
}

static json_t *gates_json(const struct sw_comparison *c) {
    json_t *list = json_array();
    for (size_t i = 0; i < c->gate_count; i++) {
        const struct sw_compare_gate *gate = &c->gates[i];
        json_array_append_new(list, json_pack("{s:s, s:f, s:o, s:b}", "name", gate->name, "limit", gate->limit, "value",
                                              number_json(gate->value), "passed", gate->passed));
    }
    return list;
}

json_t *sw_compare_json(const struct sw_comparison *c) {
    json_t *differences = json_pack("{s:o, s:o, s:o}", "false_positives", difference_json(&c->negatives), "detection",
                                    difference_json(&c->positives), "accuracy", difference_json(&c->right));
    json_t *score = c->score_count ? json_pack("{s:f, s:f}", "max_difference", c->score_max, "mean_difference",
                                               c->score_sum / (double)c->score_count)
                                   : json_null();
    const char *task = !c->has_verdicts ? NULL : c->task == SW_TASK_BINARY ? "binary" : "classes";
    return json_pack("{s:s, s:I, s:I, s:I, s:b, s:s?, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:f, s:o, s:o, s:b}",
                     "data", c->data, "samples", (json_int_t)c->seen, "compared", (json_int_t)c->compared,
                     "refused_by_both", (json_int_t)c->both_refused, "labelled", c->has_labels, "task", task, "a",
                     side_json(c, 0), "b", side_json(c, 1), "difference", differences, "agreement",
                     c->has_verdicts ? rate_json(c->agreed, c->compared) : json_null(), "score", score, "outputs",
                     outputs_json(c), "differ", cases_json(c), "timed", (json_int_t)c->timed, "size_ratio",
                     sw_compare_size_ratio(c), "latency_ratio", number_json(sw_compare_latency_ratio(c)), "gates",
                     gates_json(c), "passed", sw_compare_passed(c));
}
