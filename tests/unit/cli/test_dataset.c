/* The data set reader: what the forms of a data set give, and what is refused, by name and line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/dataset.h"

static char folder[64];
static struct sw_arena arena;

static int set_up(void **state) {
    snprintf(folder, sizeof folder, "/tmp/slipway-test-dataset-XXXXXX");
    sw_arena_init(&arena, 0, 0);
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state) {
    char command[256];
    sw_arena_deinit(&arena);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

/* Runs shell commands inside the folder. */
static void shell(const char *commands) {
    char command[2048];
    snprintf(command, sizeof command, "cd '%s' && %s", folder, commands);
    assert_int_equal(system(command), 0);
}

static const char *inside(const char *name) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *text) {
    FILE *file = fopen(inside(name), "we");
    assert_non_null(file);
    assert_int_equal(fputs(text, file) >= 0, 1);
    assert_int_equal(fclose(file), 0);
}

static struct sw_dataset *open_good(const char *name) {
    struct sw_dataset *d;
    struct sw_error err;
    if (sw_dataset_open(inside(name), &d, &err)) {
        fail_msg("%s", err.message);
    }
    return d;
}

static struct sw_sample next_good(struct sw_dataset *d) {
    struct sw_sample sample;
    struct sw_error err;
    bool more;
    if (sw_dataset_next(d, &arena, &sample, &more, &err)) {
        fail_msg("%s", err.message);
    }
    assert_true(more);
    return sample;
}

static void assert_end(struct sw_dataset *d) {
    struct sw_sample sample;
    struct sw_error err;
    bool more;
    assert_int_equal(sw_dataset_next(d, &arena, &sample, &more, &err), SW_OK);
    assert_false(more);
}

static void assert_str(struct sw_str s, const char *text) {
    if (!text) {
        assert_null(s.data);
        return;
    }
    if (!s.data || !sw_str_is(s, text)) {
        fail_msg("'%.*s' is not '%s'", (int)s.len, s.data ? s.data : "", text);
    }
}

static void assert_group(const struct sw_sample *sample, const char *key, const char *value) {
    assert_str(sw_sample_group(sample, sw_str_of(key)), value);
}

/* --- manifests --------------------------------------------------------------------------------------------------- */

static void a_manifest_is_read(void **state) {
    shell("mkdir m m/png && printf PNG > m/png/a.png");
    write_file(
        "m/manifest.jsonl",
        "{\"file\": \"png/a.png\", \"is_stego\": true, \"method\": \"alpha\", \"payload\": \"h\\u00e9llo\", "
        "\"bit_order\": \"lsb-first\", \"marked\": false, \"bytes\": 12.50, \"size\": [1, {\"a\": 2}]}\n"
        "\n"
        "  \t\r\n"
        "{\"file\": \"b.JPG\", \"is_stego\": false, \"method\": null, \"format\": \"jfif\", \"broken\": true}\r\n"
        "{\"file\": \"c\", \"label\": \"cat\"}\n"
        "{\"file\": \"d.tar.gz\", \"label\": -7}\n"
        "{\"file\": \".e\", \"label\": false}\n"
        "{\"file\": \"f.\", \"label\": null, \"payload\": null}");
    struct sw_dataset *d = open_good("m");
    struct sw_sample s = next_good(d);
    assert_int_equal(s.index, 0);
    assert_int_equal(s.line, 1);
    assert_str(s.file, "png/a.png");
    assert_str(s.request, NULL);
    assert_int_equal(s.label.kind, SW_LABEL_BOOL);
    assert_true(s.label.positive);
    assert_str(s.label.text, "true");
    assert_str(s.method, "alpha");
    assert_str(s.payload, "h\xc3\xa9llo");
    assert_false(s.broken);
    assert_group(&s, "method", "alpha");
    assert_group(&s, "bit_order", "lsb-first");
    assert_group(&s, "marked", "false");
    assert_group(&s, "bytes", "12.50");
    assert_group(&s, "is_stego", "true");
    assert_group(&s, "format", "png");
    assert_group(&s, "size", NULL);
    assert_group(&s, "payload", NULL);

    s = next_good(d);
    assert_int_equal(s.index, 1);
    assert_int_equal(s.line, 4);
    assert_false(s.label.positive);
    assert_true(s.broken);
    assert_str(s.method, NULL);
    assert_str(s.payload, NULL);
    assert_group(&s, "format", "jfif"); /* the manifest's word, not the ending's */

    s = next_good(d);
    assert_int_equal(s.label.kind, SW_LABEL_TEXT);
    assert_str(s.label.text, "cat");
    assert_group(&s, "format", NULL);
    s = next_good(d);
    assert_int_equal(s.label.kind, SW_LABEL_INTEGER);
    assert_str(s.label.text, "-7");
    assert_group(&s, "format", "gz");
    s = next_good(d);
    assert_int_equal(s.label.kind, SW_LABEL_BOOL);
    assert_group(&s, "format", NULL);
    s = next_good(d);
    assert_int_equal(s.label.kind, SW_LABEL_NONE);
    assert_str(s.label.text, NULL);
    assert_str(s.payload, NULL);
    assert_int_equal(s.line, 8);
    assert_end(d);
    assert_true(sw_dataset_progress(d) == 1);
    struct sw_error err;
    assert_int_equal(sw_dataset_rewind(d, &err), SW_OK);
    s = next_good(d);
    assert_int_equal(s.line, 1);
    assert_int_equal(s.index, 0);
    assert_true(sw_dataset_progress(d) > 0);
    sw_dataset_close(d);
}

