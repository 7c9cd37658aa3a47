/* What `slipway load` shows to people. */
#ifndef SW_CLI_LOAD_PRINT_H
#define SW_CLI_LOAD_PRINT_H

#include "load/load.h"

/* The line of progress on standard error, when that is a terminal: a callback of sw_load_settings. */
struct sw_load_progress {
    const struct sw_load_settings *settings;
    uint64_t failed; /* so far */
    bool drawn;
};
void sw_load_progress_row(void *progress, const struct sw_load_row *row);
void sw_load_progress_end(struct sw_load_progress *progress); /* takes the line away */

void sw_load_print(const struct sw_load_settings *settings, const struct sw_load_result *result);

#endif
