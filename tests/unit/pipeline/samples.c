#include "samples.h"

#include <gif_lib.h>
#include <jpeglib.h>
#include <spng.h>
#include <webp/encode.h>

#include "base/memory.h"

#define NEED(condition) SW_ASSERT(condition)

void sample_free(struct sample *s) {
    sw_free(s->data);
    *s = (struct sample){0};
}

static void append(struct sample *s, const void *data, size_t len) {
    s->data = sw_xrealloc(s->data, s->len + len + 1);
    if (len) {
        memcpy(s->data + s->len, data, len);
    }
    s->len += len;
}

static void append_le(struct sample *s, uint32_t v, int bytes) {
    for (int i = 0; i < bytes; i++, v >>= 8) {
        append(s, &(unsigned char){(unsigned char)v}, 1);
    }
}

static void png_extras(spng_ctx *ctx, const struct png_spec *spec) {
    struct spng_plte plte = {.n_entries = spec->palette_count};
    struct spng_trns trns = {0};
    for (unsigned i = 0; i < spec->palette_count; i++) {
        plte.entries[i] = (struct spng_plte_entry){spec->palette[3 * i], spec->palette[3 * i + 1],
                                                   spec->palette[3 * i + 2], 255};
    }
    NEED(spec->palette_count == 0 || spng_set_plte(ctx, &plte) == 0);
    if (spec->alpha_count && spec->color == SPNG_COLOR_TYPE_INDEXED) {
        trns.n_type3_entries = spec->alpha_count;
        memcpy(trns.type3_alpha, spec->alphas, spec->alpha_count);
        NEED(spng_set_trns(ctx, &trns) == 0);
    } else if (spec->alpha_count == 3) {
        trns.red = spec->alphas[0], trns.green = spec->alphas[1], trns.blue = spec->alphas[2];
        NEED(spng_set_trns(ctx, &trns) == 0);
    } else if (spec->trns_gray) {
        trns.gray = (uint16_t)spec->trns_gray;
        NEED(spng_set_trns(ctx, &trns) == 0);
    }
}

struct sample sample_png(const struct png_spec *spec, const void *pixels, size_t size) {
    spng_ctx *ctx = spng_ctx_new(SPNG_CTX_ENCODER);
    struct spng_ihdr ihdr = {.width = spec->width,
                             .height = spec->height,
                             .bit_depth = (uint8_t)spec->depth,
                             .color_type = (uint8_t)spec->color,
                             .interlace_method = spec->interlaced};
    NEED(ctx && spng_set_option(ctx, SPNG_ENCODE_TO_BUFFER, 1) == 0 && spng_set_ihdr(ctx, &ihdr) == 0);
    png_extras(ctx, spec);
    int code = spng_encode_image(ctx, pixels, size, SPNG_FMT_RAW, SPNG_ENCODE_FINALIZE);
    NEED(code == 0);
    struct sample s = {0};
    s.data = spng_get_png_buffer(ctx, &s.len, &code);
    NEED(s.data);
    spng_ctx_free(ctx);
    return s;
}

struct sample sample_jpeg(unsigned width, unsigned height, unsigned channels, const unsigned char *pixels,
                          enum jpeg_kind kind, int orientation) {
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct sample s = {0};
    unsigned long len = 0;
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &s.data, &len);
    jpeg.image_width = width;
    jpeg.image_height = height;
    jpeg.input_components = (int)channels;
    jpeg.in_color_space = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, 100, TRUE);
    for (int i = 0; i < jpeg.num_components; i++) {
        jpeg.comp_info[i].h_samp_factor = jpeg.comp_info[i].v_samp_factor = 1;
    }
    static const jpeg_scan_info separate[] = {{1, {0}, 0, 63, 0, 0}, {1, {1}, 0, 63, 0, 0}, {1, {2}, 0, 63, 0, 0}};
    if (kind == JPEG_PROGRESSIVE) {
        jpeg_simple_progression(&jpeg);
    } else if (kind == JPEG_SEPARATE) {
        jpeg.scan_info = separate;
        jpeg.num_scans = 3;
    }
    jpeg_start_compress(&jpeg, TRUE);
    if (orientation) {
        unsigned char exif[] = "Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0";
        exif[25] = (unsigned char)orientation;
        jpeg_write_marker(&jpeg, JPEG_APP0 + 1, exif, sizeof exif - 1);
    }
    while (jpeg.next_scanline < height) {
        JSAMPROW row = (JSAMPROW)(uintptr_t)(pixels + (size_t)jpeg.next_scanline * width * channels);
        jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    s.len = len;
    return s;
}

struct sample sample_webp(unsigned width, unsigned height, unsigned channels, const unsigned char *pixels,
                          bool lossless) {
    uint8_t *out = NULL;
    int w = (int)width, h = (int)height, stride = (int)(width * channels);
    size_t n = 0;
    if (lossless) {
        n = channels == 4 ? WebPEncodeLosslessRGBA(pixels, w, h, stride, &out)
                          : WebPEncodeLosslessRGB(pixels, w, h, stride, &out);
    } else {
        n = channels == 4 ? WebPEncodeRGBA(pixels, w, h, stride, 100, &out)
                          : WebPEncodeRGB(pixels, w, h, stride, 100, &out);
    }
    NEED(n > 0);
    struct sample s = {0};
    append(&s, out, n);
    WebPFree(out);
    return s;
}

