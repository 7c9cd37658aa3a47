/* Managed models over fake ones: versions, live, aliases, failures, the order of things, what stays warm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "managed.h"

enum { KEEP_MS = 60000 };

static int setup(void **state) {
    managed_create(0, 0);
    return 0;
}

static int setup_warm(void **state) {
    managed_create(KEEP_MS, 0);
    return 0;
}

static int teardown(void **state) {
    managed_destroy();
    return 0;
}

static void good(const char *model, int64_t count) {
    for (int64_t i = 1; i <= count; i++) {
        managed_files(model, i, "ok");
    }
}

/* ---- what requests get ---- */

static void versions_by_number_alias_and_none(void **state) {
    good("m", 3);
    managed_want("m", "live=2 1 2! 3! champion:2 challenger:3");
    managed_assert_version("m", "", 2);
    managed_assert_version("m", "1", 1);
    managed_assert_version("m", "champion", 2);
    managed_assert_version("m", "challenger", 3);
    managed_assert_refused("m", "4", SW_E_NOT_FOUND, "model 'm' has no version '4'");
    managed_assert_refused("m", "champ", SW_E_NOT_FOUND, "model 'm' has no version 'champ'");
    managed_assert_refused("m", "champions", SW_E_NOT_FOUND, "model 'm' has no version 'champions'");
    managed_assert_refused("n", "", SW_E_NOT_FOUND, "model 'n' is not known");
    managed_assert_index("m/1 READY\nm/2 READY live\nm/3 READY\n");
}

static void every_alias_of_many_is_found(void **state) {
    good("m", 3);
    managed_want("m", "live=1 2! 3! a:1 b:2 c:3 d:1 ab:2 abc:3 B:1 z.9:2");
    static const struct {
        const char *alias;
        int64_t version;
    } cases[] = {{"a", 1}, {"b", 2}, {"c", 3}, {"d", 1}, {"ab", 2}, {"abc", 3}, {"B", 1}, {"z.9", 2}};
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        managed_assert_version("m", cases[i].alias, cases[i].version);
    }
    assert_int_equal(managed_version_of("m", "A", NULL), -SW_E_NOT_FOUND);
    assert_int_equal(managed_version_of("m", "z", NULL), -SW_E_NOT_FOUND);
}

static void no_version_is_live(void **state) {
    good("m", 1);
    managed_want("m", "1");
    managed_assert_refused("m", "", SW_E_UNAVAILABLE, "model 'm': no version is live");
    managed_assert_version("m", "1", 1);
    managed_want("m", "");
    managed_assert_refused("m", "", SW_E_UNAVAILABLE, "model 'm': no version is live");
    managed_assert_index("");
    managed_want("m", "live=1");
    managed_assert_version("m", "", 1);
}

static void an_alias_that_the_policy_leaves_out(void **state) {
    good("m", 2);
    managed_want("m", "live=1 2! old:2 older:7");
    managed_assert_version("m", "old", 2);
    managed_assert_refused("m", "older", SW_E_UNAVAILABLE,
                           "model 'm': alias 'older' is version 7, which its version policy leaves out");
    managed_want("m", "live=1 old:2");
    managed_assert_refused("m", "old", SW_E_UNAVAILABLE,
                           "model 'm': alias 'old' is version 2, which its version policy leaves out");
    managed_assert_index("m/1 READY live\n");
}

static void what_is_not_wanted_any_more_goes(void **state) {
    good("m", 3);
    managed_want("m", "live=1 2! 3! a:3");
    struct sw_model *held = managed_acquire("m", "3");
    managed_want("m", "live=1");
    managed_assert_refused("m", "2", SW_E_NOT_FOUND, "model 'm' has no version '2'");
    managed_assert_refused("m", "a", SW_E_NOT_FOUND, "model 'm' has no version 'a'");
    managed_assert_refused("m", "3", SW_E_NOT_FOUND, "model 'm' has no version '3'");
    managed_assert_index("m/1 READY live\nm/3 UNLOADING\n"); /* a request still uses it */
    assert_int_equal(fake_counts().unfetched, 1);
    managed_release(held);
    fake_wait_unloaded(2);
    managed_settle();
    managed_assert_index("m/1 READY live\n");
    assert_int_equal(fake_counts().unfetched, 2);
    assert_int_equal(fake_counts().unloaded_elsewhere, 0);
}

