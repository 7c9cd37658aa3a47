/* Managed models: making one as the registry wants it.
 *
 *   sw_repository_follow: goal -> managed.next --job--> run_follow:
 *       take_goal         next becomes the goal; its versions stand in the list, what must be loaded as LOADING
 *       load_wanted       the pinned ones that are missing, the live one first
 *       show_pointers     live and aliases, in one publication
 *       release_unwanted  what nobody wants, points to or keeps warm is unloaded
 *       load_wanted       the others, as far as memory_max allows
 *
 * Each step gives up when a newer goal has come, and run_follow begins again with that: pointers never go back to
 * what an older goal wanted. Pointers that need no load are changed by the caller of sw_repository_follow already
 * (point_at_once), so that a rollback to a warm version does not wait for what the loader is at.
 *
 * Invariants: the live version stays in the list; what is live or has an alias is not unloaded before pointers that
 * leave it were published. */
#include "base/memory.h"
#include "rollout/repository_internal.h"

/* ---- goals ---- */

static const struct sw_served_version *find_wanted(const struct goal *goal, int64_t number) {
    size_t low = 0, high = goal->version_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (goal->versions[middle].number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < goal->version_count && goal->versions[low].number == number ? &goal->versions[low] : NULL;
}

static bool other_files(const struct version *version, const struct sw_served_version *wanted) {
    return version->stand_in || (version->digest && wanted->digest && strcmp(version->digest, wanted->digest) != 0);
}

static void adopt_version(struct entry *entry, const struct sw_served_version *wanted) {
    struct version *v = find_version(entry, wanted->number);
    if (!v) {
        v = add_version(entry, wanted->number, NULL);
        set_unavailable(v, "waits to be loaded");
    }
    v->wanted = true;
    v->pinned = wanted->pinned;
    v->golden_waived = wanted->golden_waived;
    v->bytes = wanted->bytes;
    v->stale = v->model && other_files(v, wanted);
    if (!v->model && v->pinned) {
        v->evicted = false;
        v->state = SW_MODEL_LOADING;
        v->reason[0] = '\0';
    }
}

void adopt_goal(struct entry *entry, const struct goal *goal) {
    for (size_t i = 0; i < entry->version_count; i++) {
        entry->versions[i]->wanted = false;
        entry->versions[i]->pinned = false;
    }
    for (size_t i = 0; i < goal->version_count; i++) {
        adopt_version(entry, &goal->versions[i]);
    }
}

static const struct goal *take_goal(struct sw_repository *repository, struct entry *entry) {
    struct managed *managed = entry->managed;
    struct served *old = NULL;
    pthread_mutex_lock(&repository->control);
    if (managed->next) {
        goal_destroy(managed->goal);
        managed->goal = managed->next;
        managed->next = NULL;
    }
    if (!managed->goal->deleted) {
        adopt_goal(entry, managed->goal);
        old = publish(entry);
    }
    pthread_mutex_unlock(&repository->control);
    retire_served(old);
    return managed->goal;
}

static bool has_newer(struct sw_repository *repository, const struct entry *entry) {
    pthread_mutex_lock(&repository->control);
    bool newer = entry->managed->next != NULL;
    pthread_mutex_unlock(&repository->control);
    return newer;
}

/* ---- loading ---- */

static sw_status load_folder(struct sw_repository *repository, const struct entry *entry, const struct version *version,
                             const char *folder, struct sw_model **ret, struct sw_error *err) {
    struct sw_model_options options = repository->options.model;
    char *path;
    bool named;
    SW_TRY(scan_folder(&options, folder, &path, &named, err));
    options.skip_golden |= version->golden_waived;
    sw_status status = sw_model_load(path, entry->name, version->number, &options, ret, err);
    sw_free(path);
    return status;
}

static sw_status fetch_and_load(struct sw_repository *repository, const struct entry *entry,
                                const struct version *version, bool may_evict, struct sw_model **ret,
                                struct sw_error *err) {
    const struct sw_repository_options *options = &repository->options;
    if (atomic_load(&repository->stopping)) {
        return sw_fail(err, SW_E_UNAVAILABLE, "the server is shutting down");
    }
    char *folder = NULL;
    /* Now, before others go and files are fetched for nothing. */
    SW_TRY(check_room(repository, version->bytes, may_evict, err));
    SW_TRY(options->fetch(options->fetch_arg, entry->name, version->number, &folder, err));
    sw_status status = make_room(repository, version->bytes, may_evict, err);
    if (!status) {
        status = load_folder(repository, entry, version, folder, ret, err);
    }
    if (status) {
        options->unfetch(options->fetch_arg, folder);
        sw_free(folder);
        return status;
    }
    note_folder(repository, *ret, folder);
    return SW_OK;
}

/* Under the control lock. */
static void note_failed(struct version *version, const char *why) {
    if (version->model) {
        snprintf(version->reason, sizeof version->reason,
                 "still serving the files it had before, its new ones could not be loaded: %.400s", why);
    } else if (version->evicted) {
        version->attempt_failed = true;
        version->state = SW_MODEL_UNAVAILABLE;
        snprintf(version->reason, sizeof version->reason,
                 "unloaded to save memory, and it could not be loaded again: %.400s", why);
    } else {
        set_unavailable(version, why);
    }
}

/* Under the control lock. */
static void note_loaded(struct sw_repository *repository, struct entry *entry, struct version *version,
                        struct sw_model *model) {
    const struct sw_served_version *wanted = find_wanted(entry->managed->goal, version->number);
    version->state = SW_MODEL_READY;
    version->model = model;
    version->reason[0] = '\0';
    version->evicted = version->attempt_failed = version->stale = version->stand_in = false;
    sw_free(version->digest);
    version->digest = wanted ? sw_xstrdup(wanted->digest) : NULL;
    version->load_order = ++repository->loads;
    atomic_store_explicit(&version->usage.used_tick, atomic_load_explicit(&repository->tick, memory_order_relaxed),
                          memory_order_relaxed);
}

static void show_loading(struct sw_repository *repository, struct entry *entry, struct version *version) {
    struct served *old = NULL;
    pthread_mutex_lock(&repository->control);
    if (!version->model && version->state != SW_MODEL_LOADING) {
        version->state = SW_MODEL_LOADING;
        version->reason[0] = '\0';
        old = publish(entry);
    }
    pthread_mutex_unlock(&repository->control);
    retire_served(old);
}

sw_status load_managed(struct sw_repository *repository, struct entry *entry, struct version *version, bool may_evict,
                       struct sw_error *err) {
    struct sw_model *model = NULL, *before = NULL;
    show_loading(repository, entry, version);
    sw_status status = fetch_and_load(repository, entry, version, may_evict, &model, err);
    if (!status && repository->options.on_ready) {
        repository->options.on_ready(repository->options.on_ready_arg, model);
    }
    pthread_mutex_lock(&repository->control);
    if (status) {
        note_failed(version, err->message);
    } else {
        before = version->model;
        note_loaded(repository, entry, version, model);
    }
    struct served *old = publish(entry);
    pthread_mutex_unlock(&repository->control);
    retire_served(old);
    let_go(repository, before);
    return status;
}

/* The version that this run has to load next; NULL: none. */
static struct version *next_to_load(const struct sw_repository *repository, const struct entry *entry, bool pinned) {
    struct version *found = NULL;
    for (size_t i = 0; i < entry->version_count; i++) {
        struct version *v = entry->versions[i];
        bool missing = v->wanted && v->pinned == pinned && (!v->model || v->stale);
        if (missing && v->attempt != repository->runs && (!found || v->number == entry->managed->goal->live)) {
            found = v;
        }
    }
    return found;
}

static void show_no_room(struct sw_repository *repository, struct entry *entry, struct version *version) {
    struct served *old = NULL;
    pthread_mutex_lock(&repository->control);
    if (!version->evicted && !version->model) {
        version->evicted = true;
        set_unavailable(version, "not loaded to save memory; it is loaded when it is asked for");
        old = publish(entry);
    }
    pthread_mutex_unlock(&repository->control);
    retire_served(old);
}

/* Loads what is missing; *why keeps the first failure. That there is no room for one that is not pinned is none. */
static void load_wanted(struct sw_repository *repository, struct entry *entry, bool pinned, struct sw_error *why) {
    struct version *v;
    while (!has_newer(repository, entry) && (v = next_to_load(repository, entry, pinned))) {
        struct sw_error reason = {0};
        v->attempt = repository->runs;
        if (!pinned && check_room(repository, v->bytes, false, NULL)) {
            show_no_room(repository, entry, v);
        } else if (load_managed(repository, entry, v, pinned, &reason) && !why->code) {
            *why = reason;
            sw_error_prefix(why, "version %lld", (long long)v->number);
        }
    }
}

/* ---- pointers ---- */

static int64_t find_target(const struct alias *aliases, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(aliases[i].name, name) == 0) {
            return aliases[i].version;
        }
    }
    return 0;
}

