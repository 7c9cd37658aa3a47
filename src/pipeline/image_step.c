/* The input step image: encoded pictures in, one model tensor out.
 *
 * Callers send one BYTES tensor `image`, one encoded picture an element; the model gets its own tensor, [N,C,H,W] or
 * [N,H,W,C] (or without N, or flattened to [N,C*H*W]). For each picture: decode, drop channels, cut and resize in
 * float, then (value * scale - mean) / std into the tensor's type and layout. Pixels of one picture live on the heap
 * and are freed before the next; only the tensor is in the request's arena. The order of channels in parameters is
 * that of the model's tensor. */
#include <math.h>

#include "base/memory.h"
#include "pipeline/image.h"
#include "pipeline/params.h"
#include "pipeline/steps.h"

enum {
    TARGET_SIDE_MAX = 8192,
    CHANNELS_MAX = 4,
    IMAGES_DEFAULT = 256,
    PIXELS_DEFAULT = 64 * 1000 * 1000,
    PIXELS_TOTAL = 4, /* pictures of one request together: so many times the limit of one */
};

static const char served_name[] = "image";

enum mode { MODE_STRETCH, MODE_FIT, MODE_CROP, MODE_NONE };
enum color { COLOR_RGB, COLOR_BGR, COLOR_GRAY };
enum layout { LAYOUT_NCHW, LAYOUT_NHWC };

struct image_step {
    struct sw_step step;
    char *tensor; /* the model's name for it */
    enum sw_dtype dtype;
    uint32_t rank; /* of the model's tensor */
    bool batched;  /* the tensor has a dimension N */
    uint32_t width, height, channels;
    enum layout layout;
    enum mode mode;
    enum sw_image_filter filter;
    uint32_t short_side; /* mode crop */
    bool crop_centre, invert;
    enum color color;
    uint8_t background[3], pad[3];
    double scale, mean[CHANNELS_MAX], std[CHANNELS_MAX];
    struct sw_image_limits limits;
    int64_t images_max;
};

/* making the step -------------------------------------------------------------------------------------------------- */

static void image_destroy(struct sw_step *step) {
    struct image_step *s = (struct image_step *)step;
    sw_free(s->tensor);
    sw_free(s);
}

static bool image_fits(const struct sw_tensor_spec *spec, const void *arg) {
    switch (spec->dtype) {
    case SW_DTYPE_FP16:
    case SW_DTYPE_BF16:
    case SW_DTYPE_FP32:
    case SW_DTYPE_FP64:
    case SW_DTYPE_UINT8:
    case SW_DTYPE_INT8: return spec->rank >= 2 && spec->rank <= 4;
    default: return false;
    }
}

static bool is_channel_count(int64_t n) {
    return n == 1 || n == 3 || n == 4;
}

/* NCHW unless only the last dimension can be the channels. */
static int infer_layout(const int64_t *chw) {
    return !is_channel_count(chw[0]) && is_channel_count(chw[2]) ? LAYOUT_NHWC : LAYOUT_NCHW;
}

/* A dimension given by parameter, by the model, or by both (then alike). */
static sw_status settle(const struct sw_params *p, const char *key, int64_t from_model, int64_t min, int64_t max,
                        uint32_t *ret) {
    int64_t given = -1;
    SW_TRY(sw_params_int(p, key, min, max, &given));
    if (given < 0 && from_model < 0) {
        return sw_params_fail(p, key, "is needed: the model leaves it free");
    }
    if (given >= 0 && from_model >= 0 && given != from_model) {
        return sw_params_fail(p, key, "is %lld, the model wants %lld", (long long)given, (long long)from_model);
    }
    int64_t n = given >= 0 ? given : from_model;
    if (n < min || n > max) {
        return sw_params_fail(p, key, "the model wants %lld, outside %lld to %lld", (long long)n, (long long)min,
                              (long long)max);
    }
    *ret = (uint32_t)n;
    return SW_OK;
}

