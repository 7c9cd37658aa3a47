/* Each decoder against known pixels, indices and palettes; metadata; where the image ends. (test_carriers.py compares the
 * same decoders with Pillow on random pictures.) */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/memory.h"
#include "files.h"

#define LOSSLESS SW_STARLIGHT_LOSSLESS_PIXELS
#define ALL SW_STARLIGHT_ALL_PIXELS

static const unsigned char palette4[] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30};

static void expect_bytes(const uint8_t *got, const void *want, size_t n) {
    assert_non_null(got);
    assert_memory_equal(got, want, n);
}

static void expect_str(struct sw_str got, const void *want, size_t n) {
    assert_int_equal(got.len, n);
    assert_memory_equal(got.data, want, n);
}

static void fill(uint8_t *p, size_t n, uint32_t seed) {
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525 + 1013904223;
        p[i] = (uint8_t)(seed >> 24);
    }
}

/* ---- PNG */

/* What row-major stored samples must become, by the slow and obvious way. */
static void expand(const uint8_t *raw, unsigned width, unsigned height, unsigned depth, unsigned color, uint8_t *out) {
    static const unsigned samples_of[] = {1, 0, 3, 1, 2, 0, 4};
    unsigned samples = samples_of[color], stride = (width * samples * depth + 7) / 8;
    for (unsigned y = 0; y < height; y++) {
        for (unsigned i = 0; i < width * samples; i++) {
            unsigned bit = i * depth, value = raw[y * stride + bit / 8];
            value = depth == 16 ? value : value >> (8 - depth - bit % 8) & ((1u << depth) - 1);
            value = color == 0 && depth < 8 ? value * 255 / ((1u << depth) - 1) : value;
            for (unsigned copies = 0; copies < (color == 0 || (color == 4 && i % 2 == 0) ? 3 : 1); copies++) {
                *out++ = (uint8_t)value;
            }
        }
    }
}

static void check_png(unsigned width, unsigned height, unsigned depth, unsigned color, bool interlaced) {
    static const unsigned samples_of[] = {1, 0, 3, 1, 2, 0, 4}, channels_of[] = {3, 0, 3, 1, 4, 0, 4};
    unsigned stride = (width * samples_of[color] * depth + 7) / 8, channels = channels_of[color];
    uint8_t raw[40 * 40 * 8], want[40 * 40 * 4], palette[256 * 3];
    fill(raw, stride * height, width * 131 + height * 7 + depth + color);
    fill(palette, sizeof palette, 99);
    expand(raw, width, height, depth, color, want);
    struct sample s = sample_png(&(struct png_spec){.width = width,
                                                    .height = height,
                                                    .depth = depth,
                                                    .color = color,
                                                    .interlaced = interlaced,
                                                    .palette = color == 3 ? palette : NULL,
                                                    .palette_count = color == 3 ? 1u << depth : 0},
                                 raw, stride * height);
    struct sw_starlight_image i = expect_image(&s, LOSSLESS);
    assert_int_equal(i.format, SW_STARLIGHT_PNG);
    assert_int_equal(i.width * 1000 + i.height, width * 1000 + height);
    assert_int_equal(i.raster_width * 1000 + i.raster_height, width * 1000 + height);
    assert_int_equal(i.bit_depth, depth);
    assert_int_equal(i.interlaced, interlaced);
    assert_int_equal(i.gray, color == 0 || color == 4);
    assert_int_equal(i.has_alpha, color == 4 || color == 6);
    assert_false(i.lossy);
    assert_int_equal(i.frames, 1);
    if (color == 3) {
        assert_null(i.pixels);
        expect_bytes(i.indices, want, (size_t)width * height);
        assert_int_equal(i.palette_count, 1u << depth);
        for (unsigned k = 0; k < i.palette_count; k++) {
            assert_memory_equal(i.palette[k], palette + 3 * k, 3);
            assert_int_equal(i.palette[k][3], 255);
        }
    } else {
        assert_null(i.indices);
        assert_int_equal(i.channels, channels);
        expect_bytes(i.pixels, want, (size_t)width * height * channels);
    }
    sw_starlight_image_deinit(&i);
    sample_free(&s);
}

