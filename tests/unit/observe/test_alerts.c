/* The state machine of alerts, on a clock turned by hand: for-durations, flapping, missing data, restarts. */
#include "observe/alerts.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/memory.h"

#define SECOND 1000ull
#define MINUTE (60 * SECOND)
#define TICK (10 * SECOND)
#define T0 (1795219200000ull)

static struct sw_history history;
static struct sw_alerts alerts;
static uint64_t now_ms, now_ns;
static char changes[4096]; /* what on_change was told: "+name/model " and "-name/model:reason " */

static void note(void *arg, struct sw_alert *alert) {
    bool fires = alert->state == SW_ALERT_FIRING;
    size_t used = strlen(changes);
    snprintf(changes + used, sizeof changes - used, "%s%s/%s%s%s ", fires ? "+" : "-", alert->rule,
             alert->model ? alert->model : "", fires ? "" : ":", fires ? "" : alert->resolved_reason);
}

static void start(const char *text) {
    struct sw_rules rules;
    struct sw_error err;
    char all[2048];
    snprintf(all, sizeof all, "defaults: false\nrules:\n%s", text);
    if (sw_rules_parse(all, strlen(all), &rules, &err)) {
        fail_msg("%s", err.message);
    }
    sw_alerts_init(&alerts, &rules, "here:1");
    alerts.on_change = note;
    changes[0] = '\0';
}

static int setup(void **state) {
    sw_history_init(&history, 64 << 20);
    now_ms = T0;
    now_ns = 77000000000ull; /* a clock of its own */
    return 0;
}

static int teardown(void **state) {
    sw_alerts_deinit(&alerts);
    sw_history_deinit(&history);
    return 0;
}

static void record(const char *metric, const char *model, double value) {
    struct sw_error err;
    const struct sw_label label = {"model", model};
    struct sw_track *track = sw_history_track(&history, metric, &label, model ? 1 : 0, false, &err);
    assert_non_null(track);
    assert_true(sw_history_add(&history, track, now_ms, now_ms, value));
}

static void pass(uint64_t ms) {
    now_ms += ms;
    now_ns += ms * 1000000;
}

static void evaluate(void) {
    sw_alerts_evaluate(&alerts, &history, now_ms, now_ns);
}

/* Every ten seconds a value and an evaluation, so long; NaN: no value. Gauges are compared over a window of one minute
 * and the running one, so a change shows up to two minutes later: values here come in a way that the mean changes at
 * once, with a history of their own for each. */
static void forget(void) {
    sw_history_deinit(&history);
    sw_history_init(&history, 64 << 20);
}

static void hold(const char *metric, const char *model, double value, uint64_t ms) {
    for (uint64_t passed = 0; passed < ms; passed += TICK) {
        pass(TICK);
        forget();
        if (!isnan(value)) {
            record(metric, model, value);
        }
        evaluate();
    }
}

static void told(const char *wanted) {
    assert_string_equal(changes, wanted);
    changes[0] = '\0';
}

static json_t *list(struct sw_alert_filter filter) {
    json_t *array = json_array();
    filter.limit = filter.limit ? filter.limit : 100;
    sw_alerts_list(&alerts, &filter, array);
    return array;
}

static const char *text_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "null";
}

static void fires_after_its_time_and_not_before(void **state) {
    start("  - {name: Hot, metric: cpu_percent, above: 80, for: 5m}\n");
    hold("cpu_percent", NULL, 79, MINUTE);
    assert_int_equal(sw_alerts_pending(&alerts), 0);
    hold("cpu_percent", NULL, 80, MINUTE); /* on the threshold is not above it */
    assert_int_equal(sw_alerts_pending(&alerts), 0);
    hold("cpu_percent", NULL, 81, TICK);
    assert_int_equal(sw_alerts_pending(&alerts), 1);
    uint64_t began = now_ms;
    hold("cpu_percent", NULL, 90, 5 * MINUTE - TICK);
    told("");
    hold("cpu_percent", NULL, 95, TICK);
    told("+Hot/ ");
    assert_int_equal(sw_alerts_firing(&alerts, NULL), 1);
    assert_int_equal(sw_alerts_firing(&alerts, &alerts.rules.items[0]), 1);
    assert_int_equal(sw_alerts_pending(&alerts), 0);
    const struct sw_alert *alert = alerts.list[0];
    assert_true(alert->started_ms == began && alert->fired_ms == now_ms && alert->value == 95 && alert->unsaved);
    struct sw_buf text;
    sw_buf_init(&text, 1000);
    sw_alert_message(alert, &text);
    assert_string_equal(text.data, "cpu_percent is 95, above 80 for 5m.");
    sw_buf_deinit(&text);
    hold("cpu_percent", NULL, 99, 20 * MINUTE); /* goes on, and is told once */
    told("");
    assert_true(alert->value == 99);
    hold("cpu_percent", NULL, 10, TICK);
    told("-Hot/:recovered ");
    assert_int_equal(sw_alerts_firing(&alerts, NULL), 0);
    assert_int_equal(alerts.count, 1);
}

