/* Timetable and backlog of an open loop; see arrivals.h. */
#include "load/arrivals.h"

#include <math.h>

#include "base/hash.h"
#include "base/memory.h"

/* Exponential with mean 1: -ln of a number in (0, 1]. */
static double exponential(uint64_t *random) {
    double uniform = (double)((sw_random_next(random) >> 11) + 1) * 0x1p-53;
    return -log(uniform);
}

/* Moments are start + a product or a sum, not each its predecessor + a rounded gap: rounding does not add up. */
static void plan_next(struct sw_arrivals *a) {
    if (a->kind == SW_ARRIVALS_CONSTANT) {
        a->next_ns = a->start_ns + (uint64_t)((double)(a->lane + a->count * a->lanes) * 1e9 / a->per_s);
    } else {
        a->offset_ns += exponential(&a->random) * 1e9 / a->per_s * a->lanes;
        a->next_ns = a->start_ns + (uint64_t)a->offset_ns;
    }
}

void sw_arrivals_init(struct sw_arrivals *a, enum sw_arrivals_kind kind, double per_s, unsigned lane, unsigned lanes,
                      uint64_t seed, uint64_t start_ns) {
    SW_ASSERT(per_s > 0 && lane < lanes);
    uint64_t key[2] = {seed, lane};
    *a = (struct sw_arrivals){.kind = kind, .per_s = per_s, .lane = lane, .lanes = lanes, .start_ns = start_ns};
    a->random = sw_hash(key, sizeof key, 0);
    plan_next(a);
}

void sw_arrivals_take(struct sw_arrivals *a) {
    a->count++;
    plan_next(a);
}

void sw_backlog_init(struct sw_backlog *b, size_t capacity) {
    *b = (struct sw_backlog){.due_ns = sw_xcalloc(capacity, sizeof *b->due_ns), .capacity = capacity};
}

void sw_backlog_deinit(struct sw_backlog *b) {
    sw_free(b->due_ns);
    *b = (struct sw_backlog){0};
}

bool sw_backlog_push(struct sw_backlog *b, uint64_t due_ns) {
    if (b->count == b->capacity) {
        b->dropped++;
        return false;
    }
    b->due_ns[(b->first + b->count) % b->capacity] = due_ns;
    b->count++;
    b->count_max = b->count > b->count_max ? b->count : b->count_max;
    return true;
}

bool sw_backlog_pop(struct sw_backlog *b, uint64_t *ret_due_ns) {
    if (b->count == 0) {
        return false;
    }
    *ret_due_ns = b->due_ns[b->first];
    b->first = (b->first + 1) % b->capacity;
    b->count--;
    return true;
}

uint64_t sw_backlog_oldest(const struct sw_backlog *b) {
    return b->count ? b->due_ns[b->first] : UINT64_MAX;
}
