/* Any bytes as the head of an ONNX file, and any text as a message of the runtime. */
#include "base/memory.h"
#include "engine/ort/onnx_head.h"
#include "engine/ort/ort_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct onnx_head head;
    struct sw_wire wire;
    sw_wire_init_memory(&wire, data, size);
    onnx_head_read(&wire, &head);
    SW_ASSERT(head.opset_count <= ONNX_OPSETS_MAX);
    SW_ASSERT(memchr(head.shapeless_input, 0, sizeof head.shapeless_input));
    SW_ASSERT(memchr(head.producer_version, 0, sizeof head.producer_version));
    char *message = sw_xstrndup((const char *)data, size), text[300];
    ort_reason_clean(message, text, sizeof text);
    SW_ASSERT(strlen(text) <= strlen(message));
    sw_free(message);
    return 0;
}
