/* Requests that wait: joined in batches, refused, late, given up; deadlines and priorities as they are said. */
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness.h"
#include "models.h"

/* A run takes 100 us whatever its rows, fails when it holds 666, and waits while the file "gate" exists. */
#define MODEL_BATCHED                                                                                           \
    MODEL(TENSOR("x", "FP32", "[\"N\", \"M\"]"), TENSOR("y", "FP32", "[\"N\", 1]"),                             \
          "\"op\": \"sum\", \"spin_us\": 100, \"fail_on\": 666, \"wait_while\": \"../gate\", \"run_started\": " \
          "\"../started\"")
#define INFER "/v2/models/joined/infer"
#define JSON "Content-Type: application/json\r\n"

static int setup(void **state) {
    harness_start(&(struct harness_options){.inline_ns_max = 1, .workers = 1, .queue_max = 40});
    harness_bundle("joined", "model: model.fake.json\n", MODEL_BATCHED, true);
    harness_bundle("limited", "model: model.fake.json\nbatching: {max_batch: 4, max_queue: 2, timeout_ms: 20}\n",
                   MODEL_BATCHED, true);
    harness_bundle("off", "model: model.fake.json\nbatching: {max_batch: 1}\n", MODEL_BATCHED, true);
    harness_bundle("ordered", "model: model.fake.json\nbatching: {max_batch: 1}\n",
                   MODEL(TENSOR("x", "FP32", "[\"N\", 1]"), TENSOR("y", "FP32", "[\"N\", 1]"),
                         "\"op\": \"sum\", \"fail_every\": 500, \"wait_while\": \"../gate\", \"run_started\": "
                         "\"../started\""),
                   true);
    harness_bundle("reloaded", "model: model.fake.json\nbatching: {max_batch: 1}\n", MODEL_BATCHED, true);
    harness_model("linked", MODEL(TENSOR("x", "FP32", "[\"N\"]"), TENSOR("y", "FP32", "[\"N\"]"), "\"op\": \"rows\""),
                  true);
    return 0;
}

static int teardown(void **state) {
    harness_stop();
    return 0;
}

/* A request for one row of these numbers; the answer is their sum. */
static int begin(const char *path, const char *headers, const char *numbers, int columns) {
    char body[256], all[256];
    int length = snprintf(body, sizeof body,
                          "{\"inputs\":[{\"name\":\"x\",\"shape\":[1,%d],\"datatype\":\"FP32\",\"data\":[%s]}]}",
                          columns, numbers);
    snprintf(all, sizeof all, JSON "%s", headers ? headers : "");
    return harness_begin("POST", path, all, body, (size_t)length);
}

static struct answer end(int fd) {
    return harness_end(fd, "POST", INFER);
}

/* One request that holds up the only worker until the gate is opened. */
static int close_gate(const char *path) {
    harness_write("gate", "");
    unlink(harness_path("started"));
    int fd = begin(path, NULL, "1", 1);
    while (access(harness_path("started"), F_OK)) {
        usleep(200);
    }
    return fd;
}

static void open_gate(int fd) {
    unlink(harness_path("gate"));
    assert_int_equal(end(fd).status, 200);
}

static void wait_for(size_t waiting) {
    while (sw_scheduler_waiting(harness_scheduler) != waiting) {
        usleep(200);
    }
}

static json_t *stats(const char *model) {
    char path[128];
    snprintf(path, sizeof path, "/v2/models/%s/stats", model);
    struct answer a = harness_get(path);
    json_t *all = harness_json(&a), *one = json_incref(json_array_get(json_object_get(all, "model_stats"), 0));
    json_decref(all);
    return one;
}

