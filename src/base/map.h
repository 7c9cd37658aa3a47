/* Hash map from byte strings to pointers: open addressing, linear probing, keys copied.
 *
 * Not thread-safe. Iteration order is that of insertion as long as nothing is removed. */
#ifndef SW_BASE_MAP_H
#define SW_BASE_MAP_H

#include "base/macros.h"
#include "base/str.h"

struct sw_map_entry {
    char *key; /* owned, NUL-terminated; NULL: removed */
    size_t key_len;
    uint64_t hash;
    void *value;
};

struct sw_map {
    struct sw_map_entry *entries; /* in order of insertion */
    size_t used;                  /* entries in use, removed ones included */
    size_t count;                 /* live entries */
    size_t capacity;
    uint32_t *slots; /* index + 1 into entries; 0 empty */
    size_t slot_count;
};

void sw_map_init(struct sw_map *map);
void sw_map_deinit(struct sw_map *map);                               /* values are the caller's */
void *sw_map_get(const struct sw_map *map, struct sw_str key);        /* NULL: absent */
void *sw_map_put(struct sw_map *map, struct sw_str key, void *value); /* the value replaced, or NULL */
void *sw_map_remove(struct sw_map *map, struct sw_str key);           /* the value removed, or NULL */

/* for (size_t i = 0; (entry = sw_map_next(map, &i));) */
const struct sw_map_entry *sw_map_next(const struct sw_map *map, size_t *position);

#endif
