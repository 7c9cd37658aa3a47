/* What does not run models: operations, the repository, statistics, versions; and metrics and readiness around them. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/log.h"
#include "harness.h"
#include "models.h"

#define RUN(cases) harness_expect((cases), sizeof(cases) / sizeof((cases)[0]))
#define SUM "/v1/models/sum:predict"
#define ROW "{\"instances\":[[1,2,3,4]]}"

static int setup(void **state) {
    harness_start(NULL);
    harness_model("sum", MODEL_SUM, true);
    harness_bundle("rated", "model: model.fake.json\nmetadata:\n  accuracy: 0.97\n  false_positive_rate: 0.0005\n",
                   MODEL_SUM, true);
    harness_model("fail", MODEL_FAIL, true);
    return 0;
}

static FILE *access_log_file; /* open until no thread of the server is left that could still write a line */

static int teardown(void **state) {
    harness_stop();
    if (access_log_file) {
        fclose(access_log_file);
    }
    return 0;
}

static json_t *parse(const struct answer *a) {
    json_error_t why;
    json_t *json = json_loadb(a->body, a->body_len, JSON_REJECT_DUPLICATES, &why);
    if (!json) {
        fail_msg("%s: %s", why.text, a->body);
    }
    return json;
}

static void operations(void **state) {
    static const struct expectation cases[] = {
        {"/", NULL, 200, "\"openapi\":\"/openapi.json\""},
        {"/health", NULL, 200, "{\"status\":\"ok\",\"version\":\"" SW_VERSION "\",\"uptime_seconds\":"},
        {"/health", NULL, 200, "{\"name\":\"sum\",\"version\":\"1\",\"state\":\"READY\"}"},
        {"/health/live", NULL, 200, "{\"status\":\"live\"}"},
        {"/health/ready", NULL, 200, "{\"ready\":true}"},
        {"/v2/health/ready", NULL, 200, "{\"ready\":true}"},
        {"/version", NULL, 200, "\"engine_version\":\"1\""},
        {"/nothing", NULL, 404, "\"code\":\"not_found\""},
        {"/v2/nothing", NULL, 404, "{\"error\":\""},
        {"/health", "{}", 405, "method_not_allowed"},
    };
    RUN(cases);
    struct answer a = harness_get("/openapi.json");
    assert_int_equal(a.status, 200);
    json_t *json = parse(&a);
    assert_int_equal(json_object_size(json_object_get(json, "paths")) > 20, 1);
    json_decref(json);
}

static void index_of_models(void **state) {
    harness_model("idle", MODEL_SUM, false);
    static const struct expectation cases[] = {
        {"/v2/repository/index", "", 200,
         "{\"name\":\"idle\",\"version\":\"1\",\"state\":\"UNAVAILABLE\",\"reason\":\""},
        {"/v2/repository/index", "{}", 200, "\"name\":\"idle\""},
        {"/v2/repository/index", "{\"ready\":false,\"more\":[1]}", 200, "\"name\":\"idle\""},
        {"/v2/repository/index", "{\"ready\":1}", 400, "true or false"},
        {"/v2/repository/index", "[]", 400, "object"},
        {"/v2/repository/index", "{} {}", 400, "byte"},
    };
    RUN(cases);
    struct answer a = harness_post("/v2/repository/index", "{\"ready\":true}");
    assert_int_equal(a.status, 200);
    assert_null(strstr(a.body, "idle"));
    assert_non_null(strstr(a.body, "{\"name\":\"sum\",\"version\":\"1\",\"state\":\"READY\",\"reason\":\"\"}"));
}

