/* Any text as a file of alert rules. What is accepted is within bounds and can be evaluated; errors carry a message. */
#include "observe/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_rule(const struct sw_rules *rules, size_t index, const struct sw_history *history) {
    const struct sw_rule *rule = &rules->items[index];
    struct sw_error err;
    double value;
    SW_ASSERT(rule->name[0] && strlen(rule->name) <= SW_RULE_NAME_MAX && rule->summary[0]);
    SW_ASSERT(sw_metric_is_own(sw_str_of(rule->metric)) || sw_metric_name_valid(sw_str_of(rule->metric)));
    SW_ASSERT(rule->window_ms >= SW_FINE_MS && rule->window_ms <= 60 * SW_FINE_MS && rule->min_samples > 0);
    SW_ASSERT(rule->threshold >= -SW_HISTORY_VALUE_MAX && rule->threshold <= SW_HISTORY_VALUE_MAX);
    for (size_t i = 0; i < index; i++) {
        SW_ASSERT(strcmp(rules->items[i].name, rule->name) != 0);
    }
    SW_ASSERT(sw_rule_measure(rule, history, rule->model, UINT64_C(1795219200000), &value, &err) == SW_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sw_rules rules = {0};
    struct sw_error err = {0};
    if (sw_rules_parse((const char *)data, size, &rules, &err)) {
        SW_ASSERT(err.code == SW_E_USAGE && err.message[0] && sw_utf8_valid(sw_str_of(err.message)) && !rules.items);
        return 0;
    }
    struct sw_history history;
    sw_history_init(&history, 1 << 20);
    SW_ASSERT(rules.count <= SW_RULES_MAX);
    for (size_t i = 0; i < rules.count; i++) {
        check_rule(&rules, i, &history);
    }
    sw_history_deinit(&history);
    sw_rules_deinit(&rules);
    return 0;
}
