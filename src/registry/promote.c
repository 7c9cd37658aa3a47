/* Promotion: an alias and/or a stage is set on a version, after its gates.
 *
 *   look    (read transaction)     which version, what is live, what it accepts, are gates needed?
 *   gates   (no transaction)       may take as long as the model takes to load and run
 *   apply   (write transaction)    still the live version that the gates compared with? then everything at once
 *
 * The results of gates are stored on the version in any case: with the promotion, or alone when a gate failed or
 * another promotion came in between. Invariant: champion or Production never gets a version on which no gates ran,
 * except by rollback, to what was there before. The transitions are described at the head of pointers.c. */
#include <inttypes.h>

#include "base/memory.h"
#include "registry/registry_internal.h"

struct promotion {
    struct sw_registry *registry;
    const struct sw_actor *actor;
    const char *model;
    const struct sw_promotion *wanted;
    struct sw_arena *arena;
    int64_t number; /* of the version */

    /* Seen by look. */
    int64_t compared_live; /* the live version that gates compared with; 0: none */
    json_t *metrics, *live_signature;

    /* Of the gates. */
    bool ran, passed, loads;
    json_t *gates, *signature;

    /* Of apply. */
    bool changed;
    enum sw_stage old_stage;
    int64_t old_alias; /* version that the alias had; 0: none */
    struct sw_pointers before, after;
    json_t *archived; /* versions that went to Archived */
    int64_t revision;
};

static bool is_champion(const struct sw_promotion *wanted) {
    return wanted->alias && strcmp(wanted->alias, "champion") == 0;
}

static bool gates_needed(const struct promotion *p, const struct sw_pointers *now, enum sw_stage stage) {
    return (is_champion(p->wanted) && now->champion != p->number) ||
           (p->wanted->stage == SW_STAGE_PRODUCTION && stage != SW_STAGE_PRODUCTION);
}

static bool forced(const struct promotion *p) {
    return p->ran && !p->passed;
}

/* look ------------------------------------------------------------------------------------------------------------- */

static sw_status check_wanted(const struct sw_actor *actor, const struct sw_promotion *wanted, struct sw_error *err) {
    if (!wanted->alias && wanted->stage < 0) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "a promotion needs an alias, a stage or both");
    }
    if (!wanted->version || !wanted->version[0]) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "version: is missing");
    }
    if (wanted->alias && !sw_registry_alias_valid(sw_str_of(wanted->alias))) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT,
                       "alias: \"%.150s\" cannot be one: 1 to 128 of letters, digits, '.', '_', '-', no number, no "
                       "v<number>, not \"latest\" or \"live\"",
                       wanted->alias);
    }
    if (wanted->archive_existing && wanted->stage != SW_STAGE_STAGING && wanted->stage != SW_STAGE_PRODUCTION) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "archive_existing: goes with stage Staging or Production only");
    }
    if (wanted->force && (!actor->reason || sw_str_trim(sw_str_of(actor->reason)).len == 0)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "reason: force needs one");
    }
    return SW_OK;
}

/* Stage of a version that exists, and its metrics (JSON text). */
static sw_status version_row(struct promotion *p, struct sw_tx *tx, enum sw_stage *ret_stage, const char **ret_metrics,
                             struct sw_error *err) {
    struct sw_rows rows;
    SW_TRY(sw_tx_query(tx,
                       "SELECT stage, metrics FROM versions WHERE model = $1 AND version = $2 AND deleted_ms IS NULL",
                       SW_PARAMS(sw_v_text(p->model), sw_v_int(p->number)), p->arena, &rows, err));
    if (rows.count == 0) {
        return sw_fail(err, SW_E_NOT_FOUND, "model %s has no version %" PRId64, p->model, p->number);
    }
    if (!sw_stage_parse(sw_rows_at(&rows, 0, 0)->text, ret_stage)) {
        return sw_fail(err, SW_E_IO, "the database has no stage for %s/%" PRId64, p->model, p->number);
    }
    *ret_metrics = sw_rows_text(&rows, 0, 1);
    return SW_OK;
}

