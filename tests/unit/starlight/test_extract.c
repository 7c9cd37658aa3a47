/* Carriers read in pieces, and the messages in them: every method, bit order and framing; what is no message. Images are
 * made in memory, without files. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "apps/starlight/text.h"
#include "base/memory.h"

enum { SIDE = 64, SAMPLES = SIDE * SIDE * 4 };

/* Planes whose low bits look random, so that nothing in them reads as text. */
static uint8_t pixels[SAMPLES], indices[SIDE * SIDE];

static void fill(uint8_t *p, size_t n, uint32_t seed) {
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525 + 1013904223;
        p[i] = (uint8_t)(seed >> 24);
    }
}

static struct sw_starlight_image true_color(unsigned channels) {
    fill(pixels, sizeof pixels, 77);
    return (struct sw_starlight_image){.width = SIDE,
                                       .height = SIDE,
                                       .raster_width = SIDE,
                                       .raster_height = SIDE,
                                       .pixels = pixels,
                                       .channels = channels,
                                       .has_alpha = channels == 4};
}

static struct sw_starlight_image palette(void) {
    fill(indices, sizeof indices, 78);
    return (struct sw_starlight_image){.width = SIDE,
                                       .height = SIDE,
                                       .raster_width = SIDE,
                                       .raster_height = SIDE,
                                       .indices = indices,
                                       .palette_count = 256};
}

/* The n-th sample of a carrier, the slow way. */
static uint8_t *sample_of(const struct sw_starlight_image *image, enum sw_starlight_carrier carrier, size_t n) {
    switch (carrier) {
    case SW_STARLIGHT_ALPHA_LSB:
    case SW_STARLIGHT_ALPHA_MSB: return image->pixels + 4 * n + 3;
    case SW_STARLIGHT_RGB_LSB:
    case SW_STARLIGHT_RGB_MSB: return image->pixels + n / 3 * image->channels + n % 3;
    default: return image->indices + n;
    }
}

static bool low_first(enum sw_starlight_carrier carrier) {
    return carrier == SW_STARLIGHT_ALPHA_LSB || carrier == SW_STARLIGHT_RGB_LSB || carrier == SW_STARLIGHT_PALETTE_LSB;
}

static void embed(struct sw_starlight_image *image, enum sw_starlight_carrier carrier, const void *data, size_t n) {
    for (size_t i = 0; i < 8 * n; i++) {
        unsigned byte = ((const uint8_t *)data)[i / 8];
        uint8_t *sample = sample_of(image, carrier, i);
        *sample = (uint8_t)((*sample & ~1) | (byte >> (low_first(carrier) ? i % 8 : 7 - i % 8) & 1));
    }
}

static void expect(const struct sw_starlight_image *image, enum sw_starlight_method method, const char *text, size_t n,
                   bool marked, const char *order) {
    struct sw_arena arena;
    struct sw_starlight_message m = {0};
    sw_arena_init(&arena, 4 << 20, 0);
    assert_true(sw_starlight_extract(image, method, &arena, &m));
    assert_int_equal(m.method, method);
    assert_int_equal(m.text.len, n);
    assert_memory_equal(m.text.data, text, n);
    assert_int_equal(m.marked, marked);
    assert_true(order ? m.bit_order && strcmp(m.bit_order, order) == 0 : !m.bit_order);
    sw_arena_deinit(&arena);
}

static void expect_none(const struct sw_starlight_image *image, enum sw_starlight_method method) {
    struct sw_arena arena;
    struct sw_starlight_message m = {0};
    sw_arena_init(&arena, 4 << 20, 0);
    if (sw_starlight_extract(image, method, &arena, &m)) {
        fail_msg("found \"%.*s\"", SW_STR_ARG(m.text));
    }
    sw_arena_deinit(&arena);
}

#define TEXT "Meet me at the caf\xc3\xa9, \xe6\x98\x8e\xe5\xa4\xa9 \xf0\x9f\x8c\x99.\n"
enum { TEXT_SIZE = sizeof TEXT - 1 };

/* ---- Carriers */

