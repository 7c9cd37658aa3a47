/* See probe.h. */
#include "sched/probe.h"

#include <math.h>
#include <stdio.h>

enum { TRIAL_ROWS = 4 /* a power of two: it is a point of the profile */, TIMED_RUNS = 3, ARENA_RETAIN = 1 << 20 };
/* Largest difference between a row's answer together and alone, relative to the largest value of the output. */
#define TOLERANCE 1e-3
#define TOLERANCE_HALF 2e-2 /* FP16, BF16 */
/* Growth of a row's price from which on larger batches are not tried: it has stopped falling. */
#define STOPS_FALLING 0.97

struct trial {
    struct sw_session *session;
    const struct sw_engine_ops *ops;
    const struct sw_tensor_specs *inputs, *outputs;
    struct sw_clock *clock;
    uint32_t *wanted;      /* every output */
    size_t input_count;    /* required ones */
    struct sw_arena arena; /* of the trial's rows and answers */
    struct sw_error err;
};

/* ---- rows */

static bool free_first(const struct sw_tensor_spec *spec, const char *what, char *ret_note, size_t size) {
    if (spec->rank == 0) {
        snprintf(ret_note, size, "%s '%s' has no dimensions", what, spec->name);
        return false;
    }
    if (spec->shape[0] >= 0) {
        snprintf(ret_note, size, "dimension 0 of %s '%s' is fixed at %lld", what, spec->name,
                 (long long)spec->shape[0]);
        return false;
    }
    return true;
}

bool sw_probe_has_rows(struct sw_session *session, char *ret_note, size_t size) {
    const struct sw_engine_ops *ops = session->engine->ops;
    const struct sw_tensor_specs *inputs = ops->inputs(session), *outputs = ops->outputs(session);
    size_t required = 0;
    for (size_t i = 0; i < inputs->count; i++) {
        if (!inputs->items[i].optional) {
            required++;
            if (!free_first(&inputs->items[i], "input", ret_note, size)) {
                return false;
            }
        }
    }
    for (size_t i = 0; i < outputs->count; i++) {
        if (!free_first(&outputs->items[i], "output", ret_note, size)) {
            return false;
        }
    }
    if (required == 0 || outputs->count == 0) {
        snprintf(ret_note, size, "it has no required input or no output");
        return false;
    }
    return true;
}

