/* The state machine of alerts; see alerts.h. */
#include "observe/alerts.h"

#include <math.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/memory.h"

/* ---- life */

void sw_alerts_init(struct sw_alerts *alerts, struct sw_rules *rules, const char *instance) {
    *alerts = (struct sw_alerts){.rules = *rules, .instance = sw_xstrdup(instance)};
    *rules = (struct sw_rules){0};
}

static void free_watch(struct sw_watch *watch) {
    if (watch->alert && watch->alert->state == SW_ALERT_PENDING) {
        sw_alert_destroy(watch->alert);
    }
    sw_free(watch->model);
    sw_free(watch);
}

void sw_alerts_deinit(struct sw_alerts *alerts) {
    while (alerts->watches) {
        struct sw_watch *next = alerts->watches->next;
        free_watch(alerts->watches);
        alerts->watches = next;
    }
    for (size_t i = 0; i < alerts->count; i++) {
        sw_alert_destroy(alerts->list[i]);
    }
    sw_free(alerts->list);
    sw_free(alerts->instance);
    sw_rules_deinit(&alerts->rules);
}

/* ---- the list */

static void append(struct sw_alerts *alerts, struct sw_alert *alert) {
    if (alerts->count == alerts->capacity) {
        alerts->capacity = alerts->capacity ? 2 * alerts->capacity : 16;
        alerts->list = sw_xrealloc(alerts->list, alerts->capacity * sizeof *alerts->list);
    }
    alerts->list[alerts->count++] = alert;
}

/* The oldest resolved one goes; one that the store does not have yet only when there is no other. */
static void forget_one(struct sw_alerts *alerts) {
    size_t found = alerts->count;
    for (size_t i = 0; i < alerts->count && found == alerts->count; i++) {
        found = alerts->list[i]->state == SW_ALERT_RESOLVED && !alerts->list[i]->unsaved ? i : found;
    }
    for (size_t i = 0; i < alerts->count && found == alerts->count; i++) {
        found = alerts->list[i]->state == SW_ALERT_RESOLVED ? i : found;
    }
    if (found == alerts->count) {
        return;
    }
    alerts->forgotten += alerts->list[found]->unsaved;
    sw_alert_destroy(alerts->list[found]);
    alerts->count--;
    memmove(&alerts->list[found], &alerts->list[found + 1], (alerts->count - found) * sizeof *alerts->list);
}

static void keep_bounded(struct sw_alerts *alerts) {
    size_t resolved = 0;
    for (size_t i = 0; i < alerts->count; i++) {
        resolved += alerts->list[i]->state == SW_ALERT_RESOLVED;
    }
    for (; resolved > SW_ALERTS_KEPT; resolved--) {
        forget_one(alerts);
    }
}

static void changed(struct sw_alerts *alerts, struct sw_alert *alert) {
    alert->unsaved = true;
    if (alerts->on_change) {
        alerts->on_change(alerts->arg, alert);
    }
}

static void resolve(struct sw_alerts *alerts, struct sw_alert *alert, const char *reason, uint64_t now_ms) {
    alert->state = SW_ALERT_RESOLVED;
    alert->resolved_ms = now_ms;
    alert->resolved_reason = sw_xstrdup(reason);
    changed(alerts, alert);
}

static void fire(struct sw_alerts *alerts, struct sw_alert *alert, uint64_t now_ms) {
    alert->state = SW_ALERT_FIRING;
    alert->fired_ms = now_ms;
    append(alerts, alert);
    changed(alerts, alert);
}

/* ---- one watch */

static struct sw_alert *new_alert(const struct sw_alerts *alerts, const struct sw_watch *watch, uint64_t now_ms) {
    const struct sw_rule *rule = watch->rule;
    struct sw_alert *alert = SW_NEW(struct sw_alert);
    sw_random_id(alert->id);
    alert->rule = sw_xstrdup(rule->name);
    alert->what = sw_xstrdup(rule->what);
    alert->model = sw_xstrdup(watch->model);
    alert->summary = sw_xstrdup(rule->summary);
    alert->instance = sw_xstrdup(alerts->instance);
    alert->severity = rule->severity;
    alert->is_above = rule->is_above;
    alert->threshold = rule->threshold;
    alert->for_ms = rule->for_ms;
    alert->started_ms = now_ms;
    return alert;
}

