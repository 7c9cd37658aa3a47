/* Test helper: reads a model's NAME.golden.jsonl into tensors and compares outputs with them.
 *
 * Made from jansson alone, apart from the codecs under test elsewhere. Everything lives in the arena given. */
#ifndef SW_TESTS_ENGINE_GOLDEN_H
#define SW_TESTS_ENGINE_GOLDEN_H

#include "engine/engine.h"

/* The folder of test models (SLIPWAY_TEST_MODELS); fails the test when it is not set. */
const char *models_path(const char *file_name, char *buffer, size_t size);

struct golden_case {
    struct sw_tensor inputs[32], outputs[32];
    size_t input_count, output_count;
    double tolerance;
};

/* The cases of one model, in order; fails the test when there are none. */
size_t golden_read(const char *model_name, struct sw_arena *arena, struct golden_case *ret, size_t max);

/* Fails the test, naming output and element, unless got equals expected within tolerance * max(1, |expected|). */
void golden_compare(const struct sw_tensor *expected, const struct sw_tensor *got, double tolerance);

#endif
