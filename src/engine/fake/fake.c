/* Loading a .fake.json; see fake_internal.h for its form. Every key is checked: a misspelt one is an error, so that a
 * test does not pass because its instruction was overlooked. */
#include <jansson.h>

#include "base/file.h"
#include "base/memory.h"
#include "engine/fake/fake_internal.h"

enum { FILE_MAX = 1 << 20, TENSORS_MAX = 256 };

static const char *const op_names[FAKE_OP_COUNT] = {
    [FAKE_SUM] = "sum",   [FAKE_IDENTITY] = "identity", [FAKE_CONSTANT] = "constant",
    [FAKE_ROWS] = "rows", [FAKE_NAN] = "nan",           [FAKE_FAIL] = "fail",
};

static sw_status fail(struct sw_error *err, const char *what) {
    return sw_fail(err, SW_E_MODEL_INVALID, "%s", what);
}

/* --- tensors --- */

static sw_status read_dimension(const json_t *value, struct sw_tensor_spec *spec, uint32_t i, struct sw_error *err) {
    if (json_is_string(value)) {
        spec->shape[i] = -1;
        spec->dimension_name[i] = sw_xstrdup(json_string_value(value));
        return SW_OK;
    }
    if (!json_is_integer(value) || json_integer_value(value) < -1) {
        return fail(err, "an entry of `shape` must be a size, -1 or a name");
    }
    spec->shape[i] = json_integer_value(value);
    return SW_OK;
}

/* One input (flag "optional") or output (flag "absent"). */
static sw_status read_tensor(json_t *json, const char *flag_name, struct sw_tensor_spec *spec, bool *ret_flag,
                             struct sw_error *err) {
    const char *name = NULL, *datatype = NULL;
    json_t *shape = NULL;
    int flag = 0;
    json_error_t why;
    if (json_unpack_ex(json, &why, JSON_STRICT, "{s:s, s:s, s:o, s?b}", "name", &name, "datatype", &datatype, "shape",
                       &shape, flag_name, &flag) != 0) {
        return sw_fail(err, SW_E_MODEL_INVALID, "inputs and outputs: %s", why.text);
    }
    spec->name = sw_xstrdup(name);
    spec->dtype = sw_dtype_parse(sw_str_of(datatype));
    if (!spec->dtype) {
        return sw_fail(err, SW_E_MODEL_INVALID, "'%s': unknown datatype %s", name, datatype);
    }
    if (!json_is_array(shape) || json_array_size(shape) > SW_RANK_MAX) {
        return sw_fail(err, SW_E_MODEL_INVALID, "'%s': `shape` must be a list of at most %d sizes", name, SW_RANK_MAX);
    }
    spec->rank = (uint32_t)json_array_size(shape);
    for (uint32_t i = 0; i < spec->rank; i++) {
        SW_TRY(read_dimension(json_array_get(shape, i), spec, i, err));
    }
    *ret_flag = flag;
    return SW_OK;
}

static sw_status read_tensors(json_t *list, const char *flag_name, struct sw_tensor_specs *specs, bool **ret_flags,
                              struct sw_error *err) {
    size_t count = json_array_size(list);
    if (!json_is_array(list) || count > TENSORS_MAX) {
        return fail(err, "`inputs` and `outputs` must be lists");
    }
    specs->items = sw_xcalloc(count, sizeof *specs->items);
    *ret_flags = sw_xcalloc(count, sizeof **ret_flags);
    for (size_t i = 0; i < count; i++) {
        specs->count = i + 1;
        SW_TRY(read_tensor(json_array_get(list, i), flag_name, &specs->items[i], &(*ret_flags)[i], err));
        specs->items[i].optional = (*ret_flags)[i];
    }
    return SW_OK;
}

/* --- the file --- */

static char *beside(const char *path, const char *name) {
    if (!name || name[0] == '/') {
        return sw_xstrdup(name);
    }
    const char *slash = strrchr(path, '/');
    char *folder = slash ? sw_xstrndup(path, (size_t)(slash - path)) : sw_xstrdup(".");
    char *joined = sw_path_join(folder, name);
    sw_free(folder);
    return joined;
}

