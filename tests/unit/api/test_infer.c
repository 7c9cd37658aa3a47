/* Open Inference Protocol v2 over a real connection: metadata, inference in JSON and binary, faults. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "harness.h"
#include "models.h"

#define RUN(cases) harness_expect((cases), sizeof(cases) / sizeof((cases)[0]))
#define INFER(model) "/v2/models/" model "/infer"
#define X4(data) "{\"name\":\"x\",\"shape\":[1,4],\"datatype\":\"FP32\",\"data\":" data "}"

static int setup(void **state) {
    harness_start(NULL);
    harness_model("sum", MODEL_SUM, true);
    harness_model("two", MODEL_TWO, true);
    harness_model("fixed", MODEL_FIXED, true);
    harness_model("scalar", MODEL_SCALAR, true);
    harness_model("text", MODEL_TEXT, true);
    harness_model("half", MODEL_HALF, true);
    harness_model("nan", MODEL_NAN, true);
    harness_model("fail", MODEL_FAIL, true);
    harness_model("absent", MODEL_ABSENT, true);
    harness_model("cold", MODEL_SUM, false);
    harness_model(
        "vary",
        MODEL(TENSOR("x", "INT16", "[\"N\", \"L\"]"), TENSOR("y", "INT16", "[\"N\", \"L\"]"), "\"op\": \"identity\""),
        true);
    harness_model("open",
                  MODEL(TENSOR("x", "INT16", "[2, \"H\", \"W\"]"), TENSOR("y", "INT16", "[2, \"H\", \"W\"]"),
                        "\"op\": \"identity\""),
                  true);
    harness_bundle("lenient", "model: model.fake.json\noutput:\n  allow_nonfinite: true\n", MODEL_NAN, true);
    harness_bundle("limited", "model: model.fake.json\nbatching:\n  max_batch: 8\n", MODEL_SUM, true);
    return 0;
}

static int teardown(void **state) {
    harness_stop();
    return 0;
}

static void metadata(void **state) {
    static const struct expectation cases[] = {
        {"/v2", NULL, 200, "\"extensions\":[\"binary_tensor_data\""},
        {"/v2/health/live", NULL, 200, "{\"live\":true}"},
        {"/v2/models/sum", NULL, 200,
         "{\"name\":\"sum\",\"versions\":[\"1\"],\"platform\":\"onnx_onnxv1\",\"inputs\":[{\"name\":\"x\",\"datatype\":"
         "\"FP32\",\"shape\":[-1,4]}],\"outputs\":[{\"name\":\"y\",\"datatype\":\"FP32\",\"shape\":[-1,1]}]}"},
        {"/v2/models/sum/versions/1", NULL, 200, "\"versions\":[\"1\"]"},
        {"/v2/models/scalar", NULL, 200, "\"shape\":[]"},
        {"/v2/models/sum/ready", NULL, 200, "{\"name\":\"sum\",\"ready\":true}"},
        {"/v2/models/sum/versions/1/ready", NULL, 200, "true"},
        {"/v2/models/sum/versions/2/ready", NULL, 404, "{\"error\":\""},
        {"/v2/models/cold/ready", NULL, 503, "{\"error\":\""},
        {"/v2/models/cold", NULL, 503, "cold"},
        {"/v2/models/none", NULL, 404, "none"},
        {"/v2/models/none/ready", NULL, 404, "none"},
        {"/v2/models/sum/config", NULL, 200,
         "\"max_batch_size\":0,\"input\":[{\"name\":\"x\",\"data_type\":\"TYPE_FP32\",\"dims\":[-1,4]}]"},
        {"/v2/models/limited/versions/1/config", NULL, 200,
         "\"max_batch_size\":8,\"input\":[{\"name\":\"x\",\"data_type\":\"TYPE_FP32\",\"dims\":[4]}]"},
        {"/v2/models/two/config", NULL, 200, "\"optional\":true"},
        {"/v2/models/text/config", NULL, 200, "TYPE_STRING"},
        {"/v2/models/none/config", NULL, 404, "none"},
    };
    RUN(cases);
}

static void json_inference(void **state) {
    static const struct expectation cases[] = {
        {INFER("sum"), "{\"inputs\":[" X4("[1,2,3,4]") "]}", 200,
         "{\"model_name\":\"sum\",\"model_version\":\"1\",\"outputs\":[{\"name\":\"y\",\"datatype\":\"FP32\",\"shape\":"
         "[1,1],\"data\":[10]}]}"},
        {INFER("sum"), "{\"inputs\":[" X4("[[1,2,3,4]]") "]}", 200, "\"data\":[10]"},
        {INFER("sum/versions/1"), "{\"inputs\":[" X4("[1,2,3,4]") "]}", 200, "\"data\":[10]"},
        {INFER("sum"), "{\"id\":\"a\\\"\\u0001\",\"inputs\":[" X4("[1,2,3,4]") "]}", 200, "\"id\":\"a\\\"\\u0001\","},
        {INFER("sum"), "{\"id\":\"\",\"inputs\":[" X4("[1,2,3,4]") "]}", 200, "\"id\":\"\","},
        {INFER("sum"),
         "{\"parameters\":{\"priority\":3,\"other\":{\"a\":[1]}},\"inputs\":[" X4("[1,2,3,4]") "],\"z\":0}", 200,
         "\"data\":[10]"},
        {INFER("sum"), "{\"inputs\":[" X4("[1,2,3,4]") "],\"outputs\":[{\"name\":\"y\"}]}", 200, "\"data\":[10]"},
        {INFER("sum"), "{\"inputs\":[" X4("[1,2,3,4]") "],\"outputs\":[]}", 200, "\"data\":[10]"},
        {INFER("two"),
         "{\"outputs\":[{\"name\":\"t\"}],\"inputs\":[{\"name\":\"b\",\"shape\":[1,1],\"datatype\":\"INT64\",\"data\":[3]},"
         "{\"name\":\"a\",\"shape\":[1,2],\"datatype\":\"FP32\",\"data\":[1,2]}]}",
         200, "\"outputs\":[{\"name\":\"t\",\"datatype\":\"FP64\",\"shape\":[1,2],\"data\":[6,6]}]}"},
        {INFER("two"),
         "{\"outputs\":[{\"name\":\"t\"},{\"name\":\"s\"}],\"inputs\":[{\"name\":\"b\",\"shape\":[1,1],\"datatype\":"
         "\"INT64\",\"data\":[3]},{\"name\":\"a\",\"shape\":[1,2],\"datatype\":\"FP32\",\"data\":[1,2]}]}",
         200, "{\"name\":\"s\",\"datatype\":\"FP32\",\"shape\":[1],\"data\":[6]}]}"},
        {INFER("scalar"), "{\"inputs\":[{\"name\":\"x\",\"shape\":[],\"datatype\":\"FP64\",\"data\":[2.5]}]}", 200,
         "\"shape\":[],\"data\":[2.5]"},
        {INFER("text"),
         "{\"inputs\":[{\"name\":\"text\",\"shape\":[2],\"datatype\":\"BYTES\",\"data\":[\"a\",\"b\"]}]}", 200,
         "\"data\":[\"a\",\"b\"]"},
        {INFER("absent"), "{\"inputs\":[{\"name\":\"x\",\"shape\":[1],\"datatype\":\"FP32\",\"data\":[1]}]}", 200,
         "\"outputs\":[{\"name\":\"y\","},
        {INFER("absent"),
         "{\"inputs\":[{\"name\":\"x\",\"shape\":[1],\"datatype\":\"FP32\",\"data\":[1]}],\"outputs\":[{\"name\":\"gone\"}]}",
         200, "\"outputs\":[]}"},
        {INFER("lenient"), "{\"inputs\":[{\"name\":\"x\",\"shape\":[2],\"datatype\":\"FP32\",\"data\":[1,1]}]}", 200,
         "\"data\":[null,null]"},
    };
    RUN(cases);
}

static void json_faults(void **state) {
    static const struct expectation cases[] = {
        {INFER("sum"), "", 400, "{\"error\":\""},
        {INFER("sum"), "{}", 400, "'inputs' is missing"},
        {INFER("sum"), "{\"inputs\":[]}", 400, NULL},
        {INFER("sum"), "{\"inputs\":[" X4("[1,2,3]") "]}", 400, "x"},
        {INFER("sum"), "{\"inputs\":[" X4("[1,2,3,4,5]") "]}", 400, "x"},
        {INFER("sum"), "{\"inputs\":[" X4("[1,2,3,\"a\"]") "]}", 400, "x"},
        {INFER("sum"), "{\"inputs\":[" X4("[1,2,3,4]") "," X4("[1,2,3,4]") "]}", 400, "x"},
        {INFER("sum"), "{\"inputs\":[{\"name\":\"z\",\"shape\":[1,4],\"datatype\":\"FP32\",\"data\":[1,2,3,4]}]}", 400,
         "z"},
        {INFER("sum"), "{\"inputs\":[{\"name\":\"x\",\"shape\":[1,4],\"datatype\":\"INT32\",\"data\":[1,2,3,4]}]}", 400,
         "INT32"},
        {INFER("sum"), "{\"inputs\":[{\"name\":\"x\",\"shape\":[4],\"datatype\":\"FP32\",\"data\":[1,2,3,4]}]}", 400,
         "x"},
        {INFER("sum"), "{\"inputs\":[{\"name\":\"x\",\"shape\":[1,5],\"datatype\":\"FP32\",\"data\":[1,2,3,4,5]}]}",
         400, "x"},
        {INFER("sum"), "{\"inputs\":[{\"name\":\"x\",\"shape\":[-1,4],\"datatype\":\"FP32\",\"data\":[1,2,3,4]}]}", 400,
         NULL},
        {INFER("sum"),
         "{\"inputs\":[{\"name\":\"x\",\"shape\":[9999999999,9999999999],\"datatype\":\"FP32\",\"data\":[]}]}", 400,
         NULL},
        {INFER("sum"), "{\"inputs\":[" X4("[1,2,3,4]") "]} ,", 400, "byte"},
        {INFER("sum"), "{\"inputs\":[" X4("[1,2,3,4]") "],\"inputs\":[]}", 400, "duplicate"},
        {INFER("sum"), "{\"id\":5,\"inputs\":[" X4("[1,2,3,4]") "]}", 400, "string"},
        {INFER("sum"), "{\"inputs\":[" X4("[1,2,3,4]") "],\"outputs\":[{\"name\":\"z\"}]}", 400,
         "'z' is not an output"},
        {INFER("sum"), "{\"inputs\":[" X4("[1,2,3,4]") "],\"outputs\":[{}]}", 400, "no 'name'"},
        {INFER("sum"), "{\"inputs\":[" X4("[1,2,3,4]") "],\"outputs\":[{\"name\":\"y\"},{\"name\":\"y\"}]}", 400,
         "twice"},
        {INFER("sum"),
         "{\"inputs\":[" X4("[1,2,3,4]") "],\"outputs\":[{\"name\":\"y\",\"parameters\":{\"classification\":2}}]}", 400,
         "classification"},
        {INFER("sum"),
         "{\"inputs\":[" X4("[1,2,3,4]") "],\"outputs\":[{\"name\":\"y\",\"parameters\":{\"binary_data\":1}}]}", 400,
         "true or false"},
        {INFER("sum"),
         "{\"inputs\":[{\"name\":\"x\",\"shape\":[1,4],\"datatype\":\"FP32\",\"parameters\":{"
         "\"binary_data_size\":16}}]}",
         400, NULL},
        {INFER("two"), "{\"inputs\":[{\"name\":\"a\",\"shape\":[1,2],\"datatype\":\"FP32\",\"data\":[1,2]}]}", 400,
         "b"},
        {INFER("half"), "{\"inputs\":[{\"name\":\"x\",\"shape\":[1,2],\"datatype\":\"FP16\",\"data\":[1,2]}]}", 400,
         "binary"},
        {INFER("nan"), "{\"inputs\":[{\"name\":\"x\",\"shape\":[1],\"datatype\":\"FP32\",\"data\":[1]}]}", 500, "y"},
        {INFER("fail"), "{\"inputs\":[{\"name\":\"x\",\"shape\":[1],\"datatype\":\"FP32\",\"data\":[1]}]}", 500,
         "no such operator"},
        {INFER("cold"), "{\"inputs\":[" X4("[1,2,3,4]") "]}", 503, "cold"},
        {INFER("none"), "{\"inputs\":[" X4("[1,2,3,4]") "]}", 404, "none"},
        {INFER("sum/versions/9"), "{\"inputs\":[" X4("[1,2,3,4]") "]}", 404, "9"},
    };
    RUN(cases);
}

/* ---- binary */

