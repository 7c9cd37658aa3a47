/* See profile.h. */
#include "sched/profile.h"

#include <stdio.h>

/* Part of a difference that one run under way corrects. Runs share their core with others, so one of them says little. */
#define LEARN 0.1
/* What a request pays for changing threads twice: less saved in the run is no reason to batch. */
#define CHANGE_OF_THREADS_NS 40000
#define GAIN_MIN 1.2
/* A batch is enough when a row costs at most this much more than in the best one. */
#define ENOUGH 1.1

static unsigned log2_floor(uint64_t n) {
    return n ? 63u - (unsigned)__builtin_clzll(n) : 0;
}

void sw_profile_set(struct sw_profile *profile, uint64_t units, uint64_t ns) {
    unsigned at = log2_floor(units);
    if (at < SW_PROFILE_POINTS && units == UINT64_C(1) << at) {
        profile->ns[at] = ns ? ns : 1;
    }
}

/* The known points around `units`: -1 where there is none on that side. */
static void find_known(const struct sw_profile *profile, uint64_t units, int *ret_low, int *ret_high) {
    unsigned at = log2_floor(units);
    int low = at < SW_PROFILE_POINTS ? (int)at : SW_PROFILE_POINTS - 1;
    int high = low;
    while (low >= 0 && !profile->ns[low]) {
        low--;
    }
    while (high < SW_PROFILE_POINTS && (!profile->ns[high] || UINT64_C(1) << high < units)) {
        high++;
    }
    *ret_low = low;
    *ret_high = high < SW_PROFILE_POINTS ? high : -1;
}

uint64_t sw_profile_ns(const struct sw_profile *profile, uint64_t units) {
    int low, high;
    units = units ? units : 1;
    find_known(profile, units, &low, &high);
    if (low < 0) {
        return high < 0 ? 0 : profile->ns[high]; /* smaller than anything known: not more than that */
    }
    double size_low = (double)(UINT64_C(1) << low), ns_low = (double)profile->ns[low];
    if (high < 0) {
        double ns = ns_low * (double)units / size_low;
        return ns < 1e18 ? (uint64_t)ns : UINT64_C(1000000000000000000);
    }
    if (high == low) {
        return profile->ns[low];
    }
    double size_high = (double)(UINT64_C(1) << high), ns_high = (double)profile->ns[high];
    double part = ((double)units - size_low) / (size_high - size_low);
    return (uint64_t)(ns_low + part * (ns_high - ns_low));
}

static void move_point(struct sw_profile *profile, unsigned at, double ratio) {
    if (at < SW_PROFILE_POINTS && profile->ns[at]) {
        double moved = (double)profile->ns[at] * (1 + LEARN * (ratio - 1));
        profile->ns[at] = moved < 1 ? 1 : (uint64_t)moved;
    }
}

void sw_profile_observe(struct sw_profile *profile, uint64_t units, uint64_t ns) {
    units = units ? units : 1;
    unsigned at = log2_floor(units);
    bool exact = at < SW_PROFILE_POINTS && units == UINT64_C(1) << at;
    if (exact && !profile->ns[at]) {
        profile->ns[at] = ns ? ns : 1;
        return;
    }
    uint64_t expected = sw_profile_ns(profile, units);
    if (!expected) {
        sw_profile_set(profile, UINT64_C(1) << (at < SW_PROFILE_POINTS ? at : 0), ns);
        return;
    }
    double ratio = (double)ns / (double)expected;
    ratio = ratio > 4 ? 4 : ratio; /* one run that was held up must not decide */
    int low, high;
    find_known(profile, units, &low, &high);
    if (low >= 0) {
        move_point(profile, (unsigned)low, ratio);
    }
    if (high >= 0 && high != low) {
        move_point(profile, (unsigned)high, ratio);
    }
}

/* ---- the plan */

const char *sw_run_mode_name(enum sw_run_mode mode) {
    static const char *const names[] = {"inline", "single", "batched"};
    SW_ASSERT((unsigned)mode < SW_COUNTOF(names));
    return names[mode];
}

static double row_ns(const struct sw_profile *profile, uint64_t rows) {
    return (double)sw_profile_ns(profile, rows) / (double)rows;
}

/* Rows that fit the limits of time and memory, at least 1. */
static uint64_t limit_rows(const struct sw_plan_options *o) {
    uint64_t max = o->max_batch ? o->max_batch : SW_BATCH_ROWS_DEFAULT;
    max = max < SW_BATCH_ROWS_MAX ? max : SW_BATCH_ROWS_MAX;
    while (max > 1 && o->bytes_per_unit && max > SW_BATCH_BYTES_MAX / o->bytes_per_unit) {
        max /= 2;
    }
    bool slow_alone = o->batch_ns_max && sw_profile_ns(o->profile, 1) > o->batch_ns_max;
    while (max > 1 && o->batch_ns_max && !slow_alone && sw_profile_ns(o->profile, max) > o->batch_ns_max) {
        max /= 2;
    }
    return max;
}

/* The cheapest row among the sizes that are powers of two up to max. */
static double cheapest_row(const struct sw_profile *profile, uint64_t max, uint64_t *ret_rows) {
    double best = row_ns(profile, 1);
    *ret_rows = 1;
    for (uint64_t rows = 2; rows <= max; rows *= 2) {
        double ns = row_ns(profile, rows);
        if (ns < best) {
            best = ns;
            *ret_rows = rows;
        }
    }
    return best;
}

static void set_batched(const struct sw_plan_options *o, uint64_t max, double best, uint64_t best_rows,
                        struct sw_plan *ret) {
    ret->mode = SW_RUN_BATCHED;
    ret->max_batch = max;
    ret->enough = best_rows;
    for (uint64_t rows = 2; rows < best_rows; rows *= 2) {
        if (row_ns(o->profile, rows) <= best * ENOUGH) {
            ret->enough = rows;
            break;
        }
    }
    snprintf(ret->reason, sizeof ret->reason, "a row takes %.1f us alone and %.1f us in a batch of %llu",
             row_ns(o->profile, 1) / 1e3, best / 1e3, (unsigned long long)best_rows);
}

void sw_plan_make(const struct sw_plan_options *o, struct sw_plan *ret) {
    uint64_t alone = sw_profile_ns(o->profile, 1);
    uint64_t max = o->can_batch ? limit_rows(o) : 1, best_rows = 1;
    *ret = (struct sw_plan){.mode = SW_RUN_SINGLE, .max_batch = 1, .enough = 1, .gain = 1};
    if (!alone) {
        snprintf(ret->reason, sizeof ret->reason, "its run could not be measured");
        return;
    }
    double best = cheapest_row(o->profile, max, &best_rows);
    ret->gain = best > 0 ? (double)alone / best : 1;
    bool pays = ret->gain >= GAIN_MIN;
    bool is_short = o->can_inline && alone < o->inline_ns_max;
    if (pays && (!is_short || (double)alone - best >= CHANGE_OF_THREADS_NS)) {
        set_batched(o, max, best, best_rows, ret);
        return;
    }
    if (is_short) {
        ret->mode = SW_RUN_INLINE;
        snprintf(ret->reason, sizeof ret->reason, "a run takes %.1f us: less than changing threads",
                 (double)alone / 1e3);
    } else {
        snprintf(ret->reason, sizeof ret->reason,
                 o->can_batch && max > 1 ? "a run takes %.1f us, and rows cost hardly less together (gain %.2f)"
                                         : "a run takes %.1f us",
                 (double)alone / 1e3, ret->gain);
    }
}