struct sample sample_webp_animation(unsigned canvas_width, unsigned canvas_height, unsigned x, unsigned y,
                                    unsigned width, unsigned height, const unsigned char *rgba) {
    struct sample still = sample_webp(width, height, 4, rgba, true), s = {0};
    uint32_t chunk = (uint32_t)still.len - 12, frame = 16 + chunk; /* the VP8L chunk, header included */
    append(&s, "RIFF", 4);
    append_le(&s, 4 + 18 + 14 + 8 + frame, 4);
    append(&s, "WEBPVP8X", 8);
    append_le(&s, 10, 4);
    append_le(&s, 0x12, 4); /* animation, alpha */
    append_le(&s, canvas_width - 1, 3);
    append_le(&s, canvas_height - 1, 3);
    append(&s, "ANIM", 4);
    append_le(&s, 6, 4);
    append_le(&s, 0, 4);
    append_le(&s, 0, 2);
    append(&s, "ANMF", 4);
    append_le(&s, frame, 4);
    append_le(&s, x / 2, 3);
    append_le(&s, y / 2, 3);
    append_le(&s, width - 1, 3);
    append_le(&s, height - 1, 3);
    append_le(&s, 100, 3);
    append_le(&s, 0, 1);
    append(&s, still.data + 12, chunk);
    sample_free(&still);
    return s;
}

static int gif_write(GifFileType *gif, const GifByteType *data, int len) {
    append(gif->UserData, data, (size_t)len);
    return len;
}

static void gif_frame(GifFileType *gif, const struct gif_spec *spec, const unsigned char *indices) {
    static const struct { int start, step; } passes[] = {{0, 8}, {4, 8}, {2, 4}, {1, 2}};
    NEED(EGifPutImageDesc(gif, spec->left, spec->top, spec->width, spec->height, spec->interlaced, NULL) == GIF_OK);
    for (int pass = 0; pass < (spec->interlaced ? 4 : 1); pass++) {
        int step = spec->interlaced ? passes[pass].step : 1;
        for (int y = spec->interlaced ? passes[pass].start : 0; y < spec->height; y += step) {
            GifPixelType *line = (GifPixelType *)(uintptr_t)(indices + (size_t)y * (size_t)spec->width);
            NEED(EGifPutLine(gif, line, spec->width) == GIF_OK);
        }
    }
}

struct sample sample_gif(const struct gif_spec *spec, const unsigned char *palette, const unsigned char *indices) {
    struct sample s = {0};
    int code;
    GifFileType *gif = EGifOpen(&s, gif_write, &code);
    GifColorType colors[4];
    for (int i = 0; i < 4; i++) {
        colors[i] = (GifColorType){palette[3 * i], palette[3 * i + 1], palette[3 * i + 2]};
    }
    ColorMapObject *map = GifMakeMapObject(4, colors);
    NEED(gif && map);
    EGifSetGifVersion(gif, true);
    NEED(EGifPutScreenDesc(gif, spec->canvas_width, spec->canvas_height, 2, 0, map) == GIF_OK);
    GifFreeMapObject(map);
    if (spec->transparent >= 0) {
        GraphicsControlBlock control = {.TransparentColor = spec->transparent};
        GifByteType block[4];
        size_t n = EGifGCBToExtension(&control, block);
        NEED(EGifPutExtension(gif, GRAPHICS_EXT_FUNC_CODE, (int)n, block) == GIF_OK);
    }
    gif_frame(gif, spec, indices);
    if (spec->second) {
        gif_frame(gif, spec, indices);
    }
    NEED(EGifCloseFile(gif, &code) == GIF_OK);
    return s;
}

struct sample sample_bmp(const struct bmp_spec *spec, const void *body, size_t size) {
    struct sample s = {0};
    uint32_t header = spec->header ? spec->header : 40;
    uint32_t masks = header == 40 && spec->compression == 3 ? 12 : header == 40 && spec->compression == 6 ? 16 : 0;
    uint32_t entry = header == 12 ? 3 : 4;
    uint32_t at = 14 + header + masks + entry * spec->palette_count;
    append(&s, "BM", 2);
    append_le(&s, at + (uint32_t)size, 4);
    append_le(&s, 0, 4);
    append_le(&s, at, 4);
    append_le(&s, header, 4);
    if (header == 12) {
        append_le(&s, (uint32_t)spec->width, 2);
        append_le(&s, (uint32_t)spec->height, 2);
        append_le(&s, 1, 2);
        append_le(&s, spec->bits, 2);
    } else {
        append_le(&s, (uint32_t)spec->width, 4);
        append_le(&s, (uint32_t)spec->height, 4);
        append_le(&s, 1, 2);
        append_le(&s, spec->bits, 2);
        append_le(&s, spec->compression, 4);
        append_le(&s, (uint32_t)size, 4);
        append_le(&s, 0, 4);
        append_le(&s, 0, 4);
        append_le(&s, spec->palette_count, 4);
        append_le(&s, 0, 4);
        for (uint32_t i = 0; i < (header > 40 ? (header - 40) / 4 : masks / 4); i++) {
            append_le(&s, i < 4 ? spec->masks[i] : 0, 4);
        }
    }
    for (unsigned i = 0; i < spec->palette_count; i++) {
        const unsigned char *p = spec->palette + 3 * i;
        append(&s, (unsigned char[]){p[2], p[1], p[0], 0}, entry);
    }
    append(&s, body, size);
    return s;
}
