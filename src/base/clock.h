/* Time as a dependency: code that waits or measures takes a clock, and tests pass their own. */
#ifndef SW_BASE_CLOCK_H
#define SW_BASE_CLOCK_H

#include "base/macros.h"
#include "base/str.h"

struct sw_clock {
    uint64_t (*monotonic_ns)(struct sw_clock *clock); /* since an arbitrary moment; never goes back */
    uint64_t (*wall_ms)(struct sw_clock *clock);      /* since 1970-01-01 UTC */
    uint64_t fake_ns;                                 /* of the manual clock */
};

struct sw_clock *sw_clock_system(void);

/* Processor time of the calling thread: what a computation costs, whatever else the machine does meanwhile. */
struct sw_clock *sw_clock_thread_cpu(void);

/* A clock that stands still until told. */
void sw_clock_manual_init(struct sw_clock *clock, uint64_t start_ns);
void sw_clock_manual_advance(struct sw_clock *clock, uint64_t ns);

static inline uint64_t sw_now_ns(struct sw_clock *clock) {
    return clock->monotonic_ns(clock);
}

/* "2026-11-20T21:51:18.123Z" and a NUL. */
enum { SW_TIMESTAMP_MAX = 32 };
void sw_format_timestamp(uint64_t wall_ms, char ret_text[SW_TIMESTAMP_MAX]);

/* A moment as RFC 3339 writes it ("2026-11-20T21:51:18.5+01:00") to milliseconds since 1970; further digits of a fraction
 * are cut, a leap second is the first of the next minute. A blank before the offset is taken for a '+', which it was
 * before a query was decoded. false when malformed, no date of the calendar, or before 1970. */
bool sw_parse_timestamp(struct sw_str text, uint64_t *ret_ms);

#endif
