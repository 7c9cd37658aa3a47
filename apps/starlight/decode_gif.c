/* GIF: screen, blocks, frames, trailer. The first frame's indices are kept in display order; of all further frames the
 * picture data are read to their last code, and not stored.
 *
 * A GIF can promise far more pixels than it has bytes: frames cost time by their codes only (gif_lzw.c), and the pixels
 * of all frames together are bounded as well.
 *
 * Layout: GIF89a specification. */
#include "apps/starlight/decode_internal.h"
#include "base/memory.h"

enum {
    HEADER = 13, /* signature, logical screen descriptor */
    DESCRIPTOR = 9,
    EXTENSION = 0x21,
    IMAGE = 0x2c,
    TRAILER = 0x3b,
    GRAPHIC_CONTROL = 0xf9,
    COMMENT = 0xfe,
    APPLICATION = 0xff,
    ANIMATION_PIXELS = 16, /* times pixels_max: most pixels of all frames */
};

struct gif {
    struct sw_starlight_decoder *d;
    size_t at;
    const uint8_t *global; /* palette, RGB; NULL: none */
    uint32_t global_bits;
    int transparent; /* of the next frame; -1: none */
    uint32_t frames;
    uint64_t pixels; /* of all frames */
};

static sw_status truncated(struct gif *gif) {
    return sw_starlight_fault(gif->d, "it is truncated");
}

static size_t left(const struct gif *gif) {
    return gif->d->size - gif->at;
}

/* A colour table that `flags` announce; NULL when there is none. */
static sw_status read_table(struct gif *gif, uint8_t flags, const uint8_t **ret, uint32_t *ret_bits) {
    *ret = NULL;
    *ret_bits = 0;
    if (!(flags & 0x80)) {
        return SW_OK;
    }
    uint32_t bits = (flags & 7u) + 1;
    size_t size = (size_t)3 << bits;
    if (left(gif) < size) {
        return truncated(gif);
    }
    *ret = gif->d->data + gif->at;
    *ret_bits = bits;
    gif->at += size;
    return SW_OK;
}

/* Data blocks up to their terminator; *ret_size: bytes in them. */
static sw_status skip_blocks(struct gif *gif, uint64_t *ret_size) {
    *ret_size = 0;
    for (;;) {
        size_t n = left(gif) ? gif->d->data[gif->at] : 0;
        if (left(gif) < n + 1) {
            return truncated(gif);
        }
        gif->at += n + 1;
        if (n == 0) {
            return SW_OK;
        }
        *ret_size += n;
    }
}

static sw_status read_extension(struct gif *gif) {
    struct sw_starlight_image *image = gif->d->image;
    if (left(gif) < 2) {
        return truncated(gif);
    }
    const uint8_t *p = gif->d->data + gif->at;
    size_t room = left(gif);
    uint64_t size;
    gif->at++;
    SW_TRY(skip_blocks(gif, &size));
    if (p[0] == GRAPHIC_CONTROL && p[1] == 4 && room >= 6) {
        gif->transparent = p[2] & 1 ? p[5] : -1;
    } else if (p[0] == COMMENT) {
        image->comment_bytes += size;
    } else if (p[0] == APPLICATION && p[1] == 11 && memcmp(p + 2, "XMP DataXMP", 11) == 0) {
        image->xmp_bytes += size;
    } else if (p[0] == APPLICATION && p[1] == 11 && memcmp(p + 2, "ICCRGBG1012", 11) == 0) {
        image->icc_bytes += size;
    }
    return SW_OK;
}

static void take_palette(struct gif *gif, const uint8_t *table, uint32_t bits) {
    struct sw_starlight_image *image = gif->d->image;
    table = table ? table : gif->global;
    bits = table == gif->global ? gif->global_bits : bits;
    image->palette_count = table ? 1u << bits : 0;
    for (uint32_t i = 0; i < 256; i++) {
        if (i < image->palette_count) {
            memcpy(image->palette[i], table + 3 * i, 3);
        }
        image->palette[i][3] = (int)i == gif->transparent ? 0 : 255;
    }
    image->bit_depth = bits <= 2 ? bits : bits <= 4 ? 4 : 8;
    image->bit_depth = bits ? image->bit_depth : 8;
}

