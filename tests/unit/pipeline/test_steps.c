/* The output steps: signatures they make, values they give, parameters they refuse. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/yaml.h"
#include "folder.h"
#include "pipeline/step.h"

static struct sw_arena arena;

static int setup(void **state) {
    sw_arena_init(&arena, 0, 0);
    return 0;
}

static int teardown(void **state) {
    sw_arena_deinit(&arena);
    return 0;
}

static struct sw_tensor_specs one_spec(const char *name, enum sw_dtype dtype, uint32_t rank, const int64_t *shape) {
    struct sw_tensor_specs specs = {.items = sw_xcalloc(1, sizeof *specs.items), .count = 1};
    specs.items[0] = (struct sw_tensor_spec){.name = sw_xstrdup(name), .dtype = dtype, .rank = rank};
    memcpy(specs.items[0].shape, shape, rank * sizeof *shape);
    return specs;
}

static sw_status make(const char *name, const char *yaml, const char *dir, struct sw_tensor_specs *specs,
                      struct sw_step **ret, struct sw_error *err) {
    json_t *params = NULL;
    SW_AUTO_FREE char *text = sw_xmalloc(strlen(yaml) + 8);
    snprintf(text, strlen(yaml) + 8, "x: %s", yaml);
    assert_int_equal(sw_yaml_parse(sw_str_of(text), &params, err), SW_OK);
    sw_status status =
        sw_step_find(SW_STEP_OUTPUT, sw_str_of(name))->create(json_object_get(params, "x"), dir, specs, ret, err);
    json_decref(params);
    return status;
}

static struct sw_step *must_make(const char *name, const char *yaml, struct sw_tensor_specs *specs) {
    struct sw_step *step = NULL;
    struct sw_error err = {0};
    if (make(name, yaml, "/", specs, &step, &err)) {
        fail_msg("%s: %s", yaml, err.message);
    }
    return step;
}

static struct sw_tensor_set set_of(const char *name, enum sw_dtype dtype, const int64_t *shape, uint32_t rank,
                                   const void *data) {
    struct sw_tensor_set set = {0};
    struct sw_tensor *t = sw_tensor_set_add(&set, &arena);
    assert_int_equal(sw_tensor_alloc(t, &arena, sw_str_of(name), dtype, shape, rank, NULL), SW_OK);
    if (t->count) {
        memcpy(t->data, data, t->count * sw_dtype_size(dtype));
    }
    return set;
}

static void softmax_values(void **state) {
    struct sw_tensor_specs specs = one_spec("z", SW_DTYPE_FP32, 2, (int64_t[]){-1, 3});
    struct sw_step *step = must_make("softmax", "true", &specs);
    assert_int_equal(specs.count, 1);
    const float z[] = {1, 2, 3, 1000, 1001, 1002, -1000, 0, 1000};
    struct sw_tensor_set set = set_of("z", SW_DTYPE_FP32, (int64_t[]){3, 3}, 2, z);
    const float *before = set.items[0].data;
    assert_int_equal(step->ops->run(step, &set, &arena, NULL), SW_OK);
    const float *p = set.items[0].data;
    assert_ptr_not_equal(p, before);
    assert_memory_equal(before, z, sizeof z); /* the engine's memory is as it was */
    const float want[] = {0.09003057f, 0.24472848f, 0.66524094f, 0.09003057f, 0.24472848f, 0.66524094f, 0, 0, 1};
    for (int i = 0; i < 9; i++) {
        assert_true(fabsf(p[i] - want[i]) < 1e-6f);
    }
    step->ops->destroy(step);
    sw_specs_deinit(&specs);
}

