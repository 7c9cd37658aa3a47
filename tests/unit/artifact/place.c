#include "place.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/memory.h"

void place_make(struct place *place, bool with_s3) {
    *place = (struct place){0};
    const char *base = getenv("TMPDIR");
    snprintf(place->root, sizeof place->root, "%.32s/swart-XXXXXX", base && strlen(base) <= 32 ? base : "/tmp");
    assert_non_null(mkdtemp(place->root));
    snprintf(place->store, sizeof place->store, "%s/a/b", place->root);
    sw_artifacts_options_default(&place->options);
    place->options.directory = place->store;
    if (with_s3) {
        char id[33];
        sw_random_id(id);
        snprintf(place->prefix, sizeof place->prefix, "test-%s", id);
        snprintf(place->url, sizeof place->url, "s3://%s/%s", getenv("SLIPWAY_TEST_S3_BUCKET"), place->prefix);
        place->options.url = place->url;
        place->options.s3_endpoint = getenv("SLIPWAY_TEST_S3_ENDPOINT");
        place->options.s3_access_key = getenv("SLIPWAY_TEST_S3_ACCESS_KEY");
        place->options.s3_secret_key = getenv("SLIPWAY_TEST_S3_SECRET_KEY");
    }
    place_reopen(place);
}

void place_reopen(struct place *place) {
    struct sw_error err = {0};
    sw_artifacts_close(place->artifacts);
    place->artifacts = NULL;
    if (sw_artifacts_open(&place->options, &place->artifacts, &err)) {
        fail_msg("cannot open: %s", err.message);
    }
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    return remove(path);
}

void place_remove(struct place *place) {
    sw_artifacts_close(place->artifacts);
    assert_int_equal(nftw(place->root, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

void place_path(const struct place *place, const char *name, char ret_path[256]) {
    assert_true((size_t)snprintf(ret_path, 256, "%s/%s", place->root, name) < 256);
}

void write_file(const char *path, const void *data, size_t len) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), len);
    assert_int_equal(close(fd), 0);
}

char *read_file(const char *path, size_t *ret_len) {
    struct sw_buf buf;
    struct sw_error err;
    if (sw_file_read(path, 1u << 30, &buf, &err)) {
        fail_msg("%s", err.message);
    }
    *ret_len = buf.len;
    return buf.data;
}

bool file_exists(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0;
}

static size_t counted;

static int count_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    counted += type == FTW_F || type == FTW_SL;
    return 0;
}

size_t count_files(const char *folder) {
    counted = 0;
    (void)nftw(folder, count_one, 16, FTW_PHYS);
    return counted;
}

char *make_bytes(size_t len, uint64_t seed) {
    char *data = sw_xmalloc(len + 8);
    for (size_t i = 0; i < len; i += 8) {
        uint64_t word = sw_hash(&i, sizeof i, seed);
        memcpy(data + i, &word, sizeof word);
    }
    return data;
}

struct sw_digest digest_of(const void *data, size_t len) {
    struct sw_digest digest;
    struct sw_hasher *hasher = sw_hasher_create();
    sw_hasher_update(hasher, data, len);
    sw_hasher_finish(hasher, &digest);
    return digest;
}

struct sw_blob put_bytes(struct place *place, const void *data, size_t len) {
    char id[SW_UPLOAD_ID + 1];
    struct sw_upload *upload = NULL;
    struct sw_blob blob = {.size = UINT64_MAX};
    struct sw_error err = {0};
    if (sw_upload_create(place->artifacts, len, NULL, id, &err) ||
        sw_upload_open(place->artifacts, sw_str_of(id), &upload, &err) || sw_upload_write(upload, data, len, &err) ||
        sw_upload_commit(upload, &blob, &err)) {
        fail_msg("cannot put: %s", err.message);
    }
    return blob;
}

uint64_t now_ms(void) {
    return sw_clock_system()->wall_ms(sw_clock_system());
}