static void end(struct sw_alerts *alerts, struct sw_watch *watch, const char *reason, uint64_t now_ms) {
    if (watch->alert->state == SW_ALERT_PENDING) {
        sw_alert_destroy(watch->alert);
    } else {
        resolve(alerts, watch->alert, reason, now_ms);
    }
    watch->alert = NULL;
}

static void step_unknown(struct sw_alerts *alerts, struct sw_watch *watch, uint64_t passed_ms, uint64_t now_ms) {
    watch->unknown_ms += passed_ms;
    if (watch->alert && watch->unknown_ms >= SW_ALERT_UNKNOWN_MS) {
        end(alerts, watch, "no data", now_ms);
        watch->was_wrong = false;
        watch->wrong_ms = watch->right_ms = 0;
    }
}

static void step_wrong(struct sw_alerts *alerts, struct sw_watch *watch, double value, uint64_t passed_ms,
                       uint64_t now_ms) {
    watch->wrong_ms += watch->was_wrong && watch->unknown_ms == 0 ? passed_ms : 0;
    watch->unknown_ms = watch->right_ms = 0;
    watch->was_wrong = true;
    if (!watch->alert) {
        watch->alert = new_alert(alerts, watch, now_ms);
    }
    watch->alert->value = value;
    if (watch->alert->state == SW_ALERT_PENDING && watch->wrong_ms >= watch->rule->for_ms) {
        fire(alerts, watch->alert, now_ms);
    }
}

static void step_right(struct sw_alerts *alerts, struct sw_watch *watch, uint64_t passed_ms, uint64_t now_ms) {
    watch->right_ms += !watch->was_wrong && watch->unknown_ms == 0 ? passed_ms : 0;
    watch->unknown_ms = watch->wrong_ms = 0;
    watch->was_wrong = false;
    bool is_pending = watch->alert && watch->alert->state == SW_ALERT_PENDING;
    if (watch->alert && (is_pending || watch->right_ms >= watch->rule->keep_firing_ms)) {
        end(alerts, watch, "recovered", now_ms);
    }
}

static bool is_wrong(const struct sw_rule *rule, double value) {
    return rule->is_above ? value > rule->threshold : value < rule->threshold;
}

static void step(struct sw_alerts *alerts, struct sw_watch *watch, double value, uint64_t passed_ms, uint64_t now_ms) {
    if (isnan(value)) {
        step_unknown(alerts, watch, passed_ms, now_ms);
    } else if (is_wrong(watch->rule, value)) {
        step_wrong(alerts, watch, value, passed_ms, now_ms);
    } else {
        step_right(alerts, watch, passed_ms, now_ms);
    }
}

/* ---- all of them */

