/* A session made in a test: rows of FP32 to their sums, with faults on demand. */
#ifndef SW_TESTS_SCHED_SESSION_H
#define SW_TESTS_SCHED_SESSION_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/engine.h"

enum session_mode {
    SESSION_SUM,   /* y[row] = sum of the row's numbers, over all inputs */
    SESSION_MEAN,  /* the same, less the mean of all rows: rows influence each other */
    SESSION_COUNT, /* y has as many rows as there are positive numbers */
    SESSION_DRIFT, /* the sum, and a little more with every row of the run, as other orders of summation make it */
};

#define SESSION_POISON 666.0f /* a run with this number in it fails */

struct session {
    struct sw_session base;
    struct sw_engine engine;
    struct sw_tensor_specs inputs, outputs;
    enum session_mode mode;
    struct sw_clock *clock; /* manual: each run takes run_ns + row_ns * rows of it; NULL: no time */
    uint64_t run_ns, row_ns;
    atomic_uint runs, rows_max, alive; /* alive: outputs not yet released */
    _Atomic(const void *) last_data;   /* input 0 of the last run */
};

static inline const struct sw_tensor_specs *session_inputs(const struct sw_session *s) {
    return &((const struct session *)s)->inputs;
}

static inline const struct sw_tensor_specs *session_outputs(const struct sw_session *s) {
    return &((const struct session *)s)->outputs;
}

struct session_output {
    struct session *session;
    float data[];
};

static inline void session_release(void *arg) {
    struct session_output *output = arg;
    atomic_fetch_sub(&output->session->alive, 1);
    memset(output->data, 0xee, sizeof(float)); /* who reads on sees it */
    sw_free(output);
}

static inline float session_row(const struct sw_tensor *inputs, size_t count, size_t row, bool *ret_poisoned) {
    float sum = 0;
    for (size_t i = 0; i < count; i++) {
        size_t width = inputs[i].count / (size_t)inputs[i].shape[0];
        for (size_t k = 0; k < width; k++) {
            float value = ((const float *)inputs[i].data)[row * width + k];
            *ret_poisoned |= value == SESSION_POISON;
            sum += value;
        }
    }
    return sum;
}

static inline size_t session_output_rows(const struct session *s, const struct sw_tensor *input) {
    size_t rows = 0;
    for (size_t i = 0; i < input->count; i++) {
        rows += ((const float *)input->data)[i] > 0;
    }
    return s->mode == SESSION_COUNT ? rows : (size_t)input->shape[0];
}

static inline sw_status session_run(struct sw_session *session, const struct sw_tensor *inputs, size_t count,
                                    const uint32_t *wanted, size_t wanted_count, struct sw_tensor *ret,
                                    struct sw_arena *arena, struct sw_error *err) {
    struct session *s = (struct session *)session;
    size_t rows = (size_t)inputs[0].shape[0], given = session_output_rows(s, &inputs[0]);
    bool poisoned = false;
    atomic_fetch_add(&s->runs, 1);
    if (rows > atomic_load(&s->rows_max)) {
        atomic_store(&s->rows_max, (unsigned)rows);
    }
    atomic_store(&s->last_data, inputs[0].data);
    if (s->clock) {
        sw_clock_manual_advance(s->clock, s->run_ns + s->row_ns * rows);
    }
    for (size_t o = 0; o < wanted_count; o++) {
        struct session_output *output = sw_xmalloc(sizeof *output + (rows + given + 1) * sizeof(float));
        float mean = 0;
        output->session = s;
        for (size_t row = 0; row < rows; row++) {
            output->data[row] = session_row(inputs, count, row, &poisoned) * (float)(wanted[o] + 1);
            mean += output->data[row] / (float)rows;
        }
        for (size_t row = 0; row < rows; row++) {
            output->data[row] -= s->mode == SESSION_MEAN ? mean : s->mode == SESSION_DRIFT ? 1e-6f * (float)rows : 0;
        }
        atomic_fetch_add(&s->alive, 1);
        bool kept = sw_arena_defer(arena, session_release, output);
        assert_true(kept);
        ret[o] = (struct sw_tensor){.name = sw_str_of(s->outputs.items[wanted[o]].name),
                                    .dtype = SW_DTYPE_FP32,
                                    .rank = 2,
                                    .shape = {(int64_t)given, 1},
                                    .count = given,
                                    .data = output->data};
    }
    return poisoned ? sw_fail(err, SW_E_INFERENCE_FAILED, "poison") : SW_OK;
}

static inline struct sw_tensor_specs session_specs(const char *prefix, size_t count, int64_t rows, int64_t width) {
    struct sw_tensor_specs specs = {.items = sw_xcalloc(count, sizeof *specs.items), .count = count};
    for (size_t i = 0; i < count; i++) {
        char name[8];
        snprintf(name, sizeof name, "%s%zu", prefix, i);
        specs.items[i] = (struct sw_tensor_spec){
            .name = sw_xstrdup(name), .dtype = SW_DTYPE_FP32, .rank = 2, .shape = {rows, width}};
    }
    return specs;
}

/* `inputs` inputs x0, x1, ... of shape [rows, width] (negative: free) and two outputs y0, y1 of shape [-1, 1]. */
static inline void session_init(struct session *s, size_t inputs, int64_t rows, int64_t width) {
    static const struct sw_engine_ops ops = {
        .name = "test", .inputs = session_inputs, .outputs = session_outputs, .run = session_run};
    *s = (struct session){.engine = {&ops}};
    s->base.engine = &s->engine;
    s->inputs = session_specs("x", inputs, rows, width);
    s->outputs = session_specs("y", 2, -1, 1);
}

static inline void session_deinit(struct session *s) {
    assert_int_equal(atomic_load(&s->alive), 0);
    sw_specs_deinit(&s->inputs);
    sw_specs_deinit(&s->outputs);
}

#endif
