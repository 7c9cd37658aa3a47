/* ONNX models in memory: read, written, read again; hostile bytes; external data; who makes and uses a value. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "graph/onnx_internal.h"
#include "graph/opset.h"

static const char *fixture(const char *name) {
    static char path[4096];
    const char *dir = getenv("SLIPWAY_TEST_MODELS");
    assert_non_null(dir);
    snprintf(path, sizeof path, "%s/%s.onnx", dir, name);
    return path;
}

static struct sw_buf bytes_of(const struct sw_onnx *onnx) {
    struct sw_buf ret;
    uint64_t len = 0;
    int fd = memfd_create("test", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(sw_onnx_write(onnx, fd, &len, NULL), SW_OK);
    sw_buf_init(&ret, (size_t)1 << 30);
    assert_true(sw_buf_reserve(&ret, len));
    assert_int_equal(pread(fd, ret.data, len, 0), len);
    ret.len = len;
    close(fd);
    return ret;
}

static struct sw_onnx *read_fixture(const char *name) {
    struct sw_onnx *onnx = NULL;
    struct sw_error err;
    if (sw_onnx_read(fixture(name), &onnx, &err)) {
        fail_msg("%s: %s", name, err.message);
    }
    return onnx;
}

static void refuse(const void *data, size_t len, const char *dir, sw_status code, const char *part) {
    struct sw_onnx *untouched = (struct sw_onnx *)&code, *onnx = untouched;
    struct sw_error err;
    assert_int_equal(sw_onnx_parse(data, len, dir, &onnx, &err), code);
    assert_ptr_equal(onnx, untouched);
    if (!strstr(err.message, part)) {
        fail_msg("'%s' does not say '%s'", err.message, part);
    }
}

/* --- round trips -------------------------------------------------------------------------------------------------- */

/* Python's protobuf wrote these: fields in the order of their numbers, as protobuf-c does. */
static void test_files_are_written_as_they_were_read(void **state) {
    static const char *const models[] = {"mlp_45", "cnn_224",       "identity_all",    "add_sub",
                                         "scalar", "default_input", "sequence_output", "optional_type"};
    for (size_t i = 0; i < SW_COUNTOF(models); i++) {
        struct sw_onnx *onnx = read_fixture(models[i]);
        SW_CLEANUP(sw_buf_deinit) struct sw_buf written = bytes_of(onnx);
        SW_CLEANUP(sw_buf_deinit) struct sw_buf file;
        assert_int_equal(sw_file_read(fixture(models[i]), 1 << 30, &file, NULL), SW_OK);
        assert_int_equal(written.len, file.len);
        assert_memory_equal(written.data, file.data, file.len);
        assert_int_equal(onnx->bytes, file.len);
        sw_onnx_destroy(onnx);
    }
}

