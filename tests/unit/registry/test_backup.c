/* Backups: what they hold, that they are incremental, that damage is found, and that a restored registry is the same one. */
#include "registry/backup.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "world.h"

static char *set;       /* folder of the backups */
static char *elsewhere; /* data folder of the restored registry */
static struct sw_backup_options options;

static int setup(void **state) {
    int rc = world_setup(state);
    set = sw_path_join(world.dir, "backups");
    elsewhere = sw_path_join(world.dir, "elsewhere");
    options = (struct sw_backup_options){.directory = set, .clock = &world.clock};
    return rc;
}

static int teardown(void **state) {
    sw_free(set);
    sw_free(elsewhere);
    return world_teardown(state);
}

static json_t *make_backup(void) {
    json_t *manifest = NULL;
    assert_sw_ok(sw_backup_create(world.store, world.artifacts, &options, &manifest, err));
    sw_clock_manual_advance(&world.clock, 60 * UINT64_C(1000000000));
    return manifest;
}

static int64_t number(json_t *manifest, const char *key) {
    return json_integer_value(json_object_get(manifest, key));
}

/* Only SQLite: a second PostgreSQL schema cannot stand for an empty database, since a dump names its schema. */
static bool is_sqlite(void) {
    return sw_store_dialect(world.store) == SW_STORE_SQLITE;
}

/* ---- a registry restored beside the first one */

static char *restored_url(void) {
    char *file = sw_path_join(elsewhere, "slipway.db");
    char *url = sw_xmalloc(strlen(file) + 8);
    snprintf(url, strlen(file) + 8, "sqlite:%s", file);
    sw_free(file);
    return url;
}

static sw_status restore(uint64_t at_ms, json_t **ret, struct sw_error *err) {
    SW_AUTO_FREE char *url = restored_url();
    struct sw_store_options store;
    struct sw_artifacts_options files;
    struct sw_artifacts *artifacts;
    sw_store_options_default(&store);
    sw_artifacts_options_default(&files);
    store.url = url;
    store.clock = files.clock = &world.clock;
    files.directory = elsewhere;
    SW_TRY(sw_artifacts_open(&files, &artifacts, err));
    sw_status status = sw_backup_restore(&options, at_ms, &store, artifacts, ret, err);
    sw_artifacts_close(artifacts);
    return status;
}

/* Documents of all models and versions, history and audit of a registry, as one text. */
static char *describe(struct sw_registry *registry) {
    json_t *all = json_array(), *part;
    struct sw_model_filter models = {0};
    struct sw_version_filter versions = {.stage = -1};
    struct sw_page page = {.limit = 1000};
    struct sw_audit_filter audit = {.limit = 1000};
    assert_sw_ok(sw_registry_list_models(registry, &models, &page, &part, err));
    json_array_append_new(all, part);
    assert_sw_ok(sw_registry_list_versions(registry, &versions, &page, &part, err));
    json_array_append_new(all, part);
    assert_sw_ok(sw_registry_history(registry, "m", 100, &part, err));
    json_array_append_new(all, part);
    assert_sw_ok(sw_audit_list(sw_registry_store(registry), &audit, &part, err));
    json_array_append_new(all, part);
    char *text = json_dumps(all, JSON_SORT_KEYS | JSON_COMPACT);
    json_decref(all);
    return text;
}

struct other {
    struct sw_store *store;
    struct sw_artifacts *artifacts;
    struct sw_registry *registry;
};

static void open_restored(struct other *ret) {
    SW_AUTO_FREE char *url = restored_url();
    struct sw_store_options store;
    struct sw_artifacts_options files;
    sw_store_options_default(&store);
    sw_artifacts_options_default(&files);
    store.url = url;
    store.clock = files.clock = &world.clock;
    files.directory = elsewhere;
    assert_sw_ok(sw_store_open(&store, &ret->store, err));
    assert_sw_ok(sw_artifacts_open(&files, &ret->artifacts, err));
    struct sw_registry_options registry = {
        .store = ret->store,
        .artifacts = ret->artifacts,
        .model = {.engines = world.engines, .engine_count = 1, .clock = &world.clock},
        .directory = elsewhere,
        .clock = &world.clock};
    assert_sw_ok(sw_registry_open(&registry, &ret->registry, err));
}

