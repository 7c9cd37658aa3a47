/* Answers in JSON, written into the request's arena. */
#include "api/reply.h"

#include <math.h>

#include "api/api_internal.h"
#include "tensor/number.h"

struct sw_api *sw_api_of(struct sw_http_exchange *x) {
    struct sw_api *api = x->app;
    SW_ASSERT(api->magic == SW_API_MAGIC);
    return api;
}

sw_status sw_api_no_memory(struct sw_error *err) {
    return sw_fail(err, SW_E_UNAVAILABLE, "no memory left for this request");
}

void sw_api_buf(struct sw_http_exchange *x, struct sw_buf *out) {
    sw_buf_init_arena(out, &x->arena, SW_API_ANSWER_MAX);
}

enum sw_http_result sw_api_reply(struct sw_http_exchange *x, int status, const struct sw_buf *out) {
    if (out->failed) {
        struct sw_error err;
        sw_api_no_memory(&err);
        return sw_api_reply_error(x, &err);
    }
    sw_http_reply(x, status, SW_API_JSON, sw_buf_str(out));
    return SW_HTTP_DONE;
}

enum sw_http_result sw_api_reply_error(struct sw_http_exchange *x, const struct sw_error *err) {
    sw_http_reply_error(x, err);
    return SW_HTTP_DONE;
}

void sw_api_reply_details(struct sw_http_exchange *x, const struct sw_error *err, const json_t *details) {
    struct sw_buf out;
    sw_api_buf(x, &out);
    sw_api_put_json(&out, details);
    sw_http_reply_error_details(x, err, out.failed ? (struct sw_str){NULL, 0} : sw_buf_str(&out));
}

void sw_api_put_string(struct sw_buf *out, const char *key, const char *value) {
    sw_buf_append_c(out, '"');
    sw_buf_append_str(out, sw_str_of(key));
    SW_LIT(out, "\":");
    sw_buf_append_json(out, sw_str_of(value));
}

void sw_api_put_u64(struct sw_buf *out, uint64_t value) {
    char text[SW_NUMBER_MAX];
    sw_buf_append(out, text, (size_t)(sw_format_uint(text, value) - text));
}

void sw_api_put_double(struct sw_buf *out, double value) {
    if (isfinite(value)) {
        char text[SW_NUMBER_MAX];
        sw_buf_append(out, text, (size_t)(sw_format_double(text, value) - text));
    } else {
        SW_LIT(out, "null");
    }
}

void sw_api_put_shape(struct sw_buf *out, const int64_t *shape, size_t rank) {
    char text[2 + SW_RANK_MAX * (SW_NUMBER_MAX + 1)];
    char *p = text;
    *p++ = '[';
    for (size_t i = 0; i < rank; i++) {
        if (i) {
            *p++ = ',';
        }
        p = sw_format_int(p, shape[i]);
    }
    *p++ = ']';
    sw_buf_append(out, text, (size_t)(p - text));
}

static void put_object(struct sw_buf *out, const json_t *json) {
    const char *key;
    json_t *value;
    bool first = true;
    sw_buf_append_c(out, '{');
    json_object_foreach((json_t *)(uintptr_t)json, key, value) {
        if (!first) {
            sw_buf_append_c(out, ',');
        }
        first = false;
        sw_buf_append_json(out, sw_str_of(key));
        sw_buf_append_c(out, ':');
        sw_api_put_json(out, value);
    }
    sw_buf_append_c(out, '}');
}

static void put_array(struct sw_buf *out, const json_t *json) {
    sw_buf_append_c(out, '[');
    for (size_t i = 0; i < json_array_size(json); i++) {
        if (i) {
            sw_buf_append_c(out, ',');
        }
        sw_api_put_json(out, json_array_get(json, i));
    }
    sw_buf_append_c(out, ']');
}

static void put_number(struct sw_buf *out, const json_t *json) {
    char text[SW_NUMBER_MAX];
    char *end = json_is_integer(json)
                    ? sw_format_int(text, json_integer_value(json))
                    : sw_format_double(text, json_real_value(json)); /* jansson holds finite ones only */
    sw_buf_append(out, text, (size_t)(end - text));
}

void sw_api_put_json(struct sw_buf *out, const json_t *json) {
    switch (json ? json_typeof(json) : JSON_NULL) {
    case JSON_OBJECT: put_object(out, json); break;
    case JSON_ARRAY: put_array(out, json); break;
    case JSON_STRING:
        sw_buf_append_json(out, (struct sw_str){json_string_value(json), json_string_length(json)});
        break;
    case JSON_INTEGER:
    case JSON_REAL: put_number(out, json); break;
    case JSON_TRUE: SW_LIT(out, "true"); break;
    case JSON_FALSE: SW_LIT(out, "false"); break;
    case JSON_NULL: SW_LIT(out, "null"); break;
    }
}
