/* EXIF: the UserComment wherever it may stand, in each container; and blocks that lie. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/memory.h"
#include "files.h"

#define COMMENT "ASCII\0\0\0a comment"
enum { COMMENT_SIZE = sizeof COMMENT - 1 };

static struct sample png_with(const char *type, const void *data, size_t size) {
    struct sample s = png_begin(1, 1, 8, 0, 0);
    if (type) {
        png_chunk(&s, type, data, size);
    }
    png_pixel_zeros(&s, 2);
    png_end(&s);
    return s;
}

/* The image is whole in any case. */
static struct sw_starlight_image decode_block(const void *block, size_t size, struct sample *keep) {
    *keep = png_with("eXIf", block, size);
    struct sw_starlight_image image = expect_image(keep, SW_STARLIGHT_LOSSLESS_PIXELS);
    assert_int_equal(image.exif_bytes, size);
    return image;
}

/* comment NULL: none is found. Of -1 entries nothing is expected. */
static void check(const void *block, size_t size, const char *comment, size_t comment_size, int entries) {
    struct sample s;
    struct sw_starlight_image image = decode_block(block, size, &s);
    assert_true(!comment == !image.user_comment.data);
    if (comment) {
        assert_int_equal(image.user_comment.len, comment_size);
        assert_memory_equal(image.user_comment.data, comment, comment_size);
    }
    assert_true(entries < 0 || image.exif_entries == (uint32_t)entries);
    sw_starlight_image_deinit(&image);
    sample_free(&s);
}

static void both_orders_and_directories(void **state) {
    for (int little = 0; little < 2; little++) {
        for (int in_ifd0 = 0; in_ifd0 < 2; in_ifd0++) {
            struct sample block = exif_block(little, in_ifd0, COMMENT, COMMENT_SIZE), s;
            check(block.data, block.len, COMMENT, COMMENT_SIZE, in_ifd0 ? 1 : 2);
            struct sw_starlight_image image = decode_block(block.data, block.len, &s);
            assert_int_equal(image.exif_little_endian, little);
            sw_starlight_image_deinit(&image);
            sample_free(&s);
            for (size_t cut = 0; cut < block.len; cut++) { /* never read over the end; whole or nothing */
                check(block.data, cut, NULL, 0, -1);
            }
            sample_free(&block);
        }
    }
}

static void short_values_lie_in_the_entry(void **state) {
    static const char block[] = "MM\0\x2a\0\0\0\x08\0\1\x92\x86\0\7\0\0\0\3abc\0\0\0\0";
    check(block, sizeof block - 1, "abc", 3, 1);
    static const char ascii[] = "MM\0\x2a\0\0\0\x08\0\1\x92\x86\0\2\0\0\0\4abc\0\0\0\0";
    check(ascii, sizeof ascii - 1, "abc", 4, 1);
    static const char shorts[] = "MM\0\x2a\0\0\0\x08\0\1\x92\x86\0\3\0\0\0\2abc\0\0\0\0";
    check(shorts, sizeof shorts - 1, NULL, 0, 1);
    static const char none[] = "MM\0\x2a\0\0\0\x08\0\1\x92\x86\0\7\0\0\0\0abc\0\0\0\0";
    check(none, sizeof none - 1, NULL, 0, 1);
}

/* IFD0 with a comment of blanks and a pointer to an Exif IFD with `second`. */
static void check_two(const char *first, size_t first_size, const char *second, size_t second_size, const char *want,
                      size_t want_size) {
    struct sample b = {0};
    size_t exif_at = 8 + 2 + 24 + 4, first_at = exif_at + 2 + 12 + 4;
    put(&b, "MM\0\x2a\0\0\0\x08\0\2", 10);
    put(&b, "\x87\x69\0\4\0\0\0\1", 8);
    put_be(&b, exif_at, 4);
    put(&b, "\x92\x86\0\7", 4);
    put_be(&b, first_size, 4);
    put_be(&b, first_at, 4);
    put(&b, "\0\0\0\0\0\1\x92\x86\0\7", 10);
    put_be(&b, second_size, 4);
    put_be(&b, first_at + first_size, 4);
    put_be(&b, 0, 4);
    put(&b, first, first_size);
    put(&b, second, second_size);
    check(b.data, b.len, want, want_size, 3);
    sample_free(&b);
}

static void the_first_that_is_not_blank(void **state) {
    check_two("ASCII\0\0\0one", 11, "ASCII\0\0\0two", 11, "ASCII\0\0\0one", 11);
    check_two("ASCII\0\0\0   \0", 12, "ASCII\0\0\0two", 11, "ASCII\0\0\0two", 11);
    check_two("ASCII\0\0\0one", 11, "\0\0\0\0\0\0\0\0\0\0", 10, "ASCII\0\0\0one", 11);
    check_two("ASCII\0\0\0   \0", 12, "\0\0\0\0\0\0\0\0\0\0", 10, "ASCII\0\0\0   \0", 12);
}

