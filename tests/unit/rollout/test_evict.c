/* The memory limit: what is unloaded first, what never is, what comes back when it is asked for; and a random walk
 * through wishes of the registry against a model of what requests must get. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "managed.h"

enum { MEMORY_MAX = 300, KEEP_MS = 60000, HELD = 8 };

static struct sw_model *held[HELD]; /* of the random walk; given back at the end, however that comes */

static int setup(void **state) {
    managed_create(KEEP_MS, MEMORY_MAX);
    return 0;
}

static int setup_unlimited(void **state) {
    managed_create(0, 0);
    return 0;
}

static int teardown(void **state) {
    for (size_t i = 0; i < HELD; i++) {
        if (held[i]) {
            managed_release(held[i]);
            held[i] = NULL;
        }
    }
    managed_destroy();
    return 0;
}

static void good(const char *model, int64_t count) {
    for (int64_t i = 1; i <= count; i++) {
        managed_files(model, i, "ok");
    }
}

static void use(const char *model, const char *version) {
    (void)sw_repository_tick(managed_repository);
    managed_release(managed_acquire(model, version));
}

#define EVICTED "unloaded to save memory; it is loaded again when it is asked for"
#define ASKED "unloaded to save memory; it is being loaded again"

/* ---- who goes ---- */

static void least_recently_used_goes_first(void **state) {
    good("m", 3);
    good("n", 2);
    managed_want("m", "1/100 2/100 3/100");
    use("m", "2");
    use("m", "1");
    use("m", "3");
    use("m", "1");
    managed_want("n", "live=1 1!/100");
    managed_assert_index("m/1 READY\nm/2 UNAVAILABLE " EVICTED "\nm/3 READY\nn/1 READY live\n");
    managed_want("n", "live=1 1!/100 2!/100");
    managed_assert_index("m/1 READY\nm/2 UNAVAILABLE " EVICTED "\nm/3 UNAVAILABLE " EVICTED
                         "\nn/1 READY live\nn/2 READY\n");
}

static void of_two_used_at_once_the_one_loaded_first_goes(void **state) {
    good("m", 4);
    managed_want("m", "1/100 2/100 3/100");
    managed_want("m", "live=4 4!/100 1/100 2/100 3/100");
    managed_assert_index("m/1 UNAVAILABLE " EVICTED "\nm/2 READY\nm/3 READY\nm/4 READY live\n");
}

static void as_many_go_as_are_needed_and_no_more(void **state) {
    good("m", 4);
    managed_want("m", "1/100 2/100 3/50");
    managed_want("m", "live=4 4!/200 1/100 2/100 3/50");
    managed_assert_index("m/1 UNAVAILABLE " EVICTED "\nm/2 UNAVAILABLE " EVICTED "\nm/3 READY\nm/4 READY live\n");
}

static void pinned_ones_stay_and_the_load_says_why_it_failed(void **state) {
    good("m", 4);
    managed_want("m", "live=1 1!/100 2!/100 3/50 a:2");
    struct sw_error err;
    assert_int_equal(managed_follow("m", "live=4 4!/101 1!/100 2!/100 3/50 a:2", &err), SW_E_UNAVAILABLE);
    assert_string_equal(err.message,
                        "version 4: not enough memory allowed for models: 101 bytes are needed, 200 of 300 "
                        "are taken by versions that may not be unloaded");
    managed_assert_version("m", "", 1);
    managed_assert_version("m", "3", 3); /* nothing went for nothing */
    assert_int_equal(fake_counts().unloaded, 0);
    assert_int_equal(fake_counts().fetched, 3);                                     /* and nothing was fetched */
    assert_int_equal(managed_follow("m", "live=4 4!/301", &err), SW_E_UNAVAILABLE); /* more than there is */
    assert_int_equal(managed_follow("m", "live=4 4!/9223372036854775807", &err), SW_E_UNAVAILABLE);
    managed_assert_version("m", "", 1);
    managed_want("m", "live=4 4!/100");
    managed_assert_version("m", "", 4);
}

/* What requests are sent to stays until they are sent elsewhere, whatever the registry wants of it now. */
static void the_old_live_one_and_its_aliases_stay_until_the_swap(void **state) {
    good("m", 4);
    managed_want("m", "live=1 1!/100 2!/100 3/100 champion:1 other:2");
    size_t unloaded = fake_counts().unloaded;
    managed_want("m", "live=4 previous=1 4!/100 champion:4 other:4");
    managed_assert_index("m/1 READY\nm/4 READY live\n"); /* 3 went for it; 2 after the swap; 1 is warm */
    assert_int_equal(fake_counts().unloaded, unloaded + 2);
    assert_int_equal(managed_follow("m", "live=2 previous=4 2!/201", NULL), SW_E_UNAVAILABLE);
    managed_assert_version("m", "", 4);
}

