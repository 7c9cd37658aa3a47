/* Moments on the command line: "2026-11-20", "2026-11-20T14:00:00Z", or how long ago: "90m", "48h", "7d". */
#ifndef SW_CLI_WHEN_H
#define SW_CLI_WHEN_H

#include "base/str.h"

/* Milliseconds since 1970 (UTC); now_ms is when "ago" counts from. Dates are UTC, from 1970 to 9999. false when
 * malformed. */
bool sw_parse_when(struct sw_str text, uint64_t now_ms, uint64_t *ret_ms);

#endif
