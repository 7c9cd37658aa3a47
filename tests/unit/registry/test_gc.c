/* gc: what goes, what stays, what a run that died leaves behind, holds. */
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

#include "registry/holds.h"
#include "world.h"

enum { HOUR_S = 3600, DAY_S = 24 * HOUR_S };

static void wait_s(uint64_t seconds) {
    sw_clock_manual_advance(&world.clock, seconds * 1000000000u);
}

static int set_time(const char *path, const struct stat *st, int kind, struct FTW *ftw) {
    time_t now = (time_t)(world.clock.wall_ms(&world.clock) / 1000);
    const struct timespec times[2] = {{.tv_sec = now}, {.tv_sec = now}};
    return kind == FTW_F ? utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW) : 0;
}

/* Files carry the time of the machine: as if they had been written now by this test's clock. */
static void files_are_of_now(void) {
    assert_int_equal(nftw(world.dir, set_time, 16, FTW_PHYS), 0);
}

/* A run; the count of blobs that went, or would. */
static int64_t run_gc(unsigned days, bool dry_run) {
    json_t *result = NULL;
    assert_sw_ok(sw_registry_gc(world.registry, &someone, days, dry_run, &result, err));
    int64_t count = json_integer_value(json_object_get(json_object_get(result, "blobs"), "count"));
    size_t items = 0, i;
    json_t *item;
    json_array_foreach(json_object_get(result, "items"), i, item) {
        items += strcmp(json_string_value(json_object_get(item, "kind")), "blob") == 0;
    }
    assert_int_equal(items, count);
    json_decref(result);
    return count;
}

static bool is_there(const struct sw_version_file *file) {
    struct sw_blob blob;
    struct sw_error err;
    sw_status status = sw_artifacts_stat(world.artifacts, &file->digest, &blob, &err);
    assert_true(status == SW_OK || status == SW_E_NOT_FOUND);
    return status == SW_OK;
}

static void execute(const char *sql, const char *text) {
    struct sw_tx *tx;
    assert_sw_ok(sw_store_begin(world.store, SW_TX_WRITE, &tx, err));
    assert_sw_ok(sw_tx_exec(tx, sql, SW_PARAMS(sw_v_text(text)), NULL, err));
    assert_sw_ok(sw_tx_commit(tx, err));
}

static int64_t count_blobs(void) {
    struct sw_tx *tx;
    struct sw_arena arena;
    struct sw_rows rows;
    sw_arena_init(&arena, 0, 0);
    assert_sw_ok(sw_store_begin(world.store, SW_TX_READ, &tx, err));
    assert_sw_ok(sw_tx_query(tx, "SELECT COUNT(*) FROM blobs", SW_NO_PARAMS, &arena, &rows, err));
    int64_t count = sw_rows_int(&rows, 0, 0);
    sw_tx_rollback(tx);
    sw_arena_deinit(&arena);
    return count;
}

static void what_versions_need_stays(void **state) {
    struct sw_version_file model = world_file("model.fake.json", model_text(4, ""));
    struct sw_version_file both[2] = {model, world_file("note.txt", "shared")};
    struct sw_version_file alone = world_file("left.txt", "nobody needs this");
    assert_sw_ok(world_push_files("m", both, 2, err));
    assert_sw_ok(world_push_files("m", &model, 1, err));
    wait_s(100 * DAY_S);
    assert_int_equal(run_gc(30, true), 1);
    assert_true(is_there(&alone)); /* a dry run removes nothing */
    assert_int_equal(run_gc(30, false), 1);
    assert_false(is_there(&alone));
    assert_true(is_there(&model) && is_there(&both[1]));
    assert_int_equal(run_gc(30, false), 0);
    assert_sw_ok(sw_registry_delete_version(world.registry, &someone, "m", "1", err));
    assert_int_equal(run_gc(30, false), 0); /* its time begins now */
    wait_s(31 * DAY_S);
    assert_int_equal(run_gc(30, false), 1);
    assert_true(is_there(&model)); /* version 2 has it too */
    assert_false(is_there(&both[1]));
}

