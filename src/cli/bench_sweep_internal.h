/* A sweep: what its measurement (bench_sweep.c) hands to its report (bench_sweep_report.c). */
#ifndef SW_CLI_BENCH_SWEEP_INTERNAL_H
#define SW_CLI_BENCH_SWEEP_INTERNAL_H

#include "cli/bench_sweep.h"

enum { SWEEP_CELLS_MAX = 2 * 18 }; /* batches up to 65536, for two numbers of threads */

struct sweep {
    const struct sw_args *args;
    uint64_t time_ns; /* a cell */
    double latency_max_ms;
    int64_t batch_max;
    char name[256];    /* of the model */
    char source[4096]; /* of the request */
    const char *engine, *engine_version;
    bool batchable;
    struct sw_sweep_cell cells[SWEEP_CELLS_MAX];
    size_t cell_count;
    struct sw_sweep_advice advice;
};

/* Prints, and writes --output. SW_E_INFERENCE_FAILED: every cell failed; SW_E_GATE_FAILED: see sw_bench_sweep. */
SW_MUST_CHECK sw_status sweep_report(const struct sweep *s, struct sw_error *err);

#endif
