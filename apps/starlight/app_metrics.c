/* starlight_* metrics. Labels come from closed sets: methods, formats, error codes. */
#include "apps/starlight/app_internal.h"

static struct sw_series *find(struct sw_metrics *metrics, _Atomic(struct sw_series *) *slot, enum sw_metric metric,
                              const char *const *labels) {
    struct sw_series *series = atomic_load_explicit(slot, memory_order_acquire);
    if (SW_UNLIKELY(!series)) {
        /* Two threads may both come here: the registry gives both the same series. */
        series = sw_metrics_series(metrics, metric, labels);
        atomic_store_explicit(slot, series, memory_order_release);
    }
    return series;
}

void app_metrics_init(struct app_metrics *m, struct sw_metrics *metrics) {
    m->metrics = metrics;
    m->duration = sw_metrics_series(metrics, SW_METRIC_STARLIGHT_INFERENCE_DURATION_SECONDS, NULL);
    m->bytes = sw_metrics_series(metrics, SW_METRIC_STARLIGHT_IMAGE_BYTES_TOTAL, NULL);
}

static size_t format_slot(struct sw_str format) {
    size_t i = 0;
    while (i < SW_STARLIGHT_FORMATS && !sw_str_is(format, sw_starlight_format_name((enum sw_starlight_format)i))) {
        i++;
    }
    return i;
}

void app_metrics_count(struct app_metrics *m, enum sw_starlight_method method, struct sw_str format, uint64_t bytes,
                       uint64_t duration_ns) {
    size_t slot = format_slot(format);
    bool clean = method >= SW_STARLIGHT_METHODS;
    const char *labels[] = {
        clean ? "clean" : "stego",
        clean ? "none" : sw_starlight_method_name(method),
        slot < SW_STARLIGHT_FORMATS ? sw_starlight_format_name((enum sw_starlight_format)slot) : "other",
    };
    sw_series_add(find(m->metrics, &m->inferences[clean ? SW_STARLIGHT_METHODS : method][slot],
                       SW_METRIC_STARLIGHT_INFERENCES_TOTAL, labels),
                  1);
    sw_series_add(m->bytes, bytes);
    sw_series_observe_ns(m->duration, duration_ns);
}

void app_metrics_refused(struct app_metrics *m, sw_status reason) {
    const char *labels[] = {sw_status_name(reason)};
    sw_series_add(find(m->metrics, &m->refused[reason], SW_METRIC_STARLIGHT_IMAGES_REFUSED_TOTAL, labels), 1);
}

void app_metrics_fetched(struct app_metrics *m, sw_status outcome) {
    const char *labels[] = {outcome ? sw_status_name(outcome) : "ok"};
    sw_series_add(find(m->metrics, &m->fetches[outcome], SW_METRIC_STARLIGHT_IMAGE_FETCHES_TOTAL, labels), 1);
}
