/* Holds: while one is there, gc removes no blob. Taken by a backup before it looks at anything, renewed while it
 * copies. */
#ifndef SW_REGISTRY_HOLDS_H
#define SW_REGISTRY_HOLDS_H

#include "store/store.h"

enum { SW_HOLD_MS = 60 * 60 * 1000, SW_HOLD_ID = 32 };

struct sw_hold {
    struct sw_store *store;
    struct sw_clock *clock;
    char id[SW_HOLD_ID + 1];
    uint64_t started_ms, renewed_ms;
};

/* kind: "backup"; owner: who, for people ("host:pid"). */
SW_MUST_CHECK sw_status sw_hold_take(struct sw_store *store, struct sw_clock *clock, const char *kind,
                                     const char *owner, struct sw_hold *ret, struct sw_error *err);
/* Makes it last another SW_HOLD_MS when a quarter of that has passed; cheap otherwise. SW_E_CONFLICT: it has run out
 * meanwhile, so that gc may have removed something. */
SW_MUST_CHECK sw_status sw_hold_renew(struct sw_hold *hold, struct sw_error *err);
SW_MUST_CHECK sw_status sw_hold_drop(struct sw_hold *hold, struct sw_error *err);

/* Within a transaction: SW_E_CONFLICT, naming kind and owner, while somebody holds. */
SW_MUST_CHECK sw_status sw_holds_check(struct sw_tx *tx, uint64_t now_ms, struct sw_error *err);

#endif
