/* Any bytes as an image file for Starlight: all five decoders, every carrier, every method of extraction. The first byte
 * chooses limits and wanted pixels, the rest is the file. Whatever comes, it is decoded or refused with a reason; what the
 * image says fits together; no memory of the budget is left when it is gone. */
#include <libdeflate.h>

#include "apps/starlight/text.h"
#include "base/memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned int seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t size_max); /* libFuzzer's */

static uint32_t be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put_be32(uint8_t *p, uint32_t v) {
    for (int i = 3; i >= 0; i--, v >>= 8) {
        p[i] = (uint8_t)v;
    }
}

/* A zlib stream of one stored block ("78 01", final, length, its complement, data, Adler-32), made whole again. */
static void repair_stored(uint8_t *p, size_t size) {
    if (size < 11 || p[0] != 0x78 || p[1] != 1 || p[2] != 1) {
        return;
    }
    size_t n = size - 11;
    p[3] = (uint8_t)n, p[4] = (uint8_t)(n >> 8);
    p[5] = (uint8_t)~p[3], p[6] = (uint8_t)~p[4];
    put_be32(p + 7 + n, libdeflate_adler32(1, p + 7, n));
}

/* Changed bytes in a PNG fail its checksums; with those made right they get to the code behind. */
static void repair_png(uint8_t *p, size_t size) {
    if (size < 8 || memcmp(p, "\x89PNG", 4) != 0) {
        return;
    }
    for (size_t at = 8; size - at >= 12;) {
        size_t n = be32(p + at);
        if (n > size - at - 12) {
            return;
        }
        if (memcmp(p + at + 4, "IDAT", 4) == 0 && n <= 0xffff) {
            repair_stored(p + at + 8, n);
        }
        put_be32(p + at + 8 + n, libdeflate_crc32(0, p + at + 4, n + 4));
        at += n + 12;
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned int seed) {
    size = LLVMFuzzerMutate(data, size, size_max);
    if (seed % 8 && size > 0) {
        repair_png(data + 1, size - 1);
    }
    return size;
}

static void check_image(const struct sw_starlight_image *i, const struct sw_starlight_limits *limits,
                        enum sw_starlight_wanted wanted, struct sw_str file) {
    uint64_t raster = (uint64_t)i->raster_width * i->raster_height;
    SW_ASSERT(i->width > 0 && i->height > 0 && (uint64_t)i->width * i->height <= limits->pixels_max);
    SW_ASSERT(raster <= limits->pixels_max && i->frames >= 1 && i->frames <= limits->frames_max);
    SW_ASSERT(!(i->pixels && i->indices) && (raster > 0) == (i->pixels || i->indices));
    SW_ASSERT(!i->pixels || i->channels == (i->has_alpha ? 4u : 3u));
    SW_ASSERT(i->pixels || i->indices || (i->lossy && wanted == SW_STARLIGHT_LOSSLESS_PIXELS));
    SW_ASSERT(i->palette_count <= 256 && i->chunks <= limits->chunks_max);
    if (i->trailing.data) {
        SW_ASSERT(i->trailing.len > 0 && i->trailing.data + i->trailing.len == file.data + file.len);
    }
    uint64_t sum = 0; /* reads every pixel, so that a buffer that is too small or not filled shows */
    for (uint64_t k = 0; k < raster * (i->pixels ? i->channels : 1); k++) {
        sum += i->pixels ? i->pixels[k] : i->indices[k];
    }
    SW_ASSERT(sum <= 255 * 4 * raster);
}

static void check_carriers(const struct sw_starlight_image *image) {
    uint8_t bytes[700];
    for (int k = 0; k < SW_STARLIGHT_CARRIERS; k++) {
        enum sw_starlight_carrier carrier = (enum sw_starlight_carrier)k;
        uint64_t carrier_size = sw_starlight_carrier_size(image, carrier), at = 0;
        size_t n;
        while ((n = sw_starlight_carrier_read(image, carrier, at, bytes, sizeof bytes)) > 0) {
            at += n;
        }
        SW_ASSERT(at == carrier_size);
        SW_ASSERT(carrier_size == 0 || sw_starlight_carrier_read(image, carrier, carrier_size - 1, bytes, 9) == 1);
    }
}

static void check_messages(const struct sw_starlight_image *image) {
    struct sw_arena arena;
    sw_arena_init(&arena, 16 << 20, 0);
    for (int k = 0; k < SW_STARLIGHT_METHODS; k++) {
        struct sw_starlight_message m;
        if (sw_starlight_extract(image, (enum sw_starlight_method)k, &arena, &m)) {
            SW_ASSERT((int)m.method == k && sw_utf8_valid(m.text) && m.text.len >= (m.marked ? 4 : 8));
            SW_ASSERT(m.text.len <= 1 << 20 && (m.bit_order != NULL) == (k <= SW_STARLIGHT_METHOD_LSB_RGB));
        }
    }
    sw_arena_deinit(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct sw_starlight_limits choices[] = {
        {.encoded_max = 1 << 20, .pixels_max = 200000, .frames_max = 64, .chunks_max = 4096, .scans_max = 32},
        {.encoded_max = 1 << 12, .pixels_max = 5000, .frames_max = 2, .chunks_max = 8, .scans_max = 2},
    };
    if (size == 0) {
        return 0;
    }
    const struct sw_starlight_limits *limits = &choices[data[0] >> 1 & 1];
    enum sw_starlight_wanted wanted = data[0] & 1 ? SW_STARLIGHT_ALL_PIXELS : SW_STARLIGHT_LOSSLESS_PIXELS;
    size--;
    char *exact = sw_xmalloc(size + (size == 0)); /* so that reading over its end shows */
    memcpy(exact, data + 1, size);
    struct sw_str file = {exact, size};
    struct sw_starlight_image image;
    struct sw_error err = {0};
    sw_status status = sw_starlight_decode(file, limits, wanted, &image, &err);
    if (status) {
        SW_ASSERT(err.code == status && err.message[0]);
        SW_ASSERT(status == SW_E_UNPROCESSABLE || status == SW_E_UNSUPPORTED_MEDIA || status == SW_E_TOO_LARGE);
    } else {
        check_image(&image, limits, wanted, file);
        check_carriers(&image);
        check_messages(&image);
        sw_starlight_image_deinit(&image);
    }
    SW_ASSERT(sw_starlight_memory_used() == 0);
    sw_free(exact);
    return 0;
}