static void pause_deinit(struct fake_pause *pause) {
    sw_free(pause->started);
    sw_free(pause->wait_for);
    sw_free(pause->wait_while);
}

/* What a file says, borrowed from its JSON. */
struct script {
    json_t *inputs, *outputs, *value, *fail_on;
    const char *op, *message, *load_error;
    const char *run_started, *wait_for, *wait_while;
    const char *load_started, *load_wait_for, *load_wait_while;
    json_int_t fail_every, spin_us, load_spin_us, ballast_bytes;
};

static sw_status read_script(json_t *root, struct script *s, struct sw_error *err) {
    *s = (struct script){.op = "sum", .message = "the model was told to fail"};
    json_error_t why;
    if (json_unpack_ex(root, &why, JSON_STRICT,
                       "{s:o, s:o, s?s, s?o, s?s, s?s, s?s, s?s, s?s, s?s, s?s, s?s, s?I, s?I, s?I, s?I, s?o}",
                       "inputs", &s->inputs, "outputs", &s->outputs, "op", &s->op, "value", &s->value, "message",
                       &s->message, "load_error", &s->load_error, "run_started", &s->run_started, "wait_for",
                       &s->wait_for, "wait_while", &s->wait_while, "load_started", &s->load_started, "load_wait_for",
                       &s->load_wait_for, "load_wait_while", &s->load_wait_while, "fail_every", &s->fail_every,
                       "spin_us", &s->spin_us, "load_spin_us", &s->load_spin_us, "ballast_bytes", &s->ballast_bytes,
                       "fail_on", &s->fail_on) != 0) {
        return fail(err, why.text);
    }
    if (s->fail_on && !json_is_number(s->fail_on)) {
        return fail(err, "fail_on must be a number");
    }
    if (s->fail_every < 0 || s->spin_us < 0 || s->load_spin_us < 0 || s->ballast_bytes < 0) {
        return fail(err, "numbers must not be negative");
    }
    return SW_OK;
}

static sw_status read_op(struct fake_session *s, const struct script *script, struct sw_error *err) {
    size_t op = 0;
    while (op < FAKE_OP_COUNT && strcmp(op_names[op], script->op) != 0) {
        op++;
    }
    if (op == FAKE_OP_COUNT) {
        return sw_fail(err, SW_E_MODEL_INVALID, "unknown op '%s'", script->op);
    }
    s->op = (enum fake_op)op;
    s->value = json_number_value(script->value);
    s->text = sw_xstrdup(json_is_string(script->value) ? json_string_value(script->value) : "");
    s->message = sw_xstrdup(script->message);
    s->fail_every = (uint64_t)script->fail_every;
    s->fails_on = script->fail_on != NULL;
    s->fail_on = json_number_value(script->fail_on);
    if (s->op != FAKE_IDENTITY) {
        return SW_OK;
    }
    for (size_t i = 0; i < s->outputs.count; i++) {
        if (i >= s->inputs.count || s->inputs.items[i].dtype != s->outputs.items[i].dtype) {
            return fail(err, "op identity needs for each output an input of the same datatype");
        }
    }
    return SW_OK;
}

static sw_status act_load(struct fake_session *s, const struct script *script, const char *path, struct sw_error *err) {
    struct fake_pause pause = {(uint64_t)script->load_spin_us, beside(path, script->load_started),
                               beside(path, script->load_wait_for), beside(path, script->load_wait_while)};
    sw_status status = fake_pause(&pause, SW_E_MODEL_INVALID, err);
    pause_deinit(&pause);
    SW_TRY(status);
    if (script->load_error) {
        return fail(err, script->load_error);
    }
    if (script->ballast_bytes) {
        s->ballast = sw_malloc((size_t)script->ballast_bytes);
        if (!s->ballast) {
            return sw_fail(err, SW_E_UNAVAILABLE, "no memory left for the model");
        }
        memset(s->ballast, 1, (size_t)script->ballast_bytes);
    }
    return SW_OK;
}