static bool same(const char *a, const char *b) {
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static struct sw_watch *find_watch(const struct sw_alerts *alerts, const struct sw_rule *rule, const char *model) {
    struct sw_watch *watch = alerts->watches;
    while (watch && (watch->rule != rule || !same(watch->model, model))) {
        watch = watch->next;
    }
    return watch;
}

static struct sw_watch *make_watch(struct sw_alerts *alerts, const struct sw_rule *rule, const char *model) {
    struct sw_watch *watch = SW_NEW(struct sw_watch);
    watch->rule = rule;
    watch->model = sw_xstrdup(model);
    watch->next = alerts->watches;
    alerts->watches = watch;
    return watch;
}

/* A watch is made when there is something to hold. */
static void evaluate(struct sw_alerts *alerts, const struct sw_history *history, const struct sw_rule *rule,
                     const char *model, uint64_t passed_ms, uint64_t now_ms) {
    double value;
    struct sw_error err;
    if (sw_rule_measure(rule, history, model, now_ms, &value, &err)) {
        value = NAN; /* no memory to look: not known */
    }
    struct sw_watch *watch = find_watch(alerts, rule, model);
    if (!watch && !isnan(value) && is_wrong(rule, value)) {
        watch = make_watch(alerts, rule, model);
    }
    if (watch) {
        step(alerts, watch, value, passed_ms, now_ms);
    }
}

/* Is this the first track of its model, so that each is looked at once? */
static bool is_first_of_model(const struct sw_history *history, const struct sw_track *track, const char *metric,
                              const char *model) {
    const struct sw_track *t = history->tracks;
    while (t != track && (strcmp(t->metric, metric) != 0 || !same(sw_track_label(t, "model"), model))) {
        t = t->next;
    }
    return t == track;
}

static bool has_track(const struct sw_history *history, const char *metric, const char *model) {
    for (const struct sw_track *t = history->tracks; t; t = t->next) {
        if (strcmp(t->metric, metric) == 0 && same(sw_track_label(t, "model"), model)) {
            return true;
        }
    }
    return false;
}

static void evaluate_models(struct sw_alerts *alerts, const struct sw_history *history, const struct sw_rule *rule,
                            uint64_t passed_ms, uint64_t now_ms) {
    for (const struct sw_track *track = history->tracks; track; track = track->next) {
        const char *model = strcmp(track->metric, rule->metric) == 0 ? sw_track_label(track, "model") : NULL;
        if (model && is_first_of_model(history, track, rule->metric, model)) {
            evaluate(alerts, history, rule, model, passed_ms, now_ms);
        }
    }
    for (struct sw_watch *watch = alerts->watches; watch; watch = watch->next) {
        if (watch->rule == rule && !has_track(history, rule->metric, watch->model)) {
            step(alerts, watch, NAN, passed_ms, now_ms); /* of a model that is gone */
        }
    }
}

static void drop_idle_watches(struct sw_alerts *alerts) {
    for (struct sw_watch **link = &alerts->watches; *link;) {
        struct sw_watch *watch = *link;
        if (watch->alert) {
            link = &watch->next;
        } else {
            *link = watch->next;
            free_watch(watch);
        }
    }
}

static void end_tests(struct sw_alerts *alerts, uint64_t now_ms) {
    for (size_t i = 0; i < alerts->count; i++) {
        struct sw_alert *alert = alerts->list[i];
        if (alert->is_test && alert->state == SW_ALERT_FIRING && now_ms >= alert->fired_ms + SW_ALERT_TEST_MS) {
            resolve(alerts, alert, "test over", now_ms);
        }
    }
}

void sw_alerts_evaluate(struct sw_alerts *alerts, const struct sw_history *history, uint64_t now_ms, uint64_t now_ns) {
    uint64_t passed_ms = alerts->evaluated_ns ? (now_ns - alerts->evaluated_ns) / 1000000 : 0;
    for (size_t i = 0; i < alerts->rules.count; i++) {
        const struct sw_rule *rule = &alerts->rules.items[i];
        if (rule->per_model && !rule->model) {
            evaluate_models(alerts, history, rule, passed_ms, now_ms);
        } else {
            evaluate(alerts, history, rule, rule->model, passed_ms, now_ms);
        }
    }
    alerts->evaluated_ns = now_ns;
    end_tests(alerts, now_ms);
    drop_idle_watches(alerts);
    keep_bounded(alerts);
}

/* ---- what people do */

sw_status sw_alerts_make_test(const struct sw_alerts *alerts, enum sw_severity severity, const char *message,
                              uint64_t now_ms, struct sw_alert **ret, struct sw_error *err) {
    size_t firing = 0;
    for (size_t i = 0; i < alerts->count; i++) {
        firing += alerts->list[i]->is_test && alerts->list[i]->state == SW_ALERT_FIRING;
    }
    if (firing >= SW_ALERT_TESTS_MAX) {
        return sw_fail(err, SW_E_TOO_MANY_REQUESTS, "%d test alerts fire already; each ends by itself after %d s",
                       SW_ALERT_TESTS_MAX, SW_ALERT_TEST_MS / 1000);
    }
    struct sw_alert *alert = SW_NEW(struct sw_alert);
    sw_random_id(alert->id);
    alert->rule = sw_xstrdup("TestAlert");
    alert->what = sw_xstrdup("test");
    alert->summary = sw_xstrdup(message);
    alert->instance = sw_xstrdup(alerts->instance);
    alert->severity = severity;
    alert->is_test = alert->is_above = true;
    alert->value = 1;
    alert->started_ms = alert->fired_ms = now_ms;
    alert->state = SW_ALERT_FIRING;
    *ret = alert;
    return SW_OK;
}

void sw_alerts_fire_test(struct sw_alerts *alerts, struct sw_alert *alert) {
    fire(alerts, alert, alert->fired_ms);
    keep_bounded(alerts);
}

struct sw_alert *sw_alerts_find(const struct sw_alerts *alerts, const char *id) {
    for (size_t i = alerts->count; i-- > 0;) {
        if (strcmp(alerts->list[i]->id, id) == 0) {
            return alerts->list[i];
        }
    }
    return NULL;
}

sw_status sw_alerts_acknowledge(struct sw_alerts *alerts, const char *id, const char *by, const char *note,
                                uint64_t now_ms, struct sw_error *err) {
    struct sw_alert *alert = sw_alerts_find(alerts, id);
    if (!alert) {
        return sw_fail(err, SW_E_NOT_FOUND, "there is no alert '%s'", id);
    }
    if (alert->acknowledged_ms) {
        char when[SW_TIMESTAMP_MAX];
        sw_format_timestamp(alert->acknowledged_ms, when);
        return sw_fail(err, SW_E_CONFLICT, "alert '%s' was acknowledged already, by %s at %s", id,
                       alert->acknowledged_by, when);
    }
    sw_alert_acknowledge(alert, by, note, now_ms);
    return SW_OK;
}

/* ---- after a restart */

static const struct sw_rule *find_rule(const struct sw_alerts *alerts, const char *name) {
    for (size_t i = 0; i < alerts->rules.count; i++) {
        if (strcmp(alerts->rules.items[i].name, name) == 0) {
            return &alerts->rules.items[i];
        }
    }
    return NULL;
}

/* Is it still what the rule would say? */
static bool still_applies(const struct sw_rule *rule, const struct sw_alert *alert) {
    bool same_kind = rule->per_model == (alert->model != NULL) && strcmp(rule->what, alert->what) == 0;
    return same_kind && (!rule->model || same(rule->model, alert->model));
}

void sw_alerts_restore(struct sw_alerts *alerts, struct sw_alert *alert, uint64_t now_ms) {
    const struct sw_rule *rule = find_rule(alerts, alert->rule);
    append(alerts, alert);
    if (alert->state != SW_ALERT_FIRING || alert->is_test) {
        return; /* a test ends by its time */
    }
    if (!rule || !still_applies(rule, alert)) {
        resolve(alerts, alert, "the rule is gone", now_ms);
        return;
    }
    struct sw_watch *watch = find_watch(alerts, rule, alert->model);
    if (watch && watch->alert && watch->alert->state == SW_ALERT_FIRING) {
        resolve(alerts, alert, "another took its place", now_ms); /* it fired anew before the store could be read */
        return;
    }
    if (!watch) {
        watch = make_watch(alerts, rule, alert->model);
    }
    if (watch->alert) {
        sw_alert_destroy(watch->alert); /* pending: it was firing all along */
    }
    watch->alert = alert;
}

/* ---- looking */

size_t sw_alerts_firing(const struct sw_alerts *alerts, const struct sw_rule *rule) {
    size_t firing = 0;
    for (size_t i = 0; i < alerts->count; i++) {
        const struct sw_alert *alert = alerts->list[i];
        firing += alert->state == SW_ALERT_FIRING && (!rule || strcmp(alert->rule, rule->name) == 0);
    }
    return firing;
}

size_t sw_alerts_pending(const struct sw_alerts *alerts) {
    size_t pending = 0;
    for (const struct sw_watch *watch = alerts->watches; watch; watch = watch->next) {
        pending += watch->alert && watch->alert->state == SW_ALERT_PENDING;
    }
    return pending;
}

bool sw_alert_fits(const struct sw_alert *alert, const struct sw_alert_filter *filter) {
    uint64_t when_ms = alert->fired_ms ? alert->fired_ms : alert->started_ms;
    return (!filter->has_state || alert->state == filter->state) &&
           (!filter->has_severity || alert->severity == filter->severity) && when_ms >= filter->since_ms;
}

static void append_json(json_t *list, const struct sw_alert *alert, const struct sw_alert_filter *filter) {
    if (json_array_size(list) < filter->limit && sw_alert_fits(alert, filter)) {
        json_array_append_new(list, sw_alert_to_json(alert));
    }
}

void sw_alerts_list(const struct sw_alerts *alerts, const struct sw_alert_filter *filter, json_t *ret) {
    bool wants_pending = filter->has_state && filter->state == SW_ALERT_PENDING;
    for (const struct sw_watch *watch = alerts->watches; watch && wants_pending; watch = watch->next) {
        if (watch->alert) {
            append_json(ret, watch->alert, filter);
        }
    }
    for (size_t i = alerts->count; i-- > 0 && !wants_pending;) {
        append_json(ret, alerts->list[i], filter);
    }
}
