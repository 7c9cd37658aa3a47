/* See samples.h: arrays (sample_arrays.c) or a data set (dataset.c), evenly thinned out. */
#include "cli/samples.h"

#include "base/memory.h"
#include "cli/sample_arrays.h"

struct sw_sample_set {
    const struct sw_model *model;
    struct sw_sample_files files;
    struct sw_dataset *dataset; /* NULL: arrays */
    struct sw_arena scratch;    /* of samples that are passed over */
    uint64_t total, taken;
    uint64_t index;   /* of the next, of all */
    size_t file, row; /* of the next, of arrays */
    uint64_t runs;
    void (*ran)(void *arg, uint64_t runs);
    void *ran_arg;
};

/* --- all of them -------------------------------------------------------------------------------------------------- */

/* The next sample that can be used. */
static sw_status next_of_dataset(struct sw_sample_set *set, struct sw_arena *arena, struct sw_set_sample *ret,
                                 bool *ret_more, struct sw_error *err) {
    do {
        SW_TRY(sw_dataset_next(set->dataset, arena, &ret->sample, ret_more, err));
    } while (*ret_more && ret->sample.broken);
    if (*ret_more) {
        ret->where = sw_sample_where(set->dataset, &ret->sample, arena);
    }
    return SW_OK;
}

static sw_status next_of_arrays(struct sw_sample_set *set, struct sw_arena *arena, struct sw_set_sample *ret,
                                bool *ret_more, struct sw_error *err) {
    *ret_more = set->file < set->files.count;
    if (!*ret_more) {
        return SW_OK;
    }
    const struct sw_sample_arrays *arrays = set->files.items[set->file];
    ret->sample.index = set->index;
    ret->arrays = arrays;
    ret->row = set->row++;
    ret->where = sw_arena_printf(arena, "%s sample %zu", arrays->path, ret->row + 1);
    if (set->row == arrays->rows) {
        set->row = 0;
        set->file++;
    }
    return ret->where ? SW_OK : sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
}

static sw_status next_of_all(struct sw_sample_set *set, struct sw_arena *arena, struct sw_set_sample *ret,
                             bool *ret_more, struct sw_error *err) {
    *ret = (struct sw_set_sample){0};
    SW_TRY(set->dataset ? next_of_dataset(set, arena, ret, ret_more, err)
                        : next_of_arrays(set, arena, ret, ret_more, err));
    set->index += *ret_more;
    return SW_OK;
}

/* --- some of them ------------------------------------------------------------------------------------------------- */

/* Is sample `index` one of `taken` evenly spread ones? The first is: the k-th is at floor(k * total / taken). */
static bool is_taken(const struct sw_sample_set *set, uint64_t index) {
    unsigned __int128 taken = set->taken, total = set->total;
    unsigned __int128 k = (index * taken + total - 1) / total; /* the first k whose place is not before index */
    return k < taken && k * total / taken == index;
}

sw_status sw_sample_set_rewind(struct sw_sample_set *set, struct sw_error *err) {
    set->index = 0;
    set->file = set->row = 0;
    return set->dataset ? sw_dataset_rewind(set->dataset, err) : SW_OK;
}

sw_status sw_sample_set_next(struct sw_sample_set *set, struct sw_arena *arena, struct sw_set_sample *ret,
                             bool *ret_more, struct sw_error *err) {
    bool more = true;
    while (more && !is_taken(set, set->index)) { /* what is passed over leaves nothing in the caller's arena */
        struct sw_set_sample passed;
        SW_TRY(next_of_all(set, &set->scratch, &passed, &more, err));
        sw_arena_reset(&set->scratch);
    }
    *ret_more = false;
    return more ? next_of_all(set, arena, ret, ret_more, err) : SW_OK;
}

