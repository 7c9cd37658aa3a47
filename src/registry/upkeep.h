/* Upkeep: one thread that looks after the registry's stores while nobody asks.
 *
 *   artifact store   probed every UPKEEP_PROBE_MS, and every UPKEEP_RETRY_MS while it is away, so that readiness tells of an
 *                    outage that no request has met, and recovers by itself
 *   predictions      partitions for the days ahead, once a day; rows older than keep_predictions_ms removed then
 *
 *   also             whoever else keeps something in the store (the monitor), at each step
 *
 * (The metadata store is looked after by its own watcher.) Failures are told by sw_artifacts_health and tried again; they change nothing. */
#ifndef SW_REGISTRY_UPKEEP_H
#define SW_REGISTRY_UPKEEP_H

#include "artifact/artifact.h"
#include "store/store.h"

enum { SW_UPKEEP_PROBE_MS = 30000, SW_UPKEEP_RETRY_MS = 2000, SW_UPKEEP_DAYS_AHEAD = 7 };

struct sw_upkeep_options {
    struct sw_store *store;         /* borrowed */
    struct sw_artifacts *artifacts; /* borrowed */
    uint64_t keep_predictions_ms;   /* 0: for ever */
    void (*also)(void *arg);        /* called at each step, for who keeps something in the store; may be NULL */
    void *also_arg;
    struct sw_clock *clock;
};

/* What the thread does, on its own for tests. */
struct sw_upkeep_state {
    uint64_t probe_at_ns;      /* monotonic */
    uint64_t partitions_at_ms; /* wall */
};
/* Does what is due. Returns milliseconds until something will be due again. */
uint64_t sw_upkeep_step(const struct sw_upkeep_options *options, struct sw_upkeep_state *state);

struct sw_upkeep;
SW_MUST_CHECK sw_status sw_upkeep_start(const struct sw_upkeep_options *options, struct sw_upkeep **ret,
                                        struct sw_error *err);
void sw_upkeep_stop(struct sw_upkeep *upkeep); /* NULL is allowed */

#endif
