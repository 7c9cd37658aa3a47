/* The repository: known models under one lock for control, one atomic snapshot for requests. See repository.h. */
#include "rollout/repository.h"

#include <dirent.h>
#include <errno.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/thread.h"
#include "rollout/repository_internal.h"

enum { JOBS_MAX = 4096, LOADER_NICE = 10 };

const char *sw_model_state_name(enum sw_model_state state) {
    static const char *const names[] = {"UNAVAILABLE", "LOADING", "READY", "UNLOADING"};
    SW_ASSERT((size_t)state < SW_COUNTOF(names));
    return names[state];
}

/* ---- life ---- */

sw_status sw_repository_create(const struct sw_repository_options *options, struct sw_repository **ret,
                               struct sw_error *err) {
    struct sw_repository *repository = SW_NEW(struct sw_repository);
    repository->options = *options;
    pthread_mutex_init(&repository->control, NULL);
    sw_map_init(&repository->entries);
    atomic_store(&repository->snapshot, snapshot_create(&repository->entries));
    repository->jobs = sw_queue_create(JOBS_MAX + 1); /* and a place for &wake */
    sw_status status = sw_thread_start(&repository->loader, "sw-loader", LOADER_NICE, loader_run, repository, err);
    if (status) {
        snapshot_destroy(atomic_load(&repository->snapshot));
        sw_queue_destroy(repository->jobs);
        pthread_mutex_destroy(&repository->control);
        sw_free(repository);
        return status;
    }
    *ret = repository;
    return SW_OK;
}

void version_destroy(struct version *version) {
    sw_free(version->path);
    sw_free(version);
}

static void entry_destroy(struct entry *entry) {
    for (size_t i = 0; i < entry->version_count; i++) {
        struct sw_model *model = entry->versions[i]->model;
        if (model) {
            SW_ASSERT(atomic_load(&model->references) == 1); /* no request is running */
            sw_model_unref(model);
        }
        version_destroy(entry->versions[i]);
    }
    sw_free(entry->versions);
    sw_free(entry->name);
    sw_free(entry->path);
    sw_free(entry);
}

void sw_repository_destroy(struct sw_repository *repository) {
    if (!repository) {
        return;
    }
    atomic_store(&repository->stopping, true);
    sw_queue_close(repository->jobs); /* jobs still queued are answered: shutting down */
    int rc = pthread_join(repository->loader, NULL);
    SW_ASSERT(rc == 0);
    loader_drain_retired(repository);
    snapshot_destroy(atomic_load(&repository->snapshot));
    const struct sw_map_entry *e;
    for (size_t i = 0; (e = sw_map_next(&repository->entries, &i));) {
        entry_destroy(e->value);
    }
    sw_map_deinit(&repository->entries);
    sw_queue_destroy(repository->jobs);
    pthread_mutex_destroy(&repository->control);
    sw_free(repository);
}

/* ---- the snapshot ---- */

struct snapshot *swap_snapshot(struct sw_repository *repository) {
    /* Sequentially consistent, as the load in acquire: together with the epoch's own it makes sure that a reader either
     * sees the new snapshot or is seen by sw_epoch_wait. */
    return atomic_exchange(&repository->snapshot, snapshot_create(&repository->entries));
}

void retire_snapshot(struct snapshot *snapshot) {
    if (snapshot) {
        sw_epoch_wait();
        snapshot_destroy(snapshot);
    }
}

sw_status sw_repository_acquire(struct sw_repository *repository, struct sw_str name, struct sw_str version,
                                struct sw_model **ret, struct sw_error *err) {
    sw_epoch_enter();
    sw_status status = snapshot_acquire(atomic_load(&repository->snapshot), name, version, ret, err);
    sw_epoch_leave();
    return status;
}

bool drop_reference(struct sw_model *model) {
    if (atomic_fetch_sub_explicit(&model->references, 1, memory_order_acq_rel) != 1) {
        return false;
    }
    /* Nobody else can reach the model: the reference is taken back, for sw_model_unref to drop where unloading may
     * take its time. */
    atomic_store_explicit(&model->references, 1, memory_order_relaxed);
    return true;
}

void sw_repository_release(struct sw_repository *repository, struct sw_model *model) {
    if (SW_LIKELY(!drop_reference(model))) {
        return;
    }
    struct sw_model *head = atomic_load_explicit(&repository->retired, memory_order_relaxed);
    do {
        model->retired_next = head;
    } while (!atomic_compare_exchange_weak_explicit(&repository->retired, &head, model, memory_order_release,
                                                    memory_order_relaxed));
    if (!atomic_exchange(&repository->wake_queued, true)) {
        /* There is room, submit leaves it. Refused only when closed: then the destroyer unloads. */
        (void)sw_queue_push(repository->jobs, &repository->wake);
    }
}

/* ---- known models ---- */

