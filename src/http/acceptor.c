/* The acceptor thread: takes connections and hands each to the least loaded I/O thread, runs the watcher, and reads
 * sockets empty that are about to be closed.
 *
 * libmicrohttpd's own pool lets its threads race for connections, which spreads them badly; here each gets its share.
 * Beyond connections_max a connection is taken, told 503 and closed, so that the client knows at once. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/http_internal.h"

enum { EVENTS_MAX = 64, ACCEPT_BURST = 256, DRAIN_TICK_MS = 10, BACKLOG = 4096, READ_AT_ONCE = 64 * 1024 };

static sw_status add_event(struct sw_http_server *server, int fd, struct sw_error *err) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event)) {
        return sw_fail(err, SW_E_IO, "epoll_ctl: %s", strerror(errno));
    }
    return SW_OK;
}

/* A listening socket on one address of the list, or -1 with errno. */
static int listen_on(const struct addrinfo *a) {
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0) {
        return -1;
    }
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, a->ai_addr, a->ai_addrlen) || listen(fd, BACKLOG)) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

static uint16_t port_of(int fd) {
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &size)) {
        return 0;
    }
    return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                               : ((struct sockaddr_in *)&address)->sin_port);
}

static sw_status bind_address(struct sw_http_server *server, struct sw_error *err) {
    const struct sw_http_options *options = &server->options;
    char port[8];
    snprintf(port, sizeof port, "%u", options->port);
    bool brackets = strchr(options->host, ':') != NULL;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found = NULL;
    int rc = getaddrinfo(options->host, port, &hints, &found);
    if (rc) {
        return sw_fail(err, SW_E_IO, "host %s cannot be resolved: %s", options->host, gai_strerror(rc));
    }
    for (const struct addrinfo *a = found; a && server->listen_fd < 0; a = a->ai_next) {
        server->listen_fd = listen_on(a);
    }
    int saved = errno;
    freeaddrinfo(found);
    if (server->listen_fd >= 0) {
        server->port = port_of(server->listen_fd);
        return SW_OK;
    }
    const char *open = brackets ? "[" : "", *close = brackets ? "]" : "";
    if (saved == EADDRINUSE) {
        return sw_fail(err, SW_E_IO, "address %s%s%s:%s is in use by another process; choose another port", open,
                       options->host, close, port);
    }
    return sw_fail(err, SW_E_IO, "address %s%s%s:%s cannot be listened on: %s", open, options->host, close, port,
                   strerror(saved));
}

sw_status sw_http_listen(struct sw_http_server *server, struct sw_error *err) {
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    server->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (server->epoll_fd < 0 || server->wake_fd < 0 || server->spare_fd < 0) {
        return sw_fail(err, SW_E_IO, "no descriptors for the HTTP server: %s", strerror(errno));
    }
    SW_TRY(bind_address(server, err));
    SW_TRY(add_event(server, server->listen_fd, err));
    return add_event(server, server->wake_fd, err);
}

void sw_http_acceptor_wake(struct sw_http_server *server) {
    uint64_t one = 1;
    (void)!write(server->wake_fd, &one, sizeof one); /* fails only when a wake-up is due already */
}

void sw_http_linger(struct sw_http_server *server, int fd) {
    pthread_mutex_lock(&server->lock);
    bool room = server->inbox_count < LINGER_MAX;
    if (room) {
        server->inbox[server->inbox_count++] = fd;
    }
    pthread_mutex_unlock(&server->lock);
    if (room) {
        sw_http_acceptor_wake(server);
    } else {
        close(fd); /* too many at once: the peer may see a reset instead of its answer */
    }
}

static void linger_end(struct sw_http_server *server, size_t i) {
    close(server->linger[i].fd); /* leaves the epoll set with it: this was the last descriptor */
    server->linger[i] = server->linger[--server->linger_count];
}

static void linger_begin(struct sw_http_server *server, int fd) {
    shutdown(fd, SHUT_WR);
    if (server->linger_count == LINGER_MAX || add_event(server, fd, NULL)) {
        close(fd);
        return;
    }
    uint64_t deadline = sw_now_ns(sw_clock_system()) + (uint64_t)LINGER_MS * 1000000u;
    server->linger[server->linger_count++] = (struct lingering){fd, deadline};
}

static void take_inbox(struct sw_http_server *server) {
    int fds[LINGER_MAX];
    uint64_t ignored;
    (void)!read(server->wake_fd, &ignored, sizeof ignored);
    pthread_mutex_lock(&server->lock);
    size_t count = server->inbox_count;
    memcpy(fds, server->inbox, count * sizeof *fds);
    server->inbox_count = 0;
    pthread_mutex_unlock(&server->lock);
    for (size_t i = 0; i < count; i++) {
        linger_begin(server, fds[i]);
    }
}

