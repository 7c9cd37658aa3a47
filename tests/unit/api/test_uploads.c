/* Bytes over HTTP: resumable uploads, pushes in one request, downloads; clients that go away; what is refused. */
#include <dirent.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "artifact/artifact.h"
#include "base/file.h"
#include "base/memory.h"
#include "harness.h"
#include "models.h"

#define RUN(cases) harness_expect((cases), sizeof(cases) / sizeof((cases)[0]))
#define API "/api/v1/models"
#define UPLOADS "/api/v1/uploads"

static int setup(void **state) {
    harness_start(&(struct harness_options){.registry = true});
    return 0;
}

static int teardown(void **state) {
    harness_stop();
    return 0;
}

static struct answer put_bytes(const char *path, const void *data, size_t len) {
    return harness_send("PUT", path, "Content-Type: application/octet-stream\r\n", data, len);
}

/* Begins an upload; "/api/v1/uploads/ID", valid until the next call. */
static const char *begin(const char *body) {
    static char path[96];
    struct answer a = harness_post(UPLOADS, body);
    assert_int_equal(a.status, 201);
    snprintf(path, sizeof path, "%s", harness_header(&a, "Location"));
    assert_non_null(strstr(a.body, path + strlen(UPLOADS) + 1));
    return path;
}

static const char *at(const char *upload, const char *query) {
    static char path[160];
    snprintf(path, sizeof path, "%s?%s", upload, query);
    return path;
}

static void sha256_of(const char *text, char ret_hex[SW_DIGEST_HEX + 1]) {
    struct sw_digest digest;
    struct sw_hasher *hasher = sw_hasher_create();
    sw_hasher_update(hasher, text, strlen(text));
    sw_hasher_finish(hasher, &digest);
    snprintf(ret_hex, SW_DIGEST_HEX + 1, "%s", digest.hex);
}

static void in_two_pieces(void **state) {
    char sha256[SW_DIGEST_HEX + 1], body[128];
    sha256_of("hello, world", sha256);
    snprintf(body, sizeof body, "{\"size\":12,\"sha256\":\"%s\"}", sha256);
    const char *upload = begin(body);
    struct answer a = put_bytes(at(upload, "offset=0"), "hello", 5);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "\"offset\":5,\"size\":12,\"complete\":false}"));
    a = harness_get(upload);
    assert_non_null(strstr(a.body, "\"offset\":5,\"size\":12,\"complete\":false}"));
    a = put_bytes(at(upload, "offset=0"), "hello", 5);
    assert_int_equal(a.status, 409);
    assert_non_null(strstr(a.body, "\"details\":{\"offset\":5}"));
    a = put_bytes(at(upload, "offset=7"), "world", 5);
    assert_int_equal(a.status, 409);
    a = put_bytes(at(upload, "offset=5"), ", world", 7);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "\"offset\":12,\"size\":12,\"complete\":true,\"sha256\":\""));
    assert_non_null(strstr(a.body, sha256));
    assert_int_equal(harness_get(upload).status, 404);
    a = harness_post(UPLOADS, body); /* here already */
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "{\"complete\":true,\"sha256\":\""));
    snprintf(body, sizeof body, "{\"size\":13,\"sha256\":\"%s\"}", sha256);
    assert_int_equal(harness_post(UPLOADS, body).status, 422);
}

static void wrong_bytes(void **state) {
    char sha256[SW_DIGEST_HEX + 1], body[128];
    sha256_of("what was announced", sha256);
    snprintf(body, sizeof body, "{\"size\":18,\"sha256\":\"%s\"}", sha256);
    const char *upload = begin(body);
    struct answer a = put_bytes(at(upload, "offset=0"), "what has been sent", 18);
    assert_int_equal(a.status, 422);
    assert_non_null(strstr(a.body, "\"code\":\"digest_mismatch\""));
    assert_int_equal(harness_get(upload).status, 404);

    upload = begin("{\"size\":4}");
    a = put_bytes(at(upload, "offset=0"), "12345", 5);
    assert_int_equal(a.status, 413);
    assert_int_equal(put_bytes(at(upload, "offset=0"), "1234", 4).status, 200); /* nothing of it was kept */
}

