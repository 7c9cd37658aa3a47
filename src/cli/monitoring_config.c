/* Keys of monitoring; see monitoring_config.h. */
#include "cli/monitoring_config.h"

#include <limits.h>
#include <unistd.h>

#include "base/hash.h"
#include "cli/address.h"

enum { NAME_MAX_BYTES = HOST_NAME_MAX + 64, URL_MAX = 512 };

static bool is_address(const char *text) {
    return !*text || ((sw_str_starts(sw_str_of(text), SW_STR("http://")) && text[7]) ||
                      (sw_str_starts(sw_str_of(text), SW_STR("https://")) && text[8]));
}

/* A token goes into a header. */
static bool is_token(const char *text) {
    for (; *text; text++) {
        if (*text <= ' ' || *text > '~') {
            return false;
        }
    }
    return true;
}

bool sw_monitoring_config_check(const struct sw_config *config, enum sw_config_key key, struct sw_error *err) {
    const struct sw_config_value *value = &config->values[key];
    const char *wanted = NULL;
    if ((key == SW_KEY_MONITORING_WEBHOOK || key == SW_KEY_MONITORING_EXTERNAL_URL) && !is_address(value->text)) {
        wanted = "an address that begins with http:// or https://";
    } else if (key == SW_KEY_MONITORING_WEBHOOK_TOKEN && !is_token(value->text)) {
        wanted = "printable ASCII without blanks";
    } else if (key == SW_KEY_MONITORING_INSTANCE && strlen(value->text) > NAME_MAX_BYTES) {
        wanted = "shorter";
    }
    if (!wanted) {
        return true;
    }
    (void)sw_fail(err, SW_E_USAGE, "%s: %s is '%s', but must be %s", value->where ? value->where : "default",
                  sw_config_keys[key].id, sw_config_keys[key].secret ? "(hidden)" : value->text, wanted);
    return false;
}

/* Host name and port; with a port that is chosen at each start, a name of its own each time. */
static void name_instance(const struct sw_config *config, char ret[NAME_MAX_BYTES]) {
    char host[HOST_NAME_MAX + 1] = "";
    const char *name = sw_config_text(config, SW_KEY_MONITORING_INSTANCE);
    uint64_t port = sw_config_number(config, SW_KEY_SERVER_PORT);
    if (name) {
        snprintf(ret, NAME_MAX_BYTES, "%s", name);
        return;
    }
    if (gethostname(host, sizeof host - 1) != 0 || !host[0] || !sw_utf8_valid(sw_str_of(host))) {
        snprintf(host, sizeof host, "localhost");
    }
    if (port) {
        snprintf(ret, NAME_MAX_BYTES, "%s:%llu", host, (unsigned long long)port);
    } else {
        snprintf(ret, NAME_MAX_BYTES, "%s:%08llx", host, (unsigned long long)(sw_random_u64() >> 32));
    }
}

sw_status sw_monitoring_create(const struct sw_config *config, struct sw_metrics *metrics,
                               size_t (*queue_depth)(void *arg), void *queue_arg, struct sw_monitor **ret,
                               struct sw_error *err) {
    char instance[NAME_MAX_BYTES], url[URL_MAX];
    struct sw_rules rules;
    *ret = NULL;
    if (!sw_config_bool(config, SW_KEY_MONITORING_ENABLED)) {
        return SW_OK;
    }
    if (sw_rules_load(sw_config_text(config, SW_KEY_MONITORING_RULES), &rules, err)) {
        return sw_error_prefix(err, "monitoring.rules");
    }
    const char *external_url = sw_config_text(config, SW_KEY_MONITORING_EXTERNAL_URL);
    name_instance(config, instance);
    sw_format_url(sw_config_text(config, SW_KEY_SERVER_HOST), (uint16_t)sw_config_number(config, SW_KEY_SERVER_PORT),
                  url, sizeof url);
    struct sw_monitor_options options = {
        .clock = sw_clock_system(),
        .metrics = metrics,
        .instance = instance,
        .external_url = external_url ? external_url : url,
        .memory_max = sw_config_number(config, SW_KEY_MONITORING_MEMORY),
        .memory_limit = sw_config_number(config, SW_KEY_MONITORING_MEMORY_LIMIT),
        .keep_points_ms = sw_config_ms(config, SW_KEY_MONITORING_KEEP),
        .keep_alerts_ms = sw_config_ms(config, SW_KEY_MONITORING_KEEP_ALERTS),
        .webhook = sw_config_text(config, SW_KEY_MONITORING_WEBHOOK),
        .webhook_token = sw_config_text(config, SW_KEY_MONITORING_WEBHOOK_TOKEN),
        .format = (enum sw_notify_format)sw_config_number(config, SW_KEY_MONITORING_WEBHOOK_FORMAT),
        .queue_depth = queue_depth,
        .queue_arg = queue_arg,
    };
    *ret = sw_monitor_create(&options, &rules);
    return SW_OK;
}
