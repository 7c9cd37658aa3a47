/* See calibrate.h. */
#include "graph/calibrate.h"

#include <math.h>
#include <unistd.h>

#include "base/memory.h"
#include "graph/onnx_internal.h"

enum { EXPOSED_MAX = 128, ARENA_RETAIN = 64 << 20 };

/* --- a session over samples --------------------------------------------------------------------------------------- */

struct run {
    struct sw_session *session;
    const struct sw_tensor_specs *specs; /* of its outputs */
    uint32_t *indices;                   /* of those wanted */
    size_t count;
};

static void run_deinit(struct run *run) {
    if (run->session) {
        run->session->engine->ops->unload(run->session);
    }
    sw_free(run->indices);
}

static sw_status run_open(struct run *run, struct sw_engine *engine, const char *path,
                          const struct sw_session_options *options, struct sw_error *err) {
    SW_TRY(engine->ops->load(engine, path, options, &run->session, err));
    run->specs = engine->ops->outputs(run->session);
    run->indices = sw_xcalloc(run->specs->count, sizeof *run->indices);
    return SW_OK;
}

static sw_status run_once(const struct run *run, const struct sw_tensor *inputs, size_t input_count,
                          struct sw_arena *arena, struct sw_tensor **ret, struct sw_error *err) {
    struct sw_tensor *outputs = sw_arena_calloc(arena, run->count + 1, sizeof *outputs);
    if (!outputs) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
    }
    *ret = outputs;
    return run->session->engine->ops->run(run->session, inputs, input_count, run->indices, run->count, outputs, arena,
                                          err);
}

/* --- calibration -------------------------------------------------------------------------------------------------- */

/* One pass: the observed tensors [0, count), each an output of the session or an input of the model. */
struct pass {
    struct run run;
    const struct sw_samples *samples;
    struct sw_observed *observed;
    size_t count;
    size_t *output_of; /* place in run.indices; SIZE_MAX: an input */
    size_t sample;     /* running number, from 1 */
    struct sw_error *err;
};

static Onnx__ValueInfoProto *float_output(struct sw_arena *arena, const char *name) {
    Onnx__ValueInfoProto *info = sw_onnx_take(arena, sizeof *info);
    onnx__value_info_proto__init(info);
    info->name = sw_onnx_strdup(arena, name);
    info->type = sw_onnx_take(arena, sizeof *info->type);
    onnx__type_proto__init(info->type);
    info->type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    info->type->tensor_type = sw_onnx_take(arena, sizeof *info->type->tensor_type);
    onnx__type_proto__tensor__init(info->type->tensor_type);
    info->type->tensor_type->has_elem_type = true;
    info->type->tensor_type->elem_type = SW_ONNX_FLOAT;
    return info;
}

static bool is_among(Onnx__ValueInfoProto *const *list, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(sw_onnx_text(list[i]->name), name) == 0) {
            return true;
        }
    }
    return false;
}

/* Writes the model with the observed tensors among its outputs. */
static sw_status save_exposed(struct sw_onnx *onnx, const struct pass *pass, char **ret_path, struct sw_error *err) {
    Onnx__GraphProto *graph = onnx->proto->graph;
    Onnx__ValueInfoProto **before = graph->output;
    size_t count_before = graph->n_output;
    struct sw_arena scratch;
    struct sw_onnx_list list = {0};
    sw_arena_init(&scratch, 0, 0);
    for (size_t i = 0; i < count_before; i++) {
        sw_onnx_push(&list, &scratch, before[i]);
    }
    for (size_t i = 0; i < pass->count; i++) {
        const char *name = pass->observed[i].name;
        if (!is_among(before, count_before, name) && !is_among(graph->input, graph->n_input, name)) {
            sw_onnx_push(&list, &scratch, float_output(&scratch, name));
        }
    }
    graph->output = (Onnx__ValueInfoProto **)list.items;
    graph->n_output = list.count;
    sw_status status = sw_onnx_save_temporary(onnx, ret_path, err);
    graph->output = before;
    graph->n_output = count_before;
    sw_arena_deinit(&scratch);
    return status;
}

static sw_status find_outputs(struct pass *pass) {
    pass->output_of = sw_xcalloc(pass->count, sizeof *pass->output_of);
    for (size_t i = 0; i < pass->count; i++) {
        const struct sw_tensor_spec *spec = sw_specs_find(pass->run.specs, sw_str_of(pass->observed[i].name));
        pass->output_of[i] = spec ? pass->run.count : SIZE_MAX;
        if (spec) {
            pass->run.indices[pass->run.count++] = (uint32_t)(spec - pass->run.specs->items);
        }
    }
    return SW_OK;
}