sw_status sw_sample_set_inputs(const struct sw_sample_set *set, const struct sw_set_sample *sample,
                               const struct sw_model *model, struct sw_arena *arena, struct sw_tensor **ret,
                               size_t *ret_count, struct sw_error *err) {
    if (!sample->arrays) {
        return sw_sample_inputs(set->dataset, &sample->sample, &model->inputs, arena, ret, ret_count, err);
    }
    sw_status status = sw_sample_arrays_row(sample->arrays, sample->row, &model->inputs, arena, ret, ret_count, err);
    return status && err ? sw_error_prefix(err, "%s", sample->where) : status;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static sw_status count_all(struct sw_sample_set *set, struct sw_error *err) {
    struct sw_set_sample sample;
    bool more = true;
    while (more) {
        SW_TRY(next_of_all(set, &set->scratch, &sample, &more, err));
        set->total += more;
        sw_arena_reset(&set->scratch);
    }
    return sw_sample_set_rewind(set, err);
}

static sw_status open_data(struct sw_sample_set *set, const char *data, struct sw_error *err) {
    bool found = false;
    SW_TRY(sw_sample_files_open(data, &set->model->inputs, &set->files, &found, err));
    if (!found) {
        SW_TRY(sw_dataset_open(data, &set->dataset, err));
    }
    SW_TRY(count_all(set, err));
    return set->total ? SW_OK : sw_fail(err, SW_E_INVALID_ARGUMENT, "%s holds no samples", data);
}

sw_status sw_sample_set_open(const char *data, const struct sw_model *model, uint64_t samples_max,
                             struct sw_sample_set **ret, struct sw_error *err) {
    struct sw_sample_set *set = SW_NEW(struct sw_sample_set);
    set->model = model;
    sw_arena_init(&set->scratch, 0, 1 << 20);
    sw_status status = open_data(set, data, err);
    if (status) {
        sw_sample_set_close(set);
        return status;
    }
    set->taken = samples_max && samples_max < set->total ? samples_max : set->total;
    *ret = set;
    return SW_OK;
}

void sw_sample_set_close(struct sw_sample_set *set) {
    if (set) {
        sw_dataset_close(set->dataset);
        sw_sample_files_close(&set->files);
        sw_arena_deinit(&set->scratch);
        sw_free(set);
    }
}

uint64_t sw_sample_set_count(const struct sw_sample_set *set) {
    return set->taken;
}

uint64_t sw_sample_set_total(const struct sw_sample_set *set) {
    return set->total;
}

/* --- for calibration ---------------------------------------------------------------------------------------------- */

static sw_status samples_rewind(void *arg, struct sw_error *err) {
    return sw_sample_set_rewind(arg, err);
}

static sw_status samples_next(void *arg, struct sw_arena *arena, const struct sw_tensor **ret, size_t *ret_count,
                              bool *ret_more, struct sw_error *err) {
    struct sw_sample_set *set = arg;
    struct sw_set_sample sample;
    struct sw_inference inference = {0};
    SW_TRY(sw_sample_set_next(set, arena, &sample, ret_more, err));
    if (!*ret_more) {
        return SW_OK;
    }
    SW_TRY(sw_sample_set_inputs(set, &sample, set->model, arena, &inference.inputs, &inference.input_count, err));
    sw_status status = sw_model_prepare(set->model, &inference, arena, sw_clock_system(), err);
    if (status) {
        return err ? sw_error_prefix(err, "%s", sample.where) : status;
    }
    *ret = inference.set.items;
    *ret_count = inference.set.count;
    return SW_OK;
}

static void samples_ran(void *arg) {
    struct sw_sample_set *set = arg;
    set->runs++;
    if (set->ran) {
        set->ran(set->ran_arg, set->runs);
    }
}

struct sw_samples sw_sample_set_samples(struct sw_sample_set *set, void (*ran)(void *arg, uint64_t runs), void *arg) {
    set->ran = ran;
    set->ran_arg = arg;
    return (struct sw_samples){.arg = set, .rewind = samples_rewind, .next = samples_next, .ran = samples_ran};
}
