/* Tensor objects of the Open Inference Protocol: fields in any order, binary data, base64, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tensor/oip_tensor.h"

static struct sw_arena arena;
static struct sw_error err;

static int set_up(void **state) {
    sw_arena_init(&arena, 16 << 20, 0);
    err = (struct sw_error){0};
    return 0;
}

static int tear_down(void **state) {
    sw_arena_deinit(&arena);
    return 0;
}

static char name_x[] = "x", name_s[] = "s";
static struct sw_tensor_spec spec_items[] = {
    {.name = name_x, .dtype = SW_DTYPE_FP32, .rank = 2, .shape = {-1, 2}},
    {.name = name_s, .dtype = SW_DTYPE_BYTES, .rank = 1, .shape = {-1}},
};
static const struct sw_tensor_specs specs = {spec_items, SW_COUNTOF(spec_items)};

static sw_status read_one(const char *text, const struct sw_tensor_specs *with, struct sw_str *blobs,
                          struct sw_tensor *ret) {
    struct sw_json json;
    sw_json_init(&json, sw_str_of(text), &arena, &err);
    SW_TRY(sw_oip_read_tensor(&json, with, blobs, ret));
    return sw_json_end(&json);
}

/* The four fields in all 24 orders, with others between. */
static void reads_fields_in_any_order(void **state) {
    static const char *const fields[] = {"\"name\":\"x\"", "\"shape\":[2,2]", "\"datatype\":\"FP32\"",
                                         "\"data\":[[1,2],[3,4.5]]"};
    for (int order = 0; order < 256; order++) {
        int i[] = {order & 3, order >> 2 & 3, order >> 4 & 3, order >> 6};
        if ((1 << i[0] | 1 << i[1] | 1 << i[2] | 1 << i[3]) != 15) {
            continue;
        }
        char text[300];
        snprintf(text, sizeof text, "{%s, \"extra\":{\"data\":[]}, %s,%s,\"parameters\":{\"k\":[1]},%s}", fields[i[0]],
                 fields[i[1]], fields[i[2]], fields[i[3]]);
        struct sw_tensor t;
        if (read_one(text, &specs, NULL, &t)) {
            fail_msg("%s: %s", text, err.message);
        }
        const float want[] = {1, 2, 3, 4.5f};
        assert_memory_equal(t.data, want, sizeof want);
        assert_true(sw_str_is(t.name, "x") && t.dtype == SW_DTYPE_FP32 && t.rank == 2 && t.count == 4);
    }
}

static void reads_scalars_and_empty_tensors(void **state) {
    struct sw_tensor t;
    assert_int_equal(read_one("{\"name\":\"n\",\"shape\":[],\"datatype\":\"INT64\",\"data\":7}", NULL, NULL, &t),
                     SW_OK);
    assert_true(t.rank == 0 && t.count == 1 && *(int64_t *)t.data == 7);
    assert_int_equal(read_one("{\"data\":[7],\"name\":\"n\",\"shape\":[],\"datatype\":\"INT64\"}", NULL, NULL, &t),
                     SW_OK);
    assert_true(*(int64_t *)t.data == 7);
    assert_int_equal(read_one("{\"name\":\"n\",\"shape\":[0,5],\"datatype\":\"FP32\",\"data\":[]}", NULL, NULL, &t),
                     SW_OK);
    assert_true(t.count == 0 && t.rank == 2);
}

