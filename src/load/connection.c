/* The way of one request over one connection; see worker_internal.h for the states.
 *
 * All functions run on the worker's thread. A connection's event is handled to its end before the next one's, and a
 * handler never touches another connection, so that events gathered by one epoll_wait stay true. */
#include <sys/epoll.h>

#include "load/worker_internal.h"

static const uint64_t PAUSE_FIRST_NS = 10000000, PAUSE_LAST_NS = 1000000000;

/* --- lists -------------------------------------------------------------------------------------------------------- */

static struct list *list_of(struct connection *c) {
    struct sw_worker *w = c->worker;
    switch (c->state) {
    case STATE_VACANT: return &w->vacant;
    case STATE_PAUSED: return &w->paused;
    case STATE_IDLE: return &w->idle;
    default: return &w->active;
    }
}

/* In front of the first one with a later deadline, looked for from the end. */
static void add_sorted(struct list *list, struct connection *c) {
    struct connection *before = list->last;
    while (before && before->deadline_ns > c->deadline_ns) {
        before = before->previous;
    }
    c->previous = before;
    c->next = before ? before->next : list->first;
    *(c->previous ? &c->previous->next : &list->first) = c;
    *(c->next ? &c->next->previous : &list->last) = c;
    list->count++;
}

void list_add(struct list *list, struct connection *c) {
    c->previous = list->last;
    c->next = NULL;
    *(c->previous ? &c->previous->next : &list->first) = c;
    list->last = c;
    list->count++;
}

void list_remove(struct list *list, struct connection *c) {
    *(c->previous ? &c->previous->next : &list->first) = c->next;
    *(c->next ? &c->next->previous : &list->last) = c->previous;
    list->count--;
}

static void change_state(struct connection *c, enum connection_state state) {
    struct sw_worker *w = c->worker;
    list_remove(list_of(c), c);
    w->connecting -= c->state == STATE_CONNECTING;
    w->connecting += state == STATE_CONNECTING;
    c->state = state;
    if (state == STATE_VACANT || state == STATE_IDLE) {
        list_add(list_of(c), c);
    } else {
        add_sorted(list_of(c), c);
    }
}

/* --- epoll -------------------------------------------------------------------------------------------------------- */

static void watch(struct connection *c) {
    bool out = c->state == STATE_CONNECTING ? c->transport.wants_write : c->write_waits || c->read_waits;
    bool in = c->state != STATE_CONNECTING || c->transport.connected;
    uint32_t wanted = (in ? EPOLLIN : 0u) | (out ? EPOLLOUT : 0u);
    if (c->events != wanted) {
        struct epoll_event event = {.events = wanted, .data.ptr = c};
        int rc = epoll_ctl(c->worker->epoll_fd, c->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->transport.fd, &event);
        SW_ASSERT(rc == 0);
        c->events = wanted;
    }
}

static void close_transport(struct connection *c) {
    sw_transport_close(&c->transport); /* which takes it out of epoll too */
    c->events = 0;
    c->used = c->write_waits = c->read_waits = false;
}

void connection_close(struct connection *c) {
    close_transport(c);
    c->request = NULL;
    change_state(c, STATE_VACANT);
}

/* --- the end of a request ----------------------------------------------------------------------------------------- */

static void finish(struct connection *c, enum sw_load_outcome outcome, uint64_t now, const char *reason) {
    bool keep = (outcome == SW_LOAD_SUCCESS || outcome == SW_LOAD_STATUS) && !c->response.close &&
                c->sent == c->request->len;
    bool answered = outcome == SW_LOAD_SUCCESS || outcome == SW_LOAD_STATUS;
    worker_record(c->worker, outcome, answered ? c->response.status : 0, c->start_ns, now, c->received, reason);
    if (!keep) {
        connection_close(c);
        connection_next(c, now);
        return;
    }
    c->used = true;
    c->request = NULL;
    change_state(c, STATE_IDLE);
    connection_next(c, now);
}

/* Closed loop: waits before it tries again, longer each time. Open loop: what comes next tries at once. */
static void pause_connection(struct connection *c, uint64_t now) {
    connection_close(c);
    if (!worker_is_open_loop(c->worker)) {
        unsigned doublings = c->failures < 10 ? c->failures : 10;
        uint64_t pause_ns = PAUSE_FIRST_NS << doublings;
        c->deadline_ns = now + (pause_ns < PAUSE_LAST_NS ? pause_ns : PAUSE_LAST_NS);
        c->failures++;
        change_state(c, STATE_PAUSED);
    }
}

