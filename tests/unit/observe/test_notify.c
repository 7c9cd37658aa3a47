/* Notifications: order, back-off, what is final, bounds; what the bodies say; and one real delivery over HTTP. */
#include "observe/notify.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"

#define T0 (1795219200000ull)

static struct sw_clock test_clock;
static struct sw_notify *notify;
static int answer;          /* of the receiver */
static char sent[8192];     /* "firing:id " for each attempt */
static char outcomes[8192]; /* "id:state:delivered|failed|waiting:attempts " */
static json_t *last_body;
static char last_url[256], last_token[64];

static int send_fake(void *arg, const char *url, const char *token, struct sw_str body, const atomic_bool *stop,
                     char error[SW_NOTIFY_ERROR_MAX]) {
    json_decref(last_body);
    last_body = json_loadb(body.data, body.len, 0, NULL);
    assert_non_null(last_body);
    snprintf(last_url, sizeof last_url, "%s", url);
    snprintf(last_token, sizeof last_token, "%s", token ? token : "");
    const json_t *alert = json_is_array(last_body) ? json_array_get(last_body, 0)
                                                   : json_array_get(json_object_get(last_body, "alerts"), 0);
    const char *id = json_string_value(json_object_get(json_object_get(alert, "annotations"), "alert_id"));
    size_t used = strlen(sent);
    snprintf(sent + used, sizeof sent - used, "%s ", id);
    snprintf(error, SW_NOTIFY_ERROR_MAX, "answered %d", answer);
    return answer;
}

static void note(void *arg, const char *id, enum sw_alert_state state, const struct sw_notify_outcome *o) {
    size_t used = strlen(outcomes);
    snprintf(outcomes + used, sizeof outcomes - used, "%s:%s:%s:%u ", id, sw_alert_state_name(state),
             o->is_delivered ? "delivered"
             : o->is_final   ? "failed"
                             : "waiting",
             o->attempts);
}

static void start(enum sw_notify_format format) {
    struct sw_notify_options options = {.url = "http://receiver/x/",
                                        .token = "secret",
                                        .format = format,
                                        .external_url = "http://here:1",
                                        .send = send_fake,
                                        .on_outcome = note,
                                        .clock = &test_clock};
    notify = sw_notify_create(&options);
}

static int setup(void **state) {
    sw_clock_manual_init(&test_clock, T0 * 1000000);
    answer = 200;
    sent[0] = outcomes[0] = '\0';
    start(SW_NOTIFY_WEBHOOK);
    return 0;
}

static int teardown(void **state) {
    sw_notify_destroy(notify);
    json_decref(last_body);
    last_body = NULL;
    return 0;
}

static struct sw_alert alert_of(const char *id, enum sw_alert_state state) {
    static char rule[] = "HighLatency", what[] = "latency_p95_ms", model[] = "digits", summary[] = "Slow.",
                instance[] = "here:1";
    struct sw_alert alert = {.rule = rule,
                             .what = what,
                             .model = model,
                             .summary = summary,
                             .instance = instance,
                             .severity = SW_SEVERITY_CRITICAL,
                             .state = state,
                             .is_above = true,
                             .threshold = 200,
                             .value = 312.456789,
                             .for_ms = 300000,
                             .started_ms = T0 - 300000,
                             .fired_ms = T0,
                             .resolved_ms = state == SW_ALERT_RESOLVED ? T0 + 5000 : 0};
    snprintf(alert.id, sizeof alert.id, "%s", id);
    return alert;
}

static void push(const char *id, enum sw_alert_state state) {
    char dropped[SW_ALERT_ID_MAX];
    struct sw_alert alert = alert_of(id, state);
    sw_notify_push(notify, &alert, dropped);
    assert_string_equal(dropped, "");
}

static void pass(uint64_t ms) {
    sw_clock_manual_advance(&test_clock, ms * 1000000);
}

static struct sw_notify_counts counts(void) {
    struct sw_notify_counts c;
    sw_notify_count(notify, &c);
    return c;
}

