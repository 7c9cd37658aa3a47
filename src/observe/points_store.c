/* Points of the history in the metadata store; see monitor_store.h. */
#include <jansson.h>
#include <math.h>

#include "base/memory.h"
#include "observe/monitor_store.h"

enum { PAGE_ROWS = 1000, DELETE_ROWS = 5000, ARENA_MAX = 64 << 20, TEXT_MAX = 128 * 1024 };

static sw_status end(struct sw_tx *tx, sw_status status, struct sw_error *err) {
    if (status) {
        sw_tx_rollback(tx);
        return status;
    }
    return sw_tx_commit(tx, err);
}

/* ---- writing */

static struct sw_value extreme(const struct sw_point *point, double value) {
    return point->count ? sw_v_double(value) : sw_v_null();
}

static sw_status save_one(struct sw_tx *tx, const char *instance, const struct sw_saved_point *saved,
                          struct sw_buf *text, struct sw_error *err) {
    const struct sw_point *p = &saved->point;
    sw_buf_clear(text);
    sw_loghist_write(&p->values, text);
    if (text->failed) {
        return sw_fail(err, SW_E_UNAVAILABLE, "no memory to write a distribution");
    }
    return sw_tx_exec(
        tx,
        "INSERT INTO monitoring_points (instance, span_ms, time_ms, metric, labels, client, count, sum, sum_squares, min, "
        "max, client_errors, rejected, server_errors, histogram) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) "
        "ON CONFLICT (instance, span_ms, time_ms, metric, labels) DO UPDATE SET count = excluded.count, "
        "sum = excluded.sum, sum_squares = excluded.sum_squares, min = excluded.min, max = excluded.max, "
        "client_errors = excluded.client_errors, rejected = excluded.rejected, server_errors = excluded.server_errors, "
        "histogram = excluded.histogram",
        SW_PARAMS(sw_v_text(instance), sw_v_int(saved->span_ms), sw_v_int((int64_t)p->start_ms),
                  sw_v_text(saved->metric), sw_v_text(saved->labels_json), sw_v_int(saved->is_client),
                  sw_v_int((int64_t)p->count), sw_v_double(p->sum), sw_v_double(p->sum_squares), extreme(p, p->min),
                  extreme(p, p->max), sw_v_int((int64_t)p->failures[SW_FAILURE_CLIENT]),
                  sw_v_int((int64_t)p->failures[SW_FAILURE_REJECTED]),
                  sw_v_int((int64_t)p->failures[SW_FAILURE_SERVER]), sw_v_text(text->data ? text->data : "")),
        NULL, err);
}

sw_status sw_points_save(struct sw_store *store, const char *instance, const struct sw_saved_points *points,
                         struct sw_error *err) {
    struct sw_tx *tx;
    struct sw_buf text;
    sw_status status = SW_OK;
    if (points->count == 0) {
        return SW_OK;
    }
    SW_TRY(sw_store_begin(store, SW_TX_WRITE, &tx, err));
    sw_buf_init(&text, TEXT_MAX);
    for (size_t i = 0; i < points->count && !status; i++) {
        status = save_one(tx, instance, &points->items[i], &text, err);
    }
    sw_buf_deinit(&text);
    return end(tx, status, err);
}

/* ---- reading */

struct loading {
    const char *instance;
    unsigned span_ms;
    int64_t time_ms; /* rows behind this one */
    const char *metric, *labels;
    void (*fn)(void *arg, const struct sw_saved_point *saved);
    void *arg;
};

static double real_of(const struct sw_rows *rows, size_t row, size_t column) {
    const struct sw_value *value = sw_rows_at(rows, row, column);
    return value->kind == SW_VALUE_DOUBLE ? value->real : value->kind == SW_VALUE_INT ? (double)value->integer : 0;
}

static bool is_sane(const struct sw_point *p) {
    return isfinite(p->sum) && isfinite(p->sum_squares) && isfinite(p->min) && isfinite(p->max) && p->min <= p->max;
}

/* A row that somebody damaged is left out. */
static void take_row(const struct loading *l, const struct sw_rows *rows, size_t row) {
    const char *histogram = sw_rows_text(rows, row, 11);
    struct sw_saved_point saved = {
        .metric = (char *)(uintptr_t)sw_rows_text(rows, row, 1),
        .labels_json = (char *)(uintptr_t)sw_rows_text(rows, row, 2),
        .is_client = sw_rows_int(rows, row, 3) != 0,
        .span_ms = l->span_ms,
        .point = {.start_ms = (uint64_t)sw_rows_int(rows, row, 0),
                  .count = (uint64_t)sw_rows_int(rows, row, 4),
                  .sum = real_of(rows, row, 5),
                  .sum_squares = real_of(rows, row, 6),
                  .min = real_of(rows, row, 7),
                  .max = real_of(rows, row, 8)},
    };
    saved.point.failures[SW_FAILURE_CLIENT] = (uint64_t)sw_rows_int(rows, row, 9);
    saved.point.failures[SW_FAILURE_REJECTED] = (uint64_t)sw_rows_int(rows, row, 10);
    saved.point.failures[SW_FAILURE_SERVER] = (uint64_t)sw_rows_int(rows, row, 12);
    if (saved.point.start_ms % l->span_ms == 0 && is_sane(&saved.point) &&
        sw_loghist_read(sw_str_of(histogram), &saved.point.values)) {
        l->fn(l->arg, &saved);
        sw_loghist_deinit(&saved.point.values);
    }
}

