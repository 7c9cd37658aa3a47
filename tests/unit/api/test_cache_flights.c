/* Equal requests at the same time: one runs, the others wait for it, and everybody is answered whatever becomes of it.
 *
 * There is one worker, and models run while there is no file "gate": what happens when is decided by the tests. */
#include <sys/select.h>

#include "cached.h"

#define GATED "\"spin_us\": 100, \"fail_on\": 666, \"wait_while\": \"../gate\", \"run_started\": \"../started\""
#define MODEL_GATED \
    MODEL(TENSOR("x", "FP32", "[\"N\", \"M\"]"), TENSOR("y", "FP32", "[\"N\", 1]"), "\"op\": \"sum\", " GATED)
#define UNBATCHED "batching: {max_batch: 1}\n"
enum { VALUE_MAX = 8192 };

static int setup(void **state) {
    harness_start(
        &(struct harness_options){.inline_ns_max = 1,
                                  .workers = 1,
                                  .queue_max = 4,
                                  .cache = &(struct sw_cache_options){.bytes_max = 8 << 20, .value_max = VALUE_MAX}});
    harness_bundle("sum", CACHED UNBATCHED, MODEL_GATED, true);
    harness_bundle("batched", CACHED, MODEL_GATED, true);
    harness_bundle(
        "text", CACHED UNBATCHED,
        MODEL(TENSOR("text", "BYTES", "[\"N\"]"), TENSOR("same", "BYTES", "[\"N\"]"), "\"op\": \"identity\", " GATED),
        true);
    harness_bundle("rows", CACHED, MODEL_GLOBAL, true);
    harness_bundle("other", UNBATCHED "model: model.fake.json\n", MODEL_GATED, true);
    return 0;
}

static int teardown(void **state) {
    harness_stop();
    return 0;
}

static bool predicts[FD_SETSIZE]; /* by descriptor: what was asked, for the record */

static int begin_json(const char *path, const char *headers, const char *json) {
    char all[256];
    snprintf(all, sizeof all, JSON "%s", headers ? headers : "");
    int fd = harness_begin("POST", path, all, json, strlen(json));
    assert_true(fd < FD_SETSIZE);
    predicts[fd] = strstr(path, ":predict") != NULL;
    return fd;
}

static int begin(const char *path, const char *headers, const char *number) {
    char json[256];
    snprintf(json, sizeof json, ROW("1", "%s"), number);
    return begin_json(path, headers, json);
}

static struct answer end(int fd) {
    return harness_end(fd, "POST", predicts[fd] ? PREDICT("sum") : INFER("sum"));
}

static void assert_ends(int fd, const char *x_cache, const char *contains) {
    struct answer a = end(fd);
    assert_string_equal(said(&a), x_cache);
    assert_holds(&a, contains);
}

static void close_gate(void) {
    unlink(harness_path("started"));
    harness_write("gate", "");
}

static void open_gate(void) {
    unlink(harness_path("gate"));
}

static void wait_started(void) {
    while (access(harness_path("started"), F_OK)) {
        usleep(200);
    }
}

/* In the scheduler. */
static void wait_queued(size_t count) {
    while (sw_scheduler_waiting(harness_scheduler) != count) {
        usleep(200);
    }
}

/* For a request like them. */
static void wait_waiting(size_t count) {
    while (sw_flights_waiting(sw_cache_flights(harness_cache)) != count) {
        usleep(200);
    }
}

/* Runs at the gate and keeps the only worker. */
static int occupy(void) {
    close_gate();
    int fd = begin(INFER("other"), NULL, "1");
    wait_started();
    return fd;
}

static void release(int fd) {
    open_gate();
    assert_int_equal(end(fd).status, 200);
}

static long shared(const char *model) {
    char name[128];
    snprintf(name, sizeof name, "slipway_cache_requests_total{model=\"%s\",version=\"1\",result=\"shared\"} ", model);
    struct answer a = harness_get("/metrics");
    const char *at = strstr(a.body, name);
    assert_non_null(at);
    return strtol(at + strlen(name), NULL, 10);
}