static struct answer send_binary(const char *path, const char *json, const void *blob, size_t len, long announced) {
    char headers[128];
    static char body[65536];
    size_t n = strlen(json);
    memcpy(body, json, n);
    if (len) {
        memcpy(body + n, blob, len);
    }
    snprintf(headers, sizeof headers,
             "Content-Type: application/octet-stream\r\nInference-Header-Content-Length: %ld\r\n",
             announced < 0 ? (long)n : announced);
    return harness_send("POST", path, headers, body, n + len);
}

#define XB(size) "{\"name\":\"x\",\"shape\":[1,4],\"datatype\":\"FP32\",\"parameters\":{\"binary_data_size\":" size "}}"
static const float four[] = {1, 2, 3, 4};

static void binary_in_json_out(void **state) {
    struct answer a = send_binary(INFER("sum"), "{\"inputs\":[" XB("16") "]}", four, sizeof four, -1);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "\"data\":[10]"));
    assert_null(harness_header(&a, "Inference-Header-Content-Length"));
}

/* The float behind the JSON header of a binary answer. */
static float first_float(const struct answer *a) {
    assert_int_equal(a->status, 200);
    assert_string_equal(harness_header(a, "Content-Type"), "application/octet-stream");
    size_t header = strtoul(harness_header(a, "Inference-Header-Content-Length"), NULL, 10);
    assert_true(header + sizeof(float) <= a->body_len);
    assert_int_equal(a->body[0], '{');
    assert_int_equal(a->body[header - 1], '}');
    float value;
    memcpy(&value, a->body + header, sizeof value);
    return value;
}

