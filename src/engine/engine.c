/* What is common to all engines. */
#include "engine/engine.h"

void sw_engine_destroy(struct sw_engine *engine) {
    if (engine) {
        engine->ops->destroy(engine);
    }
}
