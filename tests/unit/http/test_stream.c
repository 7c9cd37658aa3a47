/* Stream routes: bodies in pieces, back-pressure, refusals at every point, clients that go away, ends of the server.
 *
 * The route's function adds the pieces up. Query arguments: wait=1 makes each of its calls end only with go_on(),
 * refuse=N makes call N (BEGIN is 0) answer 409. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/memory.h"
#include "base/thread.h"
#include "client.h"

enum { PIECE = SW_HTTP_PIECE_MAX };

struct sum {
    uint64_t bytes, mix;
    unsigned pieces, calls;
    bool short_piece; /* a piece that was not full has come: it must be the last */
    uint64_t refuse;
    bool wait;
};

static struct fixture f;
static atomic_uint released; /* deferred calls of streams that began */
static struct sw_str waiting_piece;

static void on_release(void *arg) {
    atomic_fetch_add(&released, 1);
}

/* The arena is reset after on_done. */
static void expect_released(unsigned count) {
    WAIT_FOR(atomic_load(&released) >= count);
    assert_int_equal(atomic_load(&released), count);
}

static uint64_t mix(uint64_t before, const char *data, size_t len) {
    for (size_t i = 0; i < len; i++) {
        before = before * 31 + (unsigned char)data[i];
    }
    return before;
}

static struct sum *begin(struct sw_http_exchange *x) {
    struct sum *sum = sw_arena_calloc(&x->arena, 1, sizeof *sum);
    assert_true(sum && sw_arena_defer(&x->arena, on_release, NULL));
    sum->refuse = UINT64_MAX;
    (void)sw_parse_u64(sw_http_query(x, "refuse"), &sum->refuse);
    sum->wait = sw_str_is(sw_http_query(x, "wait"), "1");
    x->state = sum;
    return sum;
}

static void refuse(struct sw_http_exchange *x) {
    sw_http_add_header(x, "X-Why", "asked for");
    sw_http_reply_status(x, SW_E_CONFLICT, "call refused");
}

static enum sw_http_result stream(struct sw_http_exchange *x, enum sw_http_stream_event event, struct sw_str piece) {
    struct sum *sum = event == SW_HTTP_STREAM_BEGIN ? begin(x) : x->state;
    assert_non_null(sum);
    assert_true(event == SW_HTTP_STREAM_BEGIN ? piece.len == 0 : piece.len > 0 && piece.len <= PIECE);
    assert_false(sum->short_piece);
    assert_true(x->arena.allocated < 256 * 1024);
    assert_true(atomic_load(&f.server->buffered) <= f.options.buffered_max);
    sum->short_piece = event == SW_HTTP_STREAM_DATA && piece.len < PIECE;
    sum->pieces += event == SW_HTTP_STREAM_DATA;
    sum->bytes += piece.len;
    sum->mix = mix(sum->mix, piece.data, piece.len);
    bool refused = sum->calls++ == sum->refuse;
    if (!sum->wait) {
        if (refused) {
            refuse(x);
        }
        return SW_HTTP_DONE;
    }
    pthread_mutex_lock(&f.lock);
    waiting_piece = piece;
    f.waiting[f.waiting_count++] = x;
    pthread_cond_broadcast(&f.changed);
    pthread_mutex_unlock(&f.lock);
    return SW_HTTP_ASYNC;
}

/* Waits until a call of a stream is under way, and takes it. */
static struct sw_http_exchange *take(void) {
    fixture_wait_waiting(&f, 1);
    pthread_mutex_lock(&f.lock);
    struct sw_http_exchange *x = f.waiting[--f.waiting_count];
    pthread_mutex_unlock(&f.lock);
    return x;
}

static void go_on(void) {
    struct sw_http_exchange *x = take();
    struct sum *sum = x->state;
    if (sum->calls - 1 == sum->refuse) {
        refuse(x);
    }
    sw_http_stream_continue(x);
}

