/* Runs of numbers between separators: every form that a number can take in the middle of an array, right and wrong,
 * is read as the C library reads it and refused where the strict skipper refuses it; and runs end where they should. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tensor/json.h"
#include "tensor/number.h"

static struct sw_arena arena;
static struct sw_error err;
static uint64_t random_state;

static int set_up(void **state) {
    sw_arena_init(&arena, 64 << 20, 0);
    err = (struct sw_error){0};
    random_state = 1;
    return 0;
}

static int tear_down(void **state) {
    sw_arena_deinit(&arena);
    return 0;
}

/* Deterministic, so that a failure can be found again (splitmix64). */
static uint64_t next_random(void) {
    uint64_t z = random_state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

/* An array of COUNT numbers where `number` stands at MIDDLE, enough text on both sides for the quick way; in a block of
 * memory of its own, so that ASan sees a byte read too many. */
enum { COUNT = 40, MIDDLE = 20 };

static struct sw_str array_around(const char *number, const char *comma, char **ret_block) {
    struct sw_buf text;
    sw_buf_init(&text, 1 << 16);
    for (int i = 0; i < COUNT; i++) {
        sw_buf_printf(&text, "%s%s", i ? comma : "[", i == MIDDLE ? number : "-1.25");
    }
    sw_buf_append_c(&text, ']');
    *ret_block = malloc(text.len);
    assert_non_null(*ret_block);
    memcpy(*ret_block, text.data, text.len);
    struct sw_str result = {*ret_block, text.len};
    sw_buf_deinit(&text);
    return result;
}

static bool skips(struct sw_str text) {
    struct sw_json json;
    sw_json_init(&json, text, &arena, NULL);
    return sw_json_skip(&json) == SW_OK && sw_json_end(&json) == SW_OK;
}

static bool reads(struct sw_str text, enum sw_dtype dtype, void *out) {
    struct sw_tensor t = {
        .name = SW_STR("x"), .dtype = dtype, .rank = 1, .shape = {COUNT}, .count = COUNT, .data = out};
    struct sw_json json;
    sw_json_init(&json, text, &arena, NULL);
    return sw_json_read_data(&json, &t) == SW_OK && sw_json_end(&json) == SW_OK;
}

/* The middle element is read as the library reads it, or refused as it should be. */
static void check(const char *number, const char *comma) {
    char *block;
    struct sw_str text = array_around(number, comma, &block);
    bool valid = skips(text);
    float floats[COUNT], want_float = strtof(number, NULL);
    double doubles[COUNT], want = strtod(number, NULL);
    if (reads(text, SW_DTYPE_FP32, floats) != (valid && isfinite(want_float)) ||
        reads(text, SW_DTYPE_FP64, doubles) != (valid && isfinite(want))) {
        fail_msg("'%s' with '%s': %s", number, comma, valid ? "refused" : "accepted");
    }
    if (valid && isfinite(want_float)) {
        if (memcmp(&floats[MIDDLE], &want_float, sizeof want_float) != 0) {
            fail_msg("float %s: got %a, want %a", number, (double)floats[MIDDLE], (double)want_float);
        }
        assert_true(floats[0] == -1.25F && floats[MIDDLE + 1] == -1.25F && floats[COUNT - 1] == -1.25F);
    }
    if (valid && isfinite(want)) {
        if (memcmp(&doubles[MIDDLE], &want, sizeof want) != 0) {
            fail_msg("double %s: got %a, want %a", number, doubles[MIDDLE], want);
        }
        assert_true(doubles[0] == -1.25 && doubles[MIDDLE + 1] == -1.25 && doubles[COUNT - 1] == -1.25);
    }
    free(block);
}

static const char *const number_forms[] = {
    "0",
    "-0",
    "0.0",
    "-0.0",
    "7",
    "255.0",
    "01",
    "-01",
    "00.5",
    "0.",
    ".5",
    "-.5",
    "-",
    "",
    "+1",
    "1.",
    "1.e5",
    "1e",
    "1e+",
    "1e-",
    "1e5",
    "1E5",
    "1e+05",
    "1E-05",
    "1e-5",
    "1.5e-7",
    "1.5e-07",
    "-1.5e+16",
    "1.5e123",
    "1.5e-123",
    "1.5e1234",
    "1.5e-1234",
    "1.5e00012",
    "1.5e--1",
    "1.5e+-1",
    "1.5e1.5",
    "1.5.5",
    "1..5",
    "1.5.0",
    "12.5.0",
    "1-5",
    "1e5e5",
    "e5",
    ".e5",
    "1.2e",
    "0x10",
    "1f",
    "1d5",
    "0.1 ",
    "0.1 1",
    "12345678",
    "123456789",
    "123456789.0",
    "1700000000.0",
    "-1700000000.0",
    "0700000000.0",
    "1700000000.5",
    "1234567.",
    "12345678.",
    "1234567.8",
    "12345678.9",
    "1234567890123456.0",
    "12345678901234567890.0",
    "123456789012345678901234567890.0",
    "0.12345600128173828",
    "-0.12345600128173828",
    "9.12345600128173828",
    "9.123456001281738281",
    "9.1234560012817382812",
    "0.1234560012817382812",
    "0.0001234500017017126",
    "0.00012345000170171261",
    "0.000123450001701712612",
    "0.0001234500017017126121",
    "0.1234567890123456789012",
    "0.0000000000000000000000",
    "0.00000000000000000000001",
    "-103.93900299072266",
    "1234567.123456789012",
    "1234567.1234567890123456",
    "99999999.99999999999",
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775807",
    "9223372036854775808",
    "9.223372036854775807",
    "9.223372036854775808",
    "9.999999999999999999",
    "16777217",
    "16777217.0",
    "16777219",
    "8388608.5",
    "0.50000002980232238769531250",
    "0.5000000298023223877",
    "0.5000000298023223876",
    "0.500000029802322388",
    "1.000000059604644775",
    "1.000000059604644776",
    "1.0000000596046447754",
    "1.0000000596046447755",
    "3.4028235677973365e38",
    "3.4028235677973367e38",
    "1e38",
    "1e39",
    "1.1754943508222875e-38",
    "1.1754942807573643e-38",
    "1e-37",
    "1e-38",
    "1e-45",
    "7.006492321624086e-46",
    "1e-46",
    "2.2250738585072011e-308",
    "4.9406564584124654e-324",
    "1.7976931348623159e308",
    "0e99",
    "0.0e-99",
    "-0e5",
    "7.0064923216240853e-46",
    "7.0064923216240854e-46",
    "2.1019476964872256e-45",
    "2.1019476964872257e-45",
    "4503599627370496.5",
    "4503599627370497.5",
    "562949953421312.0625",
    "562949953421312.1875",
    "4.5035996273704965e15",
    "4.5035996273704975e15",
    "562949953421312.1875e0",
    "5e-324",
    "1e22",
    "1e23",
    "1e-290",
    "9e-291",
    "9007199254740993",
    "9007199254740993.0",
    "900719925474099.25",
    "1\xc2\xb2",
    "1\x01",
    "1\x7f",
    "\x1e",
    "1/2",
    "1:2",
    "0,5",
    "[1]",
    "1]",
    "\"1\"",
    "null",
    "NaN",
    "-Infinity",
};

static void reads_every_form(void **state) {
    static const char *const commas[] = {",", ", ", " ,", ",\n      ", "\t,\r\n", ",          \n"};
    for (size_t i = 0; i < SW_COUNTOF(number_forms); i++) {
        for (size_t k = 0; k < SW_COUNTOF(commas); k++) {
            if (strcmp(number_forms[i], "0,5") != 0 && strcmp(number_forms[i], "[1]") != 0 &&
                number_forms[i][0] != '"' && strcmp(number_forms[i], "null") != 0) { /* valid JSON, but no number */
                check(number_forms[i], commas[k]);
            } else {
                char *block;
                float floats[COUNT];
                assert_false(reads(array_around(number_forms[i], commas[k], &block), SW_DTYPE_FP32, floats));
                free(block);
            }
        }
    }
}

/* What no grammar has made. */
static void reads_soup(void **state) {
    static const char letters[] = "0123456789012345678900000.....---+eE ";
    for (int round = 0; round < 60000; round++) {
        char number[40];
        size_t n = 1 + next_random() % 28;
        for (size_t i = 0; i < n; i++) { /* mostly digits, else hardly any would be right */
            number[i] = next_random() % 8 ? letters[next_random() % 25] : letters[next_random() % (sizeof letters - 1)];
        }
        if (next_random() % 2) {
            number[next_random() % 2 + 1] = '.';
            number[0] = next_random() % 4 ? '0' : '-';
            n = n < 4 ? 4 : n;
            number[3] = '7';
        }
        number[n] = '\0';
        check(number, next_random() % 4 ? "," : ", ");
    }
}

/* Close to the points halfway between floats, where the quick way must not decide. */
static void reads_near_halfway(void **state) {
    for (int round = 0; round < 60000; round++) {
        uint64_t r = next_random();
        uint32_t bits = (uint32_t)(112 + r % 20) << 23 | (uint32_t)(r >> 32 & 0x7fffff);
        float below, above;
        memcpy(&below, &bits, sizeof bits);
        bits++;
        memcpy(&above, &bits, sizeof bits);
        double halfway = ((double)below + (double)above) / 2; /* exact */
        uint64_t near;
        memcpy(&near, &halfway, sizeof near);
        near += (r >> 8) % 13 - 6;
        memcpy(&halfway, &near, sizeof near);
        char number[64];
        snprintf(number, sizeof number, r >> 16 & 1 ? "%.*f" : "%.*e", (int)(12 + (r >> 20) % 9), halfway);
        check(number, ",");
    }
}

/* Rows of every length, from every distance to the beginning of the text. */
static void ends_at_brackets(void **state) {
    for (int64_t columns = 1; columns <= 40; columns++) {
        for (int lead = 0; lead < 70; lead += 3) {
            int64_t rows = 1 + 120 / columns;
            struct sw_buf text;
            sw_buf_init_arena(&text, &arena, 1 << 16);
            sw_buf_printf(&text, "%*s", lead, "");
            for (int64_t i = 0; i < rows * columns; i++) {
                sw_buf_printf(&text, "%s%d.5", i == 0 ? "[[" : i % columns ? "," : "],[", (int)i);
            }
            sw_buf_append(&text, "]]", 2);
            for (int wrong = -1; wrong <= 1; wrong++) {
                struct sw_tensor t;
                int64_t shape[] = {rows, columns + wrong};
                assert_int_equal(sw_tensor_alloc(&t, &arena, SW_STR("x"), SW_DTYPE_FP32, shape, 2, &err), SW_OK);
                struct sw_json json;
                sw_json_init(&json, sw_buf_str(&text), &arena, &err);
                sw_status s = sw_json_read_data(&json, &t);
                assert_int_equal(s, wrong ? SW_E_INVALID_ARGUMENT : SW_OK);
                for (int64_t i = 0; !wrong && i < rows * columns; i++) {
                    assert_true(((float *)t.data)[i] == (float)i + 0.5F);
                }
            }
        }
        sw_arena_deinit(&arena);
        sw_arena_init(&arena, 64 << 20, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_every_form, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reads_soup, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reads_near_halfway, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ends_at_brackets, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
