/* See image.h: telling formats apart, limits, the budget of decoded memory, and what all decoders share. */
#include <stdatomic.h>

#include "apps/starlight/decode_internal.h"
#include "base/memory.h"

const struct sw_starlight_limits sw_starlight_limits_default = {
    .encoded_max = 16u << 20,
    .pixels_max = 64000000,
    .frames_max = 4096,
    .chunks_max = 65536,
    .scans_max = 256,
};

/* Bytes that images hold and decoders use, all threads together. */
static _Atomic uint64_t budget_bytes = 1ull << 30;
static _Atomic uint64_t budget_used;

void sw_starlight_memory_budget(uint64_t bytes) {
    atomic_store_explicit(&budget_bytes, bytes, memory_order_relaxed);
}

uint64_t sw_starlight_memory_used(void) {
    return atomic_load_explicit(&budget_used, memory_order_relaxed);
}

/* The counter guards no other memory: relaxed order is enough, and a sum that is over the budget is taken back. */
static sw_status budget_take(struct sw_starlight_decoder *d, uint64_t size) {
    uint64_t budget = atomic_load_explicit(&budget_bytes, memory_order_relaxed);
    if (size > budget) {
        return sw_fail(d->err, SW_E_TOO_LARGE, "%s needs %llu MB of memory; one image may take at most %llu MB",
                       d->name, (unsigned long long)(size >> 20), (unsigned long long)(budget >> 20));
    }
    uint64_t before = atomic_fetch_add_explicit(&budget_used, size, memory_order_relaxed);
    if (before > budget - size) {
        atomic_fetch_sub_explicit(&budget_used, size, memory_order_relaxed);
        return sw_fail(d->err, SW_E_UNAVAILABLE, "too many large images at once; try again");
    }
    return SW_OK;
}

static void budget_give(uint64_t size) {
    uint64_t before = atomic_fetch_sub_explicit(&budget_used, size, memory_order_relaxed);
    SW_ASSERT(before >= size);
}

static sw_status out_of_memory(struct sw_starlight_decoder *d, uint64_t size) {
    return sw_fail(d->err, SW_E_UNAVAILABLE, "out of memory: %s needs %llu bytes", d->name, (unsigned long long)size);
}

sw_status sw_starlight_alloc(struct sw_starlight_decoder *d, uint64_t size, uint8_t **ret) {
    *ret = NULL;
    SW_TRY(budget_take(d, size));
    d->owned->reserved += size;
    *ret = sw_malloc((size_t)size);
    return *ret ? SW_OK : out_of_memory(d, size);
}

void sw_starlight_shrink(struct sw_starlight_decoder *d, uint8_t **p, uint64_t size, uint64_t used) {
    SW_ASSERT(used <= size && used > 0);
    uint8_t *less = sw_realloc(*p, (size_t)used);
    if (less) {
        *p = less;
        d->owned->reserved -= size - used;
        budget_give(size - used);
    }
}

sw_status sw_starlight_reserve(struct sw_starlight_decoder *d, uint64_t size) {
    SW_TRY(budget_take(d, size));
    d->scratch += size;
    return SW_OK;
}

sw_status sw_starlight_scratch(struct sw_starlight_decoder *d, uint64_t size, uint8_t **ret) {
    *ret = NULL;
    SW_TRY(sw_starlight_reserve(d, size));
    *ret = sw_malloc((size_t)size);
    return *ret ? SW_OK : out_of_memory(d, size);
}

sw_status sw_starlight_check_size(struct sw_starlight_decoder *d, uint64_t width, uint64_t height) {
    if (width == 0 || height == 0) {
        return sw_starlight_fault(d, "it has %llu x %llu pixels", (unsigned long long)width,
                                  (unsigned long long)height);
    }
    if (width > UINT32_MAX || height > UINT32_MAX || width * height > d->limits->pixels_max) {
        return sw_fail(d->err, SW_E_TOO_LARGE, "%s of %llu x %llu pixels; at most %llu pixels are taken", d->name,
                       (unsigned long long)width, (unsigned long long)height,
                       (unsigned long long)d->limits->pixels_max);
    }
    return SW_OK;
}

sw_status sw_starlight_set_canvas(struct sw_starlight_decoder *d, uint64_t width, uint64_t height) {
    SW_TRY(sw_starlight_check_size(d, width, height));
    d->image->width = (uint32_t)width;
    d->image->height = (uint32_t)height;
    return SW_OK;
}