static void loops_end(void **state) {
    static const char self[] = "MM\0\x2a\0\0\0\x08\0\0\0\0\0\x08"; /* the next directory is this one */
    check(self, sizeof self - 1, NULL, 0, 0);
    struct sample b = {0}; /* two directories that point at each other, by all pointers there are */
    static const unsigned tags[] = {0x8769, 0x8825, 0xa005, 0x014a};
    put(&b, "II\x2a\0\x08\0\0\0", 8);
    for (int ifd = 0; ifd < 2; ifd++) {
        put_le(&b, 4, 2);
        for (int i = 0; i < 4; i++) {
            put_le(&b, tags[i], 2);
            put_le(&b, 4, 2);
            put_le(&b, 1, 4);
            put_le(&b, ifd == i % 2 ? 62 : 8, 4);
        }
        put_le(&b, ifd == 0 ? 62 : 8, 4);
    }
    assert_int_equal(b.len, 8 + 2 * 54);
    check(b.data, b.len, NULL, 0, 8);
    sample_free(&b);
    struct sample many = {0}; /* 65535 entries, of which a bounded number is read */
    put(&many, "II\x2a\0\x08\0\0\0\xff\xff", 10);
    put_zeros(&many, 65535 * 12 + 4);
    check(many.data, many.len, NULL, 0, 4096);
    sample_free(&many);
}

static void lies(void **state) {
    static const struct {
        const char *block;
        size_t n;
    } cases[] = {
        {"MM\0\x2a\xff\xff\xff\xff\0\0", 10},                                         /* directory far away */
        {"MM\0\x2a\0\0\0\x08\xff\xff", 10},                                           /* 65535 entries in nothing */
        {"MM\0\x2a\0\0\0\x08\0\1\x92\x86\0\7\xff\xff\xff\xff\0\0\0\x1a\0\0\0\0", 26}, /* 4 GB of comment */
        {"MM\0\x2a\0\0\0\x08\0\1\x92\x86\0\7\0\0\0\x09\xff\xff\xff\xf0\0\0\0\0", 26}, /* far away */
        {"MM\0\x2a\0\0\0\x08\0\1\x92\x86\xff\xff\0\0\0\x09\0\0\0\x08\0\0\0\0", 26},   /* of no known type */
        {"MM\x2a\0\0\0\0\x08\0\0\0\0\0\0", 14},
        {"XX\x2a\0\x08\0\0\0\0\0\0\0\0\0", 14},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        check(cases[i].block, cases[i].n, NULL, 0, -1);
    }
}

static void expect_comment(struct sample s, const char *want, size_t n) {
    struct sw_starlight_image image = expect_image(&s, SW_STARLIGHT_LOSSLESS_PIXELS);
    assert_int_equal(image.user_comment.len, n);
    assert_memory_equal(image.user_comment.data, want, n);
    sw_starlight_image_deinit(&image);
    sample_free(&s);
}

/* "Raw profile type exif" and "... APP1" as ImageMagick writes them. */
static void packed_in_png_texts(void **state) {
    struct sample block = exif_block(true, false, COMMENT, COMMENT_SIZE);
    static const char *const names[] = {"Raw profile type exif", "Raw profile type APP1"};
    for (int k = 0; k < 2; k++) {
        struct sample text = {0};
        put(&text, names[k], strlen(names[k]) + 1);
        put_text(&text, "\nexif\n      ");
        put_text(&text, "66\n");
        for (size_t i = 0; i < block.len + 6; i++) {
            char hex[4];
            uint8_t byte = i < 6 ? (uint8_t) "Exif\0"[i] : block.data[i - 6];
            snprintf(hex, sizeof hex, "%02x%s", byte, i % 36 == 35 ? "\n" : "");
            put_text(&text, hex);
        }
        expect_comment(png_with("tEXt", text.data, text.len), COMMENT, COMMENT_SIZE);
        struct sample z = {0}, png = png_begin(1, 1, 8, 0, 0); /* the same through zlib: png_pixels compresses */
        size_t head = strlen(names[k]) + 1, before = png.len;
        png_pixels(&png, text.data + head, text.len - head);
        put(&z, names[k], head);
        put(&z, "\0", 1);
        put(&z, png.data + before + 8, png.len - before - 12);
        expect_comment(png_with("zTXt", z.data, z.len), COMMENT, COMMENT_SIZE);
        sample_free(&z);
        sample_free(&png);
        sample_free(&text);
    }
    sample_free(&block);
}

static void several_segments_in_jpeg(void **state) {
    uint8_t gray[64] = {0};
    struct sample blank = exif_block(false, false, "ASCII\0\0\0     ", 13),
                  one = exif_block(true, true, "ASCII\0\0\0one", 11),
                  two = exif_block(true, true, "ASCII\0\0\0two", 11);
    struct sample s = sample_jpeg(8, 8, 1, gray, JPEG_BASELINE, 0);
    jpeg_segment(&s, 0xe1, "Exif\0", 6, two.data, two.len); /* each goes before those that are there */
    jpeg_segment(&s, 0xe1, "Exif\0", 6, one.data, one.len);
    jpeg_segment(&s, 0xe1, "Exif\0", 6, blank.data, blank.len);
    jpeg_segment(&s, 0xe1, "Exif\0", 6, "nonsense", 8);
    expect_comment(s, "ASCII\0\0\0one", 11);
    sample_free(&blank);
    sample_free(&one);
    sample_free(&two);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_orders_and_directories),
        cmocka_unit_test(short_values_lie_in_the_entry),
        cmocka_unit_test(the_first_that_is_not_blank),
        cmocka_unit_test(loops_end),
        cmocka_unit_test(lies),
        cmocka_unit_test(packed_in_png_texts),
        cmocka_unit_test(several_segments_in_jpeg),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
