/* See evaluation_run.h. Each thread takes the next sample, reads and runs it by itself, and only counting holds a lock. */
#include "cli/evaluation_run.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/thread.h"
#include "cli/cli.h"

enum { ARENA_RETAIN = 64 << 20, THREADS_MAX = 256 };
static const uint64_t PROGRESS_EVERY_NS = 200000000;

struct run {
    struct sw_dataset *dataset;
    atomic_bool stop;
    pthread_mutex_t lock; /* for all below */
    struct sw_evaluation *evaluation;
    FILE *progress;
    uint64_t shown_ns;
    sw_status status; /* of what ended the run */
    struct sw_error error;
};

sw_status sw_dataset_first(struct sw_dataset *dataset, struct sw_arena *arena, struct sw_sample *ret,
                           struct sw_error *err) {
    bool more = true;
    ret->broken = true;
    while (more && ret->broken) { /* an empty data set is an error: *ret is set */
        SW_TRY(sw_dataset_next(dataset, arena, ret, &more, err));
    }
    return sw_dataset_rewind(dataset, err);
}

/* Under the lock. */
static void show_progress(struct run *run) {
    uint64_t now = sw_now_ns(sw_clock_system());
    if (run->progress && now - run->shown_ns >= PROGRESS_EVERY_NS) {
        char number[32];
        run->shown_ns = now;
        fprintf(run->progress, "\r%s samples, %.0f %% ", sw_cli_thousands(sw_evaluation_total(run->evaluation), number),
                100 * sw_dataset_progress(run->dataset));
        fflush(run->progress);
    }
}

/* Faults of one sample; anything else ends the run. */
static bool is_of_sample(sw_status status) {
    switch (status) {
    case SW_E_INVALID_ARGUMENT:
    case SW_E_UNPROCESSABLE:
    case SW_E_UNSUPPORTED_MEDIA:
    case SW_E_TOO_LARGE:
    case SW_E_INFERENCE_FAILED:
    case SW_E_NOT_FOUND:
    case SW_E_IO: return true;
    default: return false;
    }
}

/* What a broken file is expected to bring. */
static bool is_refusal(sw_status status) {
    return status == SW_E_UNPROCESSABLE || status == SW_E_UNSUPPORTED_MEDIA || status == SW_E_TOO_LARGE ||
           status == SW_E_INVALID_ARGUMENT;
}

struct answer {
    struct sw_verdict verdict;
    uint64_t latency_ns;
    bool answered; /* the model gave outputs */
};

static sw_status ask(struct run *run, const struct sw_sample *sample, struct sw_arena *arena, struct answer *ret,
                     struct sw_error *err) {
    const struct sw_judge *judge = &run->evaluation->judge;
    struct sw_inference inference = {0};
    SW_TRY(sw_sample_inputs(run->dataset, sample, &judge->model->inputs, arena, &inference.inputs,
                            &inference.input_count, err));
    SW_TRY(sw_model_infer(judge->model, &inference, arena, sw_clock_system(), err));
    ret->answered = true;
    ret->latency_ns = inference.pre_ns + inference.run_ns + inference.post_ns;
    return sw_judge_answer(judge, inference.outputs, arena, &ret->verdict, err);
}

/* Under the lock: counts what came of a sample. */
static sw_status record(struct run *run, const struct sw_sample *sample, const char *where, const struct answer *a,
                        sw_status status, const struct sw_error *why, struct sw_error *err) {
    if (status) {
        enum sw_outcome outcome = sample->broken && !a->answered && is_refusal(status) ? SW_OUTCOME_REFUSED
                                                                                       : SW_OUTCOME_FAILED;
        return sw_evaluation_add_outcome(run->evaluation, sample, where, outcome, why->message, err);
    }
    if (sample->broken) {
        return sw_evaluation_add_outcome(run->evaluation, sample, where, SW_OUTCOME_ANSWERED, NULL, err);
    }
    return sw_evaluation_add(run->evaluation, sample, where, &a->verdict, a->latency_ns, err);
}

static sw_status run_sample(struct run *run, const struct sw_sample *sample, struct sw_arena *arena,
                            struct sw_error *err) {
    struct answer answer = {0};
    struct sw_error why;
    const char *where = sw_sample_where(run->dataset, sample, arena);
    sw_status status = ask(run, sample, arena, &answer, &why);
    if (status && !is_of_sample(status)) {
        *err = why;
        return sw_error_prefix(err, "%s", where);
    }
    pthread_mutex_lock(&run->lock);
    status = record(run, sample, where, &answer, status, &why, err);
    show_progress(run);
    pthread_mutex_unlock(&run->lock);
    return status;
}

static void *work(void *arg) {
    struct run *run = arg;
    struct sw_arena arena;
    struct sw_error err;
    sw_status status = SW_OK;
    bool more = true;
    sw_arena_init(&arena, 0, ARENA_RETAIN);
    while (!status && more && !atomic_load_explicit(&run->stop, memory_order_relaxed)) {
        struct sw_sample sample;
        status = sw_dataset_next(run->dataset, &arena, &sample, &more, &err);
        if (!status && more) {
            status = run_sample(run, &sample, &arena, &err);
        }
        sw_arena_reset(&arena);
    }
    sw_arena_deinit(&arena);
    if (status) {
        atomic_store_explicit(&run->stop, true, memory_order_relaxed);
        pthread_mutex_lock(&run->lock);
        if (!run->status) {
            run->status = status;
            run->error = err;
        }
        pthread_mutex_unlock(&run->lock);
    }
    return NULL;
}

sw_status sw_evaluation_run(struct sw_evaluation *evaluation, struct sw_dataset *dataset, unsigned threads,
                            FILE *progress, struct sw_error *err) {
    struct run run = {.dataset = dataset, .evaluation = evaluation};
    pthread_t ids[THREADS_MAX];
    unsigned started = 0;
    sw_status status = SW_OK;
    SW_ASSERT(threads > 0 && threads <= THREADS_MAX);
    run.progress = progress && isatty(fileno(progress)) ? progress : NULL;
    run.shown_ns = sw_now_ns(sw_clock_system());
    pthread_mutex_init(&run.lock, NULL);
    while (!status && started < threads) {
        status = sw_thread_start(&ids[started], "sw-evaluate", 0, work, &run, err);
        started += !status;
    }
    if (status) {
        atomic_store(&run.stop, true);
    }
    for (unsigned i = 0; i < started; i++) {
        pthread_join(ids[i], NULL);
    }
    pthread_mutex_destroy(&run.lock);
    if (run.progress) {
        fprintf(run.progress, "\r%60s\r", "");
    }
    if (!status && run.status) {
        status = run.status;
        if (err) {
            *err = run.error;
        }
    }
    return status;
}
