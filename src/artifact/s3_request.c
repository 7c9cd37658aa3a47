/* One request to S3 over libcurl: signed anew for each attempt, tried again when the failure may pass, its outcome as
 * a status.
 *
 * Time-outs: to connect, and when no byte moves for stall_timeout_ms; a long transfer that moves is never cut.
 * Redirects are not followed: a signed request goes only to the host it was signed for. HTTPS is verified against the
 * system's certificate authorities. Connections are kept for the next request. */
#include <curl/curl.h>
#include <errno.h>
#include <unistd.h>

#include "artifact/s3_internal.h"
#include "base/hash.h"

#define EMPTY_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

enum { HEADERS_MAX = 5, CODE_MAX = 64, REASON_MAX = 200 };

/* An attempt under way. */
struct attempt {
    CURL *curl;
    const struct sw_s3_request *request;
    struct sw_s3_answer *answer;
    struct sw_buf url, query, authorization;
    char path[SW_S3_KEY_MAX + 80];
    char amz_date[20], range[48];
    struct curl_slist *list;
    uint64_t sent;  /* of the request's body */
    bool delivered; /* the sink has got something */
    bool refused;   /* the sink broke it off, or the file could not be read */
    char fault[CURL_ERROR_SIZE];
};

/* ---- keys */

void sw_s3_blob_key(const struct sw_s3 *s3, const struct sw_digest *digest, char ret_key[SW_S3_KEY_MAX]) {
    int n = snprintf(ret_key, SW_S3_KEY_MAX, "%sblobs/%.2s/%s", s3->prefix, digest->hex, digest->hex);
    SW_ASSERT(n > 0 && n < SW_S3_KEY_MAX);
}

bool sw_s3_parse_key(const struct sw_s3 *s3, struct sw_str key, struct sw_digest *ret) {
    char expected[SW_S3_KEY_MAX];
    struct sw_digest digest;
    if (key.len < SW_DIGEST_HEX ||
        !sw_digest_parse((struct sw_str){key.data + key.len - SW_DIGEST_HEX, SW_DIGEST_HEX}, &digest)) {
        return false;
    }
    sw_s3_blob_key(s3, &digest, expected);
    if (!sw_str_is(key, expected)) {
        return false;
    }
    *ret = digest;
    return true;
}

/* ---- connections */

static void init_curl(void) {
    SW_ASSERT(curl_global_init(CURL_GLOBAL_ALL) == CURLE_OK);
}

static CURL *take_connection(struct sw_s3 *s3) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_curl);
    CURL *curl = NULL;
    pthread_mutex_lock(&s3->idle_lock);
    if (s3->idle_count > 0) {
        curl = s3->idle[--s3->idle_count];
    }
    pthread_mutex_unlock(&s3->idle_lock);
    if (curl) {
        curl_easy_reset(curl); /* forgets the options, not the connection */
        return curl;
    }
    return curl_easy_init();
}

static void give_connection(struct sw_s3 *s3, CURL *curl) {
    curl_easy_reset(curl); /* now: it points to what its last request used */
    pthread_mutex_lock(&s3->idle_lock);
    if (s3->idle_count < SW_S3_IDLE_MAX) {
        s3->idle[s3->idle_count++] = curl;
        curl = NULL;
    }
    pthread_mutex_unlock(&s3->idle_lock);
    curl_easy_cleanup(curl);
}

void sw_s3_close_idle(struct sw_s3 *s3) {
    while (s3->idle_count > 0) {
        curl_easy_cleanup(s3->idle[--s3->idle_count]);
    }
}

/* ---- what libcurl calls */

static size_t on_body(char *data, size_t size, size_t count, void *arg) {
    struct attempt *attempt = arg;
    struct sw_s3_answer *answer = attempt->answer;
    size_t len = size * count;
    if (attempt->request->sink && answer->status >= 200 && answer->status < 300) {
        attempt->delivered = true;
        attempt->refused = !attempt->request->sink(attempt->request->arg, answer, data, len);
        return attempt->refused ? 0 : len;
    }
    sw_buf_append(&answer->body, data, len);
    return answer->body.failed ? 0 : len;
}

