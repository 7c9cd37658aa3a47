/* What an ONNX file says of its inputs and outputs: of the models that the whole test suite uses, of graphs written
 * here byte by byte, and of files that are broken, hostile or huge. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/memory.h"
#include "graph/signature.h"

/* writing protobuf ------------------------------------------------------------------------------------------------- */

static void put_varint(struct sw_buf *b, uint64_t v) {
    for (; v >= 0x80; v >>= 7) {
        sw_buf_append_c(b, (char)(v | 0x80));
    }
    sw_buf_append_c(b, (char)v);
}

static void put_number(struct sw_buf *b, uint32_t field, uint64_t v) {
    put_varint(b, field << 3);
    put_varint(b, v);
}

static void put_bytes(struct sw_buf *b, uint32_t field, const void *data, size_t len) {
    put_varint(b, field << 3 | 2);
    put_varint(b, len);
    sw_buf_append(b, data, len);
}

static void put_text(struct sw_buf *b, uint32_t field, const char *text) {
    put_bytes(b, field, text, strlen(text));
}

/* Puts `inner` as a message into `outer` and empties it. */
static void put_message(struct sw_buf *outer, uint32_t field, struct sw_buf *inner) {
    put_bytes(outer, field, inner->data, inner->len);
    sw_buf_clear(inner);
}

/* A ValueInfoProto: FP32, shape [N, 3]. */
static void put_value(struct sw_buf *graph, uint32_t field, const char *name) {
    static const char type[] = "\x0a\x0d\x08\x01\x12\x09\x0a\x03\x12\x01N\x0a\x02\x08\x03";
    SW_CLEANUP(sw_buf_deinit) struct sw_buf value;
    sw_buf_init(&value, 1 << 20);
    put_text(&value, 1, name);
    put_bytes(&value, 2, type, sizeof type - 1);
    put_message(graph, field, &value);
}

/* A TensorProto whose bytes lie in `location` (NULL: the field is left out). */
static void put_external(struct sw_buf *to, uint32_t field, const char *name, const char *location) {
    SW_CLEANUP(sw_buf_deinit) struct sw_buf tensor;
    SW_CLEANUP(sw_buf_deinit) struct sw_buf entry;
    sw_buf_init(&tensor, 1 << 20);
    sw_buf_init(&entry, 1 << 20);
    put_text(&tensor, 8, name);
    put_text(&entry, 1, "offset");
    put_text(&entry, 2, "0");
    put_message(&tensor, 13, &entry);
    if (location) {
        put_text(&entry, 1, "location");
        put_text(&entry, 2, location);
        put_message(&tensor, 13, &entry);
    }
    put_number(&tensor, 14, 1);
    put_message(to, field, &tensor);
}

static struct sw_buf graph, model;

static int begin(void **state) {
    sw_buf_init(&graph, 64 << 20);
    sw_buf_init(&model, 64 << 20);
    return 0;
}

static int end(void **state) {
    sw_buf_deinit(&graph);
    sw_buf_deinit(&model);
    return 0;
}

/* reading ---------------------------------------------------------------------------------------------------------- */

static char temporary[] = "/tmp/slipway-signature-test.XXXXXX";

static const char *write_file(const void *data, size_t len) {
    FILE *f = fopen(temporary, "wb");
    assert_true(f && fwrite(data, 1, len, f) == len && fclose(f) == 0);
    return temporary;
}

