/* Models that are files with one word in them, in place of the pipeline below the repository.
 *
 * The text of a model file decides: "ok" loads, anything else fails to load with that text as the reason. Loading can
 * be held at a gate, so that tests see the states in between. Every load and unload is counted, and unloading on any
 * thread but the loader's is counted apart. */
#ifndef SW_TESTS_ROLLOUT_FAKE_MODELS_H
#define SW_TESTS_ROLLOUT_FAKE_MODELS_H

#include <stdbool.h>
#include <stddef.h>

#include "pipeline/model.h"

struct fake_counts {
    size_t started;  /* loads begun */
    int64_t version; /* of the last one begun */
    size_t loaded, unloaded;
    size_t unloaded_elsewhere; /* not on the thread called sw-loader */
    size_t fetched, unfetched; /* folders of managed versions */
};

extern struct sw_model_options fake_options;

void fake_reset(void);
struct fake_counts fake_counts(void);
void fake_close_gate(void);
void fake_open_gate(void);
void fake_let_through(size_t count);  /* so many loads, those waiting first, though the gate is closed */
void fake_wait_started(size_t count); /* until that many loads have begun */
void fake_wait_unloaded(size_t count);

/* For sw_repository_options: the folder "registry/MODEL/VERSION" of the test, which it makes with folder_write.
 * Fetching fails with SW_E_NOT_FOUND when it is not there, and with `status` while fake_fail_fetch has set one
 * (SW_OK: no more). */
sw_status fake_fetch(void *arg, const char *model, int64_t version, char **ret_path, struct sw_error *err);
void fake_unfetch(void *arg, const char *path);
void fake_fail_fetch(sw_status status);

/* A folder under /tmp, and files in it. Paths are "folder/name", folders between are made. */
void folder_create(void);
void folder_destroy(void);                 /* every folder that was fetched is back */
const char *folder_path(const char *name); /* valid until the 8th next call */
void folder_write(const char *name, const char *text);
void folder_remove(const char *name); /* with what is in it */

#endif
