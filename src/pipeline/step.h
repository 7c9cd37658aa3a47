/* Steps: what happens to tensors before and after a model.
 *
 * A step is made once per loaded model from its parameters in bundle.yaml and is then immutable; run is called from
 * many threads at once. Built-in steps stand in the table of step.c; an application adds its own with
 * sw_step_register at start-up. */
#ifndef SW_PIPELINE_STEP_H
#define SW_PIPELINE_STEP_H

#include <jansson.h>

#include "tensor/tensor.h"

enum sw_step_side { SW_STEP_INPUT, SW_STEP_OUTPUT };

/* What an input step leaves for the output steps of the same request, beside the model (Starlight's decoded image, from
 * which its output step reads the message). The key is an address of the step's own. */
struct sw_step_note {
    const void *key;
    void *value; /* valid until the request's arena is reset */
    struct sw_step_note *next;
};

/* The tensors between two steps: a step reads the set it is given and replaces, adds or removes tensors. Names are
 * unique. */
struct sw_tensor_set {
    struct sw_tensor *items;
    size_t count;
    size_t capacity;
    struct sw_step_note *notes;
};

struct sw_step {
    const struct sw_step_ops *ops;
};

struct sw_step_ops {
    const char *name; /* in bundle.yaml: input.kind for inputs, a key of output for outputs */
    enum sw_step_side side;
    int order;           /* output steps given as a mapping run in ascending order: softmax 10, calibrate 20, labels 30,
                            threshold 40 */
    const char *summary; /* one line for the reference */

    /* Makes the step. params: the YAML value. bundle_dir: files named in params are relative to it. `specs` is, for an
     * input step, what the model wants; for an output step, what the steps before it give. The step replaces it by what
     * callers of the whole pipeline must send (input) or what it gives on (output): that is how the served signature
     * comes about. *ret NULL on success: nothing to do at run time. SW_E_MODEL_INVALID naming the parameter with its
     * dotted path ("input.width", see params.h). */
    sw_status (*create)(json_t *params, const char *bundle_dir, struct sw_tensor_specs *specs, struct sw_step **ret,
                        struct sw_error *err);
    void (*destroy)(struct sw_step *step);

    /* SW_E_UNPROCESSABLE or SW_E_INVALID_ARGUMENT when the caller's data is at fault. */
    sw_status (*run)(const struct sw_step *step, struct sw_tensor_set *tensors, struct sw_arena *arena,
                     struct sw_error *err);

    /* Input steps: does this step take a whole request body of this media type ("image/png") as its one BYTES
     * element? NULL: never. */
    bool (*accepts_body)(const struct sw_step *step, struct sw_str media_type);
};

/* NULL when unknown. */
const struct sw_step_ops *sw_step_find(enum sw_step_side side, struct sw_str name);
/* At start-up only, before any thread. The ops live for ever. */
void sw_step_register(const struct sw_step_ops *ops);
/* for (size_t i = 0; (ops = sw_step_at(i)); i++) every step known, for the reference. */
const struct sw_step_ops *sw_step_at(size_t index);

struct sw_tensor *sw_tensor_set_find(struct sw_tensor_set *set, struct sw_str name);
/* Appends; memory from the arena; the new element is zeroed. NULL: out of memory. */
struct sw_tensor *sw_tensor_set_add(struct sw_tensor_set *set, struct sw_arena *arena);
/* Leaves a note; memory from the arena. SW_E_UNAVAILABLE: out of memory. */
SW_MUST_CHECK sw_status sw_tensor_set_note(struct sw_tensor_set *set, struct sw_arena *arena, const void *key,
                                           void *value, struct sw_error *err);
/* The newest note of this key, or NULL. */
void *sw_tensor_set_noted(const struct sw_tensor_set *set, const void *key);

#endif
