/* Data types, shapes, 16-bit floats, the search for values that are not finite, signatures, and the binary form. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/memory.h"
#include "tensor/binary.h"

static struct sw_arena arena;
static struct sw_error err;

static int set_up(void **state) {
    sw_arena_init(&arena, 64 << 20, 0);
    err = (struct sw_error){0};
    return 0;
}

static int tear_down(void **state) {
    sw_arena_deinit(&arena);
    return 0;
}

static void names_types(void **state) {
    for (enum sw_dtype d = SW_DTYPE_BOOL; d < SW_DTYPE_COUNT; d++) {
        assert_int_equal(sw_dtype_parse(sw_str_of(sw_dtype_name(d))), d);
        assert_true(sw_dtype_size(d) > 0);
    }
    assert_int_equal(sw_dtype_parse(SW_STR("INVALID")), SW_DTYPE_INVALID);
    assert_int_equal(sw_dtype_parse(SW_STR("fp32")), SW_DTYPE_INVALID);
    assert_int_equal(sw_dtype_parse(SW_STR("")), SW_DTYPE_INVALID);
}

static void counts_elements(void **state) {
    static const struct {
        int64_t shape[4];
        uint32_t rank;
        bool ok;
        size_t count;
    } cases[] = {
        {{0}, 0, true, 1},
        {{5}, 1, true, 5},
        {{2, 3, 4}, 3, true, 24},
        {{0, 7}, 2, true, 0},
        {{(int64_t)1 << 31}, 1, true, (size_t)1 << 31},
        {{(int64_t)1 << 31, 0}, 2, true, 0},
        {{(int64_t)1 << 31, (int64_t)1 << 31, 0}, 3, true, 0},
        {{((int64_t)1 << 31) + 1}, 1, false, 0},
        {{1 << 16, 1 << 16}, 2, false, 0},
        {{(int64_t)1 << 31, (int64_t)1 << 31, (int64_t)1 << 31, 4}, 4, false, 0},
        {{INT64_MAX, INT64_MAX}, 2, false, 0},
        {{INT64_MAX, 0}, 2, false, 0},
        {{-1}, 1, false, 0},
        {{0, -1}, 2, false, 0},
        {{INT64_MIN}, 1, false, 0},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        size_t count = 42;
        assert_true(sw_shape_count(cases[i].shape, cases[i].rank, &count) == cases[i].ok);
        assert_int_equal(count, cases[i].ok ? cases[i].count : 42);
    }
}

static void formats_shapes(void **state) {
    char text[16];
    const int64_t shape[] = {1, 3, -1, 224};
    assert_string_equal(sw_shape_format(shape, 4, text, sizeof text), "[1,3,-1,224]");
    assert_string_equal(sw_shape_format(shape, 0, text, sizeof text), "[]");
    assert_string_equal(sw_shape_format(shape, 4, text, 6), "[1,3,");
    assert_string_equal(sw_shape_format(shape, 4, text, 1), "");
}

static void allocates_aligned(void **state) {
    struct sw_tensor t;
    const int64_t shape[] = {3, 5};
    assert_int_equal(sw_tensor_alloc(&t, &arena, SW_STR("x"), SW_DTYPE_BYTES, shape, 2, &err), SW_OK);
    assert_true(((uintptr_t)t.data & 63) == 0 && t.count == 15 && t.rank == 2 && t.shape[1] == 5);
    for (size_t i = 0; i < t.count; i++) {
        assert_true(((struct sw_str *)t.data)[i].len == 0);
    }
    struct sw_tensor untouched = t;
    const int64_t huge[] = {(int64_t)1 << 30};
    assert_int_equal(sw_tensor_alloc(&t, &arena, SW_STR("x"), SW_DTYPE_FP64, huge, 1, &err), SW_E_UNAVAILABLE);
    const int64_t negative[] = {-1};
    assert_int_equal(sw_tensor_alloc(&t, &arena, SW_STR("x"), SW_DTYPE_FP64, negative, 1, &err), SW_E_INVALID_ARGUMENT);
    assert_int_equal(sw_tensor_alloc(&t, &arena, SW_STR("x"), SW_DTYPE_FP64, shape, SW_RANK_MAX + 1, &err),
                     SW_E_INVALID_ARGUMENT);
    assert_memory_equal(&t, &untouched, sizeof t);
}

/* Reference: the value of a half, computed by arithmetic alone. */
static double half_value(uint16_t half) {
    int exponent = half >> 10 & 0x1f, fraction = half & 0x3ff;
    double magnitude = exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25);
    return half & 0x8000 ? -magnitude : magnitude;
}

