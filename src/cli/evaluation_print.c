/* An evaluation as text for people. */
#include <math.h>

#include "base/memory.h"
#include "cli/cli.h"
#include "cli/evaluation_report.h"
#include "cli/table.h"

enum { CELL_MAX = 96, MATRIX_SHOWN_MAX = SW_TABLE_COLUMNS_MAX - 1 };

/* --- numbers ----------------------------------------------------------------------------------------------------- */

/* A share in percent with the digits that matter: "0.0500", "3.142", "97.83". */
static const char *percent(double share, char text[CELL_MAX]) {
    double p = 100 * share;
    snprintf(text, CELL_MAX, p == 0 ? "%.0f" : p < 1 ? "%.4f" : p < 10 ? "%.3f" : "%.2f", p);
    return text;
}

static void share_cell(struct sw_table *table, struct sw_rate rate) {
    char text[CELL_MAX], count[32], of[32];
    snprintf(text, sizeof text, "%s of %s", sw_cli_thousands(rate.count, count), sw_cli_thousands(rate.of, of));
    sw_table_cell(table, rate.of ? text : NULL);
}

static void rate_cells(const struct sw_report *r, struct sw_table *table, struct sw_rate rate) {
    char text[CELL_MAX], value[CELL_MAX], low[CELL_MAX], high[CELL_MAX];
    struct sw_interval interval = sw_report_interval(r, rate);
    share_cell(table, rate);
    snprintf(text, sizeof text, "%.20s %%", percent(sw_rate_value(rate), value));
    sw_table_cell(table, rate.of ? text : NULL);
    snprintf(text, sizeof text, "%.20s to %.20s %%", percent(interval.low, low), percent(interval.high, high));
    sw_table_cell(table, rate.of ? text : NULL);
}

static const char *interval_title(const struct sw_report *r, char text[CELL_MAX]) {
    snprintf(text, CELL_MAX, ">%g %% interval", 100 * r->confidence);
    return text;
}

static void print_table(struct sw_table *table) {
    printf("\n");
    sw_table_print(table, stdout, sw_cli_terminal_width());
    sw_table_deinit(table);
}

/* --- parts ------------------------------------------------------------------------------------------------------- */

static void print_clean(const char *name, const char *text) {
    char *clean SW_AUTO_FREE = sw_text_clean(text);
    printf("  %-12s %s\n", name, clean);
}

static void print_head(const struct sw_report *r) {
    const struct sw_evaluation *e = r->evaluation;
    const struct sw_judge *judge = &e->judge;
    const struct sw_tensor_spec *outputs = judge->model->outputs.items;
    char number[32];
    printf("%s: %s samples in %.1f s on %u %s, %.0f/s\n\n", judge->model->name,
           sw_cli_thousands(sw_evaluation_total(e), number), (double)r->elapsed_ns / 1e9, r->threads,
           r->threads == 1 ? "thread" : "threads", sw_report_samples_per_s(r));
    print_clean("data", r->data);
    if (judge->task == SW_TASK_BINARY && judge->positive != SW_JUDGE_NONE) {
        print_clean("positive", outputs[judge->positive].name);
    } else if (judge->task == SW_TASK_BINARY) {
        printf("  %-12s a score of %g or more\n", "positive", judge->threshold);
    } else {
        print_clean("class", judge->label != SW_JUDGE_NONE ? outputs[judge->label].name : outputs[judge->scores].name);
    }
    if (judge->score != SW_JUDGE_NONE) {
        print_clean("score", outputs[judge->score].name);
    }
    if (e->outcomes[SW_OUTCOME_FAILED]) {
        printf("  %-12s %s could not be evaluated\n", "failed",
               sw_cli_thousands(e->outcomes[SW_OUTCOME_FAILED], number));
    }
    uint64_t broken = e->outcomes[SW_OUTCOME_REFUSED] + e->outcomes[SW_OUTCOME_ANSWERED];
    if (broken) {
        printf("  %-12s %s of %llu refused, as they should be\n", "broken",
               sw_cli_thousands(e->outcomes[SW_OUTCOME_REFUSED], number), (unsigned long long)broken);
    }
}

