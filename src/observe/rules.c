/* Alert rules: their file, and the number each compares; see rules.h. */
#include "observe/rules.h"

#include <jansson.h>
#include <math.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/units.h"
#include "base/yaml.h"
#include "pipeline/params.h"

enum {
    METRIC_NAME_MAX = 128,
    MODEL_NAME_MAX = 128,
    SUMMARY_MAX = 512,
    MINUTE_MS = 60 * 1000,
    WINDOW_MAX_MS = 60 * MINUTE_MS,
    FOR_MAX_MS = 24 * 60 * MINUTE_MS,
    MIN_SAMPLES_MAX = 1000000000,
};

static const char *const severities[] = {"info", "warning", "critical", NULL};
/* Those that a rule may ask of a logged metric, in the order of enum sw_statistic. */
static const char *const statistics[] = {"mean", "min", "max", "std", "p50", "p95", "p99", "sum", "count", NULL};

/* What a rule can name, and where that stands in the history. */
static const struct {
    const char *name, *metric;
    enum sw_statistic statistic;
} names[] = {
    {"latency_mean_ms", SW_METRIC_NAME_LATENCY, SW_STATISTIC_MEAN},
    {"latency_max_ms", SW_METRIC_NAME_LATENCY, SW_STATISTIC_MAX},
    {"latency_p50_ms", SW_METRIC_NAME_LATENCY, SW_STATISTIC_P50},
    {"latency_p95_ms", SW_METRIC_NAME_LATENCY, SW_STATISTIC_P95},
    {"latency_p99_ms", SW_METRIC_NAME_LATENCY, SW_STATISTIC_P99},
    {"requests_per_second", SW_METRIC_NAME_LATENCY, SW_STATISTIC_RATE},
    {"error_rate", SW_METRIC_NAME_LATENCY, SW_STATISTIC_ERROR_RATE},
    {"client_error_rate", SW_METRIC_NAME_LATENCY, SW_STATISTIC_CLIENT_ERROR_RATE},
    {"rejected_rate", SW_METRIC_NAME_LATENCY, SW_STATISTIC_REJECTED_RATE},
    {"positive_rate", SW_METRIC_NAME_VERDICT, SW_STATISTIC_MEAN},
    {"prediction_mean", SW_METRIC_NAME_PREDICTION, SW_STATISTIC_MEAN},
    {"prediction_std", SW_METRIC_NAME_PREDICTION, SW_STATISTIC_STD},
    {"cpu_percent", SW_METRIC_NAME_CPU, SW_STATISTIC_MEAN},
    {"memory_bytes", SW_METRIC_NAME_MEMORY, SW_STATISTIC_MEAN},
    {"memory_percent", SW_METRIC_NAME_MEMORY_PERCENT, SW_STATISTIC_MEAN},
    {"queue_depth", SW_METRIC_NAME_QUEUE, SW_STATISTIC_MEAN},
};

/* ---- names */

const char *sw_severity_name(enum sw_severity severity) {
    SW_ASSERT((unsigned)severity < SW_SEVERITIES);
    return severities[severity];
}

bool sw_severity_parse(struct sw_str text, enum sw_severity *ret) {
    for (size_t i = 0; severities[i]; i++) {
        if (sw_str_is(text, severities[i])) {
            *ret = (enum sw_severity)i;
            return true;
        }
    }
    return false;
}

bool sw_metric_is_of_models(struct sw_str name) {
    return sw_str_is(name, SW_METRIC_NAME_LATENCY) || sw_str_is(name, SW_METRIC_NAME_VERDICT) ||
           sw_str_is(name, SW_METRIC_NAME_PREDICTION);
}

bool sw_metric_is_own(struct sw_str name) {
    for (size_t i = 0; i < SW_COUNTOF(names); i++) {
        if (sw_str_is(name, names[i].metric)) {
            return true;
        }
    }
    return false;
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* A letter (or one of `first`), then letters, digits and those of `others`. */
static bool is_name(struct sw_str name, size_t max, const char *first, const char *others) {
    if (name.len == 0 || name.len > max) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        bool is_other = c != '\0' && (strchr(first, c) || (i > 0 && ((c >= '0' && c <= '9') || strchr(others, c))));
        if (!is_letter(c) && !is_other) {
            return false;
        }
    }
    return true;
}

bool sw_metric_name_valid(struct sw_str name) {
    if (!is_name(name, METRIC_NAME_MAX, "_:", ".-")) {
        return false;
    }
    for (size_t i = 0; i < SW_COUNTOF(names); i++) {
        if (sw_str_is(name, names[i].name) || sw_str_is(name, names[i].metric)) {
            return false;
        }
    }
    return true;
}