static void refuses_wrong_objects(void **state) {
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"[]", "an object"},
        {"{}", "\"name\" is missing"},
        {"{\"name\":\"x\",\"shape\":[1,2],\"data\":[1,2]}", "tensor \"x\": \"datatype\" is missing"},
        {"{\"name\":\"x\",\"datatype\":\"FP32\",\"data\":[1,2]}", "tensor \"x\": \"shape\" is missing"},
        {"{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1,2]}", "tensor \"x\": \"data\" is missing"},
        {"{\"datatype\":\"FP32\",\"shape\":[1,2],\"data\":[1,2]}", "\"name\" is missing"},
        {"{\"name\":5}", "a string"},
        {"{\"name\":\"x\",\"datatype\":\"FLOAT\"}", "tensor \"x\": unknown datatype \"FLOAT\""},
        {"{\"name\":\"x\",\"datatype\":1}", "a string"},
        {"{\"name\":\"x\",\"shape\":2}", "an array"},
        {"{\"name\":\"x\",\"shape\":[1.0,2]}", "not an integer"},
        {"{\"name\":\"x\",\"shape\":[\"1\"]}", "an integer"},
        {"{\"name\":\"x\",\"shape\":[1,-1]}", "tensor \"x\": dimension 1 of shape is negative"},
        {"{\"name\":\"x\",\"shape\":[99999999999999999999]}", "64 bits"},
        {"{\"name\":\"x\",\"shape\":[65536,65536]}", "more than 2147483648 elements"},
        {"{\"name\":\"x\",\"shape\":[9223372036854775807,9223372036854775807,9223372036854775807]}", "more than"},
        {"{\"name\":\"x\",\"shape\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}", "more than 16 dimensions"},
        {"{\"name\":\"y\",\"shape\":[1,2],\"datatype\":\"FP32\",\"data\":[1,2]}", "no input \"y\""},
        {"{\"name\":\"x\",\"shape\":[1,2],\"datatype\":\"INT32\",\"data\":[1,2]}",
         "datatype is INT32, the model wants"},
        {"{\"name\":\"x\",\"shape\":[1,3],\"datatype\":\"FP32\",\"data\":[1,2,3]}", "shape is [1,3]"},
        {"{\"data\":[1,2],\"name\":\"y\",\"shape\":[1,2],\"datatype\":\"FP32\"}", "no input \"y\""},
        {"{\"name\":\"x\",\"shape\":[1,2],\"datatype\":\"FP32\",\"data\":[1]}", "has 1 elements"},
        {"{\"data\":[1],\"name\":\"x\",\"shape\":[1,2],\"datatype\":\"FP32\"}", "has 1 elements"},
        {"{\"data\":[1,]}", "malformed"},
        {"{\"name\":\"x\",\"shape\":[1000000000,2],\"datatype\":\"FP32\",\"data\":[1]}", "more than the data can hold"},
        {"{\"data\":[1],\"name\":\"x\",\"shape\":[1000000000,2],\"datatype\":\"FP32\"}", "more than the data can hold"},
        {"{\"name\":\"x\",\"name\":\"x\"}", "duplicate key \"name\""},
        {"{\"name\":\"x\",\"shape\":[1,2],\"datatype\":\"FP32\",\"data\":[1,2],\"data\":[1,2]}",
         "duplicate key \"data\""},
        {"{\"name\":\"x\",\"parameters\":5}", "an object"},
        {"{\"name\":\"x\",\"parameters\":{\"binary_data_size\":-1}}", "negative"},
        {"{\"name\":\"x\",\"parameters\":{\"binary_data_size\":1.5}}", "not an integer"},
        {"{\"name\":\"x\",\"parameters\":{\"binary_data_size\":8},\"shape\":[1,2],\"datatype\":\"FP32\"}",
         "carries no binary data"},
        {"{\"name\":\"x\",\"shape\":[1,2],\"datatype\":\"FP32\",\"data\":[1,2],\"parameters\":{\"content_type\":"
         "\"base64\"}}",
         "base64 is for BYTES"},
        {"{\"name\":\"x\",\"shape\":[1,2],\"datatype\":\"FP16\",\"data\":[1,2]}", "datatype is FP16"},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        struct sw_tensor t = {.count = 42};
        err = (struct sw_error){0};
        assert_int_equal(read_one(cases[i].text, &specs, NULL, &t), SW_E_INVALID_ARGUMENT);
        if (!strstr(err.message, cases[i].says)) {
            fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].text, err.message, cases[i].says);
        }
        assert_true(t.count == 42);
    }
}

/* A known key twice is found however many unknown ones stand between. */
static void finds_duplicates_behind_many_keys(void **state) {
    struct sw_buf text;
    sw_buf_init_arena(&text, &arena, 1 << 16);
    sw_buf_append_c(&text, '{');
    for (int i = 0; i < 100; i++) {
        sw_buf_printf(&text, "\"k%d\":0,", i);
    }
    SW_LIT(&text, "\"name\":\"x\",\"shape\":[1],\"name\":\"y\"}");
    struct sw_tensor t;
    assert_int_equal(read_one(text.data, NULL, NULL, &t), SW_E_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "duplicate key \"name\""));
}

