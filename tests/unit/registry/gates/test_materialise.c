/* Versions as folders, and whose folders are swept when: those of processes that are gone, never those of living
 * ones. */
#include "../world.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "registry/registry_internal.h"

static void assert_text(const char *dir, const char *name, const char *wanted) {
    SW_AUTO_FREE char *path = sw_path_join(dir, name);
    struct sw_buf text;
    assert_sw_ok(sw_file_read(path, 1 << 20, &text, err));
    assert_string_equal(text.data, wanted);
    sw_buf_deinit(&text);
}

static size_t count_entries(const char *path) {
    size_t count = 0;
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        count += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    }
    closedir(d);
    return count;
}

static bool exists(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0;
}

/* versions --------------------------------------------------------------------------------------------------------- */

static void push(void) {
    const struct sw_version_file files[] = {world_file("model.fake.json", model_text(4, "")),
                                            world_file("a/b/labels.txt", "cat\ndog\n"), world_file("a/empty", ""),
                                            world_file("copy/labels.txt", "cat\ndog\n")};
    assert_sw_ok(world_push_files("m", files, SW_COUNTOF(files), err));
}

static void a_version_as_a_folder(void **state) {
    char *first, *second;
    push();
    assert_sw_ok(sw_registry_materialise(world.registry, "m", 1, &first, err));
    assert_sw_ok(sw_registry_materialise(world.registry, "m", 1, &second, err));
    assert_string_not_equal(first, second);
    assert_text(first, "model.fake.json", model_text(4, ""));
    assert_text(first, "a/b/labels.txt", "cat\ndog\n");
    assert_text(first, "a/empty", "");
    assert_text(second, "copy/labels.txt", "cat\ndog\n");
    assert_int_equal(count_entries(first), 3);
    struct sw_model *model = NULL;
    const struct sw_model_options options = {.engines = world.engines, .engine_count = 1};
    assert_sw_ok(sw_model_load(first, "m", 1, &options, &model, err));
    sw_model_unref(model);
    sw_registry_dematerialise(world.registry, first);
    assert_false(exists(first));
    assert_text(second, "a/b/labels.txt", "cat\ndog\n"); /* the other, and the blobs, are as they were */
    sw_registry_dematerialise(world.registry, second);
    sw_free(first);
    sw_free(second);
    assert_sw_ok(sw_registry_materialise(world.registry, "m", 1, &first, err));
    sw_registry_dematerialise(world.registry, first);
    sw_free(first);
}

static void assert_nothing_left(void) {
    assert_int_equal(count_entries(world.registry->serving), 2); /* the lock, and work */
    assert_int_equal(count_entries(world.registry->work), 0);
}

static void what_cannot_be_materialised(void **state) {
    char *path = NULL;
    push();
    assert_sw_fails(sw_registry_materialise(world.registry, "m", 2, &path, err), SW_E_NOT_FOUND, "no version 2");
    assert_sw_fails(sw_registry_materialise(world.registry, "n", 1, &path, err), SW_E_NOT_FOUND, "n");
    assert_sw_fails(sw_registry_materialise(world.registry, "../m", 1, &path, err), SW_E_INVALID_ARGUMENT, "no name");
    assert_null(path);
    assert_nothing_left();
}

static void a_file_that_is_damaged_or_gone(void **state) {
    char *path = NULL, blob[400];
    struct sw_digest digest;
    push();
    struct sw_version_file file = world_file("x", "cat\ndog\n");
    digest = file.digest;
    snprintf(blob, sizeof blob, "%s/artifacts/blobs/%.2s/%s", world.dir, digest.hex, digest.hex);
    assert_int_equal(unlink(blob), 0);
    FILE *f = fopen(blob, "wb");
    assert_true(f && fputs("cat\ndig\n", f) >= 0 && fclose(f) == 0);
    assert_sw_fails(sw_registry_materialise(world.registry, "m", 1, &path, err), SW_E_DIGEST_MISMATCH,
                    "m/1 a/b/labels.txt");
    assert_nothing_left();
    assert_int_equal(unlink(blob), 0);
    assert_sw_fails(sw_registry_materialise(world.registry, "m", 1, &path, err), SW_E_DIGEST_MISMATCH,
                    "missing in the artifact store");
    assert_nothing_left();
    assert_null(path);
}

