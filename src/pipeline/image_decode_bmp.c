/* BMP to RGB, or RGBA when its header says which bits are alpha. The file is read by image_bmp.c; indices become colours
 * here. */
#include "pipeline/image.h"
#include "pipeline/image_bmp.h"

/* Indices stand in the last third of the pixels and become colours from the front: a colour is written where no index is
 * left to be read. An index without a colour is black. */
static sw_status decode_palette(const struct sw_bmp *bmp, struct sw_image *image, struct sw_error *err) {
    size_t count = (size_t)bmp->width * bmp->height, end;
    const uint8_t *indices = image->pixels + 2 * count;
    SW_TRY(sw_bmp_read_indices(bmp, image->pixels + 2 * count, &end, err));
    for (size_t i = 0; i < count; i++) {
        uint8_t index = indices[i];
        if (index < bmp->palette_count) {
            memcpy(image->pixels + 3 * i, bmp->palette[index], 3);
        } else {
            memset(image->pixels + 3 * i, 0, 3);
        }
    }
    return SW_OK;
}

sw_status sw_image_decode_bmp(struct sw_str encoded, const struct sw_image_limits *limits, struct sw_image *image,
                              struct sw_error *err) {
    struct sw_bmp bmp;
    size_t end;
    SW_TRY(sw_bmp_open(encoded, &bmp, err));
    uint32_t channels = bmp.fields[3].bits ? 4 : 3;
    SW_TRY(sw_image_alloc(image, "BMP", bmp.width, bmp.height, channels, limits, err));
    return bmp.bits <= 8 ? decode_palette(&bmp, image, err)
                         : sw_bmp_read_pixels(&bmp, channels, image->pixels, &end, err);
}
