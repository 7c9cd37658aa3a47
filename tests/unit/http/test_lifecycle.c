/* Connections over time: time-outs, limits, asynchronous answers, clients that vanish, draining. */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/thread.h"
#include "client.h"

static struct fixture f;

static int start(void **state) {
    fixture_init(&f);
    fixture_start(&f);
    return 0;
}

static int stop(void **state) {
    fixture_stop(&f);
    return 0;
}

/* Lets `ms` pass, with the watcher looking before and after, as its thread does. */
static void pass(uint64_t ms) {
    sw_http_watch_once(f.server);
    sw_clock_manual_advance(&f.clock, ms * 1000000u);
    sw_http_watch_once(f.server);
}

static void slow_headers(void **state) {
    struct client c = fixture_client(&f);
    client_print(&c, "GET /describe/x HTTP/1.1\r\nHost:");
    fixture_wait_state(&f, STATE_HEADERS);
    pass(9999);
    client_print(&c, " t\r\n\r\n"); /* just in time */
    assert_int_equal(client_status(&c), 200);
    fixture_wait_state(&f, STATE_IDLE);
    client_print(&c, "GET /describe/x HTTP/1.1\r\nHost:");
    fixture_wait_state(&f, STATE_HEADERS);
    pass(10000);
    struct answer a = client_read(&c);
    assert_int_equal(a.status, 408);
    assert_true(answer_body_has(&a, "\"code\":\"request_timeout\""));
    answer_free(&a);
    assert_true(client_ends(&c));
    client_close(&c);
    fixture_wait_no_connections(&f);
    assert_int_equal(atomic_load(&f.handled), 1);
}

static void nothing_sent_at_all(void **state) {
    struct client silent = fixture_client(&f), half = fixture_client(&f);
    client_print(&half, "GET /desc");
    fixture_wait_connections(&f, 2);
    fixture_wait_state(&f, STATE_IDLE);
    while (sw_http_server_connections(f.server)) {
        pass(10000); /* both have to be on the list for it to count */
    }
    assert_int_equal(client_status(&silent), 408);
    assert_int_equal(client_status(&half), 408);
    client_close(&silent);
    client_close(&half);
}

static void idle_connections_end_silently(void **state) {
    struct client c = fixture_client(&f);
    client_post(&c, "/echo", "", "x", 1);
    assert_int_equal(client_status(&c), 200);
    fixture_wait_state(&f, STATE_IDLE);
    pass(74999);
    client_post(&c, "/echo", "", "x", 1);
    assert_int_equal(client_status(&c), 200);
    fixture_wait_state(&f, STATE_IDLE);
    pass(75000);
    assert_true(client_ends(&c));
    client_close(&c);
}

