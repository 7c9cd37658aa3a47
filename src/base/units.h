/* Sizes and durations in text: "64MiB", "10s". */
#ifndef SW_BASE_UNITS_H
#define SW_BASE_UNITS_H

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

#endif
