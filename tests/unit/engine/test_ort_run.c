/* ONNX Runtime engine: known models give known answers, in every data type and shape, on any number of threads. */
#include "engine_fixture.h"

#include <pthread.h>

#include "base/memory.h"

static struct sw_arena arena;

static int set_up(void **state) {
    sw_arena_init(&arena, 0, 1 << 20);
    return 0;
}

static int tear_down(void **state) {
    sw_arena_deinit(&arena);
    return 0;
}

static void check_golden(const char *model, struct sw_session_options options) {
    static struct golden_case cases[8];
    char file[256];
    snprintf(file, sizeof file, "%s.onnx", model);
    struct sw_session *s = load_with(file, options);
    size_t count = golden_read(model, &arena, cases, SW_COUNTOF(cases));
    for (size_t i = 0; i < count; i++) {
        const struct golden_case *c = &cases[i];
        struct sw_tensor outputs[32];
        struct sw_error err;
        if (run_all(s, c->inputs, c->input_count, outputs, &arena, &err)) {
            fail_msg("%s: %s", model, err.message);
        }
        for (size_t j = 0; j < c->output_count; j++) {
            golden_compare(&c->outputs[j], &outputs[j], c->tolerance);
        }
    }
    sw_arena_reset(&arena); /* outputs before their session */
    engine->ops->unload(s);
}

static void test_golden_answers(void **state) {
    static const char *const models[] = {
        "mlp_45",          "mlp_big",       "cnn_224",  "identity_all",  "scalar",      "add_sub",
        "optional_output", "default_input", "nonzero",  "external_data", "passthrough", "gather",
        "reshape",         "log_nan",       "big_50mb", "int8_extremes", "int8_shared"};
    for (size_t i = 0; i < SW_COUNTOF(models); i++) {
        check_golden(models[i], (struct sw_session_options){.threads = 1});
    }
}

static void test_golden_answers_with_arena_and_pool(void **state) {
    static const char *const models[] = {"mlp_45", "mlp_big", "cnn_224", "identity_all"};
    for (size_t i = 0; i < SW_COUNTOF(models); i++) {
        check_golden(models[i], (struct sw_session_options){.threads = 1, .memory_arena = true});
        check_golden(models[i], (struct sw_session_options){.threads = 2, .memory_arena = true});
        check_golden(models[i], (struct sw_session_options){.threads = 0});
    }
}

static struct sw_tensor tensor(const char *name, enum sw_dtype dtype, void *data, size_t count) {
    return (struct sw_tensor){
        .name = sw_str_of(name), .dtype = dtype, .rank = 1, .shape = {(int64_t)count}, .count = count, .data = data};
}

static void test_only_the_outputs_asked_for_in_any_order(void **state) {
    struct sw_session *s = load_model("add_sub.onnx");
    float a[] = {1, 2}, b[] = {10, 20};
    struct sw_tensor inputs[] = {tensor("b", SW_DTYPE_FP32, b, 2), tensor("a", SW_DTYPE_FP32, a, 2)}; /* reversed */
    inputs[0].rank = inputs[1].rank = 2;
    inputs[0].shape[0] = inputs[1].shape[0] = 1;
    inputs[0].shape[1] = inputs[1].shape[1] = 2;
    const uint32_t both[] = {1, 0}, one[] = {1};
    struct sw_tensor outputs[2];
    assert_int_equal(engine->ops->run(s, inputs, 2, both, 2, outputs, &arena, NULL), SW_OK);
    assert_string_equal(outputs[0].name.data, "difference");
    assert_float_equal(((float *)outputs[0].data)[1], -18, 0);
    assert_string_equal(outputs[1].name.data, "sum");
    assert_float_equal(((float *)outputs[1].data)[1], 22, 0);
    assert_int_equal(engine->ops->run(s, inputs, 2, one, 1, outputs, &arena, NULL), SW_OK);
    assert_string_equal(outputs[0].name.data, "difference");
    assert_int_equal(engine->ops->run(s, inputs, 2, NULL, 0, NULL, &arena, NULL), SW_OK);
    sw_arena_reset(&arena);
    engine->ops->unload(s);
}

