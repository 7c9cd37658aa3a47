/* bundle.yaml: a table of good and bad texts, folders with missing and escaping files, names. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "folder.h"
#include "pipeline/bundle.h"

static void good_texts(void **state) {
    static const char *const texts[] = {
        "",
        "name: digits\nmodel: m.onnx\ndescription: reads digits\n",
        "batching: { max_batch: 32, max_delay_us: 0 }\ninstances: { threads: 2, memory_arena: false }\n",
        "input: { kind: tensor }\n",
        "input: {}\n",
        "input: { kind: image, width: 3, anything: [1] }\n", /* parameters are the step's business */
        "output: { softmax: true, labels: [a, b], threshold: 0.5, allow_nonfinite: true }\n",
        "output:\n  - labels: [a, b]\n  - softmax: {}\n  - allow_nonfinite: false\n",
        "gates: { max_latency_ms: 100, min_accuracy: 0.9 }\nmetadata: { accuracy: 0.97, who: [me, { x: 1 }] }\n",
        "golden: samples/golden.jsonl\n",
    };
    for (size_t i = 0; i < SW_COUNTOF(texts); i++) {
        struct sw_bundle *bundle = NULL;
        struct sw_error err = {0};
        if (sw_bundle_parse(sw_str_of(texts[i]), "/x/y", &bundle, &err)) {
            fail_msg("%s: %s", texts[i], err.message);
        }
        sw_bundle_destroy(bundle);
    }
}

static void bad_texts(void **state) {
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"nmae: x", "nmae: no such key"},
        {"[1, 2]", "must be a mapping, is a list"},
        {"just text", "must be a mapping, is a string"},
        {"name: 5", "name: must be a string"},
        {"name: ''", "name: must be a string"},
        {"name: -x", "name: \"-x\" is not a model name"},
        {"name: a/b", "name: "},
        {"model: /etc/passwd", "model: \"/etc/passwd\" must be a path inside"},
        {"model: ../m.onnx", "model: "},
        {"model: a/../../m.onnx", "model: "},
        {"golden: ../g.jsonl", "golden: "},
        {"batching: 7", "batching: must be a mapping, is an integer"},
        {"batching: { max_batch: 0 }", "batching.max_batch: must lie between 1"},
        {"batching: { max_batch: many }", "batching.max_batch: must be an integer, is a string"},
        {"batching: { max_delay_us: -1 }", "batching.max_delay_us: "},
        {"batching: { delay: 1 }",
         "batching.delay: no such key; known here: max_batch, max_delay_us, preferred, timeout_ms, max_queue"},
        {"batching: { preferred: 8 }", "batching.preferred: must be a list of 1 to 8 numbers of rows"},
        {"batching: { preferred: [] }", "batching.preferred: must be a list"},
        {"batching: { preferred: [1] }", "batching.preferred: item 1 must be an integer above 1 and at most 65536"},
        {"batching: { preferred: [8, 8] }", "batching.preferred: item 2 must be an integer above 8"},
        {"batching: { preferred: [8, 4] }", "batching.preferred: item 2"},
        {"batching: { max_batch: 16, preferred: [8, 32] }", "item 2 must be an integer above 8 and at most 16"},
        {"batching: { preferred: [2, many] }", "batching.preferred: item 2"},
        {"batching: { preferred: [2, 3, 4, 5, 6, 7, 8, 9, 10] }", "batching.preferred: must be a list"},
        {"batching: { timeout_ms: 0 }", "batching.timeout_ms: must lie between 1 and 3600000"},
        {"batching: { timeout_ms: 3600001 }", "batching.timeout_ms: must lie between 1 and 3600000"},
        {"batching: { max_queue: 0 }", "batching.max_queue: must lie between 1"},
        {"batching: { max_batch: 65537 }", "batching.max_batch: must lie between 1 and 65536"},
        {"cache: true", "cache: must be a mapping, is true or false"},
        {"cache: { enable: 1 }", "cache.enable: must be true or false, is an integer"},
        {"cache: { size: 1 }", "cache.size: no such key; known here: enable, ttl"},
        {"cache: { ttl: 60 }", "cache.ttl: must be a string that is not empty, is an integer"},
        {"cache: { ttl: 500ms }", "cache.ttl: \"500ms\" is no duration from 1s to 720h"},
        {"cache: { ttl: 721h }", "cache.ttl: \"721h\" is no duration"},
        {"cache: { ttl: soon }", "cache.ttl: \"soon\" is no duration"},
        {"instances: { count: 0 }", "instances.count: must lie between 1"},
        {"instances: { weight: 0 }", "instances.weight: must lie between 0.01 and 100"},
        {"instances: { weight: 1e9 }", "instances.weight: must lie between 0.01 and 100"},
        {"instances: { weight: heavy }", "instances.weight: must be a number"},
        {"instances: { threads: 1.5 }", "instances.threads: must be an integer"},
        {"instances: { memory_arena: 1 }", "instances.memory_arena: must be true or false"},
        {"input: image", "input: must be a mapping, is a string"},
        {"input: { kind: video }", "input.kind: no such step \"video\"; known: tensor, image"},
        {"input: { kind: 3 }", "input.kind: must be a string"},
        {"output: 3", "output: must be a mapping or a list"},
        {"output: { polish: x }", "output.polish: no such step; known: softmax, calibrate, labels, threshold"},
        {"output: { allow_nonfinite: 1 }", "output.allow_nonfinite: must be true or false"},
        {"output: [ softmax ]", "output: item 1 must be a mapping of one step"},
        {"output: [ { softmax: true, labels: [a] } ]", "output: item 1"},
        {"output: [ { image: {} } ]", "output.image: no such step"},
        {"gates: [1]", "gates: must be a mapping"},
        {"gates: { latency: 3 }", "gates.latency: "},
        {"gates: { max_latency_ms: fast }", "gates.max_latency_ms: must be a number"},
        {"metadata: 3", "metadata: must be a mapping"},
        {"description: [x]", "description: must be a string"},
        {"name: a\nname: b", "line 2"},
        {"name: *x", "line 1"},
        {"a: [", "line 2, column 1"},
    };
    for (size_t i = 0; i < SW_COUNTOF(rows); i++) {
        struct sw_bundle *bundle = NULL;
        struct sw_error err = {0};
        assert_int_equal(sw_bundle_parse(sw_str_of(rows[i].text), "/x/y", &bundle, &err), SW_E_MODEL_INVALID);
        assert_int_equal(err.code, SW_E_MODEL_INVALID);
        assert_null(bundle);
        if (!strstr(err.message, rows[i].says)) {
            fail_msg("%s gives \"%s\", lacks \"%s\"", rows[i].text, err.message, rows[i].says);
        }
    }
}

