/* Sending to PostgreSQL and waiting for answers, with a limit on time of our own: a server that is stopped or cut off
 * answers nothing, not even that a statement took too long. */
#include "store/postgres_internal.h"

#include <errno.h>
#include <poll.h>

enum { GRACE_MS = 2000 }; /* for the server to say itself that time is up */

struct sw_str sw_postgres_line(const char *message, char *buffer, size_t size) {
    struct sw_str text = sw_str_of(message);
    while (text.len && (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == ' ')) {
        text.len--;
    }
    text.len = text.len < size ? text.len : size;
    for (size_t i = 0; i < text.len; i++) {
        buffer[i] = text.data[i] == '\n' || text.data[i] == '\t' ? ' ' : text.data[i];
    }
    return (struct sw_str){buffer, text.len};
}

static sw_status lost(struct sw_postgres_conn *conn, struct sw_error *err) {
    char buffer[300];
    conn->base.broken = true;
    struct sw_str line = sw_postgres_line(PQerrorMessage(conn->pq), buffer, sizeof buffer);
    return sw_fail(err, SW_E_UNAVAILABLE, "%s: connection lost: " SW_STR_FMT, conn->base.store->place,
                   SW_STR_ARG(line));
}

/* ---- what an SQLSTATE means */

static const struct {
    const char *state; /* a class has two characters */
    sw_status code;
    bool ends; /* the connection must not be used again */
    const char *what;
} meanings[] = {
    {"23", SW_E_CONFLICT, false, NULL},
    {"53100", SW_E_INSUFFICIENT_STORAGE, false, "the disk of the server is full"},
    {"53", SW_E_UNAVAILABLE, false, "the server has no room"},
    {"57014", SW_E_UNAVAILABLE, false, "a statement took too long or was cancelled"},
    {"57P", SW_E_UNAVAILABLE, true, "the server is shutting down or not ready"},
    {"55P03", SW_E_UNAVAILABLE, false, "locked for too long"},
    {"40", SW_E_UNAVAILABLE, false, "the server gave the transaction up"},
    {"08P01", SW_E_INTERNAL, false, NULL}, /* values that do not fit the parameters */
    {"08", SW_E_UNAVAILABLE, true, "connection lost"},
    {"25006", SW_E_UNAVAILABLE, true, "the server takes no changes, it is a standby"},
    {"25P03", SW_E_UNAVAILABLE, true, "the transaction was idle for too long"},
    {"22021", SW_E_INVALID_ARGUMENT, false, NULL},
    {"22P05", SW_E_INVALID_ARGUMENT, false, NULL},
    {"54", SW_E_TOO_LARGE, false, NULL},
    {"42501", SW_E_IO, false, "no permission"},
    {"58", SW_E_IO, false, "the server cannot use its files"},
    {"XX001", SW_E_IO, false, "the server's data is damaged: restore a backup"},
    {"XX002", SW_E_IO, false, "an index of the server is damaged"},
    {"26000", SW_E_UNAVAILABLE, true, "a prepared statement is gone; behind a pooler, turn notify off"},
    {"0A000", SW_E_INTERNAL, true, NULL}, /* tables changed below a prepared statement */
};

sw_status sw_postgres_failure(struct sw_postgres_conn *conn, const PGresult *result, const char *sql,
                              struct sw_error *err) {
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    if (!state || PQstatus(conn->pq) == CONNECTION_BAD) {
        return lost(conn, err);
    }
    char buffer[300];
    struct sw_str line = sw_postgres_line(PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY), buffer, sizeof buffer);
    const char *place = conn->base.store->place;
    sw_status code = SW_E_INTERNAL;
    const char *what = NULL;
    /* A change in a read transaction is a fault of ours, not of the server. */
    bool own_fault = strcmp(state, "25006") == 0 && !conn->writable;
    for (size_t i = 0; i < SW_COUNTOF(meanings) && !own_fault; i++) {
        if (strncmp(state, meanings[i].state, strlen(meanings[i].state)) == 0) {
            code = meanings[i].code;
            what = meanings[i].what;
            conn->base.broken = conn->base.broken || meanings[i].ends;
            break;
        }
    }
    if (code == SW_E_INTERNAL) {
        return sw_fail(err, code, "%s: " SW_STR_FMT " (%s) in: %s", place, SW_STR_ARG(line), state, sql);
    }
    return sw_fail(err, code, "%s: %s%s" SW_STR_FMT, place, what ? what : "", what ? ": " : "", SW_STR_ARG(line));
}

