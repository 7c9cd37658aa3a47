/* Loading and running models with an engine made here: it doubles FP32 numbers, or misbehaves as the file's text says.
 * So loading, steps, golden answers and reference counting are tested without a runtime. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "folder.h"
#include "pipeline/model.h"
#include "samples.h"

/* the engine ------------------------------------------------------------------------------------------------------- */

/* One FP32 input `x` and one output `y` of the same shape [-1,2], or pictures [-1,1,1,2]. What the file says:
 * "double", "picture", "fail" (every run), "nan", "fail-zero" (a run on zeros), "aux" (a second output z of constant
 * 5), "fixed" (one row). */
struct test_session {
    struct sw_session base;
    char mode[16];
    struct sw_tensor_specs inputs, outputs;
};

static int sessions_alive;

static const char *engine_version(struct sw_engine *engine) {
    return "1";
}
static void engine_destroy(struct sw_engine *engine) {
}
static bool engine_accepts(struct sw_engine *engine, struct sw_str path) {
    return sw_str_ends(path, SW_STR(".onnx"));
}

static struct sw_tensor_specs make_specs(const char *first, const char *second, bool picture) {
    struct sw_tensor_specs specs = {.items = sw_xcalloc(2, sizeof *specs.items), .count = second ? 2 : 1};
    for (size_t i = 0; i < specs.count; i++) {
        struct sw_tensor_spec spec = {.name = sw_xstrdup(i ? second : first), .dtype = SW_DTYPE_FP32, .rank = 2};
        memcpy(spec.shape, ((int64_t[]){-1, 2}), 16);
        if (picture) {
            spec.rank = 4;
            memcpy(spec.shape, ((int64_t[]){-1, 1, 1, 2}), 32);
        }
        specs.items[i] = spec;
    }
    return specs;
}

static sw_status engine_load(struct sw_engine *engine, const char *path, const struct sw_session_options *options,
                             struct sw_session **ret, struct sw_error *err) {
    struct sw_buf text;
    SW_TRY(sw_file_read(path, 1000, &text, err));
    if (strncmp(text.data ? text.data : "", "broken", 6) == 0) {
        sw_buf_deinit(&text);
        return sw_fail(err, SW_E_MODEL_INVALID, "broken on purpose");
    }
    struct test_session *s = SW_NEW(struct test_session);
    s->base.engine = engine;
    snprintf(s->mode, sizeof s->mode, "%.15s", text.data ? text.data : "");
    sw_buf_deinit(&text);
    bool picture = strcmp(s->mode, "picture") == 0;
    s->inputs = make_specs("x", NULL, picture);
    s->inputs.items[0].shape[0] = strcmp(s->mode, "fixed") == 0 ? 1 : -1;
    s->outputs = make_specs("y", strcmp(s->mode, "aux") == 0 ? "z" : NULL, false);
    __atomic_add_fetch(&sessions_alive, 1, __ATOMIC_SEQ_CST);
    *ret = &s->base;
    return SW_OK;
}

static void engine_unload(struct sw_session *session) {
    struct test_session *s = (struct test_session *)session;
    sw_specs_deinit(&s->inputs);
    sw_specs_deinit(&s->outputs);
    sw_free(s);
    __atomic_sub_fetch(&sessions_alive, 1, __ATOMIC_SEQ_CST);
}

static const struct sw_tensor_specs *engine_inputs(const struct sw_session *session) {
    return &((const struct test_session *)session)->inputs;
}
static const struct sw_tensor_specs *engine_outputs(const struct sw_session *session) {
    return &((const struct test_session *)session)->outputs;
}
static void engine_describe(const struct sw_session *session, void (*fn)(void *, const char *, const char *),
                            void *arg) {
}

