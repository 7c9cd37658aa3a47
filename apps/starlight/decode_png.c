/* PNG: the walk over the chunks. Signature, then chunks of length, type, data and CRC up to IEND.
 *
 * The CRC of every chunk is checked, the ancillary ones too. Nothing is inflated but the pixels (png_pixels.c) and an
 * EXIF block that ImageMagick packed into a text chunk, into a buffer of fixed size: a compressed profile or text that
 * would blow up is only measured. Of an animated PNG the default image is decoded and the frames are counted.
 *
 * Layout: PNG specification (third edition), sections 5 and 11. */
#include <libdeflate.h>

#include "apps/starlight/decode_internal.h"
#include "base/memory.h"

enum {
    SIGNATURE = 8,
    CHUNK_EXTRA = 12,        /* length, type, CRC */
    PROFILE_MAX = 192 << 10, /* a "Raw profile" text: an EXIF block of 64 KiB in hex */
    PROFILES_MAX = 4,        /* packed profiles looked at */
};

#define TYPE(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

struct png {
    struct sw_starlight_decoder *d;
    struct sw_starlight_png header;
    size_t idat_at;     /* where the first IDAT chunk begins */
    size_t idat_count;  /* chunks */
    uint64_t idat_size; /* bytes of all their data */
    bool idat_closed;   /* another chunk came after them */
    bool has_palette;
    uint32_t frames;
    uint32_t profiles;
};

struct chunk {
    uint32_t type;
    const uint8_t *data;
    size_t size;
};

/* Reads the chunk at `at`, checks length and CRC. */
static sw_status read_chunk(struct sw_starlight_decoder *d, size_t at, struct chunk *ret) {
    if (d->size - at < CHUNK_EXTRA) {
        return sw_starlight_fault(d, "it is truncated: no IEND chunk");
    }
    const uint8_t *p = d->data + at;
    size_t size = sw_starlight_be32(p);
    if (size > d->size - at - CHUNK_EXTRA) {
        return sw_starlight_fault(d, "it is truncated inside a chunk, or a chunk's length is wrong");
    }
    if (libdeflate_crc32(0, p + 4, size + 4) != sw_starlight_be32(p + 8 + size)) {
        return sw_starlight_fault(d, "the CRC of chunk %c%c%c%c is wrong", p[4], p[5], p[6], p[7]);
    }
    *ret = (struct chunk){sw_starlight_be32(p + 4), p + 8, size};
    return SW_OK;
}

static sw_status read_header(struct png *png, const struct chunk *c) {
    static const uint8_t depths[7] = {1 | 2 | 4 | 8 | 16, 0, 8 | 16, 1 | 2 | 4 | 8, 8 | 16, 0, 8 | 16};
    struct sw_starlight_decoder *d = png->d;
    if (c->type != TYPE('I', 'H', 'D', 'R') || c->size != 13) {
        return sw_starlight_fault(d, "it does not begin with an IHDR chunk");
    }
    const uint8_t *p = c->data;
    uint32_t depth = p[8], color = p[9];
    if (color > 6 || (depth & (depth - 1)) != 0 || !(depths[color] & depth)) {
        return sw_starlight_fault(d, "colour type %u with %u bits does not exist", color, depth);
    }
    if (p[10] || p[11] || p[12] > 1) {
        return sw_starlight_fault(d, "its compression, filter or interlace method is unknown");
    }
    SW_TRY(sw_starlight_set_canvas(d, sw_starlight_be32(p), sw_starlight_be32(p + 4)));
    png->header = (struct sw_starlight_png){d->image->width, d->image->height, depth, color, p[12] == 1};
    d->image->bit_depth = depth;
    d->image->interlaced = p[12] == 1;
    d->image->gray = color == 0 || color == 4;
    d->image->has_alpha = color & 4;
    return SW_OK;
}

static sw_status read_palette(struct png *png, const struct chunk *c) {
    struct sw_starlight_image *image = png->d->image;
    if (png->header.color != 3) {
        return SW_OK; /* a suggestion for viewers with few colours */
    }
    if (png->has_palette || png->idat_count || c->size == 0 || c->size % 3 || c->size > 768) {
        return sw_starlight_fault(png->d, "its PLTE chunk is wrong or out of place");
    }
    png->has_palette = true;
    image->palette_count = (uint32_t)c->size / 3;
    for (uint32_t i = 0; i < image->palette_count; i++) {
        memcpy(image->palette[i], c->data + 3 * i, 3);
    }
    return SW_OK;
}

static void read_transparency(struct png *png, const struct chunk *c) {
    for (size_t i = 0; png->header.color == 3 && i < c->size && i < 256; i++) {
        png->d->image->palette[i][3] = c->data[i];
    }
}

static sw_status note_pixels(struct png *png, size_t at, const struct chunk *c) {
    if (png->idat_closed) {
        return sw_starlight_fault(png->d, "its IDAT chunks do not follow each other");
    }
    if (png->header.color == 3 && !png->has_palette) {
        return sw_starlight_fault(png->d, "it has no PLTE chunk");
    }
    if (png->idat_count++ == 0) {
        png->idat_at = at;
    }
    png->idat_size += c->size;
    return SW_OK;
}

