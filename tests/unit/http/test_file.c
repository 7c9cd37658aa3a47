/* Answers that are files: whole, ranges, conditions, HEAD, beyond 2 GB, and who closes the descriptor. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"
#include "client.h"

static const uint64_t long_bytes = (5ull << 30) + 11; /* of the long file, which is nearly all hole */
static const char tail[] = "the end of it";

static struct fixture f;
static char short_path[] = "/tmp/sw-http-file-XXXXXX", long_path[] = "/tmp/sw-http-long-XXXXXX";

static int open_or_fail(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

/* "/file/KIND": short (26 bytes), long, empty, untagged, weak, missing (longer than it is), replaced, later. */
static enum sw_http_result file(struct sw_http_exchange *x) {
    atomic_fetch_add(&f.handled, 1);
    struct sw_str kind = x->params[0];
    bool is_long = sw_str_is(kind, "long");
    const char *etag = sw_str_is(kind, "untagged") ? NULL : sw_str_is(kind, "weak") ? "W/\"abc\"" : "\"abc\"";
    uint64_t length = is_long ? long_bytes : sw_str_is(kind, "empty") ? 0 : sw_str_is(kind, "missing") ? 27 : 26;
    sw_http_add_header(x, "X-Kind", sw_arena_strdup(&x->arena, kind));
    sw_http_reply_file(x, "text/plain", open_or_fail(is_long ? long_path : short_path), length, etag);
    if (sw_str_is(kind, "replaced")) {
        sw_http_reply(x, 200, "text/plain", SW_STR("something else"));
    } else if (sw_str_is(kind, "twice")) {
        x->header_count = 0;
        sw_http_reply_file(x, "text/plain", open_or_fail(short_path), 5, NULL);
    } else if (sw_str_is(kind, "later")) {
        pthread_mutex_lock(&f.lock);
        f.waiting[f.waiting_count++] = x;
        pthread_cond_broadcast(&f.changed);
        pthread_mutex_unlock(&f.lock);
        return SW_HTTP_ASYNC;
    }
    return SW_HTTP_DONE;
}

static const struct sw_route routes[] = {
    {.method = SW_HTTP_GET, .path = "/file/{kind}", .handler = file, .index = 0},
    {.method = SW_HTTP_POST, .path = "/file/{kind}", .handler = file, .index = 1},
};

static int start(void **state) {
    fixture_init(&f);
    f.options.routes = routes;
    f.options.route_count = SW_COUNTOF(routes);
    f.options.gzip_min = 1;
    fixture_start(&f);
    return 0;
}

static int stop(void **state) {
    fixture_stop(&f);
    return 0;
}

static int make_files(void **state) {
    int fd = mkstemp(short_path);
    bool good = fd >= 0 && write(fd, "abcdefghijklmnopqrstuvwxyz", 26) == 26;
    close(fd);
    fd = mkstemp(long_path);
    good &= fd >= 0 && pwrite(fd, tail, sizeof tail - 1, (off_t)(long_bytes - (sizeof tail - 1))) == sizeof tail - 1;
    close(fd);
    return good ? 0 : -1;
}

static int remove_files(void **state) {
    unlink(short_path);
    unlink(long_path);
    return 0;
}

static unsigned open_descriptors(void) {
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    unsigned count = 0;
    while (readdir(dir)) {
        count++;
    }
    closedir(dir);
    return count;
}

static void ask(struct client *c, const char *kind, const char *headers) {
    client_print(c, "GET /file/%s HTTP/1.1\r\nHost: t\r\nAccept-Encoding: gzip\r\n%s\r\n", kind, headers);
}

static void whole_files(void **state) {
    struct client c = fixture_client(&f);
    ask(&c, "short", "");
    struct answer a = client_read(&c);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "abcdefghijklmnopqrstuvwxyz");
    assert_true(answer_has(&a, "\r\nETag: \"abc\"\r\n"));
    assert_true(answer_has(&a, "\r\nAccept-Ranges: bytes\r\n"));
    assert_true(answer_has(&a, "\r\nContent-Type: text/plain\r\n"));
    assert_true(answer_has(&a, "\r\nX-Kind: short\r\n"));
    assert_false(answer_has(&a, "\r\nContent-Encoding"));
    answer_free(&a);
    ask(&c, "untagged", "");
    a = client_read(&c);
    assert_int_equal(a.body_len, 26);
    assert_false(answer_has(&a, "\r\nETag"));
    answer_free(&a);
    ask(&c, "empty", "");
    a = client_read(&c);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.body_len, 0);
    answer_free(&a);
    client_close(&c);
}

