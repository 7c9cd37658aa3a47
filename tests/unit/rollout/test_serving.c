/* The sync thread's steps over a fake registry, by hand and with a clock that is turned by hand; then the thread
 * itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include "base/log.h"
#include "fake_source.h"
#include "managed.h"
#include "rollout/serving.h"
#include "rollout/serving_internal.h"

#define MS UINT64_C(1000000)

/* ---- set-up */

static struct sw_serving *serving;

static struct sw_serving_options options(void) {
    return (struct sw_serving_options){
        .repository = managed_repository,
        .source = fake_source(),
        .retry_min_ms = 100,
        .retry_max_ms = 400,
        .clock = &managed_clock,
    };
}

static void reset(void) {
    fake_source_reset();
    sw_log_set_level(SW_LOG_OFF);
    managed_create(60000, 1000);
}

static int setup(void **state) {
    reset();
    struct sw_serving_options o = options();
    serving = serving_create(&o);
    return 0;
}

static int teardown(void **state) {
    serving_unref(serving);
    managed_destroy();
    return 0;
}

/* A step, and the end of everything that it asked for. */
static uint64_t step(void) {
    uint64_t wait_ns = serving_step(serving);
    managed_settle();
    return wait_ns;
}

static uint64_t woken_step(void) {
    sw_serving_wake(serving);
    return step();
}

static void advance(uint64_t ms) {
    sw_clock_manual_advance(&managed_clock, ms * MS);
}

/* ---- following */

static void the_first_look(void **state) {
    managed_files("a", 1, "ok");
    managed_files("b", 2, "ok");
    fake_source_change("a", "live=1 champion:1");
    fake_source_change("b", "live=2");
    struct sw_error err;
    assert_int_equal(sw_serving_health(serving, &err), SW_E_UNAVAILABLE);
    assert_string_equal(err.message, "the registry has not been read yet");
    assert_false(sw_serving_ready(serving));
    assert_int_equal(sw_serving_revision(serving), 0);
    step();
    assert_int_equal(sw_serving_health(serving, &err), SW_OK);
    assert_true(sw_serving_ready(serving));
    assert_int_equal(sw_serving_revision(serving), 2);
    managed_assert_version("a", "champion", 1);
    managed_assert_version("b", "", 2);
}

static void an_empty_registry_is_ready(void **state) {
    step();
    assert_true(sw_serving_ready(serving));
    assert_int_equal(sw_serving_revision(serving), 0);
    assert_int_equal(sw_serving_health(serving, NULL), SW_OK);
}

static void nothing_is_read_without_a_wake(void **state) {
    step();
    fake_source_change("a", "live=1");
    managed_files("a", 1, "ok");
    for (int i = 0; i < 5; i++) {
        advance(2000);
        step();
    }
    assert_int_equal(fake_source_looks(), 1);
    woken_step();
    assert_int_equal(fake_source_looks(), 2);
    managed_assert_version("a", "", 1);
    assert_int_equal(sw_serving_revision(serving), 1);
}

static void the_revision_waits_for_the_loads(void **state) {
    managed_files("a", 1, "ok");
    managed_files("b", 1, "ok");
    fake_source_change("a", "live=1");
    step();
    fake_source_change("b", "live=1");
    fake_close_gate();
    sw_serving_wake(serving);
    (void)serving_step(serving);
    fake_wait_started(2);
    assert_int_equal(sw_serving_revision(serving), 1);
    fake_source_change("c", "");
    sw_serving_wake(serving);
    (void)serving_step(serving); /* asks for c, behind b */
    assert_int_equal(sw_serving_revision(serving), 1);
    assert_true(sw_serving_ready(serving));
    fake_open_gate();
    managed_settle();
    assert_int_equal(sw_serving_revision(serving), 3);
}

static void it_is_not_ready_before_the_first_loads_ended(void **state) {
    managed_files("a", 1, "broken");
    fake_source_change("a", "live=1");
    fake_close_gate();
    (void)serving_step(serving);
    fake_wait_started(1);
    assert_false(sw_serving_ready(serving));
    fake_open_gate();
    managed_settle();
    assert_true(sw_serving_ready(serving)); /* not well, but ended */
    assert_int_equal(sw_serving_revision(serving), 1);
}

static void a_rename_loads_the_new_name_first(void **state) {
    managed_files("old", 1, "ok");
    managed_files("new", 1, "ok");
    fake_source_change("old", "live=1");
    step();
    fake_source_change("old", "deleted");
    fake_source_change("new", "live=1");
    sw_serving_wake(serving);
    fake_close_gate();
    (void)serving_step(serving);
    fake_wait_started(2);
    managed_assert_version("old", "", 1);
    fake_open_gate();
    managed_settle();
    managed_assert_index("new/1 READY live\n");
    assert_int_equal(sw_serving_revision(serving), 3);
}