static sw_status read_shape(const struct sw_params *p, const struct sw_tensor_spec *spec, struct image_step *s) {
    static const char *const layouts[] = {"NCHW", "NHWC", NULL};
    bool flat = spec->rank == 2;
    int64_t free_chw[3] = {-1, -1, -1};
    const int64_t *chw = flat ? free_chw : spec->shape + (spec->rank - 3);
    s->batched = spec->rank != 3;
    int layout = infer_layout(chw);
    SW_TRY(sw_params_choice(p, "layout", layouts, &layout));
    s->layout = (enum layout)layout;
    bool nhwc = layout == LAYOUT_NHWC;
    SW_TRY(settle(p, "channels", chw[nhwc ? 2 : 0], 1, CHANNELS_MAX, &s->channels));
    SW_TRY(settle(p, "height", chw[nhwc ? 0 : 1], 1, TARGET_SIDE_MAX, &s->height));
    SW_TRY(settle(p, "width", chw[nhwc ? 1 : 2], 1, TARGET_SIDE_MAX, &s->width));
    if (!is_channel_count(s->channels)) {
        return sw_params_fail(p, "channels", "must be 1, 3 or 4, is %u", s->channels);
    }
    int64_t values = (int64_t)s->channels * s->height * s->width;
    if (flat && spec->shape[1] >= 0 && spec->shape[1] != values) {
        return sw_params_fail(p, NULL, "%u channels of %u x %u are %lld values; the model wants %lld", s->channels,
                              s->width, s->height, (long long)values, (long long)spec->shape[1]);
    }
    return SW_OK;
}

static sw_status read_rgb(const struct sw_params *p, const char *key, uint8_t rgb[3]) {
    double v[3] = {rgb[0], rgb[1], rgb[2]};
    SW_TRY(sw_params_numbers(p, key, 0, 255, 3, v));
    for (int i = 0; i < 3; i++) {
        rgb[i] = (uint8_t)lround(v[i]);
    }
    return SW_OK;
}

static sw_status read_resize(const struct sw_params *top, struct image_step *s) {
    static const char *const known[] = {"mode", "filter", "short_side", "pad", NULL};
    static const char *const modes[] = {"stretch", "fit", "crop", "none", NULL};
    static const char *const filters[] = {"bilinear", "nearest", NULL};
    static const char *const crops[] = {"none", "centre", "center", NULL};
    struct sw_params p = {.path = "input.resize", .err = top->err};
    int mode = MODE_STRETCH, filter = SW_IMAGE_BILINEAR, crop = 0;
    int64_t short_side = 0;
    SW_TRY(sw_params_object(top, "resize", &p.object));
    SW_TRY(sw_params_only(&p, known));
    SW_TRY(sw_params_choice(&p, "mode", modes, &mode));
    SW_TRY(sw_params_choice(&p, "filter", filters, &filter));
    SW_TRY(sw_params_int(&p, "short_side", 1, TARGET_SIDE_MAX, &short_side));
    memcpy(s->pad, s->background, sizeof s->pad);
    SW_TRY(read_rgb(&p, "pad", s->pad));
    SW_TRY(sw_params_choice(top, "crop", crops, &crop));
    if (short_side && mode != MODE_CROP) {
        return sw_params_fail(&p, "short_side", "has a meaning only with mode: crop");
    }
    if (short_side && (short_side < s->width || short_side < s->height)) {
        return sw_params_fail(&p, "short_side", "must be at least the model's width and height (%u x %u)", s->width,
                              s->height);
    }
    s->mode = (enum mode)mode;
    s->filter = (enum sw_image_filter)filter;
    s->short_side = (uint32_t)short_side;
    s->crop_centre = crop != 0;
    return SW_OK;
}