static sw_status live_signature(struct promotion *p, struct sw_tx *tx, struct sw_error *err) {
    struct sw_rows rows;
    SW_TRY(sw_tx_query(tx, "SELECT served_signature FROM versions WHERE model = $1 AND version = $2",
                       SW_PARAMS(sw_v_text(p->model), sw_v_int(p->compared_live)), p->arena, &rows, err));
    return sw_registry_json(rows.count ? sw_rows_text(&rows, 0, 0) : NULL, &p->live_signature, err);
}

static sw_status look(struct promotion *p, bool *ret_gates_needed, struct sw_error *err) {
    SW_AUTO_TX struct sw_tx *tx = NULL;
    struct sw_pointers now;
    enum sw_stage stage;
    const char *metrics;
    SW_TRY(sw_store_begin(p->registry->store, SW_TX_READ, &tx, err));
    SW_TRY(sw_registry_find_version(tx, p->model, p->wanted->version, &p->number, err));
    SW_TRY(sw_pointers_load(tx, p->model, p->arena, &now, err));
    SW_TRY(version_row(p, tx, &stage, &metrics, err));
    SW_TRY(sw_registry_json(metrics, &p->metrics, err));
    p->compared_live = now.live;
    *ret_gates_needed = gates_needed(p, &now, stage);
    return now.live ? live_signature(p, tx, err) : SW_OK;
}

/* gates ------------------------------------------------------------------------------------------------------------ */

static sw_status run_gates(struct promotion *p, struct sw_error *err) {
    struct sw_candidate candidate = {
        .model = p->model,
        .version = p->number,
        .metrics = p->metrics,
        .live_signature = p->live_signature,
        .allow_breaking = p->wanted->allow_breaking,
    };
    SW_TRY(sw_registry_run_gates(p->registry, &candidate, &p->gates, &p->signature, &p->passed, &p->loads, err));
    p->ran = true;
    return SW_OK;
}

/* Names of the gates that failed, a new list. */
static json_t *failed_gates(const json_t *gates) {
    json_t *failed = json_array(), *gate;
    size_t i;
    json_array_foreach(gates, i, gate) {
        const char *status = json_string_value(json_object_get(gate, "status"));
        if (status && strcmp(status, "failed") == 0) {
            json_array_append(failed, json_object_get(gate, "name"));
        }
    }
    return failed;
}

static sw_status gate_failure(const struct promotion *p, struct sw_error *err) {
    SW_AUTO_JSON json_t *failed = failed_gates(p->gates);
    char names[256] = "";
    size_t i, len = 0;
    json_t *name;
    json_array_foreach(failed, i, name) {
        int n = snprintf(names + len, sizeof names - len, "%s%s", i ? ", " : "", json_string_value(name));
        len += n > 0 && (size_t)n < sizeof names - len ? (size_t)n : 0;
    }
    const char *hint = p->wanted->force ? " (a wrong digest or a model that does not load cannot be forced)" : "";
    return sw_fail(err, SW_E_GATE_FAILED, "%s/%" PRId64 " was not promoted: failed gates: %s%s", p->model, p->number,
                   names, hint);
}

static sw_status store_gates(struct promotion *p, struct sw_tx *tx, struct sw_error *err) {
    const char *gates, *signature;
    SW_TRY(sw_registry_json_text(p->arena, p->gates, &gates, err));
    SW_TRY(sw_registry_json_text(p->arena, p->signature, &signature, err));
    return sw_tx_exec(
        tx,
        "UPDATE versions SET gates = $3, gates_ms = $4, "
        "served_signature = COALESCE(CAST($5 AS TEXT), served_signature) WHERE model = $1 AND version = $2",
        SW_PARAMS(sw_v_text(p->model), sw_v_int(p->number), sw_v_text(gates), sw_v_int(sw_registry_now(p->registry)),
                  sw_v_text(signature)),
        NULL, err);
}

/* Only the results are kept: a gate failed, or somebody else was faster. */
static sw_status keep_gates(struct promotion *p, struct sw_tx *tx, struct sw_error *err) {
    enum sw_stage stage;
    const char *metrics, *object = sw_arena_printf(p->arena, "%s/%" PRId64, p->model, p->number);
    if (!object) {
        return sw_registry_out_of_memory(err);
    }
    SW_TRY(version_row(p, tx, &stage, &metrics, err));
    SW_TRY(store_gates(p, tx, err));
    SW_TRY(sw_registry_touch(p->registry, tx, p->model, err));
    json_t *after = json_pack("{s:b, s:o}", "passed", p->passed, "failed", failed_gates(p->gates));
    return sw_registry_audit(p->registry, tx, p->actor, "version.gates", object, NULL, after, err);
}

