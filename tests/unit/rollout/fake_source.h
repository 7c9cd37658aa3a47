/* A registry of a few models in memory, as the source of the sync thread: wishes as in managed.h, each change a
 * revision. */
#ifndef SW_TESTS_ROLLOUT_FAKE_SOURCE_H
#define SW_TESTS_ROLLOUT_FAKE_SOURCE_H

#include "rollout/serving.h"

struct sw_serving_source fake_source(void);
void fake_source_reset(void);
void fake_source_change(const char *name, const char *wish); /* "deleted" as well */
/* An older state is restored: only the first `models` are there, and the next change is this revision. */
void fake_source_go_back(size_t models, int64_t next_revision);
void fake_source_fail(sw_status status); /* SW_OK: no more */
size_t fake_source_looks(void);

#endif
