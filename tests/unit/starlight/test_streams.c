/* Streams of images made by hand: every value where streams.h says it is. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "apps/starlight/streams.h"
#include "base/memory.h"

static float floats[4096];
static uint8_t bytes[4096];

static void write_as(const char *name, const struct sw_starlight_image *image, enum sw_dtype dtype, int64_t a,
                     int64_t b) {
    const struct sw_starlight_stream *stream = sw_starlight_stream_find(sw_str_of(name));
    assert_non_null(stream);
    struct sw_tensor t = {.dtype = dtype, .rank = b ? 3 : 2, .shape = {2, a, b}};
    t.count = (size_t)(2 * a * (b ? b : 1));
    t.data = dtype == SW_DTYPE_FP32 ? (void *)floats : (void *)bytes;
    memset(floats, 0x7f, sizeof floats);
    memset(bytes, 0x7f, sizeof bytes);
    sw_starlight_stream_write(stream, image, &t, 1);
    for (size_t i = 0; i < t.count / 2; i++) { /* the other row is untouched */
        assert_true(dtype == SW_DTYPE_FP32 ? floats[i] > 1e38F : bytes[i] == 0x7f);
    }
    memmove(floats, floats + t.count / 2, t.count / 2 * sizeof floats[0]);
    memmove(bytes, bytes + t.count / 2, t.count / 2);
}

static void expect(const double *want, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (fabs(floats[i] - want[i]) > 1e-6) {
            fail_msg("value %zu is %.7f, %.7f wanted", i, floats[i], want[i]);
        }
    }
}

static uint8_t rgba[] = {1, 2, 3, 255, 254, 0, 7, 128, 0, 0, 0, 0, 255, 255, 255, 254};
static const struct sw_starlight_image coloured = {.format = SW_STARLIGHT_PNG,
                                                   .width = 2,
                                                   .height = 2,
                                                   .bit_depth = 8,
                                                   .has_alpha = true,
                                                   .frames = 1,
                                                   .pixels = rgba,
                                                   .channels = 4,
                                                   .raster_width = 2,
                                                   .raster_height = 2};

static uint8_t indices[] = {1, 0, 1, 2, 1, 1};
static const struct sw_starlight_image indexed = {.format = SW_STARLIGHT_GIF,
                                                  .width = 4,
                                                  .height = 4,
                                                  .bit_depth = 2,
                                                  .frames = 3,
                                                  .interlaced = true,
                                                  .indices = indices,
                                                  .raster_width = 3,
                                                  .raster_height = 2,
                                                  .palette_count = 2,
                                                  .palette = {{10, 20, 30, 255}, {40, 50, 60, 0}},
                                                  .trailing = {"xyz", 3}};

static void pixels_and_alpha(void **state) {
    write_as("pixels", &coloured, SW_DTYPE_FP32, 5, 4);
    expect((double[]){1, 2, 3, 255, 254, 0, 7, 128, 0, 0, 0, 0, 255, 255, 255, 254, 0, 0, 0, 0}, 20);
    write_as("pixels", &coloured, SW_DTYPE_UINT8, 2, 4);
    assert_memory_equal(bytes, rgba, 8);
    write_as("alpha", &coloured, SW_DTYPE_UINT8, 6, 0);
    assert_memory_equal(bytes, "\xff\x80\0\xfe\0\0", 6);
    write_as("pixels", &indexed, SW_DTYPE_FP32, 3, 4);
    expect((double[]){40, 50, 60, 0, 10, 20, 30, 255, 40, 50, 60, 0}, 12);
    write_as("alpha", &indexed, SW_DTYPE_FP32, 6, 0); /* a palette's transparency is no alpha plane */
    expect((double[]){0, 0, 0, 0, 0, 0}, 6);
}

static void least_significant_bits(void **state) {
    write_as("lsb", &coloured, SW_DTYPE_UINT8, 5, 3);
    assert_memory_equal(bytes, "\1\0\1\0\0\1\0\0\0\1\1\1\0\0\0", 15);
    struct sw_starlight_image lossy = coloured;
    lossy.lossy = true;
    write_as("lsb", &lossy, SW_DTYPE_UINT8, 5, 3);
    assert_memory_equal(bytes, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 15);
    write_as("palette_lsb", &indexed, SW_DTYPE_FP32, 8, 0);
    expect((double[]){1, 0, 1, 0, 1, 1, 0, 0}, 8);
}

static void palette_and_metadata(void **state) {
    write_as("palette", &indexed, SW_DTYPE_UINT8, 256, 4);
    assert_memory_equal(bytes, "\x0a\x14\x1e\xff\x28\x32\x3c\0\0\0\0\0", 12);
    struct sw_starlight_image image = indexed;
    image.user_comment = SW_STR("ASCII\0\0\0hi");
    write_as("metadata", &image, SW_DTYPE_UINT8, 2, 12);
    assert_memory_equal(bytes, "ASCII\0\0\0hi\0\0xyz\0\0\0\0\0\0\0\0\0", 24);
    write_as("metadata", &image, SW_DTYPE_UINT8, 2, 2);
    assert_memory_equal(bytes, "ASxy", 4);
}

