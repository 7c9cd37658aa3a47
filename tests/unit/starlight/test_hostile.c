/* Bad input: what must be refused, with which status and reason, and that memory and time stay bounded meanwhile (files
 * here promise gigabytes; the tests would not end otherwise). After each refusal the budget is empty (files.c). */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/memory.h"
#include "files.h"

static const unsigned char palette4[] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30};
static unsigned char some_indices[16] = {0, 1, 2, 3, 3, 2, 1, 0, 0, 0, 1, 1, 2, 2, 3, 3};
static uint8_t noise[64 * 64 * 4];

static int fill_noise(void **state) {
    for (size_t i = 0; i < sizeof noise; i++) {
        noise[i] = (uint8_t)(i * 2654435761u >> 13);
    }
    return 0;
}

static struct sample some_gif(void) {
    return sample_gif(
        &(struct gif_spec){.canvas_width = 4, .canvas_height = 4, .width = 4, .height = 4, .transparent = 1}, palette4,
        some_indices);
}

static struct sample some_rle(void) {
    const unsigned char rle8[] = {3, 1, 1, 2, 0, 0, 0, 3, 3, 2, 1, 0, 0, 1};
    return sample_bmp(
        &(struct bmp_spec){
            .width = 4, .height = 2, .bits = 8, .compression = 1, .palette = palette4, .palette_count = 4},
        rle8, sizeof rle8);
}

/* One of every kind. The caller frees them. */
enum { KINDS = 13 };
static void make_kinds(struct sample all[KINDS]) {
    struct sample kinds[KINDS] = {
        sample_png(&(struct png_spec){24, 24, 8, 6, .palette = NULL}, noise, 24 * 24 * 4),
        sample_png(&(struct png_spec){24, 24, 16, 2, .interlaced = true}, noise, 24 * 24 * 6),
        sample_png(&(struct png_spec){16, 4, 2, 3, .palette = palette4, .palette_count = 4}, noise, 16),
        sample_jpeg(24, 24, 3, noise, JPEG_BASELINE, 0),
        sample_jpeg(24, 24, 3, noise, JPEG_PROGRESSIVE, 6),
        sample_jpeg(24, 24, 4, noise, JPEG_BASELINE, 0),
        sample_webp(24, 24, 3, noise, false),
        sample_webp(24, 24, 4, noise, false),
        sample_webp(24, 24, 4, noise, true),
        sample_webp_animation(24, 24, 0, 0, 8, 8, noise),
        some_gif(),
        sample_bmp(&(struct bmp_spec){.width = 24, .height = 24, .bits = 24}, noise, 24 * 24 * 3),
        some_rle(),
    };
    memcpy(all, kinds, sizeof kinds);
}

static void not_an_image(void **state) {
    static const struct sw_str begins[] = {
        SW_STR("hello, this is a text"),
        SW_STR("<svg xmlns=\"http://www.w3.org/2000/svg\"/>"),
        SW_STR("%PDF-1.7"),
        SW_STR("II*\0\x08\0\0\0"),
        SW_STR("\0\0\0 ftypavif"),
        SW_STR("iVBORw0KGgoAAAANSUhEUg"),
        SW_STR("\x89PNG\n\x1a\n\0\0"),
        SW_STR("RIFF\x10\0\0\0WAVEfmt "),
        SW_STR("GIF88a"),
        SW_STR("\xff\xd8"),
    };
    for (size_t i = 0; i < SW_COUNTOF(begins); i++) {
        struct sample s = {0};
        put(&s, begins[i].data, begins[i].len);
        put_zeros(&s, 100);
        refuse(s, SW_E_UNSUPPORTED_MEDIA, "not an image of a known format");
    }
    refuse((struct sample){0}, SW_E_UNSUPPORTED_MEDIA, "empty");
}

static void truncated_at_every_byte(void **state) {
    struct sample kinds[KINDS];
    make_kinds(kinds);
    for (int k = 0; k < KINDS; k++) {
        struct sw_starlight_image whole = expect_image(&kinds[k], SW_STARLIGHT_ALL_PIXELS);
        sw_starlight_image_deinit(&whole);
        for (size_t n = 12; n < kinds[k].len; n++) {
            struct sample cut = {kinds[k].data, n};
            expect_refused(&cut, &sw_starlight_limits_default, SW_E_UNPROCESSABLE, "cannot be decoded");
        }
        for (size_t n = 0; n < 12; n++) {
            struct sample cut = {kinds[k].data, n};
            struct sw_starlight_image image = {0};
            assert_int_not_equal(sw_starlight_decode(sample_str(&cut), &sw_starlight_limits_default,
                                                     SW_STARLIGHT_ALL_PIXELS, &image, NULL),
                                 SW_OK);
        }
        sample_free(&kinds[k]);
    }
}