static void values_are_read(void **state) {
    struct sw_bundle *b = NULL;
    const char *text =
        "name: n1\nmodel: sub/m.onnx\ndescription: d\nbatching: {max_batch: 8, max_delay_us: 20}\n"
        "instances: {threads: 3, memory_arena: false}\noutput: [{softmax: true}, {allow_nonfinite: true}]\n"
        "golden: g.jsonl\nmetadata: {a: 1}\n";
    assert_int_equal(sw_bundle_parse(sw_str_of(text), "/x/y", &b, NULL), SW_OK);
    assert_string_equal(b->name, "n1");
    assert_string_equal(b->model_path, "/x/y/sub/m.onnx");
    assert_string_equal(b->golden_path, "/x/y/g.jsonl");
    assert_string_equal(b->description, "d");
    assert_int_equal(b->batching.max_batch, 8);
    assert_int_equal(b->batching.max_delay_us, 20);
    assert_int_equal(b->threads, 3);
    assert_false(b->memory_arena);
    assert_true(b->allow_nonfinite);
    assert_int_equal(json_array_size(b->output), 1);
    assert_null(b->input);
    assert_int_equal(json_integer_value(json_object_get(b->metadata, "a")), 1);
    sw_bundle_destroy(b);

    assert_int_equal(sw_bundle_parse(SW_STR("output: {allow_nonfinite: true}"), "/x/my model", &b, NULL), SW_OK);
    assert_string_equal(b->name, "my-model");
    assert_null(b->output);
    assert_null(b->model_path);
    assert_int_equal(b->batching.max_delay_us, -1);
    assert_true(b->memory_arena);
    sw_bundle_destroy(b);
}

static void names(void **state) {
    assert_true(sw_model_name_valid(SW_STR("a")));
    assert_true(sw_model_name_valid(SW_STR("9.x_y-Z")));
    assert_false(sw_model_name_valid(SW_STR("")));
    assert_false(sw_model_name_valid(SW_STR(".a")));
    assert_false(sw_model_name_valid(SW_STR("a b")));
    assert_false(sw_model_name_valid(SW_STR("a\0b")));
    assert_false(sw_model_name_valid(SW_STR("\xc3\xa4")));
    char text[129];
    memset(text, 'a', sizeof text);
    assert_true(sw_model_name_valid((struct sw_str){text, 128}));
    assert_false(sw_model_name_valid((struct sw_str){text, 129}));
}

