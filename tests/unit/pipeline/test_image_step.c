/* The image step: shapes and types of model inputs, geometry, values, limits. Pictures are BMP: exact and easy. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/yaml.h"
#include "pipeline/step.h"
#include "samples.h"

static struct sw_arena arena;

static int setup(void **state) {
    sw_arena_init(&arena, 0, 0);
    return 0;
}

static int teardown(void **state) {
    sw_arena_deinit(&arena);
    return 0;
}

static struct sw_tensor_specs model_input(enum sw_dtype dtype, uint32_t rank, const int64_t *shape) {
    struct sw_tensor_specs specs = {.items = sw_xcalloc(1, sizeof *specs.items), .count = 1};
    specs.items[0] = (struct sw_tensor_spec){.name = sw_xstrdup("x"), .dtype = dtype, .rank = rank};
    memcpy(specs.items[0].shape, shape, rank * sizeof *shape);
    specs.items[0].dimension_name[0] = sw_xstrdup("N");
    return specs;
}

static sw_status make(const char *yaml, struct sw_tensor_specs *specs, struct sw_step **ret, struct sw_error *err) {
    json_t *params = NULL;
    assert_int_equal(sw_yaml_parse(sw_str_of(yaml), &params, err), SW_OK);
    sw_status status = sw_step_find(SW_STEP_INPUT, SW_STR("image"))->create(params, "/", specs, ret, err);
    json_decref(params);
    return status;
}

/* A 24-bit picture from RGB rows, top first. */
static struct sample picture(int width, int height, const unsigned char *rgb) {
    size_t stride = ((size_t)width * 3 + 3) / 4 * 4, size = stride * (size_t)height;
    unsigned char *body = sw_calloc(1, size);
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            for (int c = 0; c < 3; c++) {
                body[(size_t)y * stride + (size_t)x * 3 + (size_t)c] = rgb[(y * width + x) * 3 + 2 - c];
            }
        }
    }
    struct sample s = sample_bmp(&(struct bmp_spec){.width = width, .height = -height, .bits = 24}, body, size);
    sw_free(body);
    return s;
}

static sw_status run(const struct sw_step *step, const struct sw_str *images, size_t count, struct sw_tensor *ret,
                     struct sw_error *err) {
    struct sw_tensor_set set = {0};
    struct sw_tensor *t = sw_tensor_set_add(&set, &arena);
    int64_t shape[] = {(int64_t)count};
    assert_int_equal(sw_tensor_alloc(t, &arena, SW_STR("image"), SW_DTYPE_BYTES, shape, 1, err), SW_OK);
    if (count) {
        memcpy(t->data, images, count * sizeof *images);
    }
    sw_status status = step->ops->run(step, &set, &arena, err);
    *ret = set.items[0];
    return status;
}

/* One picture through a step made for the model input; the tensor it gives. Frees the picture. */
static struct sw_tensor through(const char *yaml, enum sw_dtype dtype, uint32_t rank, const int64_t *shape,
                                struct sample s) {
    struct sw_tensor_specs specs = model_input(dtype, rank, shape);
    struct sw_step *step = NULL;
    struct sw_error err = {0};
    struct sw_tensor out;
    if (make(yaml, &specs, &step, &err)) {
        fail_msg("%s: %s", yaml, err.message);
    }
    struct sw_str encoded = sample_str(&s);
    if (run(step, &encoded, 1, &out, &err)) {
        fail_msg("%s: %s", yaml, err.message);
    }
    out.name = (struct sw_str){sw_arena_strdup(&arena, out.name), out.name.len};
    step->ops->destroy(step);
    sw_specs_deinit(&specs);
    sample_free(&s);
    return out;
}

static void expect_floats(const struct sw_tensor *t, const float *want, size_t n) {
    assert_int_equal(t->count, n);
    for (size_t i = 0; i < n; i++) {
        float got = ((const float *)t->data)[i];
        if (fabsf(got - want[i]) > 1e-4f) {
            fail_msg("value %zu: got %g, want %g", i, (double)got, (double)want[i]);
        }
    }
}

static const unsigned char rgb4[] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 51, 102, 153};

