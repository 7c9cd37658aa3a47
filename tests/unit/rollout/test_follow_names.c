/* Managed models over fake ones: names that come and go, and requests all the while. The rest is in test_follow.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>

#include "base/thread.h"
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

/* ---- names ---- */

static void a_deleted_model_is_unknown(void **state) {
    good("m", 2);
    managed_want("m", "live=1 2! a:2");
    struct sw_model *held = managed_acquire("m", "");
    managed_want("m", "deleted");
    managed_assert_refused("m", "", SW_E_NOT_FOUND, "model 'm' is not known");
    managed_assert_refused("m", "a", SW_E_NOT_FOUND, "model 'm' is not known");
    managed_assert_index("");
    struct sw_error err;
    assert_int_equal(sw_repository_load_wait(managed_repository, SW_STR("m"), &err), SW_E_NOT_FOUND);
    assert_string_equal(held->name, "m"); /* a request that began before goes on */
    assert_int_equal(fake_counts().unloaded, 1);
    managed_release(held);
    fake_wait_unloaded(2);
    managed_want("m", "deleted"); /* deleting what is not there succeeds */

    managed_want("m", "live=2"); /* the name may be used again */
    managed_assert_index("m/2 READY live\n");
}

static void jobs_for_a_model_that_was_deleted_meanwhile(void **state) {
    good("m", 1);
    good("slow", 1);
    managed_want("m", "live=1");
    fake_close_gate();
    managed_begin("slow", "live=1");
    fake_wait_started(2);
    managed_begin("m", "deleted");
    managed_begin("m", "deleted");
    assert_int_equal(sw_repository_load(managed_repository, SW_STR("m"), NULL, NULL, NULL), SW_OK);
    managed_assert_version("m", "", 1); /* until the loader comes to it */
    fake_open_gate();
    managed_settle();
    managed_assert_index("slow/1 READY live\n");
}

static void deleted_and_made_again_before_the_loader_looked(void **state) {
    good("m", 2);
    good("slow", 1);
    managed_want("m", "live=1");
    fake_close_gate();
    managed_begin("slow", "live=1");
    fake_wait_started(2);
    managed_begin("m", "deleted");
    managed_begin("m", "live=2");
    fake_open_gate();
    managed_settle();
    managed_assert_index("m/2 READY live\nslow/1 READY live\n");
}

static void a_renamed_model(void **state) {
    good("old", 2);
    good("new", 2);
    managed_want("old", "live=2 champion:2");
    managed_want("new", "live=2 champion:2"); /* the source gives the new name first */
    managed_want("old", "deleted");
    managed_assert_index("new/2 READY live\n");
    managed_assert_version("new", "champion", 2);
    assert_int_equal(managed_version_of("old", "", NULL), -SW_E_NOT_FOUND);
}

static void other_files_under_the_same_number(void **state) {
    good("m", 1);
    managed_want("m", "live=1 1!#aaa");
    struct sw_model *before = managed_acquire("m", "");
    managed_want("m", "live=1 1!#aaa");
    assert_int_equal(fake_counts().loaded, 1);
    managed_files("m", 1, "broken");
    assert_int_equal(managed_follow("m", "live=1 1!#bbb", NULL), SW_E_MODEL_INVALID);
    managed_assert_index("m/1 READY live still serving the files it had before, its new ones could not be loaded: "
                         "broken\n");
    managed_files("m", 1, "ok");
    managed_want("m", "live=1 1!#bbb");
    struct sw_model *after = managed_acquire("m", "");
    assert_ptr_not_equal(before, after);
    managed_release(before);
    managed_release(after);
    fake_wait_unloaded(1);
    managed_assert_index("m/1 READY live\n");
}

/* They are another thing: nothing becomes live at once because the number is loaded. */
static void other_files_do_not_become_live_at_once(void **state) {
    good("m", 2);
    managed_want("m", "live=1 1!#a 2!#b champion:1");
    fake_close_gate();
    managed_begin("m", "live=2 2!#c champion:2");
    managed_assert_version("m", "", 1);
    fake_wait_started(3);
    managed_assert_version("m", "champion", 1);
    fake_open_gate();
    managed_settle();
    managed_assert_version("m", "champion", 2);
    assert_int_equal(fake_counts().loaded, 3);
}

static void a_model_of_the_command_line_wins(void **state) {
    good("m", 1);
    folder_write("m.model", "ok");
    assert_int_equal(sw_repository_add(managed_repository, folder_path("m.model"), NULL, NULL), SW_OK);
    assert_int_equal(sw_repository_load_wait(managed_repository, SW_STR("m"), NULL), SW_OK);
    struct sw_error err;
    assert_int_equal(managed_follow("m", "live=1", &err), SW_E_CONFLICT);
    assert_non_null(strstr(err.message, folder_path("m.model")));
    managed_want("m", "deleted"); /* of the registry, not of ours */
    managed_assert_version("m", "", 1);
    assert_int_equal(sw_repository_unload_wait(managed_repository, SW_STR("m"), NULL), SW_OK);

    managed_files("n", 1, "ok");
    managed_want("n", "live=1");
    folder_write("n.model", "ok");
    assert_int_equal(sw_repository_add(managed_repository, folder_path("n.model"), NULL, &err), SW_E_CONFLICT);
    assert_non_null(strstr(err.message, "the registry's"));
}

