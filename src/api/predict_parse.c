/* Simple predict: from the body to the runs of the model.
 *
 * {"instances": [row, ...]} becomes one column a model input: the rows' values one behind the other, which is the
 * tensor with the rows as dimension 0. For a model with one input and plain rows the whole list is read in one go,
 * straight into tensor memory. Then the rows are fitted to the model's signature (plan):
 *   batch: the first dimension is free, or exactly as long as there are rows: one run
 *   each:  the model has no dimension for rows (a row is the whole input), or one of fixed length 1: one run a row
 * {"inputs": ...} gives whole tensors and is always one run. */
#include "api/api_internal.h"

enum { EACH_MAX = 1024 }; /* rows of a model that must run once a row */

struct column {
    const struct sw_tensor_spec *spec;
    size_t rows, capacity;
    struct sw_tensor row; /* shape of one row; its data: of all rows */
};

struct parser {
    struct sw_predict_call *call;
    struct sw_json *json;
    const struct sw_model *model;
    const struct sw_tensor_spec *only; /* the input that a bare row is for; NULL: rows must be objects */
    struct column *columns;            /* one an input of the model */
    size_t row;                        /* being read */
};

static sw_status no_memory(struct parser *p) {
    return sw_api_no_memory(p->json->err);
}

/* ---- values */

/* {"b64": "..."} with the cursor behind its key. */
static sw_status read_b64(struct parser *p, struct sw_str *ret) {
    struct sw_str text, key;
    bool more;
    SW_TRY(sw_json_string(p->json, &text));
    SW_TRY(sw_base64_decode(text, p->json->arena, ret, p->json->err));
    SW_TRY(sw_json_object_next(p->json, &key, &more));
    return more ? sw_json_fail(p->json, "an object with 'b64' has no other member") : SW_OK;
}

static sw_status read_b64_object(struct parser *p, const struct sw_tensor_spec *spec, struct sw_str *ret) {
    struct sw_str key;
    bool more;
    if (spec->dtype != SW_DTYPE_BYTES) {
        return sw_json_fail(p->json, "input '%s' takes %s, not an object", spec->name, sw_dtype_name(spec->dtype));
    }
    SW_TRY(sw_json_enter_object(p->json));
    SW_TRY(sw_json_object_next(p->json, &key, &more));
    if (!more || !sw_str_is(key, "b64")) {
        return sw_json_fail(p->json, "input '%s': an object must be {\"b64\": \"...\"}", spec->name);
    }
    return read_b64(p, ret);
}

/* Any value: a nested list, a bare value (rank 0), or {"b64": ...} (rank 0). */
static sw_status read_value(struct parser *p, const struct sw_tensor_spec *spec, struct sw_tensor *t) {
    char first = sw_json_peek(p->json);
    struct sw_str name = sw_str_of(spec->name);
    if (first == '[') {
        *t = (struct sw_tensor){.name = name, .dtype = spec->dtype};
        return sw_json_read_infer_shape(p->json, t, SW_ELEMENTS_MAX);
    }
    SW_TRY(sw_tensor_alloc(t, p->json->arena, name, spec->dtype, NULL, 0, p->json->err));
    return first == '{' ? read_b64_object(p, spec, t->data) : sw_json_read_data(p->json, t);
}

/* ---- rows into columns */

/* Room for one more row; the first row's shape is known. */
static sw_status reserve(struct parser *p, struct column *c) {
    size_t row_bytes = c->row.count * sw_dtype_size(c->row.dtype);
    if (c->rows < c->capacity) {
        return SW_OK;
    }
    size_t capacity = c->capacity * 2;
    if (c->row.count && capacity > SW_ELEMENTS_MAX / c->row.count) {
        return sw_json_fail(p->json, "input '%s' has too many elements", c->spec->name);
    }
    void *data = sw_arena_grow(p->json->arena, c->row.data, c->capacity * row_bytes, capacity * row_bytes, 64);
    if (!data) {
        return no_memory(p);
    }
    c->row.data = data;
    c->capacity = capacity;
    return SW_OK;
}

