/* Fake engine: each op and instruction does what fake_internal.h says, and what is misspelt is refused. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"
#include "engine/engine.h"

/* Members of a script: one input, and one output of that type and shape. */
#define X "\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[-1,2]}]"
#define Y(datatype, shape) "\"outputs\":[{\"name\":\"y\",\"datatype\":\"" datatype "\",\"shape\":" shape "}]"
#define XY X "," Y("FP32", "[-1,1]")

static struct sw_engine *engine;
static struct sw_arena arena;
static char folder[] = "/tmp/slipway-fake-XXXXXX";
static char path[256];

static int open_all(void **state) {
    if (!mkdtemp(folder)) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/m.fake.json", folder);
    return sw_engine_fake_create(&engine, NULL) ? -1 : 0;
}

static int close_all(void **state) {
    sw_engine_destroy(engine);
    unlink(path);
    return rmdir(folder);
}

static int set_up(void **state) {
    sw_arena_init(&arena, 0, 1 << 16);
    return 0;
}

static int tear_down(void **state) {
    sw_arena_deinit(&arena);
    return 0;
}

static sw_status try_load(const char *text, struct sw_session **ret, struct sw_error *err) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    return engine->ops->load(engine, path, &(struct sw_session_options){.threads = 1}, ret, err);
}

static struct sw_session *load(const char *text) {
    struct sw_session *s = NULL;
    struct sw_error err;
    if (try_load(text, &s, &err)) {
        fail_msg("%s", err.message);
    }
    return s;
}

static sw_status run_rows(struct sw_session *s, size_t rows, struct sw_tensor *ret, struct sw_error *err) {
    float *data = sw_arena_alloc(&arena, (2 * rows + 1) * sizeof *data);
    for (size_t i = 0; i < 2 * rows; i++) {
        data[i] = (float)i;
    }
    struct sw_tensor x = {.name = SW_STR("x"),
                          .dtype = SW_DTYPE_FP32,
                          .rank = 2,
                          .shape = {(int64_t)rows, 2},
                          .count = 2 * rows,
                          .data = data};
    const uint32_t wanted = 0;
    return engine->ops->run(s, &x, 1, &wanted, 1, ret, &arena, err);
}

static void expect_fact(const struct sw_session *s, const char *key, const char *value);

static void test_sum_of_each_row(void **state) {
    struct sw_session *s = load("{" XY ",\"op\":\"sum\"}");
    struct sw_tensor y;
    assert_int_equal(run_rows(s, 3, &y, NULL), SW_OK);
    assert_true(sw_str_is(y.name, "y"));
    assert_int_equal(y.rank, 2);
    assert_int_equal(y.shape[0], 3);
    assert_int_equal(y.shape[1], 1);
    assert_float_equal(((float *)y.data)[0], 1, 0);
    assert_float_equal(((float *)y.data)[1], 5, 0);
    assert_float_equal(((float *)y.data)[2], 9, 0);
    assert_int_equal(run_rows(s, 0, &y, NULL), SW_OK);
    assert_int_equal(y.count, 0);
    engine->ops->unload(s);
}

static void test_rows_and_counts(void **state) {
    struct sw_session *s = load("{" XY ",\"op\":\"rows\"}");
    struct sw_tensor y;
    assert_int_equal(run_rows(s, 4, &y, NULL), SW_OK);
    assert_float_equal(((float *)y.data)[3], 4, 0);
    assert_int_equal(run_rows(s, 2, &y, NULL), SW_OK);
    expect_fact(s, "runs", "2");
    expect_fact(s, "rows", "6");
    expect_fact(s, "rows_max", "4");
    engine->ops->unload(s);
}

static void test_nan_constant_and_identity(void **state) {
    struct sw_session *s = load("{" XY ",\"op\":\"nan\"}");
    struct sw_tensor y;
    assert_int_equal(run_rows(s, 1, &y, NULL), SW_OK);
    assert_true(isnan(((float *)y.data)[0]));
    engine->ops->unload(s);

    s = load("{" X "," Y("BYTES", "[2]") ",\"op\":\"constant\",\"value\":\"h\u00e9\"}");
    assert_int_equal(run_rows(s, 1, &y, NULL), SW_OK);
    assert_int_equal(y.count, 2);
    assert_true(sw_str_is(((struct sw_str *)y.data)[1], "h\u00e9"));
    engine->ops->unload(s);

    s = load("{" X "," Y("INT8", "[]") ",\"op\":\"constant\",\"value\":1000}");
    assert_int_equal(run_rows(s, 1, &y, NULL), SW_OK);
    assert_int_equal(y.rank, 0);
    assert_int_equal(*(int8_t *)y.data, INT8_MAX); /* clamped */
    engine->ops->unload(s);

    s = load("{" X "," Y("FP32", "[-1,2]") ",\"op\":\"identity\"}");
    assert_int_equal(run_rows(s, 2, &y, NULL), SW_OK);
    assert_float_equal(((float *)y.data)[3], 3, 0);
    engine->ops->unload(s);
}

static void test_named_dimensions_and_absent_outputs(void **state) {
    struct sw_session *s = load(
        "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[\"N\",\"W\"],\"optional\":true}],"
        "\"outputs\":[{\"name\":\"y\",\"datatype\":\"FP32\",\"shape\":[\"W\"]},"
        "{\"name\":\"z\",\"datatype\":\"FP32\",\"shape\":[],\"absent\":true}],\"op\":\"rows\"}");
    assert_true(engine->ops->inputs(s)->items[0].optional);
    assert_string_equal(engine->ops->inputs(s)->items[0].dimension_name[1], "W");
    assert_true(engine->ops->outputs(s)->items[1].optional);
    float data[6] = {0};
    struct sw_tensor outputs[2],
        x = {.name = SW_STR("x"), .dtype = SW_DTYPE_FP32, .rank = 2, .shape = {3, 2}, .count = 6, .data = data};
    const uint32_t wanted[] = {1, 0};
    assert_int_equal(engine->ops->run(s, &x, 1, wanted, 2, outputs, &arena, NULL), SW_OK);
    assert_int_equal(outputs[0].dtype, SW_DTYPE_INVALID);
    assert_true(sw_str_is(outputs[0].name, "z"));
    assert_int_equal(outputs[1].shape[0], 2);
    engine->ops->unload(s);
}

