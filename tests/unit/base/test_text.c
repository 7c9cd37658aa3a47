/* YAML by a table of good and bad documents; files and paths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/yaml.h"

/* ---- YAML ---- */

/* Documents and, as JSON, what they mean. */
static const char *const good[][2] = {
    {"", "{}"},
    {"# only a comment\n", "{}"},
    {"a: 1", "{\"a\": 1}"},
    {"a: -7\nb: 007\nc: +5", "{\"a\": -7, \"b\": 7, \"c\": 5}"},
    {"a: 9223372036854775807", "{\"a\": 9223372036854775807}"},
    {"a: 9223372036854775808", "{\"a\": \"9223372036854775808\"}"},
    {"a: 1.5\nb: 1e3\nc: .5\nd: 2.", "{\"a\": 1.5, \"b\": 1000.0, \"c\": 0.5, \"d\": 2.0}"},
    {"a: 1e999\nb: .inf\nc: .nan", "{\"a\": \"1e999\", \"b\": \".inf\", \"c\": \".nan\"}"},
    {"a: 0x10\nb: 1_000\nc: 1-2\nd: .\ne: '-'\nf: 1.2.3",
     "{\"a\": \"0x10\", \"b\": \"1_000\", \"c\": \"1-2\", \"d\": \".\", \"e\": \"-\", \"f\": \"1.2.3\"}"},
    {"a: true\nb: False\nc: yes\nd: on", "{\"a\": true, \"b\": false, \"c\": \"yes\", \"d\": \"on\"}"},
    {"a:\nb: ~\nc: null\nd: ''", "{\"a\": null, \"b\": null, \"c\": null, \"d\": \"\"}"},
    {"a: '1'\nb: \"true\"", "{\"a\": \"1\", \"b\": \"true\"}"},
    {"a: \"x\\ty\\u00e9\"", "{\"a\": \"x\\ty\\u00e9\"}"},
    {"- 1\n- [2, {a: 3}]\n- - 4", "[1, [2, {\"a\": 3}], [4]]"},
    {"a: |\n  x\n  y\nb: >\n  x\n  y\n", "{\"a\": \"x\\ny\\n\", \"b\": \"x y\\n\"}"},
    {"---\na: {b: [], c: {}}\n", "{\"a\": {\"b\": [], \"c\": {}}}"},
    {"1: a\ntrue: b", "{\"1\": \"a\", \"true\": \"b\"}"},
    {"a: x # comment\nb: x#y", "{\"a\": \"x\", \"b\": \"x#y\"}"},
    {"\xef\xbb\xbf"
     "a: 1",
     "{\"a\": 1}"},
    {"12", "12"},
};

static void yaml_good(void **state) {
    for (size_t i = 0; i < SW_COUNTOF(good); i++) {
        json_t *got = NULL;
        struct sw_error err = {0};
        json_t *expected = json_loads(good[i][1], JSON_DECODE_ANY, NULL);
        assert_non_null(expected);
        sw_status status = sw_yaml_parse(sw_str_of(good[i][0]), &got, &err);
        if (status || !json_equal(got, expected)) {
            char *text = got ? json_dumps(got, JSON_ENCODE_ANY) : NULL;
            fail_msg("case %zu: %s: got %s %s", i, good[i][0], text ? text : "nothing", err.message);
        }
        json_decref(got);
        json_decref(expected);
    }
}

/* Documents that are refused, and a part of the message. */
static const char *const bad[][2] = {
    {"a: 1\na: 2", "line 2, column 1: a key appears twice"},
    {"a: &x 1\nb: *x", "line 1, column 4: anchors, aliases and tags are not supported"},
    {"a: *x", "line 1, column 4"},
    {"a: !!str 1", "anchors, aliases and tags"},
    {"&k a: 1", "plain string"},
    {"? [1]\n: 2", "a key must be a plain string"},
    {"a: 1\n---\nb: 2", "more than one document"},
    {"a: [1, 2", "did not find expected ',' or ']'"},
    {"a: {b: 1", "did not find expected ',' or '}'"},
    {"a: b: c", "line 1, column 5"},
    {"\ta: 1", "line 1"},
    {"a: 'x", "line 1"},
    {"a: \"\\q\"", "line 1"},
    {"a: \"x\\0y\"", "NUL"},
    {"\"a\\0\": 1", "NUL"},
    {"a: \xff", "line 1"},
    {"a: \xed\xa0\x80", "line 1"},
    {"a: \x01", "line 1"},
    {"- 1\nb: 2", "line 2"},
    {"%YAML 9.9\n---\na: 1", "found incompatible YAML document"},
};