static void below(void **state) {
    start("  - {name: Flat, metric: prediction_std, below: 0.05, for: 1m}\n");
    for (uint64_t t = 0; t <= MINUTE; t += TICK) {
        pass(TICK);
        forget();
        record("prediction", "digits", 0.5);
        record("prediction", "digits", 0.52);
        evaluate();
    }
    told("+Flat/digits ");
}

static void at_once(void **state) {
    start("  - {name: Hot, metric: cpu_percent, above: 80}\n");
    hold("cpu_percent", NULL, 81, TICK);
    told("+Hot/ ");
}

/* Wrong every second time: never long enough. */
static void flapping_does_not_fire(void **state) {
    start("  - {name: Hot, metric: cpu_percent, above: 80, for: 1m}\n");
    for (int i = 0; i < 50; i++) {
        hold("cpu_percent", NULL, 90, 5 * TICK);
        hold("cpu_percent", NULL, 10, TICK);
    }
    told("");
    assert_int_equal(alerts.count, 0);
}

/* Once it fires, keep_firing_for bridges short recoveries: one alert, not twenty. */
static void flapping_while_firing(void **state) {
    start("  - {name: Hot, metric: cpu_percent, above: 80, keep_firing_for: 1m}\n");
    for (int i = 0; i < 20; i++) {
        hold("cpu_percent", NULL, 90, TICK);
        hold("cpu_percent", NULL, 10, 6 * TICK); /* right for 50 s, from the first to the last look */
    }
    told("+Hot/ ");
    hold("cpu_percent", NULL, 10, TICK);
    told("-Hot/:recovered ");
}

static void missing_data_holds(void **state) {
    start("  - {name: Hot, metric: cpu_percent, above: 80, for: 1m}\n");
    hold("cpu_percent", NULL, 90, 4 * TICK);
    hold("cpu_percent", NULL, NAN, 5 * MINUTE); /* the clock stands */
    assert_int_equal(sw_alerts_pending(&alerts), 1);
    told("");
    /* 30 s were known wrong; 30 s more are needed, and the time after the gap counts from its first look. */
    hold("cpu_percent", NULL, 90, 3 * TICK);
    told("");
    hold("cpu_percent", NULL, 90, TICK);
    told("+Hot/ ");
    hold("cpu_percent", NULL, NAN, 9 * MINUTE);
    told(""); /* firing holds as well */
    hold("cpu_percent", NULL, 90, TICK);
    hold("cpu_percent", NULL, NAN, 9 * MINUTE);
    told("");
    hold("cpu_percent", NULL, NAN, MINUTE);
    told("-Hot/:no data ");
    /* And a pending one is given up without a word. */
    hold("cpu_percent", NULL, 90, TICK);
    assert_int_equal(sw_alerts_pending(&alerts), 1);
    hold("cpu_percent", NULL, NAN, 10 * MINUTE);
    assert_int_equal(sw_alerts_pending(&alerts), 0);
    told("");
}

static void each_model_on_its_own(void **state) {
    start("  - {name: Slow, metric: latency_max_ms, above: 100}\n"
          "  - {name: SlowB, metric: latency_max_ms, above: 50, model: b}\n");
    pass(TICK);
    record("latency_ms", "a", 150);
    record("latency_ms", "b", 60);
    record("latency_ms", "c", 10);
    evaluate();
    told("+Slow/a +SlowB/b ");
    pass(TICK);
    record("latency_ms", "c", 500);
    evaluate();
    told("+Slow/c ");
    json_t *rules = sw_alerts_rules_to_json(&alerts);
    const json_t *slow = json_array_get(rules, 0);
    assert_string_equal(text_of(slow, "state"), "firing");
    assert_int_equal(json_array_size(json_object_get(slow, "firing_models")), 2);
    assert_string_equal(text_of(json_array_get(rules, 1), "model"), "b");
    json_decref(rules);
    /* A model that is gone, its history too, is one of which nothing is known. */
    forget();
    for (uint64_t t = 0; t <= SW_ALERT_UNKNOWN_MS; t += TICK) {
        pass(TICK);
        evaluate();
    }
    assert_int_equal(sw_alerts_firing(&alerts, NULL), 0);
    assert_non_null(strstr(changes, "-Slow/a:no data "));
    assert_null(alerts.watches);
}

