/* ONNX Runtime engine: what it says of models, and what it says of files that are none. */
#include "engine_fixture.h"

#include <sys/stat.h>
#include <unistd.h>

static void test_version_and_endings(void **state) {
    assert_string_equal(engine->ops->name, "onnxruntime");
    assert_true(strncmp(engine->ops->version(engine), "1.", 2) == 0);
    assert_true(engine->ops->accepts(engine, SW_STR("a/b.onnx")));
    assert_false(engine->ops->accepts(engine, SW_STR("a/b.fake.json")));
    assert_false(engine->ops->accepts(engine, SW_STR("onnx")));
}

static void test_signature_with_named_dimensions(void **state) {
    struct sw_session *s = load_model("add_sub.onnx");
    const struct sw_tensor_specs *in = engine->ops->inputs(s), *out = engine->ops->outputs(s);
    assert_int_equal(in->count, 2);
    assert_int_equal(out->count, 2);
    assert_string_equal(in->items[0].name, "a");
    assert_string_equal(in->items[1].name, "b");
    assert_string_equal(out->items[1].name, "difference");
    assert_int_equal(in->items[0].dtype, SW_DTYPE_FP32);
    assert_int_equal(in->items[0].rank, 2);
    assert_int_equal(in->items[0].shape[0], -1);
    assert_string_equal(in->items[0].dimension_name[0], "rows");
    assert_string_equal(in->items[1].dimension_name[1], "columns");
    assert_false(in->items[0].optional);
    engine->ops->unload(s);
}

static void test_signature_mixes_free_and_fixed(void **state) {
    struct sw_session *s = load_model("cnn_224.onnx");
    const struct sw_tensor_spec *in = &engine->ops->inputs(s)->items[0];
    const int64_t shape[] = {-1, 3, 224, 224};
    assert_int_equal(in->rank, 4);
    assert_memory_equal(in->shape, shape, sizeof shape);
    assert_null(in->dimension_name[1]);
    engine->ops->unload(s);
}

static void test_signature_of_scalars(void **state) {
    struct sw_session *s = load_model("scalar.onnx");
    assert_int_equal(engine->ops->inputs(s)->items[0].rank, 0);
    assert_int_equal(engine->ops->outputs(s)->items[0].rank, 0);
    engine->ops->unload(s);
}

static void test_every_datatype_is_declared(void **state) {
    struct sw_session *s = load_model("identity_all.onnx");
    const struct sw_tensor_specs *in = engine->ops->inputs(s);
    assert_int_equal(in->count, SW_DTYPE_COUNT - 1);
    for (size_t i = 0; i < in->count; i++) {
        assert_string_equal(in->items[i].name + 3, sw_dtype_name(in->items[i].dtype));
    }
    engine->ops->unload(s);
}

static void test_overridable_initializer_is_an_optional_input(void **state) {
    struct sw_session *s = load_model("default_input.onnx");
    const struct sw_tensor_specs *in = engine->ops->inputs(s);
    assert_int_equal(in->count, 2);
    assert_false(in->items[0].optional);
    assert_string_equal(in->items[1].name, "scale");
    assert_true(in->items[1].optional);
    engine->ops->unload(s);
}

struct facts {
    char text[4096];
};

static void note_fact(void *arg, const char *key, const char *value) {
    struct facts *facts = arg;
    size_t used = strlen(facts->text);
    snprintf(facts->text + used, sizeof facts->text - used, "%s=%s\n", key, value);
}

static void test_describe(void **state) {
    struct sw_session *s = load_model("add_sub.onnx");
    struct facts facts = {{0}};
    engine->ops->describe(s, note_fact, &facts);
    static const char *const lines[] = {"producer=slipway-test-models\n",
                                        "producer_version=1\n",
                                        "graph=add_sub\n",
                                        "ir_version=8\n",
                                        "opset.ai.onnx=17\n",
                                        "opset.ai.onnx.ml=3\n",
                                        "metadata.author=tests\n",
                                        "metadata.threshold=0.25\n"};
    for (size_t i = 0; i < SW_COUNTOF(lines); i++) {
        if (!strstr(facts.text, lines[i])) {
            fail_msg("no %s in\n%s", lines[i], facts.text);
        }
    }
    assert_null(strstr(facts.text, "model_version")); /* not set in the file */
    engine->ops->unload(s);
}