static void unload_by_hand_is_refused(void **state) {
    good("m", 1);
    managed_want("m", "live=1");
    struct sw_error err;
    assert_int_equal(sw_repository_unload_wait(managed_repository, SW_STR("m"), &err), SW_E_CONFLICT);
    assert_non_null(strstr(err.message, "change its alias or its version policy"));
    managed_assert_version("m", "", 1);
    assert_int_equal(sw_repository_load_wait(managed_repository, SW_STR("m"), NULL), SW_OK);
    assert_int_equal(fake_counts().loaded, 1); /* there was nothing to do */
}

static void destroyed_while_it_loads(void **state) {
    good("m", 3);
    managed_want("m", "live=1");
    fake_close_gate();
    managed_begin("m", "live=2 3!");
    fake_wait_started(2);
    fake_open_gate();
    /* teardown destroys it, and checks that everything went back */
}

/* ---- requests all the while ---- */

enum { READERS = 3, SWAPS = 120 };

struct reader {
    pthread_t thread;
    atomic_bool *stop;
    atomic_size_t got;
};

static int64_t get(const char *version) {
    struct sw_model *model;
    struct sw_error err;
    sw_status status = sw_repository_acquire(managed_repository, SW_STR("m"), sw_str_of(version), &model, &err);
    if (status) {
        fprintf(stderr, "a request failed: %s\n", err.message);
    }
    SW_ASSERT(status == SW_OK); /* not one request fails */
    int64_t number = model->version;
    sw_repository_release(managed_repository, model);
    return number;
}

/* Live versions only grow, and the alias moves with them: what is read later is never older, whichever way it is
 * read. */
static void *read_loop(void *arg) {
    struct reader *reader = arg;
    int64_t last = 0;
    while (!atomic_load(reader->stop)) {
        int64_t first = get("champion"), second = get(""), third = get("champion");
        SW_ASSERT(last <= first && first <= second && second <= third);
        last = third;
        if (atomic_fetch_add(&reader->got, 1) % 16 == 0) {
            sched_yield();
        }
    }
    return NULL;
}

static void swap_under_readers(void) {
    char wish[100];
    for (int64_t i = 1; i <= SWAPS; i++) {
        managed_files("m", i, i % 5 == 0 ? "broken" : "ok");
    }
    managed_want("m", "live=1 champion:1");
    atomic_bool stop = false;
    struct reader readers[READERS];
    for (size_t i = 0; i < READERS; i++) {
        readers[i].stop = &stop;
        atomic_init(&readers[i].got, 0);
        assert_int_equal(sw_thread_start(&readers[i].thread, "reader", 0, read_loop, &readers[i], NULL), SW_OK);
        while (atomic_load(&readers[i].got) == 0) {
            sched_yield();
        }
    }
    for (int i = 2; i <= SWAPS; i++) {
        snprintf(wish, sizeof wish, "live=%d previous=%d champion:%d", i, i - 1, i);
        assert_int_equal(managed_follow("m", wish, NULL), i % 5 == 0 ? SW_E_MODEL_INVALID : SW_OK);
    }
    atomic_store(&stop, true);
    for (size_t i = 0; i < READERS; i++) {
        pthread_join(readers[i].thread, NULL);
    }
    managed_assert_version("m", "", SWAPS - (SWAPS % 5 == 0));
    assert_int_equal(fake_counts().unloaded_elsewhere, 0);
}

static void a_swap_fails_no_request(void **state) {
    swap_under_readers();
}

static void a_swap_with_warm_versions_fails_no_request(void **state) {
    swap_under_readers();
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define WARM(name) cmocka_unit_test_setup_teardown(name, setup_warm, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_deleted_model_is_unknown),
        CASE(jobs_for_a_model_that_was_deleted_meanwhile),
        CASE(deleted_and_made_again_before_the_loader_looked),
        CASE(a_renamed_model),
        CASE(other_files_under_the_same_number),
        CASE(other_files_do_not_become_live_at_once),
        CASE(a_model_of_the_command_line_wins),
        CASE(unload_by_hand_is_refused),
        CASE(destroyed_while_it_loads),
        CASE(a_swap_fails_no_request),
        WARM(a_swap_with_warm_versions_fails_no_request),
    };
    return cmocka_run_group_tests_name("rollout/follow_names", tests, NULL, NULL);
}
