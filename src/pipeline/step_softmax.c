/* The output step softmax: scores to probabilities along one axis, in the scores' own precision.
 *
 * The highest score of a line is taken off before exp, so that nothing overflows. The tensor is replaced by a new one
 * of the same name and shape; the engine's memory is not written. */
#include <math.h>

#include "base/memory.h"
#include "pipeline/params.h"
#include "pipeline/steps.h"

struct softmax_step {
    struct sw_step step;
    char *tensor;
    int64_t axis; /* >= 0 */
};

static void softmax_destroy(struct sw_step *step) {
    struct softmax_step *s = (struct softmax_step *)step;
    sw_free(s->tensor);
    sw_free(s);
}

static struct softmax_step *new_step(void) {
    struct softmax_step *s = SW_NEW(struct softmax_step);
    s->step.ops = &sw_step_softmax;
    return s;
}

static bool softmax_fits(const struct sw_tensor_spec *spec, const void *arg) {
    return sw_spec_is_float(spec) && spec->rank >= 1;
}

static sw_status softmax_read(const struct sw_params *p, const struct sw_tensor_specs *specs, struct softmax_step *s) {
    static const char *const known[] = {"tensor", "axis", NULL};
    const char *name = NULL;
    int64_t axis = -1;
    size_t index = 0;
    SW_TRY(sw_params_only(p, known));
    SW_TRY(sw_params_string(p, "tensor", &name));
    SW_TRY(sw_params_int(p, "axis", -SW_RANK_MAX, SW_RANK_MAX - 1, &axis));
    SW_TRY(sw_specs_choose(specs, p->path, name, softmax_fits, NULL, "FP32 or FP64, at least one dimension", &index,
                           p->err));
    int64_t rank = specs->items[index].rank;
    if (axis < -rank || axis >= rank) {
        return sw_params_fail(p, "axis", "%lld is outside a tensor of %lld dimensions", (long long)axis,
                              (long long)rank);
    }
    s->axis = axis < 0 ? axis + rank : axis;
    s->tensor = sw_xstrdup(specs->items[index].name);
    return SW_OK;
}

static sw_status softmax_create(json_t *params, const char *bundle_dir, struct sw_tensor_specs *specs,
                                struct sw_step **ret, struct sw_error *err) {
    struct sw_params p = {.object = json_is_object(params) ? params : NULL, .path = "output.softmax", .err = err};
    if (json_is_false(params)) {
        *ret = NULL;
        return SW_OK;
    }
    if (!json_is_true(params) && !p.object) {
        return sw_params_fail(&p, NULL, "must be true, false or a mapping, is %s", sw_params_kind(params));
    }
    struct softmax_step *s = new_step();
    sw_status status = softmax_read(&p, specs, s);
    if (status) {
        softmax_destroy(&s->step);
        return status;
    }
    *ret = &s->step;
    return SW_OK;
}

/* out = exp(x - max) / sum over one line of n elements that lie `stride` apart. */
#define SOFTMAX_LINE(name, type, exp_fn)                                                \
    static void name(const type *in, type *out, size_t n, size_t stride) {              \
        type max = -(type)INFINITY, sum = 0;                                            \
        for (size_t i = 0; i < n; i++) {                                                \
            max = in[i * stride] > max || isnan(in[i * stride]) ? in[i * stride] : max; \
        }                                                                               \
        for (size_t i = 0; i < n; i++) {                                                \
            out[i * stride] = exp_fn(in[i * stride] - max);                             \
            sum += out[i * stride];                                                     \
        }                                                                               \
        for (size_t i = 0; i < n; i++) {                                                \
            out[i * stride] /= sum;                                                     \
        }                                                                               \
    }
SOFTMAX_LINE(softmax_f32, float, expf)
SOFTMAX_LINE(softmax_f64, double, exp)

static sw_status softmax_run(const struct sw_step *step, struct sw_tensor_set *set, struct sw_arena *arena,
                             struct sw_error *err) {
    const struct softmax_step *s = (const struct softmax_step *)step;
    struct sw_tensor *t, out;
    SW_TRY(sw_output_tensor(set, "softmax", s->tensor, &t, err));
    if ((uint64_t)s->axis >= t->rank) {
        return sw_fail(err, SW_E_INFERENCE_FAILED, "output step softmax: '%s' has %u dimensions, axis %lld wanted",
                       s->tensor, t->rank, (long long)s->axis);
    }
    SW_TRY(sw_tensor_alloc(&out, arena, t->name, t->dtype, t->shape, t->rank, err));
    size_t n = (size_t)t->shape[s->axis], stride = 1;
    for (uint32_t i = (uint32_t)s->axis + 1; i < t->rank; i++) {
        stride *= (size_t)t->shape[i];
    }
    size_t block = n * stride, blocks = block ? t->count / block : 0;
    for (size_t b = 0; b < blocks; b++) {
        for (size_t k = 0; k < stride; k++) {
            size_t at = b * block + k;
            if (t->dtype == SW_DTYPE_FP32) {
                softmax_f32((const float *)t->data + at, (float *)out.data + at, n, stride);
            } else {
                softmax_f64((const double *)t->data + at, (double *)out.data + at, n, stride);
            }
        }
    }
    *t = out;
    return SW_OK;
}

const struct sw_step_ops sw_step_softmax = {
    .name = "softmax",
    .side = SW_STEP_OUTPUT,
    .order = 10,
    .summary = "turns scores into probabilities along one axis",
    .create = softmax_create,
    .destroy = softmax_destroy,
    .run = softmax_run,
};