/* "Content-Range: bytes 5-9/10" */
static uint64_t range_begin(struct sw_str value) {
    struct sw_str begin;
    uint64_t from = UINT64_MAX;
    if (!sw_str_starts(value, SW_STR("bytes "))) {
        return UINT64_MAX;
    }
    (void)sw_str_split((struct sw_str){value.data + 6, value.len - 6}, '-', &begin);
    return sw_parse_u64(begin, &from) ? from : UINT64_MAX;
}

static size_t on_header(char *data, size_t size, size_t count, void *arg) {
    struct attempt *attempt = arg;
    struct sw_s3_answer *answer = attempt->answer;
    struct sw_str line = {data, size * count}, name;
    while (line.len > 0 && (line.data[line.len - 1] == '\n' || line.data[line.len - 1] == '\r')) {
        line.len--;
    }
    if (sw_str_starts(line, SW_STR("HTTP/"))) { /* a new answer, after one of 100 */
        answer->status = 0;
        curl_easy_getinfo(attempt->curl, CURLINFO_RESPONSE_CODE, &answer->status);
        answer->etag[0] = '\0';
        answer->length = answer->range_from = UINT64_MAX;
        return size * count;
    }
    struct sw_str value = sw_str_trim(sw_str_split(line, ':', &name));
    if (sw_str_ieq(name, SW_STR("etag")) && value.len < sizeof answer->etag) {
        snprintf(answer->etag, sizeof answer->etag, "%.*s", (int)value.len, value.data);
    } else if (sw_str_ieq(name, SW_STR("content-length"))) {
        (void)sw_parse_u64(value, &answer->length);
    } else if (sw_str_ieq(name, SW_STR("content-range"))) {
        answer->range_from = range_begin(value);
    }
    return size * count;
}

static size_t on_read(char *data, size_t size, size_t count, void *arg) {
    struct attempt *attempt = arg;
    const struct sw_s3_request *request = attempt->request;
    uint64_t left = request->body_size - attempt->sent;
    size_t want = size * count < left ? size * count : (size_t)left;
    if (want == 0) {
        return 0;
    }
    if (request->fd < 0) {
        memcpy(data, request->body_data + attempt->sent, want);
        attempt->sent += want;
        return want;
    }
    ssize_t n;
    do {
        n = pread(request->fd, data, want, (off_t)(request->body_offset + attempt->sent));
    } while (n < 0 && errno == EINTR);
    if (n <= 0) { /* 0: shorter than it was */
        attempt->refused = true;
        return CURL_READFUNC_ABORT;
    }
    attempt->sent += (uint64_t)n;
    return (size_t)n;
}

/* libcurl begins anew on another connection when a kept one was closed by the server meanwhile. */
static int on_seek(void *arg, curl_off_t offset, int origin) {
    struct attempt *attempt = arg;
    if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > attempt->request->body_size) {
        return CURL_SEEKFUNC_FAIL;
    }
    attempt->sent = (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}

/* ---- building it */

/* Canonical form: sorted by name, which is how it is sent as well. */
static void build_query(const struct sw_s3_request *request, struct sw_buf *query) {
    bool used[SW_S3_QUERY_MAX] = {0};
    for (size_t n = 0; n < request->query_count; n++) {
        size_t best = SW_S3_QUERY_MAX;
        for (size_t i = 0; i < request->query_count; i++) {
            if (!used[i] &&
                (best == SW_S3_QUERY_MAX || strcmp(request->query[i].name, request->query[best].name) < 0)) {
                best = i;
            }
        }
        used[best] = true;
        sw_buf_append(query, "&", n > 0);
        sw_s3_encode(query, sw_str_of(request->query[best].name), false);
        sw_buf_append_c(query, '=');
        sw_s3_encode(query, sw_str_of(request->query[best].value), false);
    }
}

static void add_header(struct attempt *attempt, const char *name, const char *value) {
    char line[4200];
    int n = snprintf(line, sizeof line, "%s: %s", name, value);
    SW_ASSERT(n > 0 && (size_t)n < sizeof line);
    struct curl_slist *list = curl_slist_append(attempt->list, line);
    SW_ASSERT(list != NULL);
    attempt->list = list;
    explicit_bzero(line, sizeof line);
}