static void binary_out(void **state) {
    static const char *const requests[] = {
        "{\"inputs\":[" XB("16") "],\"outputs\":[{\"name\":\"y\",\"parameters\":{\"binary_data\":true}}]}",
        "{\"inputs\":[" XB("16") "],\"parameters\":{\"binary_data_output\":true}}",
        "{\"parameters\":{\"binary_data_output\":true},\"inputs\":[" XB("16") "],\"outputs\":[{\"name\":\"y\"}]}",
    };
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        struct answer a = send_binary(INFER("sum"), requests[i], four, sizeof four, -1);
        assert_float_equal(first_float(&a), 10, 0);
        assert_non_null(strstr(a.body, "\"parameters\":{\"binary_data_size\":4}"));
    }
    struct answer a = send_binary(
        INFER("sum"),
        "{\"inputs\":[" XB("16") "],\"parameters\":{\"binary_data_output\":true},"
                                 "\"outputs\":[{\"name\":\"y\",\"parameters\":{\"binary_data\":false}}]}",
        four, sizeof four, -1);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "\"data\":[10]"));
}

static void mixed_outputs(void **state) {
    struct {
        float a[2];
        int64_t b;
    } blob = {{1, 2}, 3};
    struct answer a = send_binary(
        INFER("two"),
        "{\"inputs\":[{\"name\":\"a\",\"shape\":[1,2],\"datatype\":\"FP32\",\"parameters\":{"
        "\"binary_data_size\":8}},{\"name\":\"b\",\"shape\":[1,1],\"datatype\":\"INT64\","
        "\"parameters\":{\"binary_data_size\":8}}],\"outputs\":[{\"name\":\"t\"},{\"name\":\"s\","
        "\"parameters\":{\"binary_data\":true}}]}",
        &blob, sizeof blob, -1);
    assert_float_equal(first_float(&a), 6, 0);
    assert_non_null(strstr(a.body, "\"data\":[6,6]"));
}

