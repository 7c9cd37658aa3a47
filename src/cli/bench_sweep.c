/* Cells, their measurement, and the advice; see bench_sweep.h. The report is bench_sweep_report.c. */
#include <stdatomic.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/thread.h"
#include "cli/bench_input.h"
#include "cli/bench_sweep_internal.h"
#include "cli/cli.h"
#include "cli/units.h"

enum { CALLERS_MAX = 256, RUNS_MIN = 3, ARENA_RETAIN = 64 << 20 };

/* --- advice ------------------------------------------------------------------------------------------------------- */

static double p95_ms(const struct sw_sweep_cell *cell) {
    return sw_histogram_percentile(cell->run_ns, 95) / 1e6;
}

static bool keeps(const struct sw_sweep_cell *cell, double latency_max_ms) {
    return !cell->failed && (latency_max_ms < 0 || p95_ms(cell) <= latency_max_ms);
}

/* Is a the simpler setting? */
static bool is_simpler(const struct sw_sweep_cell *a, const struct sw_sweep_cell *b) {
    return a->batch != b->batch ? a->batch < b->batch : a->threads < b->threads;
}

static size_t lowest_latency(const struct sw_sweep_cell *cells, size_t count) {
    size_t found = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        if (!cells[i].failed && (found == SIZE_MAX || p95_ms(&cells[i]) < p95_ms(&cells[found]))) {
            found = i;
        }
    }
    return found;
}

static size_t simplest_near_best(const struct sw_sweep_cell *cells, size_t count, double latency_max_ms) {
    double best = 0;
    size_t found = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        if (keeps(&cells[i], latency_max_ms) && cells[i].rows_per_s > best) {
            best = cells[i].rows_per_s;
        }
    }
    for (size_t i = 0; i < count; i++) {
        bool near = keeps(&cells[i], latency_max_ms) && cells[i].rows_per_s >= SW_SWEEP_NEAR * best;
        if (near && (found == SIZE_MAX || is_simpler(&cells[i], &cells[found]))) {
            found = i;
        }
    }
    return found;
}

/* Rows/s of the best cell with the smallest batch: what is had without batching. */
static double without_batching(const struct sw_sweep_cell *cells, size_t count) {
    int64_t smallest = INT64_MAX;
    double best = 0;
    for (size_t i = 0; i < count; i++) {
        const struct sw_sweep_cell *c = &cells[i];
        if (!c->failed && (c->batch < smallest || (c->batch == smallest && c->rows_per_s > best))) {
            smallest = c->batch;
            best = c->rows_per_s;
        }
    }
    return best;
}

struct sw_sweep_advice sw_sweep_advise(const struct sw_sweep_cell *cells, size_t count, double latency_max_ms) {
    struct sw_sweep_advice advice = {.cell = simplest_near_best(cells, count, latency_max_ms), .limit_met = true};
    if (advice.cell == SIZE_MAX) {
        advice.cell = lowest_latency(cells, count);
        advice.limit_met = latency_max_ms < 0;
    }
    double before = without_batching(cells, count);
    if (advice.cell != SIZE_MAX && before > 0) {
        advice.gain = cells[advice.cell].rows_per_s / before;
    }
    return advice;
}

/* --- one round of one cell ---------------------------------------------------------------------------------------- */

struct round {
    const struct sw_model *model;
    const struct sw_bench_input *input;
    pthread_mutex_t gate; /* held until all callers are there: each passes it before it begins */
    uint64_t end_ns;
    atomic_bool stop; /* a caller failed */
};

struct caller {
    struct round *round;
    pthread_t thread;
    struct sw_histogram *run_ns; /* heap */
    uint64_t ended_ns;
    sw_status status;
    struct sw_error err;
};

static sw_status run_once(struct caller *c, struct sw_tensor *inputs, struct sw_arena *arena) {
    struct sw_clock *clock = sw_clock_system();
    struct sw_inference inference = {.inputs = inputs, .input_count = c->round->input->count};
    uint64_t start = sw_now_ns(clock);
    SW_TRY(sw_model_infer(c->round->model, &inference, arena, clock, &c->err));
    c->ended_ns = sw_now_ns(clock);
    sw_histogram_record(c->run_ns, c->ended_ns - start);
    sw_arena_reset(arena);
    return SW_OK;
}

static void *call(void *arg) {
    struct caller *c = arg;
    const struct sw_bench_input *input = c->round->input;
    struct sw_tensor *inputs SW_AUTO_FREE = sw_xcalloc(input->count + 1, sizeof *inputs); /* its own; data is shared */
    struct sw_arena arena;
    memcpy(inputs, input->tensors, input->count * sizeof *inputs);
    sw_arena_init(&arena, 0, ARENA_RETAIN);
    pthread_mutex_lock(&c->round->gate);
    pthread_mutex_unlock(&c->round->gate);
    while (!c->status && !atomic_load_explicit(&c->round->stop, memory_order_relaxed) &&
           (c->run_ns->count < RUNS_MIN || c->ended_ns < c->round->end_ns)) {
        c->status = run_once(c, inputs, &arena);
    }
    if (c->status) {
        atomic_store_explicit(&c->round->stop, true, memory_order_relaxed);
    }
    sw_arena_deinit(&arena);
    return NULL;
}