bool is_pointed_to(const struct entry *entry, int64_t number) {
    const struct managed *managed = entry->managed;
    bool found = managed->live == number;
    for (size_t i = 0; i < managed->alias_count && !found; i++) {
        found = managed->aliases[i].version == number;
    }
    return found;
}

/* kept: the old live version, when the wanted one could not be loaded; else NULL. */
static void point_aliases(struct managed *managed, const struct goal *goal, const struct version *kept) {
    struct alias *aliases = sw_xcalloc(goal->alias_count, sizeof *aliases);
    for (size_t i = 0; i < goal->alias_count; i++) {
        const struct alias *a = &goal->aliases[i];
        bool stays = kept && a->version == goal->live &&
                     find_target(managed->aliases, managed->alias_count, a->name) == kept->number;
        aliases[i] = (struct alias){sw_xstrdup(a->name), stays ? kept->number : a->version};
    }
    aliases_destroy(managed->aliases, managed->alias_count);
    managed->aliases = aliases;
    managed->alias_count = goal->alias_count;
}

/* `before` is live no longer: it stays warm, and of those that are warm already only what a rollback would bring
 * back. */
static void keep_warm(struct sw_repository *repository, struct entry *entry, struct version *before, int64_t previous) {
    for (size_t i = 0; i < entry->version_count; i++) {
        if (entry->versions[i]->number != previous) {
            entry->versions[i]->warm_until_ns = 0;
        }
    }
    uint64_t keep_ms = repository->options.keep_previous_ms;
    if (keep_ms) {
        before->warm_until_ns = sw_now_ns(clock_of(repository)) + keep_ms * 1000000;
        if (before->warm_until_ns < repository->next_expiry_ns) {
            repository->next_expiry_ns = before->warm_until_ns;
        }
    }
}

