#include "proxy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/macros.h"
#include "base/memory.h"
#include "base/str.h"

struct task {
    struct proxy *proxy;
    int client;
    const char *canned;
};

static int connect_to(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address)) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool send_all(int fd, const char *data, size_t len) {
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n <= 0) {
            return false;
        }
        data += n;
        len -= (size_t)n;
    }
    return true;
}

/* Does a request begin here? One begins with a chunk of its own: our client waits for each answer. */
static bool note_request(struct proxy *proxy, const char *data, size_t len) {
    struct sw_str text = {data, len};
    if (!sw_str_starts(text, SW_STR("GET ")) && !sw_str_starts(text, SW_STR("PUT ")) &&
        !sw_str_starts(text, SW_STR("HEAD ")) && !sw_str_starts(text, SW_STR("POST ")) &&
        !sw_str_starts(text, SW_STR("DELETE "))) {
        return false;
    }
    pthread_mutex_lock(&proxy->lock);
    size_t n = len < sizeof proxy->last_head ? len : sizeof proxy->last_head - 1;
    memcpy(proxy->last_head, data, n);
    proxy->last_head[n] = '\0';
    proxy->fetches += data[0] == 'G';
    proxy->ranges += strstr(proxy->last_head, "\r\nrange: ") != NULL;
    pthread_mutex_unlock(&proxy->lock);
    return true;
}

/* How many of the bytes may go on to the client; the connection ends when it is not all of them. */
static size_t allow(struct proxy *proxy, uint64_t sent, size_t len) {
    pthread_mutex_lock(&proxy->lock);
    bool meant = !proxy->cut_method || strncmp(proxy->last_head, proxy->cut_method, strlen(proxy->cut_method)) == 0;
    if (proxy->cuts > 0 && meant && sent + len > proxy->cut_after) {
        proxy->cuts--;
        len = sent < proxy->cut_after ? (size_t)(proxy->cut_after - sent) : 0;
    }
    proxy->answered += len;
    pthread_mutex_unlock(&proxy->lock);
    return len;
}

static void relay(struct proxy *proxy, int client, int server, char *piece, size_t size) {
    uint64_t sent = 0;
    for (;;) {
        struct pollfd fds[2] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
        if (poll(fds, 2, -1) < 0) {
            return;
        }
        if (fds[0].revents) {
            ssize_t n = recv(client, piece, size, 0);
            if (n <= 0) {
                return;
            }
            sent = note_request(proxy, piece, (size_t)n) ? 0 : sent;
            if (!send_all(server, piece, (size_t)n)) {
                return;
            }
        }
        if (fds[1].revents) {
            ssize_t n = recv(server, piece, size, 0);
            if (n <= 0) {
                return;
            }
            size_t allowed = allow(proxy, sent, (size_t)n);
            if (!send_all(client, piece, allowed) || allowed < (size_t)n) {
                return;
            }
            sent += allowed;
        }
    }
}

/* Reads one request without a body, or with one that is small, and answers. */
static void answer(struct proxy *proxy, int client, const char *canned, char *piece, size_t size) {
    size_t len = 0;
    while (len < size - 1) {
        ssize_t n = recv(client, piece + len, size - 1 - len, 0);
        if (n <= 0) {
            return;
        }
        len += (size_t)n;
        piece[len] = '\0';
        const char *end = strstr(piece, "\r\n\r\n"), *length = strcasestr(piece, "\r\ncontent-length: ");
        size_t body = length ? strtoul(length + 18, NULL, 10) : 0;
        if (end && len >= (size_t)(end + 4 - piece) + body) {
            break;
        }
    }
    (void)note_request(proxy, piece, len);
    (void)send_all(client, canned, strlen(canned));
    shutdown(client, SHUT_WR);
    while (recv(client, piece, size, 0) > 0) {
    }
}

static void *serve(void *arg) {
    struct task *task = arg;
    enum { PIECE = 64 << 10 };
    char *piece = sw_xmalloc(PIECE);
    if (task->canned) {
        answer(task->proxy, task->client, task->canned, piece, PIECE);
    } else {
        int server = connect_to(task->proxy->upstream_port);
        if (server >= 0) {
            relay(task->proxy, task->client, server, piece, PIECE);
            close(server);
        }
    }
    shutdown(task->client, SHUT_RDWR); /* closed by proxy_stop: the number stays ours until then */
    sw_free(piece);
    sw_free(task);
    return NULL;
}

static void *accept_all(void *arg) {
    struct proxy *proxy = arg;
    for (;;) {
        int client = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC);
        pthread_mutex_lock(&proxy->lock);
        bool stopping = proxy->stopping || client < 0 || proxy->connections == PROXY_CONNECTIONS_MAX;
        unsigned i = proxy->connections;
        if (!stopping) {
            struct task *task = SW_NEW(struct task);
            *task = (struct task){proxy, client, i < PROXY_CANNED_MAX ? proxy->canned[i] : NULL};
            proxy->clients[i] = client;
            proxy->connections++;
            SW_ASSERT(pthread_create(&proxy->threads[i], NULL, serve, task) == 0);
        }
        pthread_mutex_unlock(&proxy->lock);
        if (stopping) {
            if (client >= 0) {
                close(client);
            }
            return NULL;
        }
    }
}

void proxy_start(struct proxy *proxy, const char *upstream) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    uint64_t port = 0;
    assert_true(sw_parse_u64(sw_str_of(strrchr(upstream, ':') + 1), &port));
    proxy->upstream_port = (int)port;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    proxy->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(proxy->listener >= 0);
    assert_int_equal(bind(proxy->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(proxy->listener, 64), 0);
    assert_int_equal(getsockname(proxy->listener, (struct sockaddr *)&address, &len), 0);
    snprintf(proxy->endpoint, sizeof proxy->endpoint, "http://127.0.0.1:%u", (unsigned)ntohs(address.sin_port));
    pthread_mutex_init(&proxy->lock, NULL);
    assert_int_equal(pthread_create(&proxy->acceptor, NULL, accept_all, proxy), 0);
}

void proxy_stop(struct proxy *proxy) {
    pthread_mutex_lock(&proxy->lock);
    proxy->stopping = true;
    pthread_mutex_unlock(&proxy->lock);
    shutdown(proxy->listener, SHUT_RDWR);
    pthread_join(proxy->acceptor, NULL);
    close(proxy->listener);
    for (unsigned i = 0; i < proxy->connections; i++) {
        shutdown(proxy->clients[i], SHUT_RDWR);
        pthread_join(proxy->threads[i], NULL);
        close(proxy->clients[i]);
    }
    pthread_mutex_destroy(&proxy->lock);
}