struct fault_case {
    const char *text;
    const char *part; /* of the message */
};

static const struct fault_case line_faults[] = {
    {"[1]", "line 2: malformed JSON"},
    {"{\"file\": \"a\"", "line 2: malformed JSON"},
    {"{\"file\": \"a\"} x", "line 2"},
    {"{\"file\": \"a\", \"file\": \"b\"}", "duplicate key"},
    {"{\"label\": true}", "line 2: needs either \"file\" or \"inputs\", has neither"},
    {"{\"file\": \"a\", \"inputs\": []}", "has both"},
    {"{\"file\": null}", "has neither"},
    {"{\"file\": \"../a\"}", "\"../a\" must be a path inside"},
    {"{\"file\": \"/etc/passwd\"}", "must be a path inside"},
    {"{\"file\": \"\"}", "must be a path inside"},
    {"{\"file\": \"a\\u0000.png\"}", "must be a path inside"},
    {"{\"file\": 3}", "file: must be a text"},
    {"{\"file\": \"a\", \"is_stego\": 1}", "is_stego: must be true or false"},
    {"{\"file\": \"a\", \"is_stego\": null}", "is_stego: must be true or false"},
    {"{\"file\": \"a\", \"label\": 1.5}", "label: must be true, false, an integer or a text"},
    {"{\"file\": \"a\", \"label\": [1]}", "label: must be a text, a number or a boolean"},
    {"{\"file\": \"a\", \"method\": 3}", "method: must be a text or null"},
    {"{\"file\": \"a\", \"payload\": 3}", "payload: must be a text"},
    {"{\"file\": \"a\", \"broken\": \"no\"}", "broken: must be true or false"},
    {"{\"file\": \"a\", \"x\": \"\xff\"}", "not UTF-8"},
};

static void a_faulty_line_is_named(void **state) {
    shell("mkdir f");
    for (size_t i = 0; i < SW_COUNTOF(line_faults); i++) {
        char text[512];
        struct sw_sample sample;
        struct sw_error err;
        bool more;
        snprintf(text, sizeof text, "{\"file\": \"good\", \"label\": 1}\n%s\n", line_faults[i].text);
        write_file("f/manifest.jsonl", text);
        struct sw_dataset *d = open_good("f");
        (void)next_good(d);
        assert_int_equal(sw_dataset_next(d, &arena, &sample, &more, &err), SW_E_INVALID_ARGUMENT);
        if (!strstr(err.message, line_faults[i].part) || !strstr(err.message, "f/manifest.jsonl line 2")) {
            fail_msg("'%s': '%s'", line_faults[i].text, err.message);
        }
        sw_dataset_close(d);
    }
}