static enum sw_http_result sums(struct sw_http_exchange *x) {
    atomic_fetch_add(&f.handled, 1);
    struct sum *sum = x->state;
    assert_true(sum && x->body.len == 0);
    assert_true(!sw_http_request_of(x)->raw.base && !sw_http_request_of(x)->charged); /* the buffer is gone already */
    char *text = sw_arena_printf(&x->arena, "%u pieces, %llu bytes, mix %llx, length %lld", sum->pieces,
                                 (unsigned long long)sum->bytes, (unsigned long long)sum->mix,
                                 (long long)x->content_length);
    assert_non_null(text);
    sw_http_reply(x, 200, "text/plain", sw_str_of(text));
    return SW_HTTP_DONE;
}

static enum sw_http_result echo(struct sw_http_exchange *x) {
    atomic_fetch_add(&f.handled, 1);
    sw_http_reply(x, 200, "text/plain", x->body);
    return SW_HTTP_DONE;
}

static const struct sw_route routes[] = {
    {.method = SW_HTTP_PUT, .path = "/up/{path*}", .handler = sums, .index = 0, .stream = stream},
    {.method = SW_HTTP_POST, .path = "/echo", .handler = echo, .index = 1},
};

static int start(void **state) {
    fixture_init(&f);
    f.options.routes = routes;
    f.options.route_count = SW_COUNTOF(routes);
    atomic_store(&released, 0);
    fixture_start(&f);
    return 0;
}

static int stop(void **state) {
    fixture_stop(&f);
    return 0;
}

static char *pattern(size_t len) {
    char *data = sw_xmalloc(len + 1);
    for (size_t i = 0; i < len; i++) {
        data[i] = (char)('a' + (i * 7 + i / 1000) % 26);
    }
    return data;
}

static void put(struct client *c, const char *query, const char *headers, const char *body, size_t len) {
    client_print(c, "PUT /up/x%s HTTP/1.1\r\nHost: t\r\nContent-Length: %zu\r\n%s\r\n", query, len, headers);
    client_send(c, body, len);
}

static void expect_sum(struct client *c, const char *body, size_t len, bool chunked) {
    char want[128];
    snprintf(want, sizeof want, "%zu pieces, %zu bytes, mix %llx, length %lld", (len + PIECE - 1) / PIECE, len,
             (unsigned long long)mix(0, body, len), chunked ? -1LL : (long long)len);
    struct answer a = client_read(c);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, want);
    answer_free(&a);
}

/* The refusal; whether the connection goes on. */
static void expect_refusal(struct client *c, bool goes_on) {
    struct answer a = client_read(c);
    assert_int_equal(a.status, 409);
    assert_true(answer_body_has(&a, "\"message\":\"call refused\""));
    assert_true(answer_has(&a, "\r\nX-Why: asked for\r\n"));
    assert_true(answer_has(&a, "\r\nX-Request-Id: "));
    answer_free(&a);
    if (goes_on) {
        client_post(c, "/echo", "", "next", 4);
        a = client_read(c);
        assert_int_equal(a.status, 200);
        assert_string_equal(a.body, "next");
        answer_free(&a);
    } else {
        assert_true(client_ends(c));
    }
    client_close(c);
}

static void pieces_of_a_body(void **state) {
    const size_t sizes[] = {1, 5000, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 20 * PIECE + 17};
    char *body = pattern(20 * PIECE + 17);
    struct client c = fixture_client(&f);
    for (size_t i = 0; i < SW_COUNTOF(sizes); i++) {
        put(&c, "", "", body, sizes[i]);
        expect_sum(&c, body, sizes[i], false);
        fixture_wait_done(&f, (unsigned)i + 1);
        expect_released((unsigned)i + 1);
        assert_int_equal(sw_http_server_buffered(f.server), 0);
    }
    sw_free(body);
    client_close(&c);
}

/* Pieces delivered when `bytes` have come and the body goes on. */
static size_t full_pieces(size_t bytes) {
    return bytes ? (bytes - 1) / PIECE : 0;
}

