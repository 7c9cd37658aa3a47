/* Bytes read as text: what is text, where it ends, and UTF-16 in both orders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apps/starlight/utf.h"

static size_t prefix(const char *bytes, size_t length) {
    return sw_starlight_text_prefix((const uint8_t *)bytes, length);
}

static void text_ends_where_it_is_none(void **state) {
    static const struct {
        const char *bytes;
        size_t length, text;
    } cases[] = {
        {"", 0, 0},
        {"plain\ttext\r\n", 12, 12},
        {"nul\0behind", 10, 3},
        {"bell\a", 5, 4},
        {"del\x7f", 4, 3},
        {"\xC3\xA9t\xC3\xA9", 5, 5}, /* two bytes */
        {"\xE2\x82\xAC", 3, 3},      /* three */
        {"\xF0\x9F\x8C\x99!", 5, 5}, /* four */
        {"a\xC3", 2, 1},             /* cut */
        {"a\xC0\x80", 3, 1},         /* overlong NUL */
        {"a\xE0\x9F\xBF", 4, 1},     /* overlong three */
        {"a\xF0\x8F\xBF\xBF", 5, 1}, /* overlong four */
        {"a\xED\xA0\x80", 4, 1},     /* surrogate */
        {"a\xF4\x90\x80\x80", 5, 1}, /* beyond U+10FFFF */
        {"a\xC2\x85", 3, 1},         /* C1 control */
        {"a\xEE\x80\x80", 4, 1},     /* private use */
        {"a\xEF\xBF\xBF", 4, 1},     /* noncharacter U+FFFF */
        {"a\xEF\xB7\x90", 4, 1},     /* noncharacter U+FDD0 */
        {"a\xFF", 2, 1},
        {"\xC2\xA0", 2, 2}, /* no-break space is text */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(prefix(cases[i].bytes, cases[i].length), cases[i].text);
    }
}

/* Independent of the decoder: encode each code point by the definition, then ask. */
static void every_code_point(void **state) {
    for (uint32_t code = 0; code <= 0x110000; code++) {
        uint8_t b[4];
        size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
        static const uint8_t lead[5] = {0, 0, 0xC0, 0xE0, 0xF0};
        for (size_t i = 0; i < n; i++) {
            b[i] = (uint8_t)(0x80 | ((code >> (6 * (n - 1 - i))) & 0x3F));
        }
        b[0] = n == 1 ? (uint8_t)code : (uint8_t)(lead[n] | (code >> (6 * (n - 1))));
        bool control = (code < 0x20 && code != '\t' && code != '\n' && code != '\r') || (code >= 0x7F && code < 0xA0);
        bool other = (code >= 0xD800 && code <= 0xDFFF) || (code >= 0xE000 && code <= 0xF8FF) || code >= 0xF0000 ||
                     (code >= 0xFDD0 && code <= 0xFDEF) || (code & 0xFFFE) == 0xFFFE;
        size_t want = control || other ? 0 : n;
        if (sw_starlight_text_prefix(b, n) != want) {
            fail_msg("U+%04X: %zu bytes of text, %zu wanted", code, sw_starlight_text_prefix(b, n), want);
        }
    }
}

static void a_cut_character_is_told(void **state) {
    assert_true(sw_starlight_utf8_cut((const uint8_t *)"\xC3", 1));
    assert_true(sw_starlight_utf8_cut((const uint8_t *)"\xE0", 1)); /* only A0..BF may follow */
    assert_true(sw_starlight_utf8_cut((const uint8_t *)"\xE2\x82", 2));
    assert_true(sw_starlight_utf8_cut((const uint8_t *)"\xF0\x9F\x8C", 3));
    assert_true(sw_starlight_utf8_cut((const uint8_t *)"\xED", 1));
    assert_true(sw_starlight_utf8_cut((const uint8_t *)"\xF4", 1));
    assert_false(sw_starlight_utf8_cut((const uint8_t *)"a", 1));
    assert_false(sw_starlight_utf8_cut((const uint8_t *)"\xE2\x82\xAC", 3)); /* whole */
    assert_false(sw_starlight_utf8_cut((const uint8_t *)"\x80", 1));
    assert_false(sw_starlight_utf8_cut((const uint8_t *)"\xFF\x80", 2));
    assert_false(sw_starlight_utf8_cut((const uint8_t *)"\xE0\x80", 2)); /* overlong already */
}

static void whole_texts(void **state) {
    assert_true(sw_starlight_is_utf8_text((const uint8_t *)"hello", 5));
    assert_true(sw_starlight_is_utf8_text((const uint8_t *)"hello\0\0", 7));
    assert_false(sw_starlight_is_utf8_text((const uint8_t *)"he", 2));
    assert_false(sw_starlight_is_utf8_text((const uint8_t *)"h\0e\0l\0l\0", 8));
    assert_false(sw_starlight_is_utf8_text((const uint8_t *)"hello\0x", 7));
}

static void check16(const char *bytes, size_t length, bool little, const char *text, size_t used) {
    uint8_t out[64];
    size_t n = 99;
    assert_int_equal(sw_starlight_utf16_text((const uint8_t *)bytes, length, little, out, sizeof out, &n), used);
    if (used) {
        assert_int_equal(n, strlen(text));
        assert_memory_equal(out, text, n);
    }
}

static void utf16_in_either_order(void **state) {
    check16("h\0i\0", 4, true, "hi", 4);
    check16("\0h\0i", 4, false, "hi", 4);
    check16("h\0i\0", 4, false, "hi", 4);                     /* the order that reads as text wins over the file's */
    check16("\x71\x5C\x78\x30", 4, false, "\u5C71\u3078", 4); /* a mountain of kanji and kana, swapped */
    check16("\0\x4E\x8C\x4E\x09\x4E\xDB\x56", 8, false, "\u4E00\u4E8C\u4E09\u56DB", 8);
    check16("\x21\x04\x35\x04", 4, false, "\u0421\u0435", 4);
    check16("\xFF\xFEh\0i\0", 6, false, "hi", 6);
    check16("\xFE\xFF\0h\0i", 6, true, "hi", 6);
    check16("h\0i\0\0\0x\0", 8, true, "hi", 4); /* up to a NUL */
    check16("h\0i\0\0", 5, true, "hi", 5);      /* odd, the last a NUL */
    check16("\xD8\x3C\xDF\x19", 4, false, "\xF0\x9F\x8C\x99", 4);
    check16("\xD8\xD8\0a", 4, false, "", 0); /* half a pair, in either order */
    check16("", 0, true, "", 0);
    check16("\0\0", 2, true, "", 0);
}

static void utf16_stops_when_out_is_full(void **state) {
    uint8_t out[3];
    size_t n;
    assert_int_equal(sw_starlight_utf16_text((const uint8_t *)"a\0b\0c\0d\0", 8, true, out, sizeof out, &n), 6);
    assert_int_equal(n, 3);
    assert_memory_equal(out, "abc", 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_ends_where_it_is_none), cmocka_unit_test(every_code_point),
        cmocka_unit_test(a_cut_character_is_told),    cmocka_unit_test(whole_texts),
        cmocka_unit_test(utf16_in_either_order),      cmocka_unit_test(utf16_stops_when_out_is_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