static void in_order(void **state) {
    push("a", SW_ALERT_FIRING);
    push("b", SW_ALERT_FIRING);
    push("a", SW_ALERT_FIRING); /* waits already */
    push("a", SW_ALERT_RESOLVED);
    assert_int_equal(counts().waiting, 3);
    assert_int_equal(sw_notify_step(notify), 0);
    assert_int_equal(sw_notify_step(notify), 0);
    assert_int_equal(sw_notify_step(notify), UINT64_MAX);
    assert_int_equal(sw_notify_step(notify), UINT64_MAX);
    assert_string_equal(sent, "a b a ");
    assert_string_equal(outcomes, "a:firing:delivered:1 b:firing:delivered:1 a:resolved:delivered:1 ");
    assert_int_equal(counts().delivered, 3);
    assert_string_equal(last_url, "http://receiver/x/");
    assert_string_equal(last_token, "secret");
}

static void back_off_doubles(void **state) {
    static const uint64_t waits[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000};
    answer = 503;
    push("a", SW_ALERT_FIRING);
    push("b", SW_ALERT_FIRING);
    for (size_t i = 0; i < SW_COUNTOF(waits); i++) {
        assert_int_equal(sw_notify_step(notify), waits[i]);
        pass(waits[i] - 1);
        sent[0] = '\0';
        assert_int_equal(sw_notify_step(notify), 1);
        assert_string_equal(sent, ""); /* not before its time, and nothing overtakes it */
        pass(1);
    }
    answer = 200;
    assert_int_equal(sw_notify_step(notify), 0);
    assert_int_equal(sw_notify_step(notify), UINT64_MAX);
    assert_string_equal(sent, "a b ");
    assert_non_null(strstr(outcomes, "a:firing:waiting:9 a:firing:delivered:10 b:firing:delivered:1 "));
}

static void what_may_pass_is_tried_again(void **state) {
    static const int passing[] = {0, 408, 429, 500, 502, 503, 504}, final[] = {301, 400, 401, 403, 404, 410, 422};
    for (size_t i = 0; i < SW_COUNTOF(passing); i++) {
        answer = passing[i];
        push("p", SW_ALERT_FIRING);
        assert_int_equal(sw_notify_step(notify), 1000);
        pass(1000);
        answer = 204;
        assert_int_equal(sw_notify_step(notify), UINT64_MAX);
    }
    assert_int_equal(counts().delivered, SW_COUNTOF(passing));
    outcomes[0] = '\0';
    for (size_t i = 0; i < SW_COUNTOF(final); i++) {
        answer = final[i];
        push("f", SW_ALERT_FIRING);
        assert_int_equal(sw_notify_step(notify), UINT64_MAX);
    }
    assert_int_equal(counts().failed, SW_COUNTOF(final));
    assert_non_null(strstr(outcomes, "f:firing:failed:1 f:firing:failed:1 "));
}

static void given_up_after_a_day(void **state) {
    answer = 0;
    push("a", SW_ALERT_FIRING);
    uint64_t passed = 0;
    for (uint64_t wait; (wait = sw_notify_step(notify)) != UINT64_MAX; passed += wait) {
        pass(wait);
    }
    assert_in_range(passed, SW_NOTIFY_AGE_MAX_MS, SW_NOTIFY_AGE_MAX_MS + SW_NOTIFY_RETRY_MAX_MS);
    assert_int_equal(counts().failed, 1);
}

static void the_queue_is_bounded(void **state) {
    char id[SW_ALERT_ID_MAX], dropped[SW_ALERT_ID_MAX];
    struct sw_alert alert = alert_of("", SW_ALERT_FIRING);
    answer = 500;
    for (int i = 0; i < SW_NOTIFY_QUEUE_MAX + 10; i++) {
        snprintf(alert.id, sizeof alert.id, "n%d", i);
        sw_notify_push(notify, &alert, dropped);
        snprintf(id, sizeof id, "n%d", i - SW_NOTIFY_QUEUE_MAX);
        assert_string_equal(dropped, i < SW_NOTIFY_QUEUE_MAX ? "" : id); /* the oldest */
    }
    assert_int_equal(counts().waiting, SW_NOTIFY_QUEUE_MAX);
    assert_int_equal(counts().dropped, 10);
    answer = 200;
    while (sw_notify_step(notify) != UINT64_MAX) {
    }
    assert_int_equal(counts().delivered, SW_NOTIFY_QUEUE_MAX);
    assert_true(strncmp(sent, "n10 n11 ", 8) == 0);
}

/* ---- bodies */

static const char *text_at(const json_t *object, const char *a, const char *b) {
    const json_t *value = json_object_get(object, a);
    const char *text = json_string_value(b ? json_object_get(value, b) : value);
    return text ? text : "null";
}

