/* The monitoring API: statistics of what was inferred and logged, alerts, health, in the shape of its own errors; with a
 * registry, without one, and switched off. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/memory.h"
#include "harness.h"
#include "models.h"

#define RUN(cases) harness_expect((cases), sizeof(cases) / sizeof((cases)[0]))
#define M "/monitoring/v1"
#define STATS M "/metrics/stats"
#define LOG M "/metrics/log"
#define ROW "{\"instances\":[[1,2,3,4]]}"
#define THRESHOLD "model: model.fake.json\noutput:\n  threshold: 100\n"
#define RULES                                                                     \
    "defaults: false\nrules:\n"                                                   \
    "  - {name: Big, metric: prediction_mean, above: 1000, severity: critical}\n" \
    "  - {name: Orders, metric: orders, statistic: sum, above: 10, for: 1h}\n"

#define MODEL_PAIR MODEL(TENSOR("x", "FP32", "[\"N\", 2]"), TENSOR("y", "FP32", "[\"N\", 2]"), "\"op\": \"identity\"")

static int teardown(void **state) {
    harness_stop();
    return 0;
}

static int plain(void **state) {
    harness_start(&(struct harness_options){.registry_reason = "it is switched off", .rules = RULES});
    harness_model("sum", MODEL_SUM, true);
    return 0;
}

static int with_registry(void **state) {
    harness_start(&(struct harness_options){.registry = true, .rules = RULES});
    harness_model("sum", MODEL_SUM, true);
    return 0;
}

static json_t *get(const char *path) {
    struct answer a = harness_get(path);
    if (a.status != 200) {
        fail_msg("%s: %d %s", path, a.status, a.body);
    }
    return harness_json(&a);
}

static double number(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static const char *text(const json_t *object, const char *key) {
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : "null";
}

static void predict(const char *path, const char *body, int status) {
    struct answer a = harness_post(path, body);
    if (a.status != status) {
        fail_msg("%s: %d %s", path, a.status, a.body);
    }
}

/* ---- statistics */

static void inferences_become_statistics(void **state) {
    harness_bundle("judge", THRESHOLD, MODEL_SUM, true);
    for (int i = 0; i < 5; i++) {
        predict("/v1/models/sum:predict", ROW, 200);
    }
    predict("/v1/models/judge:predict", "{\"instances\":[[100,0,0,1],[1,2,3,4]]}", 200);
    predict("/v1/models/sum:predict", "{\"instances\":[[1]]}", 400);
    json_t *doc = get(STATS "?model=sum"), *total = json_object_get(doc, "total");
    assert_string_equal(text(doc, "metric"), "latency_ms");
    assert_string_equal(text(doc, "model"), "sum");
    assert_string_equal(text(doc, "window"), "1h");
    assert_string_equal(text(doc, "granularity"), "1m");
    assert_int_equal(json_array_size(json_object_get(doc, "points")), 60);
    assert_true(number(doc, "series") == 1);
    assert_true(number(total, "count") == 5 && number(total, "requests") == 6);
    assert_true(number(json_object_get(total, "errors"), "client") == 1 && number(total, "error_rate") == 0);
    assert_true(number(total, "min") > 0 && number(total, "min") <= number(total, "p50"));
    assert_true(number(total, "p50") <= number(total, "p95") && number(total, "p95") <= number(total, "p99"));
    assert_true(number(total, "p99") <= number(total, "max") && number(total, "rps") > 0);
    json_decref(doc);
    doc = get(STATS); /* all models */
    assert_true(number(json_object_get(doc, "total"), "requests") == 7 && number(doc, "series") == 2);
    assert_true(json_is_null(json_object_get(doc, "model")));
    double counted = 0;
    size_t i;
    json_t *point;
    json_array_foreach(json_object_get(doc, "points"), i, point) {
        counted += number(point, "count");
    }
    assert_true(counted == 6);
    json_decref(doc);
    doc = get(STATS "?metric=prediction&model=sum&version=1");
    total = json_object_get(doc, "total");
    assert_true(number(total, "count") == 5 && number(total, "mean") == 10 && number(total, "std") == 0);
    assert_null(json_object_get(total, "errors"));
    assert_true(json_is_null(json_object_get(total, "error_rate")));
    json_decref(doc);
    doc = get(STATS "?metric=verdict&window=24h&granularity=1h");
    total = json_object_get(doc, "total");
    assert_true(number(total, "count") == 2 && number(total, "mean") == 0.5);
    assert_int_equal(json_array_size(json_object_get(doc, "points")), 24);
    json_decref(doc);
}

