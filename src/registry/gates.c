/* May this version go live? The gates of a promotion, in order: digest, load, golden, signature, latency, and the
 * quality gates of the bundle. One that cannot be looked at because the model does not load is "skipped"; one whose
 * measure is missing has failed: a bundle that asks for something must be able to show it.
 *
 * sw_gates_run looks at a folder and knows no registry; sw_registry_run_gates brings the folder. */
#include <inttypes.h>
#include <math.h>

#include "base/memory.h"
#include "registry/registry_internal.h"

enum { GATE_ITERATIONS_MAX = 100000, GATE_ARENA_RETAIN = 1 << 20 };
#define GATE_LATENCY_MAX_NS UINT64_C(60000000000) /* of measuring; a model that takes longer is measured less often */
#define LATENCY_KEY "max_latency_ms"

struct run {
    const struct sw_gate_input *input;
    struct sw_clock *clock;
    struct sw_model *model; /* NULL: did not load */
    json_t *gates;
    json_t *signature;
    bool passed;
};

/* The message without the place of the folder, which says nothing to those who read it. */
static void put_detail(json_t *gate, const char *message, const char *folder) {
    char text[SW_ERROR_MESSAGE_MAX];
    SW_AUTO_FREE char *real = realpath(folder, NULL);
    const char *places[] = {folder, real};
    snprintf(text, sizeof text, "%s", message);
    for (size_t i = 0; i < SW_COUNTOF(places); i++) {
        size_t n = places[i] ? strlen(places[i]) : 0;
        for (char *at = text; n && (at = strstr(at, places[i]));) {
            size_t cut = n + (at[n] == '/');
            memmove(at, at + cut, strlen(at + cut) + 1);
        }
    }
    json_object_set_new(gate, "detail", json_string(text));
}

static json_t *gate_new(const char *name, const char *status) {
    return json_pack("{s:s, s:s, s:n, s:n, s:n}", "name", name, "status", status, "measured", "wanted", "detail");
}

static json_t *add_gate(struct run *r, const char *name, const char *status) {
    json_t *gate = gate_new(name, status);
    json_array_append_new(r->gates, gate);
    r->passed = r->passed && strcmp(status, "failed") != 0;
    return gate;
}

static void add_skipped(struct run *r, const char *name, const char *why) {
    json_object_set_new(add_gate(r, name, "skipped"), "detail", json_string(why));
}

static void add_failed(struct run *r, const char *name, const struct sw_error *why) {
    put_detail(add_gate(r, name, "failed"), why->message, r->input->path);
}

/* the served signature --------------------------------------------------------------------------------------------- */

static json_t *specs_json(const struct sw_tensor_specs *specs) {
    json_t *list = json_array();
    for (size_t i = 0; i < specs->count; i++) {
        const struct sw_tensor_spec *spec = &specs->items[i];
        json_t *shape = json_array();
        for (uint32_t d = 0; d < spec->rank; d++) {
            json_array_append_new(shape, json_integer(spec->shape[d]));
        }
        json_t *value = json_pack("{s:s, s:s, s:o}", "name", spec->name, "datatype", sw_dtype_name(spec->dtype),
                                  "shape", shape);
        if (value && spec->optional) {
            json_object_set_new(value, "optional", json_true());
        }
        json_array_append_new(list, value);
    }
    return list;
}

/* the gates -------------------------------------------------------------------------------------------------------- */

/* SW_E_UNAVAILABLE (no memory left) says nothing about the model: it is returned. */
static sw_status run_load(struct run *r, const struct sw_model_options *options, struct sw_error *err) {
    struct sw_model_options without_golden = *options;
    struct sw_error why;
    without_golden.skip_golden = true;
    sw_status status = sw_model_load(r->input->path, r->input->name, r->input->version, &without_golden, &r->model,
                                     &why);
    if (status == SW_E_UNAVAILABLE) {
        return sw_fail(err, status, "%s", why.message);
    }
    if (status) {
        add_failed(r, "load", &why);
        return SW_OK;
    }
    add_gate(r, "load", "passed");
    r->signature = json_pack("{s:o, s:o}", "inputs", specs_json(&r->model->inputs), "outputs",
                             specs_json(&r->model->outputs));
    return SW_OK;
}

/* Measured: how many requests were answered as wanted. */
static void run_golden(struct run *r) {
    size_t count = 0;
    struct sw_error why;
    if (!r->model->bundle->golden_path) {
        add_skipped(r, "golden", "the bundle names no golden answers");
    } else if (sw_golden_check(r->model, r->clock, &count, &why)) {
        add_failed(r, "golden", &why);
    } else {
        json_object_set_new(add_gate(r, "golden", "passed"), "measured", json_integer((json_int_t)count));
    }
}