static sw_status keep_gates_alone(struct promotion *p, struct sw_error *err) {
    struct sw_tx *tx;
    SW_TRY(sw_store_begin(p->registry->store, SW_TX_WRITE, &tx, err));
    return sw_registry_end(tx, keep_gates(p, tx, err), true, err);
}

/* apply ------------------------------------------------------------------------------------------------------------ */

static sw_status archive_existing(struct promotion *p, struct sw_tx *tx, struct sw_pointers *moving,
                                  struct sw_error *err) {
    struct sw_rows rows;
    SW_TRY(sw_tx_query(
        tx,
        "SELECT version FROM versions WHERE model = $1 AND stage = $2 AND version <> $3 "
        "AND deleted_ms IS NULL ORDER BY stage_seq",
        SW_PARAMS(sw_v_text(p->model), sw_v_text(sw_stage_name((enum sw_stage)p->wanted->stage)), sw_v_int(p->number)),
        p->arena, &rows, err));
    for (size_t i = 0; i < rows.count; i++) {
        int64_t version = sw_rows_int(&rows, i, 0);
        SW_TRY(sw_pointers_set_stage(p->registry, tx, p->model, version, SW_STAGE_ARCHIVED, moving, err));
        json_array_append_new(p->archived, json_integer(version));
        p->changed = true;
    }
    return SW_OK;
}

static sw_status old_alias(struct promotion *p, struct sw_tx *tx, struct sw_error *err) {
    struct sw_rows rows;
    SW_TRY(sw_tx_query(tx, "SELECT version FROM aliases WHERE model = $1 AND alias = $2",
                       SW_PARAMS(sw_v_text(p->model), sw_v_text(p->wanted->alias)), p->arena, &rows, err));
    p->old_alias = rows.count ? sw_rows_int(&rows, 0, 0) : 0;
    return SW_OK;
}

static sw_status move_pointers(struct promotion *p, struct sw_tx *tx, struct sw_error *err) {
    struct sw_pointers moving = p->before;
    if (p->wanted->archive_existing) {
        SW_TRY(archive_existing(p, tx, &moving, err));
    }
    if (p->wanted->stage >= 0 && (enum sw_stage)p->wanted->stage != p->old_stage) {
        SW_TRY(
            sw_pointers_set_stage(p->registry, tx, p->model, p->number, (enum sw_stage)p->wanted->stage, &moving, err));
        p->changed = true;
    }
    if (p->wanted->alias) {
        SW_TRY(old_alias(p, tx, err));
        if (p->old_alias != p->number) {
            SW_TRY(sw_pointers_set_alias(tx, p->model, p->wanted->alias, p->number, err));
            p->changed = true;
        }
    }
    if (!p->changed && !p->ran) {
        p->after = p->before;
        return SW_OK;
    }
    const char *kind = !p->wanted->alias ? "stage" : p->wanted->stage < 0 ? "alias" : "promote";
    struct sw_move move = {.kind = kind, .below = -1};
    return sw_pointers_settle(p->registry, tx, p->model, p->actor, &move, &moving, p->arena, &p->after, err);
}

static sw_status audit(struct promotion *p, struct sw_tx *tx, struct sw_error *err) {
    json_t *before = sw_pointers_document(&p->before), *after = sw_pointers_document(&p->after);
    const struct sw_promotion *wanted = p->wanted;
    json_object_set_new(after, "version", json_integer(p->number));
    if (wanted->alias) {
        json_object_set_new(before, "alias", json_pack("{s:o}", wanted->alias, sw_number_or_null(p->old_alias)));
        json_object_set_new(after, "alias", json_pack("{s:I}", wanted->alias, (json_int_t)p->number));
    }
    if (wanted->stage >= 0) {
        json_object_set_new(before, "stage", json_string(sw_stage_name(p->old_stage)));
        json_object_set_new(after, "stage", json_string(sw_stage_name((enum sw_stage)wanted->stage)));
    }
    if (json_array_size(p->archived)) {
        json_object_set(after, "archived", p->archived);
    }
    if (p->ran) {
        json_object_set_new(after, "gates_failed", failed_gates(p->gates));
        json_object_set_new(after, "forced", json_boolean(forced(p)));
    }
    if (wanted->allow_breaking) {
        json_object_set_new(after, "allow_breaking", json_true());
    }
    const char *action = !wanted->alias ? "stage.set" : wanted->stage < 0 ? "alias.set" : "model.promote";
    const char *object = wanted->alias && wanted->stage < 0
                             ? sw_arena_printf(p->arena, "%s@%s", p->model, wanted->alias)
                             : sw_arena_printf(p->arena, "%s/%" PRId64, p->model, p->number);
    if (!object) {
        json_decref(before);
        json_decref(after);
        return sw_registry_out_of_memory(err);
    }
    return sw_registry_audit(p->registry, tx, p->actor, action, object, before, after, err);
}

