/* BMP files as stored: header, palette, colour masks, indices and pixels.
 *
 * By hand: Windows headers (core to version 5), 1 to 32 bits, palettes, bit fields, RLE4 and RLE8, bottom-up and top-down.
 * PNG and JPEG inside BMP are refused. sw_bmp_open looks at headers only and takes no memory, so that the caller can
 * compare width and height with its limits (at least 1) before it makes room for pixels.
 *
 * Layout: Microsoft, "Bitmap Storage" (BITMAPFILEHEADER, BITMAPINFOHEADER, BITMAPV5HEADER, bitmap compression). */
#ifndef SW_PIPELINE_IMAGE_BMP_H
#define SW_PIPELINE_IMAGE_BMP_H

#include "base/error.h"
#include "base/str.h"

/* One channel of a bit field: its mask, moved right by shift, has `bits` bits. */
struct sw_bmp_field {
    uint32_t mask, shift, bits;
};

struct sw_bmp {
    const uint8_t *data; /* the file; borrowed */
    size_t len;
    uint32_t width, height; /* may be 0 */
    bool top_down;
    uint32_t header_size;
    uint32_t bits, compression;
    uint8_t palette[256][3];       /* R,G,B */
    uint32_t palette_count;        /* 0 when there are more than 8 bits */
    struct sw_bmp_field fields[4]; /* red, green, blue, alpha (no bits: none); 16 and 32 bits a pixel only */
    size_t pixels_at;
};

/* SW_E_UNPROCESSABLE with the reason. *ret borrows the bytes. */
SW_MUST_CHECK sw_status sw_bmp_open(struct sw_str encoded, struct sw_bmp *ret, struct sw_error *err);

static inline bool sw_bmp_is_rle(const struct sw_bmp *bmp) {
    return bmp->compression == 1 || bmp->compression == 2;
}

/* Up to 8 bits a pixel: [height][width] indices, top row first. Pixels that no run of an RLE file reaches are 0. *ret_end:
 * the offset in the file behind the last byte that was needed (padding of the last row is not). */
SW_MUST_CHECK sw_status sw_bmp_read_indices(const struct sw_bmp *bmp, uint8_t *out, size_t *ret_end,
                                            struct sw_error *err);

/* More than 8 bits a pixel: [height][width][channels], R,G,B and with 4 channels alpha (0 where no bits are its), top
 * row first. */
SW_MUST_CHECK sw_status sw_bmp_read_pixels(const struct sw_bmp *bmp, uint32_t channels, uint8_t *out, size_t *ret_end,
                                           struct sw_error *err);

#endif
