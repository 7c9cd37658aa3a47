#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"

struct client client_open(uint16_t port) {
    struct client c = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {10, 0};
    int on = 1;
    assert_true(c.fd >= 0);
    setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(c.fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(c.fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    assert_int_equal(connect(c.fd, (struct sockaddr *)&address, sizeof address), 0);
    return c;
}

void client_close(struct client *c) {
    close(c->fd);
    sw_free(c->data);
    *c = (struct client){.fd = -1};
}

void client_send(struct client *c, const void *data, size_t len) {
    for (size_t sent = 0; sent < len;) {
        ssize_t n = send(c->fd, (const char *)data + sent, len - sent, MSG_NOSIGNAL);
        if (n <= 0) {
            return;
        }
        sent += (size_t)n;
    }
}

void client_print(struct client *c, const char *fmt, ...) {
    struct sw_buf buf;
    sw_buf_init(&buf, 1 << 20);
    va_list args;
    va_start(args, fmt);
    sw_buf_vprintf(&buf, fmt, args);
    va_end(args);
    assert_false(buf.failed);
    client_send(c, buf.data, buf.len);
    sw_buf_deinit(&buf);
}

void client_post(struct client *c, const char *path, const char *headers, const void *body, size_t len) {
    client_print(c, "POST %s HTTP/1.1\r\nHost: t\r\nContent-Length: %zu\r\n%s\r\n", path, len, headers);
    client_send(c, body, len);
}

/* false: end of the stream or a reset. */
static bool receive(struct client *c) {
    if (c->capacity - c->len < 65536) {
        c->capacity = c->capacity * 2 + 131072;
        c->data = sw_xrealloc(c->data, c->capacity);
    }
    ssize_t n = recv(c->fd, c->data + c->len, c->capacity - c->len - 1, 0);
    if (n < 0 && errno == EAGAIN) {
        fail_msg("nothing came for ten seconds");
    }
    if (n <= 0) {
        return false;
    }
    c->len += (size_t)n;
    c->data[c->len] = '\0';
    return true;
}

static void drop(struct client *c, size_t n) {
    memmove(c->data, c->data + n, c->len - n);
    c->len -= n;
    c->data[c->len] = '\0';
}

struct answer client_read_head(struct client *c) {
    struct answer a = {0};
    const char *end = NULL;
    while (!end) {
        end = c->len ? strstr(c->data, "\r\n\r\n") : NULL;
        if (!end && !receive(c)) {
            fail_msg("the stream ended before an answer: '%s'", c->len ? c->data : "");
        }
    }
    size_t n = (size_t)(end - c->data) + 4;
    assert_true(n < sizeof a.head);
    memcpy(a.head, c->data, n);
    drop(c, n);
    assert_int_equal(sscanf(a.head, "HTTP/1.1 %d", &a.status), 1);
    return a;
}

struct answer client_read(struct client *c) {
    struct answer a = client_read_head(c);
    if (a.status == 100) {
        return a;
    }
    const char *length = strcasestr(a.head, "\r\nContent-Length: ");
    if (!length) {
        fail_msg("an answer without a length: %s", a.head);
    }
    a.body_len = strtoul(length + 18, NULL, 10);
    while (c->len < a.body_len) {
        if (!receive(c)) {
            fail_msg("the stream ended in a body: %zu of %zu", c->len, a.body_len);
        }
    }
    a.body = sw_xstrndup(c->data ? c->data : "", a.body_len);
    if (a.body_len) {
        drop(c, a.body_len);
    }
    return a;
}

bool client_ends(struct client *c) {
    while (receive(c)) {
    }
    return c->len == 0;
}

int client_status(struct client *c) {
    struct answer a = client_read(c);
    answer_free(&a);
    return a.status;
}

bool answer_has(const struct answer *a, const char *header_line) {
    return strcasestr(a->head, header_line) != NULL;
}

bool answer_body_has(const struct answer *a, const char *text) {
    return a->body && memmem(a->body, a->body_len, text, strlen(text)) != NULL;
}

void answer_free(struct answer *a) {
    sw_free(a->body);
    a->body = NULL;
}

static struct fixture *fixture_of(struct sw_http_exchange *x) {
    struct fixture *f = x->app;
    atomic_fetch_add(&f->handled, 1);
    return f;
}

/* The body back, with what a test wants to know about it in headers. */
static enum sw_http_result echo(struct sw_http_exchange *x) {
    fixture_of(x);
    size_t shift = x->binary_header_length == SIZE_MAX ? 0 : x->binary_header_length;
    sw_http_add_header(x, "X-Misaligned", sw_arena_printf(&x->arena, "%zu", ((uintptr_t)x->body.data + shift) % 64));
    sw_http_reply(x, 200, "application/json", x->body);
    return SW_HTTP_DONE;
}

static enum sw_http_result describe(struct sw_http_exchange *x) {
    fixture_of(x);
    struct sw_str q = sw_http_query(x, "a b"), h = sw_http_header(x, "x-test");
    char *text = sw_arena_printf(&x->arena, "%s|" SW_STR_FMT "|" SW_STR_FMT "|%s|" SW_STR_FMT,
                                 sw_http_method_name(x->method), SW_STR_ARG(x->params[0]), SW_STR_ARG(q),
                                 q.data ? "set" : "unset", SW_STR_ARG(h));
    sw_http_reply(x, 200, "text/plain", sw_str_of(text));
    return SW_HTTP_DONE;
}

/* "/big/N": N pieces of 64 KiB; the query `type` sets the content type. */
static enum sw_http_result big(struct sw_http_exchange *x) {
    fixture_of(x);
    uint64_t pieces = 0;
    assert_true(sw_parse_u64(x->params[0], &pieces));
    char *piece = sw_arena_alloc(&x->arena, 65536);
    for (size_t i = 0; i < 65536; i++) {
        piece[i] = (char)('a' + i % 23);
    }
    struct sw_str type = sw_http_query(x, "type");
    sw_http_reply(x, 200, type.data ? sw_arena_strdup(&x->arena, type) : "application/json", (struct sw_str){NULL, 0});
    sw_http_add_header(x, "X-Pieces", "many");
    for (uint64_t i = 0; i < pieces; i++) {
        sw_http_add_part(x, (struct sw_str){piece, 65536});
    }
    return SW_HTTP_DONE;
}

/* "/arena/N": takes N MiB of the arena. */
static enum sw_http_result arena(struct sw_http_exchange *x) {
    fixture_of(x);
    uint64_t mib = 0;
    assert_true(sw_parse_u64(x->params[0], &mib));
    for (; mib; mib--) {
        if (!sw_arena_alloc(&x->arena, 1 << 20)) {
            sw_http_reply_status(x, SW_E_UNAVAILABLE, "no memory left for this request");
            return SW_HTTP_DONE;
        }
    }
    sw_http_reply(x, 200, "text/plain", SW_STR("fits"));
    return SW_HTTP_DONE;
}

static enum sw_http_result oip_error(struct sw_http_exchange *x) {
    fixture_of(x);
    sw_http_add_header(x, "X-Bad", "a\r\nInjected: 1");
    sw_http_reply_status(x, SW_E_TOO_MANY_REQUESTS, "full: \"%s\"", "queue");
    return SW_HTTP_DONE;
}

static enum sw_http_result closing(struct sw_http_exchange *x) {
    fixture_of(x);
    x->close = true;
    sw_http_reply(x, 204, NULL, (struct sw_str){NULL, 0});
    return SW_HTTP_DONE;
}

static enum sw_http_result async(struct sw_http_exchange *x) {
    struct fixture *f = fixture_of(x);
    pthread_mutex_lock(&f->lock);
    assert_true(f->waiting_count < SW_COUNTOF(f->waiting));
    f->waiting[f->waiting_count++] = x;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    return SW_HTTP_ASYNC;
}

static const struct sw_route routes[] = {
    {SW_HTTP_POST, "/echo", echo, SW_ERROR_NATIVE, 0, true, NULL, NULL},
    {SW_HTTP_POST, "/small", echo, SW_ERROR_NATIVE, 1, false, NULL, NULL},
    {SW_HTTP_GET, "/describe/{x}", describe, SW_ERROR_NATIVE, 2, false, NULL, NULL},
    {SW_HTTP_DELETE, "/describe/{x}", describe, SW_ERROR_NATIVE, 3, false, NULL, NULL},
    {SW_HTTP_GET, "/big/{n}", big, SW_ERROR_NATIVE, 4, false, NULL, NULL},
    {SW_HTTP_GET, "/v2/error", oip_error, SW_ERROR_OIP, 5, false, NULL, NULL},
    {SW_HTTP_POST, "/async", async, SW_ERROR_NATIVE, 6, true, NULL, NULL},
    {SW_HTTP_GET, "/close", closing, SW_ERROR_NATIVE, 7, false, NULL, NULL},
    {SW_HTTP_GET, "/arena/{n}", arena, SW_ERROR_NATIVE, 8, false, NULL, NULL},
};

static void on_done(void *app, struct sw_http_exchange *x, uint64_t duration_ns) {
    struct fixture *f = app;
    assert_true(x->request_id[0] && x->status >= 200);
    atomic_store(&f->last_status, x->status);
    atomic_fetch_add(&f->done, 1);
}

void fixture_init(struct fixture *f) {
    memset(f, 0, sizeof *f);
    sw_clock_manual_init(&f->clock, 1000000000);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    f->options = (struct sw_http_options){
        .host = "127.0.0.1",
        .io_threads = 2,
        .connections_max = 64,
        .header_bytes_max = 8192,
        .body_max = 8 << 20,
        .control_body_max = 1024,
        .buffered_max = 64 << 20,
        .header_timeout_ms = 10000,
        .body_timeout_ms = 60000,
        .idle_timeout_ms = 75000,
        .gzip_min = 256,
        .routes = routes,
        .route_count = SW_COUNTOF(routes),
        .app = f,
        .on_done = on_done,
        .clock = &f->clock,
    };
}

void fixture_start(struct fixture *f) {
    struct sw_error err;
    if (sw_http_server_start(&f->options, &f->server, &err)) {
        fail_msg("%s", err.message);
    }
}

struct client fixture_client(struct fixture *f) {
    return client_open(sw_http_server_port(f->server));
}

void brief_pause(void) {
    poll(NULL, 0, 1);
}

void fixture_stop(struct fixture *f) {
    sw_http_server_drain(f->server, 10000);
    WAIT_FOR(atomic_load(&f->server->buffered) == 0);
    sw_http_server_destroy(f->server);
    assert_true(atomic_load(&f->done) >= atomic_load(&f->handled));
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->changed);
}

void fixture_wait_waiting(struct fixture *f, size_t count) {
    pthread_mutex_lock(&f->lock);
    while (f->waiting_count < count) {
        pthread_cond_wait(&f->changed, &f->lock);
    }
    pthread_mutex_unlock(&f->lock);
}

void fixture_finish(struct fixture *f) {
    pthread_mutex_lock(&f->lock);
    assert_true(f->waiting_count > 0);
    struct sw_http_exchange *x = f->waiting[0];
    memmove(f->waiting, f->waiting + 1, --f->waiting_count * sizeof *f->waiting);
    pthread_mutex_unlock(&f->lock);
    sw_http_reply(x, 200, "text/plain", x->body);
    sw_http_finish(x);
}

void fixture_wait_done(struct fixture *f, unsigned count) {
    WAIT_FOR(atomic_load(&f->done) >= count);
}

void fixture_wait_no_connections(struct fixture *f) {
    /* The watcher finds those whose end libmicrohttpd has overlooked. */
    WAIT_FOR((sw_http_watch_once(f->server), sw_http_server_connections(f->server) == 0));
}

void fixture_watch_until_readable(struct fixture *f, const struct client *c) {
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    WAIT_FOR((sw_http_watch_once(f->server), poll(&p, 1, 0) == 1));
}

static bool some_in_state(struct sw_http_server *server, enum connection_state state) {
    bool found = false;
    for (unsigned i = 0; i < server->io_count; i++) {
        pthread_mutex_lock(&server->io[i].lock);
        for (struct sw_http_connection *c = server->io[i].connections; c; c = c->next) {
            found |= (atomic_load(&c->word) & STATE_MASK) == (unsigned)state;
        }
        pthread_mutex_unlock(&server->io[i].lock);
    }
    return found;
}

void fixture_wait_state(struct fixture *f, enum connection_state state) {
    WAIT_FOR(some_in_state(f->server, state));
}

void fixture_wait_connections(struct fixture *f, unsigned count) {
    WAIT_FOR(sw_http_server_connections(f->server) == count);
}