static void a_name_of_the_command_line_is_left_alone(void **state) {
    folder_write("a.model", "ok");
    assert_int_equal(sw_repository_add(managed_repository, folder_path("a.model"), NULL, NULL), SW_OK);
    assert_int_equal(sw_repository_load_wait(managed_repository, SW_STR("a"), NULL), SW_OK);
    managed_files("a", 7, "ok");
    managed_files("b", 1, "ok");
    fake_source_change("a", "live=7");
    fake_source_change("b", "live=1");
    step();
    managed_assert_version("a", "", 1);
    managed_assert_version("b", "", 1);
    assert_int_equal(sw_serving_revision(serving), 2);
    fake_source_change("a", "deleted");
    woken_step();
    managed_assert_version("a", "", 1);
    assert_int_equal(sw_serving_revision(serving), 3);
}

static void a_registry_that_went_back(void **state) {
    managed_files("a", 1, "ok");
    managed_files("a", 2, "ok");
    managed_files("b", 1, "ok");
    fake_source_change("a", "live=1");
    fake_source_change("a", "live=2");
    fake_source_change("b", "live=1");
    step();
    managed_assert_index("a/2 READY live\nb/1 READY live\n");
    fake_source_go_back(1, 1); /* b did not exist, a was at version 1 */
    fake_source_change("a", "live=1");
    woken_step();
    managed_assert_version("a", "", 1);
    assert_int_equal(managed_version_of("b", "", NULL), -SW_E_NOT_FOUND);
    assert_int_equal(sw_serving_revision(serving), 1);
    fake_source_change("a", "live=2");
    woken_step();
    managed_assert_version("a", "", 2);
}

/* ---- failures */

static void a_source_that_fails_and_recovers(void **state) {
    managed_files("a", 1, "ok");
    managed_files("a", 2, "ok");
    fake_source_change("a", "live=1");
    step();
    fake_source_fail(SW_E_UNAVAILABLE);
    fake_source_change("a", "live=2");
    assert_int_equal(woken_step(), 100 * MS);
    struct sw_error err;
    assert_int_equal(sw_serving_health(serving, &err), SW_E_UNAVAILABLE);
    assert_string_equal(err.message, "the database is away");
    managed_assert_version("a", "", 1); /* goes on from memory */
    assert_true(sw_serving_ready(serving));
    static const uint64_t delays_ms[] = {100, 200, 400, 400};
    size_t before = fake_source_looks();
    for (size_t i = 0; i < SW_COUNTOF(delays_ms); i++) {
        advance(delays_ms[i] - 1);
        assert_true(step() <= 1 * MS);
        assert_int_equal(fake_source_looks(), before + i);
        advance(1);
        step();
        assert_int_equal(fake_source_looks(), before + i + 1);
    }
    assert_int_equal(sw_serving_revision(serving), 1);
    fake_source_fail(SW_OK);
    advance(400);
    step();
    assert_int_equal(sw_serving_health(serving, NULL), SW_OK);
    managed_assert_version("a", "", 2);
    assert_int_equal(sw_serving_revision(serving), 2);
    fake_source_fail(SW_E_IO);
    assert_int_equal(woken_step(), 100 * MS); /* begins with the short delay again */
    fake_source_fail(SW_OK);
    woken_step(); /* the watcher sees the database again: no need to wait */
    assert_int_equal(sw_serving_health(serving, NULL), SW_OK);
}

static void a_load_that_may_pass_is_tried_again(void **state) {
    managed_files("a", 1, "ok");
    managed_files("a", 2, "ok");
    fake_source_change("a", "live=1");
    step();
    fake_fail_fetch(SW_E_UNAVAILABLE);
    fake_source_change("a", "live=2");
    woken_step();
    assert_int_equal(sw_serving_revision(serving), 2); /* its load has ended */
    static const uint64_t delays_ms[] = {100, 200, 400, 400};
    for (size_t i = 0; i < SW_COUNTOF(delays_ms); i++) {
        assert_true(step() <= delays_ms[i] * MS);
        advance(delays_ms[i] - 1);
        step();
        managed_assert_version("a", "", 1);
        if (i + 1 == SW_COUNTOF(delays_ms)) {
            fake_fail_fetch(SW_OK);
            step();
            managed_assert_version("a", "", 1); /* not before its time */
        }
        advance(1);
        step();
    }
    managed_assert_version("a", "", 2);
    managed_assert_index("a/1 READY\na/2 READY live\n"); /* the old one is warm */
    size_t fetched = fake_counts().fetched;
    advance(10000);
    step();
    assert_int_equal(fake_counts().fetched, fetched);
}

