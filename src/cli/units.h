/* What commands read and print beside sizes and durations (base/units.h): times for people, decimal numbers. */
#ifndef SW_CLI_UNITS_H
#define SW_CLI_UNITS_H

#include "base/units.h"

/* A time for people, in three digits or so: "87.1 us", "1.25 ms", "12.4 s". */
void sw_format_latency(double ms, char ret[SW_UNIT_TEXT_MAX]);

/* A decimal number as people write it: "10", "0.5", "1e-3"; the whole text, finite. false when it is none. */
bool sw_parse_decimal(const char *text, double *ret);

#endif