static sw_status engine_run(struct sw_session *session, const struct sw_tensor *inputs, size_t input_count,
                            const uint32_t *indices, size_t count, struct sw_tensor *ret, struct sw_arena *arena,
                            struct sw_error *err) {
    const struct test_session *s = (const struct test_session *)session;
    const float *in = inputs[0].data;
    bool zero = inputs[0].count > 0 && in[0] == 0;
    if (strcmp(s->mode, "fail") == 0 || (strcmp(s->mode, "fail-zero") == 0 && zero)) {
        return sw_fail(err, SW_E_INFERENCE_FAILED, "failed on purpose");
    }
    for (size_t i = 0; i < count; i++) {
        const int64_t shape[] = {inputs[0].shape[0], 2};
        struct sw_str name = sw_str_of(s->outputs.items[indices[i]].name);
        SW_TRY(sw_tensor_alloc(&ret[i], arena, name, SW_DTYPE_FP32, shape, 2, err));
        float *out = ret[i].data;
        for (size_t k = 0; k < ret[i].count; k++) {
            out[k] = indices[i] == 1 ? 5 : in[k] * 2;
        }
        if (strcmp(s->mode, "nan") == 0 && !zero) {
            out[1] = NAN;
        }
    }
    return SW_OK;
}

static const struct sw_engine_ops engine_ops = {"test",          engine_version, engine_destroy, engine_accepts,
                                                engine_load,     engine_unload,  engine_inputs,  engine_outputs,
                                                engine_describe, engine_run};
static struct sw_engine engine = {&engine_ops};
static struct sw_engine *engines[] = {&engine};
static const struct sw_model_options options = {.engines = engines, .engine_count = 1};

/* helpers ---------------------------------------------------------------------------------------------------------- */

static char *bundle(const char *mode, const char *yaml, const char *golden) {
    char *dir = folder_make();
    folder_write_text(dir, "m.onnx", mode);
    folder_write_text(dir, "bundle.yaml", yaml);
    if (golden) {
        folder_write_text(dir, "g.jsonl", golden);
    }
    return dir;
}

static struct sw_model *load(const char *mode, const char *yaml) {
    char *dir = bundle(mode, yaml, NULL);
    struct sw_model *model = NULL;
    struct sw_error err = {0};
    if (sw_model_load(dir, "m", 3, &options, &model, &err)) {
        fail_msg("%s: %s", yaml, err.message);
    }
    folder_remove(dir);
    return model;
}

/* `says` stands in the message, or, with a '$' behind it, ends it. */
static void expect_load_error(const char *mode, const char *yaml, const char *golden, sw_status status,
                              const char *says) {
    char *dir = bundle(mode, yaml, golden);
    struct sw_model *model = NULL;
    struct sw_error err = {0};
    assert_int_equal(sw_model_load(dir, NULL, 1, &options, &model, &err), status);
    assert_int_equal(err.code, status);
    assert_null(model);
    size_t length = strlen(says);
    bool at_end = length && says[length - 1] == '$';
    bool found = at_end ? sw_str_ends(sw_str_of(err.message), (struct sw_str){says, length - 1})
                        : strstr(err.message, says) != NULL;
    if (!found) {
        fail_msg("\"%s\" lacks \"%s\"", err.message, says);
    }
    assert_int_equal(sw_model_load(dir, NULL, 1, &options, &model, NULL), status);
    folder_remove(dir);
    assert_int_equal(sessions_alive, 0);
}

static sw_status infer(const struct sw_model *model, const float *x, int64_t rows, struct sw_inference *inference,
                       struct sw_arena *arena, struct sw_error *err) {
    static const int64_t columns = 2;
    struct sw_tensor *t = sw_arena_calloc(arena, 1, sizeof *t);
    SW_TRY(sw_tensor_alloc(t, arena, SW_STR("x"), SW_DTYPE_FP32, (int64_t[]){rows, columns}, 2, err));
    memcpy(t->data, x, t->count * sizeof *x);
    inference->inputs = t;
    inference->input_count = 1;
    return sw_model_infer(model, inference, arena, sw_clock_system(), err);
}

/* tests ------------------------------------------------------------------------------------------------------------ */

