/* Verifying the audit log: one pass over the rows in order, each against the hash of the one before, then the head.
 *
 * Only the first fault is named: behind it nothing can be trusted. A row that does not fit its place is looked for
 * elsewhere in the chain (a second pass over the hashes), to tell a row that was moved from one that was changed. */
#include "store/audit_internal.h"

#include <stdarg.h>
#include <stdio.h>

/* ROW_BYTES: more than the largest row that sw_audit_append takes. A page of several is kept much smaller, so that the
 * database never waits for long between two questions of a transaction: it ends those that are idle. */
enum { PAGE_ROWS = 500, ROW_BYTES = 128 << 20, PAGE_BYTES = 16 << 20 };
enum {
    SEARCH_BYTES = 256 << 20
}; /* hashed at most to find out where a row was before: the longer it is, the fewer places */

struct check {
    struct sw_store *store;
    struct sw_tx *tx;      /* NULL after a page that was too large, until it is begun anew */
    struct sw_arena arena; /* of the page at hand */
    int64_t page_rows;
    struct sw_audit_report *report;
    int64_t seq;                  /* of the row checked last */
    char hash[SW_AUDIT_HASH_MAX]; /* its hash */
};

static void SW_PRINTF(3, 4) fault(struct check *check, int64_t seq, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(check->report->fault, sizeof check->report->fault, fmt, args);
    va_end(args);
    check->report->fault_seq = seq;
}

static void missing(struct check *check, int64_t first, int64_t last, const char *where) {
    if (first == last) {
        fault(check, first, "row %lld%s is missing", (long long)first, where);
    } else {
        fault(check, first, "rows %lld to %lld%s are missing", (long long)first, (long long)last, where);
    }
}

static bool fits(const struct sw_audit_row *row, int64_t seq, const char *previous) {
    struct sw_audit_row as = *row;
    as.seq = seq;
    char hash[SW_AUDIT_HASH_MAX];
    sw_audit_hash(previous, &as, hash);
    return strcmp(hash, row->hash) == 0;
}

static sw_status read_page(struct check *check, const char *sql, int64_t after, int64_t rows, struct sw_rows *ret,
                           struct sw_error *err) {
    return sw_tx_query(check->tx, sql, SW_PARAMS(sw_v_int(after), sw_v_int(rows)), &check->arena, ret, err);
}

/* The next rows. Where they are so large that a page of them does not fit, the page gets smaller, and larger again
 * behind them. The failure ends the transaction; the next one sees the same rows and perhaps newer ones, since rows are
 * only ever added. */
static sw_status next_page(struct check *check, struct sw_rows *ret, struct sw_error *err) {
    for (;;) {
        if (!check->tx) {
            SW_TRY(sw_store_begin(check->store, SW_TX_READ, &check->tx, err));
        }
        sw_arena_reset(&check->arena);
        check->arena.limit = check->page_rows > 1 ? PAGE_BYTES : ROW_BYTES;
        sw_status status = read_page(check,
                                     "SELECT " SW_AUDIT_COLUMNS " FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2",
                                     check->seq, check->page_rows, ret, err);
        if (status != SW_E_TOO_LARGE || check->page_rows == 1) {
            check->page_rows = check->page_rows < PAGE_ROWS / 2 ? 2 * check->page_rows : PAGE_ROWS;
            return status;
        }
        sw_tx_rollback(check->tx);
        check->tx = NULL;
        check->page_rows = (check->page_rows + 7) / 8;
    }
}

static size_t texts_length(const struct sw_audit_row *row) {
    const char *const texts[] = {row->actor,      row->action, row->object, row->reason,
                                 row->request_id, row->before, row->after};
    size_t length = 0;
    for (size_t i = 0; i < SW_COUNTOF(texts); i++) {
        length += texts[i] ? strlen(texts[i]) : 0;
    }
    return length;
}

/* Which number had the row when it was written? The hash before it still stands in the table, at its old place or, when
 * rows changed places, next to it. 0: none that was looked at, so it was changed. */
