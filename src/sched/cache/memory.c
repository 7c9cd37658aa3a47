/* See memory.h. An entry is in its shard's table and in one of two lists. Names after the paper: small and main queue,
 * ghosts; the count of hits is capped at 3. */
#include "sched/cache/memory.h"

#include <pthread.h>

#include "base/memory.h"
#include "sched/cache/ghosts.h"

enum { SHARDS_DEFAULT = 16, SMALL_PART = 10, HITS_MAX = 3, BUCKETS_MIN = 64, CACHE_LINE = 64 };
enum { SHARD_BYTES_MIN = 64 << 10, SHARD_ENTRIES_MIN = 64, ENTRY_OVERHEAD = 1024 };

struct list {
    struct entry *newest, *oldest;
    size_t entries, bytes;
};

struct entry {
    struct sw_cache_key key;
    struct sw_cache_value *value;
    const void *owner;
    uint64_t expires_ns; /* 0: never */
    struct entry *chain; /* in the table; of one taken out: the next of those to be freed */
    struct entry *newer, *older;
    struct list *list;
    size_t bytes;
    uint8_t hits; /* since it came into its queue or round again */
};

struct shard {
    _Alignas(CACHE_LINE) pthread_mutex_t lock;
    struct entry **buckets;
    size_t bucket_count; /* a power of two */
    struct list small, main;
    struct sw_ghosts ghosts;
    size_t bytes_max, entries_max; /* entries_max 0: no bound */
    uint64_t inserted, evicted, expired, refused;
};

struct sw_cache_memory {
    struct sw_cache_memory_options options;
    unsigned shard_mask;
    struct shard *shards;
};

/* ---- lists and table */

static void list_push(struct list *list, struct entry *e) {
    e->list = list;
    e->newer = NULL;
    e->older = list->newest;
    *(list->newest ? &list->newest->newer : &list->oldest) = e;
    list->newest = e;
    list->entries++;
    list->bytes += e->bytes;
}

static void list_remove(struct entry *e) {
    struct list *list = e->list;
    *(e->newer ? &e->newer->older : &list->newest) = e->older;
    *(e->older ? &e->older->newer : &list->oldest) = e->newer;
    list->entries--;
    list->bytes -= e->bytes;
}

static struct entry **slot_of(const struct shard *s, const struct sw_cache_key *key) {
    struct entry **at = &s->buckets[sw_cache_key_hash(key) & (s->bucket_count - 1)];
    while (*at && !sw_cache_key_eq(&(*at)->key, key)) {
        at = &(*at)->chain;
    }
    return at;
}

/* Out of table and list, onto the pile of what is freed when the lock is given up. */
static void take_out(struct shard *s, struct entry *e, struct entry **pile) {
    struct entry **at = slot_of(s, &e->key);
    SW_ASSERT(*at == e);
    *at = e->chain;
    list_remove(e);
    e->chain = *pile;
    *pile = e;
}

static void free_pile(struct entry *pile) {
    while (pile) {
        struct entry *next = pile->chain;
        sw_cache_value_unref(pile->value);
        sw_free(pile);
        pile = next;
    }
}

/* Twice the buckets when there are more entries than buckets; without memory chains grow longer, which is only slower. */
static void grow_table(struct shard *s) {
    if (s->small.entries + s->main.entries < s->bucket_count) {
        return;
    }
    size_t count = 2 * s->bucket_count;
    struct entry **buckets = sw_calloc(count, sizeof(struct entry *));
    if (!buckets) {
        return;
    }
    for (size_t i = 0; i < s->bucket_count; i++) {
        for (struct entry *e = s->buckets[i], *next; e; e = next) {
            next = e->chain;
            struct entry **to = &buckets[sw_cache_key_hash(&e->key) & (count - 1)];
            e->chain = *to;
            *to = e;
        }
    }
    sw_free(s->buckets);
    s->buckets = buckets;
    s->bucket_count = count;
}

/* ---- what stays */

static size_t bytes_of(const struct shard *s) {
    return s->small.bytes + s->main.bytes + s->bucket_count * sizeof(struct entry *) + sw_ghosts_bytes(&s->ghosts);
}

static bool is_over(const struct shard *s) {
    return bytes_of(s) > s->bytes_max || (s->entries_max && s->small.entries + s->main.entries > s->entries_max);
}