struct version *add_version(struct entry *entry, int64_t number, char *path) {
    struct version *version = SW_NEW(struct version);
    version->number = number;
    version->path = path;
    entry->versions = sw_xrealloc(entry->versions, (entry->version_count + 1) * sizeof *entry->versions);
    size_t at = entry->version_count++;
    for (; at > 0 && entry->versions[at - 1]->number > number; at--) {
        entry->versions[at] = entry->versions[at - 1];
    }
    entry->versions[at] = version;
    return version;
}

static void set_unavailable(struct version *version, const char *reason) {
    version->state = SW_MODEL_UNAVAILABLE;
    snprintf(version->reason, sizeof version->reason, "%s", reason);
}

/* Takes the entry over: known from now on, or, when another has its name, destroyed. */
static sw_status add_entry(struct sw_repository *repository, struct entry *entry, const char **ret_name,
                           struct sw_error *err) {
    pthread_mutex_lock(&repository->control);
    const struct entry *other = sw_map_get(&repository->entries, sw_str_of(entry->name));
    struct snapshot *old = NULL;
    sw_status status = SW_OK;
    if (other) {
        status = sw_fail(err, SW_E_CONFLICT, "two models are called '%s': %s and %s", entry->name, other->path,
                         entry->path);
    } else {
        sw_map_put(&repository->entries, sw_str_of(entry->name), entry);
        old = swap_snapshot(repository);
    }
    pthread_mutex_unlock(&repository->control);
    retire_snapshot(old);
    if (status) {
        entry_destroy(entry);
    } else if (ret_name) {
        *ret_name = entry->name;
    }
    return status;
}

sw_status sw_repository_add(struct sw_repository *repository, const char *path, const char **ret_name,
                            struct sw_error *err) {
    struct scan scan;
    SW_TRY(scan_path(&repository->options.model, path, &scan, err));
    struct entry *entry = SW_NEW(struct entry);
    entry->name = sw_xstrdup(scan.name);
    entry->path = sw_xstrdup(path);
    for (size_t i = 0; i < scan.count; i++) {
        const struct scanned_version *s = &scan.items[i];
        set_unavailable(add_version(entry, s->number, sw_xstrdup(s->path)),
                        s->broken ? s->reason.message : "not loaded");
    }
    scan_deinit(&scan);
    return add_entry(repository, entry, ret_name, err);
}

/* Makes a path that cannot be read known by its file name, so that the index shows it and a later load can mend it. */
static sw_status add_broken(struct sw_repository *repository, const char *path, const struct sw_error *why,
                            struct sw_error *err) {
    struct sw_str name = sw_path_base(sw_str_of(path));
    const char *ending = sw_path_is_dir(path) ? NULL : memrchr(name.data, '.', name.len);
    name.len = ending && ending > name.data ? (size_t)(ending - name.data) : name.len;
    struct entry *entry = SW_NEW(struct entry);
    entry->name = sw_xstrndup(name.data, name.len);
    entry->path = sw_xstrdup(path);
    set_unavailable(add_version(entry, 1, sw_xstrdup(path)), why->message);
    return add_entry(repository, entry, NULL, err);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What add_directory looks at in dir, sorted, as paths on the heap. */
static sw_status list_directory(const struct sw_repository *repository, const char *dir, char ***ret, size_t *ret_count,
                                struct sw_error *err) {
    DIR *d = opendir(dir);
    if (!d) {
        return sw_fail(err, errno == ENOENT || errno == ENOTDIR ? SW_E_NOT_FOUND : SW_E_IO, "%s: %s", dir,
                       strerror(errno));
    }
    char **paths = NULL;
    size_t count = 0;
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.') {
            continue;
        }
        char *path = sw_path_join(dir, e->d_name);
        if (sw_path_is_dir(path) || scan_accepts(&repository->options.model, sw_str_of(e->d_name))) {
            paths = sw_xrealloc(paths, (count + 1) * sizeof *paths);
            paths[count++] = path;
        } else {
            sw_free(path);
        }
    }
    closedir(d);
    if (count) {
        qsort(paths, count, sizeof *paths, by_name);
    }
    *ret = paths;
    *ret_count = count;
    return SW_OK;
}

sw_status sw_repository_add_directory(struct sw_repository *repository, const char *dir, struct sw_error *err) {
    char **paths = NULL;
    size_t count = 0;
    SW_TRY(list_directory(repository, dir, &paths, &count, err));
    sw_status first = SW_OK;
    for (size_t i = 0; i < count; i++) {
        struct sw_error why = {0};
        sw_status status = sw_repository_add(repository, paths[i], NULL, &why);
        if (status && status != SW_E_CONFLICT) {
            struct sw_error reason = why;
            status = add_broken(repository, paths[i], &reason, &why);
        }
        if (status && !first) {
            first = sw_fail(err, status, "%s", why.message);
        }
        sw_free(paths[i]);
    }
    sw_free(paths);
    return first;
}

