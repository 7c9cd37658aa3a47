/* The tables that requests read: names -> entries, and for each entry what it serves. Immutable once made; freed when
 * no reader is left.
 *
 * Names: open addressing over a power of two of slots, at most half full; the entries themselves are freed only after a
 * table without them was published. Reasons and aliases are copied, because the entries' own change. A model that is
 * served holds at least the repository's reference: that is dropped only after `served` was replaced and sw_epoch_wait
 * returned. */
#include "base/hash.h"
#include "base/memory.h"
#include "base/thread.h"
#include "rollout/repository_internal.h"

struct served_version {
    int64_t number;
    enum sw_model_state state;
    struct sw_model *model; /* NULL unless READY */
    char *reason;           /* "" when none */
    struct usage *usage;    /* of the entry's version, which outlives this; NULL: nobody wants to know */
    bool evicted;
};

struct served {
    bool managed;
    struct served_version *versions; /* ascending */
    size_t version_count;
    int64_t live; /* managed: what requests without a version get; 0: none */
    struct alias *aliases;
    size_t alias_count; /* by name */
};

struct slot {
    uint64_t hash;
    const struct entry *entry; /* NULL: empty */
};

struct snapshot {
    size_t mask; /* slots - 1 */
    struct slot slots[];
};

/* ---- what an entry serves ---- */

static const char EVICTED[] = "unloaded to save memory; it is being loaded again";

static struct served_version copy_version(struct version *v, bool managed) {
    SW_ASSERT((v->state == SW_MODEL_READY) == (v->model != NULL));
    bool comes_back = v->evicted && !v->attempt_failed && v->state != SW_MODEL_LOADING;
    return (struct served_version){
        .number = v->number,
        .state = v->state,
        .model = v->model,
        .reason = sw_xstrdup(comes_back ? EVICTED : v->reason),
        .usage = managed ? &v->usage : NULL,
        .evicted = v->evicted,
    };
}

struct served *served_create(const struct entry *entry) {
    struct served *served = SW_NEW(struct served);
    const struct managed *managed = entry->managed;
    served->versions = sw_xcalloc(entry->version_count, sizeof *served->versions);
    for (size_t i = 0; i < entry->version_count; i++) {
        struct version *v = entry->versions[i];
        if (!managed || v->wanted || v->state != SW_MODEL_UNLOADING) { /* else it has gone, but for its last requests */
            served->versions[served->version_count++] = copy_version(v, managed != NULL);
        }
    }
    if (managed) {
        served->managed = true;
        served->live = managed->live;
        served->alias_count = managed->alias_count;
        served->aliases = sw_xcalloc(managed->alias_count, sizeof *served->aliases);
        for (size_t i = 0; i < managed->alias_count; i++) {
            served->aliases[i] = (struct alias){sw_xstrdup(managed->aliases[i].name), managed->aliases[i].version};
        }
    }
    return served;
}

void served_destroy(struct served *served) {
    if (!served) {
        return;
    }
    for (size_t i = 0; i < served->version_count; i++) {
        sw_free(served->versions[i].reason);
    }
    sw_free(served->versions);
    aliases_destroy(served->aliases, served->alias_count);
    sw_free(served);
}

struct served *publish(struct entry *entry) {
    /* Sequentially consistent, as the load in snapshot_acquire: together with the epoch's own it makes sure that a
     * reader either sees the new one or is seen by sw_epoch_wait. */
    return atomic_exchange(&entry->served, served_create(entry));
}

void retire_served(struct served *served) {
    if (served) {
        sw_epoch_wait();
        served_destroy(served);
    }
}

/* ---- names ---- */

struct snapshot *snapshot_create(const struct sw_map *entries) {
    size_t slots = 8;
    while (slots < entries->count * 2) {
        slots *= 2;
    }
    struct snapshot *snapshot = sw_xcalloc(1, sizeof *snapshot + slots * sizeof(struct slot));
    snapshot->mask = slots - 1;
    const struct sw_map_entry *e;
    for (size_t i = 0; (e = sw_map_next(entries, &i));) {
        size_t at = e->hash & snapshot->mask;
        while (snapshot->slots[at].entry) {
            at = (at + 1) & snapshot->mask;
        }
        snapshot->slots[at] = (struct slot){e->hash, e->value};
    }
    return snapshot;
}

void snapshot_destroy(struct snapshot *snapshot) {
    sw_free(snapshot);
}

struct snapshot *swap_snapshot(struct sw_repository *repository) {
    return atomic_exchange(&repository->snapshot, snapshot_create(&repository->entries)); /* order: as in publish */
}

void retire_snapshot(struct snapshot *snapshot) {
    if (snapshot) {
        sw_epoch_wait();
        snapshot_destroy(snapshot);
    }
}

/* ---- the request path ---- */

