/* The monitoring API: its lane, and health in its words. */
#include "api/monitoring.h"

#include "base/clock.h"

/* ---- the lane */

struct job {
    struct sw_http_exchange *x;
    sw_monitoring_work *work;
};

static void run(void *arg) { /* a thread of the lane */
    struct job *job = arg;
    struct sw_http_exchange *x = job->x;
    struct sw_error err;
    if (job->work(x, sw_api_of(x)->options.monitor, &err)) {
        sw_http_reply_error(x, &err);
    }
    sw_http_finish(x); /* not ours from here on */
}

static sw_status submit(struct sw_http_exchange *x, sw_monitoring_work *work, struct sw_error *err) {
    struct sw_api *api = sw_api_of(x);
    if (!api->options.monitor) {
        return sw_fail(err, SW_E_UNAVAILABLE, "monitoring is switched off (monitoring.enabled)");
    }
    struct job *job = sw_arena_calloc(&x->arena, 1, sizeof *job);
    if (!job) {
        return sw_api_no_memory(err);
    }
    *job = (struct job){x, work};
    return sw_api_submit(api, SW_API_MONITOR, run, job, err);
}

enum sw_http_result sw_monitoring_run(struct sw_http_exchange *x, sw_monitoring_work *work) {
    struct sw_error err;
    return submit(x, work, &err) ? sw_api_reply_error(x, &err) : SW_HTTP_ASYNC;
}

/* ---- health */

static void put_state(struct sw_buf *out, struct sw_monitor *monitor) {
    struct sw_monitor_state state;
    sw_monitor_read_state(monitor, &state);
    sw_buf_printf(out, ",\"alerts\":{\"firing\":%zu,\"pending\":%zu},\"resources\":{", state.firing, state.pending);
    SW_LIT(out, "\"cpu_percent\":");
    sw_api_put_double(out, state.cpu_percent);
    sw_buf_printf(out, ",\"memory_bytes\":%llu,\"memory_percent\":", (unsigned long long)state.memory_bytes);
    sw_api_put_double(out, state.memory_percent);
    sw_buf_printf(out, ",\"queue_depth\":%zu}", state.queue_depth);
}

enum sw_http_result sw_api_monitoring_health(struct sw_http_exchange *x) {
    struct sw_api *api = sw_api_of(x);
    struct sw_clock *clock = api->options.clock;
    char timestamp[SW_TIMESTAMP_MAX];
    struct sw_buf out;
    struct sw_error err;
    sw_api_buf(x, &out);
    sw_format_timestamp(clock->wall_ms(clock), timestamp);
    sw_buf_printf(&out, "{\"timestamp\":\"%s\",", timestamp);
    if (sw_api_put_health(x, &out, &err)) {
        return sw_api_reply_error(x, &err);
    }
    if (api->options.monitor) {
        put_state(&out, api->options.monitor);
    } else {
        SW_LIT(&out, ",\"alerts\":null,\"resources\":null");
    }
    sw_buf_append_c(&out, '}');
    return sw_api_reply(x, 200, &out);
}

static enum sw_http_result reply_not_ready(struct sw_http_exchange *x, const char *reason, struct sw_str degraded) {
    struct sw_buf details;
    struct sw_error err;
    (void)sw_fail(&err, SW_E_UNAVAILABLE, "not ready: %s", reason);
    sw_api_buf(x, &details);
    SW_LIT(&details, "{\"ready\":false");
    sw_buf_append_str(&details, degraded);
    sw_buf_append_c(&details, '}');
    sw_http_reply_error_details(x, &err, details.failed ? (struct sw_str){NULL, 0} : sw_buf_str(&details));
    return SW_HTTP_DONE;
}

enum sw_http_result sw_api_monitoring_ready(struct sw_http_exchange *x) {
    struct sw_api *api = sw_api_of(x);
    const char *reason;
    struct sw_buf degraded, out;
    sw_api_buf(x, &degraded);
    sw_api_put_degraded(api, &degraded); /* ,"degraded":[...] or nothing */
    if (!sw_api_is_ready(api, &x->arena, &reason)) {
        return reply_not_ready(x, reason, sw_buf_str(&degraded));
    }
    sw_api_buf(x, &out);
    SW_LIT(&out, "{\"ready\":true");
    sw_buf_append_str(&out, sw_buf_str(&degraded));
    sw_buf_append_c(&out, '}');
    return sw_api_reply(x, 200, &out);
}
