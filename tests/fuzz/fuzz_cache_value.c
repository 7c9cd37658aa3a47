/* Fuzzes a kept result as another replica may have left it in Redis: refused, or every output of it can be read and
 * kept again as the same bytes. The first byte chooses which output is asked for. */
#include "base/memory.h"
#include "sched/cache/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void touch(const struct sw_tensor *t) {
    uint64_t sum = 0;
    for (size_t i = 0; t->dtype == SW_DTYPE_BYTES && i < t->count; i++) {
        const struct sw_str s = ((const struct sw_str *)t->data)[i];
        sum += s.len ? (uint8_t)s.data[0] + (uint8_t)s.data[s.len - 1] : 0;
    }
    if (t->dtype != SW_DTYPE_BYTES && t->dtype != SW_DTYPE_INVALID && t->count) {
        sum += ((const uint8_t *)t->data)[t->count * sw_dtype_size(t->dtype) - 1];
    }
    __asm__ volatile("" : : "r"(sum));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sw_cache_value *value;
    struct sw_error err = {0};
    if (size < 1) {
        return 0;
    }
    sw_status s = sw_cache_value_parse((struct sw_str){(const char *)data + 1, size - 1}, &value, &err);
    if (s) {
        SW_ASSERT(err.code == s && err.message[0]);
        return 0;
    }
    struct sw_arena arena;
    sw_arena_init(&arena, (size_t)64 << 20, 0);
    for (int dtype = SW_DTYPE_BOOL; dtype < SW_DTYPE_COUNT; dtype++) {
        for (uint32_t rank = 0; rank < 4; rank++) {
            struct sw_tensor_spec items[2] = {{.name = (char *)"a", .dtype = (enum sw_dtype)dtype, .rank = rank},
                                              {.name = (char *)"b", .dtype = (enum sw_dtype)dtype, .rank = rank}};
            const struct sw_tensor_specs specs = {items, 2};
            const uint32_t wanted = data[0] % 2;
            struct sw_tensor *t;
            size_t count;
            if (!sw_cache_value_read(value, &specs, &wanted, 1, &arena, &t, &count, &err)) {
                SW_ASSERT(count == 1);
                touch(t);
                struct sw_cache_value *again = sw_cache_value_create(t, &wanted, 1, 0, SIZE_MAX);
                SW_ASSERT(again);
                sw_cache_value_unref(again);
            }
        }
    }
    sw_arena_deinit(&arena);
    sw_cache_value_unref(value);
    return 0;
}
