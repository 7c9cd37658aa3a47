/* What of S3 needs no server: signatures against AWS's published examples, percent-encoding, XML, times,
 * configuration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "artifact/s3_internal.h"
#include "base/memory.h"

/* "Examples: Signature Calculations" in AWS's documentation of S3: keys, date and results are theirs. */
static const char example_host[] = "examplebucket.s3.amazonaws.com";
static const char empty_hash[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

static void assert_signature(struct sw_s3_signing signing, const char *names, const char *signature) {
    char expected[512];
    struct sw_buf found;
    signing.region = "us-east-1";
    signing.access_key = "AKIAIOSFODNN7EXAMPLE";
    signing.secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    signing.amz_date = "20130524T000000Z";
    sw_buf_init(&found, 4096);
    sw_s3_sign(&signing, &found);
    snprintf(expected, sizeof expected,
             "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
             "SignedHeaders=%s,Signature=%s",
             names, signature);
    assert_string_equal(found.data, expected);
    sw_buf_deinit(&found);
}

static void signs_get_with_range(void **state) {
    const struct sw_s3_header headers[] = {{"host", example_host},
                                           {"range", "bytes=0-9"},
                                           {"x-amz-content-sha256", empty_hash},
                                           {"x-amz-date", "20130524T000000Z"}};
    assert_signature((struct sw_s3_signing){.method = "GET",
                                            .path = "/test.txt",
                                            .query = "",
                                            .headers = headers,
                                            .header_count = SW_COUNTOF(headers),
                                            .payload_hash = empty_hash},
                     "host;range;x-amz-content-sha256;x-amz-date",
                     "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

static void signs_put(void **state) {
    static const char hash[] = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
    const struct sw_s3_header headers[] = {{"date", "Fri, 24 May 2013 00:00:00 GMT"},
                                           {"host", example_host},
                                           {"x-amz-content-sha256", hash},
                                           {"x-amz-date", "20130524T000000Z"},
                                           {"x-amz-storage-class", "REDUCED_REDUNDANCY"}};
    struct sw_buf path;
    sw_buf_init(&path, 100);
    sw_s3_encode(&path, SW_STR("/test$file.text"), true);
    assert_signature((struct sw_s3_signing){.method = "PUT",
                                            .path = path.data,
                                            .query = "",
                                            .headers = headers,
                                            .header_count = SW_COUNTOF(headers),
                                            .payload_hash = hash},
                     "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
                     "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
    sw_buf_deinit(&path);
}

static void signs_queries(void **state) {
    const struct sw_s3_header headers[] = {
        {"host", example_host}, {"x-amz-content-sha256", empty_hash}, {"x-amz-date", "20130524T000000Z"}};
    struct sw_s3_signing signing = {.method = "GET",
                                    .path = "/",
                                    .query = "lifecycle=",
                                    .headers = headers,
                                    .header_count = SW_COUNTOF(headers),
                                    .payload_hash = empty_hash};
    assert_signature(signing, "host;x-amz-content-sha256;x-amz-date",
                     "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
    signing.query = "max-keys=2&prefix=J";
    assert_signature(signing, "host;x-amz-content-sha256;x-amz-date",
                     "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

static void encodes_as_aws_wants(void **state) {
    struct sw_buf buf;
    sw_buf_init(&buf, 200);
    sw_s3_encode(&buf, SW_STR("aZ09-._~/ +=&%\xc3\xa9"), false);
    assert_string_equal(buf.data, "aZ09-._~%2F%20%2B%3D%26%25%C3%A9");
    sw_buf_clear(&buf);
    sw_s3_encode(&buf, SW_STR("a/b c"), true);
    assert_string_equal(buf.data, "a/b%20c");
    sw_buf_deinit(&buf);
}

struct seen {
    char text[1024];
    size_t stop_after, count;
};

static bool see(void *arg, const char *path, struct sw_str text) {
    struct seen *seen = arg;
    size_t n = strlen(seen->text);
    snprintf(seen->text + n, sizeof seen->text - n, "%s=%.*s;", path, (int)text.len, text.data ? text.data : "");
    return ++seen->count != seen->stop_after;
}

static void reads_xml(void **state) {
    struct seen seen = {0};
    assert_int_equal(
        sw_s3_xml_read(SW_STR("<?xml version='1.0'?><L xmlns='x'><C><K>a&amp;b&#x41;</K><S>3</S></C><E/></L>"), see,
                       &seen, NULL),
        SW_OK);
    assert_string_equal(seen.text, "L/C/K=a&bA;L/C/S=3;L/C=;L/E=;L=;");
    seen = (struct seen){.stop_after = 1};
    assert_int_equal(sw_s3_xml_read(SW_STR("<L><A>1</A><B>2</B>"), see, &seen, NULL), SW_OK);
    assert_string_equal(seen.text, "L/A=1;");
}

static void refuses_other_xml(void **state) {
    static const char *const bad[] = {
        "",
        "not xml",
        "<a><b></a></b>",
        "<a>",
        "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>",
        "<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>",
        "<a>&undefined;</a>",
    };
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        struct seen seen = {0};
        struct sw_error err = {0};
        assert_int_equal(sw_s3_xml_read(sw_str_of(bad[i]), see, &seen, &err), SW_E_UNAVAILABLE);
        assert_true(err.message[0] != '\0');
    }
    const char deep[] =
        "<a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a/></a></a></a></a></a></a></a></a></a></a></a></a>";
    struct seen ignored = {0};
    struct sw_buf nested; /* 16 levels are taken, 17 are not */
    sw_buf_init(&nested, 1000);
    sw_buf_printf(&nested, "%s</a></a></a></a>", deep);
    assert_int_equal(sw_s3_xml_read(sw_buf_str(&nested), see, &ignored, NULL), SW_E_UNAVAILABLE);
    assert_int_equal(sw_s3_xml_read((struct sw_str){nested.data + 3, nested.len - 7}, see, &ignored, NULL), SW_OK);
    sw_buf_deinit(&nested);
    struct sw_buf large; /* a text longer than any that S3 sends */
    struct seen seen = {0};
    sw_buf_init(&large, 100000);
    SW_LIT(&large, "<a>");
    for (int i = 0; i < 5000; i++) {
        sw_buf_append_c(&large, 'x');
    }
    SW_LIT(&large, "</a>");
    assert_int_equal(sw_s3_xml_read(sw_buf_str(&large), see, &seen, NULL), SW_E_UNAVAILABLE);
    sw_buf_deinit(&large);
}

static void reads_times(void **state) {
    uint64_t ms = 7;
    assert_true(sw_s3_parse_time(SW_STR("2013-05-24T00:00:01.500Z"), &ms));
    assert_int_equal(ms, 1369353601000);
    assert_true(sw_s3_parse_time(SW_STR("2013-05-24T00:00:00Z"), &ms));
    assert_int_equal(ms, 1369353600000);
    assert_false(sw_s3_parse_time(SW_STR(""), &ms));
    assert_false(sw_s3_parse_time(SW_STR("yesterday at about noon"), &ms));
    assert_false(sw_s3_parse_time(SW_STR("2013-05-24T00:00:00+01:00"), &ms));
}

static sw_status configure(const char *url, const char *endpoint, bool virtual_host, struct sw_s3 **ret,
                           struct sw_error *err) {
    struct sw_artifacts_options options;
    sw_artifacts_options_default(&options);
    options.url = url;
    options.s3_endpoint = endpoint;
    options.s3_virtual_host = virtual_host;
    options.s3_access_key = "ACCESS";
    options.s3_secret_key = "SECRETSECRET";
    return sw_s3_create(&options, ret, err);
}

static void assert_place(const char *url, const char *endpoint, bool virtual_host, const char *origin, const char *host,
                         const char *base, const char *prefix) {
    struct sw_s3 *s3 = NULL;
    assert_int_equal(configure(url, endpoint, virtual_host, &s3, NULL), SW_OK);
    assert_string_equal(s3->origin, origin);
    assert_string_equal(s3->host, host);
    assert_string_equal(s3->base, base);
    assert_string_equal(s3->prefix, prefix);
    sw_s3_destroy(s3);
}

static void places_buckets(void **state) {
    assert_place("s3://bucket", "http://127.0.0.1:9000", false, "http://127.0.0.1:9000", "127.0.0.1:9000", "/bucket",
                 "");
    assert_place("s3://bucket/", "https://minio.example/", false, "https://minio.example", "minio.example", "/bucket",
                 "");
    assert_place("s3://bucket/a/b/", "http://s3.example:80", true, "http://bucket.s3.example:80",
                 "bucket.s3.example:80", "", "a/b/");
    assert_place("s3://bucket/a", NULL, false, "https://bucket.s3.us-east-1.amazonaws.com",
                 "bucket.s3.us-east-1.amazonaws.com", "", "a/");
    assert_place("s3://dotted.bucket", "", false, "https://s3.us-east-1.amazonaws.com", "s3.us-east-1.amazonaws.com",
                 "/dotted.bucket", "");
}

static void refuses_bad_configuration(void **state) {
    static const struct {
        const char *url, *endpoint;
    } bad[] = {
        {"http://bucket", NULL},
        {"s3://", NULL},
        {"s3://ab", NULL},
        {"s3://bucket/../x", NULL},
        {"s3://bucket//x", NULL},
        {"s3://bucket/x y", NULL},
        {"s3://-bucket", NULL},
        {"s3://key:SECRETSECRET@bucket", NULL},
        {"s3://bucket", "127.0.0.1:9000"},
        {"s3://bucket", "ftp://127.0.0.1"},
        {"s3://bucket", "http://"},
        {"s3://bucket", "http://user:SECRETSECRET@host"},
        {"s3://bucket", "http://h/path"},
        {"s3://bucket", "http://h\r\nx: y"},
    };
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        struct sw_s3 *s3 = NULL;
        struct sw_error err = {0};
        assert_int_equal(configure(bad[i].url, bad[i].endpoint, false, &s3, &err), SW_E_USAGE);
        assert_null(s3);
        assert_null(strstr(err.message, "SECRET"));
    }
}

static void keys_come_from_options_or_environment(void **state) {
    struct sw_artifacts_options options;
    struct sw_s3 *s3 = NULL;
    struct sw_error err = {0};
    sw_artifacts_options_default(&options);
    options.url = "s3://bucket";
    unsetenv("AWS_ACCESS_KEY_ID");
    unsetenv("AWS_SECRET_ACCESS_KEY");
    assert_int_equal(sw_s3_create(&options, &s3, &err), SW_E_USAGE);
    assert_non_null(strstr(err.message, "AWS_ACCESS_KEY_ID"));
    setenv("AWS_ACCESS_KEY_ID", "ENVACCESS", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "ENVSECRET", 1);
    setenv("AWS_SESSION_TOKEN", "ENVTOKEN", 1);
    assert_int_equal(sw_s3_create(&options, &s3, &err), SW_OK);
    assert_string_equal(s3->access_key, "ENVACCESS");
    assert_string_equal(s3->session_token, "ENVTOKEN");
    sw_s3_destroy(s3);
    options.s3_access_key = "OWN"; /* the environment's token belongs to other keys */
    options.s3_secret_key = "OWNSECRET";
    assert_int_equal(sw_s3_create(&options, &s3, &err), SW_OK);
    assert_null(s3->session_token);
    sw_s3_destroy(s3);
    options.s3_secret_key = "with\nline";
    assert_int_equal(sw_s3_create(&options, &s3, &err), SW_E_USAGE);
    assert_null(strstr(err.message, "line"));
    unsetenv("AWS_ACCESS_KEY_ID");
    unsetenv("AWS_SECRET_ACCESS_KEY");
    unsetenv("AWS_SESSION_TOKEN");
}

static void digests_are_parsed_strictly(void **state) {
    struct sw_digest digest;
    assert_true(sw_digest_parse(SW_STR("E3B0C44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"), &digest));
    assert_string_equal(digest.hex, empty_hash);
    assert_false(sw_digest_parse(SW_STR("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85"), &digest));
    assert_false(sw_digest_parse(SW_STR("g3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"), &digest));
    assert_false(sw_digest_parse(SW_STR(""), &digest));
    struct sw_hasher *hasher = sw_hasher_create();
    sw_hasher_update(hasher, "abcdbcdecdefdefgefghfghighijhi", 30);
    sw_hasher_update(hasher, "jkijkljklmklmnlmnomnopnopq", 26);
    sw_hasher_finish(hasher, &digest); /* FIPS 180-2, example B.2 */
    assert_string_equal(digest.hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signs_get_with_range),
        cmocka_unit_test(signs_put),
        cmocka_unit_test(signs_queries),
        cmocka_unit_test(encodes_as_aws_wants),
        cmocka_unit_test(reads_xml),
        cmocka_unit_test(refuses_other_xml),
        cmocka_unit_test(reads_times),
        cmocka_unit_test(places_buckets),
        cmocka_unit_test(refuses_bad_configuration),
        cmocka_unit_test(keys_come_from_options_or_environment),
        cmocka_unit_test(digests_are_parsed_strictly),
    };
    return cmocka_run_group_tests_name("artifact/s3_parts", tests, NULL, NULL);
}