static sw_status find_origin(struct check *check, const struct sw_audit_row *row, int64_t *ret_seq,
                             struct sw_error *err) {
    struct sw_arena keep = check->arena; /* the row lives there */
    sw_arena_init(&check->arena, keep.limit, 0);
    sw_status status = SW_OK;
    int64_t after = 0;
    size_t tries = SEARCH_BYTES / (1 + texts_length(row)); /* at least two */
    *ret_seq = fits(row, 1, "") ? 1 : 0;
    while (!status && !*ret_seq && tries) {
        struct sw_rows rows = {0};
        sw_arena_reset(&check->arena);
        status = read_page(check, "SELECT seq, hash FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2", after, PAGE_ROWS,
                           &rows, err);
        for (size_t i = 0; !status && i < rows.count && !*ret_seq; i++) {
            after = sw_rows_int(&rows, i, 0);
            const int64_t candidates[] = {after + 1, after, row->seq + 1};
            for (size_t c = 0; c < SW_COUNTOF(candidates) && !*ret_seq && tries; c++, tries--) {
                *ret_seq = fits(row, candidates[c], sw_rows_text(&rows, i, 1)) ? candidates[c] : 0;
            }
        }
        if (rows.count == 0) {
            break;
        }
    }
    sw_arena_deinit(&check->arena);
    check->arena = keep;
    return status;
}

static sw_status check_row(struct check *check, const struct sw_audit_row *row, struct sw_error *err) {
    if (row->seq != check->seq + 1) {
        missing(check, check->seq + 1, row->seq - 1, "");
        return SW_OK;
    }
    if (!fits(row, row->seq, check->hash)) {
        int64_t origin = 0;
        SW_TRY(find_origin(check, row, &origin, err));
        if (origin && origin != row->seq) {
            fault(check, row->seq, "row %lld is out of order: it was written as row %lld", (long long)row->seq,
                  (long long)origin);
        } else {
            fault(check, row->seq, "row %lld was changed, or rows were inserted or removed before it",
                  (long long)row->seq);
        }
        return SW_OK;
    }
    check->seq = row->seq;
    check->report->rows++;
    snprintf(check->hash, sizeof check->hash, "%s", row->hash);
    return SW_OK;
}

static sw_status check_rows(struct check *check, struct sw_error *err) {
    for (;;) {
        struct sw_rows rows;
        SW_TRY(next_page(check, &rows, err));
        for (size_t i = 0; i < rows.count && !check->report->fault_seq; i++) {
            struct sw_audit_row row;
            sw_audit_read_row(&rows, i, &row);
            SW_TRY(check_row(check, &row, err));
        }
        if (rows.count == 0 || check->report->fault_seq) {
            return SW_OK;
        }
    }
}

static sw_status check_head(struct check *check, struct sw_error *err) {
    struct sw_rows head;
    SW_TRY(sw_tx_query(check->tx, "SELECT seq, hash FROM audit_head WHERE id = 1", SW_NO_PARAMS, &check->arena, &head,
                       err));
    int64_t seq = head.count ? sw_rows_int(&head, 0, 0) : -1;
    if (seq < 0) {
        fault(check, check->seq + 1, "the head of the log is missing");
    } else if (seq > check->seq) {
        missing(check, check->seq + 1, seq, " at the end");
    } else if (seq < check->seq) {
        long long first = (long long)seq + 1;
        fault(check, first, "row %lld was inserted at the end: the head of the log ends before it", first);
    } else if (strcmp(sw_rows_text(&head, 0, 1), check->hash) != 0) {
        fault(check, seq, "row %lld or the head of the log was changed: they do not agree", (long long)seq);
    }
    return SW_OK;
}

sw_status sw_audit_verify(struct sw_store *store, struct sw_audit_report *ret, struct sw_error *err) {
    struct sw_audit_report report = {0};
    struct check check = {.store = store, .page_rows = PAGE_ROWS, .report = &report};
    sw_arena_init(&check.arena, ROW_BYTES, 1024 * 1024);
    sw_status status = check_rows(&check, err);
    if (!status && !report.fault_seq) {
        status = check_head(&check, err);
    }
    sw_tx_rollback(check.tx);
    sw_arena_deinit(&check.arena);
    if (status) {
        return status;
    }
    snprintf(report.head_hash, sizeof report.head_hash, "%s", check.hash);
    *ret = report;
    return SW_OK;
}
