/* The repository: known models under one lock for control, one atomic snapshot for requests. See repository.h. */
#include "rollout/repository.h"

#include <dirent.h>
#include <errno.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/thread.h"
#include "rollout/repository_internal.h"

enum { LOADER_NICE = 10 };

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
    repository->next_expiry_ns = UINT64_MAX;
    atomic_init(&repository->tick, 1);
    pthread_mutex_init(&repository->control, NULL);
    sw_map_init(&repository->entries);
    sw_map_init(&repository->folders);
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

struct sw_clock *clock_of(const struct sw_repository *repository) {
    return repository->options.clock ? repository->options.clock : sw_clock_system();
}

static void end_entry(struct sw_repository *repository, struct entry *entry) {
    for (size_t i = 0; i < entry->version_count; i++) {
        struct sw_model *model = entry->versions[i]->model;
        entry->versions[i]->model = NULL;
        if (model) {
            SW_ASSERT(atomic_load(&model->references) == 1); /* no request is running */
            unload_model(repository, model);
        }
    }
    entry_destroy(entry);
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
        end_entry(repository, e->value);
    }
    sw_map_deinit(&repository->entries);
    sw_map_deinit(&repository->folders);
    sw_queue_destroy(repository->jobs);
    pthread_mutex_destroy(&repository->control);
    sw_free(repository);
}

/* ---- the request path ---- */

void wake_loader(struct sw_repository *repository) {
    if (!atomic_exchange(&repository->wake_queued, true)) {
        /* There is room, submit leaves it. Refused only when closed: then nothing needs to be done any more, or the
         * destroyer does it. */
        (void)sw_queue_push(repository->jobs, &repository->wake);
    }
}

sw_status sw_repository_acquire(struct sw_repository *repository, struct sw_str name, struct sw_str version,
                                struct sw_model **ret, struct sw_error *err) {
    bool asked = false;
    uint64_t tick = atomic_load_explicit(&repository->tick, memory_order_relaxed);
    sw_epoch_enter();
    sw_status status = snapshot_acquire(atomic_load(&repository->snapshot), tick, name, version, ret, &asked, err);
    sw_epoch_leave();
    if (SW_UNLIKELY(asked)) {
        atomic_store(&repository->asked, true);
        wake_loader(repository);
    }
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
    wake_loader(repository);
}

/* ---- known models ---- */

/* Takes the entry over: known from now on, or, when another has its name, destroyed. */
static sw_status add_entry(struct sw_repository *repository, struct entry *entry, const char **ret_name,
                           struct sw_error *err) {
    pthread_mutex_lock(&repository->control);
    const struct entry *other = sw_map_get(&repository->entries, sw_str_of(entry->name));
    struct snapshot *old = NULL;
    sw_status status = SW_OK;
    if (other) {
        status = sw_fail(err, SW_E_CONFLICT, "two models are called '%s': %s and %s", entry->name,
                         other->managed ? "the registry's" : other->path, entry->path);
    } else {
        atomic_store(&entry->served, served_create(entry));
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
    struct entry *entry = entry_create(scan.name, path);
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
    SW_AUTO_FREE char *own = sw_xstrndup(name.data, name.len);
    struct entry *entry = entry_create(own, path);
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

/* ---- looking ---- */

/* What requests without a version get: 0: none. */
static int64_t live_number(const struct entry *entry) {
    if (entry->managed) {
        return entry->managed->live;
    }
    for (size_t i = entry->version_count; i > 0; i--) {
        if (entry->versions[i - 1]->model) {
            return entry->versions[i - 1]->number;
        }
    }
    return 0;
}

static void each_version(const struct entry *entry, void (*fn)(void *arg, const struct sw_repository_row *row),
                         void *arg) {
    int64_t live = live_number(entry);
    for (size_t i = 0; i < entry->version_count; i++) {
        const struct version *v = entry->versions[i];
        struct sw_repository_row row = {
            .name = entry->name,
            .version = v->number,
            .state = v->state,
            .reason = v->reason,
            .model = v->model,
            .live = v->number == live,
            .managed = entry->managed != NULL,
            .bytes = v->bytes,
        };
        fn(arg, &row);
    }
}

void sw_repository_each(struct sw_repository *repository, void (*fn)(void *arg, const struct sw_repository_row *row),
                        void *arg) {
    pthread_mutex_lock(&repository->control);
    const struct sw_map_entry *e;
    for (size_t i = 0; (e = sw_map_next(&repository->entries, &i));) {
        each_version(e->value, fn, arg);
    }
    pthread_mutex_unlock(&repository->control);
}

uint64_t sw_repository_tick(struct sw_repository *repository) {
    uint64_t now = sw_now_ns(clock_of(repository));
    atomic_fetch_add_explicit(&repository->tick, 1, memory_order_relaxed);
    pthread_mutex_lock(&repository->control);
    bool due = repository->next_expiry_ns <= now;
    if (due) {
        repository->next_expiry_ns = UINT64_MAX; /* the loader sets it anew */
    }
    uint64_t next = repository->next_expiry_ns;
    pthread_mutex_unlock(&repository->control);
    if (due) {
        atomic_store(&repository->expired, true);
        wake_loader(repository);
    }
    return next;
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
        ready = !entry->wanted || entry->settled || entry->managed;
    }
    pthread_mutex_unlock(&repository->control);
    return ready;
}