static void png_all_colour_types_depths_and_passes(void **state) {
    static const struct {
        unsigned color, depth;
    } kinds[] = {{0, 1}, {0, 2}, {0, 4}, {0, 8}, {0, 16}, {2, 8}, {2, 16}, {3, 1},
                 {3, 2}, {3, 4}, {3, 8}, {4, 8}, {4, 16}, {6, 8}, {6, 16}};
    static const unsigned sizes[][2] = {{1, 1}, {2, 1}, {1, 9}, {3, 3}, {5, 4}, {8, 8}, {9, 17}, {33, 31}, {40, 2}};
    for (size_t k = 0; k < SW_COUNTOF(kinds); k++) {
        for (size_t s = 0; s < SW_COUNTOF(sizes); s++) {
            check_png(sizes[s][0], sizes[s][1], kinds[k].depth, kinds[k].color, false);
            check_png(sizes[s][0], sizes[s][1], kinds[k].depth, kinds[k].color, true);
        }
    }
}

/* Each filter on each distance, against the definition (PNG, 9.2). */
static void png_filters(void **state) {
    static const struct {
        unsigned color, depth, distance;
    } kinds[] = {{0, 8, 1}, {4, 8, 2}, {2, 8, 3}, {6, 8, 4}, {2, 16, 6}, {6, 16, 8}};
    enum { W = 7, H = 10 };
    for (size_t k = 0; k < SW_COUNTOF(kinds); k++) {
        unsigned d = kinds[k].distance, n = W * d;
        uint8_t filtered[H * (1 + W * 8)], raw[H * W * 8], want[H * W * 4];
        fill(filtered, sizeof filtered, (uint32_t)k);
        for (unsigned y = 0; y < H; y++) {
            uint8_t *row = filtered + y * (n + 1), *out = raw + y * n;
            row[0] = (uint8_t)((y + 4) % 5); /* Paeth first, on the row above all others */
            for (unsigned i = 0; i < n; i++) {
                int a = i >= d ? out[i - d] : 0, b = y ? out[(int)i - (int)n] : 0,
                    c = i >= d && y ? out[(int)(i - d) - (int)n] : 0;
                int pa = abs(b - c), pb = abs(a - c), pc = abs(a + b - 2 * c);
                int paeth = pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
                int predicted[] = {0, a, b, (a + b) / 2, paeth};
                out[i] = (uint8_t)(row[1 + i] + predicted[row[0]]);
            }
        }
        struct sample s = png_begin(W, H, kinds[k].depth, kinds[k].color, 0);
        png_pixels(&s, filtered, H * (n + 1));
        png_end(&s);
        struct sw_starlight_image i = expect_image(&s, LOSSLESS);
        expand(raw, W, H, kinds[k].depth, kinds[k].color, want);
        expect_bytes(i.pixels, want, W * H * i.channels);
        sw_starlight_image_deinit(&i);
        sample_free(&s);
    }
}

static void png_transparency(void **state) {
    const unsigned char indices[] = {0x1b}, alphas[] = {0, 128};
    struct sample s = sample_png(
        &(struct png_spec){4, 1, 2, 3, .palette = palette4, .palette_count = 4, .alphas = alphas, .alpha_count = 2},
        indices, 1);
    struct sw_starlight_image i = expect_image(&s, LOSSLESS);
    expect_bytes(i.indices, (uint8_t[]){0, 1, 2, 3}, 4);
    expect_bytes(i.palette[0], (uint8_t[]){255, 0, 0, 0, 0, 255, 0, 128, 0, 0, 255, 255, 10, 20, 30, 255, 0, 0, 0, 255},
                 20);
    assert_false(i.has_alpha);
    sw_starlight_image_deinit(&i);
    sample_free(&s);
    /* A colour that means transparent is no alpha plane. */
    const unsigned char key[] = {0, 255, 0}, rgb[] = {1, 2, 3, 0, 255, 0};
    s = sample_png(&(struct png_spec){2, 1, 8, 2, .alphas = key, .alpha_count = 3}, rgb, 6);
    i = expect_image(&s, LOSSLESS);
    assert_false(i.has_alpha);
    assert_int_equal(i.channels, 3);
    expect_bytes(i.pixels, rgb, 6);
    sw_starlight_image_deinit(&i);
    sample_free(&s);
}

