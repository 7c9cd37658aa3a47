/* Test helper: one ONNX Runtime engine a test program, and short forms of load and run that fail the test. */
#ifndef SW_TESTS_ENGINE_FIXTURE_H
#define SW_TESTS_ENGINE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "golden.h"

#if defined(__SANITIZE_THREAD__)
#define THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define THREAD_SANITIZER 1
#endif
#endif

#ifdef THREAD_SANITIZER
/* Asked by the sanitizer. ONNX Runtime is not built for it: the order in which its workers hand memory to each other is
 * invisible, so now and then an allocation inside it looks like a race. Nothing of ours is excused. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void) {
    return "race:libonnxruntime.so\n";
}
#endif

static struct sw_engine *engine;

static inline int open_engine(void **state) {
    struct sw_error err;
    if (sw_engine_ort_create(&(struct sw_ort_options){.threads = 2}, &engine, &err)) {
        print_error("%s\n", err.message);
        return -1;
    }
    return 0;
}

static inline int close_engine(void **state) {
    sw_engine_destroy(engine);
    return 0;
}

static inline struct sw_session *load_with(const char *file, struct sw_session_options options) {
    char path[4096];
    struct sw_session *session = NULL;
    struct sw_error err;
    if (engine->ops->load(engine, models_path(file, path, sizeof path), &options, &session, &err)) {
        fail_msg("%s", err.message);
    }
    return session;
}

static inline struct sw_session *load_model(const char *file) {
    return load_with(file, (struct sw_session_options){.threads = 1});
}

static inline sw_status run_all(struct sw_session *session, const struct sw_tensor *inputs, size_t count,
                                struct sw_tensor *ret_outputs, struct sw_arena *arena, struct sw_error *err) {
    size_t outputs = engine->ops->outputs(session)->count;
    uint32_t *wanted = sw_arena_calloc(arena, outputs, sizeof *wanted);
    for (uint32_t i = 0; i < outputs; i++) {
        wanted[i] = i;
    }
    return engine->ops->run(session, inputs, count, wanted, outputs, ret_outputs, arena, err);
}

#endif
