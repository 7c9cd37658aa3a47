/* The live history, and going back in it.
 *
 * Rows are only ever added (seq 1, 2, 3, ... a model). A rollback to row T adds a row R with T's state, R.restores = T
 * and R.below = T.below: R takes T's place on the stack, and what lay above T is off it: undone. Which version comes
 * back is decided from what was read first; the files are verified without a transaction; the change is made only when
 * the newest row is still the one that was seen, so that two who roll back at once go back one step together, not
 * two. */
#include <inttypes.h>
#include <unistd.h>

#include "base/memory.h"
#include "registry/registry_internal.h"

struct rollback {
    struct sw_registry *registry;
    const struct sw_actor *actor;
    const char *model;
    struct sw_arena *arena;
    struct sw_pointers seen; /* when the target was chosen */
    int64_t target;          /* its version */
    int64_t target_seq, target_below, target_champion;
    int64_t *production;
    size_t production_count;
};

/* choose ----------------------------------------------------------------------------------------------------------- */

static sw_status read_target(struct rollback *r, struct sw_tx *tx, struct sw_error *err) {
    struct sw_rows rows;
    SW_TRY(sw_tx_query(tx, "SELECT champion, production, below FROM live_history WHERE model = $1 AND seq = $2",
                       SW_PARAMS(sw_v_text(r->model), sw_v_int(r->target_seq)), r->arena, &rows, err));
    SW_ASSERT(rows.count == 1); /* found in this transaction */
    r->target_champion = sw_rows_int(&rows, 0, 0);
    r->target_below = sw_rows_int(&rows, 0, 2);
    return sw_pointers_parse_list(sw_rows_text(&rows, 0, 1), r->arena, &r->production, &r->production_count, err);
}

static sw_status choose(struct rollback *r, const char *version, struct sw_error *err) {
    SW_AUTO_TX struct sw_tx *tx = NULL;
    int64_t wanted = 0;
    SW_TRY(sw_store_begin(r->registry->store, SW_TX_READ, &tx, err));
    SW_TRY(sw_pointers_load(tx, r->model, r->arena, &r->seen, err));
    if (version) {
        SW_TRY(sw_registry_find_version(tx, r->model, version, &wanted, err));
    }
    if (wanted && wanted == r->seen.live) {
        return sw_fail(err, SW_E_CONFLICT, "version %" PRId64 " of model %s is live already", wanted, r->model);
    }
    SW_TRY(sw_pointers_find_previous(tx, r->model, r->seen.live_seq, r->seen.live, wanted, &r->target_seq, &r->target,
                                     err));
    if (r->target_seq) {
        return read_target(r, tx, err);
    }
    if (wanted) {
        return sw_fail(err, SW_E_CONFLICT,
                       "version %" PRId64 " of model %s was not live before the present one: promote it instead",
                       wanted, r->model);
    }
    return sw_fail(err, SW_E_CONFLICT, "model %s has nothing to go back to: no other version was live before",
                   r->model);
}

/* Is it in the store, and are the bytes right that this replica would load? Those in the cache of an S3 store are not
 * brought again: a rollback is to be quick. */
static sw_status verify_file(struct rollback *r, const struct sw_version_file *file, struct sw_error *err) {
    struct sw_blob blob;
    uint64_t size;
    int fd;
    SW_TRY(sw_artifacts_stat(r->registry->artifacts, &file->digest, &blob, err));
    SW_TRY(sw_artifacts_open_blob(r->registry->artifacts, &file->digest, &fd, &size, err));
    close(fd);
    return blob.size == file->size && size == file->size
               ? SW_OK
               : sw_fail(err, SW_E_DIGEST_MISMATCH, "%" PRIu64 " bytes are stored, it has %" PRIu64, blob.size,
                         file->size);
}