sw_status sw_starlight_count_chunk(struct sw_starlight_decoder *d) {
    return ++d->image->chunks > d->limits->chunks_max
               ? sw_starlight_fault(d, "it has more than %u chunks", d->limits->chunks_max)
               : SW_OK;
}

sw_status sw_starlight_count_frame(struct sw_starlight_decoder *d, uint32_t frames) {
    d->image->frames = frames;
    return frames > d->limits->frames_max ? sw_starlight_fault(d, "it has more than %u frames", d->limits->frames_max)
                                          : SW_OK;
}

void sw_starlight_set_trailing(struct sw_starlight_decoder *d, size_t at) {
    SW_ASSERT(at <= d->size);
    d->image->trailing = at < d->size ? (struct sw_str){(const char *)d->data + at, d->size - at}
                                      : (struct sw_str){NULL, 0};
}

void sw_starlight_image_deinit(struct sw_starlight_image *image) {
    struct sw_starlight_owned *owned = image->owned;
    sw_free(image->pixels);
    sw_free(image->indices);
    if (owned) {
        budget_give(owned->reserved);
        sw_free(owned->comment);
        sw_free(owned);
    }
    *image = (struct sw_starlight_image){0};
}

struct format {
    enum sw_starlight_format format;
    const char *name;
    sw_status (*decode)(struct sw_starlight_decoder *d);
};

static const struct format *find_format(struct sw_str s) {
    static const struct format formats[SW_STARLIGHT_FORMATS] = {
        {SW_STARLIGHT_PNG, "PNG", sw_starlight_decode_png}, {SW_STARLIGHT_JPEG, "JPEG", sw_starlight_decode_jpeg},
        {SW_STARLIGHT_GIF, "GIF", sw_starlight_decode_gif}, {SW_STARLIGHT_WEBP, "WebP", sw_starlight_decode_webp},
        {SW_STARLIGHT_BMP, "BMP", sw_starlight_decode_bmp},
    };
    if (sw_str_starts(s, SW_STR("\x89PNG\r\n\x1a\n"))) {
        return &formats[SW_STARLIGHT_PNG];
    }
    if (sw_str_starts(s, SW_STR("\xff\xd8\xff"))) {
        return &formats[SW_STARLIGHT_JPEG];
    }
    if (sw_str_starts(s, SW_STR("GIF87a")) || sw_str_starts(s, SW_STR("GIF89a"))) {
        return &formats[SW_STARLIGHT_GIF];
    }
    if (sw_str_starts(s, SW_STR("RIFF")) && s.len >= 12 && memcmp(s.data + 8, "WEBP", 4) == 0) {
        return &formats[SW_STARLIGHT_WEBP];
    }
    return sw_str_starts(s, SW_STR("BM")) ? &formats[SW_STARLIGHT_BMP] : NULL;
}

sw_status sw_starlight_decode(struct sw_str encoded, const struct sw_starlight_limits *limits,
                              enum sw_starlight_wanted wanted, struct sw_starlight_image *ret, struct sw_error *err) {
    if (encoded.len > limits->encoded_max) {
        return sw_fail(err, SW_E_TOO_LARGE, "an image file of %zu bytes; at most %llu are taken", encoded.len,
                       (unsigned long long)limits->encoded_max);
    }
    const struct format *format = find_format(encoded);
    if (!format) {
        return sw_fail(err, SW_E_UNSUPPORTED_MEDIA, "%s; PNG, JPEG, GIF, WebP and BMP are taken",
                       encoded.len ? "not an image of a known format" : "empty: no image");
    }
    struct sw_starlight_image image = {
        .format = format->format, .frames = 1, .owned = SW_NEW(struct sw_starlight_owned)};
    struct sw_starlight_decoder d = {.data = (const uint8_t *)encoded.data,
                                     .size = encoded.len,
                                     .name = format->name,
                                     .limits = limits,
                                     .wanted = wanted,
                                     .image = &image,
                                     .owned = image.owned,
                                     .err = err};
    sw_status status = format->decode(&d);
    budget_give(d.scratch);
    if (status) {
        sw_starlight_image_deinit(&image);
        return status;
    }
    *ret = image;
    return SW_OK;
}
