/* Any bytes as an ONNX file whose signature is read: what comes out can be written as JSON and read again. */
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"
#include "graph/signature.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *signature = NULL, *external = NULL;
    struct sw_error err;
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    SW_ASSERT(fd >= 0 && (size == 0 || write(fd, data, size) == (ssize_t)size));
    sw_status status = sw_onnx_signature_fd(fd, &signature, &external, &err);
    close(fd);
    if (status) {
        SW_ASSERT(status == SW_E_MODEL_INVALID && !signature && !external);
        return 0;
    }
    char *text = json_dumps(signature, 0);
    json_t *again = text ? json_loads(text, 0, NULL) : NULL;
    SW_ASSERT(again && json_equal(signature, again));
    SW_ASSERT(json_is_array(external));
    free(text);
    json_decref(again);
    json_decref(signature);
    json_decref(external);
    return 0;
}