static void wanted_again_while_it_drains(void **state) {
    good("m", 2);
    managed_want("m", "live=1 2!");
    struct sw_model *held = managed_acquire("m", "2");
    managed_want("m", "live=1");
    managed_want("m", "live=2 1!");
    managed_assert_version("m", "", 2);
    managed_release(held);
    fake_wait_unloaded(1);
    managed_settle();
    managed_assert_index("m/1 READY\nm/2 READY live\n");
}

/* ---- failures ---- */

static void a_failed_candidate_keeps_the_old_one_live(void **state) {
    good("m", 2);
    managed_files("m", 3, "opset 99 is unknown");
    managed_want("m", "live=2 champion:2 other:1 1!");
    struct sw_error err;
    assert_int_equal(managed_follow("m", "live=3 previous=2 champion:3 other:3 new:3", &err), SW_E_MODEL_INVALID);
    assert_string_equal(err.message, "version 3: opset 99 is unknown");
    managed_assert_version("m", "", 2);
    managed_assert_version("m", "champion", 2); /* was on the live one, and stays with it */
    static const char *const others[] = {"other", "new", "3"};
    for (size_t i = 0; i < SW_COUNTOF(others); i++) {
        managed_assert_refused("m", others[i], SW_E_UNAVAILABLE,
                               "model 'm' version 3 is UNAVAILABLE: opset 99 is unknown");
    }
    managed_assert_index("m/2 READY live still live: version 3 could not be loaded: opset 99 is unknown\n"
                         "m/3 UNAVAILABLE opset 99 is unknown\n");

    managed_files("m", 3, "ok");
    assert_int_equal(sw_repository_load_wait(managed_repository, SW_STR("m"), NULL), SW_OK); /* try again */
    managed_assert_version("m", "", 3);
    managed_assert_version("m", "champion", 3);
    managed_assert_index("m/3 READY live\n");
}

static void back_to_the_old_one_after_a_failed_candidate(void **state) {
    good("m", 1);
    managed_files("m", 2, "broken");
    managed_want("m", "live=1 champion:1");
    assert_int_equal(managed_follow("m", "live=2 champion:2", NULL), SW_E_MODEL_INVALID);
    size_t loaded = fake_counts().loaded;
    managed_want("m", "live=1 champion:1");
    managed_assert_index("m/1 READY live\n");
    assert_int_equal(fake_counts().loaded, loaded);
}

static void the_first_live_version_cannot_be_loaded(void **state) {
    good("m", 1);
    managed_files("m", 2, "broken");
    struct sw_error err;
    assert_int_equal(managed_follow("m", "live=2 1! stable:1", &err), SW_E_MODEL_INVALID);
    managed_assert_refused("m", "", SW_E_UNAVAILABLE, "model 'm' version 2 is UNAVAILABLE: broken");
    managed_assert_version("m", "stable", 1);
}

static void the_first_failure_is_the_outcome_and_others_load(void **state) {
    good("m", 4);
    managed_files("m", 2, "broken");
    managed_files("m", 3, "cut short");
    struct sw_error err;
    assert_int_equal(managed_follow("m", "live=4 1! 2! 3", &err), SW_E_MODEL_INVALID);
    assert_string_equal(err.message, "version 2: broken");
    managed_assert_index("m/1 READY\nm/2 UNAVAILABLE broken\nm/3 UNAVAILABLE cut short\nm/4 READY live\n");
}

static void files_that_cannot_be_fetched(void **state) {
    good("m", 1);
    managed_want("m", "live=1");
    struct sw_error err;
    assert_int_equal(managed_follow("m", "live=2", &err), SW_E_NOT_FOUND);
    assert_string_equal(err.message, "version 2: no files");
    fake_fail_fetch(SW_E_UNAVAILABLE);
    assert_int_equal(managed_follow("m", "live=2", &err), SW_E_UNAVAILABLE);
    assert_string_equal(err.message, "version 2: the artifact store is away");
    managed_assert_version("m", "", 1);
    managed_files("m", 2, "ok");
    fake_fail_fetch(SW_OK);
    managed_want("m", "live=2");
    managed_assert_version("m", "", 2);
}

