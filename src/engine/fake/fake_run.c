/* Running a fake session: pause, count, compute. Any number of threads at once; the counters are all
 * they share. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <unistd.h>

#include "base/clock.h"
#include "engine/fake/fake_internal.h"

#define WAIT_MAX_NS (60 * (uint64_t)1000000000)
enum { POLL_NS = 500 * 1000 };

static uint64_t now_ns(void) {
    return sw_now_ns(sw_clock_system());
}

/* Waits until the existence of the file is `wanted`. */
static bool wait_until(const char *path, bool wanted) {
    uint64_t end = now_ns() + WAIT_MAX_NS;
    while ((access(path, F_OK) == 0) != wanted) {
        if (now_ns() > end) {
            return false;
        }
        nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
    }
    return true;
}

sw_status fake_pause(const struct fake_pause *pause, sw_status code, struct sw_error *err) {
    if (pause->started) {
        int fd = open(pause->started, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0) {
            return sw_fail(err, code, "%s: %s", pause->started, strerror(errno));
        }
        close(fd);
    }
    uint64_t end = pause->spin_us ? now_ns() + pause->spin_us * 1000 : 0;
    while (end && now_ns() < end) {
    }
    if (pause->wait_for && !wait_until(pause->wait_for, true)) {
        return sw_fail(err, code, "%s did not appear", pause->wait_for);
    }
    if (pause->wait_while && !wait_until(pause->wait_while, false)) {
        return sw_fail(err, code, "%s did not go away", pause->wait_while);
    }
    return SW_OK;
}

/* --- elements as doubles --- */

static double get_number(const struct sw_tensor *t, size_t i) {
    switch (t->dtype) {
    case SW_DTYPE_BOOL:
    case SW_DTYPE_UINT8: return ((const uint8_t *)t->data)[i];
    case SW_DTYPE_UINT16: return ((const uint16_t *)t->data)[i];
    case SW_DTYPE_UINT32: return ((const uint32_t *)t->data)[i];
    case SW_DTYPE_UINT64: return (double)((const uint64_t *)t->data)[i];
    case SW_DTYPE_INT8: return ((const int8_t *)t->data)[i];
    case SW_DTYPE_INT16: return ((const int16_t *)t->data)[i];
    case SW_DTYPE_INT32: return ((const int32_t *)t->data)[i];
    case SW_DTYPE_INT64: return (double)((const int64_t *)t->data)[i];
    case SW_DTYPE_FP16: return sw_half_to_float(((const uint16_t *)t->data)[i]);
    case SW_DTYPE_BF16: return sw_bf16_to_float(((const uint16_t *)t->data)[i]);
    case SW_DTYPE_FP32: return ((const float *)t->data)[i];
    case SW_DTYPE_FP64: return ((const double *)t->data)[i];
    default: return 0; /* texts count as 0 */
    }
}

/* The nearest value an integer type can hold; NaN becomes 0. */
static double clamp(double value, double low, double high) {
    return isnan(value) ? 0 : fmin(fmax(value, low), high);
}

static bool put_number(struct sw_tensor *t, size_t i, double value, struct sw_arena *arena) {
    char *text;
    switch (t->dtype) {
    case SW_DTYPE_BOOL: ((uint8_t *)t->data)[i] = value != 0; return true;
    case SW_DTYPE_UINT8: ((uint8_t *)t->data)[i] = (uint8_t)clamp(value, 0, UINT8_MAX); return true;
    case SW_DTYPE_UINT16: ((uint16_t *)t->data)[i] = (uint16_t)clamp(value, 0, UINT16_MAX); return true;
    case SW_DTYPE_UINT32: ((uint32_t *)t->data)[i] = (uint32_t)clamp(value, 0, UINT32_MAX); return true;
    case SW_DTYPE_UINT64: ((uint64_t *)t->data)[i] = (uint64_t)clamp(value, 0, 0x1.fffffffffffffp63); return true;
    case SW_DTYPE_INT8: ((int8_t *)t->data)[i] = (int8_t)clamp(value, INT8_MIN, INT8_MAX); return true;
    case SW_DTYPE_INT16: ((int16_t *)t->data)[i] = (int16_t)clamp(value, INT16_MIN, INT16_MAX); return true;
    case SW_DTYPE_INT32: ((int32_t *)t->data)[i] = (int32_t)clamp(value, INT32_MIN, INT32_MAX); return true;
    case SW_DTYPE_INT64: ((int64_t *)t->data)[i] = (int64_t)clamp(value, -0x1p63, 0x1.fffffffffffffp62); return true;
    case SW_DTYPE_FP16: ((uint16_t *)t->data)[i] = sw_float_to_half((float)value); return true;
    case SW_DTYPE_BF16: ((uint16_t *)t->data)[i] = sw_float_to_bf16((float)value); return true;
    case SW_DTYPE_FP32: ((float *)t->data)[i] = (float)value; return true;
    case SW_DTYPE_FP64: ((double *)t->data)[i] = value; return true;
    default:
        text = sw_arena_printf(arena, "%.17g", value);
        ((struct sw_str *)t->data)[i] = sw_str_of(text);
        return text != NULL;
    }
}

/* --- outputs --- */

static size_t rows_of(const struct sw_tensor *t) {
    return t->rank ? (size_t)t->shape[0] : 1;
}

static const struct sw_tensor *find(const struct sw_tensor *inputs, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (sw_str_is(inputs[i].name, name)) {
            return &inputs[i];
        }
    }
    return NULL;
}

