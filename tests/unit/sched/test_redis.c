/* The client of Redis on a real one, which tests/servers/redis.py started in one of its modes. */
#include "redis_world.h"

#include <stdatomic.h>
#include <unistd.h>

#include "base/thread.h"
#include "sched/cache/redis_internal.h"

static const char *mode;

static bool is(const char *name) {
    return strcmp(mode, name) == 0;
}

/* "kill", "start 1", ...; returns when it has happened. */
static void control(const char *what) {
    char line[64], answer[5];
    uint64_t fd;
    assert_true(sw_parse_u64(sw_str_of(getenv("SLIPWAY_TEST_REDIS_CONTROL")), &fd));
    int len = snprintf(line, sizeof line, "%s\n", what);
    assert_int_equal(write((int)fd, line, (size_t)len), len);
    for (size_t n = 0; n < sizeof answer; n++) {
        assert_int_equal(read((int)fd, &answer[n], 1), 1);
    }
    assert_memory_equal(answer, "done\n", 5);
}

/* Each test has a prefix of its own, so that none sees another's keys. */
static int set_up(void **state) {
    static char prefix[40];
    static int number;
    struct world *w = SW_NEW(struct world);
    world_init(w);
    snprintf(prefix, sizeof prefix, "slipway:test%d:", number++);
    w->options.prefix = prefix;
    w->options.addresses = getenv("SLIPWAY_TEST_REDIS");
    w->options.tls_ca = getenv("SLIPWAY_TEST_REDIS_CA");
    w->options.tls_cert = getenv("SLIPWAY_TEST_REDIS_CERT");
    w->options.tls_key = getenv("SLIPWAY_TEST_REDIS_KEY");
    *state = w;
    return 0;
}

static int tear_down(void **state) {
    struct world *w = *state;
    sw_redis_destroy(w->redis);
    sw_free(w);
    return 0;
}

/* With all of its nodes, so that no miss is due to one that is still being connected. */
static void open_and_wait(struct world *w) {
    world_open(w);
    AWAIT(w, !s.breaker_open && s.nodes == (is("cluster") ? 3 : 1));
    assert_true(stats(w).cluster == is("cluster"));
}

static void keep_and_wait(struct world *w, unsigned number, const char *value, size_t len) {
    uint64_t kept = stats(w).kept;
    keep_bytes(w, number, value, len);
    AWAIT(w, s.kept > kept);
}

/* Asks until it is there, through breakers that are open. */
static void await_works(struct world *w, unsigned number) {
    struct question q;
    bool found = false;
    uint64_t end = sw_now_ns(sw_clock_system()) + LIMIT_NS;
    while (!found) {
        assert_true(sw_now_ns(sw_clock_system()) < end);
        keep(w, number, "works");
        if (ask(w, &q, number)) {
            await_answer(&q);
            found = q.value.data != NULL;
            sw_buf_deinit(&q.value);
        }
        sched_yield();
    }
}

static void values_come_back(void **state) {
    struct world *w = *state;
    static char large[100000];
    struct question q;
    open_and_wait(w);
    expect_get(w, 1, NULL);
    keep_and_wait(w, 1, "one", 3);
    keep_and_wait(w, 2, "", 0);
    for (size_t i = 0; i < sizeof large; i++) {
        large[i] = (char)(i * 7 + i / 256);
    }
    keep_and_wait(w, 3, large, sizeof large);
    expect_get(w, 1, "one");
    expect_get(w, 2, "");
    assert_true(ask(w, &q, 3));
    await_answer(&q);
    assert_int_equal(q.value.len, sizeof large);
    assert_memory_equal(q.value.data, large, sizeof large);
    sw_buf_deinit(&q.value);
    keep_and_wait(w, 1, "another", 7);
    expect_get(w, 1, "another");
    struct sw_redis_stats s = stats(w);
    assert_int_equal(s.hits, 4);
    assert_int_equal(s.misses, 1);
    assert_int_equal(s.errors + s.timeouts + s.garbage + s.refused + s.dropped + s.failed + s.opened, 0);
}

