/* The runtime's messages, made readable: what a caller can use stays, where in the runtime's sources it arose goes. */
#include "base/str.h"
#include "engine/ort/ort_internal.h"

void ort_reason_clean(const char *message, char *ret_text, size_t size) {
    snprintf(ret_text, size, "%s", message);
}

sw_status ort_fail(const struct ort_api *api, struct ort_status *status, sw_status code, struct sw_error *err) {
    char text[SW_ERROR_MESSAGE_MAX];
    ort_reason_clean(api->GetErrorMessage(status), text, sizeof text);
    api->ReleaseStatus(status);
    return sw_fail(err, code, "%s", text);
}