/* A database that somebody has written into. */
static void a_path_that_leads_out(void **state) {
    char *path = NULL;
    struct sw_tx *tx;
    push();
    assert_sw_ok(sw_store_begin(world.store, SW_TX_WRITE, &tx, err));
    assert_sw_ok(sw_tx_exec(tx, "UPDATE version_files SET path = $1 WHERE path = $2",
                            SW_PARAMS(sw_v_text("../../out"), sw_v_text("a/empty")), NULL, err));
    assert_sw_ok(sw_tx_commit(tx, err));
    assert_sw_fails(sw_registry_materialise(world.registry, "m", 1, &path, err), SW_E_IO, "leads out");
    assert_nothing_left();
}

static void *materialise_often(void *arg) {
    for (int i = 0; i < 8; i++) {
        char *path, *work;
        struct sw_error err;
        SW_ASSERT(sw_registry_materialise(world.registry, "m", 1, &path, &err) == SW_OK);
        SW_ASSERT(sw_registry_work_folder(world.registry, &work, &err) == SW_OK);
        SW_ASSERT(sw_path_is_dir(path) && sw_path_is_dir(work));
        sw_registry_dematerialise(world.registry, path);
        sw_registry_remove_tree(work);
        sw_free(path);
        sw_free(work);
    }
    return NULL;
}

static void several_threads_at_once(void **state) {
    pthread_t threads[4];
    push();
    for (size_t i = 0; i < SW_COUNTOF(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, materialise_often, NULL), 0);
    }
    for (size_t i = 0; i < SW_COUNTOF(threads); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_nothing_left();
}

/* folders of processes --------------------------------------------------------------------------------------------- */

static void work_folders(void **state) {
    char *a, *b;
    assert_sw_ok(sw_registry_work_folder(world.registry, &a, err));
    assert_sw_ok(sw_registry_work_folder(world.registry, &b, err));
    assert_string_not_equal(a, b);
    assert_int_equal(count_entries(world.registry->work), 2);
    sw_registry_remove_tree(a);
    sw_registry_remove_tree(b);
    sw_registry_remove_tree(b); /* what is not there is fine */
    assert_int_equal(count_entries(world.registry->work), 0);
    sw_free(a);
    sw_free(b);
}

static void closing_leaves_nothing(void **state) {
    char *path;
    push();
    assert_sw_ok(sw_registry_materialise(world.registry, "m", 1, &path, err));
    SW_AUTO_FREE char *own = sw_xstrdup(world.registry->serving);
    world_reopen();
    assert_false(exists(path));
    assert_false(exists(own));
    SW_AUTO_FREE char *top = sw_path_join(world.registry->directory, "serving");
    assert_int_equal(count_entries(top), 2); /* the lock, and what was made at the opening */
    sw_free(path);
}

/* A link in a tree is deleted, and what it leads to is not. */
static void links_are_not_followed(void **state) {
    char *folder;
    char outside[300], link[400];
    snprintf(outside, sizeof outside, "%s/outside", world.dir);
    assert_int_equal(mkdir(outside, 0700), 0);
    SW_AUTO_FREE char *kept = sw_path_join(outside, "kept");
    FILE *f = fopen(kept, "wb");
    assert_true(f && fclose(f) == 0);
    assert_sw_ok(sw_registry_work_folder(world.registry, &folder, err));
    snprintf(link, sizeof link, "%s/link", folder);
    assert_int_equal(symlink(outside, link), 0);
    sw_registry_remove_tree(folder);
    assert_false(exists(folder));
    assert_true(exists(kept));
    sw_free(folder);
}

