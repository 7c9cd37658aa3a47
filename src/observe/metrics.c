/* Metrics in per-thread shards.
 *
 *   family --> series --> series --> ...           one per combination of label values, append-only list
 *                |
 *                +-- blocks[16] --> shards[16] --> shard of one thread: counter, or buckets and sum
 *
 * A shard is made when its thread first touches the series, so that a series touched by four threads holds four small
 * blocks and not 256. Shard i is written only by the thread whose sw_thread_index() is i; everybody may read it.
 *
 * Memory order. A shard has one writer, so an update is a relaxed load, an addition and a relaxed store: no locked
 * instruction, and no lost update. When a thread ends its index may pass to another thread; taking an index
 * (base/thread.c) synchronises with giving it back, so the new owner reads the last values of the old one. Readers may
 * see the words of one update apart from each other; a histogram's count is therefore taken from its buckets, so that
 * what is written always adds up. Pointers to blocks, shards and series are published with release and read with
 * acquire.
 *
 * Locks: lock (series are found and made, callbacks registered), scrape_lock (one scrape at a time; taken first). */
#include "observe/metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/log.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/thread.h"

enum { BLOCK_SHARDS = 16, BLOCKS = SW_THREADS_MAX / BLOCK_SHARDS, CALLBACKS_MAX = 16, LABELS_BYTES_MAX = 64 * 1024 };

/* A shard is an array of numbers on cache lines of its own: counter {total}; histogram {one per bucket, the one above
 * the last bound, sum in ns}. */
struct block {
    _Atomic(atomic_ullong *) shards[BLOCK_SHARDS];
};

struct sw_series {
    const struct sw_metric_info *info;
    struct sw_metrics *metrics;
    _Atomic(struct sw_series *) next;
    char *labels;           /* {method="GET",route="/"}, escaped; "{}" when the family has none */
    atomic_bool shown;      /* gauges and sampled counters: was it set? */
    atomic_ullong set_bits; /* the double that was set */
    _Atomic(struct block *) blocks[BLOCKS];
};

struct family {
    struct sw_map by_labels; /* under lock */
    struct sw_series *last;  /* under lock */
    _Atomic(struct sw_series *) first;
};

struct sw_metrics {
    pthread_mutex_t lock, scrape_lock;
    struct family families[SW_METRIC_COUNT];
    size_t callback_count;
    struct {
        void (*fn)(void *arg, struct sw_metrics *metrics);
        void *arg;
    } callbacks[CALLBACKS_MAX];
    atomic_ullong dropped; /* updates lost for want of memory */
};

static bool is_set(const struct sw_metric_info *info) {
    return info->type == SW_METRIC_GAUGE || info->sampled;
}

/* Numbers in a shard of this family. */
static size_t value_count(const struct sw_metric_info *info) {
    return info->type == SW_METRIC_HISTOGRAM ? info->bucket_count + 2 : 1;
}

struct sw_metrics *sw_metrics_create(void) {
    struct sw_metrics *metrics = SW_NEW(struct sw_metrics);
    pthread_mutex_init(&metrics->lock, NULL);
    pthread_mutex_init(&metrics->scrape_lock, NULL);
    for (size_t i = 0; i < SW_METRIC_COUNT; i++) {
        sw_map_init(&metrics->families[i].by_labels);
    }
    return metrics;
}

static void series_destroy(struct sw_series *series) {
    for (size_t b = 0; b < BLOCKS; b++) {
        struct block *block = atomic_load(&series->blocks[b]);
        for (size_t s = 0; block && s < BLOCK_SHARDS; s++) {
            sw_free(atomic_load(&block->shards[s]));
        }
        sw_free(block);
    }
    sw_free(series->labels);
    sw_free(series);
}

void sw_metrics_destroy(struct sw_metrics *metrics) {
    if (!metrics) {
        return;
    }
    for (size_t i = 0; i < SW_METRIC_COUNT; i++) {
        struct sw_series *series = atomic_load(&metrics->families[i].first);
        while (series) {
            struct sw_series *next = atomic_load(&series->next);
            series_destroy(series);
            series = next;
        }
        sw_map_deinit(&metrics->families[i].by_labels);
    }
    pthread_mutex_destroy(&metrics->scrape_lock);
    pthread_mutex_destroy(&metrics->lock);
    sw_free(metrics);
}

/* A label value as the exposition wants it: quotes, backslashes and line breaks escaped, other control characters and
 * bytes that are not UTF-8 replaced. */
