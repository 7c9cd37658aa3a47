/* An evaluation as people, programs and eyes want it: text, JSON, pictures. */
#ifndef SW_CLI_EVALUATION_REPORT_H
#define SW_CLI_EVALUATION_REPORT_H

#include <jansson.h>

#include "cli/evaluation.h"

enum { SW_REPORT_GATES_MAX = 8, SW_REPORT_ROC_POINTS_MAX = 1000 };

struct sw_report_gate {
    const char *name; /* "max-fpr": the option */
    double limit;
    double value; /* NaN: there is nothing to measure, which fails */
    char of[128]; /* which group, where the gate looks at each: "method alpha" */
    bool passed;
};

struct sw_report {
    const struct sw_evaluation *evaluation;
    const char *data; /* path */
    double confidence;
    enum sw_interval_method interval;
    unsigned threads;
    uint64_t elapsed_ns;

    struct sw_scored *scored; /* owned */
    size_t scored_count;      /* 0: the model has no score */
    struct sw_roc roc;        /* BINARY with scores */
    bool has_reliability;     /* the scores are probabilities */
    struct sw_reliability equal_width, equal_mass;
    double score_min, score_max;
    double mean_ms, median_ms, p95_ms, p99_ms, max_ms;
    struct sw_report_gate gates[SW_REPORT_GATES_MAX];
    size_t gate_count;
};

/* Works out the rest of a report whose first fields, up to elapsed_ns, are set. */
SW_MUST_CHECK sw_status sw_report_finish(struct sw_report *report, size_t bins, struct sw_error *err);
void sw_report_deinit(struct sw_report *report);

/* Adds a gate: the value must be at most (a name that begins with "max") or at least the limit. */
void sw_report_gate(struct sw_report *report, const char *name, double limit, double value, const char *of);
/* Every gate passed and no sample failed. */
bool sw_report_passed(const struct sw_report *report);

struct sw_interval sw_report_interval(const struct sw_report *report, struct sw_rate rate);
double sw_report_samples_per_s(const struct sw_report *report);

json_t *sw_report_json(const struct sw_report *report); /* a new reference; only "timing" differs from run to run */
void sw_report_print(const struct sw_report *report);   /* on standard output */

/* Writes DIR/reliability.svg and, of a BINARY task, DIR/roc.svg, as far as there are scores; makes the folder. Tells the
 * files on standard output when `tell`. SW_E_IO. */
SW_MUST_CHECK sw_status sw_report_plots(const struct sw_report *report, const char *dir, bool tell,
                                        struct sw_error *err);

/* A map's key or a path as JSON: what is not UTF-8 becomes '?'. */
json_t *sw_report_text(const char *text);
/* Every how many points of the curve one is shown, so that at most SW_REPORT_ROC_POINTS_MAX are. */
size_t sw_report_roc_step(const struct sw_roc *roc);

#endif
