/* Alert rules: what is watched, and when it is wrong.
 *
 * A rule asks the history for one number every few seconds (a statistic of a metric over the newest `window`) and compares
 * it with a threshold; what follows from that, alerts.h says. The default rules stand in spec/alerts.toml; a file in YAML
 * adds others, replaces default ones by their name, or takes them out:
 *
 *   defaults: true                   # false: only the rules of this file
 *   rules:
 *     - name: SlowDigits             # [A-Za-z][A-Za-z0-9_-]{0,63}, each once
 *       metric: latency_p99_ms       # a name of the table in rules.c, or a metric that clients log
 *       statistic: mean              # of a logged metric: mean min max std p50 p95 p99 sum count; default mean
 *       above: 300                   # or below:
 *       for: 5m                      # how long it must be so without a break; default 0s: at once
 *       window: 1m                   # over which it is computed, whole minutes, 1m to 1h; default 1m
 *       min_samples: 10              # with less, nothing is known; default 1
 *       keep_firing_for: 0s          # how long it must be over before the alert ends; default 0s
 *       severity: warning            # info, warning, critical; default warning
 *       model: digits                # default: each model on its own
 *       summary: Digits is slow.     # for people; default: made from the rest
 *     - { name: HighCpu, enabled: false }
 *
 * Immutable once read. */
#ifndef SW_OBSERVE_RULES_H
#define SW_OBSERVE_RULES_H

#include "base/error.h"
#include "observe/history.h"

enum sw_severity { SW_SEVERITY_INFO, SW_SEVERITY_WARNING, SW_SEVERITY_CRITICAL, SW_SEVERITIES };
const char *sw_severity_name(enum sw_severity severity); /* "warning" */
bool sw_severity_parse(struct sw_str text, enum sw_severity *ret);

enum sw_statistic {
    SW_STATISTIC_MEAN,
    SW_STATISTIC_MIN,
    SW_STATISTIC_MAX,
    SW_STATISTIC_STD,
    SW_STATISTIC_P50,
    SW_STATISTIC_P95,
    SW_STATISTIC_P99,
    SW_STATISTIC_SUM,
    SW_STATISTIC_COUNT,
    SW_STATISTIC_RATE, /* requests a second */
    SW_STATISTIC_ERROR_RATE,
    SW_STATISTIC_CLIENT_ERROR_RATE,
    SW_STATISTIC_REJECTED_RATE,
};

/* Metrics that the server measures itself; clients cannot log under these names. */
#define SW_METRIC_NAME_LATENCY "latency_ms"
#define SW_METRIC_NAME_VERDICT "verdict"
#define SW_METRIC_NAME_PREDICTION "prediction"
#define SW_METRIC_NAME_CPU "cpu_percent"
#define SW_METRIC_NAME_MEMORY "memory_bytes"
#define SW_METRIC_NAME_MEMORY_PERCENT "memory_percent"
#define SW_METRIC_NAME_QUEUE "queue_depth"
bool sw_metric_is_own(struct sw_str name);
/* Of those: has it a track for each model version? */
bool sw_metric_is_of_models(struct sw_str name);
/* May clients log under this name? [A-Za-z_:][A-Za-z0-9_:.-]{0,127}, and none of the above. */
bool sw_metric_name_valid(struct sw_str name);

enum { SW_RULES_MAX = 64, SW_RULE_NAME_MAX = 64, SW_RULES_BYTES_MAX = 256 * 1024 };

struct sw_rule {
    char *name, *summary;
    char *what;   /* as the rule names it: "latency_p95_ms" */
    char *metric; /* of the history: "latency_ms" */
    enum sw_statistic statistic;
    bool is_above; /* wrong when the number is above the threshold, else when it is below */
    double threshold;
    uint64_t for_ms, window_ms, keep_firing_ms;
    uint64_t min_samples; /* values; of a rate: requests */
    enum sw_severity severity;
    bool per_model; /* each model on its own */
    char *model;    /* only this one; NULL: all */
};

struct sw_rules {
    struct sw_rule *items;
    size_t count;
};

extern const char sw_default_rules_yaml[]; /* generated from spec/alerts.toml */

/* The default rules and those of a text; NULL: the default ones alone. SW_E_USAGE, naming rule and key. */
SW_MUST_CHECK sw_status sw_rules_parse(const char *text, size_t length, struct sw_rules *ret, struct sw_error *err);
/* The same from a file; path NULL: the default ones alone. */
SW_MUST_CHECK sw_status sw_rules_load(const char *path, struct sw_rules *ret, struct sw_error *err);
void sw_rules_deinit(struct sw_rules *rules);

/* The number a rule compares, of one model (NULL: of everything); NaN: not known, for want of samples. */
SW_MUST_CHECK sw_status sw_rule_measure(const struct sw_rule *rule, const struct sw_history *history, const char *model,
                                        uint64_t now_ms, double *ret, struct sw_error *err);

#endif
