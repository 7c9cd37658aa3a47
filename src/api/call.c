/* One inference, from the body to the answer: the way of a request through every protocol that runs models.
 *
 *   sw_api_call_run (I/O thread)
 *     |-- the queue is full, or the deadline cannot be kept: refused unread
 *     |-- long JSON, or a long body whose result may be kept: a task of the scheduler reads it
 *     `-- else parsed here -- go_on --+-- in the result cache (cached.c): answered here, or waits for whom it is like
 *                                     |-- quick for that many rows: run and answered here
 *                                     |-- an input step, or several runs: a task of the scheduler
 *                                     `-- else a run of the scheduler, perhaps in a batch
 *
 * A task ends the same way, on a worker: it runs and answers by itself, or goes back to the scheduler as a run. The
 * answer is encoded where the model ran. What waits in the scheduler has its exchange suspended (SW_HTTP_ASYNC).
 *
 * Holds: parse itself is one, and what it has begun elsewhere another. Whoever gives up the last one goes on with the
 * runs: the thread that parsed, as if nothing had been held, or the one that releases, by way of the scheduler. So the
 * call is never touched by a thread that has given up its hold.
 *
 * The call lives in the exchange's arena. The model's reference is dropped when the arena is reset, after the runtime's
 * own output buffers (clean-ups run newest first), because parts of the answer may lie in them. */
#include "api/api_internal.h"

enum {
    PARSE_INLINE_MAX = 128 << 10,  /* bytes of JSON that an I/O thread parses itself: about 100 us */
    PARSE_NS_PER_BYTE = 8,         /* roughly */
    DIGEST_INLINE_MAX = 512 << 10, /* bytes of a body that an I/O thread makes a result's key of: some 100 us */
    CLIENT_GONE = 499,             /* as others count it */
};

static void release_model(void *arg) {
    struct sw_api_call *call = arg;
    sw_repository_release(call->api->repository, call->model);
}

/* ---- run and count */

/* How many times the work of the measured one-row run this is: the largest ratio of an input's elements to what it has
 * with every free dimension 1. */
static uint64_t work_factor(const struct sw_api_call *call) {
    uint64_t factor = 1;
    const struct sw_inference *run = &call->runs[0];
    for (size_t i = 0; i < run->input_count; i++) {
        const struct sw_tensor *t = &run->inputs[i];
        const struct sw_tensor_spec *spec = sw_specs_find(&call->model->inputs, t->name);
        uint64_t one = 1;
        for (uint32_t d = 0; spec && d < spec->rank; d++) {
            one *= spec->shape[d] > 0 ? (uint64_t)spec->shape[d] : 1;
        }
        factor = t->count / one > factor ? t->count / one : factor;
    }
    return factor * call->run_count;
}

/* Expected time of all runs; 0: not known. */
static uint64_t expected_run_ns(const struct sw_api_call *call) {
    uint64_t one = call->model->run_ns, ns;
    return __builtin_mul_overflow(one, work_factor(call), &ns) ? UINT64_MAX / 2 : ns;
}

static uint64_t batch_size(const struct sw_api_call *call) {
    const struct sw_inference *run = &call->runs[0];
    bool has_rows = call->model->batchable && run->input_count && run->inputs[0].rank > 0;
    return has_rows ? (uint64_t)run->inputs[0].shape[0] : 1;
}

/* What is neither waiting nor before the model nor its run belongs to the answer: phases add up to the whole. */
static void count(struct sw_api_call *call, sw_status status) {
    uint64_t now = sw_now_ns(call->api->options.clock);
    struct sw_api_sample sample = {.status = status,
                                   .now_ns = now,
                                   .total_ns = now - call->start_ns,
                                   .client_gone = call->work.drop == SW_DROP_GONE};
    if (status == SW_OK) {
        sample.cache = call->cache_result;
        sample.executions = call->batched ? 0 : call->run_count - sw_api_cached_count(call); /* or the scheduler has */
        sample.batch_size = batch_size(call);
        sample.phase_ns[SW_API_QUEUE] = call->queue_ns;
        sample.phase_ns[SW_API_PRE] = call->parse_ns;
        for (size_t i = 0; i < call->run_count; i++) {
            sample.phase_ns[SW_API_PRE] += call->runs[i].pre_ns;
            sample.phase_ns[SW_API_RUN] += call->runs[i].run_ns;
        }
        uint64_t before = call->queue_ns + sample.phase_ns[SW_API_PRE] + sample.phase_ns[SW_API_RUN];
        sample.phase_ns[SW_API_POST] = sample.total_ns > before ? sample.total_ns - before : 0;
    }
    sw_api_model_count(call->api, call->stats, &sample);
    for (size_t i = 0; status == SW_OK && i < call->run_count; i++) {
        sw_api_model_observe(call->stats, call->model, &call->runs[i], sample.batch_size);
    }
}

