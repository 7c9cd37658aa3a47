/* The fetcher's decisions, with a resolver of the test's own: names that change their address, that have several, or
 * none. What goes over the wire is tested against the real program (tests/scenario/test_starlight_fetch.py); here a
 * listening socket proves that nothing was asked of it, or that something was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "base/memory.h"
#include "http/fetch_internal.h"

/* ---- a server that answers every connection with the same bytes, on 127.0.0.1 */

struct target {
    int listener;
    uint16_t port;
    atomic_int connections;
    pthread_t thread;
};

static void *serve(void *arg) {
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    struct target *t = arg;
    for (int fd; (fd = accept(t->listener, NULL, NULL)) >= 0; close(fd)) {
        char head[4096];
        atomic_fetch_add(&t->connections, 1);
        if (read(fd, head, sizeof head) > 0) {
            assert_int_equal(write(fd, answer, sizeof answer - 1), sizeof answer - 1);
        }
    }
    return NULL;
}

static void target_start(struct target *t) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    t->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(t->listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(t->listener, 8), 0);
    assert_int_equal(getsockname(t->listener, (struct sockaddr *)&a, &len), 0);
    t->port = ntohs(a.sin_port);
    atomic_init(&t->connections, 0);
    assert_int_equal(pthread_create(&t->thread, NULL, serve, t), 0);
}

static void target_stop(struct target *t) {
    shutdown(t->listener, SHUT_RDWR);
    pthread_join(t->thread, NULL);
    close(t->listener);
}

/* ---- a resolver that says what the test wants */

struct names {
    const char *addresses[4]; /* of every name; NULL: no more */
    atomic_int asked;
    pthread_mutex_t *gate; /* not NULL: it is passed first */
    atomic_int ended;
};

static void add_address(struct sw_fetch_addresses *ret, const char *text) {
    struct sockaddr_storage *a = &ret->items[ret->count++];
    memset(a, 0, sizeof *a);
    a->ss_family = strchr(text, ':') ? AF_INET6 : AF_INET;
    void *bytes = a->ss_family == AF_INET6 ? (void *)&((struct sockaddr_in6 *)a)->sin6_addr
                                           : (void *)&((struct sockaddr_in *)a)->sin_addr;
    assert_int_equal(inet_pton(a->ss_family, text, bytes), 1);
}

static bool resolve(void *arg, const char *host, struct sw_fetch_addresses *ret) {
    struct names *names = arg;
    atomic_fetch_add(&names->asked, 1);
    ret->count = 0;
    if (names->gate) {
        pthread_mutex_lock(names->gate);
        pthread_mutex_unlock(names->gate);
    }
    for (size_t i = 0; i < SW_COUNTOF(names->addresses) && names->addresses[i]; i++) {
        add_address(ret, names->addresses[i]);
    }
    bool found = ret->count > 0;
    atomic_fetch_add(&names->ended, 1); /* the test may be gone from here on */
    return found;
}

static struct sw_fetcher *fetcher(const char *hosts, const char *networks, uint16_t port, struct names *names) {
    static char ports[16];
    snprintf(ports, sizeof ports, "80,%u", port);
    struct sw_fetch_options options = {
        .hosts = hosts,
        .ports = ports,
        .networks = networks,
        .bytes_max = 100,
        .held_max = 1000,
        .connect_timeout_ms = 10000,
        .timeout_ms = 10000,
        .redirects_max = 3,
        .clock = sw_clock_system(),
        .resolve = resolve,
        .resolve_arg = names,
    };
    struct sw_fetcher *f;
    struct sw_error err;
    assert_int_equal(sw_fetcher_create(&options, &f, &err), SW_OK);
    return f;
}

static sw_status fetch(struct sw_fetcher *f, const char *host, uint16_t port, struct sw_fetched *ret,
                       struct sw_error *err) {
    char url[512];
    snprintf(url, sizeof url, "http://%s:%u/x", host, port);
    return sw_fetch(f, sw_str_of(url), sw_now_ns(sw_clock_system()), 0, ret, err);
}

/* ---- tests */

