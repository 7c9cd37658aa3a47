/* Any bytes as a .npy array, and as a .npz file of them: what is read lies inside the bytes, and its values can be
 * converted or are refused. */
#include "base/memory.h"
#include "cli/npz.h"
#include "tensor/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct sw_tensor *t, struct sw_arena *arena) {
    size_t count;
    struct sw_tensor to;
    SW_ASSERT(t->dtype && sw_shape_count(t->shape, t->rank, &count) && count == t->count);
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < t->count * sw_dtype_size(t->dtype); i++) {
        sum = (uint8_t)(sum + ((const uint8_t *)t->data)[i]);
    }
    static const enum sw_dtype types[] = {SW_DTYPE_FP32, SW_DTYPE_INT8, SW_DTYPE_UINT64};
    for (size_t i = 0; i < SW_COUNTOF(types); i++) {
        if (sw_tensor_convert(t, types[i], arena, &to, NULL) == SW_OK) {
            SW_ASSERT(to.count == t->count && to.dtype == types[i]);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sw_arena arena;
    struct sw_tensor t, *list = NULL;
    size_t count = 0;
    sw_arena_init(&arena, (size_t)512 << 20, 0);
    if (sw_npy_read((struct sw_str){(const char *)data, size}, &arena, &t, NULL) == SW_OK) {
        check(&t, &arena);
    }
    if (sw_npz_read((struct sw_str){(const char *)data, size}, &arena, &list, &count, NULL) == SW_OK) {
        for (size_t i = 0; i < count; i++) {
            check(&list[i], &arena);
        }
    }
    sw_arena_deinit(&arena);
    return 0;
}
