/* The table `predictions` over time: making room ahead, removing what is too old.
 *
 * PostgreSQL keeps a partition a day (UTC; predictions_20261121) and a default one for rows that no day fits; an old
 * day goes as a whole. SQLite has one table and deletes through the index on time, in bites, so that other writers get
 * their turn. Meant for a maintenance thread; each function makes its own transactions. */
#ifndef SW_STORE_PARTITIONS_H
#define SW_STORE_PARTITIONS_H

#include "store/store.h"

struct sw_partition {
    char name[32];
    int64_t from_ms, until_ms; /* rows with from_ms <= time_ms < until_ms */
};

/* Makes the partitions for the day of now_ms and the `days` after it that are missing. Rows of these days that the
 * default partition has taken meanwhile move over. *ret_made may be NULL; always 0 with SQLite. */
SW_MUST_CHECK sw_status sw_partitions_ensure(struct sw_store *store, uint64_t now_ms, unsigned days, unsigned *ret_made,
                                             struct sw_error *err);

/* Removes the predictions older than before_ms: days that lie wholly before it are dropped, *ret_dropped of them; of
 * the rest the rows are deleted, *ret_deleted of them. Both may be NULL. */
SW_MUST_CHECK sw_status sw_partitions_expire(struct sw_store *store, uint64_t before_ms, unsigned *ret_dropped,
                                             int64_t *ret_deleted, struct sw_error *err);

/* The partitions of days, oldest first, in the arena; none with SQLite. */
SW_MUST_CHECK sw_status sw_partitions_list(struct sw_store *store, struct sw_arena *arena, struct sw_partition **ret,
                                           size_t *ret_count, struct sw_error *err);

#endif
