/* Opening and closing of the registry's parts; see backend.h. */
#include "cli/backend.h"

#include "base/memory.h"
#include "cli/registry_config.h"

/* A damaged or newer database is nothing that another attempt mends: exit code 3. The store's message names the file
 * and what to do. */
static sw_status explain_store(struct sw_error *err) {
    if (err->code == SW_E_CONFLICT) {
        err->code = SW_E_IO;
    }
    return sw_error_prefix(err, "the registry cannot be opened");
}

static sw_status open_store(const struct sw_config *config, struct sw_store **ret, struct sw_error *err) {
    struct sw_store_options options;
    char *url SW_AUTO_FREE = NULL;
    sw_store_config(config, &options, &url);
    sw_status status = sw_store_open(&options, ret, err);
    return status ? explain_store(err) : SW_OK;
}

static sw_status open_parts(const struct sw_config *config, const struct sw_model_options *model,
                            struct sw_backend *backend, struct sw_error *err) {
    struct sw_artifacts_options artifacts;
    sw_artifacts_config(config, &artifacts);
    SW_TRY(open_store(config, &backend->store, err));
    SW_TRY(sw_artifacts_open(&artifacts, &backend->artifacts, err));
    struct sw_registry_options options = {
        .store = backend->store,
        .artifacts = backend->artifacts,
        .model = *model,
        .directory = sw_config_text(config, SW_KEY_DATA_DIRECTORY),
        .clock = sw_clock_system(),
        .gc_grace_ms = sw_config_ms(config, SW_KEY_REGISTRY_GC_GRACE),
    };
    return sw_registry_open(&options, &backend->registry, err);
}

sw_status sw_backend_open(const struct sw_config *config, const struct sw_model_options *model, struct sw_backend *ret,
                          bool *ret_warning, struct sw_error *err) {
    struct sw_backend backend = {0};
    bool parsed = sw_policy_text_parse(sw_str_of(config->values[SW_KEY_REGISTRY_VERSION_POLICY].text), &backend.policy);
    SW_ASSERT(parsed); /* the configuration was checked */
    *ret_warning = false;
    if (!sw_config_bool(config, SW_KEY_REGISTRY_ENABLED)) {
        snprintf(backend.reason, sizeof backend.reason, "the registry is switched off (registry.enabled)");
        *ret = backend;
        return SW_OK;
    }
    struct sw_error fault;
    if (sw_data_directory_make(config, &fault)) {
        if (config->values[SW_KEY_DATA_DIRECTORY].origin != SW_ORIGIN_DEFAULT) {
            return sw_fail(err, fault.code, "%s. Name a folder that this user may write with --data-dir",
                           fault.message);
        }
        snprintf(backend.reason, sizeof backend.reason, "no registry: %.400s; name a folder with --data-dir",
                 fault.message);
        *ret_warning = true;
        *ret = backend;
        return SW_OK;
    }
    sw_status status = open_parts(config, model, &backend, err);
    if (status) {
        sw_backend_close(&backend);
        return status;
    }
    *ret = backend;
    return SW_OK;
}

void sw_backend_close(struct sw_backend *backend) {
    sw_registry_close(backend->registry);
    sw_artifacts_close(backend->artifacts);
    sw_store_close(backend->store);
    *backend = (struct sw_backend){0};
}