static int64_t free_size(const struct fake_session *s, const struct sw_tensor *inputs, size_t count, const char *name,
                         uint32_t place) {
    for (size_t i = 0; name && i < s->inputs.count; i++) {
        const struct sw_tensor_spec *spec = &s->inputs.items[i];
        const struct sw_tensor *t = find(inputs, count, spec->name);
        for (uint32_t d = 0; t && d < spec->rank && d < t->rank; d++) {
            if (spec->dimension_name[d] && strcmp(spec->dimension_name[d], name) == 0) {
                return t->shape[d];
            }
        }
    }
    return count && place < inputs[0].rank ? inputs[0].shape[place] : 1;
}

static double row_sum(const struct sw_tensor *inputs, size_t count, size_t row) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        size_t rows = rows_of(&inputs[i]);
        size_t width = rows ? inputs[i].count / rows : 0;
        for (size_t j = 0; row < rows && j < width; j++) {
            sum += get_number(&inputs[i], row * width + j);
        }
    }
    return sum;
}

static bool fill_row(const struct fake_session *s, struct sw_tensor *out, size_t row, size_t width,
                     const struct sw_tensor *inputs, size_t count, struct sw_arena *arena) {
    double value = s->op == FAKE_SUM    ? row_sum(inputs, count, row)
                   : s->op == FAKE_ROWS ? (double)(count ? rows_of(&inputs[0]) : 1)
                   : s->op == FAKE_NAN  ? (double)NAN
                                        : s->value;
    bool done = true;
    for (size_t j = row * width; j < (row + 1) * width && done; j++) {
        if (s->op == FAKE_CONSTANT && out->dtype == SW_DTYPE_BYTES) {
            ((struct sw_str *)out->data)[j] = sw_str_of(s->text);
        } else {
            done = put_number(out, j, value, arena);
        }
    }
    return done;
}

static sw_status copy_output(const struct fake_session *s, uint32_t index, const struct sw_tensor *inputs, size_t count,
                             struct sw_tensor *ret, struct sw_arena *arena, struct sw_error *err) {
    const struct sw_tensor *in = find(inputs, count, s->inputs.items[index].name);
    if (!in) {
        return sw_fail(err, SW_E_INFERENCE_FAILED, "input '%s' is missing", s->inputs.items[index].name);
    }
    SW_TRY(sw_tensor_alloc(ret, arena, sw_str_of(s->outputs.items[index].name), in->dtype, in->shape, in->rank, err));
    if (in->count) {
        memcpy(ret->data, in->data, in->count * sw_dtype_size(in->dtype));
    }
    return SW_OK;
}

static sw_status make_output(const struct fake_session *s, uint32_t index, const struct sw_tensor *inputs, size_t count,
                             struct sw_tensor *ret, struct sw_arena *arena, struct sw_error *err) {
    const struct sw_tensor_spec *spec = &s->outputs.items[index];
    if (s->absent[index]) {
        *ret = (struct sw_tensor){.name = sw_str_of(spec->name), .dtype = SW_DTYPE_INVALID};
        return SW_OK;
    }
    if (s->op == FAKE_IDENTITY) {
        return copy_output(s, index, inputs, count, ret, arena, err);
    }
    int64_t shape[SW_RANK_MAX];
    for (uint32_t d = 0; d < spec->rank; d++) {
        shape[d] = spec->shape[d] >= 0 ? spec->shape[d] : free_size(s, inputs, count, spec->dimension_name[d], d);
    }
    SW_TRY(sw_tensor_alloc(ret, arena, sw_str_of(spec->name), spec->dtype, shape, spec->rank, err));
    size_t rows = rows_of(ret);
    for (size_t row = 0; row < rows; row++) {
        if (!fill_row(s, ret, row, ret->count / rows, inputs, count, arena)) {
            return sw_fail(err, SW_E_UNAVAILABLE, "no memory left for output '%s'", spec->name);
        }
    }
    return SW_OK;
}

/* --- the run --- */

static void raise_max(atomic_uint_fast64_t *max, uint64_t value) {
    uint64_t seen = atomic_load(max);
    while (seen < value && !atomic_compare_exchange_weak(max, &seen, value)) {
    }
}

static bool holds(const struct sw_tensor *inputs, size_t count, double number) {
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < inputs[i].count; k++) {
            if (inputs[i].dtype != SW_DTYPE_BYTES && get_number(&inputs[i], k) == number) {
                return true;
            }
        }
    }
    return false;
}

sw_status fake_run(struct sw_session *session, const struct sw_tensor *inputs, size_t input_count,
                   const uint32_t *output_indices, size_t output_count, struct sw_tensor *ret_outputs,
                   struct sw_arena *arena, struct sw_error *err) {
    struct fake_session *s = (struct fake_session *)session;
    uint64_t run = atomic_fetch_add(&s->runs, 1) + 1;
    uint64_t rows = input_count ? rows_of(&inputs[0]) : 1;
    atomic_fetch_add(&s->rows, rows);
    raise_max(&s->rows_max, rows);
    SW_TRY(fake_pause(&s->run_pause, SW_E_INFERENCE_FAILED, err));
    if (s->op == FAKE_FAIL || (s->fail_every && run % s->fail_every == 0)) {
        return sw_fail(err, SW_E_INFERENCE_FAILED, "%s", s->message);
    }
    if (s->fails_on && holds(inputs, input_count, s->fail_on)) {
        return sw_fail(err, SW_E_INFERENCE_FAILED, "an input holds %g", s->fail_on);
    }
    for (size_t i = 0; i < output_count; i++) {
        SW_ASSERT(output_indices[i] < s->outputs.count);
        SW_TRY(make_output(s, output_indices[i], inputs, input_count, &ret_outputs[i], arena, err));
    }
    return SW_OK;
}