static void values_expire(void **state) {
    struct world *w = *state;
    struct question q;
    bool there = true;
    open_and_wait(w);
    struct entry *e = sw_xcalloc(1, sizeof *e);
    e->world = w;
    e->base = (struct sw_redis_entry){.value = SW_STR("short"), .ttl_ms = 1, .release = on_release};
    make_key(e->base.key, 1);
    sw_redis_keep(w->redis, &e->base);
    AWAIT(w, s.kept == 1);
    while (there) {
        assert_true(ask(w, &q, 1));
        await_answer(&q);
        there = q.value.data != NULL;
        sw_buf_deinit(&q.value);
    }
}

/* --- many at once ------------------------------------------------------------------------------------------------- */

enum { KEYS = 200, THREADS = 4, ROUNDS = 300 };

static void *ask_often(void *arg) {
    struct world *w = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct question q[8];
        char expected[20];
        bool taken[8];
        for (unsigned k = 0; k < 8; k++) {
            taken[k] = ask(w, &q[k], (i * 31 + k * 7) % KEYS);
        }
        for (unsigned k = 0; k < 8; k++) {
            snprintf(expected, sizeof expected, "value %u", (i * 31 + k * 7) % KEYS);
            assert_true(taken[k]);
            expect_answer(&q[k], expected);
        }
    }
    return NULL;
}

