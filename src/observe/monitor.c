/* The monitor's life, what it collects, and its thread; see monitor.h. */
#include "observe/monitor.h"

#include <errno.h>
#include <math.h>
#include <time.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/thread.h"
#include "observe/monitor_internal.h"

enum { MINUTE_MS = 60 * 1000, NICE = 0 };

/* ---- alerts that fire or end; under the lock */

static void log_change(const struct sw_alert *alert) {
    bool is_firing = alert->state == SW_ALERT_FIRING;
    char message[SW_ALERT_TEXT_MAX];
    struct sw_buf text;
    sw_buf_init(&text, 4 * SW_ALERT_TEXT_MAX);
    sw_alert_message(alert, &text);
    snprintf(message, sizeof message, "%s", text.failed ? alert->summary : text.data);
    sw_buf_deinit(&text);
    sw_log(is_firing ? SW_LOG_WARN : SW_LOG_INFO, is_firing ? "alert firing" : "alert resolved",
           SW_F_STR("alert", alert->rule), SW_F_STR("id", alert->id),
           SW_F_STR("severity", sw_severity_name(alert->severity)), SW_F_STR("model", alert->model ? alert->model : ""),
           SW_F_DOUBLE("value", alert->value), SW_F_DOUBLE("threshold", alert->threshold),
           SW_F_STR("reason", is_firing ? message : alert->resolved_reason));
}

static void set_delivery(struct sw_alert *alert, enum sw_delivery delivery, unsigned attempts, const char *error) {
    bool is_same_error = error && alert->delivery_error ? strcmp(error, alert->delivery_error) == 0
                                                        : error == alert->delivery_error;
    alert->unsaved = alert->unsaved || alert->delivery != delivery || !is_same_error;
    alert->delivery = delivery;
    alert->delivery_attempts = attempts;
    if (!is_same_error) {
        sw_free(alert->delivery_error);
        alert->delivery_error = sw_xstrdup(error);
    }
}

static void push(struct sw_monitor *monitor, const struct sw_alert *alert) {
    char dropped[SW_ALERT_ID_MAX];
    sw_notify_push(monitor->notify, alert, dropped);
    struct sw_alert *lost = dropped[0] ? sw_alerts_find(&monitor->alerts, dropped) : NULL;
    if (lost) {
        set_delivery(lost, SW_DELIVERY_FAILED, lost->delivery_attempts, "too many notifications were waiting");
    }
}

static void on_change(void *arg, struct sw_alert *alert) {
    struct sw_monitor *monitor = arg;
    log_change(alert);
    set_delivery(alert, monitor->notify ? SW_DELIVERY_WAITING : SW_DELIVERY_NONE, 0, NULL);
    if (monitor->notify) {
        push(monitor, alert);
    }
}

static void on_outcome(void *arg, const char *id, enum sw_alert_state state, const struct sw_notify_outcome *outcome) {
    struct sw_monitor *monitor = arg;
    enum sw_delivery delivery = outcome->is_delivered ? SW_DELIVERY_DONE
                                : outcome->is_final   ? SW_DELIVERY_FAILED
                                                      : SW_DELIVERY_WAITING;
    pthread_mutex_lock(&monitor->lock);
    struct sw_alert *alert = sw_alerts_find(&monitor->alerts, id);
    if (alert && alert->state == state) {
        set_delivery(alert, delivery, outcome->attempts, outcome->error);
    }
    pthread_mutex_unlock(&monitor->lock);
    if (!outcome->is_delivered && (outcome->is_final || outcome->attempts == 1)) {
        sw_log(SW_LOG_WARN, outcome->is_final ? "alert not delivered" : "alert not delivered yet", SW_F_STR("id", id),
               SW_F_INT("attempts", outcome->attempts), SW_F_STR("reason", outcome->error));
    }
}