static sw_status verify(struct rollback *r, struct sw_error *err) {
    struct sw_version_file *files;
    size_t count;
    SW_TRY(sw_registry_files(r->registry, r->model, r->target, r->arena, &files, &count, err));
    for (size_t i = 0; i < count; i++) {
        struct sw_error why = {0};
        sw_status status = verify_file(r, &files[i], &why);
        if (status) { /* a file that is not there is as bad as one with other bytes */
            return sw_fail(err, status == SW_E_NOT_FOUND ? SW_E_DIGEST_MISMATCH : status,
                           "no rollback to %s/%" PRId64 ", file %s: %s", r->model, r->target, files[i].path,
                           why.message);
        }
    }
    return SW_OK;
}

/* change ----------------------------------------------------------------------------------------------------------- */

static bool contains(const int64_t *numbers, size_t count, int64_t number) {
    for (size_t i = 0; i < count; i++) {
        if (numbers[i] == number) {
            return true;
        }
    }
    return false;
}

static sw_status exists(struct rollback *r, struct sw_tx *tx, int64_t version, bool *ret, struct sw_error *err) {
    struct sw_rows rows;
    SW_TRY(sw_tx_query(tx, "SELECT version FROM versions WHERE model = $1 AND version = $2 AND deleted_ms IS NULL",
                       SW_PARAMS(sw_v_text(r->model), sw_v_int(version)), r->arena, &rows, err));
    *ret = rows.count > 0;
    return SW_OK;
}

static sw_status restore_stages(struct rollback *r, struct sw_tx *tx, struct sw_pointers *moving,
                                struct sw_error *err) {
    for (size_t i = 0; i < moving->production_count; i++) {
        if (!contains(r->production, r->production_count, moving->production[i])) {
            SW_TRY(sw_pointers_set_stage(r->registry, tx, r->model, moving->production[i], SW_STAGE_ARCHIVED, moving,
                                         err));
        }
    }
    for (size_t i = 0; i < r->production_count; i++) { /* all of them anew, so that they are in that order */
        bool there;
        SW_TRY(exists(r, tx, r->production[i], &there, err));
        if (there) {
            SW_TRY(
                sw_pointers_set_stage(r->registry, tx, r->model, r->production[i], SW_STAGE_PRODUCTION, moving, err));
        }
    }
    return SW_OK;
}

static sw_status audit(struct rollback *r, struct sw_tx *tx, const struct sw_pointers *before,
                       const struct sw_pointers *after, struct sw_error *err) {
    const char *object = sw_arena_printf(r->arena, "%s/%" PRId64, r->model, r->target);
    if (!object) {
        return sw_registry_out_of_memory(err);
    }
    json_t *is = sw_pointers_document(after);
    json_object_set_new(is, "restores", json_integer(r->target_seq));
    return sw_registry_audit(r->registry, tx, r->actor, "model.rollback", object, sw_pointers_document(before), is,
                             err);
}

static sw_status change(struct rollback *r, struct sw_tx *tx, struct sw_error *err) {
    struct sw_pointers before, after;
    bool there;
    SW_TRY(sw_pointers_load(tx, r->model, r->arena, &before, err));
    SW_TRY(exists(r, tx, r->target, &there, err));
    if (before.live_seq != r->seen.live_seq || !there) {
        return sw_fail(err, SW_E_CONFLICT,
                       "another change of what is live of model %s came in between; nothing was rolled back", r->model);
    }
    struct sw_pointers moving = before;
    SW_TRY(restore_stages(r, tx, &moving, err));
    SW_TRY(sw_pointers_set_alias(tx, r->model, "champion", r->target_champion, err));
    struct sw_move move = {.kind = "rollback", .below = r->target_below, .restores = r->target_seq};
    SW_TRY(sw_pointers_settle(r->registry, tx, r->model, r->actor, &move, &moving, r->arena, &after, err));
    if (after.live != r->target) {
        return sw_fail(err, SW_E_IO, "row %" PRId64 " of the history of model %s does not fit its version",
                       r->target_seq, r->model);
    }
    return audit(r, tx, &before, &after, err);
}

