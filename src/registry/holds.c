/* Holds; see holds.h. */
#include "registry/holds.h"

#include "base/hash.h"

static sw_status take(struct sw_tx *tx, const struct sw_hold *hold, const char *kind, const char *owner,
                      struct sw_error *err) {
    return sw_tx_exec(tx, "INSERT INTO holds (id, kind, owner, started_ms, expires_ms) VALUES ($1, $2, $3, $4, $5)",
                      SW_PARAMS(sw_v_text(hold->id), sw_v_text(kind), sw_v_text(owner),
                                sw_v_int((int64_t)hold->started_ms), sw_v_int((int64_t)hold->started_ms + SW_HOLD_MS)),
                      NULL, err);
}

static sw_status end(struct sw_tx *tx, sw_status status, struct sw_error *err) {
    if (status) {
        sw_tx_rollback(tx);
        return status;
    }
    return sw_tx_commit(tx, err);
}

sw_status sw_hold_take(struct sw_store *store, struct sw_clock *clock, const char *kind, const char *owner,
                       struct sw_hold *ret, struct sw_error *err) {
    struct sw_hold hold = {.store = store, .clock = clock, .started_ms = clock->wall_ms(clock)};
    hold.renewed_ms = hold.started_ms;
    sw_random_id(hold.id);
    struct sw_tx *tx;
    SW_TRY(sw_store_begin(store, SW_TX_WRITE, &tx, err));
    SW_TRY(end(tx, take(tx, &hold, kind, owner, err), err));
    *ret = hold;
    return SW_OK;
}

sw_status sw_hold_renew(struct sw_hold *hold, struct sw_error *err) {
    uint64_t now = hold->clock->wall_ms(hold->clock);
    if (now < hold->renewed_ms + SW_HOLD_MS / 4) {
        return SW_OK;
    }
    struct sw_tx *tx;
    int64_t changed = 0;
    SW_TRY(sw_store_begin(hold->store, SW_TX_WRITE, &tx, err));
    sw_status status = sw_tx_exec(
        tx, "UPDATE holds SET expires_ms = $2 WHERE id = $1 AND expires_ms > $3",
        SW_PARAMS(sw_v_text(hold->id), sw_v_int((int64_t)now + SW_HOLD_MS), sw_v_int((int64_t)now)), &changed, err);
    if (!status && changed == 0) {
        status = sw_fail(err, SW_E_CONFLICT, "the hold on the registry's files has run out: what was read may be gone");
    }
    SW_TRY(end(tx, status, err));
    hold->renewed_ms = now;
    return SW_OK;
}

sw_status sw_hold_drop(struct sw_hold *hold, struct sw_error *err) {
    struct sw_tx *tx;
    SW_TRY(sw_store_begin(hold->store, SW_TX_WRITE, &tx, err));
    return end(tx, sw_tx_exec(tx, "DELETE FROM holds WHERE id = $1", SW_PARAMS(sw_v_text(hold->id)), NULL, err), err);
}

sw_status sw_holds_check(struct sw_tx *tx, uint64_t now_ms, struct sw_error *err) {
    struct sw_arena arena;
    struct sw_rows rows;
    sw_arena_init(&arena, 1 << 20, 0);
    sw_status status = sw_tx_query(tx, "SELECT kind, owner FROM holds WHERE expires_ms > $1 ORDER BY id LIMIT 1",
                                   SW_PARAMS(sw_v_int((int64_t)now_ms)), &arena, &rows, err);
    if (!status && rows.count) {
        status = sw_fail(err, SW_E_CONFLICT, "a %s is running (%s): nothing is removed meanwhile; try again later",
                         sw_rows_text(&rows, 0, 0), sw_rows_text(&rows, 0, 1));
    }
    sw_arena_deinit(&arena);
    return status;
}
