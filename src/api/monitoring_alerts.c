/* Alerts over HTTP: those of late, who has seen them, the rules, and one that only tests its delivery. */
#include "api/monitoring.h"

enum { LIMIT_DEFAULT = 100, LIMIT_MAX = 1000, ID_MAX = 128, WORD_MAX = 32 };

/* ---- GET alerts/recent */

static sw_status read_filter(struct sw_http_exchange *x, struct sw_alert_filter *filter, struct sw_error *err) {
    const char *state = NULL, *severity = NULL;
    uint64_t limit = LIMIT_DEFAULT;
    SW_TRY(sw_api_query_number(x, "limit", 1, LIMIT_MAX, &limit, err));
    SW_TRY(sw_api_query_time(x, "since", &filter->since_ms, err));
    SW_TRY(sw_api_query_text(x, "state", WORD_MAX, &state, err));
    SW_TRY(sw_api_query_text(x, "severity", WORD_MAX, &severity, err));
    filter->limit = limit;
    filter->has_state = state;
    filter->has_severity = severity;
    if (state && !sw_alert_state_parse(sw_str_of(state), &filter->state)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "query argument 'state' is '%s': pending, firing or resolved",
                       state);
    }
    if (severity && !sw_severity_parse(sw_str_of(severity), &filter->severity)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "query argument 'severity' is '%s': info, warning or critical",
                       severity);
    }
    return SW_OK;
}

static sw_status recent(struct sw_http_exchange *x, struct sw_monitor *monitor, struct sw_error *err) {
    struct sw_alert_filter filter = {0};
    json_auto_t *doc = NULL;
    SW_TRY(read_filter(x, &filter, err));
    SW_TRY(sw_monitor_alerts(monitor, &filter, &doc, err));
    sw_api_reply_doc(x, 200, doc);
    return SW_OK;
}

enum sw_http_result sw_api_monitoring_alerts(struct sw_http_exchange *x) {
    return sw_monitoring_run(x, recent);
}

static sw_status rules(struct sw_http_exchange *x, struct sw_monitor *monitor, struct sw_error *err) {
    json_auto_t *doc = json_object();
    if (!doc || json_object_set_new(doc, "rules", sw_monitor_rules(monitor))) {
        return sw_api_no_memory(err);
    }
    sw_api_reply_doc(x, 200, doc);
    return SW_OK;
}

enum sw_http_result sw_api_monitoring_rules(struct sw_http_exchange *x) {
    return sw_monitoring_run(x, rules);
}

/* ---- POST alerts/acknowledge, alerts/test */

static sw_status acknowledge(struct sw_http_exchange *x, struct sw_monitor *monitor, struct sw_error *err) {
    const char *id = NULL, *by = NULL, *note = NULL;
    struct sw_actor actor;
    json_auto_t *doc = NULL;
    const struct sw_api_field fields[] = {
        {.name = "alert_id", .kind = SW_MEMBER_TEXT, .ret = &id, .required = true, .max = ID_MAX},
        {.name = "acknowledged_by", .kind = SW_MEMBER_TEXT, .ret = &by, .max = SW_ALERT_WHO_MAX},
        {.name = "note", .kind = SW_MEMBER_TEXT, .ret = &note, .max = SW_ALERT_TEXT_MAX},
    };
    SW_TRY(sw_api_read(x, false, fields, SW_COUNTOF(fields), err));
    SW_TRY(sw_api_actor(x, note, &actor, err));
    const struct sw_monitor_actor who = {actor.name, actor.request_id};
    SW_TRY(sw_monitor_acknowledge(monitor, id, by && *by ? by : actor.name, note, &who, &doc, err));
    sw_api_reply_doc(x, 200, doc);
    return SW_OK;
}

enum sw_http_result sw_api_monitoring_acknowledge(struct sw_http_exchange *x) {
    return sw_monitoring_run(x, acknowledge);
}

static sw_status test_alert(struct sw_http_exchange *x, struct sw_monitor *monitor, struct sw_error *err) {
    const char *severity_name = "warning", *message = "This alert tests that alerts arrive.";
    enum sw_severity severity;
    struct sw_actor actor;
    json_auto_t *doc = NULL;
    const struct sw_api_field fields[] = {
        {.name = "severity", .kind = SW_MEMBER_TEXT, .ret = &severity_name, .max = WORD_MAX},
        {.name = "message", .kind = SW_MEMBER_TEXT, .ret = &message, .max = SW_ALERT_TEXT_MAX / 2},
    };
    SW_TRY(sw_api_read(x, true, fields, SW_COUNTOF(fields), err));
    if (!sw_severity_parse(sw_str_of(severity_name), &severity)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "'severity' is '%s': info, warning or critical", severity_name);
    }
    SW_TRY(sw_api_actor(x, NULL, &actor, err));
    const struct sw_monitor_actor who = {actor.name, actor.request_id};
    SW_TRY(sw_monitor_test_alert(monitor, severity, message, &who, &doc, err));
    sw_api_reply_doc(x, 201, doc);
    return SW_OK;
}

enum sw_http_result sw_api_monitoring_test_alert(struct sw_http_exchange *x) {
    return sw_monitoring_run(x, test_alert);
}
