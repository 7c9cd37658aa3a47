/* Per-thread counters of one model version; see recorder.h.
 *
 * Memory order is that of metrics.c: a shard has one writer, so an update is a relaxed load, an addition and a relaxed
 * store; when a thread's index passes to another thread, base/thread.c orders what the old one wrote before what the new
 * one reads. Smallest and largest have two writers, the thread and the collector, which takes them by exchange: between the
 * thread's load and its store the collector may have taken the old one, and the new one then counts for the next
 * collection, which is what recorder.h says. */
#include "observe/recorder.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/memory.h"
#include "base/thread.h"

/* Cells of a shard: those of loghist.h in a range that is worth a counter of its own, the rest in its ends. */
enum {
    LATENCY_EXPONENT_MIN = -10, /* 2^-10 ms: about 1 us */
    LATENCY_EXPONENT_MAX = 17,  /* 2^17 ms: 131 s */
    LATENCY_CELLS = (LATENCY_EXPONENT_MAX - LATENCY_EXPONENT_MIN) * SW_LOGHIST_PER_OCTAVE,
    PREDICTION_EXPONENT_MIN = -20, /* a millionth; below it is 0 */
    PREDICTION_EXPONENT_MAX = 20,
    PREDICTION_SIDE = (PREDICTION_EXPONENT_MAX - PREDICTION_EXPONENT_MIN) * SW_LOGHIST_PER_OCTAVE,
    PREDICTION_CELLS = 2 * PREDICTION_SIDE + 1,
};

#define FIRST_CELL(exponent) (SW_LOGHIST_ZERO + 1 + ((exponent)-SW_LOGHIST_EXPONENT_MIN) * SW_LOGHIST_PER_OCTAVE)

/* Doubles as their bits. */
typedef atomic_uint_fast64_t atomic_double;

struct values {
    atomic_uint_fast64_t count;
    atomic_double sum, sum_squares;
    atomic_double min, max; /* NaN: none since they were taken */
};

struct shard {
    struct values latency;
    atomic_uint_fast64_t failures[SW_FAILURES];
    atomic_uint_fast64_t verdicts, positives;
    atomic_uint cells[LATENCY_CELLS]; /* may run over: differences are right all the same */
};

struct prediction_shard {
    struct values values;
    atomic_uint cells[PREDICTION_CELLS];
};

/* What was collected up to now; the extremes: of what is not in a point yet. */
struct totals {
    uint64_t count;
    double sum, sum_squares, min, max;
};

struct sw_recorder {
    _Atomic(struct shard *) shards[SW_THREADS_MAX];
    _Atomic(struct prediction_shard *) prediction_shards[SW_THREADS_MAX]; /* of models that predict a number */
    struct totals latency, prediction;                                    /* collector only, from here on */
    uint64_t failures[SW_FAILURES];
    uint64_t verdicts, positives;
    unsigned latency_cells[LATENCY_CELLS];
    unsigned *prediction_cells; /* NULL: no prediction yet */
};

/* ---- numbers in atomics */

static uint64_t bits_of(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static double double_of(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void bump(atomic_uint_fast64_t *value, uint64_t n) {
    atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + n, memory_order_relaxed);
}

static uint64_t get(const atomic_uint_fast64_t *value) {
    return atomic_load_explicit(value, memory_order_relaxed);
}

static void bump_double(atomic_double *value, double n) {
    atomic_store_explicit(value, bits_of(double_of(get(value)) + n), memory_order_relaxed);
}

static void bump_cell(atomic_uint *cell) {
    atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + 1, memory_order_relaxed);
}

static void init_values(struct values *v) {
    atomic_init(&v->count, 0);
    atomic_init(&v->sum, bits_of(0));
    atomic_init(&v->sum_squares, bits_of(0));
    atomic_init(&v->min, bits_of(NAN));
    atomic_init(&v->max, bits_of(NAN));
}

