#include "base/map.h"

#include "base/hash.h"
#include "base/memory.h"

void sw_map_init(struct sw_map *map) {
    *map = (struct sw_map){0};
}

void sw_map_deinit(struct sw_map *map) {
    for (size_t i = 0; i < map->used; i++) {
        sw_free(map->entries[i].key);
    }
    sw_free(map->entries);
    sw_free(map->slots);
    *map = (struct sw_map){0};
}

/* Slot that holds the key, or the empty one where the search ended. */
static size_t find_slot(const struct sw_map *map, struct sw_str key, uint64_t hash) {
    size_t mask = map->slot_count - 1;
    for (size_t at = hash & mask;; at = (at + 1) & mask) {
        uint32_t index = map->slots[at];
        if (index == 0) {
            return at;
        }
        const struct sw_map_entry *e = &map->entries[index - 1];
        if (e->key && e->hash == hash && e->key_len == key.len && memcmp(e->key, key.data, key.len) == 0) {
            return at;
        }
    }
}

void *sw_map_get(const struct sw_map *map, struct sw_str key) {
    if (map->count == 0 || key.len == 0) {
        return NULL;
    }
    uint32_t index = map->slots[find_slot(map, key, sw_hash(key.data, key.len, 0))];
    return index ? map->entries[index - 1].value : NULL;
}

/* Drops removed entries and makes room for one more. */
static void rebuild(struct sw_map *map) {
    size_t live = 0;
    for (size_t i = 0; i < map->used; i++) {
        if (map->entries[i].key) {
            map->entries[live++] = map->entries[i];
        }
    }
    map->used = live;
    /* Grown when more than three quarters live, so that putting and removing at the edge does not rebuild each time. */
    if (live >= map->capacity / 4 * 3) {
        map->capacity = map->capacity ? map->capacity * 2 : 8;
        map->entries = sw_xrealloc(map->entries, map->capacity * sizeof *map->entries);
    }
    map->slot_count = 16;
    while (map->slot_count < map->capacity * 2) {
        map->slot_count *= 2;
    }
    sw_free(map->slots);
    map->slots = sw_xcalloc(map->slot_count, sizeof *map->slots);
    for (size_t i = 0; i < map->used; i++) {
        size_t at = map->entries[i].hash & (map->slot_count - 1);
        while (map->slots[at]) {
            at = (at + 1) & (map->slot_count - 1);
        }
        map->slots[at] = (uint32_t)i + 1;
    }
}

void *sw_map_put(struct sw_map *map, struct sw_str key, void *value) {
    SW_ASSERT(value && key.len > 0);
    if (map->used == map->capacity) {
        rebuild(map);
    }
    uint64_t hash = sw_hash(key.data, key.len, 0);
    size_t at = find_slot(map, key, hash);
    if (map->slots[at]) {
        struct sw_map_entry *e = &map->entries[map->slots[at] - 1];
        void *old = e->value;
        e->value = value;
        return old;
    }
    map->entries[map->used] = (struct sw_map_entry){sw_xstrndup(key.data, key.len), key.len, hash, value};
    map->slots[at] = (uint32_t)++map->used;
    map->count++;
    return NULL;
}

void *sw_map_remove(struct sw_map *map, struct sw_str key) {
    if (map->count == 0 || key.len == 0) {
        return NULL;
    }
    uint32_t index = map->slots[find_slot(map, key, sw_hash(key.data, key.len, 0))];
    if (!index) {
        return NULL;
    }
    struct sw_map_entry *e = &map->entries[index - 1];
    void *value = e->value;
    sw_free(e->key);
    e->key = NULL; /* the slot stays as a tombstone until the next rebuild */
    e->value = NULL;
    map->count--;
    return value;
}

const struct sw_map_entry *sw_map_next(const struct sw_map *map, size_t *position) {
    while (*position < map->used) {
        const struct sw_map_entry *e = &map->entries[(*position)++];
        if (e->key) {
            return e;
        }
    }
    return NULL;
}
