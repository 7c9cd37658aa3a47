/* PNG through libspng: all colour types and depths, interlaced, tRNS. Critical chunks must carry a right CRC, and the
 * file must reach its end chunk. */
#include <spng.h>

#include "base/memory.h"
#include "pipeline/image.h"

/* Ancillary chunks (colour profiles, texts) are bounded, alone and together: they expand when compressed. libspng
 * itself takes at most 1000 of them. */
enum { CHUNK_BYTES_MAX = 8 << 20, CHUNK_CACHE_MAX = 16 << 20 };

static sw_status fault(int code, struct sw_error *err) {
    return sw_fail(err, code == SPNG_EMEM ? SW_E_UNAVAILABLE : SW_E_UNPROCESSABLE, "PNG cannot be decoded: %s",
                   spng_strerror(code));
}

/* Alpha channel or tRNS: RGBA. Otherwise gray up to 8 bits: gray. All else: RGB. */
static int choose_format(const struct spng_ihdr *header, bool transparent, uint32_t *ret_channels) {
    bool alpha = transparent || header->color_type == SPNG_COLOR_TYPE_GRAYSCALE_ALPHA ||
                 header->color_type == SPNG_COLOR_TYPE_TRUECOLOR_ALPHA;
    if (alpha) {
        *ret_channels = 4;
        return SPNG_FMT_RGBA8;
    }
    bool gray = header->color_type == SPNG_COLOR_TYPE_GRAYSCALE && header->bit_depth <= 8;
    *ret_channels = gray ? 1 : 3;
    return gray ? SPNG_FMT_G8 : SPNG_FMT_RGB8;
}

static sw_status decode(spng_ctx *ctx, struct sw_str encoded, const struct sw_image_limits *limits,
                        struct sw_image *image, struct sw_error *err) {
    struct spng_ihdr header;
    struct spng_trns trns;
    uint32_t channels;
    size_t size = 0;
    int code = spng_set_image_limits(ctx, SW_IMAGE_SIDE_MAX, SW_IMAGE_SIDE_MAX);
    code = code ? code : spng_set_chunk_limits(ctx, CHUNK_BYTES_MAX, CHUNK_CACHE_MAX);
    code = code ? code : spng_set_png_buffer(ctx, encoded.data, encoded.len);
    code = code ? code : spng_get_ihdr(ctx, &header);
    if (code) {
        return fault(code, err);
    }
    SW_TRY(sw_image_check_size("PNG", header.width, header.height, limits, err));
    code = spng_get_trns(ctx, &trns); /* reads everything up to the pixels */
    bool transparent = code == 0;
    int format = choose_format(&header, transparent, &channels);
    code = code == SPNG_ECHUNKAVAIL || transparent ? spng_decoded_image_size(ctx, format, &size) : code;
    if (code) {
        return fault(code, err);
    }
    SW_TRY(sw_image_alloc(image, "PNG", header.width, header.height, channels, limits, err));
    SW_ASSERT(size == (size_t)header.width * header.height * channels);
    code = spng_decode_image(ctx, image->pixels, size, format, channels == 4 ? SPNG_DECODE_TRNS : 0);
    code = code ? code : spng_decode_chunks(ctx);
    return code ? fault(code, err) : SW_OK;
}

sw_status sw_image_decode_png(struct sw_str encoded, const struct sw_image_limits *limits, struct sw_image *image,
                              struct sw_error *err) {
    spng_ctx *ctx = spng_ctx_new(0);
    if (!ctx) {
        return fault(SPNG_EMEM, err);
    }
    sw_status status = decode(ctx, encoded, limits, image, err);
    spng_ctx_free(ctx);
    return status;
}
