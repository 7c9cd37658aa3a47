/* Clients that vanish at every stage of a request, by an ordinary close and by a reset, while others finish what
 * handlers left open; then draining, which must find no connection that nobody ends. */
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/thread.h"
#include "client.h"

enum { ROUNDS = 4, CLIENTS = 4, REQUESTS = 60, FINISHERS = 2, BODY = 40000 };

static struct fixture f;
static atomic_bool stopping;

/* Answers what waits, sometimes late. */
static void *finisher(void *arg) {
    for (unsigned i = 0; !atomic_load(&stopping); i++) {
        pthread_mutex_lock(&f.lock);
        struct sw_http_exchange *x = f.waiting_count ? f.waiting[--f.waiting_count] : NULL;
        pthread_mutex_unlock(&f.lock);
        for (unsigned k = 0; k < i % 7; k++) {
            sched_yield();
        }
        if (x) {
            sw_http_reply(x, 200, "text/plain", x->body);
            sw_http_finish(x);
        } else {
            usleep(200);
        }
    }
    return NULL;
}

static void leave(struct client *c, unsigned how) {
    if (how % 3 == 1) {
        struct linger now = {1, 0};
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    } else if (how % 3 == 2) {
        shutdown(c->fd, SHUT_WR);
    }
    client_close(c);
}

/* Sends a part of one kind of request and goes. */
static void vanish(unsigned n, const char *body) {
    static const char *const heads[] = {
        "POST /async HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 40000\r\n\r\n",
        "POST /async HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 40000\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n9c40\r\n",
        "GET /big/100 HTTP/1.1\r\nHost: t\r\n\r\n",
        "POST /nowhere HTTP/1.1\r\nHost: t\r\nContent-Length: 40000\r\n\r\n",
        "POST /small HTTP/1.1\r\nHost: t\r\nContent-Length: 2000000\r\n\r\n",
        "POST /async HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\nPOST /async HTTP/1.1\r\nHost: t\r\n",
    };
    const char *head = heads[n % SW_COUNTOF(heads)];
    size_t length = strlen(head), whole = length + BODY;
    size_t cut = n / 8 % 4 == 0 ? whole : n / 8 % 4 == 1 ? n * 31 % length : length + n * 977 % BODY;
    struct client c = fixture_client(&f);
    size_t sent = cut < length ? cut : length;
    client_send(&c, head, sent);
    client_send(&c, body, cut - sent);
    if (n % 5 == 0 && cut == whole) {
        char some[512];
        struct timeval limit = {0, 20000};
        setsockopt(c.fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        (void)!recv(c.fd, some, sizeof some, 0);
    }
    leave(&c, n / 3);
}

static void *client(void *arg) {
    unsigned seed = *(unsigned *)arg;
    char *body = sw_calloc(1, BODY);
    for (unsigned i = 0; i < REQUESTS; i++) {
        vanish(seed * 7919 + i * 13 + i / 8, body);
    }
    sw_free(body);
    return NULL;
}

static void start_all(pthread_t *threads, size_t count, void *(*fn)(void *), unsigned *args) {
    struct sw_error err;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(sw_thread_start(&threads[i], "vanish", 0, fn, args ? &args[i] : NULL, &err), SW_OK);
    }
}

static void join_all(pthread_t *threads, size_t count) {
    for (size_t i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
}

static void draining_ends_what_vanished_clients_left(void **state) {
    for (unsigned round = 0; round < ROUNDS; round++) {
        pthread_t clients[CLIENTS], finishers[FINISHERS];
        unsigned seeds[CLIENTS];
        for (unsigned i = 0; i < CLIENTS; i++) {
            seeds[i] = round * CLIENTS + i;
        }
        fixture_init(&f);
        f.options.clock = sw_clock_system();
        fixture_start(&f);
        atomic_store(&stopping, false);
        start_all(finishers, FINISHERS, finisher, NULL);
        start_all(clients, CLIENTS, client, seeds);
        join_all(clients, CLIENTS);
        /* Far less than the time-outs for headers and bodies, which would end them in any case. */
        sw_http_server_drain(f.server, 8000);
        assert_int_equal(sw_http_server_connections(f.server), 0);
        atomic_store(&stopping, true);
        join_all(finishers, FINISHERS);
        fixture_stop(&f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(draining_ends_what_vanished_clients_left)};
    return cmocka_run_group_tests_name("http/vanish", tests, NULL, NULL);
}
