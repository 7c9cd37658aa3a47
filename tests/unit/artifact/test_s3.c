/* The S3 back end against the server of tests/servers/s3.py: what both must do, large files in parts, the cache, and
 * all that goes wrong between here and there. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "artifact/s3_internal.h"
#include "base/file.h"
#include "base/memory.h"
#include "place.h"
#include "proxy.h"

#define OK(call)                                                               \
    do {                                                                       \
        sw_status got_ = (call);                                               \
        if (got_) {                                                            \
            fail_msg("%s: %s (%s)", #call, sw_status_name(got_), err.message); \
        }                                                                      \
    } while (0)
#define FAILS(call, status) assert_string_equal(sw_status_name(call), sw_status_name(status))

/* ---- the server */

static void tell_server(const char *word) {
    char answer[5] = "";
    uint64_t fd = 0;
    assert_true(sw_parse_u64(sw_str_of(getenv("SLIPWAY_TEST_S3_CONTROL")), &fd));
    assert_int_equal(write((int)fd, word, strlen(word)), strlen(word));
    assert_int_equal(write((int)fd, "\n", 1), 1);
    for (size_t len = 0; len < 5;) {
        ssize_t n = read((int)fd, answer + len, 5 - len);
        assert_true(n > 0);
        len += (size_t)n;
    }
    assert_memory_equal(answer, "done\n", 5);
}

static sw_status put_object(struct place *place, const char *key, const void *data, size_t len) {
    struct sw_digest digest = digest_of(data, len);
    struct sw_s3_request request = {
        .method = "PUT", .key = key, .payload_hash = digest.hex, .fd = -1, .body_data = data, .body_size = len};
    return sw_s3_do(place->artifacts, &request, NULL);
}

void tamper_blob(struct place *place, const struct sw_digest *digest, const void *data, size_t len) {
    char key[SW_S3_KEY_MAX];
    sw_s3_blob_key(place->artifacts->s3, digest, key);
    assert_int_equal(put_object(place, key, data, len), SW_OK);
}

static void cache_path(const struct place *place, const struct sw_digest *digest, char ret_path[256]) {
    snprintf(ret_path, 256, "%s/cache/%.2s/%s", place->store, digest->hex, digest->hex);
}

static void drop_cached(const struct place *place, const struct sw_digest *digest) {
    char path[256];
    cache_path(place, digest, path);
    assert_int_equal(unlink(path), 0);
}

static bool is_cached(const struct place *place, const struct sw_digest *digest) {
    char path[256];
    cache_path(place, digest, path);
    return file_exists(path);
}

static void assert_fetches(struct place *place, const struct sw_digest *digest, const char *bytes, size_t len) {
    char path[256];
    size_t found_len;
    struct sw_error err = {0};
    place_path(place, "fetched", path);
    OK(sw_artifacts_fetch(place->artifacts, digest, len, path, &err));
    SW_AUTO_FREE char *found = read_file(path, &found_len);
    assert_int_equal(found_len, len);
    assert_memory_equal(found, bytes, len);
    assert_int_equal(unlink(path), 0);
}

static void go_through(struct place *place, struct proxy *proxy) {
    proxy_start(proxy, getenv("SLIPWAY_TEST_S3_ENDPOINT"));
    place->options.s3_endpoint = proxy->endpoint;
    place_reopen(place);
    place->artifacts->s3->backoff_ms = 2;
}

static void go_directly(struct place *place, struct proxy *proxy) {
    place->options.s3_endpoint = getenv("SLIPWAY_TEST_S3_ENDPOINT");
    place_reopen(place);
    proxy_stop(proxy);
}

/* ---- parts */

static size_t unfinished_uploads(struct place *place) {
    size_t count = 0;
    struct sw_error err = {0};
    OK(sw_artifacts_sweep(place->artifacts, 0, true, NULL, NULL, &count, NULL, &err));
    return count;
}

enum { PART = 5 << 20, PARTED = 12 << 20 }; /* the least that S3 takes as a part */

static void small_parts(struct place *place) {
    place->artifacts->s3->single_max = PART;
    place->artifacts->s3->part_size = PART;
}

