/* The registry's parts as one object: metadata store, artifact store, registry. From the configuration, in order.
 *
 * There may be none: registry.enabled is false, or the data folder cannot be used and nobody asked for one. The
 * server then serves the models of its command line, and the registry's routes answer 503 with the reason. */
#ifndef SW_CLI_BACKEND_H
#define SW_CLI_BACKEND_H

#include "cli/config.h"
#include "registry/registry.h"

struct sw_backend {
    struct sw_store *store;
    struct sw_artifacts *artifacts;
    struct sw_registry *registry;      /* NULL: none */
    struct sw_version_policy policy;   /* of models that have none of their own */
    char reason[SW_ERROR_MESSAGE_MAX]; /* why there is none */
};

/* `model` is for the gates. SW_E_USAGE: a URL; SW_E_IO (exit code 3): a data folder that was asked for cannot be
 * used, or the database is damaged or newer than this program; the message names the file and what to do. A
 * PostgreSQL or S3 that cannot be reached is no failure. Does not log; *ret_warning says whether `reason` is worth a
 * warning. */
SW_MUST_CHECK sw_status sw_backend_open(const struct sw_config *config, const struct sw_model_options *model,
                                        struct sw_backend *ret, bool *ret_warning, struct sw_error *err);
void sw_backend_close(struct sw_backend *backend); /* also of one that is all zero */

#endif