static void the_wall_clock_does_not_matter(void **state) {
    start("  - {name: Hot, metric: cpu_percent, above: 80, for: 2m}\n");
    hold("cpu_percent", NULL, 90, MINUTE);
    now_ms += 3600 * SECOND; /* set, by an hour */
    hold("cpu_percent", NULL, 90, TICK);
    told("");
    now_ms -= 7200 * SECOND;
    hold("cpu_percent", NULL, 90, MINUTE - TICK);
    told("");
    hold("cpu_percent", NULL, 90, TICK);
    told("+Hot/ ");
}

static void acknowledging(void **state) {
    struct sw_error err;
    start("  - {name: Hot, metric: cpu_percent, above: 80}\n");
    hold("cpu_percent", NULL, 90, TICK);
    char id[SW_ALERT_ID_MAX];
    snprintf(id, sizeof id, "%s", alerts.list[0]->id);
    assert_int_equal(sw_alerts_acknowledge(&alerts, "nothing", "me", NULL, now_ms, &err), SW_E_NOT_FOUND);
    assert_int_equal(sw_alerts_acknowledge(&alerts, id, "me", "looking", now_ms, &err), SW_OK);
    assert_int_equal(sw_alerts_acknowledge(&alerts, id, "you", NULL, now_ms, &err), SW_E_CONFLICT);
    assert_non_null(strstr(err.message, "by me at 2026-11-21T00:00:10.000Z"));
    json_t *json = sw_alert_to_json(sw_alerts_find(&alerts, id));
    const json_t *seen = json_object_get(json, "acknowledged");
    assert_string_equal(text_of(seen, "by"), "me");
    assert_string_equal(text_of(seen, "note"), "looking");
    json_decref(json);
    hold("cpu_percent", NULL, 10, TICK);
    assert_true(alerts.list[0]->acknowledged_ms); /* also of what is over */
}

static void listing(void **state) {
    start("  - {name: Hot, metric: cpu_percent, above: 80, severity: critical}\n"
          "  - {name: Warm, metric: cpu_percent, above: 50, severity: info}\n"
          "  - {name: Soon, metric: cpu_percent, above: 5, for: 1h}\n");
    hold("cpu_percent", NULL, 60, TICK); /* Warm */
    uint64_t later = now_ms + TICK;
    hold("cpu_percent", NULL, 90, TICK); /* Hot */
    hold("cpu_percent", NULL, 60, TICK); /* Hot is over */
    json_t *all = list((struct sw_alert_filter){0});
    assert_int_equal(json_array_size(all), 2);
    assert_string_equal(text_of(json_array_get(all, 0), "name"), "Hot"); /* newest first */
    assert_string_equal(text_of(json_array_get(all, 0), "state"), "resolved");
    json_decref(all);
    static const struct {
        struct sw_alert_filter filter;
        const char *only;
    } cases[] = {
        {{.has_state = true, .state = SW_ALERT_FIRING}, "Warm"},
        {{.has_state = true, .state = SW_ALERT_RESOLVED}, "Hot"},
        {{.has_state = true, .state = SW_ALERT_PENDING}, "Soon"},
        {{.has_severity = true, .severity = SW_SEVERITY_INFO}, "Warm"},
        {{.limit = 1}, "Hot"},
        {{.has_severity = true, .severity = SW_SEVERITY_WARNING}, NULL},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        json_t *some = list(cases[i].filter);
        assert_int_equal(json_array_size(some), cases[i].only ? 1 : 0);
        assert_string_equal(text_of(json_array_get(some, 0), "name"), cases[i].only ? cases[i].only : "null");
        json_decref(some);
    }
    json_t *since = list((struct sw_alert_filter){.since_ms = later});
    assert_int_equal(json_array_size(since), 1);
    json_decref(since);
}

static void test_alerts_end_by_themselves(void **state) {
    struct sw_error err;
    struct sw_alert *alert;
    start("  - {name: Hot, metric: cpu_percent, above: 80}\n");
    for (int i = 0; i < SW_ALERT_TESTS_MAX; i++) {
        assert_int_equal(sw_alerts_make_test(&alerts, SW_SEVERITY_CRITICAL, "hello", now_ms, &alert, &err), SW_OK);
        sw_alerts_fire_test(&alerts, alert);
    }
    told("+TestAlert/ +TestAlert/ +TestAlert/ +TestAlert/ ");
    assert_int_equal(sw_alerts_make_test(&alerts, SW_SEVERITY_INFO, "x", now_ms, &alert, &err), SW_E_TOO_MANY_REQUESTS);
    json_t *json = sw_alert_to_json(alerts.list[0]);
    assert_string_equal(text_of(json, "message"), "hello");
    assert_true(json_is_true(json_object_get(json, "test")));
    json_decref(json);
    pass(SW_ALERT_TEST_MS - 1);
    evaluate();
    told("");
    pass(1);
    evaluate();
    told("-TestAlert/:test over -TestAlert/:test over -TestAlert/:test over -TestAlert/:test over ");
    assert_int_equal(sw_alerts_make_test(&alerts, SW_SEVERITY_INFO, "x", now_ms, &alert, &err), SW_OK);
    sw_alert_destroy(alert);
}

