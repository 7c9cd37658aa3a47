/* Open Inference Protocol v2: inference, with JSON and binary tensors in any mixture.
 *
 * Request: JSON, or JSON of Inference-Header-Content-Length bytes followed by binary tensors in the order of the inputs
 * that announce them, or (header 0) the raw data of the only input. Nothing is copied that need not be: binary inputs
 * are read where they lie in the body, binary outputs are sent from where the runtime left them. */
#include "api/api_internal.h"
#include "tensor/binary.h"
#include "tensor/number.h"

enum form { FORM_DEFAULT, FORM_JSON, FORM_BINARY };

struct infer_call {
    struct sw_api_call call;
    struct sw_str id;    /* data NULL: none */
    bool binary_default; /* binary_data_output */
    uint8_t *forms;      /* enum form of each output asked for; NULL: all outputs, default form */
    uint32_t *wanted;
    size_t wanted_count;
};

/* ---- request */

/* The parameters of an output, of which one boolean is known; others are passed over. */
static sw_status read_flag(struct sw_json *json, const char *known, const char *refused, bool *ret, bool *ret_found) {
    struct sw_str key;
    bool more;
    SW_TRY(sw_json_enter_object(json));
    for (;;) {
        SW_TRY(sw_json_object_next(json, &key, &more));
        if (!more) {
            return SW_OK;
        }
        if (sw_str_is(key, known)) {
            if (*ret_found) {
                return sw_json_fail(json, "parameter '%s' appears twice", known);
            }
            SW_TRY(sw_json_bool(json, ret));
            *ret_found = true;
        } else if (sw_str_is(key, refused)) {
            return sw_json_fail(json, "parameter '%s' is not supported", refused);
        } else {
            SW_TRY(sw_json_skip(json));
        }
    }
}

static sw_status add_output(struct infer_call *c, struct sw_json *json, struct sw_str name, enum form form) {
    const struct sw_tensor_specs *outputs = &c->call.model->outputs;
    const struct sw_tensor_spec *spec = sw_specs_find(outputs, name);
    if (!spec) {
        return sw_json_fail(json, "output '" SW_STR_FMT "' is not an output of the model", SW_STR_ARG(name));
    }
    uint32_t index = (uint32_t)(spec - outputs->items);
    for (size_t i = 0; i < c->wanted_count; i++) {
        if (c->wanted[i] == index) {
            return sw_json_fail(json, "output '" SW_STR_FMT "' is requested twice", SW_STR_ARG(name));
        }
    }
    /* No more than the model has: each is there once. */
    c->wanted[c->wanted_count] = index;
    c->forms[c->wanted_count++] = (uint8_t)form;
    return SW_OK;
}

static sw_status read_output(struct infer_call *c, struct sw_json *json) {
    struct sw_str key, name = {0};
    bool more, binary = false, found = false, seen_parameters = false;
    SW_TRY(sw_json_enter_object(json));
    for (;;) {
        SW_TRY(sw_json_object_next(json, &key, &more));
        if (!more) {
            break;
        }
        if (sw_str_is(key, "name")) {
            if (name.data) {
                return sw_json_fail(json, "'name' appears twice in an output");
            }
            SW_TRY(sw_json_string(json, &name));
        } else if (sw_str_is(key, "parameters")) {
            if (seen_parameters) {
                return sw_json_fail(json, "'parameters' appears twice in an output");
            }
            seen_parameters = true;
            SW_TRY(read_flag(json, "binary_data", "classification", &binary, &found));
        } else {
            SW_TRY(sw_json_skip(json));
        }
    }
    if (!name.data) {
        return sw_json_fail(json, "a requested output has no 'name'");
    }
    return add_output(c, json, name, !found ? FORM_DEFAULT : binary ? FORM_BINARY : FORM_JSON);
}

