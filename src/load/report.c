/* JSON of a result; see report.h and docs/load.md. */
#include "load/report.h"

json_t *sw_report_histogram(const struct sw_histogram *h) {
    json_t *buckets = json_array();
    for (size_t i = 0; i < SW_HISTOGRAM_BUCKETS; i++) {
        if (h->buckets[i]) {
            uint64_t low, width;
            sw_histogram_bucket(i, &low, &width);
            json_array_append_new(
                buckets, json_pack("[I, I, I]", (json_int_t)low, (json_int_t)width, (json_int_t)h->buckets[i]));
        }
    }
    return json_pack("{s:s, s:I, s:I, s:I, s:o}", "unit", "ns", "count", (json_int_t)h->count, "min",
                     (json_int_t)h->min, "max", (json_int_t)h->max, "buckets", buckets);
}

json_t *sw_report_latency(const struct sw_histogram *h) {
    static const struct {
        const char *name;
        double percent;
    } percentiles[] = {{"p50", 50}, {"p90", 90}, {"p95", 95}, {"p99", 99}, {"p99.9", 99.9}};
    json_t *json = json_pack("{s:f, s:f, s:f}", "min", (double)h->min / 1e6, "mean", h->mean / 1e6, "std",
                             sw_histogram_deviation(h) / 1e6);
    for (size_t i = 0; i < SW_COUNTOF(percentiles); i++) {
        double ns = sw_histogram_percentile(h, percentiles[i].percent);
        json_object_set_new(json, percentiles[i].name, json_real(ns / 1e6));
    }
    json_object_set_new(json, "max", json_real((double)h->max / 1e6));
    return json;
}

double sw_load_throughput(const struct sw_load_result *result) {
    return result->measured_ns ? (double)result->totals->answered / ((double)result->measured_ns / 1e9) : 0;
}

double sw_load_error_rate(const struct sw_load_result *result) {
    uint64_t requests = sw_load_requests(result->totals);
    return requests ? (double)(requests - result->totals->outcomes[SW_LOAD_SUCCESS]) / (double)requests : 0;
}

/* Requests of the warm-up cost too: those of all rows. */
double sw_load_cpu_us(const struct sw_load_result *result) {
    uint64_t requests = 0;
    for (size_t i = 0; i < result->row_count; i++) {
        requests += result->rows[i].requests;
    }
    return requests ? (double)result->cpu_ns / 1e3 / (double)requests : 0;
}

static json_t *failures_json(const struct sw_load_totals *totals) {
    json_t *json = json_object();
    for (size_t i = SW_LOAD_SUCCESS + 1; i < SW_LOAD_OUTCOME_COUNT; i++) {
        if (totals->outcomes[i]) {
            char reason[SW_LOAD_REASON_MAX];
            snprintf(reason, sizeof reason, "%s", totals->reasons[i]);
            for (char *c = reason; *c; c++) { /* bytes of a server */
                *c = (unsigned char)*c < ' ' || (unsigned char)*c >= 0x7f ? '?' : *c;
            }
            json_object_set_new(json, sw_load_outcome_name((enum sw_load_outcome)i),
                                json_pack("{s:I, s:s}", "count", (json_int_t)totals->outcomes[i], "example", reason));
        }
    }
    return json;
}

static json_t *statuses_json(const struct sw_load_totals *totals) {
    json_t *json = json_object();
    for (size_t i = 0; i < SW_LOAD_STATUS_COUNT; i++) {
        if (totals->statuses[i]) {
            char name[8];
            snprintf(name, sizeof name, "%zu", i);
            json_object_set_new(json, name, json_integer((json_int_t)totals->statuses[i]));
        }
    }
    return json;
}

static json_t *rows_json(const struct sw_load_result *result) {
    json_t *json = json_array();
    for (size_t i = 0; i < result->row_count; i++) {
        const struct sw_load_row *row = &result->rows[i];
        json_array_append_new(json, json_pack("{s:f, s:f, s:I, s:I, s:f, s:f, s:f, s:f}", "at_s", row->at_s, "seconds",
                                              row->seconds, "requests", (json_int_t)row->requests, "successes",
                                              (json_int_t)row->successes, "p50_ms", row->p50_ms, "p95_ms", row->p95_ms,
                                              "p99_ms", row->p99_ms, "max_ms", row->max_ms));
    }
    return json;
}

static json_t *open_loop_json(const struct sw_load_totals *totals) {
    return json_pack("{s:I, s:I, s:I, s:o}", "late", (json_int_t)totals->late, "dropped",
                     (json_int_t)totals->outcomes[SW_LOAD_DROPPED], "backlog_max", (json_int_t)totals->backlog_max,
                     "lag_ms", sw_report_latency(&totals->lag_ns));
}

json_t *sw_report_load(const struct sw_load_result *result, bool open_loop, json_t *settings) {
    char started[SW_TIMESTAMP_MAX];
    const struct sw_load_totals *t = result->totals;
    uint64_t requests = sw_load_requests(t), successes = t->outcomes[SW_LOAD_SUCCESS];
    sw_format_timestamp(result->started_wall_ms, started);
    json_t *json = json_pack("{s:s, s:i, s:s, s:s, s:o, s:f, s:b}", "kind", "load", "format", 1, "slipway", SW_VERSION,
                             "started", started, "settings", settings, "measured_s", (double)result->measured_ns / 1e9,
                             "interrupted", result->interrupted);
    json_t *figures = json_pack("{s:I, s:I, s:I, s:f, s:f, s:o, s:o, s:o}", "requests", (json_int_t)requests,
                                "successes", (json_int_t)successes, "errors", (json_int_t)(requests - successes),
                                "error_rate", sw_load_error_rate(result), "throughput_per_s",
                                sw_load_throughput(result), "latency_ms", sw_report_latency(&t->latency_ns), "failures",
                                failures_json(t), "statuses", statuses_json(t));
    json_t *rest = json_pack("{s:I, s:I, s:I, s:I, s:o, s:{s:f, s:f, s:f}, s:o, s:o}", "bytes_sent",
                             (json_int_t)t->bytes_sent, "bytes_received", (json_int_t)t->bytes_received, "resent",
                             (json_int_t)t->resent, "connections", (json_int_t)t->connections, "connect_ms",
                             sw_report_latency(&t->connect_ns), "client", "cpu_s", (double)result->cpu_ns / 1e9,
                             "wall_s", (double)result->wall_ns / 1e9, "cpu_us_per_request", sw_load_cpu_us(result),
                             "rows", rows_json(result), "latency_histogram", sw_report_histogram(&t->latency_ns));
    json_object_update_new(json, figures);
    if (open_loop) {
        json_object_set_new(json, "open_loop", open_loop_json(t));
    }
    json_object_update_new(json, rest);
    return json;
}
