/* bench_inproc: the floor for all serving benchmarks. Runs a model in a loop, in process, on one thread, with nothing
 * around it, and prints JSON: nanoseconds a run.
 *
 *   bench_inproc MODEL.onnx [ITERATIONS] [BATCH] [--engine]
 *
 * The bare loop calls the runtime's Run and releases the output, no more; the inputs (zeros) are wrapped once. With
 * --engine each run goes through the engine interface instead, as the server's do: the difference is our own cost. */
#include "base/clock.h"
#include "base/memory.h"
#include "engine/ort/ort_internal.h"

enum { TENSORS_MAX = 16, WARM_UP = 100 };

struct job {
    struct sw_engine *engine;
    struct sw_session *session;
    struct sw_tensor inputs[TENSORS_MAX];
    struct ort_value *values[TENSORS_MAX];
    size_t input_count, output_count;
    uint32_t wanted[TENSORS_MAX];
    struct sw_arena arena; /* of one run through the engine */
    bool bare;
};

static void die(const char *what, const char *why) {
    fprintf(stderr, "bench_inproc: %s: %s\n", what, why);
    exit(3);
}

static void check(const struct ort_api *api, struct ort_status *status) {
    if (status) {
        die("run", api->GetErrorMessage(status));
    }
}

static void run_bare(struct job *job) {
    const struct ort_session *s = ort_session_of(job->session);
    const struct ort_api *api = &s->engine->api;
    struct ort_value *outputs[TENSORS_MAX] = {0};
    check(api, api->Run(s->handle, NULL, s->input_names, (const struct ort_value *const *)job->values, job->input_count,
                        s->output_names, job->output_count, outputs));
    for (size_t i = 0; i < job->output_count; i++) {
        api->ReleaseValue(outputs[i]);
    }
}

static void run_through_engine(struct job *job) {
    struct sw_tensor outputs[TENSORS_MAX];
    struct sw_error err;
    if (job->engine->ops->run(job->session, job->inputs, job->input_count, job->wanted, job->output_count, outputs,
                              &job->arena, &err)) {
        die("run", err.message);
    }
    sw_arena_reset(&job->arena);
}

static void make_inputs(struct job *job, size_t batch, struct sw_arena *memory) {
    const struct ort_engine *e = ort_engine_of(job->engine);
    const struct sw_tensor_specs *specs = job->engine->ops->inputs(job->session);
    job->output_count = job->engine->ops->outputs(job->session)->count;
    if (specs->count > TENSORS_MAX || job->output_count > TENSORS_MAX) {
        die("model", "too many inputs or outputs");
    }
    for (uint32_t i = 0; i < job->output_count; i++) {
        job->wanted[i] = i;
    }
    for (size_t i = 0; i < specs->count && !specs->items[i].optional; i++) {
        const struct sw_tensor_spec *spec = &specs->items[i];
        int64_t shape[SW_RANK_MAX];
        for (uint32_t d = 0; d < spec->rank; d++) {
            shape[d] = spec->shape[d] >= 0 ? spec->shape[d] : d == 0 ? (int64_t)batch : 1;
        }
        struct sw_tensor *t = &job->inputs[job->input_count];
        struct sw_error err;
        if (spec->dtype == SW_DTYPE_BYTES) {
            die(spec->name, "text inputs are not supported here");
        }
        if (sw_tensor_alloc(t, memory, sw_str_of(spec->name), spec->dtype, shape, spec->rank, &err)) {
            die(spec->name, err.message);
        }
        size_t bytes = t->count * sw_dtype_size(t->dtype);
        memset(t->data, 0, bytes);
        check(&e->api, e->api.CreateTensorWithDataAsOrtValue(e->cpu, t->data, bytes, t->shape, t->rank,
                                                             ort_element_of(t->dtype), &job->values[job->input_count]));
        job->input_count++;
    }
}

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t now_ns(void) {
    return sw_now_ns(sw_clock_system());
}

