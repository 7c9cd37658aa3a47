/* Starlight's place in the server: its keys of the configuration as options of the application. */
#include "cli/app_starlight.h"

#include "apps/starlight/app.h"
#include "apps/starlight/step.h"

/* A list of the fetcher that is wrong, by the name of its key. */
static sw_status name_key(sw_status status, struct sw_error *err) {
    if (status != SW_E_INVALID_ARGUMENT || !err) {
        return status;
    }
    struct sw_error why = *err;
    return sw_fail(err, SW_E_USAGE, "starlight.image_url_%s", why.message);
}

sw_status sw_app_starlight_create(const struct sw_config *config, struct sw_metrics *metrics,
                                  struct sw_api_mount *mount, struct sw_error *err) {
    struct sw_starlight_app_options options = {
        .model = sw_config_text(config, SW_KEY_STARLIGHT_MODEL),
        .metrics = metrics,
        .clock = sw_clock_system(),
        .image_bytes_max = sw_config_number(config, SW_KEY_STARLIGHT_MAX_IMAGE_BYTES),
        .fetches = sw_config_bool(config, SW_KEY_STARLIGHT_IMAGE_URL),
        .fetch = {.hosts = sw_config_text(config, SW_KEY_STARLIGHT_IMAGE_URL_HOSTS),
                  .ports = sw_config_text(config, SW_KEY_STARLIGHT_IMAGE_URL_PORTS),
                  .networks = sw_config_text(config, SW_KEY_STARLIGHT_IMAGE_URL_NETWORKS),
                  .held_max = sw_config_number(config, SW_KEY_STARLIGHT_IMAGE_URL_MAX_HELD_BYTES),
                  .connect_timeout_ms = sw_config_ms(config, SW_KEY_STARLIGHT_IMAGE_URL_CONNECT_TIMEOUT),
                  .timeout_ms = sw_config_ms(config, SW_KEY_STARLIGHT_IMAGE_URL_TIMEOUT),
                  .redirects_max = (unsigned)sw_config_number(config, SW_KEY_STARLIGHT_IMAGE_URL_REDIRECTS)},
        .fetch_threads = (unsigned)sw_config_number(config, SW_KEY_STARLIGHT_IMAGE_URL_THREADS),
        .fetch_queue = sw_config_number(config, SW_KEY_STARLIGHT_IMAGE_URL_QUEUE),
    };
    struct sw_starlight_app *app;
    sw_status status = options.model ? sw_starlight_app_create(&options, &app, err)
                                     : sw_fail(err, SW_E_USAGE, "starlight.model: must name a model");
    if (status) {
        return name_key(status, err);
    }
    sw_starlight_set_limits(options.image_bytes_max, sw_config_number(config, SW_KEY_STARLIGHT_MAX_IMAGE_PIXELS));
    mount->model = sw_starlight_app_model(app);
    mount->state = app;
    return SW_OK;
}

void sw_app_starlight_destroy(void *state) {
    sw_starlight_app_destroy(state);
}