static sw_status read_values(const struct sw_params *p, struct image_step *s) {
    static const char *const colors[] = {"rgb", "bgr", "gray", NULL};
    bool integer = s->dtype == SW_DTYPE_UINT8 || s->dtype == SW_DTYPE_INT8;
    int color = s->channels == 1 ? COLOR_GRAY : COLOR_RGB;
    s->scale = integer ? 1.0 : 1.0 / 255.0;
    for (int i = 0; i < CHANNELS_MAX; i++) {
        s->mean[i] = 0;
        s->std[i] = 1;
    }
    SW_TRY(sw_params_number(p, "scale", -1e30, 1e30, &s->scale));
    SW_TRY(sw_params_numbers(p, "mean", -1e30, 1e30, s->channels, s->mean));
    SW_TRY(sw_params_numbers(p, "std", 1e-30, 1e30, s->channels, s->std));
    SW_TRY(sw_params_bool(p, "invert", &s->invert));
    SW_TRY(sw_params_choice(p, "color", colors, &color));
    if (s->channels == 1 && color != COLOR_GRAY) {
        return sw_params_fail(p, "color", "the model takes one channel: gray");
    }
    s->color = (enum color)color;
    return SW_OK;
}

static sw_status read_limits(const struct sw_params *p, struct image_step *s) {
    int64_t pixels = PIXELS_DEFAULT;
    s->images_max = IMAGES_DEFAULT;
    SW_TRY(sw_params_int(p, "max_pixels", 1, 1000 * 1000 * 1000, &pixels));
    SW_TRY(sw_params_int(p, "max_images", 1, 65536, &s->images_max));
    s->limits.pixels_max = (uint64_t)pixels;
    return sw_params_bool(p, "exif_orientation", &s->limits.exif_orientation);
}

/* The signature callers see: the model's tensor becomes BYTES `image` with one dimension. */
static sw_status replace_spec(struct sw_tensor_specs *specs, size_t index, struct sw_error *err) {
    struct sw_tensor_spec *spec = &specs->items[index];
    const struct sw_tensor_spec *other = sw_specs_find(specs, SW_STR("image"));
    if (other && other != spec) {
        return sw_fail(err, SW_E_MODEL_INVALID, "input: the model has another input called 'image'");
    }
    struct sw_tensor_spec served = {.name = sw_xstrdup(served_name), .dtype = SW_DTYPE_BYTES, .rank = 1};
    served.shape[0] = spec->rank == 3 ? 1 : spec->shape[0];
    if (spec->rank != 3) {
        served.dimension_name[0] = spec->dimension_name[0];
        spec->dimension_name[0] = NULL;
    }
    sw_free(spec->name);
    for (uint32_t i = 0; i < spec->rank; i++) {
        sw_free(spec->dimension_name[i]);
    }
    *spec = served;
    return SW_OK;
}

static sw_status image_read(const struct sw_params *p, struct sw_tensor_specs *specs, struct image_step *s) {
    static const char *const known[] = {"kind",       "tensor",           "width", "height",     "channels",
                                        "layout",     "resize",           "crop",  "scale",      "mean",
                                        "std",        "invert",           "color", "background", "max_pixels",
                                        "max_images", "exif_orientation", NULL};
    const char *name = NULL;
    size_t index = 0;
    SW_TRY(sw_params_only(p, known));
    SW_TRY(sw_params_string(p, "tensor", &name));
    SW_TRY(sw_specs_choose(specs, "input", name, image_fits, NULL,
                           "a floating, UINT8 or INT8 tensor [N,C,H,W], [C,H,W] or [N,C*H*W]", &index, p->err));
    struct sw_tensor_spec *spec = &specs->items[index];
    s->tensor = sw_xstrdup(spec->name);
    s->dtype = spec->dtype;
    s->rank = spec->rank;
    memset(s->background, 255, sizeof s->background);
    SW_TRY(read_shape(p, spec, s));
    SW_TRY(read_rgb(p, "background", s->background));
    SW_TRY(read_resize(p, s));
    SW_TRY(read_values(p, s));
    SW_TRY(read_limits(p, s));
    return replace_spec(specs, index, p->err);
}

