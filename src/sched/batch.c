/* See batch.h. */
#include "sched/batch.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/hash.h"
#include "base/memory.h"

enum { ALIGN = 64, POOL_MAX = 32, MEMORY_RETAIN = 64 * 1024, SCRATCH_RETAIN = 4 * 1024 * 1024 };

/* Outputs of one batch. */
struct memory {
    struct sw_arena arena;
    struct sw_batch_pool *pool;
    struct memory *next;
    atomic_size_t references;
};

struct sw_batch_pool {
    pthread_mutex_t lock;
    struct memory *free;
    size_t free_count;
    size_t alive; /* handed out */
};

/* ---- measuring and comparing */

const char *sw_drop_name(enum sw_drop drop) {
    static const char *const names[] = {"none", "queue_full", "queue_wait", "deadline", "client_gone"};
    SW_ASSERT((unsigned)drop < SW_DROPS);
    return names[drop];
}

static const struct sw_tensor_spec *find_spec(const struct sw_tensor_specs *specs, struct sw_str name, size_t guess) {
    bool hit = guess < specs->count && sw_str_is(name, specs->items[guess].name);
    return hit ? &specs->items[guess] : sw_specs_find(specs, name);
}

static uint64_t hash_of(const struct sw_tensor *t) {
    uint64_t hash = sw_hash(t->name.data, t->name.len, ((uint64_t)t->dtype << 32) + t->rank);
    return t->rank > 1 ? sw_hash(t->shape + 1, (t->rank - 1) * sizeof t->shape[0], hash) : hash;
}

void sw_work_measure(struct sw_work *work) {
    const struct sw_tensor_specs *specs = work->session->engine->ops->inputs(work->session);
    bool rows_known = work->input_count > 0;
    work->units = 1;
    work->bytes = work->shape_hash = 0;
    for (size_t i = 0; i < work->input_count; i++) {
        const struct sw_tensor *t = &work->inputs[i];
        const struct sw_tensor_spec *spec = find_spec(specs, t->name, i);
        uint64_t smallest = 1;
        for (uint32_t d = 0; spec && d < spec->rank; d++) {
            smallest *= spec->shape[d] > 0 ? (uint64_t)spec->shape[d] : 1;
        }
        work->units = t->count / smallest > work->units ? t->count / smallest : work->units;
        work->bytes += t->count * sw_dtype_size(t->dtype);
        work->shape_hash += hash_of(t); /* in any order */
        rows_known = rows_known && spec && spec->rank > 0 && spec->shape[0] < 0 && t->rank > 0 && t->shape[0] > 0 &&
                     t->shape[0] == work->inputs[0].shape[0];
    }
    work->rows = rows_known ? (uint64_t)work->inputs[0].shape[0] : 0;
}

static const struct sw_tensor *find_tensor(const struct sw_work *work, struct sw_str name, size_t guess) {
    if (SW_LIKELY(guess < work->input_count && sw_str_eq(work->inputs[guess].name, name))) {
        return &work->inputs[guess];
    }
    for (size_t i = 0; i < work->input_count; i++) {
        if (sw_str_eq(work->inputs[i].name, name)) {
            return &work->inputs[i];
        }
    }
    return NULL;
}

static bool same_but_for_rows(const struct sw_tensor *a, const struct sw_tensor *b) {
    return a->dtype == b->dtype && a->rank == b->rank &&
           (a->rank < 2 || memcmp(a->shape + 1, b->shape + 1, (a->rank - 1) * sizeof a->shape[0]) == 0);
}

bool sw_batch_joins(const struct sw_work *a, const struct sw_work *b) {
    if (a->session != b->session || a->shape_hash != b->shape_hash || a->input_count != b->input_count ||
        a->wanted_count != b->wanted_count || !a->rows || !b->rows) {
        return false;
    }
    if (a->wanted != b->wanted && a->wanted_count &&
        memcmp(a->wanted, b->wanted, a->wanted_count * sizeof *a->wanted) != 0) {
        return false;
    }
    for (size_t i = 0; i < a->input_count; i++) {
        const struct sw_tensor *t = find_tensor(b, a->inputs[i].name, i);
        if (!t || !same_but_for_rows(&a->inputs[i], t)) {
            return false;
        }
    }
    return true;
}

/* ---- memory of a batch */

struct sw_batch_pool *sw_batch_pool_create(void) {
    struct sw_batch_pool *pool = SW_NEW(struct sw_batch_pool);
    pthread_mutex_init(&pool->lock, NULL);
    return pool;
}

void sw_batch_pool_destroy(struct sw_batch_pool *pool) {
    if (!pool) {
        return;
    }
    SW_ASSERT(pool->alive == 0);
    while (pool->free) {
        struct memory *memory = pool->free;
        pool->free = memory->next;
        sw_arena_deinit(&memory->arena);
        sw_free(memory);
    }
    pthread_mutex_destroy(&pool->lock);
    sw_free(pool);
}

