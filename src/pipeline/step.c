/* See step.h: the table of steps, and the set of tensors they work on. */
#include "pipeline/step.h"

#include "pipeline/params.h"
#include "pipeline/steps.h"

enum { STEPS_MAX = 64 };

static const struct sw_step_ops *table[STEPS_MAX] = {
    &sw_step_tensor, &sw_step_image, &sw_step_softmax, &sw_step_calibrate, &sw_step_labels, &sw_step_threshold,
};
static size_t table_count = 6;

const struct sw_step_ops *sw_step_at(size_t index) {
    return index < table_count ? table[index] : NULL;
}

const struct sw_step_ops *sw_step_find(enum sw_step_side side, struct sw_str name) {
    for (size_t i = 0; i < table_count; i++) {
        if (table[i]->side == side && sw_str_is(name, table[i]->name)) {
            return table[i];
        }
    }
    return NULL;
}

void sw_step_register(const struct sw_step_ops *ops) {
    SW_ASSERT(ops && ops->name && ops->create && ops->destroy && ops->run);
    SW_ASSERT(!sw_step_find(ops->side, sw_str_of(ops->name)));
    SW_ASSERT(table_count < STEPS_MAX);
    table[table_count++] = ops;
}

struct sw_tensor *sw_tensor_set_find(struct sw_tensor_set *set, struct sw_str name) {
    for (size_t i = 0; i < set->count; i++) {
        if (sw_str_eq(set->items[i].name, name)) {
            return &set->items[i];
        }
    }
    return NULL;
}

struct sw_tensor *sw_tensor_set_add(struct sw_tensor_set *set, struct sw_arena *arena) {
    if (set->count == set->capacity) {
        size_t capacity = set->capacity ? set->capacity * 2 : 8;
        struct sw_tensor *items = sw_arena_calloc(arena, capacity, sizeof *items);
        if (!items) {
            return NULL;
        }
        if (set->count) {
            memcpy(items, set->items, set->count * sizeof *items);
        }
        set->items = items;
        set->capacity = capacity;
    }
    struct sw_tensor *t = &set->items[set->count++];
    *t = (struct sw_tensor){0};
    return t;
}

sw_status sw_tensor_set_note(struct sw_tensor_set *set, struct sw_arena *arena, const void *key, void *value,
                             struct sw_error *err) {
    struct sw_step_note *note = sw_arena_alloc(arena, sizeof *note);
    if (!note) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
    }
    *note = (struct sw_step_note){key, value, set->notes};
    set->notes = note;
    return SW_OK;
}

void *sw_tensor_set_noted(const struct sw_tensor_set *set, const void *key) {
    for (const struct sw_step_note *note = set->notes; note; note = note->next) {
        if (note->key == key) {
            return note->value;
        }
    }
    return NULL;
}

/* The step `tensor`: what the caller sends is what the model gets. */

static sw_status tensor_create(json_t *params, const char *bundle_dir, struct sw_tensor_specs *specs,
                               struct sw_step **ret, struct sw_error *err) {
    static const char *const known[] = {"kind", NULL};
    const struct sw_params p = {.object = params, .path = "input", .err = err};
    SW_TRY(sw_params_only(&p, known));
    *ret = NULL;
    return SW_OK;
}

static void tensor_destroy(struct sw_step *step) {
}

static sw_status tensor_run(const struct sw_step *step, struct sw_tensor_set *tensors, struct sw_arena *arena,
                            struct sw_error *err) {
    return SW_OK;
}

const struct sw_step_ops sw_step_tensor = {
    .name = "tensor",
    .side = SW_STEP_INPUT,
    .summary = "tensors as the caller sends them (the default)",
    .create = tensor_create,
    .destroy = tensor_destroy,
    .run = tensor_run,
};