static void png_metadata(void **state) {
    struct sample s = png_begin(2, 1, 8, 2, 0), z = zlib_zeros(5000000);
    struct sample bomb = {0};
    put(&bomb, "text\0\0", 6);
    put(&bomb, z.data, z.len);
    png_chunk(&s, "gAMA", "\0\0\xb1\x8f", 4);
    png_chunk(&s, "PLTE", palette4, 12); /* suggested colours: no palette of this image */
    png_chunk(&s, "iCCP", bomb.data, bomb.len);
    png_chunk(&s, "acTL", "\0\0\0\3\0\0\0\0", 8);
    for (int k = 0; k < 3; k++) {
        png_chunk(&s, "fcTL", "01234567890123456789012345", 26);
    }
    png_pixels(&s, "\0\1\2\3\4\5\6", 7);
    png_chunk(&s, "tEXt", "key\0value", 9);
    png_chunk(&s, "zTXt", bomb.data, bomb.len);
    png_chunk(&s, "iTXt", "XML:com.adobe.xmp\0\0\0\0\0<x/>", 26);
    png_end(&s);
    put_text(&s, "trailing");
    struct sw_starlight_image i = expect_image(&s, LOSSLESS);
    expect_bytes(i.pixels, "\1\2\3\4\5\6", 6);
    assert_int_equal(i.palette_count, 0);
    assert_int_equal(i.frames, 3);
    assert_int_equal(i.chunks, 13);
    assert_int_equal(i.icc_bytes, bomb.len);
    assert_int_equal(i.comment_bytes, 9 + bomb.len);
    assert_int_equal(i.xmp_bytes, 26);
    expect_str(i.trailing, "trailing", 8);
    sw_starlight_image_deinit(&i);
    sample_free(&s);
    sample_free(&z);
    sample_free(&bomb);
}

static void png_pixels_in_many_chunks(void **state) {
    uint8_t raw[3 * 20 * 20];
    fill(raw, sizeof raw, 5);
    struct sample whole = sample_png(&(struct png_spec){20, 20, 8, 2, .palette = NULL}, raw, sizeof raw);
    size_t at = find(&whole, "IDAT", 4);
    size_t n = (size_t)whole.data[at - 2] << 8 | whole.data[at - 1];
    struct sample s = {0};
    put(&s, whole.data, at - 4);
    for (size_t k = 0; k < n; k += 100) {
        png_chunk(&s, "IDAT", whole.data + at + 4 + k, n - k < 100 ? n - k : 100);
        if (k == 300) {
            png_chunk(&s, "IDAT", NULL, 0);
        }
    }
    png_end(&s);
    struct sw_starlight_image i = expect_image(&s, LOSSLESS);
    expect_bytes(i.pixels, raw, sizeof raw);
    sw_starlight_image_deinit(&i);
    sample_free(&s);
    sample_free(&whole);
}

/* ---- JPEG */

static void jpeg_is_checked_but_not_kept(void **state) {
    uint8_t flat[16 * 16 * 4];
    memset(flat, 180, sizeof flat);
    for (int kind = JPEG_BASELINE; kind <= JPEG_SEPARATE; kind++) {
        for (unsigned channels = 1; channels <= 4; channels += channels == 1 ? 2 : 1) {
            if (kind == JPEG_SEPARATE && channels != 3) {
                continue;
            }
            struct sample s = sample_jpeg(16, 16, channels, flat, (enum jpeg_kind)kind, 0);
            struct sw_starlight_image i = expect_image(&s, LOSSLESS);
            assert_true(i.lossy && !i.pixels && !i.indices && i.raster_width == 0);
            assert_int_equal(i.gray, channels == 1);
            assert_int_equal(i.interlaced, kind == JPEG_PROGRESSIVE);
            assert_int_equal(i.bit_depth, 8);
            sw_starlight_image_deinit(&i);
            i = expect_image(&s, ALL);
            assert_int_equal(i.channels, 3);
            for (size_t k = 0; k < 16 * 16 * 3; k++) {
                int want = channels == 4 ? 180 * 180 / 255 : 180;
                assert_in_range(i.pixels[k], want - 3, want + 3);
            }
            sw_starlight_image_deinit(&i);
            sample_free(&s);
        }
    }
}