static void check_pieces(const struct sw_starlight_image *image, enum sw_starlight_carrier carrier, size_t size) {
    static uint8_t whole[SAMPLES], piece[SAMPLES];
    assert_int_equal(sw_starlight_carrier_size(image, carrier), size);
    assert_int_equal(sw_starlight_carrier_read(image, carrier, 0, whole, sizeof whole), size);
    for (size_t i = 0; i < size && carrier < SW_STARLIGHT_EXIF; i++) {
        unsigned want = 0;
        for (size_t bit = 0; bit < 8; bit++) {
            want |= (unsigned)(*sample_of(image, carrier, 8 * i + bit) & 1) << (low_first(carrier) ? bit : 7 - bit);
        }
        assert_int_equal(whole[i], want);
    }
    for (size_t n = 1; n < 200 && n <= size; n += 13) {
        for (size_t at = 0; at < size; at += n) {
            size_t left = size - at;
            assert_int_equal(sw_starlight_carrier_read(image, carrier, at, piece, n), n < left ? n : left);
            assert_memory_equal(piece, whole + at, n < left ? n : left);
        }
    }
    assert_int_equal(sw_starlight_carrier_read(image, carrier, size, piece, 1), 0);
    assert_int_equal(sw_starlight_carrier_read(image, carrier, UINT64_MAX, piece, 1), 0);
    assert_int_equal(sw_starlight_carrier_read(image, carrier, 0, piece, 0), 0);
}

static void carriers_in_pieces(void **state) {
    struct sw_starlight_image rgb = true_color(3), empty = {0};
    rgb.raster_width = 61; /* 61 * 64 * 3 / 8: no whole number of pixels in a byte */
    check_pieces(&rgb, SW_STARLIGHT_RGB_LSB, 61 * 64 * 3 / 8);
    check_pieces(&rgb, SW_STARLIGHT_RGB_MSB, 61 * 64 * 3 / 8);
    check_pieces(&rgb, SW_STARLIGHT_ALPHA_LSB, 0);
    check_pieces(&rgb, SW_STARLIGHT_PALETTE_LSB, 0);
    struct sw_starlight_image rgba = true_color(4);
    rgba.raster_height = 3;
    rgba.raster_width = 43;
    check_pieces(&rgba, SW_STARLIGHT_RGB_LSB, 43 * 3 * 3 / 8);
    check_pieces(&rgba, SW_STARLIGHT_RGB_MSB, 43 * 3 * 3 / 8);
    check_pieces(&rgba, SW_STARLIGHT_ALPHA_LSB, 43 * 3 / 8);
    check_pieces(&rgba, SW_STARLIGHT_ALPHA_MSB, 43 * 3 / 8);
    rgba.lossy = true; /* alpha stays a carrier, colours do not */
    check_pieces(&rgba, SW_STARLIGHT_RGB_LSB, 0);
    check_pieces(&rgba, SW_STARLIGHT_ALPHA_LSB, 43 * 3 / 8);
    struct sw_starlight_image p = palette();
    check_pieces(&p, SW_STARLIGHT_PALETTE_LSB, SIDE * SIDE / 8);
    check_pieces(&p, SW_STARLIGHT_PALETTE_MSB, SIDE * SIDE / 8);
    check_pieces(&p, SW_STARLIGHT_RGB_MSB, 0);
    p.trailing = SW_STR("some bytes behind the end of the image, and more of them");
    check_pieces(&p, SW_STARLIGHT_RAW, p.trailing.len);
    p.user_comment = SW_STR("ASCII\0\0\0a comment");
    check_pieces(&p, SW_STARLIGHT_EXIF, 9);
    for (int c = 0; c < SW_STARLIGHT_CARRIERS; c++) {
        check_pieces(&empty, (enum sw_starlight_carrier)c, 0);
    }
}

static void character_codes(void **state) {
    static const struct {
        struct sw_str comment;
        uint64_t size;
    } cases[] = {
        {{"ASCII\0\0\0text", 12}, 4}, {{"ascii   text", 12}, 4},      {{"UNICODE\0text", 12}, 4},
        {{"Unicode text", 12}, 4},    {{"JIS\0\0\0\0\0text", 12}, 4}, {{"\0\0\0\0\0\0\0\0text", 12}, 4},
        {{"no code here", 12}, 12},   {{"ASCII\0\0\0", 8}, 0},        {{"short", 5}, 5},
        {{"ASCIIxyztext", 12}, 12},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        struct sw_starlight_image image = {.user_comment = cases[i].comment};
        assert_int_equal(sw_starlight_carrier_size(&image, SW_STARLIGHT_EXIF), cases[i].size);
    }
}