static void without_a_size(void **state) {
    const char *upload = begin("");
    struct answer a = put_bytes(upload, "some", 4);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "\"offset\":4,\"size\":null,\"complete\":false}"));
    a = put_bytes(at(upload, "offset=4&commit=true"), "thing", 5);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "\"offset\":9,\"size\":9,\"complete\":true"));
}

static void empty_file(void **state) {
    const char *upload = begin("{\"size\":0}");
    struct answer a = put_bytes(at(upload, "offset=0"), "", 0);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "\"complete\":true"));
    upload = begin("{\"size\":0}");
    a = harness_send("PUT", at(upload, "offset=0"), NULL, NULL, 0); /* no body at all */
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "\"complete\":true"));
}

static void given_up(void **state) {
    const char *upload = begin("{\"size\":4}");
    assert_int_equal(harness_delete(upload).status, 204);
    assert_int_equal(harness_delete(upload).status, 404);
    assert_int_equal(put_bytes(at(upload, "offset=0"), "1234", 4).status, 404);
}

static void bad_requests(void **state) {
    static const struct expectation cases[] = {
        {UPLOADS, "{\"size\":-1}", 400, "'size'"},
        {UPLOADS, "{\"size\":\"4\"}", 400, "'size'"},
        {UPLOADS, "{\"sha256\":\"abc\"}", 400, "'sha256'"},
        {UPLOADS, "{\"length\":4}", 400, "'length' is not a field"},
        {UPLOADS, "{\"size\":999999999999}", 413, NULL}, /* more than upload_max */
        {UPLOADS "/xyz", NULL, 404, NULL},
        {UPLOADS "/00000000000000000000000000000000", NULL, 404, NULL},
        {UPLOADS "/..%2F..%2Fregistry.db", NULL, 404, NULL},
        {UPLOADS "/00000000000000000000000000000000?offset=x", "PUT x", 400, "'offset'"},
        {UPLOADS "/00000000000000000000000000000000?commit=1", "PUT x", 400, "'commit'"},
        {UPLOADS "/00000000000000000000000000000000", "PUT x", 404, NULL},
        {API "/..%2Fx/push", "x", 400, "model name"},
        {API "/x/push?file_name=..%2Fx", "x", 400, "'file_name'"},
        {API "/x/push?expected_version=one", "x", 400, "'expected_version'"},
    };
    RUN(cases);
    const char *upload = begin("{\"size\":4}");
    struct answer a = harness_send("PUT", at(upload, "offset=0"), "Content-Encoding: gzip\r\n", "1234", 4);
    assert_int_equal(a.status, 415);
}

/* ---- clients that go away */

enum { PIECE = 256 << 10, WHOLE = PIECE + 5 }; /* the server takes pieces of this size, and the rest at the end */

static void send_part(int fd, const char *data, size_t len) {
    assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), len);
}

/* What is sent before the connection breaks is kept; who goes on asks where it stands. */
static void broken_upload(void **state) {
    static char data[WHOLE], path[96];
    char body[64], header[64], offset[64];
    memset(data, 'x', sizeof data);
    snprintf(body, sizeof body, "{\"size\":%d}", WHOLE);
    snprintf(path, sizeof path, "%s", begin(body));
    snprintf(header, sizeof header, "Content-Length: %d\r\n", WHOLE);
    int fd = harness_begin("PUT", at(path, "offset=0"), header, NULL, 0);
    send_part(fd, data, PIECE + 1);
    struct answer a;
    snprintf(offset, sizeof offset, "\"offset\":%d,", PIECE);
    do {
        a = harness_get(path);
        assert_int_equal(a.status, 200);
    } while (!strstr(a.body, offset));
    snprintf(offset, sizeof offset, "offset=%d", PIECE);
    a = put_bytes(at(path, offset), data + PIECE, 5);
    assert_int_equal(a.status, 409); /* the first one still has it open */
    close(fd);
    do {
        a = put_bytes(at(path, offset), data + PIECE, 5);
    } while (a.status == 409);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "\"complete\":true"));
}