/* No connection: the fault of the request it was made for. In an open loop that is the one that has waited longest, if
 * no other connection has taken it meanwhile. */
static void fail_connect(struct connection *c, uint64_t now) {
    struct sw_worker *w = c->worker;
    struct sw_transport *t = &c->transport;
    enum sw_load_outcome outcome = t->tls_failed ? SW_LOAD_TLS : SW_LOAD_CONNECT;
    uint64_t start_ns = c->start_ns;
    bool bound = c->request || !worker_is_open_loop(w);
    if (bound || sw_backlog_pop(&w->backlog, &start_ns)) {
        worker_record(w, outcome, 0, start_ns, now, 0, t->reason);
    }
    pause_connection(c, now);
}

/* --- connecting --------------------------------------------------------------------------------------------------- */

static void start_request(struct connection *c, uint64_t now);

static void connected(struct connection *c, uint64_t now) {
    struct sw_worker *w = c->worker;
    sw_histogram_record(&w->totals->connect_ns, now - c->connect_ns);
    w->totals->connections++;
    w->address = (w->address + c->addresses_tried) % w->run->address_count;
    c->addresses_tried = 0;
    c->failures = 0;
    if (c->request) { /* once more */
        change_state(c, STATE_BUSY);
        start_request(c, now);
    } else if (!worker_is_open_loop(w) && now < w->run->end_ns) {
        change_state(c, STATE_IDLE);
        connection_send(c, now, now);
    } else {
        change_state(c, STATE_IDLE);
        watch(c);
        connection_next(c, now);
    }
}

static void try_address(struct connection *c, uint64_t now);

static void take_connect_result(struct connection *c, enum sw_io io, uint64_t now) {
    struct sw_run *run = c->worker->run;
    if (io == SW_IO_OK) {
        connected(c, now);
    } else if (io == SW_IO_AGAIN) {
        watch(c);
    } else if (!c->transport.connected && ++c->addresses_tried < run->address_count) {
        close_transport(c);
        try_address(c, now);
    } else {
        c->addresses_tried = 0;
        fail_connect(c, now);
    }
}

static void try_address(struct connection *c, uint64_t now) {
    struct sw_run *run = c->worker->run;
    const struct sw_address *address = &run->addresses[(c->worker->address + c->addresses_tried) % run->address_count];
    take_connect_result(c, sw_transport_open(&c->transport, address, run->tls, run->settings->url->host), now);
}

/* With c->deadline_ns set. */
static void start_connecting(struct connection *c, uint64_t now) {
    c->connect_ns = now;
    c->addresses_tried = 0;
    change_state(c, STATE_CONNECTING);
    try_address(c, now);
}

void connection_open(struct connection *c, uint64_t now) {
    c->start_ns = now;
    c->deadline_ns = now + c->worker->run->settings->timeout_ns;
    start_connecting(c, now);
}

