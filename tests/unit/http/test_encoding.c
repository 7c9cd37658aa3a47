/* Content codings: compressed request bodies, good and hostile, and compressed answers. */
#include "base/memory.h"
#include "client.h"

static struct fixture f;

static int start(void **state) {
    fixture_init(&f);
    fixture_start(&f);
    return 0;
}

static int stop(void **state) {
    fixture_stop(&f);
    return 0;
}

enum { RAW = -15, ZLIB = 15, GZIP = 31 };

/* Owned by the caller. */
static char *packed(const void *data, size_t len, int wrap, size_t *ret_len) {
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, wrap, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t room = deflateBound(&z, len) + 64;
    char *out = sw_xmalloc(room);
    z.next_in = (Bytef *)(uintptr_t)data;
    z.avail_in = (uInt)len;
    z.next_out = (Bytef *)out;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    *ret_len = z.total_out;
    deflateEnd(&z);
    return out;
}

static char *unpacked(const struct answer *a, int wrap, size_t *ret_len) {
    z_stream z = {0};
    assert_int_equal(inflateInit2(&z, wrap), Z_OK);
    size_t room = 1 << 20;
    char *out = sw_xmalloc(room);
    z.next_in = (Bytef *)a->body;
    z.avail_in = (uInt)a->body_len;
    z.next_out = (Bytef *)out;
    z.avail_out = (uInt)room;
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    *ret_len = z.total_out;
    inflateEnd(&z);
    return out;
}

static char *numbers(size_t len) {
    char *data = sw_xmalloc(len);
    uint32_t state = 1;
    for (size_t i = 0; i < len; i++) {
        state = state * 1664525u + 1013904223u;
        data[i] = "0123456789,. "[(state >> 24) % 13];
    }
    return data;
}

static void compressed_requests(void **state) {
    const struct {
        const char *name;
        int wrap;
    } codings[] = {{"gzip", GZIP}, {"x-gzip", GZIP}, {"GZip", GZIP}, {"deflate", ZLIB}, {"deflate", RAW}};
    const size_t sizes[] = {0, 1, 1000, 100000, 5000000};
    char *data = numbers(5000000);
    struct client c = fixture_client(&f);
    for (size_t i = 0; i < SW_COUNTOF(codings); i++) {
        for (size_t k = 0; k < SW_COUNTOF(sizes); k++) {
            size_t len, header = sizes[k] / 3;
            char *body = packed(data, sizes[k], codings[i].wrap, &len);
            char lines[128];
            snprintf(lines, sizeof lines, "Content-Encoding: %s\r\nInference-Header-Content-Length: %zu\r\n",
                     codings[i].name, header);
            client_post(&c, "/echo", lines, body, len);
            struct answer a = client_read(&c);
            assert_int_equal(a.status, 200);
            assert_int_equal(a.body_len, sizes[k]);
            assert_memory_equal(a.body, data, sizes[k]);
            assert_true(sizes[k] == 0 || answer_has(&a, "X-Misaligned: 0\r\n"));
            answer_free(&a);
            sw_free(body);
        }
    }
    sw_free(data);
    client_close(&c);
}

static void gzip_members_are_joined(void **state) {
    size_t first_len, second_len;
    char *first = packed("abc", 3, GZIP, &first_len), *second = packed("def", 3, GZIP, &second_len);
    char both[256];
    memcpy(both, first, first_len);
    memcpy(both + first_len, second, second_len);
    struct client c = fixture_client(&f);
    client_post(&c, "/echo", "Content-Encoding: gzip\r\n", both, first_len + second_len);
    struct answer a = client_read(&c);
    assert_string_equal(a.body, "abcdef");
    answer_free(&a);
    sw_free(first);
    sw_free(second);
    client_close(&c);
}

static void damaged_streams(void **state) {
    size_t len;
    char *data = numbers(50000), *body = packed(data, 50000, GZIP, &len);
    struct client c = fixture_client(&f);
    const char *gzip = "Content-Encoding: gzip\r\n";
    client_post(&c, "/echo", gzip, "this is no gzip", 15);
    assert_int_equal(client_status(&c), 400);
    client_post(&c, "/echo", "Content-Encoding: deflate\r\n", "\x78\x9cnonsense", 10);
    assert_int_equal(client_status(&c), 400);
    client_post(&c, "/echo", gzip, "", 0);
    assert_int_equal(client_status(&c), 400);
    const size_t cuts[] = {1, 10, 11, len / 2, len - 8, len - 1};
    for (size_t i = 0; i < SW_COUNTOF(cuts); i++) {
        client_post(&c, "/echo", gzip, body, cuts[i]);
        struct answer a = client_read(&c);
        assert_int_equal(a.status, 400);
        assert_true(answer_body_has(&a, "compressed body"));
        answer_free(&a);
    }
    body[len / 2] ^= 0x55;
    client_post(&c, "/echo", gzip, body, len);
    assert_int_equal(client_status(&c), 400);
    body[len / 2] ^= 0x55;
    body[len - 6] ^= 1; /* its checksum */
    client_post(&c, "/echo", gzip, body, len);
    assert_int_equal(client_status(&c), 400);
    body[len - 6] ^= 1;
    char *longer = sw_xrealloc(body, len + 4);
    memcpy(longer + len, "tail", 4);
    client_post(&c, "/echo", gzip, longer, len + 4);
    assert_int_equal(client_status(&c), 400);
    client_post(&c, "/echo", gzip, longer, len);
    assert_int_equal(client_status(&c), 200);
    sw_free(longer);
    sw_free(data);
    client_close(&c);
    assert_int_equal(atomic_load(&f.handled), 1);
}