static void jpeg_metadata(void **state) {
    uint8_t gray[64] = {0};
    struct sample s = sample_jpeg(8, 8, 1, gray, JPEG_BASELINE, 0),
                  exif = exif_block(true, false, "ASCII\0\0\0hello", 13);
    struct sw_starlight_image without = expect_image(&s, LOSSLESS);
    size_t plain = without.chunks;
    sw_starlight_image_deinit(&without);
    jpeg_segment(&s, 0xe1, "Exif\0", 6, exif.data, exif.len);
    jpeg_segment(&s, 0xe1, "http://ns.adobe.com/xap/1.0/", 29, "<x/>", 4);
    jpeg_segment(&s, 0xe2, "ICC_PROFILE", 12, "\1\1profile", 9);
    jpeg_segment(&s, 0xfe, "", 0, "a comment", 9);
    jpeg_segment(&s, 0xed, "", 0, "something of Photoshop \xff\xd9", 25); /* EOI inside a segment is none */
    struct sw_starlight_image i = expect_image(&s, LOSSLESS);
    expect_str(i.user_comment, "ASCII\0\0\0hello", 13);
    assert_true(i.exif_little_endian);
    assert_int_equal(i.exif_entries, 2);
    assert_int_equal(i.exif_bytes, exif.len + 6);
    assert_int_equal(i.xmp_bytes, 33);
    assert_int_equal(i.icc_bytes, 21);
    assert_int_equal(i.comment_bytes, 9);
    assert_int_equal(i.chunks, plain + 5);
    assert_null(i.trailing.data);
    sw_starlight_image_deinit(&i);
    sample_free(&s);
    sample_free(&exif);
}

static void expect_trailing(struct sample *s, size_t image_end, const void *extra, size_t size, size_t skipped) {
    put(s, extra, size);
    struct sw_starlight_image i = expect_image(s, LOSSLESS);
    assert_int_equal(i.trailing.len, size - skipped);
    assert_true(size == skipped ? !i.trailing.data : (const uint8_t *)i.trailing.data == s->data + image_end + skipped);
    sw_starlight_image_deinit(&i);
    s->len = image_end;
}

static void jpeg_end(void **state) {
    uint8_t gray[64] = {0};
    struct sample s = sample_jpeg(8, 8, 1, gray, JPEG_PROGRESSIVE, 0),
                  second = sample_jpeg(8, 8, 1, gray, JPEG_BASELINE, 0);
    size_t end = s.len, n = second.len;
    struct sample extra = {0};
    expect_trailing(&s, end, "text", 4, 0);
    expect_trailing(&s, end, "\0\0\0", 3, 0); /* zeros alone are trailing bytes */
    put(&extra, second.data, n);
    expect_trailing(&s, end, extra.data, n, n); /* a preview leaves nothing */
    put_text(&extra, "text");
    expect_trailing(&s, end, extra.data, n + 4, n);
    extra.len = n;
    put_zeros(&extra, 7);
    put(&extra, second.data, n);
    put_text(&extra, "\xff\xd9 AI42");
    expect_trailing(&s, end, extra.data, extra.len, 2 * n + 7);
    expect_trailing(&s, end, second.data, n - 1, 0); /* a cut one is not passed over */
    expect_trailing(&s, end, "\xff\xd8\xff\xd9", 4, 0);
    sample_free(&s);
    sample_free(&second);
    sample_free(&extra);
}

