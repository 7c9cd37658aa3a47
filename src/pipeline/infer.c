/* One inference in its stages, see model.h: prepare (check, input step), run (the engine), finish (output steps).
 *
 * There is a short way (no output steps: the engine's outputs are the answer) and a long one (a set of tensors that
 * steps change). */
#include "pipeline/model.h"

static sw_status check_finite(const struct sw_tensor *tensors, size_t count, struct sw_error *err) {
    for (size_t i = 0; i < count; i++) {
        if (tensors[i].dtype == SW_DTYPE_INVALID) {
            continue;
        }
        size_t at = sw_tensor_find_nonfinite(&tensors[i]);
        if (SW_UNLIKELY(at != SIZE_MAX)) {
            return sw_fail(err, SW_E_INFERENCE_FAILED, "output '" SW_STR_FMT "', element %zu, is NaN or infinite",
                           SW_STR_ARG(tensors[i].name), at);
        }
    }
    return SW_OK;
}

static sw_status run_input_step(const struct sw_model *model, struct sw_tensor_set *set, struct sw_arena *arena,
                                struct sw_error *err) {
    struct sw_tensor *items = sw_arena_calloc(arena, set->count + 4, sizeof *items);
    if (!items) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
    }
    memcpy(items, set->items, set->count * sizeof *items);
    set->items = items;
    set->capacity = set->count + 4;
    SW_TRY(model->input_step->ops->run(model->input_step, set, arena, err));
    const struct sw_engine_ops *ops = model->session->engine->ops;
    return sw_tensors_check(set->items, set->count, ops->inputs(model->session), err);
}

static sw_status prepare(const struct sw_model *model, struct sw_inference *inference, struct sw_arena *arena,
                         struct sw_error *err) {
    SW_TRY(sw_tensors_check(inference->inputs, inference->input_count, &model->inputs, err));
    inference->set = (struct sw_tensor_set){.items = inference->inputs, .count = inference->input_count};
    if (model->input_step) {
        SW_TRY(run_input_step(model, &inference->set, arena, err));
    }
    bool all = model->output_step_count || !inference->wanted;
    inference->raw_wanted = all ? model->every_output : inference->wanted;
    inference->raw_count = all ? model->session->engine->ops->outputs(model->session)->count : inference->wanted_count;
    return SW_OK;
}

static sw_status run(const struct sw_model *model, struct sw_inference *inference, struct sw_arena *arena,
                     struct sw_error *err) {
    struct sw_tensor *outputs = sw_arena_calloc(arena, inference->raw_count + 1, sizeof *outputs);
    if (!outputs) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory for the answer");
    }
    SW_TRY(model->session->engine->ops->run(model->session, inference->set.items, inference->set.count,
                                            inference->raw_wanted, inference->raw_count, outputs, arena, err));
    inference->raw = outputs;
    return SW_OK;
}

/* The engine's outputs through the output steps; then the wanted ones by name. */
static sw_status run_output_steps(const struct sw_model *model, struct sw_inference *inference, struct sw_arena *arena,
                                  struct sw_error *err) {
    struct sw_tensor *items = inference->raw;
    struct sw_tensor_set set = {.items = items, .capacity = inference->raw_count, .notes = inference->set.notes};
    for (size_t i = 0; i < inference->raw_count; i++) {
        if (items[i].dtype != SW_DTYPE_INVALID) {
            items[set.count++] = items[i];
        }
    }
    for (size_t i = 0; i < model->output_step_count; i++) {
        const struct sw_step *step = model->output_steps[i];
        SW_TRY(step->ops->run(step, &set, arena, err));
    }
    size_t wanted = inference->wanted ? inference->wanted_count : model->outputs.count;
    struct sw_tensor *outputs = sw_arena_calloc(arena, wanted + 1, sizeof *outputs);
    if (!outputs) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory for the answer");
    }
    for (size_t i = 0; i < wanted; i++) {
        size_t index = inference->wanted ? inference->wanted[i] : i;
        SW_ASSERT(index < model->outputs.count);
        struct sw_str name = sw_str_of(model->outputs.items[index].name);
        const struct sw_tensor *t = sw_tensor_set_find(&set, name);
        outputs[i] = t ? *t : (struct sw_tensor){.name = name};
    }
    inference->outputs = outputs;
    inference->output_count = wanted;
    return model->bundle->allow_nonfinite ? SW_OK : check_finite(outputs, wanted, err);
}

static sw_status finish(const struct sw_model *model, struct sw_inference *inference, struct sw_arena *arena,
                        struct sw_error *err) {
    if (!model->bundle->allow_nonfinite) {
        SW_TRY(check_finite(inference->raw, inference->raw_count, err));
    }
    if (model->output_step_count) {
        return run_output_steps(model, inference, arena, err);
    }
    inference->outputs = inference->raw;
    inference->output_count = inference->raw_count;
    return SW_OK;
}

sw_status sw_model_prepare(const struct sw_model *model, struct sw_inference *inference, struct sw_arena *arena,
                           struct sw_clock *clock, struct sw_error *err) {
    uint64_t start = sw_now_ns(clock);
    SW_TRY(prepare(model, inference, arena, err));
    inference->pre_ns = sw_now_ns(clock) - start;
    return SW_OK;
}

sw_status sw_model_finish(const struct sw_model *model, struct sw_inference *inference, struct sw_arena *arena,
                          struct sw_clock *clock, struct sw_error *err) {
    uint64_t start = sw_now_ns(clock);
    SW_TRY(finish(model, inference, arena, err));
    inference->post_ns = sw_now_ns(clock) - start;
    return SW_OK;
}

sw_status sw_model_infer(const struct sw_model *model, struct sw_inference *inference, struct sw_arena *arena,
                         struct sw_clock *clock, struct sw_error *err) {
    uint64_t start = sw_now_ns(clock);
    SW_TRY(prepare(model, inference, arena, err));
    uint64_t ready = sw_now_ns(clock);
    inference->pre_ns = ready - start;
    SW_TRY(run(model, inference, arena, err));
    uint64_t done = sw_now_ns(clock);
    inference->run_ns = done - ready;
    SW_TRY(finish(model, inference, arena, err));
    inference->post_ns = sw_now_ns(clock) - done;
    return SW_OK;
}