static void test_failures(void **state) {
    struct sw_tensor y;
    struct sw_error err;
    struct sw_session *s = load("{" XY ",\"op\":\"fail\",\"message\":\"no luck\"}");
    assert_int_equal(run_rows(s, 1, &y, &err), SW_E_INFERENCE_FAILED);
    assert_string_equal(err.message, "no luck");
    engine->ops->unload(s);

    s = load("{" XY ",\"fail_every\":3}");
    for (int i = 1; i <= 9; i++) {
        assert_int_equal(run_rows(s, 1, &y, NULL), i % 3 ? SW_OK : SW_E_INFERENCE_FAILED);
    }
    engine->ops->unload(s);
}

static void test_spin_takes_its_time(void **state) {
    struct sw_session *s = load("{" XY ",\"spin_us\":2000}");
    struct sw_tensor y;
    uint64_t before = sw_now_ns(sw_clock_system());
    assert_int_equal(run_rows(s, 1, &y, NULL), SW_OK);
    assert_true(sw_now_ns(sw_clock_system()) - before >= 2000000); /* never less; more is the machine's affair */
    engine->ops->unload(s);
}

/* The run says that it started, then waits for "go"; nothing here depends on how long anything takes. */
static void *let_go(void *arg) {
    char started[300], go[300];
    snprintf(started, sizeof started, "%s/started", folder);
    snprintf(go, sizeof go, "%s/go", folder);
    while (access(started, F_OK) != 0) {
        sched_yield();
    }
    FILE *file = fopen(go, "w");
    if (file) {
        fclose(file);
    }
    unlink(started);
    return NULL;
}

static void test_waits_for_files(void **state) {
    struct sw_session *s = load("{" XY ",\"run_started\":\"started\",\"wait_for\":\"go\",\"wait_while\":\"started\"}");
    pthread_t other;
    assert_int_equal(pthread_create(&other, NULL, let_go, NULL), 0);
    struct sw_tensor y;
    assert_int_equal(run_rows(s, 1, &y, NULL), SW_OK);
    pthread_join(other, NULL);
    engine->ops->unload(s);
    char go[300];
    snprintf(go, sizeof go, "%s/go", folder);
    assert_int_equal(unlink(go), 0); /* it was there before the run ended */
}

static void expect_refused(const char *text, const char *reason) {
    struct sw_session *s = NULL;
    struct sw_error err;
    assert_int_equal(try_load(text, &s, &err), SW_E_MODEL_INVALID);
    assert_null(s);
    if (!strstr(err.message, reason) || !strstr(err.message, path)) {
        fail_msg("'%s' is not in: %s", reason, err.message);
    }
}

static void test_files_that_are_refused(void **state) {
    expect_refused("{" XY ",\"load_error\":\"opset 99\"}", "opset 99");
    expect_refused("", "line 1");
    expect_refused("{", "line 1");
    expect_refused("[]", "");
    expect_refused("{" XY ",\"opp\":\"sum\"}", "opp");
    expect_refused("{" XY ",\"op\":\"launch\"}", "launch");
    expect_refused("{" XY ",\"spin_us\":-1}", "negative");
    expect_refused("{\"inputs\":[],\"outputs\":3}", "lists");
    expect_refused("{\"inputs\":[{\"name\":\"x\"}],\"outputs\":[]}", "datatype");
    expect_refused("{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP33\",\"shape\":[]}],\"outputs\":[]}", "FP33");
    expect_refused("{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[-2]}],\"outputs\":[]}", "shape");
    expect_refused(
        "{\"inputs\":[],\"outputs\":[{\"name\":\"y\",\"datatype\":\"FP32\",\"shape\":[]}],\"op\":\"identity\"}",
        "identity");
}

static void test_missing_file(void **state) {
    struct sw_session *s = NULL;
    struct sw_error err;
    assert_int_equal(
        engine->ops->load(engine, "/nonexistent.fake.json", &(struct sw_session_options){.threads = 1}, &s, &err),
        SW_E_NOT_FOUND);
    assert_true(engine->ops->accepts(engine, SW_STR("/a/b.fake.json")));
    assert_false(engine->ops->accepts(engine, SW_STR("/a/b.onnx")));
}

struct wanted_fact {
    const char *key, *value;
    bool found;
};

static void compare_fact(void *arg, const char *key, const char *value) {
    struct wanted_fact *w = arg;
    if (strcmp(key, w->key) == 0) {
        assert_string_equal(value, w->value);
        w->found = true;
    }
}

static void expect_fact(const struct sw_session *s, const char *key, const char *value) {
    struct wanted_fact w = {key, value, false};
    engine->ops->describe(s, compare_fact, &w);
    assert_true(w.found);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_sum_of_each_row),
        TEST(test_rows_and_counts),
        TEST(test_nan_constant_and_identity),
        TEST(test_named_dimensions_and_absent_outputs),
        TEST(test_failures),
        TEST(test_spin_takes_its_time),
        TEST(test_waits_for_files),
        TEST(test_files_that_are_refused),
        TEST(test_missing_file),
    };
    return cmocka_run_group_tests_name("engine/fake", tests, open_all, close_all);
}