static void yaml_bad(void **state) {
    size_t wrong = 0;
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        json_t *got = NULL;
        struct sw_error err = {0};
        sw_status status = sw_yaml_parse(sw_str_of(bad[i][0]), &got, &err);
        if (status != SW_E_INVALID_ARGUMENT || got || !strstr(err.message, bad[i][1])) {
            print_error("case %zu: %s: %s '%s'\n", i, bad[i][0], sw_status_name(status), err.message);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

static sw_status parse_nested(size_t depth, const char *open, const char *close) {
    struct sw_buf text;
    json_t *got = NULL;
    sw_buf_init(&text, 1 << 20);
    for (size_t i = 0; i < depth; i++) {
        sw_buf_append_str(&text, sw_str_of(open));
    }
    for (size_t i = 0; i < depth; i++) {
        sw_buf_append_str(&text, sw_str_of(close));
    }
    sw_status status = sw_yaml_parse(sw_buf_str(&text), &got, NULL);
    json_decref(got);
    sw_buf_deinit(&text);
    return status;
}

static void yaml_depth_is_bounded(void **state) {
    assert_int_equal(parse_nested(32, "[", "]"), SW_OK);
    assert_int_equal(parse_nested(33, "[", "]"), SW_E_INVALID_ARGUMENT);
    assert_int_equal(parse_nested(100000, "[", ""), SW_E_INVALID_ARGUMENT);
    assert_int_equal(parse_nested(33, "{a: ", "}"), SW_E_INVALID_ARGUMENT);
    assert_int_equal(parse_nested(10000, "- ", ""), SW_E_INVALID_ARGUMENT);
}

/* Every prefix of a document with everything in it: refused or read, never a crash or a leak. */
static void yaml_cut_anywhere(void **state) {
    static const char text[] = "name: d\ninput:\n  kind: image\n  sizes: [28, 28, {x: 'y'}]\n  mean: [0.5]\n"
                               "list:\n- a\n- \"q\\n\"\ntext: |\n  one\n  two\n...\n";
    for (size_t n = 0; n < sizeof text; n++) {
        json_t *got = NULL;
        char *copy = sw_xmalloc(n ? n : 1); /* of exactly this size, so that ASan sees a byte too far */
        memcpy(copy, text, n);
        sw_status status = sw_yaml_parse((struct sw_str){copy, n}, &got, NULL);
        assert_int_equal(status == SW_OK, got != NULL);
        json_decref(got);
        sw_free(copy);
    }
}

/* ---- files and paths ---- */

static char dir[] = "/tmp/slipway-test-XXXXXX";

static int make_dir(void **state) {
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state) {
    return rmdir(dir);
}

static char *write_file(const char *name, size_t size) {
    char *path = sw_path_join(dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (size_t i = 0; i < size; i++) {
        fputc((int)(i % 251), f);
    }
    fclose(f);
    return path;
}

static void file_read(void **state) {
    static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 100000};
    for (size_t i = 0; i < SW_COUNTOF(sizes); i++) {
        struct sw_buf buf;
        struct sw_error err;
        char *path = write_file("f", sizes[i]);
        assert_int_equal(sw_file_read(path, sizes[i], &buf, &err), SW_OK); /* exactly the limit */
        assert_int_equal(buf.len, sizes[i]);
        for (size_t j = 0; j < sizes[i]; j++) {
            assert_int_equal((unsigned char)buf.data[j], j % 251);
        }
        assert_true(buf.capacity <= sizes[i] + 4097); /* a large file is not copied to look for its end */
        assert_int_equal(buf.data[buf.len], 0);
        sw_buf_deinit(&buf);
        if (sizes[i]) {
            assert_int_equal(sw_file_read(path, sizes[i] - 1, &buf, &err), SW_E_TOO_LARGE);
            assert_non_null(strstr(err.message, path));
        }
        unlink(path);
        sw_free(path);
    }
}

static void file_of_unknown_size(void **state) {
    struct sw_buf buf;
    assert_int_equal(sw_file_read("/proc/self/status", 1 << 20, &buf, NULL), SW_OK); /* says it is empty */
    assert_non_null(strstr(buf.data, "Threads:"));
    sw_buf_deinit(&buf);
    assert_int_equal(sw_file_read("/proc/self/status", 10, &buf, NULL), SW_E_TOO_LARGE);
}

static void file_refused(void **state) {
    struct sw_buf buf;
    struct sw_error err;
    char *path = sw_path_join(dir, "fifo");
    assert_int_equal(sw_file_read(path, 10, &buf, &err), SW_E_NOT_FOUND);
    assert_int_equal(sw_file_read(dir, 10, &buf, &err), SW_E_IO);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(sw_file_read(path, 10, &buf, &err), SW_E_IO); /* and does not wait for a writer */
    assert_non_null(strstr(err.message, "not a regular file"));
    assert_false(sw_path_is_file(path) || sw_path_is_dir(path));
    unlink(path);
    sw_free(path);
    assert_true(sw_path_is_dir(dir) && !sw_path_is_file(dir));
}

static void paths(void **state) {
    static const char *const joined[][3] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"", "b", "b"}, {"/", "b", "/b"}, {"a", "", "a/"}, {"", "", ""},
    };
    for (size_t i = 0; i < SW_COUNTOF(joined); i++) {
        char *path = sw_path_join(joined[i][0], joined[i][1]);
        assert_string_equal(path, joined[i][2]);
        sw_free(path);
    }
    assert_true(sw_str_is(sw_path_base(SW_STR("/a/b.onnx")), "b.onnx"));
    assert_true(sw_str_is(sw_path_base(SW_STR("b")), "b"));
    assert_true(sw_str_is(sw_path_base(SW_STR("/a/b///")), "b"));
    assert_true(sw_str_is(sw_path_base(SW_STR("/")), "/"));
    static const struct {
        const char *name;
        bool inside;
    } names[] = {
        {"a", true},     {"a/b.c", true}, {"..a/b..", true}, {"", false},     {"/a", false}, {"..", false},
        {"a/..", false}, {"../a", false}, {"a/../b", false}, {"a//b", false}, {"a/", false},
    };
    for (size_t i = 0; i < SW_COUNTOF(names); i++) {
        assert_int_equal(sw_path_is_inside(sw_str_of(names[i].name)), names[i].inside);
    }
    assert_false(sw_path_is_inside(SW_STR("a\0/..")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yaml_good),         cmocka_unit_test(yaml_bad),
        cmocka_unit_test(yaml_cut_anywhere), cmocka_unit_test(yaml_depth_is_bounded),
        cmocka_unit_test(file_read),         cmocka_unit_test(file_of_unknown_size),
        cmocka_unit_test(file_refused),      cmocka_unit_test(paths),
    };
    return cmocka_run_group_tests_name("base/text", tests, make_dir, remove_dir);
}
