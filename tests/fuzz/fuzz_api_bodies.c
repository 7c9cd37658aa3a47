/* Bodies of predict and infer requests, parsed against three signatures.
 *
 * The first byte chooses protocol and signature, the next two the length of the JSON part (infer). When a body is
 * accepted, its tensors must be what they say: as many elements as their shape, all of them readable. */
#include "api/api_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int64_t sink;

static struct sw_tensor_spec spec(const char *name, enum sw_dtype dtype, uint32_t rank, int64_t d0, int64_t d1,
                                  bool optional) {
    return (struct sw_tensor_spec){
        .name = (char *)(uintptr_t)name, .dtype = dtype, .rank = rank, .shape = {d0, d1}, .optional = optional};
}

static void check_tensor(const struct sw_tensor *t) {
    size_t count;
    SW_ASSERT(sw_shape_count(t->shape, t->rank, &count) && count == t->count);
    if (t->dtype == SW_DTYPE_BYTES) {
        for (size_t i = 0; i < count; i++) {
            struct sw_str s = ((const struct sw_str *)t->data)[i];
            sink += s.len ? s.data[0] + s.data[s.len - 1] : 0;
        }
        return;
    }
    size_t bytes = count * sw_dtype_size(t->dtype);
    for (size_t i = 0; i < bytes; i++) {
        sink += ((const char *)t->data)[i];
    }
}

static void run(struct sw_model *model, bool predict, struct sw_http_exchange *x) {
    size_t size = predict ? sizeof(struct sw_predict_call) : sw_oip_infer_codec.call_size;
    struct sw_api_call *call = sw_arena_calloc(&x->arena, 1, size);
    struct sw_error err;
    SW_ASSERT(call);
    call->x = x;
    call->model = model;
    if (predict ? sw_predict_parse_json(call, &err) : sw_oip_infer_codec.parse(call, &err)) {
        SW_ASSERT(err.code == SW_E_INVALID_ARGUMENT || err.code == SW_E_UNAVAILABLE);
        SW_ASSERT(err.message[0] && sw_utf8_valid(sw_str_of(err.message)));
        return;
    }
    SW_ASSERT(call->run_count > 0);
    for (size_t i = 0; i < call->run_count; i++) {
        for (size_t k = 0; k < call->runs[i].input_count; k++) {
            check_tensor(&call->runs[i].inputs[k]);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sw_tensor_spec numbers[] = {spec("x", SW_DTYPE_FP32, 2, -1, 3, false)};
    struct sw_tensor_spec mixed[] = {spec("a", SW_DTYPE_INT16, 2, -1, 2, false),
                                     spec("b", SW_DTYPE_BYTES, 1, -1, 0, false),
                                     spec("c", SW_DTYPE_BOOL, 0, 0, 0, true)};
    struct sw_tensor_spec texts[] = {spec("t", SW_DTYPE_BYTES, 1, 1, 0, false)};
    const struct sw_tensor_specs signatures[] = {{numbers, 1}, {mixed, 3}, {texts, 1}};
    struct sw_tensor_spec outputs[] = {spec("y", SW_DTYPE_FP32, 1, -1, 0, false),
                                       spec("z", SW_DTYPE_FP32, 1, -1, 0, false)};
    if (size < 3) {
        return 0;
    }
    struct sw_model model = {.inputs = signatures[data[0] % 3], .outputs = {outputs, 2}, .batchable = data[0] & 64};
    static struct sw_http_exchange x;
    sw_arena_init(&x.arena, 64 << 20, 0);
    char *body = sw_arena_alloc_aligned(&x.arena, size - 3, 64); /* as the server aligns it */
    SW_ASSERT(body);
    memcpy(body, data + 3, size - 3);
    x.body = (struct sw_str){body, size - 3};
    x.binary_header_length = (size_t)data[1] | (size_t)data[2] << 8;
    run(&model, data[0] & 128, &x);
    sw_arena_deinit(&x.arena);
    return 0;
}
