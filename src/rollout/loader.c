/* The loader thread: the only one that loads and unloads models.
 *
 * It pops jobs. After each it also unloads the models whose last reference went on some request's thread, and looks
 * after managed models (evict.c); when it sleeps meanwhile, the address of repository->wake in the queue wakes it; at
 * most one is queued at a time. Managed models are in follow.c; the rest of this file is about those from files and
 * folders.
 *
 * A version, and the functions behind the transitions:
 *
 *   UNAVAILABLE --submit (jobs.c)--------> LOADING --load_version--> READY --run_unload--> UNLOADING
 *        ^                                    |                                               |
 *        +------------- load_version ---------+            finish_unload ---> UNAVAILABLE ----+
 *
 * A reload keeps READY throughout: the old model serves until the new one is published, and goes on serving when the
 * new one cannot be loaded. */
#include "base/memory.h"
#include "base/thread.h"
#include "rollout/repository_internal.h"

/* Under the control lock: changes a version and gives what this replaces. */
static struct served *set_state(struct entry *entry, struct version *version, enum sw_model_state state,
                                struct sw_model *model, const char *reason) SW_MUST_CHECK;

static struct served *set_state(struct entry *entry, struct version *version, enum sw_model_state state,
                                struct sw_model *model, const char *reason) {
    version->state = state;
    version->model = model;
    snprintf(version->reason, sizeof version->reason, "%s", reason);
    return publish(entry);
}

/* ---- the end of a model ---- */

static struct sw_str key_of(struct sw_model *const *model) {
    return (struct sw_str){(const char *)model, sizeof *model};
}

void note_folder(struct sw_repository *repository, struct sw_model *model, char *folder) {
    sw_map_put(&repository->folders, key_of(&model), folder);
}

void unload_model(struct sw_repository *repository, struct sw_model *model) {
    SW_AUTO_FREE char *folder = sw_map_remove(&repository->folders, key_of(&model));
    sw_model_unref(model);
    repository->unloads++;
    if (folder) {
        repository->options.unfetch(repository->options.fetch_arg, folder);
    }
}

/* Under the control lock: the version of a model that has ended and is still UNLOADING because of it; NULL: none. */
static struct version *find_left(const struct entry *entry, const struct sw_model *model, int64_t number) {
    struct version *version = entry ? find_version(entry, number) : NULL;
    /* Compared, not followed; no load ran since, so it is still this one. */
    if (!version || version->leaving != model) {
        return NULL;
    }
    version->leaving = NULL;
    return version->state == SW_MODEL_UNLOADING ? version : NULL;
}

/* Unloads a model of which nobody else holds a reference, and shows its version as gone. */
static void finish_unload(struct sw_repository *repository, struct sw_model *model) {
    SW_AUTO_FREE char *name = sw_xstrdup(model->name);
    int64_t number = model->version;
    unload_model(repository, model);
    struct served *old = NULL;
    pthread_mutex_lock(&repository->control);
    struct entry *entry = sw_map_get(&repository->entries, sw_str_of(name));
    struct version *version = find_left(entry, model, number), *gone = NULL;
    if (version && entry->managed && !version->wanted) {
        remove_version(entry, version);
        gone = version;
    } else if (version) {
        set_unavailable(version, version->evicted ? EVICTED_REASON : "unloaded");
    }
    if (version) {
        old = publish(entry);
    }
    pthread_mutex_unlock(&repository->control);
    retire_served(old);
    if (gone) {
        version_destroy(gone);
    }
}

struct sw_model *take_out(struct version *version) {
    struct sw_model *model = version->model;
    if (model) {
        version->model = NULL;
        version->leaving = model;
        version->state = SW_MODEL_UNLOADING;
        version->reason[0] = '\0';
    }
    return model;
}

void let_go(struct sw_repository *repository, struct sw_model *model) {
    if (model && drop_reference(model)) {
        finish_unload(repository, model);
    }
}

void loader_drain_retired(struct sw_repository *repository) {
    struct sw_model *model = atomic_exchange_explicit(&repository->retired, NULL, memory_order_acquire);
    if (!model) {
        return;
    }
    while (model) {
        struct sw_model *next = model->retired_next;
        finish_unload(repository, model);
        model = next;
    }
    sw_memory_trim();
}

/* ---- load ---- */

