/* Alerts in the metadata store; see monitor_store.h. */
#include <math.h>

#include "base/clock.h"
#include "base/memory.h"
#include "observe/monitor_store.h"
#include "store/audit.h"

enum { ARENA_MAX = 32 << 20, OPEN_MAX = 10000 };

#define COLUMNS                                                                                                 \
    "id, instance, name, severity, state, summary, metric, model, above, threshold, value, for_ms, test, "      \
    "started_ms, fired_ms, resolved_ms, resolved_reason, delivery, attempts, delivery_error, acknowledged_ms, " \
    "acknowledged_by, note"

enum column {
    ID,
    INSTANCE,
    NAME,
    SEVERITY,
    STATE,
    SUMMARY,
    METRIC,
    MODEL,
    ABOVE,
    THRESHOLD,
    VALUE,
    FOR_MS,
    TEST,
    STARTED_MS,
    FIRED_MS,
    RESOLVED_MS,
    RESOLVED_REASON,
    DELIVERY,
    ATTEMPTS,
    DELIVERY_ERROR,
    ACKNOWLEDGED_MS,
    ACKNOWLEDGED_BY,
    NOTE,
};

static sw_status end(struct sw_tx *tx, sw_status status, struct sw_error *err) {
    if (status) {
        sw_tx_rollback(tx);
        return status;
    }
    return sw_tx_commit(tx, err);
}

/* ---- writing */

static struct sw_value moment(uint64_t ms) {
    return ms ? sw_v_int((int64_t)ms) : sw_v_null();
}

static sw_status save(struct sw_tx *tx, const struct sw_alert *a, struct sw_error *err) {
    SW_ASSERT(a->state != SW_ALERT_PENDING);
    return sw_tx_exec(
        tx,
        "INSERT INTO alerts (id, instance, name, severity, state, summary, metric, model, above, threshold, value, for_ms, "
        "test, started_ms, fired_ms, resolved_ms, resolved_reason, delivery, attempts, delivery_error) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20) "
        "ON CONFLICT (id) DO UPDATE SET state = excluded.state, value = excluded.value, "
        "resolved_ms = excluded.resolved_ms, resolved_reason = excluded.resolved_reason, delivery = excluded.delivery, "
        "attempts = excluded.attempts, delivery_error = excluded.delivery_error",
        SW_PARAMS(
            sw_v_text(a->id), sw_v_text(a->instance), sw_v_text(a->rule), sw_v_text(sw_severity_name(a->severity)),
            sw_v_text(sw_alert_state_name(a->state)), sw_v_text(a->summary), sw_v_text(a->what), sw_v_text(a->model),
            sw_v_int(a->is_above), sw_v_double(a->threshold), sw_v_double(isfinite(a->value) ? a->value : 0),
            sw_v_int((int64_t)a->for_ms), sw_v_int(a->is_test), sw_v_int((int64_t)a->started_ms),
            sw_v_int((int64_t)a->fired_ms), moment(a->resolved_ms), sw_v_text(a->resolved_reason),
            sw_v_text(sw_delivery_name(a->delivery)), sw_v_int(a->delivery_attempts), sw_v_text(a->delivery_error)),
        NULL, err);
}

sw_status sw_alerts_save(struct sw_store *store, struct sw_alert *const *alerts, size_t count, struct sw_error *err) {
    struct sw_tx *tx;
    sw_status status = SW_OK;
    if (count == 0) {
        return SW_OK;
    }
    SW_TRY(sw_store_begin(store, SW_TX_WRITE, &tx, err));
    for (size_t i = 0; i < count && !status; i++) {
        status = save(tx, alerts[i], err);
    }
    return end(tx, status, err);
}

/* ---- reading */

static char *copy(const struct sw_rows *rows, size_t row, enum column column) {
    return sw_xstrdup(sw_rows_text(rows, row, column));
}

static double real_of(const struct sw_rows *rows, size_t row, enum column column) {
    const struct sw_value *value = sw_rows_at(rows, row, column);
    return value->kind == SW_VALUE_INT ? (double)value->integer : value->real;
}

static uint64_t moment_of(const struct sw_rows *rows, size_t row, enum column column) {
    return (uint64_t)sw_rows_int(rows, row, column);
}

static struct sw_str text_of(const struct sw_rows *rows, size_t row, enum column column) {
    return sw_str_of(sw_rows_text(rows, row, column));
}