/* ---- one rule */

static sw_status read_duration(const struct sw_params *p, const char *key, uint64_t max_ms, uint64_t *ret_ms) {
    const json_t *value = json_object_get(p->object, key);
    uint64_t us;
    struct sw_str text = {json_string_value(value), json_string_length(value)};
    if (!value) {
        return SW_OK;
    }
    if (json_is_integer(value) && json_integer_value(value) == 0) {
        *ret_ms = 0;
        return SW_OK;
    }
    if (!json_is_string(value) || !sw_parse_duration(text, &us) || us % 1000 != 0 || us / 1000 > max_ms) {
        return sw_params_fail(p, key, "must be a duration such as 30s, 5m, at most %llum",
                              (unsigned long long)(max_ms / MINUTE_MS));
    }
    *ret_ms = us / 1000;
    return SW_OK;
}

static sw_status read_threshold(const struct sw_params *p, struct sw_rule *rule) {
    bool is_above = json_object_get(p->object, "above") != NULL, is_below = json_object_get(p->object, "below") != NULL;
    if (is_above == is_below) {
        return sw_params_fail(p, NULL, "one of above and below is wanted");
    }
    rule->is_above = is_above;
    return sw_params_number(p, is_above ? "above" : "below", -SW_HISTORY_VALUE_MAX, SW_HISTORY_VALUE_MAX,
                            &rule->threshold);
}

static sw_status read_metric(const struct sw_params *p, struct sw_rule *rule) {
    const char *what = NULL;
    int statistic = SW_STATISTIC_MEAN;
    SW_TRY(sw_params_string(p, "metric", &what));
    if (!what) {
        return sw_params_fail(p, "metric", "is missing");
    }
    SW_TRY(sw_params_choice(p, "statistic", statistics, &statistic));
    rule->statistic = (enum sw_statistic)statistic;
    rule->what = sw_xstrdup(what);
    for (size_t i = 0; i < SW_COUNTOF(names); i++) {
        if (strcmp(names[i].name, what) == 0) {
            if (json_object_get(p->object, "statistic")) {
                return sw_params_fail(p, "statistic", "%s has one already", what);
            }
            rule->metric = sw_xstrdup(names[i].metric);
            rule->statistic = names[i].statistic;
            rule->per_model = sw_metric_is_of_models(sw_str_of(names[i].metric));
            return SW_OK;
        }
    }
    if (!sw_metric_name_valid(sw_str_of(what))) {
        return sw_params_fail(p, "metric", "'%.128s' is none that is measured or that clients may log", what);
    }
    rule->metric = sw_xstrdup(what);
    return SW_OK;
}

static sw_status read_model(const struct sw_params *p, struct sw_rule *rule) {
    const char *model = NULL;
    SW_TRY(sw_params_string(p, "model", &model));
    if (!model) {
        return SW_OK;
    }
    if (sw_metric_is_own(sw_str_of(rule->metric)) && !rule->per_model) {
        return sw_params_fail(p, "model", "%s is of the process, not of a model", rule->what);
    }
    if (strlen(model) > MODEL_NAME_MAX) {
        return sw_params_fail(p, "model", "is longer than %d bytes", MODEL_NAME_MAX);
    }
    rule->model = sw_xstrdup(model);
    rule->per_model = true;
    return SW_OK;
}

static sw_status read_times(const struct sw_params *p, struct sw_rule *rule) {
    int64_t min_samples = 1;
    rule->window_ms = MINUTE_MS;
    SW_TRY(read_duration(p, "for", FOR_MAX_MS, &rule->for_ms));
    SW_TRY(read_duration(p, "window", WINDOW_MAX_MS, &rule->window_ms));
    SW_TRY(read_duration(p, "keep_firing_for", FOR_MAX_MS, &rule->keep_firing_ms));
    SW_TRY(sw_params_int(p, "min_samples", 1, MIN_SAMPLES_MAX, &min_samples));
    rule->min_samples = (uint64_t)min_samples;
    if (rule->window_ms == 0 || rule->window_ms % MINUTE_MS != 0) {
        return sw_params_fail(p, "window", "must be whole minutes, from 1m to 60m");
    }
    return SW_OK;
}

static sw_status read_summary(const struct sw_params *p, struct sw_rule *rule) {
    const char *summary = NULL;
    char made[SUMMARY_MAX];
    SW_TRY(sw_params_string(p, "summary", &summary));
    if (!summary) {
        snprintf(made, sizeof made, "%s is %s %g.", rule->what, rule->is_above ? "above" : "below", rule->threshold);
    } else if (strlen(summary) >= SUMMARY_MAX) {
        return sw_params_fail(p, "summary", "is longer than %d bytes", SUMMARY_MAX - 1);
    }
    rule->summary = sw_xstrdup(summary ? summary : made);
    return SW_OK;
}

