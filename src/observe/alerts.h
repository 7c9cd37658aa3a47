/* Alerts: rules evaluated again and again, and what came of it.
 *
 * One watch per rule and, for rules of models, per model:
 *
 *               wrong                  wrong for `for`
 *   inactive ----------> pending ---------------------------> firing
 *      ^                   |                                    |
 *      +---- right again --+                                    | right for keep_firing_for, or nothing known for
 *      +--------------------------------- resolved <------------+ SW_ALERT_UNKNOWN_MS, or the rule is gone
 *
 * When nothing is known (too few samples, no traffic), the clock stands: a pending or firing alert holds, and time that is
 * not known counts neither as wrong nor as right. How long something was so is measured on the monotonic clock; moments are
 * those of the wall clock.
 *
 * Alerts that fired are kept, the newest SW_ALERTS_KEPT of the resolved ones. One owner at a time. */
#ifndef SW_OBSERVE_ALERTS_H
#define SW_OBSERVE_ALERTS_H

#include <jansson.h>

#include "observe/rules.h"

enum {
    SW_ALERT_UNKNOWN_MS = 10 * 60 * 1000,
    SW_ALERT_TEST_MS = 60 * 1000, /* how long a test alert fires */
    SW_ALERT_TESTS_MAX = 4,       /* that fire at one time */
    SW_ALERTS_KEPT = 1000,
    SW_ALERT_ID_MAX = 33,
    SW_ALERT_TEXT_MAX = 1024, /* bytes of a note, of a test's message */
    SW_ALERT_WHO_MAX = 256,
};

enum sw_alert_state { SW_ALERT_PENDING, SW_ALERT_FIRING, SW_ALERT_RESOLVED, SW_ALERT_STATES };
const char *sw_alert_state_name(enum sw_alert_state state);
bool sw_alert_state_parse(struct sw_str text, enum sw_alert_state *ret);

/* How far the receiver of notifications was told (notify.h). */
enum sw_delivery { SW_DELIVERY_NONE, SW_DELIVERY_WAITING, SW_DELIVERY_DONE, SW_DELIVERY_FAILED, SW_DELIVERIES };
const char *sw_delivery_name(enum sw_delivery delivery); /* "none" "waiting" "delivered" "failed" */
bool sw_delivery_parse(struct sw_str text, enum sw_delivery *ret);

struct sw_alert {
    char id[SW_ALERT_ID_MAX];
    char *rule, *what, *model; /* model NULL: of the process */
    char *summary;
    char *instance; /* the server that watched */
    enum sw_severity severity;
    enum sw_alert_state state;
    bool is_above, is_test;
    double threshold, value; /* value: the newest that was wrong */
    uint64_t for_ms;
    uint64_t started_ms, fired_ms, resolved_ms; /* 0: not yet */
    char *resolved_reason;                      /* NULL: not resolved */
    uint64_t acknowledged_ms;                   /* 0: not */
    char *acknowledged_by, *note;
    enum sw_delivery delivery; /* of its present state */
    unsigned delivery_attempts;
    char *delivery_error; /* of the last attempt; NULL: none */
    bool unsaved;         /* the store does not know it as it is */
};
void sw_alert_destroy(struct sw_alert *alert); /* NULL is allowed */
struct sw_alert *sw_alert_copy(const struct sw_alert *alert);
/* Notes who has seen it, over what was noted before. Copies the texts; note may be NULL. */
void sw_alert_acknowledge(struct sw_alert *alert, const char *by, const char *note, uint64_t now_ms);
/* As the API shows it (schema MonitoringAlert); a new reference. */
json_t *sw_alert_to_json(const struct sw_alert *alert);
/* One sentence: "latency_p95_ms of model digits is 312.4, above 200 for 5m." */
void sw_alert_message(const struct sw_alert *alert, struct sw_buf *out);

/* One rule, of one model. */
struct sw_watch {
    const struct sw_rule *rule;
    char *model;                             /* NULL: of the process, or all models together */
    uint64_t wrong_ms, right_ms, unknown_ms; /* without a break, up to the newest evaluation */
    bool was_wrong;
    struct sw_alert *alert; /* pending or firing; NULL: inactive. Pending: the watch's own; firing: of the list */
    struct sw_watch *next;
};

struct sw_alerts {
    struct sw_rules rules; /* owned */
    char *instance;
    struct sw_watch *watches;
    struct sw_alert **list; /* fired ones, oldest first */
    size_t count, capacity;
    uint64_t evaluated_ns; /* monotonic; 0: not yet */
    uint64_t forgotten;    /* resolved ones that went before the store had them */
    /* Something fired or was resolved. May not call back. NULL is allowed. */
    void (*on_change)(void *arg, struct sw_alert *alert);
    void *arg;
};

/* Takes the rules over. */
void sw_alerts_init(struct sw_alerts *alerts, struct sw_rules *rules, const char *instance);
void sw_alerts_deinit(struct sw_alerts *alerts);

void sw_alerts_evaluate(struct sw_alerts *alerts, const struct sw_history *history, uint64_t now_ms, uint64_t now_ns);

/* One that is about to fire for SW_ALERT_TEST_MS, the caller's until sw_alerts_fire_test takes it over.
 * SW_E_TOO_MANY_REQUESTS: SW_ALERT_TESTS_MAX fire already. */
SW_MUST_CHECK sw_status sw_alerts_make_test(const struct sw_alerts *alerts, enum sw_severity severity,
                                            const char *message, uint64_t now_ms, struct sw_alert **ret,
                                            struct sw_error *err);
void sw_alerts_fire_test(struct sw_alerts *alerts, struct sw_alert *alert);

/* Among those that fired; NULL: none of this id. Borrowed until the next call that changes something. */
struct sw_alert *sw_alerts_find(const struct sw_alerts *alerts, const char *id);
/* The same by its id. SW_E_NOT_FOUND; SW_E_CONFLICT: somebody has already. */
SW_MUST_CHECK sw_status sw_alerts_acknowledge(struct sw_alerts *alerts, const char *id, const char *by,
                                              const char *note, uint64_t now_ms, struct sw_error *err);
/* One that fired before a restart: goes on where it was, or is resolved when its rule is gone. Takes the alert over. */
void sw_alerts_restore(struct sw_alerts *alerts, struct sw_alert *alert, uint64_t now_ms);

/* How many of a rule fire, those of all models; rule NULL: of all rules. */
size_t sw_alerts_firing(const struct sw_alerts *alerts, const struct sw_rule *rule);
size_t sw_alerts_pending(const struct sw_alerts *alerts);

struct sw_alert_filter {
    bool has_state, has_severity;
    enum sw_alert_state state;
    enum sw_severity severity;
    uint64_t since_ms; /* fired (pending ones: began) then or later */
    size_t limit;
};
/* Newest first; without a state: those that fired. *ret is appended to. */
void sw_alerts_list(const struct sw_alerts *alerts, const struct sw_alert_filter *filter, json_t *ret);
bool sw_alert_fits(const struct sw_alert *alert, const struct sw_alert_filter *filter);

/* Rules with what they watch now: [{"name", ..., "state", "models": [...]}]; a new reference. */
json_t *sw_alerts_rules_to_json(const struct sw_alerts *alerts);

#endif
