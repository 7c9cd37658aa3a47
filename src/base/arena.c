#include "base/arena.h"

#include <stdarg.h>

#include "base/memory.h"

enum { MAGIC = 0x5a11a4e7, CHUNK_MIN = 16 * 1024, CHUNK_ALIGN = 64 };

struct sw_arena_chunk {
    struct sw_arena_chunk *next;
    size_t size; /* of data */
    size_t used;
    _Alignas(CHUNK_ALIGN) unsigned char data[];
};

struct sw_arena_defer {
    struct sw_arena_defer *next;
    void (*fn)(void *arg);
    void *arg;
};

void sw_arena_init(struct sw_arena *arena, size_t limit, size_t retain) {
    *arena = (struct sw_arena){.magic = MAGIC, .limit = limit, .retain = retain};
}

static void run_defers(struct sw_arena *arena) {
    while (arena->defers) {
        struct sw_arena_defer *d = arena->defers;
        arena->defers = d->next;
        d->fn(d->arg);
    }
}

void sw_arena_reset(struct sw_arena *arena) {
    SW_ASSERT(arena->magic == MAGIC);
    run_defers(arena);
    struct sw_arena_chunk *chunk = arena->chunks, *kept = NULL;
    size_t kept_bytes = 0;
    while (chunk) {
        struct sw_arena_chunk *next = chunk->next;
        if (kept_bytes + chunk->size <= arena->retain) {
            kept_bytes += chunk->size;
            chunk->used = 0;
            chunk->next = kept;
            kept = chunk;
        } else {
            sw_free(chunk);
        }
        chunk = next;
    }
    arena->chunks = kept;
    arena->allocated = kept_bytes;
}

void sw_arena_deinit(struct sw_arena *arena) {
    size_t retain = arena->retain;
    arena->retain = 0;
    sw_arena_reset(arena);
    arena->retain = retain;
    SW_ASSERT(!arena->chunks);
}

/* Offset in the chunk at which `size` bytes with that alignment fit, or SIZE_MAX. */
static size_t fit(const struct sw_arena_chunk *chunk, size_t size, size_t align) {
    uintptr_t base = (uintptr_t)chunk->data;
    size_t start = (size_t)(((base + chunk->used + align - 1) & ~(uintptr_t)(align - 1)) - base);
    return start <= chunk->size && size <= chunk->size - start ? start : SIZE_MAX;
}

static void *take(struct sw_arena_chunk *chunk, size_t start, size_t size) {
    chunk->used = start + size;
    return chunk->data + start;
}

/* Frees the chunks that nothing was taken from since the last reset. */
static void drop_unused(struct sw_arena *arena) {
    for (struct sw_arena_chunk **link = &arena->chunks; *link;) {
        struct sw_arena_chunk *chunk = *link;
        if (chunk->used == 0) {
            *link = chunk->next;
            arena->allocated -= chunk->size;
            sw_free(chunk);
        } else {
            link = &chunk->next;
        }
    }
}

static struct sw_arena_chunk *add_chunk(struct sw_arena *arena, size_t size) {
    size_t want = size < CHUNK_MIN ? CHUNK_MIN : size;
    if (arena->limit && (want > arena->limit || arena->allocated > arena->limit - want)) {
        drop_unused(arena); /* what was kept over a reset must not make a request fail that a new arena could serve */
    }
    if (arena->limit && (want > arena->limit || arena->allocated > arena->limit - want)) {
        if (size > arena->limit || arena->allocated > arena->limit - size) {
            return NULL;
        }
        want = size; /* the rounded-up chunk does not fit under the limit, the exact one does */
    }
    if (want > SIZE_MAX - sizeof(struct sw_arena_chunk) - CHUNK_ALIGN) {
        return NULL;
    }
    struct sw_arena_chunk *chunk = sw_aligned_alloc(CHUNK_ALIGN, sizeof *chunk + want);
    if (!chunk) {
        return NULL;
    }
    *chunk = (struct sw_arena_chunk){.next = arena->chunks, .size = want};
    arena->chunks = chunk;
    arena->allocated += want;
    return chunk;
}

void *sw_arena_alloc_aligned(struct sw_arena *arena, size_t size, size_t align) {
    SW_ASSERT(arena->magic == MAGIC);
    SW_ASSERT(align && !(align & (align - 1)) && align <= 4096);
    /* Chunks kept over a reset are few; a chunk with room moves to the front so that the next call finds it first. */
    struct sw_arena_chunk **link = &arena->chunks;
    for (int tried = 0; *link && tried < 4; tried++, link = &(*link)->next) {
        size_t start = fit(*link, size, align);
        if (start != SIZE_MAX) {
            struct sw_arena_chunk *chunk = *link;
            if (link != &arena->chunks) {
                *link = chunk->next;
                chunk->next = arena->chunks;
                arena->chunks = chunk;
            }
            return take(chunk, start, size);
        }
    }
    size_t slack = align > CHUNK_ALIGN ? align : 0;
    if (size > SIZE_MAX - slack) {
        return NULL;
    }
    struct sw_arena_chunk *chunk = add_chunk(arena, size + slack);
    return chunk ? take(chunk, fit(chunk, size, align), size) : NULL;
}

void *sw_arena_alloc(struct sw_arena *arena, size_t size) {
    return sw_arena_alloc_aligned(arena, size, 16);
}

void *sw_arena_calloc(struct sw_arena *arena, size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        return NULL;
    }
    void *p = sw_arena_alloc(arena, bytes);
    return p ? memset(p, 0, bytes) : NULL;
}

char *sw_arena_strdup(struct sw_arena *arena, struct sw_str s) {
    char *copy = s.len < SIZE_MAX ? sw_arena_alloc_aligned(arena, s.len + 1, 1) : NULL;
    if (copy) {
        if (s.len) {
            memcpy(copy, s.data, s.len);
        }
        copy[s.len] = '\0';
    }
    return copy;
}

char *sw_arena_printf(struct sw_arena *arena, const char *fmt, ...) {
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *text = n >= 0 ? sw_arena_alloc_aligned(arena, (size_t)n + 1, 1) : NULL;
    if (text) {
        vsnprintf(text, (size_t)n + 1, fmt, again);
    }
    va_end(again);
    return text;
}

void *sw_arena_grow(struct sw_arena *arena, void *p, size_t old_size, size_t new_size, size_t align) {
    struct sw_arena_chunk *chunk = arena->chunks;
    if (p && chunk && (unsigned char *)p + old_size == chunk->data + chunk->used) {
        size_t start = (size_t)((unsigned char *)p - chunk->data);
        if (new_size <= chunk->size - start) {
            chunk->used = start + new_size;
            return p;
        }
    }
    void *grown = sw_arena_alloc_aligned(arena, new_size, align);
    if (grown && p) {
        memcpy(grown, p, old_size < new_size ? old_size : new_size);
    }
    return grown;
}

bool sw_arena_defer(struct sw_arena *arena, void (*fn)(void *arg), void *arg) {
    struct sw_arena_defer *d = sw_arena_alloc(arena, sizeof *d);
    if (!d) {
        return false;
    }
    *d = (struct sw_arena_defer){arena->defers, fn, arg};
    arena->defers = d;
    return true;
}