static size_t uploads_on_disk(void) {
    DIR *dir = opendir(harness_path("artifacts/uploads"));
    size_t count = 0;
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir));) {
        count += entry->d_name[0] != '.';
    }
    closedir(dir);
    return count;
}

static void broken_push(void **state) {
    size_t before = uploads_on_disk();
    int fd = harness_begin("POST", API "/broken/push", "Content-Length: 100\r\n", NULL, 0);
    send_part(fd, "hello", 5);
    while (uploads_on_disk() == before) {
        sched_yield();
    }
    close(fd);
    while (uploads_on_disk() != before) { /* nothing stays behind */
        sched_yield();
    }
    assert_int_equal(harness_get(API "/broken").status, 404);
}

static void too_many_streams(void **state) {
    enum { CROWD = 70 }; /* 64 are let in */
    struct pollfd crowd[CROWD];
    for (size_t i = 0; i < CROWD; i++) {
        int fd = harness_begin("POST", API "/crowd/push", "Content-Length: 1000000\r\n", NULL, 0);
        crowd[i] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    assert_true(poll(crowd, CROWD, -1) > 0); /* who is let in gets no answer yet */
    struct answer a = {0};
    for (size_t i = 0; i < CROWD; i++) {
        if (crowd[i].revents && !a.status) {
            a = harness_end(crowd[i].fd, "POST", API "/crowd/push");
        } else {
            close(crowd[i].fd);
        }
    }
    assert_int_equal(a.status, 429);
    assert_string_equal(harness_header(&a, "Retry-After"), "1");
    do { /* until places are free again */
        a = harness_send("POST", API "/crowd/push?file_name=model.fake.json", NULL, MODEL_SUM, strlen(MODEL_SUM));
    } while (a.status == 429);
    assert_int_equal(a.status, 201);
}

/* ---- push */

static void push(void **state) {
    struct answer a = harness_send("POST",
                                   API "/pushed/push?file_name=model.fake.json&description=first+one&source=here",
                                   "X-Slipway-Actor: bob\r\n", MODEL_SUM, strlen(MODEL_SUM));
    assert_int_equal(a.status, 201);
    assert_string_equal(harness_header(&a, "Location"), API "/pushed/versions/1");
    assert_string_equal(harness_header(&a, "X-Model-Version"), "1");
    assert_non_null(strstr(a.body, "\"description\":\"first one\""));
    assert_non_null(strstr(a.body, "\"created_by\":\"claimed:bob\""));
    a = harness_send("POST", API "/pushed/push?file_name=model.fake.json&expected_version=1", NULL, MODEL_SUM,
                     strlen(MODEL_SUM));
    assert_int_equal(a.status, 409);
    size_t before = uploads_on_disk();
    a = harness_send("POST", API "/pushed/push", NULL, "this is no model", 16);
    assert_int_equal(a.status, 400);
    assert_non_null(strstr(a.body, "\"code\":\"model_invalid\""));
    assert_int_equal(uploads_on_disk(), before);
    a = harness_send("POST", API "/pushed/push", NULL, "", 0);
    assert_int_equal(a.status, 400);
    assert_non_null(strstr(harness_get(API "/pushed").body, "\"latest\":1"));
}

/* More than upload_max of the harness, in a stream that says so and in one that does not. */
static void too_large(void **state) {
    static char zeros[5 << 20];
    struct answer a = harness_send("POST", API "/large/push", NULL, zeros, sizeof zeros);
    assert_int_equal(a.status, 413);
    const char *upload = begin("");
    a = put_bytes(at(upload, "offset=0"), zeros, sizeof zeros);
    assert_int_equal(a.status, 413);
}

static char *read_file(const char *path, size_t *ret_len) {
    struct sw_buf buf;
    struct sw_error err;
    assert_int_equal(sw_file_read(path, 1 << 20, &buf, &err), SW_OK);
    *ret_len = buf.len;
    return buf.data;
}

static void archive(void **state) {
    char command[512];
    size_t len;
    assert_int_equal(mkdir(harness_path("tree"), 0755), 0);
    assert_int_equal(mkdir(harness_path("tree/notes"), 0755), 0);
    harness_write("tree/bundle.yaml", "model: model.fake.json\n");
    harness_write("tree/model.fake.json", MODEL_SUM);
    harness_write("tree/notes/a b.txt", "0123456789");
    snprintf(command, sizeof command, "tar -C '%s' -czf '%s' tree", harness_path(""), harness_path("tree.tar.gz"));
    assert_int_equal(system(command), 0);
    char *packed = read_file(harness_path("tree.tar.gz"), &len);

    struct answer a = harness_send("POST", API "/packed/push", NULL, packed, len); /* in one request */
    assert_int_equal(a.status, 201);
    assert_non_null(strstr(a.body, "\"files\":3"));

    char body[128], id[64]; /* and as an upload that is not committed */
    snprintf(body, sizeof body, "{\"size\":%zu}", len);
    snprintf(id, sizeof id, "%s", begin(body) + strlen(UPLOADS) + 1);
    char path[128];
    snprintf(path, sizeof path, UPLOADS "/%s?offset=0&commit=false", id);
    a = put_bytes(path, packed, len);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "\"complete\":false"));
    snprintf(body, sizeof body, "{\"upload\":\"%s\"}", id);
    a = harness_post(API "/packed/versions", body);
    assert_int_equal(a.status, 201);
    assert_non_null(strstr(a.body, "\"version\":2"));
    snprintf(path, sizeof path, UPLOADS "/%s", id);
    assert_int_equal(harness_get(path).status, 404);
    sw_free(packed);
}