static const struct sw_tensor *find_tensor(const struct sw_tensor *tensors, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (sw_str_is(tensors[i].name, name)) {
            return &tensors[i];
        }
    }
    return NULL;
}

static sw_status observe(struct pass *pass, struct sw_observed *o, const struct sw_tensor *t) {
    if (!t) {
        return sw_fail(pass->err, SW_E_INVALID_ARGUMENT, "sample %zu: input '%.200s' is missing", pass->sample,
                       o->name);
    }
    if (t->dtype != SW_DTYPE_FP32) {
        return sw_fail(pass->err, SW_E_INFERENCE_FAILED, "tensor '%.200s' is not FP32", o->name);
    }
    o->rank = o->range.count == 0 || o->rank == (int)t->rank ? (int)t->rank : -1;
    if (!sw_range_add(&o->range, t->data, t->count)) {
        return sw_fail(pass->err, SW_E_INFERENCE_FAILED, "sample %zu: tensor '%.200s' holds NaN or infinite values",
                       pass->sample, o->name);
    }
    return SW_OK;
}

static sw_status run_sample(struct pass *pass, const struct sw_tensor *inputs, size_t input_count,
                            struct sw_arena *arena) {
    struct sw_tensor *outputs = NULL;
    sw_status status = run_once(&pass->run, inputs, input_count, arena, &outputs, pass->err);
    if (status) {
        return pass->err ? sw_error_prefix(pass->err, "sample %zu", pass->sample) : status;
    }
    for (size_t i = 0; i < pass->count; i++) {
        struct sw_observed *o = &pass->observed[i];
        bool inside = pass->output_of[i] != SIZE_MAX;
        SW_TRY(observe(pass, o, inside ? &outputs[pass->output_of[i]] : find_tensor(inputs, input_count, o->name)));
    }
    return SW_OK;
}

static sw_status run_samples(struct pass *pass) {
    const struct sw_samples *samples = pass->samples;
    SW_CLEANUP(sw_arena_deinit) struct sw_arena arena;
    sw_arena_init(&arena, 0, ARENA_RETAIN);
    SW_TRY(samples->rewind(samples->arg, pass->err));
    for (;;) {
        const struct sw_tensor *inputs;
        size_t count;
        bool more;
        SW_TRY(samples->next(samples->arg, &arena, &inputs, &count, &more, pass->err));
        if (!more) {
            return SW_OK;
        }
        pass->sample++;
        SW_TRY(run_sample(pass, inputs, count, &arena));
        if (samples->ran) {
            samples->ran(samples->arg);
        }
        sw_arena_reset(&arena);
    }
}

static sw_status run_pass(struct pass *pass, struct sw_onnx *onnx, struct sw_engine *engine,
                          const struct sw_session_options *options) {
    SW_AUTO_FREE char *path = NULL;
    SW_TRY(save_exposed(onnx, pass, &path, pass->err));
    sw_status status = run_open(&pass->run, engine, path, options, pass->err);
    unlink(path); /* the engine has read it; nothing is left behind when the process ends early */
    status = status ? status : find_outputs(pass);
    return status ? status : run_samples(pass);
}

sw_status sw_calibrate(struct sw_onnx *onnx, struct sw_engine *engine, const struct sw_session_options *options,
                       const struct sw_samples *samples, struct sw_observed *observed, size_t count,
                       size_t *ret_samples, struct sw_error *err) {
    size_t sample_count = 0;
    for (size_t done = 0; done < count; done += EXPOSED_MAX) {
        struct pass pass = {.samples = samples, .observed = observed + done, .err = err};
        pass.count = count - done < EXPOSED_MAX ? count - done : EXPOSED_MAX;
        sw_status status = run_pass(&pass, onnx, engine, options);
        run_deinit(&pass.run);
        sw_free(pass.output_of);
        SW_TRY(status);
        sample_count = pass.sample;
    }
    if (count && sample_count == 0) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "there are no calibration samples");
    }
    *ret_samples = sample_count;
    return SW_OK;
}

/* --- differences -------------------------------------------------------------------------------------------------- */

struct comparison {
    struct run a, b;
    struct sw_difference *differences; /* one an output wanted */
    size_t sample;
    struct sw_error *err;
};

static bool number_at(const struct sw_tensor *t, size_t i, double *ret) {
    switch (t->dtype) {
    case SW_DTYPE_FP32: *ret = ((const float *)t->data)[i]; return true;
    case SW_DTYPE_FP64: *ret = ((const double *)t->data)[i]; return true;
    case SW_DTYPE_FP16: *ret = sw_half_to_float(((const uint16_t *)t->data)[i]); return true;
    case SW_DTYPE_BF16: *ret = sw_bf16_to_float(((const uint16_t *)t->data)[i]); return true;
    case SW_DTYPE_BOOL:
    case SW_DTYPE_UINT8: *ret = ((const uint8_t *)t->data)[i]; return true;
    case SW_DTYPE_INT8: *ret = ((const int8_t *)t->data)[i]; return true;
    case SW_DTYPE_INT32: *ret = ((const int32_t *)t->data)[i]; return true;
    case SW_DTYPE_INT64: *ret = (double)((const int64_t *)t->data)[i]; return true;
    default: return false;
    }
}

