/* See ghosts.h. */
#include "sched/cache/ghosts.h"

#include "base/memory.h"

enum { BUCKET = 4, SLOTS_MIN = 64 };

void sw_ghosts_init(struct sw_ghosts *ghosts) {
    *ghosts = (struct sw_ghosts){.slot_count = SLOTS_MIN};
    ghosts->slots = sw_xcalloc(SLOTS_MIN, sizeof *ghosts->slots);
}

void sw_ghosts_deinit(struct sw_ghosts *ghosts) {
    sw_free(ghosts->slots);
    *ghosts = (struct sw_ghosts){0};
}

size_t sw_ghosts_bytes(const struct sw_ghosts *ghosts) {
    return ghosts->slot_count * sizeof *ghosts->slots;
}

/* The high bits: the low ones chose the bucket of the cache's table. */
static struct sw_ghost *bucket_of(const struct sw_ghosts *ghosts, uint64_t hash) {
    return &ghosts->slots[(hash >> 32) * BUCKET & (ghosts->slot_count - 1)];
}

static bool is_forgotten(const struct sw_ghosts *ghosts, const struct sw_ghost *g) {
    return g->added == 0 || ghosts->added - g->added >= ghosts->window;
}

/* Over the oldest of its bucket; a free one is the oldest of all. */
static void place(struct sw_ghosts *ghosts, struct sw_ghost ghost) {
    struct sw_ghost *bucket = bucket_of(ghosts, ghost.hash), *oldest = bucket;
    for (size_t i = 0; i < BUCKET; i++) {
        if (bucket[i].hash == ghost.hash && bucket[i].added) {
            oldest = &bucket[i];
            break;
        }
        oldest = bucket[i].added < oldest->added ? &bucket[i] : oldest;
    }
    *oldest = ghost;
}

/* Half full at most, so that few buckets overflow; without memory it stays as it is. */
static void grow(struct sw_ghosts *ghosts) {
    size_t count = ghosts->slot_count;
    while (count < 2 * ghosts->window && count < SW_GHOSTS_MAX) {
        count *= 2;
    }
    struct sw_ghost *old = ghosts->slots, *slots;
    size_t old_count = ghosts->slot_count;
    if (count == old_count || !(slots = sw_calloc(count, sizeof *slots))) {
        return;
    }
    ghosts->slots = slots;
    ghosts->slot_count = count;
    for (size_t i = 0; i < old_count; i++) {
        if (!is_forgotten(ghosts, &old[i])) {
            place(ghosts, old[i]);
        }
    }
    sw_free(old);
}

void sw_ghosts_add(struct sw_ghosts *ghosts, uint64_t hash, size_t window) {
    ghosts->window = window;
    grow(ghosts);
    place(ghosts, (struct sw_ghost){.hash = hash, .added = ++ghosts->added});
}

bool sw_ghosts_take(struct sw_ghosts *ghosts, uint64_t hash) {
    struct sw_ghost *bucket = bucket_of(ghosts, hash);
    for (size_t i = 0; i < BUCKET; i++) {
        if (bucket[i].hash == hash && !is_forgotten(ghosts, &bucket[i])) {
            bucket[i] = (struct sw_ghost){0};
            return true;
        }
    }
    return false;
}
