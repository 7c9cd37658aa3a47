/* Trials at load: may rows of different requests share a run, and what does a row cost in company?
 *
 * Dimension 0 being free does not make it a dimension of independent rows: a graph may normalise over it, sort it, give
 * back only some of it, or quantise by its largest value. So a few different random rows are run together and each
 * alone; batching is allowed only when every row gives the same answer both ways, within the tolerance of floating-point
 * sums taken in another order. Then runs of 1, 2, 4, ... rows are timed, as far as a budget of time goes.
 *
 * Integers are 0 or 1 (they may be indices), numbers lie between -1 and 1, texts are one letter. A model that refuses
 * them is left untested. Loader thread. */
#ifndef SW_SCHED_PROBE_H
#define SW_SCHED_PROBE_H

#include "base/clock.h"
#include "engine/engine.h"
#include "sched/profile.h"

enum sw_probe_rows {
    SW_ROWS_UNTESTED, /* the trial could not be run */
    SW_ROWS_APART,    /* no row changed another's answer */
    SW_ROWS_LINKED,   /* one did, or an output has not one row for each input row */
    SW_ROWS_NONE,     /* dimension 0 of an input or output is fixed, or there is none */
};

struct sw_probe {
    enum sw_probe_rows rows;
    char note[320];            /* why not APART; "" when it is */
    struct sw_profile profile; /* APART: of as many sizes as there was time for; else of one row, or nothing */
};

struct sw_probe_options {
    struct sw_clock *clock;
    uint64_t rows_max;  /* largest size to time */
    uint64_t budget_ns; /* for timing sizes above 1 */
    uint64_t run_ns;    /* of one row, as warmed up; 0: not known */
    uint64_t slow_ns;   /* a model whose run takes longer is not tested */
};

void sw_probe_run(struct sw_session *session, const struct sw_probe_options *options, struct sw_probe *ret);

/* Have all required inputs and all outputs a free dimension 0? Else ret_note (`size` bytes) says which has not. */
bool sw_probe_has_rows(struct sw_session *session, char *ret_note, size_t size);

#endif
