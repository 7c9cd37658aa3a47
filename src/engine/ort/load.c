/* Loading: file checks, session, declared inputs and outputs, facts for `validate`.
 *
 * Runs on a loader thread. Everything a run needs is worked out here once: names as plain arrays, dtypes, shapes. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "engine/ort/onnx_head.h"
#include "engine/ort/ort_internal.h"

enum { FACTS_MAX = 256, INPUTS_MAX = 4096 };

static const struct {
    enum sw_dtype dtype;
    const char *name; /* as ONNX calls it, for those without a dtype */
} elements[ORT_ELEMENT_COUNT] = {
    [ORT_FLOAT] = {SW_DTYPE_FP32, "float"},
    [ORT_UINT8] = {SW_DTYPE_UINT8, "uint8"},
    [ORT_INT8] = {SW_DTYPE_INT8, "int8"},
    [ORT_UINT16] = {SW_DTYPE_UINT16, "uint16"},
    [ORT_INT16] = {SW_DTYPE_INT16, "int16"},
    [ORT_INT32] = {SW_DTYPE_INT32, "int32"},
    [ORT_INT64] = {SW_DTYPE_INT64, "int64"},
    [ORT_STRING] = {SW_DTYPE_BYTES, "string"},
    [ORT_BOOL] = {SW_DTYPE_BOOL, "bool"},
    [ORT_FLOAT16] = {SW_DTYPE_FP16, "float16"},
    [ORT_DOUBLE] = {SW_DTYPE_FP64, "double"},
    [ORT_UINT32] = {SW_DTYPE_UINT32, "uint32"},
    [ORT_UINT64] = {SW_DTYPE_UINT64, "uint64"},
    [ORT_COMPLEX64] = {SW_DTYPE_INVALID, "complex64"},
    [ORT_COMPLEX128] = {SW_DTYPE_INVALID, "complex128"},
    [ORT_BFLOAT16] = {SW_DTYPE_BF16, "bfloat16"},
};

enum sw_dtype ort_dtype_of(int element) {
    return element >= 0 && element < ORT_ELEMENT_COUNT ? elements[element].dtype : SW_DTYPE_INVALID;
}

int ort_element_of(enum sw_dtype dtype) {
    static const unsigned char table[SW_DTYPE_COUNT] = {
        [SW_DTYPE_BOOL] = ORT_BOOL,     [SW_DTYPE_UINT8] = ORT_UINT8,   [SW_DTYPE_UINT16] = ORT_UINT16,
        [SW_DTYPE_UINT32] = ORT_UINT32, [SW_DTYPE_UINT64] = ORT_UINT64, [SW_DTYPE_INT8] = ORT_INT8,
        [SW_DTYPE_INT16] = ORT_INT16,   [SW_DTYPE_INT32] = ORT_INT32,   [SW_DTYPE_INT64] = ORT_INT64,
        [SW_DTYPE_FP16] = ORT_FLOAT16,  [SW_DTYPE_FP32] = ORT_FLOAT,    [SW_DTYPE_FP64] = ORT_DOUBLE,
        [SW_DTYPE_BF16] = ORT_BFLOAT16, [SW_DTYPE_BYTES] = ORT_STRING,
    };
    return table[dtype];
}

/* --- inputs and outputs --- */

typedef struct ort_status *get_name_fn(const struct ort_handle *, size_t, struct ort_allocator *, char **);
typedef struct ort_status *get_type_fn(const struct ort_handle *, size_t, struct ort_type_info **);

struct source {
    const char *what; /* "input", "output": for messages */
    get_name_fn *get_name;
    get_type_fn *get_type;
    bool optional;
};

static const char *kind_name(int kind) {
    static const char *const names[] = {
        [ORT_KIND_TENSOR] = "tensor", [ORT_KIND_SEQUENCE] = "sequence",    [ORT_KIND_MAP] = "map",
        [ORT_KIND_OPAQUE] = "opaque", [ORT_KIND_SPARSE] = "sparse tensor", [ORT_KIND_OPTIONAL] = "optional",
    };
    return kind > 0 && kind < (int)SW_COUNTOF(names) ? names[kind] : "unknown";
}