static void expect_load_error(const char *path, sw_status status, const char *says) {
    struct sw_bundle *bundle = NULL;
    struct sw_error err = {0};
    assert_int_equal(sw_bundle_load(path, &bundle, &err), status);
    assert_null(bundle);
    if (!strstr(err.message, says)) {
        fail_msg("\"%s\" lacks \"%s\"", err.message, says);
    }
    assert_int_equal(sw_bundle_load(path, &bundle, NULL), status);
}

static void folders(void **state) {
    char *dir = folder_make();
    struct sw_bundle *b = NULL;
    expect_load_error(dir, SW_E_MODEL_INVALID, "the folder holds no .onnx file");
    folder_write(dir, "a.onnx", "x", 1);
    assert_int_equal(sw_bundle_load(dir, &b, NULL), SW_OK);
    assert_non_null(strstr(b->model_path, "/a.onnx"));
    assert_string_equal(b->path, dir);
    sw_bundle_destroy(b);
    folder_write(dir, "b.onnx", "x", 1);
    expect_load_error(dir, SW_E_MODEL_INVALID, "several .onnx files");
    folder_write_text(dir, "bundle.yaml", "model: b.onnx\ngolden: g.jsonl\n");
    expect_load_error(dir, SW_E_MODEL_INVALID, "golden: \"g.jsonl\": No such file");
    folder_write_text(dir, "g.jsonl", "");
    assert_int_equal(sw_bundle_load(dir, &b, NULL), SW_OK);
    assert_non_null(strstr(b->model_path, "/b.onnx"));
    sw_bundle_destroy(b);
    folder_write_text(dir, "bundle.yaml", "model: absent.onnx\n");
    expect_load_error(dir, SW_E_MODEL_INVALID, "bundle.yaml: model: \"absent.onnx\": No such file");
    folder_write_text(dir, "bundle.yaml", "oops: 1\n");
    expect_load_error(dir, SW_E_MODEL_INVALID, "bundle.yaml: oops: no such key");
    folder_remove(dir);
}

static void links_out_of_the_folder(void **state) {
    char *outside = folder_make(), *dir = folder_make();
    folder_write(outside, "m.onnx", "x", 1);
    SW_AUTO_FREE char *target = folder_path(outside, "m.onnx"), *link = folder_path(dir, "m.onnx"),
                      *sub = folder_path(dir, "sub"), *inner = folder_path(dir, "inner.onnx");
    assert_int_equal(symlink(target, link), 0);
    assert_int_equal(symlink(outside, sub), 0);
    folder_write_text(dir, "bundle.yaml", "model: m.onnx\n");
    expect_load_error(dir, SW_E_MODEL_INVALID, "model: \"m.onnx\" leads out of the bundle's folder");
    folder_write_text(dir, "bundle.yaml", "model: sub/m.onnx\n");
    expect_load_error(dir, SW_E_MODEL_INVALID, "leads out of");
    folder_write_text(dir, "bundle.yaml", "");
    expect_load_error(dir, SW_E_MODEL_INVALID, "leads out of");
    folder_write(dir, "real.bin", "x", 1);
    assert_int_equal(symlink("real.bin", inner), 0); /* a link that stays inside is fine */
    folder_write_text(dir, "bundle.yaml", "model: inner.onnx\n");
    struct sw_bundle *b = NULL;
    assert_int_equal(sw_bundle_load(dir, &b, NULL), SW_OK);
    sw_bundle_destroy(b);
    folder_write_text(dir, "bundle.yaml", "model: sub\n");
    expect_load_error(dir, SW_E_MODEL_INVALID, "leads out of");
    unlink(link);
    unlink(sub);
    unlink(inner);
    folder_remove(dir);
    folder_remove(outside);
}

static void bare_files(void **state) {
    char *dir = folder_make();
    folder_write(dir, "my model.v2.onnx", "x", 1);
    folder_write(dir, "notes.txt", "x", 1);
    SW_AUTO_FREE char *model = folder_path(dir, "my model.v2.onnx"), *notes = folder_path(dir, "notes.txt"),
                      *absent = folder_path(dir, "absent.onnx");
    struct sw_bundle *b = NULL;
    assert_int_equal(sw_bundle_load(model, &b, NULL), SW_OK);
    assert_string_equal(b->name, "my-model.v2");
    assert_string_equal(b->model_path, model);
    assert_string_equal(b->dir, dir);
    sw_bundle_destroy(b);
    expect_load_error(notes, SW_E_MODEL_INVALID, "not a model");
    expect_load_error(absent, SW_E_NOT_FOUND, "no such file");
    folder_remove(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_texts), cmocka_unit_test(bad_texts), cmocka_unit_test(values_are_read),
        cmocka_unit_test(names),      cmocka_unit_test(folders),   cmocka_unit_test(links_out_of_the_folder),
        cmocka_unit_test(bare_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