static void what_cannot_be_followed_is_refused(void **state) {
    struct sw_served_version versions[] = {{.number = 1}, {.number = 0}};
    struct sw_served_model wanted = {.name = "m", .live = 2, .versions = versions, .version_count = 1};
    struct sw_error err;
    assert_int_equal(sw_repository_follow(managed_repository, &wanted, NULL, NULL, &err), SW_E_INVALID_ARGUMENT);
    assert_string_equal(err.message, "model 'm': version 2 is to be live and not to be loaded");
    wanted.live = 1;
    wanted.version_count = 2;
    assert_int_equal(sw_repository_follow(managed_repository, &wanted, NULL, NULL, &err), SW_E_INVALID_ARGUMENT);
    managed_assert_index("");
}

/* ---- order ---- */

static void loading_is_seen_and_the_old_one_serves(void **state) {
    good("m", 2);
    managed_want("m", "live=1 champion:1");
    fake_close_gate();
    managed_begin("m", "live=2 champion:2");
    fake_wait_started(2);
    managed_assert_index("m/1 READY live\nm/2 LOADING\n");
    managed_assert_version("m", "", 1);
    managed_assert_version("m", "champion", 1);
    managed_assert_refused("m", "2", SW_E_UNAVAILABLE, "model 'm' version 2 is LOADING");
    fake_open_gate();
    managed_settle();
    managed_assert_index("m/2 READY live\n");
    managed_assert_version("m", "champion", 2);
}

static void live_is_loaded_first(void **state) {
    good("m", 3);
    fake_close_gate();
    managed_begin("m", "live=2 1! 2! 3!");
    fake_wait_started(1);
    assert_true(sw_repository_ready(managed_repository)); /* a new model does not take the others out of traffic */
    assert_int_equal(fake_counts().version, 2);
    fake_open_gate();
    managed_settle();
    managed_assert_index("m/1 READY\nm/2 READY live\nm/3 READY\n");
}

/* While one loads, newer wishes come: only the newest counts, and what only older ones wanted is not loaded. */
static void the_newest_wish_wins(void **state) {
    good("m", 6);
    managed_want("m", "live=1");
    fake_close_gate();
    managed_begin("m", "live=2 6!");
    fake_wait_started(2);
    managed_begin("m", "live=3");
    managed_begin("m", "live=4 6!");
    managed_begin("m", "live=5");
    managed_assert_version("m", "", 1);
    fake_open_gate();
    managed_settle();
    managed_assert_index("m/5 READY live\n");
    assert_int_equal(fake_counts().loaded, 3); /* 1, 2 and 5 */
}

/* What an older wish wanted live does not become live for a moment, when a newer one has come. */
static void an_old_wish_never_points(void **state) {
    good("m", 3);
    managed_want("m", "live=1 champion:1");
    fake_close_gate();
    managed_begin("m", "live=2 champion:2");
    fake_wait_started(2);
    managed_begin("m", "live=1 champion:1 3!"); /* taken back */
    fake_let_through(1);
    fake_wait_started(3); /* the loader has ended with 2, and is at 3 */
    managed_assert_version("m", "", 1);
    managed_assert_version("m", "champion", 1);
    fake_open_gate();
    managed_settle();
    managed_assert_index("m/1 READY live\nm/3 READY\n");
}

/* Pointers that need no load do not wait for the loader. */
static void what_is_loaded_becomes_live_at_once(void **state) {
    good("m", 2);
    good("slow", 1);
    managed_want("m", "live=2 1! champion:2");
    fake_close_gate();
    managed_begin("slow", "live=1");
    fake_wait_started(3);
    managed_begin("m", "live=1 champion:1");
    managed_assert_version("m", "", 1); /* the loader is still at the slow one */
    managed_assert_version("m", "champion", 1);
    managed_assert_version("m", "2", 2);
    fake_open_gate();
    managed_settle();
    managed_assert_index("m/1 READY live\nslow/1 READY live\n");
}

/* ---- warm versions ---- */

static void rollback_to_a_warm_version_loads_nothing(void **state) {
    good("m", 2);
    managed_want("m", "live=1 champion:1");
    managed_want("m", "live=2 previous=1 champion:2");
    managed_assert_index("m/1 READY\nm/2 READY live\n");
    size_t started = fake_counts().started;
    managed_want("m", "live=1 champion:1"); /* rolled back */
    managed_assert_version("m", "", 1);
    managed_assert_version("m", "champion", 1);
    managed_want("m", "live=2 previous=1 champion:2"); /* and forward */
    managed_assert_version("m", "", 2);
    assert_int_equal(fake_counts().started, started);
}

