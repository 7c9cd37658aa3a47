/* Models that stand in: known from a file until the registry has a live version of that name.
 *
 * Such an entry is like any other from a file, but when the registry wants its name the entry itself becomes managed, so
 * that there is no moment without it: what it serves stays live, like the version before in any change of the live
 * version, until the registry's is loaded. Its versions are other files than the registry's, even of the same number,
 * and are not kept warm. */
#include "base/memory.h"
#include "rollout/repository_internal.h"

sw_status sw_repository_add_stand_in(struct sw_repository *repository, const char *path, const char **ret_name,
                                     struct sw_error *err) {
    const char *name;
    SW_TRY(sw_repository_add(repository, path, &name, err));
    pthread_mutex_lock(&repository->control);
    struct entry *entry = sw_map_get(&repository->entries, sw_str_of(name));
    entry->stands_in = true;
    entry->wanted = true; /* readiness waits for it */
    pthread_mutex_unlock(&repository->control);
    if (ret_name) {
        *ret_name = name;
    }
    return SW_OK;
}

bool sw_repository_is_managed(struct sw_repository *repository, struct sw_str name) {
    pthread_mutex_lock(&repository->control);
    const struct entry *entry = sw_map_get(&repository->entries, name);
    bool managed = entry && entry->managed;
    pthread_mutex_unlock(&repository->control);
    return managed;
}

bool is_stand_in(const struct entry *entry) {
    return entry && entry->stands_in && !entry->managed;
}

void become_managed(struct entry *entry) {
    SW_ASSERT(is_stand_in(entry) && entry->jobs == 1); /* the one that follows: the loader knows of no other */
    struct managed *managed = SW_NEW(struct managed);
    for (size_t i = 0; i < entry->version_count; i++) {
        struct version *v = entry->versions[i];
        v->stand_in = true;
        sw_free(v->path);
        v->path = NULL;
        managed->live = v->model ? v->number : managed->live;
    }
    sw_free(entry->path);
    entry->path = NULL;
    entry->managed = managed;
}
