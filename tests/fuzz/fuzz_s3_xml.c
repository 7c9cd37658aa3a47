/* S3's answers: any bytes as XML. Paths stay bounded, texts too, and what ends is what began. */
#include <stdlib.h>

#include "artifact/s3_internal.h"

static bool check(void *arg, const char *path, struct sw_str text) {
    size_t *count = arg;
    uint64_t ms;
    if (strlen(path) >= 512 || path[0] == '\0' || text.len > SW_S3_XML_TEXT_MAX) {
        abort();
    }
    (void)sw_s3_parse_time(text, &ms);
    return ++*count < 10000;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t count = 0;
    struct sw_error err = {0};
    sw_status status = sw_s3_xml_read((struct sw_str){(const char *)data, size}, check, &count, &err);
    if (status != SW_OK && err.message[0] == '\0') {
        abort();
    }
    return 0;
}
