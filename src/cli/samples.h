/* Samples for a model: what `quantize` calibrates with and `compare` compares on.
 *
 * DATA is one of
 *   - FILE.npz: arrays by the names of the model's inputs; FILE.npy: the array of its one input;
 *   - a folder that holds INPUT.npy for every input, or else .npz and .npy files;
 *   - anything that cli/dataset.h reads: a .jsonl of requests, a folder with manifest.jsonl, a folder of files.
 *
 * Arrays hold many samples: along dimension 0 where the model leaves it free (or in pieces of its size), or in a
 * dimension more than the model has. An array of one sample goes with every sample of the others. Numbers of another
 * type than the model's are converted where they fit; numpy's default is FP64. */
#ifndef SW_CLI_SAMPLES_H
#define SW_CLI_SAMPLES_H

#include "cli/dataset.h"
#include "graph/calibrate.h"
#include "pipeline/model.h"

struct sw_sample_set;

/* Looks at DATA and counts; arrays are read, files and lines only when their turn comes. `model`: whose inputs arrays
 * are named after. samples_max: of more, that many are taken, evenly spread (0: all). Samples that are marked as
 * broken are passed over. SW_E_NOT_FOUND, SW_E_IO, SW_E_INVALID_ARGUMENT (nothing in it, or it does not fit the
 * model), SW_E_TOO_LARGE. */
SW_MUST_CHECK sw_status sw_sample_set_open(const char *data, const struct sw_model *model, uint64_t samples_max,
                                           struct sw_sample_set **ret, struct sw_error *err);
void sw_sample_set_close(struct sw_sample_set *set); /* NULL is allowed */

uint64_t sw_sample_set_count(const struct sw_sample_set *set); /* taken */
uint64_t sw_sample_set_total(const struct sw_sample_set *set); /* there were */

/* One of them, valid until the arena is reset. */
struct sw_set_sample {
    struct sw_sample sample; /* label and groups; of a row of arrays all absent */
    const void *arrays;      /* the row's; NULL: `sample` says what it is */
    size_t row;
    const char *where; /* "DATA/7.png", "DATA.npz sample 7": for messages */
};

SW_MUST_CHECK sw_status sw_sample_set_rewind(struct sw_sample_set *set, struct sw_error *err);
SW_MUST_CHECK sw_status sw_sample_set_next(struct sw_sample_set *set, struct sw_arena *arena, struct sw_set_sample *ret,
                                           bool *ret_more, struct sw_error *err);
/* Its tensors as the model's served inputs, in the arena. Messages begin with `where`. */
SW_MUST_CHECK sw_status sw_sample_set_inputs(const struct sw_sample_set *set, const struct sw_set_sample *sample,
                                             const struct sw_model *model, struct sw_arena *arena,
                                             struct sw_tensor **ret, size_t *ret_count, struct sw_error *err);

/* For sw_calibrate: what the model's input step makes of each sample. Borrows the set. `ran` (may be NULL) hears after
 * each run how many there were, and its argument. */
struct sw_samples sw_sample_set_samples(struct sw_sample_set *set, void (*ran)(void *arg, uint64_t runs), void *arg);

#endif
