/* The output step calibrate: signatures, values, and what is refused by file and key. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/yaml.h"
#include "folder.h"
#include "pipeline/calibration_file.h"
#include "pipeline/model.h"
#include "pipeline/step.h"

static struct sw_arena arena;
static char *dir;

static int setup(void **state) {
    sw_arena_init(&arena, 0, 0);
    dir = folder_make();
    return 0;
}

static int teardown(void **state) {
    sw_arena_deinit(&arena);
    folder_remove(dir);
    return 0;
}

static struct sw_tensor_specs score_specs(enum sw_dtype dtype, uint32_t rank) {
    struct sw_tensor_specs specs = {.items = sw_xcalloc(1, sizeof *specs.items), .count = 1};
    specs.items[0] = (struct sw_tensor_spec){.name = sw_xstrdup("s"), .dtype = dtype, .rank = rank, .shape = {-1, 1}};
    return specs;
}

static sw_status make(const char *yaml, struct sw_tensor_specs *specs, struct sw_step **ret, struct sw_error *err) {
    json_t *params = NULL;
    char text[256];
    snprintf(text, sizeof text, "x: %s", yaml);
    assert_int_equal(sw_yaml_parse(sw_str_of(text), &params, err), SW_OK);
    const struct sw_step_ops *ops = sw_step_find(SW_STEP_OUTPUT, SW_STR("calibrate"));
    sw_status status = ops->create(json_object_get(params, "x"), dir, specs, ret, err);
    json_decref(params);
    return status;
}

static struct sw_step *must_make(const char *yaml, struct sw_tensor_specs *specs) {
    struct sw_step *step = NULL;
    struct sw_error err = {0};
    if (make(yaml, specs, &step, &err)) {
        fail_msg("%s: %s", yaml, err.message);
    }
    return step;
}

static struct sw_tensor_set set_of(enum sw_dtype dtype, uint32_t rank, int64_t rows, const void *data) {
    struct sw_tensor_set set = {0};
    struct sw_tensor *t = sw_tensor_set_add(&set, &arena);
    int64_t shape[2] = {rows, 1};
    assert_int_equal(sw_tensor_alloc(t, &arena, SW_STR("s"), dtype, shape, rank, NULL), SW_OK);
    if (rows) {
        memcpy(t->data, data, (size_t)rows * sw_dtype_size(dtype));
    }
    return set;
}

static void replaces_the_score(void **state) {
    folder_write_text(dir, "c.json",
                      "{\"method\": \"platt\", \"a\": -1, \"b\": 0, \"fitted_on\": 100, "
                      "\"metadata\": {\"by\": [1]}}");
    struct sw_tensor_specs specs = score_specs(SW_DTYPE_FP32, 2);
    struct sw_step *step = must_make("c.json", &specs);
    assert_int_equal(specs.count, 1);
    const float s[] = {0, 1, -1, NAN, INFINITY, -INFINITY};
    struct sw_tensor_set set = set_of(SW_DTYPE_FP32, 2, 6, s);
    const float *before = set.items[0].data;
    assert_int_equal(step->ops->run(step, &set, &arena, NULL), SW_OK);
    assert_int_equal(set.count, 1);
    const float *p = set.items[0].data;
    assert_int_equal(set.items[0].rank, 2);
    assert_memory_equal(before, s, sizeof s); /* the engine's memory is as it was */
    assert_true(p[0] == 0.5f && p[4] == 1 && p[5] == 0 && isnan(p[3]));
    assert_true(fabsf(p[1] - 0.7310586f) < 1e-6f && fabsf(p[2] - 0.2689414f) < 1e-6f);
    set = set_of(SW_DTYPE_FP32, 2, 0, NULL);
    assert_int_equal(step->ops->run(step, &set, &arena, NULL), SW_OK);
    step->ops->destroy(step);
    sw_specs_deinit(&specs);
}

static void adds_a_probability(void **state) {
    folder_write_text(dir, "c.json", "{\"method\": \"isotonic\", \"x\": [0, 1, 3], \"y\": [0.25, 0.5, 1]}");
    struct sw_tensor_specs specs = score_specs(SW_DTYPE_FP64, 2);
    struct sw_step *step = must_make("{file: c.json, tensor: s, name: p}", &specs);
    assert_int_equal(specs.count, 2);
    const struct sw_tensor_spec *spec = sw_specs_find(&specs, SW_STR("p"));
    assert_true(spec && spec->dtype == SW_DTYPE_FP64 && spec->rank == 1 && spec->shape[0] == -1);
    const double s[] = {-5, 0.5, 1, 2, 9};
    struct sw_tensor_set set = set_of(SW_DTYPE_FP64, 2, 5, s);
    set.capacity = 1; /* adding moves the set */
    assert_int_equal(step->ops->run(step, &set, &arena, NULL), SW_OK);
    assert_int_equal(set.count, 2);
    const struct sw_tensor *p = sw_tensor_set_find(&set, SW_STR("p"));
    assert_true(p && p->rank == 1 && p->shape[0] == 5);
    const double want[] = {0.25, 0.375, 0.5, 0.75, 1};
    assert_memory_equal(p->data, want, sizeof want);
    assert_memory_equal(sw_tensor_set_find(&set, SW_STR("s"))->data, s, sizeof s);
    step->ops->destroy(step);
    sw_specs_deinit(&specs);
}