static sw_status image_create(json_t *params, const char *bundle_dir, struct sw_tensor_specs *specs,
                              struct sw_step **ret, struct sw_error *err) {
    struct sw_params p = {.object = params, .path = "input", .err = err};
    struct image_step *s = SW_NEW(struct image_step);
    s->step.ops = &sw_step_image;
    sw_status status = image_read(&p, specs, s);
    if (status) {
        image_destroy(&s->step);
        return status;
    }
    *ret = &s->step;
    return SW_OK;
}

/* geometry --------------------------------------------------------------------------------------------------------- */

/* Where the picture lands in the target, and what of it. */
struct placement {
    struct sw_image_region region;
    uint32_t left, top, width, height; /* in the target; outside it is padding */
};

static uint32_t scaled(uint64_t side, uint64_t numerator, uint64_t denominator) {
    uint64_t v = (side * numerator + denominator / 2) / denominator;
    return v ? (uint32_t)v : 1;
}

/* The largest centred rectangle of the target's aspect ratio. */
static void cut_to_aspect(const struct image_step *s, struct sw_image_region *r) {
    uint64_t w = r->clip_width, h = r->clip_height;
    uint64_t wide = h * s->width, tall = w * s->height;
    if (tall > wide) { /* the picture is wider than the target */
        uint32_t cut = scaled(h, s->width, s->height);
        r->clip_x = (uint32_t)(w - cut) / 2;
        r->clip_width = cut;
    } else if (wide > tall) {
        uint32_t cut = scaled(w, s->height, s->width);
        r->clip_y = (uint32_t)(h - cut) / 2;
        r->clip_height = cut;
    }
}

/* Short side to `short_side`, then the centre; without one, just large enough to cover the target. Rounding follows
 * what training pipelines commonly do: the long side is cut off to whole pixels, the offset rounded. */
static void place_crop(const struct image_step *s, struct sw_image_region *r) {
    uint64_t w = r->clip_width, h = r->clip_height;
    uint64_t to_w, to_h;
    if (s->short_side) {
        to_w = w <= h ? s->short_side : s->short_side * w / h;
        to_h = w <= h ? s->short_side * h / w : s->short_side;
    } else if (w * s->height >= h * s->width) {
        to_h = s->height;
        to_w = scaled(w, s->height, h);
    } else {
        to_w = s->width;
        to_h = scaled(h, s->width, w);
    }
    to_w = to_w < s->width ? s->width : to_w;
    to_h = to_h < s->height ? s->height : to_h;
    r->scale_x = (double)w / (double)to_w;
    r->scale_y = (double)h / (double)to_h;
    r->x = nearbyint((double)(to_w - s->width) / 2) * r->scale_x;
    r->y = nearbyint((double)(to_h - s->height) / 2) * r->scale_y;
}

static void place_fit(const struct image_step *s, struct placement *p) {
    uint64_t w = p->region.clip_width, h = p->region.clip_height;
    if (w * s->height >= h * s->width) {
        p->height = scaled(h, s->width, w);
        p->height = p->height > s->height ? s->height : p->height;
    } else {
        p->width = scaled(w, s->height, h);
        p->width = p->width > s->width ? s->width : p->width;
    }
    p->left = (s->width - p->width) / 2;
    p->top = (s->height - p->height) / 2;
}

static sw_status place_none(const struct image_step *s, struct sw_image_region *r, struct sw_error *err) {
    bool exact = r->clip_width == s->width && r->clip_height == s->height;
    if (!exact && (!s->crop_centre || r->clip_width < s->width || r->clip_height < s->height)) {
        return sw_fail(err, SW_E_UNPROCESSABLE, "%u x %u pixels; the model wants %s %u x %u", r->clip_width,
                       r->clip_height, s->crop_centre ? "at least" : "exactly", s->width, s->height);
    }
    r->clip_x = (r->clip_width - s->width) / 2;
    r->clip_y = (r->clip_height - s->height) / 2;
    r->clip_width = s->width;
    r->clip_height = s->height;
    return SW_OK;
}