static bool is_small_full(const struct shard *s) {
    return s->small.bytes > s->bytes_max / SMALL_PART ||
           (s->entries_max && s->small.entries > s->entries_max / SMALL_PART) || s->main.entries == 0;
}

static void evict(struct shard *s, struct entry *e, struct entry **pile) {
    s->evicted++;
    take_out(s, e, pile);
}

static bool has_expired(const struct entry *e, uint64_t now_ns) {
    return e->expires_ns && e->expires_ns <= now_ns;
}

static void expire(struct shard *s, struct entry *e, struct entry **pile) {
    s->expired++;
    take_out(s, e, pile);
}

/* The oldest of the small queue: to the main queue, or out and remembered. */
static void turn_small(struct shard *s, uint64_t now_ns, struct entry **pile) {
    struct entry *e = s->small.oldest;
    if (has_expired(e, now_ns)) {
        expire(s, e, pile);
    } else if (e->hits > 1) {
        list_remove(e);
        e->hits = 0;
        list_push(&s->main, e);
    } else {
        sw_ghosts_add(&s->ghosts, sw_cache_key_hash(&e->key), s->small.entries + s->main.entries);
        evict(s, e, pile);
    }
}

/* The oldest of the main queue: round again, or out. */
static void turn_main(struct shard *s, uint64_t now_ns, struct entry **pile) {
    struct entry *e = s->main.oldest;
    if (has_expired(e, now_ns)) {
        expire(s, e, pile);
    } else if (e->hits > 0) {
        list_remove(e);
        e->hits--;
        list_push(&s->main, e);
    } else {
        evict(s, e, pile);
    }
}

/* Ends: each turn evicts, empties the small queue or takes a hit away. */
static void make_room(struct shard *s, uint64_t now_ns, struct entry **pile) {
    while (is_over(s) && s->small.entries + s->main.entries > 0) {
        if (s->small.entries > 0 && is_small_full(s)) {
            turn_small(s, now_ns, pile);
        } else {
            turn_main(s, now_ns, pile);
        }
    }
}

/* ---- life */

/* As many as leave each shard large enough for what it may have to hold: it has its part of the bounds. */
static unsigned default_shards(const struct sw_cache_memory_options *options) {
    unsigned count = SHARDS_DEFAULT;
    while (count > 1 && (options->bytes_max / count < SHARD_BYTES_MIN ||
                         options->bytes_max / count / 2 < options->value_max + ENTRY_OVERHEAD ||
                         (options->entries_max && options->entries_max / count < SHARD_ENTRIES_MIN))) {
        count /= 2;
    }
    return count;
}

static bool shard_init(struct shard *s, const struct sw_cache_memory_options *options, unsigned shards) {
    *s = (struct shard){.bytes_max = options->bytes_max / shards,
                        .entries_max = options->entries_max / shards,
                        .bucket_count = BUCKETS_MIN};
    s->buckets = sw_xcalloc(BUCKETS_MIN, sizeof(struct entry *));
    sw_ghosts_init(&s->ghosts);
    return pthread_mutex_init(&s->lock, NULL) == 0;
}

struct sw_cache_memory *sw_cache_memory_create(const struct sw_cache_memory_options *options) {
    struct sw_cache_memory *memory = SW_NEW(struct sw_cache_memory);
    unsigned count = options->shards ? options->shards : default_shards(options);
    SW_ASSERT((count & (count - 1)) == 0 && (!options->entries_max || options->entries_max >= count));
    memory->options = *options;
    memory->shard_mask = count - 1;
    memory->shards = sw_aligned_alloc(CACHE_LINE, count * sizeof *memory->shards);
    SW_ASSERT(memory->shards);
    for (unsigned i = 0; i < count; i++) {
        bool made = shard_init(&memory->shards[i], options, count);
        SW_ASSERT(made);
    }
    return memory;
}

void sw_cache_memory_destroy(struct sw_cache_memory *memory) {
    if (!memory) {
        return;
    }
    sw_cache_memory_purge(memory, NULL);
    for (unsigned i = 0; i <= memory->shard_mask; i++) {
        pthread_mutex_destroy(&memory->shards[i].lock);
        sw_ghosts_deinit(&memory->shards[i].ghosts);
        sw_free(memory->shards[i].buckets);
    }
    sw_free(memory->shards);
    sw_free(memory);
}

