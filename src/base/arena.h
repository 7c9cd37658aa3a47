/* Arena: memory that all ends at one moment (a request, a load).
 *
 * A linked list of chunks; allocating bumps a pointer; nothing is freed alone. Reset runs the clean-ups registered
 * with sw_arena_defer, newest first, then makes the memory free again, keeping up to `retain` bytes of chunks so that
 * the next request touches no new page. Not thread-safe: one owner at a time.
 *
 * Invariants: allocated <= limit; every pointer handed out stays valid until reset or deinit. */
#ifndef SW_BASE_ARENA_H
#define SW_BASE_ARENA_H

#include "base/macros.h"
#include "base/str.h"

struct sw_arena_chunk;
struct sw_arena_defer;

struct sw_arena {
    uint32_t magic;
    struct sw_arena_chunk *chunks; /* the one in use first */
    struct sw_arena_defer *defers;
    size_t limit;     /* most bytes of chunks in all; 0: no limit */
    size_t retain;    /* bytes of chunks kept over a reset */
    size_t allocated; /* bytes of chunks held now */
};

void sw_arena_init(struct sw_arena *arena, size_t limit, size_t retain);
void sw_arena_deinit(struct sw_arena *arena);
void sw_arena_reset(struct sw_arena *arena);

/* NULL when the limit or memory is exhausted. `align` is a power of two <= 4096. Memory is not zeroed. A size of 0
 * gives a valid pointer. */
void *sw_arena_alloc_aligned(struct sw_arena *arena, size_t size, size_t align);
void *sw_arena_alloc(struct sw_arena *arena, size_t size);                /* aligned to 16 */
void *sw_arena_calloc(struct sw_arena *arena, size_t count, size_t size); /* zeroed; overflow checked */
char *sw_arena_strdup(struct sw_arena *arena, struct sw_str s);           /* NUL-terminated copy */
char *sw_arena_printf(struct sw_arena *arena, const char *fmt, ...) SW_PRINTF(2, 3);

/* Grows the newest allocation in place where possible, else copies; `p` NULL allocates. Old pointer becomes invalid
 * only in the sense that its bytes are stale (arena memory is never freed early). */
void *sw_arena_grow(struct sw_arena *arena, void *p, size_t old_size, size_t new_size, size_t align);

/* fn(arg) runs at reset or deinit. false when memory is exhausted (then fn was NOT registered). */
bool sw_arena_defer(struct sw_arena *arena, void (*fn)(void *arg), void *arg);

#endif
