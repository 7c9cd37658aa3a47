/* Public functions that give the loader work. Each takes the control lock over marking and queueing, so that the loader
 * cannot finish a job before it is marked. A job counts in its entry, which a deleted model outlives only for that. */
#include "base/memory.h"
#include "rollout/repository_internal.h"

static sw_status queue_full(struct sw_error *err) {
    return sw_fail(err, SW_E_TOO_MANY_REQUESTS, "%d loads and unloads wait already", JOBS_MAX);
}

static struct job *job_create(enum job_kind kind, sw_repository_done *done, void *arg, struct sw_error *err) {
    struct job *job = sw_malloc(sizeof *job);
    if (!job) {
        sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
        return NULL;
    }
    *job = (struct job){.kind = kind, .done = done, .arg = arg};
    return job;
}

/* Under the control lock. entry NULL: a job that is only answered. false: the queue is full. */
static bool push(struct sw_repository *repository, struct job *job, struct entry *entry) {
    job->entry = entry;
    if (sw_queue_len(repository->jobs) >= JOBS_MAX || !sw_queue_push(repository->jobs, job)) {
        return false;
    }
    if (entry) {
        entry->jobs++;
        entry->wanted = job->kind != JOB_UNLOAD;
    }
    return true;
}

/* ---- by hand ---- */

static void mark_loading(struct entry *entry) {
    for (size_t i = 0; i < entry->version_count && !entry->managed; i++) {
        if (entry->versions[i]->state == SW_MODEL_UNAVAILABLE) {
            entry->versions[i]->state = SW_MODEL_LOADING;
            entry->versions[i]->reason[0] = '\0';
        }
    }
}

/* Under the control lock. */
static sw_status submit_locked(struct sw_repository *repository, struct job *job, struct sw_str name,
                               struct sw_error *err) {
    struct entry *entry = sw_map_get(&repository->entries, name);
    if (!entry) {
        return sw_fail(err, SW_E_NOT_FOUND, "model '" SW_STR_FMT "' is not known", SW_STR_ARG(name));
    }
    if (entry->managed && job->kind == JOB_UNLOAD) {
        return sw_fail(err, SW_E_CONFLICT,
                       "model '%s' comes from the registry, which decides what is loaded: change its alias or its "
                       "version policy",
                       entry->name);
    }
    if (!push(repository, job, entry)) {
        return queue_full(err);
    }
    if (job->kind == JOB_LOAD) {
        mark_loading(entry);
    }
    return SW_OK;
}

static sw_status submit(struct sw_repository *repository, enum job_kind kind, struct sw_str name,
                        sw_repository_done *done, void *arg, struct sw_error *err) {
    struct job *job = job_create(kind, done, arg, err);
    if (!job) {
        return SW_E_UNAVAILABLE;
    }
    pthread_mutex_lock(&repository->control);
    sw_status status = submit_locked(repository, job, name, err);
    pthread_mutex_unlock(&repository->control);
    if (status) {
        sw_free(job);
    }
    return status;
}

sw_status sw_repository_load(struct sw_repository *repository, struct sw_str name, sw_repository_done *done, void *arg,
                             struct sw_error *err) {
    return submit(repository, JOB_LOAD, name, done, arg, err);
}

sw_status sw_repository_unload(struct sw_repository *repository, struct sw_str name, sw_repository_done *done,
                               void *arg, struct sw_error *err) {
    return submit(repository, JOB_UNLOAD, name, done, arg, err);
}

/* ---- following the registry ---- */

/* Known from now on, with what the goal wants as LOADING; nobody else has seen the entry yet. */
static struct entry *new_managed(const char *name, const struct goal *goal) {
    struct entry *entry = entry_create(name, NULL);
    adopt_goal(entry, goal);
    atomic_store(&entry->served, served_create(entry));
    return entry;
}

/* What a follow replaces in what requests read, to be retired without the lock. */
struct replaced {
    struct snapshot *snapshot;
    struct served *served;
};

/* Under the control lock. Takes the goal over when it succeeds. */
static sw_status follow_locked(struct sw_repository *repository, struct job *job, const char *name, struct goal *goal,
                               struct replaced *ret, struct sw_error *err) {
    struct entry *entry = sw_map_get(&repository->entries, sw_str_of(name));
    bool replaces = entry && is_stand_in(entry) && !goal->deleted && goal->live;
    if (entry && !entry->managed && !entry->stands_in && !goal->deleted) {
        return sw_fail(err, SW_E_CONFLICT, "model '%s' is served from %s, which wins over the registry's", name,
                       entry->path);
    }
    if (entry && replaces && entry->jobs) {
        return sw_fail(err, SW_E_UNAVAILABLE, "model '%s': what stands in for it is being loaded", name);
    }
    /* Nothing of the registry's is here under this name, or nothing that would take the place of what stands in. */
    bool nothing = (goal->deleted && (!entry || !entry->managed)) || (is_stand_in(entry) && !replaces);
    bool added = !nothing && !entry;
    struct entry *target = nothing ? NULL : added ? new_managed(name, goal) : entry;
    if (!push(repository, job, target)) {
        if (added) {
            entry_destroy(target);
        }
        return queue_full(err);
    }
    if (nothing) {
        goal_destroy(goal);
        return SW_OK;
    }
    if (replaces) {
        become_managed(target);
    }
    if (added) {
        sw_map_put(&repository->entries, sw_str_of(name), target);
        ret->snapshot = swap_snapshot(repository);
    }
    ret->served = point_at_once(repository, target, goal);
    goal_destroy(target->managed->next);
    target->managed->next = goal;
    return SW_OK;
}

static sw_status check_wanted(const struct sw_served_model *wanted, struct sw_error *err) {
    bool found = wanted->live == 0 || wanted->deleted;
    for (size_t i = 0; i < wanted->version_count; i++) {
        found = found || wanted->versions[i].number == wanted->live;
        if (wanted->versions[i].number <= 0) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "model '%s': %lld is no version number", wanted->name,
                           (long long)wanted->versions[i].number);
        }
    }
    return found ? SW_OK
                 : sw_fail(err, SW_E_INVALID_ARGUMENT, "model '%s': version %lld is to be live and not to be loaded",
                           wanted->name, (long long)wanted->live);
}

sw_status sw_repository_follow(struct sw_repository *repository, const struct sw_served_model *wanted,
                               sw_repository_done *done, void *arg, struct sw_error *err) {
    SW_ASSERT(repository->options.fetch && repository->options.unfetch);
    SW_TRY(check_wanted(wanted, err));
    struct job *job = job_create(JOB_FOLLOW, done, arg, err);
    if (!job) {
        return SW_E_UNAVAILABLE;
    }
    struct goal *goal = goal_create(wanted);
    struct replaced old = {NULL, NULL};
    pthread_mutex_lock(&repository->control);
    sw_status status = follow_locked(repository, job, wanted->name, goal, &old, err);
    pthread_mutex_unlock(&repository->control);
    retire_snapshot(old.snapshot);
    retire_served(old.served);
    if (status) {
        goal_destroy(goal);
        sw_free(job);
    }
    return status;
}

/* ---- waiting ---- */

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