static void layouts_and_colours(void **state) {
    const float nchw[] = {1, 0, 0, .2f, 0, 1, 0, .4f, 0, 0, 1, .6f}, bgr[] = {0, 0, 1, .6f, 0, 1, 0, .4f, 1, 0, 0, .2f};
    const float nhwc[] = {1, 0, 0, 0, 1, 0, 0, 0, 1, .2f, .4f, .6f};
    struct sw_tensor t = through("kind: image", SW_DTYPE_FP32, 4, (int64_t[]){-1, 3, 2, 2}, picture(2, 2, rgb4));
    expect_floats(&t, nchw, 12);
    assert_true(sw_str_is(t.name, "x") && t.rank == 4 && t.shape[0] == 1 && t.shape[1] == 3 && t.shape[3] == 2);
    t = through("kind: image", SW_DTYPE_FP32, 4, (int64_t[]){-1, 2, 2, 3}, picture(2, 2, rgb4));
    expect_floats(&t, nhwc, 12);
    assert_true(t.shape[1] == 2 && t.shape[3] == 3);
    t = through("color: bgr", SW_DTYPE_FP32, 3, (int64_t[]){3, 2, 2}, picture(2, 2, rgb4));
    expect_floats(&t, bgr, 12);
    assert_int_equal(t.rank, 3);
    t = through("{width: 2, height: 2, channels: 3, layout: NHWC}", SW_DTYPE_FP32, 4, (int64_t[]){-1, -1, -1, -1},
                picture(2, 2, rgb4));
    expect_floats(&t, nhwc, 12);
    t = through("{width: 2, height: 2, channels: 3}", SW_DTYPE_FP32, 2, (int64_t[]){-1, 12}, picture(2, 2, rgb4));
    expect_floats(&t, nchw, 12);
    assert_true(t.rank == 2 && t.shape[1] == 12);
    const float gray[] = {76 / 255.f, 150 / 255.f, 29 / 255.f, 93 / 255.f};
    t = through("kind: image", SW_DTYPE_FP32, 4, (int64_t[]){1, 1, 2, 2}, picture(2, 2, rgb4));
    expect_floats(&t, gray, 4);
    t = through("color: gray", SW_DTYPE_FP32, 4, (int64_t[]){1, 3, 1, 1},
                picture(1, 1, (unsigned char[]){51, 102, 153}));
    expect_floats(&t, (float[]){93 / 255.f, 93 / 255.f, 93 / 255.f}, 3);
    t = through("kind: image", SW_DTYPE_FP32, 4, (int64_t[]){1, 4, 1, 1},
                picture(1, 1, (unsigned char[]){51, 102, 153}));
    expect_floats(&t, (float[]){.2f, .4f, .6f, 1}, 4);
}

static void values_and_types(void **state) {
    const unsigned char one[] = {255, 51, 0};
    struct sw_tensor t = through("{mean: [0.5, 0.1, 0], std: [0.5, 0.1, 2]}", SW_DTYPE_FP32, 4, (int64_t[]){1, 3, 1, 1},
                                 picture(1, 1, one));
    expect_floats(&t, (float[]){1, 1, 0}, 3);
    t = through("{scale: 1, mean: 55, std: 10}", SW_DTYPE_FP32, 4, (int64_t[]){1, 3, 1, 1}, picture(1, 1, one));
    expect_floats(&t, (float[]){20, -.4f, -5.5f}, 3);
    t = through("invert: true", SW_DTYPE_FP32, 4, (int64_t[]){1, 3, 1, 1}, picture(1, 1, one));
    expect_floats(&t, (float[]){0, .8f, 1}, 3);
    t = through("kind: image", SW_DTYPE_UINT8, 4, (int64_t[]){1, 3, 1, 1}, picture(1, 1, one));
    assert_memory_equal(t.data, one, 3);
    t = through("mean: 128", SW_DTYPE_INT8, 4, (int64_t[]){1, 3, 1, 1}, picture(1, 1, one));
    assert_memory_equal(t.data, ((int8_t[]){127, -77, -128}), 3);
    t = through("kind: image", SW_DTYPE_FP16, 4, (int64_t[]){1, 3, 1, 1}, picture(1, 1, one));
    assert_true(((uint16_t *)t.data)[0] == 0x3c00 && ((uint16_t *)t.data)[2] == 0);
    t = through("kind: image", SW_DTYPE_FP64, 4, (int64_t[]){1, 3, 1, 1}, picture(1, 1, one));
    assert_true(((double *)t.data)[0] > 0.9999 && ((double *)t.data)[2] == 0);
}

