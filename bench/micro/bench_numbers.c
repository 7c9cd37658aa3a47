/* Times reading and writing of numbers against the C library and prints a table, in nanoseconds a number.
 *
 * Each row is one set of values and one way of writing it in text. The ways are interleaved: every round runs each of
 * them once over all values, and the median of the rounds is printed. "read" and "write" are whole JSON arrays through
 * the tensor codec; "library" is a loop of strtof / strtod over the same text, or snprintf with enough digits to read
 * back the same; "oip" reads the array as part of a list of tensors, "late" the same with the data in front of the
 * shape, and "skip" passes over the array.
 *
 * bench_numbers [WORD]: only the sets whose name contains WORD. */
#include "base/clock.h"
#include "base/hash.h"
#include "base/memory.h"
#include "tensor/number.h"
#include "tensor/oip_tensor.h"

/* Ways of writing: so many decimals; the shortest form of the value; what json.dumps makes of it in Python, where every
 * 32-bit float has become a double. */
enum { SHORTEST = -1, PYTHON = -2 };
enum { COUNT = 150528, ROUNDS = 31, TEXT_MAX = COUNT * 40, ROW = 4 };

struct set {
    const char *name;
    enum sw_dtype dtype;
    int decimals;
    const char *comma; /* ROWS: rows of ROW numbers */
    double (*value)(size_t i);
};

#define ROWS NULL

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

/* Weights and embeddings: zeros behind the point. */
static double small(size_t i) {
    return 0.02 * bell(i);
}

/* Needs an exponent, nearly always. */
static double tiny(size_t i) {
    return 1e-9 * bell(i);
}

/* Pixels less their mean, as some image models want them. */
static double centred(size_t i) {
    return pixels(i) - (double)103.939F;
}

/* Columns of a table: counts, amounts, shares. */
static double table(size_t i) {
    double share = unit();
    return i % 3 == 0 ? (double)(sw_random_u64() % 100000) : i % 3 == 1 ? (double)(int64_t)(share * 1e6) / 100 : share;
}

static const struct set sets[] = {
    {"float \"0.123456\"", SW_DTYPE_FP32, 6, ",", six_digits},
    {"float uniform, shortest", SW_DTYPE_FP32, SHORTEST, ",", uniform},
    {"float normal, %.4f", SW_DTYPE_FP32, 4, ",", bell},
    {"float normal, shortest", SW_DTYPE_FP32, SHORTEST, ",", bell},
    {"float normal, python", SW_DTYPE_FP32, PYTHON, ",", bell},
    {"float normal, python ', '", SW_DTYPE_FP32, PYTHON, ", ", bell},
    {"float normal, python lines", SW_DTYPE_FP32, PYTHON, ",\n      ", bell},
    {"float normal, python rows", SW_DTYPE_FP32, PYTHON, ROWS, bell},
    {"float small, python ', '", SW_DTYPE_FP32, PYTHON, ", ", small},
    {"float tiny, python", SW_DTYPE_FP32, PYTHON, ",", tiny},
    {"float centred, python", SW_DTYPE_FP32, PYTHON, ",", centred},
    {"float table, python", SW_DTYPE_FP32, PYTHON, ",", table},
    {"float pixels \"255.0\"", SW_DTYPE_FP32, PYTHON, ",", pixels},
    {"float pixels \"255\"", SW_DTYPE_FP32, 0, ",", pixels},
    {"float of any scale", SW_DTYPE_FP32, SHORTEST, ",", any_scale},
    {"float any scale, python", SW_DTYPE_FP32, PYTHON, ",", any_scale},
    {"double uniform, shortest", SW_DTYPE_FP64, SHORTEST, ",", uniform},
    {"double normal, shortest", SW_DTYPE_FP64, SHORTEST, ",", bell},
    {"double of any scale", SW_DTYPE_FP64, SHORTEST, ",", any_scale},
    {"uint8 pixels", SW_DTYPE_UINT8, 0, ",", pixels},
    {"uint8 pixels ', '", SW_DTYPE_UINT8, 0, ", ", pixels},
};

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static double median_ns(uint64_t times[ROUNDS]) {
    qsort(times, ROUNDS, sizeof times[0], compare);
    return (double)times[ROUNDS / 2] / COUNT;
}