static json_int_t number(const json_t *object, const char *name) {
    const json_t *value = json_object_get(object, name);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static json_int_t dropped(const char *model, const char *reason) {
    json_t *s = stats(model);
    json_int_t n = number(json_object_get(json_object_get(s, "scheduling"), "dropped"), reason);
    json_decref(s);
    return n;
}

/* Runs of that many rows so far. */
static json_int_t runs_of(const char *model, json_int_t rows) {
    json_t *s = stats(model), *item;
    size_t i;
    json_int_t count = 0;
    json_array_foreach(json_object_get(s, "batch_stats"), i, item) {
        if (number(item, "batch_size") == rows) {
            count = number(json_object_get(item, "compute_infer"), "count");
        }
    }
    json_decref(s);
    return count;
}

static void what_is_shown(void **state) {
    json_t *s = stats("joined");
    const json_t *scheduling = json_object_get(s, "scheduling");
    assert_string_equal(json_string_value(json_object_get(scheduling, "mode")), "batched");
    assert_int_equal(number(scheduling, "max_batch"), 64);
    assert_int_equal(number(json_array_get(json_object_get(scheduling, "measured"), 6), "rows"), 64);
    json_decref(s);
    static const struct expectation cases[] = {
        {"/v2/models/joined/config", NULL, 200, "\"max_batch_size\":64"},
        {"/v2/models/joined/config", NULL, 200,
         "\"dynamic_batching\":{\"preferred_batch_size\":[],\"max_queue_delay_microseconds\":500}"},
        {"/v2/models/limited/config", NULL, 200, "\"max_batch_size\":4"},
        {"/v2/models/off/config", NULL, 200, "\"slipway.mode\":{\"string_value\":\"single\"}"},
        {"/v2/models/linked/config", NULL, 200, "rows influence each other: output 'y'"},
        {"/v2/models/linked/config", NULL, 200, "\"max_batch_size\":0"},
    };
    harness_expect(cases, sizeof cases / sizeof cases[0]);
}

static void joined_by_shape(void **state) {
    int gate = close_gate(INFER), wide[3], narrow[2];
    json_int_t threes = runs_of("joined", 3), twos = runs_of("joined", 2);
    for (int i = 0; i < 3; i++) {
        wide[i] = begin(INFER, NULL, i ? "1,2,3" : "4,5,6", 3);
        wait_for(i < 2 ? (size_t)(2 * i + 1) : 5);
        if (i < 2) {
            narrow[i] = begin(INFER, NULL, i ? "7,8" : "9,10", 2);
            wait_for((size_t)(2 * i + 2));
        }
    }
    open_gate(gate);
    for (int i = 0; i < 3; i++) {
        struct answer a = end(wide[i]);
        assert_int_equal(a.status, 200);
        assert_non_null(strstr(a.body, i ? "\"shape\":[1,1],\"data\":[6]" : "\"shape\":[1,1],\"data\":[15]"));
    }
    for (int i = 0; i < 2; i++) {
        assert_non_null(strstr(end(narrow[i]).body, i ? "\"data\":[15]" : "\"data\":[19]"));
    }
    assert_int_equal(runs_of("joined", 3), threes + 1);
    assert_int_equal(runs_of("joined", 2), twos + 1);
}

static void a_bad_request_fails_alone(void **state) {
    int gate = close_gate(INFER), fds[6];
    for (int i = 0; i < 6; i++) {
        fds[i] = begin(INFER, NULL, i == 3 ? "666,0" : "1,2", 2);
        wait_for((size_t)i + 1);
    }
    open_gate(gate);
    for (int i = 0; i < 6; i++) {
        struct answer a = end(fds[i]);
        assert_int_equal(a.status, i == 3 ? 500 : 200);
        assert_non_null(strstr(a.body, i == 3 ? "666" : "\"data\":[3]"));
    }
}

static void terms_that_are_none(void **state) {
    static const struct {
        const char *headers, *says;
    } cases[] = {
        {"X-Timeout-Ms: soon\r\n", "X-Timeout-Ms: 'soon' is no number from 1 to 3600000"},
        {"X-Timeout-Ms: 0\r\n", "X-Timeout-Ms: '0'"},
        {"X-Timeout-Ms: 3600001\r\n", "X-Timeout-Ms: '3600001'"},
        {"X-Timeout-Ms: -5\r\n", "X-Timeout-Ms: '-5'"},
        {"X-Timeout-Ms: 1.5\r\n", "X-Timeout-Ms: '1.5'"},
        {"X-Timeout-Ms: 99999999999999999999999\r\n", "X-Timeout-Ms: '99999"},
        {"X-Timeout-Ms:\r\n", "X-Timeout-Ms: ''"},
        {"X-Timeout-Ms: 5\r\nX-Timeout-Ms: 6\r\n", "X-Timeout-Ms: '(given twice)'"},
        {"X-Priority: urgent\r\n", "X-Priority: 'urgent' is neither high nor normal"},
        {"X-Priority: 1\r\n", "X-Priority: '1'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct answer a = end(begin(INFER, cases[i].headers, "1", 1));
        assert_int_equal(a.status, 400);
        if (!strstr(a.body, cases[i].says)) {
            fail_msg("%s: %s", cases[i].headers, a.body);
        }
    }
    assert_int_equal(end(begin(INFER, "X-Timeout-Ms: 3600000\r\nX-Priority: HIGH\r\n", "1", 1)).status, 200);
#define WITH(parameters) \
    "{\"parameters\":{" parameters "},\"inputs\":[{\"name\":\"x\",\"shape\":[1,1],\"datatype\":\"FP32\",\"data\":[4]}]}"
    static const struct expectation bodies[] = {
        {INFER, WITH("\"timeout\":3600000000,\"priority\":1"), 200, "\"data\":[4]"},
        {INFER, WITH("\"timeout\":0,\"priority\":0"), 200, "\"data\":[4]"},
        {INFER, WITH("\"timeout\":3600000001"), 400, "parameter 'timeout': 3600000001 is no number of microseconds"},
        {INFER, WITH("\"timeout\":-1"), 400, "parameter 'timeout': -1"},
        {INFER, WITH("\"timeout\":\"1s\""), 400, "parameters"},
        {INFER, WITH("\"timeout\":1.5"), 400, "parameters"},
        {INFER, WITH("\"priority\":-1"), 400, "parameter 'priority': -1 is no number from 0"},
        {INFER, WITH("\"priority\":4294967296"), 400, "parameter 'priority': 4294967296"},
        {INFER, WITH("\"priority\":true"), 400, "parameters"},
        {INFER, WITH("\"timeout\":5,\"timeout\":6"), 400, "duplicate key"},
        {INFER, WITH("\"binary_data_output\":false,\"binary_data_output\":false"), 400, "duplicate key"},
    };
    harness_expect(bodies, sizeof bodies / sizeof bodies[0]);
}

static void late_is_told_while_the_model_is_busy(void **state) {
    int gate = close_gate(INFER);
    json_int_t before = dropped("joined", "deadline");
    struct answer a = end(begin(INFER, "X-Timeout-Ms: 30\r\n", "1", 1));
    assert_int_equal(a.status, 504);
    assert_non_null(strstr(a.body, "in time for its deadline"));
    a = harness_post(INFER, "{\"parameters\":{\"timeout\":20000},\"inputs\":[{\"name\":\"x\",\"shape\":[1,1],"
                            "\"datatype\":\"FP32\",\"data\":[4]}]}");
    assert_int_equal(a.status, 504);
    a = harness_send("POST", "/v1/models/joined:predict", JSON "X-Timeout-Ms: 10\r\n", "{\"instances\":[[1]]}", 19);
    assert_int_equal(a.status, 504);
    assert_non_null(strstr(a.body, "deadline_exceeded"));
    assert_int_equal(dropped("joined", "deadline"), before + 3);
    open_gate(gate);
    /* of the bundle */
    gate = close_gate("/v2/models/limited/infer");
    a = end(begin("/v2/models/limited/infer", NULL, "1", 1));
    assert_int_equal(a.status, 504);
    open_gate(gate);
}

static void full_queues(void **state) {
    static const char limited[] = "/v2/models/limited/infer";
    int gate = close_gate(limited), waiting[2];
    for (int i = 0; i < 2; i++) {
        waiting[i] = begin(limited, "X-Timeout-Ms: 60000\r\n", "1", 1);
        wait_for((size_t)i + 1);
    }
    struct answer a = end(begin(limited, "X-Timeout-Ms: 60000\r\n", "1", 1));
    assert_int_equal(a.status, 429);
    assert_string_equal(harness_header(&a, "Retry-After"), "1");
    assert_non_null(strstr(a.body, "2 inferences of this model wait already"));
    /* A full queue of one model is none of another. */
    int other = begin(INFER, NULL, "1", 1);
    wait_for(3);
    assert_int_equal(dropped("limited", "queue_full"), 1);
    struct answer metrics = harness_get("/metrics");
    assert_non_null(strstr(metrics.body, "slipway_queue_requests{model=\"limited\",version=\"1\"} 2"));
    assert_non_null(strstr(metrics.body,
                           "slipway_requests_dropped_total{model=\"limited\",version=\"1\",reason=\"queue_full\"} 1"));
    open_gate(gate);
    assert_int_equal(end(waiting[0]).status, 200);
    assert_int_equal(end(waiting[1]).status, 200);
    assert_int_equal(end(other).status, 200);
}

static double queue_age(const char *model) {
    char name[128];
    struct answer a = harness_get("/metrics");
    snprintf(name, sizeof name, "slipway_queue_age_seconds{model=\"%s\",version=\"1\"} ", model);
    const char *at = strstr(a.body, name);
    assert_non_null(at);
    return strtod(at + strlen(name), NULL);
}

static void who_has_gone_is_not_run(void **state) {
    int gate = close_gate(INFER);
    json_int_t ones = runs_of("joined", 1), twos = runs_of("joined", 2);
    int stays = begin(INFER, NULL, "1", 1), leaves = begin(INFER, NULL, "2", 1);
    wait_for(2);
    close(leaves);
    while (queue_age("joined") < 0.015) {
        usleep(1000);
    }
    open_gate(gate);
    assert_non_null(strstr(end(stays).body, "\"data\":[1]"));
    while (dropped("joined", "client_gone") == 0) {
        usleep(200);
    }
    assert_int_equal(runs_of("joined", 1), ones + 2); /* the one at the gate, and who stayed */
    assert_int_equal(runs_of("joined", 2), twos);
    assert_non_null(strstr(harness_get("/metrics").body, "status=\"499\",model=\"joined\""));
}

/* Refused before the body is parsed: what it says does not matter. */
static void refused_unread(void **state) {
    static const char limited[] = "/v2/models/limited/infer";
    int gate = close_gate(limited), waiting[2];
    for (int i = 0; i < 2; i++) {
        waiting[i] = begin(limited, "X-Timeout-Ms: 60000\r\n", "1", 1);
        wait_for((size_t)i + 1);
    }
    struct answer a = harness_send("POST", limited, JSON, "nonsense", 8);
    assert_int_equal(a.status, 429);
    open_gate(gate);
    assert_int_equal(end(waiting[0]).status, 200);
    assert_int_equal(end(waiting[1]).status, 200);
    assert_int_equal(harness_send("POST", limited, JSON, "nonsense", 8).status, 400);
}

/* Those who wait were sent to a model that must not be batched: that it is replaced by one that may does not matter. */
static void batching_is_of_the_model_that_was_asked(void **state) {
    static const char path[] = "/v2/models/reloaded/infer";
    static const char loads[] = "/v2/repository/models/reloaded/load";
    int gate = close_gate(path), waiting[2];
    for (int i = 0; i < 2; i++) {
        waiting[i] = begin(path, NULL, "1", 1);
        wait_for((size_t)i + 1);
    }
    harness_write("reloaded/bundle.yaml", "model: model.fake.json\nbatching: {max_batch: 8}\n");
    harness_write("reloaded/model.fake.json",
                  MODEL(TENSOR("x", "FP32", "[\"N\", \"M\"]"), TENSOR("y", "FP32", "[\"N\", 1]"),
                        "\"op\": \"sum\", \"spin_us\": 100"));
    assert_int_equal(harness_send("POST", loads, JSON, "", 0).status, 200);
    json_t *s = stats("reloaded");
    assert_string_equal(json_string_value(json_object_get(json_object_get(s, "scheduling"), "mode")), "batched");
    json_decref(s);
    open_gate(gate);
    assert_int_equal(end(waiting[0]).status, 200);
    assert_int_equal(end(waiting[1]).status, 200);
    assert_int_equal(runs_of("reloaded", 2), 0);
    assert_int_equal(runs_of("reloaded", 1), 3);
}

static long runs_so_far(const char *model) {
    char path[128];
    snprintf(path, sizeof path, "/v2/models/%s/config", model);
    struct answer a = harness_get(path);
    const char *at = strstr(a.body, "\"runs\":{\"string_value\":\"");
    assert_non_null(at);
    return strtol(at + strlen("\"runs\":{\"string_value\":\""), NULL, 10);
}

/* High goes first, although it came last: the 500th run fails, and it is the one after the run at the gate. */
static void priorities(void **state) {
    static const char path[] = "/v2/models/ordered/infer";
    while (runs_so_far("ordered") % 500 != 498) {
        int status = end(begin(path, NULL, "1", 1)).status;
        assert_true(status == 200 || runs_so_far("ordered") % 500 == 0);
    }
    int gate = close_gate(path);
    int normal = begin(path, NULL, "1", 1);
    wait_for(1);
    int high = begin(path, "X-Priority: high\r\n", "2", 1);
    wait_for(2);
    open_gate(gate);
    assert_int_equal(end(high).status, 500);
    assert_int_equal(end(normal).status, 200);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_shown),
        cmocka_unit_test(joined_by_shape),
        cmocka_unit_test(a_bad_request_fails_alone),
        cmocka_unit_test(terms_that_are_none),
        cmocka_unit_test(late_is_told_while_the_model_is_busy),
        cmocka_unit_test(full_queues),
        cmocka_unit_test(who_has_gone_is_not_run),
        cmocka_unit_test(refused_unread),
        cmocka_unit_test(batching_is_of_the_model_that_was_asked),
        cmocka_unit_test(priorities),
    };
    return cmocka_run_group_tests_name("api/batching", tests, setup, teardown);
}