/* ---- GIF */

static void gif_first_frame(void **state) {
    const unsigned char indices[16] = {0, 1, 2, 3, 3, 2, 1, 0, 0, 0, 1, 1, 2, 2, 3, 3};
    for (int interlaced = 0; interlaced < 2; interlaced++) {
        struct sample s = sample_gif(&(struct gif_spec){.canvas_width = 10,
                                                        .canvas_height = 9,
                                                        .left = 2,
                                                        .top = 3,
                                                        .width = 2,
                                                        .height = 8,
                                                        .interlaced = interlaced,
                                                        .second = true,
                                                        .transparent = 2},
                                     palette4, indices);
        put_text(&s, "trailing");
        struct sw_starlight_image i = expect_image(&s, LOSSLESS);
        assert_int_equal(i.width * 100 + i.height, 1009);
        assert_int_equal(i.raster_width * 100 + i.raster_height, 208);
        expect_bytes(i.indices, indices, 16);
        assert_int_equal(i.frames, 2);
        assert_int_equal(i.bit_depth, 2);
        assert_int_equal(i.interlaced, interlaced);
        assert_int_equal(i.palette_count, 4);
        for (int k = 0; k < 4; k++) {
            assert_memory_equal(i.palette[k], palette4 + 3 * k, 3);
            assert_int_equal(i.palette[k][3], k == 2 ? 0 : 255);
        }
        assert_false(i.lossy || i.has_alpha || i.gray);
        expect_str(i.trailing, "trailing", 8);
        sw_starlight_image_deinit(&i);
        sample_free(&s);
    }
}

static void gif_blocks(void **state) {
    struct sample s = gif_begin(0, 0); /* no screen: the frame says how large it is */
    put(&s, "\x21\xfe\5hello\2, \0", 12);
    put(&s, "\x21\xff\x0bXMP DataXMP\4<x/>\0", 20);
    put(&s, "\x21\xff\x0bICCRGBG1012\3icc\0", 19);
    gif_frame_of_zeros(&s, 300, 200);
    put(&s, "\0", 1);
    gif_frame_of_zeros(&s, 300, 200);
    put_text(&s, ";");
    struct sw_starlight_image i = expect_image(&s, LOSSLESS);
    assert_int_equal(i.width * 1000 + i.height, 300200);
    assert_int_equal(i.comment_bytes, 7);
    assert_int_equal(i.xmp_bytes, 15);
    assert_int_equal(i.icc_bytes, 14);
    assert_int_equal(i.frames, 2);
    for (size_t k = 0; k < 300 * 200; k++) {
        assert_int_equal(i.indices[k], 0);
    }
    sw_starlight_image_deinit(&i);
    sample_free(&s);
}

/* A frame's own palette counts; the transparent colour belongs to the frame that follows it. */
static void gif_local_palette(void **state) {
    struct sample s = gif_begin(2, 1);
    put(&s, "\x21\xf9\4\1\0\0\1\0", 8);
    put(&s, "\x2c\0\0\0\0\2\0\1\0\x80\1\2\3\4\5\6", 16);
    put(&s, "\2\2\x44\x0a\0;", 6); /* clear, 0, 1, end: 100 000 001 101 from bit 0 */
    struct sw_starlight_image i = expect_image(&s, LOSSLESS);
    expect_bytes(i.indices, "\0\1", 2);
    assert_int_equal(i.palette_count, 2);
    expect_bytes(i.palette[0], "\1\2\3\xff\4\5\6\0\0\0\0\xff", 12);
    assert_int_equal(i.bit_depth, 1);
    sw_starlight_image_deinit(&i);
    sample_free(&s);
}

/* ---- WebP */

