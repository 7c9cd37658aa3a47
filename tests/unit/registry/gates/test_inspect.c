/* What files are before they become a version: which is the model, what the bundle and the graph say, what is
 * missing. */
#include "../world.h"

#include <unistd.h>

#include "base/file.h"
#include "registry/registry_internal.h"

static sw_status inspect(const struct sw_version_file *files, size_t count, struct sw_inspection *ret,
                         struct sw_error *err) {
    return sw_registry_inspect_version(world.registry, "m", files, count, ret, err);
}

/* Files given as path, text, path, text, ... NULL. */
static sw_status inspect_texts(struct sw_inspection *ret, struct sw_error *err, ...) {
    struct sw_version_file files[16];
    size_t count = 0;
    va_list args;
    va_start(args, err);
    for (const char *path; (path = va_arg(args, const char *));) {
        files[count++] = world_file(path, va_arg(args, const char *));
    }
    va_end(args);
    return inspect(files, count, ret, err);
}

static void refused(sw_status code, const char *says, const char *yaml) {
    struct sw_inspection untouched = {.description = (char *)(uintptr_t) "untouched"};
    assert_sw_fails(inspect_texts(&untouched, err, "model.fake.json", model_text(4, ""), "sub/deep.fake.json", "{}",
                                  "labels.txt", "a", "bundle.yaml", yaml, NULL),
                    code, says);
    assert_string_equal(untouched.description, "untouched");
}

/* A model of the suite as a blob. */
static struct sw_version_file onnx(const char *path, const char *name) {
    char from[4096];
    struct sw_blob blob;
    const char *dir = getenv("SLIPWAY_TEST_MODELS");
    assert_non_null(dir);
    snprintf(from, sizeof from, "%s/%s", dir, name);
    assert_sw_ok(sw_artifacts_put_file(world.artifacts, from, NULL, &blob, err));
    assert_sw_ok(sw_registry_note_blob(world.registry, &blob, err));
    return (struct sw_version_file){.path = path, .digest = blob.digest, .size = blob.size};
}

static void bare_model(void **state) {
    struct sw_inspection got;
    struct sw_version_file file = onnx("anything.onnx", "scalar.onnx");
    assert_sw_ok(inspect(&file, 1, &got, err));
    assert_json(got.signature, "{'inputs': [{'name': 'x', 'datatype': 'FP32', 'shape': []}], 'outputs': [{'name': 'y', "
                               "'datatype': 'FP32', 'shape': []}], 'opset': 17}");
    assert_null(got.metrics);
    assert_null(got.description);
    sw_inspection_deinit(&got);
    assert_null(got.signature);
}

static void what_the_bundle_says(void **state) {
    struct sw_inspection got;
    assert_sw_ok(inspect_texts(&got, err, "model.fake.json", model_text(4, ""), "labels.txt", "a\nb", "g.jsonl", "{}",
                               "bundle.yaml",
                               "name: m\ndescription: finds things\ngolden: ./g.jsonl\noutput: {labels: {file: "
                               "labels.txt}}\nmetadata: {accuracy: 0.97, epochs: 3, author: me, nested: {a: 1}, "
                               "\"bad!key\": 1, fine: true}\ngates: {max_latency_ms: 5}\n",
                               NULL));
    assert_null(got.signature); /* no ONNX file */
    assert_json(got.metrics, "{'accuracy': 0.97, 'epochs': 3}");
    assert_string_equal(got.description, "finds things");
    sw_inspection_deinit(&got);
}

static void names(void **state) {
    struct sw_inspection got;
    refused(SW_E_MODEL_INVALID, "bundle.yaml: name: the bundle is called 'other', the model 'm'", "name: other\n");
    assert_sw_ok(inspect_texts(&got, err, "model.fake.json", model_text(4, ""), "bundle.yaml", "", NULL));
    sw_inspection_deinit(&got);
}

static void the_model_file(void **state) {
    struct sw_inspection got;
    assert_sw_fails(inspect_texts(&got, err, "notes.txt", "x", "sub/model.onnx", "x", ".hidden.onnx", "x", NULL),
                    SW_E_MODEL_INVALID, "no model file");
    assert_sw_fails(inspect_texts(&got, err, "a.fake.json", "1", "b.fake.json", "2", NULL), SW_E_MODEL_INVALID,
                    "several .fake.json files (a.fake.json, b.fake.json)");
    assert_sw_fails(inspect_texts(&got, err, "weights.bin", "x", "bundle.yaml", "model: weights.bin\n", NULL),
                    SW_E_MODEL_INVALID, "weights.bin: no engine");
    assert_sw_ok(
        inspect_texts(&got, err, "a.fake.json", "1", "b.fake.json", "2", "bundle.yaml", "model: b.fake.json\n", NULL));
    sw_inspection_deinit(&got);
    struct sw_version_file files[] = {world_file("bundle.yaml", "model: deep/./m.onnx\n"),
                                      onnx("deep/m.onnx", "scalar.onnx")};
    assert_sw_ok(inspect(files, 2, &got, err));
    assert_non_null(got.signature);
    sw_inspection_deinit(&got);
}

