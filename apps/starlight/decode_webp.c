/* WebP: the walk over the RIFF chunks, then the first picture by libwebp.
 *
 * The library gets the chunks of one picture alone (its ALPH and VP8 or VP8L chunk), never the file: sizes, metadata and
 * the end of the image are known from the walk. Of an animation that is the first frame as it is stored, not pasted on
 * its canvas; of the others the headers are checked and the frames counted.
 *
 * Lossless (VP8L) pixels come out exactly as stored, colours under alpha 0 too. Lossy (VP8) ones are made only when they are
 * wanted or when there is an alpha plane, which is lossless or nearly so and can carry a message. Else the picture is
 * decoded into a window of one macroblock at its last corner, which reads all of the data and needs no memory.
 *
 * Layout: WebP Container Specification; WebP Lossless Bitstream Specification, section 3. */
#include <webp/decode.h>

#include "apps/starlight/decode_internal.h"
#include "base/memory.h"

enum {
    RIFF_HEADER = 12, /* "RIFF", size, "WEBP" */
    CHUNK_HEADER = 8,
    FRAME_HEADER = 16, /* in an ANMF chunk, before the frame's own chunks */
    CANVAS_HEADER = 10,
    LOSSLESS_HEADER = 5,
    LOSSY_HEADER = 10,
    WINDOW = 16, /* pixels; a macroblock */
};

#define TYPE(a, b, c, d) ((uint32_t)(d) << 24 | (uint32_t)(c) << 16 | (uint32_t)(b) << 8 | (uint32_t)(a))

/* One picture's chunks. */
struct picture {
    const uint8_t *alpha, *data; /* chunks, headers included; NULL: none */
    size_t alpha_size, data_size;
    bool lossy, has_alpha;
    uint32_t width, height;
};

struct webp {
    struct sw_starlight_decoder *d;
    struct picture first;
    bool extended; /* VP8X was read */
    bool animated;
    uint32_t frames;
};

struct chunk {
    uint32_t type;
    const uint8_t *data; /* behind the header */
    size_t size;
};

/* The chunk at *at within `end`; moves *at behind it and its padding. */
static sw_status next_chunk(struct webp *w, size_t *at, size_t end, struct chunk *ret) {
    struct sw_starlight_decoder *d = w->d;
    SW_TRY(sw_starlight_count_chunk(d));
    if (end - *at < CHUNK_HEADER) {
        return sw_starlight_fault(d, "it is truncated inside a chunk");
    }
    const uint8_t *p = d->data + *at;
    size_t size = sw_starlight_le32(p + 4);
    if (size > end - *at - CHUNK_HEADER) {
        return sw_starlight_fault(d, "it is truncated inside a chunk, or a chunk's size is wrong");
    }
    *ret = (struct chunk){sw_starlight_le32(p), p + CHUNK_HEADER, size};
    *at += CHUNK_HEADER + size;
    *at += (size & 1) && *at < end;
    return SW_OK;
}

/* Size and alpha as the bitstreams' own headers say. */
static sw_status read_bitstream(struct webp *w, const struct chunk *c, struct picture *p) {
    struct sw_starlight_decoder *d = w->d;
    if (p->data) {
        return sw_starlight_fault(d, "it has two pictures in one frame");
    }
    p->data = c->data - CHUNK_HEADER;
    p->data_size = c->size + CHUNK_HEADER;
    p->lossy = c->type == TYPE('V', 'P', '8', ' ');
    if (p->lossy) {
        if (c->size < LOSSY_HEADER || memcmp(c->data + 3, "\x9d\x01\x2a", 3) != 0) {
            return sw_starlight_fault(d, "its VP8 header is damaged");
        }
        p->width = sw_starlight_le16(c->data + 6) & 0x3fff;
        p->height = sw_starlight_le16(c->data + 8) & 0x3fff;
        p->has_alpha = p->alpha != NULL;
        return SW_OK;
    }
    if (c->size < LOSSLESS_HEADER || c->data[0] != 0x2f) {
        return sw_starlight_fault(d, "its VP8L header is damaged");
    }
    uint32_t bits = sw_starlight_le32(c->data + 1);
    p->width = (bits & 0x3fff) + 1;
    p->height = (bits >> 14 & 0x3fff) + 1;
    p->has_alpha = bits >> 28 & 1;
    p->alpha = NULL; /* an ALPH chunk means nothing here */
    return SW_OK;
}