/* 4 x 1 picture of the grays 0 80 160 240. */
static struct sample ramp(void) {
    return picture(4, 1, (unsigned char[]){0, 0, 0, 80, 80, 80, 160, 160, 160, 240, 240, 240});
}

static void geometry(void **state) {
    const struct {
        const char *yaml;
        int64_t height, width;
        float want[8];
    } rows[] = {
        {"scale: 1", 1, 4, {0, 80, 160, 240}},
        /* Shrinking by 2: triangle of half-width 2 around 1 and 3, weights .75 .75 .25 of the pixels inside. */
        {"scale: 1",
         1,
         2,
         {(0 * .75f + 80 * .75f + 160 * .25f) / 1.75f, (80 * .25f + 160 * .75f + 240 * .75f) / 1.75f}},
        {"scale: 1", 1, 8, {0, 20, 60, 100, 140, 180, 220, 240}}, /* enlarging: linear between pixel middles */
        {"{scale: 1, resize: {filter: nearest}}", 1, 2, {80, 240}},
        {"{scale: 1, resize: {filter: nearest}}", 2, 4, {0, 80, 160, 240, 0, 80, 160, 240}},
        {"{scale: 1, crop: centre}", 1, 1, {80}}, /* the 1 x 1 pixel left of the middle */
        {"{scale: 1, crop: centre}", 2, 4, {80, 100, 140, 160, 80, 100, 140, 160}}, /* cut to 2 x 1, enlarged */
        {"{scale: 1, crop: center, resize: {mode: none}}", 1, 2, {80, 160}},
        {"{scale: 1, resize: {mode: crop}}", 1, 2, {80, 160}}, /* short side 1 already fits */
        {"{scale: 1, resize: {mode: fit, filter: nearest}, background: 7}", 2, 4, {0, 80, 160, 240, 7, 7, 7, 7}},
        {"{scale: 1, resize: {mode: fit, filter: nearest, pad: [9, 9, 9]}}", 4, 2, {9, 9, 80, 240, 9, 9, 9, 9}},
    };
    for (size_t i = 0; i < SW_COUNTOF(rows); i++) {
        struct sw_tensor t = through(rows[i].yaml, SW_DTYPE_FP32, 4, (int64_t[]){1, 1, rows[i].height, rows[i].width},
                                     ramp());
        expect_floats(&t, rows[i].want, (size_t)(rows[i].height * rows[i].width));
    }
}

/* Sums: an average over everything must be the average, whatever the sizes (weights are normalised). */
static void flat_stays_flat(void **state) {
    unsigned char flat[37 * 23 * 3];
    memset(flat, 123, sizeof flat);
    for (int64_t side = 1; side < 64; side += 5) {
        static const char *const modes[] = {"scale: 1", "{scale: 1, resize: {mode: crop}}", "{scale: 1, crop: centre}",
                                            "{scale: 1, resize: {mode: fit}, background: 123}"};
        for (size_t m = 0; m < SW_COUNTOF(modes); m++) {
            struct sw_tensor t = through(modes[m], SW_DTYPE_FP32, 4, (int64_t[]){1, 1, side, 70 - side},
                                         picture(37, 23, flat));
            for (size_t i = 0; i < t.count; i++) {
                assert_true(fabsf(((float *)t.data)[i] - 123) < 1e-3f);
            }
        }
    }
}