static void clear_reasons(struct entry *entry) {
    for (size_t i = 0; i < entry->version_count; i++) {
        if (entry->versions[i]->model && !entry->versions[i]->stale) {
            entry->versions[i]->reason[0] = '\0';
        }
    }
}

/* Under the control lock: live and aliases become those of the goal; what is live stays when its successor is not
 * loaded. */
static void point(struct sw_repository *repository, struct entry *entry, const struct goal *goal) {
    struct managed *managed = entry->managed;
    struct version *before = find_version(entry, managed->live), *wanted = find_version(entry, goal->live);
    bool serving = before && before->model;
    bool keep = serving && goal->live != 0 && !(wanted && wanted->model);
    clear_reasons(entry);
    if (keep) {
        snprintf(before->reason, sizeof before->reason, "still live: version %lld could not be loaded: %.400s",
                 (long long)goal->live, wanted ? wanted->reason : "it is not known");
    } else if (serving && before != wanted && !before->stand_in) {
        keep_warm(repository, entry, before, goal->previous);
    }
    if (wanted && !keep) {
        wanted->warm_until_ns = 0;
    }
    point_aliases(managed, goal, keep ? before : NULL);
    managed->live = keep ? before->number : goal->live;
}

static void show_pointers(struct sw_repository *repository, struct entry *entry) {
    struct served *old = NULL;
    pthread_mutex_lock(&repository->control);
    if (!entry->managed->next) {
        point(repository, entry, entry->managed->goal);
        old = publish(entry);
    }
    pthread_mutex_unlock(&repository->control);
    retire_served(old);
}

