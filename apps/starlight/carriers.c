/* Carriers: see text.h. Bits are gathered eight bytes at a time: the low bits of eight bytes, multiplied by the right
 * constant, meet in the top byte of the product. */
#include "apps/starlight/carriers.h"

#include <endian.h>

enum { PIECE = 512 /* samples gathered at once; a multiple of 8 */ };

static bool has_pixels(const struct sw_starlight_image *image) {
    return image->pixels && image->raster_width && image->raster_height;
}

static uint64_t raster(const struct sw_starlight_image *image) {
    return (uint64_t)image->raster_width * image->raster_height;
}

/* Samples (one bit each) of a bit carrier; 0 when the image does not have it. */
static uint64_t samples_of(const struct sw_starlight_image *image, enum sw_starlight_carrier carrier) {
    switch (carrier) {
    case SW_STARLIGHT_ALPHA_LSB:
    case SW_STARLIGHT_ALPHA_MSB: return has_pixels(image) && image->channels == 4 ? raster(image) : 0;
    case SW_STARLIGHT_RGB_LSB:
    case SW_STARLIGHT_RGB_MSB: return has_pixels(image) && !image->lossy ? 3 * raster(image) : 0;
    case SW_STARLIGHT_PALETTE_LSB:
    case SW_STARLIGHT_PALETTE_MSB: return image->indices ? raster(image) : 0;
    default: return 0;
    }
}

static bool is_code(const char *p, const char *word) {
    size_t n = strlen(word);
    if (strncasecmp(p, word, n) != 0) {
        return false;
    }
    for (size_t i = n; i < SW_STARLIGHT_CODE_SIZE; i++) {
        if (p[i] != 0 && p[i] != ' ') {
            return false;
        }
    }
    return true;
}

enum sw_starlight_code sw_starlight_comment_code(struct sw_str comment) {
    if (comment.len < SW_STARLIGHT_CODE_SIZE) {
        return SW_STARLIGHT_CODE_NONE;
    }
    return is_code(comment.data, "ASCII")     ? SW_STARLIGHT_CODE_ASCII
           : is_code(comment.data, "UNICODE") ? SW_STARLIGHT_CODE_UNICODE
           : is_code(comment.data, "JIS")     ? SW_STARLIGHT_CODE_JIS
           : is_code(comment.data, "")        ? SW_STARLIGHT_CODE_UNDEFINED
                                              : SW_STARLIGHT_CODE_NONE;
}

struct sw_str sw_starlight_comment_text(struct sw_str comment) {
    if (sw_starlight_comment_code(comment) == SW_STARLIGHT_CODE_NONE) {
        return comment;
    }
    return (struct sw_str){comment.data + SW_STARLIGHT_CODE_SIZE, comment.len - SW_STARLIGHT_CODE_SIZE};
}

static struct sw_str bytes_of(const struct sw_starlight_image *image, enum sw_starlight_carrier carrier) {
    return carrier == SW_STARLIGHT_RAW ? image->trailing : sw_starlight_comment_text(image->user_comment);
}

uint64_t sw_starlight_carrier_size(const struct sw_starlight_image *image, enum sw_starlight_carrier carrier) {
    SW_ASSERT((unsigned)carrier < SW_STARLIGHT_CARRIERS);
    if (carrier == SW_STARLIGHT_EXIF || carrier == SW_STARLIGHT_RAW) {
        return bytes_of(image, carrier).len;
    }
    return samples_of(image, carrier) / 8;
}

/* Low bits of 8 * n bytes to n bytes. */
static void pack(const uint8_t *in, uint8_t *out, size_t n, bool low_first) {
    /* Byte i of a little-endian word has its low bit at 8 * i. The factor's bit at 56 - 7 * i moves it to 56 + i, the one
     * at 63 - 9 * i to 63 - i; no two partial products meet in the same place. */
    const uint64_t factor = low_first ? 0x0102040810204080u : 0x8040201008040201u;
    for (size_t i = 0; i < n; i++) {
        uint64_t word;
        memcpy(&word, in + 8 * i, 8);
        out[i] = (uint8_t)((le64toh(word) & 0x0101010101010101u) * factor >> 56);
    }
}

/* Colour samples [at, at + n) of an image with alpha, whose pixels have 4 bytes. */
static void gather_colors(const struct sw_starlight_image *image, uint64_t at, uint8_t *out, size_t n) {
    const uint8_t *p = image->pixels + at / 3 * 4;
    uint32_t c = (uint32_t)(at % 3);
    for (; n > 0 && c > 0; n--, c = (c + 1) % 3) {
        *out++ = p[c];
        p += c == 2 ? 4 : 0;
    }
    for (; n >= 4; n -= 3, out += 3, p += 4) {
        memcpy(out, p, 4); /* alpha is overwritten by the next pixel */
    }
    memcpy(out, p, n);
}

static void gather_alpha(const struct sw_starlight_image *image, uint64_t at, uint8_t *out, size_t n) {
    const uint8_t *p = image->pixels + at * 4 + 3;
    for (size_t i = 0; i < n; i++) {
        out[i] = p[4 * i];
    }
}

/* Samples that do not lie next to each other are gathered in pieces, then packed. */
static void read_gathered(const struct sw_starlight_image *image, enum sw_starlight_carrier carrier, uint64_t offset,
                          uint8_t *out, size_t n, bool low_first) {
    bool alpha = carrier == SW_STARLIGHT_ALPHA_LSB || carrier == SW_STARLIGHT_ALPHA_MSB;
    uint8_t piece[PIECE];
    while (n > 0) {
        size_t part = n < PIECE / 8 ? n : PIECE / 8;
        if (alpha) {
            gather_alpha(image, offset * 8, piece, part * 8);
        } else {
            gather_colors(image, offset * 8, piece, part * 8);
        }
        pack(piece, out, part, low_first);
        offset += part;
        out += part;
        n -= part;
    }
}

size_t sw_starlight_carrier_read(const struct sw_starlight_image *image, enum sw_starlight_carrier carrier,
                                 uint64_t offset, uint8_t *out, size_t n) {
    uint64_t size = sw_starlight_carrier_size(image, carrier);
    if (offset >= size) {
        return 0;
    }
    n = size - offset < n ? (size_t)(size - offset) : n;
    bool low_first = carrier == SW_STARLIGHT_ALPHA_LSB || carrier == SW_STARLIGHT_RGB_LSB ||
                     carrier == SW_STARLIGHT_PALETTE_LSB;
    switch (carrier) {
    case SW_STARLIGHT_EXIF:
    case SW_STARLIGHT_RAW: memcpy(out, bytes_of(image, carrier).data + offset, n); break;
    case SW_STARLIGHT_PALETTE_LSB:
    case SW_STARLIGHT_PALETTE_MSB: pack(image->indices + offset * 8, out, n, low_first); break;
    case SW_STARLIGHT_RGB_LSB:
    case SW_STARLIGHT_RGB_MSB:
        if (image->channels == 3) {
            pack(image->pixels + offset * 8, out, n, low_first);
            break;
        } /* fall through */
    default: read_gathered(image, carrier, offset, out, n, low_first); break;
    }
    return n;
}
