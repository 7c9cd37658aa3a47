/* The output step labels: the best class of each row as text (BYTES "label") with its score (FP32 "score").
 *
 * A row is the last axis; ties go to the lowest index, NaN counts as lowest. With top K > 1 the K best follow each
 * other along a new last axis. The strings answered belong to the step, which lives as long as the model. */
#include <math.h>

#include "base/file.h"
#include "base/memory.h"
#include "pipeline/params.h"
#include "pipeline/steps.h"

enum { LABEL_FILE_MAX = 4 << 20, LABELS_MAX = 1 << 20, TOP_MAX = 1000 };

struct labels_step {
    struct sw_step step;
    char *tensor;
    char *label_name, *score_name; /* outputs added */
    char *label_text;              /* what the labels point into */
    struct sw_str *labels;
    size_t label_count, top;
};

static void labels_destroy(struct sw_step *step) {
    struct labels_step *s = (struct labels_step *)step;
    sw_free(s->tensor);
    sw_free(s->label_name);
    sw_free(s->score_name);
    sw_free(s->label_text);
    sw_free(s->labels);
    sw_free(s);
}

static struct labels_step *new_step(void) {
    struct labels_step *s = SW_NEW(struct labels_step);
    s->step.ops = &sw_step_labels;
    return s;
}

static bool labels_fits(const struct sw_tensor_spec *spec, const void *arg) {
    int64_t classes = *(const int64_t *)arg;
    return sw_spec_is_float(spec) && spec->rank >= 1 &&
           (spec->shape[spec->rank - 1] == -1 || spec->shape[spec->rank - 1] == classes);
}

/* Labels from a list of strings (or integers: "labels: [0, 1, 2]" means their digits). */
static sw_status labels_from_list(const struct sw_params *p, const char *key, json_t *list, struct labels_step *s) {
    size_t count = json_array_size(list), used = 0;
    if (count == 0 || count > LABELS_MAX) {
        return sw_params_fail(p, key, "must hold 1 to %d labels, holds %zu", LABELS_MAX, count);
    }
    SW_CLEANUP(sw_buf_deinit) struct sw_buf text;
    sw_buf_init(&text, LABEL_FILE_MAX);
    for (size_t i = 0; i < count; i++) {
        json_t *item = json_array_get(list, i);
        if (json_is_integer(item)) {
            sw_buf_printf(&text, "%lld", (long long)json_integer_value(item));
        } else if (json_is_string(item)) {
            sw_buf_append(&text, json_string_value(item), json_string_length(item));
        } else {
            return sw_params_fail(p, key, "label %zu must be a string, is %s (put it in quotes)", i + 1,
                                  sw_params_kind(item));
        }
        sw_buf_append(&text, "", 1);
    }
    if (text.failed) {
        return sw_params_fail(p, key, "the labels take more than %d bytes", LABEL_FILE_MAX);
    }
    s->label_text = sw_xmalloc(text.len);
    memcpy(s->label_text, text.data, text.len);
    s->labels = sw_xcalloc(count, sizeof *s->labels);
    for (size_t i = 0; i < count; i++) {
        s->labels[i] = sw_str_of(s->label_text + used);
        used += s->labels[i].len + 1;
    }
    s->label_count = count;
    return SW_OK;
}

/* Labels from a text file, one a line; blank lines at the end are ignored. */
static sw_status labels_from_file(const struct sw_params *p, const char *dir, const char *name, struct labels_step *s) {
    SW_AUTO_FREE char *path = NULL;
    SW_CLEANUP(sw_buf_deinit) struct sw_buf text;
    sw_buf_init(&text, LABEL_FILE_MAX);
    SW_TRY(sw_params_file(dir, "output.labels.file", name, &path, p->err));
    struct sw_error why;
    if (sw_file_read(path, LABEL_FILE_MAX, &text, &why)) {
        return sw_params_fail(p, "file", "%s", why.message);
    }
    struct sw_str all = sw_buf_str(&text);
    while (all.len && (all.data[all.len - 1] == '\n' || all.data[all.len - 1] == '\r')) {
        all.len--;
    }
    if (all.len == 0 || !sw_utf8_valid(all)) {
        return sw_params_fail(p, "file", "%s: %s", name, all.len ? "not valid UTF-8" : "holds no label");
    }
    s->label_text = sw_xstrndup(all.data, all.len);
    struct sw_str rest = {s->label_text, all.len};
    size_t capacity = 0;
    while (rest.data) {
        struct sw_str line;
        rest = sw_str_split(rest, '\n', &line);
        line.len -= line.len && line.data[line.len - 1] == '\r';
        if (s->label_count == capacity) {
            capacity = capacity ? capacity * 2 : 64;
            s->labels = sw_xrealloc(s->labels, capacity * sizeof *s->labels);
        }
        s->labels[s->label_count++] = line;
    }
    return SW_OK;
}

static sw_status labels_source(const struct sw_params *p, json_t *params, const char *dir, struct labels_step *s) {
    static const char *const known[] = {"values", "file", "tensor", "top", "label_name", "score_name", NULL};
    if (json_is_array(params)) {
        return labels_from_list(p, NULL, params, s);
    }
    if (!p->object) {
        return sw_params_fail(p, NULL, "must be a list of labels or a mapping, is %s", sw_params_kind(params));
    }
    SW_TRY(sw_params_only(p, known));
    json_t *values = json_object_get(p->object, "values");
    const char *file = NULL;
    SW_TRY(sw_params_string(p, "file", &file));
    if (!values == !file) {
        return sw_params_fail(p, NULL, "give either values or file");
    }
    if (values && !json_is_array(values)) {
        return sw_params_fail(p, "values", "must be a list, is %s", sw_params_kind(values));
    }
    return values ? labels_from_list(p, "values", values, s) : labels_from_file(p, dir, file, s);
}