/* The calibrated probability, not the score it was made of; and of a classifier nothing, whose best score is no prediction. */
static void which_output_is_the_prediction(void **state) {
    static const char calibrated[] =
        "model: model.fake.json\noutput:\n  calibrate: { file: calibration.json, tensor: y, name: p }\n  threshold: { value: "
        "0.5, tensor: p }\n";
    static const char labelled[] = "model: model.fake.json\noutput:\n  labels: [a, b]\n";
    struct sw_error err;
    harness_bundle("calibrated", calibrated, MODEL_SUM, false);
    harness_write("calibrated/calibration.json", "{\"method\":\"isotonic\",\"x\":[0,100],\"y\":[0,1]}");
    assert_int_equal(sw_repository_load_wait(harness_repository, SW_STR("calibrated"), &err), SW_OK);
    harness_bundle("labelled", labelled, MODEL_PAIR, true);
    predict("/v1/models/calibrated:predict", "{\"instances\":[[10,0,0,0],[90,0,0,0]]}", 200);
    predict("/v1/models/labelled:predict", "{\"instances\":[[0.25,0.75]]}", 200);
    json_t *doc = get(STATS "?metric=prediction&model=calibrated"), *total = json_object_get(doc, "total");
    assert_true(number(total, "count") == 2 && fabs(number(total, "mean") - 0.5) < 1e-6);
    assert_true(fabs(number(total, "min") - 0.1) < 1e-6 && fabs(number(total, "std") - 0.4) < 1e-6);
    json_decref(doc);
    doc = get(STATS "?metric=verdict&model=calibrated");
    assert_true(number(json_object_get(doc, "total"), "mean") == 0.5);
    json_decref(doc);
    doc = get(STATS "?metric=prediction&model=labelled");
    assert_true(number(doc, "series") == 0);
    json_decref(doc);
}

static void windows_and_granularities(void **state) {
    static const struct {
        const char *query;
        size_t points;
    } good[] = {
        {"", 60},
        {"?window=1h&granularity=5m", 12},
        {"?window=1h&granularity=10m", 6},
        {"?window=1h&granularity=1h", 1},
        {"?window=6h", 72},
        {"?window=6h&granularity=1m", 360},
        {"?window=24h", 144},
        {"?window=24h&granularity=1m", 1440},
        {"?window=7d", 168},
        {"?window=7d&granularity=10m", 1008},
        {"?window=7d&granularity=24h", 7},
    };
    char path[128];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        snprintf(path, sizeof path, STATS "%s", good[i].query);
        json_t *doc = get(path);
        assert_int_equal(json_array_size(json_object_get(doc, "points")), good[i].points);
        json_decref(doc);
    }
    static const struct expectation bad[] = {
        {STATS "?window=2h", NULL, 400,
         "\"details\":{\"argument\":\"window\",\"allowed\":[\"1h\",\"6h\",\"24h\",\"7d\"]}"},
        {STATS "?window=", NULL, 400, "'window' is ''"},
        {STATS "?window=7d&granularity=1m", NULL, 400, "\"allowed\":[\"10m\",\"1h\",\"6h\",\"24h\"]"},
        {STATS "?window=1h&granularity=6h", NULL, 400, "\"allowed\":[\"1m\",\"5m\",\"10m\",\"1h\"]"},
        {STATS "?granularity=7m", NULL, 400, "'granularity' is '7m'"},
        {STATS "?metric=none", NULL, 404, "\"details\":{\"metrics\":["},
        {STATS "?model=none", NULL, 404, "model 'none' is not known"},
        {STATS "?model=sum", NULL, 200, "\"series\":0"}, /* quiet so far */
        {STATS "?metric=cpu_percent", NULL, 200, "\"count\":0"},
        {STATS "?label=x", NULL, 400, "NAME:VALUE"},
        {STATS "?label=1x:y", NULL, 400, "label '1x'"},
        {STATS "?label=a:1&label=b:1&label=c:1&label=d:1&label=e:1&label=f:1&label=g:1&label=h:1&label=i:1", NULL, 400,
         "more than 8 labels"},
        {STATS "?model=%ff", NULL, 400, "not clean UTF-8"},
    };
    RUN(bad);
}

