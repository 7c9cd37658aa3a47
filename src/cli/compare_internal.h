/* `slipway compare`, between its files: compare.c (the command and its gates), compare_run.c (both models on every
 * sample), compare_print.c. */
#ifndef SW_CLI_COMPARE_INTERNAL_H
#define SW_CLI_COMPARE_INTERNAL_H

#include "cli/engines.h"
#include "cli/judge.h"
#include "cli/samples.h"
#include "stats/paired.h"

enum { SW_COMPARE_GATES_MAX = 8, SW_COMPARE_SHOWN_MAX = 10, SW_COMPARE_TEXT_MAX = 160 };

/* One of the two models. */
struct sw_compare_side {
    const char *path;
    struct sw_model *model;
    struct sw_judge judge;
    uint64_t bytes;    /* of its file and external data */
    uint64_t failed;   /* samples that it refused and the other one answered */
    uint64_t *request; /* times of one request with its steps, ns, rising; owned */
    uint64_t *run;     /* of the model alone */
};

/* A sample on which the two differ. */
struct sw_compare_case {
    uint64_t index;
    char where[SW_COMPARE_TEXT_MAX], label[SW_COMPARE_TEXT_MAX];
    char said[2][SW_COMPARE_TEXT_MAX]; /* verdict and score of each, or why there is none */
};

struct sw_compare_gate {
    const char *name;
    double limit, value; /* NaN: could not be measured, which fails */
    bool is_least;       /* the limit is the least, not the most */
    bool passed;
};

struct sw_comparison {
    const struct sw_args *args;
    const char *data;
    struct sw_cli_engines engines;
    struct sw_compare_side sides[2];
    struct sw_sample_set *samples;
    bool has_labels, has_verdicts;
    enum sw_task task;

    /* Counted by sw_compare_run. */
    uint64_t seen;                         /* samples */
    uint64_t compared;                     /* both models answered */
    uint64_t both_refused;                 /* neither did */
    struct sw_paired negatives, positives; /* BINARY with labels: called positive */
    struct sw_paired right;                /* CLASSES with labels */
    uint64_t agreed;
    double score_max, score_sum; /* |score of B - score of A| */
    uint64_t score_count;
    struct sw_difference *outputs; /* one an output that both have; owned */
    size_t output_count;
    struct sw_compare_case shown[SW_COMPARE_SHOWN_MAX]; /* the first, by index */
    size_t shown_count;
    size_t timed; /* requests measured of each */

    struct sw_compare_gate gates[SW_COMPARE_GATES_MAX];
    size_t gate_count;
};

/* Runs every sample through both models, on several threads. SW_E_INVALID_ARGUMENT: a label that is missing or does not
 * fit the others; faults of the data. */
SW_MUST_CHECK sw_status sw_compare_run(struct sw_comparison *c, unsigned threads, struct sw_error *err);

/* Times `count` requests of each on this thread, in turn, over the samples again and again. */
SW_MUST_CHECK sw_status sw_compare_time(struct sw_comparison *c, size_t count, struct sw_error *err);

double sw_compare_percentile_ms(const uint64_t *sorted_ns, size_t count, double percent);
double sw_compare_size_ratio(const struct sw_comparison *c);
double sw_compare_latency_ratio(const struct sw_comparison *c); /* of the medians of requests; NaN: not timed */
bool sw_compare_passed(const struct sw_comparison *c);

void sw_compare_print(const struct sw_comparison *c);
json_t *sw_compare_json(const struct sw_comparison *c); /* a new reference */

#endif
