/* The gates of a promotion, on folders (fake engine and ONNX Runtime) and on versions of a registry. Time is a clock
 * that moves by a millisecond whenever somebody looks at it, so that what was measured is exact. */
#include "../world.h"

#include <unistd.h>

#include "base/file.h"
#include "registry/registry_internal.h"

#ifdef __SANITIZE_THREAD__
/* As in tests/unit/engine/engine_fixture.h: ONNX Runtime is not built for the sanitizer. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void) {
    return "race:libonnxruntime.so\n";
}
#endif

/* a millisecond a look --------------------------------------------------------------------------------------------- */

static uint64_t looks;
static uint64_t slow_from = UINT64_MAX, slow_ns; /* from that look on, each takes slow_ns */

static uint64_t look(struct sw_clock *clock) {
    looks++;
    return clock->fake_ns += looks >= slow_from ? slow_ns : 1000000;
}

static uint64_t wall(struct sw_clock *clock) {
    return 1800000000000;
}

static struct sw_clock ticking = {.monotonic_ns = look, .wall_ms = wall};

/* folders ---------------------------------------------------------------------------------------------------------- */

static char *folder;
static struct sw_engine *engines[2]; /* fake, ONNX Runtime */

static void put(const char *name, const char *text) {
    SW_AUTO_FREE char *path = sw_path_join(folder, name);
    FILE *f = fopen(path, "wb");
    assert_true(f && fwrite(text, 1, strlen(text), f) == strlen(text) && fclose(f) == 0);
}

static int begin(void **state) {
    folder = sw_xstrdup("/tmp/slipway-gates-XXXXXX");
    assert_non_null(mkdtemp(folder));
    looks = 0;
    slow_from = UINT64_MAX;
    ticking.fake_ns = 0;
    return 0;
}

static int end(void **state) {
    sw_registry_remove_tree(folder);
    assert_int_equal(access(folder, F_OK), -1);
    sw_free(folder);
    return 0;
}

#define SUM                                                                                                          \
    "{\"inputs\": [{\"name\": \"x\", \"datatype\": \"FP32\", \"shape\": [-1, 2]}], \"outputs\": [{\"name\": \"y\", " \
    "\"datatype\": \"FP32\", \"shape\": [-1, 1]}], \"op\": \"sum\"}"
#define GOLDEN(answer)                                                                                \
    "{\"inputs\": [{\"name\": \"x\", \"datatype\": \"FP32\", \"shape\": [1, 2], \"data\": [1, 2]}], " \
    "\"outputs\": [{\"name\": \"y\", \"datatype\": \"FP32\", \"shape\": [1, 1], \"data\": [" answer "]}]}\n"

struct outcome {
    json_t *gates, *signature;
    bool passed, loads;
};

static void outcome_deinit(struct outcome *o) {
    json_decref(o->gates);
    json_decref(o->signature);
}
#define AUTO_OUTCOME SW_CLEANUP(outcome_deinit) struct outcome

static struct outcome run_with(struct sw_gate_input input) {
    const struct sw_model_options options = {
        .engines = engines, .engine_count = 2, .default_threads = 1, .clock = &ticking};
    struct outcome o = {0};
    input.path = folder;
    input.name = "m";
    input.version = 1;
    input.iterations = input.iterations ? input.iterations : 20;
    assert_sw_ok(sw_gates_run(&input, &options, &o.gates, &o.signature, &o.passed, &o.loads, err));
    return o;
}
#define run(...) run_with((struct sw_gate_input){__VA_ARGS__})

static json_t *gate(const struct outcome *o, const char *name) {
    size_t i;
    json_t *g;
    json_array_foreach(o->gates, i, g) {
        if (strcmp(json_string_value(json_object_get(g, "name")), name) == 0) {
            assert_int_equal(json_object_size(g), 5); /* name, status, measured, wanted, detail: always */
            return g;
        }
    }
    fail_msg("no gate %s", name);
    return NULL;
}