/* ---- logging */

static void clients_log(void **state) {
    static const struct expectation cases[] = {
        {LOG,
         "{\"metrics\":[{\"name\":\"orders\",\"value\":3,\"labels\":{\"shop\":\"a\"}},{\"name\":\"orders\",\"value\":4."
         "5,\"labels\":{\"shop\":\"b\",\"lang\":\"d\xc3\xa9\"}},{\"name\":\"orders\",\"value\":-1,\"timestamp\":null}]}",
         200, "{\"accepted\":3}"},
        {STATS "?metric=orders", NULL, 200, "\"series\":3,\"total\":{\"count\":3,"},
        {STATS "?metric=orders&label=shop:b", NULL, 200, "\"series\":1,\"total\":{\"count\":1,\"mean\":4.5,"},
        {STATS "?metric=orders&label=shop:b&label=lang:d%C3%A9", NULL, 200, "\"series\":1,"},
        {STATS "?metric=orders&label=shop:c", NULL, 200, "\"series\":0,\"total\":{\"count\":0,\"mean\":null,"},
        {STATS, NULL, 200, "\"metrics\":[\"orders\"]"},
    };
    RUN(cases);
}

#define ONE(members) "{\"metrics\":[{\"name\":\"ok\",\"value\":1},{" members "}]}"

static void bad_logs_are_refused_whole(void **state) {
    static const struct expectation cases[] = {
        {LOG, "", 400, "the body is not JSON"},
        {LOG, "[]", 400, "must be a JSON object"},
        {LOG, "{}", 400, "'metrics' is missing"},
        {LOG, "{\"metrics\":{}}", 400, "'metrics' must be a list"},
        {LOG, "{\"metrics\":[]}", 400, "'metrics' has 0 values"},
        {LOG, "{\"metrics\":[1]}", 400, "metrics[0]: must be an object"},
        {LOG, "{\"metrics\":[],\"more\":1}", 400, "'more' is not a field"},
        {LOG, ONE("\"value\":1"), 400, "metrics[1]: 'name' is missing"},
        {LOG, ONE("\"name\":\"a\""), 400, "metrics[1]: 'value' is missing"},
        {LOG, ONE("\"name\":\"a\",\"value\":\"1\""), 400, "metrics[1]: 'value' must be a number"},
        {LOG, ONE("\"name\":\"a\",\"value\":null"), 400, "metrics[1]: 'value' must be a number"},
        {LOG, ONE("\"name\":\"a b\",\"value\":1"), 400, "metrics[1]: 'name' is 'a b'"},
        {LOG, ONE("\"name\":\"latency_ms\",\"value\":1"), 400, "no metric that the server measures itself"},
        {LOG, ONE("\"name\":\"a\",\"value\":1,\"x\":1"), 400, "metrics[1]: 'x' is not a field"},
        {LOG, ONE("\"name\":\"a\",\"value\":1e300"), 422, "metrics[1]: the value of 'a'"},
        {LOG, ONE("\"name\":\"a\",\"value\":1e999"), 400, "not JSON"},
        {LOG, ONE("\"name\":\"a\",\"value\":NaN"), 400, "not JSON"},
        {LOG, ONE("\"name\":\"a\",\"value\":1,\"timestamp\":\"now\""), 400, "metrics[1]: 'timestamp'"},
        {LOG, ONE("\"name\":\"a\",\"value\":1,\"timestamp\":-5"), 400, "metrics[1]: 'timestamp'"},
        {LOG, ONE("\"name\":\"a\",\"value\":1,\"timestamp\":1.5"), 400, "metrics[1]: 'timestamp'"},
        {LOG, ONE("\"name\":\"a\",\"value\":1,\"timestamp\":\"2020-01-01T00:00:00Z\""), 422, "is too old"},
        {LOG, ONE("\"name\":\"a\",\"value\":1,\"timestamp\":\"9020-01-01T00:00:00Z\""), 422, "is in the future"},
        {LOG, ONE("\"name\":\"a\",\"value\":1,\"labels\":[]"), 400, "metrics[1]: 'labels' must be an object"},
        {LOG, ONE("\"name\":\"a\",\"value\":1,\"labels\":{\"x\":1}"), 400, "metrics[1]: label 'x' must be a text"},
        {LOG, ONE("\"name\":\"a\",\"value\":1,\"labels\":{\"1\":\"x\"}"), 400, "metrics[1]: label '1'"},
        {LOG, ONE("\"name\":\"a\",\"value\":1,\"labels\":{\"\":\"x\"}"), 400, "metrics[1]: label ''"},
        {LOG,
         ONE("\"name\":\"a\",\"value\":1,\"labels\":{\"a\":\"\",\"b\":\"\",\"c\":\"\",\"d\":\"\",\"e\":\"\",\"f\":\"\","
             "\"g\":\"\",\"h\":\"\",\"i\":\"\"}"),
         400, "'labels' has more than 8"},
        {STATS "?metric=ok", NULL, 404, "there are no values"}, /* none of them left anything */
    };
    RUN(cases);
    struct sw_buf many;
    sw_buf_init(&many, 1 << 20);
    sw_buf_printf(&many, "{\"metrics\":[");
    for (int i = 0; i < 1001; i++) {
        sw_buf_printf(&many, "%s{\"name\":\"a\",\"value\":1}", i ? "," : "");
    }
    sw_buf_printf(&many, "]}");
    struct answer a = harness_post(LOG, many.data);
    sw_buf_deinit(&many);
    assert_int_equal(a.status, 400);
    assert_non_null(strstr(a.body, "1 to 1000 are wanted"));
}

