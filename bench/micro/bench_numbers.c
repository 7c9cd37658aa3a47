/* Times reading and writing of numbers against the C library and prints a table, in nanoseconds a number.
 *
 * Each row is one set of values and one way of writing it in text. The ways are interleaved: every round runs each of
 * them once over all values, and the median of the rounds is printed. The first columns are whole JSON arrays through
 * the tensor codec, as a request goes; "library" is a loop of strtof / strtod over the same text, or snprintf with
 * enough digits to read back the same. */
#include "base/clock.h"
#include "base/hash.h"
#include "base/memory.h"
#include "tensor/json.h"
#include "tensor/number.h"

enum { SHORTEST = -1, SEVENTEEN = -2 };
enum { COUNT = 150528, ROUNDS = 31, TEXT_MAX = COUNT * 40 };

struct set {
    const char *name;
    enum sw_dtype dtype;
    int decimals; /* behind the point; SHORTEST; or SEVENTEEN significant digits */
    double (*value)(size_t i);
};

static double unit(void) {
    return (double)(sw_random_u64() >> 11) * 0x1p-53;
}

static double six_digits(size_t i) {
    return (double)(sw_random_u64() % 1000000) / 1e6;
}

static double uniform(size_t i) {
    return unit();
}

static double pixels(size_t i) {
    return (double)(sw_random_u64() % 256);
}

static double bell(size_t i) {
    double sum = 0;
    for (int k = 0; k < 12; k++) {
        sum += unit();
    }
    return sum - 6;
}

static double any_scale(size_t i) {
    return (unit() - 0.5) * __builtin_exp2((double)(sw_random_u64() % 200) - 100);
}

static const struct set sets[] = {
    {"float \"0.123456\"", SW_DTYPE_FP32, 6, six_digits},
    {"float uniform, shortest", SW_DTYPE_FP32, SHORTEST, uniform},
    {"float normal, %.4f", SW_DTYPE_FP32, 4, bell},
    {"float normal, shortest", SW_DTYPE_FP32, SHORTEST, bell},
    {"float normal as double", SW_DTYPE_FP32, SEVENTEEN, bell},
    {"float pixels 0-255", SW_DTYPE_FP32, 0, pixels},
    {"float of any scale", SW_DTYPE_FP32, SHORTEST, any_scale},
    {"double uniform, shortest", SW_DTYPE_FP64, SHORTEST, uniform},
    {"double normal, shortest", SW_DTYPE_FP64, SHORTEST, bell},
    {"double of any scale", SW_DTYPE_FP64, SHORTEST, any_scale},
    {"uint8 pixels", SW_DTYPE_UINT8, 0, pixels},
};

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static double median_ns(uint64_t times[ROUNDS]) {
    qsort(times, ROUNDS, sizeof times[0], compare);
    return (double)times[ROUNDS / 2] / COUNT;
}

static void write_value(struct sw_buf *out, const struct set *set, double value) {
    char text[SW_NUMBER_MAX * 2];
    if (set->decimals >= 0) {
        sw_buf_printf(out, "%.*f", set->decimals, value);
    } else if (set->decimals == SEVENTEEN) {
        sw_buf_printf(out, "%.17g", value);
    } else {
        char *end = set->dtype == SW_DTYPE_FP32 ? sw_format_float(text, (float)value) : sw_format_double(text, value);
        sw_buf_append(out, text, (size_t)(end - text));
    }
}

static volatile double sink;

static void read_library(struct sw_str text, enum sw_dtype dtype) {
    const char *p = text.data + 1, *end = text.data + text.len - 1;
    double sum = 0;
    while (p < end) {
        char *next;
        sum += dtype == SW_DTYPE_FP64 ? strtod(p, &next) : dtype == SW_DTYPE_FP32 ? (double)strtof(p, &next)
                                                                                  : (double)strtol(p, &next, 10);
        p = next + 1;
    }
    sink = sum;
}

static void write_library(const struct sw_tensor *t) {
    char text[64];
    long sum = 0;
    for (size_t i = 0; i < t->count; i++) {
        sum += t->dtype == SW_DTYPE_FP64   ? snprintf(text, sizeof text, "%.17g", ((double *)t->data)[i])
               : t->dtype == SW_DTYPE_FP32 ? snprintf(text, sizeof text, "%.9g", (double)((float *)t->data)[i])
                                           : snprintf(text, sizeof text, "%d", ((uint8_t *)t->data)[i]);
    }
    sink = (double)sum;
}

static void die(const struct sw_error *err) {
    fprintf(stderr, "bench_numbers: %s\n", err->message);
    exit(3);
}

static void bench(const struct set *set) {
    struct sw_arena arena;
    struct sw_error err = {0};
    struct sw_tensor t;
    struct sw_buf text, out;
    sw_arena_init(&arena, 0, 0);
    sw_buf_init(&text, TEXT_MAX);
    sw_buf_init(&out, TEXT_MAX);
    for (size_t i = 0; i < COUNT; i++) {
        sw_buf_append_c(&text, i ? ',' : '[');
        write_value(&text, set, set->value(i));
    }
    sw_buf_append_c(&text, ']');
    const int64_t shape[] = {COUNT};
    if (sw_tensor_alloc(&t, &arena, SW_STR("x"), set->dtype, shape, 1, &err)) {
        die(&err);
    }
    uint64_t read_ns[ROUNDS], read_library_ns[ROUNDS], write_ns[ROUNDS], write_library_ns[ROUNDS], find_ns[ROUNDS];
    struct sw_clock *clock = sw_clock_system();
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t t0 = sw_now_ns(clock);
        struct sw_json json;
        sw_json_init(&json, sw_buf_str(&text), &arena, &err);
        if (sw_json_read_data(&json, &t)) {
            die(&err);
        }
        uint64_t t1 = sw_now_ns(clock);
        read_library(sw_buf_str(&text), set->dtype);
        uint64_t t2 = sw_now_ns(clock);
        sw_buf_clear(&out);
        if (sw_json_write_data(&out, &t, false, false, &err)) {
            die(&err);
        }
        uint64_t t3 = sw_now_ns(clock);
        write_library(&t);
        uint64_t t4 = sw_now_ns(clock);
        sink = (double)sw_tensor_find_nonfinite(&t);
        uint64_t t5 = sw_now_ns(clock);
        read_ns[round] = t1 - t0;
        read_library_ns[round] = t2 - t1;
        write_ns[round] = t3 - t2;
        write_library_ns[round] = t4 - t3;
        find_ns[round] = t5 - t4;
    }
    printf("%-26s %7.1f %8.2f %9.2f %9.2f %9.2f %8.3f\n", set->name, (double)text.len / COUNT, median_ns(read_ns),
           median_ns(read_library_ns), median_ns(write_ns), median_ns(write_library_ns), median_ns(find_ns));
    sw_buf_deinit(&text);
    sw_buf_deinit(&out);
    sw_arena_deinit(&arena);
}

int main(void) {
    printf("%d numbers, median of %d rounds, ns a number\n", COUNT, ROUNDS);
    printf("%-26s %7s %8s %9s %9s %9s %8s\n", "", "bytes", "read", "library", "write", "library", "finite");
    for (size_t i = 0; i < SW_COUNTOF(sets); i++) {
        bench(&sets[i]);
    }
    return 0;
}
