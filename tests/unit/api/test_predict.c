/* POST /v1/models/{model}:predict over a real connection: forms of rows, shapes, faults. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "harness.h"
#include "models.h"

#define RUN(cases) harness_expect((cases), sizeof(cases) / sizeof((cases)[0]))

static int setup(void **state) {
    harness_start(NULL);
    harness_model("sum", MODEL_SUM, true);
    harness_model("two", MODEL_TWO, true);
    harness_model("fixed", MODEL_FIXED, true);
    harness_model("vector", MODEL_VECTOR, true);
    harness_model("scalar", MODEL_SCALAR, true);
    harness_model("text", MODEL_TEXT, true);
    harness_model("half", MODEL_HALF, true);
    harness_model("nan", MODEL_NAN, true);
    harness_model("absent", MODEL_ABSENT, true);
    harness_model("global", MODEL_GLOBAL, true);
    harness_model("column", MODEL(TENSOR("x", "FP32", "[\"N\", 1]"), TENSOR("y", "FP32", "[\"N\"]"), "\"op\": \"sum\""),
                  true);
    harness_model("cold", MODEL_SUM, false);
    return 0;
}

static int teardown(void **state) {
    harness_stop();
    return 0;
}

#define SUM "/v1/models/sum:predict"

static void rows_of_one_input(void **state) {
    static const struct expectation cases[] = {
        {SUM, "{\"instances\":[[1,2,3,4]]}", 200, "{\"predictions\":[[10]]}"},
        {SUM, "{\"instances\":[[1,2,3,4],[1,1,1,1],[0.5,0,0,0]]}", 200, "{\"predictions\":[[10],[4],[0.5]]}"},
        {SUM, "{\"instances\":[{\"x\":[1,2,3,4]},{\"x\":[1,1,1,1]}]}", 200, "{\"predictions\":[[10],[4]]}"},
        {SUM, "{\"signature_name\":\"serving_default\",\"instances\":[[1,2,3,4]]}", 200, "[[10]]"},
        {"/v1/models/sum/versions/1:predict", "{\"instances\":[[1,2,3,4]]}", 200, "[[10]]"},
        {SUM, " { \"instances\" : [ [ 1 , 2 , 3 , 4 ] ] } ", 200, "[[10]]"},
        {"/v1/models/column:predict", "{\"instances\":[1,2,3]}", 200, "{\"predictions\":[1,2,3]}"},
        {"/v1/models/column:predict", "{\"instances\":[{\"x\":1},{\"x\":2}]}", 200, "{\"predictions\":[1,2]}"},
        {"/v1/models/column:predict", "{\"instances\":[[1],[2]]}", 200, "{\"predictions\":[1,2]}"},
    };
    RUN(cases);
}

static void rows_of_several_inputs(void **state) {
    static const struct expectation cases[] = {
        {"/v1/models/two:predict", "{\"instances\":[{\"a\":[1,2],\"b\":[3]}]}", 200,
         "{\"predictions\":[{\"s\":6,\"t\":[6,6]}]}"},
        {"/v1/models/two:predict", "{\"instances\":[{\"a\":[1,2],\"b\":3},{\"b\":1,\"a\":[0,0]}]}", 200,
         "{\"predictions\":[{\"s\":6,\"t\":[6,6]},{\"s\":1,\"t\":[1,1]}]}"},
        {"/v1/models/two:predict", "{\"instances\":[{\"a\":[1,2],\"b\":3,\"c\":10}]}", 200, "{\"s\":16,"},
        {"/v1/models/two:predict", "{\"instances\":[{\"a\":[1,2]}]}", 400, "instances[0]: input 'b' is missing"},
        {"/v1/models/two:predict", "{\"instances\":[{\"a\":[1,2],\"b\":3},{\"b\":3}]}", 400,
         "instances[1]: input 'a' is missing"},
        {"/v1/models/two:predict", "{\"instances\":[{\"a\":[1,2],\"b\":3},{\"a\":[1,2],\"b\":3,\"c\":1}]}", 400,
         "instances[1]: input 'c' is missing in an instance before"},
        {"/v1/models/two:predict", "{\"instances\":[{\"a\":[1,2],\"b\":3,\"c\":1},{\"a\":[1,2],\"b\":3}]}", 400,
         "instances[1]: input 'c' is missing"},
        {"/v1/models/two:predict", "{\"instances\":[{\"a\":[1,2],\"b\":3,\"d\":1}]}", 400, "'d' is not an input"},
        {"/v1/models/two:predict", "{\"instances\":[{\"a\":[1,2],\"b\":3,\"a\":[1,2]}]}", 400, "duplicate key"},
        {"/v1/models/two:predict", "{\"instances\":[{\"a\":[1,2],\"b\":3},{\"a\":[1,2,3],\"b\":3}]}", 400,
         "instances[1]: "},
        {"/v1/models/two:predict", "{\"instances\":[[1,2]]}", 400, "the model has 3 inputs"},
        {"/v1/models/two:predict", "{\"instances\":[{\"a\":[1,2],\"b\":1.5}]}", 400, "instances[0]: "},
        {"/v1/models/two:predict", "{\"instances\":[{\"a\":[1,2],\"b\":{\"b64\":\"\"}}]}", 400,
         "takes INT64, not an object"},
    };
    RUN(cases);
}

static void models_without_rows(void **state) {
    static const struct expectation cases[] = {
        {"/v1/models/fixed:predict", "{\"instances\":[[1,2,3]]}", 200, "{\"predictions\":[[6]]}"},
        {"/v1/models/fixed:predict", "{\"instances\":[[1,2,3],[4,5,6]]}", 200, "{\"predictions\":[[6],[15]]}"},
        {"/v1/models/fixed:predict", "{\"instances\":[[[1,2,3]]]}", 200, "{\"predictions\":[[[6]]]}"},
        {"/v1/models/fixed:predict", "{\"instances\":[[1,2]]}", 400, "x"},
        {"/v1/models/vector:predict", "{\"instances\":[[1,2,3]]}", 200, "{\"predictions\":[[1,2,3]]}"},
        {"/v1/models/vector:predict", "{\"instances\":[[1,2,3],[4,5,6]]}", 200, "{\"predictions\":[[1,2,3],[4,5,6]]}"},
        {"/v1/models/vector:predict", "{\"instances\":[{\"x\":[1,2,3]},{\"x\":[4,5,6]}]}", 200, "[[1,2,3],[4,5,6]]"},
        {"/v1/models/vector:predict", "{\"instances\":[[1,2,3,4]]}", 400, "x"},
        {"/v1/models/scalar:predict", "{\"instances\":[1.5,2]}", 200, "{\"predictions\":[1.5,2]}"},
        {"/v1/models/scalar:predict", "{\"inputs\":1.5}", 200, "{\"outputs\":1.5}"},
        {"/v1/models/global:predict", "{\"instances\":[7]}", 200, "{\"predictions\":[[1,1,1,1,1]]}"},
        {"/v1/models/global:predict", "{\"instances\":[7,7]}", 400, "send 'inputs'"},
        {"/v1/models/global:predict", "{\"inputs\":[7,7]}", 200, "{\"outputs\":[2,2,2,2,2]}"},
    };
    RUN(cases);
    char *many = calloc(1, 5000);
    snprintf(many, 5000, "{\"instances\":[");
    for (int i = 0; i < 1025; i++) {
        snprintf(many + strlen(many), 16, i ? ",1" : "1");
    }
    snprintf(many + strlen(many), 16, "]}");
    struct answer a = harness_post("/v1/models/scalar:predict", many);
    free(many);
    assert_int_equal(a.status, 400);
    assert_non_null(strstr(a.body, "1025 instances"));
}

static void whole_tensors(void **state) {
    static const struct expectation cases[] = {
        {SUM, "{\"inputs\":[[1,2,3,4],[0,0,0,1]]}", 200, "{\"outputs\":[[10],[1]]}"},
        {SUM, "{\"inputs\":{\"x\":[[1,2,3,4]]}}", 200, "{\"outputs\":[[10]]}"},
        {SUM, "{\"inputs\":{\"x\":[1,2,3,4]}}", 400, "x"},
        {SUM, "{\"inputs\":{}}", 400, "input 'x' is missing"},
        {SUM, "{\"inputs\":{\"z\":1}}", 400, "'z' is not an input"},
        {"/v1/models/two:predict", "{\"inputs\":{\"a\":[[1,2],[3,4]],\"b\":[[1],[2]]}}", 200,
         "{\"outputs\":{\"s\":[4,9],\"t\":[[4,4],[9,9]]}}"},
        {"/v1/models/two:predict", "{\"inputs\":[[1,2]]}", 400, "'inputs' must be an object"},
        {"/v1/models/two:predict", "{\"inputs\":{\"a\":[[1,2],[3,4]],\"b\":[[1]]}}", 400, NULL},
        {"/v1/models/text:predict", "{\"inputs\":[\"a\",\"b\"]}", 200, "{\"outputs\":[\"a\",\"b\"]}"},
        {"/v1/models/text:predict", "{\"inputs\":{\"text\":[\"a\"]}}", 200, "{\"outputs\":[\"a\"]}"},
    };
    RUN(cases);
}

static void texts(void **state) {
    static const struct expectation cases[] = {
        {"/v1/models/text:predict", "{\"instances\":[\"a\",\"\\u00e9\\n\"]}", 200,
         "{\"predictions\":[\"a\",\"\xc3\xa9\\n\"]}"},
        {"/v1/models/text:predict", "{\"instances\":[{\"b64\":\"aGk=\"},{\"b64\":\"\"}]}", 200,
         "{\"predictions\":[\"hi\",\"\"]}"},
        {"/v1/models/text:predict", "{\"instances\":[{\"text\":\"hi\"},{\"b64\":\"aGk=\"},\"x\"]}", 200,
         "[\"hi\",\"hi\",\"x\"]"},
        {"/v1/models/text:predict", "{\"instances\":[{\"text\":{\"b64\":\"aGk=\"}}]}", 200, "[\"hi\"]"},
        {"/v1/models/text:predict", "{\"instances\":[{\"b64\":\"aGk\"}]}", 400, "instances[0]"},
        {"/v1/models/text:predict", "{\"instances\":[{\"b64\":\"aGk=\",\"more\":1}]}", 400, "no other member"},
        {"/v1/models/text:predict", "{\"instances\":[{\"b64\":5}]}", 400, NULL},
        {"/v1/models/text:predict", "{\"instances\":[{\"b64\":\"/w==\"}]}", 400, "not UTF-8"},
        {"/v1/models/text:predict", "{\"instances\":[1]}", 400, NULL},
        {"/v1/models/text:predict", "{\"instances\":[{}]}", 400, "input 'text' is missing"},
    };
    RUN(cases);
}

static void bad_requests(void **state) {
    static const struct expectation cases[] = {
        {SUM, "", 400, "an object"},
        {SUM, "[]", 400, "an object"},
        {SUM, "{}", 400, "'instances' is missing"},
        {SUM, "{\"instances\":[]}", 400, "'instances' is empty"},
        {SUM, "{\"instances\":{}}", 400, "must be a list"},
        {SUM, "{\"instances\":5}", 400, "must be a list"},
        {SUM, "{\"instances\":[[1,2,3]]}", 400, "x"},
        {SUM, "{\"instances\":[[1,2,3,4],[1,2,3]]}", 400, "rectangular"},
        {SUM, "{\"instances\":[[1,2,3,\"4\"]]}", 400, "x"},
        {SUM, "{\"instances\":[[1,2,3,NaN]]}", 400, NULL},
        {SUM, "{\"instances\":[[1,2,3,1e60]]}", 400, NULL},
        {SUM, "{\"instances\":[[1,2,3,null]]}", 400, NULL},
        {SUM, "{\"instances\":[[[1,2,3,4]]]}", 400, "x"},
        {SUM, "{\"instances\":[[[1,2,3,4]],[[1,2,3,4]]]}", 400, "x"},
        {SUM, "{\"instances\":[[1,2,3,4]]", 400, "byte"},
        {SUM, "{\"instances\":[[1,2,3,4]]} x", 400, "byte"},
        {SUM, "{\"instances\":[[1,2,3,4]],\"instances\":[[1,2,3,4]]}", 400, "duplicate"},
        {SUM, "{\"instances\":[[1,2,3,4]],\"inputs\":[[1,2,3,4]]}", 400, "exclude each other"},
        {SUM, "{\"instances\":[[1,2,3,4]],\"parameters\":{}}", 400, "unknown field 'parameters'"},
        {SUM, "{\"instances\":[[]]}", 400, NULL},
        {SUM, "{\"instances\":[{}]}", 400, "input 'x' is missing"},
        {"/v1/models/none:predict", "{\"instances\":[1]}", 404, "none"},
        {"/v1/models/sum/versions/7:predict", "{\"instances\":[1]}", 404, "7"},
        {"/v1/models/sum/versions/x:predict", "{\"instances\":[1]}", 404, "x"},
        {"/v1/models/cold:predict", "{\"instances\":[1]}", 503, "cold"},
        {"/v1/models/half:predict", "{\"instances\":[[1,2]]}", 400, "binary"},
        {"/v1/models/nan:predict", "{\"instances\":[1]}", 500, "inference_failed"},
        {"/v1/models/absent:predict", "{\"instances\":[1]}", 200, "{\"predictions\":[{\"y\":1}]}"},
    };
    RUN(cases);
}

static void content_types(void **state) {
    static const char body[] = "{\"instances\":[[1,2,3,4]]}";
    static const struct {
        const char *header;
        int status;
    } cases[] = {
        {NULL, 200},
        {"Content-Type: application/json; charset=utf-8\r\n", 200},
        {"Content-Type: Application/JSON\r\n", 200},
        {"Content-Type: application/vnd.api+json\r\n", 200},
        {"Content-Type: application/x-www-form-urlencoded\r\n", 415},
        {"Content-Type: image/png\r\n", 415},
        {"Content-Type: text/plain\r\n", 415},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct answer a = harness_send("POST", SUM, cases[i].header, body, sizeof body - 1);
        assert_int_equal(a.status, cases[i].status);
    }
}

static void version_header(void **state) {
    struct answer a = harness_post(SUM, "{\"instances\":[[1,2,3,4]]}");
    assert_string_equal(harness_header(&a, "X-Model-Version"), "1");
    assert_string_equal(harness_header(&a, "Content-Type"), "application/json");
    a = harness_post(SUM, "{\"instances\":[]}");
    assert_int_equal(a.status, 400);
    assert_string_equal(harness_header(&a, "X-Model-Version"), "1");
    assert_non_null(strstr(a.body, "\"code\":\"invalid_argument\""));
    assert_non_null(strstr(a.body, harness_header(&a, "X-Request-Id")));
}

/* Long bodies are parsed by a worker. */
static void long_body(void **state) {
    enum { ROWS = 20000 };
    struct sw_buf body;
    sw_buf_init(&body, 1 << 20);
    for (int i = 0; i < ROWS; i++) {
        sw_buf_printf(&body, "%s[%d,0,0,1]", i ? "," : "{\"instances\":[", i);
    }
    SW_LIT(&body, "]}");
    struct answer a = harness_post(SUM, body.data);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "[19999],[20000]]}"));
    body.data[body.len - 1] = ' ';
    a = harness_post(SUM, body.data);
    assert_int_equal(a.status, 400);
    sw_buf_deinit(&body);
}

static void state_of_models(void **state) {
    static const struct expectation cases[] = {
        {"/v1/models/sum", NULL, 200,
         "{\"model_version_status\":[{\"version\":\"1\",\"state\":\"AVAILABLE\",\"status\":{\"error_code\":\"OK\","
         "\"error_message\":\"\"}}]}"},
        {"/v1/models/sum/versions/1", NULL, 200, "AVAILABLE"},
        {"/v1/models/sum/versions/2", NULL, 404, "no version '2'"},
        {"/v1/models/sum/versions/x", NULL, 404, "no version 'x'"},
        {"/v1/models/cold", NULL, 200, "END"},
        {"/v1/models/none", NULL, 404, "none"},
    };
    RUN(cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_one_input),
        cmocka_unit_test(rows_of_several_inputs),
        cmocka_unit_test(models_without_rows),
        cmocka_unit_test(whole_tensors),
        cmocka_unit_test(texts),
        cmocka_unit_test(bad_requests),
        cmocka_unit_test(content_types),
        cmocka_unit_test(version_header),
        cmocka_unit_test(long_body),
        cmocka_unit_test(state_of_models),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
