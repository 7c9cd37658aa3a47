/* The addresses that serve prints; times for people, decimal numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/macros.h"
#include "cli/address.h"
#include "cli/units.h"

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
        cmocka_unit_test(loopback_is_told_from_the_rest),
        cmocka_unit_test(urls),
        cmocka_unit_test(latencies),
        cmocka_unit_test(decimals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
