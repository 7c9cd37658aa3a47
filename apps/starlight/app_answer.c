/* From the outputs of the model to the answer.
 *
 * The verdict is the model's, by the threshold of its bundle. A text that was found belongs to a verdict of stego: with
 * a clean one it is not shown, whatever a model gives. */
#include "api/reply.h"
#include "apps/starlight/app_internal.h"
#include "tensor/json.h"
#include "tensor/number.h"

/* What the output step `starlight` gives for one image (step.h). */
struct outputs {
    float probability;
    const float *methods; /* [SW_STARLIGHT_METHODS] */
    bool is_stego;
    bool marked;
    struct sw_str method, message, message_method, bit_order, info;
};

/* ---- reading */

static const struct sw_tensor *find(const struct sw_inference *run, const char *name) {
    for (size_t i = 0; i < run->output_count; i++) {
        if (sw_str_is(run->outputs[i].name, name)) {
            return &run->outputs[i];
        }
    }
    return NULL;
}

static sw_status need(const struct sw_api_call *call, const char *name, enum sw_dtype dtype, size_t count,
                      const void **ret, struct sw_error *err) {
    const struct sw_tensor *t = find(&call->runs[0], name);
    if (t && t->dtype == dtype && t->count == count) {
        *ret = t->data;
        return SW_OK;
    }
    return sw_fail(err, SW_E_INFERENCE_FAILED,
                   "model '%s' is not a detector: %s output '%s', which output.starlight gives in a bundle",
                   call->model->name, t ? "other than it should be is its" : "it has no", name);
}

static sw_status need_text(const struct sw_api_call *call, const char *name, struct sw_str *ret, struct sw_error *err) {
    const void *data;
    SW_TRY(need(call, name, SW_DTYPE_BYTES, 1, &data, err));
    *ret = *(const struct sw_str *)data;
    return SW_OK;
}

static sw_status read_outputs(const struct sw_api_call *call, struct outputs *o, struct sw_error *err) {
    const void *probability, *methods, *verdict;
    SW_TRY(need(call, "stego_probability", SW_DTYPE_FP32, 1, &probability, err));
    SW_TRY(need(call, "method_probabilities", SW_DTYPE_FP32, SW_STARLIGHT_METHODS, &methods, err));
    SW_TRY(need(call, "is_stego", SW_DTYPE_BOOL, 1, &verdict, err));
    SW_TRY(need_text(call, "method", &o->method, err));
    SW_TRY(need_text(call, "message", &o->message, err));
    SW_TRY(need_text(call, "message_method", &o->message_method, err));
    SW_TRY(need_text(call, "message_bit_order", &o->bit_order, err));
    SW_TRY(need_text(call, "image_info", &o->info, err));
    o->probability = *(const float *)probability;
    o->methods = methods;
    o->is_stego = *(const uint8_t *)verdict != 0;
    const struct sw_tensor *marked = find(&call->runs[0], "message_marked");
    o->marked = marked && marked->dtype == SW_DTYPE_BOOL && marked->count == 1 && *(const uint8_t *)marked->data != 0;
    return SW_OK;
}

/* The format in image_info, which must be a JSON object: it is put into the answer as it is. */
static sw_status read_info(const struct sw_api_call *call, struct sw_str info, struct sw_str *ret_format,
                           struct sw_error *err) {
    struct sw_json json;
    struct sw_error why;
    struct sw_str key;
    bool more = true;
    *ret_format = (struct sw_str){NULL, 0};
    sw_json_init(&json, info, &call->x->arena, &why);
    sw_status status = sw_json_enter_object(&json);
    while (!status && !(status = sw_json_object_next(&json, &key, &more)) && more) {
        bool format = sw_str_is(key, "format") && sw_json_peek(&json) == '"';
        status = format ? sw_json_string(&json, ret_format) : sw_json_skip(&json);
    }
    status = status ? status : sw_json_end(&json);
    return status ? sw_fail(err, SW_E_INFERENCE_FAILED, "model '%s': output 'image_info' is no JSON object: %.200s",
                            call->model->name, why.message)
                  : SW_OK;
}

/* output.threshold of the bundle: a number or {value}; output is a mapping or a list of them. NULL: it has none. */
static const json_t *find_threshold(const struct sw_bundle *bundle) {
    const json_t *output = bundle ? bundle->output : NULL, *found = json_object_get(output, "threshold");
    for (size_t i = 0; !found && i < json_array_size(output); i++) {
        found = json_object_get(json_array_get(output, i), "threshold");
    }
    return json_is_object(found) ? json_object_get(found, "value") : found;
}

