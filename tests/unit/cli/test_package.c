/* What push collects, what it refuses, and the folders that serve makes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "cli/package.h"
#include "cli/registry_config.h"
#include "cli/upload_state.h"

static char folder[64];

static int make_folder(void **state) {
    snprintf(folder, sizeof folder, "/tmp/slipway-test-package-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    char command[256];
    snprintf(command, sizeof command, "chmod -R u+rwx '%s'; rm -rf '%s'", folder, folder);
    return system(command);
}

/* Runs shell commands inside the folder. */
static void shell(const char *commands) {
    char command[1024];
    snprintf(command, sizeof command, "cd '%s' && %s", folder, commands);
    assert_int_equal(system(command), 0);
}

static const char *inside(const char *name) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static struct sw_package open_good(const char *name) {
    struct sw_package package;
    struct sw_error err;
    if (sw_package_open(inside(name), &package, &err)) {
        fail_msg("%s", err.message);
    }
    return package;
}

static void assert_refused(const char *name, sw_status status, const char *part) {
    struct sw_package package;
    struct sw_error err;
    assert_int_equal(sw_package_open(inside(name), &package, &err), status);
    if (!strstr(err.message, part)) {
        fail_msg("'%s' does not contain '%s'", err.message, part);
    }
}

static void a_folder_is_walked(void **state) {
    struct sw_error err;
    shell("mkdir -p b/sub/.cache b/empty && printf abc > b/model.onnx && printf x > b/sub/labels.txt && "
          "printf x > b/sub/.cache/y && printf x > b/.hidden && printf '' > b/a");
    struct sw_package package = open_good("b");
    assert_int_equal(package.count, 3);
    assert_string_equal(package.files[0].path, "a");
    assert_string_equal(package.files[1].path, "model.onnx");
    assert_string_equal(package.files[2].path, "sub/labels.txt");
    assert_int_equal(package.bytes, 4);
    assert_int_equal(package.hidden_count, 2);
    assert_false(package.is_archive);
    assert_int_equal(sw_package_hash(&package, NULL, NULL, &err), SW_OK);
    assert_string_equal(package.files[1].digest.hex,
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_string_equal(package.files[0].digest.hex,
                        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    sw_package_deinit(&package);
}

static void assert_check(const char *name, const char *model, sw_status status, const char *part) {
    struct sw_package package = open_good(name);
    struct sw_error err = {0};
    assert_int_equal(sw_package_check(&package, model, &err), status);
    if (status && !strstr(err.message, part)) {
        fail_msg("'%s' does not contain '%s'", err.message, part);
    }
    sw_package_deinit(&package);
}

static void a_bundle_is_looked_at_before_it_is_sent(void **state) {
    static const sw_status invalid = SW_E_MODEL_INVALID;
    shell("mkdir b && printf x > b/model.onnx && printf 'name: mlp\n' > b/bundle.yaml");
    assert_check("b", "mlp", SW_OK, "");
    assert_check("b", "large", invalid, "push it as mlp, or change `name` to large");
    shell("printf x > b/second.onnx");
    assert_check("b", "mlp", invalid, "several .onnx files (model.onnx, second.onnx); name one as `model`");
    shell("printf 'model: second.onnx\n' > b/bundle.yaml");
    assert_check("b", "whatever", SW_OK, "");
    shell("printf 'model: ./second.onnx\n' > b/bundle.yaml");
    assert_check("b", "mlp", SW_OK, "");
    shell("printf 'model: third.onnx\n' > b/bundle.yaml");
    assert_check("b", "mlp", invalid, "model: \"third.onnx\" is not among the files");
    shell("printf 'nonsense: 1\n' > b/bundle.yaml");
    assert_check("b", "mlp", invalid, "bundle.yaml: ");
    assert_check("b", "mlp", invalid, "nonsense");
    shell("rm b/bundle.yaml b/second.onnx");
    assert_check("b", "mlp", SW_OK, "");
    shell("mkdir b/inner && mv b/model.onnx b/inner");
    assert_check("b", "mlp", invalid, "no model file");
    shell("printf x > x.zip");
    assert_check("x.zip", "mlp", SW_OK, ""); /* the server unpacks it */
}

static void links_and_devices_are_refused(void **state) {
    shell("mkdir l && printf x > l/a && ln -s a l/b && mkdir f && mkfifo f/pipe && mkdir d && ln -s /tmp d/t");
    assert_refused("l", SW_E_INVALID_ARGUMENT, "l/b is a link");
    assert_refused("d", SW_E_INVALID_ARGUMENT, "d/t is a link");
    assert_refused("f", SW_E_INVALID_ARGUMENT, "f/pipe is neither a file nor a folder");
}

static void what_cannot_be_read_is_refused(void **state) {
    shell("mkdir r && printf x > r/a && chmod 000 r/a && mkdir n && "
          "printf x > n/'a\\b' && mkdir e && mkdir h && touch h/.x");
    if (geteuid() != 0) {
        assert_refused("r", SW_E_IO, "r/a cannot be read: Permission denied");
    }
    assert_refused("n", SW_E_INVALID_ARGUMENT, "backslashes");
    assert_refused("e", SW_E_INVALID_ARGUMENT, "holds no files");
    assert_refused("h", SW_E_INVALID_ARGUMENT, "but hidden ones");
    assert_refused("missing", SW_E_NOT_FOUND, "No such file");
    shell("printf x > model.bin");
    assert_refused("model.bin", SW_E_USAGE, "neither a folder, nor an .onnx file, nor an archive");
    shell("printf 'not a model' > x.onnx");
    assert_refused("x.onnx", SW_E_MODEL_INVALID, "x.onnx");
    assert_refused("model.bin/x.onnx", SW_E_NOT_FOUND, "Not a directory");
}

static void folders_too_deep_are_refused(void **state) {
    shell("d=deep; for i in $(seq 40); do d=$d/d; done; mkdir -p $d && touch $d/x");
    assert_refused("deep", SW_E_TOO_LARGE, "nested more than 32 deep");
}

static void archives_are_one_file(void **state) {
    static const char *const names[] = {"m.tar", "m.tar.gz", "m.tgz", "M.ZIP", "m.tar.zst", "m.tar.xz"};
    for (size_t i = 0; i < SW_COUNTOF(names); i++) {
        char command[64];
        snprintf(command, sizeof command, "printf abc > %s", names[i]);
        shell(command);
        struct sw_package package = open_good(names[i]);
        assert_true(package.is_archive);
        assert_int_equal(package.count, 1);
        assert_string_equal(package.files[0].path, names[i]);
        sw_package_deinit(&package);
    }
    assert_false(sw_package_is_archive_name(SW_STR(".tar")));
    assert_false(sw_package_is_archive_name(SW_STR("tar")));
    assert_false(sw_package_is_archive_name(SW_STR("m.gz")));
}

static void a_file_that_grows_is_noticed(void **state) {
    struct sw_error err;
    shell("mkdir g && printf abc > g/a");
    struct sw_package package = open_good("g");
    shell("printf d >> g/a");
    assert_int_equal(sw_package_hash(&package, NULL, NULL, &err), SW_E_CONFLICT);
    assert_non_null(strstr(err.message, "g/a changes while it is read"));
    sw_package_deinit(&package);
}

static void note_progress(void *arg, uint64_t done) {
    *(uint64_t *)arg = done;
}

static void hashing_tells_how_far_it_is(void **state) {
    struct sw_error err;
    uint64_t done = 0;
    shell("mkdir p && head -c 3000000 /dev/zero > p/a && printf abc > p/b");
    struct sw_package package = open_good("p");
    assert_int_equal(sw_package_hash(&package, note_progress, &done, &err), SW_OK);
    assert_int_equal(done, 3000003);
    sw_package_deinit(&package);
}

static void the_state_folder_follows_the_environment(void **state) {
    setenv("XDG_STATE_HOME", "/state", 1);
    setenv("HOME", "/h/x", 1);
    char *path = sw_upload_state_folder();
    assert_string_equal(path, "/state/slipway/uploads");
    sw_free(path);
    setenv("XDG_STATE_HOME", "relative", 1);
    path = sw_upload_state_folder();
    assert_string_equal(path, "/h/x/.local/state/slipway/uploads");
    sw_free(path);
    unsetenv("XDG_STATE_HOME");
    unsetenv("HOME");
    assert_null(sw_upload_state_folder());
}

/* --- the server's folder ----------------------------------------------------------------------------------------- */

static struct sw_config *config_with(const char *directory) {
    struct sw_config_flag flags[] = {{SW_KEY_DATA_DIRECTORY, directory, "--data-dir"}};
    struct sw_config *config;
    struct sw_error err;
    if (sw_config_load(&(struct sw_config_sources){.flags = flags, .flag_count = 1}, &config, NULL, &err)) {
        fail_msg("%s", err.message);
    }
    return config;
}

static void the_data_folder_is_made_for_this_user_alone(void **state) {
    struct sw_error err;
    struct stat info;
    struct sw_config *config = config_with(inside("data"));
    assert_int_equal(sw_data_directory_make(config, &err), SW_OK);
    assert_int_equal(stat(inside("data"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    shell("chmod 755 data");
    assert_int_equal(sw_data_directory_make(config, &err), SW_OK); /* one that is there stays as it is */
    assert_int_equal(stat(inside("data"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0755);
    char *path = sw_store_config_path(config);
    assert_string_equal(path, inside("data/slipway.db"));
    sw_free(path);
    sw_config_destroy(config);
    shell("touch file");
    config = config_with(inside("file"));
    assert_int_equal(sw_data_directory_make(config, &err), SW_E_IO);
    assert_non_null(strstr(err.message, "is not a folder"));
    sw_config_destroy(config);
    config = config_with(inside("no/such"));
    assert_int_equal(sw_data_directory_make(config, &err), SW_E_IO);
    assert_non_null(strstr(err.message, "cannot be made: No such file"));
    sw_config_destroy(config);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
        IN_FOLDER(a_folder_is_walked),
        IN_FOLDER(a_bundle_is_looked_at_before_it_is_sent),
        IN_FOLDER(links_and_devices_are_refused),
        IN_FOLDER(what_cannot_be_read_is_refused),
        IN_FOLDER(folders_too_deep_are_refused),
        IN_FOLDER(archives_are_one_file),
        IN_FOLDER(a_file_that_grows_is_noticed),
        IN_FOLDER(hashing_tells_how_far_it_is),
        cmocka_unit_test(the_state_folder_follows_the_environment),
        IN_FOLDER(the_data_folder_is_made_for_this_user_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
