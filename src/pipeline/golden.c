/* Golden answers: requests with the answers they must give, one JSON object a line.
 *
 * The file is read line by line into one buffer, each line parsed, run through the whole pipeline and compared within
 * an arena that is reset after it; so memory is bounded by the longest line, not by the file. Blank lines are skipped.
 */
#include <errno.h>
#include <math.h>

#include "base/file.h"
#include "base/memory.h"
#include "pipeline/model.h"
#include "pipeline/params.h"
#include "tensor/oip_tensor.h"

enum { LINE_BYTES_MAX = 64 << 20, LINES_MAX = 1000000, FILE_BYTES_MAX = 32 << 20, ARENA_RETAIN = 1 << 20 };
#define ARENA_BYTES_MAX ((size_t)2 << 30)
#define TOLERANCE_DEFAULT 1e-4

/* Times wanted instead of a comparison. */
struct timing {
    uint64_t *ns;
    size_t count, max;
    uint64_t total_ns, total_max_ns;
};

static bool timing_goes_on(const struct timing *timing) {
    return timing->count < timing->max && (timing->count == 0 || timing->total_ns < timing->total_max_ns);
}

struct golden {
    const struct sw_model *model;
    struct sw_clock *clock;
    struct sw_arena *arena;
    struct sw_tensor *inputs, *outputs; /* of the line */
    size_t input_count, output_count;
    double tolerance;
    struct timing *timing; /* NULL: compare */
    struct sw_error *err;
};

/* reading ---------------------------------------------------------------------------------------------------------- */

/* Does the object at the cursor have a key "file"? Looks ahead; the cursor stays. */
static sw_status has_file(struct sw_json json, bool *ret) {
    bool more;
    struct sw_str key;
    *ret = false;
    SW_TRY(sw_json_enter_object(&json));
    SW_TRY(sw_json_object_next(&json, &key, &more));
    while (more) {
        *ret = *ret || sw_str_is(key, "file");
        SW_TRY(sw_json_skip(&json));
        SW_TRY(sw_json_object_next(&json, &key, &more));
    }
    return SW_OK;
}

static sw_status read_file(struct golden *g, struct sw_str name, struct sw_str *ret) {
    SW_AUTO_FREE char *copy = sw_xstrndup(name.data, name.len);
    SW_AUTO_FREE char *path = NULL;
    SW_CLEANUP(sw_buf_deinit) struct sw_buf bytes;
    sw_buf_init(&bytes, FILE_BYTES_MAX);
    if (memchr(name.data ? name.data : "", '\0', name.len)) {
        return sw_fail(g->err, SW_E_MODEL_INVALID, "file: a name with a NUL character");
    }
    SW_TRY(sw_params_file(g->model->bundle->dir, "file", copy, &path, g->err));
    SW_TRY(sw_file_read(path, FILE_BYTES_MAX, &bytes, g->err));
    char *data = sw_arena_alloc(g->arena, bytes.len);
    if (!data) {
        return sw_fail(g->err, SW_E_UNAVAILABLE, "out of memory for %s", path);
    }
    if (bytes.len) {
        memcpy(data, bytes.data, bytes.len);
    }
    *ret = (struct sw_str){data, bytes.len};
    return SW_OK;
}

/* {"name": "image", "file": "samples/7.png"}: the file's bytes as one BYTES element. */
static sw_status read_file_tensor(struct golden *g, struct sw_json *json, struct sw_tensor *ret) {
    bool more;
    struct sw_str key, name = {0}, file = {0};
    SW_TRY(sw_json_enter_object(json));
    SW_TRY(sw_json_object_next(json, &key, &more));
    while (more) {
        if (sw_str_is(key, "name")) {
            SW_TRY(sw_json_string(json, &name));
        } else if (sw_str_is(key, "file")) {
            SW_TRY(sw_json_string(json, &file));
        } else {
            return sw_json_fail(json, "key \"" SW_STR_FMT "\" beside \"file\"", SW_STR_ARG(key));
        }
        SW_TRY(sw_json_object_next(json, &key, &more));
    }
    int64_t shape[1] = {1};
    SW_TRY(sw_tensor_alloc(ret, g->arena, name, SW_DTYPE_BYTES, shape, 1, g->err));
    return read_file(g, file, ret->data);
}