static void load_and_unload(void **state) {
    harness_model("moves", MODEL_SUM, false);
    harness_model("broken",
                  MODEL(TENSOR("x", "FP32", "[1]"), TENSOR("y", "FP32", "[1]"), "\"load_error\": \"opset 99\""), false);
    static const struct expectation cases[] = {
        {"/v2/models/moves/ready", NULL, 503, NULL},
        {"/v2/repository/models/moves/load", "", 200, "{\"name\":\"moves\",\"state\":\"READY\"}"},
        {"/v2/models/moves/ready", NULL, 200, NULL},
        {"/v1/models/moves:predict", ROW, 200, "[[10]]"},
        {"/v2/repository/models/moves/load", "{\"parameters\":{}}", 200, "READY"},
        {"/v2/repository/models/moves/load", "{\"parameters\":{\"config\":\"{}\"}}", 400, "'config' is not supported"},
        {"/v2/repository/models/moves/load", "{\"x\":1}", 400, "'x' is not supported"},
        {"/v2/repository/models/moves/load", "{", 400, "byte"},
        {"/v2/repository/models/moves/unload", "{\"parameters\":{\"unload_dependents\":true}}", 200, "UNAVAILABLE"},
        {"/v1/models/moves:predict", ROW, 503, "moves"},
        {"/v2/repository/models/moves/unload", "{\"parameters\":{\"x\":true}}", 400, "'x' is not supported"},
        {"/v2/repository/models/none/load", "", 404, "none"},
        {"/v2/repository/models/none/unload", "", 404, "none"},
        {"/v2/repository/models/broken/load", "", 400, "opset 99"},
        {"/v2/repository/index", "", 200, "opset 99"},
        {"/v1/models/broken", NULL, 200, "\"error_code\":\"UNAVAILABLE\",\"error_message\":\""},
    };
    RUN(cases);
}

static uint64_t number_at(const json_t *json, const char *object, const char *key) {
    const json_t *value = json_object_get(json_object_get(json, object), key);
    assert_true(json_is_integer(value));
    return (uint64_t)json_integer_value(value);
}

static void statistics(void **state) {
    harness_model("counted", MODEL_SUM, true);
    static const char path[] = "/v1/models/counted:predict";
    assert_int_equal(harness_post(path, ROW).status, 200);
    assert_int_equal(harness_post(path, "{\"instances\":[[1,2,3,4],[1,2,3,4]]}").status, 200);
    assert_int_equal(harness_post(path, "{\"instances\":[[1]]}").status, 400);
    assert_int_equal(harness_post("/v2/repository/models/counted/load", "").status, 200); /* counts go on */
    assert_int_equal(harness_post(path, ROW).status, 200);

    struct answer a = harness_get("/v2/models/counted/versions/1/stats");
    json_t *json = parse(&a), *list = json_object_get(json, "model_stats"), *stats = json_array_get(list, 0);
    assert_int_equal(json_array_size(list), 1);
    assert_string_equal(json_string_value(json_object_get(stats, "name")), "counted");
    assert_string_equal(json_string_value(json_object_get(stats, "version")), "1");
    assert_int_equal(json_integer_value(json_object_get(stats, "inference_count")), 4);
    assert_int_equal(json_integer_value(json_object_get(stats, "execution_count")), 3);
    assert_true(json_integer_value(json_object_get(stats, "last_inference")) > 1600000000000);
    const json_t *phases = json_object_get(stats, "inference_stats");
    static const struct {
        const char *name;
        uint64_t count;
    } expected[] = {{"success", 3},       {"fail", 1},           {"queue", 3},     {"compute_input", 3},
                    {"compute_infer", 3}, {"compute_output", 3}, {"cache_hit", 0}, {"cache_miss", 0}};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        assert_int_equal(number_at(phases, expected[i].name, "count"), expected[i].count);
        number_at(phases, expected[i].name, "ns");
    }
    assert_true(number_at(phases, "compute_infer", "ns") > 0);
    assert_true(number_at(phases, "success", "ns") >= number_at(phases, "compute_infer", "ns"));
    uint64_t by_size[3] = {0};
    const json_t *batches = json_object_get(stats, "batch_stats");
    for (size_t i = 0; i < json_array_size(batches); i++) {
        const json_t *batch = json_array_get(batches, i);
        size_t size = (size_t)json_integer_value(json_object_get(batch, "batch_size"));
        assert_in_range(size, 1, 2);
        by_size[size] = number_at(batch, "compute_infer", "count");
    }
    assert_int_equal(by_size[1], 2);
    assert_int_equal(by_size[2], 1);
    json_decref(json);

    static const struct expectation cases[] = {
        {"/v2/models/stats", NULL, 200, "{\"name\":\"counted\",\"version\":\"1\","},
        {"/v2/models/counted/stats", NULL, 200, "{\"model_stats\":[{\"name\":\"counted\""},
        {"/v2/models/none/stats", NULL, 404, "none"},
        {"/v2/models/counted/versions/3/stats", NULL, 404, "3"},
    };
    RUN(cases);
}

