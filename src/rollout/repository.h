/* The models being served: names, versions, their states, and the routing snapshot.
 *
 * Requests read immutable snapshots through atomic loads (base/thread.h, epochs). Load and unload are jobs of one
 * loader thread (nice 10 for the first loads, then 19), which builds a model, publishes a new snapshot, waits until
 * no reader holds the old one and drops its references. The last unref of a model may happen on a request's thread;
 * the model is then handed back to the loader thread to be unloaded there, so that no request pays for it.
 *
 * A model is one of two kinds. One from a file or folder (sw_repository_add) has the versions that its folder has, is
 * loaded and unloaded on demand and known as long as the repository lives. A managed one (sw_repository_follow) has
 * what the registry says: versions, which of them is live, aliases; it goes when the registry deletes it. */
#ifndef SW_ROLLOUT_REPOSITORY_H
#define SW_ROLLOUT_REPOSITORY_H

#include "pipeline/model.h"

struct sw_repository;
struct sw_served_model; /* registry/registry.h */

enum sw_model_state { SW_MODEL_UNAVAILABLE, SW_MODEL_LOADING, SW_MODEL_READY, SW_MODEL_UNLOADING };
const char *sw_model_state_name(enum sw_model_state state); /* "READY" */

struct sw_repository_options {
    struct sw_model_options model;
    void (*on_ready)(void *arg, struct sw_model *model); /* loader thread, before it is published; may be NULL */
    void *on_ready_arg;

    /* Managed models. `fetch` makes the files of a version, verified, appear in a folder of its own (*ret_path on the
     * heap), `unfetch` is called once for each such folder when its model is unloaded. Loader thread. */
    sw_status (*fetch)(void *arg, const char *model, int64_t version, char **ret_path, struct sw_error *err);
    void (*unfetch)(void *arg, const char *path);
    void *fetch_arg;
    uint64_t keep_previous_ms; /* what was live stays loaded this long after it was replaced; 0: not */
    uint64_t memory_max;       /* most bytes (of files) of loaded managed versions; 0: no limit */
    struct sw_clock *clock;    /* for keep_previous_ms; NULL: the system's */
};

SW_MUST_CHECK sw_status sw_repository_create(const struct sw_repository_options *options, struct sw_repository **ret,
                                             struct sw_error *err);
void sw_repository_destroy(struct sw_repository *repository); /* no request is running */

/* Makes a model known without loading it: a bundle folder, a model file, a folder that holds one model file, or a
 * folder of numbered version folders (name/1, name/2, ...), each like one of these. *ret_name (borrowed, lives as long
 * as the repository) may be NULL. SW_E_CONFLICT, naming both paths, when the name is taken (names from the command line
 * win over the registry's: add them first). */
SW_MUST_CHECK sw_status sw_repository_add(struct sw_repository *repository, const char *path, const char **ret_name,
                                          struct sw_error *err);
/* Adds every sub-folder and model file of a directory, hidden ones left out; one that cannot be read is known by its
 * file name as UNAVAILABLE with its reason. SW_E_CONFLICT when two share a name: the first in order of path stays and
 * the rest is added. */
SW_MUST_CHECK sw_status sw_repository_add_directory(struct sw_repository *repository, const char *dir,
                                                    struct sw_error *err);

/* A model from a file or folder that stands in until the registry has a live version of its name: then it gives way,
 * without a moment in which neither is there. Not loaded by this; readiness waits until it has been (sw_repository_load)
 * or the registry's has taken its place. When the registry deletes the model later, what stood in does not come back. */
SW_MUST_CHECK sw_status sw_repository_add_stand_in(struct sw_repository *repository, const char *path,
                                                   const char **ret_name, struct sw_error *err);
/* Is this a model that the registry has? false for names that are not known, too. */
bool sw_repository_is_managed(struct sw_repository *repository, struct sw_str name);

/* ---- load and unload, by hand ----
 *
 * Load (or load anew: the new one is published before the old one goes) every version of a known model / unload it.
 * `done` is called once, on the loader thread, with the outcome. A refused submit (unknown name, queue full) returns an
 * error and does not call it; a job that destroy finds still waiting ends with SW_E_UNAVAILABLE.
 *
 * A load reads the model's folder again: new versions join, versions whose folder went are unloaded. It tries every
 * version and fails with the reason of the first that could not be loaded; the others serve all the same, and a
 * version that served before goes on doing so with its reason saying that the reload failed. An unload ends when no new
 * request can reach the model; without requests in flight its memory is back by then, else the versions stay UNLOADING
 * until the last of them has ended. Unloading what is not loaded succeeds.
 *
 * Of a managed model, load means: try again now to have what the registry wants; unload is SW_E_CONFLICT. */