/* A process that opens a registry in DIR, tells its folder, waits until `hold` is closed, and dies. */
static pid_t other_process(const char *directory, int *ret_hold, char *ret_folder, size_t size) {
    int told[2], hold[2];
    assert_int_equal(pipe(told), 0);
    assert_int_equal(pipe(hold), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct sw_registry other = {.directory = (char *)(uintptr_t)directory, .folders_lock = -1};
        struct sw_error err;
        char end;
        close(told[0]);
        close(hold[1]);
        if (sw_registry_folders_reset(&other, &err) == SW_OK &&
            write(told[1], other.serving, strlen(other.serving)) > 0) {
            close(told[1]);
            _exit(read(hold[0], &end, 1) == 0 ? 0 : 1);
        }
        _exit(2); /* in either case without tidying up, as after kill -9 */
    }
    close(told[1]);
    close(hold[0]);
    size_t used = 0;
    for (ssize_t n; (n = read(told[0], ret_folder + used, size - 1 - used)) > 0;) {
        used += (size_t)n;
    }
    ret_folder[used] = '\0';
    assert_true(used > 0);
    close(told[0]);
    *ret_hold = hold[1];
    return pid;
}

static void folders_of_the_living_stay(void **state) {
    char folder[400];
    int hold;
    SW_AUTO_FREE char *own = sw_xstrdup(world.registry->serving);
    pid_t pid = other_process(world.registry->directory, &hold, folder, sizeof folder);
    assert_true(exists(own)); /* the other one did not sweep ours */
    assert_true(exists(folder));
    struct sw_registry third = {.directory = world.registry->directory, .folders_lock = -1};
    assert_sw_ok(sw_registry_folders_reset(&third, err)); /* nor does a third one that of either */
    assert_true(exists(own));
    assert_true(exists(folder));
    close(hold);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(exists(folder)); /* it died without tidying up */
    sw_registry_folders_close(&third);
    assert_sw_ok(sw_registry_folders_reset(&third, err));
    assert_false(exists(folder));
    assert_true(exists(own));
    sw_registry_folders_close(&third);
}

static void what_is_not_ours_is_not_swept(void **state) {
    static const char *const names[] = {"notes", "12-ab", "x-0123456789abcdef0123456789abcdef",
                                        "12-0123456789abcdef0123456789abcdeX"};
    char path[500];
    for (size_t i = 0; i < SW_COUNTOF(names); i++) {
        snprintf(path, sizeof path, "%s/serving/%s", world.registry->directory, names[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    snprintf(path, sizeof path, "%s/serving/12-0123456789abcdef0123456789abcdef", world.registry->directory);
    assert_int_equal(symlink("notes", path), 0); /* a link of the right name */
    world_reopen();
    assert_true(exists(path));
    for (size_t i = 0; i < SW_COUNTOF(names); i++) {
        snprintf(path, sizeof path, "%s/serving/%s", world.registry->directory, names[i]);
        assert_true(exists(path));
    }
    snprintf(path, sizeof path, "%s/serving/12-ffffffffffffffffffffffffffffffff", world.registry->directory);
    assert_int_equal(mkdir(path, 0700), 0); /* this one is: of a process that is gone */
    world_reopen();
    assert_false(exists(path));
}

static void folders_that_cannot_be_made(void **state) {
    char path[300];
    snprintf(path, sizeof path, "%s/file", world.dir);
    FILE *f = fopen(path, "wb");
    assert_true(f && fclose(f) == 0);
    struct sw_registry other = {.directory = path, .folders_lock = -1};
    assert_sw_fails(sw_registry_folders_reset(&other, err), SW_E_IO, "cannot make folder");
    sw_registry_folders_close(&other);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_version_as_a_folder),         TEST(what_cannot_be_materialised), TEST(a_file_that_is_damaged_or_gone),
        TEST(a_path_that_leads_out),         TEST(several_threads_at_once),     TEST(work_folders),
        TEST(closing_leaves_nothing),        TEST(links_are_not_followed),      TEST(folders_of_the_living_stay),
        TEST(what_is_not_ours_is_not_swept), TEST(folders_that_cannot_be_made),
    };
    return cmocka_run_group_tests_name("registry/materialise", tests, NULL, NULL);
}
