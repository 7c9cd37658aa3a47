/* Open Inference Protocol v2: everything but inference (oip_infer.c) and the model repository (repository.c). */
#include "api/api_internal.h"

enum sw_http_result sw_api_oip_server(struct sw_http_exchange *x) {
    static const char text[] = "{\"name\":\"slipway\",\"version\":\"" SW_VERSION
                               "\",\"extensions\":[\"binary_tensor_data\",\"model_configuration\","
                               "\"model_repository\",\"statistics\"]}";
    sw_http_reply(x, 200, SW_API_JSON, (struct sw_str){text, sizeof text - 1});
    return SW_HTTP_DONE;
}

enum sw_http_result sw_api_oip_live(struct sw_http_exchange *x) {
    sw_http_reply(x, 200, SW_API_JSON, SW_STR("{\"live\":true}"));
    return SW_HTTP_DONE;
}

/* ---- one model */

/* A control route about one loaded model: acquires it, lets `write` fill the answer, and replies. */
static enum sw_http_result with_model(struct sw_http_exchange *x,
                                      sw_status (*write)(struct sw_http_exchange *x, const struct sw_model *model,
                                                         struct sw_buf *out, struct sw_error *err)) {
    struct sw_api *api = sw_api_of(x);
    struct sw_model *model;
    struct sw_error err;
    struct sw_buf out;
    if (sw_repository_acquire(api->repository, x->params[0], x->params[1], &model, &err)) {
        return sw_api_reply_error(x, &err);
    }
    x->owner = model->attachment;
    sw_api_buf(x, &out);
    sw_status status = write(x, model, &out, &err);
    sw_repository_release(api->repository, model);
    return status ? sw_api_reply_error(x, &err) : sw_api_reply(x, 200, &out);
}

static void put_signature(struct sw_buf *out, const struct sw_tensor_specs *specs) {
    sw_buf_append_c(out, '[');
    for (size_t i = 0; i < specs->count; i++) {
        const struct sw_tensor_spec *spec = &specs->items[i];
        sw_buf_append_str(out, i ? SW_STR(",{") : SW_STR("{"));
        sw_api_put_string(out, "name", spec->name);
        sw_buf_append_c(out, ',');
        sw_api_put_string(out, "datatype", sw_dtype_name(spec->dtype));
        SW_LIT(out, ",\"shape\":");
        sw_api_put_shape(out, spec->shape, spec->rank);
        sw_buf_append_c(out, '}');
    }
    sw_buf_append_c(out, ']');
}

static sw_status write_metadata(struct sw_http_exchange *x, const struct sw_model *model, struct sw_buf *out,
                                struct sw_error *err) {
    struct sw_api_row *rows;
    size_t count, ready = 0;
    SW_TRY(sw_api_rows(sw_api_of(x), &x->arena, sw_str_of(model->name), &rows, &count, err));
    SW_LIT(out, "{");
    sw_api_put_string(out, "name", model->name);
    SW_LIT(out, ",\"versions\":[");
    for (size_t i = 0; i < count; i++) {
        if (rows[i].state == SW_MODEL_READY) {
            sw_buf_append_str(out, ready++ ? SW_STR(",") : SW_STR(""));
            sw_api_put_version(out, rows[i].version);
        }
    }
    if (ready == 0) { /* unloaded meanwhile; what is described here is the version acquired */
        sw_api_put_version(out, model->version);
    }
    SW_LIT(out, "],\"platform\":\"onnx_onnxv1\",\"inputs\":");
    put_signature(out, &model->inputs);
    SW_LIT(out, ",\"outputs\":");
    put_signature(out, &model->outputs);
    sw_buf_append_c(out, '}');
    return SW_OK;
}

enum sw_http_result sw_api_oip_model(struct sw_http_exchange *x) {
    return with_model(x, write_metadata);
}

static sw_status write_ready(struct sw_http_exchange *x, const struct sw_model *model, struct sw_buf *out,
                             struct sw_error *err) {
    SW_LIT(out, "{");
    sw_api_put_string(out, "name", model->name);
    SW_LIT(out, ",\"ready\":true}");
    return SW_OK;
}

enum sw_http_result sw_api_oip_model_ready(struct sw_http_exchange *x) {
    return with_model(x, write_ready);
}

/* ---- configuration extension */

static const char *config_type(enum sw_dtype dtype) {
    static const char *const names[SW_DTYPE_COUNT] = {
        [SW_DTYPE_BOOL] = "TYPE_BOOL",     [SW_DTYPE_UINT8] = "TYPE_UINT8",   [SW_DTYPE_UINT16] = "TYPE_UINT16",
        [SW_DTYPE_UINT32] = "TYPE_UINT32", [SW_DTYPE_UINT64] = "TYPE_UINT64", [SW_DTYPE_INT8] = "TYPE_INT8",
        [SW_DTYPE_INT16] = "TYPE_INT16",   [SW_DTYPE_INT32] = "TYPE_INT32",   [SW_DTYPE_INT64] = "TYPE_INT64",
        [SW_DTYPE_FP16] = "TYPE_FP16",     [SW_DTYPE_FP32] = "TYPE_FP32",     [SW_DTYPE_FP64] = "TYPE_FP64",
        [SW_DTYPE_BF16] = "TYPE_BF16",     [SW_DTYPE_BYTES] = "TYPE_STRING",
    };
    return names[dtype] ? names[dtype] : "TYPE_INVALID";
}