static void bombs(void **state) {
    char *zeros = sw_calloc(1, 64 << 20);
    const int wraps[] = {GZIP, ZLIB, RAW};
    struct client c = fixture_client(&f);
    for (size_t i = 0; i < SW_COUNTOF(wraps); i++) {
        size_t len;
        char *body = packed(zeros, 64 << 20, wraps[i], &len);
        const char *line = wraps[i] == GZIP ? "Content-Encoding: gzip\r\n" : "Content-Encoding: deflate\r\n";
        client_post(&c, "/echo", line, body, len);
        struct answer a = client_read(&c);
        assert_int_equal(a.status, 413);
        assert_true(answer_body_has(&a, "when decompressed"));
        answer_free(&a);
        sw_free(body);
    }
    /* exactly the limit passes, one byte more does not */
    for (size_t extra = 0; extra < 2; extra++) {
        size_t len;
        char *body = packed(zeros, 1024 + extra, GZIP, &len);
        client_post(&c, "/small", "Content-Encoding: gzip\r\n", body, len);
        assert_int_equal(client_status(&c), extra ? 413 : 200);
        sw_free(body);
    }
    sw_free(zeros);
    client_close(&c);
}

static void unknown_encodings(void **state) {
    const char *const bad[] = {"Content-Encoding: br\r\n", "Content-Encoding: gzip, deflate\r\n",
                               "Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n", "Content-Encoding: gz\r\n"};
    struct client c = fixture_client(&f);
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        client_post(&c, "/echo", bad[i], "abc", 3);
        struct answer a = client_read(&c);
        assert_int_equal(a.status, 415);
        assert_true(answer_body_has(&a, "unsupported_media"));
        answer_free(&a);
    }
    client_post(&c, "/echo", "Content-Encoding: identity\r\n", "abc", 3);
    assert_int_equal(client_status(&c), 200);
    client_close(&c);
}

static void compressed_answers(void **state) {
    const struct {
        const char *accept, *encoding;
    } cases[] = {
        {"gzip", "gzip"},
        {"deflate, gzip", "gzip"},
        {"deflate", "deflate"},
        {"gzip;q=0.5, deflate;q=0.8", "deflate"},
        {"*", "gzip"},
        {"gzip;q=0", NULL},
        {"gzip;q=0, *", NULL},
        {"gzip ; q=0.001", "gzip"},
        {"gzip;q=nonsense", NULL},
        {"br, identity", NULL},
        {"", NULL},
    };
    struct client c = fixture_client(&f);
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        client_print(&c, "GET /big/3 HTTP/1.1\r\nHost: t\r\nAccept-Encoding: %s\r\n\r\n", cases[i].accept);
        struct answer a = client_read(&c);
        assert_int_equal(a.status, 200);
        assert_true(answer_has(&a, "\r\nVary: Accept-Encoding\r\n"));
        size_t len = a.body_len;
        char *body = a.body;
        if (cases[i].encoding) {
            char line[64];
            snprintf(line, sizeof line, "\r\nContent-Encoding: %s\r\n", cases[i].encoding);
            assert_true(answer_has(&a, line));
            assert_true(a.body_len < 20000);
            body = unpacked(&a, strcmp(cases[i].encoding, "gzip") == 0 ? GZIP : ZLIB, &len);
            sw_free(a.body);
            a.body = body;
        } else {
            assert_false(answer_has(&a, "Content-Encoding"));
        }
        assert_int_equal(len, 3 * 65536);
        for (size_t k = 0; k < len; k += 101) {
            assert_int_equal(body[k], 'a' + k % 65536 % 23);
        }
        answer_free(&a);
    }
    client_close(&c);
}

static void what_is_not_compressed(void **state) {
    const struct {
        const char *path, *accept;
        bool packed;
    } cases[] = {
        {"/big/1?type=image/png", "gzip", false},
        {"/big/1?type=image/svg%2Bxml", "gzip", true},
        {"/big/1?type=application/octet-stream", "*", false},
        {"/big/1?type=application/octet-stream", "gzip", true},
        {"/describe/short", "gzip", false},
    };
    struct client c = fixture_client(&f);
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        client_print(&c, "GET %s HTTP/1.1\r\nHost: t\r\nAccept-Encoding: %s\r\n\r\n", cases[i].path, cases[i].accept);
        struct answer a = client_read(&c);
        assert_int_equal(answer_has(&a, "\r\nContent-Encoding: gzip\r\n"), cases[i].packed);
        answer_free(&a);
    }
    client_close(&c);
}

static void what_does_not_shrink_is_sent_as_it_is(void **state) {
    char noise[4096];
    uint64_t x = 88172645463325252u;
    for (size_t i = 0; i < sizeof noise; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        noise[i] = (char)x;
    }
    struct client c = fixture_client(&f);
    client_post(&c, "/echo", "Accept-Encoding: gzip\r\n", noise, sizeof noise);
    struct answer a = client_read(&c);
    assert_int_equal(a.body_len, sizeof noise);
    assert_memory_equal(a.body, noise, sizeof noise);
    assert_false(answer_has(&a, "Content-Encoding"));
    answer_free(&a);
    client_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(compressed_requests, start, stop),
        cmocka_unit_test_setup_teardown(gzip_members_are_joined, start, stop),
        cmocka_unit_test_setup_teardown(damaged_streams, start, stop),
        cmocka_unit_test_setup_teardown(bombs, start, stop),
        cmocka_unit_test_setup_teardown(unknown_encodings, start, stop),
        cmocka_unit_test_setup_teardown(compressed_answers, start, stop),
        cmocka_unit_test_setup_teardown(what_is_not_compressed, start, stop),
        cmocka_unit_test_setup_teardown(what_does_not_shrink_is_sent_as_it_is, start, stop),
    };
    return cmocka_run_group_tests_name("http/encoding", tests, NULL, NULL);
}