/* The value at the cursor as row p->row of the column. */
static sw_status add_value(struct parser *p, struct column *c) {
    if (c->rows != p->row) {
        bool twice = c->rows > p->row;
        return sw_json_fail(p->json, twice ? "input '%s' appears twice" : "input '%s' is missing in an instance before",
                            c->spec->name);
    }
    if (c->rows == 0) {
        c->rows = c->capacity = 1;
        return read_value(p, c->spec, &c->row);
    }
    SW_TRY(reserve(p, c));
    struct sw_tensor slot = c->row;
    slot.data = (char *)c->row.data + c->rows * c->row.count * sw_dtype_size(c->row.dtype);
    c->rows++;
    if (slot.rank == 0 && sw_json_peek(p->json) == '{') {
        return read_b64_object(p, c->spec, slot.data);
    }
    return sw_json_read_data(p->json, &slot);
}

static struct column *find_column(struct parser *p, struct sw_str name) {
    const struct sw_tensor_spec *spec = sw_specs_find(&p->model->inputs, name);
    return spec ? &p->columns[spec - p->model->inputs.items] : NULL;
}

/* An object row: {"name": value, ...}, or {"b64": ...} for the only input. */
static sw_status read_object_row(struct parser *p) {
    struct sw_str key;
    bool more, first = true;
    SW_TRY(sw_json_enter_object(p->json));
    for (;; first = false) {
        SW_TRY(sw_json_object_next(p->json, &key, &more));
        if (!more) {
            return SW_OK;
        }
        struct column *c = find_column(p, key);
        if (!c && first && p->only && p->only->dtype == SW_DTYPE_BYTES && sw_str_is(key, "b64")) {
            c = find_column(p, sw_str_of(p->only->name));
            if (c->rows == 0) {
                c->capacity = 1;
                SW_TRY(sw_tensor_alloc(&c->row, p->json->arena, sw_str_of(c->spec->name), SW_DTYPE_BYTES, NULL, 0,
                                       p->json->err));
            } else if (c->row.rank != 0) {
                return sw_json_fail(p->json, "input '%s': this instance has another shape than the first",
                                    c->spec->name);
            }
            SW_TRY(reserve(p, c));
            return read_b64(p, (struct sw_str *)c->row.data + c->rows++);
        }
        if (!c) {
            return sw_json_fail(p->json, "'" SW_STR_FMT "' is not an input of the model", SW_STR_ARG(key));
        }
        SW_TRY(add_value(p, c));
    }
}

static sw_status check_row(struct parser *p) {
    for (size_t i = 0; i < p->model->inputs.count; i++) {
        const struct column *c = &p->columns[i];
        if (c->rows <= p->row && (!c->spec->optional || c->rows)) {
            return sw_json_fail(p->json, "input '%s' is missing", c->spec->name);
        }
    }
    return SW_OK;
}

static sw_status read_row(struct parser *p) {
    if (sw_json_peek(p->json) == '{') {
        SW_TRY(read_object_row(p));
        return check_row(p);
    }
    if (!p->only) {
        return sw_json_fail(p->json, "the model has %zu inputs: an instance must be an object of names and values",
                            p->model->inputs.count);
    }
    return add_value(p, find_column(p, sw_str_of(p->only->name)));
}

static sw_status read_rows(struct parser *p) {
    bool more;
    SW_TRY(sw_json_enter_array(p->json));
    for (p->row = 0;; p->row++) {
        SW_TRY(sw_json_array_next(p->json, &more));
        if (!more) {
            break;
        }
        if (read_row(p)) {
            return p->json->err ? sw_error_prefix(p->json->err, "instances[%zu]", p->row) : SW_E_INVALID_ARGUMENT;
        }
    }
    p->call->rows = p->row;
    return SW_OK;
}

/* Are the instances plain rows (not objects), at least one? Looks without consuming. */
static sw_status peek_first_row(const struct sw_json *at, char *ret) {
    struct sw_json json = *at;
    bool more;
    SW_TRY(sw_json_enter_array(&json));
    SW_TRY(sw_json_array_next(&json, &more));
    *ret = more ? sw_json_peek(&json) : 0;
    return SW_OK;
}

/* All rows at once: the list of rows is a tensor with one dimension more. */
static sw_status read_plain_rows(struct parser *p) {
    struct column *c = find_column(p, sw_str_of(p->only->name));
    struct sw_tensor t = {.name = sw_str_of(p->only->name), .dtype = p->only->dtype};
    SW_TRY(sw_json_read_infer_shape(p->json, &t, SW_ELEMENTS_MAX));
    SW_ASSERT(t.rank >= 1);
    c->rows = c->capacity = p->call->rows = (size_t)t.shape[0];
    c->row = t;
    c->row.rank = t.rank - 1;
    memmove(c->row.shape, t.shape + 1, c->row.rank * sizeof t.shape[0]);
    c->row.count = c->rows ? t.count / c->rows : 0;
    return SW_OK;
}