static void test_saving_replaces_a_file_whole(void **state) {
    char folder[] = "/tmp/slipway-onnx-test.XXXXXX";
    assert_non_null(mkdtemp(folder));
    SW_AUTO_FREE char *path = sw_path_join(folder, "m.onnx");
    struct sw_onnx *onnx = read_fixture("mlp_45");
    uint64_t bytes = 0;
    struct stat info;
    mode_t mask = umask(022);
    assert_int_equal(sw_onnx_save(onnx, path, &bytes, NULL), SW_OK);
    assert_int_equal(sw_onnx_save(onnx, path, &bytes, NULL), SW_OK);
    umask(mask);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_size, bytes);
    assert_int_equal(info.st_mode & 0777, 0644);
    struct sw_error err;
    SW_AUTO_FREE char *nowhere = sw_path_join(folder, "no/m.onnx");
    assert_int_equal(sw_onnx_save(onnx, nowhere, &bytes, &err), SW_E_IO);
    assert_non_null(strstr(err.message, nowhere));
    setenv("TMPDIR", folder, 1);
    char *temporary = NULL;
    assert_int_equal(sw_onnx_save_temporary(onnx, &temporary, NULL), SW_OK);
    assert_int_equal(strncmp(temporary, folder, strlen(folder)), 0);
    assert_int_equal(stat(temporary, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    unlink(temporary);
    sw_free(temporary);
    unlink(path);
    assert_int_equal(rmdir(folder), 0); /* nothing else was left there */
    unsetenv("TMPDIR");
    sw_onnx_destroy(onnx);
}

static void test_files_that_are_no_models(void **state) {
    struct sw_onnx *onnx = NULL;
    struct sw_error err;
    assert_int_equal(sw_onnx_read("/nonexistent/x.onnx", &onnx, &err), SW_E_NOT_FOUND);
    assert_int_equal(sw_onnx_read("/tmp", &onnx, &err), SW_E_IO);
    assert_int_equal(sw_onnx_read(fixture("truncated"), &onnx, &err), SW_E_MODEL_INVALID);
    assert_non_null(strstr(err.message, "cut off"));
    assert_int_equal(sw_onnx_read(fixture("empty"), &onnx, &err), SW_E_MODEL_INVALID);
    assert_non_null(strstr(err.message, "no graph"));
    assert_int_equal(sw_onnx_read(fixture("not_a_model"), &onnx, &err), SW_E_MODEL_INVALID);
    assert_null(onnx);
}

/* --- hostile bytes ------------------------------------------------------------------------------------------------ */

static void put_varint(struct sw_buf *b, uint64_t v) {
    for (; v >= 0x80; v >>= 7) {
        sw_buf_append_c(b, (char)(v | 0x80));
    }
    sw_buf_append_c(b, (char)v);
}

/* Wraps what the buffer holds as field `number`. */
static void wrap(struct sw_buf *b, uint32_t number) {
    SW_CLEANUP(sw_buf_deinit) struct sw_buf inner = *b;
    sw_buf_init(b, (size_t)1 << 30);
    put_varint(b, number << 3 | 2);
    put_varint(b, inner.len);
    sw_buf_append(b, inner.data, inner.len);
}

static void test_messages_nested_too_deep(void **state) {
    for (int kind = 0; kind < 2; kind++) {
        SW_CLEANUP(sw_buf_deinit) struct sw_buf b;
        sw_buf_init(&b, (size_t)1 << 30);
        for (int i = 0; i < 3000; i++) {
            if (kind == 0) { /* graph in attribute in node in graph ... */
                wrap(&b, 6);
                wrap(&b, 5);
                wrap(&b, 1);
            } else { /* a sequence of sequences of ... */
                wrap(&b, 1);
                wrap(&b, 4);
            }
        }
        if (kind == 1) {
            wrap(&b, 2);  /* type of a value */
            wrap(&b, 11); /* an input of the graph */
        }
        wrap(&b, 7);
        refuse(b.data, b.len, NULL, SW_E_MODEL_INVALID, "nested more than 112 deep");
    }
}

static void test_a_message_given_twice(void **state) {
    refuse("\x3a\x00\x3a\x00", 4, NULL, SW_E_MODEL_INVALID, "graph is given twice");
}

static void test_more_messages_than_allowed(void **state) {
    SW_CLEANUP(sw_buf_deinit) struct sw_buf b;
    sw_buf_init(&b, (size_t)1 << 30);
    for (int i = 0; i < 4000001; i++) {
        sw_buf_append(&b, "\x0a\x00", 2); /* an empty node */
    }
    wrap(&b, 7);
    refuse(b.data, b.len, NULL, SW_E_MODEL_INVALID, "more than 4000000 nodes");
}

static void test_every_truncation(void **state) {
    SW_CLEANUP(sw_buf_deinit) struct sw_buf file;
    assert_int_equal(sw_file_read(fixture("default_input"), 1 << 20, &file, NULL), SW_OK);
    size_t read = 0;
    for (size_t n = 0; n < file.len; n++) {
        char *exact = sw_xmalloc(n + 1); /* a block of its own: a read beyond it would be seen */
        struct sw_onnx *onnx = NULL;
        memcpy(exact, file.data, n);
        sw_status status = sw_onnx_parse(exact, n, NULL, &onnx, NULL);
        assert_true(status == SW_OK || status == SW_E_MODEL_INVALID);
        read += status == SW_OK;
        sw_onnx_destroy(onnx);
        sw_free(exact);
    }
    assert_true(read <= 1); /* but for a cut between the graph and the operator set behind it */
}

/* A tensor that says it has 2^62 elements, and ones that say less than nothing. */
static void test_absurd_dimensions(void **state) {
    static int64_t big[] = {INT64_C(1) << 31, INT64_C(1) << 31}, negative[] = {4, -1}, empty[] = {INT64_C(1) << 30, 0},
                   fits[] = {2, 3};
    const struct {
        int64_t *dims;
        bool good;
        size_t count;
    } cases[] = {{big, false, 0}, {negative, false, 0}, {empty, true, 0}, {fits, true, 6}};
    struct sw_arena arena;
    sw_arena_init(&arena, 0, 0);
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        Onnx__TensorProto t = ONNX__TENSOR_PROTO__INIT;
        size_t count = 77;
        t.dims = cases[i].dims;
        t.n_dims = 2;
        assert_int_equal(sw_onnx_count(&t, &count), cases[i].good);
        if (cases[i].good) {
            assert_int_equal(count, cases[i].count);
        }
        const float *values;
        t.has_data_type = true;
        t.data_type = SW_ONNX_FLOAT;
        sw_status status = sw_onnx_floats(&t, &arena, &values, &count, NULL);
        assert_int_equal(status, cases[i].good && cases[i].count == 0 ? SW_OK : SW_E_MODEL_INVALID);
    }
    sw_arena_deinit(&arena);
}

