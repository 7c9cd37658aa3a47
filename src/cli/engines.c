/* The engines that the commands load models with. */
#include "cli/engines.h"

#include "base/clock.h"

sw_status sw_cli_engines_open(const struct sw_config *config, struct sw_cli_engines *ret, struct sw_error *err) {
    struct sw_ort_options options = {
        .library_path = sw_config_text(config, SW_KEY_ENGINE_LIBRARY),
        .threads = (unsigned)sw_config_number(config, SW_KEY_ENGINE_THREADS),
    };
    struct sw_engine *engine;
    SW_TRY(sw_engine_ort_create(&options, &engine, err));
    *ret = (struct sw_cli_engines){{engine}, 1};
    return SW_OK;
}

void sw_cli_engines_close(struct sw_cli_engines *engines) {
    for (size_t i = 0; i < engines->count; i++) {
        sw_engine_destroy(engines->items[i]);
    }
    engines->count = 0;
}

struct sw_model_options sw_cli_model_options(struct sw_cli_engines *engines, unsigned threads) {
    return (struct sw_model_options){
        .engines = engines->items,
        .engine_count = engines->count,
        .default_threads = threads,
        .clock = sw_clock_system(),
    };
}
