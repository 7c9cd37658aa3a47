/* Requests for bench: zeros, a file, or a golden request. */
#include "cli/bench_input.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "tensor/oip_tensor.h"

enum { FILE_BYTES_MAX = 1 << 30, ARENA_RETAIN = 1 << 20 };

/* Whole file into the arena. */
static sw_status read_into(const char *path, struct sw_arena *arena, struct sw_str *ret, struct sw_error *err) {
    struct sw_buf text;
    SW_TRY(sw_file_read(path, FILE_BYTES_MAX, &text, err));
    char *copy = sw_arena_strdup(arena, sw_buf_str(&text));
    *ret = (struct sw_str){copy, text.len};
    sw_buf_deinit(&text);
    return copy ? SW_OK : sw_fail(err, SW_E_TOO_LARGE, "%s: out of memory", path);
}

/* Does the model take these tensors? */
static sw_status try_run(const struct sw_model *model, const struct sw_bench_input *input, struct sw_error *err) {
    struct sw_arena arena;
    sw_arena_init(&arena, 0, ARENA_RETAIN);
    struct sw_inference inference = {.inputs = input->tensors, .input_count = input->count};
    sw_status status = sw_model_infer(model, &inference, &arena, sw_clock_system(), err);
    sw_arena_deinit(&arena);
    return status;
}

/* --- zeros ------------------------------------------------------------------------------------------------------- */

static sw_status make_zeros(const struct sw_model *model, int64_t batch, struct sw_arena *arena,
                            struct sw_bench_input *ret, struct sw_error *err) {
    const struct sw_tensor_specs *specs = &model->inputs;
    struct sw_tensor_spec *items = sw_arena_calloc(arena, specs->count, sizeof *items);
    if (!items) {
        return sw_fail(err, SW_E_TOO_LARGE, "out of memory");
    }
    bool free_rows = false;
    for (size_t i = 0; i < specs->count; i++) {
        items[i] = specs->items[i];
        if (items[i].rank > 0 && items[i].shape[0] < 0) {
            items[i].shape[0] = batch;
            free_rows = true;
        }
    }
    if (batch > 1 && !free_rows) {
        return sw_fail(err, SW_E_USAGE, "--batch %lld: no input of model %s has a free dimension 0", (long long)batch,
                       model->name);
    }
    struct sw_tensor_specs fixed = {items, specs->count};
    SW_TRY(sw_model_zero_inputs(&fixed, 1, arena, &ret->tensors, err));
    ret->count = specs->count;
    ret->source = "zeros";
    return SW_OK;
}

/* --- requests in JSON -------------------------------------------------------------------------------------------- */

/* An input of a golden request may name a file of the bundle instead of data: {"name": "image", "file": "7.png"}. */
static sw_status read_file_input(struct sw_json *json, const struct sw_model *model, struct sw_arena *arena,
                                 struct sw_tensor *ret, bool *ret_is_file, struct sw_error *err) {
    struct sw_json ahead = *json;
    struct sw_str name = {0}, file = {0}, key;
    bool more;
    SW_TRY(sw_json_enter_object(&ahead));
    for (;;) {
        SW_TRY(sw_json_object_next(&ahead, &key, &more));
        if (!more) {
            break;
        }
        if (sw_str_is(key, "name")) {
            SW_TRY(sw_json_string(&ahead, &name));
        } else if (sw_str_is(key, "file")) {
            SW_TRY(sw_json_string(&ahead, &file));
        } else {
            SW_TRY(sw_json_skip(&ahead));
        }
    }
    *ret_is_file = file.data != NULL;
    if (!file.data) {
        return SW_OK;
    }
    if (!sw_path_is_inside(file)) {
        return sw_fail(err, SW_E_MODEL_INVALID, "golden file " SW_STR_FMT " lies outside the bundle", SW_STR_ARG(file));
    }
    char *relative = sw_arena_strdup(arena, file);
    if (!relative) {
        return sw_fail(err, SW_E_TOO_LARGE, "out of memory");
    }
    char *path SW_AUTO_FREE = sw_path_join(model->bundle->dir, relative);
    struct sw_str bytes;
    const struct sw_tensor_spec *spec = sw_specs_find(&model->inputs, name);
    uint32_t rank = spec ? spec->rank : 1;
    int64_t shape[SW_RANK_MAX];
    for (uint32_t i = 0; i < rank; i++) {
        shape[i] = 1;
    }
    SW_TRY(read_into(path, arena, &bytes, err));
    SW_TRY(sw_tensor_alloc(ret, arena, name, SW_DTYPE_BYTES, shape, rank, err));
    *(struct sw_str *)ret->data = bytes;
    *json = ahead;
    return SW_OK;
}

