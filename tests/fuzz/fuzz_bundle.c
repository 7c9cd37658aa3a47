/* Any text as bundle.yaml; what parses goes on to the steps, made for a model with one picture-like input and two
 * outputs. Errors must carry a message; nothing may leak. */
#include "base/memory.h"
#include "pipeline/bundle.h"
#include "pipeline/step.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add_spec(struct sw_tensor_specs *specs, const char *name, enum sw_dtype dtype, uint32_t rank,
                     const int64_t *shape) {
    specs->items = sw_xrealloc(specs->items, (specs->count + 1) * sizeof *specs->items);
    struct sw_tensor_spec *spec = &specs->items[specs->count++];
    *spec = (struct sw_tensor_spec){.name = sw_xstrdup(name), .dtype = dtype, .rank = rank};
    memcpy(spec->shape, shape, rank * sizeof *shape);
}

static void make_step(enum sw_step_side side, const char *name, json_t *params, struct sw_tensor_specs *specs) {
    const struct sw_step_ops *ops = sw_step_find(side, sw_str_of(name));
    struct sw_step *step = NULL;
    struct sw_error err = {0};
    SW_ASSERT(ops); /* the bundle has refused unknown ones */
    sw_status status = ops->create(params, "/nonexistent", specs, &step, &err);
    if (status) {
        SW_ASSERT(status == SW_E_MODEL_INVALID && err.message[0]);
    } else if (step) {
        ops->destroy(step);
    }
}

static void make_steps(const struct sw_bundle *bundle) {
    struct sw_tensor_specs inputs = {0}, outputs = {0};
    add_spec(&inputs, "x", SW_DTYPE_FP32, 4, (int64_t[]){-1, 3, 8, -1});
    add_spec(&outputs, "p", SW_DTYPE_FP32, 2, (int64_t[]){-1, 3});
    add_spec(&outputs, "q", SW_DTYPE_FP64, 1, (int64_t[]){-1});
    if (bundle->input) {
        make_step(SW_STEP_INPUT, json_string_value(json_object_get(bundle->input, "kind")), bundle->input, &inputs);
    }
    const char *key;
    json_t *params, *item;
    size_t i;
    if (json_is_object(bundle->output)) {
        json_object_foreach(bundle->output, key, params) {
            make_step(SW_STEP_OUTPUT, key, params, &outputs);
        }
    }
    json_array_foreach(bundle->output, i, item) {
        json_object_foreach(item, key, params) {
            make_step(SW_STEP_OUTPUT, key, params, &outputs);
        }
    }
    sw_specs_deinit(&inputs);
    sw_specs_deinit(&outputs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sw_bundle *bundle = NULL;
    struct sw_error err = {0};
    sw_status status = sw_bundle_parse((struct sw_str){(const char *)data, size}, "/models/some model", &bundle, &err);
    if (status) {
        SW_ASSERT(err.code == status && err.message[0] && !bundle);
        return 0;
    }
    SW_ASSERT(sw_model_name_valid(sw_str_of(bundle->name)));
    make_steps(bundle);
    sw_bundle_destroy(bundle);
    return 0;
}