static void webp_kinds(void **state) {
    uint8_t rgba[16 * 16 * 4];
    fill(rgba, sizeof rgba, 3);
    rgba[3] = 0; /* colour under alpha 0 is kept */
    uint8_t encoded_alpha = rgba[7];
    struct sample s = sample_webp(16, 16, 3, rgba, true);
    struct sw_starlight_image i = expect_image(&s, LOSSLESS);
    assert_true(!i.lossy && !i.has_alpha && i.channels == 3);
    expect_bytes(i.pixels, rgba, 16 * 16 * 3);
    sw_starlight_image_deinit(&i);
    sample_free(&s);
    for (size_t k = 0; k < sizeof rgba; k += 4) {
        rgba[k + 3] |= k > 0; /* the simple encoder clears colours under alpha 0 */
    }
    memset(rgba, 0, 4);
    s = sample_webp(16, 16, 4, rgba, true);
    i = expect_image(&s, LOSSLESS);
    assert_true(!i.lossy && i.has_alpha && i.channels == 4);
    expect_bytes(i.pixels, rgba, 16 * 16 * 4);
    assert_int_equal(i.pixels[7], encoded_alpha | 1);
    sw_starlight_image_deinit(&i);
    sample_free(&s);
    s = sample_webp(16, 16, 3, rgba, false);
    i = expect_image(&s, LOSSLESS);
    assert_true(i.lossy && !i.has_alpha && !i.pixels && i.width == 16);
    sw_starlight_image_deinit(&i);
    i = expect_image(&s, ALL);
    assert_true(i.lossy && i.pixels && i.channels == 3);
    sw_starlight_image_deinit(&i);
    sample_free(&s);
    s = sample_webp(16, 16, 4, rgba, false); /* lossy colours, alpha as it was */
    i = expect_image(&s, LOSSLESS);
    assert_true(i.lossy && i.has_alpha && i.channels == 4);
    for (size_t k = 3; k < sizeof rgba; k += 4) {
        assert_int_equal(i.pixels[k], rgba[k]);
    }
    sw_starlight_image_deinit(&i);
    sample_free(&s);
}

/* sample_webp's chunks, from the first on. */
static void put_picture(struct sample *s, const struct sample *still) {
    put(s, still->data + 12, still->len - 12);
}

static void webp_metadata_and_end(void **state) {
    uint8_t rgb[5 * 3 * 3];
    fill(rgb, sizeof rgb, 8);
    struct sample still = sample_webp(5, 3, 3, rgb, true), exif = exif_block(false, true, "ASCII\0\0\0hello", 13);
    for (int prefix = 0; prefix < 2; prefix++) {
        struct sample s = webp_begin(), with_prefix = {0};
        put(&with_prefix, "Exif\0", prefix ? 6 : 0);
        put(&with_prefix, exif.data, exif.len);
        webp_canvas(&s, 0x2c, 5, 3);
        webp_chunk(&s, "ICCP", "icc", 3);
        put_picture(&s, &still);
        webp_chunk(&s, "EXIF", with_prefix.data, with_prefix.len);
        webp_chunk(&s, "XMP ", "<x/>", 4);
        webp_end(&s);
        put_text(&s, "trailing");
        struct sw_starlight_image i = expect_image(&s, LOSSLESS);
        expect_bytes(i.pixels, rgb, sizeof rgb);
        assert_int_equal(i.icc_bytes, 3);
        assert_int_equal(i.xmp_bytes, 4);
        assert_int_equal(i.exif_bytes, with_prefix.len);
        assert_int_equal(i.exif_entries, 1);
        assert_false(i.exif_little_endian);
        assert_int_equal(i.chunks, 5);
        expect_str(i.user_comment, "ASCII\0\0\0hello", 13);
        expect_str(i.trailing, "trailing", 8);
        sw_starlight_image_deinit(&i);
        sample_free(&s);
        sample_free(&with_prefix);
    }
    /* An odd RIFF size: one byte of padding is not trailing. */
    struct sample s = webp_begin();
    put_picture(&s, &still);
    put(&s, "odd \3\0\0\0abc", 11);
    webp_end(&s);
    assert_int_equal(s.data[4] & 1, 1);
    put(&s, "\0T", 2);
    struct sw_starlight_image i = expect_image(&s, LOSSLESS);
    expect_str(i.trailing, "T", 1);
    sw_starlight_image_deinit(&i);
    sample_free(&s);
    sample_free(&still);
    sample_free(&exif);
}

