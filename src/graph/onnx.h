/* An ONNX model in memory, to be looked at, changed and written again.
 *
 * The file is parsed whole, through protobuf-c, from the onnx.proto that is part of the build; what newer versions of
 * the format add is kept and written back. Weights in files of their own (external data) are read in, so that the model
 * stands for itself. To know only inputs and outputs of a file of any size, use graph/signature.h.
 *
 * Life: read or parse, change (graph/onnx_internal.h, inside this folder), write any number of times, destroy. Memory:
 * everything of a model lives in its arena and goes with it, so a changed model holds old weights and new ones.
 *
 * Against hostile files: depth, number of messages and memory are bounded before anything is built; see onnx_guard.c. */
#ifndef SW_GRAPH_ONNX_H
#define SW_GRAPH_ONNX_H

#include "base/arena.h"
#include "base/error.h"

/* The format cannot hold more in one file: offsets are 32 bits, signed. */
#define SW_ONNX_BYTES_MAX ((uint64_t)INT32_MAX)

struct Onnx__ModelProto;

struct sw_onnx {
    struct sw_arena arena;
    struct Onnx__ModelProto *proto; /* has a graph */
    uint64_t bytes;                 /* of the file and of the external data read in */
    void *initializers;             /* the graph's array of them when onnx_edit.c made it, and its room */
    size_t initializer_capacity;
};

/* SW_E_NOT_FOUND, SW_E_IO; SW_E_MODEL_INVALID: no ONNX model, broken or cut off, beyond a bound, or external data that
 * is missing, too short or outside the model's folder; SW_E_TOO_LARGE: more than SW_ONNX_BYTES_MAX with its external
 * data. Messages of SW_E_NOT_FOUND and SW_E_IO name the file; those about its content do not. */
SW_MUST_CHECK sw_status sw_onnx_read(const char *path, struct sw_onnx **ret, struct sw_error *err);

/* The same of bytes in memory (not kept). dir: where external data lies; NULL: external data is refused. */
SW_MUST_CHECK sw_status sw_onnx_parse(const void *data, size_t len, const char *dir, struct sw_onnx **ret,
                                      struct sw_error *err);
void sw_onnx_destroy(struct sw_onnx *onnx); /* NULL is allowed */

/* Writes the model to the open file; the same model gives the same bytes. *ret_bytes: how many. SW_E_TOO_LARGE,
 * SW_E_IO. */
SW_MUST_CHECK sw_status sw_onnx_write(const struct sw_onnx *onnx, int fd, uint64_t *ret_bytes, struct sw_error *err);

/* A new file at `path`, or the old one replaced, whole or not at all: written beside it, fsynced, renamed. Mode 0644
 * but for the process's umask. Messages name the file. */
SW_MUST_CHECK sw_status sw_onnx_save(const struct sw_onnx *onnx, const char *path, uint64_t *ret_bytes,
                                     struct sw_error *err);

/* A temporary file of the model in $TMPDIR (/tmp), mode 0600, for an engine to load; the caller unlinks it. *ret_path
 * is on the heap (sw_free). */
SW_MUST_CHECK sw_status sw_onnx_save_temporary(const struct sw_onnx *onnx, char **ret_path, struct sw_error *err);

#endif
