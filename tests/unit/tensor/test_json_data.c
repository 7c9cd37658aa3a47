/* Tensor data in JSON: nested and flat, every data type, every way to be wrong, and back again. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tensor/json.h"

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

#define SHAPE(...) (const int64_t[]){__VA_ARGS__}, sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)

static struct sw_tensor make(enum sw_dtype dtype, const int64_t *shape, size_t rank) {
    struct sw_tensor t;
    assert_int_equal(sw_tensor_alloc(&t, &arena, SW_STR("x"), dtype, shape, (uint32_t)rank, &err), SW_OK);
    return t;
}

/* Reads text, all of it. */
static sw_status read_text(struct sw_tensor *t, struct sw_str text) {
    struct sw_json json;
    sw_json_init(&json, text, &arena, &err);
    SW_TRY(sw_json_read_data(&json, t));
    return sw_json_end(&json);
}

static sw_status read_c(struct sw_tensor *t, const char *text) {
    return read_text(t, sw_str_of(text));
}

static void expect_text(const struct sw_tensor *t, bool nested, const char *want) {
    struct sw_buf out;
    sw_buf_init_arena(&out, &arena, 1 << 20);
    if (sw_json_write_data(&out, t, nested, false, &err)) {
        fail_msg("%s", err.message);
    }
    assert_string_equal(out.data, want);
}

static void reads_nested_and_flat(void **state) {
    static const char *const texts[] = {"[[1,2,3],[4,5,6]]", "[1,2,3,4,5,6]", " [ [ 1 , 2 , 3 ] , [ 4 , 5 , 6 ] ] ",
                                        "[1, 2, 3, 4, 5, 6]", "[\n  [1,\n 2,\t3],\r\n [4,5,6]]"};
    for (size_t i = 0; i < SW_COUNTOF(texts); i++) {
        struct sw_tensor t = make(SW_DTYPE_FP32, SHAPE(2, 3));
        if (read_c(&t, texts[i])) {
            fail_msg("%s: %s", texts[i], err.message);
        }
        const float want[] = {1, 2, 3, 4, 5, 6};
        assert_memory_equal(t.data, want, sizeof want);
        expect_text(&t, true, "[[1,2,3],[4,5,6]]");
        expect_text(&t, false, "[1,2,3,4,5,6]");
    }
}

static void reads_scalars(void **state) {
    struct sw_tensor t = make(SW_DTYPE_FP32, NULL, 0);
    assert_int_equal(read_c(&t, " 2.5 "), SW_OK);
    assert_true(*(float *)t.data == 2.5f);
    expect_text(&t, true, "2.5");
    expect_text(&t, false, "[2.5]");
    assert_int_equal(read_c(&t, "[3.5]"), SW_OK);
    assert_true(*(float *)t.data == 3.5f);
    assert_int_equal(read_c(&t, "[]"), SW_E_INVALID_ARGUMENT);
    assert_int_equal(read_c(&t, "[1,2]"), SW_E_INVALID_ARGUMENT);
    assert_int_equal(read_c(&t, "[[1]]"), SW_E_INVALID_ARGUMENT);
    t = make(SW_DTYPE_BYTES, NULL, 0);
    assert_int_equal(read_c(&t, "\"a\""), SW_OK);
    expect_text(&t, true, "\"a\"");
}

static void reads_empty_tensors(void **state) {
    struct sw_tensor t = make(SW_DTYPE_FP32, SHAPE(0));
    assert_int_equal(read_c(&t, "[]"), SW_OK);
    assert_int_equal(read_c(&t, "[ ]"), SW_OK);
    assert_int_equal(read_c(&t, "[1]"), SW_E_INVALID_ARGUMENT);
    expect_text(&t, true, "[]");
    t = make(SW_DTYPE_INT32, SHAPE(2, 0));
    assert_int_equal(read_c(&t, "[]"), SW_OK);
    assert_int_equal(read_c(&t, "[[],[]]"), SW_OK);
    assert_int_equal(read_c(&t, "[[]]"), SW_E_INVALID_ARGUMENT);
    assert_int_equal(read_c(&t, "[[],[],[]]"), SW_E_INVALID_ARGUMENT);
    assert_int_equal(read_c(&t, "[[],[1]]"), SW_E_INVALID_ARGUMENT);
    expect_text(&t, true, "[[],[]]");
    expect_text(&t, false, "[]");
    t = make(SW_DTYPE_INT32, SHAPE(0, 3));
    assert_int_equal(read_c(&t, "[]"), SW_OK);
    assert_int_equal(read_c(&t, "[[1,2,3]]"), SW_E_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "asks for none"));
    expect_text(&t, true, "[]");
}