static void close_restored(struct other *other) {
    sw_registry_close(other->registry);
    sw_artifacts_close(other->artifacts);
    sw_store_close(other->store);
}

/* ---- files of the backup, to be harmed */

static char found[4096];
static const char *wanted_name;

static int find_file(const char *path, const struct stat *st, int kind, struct FTW *ftw) {
    if (kind == FTW_F && strcmp(path + ftw->base, wanted_name) == 0) {
        snprintf(found, sizeof found, "%s", path);
        return 1;
    }
    return 0;
}

static const char *file_called(const char *name) {
    wanted_name = name;
    assert_int_equal(nftw(set, find_file, 16, FTW_PHYS), 1);
    return found;
}

static void flip_byte(const char *path) {
    struct stat st;
    assert_int_equal(chmod(path, 0600), 0);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0);
    char byte;
    assert_int_equal(pread(fd, &byte, 1, st.st_size / 2), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, st.st_size / 2), 1);
    close(fd);
}

/* ---- tests */

static void the_restored_registry_is_the_same(void **state) {
    for (int i = 0; i < 3; i++) {
        world_push_any("m");
        world_promote_default("m", i + 1);
    }
    world_push_any("other");
    assert_int_equal(world_rollback("m"), 2);
    char *before = describe(world.registry);
    json_t *manifest = make_backup();
    assert_int_equal(number(manifest, "files"), 4);
    assert_int_equal(number(manifest, "copied_files"), 4);
    json_decref(manifest);
    if (is_sqlite()) {
        struct other other;
        assert_sw_ok(restore(0, &manifest, err));
        assert_int_equal(number(manifest, "restored_files"), 4);
        json_decref(manifest);
        open_restored(&other);
        char *after = describe(other.registry);
        assert_string_equal(before, after);
        char *path;
        assert_sw_ok(sw_registry_materialise(other.registry, "m", 2, &path, err)); /* the files too, verified */
        sw_registry_dematerialise(other.registry, path);
        sw_free(path);
        json_t *result;
        assert_sw_ok(sw_registry_gc(other.registry, &someone, 30, true, &result, err)); /* no hold is left */
        json_decref(result);
        close_restored(&other);
        sw_free(after);
    }
    sw_free(before);
}

static void a_second_backup_copies_what_is_new(void **state) {
    world_push_any("m");
    world_push_any("m");
    json_decref(make_backup());
    json_t *manifest = make_backup();
    assert_int_equal(number(manifest, "files"), 2);
    assert_int_equal(number(manifest, "copied_files"), 0);
    json_decref(manifest);
    world_push_any("m");
    manifest = make_backup();
    assert_int_equal(number(manifest, "files"), 3);
    assert_int_equal(number(manifest, "copied_files"), 1);
    json_decref(manifest);
    json_t *list;
    assert_sw_ok(sw_backup_list(set, &list, err));
    assert_int_equal(json_array_size(list), 3);
    json_decref(list);
}

static void point_in_time(void **state) {
    if (!is_sqlite()) {
        skip();
    }
    uint64_t times[3];
    json_t *manifest;
    for (int i = 0; i < 3; i++) {
        world_push_any("m");
        world_promote_default("m", i + 1);
        times[i] = world.clock.wall_ms(&world.clock);
        json_decref(make_backup());
    }
    assert_sw_fails(restore(times[0] - 1, &manifest, err), SW_E_NOT_FOUND, "newer than that");
    assert_sw_ok(restore(times[2] - 1, &manifest, err));
    json_decref(manifest);
    struct other other;
    open_restored(&other);
    json_t *model;
    assert_sw_ok(sw_registry_get_model(other.registry, "m", &model, err));
    assert_int_equal(json_integer_value(json_object_get(model, "live")), 2);
    json_decref(model);
    close_restored(&other);
}

