/* The output step: from probabilities to an answer with method, message and facts about the image. See step.h. */
#include "apps/starlight/step.h"
#include "apps/starlight/step_internal.h"
#include "apps/starlight/text.h"
#include "base/memory.h"
#include "pipeline/params.h"
#include "pipeline/steps.h"

/* The tensors of one run. */
struct answer {
    size_t rows;
    const float *probability;
    const float *shares;    /* [rows][SW_STARLIGHT_METHODS] */
    const uint8_t *verdict; /* BOOL */
    float *probabilities;
    struct sw_str *method, *message, *message_method, *bit_order, *info;
    uint8_t *marked;
};

/* making the step -------------------------------------------------------------------------------------------------- */

static void output_destroy(struct sw_step *step) {
    sw_free(step);
}

static sw_status need(const struct sw_tensor_specs *specs, const char *name, enum sw_dtype dtype, int64_t columns,
                      size_t *ret, struct sw_error *err) {
    const struct sw_tensor_spec *spec = sw_specs_find(specs, sw_str_of(name));
    bool fits = spec && spec->dtype == dtype && spec->rank == (columns ? 2u : 1u) &&
                (columns == 0 || spec->shape[1] == columns);
    if (fits) {
        *ret = (size_t)(spec - specs->items);
        return SW_OK;
    }
    return sw_fail(err, SW_E_MODEL_INVALID, "output.starlight: needs a tensor '%s' %s [N%s] at this point%s", name,
                   sw_dtype_name(dtype), columns ? ",5" : "", spec ? "; the one there is other" : "");
}

static sw_status output_specs(struct sw_tensor_specs *specs, struct sw_error *err) {
    static const struct {
        const char *name;
        enum sw_dtype dtype;
    } added[] = {{"method", SW_DTYPE_BYTES},         {"message", SW_DTYPE_BYTES},
                 {"message_method", SW_DTYPE_BYTES}, {"message_bit_order", SW_DTYPE_BYTES},
                 {"message_marked", SW_DTYPE_BOOL},  {"image_info", SW_DTYPE_BYTES}};
    size_t probability, shares, verdict;
    SW_TRY(need(specs, "stego_probability", SW_DTYPE_FP32, 0, &probability, err));
    SW_TRY(need(specs, "is_stego", SW_DTYPE_BOOL, 0, &verdict, err));
    SW_TRY(need(specs, "method_shares", SW_DTYPE_FP32, SW_STARLIGHT_METHODS, &shares, err));
    sw_free(specs->items[shares].name);
    specs->items[shares].name = sw_xstrdup("method_probabilities");
    for (size_t i = 0; i < SW_COUNTOF(added); i++) {
        SW_TRY(sw_specs_add(specs, "output.starlight", added[i].name, added[i].dtype, probability, 1, -1, err));
    }
    return SW_OK;
}

static sw_status output_create(json_t *params, const char *bundle_dir, struct sw_tensor_specs *specs,
                               struct sw_step **ret, struct sw_error *err) {
    if (!json_is_true(params)) {
        const struct sw_params p = {.path = "output.starlight", .err = err};
        return sw_params_fail(&p, NULL, "must be true, is %s", sw_params_kind(params));
    }
    SW_TRY(output_specs(specs, err));
    *ret = SW_NEW(struct sw_step);
    (*ret)->ops = &sw_starlight_output_step;
    return SW_OK;
}

/* one image -------------------------------------------------------------------------------------------------------- */

/* The likeliest method. */
static enum sw_starlight_method best_method(const float shares[SW_STARLIGHT_METHODS]) {
    int best = 0;
    for (int m = 1; m < SW_STARLIGHT_METHODS; m++) {
        best = shares[m] > shares[best] ? m : best;
    }
    return (enum sw_starlight_method)best;
}

static const char *json_bool(bool value) {
    return value ? "true" : "false";
}

static sw_status write_info(const struct sw_starlight_seen *seen, struct sw_arena *arena, struct sw_str *ret,
                            struct sw_error *err) {
    const struct sw_starlight_image *i = &seen->image;
    char *text = sw_arena_printf(
        arena,
        "{\"format\":\"%s\",\"width\":%u,\"height\":%u,\"bit_depth\":%u,\"lossy\":%s,\"gray\":%s,\"has_alpha\":%s,"
        "\"palette_colors\":%u,\"interlaced\":%s,\"frames\":%u,\"bytes\":%llu,\"exif_bytes\":%llu,\"xmp_bytes\":%llu,"
        "\"icc_bytes\":%llu,\"comment_bytes\":%llu,\"user_comment_bytes\":%zu,\"trailing_bytes\":%zu}",
        sw_starlight_format_name(i->format), i->width, i->height, i->bit_depth, json_bool(i->lossy), json_bool(i->gray),
        json_bool(i->has_alpha), i->palette_count, json_bool(i->interlaced), i->frames, (unsigned long long)seen->bytes,
        (unsigned long long)i->exif_bytes, (unsigned long long)i->xmp_bytes, (unsigned long long)i->icc_bytes,
        (unsigned long long)i->comment_bytes, i->user_comment.len, i->trailing.len);
    if (!text) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory for the answer");
    }
    *ret = sw_str_of(text);
    return SW_OK;
}

