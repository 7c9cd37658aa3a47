/* See judge.h. */
#include "cli/judge.h"

#include <math.h>

#include "base/memory.h"
#include "tensor/number.h"

/* --- outputs by what they hold ----------------------------------------------------------------------------------- */

typedef bool fits_fn(const struct sw_tensor_spec *spec);

static bool is_float(const struct sw_tensor_spec *spec) {
    return spec->dtype == SW_DTYPE_FP32 || spec->dtype == SW_DTYPE_FP64;
}

static bool is_column(const struct sw_tensor_spec *spec) { /* [N] or [N,1] */
    return spec->rank == 1 || (spec->rank == 2 && spec->shape[1] == 1);
}

static bool fits_positive(const struct sw_tensor_spec *spec) {
    return spec->dtype == SW_DTYPE_BOOL && is_column(spec);
}

static bool fits_score(const struct sw_tensor_spec *spec) {
    return is_float(spec) && is_column(spec);
}

static bool fits_scores(const struct sw_tensor_spec *spec) {
    return is_float(spec) && spec->rank >= 1 && spec->rank <= 2 && spec->shape[spec->rank - 1] != 1;
}

static bool fits_label(const struct sw_tensor_spec *spec) {
    bool integer = spec->dtype >= SW_DTYPE_UINT8 && spec->dtype <= SW_DTYPE_INT64;
    return (spec->dtype == SW_DTYPE_BYTES || integer) && is_column(spec);
}

static bool fits_text(const struct sw_tensor_spec *spec) {
    return spec->dtype == SW_DTYPE_BYTES && is_column(spec);
}

static int find(const struct sw_model *model, struct sw_str name) {
    const struct sw_tensor_spec *spec = sw_specs_find(&model->outputs, name);
    return spec ? (int)(spec - model->outputs.items) : SW_JUDGE_NONE;
}

/* The only output that fits; *ret_count how many do. */
static int find_only(const struct sw_model *model, fits_fn *fits, size_t *ret_count) {
    int found = SW_JUDGE_NONE;
    *ret_count = 0;
    for (size_t i = 0; i < model->outputs.count; i++) {
        if (fits(&model->outputs.items[i])) {
            found = (int)i;
            ++*ret_count;
        }
    }
    return *ret_count == 1 ? found : SW_JUDGE_NONE;
}

/* The output that an option names. */
static sw_status find_named(const struct sw_model *model, const char *option, struct sw_str name, fits_fn *fits,
                            const char *wanted, int *ret, struct sw_error *err) {
    int found = find(model, name);
    if (found == SW_JUDGE_NONE) {
        return sw_fail(err, SW_E_USAGE, "--%s: model %s has no output '" SW_STR_FMT "'", option, model->name,
                       SW_STR_ARG(name));
    }
    const struct sw_tensor_spec *spec = &model->outputs.items[found];
    if (!fits(spec)) {
        char shape[128];
        return sw_fail(err, SW_E_USAGE, "--%s: output '%s' is %s %s; wanted: %s", option, spec->name,
                       sw_dtype_name(spec->dtype), sw_shape_format(spec->shape, spec->rank, shape, sizeof shape),
                       wanted);
    }
    *ret = found;
    return SW_OK;
}

/* --- the score --------------------------------------------------------------------------------------------------- */

/* Parameters of the last output step of that name, or NULL. */
static json_t *step_params(const struct sw_bundle *bundle, const char *step) {
    json_t *found = NULL, *item;
    size_t i;
    if (json_is_object(bundle->output)) {
        return json_object_get(bundle->output, step);
    }
    json_array_foreach(bundle->output, i, item) {
        json_t *params = json_object_get(item, step);
        found = params ? params : found;
    }
    return found;
}

/* The tensor a step's parameter names. */
static int step_tensor(const struct sw_model *model, const char *step, const char *key) {
    const char *name = json_string_value(json_object_get(step_params(model->bundle, step), key));
    int found = name ? find(model, sw_str_of(name)) : SW_JUDGE_NONE;
    return found >= 0 && is_float(&model->outputs.items[found]) ? found : SW_JUDGE_NONE;
}

static void default_score(struct sw_judge *judge) {
    size_t count;
    const json_t *column = json_object_get(step_params(judge->model->bundle, "threshold"), "class");
    int found = step_tensor(judge->model, "threshold", "tensor");
    if (found != SW_JUDGE_NONE && (column || is_column(&judge->model->outputs.items[found]))) {
        judge->column = column ? (size_t)json_integer_value(column) : 0;
    } else {
        found = step_tensor(judge->model, "calibrate", "name");
        found = found != SW_JUDGE_NONE ? found : step_tensor(judge->model, "calibrate", "tensor");
    }
    judge->score = found != SW_JUDGE_NONE ? found : find_only(judge->model, fits_score, &count);
}