static sw_status read_instances(struct parser *p) {
    char first;
    if (sw_json_peek(p->json) != '[') {
        return sw_json_fail(p->json, "'instances' must be a list with one entry a row");
    }
    SW_TRY(peek_first_row(p->json, &first));
    if (first == 0) {
        return sw_json_fail(p->json, "'instances' is empty");
    }
    return first != '{' && p->only ? read_plain_rows(p) : read_rows(p);
}

/* ---- rows to runs */

static bool all_ones(const int64_t *shape, uint32_t rank) {
    for (uint32_t i = 0; i < rank; i++) {
        if (shape[i] != 1 && shape[i] != -1) {
            return false;
        }
    }
    return true;
}

/* Does a row look like the dimensions from `skip` on? A bare value also fits dimensions that are all 1. */
static bool row_fits(const struct column *c, uint32_t skip) {
    uint32_t rank = c->spec->rank - skip;
    return c->row.rank == rank || (c->row.rank == 0 && all_ones(c->spec->shape + skip, rank));
}

static bool fits_batch(const struct column *c) {
    return c->spec->rank > 0 && (c->spec->shape[0] == -1 || (uint64_t)c->spec->shape[0] == c->rows) && row_fits(c, 1);
}

static bool fits_strip(const struct column *c) {
    return c->spec->rank > 0 && c->spec->shape[0] == 1 && row_fits(c, 1);
}

static bool fits_each(const struct column *c) {
    return row_fits(c, 0);
}

static bool all_fit(const struct parser *p, bool (*fits)(const struct column *c)) {
    for (size_t i = 0; i < p->model->inputs.count; i++) {
        if (p->columns[i].rows && !fits(&p->columns[i])) {
            return false;
        }
    }
    return true;
}

/* The tensor of `rows` rows from row `first` on; with_rows: the rows are dimension 0. */
static struct sw_tensor make_tensor(const struct column *c, size_t first, size_t rows, bool with_rows) {
    struct sw_tensor t = c->row;
    uint32_t lead = with_rows, rank = c->row.rank;
    if (rank == 0 && c->spec->rank > lead && all_ones(c->spec->shape + lead, c->spec->rank - lead)) {
        rank = c->spec->rank - lead; /* a bare value where the model wants [1] */
        for (uint32_t i = 0; i < rank; i++) {
            t.shape[lead + i] = 1;
        }
    } else {
        memcpy(t.shape + lead, c->row.shape, rank * sizeof t.shape[0]);
    }
    if (with_rows) {
        t.shape[0] = (int64_t)rows;
    }
    t.rank = rank + lead;
    t.count = c->row.count * rows;
    if (t.count) {
        t.data = (char *)c->row.data + first * c->row.count * sw_dtype_size(c->row.dtype);
    }
    return t;
}

static sw_status make_run(struct parser *p, size_t first, size_t rows, bool with_rows, struct sw_inference *run) {
    run->inputs = sw_arena_calloc(p->json->arena, p->model->inputs.count, sizeof *run->inputs);
    if (!run->inputs) {
        return no_memory(p);
    }
    for (size_t i = 0; i < p->model->inputs.count; i++) {
        const struct column *c = &p->columns[i];
        if (c->rows == 0) {
            continue;
        }
        if (c->row.rank + with_rows > SW_RANK_MAX) {
            return sw_fail(p->json->err, SW_E_INVALID_ARGUMENT, "input '%s' has too many dimensions", c->spec->name);
        }
        run->inputs[run->input_count++] = make_tensor(c, first, rows, with_rows);
    }
    return SW_OK;
}

static sw_status plan(struct parser *p) {
    struct sw_predict_call *call = p->call;
    size_t rows = call->rows;
    if (!p->model->batchable && !all_fit(p, fits_batch)) {
        call->strip = all_fit(p, fits_strip);
        call->each = call->strip || all_fit(p, fits_each);
        /* Neither: as one batch, so that the check of the signature says what does not fit. */
    }
    if (call->each && rows > EACH_MAX) {
        return sw_fail(p->json->err, SW_E_INVALID_ARGUMENT,
                       "%zu instances: the model has no dimension for rows, at most %d run in one request", rows,
                       EACH_MAX);
    }
    call->call.run_count = call->each ? rows : 1;
    call->call.runs = sw_arena_calloc(p->json->arena, call->call.run_count, sizeof *call->call.runs);
    if (!call->call.runs) {
        return no_memory(p);
    }
    for (size_t i = 0; i < call->call.run_count; i++) {
        SW_TRY(make_run(p, i, call->each ? 1 : rows, !call->each || call->strip, &call->call.runs[i]));
    }
    return SW_OK;
}

