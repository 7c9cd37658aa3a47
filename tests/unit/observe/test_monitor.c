/* The monitor as a whole, on a clock turned by hand, without and with a store (SQLite, and again PostgreSQL): what is
 * measured and logged, alerts from rule to receiver, and what a restart or an outage leaves. */
#include "observe/monitor.h"

#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

#include "../store/fixture.h"
#include "base/log.h"
#include "base/memory.h"

#define SECOND 1000ull
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define T0 (1795219200000ull)

static struct sw_clock test_clock;
static struct sw_monitor *monitor;
static struct sw_metrics *metrics;
static atomic_int answer;      /* of the receiver of notifications */
static atomic_int notified[2]; /* notifications sent: firing, resolved */
static const struct sw_monitor_actor tester = {"tester", "req-1"};

static int send_fake(void *arg, const char *url, const char *token, struct sw_str body, const atomic_bool *stop,
                     char error[SW_NOTIFY_ERROR_MAX]) {
    bool fires = memmem(body.data, body.len, "\"status\":\"firing\"", 17);
    int status = atomic_load(&answer);
    snprintf(error, SW_NOTIFY_ERROR_MAX, "answered %d", status);
    if (status == 200) {
        atomic_fetch_add(&notified[!fires], 1);
    }
    return status;
}

static size_t seven_wait(void *arg) {
    return 7;
}

/* webhook NULL: nobody is told. */
static struct sw_monitor *create(const char *instance, const char *rules_text, const char *webhook) {
    struct sw_rules rules;
    struct sw_error err;
    if (sw_rules_parse(rules_text, rules_text ? strlen(rules_text) : 0, &rules, &err)) {
        fail_msg("%s", err.message);
    }
    struct sw_monitor_options options = {.clock = &test_clock,
                                         .metrics = metrics,
                                         .instance = instance,
                                         .external_url = "http://here:1",
                                         .memory_max = 64 << 20,
                                         .memory_limit = UINT64_C(1) << 40,
                                         .keep_points_ms = 7 * 24 * HOUR,
                                         .keep_alerts_ms = 30 * 24 * HOUR,
                                         .webhook = webhook,
                                         .send = send_fake,
                                         .queue_depth = seven_wait};
    return sw_monitor_create(&options, &rules);
}

#define HOT "defaults: false\nrules:\n  - {name: Slow, metric: latency_max_ms, above: 100, for: 1m}\n"

static int setup(void **state) {
    sw_log_set_level(SW_LOG_OFF);
    sw_clock_manual_init(&test_clock, T0 * 1000000);
    metrics = sw_metrics_create();
    atomic_store(&answer, 200);
    atomic_store(&notified[0], 0);
    atomic_store(&notified[1], 0);
    return 0;
}

static int teardown(void **state) {
    sw_monitor_destroy(monitor);
    sw_metrics_destroy(metrics);
    monitor = NULL;
    return 0;
}

static int setup_store(void **state) {
    setup(state);
    int rc = fixture_setup(state);
    fixture_open(*state);
    return rc;
}

static int teardown_store(void **state) {
    teardown(state);
    return fixture_teardown(state);
}

static void pass(uint64_t ms) {
    sw_clock_manual_advance(&test_clock, ms * 1000000);
}

static void run_for(uint64_t ms) {
    for (uint64_t passed = 0; passed < ms; passed += SW_MONITOR_TICK_MS) {
        pass(SW_MONITOR_TICK_MS);
        sw_monitor_tick(monitor);
    }
}

static uint64_t now(void) {
    return test_clock.wall_ms(&test_clock);
}

/* The last ten minutes and the running one. */
static struct sw_summary recent(const char *metric, const char *model) {
    struct sw_summary total;
    struct sw_error err;
    size_t tracks;
    uint64_t since_ms;
    struct sw_query query = {.metric = metric,
                             .labels = {{"model", model}},
                             .label_count = model ? 1 : 0,
                             .from_ms = (now() - 10 * MINUTE) / MINUTE * MINUTE,
                             .step_ms = 11 * MINUTE,
                             .step_count = 1,
                             .fine = true};
    if (sw_monitor_query(monitor, &query, NULL, &total, &tracks, &since_ms, &err)) {
        fail_msg("%s", err.message);
    }
    return total;
}

