/* Running a model over samples, to see what its tensors do: calibration, and the difference of two models.
 *
 * A sample is one request: the model's inputs. Samples come through a callback, one after the other, as often as there
 * are passes; whatever they are made from (files, an input step) is the caller's. */
#ifndef SW_GRAPH_CALIBRATE_H
#define SW_GRAPH_CALIBRATE_H

#include "engine/engine.h"
#include "graph/onnx.h"
#include "graph/range.h"

struct sw_samples {
    void *arg;
    /* The next pass begins with the first sample. */
    sw_status (*rewind)(void *arg, struct sw_error *err);
    /* The next sample, valid until the arena is reset; *ret_more false: there is none. */
    sw_status (*next)(void *arg, struct sw_arena *arena, const struct sw_tensor **ret, size_t *ret_count,
                      bool *ret_more, struct sw_error *err);
    void (*ran)(void *arg); /* after each run, for progress; may be NULL */
};

/* A tensor of the model: FP32, by name. */
struct sw_observed {
    const char *name;      /* borrowed */
    struct sw_range range; /* initialised by the caller; grows */
    int rank;              /* number of dimensions; -1: not the same in every sample */
};

/* Runs the model over every sample and adds the values of each observed tensor to its range; names are unique. Tensors
 * inside the graph are made outputs of a copy, in a temporary file (mode 0600, in $TMPDIR), at most 128 a pass.
 * *ret_samples: how many there were. SW_E_INFERENCE_FAILED: a run failed, or a value is NaN or infinite, naming tensor
 * and sample; SW_E_INVALID_ARGUMENT: no samples; what the engine and the samples report. */
SW_MUST_CHECK sw_status sw_calibrate(struct sw_onnx *onnx, struct sw_engine *engine,
                                     const struct sw_session_options *options, const struct sw_samples *samples,
                                     struct sw_observed *observed, size_t count, size_t *ret_samples,
                                     struct sw_error *err);

/* How far the outputs of two models lie apart: |a - b| over all elements of all samples, integers and floats alike.
 * While it grows, mean and scale are sums; sw_difference_finish divides them. */
struct sw_difference {
    char *name;              /* of the output; owned */
    double max, mean, scale; /* scale: mean of |a| */
    uint64_t count;          /* of elements; 0: not comparable, such as BYTES */
};

/* Adds two tensors. false: they differ in type or shape; nothing is added. Of types that are no numbers nothing is. */
bool sw_difference_add(struct sw_difference *difference, const struct sw_tensor *a, const struct sw_tensor *b);
void sw_difference_finish(struct sw_difference *difference);

/* a, b: paths of models with the same inputs and outputs. *ret: one a common output, on the heap: release with
 * sw_differences_free. SW_E_INFERENCE_FAILED: an output has another shape or type in b. */
SW_MUST_CHECK sw_status sw_difference_measure(const char *a, const char *b, struct sw_engine *engine,
                                              const struct sw_session_options *options,
                                              const struct sw_samples *samples, struct sw_difference **ret,
                                              size_t *ret_count, struct sw_error *err);
void sw_differences_free(struct sw_difference *differences, size_t count);

#endif
