/* Arrays as samples: .npy and .npz files, how they are cut into samples, what does not fit. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/npz.h"
#include "cli/sample_arrays.h"

static char folder[] = "/tmp/slipway-samples-test.XXXXXX";
static struct sw_arena arena;

/* --- files -------------------------------------------------------------------------------------------------------- */

/* A .npy of FP32 numbers 0, 1, 2, ... of this shape ("2, 3"). */
static size_t npy(char *ret, const char *descr, const char *shape, const void *data, size_t size) {
    char header[128];
    int len = snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (%s,), }", descr,
                       shape);
    memcpy(ret, "\x93NUMPY\x01\x00", 8);
    ret[8] = 118;
    ret[9] = 0;
    memset(ret + 10, ' ', 118);
    memcpy(ret + 10, header, (size_t)len);
    memcpy(ret + 128, data, size);
    return 128 + size;
}

static const float counting[64] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                   16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};

static char *path_of(const char *name) {
    return sw_path_join(folder, name);
}

static void write_file(const char *name, const void *data, size_t len) {
    SW_AUTO_FREE char *path = path_of(name);
    FILE *f = fopen(path, "wb");
    assert_true(f && fwrite(data, 1, len, f) == len && fclose(f) == 0);
}

static void write_npy(const char *name, const char *shape, size_t count) {
    char bytes[1024];
    write_file(name, bytes, npy(bytes, "<f4", shape, counting, count * sizeof(float)));
}

struct member {
    const char *name, *shape;
    size_t count;
};

/* A zip of such arrays; method: "store" or "deflate". */
static size_t zip(char *ret, size_t size, const char *method, const struct member *members, size_t count) {
    struct archive *a = archive_write_new();
    size_t used = 0;
    assert_int_equal(archive_write_set_format_zip(a), ARCHIVE_OK);
    assert_int_equal(archive_write_set_format_option(a, "zip", "compression", method), ARCHIVE_OK);
    assert_int_equal(archive_write_open_memory(a, ret, size, &used), ARCHIVE_OK);
    for (size_t i = 0; i < count; i++) {
        char bytes[1024];
        size_t len = npy(bytes, "<f4", members[i].shape, counting, members[i].count * sizeof(float));
        struct archive_entry *e = archive_entry_new();
        archive_entry_set_pathname(e, members[i].name);
        archive_entry_set_filetype(e, AE_IFREG);
        archive_entry_set_size(e, (la_int64_t)len);
        assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
        assert_int_equal(archive_write_data(a, bytes, len), len);
        archive_entry_free(e);
    }
    assert_int_equal(archive_write_close(a), ARCHIVE_OK);
    archive_write_free(a);
    return used;
}

/* --- a model's inputs --------------------------------------------------------------------------------------------- */

static struct sw_tensor_spec items[2] = {
    {.name = (char *)"x", .dtype = SW_DTYPE_FP32, .rank = 2, .shape = {-1, 3}},
    {.name = (char *)"n", .dtype = SW_DTYPE_INT64, .rank = 1, .shape = {-1}},
};
static const struct sw_tensor_specs one_input = {items, 1}, two_inputs = {items, 2};

static struct sw_sample_files files;

static void open_files(const char *name, const struct sw_tensor_specs *specs) {
    SW_AUTO_FREE char *path = path_of(name);
    struct sw_error err;
    bool found = false;
    if (sw_sample_files_open(path, specs, &files, &found, &err)) {
        fail_msg("%s", err.message);
    }
    assert_true(found);
}

static void refuse(const char *name, const struct sw_tensor_specs *specs, const char *part) {
    SW_AUTO_FREE char *path = path_of(name);
    struct sw_error err;
    bool found;
    assert_int_equal(sw_sample_files_open(path, specs, &files, &found, &err), SW_E_INVALID_ARGUMENT);
    if (!strstr(err.message, part) || !strstr(err.message, folder)) {
        fail_msg("'%s' does not say '%s' of a file", err.message, part);
    }
    sw_sample_files_close(&files);
}