/* Every byte of a PNG but its signature is under a CRC, or the CRC does not stand where the length says. */
static void png_wrong_crc(void **state) {
    struct sample s = sample_png(&(struct png_spec){5, 4, 8, 2, .palette = NULL}, noise, 5 * 4 * 3), text = {0};
    png_chunk(&text, "tEXt", "key\0value", 9);
    insert(&s, 33, text.data, text.len);
    struct sw_starlight_image image = expect_image(&s, SW_STARLIGHT_ALL_PIXELS);
    sw_starlight_image_deinit(&image);
    for (size_t at = 8; at < s.len; at++) {
        for (int bit = 0; bit < 8; bit++) {
            s.data[at] ^= 1u << bit;
            expect_refused(&s, &sw_starlight_limits_default, SW_E_UNPROCESSABLE, "PNG");
            s.data[at] ^= 1u << bit;
        }
    }
    s.data[33 + 8] ^= 1;
    expect_refused(&s, &sw_starlight_limits_default, SW_E_UNPROCESSABLE, "the CRC of chunk tEXt is wrong");
    sample_free(&s);
    sample_free(&text);
}

/* Right CRCs around a wrong Adler-32. */
static void png_wrong_adler(void **state) {
    struct sample s = png_begin(2, 1, 8, 0, 0);
    png_chunk(&s, "IDAT", "\x78\x01\x01\x03\0\xfc\xff\0\1\2\0\0\0\0", 14);
    png_end(&s);
    refuse(s, SW_E_UNPROCESSABLE, "its pixels are damaged");
}

static void zero_size(void **state) {
    struct sample s = png_begin(0, 5, 8, 2, 0);
    png_pixel_zeros(&s, 1);
    png_end(&s);
    refuse(s, SW_E_UNPROCESSABLE, "0 x 5 pixels");
    s = sample_jpeg(8, 8, 1, noise, JPEG_BASELINE, 0);
    size_t at = find(&s, "\xff\xc0", 2);
    memset(s.data + at + 5, 0, 2);
    refuse(s, SW_E_UNPROCESSABLE, "JPEG");
    s = gif_begin(5, 5);
    put(&s, "\x2c\0\0\0\0\0\0\5\0\0\2\0;", 13);
    refuse(s, SW_E_UNPROCESSABLE, "0 x 5 pixels");
    s = webp_begin();
    webp_chunk(&s, "VP8 ", "\x10\0\0\x9d\x01\x2a\0\0\5\0", 10);
    webp_end(&s);
    refuse(s, SW_E_UNPROCESSABLE, "0 x 5 pixels");
    refuse(sample_bmp(&(struct bmp_spec){.width = 0, .height = 5, .bits = 24}, noise, 8), SW_E_UNPROCESSABLE,
           "0 x 5 pixels");
    refuse(sample_bmp(&(struct bmp_spec){.width = 5, .height = 0, .bits = 8, .palette = palette4, .palette_count = 4},
                      noise, 8),
           SW_E_UNPROCESSABLE, "5 x 0 pixels");
}

