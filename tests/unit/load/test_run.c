/* Whole runs against a server that does what each test says. What is asserted are counts, never how long it took: runs
 * end by a number of requests, or their timetable says how many there must be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/eventfd.h>
#include <unistd.h>

#include "answering_server.h"
#include "base/memory.h"
#include "load/report.h"
#include "load/request.h"

static const uint64_t MS = 1000000, HOUR_NS = 3600ull * 1000000000;

struct bench {
    struct answering_server server;
    struct sw_load_url url;
    struct sw_buf request;
    struct sw_str requests[3];
    bool accepts[SW_LOAD_STATUS_COUNT];
    struct sw_load_settings settings;
    struct sw_load_result result;
};

/* One connection on one thread, one request "GET /", no end: the test sets what it needs. */
static struct bench *bench_start(answer_function *answer, void *arg) {
    struct bench *b = SW_NEW(struct bench);
    char text[64];
    answering_server_start(&b->server, answer, arg);
    snprintf(text, sizeof text, "http://127.0.0.1:%u/", b->server.port);
    assert_int_equal(sw_load_url_parse(sw_str_of(text), &b->url, NULL), SW_OK);
    assert_int_equal(sw_load_request_make(&(struct sw_load_request_parts){.url = &b->url}, &b->request, NULL), SW_OK);
    b->requests[0] = sw_buf_str(&b->request);
    for (int i = 200; i < 400; i++) {
        b->accepts[i] = true;
    }
    b->settings = (struct sw_load_settings){.url = &b->url,
                                            .requests = b->requests,
                                            .request_count = 1,
                                            .accepts = b->accepts,
                                            .connections = 1,
                                            .threads = 1,
                                            .duration_ns = HOUR_NS,
                                            .timeout_ns = HOUR_NS,
                                            .body_max = 1000,
                                            .stop_fd = -1};
    return b;
}

static void bench_run(struct bench *b) {
    struct sw_error err;
    if (sw_load_run(&b->settings, &b->result, &err)) {
        fail_msg("%s", err.message);
    }
}

static void bench_stop(struct bench *b) {
    answering_server_stop(&b->server);
    sw_load_result_deinit(&b->result);
    sw_buf_deinit(&b->request);
    sw_load_url_deinit(&b->url);
    sw_free(b);
}

static void assert_outcomes(struct bench *b, enum sw_load_outcome outcome, uint64_t count) {
    for (size_t i = 0; i < SW_LOAD_OUTCOME_COUNT; i++) {
        uint64_t wanted = i == outcome ? count : 0, got = b->result.totals->outcomes[i];
        if (got != wanted) {
            fail_msg("%s: %llu, not %llu; %s", sw_load_outcome_name((enum sw_load_outcome)i), (unsigned long long)got,
                     (unsigned long long)wanted, b->result.totals->reasons[i]);
        }
    }
}