static const struct sw_tensor *row(size_t file, size_t index, const struct sw_tensor_specs *specs, size_t which) {
    struct sw_tensor *tensors = NULL;
    size_t count = 0;
    assert_int_equal(sw_sample_arrays_row(files.items[file], index, specs, &arena, &tensors, &count, NULL), SW_OK);
    assert_true(which < count);
    return &tensors[which];
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static void test_rows_of_one_array(void **state) {
    write_npy("rows.npy", "4, 3", 12);
    open_files("rows.npy", &one_input);
    assert_int_equal(files.count, 1);
    assert_int_equal(files.items[0]->rows, 4);
    for (size_t i = 0; i < 4; i++) {
        const struct sw_tensor *t = row(0, i, &one_input, 0);
        assert_true(sw_str_is(t->name, "x") && t->rank == 2 && t->shape[0] == 1 && t->shape[1] == 3 && t->count == 3);
        assert_true(((const float *)t->data)[0] == (float)(3 * i));
    }
    sw_sample_files_close(&files);
}

static void test_a_dimension_more_than_the_model(void **state) {
    write_npy("outer.npy", "2, 2, 3", 12);
    open_files("outer.npy", &one_input);
    assert_int_equal(files.items[0]->rows, 2);
    const struct sw_tensor *t = row(0, 1, &one_input, 0);
    assert_true(t->rank == 2 && t->shape[0] == 2 && t->shape[1] == 3 && t->count == 6);
    assert_true(((const float *)t->data)[0] == 6);
    sw_sample_files_close(&files);
}

static void test_pieces_of_a_fixed_size(void **state) {
    struct sw_tensor_spec fixed = {.name = (char *)"x", .dtype = SW_DTYPE_FP32, .rank = 1, .shape = {4}};
    const struct sw_tensor_specs specs = {&fixed, 1};
    write_npy("pieces.npy", "12", 12);
    open_files("pieces.npy", &specs);
    assert_int_equal(files.items[0]->rows, 3);
    const struct sw_tensor *t = row(0, 2, &specs, 0);
    assert_true(t->shape[0] == 4 && ((const float *)t->data)[0] == 8);
    sw_sample_files_close(&files);
}

static void test_arrays_that_belong_together(void **state) {
    static char bytes[8192];
    static const struct member members[] = {{"x.npy", "2, 3", 6}, {"n.npy", "2", 2}};
    struct sw_tensor_spec reals[2] = {items[0],
                                      {.name = (char *)"n", .dtype = SW_DTYPE_FP64, .rank = 1, .shape = {-1}}};
    const struct sw_tensor_specs specs = {reals, 2};
    const char *const methods[] = {"store", "deflate"};
    for (size_t i = 0; i < 2; i++) {
        write_file("pair.npz", bytes, zip(bytes, sizeof bytes, methods[i], members, 2));
        open_files("pair.npz", &specs);
        assert_int_equal(files.items[0]->rows, 2);
        const struct sw_tensor *x = row(0, 1, &specs, 0), *n = row(0, 1, &specs, 1);
        assert_true(((const float *)x->data)[0] == 3);
        assert_true(n->dtype == SW_DTYPE_FP64 && n->count == 1 && ((const double *)n->data)[0] == 1); /* from FP32 */
        sw_sample_files_close(&files);
    }
}

static void test_a_folder_of_arrays(void **state) {
    SW_AUTO_FREE char *path = path_of("named");
    assert_int_equal(mkdir(path, 0700), 0);
    char bytes[1024];
    static const int64_t numbers[] = {7, 8};
    write_npy("named/x.npy", "2, 3", 6);
    write_file("named/n.npy", bytes, npy(bytes, "<i8", "2", numbers, sizeof numbers));
    write_file("named/notes.txt", "x", 1);
    open_files("named", &two_inputs);
    assert_int_equal(files.count, 1);
    const struct sw_tensor *n = row(0, 1, &two_inputs, 1);
    assert_true(n->dtype == SW_DTYPE_INT64 && n->count == 1 && *(const int64_t *)n->data == 8);
    sw_sample_files_close(&files);
    open_files("named", &one_input); /* x.npy alone is one for every required input */
    assert_int_equal(files.count, 1);
    sw_sample_files_close(&files);
}

static void test_one_sample_goes_with_all_of_the_others(void **state) {
    static char bytes[8192];
    struct sw_tensor_spec wide[2] = {items[0], {.name = (char *)"k", .dtype = SW_DTYPE_FP32, .rank = 1, .shape = {2}}};
    const struct sw_tensor_specs specs = {wide, 2};
    static const struct member members[] = {{"k.npy", "2", 2}, {"x.npy", "5, 3", 15}};
    write_file("spread.npz", bytes, zip(bytes, sizeof bytes, "deflate", members, 2));
    open_files("spread.npz", &specs);
    assert_int_equal(files.items[0]->rows, 5);
    for (size_t i = 0; i < 5; i++) {
        const struct sw_tensor *k = row(0, i, &specs, 0), *x = row(0, i, &specs, 1);
        assert_true(k->count == 2 && ((const float *)k->data)[1] == 1);
        assert_true(((const float *)x->data)[0] == (float)(3 * i));
    }
    sw_sample_files_close(&files);
}

static void test_what_does_not_fit(void **state) {
    static char bytes[8192];
    static const struct member differing[] = {{"x.npy", "4, 3", 12}, {"n.npy", "3", 3}},
                               unknown[] = {{"q.npy", "4, 3", 12}}, other[] = {{"readme.txt", "1", 1}},
                               twice[] = {{"x.npy", "4, 3", 12}, {"x.npy", "4, 3", 12}};
    write_file("differing.npz", bytes, zip(bytes, sizeof bytes, "store", differing, 2));
    refuse("differing.npz", &two_inputs, "array 'n' holds 3 samples, another one 4");
    write_file("unknown.npz", bytes, zip(bytes, sizeof bytes, "store", unknown, 1));
    refuse("unknown.npz", &one_input, "no input 'q'");
    write_file("other.npz", bytes, zip(bytes, sizeof bytes, "store", other, 1));
    refuse("other.npz", &one_input, "holds no arrays");
    write_file("twice.npz", bytes, zip(bytes, sizeof bytes, "store", twice, 2));
    refuse("twice.npz", &one_input, "two arrays of the same name");
    write_npy("deep.npy", "1, 2, 2, 3", 12);
    refuse("deep.npy", &one_input, "of shape [1,2,2,3], input 'x' of [-1,3]");
    write_npy("several.npy", "4, 3", 12);
    refuse("several.npy", &two_inputs, "takes several inputs");
    write_npy("none.npy", "0, 3", 0);
    refuse("none.npy", &one_input, "'x' is empty");
    write_file("text.npz", "PK is not all", 13);
    refuse("text.npz", &one_input, "not a .npz file");
    bool found = true;
    SW_AUTO_FREE char *path = path_of("rows.jsonl");
    assert_int_equal(sw_sample_files_open(path, &one_input, &files, &found, NULL), SW_OK);
    assert_false(found); /* that is for the data set to open */
    sw_sample_files_close(&files);
}

/* Every beginning of a .npz is refused, or gives the arrays that are whole. */
static void test_truncated_npz(void **state) {
    static char bytes[8192];
    static const struct member members[] = {{"x.npy", "2, 3", 6}, {"n.npy", "2", 2}};
    size_t len = zip(bytes, sizeof bytes, "deflate", members, 2), whole = 0;
    for (size_t n = 0; n <= len; n++) {
        struct sw_tensor *tensors;
        size_t count = 0;
        char *exact = sw_xmalloc(n + 1);
        memcpy(exact, bytes, n);
        sw_status status = sw_npz_read((struct sw_str){exact, n}, &arena, &tensors, &count, NULL);
        assert_true(status == SW_OK || status == SW_E_INVALID_ARGUMENT);
        assert_true(status || count <= 2);
        whole += status == SW_OK && count == 2;
        sw_free(exact);
        sw_arena_reset(&arena);
    }
    assert_true(whole > 0);
}

static int set_up(void **state) {
    sw_arena_init(&arena, 0, 1 << 20);
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state) {
    static const char *const names[] = {"rows.npy",      "outer.npy",   "pieces.npy",      "pair.npz",
                                        "named/x.npy",   "named/n.npy", "named/notes.txt", "spread.npz",
                                        "differing.npz", "unknown.npz", "other.npz",       "twice.npz",
                                        "deep.npy",      "several.npy", "none.npy",        "text.npz"};
    for (size_t i = 0; i < SW_COUNTOF(names); i++) {
        SW_AUTO_FREE char *path = path_of(names[i]);
        unlink(path);
    }
    SW_AUTO_FREE char *named = path_of("named");
    rmdir(named);
    sw_arena_deinit(&arena);
    return rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_of_one_array),      cmocka_unit_test(test_a_dimension_more_than_the_model),
        cmocka_unit_test(test_pieces_of_a_fixed_size), cmocka_unit_test(test_arrays_that_belong_together),
        cmocka_unit_test(test_a_folder_of_arrays),     cmocka_unit_test(test_one_sample_goes_with_all_of_the_others),
        cmocka_unit_test(test_what_does_not_fit),      cmocka_unit_test(test_truncated_npz),
    };
    return cmocka_run_group_tests_name("cli/samples", tests, set_up, tear_down);
}