/* ---- alerts */

static void fire(void) {
    predict("/v1/models/sum:predict", "{\"instances\":[[5000,0,0,0]]}", 200);
    predict(LOG, "{\"metrics\":[{\"name\":\"orders\",\"value\":11}]}", 200);
    sw_monitor_tick(harness_monitor);
}

static void newest_id(char ret[64]) {
    json_t *doc = get(M "/alerts/recent?limit=1");
    snprintf(ret, 64, "%s", text(json_array_get(json_object_get(doc, "alerts"), 0), "id"));
    json_decref(doc);
}

static void check_alerts(void) {
    char id[64], body[256];
    static const struct expectation before[] = {
        {M "/alerts/recent", NULL, 200, "{\"alerts\":[],\"complete\":true,\"reason\":null}"},
        {M "/alerts/rules", NULL, 200, "\"state\":\"inactive\""},
        {M "/health", NULL, 200, "\"alerts\":{\"firing\":0,\"pending\":0}"},
    };
    RUN(before);
    fire();
    newest_id(id);
    static const struct expectation after[] = {
        {M "/health", NULL, 200, "\"alerts\":{\"firing\":1,\"pending\":1}"},
        {M "/alerts/recent", NULL, 200, "\"message\":\"prediction_mean of model sum is 5000, above 1000.\""},
        {M "/alerts/recent?state=firing&severity=critical&since=2001-01-01T00:00:00Z", NULL, 200, "\"name\":\"Big\""},
        {M "/alerts/recent?state=pending", NULL, 200, "\"name\":\"Orders\""},
        {M "/alerts/recent?state=resolved", NULL, 200, "\"alerts\":[]"},
        {M "/alerts/recent?severity=info", NULL, 200, "\"alerts\":[]"},
        {M "/alerts/recent?since=9001-01-01T00:00:00Z", NULL, 200, "\"alerts\":[]"},
        {M "/alerts/rules", NULL, 200, "\"firing_models\":[\"sum\"]"},
        {"/metrics", NULL, 200, "slipway_alerts_firing{alert=\"Big\",severity=\"critical\"} 1\n"},
        {M "/alerts/recent?limit=0", NULL, 400, "'limit'"},
        {M "/alerts/recent?limit=1001", NULL, 400, "'limit'"},
        {M "/alerts/recent?state=open", NULL, 400, "pending, firing or resolved"},
        {M "/alerts/recent?severity=page", NULL, 400, "info, warning or critical"},
        {M "/alerts/recent?since=yesterday", NULL, 400, "'since'"},
        {M "/alerts/acknowledge", "{}", 400, "'alert_id' is missing"},
        {M "/alerts/acknowledge", "{\"alert_id\":1}", 400, "'alert_id' must be a text"},
        {M "/alerts/acknowledge", "{\"alert_id\":\"x\"}", 404, "there is no alert 'x'"},
        {M "/alerts/acknowledge", "{\"alert_id\":\"x\",\"more\":1}", 400, "'more' is not a field"},
    };
    RUN(after);
    snprintf(body, sizeof body, "{\"alert_id\":\"%s\",\"acknowledged_by\":\"ann\",\"note\":\"on it\"}", id);
    struct answer a = harness_post(M "/alerts/acknowledge", body);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "\"by\":\"ann\",\"note\":\"on it\"}"));
    a = harness_post(M "/alerts/acknowledge", body);
    assert_int_equal(a.status, 409);
    assert_non_null(strstr(a.body, "was acknowledged already, by ann at "));
    a = harness_get(M "/alerts/recent");
    assert_non_null(strstr(a.body, "\"by\":\"ann\""));
}