static void header_of_100000_x_100000(void **state) {
    struct sample s = png_begin(100000, 100000, 8, 6, 0);
    png_pixel_zeros(&s, 10000);
    png_end(&s);
    refuse(s, SW_E_TOO_LARGE, "PNG of 100000 x 100000 pixels");
    s = png_begin(0xffffffff, 0xffffffff, 1, 0, 1);
    png_pixel_zeros(&s, 10);
    png_end(&s);
    refuse(s, SW_E_TOO_LARGE, "PNG of 4294967295 x 4294967295 pixels");
    refuse(sample_bmp(&(struct bmp_spec){.width = 100000, .height = 100000, .bits = 24}, noise, 1000), SW_E_TOO_LARGE,
           "BMP of 100000 x 100000 pixels");
    refuse(sample_bmp(&(struct bmp_spec){.width = 0x7fffffff, .height = INT32_MIN, .bits = 32}, noise, 1000),
           SW_E_TOO_LARGE, "BMP of 2147483647 x 2147483648 pixels");
    s = sample_jpeg(8, 8, 1, noise, JPEG_BASELINE, 0);
    memset(s.data + find(&s, "\xff\xc0", 2) + 5, 0xfd, 4);
    refuse(s, SW_E_TOO_LARGE, "JPEG of 65021 x 65021 pixels");
    s = gif_begin(65535, 65535);
    gif_frame_of_zeros(&s, 10, 10);
    put_text(&s, ";");
    refuse(s, SW_E_TOO_LARGE, "GIF of 65535 x 65535 pixels");
    s = gif_begin(10, 10);
    gif_frame_of_zeros(&s, 20000, 20000);
    put_text(&s, ";");
    refuse(s, SW_E_TOO_LARGE, "GIF of 20000 x 20000 pixels");
    s = webp_begin();
    webp_canvas(&s, 0x10, 1 << 24, 1 << 24);
    webp_end(&s);
    refuse(s, SW_E_TOO_LARGE, "WebP of 16777216 x 16777216 pixels");
    s = webp_begin();
    webp_chunk(&s, "VP8L", "\x2f\xff\xff\xff\x0f\0\0\0", 8);
    webp_end(&s);
    refuse(s, SW_E_TOO_LARGE, "WebP of 16384 x 16384 pixels");
}

static void png_bombs(void **state) {
    struct sample s = png_begin(10, 10, 8, 2, 0); /* 310 bytes promised, 100 MB sent */
    png_pixel_zeros(&s, 100000000);
    png_end(&s);
    refuse(s, SW_E_UNPROCESSABLE, "more pixels than its size says");
    s = png_begin(8000, 8000, 16, 6, 1); /* 512 MB promised, nothing sent */
    png_pixel_zeros(&s, 100);
    png_end(&s);
    refuse(s, SW_E_UNPROCESSABLE, "fewer pixels than its size says");
    s = png_begin(5000, 4000, 8, 0, 0); /* as large as it says: an image like any other */
    png_pixel_zeros(&s, 5001 * 4000);
    png_end(&s);
    assert_true(s.len < 40000);
    struct sw_starlight_image image = expect_image(&s, SW_STARLIGHT_LOSSLESS_PIXELS);
    assert_int_equal(image.width, 5000);
    sw_starlight_image_deinit(&image);
    sample_free(&s);
}

/* A packed EXIF profile is unpacked into a buffer of fixed size, whatever it holds, and only a few times. */
static void png_profile_bombs(void **state) {
    struct sample s = png_begin(1, 1, 8, 0, 0), z = zlib_zeros(50000000), bomb = {0};
    put(&bomb, "Raw profile type exif\0", 23);
    put(&bomb, z.data, z.len);
    png_pixel_zeros(&s, 2);
    for (int i = 0; i < 50; i++) {
        png_chunk(&s, "zTXt", bomb.data, bomb.len);
    }
    png_end(&s);
    struct sw_starlight_image image = expect_image(&s, SW_STARLIGHT_LOSSLESS_PIXELS);
    assert_null(image.user_comment.data);
    assert_int_equal(image.comment_bytes, 50 * bomb.len);
    sw_starlight_image_deinit(&image);
    sample_free(&s);
    sample_free(&z);
    sample_free(&bomb);
}

