/* Both models on the same samples.
 *
 * First every sample on several threads: each takes the next one under a lock, reads it and runs both models by itself,
 * and counts under a lock again. Then a number of requests on one thread, A and B in turn and the other way round every
 * second time, so that whatever else the machine does falls on both alike. */
#include "cli/compare_internal.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/thread.h"
#include "cli/cli.h"

enum { ARENA_RETAIN = 64 << 20, THREADS_MAX = 256, WARMUP_RUNS = 10, TIMING_SECONDS_MAX = 60 };
static const uint64_t PROGRESS_EVERY_NS = 200000000;

/* --- one sample --------------------------------------------------------------------------------------------------- */

/* What one model says to a sample. */
struct answer {
    sw_status status; /* why it says nothing */
    struct sw_error why;
    struct sw_inference inference;
    struct sw_verdict verdict;
};

/* Faults of one sample; anything else ends the run. */
static bool is_of_sample(sw_status status) {
    switch (status) {
    case SW_E_INVALID_ARGUMENT:
    case SW_E_UNPROCESSABLE:
    case SW_E_UNSUPPORTED_MEDIA:
    case SW_E_TOO_LARGE:
    case SW_E_INFERENCE_FAILED: return true;
    default: return false;
    }
}

static sw_status ask(const struct sw_comparison *c, const struct sw_compare_side *side,
                     const struct sw_set_sample *sample, struct sw_arena *arena, struct answer *ret) {
    struct sw_inference *inference = &ret->inference;
    *ret = (struct answer){.verdict = {.score = NAN}};
    SW_TRY(sw_sample_set_inputs(c->samples, sample, side->model, arena, &inference->inputs, &inference->input_count,
                                &ret->why));
    SW_TRY(sw_model_infer(side->model, inference, arena, sw_clock_system(), &ret->why));
    return c->has_verdicts ? sw_judge_answer(&side->judge, inference->outputs, arena, &ret->verdict, &ret->why) : SW_OK;
}

static bool agree(const struct sw_comparison *c, const struct sw_verdict *a, const struct sw_verdict *b) {
    return c->task == SW_TASK_BINARY ? a->positive == b->positive : sw_str_eq(a->label, b->label);
}

/* --- counting, under the lock ------------------------------------------------------------------------------------- */

static void count_pair(struct sw_paired *pair, bool first, bool second) {
    uint64_t *cell = first ? second ? &pair->both : &pair->first_only : second ? &pair->second_only : &pair->neither;
    ++*cell;
}

static sw_status count_truth(struct sw_comparison *c, const struct sw_set_sample *sample, const struct answer *a,
                             struct sw_error *err) {
    const struct sw_label *label = &sample->sample.label;
    bool truth = false;
    if (label->kind == SW_LABEL_NONE) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "%s: the sample has no label, others have", sample->where);
    }
    if (c->task == SW_TASK_CLASSES) {
        count_pair(&c->right, sw_str_eq(a[0].verdict.label, label->text), sw_str_eq(a[1].verdict.label, label->text));
        return SW_OK;
    }
    sw_status status = sw_judge_truth(label, &truth, err);
    if (status) {
        return sw_error_prefix(err, "%s", sample->where);
    }
    count_pair(truth ? &c->positives : &c->negatives, a[0].verdict.positive, a[1].verdict.positive);
    return SW_OK;
}

static void count_outputs(struct sw_comparison *c, const struct answer *a) {
    for (size_t i = 0; i < c->output_count; i++) {
        struct sw_str name = sw_str_of(c->outputs[i].name);
        const struct sw_tensor *found[2] = {0};
        for (size_t side = 0; side < 2; side++) {
            const struct sw_inference *inference = &a[side].inference;
            for (size_t k = 0; k < inference->output_count; k++) {
                found[side] = sw_str_eq(inference->outputs[k].name, name) ? &inference->outputs[k] : found[side];
            }
        }
        if (found[0] && found[1]) {
            (void)sw_difference_add(&c->outputs[i], found[0], found[1]); /* of another shape: verdicts tell */
        }
    }
}