/* ALPH, VP8 and VP8L, at the top level or inside a frame; others are left alone. */
static sw_status take_picture_chunk(struct webp *w, const struct chunk *c, struct picture *p) {
    if (c->type == TYPE('A', 'L', 'P', 'H') && !p->data) {
        p->alpha = c->data - CHUNK_HEADER;
        p->alpha_size = c->size + CHUNK_HEADER;
    } else if (c->type == TYPE('V', 'P', '8', ' ') || c->type == TYPE('V', 'P', '8', 'L')) {
        return read_bitstream(w, c, p);
    }
    return SW_OK;
}

static sw_status read_canvas(struct webp *w, const struct chunk *c) {
    if (c->size < CANVAS_HEADER || w->extended) {
        return sw_starlight_fault(w->d, "its VP8X header is damaged");
    }
    w->extended = true;
    w->animated = c->data[0] & 2;
    return sw_starlight_set_canvas(w->d, (uint64_t)sw_starlight_le24(c->data + 4) + 1,
                                   (uint64_t)sw_starlight_le24(c->data + 7) + 1);
}

static sw_status read_frame(struct webp *w, const struct chunk *c) {
    struct sw_starlight_decoder *d = w->d;
    struct picture picture = {0};
    if (!w->animated || c->size < FRAME_HEADER) {
        return sw_starlight_fault(d, "a frame is damaged or out of place");
    }
    SW_TRY(sw_starlight_count_frame(d, ++w->frames));
    size_t at = (size_t)(c->data - d->data) + FRAME_HEADER, end = (size_t)(c->data - d->data) + c->size;
    while (at < end) {
        struct chunk inner;
        SW_TRY(next_chunk(w, &at, end, &inner));
        SW_TRY(take_picture_chunk(w, &inner, &picture));
    }
    uint64_t x = 2ull * sw_starlight_le24(c->data), y = 2ull * sw_starlight_le24(c->data + 3);
    if (!picture.data || picture.width != sw_starlight_le24(c->data + 6) + 1 ||
        picture.height != sw_starlight_le24(c->data + 9) + 1 || x + picture.width > d->image->width ||
        y + picture.height > d->image->height) {
        return sw_starlight_fault(d, "frame %u is not as large as it says, or lies outside", w->frames);
    }
    if (w->frames == 1) {
        w->first = picture;
    }
    return SW_OK;
}

static sw_status take_chunk(struct webp *w, const struct chunk *c, bool at_start) {
    struct sw_starlight_image *image = w->d->image;
    switch (c->type) {
    case TYPE('V', 'P', '8', 'X'):
        return at_start ? read_canvas(w, c) : sw_starlight_fault(w->d, "its VP8X chunk is out of place");
    case TYPE('A', 'N', 'M', 'F'): return read_frame(w, c);
    case TYPE('E', 'X', 'I', 'F'): sw_starlight_take_exif(w->d, c->data, c->size, false); return SW_OK;
    case TYPE('X', 'M', 'P', ' '): image->xmp_bytes += c->size; return SW_OK;
    case TYPE('I', 'C', 'C', 'P'): image->icc_bytes += c->size; return SW_OK;
    default: return w->animated ? SW_OK : take_picture_chunk(w, c, &w->first);
    }
}

static sw_status walk(struct webp *w) {
    struct sw_starlight_decoder *d = w->d;
    uint64_t riff = sw_starlight_le32(d->data + 4);
    if (riff < 4 || riff + CHUNK_HEADER > d->size) {
        return sw_starlight_fault(d, "%s",
                                  riff < 4 ? "its RIFF size is wrong" : "it is truncated: its RIFF size is larger");
    }
    size_t at = RIFF_HEADER, end = (size_t)riff + CHUNK_HEADER;
    while (at < end) {
        struct chunk c;
        bool at_start = at == RIFF_HEADER;
        SW_TRY(next_chunk(w, &at, end, &c));
        SW_TRY(take_chunk(w, &c, at_start));
    }
    if (!w->first.data) {
        return sw_starlight_fault(d, "it holds no picture");
    }
    sw_starlight_set_trailing(d, end + ((riff & 1) && end < d->size));
    return SW_OK;
}

/* ---- The picture ---- */

static void put_le32(uint8_t *p, uint32_t v) {
    for (int i = 0; i < 4; i++) {
        p[i] = (uint8_t)(v >> (8 * i));
    }
}

