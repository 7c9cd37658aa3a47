/* The terms of a request: when its answer is wanted, and whether it goes before others. */
#include "api/api_internal.h"

static void set_deadline(struct sw_api_call *call, uint64_t timeout_ns) {
    uint64_t deadline = call->x->start_ns + timeout_ns;
    call->deadline_ns = call->deadline_ns && call->deadline_ns < deadline ? call->deadline_ns : deadline;
}

static sw_status read_timeout(struct sw_api_call *call, struct sw_str text, struct sw_error *err) {
    uint64_t ms;
    if (!sw_parse_u64(text, &ms) || ms < 1 || ms > SW_TIMEOUT_MS_MAX) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "X-Timeout-Ms: '" SW_STR_FMT "' is no number from 1 to %d",
                       SW_STR_ARG(text), SW_TIMEOUT_MS_MAX);
    }
    set_deadline(call, ms * 1000000);
    return SW_OK;
}

static sw_status read_priority(struct sw_api_call *call, struct sw_str text, struct sw_error *err) {
    if (sw_str_ieq(text, SW_STR("high"))) {
        call->priority = SW_PRIORITY_HIGH;
    } else if (!sw_str_ieq(text, SW_STR("normal"))) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "X-Priority: '" SW_STR_FMT "' is neither high nor normal",
                       SW_STR_ARG(text));
    }
    return SW_OK;
}

sw_status sw_api_read_terms(struct sw_api_call *call, struct sw_error *err) {
    const struct sw_http_exchange *x = call->x;
    const struct sw_bundle *bundle = call->model->bundle;
    call->priority = SW_PRIORITY_NORMAL;
    if (SW_UNLIKELY(x->timeout.data != NULL)) {
        SW_TRY(read_timeout(call, x->timeout, err));
    } else if (bundle && bundle->batching.timeout_ms) {
        set_deadline(call, (uint64_t)bundle->batching.timeout_ms * 1000000);
    }
    return SW_LIKELY(!x->priority.data) ? SW_OK : read_priority(call, x->priority, err);
}

sw_status sw_api_call_set_timeout_us(struct sw_api_call *call, int64_t timeout_us, struct sw_error *err) {
    if (timeout_us < 0 || timeout_us > (int64_t)SW_TIMEOUT_MS_MAX * 1000) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT,
                       "parameter 'timeout': %lld is no number of microseconds from 0 to %lld", (long long)timeout_us,
                       (long long)SW_TIMEOUT_MS_MAX * 1000);
    }
    if (timeout_us) {
        set_deadline(call, (uint64_t)timeout_us * 1000);
    }
    return SW_OK;
}

sw_status sw_api_call_set_priority(struct sw_api_call *call, int64_t priority, struct sw_error *err) {
    if (priority < 0 || priority > UINT32_MAX) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "parameter 'priority': %lld is no number from 0 to %lld",
                       (long long)priority, (long long)UINT32_MAX);
    }
    if (priority) {
        call->priority = priority == 1 ? SW_PRIORITY_HIGH : SW_PRIORITY_NORMAL;
    }
    return SW_OK;
}
