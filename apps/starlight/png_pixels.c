/* PNG pixels: inflate, undo the filters, and store bytes as image.h says.
 *
 * All rows are inflated at once, which is what the library is fast at, into the END of the buffer that becomes the image;
 * rows are then unfiltered, widened to bytes and written to its beginning. The buffer is as large as it takes for writing
 * never to reach what is yet to be read, so that an image of 20 megapixels needs its pixels' memory once and a row more:
 *
 *     |row 0|row 1|row 2| ...free...   |filtered row 3|filtered row 4|...|
 *     0                  written up to  read from                        size
 *
 * Interlaced images are written out of order and need both at once.
 *
 * Filters and passes: PNG specification (third edition), sections 8 and 9. */
#include <endian.h>

#include <libdeflate.h>

#include "apps/starlight/decode_internal.h"
#include "base/memory.h"

/* Where the pixels of a pass stand. */
struct pass {
    uint8_t x, y, step_x, step_y;
};

static const struct pass adam7[7] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                                     {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};

struct layout {
    const struct sw_starlight_png *png;
    uint32_t pixel_bits; /* stored */
    uint32_t distance;   /* bytes from a byte to the one before it that filters look at */
    uint32_t channels;   /* bytes written for a pixel */
};

static uint64_t row_bytes(const struct layout *l, uint32_t width) {
    return ((uint64_t)width * l->pixel_bits + 7) / 8;
}

static uint32_t pass_width(const struct layout *l, const struct pass *p) {
    return l->png->width > p->x ? (l->png->width - p->x + p->step_x - 1) / p->step_x : 0;
}

static uint32_t pass_height(const struct layout *l, const struct pass *p) {
    return l->png->height > p->y ? (l->png->height - p->y + p->step_y - 1) / p->step_y : 0;
}

/* Bytes of all filtered rows, each with its filter type in front; a pass without columns has no rows. */
static uint64_t filtered_size(const struct layout *l, const struct pass *passes, size_t count) {
    uint64_t size = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t width = pass_width(l, &passes[i]);
        size += width ? (row_bytes(l, width) + 1) * pass_height(l, &passes[i]) : 0;
    }
    return size;
}

/* ---- Filters: `row` is what the file has, `above` the row above, done; n bytes to `out`. ---- */

typedef uint8_t bytes8 __attribute__((vector_size(8)));
typedef int16_t words8 __attribute__((vector_size(16)));

/* One pixel of `distance` bytes, through a register: a vector that is put together in memory stalls. The compiler makes
 * one or two moves of it, as distance is a constant in the end. */
