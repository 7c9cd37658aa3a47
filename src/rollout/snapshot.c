/* The table that requests read: name -> versions, ascending. Immutable once made; freed when no reader is left.
 *
 * Open addressing over a power of two of slots, at most half full. Names are borrowed from the entries, which live as
 * long as the repository; reasons are copied, because the entries' own change. A model in a snapshot holds at least
 * the repository's reference: that is dropped only after the snapshot was replaced and sw_epoch_wait returned. */
#include "base/hash.h"
#include "base/memory.h"
#include "rollout/repository_internal.h"

struct served_version {
    int64_t number;
    enum sw_model_state state;
    struct sw_model *model; /* NULL unless READY */
    char *reason;
};

struct served_model {
    struct sw_str name;
    uint64_t hash;
    struct served_version *versions;
    size_t version_count;
};

struct snapshot {
    size_t mask;     /* slots - 1 */
    uint32_t *slots; /* index + 1 into models; 0: empty */
    struct served_model *models;
    size_t model_count;
};

static void copy_versions(struct served_model *model, const struct entry *entry) {
    model->version_count = entry->version_count;
    model->versions = sw_xcalloc(entry->version_count, sizeof *model->versions);
    for (size_t i = 0; i < entry->version_count; i++) {
        const struct version *v = entry->versions[i];
        SW_ASSERT((v->state == SW_MODEL_READY) == (v->model != NULL));
        model->versions[i] = (struct served_version){
            .number = v->number, .state = v->state, .model = v->model, .reason = sw_xstrdup(v->reason)};
    }
}

struct snapshot *snapshot_create(const struct sw_map *entries) {
    struct snapshot *snapshot = SW_NEW(struct snapshot);
    size_t slots = 8;
    while (slots < entries->count * 2) {
        slots *= 2;
    }
    snapshot->mask = slots - 1;
    snapshot->slots = sw_xcalloc(slots, sizeof *snapshot->slots);
    snapshot->models = sw_xcalloc(entries->count, sizeof *snapshot->models);
    const struct sw_map_entry *e;
    for (size_t i = 0; (e = sw_map_next(entries, &i));) {
        const struct entry *entry = e->value;
        struct served_model *model = &snapshot->models[snapshot->model_count++];
        model->name = sw_str_of(entry->name);
        model->hash = sw_hash(model->name.data, model->name.len, 0);
        copy_versions(model, entry);
        size_t at = model->hash & snapshot->mask;
        while (snapshot->slots[at]) {
            at = (at + 1) & snapshot->mask;
        }
        snapshot->slots[at] = (uint32_t)snapshot->model_count;
    }
    return snapshot;
}

void snapshot_destroy(struct snapshot *snapshot) {
    if (!snapshot) {
        return;
    }
    for (size_t i = 0; i < snapshot->model_count; i++) {
        for (size_t j = 0; j < snapshot->models[i].version_count; j++) {
            sw_free(snapshot->models[i].versions[j].reason);
        }
        sw_free(snapshot->models[i].versions);
    }
    sw_free(snapshot->models);
    sw_free(snapshot->slots);
    sw_free(snapshot);
}

static const struct served_model *find(const struct snapshot *snapshot, struct sw_str name) {
    uint64_t hash = sw_hash(name.data, name.len, 0);
    for (size_t at = hash & snapshot->mask; snapshot->slots[at]; at = (at + 1) & snapshot->mask) {
        const struct served_model *model = &snapshot->models[snapshot->slots[at] - 1];
        if (model->hash == hash && sw_str_eq(model->name, name)) {
            return model;
        }
    }
    return NULL;
}

/* The highest that is ready; when none is, the highest. */
static const struct served_version *newest(const struct served_model *model) {
    for (size_t i = model->version_count; i > 0; i--) {
        if (model->versions[i - 1].model) {
            return &model->versions[i - 1];
        }
    }
    return &model->versions[model->version_count - 1];
}

static const struct served_version *find_version(const struct served_model *model, struct sw_str text) {
    int64_t number;
    if (!sw_parse_i64(text, &number)) {
        return NULL;
    }
    size_t low = 0, high = model->version_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (model->versions[middle].number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < model->version_count && model->versions[low].number == number ? &model->versions[low] : NULL;
}

sw_status snapshot_acquire(const struct snapshot *snapshot, struct sw_str name, struct sw_str version,
                           struct sw_model **ret, struct sw_error *err) {
    const struct served_model *model = find(snapshot, name);
    if (!model) {
        return sw_fail(err, SW_E_NOT_FOUND, "model '" SW_STR_FMT "' is not known", SW_STR_ARG(name));
    }
    const struct served_version *found = version.len ? find_version(model, version) : newest(model);
    if (!found) {
        return sw_fail(err, SW_E_NOT_FOUND, "model '" SW_STR_FMT "' has no version '" SW_STR_FMT "'", SW_STR_ARG(name),
                       SW_STR_ARG(version));
    }
    if (!found->model) {
        return sw_fail(err, SW_E_UNAVAILABLE, "model '" SW_STR_FMT "' version %lld is %s%s%s", SW_STR_ARG(name),
                       (long long)found->number, sw_model_state_name(found->state), found->reason[0] ? ": " : "",
                       found->reason);
    }
    sw_model_ref(found->model);
    *ret = found->model;
    return SW_OK;
}