static sw_status read_outputs(struct infer_call *c, struct sw_json *json) {
    size_t max = c->call.model->outputs.count;
    bool more;
    c->wanted = sw_arena_calloc(json->arena, max, sizeof *c->wanted);
    c->forms = sw_arena_calloc(json->arena, max, sizeof *c->forms);
    if (!c->wanted || !c->forms) {
        return sw_api_no_memory(json->err);
    }
    SW_TRY(sw_json_enter_array(json));
    for (;;) {
        SW_TRY(sw_json_array_next(json, &more));
        if (!more) {
            return SW_OK;
        }
        SW_TRY(read_output(c, json));
    }
}

static sw_status read_terms(struct infer_call *c, struct sw_json *json, bool is_timeout) {
    int64_t number;
    SW_TRY(sw_json_i64(json, &number));
    return is_timeout ? sw_api_call_set_timeout_us(&c->call, number, json->err)
                      : sw_api_call_set_priority(&c->call, number, json->err);
}

/* The parameters of the request; unknown ones are passed over. */
static sw_status read_parameters(struct infer_call *c, struct sw_json *json) {
    struct sw_str key;
    bool more;
    SW_TRY(sw_json_enter_object(json));
    for (;;) {
        SW_TRY(sw_json_object_next(json, &key, &more));
        if (!more) {
            return SW_OK;
        }
        bool is_timeout = sw_str_is(key, "timeout");
        if (sw_str_is(key, "binary_data_output")) {
            SW_TRY(sw_json_bool(json, &c->binary_default));
        } else if (is_timeout || sw_str_is(key, "priority")) {
            SW_TRY(read_terms(c, json, is_timeout));
        } else {
            SW_TRY(sw_json_skip(json));
        }
    }
}

enum { SEEN_ID = 1, SEEN_PARAMETERS = 2, SEEN_INPUTS = 4, SEEN_OUTPUTS = 8 };

static unsigned key_bit(struct sw_str key) {
    return sw_str_is(key, "inputs")       ? SEEN_INPUTS
           : sw_str_is(key, "outputs")    ? SEEN_OUTPUTS
           : sw_str_is(key, "id")         ? SEEN_ID
           : sw_str_is(key, "parameters") ? SEEN_PARAMETERS
                                          : 0;
}

struct request {
    struct sw_tensor *inputs;
    size_t input_count;
    struct sw_str *blobs; /* NULL: no binary part announced */
};

static sw_status read_member(struct infer_call *c, struct sw_json *json, unsigned bit, struct request *r) {
    switch (bit) {
    case SEEN_INPUTS: return sw_oip_read_tensors(json, &c->call.model->inputs, r->blobs, &r->inputs, &r->input_count);
    case SEEN_OUTPUTS: return read_outputs(c, json);
    case SEEN_ID: return sw_json_string(json, &c->id);
    case SEEN_PARAMETERS: return read_parameters(c, json);
    default: return sw_json_skip(json);
    }
}

static sw_status read_request(struct infer_call *c, struct sw_str text, struct request *r, struct sw_error *err) {
    struct sw_json json;
    struct sw_str key;
    unsigned seen = 0;
    bool more;
    sw_json_init(&json, text, &c->call.x->arena, err);
    SW_TRY(sw_json_enter_object(&json));
    for (;;) {
        SW_TRY(sw_json_object_next(&json, &key, &more));
        if (!more) {
            break;
        }
        unsigned bit = key_bit(key);
        if (seen & bit) {
            return sw_json_fail(&json, "'" SW_STR_FMT "' appears twice", SW_STR_ARG(key));
        }
        seen |= bit;
        sw_status status = read_member(c, &json, bit, r);
        if (status) {
            return err ? sw_error_prefix(err, SW_STR_FMT, SW_STR_ARG(key)) : status;
        }
    }
    SW_TRY(sw_json_end(&json));
    if (!(seen & SEEN_INPUTS)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "'inputs' is missing");
    }
    return SW_OK;
}

/* ---- raw request: the data of the only input */

/* The shape of the raw input: dimension 0 is 1 when the model batches; at most one other free dimension follows from
 * the size. */