static sw_status read_rule(const struct sw_params *p, struct sw_rule *rule) {
    int severity = SW_SEVERITY_WARNING;
    SW_TRY(sw_params_choice(p, "severity", severities, &severity));
    rule->severity = (enum sw_severity)severity;
    SW_TRY(read_metric(p, rule));
    SW_TRY(read_threshold(p, rule));
    SW_TRY(read_model(p, rule));
    SW_TRY(read_times(p, rule));
    return read_summary(p, rule);
}

static void free_rule(struct sw_rule *rule) {
    sw_free(rule->name);
    sw_free(rule->summary);
    sw_free(rule->what);
    sw_free(rule->metric);
    sw_free(rule->model);
    *rule = (struct sw_rule){0};
}

/* ---- all of them */

void sw_rules_deinit(struct sw_rules *rules) {
    for (size_t i = 0; i < rules->count; i++) {
        free_rule(&rules->items[i]);
    }
    sw_free(rules->items);
    *rules = (struct sw_rules){0};
}

static struct sw_rule *find(struct sw_rules *rules, const char *name) {
    for (size_t i = 0; i < rules->count; i++) {
        if (strcmp(rules->items[i].name, name) == 0) {
            return &rules->items[i];
        }
    }
    return NULL;
}

static void take_out(struct sw_rules *rules, struct sw_rule *rule) {
    free_rule(rule);
    size_t at = (size_t)(rule - rules->items);
    memmove(rule, rule + 1, (rules->count - at - 1) * sizeof *rule);
    rules->count--;
}

static void put_in(struct sw_rules *rules, struct sw_rule *rule) {
    struct sw_rule *old = find(rules, rule->name);
    if (old) {
        free_rule(old);
        *old = *rule;
        return;
    }
    rules->items = sw_xrealloc(rules->items, (rules->count + 1) * sizeof *rules->items);
    rules->items[rules->count++] = *rule;
}

static const char *const rule_keys[] = {"name",    "enabled",     "metric",          "statistic", "above",
                                        "below",   "for",         "window",          "model",     "severity",
                                        "summary", "min_samples", "keep_firing_for", NULL};

/* A rule of the file: `seen` has the names of those before it. */
static sw_status take_rule(struct sw_rules *rules, json_t *seen, const struct sw_params *p) {
    const char *name = NULL;
    bool enabled = true;
    SW_TRY(sw_params_only(p, rule_keys));
    SW_TRY(sw_params_string(p, "name", &name));
    SW_TRY(sw_params_bool(p, "enabled", &enabled));
    if (!name || !is_name(sw_str_of(name), SW_RULE_NAME_MAX, "", "_-")) {
        return sw_params_fail(p, "name", "must be a letter, then letters, digits, '_' and '-', at most %d",
                              SW_RULE_NAME_MAX);
    }
    if (json_object_get(seen, name)) {
        return sw_params_fail(p, "name", "'%s' stands here twice", name);
    }
    json_object_set_new(seen, name, json_true());
    struct sw_rule *old = find(rules, name);
    if (!enabled) {
        if (!old) {
            return sw_params_fail(p, "enabled", "there is no default rule '%s' to take out", name);
        }
        take_out(rules, old);
        return SW_OK;
    }
    if (!old && rules->count == SW_RULES_MAX) {
        return sw_params_fail(p, NULL, "at most %d rules", SW_RULES_MAX);
    }
    struct sw_rule rule = {.name = sw_xstrdup(name)};
    sw_status status = read_rule(p, &rule);
    if (status) {
        free_rule(&rule);
        return status;
    }
    put_in(rules, &rule);
    return SW_OK;
}

static sw_status take_rules(struct sw_rules *rules, const json_t *list, struct sw_error *err) {
    json_auto_t *seen = json_object();
    char path[48];
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item) {
        struct sw_params p = {.object = item, .path = path, .err = err};
        snprintf(path, sizeof path, "rules[%zu]", i);
        if (!json_is_object(item)) {
            return sw_params_fail(&p, NULL, "must be a mapping, is %s", sw_params_kind(item));
        }
        SW_TRY(take_rule(rules, seen, &p));
    }
    return SW_OK;
}