/* ---- one run */

static void one_run_for_all(void **state) {
    enum { COUNT = 20 };
    int fds[COUNT], leader;
    long runs = runs_of("sum"), before = shared("sum");
    close_gate();
    leader = begin(INFER("sum"), NULL, "1");
    wait_started();
    for (size_t i = 0; i < COUNT; i++) {
        fds[i] = i % 2 ? begin(INFER("sum"), NULL, "1.0") : begin_json(PREDICT("sum"), NULL, "{\"instances\":[[1]]}");
        wait_waiting(i + 1);
    }
    assert_int_equal(kept(NULL, "waiting"), COUNT);
    open_gate();
    assert_ends(leader, "miss", "\"data\":[1]");
    for (int i = 0; i < COUNT; i++) {
        assert_ends(fds[i], "hit", i % 2 ? "\"data\":[1]" : "{\"predictions\":[[1]]}");
    }
    assert_int_equal(runs_of("sum"), runs + 1);
    assert_int_equal(shared("sum"), before + COUNT);
    assert_answer(INFER("sum"), NULL, ROW("1", "1"), "hit", "\"data\":[1]");
}

static void one_row_of_a_batch_for_all(void **state) {
    int gate = occupy(), fds[6];
    long runs = runs_of("batched");
    for (size_t i = 0; i < 6; i++) { /* three inputs, each twice */
        fds[i] = begin(INFER("batched"), NULL, i % 3 == 0 ? "1" : i % 3 == 1 ? "2" : "3");
        i < 3 ? wait_queued(i + 1) : wait_waiting(i - 2);
    }
    release(gate);
    for (int i = 0; i < 6; i++) {
        assert_ends(fds[i], i < 3 ? "miss" : "hit", i % 3 == 0 ? "[1]" : i % 3 == 1 ? "[2]" : "[3]");
    }
    assert_int_equal(runs_of("batched"), runs + 1);
}

static void everybody_gets_the_error(void **state) {
    int fds[4];
    long runs = runs_of("sum");
    close_gate();
    fds[0] = begin(INFER("sum"), NULL, "666");
    wait_started();
    for (size_t i = 1; i < 4; i++) {
        fds[i] = i == 3 ? begin_json(PREDICT("sum"), NULL, "{\"instances\":[[666]]}")
                        : begin(INFER("sum"), NULL, "666");
        wait_waiting(i);
    }
    open_gate();
    for (int i = 0; i < 4; i++) {
        struct answer a = end(fds[i]);
        assert_int_equal(a.status, 500);
        assert_holds(&a, "666");
        assert_null(harness_header(&a, "X-Cache"));
    }
    assert_true(runs_of("sum") <= runs + 1); /* one that fails may not be counted as a run */
    assert_int_equal(kept(NULL, "waiting"), 0);
}

/* The run went well; that one client cannot read its result is no reason for the others. */
static void an_answer_that_cannot_be_written(void **state) {
    static const char json[] = "{\"inputs\":[{\"name\":\"text\",\"shape\":[1],\"datatype\":\"BYTES\",\"parameters\":{"
                               "\"binary_data_size\":5}}],\"parameters\":{\"binary_data_output\":%s}}\1%c%c%c\xff";
    char headers[128], body[512];
    int fds[3];
    long runs = runs_of("text");
    close_gate();
    for (size_t i = 0; i < 3; i++) {
        int n = snprintf(body, sizeof body, json, i == 1 ? "true" : "false", 0, 0, 0);
        snprintf(headers, sizeof headers, "Inference-Header-Content-Length: %d\r\n", n - 5);
        fds[i] = harness_begin("POST", INFER("text"), headers, body, (size_t)n);
        predicts[fds[i]] = false;
        i == 0 ? wait_started() : wait_waiting(i);
    }
    open_gate();
    for (int i = 0; i < 3; i++) {
        struct answer a = end(fds[i]);
        assert_int_equal(a.status, i == 1 ? 200 : 400);
        if (i == 1) {
            assert_memory_equal(a.body + a.body_len - 5, "\1\0\0\0\xff", 5);
        }
    }
    assert_int_equal(runs_of("text"), runs + 1);
}

