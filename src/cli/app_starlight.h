/* Starlight's place in the server; for the table of apps.c. */
#ifndef SW_CLI_APP_STARLIGHT_H
#define SW_CLI_APP_STARLIGHT_H

#include "api/mount.h"
#include "cli/config.h"
#include "observe/metrics.h"

/* Fills in mount->model and mount->state from the section `starlight`. SW_E_USAGE names the key that does not fit. */
SW_MUST_CHECK sw_status sw_app_starlight_create(const struct sw_config *config, struct sw_metrics *metrics,
                                                struct sw_api_mount *mount, struct sw_error *err);
void sw_app_starlight_destroy(void *state);

#endif
