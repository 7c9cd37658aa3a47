/* See streams.h. Each stream is a function that fills one row of numbers, floats or bytes. */
#include "apps/starlight/streams.h"

#include <math.h>
#include <stdio.h>

#include "apps/starlight/evidence.h"
#include "apps/starlight/text.h"

enum { FORMAT_VALUES = 15, STATISTICS_VALUES = 14, OPAQUE = 255, DIMENSION_MAX = 1 << 20 };

/* Where a stream writes: floats or bytes, `count` of them, zeroed. */
struct row {
    float *floats; /* one of both */
    uint8_t *bytes;
    const int64_t *shape; /* of one image */
    size_t count;
};

struct sw_starlight_stream {
    const char *name;
    uint32_t rank;    /* of one image */
    int64_t shape[2]; /* 0: as the model says */
    bool floats_only, needs_pixels;
    void (*write)(const struct sw_starlight_image *image, const struct row *row);
};

static inline void put(const struct row *row, size_t i, uint8_t value) {
    if (row->floats) {
        row->floats[i] = value;
    } else {
        row->bytes[i] = value;
    }
}

static size_t raster_pixels(const struct sw_starlight_image *image) {
    return (size_t)image->raster_width * image->raster_height;
}

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/* ---- one function a stream */

static void write_evidence(const struct sw_starlight_image *image, const struct row *row) {
    sw_starlight_evidence(image, row->floats);
}

static void write_carriers(const struct sw_starlight_image *image, const struct row *row) {
    size_t length = (size_t)row->shape[1];
    uint8_t piece[512];
    for (size_t c = 0; c < SW_STARLIGHT_CARRIERS; c++) {
        for (size_t at = 0; at < length;) {
            size_t n = sw_starlight_carrier_read(image, (enum sw_starlight_carrier)c, at, piece,
                                                 smaller(sizeof piece, length - at));
            for (size_t i = 0; i < n; i++) {
                put(row, c * length + at + i, piece[i]);
            }
            if (n == 0) {
                break;
            }
            at += n;
        }
    }
}

static void write_pixels(const struct sw_starlight_image *image, const struct row *row) {
    size_t n = smaller(raster_pixels(image), (size_t)row->shape[0]);
    for (size_t i = 0; i < n; i++) {
        const uint8_t *colour = image->indices ? image->palette[image->indices[i]]
                                               : image->pixels + i * image->channels;
        bool alpha = image->indices || image->channels == 4;
        for (size_t k = 0; k < 4; k++) {
            put(row, i * 4 + k, k < 3 || alpha ? colour[k] : OPAQUE);
        }
    }
}

static void write_alpha(const struct sw_starlight_image *image, const struct row *row) {
    if (!image->has_alpha || !image->pixels || image->channels != 4) {
        return;
    }
    size_t n = smaller(raster_pixels(image), row->count);
    for (size_t i = 0; i < n; i++) {
        put(row, i, image->pixels[i * 4 + 3]);
    }
}

static void write_lsb(const struct sw_starlight_image *image, const struct row *row) {
    if (!image->pixels || image->lossy) {
        return;
    }
    size_t n = smaller(raster_pixels(image), (size_t)row->shape[0]);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < 3; k++) {
            put(row, i * 3 + k, image->pixels[i * image->channels + k] & 1);
        }
    }
}

static void write_palette(const struct sw_starlight_image *image, const struct row *row) {
    for (size_t i = 0; i < image->palette_count; i++) {
        for (size_t k = 0; k < 4; k++) {
            put(row, i * 4 + k, image->palette[i][k]);
        }
    }
}

static void write_palette_lsb(const struct sw_starlight_image *image, const struct row *row) {
    size_t n = image->indices ? smaller(raster_pixels(image), row->count) : 0;
    for (size_t i = 0; i < n; i++) {
        put(row, i, image->indices[i] & 1);
    }
}

static void write_metadata(const struct sw_starlight_image *image, const struct row *row) {
    size_t length = (size_t)row->shape[1];
    const struct sw_str parts[2] = {image->user_comment, image->trailing};
    for (size_t p = 0; p < 2; p++) {
        size_t n = smaller(parts[p].len, length);
        for (size_t i = 0; i < n; i++) {
            put(row, p * length + i, (uint8_t)parts[p].data[i]);
        }
    }
}

static void write_format(const struct sw_starlight_image *image, const struct row *row) {
    float *v = row->floats;
    v[image->format] = 1;
    v += SW_STARLIGHT_FORMATS;
    v[0] = image->lossy;
    v[1] = image->gray;
    v[2] = image->has_alpha;
    v[3] = image->indices != NULL;
    v[4] = image->interlaced;
    v[5] = (float)(log2(1 + (double)image->frames) / 13);
    v[6] = (float)image->bit_depth / 16;
    v[7] = (float)(log2(image->width) / 16);
    v[8] = (float)(log2(image->height) / 16);
    v[9] = (float)image->palette_count / 256;
}

/* Sums over the raster from which the statistics come. */
struct sums {
    uint64_t value[4], square[3], ones[4], extreme, opaque, index_ones;
};

