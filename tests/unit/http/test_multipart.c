/* Forms: what is taken apart how, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "http/multipart.h"

#define TYPE "multipart/form-data; boundary=XX"
#define HEAD "--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n"

/* "name/file/type/content;" of each part; "-" where there is none; then "end" or the error's code. */
static const char *parse(const char *type, struct sw_str body) {
    static char text[4096];
    struct sw_multipart form;
    struct sw_multipart_part part;
    struct sw_error err;
    struct sw_buf out;
    bool more = true;
    sw_buf_init(&out, sizeof text - 1);
    sw_status status = sw_multipart_init(&form, sw_str_of(type), body, &err);
    while (!status && !(status = sw_multipart_next(&form, &part, &more, &err)) && more) {
        sw_buf_append_str(&out, part.name);
        sw_buf_append_c(&out, '/');
        sw_buf_append_str(&out, part.file_name.data ? part.file_name : SW_STR("-"));
        sw_buf_append_c(&out, '/');
        sw_buf_append_str(&out, part.content_type.len ? part.content_type : SW_STR("-"));
        sw_buf_append_c(&out, '/');
        sw_buf_append_str(&out, part.content);
        sw_buf_append_c(&out, ';');
    }
    sw_buf_append_str(&out, sw_str_of(status ? sw_status_name(status) : "end"));
    assert_false(out.failed);
    memcpy(text, out.data, out.len + 1);
    sw_buf_deinit(&out);
    return text;
}

static const char *parse_text(const char *type, const char *body) {
    return parse(type, sw_str_of(body));
}

static void test_forms(void **state) {
    static const struct {
        const char *type, *body, *expected;
    } cases[] = {
        {TYPE, HEAD "hello\r\n--XX--", "a/-/-/hello;end"},
        {TYPE, HEAD "hello\r\n--XX--\r\n", "a/-/-/hello;end"},
        {TYPE, "preamble\r\n" HEAD "hello\r\n--XX--epilogue", "a/-/-/hello;end"},
        {TYPE, "\r\n" HEAD "\r\n--XX--", "a/-/-/;end"},
        {TYPE, "--XX--", "end"},
        {TYPE,
         "--XX \t\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--XX \r\n"
         "content-disposition:FORM-DATA;filename=\"f.png\";name=b\r\nCONTENT-TYPE: image/png; q=1\r\n\r\ny\r\n--XX--",
         "a/-/-/x;b/f.png/image/png/y;end"},
        {"multipart/form-data; charset=x; BOUNDARY=\"X X\"",
         "--X X\r\nContent-Disposition: form-data; filename=\"\"; name=\"a\"\r\n\r\n1\r\n--X X--", "a//-/1;end"},
        /* what looks like a delimiter and is none */
        {TYPE, HEAD "--XX\n--XX--\r\n-XX\r\n--X\r\n--XX--", "a/-/-/--XX\n--XX--\r\n-XX\r\n--X;end"},
        {TYPE, HEAD "\r\r\n--XX--", "a/-/-/\r;end"},
        /* parameters: quotes, escapes, blanks, other parameters, equal names (the first counts) */
        {TYPE,
         "--XX\r\nContent-Disposition: form-data; filename=\"a\\\"; name=\\\"x.png\" ; name = \"b\"; name=c\r\n\r\n1\r\n--XX--",
         "b/a\\\"; name=\\\"x.png/-/1;end"},
        {TYPE, "--XX\r\nX-Other: 1\r\nContent-Disposition: form-data; name*=utf-8''x; name=\"\"\r\n\r\n1\r\n--XX--",
         "/-/-/1;end"},
        {TYPE, "--XX\r\nContent-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: BINARY\r\n\r\n1\r\n--XX--",
         "a/-/-/1;end"},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        assert_string_equal(parse_text(cases[i].type, cases[i].body), cases[i].expected);
    }
}

