/* Alert rules: the default ones, files good and bad, and the number that each compares. */
#include "observe/rules.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"

#define MINUTE ((uint64_t)SW_FINE_MS)
#define T0 (1795219200000ull)

static struct sw_rules parse(const char *text) {
    struct sw_rules rules;
    struct sw_error err;
    if (sw_rules_parse(text, text ? strlen(text) : 0, &rules, &err)) {
        fail_msg("%s", err.message);
    }
    return rules;
}

static const struct sw_rule *find(const struct sw_rules *rules, const char *name) {
    for (size_t i = 0; i < rules->count; i++) {
        if (strcmp(rules->items[i].name, name) == 0) {
            return &rules->items[i];
        }
    }
    return NULL;
}

static void default_rules(void **state) {
    struct sw_rules rules = parse(NULL);
    assert_int_equal(rules.count, 5);
    const struct sw_rule *r = find(&rules, "HighLatency");
    assert_non_null(r);
    assert_string_equal(r->metric, "latency_ms");
    assert_true(r->statistic == SW_STATISTIC_P95 && r->is_above && r->threshold == 200 && r->for_ms == 5 * MINUTE);
    assert_true(r->per_model && !r->model && r->window_ms == MINUTE && r->min_samples == 10);
    r = find(&rules, "HighErrorRate");
    assert_true(r && r->statistic == SW_STATISTIC_ERROR_RATE && r->threshold == 0.05 && r->for_ms == 2 * MINUTE);
    assert_int_equal(r->severity, SW_SEVERITY_CRITICAL);
    r = find(&rules, "HighCpu");
    assert_true(r && !r->per_model && r->threshold == 80 && r->for_ms == 10 * MINUTE);
    r = find(&rules, "HighMemory");
    assert_true(r && r->threshold == 80 && r->for_ms == 10 * MINUTE);
    assert_string_equal(r->metric, "memory_percent");
    r = find(&rules, "FlatPredictions");
    assert_true(r && !r->is_above && r->threshold == 0.05 && r->statistic == SW_STATISTIC_STD && r->per_model);
    assert_string_equal(r->model, "flash"); /* a detector of rare things predicts nearly the same, and is well */
    sw_rules_deinit(&rules);
}

static void a_file_adds_replaces_and_takes_out(void **state) {
    struct sw_rules rules = parse(
        "rules:\n"
        "  - {name: HighLatency, metric: latency_p99_ms, above: 300, for: 5m, model: digits}\n"
        "  - {name: HighCpu, enabled: false}\n"
        "  - name: Orders\n"
        "    metric: shop.orders\n"
        "    statistic: sum\n"
        "    below: 1\n"
        "    window: 15m\n"
        "    min_samples: 3\n"
        "    keep_firing_for: 2m\n"
        "    severity: critical\n"
        "    summary: Nobody orders.\n");
    assert_int_equal(rules.count, 5);
    assert_null(find(&rules, "HighCpu"));
    const struct sw_rule *r = find(&rules, "HighLatency");
    assert_true(r->statistic == SW_STATISTIC_P99 && r->threshold == 300 && r->min_samples == 1);
    assert_string_equal(r->model, "digits");
    assert_string_equal(r->summary, "latency_p99_ms is above 300.");
    assert_int_equal(r->severity, SW_SEVERITY_WARNING);
    r = find(&rules, "Orders");
    assert_true(r->statistic == SW_STATISTIC_SUM && !r->is_above && !r->per_model && r->for_ms == 0);
    assert_true(r->window_ms == 15 * MINUTE && r->keep_firing_ms == 2 * MINUTE && r->min_samples == 3);
    assert_string_equal(r->summary, "Nobody orders.");
    sw_rules_deinit(&rules);
    rules = parse("defaults: false\nrules:\n  - {name: A, metric: queue_depth, above: 0}\n");
    assert_int_equal(rules.count, 1);
    sw_rules_deinit(&rules);
    rules = parse("defaults: false");
    assert_int_equal(rules.count, 0);
    sw_rules_deinit(&rules);
    rules = parse("");
    assert_int_equal(rules.count, 5);
    sw_rules_deinit(&rules);
}

