/* The JSON cursor: what it accepts, what it refuses, and that each refusal says where. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tensor/json.h"

static struct sw_arena arena;
static struct sw_error err;

static int set_up(void **state) {
    sw_arena_init(&arena, 1 << 20, 0);
    err = (struct sw_error){0};
    return 0;
}

static int tear_down(void **state) {
    sw_arena_deinit(&arena);
    return 0;
}

static struct sw_json cursor(struct sw_str text) {
    struct sw_json json;
    sw_json_init(&json, text, &arena, &err);
    return json;
}

/* Skips one value and wants nothing behind it. */
static sw_status check_text(struct sw_str text) {
    struct sw_json json = cursor(text);
    SW_TRY(sw_json_skip(&json));
    return sw_json_end(&json);
}

static void accepts_the_grammar(void **state) {
    static const struct sw_str cases[] = {
        SW_STR("null"),
        SW_STR("true"),
        SW_STR("false"),
        SW_STR("0"),
        SW_STR("-0"),
        SW_STR("-1.5e+10"),
        SW_STR("1E5"),
        SW_STR("1e99999"),
        SW_STR("\"\""),
        SW_STR("\"a\""),
        SW_STR("\"\\u0000\""),
        SW_STR("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""),
        SW_STR("\"\\ud83d\\ude00\""),
        SW_STR("\"\xf0\x9f\x98\x80\""),
        SW_STR("\"\x7f\""),
        SW_STR("[]"),
        SW_STR("[ ]"),
        SW_STR("[1]"),
        SW_STR(" [ 1 , 2 ] "),
        SW_STR("[[],[[]]]"),
        SW_STR("{}"),
        SW_STR("{ }"),
        SW_STR("{\"a\":1}"),
        SW_STR("\t{\n\"a\"\r:\n{ \"a\" : [ { } , null ] } , \"b\" : \"\" }\n"),
        SW_STR("{\"\":1}"),
        SW_STR("{\"a\":{\"a\":1},\"b\":{\"a\":1}}"),
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        if (check_text(cases[i])) {
            fail_msg("%s: %s", cases[i].data, err.message);
        }
    }
}

static void refuses_what_is_not_json(void **state) {
    static const struct {
        struct sw_str text;
        const char *where; /* the end of the message */
    } cases[] = {
        {SW_STR(""), "at byte 0"},
        {SW_STR("  "), "at byte 2"},
        {SW_STR("\0"), "at byte 0"},
        {SW_STR("nul"), "at byte 0"},
        {SW_STR("nulL"), "at byte 0"},
        {SW_STR("True"), "at byte 0"},
        {SW_STR("truefalse"), "at byte 4"},
        {SW_STR("1 2"), "at byte 2"},
        {SW_STR("01"), "at byte 0"},
        {SW_STR("+1"), "at byte 0"},
        {SW_STR(".5"), "at byte 0"},
        {SW_STR("5."), "at byte 0"},
        {SW_STR("1e"), "at byte 0"},
        {SW_STR("0x10"), "at byte 1"},
        {SW_STR("NaN"), "at byte 0"},
        {SW_STR("Infinity"), "at byte 0"},
        {SW_STR("-Infinity"), "at byte 0"},
        {SW_STR("'a'"), "at byte 0"},
        {SW_STR("\""), "at byte 0"},
        {SW_STR("\"abcdefghijk"), "at byte 0"},
        {SW_STR("\"abcdefghijk\\"), "at byte 12"},
        {SW_STR("\"\\\""), "at byte 0"},
        {SW_STR("\"\\x41\""), "at byte 1"},
        {SW_STR("\"\\u12\""), "at byte 1"},
        {SW_STR("\"\\u12g4\""), "at byte 1"},
        {SW_STR("\"ab\\ud800\""), "at byte 3"},
        {SW_STR("\"ab\\ud800\\u0041\""), "at byte 3"},
        {SW_STR("\"ab\\ud800\\ud800\""), "at byte 3"},
        {SW_STR("\"ab\\udc00\""), "at byte 3"},
        {SW_STR("\"a\nb\""), "at byte 2"},
        {SW_STR("\"a\0b\""), "at byte 2"},
        {SW_STR("\"\xff\""), "at byte 0"},
        {SW_STR("\"\xc0\x80\""), "at byte 0"},
        {SW_STR("\"\xed\xa0\x80\""), "at byte 0"},
        {SW_STR("\"abcdefghijklmnop\xf4\x90\x80\x80\""), "at byte 0"},
        {SW_STR("[\"\xe2\x82\"]"), "at byte 1"},
        {SW_STR("["), "at byte 1"},
        {SW_STR("[1"), "at byte 2"},
        {SW_STR("[1,"), "at byte 3"},
        {SW_STR("[1,]"), "at byte 3"},
        {SW_STR("[,1]"), "at byte 1"},
        {SW_STR("[1 2]"), "at byte 3"},
        {SW_STR("[1}"), "at byte 2"},
        {SW_STR("]"), "at byte 0"},
        {SW_STR("[]]"), "at byte 2"},
        {SW_STR("{"), "at byte 1"},
        {SW_STR("{]"), "at byte 1"},
        {SW_STR("{1:2}"), "at byte 1"},
        {SW_STR("{\"a\"}"), "at byte 4"},
        {SW_STR("{\"a\":}"), "at byte 5"},
        {SW_STR("{\"a\":1,}"), "at byte 7"},
        {SW_STR("{\"a\":1 \"b\":2}"), "at byte 7"},
        {SW_STR("{,}"), "at byte 1"},
        {SW_STR("{\"a\" 1}"), "at byte 5"},
        {SW_STR("{\"a\":1,\"a\":2}"), "at byte 7"},
        {SW_STR("{\"a\":1,\"\\u0061\":2}"), "at byte 7"},
        {SW_STR("[{\"x\":[{\"k\":1,\"k\":2}]}]"), "at byte 14"},
        {SW_STR("\xef\xbb\xbf{}"), "at byte 0"},
        {SW_STR("[1] // no"), "at byte 4"},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        err = (struct sw_error){0};
        assert_int_equal(check_text(cases[i].text), SW_E_INVALID_ARGUMENT);
        if (!sw_str_ends(sw_str_of(err.message), sw_str_of(cases[i].where))) {
            fail_msg("%s: \"%s\" does not end in \"%s\"", cases[i].text.data, err.message, cases[i].where);
        }
        struct sw_json silent; /* without a place for the error */
        sw_json_init(&silent, cases[i].text, &arena, NULL);
        sw_status s = sw_json_skip(&silent);
        assert_true(s == SW_E_INVALID_ARGUMENT || sw_json_end(&silent) == SW_E_INVALID_ARGUMENT);
    }
}

static void bounds_the_depth(void **state) {
    char text[2 * SW_JSON_DEPTH_MAX + 3];
    memset(text, '[', SW_JSON_DEPTH_MAX);
    memset(text + SW_JSON_DEPTH_MAX, ']', SW_JSON_DEPTH_MAX);
    assert_int_equal(check_text((struct sw_str){text, 2 * SW_JSON_DEPTH_MAX}), SW_OK);
    memset(text, '[', SW_JSON_DEPTH_MAX + 1);
    memset(text + SW_JSON_DEPTH_MAX + 1, ']', SW_JSON_DEPTH_MAX + 1);
    assert_int_equal(check_text((struct sw_str){text, 2 * SW_JSON_DEPTH_MAX + 2}), SW_E_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "64 levels deep at byte 64"));
    char *deep = sw_arena_alloc(&arena, 500000);
    assert_non_null(deep);
    memset(deep, '[', 500000);
    assert_int_equal(check_text((struct sw_str){deep, 500000}), SW_E_INVALID_ARGUMENT);
}