static void test_refused(void **state) {
    static const struct {
        const char *type, *body, *expected;
    } cases[] = {
        {"multipart/form-data", HEAD "x\r\n--XX--", "invalid_argument"},
        {"multipart/form-data; boundary=", HEAD "x\r\n--XX--", "invalid_argument"},
        {"multipart/form-data; boundary=\"XX", HEAD "x\r\n--XX--", "invalid_argument"},
        {"multipart/form-data; boundary=X\x01", "--X\x01--", "invalid_argument"},
        {"multipart/form-data; boundary=\"X \"", "--X --", "invalid_argument"},
        {"multipart/form-data; boundary="
         "0123456789012345678901234567890123456789012345678901234567890123456789"
         "0",
         "--01234567890123456789012345678901234567890123456789012345678901234567890--", "invalid_argument"},
        {"", HEAD "x\r\n--XX--", "invalid_argument"},
        {TYPE, "", "invalid_argument"},
        {TYPE, "hello", "invalid_argument"},
        {TYPE, "x--XX--", "invalid_argument"},
        {TYPE, "--XX", "invalid_argument"},
        {TYPE, "--XX-", "invalid_argument"},
        {TYPE, "--XXX--", "invalid_argument"},
        {TYPE, HEAD "x", "invalid_argument"},
        {TYPE, HEAD "x\r\n--XX", "invalid_argument"},
        {TYPE, HEAD "x\n--XX--", "invalid_argument"},
        {TYPE, HEAD "x\r\n--XXmore\r\n", "invalid_argument"},
        {TYPE, HEAD "x\r\n--XX\r\n", "a/-/-/x;invalid_argument"},
        {TYPE, "--XX\r\n\r\nx\r\n--XX--", "invalid_argument"},
        {TYPE, "--XX\r\nContent-Disposition: form-data\r\n\r\nx\r\n--XX--", "invalid_argument"},
        {TYPE, "--XX\r\nContent-Disposition: attachment; name=a\r\n\r\nx\r\n--XX--", "invalid_argument"},
        {TYPE, "--XX\r\nContent-Disposition: form-data; name=\"a\r\n\r\nx\r\n--XX--", "invalid_argument"},
        {TYPE, "--XX\r\nContent-Disposition: form-data; name=\"a\"b\r\n\r\nx\r\n--XX--", "invalid_argument"},
        {TYPE, "--XX\r\nContent-Disposition form-data; name=a\r\n\r\nx\r\n--XX--", "invalid_argument"},
        {TYPE, "--XX\nContent-Disposition: form-data; name=a\n\nx\n--XX--", "invalid_argument"},
        {TYPE, "--XX\r\nContent-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64\r\n\r\nx\r\n--XX--",
         "unsupported_media"},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        const char *got = parse_text(cases[i].type, cases[i].body);
        if (strcmp(got, cases[i].expected) != 0) {
            fail_msg("case %zu: %s instead of %s", i, got, cases[i].expected);
        }
    }
}

static void test_bytes_of_any_value(void **state) {
    struct sw_buf body;
    sw_buf_init(&body, 4096);
    SW_LIT(&body, HEAD);
    for (int i = 0; i < 512; i++) {
        sw_buf_append_c(&body, (char)i);
    }
    SW_LIT(&body, "\r\n--XX--");
    struct sw_multipart form;
    struct sw_multipart_part part;
    struct sw_error err;
    bool more;
    assert_int_equal(sw_multipart_init(&form, SW_STR(TYPE), sw_buf_str(&body), &err), SW_OK);
    assert_int_equal(sw_multipart_next(&form, &part, &more, &err), SW_OK);
    assert_true(more);
    assert_int_equal(part.content.len, 512);
    assert_ptr_equal(part.content.data, body.data + strlen(HEAD)); /* not copied */
    assert_int_equal(sw_multipart_next(&form, &part, &more, &err), SW_OK);
    assert_false(more);
    assert_int_equal(sw_multipart_next(&form, &part, &more, &err), SW_OK); /* stays ended */
    assert_false(more);
    sw_buf_deinit(&body);
}

static void test_bounds(void **state) {
    struct sw_buf body;
    sw_buf_init(&body, 1 << 20);
    for (int i = 0; i < SW_MULTIPART_PARTS_MAX; i++) {
        sw_buf_append_str(&body, sw_str_of(i ? "\r\n" HEAD : HEAD));
    }
    SW_LIT(&body, "\r\n--XX--");
    const char *text = parse(TYPE, sw_buf_str(&body));
    assert_string_equal(text + strlen(text) - 3, "end");
    sw_buf_clear(&body);
    for (int i = 0; i <= SW_MULTIPART_PARTS_MAX; i++) {
        sw_buf_append_str(&body, sw_str_of(i ? "\r\n" HEAD : HEAD));
    }
    SW_LIT(&body, "\r\n--XX--");
    text = parse(TYPE, sw_buf_str(&body));
    assert_string_equal(text + strlen(text) - strlen("invalid_argument"), "invalid_argument");
    sw_buf_clear(&body);
    SW_LIT(&body, "--XX\r\n");
    while (body.len < SW_MULTIPART_HEADERS_MAX + 100) {
        SW_LIT(&body, "X-Padding: 0123456789012345678901234567890123456789\r\n");
    }
    SW_LIT(&body, "Content-Disposition: form-data; name=a\r\n\r\nx\r\n--XX--");
    assert_string_equal(parse(TYPE, sw_buf_str(&body)), "invalid_argument");
    sw_buf_deinit(&body);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bytes_of_any_value),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
