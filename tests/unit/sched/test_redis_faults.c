/* What may go wrong with a Redis, played by a server that says what its script wants: each is a miss in the right counter,
 * opens the breaker or does not, and the client works again afterwards. Nothing asserts how long something took. */
#include "redis_script.h"

/* --- fixture ------------------------------------------------------------------------------------------------------ */

struct fixture {
    struct world world;
    struct server server, other;
    char addresses[200];
};

static int set_up(void **state) {
    struct fixture *f = SW_NEW(struct fixture);
    server_start(&f->server);
    server_start(&f->other);
    world_init(&f->world);
    snprintf(f->addresses, sizeof f->addresses, "127.0.0.1:%u", f->server.port);
    f->world.options.addresses = f->addresses;
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    if (f->world.redis) {
        sw_redis_destroy(f->world.redis);
    }
    server_stop(&f->server);
    server_stop(&f->other);
    sw_free(f);
    return 0;
}

static struct world *open_world(struct fixture *f) {
    world_open(&f->world);
    world_await_open(&f->world);
    return &f->world;
}

/* A value as this client writes it, as an answer to GET. */
static size_t make_answer(unsigned number, const char *value, char *ret, size_t size) {
    struct redis_digest digest;
    uint8_t key[SW_REDIS_KEY], envelope[REDIS_ENVELOPE];
    make_key(key, number);
    assert_true(redis_digest_init(&digest));
    redis_envelope_make(&digest, key, sw_str_of(value), envelope);
    redis_digest_deinit(&digest);
    int n = snprintf(ret, size, "$%zu\r\n", REDIS_ENVELOPE + strlen(value));
    memcpy(ret + n, envelope, REDIS_ENVELOPE);
    return (size_t)n + REDIS_ENVELOPE +
           (size_t)snprintf(ret + n + REDIS_ENVELOPE, size - (size_t)n - REDIS_ENVELOPE, "%s\r\n", value);
}

/* It works, or works again. */
static void expect_works(struct fixture *f) {
    char answer[200];
    size_t len = make_answer(7, "fine", answer, sizeof answer);
    RULES(&f->server, {.command = "GET slipway:test:07", .text = answer, .len = len});
    world_await_open(&f->world);
    expect_get(&f->world, 7, "fine");
}

/* --- misses that leave the breaker as it is ----------------------------------------------------------------------- */

static void hit_miss_and_kept(void **state) {
    struct fixture *f = *state;
    struct world *w = open_world(f);
    expect_get(w, 1, NULL);
    expect_works(f);
    keep(w, 1, "value");
    AWAIT(w, s.kept == 1);
    struct sw_redis_stats s = stats(w);
    assert_int_equal(s.hits, 1);
    assert_int_equal(s.misses, 1);
    assert_int_equal(s.nodes, 1);
    assert_int_equal(s.opened + s.errors + s.timeouts + s.garbage + s.refused + s.dropped + s.failed, 0);
    assert_int_equal(w->released, 1);
    assert_true(was_seen(&f->server, "SET slipway:test:01000000"));
}

static void an_error_about_one_command(void **state) {
    struct fixture *f = *state;
    struct world *w = open_world(f);
    RULES(&f->server, {.command = "GET", .text = "-WRONGTYPE Operation against a key\r\n"},
          {.command = "SET", .text = "-OOM command not allowed when used memory > 'maxmemory'.\r\n", .times = 1},
          {.command = "SET", .text = "-READONLY You can't write against a read only replica.\r\n"});
    expect_get(w, 1, NULL);
    keep(w, 1, "value");
    keep(w, 2, "value");
    AWAIT(w, s.failed == 2);
    assert_int_equal(stats(w).errors, 1);
    assert_non_null(strstr(stats(w).reason, "READONLY"));
    expect_works(f);
    assert_int_equal(stats(w).opened, 0);
}

