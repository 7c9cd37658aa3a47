/* Keeps the served models equal to what the registry says: one thread, woken when the registry changes.
 *
 *   store watcher --wake--> sw-sync: source.changes(since) --> sw_repository_follow(name, wanted) --> loader thread
 *
 * Errors of the source leave everything as it is and are tried again with back-off: serving goes on from memory while
 * database or object store are away. A version that cannot be loaded leaves the live one serving; when the reason may
 * pass (store away, disk full, no memory, queue full) it is tried again, also with back-off. A registry whose revision
 * went back (restored from a backup) is read anew: models that it does not have any more go. */
#ifndef SW_ROLLOUT_SERVING_H
#define SW_ROLLOUT_SERVING_H

#include "registry/registry.h"
#include "rollout/repository.h"

/* The registry, or a fake in tests. Files are fetched by the repository itself: struct sw_repository_options. */
struct sw_serving_source {
    void *arg;
    /* As sw_registry_serving. On the sync thread. */
    sw_status (*changes)(void *arg, int64_t since, struct sw_arena *arena, struct sw_served_model **ret,
                         size_t *ret_count, int64_t *ret_revision, struct sw_error *err);
};

struct sw_serving_options {
    struct sw_repository *repository;    /* borrowed; models from files and folders were added before */
    struct sw_serving_source source;     /* copied */
    uint64_t retry_min_ms, retry_max_ms; /* between attempts; doubles. 0: 500 and 30,000 */
    struct sw_clock *clock;              /* NULL: the system's */
};

struct sw_serving;
SW_MUST_CHECK sw_status sw_serving_start(const struct sw_serving_options *options, struct sw_serving **ret,
                                         struct sw_error *err);
/* Ends the thread; does not wait for loads. The repository must be destroyed after this. NULL is allowed. */
void sw_serving_stop(struct sw_serving *serving);
void sw_serving_wake(struct sw_serving *serving); /* something changed; any thread, never blocks for long */
/* Revision that the repository is known to follow entirely (every load it asked for has ended, well or not); 0: none
 * yet, or a registry without a change. */
int64_t sw_serving_revision(struct sw_serving *serving);
/* True once the source was read and every load that this asked for has ended, well or not. Stays true. */
bool sw_serving_ready(struct sw_serving *serving);
/* SW_OK when the last look at the source succeeded; else why not. SW_E_UNAVAILABLE before the first one. */
sw_status sw_serving_health(struct sw_serving *serving, struct sw_error *err);

#endif