static void bad_files_name_their_fault(void **state) {
    static const char *const cases[][2] = {
        {"[", "line 2, column 1"},
        {"- 1", "must be a mapping"},
        {"x: 1", "x: no such key"},
        {"rules: 1", "rules: must be a list"},
        {"rules: [1]", "rules[0]: must be a mapping"},
        {"rules: [{metric: error_rate, above: 1}]", "rules[0].name"},
        {"rules: [{name: '1a', metric: error_rate, above: 1}]", "rules[0].name"},
        {"rules: [{name: 'a b', metric: error_rate, above: 1}]", "rules[0].name"},
        {"rules: [{name: A, metric: error_rate, above: 1}, {name: A, metric: error_rate, above: 1}]", "rules[1].name"},
        {"rules: [{name: A, above: 1}]", "rules[0].metric: is missing"},
        {"rules: [{name: A, metric: 'a b', above: 1}]", "rules[0].metric"},
        {"rules: [{name: A, metric: latency_ms, above: 1}]", "rules[0].metric"},
        {"rules: [{name: A, metric: error_rate, statistic: max, above: 1}]", "rules[0].statistic"},
        {"rules: [{name: A, metric: x, statistic: median, above: 1}]", "rules[0].statistic"},
        {"rules: [{name: A, metric: x}]", "one of above and below"},
        {"rules: [{name: A, metric: x, above: 1, below: 2}]", "one of above and below"},
        {"rules: [{name: A, metric: x, above: high}]", "rules[0].above"},
        {"rules: [{name: A, metric: x, above: 1e30}]", "rules[0].above"},
        {"rules: [{name: A, metric: x, above: 1, for: 5}]", "rules[0].for"},
        {"rules: [{name: A, metric: x, above: 1, for: 25h}]", "rules[0].for"},
        {"rules: [{name: A, metric: x, above: 1, window: 30s}]", "rules[0].window"},
        {"rules: [{name: A, metric: x, above: 1, window: 2h}]", "rules[0].window"},
        {"rules: [{name: A, metric: x, above: 1, window: 0s}]", "rules[0].window"},
        {"rules: [{name: A, metric: x, above: 1, min_samples: 0}]", "rules[0].min_samples"},
        {"rules: [{name: A, metric: x, above: 1, severity: page}]", "rules[0].severity"},
        {"rules: [{name: A, metric: cpu_percent, above: 1, model: m}]", "rules[0].model"},
        {"rules: [{name: A, metric: x, above: 1, unknown: 1}]", "rules[0].unknown: no such key"},
        {"rules: [{name: A, enabled: false}]", "rules[0].enabled"},
        {"rules: [{name: HighCpu, enabled: no-}]", "rules[0].enabled"},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        struct sw_rules rules;
        struct sw_error err;
        if (!sw_rules_parse(cases[i][0], strlen(cases[i][0]), &rules, &err)) {
            fail_msg("taken: %s", cases[i][0]);
        }
        if (err.code != SW_E_USAGE || !strstr(err.message, cases[i][1])) {
            fail_msg("%s: %s", cases[i][0], err.message);
        }
    }
}

static void rules_are_bounded(void **state) {
    struct sw_buf text;
    struct sw_rules rules;
    struct sw_error err;
    sw_buf_init(&text, 1 << 20);
    sw_buf_printf(&text, "defaults: false\nrules:\n");
    for (int i = 0; i < SW_RULES_MAX; i++) {
        sw_buf_printf(&text, "  - {name: R%d, metric: error_rate, above: 1}\n", i);
    }
    rules = parse(text.data);
    assert_int_equal(rules.count, SW_RULES_MAX);
    sw_rules_deinit(&rules);
    sw_buf_printf(&text, "  - {name: R, metric: error_rate, above: 1}\n");
    assert_int_equal(sw_rules_parse(text.data, text.len, &rules, &err), SW_E_USAGE);
    assert_non_null(strstr(err.message, "at most 64 rules"));
    sw_buf_deinit(&text);
}

static void from_a_file(void **state) {
    char path[] = "/tmp/slipway-rules-XXXXXX";
    struct sw_rules rules;
    struct sw_error err;
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "rules: [{name: HighCpu, enabled: false}]\n", 41), 41);
    assert_int_equal(sw_rules_load(path, &rules, &err), SW_OK);
    assert_int_equal(rules.count, 4);
    sw_rules_deinit(&rules);
    assert_int_equal(write(fd, "more: 1\n", 8), 8);
    close(fd);
    assert_int_equal(sw_rules_load(path, &rules, &err), SW_E_USAGE);
    assert_non_null(strstr(err.message, path)); /* the file is named */
    unlink(path);
    assert_int_equal(sw_rules_load(path, &rules, &err), SW_E_NOT_FOUND);
    assert_int_equal(sw_rules_load(NULL, &rules, &err), SW_OK);
    sw_rules_deinit(&rules);
}

static void names(void **state) {
    static const char *const good[] = {"a", "_x", ":y", "shop.orders", "a-b_c:d.9", "A1"};
    static const char *const bad[] = {"",
                                      "1a",
                                      "a b",
                                      "a\"",
                                      "\xc3\xa9",
                                      ".a",
                                      "a/",
                                      "latency_ms",
                                      "latency_p95_ms",
                                      "error_rate",
                                      "memory_percent",
                                      "verdict"};
    for (size_t i = 0; i < SW_COUNTOF(good); i++) {
        assert_true(sw_metric_name_valid(sw_str_of(good[i])));
    }
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        assert_false(sw_metric_name_valid(sw_str_of(bad[i])));
    }
    char longest[130];
    memset(longest, 'a', sizeof longest);
    assert_true(sw_metric_name_valid((struct sw_str){longest, 128}));
    assert_false(sw_metric_name_valid((struct sw_str){longest, 129}));
    assert_false(sw_metric_name_valid((struct sw_str){"a\0b", 3}));
    assert_true(sw_metric_is_own(SW_STR("latency_ms")) && sw_metric_is_own(SW_STR("queue_depth")));
    assert_false(sw_metric_is_own(SW_STR("latency_p95_ms")) || sw_metric_is_own(SW_STR("x")));
    assert_true(sw_metric_is_of_models(SW_STR("verdict")) && !sw_metric_is_of_models(SW_STR("cpu_percent")));
}

