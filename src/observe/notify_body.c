/* What a notification says, in the words of Alertmanager: its webhook (version 4) and its API (v2). */
#include <math.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/memory.h"
#include "observe/notify.h"

enum { URL_MAX = 2048 };

static void set_time(json_t *object, const char *key, uint64_t ms) {
    char text[SW_TIMESTAMP_MAX];
    sw_format_timestamp(ms, text);
    json_object_set_new(object, key, json_string(text));
}

/* What an alert is: the same for its start and its end. */
static json_t *labels_of(const struct sw_alert *alert) {
    json_t *labels = json_object();
    json_object_set_new(labels, "alertname", json_string(alert->rule));
    json_object_set_new(labels, "severity", json_string(sw_severity_name(alert->severity)));
    json_object_set_new(labels, "service", json_string("slipway"));
    json_object_set_new(labels, "instance", json_string(alert->instance));
    if (alert->model) {
        json_object_set_new(labels, "model", json_string(alert->model));
    }
    if (alert->is_test) {
        json_object_set_new(labels, "test", json_string("true"));
    }
    return labels;
}

static json_t *annotations_of(const struct sw_alert *alert) {
    json_t *annotations = json_object();
    struct sw_buf message;
    char value[64];
    sw_buf_init(&message, 4 * SW_ALERT_TEXT_MAX);
    sw_alert_message(alert, &message);
    snprintf(value, sizeof value, "%.6g", alert->value);
    json_object_set_new(annotations, "summary", json_string(alert->summary));
    json_object_set_new(annotations, "description", json_string(message.failed ? alert->summary : message.data));
    json_object_set_new(annotations, "value", json_string(value));
    json_object_set_new(annotations, "alert_id", json_string(alert->id));
    sw_buf_deinit(&message);
    return annotations;
}

static json_t *link_of(const char *external_url) {
    char url[URL_MAX];
    snprintf(url, sizeof url, "%s/monitoring/v1/alerts/recent", external_url);
    return json_string(url);
}

/* Names the labels, so that receivers tell alerts apart. */
static json_t *fingerprint_of(const json_t *labels) {
    char text[17];
    char *all = json_dumps(labels, JSON_SORT_KEYS | JSON_COMPACT);
    snprintf(text, sizeof text, "%016llx", all ? (unsigned long long)sw_hash(all, strlen(all), 0) : 0);
    sw_free(all);
    return json_string(text);
}

static json_t *webhook_body(const struct sw_alert *alert, const char *external_url) {
    bool is_firing = alert->state == SW_ALERT_FIRING;
    const char *status = is_firing ? "firing" : "resolved";
    char group[SW_RULE_NAME_MAX + 32];
    snprintf(group, sizeof group, "{}:{alertname=\"%s\"}", alert->rule);
    json_t *labels = labels_of(alert), *annotations = annotations_of(alert), *entry = json_object();
    json_object_set_new(entry, "status", json_string(status));
    json_object_set(entry, "labels", labels);
    json_object_set(entry, "annotations", annotations);
    set_time(entry, "startsAt", alert->started_ms);
    if (is_firing) { /* Go's zero time: not yet */
        json_object_set_new(entry, "endsAt", json_string("0001-01-01T00:00:00Z"));
    } else {
        set_time(entry, "endsAt", alert->resolved_ms);
    }
    json_object_set_new(entry, "generatorURL", link_of(external_url));
    json_object_set_new(entry, "fingerprint", fingerprint_of(labels));
    return json_pack("{s:s, s:s, s:i, s:s, s:s, s:{s:s}, s:o, s:o, s:s, s:[o]}", "version", "4", "groupKey", group,
                     "truncatedAlerts", 0, "status", status, "receiver", "slipway", "groupLabels", "alertname",
                     alert->rule, "commonLabels", labels, "commonAnnotations", annotations, "externalURL", external_url,
                     "alerts", entry);
}

static json_t *alertmanager_body(const struct sw_alert *alert, const char *external_url, uint64_t now_ms) {
    json_t *entry = json_object();
    json_object_set_new(entry, "labels", labels_of(alert));
    json_object_set_new(entry, "annotations", annotations_of(alert));
    set_time(entry, "startsAt", alert->started_ms);
    set_time(entry, "endsAt", alert->state == SW_ALERT_FIRING ? now_ms + SW_NOTIFY_VALID_MS : alert->resolved_ms);
    json_object_set_new(entry, "generatorURL", link_of(external_url));
    json_t *list = json_array();
    json_array_append_new(list, entry);
    return list;
}

json_t *sw_notify_body(const struct sw_alert *alert, enum sw_notify_format format, const char *external_url,
                       uint64_t now_ms) {
    return format == SW_NOTIFY_WEBHOOK ? webhook_body(alert, external_url)
                                       : alertmanager_body(alert, external_url, now_ms);
}