static void alerts_in_memory(void **state) {
    check_alerts();
}

static void alerts_in_the_store(void **state) {
    check_alerts();
    struct answer a = harness_get("/api/v1/audit?action=alert.acknowledge");
    assert_non_null(strstr(a.body, "\"action\":\"alert.acknowledge\",\"object\":\"alert/"));
    assert_non_null(strstr(a.body, "\"actor\":\"anonymous\""));
    assert_non_null(strstr(a.body, "\"reason\":\"on it\""));
}

static void test_alerts(void **state) {
    static const struct expectation cases[] = {
        {M "/alerts/test", "{\"severity\":\"page\"}", 400, "'severity' is 'page'"},
        {M "/alerts/test", "{\"severity\":1}", 400, "'severity' must be a text"},
        {M "/alerts/test", "", 201, "\"severity\":\"warning\""},
        {M "/alerts/test", "{\"severity\":\"critical\",\"message\":\"hello\"}", 201, "\"message\":\"hello\""},
        {M "/alerts/recent?severity=critical", NULL, 200, "\"test\":true"},
        {M "/alerts/test", "{}", 201, "\"delivery\":{\"state\":\"none\""},
        {M "/alerts/test", "{}", 201, "\"state\":\"firing\""},
        {M "/alerts/test", "{}", 429, "4 test alerts fire already"},
    };
    RUN(cases);
}

/* ---- the rest, and the shape of errors */

static void health_and_versions(void **state) {
    static const struct expectation cases[] = {
        {M "/health", NULL, 200, "\"status\":\"ok\""},
        {M "/ready", NULL, 200, "{\"ready\":true}"},
        {M "/live", NULL, 200, "{\"status\":\"live\"}"},
        {M "/models/versions", NULL, 200, "\"name\":\"sum\""},
        {M "/models/versions?model=none", NULL, 404, "\"details\":null"},
        {M "/models/rollback", "{\"model\":\"sum\"}", 409, "served from a file"},
        {M "/models/rollback", "", 503, "there is no registry: it is switched off"},
    };
    RUN(cases);
    sw_monitor_tick(harness_monitor);
    sw_api_set_draining(harness_api);
    struct answer a = harness_get(M "/ready");
    assert_int_equal(a.status, 503);
    assert_non_null(
        strstr(a.body, "\"message\":\"not ready: the server is shutting down\",\"details\":{\"ready\":false}"));
    assert_non_null(harness_header(&a, "Retry-After"));
    a = harness_get(M "/health");
    assert_non_null(strstr(a.body, "\"status\":\"draining\""));
}

static void rollback_as_the_native_route(void **state) {
    int first = harness_push("m", NULL, MODEL_SUM), second = harness_push("m", NULL, MODEL_VECTOR);
    char body[64];
    for (int version = first; version <= second; version++) {
        snprintf(body, sizeof body, "{\"version\":%d,\"allow_breaking\":true}", version);
        predict("/api/v1/models/m/promote", body, 200);
    }
    harness_follow();
    struct answer a = harness_post(M "/models/rollback", "{\"model\":\"m\",\"reason\":\"slow\"}");
    assert_int_equal(a.status, 200);
    assert_string_equal(harness_header(&a, "X-Model-Version"), "1");
    harness_follow();
    a = harness_get(M "/models/versions?model=m");
    assert_non_null(strstr(a.body, "\"current\":1"));
    a = harness_post(M "/models/rollback", "{\"model\":\"m\"}");
    assert_int_equal(a.status, 409);
    assert_non_null(strstr(a.body, "\"timestamp\":\"20"));
}

