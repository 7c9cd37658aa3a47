/* One run: wrap the inputs, call the runtime, describe the outputs.
 *
 * Any number of threads run one session at once; everything a run writes lives in its caller's arena or stack. Numeric
 * inputs are wrapped where they lie, numeric outputs stay in the runtime's own buffers until the arena is reset;
 * strings are copied both ways, since the runtime keeps them as objects of its own.
 *
 * Cost beside the runtime's own call: for each input one wrap, for each output five small queries. */
#include "engine/ort/ort_internal.h"

enum { STACK_TENSORS = 8 }; /* inputs that fit on the stack */

_Thread_local int ort_calls_in_progress;

/* The outputs of one run, held until the arena ends. */
struct held {
    const struct ort_api *api;
    size_t count;
    struct ort_value *values[];
};

static void release_values(const struct ort_api *api, struct ort_value **values, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (values[i]) {
            api->ReleaseValue(values[i]);
        }
    }
}

static void release_held(void *arg) {
    struct held *held = arg;
    release_values(held->api, held->values, held->count);
}

/* --- inputs --- */

static sw_status wrap_strings(struct ort_engine *e, const struct sw_tensor *t, struct ort_value **ret,
                              struct sw_error *err) {
    const sw_status code = SW_E_INFERENCE_FAILED;
    ORT_TRY(e, code, err, e->api.CreateTensorAsOrtValue(e->allocator, t->shape, t->rank, ORT_STRING, ret));
    const struct sw_str *strings = t->data;
    for (size_t i = 0; i < t->count; i++) {
        char *bytes = NULL;
        ORT_TRY(e, code, err, e->api.GetResizedStringTensorElementBuffer(*ret, i, strings[i].len, &bytes));
        if (strings[i].len) {
            memcpy(bytes, strings[i].data, strings[i].len);
        }
    }
    return SW_OK;
}

static sw_status wrap(struct ort_engine *e, const struct sw_tensor *t, struct ort_value **ret, struct sw_error *err) {
    if (t->dtype == SW_DTYPE_BYTES) {
        return wrap_strings(e, t, ret, err);
    }
    static _Alignas(64) unsigned char nothing[64]; /* a tensor of no elements still needs an address */
    void *data = t->data ? t->data : nothing;
    ORT_TRY(e, SW_E_INFERENCE_FAILED, err,
            e->api.CreateTensorWithDataAsOrtValue(e->cpu, data, t->count * sw_dtype_size(t->dtype), t->shape, t->rank,
                                                  ort_element_of(t->dtype), ret));
    return SW_OK;
}

/* Index of the input of that name; `guess` is tried first, as callers mostly keep the graph's order. */
static size_t find_input(const struct ort_session *s, struct sw_str name, size_t guess) {
    size_t count = s->inputs.count;
    if (SW_LIKELY(guess < count && sw_str_eq(s->input_keys[guess], name))) {
        return guess;
    }
    for (size_t i = 0; i < count; i++) {
        if (sw_str_eq(s->input_keys[i], name)) {
            return i;
        }
    }
    return SIZE_MAX;
}

static sw_status wrap_inputs(const struct ort_session *s, const struct sw_tensor *inputs, size_t count,
                             const char **names, struct ort_value **values, struct sw_error *err) {
    for (size_t i = 0; i < count; i++) {
        size_t index = find_input(s, inputs[i].name, i);
        if (index == SIZE_MAX) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "the model has no input '" SW_STR_FMT "'",
                           SW_STR_ARG(inputs[i].name));
        }
        names[i] = s->input_names[index];
        SW_TRY(wrap(s->engine, &inputs[i], &values[i], err));
    }
    return SW_OK;
}

/* --- outputs --- */