static void large_files_go_up_in_parts(void **state) {
    struct place *place = *state;
    SW_AUTO_FREE char *bytes = make_bytes(PARTED, 1);
    struct sw_error err = {0};
    small_parts(place);
    struct sw_blob blob = put_bytes(place, bytes, PARTED), found;
    assert_true(is_cached(place, &blob.digest));
    drop_cached(place, &blob.digest);
    OK(sw_artifacts_stat(place->artifacts, &blob.digest, &found, &err));
    assert_int_equal(found.size, PARTED);
    OK(sw_artifacts_verify(place->artifacts, &blob.digest, &err));
    assert_false(is_cached(place, &blob.digest)); /* read through */
    assert_fetches(place, &blob.digest, bytes, PARTED);
    assert_true(is_cached(place, &blob.digest));
    assert_int_equal(unfinished_uploads(place), 0);
}

static void failed_parts_are_aborted(void **state) {
    struct place *place = *state;
    struct proxy proxy = {0};
    char id[SW_UPLOAD_ID + 1];
    struct sw_upload *upload = NULL;
    struct sw_error err = {0};
    struct sw_blob blob;
    SW_AUTO_FREE char *bytes = make_bytes(PARTED, 2);
    go_through(place, &proxy);
    small_parts(place);
    place->artifacts->s3->attempts_max = 1;
    OK(sw_upload_create(place->artifacts, PARTED, NULL, id, &err));
    OK(sw_upload_open(place->artifacts, sw_str_of(id), &upload, &err));
    OK(sw_upload_write(upload, bytes, PARTED, &err));
    pthread_mutex_lock(&proxy.lock);
    /* in the middle of the answer, after its first line: libcurl by itself sends again what was not answered at all */
    proxy.cut_method = "PUT";
    proxy.cut_after = 40;
    proxy.cuts = 100;
    pthread_mutex_unlock(&proxy.lock);
    FAILS(sw_upload_commit(upload, &blob, &err), SW_E_UNAVAILABLE);
    pthread_mutex_lock(&proxy.lock);
    assert_true(proxy.cuts < 100);
    proxy.cuts = 0;
    pthread_mutex_unlock(&proxy.lock);
    assert_int_equal(unfinished_uploads(place), 1); /* only the local one: it stays, to be tried again */
    OK(sw_upload_open(place->artifacts, sw_str_of(id), &upload, &err));
    assert_int_equal(sw_upload_offset(upload), PARTED);
    OK(sw_upload_commit(upload, &blob, &err));
    assert_int_equal(unfinished_uploads(place), 0);
    OK(sw_artifacts_verify(place->artifacts, &blob.digest, &err));
    go_directly(place, &proxy);
}

static void sweep_aborts_what_nobody_finished(void **state) {
    struct place *place = *state;
    char key[SW_S3_KEY_MAX], other[SW_S3_KEY_MAX];
    size_t count = 0;
    struct sw_error err = {0};
    struct sw_digest digest = digest_of("x", 1);
    sw_s3_blob_key(place->artifacts->s3, &digest, key);
    snprintf(other, sizeof other, "%sblobs/zz/not-ours", place->artifacts->s3->prefix);
    struct sw_s3_request request = {
        .method = "POST", .key = key, .query = {{"uploads", ""}}, .query_count = 1, .fd = -1};
    for (int i = 0; i < 3; i++) {
        request.key = i < 2 ? key : other;
        OK(sw_s3_do(place->artifacts, &request, &err));
    }
    OK(sw_artifacts_sweep(place->artifacts, 3600000, false, NULL, NULL, &count, NULL, &err));
    assert_int_equal(count, 0);
    place->artifacts->clock = &(struct sw_clock){0};
    sw_clock_manual_init(place->artifacts->clock, (now_ms() + 2 * 3600000) * 1000000);
    OK(sw_artifacts_sweep(place->artifacts, 3600000, true, NULL, NULL, &count, NULL, &err));
    assert_int_equal(count, 2);
    OK(sw_artifacts_sweep(place->artifacts, 3600000, false, NULL, NULL, &count, NULL, &err));
    assert_int_equal(count, 2);
    OK(sw_artifacts_sweep(place->artifacts, 3600000, false, NULL, NULL, &count, NULL, &err));
    assert_int_equal(count, 0);
}