static void files_that_the_bundle_names(void **state) {
    refused(SW_E_MODEL_INVALID, "bundle.yaml: golden: \"g.jsonl\" is not among the files", "golden: g.jsonl\n");
    refused(SW_E_MODEL_INVALID, "golden: \"../g.jsonl\"", "golden: ../g.jsonl\n");
    refused(SW_E_MODEL_INVALID, "model: \"x.onnx\" is not among the files", "model: x.onnx\n");
    refused(SW_E_MODEL_INVALID, "output.labels.file: \"l.txt\" is not", "output: {labels: {file: l.txt}}\n");
    refused(SW_E_MODEL_INVALID, "output.labels.file: \"l.txt\" is not", "output: [{labels: {file: l.txt}}]\n");
    refused(SW_E_MODEL_INVALID, "output.labels.file: \"/etc/passwd\" is no path",
            "output: {labels: {file: /etc/passwd}}\n");
}

static void broken_bundles(void **state) {
    refused(SW_E_MODEL_INVALID, "bundle.yaml", "name: [unclosed\n");
    refused(SW_E_MODEL_INVALID, "must be a mapping", "- a\n");
    refused(SW_E_MODEL_INVALID, "bundle.yaml: colour", "colour: red\n");
    refused(SW_E_MODEL_INVALID, "gates.latency", "gates: {latency: 5}\n");
    SW_AUTO_FREE char *big = sw_malloc((1 << 20) + 2);
    memset(big, '#', (1 << 20) + 1);
    big[(1 << 20) + 1] = '\0';
    refused(SW_E_MODEL_INVALID, "bundle.yaml: 1048577 bytes", big);
}

static void too_many_numbers(void **state) {
    struct sw_buf yaml;
    sw_buf_init(&yaml, 1 << 20);
    SW_LIT(&yaml, "metadata:\n");
    for (int i = 0; i <= 1000; i++) {
        sw_buf_printf(&yaml, "  k%d: %d\n", i, i);
    }
    refused(SW_E_MODEL_INVALID, "more than 1000 numbers", yaml.data);
    sw_buf_deinit(&yaml);
}

static void broken_graphs(void **state) {
    struct sw_inspection got;
    struct sw_version_file cut = onnx("model.onnx", "truncated.onnx"), text = onnx("model.onnx", "not_a_model.onnx");
    assert_sw_fails(inspect(&cut, 1, &got, err), SW_E_MODEL_INVALID, "model.onnx: broken or cut off");
    assert_sw_fails(inspect(&text, 1, &got, err), SW_E_MODEL_INVALID, "model.onnx: not an ONNX model");
}

static void external_data(void **state) {
    struct sw_inspection got;
    struct sw_version_file files[] = {onnx("sub/m.onnx", "external_data.onnx"),
                                      world_file("bundle.yaml", "model: sub/m.onnx\n"),
                                      onnx("external_data.bin", "external_data.bin")};
    assert_sw_fails(inspect(files, 3, &got, err), SW_E_MODEL_INVALID,
                    "sub/m.onnx: external data: \"sub/external_data.bin\" is not among the files");
    files[2].path = "sub/external_data.bin"; /* it lies beside the model */
    assert_sw_ok(inspect(files, 3, &got, err));
    sw_inspection_deinit(&got);
}

static void blobs_that_are_not_what_they_should_be(void **state) {
    struct sw_inspection got;
    struct sw_version_file files[2] = {onnx("m.onnx", "scalar.onnx"), world_file("bundle.yaml", "name: m\n")};
    files[1].size++;
    assert_sw_fails(inspect(files, 2, &got, err), SW_E_DIGEST_MISMATCH, "bundle.yaml: has 8 bytes, not 9");
    files[1].size--;
    files[0].size++;
    assert_sw_fails(inspect(files, 2, &got, err), SW_E_DIGEST_MISMATCH, "m.onnx: has");
    files[0].size--;
    memset(files[1].digest.hex, '0', SW_DIGEST_HEX);
    assert_sw_fails(inspect(files, 2, &got, err), SW_E_DIGEST_MISMATCH, "nothing with SHA-256 0000");
    files[1] = world_file("bundle.yaml", "name: m\n");
    char blob[400];
    const char *hex = files[0].digest.hex;
    snprintf(blob, sizeof blob, "%s/artifacts/blobs/%.2s/%s", world.dir, hex, hex);
    assert_int_equal(unlink(blob), 0);
    FILE *f = fopen(blob, "wb");
    for (uint64_t i = 0; i < files[0].size; i++) {
        assert_int_not_equal(fputc('x', f), EOF);
    }
    assert_int_equal(fclose(f), 0);
    assert_sw_fails(inspect(files, 2, &got, err), SW_E_DIGEST_MISMATCH, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(bare_model),
        TEST(what_the_bundle_says),
        TEST(names),
        TEST(the_model_file),
        TEST(files_that_the_bundle_names),
        TEST(broken_bundles),
        TEST(too_many_numbers),
        TEST(broken_graphs),
        TEST(external_data),
        TEST(blobs_that_are_not_what_they_should_be),
    };
    return cmocka_run_group_tests_name("registry/inspect", tests, NULL, NULL);
}