static void reads_an_object(void **state) {
    struct sw_json json = cursor(
        SW_STR(" { \"name\" : \"a\\u00e9\\n\" , \"n\":-12, \"on\":true,\"d\":1.5e2,\"z\":null, "
               "\"skip\":[{\"name\":1}], \"list\": [1, 2,3 ] } "));
    struct sw_str name = {0};
    int64_t n = 0, sum = 0;
    bool on = false;
    double d = 0;
    assert_int_equal(sw_json_enter_object(&json), SW_OK);
    for (;;) {
        struct sw_str key;
        bool more;
        assert_int_equal(sw_json_object_next(&json, &key, &more), SW_OK);
        if (!more) {
            break;
        }
        if (sw_str_is(key, "name")) {
            assert_int_equal(sw_json_peek(&json), '"');
            assert_int_equal(sw_json_string(&json, &name), SW_OK);
        } else if (sw_str_is(key, "n")) {
            assert_int_equal(sw_json_i64(&json, &n), SW_OK);
        } else if (sw_str_is(key, "on")) {
            assert_int_equal(sw_json_bool(&json, &on), SW_OK);
        } else if (sw_str_is(key, "d")) {
            assert_int_equal(sw_json_double(&json, &d), SW_OK);
        } else if (sw_str_is(key, "z")) {
            assert_int_equal(sw_json_null(&json), SW_OK);
        } else if (sw_str_is(key, "list")) {
            assert_int_equal(sw_json_enter_array(&json), SW_OK);
            for (bool again;;) {
                assert_int_equal(sw_json_array_next(&json, &again), SW_OK);
                if (!again) {
                    break;
                }
                int64_t item;
                assert_int_equal(sw_json_i64(&json, &item), SW_OK);
                sum += item;
            }
        } else {
            assert_int_equal(sw_json_skip(&json), SW_OK);
        }
    }
    assert_int_equal(sw_json_end(&json), SW_OK);
    assert_int_equal(sw_json_peek(&json), 0);
    assert_true(sw_str_is(name, "a\xc3\xa9\n"));
    assert_true(n == -12 && sum == 6 && on && d == 150);
}

