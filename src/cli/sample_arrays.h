/* Arrays in files (.npy, .npz) as samples for a model: see cli/samples.h. */
#ifndef SW_CLI_SAMPLE_ARRAYS_H
#define SW_CLI_SAMPLE_ARRAYS_H

#include "pipeline/model.h"

struct sw_sample_array {
    struct sw_tensor tensor; /* named after the input */
    size_t step;             /* of dimension 0, that one sample takes; 0: there is no dimension */
    bool is_outer;           /* dimension 0 is one more than the model has */
    size_t rows;             /* samples in it; 1: the same one for every sample of the others */
};

/* Arrays that belong together, one an input. */
struct sw_sample_arrays {
    const char *path;
    struct sw_sample_array *items;
    size_t count, rows;
};

struct sw_sample_files {
    struct sw_arena arena; /* holds everything */
    struct sw_sample_arrays **items;
    size_t count;
};

/* *ret_found false: DATA is no such file, and no folder with such files. `ret` is to be released in either case. */
SW_MUST_CHECK sw_status sw_sample_files_open(const char *data, const struct sw_tensor_specs *specs,
                                             struct sw_sample_files *ret, bool *ret_found, struct sw_error *err);
void sw_sample_files_close(struct sw_sample_files *files);

/* Sample `row` as tensors for a model of these inputs. */
SW_MUST_CHECK sw_status sw_sample_arrays_row(const struct sw_sample_arrays *arrays, size_t row,
                                             const struct sw_tensor_specs *specs, struct sw_arena *arena,
                                             struct sw_tensor **ret, size_t *ret_count, struct sw_error *err);

#endif