static void answer_failure(struct sw_api_call *call, const struct sw_error *err) {
    sw_api_cached_fail(call, err);
    count(call, err->code);
    if (call->codec->fail) {
        call->codec->fail(call, err);
    } else {
        sw_api_reply_error(call->x, err);
    }
}

void sw_api_call_fail(struct sw_api_call *call, const struct sw_error *err) {
    answer_failure(call, err);
}

static sw_status run_all(struct sw_api_call *call, struct sw_error *err) {
    for (size_t i = 0; i < call->run_count; i++) {
        if (!sw_api_cached_has(call, i)) {
            SW_TRY(sw_model_infer(call->model, &call->runs[i], &call->x->arena, call->api->options.clock, err));
        }
    }
    return SW_OK;
}

/* The outputs are there. */
void sw_api_call_answer(struct sw_api_call *call) {
    static const char *const said[SW_API_CACHE_RESULTS] = {[SW_API_CACHE_MISS] = "miss",
                                                           [SW_API_CACHE_HIT] = "hit",
                                                           [SW_API_CACHE_SHARED] = "hit",
                                                           [SW_API_CACHE_BYPASS] = "bypass"};
    struct sw_error err;
    if (call->codec->encode(call, &err)) {
        answer_failure(call, &err);
        return;
    }
    if (said[call->cache_result]) {
        sw_http_add_header(call->x, "X-Cache", said[call->cache_result]);
    }
    count(call, SW_OK);
}

/* The model has run. What cannot be encoded for this client (a text that is no UTF-8 as JSON) may be just right for others. */
static void answer_and_keep(struct sw_api_call *call) {
    sw_api_call_answer(call);
    sw_api_cached_keep(call);
}

static void run_and_answer(struct sw_api_call *call) {
    struct sw_error err;
    if (run_all(call, &err)) {
        answer_failure(call, &err);
    } else {
        answer_and_keep(call);
    }
}

/* The scheduler has run the model. */
static void finish_and_answer(struct sw_api_call *call) {
    struct sw_error err;
    if (sw_model_finish(call->model, &call->runs[0], &call->x->arena, call->api->options.clock, &err)) {
        answer_failure(call, &err);
    } else {
        answer_and_keep(call);
    }
}

/* Answered on another thread than the one that sends it: the call is gone from here on. */
static void send(struct sw_api_call *call) {
    sw_api_cached_end(call);
    sw_http_finish(call->x);
}

static void answer_refusal(struct sw_api_call *call, const struct sw_refusal *refusal, const struct sw_error *err) {
    if (err->code == SW_E_TOO_MANY_REQUESTS) {
        const char *seconds = sw_arena_printf(&call->x->arena, "%u", refusal->retry_after_s);
        sw_http_add_header(call->x, "Retry-After", seconds ? seconds : "1");
    }
    answer_failure(call, err);
}

enum parsed { PARSED, PARSE_FAILED, PARSE_HELD };

/* All holds are released. */
static enum parsed complete(struct sw_api_call *call) {
    if (call->held_error) {
        answer_failure(call, call->held_error);
        return PARSE_FAILED;
    }
    SW_ASSERT(call->run_count > 0);
    call->parse_ns = sw_now_ns(call->api->options.clock) - call->start_ns - call->queue_ns;
    call->parsed = true;
    return PARSED;
}

/* Acquire and release: what the other parts wrote into the call is seen by the one that goes on with it. */
static bool give_up_hold(struct sw_api_call *call) {
    int before = atomic_fetch_sub_explicit(&call->holds, 1, memory_order_acq_rel);
    SW_ASSERT(before > 0);
    return before == 1;
}

/* After PARSE_HELD the call belongs to others. */
static enum parsed parse(struct sw_api_call *call) {
    struct sw_error err;
    atomic_store_explicit(&call->holds, 1, memory_order_relaxed);
    if (call->codec->parse(call, &err)) {
        answer_failure(call, &err);
        return PARSE_FAILED;
    }
    return give_up_hold(call) ? complete(call) : PARSE_HELD;
}

/* ---- placement */

static struct sw_api_call *call_of(const struct sw_work *work) {
    return (struct sw_api_call *)((uintptr_t)work - offsetof(struct sw_api_call, work));
}

static bool is_gone(const struct sw_work *work) {
    return sw_http_client_gone(call_of(work)->x);
}