/* ---- downloads; of the version that `archive` made */

static void download(void **state) {
    static const char file[] = API "/packed/versions/1/files/notes/a%20b.txt";
    char sha256[SW_DIGEST_HEX + 1], header[128];
    sha256_of("0123456789", sha256);
    struct answer a = harness_get(file);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "0123456789");
    assert_string_equal(harness_header(&a, "X-Model-Version"), "1");
    snprintf(header, sizeof header, "\"%s\"", sha256);
    assert_string_equal(harness_header(&a, "ETag"), header);
    a = harness_send("GET", file, "Range: bytes=2-4\r\n", NULL, 0);
    assert_int_equal(a.status, 206);
    assert_string_equal(a.body, "234");
    a = harness_send("GET", file, "Range: bytes=20-\r\n", NULL, 0);
    assert_int_equal(a.status, 416);
    snprintf(header, sizeof header, "If-None-Match: \"%s\"\r\n", sha256);
    a = harness_send("GET", file, header, NULL, 0);
    assert_int_equal(a.status, 304);
    assert_int_equal(a.body_len, 0);
    a = harness_send("HEAD", file, NULL, NULL, 0);
    assert_int_equal(a.status, 200);
    assert_string_equal(harness_header(&a, "Content-Length"), "10");
    static const struct expectation cases[] = {
        {API "/packed/versions/live/files/bundle.yaml", NULL, 404, NULL},
        {API "/packed/versions/1/files/bundle.yaml", NULL, 200, "model: model.fake.json"},
        {API "/packed/versions/1/files/none.yaml", NULL, 404, "none.yaml"},
        {API "/packed/versions/1/files/notes", NULL, 404, "notes"},
        {API "/packed/versions/1/files/..%2F..%2Fetc%2Fpasswd", NULL, 400, "not a path inside"},
        {API "/packed/versions/1/files/a//b", NULL, 400, "not a path inside"},
        {API "/packed/versions/1/files/a%5Cb", NULL, 400, "not a path inside"},
        {API "/packed/versions/9/files/bundle.yaml", NULL, 404, "9"},
    };
    RUN(cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_two_pieces), cmocka_unit_test(wrong_bytes), cmocka_unit_test(without_a_size),
        cmocka_unit_test(empty_file),    cmocka_unit_test(given_up),    cmocka_unit_test(bad_requests),
        cmocka_unit_test(broken_upload), cmocka_unit_test(broken_push), cmocka_unit_test(too_many_streams),
        cmocka_unit_test(push),          cmocka_unit_test(too_large),   cmocka_unit_test(archive),
        cmocka_unit_test(download),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
