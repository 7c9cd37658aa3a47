/* Each decoder against known pixels; cut at every byte; hostile headers. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/memory.h"
#include "pipeline/image.h"
#include "samples.h"

static const struct sw_image_limits limits = {.pixels_max = 1000000};

/* Red, green / blue, gray(10,20,30): 2 x 2. */
static const unsigned char rgb4[] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30};
static const unsigned char palette4[] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30};

static struct sw_image decode(const struct sample *s) {
    struct sw_image image = {0};
    struct sw_error err = {0};
    if (sw_image_decode(sample_str(s), &limits, &image, &err)) {
        fail_msg("%s", err.message);
    }
    return image;
}

/* Decodes (and frees) the sample; compares with the pixels within a tolerance. */
static void expect(struct sample s, uint32_t width, uint32_t height, uint32_t channels, const unsigned char *pixels,
                   int tolerance) {
    struct sw_image image = decode(&s);
    assert_int_equal(image.width, width);
    assert_int_equal(image.height, height);
    assert_int_equal(image.channels, channels);
    for (size_t i = 0; i < (size_t)width * height * channels; i++) {
        if (abs((int)image.pixels[i] - (int)pixels[i]) > tolerance) {
            fail_msg("value %zu: got %d, want %d", i, image.pixels[i], pixels[i]);
        }
    }
    sw_image_deinit(&image);
    sample_free(&s);
}

static void refuse(struct sw_str bytes, sw_status status, const char *reason) {
    struct sw_image image = {0};
    struct sw_error err = {0};
    assert_int_equal(sw_image_decode(bytes, &limits, &image, &err), status);
    assert_null(image.pixels);
    if (reason && !strstr(err.message, reason)) {
        fail_msg("\"%s\" does not say \"%s\"", err.message, reason);
    }
}

/* Every proper prefix must be refused, save the last `tail` bytes, which the format does not need. */
static void refuse_prefixes(struct sample s, size_t tail) {
    for (size_t n = 0; n + tail < s.len; n++) {
        unsigned char *cut = sw_xmalloc(n + 1); /* exact size, so that reading over shows */
        memcpy(cut, s.data, n);
        struct sw_image image = {0};
        sw_status status = sw_image_decode((struct sw_str){(char *)cut, n}, &limits, &image, NULL);
        if (status != SW_E_UNPROCESSABLE && !(status == SW_E_UNSUPPORTED_MEDIA && n < 12)) {
            fail_msg("prefix of %zu of %zu bytes: status %d", n, s.len, status);
        }
        sw_free(cut);
    }
    sample_free(&s);
}

static void png_colour_types(void **state) {
    expect(sample_png(&(struct png_spec){2, 2, 8, 2, .palette = NULL}, rgb4, 12), 2, 2, 3, rgb4, 0);
    expect(sample_png(&(struct png_spec){2, 2, 8, 2, .interlaced = true}, rgb4, 12), 2, 2, 3, rgb4, 0);
    const unsigned char gray[] = {0, 100, 200, 255};
    expect(sample_png(&(struct png_spec){2, 2, 8, 0, .palette = NULL}, gray, 4), 2, 2, 1, gray, 0);
    const unsigned char bits[] = {0x40, 0x80}; /* 0 1 / 1 0 */
    expect(sample_png(&(struct png_spec){2, 2, 1, 0, .palette = NULL}, bits, 2), 2, 2, 1,
           (unsigned char[]){0, 255, 255, 0}, 0);
    const unsigned char nibbles[] = {0x0f, 0x81};
    expect(sample_png(&(struct png_spec){2, 2, 4, 0, .palette = NULL}, nibbles, 2), 2, 2, 1,
           (unsigned char[]){0, 255, 136, 17}, 0);
    const unsigned char gray_alpha[] = {50, 255, 60, 0};
    expect(sample_png(&(struct png_spec){2, 1, 8, 4, .palette = NULL}, gray_alpha, 4), 2, 1, 4,
           (unsigned char[]){50, 50, 50, 255, 60, 60, 60, 0}, 0);
    const unsigned char rgba[] = {1, 2, 3, 4, 5, 6, 7, 255};
    expect(sample_png(&(struct png_spec){2, 1, 8, 6, .palette = NULL}, rgba, 8), 2, 1, 4, rgba, 0);
}