bool sw_difference_add(struct sw_difference *d, const struct sw_tensor *a, const struct sw_tensor *b) {
    if (a->dtype != b->dtype || a->rank != b->rank || memcmp(a->shape, b->shape, a->rank * sizeof *a->shape) != 0) {
        return false;
    }
    for (size_t i = 0; i < a->count; i++) {
        double x, y;
        if (!number_at(a, i, &x) || !number_at(b, i, &y)) {
            break;
        }
        double apart = x == y ? 0 : fabs(x - y); /* two equal infinities are not apart */
        d->max = apart > d->max || isnan(apart) ? apart : d->max;
        d->mean += apart;
        d->scale += fabs(x);
        d->count++;
    }
    return true;
}

void sw_difference_finish(struct sw_difference *d) {
    double n = d->count ? (double)d->count : 1;
    d->mean /= n;
    d->scale /= n;
}

static sw_status compare_sample(struct comparison *c, const struct sw_tensor *inputs, size_t input_count,
                                struct sw_arena *arena) {
    struct sw_tensor *a = NULL, *b = NULL;
    sw_status status = run_once(&c->a, inputs, input_count, arena, &a, c->err);
    status = status ? status : run_once(&c->b, inputs, input_count, arena, &b, c->err);
    if (status) {
        return c->err ? sw_error_prefix(c->err, "sample %zu", c->sample) : status;
    }
    for (size_t i = 0; i < c->a.count; i++) {
        if (!sw_difference_add(&c->differences[i], &a[i], &b[i])) {
            return sw_fail(c->err, SW_E_INFERENCE_FAILED, "sample %zu: output '%.200s' has another shape or type",
                           c->sample, c->differences[i].name);
        }
    }
    return SW_OK;
}

static sw_status compare_samples(struct comparison *c, const struct sw_samples *samples) {
    SW_CLEANUP(sw_arena_deinit) struct sw_arena arena;
    sw_arena_init(&arena, 0, ARENA_RETAIN);
    SW_TRY(samples->rewind(samples->arg, c->err));
    for (;;) {
        const struct sw_tensor *inputs;
        size_t count;
        bool more;
        SW_TRY(samples->next(samples->arg, &arena, &inputs, &count, &more, c->err));
        if (!more) {
            return SW_OK;
        }
        c->sample++;
        SW_TRY(compare_sample(c, inputs, count, &arena));
        if (samples->ran) {
            samples->ran(samples->arg);
        }
        sw_arena_reset(&arena);
    }
}

static sw_status compare(struct comparison *c, const char *a, const char *b, struct sw_engine *engine,
                         const struct sw_session_options *options, const struct sw_samples *samples) {
    SW_TRY(run_open(&c->a, engine, a, options, c->err));
    SW_TRY(run_open(&c->b, engine, b, options, c->err));
    c->differences = sw_xcalloc(c->a.specs->count, sizeof *c->differences);
    for (size_t i = 0; i < c->a.specs->count; i++) {
        const char *name = c->a.specs->items[i].name;
        const struct sw_tensor_spec *same = sw_specs_find(c->b.specs, sw_str_of(name));
        if (same) {
            c->differences[c->a.count].name = sw_xstrdup(name);
            c->a.indices[c->a.count++] = (uint32_t)i;
            c->b.indices[c->b.count++] = (uint32_t)(same - c->b.specs->items);
        }
    }
    return compare_samples(c, samples);
}

sw_status sw_difference_measure(const char *a, const char *b, struct sw_engine *engine,
                                const struct sw_session_options *options, const struct sw_samples *samples,
                                struct sw_difference **ret, size_t *ret_count, struct sw_error *err) {
    struct comparison c = {.err = err};
    sw_status status = compare(&c, a, b, engine, options, samples);
    size_t count = c.a.count;
    run_deinit(&c.a);
    run_deinit(&c.b);
    if (status) {
        sw_differences_free(c.differences, count);
        return status;
    }
    for (size_t i = 0; i < count; i++) {
        sw_difference_finish(&c.differences[i]);
    }
    *ret = c.differences;
    *ret_count = count;
    return SW_OK;
}

void sw_differences_free(struct sw_difference *differences, size_t count) {
    for (size_t i = 0; i < count; i++) {
        sw_free(differences[i].name);
    }
    sw_free(differences);
}