/* Sorted by name, as the signature wants them. */
static void build_headers(struct attempt *attempt, const struct sw_s3 *s3) {
    const struct sw_s3_request *request = attempt->request;
    struct sw_s3_header headers[HEADERS_MAX];
    size_t n = 0;
    headers[n++] = (struct sw_s3_header){"host", s3->host};
    if (request->range_from > 0 || request->first_byte) {
        snprintf(attempt->range, sizeof attempt->range, request->first_byte ? "bytes=0-0" : "bytes=%llu-",
                 (unsigned long long)request->range_from);
        headers[n++] = (struct sw_s3_header){"range", attempt->range};
    }
    const char *hash = request->payload_hash ? request->payload_hash : EMPTY_HASH;
    headers[n++] = (struct sw_s3_header){"x-amz-content-sha256", hash};
    headers[n++] = (struct sw_s3_header){"x-amz-date", attempt->amz_date};
    if (s3->session_token) {
        headers[n++] = (struct sw_s3_header){"x-amz-security-token", s3->session_token};
    }
    struct sw_s3_signing signing = {
        .region = s3->region,
        .access_key = s3->access_key,
        .secret_key = s3->secret_key,
        .amz_date = attempt->amz_date,
        .method = request->method,
        .path = attempt->path,
        .query = attempt->query.len ? attempt->query.data : "",
        .headers = headers,
        .header_count = n,
        .payload_hash = hash,
    };
    sw_s3_sign(&signing, &attempt->authorization);
    SW_ASSERT(!attempt->authorization.failed);
    for (size_t i = 0; i < n; i++) {
        add_header(attempt, headers[i].name, headers[i].value);
    }
    add_header(attempt, "authorization", attempt->authorization.data);
    add_header(attempt, "content-type", "application/octet-stream");
    attempt->list = curl_slist_append(attempt->list, "expect:"); /* no waiting for a 100 that not every server sends */
}

static void set_timestamp(const struct sw_s3 *s3, char ret_text[20]) {
    time_t seconds = (time_t)(s3->clock->wall_ms(s3->clock) / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(ret_text, 20, "%Y%m%dT%H%M%SZ", &tm);
}

static bool has_body(const struct sw_s3_request *request) {
    return strcmp(request->method, "PUT") == 0 || strcmp(request->method, "POST") == 0;
}

#define SET(option, value) SW_ASSERT(curl_easy_setopt(curl, option, value) == CURLE_OK)

static void set_limits(CURL *curl, const struct sw_s3 *s3) {
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_PATH_AS_IS, 1L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)s3->connect_timeout_ms);
    SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
    SET(CURLOPT_LOW_SPEED_TIME, (long)((s3->stall_timeout_ms + 999) / 1000));
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_BUFFERSIZE, 256L << 10);
    SET(CURLOPT_UPLOAD_BUFFERSIZE, 256L << 10);
    if (s3->direct) {
        SET(CURLOPT_PROXY, "");
    }
}

static void set_request(CURL *curl, struct attempt *attempt) {
    const struct sw_s3_request *request = attempt->request;
    SET(CURLOPT_URL, attempt->url.data);
    SET(CURLOPT_HTTPHEADER, attempt->list);
    SET(CURLOPT_ERRORBUFFER, attempt->fault);
    SET(CURLOPT_FILETIME, 1L);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, attempt);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, attempt);
    if (strcmp(request->method, "HEAD") == 0) {
        SET(CURLOPT_NOBODY, 1L);
    } else if (has_body(request)) {
        SET(CURLOPT_UPLOAD, 1L);
        SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)request->body_size);
        SET(CURLOPT_READFUNCTION, on_read);
        SET(CURLOPT_READDATA, attempt);
        SET(CURLOPT_SEEKFUNCTION, on_seek);
        SET(CURLOPT_SEEKDATA, attempt);
    }
    SET(CURLOPT_CUSTOMREQUEST, request->method);
}

/* ---- what came back */

struct fault {
    char code[CODE_MAX], message[REASON_MAX];
};

