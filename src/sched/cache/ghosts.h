/* Keys of what was evicted from a small queue a short while ago, for S3-FIFO: a set of 64-bit hashes that forgets the
 * oldest once it holds as many as there are entries.
 *
 * A table of buckets of 4, each hash with the moment it was added (a count of additions). One that was added more than
 * `window` additions ago counts as forgotten, so nothing has to be taken out; a full bucket gives up its oldest. The table
 * doubles with the window, up to SW_GHOSTS_MAX slots. Errors (two hashes alike, a bucket full too early) only make the
 * cache choose a little worse. Not for several threads at once. */
#ifndef SW_SCHED_CACHE_GHOSTS_H
#define SW_SCHED_CACHE_GHOSTS_H

#include <stdbool.h>

#include "base/macros.h"

enum { SW_GHOSTS_MAX = 1 << 20 };

struct sw_ghost {
    uint64_t hash;
    uint64_t added; /* 0: free */
};

struct sw_ghosts {
    struct sw_ghost *slots;
    size_t slot_count; /* a power of two, at least 4 */
    uint64_t added;    /* additions so far */
    uint64_t window;   /* remembered: the last so many */
};

void sw_ghosts_init(struct sw_ghosts *ghosts);
void sw_ghosts_deinit(struct sw_ghosts *ghosts);

void sw_ghosts_add(struct sw_ghosts *ghosts, uint64_t hash, size_t window);
bool sw_ghosts_take(struct sw_ghosts *ghosts, uint64_t hash); /* was it remembered? It no longer is */
size_t sw_ghosts_bytes(const struct sw_ghosts *ghosts);

#endif