static void a_broken_model_is_not_tried_again(void **state) {
    managed_files("a", 1, "broken");
    fake_source_change("a", "live=1");
    step();
    for (int i = 0; i < 5; i++) {
        advance(1000);
        step();
    }
    assert_int_equal(fake_counts().started, 1);
    managed_files("a", 1, "ok");
    assert_int_equal(sw_repository_load_wait(managed_repository, SW_STR("a"), NULL), SW_OK); /* by hand */
    managed_assert_version("a", "", 1);
}

static void a_new_wish_ends_the_tries_for_the_old_one(void **state) {
    managed_files("a", 1, "ok");
    fake_source_change("a", "live=2");
    fake_fail_fetch(SW_E_IO);
    step();
    fake_fail_fetch(SW_OK);
    fake_source_change("a", "live=1");
    woken_step();
    size_t fetched = fake_counts().fetched;
    advance(1000);
    step();
    assert_int_equal(fake_counts().fetched, fetched);
    managed_assert_version("a", "", 1);

    fake_fail_fetch(SW_E_IO);
    fake_source_change("a", "live=2");
    woken_step();
    fake_source_change("a", "deleted");
    woken_step();
    fake_fail_fetch(SW_OK);
    advance(1000);
    step();
    managed_assert_index("");
}

static void a_new_wish_begins_with_the_short_delay(void **state) {
    managed_files("a", 2, "ok");
    fake_source_change("a", "live=1");
    fake_fail_fetch(SW_E_IO);
    step();
    for (int i = 0; i < 4; i++) {
        advance(400);
        step();
    }
    fake_source_change("a", "live=2");
    woken_step();
    fake_fail_fetch(SW_OK);
    advance(100);
    step();
    managed_assert_version("a", "", 2);
}

static void no_memory_now_but_later(void **state) {
    managed_files("a", 1, "ok");
    managed_files("b", 1, "ok");
    fake_source_change("a", "live=1 1!/800");
    fake_source_change("b", "live=1 1!/300");
    step();
    assert_int_equal(managed_version_of("b", "", NULL), -SW_E_UNAVAILABLE);
    fake_source_change("a", "deleted");
    woken_step();
    advance(100);
    step();
    managed_assert_version("b", "", 1);
}

/* ---- more than the loader's queue takes */

static size_t ended;

static void count_ended(void *arg, sw_status status, const struct sw_error *err) {
    ended++; /* loader thread; read after managed_settle */
}

static void a_full_queue_delays_and_loses_nothing(void **state) {
    managed_files("a", 1, "ok");
    managed_files("b", 1, "ok");
    managed_files("slow", 1, "ok");
    managed_want("slow", "live=1");
    managed_want("slow", "");
    size_t queued = 0;
    ended = 0;
    fake_close_gate();
    size_t started = fake_counts().started;
    struct sw_served_version one = {.number = 1, .pinned = true};
    struct sw_served_model slow = {.name = "other", .live = 1, .versions = &one, .version_count = 1};
    managed_files("other", 1, "ok");
    assert_int_equal(sw_repository_follow(managed_repository, &slow, NULL, NULL, NULL), SW_OK);
    fake_wait_started(started + 1);
    while (sw_repository_load(managed_repository, SW_STR("other"), count_ended, NULL, NULL) == SW_OK) {
        queued++;
    }
    fake_source_change("a", "live=1");
    fake_source_change("b", "live=1");
    assert_true(serving_step(serving) <= 100 * MS);
    assert_false(sw_serving_ready(serving));
    assert_int_equal(managed_version_of("a", "", NULL), -SW_E_NOT_FOUND);
    fake_open_gate();
    while (fake_counts().loaded < 2) { /* of "other": the queue empties from here on */
        sched_yield();
    }
    while (!sw_serving_ready(serving)) {
        advance(100);
        (void)serving_step(serving);
        sched_yield();
    }
    managed_settle();
    assert_int_equal(ended, queued);
    managed_assert_version("a", "", 1);
    managed_assert_version("b", "", 1);
    assert_int_equal(sw_serving_revision(serving), 2);
}

/* ---- time */