static bool on_fault(void *arg, const char *path, struct sw_str text) {
    struct fault *fault = arg;
    if (strcmp(path, "Error/Code") == 0) {
        snprintf(fault->code, sizeof fault->code, "%.*s", (int)text.len, text.data ? text.data : "");
    } else if (strcmp(path, "Error/Message") == 0) {
        snprintf(fault->message, sizeof fault->message, "%.*s",
                 (int)(text.len < REASON_MAX ? text.len : REASON_MAX - 1), text.data ? text.data : "");
    }
    return true;
}

static sw_status status_of(const struct sw_s3_answer *answer, const struct fault *fault) {
    if (answer->status == 404) { /* without its bucket nothing is "not there" */
        return strcmp(fault->code, "NoSuchBucket") == 0 ? SW_E_UNAVAILABLE : SW_E_NOT_FOUND;
    }
    return answer->status == 401 || answer->status == 403 ? SW_E_FORBIDDEN
           : answer->status == 416                        ? SW_E_INVALID_ARGUMENT
           : answer->status == 507                        ? SW_E_INSUFFICIENT_STORAGE
                                                          : SW_E_UNAVAILABLE;
}

static bool may_pass(long status, const struct fault *fault) {
    return status == 408 || status == 429 || status >= 500 || strcmp(fault->code, "RequestTimeout") == 0;
}

static sw_status judge_answer(const struct sw_s3 *s3, const struct sw_s3_request *request,
                              const struct sw_s3_answer *answer, bool *ret_again, struct sw_error *err) {
    struct fault fault = {"", ""};
    *ret_again = false;
    if (answer->body.len > 0 && sw_s3_xml_read(sw_buf_str(&answer->body), on_fault, &fault, NULL)) {
        fault = (struct fault){"", "its answer is not S3's"};
    }
    if (answer->status >= 200 && answer->status < 300 && !fault.code[0]) {
        return SW_OK;
    }
    /* 200 with an error: CompleteMultipartUpload answers before it knows */
    *ret_again = may_pass(answer->status, &fault) || answer->status / 100 == 2;
    const char *hint = answer->status / 100 == 3 ? " (redirects are not followed: wrong region or endpoint?)" : "";
    bool named = fault.code[0] || fault.message[0];
    return sw_fail(err, status_of(answer, &fault), "S3 bucket %s: %s was answered %ld%s%s%s%s%s", s3->bucket,
                   request->method, answer->status, named ? " " : "", fault.code,
                   fault.code[0] && fault.message[0] ? ": " : "", fault.message, hint);
}

static sw_status judge(const struct sw_s3 *s3, struct attempt *attempt, CURLcode code, bool *ret_again,
                       struct sw_error *err) {
    *ret_again = false;
    if (code == CURLE_OK) {
        return judge_answer(s3, attempt->request, attempt->answer, ret_again, err);
    }
    if (attempt->refused) {
        return sw_fail(err, SW_E_IO, "S3 bucket %s: %s broken off", s3->bucket, attempt->request->method);
    }
    if (attempt->answer->status >= 400) { /* an answer that came before all was sent: it says more */
        sw_status status = judge_answer(s3, attempt->request, attempt->answer, ret_again, err);
        *ret_again = true;
        return status;
    }
    *ret_again = !attempt->delivered && code != CURLE_PEER_FAILED_VERIFICATION && code != CURLE_OUT_OF_MEMORY;
    return sw_fail(err, SW_E_UNAVAILABLE, "S3 bucket %s cannot be reached: %s: %s", s3->bucket, s3->host,
                   attempt->fault[0] ? attempt->fault : curl_easy_strerror(code));
}

/* ---- sending it */

static void reset_answer(struct sw_s3_answer *answer) {
    answer->status = 0;
    answer->etag[0] = '\0';
    answer->length = answer->range_from = UINT64_MAX;
    answer->modified_ms = 0;
    sw_buf_clear(&answer->body);
}

