/* See evaluation_report.h: the figures, and the JSON of them. */
#include "cli/evaluation_report.h"

#include <math.h>

#include "base/memory.h"
#include "cli/table.h"

/* --- figures ----------------------------------------------------------------------------------------------------- */

/* Smallest value with at least p percent of the values at or below it, in milliseconds (nearest rank). */
static double percentile_ms(const uint64_t *sorted, size_t count, double p) {
    size_t rank = (size_t)ceil(p / 100 * (double)count);
    return count ? (double)sorted[rank ? rank - 1 : 0] / 1e6 : 0;
}

static sw_status measure_times(struct sw_report *r, struct sw_error *err) {
    uint64_t *times = NULL;
    size_t count;
    double sum = 0;
    SW_TRY(sw_evaluation_latencies(r->evaluation, &times, &count, err));
    for (size_t i = 0; i < count; i++) {
        sum += (double)times[i];
    }
    r->mean_ms = count ? sum / (double)count / 1e6 : 0;
    r->median_ms = percentile_ms(times, count, 50);
    r->p95_ms = percentile_ms(times, count, 95);
    r->p99_ms = percentile_ms(times, count, 99);
    r->max_ms = percentile_ms(times, count, 100);
    sw_free(times);
    return SW_OK;
}

static sw_status measure_scores(struct sw_report *r, size_t bins, struct sw_error *err) {
    SW_TRY(sw_evaluation_scored(r->evaluation, &r->scored, &r->scored_count, err));
    r->score_min = INFINITY;
    r->score_max = -INFINITY;
    for (size_t i = 0; i < r->scored_count; i++) {
        r->score_min = fmin(r->score_min, r->scored[i].score);
        r->score_max = fmax(r->score_max, r->scored[i].score);
    }
    if (r->scored_count == 0) {
        return SW_OK;
    }
    if (r->evaluation->judge.task == SW_TASK_BINARY) {
        SW_TRY(sw_roc_make(r->scored, r->scored_count, &r->roc, err));
    }
    r->has_reliability = r->score_min >= 0 && r->score_max <= 1;
    if (r->has_reliability) {
        SW_TRY(sw_reliability_make(r->scored, r->scored_count, SW_BINS_EQUAL_WIDTH, bins, &r->equal_width, err));
        SW_TRY(sw_reliability_make(r->scored, r->scored_count, SW_BINS_EQUAL_MASS, bins, &r->equal_mass, err));
    }
    return SW_OK;
}

sw_status sw_report_finish(struct sw_report *r, size_t bins, struct sw_error *err) {
    SW_TRY(measure_times(r, err));
    return measure_scores(r, bins, err);
}

void sw_report_deinit(struct sw_report *r) {
    sw_free(r->scored);
    sw_roc_deinit(&r->roc);
    sw_reliability_deinit(&r->equal_width);
    sw_reliability_deinit(&r->equal_mass);
    *r = (struct sw_report){0};
}

void sw_report_gate(struct sw_report *r, const char *name, double limit, double value, const char *of) {
    SW_ASSERT(r->gate_count < SW_REPORT_GATES_MAX);
    struct sw_report_gate *gate = &r->gates[r->gate_count++];
    bool most = strncmp(name, "max", 3) == 0;
    *gate = (struct sw_report_gate){.name = name, .limit = limit, .value = value};
    gate->passed = most ? value <= limit : value >= limit; /* false for NaN */
    snprintf(gate->of, sizeof gate->of, "%s", of ? of : "");
}

bool sw_report_passed(const struct sw_report *r) {
    bool passed = r->evaluation->outcomes[SW_OUTCOME_FAILED] == 0;
    for (size_t i = 0; i < r->gate_count; i++) {
        passed = passed && r->gates[i].passed;
    }
    return passed;
}

struct sw_interval sw_report_interval(const struct sw_report *r, struct sw_rate rate) {
    return sw_interval_proportion(r->interval, rate.count, rate.of, r->confidence);
}

double sw_report_samples_per_s(const struct sw_report *r) {
    return r->elapsed_ns ? (double)sw_evaluation_total(r->evaluation) / ((double)r->elapsed_ns / 1e9) : 0;
}

size_t sw_report_roc_step(const struct sw_roc *roc) {
    return roc->count / SW_REPORT_ROC_POINTS_MAX + 1;
}

/* --- JSON -------------------------------------------------------------------------------------------------------- */

json_t *sw_report_text(const char *text) {
    json_t *json = json_string(text);
    if (!json) {
        char *clean SW_AUTO_FREE = sw_text_clean(text);
        json = json_string(clean);
    }
    return json;
}

