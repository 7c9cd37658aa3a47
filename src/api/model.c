/* Statistics of a model version: series of the metrics registry, and the counters behind the statistics extension.
 *
 * Made when a version is first loaded, kept as long as the API, so that a reload counts on and a request may still
 * count after its model is gone. Counters are sharded by thread; a shard's updates are relaxed atomic additions on
 * lines that other threads rarely touch. Series of requests are made at their first use: (route, method, status) are
 * small closed sets, so what this allocates is bounded. */
#include "api/api_internal.h"
#include "base/thread.h"
#include "tensor/number.h"

enum { SHARDS = 8, BATCH_SIZES = 64, METHODS = SW_HTTP_OTHER + 1 };

/* Statuses the server answers with; others share the last slot. */
static const int statuses[] = {200, 204, 206, 304, 400, 401, 403, 404, 405, 408, 409,
                               413, 415, 417, 422, 429, 431, 499, 500, 501, 503, 504};
enum { STATUS_SLOTS = SW_COUNTOF(statuses) + 2 }; /* + nothing was answered, + any other */

/* Executions of one batch size; the first BATCH_SIZES sizes that a shard sees are told apart. */
struct batch {
    atomic_uint_fast64_t size; /* 0: free */
    atomic_uint_fast64_t count, input_ns, infer_ns, output_ns;
};

struct sw_api_shard {
    _Alignas(SW_CACHE_LINE) atomic_uint_fast64_t success, success_ns, fail, fail_ns;
    atomic_uint_fast64_t ran, queue_ns, input_ns, infer_ns, output_ns; /* of successes that were not in the cache */
    atomic_uint_fast64_t rows, executions, last_ns;
    atomic_uint_fast64_t hits, hit_ns, misses, miss_ns; /* of the result cache; times of whole requests */
    struct batch batches[BATCH_SIZES];
};

struct sw_api_routes_row {
    _Atomic(struct sw_series *) requests[METHODS][STATUS_SLOTS];
    _Atomic(struct sw_series *) durations[METHODS];
};

static struct sw_series *find_series(struct sw_metrics *metrics, _Atomic(struct sw_series *) *slot,
                                     enum sw_metric metric, const char *const *labels) {
    struct sw_series *series = atomic_load_explicit(slot, memory_order_acquire);
    if (SW_UNLIKELY(!series)) {
        /* Two threads may both come here: the registry gives both the same series. */
        series = sw_metrics_series(metrics, metric, labels);
        atomic_store_explicit(slot, series, memory_order_release);
    }
    return series;
}

static void make_series(struct sw_api *api, struct sw_api_model *m) {
    static const char *const names[] = {
        [SW_API_QUEUE] = "queue", [SW_API_PRE] = "pre", [SW_API_RUN] = "run", [SW_API_POST] = "post"};
    for (size_t i = 0; i < SW_COUNTOF(names); i++) {
        const char *labels[] = {m->name, m->version_text, names[i]};
        m->phases[i] = sw_metrics_series(api->options.metrics, SW_METRIC_SLIPWAY_INFERENCE_DURATION_SECONDS, labels);
    }
    const char *labels[] = {m->name, m->version_text};
    m->latency = sw_metrics_series(api->options.metrics, SW_METRIC_SLIPWAY_INFERENCE_LATENCY_SECONDS, labels);
    if (api->options.monitor) {
        m->recorder = sw_monitor_recorder(api->options.monitor, m->name, m->version_text);
    }
}

static void make_answer_head(struct sw_api_model *m) {
    struct sw_buf head;
    sw_buf_init(&head, 4096);
    SW_LIT(&head, "{\"model_name\":");
    sw_buf_append_json(&head, sw_str_of(m->name));
    SW_LIT(&head, ",\"model_version\":");
    sw_buf_append_json(&head, sw_str_of(m->version_text));
    SW_ASSERT(!head.failed); /* names are at most 128 bytes */
    m->answer_head = head.data;
    m->answer_head_length = head.len;
}

