/* The scripted server; see script_server.h. */
#include "script_server.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"

enum { PATIENCE_S = 20, BODY_MAX = 64 << 20 };

/* Reads up to the empty line; bytes behind it belong to the body. */
static size_t read_head(int fd, struct script_request *request) {
    size_t len = 0;
    char *end = NULL;
    while (!end && len + 1 < sizeof request->head) {
        ssize_t n = recv(fd, request->head + len, 1, 0); /* byte by byte: nothing of the body is taken */
        if (n <= 0) {
            return 0;
        }
        len += (size_t)n;
        request->head[len] = '\0';
        end = strstr(request->head, "\r\n\r\n");
    }
    return len;
}

static size_t content_length(const char *head) {
    const char *line = strcasestr(head, "\r\nContent-Length:");
    return line ? strtoul(line + strlen("\r\nContent-Length:"), NULL, 10) : 0;
}

static void read_body(int fd, struct script_request *request, size_t wanted) {
    char piece[65536];
    if (strcasestr(request->head, "\r\nExpect: 100-continue")) {
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        ssize_t n = send(fd, go_on, sizeof go_on - 1, MSG_NOSIGNAL);
        (void)n;
    }
    while (request->body.len < wanted) {
        size_t left = wanted - request->body.len;
        ssize_t n = recv(fd, piece, left < sizeof piece ? left : sizeof piece, 0);
        if (n <= 0) {
            return;
        }
        sw_buf_append(&request->body, piece, (size_t)n);
    }
}

/* Reads what the client still sends, so that closing does not reset the connection and take the answer with it. */
static void drain(int fd) {
    char piece[65536];
    shutdown(fd, SHUT_WR);
    while (recv(fd, piece, sizeof piece, 0) > 0) {
    }
}

/* false: the client went away before it asked. */
static bool take_step(struct script_server *server, int fd, const struct script_step *step) {
    struct script_request *request = &server->requests[server->request_count];
    memset(request, 0, sizeof *request);
    sw_buf_init(&request->body, BODY_MAX);
    if (!read_head(fd, request)) {
        sw_buf_deinit(&request->body);
        return false;
    }
    server->request_count++;
    read_body(fd, request, step->body_read < 0 ? content_length(request->head) : (size_t)step->body_read);
    size_t length = step->answer ? step->answer_length ? step->answer_length : strlen(step->answer) : 0;
    for (size_t sent = 0; sent < length;) {
        ssize_t n = send(fd, step->answer + sent, length - sent, MSG_NOSIGNAL);
        if (n <= 0) {
            break;
        }
        sent += (size_t)n;
    }
    if (step->answer) {
        drain(fd);
    }
    return true;
}

/* One connection a step: each answer says Connection: close, or is cut. */
static void *serve(void *arg) {
    struct script_server *server = arg;
    for (size_t i = 0; i < server->step_count;) {
        int fd = accept(server->listener, NULL, NULL);
        if (fd < 0) {
            break;
        }
        struct timeval patience = {PATIENCE_S, 0};
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        i += take_step(server, fd, &server->steps[i]);
        close(fd);
    }
    close(server->listener); /* who comes now is refused */
    return NULL;
}

void script_server_start(struct script_server *server, const struct script_step *steps, size_t count) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    struct timeval patience = {PATIENCE_S, 0};
    *server = (struct script_server){.steps = steps, .step_count = count};
    server->requests = sw_xcalloc(count + 1, sizeof *server->requests);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(server->listener, 8), 0);
    assert_int_equal(getsockname(server->listener, (struct sockaddr *)&address, &size), 0);
    setsockopt(server->listener, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience); /* of accept */
    snprintf(server->url, sizeof server->url, "http://127.0.0.1:%u", ntohs(address.sin_port));
    assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

void script_server_stop(struct script_server *server) {
    pthread_join(server->thread, NULL);
}

void script_server_deinit(struct script_server *server) {
    for (size_t i = 0; i < server->request_count; i++) {
        sw_buf_deinit(&server->requests[i].body);
    }
    sw_free(server->requests);
}
