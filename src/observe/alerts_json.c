/* An alert as a value: names of its states, copies, and how the API shows it. */
#include <math.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/units.h"
#include "observe/alerts.h"

static const char *const states[] = {"pending", "firing", "resolved"};
static const char *const deliveries[] = {"none", "waiting", "delivered", "failed"};

static bool find_name(struct sw_str text, const char *const *names, size_t count, int *ret) {
    for (size_t i = 0; i < count; i++) {
        if (sw_str_is(text, names[i])) {
            *ret = (int)i;
            return true;
        }
    }
    return false;
}

const char *sw_alert_state_name(enum sw_alert_state state) {
    SW_ASSERT((unsigned)state < SW_ALERT_STATES);
    return states[state];
}

bool sw_alert_state_parse(struct sw_str text, enum sw_alert_state *ret) {
    int found;
    bool is_known = find_name(text, states, SW_COUNTOF(states), &found);
    *ret = is_known ? (enum sw_alert_state)found : *ret;
    return is_known;
}

const char *sw_delivery_name(enum sw_delivery delivery) {
    SW_ASSERT((unsigned)delivery < SW_DELIVERIES);
    return deliveries[delivery];
}

bool sw_delivery_parse(struct sw_str text, enum sw_delivery *ret) {
    int found;
    bool is_known = find_name(text, deliveries, SW_COUNTOF(deliveries), &found);
    *ret = is_known ? (enum sw_delivery)found : *ret;
    return is_known;
}

void sw_alert_destroy(struct sw_alert *alert) {
    if (!alert) {
        return;
    }
    sw_free(alert->rule);
    sw_free(alert->what);
    sw_free(alert->model);
    sw_free(alert->summary);
    sw_free(alert->instance);
    sw_free(alert->resolved_reason);
    sw_free(alert->acknowledged_by);
    sw_free(alert->note);
    sw_free(alert->delivery_error);
    sw_free(alert);
}

struct sw_alert *sw_alert_copy(const struct sw_alert *alert) {
    struct sw_alert *copy = SW_NEW(struct sw_alert);
    *copy = *alert;
    copy->rule = sw_xstrdup(alert->rule);
    copy->what = sw_xstrdup(alert->what);
    copy->model = sw_xstrdup(alert->model);
    copy->summary = sw_xstrdup(alert->summary);
    copy->instance = sw_xstrdup(alert->instance);
    copy->resolved_reason = sw_xstrdup(alert->resolved_reason);
    copy->acknowledged_by = sw_xstrdup(alert->acknowledged_by);
    copy->note = sw_xstrdup(alert->note);
    copy->delivery_error = sw_xstrdup(alert->delivery_error);
    return copy;
}

void sw_alert_acknowledge(struct sw_alert *alert, const char *by, const char *note, uint64_t now_ms) {
    sw_free(alert->acknowledged_by);
    sw_free(alert->note);
    alert->acknowledged_ms = now_ms;
    alert->acknowledged_by = sw_xstrdup(by);
    alert->note = sw_xstrdup(note);
}

void sw_alert_message(const struct sw_alert *alert, struct sw_buf *out) {
    char held[SW_UNIT_TEXT_MAX];
    if (alert->is_test) {
        sw_buf_append_str(out, sw_str_of(alert->summary));
        return;
    }
    sw_format_duration(alert->for_ms * 1000, held);
    sw_buf_printf(out, "%s%s%s is %.6g, %s %.6g", alert->what, alert->model ? " of model " : "",
                  alert->model ? alert->model : "", alert->value, alert->is_above ? "above" : "below",
                  alert->threshold);
    if (alert->for_ms) {
        sw_buf_printf(out, " for %s", held);
    }
    sw_buf_append_c(out, '.');
}

/* ---- JSON */

static json_t *text_or_null(const char *text) {
    return text ? json_string(text) : json_null();
}

static json_t *time_or_null(uint64_t ms) {
    char text[SW_TIMESTAMP_MAX];
    if (!ms) {
        return json_null();
    }
    sw_format_timestamp(ms, text);
    return json_string(text);
}