static void decodes_strings(void **state) {
    static const struct {
        struct sw_str text, want;
    } cases[] = {
        {SW_STR("\"\""), SW_STR("")},
        {SW_STR("\"plain text of some length\""), SW_STR("plain text of some length")},
        {SW_STR("\"\\u0000\""), SW_STR("\0")},
        {SW_STR("\"a\\u0000b\""), SW_STR("a\0b")},
        {SW_STR("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), SW_STR("\"\\/\b\f\n\r\t")},
        {SW_STR("\"\\u00E9\\u20ac\\uD83D\\uDE00\\uffff\""), SW_STR("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xef\xbf\xbf")},
        {SW_STR("\"mixed \xc3\xa9 and \\n and more text behind\""),
         SW_STR("mixed \xc3\xa9 and \n and more text behind")},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        struct sw_json json = cursor(cases[i].text);
        struct sw_str got;
        assert_int_equal(sw_json_string(&json, &got), SW_OK);
        assert_true(sw_str_eq(got, cases[i].want));
    }
    struct sw_json json = cursor(cases[1].text);
    struct sw_str got;
    assert_int_equal(sw_json_string(&json, &got), SW_OK);
    assert_ptr_equal(got.data, cases[1].text.data + 1); /* borrowed when nothing is escaped */
}

static void refuses_other_kinds(void **state) {
    struct sw_str text = SW_STR("{\"a\":1}");
    struct sw_json json = cursor(text);
    struct sw_str s = SW_STR("untouched");
    int64_t i = 7;
    double d = 7;
    bool b = true;
    assert_int_equal(sw_json_enter_array(&json), SW_E_INVALID_ARGUMENT);
    assert_int_equal(sw_json_string(&json, &s), SW_E_INVALID_ARGUMENT);
    assert_int_equal(sw_json_i64(&json, &i), SW_E_INVALID_ARGUMENT);
    assert_int_equal(sw_json_double(&json, &d), SW_E_INVALID_ARGUMENT);
    assert_int_equal(sw_json_bool(&json, &b), SW_E_INVALID_ARGUMENT);
    assert_int_equal(sw_json_null(&json), SW_E_INVALID_ARGUMENT);
    assert_true(sw_str_is(s, "untouched") && i == 7 && d == 7 && b);
    json = cursor(SW_STR("1.5"));
    assert_int_equal(sw_json_i64(&json, &i), SW_E_INVALID_ARGUMENT);
    json = cursor(SW_STR("9223372036854775808"));
    assert_int_equal(sw_json_i64(&json, &i), SW_E_INVALID_ARGUMENT);
    json = cursor(SW_STR("1e400"));
    assert_int_equal(sw_json_double(&json, &d), SW_E_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "too large"));
    assert_true(i == 7 && d == 7);
}

/* Duplicates among the first SW_JSON_KEYS_MAX keys are found; more keys than that are no error. */
static void remembers_keys_up_to_the_bound(void **state) {
    struct sw_buf text;
    sw_buf_init_arena(&text, &arena, 1 << 16);
    sw_buf_append_c(&text, '{');
    for (int i = 0; i < SW_JSON_KEYS_MAX + 10; i++) {
        sw_buf_printf(&text, "%s\"k%d\":{\"k0\":%d}", i ? "," : "", i, i);
    }
    size_t len = text.len;
    sw_buf_append_c(&text, '}');
    assert_int_equal(check_text(sw_buf_str(&text)), SW_OK);
    text.len = len;
    sw_buf_printf(&text, ",\"k%d\":1}", SW_JSON_KEYS_MAX - 1);
    assert_int_equal(check_text(sw_buf_str(&text)), SW_E_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "duplicate key \"k63\""));
}

static void reports_exhausted_memory(void **state) {
    struct sw_arena tiny;
    sw_arena_init(&tiny, 1, 0);
    struct sw_json json;
    struct sw_str got;
    sw_json_init(&json, SW_STR("\"\\n\\n\\n\""), &tiny, &err);
    assert_int_equal(sw_json_string(&json, &got), SW_E_UNAVAILABLE);
    sw_json_init(&json, SW_STR("{\"a\":1}"), &tiny, &err);
    assert_int_equal(sw_json_skip(&json), SW_E_UNAVAILABLE);
    sw_arena_deinit(&tiny);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(accepts_the_grammar),
        TEST(refuses_what_is_not_json),
        TEST(bounds_the_depth),
        TEST(reads_an_object),
        TEST(decodes_strings),
        TEST(refuses_other_kinds),
        TEST(remembers_keys_up_to_the_bound),
        TEST(reports_exhausted_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