/* Drops what has come. */
static void linger_read(struct sw_http_server *server, int fd) {
    for (size_t i = 0; i < server->linger_count; i++) {
        if (server->linger[i].fd == fd) {
            /* For TCP, MSG_TRUNC throws data away without copying it. */
            ssize_t n = recv(fd, NULL, READ_AT_ONCE, MSG_TRUNC | MSG_DONTWAIT);
            if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
                linger_end(server, i);
            }
            return;
        }
    }
}

static void linger_expire(struct sw_http_server *server) {
    uint64_t now = server->linger_count ? sw_now_ns(sw_clock_system()) : 0;
    for (size_t i = server->linger_count; i-- > 0;) {
        if (now >= server->linger[i].deadline_ns) {
            linger_end(server, i);
        }
    }
}

static void hand_over(struct sw_http_server *server, int fd, const struct sockaddr *address, socklen_t size) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct sw_http_io *best = &server->io[server->turn % server->io_count];
    for (unsigned i = 1; i < server->io_count; i++) {
        struct sw_http_io *io = &server->io[(server->turn + i) % server->io_count];
        if (atomic_load_explicit(&io->load, memory_order_relaxed) <
            atomic_load_explicit(&best->load, memory_order_relaxed)) {
            best = io;
        }
    }
    server->turn++;
    atomic_fetch_add(&best->load, 1);
    atomic_fetch_add(&server->connections, 1);
    if (MHD_add_connection(best->daemon, fd, address, size) != MHD_YES) { /* closes fd in any case */
        atomic_fetch_sub(&best->load, 1);
        atomic_fetch_sub(&server->connections, 1);
    }
}

/* Descriptors have run out: gives up the spare one to take a connection and close it, else it would be reported as
 * waiting for ever. */
static void refuse_without_descriptor(struct sw_http_server *server) {
    if (server->spare_fd >= 0) {
        close(server->spare_fd);
        int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            sw_http_send_raw(fd, SW_E_UNAVAILABLE, "the server has run out of file descriptors", NULL);
            close(fd);
        }
        server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    } else {
        poll(NULL, 0, DRAIN_TICK_MS); /* another thread took it; let something close */
        server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
}

/* Takes what waits, at most ACCEPT_BURST connections. true when nothing is left. */
static bool accept_some(struct sw_http_server *server) {
    for (int i = 0; i < ACCEPT_BURST; i++) {
        struct sockaddr_storage address;
        socklen_t size = sizeof address;
        int fd = accept4(server->listen_fd, (struct sockaddr *)&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0 && atomic_load(&server->connections) >= server->options.connections_max) {
            sw_http_send_raw(fd, SW_E_UNAVAILABLE, "the server has too many connections", NULL);
            linger_begin(server, fd);
        } else if (fd >= 0) {
            hand_over(server, fd, (struct sockaddr *)&address, size);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            refuse_without_descriptor(server);
            return false;
        } else if (errno == EAGAIN) {
            return true;
        } /* else: this connection has failed already; the next one */
    }
    return false;
}

static void stop_listening(struct sw_http_server *server) {
    /* Who has connected before draining is answered; no more than the kernel held then, if others keep coming. */
    for (int taken = 0; taken < BACKLOG && !accept_some(server) && !atomic_load(&server->stopping);) {
        taken += ACCEPT_BURST;
    }
    close(server->listen_fd);
    server->listen_fd = -1;
}

void *sw_http_acceptor_run(void *arg) {
    struct sw_http_server *server = arg;
    const unsigned interval_ms = sw_http_watch_interval_ms(&server->options);
    uint64_t next_watch_ns = 0;
    while (!atomic_load(&server->stopping)) {
        bool draining = atomic_load(&server->draining);
        if (draining && server->listen_fd >= 0) {
            stop_listening(server);
        }
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(server->epoll_fd, events, EVENTS_MAX, draining ? DRAIN_TICK_MS : (int)interval_ms);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == server->wake_fd) {
                take_inbox(server);
            } else if (fd == server->listen_fd) {
                accept_some(server);
            } else {
                linger_read(server, fd);
            }
        }
        uint64_t now = sw_now_ns(sw_clock_system());
        if (now >= next_watch_ns) {
            sw_http_watch_once(server);
            sw_http_watch_idle(server);
            linger_expire(server);
            next_watch_ns = now + (uint64_t)interval_ms * 1000000u;
        }
        if (draining) {
            sw_http_watch_drain(server);
        }
    }
    take_inbox(server);
    while (server->linger_count) {
        linger_end(server, server->linger_count - 1);
    }
    return NULL;
}