static void assert_gate(const struct outcome *o, const char *name, const char *status, const char *says) {
    json_t *g = gate(o, name);
    const char *detail = json_string_value(json_object_get(g, "detail"));
    assert_string_equal(json_string_value(json_object_get(g, "status")), status);
    if (says && !strstr(detail ? detail : "", says)) {
        fail_msg("%s: '%s' does not say '%s'", name, detail, says);
    }
    if (detail && strstr(detail, folder)) {
        fail_msg("%s: '%s' tells where the folder is", name, detail);
    }
}

static double number(const struct outcome *o, const char *name, const char *member) {
    json_t *value = json_object_get(gate(o, name), member);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

/* load and golden -------------------------------------------------------------------------------------------------- */

static void test_a_model_without_wishes_passes(void **state) {
    put("model.fake.json", SUM);
    AUTO_OUTCOME o = run(0);
    assert_true(o.passed && o.loads);
    assert_gate(&o, "load", "passed", NULL);
    assert_gate(&o, "golden", "skipped", "no golden answers");
    assert_gate(&o, "signature", "skipped", "no version is live");
    assert_gate(&o, "latency", "skipped", "max_latency_ms");
    assert_int_equal(json_array_size(o.gates), 4);
    assert_json(o.signature, "{'inputs': [{'name': 'x', 'datatype': 'FP32', 'shape': [-1, 2]}], 'outputs': [{'name': "
                             "'y', 'datatype': 'FP32', 'shape': [-1, 1]}]}");
}

static void test_a_model_that_does_not_load(void **state) {
    put("model.fake.json", "{\"inputs\": [], \"outputs\": [], \"load_error\": \"operator Frobnicate is unknown\"}");
    put("bundle.yaml", "gates: {max_latency_ms: 5}\n");
    AUTO_OUTCOME o = run(0);
    assert_false(o.passed);
    assert_false(o.loads);
    assert_null(o.signature);
    assert_gate(&o, "load", "failed", "Frobnicate");
    assert_gate(&o, "golden", "skipped", "does not load");
    assert_gate(&o, "signature", "skipped", "does not load");
    assert_gate(&o, "latency", "skipped", "does not load");
}

static void test_a_broken_bundle_does_not_load(void **state) {
    put("model.fake.json", SUM);
    put("bundle.yaml", "gates: {fastest: 1}\n");
    AUTO_OUTCOME o = run(0);
    assert_false(o.loads);
    assert_gate(&o, "load", "failed", "bundle.yaml: gates.fastest");
}

static void test_golden_answers(void **state) {
    put("model.fake.json", SUM);
    put("bundle.yaml", "golden: g.jsonl\n");
    put("g.jsonl", GOLDEN("3") GOLDEN("3"));
    AUTO_OUTCOME good = run(0);
    assert_true(good.passed);
    assert_gate(&good, "golden", "passed", NULL);
    assert_int_equal(number(&good, "golden", "measured"), 2);
    put("g.jsonl", GOLDEN("3") GOLDEN("4"));
    AUTO_OUTCOME bad = run(0);
    assert_false(bad.passed);
    assert_true(bad.loads); /* it runs, and could be forced */
    assert_non_null(bad.signature);
    assert_gate(&bad, "load", "passed", NULL);
    assert_gate(&bad, "golden", "failed", "g.jsonl line 2: output 'y', element 0: expected 4, got 3");
    put("g.jsonl", "nonsense\n");
    AUTO_OUTCOME broken = run(0);
    assert_gate(&broken, "golden", "failed", "g.jsonl line 1");
}

/* signature -------------------------------------------------------------------------------------------------------- */

static void test_signatures(void **state) {
    put("model.fake.json", SUM);
    json_t *same = json_of("{'inputs': [{'name': 'x', 'datatype': 'FP32', 'shape': [1, 2]}], 'outputs': []}");
    json_t *other = json_of("{'inputs': [{'name': 'x', 'datatype': 'FP32', 'shape': [-1, 3]}], 'outputs': []}");
    AUTO_OUTCOME fits = run(.live_signature = same);
    assert_true(fits.passed);
    assert_gate(&fits, "signature", "passed", NULL);
    AUTO_OUTCOME breaks = run(.live_signature = other);
    assert_false(breaks.passed);
    assert_gate(&breaks, "signature", "failed", "input 'x' has shape [-1,2], was [-1,3]");
    AUTO_OUTCOME allowed = run(.live_signature = other, .allow_breaking = true);
    assert_true(allowed.passed);
    assert_gate(&allowed, "signature", "passed", "breaking, allowed: input 'x' has shape");
    json_decref(same);
    json_decref(other);
}

/* latency ---------------------------------------------------------------------------------------------------------- */

/* sw_model_infer looks four times, between two looks of the gate: five milliseconds. */
static void test_latency_on_zeros(void **state) {
    put("model.fake.json", SUM);
    put("bundle.yaml", "gates: {max_latency_ms: 5}\n");
    AUTO_OUTCOME in_time = run(0);
    assert_true(in_time.passed);
    assert_gate(&in_time, "latency", "passed", "p95 in milliseconds of 20 runs on zeros");
    assert_true(number(&in_time, "latency", "measured") == 5);
    assert_true(number(&in_time, "latency", "wanted") == 5);
    put("bundle.yaml", "gates: {max_latency_ms: 4.9}\n");
    AUTO_OUTCOME late = run(0);
    assert_false(late.passed);
    assert_gate(&late, "latency", "failed", NULL);
    assert_true(number(&late, "latency", "measured") == 5);
}

/* One slow run of 20 is what the 95th percentile forgives; two are not. */
static void test_latency_is_the_95th_percentile(void **state) {
    put("model.fake.json", SUM);
    put("bundle.yaml", "gates: {max_latency_ms: 6}\n");
    AUTO_OUTCOME counting = run(0);
    uint64_t whole = looks;
    for (uint64_t slow_runs = 1; slow_runs <= 2; slow_runs++) {
        looks = 0;
        slow_from = whole - slow_runs * 6 + 1; /* the last runs of six looks each */
        slow_ns = 100000000;
        AUTO_OUTCOME o = run(0);
        assert_int_equal(o.passed, slow_runs == 1);
        assert_true(number(&o, "latency", "measured") == (slow_runs == 1 ? 5 : 500));
    }
}

static void test_latency_of_a_slow_model_is_measured_less_often(void **state) {
    put("model.fake.json", SUM);
    put("bundle.yaml", "gates: {max_latency_ms: 10}\n");
    slow_from = 0;
    slow_ns = UINT64_C(3000000000); /* a run takes 15 s; a minute is what the gate gives */
    AUTO_OUTCOME o = run(.iterations = 1000);
    assert_gate(&o, "latency", "failed", "of 4 runs on zeros");
    assert_true(number(&o, "latency", "measured") == 15000);
}

/* A model that refuses zeros: the index 0 is fine for gather, so a picture step that cannot decode an empty text. */
static void test_latency_on_golden_requests(void **state) {
    static const char picture[] =
        "{\"inputs\": [{\"name\": \"x\", \"datatype\": \"FP32\", \"shape\": [-1, 1, 1, 1]}], \"outputs\": [{\"name\": "
        "\"y\", \"datatype\": \"FP32\", \"shape\": [-1, 1]}], \"op\": \"sum\"}";
    static const char bmp[] =
        "BM\x3a\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\1\0\0\0\1\0\0\0\1\0\x18\0\0\0\0\0\4\0\0\0\0\0\0\0\0"
        "\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xff";
    put("model.fake.json", picture);
    put("bundle.yaml", "golden: g.jsonl\ninput: {kind: image, channels: 1}\ngates: {max_latency_ms: 3}\n");
    put("g.jsonl",
        "{\"inputs\": [{\"name\": \"image\", \"file\": \"w.bmp\"}], \"outputs\": [{\"name\": \"y\", \"datatype\": "
        "\"FP32\", \"shape\": [1, 1], \"data\": [1]}]}\n");
    SW_AUTO_FREE char *path = sw_path_join(folder, "w.bmp");
    FILE *f = fopen(path, "wb");
    assert_true(f && fwrite(bmp, 1, sizeof bmp, f) == sizeof bmp && fclose(f) == 0);
    AUTO_OUTCOME o = run(0);
    assert_gate(&o, "golden", "passed", NULL);
    assert_gate(&o, "latency", "passed", "of 20 runs on the golden requests");
    assert_true(number(&o, "latency", "measured") == 3);
}

static void test_latency_that_cannot_be_measured(void **state) {
    put("model.fake.json",
        "{\"inputs\": [{\"name\": \"x\", \"datatype\": \"FP32\", \"shape\": [1]}], \"outputs\": "
        "[{\"name\": \"y\", \"datatype\": \"FP32\", \"shape\": [1]}], \"op\": \"fail\", \"message\": "
        "\"not with zeros\"}");
    put("bundle.yaml", "gates: {max_latency_ms: 5}\n");
    AUTO_OUTCOME o = run(0);
    assert_false(o.passed);
    assert_true(o.loads);
    assert_gate(&o, "latency", "failed", "not with zeros; golden requests: the bundle has no golden requests");
    assert_true(json_is_null(json_object_get(gate(&o, "latency"), "measured")));
}

/* quality ---------------------------------------------------------------------------------------------------------- */

static void test_quality(void **state) {
    put("model.fake.json", SUM);
    put("bundle.yaml", "gates: {max_fpr: 0.0007, min_accuracy: 0.97, max_size: 3}\n");
    json_t *good = json_of("{'false_positive_rate': 0.0007, 'accuracy': 0.97, 'size': 3}");
    json_t *bad = json_of("{'fpr': 0.0008, 'accuracy': 0.96, 'size': '3'}");
    AUTO_OUTCOME passes = run(.metrics = good);
    assert_true(passes.passed);
    assert_gate(&passes, "fpr", "passed", "at most 0.0007");
    assert_gate(&passes, "accuracy", "passed", "at least 0.97");
    assert_gate(&passes, "size", "passed", NULL);
    AUTO_OUTCOME fails = run(.metrics = bad);
    assert_false(fails.passed);
    assert_gate(&fails, "fpr", "failed", NULL);
    assert_true(number(&fails, "fpr", "measured") == 0.0008);
    assert_true(number(&fails, "fpr", "wanted") == 0.0007);
    assert_gate(&fails, "accuracy", "failed", NULL);
    assert_gate(&fails, "size", "failed", "no metric size"); /* a text is no measure */
    AUTO_OUTCOME nothing = run(0);
    assert_false(nothing.passed);
    assert_gate(&nothing, "accuracy", "failed", "sets min_accuracy, but the version has no metric accuracy");
    json_decref(good);
    json_decref(bad);
}

/* ONNX Runtime ----------------------------------------------------------------------------------------------------- */

static void copy_model(const char *name) {
    char from[4096], to[4096];
    struct sw_buf bytes;
    const char *dir = getenv("SLIPWAY_TEST_MODELS");
    assert_non_null(dir);
    snprintf(from, sizeof from, "%s/%s", dir, name);
    snprintf(to, sizeof to, "%s/%s", folder, name);
    assert_sw_ok(sw_file_read(from, 1 << 24, &bytes, err));
    FILE *f = fopen(to, "wb");
    assert_true(f && fwrite(bytes.data, 1, bytes.len, f) == bytes.len && fclose(f) == 0);
    sw_buf_deinit(&bytes);
}

static void test_onnx_models(void **state) {
    copy_model("default_input.onnx");
    copy_model("default_input.golden.jsonl");
    put("bundle.yaml", "golden: default_input.golden.jsonl\ngates: {max_latency_ms: 1000}\n");
    AUTO_OUTCOME good = run(0);
    assert_true(good.passed);
    assert_gate(&good, "golden", "passed", NULL);
    assert_gate(&good, "latency", "passed", "on zeros");
    assert_json(good.signature, "{'inputs': [{'name': 'x', 'datatype': 'FP32', 'shape': [-1]}, {'name': 'scale', "
                                "'datatype': 'FP32', 'shape': [1], 'optional': true}], 'outputs': [{'name': 'y', "
                                "'datatype': 'FP32', 'shape': [-1]}]}");
}

static void test_onnx_models_that_fail(void **state) {
    copy_model("truncated.onnx");
    AUTO_OUTCOME cut = run(0);
    assert_false(cut.loads);
    assert_gate(&cut, "load", "failed", "truncated.onnx");
}

/* Zeros of size 1 do not fit a model that wants six: it is measured on its golden requests. */
static void test_onnx_model_that_refuses_zeros(void **state) {
    copy_model("reshape.onnx");
    copy_model("reshape.golden.jsonl");
    put("bundle.yaml", "golden: reshape.golden.jsonl\ngates: {max_latency_ms: 1000}\n");
    AUTO_OUTCOME o = run(0);
    assert_true(o.passed);
    assert_gate(&o, "latency", "passed", "on the golden requests");
}

/* versions of a registry ------------------------------------------------------------------------------------------- */

static struct outcome run_version(int64_t version) {
    struct sw_candidate candidate = {.model = "m", .version = version};
    struct outcome o = {0};
    assert_sw_ok(sw_registry_run_gates(world.registry, &candidate, &o.gates, &o.signature, &o.passed, &o.loads, err));
    return o;
}

static void test_a_version(void **state) {
    int64_t version = world_push_any("m");
    folder = world.registry->serving;
    AUTO_OUTCOME o = run_version(version);
    assert_true(o.passed && o.loads);
    assert_json(json_object_get(json_array_get(o.gates, 0), "name"), "'digest'");
    assert_gate(&o, "digest", "passed", NULL);
    assert_gate(&o, "load", "passed", NULL);
    struct sw_candidate candidate = {.model = "m", .version = 99};
    assert_sw_fails(sw_registry_run_gates(world.registry, &candidate, &o.gates, &o.signature, &o.passed, &o.loads, err),
                    SW_E_NOT_FOUND, "version 99");
}

static void test_a_version_whose_file_was_tampered_with(void **state) {
    struct sw_version_file file = world_file("model.fake.json", model_text(3, ""));
    assert_sw_ok(world_push_files("m", &file, 1, err));
    folder = world.registry->serving;
    char blob[400];
    snprintf(blob, sizeof blob, "%s/artifacts/blobs/%.2s/%s", world.dir, file.digest.hex, file.digest.hex);
    assert_int_equal(unlink(blob), 0);
    FILE *f = fopen(blob, "wb");
    assert_true(f && fputs(model_text(4, ""), f) >= 0 && fclose(f) == 0); /* of the same length */
    AUTO_OUTCOME o = run_version(1);
    assert_false(o.passed || o.loads);
    assert_null(o.signature);
    assert_gate(&o, "digest", "failed", "model.fake.json");
    assert_gate(&o, "load", "skipped", "files are not");
    assert_int_equal(unlink(blob), 0);
    AUTO_OUTCOME gone = run_version(1);
    assert_gate(&gone, "digest", "failed", "missing");
}

static int open_engines(void **state) {
    assert_sw_ok(sw_engine_fake_create(&engines[0], err));
    assert_sw_ok(sw_engine_ort_create(&(struct sw_ort_options){.threads = 1}, &engines[1], err));
    return 0;
}

static int close_engines(void **state) {
    sw_engine_destroy(engines[0]);
    sw_engine_destroy(engines[1]);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_a_model_without_wishes_passes),
        TEST(test_a_model_that_does_not_load),
        TEST(test_a_broken_bundle_does_not_load),
        TEST(test_golden_answers),
        TEST(test_signatures),
        TEST(test_latency_on_zeros),
        TEST(test_latency_is_the_95th_percentile),
        TEST(test_latency_of_a_slow_model_is_measured_less_often),
        TEST(test_latency_on_golden_requests),
        TEST(test_latency_that_cannot_be_measured),
        TEST(test_quality),
        TEST(test_onnx_models),
        TEST(test_onnx_models_that_fail),
        TEST(test_onnx_model_that_refuses_zeros),
        WORLD_TEST(test_a_version),
        WORLD_TEST(test_a_version_whose_file_was_tampered_with),
    };
    return cmocka_run_group_tests_name("registry/gates", tests, open_engines, close_engines);
}