static void add_value(struct values *v, double value) {
    bump(&v->count, 1);
    bump_double(&v->sum, value);
    bump_double(&v->sum_squares, value * value);
    if (!(double_of(get(&v->min)) <= value)) { /* NaN: none yet */
        atomic_store_explicit(&v->min, bits_of(value), memory_order_relaxed);
    }
    if (!(double_of(get(&v->max)) >= value)) {
        atomic_store_explicit(&v->max, bits_of(value), memory_order_relaxed);
    }
}

/* ---- life */

struct sw_recorder *sw_recorder_create(void) {
    struct sw_recorder *recorder = SW_NEW(struct sw_recorder);
    recorder->latency = recorder->prediction = (struct totals){.min = NAN, .max = NAN};
    return recorder;
}

void sw_recorder_destroy(struct sw_recorder *recorder) {
    for (size_t i = 0; recorder && i < SW_THREADS_MAX; i++) {
        sw_free(atomic_load(&recorder->shards[i]));
        sw_free(atomic_load(&recorder->prediction_shards[i]));
    }
    if (recorder) {
        sw_free(recorder->prediction_cells);
        sw_free(recorder);
    }
}

/* Only the thread of this index stores here. NULL: out of memory. */
static struct shard *own_shard(struct sw_recorder *recorder) {
    _Atomic(struct shard *) *place = &recorder->shards[sw_thread_index()];
    struct shard *shard = atomic_load_explicit(place, memory_order_relaxed);
    if (SW_LIKELY(shard != NULL)) {
        return shard;
    }
    shard = sw_calloc(1, sizeof *shard);
    if (shard) {
        init_values(&shard->latency);
        atomic_store_explicit(place, shard, memory_order_release);
    }
    return shard;
}

static struct prediction_shard *own_prediction_shard(struct sw_recorder *recorder) {
    _Atomic(struct prediction_shard *) *place = &recorder->prediction_shards[sw_thread_index()];
    struct prediction_shard *shard = atomic_load_explicit(place, memory_order_relaxed);
    if (SW_LIKELY(shard != NULL)) {
        return shard;
    }
    shard = sw_calloc(1, sizeof *shard);
    if (shard) {
        init_values(&shard->values);
        atomic_store_explicit(place, shard, memory_order_release);
    }
    return shard;
}

/* ---- counting */

static unsigned clamp(int cell, int count) {
    return (unsigned)(cell < 0 ? 0 : cell < count ? cell : count - 1);
}

void sw_recorder_success(struct sw_recorder *recorder, uint64_t latency_ns) {
    struct shard *shard = own_shard(recorder);
    if (SW_LIKELY(shard != NULL)) {
        double ms = (double)latency_ns / 1e6;
        add_value(&shard->latency, ms);
        int cell = (int)sw_loghist_cell(ms) - FIRST_CELL(LATENCY_EXPONENT_MIN);
        bump_cell(&shard->cells[clamp(cell, LATENCY_CELLS)]);
    }
}

void sw_recorder_failure(struct sw_recorder *recorder, enum sw_failure failure) {
    SW_ASSERT((unsigned)failure < SW_FAILURES);
    struct shard *shard = own_shard(recorder);
    if (shard) {
        bump(&shard->failures[failure], 1);
    }
}

void sw_recorder_verdicts(struct sw_recorder *recorder, const uint8_t *values, size_t count) {
    struct shard *shard = own_shard(recorder);
    size_t positives = 0;
    for (size_t i = 0; i < count; i++) {
        positives += values[i] != 0;
    }
    if (shard) {
        bump(&shard->verdicts, count);
        bump(&shard->positives, positives);
    }
}

/* The shard's cell of a prediction: PREDICTION_SIDE is that of 0. */
static unsigned prediction_cell(double value) {
    int distance = (int)sw_loghist_cell(fabs(value)) - FIRST_CELL(PREDICTION_EXPONENT_MIN) + 1;
    distance = distance < 0 ? 0 : distance < PREDICTION_SIDE ? distance : PREDICTION_SIDE;
    return (unsigned)(value < 0 ? PREDICTION_SIDE - distance : PREDICTION_SIDE + distance);
}