static void append_value(struct sw_buf *out, const char *value) {
    bool utf8 = sw_utf8_valid(sw_str_of(value));
    for (const char *p = value; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '\n') {
            SW_LIT(out, "\\n");
        } else if (c == '"' || c == '\\') {
            sw_buf_append_c(out, '\\');
            sw_buf_append_c(out, *p);
        } else {
            sw_buf_append_c(out, c < 0x20 || c == 0x7f || (c >= 0x80 && !utf8) ? '?' : *p);
        }
    }
}

static void render_labels(struct sw_buf *out, const struct sw_metric_info *info, const char *const *values) {
    sw_buf_append_c(out, '{');
    for (unsigned i = 0; i < info->label_count; i++) {
        sw_buf_printf(out, "%s%s=\"", i ? "," : "", info->labels[i]);
        append_value(out, values ? values[i] : "overflow");
        sw_buf_append_c(out, '"');
    }
    sw_buf_append_c(out, '}');
}

/* Under the lock: the series with these labels, made when it is new. */
static struct sw_series *find_or_make(struct sw_metrics *metrics, enum sw_metric metric, const struct sw_buf *labels) {
    struct family *family = &metrics->families[metric];
    struct sw_series *series = sw_map_get(&family->by_labels, sw_buf_str(labels));
    if (series) {
        return series;
    }
    series = SW_NEW(struct sw_series);
    series->info = &sw_metric_table[metric];
    series->metrics = metrics;
    series->labels = sw_xstrndup(labels->data, labels->len);
    sw_map_put(&family->by_labels, sw_buf_str(labels), series);
    atomic_store_explicit(family->last ? &family->last->next : &family->first, series, memory_order_release);
    family->last = series;
    return series;
}

struct sw_series *sw_metrics_series(struct sw_metrics *metrics, enum sw_metric metric, const char *const *labels) {
    SW_ASSERT((unsigned)metric < SW_METRIC_COUNT);
    const struct sw_metric_info *info = &sw_metric_table[metric];
    SW_ASSERT(info->label_count == 0 || labels);
    struct sw_buf text;
    sw_buf_init(&text, LABELS_BYTES_MAX);
    render_labels(&text, info, labels);
    pthread_mutex_lock(&metrics->lock);
    struct family *family = &metrics->families[metric];
    bool known = !text.failed && sw_map_get(&family->by_labels, sw_buf_str(&text));
    /* The last place of a family belongs to the series that takes in all further ones. */
    if (text.failed || (!known && info->label_count > 0 && family->by_labels.count >= SW_SERIES_MAX - 1)) {
        sw_buf_clear(&text);
        render_labels(&text, info, NULL);
        SW_ASSERT(!text.failed);
    }
    struct sw_series *series = find_or_make(metrics, metric, &text);
    pthread_mutex_unlock(&metrics->lock);
    sw_buf_deinit(&text);
    return series;
}

/* The block or shard at *place, made when absent. Any thread may make a block, so it is published by compare and
 * exchange; the loser's copy goes. NULL: out of memory. */
static struct block *block_at(struct sw_series *series, unsigned index) {
    _Atomic(struct block *) *place = &series->blocks[index / BLOCK_SHARDS];
    struct block *block = atomic_load_explicit(place, memory_order_acquire);
    if (SW_LIKELY(block != NULL)) {
        return block;
    }
    struct block *made = sw_calloc(1, sizeof *made);
    if (!made) {
        return NULL;
    }
    if (atomic_compare_exchange_strong_explicit(place, &block, made, memory_order_acq_rel, memory_order_acquire)) {
        return made;
    }
    sw_free(made);
    return block;
}

/* Only the owning thread stores here. */
static atomic_ullong *make_shard(struct block *block, unsigned index, const struct sw_metric_info *info) {
    size_t bytes = value_count(info) * sizeof(atomic_ullong);
    bytes = (bytes + SW_CACHE_LINE - 1) / SW_CACHE_LINE * SW_CACHE_LINE;
    atomic_ullong *shard = sw_aligned_alloc(SW_CACHE_LINE, bytes);
    if (shard) {
        for (size_t i = 0; i < bytes / sizeof *shard; i++) {
            atomic_init(&shard[i], 0);
        }
        atomic_store_explicit(&block->shards[index % BLOCK_SHARDS], shard, memory_order_release);
    }
    return shard;
}

