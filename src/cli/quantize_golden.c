/* Golden answers of a quantised bundle.
 *
 * The old answers are kept where the new model still gives them, tolerance and all. Where one no longer passes, a
 * bundle with them could not be served, and one without any would be served unchecked; so all answers are replaced by
 * those of the new model, for the same requests: they then guard what was measured when the model was quantised. How
 * far they moved, and whether a label among them changed, is reported.
 *
 * The tolerance is then at least TOLERANCE: a value near the middle between two codes may round the other way on
 * another processor, and that shows in every output that depends on it. */
#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "cli/document.h"
#include "cli/quantize_internal.h"
#include "tensor/oip_tensor.h"

static const double TOLERANCE = 0.01, TOLERANCE_DEFAULT = 1e-4;

enum { LINE_BYTES_MAX = 256 << 20, ARENA_RETAIN = 1 << 20 };

struct rewriting {
    const struct sw_model *model; /* the new one */
    struct sw_dataset *requests;
    struct sw_quantized_golden *golden;
    FILE *file;
    struct sw_buf line;
    struct sw_error *err;
};

static bool is_label(const struct sw_tensor *t) {
    return t->dtype != SW_DTYPE_FP16 && t->dtype != SW_DTYPE_BF16 && t->dtype != SW_DTYPE_FP32 &&
           t->dtype != SW_DTYPE_FP64;
}

static bool is_same(const struct sw_tensor *a, const struct sw_tensor *b) {
    if (a->dtype != b->dtype || a->count != b->count) {
        return false;
    }
    for (size_t i = 0; i < a->count && a->dtype == SW_DTYPE_BYTES; i++) {
        if (!sw_str_eq(((const struct sw_str *)a->data)[i], ((const struct sw_str *)b->data)[i])) {
            return false;
        }
    }
    return a->dtype == SW_DTYPE_BYTES || a->count == 0 ||
           memcmp(a->data, b->data, a->count * sw_dtype_size(a->dtype)) == 0;
}

/* {"name": ..., "shape": ..., "datatype": ..., "data": [...]} */
static sw_status write_tensor(struct rewriting *r, const struct sw_tensor *t) {
    SW_LIT(&r->line, "{\"name\": ");
    sw_buf_append_json(&r->line, t->name);
    SW_LIT(&r->line, ", \"shape\": [");
    for (uint32_t i = 0; i < t->rank; i++) {
        sw_buf_printf(&r->line, "%s%lld", i ? ", " : "", (long long)t->shape[i]);
    }
    sw_buf_printf(&r->line, "], \"datatype\": \"%s\", \"data\": ", sw_dtype_name(t->dtype));
    SW_TRY(sw_json_write_data(&r->line, t, false, r->model->bundle->allow_nonfinite, r->err));
    SW_LIT(&r->line, "}");
    return SW_OK;
}

/* The new model's tensor for each old output, in their order; *changed: is a label another one? */
static sw_status write_outputs(struct rewriting *r, json_t *outputs, const struct sw_inference *inference,
                               struct sw_arena *arena, bool *changed) {
    SW_AUTO_FREE char *text = sw_json_compact(outputs);
    struct sw_tensor *old = NULL;
    size_t count = 0;
    struct sw_json json;
    sw_json_init(&json, sw_str_of(text), arena, r->err);
    SW_TRY(sw_oip_read_tensors(&json, NULL, NULL, &old, &count));
    for (size_t i = 0; i < count; i++) {
        const struct sw_tensor *found = NULL;
        for (size_t k = 0; k < inference->output_count && !found; k++) {
            found = sw_str_eq(inference->outputs[k].name, old[i].name) ? &inference->outputs[k] : NULL;
        }
        if (!found || found->dtype == SW_DTYPE_INVALID) {
            return sw_fail(r->err, SW_E_MODEL_INVALID, "the model gives no output '" SW_STR_FMT "'",
                           SW_STR_ARG(old[i].name));
        }
        *changed = *changed || (is_label(found) && !is_same(&old[i], found));
        sw_buf_append_str(&r->line, i ? SW_STR(", ") : SW_STR(""));
        SW_TRY(write_tensor(r, found));
    }
    return SW_OK;
}