static void values_of_others(void **state) {
    struct fixture *f = *state;
    struct world *w = open_world(f);
    char cut[200], swapped[200];
    size_t len = make_answer(1, "value", swapped, sizeof swapped), at = (size_t)(strchr(swapped, '\n') + 1 - swapped);
    int n = snprintf(cut, sizeof cut, "$%d\r\n", REDIS_ENVELOPE + 4); /* the last byte of the value is gone */
    memcpy(cut + n, swapped + at, REDIS_ENVELOPE + 4);
    memcpy(cut + n + REDIS_ENVELOPE + 4, "\r\n", 2);
    RULES(&f->server, {.command = "GET", .text = "$5\r\nhello\r\n", .times = 1},
          {.command = "GET", .text = cut, .len = (size_t)n + REDIS_ENVELOPE + 6, .times = 1},
          {.command = "GET", .text = swapped, .len = len, .times = 1});
    for (int i = 0; i < 3; i++) {
        expect_get(w, 2, NULL);
    }
    assert_int_equal(stats(w).garbage, 3);
    expect_works(f);
    assert_int_equal(stats(w).opened, 0);
}

static void a_value_larger_than_wanted(void **state) {
    struct fixture *f = *state;
    struct world *w = open_world(f);
    size_t len = 3000000;
    char *large = sw_xmalloc(len + 100);
    int n = snprintf(large, 100, "$%zu\r\n", len);
    memset(large + n, 'x', len);
    memcpy(large + (size_t)n + len, "\r\n", 2);
    RULES(&f->server, {.command = "GET", .text = large, .len = (size_t)n + len + 2});
    expect_get(w, 1, NULL);
    expect_works(f);
    assert_int_equal(stats(w).garbage, 1);
    assert_int_equal(stats(w).opened, 0);
    sw_free(large);
}

/* --- failures that open it ---------------------------------------------------------------------------------------- */

enum counter { ERRORS, GARBAGE, TIMEOUTS };

static uint64_t counted(struct world *w, enum counter counter) {
    struct sw_redis_stats s = stats(w);
    return counter == ERRORS ? s.errors : counter == GARBAGE ? s.garbage : s.timeouts;
}

/* Two questions of one pipeline: the first meets this, both miss for that cause, the breaker opens once, and closes. */
static void expect_opens(struct fixture *f, struct rule rule, enum counter counter) {
    struct world *w = &f->world;
    struct question one, two;
    uint64_t before = counted(w, counter), opened = stats(w).opened;
    rule.command = "GET";
    RULES(&f->server, rule, {.command = "PING", .verdict = CLOSE}); /* it stays open until it was looked at */
    assert_true(ask(w, &one, 1));
    bool taken = ask(w, &two, 2);
    expect_answer(&one, NULL);
    if (taken) {
        expect_answer(&two, NULL);
    }
    assert_true(stats(w).breaker_open);
    AWAIT(w, s.opened == opened + 1);
    assert_int_equal(counted(w, counter), before + 1 + taken);
    struct question refused;
    assert_false(ask(w, &refused, 3));
    expect_works(f);
}

static void errors_about_everything(void **state) {
    struct fixture *f = *state;
    open_world(f);
    expect_opens(f, (struct rule){.text = "-NOAUTH Authentication required.\r\n"}, ERRORS);
    expect_opens(f, (struct rule){.text = "-LOADING Redis is loading the dataset in memory\r\n"}, ERRORS);
    expect_opens(f, (struct rule){.text = "-WRONGPASS invalid\r\n"}, ERRORS);
    expect_opens(f, (struct rule){.text = "-MASTERDOWN Link with MASTER is down\r\n"}, ERRORS);
}

static void bytes_that_are_no_answer(void **state) {
    struct fixture *f = *state;
    open_world(f);
    static const char *const texts[] = {
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        ":1\r\n",
        "+OK\r\n",
        "*2\r\n:1\r\n:2\r\n",
        "$abc\r\n",
        "*99999999\r\n",
        "\x16\x03",
        "$-5\r\n",
    };
    for (size_t i = 0; i < SW_COUNTOF(texts); i++) {
        expect_opens(f, (struct rule){.text = texts[i]}, GARBAGE);
    }
}

static void an_answer_nobody_asked_for(void **state) {
    struct fixture *f = *state;
    struct world *w = open_world(f);
    RULES(&f->server, {.command = "GET", .text = "$-1\r\n$-1\r\n$-1\r\n", .times = 1});
    expect_get(w, 1, NULL);
    AWAIT(w, s.opened == 1);
    expect_works(f);
}

