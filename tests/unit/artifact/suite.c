/* What both back ends must do. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "place.h"

#define OK(call)                                                                 \
    do {                                                                         \
        struct sw_error *err_ = &err;                                            \
        sw_status got_ = (call);                                                 \
        if (got_) {                                                              \
            fail_msg("%s: %s (%s)", #call, sw_status_name(got_), err_->message); \
        }                                                                        \
    } while (0)
#define FAILS(call, status) assert_string_equal(sw_status_name(call), sw_status_name(status))

static struct sw_upload *begin(struct place *place, uint64_t size, const struct sw_digest *digest,
                               char ret_id[SW_UPLOAD_ID + 1]) {
    struct sw_error err = {0};
    struct sw_upload *upload = NULL;
    OK(sw_upload_create(place->artifacts, size, digest, ret_id, &err));
    OK(sw_upload_open(place->artifacts, sw_str_of(ret_id), &upload, &err));
    return upload;
}

static size_t uploads_left(const struct place *place) {
    char path[256];
    place_path(place, "a/b/uploads", path);
    return count_files(path);
}

static void assert_content(const char *path, const char *bytes, size_t len) {
    size_t found_len;
    SW_AUTO_FREE char *found = read_file(path, &found_len);
    assert_int_equal(found_len, len);
    assert_memory_equal(found, bytes, len);
}

static void assert_fetches(struct place *place, const struct sw_digest *digest, const char *bytes, size_t len) {
    char path[256];
    struct stat st;
    struct sw_error err = {0};
    place_path(place, "fetched", path);
    OK(sw_artifacts_fetch(place->artifacts, digest, len, path, &err));
    assert_content(path, bytes, len);
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(st.st_mode & 0222, 0);
    assert_int_equal(unlink(path), 0);
}

static void upload_becomes_a_blob(void **state) {
    struct place *place = *state;
    enum { LEN = 700001 };
    SW_AUTO_FREE char *bytes = make_bytes(LEN, 1);
    struct sw_digest digest = digest_of(bytes, LEN);
    char id[SW_UPLOAD_ID + 1];
    struct sw_error err = {0};
    struct sw_blob blob, found;
    uint64_t before = now_ms();
    struct sw_upload *upload = begin(place, LEN, &digest, id);
    FAILS(sw_artifacts_stat(place->artifacts, &digest, &found, &err), SW_E_NOT_FOUND);
    for (size_t at = 0; at < LEN; at += 1000) {
        OK(sw_upload_write(upload, bytes + at, LEN - at < 1000 ? LEN - at : 1000, &err));
    }
    assert_int_equal(sw_upload_offset(upload), LEN);
    assert_int_equal(sw_upload_size(upload), LEN);
    assert_content(sw_upload_path(upload), bytes, LEN);
    OK(sw_upload_commit(upload, &blob, &err));
    assert_string_equal(blob.digest.hex, digest.hex);
    assert_int_equal(blob.size, LEN);
    assert_int_equal(uploads_left(place), 0);
    OK(sw_artifacts_stat(place->artifacts, &digest, &found, &err));
    assert_int_equal(found.size, LEN);
    assert_true(found.modified_ms + 2000 >= before && found.modified_ms <= now_ms() + 2000); /* S3: whole seconds */
    assert_fetches(place, &digest, bytes, LEN);
    OK(sw_artifacts_verify(place->artifacts, &digest, &err));
    assert_int_equal(sw_artifacts_health(place->artifacts, &err), SW_OK);
    FAILS(sw_upload_open(place->artifacts, sw_str_of(id), &upload, &err), SW_E_NOT_FOUND);
}

static void open_blob_reads_from_its_begin(void **state) {
    struct place *place = *state;
    SW_AUTO_FREE char *bytes = make_bytes(3000, 2);
    char found[3001];
    struct sw_blob blob = put_bytes(place, bytes, 3000);
    struct sw_error err = {0};
    uint64_t size = 0;
    int fd = -1;
    OK(sw_artifacts_open_blob(place->artifacts, &blob.digest, &fd, &size, &err));
    assert_int_equal(size, 3000);
    assert_int_equal(read(fd, found, sizeof found), 3000);
    assert_memory_equal(found, bytes, 3000);
    close(fd);
}

