/* Fuzzes the binary tensor form: two bytes choose data type and element count, the rest is the blob, at an offset that
 * makes it aligned or not. What is read is written again and must be the same bytes. */
#include "tensor/binary.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3) {
        return 0;
    }
    struct sw_arena arena;
    struct sw_error err = {0};
    sw_arena_init(&arena, (size_t)16 << 20, 0);
    enum sw_dtype dtype = SW_DTYPE_BOOL + data[0] % (SW_DTYPE_COUNT - 1);
    size_t count = data[1], offset = data[2] % 8, len = size - 3;
    char *aligned = sw_arena_alloc_aligned(&arena, len + 8, 64);
    SW_ASSERT(aligned);
    memcpy(aligned + offset, data + 3, len);
    struct sw_str blob = {aligned + offset, len};
    struct sw_tensor t = {.name = SW_STR("x"), .dtype = dtype, .rank = 1, .shape = {(int64_t)count}, .count = count};
    sw_status s = sw_binary_read(&t, blob, &arena, &err);
    if (s) {
        SW_ASSERT(err.code == s && err.message[0]);
    } else {
        struct sw_str out;
        SW_ASSERT(sw_binary_size(&t) == len);
        SW_ASSERT(sw_binary_write(&t, &arena, &out, &err) == SW_OK);
        SW_ASSERT(sw_str_eq(out, blob));
        (void)sw_tensor_find_nonfinite(&t);
    }
    sw_arena_deinit(&arena);
    return 0;
}