static void infer(const char *model, uint64_t ms) {
    sw_recorder_success(sw_monitor_recorder(monitor, model, "1"), ms * 1000000);
}

/* ---- without a store */

static void measures_what_recorders_count(void **state) {
    monitor = create("here:1", NULL, NULL);
    struct sw_recorder *one = sw_monitor_recorder(monitor, "digits", "1");
    struct sw_recorder *two = sw_monitor_recorder(monitor, "digits", "2");
    assert_ptr_equal(one, sw_monitor_recorder(monitor, "digits", "1"));
    assert_ptr_not_equal(one, two);
    const uint8_t verdicts[] = {1, 0, 0, 0};
    const float predictions[] = {0.25f, 0.75f};
    sw_recorder_success(one, 10000000);
    sw_recorder_success(two, 30000000);
    sw_recorder_failure(two, SW_FAILURE_SERVER);
    sw_recorder_verdicts(one, verdicts, 4);
    sw_recorder_predictions_f32(two, predictions, 2);
    struct sw_summary s = recent("latency_ms", "digits"); /* no tick needed: up to the moment */
    assert_true(s.count == 2 && s.mean == 20 && s.min == 10 && s.max == 30 && s.failures[SW_FAILURE_SERVER] == 1);
    assert_true(recent("verdict", "digits").mean == 0.25);
    s = recent("prediction", NULL);
    assert_true(s.count == 2 && s.mean == 0.5 && s.std == 0.25);
    assert_int_equal(recent("latency_ms", "other").count, 0);
}

static void samples_the_process(void **state) {
    monitor = create("here:1", NULL, NULL);
    sw_monitor_tick(monitor);
    assert_int_equal(recent("cpu_percent", NULL).count, 0); /* takes two looks */
    run_for(MINUTE);
    struct sw_summary cpu = recent("cpu_percent", NULL), memory = recent("memory_bytes", NULL);
    assert_true(cpu.count == 6 && cpu.min >= 0);
    assert_true(memory.count == 7 && memory.min > 100 * 1024);
    struct sw_summary percent = recent("memory_percent", NULL);
    assert_true(percent.count == 7 && fabs(percent.mean - 100 * memory.mean / exp2(40)) < 1e-9);
    assert_true(recent("queue_depth", NULL).max == 7);
    struct sw_monitor_state s;
    sw_monitor_read_state(monitor, &s);
    assert_true(s.memory_bytes > 0 && s.cpu_percent >= 0 && s.memory_percent > 0 && s.queue_depth == 7);
    json_t *names = sw_monitor_metric_names(monitor);
    assert_int_equal(json_array_size(names), 4);
    assert_string_equal(json_string_value(json_array_get(names, 0)), "cpu_percent");
    json_decref(names);
}

static void clients_log_all_or_nothing(void **state) {
    struct sw_error err;
    monitor = create("here:1", NULL, NULL);
    struct sw_logged points[] = {
        {.name = "orders", .value = 3, .labels = {{"shop", "a"}}, .label_count = 1},
        {.name = "orders", .value = 5, .labels = {{"shop", "b"}}, .label_count = 1},
        {.name = "orders", .value = 7, .time_ms = now() - 5 * MINUTE},
    };
    assert_int_equal(sw_monitor_log(monitor, points, 3, &err), SW_OK);
    struct sw_summary s = recent("orders", NULL);
    assert_true(s.count == 3 && s.sum == 15);
    static const struct {
        double value;
        int64_t time_offset_ms;
        const char *says;
    } bad[] = {
        {NAN, 0, "metrics[2]: the value of 'orders'"}, {INFINITY, 0, "metrics[2]: the value"},
        {-1e19, 0, "metrics[2]: the value"},           {1, 61 * 1000, "in the future"},
        {1, -(int64_t)(7 * 24 * HOUR), "too old"},
    };
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        points[2].value = bad[i].value;
        points[2].time_ms = bad[i].time_offset_ms ? (uint64_t)((int64_t)now() + bad[i].time_offset_ms) : 0;
        assert_int_equal(sw_monitor_log(monitor, points, 3, &err), SW_E_UNPROCESSABLE);
        assert_non_null(strstr(err.message, bad[i].says));
    }
    assert_int_equal(recent("orders", NULL).count, 3); /* nothing of a bad batch */
    points[2] = (struct sw_logged){.name = "orders", .value = 1, .time_ms = now() + 60 * 1000};
    assert_int_equal(sw_monitor_log(monitor, points, 3, &err), SW_OK); /* clocks differ a little */
}