static sw_status raw_shape(const struct sw_model *model, const struct sw_tensor_spec *spec, size_t bytes,
                           int64_t shape[SW_RANK_MAX], struct sw_error *err) {
    uint32_t open = SW_RANK_MAX;
    uint64_t known = sw_dtype_size(spec->dtype);
    for (uint32_t i = 0; i < spec->rank; i++) {
        bool free_dimension = spec->shape[i] < 0;
        shape[i] = free_dimension ? 1 : spec->shape[i];
        if (free_dimension && !(i == 0 && model->batchable)) {
            if (open != SW_RANK_MAX) {
                return sw_fail(err, SW_E_INVALID_ARGUMENT,
                               "input '%s' has several free dimensions: a raw body does not say its shape", spec->name);
            }
            open = i;
        } else {
            known *= (uint64_t)shape[i];
        }
        if (known > SW_ELEMENTS_MAX * 16) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "input '%s' is too large for a raw body", spec->name);
        }
    }
    if (open != SW_RANK_MAX) {
        shape[open] = known ? (int64_t)(bytes / known) : 0;
    }
    return SW_OK;
}

static sw_status parse_raw(struct infer_call *c, struct sw_error *err) {
    struct sw_api_call *call = &c->call;
    const struct sw_tensor_spec *spec = sw_api_only_input(call->model);
    c->binary_default = true;
    if (!spec) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT,
                       "Inference-Header-Content-Length is 0, but the model has %zu inputs: a raw body is for one",
                       call->model->inputs.count);
    }
    if (spec->dtype == SW_DTYPE_BYTES) {
        return sw_api_body_as_element(call, err);
    }
    struct sw_tensor *t = sw_arena_calloc(&call->x->arena, 1, sizeof *t);
    if (!t) {
        return sw_api_no_memory(err);
    }
    *t = (struct sw_tensor){.name = sw_str_of(spec->name), .dtype = spec->dtype, .rank = spec->rank};
    SW_TRY(raw_shape(call->model, spec, call->x->body.len, t->shape, err));
    if (!sw_shape_count(t->shape, t->rank, &t->count)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "input '%s' is too large", spec->name);
    }
    SW_TRY(sw_binary_read(t, call->x->body, &call->x->arena, err));
    return sw_api_one_run(call, t, 1, err);
}

/* ---- parse */

/* The body's JSON part and, where the header announces one, what follows it. */
static sw_status split_body(const struct sw_http_exchange *x, struct sw_str *json, struct sw_str *blobs,
                            struct sw_error *err) {
    size_t length = x->binary_header_length;
    if (length > x->body.len) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "Inference-Header-Content-Length is %zu, but the body has %zu bytes",
                       length, x->body.len);
    }
    *json = (struct sw_str){x->body.data, length};
    *blobs = (struct sw_str){x->body.data + length, x->body.len - length};
    return SW_OK;
}

static sw_status infer_parse(struct sw_api_call *call, struct sw_error *err) {
    struct infer_call *c = (struct infer_call *)call;
    struct sw_http_exchange *x = call->x;
    struct sw_str text = x->body, blobs = {0};
    struct request request = {0};
    if (x->binary_header_length == 0) {
        return parse_raw(c, err);
    }
    if (x->binary_header_length != SIZE_MAX) {
        SW_TRY(split_body(x, &text, &blobs, err));
        request.blobs = &blobs;
    } else {
        enum sw_api_body kind;
        SW_TRY(sw_api_body_kind(call, &kind, err));
        if (kind == SW_API_BODY_STEP) {
            return sw_api_body_as_element(call, err);
        }
    }
    SW_TRY(read_request(c, text, &request, err));
    if (blobs.len) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "%zu bytes follow the last binary tensor", blobs.len);
    }
    SW_TRY(sw_api_one_run(call, request.inputs, request.input_count, err));
    call->runs[0].wanted = c->wanted_count ? c->wanted : NULL;
    call->runs[0].wanted_count = c->wanted_count;
    return SW_OK;
}

/* ---- answer */

