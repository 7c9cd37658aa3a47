/* How a model's requests are run: what was measured at load and what the bundle says become a plan and the settings of
 * its flow; and how that shows in statistics, configuration and metrics. */
#include "api/api_internal.h"
#include "tensor/number.h"

/* ---- from a model to its flow */

static uint64_t smallest_bytes(const struct sw_tensor_specs *specs) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < specs->count; i++) {
        const struct sw_tensor_spec *spec = &specs->items[i];
        uint64_t elements = 1;
        for (uint32_t d = 0; d < spec->rank; d++) {
            elements *= spec->shape[d] > 0 ? (uint64_t)spec->shape[d] : 1;
        }
        bytes += spec->optional ? 0 : elements * sw_dtype_size(spec->dtype);
    }
    return bytes;
}

/* A bundle that asks for batches is believed where the trial could not be made, not where it failed. */
static bool can_batch(const struct sw_api *api, const struct sw_model *model) {
    int64_t wanted = model->bundle->batching.max_batch;
    return !api->options.scheduling.no_batching && wanted != 1 &&
           (model->probe.rows == SW_ROWS_APART || (model->probe.rows == SW_ROWS_UNTESTED && wanted > 1));
}

static void make_plan(const struct sw_api *api, struct sw_model *model) {
    const struct sw_api_scheduling *s = &api->options.scheduling;
    const struct sw_engine_ops *ops = model->session->engine->ops;
    const struct sw_plan_options options = {
        .profile = &model->probe.profile,
        .can_batch = can_batch(api, model),
        .max_batch = (uint64_t)model->bundle->batching.max_batch,
        .can_inline = !model->input_step, /* image decoders may take long */
        .inline_ns_max = s->inline_ns_max,
        .batch_ns_max = s->slow_ns,
        .bytes_per_unit = smallest_bytes(ops->inputs(model->session)) + smallest_bytes(ops->outputs(model->session)),
    };
    sw_plan_make(&options, &model->plan);
}

/* Runs with several threads each share the processor among fewer of them. */
static unsigned concurrency(const struct sw_api *api, const struct sw_model *model) {
    unsigned workers = api->options.scheduling.workers, threads = model->threads > 1 ? model->threads : 1;
    if (model->bundle->instances) {
        return model->bundle->instances < workers ? model->bundle->instances : workers;
    }
    return threads == 1 ? 0 : workers > threads ? workers / threads : 1;
}

static void make_settings(const struct sw_api *api, const struct sw_model *model, struct sw_flow_settings *ret) {
    const struct sw_api_scheduling *s = &api->options.scheduling;
    const struct sw_bundle *bundle = model->bundle;
    *ret = (struct sw_flow_settings){
        .plan = model->plan,
        .profile = model->probe.profile,
        .max_delay_ns = s->max_delay_ns,
        .weight = bundle->weight,
        .concurrency = concurrency(api, model),
        .queue_max = bundle->batching.max_queue ? (size_t)bundle->batching.max_queue : s->queue_max,
        .wait_ns_max = s->wait_ns_max,
    };
    if (bundle->batching.max_delay_us >= 0) {
        ret->max_delay_ns = (uint64_t)bundle->batching.max_delay_us * 1000;
    }
    _Static_assert((int)SW_BUNDLE_PREFERRED_MAX == (int)SW_PREFERRED_MAX, "copied one for one");
    for (size_t i = 0; i < bundle->batching.preferred_count; i++) {
        if (bundle->batching.preferred[i] <= model->plan.max_batch) { /* which memory or time may have limited */
            ret->preferred[ret->preferred_count++] = bundle->batching.preferred[i];
        }
    }
}

void sw_api_schedule_model(struct sw_api *api, struct sw_api_model *m, struct sw_model *model) {
    struct sw_flow_settings settings;
    make_plan(api, model);
    make_settings(api, model, &settings);
    if (m->flow) {
        sw_flow_configure(m->flow, &settings);
    } else {
        m->flow = sw_flow_create(api->options.scheduler, &settings, m);
    }
}

uint64_t sw_api_max_batch(const struct sw_model *model) {
    int64_t wanted = model->bundle ? model->bundle->batching.max_batch : 0;
    if (model->plan.mode == SW_RUN_BATCHED) {
        return model->plan.max_batch;
    }
    return model->batchable && wanted > 1 ? (uint64_t)wanted : 0;
}

/* ---- shown */

