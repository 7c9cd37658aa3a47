/* The models being served: names, versions, their states, and the routing snapshot.
 *
 * Requests read an immutable snapshot through one atomic load (base/thread.h, epochs). Load and unload are jobs of one
 * loader thread (nice 10 for the first loads, then 19), which builds a model, publishes a new snapshot, waits until no reader holds the old one and
 * drops its references. The last unref of a model may happen on a request's thread; the model is then handed back to
 * the loader thread to be unloaded there, so that no request pays for it. */
#ifndef SW_ROLLOUT_REPOSITORY_H
#define SW_ROLLOUT_REPOSITORY_H

#include "pipeline/model.h"

struct sw_repository;

enum sw_model_state { SW_MODEL_UNAVAILABLE, SW_MODEL_LOADING, SW_MODEL_READY, SW_MODEL_UNLOADING };
const char *sw_model_state_name(enum sw_model_state state); /* "READY" */

struct sw_repository_options {
    struct sw_model_options model;
    void (*on_ready)(void *arg, struct sw_model *model); /* loader thread, before it is published; may be NULL */
    void *on_ready_arg;
};

SW_MUST_CHECK sw_status sw_repository_create(const struct sw_repository_options *options, struct sw_repository **ret,
                                             struct sw_error *err);
void sw_repository_destroy(struct sw_repository *repository); /* no request is running */

/* Makes a model known without loading it: a bundle folder, a model file, a folder that holds one model file, or a
 * folder of numbered version folders (name/1, name/2, ...), each like one of these. *ret_name (borrowed, lives as long
 * as the repository) may be NULL. SW_E_CONFLICT, naming both paths, when the name is taken. */
SW_MUST_CHECK sw_status sw_repository_add(struct sw_repository *repository, const char *path, const char **ret_name,
                                          struct sw_error *err);
/* Adds every sub-folder and model file of a directory, hidden ones left out; one that cannot be read is known by its
 * file name as UNAVAILABLE with its reason. SW_E_CONFLICT when two share a name: the first in order of path stays and
 * the rest is added. */
SW_MUST_CHECK sw_status sw_repository_add_directory(struct sw_repository *repository, const char *dir,
                                                    struct sw_error *err);

/* Load (or load anew: the new one is published before the old one goes) every version of a known model / unload it.
 * `done` is called once, on the loader thread, with the outcome. A refused submit (unknown name, queue full) returns an
 * error and does not call it; a job that destroy finds still waiting ends with SW_E_UNAVAILABLE.
 *
 * A load reads the model's folder again: new versions join, versions whose folder went are unloaded. It tries every
 * version and fails with the reason of the first that could not be loaded; the others serve all the same, and a
 * version that served before goes on doing so with its reason saying that the reload failed. An unload ends when no new
 * request can reach the model; without requests in flight its memory is back by then, else the versions stay UNLOADING
 * until the last of them has ended. Unloading what is not loaded succeeds. */
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

/* The request path. `version`: empty (the highest ready), a number, or an alias (none yet). Takes a reference.
 * SW_E_NOT_FOUND: unknown model or version; SW_E_UNAVAILABLE: known but not ready, with the reason. */
SW_MUST_CHECK sw_status sw_repository_acquire(struct sw_repository *repository, struct sw_str name,
                                              struct sw_str version, struct sw_model **ret, struct sw_error *err);
void sw_repository_release(struct sw_repository *repository, struct sw_model *model);

/* Every known model version, for index and metrics: calls fn for each, by model as added and ascending version, under
 * the control lock (not the request path). fn must not call the repository. */
struct sw_repository_row {
    const char *name;
    int64_t version;
    enum sw_model_state state;
    const char *reason;           /* "" when none */
    const struct sw_model *model; /* NULL unless READY; valid during the call */
};
void sw_repository_each(struct sw_repository *repository, void (*fn)(void *arg, const struct sw_repository_row *row),
                        void *arg);

/* From the next job on the loader has the lowest priority (nice 19), so that a thread that wakes for a request takes the
 * core from it at once; loads take longer on a busy machine. Called when the first loads are over: until then there is
 * nobody to yield to. (SCHED_IDLE would yield more, but a loader that waits for a core while it holds one of malloc's
 * locks would then hold up requests for long.) */
void sw_repository_yield_to_requests(struct sw_repository *repository);

/* True when the first load of every model asked for has ended, well or not: the server then answers for each of them as
 * well as it can. One model that does not load must not take the others out of traffic; who needs a certain model asks
 * for that model's readiness. */
bool sw_repository_ready(struct sw_repository *repository);

#endif