static void webhook_bodies(void **state) {
    push("a", SW_ALERT_FIRING);
    sw_notify_step(notify);
    assert_string_equal(text_at(last_body, "version", NULL), "4");
    assert_string_equal(text_at(last_body, "status", NULL), "firing");
    assert_string_equal(text_at(last_body, "receiver", NULL), "slipway");
    assert_string_equal(text_at(last_body, "groupKey", NULL), "{}:{alertname=\"HighLatency\"}");
    assert_string_equal(text_at(last_body, "externalURL", NULL), "http://here:1");
    assert_string_equal(text_at(last_body, "groupLabels", "alertname"), "HighLatency");
    assert_int_equal(json_integer_value(json_object_get(last_body, "truncatedAlerts")), 0);
    const json_t *alert = json_array_get(json_object_get(last_body, "alerts"), 0);
    assert_string_equal(text_at(alert, "status", NULL), "firing");
    assert_string_equal(text_at(alert, "labels", "alertname"), "HighLatency");
    assert_string_equal(text_at(alert, "labels", "severity"), "critical");
    assert_string_equal(text_at(alert, "labels", "model"), "digits");
    assert_string_equal(text_at(alert, "labels", "instance"), "here:1");
    assert_string_equal(text_at(alert, "annotations", "summary"), "Slow.");
    assert_string_equal(text_at(alert, "annotations", "description"),
                        "latency_p95_ms of model digits is 312.457, above 200 for 5m.");
    assert_string_equal(text_at(alert, "startsAt", NULL), "2026-11-20T23:55:00.000Z");
    assert_string_equal(text_at(alert, "endsAt", NULL), "0001-01-01T00:00:00Z");
    assert_string_equal(text_at(alert, "generatorURL", NULL), "http://here:1/monitoring/v1/alerts/recent");
    assert_int_equal(strlen(text_at(alert, "fingerprint", NULL)), 16);
    char fingerprint[20];
    snprintf(fingerprint, sizeof fingerprint, "%s", text_at(alert, "fingerprint", NULL));
    assert_true(json_equal(json_object_get(alert, "labels"), json_object_get(last_body, "commonLabels")));
    push("a", SW_ALERT_RESOLVED);
    sw_notify_step(notify);
    alert = json_array_get(json_object_get(last_body, "alerts"), 0);
    assert_string_equal(text_at(last_body, "status", NULL), "resolved");
    assert_string_equal(text_at(alert, "endsAt", NULL), "2026-11-21T00:00:05.000Z");
    assert_string_equal(text_at(alert, "fingerprint", NULL), fingerprint); /* the same alert */
}

static void alertmanager_bodies(void **state) {
    sw_notify_destroy(notify);
    start(SW_NOTIFY_ALERTMANAGER);
    pass(60000);
    push("a", SW_ALERT_FIRING);
    sw_notify_step(notify);
    assert_string_equal(last_url, "http://receiver/x/api/v2/alerts");
    const json_t *alert = json_array_get(last_body, 0);
    assert_string_equal(text_at(alert, "labels", "alertname"), "HighLatency");
    assert_string_equal(text_at(alert, "startsAt", NULL), "2026-11-20T23:55:00.000Z");
    assert_string_equal(text_at(alert, "endsAt", NULL), "2026-11-21T00:06:00.000Z"); /* believed for five minutes */
    push("a", SW_ALERT_RESOLVED);
    sw_notify_step(notify);
    assert_string_equal(text_at(json_array_get(last_body, 0), "endsAt", NULL), "2026-11-21T00:00:05.000Z");
}

/* ---- over HTTP, with the thread */

struct receiver {
    int fd;
    const char *answers[3];
    char requests[3][4096];
};

static void *receive(void *arg) {
    struct receiver *r = arg;
    for (size_t i = 0; i < SW_COUNTOF(r->answers); i++) {
        int fd = accept(r->fd, NULL, NULL);
        assert_true(fd >= 0);
        size_t used = 0;
        char *end = NULL;
        do {
            ssize_t n = recv(fd, r->requests[i] + used, sizeof r->requests[i] - 1 - used, 0);
            assert_true(n > 0);
            used += (size_t)n;
            r->requests[i][used] = '\0';
            end = strstr(r->requests[i], "\r\n\r\n");
        } while (!end || used < (size_t)(end + 4 - r->requests[i]) +
                                    strtoul(strcasestr(r->requests[i], "content-length:") + 15, NULL, 10));
        assert_int_equal(send(fd, r->answers[i], strlen(r->answers[i]), MSG_NOSIGNAL), strlen(r->answers[i]));
        close(fd);
    }
    return NULL;
}

