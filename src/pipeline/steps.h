/* The built-in steps, for the table of step.c, and what they share. */
#ifndef SW_PIPELINE_STEPS_H
#define SW_PIPELINE_STEPS_H

#include "pipeline/step.h"

extern const struct sw_step_ops sw_step_tensor;
extern const struct sw_step_ops sw_step_image;
extern const struct sw_step_ops sw_step_softmax;
extern const struct sw_step_ops sw_step_calibrate;
extern const struct sw_step_ops sw_step_labels;
extern const struct sw_step_ops sw_step_threshold;

bool sw_spec_is_float(const struct sw_tensor_spec *spec); /* FP32 or FP64 */

static inline double sw_value_at(const struct sw_tensor *t, size_t i) { /* of such a tensor */
    return t->dtype == SW_DTYPE_FP32 ? (double)((const float *)t->data)[i] : ((const double *)t->data)[i];
}

/* The FP32 or FP64 tensor an output step was made for, at run time. SW_E_INFERENCE_FAILED when it is absent. */
SW_MUST_CHECK sw_status sw_output_tensor(struct sw_tensor_set *set, const char *step, const char *name,
                                         struct sw_tensor **ret, struct sw_error *err);

/* Signatures, while steps are made. */

/* The tensor an output step works on: the one called `name` (NULL: the only one that fits). fits(): does the step work
 * on such a tensor? `wanted` says in words what fits. *ret is its index. */
SW_MUST_CHECK sw_status sw_specs_choose(const struct sw_tensor_specs *specs, const char *path, const char *name,
                                        bool (*fits)(const struct sw_tensor_spec *spec, const void *arg),
                                        const void *arg, const char *wanted, size_t *ret, struct sw_error *err);

/* Appends a tensor whose leading dimensions (and their names) are those of `like`, then `tail` if it is >= 0.
 * SW_E_MODEL_INVALID when the name is taken. `path`: the key to blame. */
SW_MUST_CHECK sw_status sw_specs_add(struct sw_tensor_specs *specs, const char *path, const char *name,
                                     enum sw_dtype dtype, size_t like, uint32_t leading, int64_t tail,
                                     struct sw_error *err);

#endif