static void too_many_keys_are_refused(void **state) {
    SW_CLEANUP(sw_buf_deinit) struct sw_buf line;
    struct sw_sample sample;
    struct sw_error err;
    sw_buf_init(&line, 1 << 20);
    sw_buf_printf(&line, "{\"file\": \"a\"");
    for (int i = 0; i < SW_SAMPLE_GROUPS_MAX; i++) {
        sw_buf_printf(&line, ", \"k%d\": %d", i, i);
    }
    size_t fits = line.len;
    sw_buf_printf(&line, "}");
    assert_int_equal(sw_sample_parse(sw_buf_str(&line), &arena, &sample, &err), SW_OK);
    assert_int_equal(sample.group_count, SW_SAMPLE_GROUPS_MAX);
    line.len = fits;
    sw_buf_printf(&line, ", \"one_more\": 1}");
    assert_int_equal(sw_sample_parse(sw_buf_str(&line), &arena, &sample, &err), SW_E_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "more than 64 keys"));
}

/* Lines that meet the chunk's end anywhere come out whole. */
static void long_lines_are_put_together(void **state) {
    enum { LINES = 40, BYTES = 30011 };
    shell("mkdir l");
    FILE *file = fopen(inside("l/manifest.jsonl"), "we");
    for (int i = 0; i < LINES; i++) {
        assert_true(fprintf(file, "{\"file\": \"f%d\", \"label\": %d, \"payload\": \"%0*d\"}\n", i, i, BYTES + i, 7) >
                    0);
    }
    assert_int_equal(fclose(file), 0);
    struct sw_dataset *d = open_good("l");
    for (int i = 0; i < LINES; i++) {
        char name[16];
        struct sw_sample s = next_good(d);
        snprintf(name, sizeof name, "f%d", i);
        assert_str(s.file, name);
        assert_int_equal(s.payload.len, BYTES + i);
    }
    assert_end(d);
    sw_dataset_close(d);
}

static void assert_open_fails(const char *name, sw_status status, const char *part) {
    struct sw_dataset *d;
    struct sw_error err;
    assert_int_equal(sw_dataset_open(inside(name), &d, &err), status);
    if (!strstr(err.message, part)) {
        fail_msg("'%s' does not contain '%s'", err.message, part);
    }
}

static void nothing_is_an_error(void **state) {
    struct sw_sample sample;
    struct sw_error err;
    bool more;
    shell("mkdir none none/.hidden && printf x > none/.hidden/y && printf '\\n \\n' > blank.jsonl && mkfifo pipe");
    assert_open_fails("absent", SW_E_NOT_FOUND, "absent");
    assert_open_fails("none", SW_E_INVALID_ARGUMENT, "holds no file");
    assert_open_fails("none/.hidden/y/z", SW_E_IO, "y/z");
    struct sw_dataset *d = open_good("blank.jsonl");
    assert_int_equal(sw_dataset_next(d, &arena, &sample, &more, &err), SW_E_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "holds no sample"));
    sw_dataset_close(d);
}

/* --- folders ----------------------------------------------------------------------------------------------------- */

static void clean_and_stego_folders(void **state) {
    shell("mkdir -p t/clean/more t/stego/raw t/stego/lsb.rgb t/.git && cd t && touch .git/x clean/b.png clean/a.webp "
          "clean/more/c.gif stego/raw/d.jpeg stego/lsb.rgb/e.PNG stego/f.bmp clean/.g.png");
    static const struct {
        const char *file, *method, *format;
        bool positive;
    } wanted[] = {{"clean/a.webp", NULL, "webp", false},           {"clean/b.png", NULL, "png", false},
                  {"clean/more/c.gif", NULL, "gif", false},        {"stego/f.bmp", NULL, "bmp", true},
                  {"stego/lsb.rgb/e.PNG", "lsb.rgb", "png", true}, {"stego/raw/d.jpeg", "raw", "jpeg", true}};
    struct sw_dataset *d = open_good("t");
    for (size_t i = 0; i < SW_COUNTOF(wanted); i++) {
        struct sw_sample s = next_good(d);
        assert_int_equal(s.index, i);
        assert_int_equal(s.line, 0);
        assert_str(s.file, wanted[i].file);
        assert_str(s.method, wanted[i].method);
        assert_group(&s, "method", wanted[i].method);
        assert_group(&s, "format", wanted[i].format);
        assert_int_equal(s.label.kind, SW_LABEL_BOOL);
        assert_int_equal(s.label.positive, wanted[i].positive);
    }
    assert_end(d);
    assert_true(sw_dataset_progress(d) == 1);
    sw_dataset_close(d);
}