/* repr() of a float in Python. */
static void write_python(struct sw_buf *out, double value) {
    char text[SW_NUMBER_MAX * 2];
    double size = __builtin_fabs(value);
    if (size == 0 || (size >= 1e-4 && size < 1e16)) {
        size_t n = (size_t)(sw_format_double(text, value) - text);
        sw_buf_append(out, text, n);
        sw_buf_append(out, ".0", memchr(text, '.', n) ? 0 : 2);
        return;
    }
    for (int decimals = 0; decimals <= 16; decimals++) {
        snprintf(text, sizeof text, "%.*e", decimals, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    sw_buf_append(out, text, strlen(text));
}

static void write_value(struct sw_buf *out, const struct set *set, double value) {
    char text[SW_NUMBER_MAX * 2];
    if (set->decimals >= 0) {
        sw_buf_printf(out, "%.*f", set->decimals, value);
    } else if (set->decimals == PYTHON) {
        write_python(out, (double)(float)value);
    } else {
        char *end = set->dtype == SW_DTYPE_FP32 ? sw_format_float(text, (float)value) : sw_format_double(text, value);
        sw_buf_append(out, text, (size_t)(end - text));
    }
}

/* The set as a JSON array. */
static void write_set(struct sw_buf *out, const struct set *set) {
    for (size_t i = 0; i < COUNT; i++) {
        const char *comma = set->comma ? set->comma : i % ROW ? "," : "],[";
        comma = i ? comma : set->comma ? "[" : "[[";
        sw_buf_append(out, comma, strlen(comma));
        write_value(out, set, set->value(i));
    }
    const char *last = set->comma ? "]" : "]]";
    sw_buf_append(out, last, strlen(last));
}

static volatile double sink;

static void read_library(struct sw_str text, enum sw_dtype dtype) {
    const char *p = text.data, *end = text.data + text.len;
    double sum = 0;
    for (;;) {
        while (p < end && (*p == ',' || *p == '[' || *p == ']')) {
            p++;
        }
        if (p == end) {
            break;
        }
        char *next;
        sum += dtype == SW_DTYPE_FP64   ? strtod(p, &next)
               : dtype == SW_DTYPE_FP32 ? (double)strtof(p, &next)
                                        : (double)strtol(p, &next, 10);
        p = next;
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

/* What is timed, in the order of the columns. */
enum way { READ, READ_LIBRARY, WRITE, WRITE_LIBRARY, FIND, OIP, OIP_LATE, SKIP, WAYS };

struct run {
    const struct set *set;
    struct sw_arena arena;
    struct sw_tensor t;
    struct sw_buf text, oip, late, out;
};

static sw_status run_oip(struct run *r, struct sw_str text, struct sw_error *err) {
    struct sw_arena arena;
    struct sw_json json;
    struct sw_tensor *tensors;
    size_t count;
    sw_arena_init(&arena, 0, 0);
    sw_json_init(&json, text, &arena, err);
    sw_status s = sw_oip_read_tensors(&json, NULL, NULL, &tensors, &count);
    if (s == SW_OK && memcmp(tensors[0].data, r->t.data, COUNT * sw_dtype_size(r->t.dtype)) != 0) {
        s = sw_fail(err, SW_E_INTERNAL, "read otherwise than before");
    }
    sw_arena_deinit(&arena);
    return s;
}

static sw_status run_way(struct run *r, enum way way, struct sw_error *err) {
    struct sw_json json;
    sw_json_init(&json, sw_buf_str(&r->text), &r->arena, err);
    switch (way) {
    case READ: return sw_json_read_data(&json, &r->t);
    case READ_LIBRARY: read_library(sw_buf_str(&r->text), r->t.dtype); return SW_OK;
    case WRITE: sw_buf_clear(&r->out); return sw_json_write_data(&r->out, &r->t, false, false, err);
    case WRITE_LIBRARY: write_library(&r->t); return SW_OK;
    case FIND: sink = (double)sw_tensor_find_nonfinite(&r->t); return SW_OK;
    case OIP: return run_oip(r, sw_buf_str(&r->oip), err);
    case OIP_LATE: return run_oip(r, sw_buf_str(&r->late), err);
    default: return sw_json_skip(&json);
    }
}

static void bench(const struct set *set) {
    struct run r = {.set = set};
    struct sw_error err = {0};
    sw_arena_init(&r.arena, 0, 0);
    sw_buf_init(&r.text, TEXT_MAX);
    sw_buf_init(&r.oip, TEXT_MAX);
    sw_buf_init(&r.late, TEXT_MAX);
    sw_buf_init(&r.out, TEXT_MAX);
    write_set(&r.text, set);
    struct sw_str text = sw_buf_str(&r.text);
    int64_t shape[] = {COUNT / ROW, ROW};
    sw_buf_printf(&r.oip, "[{\"name\":\"x\",\"shape\":[%d,%d],\"datatype\":\"%s\",\"data\":", COUNT / ROW, ROW,
                  sw_dtype_name(set->dtype));
    sw_buf_append(&r.oip, text.data, text.len);
    sw_buf_append(&r.oip, "}]", 2);
    sw_buf_append(&r.late, "[{\"data\":", 9);
    sw_buf_append(&r.late, text.data, text.len);
    sw_buf_printf(&r.late, ",\"name\":\"x\",\"shape\":[%d,%d],\"datatype\":\"%s\"}]", COUNT / ROW, ROW,
                  sw_dtype_name(set->dtype));
    if (sw_tensor_alloc(&r.t, &r.arena, SW_STR("x"), set->dtype, shape, 2, &err)) {
        die(&err);
    }
    uint64_t times[WAYS][ROUNDS];
    struct sw_clock *clock = sw_clock_system();
    for (int round = 0; round < ROUNDS; round++) {
        for (enum way way = 0; way < WAYS; way++) {
            uint64_t start = sw_now_ns(clock);
            if (run_way(&r, way, &err)) {
                die(&err);
            }
            times[way][round] = sw_now_ns(clock) - start;
        }
    }
    printf("%-27s %6.1f", set->name, (double)text.len / COUNT);
    for (enum way way = 0; way < WAYS; way++) {
        printf(" %7.2f", median_ns(times[way]));
    }
    printf("\n");
    sw_buf_deinit(&r.text);
    sw_buf_deinit(&r.oip);
    sw_buf_deinit(&r.late);
    sw_buf_deinit(&r.out);
    sw_arena_deinit(&r.arena);
}

int main(int argc, char **argv) {
    printf("%d numbers, median of %d rounds, ns a number\n", COUNT, ROUNDS);
    printf("%-27s %6s %7s %7s %7s %7s %7s %7s %7s %7s\n", "", "bytes", "read", "library", "write", "library", "finite",
           "oip", "late", "skip");
    for (size_t i = 0; i < SW_COUNTOF(sets); i++) {
        if (argc < 2 || strstr(sets[i].name, argv[1])) {
            bench(&sets[i]);
        }
    }
    return 0;
}