static pthread_mutex_t told_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t told = PTHREAD_COND_INITIALIZER;
static size_t finals;
static char errors[1024];

static void note_over_http(void *arg, const char *id, enum sw_alert_state state, const struct sw_notify_outcome *o) {
    pthread_mutex_lock(&told_lock);
    size_t used = strlen(errors);
    snprintf(errors + used, sizeof errors - used, "%s;", o->error ? o->error : "");
    finals += o->is_final;
    pthread_cond_signal(&told);
    pthread_mutex_unlock(&told_lock);
}

static void over_http(void **state) {
    struct receiver r = {
        .answers = {"HTTP/1.1 404 No\r\nContent-Length: 9\r\nConnection: close\r\n\r\nno\x01such\xff\xff",
                    "HTTP/1.1 302 Go\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
                    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    r.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(r.fd, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(r.fd, 4), 0);
    assert_int_equal(getsockname(r.fd, (struct sockaddr *)&address, &length), 0);
    pthread_t receiver;
    assert_int_equal(pthread_create(&receiver, NULL, receive, &r), 0);

    char url[64];
    struct sw_error err;
    snprintf(url, sizeof url, "http://127.0.0.1:%d/hook?key=k", ntohs(address.sin_port));
    struct sw_notify_options options = {.url = url,
                                        .token = "t0ken",
                                        .external_url = "http://here:1",
                                        .send = sw_notify_http,
                                        .on_outcome = note_over_http,
                                        .clock = sw_clock_system()};
    sw_notify_destroy(notify);
    notify = sw_notify_create(&options);
    assert_int_equal(sw_notify_start(notify, &err), SW_OK);
    push("a", SW_ALERT_FIRING);
    push("b", SW_ALERT_FIRING);
    push("c", SW_ALERT_FIRING);
    pthread_mutex_lock(&told_lock);
    while (finals < 3) {
        pthread_cond_wait(&told, &told_lock);
    }
    pthread_mutex_unlock(&told_lock);
    pthread_join(receiver, NULL);
    close(r.fd);
    assert_string_equal(errors, "the receiver answered 404: no such  ;the receiver answered 302;;");
    assert_int_equal(counts().delivered, 1);
    assert_int_equal(counts().failed, 2);
    for (size_t i = 0; i < 3; i++) {
        assert_true(strncmp(r.requests[i], "POST /hook?key=k HTTP/1.1\r\n", 27) == 0);
        assert_non_null(strcasestr(r.requests[i], "\r\nauthorization: Bearer t0ken\r\n"));
        assert_non_null(strcasestr(r.requests[i], "\r\ncontent-type: application/json\r\n"));
        json_t *body = json_loads(strstr(r.requests[i], "\r\n\r\n") + 4, 0, NULL);
        assert_string_equal(text_at(body, "version", NULL), "4");
        json_decref(body);
    }
}

/* Ends at once although the receiver never answers, and what was broken off is told to nobody as failed. */
static void stopping_breaks_off(void **state) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    char url[64];
    struct sw_error err;
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", ntohs(address.sin_port));
    struct sw_notify_options options = {
        .url = url, .external_url = "", .send = sw_notify_http, .on_outcome = note, .clock = sw_clock_system()};
    sw_notify_destroy(notify);
    notify = sw_notify_create(&options);
    assert_int_equal(sw_notify_start(notify, &err), SW_OK);
    push("a", SW_ALERT_FIRING);
    int fd = accept(listener, NULL, NULL); /* it is being sent */
    assert_true(fd >= 0);
    sw_notify_destroy(notify);
    notify = NULL;
    close(fd);
    close(listener);
    assert_string_equal(outcomes, "");
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(in_order),
        CASE(back_off_doubles),
        CASE(what_may_pass_is_tried_again),
        CASE(given_up_after_a_day),
        CASE(the_queue_is_bounded),
        CASE(webhook_bodies),
        CASE(alertmanager_bodies),
        CASE(over_http),
        CASE(stopping_breaks_off),
    };
    return cmocka_run_group_tests_name("observe/notify", tests, NULL, NULL);
}
