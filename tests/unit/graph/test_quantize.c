/* Quantisation without a runtime: graphs put together here, numbers made up by an engine that runs nothing, and what
 * stands in the graph afterwards. What the numbers are worth, scenario tests show with a real runtime. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <dirent.h>
#include <math.h>
#include <unistd.h>

#include "graph/quantize_internal.h"
#include "stub_engine.h"

static struct sw_onnx *model;
static json_t *inputs; /* of the signature, for samples */

static int begin(void **state) {
    inputs = json_array();
    return sw_onnx_parse("\x08\x08\x3a\x00\x42\x02\x10\x11", 8, NULL, &model, NULL) == SW_OK ? 0 : -1;
}

static int end(void **state) {
    sw_onnx_destroy(model);
    json_decref(inputs);
    return 0;
}

#define LIST(...) ((const char *[]){__VA_ARGS__, NULL})

static Onnx__NodeProto *node(const char *op, const char *const *in, const char *const *out) {
    Onnx__GraphProto *graph = model->proto->graph;
    Onnx__NodeProto **list = sw_onnx_take(&model->arena, (graph->n_node + 1) * sizeof *list);
    if (graph->n_node) {
        memcpy(list, graph->node, graph->n_node * sizeof *list);
    }
    graph->node = list;
    return list[graph->n_node++] = sw_onnx_new_node(&model->arena, op, in, out);
}

static void constant(const char *name, const int64_t *dims, size_t rank, const float *values) {
    size_t count = 1;
    for (size_t i = 0; i < rank; i++) {
        count *= (size_t)dims[i];
    }
    float *copy = sw_onnx_take(&model->arena, count * sizeof *copy);
    memcpy(copy, values, count * sizeof *copy);
    sw_onnx_add_initializer(
        model, sw_onnx_new_tensor(&model->arena, name, SW_ONNX_FLOAT, dims, rank, copy, count * sizeof *copy));
}

static Onnx__ValueInfoProto *value_info(const char *name) {
    Onnx__ValueInfoProto *info = sw_onnx_take(&model->arena, sizeof *info);
    onnx__value_info_proto__init(info);
    info->name = sw_onnx_strdup(&model->arena, name);
    return info;
}

static void input(const char *name) {
    Onnx__GraphProto *graph = model->proto->graph;
    struct sw_onnx_list list = {(void **)graph->input, graph->n_input, graph->n_input};
    sw_onnx_push(&list, &model->arena, value_info(name));
    graph->input = (Onnx__ValueInfoProto **)list.items;
    graph->n_input = list.count;
    json_array_append_new(inputs, json_pack("{s:s}", "name", name));
}

static void output(const char *name) {
    Onnx__GraphProto *graph = model->proto->graph;
    struct sw_onnx_list list = {(void **)graph->output, graph->n_output, graph->n_output};
    sw_onnx_push(&list, &model->arena, value_info(name));
    graph->output = (Onnx__ValueInfoProto **)list.items;
    graph->n_output = list.count;
}

static struct sw_quantize_report *quantize(struct sw_quantize_options options) {
    struct stub_samples list = {.inputs = inputs};
    struct sw_samples samples = stub_samples(&list);
    struct sw_session_options session = {.threads = 1};
    struct sw_quantize_report *report = NULL;
    struct sw_error err;
    if (sw_quantize(model, &options, &stub_engine, &session, &samples, &report, &err)) {
        fail_msg("%s", err.message);
    }
    return report;
}

static const struct sw_quantize_options plain = {.percentile = 100};

/* "Op(inputs)->output; ..." of the whole graph. */
static const char *text(void) {
    static char buffer[8192];
    size_t used = 0;
    const Onnx__GraphProto *graph = model->proto->graph;
    buffer[0] = '\0';
    for (size_t i = 0; i < graph->n_node && used < sizeof buffer; i++) {
        used += (size_t)snprintf(buffer + used, sizeof buffer - used, "%s->%s; ", graph->node[i]->op_type,
                                 graph->node[i]->output[0]);
    }
    return buffer;
}

static const Onnx__TensorProto *initializer(const char *name) {
    for (size_t i = 0; i < model->proto->graph->n_initializer; i++) {
        if (strcmp(model->proto->graph->initializer[i]->name, name) == 0) {
            return model->proto->graph->initializer[i];
        }
    }
    return NULL;
}

static const Onnx__NodeProto *producer(const char *name) {
    for (size_t i = 0; i < model->proto->graph->n_node; i++) {
        if (strcmp(model->proto->graph->node[i]->output[0], name) == 0) {
            return model->proto->graph->node[i];
        }
    }
    return NULL;
}

