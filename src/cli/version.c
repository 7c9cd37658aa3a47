/* slipway version. */
#include <microhttpd.h>

#include "cli/cli.h"
#include "engine/engine.h"

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

int sw_run_version(const struct sw_args *args) {
    struct sw_error err;
    struct sw_engine *engine = NULL;
    struct sw_ort_options options = {.threads = 1};
    const char *library = getenv("SLIPWAY_ENGINE_LIBRARY");
    options.library_path = library && *library ? library : NULL;
    const char *runtime = NULL;
    if (sw_engine_ort_create(&options, &engine, &err) == SW_OK) {
        runtime = engine->ops->version(engine);
    }
    if (sw_args_has(args, SW_OPTION_JSON)) {
        json_t *json = json_pack("{s:s, s:s?, s:s, s:s}", "slipway", SW_VERSION, "onnxruntime", runtime,
                                 "libmicrohttpd", MHD_get_version(), "compiler", COMPILER);
        sw_cli_print_json(stdout, json);
        json_decref(json);
    } else {
        printf("slipway        %s\n", SW_VERSION);
        printf("ONNX Runtime   %s\n", runtime ? runtime : "not found; see: slipway doctor");
        printf("libmicrohttpd  %s\n", MHD_get_version());
        printf("compiler       %s\n", COMPILER);
    }
    sw_engine_destroy(engine);
    return SW_EXIT_DONE;
}
