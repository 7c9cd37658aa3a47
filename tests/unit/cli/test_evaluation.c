/* How answers are judged and counted: which outputs are chosen, what is refused, and that the order does not matter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>

#include "base/memory.h"
#include "cli/evaluation.h"

enum { OUTPUTS_MAX = 6 };

static struct sw_arena arena;

static int set_up(void **state) {
    sw_arena_init(&arena, 0, 0);
    return 0;
}

static int tear_down(void **state) {
    sw_arena_deinit(&arena);
    return 0;
}

/* --- models that are nothing but a signature --------------------------------------------------------------------- */

static struct sw_tensor_spec specs[OUTPUTS_MAX];
static struct sw_bundle bundle;
static struct sw_model model;

struct output {
    const char *name;
    enum sw_dtype dtype;
    uint32_t rank;
    int64_t columns; /* of rank 2 */
};

/* `output`: the bundle's, in JSON. */
static const struct sw_model *model_of(const struct output *outputs, size_t count, const char *output) {
    static char names[OUTPUTS_MAX][32];
    json_decref(bundle.output);
    bundle = (struct sw_bundle){.output = output ? json_loads(output, 0, NULL) : NULL};
    for (size_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "%s", outputs[i].name);
        specs[i] = (struct sw_tensor_spec){
            .name = names[i], .dtype = outputs[i].dtype, .rank = outputs[i].rank, .shape = {-1, outputs[i].columns}};
    }
    model = (struct sw_model){.name = (char *)"m", .bundle = &bundle, .outputs = {specs, count}};
    return &model;
}

#define MODEL(steps, ...)                          \
    model_of((const struct output[]){__VA_ARGS__}, \
             sizeof((const struct output[]){__VA_ARGS__}) / sizeof(struct output), steps)

static const struct sw_label yes = {SW_LABEL_BOOL, true, {"true", 4}}, one = {SW_LABEL_INTEGER, false, {"1", 1}},
                             seven = {SW_LABEL_INTEGER, false, {"7", 1}}, cat = {SW_LABEL_TEXT, false, {"cat", 3}};

static struct sw_judge judge_of(const struct sw_model *m, struct sw_judge_options options, struct sw_label label) {
    struct sw_judge judge;
    struct sw_error err;
    if (sw_judge_make(m, &options, &label, &judge, &err)) {
        fail_msg("%s", err.message);
    }
    return judge;
}

static void assert_refused(const struct sw_model *m, struct sw_judge_options options, struct sw_label label,
                           const char *part) {
    struct sw_judge judge;
    struct sw_error err;
    assert_int_equal(sw_judge_make(m, &options, &label, &judge, &err), SW_E_USAGE);
    if (!strstr(err.message, part)) {
        fail_msg("'%s' lacks '%s'", err.message, part);
    }
}

static const struct sw_judge_options nothing;

/* --- choosing ---------------------------------------------------------------------------------------------------- */

static void a_detector(void **state) {
    struct sw_judge j = judge_of(MODEL("{\"calibrate\": {\"file\": \"c\", \"tensor\": \"raw\", \"name\": \"p\"}}",
                                       {"raw", SW_DTYPE_FP32, 1, 0}, {"method", SW_DTYPE_BYTES, 1, 0},
                                       {"message", SW_DTYPE_BYTES, 2, 1}, {"p", SW_DTYPE_FP32, 1, 0},
                                       {"found", SW_DTYPE_BOOL, 1, 0}),
                                 nothing, yes);
    assert_int_equal(j.task, SW_TASK_BINARY);
    assert_int_equal(j.positive, 4);
    assert_int_equal(j.score, 3);
    assert_int_equal(j.method, 1);
    assert_int_equal(j.message, 2);
}

static void the_threshold_tells_the_score(void **state) {
    struct sw_judge j = judge_of(
        MODEL("[{\"softmax\": true}, {\"threshold\": {\"value\": 0.5, \"tensor\": \"s\", \"class\": 1}}]",
              {"other", SW_DTYPE_FP32, 1, 0}, {"s", SW_DTYPE_FP32, 2, 2}, {"positive", SW_DTYPE_BOOL, 1, 0}),
        nothing, one);
    assert_int_equal(j.task, SW_TASK_BINARY); /* 0 and 1 are truths where there is a BOOL output */
    assert_int_equal(j.score, 1);
    assert_int_equal(j.column, 1);
    j = judge_of(MODEL(NULL, {"p", SW_DTYPE_FP64, 2, 1}), nothing, yes);
    assert_int_equal(j.positive, SW_JUDGE_NONE);
    assert_int_equal(j.score, 0);
    assert_true(j.threshold == 0.5);
}