static void reads_binary_data(void **state) {
    _Alignas(8) char bytes[] = "\0\0\x80\x3f\0\0\0\x40\1\0\0\0Q";
    struct sw_str blobs = {bytes, 13};
    struct sw_json json;
    sw_json_init(
        &json,
        SW_STR("[{\"name\":\"x\",\"shape\":[1,2],\"datatype\":\"FP32\",\"parameters\":{\"binary_data_size\":8}},"
               " {\"parameters\":{\"binary_data_size\":5},\"name\":\"s\",\"shape\":[1],\"datatype\":\"BYTES\"}]"),
        &arena, &err);
    struct sw_tensor *tensors;
    size_t count;
    assert_int_equal(sw_oip_read_tensors(&json, &specs, &blobs, &tensors, &count), SW_OK);
    assert_int_equal(count, 2);
    assert_true(((float *)tensors[0].data)[0] == 1 && ((float *)tensors[0].data)[1] == 2);
    assert_true(sw_str_is(*(struct sw_str *)tensors[1].data, "Q"));
    assert_int_equal(blobs.len, 0);

    static const struct {
        const char *text, *says;
    } cases[] = {
        {"{\"name\":\"x\",\"shape\":[1,2],\"datatype\":\"FP32\",\"parameters\":{\"binary_data_size\":14}}",
         "only 13 bytes"},
        {"{\"name\":\"x\",\"shape\":[1,2],\"datatype\":\"FP32\",\"parameters\":{\"binary_data_size\":7}}",
         "takes 8 bytes"},
        {"{\"name\":\"x\",\"shape\":[1,2],\"datatype\":\"FP32\",\"parameters\":{\"binary_data_size\":"
         "9223372036854775807}}",
         "only 13 bytes"},
        {"{\"name\":\"x\",\"shape\":[1,2],\"datatype\":\"FP32\",\"data\":[1,2],\"parameters\":{\"binary_data_size\":"
         "8}}",
         "both data and binary_data_size"},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        struct sw_tensor t;
        blobs = (struct sw_str){bytes, 13};
        assert_int_equal(read_one(cases[i].text, &specs, &blobs, &t), SW_E_INVALID_ARGUMENT);
        if (!strstr(err.message, cases[i].says)) {
            fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].text, err.message, cases[i].says);
        }
        assert_int_equal(blobs.len, 13);
    }
}

static void reads_16_bit_floats_in_binary(void **state) {
    _Alignas(8) char bytes[] = "\0\x3c\0\x40";
    struct sw_str blobs = {bytes, 4};
    struct sw_tensor t;
    assert_int_equal(
        read_one("{\"name\":\"h\",\"shape\":[2],\"datatype\":\"FP16\",\"parameters\":{\"binary_data_size\":4}}", NULL,
                 &blobs, &t),
        SW_OK);
    assert_true(sw_half_to_float(((uint16_t *)t.data)[1]) == 2);
}

static void reads_lists(void **state) {
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"[]", "empty"},
        {"{}", "an array"},
        {"[{\"name\":\"a\",\"shape\":[1],\"datatype\":\"INT8\",\"data\":[1]},"
         "{\"name\":\"a\",\"shape\":[1],\"datatype\":\"INT8\",\"data\":[1]}]",
         "tensor \"a\": given twice"},
        {"[5]", "an object"},
    };
    struct sw_tensor *tensors;
    size_t count;
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        struct sw_json json;
        sw_json_init(&json, sw_str_of(cases[i].text), &arena, &err);
        assert_int_equal(sw_oip_read_tensors(&json, NULL, NULL, &tensors, &count), SW_E_INVALID_ARGUMENT);
        assert_non_null(strstr(err.message, cases[i].says));
    }
    for (int n = SW_TENSORS_MAX; n <= SW_TENSORS_MAX + 1; n++) {
        struct sw_buf text;
        sw_buf_init_arena(&text, &arena, 1 << 20);
        for (int i = 0; i < n; i++) {
            sw_buf_printf(&text, "%s{\"name\":\"t%d\",\"shape\":[1],\"datatype\":\"UINT16\",\"data\":[%d]}",
                          i ? "," : "[", i, i);
        }
        sw_buf_append_c(&text, ']');
        struct sw_json json;
        sw_json_init(&json, sw_buf_str(&text), &arena, &err);
        sw_status s = sw_oip_read_tensors(&json, NULL, NULL, &tensors, &count);
        assert_int_equal(s, n == SW_TENSORS_MAX ? SW_OK : SW_E_INVALID_ARGUMENT);
    }
    assert_int_equal(count, SW_TENSORS_MAX);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(*(uint16_t *)tensors[i].data, i);
    }
}