/* Every data type at its bounds. */
static void reads_every_type(void **state) {
    static const struct {
        enum sw_dtype dtype;
        const char *text;
    } cases[] = {
        {SW_DTYPE_BOOL, "[true,false]"},
        {SW_DTYPE_UINT8, "[0,255]"},
        {SW_DTYPE_UINT16, "[0,65535]"},
        {SW_DTYPE_UINT32, "[0,4294967295]"},
        {SW_DTYPE_UINT64, "[0,18446744073709551615]"},
        {SW_DTYPE_INT8, "[-128,127]"},
        {SW_DTYPE_INT16, "[-32768,32767]"},
        {SW_DTYPE_INT32, "[-2147483648,2147483647]"},
        {SW_DTYPE_INT64, "[-9223372036854775808,9223372036854775807]"},
        {SW_DTYPE_FP32, "[-3.4028235e+38,1e-45]"},
        {SW_DTYPE_FP64, "[-1.7976931348623157e+308,5e-324]"},
        {SW_DTYPE_BYTES, "[\"\",\"a\\\"\\\\\\n\xc3\xa9\xf0\x9f\x98\x80\"]"},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        struct sw_tensor t = make(cases[i].dtype, SHAPE(2));
        if (read_c(&t, cases[i].text)) {
            fail_msg("%s: %s", cases[i].text, err.message);
        }
        expect_text(&t, false, cases[i].text);
        expect_text(&t, true, cases[i].text);
    }
}