static sw_status answer_image(const struct sw_starlight_seen *seen, struct answer *a, size_t row,
                              struct sw_arena *arena, struct sw_error *err) {
    const float *shares = a->shares + row * SW_STARLIGHT_METHODS;
    for (size_t m = 0; m < SW_STARLIGHT_METHODS; m++) {
        a->probabilities[row * SW_STARLIGHT_METHODS + m] = shares[m] * a->probability[row];
    }
    a->marked[row] = 0;
    SW_TRY(write_info(seen, arena, &a->info[row], err));
    if (!a->verdict[row]) {
        return SW_OK;
    }
    enum sw_starlight_method method = best_method(shares);
    struct sw_starlight_message message;
    a->method[row] = sw_str_of(sw_starlight_method_name(method));
    if (sw_starlight_extract(&seen->image, method, arena, &message)) {
        a->message[row] = message.text;
        a->message_method[row] = sw_str_of(sw_starlight_method_name(message.method));
        a->bit_order[row] = sw_str_of(message.bit_order ? message.bit_order : "");
        a->marked[row] = message.marked;
    }
    return SW_OK;
}

/* running ---------------------------------------------------------------------------------------------------------- */

static sw_status take(struct sw_tensor_set *set, const char *name, enum sw_dtype dtype, size_t count,
                      struct sw_tensor **ret, struct sw_error *err) {
    *ret = sw_tensor_set_find(set, sw_str_of(name));
    if (*ret && (*ret)->dtype == dtype && (*ret)->count == count) {
        return SW_OK;
    }
    return sw_fail(err, SW_E_INFERENCE_FAILED, "output step starlight: '%s' %s", name,
                   *ret ? "is not one value, or row, an image" : "was left out by the model");
}

static sw_status give(struct sw_tensor_set *set, const char *name, enum sw_dtype dtype, size_t rows, void **ret,
                      struct sw_arena *arena, struct sw_error *err) {
    struct sw_tensor *t = sw_tensor_set_add(set, arena);
    if (!t) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory for the answer");
    }
    int64_t shape[1] = {(int64_t)rows};
    SW_TRY(sw_tensor_alloc(t, arena, sw_str_of(name), dtype, shape, 1, err));
    *ret = t->data;
    return SW_OK;
}

/* method_shares becomes method_probabilities. */
static sw_status replace_shares(struct sw_tensor_set *set, struct answer *a, struct sw_arena *arena,
                                struct sw_error *err) {
    struct sw_tensor *shares, out;
    SW_TRY(take(set, "method_shares", SW_DTYPE_FP32, a->rows * SW_STARLIGHT_METHODS, &shares, err));
    SW_TRY(
        sw_tensor_alloc(&out, arena, SW_STR("method_probabilities"), SW_DTYPE_FP32, shares->shape, shares->rank, err));
    a->shares = shares->data;
    a->probabilities = out.data;
    *shares = out;
    return SW_OK;
}

static sw_status make_answer(struct sw_tensor_set *set, struct answer *a, struct sw_arena *arena,
                             struct sw_error *err) {
    struct sw_tensor *t;
    SW_TRY(take(set, "stego_probability", SW_DTYPE_FP32, a->rows, &t, err));
    a->probability = t->data;
    SW_TRY(take(set, "is_stego", SW_DTYPE_BOOL, a->rows, &t, err));
    a->verdict = t->data;
    SW_TRY(replace_shares(set, a, arena, err));
    SW_TRY(give(set, "method", SW_DTYPE_BYTES, a->rows, (void **)&a->method, arena, err));
    SW_TRY(give(set, "message", SW_DTYPE_BYTES, a->rows, (void **)&a->message, arena, err));
    SW_TRY(give(set, "message_method", SW_DTYPE_BYTES, a->rows, (void **)&a->message_method, arena, err));
    SW_TRY(give(set, "message_bit_order", SW_DTYPE_BYTES, a->rows, (void **)&a->bit_order, arena, err));
    SW_TRY(give(set, "message_marked", SW_DTYPE_BOOL, a->rows, (void **)&a->marked, arena, err));
    return give(set, "image_info", SW_DTYPE_BYTES, a->rows, (void **)&a->info, arena, err);
}

static sw_status output_run(const struct sw_step *step, struct sw_tensor_set *set, struct sw_arena *arena,
                            struct sw_error *err) {
    const struct sw_starlight_images *images = sw_tensor_set_noted(set, &sw_starlight_images_key);
    if (!images) {
        return sw_fail(err, SW_E_INFERENCE_FAILED, "output step starlight: needs the input step starlight");
    }
    struct answer answer = {.rows = images->count};
    SW_TRY(make_answer(set, &answer, arena, err));
    for (size_t i = 0; i < answer.rows; i++) {
        SW_TRY(answer_image(&images->items[i], &answer, i, arena, err));
    }
    return SW_OK;
}

const struct sw_step_ops sw_starlight_output_step = {
    .name = "starlight",
    .side = SW_STEP_OUTPUT,
    .order = 50,
    .summary = "method, hidden message and facts about the image",
    .create = output_create,
    .destroy = output_destroy,
    .run = output_run,
};

void sw_starlight_register_steps(void) {
    sw_step_register(&sw_starlight_input_step);
    sw_step_register(&sw_starlight_output_step);
}