static sw_status read_shape(struct ort_engine *e, const struct ort_shape_info *info, const char *what,
                            struct sw_tensor_spec *spec, struct sw_error *err) {
    const struct ort_api *api = &e->api;
    int element = 0;
    ORT_TRY(e, SW_E_MODEL_INVALID, err, api->GetTensorElementType(info, &element));
    spec->dtype = ort_dtype_of(element);
    if (!spec->dtype) {
        const char *name = element > 0 && element < ORT_ELEMENT_COUNT ? elements[element].name : NULL;
        return sw_fail(err, SW_E_MODEL_INVALID, "%s '%s' has element type %s, which cannot be served", what, spec->name,
                       name ? name : "unknown to this server");
    }
    size_t rank = 0;
    ORT_TRY(e, SW_E_MODEL_INVALID, err, api->GetDimensionsCount(info, &rank));
    if (rank > SW_RANK_MAX) {
        return sw_fail(err, SW_E_MODEL_INVALID, "%s '%s' has %zu dimensions; at most %d can be served", what,
                       spec->name, rank, SW_RANK_MAX);
    }
    spec->rank = (uint32_t)rank;
    const char *symbols[SW_RANK_MAX] = {0};
    ORT_TRY(e, SW_E_MODEL_INVALID, err, api->GetDimensions(info, spec->shape, rank));
    ORT_TRY(e, SW_E_MODEL_INVALID, err, api->GetSymbolicDimensions(info, symbols, rank));
    for (size_t i = 0; i < rank; i++) {
        if (spec->shape[i] < 0) {
            spec->shape[i] = -1;
            spec->dimension_name[i] = symbols[i] && symbols[i][0] ? sw_xstrdup(symbols[i]) : NULL;
        }
    }
    return SW_OK;
}

static sw_status read_type(struct ort_engine *e, const struct ort_type_info *type, const char *what,
                           struct sw_tensor_spec *spec, struct sw_error *err) {
    int kind = 0;
    ORT_TRY(e, SW_E_MODEL_INVALID, err, e->api.GetOnnxTypeFromTypeInfo(type, &kind));
    if (kind != ORT_KIND_TENSOR) {
        return sw_fail(err, SW_E_MODEL_INVALID, "%s '%s' is of kind %s; only tensors can be served", what, spec->name,
                       kind_name(kind));
    }
    const struct ort_shape_info *info = NULL;
    ORT_TRY(e, SW_E_MODEL_INVALID, err, e->api.CastTypeInfoToTensorInfo(type, &info));
    if (!info) {
        return sw_fail(err, SW_E_MODEL_INVALID, "%s '%s' has no tensor type", what, spec->name);
    }
    return read_shape(e, info, what, spec, err);
}

static sw_status read_spec(struct ort_session *s, const struct source *source, size_t index,
                           struct sw_tensor_specs *specs, struct sw_error *err) {
    struct ort_engine *e = s->engine;
    struct sw_tensor_spec *spec = &specs->items[specs->count++]; /* zeroed; sw_specs_deinit takes it half filled */
    spec->optional = source->optional;
    char *name = NULL;
    ORT_TRY(e, SW_E_MODEL_INVALID, err, source->get_name(s->handle, index, e->allocator, &name));
    spec->name = sw_xstrdup(name);
    ORT_TRY(e, SW_E_INTERNAL, err, e->api.AllocatorFree(e->allocator, name));
    struct ort_type_info *type = NULL;
    ORT_TRY(e, SW_E_MODEL_INVALID, err, source->get_type(s->handle, index, &type));
    sw_status status = read_type(e, type, source->what, spec, err);
    e->api.ReleaseTypeInfo(type);
    return status;
}