/* NAME or NAME:COLUMN. */
static sw_status named_score(struct sw_judge *judge, const char *text, struct sw_error *err) {
    struct sw_str name = sw_str_of(text);
    const char *colon = strrchr(text, ':');
    uint64_t column = 0;
    bool has_column = false;
    if (colon && find(judge->model, name) == SW_JUDGE_NONE) { /* a name may hold a colon */
        has_column = sw_parse_u64(sw_str_of(colon + 1), &column);
        name.len = has_column ? (size_t)(colon - text) : name.len;
    }
    SW_TRY(find_named(judge->model, "score", name, has_column ? fits_scores : fits_score,
                      has_column ? "FP32 or FP64 [N,C]" : "FP32 or FP64 [N] or [N,1], or NAME:COLUMN of [N,C]",
                      &judge->score, err));
    const struct sw_tensor_spec *spec = &judge->model->outputs.items[judge->score];
    if (has_column && spec->shape[spec->rank - 1] >= 0 && column >= (uint64_t)spec->shape[spec->rank - 1]) {
        return sw_fail(err, SW_E_USAGE, "--score: output '%s' has no column %llu", spec->name,
                       (unsigned long long)column);
    }
    judge->column = (size_t)column;
    return SW_OK;
}

/* --- the tasks --------------------------------------------------------------------------------------------------- */

static sw_status make_threshold(struct sw_judge *judge, const char *text, struct sw_error *err) {
    judge->threshold = 0.5;
    if (!text) {
        return SW_OK;
    }
    const char *end = text + strlen(text);
    if (sw_parse_double(text, end, &judge->threshold) != end) {
        return sw_fail(err, SW_E_USAGE, "--threshold: '%.40s' is not a number", text);
    }
    if (judge->score == SW_JUDGE_NONE) {
        return sw_fail(err, SW_E_USAGE, "--threshold: the model has no score; name one with --score");
    }
    judge->positive = SW_JUDGE_NONE;
    return SW_OK;
}

static sw_status make_binary(struct sw_judge *judge, const struct sw_judge_options *options, struct sw_error *err) {
    size_t count = 0;
    judge->task = SW_TASK_BINARY;
    judge->positive = find_only(judge->model, fits_positive, &count);
    const char *verdict = json_string_value(json_object_get(step_params(judge->model->bundle, "threshold"), "name"));
    int decided = verdict ? find(judge->model, sw_str_of(verdict)) : SW_JUDGE_NONE;
    if (count > 1 && decided >= 0 && fits_positive(&judge->model->outputs.items[decided])) {
        judge->positive = decided; /* the verdict among several BOOL outputs is what the step threshold makes */
        count = 1;
    }
    if (options->positive) {
        SW_TRY(find_named(judge->model, "positive", sw_str_of(options->positive), fits_positive, "BOOL [N]",
                          &judge->positive, err));
    } else if (count > 1 && !options->threshold) {
        return sw_fail(err, SW_E_USAGE, "the model has %zu BOOL outputs; name the one that counts with --positive",
                       count);
    }
    SW_TRY(options->score ? named_score(judge, options->score, err) : (default_score(judge), SW_OK));
    SW_TRY(make_threshold(judge, options->threshold, err));
    if (judge->positive == SW_JUDGE_NONE && judge->score == SW_JUDGE_NONE) {
        return sw_fail(err, SW_E_USAGE,
                       "the labels are true or false, and model %s has neither a BOOL output nor one "
                       "score; name one with --positive or --score",
                       judge->model->name);
    }
    size_t texts;
    judge->method = find(judge->model, SW_STR("method"));
    judge->message = find(judge->model, SW_STR("message"));
    for (texts = 0; texts < 2; texts++) {
        int *output = texts ? &judge->method : &judge->message;
        *output = *output >= 0 && fits_text(&judge->model->outputs.items[*output]) ? *output : SW_JUDGE_NONE;
    }
    return SW_OK;
}