/* Names that a newer program wrote read as the first of theirs. */
static struct sw_alert *from_row(const struct sw_rows *rows, size_t row) {
    struct sw_alert *a = SW_NEW(struct sw_alert);
    snprintf(a->id, sizeof a->id, "%s", sw_rows_text(rows, row, ID));
    a->state = SW_ALERT_RESOLVED;
    (void)sw_severity_parse(text_of(rows, row, SEVERITY), &a->severity);
    (void)sw_alert_state_parse(text_of(rows, row, STATE), &a->state);
    (void)sw_delivery_parse(text_of(rows, row, DELIVERY), &a->delivery);
    a->instance = copy(rows, row, INSTANCE);
    a->rule = copy(rows, row, NAME);
    a->summary = copy(rows, row, SUMMARY);
    a->what = copy(rows, row, METRIC);
    a->model = copy(rows, row, MODEL);
    a->is_above = sw_rows_int(rows, row, ABOVE) != 0;
    a->is_test = sw_rows_int(rows, row, TEST) != 0;
    a->threshold = real_of(rows, row, THRESHOLD);
    a->value = real_of(rows, row, VALUE);
    a->for_ms = moment_of(rows, row, FOR_MS);
    a->started_ms = moment_of(rows, row, STARTED_MS);
    a->fired_ms = moment_of(rows, row, FIRED_MS);
    a->resolved_ms = moment_of(rows, row, RESOLVED_MS);
    a->resolved_reason = copy(rows, row, RESOLVED_REASON);
    a->delivery_attempts = (unsigned)sw_rows_int(rows, row, ATTEMPTS);
    a->delivery_error = copy(rows, row, DELIVERY_ERROR);
    a->acknowledged_ms = moment_of(rows, row, ACKNOWLEDGED_MS);
    a->acknowledged_by = copy(rows, row, ACKNOWLEDGED_BY);
    a->note = copy(rows, row, NOTE);
    return a;
}

static sw_status query(struct sw_store *store, const char *sql, const struct sw_value *params, size_t count,
                       struct sw_arena *arena, struct sw_rows *ret, struct sw_error *err) {
    struct sw_tx *tx;
    SW_TRY(sw_store_begin(store, SW_TX_READ, &tx, err));
    sw_status status = sw_tx_query(tx, sql, params, count, arena, ret, err);
    sw_tx_rollback(tx);
    return status;
}

sw_status sw_alerts_load_open(struct sw_store *store, const char *instance,
                              void (*fn)(void *arg, struct sw_alert *alert), void *arg, struct sw_error *err) {
    struct sw_arena arena;
    struct sw_rows rows;
    sw_arena_init(&arena, ARENA_MAX, 0);
    sw_status status = query(store,
                             "SELECT " COLUMNS " FROM alerts WHERE instance = $1 AND "
                             "(state = 'firing' OR delivery = 'waiting') ORDER BY fired_ms, id LIMIT $2",
                             SW_PARAMS(sw_v_text(instance), sw_v_int(OPEN_MAX)), &arena, &rows, err);
    for (size_t i = 0; !status && i < rows.count; i++) {
        fn(arg, from_row(&rows, i));
    }
    sw_arena_deinit(&arena);
    return status;
}

sw_status sw_alerts_select(struct sw_store *store, const struct sw_alert_filter *filter, json_t *ret,
                           struct sw_error *err) {
    struct sw_arena arena;
    struct sw_rows rows;
    sw_arena_init(&arena, ARENA_MAX, 0);
    sw_status status = query(
        store,
        "SELECT " COLUMNS
        " FROM alerts WHERE fired_ms >= $1 AND ($2 = '' OR state = $2) AND ($3 = '' OR severity = $3) "
        "ORDER BY fired_ms DESC, id LIMIT $4",
        SW_PARAMS(sw_v_int((int64_t)filter->since_ms),
                  sw_v_text(filter->has_state ? sw_alert_state_name(filter->state) : ""),
                  sw_v_text(filter->has_severity ? sw_severity_name(filter->severity) : ""),
                  sw_v_int((int64_t)filter->limit)),
        &arena, &rows, err);
    for (size_t i = 0; !status && i < rows.count; i++) {
        struct sw_alert *alert = from_row(&rows, i);
        json_array_append_new(ret, sw_alert_to_json(alert));
        sw_alert_destroy(alert);
    }
    sw_arena_deinit(&arena);
    return status;
}

sw_status sw_alerts_expire(struct sw_store *store, uint64_t before_ms, struct sw_error *err) {
    struct sw_tx *tx;
    int64_t deleted = 0;
    SW_TRY(sw_store_begin(store, SW_TX_WRITE, &tx, err));
    sw_status status = sw_tx_exec(tx, "DELETE FROM alerts WHERE state = 'resolved' AND fired_ms < $1",
                                  SW_PARAMS(sw_v_int((int64_t)before_ms)), &deleted, err);
    if (status || deleted == 0) {
        sw_tx_rollback(tx);
        return status;
    }
    return sw_tx_commit(tx, err);
}

