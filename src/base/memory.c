#include "base/memory.h"

#include <malloc.h>
#include <unistd.h>

void *sw_malloc(size_t size) {
    return malloc(size ? size : 1);
}

void *sw_calloc(size_t count, size_t size) {
    return calloc(count ? count : 1, size ? size : 1);
}

void *sw_realloc(void *p, size_t size) {
    return realloc(p, size ? size : 1);
}

void *sw_aligned_alloc(size_t align, size_t size) {
    void *p = NULL;
    return posix_memalign(&p, align < sizeof(void *) ? sizeof(void *) : align, size ? size : 1) ? NULL : p;
}

void sw_free(void *p) {
    free(p);
}

static void *need(void *p) {
    if (!p) {
        fputs("slipway: out of memory\n", stderr);
        abort();
    }
    return p;
}

void *sw_xmalloc(size_t size) {
    return need(sw_malloc(size));
}

void *sw_xcalloc(size_t count, size_t size) {
    return need(sw_calloc(count, size));
}

void *sw_xrealloc(void *p, size_t size) {
    return need(sw_realloc(p, size));
}

char *sw_xstrdup(const char *s) {
    return s ? sw_xstrndup(s, strlen(s)) : NULL;
}

char *sw_xstrndup(const char *s, size_t n) {
    char *copy = sw_xmalloc(n + 1);
    if (n) {
        memcpy(copy, s, n);
    }
    copy[n] = '\0';
    return copy;
}

void sw_memory_trim(void) {
    malloc_trim(0);
}

uint64_t sw_memory_resident(void) {
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f) {
        return 0;
    }
    unsigned long total = 0, resident = 0;
    int n = fscanf(f, "%lu %lu", &total, &resident);
    fclose(f);
    return n == 2 ? (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}
