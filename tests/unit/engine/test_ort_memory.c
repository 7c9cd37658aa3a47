/* ONNX Runtime engine: a thousand loads and unloads leave the process no larger than a few do. */
#include "engine_fixture.h"

#include "base/memory.h"

enum { WARM_UP = 20, CYCLES = 1000, GROWTH_MAX = 4 << 20 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifndef SANITIZED
static void cycle(unsigned i) {
    struct sw_session *s = load_with("mlp_45.onnx", (struct sw_session_options){.threads = 1, .memory_arena = i % 2});
    struct sw_arena arena;
    sw_arena_init(&arena, 0, 0);
    float features[45] = {0};
    struct sw_tensor out, in = {.name = SW_STR("features"),
                                .dtype = SW_DTYPE_FP32,
                                .rank = 2,
                                .shape = {1, 45},
                                .count = 45,
                                .data = features};
    assert_int_equal(run_all(s, &in, 1, &out, &arena, NULL), SW_OK);
    sw_arena_deinit(&arena);
    engine->ops->unload(s);
}
#endif

static void test_load_and_unload_a_thousand_times(void **state) {
#ifdef SANITIZED
    print_message("not run: a sanitizer keeps freed memory, so resident memory says nothing here\n");
    skip();
#else
    for (unsigned i = 0; i < WARM_UP; i++) {
        cycle(i);
    }
    uint64_t before = sw_memory_resident();
    for (unsigned i = 0; i < CYCLES; i++) {
        cycle(i);
    }
    int64_t growth = (int64_t)sw_memory_resident() - (int64_t)before;
    print_message("resident memory grew by %lld kB\n", (long long)growth / 1024);
    assert_true(growth <= GROWTH_MAX);
#endif
}

static void test_a_large_model_gives_its_memory_back(void **state) {
#ifdef SANITIZED
    print_message("not run: a sanitizer keeps freed memory, so resident memory says nothing here\n");
    skip();
#else
    engine->ops->unload(load_model("big_50mb.onnx"));
    uint64_t before = sw_memory_resident();
    struct sw_session *s = load_model("big_50mb.onnx");
    uint64_t loaded = sw_memory_resident();
    engine->ops->unload(s);
    uint64_t after = sw_memory_resident();
    print_message("resident: %llu kB before, %llu kB loaded, %llu kB after\n", (unsigned long long)before / 1024,
                  (unsigned long long)loaded / 1024, (unsigned long long)after / 1024);
    assert_true(loaded > before + (40 << 20));
    assert_true(after < before + GROWTH_MAX);
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_and_unload_a_thousand_times),
        cmocka_unit_test(test_a_large_model_gives_its_memory_back),
    };
    return cmocka_run_group_tests_name("engine/ort_memory", tests, open_engine, close_engine);
}