/* ---- what people do */

static sw_status find(struct sw_tx *tx, const char *id, struct sw_arena *arena, struct sw_alert **ret,
                      struct sw_error *err) {
    struct sw_rows rows;
    SW_TRY(
        sw_tx_query(tx, "SELECT " COLUMNS " FROM alerts WHERE id = $1", SW_PARAMS(sw_v_text(id)), arena, &rows, err));
    if (rows.count == 0) {
        return sw_fail(err, SW_E_NOT_FOUND, "there is no alert '%s'", id);
    }
    *ret = from_row(&rows, 0);
    return SW_OK;
}

/* Both states in the audit row. */
static sw_status audit(struct sw_tx *tx, const char *action, const struct sw_alert *alert, json_t *before,
                       const char *reason, const struct sw_monitor_actor *actor, uint64_t now_ms,
                       struct sw_error *err) {
    char object[SW_ALERT_ID_MAX + 8];
    json_auto_t *after = sw_alert_to_json(alert);
    snprintf(object, sizeof object, "alert/%s", alert->id);
    struct sw_audit_entry entry = {.actor = actor->name,
                                   .action = action,
                                   .object = object,
                                   .reason = reason,
                                   .request_id = actor->request_id,
                                   .before = before,
                                   .after = after};
    return sw_audit_append(tx, &entry, now_ms, NULL, err);
}

static sw_status already(const struct sw_alert *alert, struct sw_error *err) {
    char when[SW_TIMESTAMP_MAX];
    sw_format_timestamp(alert->acknowledged_ms, when);
    return sw_fail(err, SW_E_CONFLICT, "alert '%s' was acknowledged already, by %s at %s", alert->id,
                   alert->acknowledged_by ? alert->acknowledged_by : "somebody", when);
}

static sw_status acknowledge(struct sw_tx *tx, const char *id, const char *by, const char *note,
                             const struct sw_monitor_actor *actor, uint64_t now_ms, struct sw_arena *arena,
                             struct sw_alert **ret, struct sw_error *err) {
    struct sw_alert *alert = NULL;
    SW_TRY(find(tx, id, arena, &alert, err));
    json_auto_t *before = sw_alert_to_json(alert);
    sw_status status = alert->acknowledged_ms ? already(alert, err) : SW_OK;
    if (!status) {
        sw_alert_acknowledge(alert, by, note, now_ms);
        status = sw_tx_exec(tx, "UPDATE alerts SET acknowledged_ms = $2, acknowledged_by = $3, note = $4 WHERE id = $1",
                            SW_PARAMS(sw_v_text(id), sw_v_int((int64_t)now_ms), sw_v_text(by), sw_v_text(note)), NULL,
                            err);
    }
    status = status ? status : audit(tx, "alert.acknowledge", alert, before, note, actor, now_ms, err);
    if (status) {
        sw_alert_destroy(alert);
        return status;
    }
    *ret = alert;
    return SW_OK;
}

sw_status sw_alerts_store_acknowledge(struct sw_store *store, const struct sw_alert *unsaved, const char *id,
                                      const char *by, const char *note, const struct sw_monitor_actor *actor,
                                      uint64_t now_ms, struct sw_alert **ret, struct sw_error *err) {
    struct sw_tx *tx;
    struct sw_arena arena;
    struct sw_alert *alert = NULL;
    SW_TRY(sw_store_begin(store, SW_TX_WRITE, &tx, err));
    sw_arena_init(&arena, ARENA_MAX, 0);
    sw_status status = unsaved ? save(tx, unsaved, err) : SW_OK;
    status = status ? status : acknowledge(tx, id, by, note, actor, now_ms, &arena, &alert, err);
    sw_arena_deinit(&arena);
    status = end(tx, status, err);
    if (status) {
        sw_alert_destroy(alert);
        return status;
    }
    *ret = alert;
    return SW_OK;
}

sw_status sw_alerts_store_test(struct sw_store *store, const struct sw_alert *alert,
                               const struct sw_monitor_actor *actor, uint64_t now_ms, struct sw_error *err) {
    struct sw_tx *tx;
    SW_TRY(sw_store_begin(store, SW_TX_WRITE, &tx, err));
    sw_status status = save(tx, alert, err);
    status = status ? status : audit(tx, "alert.test", alert, NULL, NULL, actor, now_ms, err);
    return end(tx, status, err);
}
