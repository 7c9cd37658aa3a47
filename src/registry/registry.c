/* Opening and closing the registry, and whether what it stands on is usable. */
#include "base/memory.h"
#include "registry/registry_internal.h"

enum { GATE_ITERATIONS = 100 };

sw_status sw_registry_open(const struct sw_registry_options *options, struct sw_registry **ret, struct sw_error *err) {
    struct sw_registry *registry = SW_NEW(struct sw_registry);
    registry->store = options->store;
    registry->artifacts = options->artifacts;
    registry->model = options->model;
    registry->clock = options->clock;
    registry->directory = sw_xstrdup(options->directory);
    registry->gate_iterations = options->gate_iterations ? options->gate_iterations : GATE_ITERATIONS;
    registry->gc_grace_ms = options->gc_grace_ms;
    registry->folders_lock = -1;
    atomic_init(&registry->next_folder, 1);
    sw_status status = sw_registry_folders_reset(registry, err);
    if (status) {
        sw_registry_close(registry);
        return status;
    }
    *ret = registry;
    return SW_OK;
}

void sw_registry_stop(struct sw_registry *registry) {
    atomic_store(&registry->stopping, true);
}

void sw_registry_close(struct sw_registry *registry) {
    if (!registry) {
        return;
    }
    sw_registry_folders_close(registry);
    sw_free(registry->directory);
    sw_free(registry);
}

struct sw_store *sw_registry_store(struct sw_registry *registry) {
    return registry->store;
}

struct sw_artifacts *sw_registry_artifacts(struct sw_registry *registry) {
    return registry->artifacts;
}

sw_status sw_registry_health(struct sw_registry *registry, struct sw_error *err) {
    struct sw_error why;
    if (sw_store_health(registry->store, &why)) {
        return sw_fail(err, SW_E_UNAVAILABLE, "metadata store: %s", why.message);
    }
    if (sw_artifacts_health(registry->artifacts, &why)) {
        return sw_fail(err, SW_E_UNAVAILABLE, "artifact store: %s", why.message);
    }
    return SW_OK;
}