/* The server gave up a kept connection just as the request went out. */
static void send_once_more(struct connection *c, uint64_t now) {
    c->worker->totals->resent++;
    c->resent = true;
    close_transport(c);
    start_connecting(c, now);
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

/* A failed write is no end yet: the answer may be there to read, or the reason. */
static void write_request(struct connection *c) {
    enum sw_io io = SW_IO_OK;
    while (io == SW_IO_OK && c->sent < c->request->len) {
        size_t n = 0;
        io = sw_transport_write(&c->transport, c->request->data + c->sent, c->request->len - c->sent, &n);
        c->sent += n;
    }
    c->write_waits = io == SW_IO_AGAIN && c->transport.wants_write;
    watch(c);
}

static void start_request(struct connection *c, uint64_t now) {
    struct sw_run *run = c->worker->run;
    c->sent = 0;
    c->received = 0;
    sw_response_init(&c->response, run->settings->to_head, run->settings->body_max);
    write_request(c);
}

void connection_send(struct connection *c, uint64_t start_ns, uint64_t now) {
    struct sw_worker *w = c->worker;
    c->request = worker_next_request(w);
    c->start_ns = start_ns;
    c->deadline_ns = start_ns + w->run->settings->timeout_ns;
    c->resent = false;
    worker_record_start(w, start_ns, now, c->request->len);
    change_state(c, STATE_BUSY);
    start_request(c, now);
}

void connection_next(struct connection *c, uint64_t now) {
    struct sw_worker *w = c->worker;
    uint64_t due_ns;
    if (worker_is_open_loop(w)) {
        if (c->state == STATE_IDLE && sw_backlog_pop(&w->backlog, &due_ns)) {
            connection_send(c, due_ns, now);
        }
        return;
    }
    if (!worker_claim(w, now)) {
        if (c->state == STATE_IDLE) {
            connection_close(c);
        }
    } else if (c->state == STATE_IDLE) {
        connection_send(c, now, now);
    } else {
        connection_open(c, now);
    }
}

/* --- receiving ---------------------------------------------------------------------------------------------------- */

static void take_end(struct connection *c, enum sw_io io, uint64_t now) {
    bool ordered = io == SW_IO_END;
    const char *reason = ordered ? "the server closed the connection" : c->transport.reason;
    if (ordered && sw_response_end(&c->response) == SW_RESPONSE_DONE) {
        bool accepted = c->worker->run->settings->accepts[c->response.status];
        finish(c, accepted ? SW_LOAD_SUCCESS : SW_LOAD_STATUS, now, "");
    } else if (c->response.started) {
        finish(c, SW_LOAD_SHORT, now, reason);
    } else if (c->used && !c->resent) {
        send_once_more(c, now);
    } else {
        finish(c, SW_LOAD_CLOSED, now, reason);
    }
}

static void take_answer(struct connection *c, uint64_t now) {
    char reason[SW_LOAD_REASON_MAX];
    if (c->worker->run->settings->accepts[c->response.status]) {
        finish(c, SW_LOAD_SUCCESS, now, "");
        return;
    }
    snprintf(reason, sizeof reason, "%d %.*s", c->response.status, (int)c->response.sample_len, c->response.sample);
    finish(c, SW_LOAD_STATUS, now, reason);
}

/* true: the answer goes on. */
static bool take_bytes(struct connection *c, size_t len, uint64_t now) {
    size_t used;
    enum sw_response_result result = sw_response_feed(&c->response, c->worker->buffer, len, &used);
    c->received += len;
    if (result == SW_RESPONSE_MORE) {
        return true;
    }
    if (result == SW_RESPONSE_TOO_LARGE) {
        finish(c, SW_LOAD_TOO_LARGE, now, c->response.reason);
    } else if (result == SW_RESPONSE_BAD) {
        finish(c, SW_LOAD_PROTOCOL, now, c->response.reason);
    } else if (used < len || sw_transport_has_more(&c->transport)) {
        finish(c, SW_LOAD_PROTOCOL, now, "bytes behind the end of the answer");
    } else {
        take_answer(c, now);
    }
    return false;
}

static void read_answer(struct connection *c) {
    struct sw_clock *clock = sw_clock_system();
    do {
        size_t n;
        enum sw_io io = sw_transport_read(&c->transport, c->worker->buffer, BUFFER_SIZE, &n);
        uint64_t now = sw_now_ns(clock);
        c->read_waits = io == SW_IO_AGAIN && c->transport.ssl && c->transport.wants_write;
        if (io == SW_IO_AGAIN) {
            watch(c);
            return;
        }
        if (io != SW_IO_OK) {
            take_end(c, io, now);
            return;
        }
        if (!take_bytes(c, n, now)) {
            return;
        }
    } while (sw_transport_has_more(&c->transport));
}

/* Nothing was asked: the server closes, or says what nobody waits for. */
static void read_idle(struct connection *c, uint64_t now) {
    size_t n;
    enum sw_io io = sw_transport_read(&c->transport, c->worker->buffer, BUFFER_SIZE, &n);
    if (io == SW_IO_AGAIN) {
        watch(c);
        return;
    }
    connection_close(c);
    connection_next(c, now);
}

void connection_event(struct connection *c, uint32_t events, uint64_t now) {
    switch (c->state) {
    case STATE_CONNECTING: take_connect_result(c, sw_transport_continue(&c->transport), now); break;
    case STATE_IDLE: read_idle(c, now); break;
    case STATE_BUSY:
        if (c->sent < c->request->len && (events & EPOLLOUT || c->transport.ssl)) {
            write_request(c);
        }
        if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) || c->transport.ssl) {
            read_answer(c);
        }
        break;
    default: SW_ASSERT(!"an event of a closed connection");
    }
}

void connection_expire(struct connection *c, uint64_t now) {
    if (c->state == STATE_PAUSED) {
        change_state(c, STATE_VACANT);
        connection_next(c, now);
    } else if (c->state == STATE_CONNECTING) {
        snprintf(c->transport.reason, sizeof c->transport.reason, "no connection in time");
        fail_connect(c, now);
    } else {
        finish(c, SW_LOAD_TIMEOUT, now, c->response.started ? "the answer was not whole in time" : "no answer in time");
    }
}
