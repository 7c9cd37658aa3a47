/* Known models, their versions, and what the registry wants of them: plain data, guarded by the control lock.
 *
 * A version stands in its entry's list from the moment it is known until no snapshot shows it any more. */
#include "base/memory.h"
#include "rollout/repository_internal.h"

struct entry *entry_create(const char *name, const char *path) {
    struct entry *entry = SW_NEW(struct entry);
    entry->name = sw_xstrdup(name);
    entry->path = sw_xstrdup(path);
    if (!path) {
        entry->managed = SW_NEW(struct managed);
    }
    return entry;
}

void aliases_destroy(struct alias *aliases, size_t count) {
    for (size_t i = 0; i < count; i++) {
        sw_free(aliases[i].name);
    }
    sw_free(aliases);
}

static void managed_destroy(struct managed *managed) {
    if (managed) {
        goal_destroy(managed->goal);
        goal_destroy(managed->next);
        aliases_destroy(managed->aliases, managed->alias_count);
        sw_free(managed);
    }
}

void entry_destroy(struct entry *entry) {
    for (size_t i = 0; i < entry->version_count; i++) {
        version_destroy(entry->versions[i]);
    }
    sw_free(entry->versions);
    managed_destroy(entry->managed);
    served_destroy(atomic_load_explicit(&entry->served, memory_order_relaxed));
    sw_free(entry->name);
    sw_free(entry->path);
    sw_free(entry);
}

/* ---- versions ---- */

/* Where `number` stands, or would. */
static size_t position_of(const struct entry *entry, int64_t number) {
    size_t low = 0, high = entry->version_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (entry->versions[middle]->number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct version *find_version(const struct entry *entry, int64_t number) {
    size_t at = position_of(entry, number);
    return at < entry->version_count && entry->versions[at]->number == number ? entry->versions[at] : NULL;
}

struct version *add_version(struct entry *entry, int64_t number, char *path) {
    struct version *version = SW_NEW(struct version);
    version->number = number;
    version->path = path;
    entry->versions = sw_xrealloc(entry->versions, (entry->version_count + 1) * sizeof *entry->versions);
    size_t at = position_of(entry, number);
    memmove(entry->versions + at + 1, entry->versions + at, (entry->version_count - at) * sizeof *entry->versions);
    entry->version_count++;
    entry->versions[at] = version;
    return version;
}

void remove_version(struct entry *entry, const struct version *version) {
    size_t at = position_of(entry, version->number);
    SW_ASSERT(at < entry->version_count && entry->versions[at] == version);
    entry->version_count--;
    memmove(entry->versions + at, entry->versions + at + 1, (entry->version_count - at) * sizeof *entry->versions);
}

void version_destroy(struct version *version) {
    SW_ASSERT(!version->model);
    sw_free(version->path);
    sw_free(version->digest);
    sw_free(version);
}

void set_unavailable(struct version *version, const char *reason) {
    version->state = SW_MODEL_UNAVAILABLE;
    snprintf(version->reason, sizeof version->reason, "%s", reason);
}

/* ---- what the registry wants ---- */

static int by_number(const void *a, const void *b) {
    int64_t x = ((const struct sw_served_version *)a)->number, y = ((const struct sw_served_version *)b)->number;
    return (x > y) - (x < y);
}

static int by_alias(const void *a, const void *b) {
    return strcmp(((const struct alias *)a)->name, ((const struct alias *)b)->name);
}

static void copy_versions(struct goal *goal, const struct sw_served_model *wanted) {
    goal->version_count = wanted->version_count;
    goal->versions = sw_xcalloc(wanted->version_count, sizeof *goal->versions);
    for (size_t i = 0; i < wanted->version_count; i++) {
        goal->versions[i] = wanted->versions[i];
        goal->versions[i].digest = sw_xstrdup(wanted->versions[i].digest);
        goal->versions[i].pinned |= wanted->versions[i].number == wanted->live;
    }
    if (goal->version_count) {
        qsort(goal->versions, goal->version_count, sizeof *goal->versions, by_number);
    }
}

static void copy_aliases(struct goal *goal, const struct sw_served_model *wanted) {
    goal->alias_count = wanted->alias_count;
    goal->aliases = sw_xcalloc(wanted->alias_count, sizeof *goal->aliases);
    for (size_t i = 0; i < wanted->alias_count; i++) {
        goal->aliases[i] = (struct alias){sw_xstrdup(wanted->aliases[i].name), wanted->aliases[i].version};
    }
    if (goal->alias_count) {
        qsort(goal->aliases, goal->alias_count, sizeof *goal->aliases, by_alias);
    }
}

struct goal *goal_create(const struct sw_served_model *wanted) {
    struct goal *goal = SW_NEW(struct goal);
    goal->deleted = wanted->deleted;
    goal->live = wanted->live;
    goal->previous = wanted->previous;
    copy_versions(goal, wanted);
    copy_aliases(goal, wanted);
    return goal;
}

void goal_destroy(struct goal *goal) {
    if (!goal) {
        return;
    }
    for (size_t i = 0; i < goal->version_count; i++) {
        sw_free((char *)goal->versions[i].digest);
    }
    sw_free(goal->versions);
    aliases_destroy(goal->aliases, goal->alias_count);
    sw_free(goal);
}