static void raw_body(void **state) {
    struct answer a = send_binary(INFER("sum"), "", four, sizeof four, 0);
    assert_float_equal(first_float(&a), 10, 0);
    static const float three[] = {1, 2, 3};
    a = send_binary(INFER("fixed"), "", three, sizeof three, 0);
    assert_float_equal(first_float(&a), 6, 0);
    a = send_binary(INFER("text"), "", "any bytes", 9, 0);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.body_len, strtoul(harness_header(&a, "Inference-Header-Content-Length"), NULL, 10) + 4 + 9);
    static const int16_t shorts[] = {1, 2, 3};
    a = send_binary(INFER("vary"), "", shorts, sizeof shorts, 0);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "\"shape\":[1,3]"));
    static const struct {
        const char *path;
        size_t len;
        const char *contains;
    } bad[] = {
        {INFER("sum"), 15, "x"},
        {INFER("sum"), 0, "x"},
        {INFER("vary"), 5, "x"},
        {INFER("open"), 12, "several free dimensions"},
        {INFER("two"), 16, "the model has 3 inputs"},
        {INFER("text"), 0, "empty"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        a = send_binary(bad[i].path, "", four, bad[i].len, 0);
        assert_int_equal(a.status, 400);
        assert_non_null(strstr(a.body, bad[i].contains));
    }
}