/* Adds what the callers measured to the cell. */
static sw_status sum_up(struct sw_sweep_cell *cell, struct caller *callers, unsigned started, uint64_t start_ns,
                        struct sw_error *err) {
    uint64_t runs = 0, ended_ns = start_ns + 1;
    sw_status status = SW_OK;
    for (unsigned i = 0; i < started; i++) {
        if (callers[i].status && !status) {
            status = callers[i].status;
            *err = callers[i].err;
        }
        runs += callers[i].run_ns->count;
        ended_ns = callers[i].ended_ns > ended_ns ? callers[i].ended_ns : ended_ns;
        sw_histogram_merge(cell->run_ns, callers[i].run_ns);
    }
    cell->round_rows_per_s[cell->rounds++] = (double)runs * (double)cell->batch / ((double)(ended_ns - start_ns) / 1e9);
    return status;
}

static sw_status measure_round(const struct sw_model *model, const struct sw_bench_input *input, uint64_t time_ns,
                               struct sw_sweep_cell *cell, struct sw_error *err) {
    struct caller *callers SW_AUTO_FREE = sw_xcalloc(cell->callers, sizeof *callers);
    struct round round = {.model = model, .input = input};
    sw_status status = SW_OK;
    unsigned started = 0;
    pthread_mutex_init(&round.gate, NULL);
    pthread_mutex_lock(&round.gate);
    for (; started < cell->callers && !status; started += !status) {
        struct caller *c = &callers[started];
        *c = (struct caller){.round = &round, .run_ns = SW_NEW(struct sw_histogram)};
        status = sw_thread_start(&c->thread, "sw-bench", 0, call, c, err);
    }
    uint64_t start_ns = sw_now_ns(sw_clock_system());
    round.end_ns = start_ns + time_ns;
    round.stop = status != SW_OK;
    pthread_mutex_unlock(&round.gate);
    for (unsigned i = 0; i < started; i++) {
        pthread_join(callers[i].thread, NULL);
    }
    pthread_mutex_destroy(&round.gate);
    if (!status) {
        status = sum_up(cell, callers, started, start_ns, err);
    }
    for (unsigned i = 0; i < cell->callers; i++) {
        sw_free(callers[i].run_ns);
    }
    return status;
}

/* --- all cells ---------------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void show_progress(const struct sweep *s, const struct sw_sweep_cell *cell, unsigned round) {
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r%u thread%s, %lld row%s, round %u of %d   ", cell->threads, cell->threads == 1 ? "" : "s",
                (long long)cell->batch, cell->batch == 1 ? "" : "s", round + 1, SW_SWEEP_ROUNDS);
    }
}

static void fail_cell(struct sw_sweep_cell *cell, const struct sw_error *err) {
    cell->failed = true;
    snprintf(cell->reason, sizeof cell->reason, "%s", err->message);
}

/* The cells of one loaded model: the request repeated 1, 2, 4, ... times. */
static void plan_cells(struct sweep *s, const struct sw_model *model, const struct sw_bench_input *base,
                       unsigned threads, unsigned callers) {
    int64_t batch = base->batch;
    do {
        SW_ASSERT(s->cell_count < SWEEP_CELLS_MAX);
        s->cells[s->cell_count++] = (struct sw_sweep_cell){
            .threads = threads, .callers = callers, .batch = batch, .run_ns = SW_NEW(struct sw_histogram)};
        batch *= 2;
    } while (model->batchable && batch <= s->batch_max);
}

/* Makes the requests of the cells; a cell whose request the model does not run has failed. */
static void make_inputs(struct sweep *s, size_t first, const struct sw_model *model, const struct sw_bench_input *base,
                        struct sw_arena *arena, struct sw_bench_input *inputs) {
    struct sw_error err;
    for (size_t i = first; i < s->cell_count; i++) {
        if (sw_bench_input_repeat(model, base, s->cells[i].batch / base->batch, arena, &inputs[i - first], &err)) {
            fail_cell(&s->cells[i], &err);
        }
    }
}