static void chunked_bodies(void **state) {
    const size_t len = 3 * PIECE + 999, chunks[] = {1, 16, 70000, 3, PIECE, 4095, 300000};
    char *body = pattern(len);
    struct client c = fixture_client(&f);
    for (int wait = 0; wait < 2; wait++) {
        client_print(&c, "PUT /up/x?wait=%d HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n", wait);
        if (wait) {
            go_on();
        }
        for (size_t at = 0, i = 0; at < len; i++) {
            size_t n = chunks[i % SW_COUNTOF(chunks)];
            n = n < len - at ? n : len - at;
            client_print(&c, "%zx\r\n", n);
            client_send(&c, body + at, n);
            client_print(&c, "\r\n");
            for (size_t pieces = full_pieces(at); wait && pieces < full_pieces(at + n); pieces++) {
                go_on();
            }
            at += n;
        }
        client_print(&c, "0\r\nX-Trailer: 1\r\n\r\n");
        if (wait) {
            go_on();
        }
        expect_sum(&c, body, len, true);
    }
    sw_free(body);
    client_close(&c);
}

static void no_body(void **state) {
    struct client c = fixture_client(&f);
    for (int i = 0; i < 2; i++) { /* the connection goes on */
        put(&c, "", "", "", 0);
        expect_sum(&c, "", 0, false);
        client_print(&c, "PUT /up/x HTTP/1.1\r\nHost: t\r\n\r\n");
        expect_sum(&c, "", 0, false);
        client_print(&c, "PUT /up/x?wait=1 HTTP/1.1\r\nHost: t\r\n\r\n");
        go_on();
        expect_sum(&c, "", 0, false);
        client_print(&c, "PUT /up/x?wait=1 HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
        go_on();
        expect_sum(&c, "", 0, true);
    }
    client_print(&c, "PUT /up/x HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc");
    expect_sum(&c, "abc", 3, false);
    client_close(&c);
}

static void pipelined_requests(void **state) {
    struct client c = fixture_client(&f);
    client_print(&c, "PUT /up/x HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc"
                     "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nde"
                     "PUT /up/x?wait=1 HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nfgh"
                     "PUT /up/x?refuse=0 HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nijk"
                     "PUT /up/x HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nlmn");
    expect_sum(&c, "abc", 3, false);
    assert_int_equal(client_status(&c), 200);
    go_on();
    go_on();
    expect_sum(&c, "fgh", 3, false);
    assert_int_equal(client_status(&c), 409);
    expect_sum(&c, "lmn", 3, false);
    client_close(&c);
}

static bool is_silent(const struct client *c) {
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    return poll(&p, 1, 0) == 0;
}

static void a_100_comes_after_begin(void **state) {
    char *body = pattern(PIECE + 5);
    struct client c = fixture_client(&f);
    for (int i = 0; i < 2; i++) {
        client_print(&c, "PUT /up/x?wait=1 HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: %u\r\n\r\n",
                     PIECE + 5);
        struct sw_http_exchange *x = take();
        assert_true(is_silent(&c));
        sw_http_stream_continue(x);
        assert_int_equal(client_status(&c), 100);
        client_send(&c, body, PIECE + 5);
        go_on();
        go_on();
        expect_sum(&c, body, PIECE + 5, false);
    }
    client_print(&c, "PUT /up/x HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_int_equal(client_status(&c), 100);
    client_send(&c, body, 2);
    expect_sum(&c, body, 2, false);
    client_close(&c);
    /* refused: no 100 */
    for (int wait = 0; wait < 2; wait++) {
        c = fixture_client(&f);
        client_print(&c,
                     "PUT /up/x?wait=%d&refuse=0 HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\n"
                     "Content-Length: 2\r\n\r\n",
                     wait);
        if (wait) {
            go_on();
        }
        expect_refusal(&c, false);
    }
    sw_free(body);
}

/* `call` 0 is BEGIN; the body has `pieces` full pieces and one byte. */
static void check_refusal(unsigned call, unsigned pieces, bool chunked, bool wait, bool goes_on) {
    size_t len = (size_t)pieces * PIECE + 1;
    char *body = pattern(len), framing[64];
    struct client c = fixture_client(&f);
    unsigned done = atomic_load(&f.done);
    snprintf(framing, sizeof framing, chunked ? "Transfer-Encoding: chunked" : "Content-Length: %zu", len);
    client_print(&c, "PUT /up/x?refuse=%u&wait=%d HTTP/1.1\r\nHost: t\r\n%s\r\n\r\n", call, wait, framing);
    if (chunked) {
        client_print(&c, "%zx\r\n", len);
    }
    /* Each call comes with the first byte behind its piece; the answer of a long body does not wait for the rest. */
    size_t sent = 0;
    for (unsigned i = 0; i <= call; i++) {
        size_t upto = (size_t)i * PIECE + 1 < len ? (size_t)i * PIECE + 1 : len;
        client_send(&c, body + sent, upto - sent);
        sent = upto;
        if (i == call && goes_on) {
            client_send(&c, body + sent, len - sent);
            client_print(&c, chunked ? "\r\n0\r\n\r\n" : "");
        }
        if (wait) {
            go_on();
        }
    }
    expect_refusal(&c, goes_on);
    fixture_wait_done(&f, done + 1 + goes_on);
    WAIT_FOR(sw_http_server_buffered(f.server) == 0);
    sw_free(body);
}

static void refusals(void **state) {
    for (int wait = 0; wait < 2; wait++) {
        check_refusal(0, 0, false, wait, true);
        check_refusal(0, 0, true, wait, true);
        check_refusal(0, 8, false, wait, false); /* long: not worth reading */
        check_refusal(1, 1, false, wait, true);  /* little is left */
        check_refusal(1, 8, false, wait, false);
        check_refusal(3, 8, false, wait, false);
        check_refusal(8, 8, false, wait, true);
        check_refusal(9, 8, false, wait, true); /* the last piece: nothing is left */
        check_refusal(9, 8, true, wait, true);
        check_refusal(1, 8, true, wait, false); /* who knows how much is left */
    }
    expect_released(20);
    assert_int_equal(atomic_load(&f.handled), 12); /* the requests after: no stream reached its handler */
}

/* The answer survives the data that is still on its way. */
static void a_refusal_reaches_who_goes_on_sending(void **state) {
    const size_t len = 30 * PIECE;
    char *body = pattern(len);
    struct client c = fixture_client(&f);
    put(&c, "?refuse=2", "", body, len);
    expect_refusal(&c, false);
    sw_free(body);
}

static void encoded_bodies(void **state) {
    struct client c = fixture_client(&f);
    put(&c, "", "Content-Encoding: gzip\r\n", "abc", 3);
    assert_int_equal(client_status(&c), 415);
    put(&c, "", "Content-Encoding: identity\r\n", "abc", 3);
    expect_sum(&c, "abc", 3, false);
    client_close(&c);
    expect_released(1);
}

static int start_with_room_for_one(void **state) {
    fixture_init(&f);
    f.options.routes = routes;
    f.options.route_count = SW_COUNTOF(routes);
    f.options.buffered_max = PIECE + PIECE / 2;
    atomic_store(&released, 0);
    fixture_start(&f);
    return 0;
}

static void pieces_count_as_buffered(void **state) {
    char *body = pattern(2 * PIECE);
    struct client a = fixture_client(&f), b = fixture_client(&f);
    put(&a, "?wait=1", "", body, 2 * PIECE);
    fixture_wait_waiting(&f, 1);
    assert_int_equal(sw_http_server_buffered(f.server), PIECE);
    client_print(&b, "PUT /up/x HTTP/1.1\r\nHost: t\r\nContent-Length: %u\r\n\r\n", PIECE + 1);
    assert_int_equal(client_status(&b), 503);
    client_close(&b);
    go_on();
    go_on();
    go_on();
    expect_sum(&a, body, 2 * PIECE, false);
    fixture_wait_done(&f, 2);
    WAIT_FOR(sw_http_server_buffered(f.server) == 0);
    expect_released(1);
    client_close(&a);
    sw_free(body);
}

static atomic_bool goers_stop;

/* Ends calls as soon as they appear: often before the connection is suspended. */
static void *goer(void *arg) {
    while (!atomic_load(&goers_stop)) {
        pthread_mutex_lock(&f.lock);
        struct sw_http_exchange *x = f.waiting_count ? f.waiting[--f.waiting_count] : NULL;
        pthread_mutex_unlock(&f.lock);
        if (x) {
            sw_http_stream_continue(x);
        } else {
            sched_yield();
        }
    }
    return NULL;
}

static void going_on_races_with_suspending(void **state) {
    const size_t len = 3 * PIECE + 100;
    char *body = pattern(len);
    pthread_t threads[2];
    struct sw_error err;
    struct client clients[3];
    atomic_store(&goers_stop, false);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(sw_thread_start(&threads[i], "goer", 0, goer, NULL, &err), SW_OK);
    }
    for (size_t i = 0; i < SW_COUNTOF(clients); i++) {
        clients[i] = fixture_client(&f);
    }
    for (size_t round = 0; round < 50; round++) {
        for (size_t i = 0; i < SW_COUNTOF(clients); i++) {
            put(&clients[i], "?wait=1", "", body + i, round % 2 ? 10 : len - i);
        }
        for (size_t i = 0; i < SW_COUNTOF(clients); i++) {
            expect_sum(&clients[i], body + i, round % 2 ? 10 : len - i, false);
        }
    }
    atomic_store(&goers_stop, true);
    for (size_t i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    for (size_t i = 0; i < SW_COUNTOF(clients); i++) {
        client_close(&clients[i]);
    }
    sw_free(body);
}

/* Sends until the kernel takes no more: bytes sent. */
static size_t send_until_blocked(struct client *c, size_t most) {
    char *data = sw_xcalloc(1, 65536);
    size_t sent = 0;
    while (sent < most) {
        size_t left = most - sent;
        ssize_t n = send(c->fd, data, left < 65536 ? left : 65536, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0) {
            assert_int_equal(errno, EAGAIN);
            break;
        }
        sent += (size_t)n;
    }
    sw_free(data);
    return sent;
}

static void a_slow_call_holds_the_client_back(void **state) {
    const size_t len = (size_t)1 << 30;
    struct client c = fixture_client(&f);
    client_print(&c, "PUT /up/x?wait=1 HTTP/1.1\r\nHost: t\r\nContent-Length: %zu\r\n\r\n", len);
    go_on();
    size_t before = send_until_blocked(&c, PIECE + 1);
    while (before < PIECE + 1) { /* the server has not read yet */
        before += send_until_blocked(&c, PIECE + 1 - before);
    }
    struct sw_http_exchange *x = take();
    size_t sent = send_until_blocked(&c, len - before);
    assert_true(sent < len / 8); /* what the kernel buffers */
    assert_int_equal(sw_http_server_buffered(f.server), PIECE);
    assert_true(x->arena.allocated < 64 * 1024);
    /* The client goes away: the call notices nothing. */
    client_close(&c);
    sw_http_watch_once(f.server);
    sw_http_watch_once(f.server);
    struct sum *sum = x->state;
    assert_int_equal(mix(0, waiting_piece.data, waiting_piece.len), sum->mix);
    assert_int_equal(atomic_load(&released), 0);
    sw_http_stream_continue(x);
    /* What was sent may come in still. */
    while (atomic_load(&f.done) < 1) {
        pthread_mutex_lock(&f.lock);
        x = f.waiting_count ? f.waiting[--f.waiting_count] : NULL;
        pthread_mutex_unlock(&f.lock);
        if (x) {
            sw_http_stream_continue(x);
        }
        sw_http_watch_once(f.server);
        sched_yield();
    }
    assert_int_equal(atomic_load(&f.last_status), 499);
    expect_released(1);
    assert_int_equal(atomic_load(&f.handled), 0);
}

static void clients_vanish(void **state) {
    char *body = pattern(3 * PIECE);
    const size_t cuts[] = {0, 1, PIECE, PIECE + 1, 2 * PIECE + 7};
    unsigned done = 0;
    for (size_t i = 0; i < SW_COUNTOF(cuts) * 4; i++) {
        size_t cut = cuts[i / 4];
        bool wait = i % 2;
        struct client c = fixture_client(&f);
        client_print(&c, "PUT /up/x?wait=%d HTTP/1.1\r\nHost: t\r\nContent-Length: %u\r\n\r\n", wait, 3 * PIECE);
        client_send(&c, body, cut);
        struct sw_http_exchange *x = NULL;
        for (size_t calls = 0; wait && calls <= (cut ? (cut - 1) / PIECE : 0); calls++) {
            if (x) {
                sw_http_stream_continue(x);
            }
            x = take(); /* the last one is under way when the client goes */
        }
        if (!wait) {
            fixture_wait_state(&f, STATE_BODY);
        }
        if (i % 4 >= 2) { /* with a reset */
            struct linger now = {1, 0};
            setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        }
        client_close(&c);
        if (x) {
            assert_int_equal(atomic_load(&f.done), done);
            sw_http_stream_continue(x);
        }
        fixture_wait_no_connections(&f);
        fixture_wait_done(&f, ++done);
        assert_int_equal(atomic_load(&f.last_status), 499);
        expect_released(done);
    }
    assert_int_equal(atomic_load(&f.handled), 0);
    sw_free(body);
}

static void a_half_closed_client_gets_its_answer(void **state) {
    struct client c = fixture_client(&f);
    put(&c, "?wait=1", "", "abc", 3);
    go_on();
    shutdown(c.fd, SHUT_WR);
    go_on();
    expect_sum(&c, "abc", 3, false);
    client_close(&c);
}

static void pass(uint64_t seconds) {
    sw_http_watch_once(f.server); /* sees the present word */
    sw_clock_manual_advance(&f.clock, seconds * 1000000000u);
    sw_http_watch_once(f.server);
}

static void the_time_out_is_from_piece_to_piece(void **state) {
    char *body = pattern(4 * PIECE);
    struct client c = fixture_client(&f);
    client_print(&c, "PUT /up/x?wait=1 HTTP/1.1\r\nHost: t\r\nContent-Length: %u\r\n\r\n", 4 * PIECE);
    struct sw_http_exchange *x = take();
    pass(3600); /* a call may take as long as it likes */
    pass(3600);
    sw_http_stream_continue(x);
    client_send(&c, body, 1);
    for (unsigned i = 0; i < 3; i++) {
        fixture_wait_state(&f, STATE_BODY);
        pass(50); /* more than the 60 seconds in all */
        client_send(&c, body, PIECE);
        x = take();
        pass(3600);
        sw_http_stream_continue(x);
    }
    fixture_wait_state(&f, STATE_BODY);
    pass(50);
    assert_true(is_silent(&c));
    client_send(&c, body, 1000); /* no piece: does not count */
    pass(11);
    assert_int_equal(client_status(&c), 408);
    assert_true(client_ends(&c));
    client_close(&c);
    fixture_wait_done(&f, 1);
    assert_int_equal(atomic_load(&f.last_status), 408);
    expect_released(1);
    sw_free(body);
}

static void *drain_thread(void *arg) {
    sw_http_server_drain(f.server, 10000);
    return NULL;
}

static void draining_lets_an_upload_end(void **state) {
    char *body = pattern(2 * PIECE);
    pthread_t thread;
    struct sw_error err;
    struct client c = fixture_client(&f), other = fixture_client(&f);
    client_print(&c, "PUT /up/x?wait=1 HTTP/1.1\r\nHost: t\r\nContent-Length: %u\r\n\r\n", 2 * PIECE);
    go_on();
    client_send(&c, body, 10);
    fixture_wait_state(&f, STATE_BODY);
    client_post(&other, "/echo", "", "x", 1);
    assert_int_equal(client_status(&other), 200);
    assert_int_equal(sw_thread_start(&thread, "drain", 0, drain_thread, NULL, &err), SW_OK);
    assert_true(client_ends(&other)); /* only draining ends it */
    client_send(&c, body + 10, 2 * PIECE - 10);
    go_on();
    go_on();
    struct answer a = client_read(&c);
    assert_int_equal(a.status, 200);
    assert_true(answer_has(&a, "\r\nConnection: close\r\n"));
    answer_free(&a);
    assert_true(client_ends(&c));
    pthread_join(thread, NULL);
    client_close(&c);
    client_close(&other);
    sw_free(body);
}

static void *go_on_later(void *arg) {
    while (!atomic_load(&f.server->stopping)) {
        sched_yield();
    }
    sw_http_stream_continue(arg);
    return NULL;
}

static void destroying_waits_for_a_call(void **state) {
    for (unsigned calls = 0; calls < 2; calls++) { /* BEGIN, DATA */
        start(NULL);
        char *body = pattern(2 * PIECE);
        pthread_t thread;
        struct sw_error err;
        struct client c = fixture_client(&f), between = fixture_client(&f);
        put(&c, "?wait=1", "", body, 2 * PIECE);
        if (calls) {
            go_on();
        }
        struct sw_http_exchange *x = take();
        client_print(&between, "PUT /up/x HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nab");
        fixture_wait_state(&f, STATE_BODY);
        assert_int_equal(sw_thread_start(&thread, "later", 0, go_on_later, x, &err), SW_OK);
        sw_http_server_destroy(f.server);
        pthread_join(thread, NULL);
        assert_int_equal(atomic_load(&f.done), 2);
        expect_released(2);
        assert_int_equal(atomic_load(&f.handled), 0);
        client_close(&c);
        client_close(&between);
        sw_free(body);
    }
}

static void a_stopping_server_takes_no_more_pieces(void **state) {
    start(NULL);
    struct client c = fixture_client(&f);
    client_print(&c, "PUT /up/x HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nab");
    fixture_wait_state(&f, STATE_BODY);
    atomic_store(&f.server->stopping, true);
    client_print(&c, "cde");
    assert_int_equal(client_status(&c), 503);
    sw_http_server_destroy(f.server);
    assert_int_equal(atomic_load(&f.done), 1);
    expect_released(1);
    assert_int_equal(atomic_load(&f.handled), 0);
    client_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pieces_of_a_body, start, stop),
        cmocka_unit_test_setup_teardown(chunked_bodies, start, stop),
        cmocka_unit_test_setup_teardown(no_body, start, stop),
        cmocka_unit_test_setup_teardown(pipelined_requests, start, stop),
        cmocka_unit_test_setup_teardown(a_100_comes_after_begin, start, stop),
        cmocka_unit_test_setup_teardown(refusals, start, stop),
        cmocka_unit_test_setup_teardown(a_refusal_reaches_who_goes_on_sending, start, stop),
        cmocka_unit_test_setup_teardown(encoded_bodies, start, stop),
        cmocka_unit_test_setup_teardown(pieces_count_as_buffered, start_with_room_for_one, stop),
        cmocka_unit_test_setup_teardown(going_on_races_with_suspending, start, stop),
        cmocka_unit_test_setup_teardown(a_slow_call_holds_the_client_back, start, stop),
        cmocka_unit_test_setup_teardown(clients_vanish, start, stop),
        cmocka_unit_test_setup_teardown(a_half_closed_client_gets_its_answer, start, stop),
        cmocka_unit_test_setup_teardown(the_time_out_is_from_piece_to_piece, start, stop),
        cmocka_unit_test_setup_teardown(draining_lets_an_upload_end, start, stop),
        cmocka_unit_test(destroying_waits_for_a_call),
        cmocka_unit_test(a_stopping_server_takes_no_more_pieces),
    };
    return cmocka_run_group_tests_name("http/stream", tests, NULL, NULL);
}
