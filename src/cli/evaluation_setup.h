/* What evaluate and calibrate open from their command lines: a model, a data set, and how the one is judged on the other. */
#ifndef SW_CLI_EVALUATION_SETUP_H
#define SW_CLI_EVALUATION_SETUP_H

#include "cli/cli.h"
#include "cli/engines.h"
#include "cli/evaluation_run.h"

struct sw_evaluation_setup {
    const struct sw_args *args;
    struct sw_config *config;
    struct sw_cli_engines engines;
    struct sw_model *model;
    struct sw_dataset *dataset;
    struct sw_arena arena; /* of the first sample */
    struct sw_evaluation evaluation;
    unsigned threads;
    uint64_t elapsed_ns; /* of the run */
};

/* Opens args->positional[0] and --data, with --positive, --score, --label, --threshold, --threads. `worst`: see
 * sw_evaluation_init. To be closed in either case. *ret_exit is the exit code when SW_OK is not returned and err was not
 * set (the configuration's faults are printed already): else -1. */
SW_MUST_CHECK sw_status sw_evaluation_setup_open(struct sw_evaluation_setup *setup, const struct sw_args *args,
                                                 size_t worst, int *ret_exit, struct sw_error *err);
/* Runs the whole data set. SW_E_UNPROCESSABLE when no sample could be evaluated, with the first reason. */
SW_MUST_CHECK sw_status sw_evaluation_setup_run(struct sw_evaluation_setup *setup, struct sw_error *err);
void sw_evaluation_setup_close(struct sw_evaluation_setup *setup);

/* The number of an option, between min and max; *ret stays when it is not given. SW_E_USAGE. */
SW_MUST_CHECK sw_status sw_option_number(const struct sw_args *args, enum sw_option_id id, const char *name, double min,
                                         double max, double *ret, struct sw_error *err);
/* Writes JSON into a file, with `digits` significant digits. SW_E_IO. */
SW_MUST_CHECK sw_status sw_json_write_file(const char *path, json_t *json, size_t digits, struct sw_error *err);

#endif