static inline bytes8 load(const uint8_t *p, size_t distance) {
    uint64_t v = 0;
    if (distance == 3) {
        v = (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16;
    } else if (distance == 6) {
        v = (uint64_t)sw_starlight_le16(p) | (uint64_t)sw_starlight_le32(p + 2) << 16;
    } else {
        memcpy(&v, p, distance);
        v = le64toh(v);
    }
    return (bytes8)htole64(v);
}

static inline void store(uint8_t *out, bytes8 pixel, size_t distance) {
    uint64_t v = (uint64_t)pixel;
    memcpy(out, &v, distance);
}

static inline words8 widen(bytes8 v) {
    return __builtin_convertvector(v, words8);
}

static inline words8 magnitude(words8 v) {
    words8 sign = v >> 15;
    return (v ^ sign) - sign;
}

/* Which of left, above and above left is nearest to left + above - above_left; in that order when equal. */
static inline words8 nearest(words8 left, words8 above, words8 above_left) {
    words8 to_left = magnitude(above - above_left), to_above = magnitude(left - above_left);
    words8 to_corner = magnitude(left + above - above_left - above_left);
    words8 take_left = (to_left <= to_above) & (to_left <= to_corner);
    words8 take_above = ~take_left & (to_above <= to_corner);
    return (left & take_left) | (above & take_above) | (above_left & ~(take_left | take_above));
}

__attribute__((always_inline)) static inline void undo_sub(const uint8_t *row, uint8_t *out, size_t n,
                                                           size_t distance) {
    bytes8 left = {0};
    for (size_t i = 0; i < n; i += distance) {
        left += load(row + i, distance);
        store(out + i, left, distance);
    }
}

__attribute__((always_inline)) static inline void undo_average(const uint8_t *row, const uint8_t *above, uint8_t *out,
                                                               size_t n, size_t distance) {
    bytes8 left = {0};
    for (size_t i = 0; i < n; i += distance) {
        words8 mean = (widen(left) + widen(load(above + i, distance))) >> 1;
        left = load(row + i, distance) + __builtin_convertvector(mean, bytes8);
        store(out + i, left, distance);
    }
}

__attribute__((always_inline)) static inline void undo_paeth(const uint8_t *row, const uint8_t *above, uint8_t *out,
                                                             size_t n, size_t distance) {
    words8 left = {0}, above_left = {0}, low = (words8){0} + 255;
    for (size_t i = 0; i < n; i += distance) {
        words8 up = widen(load(above + i, distance));
        left = (widen(load(row + i, distance)) + nearest(left, up, above_left)) & low;
        above_left = up;
        store(out + i, __builtin_convertvector(left, bytes8), distance);
    }
}

static void undo_up(const uint8_t *restrict row, const uint8_t *restrict above, uint8_t *restrict out, size_t n) {
    for (size_t i = 0; i < n; i++) {
        out[i] = (uint8_t)(row[i] + above[i]);
    }
}

__attribute__((always_inline)) static inline void undo(uint32_t filter, const uint8_t *row, const uint8_t *above,
                                                       uint8_t *out, size_t n, size_t distance) {
    switch (filter) {
    case 0: memcpy(out, row, n); break;
    case 1: undo_sub(row, out, n, distance); break;
    case 2: undo_up(row, above, out, n); break;
    case 3: undo_average(row, above, out, n, distance); break;
    default: undo_paeth(row, above, out, n, distance); break;
    }
}

/* n is a whole number of pixels. false: no such filter. */
static bool unfilter(uint32_t filter, const uint8_t *row, const uint8_t *above, uint8_t *out, size_t n,
                     uint32_t distance) {
    switch (distance) {
    case 1: undo(filter, row, above, out, n, 1); break;
    case 2: undo(filter, row, above, out, n, 2); break;
    case 3: undo(filter, row, above, out, n, 3); break;
    case 4: undo(filter, row, above, out, n, 4); break;
    case 6: undo(filter, row, above, out, n, 6); break;
    default: undo(filter, row, above, out, n, 8); break;
    }
    return filter <= 4;
}

/* ---- Rows to bytes ---- */

static void unpack_bits(const uint8_t *in, uint8_t *out, uint32_t width, uint32_t depth, uint32_t scale,
                        uint32_t channels) {
    uint32_t per_byte = 8 / depth, mask = (1u << depth) - 1;
    for (uint32_t x = 0; x < width; x++) {
        uint32_t shift = 8 - depth * (x % per_byte + 1);
        memset(out + (size_t)x * channels, (int)((in[x / per_byte] >> shift & mask) * scale), channels);
    }
}

static void widen_gray(const uint8_t *in, uint8_t *out, uint32_t width, uint32_t sample, bool alpha) {
    for (uint32_t x = 0; x < width; x++, in += sample * (alpha ? 2 : 1)) {
        *out++ = in[0];
        *out++ = in[0];
        *out++ = in[0];
        if (alpha) {
            *out++ = in[sample];
        }
    }
}

static void convert_row(const struct layout *l, const uint8_t *in, uint8_t *out, uint32_t width) {
    const struct sw_starlight_png *png = l->png;
    uint32_t sample = png->depth / 8;
    if (png->depth < 8) {
        bool gray = png->color == 0;
        unpack_bits(in, out, width, png->depth, gray ? 255 / ((1u << png->depth) - 1) : 1, l->channels);
    } else if (png->color == 0 || png->color == 4) {
        widen_gray(in, out, width, sample, png->color == 4);
    } else if (sample == 1) {
        memcpy(out, in, (size_t)width * l->channels);
    } else {
        for (size_t i = 0; i < (size_t)width * l->channels; i++) {
            out[i] = in[2 * i];
        }
    }
}

/* ---- Images ---- */

static sw_status inflate(struct sw_starlight_decoder *d, const uint8_t *zlib, size_t size, uint8_t *out,
                         size_t out_size) {
    struct libdeflate_decompressor *inflater = libdeflate_alloc_decompressor();
    if (!inflater) {
        return sw_fail(d->err, SW_E_UNAVAILABLE, "out of memory: PNG");
    }
    enum libdeflate_result result = libdeflate_zlib_decompress(inflater, zlib, size, out, out_size, NULL);
    libdeflate_free_decompressor(inflater);
    switch (result) {
    case LIBDEFLATE_SUCCESS: return SW_OK;
    case LIBDEFLATE_SHORT_OUTPUT: return sw_starlight_fault(d, "it has fewer pixels than its size says");
    case LIBDEFLATE_INSUFFICIENT_SPACE: return sw_starlight_fault(d, "it has more pixels than its size says");
    default: return sw_starlight_fault(d, "its pixels are damaged");
    }
}

static sw_status unknown_filter(struct sw_starlight_decoder *d) {
    return sw_starlight_fault(d, "a row has an unknown filter");
}

/* Filtered rows at `in`, rows to `out`. `rows`: two rows of scratch; the first call finds zeros above the image. */
static sw_status store_rows(struct sw_starlight_decoder *d, const struct layout *l, const uint8_t *in, uint8_t *out,
                            uint8_t *rows) {
    uint32_t width = l->png->width, height = l->png->height;
    size_t n = (size_t)row_bytes(l, width), out_n = (size_t)width * l->channels;
    bool direct = l->png->depth == 8 && (l->png->color == 2 || l->png->color == 6 || l->png->color == 3);
    const uint8_t *above = rows; /* zeros */
    for (uint32_t y = 0; y < height; y++, in += n + 1, out += out_n) {
        uint8_t *row = direct ? out : rows + (y % 2 ? 0 : n);
        if (!unfilter(in[0], in + 1, above, row, n, l->distance)) {
            return unknown_filter(d);
        }
        if (!direct) {
            convert_row(l, row, out, width);
        }
        above = row;
    }
    return SW_OK;
}

static sw_status decode_straight(struct sw_starlight_decoder *d, const struct layout *l, const uint8_t *zlib,
                                 size_t size, uint8_t **ret) {
    uint64_t in_row = row_bytes(l, l->png->width) + 1, in_size = in_row * l->png->height;
    uint64_t out_row = (uint64_t)l->png->width * l->channels, out_size = out_row * l->png->height;
    /* Row y is written below (y + 1) * out_row and read from total - in_size + y * in_row on; linear in y, so that it
     * is enough to look at the first and the last one. */
    uint64_t total = in_size + out_row > out_size + in_row ? in_size + out_row : out_size + in_row;
    SW_AUTO_FREE uint8_t *rows = NULL;
    SW_TRY(sw_starlight_scratch(d, 2 * in_row, &rows));
    memset(rows, 0, (size_t)(2 * in_row));
    SW_TRY(sw_starlight_alloc(d, total, ret));
    uint8_t *in = *ret + (total - in_size);
    SW_TRY(inflate(d, zlib, size, in, (size_t)in_size));
    SW_TRY(store_rows(d, l, in, *ret, rows));
    if (total - out_size > out_size / 8) {
        sw_starlight_shrink(d, ret, total, out_size);
    }
    return SW_OK;
}

struct interlaced {
    const uint8_t *in; /* filtered rows that are left */
    uint8_t *rows;     /* two filtered rows */
    uint8_t *pixels;   /* a row of a pass, converted */
    uint8_t *out;
};

static sw_status store_pass(struct sw_starlight_decoder *d, const struct layout *l, const struct pass *pass,
                            struct interlaced *s) {
    uint32_t width = pass_width(l, pass), height = pass_height(l, pass), c = l->channels;
    size_t n = (size_t)row_bytes(l, width), out_row = (size_t)l->png->width * c;
    memset(s->rows, 0, n);
    for (uint32_t i = 0; width && i < height; i++, s->in += n + 1) {
        uint8_t *above = s->rows + (i % 2 ? n : 0), *row = s->rows + (i % 2 ? 0 : n);
        if (!unfilter(s->in[0], s->in + 1, above, row, n, l->distance)) {
            return unknown_filter(d);
        }
        convert_row(l, row, s->pixels, width);
        uint8_t *out = s->out + (pass->y + (size_t)i * pass->step_y) * out_row + (size_t)pass->x * c;
        for (uint32_t x = 0; x < width; x++, out += (size_t)pass->step_x * c) {
            memcpy(out, s->pixels + (size_t)x * c, c);
        }
    }
    return SW_OK;
}

static sw_status decode_interlaced(struct sw_starlight_decoder *d, const struct layout *l, const uint8_t *zlib,
                                   size_t size, uint8_t **ret) {
    uint64_t in_size = filtered_size(l, adam7, 7), row = row_bytes(l, l->png->width);
    uint64_t out_row = (uint64_t)l->png->width * l->channels;
    SW_AUTO_FREE uint8_t *in = NULL;
    SW_AUTO_FREE uint8_t *rows = NULL;
    SW_TRY(sw_starlight_scratch(d, in_size, &in));
    SW_TRY(sw_starlight_scratch(d, 2 * row + out_row, &rows));
    SW_TRY(inflate(d, zlib, size, in, (size_t)in_size));
    SW_TRY(sw_starlight_alloc(d, out_row * l->png->height, ret));
    struct interlaced s = {.in = in, .rows = rows, .pixels = rows + 2 * row, .out = *ret};
    for (size_t i = 0; i < 7; i++) {
        SW_TRY(store_pass(d, l, &adam7[i], &s));
    }
    return SW_OK;
}

sw_status sw_starlight_png_pixels(struct sw_starlight_decoder *d, const struct sw_starlight_png *png,
                                  const uint8_t *zlib, size_t size) {
    static const uint8_t samples[7] = {1, 0, 3, 1, 2, 0, 4}, channels[7] = {3, 0, 3, 1, 4, 0, 4};
    struct sw_starlight_image *image = d->image;
    struct layout l = {.png = png, .pixel_bits = samples[png->color] * png->depth, .channels = channels[png->color]};
    l.distance = l.pixel_bits < 8 ? 1 : l.pixel_bits / 8;
    bool palette = png->color == 3;
    uint8_t **out = palette ? &image->indices : &image->pixels;
    SW_TRY(png->interlaced ? decode_interlaced(d, &l, zlib, size, out) : decode_straight(d, &l, zlib, size, out));
    image->channels = palette ? 0 : l.channels;
    image->raster_width = png->width;
    image->raster_height = png->height;
    return SW_OK;
}