/* An Alertmanager forgets what it does not hear of. */
static void tell_again(struct sw_monitor *monitor, uint64_t now_ms) {
    bool is_forgetful = monitor->notify && monitor->options.format == SW_NOTIFY_ALERTMANAGER;
    if (!is_forgetful || now_ms < monitor->told_again_ms + SW_NOTIFY_AGAIN_MS) {
        return;
    }
    monitor->told_again_ms = now_ms;
    for (size_t i = 0; i < monitor->alerts.count; i++) {
        if (monitor->alerts.list[i]->state == SW_ALERT_FIRING) {
            push(monitor, monitor->alerts.list[i]);
        }
    }
}

/* ---- gauges; the scraping thread */

static void set_firing(struct sw_metrics *metrics, const struct sw_alerts *alerts) {
    sw_metrics_reset(metrics, SW_METRIC_SLIPWAY_ALERTS_FIRING);
    for (size_t i = 0; i < alerts->rules.count; i++) {
        const struct sw_rule *rule = &alerts->rules.items[i];
        const char *labels[] = {rule->name, sw_severity_name(rule->severity)};
        sw_series_set(sw_metrics_series(metrics, SW_METRIC_SLIPWAY_ALERTS_FIRING, labels),
                      (double)sw_alerts_firing(alerts, rule));
    }
}

/* The newest minute or two of one metric of a model. */
static void set_model(struct sw_metrics *metrics, const struct sw_history *history, const char *model,
                      const char *metric, uint64_t now_ms, enum sw_metric gauge, bool is_std) {
    uint64_t minute_ms = now_ms / MINUTE_MS * MINUTE_MS;
    struct sw_query query = {.metric = metric,
                             .labels = {{"model", model}},
                             .label_count = 1,
                             .from_ms = minute_ms - MINUTE_MS,
                             .step_ms = 2 * MINUTE_MS,
                             .step_count = 1,
                             .fine = true};
    struct sw_summary summary;
    struct sw_error err;
    size_t tracks;
    if (sw_history_query(history, &query, NULL, &summary, &tracks, &err) == SW_OK && summary.count) {
        sw_series_set(sw_metrics_series(metrics, gauge, &model), is_std ? summary.std : summary.mean);
    }
}

static void set_models(struct sw_monitor *monitor, struct sw_metrics *metrics) {
    uint64_t now_ms = sw_monitor_now_ms(monitor);
    sw_metrics_reset(metrics, SW_METRIC_SLIPWAY_PREDICTION_STDDEV);
    sw_metrics_reset(metrics, SW_METRIC_SLIPWAY_POSITIVE_RATE);
    for (const struct sw_track *track = monitor->history.tracks; track; track = track->next) {
        const char *model = track->is_client ? NULL : sw_track_label(track, "model");
        if (model && strcmp(track->metric, SW_METRIC_NAME_PREDICTION) == 0) {
            set_model(metrics, &monitor->history, model, SW_METRIC_NAME_PREDICTION, now_ms,
                      SW_METRIC_SLIPWAY_PREDICTION_STDDEV, true);
        } else if (model && strcmp(track->metric, SW_METRIC_NAME_VERDICT) == 0) {
            set_model(metrics, &monitor->history, model, SW_METRIC_NAME_VERDICT, now_ms,
                      SW_METRIC_SLIPWAY_POSITIVE_RATE, false);
        }
    }
}

static void set_notifications(struct sw_monitor *monitor, struct sw_metrics *metrics) {
    struct sw_notify_counts counts;
    sw_notify_count(monitor->notify, &counts);
    const struct {
        const char *result;
        uint64_t count;
    } results[] = {{"delivered", counts.delivered}, {"failed", counts.failed}, {"dropped", counts.dropped}};
    for (size_t i = 0; i < SW_COUNTOF(results); i++) {
        struct sw_series *series = sw_metrics_series(metrics, SW_METRIC_SLIPWAY_ALERT_NOTIFICATIONS_TOTAL,
                                                     &results[i].result);
        sw_series_set(series, (double)results[i].count);
    }
    sw_series_set(sw_metrics_series(metrics, SW_METRIC_SLIPWAY_ALERT_NOTIFICATIONS_WAITING, NULL),
                  (double)counts.waiting);
}

