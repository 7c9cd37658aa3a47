/* Models from files that stand in until the registry has one of their name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "managed.h"

enum { KEEP_MS = 60000 };

static int setup(void **state) {
    managed_create(KEEP_MS, 0);
    folder_write("files/m.model", "ok");
    return 0;
}

static int teardown(void **state) {
    managed_destroy();
    return 0;
}

static void add(void) {
    struct sw_error err;
    const char *name;
    assert_int_equal(sw_repository_add_stand_in(managed_repository, folder_path("files/m.model"), &name, &err), SW_OK);
    assert_string_equal(name, "m");
}

static void add_and_load(void) {
    struct sw_error err;
    add();
    assert_int_equal(sw_repository_load_wait(managed_repository, SW_STR("m"), &err), SW_OK);
    managed_settle(); /* the job is counted until a moment after its outcome */
    managed_assert_index("m/1 READY live\n");
}

/* What serves "m" is the model from the file: the one held by the caller. */
static bool still(const struct sw_model *held) {
    struct sw_model *now = managed_acquire("m", "");
    bool same = now == held;
    managed_release(now);
    return same;
}

static void serves_while_the_registry_has_none(void **state) {
    add();
    managed_assert_index("m/1 UNAVAILABLE not loaded\n");
    assert_false(sw_repository_ready(managed_repository)); /* it is to come, from here or from the registry */
    assert_int_equal(sw_repository_load_wait(managed_repository, SW_STR("m"), NULL), SW_OK);
    managed_settle();
    assert_true(sw_repository_ready(managed_repository));
    managed_assert_version("m", "", 1);
    assert_false(sw_repository_is_managed(managed_repository, SW_STR("m")));
    managed_want("m", "deleted"); /* nothing of the registry's */
    managed_files("m", 4, "ok");
    managed_want("m", "4! challenger:4"); /* known there, but not live */
    managed_assert_index("m/1 READY live\n");
    assert_int_equal(fake_counts().loaded, 1);
}

static void gives_way_without_a_gap(void **state) {
    add_and_load();
    struct sw_model *held = managed_acquire("m", "");
    managed_files("m", 3, "ok");
    fake_close_gate();
    managed_begin("m", "live=3 champion:3");
    fake_wait_started(2);
    assert_true(still(held));
    assert_true(sw_repository_is_managed(managed_repository, SW_STR("m")));
    fake_open_gate();
    managed_settle();
    managed_assert_version("m", "", 3);
    managed_assert_version("m", "champion", 3);
    /* Not kept warm: a rollback of the registry never leads to it. */
    assert_int_equal(managed_version_of("m", "1", NULL), -SW_E_NOT_FOUND);
    managed_release(held);
    fake_wait_unloaded(1);
    managed_settle();
    managed_assert_index("m/3 READY live\n");
}

static void the_same_number_is_another_model(void **state) {
    add_and_load();
    struct sw_model *held = managed_acquire("m", "");
    managed_files("m", 1, "ok");
    fake_close_gate();
    managed_begin("m", "live=1 1!#abc");
    fake_wait_started(2);
    assert_true(still(held));
    fake_open_gate();
    managed_settle();
    assert_false(still(held));
    managed_assert_version("m", "", 1);
    managed_release(held);
    fake_wait_unloaded(1);
    managed_settle();
    managed_files("m", 2, "ok");
    managed_want("m", "live=2 1!#abc");
    managed_want("m", "live=1 1!#abc previous=2");
    managed_assert_index("m/1 READY live\nm/2 READY\n"); /* warm, as any */
    assert_int_equal(fake_counts().loaded, 3);
}

static void the_same_number_without_a_digest(void **state) {
    add_and_load();
    struct sw_model *held = managed_acquire("m", "");
    managed_files("m", 1, "ok");
    managed_want("m", "live=1");
    assert_false(still(held));
    managed_release(held);
    fake_wait_unloaded(1);
    managed_settle();
}

static void stays_when_the_registrys_does_not_load(void **state) {
    add_and_load();
    struct sw_model *held = managed_acquire("m", "");
    managed_files("m", 2, "broken");
    assert_int_equal(managed_follow("m", "live=2", NULL), SW_E_MODEL_INVALID);
    assert_true(still(held));
    managed_assert_index("m/1 READY live still live: version 2 could not be loaded: broken\nm/2 UNAVAILABLE broken\n");
    managed_release(held);
    managed_files("m", 2, "ok");
    managed_want("m", "live=2");
    managed_assert_index("m/2 READY live\n");
}

static void never_loaded_when_the_registry_is_first(void **state) {
    add();
    managed_files("m", 2, "ok");
    managed_want("m", "live=2");
    managed_assert_index("m/2 READY live\n");
    assert_int_equal(fake_counts().loaded, 1);
    assert_true(sw_repository_ready(managed_repository));
    assert_int_equal(sw_repository_load_wait(managed_repository, SW_STR("m"), NULL), SW_OK); /* of the registry's */
    assert_int_equal(fake_counts().loaded, 1);
}

static void waits_for_its_own_load(void **state) {
    struct sw_error err;
    add();
    managed_files("m", 2, "ok");
    fake_close_gate();
    assert_int_equal(sw_repository_load(managed_repository, SW_STR("m"), NULL, NULL, &err), SW_OK);
    fake_wait_started(1);
    assert_int_equal(managed_follow("m", "live=2", &err), SW_E_UNAVAILABLE);
    assert_string_equal(err.message, "model 'm': what stands in for it is being loaded");
    fake_open_gate();
    assert_int_equal(sw_repository_load_wait(managed_repository, SW_STR("m"), NULL), SW_OK);
    managed_settle();
    managed_want("m", "live=2");
    managed_assert_index("m/2 READY live\n");
}

static void does_not_come_back(void **state) {
    add_and_load();
    managed_files("m", 2, "ok");
    managed_want("m", "live=2");
    managed_want("m", "deleted");
    managed_assert_index("");
}

static void broken_itself(void **state) {
    folder_write("files/m.model", "no good");
    add();
    assert_int_equal(sw_repository_load_wait(managed_repository, SW_STR("m"), NULL), SW_E_MODEL_INVALID);
    managed_settle();
    assert_true(sw_repository_ready(managed_repository));
    managed_assert_index("m/1 UNAVAILABLE no good\n");
    managed_files("m", 2, "ok");
    managed_want("m", "live=2");
    managed_assert_index("m/2 READY live\n");
}

static void another_of_the_name_is_refused(void **state) {
    struct sw_error err;
    managed_files("m", 2, "ok");
    managed_want("m", "live=2");
    assert_int_equal(sw_repository_add_stand_in(managed_repository, folder_path("files/m.model"), NULL, &err),
                     SW_E_CONFLICT);
    managed_assert_index("m/2 READY live\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(serves_while_the_registry_has_none, setup, teardown),
        cmocka_unit_test_setup_teardown(gives_way_without_a_gap, setup, teardown),
        cmocka_unit_test_setup_teardown(the_same_number_is_another_model, setup, teardown),
        cmocka_unit_test_setup_teardown(the_same_number_without_a_digest, setup, teardown),
        cmocka_unit_test_setup_teardown(stays_when_the_registrys_does_not_load, setup, teardown),
        cmocka_unit_test_setup_teardown(never_loaded_when_the_registry_is_first, setup, teardown),
        cmocka_unit_test_setup_teardown(waits_for_its_own_load, setup, teardown),
        cmocka_unit_test_setup_teardown(does_not_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(broken_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(another_of_the_name_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
