/* slipway bench: one thread runs one request again and again through sw_model_infer, steps included, and each run is
 * timed. Everything a run allocates comes from an arena that is reset outside the timed part, as the server does after
 * the answer is sent. */
#include "cli/bench_input.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/thread.h"
#include "cli/bench_sweep.h"
#include "cli/cli.h"
#include "cli/engines.h"
#include "cli/units.h"
#include "load/report.h"

enum { ARENA_RETAIN = 64 << 20 };
static const uint64_t PROGRESS_EVERY_NS = 200000000;

struct bench {
    const struct sw_args *args;
    struct sw_model *model;
    struct sw_bench_input input;
    struct sw_arena arena; /* of one run */
    uint64_t iterations;
    struct sw_histogram *run_ns; /* of the measured runs */
    uint64_t elapsed_ns;         /* sum of them */
    uint64_t progress_ns;        /* when progress was last shown */
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

static sw_status measure(struct bench *b, struct sw_error *err) {
    uint64_t run_ns;
    b->progress_ns = sw_now_ns(sw_clock_system());
    for (uint64_t i = 0; i < sw_args_integer(b->args, SW_OPTION_WARMUP); i++) {
        SW_TRY(run_once(b, &run_ns, err));
    }
    for (uint64_t i = 0; i < b->iterations; i++) {
        SW_TRY(run_once(b, &run_ns, err));
        sw_histogram_record(b->run_ns, run_ns);
        b->elapsed_ns += run_ns;
        if (i % 16 == 0) {
            show_progress(b, i);
        }
    }
    return SW_OK;
}

static double percentile_ms(const struct bench *b, double percent) {
    return sw_histogram_percentile(b->run_ns, percent) / 1e6;
}

static json_t *to_json(const struct bench *b) {
    double per_s = (double)b->iterations / ((double)b->elapsed_ns / 1e9);
    const struct sw_engine *engine = b->model->session->engine;
    json_t *json = json_pack("{s:s, s:i, s:s, s:s, s:s, s:I, s:I, s:I, s:i, s:s}", "kind", "bench", "format", 1,
                             "slipway", SW_VERSION, "model", b->model->name, "path", b->model->bundle->path,
                             "iterations", (json_int_t)b->iterations, "warmup",
                             (json_int_t)sw_args_integer(b->args, SW_OPTION_WARMUP), "batch",
                             (json_int_t)b->input.batch, "threads", (int)b->threads, "input", b->input.source);
    json_t *figures = json_pack("{s:I, s:I, s:f, s:f, s:f, s:o, s:s, s:s, s:o}", "requests", (json_int_t)b->iterations,
                                "errors", (json_int_t)0, "error_rate", 0.0, "throughput_per_s", per_s, "rows_per_s",
                                per_s * (double)b->input.batch, "latency_ms", sw_report_latency(b->run_ns), "engine",
                                engine->ops->name, "engine_version", engine->ops->version(b->model->session->engine),
                                "latency_histogram", sw_report_histogram(b->run_ns));
    json_object_update_new(json, figures);
    return json;
}

static void print_time(const char *label, double ms) {
    char text[SW_UNIT_TEXT_MAX];
    sw_format_latency(ms, text);
    printf("  %-10s %13s\n", label, text);
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
    b->run_ns = SW_NEW(struct sw_histogram);
    sw_status status = sw_bench_input_make(b->model, sw_args_text(b->args, SW_OPTION_INPUT),
                                           (int64_t)sw_args_integer(b->args, SW_OPTION_BATCH), &inputs, &b->input, err);
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

/* Options that belong to --sweep alone. */
static sw_status check_options(const struct sw_args *args, struct sw_error *err) {
    static const struct {
        enum sw_option_id id;
        const char *name;
    } of_sweep[] = {
        {SW_OPTION_TIME, "time"}, {SW_OPTION_MAX_BATCH, "max-batch"}, {SW_OPTION_MAX_LATENCY_MS, "max-latency-ms"}};
    for (size_t i = 0; i < SW_COUNTOF(of_sweep); i++) {
        if (sw_args_has(args, of_sweep[i].id)) {
            return sw_fail(err, SW_E_USAGE, "--%s needs --sweep", of_sweep[i].name);
        }
    }
    return SW_OK;
}

static sw_status run(struct bench *b, const struct sw_config *config, struct sw_cli_engines *engines,
                     struct sw_error *err) {
    bool sweep = sw_args_has(b->args, SW_OPTION_SWEEP);
    const char *output = sw_args_text(b->args, SW_OPTION_OUTPUT);
    SW_TRY(sweep ? SW_OK : check_options(b->args, err));
    SW_TRY(sw_cli_engines_open(config, engines, err));
    SW_TRY(output ? sw_cli_check_output(output, err) : SW_OK);
    if (!sweep) {
        return load_and_bench(b, engines, err);
    }
    unsigned pool = (unsigned)sw_config_number(config, SW_KEY_ENGINE_THREADS);
    return sw_bench_sweep(b->args, engines, pool ? pool : sw_cpu_count(), err);
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
    sw_status status = run(&b, config, &engines, &err);
    sw_cli_engines_close(&engines);
    sw_config_destroy(config);
    return status ? sw_cli_fail(args, &err) : SW_EXIT_DONE;
}
