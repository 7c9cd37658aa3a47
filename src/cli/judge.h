/* What a model's answer says about a labelled sample: which outputs mean what, and whether the answer is right.
 *
 * Two tasks. BINARY: a sample is positive or not; the answer is a BOOL output, or a score that reaches a threshold.
 * CLASSES: a sample has a class; the answer is an output with the class's name or number, or the place of the greatest of
 * a list of scores. Which task it is follows from the labels and from what the model gives. */
#ifndef SW_CLI_JUDGE_H
#define SW_CLI_JUDGE_H

#include "cli/dataset.h"
#include "pipeline/model.h"

enum sw_task { SW_TASK_BINARY, SW_TASK_CLASSES };

struct sw_judge_options {
    const char *positive;  /* BOOL output; NULL: the only one */
    const char *score;     /* output NAME, or NAME:COLUMN of [N,C]; NULL: see sw_judge_make */
    const char *label;     /* output with the class; NULL: see sw_judge_make */
    const char *threshold; /* number in text: positive is a score of at least this, whatever a BOOL output says */
};

enum { SW_JUDGE_NONE = -1 };

/* Indices are into model->outputs, SW_JUDGE_NONE: the model has none. Borrows from the model. */
struct sw_judge {
    const struct sw_model *model;
    enum sw_task task;
    int positive;  /* BINARY: BOOL; NONE: score and threshold decide */
    int score;     /* floating; CLASSES: how sure the model is of its class */
    size_t column; /* of the score */
    double threshold;
    int label;   /* CLASSES: BYTES or integers; NONE: the place of the greatest of `scores` */
    int scores;  /* floating, [N,C] */
    int method;  /* BYTES: what kind of positive */
    int message; /* BYTES: what was extracted */
};

/* `first`: label of a sample, which tells the task. Defaults: the score is the tensor of the bundle's threshold, else
 * what its calibrate step gives, else the only floating output [N] or [N,1]; the class is output "label", else the only
 * output of texts or integers, else the greatest of the only floating [N,C]. SW_E_USAGE says which option is missing or
 * does not fit. */
SW_MUST_CHECK sw_status sw_judge_make(const struct sw_model *model, const struct sw_judge_options *options,
                                      const struct sw_label *first, struct sw_judge *ret, struct sw_error *err);

/* Of a BINARY task: is the label positive? true, false, 0 and 1 are such labels; others are SW_E_INVALID_ARGUMENT. */
SW_MUST_CHECK sw_status sw_judge_truth(const struct sw_label *label, bool *ret, struct sw_error *err);

struct sw_verdict {
    bool positive;        /* BINARY */
    double score;         /* NaN: the model has none */
    struct sw_str label;  /* CLASSES */
    struct sw_str method; /* data NULL: none */
    struct sw_str message;
};

/* Reads the answer to one sample: all outputs of the model, in order (sw_inference with wanted NULL). Texts live in the
 * arena. SW_E_INFERENCE_FAILED when it is not one row, or an output that is needed was left out. */
SW_MUST_CHECK sw_status sw_judge_answer(const struct sw_judge *judge, const struct sw_tensor *outputs,
                                        struct sw_arena *arena, struct sw_verdict *ret, struct sw_error *err);

#endif