static void png_deep_and_palette(void **state) {
    const unsigned char deep[] = {0x12, 0x34, 0xff, 0xff};
    expect(sample_png(&(struct png_spec){2, 1, 16, 0, .palette = NULL}, deep, 4), 2, 1, 3,
           (unsigned char[]){0x12, 0x12, 0x12, 0xff, 0xff, 0xff}, 1);
    const unsigned char deep_rgba[] = {0x80, 0, 0x40, 0, 0x20, 0, 0xff, 0xff};
    expect(sample_png(&(struct png_spec){1, 1, 16, 6, .palette = NULL}, deep_rgba, 8), 1, 1, 4,
           (unsigned char[]){0x80, 0x40, 0x20, 0xff}, 1);
    const unsigned char indices[] = {0x1b, 0x00}; /* 0 1 2 3 in two bits each; a second row of 0 */
    expect(sample_png(&(struct png_spec){4, 1, 2, 3, .palette = palette4, .palette_count = 4}, indices, 1), 4, 1, 3,
           palette4, 0);
    const unsigned char alphas[] = {0, 128};
    expect(sample_png(&(struct png_spec){4, 1, 2, 3, .palette = palette4, .palette_count = 4, .alphas = alphas,
                                         .alpha_count = 2},
                      indices, 1),
           4, 1, 4, (unsigned char[]){255, 0, 0, 0, 0, 255, 0, 128, 0, 0, 255, 255, 10, 20, 30, 255}, 0);
    const unsigned char key[] = {0, 255, 0};
    expect(sample_png(&(struct png_spec){2, 2, 8, 2, .alphas = key, .alpha_count = 3}, rgb4, 12), 2, 2, 4,
           (unsigned char[]){255, 0, 0, 255, 0, 255, 0, 0, 0, 0, 255, 255, 10, 20, 30, 255}, 0);
    const unsigned char gray[] = {7, 9};
    expect(sample_png(&(struct png_spec){2, 1, 8, 0, .trns_gray = 9}, gray, 2), 2, 1, 4,
           (unsigned char[]){7, 7, 7, 255, 9, 9, 9, 0}, 0);
}

static void jpeg_kinds(void **state) {
    unsigned char flat[16 * 16 * 3];
    for (size_t i = 0; i < sizeof flat; i++) {
        flat[i] = (unsigned char[]){200, 100, 50}[i % 3];
    }
    expect(sample_jpeg(16, 16, 3, flat, JPEG_BASELINE, 0), 16, 16, 3, flat, 2);
    expect(sample_jpeg(16, 16, 3, flat, JPEG_PROGRESSIVE, 0), 16, 16, 3, flat, 2);
    expect(sample_jpeg(7, 5, 3, flat, JPEG_PROGRESSIVE, 0), 7, 5, 3, flat, 2);
    unsigned char gray[8 * 8], inks[8 * 8 * 4], as_rgb[8 * 8 * 3];
    for (size_t i = 0; i < 64; i++) {
        gray[i] = (unsigned char)(i * 4);
        memcpy(inks + 4 * i, (unsigned char[]){255, 128, 0, 200}, 4); /* inverted: C 0, M half, Y full, K a little */
        memcpy(as_rgb + 3 * i, (unsigned char[]){200, 100, 0}, 3);
    }
    expect(sample_jpeg(8, 8, 1, gray, JPEG_BASELINE, 0), 8, 8, 1, gray, 3);
    expect(sample_jpeg(8, 8, 4, inks, JPEG_BASELINE, 0), 8, 8, 3, as_rgb, 3);
}

/* The same upright picture stored in all eight ways: top-left dark, top-right white (3 wide, 2 high). */
static void jpeg_orientation(void **state) {
    enum { W = 24, H = 16 };
    static unsigned char upright[W * H], stored[W * H];
    for (int y = 0; y < H; y++) {
        for (int x = 0; x < W; x++) {
            upright[y * W + x] = (unsigned char)(x * 8 + y * 2);
        }
    }
    const struct sw_image_limits turn = {.pixels_max = 1000000, .exif_orientation = true};
    for (int o = 1; o <= 8; o++) {
        int w = o >= 5 ? H : W, h = o >= 5 ? W : H;
        for (int y = 0; y < h; y++) {
            for (int x = 0; x < w; x++) { /* stored (x, y) shows upright (u, v): EXIF's table of the eight values */
                int u = (int[]){x, W - 1 - x, W - 1 - x, x, y, W - 1 - y, W - 1 - y, y}[o - 1];
                int v = (int[]){y, y, H - 1 - y, H - 1 - y, x, x, H - 1 - x, H - 1 - x}[o - 1];
                stored[y * w + x] = upright[v * W + u];
            }
        }
        struct sample s = sample_jpeg((unsigned)w, (unsigned)h, 1, stored, JPEG_BASELINE, o);
        struct sw_image image = {0};
        assert_int_equal(sw_image_decode(sample_str(&s), &turn, &image, NULL), SW_OK);
        assert_int_equal(image.width, W);
        assert_int_equal(image.height, H);
        for (int i = 0; i < W * H; i++) {
            if (abs(image.pixels[i] - upright[i]) > 4) {
                fail_msg("orientation %d, pixel %d: got %d, want %d", o, i, image.pixels[i], upright[i]);
            }
        }
        sw_image_deinit(&image);
        expect(s, (uint32_t)w, (uint32_t)h, 1, stored, 4); /* not asked for: as stored */
    }
}