static sw_status read_inputs(struct sw_json *json, const struct sw_model *model, struct sw_arena *arena,
                             struct sw_bench_input *ret, struct sw_error *err) {
    bool more;
    ret->tensors = sw_arena_calloc(arena, SW_TENSORS_MAX, sizeof *ret->tensors);
    if (!ret->tensors) {
        return sw_fail(err, SW_E_TOO_LARGE, "out of memory");
    }
    SW_TRY(sw_json_enter_array(json));
    for (;;) {
        SW_TRY(sw_json_array_next(json, &more));
        if (!more) {
            return SW_OK;
        }
        if (ret->count == SW_TENSORS_MAX) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "more than %d inputs", SW_TENSORS_MAX);
        }
        struct sw_tensor *tensor = &ret->tensors[ret->count++];
        bool is_file;
        SW_TRY(read_file_input(json, model, arena, tensor, &is_file, err));
        if (!is_file) {
            SW_TRY(sw_oip_read_tensor(json, &model->inputs, NULL, tensor));
        }
    }
}

/* {"inputs": [...], ...} */
static sw_status parse_request(struct sw_str text, const struct sw_model *model, struct sw_arena *arena,
                               struct sw_bench_input *ret, struct sw_error *err) {
    struct sw_json json;
    struct sw_str key;
    bool more, found = false;
    sw_json_init(&json, text, arena, err);
    SW_TRY(sw_json_enter_object(&json));
    for (;;) {
        SW_TRY(sw_json_object_next(&json, &key, &more));
        if (!more) {
            break;
        }
        if (sw_str_is(key, "inputs")) {
            SW_TRY(read_inputs(&json, model, arena, ret, err));
            found = true;
        } else {
            SW_TRY(sw_json_skip(&json));
        }
    }
    SW_TRY(sw_json_end(&json));
    return found ? SW_OK : sw_fail(err, SW_E_INVALID_ARGUMENT, "the request has no \"inputs\"");
}

static sw_status make_golden(const struct sw_model *model, struct sw_arena *arena, struct sw_bench_input *ret,
                             struct sw_error *err) {
    struct sw_str text, line;
    SW_TRY(read_into(model->bundle->golden_path, arena, &text, err));
    do {
        text = sw_str_split(text, '\n', &line);
        line = sw_str_trim(line);
    } while (line.len == 0 && text.data);
    ret->source = "golden";
    return parse_request(line, model, arena, ret, err);
}

/* --- a file ------------------------------------------------------------------------------------------------------ */

/* The input that takes raw bytes: the only one, BYTES. */
static const struct sw_tensor_spec *bytes_input(const struct sw_model *model) {
    return model->inputs.count == 1 && model->inputs.items[0].dtype == SW_DTYPE_BYTES ? &model->inputs.items[0] : NULL;
}

static sw_status make_from_file(const struct sw_model *model, const char *path, struct sw_arena *arena,
                                struct sw_bench_input *ret, struct sw_error *err) {
    struct sw_str text;
    SW_TRY(read_into(path, arena, &text, err));
    ret->source = path;
    size_t blanks = 0;
    while (blanks < text.len && strchr(" \t\r\n", text.data[blanks])) {
        blanks++;
    }
    if (blanks < text.len && text.data[blanks] == '{') {
        sw_status status = parse_request(text, model, arena, ret, err);
        return status ? sw_error_prefix(err, "%s", path) : SW_OK;
    }
    const struct sw_tensor_spec *spec = bytes_input(model);
    if (!spec) {
        return sw_fail(err, SW_E_USAGE, "%s is not a JSON request, and model %s does not take one BYTES input", path,
                       model->name);
    }
    int64_t shape[SW_RANK_MAX];
    for (uint32_t i = 0; i < spec->rank; i++) {
        shape[i] = 1;
    }
    ret->tensors = sw_arena_calloc(arena, 1, sizeof *ret->tensors);
    if (!ret->tensors) {
        return sw_fail(err, SW_E_TOO_LARGE, "out of memory");
    }
    SW_TRY(sw_tensor_alloc(ret->tensors, arena, sw_str_of(spec->name), SW_DTYPE_BYTES, shape, spec->rank, err));
    *(struct sw_str *)ret->tensors->data = text;
    ret->count = 1;
    return SW_OK;
}

