/* Numbers in text, correctly rounded both ways.
 *
 * Reading: Clinger's fast path, then Eisel-Lemire (D. Lemire, "Number Parsing at a Gigabyte per Second", 2021), then
 * the C library for the rare rest. Writing: the shortest decimal that reads back the same float, Schubfach
 * (R. Giulietti, 2020), laid out as JavaScript prints numbers: 0.1, 100, 1e+21, 1e-7. Only -0 differs: "-0.0", so
 * that readers that tell integers apart keep its sign. */
#ifndef SW_TENSOR_NUMBER_H
#define SW_TENSOR_NUMBER_H

#include "base/macros.h"

/* Parse the JSON number that starts at p (strict JSON grammar: no leading '+', no leading zeros, digits on both
 * sides of the point). Return the byte behind it, or NULL: malformed, or (float) the value overflows to infinity.
 * The text must be followed by at least one byte that is not part of a number before `end`, or end. At `end` reading
 * stops. */
const char *sw_parse_float(const char *p, const char *end, float *ret);
const char *sw_parse_double(const char *p, const char *end, double *ret);

/* Integers: no fraction, no exponent; NULL when malformed or outside [min, max] / (0 .. max). */
const char *sw_parse_int(const char *p, const char *end, int64_t min, int64_t max, int64_t *ret);
const char *sw_parse_uint(const char *p, const char *end, uint64_t max, uint64_t *ret);

/* Write the shortest form at out (finite values only); return the byte behind it. No NUL. Bytes behind the one returned
 * may have been written too: `out` always has room for SW_NUMBER_MAX. */
enum { SW_NUMBER_MAX = 32 };
char *sw_format_float(char *out, float value);
char *sw_format_double(char *out, double value);
char *sw_format_int(char *out, int64_t value);
char *sw_format_uint(char *out, uint64_t value);

#endif