static void webp_kinds(void **state) {
    unsigned char flat[16 * 16 * 3], rgba[] = {1, 2, 3, 255, 40, 50, 60, 128};
    for (size_t i = 0; i < sizeof flat; i++) {
        flat[i] = (unsigned char[]){200, 100, 50}[i % 3];
    }
    expect(sample_webp(2, 2, 3, rgb4, true), 2, 2, 3, rgb4, 0);
    expect(sample_webp(2, 1, 4, rgba, true), 2, 1, 4, rgba, 0);
    expect(sample_webp(16, 16, 3, flat, false), 16, 16, 3, flat, 4);
    expect(sample_webp_animation(2, 1, 0, 0, 2, 1, rgba), 2, 1, 4, rgba, 0);
    const unsigned char canvas[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 255, 40, 50, 60, 128};
    expect(sample_webp_animation(4, 1, 2, 0, 2, 1, rgba), 4, 1, 4, canvas, 0);
    struct sample outside = sample_webp_animation(3, 1, 2, 0, 2, 1, rgba);
    refuse(sample_str(&outside), SW_E_UNPROCESSABLE, "damaged");
    sample_free(&outside);
}

static void gif_kinds(void **state) {
    const unsigned char indices[] = {0, 1, 2, 3, 3, 2, 1, 0, 0, 0, 1, 1, 2, 2, 3, 3};
    unsigned char rgb[16 * 3], rgba[16 * 4];
    for (int i = 0; i < 16; i++) {
        memcpy(rgb + 3 * i, palette4 + 3 * indices[i], 3);
        memcpy(rgba + 4 * i, palette4 + 3 * indices[i], 3);
        rgba[4 * i + 3] = indices[i] == 2 ? 0 : 255;
    }
    expect(sample_gif(&(struct gif_spec){4, 4, 0, 0, 4, 4, .transparent = -1}, palette4, indices), 4, 4, 3, rgb, 0);
    expect(sample_gif(&(struct gif_spec){4, 4, 0, 0, 4, 4, .interlaced = true, .transparent = -1}, palette4, indices),
           4, 4, 3, rgb, 0);
    expect(sample_gif(&(struct gif_spec){4, 4, 0, 0, 4, 4, .second = true, .transparent = 2}, palette4, indices), 4, 4,
           4, rgba, 0);
    const unsigned char offset[] = {0, 0, 0, 0, 255, 0, 0, 255}; /* one red pixel at (1, 0), nothing at (0, 0) */
    expect(sample_gif(&(struct gif_spec){2, 1, 1, 0, 1, 1, .transparent = -1}, palette4, indices), 2, 1, 4, offset, 0);
    expect(sample_gif(&(struct gif_spec){2, 1, 1, 0, 4, 1, .transparent = -1}, palette4, indices), 2, 1, 4, offset, 0);
}

