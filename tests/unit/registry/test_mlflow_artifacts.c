/* Files under paths that clients choose: put, replaced, listed, opened, deleted; as files of a version; and gc. */
#include "world.h"

#include <unistd.h>

static void put(const char *path, const char *text) {
    struct sw_version_file file = world_file(path, text);
    struct sw_blob blob = {.digest = file.digest, .size = file.size};
    assert_sw_ok(sw_registry_put_artifact(world.registry, &someone, path, &blob, err));
}

static sw_status try_put(const char *path, struct sw_error *err) {
    struct sw_version_file file = world_file("x", "text");
    struct sw_blob blob = {.digest = file.digest, .size = file.size};
    return sw_registry_put_artifact(world.registry, &someone, path, &blob, err);
}

static const char *content(const char *path) {
    static char text[64];
    struct sw_digest digest;
    uint64_t size;
    int fd;
    assert_sw_ok(sw_registry_open_artifact(world.registry, path, &fd, &size, &digest, err));
    ssize_t n = read(fd, text, sizeof text - 1);
    assert_int_equal(n, size);
    text[n] = '\0';
    close(fd);
    return text;
}

static void assert_listing(const char *folder, const char *wanted) {
    json_t *doc = NULL;
    assert_sw_ok(sw_registry_list_artifacts(world.registry, folder, &doc, err));
    assert_json(json_object_get(doc, "files"), wanted);
    json_decref(doc);
}

static void put_and_open(void **state) {
    put("a/b.txt", "one");
    assert_string_equal(content("a/b.txt"), "one");
    json_t *row = world_audit_newest();
    assert_json(json_object_get(row, "action"), "'artifact.put'");
    assert_json(json_object_get(row, "object"), "'mlflow-artifacts:/a/b.txt'");
    assert_json(json_object_get(row, "before"), "null");
    assert_json(json_object_get(json_object_get(row, "after"), "size"), "3");
    json_decref(row);
    put("a/b.txt", "other");
    assert_string_equal(content("a/b.txt"), "other");
    row = world_audit_newest();
    assert_true(json_is_string(json_object_get(json_object_get(row, "before"), "sha256")));
    json_decref(row);
    put("empty", "");
    assert_string_equal(content("empty"), "");
    int fd;
    uint64_t size;
    struct sw_digest digest;
    assert_sw_fails(sw_registry_open_artifact(world.registry, "a", &fd, &size, &digest, err), SW_E_NOT_FOUND,
                    "no file a");
}

static void bad_puts(void **state) {
    put("a/b", "x");
    static const char *const wrong[] = {"", "/a", "a/../b", "a//b", "a/", "a\nb", "."};
    for (size_t i = 0; i < SW_COUNTOF(wrong); i++) {
        assert_sw_fails(try_put(wrong[i], err), SW_E_INVALID_ARGUMENT, "path");
    }
    assert_sw_fails(try_put("a", err), SW_E_CONFLICT, "a is a folder");
    assert_sw_fails(try_put("a/b/c/d", err), SW_E_CONFLICT, "a/b is a file");
    assert_sw_ok(try_put("a/b2", err));
    assert_sw_ok(try_put("a0", err));
    struct sw_blob unknown = {.size = 4};
    memset(unknown.digest.hex, 'a', SW_DIGEST_HEX);
    int64_t rows = world_audit_rows();
    assert_sw_fails(sw_registry_put_artifact(world.registry, &someone, "new", &unknown, err), SW_E_DIGEST_MISMATCH, "");
    assert_int_equal(world_audit_rows(), rows);
    assert_listing("", "[{'path': 'a', 'is_dir': true}, {'path': 'a0', 'is_dir': false, 'file_size': 4}]");
}

static void listings(void **state) {
    static const char *const paths[] = {
        "m/model.onnx", "m/d/a", "m/d/b", "m/d/e/f", "m/d-x", "m.txt", "\xc3\xa4/\xf0\x9f\x98\x80"};
    for (size_t i = 0; i < SW_COUNTOF(paths); i++) {
        put(paths[i], "12");
    }
    assert_listing("", "[{'path': 'm.txt', 'is_dir': false, 'file_size': 2}, {'path': 'm', 'is_dir': true}, "
                       "{'path': '\\u00e4', 'is_dir': true}]");
    assert_listing("m", "[{'path': 'd-x', 'is_dir': false, 'file_size': 2}, {'path': 'd', 'is_dir': true}, "
                        "{'path': 'model.onnx', 'is_dir': false, 'file_size': 2}]");
    assert_listing("m/d", "[{'path': 'a', 'is_dir': false, 'file_size': 2}, {'path': 'b', 'is_dir': false, "
                          "'file_size': 2}, {'path': 'e', 'is_dir': true}]");
    assert_listing("m/d/a", "[]");
    assert_listing("nothing", "[]");
    assert_sw_fails(sw_registry_list_artifacts(world.registry, "m/", &(json_t *){NULL}, err), SW_E_INVALID_ARGUMENT,
                    "path");
}