static sw_status place(const struct image_step *s, const struct sw_image *image, struct placement *ret,
                       struct sw_error *err) {
    struct placement p = {
        .region = {.clip_width = image->width, .clip_height = image->height}, .width = s->width, .height = s->height};
    if (s->mode == MODE_NONE) {
        SW_TRY(place_none(s, &p.region, err));
    } else if (s->crop_centre) {
        cut_to_aspect(s, &p.region);
    }
    if (s->mode == MODE_FIT) {
        place_fit(s, &p);
    }
    p.region.scale_x = (double)p.region.clip_width / p.width;
    p.region.scale_y = (double)p.region.clip_height / p.height;
    if (s->mode == MODE_CROP) {
        place_crop(s, &p.region);
    }
    *ret = p;
    return SW_OK;
}

/* values ----------------------------------------------------------------------------------------------------------- */

/* Which source channel feeds channel c of the model; -1: opaque alpha. */
static int source_channel(const struct image_step *s, uint32_t c, uint32_t channels) {
    if (c == 3) {
        return channels == 4 ? 3 : -1;
    }
    return channels == 1 ? 0 : (int)(s->color == COLOR_BGR ? 2 - c : c);
}

static void store(const struct image_step *s, void *out, size_t at, float v) {
    switch (s->dtype) {
    case SW_DTYPE_FP32: ((float *)out)[at] = v; break;
    case SW_DTYPE_FP64: ((double *)out)[at] = v; break;
    case SW_DTYPE_FP16: ((uint16_t *)out)[at] = sw_float_to_half(v); break;
    case SW_DTYPE_BF16: ((uint16_t *)out)[at] = sw_float_to_bf16(v); break;
    case SW_DTYPE_UINT8: ((uint8_t *)out)[at] = (uint8_t)lrintf(fminf(fmaxf(v, 0), 255)); break;
    case SW_DTYPE_INT8: ((int8_t *)out)[at] = (int8_t)lrintf(fminf(fmaxf(v, -128), 127)); break;
    default: SW_ASSERT(!"dtype of an image tensor"); break;
    }
}

/* Floats 0..255, `channels` interleaved, into the model's tensor from element `base` on. */
static void write_pixels(const struct image_step *s, const float *pixels, uint32_t channels, void *out, size_t base) {
    size_t count = (size_t)s->width * s->height;
    bool planar = s->layout == LAYOUT_NCHW;
    for (uint32_t c = 0; c < s->channels; c++) {
        int source = source_channel(s, c, channels);
        bool invert = s->invert && c < 3;
        float factor = (float)((invert ? -s->scale : s->scale) / s->std[c]);
        float offset = (float)(((invert ? 255 * s->scale : 0) - s->mean[c]) / s->std[c]);
        size_t at = planar ? base + c * count : base + c, step = planar ? 1 : s->channels;
        const float *in = source < 0 ? NULL : pixels + source;
        if (s->dtype == SW_DTYPE_FP32) {
            float *f = (float *)out + at;
            for (size_t i = 0; i < count; i++) {
                f[i * step] = (in ? in[i * channels] : 255) * factor + offset;
            }
            continue;
        }
        for (size_t i = 0; i < count; i++) {
            store(s, out, at + i * step, (in ? in[i * channels] : 255) * factor + offset);
        }
    }
}

static void fill_padding(const struct image_step *s, float *pixels, uint32_t channels) {
    float color[4] = {s->pad[0], s->pad[1], s->pad[2], 255};
    if (channels == 1) {
        color[0] = sw_image_luma(s->pad);
    }
    for (size_t i = 0; i < (size_t)s->width * s->height; i++) {
        memcpy(pixels + i * channels, color, channels * sizeof *color);
    }
}

/* running ---------------------------------------------------------------------------------------------------------- */

