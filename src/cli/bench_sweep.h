/* `slipway bench --sweep`: how throughput and latency of a model change with rows a run and threads inside a run, and what
 * bundle.yaml should say.
 *
 * A cell is one combination. Threads: 1 (each run on its calling thread, as many callers as processors) and, on more than one
 * processor, the pool that all runs share (one caller). Rows: the request, repeated 1, 2, 4, ... times along dimension 0, where
 * the model allows that. Each cell is measured in SW_SWEEP_ROUNDS rounds that are interleaved with those of the other row
 * counts, so that what else the machine does falls on all of them; throughput is the median of the rounds. */
#ifndef SW_CLI_BENCH_SWEEP_H
#define SW_CLI_BENCH_SWEEP_H

#include "base/histogram.h"
#include "cli/engines.h"
#include "cli/options.h"

enum { SW_SWEEP_ROUNDS = 3 };

struct sw_sweep_cell {
    unsigned threads, callers;
    int64_t batch; /* rows a run */
    bool failed;   /* the model does not run so many rows: reason */
    char reason[SW_ERROR_MESSAGE_MAX];
    double round_rows_per_s[SW_SWEEP_ROUNDS];
    unsigned rounds; /* measured so far */
    double rows_per_s;
    struct sw_histogram *run_ns; /* time of a run; heap */
};

struct sw_sweep_advice {
    size_t cell;    /* SIZE_MAX: every cell failed */
    bool limit_met; /* of the latency; true without one */
    double gain;    /* its rows/s by the best of the smallest batch */
};

/* Among the cells whose p95 keeps latency_max_ms (negative: no limit): the smallest batch, then the fewest threads, whose rows/s
 * are at least SW_SWEEP_NEAR of the best there. When none keeps it: the one with the lowest p95. */
#define SW_SWEEP_NEAR 0.95
struct sw_sweep_advice sw_sweep_advise(const struct sw_sweep_cell *cells, size_t count, double latency_max_ms);

/* Measures and reports. SW_E_GATE_FAILED: no cell keeps --max-latency-ms (it has reported all the same). */
SW_MUST_CHECK sw_status sw_bench_sweep(const struct sw_args *args, struct sw_cli_engines *engines,
                                       unsigned pool_threads, struct sw_error *err);

#endif
