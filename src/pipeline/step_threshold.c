/* The output step threshold: adds a BOOL "positive" [N], true where a row's score reaches the value.
 *
 * The score is a tensor [N] or [N,1], or one column (`class`) of a tensor [N,C]. NaN is never positive. */
#include "base/memory.h"
#include "pipeline/params.h"
#include "pipeline/steps.h"

struct threshold_step {
    struct sw_step step;
    char *tensor;
    char *positive_name; /* output added */
    double threshold;
    int64_t class_index; /* column; -1: the tensor has one score a row */
};

static void threshold_destroy(struct sw_step *step) {
    struct threshold_step *s = (struct threshold_step *)step;
    sw_free(s->tensor);
    sw_free(s->positive_name);
    sw_free(s);
}

static struct threshold_step *new_step(void) {
    struct threshold_step *s = SW_NEW(struct threshold_step);
    s->step.ops = &sw_step_threshold;
    return s;
}

static bool threshold_fits(const struct sw_tensor_spec *spec, const void *arg) {
    int64_t class_index = *(const int64_t *)arg;
    if (!sw_spec_is_float(spec)) {
        return false;
    }
    if (class_index < 0) {
        return spec->rank == 1 || (spec->rank == 2 && spec->shape[1] == 1);
    }
    return spec->rank == 2 && (spec->shape[1] == -1 || spec->shape[1] > class_index);
}

static sw_status threshold_read(const struct sw_params *p, json_t *params, struct sw_tensor_specs *specs,
                                struct threshold_step *s) {
    static const char *const known[] = {"value", "tensor", "class", "name", NULL};
    const char *tensor = NULL, *name = "positive";
    size_t index = 0;
    if (p->object) {
        SW_TRY(sw_params_only(p, known));
        if (!json_object_get(p->object, "value")) {
            return sw_params_fail(p, "value", "is missing");
        }
        SW_TRY(sw_params_number(p, "value", -3e38, 3e38, &s->threshold));
        SW_TRY(sw_params_string(p, "tensor", &tensor));
        SW_TRY(sw_params_string(p, "name", &name));
        SW_TRY(sw_params_int(p, "class", 0, INT32_MAX, &s->class_index));
    } else if (json_is_number(params)) {
        s->threshold = json_number_value(params);
    } else {
        return sw_params_fail(p, NULL, "must be a number or a mapping, is %s", sw_params_kind(params));
    }
    SW_TRY(sw_specs_choose(specs, p->path, tensor, threshold_fits, &s->class_index,
                           s->class_index < 0 ? "FP32 or FP64 [N] or [N,1]" : "FP32 or FP64 [N,C] with C > class",
                           &index, p->err));
    s->tensor = sw_xstrdup(specs->items[index].name);
    s->positive_name = sw_xstrdup(name);
    return sw_specs_add(specs, "output.threshold.name", name, SW_DTYPE_BOOL, index, 1, -1, p->err);
}

static sw_status threshold_create(json_t *params, const char *bundle_dir, struct sw_tensor_specs *specs,
                                  struct sw_step **ret, struct sw_error *err) {
    struct sw_params p = {.object = json_is_object(params) ? params : NULL, .path = "output.threshold", .err = err};
    struct threshold_step *s = new_step();
    s->class_index = -1;
    sw_status status = threshold_read(&p, params, specs, s);
    if (status) {
        threshold_destroy(&s->step);
        return status;
    }
    *ret = &s->step;
    return SW_OK;
}

static sw_status threshold_run(const struct sw_step *step, struct sw_tensor_set *set, struct sw_arena *arena,
                               struct sw_error *err) {
    const struct threshold_step *s = (const struct threshold_step *)step;
    struct sw_tensor *found;
    SW_TRY(sw_output_tensor(set, "threshold", s->tensor, &found, err));
    struct sw_tensor t = *found;
    size_t columns = t.rank == 2 ? (size_t)t.shape[1] : 1;
    bool fits = s->class_index < 0 ? t.rank >= 1 && t.rank <= 2 && columns == 1
                                   : t.rank == 2 && columns > (size_t)s->class_index;
    if (!fits) {
        char shape[128];
        return sw_fail(err, SW_E_INFERENCE_FAILED, "output step threshold: '%s' came as %s", s->tensor,
                       sw_shape_format(t.shape, t.rank, shape, sizeof shape));
    }
    struct sw_tensor *out = sw_tensor_set_add(set, arena);
    if (!out) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory for the answer");
    }
    SW_TRY(sw_tensor_alloc(out, arena, sw_str_of(s->positive_name), SW_DTYPE_BOOL, t.shape, 1, err));
    uint8_t *positive = out->data;
    size_t column = s->class_index < 0 ? 0 : (size_t)s->class_index;
    bool single = t.dtype == SW_DTYPE_FP32; /* 0.7 must mean the float next to it, or a score of 0.7 misses it */
    double threshold = single ? (double)(float)s->threshold : s->threshold;
    for (size_t r = 0; r < out->count; r++) {
        positive[r] = sw_value_at(&t, r * columns + column) >= threshold;
    }
    return SW_OK;
}

const struct sw_step_ops sw_step_threshold = {
    .name = "threshold",
    .side = SW_STEP_OUTPUT,
    .order = 40,
    .summary = "adds whether a score reaches a value",
    .create = threshold_create,
    .destroy = threshold_destroy,
    .run = threshold_run,
};