/* ---- jobs ---- */

static sw_status submit(struct sw_repository *repository, enum job_kind kind, struct sw_str name,
                        sw_repository_done *done, void *arg, struct sw_error *err) {
    struct job *job = sw_malloc(sizeof *job);
    if (!job) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
    }
    pthread_mutex_lock(&repository->control);
    struct entry *entry = sw_map_get(&repository->entries, name);
    *job = (struct job){kind, entry, done, arg};
    /* The lock is held over the push, so that the loader cannot finish the job before it is marked. */
    bool queued = entry && sw_queue_len(repository->jobs) < JOBS_MAX && sw_queue_push(repository->jobs, job);
    if (queued) {
        entry->wanted = kind == JOB_LOAD;
        for (size_t i = 0; i < entry->version_count && kind == JOB_LOAD; i++) {
            if (entry->versions[i]->state == SW_MODEL_UNAVAILABLE) {
                entry->versions[i]->state = SW_MODEL_LOADING;
                entry->versions[i]->reason[0] = '\0';
            }
        }
    }
    pthread_mutex_unlock(&repository->control);
    if (queued) {
        return SW_OK;
    }
    sw_free(job);
    return entry ? sw_fail(err, SW_E_TOO_MANY_REQUESTS, "%d loads and unloads wait already", JOBS_MAX)
                 : sw_fail(err, SW_E_NOT_FOUND, "model '" SW_STR_FMT "' is not known", SW_STR_ARG(name));
}

sw_status sw_repository_load(struct sw_repository *repository, struct sw_str name, sw_repository_done *done, void *arg,
                             struct sw_error *err) {
    return submit(repository, JOB_LOAD, name, done, arg, err);
}

sw_status sw_repository_unload(struct sw_repository *repository, struct sw_str name, sw_repository_done *done,
                               void *arg, struct sw_error *err) {
    return submit(repository, JOB_UNLOAD, name, done, arg, err);
}

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t done_changed;
    bool done;
    sw_status status;
    struct sw_error *err;
};

static void wake_waiter(void *arg, sw_status status, const struct sw_error *err) {
    struct waiter *waiter = arg;
    pthread_mutex_lock(&waiter->lock);
    waiter->done = true;
    waiter->status = status;
    if (status && waiter->err) {
        *waiter->err = *err;
    }
    pthread_cond_signal(&waiter->done_changed); /* inside: the waiter's stack is gone once the lock is free */
    pthread_mutex_unlock(&waiter->lock);
}

static sw_status submit_wait(struct sw_repository *repository, enum job_kind kind, struct sw_str name,
                             struct sw_error *err) {
    SW_ASSERT(!pthread_equal(pthread_self(), repository->loader));
    struct waiter waiter = {.lock = PTHREAD_MUTEX_INITIALIZER, .done_changed = PTHREAD_COND_INITIALIZER, .err = err};
    SW_TRY(submit(repository, kind, name, wake_waiter, &waiter, err));
    pthread_mutex_lock(&waiter.lock);
    while (!waiter.done) {
        pthread_cond_wait(&waiter.done_changed, &waiter.lock);
    }
    pthread_mutex_unlock(&waiter.lock);
    pthread_cond_destroy(&waiter.done_changed);
    pthread_mutex_destroy(&waiter.lock);
    return waiter.status;
}

sw_status sw_repository_load_wait(struct sw_repository *repository, struct sw_str name, struct sw_error *err) {
    return submit_wait(repository, JOB_LOAD, name, err);
}

sw_status sw_repository_unload_wait(struct sw_repository *repository, struct sw_str name, struct sw_error *err) {
    return submit_wait(repository, JOB_UNLOAD, name, err);
}

/* ---- looking ---- */

void sw_repository_each(struct sw_repository *repository, void (*fn)(void *arg, const struct sw_repository_row *row),
                        void *arg) {
    pthread_mutex_lock(&repository->control);
    const struct sw_map_entry *e;
    for (size_t i = 0; (e = sw_map_next(&repository->entries, &i));) {
        const struct entry *entry = e->value;
        for (size_t j = 0; j < entry->version_count; j++) {
            const struct version *v = entry->versions[j];
            struct sw_repository_row row = {entry->name, v->number, v->state, v->reason, v->model};
            fn(arg, &row);
        }
    }
    pthread_mutex_unlock(&repository->control);
}

void sw_repository_yield_to_requests(struct sw_repository *repository) {
    atomic_store(&repository->yielding, true);
}

bool sw_repository_ready(struct sw_repository *repository) {
    bool ready = true;
    pthread_mutex_lock(&repository->control);
    const struct sw_map_entry *e;
    for (size_t i = 0; ready && (e = sw_map_next(&repository->entries, &i));) {
        const struct entry *entry = e->value;
        ready = !entry->wanted || entry->settled;
    }
    pthread_mutex_unlock(&repository->control);
    return ready;
}