/* Each: read as a tensor "x" of shape [3]; the message names the tensor and holds `says`. */
static const struct {
    enum sw_dtype dtype;
    const char *text, *says;
} wrong_elements[] = {
    {SW_DTYPE_FP32, "[1,NaN,3]", "element 1: NaN or an infinity"},
    {SW_DTYPE_FP32, "[1,2,Infinity]", "element 2: NaN or an infinity"},
    {SW_DTYPE_FP32, "[-Infinity,2,3]", "element 0: NaN or an infinity"},
    {SW_DTYPE_FP32, "[1,null,3]", "element 1: null"},
    {SW_DTYPE_FP32, "[1,nul,3]", "element 1: malformed"},
    {SW_DTYPE_FP32, "[1,true,3]", "element 1: true or false stands where a number of datatype FP32"},
    {SW_DTYPE_FP32, "[1,\"2\",3]", "element 1: a string"},
    {SW_DTYPE_FP32, "[1,[2],3]", "element 1: an array"},
    {SW_DTYPE_FP32, "[1,{},3]", "element 1: an object"},
    {SW_DTYPE_FP32, "[1,1e39,3]", "element 1: 1e39 is out of range of FP32 at byte 3"},
    {SW_DTYPE_FP32, "[1,-3.4028236e38,3]", "element 1: -3.4028236e38 is out of range of FP32"},
    {SW_DTYPE_FP64, "[1,2,1e309]", "element 2: 1e309 is out of range of FP64"},
    {SW_DTYPE_FP32, "[1,,3]", "element 1: malformed"},
    {SW_DTYPE_FP32, "[,1,2,3]", "element 0: malformed"},
    {SW_DTYPE_FP32, "[1,2,3,]", "more than the 3 elements"},
    {SW_DTYPE_FP32, "[1,2,]", "element 2: malformed"},
    {SW_DTYPE_FP32, "[1,01,3]", "element 1"},
    {SW_DTYPE_FP32, "[1,2.,3]", "element 1"},
    {SW_DTYPE_FP32, "[1,.2,3]", "element 1"},
    {SW_DTYPE_FP32, "[1,+2,3]", "element 1"},
    {SW_DTYPE_FP32, "[1 2,3]", "should follow element 0"},
    {SW_DTYPE_FP32, "[1,2x,3]", "should follow element 1"},
    {SW_DTYPE_FP32, "[1,2,3", "should follow element 2"},
    {SW_DTYPE_FP32, "[1,2,", "element 2: the text ends"},
    {SW_DTYPE_FP32, "[", "x"},
    {SW_DTYPE_FP32, "5", "not an array"},
    {SW_DTYPE_FP32, "\"abc\"", "not an array"},
    {SW_DTYPE_FP32, "null", "not an array"},
    {SW_DTYPE_FP32, "{}", "not an array"},
    {SW_DTYPE_FP32, "", "not an array"},
    {SW_DTYPE_FP32, "[1,2]", "data has 2 elements, shape [3] asks for 3"},
    {SW_DTYPE_FP32, "[]", "data has 0 elements, shape [3] asks for 3"},
    {SW_DTYPE_FP32, "[1,2,3,4]", "more than the 3 elements"},
    {SW_DTYPE_FP32, "[[1,2,3]]", "element 0: an array"},
    {SW_DTYPE_FP16, "[1,2,3]", "FP16 travels as binary data only"},
    {SW_DTYPE_BF16, "[1,2,3]", "BF16 travels as binary data only"},
    {SW_DTYPE_INT32, "[1,1.0,3]", "element 1: 1.0 is no integer"},
    {SW_DTYPE_INT32, "[1,1e2,3]", "element 1: 1e2 is no integer"},
    {SW_DTYPE_INT8, "[1,128,3]", "element 1: 128 is out of range of INT8"},
    {SW_DTYPE_INT8, "[1,-129,3]", "out of range of INT8"},
    {SW_DTYPE_INT16, "[1,32768,3]", "out of range of INT16"},
    {SW_DTYPE_INT16, "[1,-32769,3]", "out of range of INT16"},
    {SW_DTYPE_INT32, "[1,2147483648,3]", "out of range of INT32"},
    {SW_DTYPE_INT32, "[1,-2147483649,3]", "out of range of INT32"},
    {SW_DTYPE_INT64, "[1,9223372036854775808,3]", "out of range of INT64"},
    {SW_DTYPE_INT64, "[1,-9223372036854775809,3]", "out of range of INT64"},
    {SW_DTYPE_UINT8, "[1,256,3]", "out of range of UINT8"},
    {SW_DTYPE_UINT8, "[1,-1,3]", "out of range of UINT8"},
    {SW_DTYPE_UINT16, "[1,65536,3]", "out of range of UINT16"},
    {SW_DTYPE_UINT32, "[1,4294967296,3]", "out of range of UINT32"},
    {SW_DTYPE_UINT64, "[1,18446744073709551616,3]", "out of range of UINT64"},
    {SW_DTYPE_UINT64, "[1,99999999999999999999999999999999999999999999999999,3]", "out of range of UINT64"},
    {SW_DTYPE_INT32, "[1,true,3]", "element 1: true or false"},
    {SW_DTYPE_BOOL, "[true,1,false]", "element 1: a number stands where true or false"},
    {SW_DTYPE_BOOL, "[true,\"true\",false]", "element 1: a string"},
    {SW_DTYPE_BOOL, "[true,True,false]", "element 1: malformed"},
    {SW_DTYPE_BYTES, "[\"a\",1,\"c\"]", "element 1: a number stands where a string"},
    {SW_DTYPE_BYTES, "[\"a\",null,\"c\"]", "element 1: null"},
    {SW_DTYPE_BYTES, "[\"a\",\"\\ud800\",\"c\"]", "surrogate"},
    {SW_DTYPE_BYTES, "[\"a\",\"\xff\",\"c\"]", "UTF-8"},
    {SW_DTYPE_BYTES, "[\"a\",\"b\"]", "data has 2 elements"},
    {SW_DTYPE_BYTES, "[\"a\",\"b\",\"c\",\"d\"]", "more than the 3"},
};