/* A worker: the scheduler gave the work up. */
static void answer_drop(struct sw_api_call *call, const struct sw_error *err) {
    if (call->work.drop == SW_DROP_GONE) {
        count(call, err->code);
        sw_http_reply(call->x, CLIENT_GONE, SW_API_JSON, SW_STR("{}"));
        call->x->error = err->code;
    } else {
        answer_refusal(call, &(struct sw_refusal){.retry_after_s = 1}, err);
    }
}

/* A worker: the scheduler has run the model, or has given up. */
static void on_done(struct sw_work *work, sw_status status, const struct sw_error *err) {
    struct sw_api_call *call = call_of(work);
    call->queue_ns = work->queue_ns;
    if (status && work->drop) {
        answer_drop(call, err);
    } else if (status) {
        answer_failure(call, err);
    } else {
        call->runs[0].raw = work->outputs;
        call->runs[0].run_ns = work->run_ns;
        call->batched = true;
        finish_and_answer(call);
    }
}

/* A worker: as above. */
static void on_send(struct sw_work *work) {
    send(call_of(work));
}

/* SW_HTTP_DONE: refused, and answered so. */
static enum sw_http_result submit(struct sw_api_call *call) {
    struct sw_error err;
    struct sw_refusal refusal;
    struct sw_work *work = &call->work;
    work->done = on_done;
    work->send = on_send;
    work->is_gone = is_gone;
    work->deadline_ns = call->deadline_ns;
    work->priority = call->priority;
    if (sw_flow_submit(call->stats->flow, work, &refusal, &err)) {
        answer_refusal(call, &refusal, &err);
        return SW_HTTP_DONE;
    }
    return SW_HTTP_ASYNC;
}

static enum sw_http_result submit_run(struct sw_api_call *call) {
    struct sw_error err;
    struct sw_inference *run = &call->runs[0];
    if (sw_model_prepare(call->model, run, &call->x->arena, call->api->options.clock, &err)) {
        answer_failure(call, &err);
        return SW_HTTP_DONE;
    }
    struct sw_work *work = &call->work;
    work->task = NULL;
    work->session = call->model->session;
    work->inputs = run->set.items;
    work->input_count = run->set.count;
    work->wanted = run->raw_wanted;
    work->wanted_count = run->raw_count;
    work->arena = &call->x->arena;
    work->alone = call->model->plan.mode != SW_RUN_BATCHED; /* the flow may have the plan of a later load already */
    sw_work_measure(work);
    return submit(call);
}

static void on_task(struct sw_work *work);

static enum sw_http_result submit_task(struct sw_api_call *call, uint64_t expected_ns) {
    call->work.task = on_task;
    call->work.expected_ns = expected_ns;
    return submit(call);
}

/* As long as nothing else is known of the time that steps and runs take, they are work for the short crew. */
static bool is_slow(const struct sw_api_call *call, uint64_t expected_ns) {
    return expected_ns > call->api->options.scheduling.slow_ns;
}

enum place { ON_IO, ON_WORKER, ELSEWHERE };

/* Input steps (image decoders) are not part of run_ns and may take long: never on an I/O thread. Who has such a thread
 * alone keeps nobody waiting there, and changing threads twice would cost more than it is worth. */
static bool runs_on_io(const struct sw_api_call *call) {
    const struct sw_api_scheduling *s = &call->api->options.scheduling;
    if (!call->model->run_ns || call->model->input_step) {
        return false;
    }
    uint64_t expected_ns = expected_run_ns(call);
    if (call->model->plan.mode == SW_RUN_INLINE && expected_ns < s->inline_ns_max) {
        return true;
    }
    return expected_ns < s->alone_ns_max && !call->model->bundle->instances && sw_http_is_alone(call->x);
}

/* A worker that holds the parsed request. */
static enum sw_http_result go_on_here(struct sw_api_call *call) {
    uint64_t expected_ns = expected_run_ns(call);
    bool is_for_others = is_slow(call, expected_ns) && !is_slow(call, call->work.expected_ns);
    if (call->run_count > 1 && is_for_others) {
        return submit_task(call, expected_ns);
    }
    bool limited = call->model->bundle->instances || call->model->threads > 1;
    if (call->run_count == 1 && (call->model->plan.mode == SW_RUN_BATCHED || is_for_others || limited)) {
        return submit_run(call);
    }
    run_and_answer(call);
    return SW_HTTP_DONE;
}