/* The array at the cursor. `specs`: signature to hold inputs to, NULL for outputs. */
static sw_status read_tensors(struct golden *g, struct sw_json *json, const struct sw_tensor_specs *specs,
                              struct sw_tensor **ret, size_t *ret_count) {
    if (*ret) {
        return sw_json_fail(json, "a key appears twice");
    }
    bool more, file;
    size_t count = 0;
    struct sw_tensor *tensors = sw_arena_calloc(g->arena, SW_TENSORS_MAX, sizeof *tensors);
    if (!tensors) {
        return sw_fail(g->err, SW_E_UNAVAILABLE, "out of memory");
    }
    SW_TRY(sw_json_enter_array(json));
    SW_TRY(sw_json_array_next(json, &more));
    while (more) {
        if (count == SW_TENSORS_MAX) {
            return sw_json_fail(json, "more than %d tensors", SW_TENSORS_MAX);
        }
        SW_TRY(has_file(*json, &file));
        SW_TRY(file && specs ? read_file_tensor(g, json, &tensors[count])
                             : sw_oip_read_tensor(json, specs, NULL, &tensors[count]));
        count++;
        SW_TRY(sw_json_array_next(json, &more));
    }
    *ret = tensors;
    *ret_count = count;
    return SW_OK;
}

static sw_status read_line(struct golden *g, struct sw_str line) {
    struct sw_json json;
    bool more;
    struct sw_str key;
    sw_json_init(&json, line, g->arena, g->err);
    SW_TRY(sw_json_enter_object(&json));
    SW_TRY(sw_json_object_next(&json, &key, &more));
    while (more) {
        if (sw_str_is(key, "inputs")) {
            SW_TRY(read_tensors(g, &json, &g->model->inputs, &g->inputs, &g->input_count));
        } else if (sw_str_is(key, "outputs")) {
            SW_TRY(read_tensors(g, &json, NULL, &g->outputs, &g->output_count));
        } else if (sw_str_is(key, "tolerance")) {
            SW_TRY(sw_json_double(&json, &g->tolerance));
        } else {
            return sw_json_fail(&json, "unknown key \"" SW_STR_FMT "\"; known: inputs, outputs, tolerance",
                                SW_STR_ARG(key));
        }
        SW_TRY(sw_json_object_next(&json, &key, &more));
    }
    SW_TRY(sw_json_end(&json));
    if (!g->inputs || g->output_count == 0) {
        return sw_fail(g->err, SW_E_MODEL_INVALID, "inputs and outputs are needed, and at least one output");
    }
    return g->tolerance >= 0 ? SW_OK : sw_fail(g->err, SW_E_MODEL_INVALID, "tolerance is negative");
}

/* comparing -------------------------------------------------------------------------------------------------------- */

static bool is_floating(enum sw_dtype dtype) {
    return dtype == SW_DTYPE_FP16 || dtype == SW_DTYPE_BF16 || dtype == SW_DTYPE_FP32 || dtype == SW_DTYPE_FP64;
}

static double float_at(const struct sw_tensor *t, size_t i) {
    switch (t->dtype) {
    case SW_DTYPE_FP16: return sw_half_to_float(((const uint16_t *)t->data)[i]);
    case SW_DTYPE_BF16: return sw_bf16_to_float(((const uint16_t *)t->data)[i]);
    case SW_DTYPE_FP32: return ((const float *)t->data)[i];
    default: return ((const double *)t->data)[i];
    }
}

static bool element_equal(const struct sw_tensor *want, const struct sw_tensor *got, size_t i, double tolerance) {
    if (is_floating(got->dtype)) {
        double a = float_at(want, i), b = float_at(got, i);
        return fabs(a - b) <= tolerance * fmax(1, fabs(a));
    }
    if (got->dtype == SW_DTYPE_BYTES) {
        return sw_str_eq(((const struct sw_str *)want->data)[i], ((const struct sw_str *)got->data)[i]);
    }
    size_t size = sw_dtype_size(got->dtype);
    return memcmp((const char *)want->data + i * size, (const char *)got->data + i * size, size) == 0;
}

/* Element i as people read it. */
static const char *element_text(const struct sw_tensor *t, size_t i, char *buffer, size_t size) {
    const void *d = t->data;
    switch (t->dtype) {
    case SW_DTYPE_BOOL: snprintf(buffer, size, "%s", ((const uint8_t *)d)[i] ? "true" : "false"); break;
    case SW_DTYPE_UINT8: snprintf(buffer, size, "%u", ((const uint8_t *)d)[i]); break;
    case SW_DTYPE_UINT16: snprintf(buffer, size, "%u", ((const uint16_t *)d)[i]); break;
    case SW_DTYPE_UINT32: snprintf(buffer, size, "%u", ((const uint32_t *)d)[i]); break;
    case SW_DTYPE_UINT64: snprintf(buffer, size, "%llu", (unsigned long long)((const uint64_t *)d)[i]); break;
    case SW_DTYPE_INT8: snprintf(buffer, size, "%d", ((const int8_t *)d)[i]); break;
    case SW_DTYPE_INT16: snprintf(buffer, size, "%d", ((const int16_t *)d)[i]); break;
    case SW_DTYPE_INT32: snprintf(buffer, size, "%d", ((const int32_t *)d)[i]); break;
    case SW_DTYPE_INT64: snprintf(buffer, size, "%lld", (long long)((const int64_t *)d)[i]); break;
    case SW_DTYPE_BYTES: {
        struct sw_str s = ((const struct sw_str *)d)[i];
        snprintf(buffer, size, "\"%.*s\"", (int)(s.len > 60 ? 60 : s.len), s.data ? s.data : "");
        break;
    }
    default: snprintf(buffer, size, "%.9g", float_at(t, i)); break;
    }
    return buffer;
}