static void test_unknown_input_is_refused(void **state) {
    struct sw_session *s = load_model("gather.onnx");
    int64_t index[] = {0};
    struct sw_tensor in = tensor("nonsense", SW_DTYPE_INT64, index, 1), out;
    struct sw_error err;
    assert_int_equal(run_all(s, &in, 1, &out, &arena, &err), SW_E_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "nonsense"));
    sw_arena_reset(&arena);
    engine->ops->unload(s);
}

static void test_missing_input_fails_the_run(void **state) {
    struct sw_session *s = load_model("add_sub.onnx");
    float a[] = {1};
    struct sw_tensor in = tensor("a", SW_DTYPE_FP32, a, 1), outputs[2];
    in.rank = 2;
    in.shape[1] = 1;
    struct sw_error err;
    assert_int_equal(run_all(s, &in, 1, outputs, &arena, &err), SW_E_INFERENCE_FAILED);
    sw_arena_reset(&arena);
    engine->ops->unload(s);
}

static void test_run_time_failure_names_the_reason_and_the_session_lives_on(void **state) {
    struct sw_session *s = load_model("gather.onnx");
    int64_t good[] = {2}, bad[] = {2, 77};
    struct sw_tensor in = tensor("index", SW_DTYPE_INT64, bad, 2), out;
    struct sw_error err;
    assert_int_equal(run_all(s, &in, 1, &out, &arena, &err), SW_E_INFERENCE_FAILED);
    assert_non_null(strstr(err.message, "77"));
    assert_null(strstr(err.message, ".cc:"));
    in = tensor("index", SW_DTYPE_INT64, good, 1);
    assert_int_equal(run_all(s, &in, 1, &out, &arena, &err), SW_OK);
    assert_float_equal(*(float *)out.data, 3, 0);
    sw_arena_reset(&arena);
    engine->ops->unload(s);

    s = load_model("reshape.onnx");
    float five[5] = {0};
    in = tensor("x", SW_DTYPE_FP32, five, 5);
    assert_int_equal(run_all(s, &in, 1, &out, &arena, &err), SW_E_INFERENCE_FAILED);
    assert_non_null(strstr(err.message, "Reshape"));
    sw_arena_reset(&arena);
    engine->ops->unload(s);
}

static void test_nan_output_is_passed_on(void **state) {
    struct sw_session *s = load_model("log_nan.onnx");
    float x[] = {1, -1};
    struct sw_tensor in = tensor("x", SW_DTYPE_FP32, x, 2), out;
    in.rank = 2;
    in.shape[1] = 1;
    assert_int_equal(run_all(s, &in, 1, &out, &arena, NULL), SW_OK);
    assert_int_equal(sw_tensor_find_nonfinite(&out), 1);
    sw_arena_reset(&arena);
    engine->ops->unload(s);
}

static void test_strings_keep_every_byte(void **state) {
    struct sw_session *s = load_model("identity_all.onnx");
    uint32_t index = 0;
    while (engine->ops->outputs(s)->items[index].dtype != SW_DTYPE_BYTES) {
        index++;
    }
    struct golden_case c;
    golden_read("identity_all", &arena, &c, 1); /* the other inputs */
    char large[70000];
    memset(large, 'x', sizeof large);
    struct sw_str strings[] = {SW_STR("a\0b"), SW_STR(""), SW_STR("\xff\xfe"), {large, sizeof large}};
    for (size_t i = 0; i < c.input_count; i++) {
        struct sw_tensor *t = &c.inputs[i];
        if (t->dtype == SW_DTYPE_BYTES) {
            t->data = strings;
        } else {
            t->data = sw_arena_calloc(&arena, 4, 8);
        }
        t->shape[0] = 2;
        t->count = 4;
    }
    struct sw_tensor out;
    assert_int_equal(engine->ops->run(s, c.inputs, c.input_count, &index, 1, &out, &arena, NULL), SW_OK);
    assert_int_equal(out.count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_true(sw_str_eq(((struct sw_str *)out.data)[i], strings[i]));
    }
    sw_arena_reset(&arena);
    engine->ops->unload(s);
}