static uint64_t memory_limit(const struct sw_monitor *monitor, const struct sw_resources *resources) {
    return monitor->options.memory_limit ? monitor->options.memory_limit : resources->memory_limit;
}

static void scrape(void *arg, struct sw_metrics *metrics) {
    struct sw_monitor *monitor = arg;
    struct sw_resources resources;
    sw_resources_read(&resources);
    sw_series_set(sw_metrics_series(metrics, SW_METRIC_SLIPWAY_CPU_LIMIT_CORES, NULL), resources.cpu_cores);
    sw_series_set(sw_metrics_series(metrics, SW_METRIC_SLIPWAY_MEMORY_LIMIT_BYTES, NULL),
                  (double)memory_limit(monitor, &resources));
    if (monitor->notify) {
        set_notifications(monitor, metrics);
    }
    pthread_mutex_lock(&monitor->lock);
    sw_monitor_collect(monitor);
    set_firing(metrics, &monitor->alerts);
    set_models(monitor, metrics);
    sw_series_set(sw_metrics_series(metrics, SW_METRIC_SLIPWAY_MONITORING_SERIES, NULL),
                  (double)monitor->history.track_count);
    sw_series_set(sw_metrics_series(metrics, SW_METRIC_SLIPWAY_MONITORING_BYTES, NULL), (double)monitor->history.bytes);
    sw_series_set(sw_metrics_series(metrics, SW_METRIC_SLIPWAY_MONITORING_DROPPED_TOTAL, NULL),
                  (double)monitor->history.dropped);
    pthread_mutex_unlock(&monitor->lock);
}

/* ---- life */

static struct sw_notify *create_notify(struct sw_monitor *monitor) {
    const struct sw_monitor_options *o = &monitor->options;
    struct sw_notify_options options = {
        .url = o->webhook,
        .token = o->webhook_token,
        .format = o->format,
        .external_url = o->external_url,
        .send = o->send ? o->send : sw_notify_http,
        .send_arg = o->send_arg,
        .on_outcome = on_outcome,
        .arg = monitor,
        .clock = o->clock,
    };
    return o->webhook ? sw_notify_create(&options) : NULL;
}

struct sw_monitor *sw_monitor_create(const struct sw_monitor_options *options, struct sw_rules *rules) {
    struct sw_monitor *monitor = SW_NEW(struct sw_monitor);
    monitor->options = *options;
    monitor->notify = create_notify(monitor);
    monitor->options.webhook = monitor->options.webhook_token = NULL; /* the notifier has its own */
    monitor->options.external_url = NULL;
    monitor->options.instance = monitor->instance = sw_xstrdup(options->instance);
    monitor->sampled.cpu_percent = NAN;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&monitor->stop_changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&monitor->lock, NULL);
    pthread_mutex_init(&monitor->keep_lock, NULL);
    sw_history_init(&monitor->history, options->memory_max);
    sw_alerts_init(&monitor->alerts, rules, options->instance);
    monitor->alerts.on_change = on_change;
    monitor->alerts.arg = monitor;
    if (options->metrics) {
        sw_metrics_on_scrape(options->metrics, scrape, monitor);
    }
    return monitor;
}

void sw_monitor_attach_store(struct sw_monitor *monitor, struct sw_store *store) {
    monitor->store = store;
}

void sw_monitor_destroy(struct sw_monitor *monitor) {
    if (!monitor) {
        return;
    }
    sw_monitor_stop(monitor);
    while (monitor->monitored) {
        struct sw_monitored *next = monitor->monitored->next;
        sw_recorder_destroy(monitor->monitored->recorder);
        sw_free(monitor->monitored->model);
        sw_free(monitor->monitored->version);
        sw_free(monitor->monitored);
        monitor->monitored = next;
    }
    sw_alerts_deinit(&monitor->alerts);
    sw_history_deinit(&monitor->history);
    pthread_cond_destroy(&monitor->stop_changed);
    pthread_mutex_destroy(&monitor->lock);
    pthread_mutex_destroy(&monitor->keep_lock);
    sw_free(monitor->instance);
    sw_free(monitor);
}