/* ---- Bits */

static void every_bit_order_and_framing(void **state) {
    static const struct {
        enum sw_starlight_carrier carrier;
        enum sw_starlight_method method;
        unsigned channels;
        const char *order;
    } cases[] = {
        {SW_STARLIGHT_RGB_LSB, SW_STARLIGHT_METHOD_LSB_RGB, 3, "lsb-first"},
        {SW_STARLIGHT_RGB_MSB, SW_STARLIGHT_METHOD_LSB_RGB, 3, "msb-first"},
        {SW_STARLIGHT_RGB_LSB, SW_STARLIGHT_METHOD_LSB_RGB, 4, "lsb-first"},
        {SW_STARLIGHT_RGB_MSB, SW_STARLIGHT_METHOD_LSB_RGB, 4, "msb-first"},
        {SW_STARLIGHT_PALETTE_LSB, SW_STARLIGHT_METHOD_PALETTE, 0, "lsb-first"},
        {SW_STARLIGHT_PALETTE_MSB, SW_STARLIGHT_METHOD_PALETTE, 0, "msb-first"},
        {SW_STARLIGHT_ALPHA_LSB, SW_STARLIGHT_METHOD_ALPHA, 4, "lsb-first"},
        {SW_STARLIGHT_ALPHA_MSB, SW_STARLIGHT_METHOD_ALPHA, 4, "msb-first"},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        struct sw_starlight_image image = cases[i].channels ? true_color(cases[i].channels) : palette();
        expect_none(&image, cases[i].method);
        embed(&image, cases[i].carrier, "AI42" TEXT, TEXT_SIZE + 5);
        expect(&image, cases[i].method, TEXT, TEXT_SIZE, true, cases[i].order);
        embed(&image, cases[i].carrier, "AI42tiny", 9);
        expect(&image, cases[i].method, "tiny", 4, true, cases[i].order);
        embed(&image, cases[i].carrier, "AI42\1\2 odd \x7f signs", 19);
        expect(&image, cases[i].method, "\1\2 odd \x7f signs", 14, true, cases[i].order);
        embed(&image, cases[i].carrier, TEXT, TEXT_SIZE + 1);
        if (cases[i].method == SW_STARLIGHT_METHOD_ALPHA) {
            expect_none(&image, cases[i].method); /* without the mark it is none */
        } else {
            expect(&image, cases[i].method, TEXT, TEXT_SIZE, false, cases[i].order);
        }
        embed(&image, cases[i].carrier, "AI42bad \xff byte", 14);
        expect_none(&image, cases[i].method);
        embed(&image, cases[i].carrier, "AI42abc", 8); /* too short behind the mark, and seven bytes as a text */
        expect_none(&image, cases[i].method);
    }
}

static void text_that_fills_the_carrier(void **state) {
    struct sw_starlight_image image = palette();
    char text[SIDE * SIDE / 8];
    memset(text, 'x', sizeof text);
    embed(&image, SW_STARLIGHT_PALETTE_MSB, text, sizeof text);
    expect(&image, SW_STARLIGHT_METHOD_PALETTE, text, sizeof text, false, "msb-first");
    memcpy(text + sizeof text - 2, "\xe6\x98", 2); /* the last character had no room */
    embed(&image, SW_STARLIGHT_PALETTE_MSB, text, sizeof text);
    expect(&image, SW_STARLIGHT_METHOD_PALETTE, text, sizeof text - 2, false, "msb-first");
    memcpy(text, "AI42", 4);
    embed(&image, SW_STARLIGHT_PALETTE_MSB, text, sizeof text);
    expect(&image, SW_STARLIGHT_METHOD_PALETTE, text + 4, sizeof text - 6, true, "msb-first");
}