sw_status sw_registry_rollback(struct sw_registry *registry, const struct sw_actor *actor, const char *model,
                               const char *version, json_t **ret, struct sw_error *err) {
    SW_TRY(sw_registry_check_actor(actor, err));
    SW_TRY(sw_registry_check_name(model, err));
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    struct rollback r = {.registry = registry, .actor = actor, .model = model, .arena = &arena};
    SW_TRY(choose(&r, version, err));
    SW_TRY(verify(&r, err));
    struct sw_tx *tx;
    SW_TRY(sw_store_begin(registry->store, SW_TX_WRITE, &tx, err));
    int64_t revision = sw_tx_revision(tx);
    SW_TRY(sw_registry_end(tx, change(&r, tx, err), true, err));
    if (ret) {
        *ret = json_pack("{s:s, s:I, s:o, s:I}", "model", model, "version", (json_int_t)r.target, "previous_live",
                         sw_number_or_null(r.seen.live), "revision", (json_int_t)revision);
    }
    return SW_OK;
}

/* history ---------------------------------------------------------------------------------------------------------- */

/* Rows that count still: those on the stack and those that they restore. All of them point downwards, so one pass from
 * the newest row down finds them. Row i of the result has seq top - i: a model's rows have no gaps. */
static bool *find_standing(const struct sw_rows *rows, int64_t top, struct sw_arena *arena) {
    bool *standing = sw_arena_calloc(arena, rows->count ? rows->count : 1, sizeof *standing);
    for (size_t i = 0; standing && i < rows->count; i++) {
        standing[i] = standing[i] || i == 0;
        for (size_t column = 6; standing[i] && column <= 7; column++) {
            int64_t other = sw_rows_int(rows, i, column);
            if (other > 0 && other < top && (size_t)(top - other) < rows->count) {
                standing[top - other] = true;
            }
        }
    }
    return standing;
}

static json_t *history_row(const struct sw_rows *rows, size_t i, bool standing) {
    return json_pack("{s:I, s:o, s:s, s:s, s:s?, s:o, s:b, s:b}", "seq", (json_int_t)sw_rows_int(rows, i, 0), "version",
                     sw_number_or_null(sw_rows_int(rows, i, 1)), "kind", sw_rows_text(rows, i, 2), "actor",
                     sw_rows_text(rows, i, 3), "reason", sw_rows_text(rows, i, 4), "time",
                     sw_registry_time(sw_rows_int(rows, i, 5), false), "current", i == 0, "undone", !standing);
}

sw_status sw_registry_history(struct sw_registry *registry, const char *model, size_t limit, json_t **ret,
                              struct sw_error *err) {
    SW_TRY(sw_registry_check_name(model, err));
    struct sw_page page = {.limit = limit};
    SW_TRY(sw_page_limit(&page, &limit, err));
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    SW_AUTO_TX struct sw_tx *tx = NULL;
    SW_TRY(sw_store_begin(registry->store, SW_TX_READ, &tx, err));
    SW_TRY(sw_registry_need_model(tx, model, err));
    struct sw_rows rows;
    SW_TRY(sw_tx_query(tx,
                       "SELECT seq, version, kind, actor, reason, time_ms, below, restores FROM live_history "
                       "WHERE model = $1 ORDER BY seq DESC LIMIT $2",
                       SW_PARAMS(sw_v_text(model), sw_v_int((int64_t)limit)), &arena, &rows, err));
    bool *standing = find_standing(&rows, rows.count ? sw_rows_int(&rows, 0, 0) : 0, &arena);
    if (!standing) {
        return sw_registry_out_of_memory(err);
    }
    json_t *list = json_array();
    for (size_t i = 0; i < rows.count; i++) {
        json_array_append_new(list, history_row(&rows, i, standing[i]));
    }
    *ret = json_pack("{s:o}", "history", list);
    return SW_OK;
}
