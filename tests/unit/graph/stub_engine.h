/* An engine that runs nothing: it opens any ONNX file whose inputs and outputs can be told, and gives made-up numbers
 * for each output, of two dimensions, one row of `STUB_COLUMNS`. For quantisation without a runtime. */
#ifndef SW_TESTS_GRAPH_STUB_ENGINE_H
#define SW_TESTS_GRAPH_STUB_ENGINE_H

#include "base/memory.h"
#include "engine/engine.h"
#include "graph/calibrate.h"
#include "graph/signature.h"

enum { STUB_COLUMNS = 3, STUB_SAMPLES = 2 };

struct stub_session {
    struct sw_session base;
    struct sw_tensor_specs inputs, outputs;
};

static float stub_numbers[STUB_COLUMNS] = {-1, 0.5F, 2};

static struct sw_tensor stub_tensor(const char *name) {
    return (struct sw_tensor){.name = sw_str_of(name),
                              .dtype = SW_DTYPE_FP32,
                              .rank = 2,
                              .shape = {1, STUB_COLUMNS},
                              .count = STUB_COLUMNS,
                              .data = stub_numbers};
}

static void stub_specs(json_t *list, struct sw_tensor_specs *ret) {
    size_t i;
    json_t *item;
    ret->items = sw_xcalloc(json_array_size(list) + 1, sizeof *ret->items);
    json_array_foreach(list, i, item) {
        ret->items[ret->count++].name = sw_xstrdup(json_string_value(json_object_get(item, "name")));
    }
}

static sw_status stub_load(struct sw_engine *engine, const char *path, const struct sw_session_options *options,
                           struct sw_session **ret, struct sw_error *err) {
    json_t *signature = NULL;
    SW_TRY(sw_onnx_signature(path, &signature, NULL, err));
    struct stub_session *s = SW_NEW(struct stub_session);
    s->base.engine = engine;
    stub_specs(json_object_get(signature, "inputs"), &s->inputs);
    stub_specs(json_object_get(signature, "outputs"), &s->outputs);
    json_decref(signature);
    *ret = &s->base;
    return SW_OK;
}

static void stub_unload(struct sw_session *session) {
    struct stub_session *s = (struct stub_session *)session;
    sw_specs_deinit(&s->inputs);
    sw_specs_deinit(&s->outputs);
    sw_free(s);
}

static const struct sw_tensor_specs *stub_outputs(const struct sw_session *session) {
    return &((const struct stub_session *)session)->outputs;
}

static sw_status stub_run(struct sw_session *session, const struct sw_tensor *inputs, size_t input_count,
                          const uint32_t *indices, size_t count, struct sw_tensor *ret, struct sw_arena *arena,
                          struct sw_error *err) {
    for (size_t i = 0; i < count; i++) {
        ret[i] = stub_tensor(stub_outputs(session)->items[indices[i]].name);
    }
    return SW_OK;
}

static const struct sw_engine_ops stub_ops = {
    .name = "stub", .load = stub_load, .unload = stub_unload, .outputs = stub_outputs, .run = stub_run};
static struct sw_engine stub_engine = {&stub_ops};

/* Samples: a tensor for every name of the list. */
struct stub_samples {
    json_t *inputs; /* of a signature; borrowed */
    size_t next;
};

static sw_status stub_rewind(void *arg, struct sw_error *err) {
    ((struct stub_samples *)arg)->next = 0;
    return SW_OK;
}

static sw_status stub_next(void *arg, struct sw_arena *arena, const struct sw_tensor **ret, size_t *ret_count,
                           bool *ret_more, struct sw_error *err) {
    struct stub_samples *s = arg;
    size_t i, count = json_array_size(s->inputs);
    json_t *item;
    struct sw_tensor *tensors = sw_arena_calloc(arena, count + 1, sizeof *tensors);
    *ret_more = s->next++ < STUB_SAMPLES;
    json_array_foreach(s->inputs, i, item) {
        tensors[i] = stub_tensor(json_string_value(json_object_get(item, "name")));
    }
    *ret = tensors;
    *ret_count = count;
    return SW_OK;
}

static inline struct sw_samples stub_samples(struct stub_samples *s) {
    return (struct sw_samples){.arg = s, .rewind = stub_rewind, .next = stub_next};
}

#endif