struct sw_api_model *sw_api_model_create(struct sw_api *api, const char *name, int64_t version) {
    struct sw_api_model *m = SW_NEW(struct sw_api_model);
    m->name = sw_xstrdup(name ? name : "");
    m->rows = sw_xcalloc(SW_ROUTE_INDEX_COUNT + 1, sizeof *m->rows);
    if (name) {
        snprintf(m->version_text, sizeof m->version_text, "%lld", (long long)version);
        m->shards = sw_aligned_alloc(SW_CACHE_LINE, SHARDS * sizeof *m->shards);
        SW_ASSERT(m->shards);
        memset((void *)m->shards, 0, SHARDS * sizeof *m->shards);
        make_series(api, m);
        make_answer_head(m);
        const char *labels[] = {m->name, m->version_text};
        m->batch_rows = sw_metrics_series(api->options.metrics, SW_METRIC_SLIPWAY_BATCH_ROWS, labels);
    }
    return m;
}

void sw_api_model_destroy(struct sw_api_model *m) {
    if (!m) {
        return;
    }
    for (size_t i = 0; i <= SW_ROUTE_INDEX_COUNT; i++) {
        sw_free(atomic_load(&m->rows[i]));
    }
    sw_free((void *)m->rows);
    sw_flow_destroy(m->flow);
    sw_free(m->shards);
    sw_free(m->answer_head);
    sw_free(m->name);
    sw_free(m);
}

/* ---- inferences */