static const struct entry *find_entry(const struct snapshot *snapshot, struct sw_str name) {
    uint64_t hash = sw_hash(name.data, name.len, 0);
    for (size_t at = hash & snapshot->mask; snapshot->slots[at].entry; at = (at + 1) & snapshot->mask) {
        const struct entry *entry = snapshot->slots[at].entry;
        if (snapshot->slots[at].hash == hash && sw_str_is(name, entry->name)) {
            return entry;
        }
    }
    return NULL;
}

static const struct served_version *find_number(const struct served *served, int64_t number) {
    size_t low = 0, high = served->version_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (served->versions[middle].number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < served->version_count && served->versions[low].number == number ? &served->versions[low] : NULL;
}

/* Like strcmp(a, b). */
static int compare(const char *a, struct sw_str b) {
    size_t length = strlen(a), common = length < b.len ? length : b.len;
    int order = common ? memcmp(a, b.data, common) : 0;
    return order ? order : (length > b.len) - (length < b.len);
}

static const struct alias *find_alias(const struct served *served, struct sw_str name) {
    size_t low = 0, high = served->alias_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = compare(served->aliases[middle].name, name);
        if (order == 0) {
            return &served->aliases[middle];
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

/* Of a model from a file or folder: the highest that is ready; when none is, the highest. */
static const struct served_version *newest(const struct served *served) {
    for (size_t i = served->version_count; i > 0; i--) {
        if (served->versions[i - 1].model) {
            return &served->versions[i - 1];
        }
    }
    return &served->versions[served->version_count - 1]; /* it has at least one */
}

static sw_status find_live(const struct served *served, struct sw_str name, const struct served_version **ret,
                           struct sw_error *err) {
    if (served->managed && served->live == 0) {
        return sw_fail(err, SW_E_UNAVAILABLE, "model '" SW_STR_FMT "': no version is live", SW_STR_ARG(name));
    }
    *ret = served->managed ? find_number(served, served->live) : newest(served);
    SW_ASSERT(*ret); /* see the invariants of follow.c */
    return SW_OK;
}

/* Which version a request means: always one that is known, ready or not. */
static sw_status resolve(const struct served *served, struct sw_str name, struct sw_str version,
                         const struct served_version **ret, struct sw_error *err) {
    if (version.len == 0) {
        return find_live(served, name, ret, err);
    }
    int64_t number;
    if (sw_parse_i64(version, &number)) {
        *ret = find_number(served, number);
    } else {
        const struct alias *alias = find_alias(served, version);
        *ret = alias ? find_number(served, alias->version) : NULL;
        if (alias && !*ret) {
            return sw_fail(err, SW_E_UNAVAILABLE,
                           "model '" SW_STR_FMT "': alias '%s' is version %lld, which its version policy leaves out",
                           SW_STR_ARG(name), alias->name, (long long)alias->version);
        }
    }
    return *ret ? SW_OK
                : sw_fail(err, SW_E_NOT_FOUND, "model '" SW_STR_FMT "' has no version '" SW_STR_FMT "'",
                          SW_STR_ARG(name), SW_STR_ARG(version));
}

/* True: nobody has asked for it in this tick, so that a load that fails is tried again at most once in a tick. */
static bool ask_for(struct usage *usage, uint64_t tick) {
    uint64_t last = atomic_load_explicit(&usage->asked_tick, memory_order_relaxed);
    if (last == tick || !atomic_compare_exchange_strong_explicit(&usage->asked_tick, &last, tick, memory_order_relaxed,
                                                                 memory_order_relaxed)) {
        return false;
    }
    atomic_store_explicit(&usage->asked, true, memory_order_relaxed);
    return true;
}

/* Written once a tick, so that the line stays shared by all threads that read it. */
static void note_use(struct usage *usage, uint64_t tick) {
    if (atomic_load_explicit(&usage->used_tick, memory_order_relaxed) != tick) {
        atomic_store_explicit(&usage->used_tick, tick, memory_order_relaxed);
    }
}

sw_status snapshot_acquire(const struct snapshot *snapshot, uint64_t tick, struct sw_str name, struct sw_str version,
                           struct sw_model **ret, bool *ret_asked, struct sw_error *err) {
    const struct entry *entry = find_entry(snapshot, name);
    if (!entry) {
        return sw_fail(err, SW_E_NOT_FOUND, "model '" SW_STR_FMT "' is not known", SW_STR_ARG(name));
    }
    const struct served_version *found = NULL;
    SW_TRY(resolve(atomic_load(&entry->served), name, version, &found, err));
    if (!found->model) {
        *ret_asked = found->evicted && ask_for(found->usage, tick);
        return sw_fail(err, SW_E_UNAVAILABLE, "model '" SW_STR_FMT "' version %lld is %s%s%s", SW_STR_ARG(name),
                       (long long)found->number, sw_model_state_name(found->state), found->reason[0] ? ": " : "",
                       found->reason);
    }
    if (found->usage) {
        note_use(found->usage, tick);
    }
    sw_model_ref(found->model);
    *ret = found->model;
    return SW_OK;
}