static void versions(void **state) {
    struct answer a = harness_get("/models/versions?model=rated");
    json_t *json = parse(&a), *models = json_object_get(json, "models"), *model = json_array_get(models, 0);
    assert_int_equal(json_array_size(models), 1);
    assert_int_equal(json_integer_value(json_object_get(model, "current")), 1);
    assert_int_equal(json_array_size(json_object_get(model, "history")), 0);
    const json_t *available = json_array_get(json_object_get(model, "available"), 0);
    assert_int_equal(json_integer_value(json_object_get(available, "version")), 1);
    assert_string_equal(json_string_value(json_object_get(available, "status")), "READY");
    assert_int_equal(json_integer_value(json_object_get(available, "size_bytes")), strlen(MODEL_SUM));
    assert_true(json_real_value(json_object_get(available, "accuracy")) == 0.97);
    assert_true(json_real_value(json_object_get(available, "false_positive_rate")) == 0.0005);
    assert_int_equal(json_string_length(json_object_get(available, "deployed_at")), 24);
    json_decref(json);

    harness_model("asleep", MODEL_SUM, false);
    static const struct expectation cases[] = {
        {"/models/versions", NULL, 200, "\"name\":\"sum\""},
        {"/models/versions?model=sum", NULL, 200, "\"accuracy\":null,\"false_positive_rate\":null}"},
        {"/models/versions?model=asleep", NULL, 200,
         "{\"models\":[{\"name\":\"asleep\",\"current\":null,\"available\":[{"
         "\"version\":1,\"status\":\"UNAVAILABLE\""},
        {"/models/versions?model=asleep", NULL, 200, "\"size_bytes\":null,\"deployed_at\":null,\"load_ms\":null"},
        {"/models/versions?model=none", NULL, 404, "none"},
        {"/models/versions?model=", NULL, 404, "known"},
    };
    RUN(cases);
}

