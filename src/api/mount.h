/* Routes of applications.
 *
 * An application declares its routes in spec/routes.toml with `app = "NAME"` and a path of its own, "/inference". They are
 * mounted at "/NAME/inference" always, and at "/inference" too when the server runs with --app NAME, unless the API has
 * a route of that method and path itself. x->app is the struct sw_api for them as for all others; what the application
 * needs beside it hangs on the row of the route table. Handlers of the API may stand in an application's routes: they
 * then answer for the application's model alone where that has a meaning (see sw_api_scope). */
#ifndef SW_API_MOUNT_H
#define SW_API_MOUNT_H

#include "http/http.h"

/* Behind route->mount of an application's routes. Lives longer than the HTTP server. */
struct sw_api_mount {
    const char *app;   /* "starlight" */
    const char *model; /* name of the model that the application works with; NULL: none in particular */
    void *state;       /* the application's */
};

/* NULL for routes of the API. */
static inline const struct sw_api_mount *sw_api_mount_of(const struct sw_http_exchange *x) {
    return x->route ? x->route->mount : NULL;
}

/* The only model that an answer is about; data NULL: all. */
static inline struct sw_str sw_api_scope(const struct sw_http_exchange *x) {
    const struct sw_api_mount *mount = sw_api_mount_of(x);
    return mount && mount->model ? sw_str_of(mount->model) : (struct sw_str){NULL, 0};
}

#endif
