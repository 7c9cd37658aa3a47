/* One attempt to deliver a notification, over libcurl. */
#include <curl/curl.h>
#include <pthread.h>

#include "base/memory.h"
#include "observe/notify.h"

enum { SHOWN_MAX = 120, CONNECT_TIMEOUT_MS = 5000, HEADER_MAX = 4200 };

/* The beginning of an answer, to say what was wrong. */
struct answer {
    char text[SHOWN_MAX + 1];
    size_t length;
};

static void init_curl(void) {
    SW_ASSERT(curl_global_init(CURL_GLOBAL_ALL) == CURLE_OK);
}

static size_t on_body(char *data, size_t size, size_t count, void *arg) {
    struct answer *answer = arg;
    for (size_t i = 0; i < size * count && answer->length < SHOWN_MAX; i++) {
        unsigned char c = (unsigned char)data[i];
        answer->text[answer->length++] = c >= 0x20 && c < 0x7f ? (char)c : ' ';
    }
    return size * count;
}

/* Also called while nothing moves, at least once a second. */
static int on_progress(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up) {
    return atomic_load((const atomic_bool *)arg);
}

static struct curl_slist *make_headers(const char *token) {
    char line[HEADER_MAX];
    struct curl_slist *list = curl_slist_append(NULL, "content-type: application/json");
    list = curl_slist_append(list, "expect:"); /* no waiting for a 100 that not every server sends */
    if (token) {
        snprintf(line, sizeof line, "authorization: Bearer %s", token);
        list = curl_slist_append(list, line);
        explicit_bzero(line, sizeof line);
    }
    return list;
}

#define SET(option, value) SW_ASSERT(curl_easy_setopt(curl, option, value) == CURLE_OK)

static void set_options(CURL *curl, const char *url, struct sw_str body, struct answer *answer,
                        const atomic_bool *stop) {
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_URL, url);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_NOPROXY, "localhost,127.0.0.1,::1");
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    SET(CURLOPT_TIMEOUT_MS, (long)SW_NOTIFY_SEND_TIMEOUT_MS);
    SET(CURLOPT_USERAGENT, "slipway/" SW_VERSION);
    SET(CURLOPT_POST, 1L);
    SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
    SET(CURLOPT_POSTFIELDS, body.data);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, answer);
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(CURLOPT_XFERINFODATA, (void *)(uintptr_t)stop);
}

int sw_notify_http(void *arg, const char *url, const char *token, struct sw_str body, const atomic_bool *stop,
                   char error[SW_NOTIFY_ERROR_MAX]) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_curl);
    CURL *curl = curl_easy_init();
    if (!curl) {
        snprintf(error, SW_NOTIFY_ERROR_MAX, "no memory");
        return 0;
    }
    struct answer answer = {{0}, 0};
    struct curl_slist *headers = make_headers(token);
    long status = 0;
    set_options(curl, url, body, &answer, stop);
    SET(CURLOPT_HTTPHEADER, headers);
    CURLcode code = curl_easy_perform(curl);
    if (code == CURLE_OK) {
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        snprintf(error, SW_NOTIFY_ERROR_MAX, "the receiver answered %ld%s%s", status, answer.length ? ": " : "",
                 answer.text);
    } else {
        snprintf(error, SW_NOTIFY_ERROR_MAX, "%s",
                 curl_easy_strerror(code)); /* never the address: it may hold a token */
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return (int)status;
}