static sw_status take_document(struct sw_rules *rules, json_t *document, struct sw_error *err) {
    static const char *const keys[] = {"defaults", "rules", NULL};
    struct sw_params p = {.object = document, .path = "", .err = err};
    bool defaults = true;
    if (!json_is_object(document)) {
        p.object = NULL;
        return sw_params_fail(&p, NULL, "the file must be a mapping, is %s", sw_params_kind(document));
    }
    SW_TRY(sw_params_only(&p, keys));
    SW_TRY(sw_params_bool(&p, "defaults", &defaults));
    if (!defaults) {
        sw_rules_deinit(rules);
    }
    const json_t *list = json_object_get(document, "rules");
    if (list && !json_is_array(list)) {
        return sw_params_fail(&p, "rules", "must be a list, is %s", sw_params_kind(list));
    }
    return list ? take_rules(rules, list, err) : SW_OK;
}

static sw_status take_text(struct sw_rules *rules, struct sw_str text, struct sw_error *err) {
    json_t *document = NULL;
    SW_TRY(sw_yaml_parse(text, &document, err));
    sw_status status = take_document(rules, document, err);
    json_decref(document);
    return status;
}

sw_status sw_rules_parse(const char *text, size_t length, struct sw_rules *ret, struct sw_error *err) {
    struct sw_rules rules = {0};
    struct sw_error fault = {0};
    if (take_text(&rules, sw_str_of(sw_default_rules_yaml), &fault) ||
        (text && take_text(&rules, (struct sw_str){text, length}, &fault))) {
        sw_rules_deinit(&rules);
        return sw_fail(err, SW_E_USAGE, "%s", fault.message);
    }
    *ret = rules;
    return SW_OK;
}

sw_status sw_rules_load(const char *path, struct sw_rules *ret, struct sw_error *err) {
    struct sw_buf text;
    if (!path) {
        return sw_rules_parse(NULL, 0, ret, err);
    }
    SW_TRY(sw_file_read(path, SW_RULES_BYTES_MAX, &text, err));
    sw_status status = sw_rules_parse(text.data ? text.data : "", text.len, ret, err);
    sw_buf_deinit(&text);
    return status ? sw_error_prefix(err, "%s", path) : SW_OK;
}

/* ---- the number */

static uint64_t samples_of(const struct sw_rule *rule, const struct sw_summary *s) {
    return rule->statistic >= SW_STATISTIC_RATE ? sw_summary_requests(s) : s->count;
}

static double number_of(const struct sw_rule *rule, const struct sw_summary *s, uint64_t covered_ms) {
    switch (rule->statistic) {
    case SW_STATISTIC_MEAN: return s->mean;
    case SW_STATISTIC_MIN: return s->min;
    case SW_STATISTIC_MAX: return s->max;
    case SW_STATISTIC_STD: return s->std;
    case SW_STATISTIC_P50: return s->p50;
    case SW_STATISTIC_P95: return s->p95;
    case SW_STATISTIC_P99: return s->p99;
    case SW_STATISTIC_SUM: return s->sum;
    case SW_STATISTIC_COUNT: return (double)s->count;
    case SW_STATISTIC_RATE: return (double)sw_summary_requests(s) * 1000 / (double)covered_ms;
    case SW_STATISTIC_ERROR_RATE: return sw_summary_failure_rate(s, SW_FAILURE_SERVER);
    case SW_STATISTIC_CLIENT_ERROR_RATE: return sw_summary_failure_rate(s, SW_FAILURE_CLIENT);
    case SW_STATISTIC_REJECTED_RATE: return sw_summary_failure_rate(s, SW_FAILURE_REJECTED);
    }
    return NAN;
}

sw_status sw_rule_measure(const struct sw_rule *rule, const struct sw_history *history, const char *model,
                          uint64_t now_ms, double *ret, struct sw_error *err) {
    /* The minutes of the window and the one that is running, so never less than the window. */
    uint64_t from_ms = now_ms > rule->window_ms ? (now_ms - rule->window_ms) / MINUTE_MS * MINUTE_MS : 0;
    struct sw_query query = {
        .metric = rule->metric,
        .labels = {{"model", model}},
        .label_count = model ? 1 : 0,
        .from_ms = from_ms,
        .step_ms = now_ms / MINUTE_MS * MINUTE_MS + MINUTE_MS - from_ms,
        .step_count = 1,
        .fine = true,
    };
    struct sw_summary summary;
    size_t tracks;
    SW_TRY(sw_history_query(history, &query, NULL, &summary, &tracks, err));
    /* That nothing came is itself something known, of what was seen before. */
    bool counts = rule->statistic == SW_STATISTIC_COUNT || rule->statistic == SW_STATISTIC_RATE;
    bool is_known = counts ? tracks > 0 : samples_of(rule, &summary) >= rule->min_samples;
    *ret = is_known ? number_of(rule, &summary, now_ms - from_ms + 1) : NAN;
    return SW_OK;
}
