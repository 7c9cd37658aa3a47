/* What the commands share: their signature, output, and the configuration from their options. */
#ifndef SW_CLI_CLI_H
#define SW_CLI_CLI_H

#include <jansson.h>
#include <stdio.h>

#include "cli/config.h"
#include "cli/options.h"

enum { SW_EXIT_DONE = 0, SW_EXIT_FAILED = 1, SW_EXIT_USAGE = 2, SW_EXIT_IMPOSSIBLE = 3 };

/* A command: returns its exit code. The first message of a failure goes to standard error by sw_cli_fail. */
typedef int sw_command_run(const struct sw_args *args);
sw_command_run sw_run_serve, sw_run_validate, sw_run_bench, sw_run_quantize, sw_run_compare, sw_run_doctor,
    sw_run_config_show, sw_run_config_check, sw_run_version, sw_run_help, sw_run_model_push, sw_run_model_list,
    sw_run_model_show, sw_run_model_promote, sw_run_model_rollback, sw_run_model_archive, sw_run_model_unalias,
    sw_run_model_delete, sw_run_model_tag, sw_run_model_history, sw_run_model_pull, sw_run_model_gc, sw_run_backup,
    sw_run_restore, sw_run_audit_list, sw_run_audit_verify, sw_run_load, sw_run_slo_check;
sw_command_run sw_run_evaluate, sw_run_calibrate;

/* The whole program: parses, runs, returns the exit code. */
int sw_cli_main(int argc, char **argv);

/* "slipway COMMAND: message" on standard error; returns the exit code that belongs to the error's code. */
int sw_cli_fail(const struct sw_args *args, const struct sw_error *err);

/* Configuration from --config or SLIPWAY_CONFIG, the environment and the options of args that name a key. Warnings and
 * errors are printed; NULL after errors, with the exit code in *ret_exit. */
struct sw_config *sw_cli_config(const struct sw_args *args, int *ret_exit);
/* The same for a running server: nothing is printed, problems are handed out. */
SW_MUST_CHECK sw_status sw_cli_config_load(const struct sw_args *args, struct sw_config **ret,
                                           struct sw_config_problems *problems, struct sw_error *err);

/* Prints as indented JSON and a newline on `file`. */
void sw_cli_print_json(FILE *file, json_t *json);
void sw_cli_print_buf(FILE *file, struct sw_buf *buf);

/* Writes the same into a file, which it replaces; SW_E_IO with the path. The check, before what takes long: can it be
 * written? It leaves things as they are. */
SW_MUST_CHECK sw_status sw_cli_write_json(const char *path, json_t *json, struct sw_error *err);
SW_MUST_CHECK sw_status sw_cli_check_output(const char *path, struct sw_error *err);

/* Columns of the terminal at standard output, at most 100; 100 when it is none. */
size_t sw_cli_width(void);
size_t sw_cli_terminal_width(void); /* all of its columns; 0 when it is no terminal */

/* Is this stream a terminal that understands colours, and does NO_COLOR allow them? */
bool sw_cli_colours(FILE *file);

/* "1,234,567" */
const char *sw_cli_thousands(uint64_t number, char buffer[32]);

#endif