static void refuses_wrong_elements(void **state) {
    for (size_t i = 0; i < SW_COUNTOF(wrong_elements); i++) {
        /* Alone, and with text behind it, so that both the plain and the block-wise reader meet it. */
        for (int padded = 0; padded < 2; padded++) {
            char text[400];
            snprintf(text, sizeof text, "%s%*s", wrong_elements[i].text, padded ? 200 : 0, "");
            struct sw_tensor t = make(wrong_elements[i].dtype, SHAPE(3));
            err = (struct sw_error){0};
            if (read_c(&t, text) != SW_E_INVALID_ARGUMENT) {
                fail_msg("%s as %s was accepted", wrong_elements[i].text, sw_dtype_name(wrong_elements[i].dtype));
            }
            bool ends_early = strstr(wrong_elements[i].says, "text ends") ||
                              strstr(wrong_elements[i].says, "not an array");
            if ((!strstr(err.message, wrong_elements[i].says) && !(padded && ends_early)) ||
                !strstr(err.message, "at byte") ||
                (!strstr(err.message, "\"x\"") && wrong_elements[i].dtype != SW_DTYPE_BYTES)) {
                fail_msg("%s: \"%s\" does not say \"%s\"", text, err.message, wrong_elements[i].says);
            }
        }
    }
}

static void refuses_wrong_nesting(void **state) {
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"[[1,2,3],[4,5]]", "dimension 1 has only 2 entries"},
        {"[[1,2,3],[4,5,6,7]]", "dimension 1 has more than 3 entries"},
        {"[[1,2,3]]", "dimension 0 has only 1 entries"},
        {"[[1,2,3],[4,5,6],[7,8,9]]", "dimension 0 has more than 2"},
        {"[[1,2,3],4,5,6]", "element 3: an array should stand"},
        {"[[1,2,3],[4,[5],6]]", "element 4: an array stands"},
        {"[[[1,2,3]],[[4,5,6]]]", "element 0: an array stands"},
        {"[[],[]]", "dimension 1 has only 0 entries"},
        {"[1,2,3,[4,5,6]]", "element 3: an array stands"},
        {"[[1,2,3],[4,5,6]", "should follow element 5"},
        {"[[1,2,3] [4,5,6]]", "should follow element 2"},
        {"[[1,2,3],]", "element 3: an array should stand"},
        {"[[1,2,3],null]", "element 3: an array should stand"},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        struct sw_tensor t = make(SW_DTYPE_FP32, SHAPE(2, 3));
        err = (struct sw_error){0};
        assert_int_equal(read_c(&t, cases[i].text), SW_E_INVALID_ARGUMENT);
        if (!strstr(err.message, cases[i].says) || !strstr(err.message, "\"x\"") || !strstr(err.message, "at byte")) {
            fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].text, err.message, cases[i].says);
        }
    }
}

/* Long arrays go through the block-wise reader: numbers of every length and layout, blanks in every place. */
static void reads_long_arrays_like_the_library(void **state) {
    enum { COUNT = 20000 };
    static const struct {
        char notation;
        int precision;
    } formats[] = {{'f', 1},  {'f', 3},  {'f', 6},  {'f', 7},  {'f', 8},  {'f', 9}, {'f', 12}, {'f', 15}, {'f', 16},
                   {'f', 17}, {'f', 18}, {'f', 19}, {'f', 25}, {'g', 17}, {'g', 6}, {'e', 6},  {'f', 0},  {'e', 20}};
    static const char *const gaps[] = {",", ", ", " ,", "\n , \t", ",  "};
    uint64_t state64 = 1;
    for (size_t gap = 0; gap < SW_COUNTOF(gaps); gap++) {
        struct sw_buf text;
        sw_buf_init_arena(&text, &arena, 4 << 20);
        double *want = sw_arena_alloc(&arena, COUNT * sizeof *want);
        float *want_float = sw_arena_alloc(&arena, COUNT * sizeof *want_float);
        assert_true(want && want_float);
        for (size_t i = 0; i < COUNT; i++) {
            state64 = state64 * 6364136223846793005u + 1442695040888963407u;
            double value = (double)(int64_t)state64 * 0x1p-63 * (state64 >> 20 & 1 ? 1 : 500);
            char number[64];
            size_t pick = (state64 >> 33) % SW_COUNTOF(formats);
            char notation = formats[pick].notation;
            int precision = formats[pick].precision;
            notation == 'f'   ? snprintf(number, sizeof number, "%.*f", precision, value)
            : notation == 'g' ? snprintf(number, sizeof number, "%.*g", precision, value)
                              : snprintf(number, sizeof number, "%.*e", precision, value);
            sw_buf_printf(&text, "%s%s", i ? gaps[gap] : "[", number);
            want[i] = strtod(number, NULL);
            want_float[i] = strtof(number, NULL);
        }
        sw_buf_append_c(&text, ']');
        struct sw_tensor t = make(SW_DTYPE_FP64, SHAPE(COUNT)), f = make(SW_DTYPE_FP32, SHAPE(COUNT / 8, 8));
        assert_int_equal(read_text(&t, sw_buf_str(&text)), SW_OK);
        assert_memory_equal(t.data, want, COUNT * sizeof *want);
        assert_int_equal(read_text(&f, sw_buf_str(&text)), SW_OK);
        assert_memory_equal(f.data, want_float, COUNT * sizeof *want_float);
        struct sw_tensor g = f;
        g.data = sw_arena_calloc(&arena, COUNT, sizeof(float));
        struct sw_buf out;
        sw_buf_init_arena(&out, &arena, 4 << 20);
        assert_int_equal(sw_json_write_data(&out, &f, true, false, &err), SW_OK);
        assert_int_equal(read_text(&g, sw_buf_str(&out)), SW_OK);
        assert_memory_equal(f.data, g.data, COUNT * sizeof(float));
    }
}