/* A file of this picture alone. A lossy one with alpha needs a VP8X header in front. */
static sw_status wrap(struct webp *w, const struct picture *p, uint8_t **ret, size_t *ret_size) {
    bool extended = p->alpha != NULL;
    size_t alpha_padded = p->alpha_size + (p->alpha_size & 1), data_padded = p->data_size + (p->data_size & 1);
    size_t size = RIFF_HEADER + (extended ? CHUNK_HEADER + CANVAS_HEADER + alpha_padded : 0) + data_padded;
    SW_TRY(sw_starlight_scratch(w->d, size, ret));
    uint8_t *out = *ret;
    memset(out, 0, size);
    memcpy(out, "RIFF\0\0\0\0WEBPVP8X", 16);
    put_le32(out + 4, (uint32_t)size - CHUNK_HEADER);
    out += RIFF_HEADER;
    if (extended) {
        put_le32(out + 4, CANVAS_HEADER);
        out[8] = 0x10; /* has alpha */
        put_le32(out + 12, p->width - 1);
        put_le32(out + 15, p->height - 1); /* the fourth byte is overwritten next */
        out += CHUNK_HEADER + CANVAS_HEADER;
        memcpy(out, p->alpha, p->alpha_size);
        out += alpha_padded;
    }
    memcpy(out, p->data, p->data_size);
    *ret_size = size;
    return SW_OK;
}

static sw_status run_library(struct webp *w, WebPDecoderConfig *config, const uint8_t *file, size_t size) {
    VP8StatusCode code = WebPDecode(file, size, config);
    WebPFreeDecBuffer(&config->output);
    switch (code) {
    case VP8_STATUS_OK: return SW_OK;
    case VP8_STATUS_OUT_OF_MEMORY: return sw_fail(w->d->err, SW_E_UNAVAILABLE, "out of memory: WebP");
    case VP8_STATUS_NOT_ENOUGH_DATA: return sw_starlight_fault(w->d, "its picture data are truncated");
    default: return sw_starlight_fault(w->d, "its picture data are damaged");
    }
}

static void write_to(WebPDecoderConfig *config, uint8_t *out, uint32_t width, uint32_t height, uint32_t channels) {
    config->output.colorspace = channels == 4 ? MODE_RGBA : MODE_RGB;
    config->output.is_external_memory = 1;
    config->output.u.RGBA.rgba = out;
    config->output.u.RGBA.stride = (int)(width * channels);
    config->output.u.RGBA.size = (size_t)width * height * channels;
}

/* Decodes all and keeps one macroblock. */
static sw_status check_lossy(struct webp *w, WebPDecoderConfig *config, const uint8_t *file, size_t size) {
    const struct picture *p = &w->first;
    uint8_t window[WINDOW * WINDOW * 3];
    uint32_t width = p->width < WINDOW ? p->width : WINDOW, height = p->height < WINDOW ? p->height : WINDOW;
    uint32_t left = (p->width - width) & ~1u, top = (p->height - height) & ~1u; /* the library wants even ones */
    config->options.bypass_filtering = 1;
    config->options.no_fancy_upsampling = 1;
    config->options.use_cropping = 1;
    config->options.crop_left = (int)left;
    config->options.crop_top = (int)top;
    config->options.crop_width = (int)width;
    config->options.crop_height = (int)height;
    write_to(config, window, width, height, 3);
    return run_library(w, config, file, size);
}

static sw_status decode_picture(struct webp *w) {
    struct sw_starlight_decoder *d = w->d;
    struct sw_starlight_image *image = d->image;
    const struct picture *p = &w->first;
    WebPDecoderConfig config;
    SW_AUTO_FREE uint8_t *file = NULL;
    size_t size;
    if (!WebPInitDecoderConfig(&config)) {
        return sw_fail(d->err, SW_E_INTERNAL, "libwebp does not fit this build");
    }
    SW_TRY(wrap(w, p, &file, &size));
    image->lossy = p->lossy;
    image->has_alpha = p->has_alpha;
    image->bit_depth = 8;
    if (p->lossy && !p->has_alpha && d->wanted != SW_STARLIGHT_ALL_PIXELS) {
        return check_lossy(w, &config, file, size);
    }
    uint32_t channels = p->has_alpha ? 4 : 3;
    SW_TRY(sw_starlight_reserve(d, (uint64_t)p->width * p->height * (p->lossy ? 1 : 4))); /* the library's own */
    SW_TRY(sw_starlight_alloc(d, (uint64_t)p->width * p->height * channels, &image->pixels));
    image->channels = channels;
    image->raster_width = p->width;
    image->raster_height = p->height;
    write_to(&config, image->pixels, p->width, p->height, channels);
    return run_library(w, &config, file, size);
}

sw_status sw_starlight_decode_webp(struct sw_starlight_decoder *d) {
    struct webp w = {.d = d};
    SW_TRY(walk(&w));
    if (!w.extended) {
        SW_TRY(sw_starlight_set_canvas(d, w.first.width, w.first.height));
    } else if (!w.animated && (w.first.width != d->image->width || w.first.height != d->image->height)) {
        return sw_starlight_fault(d, "its picture is not as large as its canvas");
    }
    SW_TRY(sw_starlight_check_size(d, w.first.width, w.first.height));
    return decode_picture(&w);
}