static void png_structure(void **state) {
    struct sample s = png_begin(2, 1, 8, 3, 0);
    png_pixel_zeros(&s, 3);
    png_end(&s);
    refuse(s, SW_E_UNPROCESSABLE, "no PLTE chunk");
    s = png_begin(2, 1, 8, 3, 0);
    png_chunk(&s, "PLTE", noise, 7);
    refuse(s, SW_E_UNPROCESSABLE, "PLTE chunk is wrong");
    s = png_begin(2, 1, 8, 0, 0);
    png_chunk(&s, "IDAT", noise, 3);
    png_chunk(&s, "tEXt", "a\0b", 3);
    png_chunk(&s, "IDAT", noise, 3);
    refuse(s, SW_E_UNPROCESSABLE, "do not follow each other");
    s = png_begin(2, 1, 8, 0, 0);
    png_end(&s);
    refuse(s, SW_E_UNPROCESSABLE, "without pixels");
    s = png_begin(2, 1, 8, 0, 0);
    png_chunk(&s, "CgBI", "\0\0\0\0", 4);
    refuse(s, SW_E_UNPROCESSABLE, "critical chunk");
    s = png_begin(2, 1, 8, 0, 0);
    png_chunk(&s, "IHDR", noise, 13);
    refuse(s, SW_E_UNPROCESSABLE, "critical chunk");
    refuse(png_begin(2, 1, 8, 1, 0), SW_E_UNPROCESSABLE, "does not exist");
    refuse(png_begin(2, 1, 3, 0, 0), SW_E_UNPROCESSABLE, "does not exist");
    refuse(png_begin(2, 1, 16, 3, 0), SW_E_UNPROCESSABLE, "does not exist");
    refuse(png_begin(2, 1, 0, 0, 0), SW_E_UNPROCESSABLE, "does not exist");
    refuse(png_begin(2, 1, 8, 200, 0), SW_E_UNPROCESSABLE, "does not exist");
    refuse(png_begin(2, 1, 8, 0, 2), SW_E_UNPROCESSABLE, "unknown");
    s = png_begin(1, 2, 8, 0, 0);
    png_pixels(&s, "\0\1\5\2", 4);
    png_end(&s);
    refuse(s, SW_E_UNPROCESSABLE, "unknown filter");
    s = png_begin(1, 2, 8, 0, 1);
    png_pixels(&s, "\0\1\5\2", 4);
    png_end(&s);
    refuse(s, SW_E_UNPROCESSABLE, "unknown filter");
}

static const struct sw_starlight_limits small_limits = {
    .encoded_max = 1 << 20, .pixels_max = 1000000, .frames_max = 4096, .chunks_max = 65536, .scans_max = 256};

static void gif_bombs(void **state) {
    struct sample s = gif_begin(1000, 1000); /* 17 megapixels in 30 kB */
    for (int i = 0; i < 17; i++) {
        gif_frame_of_zeros(&s, 1000, 1000);
    }
    put_text(&s, ";");
    assert_true(s.len < 40000);
    expect_refused(&s, &small_limits, SW_E_UNPROCESSABLE, "its frames have more than 16000000 pixels together");
    struct sw_starlight_image image = expect_image(&s, SW_STARLIGHT_LOSSLESS_PIXELS);
    assert_int_equal(image.frames, 17);
    sw_starlight_image_deinit(&image);
    sample_free(&s);
}

static void webp_bombs(void **state) {
    struct sample still = sample_webp(16, 16, 4, noise, true), s = webp_begin();
    webp_canvas(&s, 0x10, 8000, 8000); /* a small picture on a huge canvas */
    put(&s, still.data + 12, still.len - 12);
    webp_end(&s);
    refuse(s, SW_E_UNPROCESSABLE, "not as large as its canvas");
    s = copy_of(&still); /* 60 megapixels of nothing */
    s.data[21] = 0x3f, s.data[22] = 0xdf, s.data[23] = 0xcf, s.data[24] = 0x17;
    expect_refused(&s, &sw_starlight_limits_default, SW_E_UNPROCESSABLE, "WebP");
    sample_free(&s);
    sample_free(&still);
    s = webp_begin();
    webp_chunk(&s, "VP8 ", "\x10\0\0\x9d\x01\x2a\x40\x1f\x40\x1f", 10); /* 8000 x 8000 without data */
    webp_end(&s);
    refuse(s, SW_E_UNPROCESSABLE, "WebP");
}

static void thousands_of_frames(void **state) {
    struct sample s = gif_begin(1, 1);
    for (int i = 0; i < 5000; i++) {
        gif_frame_of_zeros(&s, 1, 1);
    }
    put_text(&s, ";");
    refuse(s, SW_E_UNPROCESSABLE, "GIF cannot be decoded: it has more than 4096 frames");
    s = png_begin(1, 1, 8, 0, 0);
    for (int i = 0; i < 5000; i++) {
        png_chunk(&s, "fcTL", noise, 26);
    }
    png_pixel_zeros(&s, 2);
    png_end(&s);
    refuse(s, SW_E_UNPROCESSABLE, "PNG cannot be decoded: it has more than 4096 frames");
    s = sample_webp_animation(24, 24, 0, 0, 8, 8, noise);
    size_t at = find(&s, "ANMF", 4);
    struct sample frame = {0};
    put(&frame, s.data + at, s.len - at);
    for (int i = 0; i < 5000; i++) {
        put(&s, frame.data, frame.len);
    }
    webp_end(&s);
    sample_free(&frame);
    refuse(s, SW_E_UNPROCESSABLE, "WebP cannot be decoded: it has more than 4096 frames");
}