static const struct scanned_version *find_scanned(const struct scan *scan, int64_t number) {
    for (size_t i = 0; i < scan->count; i++) {
        if (scan->items[i].number == number) {
            return &scan->items[i];
        }
    }
    return NULL;
}

/* Under the control lock: takes versions that are no longer on disk out of the entry. Their structs go to gone[]. */
static size_t remove_vanished(struct entry *entry, const struct scan *scan, struct version **gone) {
    size_t kept = 0, removed = 0;
    for (size_t i = 0; i < entry->version_count; i++) {
        struct version *v = entry->versions[i];
        if (find_scanned(scan, v->number)) {
            entry->versions[kept++] = v;
        } else {
            gone[removed++] = v;
        }
    }
    entry->version_count = kept;
    return removed;
}

/* Under the control lock: new versions in, paths renewed, what does not serve yet becomes LOADING. */
static void adopt_scanned(struct entry *entry, const struct scan *scan) {
    for (size_t i = 0; i < scan->count; i++) {
        const struct scanned_version *s = &scan->items[i];
        struct version *v = find_version(entry, s->number);
        if (v) {
            sw_free(v->path);
            v->path = sw_xstrdup(s->path);
        } else {
            v = add_version(entry, s->number, sw_xstrdup(s->path));
        }
        if (v->state != SW_MODEL_READY) {
            v->state = SW_MODEL_LOADING;
            v->reason[0] = '\0';
        }
    }
}

/* Makes the entry's list of versions that of the scan. */
static void merge_scan(struct sw_repository *repository, struct entry *entry, const struct scan *scan) {
    SW_AUTO_FREE struct version **gone = sw_xcalloc(entry->version_count, sizeof *gone);
    pthread_mutex_lock(&repository->control);
    size_t removed = remove_vanished(entry, scan, gone);
    adopt_scanned(entry, scan);
    struct served *old = publish(entry);
    pthread_mutex_unlock(&repository->control);
    retire_served(old);
    for (size_t i = 0; i < removed; i++) {
        let_go(repository, take_out(gone[i]));
        version_destroy(gone[i]);
    }
}

/* A version could not be loaded: one that serves goes on serving; the reason is shown either way. */
static void note_failure(struct sw_repository *repository, struct entry *entry, struct version *version,
                         const struct sw_error *why) {
    char reason[SW_ERROR_MESSAGE_MAX];
    pthread_mutex_lock(&repository->control);
    bool serving = version->state == SW_MODEL_READY;
    int n = snprintf(reason, sizeof reason, "%s%s", serving ? "still serving the old one, its reload failed: " : "",
                     why->message);
    SW_ASSERT(n >= 0);
    struct served *old = set_state(entry, version, serving ? SW_MODEL_READY : SW_MODEL_UNAVAILABLE, version->model,
                                   reason);
    pthread_mutex_unlock(&repository->control);
    retire_served(old);
}

static sw_status load_version(struct sw_repository *repository, struct entry *entry, struct version *version,
                              struct sw_error *err) {
    struct sw_model *model = NULL, *before;
    sw_status status = atomic_load(&repository->stopping)
                           ? sw_fail(err, SW_E_UNAVAILABLE, "the server is shutting down")
                           : sw_model_load(version->path, entry->name, version->number, &repository->options.model,
                                           &model, err);
    if (status) {
        note_failure(repository, entry, version, err);
        return status;
    }
    if (repository->options.on_ready) {
        repository->options.on_ready(repository->options.on_ready_arg, model);
    }
    pthread_mutex_lock(&repository->control);
    before = version->model;
    struct served *old = set_state(entry, version, SW_MODEL_READY, model, "");
    pthread_mutex_unlock(&repository->control);
    retire_served(old);
    let_go(repository, before);
    return SW_OK;
}

/* The scan, refused when the bundle has changed its name meanwhile. */
static sw_status rescan(struct sw_repository *repository, const struct entry *entry, struct scan *ret,
                        struct sw_error *err) {
    SW_TRY(scan_path(&repository->options.model, entry->path, ret, err));
    if (strcmp(ret->name, entry->name) != 0) {
        sw_status status = sw_fail(err, SW_E_CONFLICT, "%s: was added as '%s' and calls itself '%s' now", entry->path,
                                   entry->name, ret->name);
        scan_deinit(ret);
        return status;
    }
    return SW_OK;
}