static void transparency(void **state) {
    const unsigned char rgba[] = {200, 100, 0, 255, 200, 100, 0, 0};
    struct sample s = sample_png(&(struct png_spec){.width = 2, .height = 1, .depth = 8, .color = 6}, rgba, 8);
    struct sw_tensor t = through("{scale: 1, background: [1, 2, 3]}", SW_DTYPE_FP32, 4, (int64_t[]){1, 3, 1, 2}, s);
    expect_floats(&t, (float[]){200, 1, 100, 2, 0, 3}, 6);
    s = sample_png(&(struct png_spec){.width = 2, .height = 1, .depth = 8, .color = 6}, rgba, 8);
    t = through("scale: 1", SW_DTYPE_FP32, 4, (int64_t[]){1, 4, 1, 2}, s);
    expect_floats(&t, (float[]){200, 200, 100, 100, 0, 0, 255, 0}, 8);
}

static void batches_and_signature(void **state) {
    struct sw_tensor_specs specs = model_input(SW_DTYPE_FP32, 4, (int64_t[]){-1, 1, 1, 1});
    struct sw_step *step = NULL;
    struct sw_error err = {0};
    struct sw_tensor out;
    assert_int_equal(make("{scale: 1, max_images: 2, max_pixels: 4}", &specs, &step, &err), SW_OK);
    assert_string_equal(specs.items[0].name, "image");
    assert_int_equal(specs.items[0].dtype, SW_DTYPE_BYTES);
    assert_true(specs.items[0].rank == 1 && specs.items[0].shape[0] == -1);
    assert_string_equal(specs.items[0].dimension_name[0], "N");
    struct sample a = picture(1, 1, (unsigned char[]){10, 10, 10}), b = picture(1, 1, (unsigned char[]){20, 20, 20});
    struct sample large = ramp(), wide = picture(5, 1, (unsigned char[15]){0});
    struct sw_str images[] = {sample_str(&a), sample_str(&b), sample_str(&a)};
    assert_int_equal(run(step, images, 2, &out, &err), SW_OK);
    expect_floats(&out, (float[]){10, 20}, 2);
    assert_int_equal(out.shape[0], 2);
    assert_int_equal(run(step, images, 3, &out, &err), SW_E_INVALID_ARGUMENT);
    assert_int_equal(run(step, images, 0, &out, &err), SW_E_INVALID_ARGUMENT);
    images[1] = sample_str(&large);
    assert_int_equal(run(step, images, 2, &out, &err), SW_OK);
    images[1] = sample_str(&wide);
    assert_int_equal(run(step, images, 2, &out, &err), SW_E_UNPROCESSABLE);
    assert_non_null(strstr(err.message, "element 1: BMP of 5 x 1 pixels"));
    images[1] = SW_STR("what is this");
    assert_int_equal(run(step, images, 2, &out, &err), SW_E_UNSUPPORTED_MEDIA);
    assert_int_equal(run(step, images, 2, &out, NULL), SW_E_UNSUPPORTED_MEDIA);
    assert_true(step->ops->accepts_body(step, SW_STR("image/PNG")));
    assert_false(step->ops->accepts_body(step, SW_STR("application/json")));
    step->ops->destroy(step);
    sample_free(&a);
    sample_free(&b);
    sample_free(&large);
    sample_free(&wide);
    sw_specs_deinit(&specs);
}

static void exact_size(void **state) {
    struct sw_tensor_specs specs = model_input(SW_DTYPE_FP32, 4, (int64_t[]){1, 1, 1, 3});
    struct sw_step *step = NULL;
    struct sw_error err = {0};
    struct sw_tensor out;
    struct sample s = ramp();
    struct sw_str image = sample_str(&s);
    assert_int_equal(make("resize: {mode: none}", &specs, &step, &err), SW_OK);
    assert_int_equal(specs.items[0].shape[0], 1);
    assert_int_equal(run(step, &image, 1, &out, &err), SW_E_UNPROCESSABLE);
    assert_non_null(strstr(err.message, "4 x 1 pixels; the model wants exactly 3 x 1"));
    step->ops->destroy(step);
    sample_free(&s);
    sw_specs_deinit(&specs);
}

