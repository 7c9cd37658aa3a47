/* Log-linear histograms; see loghist.h. */
#include "observe/loghist.h"

#include <math.h>

#include "base/memory.h"

enum {
    FRACTION_BITS = 52,
    CELL_BITS = 5, /* of the fraction that tell cells of one power of two apart */
    EXPONENT_BIAS = 1023,
    MAGNITUDE_MIN = (EXPONENT_BIAS + SW_LOGHIST_EXPONENT_MIN) << CELL_BITS,
    CAPACITY_STEP = 4,
};
_Static_assert(1 << CELL_BITS == SW_LOGHIST_PER_OCTAVE, "cells of an octave");

/* ---- cells */

unsigned sw_loghist_cell(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    unsigned magnitude = (unsigned)(bits >> (FRACTION_BITS - CELL_BITS)) & 0xffff;
    if (magnitude < MAGNITUDE_MIN) {
        return SW_LOGHIST_ZERO;
    }
    unsigned distance = magnitude - MAGNITUDE_MIN + 1; /* from the cell of 0 */
    distance = distance < SW_LOGHIST_ZERO ? distance : SW_LOGHIST_ZERO;
    return bits >> 63 ? SW_LOGHIST_ZERO - distance : SW_LOGHIST_ZERO + distance;
}

double sw_loghist_value(unsigned cell) {
    SW_ASSERT(cell < SW_LOGHIST_CELLS);
    if (cell == SW_LOGHIST_ZERO) {
        return 0;
    }
    bool is_negative = cell < SW_LOGHIST_ZERO;
    unsigned distance = is_negative ? SW_LOGHIST_ZERO - cell : cell - SW_LOGHIST_ZERO;
    /* Lower end and half the width: a fraction of 1 and a half steps of 1/32. */
    unsigned octave = (distance - 1) / SW_LOGHIST_PER_OCTAVE, step = (distance - 1) % SW_LOGHIST_PER_OCTAVE;
    double middle = ldexp(1 + (step + 0.5) / SW_LOGHIST_PER_OCTAVE, (int)octave + SW_LOGHIST_EXPONENT_MIN);
    return is_negative ? -middle : middle;
}

/* ---- sparse */

void sw_loghist_deinit(struct sw_loghist *hist) {
    sw_free(hist->entries);
    *hist = (struct sw_loghist){0};
}

