/* What `evaluate` finds out about a model: counts, rates, the worst errors. Filled one sample at a time, in any order;
 * the result hangs only on the samples, not on the order (times apart).
 *
 * A sample is evaluated (its answer is right or wrong), or failed (the model refused it, or its file cannot be read), or
 * it was meant to be broken: refused, as it should be, or answered all the same. Only evaluated ones count in rates. */
#ifndef SW_CLI_EVALUATION_H
#define SW_CLI_EVALUATION_H

#include "base/map.h"
#include "cli/judge.h"
#include "stats/interval.h"
#include "stats/reliability.h"

enum {
    SW_BY_KEYS_MAX = 4,
    SW_BY_MAX = 32,
    SW_BY_GROUPS_MAX = 10000,
    SW_CLASSES_MAX = 2000,
    SW_FAILURES_SHOWN_MAX = 100
};

enum sw_outcome {
    SW_OUTCOME_NONE, /* not seen yet */
    SW_OUTCOME_TRUE_NEGATIVE,
    SW_OUTCOME_FALSE_POSITIVE,
    SW_OUTCOME_TRUE_POSITIVE,
    SW_OUTCOME_FALSE_NEGATIVE,
    SW_OUTCOME_RIGHT, /* of CLASSES */
    SW_OUTCOME_WRONG,
    SW_OUTCOME_FAILED,
    SW_OUTCOME_REFUSED,
    SW_OUTCOME_ANSWERED,
    SW_OUTCOMES
};

struct sw_rate {
    uint64_t count, of;
};

/* Counts of all evaluated samples, or of a group. */
struct sw_tally {
    struct sw_rate false_positives; /* of the negatives */
    struct sw_rate detection;       /* of the positives */
    struct sw_rate extraction;      /* message equals payload, of the detected positives that have a payload */
    struct sw_rate right;           /* CLASSES */
};

/* A table of groups: the values of one key, or of several together ("alpha, png"). A sample that lacks a key is in
 * none of them. */
struct sw_by {
    char *title; /* "method, format" */
    struct sw_str keys[SW_BY_KEYS_MAX];
    size_t key_count;
    struct sw_map groups; /* value -> struct sw_tally *, owned */
};

/* How often was each class (rows) called what (columns)? */
struct sw_matrix {
    struct sw_map classes; /* names of rows and columns; value: index + 1 */
    struct sw_map cells;   /* "row TAB column" -> count */
    struct sw_rate right;
};

struct sw_worst_item {
    double key; /* the greater, the worse; then the lower index */
    uint64_t index;
    double score; /* NaN: none */
    char *where;  /* file, or line; owned */
    char *detail; /* "png, camera" or the reason; owned */
};

struct sw_worst {
    struct sw_worst_item *items; /* worst first; owned */
    size_t count, max;
};

struct sw_record {
    double score;
    uint64_t latency_ns;
    uint8_t outcome; /* enum sw_outcome */
};

struct sw_evaluation {
    struct sw_judge judge;
    struct sw_record *records; /* by index of the sample; owned */
    size_t record_count, record_capacity;
    uint64_t outcomes[SW_OUTCOMES];
    struct sw_tally all;
    struct sw_by by[SW_BY_MAX];
    size_t by_count;
    struct sw_matrix matrix; /* BINARY: methods of the detected positives; CLASSES: classes */
    struct sw_worst false_positives, misses, wrong_texts, wrong_classes, failures;
};

/* Empty; `worst` is how many of the worst errors of each kind are kept. */
void sw_evaluation_init(struct sw_evaluation *evaluation, const struct sw_judge *judge, size_t worst);
void sw_evaluation_deinit(struct sw_evaluation *evaluation);

/* Adds a table by KEY or KEY,KEY,...; one that is there already is not added again. SW_E_USAGE. */
SW_MUST_CHECK sw_status sw_evaluation_by(struct sw_evaluation *evaluation, const char *keys, struct sw_error *err);

/* Counts an answer. SW_E_INVALID_ARGUMENT naming `where` when the sample's label does not fit the task, a score is
 * NaN, or there are too many groups. */
SW_MUST_CHECK sw_status sw_evaluation_add(struct sw_evaluation *evaluation, const struct sw_sample *sample,
                                          const char *where, const struct sw_verdict *verdict, uint64_t latency_ns,
                                          struct sw_error *err);
/* Counts a sample that has no answer, or that is broken and has one (`why` NULL). */
SW_MUST_CHECK sw_status sw_evaluation_add_outcome(struct sw_evaluation *evaluation, const struct sw_sample *sample,
                                                  const char *where, enum sw_outcome outcome, const char *why,
                                                  struct sw_error *err);

uint64_t sw_evaluation_total(const struct sw_evaluation *evaluation);     /* samples seen */
uint64_t sw_evaluation_evaluated(const struct sw_evaluation *evaluation); /* of these, evaluated */

/* Scores with the truth (BINARY) or with whether the class was right, in order of the samples, on the heap (sw_free);
 * *ret_count 0 when the model has no score. */
SW_MUST_CHECK sw_status sw_evaluation_scored(const struct sw_evaluation *evaluation, struct sw_scored **ret,
                                             size_t *ret_count, struct sw_error *err);
/* Times of the evaluated samples, rising, on the heap (sw_free). */
SW_MUST_CHECK sw_status sw_evaluation_latencies(const struct sw_evaluation *evaluation, uint64_t **ret_ns,
                                                size_t *ret_count, struct sw_error *err);

double sw_rate_value(struct sw_rate rate); /* NaN when there are none */

/* Keys of a map, sorted: whole numbers by value, then the others as strcmp does; on the heap (sw_free), the keys are the map's. */
const char **sw_map_sorted(const struct sw_map *map);
uint64_t sw_matrix_cell(const struct sw_matrix *matrix, const char *row, const char *column);

#endif