static void a_folder_a_label(void **state) {
    shell("mkdir -p c/cat/x c/dog flat && touch c/cat/x/1.png c/dog/2.png flat/a flat/b");
    struct sw_dataset *d = open_good("c");
    struct sw_sample s = next_good(d);
    assert_int_equal(s.label.kind, SW_LABEL_TEXT);
    assert_str(s.label.text, "cat");
    assert_group(&s, "label", "cat");
    assert_str(s.method, NULL);
    s = next_good(d);
    assert_str(s.label.text, "dog");
    assert_end(d);
    sw_dataset_close(d);

    d = open_good("flat//");
    s = next_good(d);
    assert_non_null(strstr(sw_sample_where(d, &s, &arena), "/flat/a"));
    assert_int_equal(s.label.kind, SW_LABEL_NONE);
    assert_str(s.file, "a");
    sw_dataset_close(d);
}

static void strange_folders_are_refused(void **state) {
    shell(
        "mkdir -p s1/cat s2/clean s2/other s3/cat s4/cat && touch s1/cat/1 s1/README s2/clean/1 s2/other/2 s3/cat/1 && "
        "ln -s /tmp s3/dog && mkfifo s4/cat/p");
    assert_open_fails("s1", SW_E_INVALID_ARGUMENT, "file README beside folders");
    assert_open_fails("s2", SW_E_INVALID_ARGUMENT, "other/2 beside clean/ and stego/");
    assert_open_fails("s3", SW_E_INVALID_ARGUMENT, "s3/dog: a symbolic link to a folder");
    assert_open_fails("s4", SW_E_INVALID_ARGUMENT, "neither a file nor a folder");
    shell("mkdir -p deep/$(printf 'd/%.0s' $(seq 40)) && touch deep/$(printf 'd/%.0s' $(seq 40))x");
    assert_open_fails("deep", SW_E_INVALID_ARGUMENT, "more than 32 folders deep");
}

/* --- inputs ------------------------------------------------------------------------------------------------------ */

static struct sw_tensor_spec image_spec = {
    .name = (char[]){"image"}, .dtype = SW_DTYPE_BYTES, .rank = 1, .shape = {-1}};
static const struct sw_tensor_specs image_input = {&image_spec, 1};
static struct sw_tensor_spec x_spec = {.name = (char[]){"x"}, .dtype = SW_DTYPE_FP32, .rank = 2, .shape = {-1, 2}};
static const struct sw_tensor_specs x_input = {&x_spec, 1};

static void a_file_is_the_bytes_input(void **state) {
    struct sw_tensor *tensors;
    struct sw_error err;
    size_t count;
    shell("mkdir i && printf 'a\\0b' > i/f.png && ln -s /etc/hostname i/out && ln -s f.png i/in");
    write_file("i/manifest.jsonl",
               "{\"file\": \"f.png\"}\n{\"file\": \"gone\"}\n{\"file\": \"out\"}\n{\"file\": \"in\"}");
    struct sw_dataset *d = open_good("i");
    struct sw_sample s = next_good(d);
    assert_int_equal(sw_sample_inputs(d, &s, &image_input, &arena, &tensors, &count, &err), SW_OK);
    assert_int_equal(count, 1);
    assert_str(tensors[0].name, "image");
    assert_int_equal(tensors[0].count, 1);
    struct sw_str bytes = *(struct sw_str *)tensors[0].data;
    assert_int_equal(bytes.len, 3);
    assert_memory_equal(bytes.data, "a\0b", 3);
    assert_non_null(strstr(sw_sample_where(d, &s, &arena), "/i/f.png"));
    assert_int_equal(sw_sample_inputs(d, &s, &x_input, &arena, &tensors, &count, &err), SW_E_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "manifest.jsonl line 1: the sample is a file"));
    s = next_good(d);
    assert_int_equal(sw_sample_inputs(d, &s, &image_input, &arena, &tensors, &count, &err), SW_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "line 2"));
    assert_non_null(strstr(err.message, "i/gone"));
    s = next_good(d);
    assert_int_equal(sw_sample_inputs(d, &s, &image_input, &arena, &tensors, &count, &err), SW_E_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "\"out\" leads out of the folder"));
    s = next_good(d);
    assert_int_equal(sw_sample_inputs(d, &s, &image_input, &arena, &tensors, &count, &err), SW_OK);
    sw_dataset_close(d);
}