static void ranges(void **state) {
    static const struct {
        const char *range, *body, *content_range; /* body NULL: the whole file */
    } cases[] = {
        {"bytes=0-0", "a", "bytes 0-0/26"},
        {"bytes=3-7", "defgh", "bytes 3-7/26"},
        {"bytes=20-", "uvwxyz", "bytes 20-25/26"},
        {"bytes=20-99", "uvwxyz", "bytes 20-25/26"},
        {"bytes=-3", "xyz", "bytes 23-25/26"},
        {"bytes=-99", "abcdefghijklmnopqrstuvwxyz", "bytes 0-25/26"},
        {"bytes=25-99999999999999999999999", "z", "bytes 25-25/26"},
        {"bytes=-18446744073709551616", "abcdefghijklmnopqrstuvwxyz", "bytes 0-25/26"},
        {"Bytes = 1-2", "bc", "bytes 1-2/26"},
        {"bytes=5-3", NULL, NULL},
        {"bytes=1-2,4-5", NULL, NULL},
        {"bytes=", NULL, NULL},
        {"bytes=-", NULL, NULL},
        {"bytes=a-b", NULL, NULL},
        {"bytes=1-2x", NULL, NULL},
        {"bytes", NULL, NULL},
        {"lines=1-2", NULL, NULL},
    };
    struct client c = fixture_client(&f);
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        char header[128], want[128];
        snprintf(header, sizeof header, "Range: %s\r\n", cases[i].range);
        ask(&c, "short", header);
        struct answer a = client_read(&c);
        assert_int_equal(a.status, cases[i].body ? 206 : 200);
        assert_string_equal(a.body, cases[i].body ? cases[i].body : "abcdefghijklmnopqrstuvwxyz");
        snprintf(want, sizeof want, "\r\nContent-Range: %s\r\n", cases[i].body ? cases[i].content_range : "");
        assert_int_equal(answer_has(&a, want), cases[i].body != NULL);
        answer_free(&a);
    }
    client_close(&c);
}

static void ranges_outside(void **state) {
    static const char *const headers[] = {"Range: bytes=26-\r\n", "Range: bytes=-0\r\n", "Range: bytes=26-30\r\n",
                                          "Range: bytes=99999999999999999999999-\r\n"};
    struct client c = fixture_client(&f);
    for (size_t i = 0; i < SW_COUNTOF(headers); i++) {
        ask(&c, "short", headers[i]);
        struct answer a = client_read(&c);
        assert_int_equal(a.status, 416);
        assert_true(answer_has(&a, "\r\nContent-Range: bytes */26\r\n"));
        answer_free(&a);
    }
    ask(&c, "empty", "Range: bytes=0-\r\n");
    struct answer a = client_read(&c);
    assert_int_equal(a.status, 416);
    assert_true(answer_has(&a, "\r\nContent-Range: bytes */0\r\n"));
    answer_free(&a);
    client_close(&c);
}