static float float_of(const char *name, size_t i) {
    const Onnx__TensorProto *t = initializer(name);
    assert_non_null(t);
    assert_int_equal(t->data_type, SW_ONNX_FLOAT);
    assert_true(t->raw_data.len > i * sizeof(float));
    return ((const float *)t->raw_data.data)[i];
}

static void gemm(const float *bias) {
    static const float weights[] = {1, -2, 0.5F, 4, -0.25F, 127};
    input("x");
    constant("w", (int64_t[]){3, 2}, 2, weights);
    if (bias) {
        constant("b", (int64_t[]){2}, 1, bias);
    }
    node("Gemm", bias ? LIST("x", "w", "b") : LIST("x", "w"), LIST("y"));
    output("y");
}

/* Scales, codes, zero points and the bias, number by number. */
static void test_numbers_of_a_gemm(void **state) {
    gemm((float[]){0.1F, -3});
    struct sw_quantize_report *report = quantize(plain);
    assert_int_equal(report->quantized, 1);
    assert_int_equal(report->samples, STUB_SAMPLES);
    const Onnx__NodeProto *y = producer("y");
    const Onnx__NodeProto *x = producer(y->input[0]), *w = producer(y->input[1]), *b = producer(y->input[2]);
    float x_scale = float_of(x->input[1], 0); /* -1 .. 2 */
    assert_true(x_scale == (float)(3.0 / 255));
    assert_int_equal(initializer(x->input[2])->raw_data.data[0], 85);
    assert_int_equal(initializer(x->input[2])->data_type, SW_ONNX_UINT8);
    assert_true(float_of(w->input[1], 0) == 1.0F / 127 && float_of(w->input[1], 1) == 1);
    static const int8_t codes[] = {127, -2, 64, 4, -32, 127}; /* 63.5 and -31.75 are rounded to even */
    assert_int_equal(initializer(w->input[0])->data_type, SW_ONNX_INT8);
    assert_memory_equal(initializer(w->input[0])->raw_data.data, codes, sizeof codes);
    const int32_t *bias = (const int32_t *)initializer(b->input[0])->raw_data.data;
    assert_int_equal(bias[0], lrint(0.1F / (double)(x_scale * (1.0F / 127))));
    assert_int_equal(bias[1], lrint(-3 / (double)x_scale));
    assert_null(initializer("w"));
    assert_null(initializer("b"));
    sw_quantize_report_destroy(report);
}

/* A channel of zeros, or of next to nothing, beside a bias that would not fit. */
static void test_a_bias_always_fits(void **state) {
    static const float weights[] = {0, 1e-38F, 1e-9F, 0, -1e-38F, 1};
    input("x");
    constant("w", (int64_t[]){2, 3}, 2, weights);
    constant("b", (int64_t[]){3}, 1, (float[]){1000, -1000, 1e30F});
    node("Gemm", LIST("x", "w", "b"), LIST("y"));
    output("y");
    struct sw_quantize_report *report = quantize(plain);
    const Onnx__NodeProto *b = producer(producer("y")->input[2]), *w = producer(producer("y")->input[1]);
    const int32_t *codes = (const int32_t *)initializer(b->input[0])->raw_data.data;
    for (size_t i = 0; i < 3; i++) {
        float scale = float_of(b->input[1], i), want = (float[]){1000, -1000, 1e30F}[i];
        assert_true(isnormal(scale) && isnormal(float_of(w->input[1], i)));
        assert_true(fabs((double)scale * codes[i] / (double)want - 1) < 1e-6);
        assert_true(abs(codes[i]) <= 1 << 30);
    }
    sw_quantize_report_destroy(report);
}

static void test_options(void **state) {
    gemm(NULL);
    struct sw_quantize_options options = plain;
    options.per_tensor = options.reduce_range = options.signed_activations = true;
    struct sw_quantize_report *report = quantize(options);
    const Onnx__NodeProto *x = producer(producer("y")->input[0]), *w = producer(producer("y")->input[1]);
    assert_int_equal(initializer(x->input[2])->data_type, SW_ONNX_INT8);
    assert_int_equal((int8_t)initializer(x->input[2])->raw_data.data[0], 85 - 128);
    assert_int_equal(initializer(w->input[1])->n_dims, 0);
    assert_true(float_of(w->input[1], 0) == 127.0F / 63);
    assert_int_equal((int8_t)initializer(w->input[0])->raw_data.data[5], 63);
    sw_quantize_report_destroy(report);
}