static sw_status labels_read(const struct sw_params *p, json_t *params, const char *dir, struct sw_tensor_specs *specs,
                             struct labels_step *s) {
    const char *tensor = NULL, *label_name = "label", *score_name = "score";
    int64_t top = 1;
    size_t index = 0;
    SW_TRY(labels_source(p, params, dir, s));
    int64_t top_max = s->label_count < TOP_MAX ? (int64_t)s->label_count : TOP_MAX;
    SW_TRY(sw_params_string(p, "tensor", &tensor));
    SW_TRY(sw_params_string(p, "label_name", &label_name));
    SW_TRY(sw_params_string(p, "score_name", &score_name));
    SW_TRY(sw_params_int(p, "top", 1, top_max, &top));
    int64_t classes = (int64_t)s->label_count;
    char wanted[96];
    snprintf(wanted, sizeof wanted, "FP32 or FP64 whose last dimension is %zu, the number of labels", s->label_count);
    SW_TRY(sw_specs_choose(specs, p->path, tensor, labels_fits, &classes, wanted, &index, p->err));
    s->tensor = sw_xstrdup(specs->items[index].name);
    s->label_name = sw_xstrdup(label_name);
    s->score_name = sw_xstrdup(score_name);
    s->top = (size_t)top;
    uint32_t leading = specs->items[index].rank - 1;
    int64_t tail = top > 1 ? top : -1;
    SW_TRY(sw_specs_add(specs, "output.labels.label_name", label_name, SW_DTYPE_BYTES, index, leading, tail, p->err));
    return sw_specs_add(specs, "output.labels.score_name", score_name, SW_DTYPE_FP32, index, leading, tail, p->err);
}

static sw_status labels_create(json_t *params, const char *bundle_dir, struct sw_tensor_specs *specs,
                               struct sw_step **ret, struct sw_error *err) {
    struct sw_params p = {.object = json_is_object(params) ? params : NULL, .path = "output.labels", .err = err};
    struct labels_step *s = new_step();
    sw_status status = labels_read(&p, params, bundle_dir, specs, s);
    if (status) {
        labels_destroy(&s->step);
        return status;
    }
    *ret = &s->step;
    return SW_OK;
}

/* The `top` highest of n values at `from`, highest first, ties by lowest index; NaN counts as lowest. Insertion into a
 * short sorted list: n * top at worst, n when the best come first. */
static void find_top(const struct sw_tensor *t, size_t from, size_t n, size_t top, uint32_t *ret_index) {
    size_t have = 0;
    for (size_t i = 0; i < n; i++) {
        double v = sw_value_at(t, from + i);
        size_t at = have;
        while (at > 0) {
            double other = sw_value_at(t, from + ret_index[at - 1]);
            if (!(v > other || (isnan(other) && !isnan(v)))) {
                break;
            }
            at--;
        }
        if (at >= top) {
            continue;
        }
        have += have < top;
        memmove(ret_index + at + 1, ret_index + at, (have - 1 - at) * sizeof *ret_index);
        ret_index[at] = (uint32_t)i;
    }
}

static sw_status labels_run(const struct sw_step *step, struct sw_tensor_set *set, struct sw_arena *arena,
                            struct sw_error *err) {
    const struct labels_step *s = (const struct labels_step *)step;
    struct sw_tensor *found;
    SW_TRY(sw_output_tensor(set, "labels", s->tensor, &found, err));
    struct sw_tensor t = *found, *labels, *scores; /* adding may move the set */
    if (t.rank == 0 || t.shape[t.rank - 1] != (int64_t)s->label_count) {
        char shape[128];
        return sw_fail(err, SW_E_INFERENCE_FAILED,
                       "output step labels: '%s' came as %s, its last dimension must be %zu", s->tensor,
                       sw_shape_format(t.shape, t.rank, shape, sizeof shape), s->label_count);
    }
    int64_t shape[SW_RANK_MAX];
    uint32_t rank = t.rank - 1;
    size_t n = s->label_count, rows = t.count / n;
    memcpy(shape, t.shape, rank * sizeof *shape);
    if (s->top > 1) {
        shape[rank++] = (int64_t)s->top;
    }
    uint32_t *best = sw_arena_calloc(arena, s->top + 1, sizeof *best);
    labels = best ? sw_tensor_set_add(set, arena) : NULL;
    if (!labels) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory for the answer");
    }
    SW_TRY(sw_tensor_alloc(labels, arena, sw_str_of(s->label_name), SW_DTYPE_BYTES, shape, rank, err));
    struct sw_str *label = labels->data;
    scores = sw_tensor_set_add(set, arena);
    if (!scores) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory for the answer");
    }
    SW_TRY(sw_tensor_alloc(scores, arena, sw_str_of(s->score_name), SW_DTYPE_FP32, shape, rank, err));
    float *score = scores->data;
    for (size_t r = 0; r < rows; r++) {
        find_top(&t, r * n, n, s->top, best);
        for (size_t k = 0; k < s->top; k++) {
            *label++ = s->labels[best[k]];
            *score++ = (float)sw_value_at(&t, r * n + best[k]);
        }
    }
    return SW_OK;
}

const struct sw_step_ops sw_step_labels = {
    .name = "labels",
    .side = SW_STEP_OUTPUT,
    .order = 30,
    .summary = "adds the best class of each row as text, and its score",
    .create = labels_create,
    .destroy = labels_destroy,
    .run = labels_run,
};
