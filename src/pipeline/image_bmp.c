/* See image_bmp.h. Sizes are checked before they are used; every read goes through the cursor of RLE or a range checked
 * beforehand. */
#include "pipeline/image_bmp.h"

enum {
    FILE_HEADER = 14,
    CORE_HEADER = 12,
    INFO_HEADER = 40,
    HEADER_MAX = 124,
    BI_RGB = 0,
    BI_RLE8 = 1,
    BI_RLE4 = 2,
    BI_BITFIELDS = 3,
    BI_ALPHABITFIELDS = 6,
};

static sw_status fault(struct sw_error *err, const char *why) {
    return sw_fail(err, SW_E_UNPROCESSABLE, "BMP cannot be decoded: %s", why);
}

static uint32_t le16(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t le32(const uint8_t *p) {
    return le16(p) | le16(p + 2) << 16;
}

static bool field_init(struct sw_bmp_field *f, uint32_t mask) {
    *f = (struct sw_bmp_field){.mask = mask};
    if (mask == 0) {
        return true;
    }
    f->shift = (uint32_t)__builtin_ctz(mask);
    f->bits = (uint32_t)__builtin_popcount(mask);
    return f->bits == 32 || (mask >> f->shift) == (1u << f->bits) - 1; /* one run of ones */
}

/* The channel's value, stretched to 0..255. */
static uint8_t field_get(const struct sw_bmp_field *f, uint32_t pixel) {
    if (f->bits == 0) {
        return 0;
    }
    uint32_t v = (pixel & f->mask) >> f->shift;
    if (f->bits == 8) {
        return (uint8_t)v;
    }
    uint64_t max = (1ull << f->bits) - 1;
    return (uint8_t)((v * 255ull + max / 2) / max);
}

/* Masks of 16 and 32 bits a pixel: from the file, or the fixed ones. `masks_at`: where three or four of them stand. */
static sw_status read_fields(struct sw_bmp *bmp, size_t masks_at, uint32_t mask_count, struct sw_error *err) {
    uint32_t masks[4] = {0x7c00, 0x3e0, 0x1f, 0};
    if (bmp->bits == 32) {
        masks[0] = 0xff0000, masks[1] = 0xff00, masks[2] = 0xff;
    }
    if (bmp->compression == BI_BITFIELDS || bmp->compression == BI_ALPHABITFIELDS) {
        if (bmp->len < masks_at + 4 * mask_count) {
            return fault(err, "it is truncated");
        }
        for (uint32_t i = 0; i < mask_count; i++) {
            masks[i] = le32(bmp->data + masks_at + 4 * i);
        }
    }
    uint32_t seen = 0;
    for (int i = 0; i < 4; i++) {
        if (!field_init(&bmp->fields[i], masks[i]) || (seen & masks[i])) {
            return fault(err, "its colour masks make no sense");
        }
        seen |= masks[i];
    }
    if (bmp->bits == 16 && seen > 0xffff) {
        return fault(err, "its colour masks make no sense");
    }
    return SW_OK;
}

static sw_status read_palette(struct sw_bmp *bmp, size_t at, size_t entry, uint32_t colors, struct sw_error *err) {
    uint32_t most = 1u << bmp->bits;
    bmp->palette_count = colors == 0 || colors > most ? most : colors;
    if (bmp->pixels_at > at && (bmp->pixels_at - at) / entry < bmp->palette_count) {
        bmp->palette_count = (uint32_t)((bmp->pixels_at - at) /
                                        entry); /* the pixels begin before the palette is full */
    }
    if (bmp->len < at + entry * bmp->palette_count) {
        return fault(err, "it is truncated");
    }
    for (uint32_t i = 0; i < bmp->palette_count; i++) {
        const uint8_t *p = bmp->data + at + entry * i;
        bmp->palette[i][0] = p[2];
        bmp->palette[i][1] = p[1];
        bmp->palette[i][2] = p[0];
    }
    return SW_OK;
}

static sw_status check_kind(const struct sw_bmp *bmp, struct sw_error *err) {
    uint32_t b = bmp->bits;
    bool right = false;
    switch (bmp->compression) {
    case BI_RGB: right = b == 1 || b == 4 || b == 8 || b == 16 || b == 24 || b == 32; break;
    case BI_RLE8: right = b == 8 && !bmp->top_down; break;
    case BI_RLE4: right = b == 4 && !bmp->top_down; break;
    case BI_BITFIELDS:
    case BI_ALPHABITFIELDS: right = b == 16 || b == 32; break;
    default: break;
    }
    return right ? SW_OK
                 : sw_fail(err, SW_E_UNPROCESSABLE,
                           "BMP cannot be decoded: %u bits a pixel with compression %u%s are not "
                           "supported",
                           b, bmp->compression, bmp->top_down ? ", top-down," : "");
}

static sw_status read_header(struct sw_bmp *bmp, struct sw_error *err) {
    const uint8_t *p = bmp->data + FILE_HEADER;
    if (bmp->len < FILE_HEADER + 4) {
        return fault(err, "it is truncated");
    }
    size_t size = le32(p);
    if (size != CORE_HEADER && (size < INFO_HEADER || size > HEADER_MAX)) {
        return sw_fail(err, SW_E_UNPROCESSABLE, "BMP cannot be decoded: header of %zu bytes is of no known kind", size);
    }
    if (bmp->len < FILE_HEADER + size) {
        return fault(err, "it is truncated");
    }
    uint32_t colors = 0;
    bmp->header_size = (uint32_t)size;
    bmp->pixels_at = le32(bmp->data + 10);
    if (size == CORE_HEADER) {
        bmp->width = le16(p + 4);
        bmp->height = le16(p + 6);
        bmp->bits = le16(p + 10);
    } else {
        int64_t width = (int32_t)le32(p + 4), height = (int32_t)le32(p + 8);
        if (width < 0) {
            return fault(err, "its width is negative");
        }
        bmp->top_down = height < 0;
        bmp->width = (uint32_t)width;
        bmp->height = (uint32_t)(height < 0 ? -height : height);
        bmp->bits = le16(p + 14);
        bmp->compression = le32(p + 16);
        colors = le32(p + 32);
    }
    SW_TRY(check_kind(bmp, err));
    if (bmp->bits <= 8) {
        return read_palette(bmp, FILE_HEADER + size, size == CORE_HEADER ? 3 : 4, colors, err);
    }
    uint32_t masks = size >= 56 || bmp->compression == BI_ALPHABITFIELDS ? 4 : 3;
    return bmp->bits == 24 ? SW_OK : read_fields(bmp, FILE_HEADER + INFO_HEADER, masks, err);
}

sw_status sw_bmp_open(struct sw_str encoded, struct sw_bmp *ret, struct sw_error *err) {
    struct sw_bmp bmp = {.data = (const uint8_t *)encoded.data, .len = encoded.len};
    SW_TRY(read_header(&bmp, err));
    *ret = bmp;
    return SW_OK;
}

static size_t stored_row(const struct sw_bmp *bmp, uint32_t y) {
    return bmp->top_down ? y : bmp->height - 1 - y;
}

/* Bytes from row to row; *ret_end: where the last row ends, without its padding, which may be missing. */
static sw_status check_rows(const struct sw_bmp *bmp, size_t *ret_stride, size_t *ret_end, struct sw_error *err) {
    SW_ASSERT(bmp->width > 0 && bmp->height > 0);
    size_t stride = ((size_t)bmp->width * bmp->bits + 31) / 32 * 4, used = ((size_t)bmp->width * bmp->bits + 7) / 8;
    size_t room = bmp->pixels_at > bmp->len ? 0 : bmp->len - bmp->pixels_at, before = bmp->height - 1;
    if (room / stride < before || room - stride * before < used) {
        return fault(err, "it is truncated");
    }
    *ret_stride = stride;
    *ret_end = bmp->pixels_at + stride * before + used;
    return SW_OK;
}

static void unpack_indices(const uint8_t *in, uint8_t *out, uint32_t width, uint32_t bits) {
    uint32_t per_byte = 8 / bits, mask = (1u << bits) - 1;
    for (uint32_t x = 0; x < width; x++) {
        out[x] = (uint8_t)(in[x / per_byte] >> (8 - bits * (x % per_byte + 1)) & mask);
    }
}

static void unpack_pixels(const struct sw_bmp *bmp, const uint8_t *in, uint8_t *out, uint32_t channels) {
    for (uint32_t x = 0; x < bmp->width; x++, out += channels) {
        if (bmp->bits == 24) {
            out[0] = in[3 * (size_t)x + 2];
            out[1] = in[3 * (size_t)x + 1];
            out[2] = in[3 * (size_t)x];
        } else {
            uint32_t pixel = bmp->bits == 16 ? le16(in + 2 * (size_t)x) : le32(in + 4 * (size_t)x);
            for (uint32_t c = 0; c < channels; c++) {
                out[c] = field_get(&bmp->fields[c], pixel);
            }
        }
    }
}

sw_status sw_bmp_read_pixels(const struct sw_bmp *bmp, uint32_t channels, uint8_t *out, size_t *ret_end,
                             struct sw_error *err) {
    SW_ASSERT(bmp->bits > 8 && (channels == 3 || (channels == 4 && bmp->bits != 24)));
    size_t stride;
    SW_TRY(check_rows(bmp, &stride, ret_end, err));
    for (uint32_t y = 0; y < bmp->height; y++) {
        const uint8_t *in = bmp->data + bmp->pixels_at + stored_row(bmp, y) * stride;
        unpack_pixels(bmp, in, out + (size_t)y * bmp->width * channels, channels);
    }
    return SW_OK;
}

/* Where run-length decoding stands. */
struct rle {
    const uint8_t *p, *end;
    uint32_t x, y;
};

static void rle_put(const struct sw_bmp *bmp, uint8_t *out, struct rle *r, uint32_t index) {
    out[stored_row(bmp, r->y) * bmp->width + r->x] = (uint8_t)index;
    r->x++;
}

/* How many of `count` pixels still fit into the row. */
static uint32_t rle_room(const struct sw_bmp *bmp, const struct rle *r, uint32_t count) {
    uint32_t room = r->y < bmp->height ? bmp->width - r->x : 0;
    return count < room ? count : room;
}

/* `count` literal indices, padded to 16 bits. */
static bool rle_literal(const struct sw_bmp *bmp, uint8_t *out, struct rle *r, uint32_t count) {
    size_t bytes = bmp->bits == 8 ? count : (count + 1) / 2;
    size_t padded = bytes + (bytes & 1);
    if ((size_t)(r->end - r->p) < bytes) {
        return false;
    }
    count = rle_room(bmp, r, count);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t byte = bmp->bits == 8 ? r->p[i] : r->p[i / 2];
        rle_put(bmp, out, r, bmp->bits == 8 ? byte : i % 2 ? byte & 15 : byte >> 4);
    }
    r->p += (size_t)(r->end - r->p) < padded ? bytes : padded;
    return true;
}

