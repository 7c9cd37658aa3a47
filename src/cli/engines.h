/* The engines that the commands load models with. */
#ifndef SW_CLI_ENGINES_H
#define SW_CLI_ENGINES_H

#include "cli/config.h"
#include "engine/engine.h"
#include "pipeline/model.h"

struct sw_cli_engines {
    struct sw_engine *items[1];
    size_t count;
};

/* ONNX Runtime with engine.library and engine.threads of the configuration. SW_E_IO when it is not found. */
SW_MUST_CHECK sw_status sw_cli_engines_open(const struct sw_config *config, struct sw_cli_engines *ret,
                                            struct sw_error *err);
void sw_cli_engines_close(struct sw_cli_engines *engines);

/* Options for sw_model_load; borrow the engines. `threads` inside one run, for bundles that do not say. */
struct sw_model_options sw_cli_model_options(struct sw_cli_engines *engines, unsigned threads);

#endif