static void test_large_unsigned_integers(void **state) {
    struct sw_session *s = load_model("identity_all.onnx");
    struct golden_case c;
    golden_read("identity_all", &arena, &c, 1);
    const uint32_t index = 4; /* UINT64 */
    assert_int_equal(c.inputs[index].dtype, SW_DTYPE_UINT64);
    ((uint64_t *)c.inputs[index].data)[1] = UINT64_MAX;
    struct sw_tensor out;
    assert_int_equal(engine->ops->run(s, c.inputs, c.input_count, &index, 1, &out, &arena, NULL), SW_OK);
    assert_true(((uint64_t *)out.data)[1] == UINT64_MAX);
    sw_arena_reset(&arena);
    engine->ops->unload(s);
}

static void test_dimension_of_size_zero(void **state) {
    struct sw_session *s = load_model("identity_all.onnx");
    struct golden_case c;
    golden_read("identity_all", &arena, &c, 1);
    struct sw_tensor outputs[32];
    for (size_t i = 0; i < c.input_count; i++) {
        c.inputs[i].shape[0] = 0;
        c.inputs[i].count = 0;
        c.inputs[i].data = NULL;
    }
    struct sw_error err;
    if (run_all(s, c.inputs, c.input_count, outputs, &arena, &err)) {
        fail_msg("%s", err.message);
    }
    for (size_t i = 0; i < c.input_count; i++) {
        assert_int_equal(outputs[i].count, 0);
        assert_int_equal(outputs[i].rank, 2);
        assert_int_equal(outputs[i].shape[0], 0);
        assert_int_equal(outputs[i].shape[1], 2);
    }
    sw_arena_reset(&arena);
    engine->ops->unload(s);
}

static void test_an_output_does_not_borrow_the_caller_s_input(void **state) {
    struct sw_session *s = load_model("identity_all.onnx");
    struct golden_case c, expected;
    golden_read("identity_all", &arena, &c, 1);
    golden_read("identity_all", &arena, &expected, 1);
    struct sw_tensor outputs[32];
    assert_int_equal(run_all(s, c.inputs, c.input_count, outputs, &arena, NULL), SW_OK);
    for (size_t i = 0; i < c.input_count; i++) { /* the body's memory is used again */
        memset(c.inputs[i].data, 0x55, c.inputs[i].count * sw_dtype_size(c.inputs[i].dtype));
    }
    for (size_t i = 0; i < expected.output_count; i++) {
        golden_compare(&expected.outputs[i], &outputs[i], 0);
    }
    sw_arena_reset(&arena);
    engine->ops->unload(s);
}

static void test_a_passed_through_input_is_copied(void **state) {
    struct sw_session *s = load_model("passthrough.onnx");
    float x[] = {5, 6};
    struct sw_tensor in = tensor("x", SW_DTYPE_FP32, x, 2), outputs[2];
    assert_int_equal(run_all(s, &in, 1, outputs, &arena, NULL), SW_OK);
    x[0] = x[1] = 99;
    assert_float_equal(((float *)outputs[0].data)[1], 6, 0);
    assert_float_equal(((float *)outputs[1].data)[1], -6, 0);
    sw_arena_reset(&arena);
    engine->ops->unload(s);
}

static void test_outputs_of_many_runs_live_until_the_arena_ends(void **state) {
    struct sw_session *s = load_model("default_input.onnx");
    struct sw_tensor outputs[50];
    float x[50];
    for (int i = 0; i < 50; i++) {
        x[i] = (float)i;
        struct sw_tensor in = tensor("x", SW_DTYPE_FP32, &x[i], 1);
        assert_int_equal(run_all(s, &in, 1, &outputs[i], &arena, NULL), SW_OK);
    }
    for (int i = 0; i < 50; i++) {
        assert_float_equal(*(float *)outputs[i].data, 2.0f * (float)i, 0);
    }
    sw_arena_reset(&arena);
    engine->ops->unload(s);
}

static void test_outputs_outlive_their_session(void **state) {
    for (int i = 0; i < 2; i++) {
        struct sw_session *s = load_with("default_input.onnx",
                                         (struct sw_session_options){.threads = 1, .memory_arena = i});
        float x[] = {4};
        struct sw_tensor in = tensor("x", SW_DTYPE_FP32, x, 1), out;
        assert_int_equal(run_all(s, &in, 1, &out, &arena, NULL), SW_OK);
        engine->ops->unload(s);
        assert_float_equal(*(float *)out.data, 8, 0);
        sw_arena_reset(&arena);
    }
}