static sw_status one_image(const struct image_step *s, struct sw_image *image, float *pixels, void *out, size_t base,
                           struct sw_error *err) {
    struct placement p;
    SW_TRY(place(s, image, &p, err));
    bool gray = s->color == COLOR_GRAY;
    if (s->channels != 4 || gray) {
        sw_image_reduce(image, gray ? 1 : 3, s->background);
    }
    size_t stride = (size_t)s->width * image->channels;
    if (p.width != s->width || p.height != s->height) {
        fill_padding(s, pixels, image->channels);
    }
    float *into = pixels + p.top * stride + (size_t)p.left * image->channels;
    SW_TRY(sw_image_resample(image, &p.region, s->filter, into, p.width, p.height, stride, err));
    write_pixels(s, pixels, image->channels, out, base);
    return SW_OK;
}

static sw_status all_images(const struct image_step *s, const struct sw_tensor *in, struct sw_tensor *out,
                            struct sw_error *err) {
    size_t values = (size_t)s->width * s->height * s->channels;
    uint64_t pixels_left = s->limits.pixels_max * PIXELS_TOTAL;
    SW_AUTO_FREE float *pixels = sw_malloc((size_t)s->width * s->height * CHANNELS_MAX * sizeof *pixels);
    if (!pixels) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory for an image of %u x %u pixels", s->width, s->height);
    }
    for (size_t i = 0; i < in->count; i++) {
        struct sw_image image = {0};
        struct sw_image_limits limits = s->limits;
        limits.pixels_max = limits.pixels_max < pixels_left ? limits.pixels_max : pixels_left;
        sw_status status = sw_image_decode(((const struct sw_str *)in->data)[i], &limits, &image, err);
        pixels_left -= status ? 0 : (uint64_t)image.width * image.height;
        status = status ? status : one_image(s, &image, pixels, out->data, i * values, err);
        sw_image_deinit(&image);
        if (status) {
            if (err) {
                sw_error_prefix(err, "input 'image', element %zu", i);
            }
            return status;
        }
    }
    return SW_OK;
}

static sw_status image_run(const struct sw_step *step, struct sw_tensor_set *set, struct sw_arena *arena,
                           struct sw_error *err) {
    const struct image_step *s = (const struct image_step *)step;
    struct sw_tensor *t = sw_tensor_set_find(set, SW_STR("image"));
    if (!t || t->dtype != SW_DTYPE_BYTES) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "input 'image' of type BYTES is missing");
    }
    if (t->count == 0 || t->count > (size_t)s->images_max) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "input 'image': %zu images; 1 to %lld are taken at once", t->count,
                       (long long)s->images_max);
    }
    int64_t n = (int64_t)t->count, c = s->channels, h = s->height, w = s->width;
    bool nhwc = s->layout == LAYOUT_NHWC;
    int64_t shape[4] = {n, nhwc ? h : c, nhwc ? w : h, nhwc ? c : w}, flat[2] = {n, c * h * w};
    const int64_t *dims = s->rank == 2 ? flat : s->batched ? shape : shape + 1;
    struct sw_tensor out;
    SW_TRY(sw_tensor_alloc(&out, arena, sw_str_of(s->tensor), s->dtype, dims, s->rank, err));
    SW_TRY(all_images(s, t, &out, err));
    *t = out;
    return SW_OK;
}

static bool image_accepts(const struct sw_step *step, struct sw_str media_type) {
    static const char *const types[] = {"image/png", "image/jpeg", "image/jpg",      "image/webp",
                                        "image/gif", "image/bmp",  "image/x-ms-bmp", "image/*"};
    for (size_t i = 0; i < SW_COUNTOF(types); i++) {
        if (sw_str_ieq(media_type, sw_str_of(types[i]))) {
            return true;
        }
    }
    return false;
}

const struct sw_step_ops sw_step_image = {
    .name = "image",
    .side = SW_STEP_INPUT,
    .summary = "encoded pictures (PNG, JPEG, WebP, GIF, BMP), decoded, resized and normalised",
    .create = image_create,
    .destroy = image_destroy,
    .run = image_run,
    .accepts_body = image_accepts,
};
