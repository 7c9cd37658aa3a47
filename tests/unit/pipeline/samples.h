/* Encoders for tests: raw pixels to each format, with the libraries' own writers (BMP and the WebP animation by hand).
 * Results are on the heap (sample_free). A failing writer ends the test. */
#ifndef TEST_PIPELINE_SAMPLES_H
#define TEST_PIPELINE_SAMPLES_H

#include "base/str.h"

struct sample {
    unsigned char *data;
    size_t len;
};

static inline struct sw_str sample_str(const struct sample *s) {
    return (struct sw_str){(const char *)s->data, s->len};
}
void sample_free(struct sample *s);

/* color: the PNG colour type; pixels: raw rows as PNG stores them, 16-bit samples big-endian. palette: RGB triples.
 * trns: gray (1 value) or RGB (3 values) or palette alphas, as the colour type asks; NULL: none. */
struct png_spec {
    unsigned width, height, depth, color;
    bool interlaced;
    const unsigned char *palette;
    unsigned palette_count;
    const unsigned char *alphas;
    unsigned alpha_count;
    int trns_gray;
};
struct sample sample_png(const struct png_spec *spec, const void *pixels, size_t size);

enum jpeg_kind { JPEG_BASELINE, JPEG_PROGRESSIVE, JPEG_SEPARATE }; /* the last: a baseline scan for each component */

/* channels 1, 3 or 4 (CMYK as Adobe writes it); quality 100; orientation 0: no EXIF block. */
struct sample sample_jpeg(unsigned width, unsigned height, unsigned channels, const unsigned char *pixels,
                          enum jpeg_kind kind, int orientation);

struct sample sample_webp(unsigned width, unsigned height, unsigned channels, const unsigned char *pixels,
                          bool lossless);
/* An animation of one lossless frame at (x, y), both even, on a canvas. */
struct sample sample_webp_animation(unsigned canvas_width, unsigned canvas_height, unsigned x, unsigned y,
                                    unsigned width, unsigned height, const unsigned char *rgba);

/* Indices into a palette of four RGB colours; transparent -1: none. `second`: a further frame follows. */
struct gif_spec {
    int canvas_width, canvas_height, left, top, width, height;
    bool interlaced, second;
    int transparent;
};
struct sample sample_gif(const struct gif_spec *spec, const unsigned char *palette, const unsigned char *indices);

/* A BMP: header of 40 bytes (or `header` bytes, zero-filled), palette of BGR0 entries, then the body as given. */
struct bmp_spec {
    int width, height;
    unsigned bits, compression, header;
    const unsigned masks[4];
    const unsigned char *palette;
    unsigned palette_count;
};
struct sample sample_bmp(const struct bmp_spec *spec, const void *body, size_t size);

#endif