static void more_series_than_there_may_be(void **state) {
    struct sw_error err;
    char names[SW_CLIENT_TRACKS_MAX + 1][16];
    struct sw_logged points[SW_CLIENT_TRACKS_MAX + 1];
    monitor = create("here:1", NULL, NULL);
    for (size_t i = 0; i <= SW_CLIENT_TRACKS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "m%zu", i);
        points[i] = (struct sw_logged){.name = names[i], .value = 1};
    }
    assert_int_equal(sw_monitor_log(monitor, points, SW_CLIENT_TRACKS_MAX + 1, &err), SW_E_UNPROCESSABLE);
    assert_non_null(strstr(err.message, "metrics[256]: 256 series"));
    assert_int_equal(recent("m0", NULL).count, 0);
    run_for(MINUTE); /* what was made for nothing is gone */
    assert_int_equal(sw_monitor_log(monitor, points + 1, SW_CLIENT_TRACKS_MAX, &err), SW_OK);
    assert_int_equal(recent("m256", NULL).count, 1);
}

static json_t *alerts_of(struct sw_alert_filter filter) {
    json_t *answer_json;
    struct sw_error err;
    filter.limit = 100;
    if (sw_monitor_alerts(monitor, &filter, &answer_json, &err)) {
        fail_msg("%s", err.message);
    }
    return answer_json;
}

/* The newest one's text at a, or a.b; "null" when there is none. */
static const char *newest(const char *a, const char *b) {
    static char text[256];
    json_t *all = alerts_of((struct sw_alert_filter){0});
    const json_t *value = json_object_get(json_array_get(json_object_get(all, "alerts"), 0), a);
    value = b ? json_object_get(value, b) : value;
    snprintf(text, sizeof text, "%s", json_string_value(value) ? json_string_value(value) : "null");
    json_decref(all);
    return text;
}

/* An inference of 500 ms every ten seconds, until it fires. */
static void make_it_fire(void) {
    for (int i = 0; i < 7; i++) {
        infer("digits", 500);
        run_for(SW_MONITOR_TICK_MS);
    }
    assert_string_equal(newest("state", NULL), "firing");
}

static void wait_for(atomic_int *counter, int wanted) {
    while (atomic_load(counter) < wanted) {
        sched_yield();
    }
}

static bool scraped(const char *line) {
    struct sw_buf out;
    sw_buf_init(&out, 1 << 20);
    sw_metrics_write(metrics, &out);
    bool found = strstr(out.data, line);
    sw_buf_deinit(&out);
    return found;
}

static void an_alert_from_rule_to_receiver(void **state) {
    struct sw_error err;
    monitor = create("here:1", HOT, "http://receiver/");
    assert_int_equal(sw_monitor_start(monitor, &err), SW_OK);
    assert_true(scraped("slipway_alerts_firing{alert=\"Slow\",severity=\"warning\"} 0\n"));
    make_it_fire();
    wait_for(&notified[0], 1);
    assert_true(scraped("slipway_alerts_firing{alert=\"Slow\",severity=\"warning\"} 1\n"));
    while (strcmp(newest("delivery", "state"), "delivered") != 0) {
        sched_yield();
    }
    assert_true(scraped("slipway_alert_notifications_total{result=\"delivered\"} 1\n"));
    assert_string_equal(newest("message", NULL), "latency_max_ms of model digits is 500, above 100 for 60s.");
    infer("digits", 1);
    run_for(13 * MINUTE); /* nothing more comes: unknown, then over */
    wait_for(&notified[1], 1);
    assert_string_equal(newest("state", NULL), "resolved");
    assert_string_equal(newest("resolved_reason", NULL), "no data");
    struct sw_monitor_state s;
    sw_monitor_read_state(monitor, &s);
    assert_true(s.firing == 0 && s.pending == 0);
}