static void requests_are_tensors(void **state) {
    struct sw_tensor *tensors;
    struct sw_error err;
    size_t count;
    write_file("bytes", "abc");
    write_file("r.jsonl",
               "{\"inputs\": [{\"name\": \"x\", \"shape\": [1, 2], \"datatype\": \"FP32\", \"data\": [1.5, 2]}], "
               "\"outputs\": [], \"label\": 3}\n"
               "{\"label\": 4, \"inputs\": [{\"file\": \"bytes\", \"name\": \"image\"}]}\n"
               "{\"inputs\": [{\"name\": \"y\", \"shape\": [1], \"datatype\": \"FP32\", \"data\": [1]}]}\n"
               "{\"inputs\": [{\"name\": \"x\", \"file\": \"bytes\"}]}\n"
               "{\"inputs\": 3}\n");
    struct sw_dataset *d = open_good("r.jsonl");
    struct sw_sample s = next_good(d);
    assert_str(s.file, NULL);
    assert_str(s.label.text, "3");
    assert_int_equal(sw_sample_inputs(d, &s, &x_input, &arena, &tensors, &count, &err), SW_OK);
    assert_int_equal(count, 1);
    assert_true(((float *)tensors[0].data)[0] == 1.5f);
    assert_non_null(strstr(sw_sample_where(d, &s, &arena), "r.jsonl line 1"));
    s = next_good(d);
    assert_int_equal(sw_sample_inputs(d, &s, &image_input, &arena, &tensors, &count, &err), SW_OK);
    assert_str(*(struct sw_str *)tensors[0].data, "abc");
    s = next_good(d);
    assert_int_equal(sw_sample_inputs(d, &s, &x_input, &arena, &tensors, &count, &err), SW_E_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "r.jsonl line 3"));
    s = next_good(d);
    assert_int_equal(sw_sample_inputs(d, &s, &x_input, &arena, &tensors, &count, &err), SW_E_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "no BYTES input"));
    s = next_good(d);
    assert_int_equal(sw_sample_inputs(d, &s, &x_input, &arena, &tensors, &count, &err), SW_E_INVALID_ARGUMENT);
    assert_end(d);
    sw_dataset_close(d);
}

/* --- threads ----------------------------------------------------------------------------------------------------- */

enum { MANY = 5000, THREADS = 4 };

struct taker {
    struct sw_dataset *dataset;
    _Atomic int *seen; /* how often each was given */
    bool failed;
};

static void *take_all(void *arg) {
    struct taker *t = arg;
    struct sw_arena own;
    bool more = true;
    sw_arena_init(&own, 0, 1 << 16);
    while (more && !t->failed) {
        struct sw_sample s;
        char name[32];
        t->failed = sw_dataset_next(t->dataset, &own, &s, &more, NULL) != SW_OK;
        if (!t->failed && more) {
            snprintf(name, sizeof name, "f%llu", (unsigned long long)s.index);
            t->failed = s.index >= MANY || !sw_str_is(s.file, name) || (s.line && s.line != s.index + 1);
            t->seen[s.index % MANY]++;
        }
        sw_arena_reset(&own);
    }
    sw_arena_deinit(&own);
    return NULL;
}

static void each_sample_is_given_once(void **state) {
    static _Atomic int seen[MANY];
    FILE *file = fopen(inside("many.jsonl"), "we");
    for (int i = 0; i < MANY; i++) {
        assert_true(fprintf(file, "{\"file\": \"f%d\"}\n", i) > 0);
    }
    assert_int_equal(fclose(file), 0);
    struct sw_dataset *d = open_good("many.jsonl");
    pthread_t threads[THREADS];
    struct taker takers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        takers[i] = (struct taker){.dataset = d, .seen = seen};
        assert_int_equal(pthread_create(&threads[i], NULL, take_all, &takers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_false(takers[i].failed);
    }
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(seen[i], 1);
    }
    sw_dataset_close(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_manifest_is_read),        cmocka_unit_test(a_faulty_line_is_named),
        cmocka_unit_test(too_many_keys_are_refused), cmocka_unit_test(long_lines_are_put_together),
        cmocka_unit_test(nothing_is_an_error),       cmocka_unit_test(clean_and_stego_folders),
        cmocka_unit_test(a_folder_a_label),          cmocka_unit_test(strange_folders_are_refused),
        cmocka_unit_test(a_file_is_the_bytes_input), cmocka_unit_test(requests_are_tensors),
        cmocka_unit_test(each_sample_is_given_once),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