/* --- external data ------------------------------------------------------------------------------------------------ */

static void test_external_data_is_read_in(void **state) {
    struct sw_onnx *onnx = read_fixture("external_data");
    const Onnx__TensorProto *t = onnx->proto->graph->initializer[0];
    const float *values;
    size_t count;
    struct stat info;
    assert_int_equal(sw_onnx_floats(t, &onnx->arena, &values, &count, NULL), SW_OK);
    assert_int_equal(count, 3);
    assert_true(values[0] == 10 && values[2] == 30);
    assert_int_equal(stat(fixture("external_data"), &info), 0);
    assert_int_equal(onnx->bytes, info.st_size + 12);
    SW_CLEANUP(sw_buf_deinit) struct sw_buf written = bytes_of(onnx);
    struct sw_onnx *alone = NULL;
    assert_int_equal(sw_onnx_parse(written.data, written.len, NULL, &alone, NULL), SW_OK);
    sw_onnx_destroy(alone);
    sw_onnx_destroy(onnx);
}

/* The fixture's tensor with another place for its data. */
static struct sw_buf with_place(const char *location, const char *offset, const char *length) {
    SW_CLEANUP(sw_buf_deinit) struct sw_buf file;
    assert_int_equal(sw_file_read(fixture("external_data"), 1 << 20, &file, NULL), SW_OK);
    Onnx__ModelProto *model = onnx__model_proto__unpack(NULL, file.len, (const uint8_t *)file.data);
    assert_non_null(model);
    const char *texts[] = {location, offset, length};
    Onnx__TensorProto *t = model->graph->initializer[0];
    assert_int_equal(t->n_external_data, 3);
    for (size_t i = 0; i < 3; i++) {
        free(t->external_data[i]->value);
        t->external_data[i]->value = strdup(texts[i]);
    }
    struct sw_buf ret;
    sw_buf_init(&ret, 1 << 20);
    ret.len = onnx__model_proto__get_packed_size(model);
    assert_true(sw_buf_reserve(&ret, ret.len));
    onnx__model_proto__pack(model, (uint8_t *)ret.data);
    onnx__model_proto__free_unpacked(model, NULL);
    return ret;
}

static void test_external_data_that_cannot_be_had(void **state) {
    const struct {
        const char *location, *offset, *length, *part;
        sw_status code;
    } cases[] = {
        {"../external_data.bin", "0", "12", "outside the model's folder", SW_E_MODEL_INVALID},
        {"/etc/passwd", "0", "12", "outside the model's folder", SW_E_MODEL_INVALID},
        {"nowhere.bin", "0", "12", "nowhere.bin: No such file", SW_E_MODEL_INVALID},
        {"external_data.bin", "4", "12", "too short", SW_E_MODEL_INVALID},
        {"external_data.bin", "18446744073709551615", "12", "too short", SW_E_MODEL_INVALID},
        {"external_data.bin", "-1", "12", "offset of its external data is '-1'", SW_E_MODEL_INVALID},
        {"external_data.bin", "0", "3000000000", "larger than 2147483647 bytes", SW_E_TOO_LARGE},
        {"external_data.bin", "0", "18446744073709551615", "larger than 2147483647 bytes", SW_E_TOO_LARGE},
        {".", "0", "12", "no regular file", SW_E_MODEL_INVALID},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        SW_CLEANUP(sw_buf_deinit) struct sw_buf b = with_place(cases[i].location, cases[i].offset, cases[i].length);
        refuse(b.data, b.len, getenv("SLIPWAY_TEST_MODELS"), cases[i].code, cases[i].part);
    }
    SW_CLEANUP(sw_buf_deinit) struct sw_buf b = with_place("external_data.bin", "0", "12");
    refuse(b.data, b.len, NULL, SW_E_MODEL_INVALID, "cannot be read here");
}

/* --- the index ---------------------------------------------------------------------------------------------------- */