static void a_run_is_audited_only_when_something_goes(void **state) {
    struct sw_version_file alone = world_file("left.txt", "nobody needs this");
    int64_t before = world_audit_rows();
    assert_int_equal(run_gc(30, false), 0);
    assert_int_equal(world_audit_rows(), before);
    wait_s(31 * DAY_S);
    assert_int_equal(run_gc(30, false), 1);
    assert_int_equal(world_audit_rows(), before + 1);
    json_t *row = world_audit_newest();
    assert_json(json_object_get(row, "action"), "'registry.gc'");
    json_decref(row);
    assert_false(is_there(&alone));
}

/* The grace is that of pushes under way: an hour in this world. */
static void young_files_stay_whatever_days_is(void **state) {
    struct sw_version_file file = world_file("model.fake.json", model_text(4, ""));
    wait_s(HOUR_S - 1);
    assert_int_equal(run_gc(0, false), 0);
    assert_true(is_there(&file));
    bool known = false;
    uint64_t size;
    assert_sw_ok(
        sw_registry_has_blob(world.registry, &file.digest, &known, &size, err)); /* a push that uses it again */
    assert_true(known);
    wait_s(HOUR_S - 1);
    assert_int_equal(run_gc(0, false), 0);
    wait_s(1);
    assert_int_equal(run_gc(0, false), 1);
    assert_false(is_there(&file));
    assert_sw_ok(sw_registry_has_blob(world.registry, &file.digest, &known, &size, err));
    assert_false(known);
}

/* A crash between file and row leaves a file that the database does not know. */
static void unknown_files_go_when_they_are_old(void **state) {
    struct sw_version_file file = world_file("left.txt", "a file without a row");
    execute("DELETE FROM blobs WHERE digest = $1", file.digest.hex);
    files_are_of_now();
    wait_s(30 * DAY_S - 1);
    assert_int_equal(run_gc(30, false), 0);
    assert_true(is_there(&file));
    wait_s(1);
    assert_int_equal(run_gc(30, true), 1);
    assert_true(is_there(&file));
    assert_int_equal(run_gc(30, false), 1);
    assert_false(is_there(&file));
}

/* A run that died after it had decided. */
static void marked_blobs_cannot_be_used_and_go(void **state) {
    struct sw_version_file file = world_file("model.fake.json", model_text(4, ""));
    execute("UPDATE blobs SET state = 'deleting' WHERE digest = $1", file.digest.hex);
    assert_sw_fails(world_push_files("m", &file, 1, err), SW_E_CONFLICT, "");
    assert_int_equal(run_gc(30, false), 0); /* decided before; removed all the same */
    assert_false(is_there(&file));
    world_file("model.fake.json", model_text(4, "")); /* uploaded again */
    assert_sw_ok(world_push_files("m", &file, 1, err));
}

static void a_hold_keeps_everything(void **state) {
    struct sw_version_file file = world_file("left.txt", "nobody needs this");
    struct sw_hold hold;
    wait_s(100 * DAY_S);
    assert_sw_ok(sw_hold_take(world.store, &world.clock, "backup", "process 7", &hold, err));
    json_t *result = NULL;
    assert_sw_fails(sw_registry_gc(world.registry, &someone, 30, false, &result, err), SW_E_CONFLICT,
                    "a backup is running (process 7)");
    wait_s(2400);
    assert_sw_ok(sw_hold_renew(&hold, err));
    wait_s(2400); /* longer than it lasts without being renewed */
    assert_sw_fails(sw_registry_gc(world.registry, &someone, 30, false, &result, err), SW_E_CONFLICT, "a backup");
    assert_true(is_there(&file));
    assert_sw_ok(sw_hold_drop(&hold, err));
    assert_int_equal(run_gc(30, false), 1);
}