static void warm_ones_go_last(void **state) {
    good("m", 4);
    managed_want("m", "live=1 1!/100");
    managed_want("m", "live=2 previous=1 2!/100 3/100");
    use("m", "3"); /* used last, and goes first all the same */
    managed_want("m", "live=2 previous=1 2!/100 3/100 4!/100");
    managed_assert_index("m/1 READY\nm/2 READY live\nm/3 UNAVAILABLE " EVICTED "\nm/4 READY\n");
    good("n", 1);
    managed_want("n", "live=1 1!/100");
    managed_assert_index("m/2 READY live\nm/3 UNAVAILABLE " EVICTED "\nm/4 READY\nn/1 READY live\n");
    managed_want("m", "live=2 previous=1 2!/100 3/100");
    managed_assert_version("m", "3", 3); /* there is room again */
}

static void what_is_not_pinned_makes_nothing_go(void **state) {
    good("m", 4);
    managed_want("m", "live=1 1!/100 2/100");
    managed_want("m", "live=1 1!/100 2/100 3/150 4/100");
    managed_assert_index("m/1 READY live\nm/2 READY\n"
                         "m/3 UNAVAILABLE not loaded to save memory; it is loaded when it is asked for\nm/4 READY\n");
}

/* ---- on demand ---- */

static void an_evicted_version_comes_back_when_it_is_asked_for(void **state) {
    good("m", 4);
    managed_want("m", "1/100 2/100 3/100");
    managed_want("m", "live=4 4!/100 1/100 2/100 3/100");
    size_t started = fake_counts().started;
    use("m", "2");
    fake_close_gate();
    managed_assert_refused("m", "1", SW_E_UNAVAILABLE, "model 'm' version 1 is UNAVAILABLE: " ASKED);
    fake_wait_started(started + 1);
    managed_assert_refused("m", "1", SW_E_UNAVAILABLE, "model 'm' version 1 is LOADING");
    managed_assert_refused("m", "1", SW_E_UNAVAILABLE, "model 'm' version 1 is LOADING");
    fake_open_gate();
    managed_settle();
    assert_int_equal(fake_counts().started, started + 1); /* once */
    managed_assert_version("m", "1", 1);
    managed_assert_index("m/1 READY\nm/2 READY\nm/3 UNAVAILABLE " EVICTED "\nm/4 READY live\n");
}

/* Asked for many times before the loader gets to it: one load. */
static void it_is_queued_once(void **state) {
    good("m", 4);
    good("slow", 1);
    managed_want("m", "1/100 2/100 3/100");
    managed_want("m", "live=4 4!/100 1/100 2/100 3/100");
    size_t started = fake_counts().started;
    fake_close_gate();
    managed_begin("slow", "live=1");
    fake_wait_started(started + 1);
    for (int i = 0; i < 50; i++) {
        (void)sw_repository_tick(managed_repository);
        managed_assert_refused("m", "1", SW_E_UNAVAILABLE, "model 'm' version 1 is UNAVAILABLE: " ASKED);
    }
    fake_open_gate();
    managed_settle();
    assert_int_equal(fake_counts().started, started + 2);
    managed_assert_version("m", "1", 1);
}

static void one_that_cannot_come_back_is_tried_once_a_tick(void **state) {
    good("m", 4);
    managed_want("m", "1/100 2/100 3/100");
    managed_want("m", "live=4 4!/100 1/100 2/100 3/100");
    managed_files("m", 1, "damaged");
    size_t started = fake_counts().started;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(managed_version_of("m", "1", NULL), -SW_E_UNAVAILABLE);
        managed_settle();
        assert_int_equal(fake_counts().started, started + 1);
    }
    managed_assert_refused("m", "1", SW_E_UNAVAILABLE,
                           "model 'm' version 1 is UNAVAILABLE: unloaded to save memory, and it could not be loaded "
                           "again: damaged");
    (void)sw_repository_tick(managed_repository);
    managed_files("m", 1, "ok");
    assert_int_equal(managed_version_of("m", "1", NULL), -SW_E_UNAVAILABLE);
    managed_settle();
    assert_int_equal(fake_counts().started, started + 2);
    managed_assert_version("m", "1", 1);
}

static void two_take_turns_when_there_is_room_for_one(void **state) {
    good("m", 3);
    managed_want("m", "live=3 3!/150 1/150 2/150");
    for (int i = 0; i < 4; i++) {
        const char *out = i % 2 ? "1" : "2", *in = i % 2 ? "2" : "1";
        use("m", in);
        assert_int_equal(managed_version_of("m", out, NULL), -SW_E_UNAVAILABLE);
        managed_settle();
        managed_assert_version("m", out, out[0] - '0');
        managed_assert_version("m", "", 3);
    }
}

