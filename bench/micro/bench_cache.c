/* What the parts of the result cache cost: a key, a hit, a value made and kept. One thread, nanoseconds each. */
#include <stdio.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/memory.h"
#include "sched/cache/memory.h"

enum { ROUNDS = 200000 };

static struct sw_cache_key make(const struct sw_tensor_specs *specs, const struct sw_tensor *input, float *data,
                                int i) {
    static const struct sw_cache_key scope;
    struct sw_cache_key key;
    data[0] = (float)i;
    if (!sw_cache_key_make(&scope, 0, specs, input, 1, NULL, 0, &key)) {
        printf("no key\n");
    }
    return key;
}

static void measure(struct sw_cache_memory *memory, int64_t columns) {
    struct sw_clock *clock = sw_clock_system();
    struct sw_tensor_spec spec = {.name = (char *)"x", .dtype = SW_DTYPE_FP32, .rank = 2, .shape = {1, columns}};
    const struct sw_tensor_specs specs = {&spec, 1};
    float *data = sw_xcalloc((size_t)columns, sizeof *data);
    struct sw_tensor input = {.name = SW_STR("x"),
                              .dtype = SW_DTYPE_FP32,
                              .rank = 2,
                              .shape = {1, columns},
                              .count = (size_t)columns,
                              .data = data};
    struct sw_tensor output = input;
    output.shape[1] = 1;
    output.count = 1;
    int rounds = columns > 10000 ? ROUNDS / 1000 : ROUNDS, found = 0;
    uint64_t start = sw_now_ns(clock);
    for (int i = 0; i < rounds; i++) {
        make(&specs, &input, data, i);
    }
    uint64_t key_ns = sw_now_ns(clock) - start;
    for (int i = 0; i < rounds; i++) {
        struct sw_cache_key key = make(&specs, &input, data, i % 1000);
        struct sw_cache_value *value = sw_cache_value_create(&output, NULL, 1, 0, SIZE_MAX);
        sw_cache_memory_put(memory, &key, value, NULL, 0, 0);
        sw_cache_value_unref(value);
    }
    uint64_t put_ns = sw_now_ns(clock) - start - key_ns;
    for (int i = 0; i < rounds; i++) {
        struct sw_cache_key key = make(&specs, &input, data, i % 1000);
        struct sw_cache_value *value = sw_cache_memory_get(memory, &key, 0);
        found += value != NULL;
        sw_cache_value_unref(value);
    }
    uint64_t get_ns = sw_now_ns(clock) - start - key_ns - put_ns;
    printf("%7lld numbers: key %6.0f ns, key and keeping %6.0f ns, key and hit %6.0f ns (%d of %d found)\n",
           (long long)columns, (double)key_ns / rounds, (double)put_ns / rounds, (double)get_ns / rounds, found,
           rounds);
    sw_free(data);
}

int main(void) {
    struct sw_cache_memory *memory = sw_cache_memory_create(&(struct sw_cache_memory_options){.bytes_max = 64 << 20});
    const int64_t columns[] = {4, 45, 784, 3 * 224 * 224};
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        measure(memory, columns[i]);
    }
    sw_cache_memory_destroy(memory);
    return 0;
}
