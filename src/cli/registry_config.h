/* What the configuration says about the registry, as the options of its parts. Used by serve, doctor and the checks
 * of the configuration itself. */
#ifndef SW_CLI_REGISTRY_CONFIG_H
#define SW_CLI_REGISTRY_CONFIG_H

#include "artifact/artifact.h"
#include "cli/config.h"
#include "registry/registry.h"
#include "store/store.h"

/* "live", "all" or "latest:N" (N from 1 to 1000); false when it is none of these. */
bool sw_policy_text_parse(struct sw_str text, struct sw_version_policy *ret);

/* Checks that no single bound can express: the forms of store.url, artifacts.url, registry.version_policy. false with a
 * message in *err that names the key and where its value came from, never a secret one. */
bool sw_registry_config_check(const struct sw_config *config, enum sw_config_key key, struct sw_error *err);

/* Makes data.directory (0700) when it does not exist, and checks that this process may write there. SW_E_IO, naming
 * it. */
SW_MUST_CHECK sw_status sw_data_directory_make(const struct sw_config *config, struct sw_error *err);

/* Options of the store. The URL is on the heap in *ret_url (sw_free) and is borrowed by the options. */
void sw_store_config(const struct sw_config *config, struct sw_store_options *ret, char **ret_url);
/* Path of the SQLite file that the configuration names, on the heap; NULL when it is another database. */
char *sw_store_config_path(const struct sw_config *config);

/* Options of the artifact store; they borrow from the configuration. */
void sw_artifacts_config(const struct sw_config *config, struct sw_artifacts_options *ret);

#endif