static void rate_row(const struct sw_report *r, struct sw_table *table, const char *name, struct sw_rate rate) {
    if (rate.of) {
        sw_table_cell(table, name);
        rate_cells(r, table, rate);
    }
}

static void print_overall(const struct sw_report *r) {
    const struct sw_tally *all = &r->evaluation->all;
    struct sw_table table;
    char title[CELL_MAX];
    sw_table_init(&table, "overall", ">count", ">rate", interval_title(r, title), NULL);
    rate_row(r, &table, "false positives", all->false_positives);
    rate_row(r, &table, "detection", all->detection);
    rate_row(r, &table, "exact texts", all->extraction);
    rate_row(r, &table, "accuracy", all->right);
    if (r->evaluation->judge.task == SW_TASK_BINARY) {
        rate_row(r, &table, "method named right", r->evaluation->matrix.right);
    }
    print_table(&table);
}

/* Columns only for what the table's groups have. */
static void print_by(const struct sw_report *r, const struct sw_by *by) {
    const char **values SW_AUTO_FREE = sw_map_sorted(&by->groups);
    bool has[4] = {false};
    char interval[CELL_MAX];
    const char *titles[SW_TABLE_COLUMNS_MAX + 1] = {by->title};
    static const char *const names[4] = {">false positives", ">detected", ">exact texts", ">right"};
    size_t n = 1;
    struct sw_table table;
    for (size_t i = 0; values[i]; i++) {
        const struct sw_tally *t = sw_map_get(&by->groups, sw_str_of(values[i]));
        const struct sw_rate rates[4] = {t->false_positives, t->detection, t->extraction, t->right};
        for (size_t k = 0; k < 4; k++) {
            has[k] = has[k] || rates[k].of;
        }
    }
    interval_title(r, interval);
    for (size_t k = 0; k < 4; k++) {
        if (has[k]) {
            titles[n++] = names[k];
            titles[n++] = ">rate";
            titles[n++] = interval;
        }
    }
    if (n == 1) {
        return; /* no sample has the key */
    }
    sw_table_init_titles(&table, titles);
    for (size_t i = 0; values[i]; i++) {
        const struct sw_tally *t = sw_map_get(&by->groups, sw_str_of(values[i]));
        const struct sw_rate rates[4] = {t->false_positives, t->detection, t->extraction, t->right};
        sw_table_cell(&table, values[i]);
        for (size_t k = 0; k < 4; k++) {
            if (has[k]) {
                rate_cells(r, &table, rates[k]);
            }
        }
    }
    print_table(&table);
}

/* Truth down, answers across, when it fits. */
static void print_matrix(const struct sw_report *r) {
    const struct sw_matrix *m = &r->evaluation->matrix;
    bool binary = r->evaluation->judge.task == SW_TASK_BINARY;
    const char **names SW_AUTO_FREE = sw_map_sorted(&m->classes);
    const char *titles[SW_TABLE_COLUMNS_MAX + 1] = {binary ? "method, called" : "class, called"};
    char *owned[SW_TABLE_COLUMNS_MAX] = {NULL};
    struct sw_table table;
    if (m->classes.count == 0 || m->classes.count > MATRIX_SHOWN_MAX) {
        return;
    }
    for (size_t i = 0; names[i]; i++) {
        size_t size = strlen(names[i]) + 2;
        owned[i] = sw_xmalloc(size);
        snprintf(owned[i], size, ">%s", *names[i] ? names[i] : "-");
        titles[i + 1] = owned[i];
    }
    sw_table_init_titles(&table, titles);
    for (size_t i = 0; names[i]; i++) {
        sw_table_cell(&table, names[i]);
        for (size_t k = 0; names[k]; k++) {
            sw_table_cell_number(&table, sw_matrix_cell(m, names[i], names[k]));
        }
    }
    print_table(&table);
    for (size_t i = 0; i < SW_TABLE_COLUMNS_MAX; i++) {
        sw_free(owned[i]);
    }
}

