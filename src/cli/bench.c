/* slipway bench: one thread runs one request again and again through sw_model_infer, steps included, and each run is
 * timed. Everything a run allocates comes from an arena that is reset outside the timed part, as the server does after
 * the answer is sent. */
#include "cli/bench_input.h"

#include <errno.h>
#include <math.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "cli/cli.h"
#include "cli/engines.h"

enum { ARENA_RETAIN = 64 << 20 };
static const uint64_t PROGRESS_EVERY_NS = 200000000;

struct bench {
    const struct sw_args *args;
    struct sw_model *model;
    struct sw_bench_input input;
    struct sw_arena arena; /* of one run */
    uint64_t iterations;
    uint64_t *run_ns;     /* one a measured run; sorted in the end */
    uint64_t elapsed_ns;  /* sum of them */
    uint64_t progress_ns; /* when progress was last shown */
    unsigned threads;
};

static sw_status run_once(struct bench *b, uint64_t *ret_ns, struct sw_error *err) {
    struct sw_clock *clock = sw_clock_system();
    struct sw_inference inference = {.inputs = b->input.tensors, .input_count = b->input.count};
    uint64_t start = sw_now_ns(clock);
    SW_TRY(sw_model_infer(b->model, &inference, &b->arena, clock, err));
    *ret_ns = sw_now_ns(clock) - start;
    sw_arena_reset(&b->arena);
    return SW_OK;
}

static void show_progress(struct bench *b, uint64_t done) {
    uint64_t now = sw_now_ns(sw_clock_system());
    if (now - b->progress_ns >= PROGRESS_EVERY_NS && isatty(STDERR_FILENO)) {
        char number[32], of[32];
        b->progress_ns = now;
        fprintf(stderr, "\r%s of %s runs ", sw_cli_thousands(done, number), sw_cli_thousands(b->iterations, of));
    }
}

static void clear_progress(void) {
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r%40s\r", "");
    }
}

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static sw_status measure(struct bench *b, struct sw_error *err) {
    uint64_t ignored;
    b->progress_ns = sw_now_ns(sw_clock_system());
    for (uint64_t i = 0; i < sw_args_integer(b->args, SW_OPTION_WARMUP); i++) {
        SW_TRY(run_once(b, &ignored, err));
    }
    for (uint64_t i = 0; i < b->iterations; i++) {
        SW_TRY(run_once(b, &b->run_ns[i], err));
        b->elapsed_ns += b->run_ns[i];
        if (i % 16 == 0) {
            show_progress(b, i);
        }
    }
    qsort(b->run_ns, b->iterations, sizeof *b->run_ns, by_value);
    return SW_OK;
}

/* Smallest value with at least p percent of the values at or below it, in milliseconds (nearest rank). */
static double percentile_ms(const struct bench *b, double p) {
    uint64_t rank = (uint64_t)ceil(p / 100 * (double)b->iterations);
    return (double)b->run_ns[rank > 0 ? rank - 1 : 0] / 1e6;
}

static json_t *to_json(const struct bench *b) {
    double n = (double)b->iterations;
    double mean_ms = (double)b->elapsed_ns / n / 1e6;
    double per_s = n / ((double)b->elapsed_ns / 1e9);
    const struct sw_engine *engine = b->model->session->engine;
    json_t *latency = json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "min", percentile_ms(b, 0), "mean", mean_ms,
                                "p50", percentile_ms(b, 50), "p90", percentile_ms(b, 90), "p95", percentile_ms(b, 95),
                                "p99", percentile_ms(b, 99), "max", percentile_ms(b, 100));
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:i, s:s, s:o, s:f, s:f, s:I, s:f, s:s, s:s, s:s}", "model",
                     b->model->name, "path", b->model->bundle->path, "iterations", (json_int_t)b->iterations, "warmup",
                     (json_int_t)sw_args_integer(b->args, SW_OPTION_WARMUP), "batch", (json_int_t)b->input.batch,
                     "threads", (int)b->threads, "input", b->input.source, "latency_ms", latency, "throughput_per_s",
                     per_s, "rows_per_s", per_s * (double)b->input.batch, "errors", (json_int_t)0, "error_rate", 0.0,
                     "slipway", SW_VERSION, "engine", engine->ops->name, "engine_version",
                     engine->ops->version(b->model->session->engine));
}