static void binary_faults(void **state) {
    static const struct {
        const char *json;
        size_t blob;
        long announced;
        const char *contains;
    } cases[] = {
        {"{\"inputs\":[" XB("16") "]}", 16, 100000, "Inference-Header-Content-Length is 100000"},
        {"{\"inputs\":[" XB("16") "]}", 16, 10, "byte"},
        {"{\"inputs\":[" XB("16") "]}", 12, -1, "x"},
        {"{\"inputs\":[" XB("12") "]}", 16, -1, "x"},
        {"{\"inputs\":[" XB("16") "]}", 0, -1, "x"},
        {"{\"inputs\":[" X4("[1,2,3,4]") "]}", 7, -1, "7 bytes follow"},
        {"{\"inputs\":[" XB("-1") "]}", 16, -1, NULL},
        {"{\"inputs\":[" XB("99999999999999999999") "]}", 16, -1, NULL},
        {"{\"inputs\":[{\"name\":\"x\",\"shape\":[1,4],\"datatype\":\"FP32\",\"data\":[1,2,3,4],\"parameters\":{"
         "\"binary_data_size\":16}}]}",
         16, -1, "x"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct answer a = send_binary(INFER("sum"), cases[i].json, four, cases[i].blob, cases[i].announced);
        if (a.status != 400 || (cases[i].contains && !strstr(a.body, cases[i].contains))) {
            fail_msg("case %zu: %d %s", i, a.status, a.body);
        }
    }
    static const char *const headers[] = {
        "Inference-Header-Content-Length: x\r\n", "Inference-Header-Content-Length: -1\r\n",
        "Inference-Header-Content-Length:\r\n",
        "Inference-Header-Content-Length: 2\r\nInference-Header-Content-Length: 2\r\n"};
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        struct answer a = harness_send("POST", INFER("sum"), headers[i], "{}", 2);
        assert_int_equal(a.status, 400);
        assert_non_null(strstr(a.body, "Inference-Header-Content-Length"));
    }
    /* Binary without its header is not JSON. */
    struct answer a = harness_send("POST", INFER("sum"), "Content-Type: application/octet-stream\r\n", four,
                                   sizeof four);
    assert_int_equal(a.status, 415);
}

static void sixteen_bit_floats(void **state) {
    static const uint16_t halves[] = {0x3c00, 0x4000};
    static const char json[] =
        "{\"inputs\":[{\"name\":\"x\",\"shape\":[1,2],\"datatype\":\"FP16\",\"parameters\":{\"binary_data_size\":4}}]%s}";
    char text[256];
    snprintf(text, sizeof text, json, "");
    struct answer a = send_binary(INFER("half"), text, halves, sizeof halves, -1);
    assert_int_equal(a.status, 400);
    assert_non_null(strstr(a.body, "binary"));
    snprintf(text, sizeof text, json, ",\"parameters\":{\"binary_data_output\":true}");
    a = send_binary(INFER("half"), text, halves, sizeof halves, -1);
    assert_int_equal(a.status, 200);
    assert_memory_equal(a.body + a.body_len - 4, halves, 4);
}

static void other_methods(void **state) {
    struct answer a = harness_get(INFER("sum"));
    assert_int_equal(a.status, 405);
    assert_non_null(strstr(harness_header(&a, "Allow"), "POST"));
    a = harness_send("HEAD", "/v2/models/sum", NULL, NULL, 0);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.body_len, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metadata),           cmocka_unit_test(json_inference), cmocka_unit_test(json_faults),
        cmocka_unit_test(binary_in_json_out), cmocka_unit_test(binary_out),     cmocka_unit_test(mixed_outputs),
        cmocka_unit_test(raw_body),           cmocka_unit_test(binary_faults),  cmocka_unit_test(sixteen_bit_floats),
        cmocka_unit_test(other_methods),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