static void every_method(void **state) {
    static const struct {
        const char *json;
        double score, want;
    } rows[] = {
        {"{\"method\": \"temperature\", \"input\": \"logit\", \"temperature\": 2}", 2, 0.7310585786300049},
        {"{\"method\": \"temperature\", \"input\": \"probability\", \"temperature\": 0.5}", 0.75, 0.9},
        {"{\"method\": \"beta\", \"input\": \"probability\", \"a\": 1, \"b\": 1, \"c\": 0}", 0.3, 0.3},
        {"{\"method\": \"beta\", \"input\": \"probability\", \"a\": 2, \"b\": 0, \"c\": 0}", 0.5, 0.2},
        {"{\"method\": \"beta\", \"input\": \"logit\", \"a\": 1, \"b\": 1, \"c\": 1}", 0, 0.7310585786300049},
        {"{\"method\": \"platt\", \"input\": \"probability\", \"a\": -4, \"b\": 2}", 0.75, 0.7310585786300049},
    };
    for (size_t i = 0; i < SW_COUNTOF(rows); i++) {
        struct sw_calibration k;
        struct sw_error err;
        if (sw_calibration_parse(sw_str_of(rows[i].json), &k, &err)) {
            fail_msg("%s: %s", rows[i].json, err.message);
        }
        double got = sw_calibration_apply(&k, rows[i].score);
        if (fabs(got - rows[i].want) > 1e-12) {
            fail_msg("%s: %.17g", rows[i].json, got);
        }
        sw_calibration_deinit(&k);
    }
}

static void refused_files(void **state) {
    static const struct {
        const char *json, *says;
    } rows[] = {
        {"", "c.json: line"},
        {"[1]", "c.json: must be a JSON object"},
        {"{\"method\": \"platt\", \"method\": \"beta\"}", "duplicate"},
        {"{}", "c.json: method: is missing"},
        {"{\"method\": \"magic\"}", "method: must be one of platt, temperature, beta, isotonic, is magic"},
        {"{\"method\": \"platt\", \"a\": -1}", "b: is missing"},
        {"{\"method\": \"platt\", \"a\": 1, \"b\": 0}", "a: must lie between"},
        {"{\"method\": \"platt\", \"a\": 0, \"b\": 0}", "a: must lie between"},
        {"{\"method\": \"platt\", \"a\": \"x\", \"b\": 0}", "a: must be a number, is a string"},
        {"{\"method\": \"platt\", \"a\": -1, \"b\": 0, \"c\": 0}", "c: no such key"},
        {"{\"method\": \"platt\", \"a\": -1, \"b\": 0, \"fitted_on\": -1}", "fitted_on: must lie between"},
        {"{\"method\": \"platt\", \"a\": -1, \"b\": 0, \"input\": \"odds\"}", "input: must be one of logit, prob"},
        {"{\"method\": \"platt\", \"a\": -1e999, \"b\": 0}", "c.json: line 1: real number overflow"},
        {"{\"method\": \"temperature\", \"temperature\": 1}", "input: is missing"},
        {"{\"method\": \"temperature\", \"input\": \"logit\", \"temperature\": 0}", "temperature: must lie between"},
        {"{\"method\": \"beta\", \"input\": \"logit\", \"a\": 0, \"b\": 0, \"c\": 0}", "a: must not be 0 when b is"},
        {"{\"method\": \"beta\", \"input\": \"logit\", \"a\": -1, \"b\": 2, \"c\": 0}", "a: must lie between 0"},
        {"{\"method\": \"isotonic\", \"x\": [1], \"y\": 1}", "y: must be a list, is an integer"},
        {"{\"method\": \"isotonic\", \"x\": [], \"y\": []}", "x: must hold 1 to"},
        {"{\"method\": \"isotonic\", \"x\": [1, 2], \"y\": [0]}", "y: must hold as many numbers as x, 2, holds 1"},
        {"{\"method\": \"isotonic\", \"x\": [1, 1], \"y\": [0, 1]}", "x[1]: must be greater than the one before"},
        {"{\"method\": \"isotonic\", \"x\": [1, 2], \"y\": [0.5, 0.4]}", "y[1]: must not be less than the one before"},
        {"{\"method\": \"isotonic\", \"x\": [1, 2], \"y\": [0.5, 1.1]}", "y[1]: must lie between 0 and 1, is 1.1"},
        {"{\"method\": \"isotonic\", \"x\": [1, null], \"y\": [0.5, 1]}", "x[1]: must be a number, is empty"},
    };
    for (size_t i = 0; i < SW_COUNTOF(rows); i++) {
        struct sw_tensor_specs specs = score_specs(SW_DTYPE_FP32, 1);
        struct sw_step *step = NULL;
        struct sw_error err = {0};
        folder_write_text(dir, "c.json", rows[i].json);
        assert_int_equal(make("c.json", &specs, &step, &err), SW_E_MODEL_INVALID);
        assert_int_equal(err.code, SW_E_MODEL_INVALID);
        assert_null(step);
        if (!strstr(err.message, rows[i].says) || !strstr(err.message, "output.calibrate.file: ")) {
            fail_msg("%s: \"%s\" lacks \"%s\"", rows[i].json, err.message, rows[i].says);
        }
        sw_specs_deinit(&specs);
    }
}

