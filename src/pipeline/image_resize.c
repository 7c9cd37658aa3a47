/* See image.h. Separable resampling in float.
 *
 * Along x each destination column has a short run of weights over source columns, computed once. Source rows are taken
 * one at a time: resampled along x into one line, then added, weighted, to each destination row whose triangle covers
 * them. So memory beyond source and destination is one line and the tables. The triangle has half-width max(1, scale)
 * in source pixels, centred on the destination pixel's middle; weights are normalised to sum 1 (also at the borders,
 * where pixels outside the clip drop out). */
#include <math.h>

#include "base/memory.h"
#include "pipeline/image.h"

/* Weights of one destination pixel: source pixels first .. first + count - 1. */
struct run {
    uint32_t first, count;
    size_t weights; /* index of the first weight */
};

struct axis {
    struct run *runs; /* one a destination pixel, `first` ascending */
    float *weights;
};

static void axis_deinit(struct axis *axis) {
    sw_free(axis->runs);
    sw_free(axis->weights);
}

static uint32_t clamp_index(double v, uint32_t limit) {
    return v <= 0 ? 0 : v >= limit ? limit : (uint32_t)v;
}

/* Fills runs[i] and its weights (behind those of i - 1); returns how many weights there are now. */
static size_t fill_triangle(struct axis *axis, uint32_t i, size_t used, double centre, double half, uint32_t size) {
    uint32_t first = clamp_index(centre - half, size - 1);
    uint32_t last = clamp_index(ceil(centre + half), size);
    while (first + 1 < last && fabs(first + 0.5 - centre) >= half) {
        first++;
    }
    while (last > first + 1 && fabs(last - 0.5 - centre) >= half) {
        last--;
    }
    uint32_t count = last > first ? last - first : 1;
    float *weights = axis->weights + used;
    double sum = 0;
    for (uint32_t k = 0; k < count; k++) {
        double w = 1 - fabs(first + k + 0.5 - centre) / half;
        weights[k] = (float)(w > 0 ? w : 0);
        sum += weights[k];
    }
    for (uint32_t k = 0; k < count; k++) { /* sum 0: the middle lies outside the clip, the border pixel stands in */
        weights[k] = sum > 0 ? (float)(weights[k] / sum) : 1.0f / (float)count;
    }
    axis->runs[i] = (struct run){first, count, used};
    return used + count;
}

/* Tables of one axis: `count` destination pixels over `size` source pixels. false: out of memory. */
static bool axis_init(struct axis *axis, double origin, double scale, uint32_t count, uint32_t size,
                      enum sw_image_filter filter) {
    double half = filter == SW_IMAGE_NEAREST ? 0.5 : scale > 1 ? scale : 1;
    size_t most = (size_t)ceil(2 * half) + 3;
    most = most < size ? most : size;
    *axis = (struct axis){.runs = sw_calloc(count, sizeof *axis->runs),
                          .weights = sw_calloc((size_t)count * most + 1, sizeof *axis->weights)};
    if (!axis->runs || !axis->weights) {
        axis_deinit(axis);
        return false;
    }
    size_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        double centre = origin + (i + 0.5) * scale;
        if (filter == SW_IMAGE_NEAREST) {
            axis->runs[i] = (struct run){clamp_index(centre, size - 1), 1, used};
            axis->weights[used++] = 1;
        } else {
            used = fill_triangle(axis, i, used, centre, half, size);
        }
    }
    return true;
}

/* One source row along x. `channels` is a constant at each call, so that the inner loops unroll. */
static inline __attribute__((always_inline)) void resample_row(const struct axis *axis, const uint8_t *in, float *out,
                                                               uint32_t width, uint32_t channels) {
    for (uint32_t i = 0; i < width; i++, out += channels) {
        const struct run *run = &axis->runs[i];
        const uint8_t *p = in + (size_t)run->first * channels;
        const float *w = axis->weights + run->weights;
        float sum[4] = {0};
        for (uint32_t k = 0; k < run->count; k++, p += channels) {
            for (uint32_t c = 0; c < channels; c++) {
                sum[c] += w[k] * (float)p[c];
            }
        }
        for (uint32_t c = 0; c < channels; c++) {
            out[c] = sum[c];
        }
    }
}

static void resample_line(const struct axis *axis, const uint8_t *in, float *out, uint32_t width, uint32_t channels) {
    switch (channels) {
    case 1: resample_row(axis, in, out, width, 1); break;
    case 3: resample_row(axis, in, out, width, 3); break;
    default: resample_row(axis, in, out, width, 4); break;
    }
}

static void add_line(float *restrict out, const float *restrict line, float weight, size_t n) {
    for (size_t i = 0; i < n; i++) {
        out[i] += weight * line[i];
    }
}

sw_status sw_image_resample(const struct sw_image *image, const struct sw_image_region *region,
                            enum sw_image_filter filter, float *destination, uint32_t width, uint32_t height,
                            size_t stride, struct sw_error *err) {
    SW_ASSERT(region->clip_width && region->clip_height && image->channels != 2);
    SW_ASSERT(region->clip_x + region->clip_width <= image->width);
    SW_ASSERT(region->clip_y + region->clip_height <= image->height);
    size_t n = (size_t)width * image->channels;
    struct axis x, y;
    SW_AUTO_FREE float *line = sw_malloc(n * sizeof *line);
    if (!line || !axis_init(&x, region->x, region->scale_x, width, region->clip_width, filter)) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory while an image is resized");
    }
    if (!axis_init(&y, region->y, region->scale_y, height, region->clip_height, filter)) {
        axis_deinit(&x);
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory while an image is resized");
    }
    for (uint32_t j = 0; j < height; j++) {
        memset(destination + j * stride, 0, n * sizeof *destination);
    }
    uint32_t begin = y.runs[0].first, end = y.runs[height - 1].first + y.runs[height - 1].count, from = 0;
    for (uint32_t row = begin; row < end; row++) {
        while (from < height && y.runs[from].first + y.runs[from].count <= row) {
            from++; /* done: no later source row touches it */
        }
        if (from == height || y.runs[from].first > row) {
            continue; /* nearest skips source rows */
        }
        const uint8_t *in = image->pixels +
                            ((size_t)(region->clip_y + row) * image->width + region->clip_x) * image->channels;
        resample_line(&x, in, line, width, image->channels);
        for (uint32_t j = from; j < height && y.runs[j].first <= row; j++) {
            if (row < y.runs[j].first + y.runs[j].count) {
                add_line(destination + j * stride, line, y.weights[y.runs[j].weights + row - y.runs[j].first], n);
            }
        }
    }
    axis_deinit(&x);
    axis_deinit(&y);
    return SW_OK;
}
