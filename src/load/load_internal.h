/* What the files of the load engine share: transports, workers. */
#ifndef SW_LOAD_LOAD_INTERNAL_H
#define SW_LOAD_LOAD_INTERNAL_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "load/load.h"

bool sw_load_is_token(struct sw_str s); /* of RFC 9110 */

/* --- transport.c: a non-blocking connection, plain or TLS ---------------------------------------------------------- */

enum sw_io {
    SW_IO_OK,
    SW_IO_AGAIN, /* wait for the socket: readable, or writable when transport->wants_write */
    SW_IO_END,   /* the other side closed in order */
    SW_IO_ERROR, /* transport->reason */
};

struct sw_transport {
    int fd; /* -1: closed */
    SSL *ssl;
    bool wants_write, connected;
    bool tls_failed; /* the error is one of TLS, not of the network */
    char reason[SW_LOAD_REASON_MAX];
};

struct sw_address {
    struct sockaddr_storage storage;
    socklen_t size;
};

/* NULL context: plain. `host` is the name that the certificate must have; NULL: it is not checked. */
enum sw_io sw_transport_open(struct sw_transport *t, const struct sw_address *address, SSL_CTX *tls, const char *host);
enum sw_io sw_transport_continue(struct sw_transport *t); /* connecting, and the handshake */
enum sw_io sw_transport_read(struct sw_transport *t, char *data, size_t size, size_t *ret_len);
enum sw_io sw_transport_write(struct sw_transport *t, const char *data, size_t len, size_t *ret_len);
bool sw_transport_has_more(const struct sw_transport *t); /* bytes that epoll does not tell of */
void sw_transport_close(struct sw_transport *t);

SW_MUST_CHECK sw_status sw_tls_context(bool insecure, SSL_CTX **ret, struct sw_error *err);

/* --- worker.c ------------------------------------------------------------------------------------------------------ */

enum { SW_ADDRESSES_MAX = 16 };

/* What all workers see; fixed while they run but for the atomics. */
struct sw_run {
    const struct sw_load_settings *settings;
    struct sw_address addresses[SW_ADDRESSES_MAX];
    size_t address_count;
    SSL_CTX *tls; /* NULL: plain */
    uint64_t start_ns, measure_ns, end_ns;
    atomic_ullong claimed; /* of requests_max */
    atomic_bool stopped;
    int done_fd; /* eventfd: one for each worker that ended */
};

/* What ended since the run last took it: for the rows. */
struct sw_recent {
    uint64_t requests, successes;
    struct sw_histogram latency_ns;
};

struct sw_worker;

struct sw_worker *sw_worker_create(struct sw_run *run, unsigned lane, unsigned lanes);
SW_MUST_CHECK sw_status sw_worker_start(struct sw_worker *worker, struct sw_error *err);
void sw_worker_wake(struct sw_worker *worker);                                    /* any thread: look at run->stopped */
void sw_worker_take_recent(struct sw_worker *worker, struct sw_recent *into);     /* any thread: adds, and clears */
void sw_worker_join(struct sw_worker *worker);                                    /* of one that was started */
void sw_worker_add_totals(struct sw_worker *worker, struct sw_load_totals *into); /* after join */
void sw_worker_destroy(struct sw_worker *worker);

void sw_load_totals_merge(struct sw_load_totals *into, const struct sw_load_totals *from);

#endif