static struct sw_monitored *find_monitored(const struct sw_monitor *monitor, const char *model, const char *version) {
    struct sw_monitored *m = monitor->monitored;
    while (m && (strcmp(m->model, model) != 0 || strcmp(m->version, version) != 0)) {
        m = m->next;
    }
    return m;
}

struct sw_recorder *sw_monitor_recorder(struct sw_monitor *monitor, const char *model, const char *version) {
    pthread_mutex_lock(&monitor->lock);
    struct sw_monitored *m = find_monitored(monitor, model, version);
    if (!m) {
        m = SW_NEW(struct sw_monitored);
        m->model = sw_xstrdup(model);
        m->version = sw_xstrdup(version);
        m->recorder = sw_recorder_create();
        m->next = monitor->monitored;
        monitor->monitored = m;
    }
    pthread_mutex_unlock(&monitor->lock);
    return m->recorder;
}

/* ---- collecting; under the lock */

static void merge(struct sw_monitor *monitor, const struct sw_monitored *m, const char *metric,
                  const struct sw_point *point, uint64_t now_ms) {
    const struct sw_label labels[] = {{"model", m->model}, {"version", m->version}};
    uint64_t failures = 0;
    struct sw_error err;
    for (size_t i = 0; i < SW_FAILURES; i++) {
        failures += point->failures[i];
    }
    if (point->count == 0 && failures == 0) {
        return; /* quiet times take no memory */
    }
    struct sw_track *track = sw_history_track(&monitor->history, metric, labels, SW_COUNTOF(labels), false, &err);
    if (track) {
        sw_history_merge(&monitor->history, track, now_ms, now_ms, point);
    } else {
        monitor->history.dropped++;
    }
}

void sw_monitor_collect(struct sw_monitor *monitor) {
    uint64_t now_ms = sw_monitor_now_ms(monitor);
    for (const struct sw_monitored *m = monitor->monitored; m; m = m->next) {
        struct sw_recorded recorded;
        monitor->history.dropped += !sw_recorder_collect(m->recorder, &recorded);
        merge(monitor, m, SW_METRIC_NAME_LATENCY, &recorded.latency, now_ms);
        merge(monitor, m, SW_METRIC_NAME_VERDICT, &recorded.verdict, now_ms);
        merge(monitor, m, SW_METRIC_NAME_PREDICTION, &recorded.prediction, now_ms);
        sw_recorded_deinit(&recorded);
    }
}

static void add(struct sw_monitor *monitor, const char *metric, double value, uint64_t now_ms) {
    struct sw_error err;
    struct sw_track *track = sw_history_track(&monitor->history, metric, NULL, 0, false, &err);
    if (track) {
        sw_history_add(&monitor->history, track, now_ms, now_ms, value);
    } else {
        monitor->history.dropped++;
    }
}

/* Processor time between two samples. */
static void sample_cpu(struct sw_monitor *monitor, const struct sw_resources *resources, uint64_t now_ns,
                       uint64_t now_ms) {
    uint64_t passed_ns = now_ns - monitor->sampled.at_ns;
    if (monitor->sampled.at_ns && passed_ns && resources->cpu_cores > 0) {
        double used = resources->cpu_seconds - monitor->sampled.cpu_seconds;
        monitor->sampled.cpu_percent = fmax(100 * used / ((double)passed_ns / 1e9 * resources->cpu_cores), 0);
        add(monitor, SW_METRIC_NAME_CPU, monitor->sampled.cpu_percent, now_ms);
    }
    monitor->sampled.cpu_seconds = resources->cpu_seconds;
    monitor->sampled.at_ns = now_ns;
}

