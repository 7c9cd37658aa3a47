/* Requests and answers on the wire: framing, routing, limits, errors. */
#include "base/memory.h"
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

static char *pattern(size_t len) {
    char *data = sw_xmalloc(len + 1);
    for (size_t i = 0; i < len; i++) {
        data[i] = (char)('A' + i * 7 % 53);
    }
    return data;
}

static void bodies_of_all_sizes_come_back(void **state) {
    const size_t sizes[] = {0, 1, 2, 63, 4096, 20000, 70000, 1 << 20, (1 << 20) + 1, 3000000, 8 << 20};
    struct client c = fixture_client(&f);
    char *data = pattern(8 << 20);
    for (size_t i = 0; i < SW_COUNTOF(sizes); i++) {
        client_post(&c, "/echo", "", data, sizes[i]);
        struct answer a = client_read(&c);
        assert_int_equal(a.status, 200);
        assert_int_equal(a.body_len, sizes[i]);
        assert_memory_equal(a.body, data, sizes[i]);
        assert_true(answer_has(&a, "X-Misaligned: 0\r\n"));
        answer_free(&a);
    }
    sw_free(data);
    client_close(&c);
    fixture_wait_done(&f, SW_COUNTOF(sizes));
    assert_int_equal(atomic_load(&f.handled), SW_COUNTOF(sizes));
}

static void binary_part_is_aligned(void **state) {
    const size_t sizes[] = {3000, 600000, 2500000};
    struct client c = fixture_client(&f);
    char *data = pattern(2500000);
    for (size_t i = 0; i < SW_COUNTOF(sizes); i++) {
        for (unsigned header = 0; header < 200; header += 37) {
            char line[80];
            snprintf(line, sizeof line, "Inference-Header-Content-Length: %u\r\n", header);
            client_post(&c, "/echo", line, data, sizes[i]);
            struct answer a = client_read(&c);
            assert_int_equal(a.status, 200);
            assert_true(answer_has(&a, "X-Misaligned: 0\r\n"));
            assert_memory_equal(a.body, data, sizes[i]);
            answer_free(&a);
        }
    }
    sw_free(data);
    client_close(&c);
}

static void chunked_bodies(void **state) {
    struct client c = fixture_client(&f);
    const char *head = "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
    client_print(&c, "%s5\r\nhello\r\n6;name=value\r\n world\r\n0\r\nTrailer: x\r\n\r\n", head);
    struct answer a = client_read(&c);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "hello world");
    answer_free(&a);
    /* many chunks, growing past every buffer */
    char *data = pattern(300000);
    client_print(&c, "%s", head);
    for (size_t at = 0; at < 300000; at += 1000) {
        client_print(&c, "3e8\r\n");
        client_send(&c, data + at, 1000);
        client_print(&c, "\r\n");
    }
    client_print(&c, "0\r\n\r\n");
    a = client_read(&c);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.body_len, 300000);
    assert_memory_equal(a.body, data, 300000);
    assert_true(answer_has(&a, "X-Misaligned: 0\r\n"));
    answer_free(&a);
    sw_free(data);
    client_close(&c);
}