/* --- files that cannot be loaded --- */

/* Loading fails with that status; the message names the file, every other text given, and no source path. */
static void expect_refused(const char *file, sw_status status, const char *first, const char *second) {
    char path[4096];
    struct sw_session *session = NULL;
    struct sw_error err = {0};
    struct sw_session_options options = {.threads = 1};
    sw_status got = engine->ops->load(engine, models_path(file, path, sizeof path), &options, &session, &err);
    if (got != status || err.code != status) {
        fail_msg("%s: %s: %s", file, sw_status_name(got), err.message);
    }
    assert_null(session);
    const char *parts[] = {file, first, second};
    for (size_t i = 0; i < SW_COUNTOF(parts); i++) {
        if (parts[i] && !strstr(err.message, parts[i])) {
            fail_msg("'%s' is not in: %s", parts[i], err.message);
        }
    }
    static const char *const never[] = {"onnxruntime_src", ".cc:", ".h:", "std::", "Load model from"};
    for (size_t i = 0; i < SW_COUNTOF(never); i++) {
        if (strstr(err.message, never[i])) {
            fail_msg("'%s' is in: %s", never[i], err.message);
        }
    }
}

static void test_missing_file(void **state) {
    expect_refused("nosuch.onnx", SW_E_NOT_FOUND, "no such file", NULL);
}

static void test_folder(void **state) {
    expect_refused(".", SW_E_IO, "not a regular file", NULL);
}

static void test_fifo_does_not_block(void **state) {
    char path[4096];
    models_path("fifo.onnx", path, sizeof path);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    expect_refused("fifo.onnx", SW_E_IO, "not a regular file", NULL);
    unlink(path);
}

static void test_empty_file(void **state) {
    expect_refused("empty.onnx", SW_E_MODEL_INVALID, "empty", NULL);
}

static void test_truncated_file(void **state) {
    expect_refused("truncated.onnx", SW_E_MODEL_INVALID, "broken or cut off", NULL);
}

static void test_other_file(void **state) {
    expect_refused("not_a_model.onnx", SW_E_MODEL_INVALID, "not an ONNX model", NULL);
}

static void test_unsupported_opset(void **state) {
    expect_refused("opset_99.onnx", SW_E_MODEL_INVALID, "opset 99", "ai.onnx");
}

static void test_unsupported_format_version(void **state) {
    expect_refused("ir_99.onnx", SW_E_MODEL_INVALID, "IR version", "99");
}

static void test_unknown_operator(void **state) {
    expect_refused("unknown_operator.onnx", SW_E_MODEL_INVALID, "Frobnicate", "opset 17");
    expect_refused("unknown_domain.onnx", SW_E_MODEL_INVALID, "com.example:Frobnicate", NULL);
}

static void test_types_that_do_not_fit(void **state) {
    expect_refused("wrong_types.onnx", SW_E_MODEL_INVALID, "tensor(string)", "Add");
}

static void test_missing_external_data(void **state) {
    expect_refused("external_missing.onnx", SW_E_MODEL_INVALID, "nowhere.bin", NULL);
}

static void test_inputs_and_outputs_that_are_no_tensors(void **state) {
    expect_refused("sequence_output.onnx", SW_E_MODEL_INVALID, "'parts'", "sequence");
    expect_refused("optional_type.onnx", SW_E_MODEL_INVALID, "'maybe'", "optional");
}

static void test_input_without_shape(void **state) {
    expect_refused("shapeless_input.onnx", SW_E_MODEL_INVALID, "'x'", "shape");
}

/* --- finding the library --- */