static void conditions(void **state) {
    static const struct {
        const char *kind, *headers;
        int status;
        size_t len;
    } cases[] = {
        {"short", "Range: bytes=1-2\r\nIf-Range: \"abc\"\r\n", 206, 2},
        {"short", "Range: bytes=1-2\r\nIf-Range: \"abd\"\r\n", 200, 26},
        {"short", "Range: bytes=1-2\r\nIf-Range: Sat, 29 Oct 1994 19:43:31 GMT\r\n", 200, 26},
        {"short", "If-Range: \"abc\"\r\n", 200, 26},
        {"weak", "Range: bytes=1-2\r\nIf-Range: W/\"abc\"\r\n", 200, 26}, /* strong comparison */
        {"untagged", "Range: bytes=1-2\r\nIf-Range: \"abc\"\r\n", 200, 26},
        {"untagged", "Range: bytes=1-2\r\n", 206, 2},
        {"short", "If-None-Match: \"abc\"\r\n", 304, 0},
        {"short", "If-None-Match: W/\"abc\"\r\n", 304, 0}, /* weak comparison */
        {"weak", "If-None-Match: \"abc\"\r\n", 304, 0},
        {"short", "If-None-Match: *\r\n", 304, 0},
        {"short", "If-None-Match: \"x,y\", \"abc\" \r\n", 304, 0},
        {"short", "If-None-Match: \"x\", \"abcd\"\r\n", 200, 26},
        {"short", "If-None-Match: abc\r\n", 200, 26},
        {"short", "If-None-Match: \"abc\r\n", 200, 26},
        {"untagged", "If-None-Match: \"abc\"\r\n", 200, 26},
        {"short", "If-None-Match: \"abc\"\r\nRange: bytes=99-\r\n", 304, 0}, /* looked at first */
    };
    struct client c = fixture_client(&f);
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        ask(&c, cases[i].kind, cases[i].headers);
        struct answer a = cases[i].status == 304 ? client_read_head(&c) : client_read(&c);
        assert_int_equal(a.status, cases[i].status);
        assert_int_equal(a.body_len, cases[i].len);
        if (a.status == 304) {
            assert_true(answer_has(&a, "abc\"\r\n"));
            assert_false(answer_has(&a, "\r\nContent-Length: 0\r\n")); /* it would be that of the file */
        }
        answer_free(&a);
    }
    /* Ranges and 304 are for GET. */
    client_print(&c, "POST /file/short HTTP/1.1\r\nHost: t\r\nRange: bytes=1-2\r\nIf-None-Match: *\r\n\r\n");
    struct answer a = client_read(&c);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.body_len, 26);
    answer_free(&a);
    client_close(&c);
}

static void head(void **state) {
    struct client c = fixture_client(&f);
    client_print(&c, "HEAD /file/short HTTP/1.1\r\nHost: t\r\nRange: bytes=1-2\r\n\r\n");
    struct answer a = client_read_head(&c);
    assert_int_equal(a.status, 200);
    assert_true(answer_has(&a, "\r\nContent-Length: 26\r\n"));
    assert_true(answer_has(&a, "\r\nETag: \"abc\"\r\n"));
    client_print(&c, "HEAD /file/long HTTP/1.1\r\nHost: t\r\n\r\n");
    a = client_read_head(&c);
    assert_int_equal(a.status, 200);
    assert_true(answer_has(&a, "\r\nContent-Length: 5368709131\r\n"));
    ask(&c, "short", ""); /* the connection goes on */
    assert_int_equal(client_status(&c), 200);
    client_close(&c);
}

static void beyond_two_gigabytes(void **state) {
    struct client c = fixture_client(&f);
    ask(&c, "long", "Range: bytes=-13\r\n");
    struct answer a = client_read(&c);
    assert_int_equal(a.status, 206);
    assert_string_equal(a.body, tail);
    assert_true(answer_has(&a, "\r\nContent-Range: bytes 5368709118-5368709130/5368709131\r\n"));
    answer_free(&a);
    /* A part that is itself longer than 2 GiB. Holes take no time to read, and MSG_TRUNC copies nothing. */
    ask(&c, "long", "Range: bytes=3000000000-\r\n");
    a = client_read_head(&c);
    assert_int_equal(a.status, 206);
    assert_true(answer_has(&a, "\r\nContent-Length: 2368709131\r\n"));
    uint64_t left = 2368709131u - (sizeof tail - 1) - c.len;
    c.len = 0;
    while (left) {
        ssize_t n = recv(c.fd, NULL, left < (1 << 20) ? (size_t)left : 1 << 20, MSG_TRUNC);
        assert_true(n > 0);
        left -= (uint64_t)n;
    }
    char end[sizeof tail] = {0};
    for (size_t got = 0; got < sizeof tail - 1;) {
        ssize_t n = recv(c.fd, end + got, sizeof tail - 1 - got, 0);
        assert_true(n > 0);
        got += (size_t)n;
    }
    assert_string_equal(end, tail);
    client_close(&c);
}