/* Where the cell stands, or would. */
static size_t find(const struct sw_loghist *hist, unsigned cell) {
    size_t low = 0, high = hist->used;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (hist->entries[middle].cell < cell) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool reserve(struct sw_loghist *hist, size_t capacity) {
    if (capacity <= hist->capacity) {
        return true;
    }
    struct sw_loghist_entry *entries = sw_realloc(hist->entries, capacity * sizeof *entries);
    if (!entries) {
        return false;
    }
    hist->entries = entries;
    hist->capacity = (uint16_t)capacity;
    return true;
}

static uint32_t add_bounded(uint32_t count, uint64_t more) {
    return more < UINT32_MAX - count ? count + (uint32_t)more : UINT32_MAX;
}

bool sw_loghist_add(struct sw_loghist *hist, unsigned cell, uint64_t count) {
    SW_ASSERT(cell < SW_LOGHIST_CELLS);
    size_t at = find(hist, cell);
    if (count == 0) {
        return true;
    }
    if (at < hist->used && hist->entries[at].cell == cell) {
        hist->entries[at].count = add_bounded(hist->entries[at].count, count);
        return true;
    }
    if (hist->used == hist->capacity) {
        size_t more = hist->capacity + hist->capacity / 2u + CAPACITY_STEP;
        if (!reserve(hist, more < SW_LOGHIST_CELLS ? more : SW_LOGHIST_CELLS)) {
            return false;
        }
    }
    SW_ASSERT(hist->used < hist->capacity);
    memmove(&hist->entries[at + 1], &hist->entries[at], (hist->used - at) * sizeof *hist->entries);
    hist->entries[at] = (struct sw_loghist_entry){(uint16_t)cell, add_bounded(0, count)};
    hist->used++;
    return true;
}

bool sw_loghist_merge(struct sw_loghist *hist, const struct sw_loghist *from) {
    if (!reserve(hist, hist->used ? hist->used : from->used)) {
        return false;
    }
    for (size_t i = 0; i < from->used; i++) {
        if (!sw_loghist_add(hist, from->entries[i].cell, from->entries[i].count)) {
            return false;
        }
    }
    return true;
}

bool sw_loghist_copy(struct sw_loghist *ret, const struct sw_loghist *from) {
    struct sw_loghist copy = {0};
    if (!reserve(&copy, from->used)) {
        return false;
    }
    if (from->used) {
        memcpy(copy.entries, from->entries, from->used * sizeof *copy.entries);
    }
    copy.used = from->used;
    *ret = copy;
    return true;
}

size_t sw_loghist_bytes(const struct sw_loghist *hist) {
    return hist->capacity * sizeof *hist->entries;
}

void sw_loghist_write(const struct sw_loghist *hist, struct sw_buf *out) {
    for (size_t i = 0; i < hist->used; i++) {
        sw_buf_printf(out, "%s%u:%u", i ? " " : "", hist->entries[i].cell, hist->entries[i].count);
    }
}

static bool read_entry(struct sw_str entry, struct sw_loghist *hist) {
    struct sw_str cell_text, count_text = sw_str_split(entry, ':', &cell_text);
    uint64_t cell, count;
    bool is_ascending = sw_parse_u64(cell_text, &cell) && cell < SW_LOGHIST_CELLS &&
                        (hist->used == 0 || cell > hist->entries[hist->used - 1].cell);
    return is_ascending && sw_parse_u64(count_text, &count) && count > 0 && count <= UINT32_MAX &&
           sw_loghist_add(hist, (unsigned)cell, count);
}

bool sw_loghist_read(struct sw_str text, struct sw_loghist *ret) {
    struct sw_loghist hist = {0};
    *ret = hist;
    while (text.len) {
        struct sw_str entry;
        struct sw_str rest = sw_str_split(text, ' ', &entry);
        if (!read_entry(entry, &hist) || (rest.data && rest.len == 0)) {
            sw_loghist_deinit(&hist);
            return false;
        }
        text = rest;
    }
    *ret = hist;
    return true;
}

/* ---- dense */

void sw_loghist_sum_init(struct sw_loghist_sum *sum) {
    memset(sum, 0, sizeof *sum);
    sum->low = SW_LOGHIST_CELLS;
}

void sw_loghist_sum_clear(struct sw_loghist_sum *sum) {
    if (sum->low <= sum->high) {
        memset(&sum->counts[sum->low], 0, (sum->high - sum->low + 1) * sizeof *sum->counts);
    }
    sum->total = 0;
    sum->low = SW_LOGHIST_CELLS;
    sum->high = 0;
}

void sw_loghist_sum_merge(struct sw_loghist_sum *sum, const struct sw_loghist *from) {
    if (from->used == 0) {
        return;
    }
    for (size_t i = 0; i < from->used; i++) {
        sum->counts[from->entries[i].cell] += from->entries[i].count;
        sum->total += from->entries[i].count;
    }
    unsigned first = from->entries[0].cell, last = from->entries[from->used - 1].cell;
    sum->low = first < sum->low ? first : sum->low;
    sum->high = last > sum->high ? last : sum->high;
}

double sw_loghist_sum_quantile(const struct sw_loghist_sum *sum, double q) {
    if (sum->total == 0) {
        return NAN;
    }
    double wanted = ceil(q * (double)sum->total);
    uint64_t rank = wanted < 1 ? 1 : (uint64_t)wanted, passed = 0;
    for (unsigned cell = sum->low; cell < sum->high; cell++) {
        passed += sum->counts[cell];
        if (passed >= rank) {
            return sw_loghist_value(cell);
        }
    }
    return sw_loghist_value(sum->high);
}