static void bmp_kinds(void **state) {
    const unsigned char bgr[] = {255, 0, 0, 30, 20, 10, 0, 0, 0, 0, 255, 0, 255, 0, 0, 0}; /* bottom row first */
    expect(sample_bmp(&(struct bmp_spec){.width = 2, .height = 2, .bits = 24, .compression = 0}, bgr, 16), 2, 2, 3,
           rgb4, 0);
    const unsigned char down[] = {0, 0, 255, 0, 255, 0, 0, 0, 255, 0, 0, 30, 20, 10, 0, 0};
    expect(sample_bmp(&(struct bmp_spec){.width = 2, .height = -2, .bits = 24, .compression = 0}, down, 16), 2, 2, 3,
           rgb4, 0);
    const unsigned char bit8[] = {0, 1, 2, 3}, bit4[] = {0x01, 0x23, 0, 0}, bit1[] = {0x40, 0, 0, 0};
    expect(sample_bmp(
               &(struct bmp_spec){
                   .width = 4, .height = 1, .bits = 8, .compression = 0, .palette = palette4, .palette_count = 4},
               bit8, 4),
           4, 1, 3, palette4, 0);
    expect(sample_bmp(
               &(struct bmp_spec){
                   .width = 4, .height = 1, .bits = 4, .compression = 0, .palette = palette4, .palette_count = 4},
               bit4, 4),
           4, 1, 3, palette4, 0);
    expect(sample_bmp(&(struct bmp_spec){.width = 4,
                                         .height = 1,
                                         .bits = 8,
                                         .compression = 0,
                                         .header = 12,
                                         .palette = palette4,
                                         .palette_count = 4},
                      bit8, 4),
           4, 1, 3, palette4, 0);
    expect(sample_bmp(
               &(struct bmp_spec){
                   .width = 2, .height = 1, .bits = 1, .compression = 0, .palette = palette4, .palette_count = 2},
               bit1, 4),
           2, 1, 3, palette4, 0);
    const unsigned char bit16[] = {0x00, 0x7c, 0xe0, 0x03}; /* 5-5-5: red, green */
    expect(sample_bmp(&(struct bmp_spec){.width = 2, .height = 1, .bits = 16, .compression = 0}, bit16, 4), 2, 1, 3,
           rgb4, 0);
    const unsigned char bit565[] = {0x00, 0xf8, 0xe0, 0x07};
    expect(
        sample_bmp(
            &(struct bmp_spec){.width = 2, .height = 1, .bits = 16, .compression = 3, .masks = {0xf800, 0x7e0, 0x1f}},
            bit565, 4),
        2, 1, 3, rgb4, 0);
    const unsigned char bit32[] = {3, 2, 1, 77};
    expect(sample_bmp(&(struct bmp_spec){.width = 1, .height = 1, .bits = 32, .compression = 0}, bit32, 4), 1, 1, 3,
           (unsigned char[]){1, 2, 3}, 0);
    expect(sample_bmp(&(struct bmp_spec){.width = 1,
                                         .height = 1,
                                         .bits = 32,
                                         .compression = 3,
                                         .header = 124,
                                         .masks = {0xff0000, 0xff00, 0xff, 0xff000000}},
                      bit32, 4),
           1, 1, 4, (unsigned char[]){1, 2, 3, 77}, 0);
}

static void bmp_runs(void **state) {
    /* Bottom row: three of colour 1, then colour 2; top row: literals 3 2 1 (padded), then the end. */
    const unsigned char rle8[] = {3, 1, 1, 2, 0, 0, 0, 3, 3, 2, 1, 0, 0, 1};
    unsigned char want[24] = {10, 20, 30, 0, 0, 255, 0, 255, 0, 255, 0, 0, 0, 255, 0, 0, 255, 0, 0, 255, 0, 0, 0, 255};
    const struct bmp_spec spec8 = {
        .width = 4, .height = 2, .bits = 8, .compression = 1, .palette = palette4, .palette_count = 4};
    expect(sample_bmp(&spec8, rle8, sizeof rle8), 4, 2, 3, want, 0);
    const unsigned char rle4[] = {3, 0x11, 1, 0x20, 0, 0, 0, 3, 0x32, 0x10, 0, 1};
    expect(sample_bmp(
               &(struct bmp_spec){
                   .width = 4, .height = 2, .bits = 4, .compression = 2, .palette = palette4, .palette_count = 4},
               rle4, sizeof rle4),
           4, 2, 3, want, 0);
    const unsigned char jump[] = {0, 2, 1, 1, 1, 3, 0, 1}; /* skip one right, one up; colour 3 there */
    unsigned char sparse[24];
    for (int i = 0; i < 8; i++) {
        memcpy(sparse + 3 * i, palette4 + (i == 1 ? 9 : 0), 3);
    }
    expect(sample_bmp(&spec8, jump, sizeof jump), 4, 2, 3, sparse, 0);
    const unsigned char wild[] = {255, 1, 255, 1, 0, 2, 255, 255, 0, 2, 255, 255, 9, 9, 0, 1}; /* runs off every edge */
    struct sample s = sample_bmp(&spec8, wild, sizeof wild);
    struct sw_image image = decode(&s);
    sw_image_deinit(&image);
    sample_free(&s);
}