static sw_status read_inputs(struct ort_session *s, struct sw_error *err) {
    const struct ort_api *api = &s->engine->api;
    size_t required = 0, overridable = 0;
    ORT_TRY(s->engine, SW_E_MODEL_INVALID, err, api->SessionGetInputCount(s->handle, &required));
    ORT_TRY(s->engine, SW_E_MODEL_INVALID, err, api->SessionGetOverridableInitializerCount(s->handle, &overridable));
    if (required > INPUTS_MAX || overridable > INPUTS_MAX) {
        return sw_fail(err, SW_E_MODEL_INVALID, "more than %d inputs", INPUTS_MAX);
    }
    const struct source inputs = {"input", api->SessionGetInputName, api->SessionGetInputTypeInfo, false};
    const struct source defaults = {"input", api->SessionGetOverridableInitializerName,
                                    api->SessionGetOverridableInitializerTypeInfo, true};
    s->inputs.items = sw_xcalloc(required + overridable, sizeof *s->inputs.items);
    for (size_t i = 0; i < required; i++) {
        SW_TRY(read_spec(s, &inputs, i, &s->inputs, err));
    }
    for (size_t i = 0; i < overridable; i++) {
        SW_TRY(read_spec(s, &defaults, i, &s->inputs, err));
    }
    s->input_names = sw_xcalloc(s->inputs.count, sizeof *s->input_names);
    s->input_keys = sw_xcalloc(s->inputs.count, sizeof *s->input_keys);
    for (size_t i = 0; i < s->inputs.count; i++) {
        s->input_names[i] = s->inputs.items[i].name;
        s->input_keys[i] = sw_str_of(s->inputs.items[i].name);
    }
    return SW_OK;
}

static sw_status read_outputs(struct ort_session *s, struct sw_error *err) {
    const struct ort_api *api = &s->engine->api;
    size_t count = 0;
    ORT_TRY(s->engine, SW_E_MODEL_INVALID, err, api->SessionGetOutputCount(s->handle, &count));
    if (count > INPUTS_MAX) {
        return sw_fail(err, SW_E_MODEL_INVALID, "more than %d outputs", INPUTS_MAX);
    }
    const struct source outputs = {"output", api->SessionGetOutputName, api->SessionGetOutputTypeInfo, false};
    s->outputs.items = sw_xcalloc(count, sizeof *s->outputs.items);
    for (size_t i = 0; i < count; i++) {
        SW_TRY(read_spec(s, &outputs, i, &s->outputs, err));
    }
    s->output_names = sw_xcalloc(count, sizeof *s->output_names);
    for (size_t i = 0; i < count; i++) {
        s->output_names[i] = s->outputs.items[i].name;
    }
    return SW_OK;
}

/* --- facts --- */

static void add_fact(struct ort_session *s, const char *prefix, const char *key, const char *value) {
    if (!value || !*value || s->fact_count >= FACTS_MAX) {
        return;
    }
    s->facts = sw_xrealloc(s->facts, (s->fact_count + 1) * sizeof *s->facts);
    size_t size = strlen(prefix) + strlen(key) + 1;
    char *full = sw_xmalloc(size);
    snprintf(full, size, "%s%s", prefix, key);
    s->facts[s->fact_count].key = full;
    s->facts[s->fact_count++].value = sw_xstrdup(value);
}

static void add_fact_number(struct ort_session *s, const char *prefix, const char *key, int64_t number) {
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)number);
    add_fact(s, prefix, key, text);
}

/* Metadata is extra: a call that fails leaves its fact out. */
static bool ok(const struct ort_api *api, struct ort_status *status) {
    api->ReleaseStatus(status);
    return !status;
}

static void free_name(struct ort_engine *e, void *name) {
    ok(&e->api, e->api.AllocatorFree(e->allocator, name));
}

static void add_custom_facts(struct ort_session *s, const struct ort_metadata *metadata) {
    struct ort_engine *e = s->engine;
    char **keys = NULL;
    int64_t count = 0;
    if (!ok(&e->api, e->api.ModelMetadataGetCustomMetadataMapKeys(metadata, e->allocator, &keys, &count)) || !keys) {
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        char *value = NULL;
        if (ok(&e->api, e->api.ModelMetadataLookupCustomMetadataMap(metadata, e->allocator, keys[i], &value)) &&
            value) {
            add_fact(s, "metadata.", keys[i], value);
            free_name(e, value);
        }
        free_name(e, keys[i]);
    }
    free_name(e, keys);
}

