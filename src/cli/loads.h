/* The models that `serve` loads at start: which there are, and what became of each.
 *
 * Main thread: add, submit, take. The loader thread reports through an event descriptor, so that the main thread can
 * wait for models and signals at once. */
#ifndef SW_CLI_LOADS_H
#define SW_CLI_LOADS_H

#include "base/buf.h"
#include "rollout/repository.h"

struct sw_loads;

/* What became of one model; from sw_loads_take. */
struct sw_load_outcome {
    const char *name; /* lives as long as the repository */
    bool required;    /* named on the command line */
    sw_status status;
    struct sw_error error; /* set when status is not SW_OK */
};

SW_MUST_CHECK sw_status sw_loads_create(struct sw_repository *repository, struct sw_loads **ret, struct sw_error *err);
/* After the repository is destroyed: until then the loader may report. */
void sw_loads_destroy(struct sw_loads *loads);

/* A model or bundle that must load. Errors are those of sw_repository_add. */
SW_MUST_CHECK sw_status sw_loads_add(struct sw_loads *loads, const char *path, struct sw_error *err);
/* All models of a folder. */
SW_MUST_CHECK sw_status sw_loads_add_directory(struct sw_loads *loads, const char *dir, struct sw_error *err);

/* A model that the repository knows already, which may stay unavailable. */
void sw_loads_add_known(struct sw_loads *loads, const char *name);

/* Hands as many to the loader as its queue takes; call again after each outcome. */
SW_MUST_CHECK sw_status sw_loads_submit(struct sw_loads *loads, struct sw_error *err);

int sw_loads_fd(const struct sw_loads *loads);                           /* readable when there are outcomes */
bool sw_loads_take(struct sw_loads *loads, struct sw_load_outcome *ret); /* the next outcome; false: none now */
bool sw_loads_finished(const struct sw_loads *loads);                    /* every outcome was taken */

size_t sw_loads_count(const struct sw_loads *loads);
size_t sw_loads_ready_count(const struct sw_loads *loads);      /* outcomes taken that were good */
const char *sw_loads_first_ready(const struct sw_loads *loads); /* name, NULL: none */
/* "digits, iris and 3 more": the models that loaded. */
void sw_loads_describe(const struct sw_loads *loads, struct sw_buf *out);

#endif