static json_t *number_json(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *rate_json(const struct sw_report *r, struct sw_rate rate) {
    struct sw_interval interval = sw_report_interval(r, rate);
    return json_pack("{s:I, s:I, s:o, s:o, s:o}", "count", (json_int_t)rate.count, "of", (json_int_t)rate.of, "rate",
                     number_json(sw_rate_value(rate)), "low", rate.of ? json_real(interval.low) : json_null(), "high",
                     rate.of ? json_real(interval.high) : json_null());
}

/* Only the rates that the group has. */
static void add_rates(const struct sw_report *r, json_t *object, const struct sw_tally *tally) {
    const struct {
        const char *name;
        struct sw_rate rate;
    } rates[] = {{"false_positives", tally->false_positives},
                 {"detection", tally->detection},
                 {"extraction", tally->extraction},
                 {"accuracy", tally->right}};
    for (size_t i = 0; i < SW_COUNTOF(rates); i++) {
        if (rates[i].rate.of) {
            json_object_set_new(object, rates[i].name, rate_json(r, rates[i].rate));
        }
    }
}

static json_t *by_json(const struct sw_report *r) {
    json_t *tables = json_array();
    for (size_t i = 0; i < r->evaluation->by_count; i++) {
        const struct sw_by *by = &r->evaluation->by[i];
        const char **values SW_AUTO_FREE = sw_map_sorted(&by->groups);
        json_t *groups = json_array();
        for (size_t k = 0; values[k]; k++) {
            json_t *group = json_object();
            json_object_set_new(group, "value", sw_report_text(values[k]));
            add_rates(r, group, sw_map_get(&by->groups, sw_str_of(values[k])));
            json_array_append_new(groups, group);
        }
        json_array_append_new(tables, json_pack("{s:o, s:o}", "key", sw_report_text(by->title), "groups", groups));
    }
    return tables;
}

static json_t *matrix_json(const struct sw_report *r) {
    const struct sw_matrix *m = &r->evaluation->matrix;
    const char **names SW_AUTO_FREE = sw_map_sorted(&m->classes);
    json_t *classes = json_array(), *rows = json_array(), *recalls = json_array();
    for (size_t i = 0; names[i]; i++) {
        struct sw_rate recall = {0, 0};
        json_t *row = json_array();
        for (size_t k = 0; names[k]; k++) {
            uint64_t n = sw_matrix_cell(m, names[i], names[k]);
            json_array_append_new(row, json_integer((json_int_t)n));
            recall.of += n;
            recall.count += i == k ? n : 0;
        }
        json_array_append_new(classes, sw_report_text(names[i]));
        json_array_append_new(rows, row);
        json_array_append_new(recalls, rate_json(r, recall));
    }
    return json_pack("{s:o, s:o, s:o, s:o}", "classes", classes, "counts", rows, "recall", recalls, "accuracy",
                     rate_json(r, m->right));
}

static json_t *bins_json(const struct sw_report *r, const struct sw_reliability *reliability) {
    json_t *bins = json_array();
    for (size_t i = 0; i < reliability->bin_count; i++) {
        const struct sw_reliability_bin *bin = &reliability->bins[i];
        json_t *item = json_pack("{s:f, s:f, s:o}", "low", bin->low, "high", bin->high, "mean_predicted",
                                 bin->count ? json_real(bin->mean_predicted) : json_null());
        json_object_set_new(item, "observed", rate_json(r, (struct sw_rate){bin->positives, bin->count}));
        json_array_append_new(bins, item);
    }
    return json_pack("{s:f, s:f, s:o}", "ece", reliability->expected_error, "mce", reliability->largest_error, "bins",
                     bins);
}

static json_t *calibration_json(const struct sw_report *r) {
    return json_pack("{s:f, s:f, s:o, s:o}", "brier", r->equal_width.brier, "log_loss", r->equal_width.log_loss,
                     "equal_width", bins_json(r, &r->equal_width), "equal_mass", bins_json(r, &r->equal_mass));
}

static json_t *roc_json(const struct sw_roc *roc) {
    json_t *points = json_array();
    size_t step = sw_report_roc_step(roc);
    for (size_t i = 0; i < roc->count; i++) {
        const struct sw_roc_point *p = &roc->points[i];
        if (i % step == 0 || i + 1 == roc->count) {
            json_array_append_new(points, json_pack("{s:o, s:I, s:I}", "threshold", number_json(p->threshold),
                                                    "false_positives", (json_int_t)p->false_positives, "true_positives",
                                                    (json_int_t)p->true_positives));
        }
    }
    return json_pack("{s:o, s:I, s:I, s:o}", "auc", number_json(roc->auc), "negatives", (json_int_t)roc->negatives,
                     "positives", (json_int_t)roc->positives, "points", points);
}

static json_t *worst_json(const struct sw_worst *worst, const char *detail) {
    json_t *list = json_array();
    for (size_t i = 0; i < worst->count; i++) {
        const struct sw_worst_item *item = &worst->items[i];
        json_t *object = json_pack("{s:I, s:o, s:o}", "sample", (json_int_t)item->index, "where",
                                   sw_report_text(item->where), detail, sw_report_text(item->detail));
        if (!isnan(item->score)) {
            json_object_set_new(object, "score", number_json(item->score));
        }
        json_array_append_new(list, object);
    }
    return list;
}

static json_t *outputs_json(const struct sw_judge *judge) {
    const struct {
        const char *key;
        int index;
    } used[] = {{"positive", judge->positive},
                {"score", judge->score},
                {"label", judge->label},
                {"method", judge->method},
                {"message", judge->message}};
    json_t *outputs = json_object();
    for (size_t i = 0; i < SW_COUNTOF(used); i++) {
        if (used[i].index != SW_JUDGE_NONE) {
            json_object_set_new(outputs, used[i].key, sw_report_text(judge->model->outputs.items[used[i].index].name));
        }
    }
    if (judge->task == SW_TASK_CLASSES && judge->label == SW_JUDGE_NONE) {
        json_object_set_new(outputs, "scores", sw_report_text(judge->model->outputs.items[judge->scores].name));
    }
    if (judge->task == SW_TASK_BINARY && judge->positive == SW_JUDGE_NONE) {
        json_object_set_new(outputs, "threshold", json_real(judge->threshold));
    }
    return outputs;
}

static json_t *samples_json(const struct sw_evaluation *e) {
    json_t *samples = json_pack(
        "{s:I, s:I, s:I, s:I, s:I}", "total", (json_int_t)sw_evaluation_total(e), "evaluated",
        (json_int_t)sw_evaluation_evaluated(e), "failed", (json_int_t)e->outcomes[SW_OUTCOME_FAILED], "broken_refused",
        (json_int_t)e->outcomes[SW_OUTCOME_REFUSED], "broken_answered", (json_int_t)e->outcomes[SW_OUTCOME_ANSWERED]);
    if (e->judge.task == SW_TASK_BINARY) {
        json_object_set_new(samples, "negatives", json_integer((json_int_t)e->all.false_positives.of));
        json_object_set_new(samples, "positives", json_integer((json_int_t)e->all.detection.of));
    }
    return samples;
}

static json_t *gates_json(const struct sw_report *r) {
    json_t *gates = json_array();
    for (size_t i = 0; i < r->gate_count; i++) {
        const struct sw_report_gate *gate = &r->gates[i];
        json_t *item = json_pack("{s:s, s:f, s:o, s:b}", "name", gate->name, "limit", gate->limit, "value",
                                 number_json(gate->value), "passed", gate->passed);
        if (gate->of[0]) {
            json_object_set_new(item, "of", sw_report_text(gate->of));
        }
        json_array_append_new(gates, item);
    }
    return gates;
}

static json_t *timing_json(const struct sw_report *r) {
    json_t *latency = json_pack("{s:f, s:f, s:f, s:f, s:f}", "mean", r->mean_ms, "p50", r->median_ms, "p95", r->p95_ms,
                                "p99", r->p99_ms, "max", r->max_ms);
    return json_pack("{s:i, s:f, s:f, s:o}", "threads", (int)r->threads, "elapsed_s", (double)r->elapsed_ns / 1e9,
                     "samples_per_s", sw_report_samples_per_s(r), "latency_ms", latency);
}

json_t *sw_report_json(const struct sw_report *r) {
    const struct sw_evaluation *e = r->evaluation;
    const struct sw_model *model = e->judge.model;
    bool binary = e->judge.task == SW_TASK_BINARY;
    json_t *root = json_pack("{s:s, s:o, s:o, s:s, s:o, s:o, s:f, s:s}", "model", model->name, "path",
                             sw_report_text(model->bundle->path), "data", sw_report_text(r->data), "task",
                             binary ? "binary" : "classes", "outputs", outputs_json(&e->judge), "samples",
                             samples_json(e), "confidence", r->confidence, "interval",
                             r->interval == SW_INTERVAL_EXACT ? "exact" : "wilson");
    add_rates(r, root, &e->all);
    json_object_set_new(root, "by", by_json(r));
    if (e->matrix.right.of) {
        json_object_set_new(root, binary ? "methods" : "classes", matrix_json(r));
    }
    if (r->roc.count) {
        json_object_set_new(root, "roc", roc_json(&r->roc));
    }
    if (r->has_reliability) {
        json_object_set_new(root, "calibration", calibration_json(r));
    }
    json_t *worst = binary ? json_pack("{s:o, s:o, s:o}", "false_positives", worst_json(&e->false_positives, "about"),
                                       "misses", worst_json(&e->misses, "about"), "wrong_texts",
                                       worst_json(&e->wrong_texts, "about"))
                           : json_pack("{s:o}", "wrong", worst_json(&e->wrong_classes, "about"));
    json_object_set_new(root, "worst", worst);
    json_object_set_new(root, "failures", worst_json(&e->failures, "reason"));
    json_object_set_new(root, "gates", gates_json(r));
    json_object_set_new(root, "passed", json_boolean(sw_report_passed(r)));
    json_object_set_new(root, "slipway", json_string(SW_VERSION));
    json_object_set_new(root, "timing", timing_json(r));
    return root;
}