/* More below one folder than is read at once. */
static void a_long_listing(void **state) {
    char path[64];
    for (int i = 0; i < 513; i++) {
        snprintf(path, sizeof path, i < 510 ? "big/%02d/%04d" : "big/z%d", i < 510 ? i / 505 : i, i);
        put(path, "x");
    }
    assert_listing("big", "[{'path': '00', 'is_dir': true}, {'path': '01', 'is_dir': true}, "
                          "{'path': 'z510', 'is_dir': false, 'file_size': 1}, {'path': 'z511', 'is_dir': false, "
                          "'file_size': 1}, {'path': 'z512', 'is_dir': false, 'file_size': 1}]");
    json_t *doc = NULL;
    assert_sw_ok(sw_registry_list_artifacts(world.registry, "big/00", &doc, err));
    assert_int_equal(json_array_size(json_object_get(doc, "files")), 505);
    json_decref(doc);
}

static void deleting(void **state) {
    static const char *const paths[] = {"m/a", "m/d/b", "m/d/e", "m2", "m-"};
    for (size_t i = 0; i < SW_COUNTOF(paths); i++) {
        put(paths[i], paths[i]);
    }
    assert_sw_ok(sw_registry_delete_artifacts(world.registry, &someone, "m/d", err));
    assert_listing("m", "[{'path': 'a', 'is_dir': false, 'file_size': 3}]");
    json_t *row = world_audit_newest();
    assert_json(json_object_get(row, "action"), "'artifact.delete'");
    assert_json(json_object_get(row, "before"), "{'files': 2}");
    json_decref(row);
    assert_sw_ok(sw_registry_delete_artifacts(world.registry, &someone, "m/a", err));
    assert_sw_fails(sw_registry_delete_artifacts(world.registry, &someone, "m", err), SW_E_NOT_FOUND,
                    "no file or folder m");
    assert_sw_fails(sw_registry_delete_artifacts(world.registry, &someone, "", err), SW_E_INVALID_ARGUMENT, "path");
    assert_string_equal(content("m2"), "m2");
    assert_string_equal(content("m-"), "m-");
}

static void files_of_a_version(void **state) {
    SW_CLEANUP(sw_arena_deinit) struct sw_arena arena;
    struct sw_version_file *files;
    size_t count;
    sw_arena_init(&arena, 1 << 20, 0);
    put("r/m/model.fake.json", model_text(4, ""));
    put("r/m/d/x.txt", "x");
    put("r/m2", "y");
    assert_sw_ok(sw_registry_artifact_files(world.registry, "r/m", &arena, &files, &count, err));
    assert_int_equal(count, 2);
    assert_string_equal(files[0].path, "d/x.txt");
    assert_string_equal(files[1].path, "model.fake.json");
    assert_sw_ok(world_push_files("a", files, count, err));
    assert_sw_ok(sw_registry_artifact_files(world.registry, "r/m/model.fake.json", &arena, &files, &count, err));
    assert_int_equal(count, 1);
    assert_string_equal(files[0].path, "model.fake.json");
    assert_sw_fails(sw_registry_artifact_files(world.registry, "r/none", &arena, &files, &count, err), SW_E_NOT_FOUND,
                    "no file or folder");
    json_t *doc = NULL;
    assert_sw_ok(sw_registry_list_version_folder(world.registry, "a", "1", "", &doc, err));
    assert_json(json_array_get(json_object_get(doc, "files"), 0), "{'path': 'd', 'is_dir': true}");
    assert_int_equal(json_array_size(json_object_get(doc, "files")), 2);
    json_decref(doc);
    assert_sw_ok(sw_registry_list_version_folder(world.registry, "a", "1", "d", &doc, err));
    assert_json(json_object_get(doc, "files"), "[{'path': 'x.txt', 'is_dir': false, 'file_size': 1}]");
    json_decref(doc);
    assert_sw_fails(sw_registry_list_version_folder(world.registry, "a", "2", "", &doc, err), SW_E_NOT_FOUND, "");
}

/* What a path holds stays; what it let go of goes when nothing else has it. */
static void gc(void **state) {
    put("keep", "kept content");
    put("shared", model_text(4, ""));
    put("gone", "gone content");
    SW_CLEANUP(sw_arena_deinit) struct sw_arena arena;
    struct sw_version_file *files;
    size_t count;
    sw_arena_init(&arena, 1 << 20, 0);
    assert_sw_ok(sw_registry_artifact_files(world.registry, "shared", &arena, &files, &count, err));
    files[0].path = "model.fake.json";
    assert_sw_ok(world_push_files("a", files, count, err));
    assert_sw_ok(sw_registry_delete_artifacts(world.registry, &someone, "shared", err));
    assert_sw_ok(sw_registry_delete_artifacts(world.registry, &someone, "gone", err));
    json_t *doc = NULL;
    assert_sw_ok(sw_registry_gc(world.registry, &someone, 1, false, &doc, err));
    assert_json(json_object_get(json_object_get(doc, "blobs"), "count"),
                "0"); /* too young: it was let go of just now */
    json_decref(doc);
    sw_clock_manual_advance(&world.clock, UINT64_C(2) * 86400 * 1000000000);
    assert_sw_ok(sw_registry_gc(world.registry, &someone, 1, false, &doc, err));
    assert_json(json_object_get(json_object_get(doc, "blobs"), "count"), "1");
    json_decref(doc);
    assert_string_equal(content("keep"), "kept content");
    int fd;
    uint64_t size;
    struct sw_digest digest;
    assert_sw_ok(sw_registry_open_file(world.registry, "a", "1", "model.fake.json", &fd, &size, &digest, err));
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)
        T(put_and_open), T(bad_puts), T(listings), T(a_long_listing), T(deleting), T(files_of_a_version), T(gc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
