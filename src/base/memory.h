/* The only place that calls malloc: typed helpers and clean-up attributes.
 *
 * Out of memory: sw_malloc and friends return NULL where the size comes from outside (the caller turns it into an
 * error); sw_xmalloc ends the process and is for small fixed sizes at start-up and load. */
#ifndef SW_BASE_MEMORY_H
#define SW_BASE_MEMORY_H

#include "base/macros.h"
#include "base/str.h"

void *sw_malloc(size_t size) __attribute__((malloc));
void *sw_calloc(size_t count, size_t size) __attribute__((malloc));
void *sw_realloc(void *p, size_t size);
void *sw_aligned_alloc(size_t align, size_t size); /* released with sw_free */
void sw_free(void *p);

void *sw_xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *sw_xcalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *sw_xrealloc(void *p, size_t size) __attribute__((returns_nonnull));
char *sw_xstrdup(const char *s);            /* NULL stays NULL */
char *sw_xstrndup(const char *s, size_t n); /* NUL-terminated copy of n bytes */

#define SW_NEW(type) ((type *)sw_xcalloc(1, sizeof(type)))

static inline void sw_free_cleanup(void *p) {
    sw_free(*(void **)p);
}
#define SW_AUTO_FREE SW_CLEANUP(sw_free_cleanup)

/* Gives memory freed by unloading a model back to the system (malloc_trim). Slow; loader thread only. */
void sw_memory_trim(void);

/* Resident set size of this process in bytes, from /proc; 0 when unknown. */
uint64_t sw_memory_resident(void);

#endif