/* ---- writing */

static void put_float(struct sw_buf *out, double value) {
    char text[SW_NUMBER_MAX];
    sw_buf_append(out, text, (size_t)(sw_format_float(text, (float)value) - text));
}

/* A string, or null for an empty one. */
static void put_text(struct sw_buf *out, struct sw_str text) {
    if (text.len) {
        sw_buf_append_json(out, text);
    } else {
        SW_LIT(out, "null");
    }
}

static void put_methods(struct sw_buf *out, const float *methods) {
    SW_LIT(out, ",\"method_probabilities\":{");
    for (int m = 0; m < SW_STARLIGHT_METHODS; m++) {
        sw_buf_printf(out, "%s\"%s\":", m ? "," : "", sw_starlight_method_name((enum sw_starlight_method)m));
        put_float(out, methods[m]);
    }
    sw_buf_append_c(out, '}');
}

static void put_message(struct sw_buf *out, const struct outputs *o) {
    if (!o->is_stego || o->message.len == 0) {
        SW_LIT(out, ",\"extracted_message\":null,\"message\":null");
        return;
    }
    SW_LIT(out, ",\"extracted_message\":");
    sw_buf_append_json(out, o->message);
    SW_LIT(out, ",\"message\":{\"method\":");
    put_text(out, o->message_method);
    SW_LIT(out, ",\"bit_order\":");
    put_text(out, o->bit_order);
    sw_buf_printf(out, ",\"marked\":%s,\"length\":%zu}", o->marked ? "true" : "false", o->message.len);
}

static void put_verdict(struct sw_buf *out, const struct sw_api_call *call, const struct outputs *o) {
    const json_t *threshold = find_threshold(call->model->bundle);
    sw_buf_printf(out, "{\"is_stego\":%s,\"stego_probability\":", o->is_stego ? "true" : "false");
    put_float(out, o->probability);
    SW_LIT(out, ",\"stego_type\":");
    put_text(out, o->is_stego ? o->method : SW_STR(""));
    SW_LIT(out, ",\"confidence\":");
    put_float(out, o->is_stego ? o->probability : 1 - (double)o->probability);
    SW_LIT(out, ",\"threshold\":");
    if (json_is_number(threshold)) {
        sw_api_put_double(out, json_number_value(threshold));
    } else {
        SW_LIT(out, "null");
    }
    put_methods(out, o->methods);
}

static void put_origin(struct sw_buf *out, const struct sw_api_call *call, uint64_t took_ns) {
    sw_buf_append_c(out, ',');
    sw_api_put_string(out, "model_name", call->model->name);
    sw_buf_printf(out, ",\"model_version\":\"%lld\",\"latency_ms\":%llu.%03u,", (long long)call->model->version,
                  (unsigned long long)(took_ns / 1000000), (unsigned)(took_ns / 1000 % 1000));
    sw_api_put_string(out, "request_id", call->x->request_id);
}

static enum sw_starlight_method method_of(const struct outputs *o) {
    int m = o->is_stego ? 0 : SW_STARLIGHT_METHODS;
    while (m < SW_STARLIGHT_METHODS && !sw_str_is(o->method, sw_starlight_method_name((enum sw_starlight_method)m))) {
        m++;
    }
    return (enum sw_starlight_method)m;
}

sw_status app_encode(struct sw_api_call *call, struct sw_error *err) {
    struct inference *c = (struct inference *)call;
    struct outputs o;
    struct sw_str format;
    struct sw_buf out;
    SW_TRY(read_outputs(call, &o, err));
    SW_TRY(read_info(call, o.info, &format, err));
    uint64_t took_ns = sw_now_ns(c->app->options.clock) - call->start_ns;
    sw_api_buf(call->x, &out);
    put_verdict(&out, call, &o);
    put_message(&out, &o);
    SW_LIT(&out, ",\"image\":");
    sw_buf_append_str(&out, o.info);
    put_origin(&out, call, took_ns);
    sw_buf_append_c(&out, '}');
    if (out.failed) {
        return sw_api_no_memory(err);
    }
    app_metrics_count(&c->app->metrics, method_of(&o), format, c->image.len, took_ns);
    sw_http_reply(call->x, 200, SW_API_JSON, sw_buf_str(&out));
    return SW_OK;
}