static void classifiers(void **state) {
    struct sw_judge j = judge_of(
        MODEL(NULL, {"scores", SW_DTYPE_FP32, 2, 3}, {"label", SW_DTYPE_BYTES, 1, 0}, {"score", SW_DTYPE_FP32, 1, 0}),
        nothing, cat);
    assert_int_equal(j.task, SW_TASK_CLASSES);
    assert_int_equal(j.label, 1);
    assert_int_equal(j.score, 2);
    j = judge_of(MODEL(NULL, {"output_label", SW_DTYPE_INT64, 1, 0}, {"p", SW_DTYPE_FP32, 2, 2}), nothing, one);
    assert_int_equal(j.task, SW_TASK_CLASSES); /* no BOOL output: 0 and 1 are classes */
    assert_int_equal(j.label, 0);
    j = judge_of(MODEL(NULL, {"p", SW_DTYPE_FP32, 2, 10}), nothing, seven);
    assert_int_equal(j.label, SW_JUDGE_NONE);
    assert_int_equal(j.scores, 0);
    j = judge_of(MODEL(NULL, {"kind", SW_DTYPE_BYTES, 1, 0}), nothing, yes); /* classes called "true" and "false" */
    assert_int_equal(j.task, SW_TASK_CLASSES);
}

static void options_choose(void **state) {
    const struct sw_model *m = MODEL(NULL, {"a", SW_DTYPE_BOOL, 1, 0}, {"b", SW_DTYPE_BOOL, 1, 0},
                                     {"s:t", SW_DTYPE_FP32, 1, 0}, {"p", SW_DTYPE_FP32, 2, 2},
                                     {"kind", SW_DTYPE_INT32, 1, 0});
    assert_refused(m, nothing, yes, "2 BOOL outputs; name the one that counts with --positive");
    struct sw_judge j = judge_of(m, (struct sw_judge_options){.positive = "b", .score = "p:1"}, yes);
    assert_int_equal(j.positive, 1);
    assert_int_equal(j.score, 3);
    assert_int_equal(j.column, 1);
    j = judge_of(m, (struct sw_judge_options){.score = "s:t", .threshold = "-2.5e1"}, yes);
    assert_int_equal(j.positive, SW_JUDGE_NONE);
    assert_int_equal(j.score, 2);
    assert_true(j.threshold == -25);
    j = judge_of(m, (struct sw_judge_options){.label = "kind"}, one);
    assert_int_equal(j.task, SW_TASK_CLASSES);
    assert_refused(m, (struct sw_judge_options){.positive = "a", .score = "p"}, yes, "'p' is FP32 [-1,2]");
    assert_refused(m, (struct sw_judge_options){.positive = "a", .score = "p:2"}, yes, "has no column 2");
    assert_refused(m, (struct sw_judge_options){.positive = "a", .score = "s:x"}, yes, "no output 's:x'");
    assert_refused(m, (struct sw_judge_options){.positive = "p"}, yes, "'p' is FP32");
    assert_refused(m, (struct sw_judge_options){.label = "p"}, cat, "wanted: BYTES or integers");
    assert_refused(m, (struct sw_judge_options){.threshold = "1"}, cat, "labels are classes");
    assert_refused(MODEL(NULL, {"x", SW_DTYPE_FP32, 3, 2}), nothing, yes, "neither a BOOL output nor one score");
    assert_refused(MODEL(NULL, {"x", SW_DTYPE_FP32, 3, 2}), nothing, cat, "has no output that names the class");
    assert_refused(MODEL(NULL, {"p", SW_DTYPE_BOOL, 1, 0}), (struct sw_judge_options){.threshold = "1"}, yes,
                   "the model has no score");
}

/* --- answers ----------------------------------------------------------------------------------------------------- */

static struct sw_tensor tensor(const char *name, enum sw_dtype dtype, uint32_t rank, int64_t rows, int64_t columns,
                               const void *data) {
    struct sw_tensor t = {.name = sw_str_of(name), .dtype = dtype, .rank = rank, .shape = {rows, columns}};
    t.count = (size_t)(rank == 2 ? rows * columns : rows);
    t.data = (void *)data;
    return t;
}

