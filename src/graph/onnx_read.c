/* Reading: the file into a buffer, the buffer checked (onnx_guard.c) and unpacked into the model's arena, the buffer
 * freed, external data read in. Unpacking allocates from the arena only, which has a limit in proportion to the file. */
#include <errno.h>

#include "base/file.h"
#include "base/memory.h"
#include "graph/onnx_internal.h"

/* Bytes of memory that unpacking a file may take. The worst honest file is one of many small messages: a message takes
 * up to 0.3 KB with its bookkeeping, and packed numbers up to eight times their bytes on disk. */
#define MEMORY_FACTOR 4
#define MEMORY_EXTRA ((size_t)1 << 30)

static void *arena_alloc(void *arena, size_t size) {
    return sw_arena_alloc(arena, size);
}

static void arena_free(void *arena, void *memory) {
    /* all at once, with the arena */
}

void sw_onnx_destroy(struct sw_onnx *onnx) {
    if (onnx) {
        sw_arena_deinit(&onnx->arena);
        sw_free(onnx);
    }
}

static sw_status unpack(struct sw_onnx *onnx, const void *data, size_t len, struct sw_error *err) {
    ProtobufCAllocator allocator = {arena_alloc, arena_free, &onnx->arena};
    SW_TRY(sw_onnx_guard(data, len, err));
    onnx->arena.limit = len * MEMORY_FACTOR + MEMORY_EXTRA;
    onnx->proto = onnx__model_proto__unpack(&allocator, len, data);
    bool full = onnx->arena.allocated > onnx->arena.limit - onnx->arena.limit / 8;
    onnx->arena.limit = 0;
    if (!onnx->proto) {
        return sw_fail(err, SW_E_MODEL_INVALID,
                       full ? "not enough memory to hold it: a file this odd is refused" : "not an ONNX model");
    }
    if (!onnx->proto->graph) {
        return sw_fail(err, SW_E_MODEL_INVALID, "not an ONNX model: there is no graph in it");
    }
    return SW_OK;
}

static struct sw_onnx *onnx_new(size_t bytes) {
    struct sw_onnx *onnx = SW_NEW(struct sw_onnx);
    sw_arena_init(&onnx->arena, 0, 0);
    onnx->bytes = bytes;
    return onnx;
}

sw_status sw_onnx_parse(const void *data, size_t len, const char *dir, struct sw_onnx **ret, struct sw_error *err) {
    struct sw_onnx *onnx = onnx_new(len);
    sw_status status = unpack(onnx, data, len, err);
    if (!status) {
        status = sw_onnx_load_external(onnx, dir, err);
    }
    if (status) {
        sw_onnx_destroy(onnx);
        return status;
    }
    *ret = onnx;
    return SW_OK;
}

static char *folder_of(const char *path) {
    size_t len = (size_t)(sw_path_base(sw_str_of(path)).data - path);
    return len ? sw_xstrndup(path, len) : sw_xstrdup(".");
}

sw_status sw_onnx_read(const char *path, struct sw_onnx **ret, struct sw_error *err) {
    struct sw_buf file;
    SW_TRY(sw_file_read(path, SW_ONNX_BYTES_MAX, &file, err));
    SW_AUTO_FREE char *dir = folder_of(path);
    struct sw_onnx *onnx = onnx_new(file.len);
    sw_status status = unpack(onnx, file.data, file.len, err);
    sw_buf_deinit(&file); /* before the weights in other files take their memory */
    if (!status) {
        status = sw_onnx_load_external(onnx, dir, err);
    }
    if (status) {
        sw_onnx_destroy(onnx);
        return status;
    }
    *ret = onnx;
    return SW_OK;
}