static void resolved_ones_are_bounded(void **state) {
    start("  - {name: Hot, metric: cpu_percent, above: 80}\n");
    for (int i = 0; i < SW_ALERTS_KEPT + 20; i++) {
        hold("cpu_percent", NULL, 90, TICK);
        alerts.list[alerts.count - 1]->unsaved = i == 0; /* the store has all but the first */
        hold("cpu_percent", NULL, 10, TICK);
        alerts.list[alerts.count - 1]->unsaved = i == 0;
    }
    assert_int_equal(alerts.count, SW_ALERTS_KEPT);
    assert_true(alerts.list[0]->unsaved); /* is kept as long as there are others */
    assert_int_equal(alerts.forgotten, 0);
    hold("cpu_percent", NULL, 90, TICK);
    assert_int_equal(alerts.count, SW_ALERTS_KEPT + 1); /* what fires does not count */
}

/* ---- after a restart */

static struct sw_alert *stored(const char *rule, const char *model) {
    struct sw_alert *alert = SW_NEW(struct sw_alert);
    snprintf(alert->id, sizeof alert->id, "id-%s", rule);
    alert->rule = sw_xstrdup(rule);
    alert->what = sw_xstrdup("latency_max_ms");
    alert->model = sw_xstrdup(model);
    alert->summary = sw_xstrdup("s");
    alert->instance = sw_xstrdup("here:1");
    alert->state = SW_ALERT_FIRING;
    alert->started_ms = alert->fired_ms = T0 - MINUTE;
    return alert;
}

static void restored_ones_go_on(void **state) {
    start("  - {name: Slow, metric: latency_max_ms, above: 100, for: 5m}\n"
          "  - {name: Moved, metric: latency_p95_ms, above: 100}\n"
          "  - {name: Only, metric: latency_max_ms, above: 100, model: b}\n");
    sw_alerts_restore(&alerts, stored("Slow", "a"), now_ms);
    told("");
    sw_alerts_restore(&alerts, stored("Gone", "a"), now_ms);
    sw_alerts_restore(&alerts, stored("Moved", "a"), now_ms); /* the rule is about something else now */
    sw_alerts_restore(&alerts, stored("Only", "a"), now_ms);
    told("-Gone/a:the rule is gone -Moved/a:the rule is gone -Only/a:the rule is gone ");
    pass(TICK);
    evaluate(); /* nothing is known yet: it holds */
    told("");
    record("latency_ms", "a", 500);
    evaluate();
    told("+Moved/a "); /* of Slow no second one, and no new wait */
    assert_int_equal(sw_alerts_firing(&alerts, NULL), 2);
    pass(3 * MINUTE);
    record("latency_ms", "a", 1);
    evaluate();
    told("-Slow/a:recovered -Moved/a:recovered ");
    assert_string_equal(alerts.list[0]->id, "id-Slow");
}

static void restored_late(void **state) {
    start("  - {name: Slow, metric: latency_max_ms, above: 100}\n");
    pass(TICK);
    record("latency_ms", "a", 500);
    evaluate(); /* fired anew while the store was away */
    told("+Slow/a ");
    sw_alerts_restore(&alerts, stored("Slow", "a"), now_ms);
    told("-Slow/a:another took its place ");
    assert_int_equal(sw_alerts_firing(&alerts, NULL), 1);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(fires_after_its_time_and_not_before),
        CASE(below),
        CASE(at_once),
        CASE(flapping_does_not_fire),
        CASE(flapping_while_firing),
        CASE(missing_data_holds),
        CASE(each_model_on_its_own),
        CASE(the_wall_clock_does_not_matter),
        CASE(acknowledging),
        CASE(listing),
        CASE(test_alerts_end_by_themselves),
        CASE(resolved_ones_are_bounded),
        CASE(restored_ones_go_on),
        CASE(restored_late),
    };
    return cmocka_run_group_tests_name("observe/alerts", tests, NULL, NULL);
}