static void print_time(const char *label, double ms) {
    if (ms < 1) {
        printf("  %-10s %10.1f us\n", label, ms * 1e3);
    } else {
        printf("  %-10s %10.3f ms\n", label, ms);
    }
}

static void print_result(const struct bench *b) {
    char number[32], rows[32];
    double per_s = (double)b->iterations / ((double)b->elapsed_ns / 1e9);
    printf("%s: %s runs of %lld %s, input: %s, %u %s\n\n", b->model->name, sw_cli_thousands(b->iterations, number),
           (long long)b->input.batch, b->input.batch == 1 ? "row" : "rows", b->input.source, b->threads,
           b->threads == 1 ? "thread" : "threads");
    print_time("median", percentile_ms(b, 50));
    print_time("p90", percentile_ms(b, 90));
    print_time("p95", percentile_ms(b, 95));
    print_time("p99", percentile_ms(b, 99));
    print_time("min", percentile_ms(b, 0));
    print_time("max", percentile_ms(b, 100));
    printf("  %-10s %10s runs/s", "throughput", sw_cli_thousands((uint64_t)(per_s + 0.5), number));
    if (b->input.batch > 1) {
        printf(", %s rows/s", sw_cli_thousands((uint64_t)(per_s * (double)b->input.batch + 0.5), rows));
    }
    printf("\n");
}

static sw_status report(const struct bench *b, struct sw_error *err) {
    const char *output = sw_args_text(b->args, SW_OPTION_OUTPUT);
    json_t *json = to_json(b);
    sw_status status = output ? sw_cli_write_json(output, json, err) : SW_OK;
    if (sw_args_has(b->args, SW_OPTION_JSON)) {
        sw_cli_print_json(stdout, json);
    } else {
        print_result(b);
    }
    json_decref(json);
    return status;
}

static sw_status bench_model(struct bench *b, struct sw_error *err) {
    struct sw_arena inputs;
    sw_arena_init(&inputs, 0, 0);
    sw_arena_init(&b->arena, 0, ARENA_RETAIN);
    b->run_ns = sw_calloc(b->iterations, sizeof *b->run_ns);
    sw_status status = b->run_ns ? SW_OK : sw_fail(err, SW_E_TOO_LARGE, "--iterations: no memory for that many times");
    if (!status) {
        status = sw_bench_input_make(b->model, sw_args_text(b->args, SW_OPTION_INPUT),
                                     (int64_t)sw_args_integer(b->args, SW_OPTION_BATCH), &inputs, &b->input, err);
    }
    if (!status) {
        status = measure(b, err);
        clear_progress();
    }
    if (!status) {
        status = report(b, err);
    }
    sw_free(b->run_ns);
    sw_arena_deinit(&b->arena);
    sw_arena_deinit(&inputs);
    return status;
}

static sw_status load_and_bench(struct bench *b, struct sw_cli_engines *engines, struct sw_error *err) {
    unsigned threads = (unsigned)sw_args_integer(b->args, SW_OPTION_THREADS);
    struct sw_model_options options = sw_cli_model_options(engines, threads);
    options.skip_golden = true;
    SW_TRY(sw_model_load(b->args->positional[0], NULL, 1, &options, &b->model, err));
    b->threads = b->model->bundle->threads ? b->model->bundle->threads : threads;
    sw_status status = bench_model(b, err);
    sw_model_unref(b->model);
    return status;
}

int sw_run_bench(const struct sw_args *args) {
    int code;
    struct sw_error err;
    struct sw_config *config = sw_cli_config(args, &code);
    if (!config) {
        return code;
    }
    struct sw_cli_engines engines = {.count = 0};
    struct bench b = {.args = args, .iterations = sw_args_integer(args, SW_OPTION_ITERATIONS)};
    sw_status status = sw_cli_engines_open(config, &engines, &err);
    if (!status) {
        status = load_and_bench(&b, &engines, &err);
    }
    sw_cli_engines_close(&engines);
    sw_config_destroy(config);
    return status ? sw_cli_fail(args, &err) : SW_EXIT_DONE;
}