static void assert_json(const json_t *got, const char *expected) {
    json_error_t why;
    json_t *want = json_loads(expected, JSON_DECODE_ANY, &why);
    if (!want) {
        fail_msg("the test's own JSON: %s", why.text);
    }
    if (!json_equal(got, want)) {
        char *text = json_dumps(got, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
        fail_msg("got %s\nwant %s", text, expected);
    }
    json_decref(want);
}

static void check_path(const char *path, const char *signature, const char *external) {
    json_t *got = NULL, *files = NULL;
    struct sw_error err;
    if (sw_onnx_signature(path, &got, &files, &err)) {
        fail_msg("%s", err.message);
    }
    if (signature) {
        assert_json(got, signature);
    }
    assert_json(files, external ? external : "[]");
    json_decref(got);
    json_decref(files);
    assert_int_equal(sw_onnx_signature(path, &got, NULL, NULL), SW_OK);
    json_decref(got);
}

static const char *fixture(const char *name) {
    static char path[4096];
    const char *dir = getenv("SLIPWAY_TEST_MODELS");
    assert_non_null(dir);
    snprintf(path, sizeof path, "%s/%s.onnx", dir, name);
    return path;
}

static void refuse_path(const char *path, sw_status code, const char *part) {
    json_t *untouched = json_true(), *ret = untouched, *files = untouched;
    struct sw_error err;
    assert_int_equal(sw_onnx_signature(path, &ret, &files, &err), code);
    assert_ptr_equal(ret, untouched);
    assert_ptr_equal(files, untouched);
    if (!strstr(err.message, part)) {
        fail_msg("'%s' does not say '%s'", err.message, part);
    }
}

/* The graph as a model of opset 17. */
static const char *model_file(void) {
    sw_buf_clear(&model);
    put_number(&model, 1, 8);
    put_bytes(&model, 8, "\x10\x11", 2);
    put_bytes(&model, 7, graph.data, graph.len);
    return write_file(model.data, model.len);
}

#define VALUE(name) "{\"name\": \"" name "\", \"datatype\": \"FP32\", \"shape\": [-1, 3]}"

/* models of the suite ---------------------------------------------------------------------------------------------- */

static void test_every_data_type(void **state) {
    static const char *const types[] = {"BOOL",  "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16",
                                        "INT32", "INT64", "FP16",   "FP32",   "FP64",   "BF16", "BYTES"};
    json_t *got;
    assert_int_equal(sw_onnx_signature(fixture("identity_all"), &got, NULL, NULL), SW_OK);
    json_t *inputs = json_object_get(got, "inputs"), *outputs = json_object_get(got, "outputs");
    assert_int_equal(json_array_size(inputs), SW_COUNTOF(types));
    assert_int_equal(json_array_size(outputs), SW_COUNTOF(types));
    for (size_t i = 0; i < SW_COUNTOF(types); i++) {
        char in[200], out[200];
        static const char form[] = "{\"name\": \"%s_%s\", \"datatype\": \"%s\", \"shape\": [-1, 2]}";
        snprintf(in, sizeof in, form, "in", types[i], types[i]);
        snprintf(out, sizeof out, form, "out", types[i], types[i]);
        assert_json(json_array_get(inputs, i), in);
        assert_json(json_array_get(outputs, i), out);
    }
    json_decref(got);
}

static void test_models_of_the_suite(void **state) {
    check_path(
        fixture("scalar"),
        "{\"inputs\": [{\"name\": \"x\", \"datatype\": \"FP32\", \"shape\": []}], \"outputs\": [{\"name\": \"y\", "
        "\"datatype\": \"FP32\", \"shape\": []}], \"opset\": 17}",
        NULL);
    /* its weights, and the input that has a default, are initializers */
    check_path(fixture("default_input"),
               "{\"inputs\": [{\"name\": \"x\", \"datatype\": \"FP32\", \"shape\": [-1]}], \"outputs\": [{\"name\": "
               "\"y\", \"datatype\": \"FP32\", \"shape\": [-1]}], \"opset\": 17}",
               NULL);
    check_path(fixture("mlp_45"),
               "{\"inputs\": [{\"name\": \"features\", \"datatype\": \"FP32\", \"shape\": [-1, 45]}], \"outputs\": "
               "[{\"name\": \"probability\", \"datatype\": \"FP32\", \"shape\": [-1, 1]}], \"opset\": 17}",
               NULL);
    check_path(fixture("external_data"),
               "{\"inputs\": [{\"name\": \"x\", \"datatype\": \"FP32\", \"shape\": [3]}], \"outputs\": [{\"name\": "
               "\"y\", \"datatype\": \"FP32\", \"shape\": [3]}], \"opset\": 17}",
               "[\"external_data.bin\"]");
    check_path(fixture("add_sub"), NULL, NULL); /* a second operator set: 17 must still be the default's */
    check_path(fixture("opset_99"),
               "{\"inputs\": [{\"name\": \"x\", \"datatype\": \"FP32\", \"shape\": [-1]}], \"outputs\": [{\"name\": "
               "\"y\", \"datatype\": \"FP32\", \"shape\": [-1]}], \"opset\": 99}",
               NULL);
}

static void test_values_that_are_no_tensors_or_have_no_shape(void **state) {
    check_path(fixture("sequence_output"),
               "{\"inputs\": [{\"name\": \"x\", \"datatype\": \"FP32\", \"shape\": [-1]}], \"outputs\": [{\"name\": "
               "\"parts\", \"datatype\": null, \"shape\": null}], \"opset\": 17}",
               NULL);
    check_path(fixture("optional_type"),
               "{\"inputs\": [{\"name\": \"x\", \"datatype\": \"FP32\", \"shape\": [-1]}], \"outputs\": [{\"name\": "
               "\"maybe\", \"datatype\": null, \"shape\": null}], \"opset\": 17}",
               NULL);
    check_path(fixture("shapeless_input"),
               "{\"inputs\": [{\"name\": \"x\", \"datatype\": \"FP32\", \"shape\": null}], \"outputs\": [{\"name\": "
               "\"y\", \"datatype\": \"FP32\", \"shape\": null}], \"opset\": 17}",
               NULL);
}

static void test_files_that_are_no_models(void **state) {
    refuse_path(fixture("truncated"), SW_E_MODEL_INVALID, "cut off at byte");
    refuse_path(fixture("empty"), SW_E_MODEL_INVALID, "no graph");
    refuse_path(fixture("not_a_model"), SW_E_MODEL_INVALID, "not an ONNX model");
    refuse_path("/nonexistent/x.onnx", SW_E_NOT_FOUND, "No such file");
    refuse_path("/tmp", SW_E_IO, "not a regular file");
}

/* graphs made here ------------------------------------------------------------------------------------------------- */

static void test_initializers_before_and_behind_inputs(void **state) {
    put_text(&graph, 5, "\x42\x01w"); /* a TensorProto of the name w */
    put_value(&graph, 11, "w");
    put_value(&graph, 11, "x");
    put_value(&graph, 11, "s");
    put_value(&graph, 11, "v");
    put_text(&graph, 15, "\x0a\x03\x42\x01s"); /* sparse: its values are called s */
    put_text(&graph, 5, "\x42\x01v");
    put_value(&graph, 12, "y");
    check_path(model_file(), "{\"inputs\": [" VALUE("x") "], \"outputs\": [" VALUE("y") "], \"opset\": 17}", NULL);
}

static void test_no_default_operator_set(void **state) {
    put_value(&graph, 12, "y");
    put_bytes(&model, 8, "\x0a\x01z\x10\x11", 5);
    put_bytes(&model, 7, graph.data, graph.len);
    check_path(write_file(model.data, model.len), "{\"inputs\": [], \"outputs\": [" VALUE("y") "], \"opset\": null}",
               NULL);
}

static void test_external_data_wherever_a_tensor_can_be(void **state) {
    SW_CLEANUP(sw_buf_deinit) struct sw_buf inner;
    SW_CLEANUP(sw_buf_deinit) struct sw_buf outer;
    sw_buf_init(&inner, 1 << 20);
    sw_buf_init(&outer, 1 << 20);
    put_external(&graph, 5, "w", "a.bin");
    put_external(&graph, 5, "v", "a.bin"); /* told once */
    put_external(&inner, 5, "deep", "sub/graph.bin");
    put_value(&inner, 11, "not an input of the model");
    put_message(&outer, 6, &inner); /* an attribute with a graph */
    put_message(&inner, 5, &outer);
    put_message(&graph, 1, &inner); /* of a node */
    put_external(&inner, 5, "", "constant.bin");
    put_message(&outer, 5, &inner);
    put_message(&graph, 1, &outer);
    put_external(&inner, 1, "values", "values.bin");
    put_external(&inner, 2, "", "indices.bin");
    put_message(&graph, 15, &inner);
    put_value(&graph, 12, "y");
    put_external(&inner, 5, "", "function.bin"); /* an attribute with a tensor, of a node, of a function */
    put_message(&outer, 5, &inner);
    put_message(&inner, 7, &outer);
    const char *path = model_file();
    put_message(&model, 25, &inner);
    write_file(model.data, model.len);
    check_path(path, "{\"inputs\": [], \"outputs\": [" VALUE("y") "], \"opset\": 17}",
               "[\"a.bin\", \"sub/graph.bin\", \"constant.bin\", \"values.bin\", \"indices.bin\", \"function.bin\"]");
}

static void test_external_data_needs_a_name(void **state) {
    put_external(&graph, 5, "w", NULL);
    refuse_path(model_file(), SW_E_MODEL_INVALID, "names no file");
    sw_buf_clear(&graph);
    put_external(&graph, 5, "w", "bad\xff");
    refuse_path(model_file(), SW_E_MODEL_INVALID, "not UTF-8");
}

static void test_names(void **state) {
    char name[1026];
    memset(name, 'n', sizeof name);
    name[1025] = '\0';
    put_value(&graph, 11, name);
    refuse_path(model_file(), SW_E_MODEL_INVALID, "input: 1025 bytes");
    sw_buf_clear(&graph);
    name[1024] = '\0';
    put_value(&graph, 11, name);
    check_path(model_file(), NULL, NULL);
    sw_buf_clear(&graph);
    put_value(&graph, 11, "a\xc3");
    refuse_path(model_file(), SW_E_MODEL_INVALID, "not UTF-8");
    sw_buf_clear(&graph);
    put_bytes(&graph, 12, "\x0a\x03x\0y", 5);
    refuse_path(model_file(), SW_E_MODEL_INVALID, "NUL");
    sw_buf_clear(&graph);
    put_value(&graph, 11, "");
    refuse_path(model_file(), SW_E_MODEL_INVALID, "without a name");
    sw_buf_clear(&graph);
    put_value(&graph, 11, "x");
    put_value(&graph, 11, "x");
    refuse_path(model_file(), SW_E_MODEL_INVALID, "declared twice");
}

static void test_dimensions_and_types_out_of_range(void **state) {
    /* dimensions of 2^64 - 1 (minus 1) and of nothing; element type 21, which is not served */
    put_bytes(&graph, 11,
              "\x0a\x01x\x12\x15\x0a\x13\x08\x15\x12\x0f\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x0a\x00",
              26);
    check_path(
        model_file(),
        "{\"inputs\": [{\"name\": \"x\", \"datatype\": null, \"shape\": [-1, -1]}], \"outputs\": [], \"opset\": 17}",
        NULL);
}

static void test_too_many_dimensions(void **state) {
    for (int i = 64; i <= 65; i++) {
        SW_CLEANUP(sw_buf_deinit) struct sw_buf a;
        SW_CLEANUP(sw_buf_deinit) struct sw_buf b;
        sw_buf_init(&a, 4096);
        sw_buf_init(&b, 4096);
        for (int d = 0; d < i; d++) {
            put_bytes(&a, 1, "\x08\x01", 2);
        }
        put_message(&b, 2, &a); /* shape */
        put_message(&a, 1, &b); /* tensor type */
        put_text(&b, 1, "x");
        put_message(&b, 2, &a); /* type */
        sw_buf_clear(&graph);
        put_message(&graph, 11, &b);
        if (i == 64) {
            check_path(model_file(), NULL, NULL);
        } else {
            refuse_path(model_file(), SW_E_MODEL_INVALID, "more than 64 dimensions");
        }
    }
}

static void test_too_many_values(void **state) {
    for (int i = 0; i < 4096; i++) {
        char name[16];
        snprintf(name, sizeof name, "x%d", i);
        put_value(&graph, 11, name);
    }
    check_path(model_file(), NULL, NULL);
    put_value(&graph, 11, "one more");
    refuse_path(model_file(), SW_E_MODEL_INVALID, "more than 4096 inputs");
}

static void test_graphs_within_graphs(void **state) {
    SW_CLEANUP(sw_buf_deinit) struct sw_buf attribute;
    SW_CLEANUP(sw_buf_deinit) struct sw_buf node;
    sw_buf_init(&attribute, 1 << 20);
    sw_buf_init(&node, 1 << 20);
    for (int depth = 0; depth < 33; depth++) {
        if (depth == 32) {
            check_path(model_file(), NULL, "[\"deepest.bin\"]");
        }
        if (depth == 0) {
            put_external(&graph, 5, "w", "deepest.bin");
        }
        put_message(&attribute, 6, &graph);
        put_message(&node, 5, &attribute);
        put_message(&graph, 1, &node);
    }
    refuse_path(model_file(), SW_E_MODEL_INVALID, "more than 32 deep");
}

/* Every beginning of a good file is refused or, where it ends between two fields, gives something; nothing is read
 * beyond. */
static void test_every_truncation(void **state) {
    put_external(&graph, 5, "w", "a.bin");
    put_value(&graph, 11, "x");
    put_value(&graph, 12, "y");
    model_file();
    size_t whole = model.len, refused = 0;
    for (size_t n = 0; n < whole; n++) {
        json_t *got;
        sw_status status = sw_onnx_signature(write_file(model.data, n), &got, NULL, NULL);
        assert_true(status == SW_OK || status == SW_E_MODEL_INVALID);
        refused += status != SW_OK;
        if (!status) {
            json_decref(got);
        }
    }
    assert_int_equal(refused, whole); /* the graph is the last field: it is cut, or missing */
}

/* 3 GB of weights, as a hole in the file: found behind them what stands there, in little memory. */
static void test_huge_weights_are_skipped(void **state) {
    const uint64_t weights = UINT64_C(3) << 30;
    SW_CLEANUP(sw_buf_deinit) struct sw_buf tail;
    SW_CLEANUP(sw_buf_deinit) struct sw_buf head;
    sw_buf_init(&tail, 1 << 20);
    sw_buf_init(&head, 1 << 20);
    put_value(&tail, 11, "x");
    put_value(&tail, 11, "w");
    put_value(&tail, 12, "y");
    /* a model with a graph with a tensor called w with raw_data: lengths from the inside out */
    SW_CLEANUP(sw_buf_deinit) struct sw_buf raw;
    SW_CLEANUP(sw_buf_deinit) struct sw_buf tensor;
    sw_buf_init(&raw, 1 << 10);
    sw_buf_init(&tensor, 1 << 10);
    put_text(&raw, 8, "w");
    put_varint(&raw, 9 << 3 | 2);
    put_varint(&raw, weights);
    put_varint(&tensor, 5 << 3 | 2);
    put_varint(&tensor, raw.len + weights);
    put_number(&head, 1, 8);
    put_bytes(&head, 8, "\x10\x11", 2);
    put_varint(&head, 7 << 3 | 2);
    put_varint(&head, tensor.len + raw.len + weights + tail.len);
    sw_buf_append(&head, tensor.data, tensor.len);
    sw_buf_append(&head, raw.data, raw.len);
    write_file(head.data, head.len);
    int fd = open(temporary, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, tail.data, tail.len, (off_t)(head.len + weights)), tail.len);
    close(fd);

    struct rusage before, after;
    assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
    check_path(temporary, "{\"inputs\": [" VALUE("x") "], \"outputs\": [" VALUE("y") "], \"opset\": 17}", NULL);
    assert_int_equal(getrusage(RUSAGE_SELF, &after), 0);
    assert_true(after.ru_maxrss - before.ru_maxrss < 64 << 10); /* KiB */
    assert_int_equal(truncate(temporary, (off_t)(head.len + weights)), 0);
    refuse_path(temporary, SW_E_MODEL_INVALID, "cut off"); /* the graph is longer than the file */
}

static int make_temporary(void **state) {
    int fd = mkstemp(temporary);
    return fd < 0 ? -1 : close(fd);
}

static int remove_temporary(void **state) {
    return unlink(temporary);
}

#define WITH_GRAPH(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_data_type),
        cmocka_unit_test(test_models_of_the_suite),
        cmocka_unit_test(test_values_that_are_no_tensors_or_have_no_shape),
        cmocka_unit_test(test_files_that_are_no_models),
        WITH_GRAPH(test_initializers_before_and_behind_inputs),
        WITH_GRAPH(test_no_default_operator_set),
        WITH_GRAPH(test_external_data_wherever_a_tensor_can_be),
        WITH_GRAPH(test_external_data_needs_a_name),
        WITH_GRAPH(test_names),
        WITH_GRAPH(test_dimensions_and_types_out_of_range),
        WITH_GRAPH(test_too_many_dimensions),
        WITH_GRAPH(test_too_many_values),
        WITH_GRAPH(test_graphs_within_graphs),
        WITH_GRAPH(test_every_truncation),
        cmocka_unit_test(test_huge_weights_are_skipped),
    };
    return cmocka_run_group_tests_name("graph/signature", tests, make_temporary, remove_temporary);
}