static void thousands_of_chunks(void **state) {
    struct sample png = png_begin(1, 1, 8, 0, 0), jpeg = {0}, gif = gif_begin(1, 1), webp = webp_begin();
    put(&jpeg, "\xff\xd8", 2);
    webp_canvas(&webp, 0, 1, 1);
    for (int i = 0; i < 70000; i++) {
        png_chunk(&png, "prVt", NULL, 0);
        put(&jpeg, "\xff\xe5\0\2", 4);
        put(&gif, "\x21\xfe\0", 3);
        webp_chunk(&webp, "none", NULL, 0);
    }
    webp_end(&webp);
    refuse(png, SW_E_UNPROCESSABLE, "PNG cannot be decoded: it has more than 65536 chunks");
    refuse(jpeg, SW_E_UNPROCESSABLE, "JPEG cannot be decoded: it has more than 65536 chunks");
    refuse(gif, SW_E_UNPROCESSABLE, "GIF cannot be decoded: it has more than 65536 chunks");
    refuse(webp, SW_E_UNPROCESSABLE, "WebP cannot be decoded: it has more than 65536 chunks");
}

/* The last scan of a progressive JPEG, again and again. */
static struct sample many_scans(unsigned side, int count) {
    uint8_t *flat = sw_xcalloc(side, side);
    struct sample s = sample_jpeg(side, side, 1, flat, JPEG_PROGRESSIVE, 0), scan = {0};
    sw_free(flat);
    size_t at = s.len - 2;
    while (memcmp(s.data + at, "\xff\xda", 2) != 0) {
        at--;
    }
    put(&scan, s.data + at, s.len - 2 - at);
    s.len -= 2;
    for (int i = 0; i < count; i++) {
        put(&s, scan.data, scan.len);
    }
    put(&s, "\xff\xd9", 2);
    sample_free(&scan);
    return s;
}

static void jpeg_with_10000_scans(void **state) {
    refuse(many_scans(64, 10000), SW_E_UNPROCESSABLE, "scans; at most 256 are taken");
    refuse(many_scans(8000, 100), SW_E_UNPROCESSABLE, "scans; at most 32 are taken"); /* each of 64 megapixels */
}

static void jpeg_damage(void **state) {
    struct sample whole = sample_jpeg(64, 64, 3, noise, JPEG_BASELINE, 0), s = copy_of(&whole);
    s.len = s.len / 2;
    put(&s, "\xff\xd9", 2); /* an end, but half of the rows */
    refuse(s, SW_E_UNPROCESSABLE, "JPEG cannot be decoded");
    s = sample_jpeg(64, 64, 3, noise, JPEG_PROGRESSIVE, 0);
    for (size_t i = 0; i < 20; i++) { /* ones: no code begins so */
        memcpy(s.data + s.len / 2 + 2 * i, "\xff", 2);
    }
    refuse(s, SW_E_UNPROCESSABLE, "JPEG cannot be decoded");
    s = copy_of(&whole);
    insert(&s, find(&s, "\xff\xda", 2), "\xff\xd8", 2);
    refuse(s, SW_E_UNPROCESSABLE, "an image begins inside it");
    s = copy_of(&whole);
    insert(&s, 2, "\xff\xe1\0\1", 4);
    refuse(s, SW_E_UNPROCESSABLE, "length is wrong");
    s = (struct sample){0};
    put(&s, "\xff\xd8\xff\xd9", 4);
    refuse(s, SW_E_UNPROCESSABLE, "JPEG cannot be decoded");
    sample_free(&whole);
}