static void refused_parameters(void **state) {
    static const struct {
        const char *yaml;
        enum sw_dtype dtype;
        uint32_t rank;
        int64_t shape[5];
        const char *says;
    } rows[] = {
        {"size: 3", SW_DTYPE_FP32, 4, {-1, 3, 8, 8}, "input.size: no such key"},
        {"width: 9", SW_DTYPE_FP32, 4, {-1, 3, 8, 8}, "input.width: is 9, the model wants 8"},
        {"width: 0", SW_DTYPE_FP32, 4, {-1, 3, 8, 8}, "input.width: must lie between 1"},
        {"height: 8", SW_DTYPE_FP32, 4, {-1, 3, -1, -1}, "input.width: is needed"},
        {"kind: image", SW_DTYPE_FP32, 4, {-1, 5, 8, 8}, "input.channels"},
        {"kind: image", SW_DTYPE_FP32, 4, {-1, 2, 8, 8}, "input.channels: must be 1, 3 or 4"},
        {"kind: image", SW_DTYPE_FP32, 5, {-1, 3, 8, 8, 8}, "input: no tensor fits"},
        {"kind: image", SW_DTYPE_INT64, 4, {-1, 3, 8, 8}, "input: no tensor fits"},
        {"tensor: x", SW_DTYPE_INT64, 4, {-1, 3, 8, 8}, "input.tensor: 'x' is INT64 [-1,3,8,8]"},
        {"tensor: y", SW_DTYPE_FP32, 4, {-1, 3, 8, 8}, "input.tensor: no tensor 'y'"},
        {"layout: CHWN", SW_DTYPE_FP32, 4, {-1, 3, 8, 8}, "input.layout: must be one of NCHW, NHWC"},
        {"resize: fit", SW_DTYPE_FP32, 4, {-1, 3, 8, 8}, "input.resize: must be a mapping"},
        {"resize: {mode: zoom}", SW_DTYPE_FP32, 4, {-1, 3, 8, 8}, "input.resize.mode: must be one of stretch, fit"},
        {"resize: {short_side: 9}", SW_DTYPE_FP32, 4, {-1, 3, 8, 8}, "input.resize.short_side: has a meaning only"},
        {"resize: {mode: crop, short_side: 7}", SW_DTYPE_FP32, 4, {-1, 3, 8, 8}, "input.resize.short_side: must be at"},
        {"mean: [1, 2]", SW_DTYPE_FP32, 4, {-1, 3, 8, 8}, "input.mean: must be one number or a list of 3, has 2"},
        {"mean: [1, 2, x]", SW_DTYPE_FP32, 4, {-1, 3, 8, 8}, "input.mean: must be a number, is a string"},
        {"std: 0", SW_DTYPE_FP32, 4, {-1, 3, 8, 8}, "input.std: must lie between"},
        {"color: rgb", SW_DTYPE_FP32, 4, {-1, 1, 8, 8}, "input.color: the model takes one channel"},
        {"background: 256", SW_DTYPE_FP32, 4, {-1, 3, 8, 8}, "input.background: must lie between 0 and 255"},
        {"max_pixels: 0", SW_DTYPE_FP32, 4, {-1, 3, 8, 8}, "input.max_pixels"},
        {"exif_orientation: 1", SW_DTYPE_FP32, 4, {-1, 3, 8, 8}, "input.exif_orientation: must be true or false"},
        {"{width: 2, height: 2, channels: 1}", SW_DTYPE_FP32, 2, {-1, 5}, "are 4 values; the model wants 5"},
    };
    for (size_t i = 0; i < SW_COUNTOF(rows); i++) {
        struct sw_tensor_specs specs = model_input(rows[i].dtype, rows[i].rank, rows[i].shape);
        struct sw_step *step = NULL;
        struct sw_error err = {0};
        assert_int_equal(make(rows[i].yaml, &specs, &step, &err), SW_E_MODEL_INVALID);
        assert_null(step);
        if (!strstr(err.message, rows[i].says)) {
            fail_msg("%s: \"%s\" lacks \"%s\"", rows[i].yaml, err.message, rows[i].says);
        }
        sw_specs_deinit(&specs);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layouts_and_colours),
        cmocka_unit_test(values_and_types),
        cmocka_unit_test(geometry),
        cmocka_unit_test(flat_stays_flat),
        cmocka_unit_test(transparency),
        cmocka_unit_test(batches_and_signature),
        cmocka_unit_test(exact_size),
        cmocka_unit_test(refused_parameters),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