static void text_without_nul(void **state) {
    struct sw_starlight_image image = true_color(3);
    static const char text[] = "The quick brown fox jumps over the lazy dog.\xff";
    embed(&image, SW_STARLIGHT_RGB_LSB, text, sizeof text - 1);
    expect(&image, SW_STARLIGHT_METHOD_LSB_RGB, text, sizeof text - 2, false, "lsb-first");
    embed(&image, SW_STARLIGHT_RGB_LSB, "too short to mean much\xff", 23);
    expect_none(&image, SW_STARLIGHT_METHOD_LSB_RGB);
    embed(&image, SW_STARLIGHT_RGB_LSB, "UUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUU\xff", 48); /* a pattern */
    expect_none(&image, SW_STARLIGHT_METHOD_LSB_RGB);
}

static void the_better_text_wins(void **state) {
    struct sw_starlight_image image = true_color(3);
    static const char mirrored[] = "ffffffff\x04"; /* 'f' is the same from either end, EOT is a blank from the other */
    embed(&image, SW_STARLIGHT_RGB_LSB, mirrored, sizeof mirrored); /* a control character ends the first */
    expect(&image, SW_STARLIGHT_METHOD_LSB_RGB, "ffffffff ", 9, false, "msb-first");
    embed(&image, SW_STARLIGHT_RGB_MSB, mirrored, sizeof mirrored);
    expect(&image, SW_STARLIGHT_METHOD_LSB_RGB, "ffffffff ", 9, false, "lsb-first");
}

/* ---- Behind the image */

static void expect_raw(const char *trailing, size_t size, const char *text, bool marked) {
    char *exact = sw_xmalloc(size); /* so that reading over its end shows */
    memcpy(exact, trailing, size);
    struct sw_starlight_image image = {.trailing = {exact, size}};
    if (text) {
        expect(&image, SW_STARLIGHT_METHOD_RAW, text, strlen(text), marked, NULL);
    } else {
        expect_none(&image, SW_STARLIGHT_METHOD_RAW);
    }
    sw_free(exact);
}

static void behind_the_image(void **state) {
    struct sw_starlight_image none = {0};
    expect_none(&none, SW_STARLIGHT_METHOD_RAW);
    expect_raw("hidden words", 12, "hidden words", false);
    expect_raw("hidden words\0\0\0", 15, "hidden words", false);
    expect_raw("\0\0\0hidden words", 15, "hidden words", false);
    expect_raw("AI42hidden\0", 11, "hidden", true);
    expect_raw("AI42hidden", 10, "hidden", true);
    expect_raw("AI42hidden\0and more", 19, "hidden", true);
    expect_raw("\x89PNG\r\n\x1a\n\0\0\0AI42hidden\0", 22, "hidden", true);
    expect_raw("AI42\xff\xff AI42hidden\0", 18, "hidden", true); /* the first mark has no text */
    expect_raw("it says AI42 in here", 20, "it says AI42 in here", false);
    expect_raw("PK\3\4\0\0\0\xff\xfe"
               "A text behind an archive, long enough to be one",
               56, "A text behind an archive, long enough to be one", false);
    expect_raw("\1\2\3short text\4\5", 15, NULL, false);
    expect_raw("tiny", 4, NULL, false);
    expect_raw("\0\0\0\0\0\0\0\0\0\0", 10, NULL, false);
    expect_raw("\xff\xd8\xff\xe0 not a text at all \xff", 25, NULL, false);
}

static void up_to_a_megabyte(void **state) {
    enum { MOST = 1 << 20 };
    char *text = sw_xmalloc(MOST + 6);
    memset(text, 'y', MOST + 6);
    struct sw_starlight_image image = {.trailing = {text, MOST}};
    expect(&image, SW_STARLIGHT_METHOD_RAW, text, MOST, false, NULL);
    image.trailing.len = MOST + 1;
    expect_none(&image, SW_STARLIGHT_METHOD_RAW);
    memcpy(text, "AI42", 4);
    image.trailing.len = MOST + 4;
    expect(&image, SW_STARLIGHT_METHOD_RAW, text + 4, MOST, true, NULL);
    image.trailing.len = MOST + 5;
    expect_none(&image, SW_STARLIGHT_METHOD_RAW);
    struct sw_arena small;
    struct sw_starlight_message m = {.marked = true};
    sw_arena_init(&small, 4096, 0);
    image.trailing.len = MOST;
    assert_false(sw_starlight_extract(&image, SW_STARLIGHT_METHOD_RAW, &small, &m)); /* no room: none, *ret as it was */
    assert_true(m.marked && !m.text.data);
    sw_arena_deinit(&small);
    sw_free(text);
}