/* splitmix64: the same rows at every load. */
static uint64_t next_random(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void put_random(struct sw_tensor *t, size_t at, uint64_t r) {
    static const char *const letters[] = {"a", "b", "c", "d"};
    double number = (double)(r >> 11) * 0x1p-52 - 1; /* in [-1, 1) */
    switch (t->dtype) {
    case SW_DTYPE_FP32: ((float *)t->data)[at] = (float)number; break;
    case SW_DTYPE_FP64: ((double *)t->data)[at] = number; break;
    case SW_DTYPE_FP16: ((uint16_t *)t->data)[at] = sw_float_to_half((float)number); break;
    case SW_DTYPE_BF16: ((uint16_t *)t->data)[at] = sw_float_to_bf16((float)number); break;
    case SW_DTYPE_BYTES: ((struct sw_str *)t->data)[at] = (struct sw_str){letters[r >> 62], 1}; break;
    case SW_DTYPE_BOOL:
    case SW_DTYPE_UINT8:
    case SW_DTYPE_INT8: ((uint8_t *)t->data)[at] = r >> 63; break;
    case SW_DTYPE_UINT16:
    case SW_DTYPE_INT16: ((uint16_t *)t->data)[at] = r >> 63; break;
    case SW_DTYPE_UINT32:
    case SW_DTYPE_INT32: ((uint32_t *)t->data)[at] = r >> 63; break;
    case SW_DTYPE_UINT64:
    case SW_DTYPE_INT64: ((uint64_t *)t->data)[at] = r >> 63; break;
    default: SW_ASSERT(!"a dtype that no session has");
    }
}

/* Required inputs of `rows` rows; other free dimensions 1. */
static sw_status make_rows(struct trial *t, uint64_t rows, struct sw_arena *arena, struct sw_tensor **ret) {
    struct sw_tensor *tensors = sw_arena_calloc(arena, t->input_count, sizeof *tensors);
    uint64_t state = 1;
    size_t made = 0;
    if (!tensors) {
        return sw_fail(&t->err, SW_E_UNAVAILABLE, "out of memory");
    }
    for (size_t i = 0; i < t->inputs->count; i++) {
        const struct sw_tensor_spec *spec = &t->inputs->items[i];
        int64_t shape[SW_RANK_MAX];
        if (spec->optional) {
            continue;
        }
        for (uint32_t d = 0; d < spec->rank; d++) {
            shape[d] = d == 0 ? (int64_t)rows : spec->shape[d] < 0 ? 1 : spec->shape[d];
        }
        struct sw_tensor *tensor = &tensors[made++];
        SW_TRY(sw_tensor_alloc(tensor, arena, sw_str_of(spec->name), spec->dtype, shape, spec->rank, &t->err));
        for (size_t k = 0; k < tensor->count; k++) {
            put_random(tensor, k, next_random(&state));
        }
    }
    *ret = tensors;
    return SW_OK;
}

static sw_status run(struct trial *t, const struct sw_tensor *inputs, struct sw_arena *arena, struct sw_tensor **ret,
                     uint64_t *ret_ns) {
    struct sw_tensor *results = sw_arena_calloc(arena, t->outputs->count, sizeof *results);
    if (!results) {
        return sw_fail(&t->err, SW_E_UNAVAILABLE, "out of memory");
    }
    uint64_t start = sw_now_ns(t->clock);
    SW_TRY(t->ops->run(t->session, inputs, t->input_count, t->wanted, t->outputs->count, results, arena, &t->err));
    *ret_ns = sw_now_ns(t->clock) - start;
    *ret = results;
    return SW_OK;
}

static struct sw_tensor row_of(const struct sw_tensor *t, size_t row) {
    struct sw_tensor slice = *t;
    slice.shape[0] = 1;
    slice.count = t->count / (size_t)t->shape[0];
    slice.data = (char *)t->data + row * slice.count * sw_dtype_size(t->dtype);
    return slice;
}

/* ---- comparing */

static double number_at(const struct sw_tensor *t, size_t at) {
    switch (t->dtype) {
    case SW_DTYPE_FP32: return ((const float *)t->data)[at];
    case SW_DTYPE_FP64: return ((const double *)t->data)[at];
    case SW_DTYPE_FP16: return sw_half_to_float(((const uint16_t *)t->data)[at]);
    default: return sw_bf16_to_float(((const uint16_t *)t->data)[at]);
    }
}

static bool is_floating(enum sw_dtype dtype) {
    return dtype == SW_DTYPE_FP32 || dtype == SW_DTYPE_FP64 || dtype == SW_DTYPE_FP16 || dtype == SW_DTYPE_BF16;
}

/* Largest finite magnitude. */
static double largest(const struct sw_tensor *t) {
    double most = 0;
    for (size_t i = 0; i < t->count; i++) {
        double magnitude = fabs(number_at(t, i));
        most = isfinite(magnitude) && magnitude > most ? magnitude : most;
    }
    return most;
}

static bool close_enough(double a, double b, double scale, double tolerance) {
    if (!isfinite(a) || !isfinite(b)) {
        return isnan(a) ? isnan(b) : a == b;
    }
    return fabs(a - b) <= tolerance * scale;
}

/* Of two tensors of one type and shape. */
static bool same_answer(const struct sw_tensor *a, const struct sw_tensor *b, double scale) {
    if (is_floating(a->dtype)) {
        bool half = a->dtype == SW_DTYPE_FP16 || a->dtype == SW_DTYPE_BF16;
        for (size_t i = 0; i < a->count; i++) {
            if (!close_enough(number_at(a, i), number_at(b, i), scale, half ? TOLERANCE_HALF : TOLERANCE)) {
                return false;
            }
        }
        return true;
    }
    if (a->dtype == SW_DTYPE_BYTES) {
        for (size_t i = 0; i < a->count; i++) {
            if (!sw_str_eq(((const struct sw_str *)a->data)[i], ((const struct sw_str *)b->data)[i])) {
                return false;
            }
        }
        return true;
    }
    return a->count == 0 || memcmp(a->data, b->data, a->count * sw_dtype_size(a->dtype)) == 0;
}

static bool same_trailing_shape(const struct sw_tensor *a, const struct sw_tensor *b) {
    return a->dtype == b->dtype && a->rank == b->rank &&
           (a->rank < 2 || memcmp(a->shape + 1, b->shape + 1, (a->rank - 1) * sizeof a->shape[0]) == 0);
}

/* Is `alone` what stands in row `row` of `together`? Else the note says where not. */
static bool compare_row(struct sw_probe *probe, const struct sw_tensor *together, const struct sw_tensor *alone,
                        size_t row) {
    if (together->dtype == SW_DTYPE_INVALID && alone->dtype == SW_DTYPE_INVALID) {
        return true; /* an optional output, left out both times */
    }
    if (!same_trailing_shape(together, alone) || together->rank == 0 || together->shape[0] != TRIAL_ROWS ||
        alone->shape[0] != 1) {
        char shapes[2][100];
        snprintf(probe->note, sizeof probe->note, "output '%.80s' is %s for %d rows and %s for one",
                 together->name.data, sw_shape_format(together->shape, together->rank, shapes[0], sizeof shapes[0]),
                 TRIAL_ROWS, sw_shape_format(alone->shape, alone->rank, shapes[1], sizeof shapes[1]));
        return false;
    }
    struct sw_tensor slice = row_of(together, row);
    if (!same_answer(&slice, alone, is_floating(alone->dtype) ? fmax(largest(together), largest(alone)) : 0)) {
        snprintf(probe->note, sizeof probe->note,
                 "rows influence each other: output '%.80s' of a row is another alone "
                 "than among others",
                 together->name.data);
        return false;
    }
    return true;
}

/* ---- the trial */

static sw_status try_rows(struct trial *t, struct sw_probe *probe) {
    struct sw_tensor *rows, *together, *alone;
    uint64_t ns;
    struct sw_tensor *one = sw_arena_calloc(&t->arena, t->input_count, sizeof *one);
    SW_TRY(one ? SW_OK : sw_fail(&t->err, SW_E_UNAVAILABLE, "out of memory"));
    SW_TRY(make_rows(t, TRIAL_ROWS, &t->arena, &rows));
    SW_TRY(run(t, rows, &t->arena, &together, &ns));
    sw_profile_set(&probe->profile, TRIAL_ROWS, ns); /* until time_sizes knows better */
    for (size_t row = 0; row < TRIAL_ROWS; row++) {
        for (size_t i = 0; i < t->input_count; i++) {
            one[i] = row_of(&rows[i], row);
        }
        SW_TRY(run(t, one, &t->arena, &alone, &ns));
        for (size_t i = 0; i < t->outputs->count; i++) {
            if (!compare_row(probe, &together[i], &alone[i], row)) {
                probe->rows = SW_ROWS_LINKED;
                return SW_OK;
            }
        }
    }
    probe->rows = SW_ROWS_APART;
    return SW_OK;
}

/* Least time of a few runs of that size. */
static sw_status time_size(struct trial *t, uint64_t rows, uint64_t *ret_ns) {
    uint64_t least = UINT64_MAX;
    struct sw_arena arena;
    sw_arena_init(&arena, 0, ARENA_RETAIN);
    sw_status status = SW_OK;
    for (int i = 0; i < TIMED_RUNS && !status; i++) {
        struct sw_tensor *inputs, *outputs;
        uint64_t ns = 0;
        status = make_rows(t, rows, &arena, &inputs);
        status = status ? status : run(t, inputs, &arena, &outputs, &ns);
        least = !status && ns < least ? ns : least;
        sw_arena_reset(&arena);
    }
    sw_arena_deinit(&arena);
    *ret_ns = least;
    return status;
}

/* Sizes 1, 2, 4, ... as long as there is time and a row still becomes cheaper. A size that fails is no fault: larger
 * ones are not tried. */
static void time_sizes(struct trial *t, const struct sw_probe_options *o, struct sw_profile *profile) {
    uint64_t start = sw_now_ns(t->clock);
    double before = 0;
    int stalled = 0;
    for (uint64_t rows = 1; rows <= o->rows_max && stalled < 2; rows *= 2) {
        uint64_t ns, spent = sw_now_ns(t->clock) - start;
        /* A size costs at most twice the runs of the one before. */
        if (spent > o->budget_ns ||
            (rows > 1 && before * (double)(TIMED_RUNS * rows) > (double)(o->budget_ns - spent)) ||
            time_size(t, rows, &ns)) {
            return;
        }
        sw_profile_set(profile, rows, ns);
        double row_ns = (double)ns / (double)rows;
        stalled = rows > 1 && row_ns > before * STOPS_FALLING ? stalled + 1 : 0;
        before = row_ns;
    }
}

static void run_trial(struct trial *t, const struct sw_probe_options *o, struct sw_probe *ret) {
    if (try_rows(t, ret)) {
        ret->rows = SW_ROWS_UNTESTED;
        snprintf(ret->note, sizeof ret->note, "it does not run on random rows: %.240s", t->err.message);
    }
    if (ret->rows == SW_ROWS_APART) {
        time_sizes(t, o, &ret->profile);
    }
}

void sw_probe_run(struct sw_session *session, const struct sw_probe_options *o, struct sw_probe *ret) {
    const struct sw_engine_ops *ops = session->engine->ops;
    *ret = (struct sw_probe){.rows = SW_ROWS_UNTESTED};
    ret->profile.ns[0] = o->run_ns;
    if (!sw_probe_has_rows(session, ret->note, sizeof ret->note)) {
        ret->rows = SW_ROWS_NONE;
        return;
    }
    if (o->run_ns > o->slow_ns) {
        snprintf(ret->note, sizeof ret->note, "a run takes %llu ms: too long for a trial",
                 (unsigned long long)o->run_ns / 1000000);
        return;
    }
    struct trial t = {.session = session,
                      .ops = ops,
                      .inputs = ops->inputs(session),
                      .outputs = ops->outputs(session),
                      .clock = o->clock};
    for (size_t i = 0; i < t.inputs->count; i++) {
        t.input_count += !t.inputs->items[i].optional;
    }
    sw_arena_init(&t.arena, 0, 0);
    t.wanted = sw_arena_calloc(&t.arena, t.outputs->count, sizeof *t.wanted);
    for (uint32_t i = 0; t.wanted && i < t.outputs->count; i++) {
        t.wanted[i] = i;
    }
    if (t.wanted) {
        run_trial(&t, o, ret);
    } else {
        snprintf(ret->note, sizeof ret->note, "out of memory");
    }
    sw_arena_deinit(&t.arena);
}