static void softmax_axis(void **state) {
    struct sw_tensor_specs specs = one_spec("z", SW_DTYPE_FP64, 3, (int64_t[]){2, 2, 2});
    struct sw_step *step = must_make("softmax", "{tensor: z, axis: 1}", &specs);
    const double z[] = {0, 5, 0, 5, log(3), 1, 0, 2};
    struct sw_tensor_set set = set_of("z", SW_DTYPE_FP64, (int64_t[]){2, 2, 2}, 3, z);
    assert_int_equal(step->ops->run(step, &set, &arena, NULL), SW_OK);
    const double *p = set.items[0].data;
    const double want[] = {0.5, 0.5, 0.5, 0.5, 0.75, 1 / (1 + M_E), 0.25, M_E / (1 + M_E)};
    for (int i = 0; i < 8; i++) {
        assert_true(fabs(p[i] - want[i]) < 1e-12);
    }
    step->ops->destroy(step);
    sw_specs_deinit(&specs);
}

static void labels_best(void **state) {
    struct sw_tensor_specs specs = one_spec("p", SW_DTYPE_FP32, 2, (int64_t[]){-1, 3});
    struct sw_step *step = must_make("labels", "[cat, dog, 7]", &specs);
    assert_int_equal(specs.count, 3);
    const struct sw_tensor_spec *label = sw_specs_find(&specs, SW_STR("label"));
    const struct sw_tensor_spec *score = sw_specs_find(&specs, SW_STR("score"));
    assert_true(label && label->dtype == SW_DTYPE_BYTES && label->rank == 1 && label->shape[0] == -1);
    assert_true(score && score->dtype == SW_DTYPE_FP32 && score->rank == 1);
    const float p[] = {0.1f, 0.7f, 0.2f, 0.4f, 0.4f, 0.2f, NAN, -5, -4};
    struct sw_tensor_set set = set_of("p", SW_DTYPE_FP32, (int64_t[]){3, 3}, 2, p);
    assert_int_equal(step->ops->run(step, &set, &arena, NULL), SW_OK);
    struct sw_tensor *l = sw_tensor_set_find(&set, SW_STR("label")), *s = sw_tensor_set_find(&set, SW_STR("score"));
    assert_true(l && s && l->rank == 1 && l->shape[0] == 3 && s->count == 3);
    const struct sw_str *text = l->data;
    assert_true(sw_str_is(text[0], "dog") && sw_str_is(text[1], "cat") && sw_str_is(text[2], "7"));
    const float *v = s->data;
    assert_true(v[0] == 0.7f && v[1] == 0.4f && v[2] == -4);
    step->ops->destroy(step);
    sw_specs_deinit(&specs);
}

static void labels_top(void **state) {
    struct sw_tensor_specs specs = one_spec("p", SW_DTYPE_FP64, 2, (int64_t[]){-1, -1});
    struct sw_step *step = must_make("labels", "{values: [a, b, c, d], top: 3, label_name: k, score_name: s}", &specs);
    const struct sw_tensor_spec *label = sw_specs_find(&specs, SW_STR("k"));
    assert_true(label && label->rank == 2 && label->shape[1] == 3);
    const double p[] = {1, 3, 3, 2, 4, 3, 2, 1};
    struct sw_tensor_set set = set_of("p", SW_DTYPE_FP64, (int64_t[]){2, 4}, 2, p);
    assert_int_equal(step->ops->run(step, &set, &arena, NULL), SW_OK);
    const struct sw_str *text = sw_tensor_set_find(&set, SW_STR("k"))->data;
    const float *v = sw_tensor_set_find(&set, SW_STR("s"))->data;
    const char *want[] = {"b", "c", "d", "a", "b", "c"};
    const float scores[] = {3, 3, 2, 4, 3, 2};
    for (int i = 0; i < 6; i++) {
        assert_true(sw_str_is(text[i], want[i]));
        assert_true(v[i] == scores[i]);
    }
    struct sw_error err = {0};
    set = set_of("p", SW_DTYPE_FP64, (int64_t[]){1, 3}, 2, p); /* the free dimension turned out wrong */
    assert_int_equal(step->ops->run(step, &set, &arena, &err), SW_E_INFERENCE_FAILED);
    assert_non_null(strstr(err.message, "[1,3]"));
    step->ops->destroy(step);
    sw_specs_deinit(&specs);
}

