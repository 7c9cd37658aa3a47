/* Encoded images to pixels, and pixels to another size.
 *
 * Decoders take bytes from outside. Each reads the size from the header first and asks sw_image_alloc, which enforces
 * the limits before any pixel memory exists; each either fills every pixel or fails (a truncated file is a fault, not a
 * half-grey picture). Pixels are 8 bits a channel: 16-bit files lose their low byte. */
#ifndef SW_PIPELINE_IMAGE_H
#define SW_PIPELINE_IMAGE_H

#include "base/error.h"
#include "base/str.h"

enum { SW_IMAGE_SIDE_MAX = 65535, SW_IMAGE_ENCODED_MAX = 32 << 20 };

struct sw_image_limits {
    uint64_t pixels_max;   /* width * height of one image */
    bool exif_orientation; /* JPEG: turn the picture as its EXIF orientation says */
};

struct sw_image {
    uint32_t width, height;
    uint32_t channels; /* 1 gray, 3 RGB, 4 RGBA (not premultiplied) */
    uint8_t *pixels;   /* row-major, interleaved, no padding; on the heap, owned */
};

void sw_image_deinit(struct sw_image *image);

/* Formats told by the first bytes. SW_E_UNSUPPORTED_MEDIA for none of the five, SW_E_UNPROCESSABLE with the reason for
 * broken, truncated or too large ones. *ret is the caller's to deinit. */
SW_MUST_CHECK sw_status sw_image_decode(struct sw_str encoded, const struct sw_image_limits *limits,
                                        struct sw_image *ret, struct sw_error *err);

/* The decoders. They fill *image through sw_image_alloc; on failure the caller deinits what they allocated. */
SW_MUST_CHECK sw_status sw_image_decode_png(struct sw_str encoded, const struct sw_image_limits *limits,
                                            struct sw_image *image, struct sw_error *err);
SW_MUST_CHECK sw_status sw_image_decode_jpeg(struct sw_str encoded, const struct sw_image_limits *limits,
                                             struct sw_image *image, struct sw_error *err);
SW_MUST_CHECK sw_status sw_image_decode_webp(struct sw_str encoded, const struct sw_image_limits *limits,
                                             struct sw_image *image, struct sw_error *err);
SW_MUST_CHECK sw_status sw_image_decode_gif(struct sw_str encoded, const struct sw_image_limits *limits,
                                            struct sw_image *image, struct sw_error *err);
SW_MUST_CHECK sw_status sw_image_decode_bmp(struct sw_str encoded, const struct sw_image_limits *limits,
                                            struct sw_image *image, struct sw_error *err);

/* Checks width and height against the limits (both at least 1), then allocates the pixels, not zeroed. */
SW_MUST_CHECK sw_status sw_image_alloc(struct sw_image *image, const char *format, uint64_t width, uint64_t height,
                                       uint32_t channels, const struct sw_image_limits *limits, struct sw_error *err);
SW_MUST_CHECK sw_status sw_image_check_size(const char *format, uint64_t width, uint64_t height,
                                            const struct sw_image_limits *limits, struct sw_error *err);

/* Drops channels in place: RGBA over the background to RGB, RGB to gray (ITU-R BT.601 luma). `channels` is 1 or 3; an
 * image that has no more channels than that stays. */
void sw_image_reduce(struct sw_image *image, uint32_t channels, const uint8_t background[3]);

/* Luma of a colour, rounded: 0.299 R + 0.587 G + 0.114 B. */
static inline uint8_t sw_image_luma(const uint8_t rgb[3]) {
    return (uint8_t)((299u * rgb[0] + 587u * rgb[1] + 114u * rgb[2] + 500u) / 1000u);
}

enum sw_image_filter { SW_IMAGE_BILINEAR, SW_IMAGE_NEAREST };

/* Which part of an image goes where. */
struct sw_image_region {
    uint32_t clip_x, clip_y, clip_width, clip_height; /* pixels that may be read */
    double x, y, scale_x, scale_y; /* destination (i, j) covers x + i * scale_x .. x + (i + 1) * scale_x of the clip */
};

/* Resamples the region into width x height pixels of floats 0..255, `image->channels` interleaved, rows `stride` floats
 * apart. Bilinear is a triangle filter that widens with the scale when shrinking (antialiased). Separable: each source
 * row is resampled once and added to the destination rows it touches. SW_E_UNAVAILABLE when memory is short. */
SW_MUST_CHECK sw_status sw_image_resample(const struct sw_image *image, const struct sw_image_region *region,
                                          enum sw_image_filter filter, float *destination, uint32_t width,
                                          uint32_t height, size_t stride, struct sw_error *err);

#endif
