/* What the files of engine/ort share: library.c finds and opens the runtime, pool.c owns its threads, engine.c is the
 * engine, load.c makes sessions, run.c runs them, reason.c makes the runtime's messages readable, onnx_head.c reads
 * what the runtime does not tell of a file. */
#ifndef SW_ENGINE_ORT_ORT_INTERNAL_H
#define SW_ENGINE_ORT_ORT_INTERNAL_H

#include "engine/engine.h"
#include "engine/ort/ort_abi.h"

struct ort_engine {
    struct sw_engine base;
    struct ort_api api;
    const char *version;             /* the library's, static */
    struct ort_env *env;             /* a reference to the one environment a process has */
    struct ort_memory_info *cpu;     /* "this memory is plain CPU memory" */
    struct ort_allocator *allocator; /* the runtime's default one; owned by the runtime */
};

struct ort_session {
    struct sw_session base;
    struct ort_engine *engine;
    struct ort_handle *handle;
    struct sw_tensor_specs inputs; /* required ones in the graph's order, then initializers a caller may override */
    struct sw_tensor_specs outputs;
    const char **input_names; /* the names again as plain arrays, as Run wants them; strings borrowed from the specs */
    const char **output_names;
    struct sw_str *input_keys;
    struct {
        char *key, *value;
    } * facts; /* for describe */
    size_t fact_count;
    bool imprecise; /* INT8 sums may saturate: see load.c */
};

static inline struct ort_engine *ort_engine_of(struct sw_engine *engine) {
    return (struct ort_engine *)engine;
}
static inline const struct ort_session *ort_session_of(const struct sw_session *session) {
    return (const struct ort_session *)session;
}

/* library.c: opens the library (path NULL: searched) with telemetry off and binds the table. The library stays open for
 * the life of the process. */
SW_MUST_CHECK sw_status ort_library_open(const char *path, struct ort_api *ret_api, const char **ret_version,
                                         struct sw_error *err);

/* pool.c: the threads that sessions with threads > 1 share. The runtime asks for them when the environment is created;
 * they are only promised then, and started by ort_pool_start when the first session needs them. */
struct ort_thread *ort_pool_create_thread(void *options, ort_worker_fn *worker, void *worker_arg);
void ort_pool_join_thread(struct ort_thread *thread);
SW_MUST_CHECK sw_status ort_pool_start(struct sw_error *err);

/* load.c, run.c: the operations of engine.h. */
sw_status ort_load(struct sw_engine *engine, const char *path, const struct sw_session_options *options,
                   struct sw_session **ret_session, struct sw_error *err);
void ort_unload(struct sw_session *session);
void ort_describe(const struct sw_session *session, void (*fn)(void *arg, const char *key, const char *value),
                  void *arg);
sw_status ort_run(struct sw_session *session, const struct sw_tensor *inputs, size_t input_count,
                  const uint32_t *output_indices, size_t output_count, struct sw_tensor *ret_outputs,
                  struct sw_arena *arena, struct sw_error *err);

/* SW_DTYPE_INVALID for element types the Open Inference Protocol has no name for. */
enum sw_dtype ort_dtype_of(int element);
int ort_element_of(enum sw_dtype dtype);

/* reason.c: releases the status; *err gets `code` and the runtime's message without its source paths and templates. */
sw_status ort_fail(const struct ort_api *api, struct ort_status *status, sw_status code, struct sw_error *err);
/* The cleaning alone; ret_text holds at most size bytes with the NUL. */
void ort_reason_clean(const char *message, char *ret_text, size_t size);

/* The runtime's log lines of calls that also return a status are details (debug), others are warnings. */
extern _Thread_local int ort_calls_in_progress;
void ort_log(void *arg, int severity, const char *category, const char *id, const char *place, const char *message);

#define ORT_TRY(engine, code, err, call)                                     \
    do {                                                                     \
        struct ort_status *ort_try_status_ = (call);                         \
        if (SW_UNLIKELY(ort_try_status_ != NULL)) {                          \
            return ort_fail(&(engine)->api, ort_try_status_, (code), (err)); \
        }                                                                    \
    } while (0)

#endif