/* ---- the number */

static struct sw_history history;

static void record(const char *metric, const char *model, uint64_t time_ms, double value, uint64_t faults) {
    struct sw_error err;
    const struct sw_label label = {"model", model};
    struct sw_track *track = sw_history_track(&history, metric, &label, model ? 1 : 0, false, &err);
    assert_non_null(track);
    struct sw_point failed = {.failures = {[SW_FAILURE_SERVER] = faults}};
    assert_true(isnan(value) || sw_history_add(&history, track, time_ms, time_ms, value));
    assert_true(faults == 0 || sw_history_merge(&history, track, time_ms, time_ms, &failed));
}

static double measure(const char *rule_text, const char *model, uint64_t now_ms) {
    char text[512];
    struct sw_error err;
    double value = 0;
    snprintf(text, sizeof text, "defaults: false\nrules: [{name: A, above: 1, %s}]", rule_text);
    struct sw_rules rules = parse(text);
    assert_int_equal(sw_rule_measure(&rules.items[0], &history, model, now_ms, &value, &err), SW_OK);
    sw_rules_deinit(&rules);
    return value;
}

static void measures(void **state) {
    sw_history_init(&history, 64 << 20);
    for (int i = 0; i < 60; i++) {
        record("latency_ms", "a", T0 + (uint64_t)i * 1000, i < 30 ? 10 : 20, 0);
        record("latency_ms", "b", T0 + (uint64_t)i * 1000, 500, i % 2);
    }
    record("latency_ms", "a", T0 - 5 * MINUTE, 1000, 0); /* outside of the window */
    uint64_t now = T0 + MINUTE - 1;
    assert_true(measure("metric: latency_mean_ms", "a", now) == 15);
    assert_true(measure("metric: latency_max_ms", "a", now) == 20);
    assert_true(measure("metric: latency_max_ms, window: 10m", "a", now) == 1000);
    assert_true(fabs(measure("metric: latency_p95_ms", "b", now) - 500) < 8);
    assert_true(fabs(measure("metric: error_rate", "b", now) - 1.0 / 3) < 1e-9);
    assert_true(measure("metric: error_rate", "a", now) == 0);
    assert_true(measure("metric: client_error_rate", "b", now) == 0);
    /* The running minute and the one before: two minutes, less a millisecond. */
    assert_true(fabs(measure("metric: requests_per_second", "a", now) - 60.0 / 120) < 0.001);
    assert_true(fabs(measure("metric: latency_mean_ms", NULL, now) - (60 * 15 + 60 * 500) / 120.0) < 1e-9);
    /* Too few samples: not known. For a rate all requests count, for a latency those that were answered. */
    assert_true(isnan(measure("metric: latency_mean_ms, min_samples: 61", "a", now)));
    assert_true(measure("metric: latency_mean_ms, min_samples: 60", "a", now) == 15);
    assert_true(!isnan(measure("metric: error_rate, min_samples: 90", "b", now)));
    assert_true(isnan(measure("metric: error_rate, min_samples: 91", "b", now)));
    assert_true(isnan(measure("metric: latency_mean_ms", "nobody", now)));
    assert_true(isnan(measure("metric: requests_per_second", "nobody", now)));
    /* That nothing comes any more is known of who was seen before. */
    assert_true(measure("metric: requests_per_second", "a", now + 3 * MINUTE) == 0);
    assert_true(isnan(measure("metric: latency_mean_ms", "a", now + 3 * MINUTE)));
    record("orders", NULL, T0, 3, 0);
    record("orders", NULL, T0, 4, 0);
    assert_true(measure("metric: orders, statistic: sum", NULL, now) == 7);
    assert_true(measure("metric: orders, statistic: count", NULL, now) == 2);
    assert_true(measure("metric: orders, statistic: std", NULL, now) == 0.5);
    assert_true(measure("metric: orders, statistic: min", NULL, now) == 3);
    sw_history_deinit(&history);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_rules),
        cmocka_unit_test(a_file_adds_replaces_and_takes_out),
        cmocka_unit_test(bad_files_name_their_fault),
        cmocka_unit_test(rules_are_bounded),
        cmocka_unit_test(from_a_file),
        cmocka_unit_test(names),
        cmocka_unit_test(measures),
    };
    return cmocka_run_group_tests_name("observe/rules", tests, NULL, NULL);
}