static void measure_cells(struct sweep *s, size_t first, const struct sw_model *model,
                          const struct sw_bench_input *inputs) {
    struct sw_error err;
    for (unsigned round = 0; round < SW_SWEEP_ROUNDS; round++) {
        for (size_t i = first; i < s->cell_count; i++) {
            struct sw_sweep_cell *cell = &s->cells[i];
            show_progress(s, cell, round);
            if (!cell->failed && measure_round(model, &inputs[i - first], s->time_ns / SW_SWEEP_ROUNDS, cell, &err)) {
                fail_cell(cell, &err);
            }
        }
    }
    for (size_t i = first; i < s->cell_count; i++) {
        struct sw_sweep_cell *cell = &s->cells[i];
        double sorted[SW_SWEEP_ROUNDS];
        memcpy(sorted, cell->round_rows_per_s, sizeof sorted);
        qsort(sorted, SW_SWEEP_ROUNDS, sizeof *sorted, by_value);
        cell->rows_per_s = cell->failed ? 0 : sorted[SW_SWEEP_ROUNDS / 2];
    }
}

static sw_status sweep_model(struct sweep *s, const struct sw_model *model, unsigned threads, unsigned callers,
                             struct sw_error *err) {
    struct sw_arena arena;
    struct sw_bench_input base, inputs[SWEEP_CELLS_MAX];
    sw_arena_init(&arena, 0, 0);
    sw_status status = sw_bench_input_make(model, sw_args_text(s->args, SW_OPTION_INPUT), 1, &arena, &base, err);
    if (!status) {
        size_t first = s->cell_count;
        snprintf(s->source, sizeof s->source, "%s", base.source);
        plan_cells(s, model, &base, threads, callers);
        make_inputs(s, first, model, &base, &arena, inputs);
        measure_cells(s, first, model, inputs);
    }
    sw_arena_deinit(&arena);
    return status;
}

static sw_status sweep_threads(struct sweep *s, struct sw_cli_engines *engines, unsigned threads, unsigned callers,
                               struct sw_error *err) {
    struct sw_model_options options = sw_cli_model_options(engines, threads);
    struct sw_model *model;
    options.skip_golden = true;
    options.threads = threads;
    SW_TRY(sw_model_load(s->args->positional[0], NULL, 1, &options, &model, err));
    snprintf(s->name, sizeof s->name, "%s", model->name);
    s->batchable = model->batchable;
    s->engine = model->session->engine->ops->name;
    s->engine_version = model->session->engine->ops->version(model->session->engine);
    sw_status status = sweep_model(s, model, threads, callers, err);
    sw_model_unref(model);
    return status;
}

/* --- options ------------------------------------------------------------------------------------------------------ */

static sw_status read_options(struct sweep *s, struct sw_error *err) {
    static const struct {
        enum sw_option_id id;
        const char *name;
    } others[] = {{SW_OPTION_BATCH, "batch"},
                  {SW_OPTION_ITERATIONS, "iterations"},
                  {SW_OPTION_THREADS, "threads"},
                  {SW_OPTION_WARMUP, "warmup"}};
    const char *time = sw_args_text(s->args, SW_OPTION_TIME), *limit = sw_args_text(s->args, SW_OPTION_MAX_LATENCY_MS);
    uint64_t us;
    for (size_t i = 0; i < SW_COUNTOF(others); i++) {
        if (sw_args_has(s->args, others[i].id)) {
            return sw_fail(err, SW_E_USAGE, "--%s does not go with --sweep", others[i].name);
        }
    }
    if (!sw_parse_duration(sw_str_of(time), &us) || us < 1000 || us > 3600000000u) {
        return sw_fail(err, SW_E_USAGE, "--time is '%s', but must be a duration from 1ms to 1h", time);
    }
    s->latency_max_ms = -1;
    if (limit && (!sw_parse_decimal(limit, &s->latency_max_ms) || s->latency_max_ms < 0)) {
        return sw_fail(err, SW_E_USAGE, "--max-latency-ms is '%s', but must be a number from 0 on", limit);
    }
    s->time_ns = us * 1000;
    s->batch_max = (int64_t)sw_args_integer(s->args, SW_OPTION_MAX_BATCH);
    return SW_OK;
}

static sw_status measure(struct sweep *s, struct sw_cli_engines *engines, unsigned pool_threads, struct sw_error *err) {
    unsigned callers = sw_cpu_count() < CALLERS_MAX ? sw_cpu_count() : CALLERS_MAX;
    SW_TRY(sweep_threads(s, engines, 1, callers, err));
    return pool_threads > 1 ? sweep_threads(s, engines, pool_threads, 1, err) : SW_OK;
}

sw_status sw_bench_sweep(const struct sw_args *args, struct sw_cli_engines *engines, unsigned pool_threads,
                         struct sw_error *err) {
    struct sweep *s SW_AUTO_FREE = SW_NEW(struct sweep);
    s->args = args;
    SW_TRY(read_options(s, err));
    sw_status status = measure(s, engines, pool_threads, err);
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r%60s\r", "");
    }
    if (!status) {
        s->advice = sw_sweep_advise(s->cells, s->cell_count, s->latency_max_ms);
        status = sweep_report(s, err);
    }
    for (size_t i = 0; i < s->cell_count; i++) {
        sw_free(s->cells[i].run_ns);
    }
    return status;
}