static sw_status read_strings(struct ort_engine *e, struct ort_value *value, struct sw_tensor *t,
                              struct sw_arena *arena, struct sw_error *err) {
    const sw_status code = SW_E_INFERENCE_FAILED;
    size_t bytes = 0;
    ORT_TRY(e, code, err, e->api.GetStringTensorDataLength(value, &bytes));
    struct sw_str *strings = sw_arena_calloc(arena, t->count, sizeof *strings);
    size_t *offsets = sw_arena_calloc(arena, t->count, sizeof *offsets);
    char *text = sw_arena_alloc_aligned(arena, bytes, 1);
    if (!strings || !offsets || !text) {
        return sw_fail(err, SW_E_UNAVAILABLE, "no memory left for output '" SW_STR_FMT "'", SW_STR_ARG(t->name));
    }
    if (t->count) {
        ORT_TRY(e, code, err, e->api.GetStringTensorContent(value, text, bytes, offsets, t->count));
    }
    for (size_t i = 0; i < t->count; i++) {
        size_t end = i + 1 < t->count ? offsets[i + 1] : bytes;
        strings[i] = (struct sw_str){text + offsets[i], end - offsets[i]};
    }
    t->data = strings;
    return SW_OK;
}

static sw_status read_type(struct ort_engine *e, const struct ort_shape_info *info, struct sw_tensor *t,
                           struct sw_error *err) {
    const sw_status code = SW_E_INFERENCE_FAILED;
    int element = 0;
    size_t rank = 0;
    ORT_TRY(e, code, err, e->api.GetTensorElementType(info, &element));
    ORT_TRY(e, code, err, e->api.GetDimensionsCount(info, &rank));
    t->dtype = ort_dtype_of(element);
    if (!t->dtype || rank > SW_RANK_MAX) {
        return sw_fail(err, code,
                       "output '" SW_STR_FMT "' came with %zu dimensions and ONNX element type %d, which cannot "
                       "be served",
                       SW_STR_ARG(t->name), rank, element);
    }
    t->rank = (uint32_t)rank;
    ORT_TRY(e, code, err, e->api.GetDimensions(info, t->shape, rank));
    if (!sw_shape_count(t->shape, t->rank, &t->count)) {
        return sw_fail(err, code, "output '" SW_STR_FMT "' is too large to be served", SW_STR_ARG(t->name));
    }
    return SW_OK;
}

/* A model that hands an input through may return the caller's own memory, which can end before the arena does. */
static bool is_inside(const void *data, const struct sw_tensor *inputs, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (inputs[i].dtype == SW_DTYPE_BYTES) {
            continue;
        }
        uintptr_t start = (uintptr_t)inputs[i].data, at = (uintptr_t)data;
        if (at - start < inputs[i].count * sw_dtype_size(inputs[i].dtype)) {
            return true;
        }
    }
    return false;
}

static sw_status read_data(struct ort_engine *e, struct ort_value *value, struct sw_tensor *t,
                           const struct sw_tensor *inputs, size_t input_count, struct sw_arena *arena,
                           struct sw_error *err) {
    if (t->dtype == SW_DTYPE_BYTES) {
        return read_strings(e, value, t, arena, err);
    }
    ORT_TRY(e, SW_E_INFERENCE_FAILED, err, e->api.GetTensorMutableData(value, &t->data));
    if (SW_UNLIKELY(is_inside(t->data, inputs, input_count))) {
        size_t bytes = t->count * sw_dtype_size(t->dtype);
        void *copy = sw_arena_alloc_aligned(arena, bytes, 64);
        if (!copy) {
            return sw_fail(err, SW_E_UNAVAILABLE, "no memory left for output '" SW_STR_FMT "'", SW_STR_ARG(t->name));
        }
        t->data = memcpy(copy, t->data, bytes);
    }
    return SW_OK;
}

/* Is there a tensor in the value? An optional output that the graph left out has none. */
static sw_status is_present(struct ort_engine *e, const struct ort_value *value, bool *ret, struct sw_error *err) {
    int present = value != NULL;
    if (present) {
        ORT_TRY(e, SW_E_INFERENCE_FAILED, err, e->api.HasValue(value, &present));
    }
    *ret = present;
    return SW_OK;
}