/* Members in this order, the timestamp in UTC, the request's own id; of routes that there are not as well. */
static void errors_have_their_shape(void **state) {
    static const struct {
        const char *method, *path;
        int status;
        const char *code;
    } cases[] = {
        {"GET", STATS "?window=x", 400, "invalid_argument"},
        {"GET", M "/nothing", 404, "not_found"},
        {"DELETE", STATS, 405, "method_not_allowed"},
        {"POST", M "/models/rollback", 503, "unavailable"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct answer a = harness_send(cases[i].method, cases[i].path, "X-Request-Id: my-id\r\n", NULL, 0);
        json_t *doc = harness_json(&a), *error = json_object_get(doc, "error");
        assert_int_equal(a.status, cases[i].status);
        assert_int_equal(json_object_size(doc), 1);
        assert_int_equal(json_object_size(error), 5);
        assert_string_equal(text(error, "code"), cases[i].code);
        assert_string_equal(text(error, "request_id"), "my-id");
        assert_true(json_is_null(json_object_get(error, "details")) ||
                    json_is_object(json_object_get(error, "details")));
        uint64_t ms;
        assert_true(sw_parse_timestamp(sw_str_of(text(error, "timestamp")), &ms));
        uint64_t now_ms = sw_clock_system()->wall_ms(sw_clock_system());
        assert_in_range(ms, now_ms - 60000, now_ms + 1);
        json_decref(doc);
    }
}

static int switched_off(void **state) {
    harness_start(&(struct harness_options){.registry_reason = "it is switched off", .no_monitor = true});
    harness_model("sum", MODEL_SUM, true);
    return 0;
}

static void without_a_monitor(void **state) {
    static const struct expectation cases[] = {
        {STATS, NULL, 503, "monitoring is switched off (monitoring.enabled)"},
        {LOG, "{\"metrics\":[{\"name\":\"a\",\"value\":1}]}", 503, "monitoring is switched off"},
        {M "/alerts/recent", NULL, 503, "monitoring is switched off"},
        {M "/alerts/test", "{}", 503, "monitoring is switched off"},
        {M "/health", NULL, 200, "\"alerts\":null,\"resources\":null}"},
        {M "/ready", NULL, 200, "{\"ready\":true}"},
        {M "/models/versions", NULL, 200, "\"name\":\"sum\""},
        {"/v1/models/sum:predict", ROW, 200, "[[10]]"},
    };
    RUN(cases);
}

static int database_away(void **state) {
    harness_start(&(struct harness_options){.registry = true,
                                            .store_url = "postgresql://nobody@127.0.0.1:1/none?connect_timeout=1",
                                            .no_serving = true,
                                            .rules = RULES});
    harness_model("sum", MODEL_SUM, true);
    return 0;
}

/* What is known is told, with a word about what is missing; what could not be audited is refused. */
static void with_the_database_away(void **state) {
    char id[64], body[128];
    fire();
    newest_id(id);
    static const struct expectation cases[] = {
        {M "/alerts/recent", NULL, 200, "\"complete\":false,\"reason\":\""},
        {STATS "?metric=prediction", NULL, 200, "\"mean\":5000"},
        {LOG, "{\"metrics\":[{\"name\":\"a\",\"value\":1}]}", 200, "accepted"},
        {M "/alerts/test", "{}", 503, "\"code\":\"unavailable\""},
        {M "/ready", NULL, 200, "\"degraded\":[{\"part\":\"metadata store\""},
    };
    RUN(cases);
    snprintf(body, sizeof body, "{\"alert_id\":\"%s\"}", id);
    assert_int_equal(harness_post(M "/alerts/acknowledge", body).status, 503);
    struct answer a = harness_get(M "/alerts/recent");
    assert_non_null(strstr(a.body, "\"acknowledged\":null"));
}

int main(void) {
#define CASE(name, setup) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(inferences_become_statistics, plain),
        CASE(which_output_is_the_prediction, plain),
        CASE(windows_and_granularities, plain),
        CASE(clients_log, plain),
        CASE(bad_logs_are_refused_whole, plain),
        CASE(alerts_in_memory, plain),
        CASE(alerts_in_the_store, with_registry),
        CASE(test_alerts, plain),
        CASE(test_alerts, with_registry),
        CASE(health_and_versions, plain),
        CASE(rollback_as_the_native_route, with_registry),
        CASE(errors_have_their_shape, plain),
        CASE(without_a_monitor, switched_off),
        CASE(with_the_database_away, database_away),
    };
    return cmocka_run_group_tests_name("api/monitoring", tests, NULL, NULL);
}
