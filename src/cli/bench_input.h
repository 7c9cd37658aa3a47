/* The request that `bench` runs again and again. */
#ifndef SW_CLI_BENCH_INPUT_H
#define SW_CLI_BENCH_INPUT_H

#include "pipeline/model.h"

struct sw_bench_input {
    struct sw_tensor *tensors; /* in the arena */
    size_t count;
    const char *source; /* "zeros", "golden", or the path of the file */
    int64_t batch;      /* dimension 0 of the first input, 1 without one */
};

/* From `file` when not NULL (a JSON body with "inputs", or the bytes of the one BYTES input); else zeros with free
 * dimensions 1 and dimension 0 `batch`, or, when the model refuses zeros, the first golden request of its bundle. What
 * it returns has been run once. Everything lives in the arena. SW_E_USAGE says which of the options does not fit. */
SW_MUST_CHECK sw_status sw_bench_input_make(const struct sw_model *model, const char *file, int64_t batch,
                                            struct sw_arena *arena, struct sw_bench_input *ret, struct sw_error *err);

/* The same request `times` times along dimension 0 of every tensor, run once. 1: itself. SW_E_USAGE: a tensor without a free
 * dimension 0. Shares the texts of BYTES; lives in the arena. */
SW_MUST_CHECK sw_status sw_bench_input_repeat(const struct sw_model *model, const struct sw_bench_input *input,
                                              int64_t times, struct sw_arena *arena, struct sw_bench_input *ret,
                                              struct sw_error *err);

#endif
