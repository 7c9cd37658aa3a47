/* What the files of the repository share: entries, the snapshot, the scan of a model's folder.
 *
 *   repository.c  public functions; entries and their lock; the request path
 *   loader.c      the loader thread: load, unload, models whose last reference went
 *   snapshot.c    the immutable table that requests read
 *   scan.c        which versions a path holds */
#ifndef SW_ROLLOUT_REPOSITORY_INTERNAL_H
#define SW_ROLLOUT_REPOSITORY_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/map.h"
#include "base/queue.h"
#include "rollout/repository.h"

/* A version of a model. Written under the control lock; `path` and the list itself only by the loader thread. */
struct version {
    int64_t number;
    char *path; /* bundle folder or model file */
    enum sw_model_state state;
    char reason[SW_ERROR_MESSAGE_MAX];
    struct sw_model *model;         /* the repository's reference; not NULL exactly when READY */
    const struct sw_model *leaving; /* while UNLOADING: the model that requests still use; only compared */
};

/* A known model. Lives as long as the repository. */
struct entry {
    char *name;
    char *path;                /* as added */
    bool wanted;               /* the newest request for it was a load */
    bool settled;              /* a load of it has ended, well or not */
    struct version **versions; /* ascending */
    size_t version_count;
};

struct snapshot;

struct sw_repository {
    struct sw_repository_options options;
    pthread_mutex_t control; /* entries, versions, publishing. Rank: above the lock of `jobs` */
    struct sw_map entries;
    _Atomic(struct snapshot *) snapshot;

    struct sw_queue *jobs; /* struct job, or &wake */
    pthread_t loader;
    atomic_bool yielding; /* the loader is to give way to requests */
    atomic_bool stopping;
    atomic_bool wake_queued;
    char wake;                          /* its address in `jobs` means: look at `retired` */
    _Atomic(struct sw_model *) retired; /* stack, through retired_next; one reference each */
};

/* ---- repository.c ---- */

/* Builds and swaps in a new snapshot; under the control lock. The old one goes to retire_snapshot after unlocking. */
struct snapshot *swap_snapshot(struct sw_repository *repository) SW_MUST_CHECK;
/* Waits until no reader can see it any more and frees it. */
void retire_snapshot(struct snapshot *snapshot);
/* Inserts a version in order; under the control lock. Takes path over. */
struct version *add_version(struct entry *entry, int64_t number, char *path);
void version_destroy(struct version *version);
/* Drops one reference but never unloads: true when it was the last, which the caller now holds. */
bool drop_reference(struct sw_model *model);

/* ---- loader.c ---- */

enum job_kind { JOB_LOAD, JOB_UNLOAD };
struct job {
    enum job_kind kind;
    struct entry *entry;
    sw_repository_done *done;
    void *arg;
};
void *loader_run(void *repository);
/* Unloads what is on the retired list; loader thread, or the destroyer after it ended. */
void loader_drain_retired(struct sw_repository *repository);

/* ---- snapshot.c ---- */

struct snapshot *snapshot_create(const struct sw_map *entries);
void snapshot_destroy(struct snapshot *snapshot);
/* Finds and references a model; no lock, no allocation. Inside an epoch. */
sw_status snapshot_acquire(const struct snapshot *snapshot, struct sw_str name, struct sw_str version,
                           struct sw_model **ret, struct sw_error *err);

/* ---- scan.c ---- */

enum { VERSIONS_MAX = 1024 };
struct scanned_version {
    int64_t number;
    char *path;
    bool broken; /* its bundle cannot be read, for this reason */
    struct sw_error reason;
};
struct scan {
    char *name;
    struct scanned_version *items; /* ascending, at least one */
    size_t count;
};
/* Reads which versions `path` holds and what the model is called. Fails when not a single one can be read, or when
 * bundles disagree on the name. */
SW_MUST_CHECK sw_status scan_path(const struct sw_model_options *options, const char *path, struct scan *ret,
                                  struct sw_error *err);
void scan_deinit(struct scan *scan);
bool scan_accepts(const struct sw_model_options *options, struct sw_str path);

#endif
