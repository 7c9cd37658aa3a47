/* Results in this process: a table of values by key, bounded by bytes and, if wanted, by entries.
 *
 * What stays is decided by S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi: "FIFO queues are all you need for cache eviction",
 * SOSP 2023): new entries go to a small queue, a tenth of the room; an entry asked for more than once before it reaches
 * the end moves to the main queue; the others are evicted and only their keys are remembered for a while (ghosts), and
 * who comes back while remembered goes to the main queue at once. In the main queue, who was asked for goes round again.
 * So what is asked for once, however much of it, never pushes out what is asked for often; and a hit only counts up.
 *
 *     new --> small --asked for again--> main --asked for--+
 *               |                          ^ |             |
 *               v evicted                  | v evicted  <--+ goes round
 *             ghosts --comes back----------+
 *
 * An entry may end by time too: it is dropped when it is asked for or comes to the end of a queue.
 *
 * Sharded by key, one lock a shard, held for well under a microsecond (memory is taken before and given back after it,
 * but for the table, which doubles now and then). The bound holds for each shard: an entry larger than half of a shard's
 * part is not kept. Counted for it: values, entries, tables and ghosts. Any thread. */
#ifndef SW_SCHED_CACHE_MEMORY_H
#define SW_SCHED_CACHE_MEMORY_H

#include "sched/cache/key.h"
#include "sched/cache/value.h"

struct sw_cache_memory;

struct sw_cache_memory_options {
    size_t bytes_max;
    size_t entries_max; /* 0: as many as fit */
    size_t value_max;   /* the largest value that should have room, where half of bytes_max is enough for it */
    unsigned shards;    /* a power of two; 0: 16, or fewer so that each has room for large values and many entries */
};

struct sw_cache_memory *sw_cache_memory_create(const struct sw_cache_memory_options *options);
void sw_cache_memory_destroy(struct sw_cache_memory *memory); /* NULL is allowed */

/* A reference to the value, or NULL. */
struct sw_cache_value *sw_cache_memory_get(struct sw_cache_memory *memory, const struct sw_cache_key *key,
                                           uint64_t now_ns);
/* Takes a reference of its own. owner: for purge. expires_ns 0: never. One that is there is replaced. */
void sw_cache_memory_put(struct sw_cache_memory *memory, const struct sw_cache_key *key, struct sw_cache_value *value,
                         const void *owner, uint64_t now_ns, uint64_t expires_ns);
/* Drops what this owner has (NULL: all), and tells how many entries that were. */
size_t sw_cache_memory_purge(struct sw_cache_memory *memory, const void *owner);

struct sw_cache_memory_stats {
    size_t entries, bytes, bytes_max, entries_max;
    uint64_t inserted, evicted, expired, refused; /* refused: too large, or no memory */
};
void sw_cache_memory_look(struct sw_cache_memory *memory, struct sw_cache_memory_stats *ret);

#endif
