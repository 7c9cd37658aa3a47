/* Fuzzes the JSON tensor codec. The first byte chooses what is read: a request's list of tensors (with the bytes
 * behind the first NUL as binary data), data of a given type and shape, or "instances" without a shape. Whatever is
 * accepted is written and read again and must come back the same; a number that is accepted must be what the C
 * library reads. */
#include "base/memory.h"
#include "tensor/oip_tensor.h"
#include "tensor/number.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct sw_arena arena;

static bool same_elements(const struct sw_tensor *a, const struct sw_tensor *b) {
    if (a->dtype != SW_DTYPE_BYTES) {
        return a->count == 0 || memcmp(a->data, b->data, a->count * sw_dtype_size(a->dtype)) == 0;
    }
    const struct sw_str *x = a->data, *y = b->data;
    for (size_t i = 0; i < a->count; i++) {
        if (!sw_str_eq(x[i], y[i])) {
            return false;
        }
    }
    return true;
}

/* Writes t both ways and reads it back. */
static void round_trip(const struct sw_tensor *t) {
    for (int nested = 0; nested < 2; nested++) {
        struct sw_error err = {0};
        struct sw_buf out;
        sw_buf_init_arena(&out, &arena, 1 << 24);
        sw_status s = sw_json_write_data(&out, t, nested, false, &err);
        if (s) { /* 16-bit and non-finite floats and non-UTF-8 strings come in as binary data, and cannot go out here */
            SW_ASSERT(err.code == s && err.message[0]);
            continue;
        }
        struct sw_tensor back;
        SW_ASSERT(sw_tensor_alloc(&back, &arena, t->name, t->dtype, t->shape, t->rank, &err) == SW_OK);
        struct sw_json json;
        sw_json_init(&json, sw_buf_str(&out), &arena, &err);
        SW_ASSERT(sw_json_read_data(&json, &back) == SW_OK);
        SW_ASSERT(sw_json_end(&json) == SW_OK);
        SW_ASSERT(same_elements(t, &back));
    }
}

static void fuzz_request(struct sw_str text) {
    struct sw_str blobs = {0};
    const char *nul = memchr(text.data, 0, text.len);
    if (nul) {
        blobs = (struct sw_str){nul + 1, (size_t)(text.data + text.len - nul - 1)};
        text.len = (size_t)(nul - text.data);
    }
    struct sw_error err = {0};
    struct sw_json json;
    struct sw_tensor *tensors;
    size_t count;
    sw_json_init(&json, text, &arena, &err);
    sw_status s = sw_oip_read_tensors(&json, NULL, nul ? &blobs : NULL, &tensors, &count);
    SW_ASSERT(s == SW_OK || (err.code == s && err.message[0]));
    for (size_t i = 0; s == SW_OK && i < count; i++) {
        round_trip(&tensors[i]);
    }
}

static void fuzz_data(uint8_t kind, struct sw_str text) {
    static const struct {
        int64_t shape[3];
        uint32_t rank;
    } shapes[] = {{{0}, 0}, {{3}, 1}, {{40}, 1}, {{2, 3}, 2}, {{2, 0}, 2}, {{2, 2, 2}, 3}, {{1, 30}, 2}, {{0}, 1}};
    struct sw_error err = {0};
    struct sw_tensor t;
    enum sw_dtype dtype = SW_DTYPE_BOOL + kind % (SW_DTYPE_COUNT - 1);
    size_t shape = kind / (SW_DTYPE_COUNT - 1) % SW_COUNTOF(shapes);
    SW_ASSERT(sw_tensor_alloc(&t, &arena, SW_STR("x"), dtype, shapes[shape].shape, shapes[shape].rank, &err) == SW_OK);
    struct sw_json json;
    sw_json_init(&json, text, &arena, &err);
    if (sw_json_read_data(&json, &t) == SW_OK) {
        round_trip(&t);
        struct sw_json again; /* what the data reader takes, the strict skipper takes, to the same place */
        sw_json_init(&again, text, &arena, &err);
        SW_ASSERT(sw_json_skip(&again) == SW_OK);
        SW_ASSERT(sw_json_peek(&again) == sw_json_peek(&json) && again.p == json.p); /* blanks may be taken or not */
    }
}

static void fuzz_instances(uint8_t kind, struct sw_str text) {
    struct sw_error err = {0};
    struct sw_tensor t = {.name = SW_STR("x"), .dtype = SW_DTYPE_BOOL + kind % (SW_DTYPE_COUNT - 1)};
    struct sw_json json;
    sw_json_init(&json, text, &arena, &err);
    if (sw_json_read_infer_shape(&json, &t, 1000) == SW_OK) {
        size_t count;
        SW_ASSERT(sw_shape_count(t.shape, t.rank, &count) && count == t.count && count <= 1000);
        round_trip(&t);
    }
}

static void fuzz_number(struct sw_str text) {
    char copy[300];
    if (text.len >= sizeof copy) {
        return;
    }
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    double d;
    float f;
    const char *end = sw_parse_double(text.data, text.data + text.len, &d);
    if (end) {
        copy[end - text.data] = '\0'; /* the library would read "0x1" and more */
        double want = strtod(copy, NULL);
        SW_ASSERT(memcmp(&d, &want, sizeof d) == 0);
    }
    end = sw_parse_float(text.data, text.data + text.len, &f);
    if (end) {
        copy[end - text.data] = '\0';
        float want = strtof(copy, NULL);
        SW_ASSERT(memcmp(&f, &want, sizeof f) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) {
        return 0;
    }
    struct sw_str text = {(const char *)data + 2, size - 2};
    sw_arena_init(&arena, (size_t)64 << 20, 0);
    switch (data[0] % 4) {
    case 0: fuzz_request(text); break;
    case 1: fuzz_data(data[1], text); break;
    case 2: fuzz_instances(data[1], text); break;
    default: fuzz_number(text); break;
    }
    sw_arena_deinit(&arena);
    return 0;
}
