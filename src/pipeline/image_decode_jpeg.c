/* JPEG through libjpeg(-turbo): gray, YCbCr, RGB, CMYK and YCCK (turned to RGB), baseline and progressive.
 *
 * Errors jump: see image_jpeg.h. What must survive the jump lives in struct decoder, which belongs to the function that
 * calls the one with setjmp. Warnings count as errors, which also stops files that promise many pixels and bring none. */
#include "base/memory.h"
#include "pipeline/image.h"
#include "pipeline/image_jpeg.h"

enum {
    MEMORY_BASE = 32 << 20, /* of libjpeg, and as much a pixel: */
    MEMORY_PER_PIXEL = 10,  /* coefficients of four components of a progressive file, and rows */
    SCANS_MIN = 32,         /* a progressive file may always have so many scans, */
    SCANS_MAX = 500,        /* a small one more, */
    SCAN_PIXELS = 1 << 29,  /* as long as scans * pixels stays below */
    ORIENTATION_TAG = 0x0112,
};

struct decoder {
    struct jpeg_decompress_struct jpeg;
    struct sw_jpeg_guard guard;
    const struct sw_image_limits *limits;
    struct sw_image *image;
    uint8_t *row; /* CMYK only */
    int orientation;
};

static uint32_t read_uint(const uint8_t *p, size_t n, bool little) {
    uint32_t v = 0;
    for (size_t i = 0; i < n; i++) {
        v = v << 8 | p[little ? n - 1 - i : i];
    }
    return v;
}

/* Orientation 1..8 of an APP1 marker's EXIF block (TIFF 6.0 header, first directory); 1 when there is none. */
static int exif_orientation(const uint8_t *data, size_t len) {
    if (len < 14 || memcmp(data, "Exif\0\0", 6) != 0) {
        return 1;
    }
    const uint8_t *tiff = data + 6;
    size_t n = len - 6;
    bool little = tiff[0] == 'I';
    if (memcmp(tiff, little ? "II" : "MM", 2) != 0 || read_uint(tiff + 2, 2, little) != 42) {
        return 1;
    }
    size_t at = read_uint(tiff + 4, 4, little);
    if (at > n || n - at < 2) {
        return 1;
    }
    size_t entries = read_uint(tiff + at, 2, little);
    at += 2;
    for (size_t i = 0; i < entries && n - at >= 12; i++, at += 12) {
        if (read_uint(tiff + at, 2, little) == ORIENTATION_TAG && read_uint(tiff + at + 2, 2, little) == 3) {
            uint32_t v = read_uint(tiff + at + 8, 2, little);
            return v >= 1 && v <= 8 ? (int)v : 1;
        }
    }
    return 1;
}

static int find_orientation(const struct jpeg_decompress_struct *jpeg) {
    for (jpeg_saved_marker_ptr m = jpeg->marker_list; m; m = m->next) {
        int orientation = m->marker == JPEG_APP0 + 1 ? exif_orientation(m->data, m->data_length) : 1;
        if (orientation != 1) {
            return orientation;
        }
    }
    return 1;
}

/* Turns the picture upright. Orientation o, as the place of stored row 0 and column 0 (EXIF 2.3, 4.6.4 A). */
static sw_status orient(struct sw_image *image, int orientation, struct sw_error *err) {
    uint32_t w = image->width, h = image->height, c = image->channels;
    bool swap = orientation >= 5;
    bool mirror_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    bool mirror_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    uint32_t out_w = swap ? h : w, out_h = swap ? w : h;
    uint8_t *out = sw_malloc((size_t)w * h * c);
    if (!out) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory for an image of %u x %u pixels", w, h);
    }
    for (uint32_t y = 0; y < out_h; y++) {
        for (uint32_t x = 0; x < out_w; x++) {
            uint32_t sx = swap ? y : x, sy = swap ? x : y;
            sx = mirror_x ? w - 1 - sx : sx;
            sy = mirror_y ? h - 1 - sy : sy;
            memcpy(out + ((size_t)y * out_w + x) * c, image->pixels + ((size_t)sy * w + sx) * c, c);
        }
    }
    sw_image_deinit(image);
    *image = (struct sw_image){.width = out_w, .height = out_h, .channels = c, .pixels = out};
    return SW_OK;
}

