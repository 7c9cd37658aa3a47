/* See golden.h. */
#include "golden.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/file.h"

const char *models_path(const char *file_name, char *buffer, size_t size) {
    const char *folder = getenv("SLIPWAY_TEST_MODELS");
    if (!folder) {
        fail_msg("SLIPWAY_TEST_MODELS must name the folder that tools/make_test_models.py filled");
    }
    snprintf(buffer, size, "%s/%s", folder ? folder : "", file_name);
    return buffer;
}

static void put(struct sw_tensor *t, size_t i, const json_t *value, struct sw_arena *arena) {
    double number = json_number_value(value);
    json_int_t integer = json_integer_value(value);
    switch (t->dtype) {
    case SW_DTYPE_BOOL: ((uint8_t *)t->data)[i] = json_is_true(value); break;
    case SW_DTYPE_UINT8:
    case SW_DTYPE_INT8: ((uint8_t *)t->data)[i] = (uint8_t)integer; break;
    case SW_DTYPE_UINT16:
    case SW_DTYPE_INT16: ((uint16_t *)t->data)[i] = (uint16_t)integer; break;
    case SW_DTYPE_UINT32:
    case SW_DTYPE_INT32: ((uint32_t *)t->data)[i] = (uint32_t)integer; break;
    case SW_DTYPE_UINT64: /* jansson has no integers above INT64_MAX; those are tested by hand */
    case SW_DTYPE_INT64: ((int64_t *)t->data)[i] = integer; break;
    case SW_DTYPE_FP16: ((uint16_t *)t->data)[i] = sw_float_to_half((float)number); break;
    case SW_DTYPE_BF16: ((uint16_t *)t->data)[i] = sw_float_to_bf16((float)number); break;
    case SW_DTYPE_FP32: ((float *)t->data)[i] = (float)number; break;
    case SW_DTYPE_FP64: ((double *)t->data)[i] = number; break;
    case SW_DTYPE_BYTES: {
        struct sw_str text = {json_string_value(value), json_string_length(value)};
        ((struct sw_str *)t->data)[i] = (struct sw_str){sw_arena_strdup(arena, text), text.len};
        break;
    }
    default: fail_msg("unknown datatype");
    }
}

static void read_tensor(const json_t *json, struct sw_tensor *ret, struct sw_arena *arena) {
    int64_t shape[SW_RANK_MAX];
    const json_t *sizes = json_object_get(json, "shape"), *data = json_object_get(json, "data");
    for (size_t i = 0; i < json_array_size(sizes); i++) {
        shape[i] = json_integer_value(json_array_get(sizes, i));
    }
    struct sw_str name = sw_str_of(json_string_value(json_object_get(json, "name")));
    name.data = sw_arena_strdup(arena, name);
    enum sw_dtype dtype = sw_dtype_parse(sw_str_of(json_string_value(json_object_get(json, "datatype"))));
    struct sw_error err;
    assert_int_equal(sw_tensor_alloc(ret, arena, name, dtype, shape, (uint32_t)json_array_size(sizes), &err), SW_OK);
    assert_int_equal(json_array_size(data), ret->count);
    for (size_t i = 0; i < ret->count; i++) {
        put(ret, i, json_array_get(data, i), arena);
    }
}

static void read_case(struct sw_str line, struct golden_case *ret, struct sw_arena *arena) {
    json_error_t why;
    json_t *json = json_loadb(line.data, line.len, 0, &why);
    if (!json) {
        fail_msg("golden file: %s", why.text);
    }
    const json_t *inputs = json_object_get(json, "inputs"), *outputs = json_object_get(json, "outputs");
    ret->input_count = json_array_size(inputs);
    ret->output_count = json_array_size(outputs);
    ret->tolerance = json_number_value(json_object_get(json, "tolerance"));
    assert_true(ret->input_count <= SW_COUNTOF(ret->inputs) && ret->output_count <= SW_COUNTOF(ret->outputs));
    for (size_t i = 0; i < ret->input_count; i++) {
        read_tensor(json_array_get(inputs, i), &ret->inputs[i], arena);
    }
    for (size_t i = 0; i < ret->output_count; i++) {
        read_tensor(json_array_get(outputs, i), &ret->outputs[i], arena);
    }
    json_decref(json);
}

size_t golden_read(const char *model_name, struct sw_arena *arena, struct golden_case *ret, size_t max) {
    char name[256], path[4096];
    snprintf(name, sizeof name, "%s.golden.jsonl", model_name);
    struct sw_buf text;
    struct sw_error err;
    if (sw_file_read(models_path(name, path, sizeof path), 64 << 20, &text, &err)) {
        fail_msg("%s", err.message);
    }
    size_t count = 0;
    struct sw_str rest = sw_buf_str(&text), line;
    while (rest.len && count < max) {
        rest = sw_str_split(rest, '\n', &line);
        if (line.len) {
            read_case(line, &ret[count++], arena);
        }
    }
    sw_buf_deinit(&text);
    assert_true(count > 0);
    return count;
}

static double number_at(const struct sw_tensor *t, size_t i) {
    switch (t->dtype) {
    case SW_DTYPE_FP16: return sw_half_to_float(((const uint16_t *)t->data)[i]);
    case SW_DTYPE_BF16: return sw_bf16_to_float(((const uint16_t *)t->data)[i]);
    case SW_DTYPE_FP32: return ((const float *)t->data)[i];
    default: return ((const double *)t->data)[i];
    }
}

static bool is_floating(enum sw_dtype dtype) {
    return dtype == SW_DTYPE_FP16 || dtype == SW_DTYPE_BF16 || dtype == SW_DTYPE_FP32 || dtype == SW_DTYPE_FP64;
}

void golden_compare(const struct sw_tensor *expected, const struct sw_tensor *got, double tolerance) {
    assert_true(sw_str_eq(expected->name, got->name));
    assert_int_equal(expected->dtype, got->dtype);
    assert_int_equal(expected->rank, got->rank);
    assert_int_equal(expected->count, got->count);
    for (uint32_t d = 0; d < got->rank; d++) {
        assert_int_equal(expected->shape[d], got->shape[d]);
    }
    size_t size = sw_dtype_size(got->dtype);
    for (size_t i = 0; i < got->count; i++) {
        if (got->dtype == SW_DTYPE_BYTES) {
            const struct sw_str *a = expected->data, *b = got->data;
            assert_true(sw_str_eq(a[i], b[i]));
        } else if (is_floating(got->dtype)) {
            double a = number_at(expected, i), b = number_at(got, i);
            if (!(fabs(a - b) <= tolerance * fmax(1, fabs(a)))) {
                fail_msg(SW_STR_FMT "[%zu]: expected %.9g, got %.9g", SW_STR_ARG(got->name), i, a, b);
            }
        } else {
            assert_memory_equal((const char *)expected->data + i * size, (const char *)got->data + i * size, size);
        }
    }
}
