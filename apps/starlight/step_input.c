/* The input step: image files to the streams that the model asks for. See step.h. */
#include "apps/starlight/step.h"

#include "apps/starlight/step_internal.h"
#include "apps/starlight/streams.h"
#include "base/memory.h"
#include "pipeline/params.h"

enum { STREAMS_MAX = 16, IMAGES_DEFAULT = 64 };

const char sw_starlight_images_key = 0;

struct input_step {
    struct sw_step step;
    struct sw_starlight_limits limits;
    enum sw_starlight_wanted wanted;
    int64_t images_max;
    size_t count; /* of the model's inputs */
    struct {
        const struct sw_starlight_stream *stream;
        struct sw_tensor_spec spec; /* the model's; name and dimensions owned */
    } inputs[STREAMS_MAX];
};

/* making the step -------------------------------------------------------------------------------------------------- */

static void input_destroy(struct sw_step *step) {
    struct input_step *s = (struct input_step *)step;
    for (size_t i = 0; i < s->count; i++) {
        sw_free(s->inputs[i].spec.name);
    }
    sw_free(s);
}

static uint64_t bytes_default, pixels_default; /* 0: as the decoder has it */

void sw_starlight_set_limits(uint64_t bytes_max, uint64_t pixels_max) {
    bytes_default = bytes_max;
    pixels_default = pixels_max;
}

static sw_status read_limits(const struct sw_params *p, struct input_step *s) {
    int64_t bytes = (int64_t)s->limits.encoded_max, pixels = (int64_t)s->limits.pixels_max;
    SW_TRY(sw_params_int(p, "max_bytes", 1, INT64_C(1) << 30, &bytes));
    SW_TRY(sw_params_int(p, "max_pixels", 1, 1000 * 1000 * 1000, &pixels));
    SW_TRY(sw_params_int(p, "max_images", 1, 65536, &s->images_max));
    s->limits.encoded_max = (uint64_t)bytes;
    s->limits.pixels_max = (uint64_t)pixels;
    return SW_OK;
}

static sw_status take_input(const struct sw_tensor_spec *spec, struct input_step *s, struct sw_error *err) {
    const struct sw_starlight_stream *stream = sw_starlight_stream_find(sw_str_of(spec->name));
    if (!stream) {
        return sw_fail(err, SW_E_MODEL_INVALID, "input: starlight has no stream '%.80s' for the model's input",
                       spec->name);
    }
    if (s->count == STREAMS_MAX) {
        return sw_fail(err, SW_E_MODEL_INVALID, "input: the model has more than %d inputs", STREAMS_MAX);
    }
    SW_TRY(sw_starlight_stream_check(stream, spec, err));
    if (sw_starlight_stream_needs_pixels(stream)) {
        s->wanted = SW_STARLIGHT_ALL_PIXELS;
    }
    s->inputs[s->count].stream = stream;
    s->inputs[s->count].spec = *spec;
    s->inputs[s->count].spec.name = sw_xstrdup(spec->name);
    s->count++;
    return SW_OK;
}

static sw_status input_read(const struct sw_params *p, struct sw_tensor_specs *specs, struct input_step *s) {
    static const char *const known[] = {"kind", "max_bytes", "max_pixels", "max_images", NULL};
    SW_TRY(sw_params_only(p, known));
    SW_TRY(read_limits(p, s));
    for (size_t i = 0; i < specs->count; i++) {
        SW_TRY(take_input(&specs->items[i], s, p->err));
    }
    if (s->count == 0) {
        return sw_fail(p->err, SW_E_MODEL_INVALID, "input: the model has no input");
    }
    struct sw_tensor_spec image = {.name = sw_xstrdup("image"), .dtype = SW_DTYPE_BYTES, .rank = 1};
    image.shape[0] = specs->items[0].shape[0];
    image.dimension_name[0] = sw_xstrdup(specs->items[0].dimension_name[0]);
    sw_specs_deinit(specs);
    specs->items = sw_xcalloc(1, sizeof *specs->items);
    specs->items[0] = image;
    specs->count = 1;
    return SW_OK;
}

