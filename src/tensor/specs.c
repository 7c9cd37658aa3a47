/* Signatures: what a model declares of its inputs and outputs, and whether tensors fit it. */
#include "base/memory.h"
#include "tensor/tensor.h"

const struct sw_tensor_spec *sw_specs_find(const struct sw_tensor_specs *specs, struct sw_str name) {
    for (size_t i = 0; i < specs->count; i++) {
        if (sw_str_is(name, specs->items[i].name)) {
            return &specs->items[i];
        }
    }
    return NULL;
}

void sw_specs_deinit(struct sw_tensor_specs *specs) {
    for (size_t i = 0; i < specs->count; i++) {
        sw_free(specs->items[i].name);
        for (uint32_t d = 0; d < SW_RANK_MAX; d++) {
            sw_free(specs->items[i].dimension_name[d]);
        }
    }
    sw_free(specs->items);
    *specs = (struct sw_tensor_specs){0};
}

void sw_specs_copy(struct sw_tensor_specs *ret, const struct sw_tensor_specs *from) {
    struct sw_tensor_specs copy = {.items = sw_xcalloc(from->count ? from->count : 1, sizeof *copy.items),
                                   .count = from->count};
    for (size_t i = 0; i < from->count; i++) {
        copy.items[i] = from->items[i];
        copy.items[i].name = sw_xstrdup(from->items[i].name);
        for (uint32_t d = 0; d < SW_RANK_MAX; d++) {
            copy.items[i].dimension_name[d] = sw_xstrdup(from->items[i].dimension_name[d]);
        }
    }
    *ret = copy;
}

static bool shape_fits(const struct sw_tensor *t, const struct sw_tensor_spec *spec) {
    if (t->rank != spec->rank) {
        return false;
    }
    for (uint32_t d = 0; d < t->rank; d++) {
        if (spec->shape[d] >= 0 && spec->shape[d] != t->shape[d]) {
            return false;
        }
    }
    return true;
}

sw_status sw_tensor_check(const struct sw_tensor *t, const struct sw_tensor_spec *spec, struct sw_error *err) {
    if (t->dtype != spec->dtype) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "input \"" SW_STR_FMT "\": datatype is %s, the model wants %s",
                       SW_STR_ARG(t->name), sw_dtype_name(t->dtype), sw_dtype_name(spec->dtype));
    }
    if (!shape_fits(t, spec)) {
        char want[128], got[128];
        sw_shape_format(spec->shape, spec->rank, want, sizeof want);
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "input \"" SW_STR_FMT "\": shape is %s, the model wants %s%s",
                       SW_STR_ARG(t->name), sw_shape_format(t->shape, t->rank, got, sizeof got), want,
                       strchr(want, '-') ? " (-1: any)" : "");
    }
    return SW_OK;
}

/* The first tensor and dimension that carry this symbolic name before (tensor `limit`, dimension `limit_dimension`). */
static bool find_dimension(const struct sw_tensor *tensors, size_t limit, uint32_t limit_dimension,
                           const struct sw_tensor_specs *specs, const char *name, size_t *ret_tensor,
                           uint32_t *ret_dimension) {
    for (size_t i = 0; i <= limit; i++) {
        const struct sw_tensor_spec *spec = sw_specs_find(specs, tensors[i].name);
        uint32_t end = i == limit ? limit_dimension : spec->rank;
        for (uint32_t d = 0; d < end; d++) {
            if (spec->dimension_name[d] && strcmp(spec->dimension_name[d], name) == 0) {
                *ret_tensor = i;
                *ret_dimension = d;
                return true;
            }
        }
    }
    return false;
}

static sw_status check_dimension_names(const struct sw_tensor *tensors, size_t index,
                                       const struct sw_tensor_specs *specs, const struct sw_tensor_spec *spec,
                                       struct sw_error *err) {
    for (uint32_t d = 0; d < spec->rank; d++) {
        size_t other;
        uint32_t other_d;
        if (spec->shape[d] >= 0 || !spec->dimension_name[d] ||
            !find_dimension(tensors, index, d, specs, spec->dimension_name[d], &other, &other_d)) {
            continue;
        }
        if (tensors[other].shape[other_d] != tensors[index].shape[d]) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT,
                           "input \"" SW_STR_FMT "\": dimension %u (%s) is %lld, but %lld in dimension %u of input "
                           "\"" SW_STR_FMT "\"",
                           SW_STR_ARG(tensors[index].name), d, spec->dimension_name[d],
                           (long long)tensors[index].shape[d], (long long)tensors[other].shape[other_d], other_d,
                           SW_STR_ARG(tensors[other].name));
        }
    }
    return SW_OK;
}

static sw_status check_missing(const struct sw_tensor *tensors, size_t count, const struct sw_tensor_specs *specs,
                               struct sw_error *err) {
    for (size_t s = 0; s < specs->count; s++) {
        bool found = specs->items[s].optional;
        for (size_t i = 0; i < count && !found; i++) {
            found = sw_str_is(tensors[i].name, specs->items[s].name);
        }
        if (!found) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "input \"%s\" is missing", specs->items[s].name);
        }
    }
    return SW_OK;
}

sw_status sw_tensors_check(const struct sw_tensor *tensors, size_t count, const struct sw_tensor_specs *specs,
                           struct sw_error *err) {
    for (size_t i = 0; i < count; i++) {
        const struct sw_tensor_spec *spec = sw_specs_find(specs, tensors[i].name);
        if (!spec) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "the model has no input \"" SW_STR_FMT "\"",
                           SW_STR_ARG(tensors[i].name));
        }
        for (size_t j = 0; j < i; j++) {
            if (sw_str_eq(tensors[i].name, tensors[j].name)) {
                return sw_fail(err, SW_E_INVALID_ARGUMENT, "input \"" SW_STR_FMT "\" is given twice",
                               SW_STR_ARG(tensors[i].name));
            }
        }
        SW_TRY(sw_tensor_check(&tensors[i], spec, err));
        SW_TRY(check_dimension_names(tensors, i, specs, spec, err));
    }
    return check_missing(tensors, count, specs, err);
}