static sw_status load_page(struct sw_tx *tx, const struct loading *l, struct sw_arena *arena, struct sw_rows *ret,
                           struct sw_error *err) {
    return sw_tx_query(
        tx,
        "SELECT time_ms, metric, labels, client, count, sum, sum_squares, min, max, client_errors, rejected, "
        "histogram, server_errors FROM monitoring_points WHERE instance = $1 AND span_ms = $2 AND "
        "(time_ms, metric, labels) > ($3, $4, $5) ORDER BY time_ms, metric, labels LIMIT $6",
        SW_PARAMS(sw_v_text(l->instance), sw_v_int(l->span_ms), sw_v_int(l->time_ms), sw_v_text(l->metric),
                  sw_v_text(l->labels), sw_v_int(PAGE_ROWS)),
        arena, ret, err);
}

/* Pages in turn; the last row of one is in the other arena while the next is read. */
static sw_status load(struct sw_tx *tx, struct loading *l, struct sw_arena arenas[2], struct sw_error *err) {
    struct sw_rows rows;
    unsigned turn = 0;
    do {
        struct sw_arena *arena = &arenas[turn++ % 2];
        sw_arena_reset(arena);
        SW_TRY(load_page(tx, l, arena, &rows, err));
        for (size_t i = 0; i < rows.count; i++) {
            take_row(l, &rows, i);
        }
        if (rows.count) {
            l->time_ms = sw_rows_int(&rows, rows.count - 1, 0);
            l->metric = sw_rows_text(&rows, rows.count - 1, 1);
            l->labels = sw_rows_text(&rows, rows.count - 1, 2);
        }
    } while (rows.count == PAGE_ROWS);
    return SW_OK;
}

sw_status sw_points_load(struct sw_store *store, const char *instance, unsigned span_ms, uint64_t since_ms,
                         void (*fn)(void *arg, const struct sw_saved_point *saved), void *arg, struct sw_error *err) {
    struct loading l = {instance, span_ms, (int64_t)since_ms, "", "", fn, arg};
    struct sw_arena arenas[2];
    struct sw_tx *tx;
    SW_TRY(sw_store_begin(store, SW_TX_READ, &tx, err));
    sw_arena_init(&arenas[0], ARENA_MAX, 0);
    sw_arena_init(&arenas[1], ARENA_MAX, 0);
    sw_status status = load(tx, &l, arenas, err);
    sw_arena_deinit(&arenas[0]);
    sw_arena_deinit(&arenas[1]);
    sw_tx_rollback(tx);
    return status;
}

/* ---- deleting */

static sw_status expire_some(struct sw_store *store, unsigned span_ms, uint64_t before_ms, int64_t *ret_deleted,
                             struct sw_error *err) {
    struct sw_tx *tx;
    SW_TRY(sw_store_begin(store, SW_TX_WRITE, &tx, err));
    sw_status status = sw_tx_exec(
        tx,
        "DELETE FROM monitoring_points WHERE span_ms = $1 AND time_ms < $2 AND (instance, span_ms, time_ms, metric, labels) "
        "IN (SELECT instance, span_ms, time_ms, metric, labels FROM monitoring_points WHERE span_ms = $1 AND time_ms < $2 "
        "LIMIT $3)",
        SW_PARAMS(sw_v_int(span_ms), sw_v_int((int64_t)before_ms), sw_v_int(DELETE_ROWS)), ret_deleted, err);
    if (status || *ret_deleted == 0) {
        sw_tx_rollback(tx); /* nothing done, nobody woken */
        return status;
    }
    return sw_tx_commit(tx, err);
}

sw_status sw_points_expire(struct sw_store *store, uint64_t fine_before_ms, uint64_t coarse_before_ms,
                           int64_t *ret_deleted, struct sw_error *err) {
    const struct {
        unsigned span_ms;
        uint64_t before_ms;
    } spans[] = {{SW_FINE_MS, fine_before_ms}, {SW_COARSE_MS, coarse_before_ms}};
    int64_t deleted = 0, some;
    for (size_t i = 0; i < SW_COUNTOF(spans); i++) {
        do {
            SW_TRY(expire_some(store, spans[i].span_ms, spans[i].before_ms, &some, err));
            deleted += some;
        } while (some == DELETE_ROWS);
    }
    if (ret_deleted) {
        *ret_deleted = deleted;
    }
    return SW_OK;
}
