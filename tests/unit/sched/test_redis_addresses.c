/* Addresses of Redis as people write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/cache/redis_internal.h"

static struct redis_addresses parsed(const char *text) {
    struct redis_addresses a;
    struct sw_error err;
    if (redis_addresses_parse(text, &a, &err)) {
        fail_msg("%s: %s", text, err.message);
    }
    return a;
}

static void expect_one(const char *text, const char *host, unsigned port, const char *name) {
    struct redis_addresses a = parsed(text);
    char said[REDIS_NAME_MAX];
    assert_int_equal(a.count, 1);
    assert_string_equal(a.list[0].host, host);
    assert_int_equal(a.list[0].port, port);
    redis_address_name(&a.list[0], said);
    assert_string_equal(said, name);
}

static void hosts_ports_and_paths(void **state) {
    expect_one("cache", "cache", 6379, "cache:6379");
    expect_one(" cache-1.example_net:7000 ", "cache-1.example_net", 7000, "cache-1.example_net:7000");
    expect_one("127.0.0.1:1", "127.0.0.1", 1, "127.0.0.1:1");
    expect_one("[::1]:7000", "::1", 7000, "[::1]:7000");
    expect_one("[2001:db8::2]", "2001:db8::2", 6379, "[2001:db8::2]:6379");
    expect_one("unix:/run/redis/redis.sock", "/run/redis/redis.sock", 0, "unix:/run/redis/redis.sock");
    expect_one("redis://[::1]", "::1", 6379, "[::1]:6379");
}

static void several_are_separated_by_commas_or_blanks(void **state) {
    struct redis_addresses a = parsed("one,two:7001, unix:/x\n[::1]\t");
    assert_int_equal(a.count, 4);
    assert_string_equal(a.list[1].host, "two");
    assert_int_equal(a.list[1].port, 7001);
    assert_string_equal(a.list[2].host, "/x");
    assert_string_equal(a.list[3].host, "::1");
    assert_false(a.tls || a.has_database || a.username[0] || a.password[0]);
}

static void urls_say_user_password_database_and_tls(void **state) {
    struct redis_addresses a = parsed("redis://slipway:pa%20ss:w%40rd@cache:7000/3,redis://other");
    assert_int_equal(a.count, 2);
    assert_string_equal(a.username, "slipway");
    assert_string_equal(a.password, "pa ss:w@rd");
    assert_true(a.has_database && a.database == 3 && !a.tls);
    a = parsed("REDISS://:secret@cache/");
    assert_string_equal(a.username, "");
    assert_string_equal(a.password, "secret");
    assert_true(a.tls && !a.has_database);
    a = parsed("redis://u:p@ss/w@rd@cache"); /* not encoded, as people paste them */
    assert_string_equal(a.password, "p@ss/w@rd");
    assert_string_equal(a.list[0].host, "cache");
    a = parsed("redis://u:p@one/2 redis://u:p@two/2");
    assert_int_equal(a.database, 2);
}

static void refused_without_being_quoted(void **state) {
    static const char *const wrong[] = {
        "",
        " , ",
        "host:0",
        "host:65536",
        "host:",
        "host:x",
        ":7000",
        "::1",
        "[::1",
        "[::1]x",
        "[hexenwerk]",
        "ho st/x",
        "a host!",
        "unix:",
        "unix:relative",
        "http://cache",
        "redis://",
        "redis://u:hexenwerk@",
        "redis://u:hexenwerk@cache:x",
        "redis://u:hexenwerk%zz@cache",
        "redis://u:hexenwerk%0@cache",
        "redis://u:hexenwerk%00@cache",
        "redis://u:hexenwerk@cache/x",
        "redis://u:hexenwerk@cache/1?a=b",
        "redis://u:hexenwerk@cache/4294967296",
        "redis://u:one@cache,redis://u:hexenwerk@cache",
        "redis://one@cache,redis://hexenwerk@cache",
        "redis://cache/1,redis://cache/2",
    };
    for (size_t i = 0; i < SW_COUNTOF(wrong); i++) {
        struct redis_addresses a = {.count = 77};
        struct sw_error err;
        if (redis_addresses_parse(wrong[i], &a, &err) != SW_E_INVALID_ARGUMENT) {
            fail_msg("accepted: %s", wrong[i]);
        }
        assert_int_equal(a.count, 77);
        assert_null(strstr(err.message, "hexenwerk"));
    }
}

static void bounds(void **state) {
    struct redis_addresses a;
    struct sw_buf text;
    struct sw_error err;
    sw_buf_init(&text, 100000);
    for (int i = 0; i < SW_REDIS_ADDRESSES_MAX; i++) {
        sw_buf_printf(&text, "host%d,", i);
    }
    assert_int_equal(parsed(text.data).count, SW_REDIS_ADDRESSES_MAX);
    SW_LIT(&text, "one-more");
    assert_int_equal(redis_addresses_parse(text.data, &a, &err), SW_E_INVALID_ARGUMENT);
    sw_buf_clear(&text);
    SW_LIT(&text, "unix:/");
    while (text.len < 5 + 107) {
        sw_buf_append_c(&text, 'x');
    }
    assert_int_equal(parsed(text.data).count, 1);
    sw_buf_append_c(&text, 'x');
    assert_int_equal(redis_addresses_parse(text.data, &a, &err), SW_E_INVALID_ARGUMENT);
    while (text.len < 5 + 600) {
        sw_buf_append_c(&text, 'x');
    }
    assert_int_equal(redis_addresses_parse(text.data + 6, &a, &err), SW_E_INVALID_ARGUMENT);
    sw_buf_deinit(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_ports_and_paths),
        cmocka_unit_test(several_are_separated_by_commas_or_blanks),
        cmocka_unit_test(urls_say_user_password_database_and_tls),
        cmocka_unit_test(refused_without_being_quoted),
        cmocka_unit_test(bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