static void plain_model(void **state) {
    struct sw_model *model = load("double", "description: d\n");
    assert_string_equal(model->name, "m");
    assert_int_equal(model->version, 3);
    assert_true(model->batchable);
    assert_true(model->run_ns > 0);
    assert_null(model->warmup_note);
    struct sw_arena arena;
    struct sw_error err = {0};
    struct sw_inference inference = {0};
    sw_arena_init(&arena, 0, 0);
    assert_int_equal(infer(model, (float[]){1, 2, 3, 4}, 2, &inference, &arena, &err), SW_OK);
    assert_int_equal(inference.output_count, 1);
    assert_memory_equal(inference.outputs[0].data, ((float[]){2, 4, 6, 8}), 16);
    inference.inputs[0].name = SW_STR("q");
    assert_int_equal(sw_model_infer(model, &inference, &arena, sw_clock_system(), &err), SW_E_INVALID_ARGUMENT);
    sw_arena_deinit(&arena);
    sw_model_ref(model);
    sw_model_unref(model);
    assert_int_equal(sessions_alive, 1);
    sw_model_unref(model);
    assert_int_equal(sessions_alive, 0);
    sw_model_unref(NULL);
}

static void wanted_outputs(void **state) {
    for (int steps = 0; steps < 2; steps++) {
        struct sw_model *model = load("aux", steps ? "output: { softmax: { tensor: y } }" : "");
        struct sw_arena arena;
        const uint32_t wanted[] = {1};
        struct sw_inference inference = {.wanted = wanted, .wanted_count = 1};
        sw_arena_init(&arena, 0, 0);
        assert_int_equal(infer(model, (float[]){1, 1}, 1, &inference, &arena, NULL), SW_OK);
        assert_int_equal(inference.output_count, 1);
        assert_true(sw_str_is(inference.outputs[0].name, "z"));
        assert_memory_equal(inference.outputs[0].data, ((float[]){5, 5}), 8);
        sw_arena_deinit(&arena);
        sw_model_unref(model);
    }
}

static void steps_in_order(void **state) {
    /* A mapping runs by order: softmax before labels, whatever the text says; a list runs as written. */
    struct sw_model *mapped = load("double", "output: { labels: [a, b], softmax: true }");
    struct sw_model *listed = load("double", "output: [ { labels: [a, b] }, { softmax: { tensor: y } } ]");
    struct sw_arena arena;
    sw_arena_init(&arena, 0, 0);
    assert_int_equal(mapped->outputs.count, 3);
    for (int i = 0; i < 2; i++) {
        struct sw_inference inference = {0};
        assert_int_equal(infer(i ? listed : mapped, (float[]){0.5f, 1}, 1, &inference, &arena, NULL), SW_OK);
        assert_int_equal(inference.output_count, 3);
        assert_true(sw_str_is(*(struct sw_str *)inference.outputs[1].data, "b"));
        float p = *(float *)inference.outputs[2].data, y = ((float *)inference.outputs[0].data)[1];
        assert_true(fabsf(y - 0.7310586f) < 1e-6f);
        assert_true(fabsf(p - (i ? 2.0f : 0.7310586f)) < 1e-6f);
    }
    sw_arena_deinit(&arena);
    sw_model_unref(mapped);
    sw_model_unref(listed);
}

static void nonfinite_answers(void **state) {
    static const char *const yamls[] = {"", "output: { labels: [a, b] }", "output: { allow_nonfinite: true }"};
    struct sw_arena arena;
    sw_arena_init(&arena, 0, 0);
    for (size_t i = 0; i < 3; i++) {
        struct sw_model *model = load("nan", yamls[i]);
        struct sw_inference inference = {0};
        struct sw_error err = {0};
        sw_status status = infer(model, (float[]){1, 1}, 1, &inference, &arena, &err);
        assert_int_equal(status, i == 2 ? SW_OK : SW_E_INFERENCE_FAILED);
        if (i < 2) {
            assert_non_null(strstr(err.message, "output 'y', element 1, is NaN"));
        }
        sw_model_unref(model);
    }
    sw_arena_deinit(&arena);
}