/* One reading of the clock a run: its cost (about 20 ns) is part of each figure. */
static void measure(struct job *job, size_t count, uint64_t *ret_ns) {
    void (*run)(struct job *) = job->bare ? run_bare : run_through_engine;
    for (size_t i = 0; i < WARM_UP && i < count; i++) {
        run(job);
    }
    uint64_t before = now_ns();
    for (size_t i = 0; i < count; i++) {
        run(job);
        uint64_t after = now_ns();
        ret_ns[i] = after - before;
        before = after;
    }
}

static void report(const char *path, const struct job *job, size_t batch, uint64_t *ns, size_t count, uint64_t open_ns,
                   uint64_t first_ns) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (double)ns[i];
    }
    qsort(ns, count, sizeof *ns, compare);
    uint64_t median = ns[count / 2], p99 = ns[count - 1 - count / 100];
    printf("{\"model\":\"%s\",\"runtime\":\"%s\",\"mode\":\"%s\",\"threads\":1,\"batch\":%zu,\"iterations\":%zu,"
           "\"median_ns\":%llu,\"p50_ns\":%llu,\"p99_ns\":%llu,\"min_ns\":%llu,\"mean_ns\":%.0f,"
           "\"p50_us\":%.3f,\"p99_us\":%.3f,\"open_us\":%llu,\"first_answer_us\":%llu,\"resident_bytes\":%llu}\n",
           path, job->engine->ops->version(job->engine), job->bare ? "bare" : "engine", batch, count,
           (unsigned long long)median, (unsigned long long)median, (unsigned long long)p99, (unsigned long long)ns[0],
           sum / (double)count, (double)median / 1e3, (double)p99 / 1e3, (unsigned long long)open_ns / 1000,
           (unsigned long long)first_ns / 1000, (unsigned long long)sw_memory_resident());
}

static size_t number_or_die(const char *text) {
    uint64_t value;
    if (!sw_parse_u64(sw_str_of(text), &value) || value < 1 || value > 100000000) {
        die(text, "not a number from 1 to 100000000");
    }
    return (size_t)value;
}

int main(int argc, char **argv) {
    const char *path = NULL;
    size_t numbers[2] = {10000, 1}, given = 0; /* iterations, batch */
    struct job job = {.bare = true};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--engine") == 0) {
            job.bare = false;
        } else if (!path) {
            path = argv[i];
        } else if (given < SW_COUNTOF(numbers)) {
            numbers[given++] = number_or_die(argv[i]);
        }
    }
    if (!path) {
        fputs("usage: bench_inproc MODEL.onnx [ITERATIONS] [BATCH] [--engine]\n", stderr);
        return 2;
    }
    struct sw_error err;
    uint64_t start = now_ns();
    if (sw_engine_ort_create(&(struct sw_ort_options){.threads = 1}, &job.engine, &err)) {
        die("engine", err.message);
    }
    uint64_t open_ns = now_ns() - start;
    const char *arena = getenv("BENCH_MEMORY_ARENA");
    struct sw_session_options options = {.threads = 1, .memory_arena = arena && *arena == '1'};
    if (job.engine->ops->load(job.engine, path, &options, &job.session, &err)) {
        die("load", err.message);
    }
    struct sw_arena memory;
    sw_arena_init(&memory, 0, 0);
    sw_arena_init(&job.arena, 0, 1 << 20);
    make_inputs(&job, numbers[1], &memory);
    job.bare ? run_bare(&job) : run_through_engine(&job);
    uint64_t first_ns = now_ns() - start;
    uint64_t *ns = sw_xmalloc(numbers[0] * sizeof *ns);
    measure(&job, numbers[0], ns);
    report(path, &job, numbers[1], ns, numbers[0], open_ns, first_ns);
    for (size_t i = 0; i < job.input_count; i++) {
        ort_engine_of(job.engine)->api.ReleaseValue(job.values[i]);
    }
    sw_free(ns);
    sw_arena_deinit(&job.arena);
    sw_arena_deinit(&memory);
    job.engine->ops->unload(job.session);
    sw_engine_destroy(job.engine);
    return 0;
}