static void run_signature(struct run *r) {
    char why[SW_ERROR_MESSAGE_MAX] = "", text[SW_ERROR_MESSAGE_MAX + 32];
    if (!json_is_object(r->input->live_signature)) {
        add_skipped(r, "signature", "no version is live that it could break");
        return;
    }
    bool breaks = sw_signature_breaks(r->input->live_signature, r->signature, why, sizeof why);
    json_t *gate = add_gate(r, "signature", breaks && !r->input->allow_breaking ? "failed" : "passed");
    if (breaks) {
        snprintf(text, sizeof text, "%s%s", r->input->allow_breaking ? "breaking, allowed: " : "", why);
        json_object_set_new(gate, "detail", json_string(text));
    }
}

/* One run on zeros; *ret_ns its time. */
static sw_status zero_run(const struct run *r, struct sw_arena *arena, uint64_t *ret_ns, struct sw_error *err) {
    struct sw_inference inference = {.input_count = r->model->inputs.count};
    sw_arena_reset(arena);
    SW_TRY(sw_model_zero_inputs(&r->model->inputs, 1, arena, &inference.inputs, err));
    uint64_t start = sw_now_ns(r->clock);
    SW_TRY(sw_model_infer(r->model, &inference, arena, r->clock, err));
    *ret_ns = sw_now_ns(r->clock) - start;
    return SW_OK;
}

/* The first run tells whether the model takes zeros at all, and is not counted. */
static sw_status time_zeros(const struct run *r, uint64_t *times, size_t count, size_t *ret_count,
                            struct sw_error *err) {
    SW_AUTO_ARENA struct sw_arena arena;
    sw_arena_init(&arena, 0, GATE_ARENA_RETAIN);
    uint64_t total = 0;
    SW_TRY(zero_run(r, &arena, &times[0], err));
    size_t n = 0;
    while (n < count && (n == 0 || total < GATE_LATENCY_MAX_NS)) {
        SW_TRY(zero_run(r, &arena, &times[n], err));
        total += times[n++];
    }
    *ret_count = n;
    return SW_OK;
}

