/* GET /models/versions and POST /models/rollback, for models of the registry beside one from a file. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <jansson.h>

#include "harness.h"
#include "models.h"

#define RUN(cases) harness_expect((cases), sizeof(cases) / sizeof((cases)[0]))
#define API "/api/v1/models"
#define RATED "model: model.fake.json\nmetadata:\n  accuracy: 0.9\n"
#define MODEL_SPACED " " MODEL_SUM /* other bytes, the same model */

static int setup(void **state) {
    harness_start(&(struct harness_options){.registry = true});
    harness_model("local", MODEL_SUM, true);
    return 0;
}

static int teardown(void **state) {
    harness_stop();
    return 0;
}

/* models[0] of the answer, a new reference. */
static json_t *model_of(const struct answer *a) {
    assert_int_equal(a->status, 200);
    json_t *json = harness_json(a);
    json_t *model = json_incref(json_array_get(json_object_get(json, "models"), 0));
    json_decref(json);
    assert_non_null(model);
    return model;
}

static void a_file(void **state) {
    static const struct expectation cases[] = {
        {"/models/versions?model=local", NULL, 200, "{\"models\":[{\"name\":\"local\",\"current\":1,\"available\":[{"},
        {"/models/versions?model=local", NULL, 200, "}],\"history\":[]}]}"},
        {"/models/versions?model=none", NULL, 404, "none"},
        {"/models/versions?model=..", NULL, 404, ".."},
        {"/models/rollback", "{\"model\":\"local\"}", 409, "served from a file"},
        {"/models/rollback", "", 409, "no model of the registry is live"},
        {"/models/rollback", "{\"model\":\"none\"}", 404, "none"},
        {"/models/rollback", "{\"model\":\"..\"}", 400, "model name"},
        {"/models/rollback", "{\"modle\":\"local\"}", 400, "'modle'"},
        {"/models/rollback", "{\"version\":[]}", 400, "'version'"},
    };
    RUN(cases);
}

static void live_and_history(void **state) {
    assert_int_equal(harness_push("m", RATED, MODEL_SUM), 1);
    assert_int_equal(harness_push("m", NULL, MODEL_SPACED), 2);
    struct answer a = harness_get("/models/versions?model=m"); /* nothing of it is served yet */
    json_t *model = model_of(&a), *list = json_object_get(model, "available");
    assert_true(json_is_null(json_object_get(model, "current")));
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "status")), "UNAVAILABLE");
    json_decref(model);

    assert_int_equal(harness_post(API "/m/promote", "{\"version\":1}").status, 200);
    assert_int_equal(harness_put(API "/m/aliases/champion", "{\"version\":2}").status, 200);
    harness_follow();
    a = harness_get("/models/versions?model=m");
    model = model_of(&a);
    list = json_object_get(model, "available");
    const json_t *first = json_array_get(list, 0), *second = json_array_get(list, 1);
    assert_int_equal(json_integer_value(json_object_get(model, "current")), 2);
    assert_int_equal(json_array_size(list), 2);
    assert_int_equal(json_integer_value(json_object_get(first, "version")), 1);
    assert_string_equal(json_string_value(json_object_get(first, "stage")), "Production");
    assert_true(json_number_value(json_object_get(first, "accuracy")) == 0.9);
    assert_int_equal(json_integer_value(json_object_get(first, "size_bytes")), strlen(MODEL_SUM) + strlen(RATED));
    assert_string_equal(json_string_value(json_object_get(second, "status")), "READY");
    assert_string_equal(json_string_value(json_array_get(json_object_get(second, "aliases"), 0)), "champion");
    assert_true(json_is_null(json_object_get(second, "accuracy")));
    const json_t *history = json_object_get(model, "history");
    assert_int_equal(json_array_size(history), 2);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(history, 0), "version")), 2);
    assert_true(json_is_true(json_object_get(json_array_get(history, 0), "current")));
    json_decref(model);
}

static void back(void **state) {
    struct answer a = harness_post("/models/rollback", "{\"reason\":\"slow\"}"); /* m is the only one that is live */
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "{\"model\":\"m\",\"version\":1,\"previous_live\":2,\"revision\":"));
    assert_string_equal(harness_header(&a, "X-Model-Version"), "1");
    harness_follow();
    a = harness_get("/models/versions?model=m");
    assert_non_null(strstr(a.body, "\"current\":1"));
    assert_int_equal(harness_push("n", NULL, MODEL_SUM), 1);
    assert_int_equal(harness_post(API "/n/promote", "{\"version\":1}").status, 200);
    static const struct expectation cases[] = {
        {"/models/rollback", "{}", 400, "'model' is missing"},
        {"/models/rollback", "{\"model\":\"m\",\"version\":2}", 409,
         NULL}, /* only what lies below: 1 is all there is */
        {"/models/rollback", "{\"model\":\"n\"}", 409, "\"code\":\"conflict\""},
        {"/models/versions", NULL, 200, "\"name\":\"local\""},
        {"/models/versions", NULL, 200, "\"name\":\"m\""},
    };
    RUN(cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file),
        cmocka_unit_test(live_and_history),
        cmocka_unit_test(back),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