/* Each time that it went, whatever the time. */
static void it_comes_back_more_than_once_a_tick(void **state) {
    good("m", 3);
    managed_want("m", "live=3 3!/150 1/150 2/150");
    for (int i = 0; i < 6; i++) {
        const char *out = i % 2 ? "1" : "2";
        assert_int_equal(managed_version_of("m", out, NULL), -SW_E_UNAVAILABLE);
        managed_settle();
        managed_assert_version("m", out, out[0] - '0');
    }
}

static void asked_for_and_then_not_wanted_any_more(void **state) {
    good("m", 4);
    good("slow", 1);
    managed_want("m", "1/100 2/100 3/100");
    managed_want("m", "live=4 4!/100 1/100 2/100 3/100");
    size_t started = fake_counts().started;
    fake_close_gate();
    managed_begin("slow", "live=1");
    fake_wait_started(started + 1);
    managed_begin("m", "deleted");
    assert_int_equal(managed_version_of("m", "1", NULL), -SW_E_UNAVAILABLE);
    fake_open_gate();
    managed_settle();
    managed_assert_index("slow/1 READY live\n");
    assert_int_equal(fake_counts().started, started + 2); /* before the job for its end came, it was brought back */
}

static void evicted_while_a_request_uses_it(void **state) {
    good("m", 4);
    managed_want("m", "1/100 2/100 3/100");
    struct sw_model *used = managed_acquire("m", "1");
    managed_want("m", "live=4 4!/100 1/100 2/100 3/100");
    managed_assert_index("m/1 UNLOADING\nm/2 READY\nm/3 READY\nm/4 READY live\n");
    assert_int_equal(fake_counts().unloaded, 0);
    managed_release(used);
    fake_wait_unloaded(1);
    managed_settle();
    managed_assert_index("m/1 UNAVAILABLE " EVICTED "\nm/2 READY\nm/3 READY\nm/4 READY live\n");
}

/* ---- a random walk ---- */

enum { MODELS = 3, VERSIONS = 6, STEPS = 400 };

/* What requests must get, without memory limit and without warm versions. */
struct expectation {
    bool known;
    int64_t live;              /* 0: none */
    bool wanted[VERSIONS + 1]; /* loaded when good, with those that are pointed to */
    int64_t alias;             /* of alias "a"; 0: there is none */
    bool loaded_live;          /* live is loaded */
};

static uint64_t seed;

static unsigned roll(unsigned sides) {
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(seed >> 33) % sides;
}

static bool is_good(size_t model, int64_t version) {
    return (model * 7 + (size_t)version * 3) % 5 != 0;
}

static bool follow_random(size_t index, struct expectation *e) {
    static const char *const names[MODELS] = {"a", "b", "c"};
    if (roll(12) == 0) {
        *e = (struct expectation){0};
        managed_want(names[index], "deleted");
        return true;
    }
    struct sw_buf wish;
    sw_buf_init(&wish, 1000);
    int64_t live = roll(VERSIONS + 1), alias = roll(2) ? 1 + roll(VERSIONS) : 0, before = e->live;
    bool failed = false;
    sw_buf_printf(&wish, "live=%lld", (long long)live);
    for (int64_t v = 1; v <= VERSIONS; v++) {
        e->wanted[v] = v == live || v == alias || roll(3) == 0;
        failed = failed || (e->wanted[v] && !is_good(index, v));
        if (e->wanted[v]) {
            sw_buf_printf(&wish, " %lld%s", (long long)v, v == live || v == alias ? "!" : "");
        }
    }
    if (alias) {
        sw_buf_printf(&wish, " a:%lld", (long long)alias);
    }
    bool keep = live && !is_good(index, live) && e->known && before && e->loaded_live;
    bool alias_stays = keep && alias == live && e->alias == before;
    assert_int_equal(managed_follow(names[index], wish.data, NULL), failed ? SW_E_MODEL_INVALID : SW_OK);
    e->known = true;
    e->live = keep ? before : live;
    e->loaded_live = e->live && is_good(index, e->live);
    e->alias = alias_stays ? before : alias;
    sw_buf_deinit(&wish);
    return failed;
}

static void check_version(size_t index, const struct expectation *e, const char *name, const char *text,
                          int64_t number) {
    bool there = e->known && (e->wanted[number] || number == e->live || number == e->alias);
    int64_t expected = !there ? -SW_E_NOT_FOUND : is_good(index, number) ? number : -SW_E_UNAVAILABLE;
    assert_int_equal(managed_version_of(name, text, NULL), expected);
}