static void answers_are_read(void **state) {
    struct sw_verdict v;
    struct sw_error err;
    const float p[] = {0.25f, 0.75f};
    const uint8_t found = 1;
    const struct sw_str text = SW_STR("hello"), none = {NULL, 0};
    const struct sw_model *m = MODEL(NULL, {"p", SW_DTYPE_FP32, 2, 2}, {"found", SW_DTYPE_BOOL, 1, 0},
                                     {"message", SW_DTYPE_BYTES, 1, 0}, {"method", SW_DTYPE_BYTES, 1, 0});
    struct sw_judge j = judge_of(m, (struct sw_judge_options){.score = "p:1"}, yes);
    struct sw_tensor out[] = {tensor("p", SW_DTYPE_FP32, 2, 1, 2, p), tensor("found", SW_DTYPE_BOOL, 1, 1, 0, &found),
                              tensor("message", SW_DTYPE_BYTES, 1, 1, 0, &text),
                              tensor("method", SW_DTYPE_BYTES, 1, 1, 0, &none)};
    assert_int_equal(sw_judge_answer(&j, out, &arena, &v, &err), SW_OK);
    assert_true(v.positive && v.score == 0.75);
    assert_true(sw_str_is(v.message, "hello") && v.method.data && v.method.len == 0);

    out[0] = tensor("p", SW_DTYPE_FP32, 2, 2, 1, p); /* two rows */
    assert_int_equal(sw_judge_answer(&j, out, &arena, &v, &err), SW_E_INFERENCE_FAILED);
    assert_non_null(strstr(err.message, "'p' came as [2,1]; a sample is one row"));
    out[0] = tensor("p", SW_DTYPE_FP32, 2, 1, 1, p); /* too few columns */
    assert_int_equal(sw_judge_answer(&j, out, &arena, &v, &err), SW_E_INFERENCE_FAILED);
    out[0] = (struct sw_tensor){.name = SW_STR("p")};
    assert_int_equal(sw_judge_answer(&j, out, &arena, &v, &err), SW_E_INFERENCE_FAILED);
    assert_non_null(strstr(err.message, "left out 'p'"));
}

static void a_threshold_is_reached_by_the_float_next_to_it(void **state) {
    struct sw_verdict v;
    const float at = 0.7f, below = nextafterf(0.7f, 0);
    struct sw_judge j = judge_of(MODEL(NULL, {"p", SW_DTYPE_FP32, 1, 0}), (struct sw_judge_options){.threshold = "0.7"},
                                 yes);
    struct sw_tensor out = tensor("p", SW_DTYPE_FP32, 1, 1, 0, &at);
    assert_int_equal(sw_judge_answer(&j, &out, &arena, &v, NULL), SW_OK);
    assert_true(v.positive);
    out.data = (void *)&below;
    assert_int_equal(sw_judge_answer(&j, &out, &arena, &v, NULL), SW_OK);
    assert_false(v.positive);
}

static void classes_are_texts(void **state) {
    struct sw_verdict v;
    const float p[] = {NAN, 0.5f, 0.5f, 0.25f};
    struct sw_judge j = judge_of(MODEL(NULL, {"p", SW_DTYPE_FP32, 2, 4}), nothing, seven);
    struct sw_tensor out = tensor("p", SW_DTYPE_FP32, 2, 1, 4, p);
    assert_int_equal(sw_judge_answer(&j, &out, &arena, &v, NULL), SW_OK);
    assert_true(sw_str_is(v.label, "1") && v.score == 0.5);
    const int64_t number = -3;
    const uint8_t small = 200;
    j = judge_of(MODEL(NULL, {"l", SW_DTYPE_INT64, 1, 0}), nothing, seven);
    out = tensor("l", SW_DTYPE_INT64, 1, 1, 0, &number);
    assert_int_equal(sw_judge_answer(&j, &out, &arena, &v, NULL), SW_OK);
    assert_true(sw_str_is(v.label, "-3") && isnan(v.score));
    j = judge_of(MODEL(NULL, {"l", SW_DTYPE_UINT8, 2, 1}), nothing, seven);
    out = tensor("l", SW_DTYPE_UINT8, 2, 1, 1, &small);
    assert_int_equal(sw_judge_answer(&j, &out, &arena, &v, NULL), SW_OK);
    assert_true(sw_str_is(v.label, "200"));
}

static void truths(void **state) {
    bool truth = false;
    struct sw_error err;
    const struct sw_label zero = {SW_LABEL_INTEGER, false, {"0", 1}}, none = {0};
    assert_true(sw_judge_truth(&yes, &truth, &err) == SW_OK && truth);
    assert_true(sw_judge_truth(&zero, &truth, &err) == SW_OK && !truth);
    assert_true(sw_judge_truth(&one, &truth, &err) == SW_OK && truth);
    assert_int_equal(sw_judge_truth(&seven, &truth, &err), SW_E_INVALID_ARGUMENT);
    assert_int_equal(sw_judge_truth(&none, &truth, &err), SW_E_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "label is missing"));
}

