/* Applications in the program: which there are, the steps and data sources they bring to every command, and, for the
 * server, their state and routes.
 *
 * The table of applications stands in apps.c, their routes in spec/routes.toml (spec/app_routes.h). Every application is
 * mounted at /NAME/...; the one that server.app names answers at the root too. */
#ifndef SW_CLI_APPS_H
#define SW_CLI_APPS_H

#include "cli/config.h"
#include "http/http.h"
#include "observe/metrics.h"

struct sw_apps;

/* What applications bring to every command: steps for bundles. At the start of the program, once. */
void sw_apps_register(void);

/* State of all applications for one server. metrics: borrowed until destroy. SW_E_USAGE: a key does not fit. */
SW_MUST_CHECK sw_status sw_apps_create(const struct sw_config *config, struct sw_metrics *metrics, struct sw_apps **ret,
                                       struct sw_error *err);
void sw_apps_destroy(struct sw_apps *apps); /* after the server, before the scheduler; NULL is allowed */

/* Routes of the API and of what is mounted, and the OpenAPI document of them; valid until destroy. */
const struct sw_route *sw_apps_routes(const struct sw_apps *apps, size_t *ret_count);
const char *sw_apps_openapi(const struct sw_apps *apps);

/* The application at the root (server.app); NULL: none. */
struct sw_root_app {
    const char *name;
    const char *model;    /* that it works with; valid until destroy */
    const char *try_path; /* a route to try that takes what the model's input step takes, "/inference" */
};
const struct sw_root_app *sw_apps_root(const struct sw_apps *apps);
/* The bundle that comes with the application at the root, on the heap: beside the program's folder in a source tree, or
 * where it was installed. SW_E_NOT_FOUND says where it was looked for, or what other name the bundle there has. */
SW_MUST_CHECK sw_status sw_apps_find_bundle(const struct sw_apps *apps, char **ret_path, struct sw_error *err);

#endif
