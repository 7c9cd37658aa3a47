/* What the head of a carrier is said to be, value by value, from bytes given here. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "apps/starlight/evidence.h"

static float values[SW_STARLIGHT_EVIDENCE_COUNT];

static void look(enum sw_starlight_carrier carrier, const char *head, size_t length, uint64_t size) {
    struct sw_starlight_carrier_bytes bytes = {(const uint8_t *)head, (const uint8_t *)"\x55\x55", length, 2, size};
    sw_starlight_carrier_evidence(carrier, &bytes, values, 1);
}

static void near(enum sw_starlight_evidence e, double want) {
    if (fabs(values[e] - want) > 1e-6) {
        fail_msg("evidence %d is %.7f, %.7f wanted", e, values[e], want);
    }
}

static void absent_is_nothing(void **state) {
    look(SW_STARLIGHT_RGB_MSB, "", 0, 0);
    for (int e = 0; e < SW_STARLIGHT_EVIDENCE_COUNT; e++) {
        assert_true(values[e] == 0);
    }
}

static void a_marked_text(void **state) {
    char head[64];
    memset(head, 0xFF, sizeof head);
    memcpy(head, "AI42abAB 1.\n", 13); /* with its NUL */
    look(SW_STARLIGHT_ALPHA_LSB, head, sizeof head, 4096);
    near(SW_EVIDENCE_PRESENT, 1);
    for (int c = 0; c < SW_STARLIGHT_CARRIERS; c++) {
        near((enum sw_starlight_evidence)(SW_EVIDENCE_CARRIER + c), c == SW_STARLIGHT_ALPHA_LSB);
    }
    near(SW_EVIDENCE_SIZE, log2(4097) / 24);
    near(SW_EVIDENCE_MARKED, 1);
    near(SW_EVIDENCE_RUN, log2(9) / 10);
    near(SW_EVIDENCE_RUN_LINEAR, 8.0 / 64);
    near(SW_EVIDENCE_END_NUL, 1);
    near(SW_EVIDENCE_END_BYTES, 0);
    near(SW_EVIDENCE_LETTERS, 4.0 / 8);
    near(SW_EVIDENCE_UPPER, 2.0 / 4);
    near(SW_EVIDENCE_VOWELS, 2.0 / 4);
    near(SW_EVIDENCE_DIGITS, 1.0 / 8);
    near(SW_EVIDENCE_BLANKS, 2.0 / 8);
    near(SW_EVIDENCE_PUNCTUATION, 1.0 / 8);
    near(SW_EVIDENCE_WIDE, 0);
    near(SW_EVIDENCE_ENTROPY, 3.0 / 8); /* eight different bytes */
    near(SW_EVIDENCE_DISTINCT, 8.0 / 64);
    near(SW_EVIDENCE_REPEAT, 1.0 / 8);
    near(SW_EVIDENCE_PERIOD, 0);
    near(SW_EVIDENCE_CASE_TURNS, 1.0 / 8);
    near(SW_EVIDENCE_TEXT_32, 8.0 / 32);
    near(SW_EVIDENCE_TEXT_256, 8.0 / 60);
    near(SW_EVIDENCE_FULL_256, 51.0 / 60);
    near(SW_EVIDENCE_HIGH_256, 51.0 / 60);
    near(SW_EVIDENCE_ZERO_256, 1.0 / 60);
}

static void patterns_are_periodic(void **state) {
    look(SW_STARLIGHT_RGB_MSB, "UUUUUUUU\xFF", 9, 9);
    near(SW_EVIDENCE_REPEAT, 1);
    near(SW_EVIDENCE_PERIOD, 1);
    near(SW_EVIDENCE_ENTROPY, 0);
    near(SW_EVIDENCE_END_NUL, 0);
    look(SW_STARLIGHT_RGB_MSB, "abcabcabc\xFF", 10, 10);
    near(SW_EVIDENCE_REPEAT, 1.0 / 9);
    near(SW_EVIDENCE_PERIOD, 1);
}

static void what_ends_a_run(void **state) {
    char window[SW_STARLIGHT_WINDOW + 4];
    memset(window, 'x', sizeof window);
    look(SW_STARLIGHT_RAW, "all of it", 9, 9);
    near(SW_EVIDENCE_END_BYTES, 1);
    look(SW_STARLIGHT_RAW, "all of it", 9, 10);
    near(SW_EVIDENCE_END_WINDOW, 1);
    look(SW_STARLIGHT_RAW, window, sizeof window, 100000);
    near(SW_EVIDENCE_END_WINDOW, 1);
    near(SW_EVIDENCE_RUN, 1);
    look(SW_STARLIGHT_RAW, window, SW_STARLIGHT_WINDOW, SW_STARLIGHT_WINDOW);
    near(SW_EVIDENCE_END_BYTES, 1);
    look(SW_STARLIGHT_RAW, window, SW_STARLIGHT_WINDOW + 4, SW_STARLIGHT_WINDOW + 4); /* 4 more than are looked at */
    near(SW_EVIDENCE_END_WINDOW, 1);
    look(SW_STARLIGHT_RAW, "caf\xC3", 4, 400); /* a character cut by the window */
    near(SW_EVIDENCE_END_WINDOW, 1);
    look(SW_STARLIGHT_RAW, "caf\xC3", 4, 4); /* nothing follows: no text */
    near(SW_EVIDENCE_END_WINDOW, 0);
    near(SW_EVIDENCE_END_BYTES, 0);
    look(SW_STARLIGHT_RAW, "AI42", 4, 4);
    near(SW_EVIDENCE_MARKED, 1);
    near(SW_EVIDENCE_RUN, 0);
}

