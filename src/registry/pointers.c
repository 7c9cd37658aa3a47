/* Pointers of a model: aliases, stages, and what follows from them: the live version and its history.
 *
 * State. P = (champion, production): the version of alias champion or none, and the versions in Production in the
 * order they went there (versions.stage_seq). Everything else is derived:
 *
 *     live(P)  = champion, else the last of production, else none
 *     history  = rows 1, 2, 3, ... ; row live_seq is the newest; rows form a stack through `below`
 *     previous = the first row on the stack, from the newest down, whose version still exists and is not live
 *
 * Transitions, each in one write transaction, ended by sw_pointers_settle:
 *
 *     promote (promote.c)         alias and/or stage set      live changes: push (version, P) on the newest row
 *     delete alias (here)         champion perhaps gone       live stays, P changes: the newest row gets the new P
 *     rollback (rollback.c)       P := P of row T             push a row that restores T, below = T's below:
 *                                                             the next rollback goes further down, the next promotion
 *                                                             lies on it
 *     delete version (versions.c) not live, not pointed at    previous may change, nothing else
 *
 * Invariants
 *   - models.live = live(P); live(P of the newest row) = its version; no row before anything was live.
 *   - seq of a model has no gaps, and below and restores are smaller than the seq of their row.
 *   - A pointer never points to a deleted version. */
#include <inttypes.h>

#include "base/memory.h"
#include "registry/registry_internal.h"

json_t *sw_number_or_null(int64_t number) {
    return number ? json_integer(number) : json_null();
}

static json_t *number_list(const int64_t *numbers, size_t count) {
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(list, json_integer(numbers[i]));
    }
    return list;
}

json_t *sw_pointers_document(const struct sw_pointers *pointers) {
    return json_pack("{s:o, s:o, s:o}", "live", sw_number_or_null(pointers->live), "champion",
                     sw_number_or_null(pointers->champion), "production",
                     number_list(pointers->production, pointers->production_count));
}

sw_status sw_pointers_parse_list(const char *text, struct sw_arena *arena, int64_t **ret, size_t *ret_count,
                                 struct sw_error *err) {
    SW_AUTO_JSON json_t *list = NULL;
    SW_TRY(sw_registry_json(text, &list, err));
    size_t count = json_array_size(list);
    int64_t *numbers = sw_arena_calloc(arena, count ? count : 1, sizeof *numbers);
    if (!numbers) {
        return sw_registry_out_of_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        numbers[i] = json_integer_value(json_array_get(list, i));
    }
    *ret = numbers;
    *ret_count = count;
    return SW_OK;
}

/* load ------------------------------------------------------------------------------------------------------------- */

static sw_status load_production(struct sw_tx *tx, const char *model, struct sw_arena *arena, struct sw_pointers *ret,
                                 struct sw_error *err) {
    struct sw_rows rows;
    SW_TRY(sw_tx_query(tx, "SELECT version FROM versions WHERE model = $1 AND stage = 'Production' ORDER BY stage_seq",
                       SW_PARAMS(sw_v_text(model)), arena, &rows, err));
    ret->production_count = rows.count;
    ret->production = sw_arena_calloc(arena, rows.count ? rows.count : 1, sizeof *ret->production);
    if (!ret->production) {
        return sw_registry_out_of_memory(err);
    }
    for (size_t i = 0; i < rows.count; i++) {
        ret->production[i] = sw_rows_int(&rows, i, 0);
    }
    return SW_OK;
}