static void truncated_everywhere(void **state) {
    unsigned char noise[24 * 24 * 4];
    for (size_t i = 0; i < sizeof noise; i++) {
        noise[i] = (unsigned char)(i * 2654435761u >> 13);
    }
    const unsigned char indices[] = {0, 1, 2, 3, 3, 2, 1, 0, 0, 0, 1, 1, 2, 2, 3, 3};
    const unsigned char rle8[] = {3, 1, 1, 2, 0, 0, 0, 3, 3, 2, 1, 0, 0, 1};
    /* PNG: the checksum of the empty end chunk is not looked at. */
    refuse_prefixes(sample_png(&(struct png_spec){24, 24, 8, 6, .palette = NULL}, noise, 24 * 24 * 4), 4);
    refuse_prefixes(sample_png(&(struct png_spec){24, 24, 8, 2, .interlaced = true}, noise, 24 * 24 * 3), 4);
    refuse_prefixes(sample_jpeg(24, 24, 3, noise, JPEG_BASELINE, 0), 0);
    refuse_prefixes(sample_jpeg(24, 24, 3, noise, JPEG_PROGRESSIVE, 6), 0);
    refuse_prefixes(sample_webp(24, 24, 3, noise, false), 0);
    refuse_prefixes(sample_webp(24, 24, 4, noise, true), 0);
    refuse_prefixes(sample_webp_animation(24, 24, 0, 0, 8, 8, noise), 1);
    refuse_prefixes(sample_gif(&(struct gif_spec){4, 4, 0, 0, 4, 4, .transparent = 1}, palette4, indices), 1);
    refuse_prefixes(
        sample_bmp(&(struct bmp_spec){.width = 24, .height = 24, .bits = 24, .compression = 0}, noise, 24 * 24 * 3), 0);
    refuse_prefixes(
        sample_bmp(
            &(struct bmp_spec){
                .width = 4, .height = 2, .bits = 8, .compression = 1, .palette = palette4, .palette_count = 4},
            rle8, sizeof rle8),
        4); /* all pixels are there before padding and end mark */
}

static void put_be32(unsigned char *p, uint32_t v) {
    for (int i = 0; i < 4; i++) {
        p[i] = (unsigned char)(v >> (24 - 8 * i));
    }
}

/* CRC-32 of a PNG chunk, so that changed headers are believed. */
static void fix_crc(unsigned char *chunk, size_t data_len) {
    uint32_t crc = ~0u;
    for (size_t i = 4; i < 8 + data_len; i++) {
        crc ^= chunk[i];
        for (int k = 0; k < 8; k++) {
            crc = crc >> 1 ^ (0xedb88320u & -(crc & 1));
        }
    }
    put_be32(chunk + 8 + data_len, ~crc);
}

static void hostile_headers(void **state) {
    struct sample png = sample_png(&(struct png_spec){2, 2, 8, 2, .palette = NULL}, rgb4, 12);
    const uint32_t sides[][2] = {{60000, 60000}, {0x7fffffff, 1}, {1, 0x7fffffff}, {0, 2}, {1001, 1000}};
    for (size_t i = 0; i < SW_COUNTOF(sides); i++) {
        put_be32(png.data + 16, sides[i][0]);
        put_be32(png.data + 20, sides[i][1]);
        fix_crc(png.data + 8, 13);
        refuse(sample_str(&png), SW_E_UNPROCESSABLE, NULL);
    }
    refuse(sample_str(&png), SW_E_UNPROCESSABLE, "1001 x 1000");
    sample_free(&png);

    struct sample bmp = sample_bmp(&(struct bmp_spec){.width = 60000, .height = 60000, .bits = 24, .compression = 0},
                                   rgb4, 12);
    refuse(sample_str(&bmp), SW_E_UNPROCESSABLE, "60000 x 60000");
    sample_free(&bmp);
    bmp = sample_bmp(&(struct bmp_spec){.width = -5, .height = 5, .bits = 24, .compression = 0}, rgb4, 12);
    refuse(sample_str(&bmp), SW_E_UNPROCESSABLE, "negative");
    sample_free(&bmp);
    bmp = sample_bmp(&(struct bmp_spec){.width = 5, .height = INT32_MIN, .bits = 24, .compression = 0}, rgb4, 12);
    refuse(sample_str(&bmp), SW_E_UNPROCESSABLE, "pixels");
    sample_free(&bmp);
    bmp = sample_bmp(&(struct bmp_spec){.width = 1, .height = 1, .bits = 24, .compression = 4}, rgb4, 12);
    refuse(sample_str(&bmp), SW_E_UNPROCESSABLE, "not supported");
    sample_free(&bmp);
    bmp = sample_bmp(
        &(struct bmp_spec){.width = 1, .height = 1, .bits = 16, .compression = 3, .masks = {0xf800, 0xf800, 0x1f}},
        rgb4, 12);
    refuse(sample_str(&bmp), SW_E_UNPROCESSABLE, "masks");
    sample_free(&bmp);

    const unsigned char indices[] = {0, 1, 2, 3};
    struct sample gif = sample_gif(&(struct gif_spec){65000, 65000, 0, 0, 2, 2, .transparent = -1}, palette4, indices);
    refuse(sample_str(&gif), SW_E_UNPROCESSABLE, "65000 x 65000");
    sample_free(&gif);

    unsigned char gray[64] = {0};
    struct sample jpeg = sample_jpeg(8, 8, 1, gray, JPEG_BASELINE, 0);
    for (size_t i = 0; i + 9 < jpeg.len; i++) {
        if (jpeg.data[i] == 0xff && jpeg.data[i + 1] == 0xc0) { /* start of frame: height, width */
            memcpy(jpeg.data + i + 5, "\xfd\xe8\xfd\xe8", 4);
        }
    }
    refuse(sample_str(&jpeg), SW_E_UNPROCESSABLE, "65000 x 65000");
    sample_free(&jpeg);
}