static void test_goes_to_the_address_that_was_checked(void **state) {
    struct target t;
    target_start(&t);
    struct names names = {.addresses = {"127.0.0.1"}};
    struct sw_fetcher *f = fetcher("pictures.example", "127.0.0.1", t.port, &names);
    struct sw_fetched fetched;
    struct sw_error err;
    /* No resolver in the world knows this name: that it is reached proves that the address is the pinned one. */
    assert_int_equal(fetch(f, "Pictures.Example.", t.port, &fetched, &err), SW_OK);
    assert_int_equal(atomic_load(&names.asked), 1);
    assert_true(sw_str_is(fetched.bytes, "hello"));
    assert_int_equal(atomic_load(&f->held), 5);
    sw_fetched_drop(&fetched);
    sw_fetched_drop(&fetched); /* harmless */
    assert_int_equal(atomic_load(&f->held), 0);
    sw_fetcher_destroy(f);
    target_stop(&t);
    assert_int_equal(atomic_load(&t.connections), 1);
}

static void test_one_bad_address_is_enough(void **state) {
    static const char *const bad[] = {"127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fd00::1"};
    struct target t;
    target_start(&t);
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        for (int position = 0; position < 3; position++) {
            struct names names = {.addresses = {"93.184.216.34", "2606:2800:220:1::1", "93.184.216.35"}};
            struct sw_fetched fetched;
            struct sw_error err;
            names.addresses[position] = bad[i];
            struct sw_fetcher *f = fetcher("*", "", t.port, &names);
            assert_int_equal(fetch(f, "pictures.example", t.port, &fetched, &err), SW_E_UNPROCESSABLE);
            assert_non_null(strstr(err.message, "not at a public address"));
            assert_null(strstr(err.message, bad[i])); /* what is inside is not told */
            sw_fetcher_destroy(f);
        }
    }
    target_stop(&t);
    assert_int_equal(atomic_load(&t.connections), 0);
}

static void test_names_without_address(void **state) {
    struct names names = {.addresses = {NULL}};
    struct sw_fetcher *f = fetcher("*", "", 80, &names);
    struct sw_fetched fetched;
    struct sw_error err;
    assert_int_equal(fetch(f, "nowhere.example", 80, &fetched, &err), SW_E_UNPROCESSABLE);
    assert_non_null(strstr(err.message, "has no address"));
    sw_fetcher_destroy(f);
}

static void test_hosts_that_are_not_allowed_are_not_looked_up(void **state) {
    struct names names = {.addresses = {"93.184.216.34"}};
    struct sw_fetcher *f = fetcher("a.example,*.b.example", "", 80, &names);
    static const char *const hosts[] = {"b.example", "a.example.evil", "xa.example", "xb.example", "c.a.example"};
    struct sw_fetched fetched;
    struct sw_error err;
    for (size_t i = 0; i < SW_COUNTOF(hosts); i++) {
        assert_int_equal(fetch(f, hosts[i], 80, &fetched, &err), SW_E_UNPROCESSABLE);
        assert_non_null(strstr(err.message, "not one that may be fetched from"));
    }
    assert_int_equal(fetch(f, "a.example", 81, &fetched, &err), SW_E_UNPROCESSABLE);
    assert_int_equal(atomic_load(&names.asked), 0);
    sw_fetcher_destroy(f);
}

/* A queue took all the time there was: nothing is looked up any more. */
static void test_time_spent_waiting_counts(void **state) {
    struct names names = {.addresses = {"93.184.216.34"}};
    struct sw_fetcher *f = fetcher("*", "", 80, &names);
    struct sw_fetched fetched;
    struct sw_error err;
    uint64_t long_ago = sw_now_ns(sw_clock_system()) - UINT64_C(11000000000);
    assert_int_equal(sw_fetch(f, SW_STR("http://a.example/"), long_ago, 0, &fetched, &err), SW_E_DEADLINE_EXCEEDED);
    uint64_t now = sw_now_ns(sw_clock_system()); /* what the caller allows may be less than what the policy does */
    assert_int_equal(sw_fetch(f, SW_STR("http://a.example/"), now - 5000000, now, &fetched, &err),
                     SW_E_DEADLINE_EXCEEDED);
    assert_non_null(strstr(err.message, "within 5 ms"));
    assert_int_equal(atomic_load(&names.asked), 0);
    sw_fetcher_destroy(f);
}