static void warm_up_may_fail(void **state) {
    struct sw_model *model = load("fail-zero", "");
    assert_int_equal(model->run_ns, 0);
    assert_non_null(strstr(model->warmup_note, "failed on purpose"));
    sw_model_unref(model);
}

static void trial_of_batching(void **state) {
    struct sw_model_options with_trial = options;
    with_trial.trial = true;
    static const struct {
        const char *mode, *yaml;
        enum sw_probe_rows rows;
    } cases[] = {{"double", "", SW_ROWS_APART},
                 {"fail", "", SW_ROWS_UNTESTED},
                 {"fixed", "batching: { max_batch: 1 }", SW_ROWS_NONE}};
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        char *dir = bundle(cases[i].mode, cases[i].yaml, NULL);
        struct sw_model *model = NULL;
        assert_int_equal(sw_model_load(dir, "m", 1, &with_trial, &model, NULL), SW_OK);
        assert_int_equal(model->probe.rows, cases[i].rows);
        assert_int_equal(model->probe.note[0] != '\0', cases[i].rows != SW_ROWS_APART);
        assert_int_equal(sw_profile_ns(&model->probe.profile, 1) > 0, strcmp(cases[i].mode, "fail") != 0);
        sw_model_unref(model);
        folder_remove(dir);
    }
    struct sw_model *untried = load("double", "");
    assert_int_equal(untried->probe.rows, SW_ROWS_UNTESTED);
    assert_int_equal(sw_profile_ns(&untried->probe.profile, 1), untried->run_ns);
    sw_model_unref(untried);
}

static void faults_at_load(void **state) {
    expect_load_error("broken", "", NULL, SW_E_MODEL_INVALID, "broken on purpose");
    expect_load_error("double", "model: none.onnx", NULL, SW_E_MODEL_INVALID, "model: \"none.onnx\"");
    expect_load_error("double", "input: { kind: image }", NULL, SW_E_MODEL_INVALID, "input.channels: is needed");
    expect_load_error("double", "input: { kind: tensor, x: 1 }", NULL, SW_E_MODEL_INVALID, "input.x: no such key");
    expect_load_error("double", "output: { labels: [a] }", NULL, SW_E_MODEL_INVALID, "output.labels: no tensor fits");
    expect_load_error("double", "output: { softmax: true, labels: 3 }", NULL, SW_E_MODEL_INVALID, "output.labels");
    expect_load_error("fixed", "batching: { max_batch: 8 }", NULL, SW_E_MODEL_INVALID,
                      "batching.max_batch: requests cannot be batched: dimension 0 of input 'x' is fixed at 1");
    struct sw_model *model = NULL;
    assert_int_equal(sw_model_load("/nowhere", NULL, 1, &options, &model, NULL), SW_E_NOT_FOUND);
    assert_int_equal(sw_model_load("/tmp", "bad name", 1, &options, &model, NULL), SW_E_INVALID_ARGUMENT);
}

#define LINE_OK                                                                            \
    "{\"inputs\":[{\"name\":\"x\",\"shape\":[1,2],\"datatype\":\"FP32\",\"data\":[1,2]}]," \
    "\"outputs\":[{\"name\":\"y\",\"shape\":[1,2],\"datatype\":\"FP32\",\"data\":[2.00005,4]}]}\n"
#define LINE(outputs, more)                                                                \
    "{\"inputs\":[{\"name\":\"x\",\"shape\":[1,2],\"datatype\":\"FP32\",\"data\":[1,2]}]," \
    "\"outputs\":[" outputs "]" more "}\n"