/* Whoever reads this clock finds that the registry was changed a second later. */
static uint64_t busy_wall_ms(struct sw_clock *clock) {
    uint64_t now = world.clock.wall_ms(&world.clock);
    sw_clock_manual_advance(&world.clock, UINT64_C(1000000000));
    world_push_any("m");
    return now;
}

/* So that --at finds nothing that came later. */
static void a_backup_holds_nothing_newer_than_its_time(void **state) {
    if (!is_sqlite()) {
        skip();
    }
    struct sw_clock busy = {.monotonic_ns = world.clock.monotonic_ns, .wall_ms = busy_wall_ms};
    struct sw_audit_filter newest = {.limit = 1};
    struct other other;
    json_t *manifest, *restored, *rows;
    world_push_any("m");
    options.clock = &busy;
    assert_sw_ok(sw_backup_create(world.store, world.artifacts, &options, &manifest, err));
    options.clock = &world.clock;
    assert_sw_ok(restore((uint64_t)number(manifest, "time_ms"), &restored, err));
    open_restored(&other);
    assert_sw_ok(sw_audit_list(sw_registry_store(other.registry), &newest, &rows, err));
    const char *time = json_string_value(json_object_get(json_array_get(rows, 0), "time"));
    assert_true(strcmp(time, json_string_value(json_object_get(manifest, "time"))) <= 0);
    json_decref(rows);
    json_decref(restored);
    json_decref(manifest);
    close_restored(&other);
}

static struct sw_artifacts *open_set(void) {
    struct sw_artifacts_options files;
    struct sw_artifacts *artifacts;
    sw_artifacts_options_default(&files);
    files.directory = set;
    assert_sw_ok(sw_artifacts_open(&files, &artifacts, err));
    return artifacts;
}

/* A file that a backup was copying when it died. */
static void what_a_backup_that_died_left_goes(void **state) {
    char id[SW_UPLOAD_ID + 1];
    struct sw_upload *upload;
    world_push_any("m");
    json_decref(make_backup());
    struct sw_artifacts *artifacts = open_set();
    assert_sw_ok(sw_upload_create(artifacts, UINT64_MAX, NULL, id, err));
    assert_sw_ok(sw_upload_open(artifacts, sw_str_of(id), &upload, err));
    assert_sw_ok(sw_upload_write(upload, "half", 4, err));
    sw_upload_close(upload);
    SW_AUTO_FREE char *left = sw_path_join(set, "uploads"), *path = sw_path_join(left, id);
    const struct timespec long_ago[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    assert_int_equal(utimensat(AT_FDCWD, path, long_ago, 0), 0);
    json_decref(make_backup());
    assert_false(sw_path_is_file(path));
    sw_artifacts_close(artifacts);
}

/* Backups may lie on what cannot be written: a snapshot of a file system, a share mounted to be read. */
static void reading_writes_nothing(void **state) {
    json_t *manifest;
    struct stat before, after;
    world_push_any("m");
    json_decref(make_backup());
    SW_AUTO_FREE char *uploads = sw_path_join(set, "uploads");
    assert_int_equal(rmdir(uploads), 0);
    assert_int_equal(stat(set, &before), 0);
    assert_sw_ok(sw_backup_verify(&options, 0, &manifest, err));
    json_decref(manifest);
    if (is_sqlite()) {
        assert_sw_ok(restore(0, &manifest, err));
        json_decref(manifest);
    }
    assert_int_equal(stat(set, &after), 0);
    assert_int_not_equal(access(uploads, F_OK), 0);
    assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof before.st_mtim);
}

static void only_into_an_empty_database(void **state) {
    if (!is_sqlite()) {
        skip();
    }
    json_t *manifest;
    world_push_any("m");
    json_decref(make_backup());
    assert_sw_ok(restore(0, &manifest, err));
    json_decref(manifest);
    assert_sw_fails(restore(0, &manifest, err), SW_E_CONFLICT, "exists");
}