static struct sw_onnx *new_model(void) {
    struct sw_onnx *onnx = NULL;
    assert_int_equal(sw_onnx_parse("\x08\x08\x3a\x00\x42\x02\x10\x11", 8, NULL, &onnx, NULL), SW_OK);
    assert_int_equal(sw_onnx_opset(onnx->proto), 17);
    return onnx;
}

static void add_node(struct sw_onnx *onnx, const char *op, const char *const *inputs, const char *const *outputs) {
    Onnx__GraphProto *graph = onnx->proto->graph;
    Onnx__NodeProto **list = sw_onnx_take(&onnx->arena, (graph->n_node + 1) * sizeof *list);
    if (graph->n_node) {
        memcpy(list, graph->node, graph->n_node * sizeof *list);
    }
    list[graph->n_node++] = sw_onnx_new_node(&onnx->arena, op, inputs, outputs);
    graph->node = list;
}

#define LIST(...) ((const char *[]){__VA_ARGS__, NULL})

static void add_floats(struct sw_onnx *onnx, const char *name, const int64_t *dims, size_t rank, const float *values,
                       size_t count) {
    sw_onnx_add_initializer(
        onnx, sw_onnx_new_tensor(&onnx->arena, name, SW_ONNX_FLOAT, dims, rank, values, count * sizeof *values));
}

static void test_constants_through_identity_and_transpose(void **state) {
    static const float values[24] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,
                                     12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23};
    struct sw_onnx *onnx = new_model();
    struct sw_onnx_index index;
    add_floats(onnx, "w", (int64_t[]){2, 3, 4}, 3, values, 24);
    add_node(onnx, "Identity", LIST("w"), LIST("a"));
    add_node(onnx, "Transpose", LIST("a"), LIST("b")); /* all dimensions reversed */
    add_node(onnx, "Transpose", LIST("b"), LIST("c"));
    Onnx__AttributeProto *perm = sw_onnx_take(&onnx->arena, sizeof *perm);
    onnx__attribute_proto__init(perm);
    perm->name = (char *)"perm";
    perm->ints = (int64_t[]){1, 0, 2};
    perm->n_ints = 3;
    onnx->proto->graph->node[2]->attribute = &perm;
    onnx->proto->graph->node[2]->n_attribute = 1;
    add_node(onnx, "Relu", LIST("c"), LIST("d"));
    assert_int_equal(sw_onnx_index_init(&index, onnx, NULL), SW_OK);
    const float *got;
    int64_t dims[SW_ONNX_RANK_MAX];
    size_t rank;
    struct sw_onnx_constant c = sw_onnx_constant_of(&index, "c");
    assert_int_equal(sw_onnx_constant_floats(&c, &onnx->arena, &got, dims, &rank, NULL), SW_OK);
    assert_int_equal(rank, 3);
    assert_true(dims[0] == 3 && dims[1] == 4 && dims[2] == 2); /* [2,3,4] -> [4,3,2] -> [3,4,2] */
    for (size_t i = 0; i < 3; i++) {
        for (size_t k = 0; k < 4; k++) {
            for (size_t n = 0; n < 2; n++) {
                assert_true(got[(i * 4 + k) * 2 + n] == values[(n * 3 + i) * 4 + k]);
            }
        }
    }
    assert_null(sw_onnx_constant_of(&index, "d").tensor);
    assert_string_equal(sw_onnx_constant_of(&index, "d").why_not, "not constant");
    assert_null(sw_onnx_constant_of(&index, "nobody").tensor);
    sw_onnx_index_deinit(&index);
    sw_onnx_destroy(onnx);
}

/* Rings of nodes, which no runtime takes, end every walk. */
static void test_rings(void **state) {
    struct sw_onnx *onnx = new_model();
    struct sw_onnx_index index;
    add_node(onnx, "Identity", LIST("b"), LIST("a"));
    add_node(onnx, "Identity", LIST("a"), LIST("b"));
    add_node(onnx, "Add", LIST("s", "s"), LIST("s"));
    add_node(onnx, "Relu", LIST("r"), LIST("r"));
    assert_int_equal(sw_onnx_index_init(&index, onnx, NULL), SW_OK);
    assert_null(sw_onnx_constant_of(&index, "a").tensor);
    assert_int_equal(sw_onnx_rank(&index, onnx->proto->graph, "s"), -1);
    assert_int_equal(sw_onnx_rank(&index, onnx->proto->graph, "r"), -1);
    sw_onnx_index_deinit(&index);
    sw_onnx_destroy(onnx);
}