static void expect_no_library(const char *path, const char *first, const char *second) {
    struct sw_engine *other = NULL;
    struct sw_error err;
    assert_int_equal(sw_engine_ort_create(&(struct sw_ort_options){.library_path = path}, &other, &err), SW_E_IO);
    assert_null(other);
    const char *parts[] = {first, second, "make setup"};
    for (size_t i = 0; i < SW_COUNTOF(parts); i++) {
        if (!strstr(err.message, parts[i])) {
            fail_msg("'%s' is not in: %s", parts[i], err.message);
        }
    }
}

static void test_named_library_that_cannot_be_used(void **state) {
    expect_no_library("/nonexistent/libonnxruntime.so", "/nonexistent/libonnxruntime.so", "asked for");
    expect_no_library("/proc/self/cmdline", "/proc/self/cmdline", "asked for");
    expect_no_library("libm.so.6", "libm.so.6", "not an ONNX Runtime library");
}

static void test_library_named_by_the_environment(void **state) {
    const char *before = getenv("SLIPWAY_ORT_LIB");
    char *kept = before ? strdup(before) : NULL;
    setenv("SLIPWAY_ORT_LIB", "/nonexistent/x.so", 1);
    expect_no_library(NULL, "/nonexistent/x.so", "SLIPWAY_ORT_LIB");
    unsetenv("SLIPWAY_ORT_LIB");
    if (kept) {
        setenv("SLIPWAY_ORT_LIB", kept, 1);
    }
    free(kept);
}

static void test_searched_places_are_all_named(void **state) {
    const char *before = getenv("SLIPWAY_ORT_LIB");
    char *kept = before ? strdup(before) : NULL, folder[4096];
    assert_non_null(getcwd(folder, sizeof folder));
    unsetenv("SLIPWAY_ORT_LIB");
    assert_int_equal(chdir("/"), 0); /* away from third_party */
    struct sw_engine *other = NULL;
    struct sw_error err;
    sw_status status = sw_engine_ort_create(NULL, &other, &err);
    assert_int_equal(chdir(folder), 0);
    if (kept) {
        setenv("SLIPWAY_ORT_LIB", kept, 1);
    }
    free(kept);
    if (!status) { /* this machine has it as a system library */
        sw_engine_destroy(other);
        return;
    }
    assert_int_equal(status, SW_E_IO);
    assert_non_null(strstr(err.message, "third_party/onnxruntime/libonnxruntime.so"));
    assert_non_null(strstr(err.message, "lib/slipway"));
    assert_non_null(strstr(err.message, "libonnxruntime.so.1"));
    assert_non_null(strstr(err.message, "make setup"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version_and_endings),
        cmocka_unit_test(test_signature_with_named_dimensions),
        cmocka_unit_test(test_signature_mixes_free_and_fixed),
        cmocka_unit_test(test_signature_of_scalars),
        cmocka_unit_test(test_every_datatype_is_declared),
        cmocka_unit_test(test_overridable_initializer_is_an_optional_input),
        cmocka_unit_test(test_describe),
        cmocka_unit_test(test_missing_file),
        cmocka_unit_test(test_folder),
        cmocka_unit_test(test_fifo_does_not_block),
        cmocka_unit_test(test_empty_file),
        cmocka_unit_test(test_truncated_file),
        cmocka_unit_test(test_other_file),
        cmocka_unit_test(test_unsupported_opset),
        cmocka_unit_test(test_unsupported_format_version),
        cmocka_unit_test(test_unknown_operator),
        cmocka_unit_test(test_types_that_do_not_fit),
        cmocka_unit_test(test_missing_external_data),
        cmocka_unit_test(test_inputs_and_outputs_that_are_no_tensors),
        cmocka_unit_test(test_input_without_shape),
        cmocka_unit_test(test_named_library_that_cannot_be_used),
        cmocka_unit_test(test_library_named_by_the_environment),
        cmocka_unit_test(test_searched_places_are_all_named),
    };
    return cmocka_run_group_tests_name("engine/ort_load", tests, open_engine, close_engine);
}