sw_status sw_pointers_load(struct sw_tx *tx, const char *model, struct sw_arena *arena, struct sw_pointers *ret,
                           struct sw_error *err) {
    struct sw_rows rows;
    SW_TRY(sw_tx_query(tx,
                       "SELECT m.live, m.previous, m.live_seq, m.latest, m.stage_seq, a.version FROM models m "
                       "LEFT JOIN aliases a ON a.model = m.name AND a.alias = 'champion' WHERE m.name = $1",
                       SW_PARAMS(sw_v_text(model)), arena, &rows, err));
    if (rows.count == 0) {
        return sw_registry_no_model(model, err);
    }
    *ret = (struct sw_pointers){
        .live = sw_rows_int(&rows, 0, 0),
        .previous = sw_rows_int(&rows, 0, 1),
        .live_seq = sw_rows_int(&rows, 0, 2),
        .latest = sw_rows_int(&rows, 0, 3),
        .moves_next = sw_rows_int(&rows, 0, 4) + 1,
        .champion = sw_rows_int(&rows, 0, 5),
    };
    return load_production(tx, model, arena, ret, err);
}

/* change ----------------------------------------------------------------------------------------------------------- */

sw_status sw_pointers_set_alias(struct sw_tx *tx, const char *model, const char *alias, int64_t version,
                                struct sw_error *err) {
    if (!version) {
        return sw_tx_exec(tx, "DELETE FROM aliases WHERE model = $1 AND alias = $2",
                          SW_PARAMS(sw_v_text(model), sw_v_text(alias)), NULL, err);
    }
    return sw_tx_exec(tx,
                      "INSERT INTO aliases (model, alias, version) VALUES ($1, $2, $3) "
                      "ON CONFLICT (model, alias) DO UPDATE SET version = excluded.version",
                      SW_PARAMS(sw_v_text(model), sw_v_text(alias), sw_v_int(version)), NULL, err);
}

sw_status sw_pointers_set_stage(struct sw_registry *registry, struct sw_tx *tx, const char *model, int64_t version,
                                enum sw_stage stage, struct sw_pointers *pointers, struct sw_error *err) {
    int64_t place = pointers->moves_next++;
    return sw_tx_exec(
        tx, "UPDATE versions SET stage = $3, stage_seq = $4, updated_ms = $5 WHERE model = $1 AND version = $2",
        SW_PARAMS(sw_v_text(model), sw_v_int(version), sw_v_text(sw_stage_name(stage)), sw_v_int(place),
                  sw_v_int(sw_registry_now(registry))),
        NULL, err);
}

/* history ---------------------------------------------------------------------------------------------------------- */

sw_status sw_pointers_find_previous(struct sw_tx *tx, const char *model, int64_t from, int64_t live, int64_t wanted,
                                    int64_t *ret_seq, int64_t *ret_version, struct sw_error *err) {
    SW_AUTO_ARENA struct sw_arena arena;
    sw_arena_init(&arena, 1 << 20, 64 << 10);
    while (from) {
        struct sw_rows rows;
        SW_TRY(sw_tx_query(tx,
                           "SELECT v.version, h.below FROM live_history h LEFT JOIN versions v ON v.model = h.model "
                           "AND v.version = h.version AND v.deleted_ms IS NULL WHERE h.model = $1 AND h.seq = $2",
                           SW_PARAMS(sw_v_text(model), sw_v_int(from)), &arena, &rows, err));
        if (rows.count == 0) {
            return sw_fail(err, SW_E_IO, "the database lacks row %" PRId64 " of the history of model %s", from, model);
        }
        int64_t version = sw_rows_int(&rows, 0, 0), below = sw_rows_int(&rows, 0, 1);
        if (version && version != live && (!wanted || version == wanted)) {
            *ret_seq = from;
            *ret_version = version;
            return SW_OK;
        }
        if (below >= from) {
            return sw_fail(err, SW_E_IO, "row %" PRId64 " of the history of model %s lies on a later one", from, model);
        }
        from = below;
        sw_arena_reset(&arena);
    }
    *ret_seq = *ret_version = 0;
    return SW_OK;
}

sw_status sw_pointers_refresh_previous(struct sw_tx *tx, const char *model, const struct sw_pointers *pointers,
                                       struct sw_error *err) {
    int64_t seq, previous;
    SW_TRY(sw_pointers_find_previous(tx, model, pointers->live_seq, pointers->live, 0, &seq, &previous, err));
    return sw_tx_exec(tx, "UPDATE models SET previous = $2 WHERE name = $1",
                      SW_PARAMS(sw_v_text(model), previous ? sw_v_int(previous) : sw_v_null()), NULL, err);
}