static void half_an_answer_and_the_end(void **state) {
    struct fixture *f = *state;
    open_world(f);
    expect_opens(f, (struct rule){.text = "$100\r\nhalf", .closes = true}, ERRORS);
    expect_opens(f, (struct rule){.text = "$10", .closes = true}, ERRORS);
    expect_opens(f, (struct rule){.verdict = CLOSE}, ERRORS);
}

/* The time-out is short here, and nothing else waits for it. */
static void silence(void **state) {
    struct fixture *f = *state;
    f->world.options.timeout_ms = 300;
    open_world(f);
    expect_opens(f, (struct rule){.verdict = HANG}, TIMEOUTS);
    expect_opens(f, (struct rule){.text = "$100\r\nhalf", .times = 1}, TIMEOUTS);
}

/* What was announced never comes: its question misses at once, the one behind it when its time is up. */
static void a_huge_value_that_does_not_come(void **state) {
    struct fixture *f = *state;
    struct question one, two;
    f->world.options.timeout_ms = 300;
    struct world *w = open_world(f);
    RULES(&f->server, {.command = "GET", .text = "$536870912\r\nx", .times = 1});
    assert_true(ask(w, &one, 1));
    expect_answer(&one, NULL);
    assert_int_equal(stats(w).garbage, 1);
    assert_true(ask(w, &two, 2));
    expect_answer(&two, NULL);
    assert_int_equal(stats(w).timeouts, 1);
    expect_works(f);
}

/* Behind a question that hangs many wait: when its time is up all of them are misses at once. */
static void all_that_wait_behind_one_that_hangs(void **state) {
    struct fixture *f = *state;
    f->world.options.timeout_ms = 500;
    struct world *w = open_world(f);
    struct question q[50];
    size_t taken = 0;
    RULES(&f->server, {.command = "GET", .verdict = HANG}, {.command = "PING", .verdict = CLOSE});
    while (taken < SW_COUNTOF(q) && ask(w, &q[taken], (unsigned)taken)) {
        taken++;
    }
    assert_true(taken > 0);
    for (size_t i = 0; i < taken; i++) {
        expect_answer(&q[i], NULL);
    }
    AWAIT(w, s.opened == 1);
    struct sw_redis_stats s = stats(w);
    assert_int_equal(s.timeouts, taken);
    assert_int_equal(s.misses, taken);
    assert_int_equal(s.waiting, 0);
    expect_works(f);
}

/* --- connections that nobody uses --------------------------------------------------------------------------------- */

/* A clock that a test turns while the thread reads it. */
static atomic_uint_fast64_t turned_ns;
static uint64_t read_turned(struct sw_clock *clock) {
    (void)clock;
    return atomic_load(&turned_ns);
}

static void an_idle_connection_may_be_closed(void **state) {
    struct fixture *f = *state;
    struct sw_clock clock = {.monotonic_ns = read_turned};
    atomic_store(&turned_ns, 1);
    f->world.options.clock = &clock;
    struct world *w = open_world(f);
    atomic_fetch_add(&turned_ns, 5000000000);
    RULES(&f->server, {.command = "GET", .text = "$-1\r\n", .times = 1, .closes = true});
    expect_get(w, 1, NULL);
    AWAIT(w, atomic_load(&f->server.connections) == 2);
    expect_works(f);
    assert_int_equal(stats(w).opened, 0);
    RULES(&f->server, {.command = "GET", .text = "$-1\r\n", .times = 1, .closes = true});
    expect_get(w, 1, NULL); /* again, and this connection has only just been made */
    AWAIT(w, s.opened == 1);
    assert_non_null(strstr(stats(w).reason, "closed the connection"));
    sw_redis_destroy(w->redis);
    w->redis = NULL;
}

/* --- connecting --------------------------------------------------------------------------------------------------- */

static void nobody_listens(void **state) {
    struct fixture *f = *state;
    struct world *w = &f->world;
    struct question q;
    unsigned port;
    int fd = take_port(&port);
    snprintf(f->addresses, sizeof f->addresses, "127.0.0.1:%u", port);
    world_open(w);
    AWAIT(w, strstr(s.reason, "Connection refused"));
    assert_false(ask(w, &q, 1));
    keep(w, 1, "value");
    struct sw_redis_stats s = stats(w);
    assert_true(s.breaker_open);
    assert_int_equal(s.refused, 1);
    assert_int_equal(s.dropped, 1);
    assert_int_equal(s.opened, 0); /* it was never closed */
    assert_int_equal(w->released, 1);
    close(fd);
}