static void print_classes(const struct sw_report *r) {
    const struct sw_matrix *m = &r->evaluation->matrix;
    const char **names SW_AUTO_FREE = sw_map_sorted(&m->classes);
    struct sw_table table;
    char title[CELL_MAX];
    sw_table_init(&table, "class", ">recall", ">rate", interval_title(r, title), NULL);
    for (size_t i = 0; names[i]; i++) {
        struct sw_rate recall = {0, 0};
        for (size_t k = 0; names[k]; k++) {
            uint64_t n = sw_matrix_cell(m, names[i], names[k]);
            recall.of += n;
            recall.count += i == k ? n : 0;
        }
        sw_table_cell(&table, names[i]);
        rate_cells(r, &table, recall);
    }
    print_table(&table);
}

static void print_scores(const struct sw_report *r) {
    printf("\n");
    if (r->roc.count && !isnan(r->roc.auc)) {
        printf("  %-12s %.6f\n", "AUC", r->roc.auc);
    }
    if (r->has_reliability) {
        printf("  %-12s %.6f\n", "Brier score", r->equal_width.brier);
        printf("  %-12s %.6f\n", "log loss", r->equal_width.log_loss);
        printf("  %-12s %.6f in %zu bins of equal width, %.6f in %zu of equal mass\n", "ECE",
               r->equal_width.expected_error, r->equal_width.bin_count, r->equal_mass.expected_error,
               r->equal_mass.bin_count);
    } else if (r->scored_count) {
        printf("  %-12s %g to %g: no probabilities, so nothing is said of calibration\n", "scores", r->score_min,
               r->score_max);
    }
    printf("  %-12s median %.3f ms, p95 %.3f ms, max %.3f ms\n", "latency", r->median_ms, r->p95_ms, r->max_ms);
}

static void print_worst(const char *title, const struct sw_worst *worst, bool scores) {
    struct sw_table table;
    if (worst->count == 0) {
        return;
    }
    if (scores) {
        sw_table_init(&table, title, ">score", "about", NULL);
    } else {
        sw_table_init(&table, title, "about", NULL);
    }
    for (size_t i = 0; i < worst->count; i++) {
        char text[CELL_MAX];
        snprintf(text, sizeof text, "%.6g", worst->items[i].score);
        sw_table_cell(&table, worst->items[i].where);
        if (scores) {
            sw_table_cell(&table, isnan(worst->items[i].score) ? NULL : text);
        }
        sw_table_cell(&table, worst->items[i].detail);
    }
    print_table(&table);
}

static void print_gates(const struct sw_report *r) {
    struct sw_table table;
    if (r->gate_count == 0) {
        return;
    }
    sw_table_init(&table, "gate", ">limit", ">value", "result", "lowest", NULL);
    for (size_t i = 0; i < r->gate_count; i++) {
        const struct sw_report_gate *gate = &r->gates[i];
        char text[CELL_MAX];
        sw_table_cell(&table, gate->name);
        snprintf(text, sizeof text, "%.6g", gate->limit);
        sw_table_cell(&table, text);
        snprintf(text, sizeof text, "%.6g", gate->value);
        sw_table_cell(&table, isnan(gate->value) ? NULL : text);
        sw_table_cell(&table, gate->passed ? "passed" : isnan(gate->value) ? "FAILED: nothing to measure" : "FAILED");
        sw_table_cell(&table, gate->of);
    }
    print_table(&table);
}

void sw_report_print(const struct sw_report *r) {
    const struct sw_evaluation *e = r->evaluation;
    bool scores = e->judge.score != SW_JUDGE_NONE;
    print_head(r);
    if (sw_evaluation_evaluated(e)) {
        print_overall(r);
        for (size_t i = 0; i < e->by_count; i++) {
            print_by(r, &e->by[i]);
        }
        if (e->judge.task == SW_TASK_CLASSES) {
            print_classes(r);
        }
        print_matrix(r);
        print_scores(r);
    }
    print_worst("worst false positives", &e->false_positives, scores);
    print_worst("worst misses", &e->misses, scores);
    print_worst("wrong texts", &e->wrong_texts, scores);
    print_worst("surest wrong classes", &e->wrong_classes, scores || e->judge.label == SW_JUDGE_NONE);
    print_worst("failed samples", &e->failures, false);
    print_gates(r);
}
