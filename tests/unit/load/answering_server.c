/* See answering_server.h. */
#include "answering_server.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD_MAX = 8192 };

struct handed {
    struct answering_server *server;
    int fd;
};

/* The head byte by byte, so that nothing behind it is taken; then the body. false: the client has gone. */
static bool read_request(int fd, char path[HEAD_MAX]) {
    char head[HEAD_MAX], byte;
    size_t len = 0, body;
    while (len < 4 || memcmp(head + len - 4, "\r\n\r\n", 4) != 0) {
        if (len + 1 == sizeof head || recv(fd, head + len, 1, 0) != 1) {
            return false;
        }
        len++;
    }
    head[len] = '\0';
    const char *length = strcasestr(head, "\r\nContent-Length:");
    for (body = length ? strtoul(length + strlen("\r\nContent-Length:"), NULL, 10) : 0; body > 0; body--) {
        if (recv(fd, &byte, 1, 0) != 1) {
            return false;
        }
    }
    const char *start = strchr(head, ' ');
    size_t n = start ? strcspn(start + 1, " ") : 0;
    memcpy(path, start ? start + 1 : "", n);
    path[n] = '\0';
    return true;
}

static void *serve_connection(void *arg) {
    struct handed handed = *(struct handed *)arg;
    char path[HEAD_MAX];
    free(arg);
    while (read_request(handed.fd, path)) {
        uint64_t number = atomic_fetch_add(&handed.server->requests, 1);
        if (!handed.server->answer(handed.server, handed.fd, number, path)) {
            break;
        }
    }
    shutdown(handed.fd, SHUT_RDWR); /* stop closes it */
    return NULL;
}

static void *accept_all(void *arg) {
    struct answering_server *server = arg;
    int fd;
    while ((fd = accept(server->listener, NULL, NULL)) >= 0) {
        pthread_mutex_lock(&server->lock);
        size_t at = server->connections;
        if (server->stopping || at == ANSWERING_CONNECTIONS_MAX) {
            close(fd);
        } else {
            struct handed *handed = malloc(sizeof *handed);
            *handed = (struct handed){server, fd};
            server->fds[at] = fd;
            server->connections += pthread_create(&server->threads[at], NULL, serve_connection, handed) == 0;
        }
        pthread_mutex_unlock(&server->lock);
    }
    return NULL;
}

void answering_server_start(struct answering_server *server, answer_function *answer, void *arg) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    memset(server, 0, sizeof *server);
    server->answer = answer;
    server->arg = arg;
    pthread_mutex_init(&server->lock, NULL);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(server->listener, 128), 0);
    assert_int_equal(getsockname(server->listener, (struct sockaddr *)&address, &size), 0);
    server->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&server->thread, NULL, accept_all, server), 0);
}

void answering_server_stop(struct answering_server *server) {
    pthread_mutex_lock(&server->lock);
    server->stopping = true;
    pthread_mutex_unlock(&server->lock);
    shutdown(server->listener, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->listener);
    for (size_t i = 0; i < server->connections; i++) {
        shutdown(server->fds[i], SHUT_RDWR);
        pthread_join(server->threads[i], NULL);
        close(server->fds[i]);
    }
    pthread_mutex_destroy(&server->lock);
}

void answer_text(int fd, const char *text) {
    for (size_t sent = 0, len = strlen(text); sent < len;) {
        ssize_t n = send(fd, text + sent, len - sent, MSG_NOSIGNAL);
        if (n <= 0) {
            return;
        }
        sent += (size_t)n;
    }
}

bool answer_ok(struct answering_server *server, int fd, uint64_t number, const char *path) {
    answer_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    return true;
}

bool answer_never(struct answering_server *server, int fd, uint64_t number, const char *path) {
    return true;
}
