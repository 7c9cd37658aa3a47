/* WebP through libwebp: lossy, lossless, with alpha; of an animation the first frame on its canvas.
 *
 * The animation container is small enough to walk here (RIFF chunks: VP8X with the canvas, then ANMF frames); libwebp
 * decodes the frame's own chunks. Chunk layout: WebP Container Specification. */
#include <webp/decode.h>

#include "base/memory.h"
#include "pipeline/image.h"

enum { RIFF_HEADER = 12, CHUNK_HEADER = 8, FRAME_HEADER = 16, VP8X_LEN = 10 };

static const char *reason(VP8StatusCode code) {
    switch (code) {
    case VP8_STATUS_NOT_ENOUGH_DATA: return "it is truncated";
    case VP8_STATUS_UNSUPPORTED_FEATURE: return "it uses an unknown feature";
    case VP8_STATUS_OUT_OF_MEMORY: return "out of memory";
    default: return "its data are damaged";
    }
}

static sw_status fault(VP8StatusCode code, struct sw_error *err) {
    return sw_fail(err, code == VP8_STATUS_OUT_OF_MEMORY ? SW_E_UNAVAILABLE : SW_E_UNPROCESSABLE,
                   "WebP cannot be decoded: %s", reason(code));
}

static uint32_t read_le(const uint8_t *p, size_t n) {
    uint32_t v = 0;
    for (size_t i = n; i-- > 0;) {
        v = v << 8 | p[i];
    }
    return v;
}

/* One still picture (RIFF file or the chunks of one frame) into a new image. */
static sw_status decode_still(const uint8_t *data, size_t len, const struct sw_image_limits *limits,
                              struct sw_image *image, struct sw_error *err) {
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config)) {
        return sw_fail(err, SW_E_INTERNAL, "libwebp does not fit this build");
    }
    VP8StatusCode code = WebPGetFeatures(data, len, &config.input);
    if (code != VP8_STATUS_OK) {
        return fault(code, err);
    }
    uint32_t channels = config.input.has_alpha ? 4 : 3;
    SW_TRY(sw_image_alloc(image, "WebP", (uint64_t)config.input.width, (uint64_t)config.input.height, channels, limits,
                          err));
    config.output.colorspace = channels == 4 ? MODE_RGBA : MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = image->pixels;
    config.output.u.RGBA.stride = (int)(image->width * channels);
    config.output.u.RGBA.size = (size_t)image->width * channels * image->height;
    code = WebPDecode(data, len, &config);
    WebPFreeDecBuffer(&config.output);
    return code == VP8_STATUS_OK ? SW_OK : fault(code, err);
}

/* The payload of the first chunk called `name` from `at` on; false when there is none or it is cut short. */
static bool find_chunk(const uint8_t *data, size_t len, size_t at, const char *name, const uint8_t **ret,
                       size_t *ret_len) {
    while (len - at >= CHUNK_HEADER) {
        size_t size = read_le(data + at + 4, 4);
        size_t room = len - at - CHUNK_HEADER;
        if (size > room) {
            return false;
        }
        if (memcmp(data + at, name, 4) == 0) {
            *ret = data + at + CHUNK_HEADER;
            *ret_len = size;
            return true;
        }
        at += CHUNK_HEADER + size + (size & 1 && size < room);
    }
    return false;
}

/* Puts the frame on a transparent canvas. */
static void paste(const struct sw_image *frame, struct sw_image *canvas, uint32_t x, uint32_t y) {
    memset(canvas->pixels, 0, (size_t)canvas->width * canvas->height * 4);
    for (uint32_t row = 0; row < frame->height; row++) {
        const uint8_t *in = frame->pixels + (size_t)row * frame->width * frame->channels;
        uint8_t *out = canvas->pixels + ((size_t)(y + row) * canvas->width + x) * 4;
        for (uint32_t i = 0; i < frame->width; i++) {
            memcpy(out + 4 * i, in + (size_t)frame->channels * i, 3);
            out[4 * i + 3] = frame->channels == 4 ? in[4 * i + 3] : 255;
        }
    }
}

static sw_status decode_animation(struct sw_str encoded, uint32_t width, uint32_t height,
                                  const struct sw_image_limits *limits, struct sw_image *image, struct sw_error *err) {
    const uint8_t *frame_data;
    size_t frame_len;
    SW_TRY(sw_image_check_size("WebP", width, height, limits, err));
    if (!find_chunk((const uint8_t *)encoded.data, encoded.len, RIFF_HEADER, "ANMF", &frame_data, &frame_len) ||
        frame_len < FRAME_HEADER) {
        return fault(VP8_STATUS_NOT_ENOUGH_DATA, err);
    }
    uint32_t x = 2 * read_le(frame_data, 3), y = 2 * read_le(frame_data + 3, 3);
    struct sw_image frame = {0};
    sw_status status = decode_still(frame_data + FRAME_HEADER, frame_len - FRAME_HEADER, limits, &frame, err);
    if (!status && (x + frame.width > width || y + frame.height > height)) {
        status = fault(VP8_STATUS_BITSTREAM_ERROR, err);
    }
    if (!status && frame.width == width && frame.height == height) {
        *image = frame;
        return SW_OK;
    }
    status = status ? status : sw_image_alloc(image, "WebP", width, height, 4, limits, err);
    if (!status) {
        paste(&frame, image, x, y);
    }
    sw_image_deinit(&frame);
    return status;
}

sw_status sw_image_decode_webp(struct sw_str encoded, const struct sw_image_limits *limits, struct sw_image *image,
                               struct sw_error *err) {
    const uint8_t *data = (const uint8_t *)encoded.data, *extended;
    size_t extended_len;
    WebPBitstreamFeatures features;
    VP8StatusCode code = WebPGetFeatures(data, encoded.len, &features);
    if (code != VP8_STATUS_OK) {
        return fault(code, err);
    }
    if (!features.has_animation) {
        return decode_still(data, encoded.len, limits, image, err);
    }
    if (!find_chunk(data, encoded.len, RIFF_HEADER, "VP8X", &extended, &extended_len) || extended_len < VP8X_LEN) {
        return fault(VP8_STATUS_BITSTREAM_ERROR, err);
    }
    return decode_animation(encoded, read_le(extended + 4, 3) + 1, read_le(extended + 7, 3) + 1, limits, image, err);
}