/* --- counting ---------------------------------------------------------------------------------------------------- */

static const struct sw_judge binary = {
    .task = SW_TASK_BINARY, .score = 0, .method = 1, .message = 2, .label = SW_JUDGE_NONE};

/* Sample i of a small world: every third is positive; the score is i / 100. */
static void add_sample(struct sw_evaluation *e, uint64_t i, bool called) {
    char *text = sw_arena_printf(&arena, "file-%llu", (unsigned long long)i);
    struct sw_sample_group groups[] = {{SW_STR("method"), i % 2 ? SW_STR("odd") : SW_STR("even")},
                                       {SW_STR("format"), SW_STR("png")}};
    struct sw_sample s = {.index = i, .file = sw_str_of(text), .groups = groups, .group_count = 2};
    s.label = (struct sw_label){SW_LABEL_BOOL, i % 3 == 0, SW_STR("x")};
    s.method = groups[0].value;
    s.payload = SW_STR("secret");
    struct sw_verdict v = {.positive = called, .score = (double)i / 100};
    v.method = i % 4 ? s.method : SW_STR("odd");
    v.message = i % 5 ? s.payload : SW_STR("secre");
    struct sw_error err;
    if (sw_evaluation_add(e, &s, text, &v, 1000 * i, &err)) {
        fail_msg("%s", err.message);
    }
}

static void fill(struct sw_evaluation *e, bool backwards) {
    enum { N = 60 };
    struct sw_error err;
    sw_evaluation_init(e, &binary, 3);
    assert_int_equal(sw_evaluation_by(e, "method", &err), SW_OK);
    assert_int_equal(sw_evaluation_by(e, "method, format", &err), SW_OK);
    assert_int_equal(sw_evaluation_by(e, "method", &err), SW_OK); /* there already */
    for (uint64_t i = 0; i < N; i++) {
        uint64_t k = backwards ? N - 1 - i : i;
        add_sample(e, k, k >= 30);
    }
}

static void assert_rate(struct sw_rate rate, uint64_t count, uint64_t of) {
    assert_int_equal(rate.count, count);
    assert_int_equal(rate.of, of);
}

static void counts(void **state) {
    struct sw_evaluation e;
    fill(&e, false);
    assert_int_equal(e.by_count, 2);
    assert_int_equal(sw_evaluation_total(&e), 60);
    assert_rate(e.all.false_positives, 20, 40);
    assert_rate(e.all.detection, 10, 20);
    assert_rate(e.all.extraction, 8, 10); /* of 30, 33, ... 57 those but 30 and 45 */
    const struct sw_tally *even = sw_map_get(&e.by[1].groups, SW_STR("even, png"));
    assert_rate(even->detection, 5, 10); /* of 0, 6, ... 54: 30, 36, 42, 48, 54 */
    assert_rate(even->extraction, 4, 5);
    assert_rate(e.matrix.right, 8, 10); /* 36 and 48 are called odd */
    assert_int_equal(sw_matrix_cell(&e.matrix, "even", "odd"), 2);
    assert_int_equal(sw_matrix_cell(&e.matrix, "odd", "odd"), 5);
    assert_int_equal(sw_matrix_cell(&e.matrix, "odd", "even"), 0);
    assert_int_equal(e.outcomes[SW_OUTCOME_FALSE_NEGATIVE], 10);
    assert_int_equal(e.false_positives.count, 3); /* the highest scores */
    assert_string_equal(e.false_positives.items[0].where, "file-59");
    assert_string_equal(e.false_positives.items[2].where, "file-56");
    assert_string_equal(e.misses.items[0].where, "file-0"); /* the lowest */
    assert_string_equal(e.misses.items[0].detail, "png, even");
    assert_int_equal(e.wrong_texts.count, 2);
    assert_string_equal(e.wrong_texts.items[0].where, "file-30");
    sw_evaluation_deinit(&e);
}

