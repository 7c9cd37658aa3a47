/* The file system back end: what both must do, a full disk, another file system, folders that cannot be used. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "place.h"

static void blob_path(const struct place *place, const struct sw_digest *digest, char ret_path[256]) {
    snprintf(ret_path, 256, "%s/blobs/%.2s/%s", place->store, digest->hex, digest->hex);
}

void tamper_blob(struct place *place, const struct sw_digest *digest, const void *data, size_t len) {
    char path[256];
    blob_path(place, digest, path);
    assert_int_equal(chmod(path, 0600), 0);
    write_file(path, data, len);
}

static void blobs_are_read_only_and_linked(void **state) {
    struct place *place = *state;
    char stored[256], path[256];
    struct stat a, b;
    struct sw_blob blob = put_bytes(place, "abc", 3);
    blob_path(place, &blob.digest, stored);
    place_path(place, "fetched", path);
    assert_int_equal(sw_artifacts_fetch(place->artifacts, &blob.digest, 3, path, NULL), SW_OK);
    assert_int_equal(stat(stored, &a), 0);
    assert_int_equal(stat(path, &b), 0);
    assert_int_equal(a.st_mode & 0777, 0444);
    assert_int_equal(a.st_ino, b.st_ino);
    /* the same content again: the blob stays the file that it is, and is young again */
    struct timespec old[2] = {{1000, 0}, {1000, 0}};
    assert_int_equal(utimensat(AT_FDCWD, stored, old, 0), 0);
    (void)put_bytes(place, "abc", 3);
    assert_int_equal(stat(stored, &b), 0);
    assert_int_equal(a.st_ino, b.st_ino);
    assert_true(b.st_mtime > 1000);
}

static bool count_blob(void *arg, const struct sw_blob *blob) {
    ++*(size_t *)arg;
    return true;
}

static void each_leaves_out_what_is_not_ours(void **state) {
    struct place *place = *state;
    char stored[256], path[256];
    size_t count = 0;
    struct sw_blob blob = put_bytes(place, "abc", 3);
    blob_path(place, &blob.digest, stored);
    snprintf(path, sizeof path, "%s/blobs/README", place->store);
    write_file(path, "x", 1);
    snprintf(path, sizeof path, "%s/blobs/zz", place->store);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/blobs/zz/%s", place->store, blob.digest.hex);
    assert_int_equal(symlink(stored, path), 0);
    snprintf(path, sizeof path, "%s/blobs/zz/x%s", place->store, blob.digest.hex + 1);
    write_file(path, "x", 1);
    assert_int_equal(sw_artifacts_each(place->artifacts, count_blob, &count, NULL), SW_OK);
    assert_int_equal(count, 1);
}

static void folders_that_cannot_be_used(void **state) {
    struct place *place = *state;
    char path[256];
    struct sw_artifacts *artifacts = NULL;
    struct sw_error err = {0};
    struct sw_artifacts_options options = place->options;
    place_path(place, "file", path);
    write_file(path, "x", 1);
    options.directory = path;
    assert_int_equal(sw_artifacts_open(&options, &artifacts, &err), SW_E_IO);
    options.directory = "/proc/no/such/folder";
    assert_int_equal(sw_artifacts_open(&options, &artifacts, &err), SW_E_IO);
    assert_non_null(strstr(err.message, "/proc/no"));
    options.directory = NULL;
    assert_int_equal(sw_artifacts_open(&options, &artifacts, &err), SW_E_USAGE);
    assert_null(artifacts);
}

/* ---- file systems of our own: a small tmpfs, in a mount namespace that ends with this program */

static bool mount_tmpfs(const char *path, const char *size) {
    static bool private_mounts;
    char options[64];
    snprintf(options, sizeof options, "size=%s", size);
    if (!private_mounts && (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))) {
        print_message("SKIPPED: a tmpfs cannot be mounted here (%s): run as root\n", strerror(errno));
        return false;
    }
    private_mounts = true;
    assert_int_equal(mkdir(path, 0700), 0);
    if (mount("tmpfs", path, "tmpfs", 0, options)) {
        print_message("SKIPPED: a tmpfs cannot be mounted here (%s): run as root\n", strerror(errno));
        return false;
    }
    return true;
}

static void fetch_to_another_file_system_copies(void **state) {
    struct place *place = *state;
    char folder[256], path[300];
    struct stat st;
    place_path(place, "tmpfs", folder);
    if (!mount_tmpfs(folder, "1m")) {
        skip();
    }
    SW_AUTO_FREE char *bytes = make_bytes(900000, 1), *more = make_bytes(900000, 2);
    struct sw_blob blob = put_bytes(place, bytes, 900000), second = put_bytes(place, more, 900000);
    snprintf(path, sizeof path, "%s/fetched", folder);
    assert_int_equal(sw_artifacts_fetch(place->artifacts, &blob.digest, 900000, path, NULL), SW_OK);
    size_t len;
    SW_AUTO_FREE char *found = read_file(path, &len);
    assert_int_equal(len, 900000);
    assert_memory_equal(found, bytes, len);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0444);
    assert_int_equal(sw_artifacts_fetch(place->artifacts, &blob.digest, 900000, path, NULL), SW_E_CONFLICT);
    snprintf(path, sizeof path, "%s/second", folder);
    assert_int_equal(sw_artifacts_fetch(place->artifacts, &second.digest, 900000, path, NULL),
                     SW_E_INSUFFICIENT_STORAGE);
    assert_int_equal(count_files(folder), 1); /* no part of it stays */
    assert_int_equal(umount(folder), 0);
}