static size_t check_model(size_t index, const struct expectation *e) {
    static const char *const names[MODELS] = {"a", "b", "c"};
    const char *name = names[index];
    size_t loaded = 0;
    for (int64_t v = 1; v <= VERSIONS; v++) {
        const char text[] = {(char)('0' + v), '\0'};
        check_version(index, e, name, text, v);
        loaded += managed_version_of(name, text, NULL) == v;
    }
    if (!e->known) {
        assert_int_equal(managed_version_of(name, "", NULL), -SW_E_NOT_FOUND);
    } else if (!e->live) {
        assert_int_equal(managed_version_of(name, "", NULL), -SW_E_UNAVAILABLE);
    } else {
        check_version(index, e, name, "", e->live);
    }
    if (e->known && e->alias) {
        check_version(index, e, name, "a", e->alias);
    } else {
        assert_int_equal(managed_version_of(name, "a", NULL), -SW_E_NOT_FOUND);
    }
    return loaded;
}

static void hold_something(void) {
    struct sw_model **slot = &held[roll(HELD)];
    if (*slot) {
        managed_release(*slot);
        *slot = NULL;
        return;
    }
    const char name[] = {(char)('a' + roll(MODELS)), '\0'}, version[] = {(char)('1' + roll(VERSIONS)), '\0'};
    struct sw_error err;
    if (sw_repository_acquire(managed_repository, sw_str_of(name), sw_str_of(version), slot, &err)) {
        *slot = NULL;
    }
}

static void walk(uint64_t start) {
    static const char *const names[MODELS] = {"a", "b", "c"};
    struct expectation expected[MODELS] = {{0}};
    seed = start;
    for (size_t i = 0; i < MODELS; i++) {
        for (int64_t v = 1; v <= VERSIONS; v++) {
            managed_files(names[i], v, is_good(i, v) ? "ok" : "broken");
        }
    }
    for (size_t step = 0; step < STEPS; step++) {
        size_t index = roll(MODELS), loaded = 0;
        follow_random(index, &expected[index]);
        hold_something();
        for (size_t i = 0; i < MODELS; i++) {
            loaded += check_model(i, &expected[i]);
        }
        size_t in_memory = fake_counts().loaded - fake_counts().unloaded;
        assert_in_range(in_memory, loaded, loaded + HELD);
    }
}

static void a_random_walk_of_wishes(void **state) {
    walk(1);
}

static void another_random_walk(void **state) {
    walk(20261121);
}

/* With a limit: whatever is wanted, what is loaded stays below it, and pinned versions serve when they fit. */
static void a_random_walk_below_the_limit(void **state) {
    static const char *const names[MODELS] = {"a", "b", "c"};
    seed = 7;
    for (size_t i = 0; i < MODELS; i++) {
        good(names[i], VERSIONS);
    }
    for (size_t step = 0; step < STEPS; step++) {
        struct sw_buf wish;
        sw_buf_init(&wish, 1000);
        unsigned live = roll(VERSIONS + 1);
        sw_buf_printf(&wish, "live=%u", live);
        for (unsigned v = 1; v <= VERSIONS; v++) {
            if (v == live || roll(2)) {
                sw_buf_printf(&wish, " %u%s/%u", v, v == live ? "!" : "", 10 + v * 10);
            }
        }
        (void)sw_repository_tick(managed_repository);
        const char *name = names[roll(MODELS)];
        managed_want(name, wish.data); /* at most 70 + 70 are live elsewhere, and 70 + 70 here, before and after */
        if (live) {
            managed_assert_version(name, "", live);
        }
        const char version[] = {(char)('1' + roll(VERSIONS)), '\0'};
        (void)managed_version_of(names[roll(MODELS)], version, NULL); /* brings one back, perhaps */
        managed_settle();
        assert_in_range(managed_loaded_bytes(), 0, MEMORY_MAX);
        sw_buf_deinit(&wish);
    }
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define UNLIMITED(name) cmocka_unit_test_setup_teardown(name, setup_unlimited, teardown)
    const struct CMUnitTest tests[] = {
        CASE(least_recently_used_goes_first),
        CASE(of_two_used_at_once_the_one_loaded_first_goes),
        CASE(as_many_go_as_are_needed_and_no_more),
        CASE(pinned_ones_stay_and_the_load_says_why_it_failed),
        CASE(the_old_live_one_and_its_aliases_stay_until_the_swap),
        CASE(warm_ones_go_last),
        CASE(what_is_not_pinned_makes_nothing_go),
        CASE(an_evicted_version_comes_back_when_it_is_asked_for),
        CASE(it_is_queued_once),
        CASE(one_that_cannot_come_back_is_tried_once_a_tick),
        CASE(two_take_turns_when_there_is_room_for_one),
        CASE(it_comes_back_more_than_once_a_tick),
        CASE(asked_for_and_then_not_wanted_any_more),
        CASE(evicted_while_a_request_uses_it),
        UNLIMITED(a_random_walk_of_wishes),
        UNLIMITED(another_random_walk),
        CASE(a_random_walk_below_the_limit),
    };
    return cmocka_run_group_tests_name("rollout/evict", tests, NULL, NULL);
}