static void converts_every_half(void **state) {
    for (uint32_t h = 0; h < 0x10000; h++) {
        float f = sw_half_to_float((uint16_t)h);
        if ((h & 0x7c00) == 0x7c00) {
            assert_true(h & 0x3ff ? isnan(f) : isinf(f));
        } else {
            assert_true((double)f == half_value((uint16_t)h) && !signbit(f) == !(h & 0x8000));
        }
        uint16_t back = sw_float_to_half(f);
        if (isnan(f)) {
            assert_true((back & 0x7c00) == 0x7c00 && (back & 0x3ff));
        } else {
            assert_int_equal(back, h);
        }
    }
}

/* Between each two halves: the midpoint goes to the even one, its neighbours to the nearer one. */
static void rounds_to_half(void **state) {
    for (uint16_t h = 0; h < 0x7bff; h++) {
        float middle = (float)((half_value(h) + half_value(h + 1)) / 2); /* exact */
        assert_int_equal(sw_float_to_half(middle), h & 1 ? h + 1 : h);
        assert_int_equal(sw_float_to_half(nextafterf(middle, 0)), h);
        assert_int_equal(sw_float_to_half(nextafterf(middle, INFINITY)), h + 1);
        assert_int_equal(sw_float_to_half(-nextafterf(middle, INFINITY)), (h + 1) | 0x8000);
    }
    assert_int_equal(sw_float_to_half(65519.996f), 0x7bff);
    assert_int_equal(sw_float_to_half(65520), 0x7c00);
    assert_int_equal(sw_float_to_half(INFINITY), 0x7c00);
    assert_int_equal(sw_float_to_half(-3e38f), 0xfc00);
    assert_int_equal(sw_float_to_half(1e-45f), 0);
}

static void rounds_to_bf16(void **state) {
    for (uint32_t b = 0; b < 0x7f80; b++) {
        float low = sw_bf16_to_float((uint16_t)b);
        assert_int_equal(sw_float_to_bf16(low), b);
        uint32_t bits = b << 16 | 0x8000;
        float middle;
        memcpy(&middle, &bits, sizeof middle);
        assert_int_equal(sw_float_to_bf16(middle), b & 1 ? b + 1 : b);
        assert_int_equal(sw_float_to_bf16(nextafterf(middle, 0)), b);
        assert_int_equal(sw_float_to_bf16(nextafterf(middle, INFINITY)), b + 1);
    }
    assert_true(isnan(sw_bf16_to_float(sw_float_to_bf16(NAN))));
    assert_int_equal(sw_float_to_bf16(-INFINITY), 0xff80);
}

static void finds_nonfinite(void **state) {
    static const enum sw_dtype types[] = {SW_DTYPE_FP16, SW_DTYPE_BF16, SW_DTYPE_FP32, SW_DTYPE_FP64};
    static const uint64_t bad[][3] = {{0x7c00, 0xfc00, 0x7c01},
                                      {0x7f80, 0xff80, 0xffc0},
                                      {0x7f800000, 0xff800000, 0x7fc00000},
                                      {0x7ff0000000000000, 0xfff0000000000000, 0x7ff0000000000001}};
    static const uint64_t largest[] = {0xfbff, 0xff7f, 0xff7fffff, 0xffefffffffffffff};
    const int64_t shape[] = {5000};
    for (size_t k = 0; k < SW_COUNTOF(types); k++) {
        struct sw_tensor t;
        assert_int_equal(sw_tensor_alloc(&t, &arena, SW_STR("x"), types[k], shape, 1, &err), SW_OK);
        size_t size = sw_dtype_size(types[k]);
        char *data = t.data;
        for (size_t i = 0; i < t.count; i++) {
            memcpy(data + i * size, &largest[k], size);
        }
        assert_true(sw_tensor_find_nonfinite(&t) == SIZE_MAX);
        for (size_t at = 0; at < t.count; at += at < 10 ? 1 : 333) {
            memcpy(data + at * size, &bad[k][at % 3], size);
            memcpy(data + (t.count - 1) * size, &bad[k][0], size);
            assert_int_equal(sw_tensor_find_nonfinite(&t), at);
            memcpy(data + at * size, &largest[k], size);
        }
    }
    struct sw_tensor empty = {.dtype = SW_DTYPE_FP32, .rank = 1};
    assert_true(sw_tensor_find_nonfinite(&empty) == SIZE_MAX);
}

