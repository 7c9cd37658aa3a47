/* Numbers in text: every result is compared with the C library, which rounds correctly, and every shortest form with
 * the shortest one that a search over precisions finds. */
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/hash.h"
#include "tensor/number.h"

enum { RANDOM_ROUNDS = 200000 };

static uint64_t random_state = 0x9e3779b97f4a7c15;

/* Deterministic, so that a failure can be found again (splitmix64). */
static uint64_t next_random(void) {
    uint64_t z = random_state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static double double_of(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t bits_of_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static uint64_t bits_of_double(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static void check_float(const char *text) {
    const char *end = text + strlen(text);
    float want = strtof(text, NULL), got = -1;
    const char *behind = sw_parse_float(text, end, &got);
    if (isinf(want)) {
        if (behind) {
            fail_msg("float %s: read as %a, overflows", text, (double)got);
        }
        return;
    }
    if (behind != end || bits_of_float(got) != bits_of_float(want)) {
        fail_msg("float %s: got %a, want %a", text, (double)got, (double)want);
    }
}

static void check_double(const char *text) {
    const char *end = text + strlen(text);
    double want = strtod(text, NULL), got = -1;
    const char *behind = sw_parse_double(text, end, &got);
    if (isinf(want)) {
        if (behind) {
            fail_msg("double %s: read as %a, overflows", text, got);
        }
        return;
    }
    if (behind != end || bits_of_double(got) != bits_of_double(want)) {
        fail_msg("double %s: got %a, want %a", text, got, want);
    }
}

static void check_both(const char *text) {
    check_float(text);
    check_double(text);
}

/* Random bit patterns, printed with every number of digits from too few to exact. */
static void reads_random_patterns(void **state) {
    char text[1200];
    for (int i = 0; i < RANDOM_ROUNDS; i++) {
        double d = double_of(next_random());
        float f = float_of((uint32_t)next_random());
        int digits = (int)(next_random() % 40);
        if (isfinite(d)) {
            snprintf(text, sizeof text, "%.*e", digits, d);
            check_double(text);
        }
        if (isfinite(f)) {
            snprintf(text, sizeof text, "%.*e", digits, (double)f);
            check_float(text);
            check_double(text);
        }
    }
}

/* Plain notation, as models' inputs are written. */
static void reads_random_plain_decimals(void **state) {
    char text[64];
    for (int i = 0; i < RANDOM_ROUNDS; i++) {
        uint64_t r = next_random();
        int digits = (int)(r % 13);
        double scale = (double)(r >> 8 & 1 ? 1 : 1000);
        snprintf(text, sizeof text, "%.*f", digits, (double)(int64_t)next_random() * 0x1p-63 * scale);
        check_both(text);
    }
}

/* Digits and exponents without any structure. */
static void reads_random_digit_strings(void **state) {
    char text[128];
    for (int i = 0; i < RANDOM_ROUNDS; i++) {
        int length = 1 + (int)(next_random() % 40), point = (int)(next_random() % 41), n = 0;
        for (int k = 0; k < length; k++) {
            if (k == point && k > 0) {
                text[n++] = '.';
            }
            text[n++] = (char)('0' + next_random() % (k == 0 ? 9 : 10) + (k == 0));
        }
        int range = i & 1 ? 60 : 360;
        snprintf(text + n, sizeof text - (size_t)n, "e%d", (int)(next_random() % (unsigned)(2 * range)) - range);
        check_both(text);
    }
}

/* The point halfway between a float and the next, exactly, and a little to either side of it: the float below 2^24 ulps
 * has an exact decimal expansion of at most 150 digits or so. */
static void reads_halfway_floats(void **state) {
    char text[1200];
    for (int i = 0; i < 20000; i++) {
        uint32_t bits = (uint32_t)next_random() & 0x7fffffff;
        bits = i < 2000 ? (uint32_t)i : bits; /* subnormals */
        if (bits >= 0x7f7fffff) {
            continue;
        }
        double halfway = ((double)float_of(bits) + (double)float_of(bits + 1)) / 2; /* exact */
        snprintf(text, sizeof text, "%.200e", halfway);
        check_both(text);
        char *e = strchr(text, 'e');
        e[-1] = '1'; /* just above: digit 200 */
        check_float(text);
        snprintf(text, sizeof text, "%.18e", nextafter(halfway, 0));
        check_float(text);
        snprintf(text, sizeof text, "%.18e", nextafter(halfway, INFINITY));
        check_float(text);
        snprintf(text, sizeof text, "%.17g", halfway);
        check_float(text);
    }
}

static void reads_halfway_doubles(void **state) {
    char text[1400];
    for (int i = 0; i < 5000; i++) {
        uint64_t bits = next_random() & 0x7fffffffffffffff;
        bits = i < 500 ? (uint64_t)i : bits;
        if (bits >= 0x7fefffffffffffff) {
            continue;
        }
        long double halfway = ((long double)double_of(bits) + (long double)double_of(bits + 1)) /
                              2; /* 64 bits: exact */
        if (halfway == 0) {
            continue;
        }
        int n = snprintf(text, sizeof text, "%.1100Le", halfway);
        assert_true(n > 0 && (size_t)n < sizeof text);
        check_double(text);
        strchr(text, 'e')[-1] = '1';
        check_double(text);
        snprintf(text, sizeof text, "%.25Le", halfway);
        check_double(text);
    }
}

static const char *const hard_cases[] = {
    "0",
    "-0",
    "0.0",
    "-0.0e99999",
    "0e99999999999999999999",
    "1",
    "-1",
    "9007199254740992",
    "9007199254740993",
    "9007199254740993.0000000000000000000000001",
    "16777216",
    "16777217",
    "16777217.0000001",
    "16777219",
    "33554433",
    "33554434",
    "33554435",
    "8388608.5",
    "8388609.5",
    "0.5000000298023223876953125",
    "0.50000002980232238769531250000000001",
    "0.50000002980232238769531249999999999",
    "1.00000005960464477539062500000000000000000000",
    "1.000000059604644775390625000000000000000000001",
    "1.4e-45",
    "7.006492321624085e-46",
    "7.006492321624086e-46",
    "7.0064923216240853546186479164495e-46",
    "7.0064923216240853546186479164496e-46",
    "1e-46",
    "1e-400",
    "1e-65",
    "1e-66",
    "18446744073709551615e-65",
    "18446744073709551615e-66",
    "1.1754943508222875e-38",
    "1.1754942807573643e-38",
    "1.17549429e-38",
    "3.4028234663852886e38",
    "3.4028235e38",
    "3.4028235677973366e38",
    "3.4028235677973365e38",
    "3.4028236e38",
    "340282356779733661637539395458142568447",
    "340282356779733661637539395458142568448",
    "1e38",
    "1e39",
    "-1e39",
    "2.2250738585072011e-308",
    "2.2250738585072012e-308",
    "2.2250738585072014e-308",
    "4.9406564584124654e-324",
    "2.4703282292062327e-324",
    "2.4703282292062328e-324",
    "1.7976931348623157e308",
    "1.7976931348623158e308",
    "1.7976931348623159e308",
    "1e308",
    "1e309",
    "-1e309",
    "1e400",
    "1e-1000000000000000000000",
    "1e1000000000000000",
    "123456789012345678901234567890",
    "0.000000000000000000000000000000000000000123456789012345678901234567890",
    "100000000000000000000000000000000000000000000000000000000000000",
    "1e22",
    "1e23",
    "8.5e22",
    "1e-22",
    "1e-23",
    "9999999999999999999",
    "99999999999999999999",
    "18446744073709551615",
    "18446744073709551616",
    "12345678",
    "123456789",
    "1234567890123456",
    "12345678.12345678",
    "0.12345678",
    "0.123456789012345678901",
    "1e+05",
    "1E5",
    "1E-05",
    "6.02214076e23",
    "6.631236846766476e-316",
    "3.237883913302901289588352412501532174e-76",
    "1."
    "797693134862315708145274237317043567980705675258449965989174768031572607800285387605895586327668781715404589"
    "535"
    "143824642343213268894641827684675467035375169860499105765512820762454900903893289440758685084551339423045832"
    "3690"
    "3222948165808559332123347747797926204144723168738177180919299881250404026184124858368e308",
};

static void reads_hard_cases(void **state) {
    for (size_t i = 0; i < SW_COUNTOF(hard_cases); i++) {
        check_both(hard_cases[i]);
    }
}

/* Text longer than any buffer, where a digit far behind decides. */
static void reads_very_long_digits(void **state) {
    enum { LENGTH = 5000 };
    char text[LENGTH + 64];
    memset(text, '0', LENGTH);
    memcpy(text, "0.50000002980232238769531250", 28); /* halfway between two floats */
    text[LENGTH] = '\0';
    check_both(text);
    text[LENGTH - 1] = '1';
    check_both(text);
    memset(text, '0', LENGTH);
    text[1] = '.';
    memcpy(text + LENGTH - 3, "123e4995", 9);
    check_both(text);
    memset(text, '0', LENGTH);
    text[0] = '1';
    memcpy(text + LENGTH, "e-4998", 7);
    check_both(text);
    memset(text, '9', LENGTH);
    memcpy(text + LENGTH, "e-4970", 7);
    check_both(text);
    memset(text, '3', LENGTH);
    text[LENGTH] = '\0';
    check_both(text); /* overflows */
}

/* All ways to end: at `end`, and before other text. The word-wise path and the byte-wise path must agree. */
static void reads_at_any_distance_from_the_end(void **state) {
    static const char *const numbers[] = {
        "0",        "-7",         "12",  "123.5",  "-0.123456",           "1234567.25",
        "12345678", "0.12345678", "1e5", "1.5E-3", "123456789.987654321", "0.1234567890123456"};
    for (size_t i = 0; i < SW_COUNTOF(numbers); i++) {
        size_t n = strlen(numbers[i]);
        for (size_t behind = 0; behind < 20; behind++) {
            char *text = malloc(n + behind + 1); /* its own block, so that ASan sees a byte read too many */
            assert_non_null(text);
            memcpy(text, numbers[i], n);
            memset(text + n, ',', behind);
            char *exact = realloc(text, n + behind ? n + behind : 1);
            assert_non_null(exact);
            double d = 0;
            float f = 0;
            assert_ptr_equal(sw_parse_double(exact, exact + n + behind, &d), exact + n);
            assert_ptr_equal(sw_parse_float(exact, exact + n + behind, &f), exact + n);
            assert_true(d == strtod(numbers[i], NULL));
            assert_true(f == strtof(numbers[i], NULL));
            free(exact);
        }
    }
}

/* What follows a long number is not part of it, not even a second point and digits. */
static void stops_behind_long_numbers(void **state) {
    static const struct {
        const char *number, *rest;
    } cases[] = {{"0.00010080232260001000", ".5"},     {"0.00010080232260001000", "-5"},
                 {"12345678901234567890123", "e"}, /* malformed: an exponent without digits */
                 {"12345678901234567890123", ".25.5"}, {"0.12345678901234567890e5", ".5"},
                 {"100000000000000000000.0", "0x"}};
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        char text[64];
        int n = snprintf(text, sizeof text, "%s%s", cases[i].number, cases[i].rest);
        double d = -1;
        float f = -1;
        const char *end = sw_parse_double(text, text + n, &d);
        assert_ptr_equal(sw_parse_float(text, text + n, &f), end);
        if (strcmp(cases[i].rest, "e") == 0) {
            assert_null(end);
            continue;
        }
        assert_non_null(end);
        char exact[64];
        snprintf(exact, sizeof exact, "%.*s", (int)(end - text), text);
        assert_true(d == strtod(exact, NULL) && f == strtof(exact, NULL));
    }
}

static void refuses_what_json_refuses(void **state) {
    static const char *const cases[] = {"",     "-",   "+1",  ".5",       "-.5",       "5.",  "5.e3",
                                        "1e",   "1e+", "1e-", "1E",       "01",        "-01", "00",
                                        "00.5", "NaN", "nan", "Infinity", "-Infinity", "inf", "e5",
                                        "-e5",  " 1",  "--1", "0x10x",    "\xc2\xb2",  "/",   ":"};
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        for (int padded = 0; padded < 2; padded++) {
            char text[64] = "";
            int n = snprintf(text, sizeof text, "%s%s", cases[i], padded ? ",             " : "");
            double d = 7;
            float f = 7;
            int64_t s;
            uint64_t u;
            if (strcmp(cases[i], "0x10x") == 0) {
                assert_ptr_equal(sw_parse_double(text, text + n, &d), text + 1); /* the caller meets the x */
                continue;
            }
            if (sw_parse_double(text, text + n, &d) || sw_parse_float(text, text + n, &f)) {
                fail_msg("'%s' was accepted", text);
            }
            assert_true(d == 7 && f == 7);
            assert_null(sw_parse_int(text, text + n, INT64_MIN, INT64_MAX, &s));
            assert_null(sw_parse_uint(text, text + n, UINT64_MAX, &u));
        }
    }
}

static void reads_integers(void **state) {
    static const struct {
        const char *text;
        bool ok;
        int64_t min, max, want;
    } cases[] = {
        {"0", true, INT64_MIN, INT64_MAX, 0},
        {"-0", true, INT64_MIN, INT64_MAX, 0},
        {"9223372036854775807", true, INT64_MIN, INT64_MAX, INT64_MAX},
        {"9223372036854775808", false, INT64_MIN, INT64_MAX, 0},
        {"-9223372036854775808", true, INT64_MIN, INT64_MAX, INT64_MIN},
        {"-9223372036854775809", false, INT64_MIN, INT64_MAX, 0},
        {"18446744073709551616", false, INT64_MIN, INT64_MAX, 0},
        {"127", true, INT8_MIN, INT8_MAX, 127},
        {"128", false, INT8_MIN, INT8_MAX, 0},
        {"-128", true, INT8_MIN, INT8_MAX, -128},
        {"-129", false, INT8_MIN, INT8_MAX, 0},
        {"1.0", false, INT64_MIN, INT64_MAX, 0},
        {"1e2", false, INT64_MIN, INT64_MAX, 0},
        {"1E2", false, INT64_MIN, INT64_MAX, 0},
        {"12345678", true, INT64_MIN, INT64_MAX, 12345678},
        {"123456789", true, INT64_MIN, INT64_MAX, 123456789},
        {"1234567890123456", true, INT64_MIN, INT64_MAX, 1234567890123456},
        {"00", false, INT64_MIN, INT64_MAX, 0},
        {"100000000000000000000000", false, INT64_MIN, INT64_MAX, 0},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        for (int padded = 0; padded < 2; padded++) {
            char text[64];
            int n = snprintf(text, sizeof text, "%s%s", cases[i].text, padded ? "]]]]]]]]]]" : "");
            int64_t got = 42;
            const char *behind = sw_parse_int(text, text + n, cases[i].min, cases[i].max, &got);
            if (cases[i].ok) {
                assert_ptr_equal(behind, text + strlen(cases[i].text));
                assert_true(got == cases[i].want);
            } else {
                assert_null(behind);
                assert_true(got == 42);
            }
        }
    }
}

static void reads_unsigned(void **state) {
    static const struct {
        const char *text;
        bool ok;
        uint64_t max, want;
    } cases[] = {
        {"18446744073709551615", true, UINT64_MAX, UINT64_MAX},
        {"18446744073709551616", false, UINT64_MAX, 0},
        {"18446744073709551620", false, UINT64_MAX, 0},
        {"20000000000000000000", false, UINT64_MAX, 0},
        {"99999999999999999999", false, UINT64_MAX, 0},
        {"10000000000000000000", true, UINT64_MAX, 10000000000000000000u},
        {"255", true, 255, 255},
        {"256", false, 255, 0},
        {"-1", false, UINT64_MAX, 0},
        {"-0", true, 255, 0},
        {"0", true, 255, 0},
        {"4294967296", false, UINT32_MAX, 0},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        uint64_t got = 42;
        const char *end = cases[i].text + strlen(cases[i].text);
        const char *behind = sw_parse_uint(cases[i].text, end, cases[i].max, &got);
        assert_ptr_equal(behind, cases[i].ok ? end : NULL);
        assert_true(got == (cases[i].ok ? cases[i].want : 42));
    }
}

/* Significant digits of a number in any notation. */
static int significant_digits(const char *text) {
    int count = 0, zeros = 0;
    for (const char *p = text; *p && *p != 'e'; p++) {
        if (*p >= '0' && *p <= '9') {
            zeros = *p == '0' ? zeros + 1 : 0;
            count += count > 0 || *p != '0';
        }
    }
    return count - (count > zeros ? zeros : count);
}

/* Room for a number, and bytes behind it that no writer may touch. */
enum { GUARD = 16 };

static void set_guard(char *text) {
    memset(text, '#', SW_NUMBER_MAX + GUARD);
}

static void check_guard(const char *text, const char *end) {
    assert_true(end - text <= SW_NUMBER_MAX);
    for (int i = 0; i < GUARD; i++) {
        if (text[SW_NUMBER_MAX + i] != '#') {
            fail_msg("writing %.*s touched byte %d behind the room", (int)(end - text), text, i);
        }
    }
}

static void check_shortest_float(float value) {
    char text[SW_NUMBER_MAX + GUARD], other[64];
    set_guard(text);
    char *end = sw_format_float(text, value);
    check_guard(text, end);
    *end = '\0';
    float back = 0;
    if (sw_parse_float(text, end, &back) != end || bits_of_float(back) != bits_of_float(value)) {
        fail_msg("%a written as %s reads back as %a", (double)value, text, (double)back);
    }
    assert_true(bits_of_float(strtof(text, NULL)) == bits_of_float(value));
    for (int precision = 1; precision <= 9; precision++) {
        snprintf(other, sizeof other, "%.*g", precision, (double)value);
        if (strtof(other, NULL) == value) {
            if (significant_digits(text) > precision) {
                fail_msg("%a written as %s, but %s is shorter", (double)value, text, other);
            }
            /* of those as short, the nearest */
            double ours = fabs(strtod(text, NULL) - (double)value), theirs = fabs(strtod(other, NULL) - (double)value);
            if (significant_digits(text) == significant_digits(other) && ours > theirs) {
                fail_msg("%a written as %s, but %s is nearer", (double)value, text, other);
            }
            break;
        }
    }
}

static void check_shortest_double(double value) {
    char text[SW_NUMBER_MAX + GUARD], other[400];
    set_guard(text);
    char *end = sw_format_double(text, value);
    check_guard(text, end);
    *end = '\0';
    double back = 0;
    if (sw_parse_double(text, end, &back) != end || bits_of_double(back) != bits_of_double(value)) {
        fail_msg("%a written as %s reads back as %a", value, text, back);
    }
    for (int precision = significant_digits(text) - 1; precision >= 1; precision--) {
        snprintf(other, sizeof other, "%.*g", precision, value);
        if (strtod(other, NULL) == value) {
            fail_msg("%a written as %s, but %s is shorter", value, text, other);
        }
        if (precision < significant_digits(text) - 2) {
            break; /* if n digits do not do, fewer do not either */
        }
    }
}

static void writes_shortest_floats(void **state) {
    for (uint32_t i = 1; i < 3000; i++) {
        check_shortest_float(float_of(i)); /* subnormals */
        check_shortest_float(float_of(0x00800000 - 1500 + i));
        check_shortest_float(float_of(0x7f7fffff - i));
        check_shortest_float((float)i);
        check_shortest_float((float)i / 1000);
    }
    for (uint32_t exponent = 0; exponent < 255; exponent++) { /* powers of two have an uneven interval */
        for (int32_t near = -2; near <= 2; near++) {
            uint32_t bits = (exponent << 23) + (uint32_t)near;
            if (bits < 0x7f800000) {
                check_shortest_float(float_of(bits));
            }
        }
    }
    for (int i = 0; i < RANDOM_ROUNDS; i++) {
        float value = float_of((uint32_t)next_random());
        if (isfinite(value)) {
            check_shortest_float(value);
        }
    }
}

static void writes_shortest_doubles(void **state) {
    for (uint64_t i = 1; i < 1000; i++) {
        check_shortest_double(double_of(i));
        check_shortest_double(double_of(0x0010000000000000 - 500 + i));
        check_shortest_double(double_of(0x7fefffffffffffff - i));
        check_shortest_double((double)i);
        check_shortest_double((double)i / 1000);
    }
    for (uint64_t exponent = 0; exponent < 2047; exponent++) {
        for (int near = -2; near <= 2; near++) {
            uint64_t bits = (exponent << 52) + (uint64_t)near;
            if (bits < 0x7ff0000000000000) {
                check_shortest_double(double_of(bits));
            }
        }
    }
    for (int i = 0; i < RANDOM_ROUNDS; i++) {
        double value = double_of(next_random());
        if (isfinite(value)) {
            check_shortest_double(value);
        }
        /* near 1 to 10^21, where the point falls between the digits */
        check_shortest_double(ldexp((double)(int64_t)next_random(), (int)(next_random() % 70) - 63));
    }
}

static void writes_like_javascript(void **state) {
    static const struct {
        double value;
        const char *as_double, *as_float;
    } cases[] = {
        {0, "0", "0"},
        {-0.0, "-0.0", "-0.0"},
        {1, "1", "1"},
        {-1.5, "-1.5", "-1.5"},
        {100, "100", "100"},
        {0.1, "0.1", "0.1"},
        {123456, "123456", "123456"},
        {0.001, "0.001", "0.001"},
        {0.000001, "0.000001", "0.000001"},
        {0.0000001, "1e-7", "1e-7"},
        {0.00000123, "0.00000123", "0.00000123"},
        {1.25e-7, "1.25e-7", "1.25e-7"},
        {1e20, "100000000000000000000", "100000000000000000000"},
        {1e21, "1e+21", "1e+21"},
        {1.5e300, "1.5e+300", NULL},
        {5e-324, "5e-324", NULL},
        {1.7976931348623157e308, "1.7976931348623157e+308", NULL},
        {-1.2345678901234568e-300, "-1.2345678901234568e-300", NULL},
        {-0.0000012345678901234567, "-0.0000012345678901234567", "-0.0000012345679"},
        {123456789012345680000.0, "123456789012345680000", "123456790000000000000"},
        {0.30000000000000004, "0.30000000000000004", "0.3"},
        {16777216, "16777216", "16777216"},
        {3.4028234663852886e38, "3.4028234663852886e+38", "3.4028235e+38"},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        char text[SW_NUMBER_MAX + 1];
        *sw_format_double(text, cases[i].value) = '\0';
        assert_string_equal(text, cases[i].as_double);
        if (cases[i].as_float) {
            *sw_format_float(text, (float)cases[i].value) = '\0';
            assert_string_equal(text, cases[i].as_float);
        }
    }
}

static void writes_integers(void **state) {
    for (int i = 0; i < RANDOM_ROUNDS; i++) {
        uint64_t value = next_random() >> (next_random() % 64);
        value = i < 20 ? (uint64_t)i : i == 20 ? UINT64_MAX : i == 21 ? (uint64_t)INT64_MIN : value;
        char text[SW_NUMBER_MAX + 1], want[64];
        *sw_format_uint(text, value) = '\0';
        snprintf(want, sizeof want, "%llu", (unsigned long long)value);
        assert_string_equal(text, want);
        *sw_format_int(text, (int64_t)value) = '\0';
        snprintf(want, sizeof want, "%lld", (long long)value);
        assert_string_equal(text, want);
    }
    for (uint64_t power = 1, k = 0; k < 20; k++, power *= 10) {
        for (int near = -1; near <= 1; near++) {
            char text[SW_NUMBER_MAX + 1], want[64];
            *sw_format_uint(text, power + (uint64_t)near) = '\0';
            snprintf(want, sizeof want, "%llu", (unsigned long long)(power + (uint64_t)near));
            assert_string_equal(text, want);
        }
    }
}

/* The decimal point of the process's locale must not matter, nor be changed. */
static void ignores_the_locale(void **state) {
    if (!setlocale(LC_NUMERIC, "de_DE.UTF-8") && !setlocale(LC_NUMERIC, "de_DE")) {
        skip(); /* not installed here */
    }
    char text[] = "0.50000002980232238769531250000000001";
    float f = 0;
    const char *behind = sw_parse_float(text, text + sizeof text - 1, &f);
    setlocale(LC_NUMERIC, "C");
    assert_ptr_equal(behind, text + sizeof text - 1);
    assert_true(f == strtof(text, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_random_patterns),
        cmocka_unit_test(reads_random_plain_decimals),
        cmocka_unit_test(reads_random_digit_strings),
        cmocka_unit_test(reads_halfway_floats),
        cmocka_unit_test(reads_halfway_doubles),
        cmocka_unit_test(reads_hard_cases),
        cmocka_unit_test(reads_very_long_digits),
        cmocka_unit_test(reads_at_any_distance_from_the_end),
        cmocka_unit_test(stops_behind_long_numbers),
        cmocka_unit_test(refuses_what_json_refuses),
        cmocka_unit_test(reads_integers),
        cmocka_unit_test(reads_unsigned),
        cmocka_unit_test(writes_shortest_floats),
        cmocka_unit_test(writes_shortest_doubles),
        cmocka_unit_test(writes_like_javascript),
        cmocka_unit_test(writes_integers),
        cmocka_unit_test(ignores_the_locale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