static void add_pixel(struct sums *s, const uint8_t *colour, bool alpha) {
    for (size_t k = 0; k < 3; k++) {
        s->value[k] += colour[k];
        s->square[k] += (uint64_t)colour[k] * colour[k];
        s->ones[k] += colour[k] & 1;
        s->extreme += colour[k] == 0 || colour[k] == 255;
    }
    uint8_t a = alpha ? colour[3] : OPAQUE;
    s->value[3] += a;
    s->ones[3] += a & 1;
    s->opaque += a == OPAQUE;
}

static void write_statistics(const struct sw_starlight_image *image, const struct row *row) {
    struct sums s = {{0}, {0}, {0}, 0, 0, 0};
    size_t pixels = raster_pixels(image);
    if (pixels == 0) {
        return;
    }
    for (size_t i = 0; i < pixels; i++) {
        if (image->indices) {
            s.index_ones += image->indices[i] & 1;
            add_pixel(&s, image->palette[image->indices[i]], true);
        } else {
            add_pixel(&s, image->pixels + i * image->channels, image->channels == 4);
        }
    }
    double n = (double)pixels;
    float *v = row->floats;
    for (size_t k = 0; k < 3; k++) {
        double mean = (double)s.value[k] / n;
        v[k] = (float)(mean / 255);
        v[3 + k] = (float)(sqrt(fmax(0, (double)s.square[k] / n - mean * mean)) / 255);
        v[6 + k] = (float)((double)s.ones[k] / n);
    }
    v[9] = (float)((double)s.value[3] / n / 255);
    v[10] = (float)((double)s.ones[3] / n);
    v[11] = (float)((double)s.opaque / n);
    v[12] = (float)((double)s.index_ones / n);
    v[13] = (float)((double)s.extreme / (3 * n));
}

/* ---- the table */

static const struct sw_starlight_stream streams[] = {
    {"evidence", 2, {SW_STARLIGHT_EVIDENCE_COUNT, SW_STARLIGHT_CARRIERS}, true, false, write_evidence},
    {"carriers", 2, {SW_STARLIGHT_CARRIERS, 0}, false, false, write_carriers},
    {"pixels", 2, {0, 4}, false, true, write_pixels},
    {"alpha", 1, {0}, false, false, write_alpha},
    {"lsb", 2, {0, 3}, false, false, write_lsb},
    {"palette", 2, {256, 4}, false, false, write_palette},
    {"palette_lsb", 1, {0}, false, false, write_palette_lsb},
    {"metadata", 2, {2, 0}, false, false, write_metadata},
    {"format", 1, {FORMAT_VALUES}, true, false, write_format},
    {"statistics", 1, {STATISTICS_VALUES}, true, true, write_statistics},
};

const struct sw_starlight_stream *sw_starlight_stream_find(struct sw_str name) {
    for (size_t i = 0; i < SW_COUNTOF(streams); i++) {
        if (sw_str_is(name, streams[i].name)) {
            return &streams[i];
        }
    }
    return NULL;
}

bool sw_starlight_stream_needs_pixels(const struct sw_starlight_stream *stream) {
    return stream->needs_pixels;
}

sw_status sw_starlight_stream_check(const struct sw_starlight_stream *stream, const struct sw_tensor_spec *spec,
                                    struct sw_error *err) {
    bool fits = spec->rank == stream->rank + 1 &&
                (spec->dtype == SW_DTYPE_FP32 || (spec->dtype == SW_DTYPE_UINT8 && !stream->floats_only));
    for (uint32_t i = 0; fits && i < stream->rank; i++) {
        int64_t have = spec->shape[i + 1], want = stream->shape[i];
        fits = want ? have == want : have > 0 && have <= DIMENSION_MAX;
    }
    if (fits) {
        return SW_OK;
    }
    char want[64] = "[N", have[128];
    for (uint32_t i = 0; i < stream->rank; i++) {
        size_t at = strlen(want);
        if (stream->shape[i]) {
            snprintf(want + at, sizeof want - at, ",%lld", (long long)stream->shape[i]);
        } else {
            snprintf(want + at, sizeof want - at, ",1..%d", DIMENSION_MAX);
        }
    }
    return sw_fail(err, SW_E_MODEL_INVALID, "input: '%s' is %s %s, the stream of this name is %s %s]", stream->name,
                   sw_dtype_name(spec->dtype), sw_shape_format(spec->shape, spec->rank, have, sizeof have),
                   stream->floats_only ? "FP32" : "FP32 or UINT8", want);
}

void sw_starlight_stream_write(const struct sw_starlight_stream *stream, const struct sw_starlight_image *image,
                               const struct sw_tensor *tensor, size_t row) {
    SW_ASSERT(tensor->rank == stream->rank + 1 && row < (size_t)tensor->shape[0]);
    struct row out = {.shape = tensor->shape + 1, .count = tensor->count / (size_t)tensor->shape[0]};
    if (tensor->dtype == SW_DTYPE_FP32) {
        out.floats = (float *)tensor->data + row * out.count;
        memset(out.floats, 0, out.count * sizeof(float));
    } else {
        out.bytes = (uint8_t *)tensor->data + row * out.count;
        memset(out.bytes, 0, out.count);
    }
    stream->write(image, &out);
}
