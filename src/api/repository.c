/* What models there are: the model repository extension (index, load, unload) and GET /models/versions.
 *
 * Load and unload are jobs of the loader thread; the exchange is suspended and finished from the loader's callback, so
 * no I/O thread waits. */
#include <sys/stat.h>

#include "api/api_internal.h"
#include "tensor/number.h"

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

/* ---- GET /models/versions */

static void put_number(struct sw_buf *out, const char *key, double value) {
    sw_buf_printf(out, ",\"%s\":", key);
    if (isfinite(value)) {
        char text[SW_NUMBER_MAX];
        sw_buf_append(out, text, (size_t)(sw_format_double(text, value) - text));
    } else {
        SW_LIT(out, "null");
    }
}

static void put_size(struct sw_buf *out, const char *path) {
    struct stat st;
    SW_LIT(out, ",\"size_bytes\":");
    if (path && stat(path, &st) == 0) {
        sw_api_put_u64(out, (uint64_t)st.st_size);
    } else {
        SW_LIT(out, "null");
    }
}

static void put_available(struct sw_buf *out, const struct sw_api_row *row) {
    char deployed_at[SW_TIMESTAMP_MAX];
    sw_buf_printf(out, "{\"version\":%lld,", (long long)row->version);
    sw_api_put_string(out, "status", sw_model_state_name(row->state));
    sw_buf_append_c(out, ',');
    sw_api_put_string(out, "reason", row->reason);
    put_size(out, row->model_path);
    SW_LIT(out, ",\"deployed_at\":");
    if (row->loaded_wall_ms) {
        sw_format_timestamp(row->loaded_wall_ms, deployed_at);
        sw_buf_append_json(out, sw_str_of(deployed_at));
    } else {
        SW_LIT(out, "null");
    }
    put_number(out, "load_ms", row->stats ? (double)row->load_ns / 1e6 : NAN);
    put_number(out, "accuracy", row->accuracy);
    put_number(out, "false_positive_rate", row->false_positive_rate);
    sw_buf_append_c(out, '}');
}

/* The rows of one name, which need not stand together: those from `first` on. */
static void put_model(struct sw_buf *out, const struct sw_api_row *rows, size_t count, size_t first) {
    const char *name = rows[first].name;
    int64_t current = -1;
    for (size_t i = first; i < count; i++) {
        if (!strcmp(rows[i].name, name) && rows[i].state == SW_MODEL_READY && rows[i].version > current) {
            current = rows[i].version;
        }
    }
    sw_buf_append_c(out, '{');
    sw_api_put_string(out, "name", name);
    SW_LIT(out, ",\"current\":");
    if (current >= 0) {
        sw_buf_printf(out, "%lld", (long long)current);
    } else {
        SW_LIT(out, "null");
    }
    SW_LIT(out, ",\"available\":[");
    for (size_t i = first, written = 0; i < count; i++) {
        if (!strcmp(rows[i].name, name)) {
            sw_buf_append_str(out, written++ ? SW_STR(",") : SW_STR(""));
            put_available(out, &rows[i]);
        }
    }
    SW_LIT(out, "],\"history\":[]}"); /* changes are not recorded yet */
}

static bool seen_before(const struct sw_api_row *rows, size_t i) {
    for (size_t k = i; k-- > 0;) {
        if (!strcmp(rows[k].name, rows[i].name)) {
            return true;
        }
    }
    return false;
}

enum sw_http_result sw_api_model_versions(struct sw_http_exchange *x) {
    struct sw_str only = sw_http_query(x, "model");
    struct sw_api_row *rows;
    size_t count;
    struct sw_error err;
    struct sw_buf out;
    if (sw_api_rows(sw_api_of(x), &x->arena, only, &rows, &count, &err) ||
        (only.data && count == 0 && sw_api_unknown_model(only, &err))) {
        return sw_api_reply_error(x, &err);
    }
    sw_api_buf(x, &out);
    SW_LIT(&out, "{\"models\":[");
    for (size_t i = 0, written = 0; i < count; i++) {
        if (!seen_before(rows, i)) {
            sw_buf_append_str(&out, written++ ? SW_STR(",") : SW_STR(""));
            put_model(&out, rows, count, i);
        }
    }
    SW_LIT(&out, "]}");
    return sw_api_reply(x, 200, &out);
}
