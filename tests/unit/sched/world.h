/* The scheduler's decisions in a world whose time the test turns: works without content, workers that take as long as
 * they are told. */
#ifndef SW_TESTS_SCHED_WORLD_H
#define SW_TESTS_SCHED_WORLD_H

#include "sched/sched_internal.h"
#include "session.h"

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)

enum { WORLD_WORKERS = 8, WORLD_WORKS = 200000 };

/* A model whose run takes run_ns and row_ns for each row; batched, up to 64 rows. */
static inline struct sw_flow_settings world_settings(uint64_t run_ns, uint64_t row_ns) {
    struct sw_flow_settings s = {.max_delay_ns = 500 * US, .weight = 1, .queue_max = 1024};
    for (uint64_t n = 1; n <= 64; n *= 2) {
        sw_profile_set(&s.profile, n, run_ns + n * row_ns);
    }
    struct sw_plan_options o = {.profile = &s.profile, .can_batch = true};
    sw_plan_make(&o, &s.plan);
    return s;
}

static inline void world_done(struct sw_work *work, sw_status status, const struct sw_error *err) {
}

static inline void world_sent(struct sw_work *work) {
}

/* A run of `rows` rows of one shape; the session is never run. */
static inline struct sw_work *world_work(struct session *session, struct sw_work *work, uint64_t rows) {
    *work = (struct sw_work){.done = world_done,
                             .send = world_sent,
                             .session = &session->base,
                             .rows = rows,
                             .units = rows ? rows : 1,
                             .priority = SW_PRIORITY_NORMAL};
    return work;
}

#endif