struct answer {
    struct sw_buf json;
    struct sw_str *blobs;
    size_t blob_count;
    size_t written; /* outputs */
};

static bool is_binary(const struct infer_call *c, size_t i) {
    enum form form = c->wanted_count ? (enum form)c->forms[i] : FORM_DEFAULT;
    return form == FORM_BINARY || (form == FORM_DEFAULT && c->binary_default);
}

static sw_status put_output(struct infer_call *c, const struct sw_tensor *t, bool binary, struct answer *a,
                            struct sw_error *err) {
    struct sw_buf *out = &a->json;
    sw_buf_append_str(out, a->written++ ? SW_STR(",{\"name\":") : SW_STR("{\"name\":"));
    sw_buf_append_json(out, t->name);
    SW_LIT(out, ",\"datatype\":\"");
    sw_buf_append_str(out, sw_str_of(sw_dtype_name(t->dtype)));
    SW_LIT(out, "\",\"shape\":");
    sw_api_put_shape(out, t->shape, t->rank);
    if (binary) {
        struct sw_str *blob = &a->blobs[a->blob_count++];
        SW_TRY(sw_binary_write(t, &c->call.x->arena, blob, err));
        SW_LIT(out, ",\"parameters\":{\"binary_data_size\":");
        sw_api_put_u64(out, blob->len);
        SW_LIT(out, "}}");
        return SW_OK;
    }
    const struct sw_bundle *bundle = c->call.model->bundle;
    SW_LIT(out, ",\"data\":");
    SW_TRY(sw_json_write_data(out, t, false, bundle && bundle->allow_nonfinite, err));
    sw_buf_append_c(out, '}');
    return SW_OK;
}

static sw_status send_binary(struct sw_http_exchange *x, struct answer *a, struct sw_error *err) {
    char *length = sw_arena_alloc(&x->arena, SW_NUMBER_MAX + 1);
    if (!length) {
        return sw_api_no_memory(err);
    }
    *sw_format_uint(length, a->json.len) = '\0';
    sw_http_add_header(x, "Inference-Header-Content-Length", length);
    sw_http_reply(x, 200, SW_API_BINARY, sw_buf_str(&a->json));
    for (size_t i = 0; i < a->blob_count; i++) {
        sw_http_add_part(x, a->blobs[i]);
    }
    return SW_OK;
}

static sw_status infer_encode(struct sw_api_call *call, struct sw_error *err) {
    struct infer_call *c = (struct infer_call *)call;
    const struct sw_inference *run = &call->runs[0];
    struct answer a = {0};
    sw_api_buf(call->x, &a.json);
    a.blobs = sw_arena_alloc(&call->x->arena, run->output_count * sizeof *a.blobs);
    if (!a.blobs) {
        return sw_api_no_memory(err);
    }
    sw_buf_append(&a.json, call->stats->answer_head, call->stats->answer_head_length);
    if (c->id.data) {
        SW_LIT(&a.json, ",\"id\":");
        sw_buf_append_json(&a.json, c->id);
    }
    SW_LIT(&a.json, ",\"outputs\":[");
    for (size_t i = 0; i < run->output_count; i++) {
        if (run->outputs[i].dtype != SW_DTYPE_INVALID) { /* an optional output that the model left out */
            SW_TRY(put_output(c, &run->outputs[i], is_binary(c, i), &a, err));
        }
    }
    SW_LIT(&a.json, "]}");
    if (a.json.failed) {
        return sw_api_no_memory(err);
    }
    if (a.blob_count) {
        return send_binary(call->x, &a, err);
    }
    sw_http_reply(call->x, 200, SW_API_JSON, sw_buf_str(&a.json));
    return SW_OK;
}

const struct sw_api_codec sw_oip_infer_codec = {
    .call_size = sizeof(struct infer_call), .parse = infer_parse, .encode = infer_encode};

enum sw_http_result sw_api_oip_infer(struct sw_http_exchange *x) {
    return sw_api_call_start(x, &sw_oip_infer_codec);
}
