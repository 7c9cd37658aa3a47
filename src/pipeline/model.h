/* A loaded model version: session, steps, served signature. Immutable after load; reference counted.
 *
 * Load order: bundle, session, steps (served signature), warm-up run where every free dimension is 1 (measures
 * run_ns), trial of batching (when asked for), golden answers. A model that fails any of these is never served, but for the warm-up: a model that fails on
 * zeros is served with run_ns 0 and the reason in warmup_note. */
#ifndef SW_PIPELINE_MODEL_H
#define SW_PIPELINE_MODEL_H

#include <stdatomic.h>

#include "base/clock.h"
#include "engine/engine.h"
#include "pipeline/bundle.h"
#include "pipeline/identity.h"
#include "pipeline/step.h"
#include "sched/cache/key.h"
#include "sched/probe.h"

struct sw_model {
    char *name;
    int64_t version;
    struct sw_bundle *bundle;
    struct sw_session *session;
    struct sw_step *input_step;    /* NULL: tensors as they come */
    struct sw_step **output_steps; /* in order */
    size_t output_step_count;
    struct sw_tensor_specs inputs;  /* served: what callers send */
    struct sw_tensor_specs outputs; /* served: what they get */
    uint64_t run_ns;                /* median of the warm-up runs of one row; 0: unknown */
    uint64_t load_ns;               /* wall time of the load */
    uint64_t loaded_wall_ms;        /* when */
    size_t golden_count;
    bool batchable;              /* dimension 0 of every input and output is free */
    unsigned threads;            /* inside one run */
    struct sw_probe probe;       /* of the session: may requests share a run? UNTESTED without options.trial */
    struct sw_plan plan;         /* how its requests are run; set by the layer above (api) before it is served */
    struct sw_identity identity; /* with bundle->cache.enable: its files */
    struct {
        bool enable;               /* results are kept */
        struct sw_cache_key scope; /* of this load, see sched/cache/key.h */
    } cache;                       /* set by the layer above, as plan */
    char *warmup_note;             /* why run_ns is 0 (a model may refuse all-zero inputs of size 1), or NULL */
    uint32_t *every_output;        /* 0 .. outputs of the session - 1 */
    void *attachment;              /* of the layer above (metrics); not owned */
    atomic_long references;
    struct sw_model *retired_next; /* of rollout/repository: links models that wait to be unloaded */
};

struct sw_model_options {
    struct sw_engine **engines; /* the first that accepts the file is used */
    size_t engine_count;
    unsigned default_threads; /* of a bundle that does not say; 0: 1 */
    unsigned threads;         /* whatever the bundle says; 0: as it says */
    bool trial;       /* find out whether rows of several requests may share a run, and what that saves: for serving */
    bool skip_golden; /* for `validate --no-golden`, versions that were forced over them, and tests */
    struct sw_clock *clock;
};

/* name NULL: the bundle's. SW_E_MODEL_INVALID, SW_E_GOLDEN_MISMATCH, SW_E_NOT_FOUND, SW_E_IO. One reference. */
SW_MUST_CHECK sw_status sw_model_load(const char *path, const char *name, int64_t version,
                                      const struct sw_model_options *options, struct sw_model **ret,
                                      struct sw_error *err);
void sw_model_ref(struct sw_model *model);
void sw_model_unref(struct sw_model *model); /* the last one unloads, on the calling thread: see rollout/repository.h */

struct sw_inference {
    struct sw_tensor *inputs; /* in: served inputs */
    size_t input_count;
    const uint32_t *wanted; /* in: indices into model->outputs; NULL: all */
    size_t wanted_count;
    struct sw_tensor *outputs; /* out: in the order wanted, in the arena; one the graph left out (optional) has dtype
                                  SW_DTYPE_INVALID */
    size_t output_count;
    uint64_t pre_ns, run_ns, post_ns; /* out */

    /* Between the stages: what the session takes and gives. */
    struct sw_tensor_set set;   /* its inputs, and the input step's notes for the output steps */
    const uint32_t *raw_wanted; /* indices into its outputs */
    size_t raw_count;
    struct sw_tensor *raw; /* its outputs, in the order of raw_wanted */
};

/* One inference in three stages, all in the request's arena. Between prepare and the run the request may wait, and the
 * run may be one of several requests together (sched/batch.h), which sets raw and run_ns.
 *
 * prepare checks the inputs against the served signature and runs the input step; finish runs the output steps and
 * checks the outputs for NaN and infinities (unless the bundle allows them). */
SW_MUST_CHECK sw_status sw_model_prepare(const struct sw_model *model, struct sw_inference *inference,
                                         struct sw_arena *arena, struct sw_clock *clock, struct sw_error *err);
SW_MUST_CHECK sw_status sw_model_finish(const struct sw_model *model, struct sw_inference *inference,
                                        struct sw_arena *arena, struct sw_clock *clock, struct sw_error *err);
/* Prepare, a run of its own, finish. */
SW_MUST_CHECK sw_status sw_model_infer(const struct sw_model *model, struct sw_inference *inference,
                                       struct sw_arena *arena, struct sw_clock *clock, struct sw_error *err);

/* Runs every golden request and compares. SW_E_GOLDEN_MISMATCH naming line, output, element, expected and got.
 * golden.jsonl, one a line: {"inputs": [OIP tensor, or {"name": "image", "file": "samples/7.png"}, ...],
 * "outputs": [OIP tensor, ...], "tolerance": 1e-4}: |got - expected| <= tolerance * max(1, |expected|); BYTES and
 * integers exact. *ret_count gets the number of lines. */
SW_MUST_CHECK sw_status sw_golden_check(const struct sw_model *model, struct sw_clock *clock, size_t *ret_count,
                                        struct sw_error *err);

/* Runs the golden requests, over and over, until it was `count` runs or they have taken total_max_ns, and gives the
 * time of each: input step, engine, output steps. Answers are not compared. ret_ns: room for `count`. SW_E_NOT_FOUND:
 * the bundle has none. */
SW_MUST_CHECK sw_status sw_golden_time(const struct sw_model *model, struct sw_clock *clock, size_t count,
                                       uint64_t total_max_ns, uint64_t *ret_ns, size_t *ret_count,
                                       struct sw_error *err);

/* Zero tensors (BYTES: empty strings) that fit the specs, free dimensions free_size: for warm-up and bench. One a spec,
 * in order; optional inputs included. */
SW_MUST_CHECK sw_status sw_model_zero_inputs(const struct sw_tensor_specs *specs, int64_t free_size,
                                             struct sw_arena *arena, struct sw_tensor **ret, struct sw_error *err);

#endif