static void damage_is_found(const char *file, const char *says) {
    json_t *manifest;
    flip_byte(file_called(file));
    assert_sw_fails(sw_backup_verify(&options, 0, &manifest, err), SW_E_DIGEST_MISMATCH, says);
    if (is_sqlite()) {
        assert_sw_fails(restore(0, &manifest, err), SW_E_DIGEST_MISMATCH, says);
        SW_AUTO_FREE char *database = sw_path_join(elsewhere, "slipway.db");
        assert_false(sw_path_is_file(database)); /* nothing was restored */
    }
}

static void a_changed_file_is_found_and_mended(void **state) {
    struct sw_version_file file = world_file("model.fake.json", model_text(4, ""));
    json_t *manifest;
    assert_sw_ok(world_push_files("m", &file, 1, err));
    json_decref(make_backup());
    assert_sw_ok(sw_backup_verify(&options, 0, &manifest, err));
    json_decref(manifest);
    damage_is_found(file.digest.hex, file.digest.hex);
    manifest = make_backup(); /* sees that its copy is not what it was */
    assert_int_equal(number(manifest, "copied_files"), 1);
    json_decref(manifest);
    assert_sw_ok(sw_backup_verify(&options, 0, &manifest, err));
    json_decref(manifest);
}

static void a_changed_database_copy_is_found(void **state) {
    world_push_any("m");
    json_decref(make_backup());
    damage_is_found(is_sqlite() ? "metadata.sqlite" : "metadata.pgdump", "not what its manifest says");
}

static void a_changed_list_is_found(void **state) {
    world_push_any("m");
    json_decref(make_backup());
    damage_is_found("blobs.txt", "not what its manifest says");
}

static void a_missing_file_is_found(void **state) {
    struct sw_version_file file = world_file("model.fake.json", model_text(4, ""));
    json_t *manifest;
    assert_sw_ok(world_push_files("m", &file, 1, err));
    json_decref(make_backup());
    assert_int_equal(unlink(file_called(file.digest.hex)), 0);
    assert_sw_fails(sw_backup_verify(&options, 0, &manifest, err), SW_E_DIGEST_MISMATCH, "is missing");
}

static void a_damaged_store_gives_no_backup(void **state) {
    struct sw_version_file file = world_file("model.fake.json", model_text(4, ""));
    json_t *manifest, *list;
    assert_sw_ok(world_push_files("m", &file, 1, err));
    set = (sw_free(set), sw_xstrdup(world.dir)); /* to find the blob of the store itself */
    const char *blob = file_called(file.digest.hex);
    flip_byte(blob);
    sw_free(set);
    set = sw_path_join(world.dir, "backups");
    options.directory = set;
    assert_sw_fails(sw_backup_create(world.store, world.artifacts, &options, &manifest, err), SW_E_DIGEST_MISMATCH,
                    file.digest.hex);
    assert_sw_ok(sw_backup_list(set, &list, err));
    assert_int_equal(json_array_size(list), 0);
    json_decref(list);
}

static void another_folder_is_refused(void **state) {
    json_t *manifest;
    options.directory = world.dir;
    assert_sw_fails(sw_backup_create(world.store, world.artifacts, &options, &manifest, err), SW_E_CONFLICT,
                    "not empty");
    assert_sw_fails(sw_backup_list(world.dir, &manifest, err), SW_E_NOT_FOUND, "no backups");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_restored_registry_is_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(a_second_backup_copies_what_is_new, setup, teardown),
        cmocka_unit_test_setup_teardown(point_in_time, setup, teardown),
        cmocka_unit_test_setup_teardown(a_backup_holds_nothing_newer_than_its_time, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_backup_that_died_left_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(reading_writes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(only_into_an_empty_database, setup, teardown),
        cmocka_unit_test_setup_teardown(a_changed_file_is_found_and_mended, setup, teardown),
        cmocka_unit_test_setup_teardown(a_changed_database_copy_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(a_changed_list_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(a_missing_file_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_store_gives_no_backup, setup, teardown),
        cmocka_unit_test_setup_teardown(another_folder_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