static void copy_text(char ret[SW_COMPARE_TEXT_MAX], struct sw_str text) {
    snprintf(ret, SW_COMPARE_TEXT_MAX, SW_STR_FMT, SW_STR_ARG(text));
}

static void describe(const struct sw_comparison *c, const struct answer *a, char ret[SW_COMPARE_TEXT_MAX]) {
    char score[48] = "";
    if (a->status) {
        snprintf(ret, SW_COMPARE_TEXT_MAX, "refused: %.140s", a->why.message);
        return;
    }
    if (!isnan(a->verdict.score)) {
        snprintf(score, sizeof score, " (%.4g)", a->verdict.score);
    }
    if (c->task == SW_TASK_BINARY) {
        snprintf(ret, SW_COMPARE_TEXT_MAX, "%s%s", a->verdict.positive ? "positive" : "negative", score);
    } else {
        snprintf(ret, SW_COMPARE_TEXT_MAX, "%.*s%s", (int)(a->verdict.label.len < 100 ? a->verdict.label.len : 100),
                 a->verdict.label.data ? a->verdict.label.data : "", score);
    }
}

/* Keeps the ones that come first in the data set, whatever order threads bring them in. */
static void show(struct sw_comparison *c, const struct sw_set_sample *sample, const struct answer *a) {
    size_t at = c->shown_count;
    while (at > 0 && c->shown[at - 1].index > sample->sample.index) {
        at--;
    }
    if (at == SW_COMPARE_SHOWN_MAX) {
        return;
    }
    c->shown_count += c->shown_count < SW_COMPARE_SHOWN_MAX;
    memmove(&c->shown[at + 1], &c->shown[at], (c->shown_count - at - 1) * sizeof c->shown[0]);
    struct sw_compare_case *entry = &c->shown[at];
    *entry = (struct sw_compare_case){.index = sample->sample.index};
    copy_text(entry->where, sw_str_of(sample->where));
    copy_text(entry->label, sample->sample.label.text);
    describe(c, &a[0], entry->said[0]);
    describe(c, &a[1], entry->said[1]);
}

static sw_status count(struct sw_comparison *c, const struct sw_set_sample *sample, const struct answer *a,
                       struct sw_error *err) {
    c->seen++;
    if (a[0].status || a[1].status) {
        c->both_refused += a[0].status && a[1].status;
        c->sides[0].failed += a[0].status && !a[1].status;
        c->sides[1].failed += a[1].status && !a[0].status;
        show(c, sample, a);
        return SW_OK;
    }
    c->compared++;
    count_outputs(c, a);
    if (!c->has_verdicts) {
        return SW_OK;
    }
    double apart = fabs(a[1].verdict.score - a[0].verdict.score);
    if (!isnan(apart)) {
        c->score_max = fmax(c->score_max, apart);
        c->score_sum += apart;
        c->score_count++;
    }
    if (agree(c, &a[0].verdict, &a[1].verdict)) {
        c->agreed++;
    } else {
        show(c, sample, a);
    }
    return c->has_labels ? count_truth(c, sample, a, err) : SW_OK;
}

/* --- all samples -------------------------------------------------------------------------------------------------- */

struct run {
    struct sw_comparison *comparison;
    pthread_mutex_t taking;   /* samples */
    pthread_mutex_t counting; /* for all below, and the comparison's counts */
    atomic_bool stop;
    uint64_t shown_ns;
    sw_status status; /* of what ended the run */
    struct sw_error error;
};

static void show_progress(struct run *run) {
    uint64_t now = sw_now_ns(sw_clock_system());
    if (now - run->shown_ns >= PROGRESS_EVERY_NS && isatty(STDERR_FILENO)) {
        char done[32], of[32];
        run->shown_ns = now;
        fprintf(stderr, "\r%s of %s samples ", sw_cli_thousands(run->comparison->seen, done),
                sw_cli_thousands(sw_sample_set_count(run->comparison->samples), of));
    }
}