/* Peak of resident memory since the last reset, in bytes. */
static uint64_t peak_memory(void) {
    struct sw_buf status;
    uint64_t kilobytes = 0;
    assert_int_equal(sw_file_read("/proc/self/status", 65536, &status, NULL), SW_OK);
    const char *line = strstr(status.data, "VmHWM:");
    assert_non_null(line);
    kilobytes = strtoull(line + 6, NULL, 10);
    sw_buf_deinit(&status);
    return kilobytes << 10;
}

static void memory_does_not_depend_on_the_size(void **state) {
    struct place *place = *state;
    enum { BLOCK = 1 << 20, BLOCKS = 300 };
    char id[SW_UPLOAD_ID + 1], path[256];
    struct sw_upload *upload = NULL;
    struct sw_error err = {0};
    struct sw_blob blob;
    struct sw_digest found;
    uint64_t size = 0;
    SW_AUTO_FREE char *bytes = make_bytes(BLOCK, 3);
    (void)put_bytes(place, bytes, BLOCK); /* libraries have their memory from here on */
    write_file("/proc/self/clear_refs", "5", 1);
    uint64_t before = peak_memory();
    OK(sw_upload_create(place->artifacts, (uint64_t)BLOCK * BLOCKS, NULL, id, &err));
    OK(sw_upload_open(place->artifacts, sw_str_of(id), &upload, &err));
    for (int i = 0; i < BLOCKS; i++) {
        bytes[i] = (char)(bytes[i] + 1);
        OK(sw_upload_write(upload, bytes, BLOCK, &err));
    }
    OK(sw_upload_commit(upload, &blob, &err));
    drop_cached(place, &blob.digest);
    place_path(place, "fetched", path);
    OK(sw_artifacts_fetch(place->artifacts, &blob.digest, blob.size, path, &err));
    uint64_t grown = peak_memory() - before;
    OK(sw_digest_file(path, &found, &size, &err));
    assert_string_equal(found.hex, blob.digest.hex);
    assert_int_equal(size, (uint64_t)BLOCK * BLOCKS);
    print_message("peak memory grew by %llu KiB for %d MiB up and down\n", (unsigned long long)(grown >> 10), BLOCKS);
    assert_true(grown < 32u << 20);
    OK(sw_artifacts_delete(place->artifacts, &blob.digest, &err));
}

/* ---- listing */

struct listed {
    size_t count;
    struct place *place;
    bool deleting;
};

static bool on_listed(void *arg, const struct sw_blob *blob) {
    struct listed *listed = arg;
    listed->count++;
    assert_true(blob->size >= 10 && blob->size < 17 && blob->modified_ms > 0);
    if (listed->deleting) {
        assert_int_equal(sw_artifacts_delete(listed->place->artifacts, &blob->digest, NULL), SW_OK);
    }
    return true;
}

static void listings_have_pages(void **state) {
    struct place *place = *state;
    char key[SW_S3_KEY_MAX];
    struct sw_error err = {0};
    struct listed listed = {.place = place};
    place->artifacts->s3->page_max = 2;
    for (size_t i = 0; i < 7; i++) {
        SW_AUTO_FREE char *bytes = make_bytes(10 + i, 40 + i);
        (void)put_bytes(place, bytes, 10 + i);
    }
    snprintf(key, sizeof key, "%sblobs/zz/other", place->artifacts->s3->prefix);
    assert_int_equal(put_object(place, key, "not ours", 8), SW_OK);
    OK(sw_artifacts_each(place->artifacts, on_listed, &listed, &err));
    assert_int_equal(listed.count, 7);
    listed = (struct listed){.place = place, .deleting = true};
    OK(sw_artifacts_each(place->artifacts, on_listed, &listed, &err));
    assert_int_equal(listed.count, 7);
    listed = (struct listed){.place = place};
    OK(sw_artifacts_each(place->artifacts, on_listed, &listed, &err));
    assert_int_equal(listed.count, 0);
}

/* ---- the cache */