/* ---- whole tensors */

/* A whole tensor is a column of one row without a dimension for rows. */
static sw_status read_named_inputs(struct parser *p) {
    p->row = 0;
    SW_TRY(read_object_row(p));
    return check_row(p);
}

static sw_status read_inputs(struct parser *p) {
    p->call->columnar = true;
    if (sw_json_peek(p->json) == '{') {
        SW_TRY(read_named_inputs(p));
    } else if (p->only) {
        SW_TRY(add_value(p, find_column(p, sw_str_of(p->only->name))));
    } else {
        return sw_json_fail(p->json, "the model has %zu inputs: 'inputs' must be an object of names and values",
                            p->model->inputs.count);
    }
    p->call->rows = 1;
    return SW_OK;
}

static sw_status plan_columnar(struct parser *p) {
    struct sw_api_call *call = &p->call->call;
    call->run_count = 1;
    call->runs = sw_arena_calloc(p->json->arena, 1, sizeof *call->runs);
    return call->runs ? make_run(p, 0, 1, false, &call->runs[0]) : no_memory(p);
}

/* ---- the body */

enum { SEEN_INSTANCES = 1, SEEN_INPUTS = 2, SEEN_SIGNATURE = 4 };

static sw_status read_member(struct parser *p, struct sw_str key, unsigned *seen) {
    struct sw_str ignored;
    unsigned bit = sw_str_is(key, "instances")        ? SEEN_INSTANCES
                   : sw_str_is(key, "inputs")         ? SEEN_INPUTS
                   : sw_str_is(key, "signature_name") ? SEEN_SIGNATURE
                                                      : 0;
    if (bit == 0) {
        return sw_json_fail(p->json, "unknown field '" SW_STR_FMT "': known are instances, inputs, signature_name",
                            SW_STR_ARG(key));
    }
    if (*seen & bit) {
        return sw_json_fail(p->json, "'" SW_STR_FMT "' appears twice", SW_STR_ARG(key));
    }
    *seen |= bit;
    if ((*seen & SEEN_INSTANCES) && (*seen & SEEN_INPUTS)) {
        return sw_json_fail(p->json, "'instances' and 'inputs' exclude each other");
    }
    return bit == SEEN_INSTANCES ? read_instances(p)
           : bit == SEEN_INPUTS  ? read_inputs(p)
                                 : sw_json_string(p->json, &ignored);
}

static sw_status read_body(struct parser *p) {
    struct sw_str key;
    unsigned seen = 0;
    bool more;
    SW_TRY(sw_json_enter_object(p->json));
    for (;;) {
        SW_TRY(sw_json_object_next(p->json, &key, &more));
        if (!more) {
            break;
        }
        SW_TRY(read_member(p, key, &seen));
    }
    SW_TRY(sw_json_end(p->json));
    if (!(seen & (SEEN_INSTANCES | SEEN_INPUTS))) {
        return sw_fail(p->json->err, SW_E_INVALID_ARGUMENT, "'instances' is missing");
    }
    return p->call->columnar ? plan_columnar(p) : plan(p);
}

sw_status sw_predict_parse_json(struct sw_api_call *call, struct sw_error *err) {
    struct sw_json json;
    const struct sw_model *model = call->model;
    struct parser p = {.call = (struct sw_predict_call *)call, .json = &json, .model = model};
    p.only = sw_api_only_input(model);
    sw_json_init(&json, call->x->body, &call->x->arena, err);
    p.columns = sw_arena_calloc(&call->x->arena, model->inputs.count, sizeof *p.columns);
    if (!p.columns) {
        return no_memory(&p);
    }
    for (size_t i = 0; i < model->inputs.count; i++) {
        p.columns[i].spec = &model->inputs.items[i];
    }
    return read_body(&p);
}

sw_status sw_predict_parse(struct sw_api_call *call, struct sw_error *err) {
    enum sw_api_body kind;
    SW_TRY(sw_api_body_kind(call, &kind, err));
    if (kind == SW_API_BODY_STEP) {
        ((struct sw_predict_call *)call)->rows = 1;
        return sw_api_body_as_element(call, err);
    }
    return sw_predict_parse_json(call, err);
}