static sw_status make_classes(struct sw_judge *judge, const struct sw_judge_options *options, struct sw_error *err) {
    size_t count;
    judge->task = SW_TASK_CLASSES;
    if (options->positive || options->threshold) {
        return sw_fail(err, SW_E_USAGE, "--%s: the labels are classes, not true or false",
                       options->positive ? "positive" : "threshold");
    }
    judge->label = find(judge->model, SW_STR("label"));
    if (options->label) {
        SW_TRY(find_named(judge->model, "label", sw_str_of(options->label), fits_label, "BYTES or integers [N]",
                          &judge->label, err));
    } else if (judge->label == SW_JUDGE_NONE || !fits_label(&judge->model->outputs.items[judge->label])) {
        judge->label = find_only(judge->model, fits_label, &count);
    }
    judge->scores = find_only(judge->model, fits_scores, &count);
    if (judge->label == SW_JUDGE_NONE && judge->scores == SW_JUDGE_NONE) {
        return sw_fail(err, SW_E_USAGE,
                       "model %s has no output that names the class (texts, integers, or one list of "
                       "scores); name it with --label",
                       judge->model->name);
    }
    if (options->score) {
        return named_score(judge, options->score, err);
    }
    judge->score = find(judge->model, SW_STR("score"));
    bool fits = judge->score >= 0 && fits_score(&judge->model->outputs.items[judge->score]);
    judge->score = fits ? judge->score : SW_JUDGE_NONE;
    return SW_OK;
}

sw_status sw_judge_make(const struct sw_model *model, const struct sw_judge_options *options,
                        const struct sw_label *first, struct sw_judge *ret, struct sw_error *err) {
    struct sw_judge judge = {.model = model,
                             .positive = SW_JUDGE_NONE,
                             .score = SW_JUDGE_NONE,
                             .label = SW_JUDGE_NONE,
                             .scores = SW_JUDGE_NONE,
                             .method = SW_JUDGE_NONE,
                             .message = SW_JUDGE_NONE};
    size_t booleans, columns, classes;
    bool ignored;
    (void)find_only(model, fits_positive, &booleans);
    (void)find_only(model, fits_score, &columns);
    (void)find_only(model, fits_label, &classes);
    bool truth = first->kind == SW_LABEL_BOOL || sw_judge_truth(first, &ignored, NULL) == SW_OK;
    bool asked = options->positive || options->score || options->threshold;
    bool can = booleans > 0 || (first->kind == SW_LABEL_BOOL && columns > 0);
    bool binary = !options->label && truth && (asked || can || (first->kind == SW_LABEL_BOOL && classes == 0));
    SW_TRY(binary ? make_binary(&judge, options, err) : make_classes(&judge, options, err));
    *ret = judge;
    return SW_OK;
}

sw_status sw_judge_truth(const struct sw_label *label, bool *ret, struct sw_error *err) {
    bool zero = label->kind == SW_LABEL_INTEGER && sw_str_is(label->text, "0");
    bool one = label->kind == SW_LABEL_INTEGER && sw_str_is(label->text, "1");
    if (label->kind != SW_LABEL_BOOL && !zero && !one) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "label %s" SW_STR_FMT ": must be true, false, 0 or 1",
                       label->kind ? "" : "is missing", SW_STR_ARG(label->text));
    }
    *ret = label->kind == SW_LABEL_BOOL ? label->positive : one;
    return SW_OK;
}

/* --- answers ----------------------------------------------------------------------------------------------------- */

static double float_at(const struct sw_tensor *t, size_t i) {
    return t->dtype == SW_DTYPE_FP32 ? (double)((const float *)t->data)[i] : ((const double *)t->data)[i];
}

/* The output, which must hold `count` elements (0: any but none). */
static sw_status need(const struct sw_judge *judge, const struct sw_tensor *outputs, int index, size_t count,
                      const struct sw_tensor **ret, struct sw_error *err) {
    const struct sw_tensor *t = &outputs[index];
    const char *name = judge->model->outputs.items[index].name;
    if (t->dtype == SW_DTYPE_INVALID) {
        return sw_fail(err, SW_E_INFERENCE_FAILED, "the model left out '%s'", name);
    }
    bool one_row = t->rank < 2 || t->shape[0] == 1;
    if (!one_row || (count ? t->count != count : t->count == 0)) {
        char shape[128];
        return sw_fail(err, SW_E_INFERENCE_FAILED, "output '%s' came as %s; a sample is one row", name,
                       sw_shape_format(t->shape, t->rank, shape, sizeof shape));
    }
    *ret = t;
    return SW_OK;
}

static sw_status read_text(const struct sw_judge *judge, const struct sw_tensor *outputs, int index, struct sw_str *ret,
                           struct sw_error *err) {
    const struct sw_tensor *t;
    if (index == SW_JUDGE_NONE) {
        return SW_OK;
    }
    SW_TRY(need(judge, outputs, index, 1, &t, err));
    *ret = *(const struct sw_str *)t->data;
    ret->data = ret->data ? ret->data : "";
    return SW_OK;
}