static void build(struct attempt *attempt, const struct sw_s3 *s3) {
    const char *key = attempt->request->key;
    sw_buf_init(&attempt->url, 32 << 10);
    sw_buf_init(&attempt->query, 16 << 10);
    sw_buf_init(&attempt->authorization, 4096);
    int n = snprintf(attempt->path, sizeof attempt->path, "%s/%s", s3->base, key ? key : "");
    SW_ASSERT(n > 0 && (size_t)n < sizeof attempt->path); /* its characters need no encoding: see s3_config.c */
    build_query(attempt->request, &attempt->query);
    sw_buf_printf(&attempt->url, "%s%s%s%s", s3->origin, attempt->path, attempt->query.len ? "?" : "",
                  attempt->query.len ? attempt->query.data : "");
    set_timestamp(s3, attempt->amz_date);
    build_headers(attempt, s3);
}

static void tear_down(struct attempt *attempt) {
    sw_buf_deinit(&attempt->url);
    sw_buf_deinit(&attempt->query);
    sw_buf_deinit(&attempt->authorization);
    curl_slist_free_all(attempt->list);
}

static sw_status try_once(struct sw_s3 *s3, const struct sw_s3_request *request, struct sw_s3_answer *answer,
                          bool *ret_again, struct sw_error *err) {
    struct attempt attempt = {.request = request, .answer = answer};
    *ret_again = false;
    reset_answer(answer);
    build(&attempt, s3);
    sw_status status;
    if (attempt.query.failed || attempt.url.failed) {
        status = sw_fail(err, SW_E_UNAVAILABLE, "S3 bucket %s: a page token of %zu bytes", s3->bucket,
                         attempt.query.len);
    } else if (!(attempt.curl = take_connection(s3))) {
        status = sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
    } else {
        set_limits(attempt.curl, s3);
        set_request(attempt.curl, &attempt);
        CURLcode code = curl_easy_perform(attempt.curl);
        curl_off_t filetime = -1;
        curl_easy_getinfo(attempt.curl, CURLINFO_RESPONSE_CODE, &answer->status);
        curl_easy_getinfo(attempt.curl, CURLINFO_FILETIME_T, &filetime);
        answer->modified_ms = filetime > 0 ? (uint64_t)filetime * 1000u : 0;
        status = judge(s3, &attempt, code, ret_again, err);
        *ret_again = *ret_again && !attempt.delivered;
        give_connection(s3, attempt.curl);
    }
    tear_down(&attempt);
    return status;
}

void sw_s3_back_off(const struct sw_s3 *s3, unsigned attempt) {
    unsigned doublings = attempt < 8 ? attempt - 2 : 6;
    uint64_t most = s3->backoff_ms << doublings;
    uint64_t wait_ms = most / 2 + sw_random_u64() % (most / 2 + 1); /* jitter: replicas shall not come back in step */
    struct timespec t = {(time_t)(wait_ms / 1000), (long)(wait_ms % 1000) * 1000000};
    (void)nanosleep(&t, NULL);
}

sw_status sw_s3_call(struct sw_artifacts *artifacts, const struct sw_s3_request *request, struct sw_s3_answer *answer,
                     struct sw_error *err) {
    struct sw_s3 *s3 = artifacts->s3;
    struct sw_error local = {0};
    unsigned attempts_max = request->attempts_max ? request->attempts_max : s3->attempts_max;
    uint64_t began = sw_now_ns(s3->clock), patience_ns = 2 * s3->stall_timeout_ms * 1000000u;
    sw_status status;
    bool again;
    *answer = (struct sw_s3_answer){0};
    sw_buf_init(&answer->body, SW_S3_BODY_MAX);
    for (unsigned attempt = 1;; attempt++) {
        status = try_once(s3, request, answer, &again, &local);
        if (!status || !again || attempt >= attempts_max || sw_now_ns(s3->clock) - began > patience_ns) {
            break;
        }
        sw_s3_back_off(s3, attempt + 1);
    }
    if (status && err) {
        *err = local;
    }
    /* what the sink or the file broke off says nothing about S3 */
    return status == SW_E_IO ? status : sw_artifacts_note(artifacts, status, &local);
}

sw_status sw_s3_do(struct sw_artifacts *artifacts, const struct sw_s3_request *request, struct sw_error *err) {
    struct sw_s3_answer answer;
    sw_status status = sw_s3_call(artifacts, request, &answer, err);
    sw_buf_deinit(&answer.body);
    return status;
}