/* By other bits than those of the table. */
static struct shard *shard_of(struct sw_cache_memory *memory, const struct sw_cache_key *key) {
    return &memory->shards[key->bytes[SW_CACHE_KEY - 1] & memory->shard_mask];
}

/* ---- use */

struct sw_cache_value *sw_cache_memory_get(struct sw_cache_memory *memory, const struct sw_cache_key *key,
                                           uint64_t now_ns) {
    struct shard *s = shard_of(memory, key);
    struct sw_cache_value *value = NULL;
    struct entry *pile = NULL;
    pthread_mutex_lock(&s->lock);
    struct entry *e = *slot_of(s, key);
    if (e && has_expired(e, now_ns)) {
        expire(s, e, &pile);
    } else if (e) {
        e->hits += e->hits < HITS_MAX;
        value = sw_cache_value_ref(e->value);
    }
    pthread_mutex_unlock(&s->lock);
    free_pile(pile);
    return value;
}

static struct entry *entry_create(const struct sw_cache_key *key, struct sw_cache_value *value, const void *owner,
                                  uint64_t expires_ns) {
    struct entry *e = sw_malloc(sizeof *e);
    if (e) {
        *e = (struct entry){.key = *key,
                            .value = sw_cache_value_ref(value),
                            .owner = owner,
                            .expires_ns = expires_ns,
                            .bytes = sizeof *e + sw_cache_value_cost(value)};
    }
    return e;
}

static void insert(struct shard *s, struct entry *e, uint64_t now_ns, struct entry **pile) {
    struct entry **at = slot_of(s, &e->key), *old = *at;
    struct list *list = old ? old->list : sw_ghosts_take(&s->ghosts, sw_cache_key_hash(&e->key)) ? &s->main : &s->small;
    if (old) {
        e->hits = old->hits;
        take_out(s, old, pile);
    }
    grow_table(s);
    at = slot_of(s, &e->key);
    e->chain = *at;
    *at = e;
    list_push(list, e);
    s->inserted++;
    make_room(s, now_ns, pile);
}

void sw_cache_memory_put(struct sw_cache_memory *memory, const struct sw_cache_key *key, struct sw_cache_value *value,
                         const void *owner, uint64_t now_ns, uint64_t expires_ns) {
    struct shard *s = shard_of(memory, key);
    struct entry *pile = NULL, *e = NULL;
    if (sizeof *e + sw_cache_value_cost(value) <= s->bytes_max / 2) {
        e = entry_create(key, value, owner, expires_ns);
    }
    pthread_mutex_lock(&s->lock);
    if (e) {
        insert(s, e, now_ns, &pile);
    } else {
        s->refused++;
    }
    pthread_mutex_unlock(&s->lock);
    free_pile(pile);
}

static size_t purge_list(struct shard *s, struct list *list, const void *owner, struct entry **pile) {
    size_t count = 0;
    for (struct entry *e = list->oldest, *next; e; e = next) {
        next = e->newer;
        if (!owner || e->owner == owner) {
            take_out(s, e, pile);
            count++;
        }
    }
    return count;
}

size_t sw_cache_memory_purge(struct sw_cache_memory *memory, const void *owner) {
    size_t count = 0;
    for (unsigned i = 0; i <= memory->shard_mask; i++) {
        struct shard *s = &memory->shards[i];
        struct entry *pile = NULL;
        pthread_mutex_lock(&s->lock);
        count += purge_list(s, &s->small, owner, &pile) + purge_list(s, &s->main, owner, &pile);
        pthread_mutex_unlock(&s->lock);
        free_pile(pile);
    }
    return count;
}

void sw_cache_memory_look(struct sw_cache_memory *memory, struct sw_cache_memory_stats *ret) {
    *ret = (struct sw_cache_memory_stats){.bytes_max = memory->options.bytes_max,
                                          .entries_max = memory->options.entries_max};
    for (unsigned i = 0; i <= memory->shard_mask; i++) {
        struct shard *s = &memory->shards[i];
        pthread_mutex_lock(&s->lock);
        ret->entries += s->small.entries + s->main.entries;
        ret->bytes += bytes_of(s);
        ret->inserted += s->inserted;
        ret->evicted += s->evicted;
        ret->expired += s->expired;
        ret->refused += s->refused;
        pthread_mutex_unlock(&s->lock);
    }
}
