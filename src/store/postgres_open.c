/* Connecting to PostgreSQL without blocking longer than connect_timeout_ms (but for the resolver: a host name is
 * looked up by the C library, which has limits of its own), and what each session is told. */
#include "store/postgres_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/memory.h"

enum { OLDEST_SERVER = 120000 }; /* PostgreSQL 12 */

/* ---- place */

static const char *option(const PQconninfoOption *options, const char *keyword) {
    for (; options->keyword; options++) {
        if (strcmp(options->keyword, keyword) == 0) {
            return options->val && *options->val ? options->val : NULL;
        }
    }
    return NULL;
}

sw_status sw_postgres_place(struct sw_store *store, struct sw_error *err) {
    char *message = NULL;
    PQconninfoOption *options = PQconninfoParse(store->url, &message);
    if (!options) {
        /* Not the message: it may quote the URL, and the password in it. */
        PQfreemem(message);
        return sw_fail(err, SW_E_USAGE, "the store's URL is not one that PostgreSQL's library can read");
    }
    const char *host = option(options, "host"), *port = option(options, "port"), *name = option(options, "dbname");
    struct sw_buf place;
    sw_buf_init(&place, 1024);
    sw_buf_printf(&place, "PostgreSQL at %s", host ? host : "the local socket");
    if (port) {
        sw_buf_printf(&place, ":%s", port);
    }
    if (name) {
        sw_buf_printf(&place, "/%s", name);
    }
    store->place = sw_xstrdup(place.failed ? "PostgreSQL" : place.data);
    sw_buf_deinit(&place);
    PQconninfoFree(options);
    return SW_OK;
}

/* ---- connecting */

/* What the URL does not say itself: keep-alives find a dead host in half a minute, tcp_user_timeout one that does not
 * take what was sent, and of several hosts the one that takes changes is used. */
static PGconn *start(const char *url) {
    static const char *const keywords[] = {
        "client_encoding",
        "fallback_application_name",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
        "tcp_user_timeout",
        "target_session_attrs",
        "dbname",
        NULL,
    };
    const char *const values[] = {"UTF8", "slipway", "10", "5", "3", "10000", "read-write", url, NULL};
    return PQconnectStartParams(keywords, values, 1);
}

static sw_status drive(PGconn *pq, uint64_t timeout_ms, const char *place, struct sw_error *err) {
    uint64_t deadline_ns = sw_deadline_ns(timeout_ms);
    PostgresPollingStatusType state = PQstatus(pq) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;
    while (state == PGRES_POLLING_READING || state == PGRES_POLLING_WRITING) {
        uint64_t now = sw_deadline_ns(0);
        struct pollfd fd = {.fd = PQsocket(pq), .events = state == PGRES_POLLING_READING ? POLLIN : POLLOUT};
        uint64_t wait_ms = now >= deadline_ns ? 0 : (deadline_ns - now) / 1000000u + 1;
        int n = poll(&fd, 1, wait_ms > INT32_MAX ? INT32_MAX : (int)wait_ms);
        if (n == 0) {
            return sw_fail(err, SW_E_UNAVAILABLE, "cannot connect to %s: no answer within %llu ms", place,
                           (unsigned long long)timeout_ms);
        }
        if (n > 0) {
            state = PQconnectPoll(pq);
        } else if (errno != EINTR) {
            break;
        }
    }
    if (state != PGRES_POLLING_OK) {
        char buffer[300];
        struct sw_str line = sw_postgres_line(PQerrorMessage(pq), buffer, sizeof buffer);
        return sw_fail(err, SW_E_UNAVAILABLE, "cannot connect to %s: " SW_STR_FMT, place, SW_STR_ARG(line));
    }
    return SW_OK;
}

static void ignore_notice(void *arg, const PGresult *result) {
    (void)arg;
    (void)result;
}

/* A server that does not wait for the disk would lose acknowledged changes; one that waits for more than that is left
 * alone. A transaction whose program hangs must not hold the writer lock for ever, nor one whose machine is gone. */
static sw_status set_session(struct sw_postgres_conn *conn, struct sw_error *err) {
    char sql[768];
    snprintf(sql, sizeof sql,
             "SET statement_timeout = %llu; SET idle_in_transaction_session_timeout = 60000;"
             "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;"
             "SET default_transaction_isolation = 'read committed'; SET standard_conforming_strings = on;"
             "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
             (unsigned long long)conn->base.store->options.statement_timeout_ms);
    return sw_postgres_simple(conn, sql, NULL, err);
}

sw_status sw_postgres_connect(struct sw_store *store, struct sw_conn **ret, struct sw_error *err) {
    PGconn *pq = start(store->url);
    if (!pq) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
    }
    PQsetNoticeReceiver(pq, ignore_notice, NULL);
    struct sw_postgres_conn *conn = SW_NEW(struct sw_postgres_conn);
    conn->base = (struct sw_conn){.driver = &sw_postgres_driver, .store = store};
    conn->pq = pq;
    sw_map_init(&conn->statements);
    sw_status status = drive(pq, store->options.connect_timeout_ms, store->place, err);
    if (!status && PQserverVersion(pq) < OLDEST_SERVER) {
        status = sw_fail(err, SW_E_CONFLICT, "%s is older than PostgreSQL 12", store->place);
    }
    if (!status && PQsetnonblocking(pq, 1) != 0) {
        status = sw_fail(err, SW_E_UNAVAILABLE, "%s: the connection cannot be made non-blocking", store->place);
    }
    if (!status) {
        status = set_session(conn, err);
    }
    if (status) {
        sw_postgres_close(&conn->base);
        return status;
    }
    *ret = &conn->base;
    return SW_OK;
}

void sw_postgres_forget_statements(struct sw_postgres_conn *conn) {
    const struct sw_map_entry *entry;
    for (size_t i = 0; (entry = sw_map_next(&conn->statements, &i));) {
        sw_free(entry->value);
    }
    sw_map_deinit(&conn->statements);
    sw_map_init(&conn->statements);
}

void sw_postgres_close(struct sw_conn *base) {
    struct sw_postgres_conn *conn = sw_postgres_of(base);
    sw_postgres_forget_statements(conn);
    sw_map_deinit(&conn->statements);
    PQfinish(conn->pq);
    sw_free(conn);
}