/* Rows as stored, pass after pass, to rows from the top down. */
static void deinterlace(const uint8_t *in, uint8_t *out, uint32_t width, uint32_t height) {
    static const struct { uint32_t start, step; } passes[4] = {{0, 8}, {4, 8}, {2, 4}, {1, 2}};
    for (size_t pass = 0; pass < 4; pass++) {
        for (uint32_t y = passes[pass].start; y < height; y += passes[pass].step, in += width) {
            memcpy(out + (size_t)y * width, in, width);
        }
    }
}

static sw_status read_codes(struct gif *gif, uint8_t *out, uint64_t count) {
    size_t used;
    const char *wrong = sw_starlight_gif_lzw(gif->d->data + gif->at, left(gif), out, count, &used);
    if (wrong) {
        return sw_starlight_fault(gif->d, "frame %u: %s", gif->frames, wrong);
    }
    gif->at += used;
    return SW_OK;
}

static sw_status read_first(struct gif *gif, uint32_t width, uint32_t height) {
    struct sw_starlight_decoder *d = gif->d;
    uint64_t count = (uint64_t)width * height;
    SW_TRY(sw_starlight_alloc(d, count, &d->image->indices));
    d->image->raster_width = width;
    d->image->raster_height = height;
    if (!d->image->interlaced) {
        return read_codes(gif, d->image->indices, count);
    }
    SW_AUTO_FREE uint8_t *stored = NULL;
    SW_TRY(sw_starlight_scratch(d, count, &stored));
    SW_TRY(read_codes(gif, stored, count));
    deinterlace(stored, d->image->indices, width, height);
    return SW_OK;
}

static sw_status read_frame(struct gif *gif) {
    struct sw_starlight_decoder *d = gif->d;
    if (left(gif) < DESCRIPTOR) {
        return truncated(gif);
    }
    const uint8_t *p = d->data + gif->at, *table;
    uint32_t width = sw_starlight_le16(p + 4), height = sw_starlight_le16(p + 6), bits;
    uint64_t count = (uint64_t)width * height;
    gif->at += DESCRIPTOR;
    SW_TRY(sw_starlight_count_frame(d, ++gif->frames));
    SW_TRY(sw_starlight_check_size(d, width, height));
    SW_TRY(read_table(gif, p[8], &table, &bits));
    gif->pixels += count;
    if (gif->pixels / ANIMATION_PIXELS > d->limits->pixels_max) {
        return sw_starlight_fault(d, "its frames have more than %llu pixels together",
                                  (unsigned long long)d->limits->pixels_max * ANIMATION_PIXELS);
    }
    if (gif->frames > 1) {
        return read_codes(gif, NULL, count);
    }
    if (d->image->width == 0) { /* no screen: as large as the first frame reaches */
        SW_TRY(sw_starlight_set_canvas(d, sw_starlight_le16(p) + (uint64_t)width,
                                       sw_starlight_le16(p + 2) + (uint64_t)height));
    }
    d->image->interlaced = p[8] & 0x40;
    take_palette(gif, table, bits);
    return read_first(gif, width, height);
}

static sw_status read_blocks(struct gif *gif) {
    struct sw_starlight_decoder *d = gif->d;
    for (;;) {
        if (left(gif) == 0) {
            return sw_starlight_fault(d, "it is truncated: no trailer");
        }
        SW_TRY(sw_starlight_count_chunk(d));
        uint8_t type = d->data[gif->at++];
        if (type == TRAILER) {
            return gif->frames ? SW_OK : sw_starlight_fault(d, "it holds no picture");
        }
        if (type == EXTENSION) {
            SW_TRY(read_extension(gif));
        } else if (type == IMAGE) {
            SW_TRY(read_frame(gif));
            gif->transparent = -1;
        } else if (type != 0) { /* some writers end a picture twice */
            return sw_starlight_fault(d, "a block of unknown type %u", type);
        }
    }
}

sw_status sw_starlight_decode_gif(struct sw_starlight_decoder *d) {
    struct gif gif = {.d = d, .at = HEADER, .transparent = -1};
    if (d->size < HEADER) {
        return sw_starlight_fault(d, "it is truncated");
    }
    uint32_t width = sw_starlight_le16(d->data + 6), height = sw_starlight_le16(d->data + 8);
    if (width && height) {
        SW_TRY(sw_starlight_set_canvas(d, width, height));
    }
    SW_TRY(read_table(&gif, d->data[10], &gif.global, &gif.global_bits));
    SW_TRY(read_blocks(&gif));
    sw_starlight_set_trailing(d, gif.at);
    return SW_OK;
}
