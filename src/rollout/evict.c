/* Managed models: the memory limit, loading on demand, warm versions whose time is over. Loader thread.
 *
 * What counts against memory_max is the size of the files of every loaded managed version. It is summed up anew each
 * time, which takes microseconds before a load that takes milliseconds, so that no counter can go wrong.
 *
 * Who goes first: versions that are neither pinned nor pointed to nor warm, least recently used first; then warm ones,
 * in the same order. A version that is still wanted stays in the list as `evicted`: the first request for it is refused
 * and sets usage.asked, and the loader loads it (loader_look_after_managed). */
#include "base/memory.h"
#include "rollout/repository_internal.h"

enum rank { FIXED, IDLE, WARM };

static enum rank rank_of(const struct entry *entry, const struct version *version) {
    if (!version->model || version->pinned || is_pointed_to(entry, version->number)) {
        return FIXED;
    }
    return version->warm_until_ns ? WARM : IDLE;
}

/* All that is loaded, and the one to go first. */
struct tally {
    uint64_t held;    /* bytes that are loaded */
    uint64_t movable; /* of them: could be unloaded */
    enum rank rank;   /* of the victim; FIXED: there is none */
    struct version *victim;
    struct entry *owner;
};

static uint64_t used_tick(const struct version *version) {
    return atomic_load_explicit(&version->usage.used_tick, memory_order_relaxed);
}

static bool goes_before(const struct version *a, enum rank rank_a, const struct version *b, enum rank rank_b) {
    if (rank_a != rank_b) {
        return rank_a < rank_b;
    }
    uint64_t used_a = used_tick(a), used_b = used_tick(b);
    return used_a != used_b ? used_a < used_b : a->load_order < b->load_order;
}

static void count_version(struct tally *tally, struct entry *entry, struct version *version) {
    if (!version->model) {
        return;
    }
    enum rank rank = rank_of(entry, version);
    tally->held += version->bytes;
    tally->movable += rank == FIXED ? 0 : version->bytes;
    if (rank != FIXED && (!tally->victim || goes_before(version, rank, tally->victim, tally->rank))) {
        tally->rank = rank;
        tally->victim = version;
        tally->owner = entry;
    }
}

/* Under the control lock. */
static struct tally count_loaded(const struct sw_repository *repository) {
    struct tally tally = {0};
    const struct sw_map_entry *e;
    for (size_t i = 0; (e = sw_map_next(&repository->entries, &i));) {
        struct entry *entry = e->value;
        for (size_t k = 0; k < entry->version_count && entry->managed; k++) {
            count_version(&tally, entry, entry->versions[k]);
        }
    }
    return tally;
}

static bool fits(const struct sw_repository *repository, uint64_t bytes, uint64_t held) {
    uint64_t max = repository->options.memory_max;
    return max == 0 || (bytes <= max && held <= max - bytes);
}

static sw_status no_room(const struct sw_repository *repository, uint64_t bytes, const struct tally *tally,
                         bool may_evict, struct sw_error *err) {
    return sw_fail(
        err, SW_E_UNAVAILABLE, "not enough memory allowed for models: %llu bytes are needed, %llu of %llu are taken%s",
        (unsigned long long)bytes, (unsigned long long)(tally->held - (may_evict ? tally->movable : 0)),
        (unsigned long long)repository->options.memory_max, may_evict ? " by versions that may not be unloaded" : "");
}

sw_status check_room(struct sw_repository *repository, uint64_t bytes, bool may_evict, struct sw_error *err) {
    pthread_mutex_lock(&repository->control);
    struct tally tally = count_loaded(repository);
    pthread_mutex_unlock(&repository->control);
    uint64_t stays = tally.held - (may_evict ? tally.movable : 0);
    return fits(repository, bytes, stays) ? SW_OK : no_room(repository, bytes, &tally, may_evict, err);
}

/* Under the control lock: out of service, to come back when a request asks for it. */
static struct sw_model *evict(struct version *version) {
    version->evicted = version->wanted;
    version->attempt_failed = false;
    version->warm_until_ns = 0;
    atomic_store_explicit(&version->usage.asked_tick, 0, memory_order_relaxed);
    return take_out(version);
}

sw_status make_room(struct sw_repository *repository, uint64_t bytes, bool may_evict, struct sw_error *err) {
    for (;;) {
        struct sw_model *model = NULL;
        struct served *old = NULL;
        pthread_mutex_lock(&repository->control);
        struct tally tally = count_loaded(repository);
        bool enough = fits(repository, bytes, tally.held);
        if (!enough && may_evict && tally.victim) {
            model = evict(tally.victim);
            old = publish(tally.owner);
        }
        pthread_mutex_unlock(&repository->control);
        if (!model) {
            return enough ? SW_OK : no_room(repository, bytes, &tally, may_evict, err);
        }
        retire_served(old);
        let_go(repository, model);
    }
}

/* ---- on demand ---- */

/* Under the control lock. NULL: none. */
static struct version *take_asked(struct sw_repository *repository, struct entry **ret_owner) {
    const struct sw_map_entry *e;
    for (size_t i = 0; (e = sw_map_next(&repository->entries, &i));) {
        struct entry *entry = e->value;
        for (size_t k = 0; k < entry->version_count && entry->managed; k++) {
            struct version *v = entry->versions[k];
            if (atomic_exchange_explicit(&v->usage.asked, false, memory_order_relaxed)) {
                *ret_owner = entry;
                return v;
            }
        }
    }
    return NULL;
}

static void load_asked(struct sw_repository *repository) {
    for (;;) {
        struct entry *entry = NULL;
        pthread_mutex_lock(&repository->control);
        struct version *version = take_asked(repository, &entry);
        pthread_mutex_unlock(&repository->control);
        if (!version) {
            return;
        }
        struct sw_error why = {0};
        /* Not when a job was faster: it is loaded, or not wanted any more. */
        if (version->evicted && version->wanted && !version->model &&
            load_managed(repository, entry, version, true, &why)) {
            continue; /* its reason is shown; who asks again, in a later tick, makes the loader try again */
        }
    }
}

/* ---- warm versions ---- */

/* Under the control lock: an entry with a version whose time is over; the time is forgotten. NULL: none. */
static struct entry *take_expired(struct sw_repository *repository, uint64_t now) {
    const struct sw_map_entry *e;
    repository->next_expiry_ns = UINT64_MAX;
    for (size_t i = 0; (e = sw_map_next(&repository->entries, &i));) {
        struct entry *entry = e->value;
        for (size_t k = 0; k < entry->version_count && entry->managed; k++) {
            struct version *v = entry->versions[k];
            if (v->warm_until_ns && v->warm_until_ns <= now) {
                v->warm_until_ns = 0;
                return entry;
            }
            if (v->warm_until_ns && v->warm_until_ns < repository->next_expiry_ns) {
                repository->next_expiry_ns = v->warm_until_ns;
            }
        }
    }
    return NULL;
}

static void release_expired(struct sw_repository *repository) {
    uint64_t now = sw_now_ns(clock_of(repository));
    for (;;) {
        pthread_mutex_lock(&repository->control);
        struct entry *entry = take_expired(repository, now);
        pthread_mutex_unlock(&repository->control);
        if (!entry) {
            return;
        }
        release_unwanted(repository, entry);
    }
}

void loader_look_after_managed(struct sw_repository *repository) {
    if (atomic_load(&repository->stopping)) {
        return;
    }
    if (atomic_exchange(&repository->expired, false)) {
        release_expired(repository);
    }
    if (atomic_exchange(&repository->asked, false)) {
        load_asked(repository);
    }
}