static sw_status run_sample(struct run *run, const struct sw_set_sample *sample, struct sw_arena *arena,
                            struct sw_error *err) {
    struct sw_comparison *c = run->comparison;
    struct answer answers[2];
    for (size_t i = 0; i < 2; i++) {
        sw_status status = ask(c, &c->sides[i], sample, arena, &answers[i]);
        if (status && !is_of_sample(status)) {
            *err = answers[i].why;
            return status;
        }
        answers[i].status = status;
    }
    pthread_mutex_lock(&run->counting);
    sw_status status = count(c, sample, answers, err);
    show_progress(run);
    pthread_mutex_unlock(&run->counting);
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
        struct sw_set_sample sample;
        pthread_mutex_lock(&run->taking);
        status = sw_sample_set_next(run->comparison->samples, &arena, &sample, &more, &err);
        pthread_mutex_unlock(&run->taking);
        if (!status && more) {
            status = run_sample(run, &sample, &arena, &err);
        }
        sw_arena_reset(&arena);
    }
    sw_arena_deinit(&arena);
    if (status) {
        atomic_store_explicit(&run->stop, true, memory_order_relaxed);
        pthread_mutex_lock(&run->counting);
        run->error = run->status ? run->error : err;
        run->status = run->status ? run->status : status;
        pthread_mutex_unlock(&run->counting);
    }
    return NULL;
}

/* Outputs by name that both models give. */
static void find_outputs(struct sw_comparison *c) {
    const struct sw_tensor_specs *a = &c->sides[0].model->outputs, *b = &c->sides[1].model->outputs;
    c->outputs = sw_xcalloc(a->count + 1, sizeof *c->outputs);
    for (size_t i = 0; i < a->count; i++) {
        const struct sw_tensor_spec *same = sw_specs_find(b, sw_str_of(a->items[i].name));
        if (same && same->dtype != SW_DTYPE_BYTES && same->dtype == a->items[i].dtype) {
            c->outputs[c->output_count++].name = sw_xstrdup(a->items[i].name);
        }
    }
}

sw_status sw_compare_run(struct sw_comparison *c, unsigned threads, struct sw_error *err) {
    struct run run = {.comparison = c};
    pthread_t started[THREADS_MAX];
    unsigned count = 0;
    find_outputs(c);
    pthread_mutex_init(&run.taking, NULL);
    pthread_mutex_init(&run.counting, NULL);
    SW_ASSERT(threads >= 1 && threads <= THREADS_MAX);
    SW_TRY(sw_sample_set_rewind(c->samples, err));
    while (count + 1 < threads && !sw_thread_start(&started[count], "sw-compare", 0, work, &run, NULL)) {
        count++; /* fewer threads than wanted only take longer */
    }
    work(&run);
    for (unsigned i = 0; i < count; i++) {
        pthread_join(started[i], NULL);
    }
    pthread_mutex_destroy(&run.taking);
    pthread_mutex_destroy(&run.counting);
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r%50s\r", "");
    }
    for (size_t i = 0; i < c->output_count; i++) {
        sw_difference_finish(&c->outputs[i]);
    }
    if (run.status && err) {
        *err = run.error;
    }
    return run.status;
}

/* --- time --------------------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

struct timing {
    struct sw_comparison *comparison;
    struct sw_arena inputs, arena;
    size_t warm, skipped; /* samples: one after the other that a model refuses ends it */
};

/* The next sample that can be read, beginning again at the end. */
static sw_status next_sample(struct timing *t, struct sw_set_sample *ret, struct sw_error *err) {
    struct sw_comparison *c = t->comparison;
    bool more;
    sw_arena_reset(&t->inputs);
    SW_TRY(sw_sample_set_next(c->samples, &t->inputs, ret, &more, err));
    if (!more) {
        SW_TRY(sw_sample_set_rewind(c->samples, err));
        SW_TRY(sw_sample_set_next(c->samples, &t->inputs, ret, &more, err));
    }
    return more ? SW_OK : sw_fail(err, SW_E_INVALID_ARGUMENT, "%s holds no samples", c->data);
}