/* The request is parsed. SW_HTTP_DONE: answered. */
static enum sw_http_result go_on(struct sw_api_call *call, enum place place) {
    if (!call->looked_up) {
        call->looked_up = true;
        switch (sw_api_cached_look(call)) {
        case SW_API_HIT: sw_api_call_answer(call); return SW_HTTP_DONE;
        case SW_API_WAITS: return SW_HTTP_ASYNC; /* the call may be gone */
        case SW_API_MISS: break;
        }
    }
    if (call->deadline_ns && call->deadline_ns <= sw_now_ns(call->api->options.clock)) {
        struct sw_error err;
        sw_fail(&err, SW_E_DEADLINE_EXCEEDED, "the deadline passed before the model could run");
        answer_failure(call, &err);
        return SW_HTTP_DONE;
    }
    if (place == ON_WORKER) {
        return go_on_here(call);
    }
    if (place == ON_IO && runs_on_io(call)) {
        sw_scheduler_note_short(call->api->options.scheduler, call->start_ns);
        run_and_answer(call);
        return SW_HTTP_DONE;
    }
    bool has_step = call->model->input_step != NULL;
    return has_step || call->run_count > 1 ? submit_task(call, expected_run_ns(call)) : submit_run(call);
}

enum sw_http_result sw_api_call_go_on(struct sw_api_call *call) {
    return go_on(call, ELSEWHERE);
}

static void on_task(struct sw_work *work) { /* a worker */
    struct sw_api_call *call = call_of(work);
    work->returning = true; /* when it goes back to the scheduler */
    call->queue_ns = work->queue_ns;
    enum parsed parsed = call->parsed ? PARSED : parse(call);
    if (parsed == PARSE_HELD || (parsed == PARSED && go_on(call, ON_WORKER) == SW_HTTP_ASYNC)) {
        return;
    }
    send(call);
}

void sw_api_call_hold(struct sw_api_call *call) {
    int before = atomic_fetch_add_explicit(&call->holds, 1, memory_order_relaxed);
    SW_ASSERT(before == 1); /* that of parse: one other at a time, since the arena has one owner */
}

void sw_api_call_release(struct sw_api_call *call, const struct sw_error *err) {
    if (err) {
        static const struct sw_error unknown = {.code = SW_E_UNAVAILABLE, .message = "no memory left for this request"};
        struct sw_error *copy = sw_arena_alloc(&call->x->arena, sizeof *copy);
        if (copy) {
            *copy = *err;
        }
        call->held_error = copy ? copy : &unknown;
    }
    if (!give_up_hold(call)) {
        return;
    }
    if (complete(call) == PARSE_FAILED || go_on(call, ELSEWHERE) == SW_HTTP_DONE) {
        send(call);
    }
}

static size_t json_length(const struct sw_http_exchange *x) {
    return x->binary_header_length < x->body.len ? x->binary_header_length : x->body.len;
}

/* Time to read the body, when that is too long for an I/O thread; else 0. */
static uint64_t reading_ns(const struct sw_api_call *call) {
    size_t json = json_length(call->x), body = call->x->body.len;
    if (json > PARSE_INLINE_MAX) {
        return json * PARSE_NS_PER_BYTE;
    }
    return call->model->cache.enable && body > DIGEST_INLINE_MAX ? body : 0; /* a digest takes about 1 ns a byte */
}

sw_status sw_api_call_create(struct sw_http_exchange *x, const struct sw_api_codec *codec, struct sw_str name,
                             struct sw_str version, struct sw_api_call **ret, struct sw_error *err) {
    struct sw_api *api = sw_api_of(x);
    struct sw_api_call *call = sw_arena_calloc(&x->arena, 1, codec->call_size);
    if (!call) {
        return sw_api_no_memory(err);
    }
    call->x = x;
    call->api = api;
    call->codec = codec;
    call->start_ns = sw_now_ns(api->options.clock);
    SW_TRY(sw_repository_acquire(api->repository, name, version, &call->model, err));
    if (!sw_arena_defer(&x->arena, release_model, call)) {
        release_model(call);
        return sw_api_no_memory(err);
    }
    call->stats = call->model->attachment;
    SW_ASSERT(call->stats); /* sw_api_on_ready runs before a model is published */
    x->owner = call->stats;
    sw_http_add_header(x, "X-Model-Version", call->stats->version_text);
    SW_TRY(sw_api_read_terms(call, err));
    *ret = call;
    return SW_OK;
}

/* What would be refused anyway is not parsed first, but where a result cache may have it: a hit needs no run. */
static bool is_refused(struct sw_api_call *call) {
    struct sw_refusal refusal;
    struct sw_error err;
    if (call->model->plan.mode == SW_RUN_INLINE || call->model->cache.enable ||
        !sw_flow_admit(call->stats->flow, call->deadline_ns, &refusal, &err)) {
        return false;
    }
    answer_refusal(call, &refusal, &err);
    return true;
}