/* The calling thread's shard; NULL when out of memory, which is counted. */
static atomic_ullong *own_values(struct sw_series *series) {
    unsigned index = sw_thread_index();
    struct block *block = block_at(series, index);
    atomic_ullong *shard = NULL;
    if (SW_LIKELY(block != NULL)) {
        shard = atomic_load_explicit(&block->shards[index % BLOCK_SHARDS], memory_order_relaxed);
        shard = SW_LIKELY(shard != NULL) ? shard : make_shard(block, index, series->info);
    }
    if (SW_UNLIKELY(!shard)) {
        atomic_fetch_add_explicit(&series->metrics->dropped, 1, memory_order_relaxed);
        return NULL;
    }
    return shard;
}

static void bump(atomic_ullong *value, uint64_t n) {
    atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + n, memory_order_relaxed);
}

void sw_series_add(struct sw_series *series, uint64_t n) {
    SW_ASSERT(series->info->type == SW_METRIC_COUNTER && !series->info->sampled);
    atomic_ullong *values = own_values(series);
    if (SW_LIKELY(values != NULL)) {
        bump(values, n);
    }
}

void sw_series_observe_ns(struct sw_series *series, uint64_t ns) {
    const struct sw_metric_info *info = series->info;
    SW_ASSERT(info->type == SW_METRIC_HISTOGRAM);
    atomic_ullong *values = own_values(series);
    if (SW_UNLIKELY(!values)) {
        return;
    }
    unsigned low = 0, high = info->bucket_count; /* the first bound that is not below ns lies in [low, high] */
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (info->bucket_ns[middle] < ns) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bump(&values[low], 1);
    bump(&values[info->bucket_count + 1], ns);
}

void sw_series_observe(struct sw_series *series, uint64_t n) {
    sw_series_observe_ns(series, n * 1000000000u); /* bounds and sums are kept in billionths, whatever the unit */
}

void sw_series_set(struct sw_series *series, double value) {
    SW_ASSERT(is_set(series->info));
    unsigned long long bits;
    memcpy(&bits, &value, sizeof bits);
    atomic_store_explicit(&series->set_bits, bits, memory_order_relaxed);
    atomic_store_explicit(&series->shown, true, memory_order_release);
}

void sw_series_reset(struct sw_series *series) {
    SW_ASSERT(is_set(series->info));
    atomic_store_explicit(&series->shown, false, memory_order_relaxed);
}

void sw_metrics_reset(struct sw_metrics *metrics, enum sw_metric metric) {
    SW_ASSERT((unsigned)metric < SW_METRIC_COUNT);
    struct sw_series *series = atomic_load_explicit(&metrics->families[metric].first, memory_order_acquire);
    for (; series; series = atomic_load_explicit(&series->next, memory_order_acquire)) {
        sw_series_reset(series);
    }
}

/* Adds every thread's shard into totals[value_count]. */
static void merge(const struct sw_series *series, uint64_t *totals) {
    size_t count = value_count(series->info);
    memset(totals, 0, count * sizeof *totals);
    for (size_t b = 0; b < BLOCKS; b++) {
        const struct block *block = atomic_load_explicit(&series->blocks[b], memory_order_acquire);
        for (size_t s = 0; block && s < BLOCK_SHARDS; s++) {
            const atomic_ullong *shard = atomic_load_explicit(&block->shards[s], memory_order_acquire);
            for (size_t i = 0; shard && i < count; i++) {
                totals[i] += atomic_load_explicit(&shard[i], memory_order_relaxed);
            }
        }
    }
}

uint64_t sw_series_total(const struct sw_series *series) {
    SW_ASSERT(!is_set(series->info));
    uint64_t totals[SW_METRIC_BUCKETS_MAX + 2];
    merge(series, totals);
    uint64_t count = totals[0];
    for (unsigned i = 1; i <= series->info->bucket_count; i++) {
        count += totals[i];
    }
    return count;
}

void sw_metrics_on_scrape(struct sw_metrics *metrics, void (*fn)(void *arg, struct sw_metrics *metrics), void *arg) {
    pthread_mutex_lock(&metrics->lock);
    SW_ASSERT(metrics->callback_count < CALLBACKS_MAX);
    metrics->callbacks[metrics->callback_count].fn = fn;
    metrics->callbacks[metrics->callback_count].arg = arg;
    metrics->callback_count++;
    pthread_mutex_unlock(&metrics->lock);
}

