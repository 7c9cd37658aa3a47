/* Models that do not run on an I/O thread: placement, a full queue, images. */
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness.h"
#include "models.h"

#define ROW "{\"instances\":[1]}"

/* Runs of this model wait while the file "gate" exists; each makes the file "started". */
#define MODEL_GATED                                                       \
    MODEL(TENSOR("x", "FP32", "[\"N\"]"), TENSOR("y", "FP32", "[\"N\"]"), \
          "\"op\": \"sum\", \"wait_while\": \"gate\", \"run_started\": \"started\"")

static int setup(void **state) {
    harness_start(&(struct harness_options){.inline_ns_max = 1, .workers = 1, .queue_max = 1});
    harness_model("gated", MODEL_GATED, true);
    harness_model("fail", MODEL_FAIL, true);
    harness_bundle("picture", "model: model.fake.json\ninput:\n  kind: image\n  color: gray\n  scale: 1\n",
                   MODEL(TENSOR("x", "FP32", "[\"N\", 1, 2, 2]"), TENSOR("y", "FP32", "[\"N\"]"), "\"op\": \"sum\""),
                   true);
    return 0;
}

static int teardown(void **state) {
    harness_stop();
    return 0;
}

static int begin(const char *path) {
    return harness_begin("POST", path, "Content-Type: application/json\r\n", ROW, sizeof ROW - 1);
}

static void answers(void **state) {
    static const struct expectation cases[] = {
        {"/v1/models/gated:predict", "{\"instances\":[1,2]}", 200, "{\"predictions\":[1,2]}"},
        {"/v1/models/gated:predict", "{\"instances\":[\"\"]}", 400, "x"},
        {"/v1/models/gated:predict", "{\"instances\":[{\"x\":[[1]]}]}", 400, "x"},
        {"/v1/models/fail:predict", ROW, 500, "no such operator"},
        {"/v2/models/gated/infer", "{\"inputs\":[{\"name\":\"x\",\"shape\":[2],\"datatype\":\"FP32\",\"data\":[4,5]}]}",
         200, "\"data\":[4,5]"},
    };
    harness_expect(cases, sizeof cases / sizeof cases[0]);
}

/* One runs, one waits, the third is refused at once; the I/O threads answer other requests meanwhile. */
static void full_queue(void **state) {
    static const char path[] = "/v1/models/gated:predict";
    harness_write("gate", "");
    unlink(harness_path("started"));
    int running = begin(path);
    while (access(harness_path("started"), F_OK)) {
        usleep(200);
    }
    int waiting = begin(path);
    while (sw_scheduler_waiting(harness_scheduler) == 0) {
        usleep(200);
    }
    struct answer refused = harness_post(path, ROW);
    assert_int_equal(refused.status, 429);
    assert_string_equal(harness_header(&refused, "Retry-After"), "1");
    assert_non_null(strstr(refused.body, "too_many_requests"));
    assert_int_equal(harness_get("/health").status, 200);
    assert_int_equal(harness_get("/metrics").status, 200);
    unlink(harness_path("gate"));
    assert_int_equal(harness_end(running, "POST", path).status, 200);
    assert_int_equal(harness_end(waiting, "POST", path).status, 200);
}

/* A model that is unloaded while it runs is kept until its last answer. */
static void unload_while_running(void **state) {
    static const char path[] = "/v1/models/gated:predict";
    harness_write("gate", "");
    unlink(harness_path("started"));
    int running = begin(path);
    while (access(harness_path("started"), F_OK)) {
        usleep(200);
    }
    static const char unload[] = "/v2/repository/models/gated/unload";
    int unloading = harness_begin("POST", unload, NULL, "", 0);
    while (harness_get("/v2/models/gated/ready").status == 200) {
        usleep(200);
    }
    assert_int_equal(harness_post(path, ROW).status, 503);
    unlink(harness_path("gate"));
    struct answer a = harness_end(running, "POST", path);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "{\"predictions\":[1]}");
    assert_int_equal(harness_end(unloading, "POST", unload).status, 200);
    assert_int_equal(harness_post("/v2/repository/models/gated/load", "").status, 200);
}

/* 2 x 2 white pixels, 24 bits. */
static const unsigned char bmp[] = {'B', 'M', 70,  0,   0,   0,   0, 0, 0,   0,   54,  0,   0,   0,   40, 0, 0,  0,
                                    2,   0,   0,   0,   2,   0,   0, 0, 1,   0,   24,  0,   0,   0,   0,  0, 16, 0,
                                    0,   0,   0,   0,   0,   0,   0, 0, 0,   0,   0,   0,   0,   0,   0,  0, 0,  0,
                                    255, 255, 255, 255, 255, 255, 0, 0, 255, 255, 255, 255, 255, 255, 0,  0};

static void pictures(void **state) {
    static const char predict[] = "/v1/models/picture:predict", infer[] = "/v2/models/picture/infer";
    struct answer a = harness_send("POST", predict, "Content-Type: image/bmp\r\n", bmp, sizeof bmp);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "{\"predictions\":[1020]}");
    a = harness_send("POST", infer, "Content-Type: image/bmp\r\n", bmp, sizeof bmp);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "\"data\":[1020]"));
    a = harness_post(predict,
                     "{\"instances\":[{\"b64\":\"Qk1GAAAAAAAAADYAAAAoAAAAAgAAAAIAAAABABgAAAAAABAAAAAAAAAAAAAAAAAAAAAAAA"
                     "AA////////AAD///////8AAA==\"}]}");
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "{\"predictions\":[1020]}");
    a = harness_send("POST", predict, "Content-Type: image/bmp\r\n", bmp, 20);
    assert_int_equal(a.status, 422);
    a = harness_send("POST", predict, "Content-Type: image/bmp\r\n", "", 0);
    assert_int_equal(a.status, 400);
    a = harness_send("POST", predict, "Content-Type: audio/wav\r\n", bmp, sizeof bmp);
    assert_int_equal(a.status, 415);
    a = harness_send("POST", infer, "Inference-Header-Content-Length: 0\r\n", bmp, sizeof bmp);
    assert_int_equal(a.status, 200);
    a = harness_get("/v2/models/picture");
    assert_non_null(strstr(a.body, "\"inputs\":[{\"name\":\"image\",\"datatype\":\"BYTES\",\"shape\":[-1]}]"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(full_queue),
        cmocka_unit_test(unload_while_running),
        cmocka_unit_test(pictures),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