/* A fault anywhere in a long array is found, with its index. */
static void finds_the_fault_in_long_arrays(void **state) {
    enum { COUNT = 300 };
    static const char *const bad[] = {"nan", "0.12x", "1.2.3", "-", "0.", "0.1e", "1e99", "", "0.1 2", "--1", "0.-1"};
    for (size_t b = 0; b < SW_COUNTOF(bad); b++) {
        for (size_t at = 0; at < COUNT; at += 7) {
            struct sw_buf text;
            sw_buf_init_arena(&text, &arena, 1 << 16);
            for (size_t i = 0; i < COUNT; i++) {
                sw_buf_printf(&text, "%s%s", i ? "," : "[", i == at ? bad[b] : i % 3 ? "0.125" : "-0.123456789012");
            }
            sw_buf_append_c(&text, ']');
            struct sw_tensor t = make(SW_DTYPE_FP32, SHAPE(COUNT));
            assert_int_equal(read_text(&t, sw_buf_str(&text)), SW_E_INVALID_ARGUMENT);
            char says[32];
            snprintf(says, sizeof says, "element %zu", at);
            if (!strstr(err.message, says)) {
                fail_msg("'%s' at %zu: %s", bad[b], at, err.message);
            }
        }
    }
}

/* One element too many or too few, at lengths around the block size. */
static void counts_exactly(void **state) {
    for (size_t count = 1; count < 140; count++) {
        for (int extra = -1; extra <= 1; extra++) {
            struct sw_buf text;
            sw_buf_init_arena(&text, &arena, 1 << 16);
            for (size_t i = 0; i < count + (size_t)extra; i++) {
                sw_buf_append(&text, i ? ",7" : "[7", 2);
            }
            if (text.len == 0) {
                sw_buf_append_c(&text, '[');
            }
            sw_buf_append_c(&text, ']');
            struct sw_str exact = {sw_arena_strdup(&arena, sw_buf_str(&text)), text.len};
            struct sw_tensor t = make(SW_DTYPE_INT16, SHAPE((int64_t)count));
            assert_int_equal(read_text(&t, exact), extra == 0 ? SW_OK : SW_E_INVALID_ARGUMENT);
            sw_buf_printf(&text, "%100s", "");
            assert_int_equal(read_text(&t, sw_buf_str(&text)), extra == 0 ? SW_OK : SW_E_INVALID_ARGUMENT);
        }
    }
}

static sw_status infer(struct sw_tensor *t, enum sw_dtype dtype, const char *text, uint64_t max) {
    *t = (struct sw_tensor){.name = SW_STR("instances"), .dtype = dtype};
    struct sw_json json;
    sw_json_init(&json, sw_str_of(text), &arena, &err);
    SW_TRY(sw_json_read_infer_shape(&json, t, max));
    return sw_json_end(&json);
}