static void a_file_that_is_too_short(void **state) {
    struct client c = fixture_client(&f);
    client_print(&c, "GET /file/missing HTTP/1.1\r\nHost: t\r\n\r\n");
    struct answer a = client_read(&c);
    assert_int_equal(a.status, 500);
    assert_true(answer_body_has(&a, "shorter than the 27 bytes"));
    answer_free(&a);
    client_close(&c);
}

static void other_answers_replace_it(void **state) {
    struct client c = fixture_client(&f);
    ask(&c, "replaced", "");
    struct answer a = client_read(&c);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "something else");
    answer_free(&a);
    ask(&c, "twice", "");
    a = client_read(&c);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "abcde");
    answer_free(&a);
    client_close(&c);
}

static void set_by_another_thread(void **state) {
    struct client c = fixture_client(&f);
    ask(&c, "later", "Range: bytes=1-2\r\n");
    fixture_wait_waiting(&f, 1);
    sw_http_finish(f.waiting[--f.waiting_count]);
    struct answer a = client_read(&c);
    assert_int_equal(a.status, 206);
    assert_string_equal(a.body, "bc");
    answer_free(&a);
    client_close(&c);
}

static void descriptors_are_closed(void **state) {
    fixture_wait_no_connections(&f);
    unsigned before = open_descriptors();
    static const char *const kinds[] = {"short", "empty", "missing", "replaced", "twice", "untagged"};
    static const char *const headers[] = {"", "Range: bytes=1-2\r\n", "Range: bytes=99-\r\n", "If-None-Match: *\r\n"};
    struct client c = fixture_client(&f);
    for (size_t i = 0; i < SW_COUNTOF(kinds) * SW_COUNTOF(headers); i++) {
        client_print(&c, "HEAD /file/%s HTTP/1.1\r\nHost: t\r\n%s\r\n", kinds[i / 4], headers[i % 4]);
        client_read_head(&c);
        ask(&c, kinds[i / 4], headers[i % 4]);
        struct answer a = client_read_head(&c);
        const char *length = strcasestr(a.head, "\r\nContent-Length: ");
        size_t len = length && a.status != 304 ? strtoul(length + 18, NULL, 10) : 0;
        for (char byte; len; len--) {
            if (c.len) {
                memmove(c.data, c.data + 1, --c.len);
            } else {
                assert_int_equal(recv(c.fd, &byte, 1, 0), 1);
            }
        }
    }
    client_close(&c);
    /* Clients that leave in the middle, and before the answer. */
    c = fixture_client(&f);
    ask(&c, "long", "");
    client_read_head(&c);
    client_close(&c);
    c = fixture_client(&f);
    ask(&c, "later", "");
    fixture_wait_waiting(&f, 1);
    client_close(&c);
    sw_http_finish(f.waiting[--f.waiting_count]);
    fixture_wait_no_connections(&f);
    assert_int_equal(open_descriptors(), before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(whole_files, start, stop),
        cmocka_unit_test_setup_teardown(ranges, start, stop),
        cmocka_unit_test_setup_teardown(ranges_outside, start, stop),
        cmocka_unit_test_setup_teardown(conditions, start, stop),
        cmocka_unit_test_setup_teardown(head, start, stop),
        cmocka_unit_test_setup_teardown(beyond_two_gigabytes, start, stop),
        cmocka_unit_test_setup_teardown(a_file_that_is_too_short, start, stop),
        cmocka_unit_test_setup_teardown(other_answers_replace_it, start, stop),
        cmocka_unit_test_setup_teardown(set_by_another_thread, start, stop),
        cmocka_unit_test_setup_teardown(descriptors_are_closed, start, stop),
    };
    return cmocka_run_group_tests_name("http/file", tests, make_files, remove_files);
}