static void read_rows(struct decoder *d) {
    struct sw_image *image = d->image;
    size_t stride = (size_t)image->width * image->channels;
    while (d->jpeg.output_scanline < d->jpeg.output_height) {
        uint8_t *out = image->pixels + d->jpeg.output_scanline * stride;
        JSAMPROW row = d->row ? d->row : out;
        if (jpeg_read_scanlines(&d->jpeg, &row, 1) != 1) {
            sw_jpeg_fail(&d->jpeg, "it is truncated", false);
        }
        if (d->row) {
            sw_jpeg_cmyk_to_rgb(d->row, out, image->width, d->jpeg.saw_Adobe_marker);
        }
    }
}

static void choose_color(struct decoder *d, uint32_t *ret_channels) {
    struct jpeg_decompress_struct *jpeg = &d->jpeg;
    *ret_channels = 3;
    switch (jpeg->jpeg_color_space) {
    case JCS_GRAYSCALE:
        jpeg->out_color_space = JCS_GRAYSCALE;
        *ret_channels = 1;
        break;
    case JCS_CMYK:
    case JCS_YCCK: jpeg->out_color_space = JCS_CMYK; break;
    case JCS_UNKNOWN: sw_jpeg_fail(jpeg, "its colour space is unknown", false);
    default: jpeg->out_color_space = JCS_RGB; break;
    }
}

/* Everything that libjpeg may jump out of. */
static sw_status decode(struct decoder *d, struct sw_str encoded, struct sw_error *err) {
    if (setjmp(d->guard.jump)) {
        return sw_fail(err, d->guard.out_of_memory ? SW_E_UNAVAILABLE : SW_E_UNPROCESSABLE,
                       "JPEG cannot be decoded: %s", d->guard.reason);
    }
    struct jpeg_decompress_struct *jpeg = &d->jpeg;
    uint32_t channels;
    jpeg_create_decompress(jpeg);
    sw_jpeg_guard_watch(&d->guard, jpeg);
    jpeg_mem_src(jpeg, (const unsigned char *)encoded.data, encoded.len);
    if (d->limits->exif_orientation) {
        jpeg_save_markers(jpeg, JPEG_APP0 + 1, 0xffff);
    }
    if (jpeg_read_header(jpeg, TRUE) != JPEG_HEADER_OK) {
        sw_jpeg_fail(jpeg, "it holds no image", false);
    }
    choose_color(d, &channels);
    d->orientation = find_orientation(jpeg); /* finishing frees the markers */
    SW_TRY(sw_image_alloc(d->image, "JPEG", jpeg->image_width, jpeg->image_height, channels, d->limits, err));
    size_t pixels = (size_t)jpeg->image_width * jpeg->image_height;
    jpeg->mem->max_memory_to_use = (long)(MEMORY_BASE + MEMORY_PER_PIXEL * pixels);
    size_t scans = SCAN_PIXELS / pixels;
    d->guard.scans_max = scans < SCANS_MIN ? SCANS_MIN : scans > SCANS_MAX ? SCANS_MAX : (int)scans;
    if (jpeg->out_color_space == JCS_CMYK && !(d->row = sw_malloc((size_t)jpeg->image_width * 4))) {
        sw_jpeg_fail(jpeg, "out of memory", true);
    }
    jpeg_start_decompress(jpeg);
    read_rows(d);
    jpeg_finish_decompress(jpeg);
    return SW_OK;
}

sw_status sw_image_decode_jpeg(struct sw_str encoded, const struct sw_image_limits *limits, struct sw_image *image,
                               struct sw_error *err) {
    struct decoder d = {.limits = limits, .image = image};
    sw_jpeg_guard_init(&d.guard, &d.jpeg, SCANS_MAX);
    sw_status status = decode(&d, encoded, err);
    jpeg_destroy_decompress(&d.jpeg);
    sw_free(d.row);
    return status || d.orientation == 1 ? status : orient(image, d.orientation, err);
}