static bool is_loaded(const struct entry *entry, const struct goal *goal, int64_t number) {
    const struct version *v = find_version(entry, number);
    const struct sw_served_version *wanted = find_wanted(goal, number);
    return v && v->model && wanted && !other_files(v, wanted);
}

struct served *point_at_once(struct sw_repository *repository, struct entry *entry, const struct goal *goal) {
    const struct managed *managed = entry->managed;
    bool possible = !goal->deleted && (goal->live == 0 || is_loaded(entry, goal, goal->live));
    bool change = goal->live != managed->live || goal->alias_count != managed->alias_count;
    for (size_t i = 0; i < goal->alias_count && possible; i++) {
        const struct alias *a = &goal->aliases[i];
        bool moves = find_target(managed->aliases, managed->alias_count, a->name) != a->version;
        change = change || moves;
        possible = !moves || is_loaded(entry, goal, a->version);
    }
    if (!possible || !change) {
        return NULL;
    }
    point(repository, entry, goal);
    return publish(entry);
}

/* ---- letting go ---- */

/* Under the control lock, with no newer goal: aliases are those of the goal, or stand on the live version. */
static bool may_go(const struct entry *entry, const struct version *version, uint64_t now) {
    return !version->wanted && version->warm_until_ns <= now && version->number != entry->managed->live;
}

/* Under the control lock: the next version to let go, out of service or out of the list; false: none. */
static bool release_next(struct entry *entry, uint64_t now, struct sw_model **ret_model, struct version **ret_gone) {
    for (size_t i = 0; i < entry->version_count; i++) {
        struct version *v = entry->versions[i];
        if (!may_go(entry, v, now) || v->state == SW_MODEL_UNLOADING) {
            continue; /* one that is UNLOADING leaves the list when its last request ends */
        }
        *ret_model = take_out(v);
        if (!*ret_model) {
            remove_version(entry, v);
            *ret_gone = v;
        }
        return true;
    }
    return false;
}

void release_unwanted(struct sw_repository *repository, struct entry *entry) {
    uint64_t now = sw_now_ns(clock_of(repository));
    for (bool more = true; more;) {
        struct sw_model *model = NULL;
        struct version *gone = NULL;
        struct served *old = NULL;
        pthread_mutex_lock(&repository->control);
        more = !entry->managed->next && release_next(entry, now, &model, &gone);
        if (more) {
            old = publish(entry);
        }
        pthread_mutex_unlock(&repository->control);
        retire_served(old);
        let_go(repository, model);
        if (gone) {
            version_destroy(gone);
        }
    }
}

/* The registry has deleted the model. false: there is a newer goal. */
static bool drop_entry(struct sw_repository *repository, struct entry *entry) {
    SW_AUTO_FREE struct sw_model **models = sw_xcalloc(entry->version_count, sizeof(struct sw_model *));
    struct snapshot *old = NULL;
    pthread_mutex_lock(&repository->control);
    if (!entry->managed->next) {
        for (size_t i = 0; i < entry->version_count; i++) {
            models[i] = take_out(entry->versions[i]);
        }
        sw_map_remove(&repository->entries, sw_str_of(entry->name));
        entry->gone = true; /* this job is its last but for others that wait */
        old = swap_snapshot(repository);
    }
    pthread_mutex_unlock(&repository->control);
    retire_snapshot(old);
    for (size_t i = 0; i < entry->version_count; i++) {
        let_go(repository, models[i]);
    }
    return entry->gone;
}

/* ---- the job ---- */

sw_status run_follow(struct sw_repository *repository, struct entry *entry, struct sw_error *err) {
    struct sw_error why;
    do {
        why = (struct sw_error){0};
        repository->runs++;
        if (take_goal(repository, entry)->deleted) {
            if (drop_entry(repository, entry)) {
                return SW_OK;
            }
            continue; /* with the newer goal */
        }
        load_wanted(repository, entry, true, &why);
        show_pointers(repository, entry);
        release_unwanted(repository, entry);
        load_wanted(repository, entry, false, &why);
    } while (has_newer(repository, entry));
    if (why.code) {
        *err = why;
    }
    return why.code;
}