static void golden_answers(void **state) {
    char *dir = bundle(
        "double", "golden: g.jsonl\noutput: { labels: [a, b] }\n",
        LINE_OK "\n" LINE("{\"name\":\"label\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[\"b\"]}", "")
            LINE("{\"name\":\"y\",\"shape\":[1,2],\"datatype\":\"FP32\",\"data\":[2.5,3]}", ",\"tolerance\":0.5"));
    struct sw_model *model = NULL;
    struct sw_error err = {0};
    if (sw_model_load(dir, NULL, 1, &options, &model, &err)) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(model->golden_count, 3);
    size_t count = 0;
    assert_int_equal(sw_golden_check(model, sw_clock_system(), &count, &err), SW_OK);
    assert_int_equal(count, 3);
    sw_model_unref(model);
    struct sw_model_options skip = options;
    skip.skip_golden = true;
    folder_write_text(dir, "g.jsonl", "nonsense");
    assert_int_equal(sw_model_load(dir, NULL, 1, &skip, &model, &err), SW_OK);
    assert_int_equal(model->golden_count, 0);
    sw_model_unref(model);
    folder_remove(dir);
}

static void golden_faults(void **state) {
    static const struct {
        const char *text;
        sw_status status;
        const char *says;
    } rows[] = {
        {LINE_OK LINE("{\"name\":\"y\",\"shape\":[1,2],\"datatype\":\"FP32\",\"data\":[2,5]}", ""),
         SW_E_GOLDEN_MISMATCH, "g.jsonl line 2: output 'y', element 1: expected 5, got 4 (tolerance 0.0001)"},
        {LINE("{\"name\":\"y\",\"shape\":[2],\"datatype\":\"FP32\",\"data\":[2,4]}", ""), SW_E_GOLDEN_MISMATCH,
         "line 1: output 'y': expected shape [2], got [1,2]"},
        {LINE("{\"name\":\"y\",\"shape\":[1,2],\"datatype\":\"INT64\",\"data\":[2,4]}", ""), SW_E_GOLDEN_MISMATCH,
         "expected INT64, got FP32"},
        {LINE("{\"name\":\"label\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[\"a\"]}", ""), SW_E_GOLDEN_MISMATCH,
         "expected \"a\", got \"b\""},
        {LINE("{\"name\":\"q\",\"shape\":[1],\"datatype\":\"FP32\",\"data\":[1]}", ""), SW_E_MODEL_INVALID,
         "the model has no output 'q'"},
        {"{\"inputs\":[{\"name\":\"w\",\"shape\":[1,2],\"datatype\":\"FP32\",\"data\":[1,2]}],\"outputs\":[]}",
         SW_E_MODEL_INVALID, "line 1"},
        {LINE("", ""), SW_E_MODEL_INVALID, "at least one output"},
        {LINE("{\"name\":\"y\",\"shape\":[1,2],\"datatype\":\"FP32\",\"data\":[2,4]}", ",\"tolerance\":-1"),
         SW_E_MODEL_INVALID, "tolerance is negative"},
        {LINE("{\"name\":\"y\",\"shape\":[1,2],\"datatype\":\"FP32\",\"data\":[2,4]}", ",\"tol\":1"),
         SW_E_MODEL_INVALID, "unknown key \"tol\""},
        {LINE_OK "{\"inputs\"", SW_E_MODEL_INVALID, "line 2"},
        {LINE_OK "nonsense\n", SW_E_MODEL_INVALID, "line 2"},
        {"\n\n", SW_E_MODEL_INVALID, "holds no request"},
        {"{\"inputs\":[{\"name\":\"x\",\"file\":\"../secret\"}],\"outputs\":[]}", SW_E_MODEL_INVALID, "line 1"},
    };
    for (size_t i = 0; i < SW_COUNTOF(rows); i++) {
        expect_load_error("double", "golden: g.jsonl\noutput: { labels: [a, b] }\n", rows[i].text, rows[i].status,
                          rows[i].says);
    }
    expect_load_error("double", "golden: g.jsonl\noutput: { labels: [a, b] }\n",
                      LINE("{\"name\":\"label\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[\"a\"]}", ""),
                      SW_E_GOLDEN_MISMATCH, "expected \"a\", got \"b\"$");
    expect_load_error("fail", "golden: g.jsonl\n", LINE_OK, SW_E_GOLDEN_MISMATCH, "line 1: failed on purpose");
    expect_load_error("double", "golden: none.jsonl\n", NULL, SW_E_MODEL_INVALID, "golden: ");
}

