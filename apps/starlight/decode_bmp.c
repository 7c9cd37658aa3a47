/* BMP: the file is read by pipeline/image_bmp.c; this decides what is alpha, and where the file ends.
 *
 * Alpha: a mask in the header says so. Files of 32 bits without masks have a fourth byte that is "reserved"; many programs
 * store alpha there, so it is alpha unless it is 0 everywhere.
 *
 * The end: the size field, when it lies behind the pixels; programs that write 0 or nonsense there leave the end of the
 * pixel data (padded to four bytes) as the end of the file. A size beyond the file means that it was cut off. */
#include "apps/starlight/decode_internal.h"
#include "pipeline/image_bmp.h"

enum {
    SIZE_AT = 2,
    FILE_HEADER = 14,
    BI_RGB = 0,
    PROFILE_HEADER = 124, /* version 5 */
    PROFILE_AT = FILE_HEADER + 112,
};

/* Is any fourth byte of the pixels not 0? Reads what is there; whether all is there is checked later. */
static bool has_fourth_bytes(const struct sw_bmp *bmp) {
    size_t count = (size_t)bmp->width * bmp->height;
    size_t room = bmp->pixels_at < bmp->len ? (bmp->len - bmp->pixels_at) / 4 : 0;
    const uint8_t *p = bmp->data + bmp->pixels_at;
    for (size_t i = 0; i < (count < room ? count : room); i++) {
        if (p[4 * i + 3]) {
            return true;
        }
    }
    return false;
}

static void note_profile(struct sw_starlight_decoder *d, const struct sw_bmp *bmp) {
    if (bmp->header_size >= PROFILE_HEADER) {
        uint64_t at = FILE_HEADER + (uint64_t)sw_starlight_le32(d->data + PROFILE_AT);
        uint64_t size = sw_starlight_le32(d->data + PROFILE_AT + 4);
        d->image->icc_bytes = at + size <= d->size ? size : 0;
    }
}

static sw_status read_indices(struct sw_starlight_decoder *d, const struct sw_bmp *bmp, size_t *ret_end) {
    struct sw_starlight_image *image = d->image;
    SW_TRY(sw_starlight_alloc(d, (uint64_t)bmp->width * bmp->height, &image->indices));
    image->bit_depth = bmp->bits;
    image->palette_count = bmp->palette_count;
    for (uint32_t i = 0; i < 256; i++) {
        memcpy(image->palette[i], bmp->palette[i], 3); /* zeros behind the last one */
        image->palette[i][3] = 255;
    }
    return sw_bmp_read_indices(bmp, image->indices, ret_end, d->err);
}

static sw_status read_pixels(struct sw_starlight_decoder *d, struct sw_bmp *bmp, size_t *ret_end) {
    struct sw_starlight_image *image = d->image;
    if (bmp->bits == 32 && bmp->compression == BI_RGB && bmp->fields[3].bits == 0 && has_fourth_bytes(bmp)) {
        bmp->fields[3] = (struct sw_bmp_field){.mask = 0xff000000, .shift = 24, .bits = 8};
    }
    image->has_alpha = bmp->fields[3].bits > 0;
    image->channels = image->has_alpha ? 4 : 3;
    image->bit_depth = 8;
    SW_TRY(sw_starlight_alloc(d, (uint64_t)bmp->width * bmp->height * image->channels, &image->pixels));
    return sw_bmp_read_pixels(bmp, image->channels, image->pixels, ret_end, d->err);
}

/* Where the file ends for a viewer. */
static size_t end_of(const struct sw_starlight_decoder *d, const struct sw_bmp *bmp, size_t end) {
    size_t stated = sw_starlight_le32(d->data + SIZE_AT);
    if (stated >= end) {
        return stated;
    }
    size_t padding = sw_bmp_is_rle(bmp) ? 0 : (4 - (end - bmp->pixels_at) % 4) % 4;
    return padding < d->size - end ? end + padding : d->size;
}

sw_status sw_starlight_decode_bmp(struct sw_starlight_decoder *d) {
    struct sw_bmp bmp;
    size_t end;
    SW_TRY(sw_bmp_open((struct sw_str){(const char *)d->data, d->size}, &bmp, d->err));
    if (sw_starlight_le32(d->data + SIZE_AT) > d->size) {
        return sw_starlight_fault(d, "it is truncated: its size field is larger");
    }
    SW_TRY(sw_starlight_set_canvas(d, bmp.width, bmp.height));
    SW_TRY(bmp.bits <= 8 ? read_indices(d, &bmp, &end) : read_pixels(d, &bmp, &end));
    d->image->raster_width = bmp.width;
    d->image->raster_height = bmp.height;
    d->image->chunks = 1;
    note_profile(d, &bmp);
    sw_starlight_set_trailing(d, end_of(d, &bmp, end));
    return SW_OK;
}
