/* The registry's part of the harness: store, artifacts, registry, control executor, and serving that follows it. */
#ifndef SW_TESTS_API_HARNESS_REGISTRY_H
#define SW_TESTS_API_HARNESS_REGISTRY_H

#include "harness.h"

/* In `folder`. The executor is for struct sw_api_options.control. */
void harness_registry_open(const struct harness_options *options, const char *folder,
                           const struct sw_model_options *model, struct sw_executor **ret_control);
/* Hooks of managed models. */
void harness_registry_hooks(struct sw_repository_options *options);
/* NULL: nothing follows the registry. */
struct sw_serving *harness_registry_serve(const struct harness_options *options, struct sw_repository *repository);
void harness_registry_stop_serving(void);
void harness_registry_close(void);

#endif
