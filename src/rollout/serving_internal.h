/* The sync thread's work, one step at a time: serving.c runs it in a loop, tests by hand. */
#ifndef SW_ROLLOUT_SERVING_INTERNAL_H
#define SW_ROLLOUT_SERVING_INTERNAL_H

#include <pthread.h>

#include "base/arena.h"
#include "base/map.h"
#include "rollout/serving.h"

/* A model that is followed. */
struct subject {
    int64_t live;         /* that the registry wants; 0: none */
    uint64_t delay_ms;    /* before the next attempt; 0: the last one went well */
    uint64_t retry_at_ns; /* UINT64_MAX: not */
};

/* Something asked of the repository whose outcome has not come. They end in the order in which they were asked. */
struct ask {
    struct sw_serving *serving;
    struct ask *next, *before;
    int64_t since; /* revision that was followed before this; -1: none */
    int64_t live;
    bool deleted;
    char name[];
};

/* What the source said last, as far as the repository has not been asked yet. Sync thread. */
struct batch {
    struct sw_served_model *models; /* in the arena; NULL: all was asked */
    size_t count, next;
    bool deletions; /* deleted models come in a second pass, so that a renamed one has its new name first */
    int64_t revision;
};

struct sw_serving {
    struct sw_serving_options options;
    pthread_t thread;

    /* Sync thread. */
    struct sw_arena arena;
    struct batch batch;
    bool look_due;
    bool failing;        /* the last look failed */
    uint64_t look_at_ns; /* when a look that failed is repeated; UINT64_MAX: not */
    uint64_t look_delay_ms;
    uint64_t stalled_until_ns; /* the repository took no more; 0: it does */
    uint64_t tick_at_ns;

    pthread_mutex_t lock; /* the following. Rank: above nothing; never held while the repository or source are called */
    pthread_cond_t changed;
    bool woken, stopping;
    bool ended;             /* an ask has ended since the last step */
    struct sw_map subjects; /* name -> struct subject */
    uint64_t retry_at_ns;   /* the earliest of them */
    struct ask *oldest, *newest;
    int64_t seen; /* revision that the repository was asked to follow entirely; -1: none */
    struct sw_error health;
    size_t references; /* the owner's, and one for each ask */
};

/* All but the thread. */
struct sw_serving *serving_create(const struct sw_serving_options *options);
/* What is due now. Gives how long to wait at most (ns) when nothing wakes the thread before. */
uint64_t serving_step(struct sw_serving *serving);
void serving_unref(struct sw_serving *serving);

#endif