/* ---- EXIF */

static void expect_exif(const char *comment, size_t size, bool little, const char *text, bool marked) {
    char *exact = sw_xmalloc(size);
    memcpy(exact, comment, size);
    struct sw_starlight_image image = {.user_comment = {exact, size}, .exif_little_endian = little};
    if (text) {
        expect(&image, SW_STARLIGHT_METHOD_EXIF, text, strlen(text), marked, NULL);
    } else {
        expect_none(&image, SW_STARLIGHT_METHOD_EXIF);
    }
    sw_free(exact);
}

static void in_the_comment(void **state) {
    expect_exif("ASCII\0\0\0hidden words", 20, true, "hidden words", false);
    expect_exif("ASCII\0\0\0hidden words  \0\0", 24, true, "hidden words  ", false);
    expect_exif("ASCII\0\0\0AI42hidden\0", 19, true, "hidden", true);
    expect_exif("\0\0\0\0\0\0\0\0caf\xc3\xa9 words", 19, true, "caf\xc3\xa9 words", false);
    expect_exif("hidden words", 12, true, "hidden words", false);
    expect_exif("JIS\0\0\0\0\0hidden words", 20, true, "hidden words", false);
    expect_exif("ASCII\0\0\0shorty\0", 15, true, NULL, false);
    expect_exif("ASCII\0\0\0\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7", 17, true, NULL, false);
    expect_exif("ASCII\0\0\0", 8, true, NULL, false);
    struct sw_starlight_image none = {0};
    expect_none(&none, SW_STARLIGHT_METHOD_EXIF);
}

static void in_a_comment_of_two_bytes_a_character(void **state) {
    static const char little[] = "UNICODE\0h\0i\0d\0d\0e\0n\0 \0w\0\xe9\0\0",
                      big[] = "UNICODE\0\0h\0i\0d\0d\0e\0n\0 \0w\0\xe9";
    for (int order = 0; order < 2; order++) { /* whatever the block's own order */
        expect_exif(little, 26, order, "hidden w\xc3\xa9", false);
        expect_exif(big, 26, order, "hidden w\xc3\xa9", false);
        expect_exif("UNICODE\0\xff\xfeh\0i\0d\0d\0e\0n\0!\0!\0", 26, order, "hidden!!", false);
        expect_exif("UNICODE\0\xfe\xff\0h\0i\0d\0d\0e\0n\0!\0!", 26, order, "hidden!!", false);
        expect_exif("UNICODE\0A\0I\0004\0002\0h\0i\0d\0e\0", 24, order, "hide", true);
        expect_exif("UNICODE\0\0A\0I\0004\0002\0h\0i\0d\0e\0\0", 26, order, "hide", true);
        expect_exif("\0\0\0\0\0\0\0\0h\0i\0d\0d\0e\0n\0!\0!\0", 24, order, "hidden!!", false);
        expect_exif("UNICODE\0hidden words, plain", 27, order, "hidden words, plain", false); /* as some tools write */
        expect_exif("UNICODE\0hidden words, plain\0\0", 29, order, "hidden words, plain", false);
    }
    expect_exif("UNICODE\0h\0i\0d\0", 14, true, NULL, false);
    expect_exif("UNICODE\0\xd8\xd8\xd8\xd8\xd8\xd8\xd8\xd8\xd8\xd8", 18, true, NULL, false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(carriers_in_pieces),
        cmocka_unit_test(character_codes),
        cmocka_unit_test(every_bit_order_and_framing),
        cmocka_unit_test(text_that_fills_the_carrier),
        cmocka_unit_test(text_without_nul),
        cmocka_unit_test(the_better_text_wins),
        cmocka_unit_test(behind_the_image),
        cmocka_unit_test(up_to_a_megabyte),
        cmocka_unit_test(in_the_comment),
        cmocka_unit_test(in_a_comment_of_two_bytes_a_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