static void gauges_of_models(void **state) {
    monitor = create("here:1", NULL, NULL);
    struct sw_recorder *recorder = sw_monitor_recorder(monitor, "digits", "1");
    sw_recorder_predictions_f64(recorder, (const double[]){0.25, 0.75}, 2);
    sw_recorder_verdicts(recorder, (const uint8_t[]){1, 0, 0, 0}, 4);
    assert_true(scraped("slipway_prediction_stddev{model=\"digits\"} 0.25\n"));
    assert_true(scraped("slipway_positive_rate{model=\"digits\"} 0.25\n"));
    assert_true(scraped("slipway_memory_limit_bytes 1099511627776\n"));
    assert_true(scraped("slipway_cpu_limit_cores "));
    pass(3 * MINUTE);
    assert_false(scraped("slipway_positive_rate{")); /* of nothing there is no rate */
}

static void in_memory_without_a_store(void **state) {
    struct sw_error err;
    json_t *json;
    monitor = create("here:1", HOT, NULL);
    make_it_fire();
    char id[SW_ALERT_ID_MAX];
    snprintf(id, sizeof id, "%s", newest("id", NULL));
    assert_string_equal(newest("delivery", "state"), "none");
    assert_int_equal(sw_monitor_acknowledge(monitor, id, "me", "seen", &tester, &json, &err), SW_OK);
    assert_string_equal(json_string_value(json_object_get(json_object_get(json, "acknowledged"), "by")), "me");
    json_decref(json);
    assert_int_equal(sw_monitor_acknowledge(monitor, id, "me", NULL, &tester, &json, &err), SW_E_CONFLICT);
    assert_int_equal(sw_monitor_acknowledge(monitor, "x", "me", NULL, &tester, &json, &err), SW_E_NOT_FOUND);
    assert_int_equal(sw_monitor_test_alert(monitor, SW_SEVERITY_INFO, "hello", &tester, &json, &err), SW_OK);
    assert_true(json_is_true(json_object_get(json, "test")));
    json_decref(json);
    assert_string_equal(newest("name", NULL), "TestAlert");
    json = alerts_of((struct sw_alert_filter){.has_state = true, .state = SW_ALERT_FIRING});
    assert_int_equal(json_array_size(json_object_get(json, "alerts")), 2);
    assert_true(json_is_true(json_object_get(json, "complete")));
    json_decref(json);
    sw_monitor_keep(monitor, true); /* does nothing */
}

/* Requests, clients, questions and scrapes at once, with the threads of the monitor. */
enum { WRITERS = 3, ROUNDS = 2000 };
static atomic_int writers;

static void *write_and_log(void *arg) {
    struct sw_recorder *recorder = sw_monitor_recorder(monitor, "digits", "1");
    struct sw_error err;
    for (int i = 0; i < ROUNDS; i++) {
        sw_recorder_success(recorder, 1000000);
        if (i % 10 == 0) {
            struct sw_logged point = {.name = "orders", .value = 1};
            assert_int_equal(sw_monitor_log(monitor, &point, 1, &err), SW_OK);
        }
    }
    atomic_fetch_sub(&writers, 1);
    return NULL;
}

static void all_at_once(void **state) {
    struct sw_error err;
    pthread_t threads[WRITERS];
    monitor = create("here:1", HOT, "http://receiver/");
    assert_int_equal(sw_monitor_start(monitor, &err), SW_OK);
    atomic_store(&writers, WRITERS);
    for (size_t i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, write_and_log, NULL), 0);
    }
    while (atomic_load(&writers) > 0) {
        recent("latency_ms", NULL);
        sw_monitor_tick(monitor);
        assert_true(scraped("slipway_monitoring_series "));
        json_decref(sw_monitor_rules(monitor));
    }
    for (size_t i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(recent("latency_ms", NULL).count, WRITERS * ROUNDS);
    assert_int_equal(recent("orders", NULL).count, WRITERS * ROUNDS / 10);
}

/* ---- with a store */

static void attach(struct fixture *f, const char *instance, const char *rules, const char *webhook) {
    monitor = create(instance, rules, webhook);
    sw_monitor_attach_store(monitor, f->store);
}

/* As a new process does, in metrics of its own: those of the old one are asked no more. */
static void restart(struct fixture *f, const char *instance, const char *rules, const char *webhook) {
    sw_monitor_destroy(monitor);
    sw_metrics_destroy(metrics);
    metrics = sw_metrics_create();
    attach(f, instance, rules, webhook);
}

