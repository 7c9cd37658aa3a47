/* What the configuration says about monitoring, as a monitor. Used by serve and by the checks of the configuration
 * itself. */
#ifndef SW_CLI_MONITORING_CONFIG_H
#define SW_CLI_MONITORING_CONFIG_H

#include "cli/config.h"
#include "observe/monitor.h"

/* Checks that no single bound can express: addresses begin with http:// or https://. false with a message in *err that names
 * the key and where its value came from, never a secret one. */
bool sw_monitoring_config_check(const struct sw_config *config, enum sw_config_key key, struct sw_error *err);

/* *ret NULL: monitoring is switched off. SW_E_USAGE, SW_E_NOT_FOUND, SW_E_IO: the file of rules. */
SW_MUST_CHECK sw_status sw_monitoring_create(const struct sw_config *config, struct sw_metrics *metrics,
                                             size_t (*queue_depth)(void *arg), void *queue_arg, struct sw_monitor **ret,
                                             struct sw_error *err);

#endif
