/* See model.h. Loading is a chain of stages over one half-made model; whatever a stage made is released by
 * sw_model_unref when a later one fails. Inference: infer.c. */
#include "pipeline/model.h"

#include "base/memory.h"

enum { WARMUP_RUNS = 5 };
#define TRIAL_BUDGET_NS UINT64_C(100000000)
#define WARMUP_SLOW_NS UINT64_C(500000000) /* a first run slower than this is measured only once more */

/* life ------------------------------------------------------------------------------------------------------------- */

static void model_destroy(struct sw_model *model) {
    for (size_t i = 0; i < model->output_step_count; i++) {
        model->output_steps[i]->ops->destroy(model->output_steps[i]);
    }
    if (model->input_step) {
        model->input_step->ops->destroy(model->input_step);
    }
    if (model->session) {
        model->session->engine->ops->unload(model->session);
    }
    sw_specs_deinit(&model->inputs);
    sw_specs_deinit(&model->outputs);
    sw_bundle_destroy(model->bundle);
    sw_free(model->output_steps);
    sw_free(model->every_output);
    sw_free(model->warmup_note);
    sw_free(model->name);
    sw_free(model);
}

void sw_model_ref(struct sw_model *model) {
    long before = atomic_fetch_add_explicit(&model->references, 1, memory_order_relaxed);
    SW_ASSERT(before > 0);
}

void sw_model_unref(struct sw_model *model) {
    if (!model) {
        return;
    }
    /* Release: what this thread did with the model comes before its end. Acquire, for the last: sees all of that. */
    long before = atomic_fetch_sub_explicit(&model->references, 1, memory_order_acq_rel);
    SW_ASSERT(before > 0);
    if (before == 1) {
        model_destroy(model);
    }
}

/* loading ---------------------------------------------------------------------------------------------------------- */

static sw_status open_session(struct sw_model *model, const struct sw_model_options *options, struct sw_error *err) {
    const struct sw_bundle *bundle = model->bundle;
    struct sw_session_options session = {.memory_arena = bundle->memory_arena};
    session.threads = options->threads  ? options->threads
                      : bundle->threads ? bundle->threads
                                        : options->default_threads;
    session.threads = session.threads ? session.threads : 1;
    model->threads = session.threads;
    for (size_t i = 0; i < options->engine_count; i++) {
        struct sw_engine *engine = options->engines[i];
        if (engine->ops->accepts(engine, sw_str_of(bundle->model_path))) {
            return engine->ops->load(engine, bundle->model_path, &session, &model->session, err);
        }
    }
    return sw_fail(err, SW_E_MODEL_INVALID, "%s: no engine runs files of this kind", bundle->model_path);
}

static sw_status make_input_step(struct sw_model *model, struct sw_error *err) {
    const struct sw_bundle *bundle = model->bundle;
    if (!bundle->input) {
        return SW_OK;
    }
    struct sw_str kind = sw_str_of(json_string_value(json_object_get(bundle->input, "kind")));
    const struct sw_step_ops *ops = sw_step_find(SW_STEP_INPUT, kind);
    if (!ops) {
        return sw_fail(err, SW_E_MODEL_INVALID, "input.kind: no such step \"" SW_STR_FMT "\"", SW_STR_ARG(kind));
    }
    return ops->create(bundle->input, bundle->dir, &model->inputs, &model->input_step, err);
}

static sw_status make_output_step(struct sw_model *model, const char *name, json_t *params, struct sw_error *err) {
    const struct sw_step_ops *ops = sw_step_find(SW_STEP_OUTPUT, sw_str_of(name));
    struct sw_step *step = NULL;
    if (!ops) {
        return sw_fail(err, SW_E_MODEL_INVALID, "output.%.80s: no such step", name);
    }
    SW_TRY(ops->create(params, model->bundle->dir, &model->outputs, &step, err));
    if (step) {
        size_t count = model->output_step_count + 1;
        model->output_steps = sw_xrealloc(model->output_steps, count * sizeof(struct sw_step *));
        model->output_steps[model->output_step_count++] = step;
    }
    return SW_OK;
}