static void a_name_that_is_none(void **state) {
    struct fixture *f = *state;
    f->world.options.addresses = "no-such-host.invalid";
    world_open(&f->world);
    AWAIT(&f->world, strstr(s.reason, "no-such-host.invalid:6379: "));
    assert_true(stats(&f->world).breaker_open);
}

static void a_name_is_looked_up(void **state) {
    struct fixture *f = *state;
    snprintf(f->addresses, sizeof f->addresses, "localhost:%u", f->server.port);
    open_world(f);
    expect_works(f);
}

static void the_next_address_when_one_is_away(void **state) {
    struct fixture *f = *state;
    snprintf(f->addresses, sizeof f->addresses, "unix:/nowhere/redis.sock,127.0.0.1:%u,127.0.0.1:%u", f->server.port,
             f->other.port);
    struct world *w = open_world(f);
    expect_get(w, 1, NULL);
    assert_true(was_seen(&f->server, "GET"));
    RULES(&f->server, {.command = "", .verdict = CLOSE});
    struct question q;
    assert_true(ask(w, &q, 1));
    expect_answer(&q, NULL);
    AWAIT(w, !s.breaker_open && s.opened == 1);
    expect_get(w, 2, NULL);
    assert_true(was_seen(&f->other, "GET"));
}

static void it_is_not_used_before_it_is_quick(void **state) {
    struct fixture *f = *state;
    f->world.options.timeout_ms = 300;
    RULES(&f->server, {.command = "PING", .verdict = HANG, .times = 1});
    open_world(f);
    assert_non_null(strstr(stats(&f->world).reason, "no answer within 300 ms"));
    expect_works(f);
}

static void greeting(void **state) {
    struct fixture *f = *state;
    struct world *w = &f->world;
    w->options.username = "slipway";
    w->options.password = "hexenwerk";
    w->options.database = 5;
    open_world(f);
    assert_true(was_seen(&f->server, "AUTH slipway hexenwerk;CLUSTER SLOTS;SELECT 5;PING;"));
}

static void a_password_is_never_repeated(void **state) {
    static const char *const answers[] = {
        "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
        "-ERR unknown command `AUTH`, with args beginning with: `hexenwerk`,\r\n",
        "-hexenwerk\r\n",
    };
    struct fixture *f = *state;
    struct world *w = &f->world;
    w->options.password = "hexenwerk";
    for (size_t i = 0; i < SW_COUNTOF(answers); i++) {
        RULES(&f->server, {.command = "AUTH", .text = answers[i]});
        world_open(w);
        AWAIT(w, strstr(s.reason, i ? "refuses AUTH" : "WRONGPASS"));
        assert_null(strstr(stats(w).reason, "hexenwerk"));
        sw_redis_destroy(w->redis);
        w->redis = NULL;
    }
    RULES(&f->server, {.command = "PING", .text = "-ERR you said hexenwerk\r\n"});
    world_open(w);
    AWAIT(w, strstr(s.reason, "left out"));
}

/* --- bounds ------------------------------------------------------------------------------------------------------- */

static void full_queues(void **state) {
    struct fixture *f = *state;
    struct world *w = &f->world;
    struct question q[3], more;
    w->options.questions_max = 3;
    w->options.entries_max = 2;
    w->options.entry_bytes_max = 100;
    w->options.value_max = 90;
    open_world(f);
    RULES(&f->server, {.command = "GET", .verdict = HANG});
    for (unsigned i = 0; i < 3; i++) {
        assert_true(ask(w, &q[i], i));
    }
    assert_false(ask(w, &more, 3));
    assert_int_equal(stats(w).waiting, 3);
    assert_int_equal(stats(w).refused, 1);
    char large[91];
    memset(large, 'x', sizeof large);
    keep_bytes(w, 1, large, 91); /* above value_max */
    assert_int_equal(stats(w).dropped, 1);
    keep_bytes(w, 1, large, 60);
    keep_bytes(w, 1, large, 60); /* above entry_bytes_max */
    assert_int_equal(stats(w).dropped, 2);
    keep_bytes(w, 1, large, 1);
    keep_bytes(w, 1, large, 1); /* above entries_max */
    assert_int_equal(stats(w).dropped, 3);
    sw_redis_destroy(w->redis); /* with all of that waiting */
    w->redis = NULL;
    for (unsigned i = 0; i < 3; i++) {
        assert_true(q[i].ended);
        expect_answer(&q[i], NULL);
    }
    assert_int_equal(w->released, 5);
}