static int hex_digit(uint8_t c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* A "Raw profile" text: blanks, the profile's name, its length in decimal, then hex digits with line breaks. Decodes in
 * place; returns how many bytes. */
static size_t unhex_profile(uint8_t *text, size_t size) {
    size_t at = 0, n = 0;
    for (int lines = 0; lines < 3 && at < size; lines++) { /* "\n", "exif\n", "    1234\n" */
        const uint8_t *end = memchr(text + at, '\n', size - at);
        at = end ? (size_t)(end - text) + 1 : size;
    }
    int high = -1;
    for (; at < size; at++) {
        int digit = hex_digit(text[at]);
        if (digit >= 0 && high < 0) {
            high = digit;
        } else if (digit >= 0) {
            text[n++] = (uint8_t)(high << 4 | digit);
            high = -1;
        }
    }
    return n;
}

static void take_profile(struct png *png, uint8_t *text, size_t size) {
    size = unhex_profile(text, size);
    sw_starlight_take_exif(png->d, text, size, true);
}

static bool inflate_text(const uint8_t *data, size_t size, uint8_t *out, size_t *ret_size) {
    struct libdeflate_decompressor *inflater = libdeflate_alloc_decompressor();
    bool ok = inflater && libdeflate_zlib_decompress(inflater, data, size, out, PROFILE_MAX, ret_size) == 0;
    libdeflate_free_decompressor(inflater);
    return ok;
}

/* tEXt and zTXt: keyword, NUL, (compression method,) text. */
static void read_text(struct png *png, const struct chunk *c, bool packed) {
    static const char exif[] = "Raw profile type exif", app1[] = "Raw profile type APP1";
    size_t head = sizeof exif + (packed ? 1 : 0); /* both names are equally long; with the NUL */
    png->d->image->comment_bytes += c->size;
    if (c->size <= head || (memcmp(c->data, exif, sizeof exif) != 0 && memcmp(c->data, app1, sizeof app1) != 0) ||
        png->profiles >= PROFILES_MAX) {
        return;
    }
    png->profiles++;
    SW_AUTO_FREE uint8_t *text = sw_malloc(PROFILE_MAX);
    size_t size = c->size - head;
    if (!text || (!packed && size > PROFILE_MAX)) {
        return;
    }
    if (!packed) {
        memcpy(text, c->data + head, size);
    } else if (!inflate_text(c->data + head, size, text, &size)) {
        return;
    }
    take_profile(png, text, size);
}

static void read_international_text(struct png *png, const struct chunk *c) {
    static const char xmp[] = "XML:com.adobe.xmp";
    bool is_xmp = c->size >= sizeof xmp && memcmp(c->data, xmp, sizeof xmp) == 0;
    *(is_xmp ? &png->d->image->xmp_bytes : &png->d->image->comment_bytes) += c->size;
}

static sw_status read_ancillary(struct png *png, const struct chunk *c) {
    switch (c->type) {
    case TYPE('t', 'R', 'N', 'S'): read_transparency(png, c); break;
    case TYPE('e', 'X', 'I', 'f'): sw_starlight_take_exif(png->d, c->data, c->size, false); break;
    case TYPE('t', 'E', 'X', 't'): read_text(png, c, false); break;
    case TYPE('z', 'T', 'X', 't'): read_text(png, c, true); break;
    case TYPE('i', 'T', 'X', 't'): read_international_text(png, c); break;
    case TYPE('i', 'C', 'C', 'P'): png->d->image->icc_bytes += c->size; break;
    case TYPE('f', 'c', 'T', 'L'): return sw_starlight_count_frame(png->d, ++png->frames);
    default:
        if (!(c->type & TYPE(0x20, 0, 0, 0))) { /* bit 5 of the first letter: 0 is critical */
            return sw_starlight_fault(png->d, "it has a critical chunk of unknown type");
        }
    }
    return SW_OK;
}

/* Up to IEND; everything but the pixels. */
static sw_status walk(struct png *png) {
    struct sw_starlight_decoder *d = png->d;
    struct chunk c;
    for (size_t at = SIGNATURE;; at += c.size + CHUNK_EXTRA) {
        SW_TRY(read_chunk(d, at, &c));
        SW_TRY(sw_starlight_count_chunk(d));
        png->idat_closed |= png->idat_count && c.type != TYPE('I', 'D', 'A', 'T');
        if (at == SIGNATURE) {
            SW_TRY(read_header(png, &c));
        } else if (c.type == TYPE('P', 'L', 'T', 'E')) {
            SW_TRY(read_palette(png, &c));
        } else if (c.type == TYPE('I', 'D', 'A', 'T')) {
            SW_TRY(note_pixels(png, at, &c));
        } else if (c.type == TYPE('I', 'E', 'N', 'D')) {
            sw_starlight_set_trailing(d, at + CHUNK_EXTRA + c.size);
            return c.size || !png->idat_count ? sw_starlight_fault(d, "it ends without pixels") : SW_OK;
        } else {
            SW_TRY(read_ancillary(png, &c));
        }
    }
}

/* The data of all IDAT chunks, without the chunks. */
static void join_pixels(const struct png *png, uint8_t *out) {
    const uint8_t *p = png->d->data + png->idat_at;
    for (size_t i = 0; i < png->idat_count; i++) {
        size_t size = sw_starlight_be32(p);
        memcpy(out, p + 8, size);
        out += size;
        p += size + CHUNK_EXTRA;
    }
}

sw_status sw_starlight_decode_png(struct sw_starlight_decoder *d) {
    struct png png = {.d = d};
    for (size_t i = 0; i < 256; i++) {
        d->image->palette[i][3] = 255;
    }
    SW_TRY(walk(&png));
    if (png.idat_count == 1) {
        return sw_starlight_png_pixels(d, &png.header, d->data + png.idat_at + 8, (size_t)png.idat_size);
    }
    SW_AUTO_FREE uint8_t *joined = NULL;
    SW_TRY(sw_starlight_scratch(d, png.idat_size + 1, &joined));
    join_pixels(&png, joined);
    return sw_starlight_png_pixels(d, &png.header, joined, (size_t)png.idat_size);
}