/* With one reference; NULL: out of memory. */
static struct memory *take_memory(struct sw_batch_pool *pool) {
    pthread_mutex_lock(&pool->lock);
    struct memory *memory = pool->free;
    if (memory) {
        pool->free = memory->next;
        pool->free_count--;
    }
    pool->alive++;
    pthread_mutex_unlock(&pool->lock);
    if (!memory) {
        memory = sw_calloc(1, sizeof *memory);
        if (!memory) {
            pthread_mutex_lock(&pool->lock);
            pool->alive--;
            pthread_mutex_unlock(&pool->lock);
            return NULL;
        }
        memory->pool = pool;
        sw_arena_init(&memory->arena, 0, MEMORY_RETAIN);
    }
    atomic_store_explicit(&memory->references, 1, memory_order_relaxed);
    return memory;
}

/* Any thread: clean-up of a request's arena. */
static void drop_memory(void *arg) {
    struct memory *memory = arg;
    /* Release: what was read through this reference was read before; acquire, for the last: after all of that. */
    if (atomic_fetch_sub_explicit(&memory->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    struct sw_batch_pool *pool = memory->pool;
    sw_arena_reset(&memory->arena);
    pthread_mutex_lock(&pool->lock);
    bool keep = pool->free_count < POOL_MAX;
    if (keep) {
        memory->next = pool->free;
        pool->free = memory;
        pool->free_count++;
    }
    pool->alive--;
    pthread_mutex_unlock(&pool->lock);
    if (!keep) {
        sw_arena_deinit(&memory->arena);
        sw_free(memory);
    }
}

/* ---- joining inputs */

static size_t aligned(size_t bytes) {
    return (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

static bool reserve_scratch(struct sw_batch_runner *runner, size_t bytes) {
    if (bytes <= runner->scratch_size) {
        return true;
    }
    sw_free(runner->scratch);
    runner->scratch = sw_aligned_alloc(ALIGN, bytes);
    runner->scratch_size = runner->scratch ? bytes : 0;
    return runner->scratch != NULL;
}

/* A large batch does not pin its memory for ever. */
static void trim_scratch(struct sw_batch_runner *runner) {
    if (runner->scratch_size > SCRATCH_RETAIN) {
        sw_free(runner->scratch);
        runner->scratch = NULL;
        runner->scratch_size = 0;
    }
}

void sw_batch_runner_deinit(struct sw_batch_runner *runner) {
    sw_free(runner->scratch);
    runner->scratch = NULL;
    runner->scratch_size = 0;
}

/* One input of all requests behind each other at `to`; returns the bytes used. */
static size_t join_input(struct sw_tensor *ret, struct sw_work *const *works, size_t count, size_t index, char *to,
                         uint64_t rows) {
    const struct sw_tensor *first = &works[0]->inputs[index];
    size_t bytes = 0;
    *ret = *first;
    ret->shape[0] = (int64_t)rows;
    ret->count = 0;
    ret->data = to;
    for (size_t i = 0; i < count; i++) {
        const struct sw_tensor *t = find_tensor(works[i], first->name, index);
        size_t n = t->count * sw_dtype_size(t->dtype);
        if (n) {
            memcpy(to + bytes, t->data, n);
        }
        bytes += n;
        ret->count += t->count;
    }
    return aligned(bytes);
}

/* *ret: the inputs of all, in the batch's arena and the runner's scratch. */
static sw_status join(struct sw_batch_runner *runner, struct sw_work *const *works, size_t count, uint64_t rows,
                      struct memory *memory, struct sw_tensor **ret, struct sw_error *err) {
    size_t inputs = works[0]->input_count, bytes = inputs * ALIGN, at = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += works[i]->bytes;
    }
    struct sw_tensor *joined = sw_arena_calloc(&memory->arena, inputs, sizeof *joined);
    if (!joined || !reserve_scratch(runner, bytes)) {
        return sw_fail(err, SW_E_UNAVAILABLE, "no memory for a batch of %zu bytes", bytes);
    }
    for (size_t i = 0; i < inputs; i++) {
        at += join_input(&joined[i], works, count, i, (char *)runner->scratch + at, rows);
    }
    *ret = joined;
    return SW_OK;
}

/* ---- splitting outputs */

static bool has_rows(const struct sw_tensor *outputs, size_t count, uint64_t rows) {
    for (size_t i = 0; i < count; i++) {
        if (outputs[i].dtype != SW_DTYPE_INVALID && (outputs[i].rank == 0 || (uint64_t)outputs[i].shape[0] != rows)) {
            return false;
        }
    }
    return true;
}

static sw_status no_memory(struct sw_error *err) {
    return sw_fail(err, SW_E_UNAVAILABLE, "no memory left for the answer");
}

/* The request's rows of the outputs, from `row` on. */
static sw_status split(struct sw_work *work, struct memory *memory, const struct sw_tensor *outputs, uint64_t row,
                       struct sw_error *err) {
    struct sw_tensor *own = sw_arena_calloc(work->arena, work->wanted_count + 1, sizeof *own);
    if (!own) {
        return no_memory(err);
    }
    atomic_fetch_add_explicit(&memory->references, 1, memory_order_relaxed);
    if (!sw_arena_defer(work->arena, drop_memory, memory)) {
        drop_memory(memory);
        return no_memory(err);
    }
    for (size_t i = 0; i < work->wanted_count; i++) {
        own[i] = outputs[i];
        if (outputs[i].dtype != SW_DTYPE_INVALID) {
            size_t width = outputs[i].count / (size_t)outputs[i].shape[0];
            own[i].shape[0] = (int64_t)work->rows;
            own[i].count = width * work->rows;
            own[i].data = width ? (char *)outputs[i].data + row * width * sw_dtype_size(outputs[i].dtype) : NULL;
        }
    }
    work->outputs = own;
    return SW_OK;
}

/* ---- runs */

static void finish(struct sw_work *work, sw_status status, const struct sw_batch_report *report,
                   const struct sw_error *err) {
    work->run_ns = report->run_ns;
    work->batch_rows = report->rows;
    work->done(work, status, err);
}

static void run_alone(struct sw_batch_runner *runner, struct sw_work *work) {
    struct sw_error err;
    struct sw_batch_report report = {.requests = 1, .rows = work->rows, .units = work->units};
    struct sw_tensor *outputs = sw_arena_calloc(work->arena, work->wanted_count + 1, sizeof *outputs);
    uint64_t start = sw_now_ns(runner->clock);
    report.status = outputs
                        ? work->session->engine->ops->run(work->session, work->inputs, work->input_count, work->wanted,
                                                          work->wanted_count, outputs, work->arena, &err)
                        : no_memory(&err);
    report.run_ns = sw_now_ns(runner->clock) - start;
    work->outputs = outputs;
    runner->report(runner->arg, &report);
    finish(work, report.status, &report, &err);
    work->send(work); /* it is the owner's again */
}

/* SW_OK: all are done, and the reference to memory is dropped. Else neither. */
static sw_status run_joined(struct sw_batch_runner *runner, struct sw_work *const *works, size_t count,
                            struct memory *memory) {
    const struct sw_work *first = works[0];
    struct sw_error err;
    struct sw_tensor *inputs = NULL;
    struct sw_batch_report report = {.requests = count};
    for (size_t i = 0; i < count; i++) {
        report.rows += works[i]->rows;
        report.units += works[i]->units;
    }
    uint64_t start = sw_now_ns(runner->clock);
    struct sw_tensor *outputs = sw_arena_calloc(&memory->arena, first->wanted_count + 1, sizeof *outputs);
    SW_TRY(outputs ? SW_OK : SW_E_UNAVAILABLE);
    SW_TRY(join(runner, works, count, report.rows, memory, &inputs, &err));
    uint64_t joined = sw_now_ns(runner->clock);
    report.gather_ns = joined - start;
    report.status = first->session->engine->ops->run(first->session, inputs, first->input_count, first->wanted,
                                                     first->wanted_count, outputs, &memory->arena, &err);
    report.run_ns = sw_now_ns(runner->clock) - joined;
    trim_scratch(runner);
    report.unsplittable = !report.status && !has_rows(outputs, first->wanted_count, report.rows);
    report.status = report.unsplittable ? SW_E_INFERENCE_FAILED : report.status;
    runner->report(runner->arg, &report);
    SW_TRY(report.status);
    uint64_t row = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t rows = works[i]->rows;
        sw_status status = split(works[i], memory, outputs, row, &err);
        finish(works[i], status, &report, &err);
        row += rows;
    }
    drop_memory(memory); /* after the last `send` the session may be gone, whose outputs lie there */
    for (size_t i = 0; i < count; i++) {
        works[i]->send(works[i]); /* it is the owner's again */
    }
    return SW_OK;
}

void sw_batch_run(struct sw_batch_runner *runner, struct sw_work *const *works, size_t count) {
    SW_ASSERT(count > 0 && count <= SW_BATCH_REQUESTS_MAX);
    if (count == 1) {
        run_alone(runner, works[0]);
        return;
    }
    struct memory *memory = take_memory(runner->pool);
    sw_status status = memory ? run_joined(runner, works, count, memory) : SW_E_UNAVAILABLE;
    if (status && memory) {
        drop_memory(memory);
    }
    if (status) { /* halves: at most ten deep */
        sw_batch_run(runner, works, count / 2);
        sw_batch_run(runner, works + count / 2, count - count / 2);
    }
}