/* In Triton's form, dims leave out dimension 0 when max_batch_size is not 0. */
static void put_config_tensors(struct sw_buf *out, const struct sw_tensor_specs *specs, bool without_batch,
                               bool input) {
    sw_buf_append_c(out, '[');
    for (size_t i = 0; i < specs->count; i++) {
        const struct sw_tensor_spec *spec = &specs->items[i];
        uint32_t skip = without_batch && spec->rank > 0;
        sw_buf_append_str(out, i ? SW_STR(",{") : SW_STR("{"));
        sw_api_put_string(out, "name", spec->name);
        sw_buf_append_c(out, ',');
        sw_api_put_string(out, "data_type", config_type(spec->dtype));
        SW_LIT(out, ",\"dims\":");
        sw_api_put_shape(out, spec->shape + skip, spec->rank - skip);
        if (input && spec->optional) {
            SW_LIT(out, ",\"optional\":true");
        }
        sw_buf_append_c(out, '}');
    }
    sw_buf_append_c(out, ']');
}

struct description {
    struct sw_buf *out;
    size_t count;
};

static void put_description(void *arg, const char *key, const char *value) {
    struct description *d = arg;
    sw_buf_append_str(d->out, d->count++ ? SW_STR(",") : SW_STR(""));
    sw_buf_append_json(d->out, sw_str_of(key));
    SW_LIT(d->out, ":{");
    sw_api_put_string(d->out, "string_value", value);
    sw_buf_append_c(d->out, '}');
}

static sw_status write_config(struct sw_http_exchange *x, const struct sw_model *model, struct sw_buf *out,
                              struct sw_error *err) {
    uint64_t max_batch = sw_api_max_batch(model);
    SW_LIT(out, "{");
    sw_api_put_string(out, "name", model->name);
    sw_buf_printf(out,
                  ",\"platform\":\"onnxruntime_onnx\",\"backend\":\"onnxruntime\",\"max_batch_size\":%llu,\"input\":",
                  (unsigned long long)max_batch);
    put_config_tensors(out, &model->inputs, max_batch > 0, true);
    SW_LIT(out, ",\"output\":");
    put_config_tensors(out, &model->outputs, max_batch > 0, false);
    sw_api_put_batching(out, model->attachment);
    sw_buf_append_str(out, model->cache.enable ? SW_STR(",\"response_cache\":{\"enable\":true}") : SW_STR(""));
    SW_LIT(out, ",\"parameters\":{");
    struct description d = {.out = out};
    sw_api_describe_plan(model, put_description, &d);
    model->session->engine->ops->describe(model->session, put_description, &d);
    SW_LIT(out, "}}");
    return SW_OK;
}

enum sw_http_result sw_api_oip_config(struct sw_http_exchange *x) {
    return with_model(x, write_config);
}

/* ---- statistics extension */

static void put_stats(const struct sw_api *api, struct sw_buf *out, const struct sw_api_row *rows, size_t count,
                      const struct sw_api_model *only) {
    size_t written = 0;
    SW_LIT(out, "{\"model_stats\":[");
    for (size_t i = 0; i < count; i++) {
        if (rows[i].stats && (!only || rows[i].stats == only)) {
            sw_buf_append_str(out, written++ ? SW_STR(",") : SW_STR(""));
            sw_api_model_write_stats(api, rows[i].stats, out);
        }
    }
    SW_LIT(out, "]}");
}

static sw_status write_stats(struct sw_http_exchange *x, const struct sw_model *model, struct sw_buf *out,
                             struct sw_error *err) {
    struct sw_api_row *rows;
    size_t count;
    SW_TRY(sw_api_rows(sw_api_of(x), &x->arena, sw_str_of(model->name), &rows, &count, err));
    put_stats(sw_api_of(x), out, rows, count, x->params[1].len ? model->attachment : NULL);
    return SW_OK;
}

enum sw_http_result sw_api_oip_stats(struct sw_http_exchange *x) {
    return with_model(x, write_stats);
}

enum sw_http_result sw_api_oip_stats_all(struct sw_http_exchange *x) {
    struct sw_api_row *rows;
    size_t count;
    struct sw_error err;
    struct sw_buf out;
    if (sw_api_rows(sw_api_of(x), &x->arena, (struct sw_str){0}, &rows, &count, &err)) {
        return sw_api_reply_error(x, &err);
    }
    sw_api_buf(x, &out);
    put_stats(sw_api_of(x), &out, rows, count, NULL);
    return sw_api_reply(x, 200, &out);
}