static void results_too_large_to_keep_are_shared(void **state) {
    static char request[3 * VALUE_MAX];
    size_t n = (size_t)snprintf(request, sizeof request,
                                "{\"inputs\":[{\"name\":\"text\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[\"");
    memset(request + n, 'a', 2 * VALUE_MAX);
    snprintf(request + n + 2 * VALUE_MAX, sizeof request - n - 2 * VALUE_MAX, "\"]}]}");
    int fds[4];
    long runs = runs_of("text");
    close_gate();
    for (size_t i = 0; i < 4; i++) {
        fds[i] = begin_json(INFER("text"), NULL, request);
        i == 0 ? wait_started() : wait_waiting(i);
    }
    open_gate();
    for (int i = 0; i < 4; i++) {
        assert_ends(fds[i], i ? "hit" : "miss", "\"data\":[\"aaaa");
    }
    assert_int_equal(runs_of("text"), runs + 1);
    assert_answer(INFER("text"), NULL, request, "miss", "\"data\":[\"aaaa");
}

static void who_wants_a_run_does_not_wait(void **state) {
    int fds[3];
    long runs = runs_of("sum");
    close_gate();
    fds[0] = begin(INFER("sum"), NULL, "2");
    wait_started();
    fds[1] = begin(INFER("sum"), "Cache-Control: no-cache\r\n", "2");
    wait_queued(1);
    fds[2] = begin(INFER("sum"), "Cache-Control: no-store\r\n", "2");
    wait_queued(2);
    open_gate();
    assert_ends(fds[0], "miss", "[2]");
    assert_ends(fds[1], "bypass", "[2]");
    assert_ends(fds[2], "bypass", "[2]");
    assert_int_equal(runs_of("sum"), runs + 3);
}

/* ---- terms of those who wait */

static void nobody_waits_who_could_be_late(void **state) {
    int fds[5];
    long runs = runs_of("sum");
    close_gate();
    fds[0] = begin(INFER("sum"), "X-Timeout-Ms: 60000\r\n", "3");
    wait_started();
    fds[1] = begin(INFER("sum"), "X-Timeout-Ms: 3600000\r\n", "3");
    wait_waiting(1);
    fds[2] = begin(INFER("sum"), NULL, "3");
    wait_waiting(2);
    fds[3] = begin(INFER("sum"), "X-Timeout-Ms: 30000\r\n", "3"); /* before the leader's */
    wait_queued(1);
    fds[4] = begin(INFER("sum"), "X-Priority: high\r\n", "3");
    wait_queued(2);
    open_gate();
    for (int i = 0; i < 5; i++) {
        assert_ends(fds[i], i == 1 || i == 2 ? "hit" : "miss", "[3]");
    }
    assert_int_equal(runs_of("sum"), runs + 3);
}

/* ---- leaders that never run */

static void a_leader_that_is_late(void **state) {
    int gate = occupy(), fds[3];
    long runs = runs_of("sum");
    int late = begin(INFER("sum"), "X-Timeout-Ms: 1500\r\n", "4");
    wait_queued(1);
    for (size_t i = 0; i < 3; i++) {
        fds[i] = begin(INFER("sum"), NULL, "4");
        wait_waiting(i + 1);
    }
    assert_int_equal(end(late).status, 504);
    wait_waiting(2); /* the first of the others leads */
    wait_queued(1);
    release(gate);
    for (int i = 0; i < 3; i++) {
        assert_ends(fds[i], i ? "hit" : "miss", "[4]");
    }
    assert_int_equal(runs_of("sum"), runs + 1);
}

