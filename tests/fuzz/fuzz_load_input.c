/* What `slipway load` and `slo check` take from outside but answers: a URL and a header of the command line, a result file.
 *
 * Input: byte 0: which of them; the rest is its text. */
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "load/request.h"
#include "load/slo.h"

static void check(bool good) {
    if (!good) {
        abort();
    }
}

/* What is taken gives a request whose first line is one line. */
static void parse_url(struct sw_str text) {
    struct sw_load_url url;
    struct sw_buf request;
    if (sw_load_url_parse(text, &url, NULL) != SW_OK) {
        return;
    }
    check(url.host[0] && url.target[0] == '/' && url.port > 0);
    check(sw_load_request_make(&(struct sw_load_request_parts){.url = &url}, &request, NULL) == SW_OK);
    const char *end = strstr(request.data, " HTTP/1.1\r\nHost: ");
    check(end == request.data + strlen("GET ") + strlen(url.target));
    sw_buf_deinit(&request);
    sw_load_url_deinit(&url);
}

static void parse_header(struct sw_str text) {
    struct sw_load_header header;
    if (sw_load_header_parse(text, &header, NULL) == SW_OK) {
        check(header.name.len > 0 && !memchr(header.name.data, ':', header.name.len));
        check(!header.value.len || !memchr(header.value.data, '\n', header.value.len));
        (void)sw_load_header_is_secret(&header);
    }
}

static void parse_result(struct sw_str text) {
    struct sw_slo_measured m;
    struct sw_slo_criterion criteria[SW_SLO_CRITERIA_MAX];
    json_t *json = json_loadb(text.data, text.len, 0, NULL);
    if (json && sw_slo_read(json, &m, NULL) == SW_OK) {
        double median = sw_slo_latency_ms(&m, 50), tail = sw_slo_latency_ms(&m, 99.9);
        check(m.requests > 0 && median >= 0 && median <= tail);
        check(sw_slo_judge(&m, &(struct sw_slo_limits){1, 1, 0.5, 95}, criteria) == SW_SLO_CRITERIA_MAX);
        sw_slo_deinit(&m);
    }
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static void (*const parsers[])(struct sw_str) = {parse_url, parse_header, parse_result};
    if (size < 1) {
        return 0;
    }
    char *copy = sw_xmalloc(size);
    memcpy(copy, data + 1, size - 1);
    parsers[data[0] % SW_COUNTOF(parsers)]((struct sw_str){copy, size - 1});
    sw_free(copy);
    return 0;
}