/* A mapping: every step by ascending order, whatever the order of the text. */
static sw_status make_mapped_steps(struct sw_model *model, json_t *mapping, struct sw_error *err) {
    size_t left = json_object_size(mapping);
    for (int after = INT32_MIN; left > 0;) {
        int order = INT32_MAX;
        const char *key;
        json_t *params;
        json_object_foreach(mapping, key, params) {
            const struct sw_step_ops *ops = sw_step_find(SW_STEP_OUTPUT, sw_str_of(key));
            int own = ops ? ops->order : INT32_MAX;
            order = own > after && own < order ? own : order;
        }
        json_object_foreach(mapping, key, params) {
            const struct sw_step_ops *ops = sw_step_find(SW_STEP_OUTPUT, sw_str_of(key));
            if ((ops ? ops->order : INT32_MAX) == order) {
                SW_TRY(make_output_step(model, key, params, err));
                left--;
            }
        }
        after = order;
    }
    return SW_OK;
}

static sw_status make_output_steps(struct sw_model *model, struct sw_error *err) {
    json_t *output = model->bundle->output;
    if (!output || json_is_object(output)) {
        return output ? make_mapped_steps(model, output, err) : SW_OK;
    }
    for (size_t i = 0; i < json_array_size(output); i++) {
        const char *key;
        json_t *params;
        json_object_foreach(json_array_get(output, i), key, params) {
            SW_TRY(make_output_step(model, key, params, err));
        }
    }
    return SW_OK;
}

static bool all_free_first(const struct sw_tensor_specs *specs) {
    for (size_t i = 0; i < specs->count; i++) {
        if (specs->items[i].rank == 0 || specs->items[i].shape[0] != -1) {
            return false;
        }
    }
    return specs->count > 0;
}

static sw_status make_pipeline(struct sw_model *model, struct sw_error *err) {
    const struct sw_engine_ops *ops = model->session->engine->ops;
    const struct sw_tensor_specs *inputs = ops->inputs(model->session), *outputs = ops->outputs(model->session);
    sw_specs_copy(&model->inputs, inputs);
    sw_specs_copy(&model->outputs, outputs);
    model->every_output = sw_xcalloc(outputs->count + 1, sizeof *model->every_output);
    for (size_t i = 0; i < outputs->count; i++) {
        model->every_output[i] = (uint32_t)i;
    }
    sw_status status = make_input_step(model, err);
    status = status ? status : make_output_steps(model, err);
    if (status) {
        if (err && model->bundle->dir) {
            sw_error_prefix(err, "%s", model->bundle->path);
        }
        return status;
    }
    model->batchable = all_free_first(inputs) && all_free_first(outputs) && all_free_first(&model->inputs) &&
                       all_free_first(&model->outputs);
    return SW_OK;
}

sw_status sw_model_zero_inputs(const struct sw_tensor_specs *specs, int64_t free_size, struct sw_arena *arena,
                               struct sw_tensor **ret, struct sw_error *err) {
    struct sw_tensor *tensors = sw_arena_calloc(arena, specs->count + 1, sizeof *tensors);
    if (!tensors) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
    }
    for (size_t i = 0; i < specs->count; i++) {
        const struct sw_tensor_spec *spec = &specs->items[i];
        int64_t shape[SW_RANK_MAX];
        for (uint32_t d = 0; d < spec->rank; d++) {
            shape[d] = spec->shape[d] < 0 ? free_size : spec->shape[d];
        }
        SW_TRY(sw_tensor_alloc(&tensors[i], arena, sw_str_of(spec->name), spec->dtype, shape, spec->rank, err));
        if (tensors[i].count) {
            memset(tensors[i].data, 0, tensors[i].count * sw_dtype_size(spec->dtype));
        }
    }
    *ret = tensors;
    return SW_OK;
}

static void sort_times(uint64_t *v, size_t n) {
    for (size_t i = 1; i < n; i++) {
        for (size_t k = i; k > 0 && v[k - 1] > v[k]; k--) {
            uint64_t t = v[k];
            v[k] = v[k - 1];
            v[k - 1] = t;
        }
    }
}

/* One timed run of the session on zeros. */
static sw_status warm_run(const struct sw_model *model, struct sw_arena *arena, struct sw_clock *clock,
                          uint64_t *ret_ns, struct sw_error *err) {
    const struct sw_engine_ops *ops = model->session->engine->ops;
    const struct sw_tensor_specs *inputs = ops->inputs(model->session), *outputs = ops->outputs(model->session);
    struct sw_tensor *zeros, *results = sw_arena_calloc(arena, outputs->count + 1, sizeof *results);
    if (!results) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
    }
    SW_TRY(sw_model_zero_inputs(inputs, 1, arena, &zeros, err));
    uint64_t start = sw_now_ns(clock);
    SW_TRY(ops->run(model->session, zeros, inputs->count, model->every_output, outputs->count, results, arena, err));
    *ret_ns = sw_now_ns(clock) - start;
    return SW_OK;
}