static void carriers_are_bytes(void **state) {
    write_as("carriers", &coloured, SW_DTYPE_UINT8, 8, 4);
    /* alpha bits 1 0 0 0: half a byte is none; RGB bits 1 0 1 0 0 1 0 0 0 1 1 1: one byte, either order */
    assert_memory_equal(bytes, "\0\0\0\0\0\0\0\0\xa4\0\0\0\x25\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 32);
    write_as("carriers", &indexed, SW_DTYPE_UINT8, 8, 4);
    assert_memory_equal(bytes + 28, "xyz\0", 4);
}

static void format_and_statistics(void **state) {
    write_as("format", &indexed, SW_DTYPE_FP32, 15, 0);
    expect((double[]){0, 0, 1, 0, 0, 0, 0, 0, 1, 1, 2.0 / 13, 2.0 / 16, 2.0 / 16, 2.0 / 16, 2.0 / 256}, 15);
    write_as("statistics", &coloured, SW_DTYPE_FP32, 14, 0);
    double mean_r = (1 + 254 + 0 + 255) / 4.0, square_r = (1 + 254.0 * 254 + 0 + 255.0 * 255) / 4;
    assert_true(fabs(floats[0] - mean_r / 255) < 1e-6);
    assert_true(fabs(floats[3] - sqrt(square_r - mean_r * mean_r) / 255) < 1e-6);
    expect((double[]){floats[0], floats[1], floats[2], floats[3], floats[4], floats[5], 0.5, 0.25, 0.75,
                      (255 + 128 + 0 + 254) / 4.0 / 255, 0.25, 0.25, 0, 7.0 / 12},
           14);
    write_as("statistics", &indexed, SW_DTYPE_FP32, 14, 0);
    assert_true(fabs(floats[12] - 4.0 / 6) < 1e-6);
    struct sw_starlight_image empty = {.format = SW_STARLIGHT_JPEG, .width = 8, .height = 8, .frames = 1};
    write_as("statistics", &empty, SW_DTYPE_FP32, 14, 0);
    expect((double[14]){0}, 14);
}

static void wrong_inputs_are_told(void **state) {
    static const struct {
        const char *name;
        enum sw_dtype dtype;
        uint32_t rank;
        int64_t shape[3];
        const char *message;
    } cases[] = {
        {"evidence", SW_DTYPE_UINT8, 3, {-1, 39, 8}, "FP32 [N,"},
        {"evidence", SW_DTYPE_FP32, 3, {-1, 5, 8}, "the stream of this name is FP32"},
        {"pixels", SW_DTYPE_FP32, 3, {-1, 100, 3}, "[N,1..1048576,4]"},
        {"alpha", SW_DTYPE_INT64, 2, {-1, 100}, "FP32 or UINT8 [N,1..1048576]"},
        {"alpha", SW_DTYPE_FP32, 2, {-1, -1}, "'alpha' is FP32 [-1,-1]"},
        {"lsb", SW_DTYPE_FP32, 2, {-1, 300}, "'lsb'"},
        {"carriers", SW_DTYPE_FP32, 3, {-1, 8, 2000000}, "'carriers'"},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        struct sw_tensor_spec spec = {.name = (char *)cases[i].name, .dtype = cases[i].dtype, .rank = cases[i].rank};
        memcpy(spec.shape, cases[i].shape, sizeof cases[i].shape);
        struct sw_error err = {0};
        const struct sw_starlight_stream *stream = sw_starlight_stream_find(sw_str_of(cases[i].name));
        assert_int_equal(sw_starlight_stream_check(stream, &spec, &err), SW_E_MODEL_INVALID);
        if (!strstr(err.message, cases[i].message)) {
            fail_msg("\"%s\" does not say \"%s\"", err.message, cases[i].message);
        }
    }
    assert_null(sw_starlight_stream_find(SW_STR("pixel")));
    struct sw_tensor_spec fits = {.name = "lsb", .dtype = SW_DTYPE_UINT8, .rank = 3, .shape = {-1, 64, 3}};
    assert_int_equal(sw_starlight_stream_check(sw_starlight_stream_find(SW_STR("lsb")), &fits, NULL), SW_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pixels_and_alpha),      cmocka_unit_test(least_significant_bits),
        cmocka_unit_test(palette_and_metadata),  cmocka_unit_test(carriers_are_bytes),
        cmocka_unit_test(format_and_statistics), cmocka_unit_test(wrong_inputs_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