static void wrong_options(void **state) {
    struct fixture *f = *state;
    struct sw_redis *redis;
    struct sw_error err;
    const struct sw_redis_options good = f->world.options;
    struct sw_redis_options wrong[9];
    for (size_t i = 0; i < SW_COUNTOF(wrong); i++) {
        wrong[i] = good;
    }
    wrong[0].addresses = "";
    wrong[1].timeout_ms = 0;
    wrong[2].breaker_max_ms = 0;
    wrong[3].questions_max = 0;
    wrong[4].username = "somebody";
    wrong[5].addresses = "rediss://cache";
    wrong[5].tls_ca = "/nowhere/ca.pem";
    wrong[6].tls = true;
    wrong[6].tls_cert = "/nowhere/cert.pem";
    wrong[7].tls = true;
    wrong[7].tls_cert = wrong[7].tls_key = "/nowhere/cert.pem";
    char prefix[200];
    memset(prefix, 'x', sizeof prefix);
    prefix[199] = 0;
    wrong[8].prefix = prefix;
    for (size_t i = 0; i < SW_COUNTOF(wrong); i++) {
        if (sw_redis_create(&wrong[i], &redis, &err) != SW_E_INVALID_ARGUMENT) {
            fail_msg("accepted: %zu", i);
        }
    }
}

/* --- a cluster ---------------------------------------------------------------------------------------------------- */

static void make_map(char *ret, size_t size, unsigned low, unsigned high) {
    snprintf(ret, size,
             "*2\r\n*3\r\n:0\r\n:8191\r\n*3\r\n$9\r\n127.0.0.1\r\n:%u\r\n$1\r\na\r\n"
             "*3\r\n:8192\r\n:16383\r\n*3\r\n$9\r\n127.0.0.1\r\n:%u\r\n$1\r\nb\r\n",
             low, high);
}

/* A number whose key is in the first half of the slots, or in the second. */
static unsigned number_in(const struct world *w, bool second) {
    struct redis_keys keys;
    redis_keys_init(&keys, w->options.prefix);
    for (unsigned i = 100;; i++) {
        uint8_t key[SW_REDIS_KEY];
        char text[REDIS_KEY_MAX];
        make_key(key, i);
        size_t len = redis_key_of(&keys, key, text);
        if ((redis_slot_of((struct sw_str){text, len}) >= 8192) == second) {
            return i;
        }
    }
}

static void each_key_goes_to_its_node(void **state) {
    struct fixture *f = *state;
    struct world *w = &f->world;
    char map[300];
    make_map(map, sizeof map, f->server.port, f->other.port);
    RULES(&f->server, {.command = "CLUSTER", .text = map});
    RULES(&f->other, {.command = "CLUSTER", .text = map});
    open_world(f);
    AWAIT(w, s.nodes == 2);
    assert_true(stats(w).cluster);
    expect_get(w, number_in(w, false), NULL);
    assert_true(was_seen(&f->server, "GET"));
    assert_false(was_seen(&f->other, "GET"));
    expect_get(w, number_in(w, true), NULL);
    assert_true(was_seen(&f->other, "GET"));
}

static void moved_and_ask_are_followed(void **state) {
    struct fixture *f = *state;
    struct world *w = &f->world;
    char map[300], moved[100], ask_there[100], answer[200];
    unsigned number = number_in(w, false);
    size_t len = make_answer(number, "there", answer, sizeof answer);
    make_map(map, sizeof map, f->server.port, f->other.port);
    snprintf(moved, sizeof moved, "-MOVED 0 127.0.0.1:%u\r\n", f->other.port);
    snprintf(ask_there, sizeof ask_there, "-ASK 0 127.0.0.1:%u\r\n", f->other.port);
    RULES(&f->server, {.command = "CLUSTER", .text = map}, {.command = "GET", .text = ask_there, .times = 1},
          {.command = "GET", .text = moved});
    RULES(&f->other, {.command = "CLUSTER", .text = map}, {.command = "GET", .text = answer, .len = len});
    open_world(f);
    AWAIT(w, s.nodes == 2);
    expect_get(w, number, "there");
    assert_true(was_seen(&f->other, "ASKING;GET"));
    expect_get(w, number, "there");
    assert_int_equal(stats(w).hits, 2);
    assert_int_equal(stats(w).opened, 0);
}

