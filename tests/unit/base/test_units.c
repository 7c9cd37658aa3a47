/* Sizes, durations and moments in text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/units.h"

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

/* ---- timestamps ---- */

static void timestamps(void **state) {
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01T00:00:00.001z", 1},
        {"2026-11-20T21:51:18.123Z", 1795211478123},
        {"2026-11-20t21:51:18.123999999Z", 1795211478123},
        {"2026-11-20 22:51:18.5+01:00", 1795211478500},
        {"2026-11-20T22:51:18.5 01:00", 1795211478500},
        {"2026-11-20T16:21:18-05:30", 1795211478000},
        {"2024-02-29T23:59:60Z", 1709251200000},
        {"9999-12-31T23:59:59.999Z", 253402300799999},
    };
    for (size_t i = 0; i < SW_COUNTOF(good); i++) {
        uint64_t ms = 7;
        if (!sw_parse_timestamp(sw_str_of(good[i].text), &ms) || ms != good[i].ms) {
            fail_msg("%s: %llu", good[i].text, (unsigned long long)ms);
        }
    }
    static const char *const bad[] = {
        "",
        "2026",
        "2026-11-20",
        "2026-11-20T21:51:18",
        "2026-11-20T21:51Z",
        "2026-11-20T21:51:18.Z",
        "2026-11-20T21:51:18Z ",
        "2026-11-20T21:51:18+1:00",
        "2026-11-20T21:51:18+24:00",
        "2026-11-20T21:51:18+01:60",
        "2026-11-20T24:00:00Z",
        "2026-11-20T23:60:00Z",
        "2026-11-20T23:00:61Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+00:01",
        "+2026-11-20T21:51:18Z",
        "2026-11-20T21:51:18.000000000000000000000000000000001Z",
    };
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        uint64_t ms = 7;
        if (sw_parse_timestamp(sw_str_of(bad[i]), &ms) || ms != 7) {
            fail_msg("%s is taken: %llu", bad[i], (unsigned long long)ms);
        }
    }
    /* Nothing behind the end of a text that is not NUL-terminated is looked at. */
    uint64_t ms;
    assert_false(sw_parse_timestamp((struct sw_str){"2026-11-20T21:51:18Z", 19}, &ms));
}

static void timestamps_read_back(void **state) {
    char text[SW_TIMESTAMP_MAX];
    for (uint64_t ms = 0; ms < UINT64_C(253402300800000); ms += 86399999 * UINT64_C(1009)) {
        uint64_t back = 7;
        sw_format_timestamp(ms, text);
        assert_true(sw_parse_timestamp(sw_str_of(text), &back));
        assert_int_equal(back, ms);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(durations),
        cmocka_unit_test(formatted_values_read_back),
        cmocka_unit_test(timestamps),
        cmocka_unit_test(timestamps_read_back),
    };
    return cmocka_run_group_tests_name("base/units", tests, NULL, NULL);
}