static void decodes_base64_elements(void **state) {
    struct sw_tensor t;
    const char *good =
        "{\"name\":\"s\",\"shape\":[3],\"datatype\":\"BYTES\",\"parameters\":{\"content_type\":\"base64\"},"
        "\"data\":[\"\",\"AP8=\",\"c2xpcHdheQ==\"]}";
    assert_int_equal(read_one(good, &specs, NULL, &t), SW_OK);
    const struct sw_str *elements = t.data;
    assert_true(elements[0].len == 0 && sw_str_eq(elements[1], SW_STR("\0\xff")) && sw_str_is(elements[2], "slipway"));
    const char *bad = "{\"name\":\"s\",\"shape\":[2],\"datatype\":\"BYTES\",\"data\":[\"AA==\",\"A?==\"],"
                      "\"parameters\":{\"content_type\":\"base64\"}}";
    assert_int_equal(read_one(bad, &specs, NULL, &t), SW_E_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "tensor \"s\": element 1: base64"));
    const char *plain = "{\"name\":\"s\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[\"AA==\"],"
                        "\"parameters\":{\"content_type\":\"str\"}}";
    assert_int_equal(read_one(plain, &specs, NULL, &t), SW_OK);
    assert_true(sw_str_is(*(struct sw_str *)t.data, "AA=="));
}

static void decodes_base64(void **state) {
    static const struct {
        struct sw_str text, want;
    } good[] = {
        {SW_STR(""), SW_STR("")},
        {SW_STR("Zg=="), SW_STR("f")},
        {SW_STR("Zm8="), SW_STR("fo")},
        {SW_STR("Zm9v"), SW_STR("foo")},
        {SW_STR("Zm9vYg=="), SW_STR("foob")},
        {SW_STR("Zm9vYmE="), SW_STR("fooba")},
        {SW_STR("Zm9vYmFy"), SW_STR("foobar")},
        {SW_STR("+/+/"), SW_STR("\xfb\xff\xbf")},
    };
    for (size_t i = 0; i < SW_COUNTOF(good); i++) {
        struct sw_str got;
        assert_int_equal(sw_base64_decode(good[i].text, &arena, &got, &err), SW_OK);
        assert_true(sw_str_eq(got, good[i].want));
    }
    static const struct sw_str bad[] = {
        SW_STR("Z"),        SW_STR("Zg"),           SW_STR("Zg="),    SW_STR("===="),
        SW_STR("Z==="),     SW_STR("Zg==Zg=="),     SW_STR("Zm9v\n"), SW_STR("Zm 9v=="),
        SW_STR("Zm9-"),     SW_STR("Zm9_"),         SW_STR("Zh=="),   SW_STR("Zm9="),
        SW_STR("=m9v"),     SW_STR("Z=9v"),         SW_STR("Zm=v"),   SW_STR("Zm9v\xc3\xa9Zg"),
        SW_STR("\0\0\0\0"), SW_STR("Zg==\0\0\0\0"),
    };
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        struct sw_str got = SW_STR("untouched");
        if (sw_base64_decode(bad[i], &arena, &got, &err) != SW_E_INVALID_ARGUMENT || !sw_str_is(got, "untouched")) {
            fail_msg("case %zu, \"%s\", was accepted", i, bad[i].data);
        }
    }
}

/* Base64 of random bytes of every length, against an encoder written here. */
static void decodes_every_length(void **state) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char bytes[100];
    uint32_t random = 1;
    for (size_t n = 0; n < sizeof bytes; n++) {
        char text[200];
        size_t len = 0;
        for (size_t i = 0; i < n; i++) {
            random = random * 1664525 + 1013904223;
            bytes[i] = (unsigned char)(random >> 24);
        }
        for (size_t i = 0; i < n; i += 3) {
            uint32_t group = (uint32_t)bytes[i] << 16 | (i + 1 < n ? (uint32_t)bytes[i + 1] << 8 : 0) |
                             (i + 2 < n ? bytes[i + 2] : 0);
            for (size_t k = 0; k < 4; k++) {
                text[len++] = i + k <= n ? alphabet[group >> (18 - 6 * k) & 63] : '=';
            }
        }
        struct sw_str got;
        assert_int_equal(sw_base64_decode((struct sw_str){text, len}, &arena, &got, &err), SW_OK);
        assert_int_equal(got.len, n);
        assert_memory_equal(got.data, bytes, n);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(reads_fields_in_any_order),
        TEST(reads_scalars_and_empty_tensors),
        TEST(refuses_wrong_objects),
        TEST(finds_duplicates_behind_many_keys),
        TEST(reads_binary_data),
        TEST(reads_16_bit_floats_in_binary),
        TEST(reads_lists),
        TEST(decodes_base64_elements),
        TEST(decodes_base64),
        TEST(decodes_every_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
