/* Answers by a table: whole, byte by byte, and cut at every place, which must come to the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "load/response.h"

enum { BODY_MAX = 1000 };

struct outcome {
    enum sw_response_result result; /* MORE: the connection's end was needed, or the answer is short */
    int status;
    uint64_t body_len;
    bool close;
    size_t rest; /* bytes behind its end */
};

struct answer {
    const char *text;
    struct outcome outcome;
    bool to_head;
    bool ends; /* the end of the connection makes it whole */
};

#define OK SW_RESPONSE_DONE
#define BAD SW_RESPONSE_BAD
#define LARGE SW_RESPONSE_TOO_LARGE
#define MORE SW_RESPONSE_MORE

static const struct answer answers[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", {OK, 200, 5, false, 0}, false, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", {OK, 200, 0, false, 0}, false, false},
    {"HTTP/1.1 200\r\ncontent-length:5\r\n\r\nhello", {OK, 200, 5, false, 0}, false, false},
    {"HTTP/1.1 200 \nContent-Length: 5\n\nhello", {OK, 200, 5, false, 0}, false, false},
    {"HTTP/1.1 404 Not Found\r\nContent-Length: 5, 5\r\nContent-Length: 5\r\n\r\nhello",
     {OK, 404, 5, false, 0},
     false,
     false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200", {OK, 200, 2, false, 12}, false, false},
    {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", {OK, 200, 1, true, 0}, false, false},
    {"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 1\r\n\r\nx", {OK, 200, 1, true, 0}, false, false},
    {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", {OK, 200, 1, true, 0}, false, false},
    {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", {OK, 200, 1, false, 0}, false, false},
    /* No body whatever the headers say. */
    {"HTTP/1.1 204 No Content\r\n\r\n", {OK, 204, 0, false, 0}, false, false},
    {"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", {OK, 304, 0, false, 0}, false, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", {OK, 200, 0, false, 0}, true, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", {OK, 200, 0, false, 0}, true, false},
    /* 1xx before. */
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
     {OK, 200, 1, false, 0},
     false,
     false},
    {"HTTP/1.1 100 Continue\r\nContent-Length: 7\r\n\r\nHTTP/1.1 204 x\r\n\r\n", {OK, 204, 0, false, 0}, false, false},
    {"HTTP/1.1 101 Switching Protocols\r\n\r\n", {BAD, 101, 0, true, 0}, false, false},
    /* Chunks. */
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
     {OK, 200, 5, false, 0},
     false,
     false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\nA;n=\"v\"\r\n0123456789\r\n1 \r\nx\r\n00\r\nT: v\r\nU: w\r\n\r\nrest",
     {OK, 200, 11, false, 4},
     false,
     false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\nx\n0\n\n", {OK, 200, 1, false, 0}, false, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n",
     {BAD, 200, 5, true, 0},
     false,
     false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", {BAD, 200, 0, true, 0}, false, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", {BAD, 200, 0, true, 0}, false, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", {BAD, 200, 0, true, 0}, false, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5 x\r\n", {BAD, 200, 0, true, 0}, false, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n",
     {BAD, 200, 0, true, 0},
     false,
     false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
     {LARGE, 200, 0, true, 0},
     false,
     false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n bad\r\n\r\n", {BAD, 200, 0, true, 0}, false, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", {BAD, 200, 0, true, 0}, false, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
     {BAD, 200, 0, true, 0},
     false,
     false},
    /* Ended by the connection. */
    {"HTTP/1.1 200 OK\r\n\r\nhello", {MORE, 200, 5, true, 0}, false, true},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello", {MORE, 200, 5, true, 0}, false, true},
    /* Short. */
    {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", {MORE, 200, 5, false, 0}, false, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n", {MORE, 200, 0, false, 0}, false, false},
    {"HTTP/1.1 20", {MORE, 0, 0, false, 0}, false, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", {MORE, 200, 5, false, 0}, false, false},
    /* Too large: announced, and found out. */
    {"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", {MORE, 200, 0, false, 0}, false, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", {LARGE, 200, 0, true, 0}, false, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n", {LARGE, 200, 0, true, 0}, false, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n", {LARGE, 200, 0, true, 0}, false, false},
    /* Malformed. */
    {"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n", {BAD, 200, 0, true, 0}, false, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", {BAD, 200, 0, true, 0}, false, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\n", {BAD, 200, 0, true, 0}, false, false},
    {"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", {BAD, 200, 0, true, 0}, false, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", {BAD, 200, 0, true, 0}, false, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n", {BAD, 200, 0, true, 0}, false, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
     {BAD, 200, 0, true, 0},
     false,
     false},
    {"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n", {BAD, 200, 0, true, 0}, false, false},
    {"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n", {BAD, 200, 0, true, 0}, false, false},
    {"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", {BAD, 200, 0, true, 0}, false, false},
    {"HTTP/1.1 200 OK\r\n: nothing\r\n\r\n", {BAD, 200, 0, true, 0}, false, false},
    {"HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", {BAD, 200, 0, true, 0}, false, false},
    {"HTTP/2 200 OK\r\n\r\n", {BAD, 0, 0, true, 0}, false, false},
    {"HTTP/1.1 OK\r\n\r\n", {BAD, 0, 0, true, 0}, false, false},
    {"HTTP/1.1 2000 OK\r\n\r\n", {BAD, 0, 0, true, 0}, false, false},
    {"HTTP/1.1 99 x\r\n\r\n", {BAD, 0, 0, true, 0}, false, false},
    {"HTTP/1.1 099 x\r\n\r\n", {BAD, 99, 0, true, 0}, false, false},
    {"HTTP/1.1 600 x\r\n\r\n", {BAD, 600, 0, true, 0}, false, false},
    {"HTTP/1.1200 OK\r\n\r\n", {BAD, 0, 0, true, 0}, false, false},
    {"\r\nHTTP/1.1 200 OK\r\n\r\n", {BAD, 0, 0, true, 0}, false, false},
    {"SSH-2.0-OpenSSH\r\n", {BAD, 0, 0, true, 0}, false, false},
};

/* Feeds the pieces text[0 .. cut) and text[cut ..), or, cut SIZE_MAX, single bytes. */
static struct outcome read_in_pieces(const struct answer *answer, size_t cut) {
    struct sw_response r = {0};
    size_t len = strlen(answer->text), at = 0, used;
    enum sw_response_result result = SW_RESPONSE_MORE;
    sw_response_init(&r, answer->to_head, BODY_MAX);
    while (result == SW_RESPONSE_MORE && at < len) {
        size_t piece = cut == SIZE_MAX ? 1 : at < cut ? cut - at : len - at;
        char *copy = sw_xmalloc(piece); /* so that the sanitizers see a read behind it */
        memcpy(copy, answer->text + at, piece);
        result = sw_response_feed(&r, copy, piece, &used);
        sw_free(copy);
        assert_true(used <= piece && (used == piece || result != SW_RESPONSE_MORE));
        at += used;
    }
    struct outcome outcome = {result, r.status, r.body_len, r.close, result == SW_RESPONSE_DONE ? len - at : 0};
    assert_true(result != SW_RESPONSE_BAD || r.reason != NULL);
    if (result == SW_RESPONSE_MORE) {
        assert_int_equal(sw_response_end(&r), answer->ends ? SW_RESPONSE_DONE : SW_RESPONSE_MORE);
    }
    sw_response_deinit(&r);
    return outcome;
}

static void assert_outcome(const struct answer *answer, size_t cut) {
    struct outcome got = read_in_pieces(answer, cut), wanted = answer->outcome;
    if (got.result != wanted.result || got.status != wanted.status || got.body_len != wanted.body_len ||
        got.close != wanted.close || got.rest != wanted.rest) {
        fail_msg("cut at %zd: result %d status %d body %llu close %d rest %zu of:\n%s", (ssize_t)cut, got.result,
                 got.status, (unsigned long long)got.body_len, got.close, got.rest, answer->text);
    }
}

static void the_table(void **state) {
    for (size_t i = 0; i < SW_COUNTOF(answers); i++) {
        for (size_t cut = 0; cut <= strlen(answers[i].text); cut++) {
            assert_outcome(&answers[i], cut);
        }
        assert_outcome(&answers[i], SIZE_MAX);
    }
}

/* Several answers in one piece are read one behind the other, by the same reader. */
static void answers_that_stand_in_a_row(void **state) {
    static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                               "HTTP/1.1 503 x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbad\r\n0\r\n\r\n"
                               "HTTP/1.1 204 x\r\n\r\n";
    static const int statuses[] = {200, 503, 204};
    struct sw_response r = {0};
    size_t at = 0, used;
    for (size_t i = 0; i < SW_COUNTOF(statuses); i++) {
        sw_response_init(&r, false, BODY_MAX);
        assert_int_equal(sw_response_feed(&r, text + at, sizeof text - 1 - at, &used), SW_RESPONSE_DONE);
        assert_int_equal(r.status, statuses[i]);
        assert_int_equal(r.sample_len, i == 1 ? 3 : 0);
        at += used;
    }
    assert_int_equal(at, sizeof text - 1);
    sw_response_deinit(&r);
}

static enum sw_response_result feed_times(struct sw_response *r, const char *piece, size_t times) {
    enum sw_response_result result = SW_RESPONSE_MORE;
    size_t used;
    for (size_t i = 0; i < times && result == SW_RESPONSE_MORE; i++) {
        result = sw_response_feed(r, piece, strlen(piece), &used);
    }
    return result;
}

static void endless_heads_are_ended(void **state) {
    struct sw_response r = {0};
    sw_response_init(&r, false, BODY_MAX);
    assert_int_equal(feed_times(&r, "HTTP/1.1 200 OK\r\n", 1), SW_RESPONSE_MORE);
    assert_int_equal(feed_times(&r, "A: 0123456789\r\n", 100000), SW_RESPONSE_BAD);
    sw_response_init(&r, false, BODY_MAX);
    assert_int_equal(feed_times(&r, "a line that never ends", 100000), SW_RESPONSE_BAD);
    sw_response_init(&r, false, BODY_MAX);
    assert_int_equal(feed_times(&r, "HTTP/1.1 100 Continue\r\n\r\n", SW_RESPONSE_INTERIM_MAX), SW_RESPONSE_MORE);
    assert_int_equal(feed_times(&r, "HTTP/1.1 100 Continue\r\n\r\n", 1), SW_RESPONSE_BAD);
    sw_response_deinit(&r);
}

static void endless_bodies_are_ended(void **state) {
    struct sw_response r = {0};
    sw_response_init(&r, false, BODY_MAX);
    assert_int_equal(feed_times(&r, "HTTP/1.1 200 OK\r\n\r\n", 1), SW_RESPONSE_MORE);
    assert_int_equal(feed_times(&r, "0123456789", BODY_MAX / 10), SW_RESPONSE_MORE);
    assert_int_equal(feed_times(&r, "0", 1), SW_RESPONSE_TOO_LARGE);
    sw_response_init(&r, false, BODY_MAX);
    assert_int_equal(feed_times(&r, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 1), SW_RESPONSE_MORE);
    assert_int_equal(feed_times(&r, "A\r\n0123456789\r\n", BODY_MAX / 10), SW_RESPONSE_MORE);
    assert_int_equal(feed_times(&r, "1\r\n", 1), SW_RESPONSE_TOO_LARGE);
    sw_response_init(&r, false, BODY_MAX);
    assert_int_equal(feed_times(&r, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", 1), SW_RESPONSE_MORE);
    assert_int_equal(feed_times(&r, "Trailer: x\r\n", 100000), SW_RESPONSE_BAD);
    sw_response_deinit(&r);
}

static void the_sample_is_cut(void **state) {
    struct sw_response r = {0};
    sw_response_init(&r, false, BODY_MAX);
    assert_int_equal(feed_times(&r, "HTTP/1.1 500 x\r\nContent-Length: 400\r\n\r\n", 1), SW_RESPONSE_MORE);
    assert_int_equal(feed_times(&r, "0123456789", 40), SW_RESPONSE_DONE);
    assert_int_equal(r.sample_len, SW_RESPONSE_SAMPLE_MAX);
    assert_memory_equal(r.sample, "01234567890123", 14);
    sw_response_deinit(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table),
        cmocka_unit_test(answers_that_stand_in_a_row),
        cmocka_unit_test(endless_heads_are_ended),
        cmocka_unit_test(endless_bodies_are_ended),
        cmocka_unit_test(the_sample_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