static void a_full_disk_leaves_nothing_behind(void **state) {
    struct place *place = *state;
    char folder[256], store[300], id[SW_UPLOAD_ID + 1], path[256];
    struct sw_artifacts *artifacts = NULL;
    struct sw_upload *upload = NULL;
    struct sw_blob blob;
    struct sw_error err = {0};
    place_path(place, "tmpfs", folder);
    if (!mount_tmpfs(folder, "2m")) {
        skip();
    }
    snprintf(store, sizeof store, "%s/store", folder);
    struct sw_artifacts_options options = place->options;
    options.directory = store;
    assert_int_equal(sw_artifacts_open(&options, &artifacts, &err), SW_OK);
    enum { LEN = 3 << 20 };
    SW_AUTO_FREE char *bytes = make_bytes(LEN, 9);
    /* announced: refused before a byte is sent */
    assert_int_equal(sw_upload_create(artifacts, LEN, NULL, id, &err), SW_E_INSUFFICIENT_STORAGE);
    assert_int_equal(count_files(store), 0);
    assert_int_equal(sw_artifacts_health(artifacts, &err), SW_OK); /* that one request was too large */
    /* not announced: the disk fills up on the way */
    assert_int_equal(sw_upload_create(artifacts, UINT64_MAX, NULL, id, &err), SW_OK);
    assert_int_equal(sw_upload_open(artifacts, sw_str_of(id), &upload, &err), SW_OK);
    sw_status status = SW_OK;
    for (size_t at = 0; at < LEN && !status; at += 65536) {
        status = sw_upload_write(upload, bytes + at, 65536, &err);
    }
    assert_int_equal(status, SW_E_INSUFFICIENT_STORAGE);
    assert_int_equal(sw_artifacts_health(artifacts, &err), SW_E_INSUFFICIENT_STORAGE);
    assert_int_equal(count_files(store), 0);
    assert_int_equal(sw_upload_write(upload, bytes, 1, &err), SW_E_INSUFFICIENT_STORAGE);
    assert_int_equal(sw_upload_commit(upload, &blob, &err), SW_E_INSUFFICIENT_STORAGE);
    /* the space is back, and the store is well again */
    assert_int_equal(sw_artifacts_probe(artifacts, &err), SW_OK);
    assert_int_equal(sw_artifacts_health(artifacts, &err), SW_OK);
    place_path(place, "large", path);
    write_file(path, bytes, LEN);
    assert_int_equal(sw_artifacts_put_file(artifacts, path, NULL, &blob, &err), SW_E_INSUFFICIENT_STORAGE);
    write_file(path, bytes, LEN / 2);
    assert_int_equal(sw_artifacts_put_file(artifacts, path, NULL, &blob, &err), SW_OK);
    assert_int_equal(sw_artifacts_verify(artifacts, &blob.digest, &err), SW_OK);
    assert_int_equal(count_files(store), 1);
    /* full to the last page: probe finds it */
    snprintf(store, sizeof store, "%s/filler", folder);
    int fd = open(store, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    while (write(fd, bytes, 4096) > 0) {
    }
    close(fd);
    assert_int_equal(sw_artifacts_probe(artifacts, &err), SW_E_INSUFFICIENT_STORAGE);
    assert_int_equal(sw_artifacts_verify(artifacts, &blob.digest, &err), SW_OK); /* reading goes on */
    sw_artifacts_close(artifacts);
    assert_int_equal(umount(folder), 0);
}

static int setup(void **state) {
    struct place *place = SW_NEW(struct place);
    place_make(place, false);
    *state = place;
    return 0;
}

static int teardown(void **state) {
    place_remove(*state);
    sw_free(*state);
    return 0;
}

static const struct CMUnitTest own_tests[] = {
    cmocka_unit_test(blobs_are_read_only_and_linked),    cmocka_unit_test(each_leaves_out_what_is_not_ours),
    cmocka_unit_test(folders_that_cannot_be_used),       cmocka_unit_test(fetch_to_another_file_system_copies),
    cmocka_unit_test(a_full_disk_leaves_nothing_behind),
};

int main(void) {
    enum { OWN = SW_COUNTOF(own_tests) };
    struct CMUnitTest *tests = sw_xcalloc(suite_count + OWN, sizeof *tests);
    memcpy(tests, suite_tests, suite_count * sizeof *tests);
    memcpy(tests + suite_count, own_tests, sizeof own_tests);
    for (size_t i = 0; i < suite_count + OWN; i++) {
        tests[i].setup_func = setup;
        tests[i].teardown_func = teardown;
    }
    int failed = _cmocka_run_group_tests("artifact/fs", tests, suite_count + OWN, NULL, NULL);
    sw_free(tests);
    return failed;
}