static void a_restart_brings_points_back(void **state) {
    struct fixture *f = *state;
    struct sw_error err;
    attach(f, "one", NULL, NULL);
    sw_monitor_keep(monitor, false);
    for (int i = 0; i < 30; i++) {
        infer("digits", (uint64_t)i + 1);
        sw_recorder_failure(sw_monitor_recorder(monitor, "digits", "1"), SW_FAILURE_CLIENT);
        struct sw_logged point = {
            .name = "orders", .value = i, .labels = {{"shop", "\"a\" \xc3\xa9"}}, .label_count = 1};
        assert_int_equal(sw_monitor_log(monitor, &point, 1, &err), SW_OK);
        run_for(SW_MONITOR_TICK_MS);
    }
    struct sw_summary latency = recent("latency_ms", NULL), orders = recent("orders", NULL);
    assert_true(latency.count == 30 && orders.count == 30);
    sw_monitor_keep(monitor, true);
    restart(f, "one", NULL, NULL);
    assert_int_equal(recent("latency_ms", NULL).count, 0); /* not read yet */
    infer("digits", 1000);
    sw_monitor_keep(monitor, false);
    struct sw_summary after = recent("latency_ms", "digits");
    assert_int_equal(after.count, 31);
    assert_true(after.min == 1 && after.max == 1000 && fabs(after.sum - latency.sum - 1000) < 1e-6);
    assert_int_equal(after.failures[SW_FAILURE_CLIENT], 30);
    assert_true(fabs(after.p50 - 16) <= 16 / 64.0);
    after = recent("orders", NULL);
    assert_true(after.count == 30 && after.sum == orders.sum);
    /* Again: what was added is stored, and nothing is counted twice. */
    sw_monitor_keep(monitor, true);
    restart(f, "one", NULL, NULL);
    sw_monitor_keep(monitor, false);
    assert_int_equal(recent("latency_ms", NULL).count, 31);
    restart(f, "two", NULL, NULL); /* another server has its own */
    sw_monitor_keep(monitor, false);
    assert_int_equal(recent("latency_ms", NULL).count, 0);
}

/* A process that dies has what was written at the last full minute. */
static void what_dies_has_what_was_kept(void **state) {
    struct fixture *f = *state;
    attach(f, "one", NULL, NULL);
    sw_monitor_keep(monitor, false);
    infer("digits", 1);
    sw_monitor_keep(monitor, false); /* not due */
    assert_int_equal(ask_int(f, "SELECT count(*) FROM monitoring_points WHERE metric = 'latency_ms'"), 0);
    pass(SW_MONITOR_KEEP_MS);
    sw_monitor_keep(monitor, false);
    assert_int_equal(ask_int(f, "SELECT count(*) FROM monitoring_points WHERE metric = 'latency_ms'"), 2);
    infer("digits", 1); /* lost */
    int64_t revision = ask_int(f, "SELECT revision FROM store_state");
    restart(f, "one", NULL, NULL);
    sw_monitor_keep(monitor, false);
    assert_int_equal(recent("latency_ms", NULL).count, 1);
    assert_int_equal(ask_int(f, "SELECT revision FROM store_state"), revision); /* reading writes nothing */
}

static void a_week_over_restarts(void **state) {
    struct fixture *f = *state;
    attach(f, "one", NULL, NULL);
    for (int hour = 0; hour < 8 * 24; hour++) {
        infer("digits", 10);
        pass(HOUR);
        sw_monitor_tick(monitor);
        sw_monitor_keep(monitor, hour % 24 == 23);
        if (hour % 48 == 47) {
            restart(f, "one", NULL, NULL);
            sw_monitor_keep(monitor, false);
        }
    }
    struct sw_query week = {.metric = "latency_ms",
                            .from_ms = now() / SW_COARSE_MS * SW_COARSE_MS + SW_COARSE_MS - SW_HISTORY_MS,
                            .step_ms = SW_HISTORY_MS,
                            .step_count = 1};
    struct sw_summary total;
    size_t tracks;
    uint64_t since_ms;
    check(sw_monitor_query(monitor, &week, NULL, &total, &tracks, &since_ms, &f->err));
    assert_in_range(total.count, 7 * 24 - 1, 7 * 24 + 1);
    assert_true(since_ms > 0 && since_ms >= now() - SW_HISTORY_MS - HOUR);
    /* The store does not grow either: a day of minutes and a week of ten minutes. */
    int64_t fine = ask_int(f, "SELECT count(*) FROM monitoring_points WHERE span_ms = 60000 AND metric = 'latency_ms'");
    int64_t coarse = ask_int(f,
                             "SELECT count(*) FROM monitoring_points WHERE span_ms = 600000 AND metric = 'latency_ms'");
    assert_in_range(fine, 20, 26);
    assert_in_range(coarse, 7 * 24 - 6, 7 * 24 + 3);
}