static void golden_pictures(void **state) {
    struct sample s = sample_bmp(&(struct bmp_spec){.width = 2, .height = 1, .bits = 24},
                                 (unsigned char[]){51, 51, 51, 255, 255, 255, 0, 0}, 8);
    char *dir = bundle("picture", "golden: g.jsonl\ninput: { kind: image }\n",
                       "{\"inputs\":[{\"name\":\"image\",\"file\":\"s.bmp\"}],"
                       "\"outputs\":[{\"name\":\"y\",\"shape\":[1,2],\"datatype\":\"FP32\",\"data\":[0.4,2]}]}\n");
    folder_write(dir, "s.bmp", s.data, s.len);
    struct sw_model *model = NULL;
    struct sw_error err = {0};
    if (sw_model_load(dir, NULL, 1, &options, &model, &err)) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(model->golden_count, 1);
    assert_string_equal(model->inputs.items[0].name, "image");
    sw_model_unref(model);
    folder_write_text(dir, "s.bmp", "BM");
    assert_int_equal(sw_model_load(dir, NULL, 1, &options, &model, &err), SW_E_GOLDEN_MISMATCH);
    assert_non_null(strstr(err.message, "line 1: input 'image', element 0: BMP"));
    sample_free(&s);
    folder_remove(dir);
}

static void zero_inputs(void **state) {
    struct sw_tensor_spec items[] = {{.name = "a", .dtype = SW_DTYPE_INT64, .rank = 2, .shape = {-1, 3}},
                                     {.name = "b", .dtype = SW_DTYPE_BYTES, .rank = 0}};
    const struct sw_tensor_specs specs = {items, 2};
    struct sw_arena arena;
    struct sw_tensor *t = NULL;
    sw_arena_init(&arena, 0, 0);
    assert_int_equal(sw_model_zero_inputs(&specs, 4, &arena, &t, NULL), SW_OK);
    assert_true(t[0].shape[0] == 4 && t[0].count == 12 && ((int64_t *)t[0].data)[11] == 0);
    assert_true(t[1].count == 1 && ((struct sw_str *)t[1].data)[0].len == 0);
    sw_arena_deinit(&arena);
}

static void *many_runs(void *arg) {
    struct sw_model *model = arg;
    struct sw_arena arena;
    sw_arena_init(&arena, 0, 1 << 16);
    for (int i = 1; i < 300; i++) {
        struct sw_inference inference = {0};
        const float x[] = {(float)i, 0};
        if (infer(model, x, 1, &inference, &arena, NULL) || inference.output_count != 3 ||
            !sw_str_is(*(struct sw_str *)inference.outputs[1].data, "a")) {
            sw_arena_deinit(&arena);
            return arg;
        }
        sw_arena_reset(&arena);
    }
    sw_arena_deinit(&arena);
    sw_model_unref(model);
    return NULL;
}

static void concurrent_runs(void **state) {
    struct sw_model *model = load("double", "output: { softmax: true, labels: [a, b] }");
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        sw_model_ref(model);
        assert_int_equal(pthread_create(&threads[i], NULL, many_runs, model), 0);
    }
    sw_model_unref(model); /* the last thread to end unloads */
    for (int i = 0; i < 4; i++) {
        void *failed = model;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(sessions_alive, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_model),       cmocka_unit_test(wanted_outputs),   cmocka_unit_test(steps_in_order),
        cmocka_unit_test(nonfinite_answers), cmocka_unit_test(warm_up_may_fail), cmocka_unit_test(faults_at_load),
        cmocka_unit_test(golden_answers),    cmocka_unit_test(golden_faults),    cmocka_unit_test(golden_pictures),
        cmocka_unit_test(trial_of_batching), cmocka_unit_test(zero_inputs),      cmocka_unit_test(concurrent_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