/* ---- waiting */

static uint64_t left_ms(uint64_t deadline_ns) {
    uint64_t now = sw_deadline_ns(0);
    return now >= deadline_ns ? 0 : (deadline_ns - now) / 1000000u + 1;
}

/* Until a result can be taken without waiting. */
static sw_status await(struct sw_postgres_conn *conn, uint64_t deadline_ns, struct sw_error *err) {
    for (;;) {
        int unsent = PQflush(conn->pq);
        if (unsent < 0 || !PQconsumeInput(conn->pq)) {
            return lost(conn, err);
        }
        if (!PQisBusy(conn->pq)) {
            return SW_OK;
        }
        uint64_t wait_ms = conn->unlimited ? 60000 : left_ms(deadline_ns);
        if (wait_ms == 0) {
            conn->base.broken = true;
            return sw_fail(err, SW_E_UNAVAILABLE, "%s does not answer", conn->base.store->place);
        }
        struct pollfd fd = {.fd = PQsocket(conn->pq), .events = (short)(POLLIN | (unsent ? POLLOUT : 0))};
        if (poll(&fd, 1, wait_ms > 60000 ? 60000 : (int)wait_ms) < 0 && errno != EINTR) {
            return lost(conn, err);
        }
    }
}

struct answer {
    sw_postgres_row *on_row;
    void *arg;
    const char *sql;
    PGresult *last;
    sw_status status;
    struct sw_error failure; /* the first one */
};

static void take(struct sw_postgres_conn *conn, struct answer *answer, PGresult *result) {
    ExecStatusType kind = PQresultStatus(result);
    if (kind == PGRES_SINGLE_TUPLE) {
        if (!answer->status && answer->on_row) {
            answer->status = answer->on_row(answer->arg, result, &answer->failure);
        }
    } else if (kind != PGRES_TUPLES_OK && kind != PGRES_COMMAND_OK && !answer->status) {
        answer->status = sw_postgres_failure(conn, result, answer->sql, &answer->failure);
    }
    PQclear(answer->last);
    answer->last = result;
}

sw_status sw_postgres_finish(struct sw_postgres_conn *conn, int sent, const char *sql, sw_postgres_row *on_row,
                             void *arg, PGresult **ret, struct sw_error *err) {
    if (!sent) {
        return lost(conn, err);
    }
    if (on_row) {
        PQsetSingleRowMode(conn->pq);
    }
    struct answer answer = {.on_row = on_row, .arg = arg, .sql = sql};
    uint64_t deadline_ns = sw_deadline_ns(2 * conn->base.store->options.statement_timeout_ms + GRACE_MS);
    for (;;) {
        sw_status status = await(conn, deadline_ns, err);
        if (status) {
            PQclear(answer.last);
            return status;
        }
        PGresult *result = PQgetResult(conn->pq);
        if (!result) {
            break;
        }
        take(conn, &answer, result);
    }
    if (answer.status || !ret) {
        PQclear(answer.last);
    } else {
        *ret = answer.last;
    }
    return answer.status ? sw_fail(err, answer.status, "%s", answer.failure.message) : SW_OK;
}

sw_status sw_postgres_simple(struct sw_postgres_conn *conn, const char *sql, PGresult **ret, struct sw_error *err) {
    return sw_postgres_finish(conn, PQsendQuery(conn->pq, sql), sql, NULL, NULL, ret, err);
}
