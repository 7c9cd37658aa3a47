/* Arrays as numpy saves them: headers in every allowed form, what is refused, conversion of numbers. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/memory.h"
#include "tensor/npy.h"

static struct sw_arena arena;
static char bytes[4096];

/* A file of this version with this header (padded to `pad` bytes when it is shorter) and data. */
static struct sw_str file(int version, const char *header, size_t pad, const void *data, size_t size) {
    size_t len = strlen(header), at = 8;
    pad = pad > len ? pad : len;
    memcpy(bytes, "\x93NUMPY", 6);
    bytes[6] = (char)version;
    bytes[7] = 0;
    for (size_t i = 0; i < (version == 1 ? 2u : 4u); i++) {
        bytes[at++] = (char)(pad >> 8 * i);
    }
    memset(bytes + at, ' ', pad);
    memcpy(bytes + at, header, len);
    memcpy(bytes + at + pad, data, size);
    return (struct sw_str){bytes, at + pad + size};
}

static void test_an_array_of_floats(void **state) {
    static const float data[] = {1, 2.5F, -3, 4, 5, 6};
    static const char *const headers[] = {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n",
                                          "{\"shape\":(2,3),\"fortran_order\":False,\"descr\":\"<f4\"}"};
    for (int version = 1; version <= 3; version++) {
        for (size_t i = 0; i < SW_COUNTOF(headers); i++) {
            for (size_t pad = 60; pad < 64; pad++) { /* aligned data is borrowed, other data copied */
                struct sw_tensor t;
                struct sw_error err;
                struct sw_str f = file(version, headers[i], pad, data, sizeof data);
                if (sw_npy_read(f, &arena, &t, &err)) {
                    fail_msg("%s", err.message);
                }
                assert_int_equal(t.dtype, SW_DTYPE_FP32);
                assert_int_equal(t.rank, 2);
                assert_int_equal(t.shape[0], 2);
                assert_int_equal(t.shape[1], 3);
                assert_int_equal(t.count, 6);
                assert_memory_equal(t.data, data, sizeof data);
                assert_int_equal((uintptr_t)t.data % sizeof(float), 0);
            }
        }
    }
}

static void test_every_type_and_rank(void **state) {
    static const struct {
        const char *descr;
        enum sw_dtype dtype;
        size_t size;
    } types[] = {{"|b1", SW_DTYPE_BOOL, 1},   {"|u1", SW_DTYPE_UINT8, 1},  {"|i1", SW_DTYPE_INT8, 1},
                 {"<u2", SW_DTYPE_UINT16, 2}, {"<i2", SW_DTYPE_INT16, 2},  {"<u4", SW_DTYPE_UINT32, 4},
                 {"<i4", SW_DTYPE_INT32, 4},  {"<u8", SW_DTYPE_UINT64, 8}, {"<i8", SW_DTYPE_INT64, 8},
                 {"<f2", SW_DTYPE_FP16, 2},   {"<f4", SW_DTYPE_FP32, 4},   {"<f8", SW_DTYPE_FP64, 8}};
    static const char zeros[64];
    for (size_t i = 0; i < SW_COUNTOF(types); i++) {
        char header[160];
        struct sw_tensor t;
        snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (3,)}", types[i].descr);
        assert_int_equal(sw_npy_read(file(1, header, 0, zeros, 3 * types[i].size), &arena, &t, NULL), SW_OK);
        assert_int_equal(t.dtype, types[i].dtype);
        assert_int_equal(t.rank, 1);
        snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': True, 'shape': ()}", types[i].descr);
        assert_int_equal(sw_npy_read(file(1, header, 0, zeros, types[i].size), &arena, &t, NULL), SW_OK);
        assert_int_equal(t.rank, 0);
        assert_int_equal(t.count, 1);
    }
    struct sw_tensor t;
    const char *empty = "{'descr': '<f4', 'fortran_order': True, 'shape': (0,), }";
    assert_int_equal(sw_npy_read(file(1, empty, 0, "", 0), &arena, &t, NULL), SW_OK);
    assert_int_equal(t.count, 0);
}

static void refuse(struct sw_str f, const char *part) {
    struct sw_tensor t = {.rank = 77};
    struct sw_error err;
    assert_int_equal(sw_npy_read(f, &arena, &t, &err), SW_E_INVALID_ARGUMENT);
    assert_int_equal(t.rank, 77);
    if (!strstr(err.message, part)) {
        fail_msg("'%s' does not say '%s'", err.message, part);
    }
}