static int by_time(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The smallest time that at least 95 of 100 runs do not exceed (nearest rank). */
static uint64_t p95(uint64_t *times, size_t count) {
    qsort(times, count, sizeof *times, by_time);
    return times[(count * 95 + 99) / 100 - 1];
}

static void run_latency(struct run *r, size_t iterations) {
    const json_t *budget = json_object_get(r->model->bundle->gates, LATENCY_KEY);
    if (!budget) {
        add_skipped(r, "latency", "the bundle sets no " LATENCY_KEY);
        return;
    }
    SW_AUTO_FREE uint64_t *times = sw_xcalloc(iterations, sizeof *times);
    struct sw_error zeros, golden;
    size_t count = 0;
    const char *what = "on zeros";
    bool measured = time_zeros(r, times, iterations, &count, &zeros) == SW_OK;
    if (!measured) {
        what = "on the golden requests";
        measured = sw_golden_time(r->model, r->clock, iterations, GATE_LATENCY_MAX_NS, times, &count, &golden) == SW_OK;
    }
    double wanted = json_number_value(budget), ms = measured ? (double)p95(times, count) / 1e6 : 0;
    json_t *gate = add_gate(r, "latency", measured && ms <= wanted ? "passed" : "failed");
    char text[2 * SW_ERROR_MESSAGE_MAX];
    json_object_set_new(gate, "wanted", json_real(wanted));
    if (measured) {
        json_object_set_new(gate, "measured", json_real(ms));
        snprintf(text, sizeof text, "p95 in milliseconds of %zu runs %s", count, what);
    } else {
        snprintf(text, sizeof text, "cannot be measured: zeros: %.200s; golden requests: %.200s", zeros.message,
                 golden.message);
    }
    put_detail(gate, text, r->input->path);
}

/* The value of a metric; its short and its long name mean the same. NULL: not measured. */
static const json_t *find_metric(const json_t *metrics, const char *name) {
    static const char *const same[][2] = {{"fpr", "false_positive_rate"},
                                          {"fnr", "false_negative_rate"},
                                          {"tpr", "true_positive_rate"},
                                          {"tnr", "true_negative_rate"}};
    const json_t *value = json_object_get(metrics, name);
    for (size_t i = 0; i < SW_COUNTOF(same) && !value; i++) {
        for (size_t k = 0; k < 2 && !value; k++) {
            value = strcmp(name, same[i][k]) == 0 ? json_object_get(metrics, same[i][1 - k]) : NULL;
        }
    }
    return json_is_number(value) ? value : NULL;
}

/* `key`: max_X or min_X. */
static void run_quality(struct run *r, const char *key, double wanted) {
    const char *name = key + 4;
    bool at_most = strncmp(key, "max_", 4) == 0;
    const json_t *metric = find_metric(r->input->metrics, name);
    double measured = json_number_value(metric);
    json_t *gate = add_gate(r, name,
                            metric && (at_most ? measured <= wanted : measured >= wanted) ? "passed" : "failed");
    char text[SW_ERROR_MESSAGE_MAX];
    json_object_set_new(gate, "wanted", json_real(wanted));
    if (metric) {
        json_object_set_new(gate, "measured", json_real(measured));
        snprintf(text, sizeof text, "%s %.12g is wanted", at_most ? "at most" : "at least", wanted);
    } else {
        snprintf(
            text, sizeof text,
            "the bundle sets %.100s, but the version has no metric %.100s (metadata of the bundle, or metrics of the "
            "version)",
            key, name);
    }
    json_object_set_new(gate, "detail", json_string(text));
}

static void run_rest(struct run *r) {
    size_t iterations = r->input->iterations ? r->input->iterations : 1;
    run_golden(r);
    run_signature(r);
    run_latency(r, iterations < GATE_ITERATIONS_MAX ? iterations : GATE_ITERATIONS_MAX);
    const char *key;
    json_t *value;
    json_object_foreach(r->model->bundle->gates, key, value) {
        if (strcmp(key, LATENCY_KEY) != 0) {
            run_quality(r, key, json_number_value(value));
        }
    }
}

sw_status sw_gates_run(const struct sw_gate_input *input, const struct sw_model_options *model, json_t **ret_gates,
                       json_t **ret_signature, bool *ret_passed, bool *ret_loads, struct sw_error *err) {
    struct run r = {.input = input, .gates = json_array(), .passed = true};
    r.clock = model->clock ? model->clock : sw_clock_system();
    sw_status status = run_load(&r, model, err);
    if (status) {
        json_decref(r.gates);
        return status;
    }
    if (r.model) {
        run_rest(&r);
    } else {
        static const char *const others[] = {"golden", "signature", "latency"};
        for (size_t i = 0; i < SW_COUNTOF(others); i++) {
            add_skipped(&r, others[i], "the model does not load");
        }
    }
    *ret_gates = r.gates;
    *ret_signature = r.signature;
    *ret_passed = r.passed;
    *ret_loads = r.model != NULL;
    sw_model_unref(r.model);
    return SW_OK;
}

/* of a version in the registry ------------------------------------------------------------------------------------- */

/* What a version whose files are not what they were gets: the gate that says so, and the others unseen. */
static json_t *digest_failed(const struct sw_error *why) {
    static const char *const others[] = {"load", "golden", "signature", "latency"};
    json_t *gates = json_array(), *gate = gate_new("digest", "failed");
    json_object_set_new(gate, "detail", json_string(why->message));
    json_array_append_new(gates, gate);
    for (size_t i = 0; i < SW_COUNTOF(others); i++) {
        gate = gate_new(others[i], "skipped");
        json_object_set_new(gate, "detail", json_string("the files are not what they should be"));
        json_array_append_new(gates, gate);
    }
    return gates;
}

sw_status sw_registry_run_gates(struct sw_registry *registry, const struct sw_candidate *candidate, json_t **ret_gates,
                                json_t **ret_signature, bool *ret_passed, bool *ret_loads, struct sw_error *err) {
    SW_AUTO_FREE char *path = NULL;
    struct sw_error why;
    sw_status status = sw_registry_materialise(registry, candidate->model, candidate->version, &path, &why);
    if (status == SW_E_DIGEST_MISMATCH) {
        *ret_gates = digest_failed(&why);
        *ret_signature = NULL;
        *ret_passed = *ret_loads = false;
        return SW_OK;
    }
    if (status) {
        return sw_fail(err, status, "%s", why.message);
    }
    struct sw_gate_input input = {
        .path = path,
        .name = candidate->model,
        .version = candidate->version,
        .metrics = candidate->metrics,
        .live_signature = candidate->live_signature,
        .allow_breaking = candidate->allow_breaking,
        .iterations = registry->gate_iterations,
    };
    status = sw_gates_run(&input, &registry->model, ret_gates, ret_signature, ret_passed, ret_loads, err);
    sw_registry_dematerialise(registry, path);
    if (!status) {
        json_array_insert_new(*ret_gates, 0, gate_new("digest", "passed"));
    }
    return status;
}
