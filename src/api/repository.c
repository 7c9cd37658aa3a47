/* The model repository extension: index, load, unload.
 *
 * Load and unload are jobs of the loader thread; the exchange is suspended and finished from the loader's callback, so
 * no I/O thread waits. */
#include "api/api_internal.h"

/* ---- request bodies: empty, or a small object */

typedef sw_status read_member(struct sw_json *json, struct sw_str key, void *arg);

static sw_status read_members(struct sw_json *json, read_member *member, void *arg) {
    struct sw_str key;
    bool more;
    SW_TRY(sw_json_enter_object(json));
    for (;;) {
        SW_TRY(sw_json_object_next(json, &key, &more));
        if (!more) {
            return SW_OK;
        }
        SW_TRY(member(json, key, arg));
    }
}

static sw_status read_body(struct sw_http_exchange *x, read_member *member, void *arg, struct sw_error *err) {
    struct sw_json json;
    sw_json_init(&json, x->body, &x->arena, err);
    if (sw_json_peek(&json) == 0) {
        return sw_json_end(&json);
    }
    SW_TRY(read_members(&json, member, arg));
    return sw_json_end(&json);
}

static sw_status refuse(struct sw_json *json, const char *what, struct sw_str key) {
    return sw_json_fail(json, "%s '" SW_STR_FMT "' is not supported", what, SW_STR_ARG(key));
}

/* ---- index */

struct index_request {
    bool seen, ready;
};

static sw_status index_member(struct sw_json *json, struct sw_str key, void *arg) {
    struct index_request *request = arg;
    if (!sw_str_is(key, "ready")) {
        return sw_json_skip(json);
    }
    if (request->seen) {
        return sw_json_fail(json, "'ready' appears twice");
    }
    request->seen = true;
    return sw_json_bool(json, &request->ready);
}

static void put_index(struct sw_buf *out, const struct sw_api_row *rows, size_t count, bool only_ready) {
    size_t written = 0;
    sw_buf_append_c(out, '[');
    for (size_t i = 0; i < count; i++) {
        if (only_ready && rows[i].state != SW_MODEL_READY) {
            continue;
        }
        sw_buf_append_str(out, written++ ? SW_STR(",{") : SW_STR("{"));
        sw_api_put_string(out, "name", rows[i].name);
        SW_LIT(out, ",\"version\":");
        sw_api_put_version(out, rows[i].version);
        sw_buf_append_c(out, ',');
        sw_api_put_string(out, "state", sw_model_state_name(rows[i].state));
        sw_buf_append_c(out, ',');
        sw_api_put_string(out, "reason", rows[i].reason);
        sw_buf_append_c(out, '}');
    }
    sw_buf_append_c(out, ']');
}

enum sw_http_result sw_api_oip_index(struct sw_http_exchange *x) {
    struct index_request request = {0};
    struct sw_api_row *rows;
    size_t count;
    struct sw_error err;
    struct sw_buf out;
    if (read_body(x, index_member, &request, &err) ||
        sw_api_rows(sw_api_of(x), &x->arena, (struct sw_str){0}, &rows, &count, &err)) {
        return sw_api_reply_error(x, &err);
    }
    sw_api_buf(x, &out);
    put_index(&out, rows, count, request.ready);
    return sw_api_reply(x, 200, &out);
}

/* ---- load and unload */

static void answer_changed(struct sw_http_exchange *x, sw_status status, const struct sw_error *err,
                           const char *state) {
    struct sw_buf out;
    if (status) {
        sw_api_reply_error(x, err);
    } else {
        sw_api_buf(x, &out);
        SW_LIT(&out, "{\"name\":");
        sw_buf_append_json(&out, x->params[0]);
        sw_buf_append_c(&out, ',');
        sw_api_put_string(&out, "state", state);
        sw_buf_append_c(&out, '}');
        sw_api_reply(x, 200, &out);
    }
    sw_http_finish(x); /* not ours from here on */
}

static void on_loaded(void *arg, sw_status status, const struct sw_error *err) { /* loader thread */
    answer_changed(arg, status, err, "READY");
}

static void on_unloaded(void *arg, sw_status status, const struct sw_error *err) { /* loader thread */
    answer_changed(arg, status, err, "UNAVAILABLE");
}

static sw_status load_parameter(struct sw_json *json, struct sw_str key, void *arg) {
    return refuse(json, "load parameter", key);
}

static sw_status unload_parameter(struct sw_json *json, struct sw_str key, void *arg) {
    bool ignored; /* no model depends on another */
    return sw_str_is(key, "unload_dependents") ? sw_json_bool(json, &ignored) : refuse(json, "unload parameter", key);
}

/* arg: the function that takes a parameter */
struct change_request {
    read_member *parameter;
    bool seen;
};

static sw_status change_member(struct sw_json *json, struct sw_str key, void *arg) {
    struct change_request *request = arg;
    if (!sw_str_is(key, "parameters")) {
        return refuse(json, "field", key);
    }
    if (request->seen) {
        return sw_json_fail(json, "'parameters' appears twice");
    }
    request->seen = true;
    return read_members(json, request->parameter, NULL);
}

enum sw_http_result sw_api_oip_load(struct sw_http_exchange *x) {
    struct change_request request = {.parameter = load_parameter};
    struct sw_error err;
    if (read_body(x, change_member, &request, &err) ||
        sw_repository_load(sw_api_of(x)->repository, x->params[0], on_loaded, x, &err)) {
        return sw_api_reply_error(x, &err);
    }
    return SW_HTTP_ASYNC;
}

enum sw_http_result sw_api_oip_unload(struct sw_http_exchange *x) {
    struct change_request request = {.parameter = unload_parameter};
    struct sw_error err;
    if (read_body(x, change_member, &request, &err) ||
        sw_repository_unload(sw_api_of(x)->repository, x->params[0], on_unloaded, x, &err)) {
        return sw_api_reply_error(x, &err);
    }
    return SW_HTTP_ASYNC;
}