static void the_order_does_not_matter(void **state) {
    struct sw_evaluation a, b;
    struct sw_scored *x, *y;
    size_t n, m;
    fill(&a, false);
    fill(&b, true);
    assert_memory_equal(&a.all, &b.all, sizeof a.all);
    assert_memory_equal(a.records, b.records, 60 * sizeof *a.records);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(a.false_positives.items[i].where, b.false_positives.items[i].where);
        assert_string_equal(a.misses.items[i].where, b.misses.items[i].where);
    }
    assert_int_equal(sw_evaluation_scored(&a, &x, &n, NULL), SW_OK);
    assert_int_equal(sw_evaluation_scored(&b, &y, &m, NULL), SW_OK);
    assert_true(n == 60 && m == 60 && x[7].score == y[7].score && x[6].positive && !x[7].positive);
    sw_free(x);
    sw_free(y);
    sw_evaluation_deinit(&a);
    sw_evaluation_deinit(&b);
}

static void what_has_no_answer_is_counted_apart(void **state) {
    struct sw_evaluation e;
    struct sw_error err;
    uint64_t *times;
    size_t count;
    sw_evaluation_init(&e, &binary, 0); /* none of the worst are kept, but failures are */
    add_sample(&e, 5000, true);
    struct sw_sample s = {.index = 2};
    assert_int_equal(sw_evaluation_add_outcome(&e, &s, "b", SW_OUTCOME_FAILED, "cut", &err), SW_OK);
    s.index = 1;
    assert_int_equal(sw_evaluation_add_outcome(&e, &s, "a", SW_OUTCOME_FAILED, "gone", &err), SW_OK);
    s.index = 3;
    assert_int_equal(sw_evaluation_add_outcome(&e, &s, "c", SW_OUTCOME_REFUSED, NULL, &err), SW_OK);
    assert_int_equal(sw_evaluation_total(&e), 4);
    assert_int_equal(sw_evaluation_evaluated(&e), 1);
    assert_int_equal(e.failures.count, 2);
    assert_string_equal(e.failures.items[0].detail, "gone");
    assert_int_equal(e.false_positives.count, 0);
    assert_int_equal(sw_evaluation_latencies(&e, &times, &count, &err), SW_OK);
    assert_true(count == 1 && times[0] == 5000000);
    sw_free(times);
    sw_evaluation_deinit(&e);
}

static void limits(void **state) {
    struct sw_evaluation e;
    struct sw_error err;
    sw_evaluation_init(&e, &binary, 3);
    assert_int_equal(sw_evaluation_by(&e, "", &err), SW_E_USAGE);
    assert_int_equal(sw_evaluation_by(&e, "a,b,c,d,e", &err), SW_E_USAGE);
    assert_int_equal(sw_evaluation_by(&e, "id", &err), SW_OK);
    sw_status status = SW_OK;
    uint64_t i = 0;
    for (; !status && i <= SW_BY_GROUPS_MAX; i++) {
        char id[24];
        snprintf(id, sizeof id, "%llu", (unsigned long long)i);
        struct sw_sample_group group = {SW_STR("id"), sw_str_of(id)};
        struct sw_sample s = {.index = i, .label = yes, .groups = &group, .group_count = 1};
        const struct sw_verdict v = {.score = 1};
        status = sw_evaluation_add(&e, &s, "here", &v, 1, &err);
    }
    assert_int_equal(status, SW_E_INVALID_ARGUMENT);
    assert_int_equal(i, SW_BY_GROUPS_MAX + 1);
    assert_string_equal(err.message, "here: --by id: more than 10000 different values");
    struct sw_sample s = {.label = yes};
    const struct sw_verdict nan_score = {.score = NAN};
    assert_int_equal(sw_evaluation_add(&e, &s, "there", &nan_score, 1, &err), SW_E_INVALID_ARGUMENT);
    assert_string_equal(err.message, "there: the score is NaN");
    const char **names = sw_map_sorted(&e.by[0].groups); /* numbers by value */
    assert_string_equal(names[0], "0");
    assert_string_equal(names[9], "9");
    assert_string_equal(names[10], "10");
    sw_free(names);
    sw_evaluation_deinit(&e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_detector),
        cmocka_unit_test(the_threshold_tells_the_score),
        cmocka_unit_test(classifiers),
        cmocka_unit_test(options_choose),
        cmocka_unit_test(answers_are_read),
        cmocka_unit_test(a_threshold_is_reached_by_the_float_next_to_it),
        cmocka_unit_test(classes_are_texts),
        cmocka_unit_test(truths),
        cmocka_unit_test(counts),
        cmocka_unit_test(the_order_does_not_matter),
        cmocka_unit_test(what_has_no_answer_is_counted_apart),
        cmocka_unit_test(limits),
    };
    int failed = cmocka_run_group_tests(tests, set_up, tear_down);
    json_decref(bundle.output);
    return failed;
}