static void test_values_made_twice(void **state) {
    struct sw_onnx *onnx = new_model();
    struct sw_onnx_index index;
    struct sw_error err;
    add_node(onnx, "Relu", LIST("x"), LIST("y"));
    add_node(onnx, "Neg", LIST("x"), LIST("y"));
    assert_int_equal(sw_onnx_index_init(&index, onnx, &err), SW_E_MODEL_INVALID);
    assert_non_null(strstr(err.message, "'y' is made twice"));
    sw_onnx_index_deinit(&index);
    sw_onnx_destroy(onnx);
}

static void test_uses_and_captures(void **state) {
    struct sw_onnx *onnx = new_model();
    struct sw_onnx_index index;
    add_node(onnx, "Relu", LIST("x"), LIST("y"));
    add_node(onnx, "Add", LIST("y", "y"), LIST("z"));
    add_node(onnx, "If", LIST("cond"), LIST("i"));
    struct sw_onnx *body = new_model();
    add_node(body, "Neg", LIST("z"), LIST("q5"));
    Onnx__AttributeProto *a = sw_onnx_take(&onnx->arena, sizeof *a);
    onnx__attribute_proto__init(a);
    a->name = (char *)"then_branch";
    a->g = body->proto->graph;
    onnx->proto->graph->node[2]->attribute = &a;
    onnx->proto->graph->node[2]->n_attribute = 1;
    assert_int_equal(sw_onnx_index_init(&index, onnx, NULL), SW_OK);
    const struct sw_onnx_value *y = sw_onnx_find(&index, "y"), *z = sw_onnx_find(&index, "z");
    assert_int_equal(y->use_count, 2);
    assert_int_equal(y->uses->input, 0);
    assert_int_equal(y->uses->next->input, 1);
    assert_false(y->is_captured);
    assert_true(z->is_captured && z->use_count == 0);
    assert_true(sw_onnx_has_op(y->producer, "Relu"));
    assert_null(sw_onnx_find(&index, "nobody"));
    struct sw_onnx_names names;
    sw_onnx_names_init(&names, onnx);
    for (int i = 0; i < 1000; i++) { /* never a name that is used, in whatever graph: "q5" is, in the body */
        const char *fresh = sw_onnx_fresh_name(&names);
        assert_null(sw_onnx_find(&index, fresh));
        assert_true(fresh[0] == 'q' && strlen(fresh) <= 3 && strcmp(fresh, "q5") != 0);
    }
    sw_onnx_names_deinit(&names);
    sw_onnx_index_deinit(&index);
    sw_onnx_destroy(body);
    sw_onnx_destroy(onnx);
}

static void test_raising_does_nothing_to_a_newer_model(void **state) {
    struct sw_onnx *onnx = new_model();
    assert_int_equal(sw_onnx_raise_opset(onnx, 13, NULL), SW_OK);
    assert_int_equal(sw_onnx_opset(onnx->proto), 17);
    onnx->proto->opset_import[0]->version = 6;
    struct sw_error err;
    assert_int_equal(sw_onnx_raise_opset(onnx, 13, &err), SW_E_MODEL_INVALID);
    assert_non_null(strstr(err.message, "only 7 or later can"));
    onnx->proto->opset_import[0]->version = 12;
    add_node(onnx, "Frobnicate", LIST("x"), LIST("y"));
    assert_int_equal(sw_onnx_raise_opset(onnx, 13, &err), SW_E_MODEL_INVALID);
    assert_non_null(strstr(err.message, "Frobnicate 'y' is not known to mean the same there"));
    sw_onnx_destroy(onnx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_are_written_as_they_were_read),
        cmocka_unit_test(test_saving_replaces_a_file_whole),
        cmocka_unit_test(test_files_that_are_no_models),
        cmocka_unit_test(test_messages_nested_too_deep),
        cmocka_unit_test(test_a_message_given_twice),
        cmocka_unit_test(test_more_messages_than_allowed),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_absurd_dimensions),
        cmocka_unit_test(test_external_data_is_read_in),
        cmocka_unit_test(test_external_data_that_cannot_be_had),
        cmocka_unit_test(test_constants_through_identity_and_transpose),
        cmocka_unit_test(test_rings),
        cmocka_unit_test(test_values_made_twice),
        cmocka_unit_test(test_uses_and_captures),
        cmocka_unit_test(test_raising_does_nothing_to_a_newer_model),
    };
    return cmocka_run_group_tests_name("graph/onnx", tests, NULL, NULL);
}