/* *ret_late: what the gates were for is no longer what is there; nothing was changed. */
static sw_status apply(struct promotion *p, struct sw_tx *tx, bool *ret_late, struct sw_error *err) {
    const char *metrics;
    SW_TRY(sw_pointers_load(tx, p->model, p->arena, &p->before, err));
    SW_TRY(version_row(p, tx, &p->old_stage, &metrics, err));
    *ret_late = p->ran ? p->before.live != p->compared_live : gates_needed(p, &p->before, p->old_stage);
    if (*ret_late) {
        return p->ran ? keep_gates(p, tx, err) : SW_OK;
    }
    if (p->ran) {
        SW_TRY(store_gates(p, tx, err));
    }
    SW_TRY(move_pointers(p, tx, err));
    if (p->changed || p->ran) {
        SW_TRY(audit(p, tx, err));
        p->revision = sw_tx_revision(tx);
        return SW_OK;
    }
    struct sw_rows rows;
    SW_TRY(sw_tx_query(tx, "SELECT revision FROM models WHERE name = $1", SW_PARAMS(sw_v_text(p->model)), p->arena,
                       &rows, err));
    p->revision = sw_rows_int(&rows, 0, 0);
    return SW_OK;
}

static sw_status change(struct promotion *p, struct sw_error *err) {
    struct sw_tx *tx;
    bool late = false;
    SW_TRY(sw_store_begin(p->registry->store, SW_TX_WRITE, &tx, err));
    sw_status status = apply(p, tx, &late, err);
    SW_TRY(sw_registry_end(tx, status, p->changed || p->ran, err));
    if (late) {
        return sw_fail(err, SW_E_CONFLICT,
                       "another change of what is live of model %s came in between; nothing was promoted", p->model);
    }
    return SW_OK;
}

/* public ----------------------------------------------------------------------------------------------------------- */

static sw_status promote(struct promotion *p, struct sw_error *err) {
    bool needed;
    SW_TRY(look(p, &needed, err));
    if (needed) {
        SW_TRY(run_gates(p, err));
        if (!p->passed && !(p->wanted->force && p->loads)) {
            SW_TRY(keep_gates_alone(p, err));
            return gate_failure(p, err);
        }
    }
    return change(p, err);
}

sw_status sw_registry_promote(struct sw_registry *registry, const struct sw_actor *actor, const char *model,
                              const struct sw_promotion *promotion, json_t **ret, json_t **ret_gates,
                              struct sw_error *err) {
    SW_TRY(sw_registry_check_actor(actor, err));
    SW_TRY(sw_registry_check_name(model, err));
    SW_TRY(check_wanted(actor, promotion, err));
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    struct promotion p = {
        .registry = registry,
        .actor = actor,
        .model = model,
        .wanted = promotion,
        .arena = &arena,
        .archived = json_array(),
    };
    sw_status status = promote(&p, err);
    if (!status && ret) {
        *ret = json_pack("{s:s, s:I, s:o, s:o, s:O?, s:b, s:I}", "model", model, "version", (json_int_t)p.number,
                         "live", sw_number_or_null(p.after.live), "previous_live", sw_number_or_null(p.before.live),
                         "gates", p.gates, "forced", forced(&p), "revision", (json_int_t)p.revision);
    } else if (status == SW_E_GATE_FAILED && ret_gates) {
        *ret_gates = json_incref(p.gates);
    }
    json_decref(p.metrics);
    json_decref(p.live_signature);
    json_decref(p.gates);
    json_decref(p.signature);
    json_decref(p.archived);
    return status;
}