static void damaged_rows_are_left_out(void **state) {
    struct fixture *f = *state;
    attach(f, "one", NULL, NULL);
    sw_monitor_keep(monitor, false);
    infer("digits", 5);
    sw_monitor_keep(monitor, true);
    raw(f,
        "INSERT INTO monitoring_points SELECT instance, span_ms, time_ms, metric, '{', client, count, sum, sum_squares, "
        "min, max, client_errors, rejected, server_errors, histogram FROM monitoring_points;"
        "INSERT INTO monitoring_points SELECT instance, span_ms, time_ms, 'other', labels, client, count, sum, "
        "sum_squares, min, max, client_errors, rejected, server_errors, '9:9 8:8' FROM monitoring_points WHERE "
        "labels <> '{'");
    restart(f, "one", NULL, NULL);
    sw_monitor_keep(monitor, false);
    assert_int_equal(recent("latency_ms", NULL).count, 1);
    assert_int_equal(recent("other", NULL).count, 0);
}

static void an_alert_outlives_a_restart(void **state) {
    struct fixture *f = *state;
    struct sw_error err;
    atomic_store(&answer, 503);
    attach(f, "one", HOT, "http://receiver/");
    make_it_fire();
    char id[SW_ALERT_ID_MAX];
    snprintf(id, sizeof id, "%s", newest("id", NULL));
    assert_int_equal(ask_int(f, "SELECT count(*) FROM alerts WHERE state = 'firing' AND delivery = 'waiting'"), 1);
    restart(f, "one", HOT, "http://receiver/");
    atomic_store(&answer, 200);
    assert_int_equal(sw_monitor_start(monitor, &err), SW_OK);
    sw_monitor_keep(monitor, false);
    wait_for(&notified[0], 1); /* what was not delivered before is now */
    make_it_fire();
    assert_string_equal(newest("id", NULL), id); /* the same one goes on */
    assert_int_equal(ask_int(f, "SELECT count(*) FROM alerts"), 1);
    while (strcmp(newest("delivery", "state"), "delivered") != 0) {
        sched_yield();
    }
    assert_int_equal(atomic_load(&notified[0]), 1);
    /* Without the rule it is over. */
    restart(f, "one", "defaults: false", NULL);
    sw_monitor_keep(monitor, false);
    assert_string_equal(newest("resolved_reason", NULL), "the rule is gone");
    assert_int_equal(ask_int(f, "SELECT count(*) FROM alerts WHERE state = 'resolved'"), 1);
}

static void servers_see_each_others_alerts(void **state) {
    struct fixture *f = *state;
    struct sw_error err;
    json_t *json;
    attach(f, "one", HOT, NULL);
    make_it_fire();
    char id[SW_ALERT_ID_MAX];
    snprintf(id, sizeof id, "%s", newest("id", NULL));
    struct sw_monitor *one = monitor;
    struct sw_metrics *metrics_of_one = metrics;
    metrics = sw_metrics_create();
    attach(f, "two", HOT, NULL);
    assert_string_equal(newest("id", NULL), id);
    assert_string_equal(newest("instance", NULL), "one");
    check(sw_monitor_acknowledge(monitor, id, "the other", NULL, &tester, &json, &f->err));
    json_decref(json);
    sw_monitor_destroy(monitor);
    sw_metrics_destroy(metrics);
    monitor = one;
    metrics = metrics_of_one;
    infer("digits", 1);
    run_for(13 * MINUTE);
    assert_string_equal(newest("state", NULL), "resolved");         /* its course, written over ... */
    assert_string_equal(newest("acknowledged", "by"), "the other"); /* ... leaves that alone */
    assert_int_equal(sw_monitor_acknowledge(monitor, id, "me", NULL, &tester, &json, &err), SW_E_CONFLICT);
    assert_non_null(strstr(err.message, "by the other at 20"));
}

