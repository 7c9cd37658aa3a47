/* Run times of a model by the size of a run, and what they say about how to run it.
 *
 * Size is counted in units: multiples of the smallest run (one row, every free dimension 1). A profile holds one time
 * for each power of two, measured at load (probe.h) and corrected by every run since; what lies between is a straight
 * line, what lies beyond grows in proportion. Plain numbers, no locks: whoever shares one, guards it. */
#ifndef SW_SCHED_PROFILE_H
#define SW_SCHED_PROFILE_H

#include <stdbool.h>

#include "base/macros.h"

enum { SW_PROFILE_POINTS = 17 }; /* 1, 2, 4, ... 65536 units */

struct sw_profile {
    uint64_t ns[SW_PROFILE_POINTS]; /* by the logarithm of the size; 0: not known */
};

/* A measurement made at rest: replaces what was known. units: a power of two up to 65536, others are ignored. */
void sw_profile_set(struct sw_profile *profile, uint64_t units, uint64_t ns);
/* A run under way: moves the points around it by a part of the difference. */
void sw_profile_observe(struct sw_profile *profile, uint64_t units, uint64_t ns);
/* Expected nanoseconds of a run of that many units (0 counts as 1); 0: nothing is known. */
uint64_t sw_profile_ns(const struct sw_profile *profile, uint64_t units);

/* How the requests of a model are run. */
enum sw_run_mode {
    SW_RUN_INLINE,  /* on the I/O thread that read them: a change of threads would cost more than the run */
    SW_RUN_SINGLE,  /* each by itself on a worker */
    SW_RUN_BATCHED, /* on a worker, together with others that wait */
};
const char *sw_run_mode_name(enum sw_run_mode mode); /* "inline", "single", "batched" */

enum { SW_BATCH_ROWS_MAX = 65536, SW_BATCH_ROWS_DEFAULT = 64 };

struct sw_plan_options {
    const struct sw_profile *profile;
    bool can_batch;          /* rows of different requests may share a run */
    uint64_t max_batch;      /* rows, as the bundle says; 0: as the measurements say */
    bool can_inline;         /* nothing but the run is to be done (no input step) */
    uint64_t inline_ns_max;  /* longest run on an I/O thread; 0: none */
    uint64_t batch_ns_max;   /* a batch is not made so large that it takes longer, unless one row does; 0: no limit */
    uint64_t bytes_per_unit; /* of inputs and outputs: batches stay below SW_BATCH_BYTES_MAX */
};
#define SW_BATCH_BYTES_MAX (UINT64_C(64) << 20)

struct sw_plan {
    enum sw_run_mode mode;
    uint64_t max_batch; /* rows of one run; 1 unless batched */
    uint64_t enough;    /* rows beyond which a row costs hardly less: no batch waits for more */
    double gain;        /* time of a row alone / time of a row in the best batch */
    char reason[200];   /* why, with the numbers */
};

void sw_plan_make(const struct sw_plan_options *options, struct sw_plan *ret);

#endif
