/* Single flight: of requests that miss one key at the same time, one runs the model and the others wait for its result.
 *
 * Who joins first leads. Who joins later waits, unless waiting could make it late or hold it up: one whose deadline comes
 * before the leader's (or whose leader has none), or whose priority is higher, runs by itself (ALONE). So a waiter is
 * answered in time when its leader is, and a leader that is late is given up by its own deadline.
 *
 * A leader ends its flight exactly once: land, with a result or an error that all get; or pass, when it never ran
 * (refused, late, its client gone): then the waiter with the earliest deadline leads (of equal ones, the urgent), and the others wait for that one.
 *
 * Members lie in their requests' memory; a waiter belongs to the flight until land or pass gives it back. Any thread. */
#ifndef SW_SCHED_CACHE_FLIGHT_H
#define SW_SCHED_CACHE_FLIGHT_H

#include "sched/cache/key.h"

struct sw_flights;

struct sw_flight {
    /* Set by the owner. */
    struct sw_cache_key key;
    uint64_t deadline_ns; /* 0: none */
    bool urgent;          /* high priority */

    /* The flights'. */
    struct sw_flight *next;         /* of a leader: in its bucket; of a waiter: the one after it */
    struct sw_flight *first, *last; /* of a leader: who waits, in order of arrival */
};

enum sw_flight_part { SW_FLIGHT_LEADS, SW_FLIGHT_WAITS, SW_FLIGHT_ALONE };

struct sw_flights *sw_flights_create(void);
void sw_flights_destroy(struct sw_flights *flights); /* none is under way; NULL is allowed */

enum sw_flight_part sw_flights_join(struct sw_flights *flights, struct sw_flight *member);
/* The waiters, linked by `next`; NULL: none. The flight is over. */
struct sw_flight *sw_flights_land(struct sw_flights *flights, struct sw_flight *leader);
/* The new leader, which has the other waiters; NULL: nobody waited, and the flight is over. */
struct sw_flight *sw_flights_pass(struct sw_flights *flights, struct sw_flight *leader);
/* How many wait now, in all flights. */
size_t sw_flights_waiting(struct sw_flights *flights);

#endif