static void an_empty_file_is_a_blob(void **state) {
    struct place *place = *state;
    struct sw_blob blob = put_bytes(place, "", 0);
    assert_string_equal(blob.digest.hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_fetches(place, &blob.digest, "", 0);
}

static void upload_goes_on_after_a_restart(void **state) {
    struct place *place = *state;
    SW_AUTO_FREE char *bytes = make_bytes(5000, 3);
    struct sw_digest digest = digest_of(bytes, 5000);
    char id[SW_UPLOAD_ID + 1];
    struct sw_error err = {0};
    struct sw_upload_info info;
    struct sw_blob blob;
    struct sw_upload *upload = begin(place, 5000, &digest, id);
    OK(sw_upload_write(upload, bytes, 2000, &err));
    sw_upload_close(upload);
    place_reopen(place);
    OK(sw_upload_stat(place->artifacts, sw_str_of(id), &info, &err));
    assert_string_equal(info.id, id);
    assert_int_equal(info.offset, 2000);
    assert_int_equal(info.size, 5000);
    assert_true(info.has_digest);
    assert_string_equal(info.digest.hex, digest.hex);
    assert_true(info.modified_ms <= now_ms() && info.modified_ms + 60000 > now_ms());
    OK(sw_upload_open(place->artifacts, sw_str_of(id), &upload, &err));
    assert_int_equal(sw_upload_offset(upload), 2000);
    FAILS(sw_upload_commit(upload, &blob, &err), SW_E_INVALID_ARGUMENT); /* too early: the upload stays */
    OK(sw_upload_open(place->artifacts, sw_str_of(id), &upload, &err));
    OK(sw_upload_write(upload, bytes + 2000, 3000, &err));
    OK(sw_upload_commit(upload, &blob, &err));
    assert_string_equal(blob.digest.hex, digest.hex);
}

static void size_and_digest_need_not_be_known(void **state) {
    struct place *place = *state;
    char id[SW_UPLOAD_ID + 1];
    struct sw_error err = {0};
    struct sw_upload_info info;
    struct sw_blob blob;
    struct sw_upload *upload = begin(place, UINT64_MAX, NULL, id);
    OK(sw_upload_write(upload, "abc", 3, &err));
    OK(sw_upload_stat(place->artifacts, sw_str_of(id), &info, &err));
    assert_true(info.size == UINT64_MAX && !info.has_digest && info.offset == 3);
    OK(sw_upload_commit(upload, &blob, &err));
    assert_string_equal(blob.digest.hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void one_writer_at_a_time(void **state) {
    struct place *place = *state;
    char id[SW_UPLOAD_ID + 1];
    struct sw_error err = {0};
    struct sw_upload *upload = begin(place, UINT64_MAX, NULL, id), *other = NULL;
    FAILS(sw_upload_open(place->artifacts, sw_str_of(id), &other, &err), SW_E_CONFLICT);
    FAILS(sw_upload_delete(place->artifacts, sw_str_of(id), &err), SW_E_CONFLICT);
    assert_null(other);
    sw_upload_close(upload);
    OK(sw_upload_delete(place->artifacts, sw_str_of(id), &err));
    FAILS(sw_upload_delete(place->artifacts, sw_str_of(id), &err), SW_E_NOT_FOUND);
    assert_int_equal(uploads_left(place), 0);
}

/* Runs in a second process, which opens the same folder. Exit code: what opening the upload said. */
static int open_in_child(const struct sw_artifacts_options *options, const char *id) {
    struct sw_artifacts *artifacts = NULL;
    struct sw_upload *upload = NULL;
    if (sw_artifacts_open(options, &artifacts, NULL)) {
        return 255;
    }
    int status = (int)sw_upload_open(artifacts, sw_str_of(id), &upload, NULL);
    sw_upload_close(upload);
    sw_artifacts_close(artifacts);
    return status;
}

static int status_in_other_process(struct place *place, const char *id) {
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(open_in_child(&place->options, id));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void two_processes_share_a_folder(void **state) {
    struct place *place = *state;
    char id[SW_UPLOAD_ID + 1];
    struct sw_error err = {0};
    struct sw_upload *upload = begin(place, UINT64_MAX, NULL, id);
    assert_int_equal(status_in_other_process(place, id), SW_E_CONFLICT);
    sw_upload_close(upload);
    assert_int_equal(status_in_other_process(place, id), SW_OK);
    OK(sw_upload_delete(place->artifacts, sw_str_of(id), &err));
    assert_int_equal(status_in_other_process(place, id), SW_E_NOT_FOUND);
}

static void wrong_content_is_refused(void **state) {
    struct place *place = *state;
    struct sw_digest other = digest_of("other", 5);
    char id[SW_UPLOAD_ID + 1];
    struct sw_error err = {0};
    struct sw_blob blob;
    struct sw_upload *upload = begin(place, 5, &other, id);
    OK(sw_upload_write(upload, "bytes", 5, &err));
    FAILS(sw_upload_commit(upload, &blob, &err), SW_E_DIGEST_MISMATCH);
    assert_non_null(strstr(err.message, other.hex));
    FAILS(sw_upload_stat(place->artifacts, sw_str_of(id), &(struct sw_upload_info){0}, &err), SW_E_NOT_FOUND);
    FAILS(sw_artifacts_stat(place->artifacts, &other, &blob, &err), SW_E_NOT_FOUND);
    upload = begin(place, 3, NULL, id);
    FAILS(sw_upload_write(upload, "four", 4, &err), SW_E_TOO_LARGE);
    assert_int_equal(sw_upload_offset(upload), 0);
    OK(sw_upload_write(upload, "abc", 3, &err));
    OK(sw_upload_commit(upload, &blob, &err));
    assert_int_equal(uploads_left(place), 0);
}

static void limits_of_an_upload(void **state) {
    struct place *place = *state;
    char id[SW_UPLOAD_ID + 1];
    struct sw_error err = {0};
    place->options.upload_max = 1000;
    place_reopen(place);
    FAILS(sw_upload_create(place->artifacts, 1001, NULL, id, &err), SW_E_TOO_LARGE);
    struct sw_upload *upload = begin(place, UINT64_MAX, NULL, id);
    SW_AUTO_FREE char *bytes = make_bytes(1001, 4);
    OK(sw_upload_write(upload, bytes, 1000, &err));
    FAILS(sw_upload_write(upload, bytes, 1, &err), SW_E_TOO_LARGE);
    sw_upload_close(upload);
    place->options.upload_max = UINT64_MAX - 1;
    place_reopen(place);
    FAILS(sw_upload_create(place->artifacts, 1ull << 60, NULL, id, &err), SW_E_INSUFFICIENT_STORAGE);
    OK(sw_artifacts_sweep(place->artifacts, 0, false, NULL, NULL, NULL, NULL, &err));
    assert_int_equal(uploads_left(place), 0);
}

static void ids_from_outside_are_checked(void **state) {
    struct place *place = *state;
    static const char *const bad[] = {"",
                                      "x",
                                      "../../../../../../etc/passwd",
                                      "0123456789abcdef0123456789abcde",
                                      "0123456789abcdef0123456789abcdef0",
                                      "0123456789ABCDEF0123456789abcdef",
                                      "0123456789abcdef/../../../../etc",
                                      "0123456789abcdef0123456789abcdef"};
    struct sw_error err = {0};
    struct sw_upload *upload = NULL;
    struct sw_upload_info info;
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        FAILS(sw_upload_open(place->artifacts, sw_str_of(bad[i]), &upload, &err), SW_E_NOT_FOUND);
        FAILS(sw_upload_stat(place->artifacts, sw_str_of(bad[i]), &info, &err), SW_E_NOT_FOUND);
        FAILS(sw_upload_delete(place->artifacts, sw_str_of(bad[i]), &err), SW_E_NOT_FOUND);
    }
    assert_null(upload);
}

static void links_are_not_followed(void **state) {
    struct place *place = *state;
    char id[SW_UPLOAD_ID + 1], target[256], name[256];
    struct sw_error err = {0};
    struct sw_upload *upload = begin(place, UINT64_MAX, NULL, id), *other = NULL;
    struct sw_blob blob;
    sw_upload_close(upload);
    place_path(place, "outside", target);
    write_file(target, "secret", 6);
    snprintf(name, sizeof name, "%s/uploads/%s", place->store, id);
    assert_int_equal(unlink(name), 0);
    assert_int_equal(symlink(target, name), 0);
    FAILS(sw_upload_open(place->artifacts, sw_str_of(id), &other, &err), SW_E_IO);
    assert_int_equal(unlink(name), 0);
    place_path(place, "link", name);
    assert_int_equal(symlink(target, name), 0);
    FAILS(sw_artifacts_put_file(place->artifacts, name, NULL, &blob, &err), SW_E_IO);
    FAILS(sw_digest_file(name, &blob.digest, &blob.size, &err), SW_E_IO);
    assert_content(target, "secret", 6);
}

static void a_damaged_announcement_means_begin_anew(void **state) {
    struct place *place = *state;
    char id[SW_UPLOAD_ID + 1], name[256];
    struct sw_error err = {0};
    struct sw_upload *other = NULL;
    sw_upload_close(begin(place, 10, NULL, id));
    snprintf(name, sizeof name, "%s/uploads/%s.json", place->store, id);
    write_file(name, "{\"size\":1", 9);
    FAILS(sw_upload_open(place->artifacts, sw_str_of(id), &other, &err), SW_E_NOT_FOUND);
    OK(sw_upload_delete(place->artifacts, sw_str_of(id), &err));
}

struct racer {
    struct place *place;
    const char *bytes;
    size_t len;
    pthread_barrier_t *barrier;
    sw_status status;
};

static void *race(void *arg) {
    struct racer *racer = arg;
    char id[SW_UPLOAD_ID + 1];
    struct sw_upload *upload = NULL;
    struct sw_blob blob;
    racer->status = sw_upload_create(racer->place->artifacts, racer->len, NULL, id, NULL);
    if (!racer->status) {
        racer->status = sw_upload_open(racer->place->artifacts, sw_str_of(id), &upload, NULL);
    }
    if (!racer->status) {
        racer->status = sw_upload_write(upload, racer->bytes, racer->len, NULL);
    }
    pthread_barrier_wait(racer->barrier);
    if (!racer->status) {
        racer->status = sw_upload_commit(upload, &blob, NULL);
    }
    return NULL;
}

static void commits_of_one_digest_do_not_disturb_each_other(void **state) {
    struct place *place = *state;
    enum { RACERS = 6, LEN = 200000 };
    SW_AUTO_FREE char *bytes = make_bytes(LEN, 5);
    struct sw_digest digest = digest_of(bytes, LEN);
    struct racer racers[RACERS];
    pthread_t threads[RACERS];
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, RACERS);
    for (size_t i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){place, bytes, LEN, &barrier, SW_OK};
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (size_t i = 0; i < RACERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(racers[i].status, SW_OK);
    }
    pthread_barrier_destroy(&barrier);
    assert_fetches(place, &digest, bytes, LEN);
    assert_int_equal(uploads_left(place), 0);
}

struct seen {
    size_t count;
    uint64_t bytes;
    size_t stop_after;
};

static bool see(void *arg, const struct sw_blob *blob) {
    struct seen *seen = arg;
    seen->count++;
    seen->bytes += blob->size;
    assert_true(blob->modified_ms > 0);
    return seen->count != seen->stop_after;
}

static void each_and_delete(void **state) {
    struct place *place = *state;
    struct seen seen = {0};
    struct sw_error err = {0};
    struct sw_blob blobs[5];
    for (size_t i = 0; i < 5; i++) {
        SW_AUTO_FREE char *bytes = make_bytes(100 + i, 10 + i);
        blobs[i] = put_bytes(place, bytes, 100 + i);
    }
    OK(sw_artifacts_each(place->artifacts, see, &seen, &err));
    assert_int_equal(seen.count, 5);
    assert_int_equal(seen.bytes, 510);
    seen = (struct seen){.stop_after = 2};
    OK(sw_artifacts_each(place->artifacts, see, &seen, &err));
    assert_int_equal(seen.count, 2);
    OK(sw_artifacts_delete(place->artifacts, &blobs[0].digest, &err));
    OK(sw_artifacts_delete(place->artifacts, &blobs[0].digest, &err));
    FAILS(sw_artifacts_stat(place->artifacts, &blobs[0].digest, &blobs[1], &err), SW_E_NOT_FOUND);
    seen = (struct seen){0};
    OK(sw_artifacts_each(place->artifacts, see, &seen, &err));
    assert_int_equal(seen.count, 4);
}

static void sweep_takes_what_nobody_touches(void **state) {
    struct place *place = *state;
    char old_id[SW_UPLOAD_ID + 1], open_id[SW_UPLOAD_ID + 1], name[256];
    struct sw_error err = {0};
    struct sw_upload_info info;
    size_t count = 99;
    uint64_t bytes = 99;
    struct sw_upload *upload = begin(place, UINT64_MAX, NULL, old_id);
    OK(sw_upload_write(upload, "12345", 5, &err));
    sw_upload_close(upload);
    struct sw_upload *held = begin(place, UINT64_MAX, NULL, open_id);
    snprintf(name, sizeof name, "%s/uploads/00000000000000000000000000000000.json", place->store);
    write_file(name, "{}", 2); /* a crash left it */
    snprintf(name, sizeof name, "%s/uploads/other", place->store);
    write_file(name, "x", 1); /* not ours */
    OK(sw_artifacts_sweep(place->artifacts, 3600000, false, NULL, NULL, &count, &bytes, &err));
    assert_int_equal(count, 0);
    assert_int_equal(uploads_left(place), 6);
    OK(sw_artifacts_sweep(place->artifacts, 0, true, NULL, NULL, &count, &bytes, &err));
    assert_true(count == 1 && bytes == 5);
    OK(sw_upload_stat(place->artifacts, sw_str_of(old_id), &info, &err));
    OK(sw_artifacts_sweep(place->artifacts, 0, false, NULL, NULL, &count, &bytes, &err));
    assert_true(count == 1 && bytes == 5);
    FAILS(sw_upload_stat(place->artifacts, sw_str_of(old_id), &info, &err), SW_E_NOT_FOUND);
    OK(sw_upload_stat(place->artifacts, sw_str_of(open_id), &info, &err));
    assert_int_equal(uploads_left(place), 3);
    sw_upload_close(held);
    OK(sw_artifacts_sweep(place->artifacts, 0, false, NULL, NULL, &count, NULL, &err));
    assert_int_equal(count, 1);
}

static void put_file_copies(void **state) {
    struct place *place = *state;
    char path[256];
    struct sw_error err = {0};
    struct sw_blob blob, again;
    SW_AUTO_FREE char *bytes = make_bytes(600000, 6);
    struct sw_digest digest = digest_of(bytes, 600000), other = digest_of("", 0);
    place_path(place, "model.onnx", path);
    write_file(path, bytes, 600000);
    FAILS(sw_artifacts_put_file(place->artifacts, path, &other, &blob, &err), SW_E_DIGEST_MISMATCH);
    FAILS(sw_artifacts_stat(place->artifacts, &digest, &blob, &err), SW_E_NOT_FOUND);
    OK(sw_artifacts_put_file(place->artifacts, path, &digest, &blob, &err));
    OK(sw_artifacts_put_file(place->artifacts, path, NULL, &again, &err));
    assert_string_equal(blob.digest.hex, digest.hex);
    assert_string_equal(again.digest.hex, digest.hex);
    write_file(path, "changed", 7); /* the blob is a copy */
    assert_fetches(place, &digest, bytes, 600000);
    assert_int_equal(uploads_left(place), 0);
    place_path(place, "missing", path);
    FAILS(sw_artifacts_put_file(place->artifacts, path, NULL, &blob, &err), SW_E_NOT_FOUND);
}

static void fetch_refuses(void **state) {
    struct place *place = *state;
    char path[256], missing[256];
    struct sw_error err = {0};
    struct sw_blob blob = put_bytes(place, "abcdef", 6);
    struct sw_digest nothing = digest_of("nothing", 7);
    place_path(place, "taken", path);
    place_path(place, "no/folder", missing);
    write_file(path, "mine", 4);
    FAILS(sw_artifacts_fetch(place->artifacts, &blob.digest, 6, path, &err), SW_E_CONFLICT);
    assert_content(path, "mine", 4);
    assert_int_equal(unlink(path), 0);
    FAILS(sw_artifacts_fetch(place->artifacts, &blob.digest, 7, path, &err), SW_E_DIGEST_MISMATCH);
    FAILS(sw_artifacts_fetch(place->artifacts, &nothing, UINT64_MAX, path, &err), SW_E_NOT_FOUND);
    assert_int_not_equal(sw_artifacts_fetch(place->artifacts, &blob.digest, 6, missing, &err), SW_OK);
    assert_false(file_exists(path));
    assert_fetches(place, &blob.digest, "abcdef", 6);
}

static void tampered_blobs_are_found_and_mended(void **state) {
    struct place *place = *state;
    char path[256], cache[256];
    struct sw_error err = {0};
    SW_AUTO_FREE char *bytes = make_bytes(300000, 7), *other = make_bytes(300000, 8);
    struct sw_blob blob = put_bytes(place, bytes, 300000);
    uint64_t size;
    int fd;
    place_path(place, "fetched", path);
    for (size_t len = 300000; len >= 299999; len--) { /* other bytes, then fewer bytes */
        tamper_blob(place, &blob.digest, len == 300000 ? other : bytes, len);
        snprintf(cache, sizeof cache, "%s/cache/%.2s/%s", place->store, blob.digest.hex, blob.digest.hex);
        (void)unlink(cache); /* S3: no copy that is still good */
        FAILS(sw_artifacts_fetch(place->artifacts, &blob.digest, UINT64_MAX, path, &err), SW_E_DIGEST_MISMATCH);
        FAILS(sw_artifacts_fetch(place->artifacts, &blob.digest, 300000, path, &err), SW_E_DIGEST_MISMATCH);
        assert_false(file_exists(path));
        FAILS(sw_artifacts_open_blob(place->artifacts, &blob.digest, &fd, &size, &err), SW_E_DIGEST_MISMATCH);
        FAILS(sw_artifacts_verify(place->artifacts, &blob.digest, &err), SW_E_DIGEST_MISMATCH);
        assert_non_null(strstr(err.message, blob.digest.hex));
        assert_false(file_exists(cache));
    }
    (void)put_bytes(place, bytes, 300000);
    OK(sw_artifacts_verify(place->artifacts, &blob.digest, &err));
    assert_fetches(place, &blob.digest, bytes, 300000);
}

static void probe_says_that_it_works(void **state) {
    struct place *place = *state;
    struct sw_error err = {0};
    OK(sw_artifacts_probe(place->artifacts, &err));
    OK(sw_artifacts_health(place->artifacts, &err));
    assert_int_equal(uploads_left(place), 0);
}

const struct CMUnitTest suite_tests[] = {
    cmocka_unit_test(upload_becomes_a_blob),
    cmocka_unit_test(open_blob_reads_from_its_begin),
    cmocka_unit_test(an_empty_file_is_a_blob),
    cmocka_unit_test(upload_goes_on_after_a_restart),
    cmocka_unit_test(size_and_digest_need_not_be_known),
    cmocka_unit_test(one_writer_at_a_time),
    cmocka_unit_test(two_processes_share_a_folder),
    cmocka_unit_test(wrong_content_is_refused),
    cmocka_unit_test(limits_of_an_upload),
    cmocka_unit_test(ids_from_outside_are_checked),
    cmocka_unit_test(links_are_not_followed),
    cmocka_unit_test(a_damaged_announcement_means_begin_anew),
    cmocka_unit_test(commits_of_one_digest_do_not_disturb_each_other),
    cmocka_unit_test(each_and_delete),
    cmocka_unit_test(sweep_takes_what_nobody_touches),
    cmocka_unit_test(put_file_copies),
    cmocka_unit_test(fetch_refuses),
    cmocka_unit_test(tampered_blobs_are_found_and_mended),
    cmocka_unit_test(probe_says_that_it_works),
};
const size_t suite_count = SW_COUNTOF(suite_tests);