static void add_facts(struct ort_session *s, const struct onnx_head *head) {
    struct ort_engine *e = s->engine;
    const struct ort_api *api = &e->api;
    struct ort_metadata *metadata = NULL;
    if (ok(api, api->SessionGetModelMetadata(s->handle, &metadata)) && metadata) {
        const struct {
            const char *key;
            struct ort_status *(*get)(const struct ort_metadata *, struct ort_allocator *, char **);
        } texts[] = {
            {"producer", api->ModelMetadataGetProducerName},
            {"graph", api->ModelMetadataGetGraphName},
            {"domain", api->ModelMetadataGetDomain},
            {"description", api->ModelMetadataGetDescription},
        };
        for (size_t i = 0; i < SW_COUNTOF(texts); i++) {
            char *text = NULL;
            if (ok(api, texts[i].get(metadata, e->allocator, &text)) && text) {
                add_fact(s, "", texts[i].key, text);
                free_name(e, text);
            }
        }
        int64_t version = 0;
        if (ok(api, api->ModelMetadataGetVersion(metadata, &version)) && version > 0 && version != INT64_MAX) {
            add_fact_number(s, "", "model_version", version);
        }
    }
    add_fact(s, "", "producer_version", head->producer_version);
    if (head->ir_version > 0) {
        add_fact_number(s, "", "ir_version", head->ir_version);
    }
    for (size_t i = 0; i < head->opset_count; i++) {
        add_fact_number(s, "opset.", head->opsets[i].domain, head->opsets[i].version);
    }
    if (s->imprecise) {
        add_fact(s, "", "int8", "several nodes share weights: sums may saturate on processors without VNNI");
    }
    if (metadata) {
        add_custom_facts(s, metadata);
        api->ReleaseModelMetadata(metadata);
    }
}

void ort_describe(const struct sw_session *session, void (*fn)(void *arg, const char *key, const char *value),
                  void *arg) {
    const struct ort_session *s = ort_session_of(session);
    for (size_t i = 0; i < s->fact_count; i++) {
        fn(arg, s->facts[i].key, s->facts[i].value);
    }
}

/* --- the session --- */

static sw_status set_options(struct ort_engine *e, struct ort_options *o, const struct sw_session_options *options,
                             bool precise, struct sw_error *err) {
    const struct ort_api *api = &e->api;
    const sw_status code = SW_E_INTERNAL;
    ORT_TRY(e, code, err, api->SetSessionExecutionMode(o, ORT_EXECUTE_SEQUENTIAL));
    ORT_TRY(e, code, err, api->SetSessionGraphOptimizationLevel(o, ORT_OPTIMIZE_ALL));
    ORT_TRY(e, code, err, api->SetSessionLogSeverityLevel(o, ORT_ERROR));
    ORT_TRY(e, code, err, api->EnableMemPattern(o));
    ORT_TRY(e, code, err, options->memory_arena ? api->EnableCpuMemArena(o) : api->DisableCpuMemArena(o));
    ORT_TRY(e, code, err, api->SetInterOpNumThreads(o, 1));
    ORT_TRY(e, code, err, api->AddSessionConfigEntry(o, "session.x64quantprecision", precise ? "1" : "0"));
    if (options->threads > 1) {
        SW_TRY(ort_pool_start(err));
        ORT_TRY(e, code, err, api->DisablePerSessionThreads(o)); /* the shared pool instead */
    } else {
        ORT_TRY(e, code, err, api->SetIntraOpNumThreads(o, 1)); /* no pool: the calling thread */
    }
    return SW_OK;
}

static sw_status create_with(struct ort_session *s, const char *path, const struct sw_session_options *options,
                             bool precise, struct sw_error *err) {
    struct ort_engine *e = s->engine;
    struct ort_options *o = NULL;
    ORT_TRY(e, SW_E_INTERNAL, err, e->api.CreateSessionOptions(&o));
    sw_status status = set_options(e, o, options, precise, err);
    if (!status) {
        ort_calls_in_progress++;
        struct ort_status *failed = e->api.CreateSession(e->env, path, o, &s->handle);
        ort_calls_in_progress--;
        status = failed ? ort_fail(&e->api, failed, SW_E_MODEL_INVALID, err) : SW_OK;
    }
    e->api.ReleaseSessionOptions(o);
    return status;
}