static struct sw_value number_value(int64_t number) {
    return number ? sw_v_int(number) : sw_v_null();
}

static sw_status production_text(const struct sw_pointers *pointers, struct sw_arena *arena, const char **ret,
                                 struct sw_error *err) {
    SW_AUTO_JSON json_t *list = number_list(pointers->production, pointers->production_count);
    return sw_registry_json_text(arena, list, ret, err);
}

static sw_status push_row(struct sw_registry *registry, struct sw_tx *tx, const char *model,
                          const struct sw_actor *actor, const struct sw_move *move, const struct sw_pointers *now,
                          int64_t below, struct sw_arena *arena, struct sw_error *err) {
    const char *production;
    SW_TRY(production_text(now, arena, &production, err));
    return sw_tx_exec(tx,
                      "INSERT INTO live_history (model, seq, version, champion, production, kind, actor, reason, "
                      "time_ms, below, restores) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                      SW_PARAMS(sw_v_text(model), sw_v_int(now->live_seq), number_value(now->live),
                                number_value(now->champion), sw_v_text(production), sw_v_text(move->kind),
                                sw_v_text(actor->name), sw_v_text(actor->reason), sw_v_int(sw_registry_now(registry)),
                                number_value(below), number_value(move->restores)),
                      NULL, err);
}

/* The live version stayed: the newest row gets the pointer state of now. */
static sw_status refresh_row(struct sw_tx *tx, const char *model, const struct sw_pointers *now, struct sw_arena *arena,
                             struct sw_error *err) {
    if (now->live_seq == 0) {
        return SW_OK; /* nothing was ever live */
    }
    const char *production;
    SW_TRY(production_text(now, arena, &production, err));
    return sw_tx_exec(
        tx, "UPDATE live_history SET champion = $3, production = $4 WHERE model = $1 AND seq = $2",
        SW_PARAMS(sw_v_text(model), sw_v_int(now->live_seq), number_value(now->champion), sw_v_text(production)), NULL,
        err);
}

static int64_t live_of(const struct sw_pointers *pointers) {
    if (pointers->champion || pointers->production_count == 0) {
        return pointers->champion;
    }
    return pointers->production[pointers->production_count - 1];
}

static sw_status store_pointers(struct sw_registry *registry, struct sw_tx *tx, const char *model,
                                const struct sw_pointers *now, struct sw_error *err) {
    return sw_tx_exec(tx,
                      "UPDATE models SET live = $2, previous = $3, live_seq = $4, stage_seq = $5, revision = $6, "
                      "updated_ms = $7 WHERE name = $1",
                      SW_PARAMS(sw_v_text(model), number_value(now->live), number_value(now->previous),
                                sw_v_int(now->live_seq), sw_v_int(now->moves_next - 1), sw_v_int(sw_tx_revision(tx)),
                                sw_v_int(sw_registry_now(registry))),
                      NULL, err);
}

sw_status sw_pointers_settle(struct sw_registry *registry, struct sw_tx *tx, const char *model,
                             const struct sw_actor *actor, const struct sw_move *move, const struct sw_pointers *before,
                             struct sw_arena *arena, struct sw_pointers *ret, struct sw_error *err) {
    struct sw_pointers now;
    SW_TRY(sw_pointers_load(tx, model, arena, &now, err));
    SW_ASSERT(now.live_seq == before->live_seq);
    now.moves_next = before->moves_next > now.moves_next ? before->moves_next : now.moves_next;
    now.live = live_of(&now);
    if (now.live == before->live && !move->restores) {
        SW_TRY(refresh_row(tx, model, &now, arena, err));
    } else {
        int64_t below = move->below < 0 ? before->live_seq : move->below, seq;
        now.live_seq = before->live_seq + 1;
        SW_TRY(push_row(registry, tx, model, actor, move, &now, below, arena, err));
        SW_TRY(sw_pointers_find_previous(tx, model, below, now.live, 0, &seq, &now.previous, err));
    }
    SW_TRY(store_pointers(registry, tx, model, &now, err));
    *ret = now;
    return SW_OK;
}