static void gif_damage(void **state) {
    static const struct {
        const char *codes;
        size_t n;
        const char *reason;
    } cases[] = {
        {"\2\2\x04\x0a\0;", 6, "end early"},         /* clear, 0, 0, end: 2 of 4 */
        {"\2\2\x3c\0\0;", 5, "damaged"},             /* clear, then a code that is not there yet */
        {"\2\1\x04\0;", 5, "truncated"},             /* the blocks end */
        {"\2\2\x04\x00\1", 5, "truncated"},          /* the file ends inside a block */
        {"\x09\2\x04\x0a\0;", 6, "impossible size"}, /* codes of 10 bits */
        {"\0\2\x04\x0a\0;", 6, "impossible size"},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        struct sample s = gif_begin(2, 2);
        put(&s, "\x2c\0\0\0\0\2\0\2\0\0", 10);
        put(&s, cases[i].codes, cases[i].n);
        refuse(s, SW_E_UNPROCESSABLE, cases[i].reason);
    }
    struct sample s = gif_begin(2, 2);
    put_text(&s, ";");
    refuse(s, SW_E_UNPROCESSABLE, "holds no picture");
    s = gif_begin(2, 2);
    put_text(&s, "what");
    refuse(s, SW_E_UNPROCESSABLE, "unknown type");
    s = some_gif();
    s.len--;
    refuse(s, SW_E_UNPROCESSABLE, "no trailer");
    s = gif_begin(100, 100); /* a broken second frame counts too */
    gif_frame_of_zeros(&s, 100, 100);
    put(&s, "\x2c\0\0\0\0\2\0\2\0\0\2\2\x04\x0a\0;", 16);
    refuse(s, SW_E_UNPROCESSABLE, "frame 2: its picture data end early");
}

static void webp_damage(void **state) {
    struct sample still = sample_webp(16, 16, 3, noise, true), s = copy_of(&still);
    s.data[4]++;
    refuse(s, SW_E_UNPROCESSABLE, "RIFF size");
    s = copy_of(&still);
    memset(s.data + 4, 0, 4);
    refuse(s, SW_E_UNPROCESSABLE, "RIFF size");
    s = copy_of(&still);
    s.data[16] += 8;
    refuse(s, SW_E_UNPROCESSABLE, "chunk's size is wrong");
    s = copy_of(&still);
    memset(s.data + 40, 0xa5, 60);
    refuse(s, SW_E_UNPROCESSABLE, "WebP cannot be decoded");
    s = copy_of(&still);
    put(&s, still.data + 12, still.len - 12);
    webp_end(&s);
    refuse(s, SW_E_UNPROCESSABLE, "two pictures");
    s = webp_begin();
    webp_canvas(&s, 0, 16, 16);
    webp_end(&s);
    refuse(s, SW_E_UNPROCESSABLE, "holds no picture");
    s = sample_webp_animation(10, 10, 4, 4, 8, 8, noise);
    refuse(s, SW_E_UNPROCESSABLE, "lies outside");
    sample_free(&still);
}

static void bmp_damage(void **state) {
    struct sample s = sample_bmp(&(struct bmp_spec){.width = 4, .height = 4, .bits = 24}, noise, 48);
    s.data[2]++;
    refuse(s, SW_E_UNPROCESSABLE, "size field is larger");
    s = sample_bmp(&(struct bmp_spec){.width = 4, .height = 4, .bits = 24}, noise, 40);
    refuse(s, SW_E_UNPROCESSABLE, "truncated");
    s = sample_bmp(&(struct bmp_spec){.width = 4, .height = 4, .bits = 24}, noise, 48);
    memset(s.data + 10, 0xff, 4); /* pixels far away */
    refuse(s, SW_E_UNPROCESSABLE, "truncated");
    s = sample_bmp(&(struct bmp_spec){.width = 7000, .height = 7000, .bits = 32}, noise, 400);
    refuse(s, SW_E_UNPROCESSABLE, "truncated");
    refuse(sample_bmp(&(struct bmp_spec){.width = -4, .height = 4, .bits = 24}, noise, 48), SW_E_UNPROCESSABLE,
           "negative");
    refuse(sample_bmp(&(struct bmp_spec){.width = 4, .height = 4, .bits = 5}, noise, 48), SW_E_UNPROCESSABLE,
           "not supported");
    refuse(sample_bmp(
               &(struct bmp_spec){.width = 4, .height = 4, .bits = 32, .compression = 3, .masks = {5, 0xff00, 0xff}},
               noise, 64),
           SW_E_UNPROCESSABLE, "masks");
    const unsigned char wild[] = {255, 1, 255, 1, 0, 2, 255, 255, 0, 2, 255, 255, 9, 9, 0, 1}; /* runs off every edge */
    s = sample_bmp(
        &(struct bmp_spec){
            .width = 4, .height = 2, .bits = 8, .compression = 1, .palette = palette4, .palette_count = 4},
        wild, sizeof wild);
    struct sw_starlight_image image = expect_image(&s, SW_STARLIGHT_LOSSLESS_PIXELS);
    sw_starlight_image_deinit(&image);
    sample_free(&s);
}