static void acknowledging_is_audited_or_refused(void **state) {
    struct fixture *f = *state;
    struct sw_error err;
    json_t *json;
    attach(f, "one", HOT, NULL);
    make_it_fire();
    char id[SW_ALERT_ID_MAX];
    snprintf(id, sizeof id, "%s", newest("id", NULL));
    assert_int_equal(sw_monitor_acknowledge(monitor, "0123", "me", NULL, &tester, &json, &err), SW_E_NOT_FOUND);
    raw(f, "ALTER TABLE audit RENAME TO audit_away"); /* the log cannot be continued */
    assert_int_not_equal(sw_monitor_acknowledge(monitor, id, "me", "mine", &tester, &json, &err), SW_OK);
    assert_string_equal(newest("acknowledged", "by"), "null");
    assert_int_not_equal(sw_monitor_test_alert(monitor, SW_SEVERITY_INFO, "x", &tester, &json, &err), SW_OK);
    assert_string_equal(newest("id", NULL), id); /* no test alert either */
    raw(f, "ALTER TABLE audit_away RENAME TO audit");
    check(sw_monitor_acknowledge(monitor, id, "me", "mine", &tester, &json, &f->err));
    json_decref(json);
    assert_string_equal(newest("acknowledged", "note"), "mine");
    check(sw_monitor_test_alert(monitor, SW_SEVERITY_INFO, "hello", &tester, &json, &f->err));
    json_decref(json);
    struct sw_audit_filter filter = {.limit = 10};
    json_t *rows;
    check(sw_audit_list(f->store, &filter, &rows, &f->err));
    assert_int_equal(json_array_size(rows), 2);
    const json_t *row = json_array_get(rows, 1);
    char object[SW_ALERT_ID_MAX + 8];
    snprintf(object, sizeof object, "alert/%s", id);
    assert_string_equal(json_string_value(json_object_get(row, "action")), "alert.acknowledge");
    assert_string_equal(json_string_value(json_object_get(row, "object")), object);
    assert_string_equal(json_string_value(json_object_get(row, "actor")), "tester");
    assert_string_equal(json_string_value(json_object_get(row, "request_id")), "req-1");
    assert_true(json_is_null(json_object_get(json_object_get(row, "before"), "acknowledged")));
    assert_true(json_is_object(json_object_get(json_object_get(row, "after"), "acknowledged")));
    assert_string_equal(json_string_value(json_object_get(json_array_get(rows, 0), "action")), "alert.test");
    json_decref(rows);
    struct sw_audit_report report;
    check(sw_audit_verify(f->store, &report, &f->err));
    assert_int_equal(report.fault_seq, 0);
}

static void lists_are_filtered_by_the_store(void **state) {
    struct fixture *f = *state;
    struct sw_error err;
    json_t *json;
    attach(f, "one", HOT, NULL);
    make_it_fire();
    check(sw_monitor_test_alert(monitor, SW_SEVERITY_CRITICAL, "hello", &tester, &json, &f->err));
    json_decref(json);
    static const struct {
        struct sw_alert_filter filter;
        size_t count;
    } cases[] = {
        {{0}, 2},
        {{.has_state = true, .state = SW_ALERT_FIRING}, 2},
        {{.has_state = true, .state = SW_ALERT_RESOLVED}, 0},
        {{.has_state = true, .state = SW_ALERT_PENDING}, 0},
        {{.has_severity = true, .severity = SW_SEVERITY_CRITICAL}, 1},
        {{.has_severity = true, .severity = SW_SEVERITY_INFO}, 0},
        {{.since_ms = T0 + 10 * HOUR}, 0},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        json = alerts_of(cases[i].filter);
        assert_int_equal(json_array_size(json_object_get(json, "alerts")), cases[i].count);
        assert_true(json_is_true(json_object_get(json, "complete")));
        json_decref(json);
    }
    struct sw_alert_filter one = {.limit = 1};
    assert_int_equal(sw_monitor_alerts(monitor, &one, &json, &err), SW_OK);
    assert_int_equal(json_array_size(json_object_get(json, "alerts")), 1);
    json_decref(json);
    /* Old ones go, but not what fires. */
    pass(40 * 24 * HOUR);
    sw_monitor_keep(monitor, true);
    assert_int_equal(ask_int(f, "SELECT count(*) FROM alerts"), 2);
    sw_monitor_tick(monitor); /* the test is over, long ago, and of the model nothing was heard since */
    pass(HOUR);
    sw_monitor_keep(monitor, true);
    assert_int_equal(ask_int(f, "SELECT count(*) FROM alerts"), 0);
}