static char batch[] = "batch", name_a[] = "a", name_b[] = "b", name_c[] = "c";
static struct sw_tensor_spec spec_items[] = {
    {.name = name_a, .dtype = SW_DTYPE_FP32, .rank = 2, .shape = {-1, 3}, .dimension_name = {batch}},
    {.name = name_b, .dtype = SW_DTYPE_INT64, .rank = 1, .shape = {-1}, .dimension_name = {batch}},
    {.name = name_c,
     .dtype = SW_DTYPE_BOOL,
     .rank = 2,
     .shape = {-1, -1},
     .dimension_name = {batch, batch},
     .optional = true},
};
static const struct sw_tensor_specs specs = {spec_items, SW_COUNTOF(spec_items)};

static struct sw_tensor input(const char *name, enum sw_dtype dtype, uint32_t rank, int64_t d0, int64_t d1) {
    return (struct sw_tensor){.name = sw_str_of(name), .dtype = dtype, .rank = rank, .shape = {d0, d1}};
}

static void checks_signatures(void **state) {
    const struct sw_tensor a = input("a", SW_DTYPE_FP32, 2, 2, 3), b = input("b", SW_DTYPE_INT64, 1, 2, 0),
                           c = input("c", SW_DTYPE_BOOL, 2, 2, 2);
    const struct {
        struct sw_tensor tensors[3];
        size_t count;
        const char *says; /* NULL: fits */
    } cases[] = {
        {{a, b}, 2, NULL},
        {{b, a}, 2, NULL},
        {{c, b, a}, 3, NULL},
        {{a}, 1, "input \"b\" is missing"},
        {{a, c}, 2, "input \"b\" is missing"},
        {{a, b, input("z", SW_DTYPE_FP32, 1, 1, 0)}, 3, "no input \"z\""},
        {{a, a, b}, 3, "input \"a\" is given twice"},
        {{input("a", SW_DTYPE_FP64, 2, 2, 3), b}, 2, "input \"a\": datatype is FP64, the model wants FP32"},
        {{input("a", SW_DTYPE_FP32, 1, 6, 0), b}, 2, "input \"a\": shape is [6], the model wants [-1,3] (-1: any)"},
        {{input("a", SW_DTYPE_FP32, 2, 2, 4), b}, 2, "input \"a\": shape is [2,4], the model wants [-1,3]"},
        {{a, input("b", SW_DTYPE_INT64, 1, 5, 0)}, 2, "input \"b\": dimension 0 (batch) is 5, but 2"},
        {{a, b, input("c", SW_DTYPE_BOOL, 2, 2, 7)}, 3, "input \"c\": dimension 1 (batch) is 7, but 2"},
        {{{.dtype = SW_DTYPE_FP32}}, 0, "input \"a\" is missing"},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        err = (struct sw_error){0};
        sw_status s = sw_tensors_check(cases[i].tensors, cases[i].count, &specs, &err);
        assert_int_equal(s, cases[i].says ? SW_E_INVALID_ARGUMENT : SW_OK);
        if (cases[i].says && !strstr(err.message, cases[i].says)) {
            fail_msg("\"%s\" does not say \"%s\"", err.message, cases[i].says);
        }
    }
}

static void copies_signatures(void **state) {
    struct sw_tensor_specs copy;
    sw_specs_copy(&copy, &specs);
    assert_int_equal(copy.count, specs.count);
    const struct sw_tensor_spec *c = sw_specs_find(&copy, SW_STR("c"));
    assert_non_null(c);
    assert_true(c->name != name_c && c->dimension_name[1] != batch && c->optional);
    assert_string_equal(c->dimension_name[1], "batch");
    assert_null(sw_specs_find(&copy, SW_STR("d")));
    sw_specs_deinit(&copy);
    assert_true(copy.items == NULL && copy.count == 0);
    sw_specs_deinit(&copy);
}

