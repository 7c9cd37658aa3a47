/* Runs a model on every sample of a data set, on several threads. */
#ifndef SW_CLI_EVALUATION_RUN_H
#define SW_CLI_EVALUATION_RUN_H

#include <stdio.h>

#include "cli/evaluation.h"

/* The first sample that is not meant to be broken, or, when all are, the last one; in the arena. The data set is then
 * rewound. */
SW_MUST_CHECK sw_status sw_dataset_first(struct sw_dataset *dataset, struct sw_arena *arena, struct sw_sample *ret,
                                         struct sw_error *err);

/* Fills the evaluation. One file a thread is in memory at a time. A sample that the model refuses, whose file cannot be
 * read or whose answer cannot be judged is counted as failed, and the run goes on; a fault of the data set's lines or
 * labels ends it. `progress`: standard error, or NULL. */
SW_MUST_CHECK sw_status sw_evaluation_run(struct sw_evaluation *evaluation, struct sw_dataset *dataset,
                                          unsigned threads, FILE *progress, struct sw_error *err);

#endif