static void unknown_formats(void **state) {
    refuse(SW_STR("hello, this is text"), SW_E_UNSUPPORTED_MEDIA, "unknown format");
    refuse(SW_STR("RIFF\0\0\0\0WAVEfmt "), SW_E_UNSUPPORTED_MEDIA, "unknown format");
    refuse(SW_STR("II*\0TIFF is not taken"), SW_E_UNSUPPORTED_MEDIA, "unknown format");
    refuse(SW_STR("iVBORw0KGgoAAAANSUhEUg"), SW_E_UNSUPPORTED_MEDIA, "looks like base64");
    refuse(SW_STR("data:image/png;base64,iVBORw0KGgo"), SW_E_UNSUPPORTED_MEDIA, "looks like base64");
    refuse((struct sw_str){"", 0}, SW_E_UNPROCESSABLE, "empty");
}

static void too_many_bytes(void **state) {
    size_t n = SW_IMAGE_ENCODED_MAX + 1;
    char *data = sw_calloc(1, n);
    assert_non_null(data);
    refuse((struct sw_str){data, n}, SW_E_UNPROCESSABLE, "at most");
    sw_free(data);
}

/* The last scan of a file over and over: few bytes, much work. */
static void jpeg_scan_bomb(void **state) {
    static const char *const says[] = {[JPEG_PROGRESSIVE] = "progression", [JPEG_SEPARATE] = "more than 500 scans"};
    unsigned char flat[64 * 64 * 3];
    memset(flat, 99, sizeof flat);
    for (int kind = JPEG_PROGRESSIVE; kind <= JPEG_SEPARATE; kind++) {
        struct sample jpeg = sample_jpeg(64, 64, 3, flat, (enum jpeg_kind)kind, 0);
        size_t last = 0;
        for (size_t i = 0; i + 1 < jpeg.len; i++) {
            last = jpeg.data[i] == 0xff && jpeg.data[i + 1] == 0xda ? i : last;
        }
        size_t scan = jpeg.len - 2 - last;
        struct sample bomb = {sw_xmalloc(last + 600 * scan + 2), last};
        memcpy(bomb.data, jpeg.data, last);
        for (int i = 0; i < 600; i++, bomb.len += scan) {
            memcpy(bomb.data + bomb.len, jpeg.data + last, scan);
        }
        memcpy(bomb.data + bomb.len, "\xff\xd9", 2);
        bomb.len += 2;
        refuse(sample_str(&bomb), SW_E_UNPROCESSABLE, says[kind]);
        sample_free(&bomb);
        expect(jpeg, 64, 64, 3, flat, 2);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(png_colour_types),
        cmocka_unit_test(png_deep_and_palette),
        cmocka_unit_test(jpeg_kinds),
        cmocka_unit_test(jpeg_orientation),
        cmocka_unit_test(webp_kinds),
        cmocka_unit_test(gif_kinds),
        cmocka_unit_test(bmp_kinds),
        cmocka_unit_test(bmp_runs),
        cmocka_unit_test(truncated_everywhere),
        cmocka_unit_test(hostile_headers),
        cmocka_unit_test(unknown_formats),
        cmocka_unit_test(too_many_bytes),
        cmocka_unit_test(jpeg_scan_bomb),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