static void each_question_gets_its_own_answer(void **state) {
    struct world *w = *state;
    pthread_t threads[THREADS];
    open_and_wait(w);
    for (unsigned i = 0; i < KEYS; i++) {
        char value[20];
        snprintf(value, sizeof value, "value %u", i);
        keep_and_wait(w, i, value, strlen(value));
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(sw_thread_start(&threads[i], "asks", 0, ask_often, w, NULL), SW_OK);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(stats(w).hits, THREADS * ROUNDS * 8);
}

/* --- databases, passwords, certificates --------------------------------------------------------------------------- */

static void databases_are_apart(void **state) {
    struct world *w = *state;
    if (is("cluster")) {
        skip();
    }
    open_and_wait(w);
    keep_and_wait(w, 1, "in 0", 4);
    sw_redis_destroy(w->redis);
    w->options.database = 3;
    open_and_wait(w);
    expect_get(w, 1, NULL);
    keep_and_wait(w, 1, "in 3", 4);
    expect_get(w, 1, "in 3");
    sw_redis_destroy(w->redis);
    w->options.database = 99;
    world_open(w);
    AWAIT(w, strstr(s.reason, "DB index is out of range"));
}

/* The address without its user: "redis://u:p@127.0.0.1:1" -> "redis://127.0.0.1:1". */
static void bare_address(const struct world *w, char *ret, size_t size) {
    const char *text = w->options.addresses, *at = strchr(text, '@'), *host = strstr(text, "//") + 2;
    snprintf(ret, size, "%.*s%s", (int)(host - text), text, at ? at + 1 : host);
    if (strchr(ret, ',')) {
        *strchr(ret, ',') = 0;
    }
}

static void passwords(void **state) {
    struct world *w = *state;
    char address[200], password[100];
    const char *at = strchr(w->options.addresses, '@'), *colon = strrchr(w->options.addresses, '/') + 1;
    bare_address(w, address, sizeof address);
    if (!at) { /* this one wants none */
        w->options.password = "anything";
        world_open(w);
        AWAIT(w, strstr(s.reason, "WRONGPASS") || strstr(s.reason, "refuses AUTH"));
        return;
    }
    colon = strchr(colon, ':') + 1;
    at = strchr(colon, '@');
    snprintf(password, sizeof password, "%.*s", (int)(at - colon), colon);
    w->options.addresses = address;
    world_open(w);
    AWAIT(w, strstr(s.reason, "NOAUTH"));
    sw_redis_destroy(w->redis);
    w->options.username = is("user") ? "slipway" : NULL;
    w->options.password = "wrong horse";
    world_open(w);
    AWAIT(w, strstr(s.reason, "WRONGPASS"));
    assert_null(strstr(stats(w).reason, "horse"));
    sw_redis_destroy(w->redis);
    w->options.password = password;
    open_and_wait(w);
}

static void expect_refused(struct world *w, const char *reason) {
    sw_redis_destroy(w->redis);
    world_open(w);
    AWAIT(w, strstr(s.reason, reason));
    assert_true(stats(w).breaker_open);
}

static void certificates(void **state) {
    struct world *w = *state;
    if (!is("tls")) {
        skip();
    }
    const struct sw_redis_options good = w->options;
    w->options.tls_ca = NULL;
    expect_refused(w, "certificate: ");
    w->options = good;
    w->options.tls_server_name = "other.test";
    expect_refused(w, "certificate: ");
    w->options = good;
    w->options.tls_cert = w->options.tls_key = NULL;
    expect_refused(w, "TLS");
    w->options = good;
    char address[200];
    snprintf(address, sizeof address, "redis%s", good.addresses + strlen("rediss")); /* not TLS */
    w->options.addresses = address;
    expect_refused(w, "127.0.0.1");
    sw_redis_destroy(w->redis);
    w->options.tls = true;
    w->options.tls_server_name = "redis.test";
    open_and_wait(w);
    sw_redis_destroy(w->redis);
    w->options = good;
    w->options.tls_ca = NULL;
    w->options.tls_insecure = true;
    open_and_wait(w);
}

/* --- purging ------------------------------------------------------------------------------------------------------ */

static void await_generation(struct world *w, uint64_t generation) {
    pthread_mutex_lock(&w->lock);
    while (w->generation != generation) {
        pthread_cond_wait(&w->changed, &w->lock);
    }
    pthread_mutex_unlock(&w->lock);
}

static void other_open(struct world *w, const struct world *like, uint64_t generation) {
    world_init(w);
    w->options = like->options;
    w->options.arg = w;
    open_and_wait(w);
    sw_redis_watch(w->redis, "digits", generation);
    sw_redis_watch(w->redis, "digits", 1); /* changes nothing */
}

static void a_purge_is_seen_by_the_others(void **state) {
    struct world *w = *state, other, late;
    open_and_wait(w);
    sw_redis_watch(w->redis, "digits", 0);
    other_open(&other, w, 0);
    sw_redis_set_generation(w->redis, "digits", UINT64_MAX);
    await_generation(&other, UINT64_MAX);
    sw_redis_set_generation(other.redis, "digits", 4711);
    await_generation(w, 4711);
    other_open(&late, w, 0);
    await_generation(&late, 4711);
    sw_redis_destroy(late.redis);
    assert_int_equal(other.generations, 1);
    assert_int_equal(w->generations, 1);
    sw_redis_destroy(other.redis);
}

/* More than are asked for at a time. */
static void many_models(void **state) {
    enum { MODELS = 150 };
    struct world *w = *state, other;
    char name[20];
    open_and_wait(w);
    other_open(&other, w, 0);
    for (unsigned i = 0; i < MODELS; i++) {
        snprintf(name, sizeof name, "model-%u", i);
        sw_redis_watch(other.redis, name, 0);
        sw_redis_set_generation(w->redis, name, i + 1);
    }
    pthread_mutex_lock(&other.lock);
    while (other.generations < MODELS) {
        pthread_cond_wait(&other.changed, &other.lock);
    }
    pthread_mutex_unlock(&other.lock);
    sw_redis_destroy(other.redis);
    assert_int_equal(other.generations, MODELS);
    assert_int_equal(w->generations, 0);
}

/* A purge while Redis is away is written when it is back; one that Redis lost is written again by who knows it. */
static void a_purge_outlives_redis(void **state) {
    struct world *w = *state, late;
    open_and_wait(w);
    control("kill");
    AWAIT(w, s.breaker_open);
    sw_redis_set_generation(w->redis, "digits", 8);
    control("start");
    other_open(&late, w, 0);
    await_generation(&late, 8);
    sw_redis_destroy(late.redis);
    control("kill");
    control("start");
    other_open(&late, w, 0);
    await_generation(&late, 8);
    sw_redis_destroy(late.redis);
    assert_int_equal(w->generations, 0);
}

/* --- going away --------------------------------------------------------------------------------------------------- */

static void it_is_killed_and_comes_back(void **state) {
    struct world *w = *state;
    open_and_wait(w);
    await_works(w, 1);
    control("kill");
    AWAIT(w, s.breaker_open && s.opened > 0); /* counted a moment after nothing is taken any more */
    struct question q;
    assert_false(ask(w, &q, 1));
    control("start");
    await_works(w, 1);
}

/* Each question ends although nobody answers, and when the server goes on, so does the client. */
static void it_freezes(void **state) {
    struct world *w = *state;
    w->options.timeout_ms = 200;
    open_and_wait(w);
    await_works(w, 1);
    control("freeze");
    struct question q;
    while (ask(w, &q, 1)) {
        await_answer(&q);
        sw_buf_deinit(&q.value);
    }
    struct sw_redis_stats s = stats(w);
    assert_true(s.breaker_open && s.timeouts > 0);
    control("thaw");
    await_works(w, 1);
}

/* --- clusters ----------------------------------------------------------------------------------------------------- */

static unsigned slot_of(const struct world *w, unsigned number) {
    struct redis_keys keys;
    uint8_t key[SW_REDIS_KEY];
    char text[REDIS_KEY_MAX];
    make_key(key, number);
    redis_keys_init(&keys, w->options.prefix);
    size_t len = redis_key_of(&keys, key, text);
    return redis_slot_of((struct sw_str){text, len});
}

static unsigned number_on(const struct world *w, unsigned node) {
    for (unsigned i = 0;; i++) {
        if (slot_of(w, i) * 3 / REDIS_SLOTS == node) {
            return i;
        }
    }
}

static void one_node_is_killed(void **state) {
    struct world *w = *state;
    if (!is("cluster")) {
        skip();
    }
    open_and_wait(w);
    for (unsigned node = 0; node < 3; node++) {
        await_works(w, number_on(w, node));
    }
    control("kill 1");
    AWAIT(w, s.nodes == 2);
    expect_get(w, number_on(w, 0), "works");
    expect_get(w, number_on(w, 1), NULL);
    expect_get(w, number_on(w, 2), "works");
    assert_false(stats(w).breaker_open);
    control("start 1");
    await_works(w, number_on(w, 1));
    assert_int_equal(stats(w).opened, 0);
}

static void a_slot_moves(void **state) {
    struct world *w = *state;
    char command[40];
    if (!is("cluster")) {
        skip();
    }
    open_and_wait(w);
    unsigned number = number_on(w, 1);
    snprintf(command, sizeof command, "ask %u", slot_of(w, number));
    control(command);
    keep_and_wait(w, number, "at the next node", 16); /* by ASK */
    expect_get(w, number, "at the next node");
    snprintf(command, sizeof command, "moved %u", slot_of(w, number));
    control(command);
    expect_get(w, number, "at the next node");
    expect_get(w, number, "at the next node");
    struct sw_redis_stats s = stats(w);
    assert_int_equal(s.errors + s.garbage + s.timeouts + s.refused + s.failed + s.opened, 0);
}

int main(void) {
    mode = getenv("SLIPWAY_TEST_REDIS_MODE");
    if (!mode || !getenv("SLIPWAY_TEST_REDIS")) {
        fputs("skipped: run by tests/servers/redis.py\n", stderr);
        return 77;
    }
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(values_come_back),
        TEST(values_expire),
        TEST(each_question_gets_its_own_answer),
        TEST(databases_are_apart),
        TEST(passwords),
        TEST(certificates),
        TEST(a_purge_is_seen_by_the_others),
        TEST(many_models),
        TEST(a_purge_outlives_redis),
        TEST(it_is_killed_and_comes_back),
        TEST(it_freezes),
        TEST(one_node_is_killed),
        TEST(a_slot_moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