static void labels_from_a_file(void **state) {
    char *dir = folder_make();
    folder_write_text(dir, "l.txt", "eins\r\nzwei drei\n\nvier\n\n");
    struct sw_tensor_specs specs = one_spec("p", SW_DTYPE_FP32, 1, (int64_t[]){4});
    struct sw_step *step = NULL;
    struct sw_error err = {0};
    assert_int_equal(make("labels", "{file: l.txt}", dir, &specs, &step, &err), SW_OK);
    const float p[] = {0, 1, 2, 3};
    struct sw_tensor_set set = set_of("p", SW_DTYPE_FP32, (int64_t[]){4}, 1, p);
    assert_int_equal(step->ops->run(step, &set, &arena, NULL), SW_OK);
    struct sw_tensor *l = sw_tensor_set_find(&set, SW_STR("label"));
    assert_int_equal(l->rank, 0);
    assert_true(sw_str_is(*(struct sw_str *)l->data, "vier"));
    step->ops->destroy(step);
    sw_specs_deinit(&specs);
    folder_write(dir, "l.txt", "a\xff\n", 3);
    specs = one_spec("p", SW_DTYPE_FP32, 1, (int64_t[]){4});
    assert_int_equal(make("labels", "{file: l.txt}", dir, &specs, &step, &err), SW_E_MODEL_INVALID);
    assert_non_null(strstr(err.message, "UTF-8"));
    assert_int_equal(make("labels", "{file: ../l.txt}", dir, &specs, &step, &err), SW_E_MODEL_INVALID);
    assert_int_equal(make("labels", "{file: none.txt}", dir, &specs, &step, &err), SW_E_MODEL_INVALID);
    sw_specs_deinit(&specs);
    folder_remove(dir);
}

static void threshold_values(void **state) {
    struct sw_tensor_specs specs = one_spec("p", SW_DTYPE_FP32, 2, (int64_t[]){-1, 1});
    struct sw_step *step = must_make("threshold", "0.7", &specs);
    const struct sw_tensor_spec *spec = sw_specs_find(&specs, SW_STR("positive"));
    assert_true(spec && spec->dtype == SW_DTYPE_BOOL && spec->rank == 1);
    const float p[] = {0.7f, 0.69999f, 1, NAN}; /* 0.7f is below 0.7, and must count */
    struct sw_tensor_set set = set_of("p", SW_DTYPE_FP32, (int64_t[]){4, 1}, 2, p);
    assert_int_equal(step->ops->run(step, &set, &arena, NULL), SW_OK);
    assert_memory_equal(sw_tensor_set_find(&set, SW_STR("positive"))->data, "\1\0\1\0", 4);
    step->ops->destroy(step);
    sw_specs_deinit(&specs);

    specs = one_spec("p", SW_DTYPE_FP64, 2, (int64_t[]){-1, 2});
    step = must_make("threshold", "{value: 0.5, class: 1, name: alarm}", &specs);
    const double q[] = {0.9, 0.1, 0.4, 0.6};
    set = set_of("p", SW_DTYPE_FP64, (int64_t[]){2, 2}, 2, q);
    assert_int_equal(step->ops->run(step, &set, &arena, NULL), SW_OK);
    assert_memory_equal(sw_tensor_set_find(&set, SW_STR("alarm"))->data, "\0\1", 2);
    step->ops->destroy(step);
    sw_specs_deinit(&specs);
}

