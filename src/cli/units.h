/* Sizes, durations and numbers in text: "64MiB", "10s", "0.5". */
#ifndef SW_CLI_UNITS_H
#define SW_CLI_UNITS_H

#include <stdbool.h>

#include "base/str.h"

enum { SW_UNIT_TEXT_MAX = 32 };

/* Bytes: digits and B, KiB, MiB, GiB, TiB (case ignored), or K, M, G, T for the same; bare digits are bytes. false
 * when malformed or above 2^64 - 1. */
bool sw_parse_size(struct sw_str text, uint64_t *ret_bytes);

/* Microseconds: digits and us, ms, s, m, h. A bare number is refused, because nobody can tell seconds from
 * milliseconds, except 0. */
bool sw_parse_duration(struct sw_str text, uint64_t *ret_us);

/* The shortest exact form: 65536 -> "64KiB", 1500 -> "1500B"; 90000000 -> "90s", 0 -> "0s". */
void sw_format_size(uint64_t bytes, char ret[SW_UNIT_TEXT_MAX]);
void sw_format_duration(uint64_t us, char ret[SW_UNIT_TEXT_MAX]);

/* A time for people, in three digits or so: "87.1 us", "1.25 ms", "12.4 s". */
void sw_format_latency(double ms, char ret[SW_UNIT_TEXT_MAX]);

/* A decimal number as people write it: "10", "0.5", "1e-3"; the whole text, finite. false when it is none. */
bool sw_parse_decimal(const char *text, double *ret);

#endif
