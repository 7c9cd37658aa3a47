/* Engines run models. An engine loads a file into a session; a session runs tensors to tensors.
 *
 * Implementations: engine/ort (ONNX Runtime) and engine/fake (deterministic, for tests). Threads: load and unload on a
 * loader thread, run on any number of threads at once. */
#ifndef SW_ENGINE_ENGINE_H
#define SW_ENGINE_ENGINE_H

#include "tensor/tensor.h"

struct sw_engine;
struct sw_session;

struct sw_session_options {
    unsigned threads;  /* inside one run; 1: the calling thread alone */
    bool memory_arena; /* let the runtime keep a memory pool for this session: faster, more resident memory */
};

struct sw_engine_ops {
    const char *name; /* "onnxruntime", "fake" */

    /* Engine-wide. version(): of the runtime, static string. */
    const char *(*version)(struct sw_engine *engine);
    void (*destroy)(struct sw_engine *engine); /* every session is gone before */

    /* Does this engine load this file, by its ending? */
    bool (*accepts)(struct sw_engine *engine, struct sw_str path);

    /* Loads path into *ret_session. SW_E_MODEL_INVALID with the runtime's reason (opset, operator, broken file),
     * SW_E_NOT_FOUND, SW_E_IO. */
    sw_status (*load)(struct sw_engine *engine, const char *path, const struct sw_session_options *options,
                      struct sw_session **ret_session, struct sw_error *err);
    void (*unload)(struct sw_session *session);

    /* Declared inputs and outputs, in the graph's order; borrowed until unload. */
    const struct sw_tensor_specs *(*inputs)(const struct sw_session *session);
    const struct sw_tensor_specs *(*outputs)(const struct sw_session *session);

    /* Producer, graph name, opset imports and custom metadata as "key: value" pairs for `validate` and the config route;
     * calls fn for each. */
    void (*describe)(const struct sw_session *session, void (*fn)(void *arg, const char *key, const char *value),
                     void *arg);

    /* Runs once. inputs: any order, already checked against inputs(); not copied. output_names[i] is looked up in
     * outputs(). ret_outputs[i] gets name, dtype, shape, data; the data stays valid until the arena is reset (the
     * runtime's own buffers are released by a deferred call of that arena). An optional output that the graph left out
     * has dtype SW_DTYPE_INVALID. SW_E_INFERENCE_FAILED with the runtime's reason. */
    sw_status (*run)(struct sw_session *session, const struct sw_tensor *inputs, size_t input_count,
                     const uint32_t *output_indices, size_t output_count, struct sw_tensor *ret_outputs,
                     struct sw_arena *arena, struct sw_error *err);
};

/* Every implementation's struct begins with this. */
struct sw_engine {
    const struct sw_engine_ops *ops;
};
struct sw_session {
    struct sw_engine *engine;
};

struct sw_ort_options {
    const char *library_path; /* NULL: search, see ort.c */
    unsigned threads;         /* of the pool that sessions with threads > 1 share; 0: one per core */
};

/* Opens the library, switches telemetry off, checks its version. SW_E_IO when the library is not found, naming every
 * place that was tried and how to get it. */
SW_MUST_CHECK sw_status sw_engine_ort_create(const struct sw_ort_options *options, struct sw_engine **ret,
                                             struct sw_error *err);
SW_MUST_CHECK sw_status sw_engine_fake_create(struct sw_engine **ret, struct sw_error *err);
void sw_engine_destroy(struct sw_engine *engine);

#endif
