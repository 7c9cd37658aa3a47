/* Sizes, durations, and the addresses that serve prints. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "cli/address.h"
#include "cli/units.h"

static void sizes(void **state) {
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"0", 0},
        {"1", 1},
        {"512", 512},
        {"512B", 512},
        {"64KiB", 65536},
        {"64kib", 65536},
        {"64K", 65536},
        {"64MiB", 64 << 20},
        {"2GiB", 2ull << 30},
        {"1TiB", 1ull << 40},
        {"16777215TiB", 16777215ull << 40},
        {"18446744073709551615", UINT64_MAX},
    };
    for (size_t i = 0; i < SW_COUNTOF(good); i++) {
        uint64_t bytes = 7;
        assert_true(sw_parse_size(sw_str_of(good[i].text), &bytes));
        assert_int_equal(bytes, good[i].bytes);
    }
    static const char *const bad[] = {"",           "KiB",  "-1",  "+1",    "1.5MiB", "1 MiB",
                                      "1MB",        "0x10", "1e3", "1MiBs", " 1",     "18446744073709551616",
                                      "16777216TiB"};
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        uint64_t bytes = 7;
        assert_false(sw_parse_size(sw_str_of(bad[i]), &bytes));
        assert_int_equal(bytes, 7);
    }
}

static void durations(void **state) {
    static const struct {
        const char *text;
        uint64_t us;
    } good[] = {
        {"0", 0},          {"0s", 0},         {"5us", 5},        {"500ms", 500000},
        {"10s", 10000000}, {"10S", 10000000}, {"2m", 120000000}, {"1h", 3600000000ull},
    };
    for (size_t i = 0; i < SW_COUNTOF(good); i++) {
        uint64_t us = 7;
        assert_true(sw_parse_duration(sw_str_of(good[i].text), &us));
        assert_int_equal(us, good[i].us);
    }
    static const char *const bad[] = {
        "", "10", "s", "1.5s", "-1s", "10 s", "1d", "1min", "99999999999999999999s", "5124095577h"};
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        uint64_t us = 7;
        assert_false(sw_parse_duration(sw_str_of(bad[i]), &us));
        assert_int_equal(us, 7);
    }
}

static void formatted_values_read_back(void **state) {
    char text[SW_UNIT_TEXT_MAX];
    static const uint64_t values[] = {0,          1,         999,      1000,     1023,     1024,      1500,
                                      65536,      1 << 20,   60000000, 75000000, 90000000, 300000000, 3600000000ull,
                                      1ull << 40, UINT64_MAX};
    for (size_t i = 0; i < SW_COUNTOF(values); i++) {
        uint64_t back = 7;
        sw_format_size(values[i], text);
        assert_true(sw_parse_size(sw_str_of(text), &back));
        assert_int_equal(back, values[i]);
        sw_format_duration(values[i], text);
        assert_true(sw_parse_duration(sw_str_of(text), &back));
        assert_int_equal(back, values[i]);
    }
    sw_format_size(64 << 20, text);
    assert_string_equal(text, "64MiB");
    sw_format_size(0, text);
    assert_string_equal(text, "0B");
    sw_format_duration(0, text);
    assert_string_equal(text, "0s");
    sw_format_duration(75000000, text);
    assert_string_equal(text, "75s");
    sw_format_duration(60000000, text);
    assert_string_equal(text, "60s");
    sw_format_duration(3600000000ull, text);
    assert_string_equal(text, "1h");
}

static void loopback_is_told_from_the_rest(void **state) {
    static const char *const inside[] = {"127.0.0.1", "127.1.2.3", "::1", "localhost", "LOCALHOST", "::ffff:127.0.0.1"};
    static const char *const outside[] = {"0.0.0.0",
                                          "::",
                                          "10.0.0.1",
                                          "128.0.0.1",
                                          "::2",
                                          "example.org",
                                          "",
                                          "localhost.example.org",
                                          "::ffff:10.0.0.1",
                                          "127.0.0.1.nip.io"};
    for (size_t i = 0; i < SW_COUNTOF(inside); i++) {
        assert_true(sw_is_loopback(inside[i]));
    }
    for (size_t i = 0; i < SW_COUNTOF(outside); i++) {
        assert_false(sw_is_loopback(outside[i]));
    }
}

static void urls(void **state) {
    char url[320];
    sw_format_url("127.0.0.1", 80, url, sizeof url);
    assert_string_equal(url, "http://127.0.0.1:80");
    sw_format_url("::1", 8080, url, sizeof url);
    assert_string_equal(url, "http://[::1]:8080");
    sw_format_url("0.0.0.0", 1, url, sizeof url);
    assert_string_equal(url, "http://localhost:1");
}

static void latencies(void **state) {
    static const struct {
        double ms;
        const char *text;
    } times[] = {{0, "0.00 us"},     {0.00712, "7.12 us"}, {0.0871, "87.1 us"}, {0.999, "999 us"}, {1, "1.00 ms"},
                 {12.44, "12.4 ms"}, {999, "999 ms"},      {1000, "1.00 s"},    {12440, "12.4 s"}};
    char text[SW_UNIT_TEXT_MAX];
    for (size_t i = 0; i < SW_COUNTOF(times); i++) {
        sw_format_latency(times[i].ms, text);
        assert_string_equal(text, times[i].text);
    }
}

static void decimals(void **state) {
    static const char *const bad[] = {"", "x", "1 ", " 1", "1x", "+1", ".5", "1.", "nan", "inf", "1e999", "0x10"};
    double value = 0;
    assert_true(sw_parse_decimal("10", &value) && value == 10);
    assert_true(sw_parse_decimal("0.5", &value) && value == 0.5);
    assert_true(sw_parse_decimal("-1e-3", &value) && value == -1e-3);
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        assert_false(sw_parse_decimal(bad[i], &value));
    }
    assert_true(value == -1e-3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(durations),
        cmocka_unit_test(formatted_values_read_back),
        cmocka_unit_test(loopback_is_told_from_the_rest),
        cmocka_unit_test(urls),
        cmocka_unit_test(latencies),
        cmocka_unit_test(decimals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