/* INT8 weights times UINT8 inputs: on x86-64 without VNNI the runtime's fastest kernel adds pairs of products in 16
 * bits and saturates, silently and by as much as half the result. Being precise makes it take a kernel that does not
 * there. Releases up to 1.30 cannot do that for a model in which several nodes share INT8 weights or their zero point,
 * and fail; such a model is loaded as other users of the runtime load it, and says so. */
static sw_status create_session(struct ort_session *s, const char *path, const struct sw_session_options *options,
                                struct sw_error *err) {
    if (create_with(s, path, options, true, err) == SW_OK) {
        return SW_OK;
    }
    SW_TRY(create_with(s, path, options, false, err));
    s->imprecise = true;
    return SW_OK;
}

/* Is this a file to hand to the runtime? Reads its head. */
static sw_status check_file(const char *path, struct onnx_head *ret_head, struct sw_error *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* not to wait for the writer of a FIFO */
    if (fd < 0) {
        return errno == ENOENT || errno == ENOTDIR ? sw_fail(err, SW_E_NOT_FOUND, "no such file")
                                                   : sw_fail(err, SW_E_IO, "%s", strerror(errno));
    }
    struct stat info;
    bool known = fstat(fd, &info) == 0;
    if (!known || !S_ISREG(info.st_mode)) {
        sw_status status = known ? sw_fail(err, SW_E_IO, "not a regular file")
                                 : sw_fail(err, SW_E_IO, "%s", strerror(errno));
        close(fd);
        return status;
    }
    struct sw_wire wire;
    sw_wire_init_fd(&wire, fd, (uint64_t)info.st_size);
    onnx_head_read(&wire, ret_head);
    close(fd);
    if (info.st_size == 0) {
        return sw_fail(err, SW_E_MODEL_INVALID, "the file is empty");
    }
    if (ret_head->shapeless_input[0]) {
        return sw_fail(err, SW_E_MODEL_INVALID,
                       "input '%s' declares no shape; export the model with one (free dimensions "
                       "are fine)",
                       ret_head->shapeless_input);
    }
    return SW_OK;
}

static sw_status load(struct ort_session *s, const char *path, const struct sw_session_options *options,
                      struct sw_error *err) {
    struct onnx_head head;
    SW_TRY(check_file(path, &head, err));
    sw_status status = create_session(s, path, options, err);
    if (status == SW_E_MODEL_INVALID && !head.complete) {
        sw_error_prefix(err, head.ir_version > 0 ? "broken or cut off" : "not an ONNX model");
    }
    SW_TRY(status);
    SW_TRY(read_inputs(s, err));
    SW_TRY(read_outputs(s, err));
    add_facts(s, &head);
    return SW_OK;
}

sw_status ort_load(struct sw_engine *engine, const char *path, const struct sw_session_options *options,
                   struct sw_session **ret_session, struct sw_error *err) {
    struct ort_session *s = SW_NEW(struct ort_session);
    s->base.engine = engine;
    s->engine = ort_engine_of(engine);
    sw_status status = load(s, path, options, err);
    if (status) {
        sw_error_prefix(err, "%s", path);
        ort_unload(&s->base);
        return status;
    }
    *ret_session = &s->base;
    return SW_OK;
}

void ort_unload(struct sw_session *session) {
    struct ort_session *s = (struct ort_session *)session;
    s->engine->api.ReleaseSession(s->handle);
    sw_specs_deinit(&s->inputs);
    sw_specs_deinit(&s->outputs);
    sw_free(s->input_names);
    sw_free(s->output_names);
    sw_free(s->input_keys);
    for (size_t i = 0; i < s->fact_count; i++) {
        sw_free(s->facts[i].key);
        sw_free(s->facts[i].value);
    }
    sw_free(s->facts);
    sw_free(s);
    sw_memory_trim();
}