static void append_double(struct sw_buf *out, double value) {
    if (isfinite(value)) {
        sw_buf_printf(out, "%.15g\n", value);
    } else {
        sw_buf_append_str(out, isnan(value) ? SW_STR("NaN\n") : value > 0 ? SW_STR("+Inf\n") : SW_STR("-Inf\n"));
    }
}

/* name + suffix + {labels[,le="..."]} and a blank. */
static void append_name(struct sw_buf *out, const struct sw_series *series, const char *suffix, const char *le) {
    struct sw_str labels = sw_str_of(series->labels);
    bool bare = labels.len == 2; /* "{}" */
    sw_buf_printf(out, "%s%s", series->info->name, suffix);
    if (le) {
        sw_buf_append(out, labels.data, labels.len - 1);
        sw_buf_printf(out, "%sle=\"%s\"}", bare ? "" : ",", le);
    } else if (!bare) {
        sw_buf_append_str(out, labels);
    }
    sw_buf_append_c(out, ' ');
}

static void append_histogram(struct sw_buf *out, const struct sw_series *series) {
    const struct sw_metric_info *info = series->info;
    uint64_t totals[SW_METRIC_BUCKETS_MAX + 2], count = 0;
    merge(series, totals);
    for (unsigned i = 0; i <= info->bucket_count; i++) {
        count += totals[i];
        append_name(out, series, "_bucket", i < info->bucket_count ? info->bucket_le[i] : "+Inf");
        sw_buf_printf(out, "%llu\n", (unsigned long long)count);
    }
    unsigned long long sum_ns = totals[info->bucket_count + 1];
    append_name(out, series, "_sum", NULL);
    sw_buf_printf(out, "%llu.%09llu\n", sum_ns / 1000000000u, sum_ns % 1000000000u);
    append_name(out, series, "_count", NULL);
    sw_buf_printf(out, "%llu\n", (unsigned long long)count);
}

static void append_series(struct sw_buf *out, const struct sw_series *series) {
    if (series->info->type == SW_METRIC_HISTOGRAM) {
        append_histogram(out, series);
        return;
    }
    append_name(out, series, "", NULL);
    if (is_set(series->info)) {
        unsigned long long bits = atomic_load_explicit(&series->set_bits, memory_order_relaxed);
        double value;
        memcpy(&value, &bits, sizeof value);
        append_double(out, value);
    } else {
        sw_buf_printf(out, "%llu\n", (unsigned long long)sw_series_total(series));
    }
}

static void append_family(struct sw_buf *out, const struct family *family) {
    static const char *const types[] = {"counter", "gauge", "histogram"};
    bool headed = false;
    struct sw_series *series = atomic_load_explicit(&family->first, memory_order_acquire);
    for (; series; series = atomic_load_explicit(&series->next, memory_order_acquire)) {
        const struct sw_metric_info *info = series->info;
        if (is_set(info) && !atomic_load_explicit(&series->shown, memory_order_acquire)) {
            continue;
        }
        if (!headed) {
            sw_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", info->name, info->help, info->name, types[info->type]);
            headed = true;
        }
        append_series(out, series);
    }
}

/* The two counters of losses below every other metric: of the log and of this registry. */
static void sample_losses(struct sw_metrics *metrics) {
    sw_series_set(sw_metrics_series(metrics, SW_METRIC_SLIPWAY_LOG_DROPPED_TOTAL, NULL), (double)sw_log_dropped());
    sw_series_set(sw_metrics_series(metrics, SW_METRIC_SLIPWAY_METRICS_DROPPED_TOTAL, NULL),
                  (double)atomic_load_explicit(&metrics->dropped, memory_order_relaxed));
}

void sw_metrics_write(struct sw_metrics *metrics, struct sw_buf *out) {
    pthread_mutex_lock(&metrics->scrape_lock);
    pthread_mutex_lock(&metrics->lock);
    size_t callbacks = metrics->callback_count; /* those present stay for ever */
    pthread_mutex_unlock(&metrics->lock);
    for (size_t i = 0; i < callbacks; i++) {
        metrics->callbacks[i].fn(metrics->callbacks[i].arg, metrics);
    }
    sample_losses(metrics);
    for (size_t i = 0; i < SW_METRIC_COUNT; i++) {
        append_family(out, &metrics->families[i]);
    }
    pthread_mutex_unlock(&metrics->scrape_lock);
}