static void a_closed_loop_counts_every_request(void **state) {
    struct bench *b = bench_start(answer_ok, NULL);
    b->settings.connections = 7;
    b->settings.threads = 3;
    b->settings.requests_max = 500;
    bench_run(b);
    const struct sw_load_totals *t = b->result.totals;
    assert_outcomes(b, SW_LOAD_SUCCESS, 500);
    assert_int_equal(b->server.requests, 500);
    assert_int_equal(t->statuses[200], 500);
    assert_int_equal(t->latency_ns.count, 500);
    assert_int_equal(t->answered, 500);
    assert_int_equal(t->bytes_sent, 500 * b->request.len);
    assert_int_equal(t->bytes_received, 500 * strlen("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    assert_true(t->connections >= 1 && t->connections <= 7);
    uint64_t in_rows = 0;
    for (size_t i = 0; i < b->result.row_count; i++) {
        in_rows += b->result.rows[i].successes;
    }
    assert_int_equal(in_rows, 500);
    bench_stop(b);
}

static void an_open_loop_sends_what_its_timetable_says(void **state) {
    struct bench *b = bench_start(answer_ok, NULL);
    b->settings.connections = 10;
    b->settings.threads = 2;
    b->settings.rate_per_s = 1000;
    b->settings.duration_ns = 100 * MS;
    bench_run(b);
    assert_outcomes(b, SW_LOAD_SUCCESS, 100);
    assert_int_equal(b->result.totals->lag_ns.count, 100);
    bench_stop(b);
}

/* The one connection waits for an answer that does not come: all others that were due are failed by the stall too. */
static void a_stalled_server_fails_all_that_was_due(void **state) {
    struct bench *b = bench_start(answer_never, NULL);
    b->settings.rate_per_s = 100;
    b->settings.duration_ns = 200 * MS;
    b->settings.timeout_ns = 300 * MS;
    bench_run(b);
    assert_outcomes(b, SW_LOAD_TIMEOUT, 20);
    assert_int_equal(b->result.totals->late, 19);
    assert_int_equal(b->result.totals->backlog_max, 19);
    bench_stop(b);
}

static void a_full_backlog_drops(void **state) {
    struct bench *b = bench_start(answer_never, NULL);
    b->settings.rate_per_s = 1000;
    b->settings.duration_ns = 20 * MS;
    b->settings.timeout_ns = 100 * MS;
    b->settings.backlog_max = 1;
    bench_run(b);
    assert_int_equal(b->result.totals->outcomes[SW_LOAD_DROPPED], 18);
    assert_int_equal(b->result.totals->outcomes[SW_LOAD_TIMEOUT], 2);
    bench_stop(b);
}

static void a_closed_loop_times_out_one_by_one(void **state) {
    struct bench *b = bench_start(answer_never, NULL);
    b->settings.requests_max = 3;
    b->settings.timeout_ns = 20 * MS;
    bench_run(b);
    assert_outcomes(b, SW_LOAD_TIMEOUT, 3);
    assert_int_equal(b->result.totals->connections, 3);
    assert_string_equal(b->result.totals->reasons[SW_LOAD_TIMEOUT], "no answer in time");
    bench_stop(b);
}

static bool answer_and_close(struct answering_server *server, int fd, uint64_t number, const char *path) {
    answer_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); /* without a word of closing */
    return false;
}

static void a_kept_connection_that_ends_is_made_anew(void **state) {
    struct bench *b = bench_start(answer_and_close, NULL);
    b->settings.requests_max = 20;
    bench_run(b);
    assert_outcomes(b, SW_LOAD_SUCCESS, 20);
    assert_int_equal(b->result.totals->connections, 20);
    assert_true(b->result.totals->resent <= 19); /* or the end was seen before the next request went out */
    bench_stop(b);
}

static bool close_at_once(struct answering_server *server, int fd, uint64_t number, const char *path) {
    return false;
}

static void a_connection_that_ends_without_an_answer_is_a_failure(void **state) {
    struct bench *b = bench_start(close_at_once, NULL);
    b->settings.requests_max = 5;
    bench_run(b);
    assert_outcomes(b, SW_LOAD_CLOSED, 5);
    assert_int_equal(b->result.totals->resent, 0);
    bench_stop(b);
}

static bool answer_with_arg(struct answering_server *server, int fd, uint64_t number, const char *path) {
    answer_text(fd, server->arg);
    return false;
}

static void each_bad_answer_has_its_class(void **state) {
    static const struct {
        const char *answer;
        enum sw_load_outcome outcome;
        const char *reason;
    } answers[] = {
        {"HTTP/1.1 503 x\r\nContent-Length: 4\r\n\r\nfull", SW_LOAD_STATUS, "503 full"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", SW_LOAD_SHORT, NULL},
        {"HTTP/1.1 200", SW_LOAD_SHORT, NULL},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc", SW_LOAD_PROTOCOL, "bytes behind the end of the answer"},
        {"220 smtp ready\r\n", SW_LOAD_PROTOCOL, "no HTTP/1.x status line"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", SW_LOAD_TOO_LARGE, "the body is larger than the limit"},
        {"HTTP/1.1 200 OK\r\n\r\nup to the end", SW_LOAD_SUCCESS, NULL},
    };
    for (size_t i = 0; i < SW_COUNTOF(answers); i++) {
        struct bench *b = bench_start(answer_with_arg, (void *)(uintptr_t)answers[i].answer);
        b->settings.requests_max = 2;
        bench_run(b);
        assert_outcomes(b, answers[i].outcome, 2);
        if (answers[i].reason) {
            assert_string_equal(b->result.totals->reasons[answers[i].outcome], answers[i].reason);
        }
        bench_stop(b);
    }
}

/* A port where nobody listens: that of a server which has stopped. */
static void refused_connections(void **state) {
    struct bench *b = bench_start(answer_ok, NULL);
    answering_server_stop(&b->server);
    b->settings.requests_max = 3;
    bench_run(b);
    assert_outcomes(b, SW_LOAD_CONNECT, 3);
    assert_string_equal(b->result.totals->reasons[SW_LOAD_CONNECT], "Connection refused");
    sw_load_result_deinit(&b->result);
    b->settings.requests_max = 0;
    b->settings.rate_per_s = 1000;
    b->settings.duration_ns = 50 * MS;
    b->settings.connections = 4;
    bench_run(b);
    assert_outcomes(b, SW_LOAD_CONNECT, 50); /* each that was due, and at once */
    answering_server_start(&b->server, answer_ok, NULL);
    bench_stop(b);
}

static bool stop_after_ten(struct answering_server *server, int fd, uint64_t number, const char *path) {
    uint64_t one = 1;
    if (number == 9) {
        assert_int_equal(write(*(int *)server->arg, &one, sizeof one), sizeof one);
        return answer_never(server, fd, number, path);
    }
    return answer_ok(server, fd, number, path);
}

static void an_interrupted_run_reports_what_it_has(void **state) {
    int stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct bench *b = bench_start(stop_after_ten, &stop_fd);
    b->settings.stop_fd = stop_fd;
    bench_run(b);
    assert_true(b->result.interrupted);
    assert_outcomes(b, SW_LOAD_SUCCESS, 9); /* the tenth was under way: neither success nor failure */
    assert_true(b->result.measured_ns > 0 && b->result.measured_ns < HOUR_NS);
    bench_stop(b);
    close(stop_fd);
}

static void nothing_of_the_warm_up_is_counted(void **state) {
    int stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct bench *b = bench_start(stop_after_ten, &stop_fd);
    b->settings.warmup_ns = HOUR_NS;
    b->settings.stop_fd = stop_fd;
    bench_run(b);
    assert_int_equal(sw_load_requests(b->result.totals), 0);
    assert_int_equal(b->result.measured_ns, 0);
    assert_int_equal(b->result.rows[0].successes, 9); /* but shown */
    assert_true(b->result.rows[0].at_s < 0);
    bench_stop(b);
    close(stop_fd);
}

static bool note_path(struct answering_server *server, int fd, uint64_t number, const char *path) {
    ((char *)server->arg)[number] = path[1];
    return answer_ok(server, fd, number, path);
}

static void run_three_requests(char *seen, bool random_order, uint64_t seed, uint64_t count) {
    struct bench *b = bench_start(note_path, seen);
    b->requests[0] = SW_STR("GET /a HTTP/1.1\r\n\r\n");
    b->requests[1] = SW_STR("GET /b HTTP/1.1\r\n\r\n");
    b->requests[2] = SW_STR("GET /c HTTP/1.1\r\n\r\n");
    b->settings.request_count = 3;
    b->settings.requests_max = count;
    b->settings.random_order = random_order;
    b->settings.seed = seed;
    bench_run(b);
    assert_outcomes(b, SW_LOAD_SUCCESS, count);
    bench_stop(b);
}

static void requests_are_taken_in_turn_or_by_chance(void **state) {
    char turn[8] = "", random[64] = "", again[64] = "", other[64] = "";
    run_three_requests(turn, false, 1, 7);
    assert_string_equal(turn, "abcabca");
    run_three_requests(random, true, 1, 60);
    run_three_requests(again, true, 1, 60);
    run_three_requests(other, true, 2, 60);
    assert_string_equal(random, again);
    assert_string_not_equal(random, other);
    assert_true(strchr(random, 'a') && strchr(random, 'b') && strchr(random, 'c'));
}

static void a_host_that_is_unknown(void **state) {
    struct bench *b = bench_start(answer_ok, NULL);
    struct sw_error err;
    sw_free(b->url.host);
    b->url.host = sw_xstrdup("no-such-host.invalid");
    assert_int_equal(sw_load_run(&b->settings, &b->result, &err), SW_E_IO);
    assert_non_null(strstr(err.message, "no-such-host.invalid"));
    bench_stop(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_closed_loop_counts_every_request),
        cmocka_unit_test(an_open_loop_sends_what_its_timetable_says),
        cmocka_unit_test(a_stalled_server_fails_all_that_was_due),
        cmocka_unit_test(a_full_backlog_drops),
        cmocka_unit_test(a_closed_loop_times_out_one_by_one),
        cmocka_unit_test(a_kept_connection_that_ends_is_made_anew),
        cmocka_unit_test(a_connection_that_ends_without_an_answer_is_a_failure),
        cmocka_unit_test(each_bad_answer_has_its_class),
        cmocka_unit_test(refused_connections),
        cmocka_unit_test(an_interrupted_run_reports_what_it_has),
        cmocka_unit_test(nothing_of_the_warm_up_is_counted),
        cmocka_unit_test(requests_are_taken_in_turn_or_by_chance),
        cmocka_unit_test(a_host_that_is_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