static void infers_shapes(void **state) {
    static const struct {
        const char *text, *shape;
    } cases[] = {
        {"[1,2,3]", "[3]"},
        {"[[1,2,3],[4,5,6]]", "[2,3]"},
        {"[]", "[0]"},
        {"[[],[]]", "[2,0]"},
        {"[[[1],[2]],[[3],[4]]]", "[2,2,1]"},
        {" [ [ [ ] ] ] ", "[1,1,0]"},
        {"[[[]],[[]]]", "[2,1,0]"},
        {"[[[[[[[[[[[[[[[[7]]]]]]]]]]]]]]]]", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]"},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        struct sw_tensor t;
        char shape[128];
        if (infer(&t, SW_DTYPE_FP32, cases[i].text, 100)) {
            fail_msg("%s: %s", cases[i].text, err.message);
        }
        assert_string_equal(sw_shape_format(t.shape, t.rank, shape, sizeof shape), cases[i].shape);
        size_t count;
        assert_true(sw_shape_count(t.shape, t.rank, &count) && count == t.count);
        for (size_t k = 0; k < t.count; k++) {
            assert_true(((float *)t.data)[k] == (float)(t.count == 1 ? 7 : k + 1));
        }
    }
    struct sw_tensor t;
    assert_int_equal(infer(&t, SW_DTYPE_BYTES, "[[\"a\",\"b\"],[\"c\",\"d\\n\"]]", 100), SW_OK);
    expect_text(&t, true, "[[\"a\",\"b\"],[\"c\",\"d\\n\"]]");
}

static void infers_long_rows(void **state) {
    struct sw_buf text;
    sw_buf_init_arena(&text, &arena, 1 << 20);
    for (int i = 0; i < 5000; i++) {
        sw_buf_printf(&text, "%s%d", i == 0 ? "[[" : i == 2500 ? "],[" : ",", i);
    }
    sw_buf_append(&text, "]]", 2);
    struct sw_tensor t;
    assert_int_equal(infer(&t, SW_DTYPE_INT64, text.data, 5000), SW_OK);
    assert_true(t.rank == 2 && t.shape[0] == 2 && t.shape[1] == 2500 && t.count == 5000);
    for (int64_t i = 0; i < 5000; i++) {
        assert_true(((int64_t *)t.data)[i] == i);
    }
    assert_int_equal(infer(&t, SW_DTYPE_INT64, text.data, 4999), SW_E_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "more than 4999 elements"));
    assert_int_equal(infer(&t, SW_DTYPE_INT64, text.data, 2000), SW_E_INVALID_ARGUMENT);
}

static void refuses_what_has_no_shape(void **state) {
    static const char *const cases[] = {
        "5",
        "null",
        "\"a\"",
        "{}",
        "",
        "[",
        "[[",
        "[1,[2]]",
        "[[1],2]",
        "[[1,2],[3]]",
        "[[1],[2,3]]",
        "[[1],[]]",
        "[[],[1]]",
        "[[[1],[2]],[[3]]]",
        "[[[1]],[[2],[3]]]",
        "[[1,2],[3,4]",
        "[1,2",
        "[1 2]",
        "[[1] [2]]",
        "[1,]",
        "[[1],]",
        "[null]",
        "[NaN]",
        "[1e39]",
        "[[[[[[[[[[[[[[[[[7]]]]]]]]]]]]]]]]]",
        "[[],[],[[]]]",
        "[[[]],[]]",
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        struct sw_tensor t;
        err = (struct sw_error){0};
        if (infer(&t, SW_DTYPE_FP32, cases[i], 100) != SW_E_INVALID_ARGUMENT) {
            fail_msg("%s was accepted", cases[i]);
        }
        assert_true(t.rank == 0 && t.data == NULL); /* untouched */
        assert_non_null(strstr(err.message, "\"instances\""));
    }
}

static void writes_rows(void **state) {
    struct sw_tensor t = make(SW_DTYPE_FP32, SHAPE(2, 2, 2));
    assert_int_equal(read_c(&t, "[1,2,3,4,5,6,7.5,8]"), SW_OK);
    struct sw_buf out;
    sw_buf_init_arena(&out, &arena, 1 << 10);
    assert_int_equal(sw_json_write_row(&out, &t, 1, false, &err), SW_OK);
    assert_string_equal(out.data, "[[5,6],[7.5,8]]");
    t = make(SW_DTYPE_BYTES, SHAPE(2));
    assert_int_equal(read_c(&t, "[\"a\",\"b\"]"), SW_OK);
    sw_buf_clear(&out);
    assert_int_equal(sw_json_write_row(&out, &t, 1, false, &err), SW_OK);
    assert_string_equal(out.data, "\"b\"");
    t = make(SW_DTYPE_BOOL, SHAPE(2, 0));
    sw_buf_clear(&out);
    assert_int_equal(sw_json_write_row(&out, &t, 0, false, &err), SW_OK);
    assert_string_equal(out.data, "[]");
}

