/* A worker and its connections: what worker.c (time, what begins when) and connection.c (one request's way) share.
 *
 * Each connection is on one list of its worker:
 *
 *   vacant --open--> active (connecting) --ready--> active (request under way) --answered--> idle or the next request
 *     ^                  |                                 |
 *     |               failed                            failed, or the server closes
 *     +--- paused <------+---------------------------------+
 *
 * `active` is sorted by deadline, which is nearly always the order in which they came. Paused ones (closed loop) wait a
 * little before they connect again, so that a server that is away is not flooded. Only the worker's own thread touches
 * any of it, but for `recent` (under its lock). */
#ifndef SW_LOAD_WORKER_INTERNAL_H
#define SW_LOAD_WORKER_INTERNAL_H

#include "load/load_internal.h"
#include "load/response.h"

enum connection_state { STATE_VACANT, STATE_PAUSED, STATE_CONNECTING, STATE_IDLE, STATE_BUSY };

struct connection {
    struct sw_worker *worker;
    struct connection *previous, *next; /* in the list of its state */
    enum connection_state state;
    struct sw_transport transport;
    uint32_t events; /* epoll's */
    struct sw_response response;
    const struct sw_str *request; /* under way; kept while it is sent once more; NULL: none */
    size_t sent;
    uint64_t received;
    uint64_t start_ns;    /* of the request: due, or ready for it */
    uint64_t connect_ns;  /* when connecting began */
    uint64_t deadline_ns; /* of what is under way; of a paused one: when it connects again */
    size_t addresses_tried;
    unsigned failures;            /* to connect, in a row */
    bool used;                    /* an answer came over this connection */
    bool resent;                  /* the request */
    bool write_waits, read_waits; /* for the socket to be writable */
};

struct list {
    struct connection *first, *last;
    size_t count;
};

struct sw_worker {
    struct sw_run *run;
    unsigned lane, lanes;
    pthread_t thread;
    int epoll_fd, timer_fd, wake_fd;
    uint64_t armed_ns; /* when the timer fires; UINT64_MAX: not set */
    struct connection *connections;
    size_t connection_count;
    struct list vacant, paused, active, idle;
    size_t connecting;
    size_t address; /* that worked last */
    struct sw_arrivals arrivals;
    struct sw_backlog backlog;
    bool exhausted; /* requests_max was reached */
    size_t turn;    /* of the requests */
    uint64_t random;
    char *buffer; /* one read; shared by all connections */
    struct sw_load_totals *totals;
    pthread_mutex_t lock; /* of recent; held for a few instructions */
    struct sw_recent recent;
};

enum { BUFFER_SIZE = 64 << 10 };

void list_add(struct list *list, struct connection *c); /* at the end */
void list_remove(struct list *list, struct connection *c);

/* --- worker.c --- */
bool worker_is_open_loop(const struct sw_worker *w);
bool worker_claim(struct sw_worker *w, uint64_t start_ns); /* may one more request begin? */
const struct sw_str *worker_next_request(struct sw_worker *w);
/* A request has ended; received: bytes of its answer; reason: of a failure. */
void worker_record(struct sw_worker *w, enum sw_load_outcome outcome, int status, uint64_t start_ns, uint64_t now,
                   uint64_t received, const char *reason);
void worker_record_start(struct sw_worker *w, uint64_t start_ns, uint64_t now, size_t bytes);

/* --- connection.c --- */
/* Of a vacant connection: connects, for whatever request is then next. */
void connection_open(struct connection *c, uint64_t now);
/* Of an idle one: sends the next request, which was due at start_ns. */
void connection_send(struct connection *c, uint64_t start_ns, uint64_t now);
/* Takes the next request if there is one to take; else the connection stays idle or vacant. */
void connection_next(struct connection *c, uint64_t now);
void connection_event(struct connection *c, uint32_t events, uint64_t now);
void connection_expire(struct connection *c, uint64_t now); /* its deadline has passed */
void connection_close(struct connection *c);                /* becomes vacant; nothing is recorded */

#endif