/* And back to the cell of loghist.h. */
static unsigned prediction_loghist_cell(unsigned cell) {
    int distance = (int)cell - PREDICTION_SIDE;
    int to_first = FIRST_CELL(PREDICTION_EXPONENT_MIN) - 1 - SW_LOGHIST_ZERO;
    return (unsigned)(distance == 0  ? SW_LOGHIST_ZERO
                      : distance < 0 ? SW_LOGHIST_ZERO + distance - to_first
                                     : SW_LOGHIST_ZERO + distance + to_first);
}

static void add_prediction(struct prediction_shard *shard, double value) {
    if (fabs(value) <= SW_HISTORY_VALUE_MAX) { /* NaN is not */
        add_value(&shard->values, value);
        bump_cell(&shard->cells[prediction_cell(value)]);
    }
}

void sw_recorder_predictions_f32(struct sw_recorder *recorder, const float *values, size_t count) {
    struct prediction_shard *shard = own_prediction_shard(recorder);
    for (size_t i = 0; shard && i < count; i++) {
        add_prediction(shard, (double)values[i]);
    }
}

void sw_recorder_predictions_f64(struct sw_recorder *recorder, const double *values, size_t count) {
    struct prediction_shard *shard = own_prediction_shard(recorder);
    for (size_t i = 0; shard && i < count; i++) {
        add_prediction(shard, values[i]);
    }
}

/* ---- collecting */

static void take_extremes(struct values *v, struct totals *now) {
    uint64_t none = bits_of(NAN);
    double min = double_of(atomic_exchange_explicit(&v->min, none, memory_order_relaxed));
    double max = double_of(atomic_exchange_explicit(&v->max, none, memory_order_relaxed));
    now->min = fmin(now->min, min); /* of a number and NaN: the number */
    now->max = fmax(now->max, max);
}

static void add_values(struct values *v, struct totals *now) {
    now->count += get(&v->count);
    now->sum += double_of(get(&v->sum));
    now->sum_squares += double_of(get(&v->sum_squares));
    take_extremes(v, now);
}

/* *before becomes now; the difference is the point. Extremes whose value was counted in the collection before wait for the
 * next one that has values; where none has come yet, the mean stands for them. */
static void difference(struct totals *before, const struct totals *now, struct sw_point *ret) {
    before->min = fmin(before->min, now->min);
    before->max = fmax(before->max, now->max);
    ret->count = now->count - before->count;
    if (ret->count == 0) {
        return;
    }
    ret->sum = now->sum - before->sum;
    ret->sum_squares = fmax(now->sum_squares - before->sum_squares, 0);
    double mean = ret->sum / (double)ret->count;
    ret->min = isnan(before->min) ? mean : before->min;
    ret->max = isnan(before->max) ? mean : before->max;
    *before = (struct totals){now->count, now->sum, now->sum_squares, NAN, NAN};
}

/* Cells that grew, as cells of loghist.h. */
static bool difference_cells(unsigned *before, const unsigned *now, size_t count, unsigned (*to_loghist)(unsigned cell),
                             struct sw_loghist *ret) {
    bool is_whole = true;
    for (unsigned i = 0; i < count; i++) {
        unsigned more = now[i] - before[i];
        before[i] = now[i];
        is_whole = sw_loghist_add(ret, to_loghist(i), more) && is_whole;
    }
    return is_whole;
}

static void add_cells(unsigned *cells, const atomic_uint *from, size_t count) {
    for (size_t i = 0; i < count; i++) {
        cells[i] += atomic_load_explicit(&from[i], memory_order_relaxed);
    }
}

static unsigned latency_loghist_cell(unsigned cell) {
    return FIRST_CELL(LATENCY_EXPONENT_MIN) + cell;
}