static void webp_animation(void **state) {
    uint8_t rgba[4 * 2 * 4];
    fill(rgba, sizeof rgba, 2);
    for (size_t k = 3; k < sizeof rgba; k += 4) {
        rgba[k] |= 1;
    }
    struct sample s = sample_webp_animation(10, 8, 6, 4, 4, 2, rgba);
    struct sw_starlight_image i = expect_image(&s, LOSSLESS);
    assert_int_equal(i.width * 100 + i.height, 1008);
    assert_int_equal(i.raster_width * 100 + i.raster_height, 402); /* as stored, not on its canvas */
    expect_bytes(i.pixels, rgba, sizeof rgba);
    assert_int_equal(i.frames, 1);
    sw_starlight_image_deinit(&i);
    struct sample twice = copy_of(&s);
    size_t frame = find(&s, "ANMF", 4);
    put(&twice, s.data + frame, s.len - frame);
    sample_free(&s);
    s = twice;
    webp_end(&s);
    i = expect_image(&s, LOSSLESS);
    assert_int_equal(i.frames, 2);
    sw_starlight_image_deinit(&i);
    sample_free(&s);
}

/* ---- BMP */

static void check_bmp(const struct bmp_spec *spec, const void *body, size_t size, const void *want, unsigned channels) {
    struct sample s = sample_bmp(spec, body, size);
    struct sw_starlight_image i = expect_image(&s, LOSSLESS);
    size_t pixels = (size_t)i.width * i.height;
    assert_int_equal(i.channels, channels);
    assert_int_equal(i.has_alpha, channels == 4);
    assert_null(i.trailing.data);
    if (channels) {
        expect_bytes(i.pixels, want, pixels * channels);
    } else {
        expect_bytes(i.indices, want, pixels);
        assert_int_equal(i.palette_count, spec->palette_count);
        assert_int_equal(i.bit_depth, spec->bits);
        assert_memory_equal(i.palette[1], spec->palette + 3, 3);
    }
    sw_starlight_image_deinit(&i);
    sample_free(&s);
}

static void bmp_kinds(void **state) {
    const uint8_t indices[] = {0, 1, 2, 3}, bits[] = {0, 1, 0, 1};
    check_bmp(&(struct bmp_spec){.width = 4, .height = 1, .bits = 8, .palette = palette4, .palette_count = 4},
              "\0\1\2\3", 4, indices, 0);
    check_bmp(&(struct bmp_spec){.width = 4, .height = 1, .bits = 4, .palette = palette4, .palette_count = 4},
              "\x01\x23\0\0", 4, indices, 0);
    check_bmp(&(struct bmp_spec){.width = 4, .height = 1, .bits = 1, .palette = palette4, .palette_count = 2},
              "\x50\0\0\0", 4, bits, 0);
    check_bmp(
        &(struct bmp_spec){.width = 4, .height = 1, .bits = 8, .header = 12, .palette = palette4, .palette_count = 4},
        "\0\1\2\3", 4, indices, 0);
    const uint8_t rle8[] = {3, 1, 1, 2, 0, 0, 0, 3, 3, 2, 1, 0, 0, 1};
    const uint8_t rle8_want[] = {3, 2, 1, 0, 1, 1, 1, 2};
    check_bmp(
        &(struct bmp_spec){
            .width = 4, .height = 2, .bits = 8, .compression = 1, .palette = palette4, .palette_count = 4},
        rle8, sizeof rle8, rle8_want, 0);
    const uint8_t rle4[] = {4, 0x32, 0, 4, 0x11, 0x20, 0, 1};
    check_bmp(
        &(struct bmp_spec){
            .width = 8, .height = 1, .bits = 4, .compression = 2, .palette = palette4, .palette_count = 4},
        rle4, sizeof rle4, (uint8_t[]){3, 2, 3, 2, 1, 1, 2, 0}, 0);
    check_bmp(&(struct bmp_spec){.width = 1, .height = 2, .bits = 24}, "\3\2\1\0\6\5\4\0", 8, "\4\5\6\1\2\3", 3);
    check_bmp(&(struct bmp_spec){.width = 1, .height = -2, .bits = 24}, "\3\2\1\0\6\5\4\0", 8, "\1\2\3\4\5\6", 3);
    check_bmp(&(struct bmp_spec){.width = 2, .height = 1, .bits = 16}, "\x1f\x7c\xe0\x03", 4, "\xff\0\xff\0\xff\0", 3);
    check_bmp(&(struct bmp_spec){.width = 1, .height = 1, .bits = 16, .compression = 3, .masks = {0xf800, 0x7e0, 0x1f}},
              "\xe0\x07\0\0", 4, "\0\xff\0", 3);
}

