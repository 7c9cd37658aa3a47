/* What the tests of managed models share: a repository over the fakes with a clock that is turned by hand, wishes of
 * the registry written as text, and assertions about what requests get.
 *
 * A wish is words in any order: "live=2" "previous=1", versions "3", pinned "3!", with bytes "3!/100", with a digest
 * "3#abc", and aliases "champion:2". The one word "deleted" deletes. The live version is added, pinned, when it is not
 * there. */
#ifndef SW_TESTS_ROLLOUT_MANAGED_H
#define SW_TESTS_ROLLOUT_MANAGED_H

#include "base/clock.h"
#include "fake_models.h"
#include "registry/registry.h"
#include "rollout/repository.h"

extern struct sw_repository *managed_repository;
extern struct sw_clock managed_clock;

void managed_create(uint64_t keep_previous_ms, uint64_t memory_max);
void managed_destroy(void); /* everything that was loaded is unloaded, everything fetched given back */

/* Makes "registry/MODEL/VERSION" with a model file that says `text`. */
void managed_files(const char *model, int64_t version, const char *text);

/* In the arena. */
struct sw_served_model managed_parse(const char *model, const char *wish, struct sw_arena *arena);
/* Follows the wish and waits for the outcome. err may be NULL. */
sw_status managed_follow(const char *model, const char *wish, struct sw_error *err);
/* The same, for SW_OK. */
void managed_want(const char *model, const char *wish);
/* The same without waiting; the repository takes it. */
void managed_begin(const char *model, const char *wish);
/* Until the loader has done all it was given so far. */
void managed_settle(void);

/* A model that the test gives back. */
struct sw_model *managed_acquire(const char *model, const char *version);
void managed_release(struct sw_model *model);
/* Which version requests get; negative: the status, negated. *err (may be NULL) is set then. */
int64_t managed_version_of(const char *model, const char *version, struct sw_error *err);
void managed_assert_version(const char *model, const char *version, int64_t expected);
void managed_assert_refused(const char *model, const char *version, sw_status status, const char *message);
/* Rows as "m/1 READY live\n", with the reason behind. */
void managed_assert_index(const char *expected);
/* Bytes of all versions that are READY. */
uint64_t managed_loaded_bytes(void);

#endif