static void borrows_aligned_binary(void **state) {
    _Alignas(8) char bytes[33] = {0};
    struct sw_tensor t = {.name = SW_STR("x"), .dtype = SW_DTYPE_FP32, .rank = 1, .shape = {4}, .count = 4};
    const float values[] = {1, 2, 3, 4};
    memcpy(bytes, values, sizeof values);
    assert_int_equal(sw_binary_read(&t, (struct sw_str){bytes, 16}, &arena, &err), SW_OK);
    assert_ptr_equal(t.data, bytes);
    memcpy(bytes + 1, values, sizeof values);
    assert_int_equal(sw_binary_read(&t, (struct sw_str){bytes + 1, 16}, &arena, &err), SW_OK);
    assert_true(t.data != bytes + 1);
    assert_memory_equal(t.data, values, sizeof values);
    struct sw_str out;
    assert_int_equal(sw_binary_write(&t, &arena, &out, &err), SW_OK);
    assert_true(out.data == t.data && out.len == 16 && sw_binary_size(&t) == 16);
}

static void refuses_wrong_binary(void **state) {
    char bytes[16] = {0, 1, 1, 2};
    struct sw_tensor t = {.name = SW_STR("x"), .dtype = SW_DTYPE_FP32, .rank = 1, .shape = {4}, .count = 4};
    for (size_t len = 0; len < 16; len++) {
        assert_int_equal(sw_binary_read(&t, (struct sw_str){bytes, len}, &arena, &err), SW_E_INVALID_ARGUMENT);
    }
    assert_string_equal(err.message, "tensor \"x\": shape [4] of FP32 takes 16 bytes of binary data, 15 were given");
    t.dtype = SW_DTYPE_BOOL;
    assert_int_equal(sw_binary_read(&t, (struct sw_str){bytes, 4}, &arena, &err), SW_E_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "element 3 is 2, a BOOL is 0 or 1"));
    bytes[3] = 0;
    assert_int_equal(sw_binary_read(&t, (struct sw_str){bytes, 4}, &arena, &err), SW_OK);
    t = (struct sw_tensor){.name = SW_STR("x"), .dtype = SW_DTYPE_FP32, .rank = 1};
    assert_int_equal(sw_binary_read(&t, (struct sw_str){NULL, 0}, &arena, &err), SW_OK);
}

static void reads_binary_strings(void **state) {
    static const struct sw_str good = SW_STR("\3\0\0\0abc\0\0\0\0\1\0\0\0\0");
    struct sw_tensor t = {.name = SW_STR("x"), .dtype = SW_DTYPE_BYTES, .rank = 1, .shape = {3}, .count = 3};
    assert_int_equal(sw_binary_read(&t, good, &arena, &err), SW_OK);
    const struct sw_str *elements = t.data;
    assert_true(sw_str_is(elements[0], "abc") && elements[1].len == 0 && sw_str_eq(elements[2], SW_STR("\0")));
    struct sw_str out;
    assert_int_equal(sw_binary_write(&t, &arena, &out, &err), SW_OK);
    assert_true(sw_str_eq(out, good));
    for (size_t len = 0; len < good.len; len++) {
        struct sw_str cut = {sw_arena_strdup(&arena, (struct sw_str){good.data, len}), len};
        assert_int_equal(sw_binary_read(&t, cut, &arena, &err), SW_E_INVALID_ARGUMENT);
        assert_non_null(strstr(err.message, "\"x\""));
    }
    assert_int_equal(sw_binary_read(&t, SW_STR("\3\0\0\0abc\0\0\0\0\0\0\0\0x"), &arena, &err), SW_E_INVALID_ARGUMENT);
    assert_int_equal(sw_binary_read(&t, SW_STR("\xff\xff\xff\xff    \0\0\0\0"), &arena, &err), SW_E_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "element 0 reaches beyond"));
    t.count = (size_t)1 << 31; /* nothing is allocated for what cannot be */
    assert_int_equal(sw_binary_read(&t, good, &arena, &err), SW_E_INVALID_ARGUMENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(names_types),          TEST(counts_elements),   TEST(formats_shapes),         TEST(allocates_aligned),
        TEST(converts_every_half),  TEST(rounds_to_half),    TEST(rounds_to_bf16),         TEST(finds_nonfinite),
        TEST(checks_signatures),    TEST(copies_signatures), TEST(borrows_aligned_binary), TEST(refuses_wrong_binary),
        TEST(reads_binary_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
