/* What the output steps share: choosing their tensor when they are made and finding it when they run. */
#include "base/memory.h"
#include "pipeline/steps.h"

bool sw_spec_is_float(const struct sw_tensor_spec *spec) {
    return spec->dtype == SW_DTYPE_FP32 || spec->dtype == SW_DTYPE_FP64;
}

sw_status sw_output_tensor(struct sw_tensor_set *set, const char *step, const char *name, struct sw_tensor **ret,
                           struct sw_error *err) {
    struct sw_tensor *t = sw_tensor_set_find(set, sw_str_of(name));
    if (!t) {
        return sw_fail(err, SW_E_INFERENCE_FAILED, "output step %s: the model left out '%s'", step, name);
    }
    if (t->dtype != SW_DTYPE_FP32 && t->dtype != SW_DTYPE_FP64) {
        return sw_fail(err, SW_E_INFERENCE_FAILED, "output step %s: '%s' is %s, FP32 or FP64 wanted", step, name,
                       sw_dtype_name(t->dtype));
    }
    *ret = t;
    return SW_OK;
}

/* "p FP32 [-1,3], q INT64 [-1]", as many as there is room for. */
static const char *list_specs(const struct sw_tensor_specs *specs, char *ret, size_t size) {
    size_t at = 0;
    ret[0] = 0;
    for (size_t i = 0; i < specs->count; i++) {
        const struct sw_tensor_spec *spec = &specs->items[i];
        char shape[128];
        int n = snprintf(ret + at, size - at, "%s%s %s %s", i ? ", " : "", spec->name, sw_dtype_name(spec->dtype),
                         sw_shape_format(spec->shape, spec->rank, shape, sizeof shape));
        if (n < 0 || (size_t)n >= size - at) {
            ret[at] = 0;
            break;
        }
        at += (size_t)n;
    }
    return ret;
}

sw_status sw_specs_choose(const struct sw_tensor_specs *specs, const char *path, const char *name,
                          bool (*fits)(const struct sw_tensor_spec *spec, const void *arg), const void *arg,
                          const char *wanted, size_t *ret, struct sw_error *err) {
    size_t found = SIZE_MAX, fitting = 0;
    for (size_t i = 0; i < specs->count; i++) {
        const struct sw_tensor_spec *spec = &specs->items[i];
        if (name && strcmp(spec->name, name) != 0) {
            continue;
        }
        if (fits(spec, arg)) {
            found = i;
            fitting++;
        } else if (name) {
            char shape[128];
            return sw_fail(err, SW_E_MODEL_INVALID, "%s.tensor: '%s' is %s %s; wanted: %s", path, name,
                           sw_dtype_name(spec->dtype), sw_shape_format(spec->shape, spec->rank, shape, sizeof shape),
                           wanted);
        }
    }
    if (fitting == 1) {
        *ret = found;
        return SW_OK;
    }
    if (name) {
        return sw_fail(err, SW_E_MODEL_INVALID, "%s.tensor: no tensor '%s' at this point", path, name);
    }
    if (fitting > 1) {
        return sw_fail(err, SW_E_MODEL_INVALID, "%s: %zu tensors fit (%s); name one with %s.tensor", path, fitting,
                       wanted, path);
    }
    char there[256];
    return sw_fail(err, SW_E_MODEL_INVALID, "%s: no tensor fits; wanted: %s; there is: %s", path, wanted,
                   list_specs(specs, there, sizeof there));
}

sw_status sw_specs_add(struct sw_tensor_specs *specs, const char *path, const char *name, enum sw_dtype dtype,
                       size_t like, uint32_t leading, int64_t tail, struct sw_error *err) {
    if (sw_specs_find(specs, sw_str_of(name))) {
        return sw_fail(err, SW_E_MODEL_INVALID, "%s: there is already a tensor '%s'; choose another name", path, name);
    }
    specs->items = sw_xrealloc(specs->items, (specs->count + 1) * sizeof *specs->items);
    const struct sw_tensor_spec *from = &specs->items[like];
    struct sw_tensor_spec *spec = &specs->items[specs->count++];
    *spec = (struct sw_tensor_spec){.name = sw_xstrdup(name), .dtype = dtype, .rank = leading};
    for (uint32_t i = 0; i < leading; i++) {
        spec->shape[i] = from->shape[i];
        spec->dimension_name[i] = sw_xstrdup(from->dimension_name[i]);
    }
    if (tail >= 0) {
        spec->shape[spec->rank++] = tail;
    }
    return SW_OK;
}