static void refused_parameters(void **state) {
    static const struct {
        const char *yaml, *says;
    } rows[] = {
        {"5", "output.calibrate: must be the name of a file or a mapping, is an integer"},
        {"{tensor: s}", "output.calibrate.file: is missing"},
        {"{file: c.json, value: 1}", "output.calibrate.value: no such key"},
        {"{file: ../c.json}", "output.calibrate.file: \"../c.json\" must be a path inside"},
        {"{file: none.json}", "output.calibrate.file: \"none.json\""},
        {"{file: c.json, tensor: q}", "output.calibrate.tensor: no tensor 'q'"},
        {"{file: c.json, name: s}", "output.calibrate.name: there is already a tensor 's'"},
    };
    folder_write_text(dir, "c.json", "{\"method\": \"platt\", \"a\": -1, \"b\": 0}");
    struct sw_error err = {0};
    struct sw_step *step = NULL;
    for (size_t i = 0; i < SW_COUNTOF(rows); i++) {
        struct sw_tensor_specs specs = score_specs(SW_DTYPE_FP32, 1);
        assert_int_equal(make(rows[i].yaml, &specs, &step, &err), SW_E_MODEL_INVALID);
        if (!strstr(err.message, rows[i].says)) {
            fail_msg("%s: \"%s\" lacks \"%s\"", rows[i].yaml, err.message, rows[i].says);
        }
        sw_specs_deinit(&specs);
    }
    struct sw_tensor_specs whole = score_specs(SW_DTYPE_INT64, 1);
    assert_int_equal(make("c.json", &whole, &step, &err), SW_E_MODEL_INVALID);
    assert_non_null(strstr(err.message, "no tensor fits"));
    sw_specs_deinit(&whole);
}

static void a_shape_that_turns_out_wrong(void **state) {
    folder_write_text(dir, "c.json", "{\"method\": \"platt\", \"a\": -1, \"b\": 0}");
    struct sw_tensor_specs specs = score_specs(SW_DTYPE_FP32, 2);
    struct sw_step *step = must_make("c.json", &specs);
    struct sw_error err = {0};
    struct sw_tensor_set set = {0};
    struct sw_tensor *t = sw_tensor_set_add(&set, &arena);
    assert_int_equal(sw_tensor_alloc(t, &arena, SW_STR("s"), SW_DTYPE_FP32, (int64_t[]){2, 2}, 2, NULL), SW_OK);
    assert_int_equal(step->ops->run(step, &set, &arena, &err), SW_E_INFERENCE_FAILED);
    assert_non_null(strstr(err.message, "'s' came as [2,2]"));
    step->ops->destroy(step);
    sw_specs_deinit(&specs);
}

static void what_is_written_reads_back(void **state) {
    double x[] = {-0.1, 1.0 / 3, 2e-17}, y[] = {0, 1e-9, 1};
    struct sw_calibration again;
    for (int method = 0; method < SW_CALIBRATION_METHODS; method++) {
        struct sw_calibration k = {
            (enum sw_calibration_method)method, SW_CALIBRATION_PROBABILITY, 1.0 / 3, 0.1, -7e-9, NULL, NULL, 0};
        k.a = method == SW_CALIBRATION_PLATT ? -k.a : k.a;
        if (method == SW_CALIBRATION_ISOTONIC) {
            k.x = x;
            k.y = y;
            k.count = 2;
        }
        json_t *json = sw_calibration_json(&k, 5);
        assert_int_equal(json_integer_value(json_object_get(json, "fitted_on")), 5);
        char *text = json_dumps(json, JSON_REAL_PRECISION(17));
        struct sw_error err;
        if (sw_calibration_parse(sw_str_of(text), &again, &err)) {
            fail_msg("%s: %s", text, err.message);
        }
        for (double s = 0; s <= 1; s += 0.1) {
            assert_true(sw_calibration_apply(&again, s) == sw_calibration_apply(&k, s));
        }
        sw_calibration_deinit(&again);
        sw_free(text);
        json_decref(json);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replaces_the_score),
        cmocka_unit_test(adds_a_probability),
        cmocka_unit_test(every_method),
        cmocka_unit_test(refused_files),
        cmocka_unit_test(refused_parameters),
        cmocka_unit_test(a_shape_that_turns_out_wrong),
        cmocka_unit_test(what_is_written_reads_back),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