static sw_status read_output(struct ort_engine *e, struct ort_value *value, struct sw_tensor *t,
                             const struct sw_tensor *inputs, size_t input_count, struct sw_arena *arena,
                             struct sw_error *err) {
    bool present = false;
    SW_TRY(is_present(e, value, &present, err));
    if (!present) {
        t->dtype = SW_DTYPE_INVALID;
        return SW_OK;
    }
    struct ort_shape_info *info = NULL;
    ORT_TRY(e, SW_E_INFERENCE_FAILED, err, e->api.GetTensorTypeAndShape(value, &info));
    sw_status status = read_type(e, info, t, err);
    e->api.ReleaseTensorTypeAndShapeInfo(info);
    return status ? status : read_data(e, value, t, inputs, input_count, arena, err);
}

/* --- the run --- */

static sw_status call(struct ort_session *s, const char *const *input_names, struct ort_value *const *inputs,
                      size_t input_count, const char *const *output_names, struct held *held, struct sw_error *err) {
    ort_calls_in_progress++;
    struct ort_status *failed = s->engine->api.Run(s->handle, NULL, input_names,
                                                   (const struct ort_value *const *)inputs, input_count, output_names,
                                                   held->count, held->values);
    ort_calls_in_progress--;
    return SW_LIKELY(!failed) ? SW_OK : ort_fail(&s->engine->api, failed, SW_E_INFERENCE_FAILED, err);
}

/* A block for `count` outputs whose values are released with the arena. */
static struct held *hold(const struct ort_api *api, size_t count, struct sw_arena *arena) {
    struct held *held = sw_arena_calloc(arena, 1, sizeof *held + count * sizeof held->values[0]);
    if (!held || !sw_arena_defer(arena, release_held, held)) {
        return NULL;
    }
    held->api = api;
    held->count = count;
    return held;
}

sw_status ort_run(struct sw_session *session, const struct sw_tensor *inputs, size_t input_count,
                  const uint32_t *output_indices, size_t output_count, struct sw_tensor *ret_outputs,
                  struct sw_arena *arena, struct sw_error *err) {
    struct ort_session *s = (struct ort_session *)session;
    if (SW_UNLIKELY(output_count == 0)) {
        return SW_OK;
    }
    const char *stack_names[STACK_TENSORS], *stack_wanted[STACK_TENSORS];
    struct ort_value *stack_values[STACK_TENSORS];
    const char **names = stack_names, **wanted = stack_wanted;
    struct ort_value **values = stack_values;
    if (input_count > STACK_TENSORS) {
        names = sw_arena_alloc(arena, input_count * sizeof *names);
        values = sw_arena_alloc(arena, input_count * sizeof *values);
    }
    if (output_count > STACK_TENSORS) {
        wanted = sw_arena_alloc(arena, output_count * sizeof *wanted);
    }
    struct held *held = hold(&s->engine->api, output_count, arena);
    if (!names || !values || !wanted || !held) {
        return sw_fail(err, SW_E_UNAVAILABLE, "no memory left for a run");
    }
    for (size_t i = 0; i < output_count; i++) {
        SW_ASSERT(output_indices[i] < s->outputs.count);
        wanted[i] = s->output_names[output_indices[i]];
    }
    for (size_t i = 0; i < input_count; i++) {
        values[i] = NULL;
    }
    sw_status status = wrap_inputs(s, inputs, input_count, names, values, err);
    if (SW_LIKELY(!status)) {
        status = call(s, names, values, input_count, wanted, held, err);
    }
    release_values(&s->engine->api, values, input_count);
    for (size_t i = 0; i < output_count && !status; i++) {
        struct sw_tensor t = {.name = sw_str_of(wanted[i])};
        status = read_output(s->engine, held->values[i], &t, inputs, input_count, arena, err);
        if (!status) {
            ret_outputs[i] = t;
        }
    }
    return status;
}