/* --- which ------------------------------------------------------------------------------------------------------- */

static sw_status make(const struct sw_model *model, const char *file, int64_t batch, struct sw_arena *arena,
                      struct sw_bench_input *ret, struct sw_error *err) {
    if (file) {
        if (batch > 1) {
            return sw_fail(err, SW_E_USAGE, "--batch does not go with --input: the file says how many rows there are");
        }
        SW_TRY(make_from_file(model, file, arena, ret, err));
        return try_run(model, ret, err);
    }
    SW_TRY(make_zeros(model, batch, arena, ret, err));
    sw_status status = try_run(model, ret, err);
    if (status == SW_OK) {
        return SW_OK;
    }
    if (batch > 1 || !model->bundle->golden_path) {
        return sw_error_prefix(err, "the model does not take zeros; give it a request with --input FILE");
    }
    *ret = (struct sw_bench_input){0};
    SW_TRY(make_golden(model, arena, ret, err));
    return try_run(model, ret, err);
}

sw_status sw_bench_input_make(const struct sw_model *model, const char *file, int64_t batch, struct sw_arena *arena,
                              struct sw_bench_input *ret, struct sw_error *err) {
    struct sw_bench_input input = {0};
    SW_TRY(make(model, file, batch, arena, &input, err));
    const struct sw_tensor *first = input.count ? &input.tensors[0] : NULL;
    input.batch = model->batchable && first && first->rank > 0 ? first->shape[0] : 1;
    *ret = input;
    return SW_OK;
}

/* --- more rows ---------------------------------------------------------------------------------------------------- */

static sw_status repeat_tensor(const struct sw_tensor *from, const struct sw_tensor_spec *spec, int64_t times,
                               struct sw_arena *arena, struct sw_tensor *ret, struct sw_error *err) {
    int64_t shape[SW_RANK_MAX];
    if (!spec || from->rank == 0 || spec->shape[0] >= 0) {
        return sw_fail(err, SW_E_USAGE, "input " SW_STR_FMT " has no free dimension 0", SW_STR_ARG(from->name));
    }
    memcpy(shape, from->shape, sizeof shape);
    if (__builtin_mul_overflow(shape[0], times, &shape[0])) {
        return sw_fail(err, SW_E_TOO_LARGE, "too many rows");
    }
    SW_TRY(sw_tensor_alloc(ret, arena, from->name, from->dtype, shape, from->rank, err));
    size_t bytes = from->count * sw_dtype_size(from->dtype);
    for (int64_t i = 0; i < times && bytes > 0; i++) {
        memcpy((char *)ret->data + (size_t)i * bytes, from->data, bytes);
    }
    return SW_OK;
}

sw_status sw_bench_input_repeat(const struct sw_model *model, const struct sw_bench_input *input, int64_t times,
                                struct sw_arena *arena, struct sw_bench_input *ret, struct sw_error *err) {
    struct sw_bench_input made = {.count = input->count, .source = input->source, .batch = input->batch * times};
    if (times == 1) {
        *ret = *input;
        return SW_OK;
    }
    made.tensors = sw_arena_calloc(arena, input->count, sizeof *made.tensors);
    if (!made.tensors) {
        return sw_fail(err, SW_E_TOO_LARGE, "out of memory");
    }
    for (size_t i = 0; i < input->count; i++) {
        const struct sw_tensor *from = &input->tensors[i];
        SW_TRY(repeat_tensor(from, sw_specs_find(&model->inputs, from->name), times, arena, &made.tensors[i], err));
    }
    SW_TRY(try_run(model, &made, err));
    *ret = made;
    return SW_OK;
}
