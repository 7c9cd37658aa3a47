/* Time-outs: walks the connections now and then and ends those that have been in one state for too long.
 *
 * The I/O threads note no times. A connection's word changes with every step, so the watcher notes when it first saw
 * the present one; what it then measures is late by at most one interval. It runs on the acceptor's thread. */
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/memory.h"
#include "http/http_internal.h"

enum { DRAIN_GRACE_NS = 20 * 1000 * 1000 };

/* Most nanoseconds in a state, or UINT64_MAX. */
static uint64_t time_out_ns(const struct sw_http_options *options, const struct sw_http_connection *c,
                            enum connection_state state) {
    uint64_t ms = 0;
    switch (state) {
    case STATE_IDLE:
        ms = atomic_load_explicit(&c->served, memory_order_relaxed) ? options->idle_timeout_ms
                                                                    : options->header_timeout_ms;
        break;
    case STATE_HEADERS: ms = options->header_timeout_ms; break;
    case STATE_BODY: /* and the answer, as long as the peer takes none of it */
    case STATE_SENDING: ms = options->body_timeout_ms; break;
    case STATE_BUSY:
    case STATE_ENDED: break;
    }
    return ms ? ms * 1000000u : UINT64_MAX;
}

/* True when the I/O thread did not come in between. */
static bool end(struct sw_http_connection *c, unsigned long long word) {
    unsigned long long ended = ((word >> STATE_BITS) + 1) << STATE_BITS | STATE_ENDED;
    return atomic_compare_exchange_strong_explicit(&c->word, &word, ended, memory_order_acq_rel, memory_order_relaxed);
}

/* Whether the peer has taken more of the answer since it was looked at last. */
static bool takes_answer(struct sw_http_connection *c) {
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    if (getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &size)) {
        return false;
    }
    bool more = info.tcpi_bytes_acked != c->seen.acknowledged;
    c->seen.acknowledged = info.tcpi_bytes_acked;
    return more;
}

/* Whether the peer has ended the stream in the middle of a request. When its last bytes and the end come together,
 * libmicrohttpd, whose events are edges, reads the bytes and does not look again. */
static bool is_abandoned(const struct sw_http_connection *c, enum connection_state state) {
    char byte;
    return (state == STATE_IDLE || state == STATE_HEADERS || state == STATE_BODY) &&
           recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void time_out(struct sw_http_connection *c, unsigned long long word) {
    enum connection_state state = word & STATE_MASK;
    bool served = atomic_load_explicit(&c->served, memory_order_relaxed);
    if (!end(c, word)) {
        return;
    }
    /* A kept-alive connection between requests is closed without a word, as is one that does not take its answer. */
    if (state == STATE_BODY) {
        sw_http_send_raw(c->fd, SW_E_REQUEST_TIMEOUT, "the body did not arrive in time", NULL);
    } else if (state == STATE_HEADERS || (state == STATE_IDLE && !served)) {
        sw_http_send_raw(c->fd, SW_E_REQUEST_TIMEOUT, "the request headers did not arrive in time", NULL);
    }
    shutdown(c->fd, SHUT_RDWR); /* the I/O thread sees the end of the stream and closes */
}

static void watch(struct sw_http_connection *c, const struct sw_http_options *options, uint64_t now) {
    unsigned long long word = atomic_load_explicit(&c->word, memory_order_acquire);
    enum connection_state state = word & STATE_MASK;
    /* The first word, 0, counts from when the connection was opened. */
    if (word != c->seen.word) {
        c->seen.word = word;
        c->seen.since_ns = now;
        return;
    }
    if (is_abandoned(c, state)) {
        atomic_store_explicit(&c->left, true, memory_order_relaxed); /* seen by who sees the connection ended */
        if (end(c, word)) {
            shutdown(c->fd, SHUT_RDWR);
        }
        return;
    }
    uint64_t most = time_out_ns(options, c, state);
    /* A connection opened since `now` was read has a later time. */
    if (most == UINT64_MAX || now < c->seen.since_ns || now - c->seen.since_ns < most) {
        return;
    }
    if (state == STATE_SENDING && takes_answer(c)) {
        c->seen.since_ns = now;
        return;
    }
    time_out(c, word);
}

void sw_http_watch_once(struct sw_http_server *server) {
    uint64_t now = sw_now_ns(server->options.clock);
    for (unsigned i = 0; i < server->io_count; i++) {
        struct sw_http_io *io = &server->io[i];
        pthread_mutex_lock(&io->lock);
        for (struct sw_http_connection *c = io->connections; c; c = c->next) {
            watch(c, &server->options, now);
        }
        pthread_mutex_unlock(&io->lock);
    }
}

/* malloc keeps what a burst of large bodies freed. Two quiet looks in a row, and the system has it back: not while
 * requests come, because trimming holds malloc's locks. */
void sw_http_watch_idle(struct sw_http_server *server) {
    enum { QUIET_LOOKS = 2 };
    unsigned long handled = 0;
    unsigned busy = 0;
    for (unsigned i = 0; i < server->io_count; i++) {
        handled += atomic_load_explicit(&server->io[i].handled, memory_order_relaxed);
        busy += atomic_load_explicit(&server->io[i].busy, memory_order_relaxed);
    }
    if (busy || handled != server->idle.handled) {
        server->idle.handled = handled;
        server->idle.quiet = 0;
    } else if (server->idle.quiet <= QUIET_LOOKS && server->idle.quiet++ == QUIET_LOOKS) {
        sw_memory_trim();
    }
}

/* A connection that stays idle for two looks DRAIN_GRACE_NS apart, with nothing to read, is ended. A request that was
 * just arriving when draining began is still served. */
static void drain(struct sw_http_connection *c, uint64_t now) {
    unsigned long long word = atomic_load_explicit(&c->word, memory_order_acquire);
    int unread = 0;
    if (word != c->seen.drain_word || c->seen.drain_ns == 0) {
        c->seen.drain_word = word;
        c->seen.drain_ns = now;
    } else if ((word & STATE_MASK) == STATE_IDLE && now - c->seen.drain_ns >= DRAIN_GRACE_NS &&
               ioctl(c->fd, FIONREAD, &unread) == 0 && unread == 0 && end(c, word)) {
        shutdown(c->fd, SHUT_RDWR);
    }
}

/* Real time: draining is about what is in flight now. */
void sw_http_watch_drain(struct sw_http_server *server) {
    uint64_t now = sw_now_ns(sw_clock_system());
    for (unsigned i = 0; i < server->io_count; i++) {
        struct sw_http_io *io = &server->io[i];
        pthread_mutex_lock(&io->lock);
        for (struct sw_http_connection *c = io->connections; c; c = c->next) {
            drain(c, now);
        }
        pthread_mutex_unlock(&io->lock);
    }
}

unsigned sw_http_watch_interval_ms(const struct sw_http_options *options) {
    const uint64_t times[] = {options->header_timeout_ms, options->body_timeout_ms, options->idle_timeout_ms};
    uint64_t interval = 1000;
    for (size_t i = 0; i < SW_COUNTOF(times); i++) {
        if (times[i] && times[i] / 4 < interval) {
            interval = times[i] / 4;
        }
    }
    return interval < 20 ? 20 : (unsigned)interval;
}
