/* Log-linear histograms: how values are distributed, in cells whose width is 1/32 of a power of two.
 *
 * A cell is named by the top bits of the number itself, sign, exponent and the first five bits of the fraction, so that
 * finding it takes no logarithm, and the middle of a cell lies at most 1/64 (1.6 %) beside any value in it. Cells are
 * numbered in the order of their values:
 *
 *   cell      0 ........... 4095   4096   4097 ............ 8192
 *   values    -2^64    -2^-64        0    2^-64         2^64
 *
 * Magnitudes below 2^-64 count as 0, those of 2^64 and more into the last cell. Two forms:
 *
 *   sw_loghist       the cells that hold something, ascending: 8 bytes each. What is kept and stored
 *   sw_loghist_sum   a counter for every cell: many histograms added up, and asked for quantiles
 *
 * One owner at a time. */
#ifndef SW_OBSERVE_LOGHIST_H
#define SW_OBSERVE_LOGHIST_H

#include "base/buf.h"
#include "base/macros.h"
#include "base/str.h"

enum {
    SW_LOGHIST_ZERO = 4096,                     /* the cell of 0 */
    SW_LOGHIST_CELLS = 2 * SW_LOGHIST_ZERO + 1, /* all of them */
    SW_LOGHIST_PER_OCTAVE = 32,                 /* cells between one power of two and the next */
    SW_LOGHIST_EXPONENT_MIN = -64,              /* 2^-64: the smallest magnitude that is not 0 */
};

/* `value` is finite. */
unsigned sw_loghist_cell(double value);
/* The middle of the cell; of the first and last, as if they ended. */
double sw_loghist_value(unsigned cell);

/* ---- sparse */

struct sw_loghist_entry {
    uint16_t cell;
    uint32_t count; /* stays at its maximum */
};

struct sw_loghist {
    struct sw_loghist_entry *entries; /* by cell */
    uint16_t used, capacity;
};

void sw_loghist_deinit(struct sw_loghist *hist); /* of one that is all zero, too */
/* false: out of memory, nothing was added. */
bool sw_loghist_add(struct sw_loghist *hist, unsigned cell, uint64_t count);
bool sw_loghist_merge(struct sw_loghist *hist, const struct sw_loghist *from);
bool sw_loghist_copy(struct sw_loghist *ret, const struct sw_loghist *from);
size_t sw_loghist_bytes(const struct sw_loghist *hist); /* on the heap */

/* "4096:3 4161:120", and back; false when malformed (not ascending, a cell or count out of range) or out of memory:
 * *hist is then empty. */
void sw_loghist_write(const struct sw_loghist *hist, struct sw_buf *out);
bool sw_loghist_read(struct sw_str text, struct sw_loghist *ret);

/* ---- dense */

struct sw_loghist_sum {
    uint64_t counts[SW_LOGHIST_CELLS];
    uint64_t total;
    unsigned low, high; /* cells in use lie in [low, high]; low > high: none */
};

void sw_loghist_sum_init(struct sw_loghist_sum *sum);
void sw_loghist_sum_clear(struct sw_loghist_sum *sum); /* costs what was used */
void sw_loghist_sum_merge(struct sw_loghist_sum *sum, const struct sw_loghist *from);
/* The value of rank ceil(q * total), the first being 1: the middle of its cell. NaN when there is none. 0 <= q <= 1. */
double sw_loghist_sum_quantile(const struct sw_loghist_sum *sum, double q);

#endif