/* Loads every version, those after a broken one too; the first failure is the outcome. */
static sw_status run_load(struct sw_repository *repository, struct entry *entry, struct sw_error *err) {
    struct scan scan;
    sw_status status = rescan(repository, entry, &scan, err);
    if (status) {
        for (size_t i = 0; i < entry->version_count; i++) {
            note_failure(repository, entry, entry->versions[i], err);
        }
        return status;
    }
    merge_scan(repository, entry, &scan);
    scan_deinit(&scan);
    for (size_t i = 0; i < entry->version_count; i++) {
        struct sw_error why = {0};
        if (load_version(repository, entry, entry->versions[i], &why) && !status) {
            status = why.code;
            *err = why;
            if (entry->version_count > 1) {
                sw_error_prefix(err, "version %lld", (long long)entry->versions[i]->number);
            }
        }
    }
    return status;
}

/* ---- unload ---- */

/* Takes every version out of service. The outcome does not wait for requests that still run: their versions stay
 * UNLOADING until the last of them has ended. */
static void run_unload(struct sw_repository *repository, struct entry *entry) {
    SW_AUTO_FREE struct sw_model **models = sw_xcalloc(entry->version_count, sizeof(struct sw_model *));
    pthread_mutex_lock(&repository->control);
    for (size_t i = 0; i < entry->version_count; i++) {
        models[i] = take_out(entry->versions[i]);
    }
    struct served *old = publish(entry);
    pthread_mutex_unlock(&repository->control);
    retire_served(old);
    for (size_t i = 0; i < entry->version_count; i++) {
        let_go(repository, models[i]);
    }
}

/* ---- the thread ---- */

/* What a job for a deleted model gives: it is as gone as it was to be, or cannot be loaded. */
static sw_status refuse_gone(const struct job *job, struct sw_error *err) {
    return job->kind == JOB_FOLLOW ? SW_OK : sw_fail(err, SW_E_NOT_FOUND, "model '%s' was deleted", job->entry->name);
}

static sw_status do_job(struct sw_repository *repository, const struct job *job, struct sw_error *err) {
    struct entry *entry = job->entry;
    if (atomic_load(&repository->stopping)) {
        return sw_fail(err, SW_E_UNAVAILABLE, "the server is shutting down");
    }
    if (!entry) {
        return SW_OK;
    }
    if (entry->gone) {
        return refuse_gone(job, err);
    }
    sw_status status = SW_OK;
    uint64_t changes = repository->loads + repository->unloads;
    if (job->kind == JOB_UNLOAD) {
        run_unload(repository, entry);
    } else {
        status = entry->managed ? run_follow(repository, entry, err) : run_load(repository, entry, err);
        pthread_mutex_lock(&repository->control);
        entry->settled = true;
        pthread_mutex_unlock(&repository->control);
    }
    if (!entry->managed || repository->loads + repository->unloads != changes) {
        sw_memory_trim(); /* what loading itself used, and the model replaced */
    }
    return status;
}

static void run_job(struct sw_repository *repository, struct job *job) {
    struct sw_error err = {0};
    /* Passed through once: whoever queued the job marks its entry under this lock. */
    pthread_mutex_lock(&repository->control);
    pthread_mutex_unlock(&repository->control);
    sw_status status = do_job(repository, job, &err);
    if (job->done) {
        job->done(job->arg, status, &err);
    }
    pthread_mutex_lock(&repository->control);
    bool last = job->entry && --job->entry->jobs == 0 && job->entry->gone;
    pthread_mutex_unlock(&repository->control);
    if (last) {
        entry_destroy(job->entry);
    }
    sw_free(job);
}

void *loader_run(void *arg) {
    struct sw_repository *repository = arg;
    bool yielding = false;
    void *item;
    while ((item = sw_queue_pop(repository->jobs))) {
        if (!yielding && atomic_load(&repository->yielding)) {
            yielding = true;
            sw_thread_set_nice(19);
        }
        if (item == &repository->wake) {
            /* Before the list is read: a release after this queues the address again. An exchange, not a store, so that
             * what a releaser that saw `true` put on the list is visible here. */
            (void)atomic_exchange(&repository->wake_queued, false);
        } else {
            run_job(repository, item);
        }
        loader_look_after_managed(repository);
        loader_drain_retired(repository);
    }
    return NULL;
}