static void pipelined_requests_are_answered_in_order(void **state) {
    struct client c = fixture_client(&f);
    struct sw_buf buf;
    sw_buf_init(&buf, 1 << 20);
    for (int i = 0; i < 50; i++) {
        sw_buf_printf(&buf, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\n%03d", i);
        sw_buf_printf(&buf, "GET /describe/%d HTTP/1.1\r\nHost: t\r\n\r\n", i);
    }
    client_send(&c, buf.data, buf.len);
    sw_buf_deinit(&buf);
    for (int i = 0; i < 50; i++) {
        char want[32];
        struct answer a = client_read(&c);
        snprintf(want, sizeof want, "%03d", i);
        assert_string_equal(a.body, want);
        answer_free(&a);
        a = client_read(&c);
        snprintf(want, sizeof want, "GET|%d|", i);
        assert_true(answer_body_has(&a, want));
        answer_free(&a);
    }
    client_close(&c);
}

static void a_request_may_come_byte_by_byte(void **state) {
    struct client c = fixture_client(&f);
    const char *request = "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nabcd";
    for (size_t i = 0; request[i]; i++) {
        client_send(&c, request + i, 1);
    }
    struct answer a = client_read(&c);
    assert_string_equal(a.body, "abcd");
    answer_free(&a);
    client_close(&c);
}

static void expect_continue(void **state) {
    struct client c = fixture_client(&f);
    client_print(&c, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    struct answer a = client_read(&c);
    assert_int_equal(a.status, 100);
    client_print(&c, "ok");
    a = client_read(&c);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "ok");
    answer_free(&a);
    /* refused before the body: no 100 */
    client_print(&c, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n");
    a = client_read(&c);
    assert_int_equal(a.status, 413);
    assert_true(answer_body_has(&a, "\"code\":\"too_large\""));
    answer_free(&a);
    assert_true(client_ends(&c));
    client_close(&c);
}

static void head_has_headers_and_no_body(void **state) {
    struct client c = fixture_client(&f);
    client_print(&c, "HEAD /describe/a HTTP/1.1\r\nHost: t\r\n\r\nGET /describe/b HTTP/1.1\r\nHost: t\r\n\r\n");
    struct answer a = client_read_head(&c);
    assert_int_equal(a.status, 200);
    assert_true(answer_has(&a, "\r\nContent-Length: 14\r\n")); /* HEAD|a||unset| */
    a = client_read(&c);
    assert_string_equal(a.body, "GET|b||unset|");
    answer_free(&a);
    client_close(&c);
}

static void paths_parameters_and_queries(void **state) {
    const char *const cases[][2] = {
        {"/describe/a%20b", "GET|a b||unset|"},
        {"/describe/a+b", "GET|a+b||unset|"},
        {"/describe/x?a+b=1%2B2+3&a%20b=no", "GET|x|1+2 3|set|"},
        {"/describe/x?a%20b", "GET|x||set|"},
        {"/describe/x?b=1&a+b=%zz%4", "GET|x|%zz%4|set|"},
        {"/describe/x?", "GET|x||unset|"},
        {"http://host:80/describe/abs?a%20b=2", "GET|abs|2|set|"},
    };
    struct client c = fixture_client(&f);
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        client_print(&c, "GET %s HTTP/1.1\r\nHost: t\r\n\r\n", cases[i][0]);
        struct answer a = client_read(&c);
        assert_int_equal(a.status, 200);
        assert_string_equal(a.body, cases[i][1]);
        answer_free(&a);
    }
    client_print(&c, "GET /describe/x HTTP/1.1\r\nHost: t\r\nX-TEST:  v w \r\nx-test: second\r\n\r\n");
    struct answer a = client_read(&c);
    assert_true(answer_body_has(&a, "|v w"));
    answer_free(&a);
    client_close(&c);
}

static void unknown_paths_and_methods(void **state) {
    struct client c = fixture_client(&f);
    client_print(&c, "GET /nothing\"here HTTP/1.1\r\nHost: t\r\n\r\n");
    struct answer a = client_read(&c);
    assert_int_equal(a.status, 404);
    assert_true(answer_body_has(&a, "{\"error\":{\"code\":\"not_found\",\"message\":"
                                    "\"there is no route /nothing\\\"here\""));
    assert_true(answer_body_has(&a, "\"details\":{},\"request_id\":\""));
    answer_free(&a);
    client_print(&c, "GET /v2/nothing HTTP/1.1\r\nHost: t\r\n\r\n");
    a = client_read(&c);
    assert_int_equal(a.status, 404);
    assert_string_equal(a.body, "{\"error\":\"there is no route /v2/nothing\"}");
    answer_free(&a);
    client_print(&c, "OPTIONS /describe/x HTTP/1.1\r\nHost: t\r\n\r\n");
    a = client_read(&c);
    assert_int_equal(a.status, 405);
    assert_true(answer_has(&a, "\r\nAllow: GET, HEAD, DELETE\r\n"));
    assert_true(answer_body_has(&a, "/describe/x takes only GET, HEAD, DELETE"));
    answer_free(&a);
    /* The body of a refused request is read, and the connection goes on. */
    client_post(&c, "/describe/x", "", "12345", 5);
    assert_int_equal(client_status(&c), 405);
    client_print(&c, "POST /nowhere HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    assert_int_equal(client_status(&c), 404);
    client_print(&c, "GET /describe/%%00 HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(client_status(&c), 404);
    client_post(&c, "/echo", "", "on", 2);
    assert_int_equal(client_status(&c), 200);
    client_close(&c);
    fixture_wait_done(&f, 7);
}

static void error_shapes_and_header_injection(void **state) {
    struct client c = fixture_client(&f);
    client_print(&c, "GET /v2/error HTTP/1.1\r\nHost: t\r\n\r\n");
    struct answer a = client_read(&c);
    assert_int_equal(a.status, 429);
    assert_string_equal(a.body, "{\"error\":\"full: \\\"queue\\\"\"}");
    assert_true(answer_has(&a, "\r\nRetry-After: 1\r\n"));
    assert_true(answer_has(&a, "\r\nX-Bad: a??Injected: 1\r\n"));
    assert_false(answer_has(&a, "\r\nInjected"));
    answer_free(&a);
    client_close(&c);
}

static void request_ids(void **state) {
    struct client c = fixture_client(&f);
    client_print(&c, "GET /describe/x HTTP/1.1\r\nHost: t\r\nX-Request-Id: a-Z.0_:/+=@\r\n\r\n");
    struct answer a = client_read(&c);
    assert_true(answer_has(&a, "\r\nX-Request-Id: a-Z.0_:/+=@\r\n"));
    answer_free(&a);
    char longest[130];
    memset(longest, 'x', 129);
    longest[129] = '\0';
    const char *const bad[] = {"", "a b", "a\"b", "a\xc3\xa4", longest};
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        client_print(&c, "GET /describe/x HTTP/1.1\r\nHost: t\r\nX-Request-Id: %s\r\n\r\n", bad[i]);
        a = client_read(&c);
        const char *id = strstr(a.head, "X-Request-Id: ") + 14;
        assert_int_equal(strspn(id, "0123456789abcdef"), 32);
        assert_memory_equal(id + 32, "\r\n", 2);
        answer_free(&a);
    }
    client_close(&c);
}

static void ambiguous_framing_is_refused_and_closed(void **state) {
    static const char *const bad[] = {
        "Host: t\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "Host: t\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
        "Host: t\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "Host: t\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Host: t\r\nContent-Length : 3\r\n\r\nabc",
        "Host: t\r\nHost: u\r\nContent-Length: 1\r\n\r\na",
        "Content-Length: 1\r\n\r\na",
        "Host: t\r\nContent-Length: -1\r\n\r\na",
        "Host: t\r\nContent-Length: 1x\r\n\r\na",
        "Host: t\r\nContent-Length: 0x1\r\n\r\na",
    };
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        struct client c = fixture_client(&f);
        client_print(&c, "POST /echo HTTP/1.1\r\n%s", bad[i]);
        struct answer a = client_read(&c);
        assert_int_equal(a.status, 400);
        answer_free(&a);
        client_ends(&c);
        client_close(&c);
    }
    assert_int_equal(atomic_load(&f.handled), 0);
    struct client c = fixture_client(&f);
    client_print(&c, "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip, chunked\r\n\r\nabc");
    assert_int_equal(client_status(&c), 501);
    client_ends(&c);
    client_close(&c);
    c = fixture_client(&f);
    client_print(&c, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 99999999999999999999999\r\n\r\n");
    assert_int_equal(client_status(&c), 413);
    client_close(&c);
    /* Equal lengths twice are unambiguous. */
    c = fixture_client(&f);
    client_print(&c, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc");
    assert_int_equal(client_status(&c), 200);
    client_close(&c);
}

/* What two readers could split into lines differently. */
static void header_lines_are_read_strictly(void **state) {
    static const char next[] = "GET /describe/smuggled HTTP/1.1\r\nHost: t\r\n\r\n";
    static const struct {
        int status;
        const char *text;
        size_t len;
    } bad[] = {
#define BAD(status, text) {status, text, sizeof(text) - 1}
        BAD(400, "Host: t\r\nTransfer-Encoding:\r\n chunked\r\n\r\n"), /* folded */
        BAD(400, "Host: t\r\nX: a\r\n Content-Length: 49\r\n\r\n"),
        BAD(400, "Host: t\r\nX: a\r\n\tb\r\nY: c\r\n\r\n"),
        BAD(400, " X: a\r\nHost: t\r\n\r\n"),
        BAD(400, "Host: t\r\nX: a\rContent-Length: 49\r\n\r\n"), /* a CR alone */
        BAD(400, "Host: t\r\nX: a\r\n\rContent-Length: 49\r\n\r\n"),
        BAD(400, "Host: t\nX: a\r\n\r\n"), /* an LF alone */
        BAD(400, "Host: t\r\nX: a\n\r\n"),
        BAD(400, "Host: t\r\nX: a\r\n\n"),
        BAD(400, "Host: t\r\nContent-Length: 0\0\x39\r\n\r\n"), /* a NUL */
        BAD(400, "Host: t\r\nX: a\0b\r\nY: c\r\n\r\n"),
        BAD(400, "Host: t\r\nX\0Y: b\r\n\r\n"),
        BAD(501, "Host: t\r\nTransfer-Encoding: chunked \r\n\r\n"), /* for libmicrohttpd an unknown coding */
#undef BAD
    };
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        struct client c = fixture_client(&f);
        client_print(&c, "POST /echo HTTP/1.1\r\n");
        client_send(&c, bad[i].text, bad[i].len);
        client_send(&c, next, sizeof next - 1);
        assert_int_equal(client_status(&c), bad[i].status);
        assert_true(client_ends(&c));
        client_close(&c);
    }
    struct client c = fixture_client(&f);
    client_print(&c, "POST /echo HTTP/1.1\nHost: t\r\n\r\n");
    assert_int_equal(client_status(&c), 400);
    client_close(&c);
    assert_int_equal(atomic_load(&f.handled), 0);
    c = fixture_client(&f);
    client_print(&c, "\r\nGET /describe/x HTTP/1.1\r\nHost:\tt\r\nX-Test:\r\nCookie: a=b; c=\"d\"\r\nEmpty:  \r\n\r\n");
    assert_int_equal(client_status(&c), 200);
    client_print(&c, "GET /describe/x HTTP/1.0\r\n\r\n"); /* no header at all */
    assert_int_equal(client_status(&c), 200);
    client_close(&c);
}

static void malformed_requests_end_the_connection(void **state) {
    static const struct {
        const char *text;
        size_t len;
    } bad[] = {
        {"GET\r\n\r\n", 7},
        {"GET /describe/x\r\n\r\n", 19},
        {"GET /describe/x HTTP/9.9\r\nHost: t\r\n\r\n", 38},
        {"GET /describe/x HTTP/1.1\r\nno colon\r\n\r\n", 38},
        {"GET /descr\0be/x HTTP/1.1\r\nHost: t\r\n\r\n", 37},
        {"GET /describe/x y HTTP/1.1\r\nHost: t\r\n\r\n", 39},
        {"POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 64},
        {"POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 64},
    };
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        struct client c = fixture_client(&f);
        client_send(&c, bad[i].text, bad[i].len);
        client_ends(&c);
        assert_true(c.len == 0 || strncmp(c.data, "HTTP/1.1 4", 10) == 0 || strncmp(c.data, "HTTP/1.1 5", 10) == 0);
        client_close(&c);
    }
    assert_int_equal(atomic_load(&f.handled), 0);
    struct client c = fixture_client(&f);
    client_post(&c, "/echo", "", "ok", 2);
    assert_int_equal(client_status(&c), 200);
    client_close(&c);
}

static void binary_header_length_is_checked(void **state) {
    const char *const bad[] = {"Inference-Header-Content-Length: 4\r\n",
                               "Inference-Header-Content-Length: x\r\n",
                               "Inference-Header-Content-Length: -1\r\n",
                               "Inference-Header-Content-Length: 18446744073709551615\r\n",
                               "Inference-Header-Content-Length: \r\n",
                               "Inference-Header-Content-Length: 1\r\nInference-Header-Content-Length: 1\r\n"};
    struct client c = fixture_client(&f);
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        client_post(&c, "/echo", bad[i], "abc", 3);
        struct answer a = client_read(&c);
        assert_int_equal(a.status, 400);
        assert_true(answer_body_has(&a, "Inference-Header-Content-Length"));
        answer_free(&a);
    }
    client_post(&c, "/echo", "Inference-Header-Content-Length: 3\r\n", "abc", 3);
    assert_int_equal(client_status(&c), 200);
    client_close(&c);
}

static void bodies_over_the_limit(void **state) {
    /* declared: answered without reading */
    struct client c = fixture_client(&f);
    client_print(&c, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: %u\r\n\r\n", (8u << 20) + 1);
    struct answer a = client_read(&c);
    assert_int_equal(a.status, 413);
    assert_true(answer_has(&a, "\r\nConnection: close\r\n"));
    answer_free(&a);
    client_close(&c);
    /* a route without large bodies has its own limit, and the answer survives the data that still comes */
    char *data = pattern(4 << 20);
    c = fixture_client(&f);
    client_post(&c, "/small", "", data, 1025);
    assert_int_equal(client_status(&c), 413);
    client_close(&c);
    c = fixture_client(&f);
    client_post(&c, "/small", "", data, 1024);
    assert_int_equal(client_status(&c), 200);
    /* chunked: noticed on the way; a little more is read, so that the connection goes on */
    client_print(&c, "POST /small HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n");
    client_send(&c, data, 0x1000);
    client_print(&c, "\r\n0\r\n\r\n");
    assert_int_equal(client_status(&c), 413);
    client_post(&c, "/small", "", "x", 1);
    assert_int_equal(client_status(&c), 200);
    /* chunked and far too long: answered before the end */
    client_print(&c, "POST /small HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n400000\r\n");
    client_send(&c, data, 4 << 20);
    a = client_read(&c);
    assert_int_equal(a.status, 413);
    assert_true(answer_body_has(&a, "\"code\":\"too_large\""));
    answer_free(&a);
    client_ends(&c);
    client_close(&c);
    sw_free(data);
    assert_int_equal(atomic_load(&f.handled), 2);
    /* the same for a path that does not exist: its own status, in its own shape */
    char *more = pattern(4 << 20);
    c = fixture_client(&f);
    client_print(&c, "POST /v2/no HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n400000\r\n");
    client_send(&c, more, 4 << 20);
    a = client_read(&c);
    assert_int_equal(a.status, 404);
    assert_true(answer_body_has(&a, "{\"error\":\"there is no route /v2/no\"}"));
    answer_free(&a);
    client_close(&c);
    sw_free(more);
    fixture_wait_done(&f, 7);
}

static void headers_over_the_limit(void **state) {
    const size_t sizes[] = {8200, 20000, 200000};
    for (size_t i = 0; i < SW_COUNTOF(sizes); i++) {
        char *filler = pattern(sizes[i]);
        filler[sizes[i]] = '\0';
        struct client c = fixture_client(&f);
        client_print(&c, "GET /describe/x HTTP/1.1\r\nHost: t\r\nX-Filler: %s\r\n\r\n", filler);
        assert_int_equal(client_status(&c), 431);
        client_close(&c);
        c = fixture_client(&f);
        client_print(&c, "GET /describe/%s HTTP/1.1\r\nHost: t\r\n\r\n", filler);
        int status = client_status(&c);
        assert_true(status == 414 || status == 431);
        client_close(&c);
        sw_free(filler);
    }
    char *filler = pattern(7900);
    filler[7900] = '\0';
    struct client c = fixture_client(&f);
    client_print(&c, "GET /describe/x HTTP/1.1\r\nHost: t\r\nX-Filler: %s\r\n\r\n", filler);
    assert_int_equal(client_status(&c), 200);
    client_close(&c);
    sw_free(filler);
}

static void keep_alive_and_close(void **state) {
    struct client c = fixture_client(&f);
    client_print(&c, "GET /close HTTP/1.1\r\nHost: t\r\n\r\n");
    struct answer a = client_read_head(&c);
    assert_int_equal(a.status, 204);
    assert_true(answer_has(&a, "\r\nConnection: close\r\n"));
    assert_true(client_ends(&c));
    client_close(&c);
    c = fixture_client(&f);
    client_print(&c, "GET /describe/x HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    assert_int_equal(client_status(&c), 200);
    assert_true(client_ends(&c));
    client_close(&c);
    c = fixture_client(&f);
    client_print(&c, "GET /describe/x HTTP/1.0\r\n\r\n");
    assert_int_equal(client_status(&c), 200);
    assert_true(client_ends(&c));
    client_close(&c);
}

static void long_answers_arrive_whole(void **state) {
    struct client c = fixture_client(&f);
    for (unsigned pieces = 0; pieces <= 200; pieces += 25) { /* more than SW_HTTP_PARTS_MAX too */
        client_print(&c, "GET /big/%u HTTP/1.1\r\nHost: t\r\n\r\n", pieces);
        struct answer a = client_read(&c);
        assert_int_equal(a.status, 200);
        assert_int_equal(a.body_len, pieces * 65536u);
        for (size_t i = 0; i < a.body_len; i += 997) {
            assert_int_equal(a.body[i], 'a' + i % 65536 % 23);
        }
        answer_free(&a);
    }
    client_close(&c);
}

static void a_request_has_only_so_much_memory(void **state) {
    fixture_stop(&f);
    fixture_init(&f);
    f.options.body_max = 1 << 20; /* with the base of 64 MiB: 80 MiB */
    fixture_start(&f);
    struct client c = fixture_client(&f);
    for (int i = 0; i < 2; i++) {
        client_print(&c, "GET /arena/79 HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_int_equal(client_status(&c), 200);
        client_print(&c, "GET /arena/81 HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_int_equal(client_status(&c), 503);
    }
    /* An answer whose pieces do not fit becomes an error, and nothing of it is left. */
    client_print(&c, "GET /big/3000 HTTP/1.1\r\nHost: t\r\n\r\n");
    struct answer a = client_read(&c);
    assert_int_equal(a.status, 503);
    assert_true(a.body_len < 300 && answer_body_has(&a, "no memory for the answer"));
    assert_true(answer_has(&a, "\r\nRetry-After: 1\r\n"));
    assert_false(answer_has(&a, "\r\nX-Pieces:"));
    answer_free(&a);
    client_print(&c, "GET /big/400 HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(client_status(&c), 200);
    client_close(&c);
}

static void too_many_bodies_at_once(void **state) {
    fixture_stop(&f);
    fixture_init(&f);
    f.options.buffered_max = 100000;
    fixture_start(&f);
    char *data = pattern(60000);
    struct client first = fixture_client(&f), second = fixture_client(&f);
    client_post(&first, "/async", "", data, 60000);
    fixture_wait_waiting(&f, 1);
    assert_int_equal(sw_http_server_buffered(f.server), 60000);
    client_post(&second, "/echo", "", data, 60000);
    struct answer a = client_read(&second);
    assert_int_equal(a.status, 503);
    assert_true(answer_has(&a, "\r\nRetry-After: 1\r\n"));
    answer_free(&a);
    client_post(&second, "/echo", "", data, 100); /* small ones pass */
    assert_int_equal(client_status(&second), 200);
    fixture_finish(&f);
    assert_int_equal(client_status(&first), 200);
    fixture_wait_done(&f, 3);
    client_post(&second, "/echo", "", data, 60000);
    assert_int_equal(client_status(&second), 200);
    client_close(&first);
    client_close(&second);
    sw_free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bodies_of_all_sizes_come_back, start, stop),
        cmocka_unit_test_setup_teardown(binary_part_is_aligned, start, stop),
        cmocka_unit_test_setup_teardown(chunked_bodies, start, stop),
        cmocka_unit_test_setup_teardown(pipelined_requests_are_answered_in_order, start, stop),
        cmocka_unit_test_setup_teardown(a_request_may_come_byte_by_byte, start, stop),
        cmocka_unit_test_setup_teardown(expect_continue, start, stop),
        cmocka_unit_test_setup_teardown(head_has_headers_and_no_body, start, stop),
        cmocka_unit_test_setup_teardown(paths_parameters_and_queries, start, stop),
        cmocka_unit_test_setup_teardown(unknown_paths_and_methods, start, stop),
        cmocka_unit_test_setup_teardown(error_shapes_and_header_injection, start, stop),
        cmocka_unit_test_setup_teardown(request_ids, start, stop),
        cmocka_unit_test_setup_teardown(ambiguous_framing_is_refused_and_closed, start, stop),
        cmocka_unit_test_setup_teardown(malformed_requests_end_the_connection, start, stop),
        cmocka_unit_test_setup_teardown(binary_header_length_is_checked, start, stop),
        cmocka_unit_test_setup_teardown(bodies_over_the_limit, start, stop),
        cmocka_unit_test_setup_teardown(headers_over_the_limit, start, stop),
        cmocka_unit_test_setup_teardown(keep_alive_and_close, start, stop),
        cmocka_unit_test_setup_teardown(long_answers_arrive_whole, start, stop),
        cmocka_unit_test_setup_teardown(too_many_bodies_at_once, start, stop),
        cmocka_unit_test_setup_teardown(a_request_has_only_so_much_memory, start, stop),
        cmocka_unit_test_setup_teardown(header_lines_are_read_strictly, start, stop),
    };
    return cmocka_run_group_tests_name("http/protocol", tests, NULL, NULL);
}
