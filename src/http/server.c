/* Starting, draining and ending the HTTP server.
 *
 * Order at the end: no more connections (acceptor), no more handlers (stopping, then wait until none is busy), then
 * libmicrohttpd's daemons, which must not be stopped while a connection is suspended, then memory. */
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/thread.h"
#include "http/http_internal.h"

static const uint64_t poll_ns = 1000000;

static sw_status start_daemons(struct sw_http_server *server, struct sw_error *err) {
    /* libmicrohttpd's threads inherit the mask: signals are for the main thread. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    sw_status status = SW_OK;
    for (unsigned i = 0; i < server->io_count && status == SW_OK; i++) {
        server->io[i].daemon = sw_http_daemon_start(&server->io[i]);
        if (!server->io[i].daemon) {
            status = sw_fail(err, SW_E_IO, "libmicrohttpd cannot be started: %s", strerror(errno));
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status;
}

/* Room for what a body of the longest kind becomes: tensors take up to eight times their JSON (strings of one byte),
 * and the answer's text grows by copying. */
static size_t arena_max(const struct sw_http_options *options) {
    size_t bytes;
    return __builtin_mul_overflow(options->body_max, ARENA_PER_BODY_BYTE, &bytes) ||
                   __builtin_add_overflow(bytes, ARENA_BASE, &bytes)
               ? SIZE_MAX
               : bytes;
}

static struct sw_http_server *make(const struct sw_http_options *options) {
    struct sw_http_server *server = sw_aligned_alloc(SW_CACHE_LINE, sizeof *server);
    SW_ASSERT(server);
    memset(server, 0, sizeof *server);
    server->options = *options;
    server->arena_max = arena_max(options);
    server->listen_fd = server->epoll_fd = server->wake_fd = server->spare_fd = -1;
    server->router = sw_router_create(options->routes, options->route_count);
    server->io_count = options->io_threads ? options->io_threads : 1;
    server->io = sw_aligned_alloc(SW_CACHE_LINE, server->io_count * sizeof *server->io);
    SW_ASSERT(server->io);
    memset(server->io, 0, server->io_count * sizeof *server->io);
    pthread_mutex_init(&server->lock, NULL);
    for (unsigned i = 0; i < server->io_count; i++) {
        server->io[i].server = server;
        server->io[i].index = i;
        pthread_mutex_init(&server->io[i].lock, NULL);
    }
    return server;
}

sw_status sw_http_server_start(const struct sw_http_options *options, struct sw_http_server **ret,
                               struct sw_error *err) {
    SW_ASSERT(options->clock && options->host && options->connections_max && options->header_bytes_max);
    struct sw_http_server *server = make(options);
    sw_status status = sw_http_listen(server, err);
    if (status == SW_OK) {
        status = start_daemons(server, err);
    }
    if (status == SW_OK) {
        status = sw_thread_start(&server->acceptor, "sw-accept", 0, sw_http_acceptor_run, server, err);
        server->acceptor_running = status == SW_OK;
    }
    if (status) {
        sw_http_server_destroy(server);
        return status;
    }
    *ret = server;
    return SW_OK;
}

uint16_t sw_http_server_port(const struct sw_http_server *server) {
    return server->port;
}

unsigned sw_http_server_connections(const struct sw_http_server *server) {
    return atomic_load_explicit(&server->connections, memory_order_relaxed);
}

size_t sw_http_server_buffered(const struct sw_http_server *server) {
    return atomic_load_explicit(&server->buffered, memory_order_relaxed);
}

static void pause_briefly(void) {
    nanosleep(&(struct timespec){0, (long)poll_ns}, NULL);
}

void sw_http_server_drain(struct sw_http_server *server, uint64_t drain_ms) {
    uint64_t deadline = sw_now_ns(sw_clock_system()) + drain_ms * 1000000u;
    atomic_store(&server->draining, true);
    sw_http_acceptor_wake(server);
    while (atomic_load(&server->connections) > 0 && sw_now_ns(sw_clock_system()) < deadline) {
        pause_briefly();
    }
}

static void wait_for_handlers(struct sw_http_server *server) {
    for (unsigned i = 0; i < server->io_count; i++) {
        while (atomic_load(&server->io[i].busy)) {
            pause_briefly();
        }
    }
}

static void close_if_open(int fd) {
    if (fd >= 0) {
        close(fd);
    }
}

void sw_http_server_destroy(struct sw_http_server *server) {
    if (!server) {
        return;
    }
    atomic_store(&server->stopping, true);
    if (server->acceptor_running) {
        sw_http_acceptor_wake(server);
        pthread_join(server->acceptor, NULL);
    }
    wait_for_handlers(server);
    for (unsigned i = 0; i < server->io_count; i++) {
        struct sw_http_io *io = &server->io[i];
        if (io->daemon) {
            MHD_stop_daemon(io->daemon);
        }
        sw_http_pool_clear(io);
        sw_http_io_end_encoding(io);
        pthread_mutex_destroy(&io->lock);
    }
    for (size_t i = 0; i < server->inbox_count; i++) {
        close(server->inbox[i]);
    }
    close_if_open(server->listen_fd);
    close_if_open(server->epoll_fd);
    close_if_open(server->wake_fd);
    close_if_open(server->spare_fd);
    sw_router_destroy(server->router);
    pthread_mutex_destroy(&server->lock);
    sw_free(server->io);
    sw_free(server);
}