static sw_status input_create(json_t *params, const char *bundle_dir, struct sw_tensor_specs *specs,
                              struct sw_step **ret, struct sw_error *err) {
    struct sw_params p = {.object = params, .path = "input", .err = err};
    struct input_step *s = SW_NEW(struct input_step);
    s->step.ops = &sw_starlight_input_step;
    s->limits = sw_starlight_limits_default;
    s->limits.encoded_max = bytes_default ? bytes_default : s->limits.encoded_max;
    s->limits.pixels_max = pixels_default ? pixels_default : s->limits.pixels_max;
    s->images_max = IMAGES_DEFAULT;
    sw_status status = input_read(&p, specs, s);
    if (status) {
        input_destroy(&s->step);
        return status;
    }
    *ret = &s->step;
    return SW_OK;
}

/* running ---------------------------------------------------------------------------------------------------------- */

static void forget_images(void *arg) {
    struct sw_starlight_images *images = arg;
    for (size_t i = 0; i < images->count; i++) {
        sw_starlight_image_deinit(&images->items[i].image);
    }
}

static sw_status keep_images(struct sw_tensor_set *set, size_t count, struct sw_arena *arena,
                             struct sw_starlight_images **ret, struct sw_error *err) {
    struct sw_starlight_images *images = sw_arena_calloc(arena, 1, sizeof *images);
    struct sw_starlight_seen *items = sw_arena_calloc(arena, count, sizeof *items);
    if (!images || !items || !sw_arena_defer(arena, forget_images, images)) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
    }
    images->items = items;
    *ret = images;
    return sw_tensor_set_note(set, arena, &sw_starlight_images_key, images, err);
}

static sw_status decode_images(const struct input_step *s, const struct sw_tensor *in,
                               struct sw_starlight_images *images, struct sw_error *err) {
    const struct sw_str *files = in->data;
    for (size_t i = 0; i < in->count; i++) {
        struct sw_starlight_seen *seen = &images->items[i];
        sw_status status = sw_starlight_decode(files[i], &s->limits, s->wanted, &seen->image, err);
        if (status) {
            if (err && in->count > 1) {
                sw_error_prefix(err, "input 'image', element %zu", i);
            }
            return status;
        }
        seen->bytes = files[i].len;
        images->count = i + 1;
    }
    return SW_OK;
}

static sw_status write_stream(const struct sw_starlight_stream *stream, const struct sw_tensor_spec *spec,
                              const struct sw_starlight_images *images, struct sw_tensor_set *set,
                              struct sw_arena *arena, struct sw_error *err) {
    struct sw_tensor tensor;
    int64_t shape[SW_RANK_MAX];
    memcpy(shape, spec->shape, sizeof shape);
    shape[0] = (int64_t)images->count;
    SW_TRY(sw_tensor_alloc(&tensor, arena, sw_str_of(spec->name), spec->dtype, shape, spec->rank, err));
    for (size_t i = 0; i < images->count; i++) {
        sw_starlight_stream_write(stream, &images->items[i].image, &tensor, i);
    }
    struct sw_tensor *added = sw_tensor_set_add(set, arena);
    if (!added) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
    }
    *added = tensor;
    return SW_OK;
}

static sw_status input_run(const struct sw_step *step, struct sw_tensor_set *set, struct sw_arena *arena,
                           struct sw_error *err) {
    const struct input_step *s = (const struct input_step *)step;
    const struct sw_tensor *found = sw_tensor_set_find(set, SW_STR("image"));
    if (!found || found->dtype != SW_DTYPE_BYTES) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "input 'image' of type BYTES is missing");
    }
    struct sw_tensor files = *found;
    if (files.count == 0 || files.count > (size_t)s->images_max) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "input 'image': %zu images; 1 to %lld are taken at once",
                       files.count, (long long)s->images_max);
    }
    struct sw_starlight_images *images = NULL;
    SW_TRY(keep_images(set, files.count, arena, &images, err));
    SW_TRY(decode_images(s, &files, images, err));
    set->count = 0; /* `image` was the only input */
    for (size_t i = 0; i < s->count; i++) {
        SW_TRY(write_stream(s->inputs[i].stream, &s->inputs[i].spec, images, set, arena, err));
    }
    return SW_OK;
}

/* Any image/... type and undeclared bytes: the content says what it is. */
static bool input_accepts(const struct sw_step *step, struct sw_str media_type) {
    struct sw_str prefix = {media_type.data, media_type.len < 6 ? media_type.len : 6};
    return sw_str_ieq(prefix, SW_STR("image/"));
}

const struct sw_step_ops sw_starlight_input_step = {
    .name = "starlight",
    .side = SW_STEP_INPUT,
    .summary = "image files to the streams of Starlight that the model's inputs are called after",
    .create = input_create,
    .destroy = input_destroy,
    .run = input_run,
    .accepts_body = input_accepts,
};