static void a_hold_of_a_dead_process_runs_out(void **state) {
    struct sw_hold hold;
    world_file("left.txt", "nobody needs this");
    wait_s(100 * DAY_S);
    assert_sw_ok(sw_hold_take(world.store, &world.clock, "backup", "process 7", &hold, err));
    wait_s(3601);
    assert_int_equal(run_gc(30, false), 1);
    assert_sw_fails(sw_hold_renew(&hold, err), SW_E_CONFLICT, "run out");
}

static void old_uploads_go(void **state) {
    char id[SW_UPLOAD_ID + 1];
    struct sw_upload_info info;
    json_t *result = NULL;
    assert_sw_ok(sw_upload_create(world.artifacts, 100, NULL, id, err));
    files_are_of_now();
    wait_s(31 * DAY_S);
    assert_sw_ok(sw_registry_gc(world.registry, &someone, 30, true, &result, err));
    assert_json(json_object_get(json_object_get(result, "uploads"), "count"), "1");
    json_t *item = json_array_get(json_object_get(result, "items"), 0);
    assert_json(json_object_get(item, "kind"), "'upload'");
    assert_string_equal(json_string_value(json_object_get(item, "id")), id);
    json_decref(result);
    assert_sw_ok(sw_upload_stat(world.artifacts, sw_str_of(id), &info, err));
    assert_sw_ok(sw_registry_gc(world.registry, &someone, 30, false, &result, err));
    json_decref(result);
    assert_sw_fails(sw_upload_stat(world.artifacts, sw_str_of(id), &info, err), SW_E_NOT_FOUND, "");
}

static void many_blobs(void **state) {
    enum { COUNT = 1200 };
    for (int i = 0; i < COUNT; i++) {
        char text[32];
        snprintf(text, sizeof text, "file %d", i);
        struct sw_version_file file = world_file("x", text);
        if (i % 3 == 0) {
            execute("DELETE FROM blobs WHERE digest = $1", file.digest.hex);
        }
    }
    files_are_of_now();
    wait_s(31 * DAY_S);
    json_t *result = NULL;
    assert_sw_ok(sw_registry_gc(world.registry, &someone, 30, false, &result, err));
    assert_json(json_object_get(json_object_get(result, "blobs"), "count"), "1200");
    assert_json(json_object_get(json_object_get(result, "kept"), "blobs"), "0");
    assert_int_equal(json_array_size(json_object_get(result, "items")), 1000); /* a list for people */
    json_decref(result);
}

static uint64_t (*real_ns)(struct sw_clock *clock);

/* gc looks at this clock while it removes files. */
static uint64_t stop_and_tell_ns(struct sw_clock *clock) {
    sw_registry_stop(world.registry);
    return real_ns(clock);
}

static void a_run_ends_with_the_server(void **state) {
    enum { COUNT = 600 }; /* more than are removed in one step */
    struct sw_version_file last;
    for (int i = 0; i < COUNT; i++) {
        char text[32];
        snprintf(text, sizeof text, "file %d", i);
        last = world_file("x", text);
        execute("UPDATE blobs SET state = 'deleting' WHERE digest = $1", last.digest.hex);
    }
    json_t *result = NULL;
    real_ns = world.clock.monotonic_ns;
    world.clock.monotonic_ns = stop_and_tell_ns;
    assert_sw_fails(sw_registry_gc(world.registry, &someone, 30, false, &result, err), SW_E_UNAVAILABLE,
                    "shutting down");
    world.clock.monotonic_ns = real_ns;
    int64_t kept = count_blobs();
    assert_true(kept > 0 && kept <= COUNT);
    world_reopen();
    assert_int_equal(run_gc(30, false), 0); /* none is new */
    assert_int_equal(count_blobs(), 0);
    assert_false(is_there(&last));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_versions_need_stays, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(a_run_is_audited_only_when_something_goes, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(young_files_stay_whatever_days_is, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(unknown_files_go_when_they_are_old, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(marked_blobs_cannot_be_used_and_go, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(a_hold_keeps_everything, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(a_hold_of_a_dead_process_runs_out, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(old_uploads_go, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(many_blobs, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(a_run_ends_with_the_server, world_setup, world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