static void slow_body(void **state) {
    struct client c = fixture_client(&f);
    client_print(&c, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nabc");
    fixture_wait_state(&f, STATE_BODY);
    pass(59999);
    client_print(&c, "defghij");
    assert_int_equal(client_status(&c), 200);
    client_print(&c, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nabc");
    fixture_wait_state(&f, STATE_BODY);
    pass(60000);
    assert_int_equal(client_status(&c), 408);
    client_ends(&c);
    client_close(&c);
    fixture_wait_done(&f, 2);
    assert_int_equal(atomic_load(&f.last_status), 408);
    assert_int_equal(atomic_load(&f.handled), 1);
}

static void a_declared_body_that_never_comes_holds_little(void **state) {
    struct client c = fixture_client(&f);
    client_print(&c, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: %u\r\n\r\nx", 8u << 20);
    fixture_wait_state(&f, STATE_BODY);
    assert_true(atomic_load(&f.server->buffered) <= BODY_AT_ONCE_MAX);
    client_close(&c);
    fixture_wait_done(&f, 1);
    assert_int_equal(atomic_load(&f.last_status), 499);
}

static void a_client_that_takes_no_answer(void **state) {
    struct client c = fixture_client(&f);
    client_print(&c, "GET /big/1000 HTTP/1.1\r\nHost: t\r\n\r\n");
    fixture_wait_state(&f, STATE_SENDING);
    for (int i = 0; i < 1000 && atomic_load(&f.done) == 0; i++) {
        pass(60000); /* the first looks still see progress: what the buffers take */
    }
    fixture_wait_done(&f, 1);
    client_close(&c);
}

static void busy_handlers_are_not_timed_out(void **state) {
    struct client c = fixture_client(&f);
    client_post(&c, "/async", "", "x", 1);
    fixture_wait_waiting(&f, 1);
    pass(1000000);
    pass(1000000);
    fixture_finish(&f);
    assert_int_equal(client_status(&c), 200);
    client_close(&c);
}

static void too_many_connections(void **state) {
    struct client clients[64];
    for (size_t i = 0; i < 64; i++) {
        clients[i] = fixture_client(&f);
        client_post(&clients[i], "/echo", "", "x", 1);
        assert_int_equal(client_status(&clients[i]), 200);
    }
    struct client more = fixture_client(&f);
    client_post(&more, "/echo", "", "x", 1);
    struct answer a = client_read(&more);
    assert_int_equal(a.status, 503);
    assert_true(answer_has(&a, "\r\nConnection: close\r\n"));
    assert_true(answer_body_has(&a, "\"code\":\"unavailable\""));
    answer_free(&a);
    assert_true(client_ends(&more));
    client_close(&more);
    client_close(&clients[0]);
    fixture_wait_connections(&f, 63);
    more = fixture_client(&f);
    client_post(&more, "/echo", "", "x", 1);
    assert_int_equal(client_status(&more), 200);
    client_close(&more);
    for (size_t i = 1; i < 64; i++) {
        client_close(&clients[i]);
    }
}

static void connections_are_spread_evenly(void **state) {
    struct client clients[10];
    for (size_t i = 0; i < 10; i++) {
        clients[i] = fixture_client(&f);
    }
    fixture_wait_connections(&f, 10);
    assert_int_equal(atomic_load(&f.server->io[0].load), 5);
    assert_int_equal(atomic_load(&f.server->io[1].load), 5);
    for (size_t i = 0; i < 10; i++) {
        client_close(&clients[i]);
    }
}

static void descriptors_run_out(void **state) {
    struct rlimit before, limit;
    struct client a = fixture_client(&f), b = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    fixture_wait_connections(&f, 1);
    struct timeval seconds = {10, 0};
    setsockopt(b.fd, SOL_SOCKET, SO_RCVTIMEO, &seconds, sizeof seconds);
    getrlimit(RLIMIT_NOFILE, &before);
    /* No descriptor beyond the ones in use now. */
    int next = dup(b.fd);
    close(next);
    limit = before;
    limit.rlim_cur = (rlim_t)next;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(sw_http_server_port(f.server)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int rc = connect(b.fd, (struct sockaddr *)&address, sizeof address);
    struct answer refused = rc == 0 ? client_read(&b) : (struct answer){0};
    setrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(rc, 0);
    assert_int_equal(refused.status, 503);
    answer_free(&refused);
    client_post(&a, "/echo", "", "x", 1); /* the others go on */
    assert_int_equal(client_status(&a), 200);
    client_close(&b);
    b = fixture_client(&f);
    client_post(&b, "/echo", "", "x", 1);
    assert_int_equal(client_status(&b), 200);
    client_close(&a);
    client_close(&b);
}

static void async_answers(void **state) {
    struct client clients[8];
    for (size_t i = 0; i < 8; i++) {
        clients[i] = fixture_client(&f);
        char body[8];
        snprintf(body, sizeof body, "%zu", i);
        client_post(&clients[i], "/async", "", body, 1);
        fixture_wait_waiting(&f, i + 1); /* so that they are finished in this order */
    }
    /* The I/O threads are free meanwhile. */
    struct client other = fixture_client(&f);
    client_post(&other, "/echo", "", "x", 1);
    assert_int_equal(client_status(&other), 200);
    client_close(&other);
    for (size_t i = 0; i < 8; i++) {
        fixture_finish(&f);
        struct answer a = client_read(&clients[i]);
        assert_int_equal(a.status, 200);
        assert_int_equal(a.body[0], '0' + (char)i);
        answer_free(&a);
    }
    for (size_t i = 0; i < 8; i++) {
        client_close(&clients[i]);
    }
}

static atomic_bool finisher_stops;

/* Finishes exchanges as soon as they appear: often before their connection is suspended. */
static void *finisher(void *arg) {
    while (!atomic_load(&finisher_stops)) {
        pthread_mutex_lock(&f.lock);
        struct sw_http_exchange *x = f.waiting_count ? f.waiting[--f.waiting_count] : NULL;
        pthread_mutex_unlock(&f.lock);
        if (x) {
            sw_http_reply(x, 200, "text/plain", x->body);
            sw_http_finish(x);
        } else {
            sched_yield();
        }
    }
    return NULL;
}

static void finish_races_with_suspend(void **state) {
    pthread_t threads[2];
    struct sw_error err;
    atomic_store(&finisher_stops, false);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(sw_thread_start(&threads[i], "finisher", 0, finisher, NULL, &err), SW_OK);
    }
    struct client clients[4];
    for (size_t i = 0; i < 4; i++) {
        clients[i] = fixture_client(&f);
    }
    for (int round = 0; round < 1000; round++) {
        for (size_t i = 0; i < 4; i++) {
            char body[16];
            int n = snprintf(body, sizeof body, "%d.%zu", round, i);
            client_post(&clients[i], "/async", "", body, (size_t)n);
        }
        for (size_t i = 0; i < 4; i++) {
            char want[16];
            snprintf(want, sizeof want, "%d.%zu", round, i);
            struct answer a = client_read(&clients[i]);
            assert_int_equal(a.status, 200);
            assert_string_equal(a.body, want);
            answer_free(&a);
        }
    }
    atomic_store(&finisher_stops, true);
    for (size_t i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    for (size_t i = 0; i < 4; i++) {
        client_close(&clients[i]);
    }
    fixture_wait_done(&f, 4000);
    assert_int_equal(atomic_load(&f.done), 4000);
}

static void a_client_vanishes_during_an_async_handler(void **state) {
    for (int i = 0; i < 20; i++) {
        struct client c = fixture_client(&f);
        client_post(&c, "/async", "", "gone", 4);
        fixture_wait_waiting(&f, 1);
        if (i % 2) { /* with a reset */
            struct linger now = {1, 0};
            setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        }
        client_close(&c);
        assert_true(sw_str_is(f.waiting[0]->body, "gone")); /* still ours */
        fixture_finish(&f);
        fixture_wait_done(&f, (unsigned)i + 1);
    }
    fixture_wait_no_connections(&f);
    assert_int_equal(atomic_load(&f.done), 20);
}

static void a_vanished_client_is_noticed(void **state) {
    static const char post[] = "POST /async HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n"
                               "X-Timeout-Ms: 250\r\nX-Priority: high\r\n\r\ngone";
    for (int how = 0; how < 3; how++) {
        struct client c = fixture_client(&f), other = {.fd = -1};
        client_print(&c, "%s", post);
        fixture_wait_waiting(&f, 1);
        struct sw_http_exchange *x = f.waiting[0];
        assert_true(sw_str_is(x->timeout, "250") && sw_str_is(x->priority, "high"));
        assert_false(sw_http_client_gone(x));
        assert_true(sw_http_is_alone(x));
        if (how == 2) {
            client_print(&c, "GET / HTTP/1.1\r\n"); /* the next request has begun: still there */
            other = fixture_client(&f);
            WAIT_FOR(sw_http_server_connections(f.server) == 2);
            assert_false(sw_http_client_gone(x));
        } else if (how == 1) {
            shutdown(c.fd, SHUT_WR);
        } else {
            client_close(&c);
        }
        WAIT_FOR(how == 2 || sw_http_client_gone(x));
        unsigned done = atomic_load(&f.done);
        fixture_finish(&f);
        fixture_wait_done(&f, done + 1);
        if (c.fd >= 0) {
            client_close(&c);
        }
        if (other.fd >= 0) {
            client_close(&other);
        }
        fixture_wait_no_connections(&f);
    }
}

static void headers_said_twice(void **state) {
    struct client c = fixture_client(&f);
    client_print(&c, "POST /async HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\nX-Timeout-Ms: 1\r\nX-Timeout-Ms: 2\r\n"
                     "X-Priority:\r\n\r\n");
    fixture_wait_waiting(&f, 1);
    assert_true(sw_str_is(f.waiting[0]->timeout, "(given twice)"));
    assert_true(f.waiting[0]->priority.data && f.waiting[0]->priority.len == 0);
    fixture_finish(&f);
    assert_int_equal(client_status(&c), 200);
    client_print(&c, "POST /async HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n");
    fixture_wait_waiting(&f, 1);
    assert_null(f.waiting[0]->timeout.data);
    fixture_finish(&f);
    assert_int_equal(client_status(&c), 200);
    client_close(&c);
}

static void what_is_wanted_of_a_cache(void **state) {
    static const struct {
        const char *headers;
        bool no_cache, no_store;
    } cases[] = {
        {"Cache-Control: no-store\r\nCache-Control: private\r\n", false, true},
        {"", false, false},
        {"Cache-Control: private\r\ncache-control: x,  No-Store \r\n", false, true},
        {"Cache-Control: max-age=0\r\n", true, false},
        {"Cache-Control: no-cache,no-store\r\n", true, true},
        {"Cache-Control: ,,no-cache\r\n", true, false},
        {"Cache-Control:\r\n", false, false},
        {"Cache-Control: no-cached, max-age=01, \"no-store\"\r\n", false, false},
    };
    struct client c = fixture_client(&f);
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        client_print(&c, "POST /async HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n%s\r\n", cases[i].headers);
        fixture_wait_waiting(&f, 1);
        assert_int_equal(f.waiting[0]->cache_control.no_cache, cases[i].no_cache);
        assert_int_equal(f.waiting[0]->cache_control.no_store, cases[i].no_store);
        fixture_finish(&f);
        assert_int_equal(client_status(&c), 200);
    }
    client_close(&c);
}

static void clients_vanish_everywhere(void **state) {
    const char *request = "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 30000\r\n\r\n";
    char *body = sw_calloc(1, 30000);
    for (size_t cut = 0; cut < 30000; cut = cut * 2 + 7) {
        struct client c = fixture_client(&f);
        size_t head = cut < strlen(request) ? cut : strlen(request);
        client_send(&c, request, head);
        client_send(&c, body, cut - head);
        client_close(&c);
    }
    sw_free(body);
    struct client c = fixture_client(&f);
    client_print(&c, "GET /big/200 HTTP/1.1\r\nHost: t\r\n\r\n");
    struct answer a = client_read_head(&c);
    assert_int_equal(a.status, 200);
    client_close(&c);
    fixture_wait_no_connections(&f);
}

static void half_closed_requests_are_ended(void **state) {
    static const char *const parts[] = {"\x16\x03\x01", "GET /desc", "GET /describe/x HTTP/1.1\r\nHo",
                                        "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nabc"};
    for (size_t i = 0; i < SW_COUNTOF(parts); i++) {
        struct client c = fixture_client(&f);
        client_print(&c, "%s", parts[i]);
        shutdown(c.fd, SHUT_WR);
        fixture_watch_until_readable(&f, &c);
        assert_true(client_ends(&c));
        client_close(&c);
    }
    fixture_wait_done(&f, 1); /* only the last had whole headers */
    assert_int_equal(atomic_load(&f.last_status), 499);
    /* but a whole request is answered although its client has nothing more to say */
    struct client c = fixture_client(&f);
    client_post(&c, "/async", "", "abc", 3);
    shutdown(c.fd, SHUT_WR);
    fixture_wait_waiting(&f, 1);
    sw_http_watch_once(f.server);
    sw_http_watch_once(f.server);
    fixture_finish(&f);
    assert_int_equal(client_status(&c), 200);
    client_close(&c);
}

static void *drain_thread(void *arg) {
    sw_http_server_drain(f.server, 10000);
    return NULL;
}

static void draining_loses_no_answer(void **state) {
    pthread_t thread;
    struct sw_error err;
    struct client idle = fixture_client(&f), running = fixture_client(&f), reading = fixture_client(&f);
    client_post(&idle, "/echo", "", "x", 1);
    assert_int_equal(client_status(&idle), 200);
    client_post(&running, "/async", "", "late", 4);
    fixture_wait_waiting(&f, 1);
    client_print(&reading, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nab");
    fixture_wait_state(&f, STATE_BODY);
    assert_int_equal(sw_thread_start(&thread, "drain", 0, drain_thread, NULL, &err), SW_OK);
    assert_true(client_ends(&idle)); /* only while draining does it end */
    client_print(&reading, "cd");
    struct answer a = client_read(&reading);
    assert_int_equal(a.status, 200);
    assert_true(answer_has(&a, "\r\nConnection: close\r\n"));
    answer_free(&a);
    fixture_finish(&f);
    a = client_read(&running);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "late");
    answer_free(&a);
    assert_true(client_ends(&running));
    pthread_join(thread, NULL);
    assert_int_equal(sw_http_server_connections(f.server), 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(sw_http_server_port(f.server)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), -1);
    close(fd);
    client_close(&idle);
    client_close(&running);
    client_close(&reading);
}

static atomic_bool watch_resume, saw_resume;
static atomic_uint busy_in_resume;

/* Stands before libmicrohttpd's own: sees what is still held when the answer is sent before it returns. */
void MHD_resume_connection(struct MHD_Connection *connection) {
    static void (*real)(struct MHD_Connection *);
    if (!real) {
        *(void **)&real = dlsym(RTLD_NEXT, "MHD_resume_connection");
    }
    real(connection);
    if (atomic_load(&watch_resume)) {
        fixture_wait_done(&f, 1);
        fixture_wait_no_connections(&f);
        atomic_store(&busy_in_resume, atomic_load(&f.server->io[0].busy) + atomic_load(&f.server->io[1].busy));
        atomic_store(&saw_resume, true);
    }
}

/* libmicrohttpd's daemon must not be stopped under a thread that is inside MHD_resume_connection. */
static void finishing_keeps_the_server_alive(void **state) {
    struct client c = fixture_client(&f);
    client_post(&c, "/async", "Connection: close\r\n", "x", 1);
    fixture_wait_waiting(&f, 1);
    struct request *r = sw_http_request_of(f.waiting[0]);
    while (atomic_load(&r->async) != ASYNC_SUSPENDED) {
        sched_yield();
    }
    client_close(&c);
    atomic_store(&watch_resume, true);
    fixture_finish(&f);
    atomic_store(&watch_resume, false);
    assert_true(atomic_load(&saw_resume));
    assert_int_equal(atomic_load(&busy_in_resume), 1);
    assert_int_equal(atomic_load(&f.server->io[0].busy) + atomic_load(&f.server->io[1].busy), 0);
}

static void *finish_later(void *arg) {
    while (!atomic_load(&f.server->stopping)) {
        sched_yield();
    }
    fixture_finish(&f);
    return NULL;
}

static void destroy_waits_for_a_handler(void **state) {
    fixture_init(&f);
    fixture_start(&f);
    pthread_t thread;
    struct sw_error err;
    struct client c = fixture_client(&f), open = fixture_client(&f);
    client_post(&c, "/async", "", "x", 1);
    fixture_wait_waiting(&f, 1);
    assert_int_equal(sw_thread_start(&thread, "later", 0, finish_later, NULL, &err), SW_OK);
    sw_http_server_destroy(f.server);
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&f.done), 1);
    client_close(&c);
    client_close(&open);
}

static void a_taken_port_is_named(void **state) {
    struct sw_http_options options = f.options;
    options.port = sw_http_server_port(f.server);
    struct sw_http_server *server = NULL;
    struct sw_error err;
    assert_int_equal(sw_http_server_start(&options, &server, &err), SW_E_IO);
    assert_null(server);
    char want[128];
    snprintf(want, sizeof want, "address 127.0.0.1:%u is in use by another process; choose another port", options.port);
    assert_string_equal(err.message, want);
    options.host = "no.such.host.invalid";
    options.port = 0;
    assert_int_equal(sw_http_server_start(&options, &server, &err), SW_E_IO);
    options.host = "192.0.2.1"; /* for documentation: not ours */
    assert_int_equal(sw_http_server_start(&options, &server, &err), SW_E_IO);
}

static void ipv6(void **state) {
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address)) {
        skip(); /* this machine has no IPv6 */
    }
    close(fd);
    struct sw_http_options options = f.options;
    options.host = "::1";
    struct sw_http_server *server = NULL;
    struct sw_error err;
    assert_int_equal(sw_http_server_start(&options, &server, &err), SW_OK);
    address.sin6_port = htons(sw_http_server_port(server));
    struct client c = {.fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_int_equal(connect(c.fd, (struct sockaddr *)&address, sizeof address), 0);
    client_post(&c, "/echo", "", "six", 3);
    assert_int_equal(client_status(&c), 200);
    client_close(&c);
    sw_http_server_destroy(server);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(slow_headers, start, stop),
        cmocka_unit_test_setup_teardown(nothing_sent_at_all, start, stop),
        cmocka_unit_test_setup_teardown(idle_connections_end_silently, start, stop),
        cmocka_unit_test_setup_teardown(slow_body, start, stop),
        cmocka_unit_test_setup_teardown(a_declared_body_that_never_comes_holds_little, start, stop),
        cmocka_unit_test_setup_teardown(a_client_that_takes_no_answer, start, stop),
        cmocka_unit_test_setup_teardown(busy_handlers_are_not_timed_out, start, stop),
        cmocka_unit_test_setup_teardown(too_many_connections, start, stop),
        cmocka_unit_test_setup_teardown(connections_are_spread_evenly, start, stop),
        cmocka_unit_test_setup_teardown(descriptors_run_out, start, stop),
        cmocka_unit_test_setup_teardown(async_answers, start, stop),
        cmocka_unit_test_setup_teardown(finish_races_with_suspend, start, stop),
        cmocka_unit_test_setup_teardown(a_client_vanishes_during_an_async_handler, start, stop),
        cmocka_unit_test_setup_teardown(a_vanished_client_is_noticed, start, stop),
        cmocka_unit_test_setup_teardown(headers_said_twice, start, stop),
        cmocka_unit_test_setup_teardown(what_is_wanted_of_a_cache, start, stop),
        cmocka_unit_test_setup_teardown(clients_vanish_everywhere, start, stop),
        cmocka_unit_test_setup_teardown(half_closed_requests_are_ended, start, stop),
        cmocka_unit_test_setup_teardown(draining_loses_no_answer, start, stop),
        cmocka_unit_test_setup_teardown(finishing_keeps_the_server_alive, start, stop),
        cmocka_unit_test(destroy_waits_for_a_handler),
        cmocka_unit_test_setup_teardown(a_taken_port_is_named, start, stop),
        cmocka_unit_test_setup_teardown(ipv6, start, stop),
    };
    return cmocka_run_group_tests_name("http/lifecycle", tests, NULL, NULL);
}