static sw_status rewrite_line(struct rewriting *r, json_t *old, const struct sw_inference *inference,
                              struct sw_arena *arena) {
    SW_AUTO_FREE char *inputs = sw_json_compact(json_object_get(old, "inputs"));
    double tolerance = json_number_value(json_object_get(old, "tolerance"));
    bool changed = false;
    tolerance = json_object_get(old, "tolerance") ? tolerance : TOLERANCE_DEFAULT;
    sw_buf_clear(&r->line);
    sw_buf_printf(&r->line, "{\"inputs\": %s, \"outputs\": [", inputs);
    SW_TRY(write_outputs(r, json_object_get(old, "outputs"), inference, arena, &changed));
    sw_buf_printf(&r->line, "], \"tolerance\": %.17g}\n", tolerance > TOLERANCE ? tolerance : TOLERANCE);
    if (r->line.failed || fwrite(r->line.data, 1, r->line.len, r->file) != r->line.len) {
        return sw_fail(r->err, SW_E_IO, "%s", r->line.failed ? "an answer of too many bytes" : strerror(errno));
    }
    r->golden->label_changes += changed;
    r->golden->count++;
    return SW_OK;
}

static sw_status rewrite_request(struct rewriting *r, const struct sw_sample *sample, struct sw_arena *arena) {
    struct sw_inference inference = {0};
    json_error_t why;
    SW_TRY(sw_sample_inputs(r->requests, sample, &r->model->inputs, arena, &inference.inputs, &inference.input_count,
                            r->err));
    SW_TRY(sw_model_infer(r->model, &inference, arena, sw_clock_system(), r->err));
    json_t *old = json_loadb(sample->request.data, sample->request.len, 0, &why);
    sw_status status = old ? rewrite_line(r, old, &inference, arena)
                           : sw_fail(r->err, SW_E_MODEL_INVALID, "%s", why.text);
    json_decref(old);
    return status;
}

static sw_status rewrite_all(struct rewriting *r) {
    SW_CLEANUP(sw_arena_deinit) struct sw_arena arena;
    sw_arena_init(&arena, 0, ARENA_RETAIN);
    for (;;) {
        struct sw_sample sample;
        bool more;
        SW_TRY(sw_dataset_next(r->requests, &arena, &sample, &more, r->err));
        if (!more) {
            return SW_OK;
        }
        sw_status status = rewrite_request(r, &sample, &arena);
        if (status) {
            return sw_error_prefix(r->err, "%s", sw_sample_where(r->requests, &sample, &arena));
        }
        sw_arena_reset(&arena);
    }
}

/* requests: a copy of the old file at the top of the bundle, to which the files that it names are relative. */
static sw_status rewrite(struct rewriting *r, const char *requests, const char *path) {
    SW_TRY(sw_dataset_open(requests, &r->requests, r->err));
    r->file = fopen(path, "we");
    if (!r->file) {
        return sw_fail(r->err, SW_E_IO, "%s: %s", path, strerror(errno));
    }
    SW_TRY(rewrite_all(r));
    FILE *file = r->file;
    r->file = NULL;
    return fclose(file) == 0 ? SW_OK : sw_fail(r->err, SW_E_IO, "%s: %s", path, strerror(errno));
}

static sw_status rewrite_golden(const struct sw_model *model, struct sw_quantized_golden *golden,
                                struct sw_error *err) {
    struct rewriting r = {.model = model, .golden = golden, .err = err};
    SW_AUTO_FREE char *requests = sw_path_join(model->bundle->dir, ".golden-before");
    sw_buf_init(&r.line, LINE_BYTES_MAX);
    sw_status status = rename(model->bundle->golden_path, requests) == 0
                           ? rewrite(&r, requests, model->bundle->golden_path)
                           : sw_fail(err, SW_E_IO, "%s: %s", requests, strerror(errno));
    if (r.file) {
        fclose(r.file);
    }
    sw_dataset_close(r.requests);
    sw_buf_deinit(&r.line);
    unlink(requests);
    return status;
}

sw_status sw_quantize_golden(const struct sw_model *model, struct sw_quantized_golden *ret, struct sw_error *err) {
    struct sw_clock *clock = sw_clock_system();
    struct sw_error why;
    size_t count = 0;
    if (!model->bundle->golden_path) {
        return SW_OK;
    }
    sw_status status = sw_golden_check(model, clock, &ret->count, &why);
    if (status != SW_E_GOLDEN_MISMATCH) {
        if (status && err) {
            *err = why;
        }
        return status;
    }
    ret->is_rewritten = true;
    const char *text = why.message, *dir = model->bundle->dir; /* a folder that will have another name */
    text += strncmp(text, dir, strlen(dir)) == 0 ? strlen(dir) + 1 : 0;
    snprintf(ret->first, sizeof ret->first, "%s", text);
    SW_TRY(rewrite_golden(model, ret, err));
    return sw_golden_check(model, clock, &count, err);
}
