/* Any bytes as a picture, through the image step: all five decoders, every geometry, several tensor types. The first
 * byte chooses the configuration, the rest is the picture. Whatever comes, the step answers or refuses; a tensor it
 * gives has the promised shape and only finite values. */
#include "base/memory.h"
#include "base/yaml.h"
#include "pipeline/step.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct {
    const char *yaml;
    enum sw_dtype dtype;
    int64_t shape[4];
} configurations[] = {
    {"max_pixels: 200000", SW_DTYPE_FP32, {-1, 3, 17, 23}},
    {"{max_pixels: 200000, exif_orientation: true, resize: {mode: fit}}", SW_DTYPE_FP32, {-1, 1, 9, 30}},
    {"{max_pixels: 200000, resize: {mode: crop, short_side: 40}, color: bgr}", SW_DTYPE_UINT8, {-1, 32, 32, 3}},
    {"{max_pixels: 200000, crop: centre, resize: {filter: nearest}}", SW_DTYPE_FP16, {-1, 4, 5, 7}},
    {"{max_pixels: 200000, crop: centre, resize: {mode: none}}", SW_DTYPE_INT8, {-1, 3, 1, 1}},
    {"{max_pixels: 200000, resize: {mode: crop}, color: gray, invert: true}", SW_DTYPE_FP64, {-1, 3, 64, 1}},
};

static struct sw_step *steps[SW_COUNTOF(configurations)];

static struct sw_step *step_at(size_t i) {
    if (!steps[i]) {
        struct sw_tensor_specs specs = {.items = sw_xcalloc(1, sizeof *specs.items), .count = 1};
        specs.items[0] = (struct sw_tensor_spec){.name = sw_xstrdup("x"), .dtype = configurations[i].dtype, .rank = 4};
        memcpy(specs.items[0].shape, configurations[i].shape, sizeof configurations[i].shape);
        json_t *params = NULL;
        struct sw_error err;
        const struct sw_step_ops *ops = sw_step_find(SW_STEP_INPUT, SW_STR("image"));
        SW_ASSERT(!sw_yaml_parse(sw_str_of(configurations[i].yaml), &params, &err));
        SW_ASSERT(!ops->create(params, "/", &specs, &steps[i], &err));
        json_decref(params);
        sw_specs_deinit(&specs);
    }
    return steps[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) {
        return 0;
    }
    size_t choice = data[0] % SW_COUNTOF(configurations);
    struct sw_str picture = {(const char *)data + 1, size - 1};
    struct sw_tensor image = {
        .name = SW_STR("image"), .dtype = SW_DTYPE_BYTES, .rank = 1, .shape = {1}, .count = 1, .data = &picture};
    struct sw_tensor_set set = {&image, 1, 1};
    struct sw_arena arena;
    struct sw_error err = {0};
    sw_arena_init(&arena, 64 << 20, 0);
    sw_status status = step_at(choice)->ops->run(step_at(choice), &set, &arena, &err);
    if (status) {
        SW_ASSERT(err.code == status && err.message[0]);
        SW_ASSERT(status == SW_E_UNPROCESSABLE || status == SW_E_UNSUPPORTED_MEDIA);
    } else {
        SW_ASSERT(set.items[0].dtype == configurations[choice].dtype && set.items[0].shape[0] == 1);
        SW_ASSERT(sw_tensor_find_nonfinite(&set.items[0]) == SIZE_MAX);
    }
    sw_arena_deinit(&arena);
    return 0;
}
