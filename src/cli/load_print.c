/* Report and progress of `slipway load`; see load_print.h. */
#include "cli/load_print.h"

#include <unistd.h>

#include "base/memory.h"
#include "cli/cli.h"
#include "cli/table.h"
#include "cli/units.h"
#include "load/report.h"

static const double BUSY_SHARE = 0.9; /* of its threads' time, from which on the client may be what is measured */

/* --- progress ----------------------------------------------------------------------------------------------------- */

void sw_load_progress_row(void *arg, const struct sw_load_row *row) {
    struct sw_load_progress *p = arg;
    char rate[32], failed[32], p50[SW_UNIT_TEXT_MAX], p99[SW_UNIT_TEXT_MAX];
    p->failed += row->requests - row->successes;
    if (!isatty(STDERR_FILENO) || row->seconds <= 0) {
        return;
    }
    double per_s = (double)row->successes / row->seconds, total_s = (double)p->settings->duration_ns / 1e9;
    sw_format_latency(row->p50_ms, p50);
    sw_format_latency(row->p99_ms, p99);
    fprintf(stderr, "\r%s%.0f of %.0f s  %s requests/s  p50 %s  p99 %s  %s failed   ", row->at_s <= 0 ? "warm-up " : "",
            row->at_s < total_s ? row->at_s : total_s, total_s, sw_cli_thousands((uint64_t)(per_s + 0.5), rate), p50,
            p99, sw_cli_thousands(p->failed, failed));
    p->drawn = true;
}

void sw_load_progress_end(struct sw_load_progress *p) {
    if (p->drawn) {
        fprintf(stderr, "\r%79s\r", "");
        p->drawn = false;
    }
}

/* --- report ------------------------------------------------------------------------------------------------------- */

static void print_head(const struct sw_load_settings *s, const struct sw_load_result *result) {
    char rate[32];
    printf("%s://%s%s\n", s->url->tls ? "https" : "http", s->url->authority, s->url->target);
    printf("%.1f s%s, %u connection%s on %u thread%s, ", (double)result->measured_ns / 1e9,
           result->interrupted ? " (interrupted)" : "", s->connections, s->connections == 1 ? "" : "s", s->threads,
           s->threads == 1 ? "" : "s");
    if (s->rate_per_s > 0) {
        snprintf(rate, sizeof rate, "%.9g", s->rate_per_s);
        printf("open loop of %s requests/s, %s\n\n", rate,
               s->arrivals == SW_ARRIVALS_POISSON ? "Poisson arrivals" : "constant arrivals");
    } else {
        printf("closed loop\n\n");
    }
}

static void print_latency(const struct sw_histogram *h) {
    static const struct {
        const char *label;
        double percent;
    } lines[] = {{"median", 50}, {"p90", 90}, {"p95", 95}, {"p99", 99}, {"p99.9", 99.9}, {"max", 100}};
    char text[SW_UNIT_TEXT_MAX], deviation[SW_UNIT_TEXT_MAX];
    if (h->count == 0) {
        return;
    }
    for (size_t i = 0; i < SW_COUNTOF(lines); i++) {
        sw_format_latency(sw_histogram_percentile(h, lines[i].percent) / 1e6, text);
        printf("  %-10s %12s\n", lines[i].label, text);
    }
    sw_format_latency(h->mean / 1e6, text);
    sw_format_latency(sw_histogram_deviation(h) / 1e6, deviation);
    printf("  %-10s %12s, standard deviation %s\n", "mean", text, deviation);
}

static void print_failures(const struct sw_load_totals *t) {
    char number[32];
    for (size_t i = SW_LOAD_SUCCESS + 1; i < SW_LOAD_OUTCOME_COUNT; i++) {
        if (t->outcomes[i]) {
            char *reason SW_AUTO_FREE = sw_text_clean(t->reasons[i]);
            printf("  %-10s %12s  such as: %s\n", sw_load_outcome_name((enum sw_load_outcome)i),
                   sw_cli_thousands(t->outcomes[i], number), reason);
        }
    }
}

static void print_statuses(const struct sw_load_totals *t) {
    bool first = true;
    char number[32];
    for (size_t i = 0; i < SW_LOAD_STATUS_COUNT; i++) {
        if (t->statuses[i]) {
            printf("%s%zu: %s", first ? "  statuses   " : ", ", i, sw_cli_thousands(t->statuses[i], number));
            first = false;
        }
    }
    printf("%s", first ? "" : "\n");
}

static void print_open_loop(const struct sw_load_totals *t) {
    char late[32], most[32], lag[SW_UNIT_TEXT_MAX];
    sw_format_latency(sw_histogram_percentile(&t->lag_ns, 99) / 1e6, lag);
    printf("  %-10s %12s  due when no connection was free; at most %s waited; sent behind schedule p99: %s\n", "late",
           sw_cli_thousands(t->late, late), sw_cli_thousands(t->backlog_max, most), lag);
}

static void print_client(const struct sw_load_settings *s, const struct sw_load_result *result) {
    double share = result->wall_ns ? (double)result->cpu_ns / (double)result->wall_ns / s->threads : 0;
    printf("  %-10s %9.1f us  of the client's processor time a request, %.0f %% of %u thread%s\n", "cost",
           sw_load_cpu_us(result), share * 100, s->threads, s->threads == 1 ? "" : "s");
    if (share > BUSY_SHARE) {
        printf("\nThe client was busy nearly all the time: these may be its limits, not those of the server.\n");
    }
}

void sw_load_print(const struct sw_load_settings *settings, const struct sw_load_result *result) {
    const struct sw_load_totals *t = result->totals;
    char number[32];
    uint64_t requests = sw_load_requests(t);
    print_head(settings, result);
    printf("  %-10s %12s\n", "requests", sw_cli_thousands(requests, number));
    printf("  %-10s %12s  (%.3g %%)\n", "failed", sw_cli_thousands(requests - t->outcomes[SW_LOAD_SUCCESS], number),
           sw_load_error_rate(result) * 100);
    print_failures(t);
    printf("  %-10s %12s  successes/s\n", "throughput",
           sw_cli_thousands((uint64_t)(sw_load_throughput(result) + 0.5), number));
    print_latency(&t->latency_ns);
    if (settings->rate_per_s > 0) {
        print_open_loop(t);
    }
    print_statuses(t);
    print_client(settings, result);
}