static void containers_are_known(void **state) {
    look(SW_STARLIGHT_RAW, "\xff\xd8\xff\xe0", 4, 4);
    near(SW_EVIDENCE_CONTAINER, 1);
    look(SW_STARLIGHT_RAW,
         "\0\0\0\x18"
         "ftypmp42",
         12, 12);
    near(SW_EVIDENCE_CONTAINER, 1);
    look(SW_STARLIGHT_RAW,
         "\0\0\0\x18"
         "fty",
         7, 7);
    near(SW_EVIDENCE_CONTAINER, 0);
    look(SW_STARLIGHT_RAW, "hello", 5, 5);
    near(SW_EVIDENCE_CONTAINER, 0);
}

static void bits_of_head_and_rest(void **state) {
    look(SW_STARLIGHT_PALETTE_LSB, "\x0F\xFF", 2, 1000); /* rest: 55 55 */
    near(SW_EVIDENCE_ONES_HEAD, 12.0 / 16);
    near(SW_EVIDENCE_TURNS_HEAD, 1.0 / 14);
    near(SW_EVIDENCE_ONES_REST, 0.5);
    near(SW_EVIDENCE_TURNS_REST, 1);
}

/* A comment in UTF-16 says the same as in ASCII. */
static void comments_in_utf16(void **state) {
    static float plain[SW_STARLIGHT_EVIDENCE_COUNT * SW_STARLIGHT_CARRIERS], wide[SW_COUNTOF(plain)];
    struct sw_starlight_image image = {.user_comment = SW_STR("ASCII\0\0\0meet me there")};
    sw_starlight_evidence(&image, plain);
    image.user_comment = SW_STR("UNICODE\0m\0e\0e\0t\0 \0m\0e\0 \0t\0h\0e\0r\0e\0");
    sw_starlight_evidence(&image, wide);
    static const enum sw_starlight_evidence alike[] = {SW_EVIDENCE_PRESENT, SW_EVIDENCE_RUN, SW_EVIDENCE_LETTERS,
                                                       SW_EVIDENCE_END_BYTES, SW_EVIDENCE_ENTROPY};
    for (size_t i = 0; i < SW_COUNTOF(alike); i++) {
        size_t at = (size_t)alike[i] * SW_STARLIGHT_CARRIERS + SW_STARLIGHT_EXIF;
        assert_true(plain[at] > 0 && plain[at] == wide[at]);
    }
    image.user_comment = SW_STR("UNICODE\0plain text all the same"); /* as sloppy tools write */
    sw_starlight_evidence(&image, wide);
    assert_true(wide[(size_t)SW_EVIDENCE_LETTERS * SW_STARLIGHT_CARRIERS + SW_STARLIGHT_EXIF] > 0.8F);
}

static void every_value_is_a_share(void **state) {
    uint32_t seed = 1;
    char head[SW_STARLIGHT_WINDOW + 4];
    for (int round = 0; round < 20000; round++) {
        size_t length = (seed >> 8) % sizeof head;
        for (size_t i = 0; i < length; i++) {
            seed = seed * 1664525 + 1013904223;
            uint8_t byte = (uint8_t)(seed >> 24);
            head[i] = round % 3 ? (char)byte : (char)(32 + byte % 90);
        }
        seed = seed * 1664525 + 1013904223;
        look((enum sw_starlight_carrier)(round % SW_STARLIGHT_CARRIERS), head, length, length + (round % 2 ? 0 : seed));
        for (int e = 0; e < SW_STARLIGHT_EVIDENCE_COUNT; e++) {
            if (!(values[e] >= 0 && values[e] <= 1)) {
                fail_msg("round %d: evidence %d is %f", round, e, values[e]);
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_is_nothing),     cmocka_unit_test(a_marked_text),
        cmocka_unit_test(patterns_are_periodic), cmocka_unit_test(what_ends_a_run),
        cmocka_unit_test(containers_are_known),  cmocka_unit_test(bits_of_head_and_rest),
        cmocka_unit_test(comments_in_utf16),     cmocka_unit_test(every_value_is_a_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