static void the_step_lets_warm_versions_go(void **state) {
    managed_files("a", 1, "ok");
    managed_files("a", 2, "ok");
    fake_source_change("a", "live=1");
    step();
    fake_source_change("a", "live=2 previous=1");
    woken_step();
    managed_assert_index("a/1 READY\na/2 READY live\n");
    advance(59999);
    assert_true(step() <= 1000 * MS);
    managed_assert_index("a/1 READY\na/2 READY live\n");
    advance(1);
    step();
    managed_assert_index("a/2 READY live\n");
}

/* ---- the thread */

static void wait_for_revision(struct sw_serving *s, int64_t revision) {
    while (sw_serving_revision(s) < revision) {
        sched_yield();
    }
}

static void with_its_thread(void **state) {
    struct sw_serving_options o = options();
    o.clock = NULL;
    o.retry_min_ms = 1;
    o.retry_max_ms = 4;
    struct sw_serving *s;
    managed_files("a", 1, "ok");
    managed_files("a", 2, "ok");
    fake_source_change("a", "live=1 champion:1");
    assert_int_equal(sw_serving_start(&o, &s, NULL), SW_OK);
    wait_for_revision(s, 1);
    managed_assert_version("a", "champion", 1);
    for (int i = 0; i < 40; i++) {
        fake_source_change("a", i % 2 ? "live=1 champion:1" : "live=2 champion:2");
        sw_serving_wake(s);
        wait_for_revision(s, i + 2);
        managed_assert_version("a", "champion", i % 2 ? 1 : 2);
    }
    fake_source_fail(SW_E_UNAVAILABLE);
    sw_serving_wake(s);
    while (sw_serving_health(s, NULL) == SW_OK) {
        sched_yield();
    }
    fake_source_fail(SW_OK); /* nobody wakes it: it tries by itself */
    while (sw_serving_health(s, NULL) != SW_OK) {
        sched_yield();
    }
    sw_serving_stop(s);
}

static void stopped_while_models_load(void **state) {
    struct sw_serving_options o = options();
    struct sw_serving *s;
    managed_files("a", 1, "ok");
    managed_files("b", 1, "ok");
    fake_source_change("a", "live=1");
    fake_source_change("b", "live=1");
    fake_close_gate();
    assert_int_equal(sw_serving_start(&o, &s, NULL), SW_OK);
    fake_wait_started(1);
    sw_serving_stop(s); /* the outcomes come later, when nobody owns it any more */
    fake_open_gate();
    sw_serving_stop(NULL);
}

/* ---- what is logged */

static void failures_are_logged_once(void **state) {
    char name[] = "/tmp/slipway-log-XXXXXX", text[4096];
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    sw_log_set_fd(fd);
    sw_log_set_level(SW_LOG_INFO);
    managed_files("a", 1, "broken");
    fake_source_change("a", "live=1");
    fake_source_fail(SW_E_UNAVAILABLE);
    step();
    advance(100);
    step();
    fake_source_fail(SW_OK);
    advance(200);
    step();
    sw_log_set_level(SW_LOG_OFF);
    sw_log_set_fd(STDERR_FILENO);
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    assert_true(n > 0);
    text[n] = '\0';
    const char *first = strstr(text, "the registry cannot be read; serving goes on with what is loaded");
    assert_non_null(first);
    assert_non_null(strstr(first, "\"reason\":\"the database is away\""));
    assert_null(strstr(first + 1, "the registry cannot be read"));
    assert_non_null(strstr(first, "the registry can be read again"));
    const char *failed = strstr(first, "model cannot follow the registry");
    assert_non_null(failed);
    assert_non_null(strstr(failed, "\"model\":\"a\""));
    assert_non_null(strstr(failed, "version 1: broken"));
    close(fd);
    unlink(name);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(the_first_look),
        CASE(an_empty_registry_is_ready),
        CASE(nothing_is_read_without_a_wake),
        CASE(the_revision_waits_for_the_loads),
        CASE(it_is_not_ready_before_the_first_loads_ended),
        CASE(a_rename_loads_the_new_name_first),
        CASE(a_name_of_the_command_line_is_left_alone),
        CASE(a_registry_that_went_back),
        CASE(a_source_that_fails_and_recovers),
        CASE(a_load_that_may_pass_is_tried_again),
        CASE(a_broken_model_is_not_tried_again),
        CASE(a_new_wish_ends_the_tries_for_the_old_one),
        CASE(a_new_wish_begins_with_the_short_delay),
        CASE(no_memory_now_but_later),
        CASE(a_full_queue_delays_and_loses_nothing),
        CASE(the_step_lets_warm_versions_go),
        CASE(with_its_thread),
        CASE(stopped_while_models_load),
        CASE(failures_are_logged_once),
    };
    return cmocka_run_group_tests_name("rollout/serving", tests, NULL, NULL);
}