static void refuses_to_write_what_json_lacks(void **state) {
    struct sw_tensor t = make(SW_DTYPE_FP32, SHAPE(3, 1));
    float values[] = {1, NAN, -INFINITY};
    memcpy(t.data, values, sizeof values);
    struct sw_buf out;
    sw_buf_init_arena(&out, &arena, 1 << 10);
    assert_int_equal(sw_json_write_data(&out, &t, true, false, &err), SW_E_INFERENCE_FAILED);
    assert_non_null(strstr(err.message, "\"x\": element 1"));
    assert_int_equal(sw_json_write_data(&out, &t, true, true, &err), SW_OK);
    assert_string_equal(out.data, "[[1],[null],[null]]");
    sw_buf_clear(&out);
    assert_int_equal(sw_json_write_row(&out, &t, 2, false, &err), SW_E_INFERENCE_FAILED);
    assert_non_null(strstr(err.message, "\"x\": element 2"));
    assert_int_equal(sw_json_write_row(&out, &t, 0, false, &err), SW_OK);
    t = make(SW_DTYPE_FP64, SHAPE(1));
    *(double *)t.data = INFINITY;
    assert_int_equal(sw_json_write_data(&out, &t, true, false, &err), SW_E_INFERENCE_FAILED);
    t = make(SW_DTYPE_FP16, SHAPE(1));
    assert_int_equal(sw_json_write_data(&out, &t, true, false, &err), SW_E_INVALID_ARGUMENT);
    t = make(SW_DTYPE_BYTES, SHAPE(2));
    ((struct sw_str *)t.data)[1] = SW_STR("\xff");
    assert_int_equal(sw_json_write_data(&out, &t, true, false, &err), SW_E_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "element 1 is not UTF-8"));
}

/* What just fits is written; one byte less is an error and no overrun. */
static void respects_the_limit_of_the_buffer(void **state) {
    struct sw_tensor t = make(SW_DTYPE_FP32, SHAPE(10, 10));
    for (size_t i = 0; i < t.count; i++) {
        ((float *)t.data)[i] = (float)i / 7;
    }
    struct sw_buf big;
    sw_buf_init_arena(&big, &arena, 1 << 16);
    assert_int_equal(sw_json_write_data(&big, &t, true, false, &err), SW_OK);
    struct sw_buf out;
    sw_buf_init(&out, big.len);
    assert_int_equal(sw_json_write_data(&out, &t, true, false, &err), SW_OK);
    assert_string_equal(out.data, big.data);
    sw_buf_deinit(&out);
    for (size_t max = 0; max < big.len; max += max < big.len - 40 ? 37 : 1) {
        sw_buf_init(&out, max);
        assert_int_equal(sw_json_write_data(&out, &t, true, false, &err), SW_E_UNAVAILABLE);
        sw_buf_deinit(&out);
    }
    int64_t many[] = {(int64_t)1 << 31, 0};
    t = make(SW_DTYPE_FP32, many, 2);
    sw_buf_init(&out, 1000);
    assert_int_equal(sw_json_write_data(&out, &t, true, false, &err), SW_E_UNAVAILABLE);
    sw_buf_deinit(&out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(reads_nested_and_flat),
        TEST(reads_scalars),
        TEST(reads_empty_tensors),
        TEST(reads_every_type),
        TEST(refuses_wrong_elements),
        TEST(refuses_wrong_nesting),
        TEST(reads_long_arrays_like_the_library),
        TEST(finds_the_fault_in_long_arrays),
        TEST(counts_exactly),
        TEST(infers_shapes),
        TEST(infers_long_rows),
        TEST(refuses_what_has_no_shape),
        TEST(writes_rows),
        TEST(refuses_to_write_what_json_lacks),
        TEST(respects_the_limit_of_the_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