/* A resolver that does not answer: the fetch ends in time all the same, and lookups do not pile up without a limit. */
static void test_resolver_that_hangs(void **state) {
    enum { MOST = 32 };
    static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    static struct names names = {.addresses = {"93.184.216.34"}, .gate = &gate};
    struct sw_fetcher *f = fetcher("*", "", 80, &names);
    struct sw_fetched fetched;
    struct sw_error err;
    f->options.timeout_ms = 20;
    pthread_mutex_lock(&gate);
    for (int i = 0; i < MOST; i++) {
        assert_int_equal(fetch(f, "slow.example", 80, &fetched, &err), SW_E_DEADLINE_EXCEEDED);
        assert_non_null(strstr(err.message, "did not come in time"));
    }
    assert_int_equal(fetch(f, "slow.example", 80, &fetched, &err), SW_E_UNAVAILABLE);
    assert_int_equal(fetch(f, "127.0.0.1", 80, &fetched, &err), SW_E_UNPROCESSABLE); /* needs no lookup */
    pthread_mutex_unlock(&gate);
    while (atomic_load(&names.ended) < MOST) {
        sched_yield();
    }
    assert_int_equal(atomic_load(&names.asked), MOST);
    sw_fetcher_destroy(f);
}

static void test_urls(void **state) {
    static const struct {
        const char *url, *name;
        uint16_t port;
    } good[] = {
        {"http://a.example", "a.example", 80},
        {"HTTPS://A.Example./x?y#z", "a.example", 443},
        {"http://1.2.3.4:80/", "1.2.3.4", 80},
        {"http://16909060/", "1.2.3.4", 80},
        {"http://[2606:2800:220:1::1]/", "2606:2800:220:1::1", 80},
    };
    struct names names = {.addresses = {NULL}};
    struct sw_fetcher *f = fetcher("*", "", 443, &names);
    struct sw_error err;
    for (size_t i = 0; i < SW_COUNTOF(good); i++) {
        struct fetch_target t = {.url = NULL};
        assert_int_equal(fetch_target_read(f, good[i].url, &t, &err), SW_OK);
        assert_string_equal(t.name, good[i].name);
        assert_int_equal(t.port, good[i].port);
        fetch_target_clear(&t);
    }
    assert_int_equal(sw_fetch(f, (struct sw_str){"http://a.example/\0b", 19}, 0, 0, &(struct sw_fetched){0}, &err),
                     SW_E_UNPROCESSABLE);
    assert_int_equal(sw_fetch(f, (struct sw_str){NULL, 0}, 0, 0, &(struct sw_fetched){0}, &err), SW_E_UNPROCESSABLE);
    sw_fetcher_destroy(f);
}

static void test_wrong_lists(void **state) {
    static const struct {
        const char *hosts, *ports, *networks, *words;
    } cases[] = {
        {"a b", "80", "", "hosts: 'a b'"},    {".a", "80", "", "hosts: '.a'"},   {"**.a", "80", "", "hosts: '**.a'"},
        {"*.", "80", "", "hosts: '*.'"},      {"a/b", "80", "", "hosts: 'a/b'"}, {"a", "80,", "x", "networks"},
        {"a", "65536", "", "ports: '65536'"}, {"a", "-1", "", "ports: '-1'"},    {"a", "80", "1.2.3.4/31,", NULL},
        {" , a,,", " 80 ,", " , ", NULL},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        struct sw_fetch_options options = {.hosts = cases[i].hosts,
                                           .ports = cases[i].ports,
                                           .networks = cases[i].networks,
                                           .clock = sw_clock_system()};
        struct sw_fetcher *f = NULL;
        struct sw_error err = {0};
        sw_status status = sw_fetcher_create(&options, &f, &err);
        assert_int_equal(status, cases[i].words ? SW_E_INVALID_ARGUMENT : SW_OK);
        assert_true(!cases[i].words || strstr(err.message, cases[i].words));
        sw_fetcher_destroy(f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goes_to_the_address_that_was_checked),
        cmocka_unit_test(test_one_bad_address_is_enough),
        cmocka_unit_test(test_names_without_address),
        cmocka_unit_test(test_hosts_that_are_not_allowed_are_not_looked_up),
        cmocka_unit_test(test_time_spent_waiting_counts),
        cmocka_unit_test(test_resolver_that_hangs),
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_wrong_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
