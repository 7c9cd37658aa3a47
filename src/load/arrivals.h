/* When the requests of an open loop are due, and those that are due but not yet sent.
 *
 * An open loop sends by a timetable that the server's answers do not change. A request that cannot be sent when it is
 * due, since no connection is free, waits in the backlog and keeps the time at which it was due: its latency runs from
 * there. So a server that stalls shows it in the latency of every request that would have come meanwhile, not only in
 * that of the few that were under way (G. Tene's "coordinated omission").
 *
 * Nothing here asks what time it is: times are parameters, in nanoseconds of one monotonic clock. One owner at a time. */
#ifndef SW_LOAD_ARRIVALS_H
#define SW_LOAD_ARRIVALS_H

#include <stdbool.h>

#include "base/macros.h"

enum sw_arrivals_kind {
    SW_ARRIVALS_CONSTANT, /* one every 1/rate seconds */
    SW_ARRIVALS_POISSON,  /* gaps distributed exponentially with that mean: independent callers */
};

/* A timetable shared among `lanes` threads: together they have the rate, and lane k of a constant one has every
 * lanes-th moment beginning with the k-th. (Poisson processes of rate/lanes each add up to one of that rate.) */
struct sw_arrivals {
    enum sw_arrivals_kind kind;
    double per_s; /* of all lanes */
    unsigned lane, lanes;
    uint64_t start_ns, count; /* count: taken so far */
    uint64_t random;
    double offset_ns; /* of a Poisson process: sum of the gaps */
    uint64_t next_ns;
};

/* per_s > 0; lane < lanes. The same seed gives the same moments. */
void sw_arrivals_init(struct sw_arrivals *arrivals, enum sw_arrivals_kind kind, double per_s, unsigned lane,
                      unsigned lanes, uint64_t seed, uint64_t start_ns);
static inline uint64_t sw_arrivals_next(const struct sw_arrivals *arrivals) { /* when the next one is due */
    return arrivals->next_ns;
}
void sw_arrivals_take(struct sw_arrivals *arrivals); /* goes on to the one behind it */

/* Moments at which waiting requests were due, oldest first. Full, it drops what comes. */
struct sw_backlog {
    uint64_t *due_ns; /* ring */
    size_t capacity, first, count;
    size_t count_max; /* most that ever waited */
    uint64_t dropped;
};

void sw_backlog_init(struct sw_backlog *backlog, size_t capacity);
void sw_backlog_deinit(struct sw_backlog *backlog);
bool sw_backlog_push(struct sw_backlog *backlog, uint64_t due_ns); /* false: dropped, and counted */
bool sw_backlog_pop(struct sw_backlog *backlog, uint64_t *ret_due_ns);
/* The oldest one's moment; UINT64_MAX when nothing waits. */
uint64_t sw_backlog_oldest(const struct sw_backlog *backlog);

#endif
