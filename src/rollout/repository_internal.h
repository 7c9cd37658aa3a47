/* What the files of the repository share: entries, what requests read, the scan of a model's folder.
 *
 *   repository.c  public functions for the request path and for looking; the life of the repository
 *   entry.c       known models and their versions
 *   jobs.c        public functions that give the loader work
 *   loader.c      the loader thread: load and unload by hand, models whose last reference went
 *   follow.c      managed models: making one as the registry wants it
 *   stand_in.c    models from files that give way to the registry's
 *   evict.c       managed models: the memory limit, warm versions whose time is over, loading on demand
 *   snapshot.c    the immutable tables that requests read
 *   scan.c        which versions a path holds
 *
 * What requests read: snapshot (names) -> entry -> served (versions, live, aliases). A model changes by publishing a
 * new `served`, a name comes or goes with a new snapshot; whoever replaces one frees it after sw_epoch_wait.
 *
 *   snapshot --> slots --> entry "digits" --atomic--> served { versions, live, aliases }
 *                          entry "iris"   --atomic--> served { ... } */
#ifndef SW_ROLLOUT_REPOSITORY_INTERNAL_H
#define SW_ROLLOUT_REPOSITORY_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/map.h"
#include "base/queue.h"
#include "registry/registry.h"
#include "rollout/repository.h"

/* What requests leave behind on a managed version. Relaxed: hints for the loader, nothing is published through them. */
struct usage {
    _Atomic uint64_t used_tick;  /* when a request got it last */
    _Atomic uint64_t asked_tick; /* when one asked for it in vain; 0: none since it went */
    atomic_bool asked;           /* one did, and the loader has not looked yet */
};

/* A version of a model. Written under the control lock; `path` and the list itself only by the loader thread. */
struct version {
    int64_t number;
    char *path; /* bundle folder or model file; NULL: managed */
    enum sw_model_state state;
    char reason[SW_ERROR_MESSAGE_MAX];
    struct sw_model *model;         /* the repository's reference; not NULL exactly when READY */
    const struct sw_model *leaving; /* while UNLOADING: the model that requests still use; only compared */

    /* Managed. */
    bool wanted;            /* the registry wants it loaded; false: it only stays for a while */
    bool pinned;            /* not unloaded for memory */
    bool golden_waived;     /* loaded although its golden answers are wrong: it was forced */
    bool evicted;           /* not loaded because of memory_max: a request brings it back */
    bool attempt_failed;    /* and the last try to bring it back failed, for `reason` */
    bool stand_in;          /* loaded from a file, before the registry wanted the name */
    bool stale;             /* loaded, but the registry has other files under this number now */
    uint64_t bytes;         /* of its files */
    char *digest;           /* of the files that are loaded, or are to be; NULL: not known */
    uint64_t warm_until_ns; /* was live, and stays loaded until then; 0: not */
    uint64_t attempt;       /* the run of run_follow that tried to load it last. Loader thread */
    uint64_t load_order;    /* counts loads: the older of two that were used in the same tick goes first */
    struct usage usage;
};

struct alias {
    char *name;
    int64_t version;
};

/* What the registry wants: a copy of struct sw_served_model on the heap, immutable. */
struct goal {
    bool deleted;
    int64_t live, previous;
    struct sw_served_version *versions; /* ascending; their digests are owned */
    size_t version_count;
    struct alias *aliases; /* by name */
    size_t alias_count;
};

/* What a managed model has besides. Under the control lock. */
struct managed {
    struct goal *goal;     /* what the loader works towards; only the loader replaces it */
    struct goal *next;     /* newer, not yet taken up; NULL: none */
    int64_t live;          /* as published; 0: none */
    struct alias *aliases; /* as published, by name */
    size_t alias_count;
};

struct served;

/* A known model. Lives until it is deleted (managed) or the repository ends, and no job names it any more. */
struct entry {
    char *name;
    char *path;                /* as added; NULL: managed */
    bool stands_in;            /* until the registry wants the name */
    bool wanted;               /* the newest request for it was a load */
    bool settled;              /* a load of it has ended, well or not */
    bool gone;                 /* deleted: not in the map any more, freed with its last job */
    size_t jobs;               /* that name it */
    struct version **versions; /* ascending */
    size_t version_count;
    struct managed *managed; /* NULL: from a file or folder */
    _Atomic(struct served *) served;
};

struct snapshot;

struct sw_repository {
    struct sw_repository_options options;
    pthread_mutex_t control; /* entries, versions, publishing. Rank: above the lock of `jobs` */
    struct sw_map entries;
    _Atomic(struct snapshot *) snapshot;
    uint64_t next_expiry_ns; /* earliest warm_until_ns; UINT64_MAX: none. Under the control lock */

    struct sw_queue *jobs; /* struct job, or &wake */
    pthread_t loader;
    atomic_bool yielding; /* the loader is to give way to requests */
    atomic_bool stopping;
    atomic_bool wake_queued;
    char wake;                          /* its address in `jobs` means: look at what follows */
    _Atomic(struct sw_model *) retired; /* stack, through retired_next; one reference each */
    atomic_bool asked;                  /* a version's usage.asked is set */
    atomic_bool expired;                /* the time of a warm version is over */
    _Atomic uint64_t tick;              /* coarse time; at least 1 */

    /* Loader thread. */
    struct sw_map folders; /* address of a managed model -> its fetched folder */
    uint64_t runs;         /* of run_follow */
    uint64_t loads;        /* of managed versions */
    uint64_t unloads;
};

/* ---- repository.c ---- */

/* Makes the loader look at the retired list and the flags beside it. Any thread; neither blocks nor allocates. */
void wake_loader(struct sw_repository *repository);
/* Drops one reference but never unloads: true when it was the last, which the caller now holds. */
bool drop_reference(struct sw_model *model);
struct sw_clock *clock_of(const struct sw_repository *repository);