/* Pixels that no run reaches keep the first colour. Decoding ends at the end mark or when the last row is complete. */
static sw_status unpack_rle(const struct sw_bmp *bmp, uint8_t *out, size_t *ret_end, struct sw_error *err) {
    if (bmp->pixels_at > bmp->len) {
        return fault(err, "it is truncated");
    }
    struct rle r = {.p = bmp->data + bmp->pixels_at, .end = bmp->data + bmp->len};
    memset(out, 0, (size_t)bmp->width * bmp->height);
    while (r.end - r.p >= 2) {
        uint32_t count = r.p[0], code = r.p[1];
        r.p += 2;
        if (count > 0) {
            count = rle_room(bmp, &r, count);
            for (uint32_t i = 0; i < count; i++) {
                rle_put(bmp, out, &r, bmp->bits == 8 ? code : i % 2 ? code & 15 : code >> 4);
            }
        } else if (code == 0) {
            r.x = 0;
            r.y += r.y < bmp->height;
        } else if (code == 1) {
            *ret_end = (size_t)(r.p - bmp->data);
            return SW_OK;
        } else if (code == 2) {
            if (r.end - r.p < 2) {
                break;
            }
            r.x = r.x + r.p[0] < bmp->width ? r.x + r.p[0] : bmp->width;
            r.y = r.y + r.p[1] < bmp->height ? r.y + r.p[1] : bmp->height;
            r.p += 2;
        } else if (!rle_literal(bmp, out, &r, code)) {
            break;
        }
    }
    bool complete = r.y >= bmp->height || (r.y == bmp->height - 1 && r.x >= bmp->width);
    *ret_end = (size_t)(r.p - bmp->data);
    return complete ? SW_OK : fault(err, "it is truncated");
}

sw_status sw_bmp_read_indices(const struct sw_bmp *bmp, uint8_t *out, size_t *ret_end, struct sw_error *err) {
    SW_ASSERT(bmp->bits <= 8);
    if (sw_bmp_is_rle(bmp)) {
        return unpack_rle(bmp, out, ret_end, err);
    }
    size_t stride;
    SW_TRY(check_rows(bmp, &stride, ret_end, err));
    for (uint32_t y = 0; y < bmp->height; y++) {
        const uint8_t *in = bmp->data + bmp->pixels_at + stored_row(bmp, y) * stride;
        unpack_indices(in, out + (size_t)y * bmp->width, bmp->width, bmp->bits);
    }
    return SW_OK;
}