enum sw_http_result sw_api_call_run(struct sw_api_call *call) {
    uint64_t reading = reading_ns(call);
    if (is_refused(call)) {
        return SW_HTTP_DONE;
    }
    if (reading) {
        return submit_task(call, reading);
    }
    switch (parse(call)) {
    case PARSE_FAILED: return SW_HTTP_DONE;
    case PARSE_HELD: return SW_HTTP_ASYNC;
    case PARSED: break;
    }
    enum sw_http_result result = go_on(call, ON_IO);
    if (result == SW_HTTP_DONE) {
        sw_api_cached_end(call);
    }
    return result;
}

enum sw_http_result sw_api_call_start(struct sw_http_exchange *x, const struct sw_api_codec *codec) {
    struct sw_api_call *call;
    struct sw_error err;
    if (sw_api_call_create(x, codec, x->params[0], x->params[1], &call, &err)) {
        return sw_api_reply_error(x, &err);
    }
    return sw_api_call_run(call);
}

/* ---- bodies */

bool sw_api_is_json(struct sw_str media) {
    return sw_str_ieq(media, SW_STR("application/json")) || sw_str_ends(media, SW_STR("+json"));
}

struct sw_str sw_api_media_type(struct sw_http_exchange *x) {
    struct sw_str media;
    (void)sw_str_split(sw_http_header(x, "Content-Type"), ';', &media);
    return sw_str_trim(media);
}

sw_status sw_api_body_kind(const struct sw_api_call *call, enum sw_api_body *ret, struct sw_error *err) {
    struct sw_str media = sw_api_media_type(call->x);
    if (media.len == 0 || sw_api_is_json(media)) {
        *ret = SW_API_BODY_JSON;
        return SW_OK;
    }
    const struct sw_step *step = call->model->input_step;
    if (step && step->ops->accepts_body && step->ops->accepts_body(step, media)) {
        *ret = SW_API_BODY_STEP;
        return SW_OK;
    }
    return sw_fail(err, SW_E_UNSUPPORTED_MEDIA,
                   "content type '" SW_STR_FMT "' is not understood here: send application/json%s", SW_STR_ARG(media),
                   step && step->ops->accepts_body ? ", or a file of a type that the model's input step reads" : "");
}

const struct sw_tensor_spec *sw_api_only_input(const struct sw_model *model) {
    const struct sw_tensor_spec *found = model->inputs.count == 1 ? &model->inputs.items[0] : NULL;
    for (size_t i = 0; model->inputs.count > 1 && i < model->inputs.count; i++) {
        if (!model->inputs.items[i].optional) {
            if (found) {
                return NULL;
            }
            found = &model->inputs.items[i];
        }
    }
    return found;
}

sw_status sw_api_one_run(struct sw_api_call *call, struct sw_tensor *inputs, size_t input_count, struct sw_error *err) {
    call->runs = sw_arena_calloc(&call->x->arena, 1, sizeof *call->runs);
    if (!call->runs) {
        return sw_api_no_memory(err);
    }
    call->runs[0] = (struct sw_inference){.inputs = inputs, .input_count = input_count};
    call->run_count = 1;
    return SW_OK;
}

sw_status sw_api_body_as_element(struct sw_api_call *call, struct sw_error *err) {
    return sw_api_one_element(call, call->x->body, err);
}

sw_status sw_api_one_element(struct sw_api_call *call, struct sw_str element, struct sw_error *err) {
    const struct sw_tensor_spec *spec = sw_api_only_input(call->model);
    if (!spec || spec->dtype != SW_DTYPE_BYTES) {
        return sw_fail(err, SW_E_UNSUPPORTED_MEDIA, "the model does not have one BYTES input that a body could be");
    }
    if (element.len == 0) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "the body is empty");
    }
    int64_t shape[SW_RANK_MAX];
    for (uint32_t i = 0; i < spec->rank; i++) {
        shape[i] = spec->shape[i] < 0 ? 1 : spec->shape[i];
    }
    struct sw_tensor *t = sw_arena_calloc(&call->x->arena, 1, sizeof *t);
    if (!t) {
        return sw_api_no_memory(err);
    }
    SW_TRY(sw_tensor_alloc(t, &call->x->arena, sw_str_of(spec->name), SW_DTYPE_BYTES, shape, spec->rank, err));
    if (t->count != 1) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "input '%s' takes %zu elements, a body is one", spec->name,
                       t->count);
    }
    *(struct sw_str *)t->data = element;
    return sw_api_one_run(call, t, 1, err);
}
