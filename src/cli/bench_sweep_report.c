/* Table, advice and JSON of a sweep. */
#include <jansson.h>

#include "base/memory.h"
#include "base/thread.h"
#include "cli/bench_sweep_internal.h"
#include "cli/cli.h"
#include "cli/table.h"
#include "cli/units.h"
#include "load/report.h"

/* --- JSON --------------------------------------------------------------------------------------------------------- */

static json_t *cell_json(const struct sw_sweep_cell *c) {
    json_t *json = json_pack("{s:i, s:i, s:I}", "threads", (int)c->threads, "callers", (int)c->callers, "batch",
                             (json_int_t)c->batch);
    if (c->failed) {
        json_object_set_new(json, "failed", json_string(c->reason));
    } else {
        json_object_set_new(json, "runs", json_integer((json_int_t)c->run_ns->count));
        json_object_set_new(json, "rows_per_s", json_real(c->rows_per_s));
        json_object_set_new(json, "latency_ms", sw_report_latency(c->run_ns));
    }
    return json;
}

/* What `slo check` reads is that of the advised cell, each row taken for a request. */
static void add_advice(const struct sweep *s, json_t *json) {
    const struct sw_sweep_cell *c = &s->cells[s->advice.cell];
    json_t *advice = json_pack("{s:i, s:f, s:f, s:b}", "threads", (int)c->threads, "rows_per_s", c->rows_per_s, "gain",
                               s->advice.gain, "limit_met", s->advice.limit_met);
    if (s->batchable) {
        json_object_set_new(advice, "max_batch", json_integer((json_int_t)c->batch));
    }
    json_object_set_new(json, "recommendation", advice);
    json_object_set_new(json, "requests", json_integer((json_int_t)c->run_ns->count * (json_int_t)c->batch));
    json_object_set_new(json, "throughput_per_s", json_real(c->rows_per_s));
    json_object_set_new(json, "error_rate", json_real(0));
    json_object_set_new(json, "latency_ms", sw_report_latency(c->run_ns));
    json_object_set_new(json, "latency_histogram", sw_report_histogram(c->run_ns));
}

static json_t *to_json(const struct sweep *s) {
    json_t *cells = json_array();
    for (size_t i = 0; i < s->cell_count; i++) {
        json_array_append_new(cells, cell_json(&s->cells[i]));
    }
    json_t *json = json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:i, s:f, s:i, s:b, s:s, s:s, s:o}", "kind", "bench_sweep",
                             "format", 1, "slipway", SW_VERSION, "model", s->name, "path", s->args->positional[0],
                             "input", s->source, "processors", (int)sw_cpu_count(), "cell_s", (double)s->time_ns / 1e9,
                             "rounds", SW_SWEEP_ROUNDS, "batchable", s->batchable, "engine", s->engine,
                             "engine_version", s->engine_version, "cells", cells);
    if (s->latency_max_ms >= 0) {
        json_object_set_new(json, "max_latency_ms", json_real(s->latency_max_ms));
    }
    if (s->advice.cell != SIZE_MAX) {
        add_advice(s, json);
    }
    return json;
}

/* --- text --------------------------------------------------------------------------------------------------------- */

static void add_time(struct sw_table *table, const struct sw_sweep_cell *c, double percent) {
    char text[SW_UNIT_TEXT_MAX];
    sw_format_latency(sw_histogram_percentile(c->run_ns, percent) / 1e6, text);
    sw_table_cell(table, c->failed ? NULL : text);
}

static double best_rows_per_s(const struct sweep *s) {
    double best = 0;
    for (size_t i = 0; i < s->cell_count; i++) {
        best = s->cells[i].rows_per_s > best ? s->cells[i].rows_per_s : best;
    }
    return best;
}

static void print_table(const struct sweep *s) {
    struct sw_table table;
    double best = best_rows_per_s(s);
    sw_table_init(&table, ">THREADS", ">CALLERS", ">ROWS A RUN", ">ROWS/S", ">OF BEST", ">MEDIAN RUN", ">P95", ">P99",
                  NULL);
    for (size_t i = 0; i < s->cell_count; i++) {
        const struct sw_sweep_cell *c = &s->cells[i];
        char rows[32], share[16];
        snprintf(share, sizeof share, "%.0f %%", best > 0 ? c->rows_per_s / best * 100 : 0);
        sw_table_cell_number(&table, c->threads);
        sw_table_cell_number(&table, c->callers);
        sw_table_cell_number(&table, (uint64_t)c->batch);
        sw_table_cell(&table, c->failed ? "failed" : sw_cli_thousands((uint64_t)(c->rows_per_s + 0.5), rows));
        sw_table_cell(&table, c->failed ? NULL : share);
        add_time(&table, c, 50);
        add_time(&table, c, 95);
        add_time(&table, c, 99);
    }
    sw_table_print(&table, stdout, sw_cli_terminal_width());
    sw_table_deinit(&table);
}

static void print_failures(const struct sweep *s) {
    for (size_t i = 0; i < s->cell_count; i++) {
        const struct sw_sweep_cell *c = &s->cells[i];
        if (c->failed) {
            char *reason SW_AUTO_FREE = sw_text_clean(c->reason);
            printf("%lld rows, %u thread%s: %s\n", (long long)c->batch, c->threads, c->threads == 1 ? "" : "s", reason);
        }
    }
}

static void print_advice(const struct sweep *s) {
    const struct sw_sweep_cell *c = &s->cells[s->advice.cell];
    char p95[SW_UNIT_TEXT_MAX], rows[32];
    sw_format_latency(sw_histogram_percentile(c->run_ns, 95) / 1e6, p95);
    if (!s->advice.limit_met) {
        printf("\nNo setting keeps p95 within %.6g ms; the nearest is:\n\n", s->latency_max_ms);
    } else {
        printf("\nFor bundle.yaml (%s rows/s, %.2f times that of the smallest batch, p95 of a run %s):\n\n",
               sw_cli_thousands((uint64_t)(c->rows_per_s + 0.5), rows), s->advice.gain, p95);
    }
    if (s->batchable) {
        printf("  batching: { max_batch: %lld }\n", (long long)c->batch);
    }
    printf("  instances: { threads: %u }\n", c->threads);
    if (!s->batchable) {
        printf("\nRows cannot be batched: dimension 0 of an input or output is fixed.\n");
    }
}

sw_status sweep_report(const struct sweep *s, struct sw_error *err) {
    const char *output = sw_args_text(s->args, SW_OPTION_OUTPUT);
    json_t *json = to_json(s);
    sw_status status = output ? sw_cli_write_json(output, json, err) : SW_OK;
    if (sw_args_has(s->args, SW_OPTION_JSON)) {
        sw_cli_print_json(stdout, json);
    } else {
        printf("%s: %.3g s a line in %d rounds, input: %s\n\n", s->name, (double)s->time_ns / 1e9, SW_SWEEP_ROUNDS,
               s->source);
        print_table(s);
        print_failures(s);
        if (s->advice.cell != SIZE_MAX) {
            print_advice(s);
        }
    }
    json_decref(json);
    if (!status && s->advice.cell == SIZE_MAX) {
        return sw_fail(err, SW_E_INFERENCE_FAILED, "no setting runs: %s", s->cells[0].reason);
    }
    if (!status && !s->advice.limit_met) {
        return sw_fail(err, SW_E_GATE_FAILED, "no setting keeps p95 within %.6g ms", s->latency_max_ms);
    }
    return status;
}