static void test_what_is_refused(void **state) {
    static const struct {
        const char *header, *part;
    } cases[] = {
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}", "type '>f4'"},
        {"{'descr': '<U1', 'fortran_order': False, 'shape': (1,)}", "type '<U1'"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", "type is not a plain one"},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (1, 1)}", "Fortran order"},
        {"{'descr': '<f4', 'fortran_order': Maybe, 'shape': (1,)}", "neither True nor False"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1}", "no tuple"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': 1}", "no tuple"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "not a list of sizes"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1)}",
         "too many dimensions"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999999999,)}", "out of range"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,)}", "too many elements"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (70000, 70000)}", "too many elements"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", "4 bytes where its shape asks for 8"},
        {"{'descr': '<f4', 'fortran_order': False}", "lacks"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} more",
         "lacks descr, fortran_order or shape, or has more"},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", "unknown or repeated key"},
        {"{'x': 1}", "unknown or repeated key"},
        {"{'descr", "no mapping"},
        {"[]", "no mapping"},
        {"", "no mapping"},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        refuse(file(1, cases[i].header, 0, "\0\0\0\0", 4), cases[i].part);
    }
    refuse(file(1, "{'descr': '|b1', 'fortran_order': False, 'shape': (1,)}", 0, "\2", 1), "neither 0 nor 1");
    refuse(file(4, "{}", 0, "", 0), "unknown version");
    refuse((struct sw_str){"\x93NUMPX\1\0\0\0", 10}, "does not begin like one");
    refuse((struct sw_str){NULL, 0}, "does not begin like one");
}

static void test_every_truncation(void **state) {
    static const float data[] = {1, 2, 3};
    struct sw_str whole = file(2, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", 64, data, sizeof data);
    for (size_t n = 0; n < whole.len; n++) {
        char *exact = sw_xmalloc(n + 1); /* its own block: a read beyond it would be seen */
        struct sw_tensor t;
        memcpy(exact, whole.data, n);
        assert_int_equal(sw_npy_read((struct sw_str){exact, n}, &arena, &t, NULL), SW_E_INVALID_ARGUMENT);
        sw_free(exact);
    }
}

static struct sw_tensor numbers(enum sw_dtype dtype, void *data, size_t count) {
    return (struct sw_tensor){
        .name = SW_STR("n"), .dtype = dtype, .rank = 1, .shape = {(int64_t)count}, .count = count, .data = data};
}

static void test_conversion(void **state) {
    double reals[] = {0.1, -2, 1e300};
    int64_t integers[] = {-128, 127, 300};
    struct sw_tensor t = numbers(SW_DTYPE_FP64, reals, 2), to;
    struct sw_error err;
    assert_int_equal(sw_tensor_convert(&t, SW_DTYPE_FP32, &arena, &to, NULL), SW_OK);
    assert_float_equal(((float *)to.data)[0], 0.1F, 0);
    assert_float_equal(((float *)to.data)[1], -2, 0);
    assert_true(sw_str_is(to.name, "n") && to.rank == 1 && to.shape[0] == 2);
    t = numbers(SW_DTYPE_FP64, reals, 3);
    assert_int_equal(sw_tensor_convert(&t, SW_DTYPE_FP32, &arena, &to, &err), SW_E_INVALID_ARGUMENT);
    assert_string_equal(err.message, "'n', element 2: a FP64 that does not fit into FP32");
    assert_int_equal(sw_tensor_convert(&t, SW_DTYPE_INT64, &arena, &to, NULL), SW_E_INVALID_ARGUMENT);
    t = numbers(SW_DTYPE_INT64, integers, 2);
    assert_int_equal(sw_tensor_convert(&t, SW_DTYPE_INT8, &arena, &to, NULL), SW_OK);
    assert_int_equal(((int8_t *)to.data)[0], -128);
    assert_int_equal(sw_tensor_convert(&t, SW_DTYPE_UINT64, &arena, &to, NULL), SW_E_INVALID_ARGUMENT);
    assert_int_equal(sw_tensor_convert(&t, SW_DTYPE_FP64, &arena, &to, NULL), SW_OK);
    assert_true(((double *)to.data)[0] == -128);
    t = numbers(SW_DTYPE_INT64, integers, 3);
    assert_int_equal(sw_tensor_convert(&t, SW_DTYPE_INT8, &arena, &to, NULL), SW_E_INVALID_ARGUMENT);
    assert_int_equal(sw_tensor_convert(&t, SW_DTYPE_BYTES, &arena, &to, NULL), SW_E_INVALID_ARGUMENT);
}

static int set_up(void **state) {
    sw_arena_init(&arena, 0, 1 << 20);
    return 0;
}

static int tear_down(void **state) {
    sw_arena_deinit(&arena);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_array_of_floats), cmocka_unit_test(test_every_type_and_rank),
        cmocka_unit_test(test_what_is_refused),    cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_conversion),
    };
    return cmocka_run_group_tests_name("tensor/npy", tests, set_up, tear_down);
}