static json_t *number_or_null(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *acknowledgement(const struct sw_alert *alert) {
    if (!alert->acknowledged_ms) {
        return json_null();
    }
    json_t *object = json_object();
    json_object_set_new(object, "at", time_or_null(alert->acknowledged_ms));
    json_object_set_new(object, "by", text_or_null(alert->acknowledged_by));
    json_object_set_new(object, "note", text_or_null(alert->note));
    return object;
}

static json_t *delivery(const struct sw_alert *alert) {
    json_t *object = json_object();
    json_object_set_new(object, "state", json_string(sw_delivery_name(alert->delivery)));
    json_object_set_new(object, "attempts", json_integer(alert->delivery_attempts));
    json_object_set_new(object, "error", text_or_null(alert->delivery_error));
    return object;
}

static json_t *condition(bool is_above, double threshold, uint64_t for_ms) {
    char held[SW_UNIT_TEXT_MAX];
    json_t *object = json_object();
    sw_format_duration(for_ms * 1000, held);
    json_object_set_new(object, is_above ? "above" : "below", json_real(threshold));
    json_object_set_new(object, "for", json_string(held));
    return object;
}

json_t *sw_alert_to_json(const struct sw_alert *alert) {
    json_t *object = json_object();
    struct sw_buf message;
    sw_buf_init(&message, 4 * SW_ALERT_TEXT_MAX);
    sw_alert_message(alert, &message);
    json_object_set_new(object, "id", json_string(alert->id));
    json_object_set_new(object, "name", json_string(alert->rule));
    json_object_set_new(object, "severity", json_string(sw_severity_name(alert->severity)));
    json_object_set_new(object, "state", json_string(sw_alert_state_name(alert->state)));
    json_object_set_new(object, "summary", json_string(alert->summary));
    json_object_set_new(object, "message", json_string(message.failed ? alert->summary : message.data));
    json_object_set_new(object, "metric", json_string(alert->what));
    json_object_set_new(object, "model", text_or_null(alert->model));
    json_object_set_new(object, "value", number_or_null(alert->value));
    json_object_set_new(object, "condition", condition(alert->is_above, alert->threshold, alert->for_ms));
    json_object_set_new(object, "test", json_boolean(alert->is_test));
    json_object_set_new(object, "instance", json_string(alert->instance));
    json_object_set_new(object, "started_at", time_or_null(alert->started_ms));
    json_object_set_new(object, "fired_at", time_or_null(alert->fired_ms));
    json_object_set_new(object, "resolved_at", time_or_null(alert->resolved_ms));
    json_object_set_new(object, "resolved_reason", text_or_null(alert->resolved_reason));
    json_object_set_new(object, "acknowledged", acknowledgement(alert));
    json_object_set_new(object, "delivery", delivery(alert));
    sw_buf_deinit(&message);
    return object;
}

/* ---- rules */

static json_t *watched_models(const struct sw_alerts *alerts, const struct sw_rule *rule, enum sw_alert_state state) {
    json_t *list = json_array();
    for (const struct sw_watch *watch = alerts->watches; watch; watch = watch->next) {
        if (watch->rule == rule && watch->alert && watch->alert->state == state && watch->model) {
            json_array_append_new(list, json_string(watch->model));
        }
    }
    return list;
}

static const char *rule_state(const struct sw_alerts *alerts, const struct sw_rule *rule) {
    const char *state = "inactive";
    for (const struct sw_watch *watch = alerts->watches; watch; watch = watch->next) {
        if (watch->rule == rule && watch->alert) {
            if (watch->alert->state == SW_ALERT_FIRING) {
                return "firing";
            }
            state = "pending";
        }
    }
    return state;
}

static json_t *rule_to_json(const struct sw_alerts *alerts, const struct sw_rule *rule) {
    char window[SW_UNIT_TEXT_MAX], keep[SW_UNIT_TEXT_MAX];
    sw_format_duration(rule->window_ms * 1000, window);
    sw_format_duration(rule->keep_firing_ms * 1000, keep);
    json_t *object = json_object();
    json_object_set_new(object, "name", json_string(rule->name));
    json_object_set_new(object, "summary", json_string(rule->summary));
    json_object_set_new(object, "severity", json_string(sw_severity_name(rule->severity)));
    json_object_set_new(object, "metric", json_string(rule->what));
    json_object_set_new(object, "model", text_or_null(rule->model));
    json_object_set_new(object, "condition", condition(rule->is_above, rule->threshold, rule->for_ms));
    json_object_set_new(object, "window", json_string(window));
    json_object_set_new(object, "keep_firing_for", json_string(keep));
    json_object_set_new(object, "min_samples", json_integer((json_int_t)rule->min_samples));
    json_object_set_new(object, "state", json_string(rule_state(alerts, rule)));
    json_object_set_new(object, "pending_models", watched_models(alerts, rule, SW_ALERT_PENDING));
    json_object_set_new(object, "firing_models", watched_models(alerts, rule, SW_ALERT_FIRING));
    return object;
}

json_t *sw_alerts_rules_to_json(const struct sw_alerts *alerts) {
    json_t *list = json_array();
    for (size_t i = 0; i < alerts->rules.count; i++) {
        json_array_append_new(list, rule_to_json(alerts, &alerts->rules.items[i]));
    }
    return list;
}