/* The database goes away and comes back: alerts fire from memory, the answer says so, and nothing is lost. */
static void an_outage_of_the_store(void **state) {
    struct fixture *f = *state;
    json_t *json;
    struct sw_error err;
    attach(f, "one", HOT, NULL);
    sw_monitor_keep(monitor, false);
    raw(f, "ALTER TABLE alerts RENAME TO alerts_away; ALTER TABLE monitoring_points RENAME TO points_away");
    make_it_fire();
    json = alerts_of((struct sw_alert_filter){0});
    assert_int_equal(json_array_size(json_object_get(json, "alerts")), 1);
    assert_true(json_is_false(json_object_get(json, "complete")));
    assert_true(json_is_string(json_object_get(json, "reason")));
    json_decref(json);
    char id[SW_ALERT_ID_MAX];
    snprintf(id, sizeof id, "%s", newest("id", NULL));
    assert_int_not_equal(sw_monitor_acknowledge(monitor, id, "me", NULL, &tester, &json, &err), SW_OK);
    sw_monitor_keep(monitor, true);
    raw(f, "ALTER TABLE alerts_away RENAME TO alerts; ALTER TABLE points_away RENAME TO monitoring_points");
    check(sw_monitor_acknowledge(monitor, id, "me", NULL, &tester, &json, &f->err)); /* the store had never seen it */
    json_decref(json);
    sw_monitor_keep(monitor, true);
    assert_int_equal(ask_int(f, "SELECT count(*) FROM alerts WHERE acknowledged_by = 'me'"), 1);
    assert_int_equal(
        ask_int(f, "SELECT sum(count) FROM monitoring_points WHERE metric = 'latency_ms' AND span_ms = 60000"), 7);
}

static void a_store_that_was_never_there(void **state) {
    struct sw_store_options options;
    struct sw_store *store;
    struct sw_error err;
    sw_store_options_default(&options);
    options.url = "postgresql://nobody@127.0.0.1:1/none?connect_timeout=1";
    assert_int_equal(sw_store_open(&options, &store, &err), SW_OK);
    monitor = create("here:1", HOT, NULL);
    sw_monitor_attach_store(monitor, store);
    make_it_fire();
    json_t *json = alerts_of((struct sw_alert_filter){0});
    assert_true(json_is_false(json_object_get(json, "complete")));
    json_decref(json);
    sw_monitor_keep(monitor, true);
    assert_int_equal(recent("latency_ms", NULL).count, 7); /* answers go on */
    assert_int_equal(sw_monitor_acknowledge(monitor, newest("id", NULL), "me", NULL, &tester, &json, &err),
                     SW_E_UNAVAILABLE);
    sw_monitor_destroy(monitor);
    monitor = NULL;
    sw_store_close(store);
}

int main(void) {
#define ALONE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define STORED(name) cmocka_unit_test_setup_teardown(name, setup_store, teardown_store)
    const struct CMUnitTest tests[] = {
        ALONE(measures_what_recorders_count),    ALONE(samples_the_process),
        ALONE(clients_log_all_or_nothing),       ALONE(more_series_than_there_may_be),
        ALONE(an_alert_from_rule_to_receiver),   ALONE(gauges_of_models),
        ALONE(in_memory_without_a_store),        ALONE(all_at_once),
        ALONE(a_store_that_was_never_there),     STORED(a_restart_brings_points_back),
        STORED(what_dies_has_what_was_kept),     STORED(a_week_over_restarts),
        STORED(damaged_rows_are_left_out),       STORED(an_alert_outlives_a_restart),
        STORED(servers_see_each_others_alerts),  STORED(acknowledging_is_audited_or_refused),
        STORED(lists_are_filtered_by_the_store), STORED(an_outage_of_the_store),
    };
    return cmocka_run_group_tests_name("observe/monitor", tests, NULL, NULL);
}