static void over_the_size_limits(void **state) {
    struct sample s = png_begin(10, 1, 8, 0, 0);
    png_pixel_zeros(&s, 11);
    png_end(&s);
    put_zeros(&s, (16 << 20) - s.len);
    struct sw_starlight_image image = expect_image(&s, SW_STARLIGHT_LOSSLESS_PIXELS);
    sw_starlight_image_deinit(&image);
    put_zeros(&s, 1);
    refuse(s, SW_E_TOO_LARGE, "16777217 bytes; at most 16777216");
    s = png_begin(8000, 8001, 1, 0, 0);
    png_pixel_zeros(&s, 1001 * 8001);
    png_end(&s);
    refuse(s, SW_E_TOO_LARGE, "at most 64000000 pixels");
}

static void memory_budget(void **state) {
    struct sample small = png_begin(500, 500, 8, 2, 0), large = png_begin(2000, 2000, 8, 2, 0);
    png_pixel_zeros(&small, 1501 * 500);
    png_end(&small);
    png_pixel_zeros(&large, 6001 * 2000);
    png_end(&large);
    sw_starlight_memory_budget(2000000);
    struct sw_starlight_image first = expect_image(&small, SW_STARLIGHT_LOSSLESS_PIXELS), other;
    struct sw_starlight_image second = expect_image(&small, SW_STARLIGHT_LOSSLESS_PIXELS);
    uint64_t used = sw_starlight_memory_used();
    assert_in_range(used, 1500000, 1520000);
    struct sw_error err;
    assert_int_equal(sw_starlight_decode(sample_str(&small), &sw_starlight_limits_default, SW_STARLIGHT_LOSSLESS_PIXELS,
                                         &other, &err),
                     SW_E_UNAVAILABLE);
    assert_string_equal(err.message, "too many large images at once; try again");
    assert_int_equal(sw_starlight_memory_used(), used);
    sw_starlight_image_deinit(&first);
    first = expect_image(&small, SW_STARLIGHT_LOSSLESS_PIXELS);
    sw_starlight_image_deinit(&first);
    sw_starlight_image_deinit(&second);
    expect_refused(&large, &sw_starlight_limits_default, SW_E_TOO_LARGE, "one image may take at most 1 MB");
    sw_starlight_memory_budget(1ull << 30);
    first = expect_image(&large, SW_STARLIGHT_LOSSLESS_PIXELS);
    sw_starlight_image_deinit(&first);
    assert_int_equal(sw_starlight_memory_used(), 0);
    sample_free(&small);
    sample_free(&large);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(not_an_image),
        cmocka_unit_test(truncated_at_every_byte),
        cmocka_unit_test(png_wrong_crc),
        cmocka_unit_test(png_wrong_adler),
        cmocka_unit_test(zero_size),
        cmocka_unit_test(header_of_100000_x_100000),
        cmocka_unit_test(png_bombs),
        cmocka_unit_test(png_profile_bombs),
        cmocka_unit_test(png_structure),
        cmocka_unit_test(gif_bombs),
        cmocka_unit_test(webp_bombs),
        cmocka_unit_test(thousands_of_frames),
        cmocka_unit_test(thousands_of_chunks),
        cmocka_unit_test(jpeg_with_10000_scans),
        cmocka_unit_test(jpeg_damage),
        cmocka_unit_test(gif_damage),
        cmocka_unit_test(webp_damage),
        cmocka_unit_test(bmp_damage),
        cmocka_unit_test(over_the_size_limits),
        cmocka_unit_test(memory_budget),
    };
    return cmocka_run_group_tests(tests, fill_noise, NULL);
}
