/* See image.h: telling formats apart, limits, and what all decoders share. */
#include "base/memory.h"
#include "pipeline/image.h"

void sw_image_deinit(struct sw_image *image) {
    sw_free(image->pixels);
    image->pixels = NULL;
}

sw_status sw_image_check_size(const char *format, uint64_t width, uint64_t height, const struct sw_image_limits *limits,
                              struct sw_error *err) {
    if (width == 0 || height == 0) {
        return sw_fail(err, SW_E_UNPROCESSABLE, "%s of %llu x %llu pixels is empty", format, (unsigned long long)width,
                       (unsigned long long)height);
    }
    if (width > SW_IMAGE_SIDE_MAX || height > SW_IMAGE_SIDE_MAX || width * height > limits->pixels_max) {
        return sw_fail(err, SW_E_UNPROCESSABLE, "%s of %llu x %llu pixels; at most %llu pixels and %d a side are taken",
                       format, (unsigned long long)width, (unsigned long long)height,
                       (unsigned long long)limits->pixels_max, SW_IMAGE_SIDE_MAX);
    }
    return SW_OK;
}

sw_status sw_image_alloc(struct sw_image *image, const char *format, uint64_t width, uint64_t height, uint32_t channels,
                         const struct sw_image_limits *limits, struct sw_error *err) {
    SW_ASSERT(!image->pixels && channels >= 1 && channels <= 4);
    SW_TRY(sw_image_check_size(format, width, height, limits, err));
    image->pixels = sw_malloc((size_t)(width * height * channels));
    if (!image->pixels) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory for an image of %llu x %llu pixels",
                       (unsigned long long)width, (unsigned long long)height);
    }
    image->width = (uint32_t)width;
    image->height = (uint32_t)height;
    image->channels = channels;
    return SW_OK;
}

static bool has_at(struct sw_str s, size_t at, const char *magic, size_t n) {
    return s.len >= at + n && memcmp(s.data + at, magic, n) == 0;
}

/* Does it begin as one of the formats does in base64? A common slip of callers who send pictures in JSON. */
static bool is_base64(struct sw_str s) {
    static const char *const begins[] = {"iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR", "data:image/"};
    for (size_t i = 0; i < SW_COUNTOF(begins); i++) {
        if (sw_str_starts(s, sw_str_of(begins[i]))) {
            return true;
        }
    }
    return false;
}

sw_status sw_image_decode(struct sw_str encoded, const struct sw_image_limits *limits, struct sw_image *ret,
                          struct sw_error *err) {
    static const struct {
        const char *magic;
        size_t length;
        sw_status (*decode)(struct sw_str, const struct sw_image_limits *, struct sw_image *, struct sw_error *);
    } formats[] = {
        {"\x89PNG\r\n\x1a\n", 8, sw_image_decode_png},
        {"\xff\xd8\xff", 3, sw_image_decode_jpeg},
        {"GIF87a", 6, sw_image_decode_gif},
        {"GIF89a", 6, sw_image_decode_gif},
        {"BM", 2, sw_image_decode_bmp},
        {"RIFF", 4, sw_image_decode_webp},
    };
    if (encoded.len > SW_IMAGE_ENCODED_MAX) {
        return sw_fail(err, SW_E_UNPROCESSABLE, "%zu bytes; an encoded image may have at most %d", encoded.len,
                       SW_IMAGE_ENCODED_MAX);
    }
    if (encoded.len == 0) {
        return sw_fail(err, SW_E_UNPROCESSABLE, "empty: no image");
    }
    for (size_t i = 0; i < SW_COUNTOF(formats); i++) {
        if (!has_at(encoded, 0, formats[i].magic, formats[i].length) ||
            (formats[i].decode == sw_image_decode_webp && !has_at(encoded, 8, "WEBP", 4))) {
            continue;
        }
        struct sw_image image = {0};
        sw_status status = formats[i].decode(encoded, limits, &image, err);
        if (status) {
            sw_image_deinit(&image);
            return status;
        }
        *ret = image;
        return SW_OK;
    }
    return sw_fail(err, SW_E_UNSUPPORTED_MEDIA, "unknown format; PNG, JPEG, WebP, GIF and BMP are taken%s",
                   is_base64(encoded) ? "; this looks like base64: send {\"b64\": \"...\"} to the predict route" : "");
}

static uint8_t over(uint32_t value, uint32_t alpha, uint32_t background) {
    return (uint8_t)((value * alpha + background * (255 - alpha) + 127) / 255);
}

void sw_image_reduce(struct sw_image *image, uint32_t channels, const uint8_t background[3]) {
    SW_ASSERT(channels == 1 || channels == 3);
    size_t count = (size_t)image->width * image->height;
    uint8_t *p = image->pixels;
    if (image->channels == 4) {
        for (size_t i = 0; i < count; i++) {
            const uint8_t *in = p + 4 * i;
            uint8_t a = in[3];
            uint8_t rgb[3] = {over(in[0], a, background[0]), over(in[1], a, background[1]),
                              over(in[2], a, background[2])};
            memcpy(p + 3 * i, rgb, 3);
        }
        image->channels = 3;
    }
    if (image->channels == 3 && channels == 1) {
        for (size_t i = 0; i < count; i++) {
            p[i] = sw_image_luma(p + 3 * i);
        }
        image->channels = 1;
    }
}
