/* Load on an HTTP server, and what it did to it.
 *
 * Closed loop (rate_per_s 0): each connection sends its next request when the last one is answered; the server sets the
 * pace. Open loop: requests are due by a timetable whatever the server does (load/arrivals.h), and `connections` is the
 * most that may be under way at once.
 *
 * One thread a share of the connections, each with an epoll of its own and nothing shared with the others but the end.
 * A request is counted when it began, or was due, in the measured window: behind the warm-up, before the end. Nothing
 * begins behind the end, and what is under way then is still waited for, at most timeout_ns: a run never lasts longer
 * than warm-up, duration and timeout together.
 *
 * What latency is: from the moment a request was due (open loop) or its connection was ready for it (closed loop) to the
 * last byte of its answer. Time to connect is counted apart in a closed loop, and is part of the latency in an open one.
 * A kept connection that the server closed before the first byte of an answer came is no fault of either side: the request goes out
 * once more on a new one, with the time running on, and is counted in `resent`. */
#ifndef SW_LOAD_LOAD_H
#define SW_LOAD_LOAD_H

#include <jansson.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/histogram.h"
#include "load/arrivals.h"
#include "load/url.h"

enum {
    SW_LOAD_CONNECTIONS_MAX = 65536,
    SW_LOAD_THREADS_MAX = 128,
    SW_LOAD_STATUS_COUNT = 600,    /* statuses are below it */
    SW_LOAD_BACKLOG_MAX = 1 << 20, /* requests that are due and wait, over all threads */
    SW_LOAD_REASON_MAX = 200,
};

/* How a request ended. Names of classes: sw_load_outcome_name. */
enum sw_load_outcome {
    SW_LOAD_SUCCESS,
    SW_LOAD_CONNECT,   /* no connection */
    SW_LOAD_TLS,       /* no encrypted one: certificate, handshake */
    SW_LOAD_TIMEOUT,   /* no whole answer in time */
    SW_LOAD_STATUS,    /* a whole answer with a status that was not wanted */
    SW_LOAD_CLOSED,    /* the connection ended before the answer began */
    SW_LOAD_SHORT,     /* ... before it was whole */
    SW_LOAD_PROTOCOL,  /* no HTTP, or bytes behind the end of the answer */
    SW_LOAD_TOO_LARGE, /* a body above body_max */
    SW_LOAD_DROPPED,   /* never sent: the backlog was full */
    SW_LOAD_OUTCOME_COUNT,
};
const char *sw_load_outcome_name(enum sw_load_outcome outcome); /* "success", "connect", ... */

/* One second of a run. */
struct sw_load_row {
    double at_s; /* its end, from the beginning of the measured window: not above 0 in the warm-up */
    double seconds;
    uint64_t requests, successes;          /* that ended in it, whenever they began */
    double p50_ms, p95_ms, p99_ms, max_ms; /* of the successes; 0 without one */
};

struct sw_load_settings {
    const struct sw_load_url *url;
    const struct sw_str *requests; /* as they go over the wire: load/request.h; taken in turn */
    size_t request_count;
    bool random_order;             /* each drawn by chance instead */
    uint64_t seed;                 /* of order and arrivals */
    bool to_head;                  /* the method is HEAD */
    const bool *accepts;           /* [SW_LOAD_STATUS_COUNT]: which statuses are successes */
    unsigned connections, threads; /* 1 ..; threads at most connections */
    double rate_per_s;             /* 0: closed loop; else 0.001 to 10^7 */
    enum sw_arrivals_kind arrivals;
    uint64_t warmup_ns, duration_ns, timeout_ns;
    uint64_t requests_max; /* the run ends when so many were measured; 0: no such limit */
    uint64_t body_max;     /* bytes of an answer */
    size_t backlog_max;    /* 0: SW_LOAD_BACKLOG_MAX */
    bool insecure_tls;     /* certificates are not verified */
    int stop_fd;           /* readable: end at once, and report; -1: none */
    void (*on_row)(void *arg, const struct sw_load_row *row); /* each second, on the calling thread; NULL */
    void *on_row_arg;
};

struct sw_load_totals {
    uint64_t outcomes[SW_LOAD_OUTCOME_COUNT]; /* their sum: requests */
    uint64_t statuses[SW_LOAD_STATUS_COUNT];  /* of whole answers */
    uint64_t
        answered; /* successes that came in the measured window, whenever they began: throughput is this by its length */
    uint64_t late;                /* open loop: due when no connection was free */
    uint64_t resent, connections; /* connections: opened over the whole run */
    uint64_t bytes_sent, bytes_received;
    size_t backlog_max;                                      /* most that waited, summed over threads */
    struct sw_histogram latency_ns;                          /* of successes */
    struct sw_histogram connect_ns;                          /* of connections, over the whole run */
    struct sw_histogram lag_ns;                              /* open loop: from due to sent */
    char reasons[SW_LOAD_OUTCOME_COUNT][SW_LOAD_REASON_MAX]; /* one example each; "" without */
};

struct sw_load_result {
    struct sw_load_totals *totals; /* heap */
    struct sw_load_row *rows;      /* heap */
    size_t row_count;
    uint64_t measured_ns; /* length of the measured window; less than asked for when it ended early */
    uint64_t cpu_ns;      /* of this process over the run, user and system */
    uint64_t wall_ns;     /* of the run: warm-up and the wait for last answers included */
    uint64_t started_wall_ms;
    bool interrupted; /* by stop_fd */
};

/* Resolves the host, runs, and reports. Failing requests are a result, not an error. SW_E_IO: the host is not known, no
 * descriptors, no threads. */
SW_MUST_CHECK sw_status sw_load_run(const struct sw_load_settings *settings, struct sw_load_result *ret,
                                    struct sw_error *err);
void sw_load_result_deinit(struct sw_load_result *result);

uint64_t sw_load_requests(const struct sw_load_totals *totals); /* all that were counted */

#endif