/* Two that send each other's questions back and forth: followed once. */
static void redirections_do_not_go_round(void **state) {
    struct fixture *f = *state;
    struct world *w = &f->world;
    char map[300], there[100], back[100];
    make_map(map, sizeof map, f->server.port, f->other.port);
    snprintf(there, sizeof there, "-MOVED 0 127.0.0.1:%u\r\n", f->other.port);
    snprintf(back, sizeof back, "-MOVED 0 127.0.0.1:%u\r\n", f->server.port);
    RULES(&f->server, {.command = "CLUSTER", .text = map}, {.command = "GET", .text = there});
    RULES(&f->other, {.command = "CLUSTER", .text = map}, {.command = "GET", .text = back});
    open_world(f);
    AWAIT(w, s.nodes == 2);
    expect_get(w, number_in(w, false), NULL);
    assert_int_equal(stats(w).errors, 1);
}

static void one_node_is_lost(void **state) {
    struct fixture *f = *state;
    struct world *w = &f->world;
    char map[300], new_map[300];
    make_map(map, sizeof map, f->server.port, f->other.port);
    RULES(&f->server, {.command = "CLUSTER", .text = map});
    RULES(&f->other, {.command = "CLUSTER", .text = map});
    open_world(f);
    AWAIT(w, s.nodes == 2);
    RULES(&f->other, {.command = "", .verdict = CLOSE});
    expect_get(w, number_in(w, true), NULL);
    AWAIT(w, s.nodes == 1);
    assert_false(stats(w).breaker_open);
    expect_get(w, number_in(w, false), NULL); /* the other half goes on */
    assert_true(was_seen(&f->server, "GET"));
    make_map(new_map, sizeof new_map, f->server.port, f->server.port); /* it takes over */
    RULES(&f->server, {.command = "CLUSTER", .text = new_map});
    AWAIT(w, s.nodes == 1 && was_seen(&f->server, "CLUSTER"));
    do {
        expect_get(w, number_in(w, true), NULL);
    } while (!was_seen(&f->server, "GET"));
    assert_int_equal(stats(w).opened, 0);
}

static void clusters_that_cannot_be_used(void **state) {
    struct fixture *f = *state;
    struct world *w = &f->world;
    char map[300];
    RULES(&f->server, {.command = "CLUSTER", .text = "*0\r\n"});
    world_open(w);
    AWAIT(w, strstr(s.reason, "without slots"));
    RULES(&f->server, {.command = "CLUSTER", .text = "*1\r\n:1\r\n"});
    AWAIT(w, strstr(s.reason, "of a type"));
    sw_redis_destroy(w->redis);
    make_map(map, sizeof map, f->server.port, f->server.port);
    RULES(&f->server, {.command = "CLUSTER", .text = map});
    w->options.database = 1;
    world_open(w);
    AWAIT(w, strstr(s.reason, "only database 0"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(hit_miss_and_kept),
        TEST(an_error_about_one_command),
        TEST(values_of_others),
        TEST(a_value_larger_than_wanted),
        TEST(errors_about_everything),
        TEST(bytes_that_are_no_answer),
        TEST(an_answer_nobody_asked_for),
        TEST(half_an_answer_and_the_end),
        TEST(silence),
        TEST(a_huge_value_that_does_not_come),
        TEST(all_that_wait_behind_one_that_hangs),
        TEST(an_idle_connection_may_be_closed),
        TEST(nobody_listens),
        TEST(a_name_that_is_none),
        TEST(a_name_is_looked_up),
        TEST(the_next_address_when_one_is_away),
        TEST(it_is_not_used_before_it_is_quick),
        TEST(greeting),
        TEST(a_password_is_never_repeated),
        TEST(full_queues),
        TEST(wrong_options),
        TEST(each_key_goes_to_its_node),
        TEST(moved_and_ask_are_followed),
        TEST(redirections_do_not_go_round),
        TEST(one_node_is_lost),
        TEST(clusters_that_cannot_be_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
