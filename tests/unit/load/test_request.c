/* URLs, headers, content types and the bytes of requests, by tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "load/request.h"

static const struct {
    const char *text, *host, *target, *authority;
    uint16_t port;
    bool tls;
} good_urls[] = {
    {"http://127.0.0.1:8080/v2/models/digits/infer", "127.0.0.1", "/v2/models/digits/infer", "127.0.0.1:8080", 8080,
     false},
    {"http://localhost", "localhost", "/", "localhost", 80, false},
    {"localhost:9000/x", "localhost", "/x", "localhost:9000", 9000, false},
    {"HTTPS://Example.org/a?b=c#d", "Example.org", "/a?b=c", "Example.org", 443, true},
    {"https://example.org:443/", "example.org", "/", "example.org", 443, true},
    {"https://example.org:80/", "example.org", "/", "example.org:80", 80, true},
    {"http://[::1]:8080/x", "::1", "/x", "[::1]:8080", 8080, false},
    {"http://[fe80::1%eth0]", "fe80::1%eth0", "/", "[fe80::1%eth0]", 80, false},
    {"http://h?q=1", "h", "/?q=1", "h", 80, false},
    {"http://h#f", "h", "/", "h", 80, false},
    {"h/a?u=http://x/", "h", "/a?u=http://x/", "h", 80, false},
};

static const char *const bad_urls[] = {
    "",
    "http://",
    "https:///x",
    "ftp://h/",
    "http://user:secret@h/",
    "http://h:0/",
    "http://h:65536/",
    "http://h:x/",
    "http://h:/",
    "http://[::1",
    "http://[::1]x/",
    "http://a b/",
    "http://h/a b",
    "http://h/\x01",
    "http://h/\xc3\xa9",
    "http://[]/",
    "http://a:b:c/",
    "http://h\\x/",
    ":80",
};

static void urls(void **state) {
    struct sw_load_url url;
    struct sw_error err;
    for (size_t i = 0; i < SW_COUNTOF(good_urls); i++) {
        assert_int_equal(sw_load_url_parse(sw_str_of(good_urls[i].text), &url, &err), SW_OK);
        assert_string_equal(url.host, good_urls[i].host);
        assert_string_equal(url.target, good_urls[i].target);
        assert_string_equal(url.authority, good_urls[i].authority);
        assert_int_equal(url.port, good_urls[i].port);
        assert_int_equal(url.tls, good_urls[i].tls);
        sw_load_url_deinit(&url);
    }
    for (size_t i = 0; i < SW_COUNTOF(bad_urls); i++) {
        if (sw_load_url_parse(sw_str_of(bad_urls[i]), &url, &err) != SW_E_USAGE) {
            fail_msg("'%s' was taken", bad_urls[i]);
        }
    }
    char *longest SW_AUTO_FREE = sw_xmalloc(SW_LOAD_URL_MAX + 1);
    memset(longest, 'a', SW_LOAD_URL_MAX + 1);
    assert_int_equal(sw_load_url_parse((struct sw_str){longest, SW_LOAD_URL_MAX + 1}, &url, &err), SW_E_USAGE);
}

static void headers(void **state) {
    struct sw_load_header h;
    assert_int_equal(sw_load_header_parse(SW_STR("X-Request-Id:  a b\t"), &h, NULL), SW_OK);
    assert_true(sw_str_is(h.name, "X-Request-Id") && sw_str_is(h.value, "a b"));
    assert_false(sw_load_header_is_secret(&h));
    assert_int_equal(sw_load_header_parse(SW_STR("Empty:"), &h, NULL), SW_OK);
    static const char *const secrets[] = {"Authorization: x",       "cookie: x",
                                          "X-API-Key: x",           "X-Auth-Token: x",
                                          "Proxy-Authorization: x", "client-secret: x"};
    for (size_t i = 0; i < SW_COUNTOF(secrets); i++) {
        assert_int_equal(sw_load_header_parse(sw_str_of(secrets[i]), &h, NULL), SW_OK);
        assert_true(sw_load_header_is_secret(&h));
    }
    static const char *const bad[] = {"",
                                      "no colon",
                                      ": x",
                                      "a b: x",
                                      "A: x\r\nB: y",
                                      "A: \x01",
                                      "Content-Length: 5",
                                      "transfer-encoding: chunked",
                                      "Connection: close",
                                      "Expect: 100-continue"};
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        assert_int_equal(sw_load_header_parse(sw_str_of(bad[i]), &h, NULL), SW_E_USAGE);
    }
}

static void methods(void **state) {
    static const char *const good[] = {"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "M-SEARCH"};
    static const char *const bad[] = {
        "", "get", "GET /", "CONNECT", "TRACE", "G\r\n", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG"};
    for (size_t i = 0; i < SW_COUNTOF(good); i++) {
        assert_int_equal(sw_load_method_check(sw_str_of(good[i]), NULL), SW_OK);
    }
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        assert_int_equal(sw_load_method_check(sw_str_of(bad[i]), NULL), SW_E_USAGE);
    }
}

static void content_types(void **state) {
    static const struct {
        struct sw_str body;
        const char *type;
    } bodies[] = {
        {{"\x89PNG\r\n\x1a\n....", 12}, "image/png"},
        {{"\xff\xd8\xff\xe0", 4}, "image/jpeg"},
        {{"GIF87a..", 8}, "image/gif"},
        {{"GIF89a..", 8}, "image/gif"},
        {{"RIFF....WEBPVP8 ", 16}, "image/webp"},
        {{"RIFF....WAVE", 12}, "application/octet-stream"},
        {{"BM......", 8}, "image/bmp"},
        {{" \r\n\t{\"inputs\": []}", 18}, "application/json"},
        {{"[1]", 3}, "application/json"},
        {{"\0{", 2}, "application/octet-stream"},
        {{"  ", 2}, "application/octet-stream"},
        {{"", 0}, "application/octet-stream"},
        {{"text", 4}, "application/octet-stream"},
    };
    for (size_t i = 0; i < SW_COUNTOF(bodies); i++) {
        assert_string_equal(sw_load_content_type(bodies[i].body), bodies[i].type);
    }
}

static void assert_request(const struct sw_load_request_parts *parts, const char *wanted) {
    struct sw_buf got;
    struct sw_error err;
    assert_int_equal(sw_load_request_make(parts, &got, &err), SW_OK);
    assert_string_equal(got.data, wanted);
    sw_buf_deinit(&got);
}

static void requests(void **state) {
    struct sw_load_url url;
    assert_int_equal(sw_load_url_parse(SW_STR("http://h:81/p?q"), &url, NULL), SW_OK);
    assert_request(&(struct sw_load_request_parts){.url = &url},
                   "GET /p?q HTTP/1.1\r\nHost: h:81\r\nUser-Agent: slipway-load/" SW_VERSION "\r\n\r\n");
    assert_request(&(struct sw_load_request_parts){.url = &url, .body = SW_STR("{}")},
                   "POST /p?q HTTP/1.1\r\nHost: h:81\r\nUser-Agent: slipway-load/" SW_VERSION
                   "\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
    assert_request(&(struct sw_load_request_parts){.url = &url, .method = "PUT"},
                   "PUT /p?q HTTP/1.1\r\nHost: h:81\r\nUser-Agent: slipway-load/" SW_VERSION
                   "\r\nContent-Length: 0\r\n\r\n");
    struct sw_load_header own[] = {{SW_STR("host"), SW_STR("other")},
                                   {SW_STR("USER-AGENT"), SW_STR("me")},
                                   {SW_STR("Content-Type"), SW_STR("text/plain")}};
    assert_request(
        &(struct sw_load_request_parts){
            .url = &url, .body = SW_STR("{}"), .content_type = "x/y", .headers = own, .header_count = 3},
        "POST /p?q HTTP/1.1\r\nContent-Length: 2\r\nhost: other\r\nUSER-AGENT: me\r\n"
        "Content-Type: text/plain\r\n\r\n{}");
    sw_load_url_deinit(&url);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls),          cmocka_unit_test(headers),  cmocka_unit_test(methods),
        cmocka_unit_test(content_types), cmocka_unit_test(requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