static void sample(struct sw_monitor *monitor, const struct sw_resources *resources, uint64_t now_ns, uint64_t now_ms) {
    uint64_t limit = memory_limit(monitor, resources);
    sample_cpu(monitor, resources, now_ns, now_ms);
    if (resources->memory_bytes) {
        add(monitor, SW_METRIC_NAME_MEMORY, (double)resources->memory_bytes, now_ms);
    }
    if (resources->memory_bytes && limit) {
        add(monitor, SW_METRIC_NAME_MEMORY_PERCENT, 100 * (double)resources->memory_bytes / (double)limit, now_ms);
    }
    if (monitor->options.queue_depth) {
        add(monitor, SW_METRIC_NAME_QUEUE, (double)monitor->options.queue_depth(monitor->options.queue_arg), now_ms);
    }
}

void sw_monitor_tick(struct sw_monitor *monitor) {
    struct sw_resources resources;
    sw_resources_read(&resources); /* files: not under the lock */
    pthread_mutex_lock(&monitor->lock);
    uint64_t now_ms = sw_monitor_now_ms(monitor), now_ns = sw_now_ns(monitor->options.clock);
    sw_monitor_collect(monitor);
    sample(monitor, &resources, now_ns, now_ms);
    sw_alerts_evaluate(&monitor->alerts, &monitor->history, now_ms, now_ns);
    tell_again(monitor, now_ms);
    if (now_ms / MINUTE_MS != monitor->expired_ms / MINUTE_MS) {
        monitor->expired_ms = now_ms;
        sw_history_expire(&monitor->history, now_ms);
    }
    pthread_mutex_unlock(&monitor->lock);
}

void sw_monitor_read_state(struct sw_monitor *monitor, struct sw_monitor_state *ret) {
    struct sw_resources resources;
    sw_resources_read(&resources);
    uint64_t limit = memory_limit(monitor, &resources);
    pthread_mutex_lock(&monitor->lock);
    *ret = (struct sw_monitor_state){
        .firing = sw_alerts_firing(&monitor->alerts, NULL),
        .pending = sw_alerts_pending(&monitor->alerts),
        .cpu_percent = monitor->sampled.cpu_percent,
        .memory_bytes = resources.memory_bytes,
        .memory_percent = limit ? 100 * (double)resources.memory_bytes / (double)limit : NAN,
    };
    pthread_mutex_unlock(&monitor->lock);
    ret->queue_depth = monitor->options.queue_depth ? monitor->options.queue_depth(monitor->options.queue_arg) : 0;
}

/* ---- the thread */

/* False: to stop. */
static bool wait_until(struct sw_monitor *monitor, const struct timespec *until) {
    pthread_mutex_lock(&monitor->lock);
    while (!monitor->stop && pthread_cond_timedwait(&monitor->stop_changed, &monitor->lock, until) != ETIMEDOUT) {
    }
    bool stop = monitor->stop;
    pthread_mutex_unlock(&monitor->lock);
    return !stop;
}

static void *run(void *arg) {
    struct sw_monitor *monitor = arg;
    struct timespec next;
    do {
        clock_gettime(CLOCK_MONOTONIC, &next);
        next.tv_sec += SW_MONITOR_TICK_MS / 1000;
        sw_monitor_tick(monitor);
    } while (wait_until(monitor, &next));
    return NULL;
}

sw_status sw_monitor_start(struct sw_monitor *monitor, struct sw_error *err) {
    if (monitor->notify) {
        SW_TRY(sw_notify_start(monitor->notify, err));
    }
    SW_TRY(sw_thread_start(&monitor->thread, "sw-monitor", NICE, run, monitor, err));
    monitor->has_thread = true;
    return SW_OK;
}

void sw_monitor_stop(struct sw_monitor *monitor) {
    if (!monitor) {
        return;
    }
    pthread_mutex_lock(&monitor->lock);
    monitor->stop = true;
    pthread_cond_signal(&monitor->stop_changed);
    pthread_mutex_unlock(&monitor->lock);
    if (monitor->has_thread) {
        int rc = pthread_join(monitor->thread, NULL);
        SW_ASSERT(rc == 0);
        monitor->has_thread = false;
    }
    struct sw_notify *notify = monitor->notify;
    sw_notify_destroy(notify);
    monitor->notify = NULL;
}