static bool collect_latency(struct sw_recorder *recorder, struct sw_point *ret) {
    struct totals now = {.min = NAN, .max = NAN};
    uint64_t failures[SW_FAILURES] = {0};
    unsigned cells[LATENCY_CELLS] = {0};
    for (size_t i = 0; i < SW_THREADS_MAX; i++) {
        struct shard *shard = atomic_load_explicit(&recorder->shards[i], memory_order_acquire);
        if (shard) {
            add_values(&shard->latency, &now);
            add_cells(cells, shard->cells, LATENCY_CELLS);
            for (size_t k = 0; k < SW_FAILURES; k++) {
                failures[k] += get(&shard->failures[k]);
            }
        }
    }
    difference(&recorder->latency, &now, ret);
    for (size_t k = 0; k < SW_FAILURES; k++) {
        ret->failures[k] = failures[k] - recorder->failures[k];
        recorder->failures[k] = failures[k];
    }
    return difference_cells(recorder->latency_cells, cells, LATENCY_CELLS, latency_loghist_cell, &ret->values);
}

static bool collect_verdicts(struct sw_recorder *recorder, struct sw_point *ret) {
    uint64_t verdicts = 0, positives = 0;
    for (size_t i = 0; i < SW_THREADS_MAX; i++) {
        struct shard *shard = atomic_load_explicit(&recorder->shards[i], memory_order_acquire);
        if (shard) {
            verdicts += get(&shard->verdicts);
            positives += get(&shard->positives);
        }
    }
    uint64_t count = verdicts - recorder->verdicts, ones = positives - recorder->positives;
    ones = ones < count ? ones : count; /* the two were not read at one moment; the rest comes next time */
    recorder->verdicts += count;
    recorder->positives += ones;
    *ret = (struct sw_point){.count = count,
                             .sum = (double)ones,
                             .sum_squares = (double)ones,
                             .min = ones < count ? 0 : 1,
                             .max = ones ? 1 : 0};
    return sw_loghist_add(&ret->values, sw_loghist_cell(0), count - ones) &&
           sw_loghist_add(&ret->values, sw_loghist_cell(1), ones);
}

/* The recorder's own copy of the cells, made when the first shard is there. */
static unsigned *own_cells(struct sw_recorder *recorder) {
    if (!recorder->prediction_cells) {
        recorder->prediction_cells = sw_calloc(PREDICTION_CELLS, sizeof *recorder->prediction_cells);
    }
    return recorder->prediction_cells;
}

static bool collect_predictions(struct sw_recorder *recorder, struct sw_point *ret) {
    struct totals now = {.min = NAN, .max = NAN};
    unsigned cells[PREDICTION_CELLS] = {0};
    bool found = false;
    for (size_t i = 0; i < SW_THREADS_MAX; i++) {
        struct prediction_shard *shard = atomic_load_explicit(&recorder->prediction_shards[i], memory_order_acquire);
        if (shard) {
            found = true;
            add_values(&shard->values, &now);
            add_cells(cells, shard->cells, PREDICTION_CELLS);
        }
    }
    unsigned *before = found ? own_cells(recorder) : NULL;
    if (!before) {
        return !found;
    }
    difference(&recorder->prediction, &now, ret);
    return difference_cells(before, cells, PREDICTION_CELLS, prediction_loghist_cell, &ret->values);
}

bool sw_recorder_collect(struct sw_recorder *recorder, struct sw_recorded *ret) {
    *ret = (struct sw_recorded){0};
    bool is_whole = collect_latency(recorder, &ret->latency);
    is_whole = collect_verdicts(recorder, &ret->verdict) && is_whole;
    return collect_predictions(recorder, &ret->prediction) && is_whole;
}

void sw_recorded_deinit(struct sw_recorded *recorded) {
    sw_loghist_deinit(&recorded->latency.values);
    sw_loghist_deinit(&recorded->verdict.values);
    sw_loghist_deinit(&recorded->prediction.values);
}