typedef void sw_repository_done(void *arg, sw_status status, const struct sw_error *err);
SW_MUST_CHECK sw_status sw_repository_load(struct sw_repository *repository, struct sw_str name,
                                           sw_repository_done *done, void *arg, struct sw_error *err);
SW_MUST_CHECK sw_status sw_repository_unload(struct sw_repository *repository, struct sw_str name,
                                             sw_repository_done *done, void *arg, struct sw_error *err);
/* The same, waiting. Not on the loader thread. */
SW_MUST_CHECK sw_status sw_repository_load_wait(struct sw_repository *repository, struct sw_str name,
                                                struct sw_error *err);
SW_MUST_CHECK sw_status sw_repository_unload_wait(struct sw_repository *repository, struct sw_str name,
                                                  struct sw_error *err);

/* ---- following the registry (follow.c, evict.c) ----
 *
 * From now on the model shall be as `wanted` (copied; its live version is among its versions) says. The outcome comes
 * when it is so, or why it is not:
 *
 *   - missing pinned versions are loaded, the live one first, each to be had by its number from then on; then the live
 *     version and all aliases change together, in one publication; then what is no longer wanted goes. When nothing
 *     needs to be loaded for the pointers (a rollback to a version that is still warm) they change before this returns.
 *   - the version that was live stays loaded for keep_previous_ms, as long as it is the last one that was live or
 *     wanted->previous.
 *   - a wanted live version that cannot be loaded: the old one stays live, with a reason that says so, and an alias
 *     that was to move from the old one to the new one stays too. Another alias whose version is not loaded: 503 with
 *     the reason.
 *   - wanted->deleted: the model is unloaded and no longer known.
 *   - wanted versions that are not pinned are loaded last, and only where memory_max leaves room; else when they are
 *     asked for.
 *
 * A newer call takes the place of one that still waits; both get the outcome of the newer one. SW_E_CONFLICT: the
 * name is served from a file or folder (deleting such a name does nothing and succeeds); SW_E_TOO_MANY_REQUESTS: the
 * loader's queue is full.
 *
 * memory_max: before a load, versions that are not pinned go, least recently used first, then warm ones. When that is
 * not enough nothing goes and the load fails. A version that went is loaded again when a request asks for it (that
 * request gets SW_E_UNAVAILABLE). Versions that requests still use after they went are not counted. */
SW_MUST_CHECK sw_status sw_repository_follow(struct sw_repository *repository, const struct sw_served_model *wanted,
                                             sw_repository_done *done, void *arg, struct sw_error *err);

/* To be called about once a second by the thread that follows the registry: advances the coarse time by which "least
 * recently used" is measured, and lets warm versions go whose time is over. Gives the time (of options.clock) at which
 * the next one is due; UINT64_MAX: none is warm. */
uint64_t sw_repository_tick(struct sw_repository *repository);

/* ---- requests ----
 *
 * `version`: empty, a number, or an alias. Empty means the live version of a managed model, the highest that is ready
 * of another. Takes a reference. No lock, no allocation, no wait. SW_E_NOT_FOUND: unknown model, version or alias;
 * SW_E_UNAVAILABLE: known but not ready, or no version is live, with the reason. */
SW_MUST_CHECK sw_status sw_repository_acquire(struct sw_repository *repository, struct sw_str name,
                                              struct sw_str version, struct sw_model **ret, struct sw_error *err);
void sw_repository_release(struct sw_repository *repository, struct sw_model *model);

/* Every known model version, for index and metrics: calls fn for each, by model as added and ascending version, under
 * the control lock (not the request path). fn must not call the repository. The texts are valid during the call (the
 * name of a model that is not managed: as long as the repository). */
struct sw_repository_row {
    const char *name;
    int64_t version;
    enum sw_model_state state;
    const char *reason;           /* "" when none */
    const struct sw_model *model; /* NULL unless READY; valid during the call */
    bool live;                    /* what requests without a version get */
    bool managed;                 /* from the registry */
    uint64_t bytes;               /* of its files; 0 when not managed */
};
void sw_repository_each(struct sw_repository *repository, void (*fn)(void *arg, const struct sw_repository_row *row),
                        void *arg);

/* From the next job on the loader has the lowest priority (nice 19), so that a thread that wakes for a request takes
 * the core from it at once; loads take longer on a busy machine. Called when the first loads are over: until then
 * there is nobody to yield to. (SCHED_IDLE would yield more, but a loader that waits for a core while it holds one of
 * malloc's locks would then hold up requests for long.) */
void sw_repository_yield_to_requests(struct sw_repository *repository);

/* True when the first load of every model from a file or folder that was asked for has ended, well or not: the server
 * then answers for each of them as well as it can. One model that does not load must not take the others out of
 * traffic; who needs a certain model asks for that model's readiness. Managed models do not count, so that one that
 * is new does not either: sw_serving_ready says whether those of the start have been loaded. */
bool sw_repository_ready(struct sw_repository *repository);

#endif