static void test_arena_without_room(void **state) {
    struct sw_arena small;
    sw_arena_init(&small, 64, 0);
    struct sw_session *s = load_model("default_input.onnx");
    float x[] = {1};
    struct sw_tensor in = tensor("x", SW_DTYPE_FP32, x, 1), out;
    const uint32_t wanted = 0;
    struct sw_error err;
    assert_non_null(sw_arena_alloc(&small, 64));
    assert_int_equal(engine->ops->run(s, &in, 1, &wanted, 1, &out, &small, &err), SW_E_UNAVAILABLE);
    sw_arena_deinit(&small);
    engine->ops->unload(s);
}

/* --- threads --- */

enum { THREADS = 4, RUNS = 200 };

struct worker {
    struct sw_session *session;
    const struct golden_case *golden;
    int wrong;
};

static void *run_many(void *arg) {
    struct worker *w = arg;
    struct sw_arena mine;
    sw_arena_init(&mine, 0, 1 << 16);
    const uint32_t wanted = 0;
    for (int i = 0; i < RUNS; i++) {
        struct sw_tensor out;
        const struct golden_case *c = &w->golden[i % 2];
        if (engine->ops->run(w->session, c->inputs, 1, &wanted, 1, &out, &mine, NULL) ||
            out.count != c->outputs[0].count) {
            w->wrong++;
            continue;
        }
        for (size_t j = 0; j < out.count; j++) {
            float d = ((float *)out.data)[j] - ((float *)c->outputs[0].data)[j];
            w->wrong += !(d < 1e-4f && d > -1e-4f);
        }
        sw_arena_reset(&mine);
    }
    sw_arena_deinit(&mine);
    return NULL;
}

static void check_threads(struct sw_session_options options) {
    struct golden_case golden[2];
    golden_read("mlp_45", &arena, golden, 2);
    struct sw_session *s = load_with("mlp_45.onnx", options);
    struct worker workers[THREADS];
    pthread_t ids[THREADS];
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.session = s, .golden = golden};
        assert_int_equal(pthread_create(&ids[i], NULL, run_many, &workers[i]), 0);
    }
    int wrong = 0;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(ids[i], NULL);
        wrong += workers[i].wrong;
    }
    assert_int_equal(wrong, 0);
    engine->ops->unload(s);
}

static void test_threads_share_one_session(void **state) {
    check_threads((struct sw_session_options){.threads = 1});
    check_threads((struct sw_session_options){.threads = 1, .memory_arena = true});
    check_threads((struct sw_session_options){.threads = 2});
}

static void *load_many(void *arg) {
    int *failed = arg;
    char path[4096];
    models_path("scalar.onnx", path, sizeof path);
    for (int i = 0; i < 20; i++) {
        struct sw_session *s;
        struct sw_session_options options = {.threads = 1 + (unsigned)i % 2};
        if (engine->ops->load(engine, path, &options, &s, NULL)) {
            (*failed)++;
        } else {
            engine->ops->unload(s);
        }
    }
    return NULL;
}

static void test_loads_while_another_session_runs(void **state) {
    pthread_t loader;
    int failed = 0;
    assert_int_equal(pthread_create(&loader, NULL, load_many, &failed), 0);
    check_threads((struct sw_session_options){.threads = 1});
    pthread_join(loader, NULL);
    assert_int_equal(failed, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_golden_answers),
        TEST(test_golden_answers_with_arena_and_pool),
        TEST(test_only_the_outputs_asked_for_in_any_order),
        TEST(test_unknown_input_is_refused),
        TEST(test_missing_input_fails_the_run),
        TEST(test_run_time_failure_names_the_reason_and_the_session_lives_on),
        TEST(test_nan_output_is_passed_on),
        TEST(test_strings_keep_every_byte),
        TEST(test_large_unsigned_integers),
        TEST(test_dimension_of_size_zero),
        TEST(test_an_output_does_not_borrow_the_caller_s_input),
        TEST(test_a_passed_through_input_is_copied),
        TEST(test_outputs_of_many_runs_live_until_the_arena_ends),
        TEST(test_outputs_outlive_their_session),
        TEST(test_arena_without_room),
        TEST(test_threads_share_one_session),
        TEST(test_loads_while_another_session_runs),
    };
    return cmocka_run_group_tests_name("engine/ort_run", tests, open_engine, close_engine);
}
