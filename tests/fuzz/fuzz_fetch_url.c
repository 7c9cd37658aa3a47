/* URLs to fetch: any bytes, against a policy of any host.
 *
 * What is accepted goes to http or https, without user name, at an allowed port, to the host whose name was checked: the
 * one that libcurl would connect to. */
#include <ctype.h>
#include <stdlib.h>

#include "base/memory.h"
#include "http/fetch_internal.h"

static void check(bool good) {
    if (!good) {
        abort();
    }
}

static struct sw_fetcher *make(void) {
    struct sw_fetch_options options = {.hosts = "*", .ports = "80,443,8080", .clock = sw_clock_system()};
    struct sw_fetcher *f;
    check(sw_fetcher_create(&options, &f, NULL) == SW_OK);
    return f;
}

static bool has_part(CURLU *url, CURLUPart what) {
    char *text = NULL;
    bool found = curl_url_get(url, what, &text, 0) == CURLUE_OK;
    curl_free(text);
    return found;
}

static void check_host(const struct fetch_target *t) {
    char *host = NULL;
    check(curl_url_get(t->url, CURLUPART_HOST, &host, 0) == CURLUE_OK);
    size_t len = strlen(host), bracket = host[0] == '[';
    check(len - 2 * bracket == strlen(t->name));
    for (size_t i = 0; t->name[i]; i++) {
        check(tolower((unsigned char)host[i + bracket]) == t->name[i]);
    }
    curl_free(host);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct sw_fetcher *f;
    f = f ? f : make();
    char *text = sw_xstrndup((const char *)data, size);
    struct fetch_target t = {.url = NULL};
    struct sw_error err;
    if (fetch_target_read(f, text, &t, &err)) {
        check(err.code == SW_E_UNPROCESSABLE && err.message[0]);
    } else {
        check(t.name[0] && (t.port == 80 || t.port == 443 || t.port == 8080));
        check(!has_part(t.url, CURLUPART_USER) && !has_part(t.url, CURLUPART_PASSWORD) &&
              !has_part(t.url, CURLUPART_ZONEID));
        check_host(&t);
    }
    fetch_target_clear(&t);
    sw_free(text);
    return 0;
}