/* ---- entry.c ---- */

/* Both strings are copied. path NULL: managed. */
struct entry *entry_create(const char *name, const char *path);
void entry_destroy(struct entry *entry); /* no version has a model */
/* Inserts a version in order; under the control lock. Takes path over. */
struct version *add_version(struct entry *entry, int64_t number, char *path);
/* NULL: none. */
struct version *find_version(const struct entry *entry, int64_t number);
/* Takes it out of the list, for version_destroy once no snapshot has it; under the control lock. */
void remove_version(struct entry *entry, const struct version *version);
void version_destroy(struct version *version);
void set_unavailable(struct version *version, const char *reason);

struct goal *goal_create(const struct sw_served_model *wanted);
void goal_destroy(struct goal *goal); /* NULL is allowed */
void aliases_destroy(struct alias *aliases, size_t count);

/* ---- jobs.c ---- */

enum { JOBS_MAX = 4096 };
enum job_kind { JOB_LOAD, JOB_UNLOAD, JOB_FOLLOW };
struct job {
    enum job_kind kind;
    struct entry *entry; /* NULL: nothing to do but to answer */
    sw_repository_done *done;
    void *arg;
};

/* ---- loader.c ---- */

void *loader_run(void *repository);
/* Unloads what is on the retired list; loader thread, or the destroyer after it ended. */
void loader_drain_retired(struct sw_repository *repository);
/* Remembers the fetched folder (on the heap, taken over) that goes with a model. */
void note_folder(struct sw_repository *repository, struct sw_model *model, char *folder);
/* Ends a model whose last reference the caller holds, and its folder. */
void unload_model(struct sw_repository *repository, struct sw_model *model);
/* Under the control lock: takes its model out of service, for let_go after publishing. NULL: it had none. */
struct sw_model *take_out(struct version *version) SW_MUST_CHECK;
/* Gives up the repository's reference of a model that no snapshot holds any more. NULL is allowed. May remove versions
 * that are UNLOADING and no longer wanted. */
void let_go(struct sw_repository *repository, struct sw_model *model);

/* ---- follow.c: loader thread, but for the first two ---- */

/* Under the control lock: versions of the goal in, with what it says of them; what must be loaded becomes LOADING. */
void adopt_goal(struct entry *entry, const struct goal *goal);
/* Under the control lock: when the goal's pointers need no load, they change now: publishes, and gives what to
 * retire. */
struct served *point_at_once(struct sw_repository *repository, struct entry *entry,
                             const struct goal *goal) SW_MUST_CHECK;
SW_MUST_CHECK sw_status run_follow(struct sw_repository *repository, struct entry *entry, struct sw_error *err);
/* Loads one version; the outcome stands in its state, not yet published. */
SW_MUST_CHECK sw_status load_managed(struct sw_repository *repository, struct entry *entry, struct version *version,
                                     bool may_evict, struct sw_error *err);
/* Unloads versions that are neither wanted nor live nor aliased nor warm, unless there is a newer goal. */
void release_unwanted(struct sw_repository *repository, struct entry *entry);
/* Under the control lock: is it live, or has it an alias, as published? */
bool is_pointed_to(const struct entry *entry, int64_t number);

/* ---- evict.c: loader thread ---- */

#define EVICTED_REASON "unloaded to save memory; it is loaded again when it is asked for"

/* Is there room for that many bytes, or could there be by unloading others? SW_E_UNAVAILABLE with the numbers. */
SW_MUST_CHECK sw_status check_room(struct sw_repository *repository, uint64_t bytes, bool may_evict,
                                   struct sw_error *err);
/* Unloads others until there is. */
SW_MUST_CHECK sw_status make_room(struct sw_repository *repository, uint64_t bytes, bool may_evict,
                                  struct sw_error *err);
/* Loads what requests asked for; lets warm versions go whose time is over. */
void loader_look_after_managed(struct sw_repository *repository);

/* ---- stand_in.c: under the control lock ---- */

bool is_stand_in(const struct entry *entry); /* and still is one; entry may be NULL */
/* A stand-in whose only job is the follow just pushed: managed from now on; what it serves stays live. */
void become_managed(struct entry *entry);

/* ---- snapshot.c ---- */

struct snapshot *snapshot_create(const struct sw_map *entries);
void snapshot_destroy(struct snapshot *snapshot);
struct served *served_create(const struct entry *entry);
void served_destroy(struct served *served);
/* Under the control lock: builds and swaps in the new table of names. The old one is to be retired after unlocking. */
struct snapshot *swap_snapshot(struct sw_repository *repository) SW_MUST_CHECK;
/* The same for what one entry shows. */
struct served *publish(struct entry *entry) SW_MUST_CHECK;
/* Wait until no reader can see it any more and free it. NULL is allowed. Not under the control lock. */
void retire_snapshot(struct snapshot *snapshot);
void retire_served(struct served *served);
/* Finds and references a model; no lock, no allocation. Inside an epoch. *ret_asked: a request asks for an evicted
 * version, of which the loader does not know yet. */
sw_status snapshot_acquire(const struct snapshot *snapshot, uint64_t tick, struct sw_str name, struct sw_str version,
                           struct sw_model **ret, bool *ret_asked, struct sw_error *err);

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
/* What sw_bundle_load takes for a folder: itself, or the bare model file in it, on the heap. *ret_named: does a
 * bundle.yaml name the model? */
SW_MUST_CHECK sw_status scan_folder(const struct sw_model_options *options, const char *dir, char **ret,
                                    bool *ret_named, struct sw_error *err);

#endif