static void add(atomic_uint_fast64_t *counter, uint64_t n) {
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static uint64_t get(const atomic_uint_fast64_t *counter) {
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* The shard's entry of a batch size, claimed at its first use; NULL when all are taken by other sizes. */
static struct batch *find_batch(struct sw_api_shard *shard, uint64_t size) {
    for (size_t i = 0; i < BATCH_SIZES; i++) {
        uint_fast64_t have = get(&shard->batches[i].size);
        if (have == 0) {
            atomic_compare_exchange_strong_explicit(&shard->batches[i].size, &have, size, memory_order_relaxed,
                                                    memory_order_relaxed);
            have = have ? have : size;
        }
        if (have == size) {
            return &shard->batches[i];
        }
    }
    return NULL;
}

/* `count` runs of `rows` rows each; times of all together, by phase. */
static void count_runs(struct sw_api_model *m, struct sw_api_shard *shard, uint64_t count, uint64_t rows,
                       const uint64_t *phase_ns) {
    add(&shard->rows, count * rows);
    add(&shard->executions, count);
    struct batch *batch = rows ? find_batch(shard, rows) : NULL; /* 0 rows: size 0 means free */
    if (batch) {
        add(&batch->count, count);
        add(&batch->input_ns, phase_ns[SW_API_PRE]);
        add(&batch->infer_ns, phase_ns[SW_API_RUN]);
        add(&batch->output_ns, phase_ns[SW_API_POST]);
    }
    for (uint64_t i = 0; i < count; i++) {
        sw_series_observe(m->batch_rows, rows);
    }
}

/* A worker. */
void sw_api_on_run(void *model_stats, const struct sw_batch_report *report) {
    struct sw_api_model *m = model_stats;
    if (report->status == SW_OK) {
        const uint64_t phase_ns[] = {
            [SW_API_QUEUE] = 0, [SW_API_PRE] = report->gather_ns, [SW_API_RUN] = report->run_ns, [SW_API_POST] = 0};
        count_runs(m, &m->shards[sw_thread_index() % SHARDS], 1, report->rows ? report->rows : 1, phase_ns);
    }
}

/* What came from the cache had no phases. false: it did not. */
static bool count_cached(struct sw_api_model *m, struct sw_api_shard *shard, const struct sw_api_sample *s) {
    bool hit = s->cache == SW_API_CACHE_HIT || s->cache == SW_API_CACHE_SHARED;
    if (s->cache != SW_API_CACHE_OFF) {
        sw_series_add(m->cache_requests[s->cache], 1);
    }
    if (hit || s->cache == SW_API_CACHE_MISS) {
        add(hit ? &shard->hits : &shard->misses, 1);
        add(hit ? &shard->hit_ns : &shard->miss_ns, s->total_ns);
    }
    return hit;
}

static void count_phases(struct sw_api_model *m, struct sw_api_shard *shard, const struct sw_api_sample *s) {
    add(&shard->ran, 1);
    add(&shard->queue_ns, s->phase_ns[SW_API_QUEUE]);
    add(&shard->input_ns, s->phase_ns[SW_API_PRE]);
    add(&shard->infer_ns, s->phase_ns[SW_API_RUN]);
    add(&shard->output_ns, s->phase_ns[SW_API_POST]);
    if (s->executions) {
        count_runs(m, shard, s->executions, s->batch_size, s->phase_ns);
    }
    for (size_t i = 0; i < SW_COUNTOF(s->phase_ns); i++) {
        sw_series_observe_ns(m->phases[i], s->phase_ns[i]);
    }
}

static void count_success(struct sw_api *api, struct sw_api_model *m, struct sw_api_shard *shard,
                          const struct sw_api_sample *s) {
    add(&shard->success, 1);
    add(&shard->success_ns, s->total_ns);
    atomic_store_explicit(&shard->last_ns, s->now_ns, memory_order_relaxed);
    sw_series_observe_ns(m->latency, s->total_ns);
    if (m->recorder) {
        sw_recorder_success(m->recorder, s->total_ns);
    }
    if (!count_cached(m, shard, s)) {
        count_phases(m, shard, s);
    }
}

/* Whose fault it was, by the status that the client gets. */
static enum sw_failure failure_of(const struct sw_api_sample *s) {
    int http = sw_status_http(s->status);
    if (s->client_gone) {
        return SW_FAILURE_CLIENT;
    }
    return http >= 500 ? SW_FAILURE_SERVER : http == 429 ? SW_FAILURE_REJECTED : SW_FAILURE_CLIENT;
}

void sw_api_model_count(struct sw_api *api, struct sw_api_model *m, const struct sw_api_sample *s) {
    struct sw_api_shard *shard = &m->shards[sw_thread_index() % SHARDS];
    if (SW_LIKELY(s->status == SW_OK)) {
        count_success(api, m, shard, s);
        return;
    }
    if (m->recorder) {
        sw_recorder_failure(m->recorder, failure_of(s));
    }
    add(&shard->fail, 1);
    add(&shard->fail_ns, s->total_ns);
    const char *labels[] = {m->name, m->version_text, sw_status_name(s->status)};
    sw_series_add(
        find_series(api->options.metrics, &m->failures[s->status], SW_METRIC_SLIPWAY_INFERENCE_FAILURES_TOTAL, labels),
        1);
}

/* One number a row, so that it is a prediction and no vector. */
static bool is_prediction(const struct sw_tensor *t, uint64_t rows) {
    return (t->dtype == SW_DTYPE_FP32 || t->dtype == SW_DTYPE_FP64) && t->count == rows;
}

/* Does it come from the graph, and not from an output step? */
static bool is_of_graph(const struct sw_model *model, struct sw_str name) {
    return sw_specs_find(model->session->engine->ops->outputs(model->session), name) != NULL;
}

static bool has_calibration(const struct sw_model *model) {
    for (size_t i = 0; i < model->output_step_count; i++) {
        if (strcmp(model->output_steps[i]->ops->name, "calibrate") == 0) {
            return true;
        }
    }
    return false;
}

/* A calibrated probability is the prediction rather than the score that it was made of; what other steps make, such as the
 * score of the best label, is none. Steps append their outputs in order, and calibrate is before those. */
static const struct sw_tensor *find_prediction(const struct sw_model *model, const struct sw_inference *run,
                                               uint64_t rows) {
    const struct sw_tensor *first = NULL;
    bool is_calibrated = has_calibration(model);
    for (size_t i = 0; i < run->output_count; i++) {
        const struct sw_tensor *t = &run->outputs[i];
        if (!is_prediction(t, rows)) {
            continue;
        }
        bool is_made = model->output_step_count > 0 && !is_of_graph(model, t->name);
        if (is_made && is_calibrated) {
            return t;
        }
        first = first || is_made ? first : t;
    }
    return first;
}

static const struct sw_tensor *find_verdict(const struct sw_inference *run) {
    for (size_t i = 0; i < run->output_count; i++) {
        if (run->outputs[i].dtype == SW_DTYPE_BOOL) {
            return &run->outputs[i];
        }
    }
    return NULL;
}

void sw_api_model_observe(struct sw_api_model *m, const struct sw_model *model, const struct sw_inference *run,
                          uint64_t rows) {
    if (!m->recorder) {
        return;
    }
    const struct sw_tensor *verdict = find_verdict(run), *prediction = find_prediction(model, run, rows);
    if (verdict) {
        sw_recorder_verdicts(m->recorder, verdict->data, verdict->count);
    }
    if (prediction && prediction->dtype == SW_DTYPE_FP32) {
        sw_recorder_predictions_f32(m->recorder, prediction->data, prediction->count);
    } else if (prediction) {
        sw_recorder_predictions_f64(m->recorder, prediction->data, prediction->count);
    }
}

/* ---- requests */

static size_t status_slot(int status) {
    for (size_t i = 0; i < SW_COUNTOF(statuses); i++) {
        if (statuses[i] == status) {
            return i;
        }
    }
    return status == 0 ? SW_COUNTOF(statuses) : SW_COUNTOF(statuses) + 1;
}

static const char *status_label(size_t slot, char text[8]) {
    if (slot < SW_COUNTOF(statuses)) {
        snprintf(text, 8, "%d", statuses[slot]);
        return text;
    }
    return slot == SW_COUNTOF(statuses) ? "none" : "other";
}

/* NULL: out of memory. */
static struct sw_api_routes_row *find_row(struct sw_api_model *m, size_t index) {
    struct sw_api_routes_row *row = atomic_load_explicit(&m->rows[index], memory_order_acquire);
    if (SW_LIKELY(row)) {
        return row;
    }
    struct sw_api_routes_row *fresh = sw_calloc(1, sizeof *fresh);
    if (fresh && !atomic_compare_exchange_strong(&m->rows[index], &row, fresh)) {
        sw_free(fresh); /* another thread was faster */
        return row;
    }
    return fresh;
}

void sw_api_model_count_http(struct sw_api *api, struct sw_api_model *m, const struct sw_http_exchange *x,
                             uint64_t duration_ns) {
    size_t index = x->route ? x->route->index : SW_ROUTE_INDEX_COUNT;
    const char *route = x->route ? x->route->path : "none";
    const char *method = x->method < SW_HTTP_OTHER ? sw_http_method_name(x->method) : "other";
    struct sw_api_routes_row *row = find_row(m, index);
    if (!row) {
        return;
    }
    size_t slot = status_slot(x->status);
    _Atomic(struct sw_series *) *requests = &row->requests[x->method][slot];
    if (SW_UNLIKELY(!atomic_load_explicit(requests, memory_order_relaxed))) {
        char text[8];
        const char *labels[] = {method, route, status_label(slot, text), m->name, m->version_text};
        find_series(api->options.metrics, requests, SW_METRIC_HTTP_REQUESTS_TOTAL, labels);
    }
    sw_series_add(atomic_load_explicit(requests, memory_order_acquire), 1);
    const char *labels[] = {method, route};
    sw_series_observe_ns(
        find_series(api->options.metrics, &row->durations[x->method], SW_METRIC_HTTP_REQUEST_DURATION_SECONDS, labels),
        duration_ns);
}

/* ---- the statistics extension */

struct totals {
    uint64_t success, success_ns, fail, fail_ns, ran, queue_ns, input_ns, infer_ns, output_ns, rows, executions,
        last_ns;
    uint64_t hits, hit_ns, misses, miss_ns;
    struct {
        uint64_t size, count, input_ns, infer_ns, output_ns;
    } batches[SHARDS * BATCH_SIZES];
    size_t batch_count;
};

static void add_batch(struct totals *t, const struct batch *batch) {
    uint64_t size = get(&batch->size);
    size_t i = 0;
    while (i < t->batch_count && t->batches[i].size != size) {
        i++;
    }
    if (size == 0) {
        return;
    }
    if (i == t->batch_count) {
        t->batches[t->batch_count++].size = size;
    }
    t->batches[i].count += get(&batch->count);
    t->batches[i].input_ns += get(&batch->input_ns);
    t->batches[i].infer_ns += get(&batch->infer_ns);
    t->batches[i].output_ns += get(&batch->output_ns);
}

static void add_shard(struct totals *t, const struct sw_api_shard *shard) {
    t->success += get(&shard->success);
    t->success_ns += get(&shard->success_ns);
    t->fail += get(&shard->fail);
    t->fail_ns += get(&shard->fail_ns);
    t->ran += get(&shard->ran);
    t->queue_ns += get(&shard->queue_ns);
    t->input_ns += get(&shard->input_ns);
    t->infer_ns += get(&shard->infer_ns);
    t->output_ns += get(&shard->output_ns);
    t->rows += get(&shard->rows);
    t->hits += get(&shard->hits);
    t->hit_ns += get(&shard->hit_ns);
    t->misses += get(&shard->misses);
    t->miss_ns += get(&shard->miss_ns);
    t->executions += get(&shard->executions);
    uint64_t last = get(&shard->last_ns);
    t->last_ns = last > t->last_ns ? last : t->last_ns;
    for (size_t i = 0; i < BATCH_SIZES; i++) {
        add_batch(t, &shard->batches[i]);
    }
}

void sw_api_model_cache_totals(const struct sw_api_model *m, uint64_t *ret_hits, uint64_t *ret_misses) {
    *ret_hits = *ret_misses = 0;
    for (size_t i = 0; i < SHARDS; i++) {
        *ret_hits += get(&m->shards[i].hits);
        *ret_misses += get(&m->shards[i].misses);
    }
}

static void put_duration(struct sw_buf *out, const char *name, uint64_t count, uint64_t ns) {
    sw_buf_printf(out, "\"%s\":{\"count\":%llu,\"ns\":%llu}", name, (unsigned long long)count, (unsigned long long)ns);
}

static void put_batches(struct sw_buf *out, const struct totals *t) {
    SW_LIT(out, "\"batch_stats\":[");
    for (size_t i = 0; i < t->batch_count; i++) {
        uint64_t count = t->batches[i].count;
        sw_buf_printf(out, "%s{\"batch_size\":%llu,", i ? "," : "", (unsigned long long)t->batches[i].size);
        put_duration(out, "compute_input", count, t->batches[i].input_ns);
        sw_buf_append_c(out, ',');
        put_duration(out, "compute_infer", count, t->batches[i].infer_ns);
        sw_buf_append_c(out, ',');
        put_duration(out, "compute_output", count, t->batches[i].output_ns);
        sw_buf_append_c(out, '}');
    }
    sw_buf_append_c(out, ']');
}

/* The wall clock at a moment of the monotonic one; 0 for never. */
static uint64_t wall_ms_at(const struct sw_api *api, uint64_t ns) {
    struct sw_clock *clock = api->options.clock;
    return ns ? clock->wall_ms(clock) - (sw_now_ns(clock) - ns) / 1000000 : 0;
}

void sw_api_model_write_stats(const struct sw_api *api, const struct sw_api_model *m, struct sw_buf *out) {
    struct totals t = {0};
    for (size_t i = 0; i < SHARDS; i++) {
        add_shard(&t, &m->shards[i]);
    }
    sw_buf_append_c(out, '{');
    sw_api_put_string(out, "name", m->name);
    sw_buf_append_c(out, ',');
    sw_api_put_string(out, "version", m->version_text);
    sw_buf_printf(
        out, ",\"last_inference\":%llu,\"inference_count\":%llu,\"execution_count\":%llu,\"inference_stats\":{",
        (unsigned long long)wall_ms_at(api, t.last_ns), (unsigned long long)t.rows, (unsigned long long)t.executions);
    put_duration(out, "success", t.success, t.success_ns);
    sw_buf_append_c(out, ',');
    put_duration(out, "fail", t.fail, t.fail_ns);
    sw_buf_append_c(out, ',');
    put_duration(out, "queue", t.ran, t.queue_ns);
    sw_buf_append_c(out, ',');
    put_duration(out, "compute_input", t.ran, t.input_ns);
    sw_buf_append_c(out, ',');
    put_duration(out, "compute_infer", t.ran, t.infer_ns);
    sw_buf_append_c(out, ',');
    put_duration(out, "compute_output", t.ran, t.output_ns);
    sw_buf_append_c(out, ',');
    put_duration(out, "cache_hit", t.hits, t.hit_ns);
    sw_buf_append_c(out, ',');
    put_duration(out, "cache_miss", t.misses, t.miss_ns);
    SW_LIT(out, "},");
    put_batches(out, &t);
    sw_api_put_scheduling(out, m);
    sw_buf_append_c(out, '}');
}