static void put_profile(struct sw_buf *out, const struct sw_profile *profile) {
    SW_LIT(out, ",\"measured\":[");
    bool first = true;
    for (unsigned i = 0; i < SW_PROFILE_POINTS; i++) {
        if (profile->ns[i]) {
            sw_buf_printf(out, "%s{\"rows\":%u,\"ns\":%llu}", first ? "" : ",", 1u << i,
                          (unsigned long long)profile->ns[i]);
            first = false;
        }
    }
    SW_LIT(out, "]");
}

static void put_preferred(struct sw_buf *out, const struct sw_flow_settings *s) {
    for (size_t i = 0; i < s->preferred_count; i++) {
        sw_buf_printf(out, "%s%u", i ? "," : "", s->preferred[i]);
    }
}

void sw_api_put_scheduling(struct sw_buf *out, const struct sw_api_model *m) {
    struct sw_flow_state state;
    sw_flow_look(m->flow, &state);
    const struct sw_flow_settings *s = &state.settings;
    SW_LIT(out, ",\"scheduling\":{");
    sw_api_put_string(out, "mode", sw_run_mode_name(s->plan.mode));
    sw_buf_append_c(out, ',');
    sw_api_put_string(out, "reason", s->plan.reason);
    sw_buf_printf(out,
                  ",\"max_batch\":%llu,\"enough\":%llu,\"max_delay_us\":%llu,\"waiting\":%zu,\"oldest_us\":%llu,"
                  "\"running\":%u",
                  (unsigned long long)s->plan.max_batch, (unsigned long long)s->plan.enough,
                  (unsigned long long)s->max_delay_ns / 1000, state.waiting, (unsigned long long)state.oldest_ns / 1000,
                  state.running);
    SW_LIT(out, ",\"dropped\":{");
    for (int i = SW_DROP_NONE + 1; i < SW_DROPS; i++) {
        sw_buf_printf(out, "%s\"%s\":%llu", i > SW_DROP_NONE + 1 ? "," : "", sw_drop_name(i),
                      (unsigned long long)state.dropped[i]);
    }
    SW_LIT(out, "}");
    put_profile(out, &s->profile);
    SW_LIT(out, "}");
}

void sw_api_put_batching(struct sw_buf *out, const struct sw_api_model *m) {
    struct sw_flow_state state;
    sw_flow_look(m->flow, &state);
    const struct sw_flow_settings *s = &state.settings;
    if (s->plan.mode == SW_RUN_BATCHED) {
        SW_LIT(out, ",\"dynamic_batching\":{\"preferred_batch_size\":[");
        put_preferred(out, s);
        sw_buf_printf(out, "],\"max_queue_delay_microseconds\":%llu}", (unsigned long long)s->max_delay_ns / 1000);
    }
    if (s->concurrency) {
        sw_buf_printf(out, ",\"instance_group\":[{\"kind\":\"KIND_CPU\",\"count\":%u}]", s->concurrency);
    }
}

void sw_api_describe_plan(const struct sw_model *model, void (*fn)(void *arg, const char *key, const char *value),
                          void *arg) {
    char text[SW_NUMBER_MAX + 1];
    fn(arg, "slipway.mode", sw_run_mode_name(model->plan.mode));
    fn(arg, "slipway.reason", model->plan.reason);
    if (model->probe.note[0]) {
        fn(arg, "slipway.batching_note", model->probe.note);
    }
    *sw_format_double(text, model->bundle->weight) = '\0';
    fn(arg, "slipway.weight", text);
    snprintf(text, sizeof text, "%u", model->threads);
    fn(arg, "slipway.threads", text);
}

void sw_api_set_queue_gauges(struct sw_api *api, struct sw_metrics *metrics) {
    pthread_mutex_lock(&api->models_lock);
    const struct sw_map_entry *entry;
    for (size_t i = 0; (entry = sw_map_next(&api->models, &i));) {
        const struct sw_api_model *m = entry->value;
        struct sw_flow_state state;
        const char *labels[] = {m->name, m->version_text, NULL};
        sw_flow_look(m->flow, &state);
        sw_series_set(sw_metrics_series(metrics, SW_METRIC_SLIPWAY_QUEUE_REQUESTS, labels), (double)state.waiting);
        sw_series_set(sw_metrics_series(metrics, SW_METRIC_SLIPWAY_QUEUE_AGE_SECONDS, labels),
                      (double)state.oldest_ns / 1e9);
        for (int drop = SW_DROP_NONE + 1; drop < SW_DROPS; drop++) {
            labels[2] = sw_drop_name(drop);
            sw_series_set(sw_metrics_series(metrics, SW_METRIC_SLIPWAY_REQUESTS_DROPPED_TOTAL, labels),
                          (double)state.dropped[drop]);
        }
    }
    pthread_mutex_unlock(&api->models_lock);
}