static sw_status read_score(const struct sw_judge *judge, const struct sw_tensor *outputs, double *ret,
                            struct sw_error *err) {
    const struct sw_tensor *t;
    if (judge->score == SW_JUDGE_NONE) {
        return SW_OK;
    }
    SW_TRY(need(judge, outputs, judge->score, 0, &t, err));
    if (judge->column >= t->count || (t->rank < 2 && judge->column == 0 && t->count != 1)) {
        return sw_fail(err, SW_E_INFERENCE_FAILED, "output '" SW_STR_FMT "' came with %zu elements; column %zu wanted",
                       SW_STR_ARG(t->name), t->count, judge->column);
    }
    *ret = float_at(t, judge->column);
    return SW_OK;
}

static sw_status integer_text(const struct sw_tensor *t, struct sw_arena *arena, struct sw_str *ret,
                              struct sw_error *err) {
    const void *d = t->data;
    char text[SW_NUMBER_MAX], *end;
    switch (t->dtype) {
    case SW_DTYPE_UINT8: end = sw_format_uint(text, *(const uint8_t *)d); break;
    case SW_DTYPE_UINT16: end = sw_format_uint(text, *(const uint16_t *)d); break;
    case SW_DTYPE_UINT32: end = sw_format_uint(text, *(const uint32_t *)d); break;
    case SW_DTYPE_UINT64: end = sw_format_uint(text, *(const uint64_t *)d); break;
    case SW_DTYPE_INT8: end = sw_format_int(text, *(const int8_t *)d); break;
    case SW_DTYPE_INT16: end = sw_format_int(text, *(const int16_t *)d); break;
    case SW_DTYPE_INT32: end = sw_format_int(text, *(const int32_t *)d); break;
    default: end = sw_format_int(text, *(const int64_t *)d); break;
    }
    struct sw_str s = {text, (size_t)(end - text)};
    s.data = sw_arena_strdup(arena, s);
    *ret = s;
    return s.data ? SW_OK : sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
}

/* The place of the greatest; the first of equals; NaN is never it unless all are. */
static size_t greatest(const struct sw_tensor *t) {
    size_t best = 0;
    for (size_t i = 1; i < t->count; i++) {
        double v = float_at(t, i), b = float_at(t, best);
        best = v > b || (isnan(b) && !isnan(v)) ? i : best;
    }
    return best;
}

static sw_status read_class(const struct sw_judge *judge, const struct sw_tensor *outputs, struct sw_arena *arena,
                            struct sw_verdict *ret, struct sw_error *err) {
    const struct sw_tensor *t;
    if (judge->label != SW_JUDGE_NONE) {
        SW_TRY(need(judge, outputs, judge->label, 1, &t, err));
        if (t->dtype == SW_DTYPE_BYTES) {
            return read_text(judge, outputs, judge->label, &ret->label, err);
        }
        return integer_text(t, arena, &ret->label, err);
    }
    SW_TRY(need(judge, outputs, judge->scores, 0, &t, err));
    int64_t best = (int64_t)greatest(t);
    const struct sw_tensor place = {.dtype = SW_DTYPE_INT64, .data = &best};
    ret->score = judge->score == SW_JUDGE_NONE ? float_at(t, (size_t)best) : ret->score;
    return integer_text(&place, arena, &ret->label, err);
}

/* A threshold of 0.7 means the float next to it where the score is one, as the step threshold has it. */
static bool reaches(const struct sw_judge *judge, double score) {
    bool single = judge->model->outputs.items[judge->score].dtype == SW_DTYPE_FP32;
    return score >= (single ? (double)(float)judge->threshold : judge->threshold);
}

sw_status sw_judge_answer(const struct sw_judge *judge, const struct sw_tensor *outputs, struct sw_arena *arena,
                          struct sw_verdict *ret, struct sw_error *err) {
    struct sw_verdict v = {.score = NAN};
    const struct sw_tensor *t;
    SW_TRY(read_score(judge, outputs, &v.score, err));
    if (judge->task == SW_TASK_CLASSES) {
        SW_TRY(read_class(judge, outputs, arena, &v, err));
    } else if (judge->positive == SW_JUDGE_NONE) {
        v.positive = reaches(judge, v.score);
    } else {
        SW_TRY(need(judge, outputs, judge->positive, 1, &t, err));
        v.positive = *(const uint8_t *)t->data != 0;
    }
    SW_TRY(read_text(judge, outputs, judge->method, &v.method, err));
    SW_TRY(read_text(judge, outputs, judge->message, &v.message, err));
    *ret = v;
    return SW_OK;
}