static void a_tampered_copy_is_fetched_again(void **state) {
    struct place *place = *state;
    char path[256];
    SW_AUTO_FREE char *bytes = make_bytes(100000, 5);
    struct sw_blob blob = put_bytes(place, bytes, 100000);
    cache_path(place, &blob.digest, path);
    for (int shorter = 0; shorter < 2; shorter++) {
        assert_int_equal(chmod(path, 0600), 0);
        bytes[5000] ^= 1;
        write_file(path, bytes, shorter ? 99999 : 100000);
        bytes[5000] ^= 1;
        assert_fetches(place, &blob.digest, bytes, 100000);
        size_t len;
        SW_AUTO_FREE char *cached = read_file(path, &len);
        assert_int_equal(len, 100000);
        assert_memory_equal(cached, bytes, len);
    }
}

static void set_used(const struct place *place, const struct sw_digest *digest, time_t seconds) {
    char path[256];
    struct timespec times[2] = {{seconds, 0}, {seconds, 0}};
    cache_path(place, digest, path);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void what_was_used_longest_ago_is_evicted(void **state) {
    struct place *place = *state;
    char path[256];
    struct sw_error err = {0};
    struct sw_blob blobs[4];
    SW_AUTO_FREE char *bytes[4];
    place->options.cache_max = 350000;
    place_reopen(place);
    for (size_t i = 0; i < 3; i++) {
        bytes[i] = make_bytes(100000, 50 + i);
        blobs[i] = put_bytes(place, bytes[i], 100000);
        set_used(place, &blobs[i].digest, 1000 + (time_t)i);
    }
    assert_fetches(place, &blobs[0].digest, bytes[0], 100000); /* used now */
    bytes[3] = make_bytes(100000, 53);
    blobs[3] = put_bytes(place, bytes[3], 100000);
    assert_true(is_cached(place, &blobs[0].digest));
    assert_false(is_cached(place, &blobs[1].digest));
    assert_true(is_cached(place, &blobs[2].digest));
    assert_true(is_cached(place, &blobs[3].digest));
    /* one that is linked elsewhere costs nothing here and stays; one that is open keeps its bytes */
    place_path(place, "linked", path);
    OK(sw_artifacts_fetch(place->artifacts, &blobs[2].digest, 100000, path, &err));
    set_used(place, &blobs[2].digest, 1);
    int fd = -1;
    uint64_t size = 0;
    OK(sw_artifacts_open_blob(place->artifacts, &blobs[0].digest, &fd, &size, &err));
    set_used(place, &blobs[0].digest, 2);
    place->artifacts->s3->cache_max = 200000;
    assert_fetches(place, &blobs[1].digest, bytes[1], 100000);
    assert_true(is_cached(place, &blobs[2].digest));
    assert_false(is_cached(place, &blobs[0].digest));
    SW_AUTO_FREE char *found = sw_xmalloc(100001);
    assert_int_equal(read(fd, found, 100001), 100000);
    assert_memory_equal(found, bytes[0], 100000);
    close(fd);
    for (size_t i = 1; i < 4; i++) {
        sw_free(bytes[i]);
    }
}

struct fetcher {
    struct place *place;
    struct sw_blob blob;
    char path[256];
    pthread_barrier_t *barrier;
    sw_status status;
};

static void *fetch(void *arg) {
    struct fetcher *fetcher = arg;
    pthread_barrier_wait(fetcher->barrier);
    fetcher->status = sw_artifacts_fetch(fetcher->place->artifacts, &fetcher->blob.digest, fetcher->blob.size,
                                         fetcher->path, NULL);
    return NULL;
}

static void who_wants_the_same_blob_shares_one_download(void **state) {
    struct place *place = *state;
    enum { FETCHERS = 6, LEN = 500000 };
    struct proxy proxy = {0};
    struct fetcher fetchers[FETCHERS];
    pthread_t threads[FETCHERS];
    pthread_barrier_t barrier;
    SW_AUTO_FREE char *bytes = make_bytes(LEN, 6);
    struct sw_blob blob = put_bytes(place, bytes, LEN);
    drop_cached(place, &blob.digest);
    go_through(place, &proxy);
    pthread_barrier_init(&barrier, NULL, FETCHERS);
    for (size_t i = 0; i < FETCHERS; i++) {
        fetchers[i] = (struct fetcher){place, blob, "", &barrier, SW_E_INTERNAL};
        snprintf(fetchers[i].path, sizeof fetchers[i].path, "%s/fetched-%zu", place->root, i);
        assert_int_equal(pthread_create(&threads[i], NULL, fetch, &fetchers[i]), 0);
    }
    for (size_t i = 0; i < FETCHERS; i++) {
        size_t len;
        pthread_join(threads[i], NULL);
        assert_int_equal(fetchers[i].status, SW_OK);
        SW_AUTO_FREE char *found = read_file(fetchers[i].path, &len);
        assert_int_equal(len, LEN);
        assert_memory_equal(found, bytes, LEN);
    }
    pthread_barrier_destroy(&barrier);
    go_directly(place, &proxy);
    assert_int_equal(proxy.fetches, 1);
}

/* ---- broken transfers */

static void a_truncated_download_goes_on(void **state) {
    struct place *place = *state;
    enum { LEN = 3000000 };
    struct proxy proxy = {.cut_after = 700000, .cuts = 3};
    SW_AUTO_FREE char *bytes = make_bytes(LEN, 7);
    struct sw_blob blob = put_bytes(place, bytes, LEN);
    drop_cached(place, &blob.digest);
    go_through(place, &proxy);
    assert_fetches(place, &blob.digest, bytes, LEN);
    go_directly(place, &proxy);
    assert_int_equal(proxy.cuts, 0);
    assert_int_equal(proxy.fetches, 4);
    assert_int_equal(proxy.ranges, 3);
    assert_true(proxy.answered < LEN + 20000); /* what was here already was not sent again */
}

static void break_off(struct place *place, const struct sw_blob *blob, uint64_t after) {
    char path[256];
    struct proxy proxy = {.cut_after = after, .cuts = 1};
    struct sw_error err = {0};
    go_through(place, &proxy);
    for (size_t i = 1; i < PROXY_CANNED_MAX; i++) {
        proxy.canned[i] = ""; /* after the first connection it hangs up at once */
    }
    place_path(place, "fetched", path);
    FAILS(sw_artifacts_fetch(place->artifacts, &blob->digest, blob->size, path, &err), SW_E_UNAVAILABLE);
    assert_false(file_exists(path));
    go_directly(place, &proxy);
}

static void the_next_process_goes_on_with_a_broken_download(void **state) {
    struct place *place = *state;
    enum { LEN = 3000000 };
    char part[256];
    struct stat st;
    struct proxy proxy = {0};
    SW_AUTO_FREE char *bytes = make_bytes(LEN, 8);
    struct sw_blob blob = put_bytes(place, bytes, LEN);
    snprintf(part, sizeof part, "%s/cache/%s.part", place->store, blob.digest.hex);
    drop_cached(place, &blob.digest);
    break_off(place, &blob, 2000000);
    assert_int_equal(stat(part, &st), 0);
    assert_true(st.st_size > 1000000 && st.st_size < 2000000);
    go_through(place, &proxy);
    assert_fetches(place, &blob.digest, bytes, LEN);
    go_directly(place, &proxy);
    assert_true(proxy.ranges == 1 && proxy.fetches == 1 && proxy.answered < 2000000);
    assert_false(file_exists(part));
    /* what was left behind is damaged: then all of it, once */
    drop_cached(place, &blob.digest);
    break_off(place, &blob, 2000000);
    int fd = open(part, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0 && pwrite(fd, "damage", 6, 1000) == 6);
    close(fd);
    assert_fetches(place, &blob.digest, bytes, LEN);
    /* it is longer than the object */
    drop_cached(place, &blob.digest);
    write_file(part, bytes, LEN);
    fd = open(part, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_true(fd >= 0 && write(fd, "more", 4) == 4);
    close(fd);
    struct sw_error err = {0};
    uint64_t size = 0;
    OK(sw_artifacts_open_blob(place->artifacts, &blob.digest, &fd, &size, &err)); /* its size is not known here */
    assert_int_equal(size, LEN);
    close(fd);
    assert_fetches(place, &blob.digest, bytes, LEN);
    /* nobody goes on */
    drop_cached(place, &blob.digest);
    break_off(place, &blob, 2000000);
    assert_true(file_exists(part));
    OK(sw_artifacts_sweep(place->artifacts, 0, false, NULL, NULL, NULL, &size, &err));
    assert_true(size > 1000000);
    assert_false(file_exists(part));
}

static void one_503_is_tried_again(void **state) {
    struct place *place = *state;
    static const char slow_down[] =
        "HTTP/1.1 503 Slow Down\r\nContent-Length: 81\r\nConnection: close\r\n\r\n"
        "<Error><Code>SlowDown</Code><Message>Please reduce your request rate</Message></Error>";
    struct proxy proxy = {.canned = {slow_down, ""}};
    struct sw_error err = {0};
    struct sw_blob blob = put_bytes(place, "abc", 3), found;
    go_through(place, &proxy);
    OK(sw_artifacts_stat(place->artifacts, &blob.digest, &found, &err));
    go_directly(place, &proxy);
    assert_int_equal(proxy.connections, 3);
}

/* An answer of the proxy's own to a probe. */
static sw_status probe_answered(struct place *place, const char *canned, struct sw_error *err) {
    struct proxy proxy = {0};
    for (size_t i = 0; i < PROXY_CANNED_MAX; i++) {
        proxy.canned[i] = canned;
    }
    go_through(place, &proxy);
    sw_status status = sw_artifacts_probe(place->artifacts, err);
    assert_int_equal(sw_artifacts_health(place->artifacts, NULL), status);
    go_directly(place, &proxy);
    assert_int_equal(proxy.connections, 1);
    return status;
}

static void answers_that_are_errors(void **state) {
    struct place *place = *state;
    struct sw_error err = {0};
    FAILS(probe_answered(place, "HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", &err),
          SW_E_UNAVAILABLE);
    assert_non_null(strstr(err.message, "500"));
    FAILS(probe_answered(place,
                         "HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n"
                         "Connection: close\r\n\r\n",
                         &err),
          SW_E_UNAVAILABLE);
    assert_non_null(strstr(err.message, "redirects are not followed"));
    FAILS(probe_answered(place,
                         "HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n"
                         "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message>"
                         "<Token>the-token</Token></Error>",
                         &err),
          SW_E_FORBIDDEN);
    assert_non_null(strstr(err.message, "ExpiredToken: The provided token has expired."));
    assert_null(strstr(err.message, "the-token"));
    FAILS(probe_answered(place, "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n<html>nginx</html", &err),
          SW_E_UNAVAILABLE);
    FAILS(probe_answered(place, "HTTP/1.1 507 Full\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", &err),
          SW_E_INSUFFICIENT_STORAGE);
    FAILS(probe_answered(place,
                         "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
                         "<Error><Code>InternalError</Code><Message>after all</Message></Error>",
                         &err),
          SW_E_UNAVAILABLE);
    FAILS(probe_answered(place, "rubbish\r\n\r\n", &err), SW_E_UNAVAILABLE);
    FAILS(probe_answered(place, "", &err), SW_E_UNAVAILABLE);
    OK(sw_artifacts_probe(place->artifacts, &err));
    OK(sw_artifacts_health(place->artifacts, &err));
}

static void a_lying_server_gets_nothing_through(void **state) {
    struct place *place = *state;
    char path[256];
    struct proxy proxy = {0};
    struct sw_error err = {0};
    struct sw_digest digest = digest_of("abcdef", 6);
    place_path(place, "fetched", path);
    for (size_t i = 0; i < PROXY_CANNED_MAX; i++) { /* more than it should be, and then without an end */
        proxy.canned[i] = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\nConnection: close\r\n\r\nabcdefgh";
    }
    go_through(place, &proxy);
    FAILS(sw_artifacts_fetch(place->artifacts, &digest, 6, path, &err), SW_E_DIGEST_MISMATCH);
    assert_false(file_exists(path));
    go_directly(place, &proxy);
    proxy = (struct proxy){0};
    for (size_t i = 0; i < PROXY_CANNED_MAX; i++) { /* another range than was asked for */
        proxy.canned[i] = "HTTP/1.1 206 Part\r\nContent-Range: bytes 3-5/6\r\nContent-Length: 3\r\n"
                          "Connection: close\r\n\r\ndef";
    }
    go_through(place, &proxy);
    FAILS(sw_artifacts_fetch(place->artifacts, &digest, 6, path, &err), SW_E_UNAVAILABLE);
    assert_false(file_exists(path));
    go_directly(place, &proxy);
    assert_false(is_cached(place, &digest));
}

static void a_session_token_is_signed(void **state) {
    struct place *place = *state;
    struct proxy proxy = {.canned = {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<ListBucketResult/>"}};
    struct sw_error err = {0};
    place->options.s3_session_token = "session-token";
    go_through(place, &proxy);
    OK(sw_artifacts_probe(place->artifacts, &err));
    place->options.s3_session_token = NULL;
    go_directly(place, &proxy);
    assert_non_null(strstr(proxy.last_head, "\r\nx-amz-security-token: session-token\r\n"));
    assert_non_null(
        strstr(proxy.last_head, "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,"));
    assert_null(strstr(proxy.last_head, getenv("SLIPWAY_TEST_S3_SECRET_KEY")));
}

/* ---- the server refuses, is away, is slow */

static void wrong_keys_are_told_clearly(void **state) {
    struct place *place = *state;
    struct sw_error err = {0};
    char id[SW_UPLOAD_ID + 1];
    struct sw_upload *upload = NULL;
    struct sw_blob blob = put_bytes(place, "abc", 3);
    struct sw_upload_info info;
    place->options.s3_secret_key = "not-the-secret";
    place_reopen(place);
    FAILS(sw_artifacts_probe(place->artifacts, &err), SW_E_FORBIDDEN);
    assert_non_null(strstr(err.message, "SignatureDoesNotMatch"));
    assert_null(strstr(err.message, "not-the-secret"));
    FAILS(sw_artifacts_stat(place->artifacts, &blob.digest, &blob, &err), SW_E_FORBIDDEN); /* HEAD has no body */
    assert_non_null(strstr(err.message, "SignatureDoesNotMatch"));
    FAILS(sw_artifacts_health(place->artifacts, &err), SW_E_FORBIDDEN);
    OK(sw_upload_create(place->artifacts, UINT64_MAX, NULL, id, &err));
    OK(sw_upload_open(place->artifacts, sw_str_of(id), &upload, &err));
    OK(sw_upload_write(upload, "xyz", 3, &err));
    FAILS(sw_upload_commit(upload, &blob, &err), SW_E_FORBIDDEN);
    OK(sw_upload_stat(place->artifacts, sw_str_of(id), &info, &err)); /* stays, until the keys are right */
    place->options.s3_access_key = "nobody:here";
    place_reopen(place);
    FAILS(sw_artifacts_probe(place->artifacts, &err), SW_E_FORBIDDEN);
    assert_non_null(strstr(err.message, "answered 403 "));
}

static void a_missing_bucket_is_told_clearly(void **state) {
    struct place *place = *state;
    struct sw_error err = {0};
    char path[256];
    struct sw_digest digest = digest_of("x", 1);
    place->options.url = "s3://no-such-bucket";
    place_reopen(place);
    FAILS(sw_artifacts_probe(place->artifacts, &err), SW_E_UNAVAILABLE);
    assert_non_null(strstr(err.message, "NoSuchBucket"));
    place_path(place, "fetched", path);
    FAILS(sw_artifacts_fetch(place->artifacts, &digest, 1, path, &err), SW_E_UNAVAILABLE);
}

static void a_server_that_is_away_comes_back(void **state) {
    struct place *place = *state;
    char id[SW_UPLOAD_ID + 1], path[256];
    struct sw_upload *upload = NULL;
    struct sw_error err = {0};
    struct sw_blob cached = put_bytes(place, "cached", 6), blob;
    struct sw_digest other = digest_of("other", 5);
    place->artifacts->s3->backoff_ms = 2;
    tell_server("kill");
    OK(sw_upload_create(place->artifacts, 3, NULL, id, &err));
    OK(sw_upload_open(place->artifacts, sw_str_of(id), &upload, &err));
    OK(sw_upload_write(upload, "abc", 3, &err));
    FAILS(sw_upload_commit(upload, &blob, &err), SW_E_UNAVAILABLE);
    FAILS(sw_artifacts_health(place->artifacts, &err), SW_E_UNAVAILABLE);
    assert_non_null(strstr(err.message, "cannot be reached"));
    FAILS(sw_artifacts_stat(place->artifacts, &other, &blob, &err), SW_E_UNAVAILABLE);
    FAILS(sw_artifacts_delete(place->artifacts, &cached.digest, &err), SW_E_UNAVAILABLE);
    place_path(place, "fetched", path);
    FAILS(sw_artifacts_fetch(place->artifacts, &other, 5, path, &err), SW_E_UNAVAILABLE);
    assert_fetches(place, &cached.digest, "cached", 6); /* from the cache, without S3 */
    place_reopen(place);                                /* not there at the start: no failure */
    FAILS(sw_artifacts_probe(place->artifacts, &err), SW_E_UNAVAILABLE);
    tell_server("start");
    OK(sw_artifacts_probe(place->artifacts, &err));
    OK(sw_artifacts_health(place->artifacts, &err));
    OK(sw_upload_open(place->artifacts, sw_str_of(id), &upload, &err));
    OK(sw_upload_commit(upload, &blob, &err));
    OK(sw_artifacts_verify(place->artifacts, &blob.digest, &err));
}

static void a_server_that_stalls_is_given_up(void **state) {
    struct place *place = *state;
    struct sw_error err = {0};
    place->options.stall_timeout_ms = 1000;
    place_reopen(place);
    OK(sw_artifacts_probe(place->artifacts, &err));
    tell_server("freeze");
    sw_status status = sw_artifacts_probe(place->artifacts, &err);
    tell_server("thaw");
    FAILS(status, SW_E_UNAVAILABLE);
    OK(sw_artifacts_probe(place->artifacts, &err));
}

/* ---- */

static int setup(void **state) {
    struct place *place = SW_NEW(struct place);
    place_make(place, true);
    *state = place;
    return 0;
}

static int teardown(void **state) {
    place_remove(*state);
    sw_free(*state);
    return 0;
}

static const struct CMUnitTest own_tests[] = {
    cmocka_unit_test(large_files_go_up_in_parts),
    cmocka_unit_test(failed_parts_are_aborted),
    cmocka_unit_test(sweep_aborts_what_nobody_finished),
    cmocka_unit_test(memory_does_not_depend_on_the_size),
    cmocka_unit_test(listings_have_pages),
    cmocka_unit_test(a_tampered_copy_is_fetched_again),
    cmocka_unit_test(what_was_used_longest_ago_is_evicted),
    cmocka_unit_test(who_wants_the_same_blob_shares_one_download),
    cmocka_unit_test(a_truncated_download_goes_on),
    cmocka_unit_test(the_next_process_goes_on_with_a_broken_download),
    cmocka_unit_test(one_503_is_tried_again),
    cmocka_unit_test(answers_that_are_errors),
    cmocka_unit_test(a_lying_server_gets_nothing_through),
    cmocka_unit_test(a_session_token_is_signed),
    cmocka_unit_test(wrong_keys_are_told_clearly),
    cmocka_unit_test(a_missing_bucket_is_told_clearly),
    cmocka_unit_test(a_server_that_is_away_comes_back),
    cmocka_unit_test(a_server_that_stalls_is_given_up),
};

int main(void) {
    enum { OWN = SW_COUNTOF(own_tests) };
    if (!getenv("SLIPWAY_TEST_S3_ENDPOINT")) {
        fprintf(stderr, "run it as: tests/servers/s3.py -- PROGRAM\n");
        return 77;
    }
    struct CMUnitTest *tests = sw_xcalloc(suite_count + OWN, sizeof *tests);
    memcpy(tests, suite_tests, suite_count * sizeof *tests);
    memcpy(tests + suite_count, own_tests, sizeof own_tests);
    for (size_t i = 0; i < suite_count + OWN; i++) {
        tests[i].setup_func = setup;
        tests[i].teardown_func = teardown;
    }
    int failed = _cmocka_run_group_tests("artifact/s3", tests, suite_count + OWN, NULL, NULL);
    sw_free(tests);
    return failed;
}
