/* What the configuration says about the result cache, as a cache. */
#ifndef SW_CLI_CACHE_CONFIG_H
#define SW_CLI_CACHE_CONFIG_H

#include "cli/config.h"
#include "sched/cache/cache.h"

/* *ret NULL: it is switched off. SW_E_USAGE naming the key: addresses that are none, files that cannot be used. */
SW_MUST_CHECK sw_status sw_cache_from_config(const struct sw_config *config, struct sw_cache **ret,
                                             struct sw_error *err);

#endif