static sw_status time_side(struct timing *t, const struct sw_compare_side *side, const struct sw_set_sample *sample,
                           uint64_t *ret_request, uint64_t *ret_run, struct sw_error *err) {
    struct sw_inference inference = {0};
    SW_TRY(sw_sample_set_inputs(t->comparison->samples, sample, side->model, &t->inputs, &inference.inputs,
                                &inference.input_count, err));
    sw_status status = sw_model_infer(side->model, &inference, &t->arena, sw_clock_system(), err);
    *ret_request = inference.pre_ns + inference.run_ns + inference.post_ns;
    *ret_run = inference.run_ns;
    sw_arena_reset(&t->arena);
    return status;
}

/* Both models on one sample. *ret_done false: one of them refuses it. */
static sw_status time_sample(struct timing *t, uint64_t request[2], uint64_t run[2], bool *ret_done,
                             struct sw_error *err) {
    struct sw_comparison *c = t->comparison;
    struct sw_set_sample sample;
    *ret_done = false;
    SW_TRY(next_sample(t, &sample, err));
    for (size_t i = 0; i < 2; i++) {
        size_t side = (c->timed + i) % 2;
        sw_status status = time_side(t, &c->sides[side], &sample, &request[side], &run[side], err);
        if (status) {
            return is_of_sample(status) ? SW_OK : status;
        }
    }
    *ret_done = true;
    return SW_OK;
}

static sw_status time_all(struct timing *t, size_t count, struct sw_error *err) {
    struct sw_comparison *c = t->comparison;
    uint64_t begin = sw_now_ns(sw_clock_system());
    SW_TRY(sw_sample_set_rewind(c->samples, err));
    while (c->timed < count && t->skipped < sw_sample_set_count(c->samples)) {
        uint64_t request[2], run[2];
        bool done;
        SW_TRY(time_sample(t, request, run, &done, err));
        t->skipped = done ? 0 : t->skipped + 1;
        if (done && t->warm < WARMUP_RUNS) {
            t->warm++;
        } else if (done) {
            for (size_t i = 0; i < 2; i++) {
                c->sides[i].request[c->timed] = request[i];
                c->sides[i].run[c->timed] = run[i];
            }
            c->timed++;
        }
        if (c->timed && (sw_now_ns(sw_clock_system()) - begin) / 1000000000 >= TIMING_SECONDS_MAX) {
            break; /* fewer requests of a very slow model will do */
        }
    }
    return SW_OK;
}

sw_status sw_compare_time(struct sw_comparison *c, size_t count, struct sw_error *err) {
    struct timing t = {.comparison = c};
    for (size_t i = 0; i < 2; i++) {
        c->sides[i].request = sw_xcalloc(count + 1, sizeof *c->sides[i].request);
        c->sides[i].run = sw_xcalloc(count + 1, sizeof *c->sides[i].run);
    }
    sw_arena_init(&t.inputs, 0, ARENA_RETAIN);
    sw_arena_init(&t.arena, 0, ARENA_RETAIN);
    sw_status status = time_all(&t, count, err);
    sw_arena_deinit(&t.inputs);
    sw_arena_deinit(&t.arena);
    for (size_t i = 0; i < 2; i++) {
        qsort(c->sides[i].request, c->timed, sizeof *c->sides[i].request, by_value);
        qsort(c->sides[i].run, c->timed, sizeof *c->sides[i].run, by_value);
    }
    return status;
}

/* Smallest value with at least that share of the values at or below it (nearest rank). */
double sw_compare_percentile_ms(const uint64_t *sorted_ns, size_t count, double percent) {
    if (count == 0) {
        return NAN;
    }
    size_t rank = (size_t)ceil(percent / 100 * (double)count);
    return (double)sorted_ns[rank > 0 ? rank - 1 : 0] / 1e6;
}

double sw_compare_latency_ratio(const struct sw_comparison *c) {
    return sw_compare_percentile_ms(c->sides[1].request, c->timed, 50) /
           sw_compare_percentile_ms(c->sides[0].request, c->timed, 50);
}