static sw_status read_session(struct fake_session *s, json_t *root, const char *path, struct sw_error *err) {
    struct script script;
    SW_TRY(read_script(root, &script, err));
    bool *ignored = NULL;
    sw_status status = read_tensors(script.inputs, "optional", &s->inputs, &ignored, err);
    sw_free(ignored);
    SW_TRY(status);
    SW_TRY(read_tensors(script.outputs, "absent", &s->outputs, &s->absent, err));
    SW_TRY(read_op(s, &script, err));
    s->run_pause = (struct fake_pause){(uint64_t)script.spin_us, beside(path, script.run_started),
                                       beside(path, script.wait_for), beside(path, script.wait_while)};
    return act_load(s, &script, path, err);
}

static void unload(struct sw_session *session) {
    struct fake_session *s = (struct fake_session *)session;
    sw_specs_deinit(&s->inputs);
    sw_specs_deinit(&s->outputs);
    sw_free(s->absent);
    sw_free(s->text);
    sw_free(s->message);
    pause_deinit(&s->run_pause);
    sw_free(s->ballast);
    sw_free(s);
    sw_memory_trim();
}

static sw_status load_text(struct fake_session *s, struct sw_str text, const char *path, struct sw_error *err) {
    json_error_t why;
    json_t *root = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, &why);
    if (!root) {
        return sw_fail(err, SW_E_MODEL_INVALID, "line %d: %s", why.line, why.text);
    }
    sw_status status = read_session(s, root, path, err);
    json_decref(root);
    return status;
}

static sw_status load(struct sw_engine *engine, const char *path, const struct sw_session_options *options,
                      struct sw_session **ret_session, struct sw_error *err) {
    struct sw_buf text;
    SW_TRY(sw_file_read(path, FILE_MAX, &text, err));
    struct fake_session *s = SW_NEW(struct fake_session);
    s->base.engine = engine;
    sw_status status = load_text(s, sw_buf_str(&text), path, err);
    sw_buf_deinit(&text);
    if (status) {
        sw_error_prefix(err, "%s", path);
        unload(&s->base);
        return status;
    }
    *ret_session = &s->base;
    return SW_OK;
}

/* --- the engine --- */

static const char *version(struct sw_engine *engine) {
    return "1";
}

static void destroy(struct sw_engine *engine) {
    sw_free(engine);
}

static bool accepts(struct sw_engine *engine, struct sw_str path) {
    return sw_str_ends(path, SW_STR(".fake.json"));
}

static const struct sw_tensor_specs *get_inputs(const struct sw_session *session) {
    return &((const struct fake_session *)session)->inputs;
}

static const struct sw_tensor_specs *get_outputs(const struct sw_session *session) {
    return &((const struct fake_session *)session)->outputs;
}

/* The op, and what happened so far: tests read the counts. */
static void describe(const struct sw_session *session, void (*fn)(void *arg, const char *key, const char *value),
                     void *arg) {
    const struct fake_session *s = (const struct fake_session *)session;
    fn(arg, "op", op_names[s->op]);
    const struct {
        const char *key;
        uint64_t value;
    } counts[] = {
        {"runs", atomic_load(&s->runs)}, {"rows", atomic_load(&s->rows)}, {"rows_max", atomic_load(&s->rows_max)}};
    for (size_t i = 0; i < SW_COUNTOF(counts); i++) {
        char number[24];
        snprintf(number, sizeof number, "%llu", (unsigned long long)counts[i].value);
        fn(arg, counts[i].key, number);
    }
}

static const struct sw_engine_ops ops = {
    .name = "fake",
    .version = version,
    .destroy = destroy,
    .accepts = accepts,
    .load = load,
    .unload = unload,
    .inputs = get_inputs,
    .outputs = get_outputs,
    .describe = describe,
    .run = fake_run,
};

sw_status sw_engine_fake_create(struct sw_engine **ret, struct sw_error *err) {
    struct sw_engine *engine = SW_NEW(struct sw_engine);
    engine->ops = &ops;
    *ret = engine;
    return SW_OK;
}