static void metrics(void **state) {
    harness_model("seen", MODEL_SUM, true);
    assert_int_equal(harness_post("/v1/models/seen:predict", ROW).status, 200);
    assert_int_equal(harness_post("/v1/models/seen:predict", ROW).status, 200);
    assert_int_equal(harness_post("/v1/models/seen:predict", "{}").status, 400);
    assert_int_equal(harness_post("/v1/models/unknown-\\\":predict", ROW).status, 404);
    assert_int_equal(harness_get("/no/such/route").status, 404);
    static const char *const lines[] = {
        "\nhttp_requests_total{method=\"POST\",route=\"/v1/models/{model}:predict\",status=\"200\",model=\"seen\","
        "version=\"1\"} 2\n",
        "\nhttp_requests_total{method=\"POST\",route=\"/v1/models/{model}:predict\",status=\"400\",model=\"seen\","
        "version=\"1\"} 1\n",
        "http_requests_total{method=\"POST\",route=\"/v1/models/{model}:predict\",status=\"404\",model=\"\",version=\"\"} ",
        "http_requests_total{method=\"GET\",route=\"none\",status=\"404\",model=\"\",version=\"\"} ",
        "\nslipway_inference_duration_seconds_count{model=\"seen\",version=\"1\",phase=\"run\"} 2\n",
        "\nslipway_inference_duration_seconds_count{model=\"seen\",version=\"1\",phase=\"queue\"} 2\n",
        "\nslipway_inference_failures_total{model=\"seen\",version=\"1\",reason=\"invalid_argument\"} 1\n",
        "\nslipway_model_ready{model=\"seen\",version=\"1\"} 1\n",
        "\nslipway_http_connections ",
        "\nslipway_models_loaded ",
        "\nprocess_resident_memory_bytes ",
        "\nslipway_build_info{version=\"" SW_VERSION "\",onnxruntime=\"1\"} 1\n",
        "\nhttp_request_duration_seconds_count{method=\"POST\",route=\"/v1/models/{model}:predict\"} ",
    };
    /* A request is counted when its connection is done with it: perhaps a moment after the client has its answer. */
    const char *missing = "";
    struct answer a = {0};
    for (int attempt = 0; missing && attempt < 1000; attempt++) {
        a = harness_get("/metrics");
        missing = NULL;
        for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
            missing = strstr(a.body, lines[i]) ? missing : lines[i];
        }
    }
    if (missing) {
        fail_msg("missing: %s in\n%s", missing, a.body);
    }
    assert_int_equal(a.status, 200);
    assert_string_equal(harness_header(&a, "Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
    assert_null(strstr(a.body, "unknown-"));
}

/* Waits until the log has a text (see metrics() for why); what it has then. */
static const char *wait_for_log(FILE *f, const char *wanted) {
    static char text[16384];
    for (int attempt = 0; attempt < 100000; attempt++) {
        rewind(f);
        text[fread(text, 1, sizeof text - 1, f)] = '\0';
        if (strstr(text, wanted)) {
            return text;
        }
        sched_yield();
    }
    fail_msg("missing: %s in\n%s", wanted, text);
    return NULL;
}

/* One line a request, with the route's template and the message, without bodies and query strings. */
static void access_log(void **state) {
    const char *path = harness_path("access.log");
    FILE *f = access_log_file = fopen(path, "w+e");
    assert_non_null(f);
    sw_log_set_fd(fileno(f));
    sw_log_set_level(SW_LOG_INFO);
    assert_int_equal(harness_post(SUM, ROW).status, 200);
    wait_for_log(f, "\"route\":\"/v1/models/{model}:predict\",\"status\":200,\"duration_us\":");
    assert_int_equal(harness_get("/models/versions?model=secret").status, 404);
    assert_int_equal(harness_post("/v2/models/fail/infer",
                                  "{\"inputs\":[{\"name\":\"x\",\"shape\":[1],\"datatype\":\"FP32\","
                                  "\"data\":[1]}]}")
                         .status,
                     500);
    wait_for_log(f, "no such operator");
    sw_api_set_access_log(harness_api, SW_ACCESS_LOG_ERRORS);
    assert_int_equal(harness_post("/v1/models/sum/versions/1:predict", ROW).status, 200);
    sw_api_set_access_log(harness_api, SW_ACCESS_LOG_OFF);
    assert_int_equal(harness_post(SUM, "{}").status, 400);
    sw_log_set_level(SW_LOG_OFF);
    sw_log_set_fd(2);
    sw_api_set_access_log(harness_api, SW_ACCESS_LOG_ALL);
    const char *text = wait_for_log(f, "\"route\":\"/models/versions\",\"status\":404,");
    assert_non_null(strstr(text, "\"model\":\"sum\",\"version\":\"1\""));
    assert_non_null(strstr(text, "\"error\":\"not_found\",\"message\":\""));
    assert_non_null(strstr(text, "\"level\":\"error\""));
    assert_null(strstr(text, "versions/{version}:predict"));
    assert_null(strstr(text, "\"status\":400"));
    assert_null(strstr(text, "instances"));
    assert_null(strstr(text, "?model="));
}

static const char *scrape(void) {
    struct answer a = harness_get("/metrics");
    assert_int_equal(a.status, 200);
    return a.body;
}

static void clients_that_go_are_counted(void **state) {
    assert_null(strstr(scrape(), "status=\"499\""));
    close(harness_begin("POST", SUM, "Content-Length: 50\r\n", NULL, 0));
    while (!strstr(scrape(), "method=\"POST\",route=\"/v1/models/{model}:predict\",status=\"499\"")) {
        sched_yield();
    }
    assert_null(strstr(scrape(), "status=\"other\""));
    assert_non_null(strstr(scrape(), "\nslipway_http_buffered_bytes 0\n"));
}

static void batches_without_rows(void **state) {
    harness_model("rows", MODEL_SUM, true);
    static const char none[] = "{\"inputs\":[{\"name\":\"x\",\"shape\":[0,4],\"datatype\":\"FP32\",\"data\":[]}]}";
    static const char one[] =
        "{\"inputs\":[{\"name\":\"x\",\"shape\":[1,4],\"datatype\":\"FP32\",\"data\":[1,2,3,4]}]}";
    for (int i = 0; i < 8; i++) {
        assert_int_equal(harness_post("/v2/models/rows/infer", none).status, 200);
    }
    for (int i = 0; i < 8; i++) { /* on both I/O threads */
        assert_int_equal(harness_post("/v2/models/rows/infer", one).status, 200);
    }
    struct answer a = harness_get("/v2/models/rows/stats");
    assert_non_null(strstr(a.body, "\"inference_count\":8,\"execution_count\":16,"));
    assert_non_null(strstr(a.body, "\"batch_stats\":[{\"batch_size\":1,\"compute_input\":{\"count\":8,"));
}

static void metrics_of_a_version_go_with_it(void **state) {
    assert_int_equal(mkdir(harness_path("many"), 0755), 0);
    assert_int_equal(mkdir(harness_path("many/1"), 0755), 0);
    assert_int_equal(mkdir(harness_path("many/2"), 0755), 0);
    harness_write("many/1/model.fake.json", MODEL_SUM);
    harness_write("many/2/model.fake.json", MODEL_SUM);
    struct sw_error err;
    assert_int_equal(sw_repository_add(harness_repository, harness_path("many"), NULL, &err), SW_OK);
    assert_int_equal(sw_repository_load_wait(harness_repository, SW_STR("many"), &err), SW_OK);
    assert_non_null(strstr(scrape(), "slipway_model_ready{model=\"many\",version=\"1\"} 1\n"));
    assert_int_equal(unlink(harness_path("many/1/model.fake.json")), 0);
    assert_int_equal(rmdir(harness_path("many/1")), 0);
    assert_int_equal(sw_repository_load_wait(harness_repository, SW_STR("many"), &err), SW_OK);
    const char *text = scrape();
    assert_null(strstr(text, "slipway_model_ready{model=\"many\",version=\"1\"}"));
    assert_null(strstr(text, "slipway_model_load_duration_seconds{model=\"many\",version=\"1\"}"));
    assert_non_null(strstr(text, "slipway_model_ready{model=\"many\",version=\"2\"} 1\n"));
}

static void a_model_that_does_not_load_holds_nothing_up(void **state) {
    harness_model("hopeless",
                  MODEL(TENSOR("x", "FP32", "[1]"), TENSOR("y", "FP32", "[1]"), "\"load_error\": \"no way\""), false);
    assert_int_equal(harness_post("/v2/repository/models/hopeless/load", "").status, 400);
    assert_int_equal(harness_get("/health/ready").status, 200);
    assert_int_equal(harness_get("/v2/models/hopeless/ready").status, 503);
    struct answer a = harness_get("/health");
    assert_non_null(strstr(a.body, "\"status\":\"ok\""));
    assert_non_null(strstr(a.body, "no way"));
}

static void not_ready(void **state) {
    harness_model("gated", MODEL(TENSOR("x", "FP32", "[1]"), TENSOR("y", "FP32", "[1]"), "\"load_wait_for\": \"gate\""),
                  false);
    struct sw_error err;
    assert_int_equal(sw_repository_load(harness_repository, SW_STR("gated"), NULL, NULL, &err), SW_OK);
    struct answer a = harness_get("/health/ready");
    assert_int_equal(a.status, 503);
    assert_non_null(strstr(a.body, "{\"ready\":false,\"reason\":\"model '"));
    a = harness_get("/health");
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "\"status\":\"not_ready\""));
    harness_write("gate", "");
    assert_int_equal(sw_repository_load_wait(harness_repository, SW_STR("gated"), &err), SW_OK);
    assert_int_equal(harness_get("/health/ready").status, 200);
    assert_int_equal(harness_post("/v2/repository/models/gated/unload", "").status, 200);
}

static void draining(void **state) {
    sw_api_set_draining(harness_api);
    static const struct expectation cases[] = {
        {"/health/ready", NULL, 503, "shutting down"},
        {"/v2/health/ready", NULL, 503, "shutting down"},
        {"/health/live", NULL, 200, NULL},
        {"/health", NULL, 200, "\"status\":\"draining\""},
        {SUM, ROW, 200, "[[10]]"},
    };
    RUN(cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations),
        cmocka_unit_test(index_of_models),
        cmocka_unit_test(load_and_unload),
        cmocka_unit_test(statistics),
        cmocka_unit_test(versions),
        cmocka_unit_test(metrics),
        cmocka_unit_test(access_log),
        cmocka_unit_test(clients_that_go_are_counted),
        cmocka_unit_test(batches_without_rows),
        cmocka_unit_test(metrics_of_a_version_go_with_it),
        cmocka_unit_test(a_model_that_does_not_load_holds_nothing_up),
        cmocka_unit_test(not_ready),
        cmocka_unit_test(draining),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