/* Who is first in the scheduler's queue is not run when nobody waits for the answer any more. */
static void a_leader_whose_client_goes_away(void **state) {
    int gate = occupy(), fds[2];
    long runs = runs_of("sum");
    int leaves = begin(INFER("sum"), NULL, "5");
    wait_queued(1);
    for (size_t i = 0; i < 2; i++) {
        fds[i] = begin(INFER("sum"), NULL, "5");
        wait_waiting(i + 1);
    }
    close(leaves);
    struct answer a;
    double age = 0;
    while (age < 0.015) { /* the scheduler asks who is gone of those that waited longer */
        usleep(1000);
        a = harness_get("/metrics");
        age = strtod(strstr(a.body, "slipway_queue_age_seconds{model=\"sum\",version=\"1\"} ") +
                         strlen("slipway_queue_age_seconds{model=\"sum\",version=\"1\"} "),
                     NULL);
    }
    release(gate);
    assert_ends(fds[0], "miss", "[5]");
    assert_ends(fds[1], "hit", "[5]");
    assert_int_equal(runs_of("sum"), runs + 1);
    a = harness_get("/metrics");
    assert_holds(&a, "status=\"499\",model=\"sum\"");
}

/* Who waits and has gone is answered into the void. */
static void a_waiter_whose_client_goes_away(void **state) {
    int fds[3];
    close_gate();
    fds[0] = begin(INFER("sum"), NULL, "6");
    wait_started();
    for (size_t i = 1; i < 3; i++) {
        fds[i] = begin(INFER("sum"), NULL, "6");
        wait_waiting(i);
    }
    close(fds[1]);
    open_gate();
    assert_ends(fds[0], "miss", "[6]");
    assert_ends(fds[2], "hit", "[6]");
}

/* ---- full queues */

static void a_full_queue_keeps_no_hit_out(void **state) {
    assert_answer(INFER("sum"), NULL, ROW("1", "7"), "miss", "[7]");
    int gate = occupy(), fds[4];
    for (size_t i = 0; i < 4; i++) {
        fds[i] = begin(INFER("sum"), "Cache-Control: no-cache\r\n", "7");
        wait_queued(i + 1);
    }
    assert_int_equal(harness_post(INFER("sum"), ROW("1", "8")).status, 429);
    assert_answer(INFER("sum"), NULL, ROW("1", "7"), "hit", "[7]");
    assert_answer(PREDICT("sum"), NULL, "{\"instances\":[[7]]}", "hit", "[7]");
    struct answer a = harness_post(INFER("sum"), ROW("1", "8"));
    assert_int_equal(a.status, 429); /* the refused one left nothing behind */
    assert_non_null(harness_header(&a, "Retry-After"));
    release(gate);
    for (int i = 0; i < 4; i++) {
        assert_ends(fds[i], "bypass", "[7]");
    }
    assert_answer(INFER("sum"), NULL, ROW("1", "8"), "miss", "[8]");
}

/* The key of a long body is made by a worker. */
static void long_bodies(void **state) {
    enum { NUMBERS = 200000 };
    char *body = calloc(1, 512 + NUMBERS * sizeof(float)), headers[128];
    size_t n = (size_t)snprintf(body, 512,
                                "{\"inputs\":[{\"name\":\"x\",\"shape\":[%d],\"datatype\":\"FP32\",\"parameters\":{"
                                "\"binary_data_size\":%zu}}]}",
                                NUMBERS, NUMBERS * sizeof(float));
    snprintf(headers, sizeof headers, "Inference-Header-Content-Length: %zu\r\n", n);
    for (int i = 0; i < 2; i++) {
        int gate = occupy();
        int fd = harness_begin("POST", INFER("rows"), headers, body, n + NUMBERS * sizeof(float));
        predicts[fd] = false;
        wait_queued(1);
        release(gate);
        assert_ends(fd, i ? "hit" : "miss", "\"data\":[200000,200000,200000,200000,200000]");
    }
    free(body);
}

