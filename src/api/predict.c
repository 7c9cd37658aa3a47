/* Simple predict: the answer, and the state of a model in the form of TensorFlow Serving. Parsing: predict_parse.c. */
#include "api/api_internal.h"

/* The part of output t that answers row `row`: a slice along dimension 0 where that is the rows, the whole tensor where
 * the run was for this row alone. */
static sw_status put_row(const struct sw_predict_call *c, struct sw_buf *out, const struct sw_tensor *t, size_t row,
                         bool allow_nonfinite, struct sw_error *err) {
    bool one_row = c->each || c->rows == 1;
    bool drops_lead = !c->each || c->strip;
    if (drops_lead && t->rank > 0 && (uint64_t)t->shape[0] == (c->each ? 1 : c->rows)) {
        return sw_json_write_row(out, t, c->each ? 0 : row, allow_nonfinite, err);
    }
    if (one_row) {
        return sw_json_write_data(out, t, true, allow_nonfinite, err);
    }
    char shape[128];
    return sw_fail(err, SW_E_INVALID_ARGUMENT,
                   "output '" SW_STR_FMT "' has shape %s, not a row for each of %zu instances: send 'inputs'",
                   SW_STR_ARG(t->name), sw_shape_format(t->shape, t->rank, shape, sizeof shape), c->rows);
}

/* A bare value when the model has one output, else an object. `row` SIZE_MAX: whole tensors. */
static sw_status put_outputs(const struct sw_predict_call *c, struct sw_buf *out, const struct sw_inference *run,
                             size_t row, struct sw_error *err) {
    const struct sw_model *model = c->call.model;
    bool allow_nonfinite = model->bundle && model->bundle->allow_nonfinite;
    bool object = model->outputs.count > 1;
    size_t written = 0;
    for (size_t i = 0; i < run->output_count; i++) {
        const struct sw_tensor *t = &run->outputs[i];
        if (t->dtype == SW_DTYPE_INVALID) {
            continue; /* an optional output that the model left out */
        }
        if (object) {
            sw_buf_append_c(out, written ? ',' : '{');
            sw_buf_append_json(out, t->name);
            sw_buf_append_c(out, ':');
        }
        written++;
        SW_TRY(row == SIZE_MAX ? sw_json_write_data(out, t, true, allow_nonfinite, err)
                               : put_row(c, out, t, row, allow_nonfinite, err));
    }
    if (object) {
        sw_buf_append_str(out, written ? SW_STR("}") : SW_STR("{}"));
    } else if (written == 0) {
        SW_LIT(out, "null");
    }
    return SW_OK;
}

static sw_status put_predictions(const struct sw_predict_call *c, struct sw_buf *out, struct sw_error *err) {
    SW_LIT(out, "{\"predictions\":[");
    for (size_t row = 0; row < c->rows; row++) {
        if (row) {
            sw_buf_append_c(out, ',');
        }
        SW_TRY(put_outputs(c, out, &c->call.runs[c->each ? row : 0], row, err));
    }
    SW_LIT(out, "]}");
    return SW_OK;
}

static sw_status predict_encode(struct sw_api_call *call, struct sw_error *err) {
    struct sw_predict_call *c = (struct sw_predict_call *)call;
    struct sw_buf out;
    sw_api_buf(call->x, &out);
    if (c->columnar) {
        SW_LIT(&out, "{\"outputs\":");
        SW_TRY(put_outputs(c, &out, &call->runs[0], SIZE_MAX, err));
        sw_buf_append_c(&out, '}');
    } else {
        SW_TRY(put_predictions(c, &out, err));
    }
    if (out.failed) {
        return sw_api_no_memory(err);
    }
    sw_http_reply(call->x, 200, SW_API_JSON, sw_buf_str(&out));
    return SW_OK;
}

enum sw_http_result sw_api_predict(struct sw_http_exchange *x) {
    static const struct sw_api_codec codec = {
        .call_size = sizeof(struct sw_predict_call), .parse = sw_predict_parse, .encode = predict_encode};
    return sw_api_call_start(x, &codec);
}

/* ---- state */

static const char *serving_state(enum sw_model_state state) {
    switch (state) {
    case SW_MODEL_READY: return "AVAILABLE";
    case SW_MODEL_LOADING: return "LOADING";
    case SW_MODEL_UNLOADING: return "UNLOADING";
    default: return "END";
    }
}

static void put_status(struct sw_buf *out, const struct sw_api_row *row) {
    bool failed = row->state == SW_MODEL_UNAVAILABLE && row->reason[0];
    SW_LIT(out, "{\"version\":");
    sw_api_put_version(out, row->version);
    sw_buf_append_c(out, ',');
    sw_api_put_string(out, "state", serving_state(row->state));
    sw_buf_printf(out, ",\"status\":{\"error_code\":\"%s\",", failed ? "UNAVAILABLE" : "OK");
    sw_api_put_string(out, "error_message", row->reason);
    SW_LIT(out, "}}");
}

enum sw_http_result sw_api_predict_status(struct sw_http_exchange *x) {
    struct sw_str name = x->params[0], version = x->params[1];
    struct sw_api_row *rows;
    size_t count, written = 0;
    struct sw_error err;
    struct sw_buf out;
    int64_t number = -1;
    if (sw_api_rows(sw_api_of(x), &x->arena, name, &rows, &count, &err) ||
        (count == 0 && sw_api_unknown_model(name, &err))) {
        return sw_api_reply_error(x, &err);
    }
    if (version.len && !sw_parse_i64(version, &number)) {
        number = -1;
    }
    sw_api_buf(x, &out);
    SW_LIT(&out, "{\"model_version_status\":[");
    for (size_t i = 0; i < count; i++) {
        if (version.len == 0 || rows[i].version == number) {
            sw_buf_append_str(&out, written++ ? SW_STR(",") : SW_STR(""));
            put_status(&out, &rows[i]);
        }
    }
    if (written == 0) {
        sw_fail(&err, SW_E_NOT_FOUND, "model '" SW_STR_FMT "' has no version '" SW_STR_FMT "'", SW_STR_ARG(name),
                SW_STR_ARG(version));
        return sw_api_reply_error(x, &err);
    }
    SW_LIT(&out, "]}");
    return sw_api_reply(x, 200, &out);
}
