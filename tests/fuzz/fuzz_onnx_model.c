/* Any bytes as an ONNX model. What can be read is written and read again, with the same bytes as a result; then it is
 * quantised, in a form and with options that the first byte chooses: operator set raised, nodes folded, planned and
 * rewritten, with an engine that makes numbers up for calibration. What comes out can be read too. */
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"
#include "graph/onnx.h"
#include "graph/quantize.h"
#include "tests/unit/graph/stub_engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct bytes {
    void *data;
    size_t len;
};

static struct bytes written(const struct sw_onnx *onnx) {
    uint64_t len = 0;
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    SW_ASSERT(fd >= 0 && sw_onnx_write(onnx, fd, &len, NULL) == SW_OK);
    struct bytes ret = {sw_xmalloc(len + 1), len};
    SW_ASSERT(pread(fd, ret.data, len, 0) == (ssize_t)len);
    close(fd);
    return ret;
}

static struct sw_onnx *read_again(struct bytes bytes) {
    struct sw_onnx *onnx = NULL;
    SW_ASSERT(sw_onnx_parse(bytes.data, bytes.len, NULL, &onnx, NULL) == SW_OK);
    return onnx;
}

static void check_round_trip(const struct sw_onnx *onnx) {
    struct bytes once = written(onnx);
    struct sw_onnx *again = read_again(once);
    struct bytes twice = written(again);
    SW_ASSERT(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
    sw_onnx_destroy(again);
    sw_free(once.data);
    sw_free(twice.data);
}

static sw_status run(struct sw_onnx *onnx, const struct sw_quantize_options *options, json_t *inputs,
                     struct sw_quantize_report **ret, struct sw_error *err) {
    struct stub_samples list = {.inputs = inputs};
    struct sw_samples samples = stub_samples(&list);
    struct sw_session_options session = {.threads = 1};
    return sw_quantize(onnx, options, &stub_engine, &session, &samples, ret, err);
}

static void quantize(struct sw_onnx *onnx, const struct sw_quantize_options *options) {
    struct sw_quantize_report *report = NULL;
    struct sw_error err;
    struct bytes before = written(onnx);
    json_t *signature = NULL;
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    SW_ASSERT(fd >= 0 && write(fd, before.data, before.len) == (ssize_t)before.len);
    if (sw_onnx_signature_fd(fd, &signature, NULL, NULL) == SW_OK) {
        sw_status status = run(onnx, options, json_object_get(signature, "inputs"), &report, &err);
        SW_ASSERT(!status == !!report);
        SW_ASSERT(!status || status == SW_E_MODEL_INVALID || status == SW_E_INVALID_ARGUMENT);
        SW_ASSERT(!status || err.message[0]);
    }
    if (report) {
        SW_ASSERT(report->quantized > 0 && report->quantized <= report->count);
        check_round_trip(onnx);
    }
    sw_quantize_report_destroy(report);
    json_decref(signature);
    sw_free(before.data);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sw_onnx *onnx = NULL;
    if (size == 0) {
        return 0;
    }
    struct sw_quantize_options options = {
        .mode = data[0] & 1 ? SW_QUANTIZE_DYNAMIC : SW_QUANTIZE_QDQ,
        .per_tensor = data[0] & 2,
        .reduce_range = data[0] & 4,
        .signed_activations = data[0] & 8,
        .percentile = data[0] & 16 ? 99 : 100,
    };
    struct sw_error err;
    sw_status status = sw_onnx_parse(data + 1, size - 1, NULL, &onnx, &err);
    if (status) {
        SW_ASSERT((status == SW_E_MODEL_INVALID || status == SW_E_TOO_LARGE) && !onnx);
        return 0;
    }
    check_round_trip(onnx);
    quantize(onnx, &options);
    sw_onnx_destroy(onnx);
    return 0;
}