/* ---- changes meanwhile */

static void purged_while_it_runs(void **state) {
    int fds[2];
    close_gate();
    fds[0] = begin(INFER("sum"), NULL, "9");
    wait_started();
    fds[1] = begin(INFER("sum"), NULL, "9");
    wait_waiting(1);
    assert_int_equal(harness_delete("/api/v1/cache/sum").status, 200);
    int after = begin(INFER("sum"), NULL, "9"); /* does not wait for what was asked before the purge */
    wait_queued(1);
    open_gate();
    assert_ends(fds[0], "miss", "[9]");
    assert_ends(fds[1], "hit", "[9]");
    assert_ends(after, "miss", "[9]");
    assert_answer(INFER("sum"), NULL, ROW("1", "9"), "hit", "[9]");
    close_gate();
    fds[0] = begin(INFER("sum"), NULL, "10");
    wait_started();
    assert_int_equal(harness_delete("/api/v1/cache").status, 200);
    open_gate();
    assert_ends(fds[0], "miss", "[10]");
    assert_answer(INFER("sum"), NULL, ROW("1", "10"), "miss", "[10]");
}

/* A request of the old load runs on while the new one is live, and ends after it: it answers only its own. */
static void reloaded_while_it_runs(void **state) {
    static const char path[] = INFER("reloaded");
    harness_bundle("reloaded", CACHED UNBATCHED, MODEL_GATED, true);
    close_gate();
    int old = begin(path, NULL, "1");
    wait_started();
    int waits = begin(path, NULL, "1");
    wait_waiting(1);
    harness_write("reloaded/model.fake.json",
                  MODEL(TENSOR("x", "FP32", "[\"N\", \"M\"]"), TENSOR("y", "FP32", "[\"N\", 1]"),
                        "\"op\": \"constant\", \"value\": 2, \"spin_us\": 100"));
    reload("reloaded");
    int new = begin(path, NULL, "1");
    wait_queued(1);
    open_gate();
    assert_ends(old, "miss", "\"data\":[1]");
    assert_ends(waits, "hit", "\"data\":[1]");
    assert_ends(new, "miss", "\"data\":[2]");
    assert_answer(path, NULL, ROW("1", "1"), "hit", "\"data\":[2]");
}

/* Those who wait when everything is stopped are answered first. */
static void stopped_while_it_runs(void **state) {
    int fds[3];
    close_gate();
    for (size_t i = 0; i < 3; i++) {
        fds[i] = begin(INFER("sum"), NULL, "11");
        i == 0 ? wait_started() : wait_waiting(i);
    }
    open_gate(); /* the run goes on a moment later */
    harness_stop();
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
    setup(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_run_for_all),
        cmocka_unit_test(one_row_of_a_batch_for_all),
        cmocka_unit_test(everybody_gets_the_error),
        cmocka_unit_test(an_answer_that_cannot_be_written),
        cmocka_unit_test(results_too_large_to_keep_are_shared),
        cmocka_unit_test(who_wants_a_run_does_not_wait),
        cmocka_unit_test(nobody_waits_who_could_be_late),
        cmocka_unit_test(a_leader_that_is_late),
        cmocka_unit_test(a_leader_whose_client_goes_away),
        cmocka_unit_test(a_waiter_whose_client_goes_away),
        cmocka_unit_test(a_full_queue_keeps_no_hit_out),
        cmocka_unit_test(long_bodies),
        cmocka_unit_test(purged_while_it_runs),
        cmocka_unit_test(reloaded_while_it_runs),
        cmocka_unit_test(stopped_while_it_runs),
    };
    return cmocka_run_group_tests_name("api/cache flights", tests, setup, teardown);
}
