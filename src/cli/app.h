/* The server as an object: everything between the configuration and an open port, built and torn down in order.
 *
 *   engines <- repository <- api -> executors, metrics
 *                            api <- applications (apps.h) <- HTTP server
 *   store, artifacts <- registry <- api
 *                       registry <- serving -> repository       (backend.h; woken by the store's watcher)
 *
 * One owner (the main thread of `serve`); the parts have threads of their own. */
#ifndef SW_CLI_APP_H
#define SW_CLI_APP_H

#include "cli/apps.h"
#include "cli/config.h"
#include "rollout/repository.h"

struct sw_app;

/* Everything but the port. The configuration is read here and not kept. */
SW_MUST_CHECK sw_status sw_app_create(const struct sw_config *config, struct sw_app **ret, struct sw_error *err);

/* Begins to serve what the registry says is live. After the models of the command line are known: their names win. */
SW_MUST_CHECK sw_status sw_app_follow(struct sw_app *app, struct sw_error *err);

/* Has the first look at the registry been taken and what it asked for been loaded, or refused? True without a
 * registry. */
bool sw_app_has_followed(struct sw_app *app);
/* Models of the registry with a version that is live and ready; the name of the first in ret_name (may be NULL). */
size_t sw_app_followed(struct sw_app *app, char *ret_name, size_t name_size);

/* Opens the port. Requests come in from now on. SW_E_IO when the address cannot be had. */
SW_MUST_CHECK sw_status sw_app_listen(struct sw_app *app, const struct sw_config *config, struct sw_error *err);

/* Applies the keys that may change while running: log.level, log.access. */
void sw_app_apply(struct sw_app *app, const struct sw_config *config);

/* Readiness fails from now on. */
void sw_app_begin_drain(struct sw_app *app);
/* Stops accepting and waits at most drain_ms for running requests. */
void sw_app_drain(struct sw_app *app, uint64_t drain_ms);
/* Ends everything; requests still running are waited for, since their memory is here. */
void sw_app_destroy(struct sw_app *app);

struct sw_repository *sw_app_repository(struct sw_app *app);
struct sw_registry *sw_app_registry(struct sw_app *app); /* NULL: none */
const struct sw_apps *sw_app_applications(const struct sw_app *app);
const char *sw_app_engine_version(const struct sw_app *app);
uint16_t sw_app_port(const struct sw_app *app); /* the one really taken; 0 before listen */

#endif