static void a_warm_version_goes_when_its_time_is_over(void **state) {
    good("m", 2);
    managed_want("m", "live=1");
    assert_true(sw_repository_tick(managed_repository) == UINT64_MAX);
    managed_want("m", "live=2 previous=1");
    uint64_t due = sw_now_ns(&managed_clock) + UINT64_C(1000000) * KEEP_MS;
    sw_clock_manual_advance(&managed_clock, UINT64_C(1000000) * KEEP_MS - 1);
    assert_true(sw_repository_tick(managed_repository) == due);
    managed_settle();
    managed_assert_index("m/1 READY\nm/2 READY live\n");
    sw_clock_manual_advance(&managed_clock, 1);
    (void)sw_repository_tick(managed_repository);
    managed_settle();
    managed_assert_index("m/2 READY live\n");
    assert_true(sw_repository_tick(managed_repository) == UINT64_MAX);
    assert_int_equal(fake_counts().unfetched, 1);
}

static void only_the_last_one_and_the_rollback_target_are_warm(void **state) {
    good("m", 4);
    managed_want("m", "live=1");
    managed_want("m", "live=2 previous=1");
    managed_want("m", "live=3 previous=2");
    managed_assert_index("m/2 READY\nm/3 READY live\n");
    managed_want("m", "live=4 previous=2"); /* 3 was taken back before: a rollback would bring 2 */
    managed_assert_index("m/2 READY\nm/3 READY\nm/4 READY live\n");
}

static void a_warm_version_that_is_wanted_stays(void **state) {
    good("m", 2);
    managed_want("m", "live=1");
    managed_want("m", "live=2 1");
    sw_clock_manual_advance(&managed_clock, UINT64_C(2000000) * KEEP_MS);
    (void)sw_repository_tick(managed_repository);
    managed_settle();
    managed_assert_index("m/1 READY\nm/2 READY live\n");
}

static void several_expire_at_different_times(void **state) {
    good("a", 2);
    good("b", 2);
    managed_want("a", "live=1");
    managed_want("b", "live=1");
    managed_want("a", "live=2 previous=1");
    sw_clock_manual_advance(&managed_clock, UINT64_C(1000000) * KEEP_MS / 2);
    managed_want("b", "live=2 previous=1");
    sw_clock_manual_advance(&managed_clock, UINT64_C(1000000) * KEEP_MS / 2);
    (void)sw_repository_tick(managed_repository);
    managed_settle();
    managed_assert_index("a/2 READY live\nb/1 READY\nb/2 READY live\n");
    assert_true(sw_repository_tick(managed_repository) == sw_now_ns(&managed_clock) + UINT64_C(1000000) * KEEP_MS / 2);
    sw_clock_manual_advance(&managed_clock, UINT64_C(1000000) * KEEP_MS / 2);
    (void)sw_repository_tick(managed_repository);
    managed_settle();
    managed_assert_index("a/2 READY live\nb/2 READY live\n");
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define WARM(name) cmocka_unit_test_setup_teardown(name, setup_warm, teardown)
    const struct CMUnitTest tests[] = {
        CASE(versions_by_number_alias_and_none),
        CASE(every_alias_of_many_is_found),
        CASE(no_version_is_live),
        CASE(an_alias_that_the_policy_leaves_out),
        CASE(what_is_not_wanted_any_more_goes),
        CASE(wanted_again_while_it_drains),
        CASE(a_failed_candidate_keeps_the_old_one_live),
        CASE(back_to_the_old_one_after_a_failed_candidate),
        CASE(the_first_live_version_cannot_be_loaded),
        CASE(the_first_failure_is_the_outcome_and_others_load),
        CASE(files_that_cannot_be_fetched),
        CASE(what_cannot_be_followed_is_refused),
        CASE(loading_is_seen_and_the_old_one_serves),
        CASE(live_is_loaded_first),
        CASE(the_newest_wish_wins),
        CASE(an_old_wish_never_points),
        CASE(what_is_loaded_becomes_live_at_once),
        WARM(rollback_to_a_warm_version_loads_nothing),
        WARM(a_warm_version_goes_when_its_time_is_over),
        WARM(only_the_last_one_and_the_rollback_target_are_warm),
        WARM(a_warm_version_that_is_wanted_stays),
        WARM(several_expire_at_different_times),
    };
    return cmocka_run_group_tests_name("rollout/follow", tests, NULL, NULL);
}