/* aliases ---------------------------------------------------------------------------------------------------------- */

sw_status sw_registry_list_aliases(struct sw_registry *registry, const char *model, json_t **ret,
                                   struct sw_error *err) {
    SW_TRY(sw_registry_check_name(model, err));
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    SW_AUTO_TX struct sw_tx *tx = NULL;
    SW_TRY(sw_store_begin(registry->store, SW_TX_READ, &tx, err));
    SW_TRY(sw_registry_need_model(tx, model, err));
    struct sw_rows rows;
    SW_TRY(sw_tx_query(tx, "SELECT alias, version FROM aliases WHERE model = $1 ORDER BY alias",
                       SW_PARAMS(sw_v_text(model)), &arena, &rows, err));
    json_t *list = json_array();
    for (size_t i = 0; i < rows.count; i++) {
        json_array_append_new(list, json_pack("{s:s, s:I}", "alias", sw_rows_text(&rows, i, 0), "version",
                                              (json_int_t)sw_rows_int(&rows, i, 1)));
    }
    *ret = json_pack("{s:o}", "aliases", list);
    return SW_OK;
}

static sw_status alias_version(struct sw_tx *tx, const char *model, const char *alias, int64_t *ret,
                               struct sw_error *err) {
    if (!alias || !sw_registry_alias_valid(sw_str_of(alias))) {
        SW_TRY(sw_registry_need_model(tx, model, err));
        return sw_fail(err, SW_E_NOT_FOUND, "model %s has no alias %.150s", model, alias ? alias : "");
    }
    return sw_registry_find_version(tx, model, alias, ret, err);
}

sw_status sw_registry_get_alias(struct sw_registry *registry, const char *model, const char *alias, json_t **ret,
                                struct sw_error *err) {
    SW_TRY(sw_registry_check_name(model, err));
    SW_AUTO_TX struct sw_tx *tx = NULL;
    int64_t version;
    SW_TRY(sw_store_begin(registry->store, SW_TX_READ, &tx, err));
    SW_TRY(alias_version(tx, model, alias, &version, err));
    *ret = json_pack("{s:s, s:I}", "alias", alias, "version", (json_int_t)version);
    return SW_OK;
}

static sw_status delete_alias(struct sw_registry *registry, struct sw_tx *tx, const struct sw_actor *actor,
                              const char *model, const char *alias, struct sw_arena *arena, struct sw_error *err) {
    struct sw_pointers before, after;
    int64_t version;
    SW_TRY(sw_pointers_load(tx, model, arena, &before, err));
    SW_TRY(alias_version(tx, model, alias, &version, err));
    SW_TRY(sw_pointers_set_alias(tx, model, alias, 0, err));
    struct sw_move move = {.kind = "alias", .below = -1};
    SW_TRY(sw_pointers_settle(registry, tx, model, actor, &move, &before, arena, &after, err));
    const char *object = sw_arena_printf(arena, "%s@%s", model, alias);
    if (!object) {
        return sw_registry_out_of_memory(err);
    }
    json_t *was = sw_pointers_document(&before), *is = sw_pointers_document(&after);
    json_object_set_new(was, "version", json_integer(version));
    json_object_set_new(is, "version", json_null());
    return sw_registry_audit(registry, tx, actor, "alias.delete", object, was, is, err);
}

sw_status sw_registry_delete_alias(struct sw_registry *registry, const struct sw_actor *actor, const char *model,
                                   const char *alias, struct sw_error *err) {
    SW_TRY(sw_registry_check_actor(actor, err));
    SW_TRY(sw_registry_check_name(model, err));
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    struct sw_tx *tx;
    SW_TRY(sw_store_begin(registry->store, SW_TX_WRITE, &tx, err));
    return sw_registry_end(tx, delete_alias(registry, tx, actor, model, alias, &arena, err), true, err);
}