/* The first run sets the runtime up and is not counted. */
static void warm_up(struct sw_model *model, struct sw_clock *clock) {
    struct sw_arena arena;
    struct sw_error err;
    uint64_t first = 0, times[WARMUP_RUNS] = {0};
    sw_arena_init(&arena, 0, 1 << 20);
    sw_status status = warm_run(model, &arena, clock, &first, &err);
    size_t runs = first > WARMUP_SLOW_NS ? 1 : WARMUP_RUNS;
    for (size_t i = 0; !status && i < runs; i++) {
        sw_arena_reset(&arena);
        status = warm_run(model, &arena, clock, &times[i], &err);
    }
    sw_arena_deinit(&arena);
    if (status) {
        model->warmup_note = sw_xstrdup(err.message);
        return;
    }
    sort_times(times, runs);
    model->run_ns = times[runs / 2] ? times[runs / 2] : 1;
}

/* A bundle that asks for batches of a model that has no rows is a mistake to be told. */
static sw_status check_batching(const struct sw_model *model, struct sw_error *err) {
    char note[200];
    if (model->bundle->batching.max_batch > 1 && !sw_probe_has_rows(model->session, note, sizeof note)) {
        return sw_fail(err, SW_E_MODEL_INVALID, "batching.max_batch: requests cannot be batched: %s", note);
    }
    return SW_OK;
}

/* One-threaded runs are timed by the processor's time, so that a busy machine does not make the plan. */
static void try_batching(struct sw_model *model, struct sw_clock *clock) {
    clock = clock == sw_clock_system() && model->threads == 1 ? sw_clock_thread_cpu() : clock;
    const int64_t max_batch = model->bundle->batching.max_batch;
    const struct sw_probe_options options = {
        .clock = clock,
        .rows_max = max_batch ? (uint64_t)max_batch : SW_BATCH_ROWS_DEFAULT,
        .budget_ns = TRIAL_BUDGET_NS,
        .run_ns = model->run_ns,
        .slow_ns = WARMUP_SLOW_NS,
    };
    sw_probe_run(model->session, &options, &model->probe);
}

static sw_status load_stages(struct sw_model *model, const struct sw_model_options *options, struct sw_clock *clock,
                             struct sw_error *err) {
    SW_TRY(open_session(model, options, err));
    SW_TRY(make_pipeline(model, err));
    SW_TRY(check_batching(model, err));
    warm_up(model, clock);
    model->probe.profile.ns[0] = model->run_ns;
    if (options->trial) {
        try_batching(model, clock);
    }
    if (options->skip_golden || !model->bundle->golden_path) {
        return SW_OK;
    }
    return sw_golden_check(model, clock, &model->golden_count, err);
}

/* What results are kept under has to be what made them. */
static sw_status load_identified(struct sw_model *model, const struct sw_model_options *options, struct sw_clock *clock,
                                 struct sw_error *err) {
    if (!model->bundle->cache.enable) {
        return load_stages(model, options, clock, err);
    }
    SW_TRY(sw_identity_make(model->bundle, &model->identity, err));
    SW_TRY(load_stages(model, options, clock, err));
    return sw_identity_check(model->bundle, &model->identity, err);
}

sw_status sw_model_load(const char *path, const char *name, int64_t version, const struct sw_model_options *options,
                        struct sw_model **ret, struct sw_error *err) {
    struct sw_clock *clock = options->clock ? options->clock : sw_clock_system();
    uint64_t start = sw_now_ns(clock);
    if (name && !sw_model_name_valid(sw_str_of(name))) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "\"%.140s\" is not a model name", name);
    }
    struct sw_model *model = SW_NEW(struct sw_model);
    atomic_init(&model->references, 1);
    model->version = version;
    sw_status status = sw_bundle_load(path, &model->bundle, err);
    if (!status) {
        model->name = sw_xstrdup(name ? name : model->bundle->name);
        status = load_identified(model, options, clock, err);
    }
    if (status) {
        sw_model_unref(model);
        return status;
    }
    model->load_ns = sw_now_ns(clock) - start;
    model->loaded_wall_ms = clock->wall_ms(clock);
    *ret = model;
    return SW_OK;
}
