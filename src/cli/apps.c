/* Applications: the table of them, and the route table and OpenAPI document of a server that mounts them. */
#include "cli/apps.h"

#include <limits.h>

#include "api/api.h"
#include "api/mount.h"
#include "apps/starlight/step.h"
#include "base/file.h"
#include "base/memory.h"
#include "cli/app_starlight.h"
#include "pipeline/bundle.h"
#include "spec/app_routes.h"

/* What an application gives. Functions may be NULL: nothing to do. */
struct application {
    const char *name;
    const char *bundle;   /* of its model: where it is in the source tree */
    const char *try_path; /* of struct sw_root_app */
    void (*register_steps)(void);
    /* Fills in mount->model and mount->state. */
    sw_status (*create)(const struct sw_config *config, struct sw_metrics *metrics, struct sw_api_mount *mount,
                        struct sw_error *err);
    void (*destroy)(void *state);
};

static const struct application applications[] = {
    {.name = "starlight",
     .bundle = "apps/starlight/detector",
     .try_path = "/inference",
     .register_steps = sw_starlight_register_steps,
     .create = sw_app_starlight_create,
     .destroy = sw_app_starlight_destroy},
};

struct sw_apps {
    struct sw_api_mount mounts[SW_COUNTOF(applications)];
    size_t created; /* of them */
    struct sw_route *routes;
    size_t route_count;
    struct sw_buf openapi;   /* NUL-terminated */
    struct sw_root_app root; /* name NULL: none */
    const char *root_bundle;
};

void sw_apps_register(void) {
    for (size_t i = 0; i < SW_COUNTOF(applications); i++) {
        if (applications[i].register_steps) {
            applications[i].register_steps();
        }
    }
}

static const struct sw_app_routes *routes_of(const char *app) {
    for (size_t i = 0; i < SW_APP_COUNT; i++) {
        if (!strcmp(sw_app_routes[i].app, app)) {
            return &sw_app_routes[i];
        }
    }
    return NULL; /* an application without routes */
}

/* ---- routes */

static void add_routes(struct sw_apps *apps, const struct sw_route *routes, size_t count, const void *mount) {
    apps->routes = sw_xrealloc(apps->routes, (apps->route_count + count) * sizeof *apps->routes);
    for (size_t i = 0; i < count; i++) {
        struct sw_route *route = &apps->routes[apps->route_count++];
        *route = routes[i];
        route->mount = mount;
    }
}

static void mount_routes(struct sw_apps *apps, const char *at_root) {
    struct sw_str document = sw_str_of(sw_api_openapi_json);
    add_routes(apps, sw_api_routes, sw_api_route_count, NULL);
    sw_buf_append(&apps->openapi, document.data, sw_api_openapi_paths_end);
    for (size_t i = 0; i < SW_COUNTOF(applications); i++) {
        const struct sw_app_routes *routes = routes_of(applications[i].name);
        if (!routes) {
            continue;
        }
        add_routes(apps, routes->mounted, routes->mounted_count, &apps->mounts[i]);
        sw_buf_append_str(&apps->openapi, sw_str_of(routes->mounted_paths));
        if (!strcmp(applications[i].name, at_root)) {
            add_routes(apps, routes->root, routes->root_count, &apps->mounts[i]);
            sw_buf_append_str(&apps->openapi, sw_str_of(routes->root_paths));
            apps->root = (struct sw_root_app){applications[i].name, apps->mounts[i].model, applications[i].try_path};
            apps->root_bundle = applications[i].bundle;
        }
    }
    sw_buf_append(&apps->openapi, document.data + sw_api_openapi_paths_end, document.len - sw_api_openapi_paths_end);
    sw_buf_append_c(&apps->openapi, '\0');
    SW_ASSERT(!apps->openapi.failed);
}

/* ---- life */

static sw_status create_all(struct sw_apps *apps, const struct sw_config *config, struct sw_metrics *metrics,
                            struct sw_error *err) {
    for (size_t i = 0; i < SW_COUNTOF(applications); i++) {
        const struct application *app = &applications[i];
        apps->mounts[i].app = apps->mounts[i].model = app->name;
        if (app->create) {
            SW_TRY(app->create(config, metrics, &apps->mounts[i], err));
        }
        apps->created = i + 1;
    }
    return SW_OK;
}

sw_status sw_apps_create(const struct sw_config *config, struct sw_metrics *metrics, struct sw_apps **ret,
                         struct sw_error *err) {
    struct sw_apps *apps = SW_NEW(struct sw_apps);
    sw_buf_init(&apps->openapi, 16 << 20);
    sw_status status = create_all(apps, config, metrics, err);
    if (status) {
        sw_apps_destroy(apps);
        return status;
    }
    mount_routes(apps, sw_config_text(config, SW_KEY_SERVER_APP));
    *ret = apps;
    return SW_OK;
}

void sw_apps_destroy(struct sw_apps *apps) {
    if (!apps) {
        return;
    }
    for (size_t i = 0; i < apps->created; i++) {
        if (applications[i].destroy) {
            applications[i].destroy(apps->mounts[i].state);
        }
    }
    sw_buf_deinit(&apps->openapi);
    sw_free(apps->routes);
    sw_free(apps);
}

const struct sw_route *sw_apps_routes(const struct sw_apps *apps, size_t *ret_count) {
    *ret_count = apps->route_count;
    return apps->routes;
}

const struct sw_root_app *sw_apps_root(const struct sw_apps *apps) {
    return apps->root.name ? &apps->root : NULL;
}

sw_status sw_apps_find_bundle(const struct sw_apps *apps, char **ret_path, struct sw_error *err) {
    static const char *const places[] = {"/../", "/../share/slipway/"};
    char folder[PATH_MAX], path[SW_COUNTOF(places)][PATH_MAX + 64];
    sw_program_folder(folder, sizeof folder);
    for (size_t i = 0; i < SW_COUNTOF(places); i++) {
        struct sw_bundle *bundle;
        snprintf(path[i], sizeof path[i], "%s%s%s", folder, places[i], apps->root_bundle);
        if (!sw_path_is_dir(path[i])) {
            continue;
        }
        SW_TRY(sw_bundle_load(path[i], &bundle, err));
        bool named = !strcmp(bundle->name, apps->root.model);
        sw_status status = named
                               ? SW_OK
                               : sw_fail(err, SW_E_NOT_FOUND, "%s is called '%s', and the application's model is '%s'",
                                         path[i], bundle->name, apps->root.model);
        sw_bundle_destroy(bundle);
        SW_TRY(status);
        *ret_path = sw_xstrdup(path[i]);
        return SW_OK;
    }
    return sw_fail(err, SW_E_NOT_FOUND, "there is neither %s nor %s", path[0], path[1]);
}

const char *sw_apps_openapi(const struct sw_apps *apps) {
    return apps->openapi.data;
}