static void test_dynamic_chain(void **state) {
    gemm((float[]){0.1F, -3});
    struct sw_quantize_options options = plain;
    options.mode = SW_QUANTIZE_DYNAMIC;
    struct sw_quantize_report *report = quantize(options);
    const char *got = text();
    assert_non_null(strstr(got, "DynamicQuantizeLinear->"));
    assert_non_null(strstr(got, "MatMulInteger->"));
    assert_non_null(strstr(got, "Add->y; "));
    assert_null(strstr(got, "Gemm"));
    assert_int_equal(report->samples, 0);
    sw_quantize_report_destroy(report);
}

/* Nodes in an order that no runtime minds: the reader before the maker. */
static void test_nodes_out_of_order(void **state) {
    static const float weights[] = {1, -2, 0.5F, 4, -0.25F, 1, 2, 3, 1};
    input("x");
    constant("w", (int64_t[]){3, 3}, 2, weights);
    constant("v", (int64_t[]){3, 3}, 2, weights);
    node("MatMul", LIST("h", "v"), LIST("y"));
    node("MatMul", LIST("x", "w"), LIST("h"));
    output("y");
    struct sw_quantize_report *report = quantize(plain);
    assert_int_equal(report->quantized, 2);
    const Onnx__NodeProto *pair = producer(producer("y")->input[0]);
    assert_string_equal(pair->op_type, "DequantizeLinear");
    assert_string_equal(producer(pair->input[0])->input[0], "h");
    sw_quantize_report_destroy(report);
}

/* x -> Gemm -> y, which is an output and read by another Gemm: the pair takes over the name. */
static void test_an_output_in_the_middle_keeps_its_name(void **state) {
    static const float weights[] = {1, -2, 0.5F, 4, -0.25F, 1, 2, 3, 1};
    gemm(NULL);
    constant("v", (int64_t[]){3, 3}, 2, weights);
    node("Gemm", LIST("y", "v"), LIST("z"));
    output("z");
    struct sw_quantize_report *report = quantize(plain);
    assert_string_equal(producer("y")->op_type, "DequantizeLinear");
    assert_string_equal(producer("z")->input[0], "y");
    assert_string_equal(producer(producer(producer("y")->input[0])->input[0])->op_type, "Gemm");
    sw_quantize_report_destroy(report);
}

static void test_an_overridable_weight_is_told(void **state) {
    gemm(NULL);
    input("w");
    json_array_remove(inputs, 1);
    struct sw_quantize_report *report = quantize(plain);
    assert_int_equal(report->dropped_input_count, 1);
    assert_string_equal(report->dropped_inputs[0], "w");
    assert_int_equal(model->proto->graph->n_input, 1);
    sw_quantize_report_destroy(report);
}

/* More observed values than one pass exposes; each session sees only some of them, and no file is left. */
static void test_many_layers_in_several_passes(void **state) {
    static const float weights[] = {1, -2, 0.5F, 4, -0.25F, 1, 2, 3, 1};
    enum { LAYERS = 300 };
    char folder[] = "/tmp/slipway-quantize-test.XXXXXX", at[16] = "x", next[16], name[16];
    assert_non_null(mkdtemp(folder));
    setenv("TMPDIR", folder, 1);
    input("x");
    for (int i = 0; i < LAYERS; i++) {
        snprintf(next, sizeof next, "v%d", i);
        snprintf(name, sizeof name, "w%d", i);
        constant(name, (int64_t[]){3, 3}, 2, weights);
        node("MatMul", LIST(at, name), LIST(next));
        snprintf(at, sizeof at, "%s", next);
    }
    output(at);
    struct sw_quantize_report *report = quantize(plain);
    assert_int_equal(report->quantized, LAYERS);
    assert_int_equal(report->samples, STUB_SAMPLES);
    assert_int_equal(model->proto->graph->n_output, 1);
    assert_int_equal(rmdir(folder), 0);
    unsetenv("TMPDIR");
    sw_quantize_report_destroy(report);
}

#define WITH_MODEL(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_MODEL(test_numbers_of_a_gemm),
        WITH_MODEL(test_a_bias_always_fits),
        WITH_MODEL(test_options),
        WITH_MODEL(test_dynamic_chain),
        WITH_MODEL(test_nodes_out_of_order),
        WITH_MODEL(test_an_output_in_the_middle_keeps_its_name),
        WITH_MODEL(test_an_overridable_weight_is_told),
        WITH_MODEL(test_many_layers_in_several_passes),
    };
    return cmocka_run_group_tests_name("graph/quantize", tests, NULL, NULL);
}