static sw_status compare(struct golden *g, const struct sw_tensor *want, const struct sw_tensor *got) {
    char a[128], b[128];
    bool same_kind = want->dtype == got->dtype || (is_floating(want->dtype) && is_floating(got->dtype));
    if (!same_kind) {
        return sw_fail(g->err, SW_E_GOLDEN_MISMATCH, "output '" SW_STR_FMT "': expected %s, got %s",
                       SW_STR_ARG(want->name), sw_dtype_name(want->dtype),
                       got->dtype == SW_DTYPE_INVALID ? "nothing" : sw_dtype_name(got->dtype));
    }
    if (want->rank != got->rank || memcmp(want->shape, got->shape, want->rank * sizeof *want->shape) != 0) {
        return sw_fail(g->err, SW_E_GOLDEN_MISMATCH, "output '" SW_STR_FMT "': expected shape %s, got %s",
                       SW_STR_ARG(want->name), sw_shape_format(want->shape, want->rank, a, sizeof a),
                       sw_shape_format(got->shape, got->rank, b, sizeof b));
    }
    for (size_t i = 0; i < want->count; i++) {
        if (!element_equal(want, got, i, g->tolerance)) {
            char tolerance[48] = "";
            if (is_floating(want->dtype)) {
                snprintf(tolerance, sizeof tolerance, " (tolerance %g)", g->tolerance);
            }
            return sw_fail(g->err, SW_E_GOLDEN_MISMATCH, "output '" SW_STR_FMT "', element %zu: expected %s, got %s%s",
                           SW_STR_ARG(want->name), i, element_text(want, i, a, sizeof a),
                           element_text(got, i, b, sizeof b), tolerance);
        }
    }
    return SW_OK;
}

/* Index of each expected output in the model's signature. */
static sw_status find_wanted(struct golden *g, uint32_t **ret) {
    const struct sw_tensor_specs *specs = &g->model->outputs;
    uint32_t *wanted = sw_arena_calloc(g->arena, g->output_count, sizeof *wanted);
    if (!wanted) {
        return sw_fail(g->err, SW_E_UNAVAILABLE, "out of memory");
    }
    for (size_t i = 0; i < g->output_count; i++) {
        const struct sw_tensor_spec *spec = sw_specs_find(specs, g->outputs[i].name);
        if (!spec) {
            return sw_fail(g->err, SW_E_MODEL_INVALID, "the model has no output '" SW_STR_FMT "'",
                           SW_STR_ARG(g->outputs[i].name));
        }
        wanted[i] = (uint32_t)(spec - specs->items);
    }
    *ret = wanted;
    return SW_OK;
}

static sw_status run_line(struct golden *g) {
    struct sw_inference inference = {
        .inputs = g->inputs, .input_count = g->input_count, .wanted_count = g->output_count};
    uint32_t *wanted = NULL;
    SW_TRY(find_wanted(g, &wanted));
    inference.wanted = wanted;
    sw_status status = sw_model_infer(g->model, &inference, g->arena, g->clock, g->err);
    if (status) {
        if (g->err) {
            g->err->code = SW_E_GOLDEN_MISMATCH;
        }
        return SW_E_GOLDEN_MISMATCH;
    }
    if (g->timing) {
        uint64_t ns = inference.pre_ns + inference.run_ns + inference.post_ns;
        g->timing->ns[g->timing->count++] = ns;
        g->timing->total_ns += ns;
        return SW_OK;
    }
    for (size_t i = 0; i < g->output_count; i++) {
        SW_TRY(compare(g, &g->outputs[i], &inference.outputs[i]));
    }
    return SW_OK;
}