static void refused_parameters(void **state) {
    static const struct {
        const char *step, *yaml, *says;
    } rows[] = {
        {"softmax", "5", "output.softmax: must be true, false or a mapping"},
        {"softmax", "{axis: 2}", "output.softmax.axis: 2 is outside"},
        {"softmax", "{axis: -3}", "output.softmax.axis"},
        {"softmax", "{axes: 1}", "output.softmax.axes: no such key"},
        {"softmax", "{tensor: q}", "output.softmax.tensor: no tensor 'q'"},
        {"labels", "x", "output.labels: must be a list of labels or a mapping"},
        {"labels", "[]", "output.labels: must hold 1 to"},
        {"labels", "[a, b]",
         "output.labels: no tensor fits; wanted: FP32 or FP64 whose last dimension is 2, the number of "
         "labels; there is: p FP32 [-1,3]"},
        {"labels", "[a, b, true]", "label 3 must be a string"},
        {"labels", "{values: [a, b, c], top: 4}", "output.labels.top: must lie between 1 and 3"},
        {"labels", "{values: [a, b, c], file: x}", "either values or file"},
        {"labels", "{top: 1}", "either values or file"},
        {"labels", "{values: [a, b, c], label_name: p}", "already a tensor 'p'"},
        {"labels", "{values: [a, b], tensor: p}", "output.labels.tensor: 'p' is FP32 [-1,3]"},
        {"threshold", "0.5", "output.threshold: no tensor fits"},
        {"threshold", "high", "output.threshold: must be a number"},
        {"threshold", "{class: 1}", "output.threshold.value: is missing"},
        {"threshold", "{value: 1, class: 3}", "output.threshold: no tensor fits"},
        {"threshold", "{value: 1, class: 0, name: p}", "already a tensor 'p'"},
    };
    for (size_t i = 0; i < SW_COUNTOF(rows); i++) {
        struct sw_tensor_specs specs = one_spec("p", SW_DTYPE_FP32, 2, (int64_t[]){-1, 3});
        struct sw_step *step = NULL;
        struct sw_error err = {0};
        assert_int_equal(make(rows[i].step, rows[i].yaml, "/", &specs, &step, &err), SW_E_MODEL_INVALID);
        assert_null(step);
        if (!strstr(err.message, rows[i].says)) {
            fail_msg("%s %s: \"%s\" lacks \"%s\"", rows[i].step, rows[i].yaml, err.message, rows[i].says);
        }
        sw_specs_deinit(&specs);
    }
}

static void steps_without_work(void **state) {
    struct sw_tensor_specs specs = one_spec("p", SW_DTYPE_FP32, 2, (int64_t[]){-1, 3});
    assert_null(must_make("softmax", "false", &specs));
    sw_specs_deinit(&specs);
    assert_null(sw_step_find(SW_STEP_INPUT, SW_STR("softmax")));
    assert_null(sw_step_find(SW_STEP_OUTPUT, SW_STR("tensor")));
    size_t n = 0;
    for (const struct sw_step_ops *ops; (ops = sw_step_at(n)); n++) {
        assert_ptr_equal(sw_step_find(ops->side, sw_str_of(ops->name)), ops);
        assert_non_null(ops->summary);
    }
    assert_int_equal(n, 6);
}

static void leaving_out_the_tensor(void **state) {
    struct sw_tensor_specs specs = one_spec("p", SW_DTYPE_FP32, 2, (int64_t[]){-1, 3});
    struct sw_step *step = must_make("softmax", "true", &specs);
    const float p[] = {0, 0, 0};
    struct sw_error err = {0};
    struct sw_tensor_set set = set_of("other", SW_DTYPE_FP32, (int64_t[]){1, 3}, 2, p);
    assert_int_equal(step->ops->run(step, &set, &arena, &err), SW_E_INFERENCE_FAILED);
    assert_non_null(strstr(err.message, "left out 'p'"));
    set = set_of("p", SW_DTYPE_FP32, (int64_t[]){0, 3}, 2, p); /* no rows: nothing to do, no fault */
    assert_int_equal(step->ops->run(step, &set, &arena, &err), SW_OK);
    step->ops->destroy(step);
    sw_specs_deinit(&specs);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(softmax_values),
        cmocka_unit_test(softmax_axis),
        cmocka_unit_test(labels_best),
        cmocka_unit_test(labels_top),
        cmocka_unit_test(labels_from_a_file),
        cmocka_unit_test(threshold_values),
        cmocka_unit_test(refused_parameters),
        cmocka_unit_test(steps_without_work),
        cmocka_unit_test(leaving_out_the_tensor),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