static void bmp_alpha(void **state) {
    check_bmp(&(struct bmp_spec){.width = 2, .height = 1, .bits = 32}, "\3\2\1\0\6\5\4\0", 8, "\1\2\3\4\5\6", 3);
    check_bmp(&(struct bmp_spec){.width = 2, .height = 1, .bits = 32}, "\3\2\1\0\6\5\4\7", 8, "\1\2\3\0\4\5\6\7", 4);
    check_bmp(&(struct bmp_spec){.width = 1,
                                 .height = 1,
                                 .bits = 32,
                                 .compression = 3,
                                 .header = 108,
                                 .masks = {0xff0000, 0xff00, 0xff, 0xff000000}},
              "\3\2\1\0", 4, "\1\2\3\0", 4);
    check_bmp(
        &(struct bmp_spec){.width = 1, .height = 1, .bits = 32, .compression = 3, .masks = {0xff, 0xff00, 0xff0000}},
        "\1\2\3\x9", 4, "\1\2\3", 3); /* masks without alpha say that there is none */
}

static void bmp_end(void **state) {
    struct sample s = sample_bmp(&(struct bmp_spec){.width = 1, .height = 1, .bits = 24}, "\1\2\3\0", 4);
    size_t end = s.len;
    expect_trailing(&s, end, "text", 4, 0);
    memset(s.data + 2, 0, 4);
    expect_trailing(&s, end, "text", 4, 0); /* no size: behind the pixels */
    s.data[2] = 20;
    expect_trailing(&s, end, "text", 4, 0); /* too small: the same */
    s.data[2] = (uint8_t)(end - 1);
    s.len = end - 1;
    expect_trailing(&s, end - 1, "text", 4, 0); /* without the padding of the last row */
    s.len = end;
    s.data[2] = (uint8_t)(end + 2);
    expect_trailing(&s, end, "__text", 6, 2); /* a profile, say, counts as a part of the file */
    sample_free(&s);
}

static void unknown_bytes(void **state) {
    refuse((struct sample){0}, SW_E_UNSUPPORTED_MEDIA, "empty");
    struct sample s = {0};
    put_text(&s, "%PDF-1.7 and so on");
    refuse(s, SW_E_UNSUPPORTED_MEDIA, "known format");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(png_all_colour_types_depths_and_passes),
        cmocka_unit_test(png_filters),
        cmocka_unit_test(png_transparency),
        cmocka_unit_test(png_metadata),
        cmocka_unit_test(png_pixels_in_many_chunks),
        cmocka_unit_test(jpeg_is_checked_but_not_kept),
        cmocka_unit_test(jpeg_metadata),
        cmocka_unit_test(jpeg_end),
        cmocka_unit_test(gif_first_frame),
        cmocka_unit_test(gif_blocks),
        cmocka_unit_test(gif_local_palette),
        cmocka_unit_test(webp_kinds),
        cmocka_unit_test(webp_metadata_and_end),
        cmocka_unit_test(webp_animation),
        cmocka_unit_test(bmp_kinds),
        cmocka_unit_test(bmp_alpha),
        cmocka_unit_test(bmp_end),
        cmocka_unit_test(unknown_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
