/* What a bundle is, by its files: what changes it, what does not, and what has none. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "folder.h"
#include "pipeline/identity.h"

static char *dir;

static int setup(void **state) {
    dir = folder_make();
    folder_write_text(dir, "bundle.yaml", "model: model.onnx\n");
    folder_write_text(dir, "model.onnx", "weights");
    return 0;
}

static int teardown(void **state) {
    folder_remove(dir);
    return 0;
}

static struct sw_identity identity_of(char *folder) {
    struct sw_identity identity;
    struct sw_error err;
    if (sw_identity_make(&(struct sw_bundle){.dir = folder}, &identity, &err)) {
        fail_msg("%s", err.message);
    }
    return identity;
}

static bool is_same(const struct sw_identity *before) {
    struct sw_identity now = identity_of(dir);
    return sw_digest_eq(&now.files, &before->files);
}

static void assert_fails(sw_status status, const char *contains) {
    struct sw_identity identity;
    struct sw_error err;
    assert_int_equal(sw_identity_make(&(struct sw_bundle){.dir = dir}, &identity, &err), status);
    if (!strstr(err.message, contains)) {
        fail_msg("expected %s in %s", contains, err.message);
    }
}

static void every_file_counts(void **state) {
    struct sw_identity before = identity_of(dir);
    assert_true(is_same(&before));
    folder_write_text(dir, "model.onnx", "weightz");
    assert_false(is_same(&before));
    folder_write_text(dir, "model.onnx", "weights"); /* other times, the same bytes */
    assert_true(is_same(&before));
    folder_write_text(dir, "labels.txt", "");
    assert_false(is_same(&before));
    SW_AUTO_FREE char *labels = folder_path(dir, "labels.txt"), *other = folder_path(dir, "names.txt");
    struct sw_identity with_labels = identity_of(dir);
    assert_int_equal(rename(labels, other), 0);
    assert_false(is_same(&with_labels)); /* names count */
    assert_int_equal(unlink(other), 0);
    assert_true(is_same(&before));
}

/* Where the folder lies does not matter: replicas put it elsewhere. */
static void the_place_does_not_count(void **state) {
    struct sw_identity here = identity_of(dir);
    char *elsewhere = folder_make();
    folder_write_text(elsewhere, "model.onnx", "weights");
    folder_write_text(elsewhere, "bundle.yaml", "model: model.onnx\n");
    struct sw_identity there = identity_of(elsewhere);
    assert_true(sw_digest_eq(&here.files, &there.files));
    folder_remove(elsewhere);
}

static void folders_within(void **state) {
    SW_AUTO_FREE char *inner = folder_path(dir, "more"), *file = folder_path(inner, "table.json");
    assert_int_equal(mkdir(inner, 0755), 0);
    struct sw_identity before = identity_of(dir);
    folder_write_text(inner, "table.json", "{}");
    assert_false(is_same(&before));
    assert_int_equal(unlink(file), 0);
    assert_true(is_same(&before)); /* a folder alone is none of the files */
    assert_int_equal(rmdir(inner), 0);
}

static void links_are_followed(void **state) {
    char *elsewhere = folder_make();
    folder_write_text(elsewhere, "weights", "weights");
    struct sw_identity before = identity_of(dir);
    SW_AUTO_FREE char *target = folder_path(elsewhere, "weights"), *model = folder_path(dir, "model.onnx");
    assert_int_equal(unlink(model), 0);
    assert_int_equal(symlink(target, model), 0);
    assert_true(is_same(&before));
    folder_write_text(elsewhere, "weights", "other weights");
    assert_false(is_same(&before));
    SW_AUTO_FREE char *dangling = folder_path(dir, "nothing");
    struct sw_identity linked = identity_of(dir);
    assert_int_equal(symlink("/nowhere/at/all", dangling), 0);
    assert_true(is_same(&linked)); /* there is nothing to read */
    folder_remove(elsewhere);
}

static void what_has_none(void **state) {
    SW_AUTO_FREE char *round = folder_path(dir, "round");
    assert_int_equal(symlink(".", round), 0);
    assert_fails(SW_E_MODEL_INVALID, "links that go round");
    assert_int_equal(unlink(round), 0);
    SW_AUTO_FREE char *pipe = folder_path(dir, "pipe");
    assert_int_equal(mkfifo(pipe, 0644), 0);
    (void)identity_of(dir); /* nothing waits for a writer */
    if (geteuid() != 0) {
        SW_AUTO_FREE char *model = folder_path(dir, "model.onnx");
        assert_int_equal(chmod(model, 0), 0);
        assert_fails(SW_E_IO, "model.onnx");
    }
    char *there = dir, nowhere[] = "/tmp/slipway-no-such-folder";
    dir = nowhere;
    assert_fails(SW_E_IO, "slipway-no-such-folder");
    dir = there;
}

static void changes_are_seen(void **state) {
    struct sw_bundle bundle = {.dir = dir};
    struct sw_identity identity = identity_of(dir);
    struct sw_error err;
    assert_int_equal(sw_identity_check(&bundle, &identity, &err), SW_OK);
    SW_AUTO_FREE char *model = folder_path(dir, "model.onnx"), *next = folder_path(dir, "next");
    assert_int_equal(utimensat(AT_FDCWD, model, (struct timespec[]){{.tv_sec = 1}, {.tv_sec = 1}}, 0), 0);
    assert_int_equal(sw_identity_check(&bundle, &identity, &err), SW_E_MODEL_INVALID);
    assert_non_null(strstr(err.message, "its files changed while it was loaded"));
    identity = identity_of(dir);
    folder_write_text(dir, "next", "weights"); /* as long, and renamed over it */
    assert_int_equal(utimensat(AT_FDCWD, next, (struct timespec[]){{.tv_sec = 1}, {.tv_sec = 1}}, 0), 0);
    assert_int_equal(rename(next, model), 0);
    assert_int_equal(sw_identity_check(&bundle, &identity, &err), SW_E_MODEL_INVALID);
    identity = identity_of(dir);
    folder_write_text(dir, "labels.txt", "");
    assert_int_equal(sw_identity_check(&bundle, &identity, &err), SW_E_MODEL_INVALID);
    identity = identity_of(dir);
    assert_int_equal(unlink(model), 0);
    assert_int_equal(sw_identity_check(&bundle, &identity, &err), SW_E_MODEL_INVALID);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(every_file_counts), TEST(the_place_does_not_count), TEST(folders_within), TEST(links_are_followed),
        TEST(what_has_none),     TEST(changes_are_seen),
    };
    return cmocka_run_group_tests_name("pipeline/identity", tests, NULL, NULL);
}