/* A fault in the file is a fault of the bundle. */
static sw_status as_model_fault(sw_status status, struct sw_error *err) {
    if (status == SW_E_INVALID_ARGUMENT || status == SW_E_NOT_FOUND || status == SW_E_TOO_LARGE) {
        status = SW_E_MODEL_INVALID;
        if (err) {
            err->code = status;
        }
    }
    return status;
}

static sw_status check_line(const struct sw_model *model, struct sw_clock *clock, struct sw_arena *arena,
                            struct sw_str line, struct timing *timing, struct sw_error *err) {
    struct golden g = {
        .model = model, .clock = clock, .arena = arena, .tolerance = TOLERANCE_DEFAULT, .timing = timing, .err = err};
    sw_status status = read_line(&g, line);
    return status ? as_model_fault(status, err) : run_line(&g);
}

/* One line without its end into the buffer; *ret_more false at the end of the file. */
static sw_status next_line(FILE *file, struct sw_buf *line, bool *ret_more, struct sw_error *err) {
    char part[16384];
    sw_buf_clear(line);
    *ret_more = false;
    while (fgets(part, sizeof part, file)) {
        size_t n = strlen(part);
        bool end = n > 0 && part[n - 1] == '\n';
        sw_buf_append(line, part, n - end);
        *ret_more = true;
        if (line->failed) {
            return sw_fail(err, SW_E_MODEL_INVALID, "longer than %d bytes", LINE_BYTES_MAX);
        }
        if (end) {
            return SW_OK;
        }
    }
    return ferror(file) ? sw_fail(err, SW_E_IO, "%s", strerror(errno)) : SW_OK;
}

static sw_status check_file(const struct sw_model *model, struct sw_clock *clock, FILE *file, struct timing *timing,
                            size_t *ret_count, size_t *ret_line, struct sw_error *err) {
    SW_CLEANUP(sw_buf_deinit) struct sw_buf line;
    SW_CLEANUP(sw_arena_deinit) struct sw_arena arena;
    sw_buf_init(&line, LINE_BYTES_MAX);
    sw_arena_init(&arena, ARENA_BYTES_MAX, ARENA_RETAIN);
    size_t count = 0;
    for (*ret_line = 1; !timing || timing_goes_on(timing); ++*ret_line) {
        bool more;
        SW_TRY(next_line(file, &line, &more, err));
        if (!more) {
            break;
        }
        struct sw_str text = sw_buf_str(&line);
        while (text.len && (text.data[text.len - 1] == '\r' || text.data[text.len - 1] == ' ')) {
            text.len--;
        }
        if (text.len == 0) {
            continue;
        }
        if (++count > LINES_MAX) {
            return sw_fail(err, SW_E_MODEL_INVALID, "more than %d requests", LINES_MAX);
        }
        SW_TRY(check_line(model, clock, &arena, text, timing, err));
        sw_arena_reset(&arena);
    }
    if (count == 0) {
        return sw_fail(err, SW_E_MODEL_INVALID, "the file holds no request");
    }
    *ret_count = count;
    return SW_OK;
}

static sw_status run_file(const struct sw_model *model, struct sw_clock *clock, struct timing *timing,
                          size_t *ret_count, struct sw_error *err) {
    const char *path = model->bundle->golden_path;
    FILE *file = fopen(path, "re");
    if (!file) {
        return sw_fail(err, errno == ENOENT ? SW_E_NOT_FOUND : SW_E_IO, "%s: %s", path, strerror(errno));
    }
    size_t line = 0;
    sw_status status;
    do {
        rewind(file);
        status = check_file(model, clock, file, timing, ret_count, &line, err);
    } while (!status && timing && timing_goes_on(timing));
    fclose(file);
    if (status && err) {
        sw_error_prefix(err, "%s line %zu", path, line);
    }
    return status;
}

sw_status sw_golden_check(const struct sw_model *model, struct sw_clock *clock, size_t *ret_count,
                          struct sw_error *err) {
    if (!model->bundle->golden_path) {
        *ret_count = 0;
        return SW_OK;
    }
    return run_file(model, clock, NULL, ret_count, err);
}

sw_status sw_golden_time(const struct sw_model *model, struct sw_clock *clock, size_t count, uint64_t total_max_ns,
                         uint64_t *ret_ns, size_t *ret_count, struct sw_error *err) {
    struct timing timing = {.ns = ret_ns, .max = count, .total_max_ns = total_max_ns};
    size_t lines;
    SW_ASSERT(count > 0);
    if (!model->bundle->golden_path) {
        return sw_fail(err, SW_E_NOT_FOUND, "the bundle has no golden requests");
    }
    SW_TRY(run_file(model, clock, &timing, &lines, err));
    *ret_count = timing.count;
    return SW_OK;
}
