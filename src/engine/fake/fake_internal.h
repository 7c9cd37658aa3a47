/* The fake engine: a file NAME.fake.json says what the "model" takes, gives and does. fake.c loads it,
 * fake_run.c runs it.
 *
 *   { "inputs":  [{"name": "x", "datatype": "FP32", "shape": [-1, 4], "optional": false}],
 *     "outputs": [{"name": "y", "datatype": "FP32", "shape": ["N", 1], "absent": false}],
 *     "op": "sum", ... }
 *
 * A shape's entry is a size, -1 (free) or a text (free, of that name). A free dimension of an output takes the size of
 * the input dimension of the same name, else that of the first input at the same place, else 1. An output that is
 * `absent` is never given, as an optional output that a graph left out.
 *
 *   op            what every output element becomes
 *   sum           the sum of all numeric elements of that row (dimension 0), over all inputs
 *   identity      output i is input i (same data type)
 *   constant      "value": a number, or a text for BYTES
 *   rows          the number of rows (dimension 0) of this run: shows how requests were batched
 *   nan           NaN (floating outputs)
 *   fail          none: the run fails with "message"
 *
 *   fail_every    N: every Nth run fails
 *   fail_on       a number: a run with it in its inputs fails
 *   spin_us       each run keeps its thread busy that long
 *   run_started   path: a file made when a run starts
 *   wait_for      path: a run waits until that file exists;  wait_while: until it is gone
 *   load_error    the load fails with that text;  load_spin_us, load_started, load_wait_for, load_wait_while: as above
 *   ballast_bytes memory touched and held while loaded
 *
 * Paths are relative to the file's folder. A wait gives up after a minute, so that a broken test ends. */
#ifndef SW_ENGINE_FAKE_FAKE_INTERNAL_H
#define SW_ENGINE_FAKE_FAKE_INTERNAL_H

#include <stdatomic.h>

#include "engine/engine.h"

enum fake_op { FAKE_SUM, FAKE_IDENTITY, FAKE_CONSTANT, FAKE_ROWS, FAKE_NAN, FAKE_FAIL, FAKE_OP_COUNT };

/* Something that takes a controlled time. Paths are absolute or relative to the process, or NULL. */
struct fake_pause {
    uint64_t spin_us;
    char *started;
    char *wait_for;
    char *wait_while;
};

struct fake_session {
    struct sw_session base;
    struct sw_tensor_specs inputs, outputs;
    bool *absent; /* by output */
    enum fake_op op;
    double value;
    char *text; /* the constant for BYTES outputs */
    char *message;
    uint64_t fail_every;
    bool fails_on;
    double fail_on;
    struct fake_pause run_pause;
    void *ballast;
    atomic_uint_fast64_t runs, rows, rows_max;
};

/* Marks the start, spins, waits. `code` is what a wait that takes too long is reported as. */
SW_MUST_CHECK sw_status fake_pause(const struct fake_pause *pause, sw_status code, struct sw_error *err);

sw_status fake_run(struct sw_session *session, const struct sw_tensor *inputs, size_t input_count,
                   const uint32_t *output_indices, size_t output_count, struct sw_tensor *ret_outputs,
                   struct sw_arena *arena, struct sw_error *err);

#endif
