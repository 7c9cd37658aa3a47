/* The client over one easy handle of libcurl; see client.h. */
#include "cli/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/memory.h"
#include "cli/address.h"
#include "cli/document.h"

enum { TEXT_SHOWN_MAX = 160, URL_MAX = 4096, TRANSFER_BUFFER = 512 * 1024, REQUEST_ID_MAX = 128 };

struct sw_client {
    CURL *curl;
    char *server;
    struct curl_slist *headers; /* sent with every request */
    struct sw_client_options options;
    bool local;     /* the server is on this machine */
    bool encrypted; /* https */
    char curl_error[CURL_ERROR_SIZE];
};

/* One request under way; lives on the stack of the call. */
struct transfer {
    struct sw_client *client;
    struct sw_buf body; /* of the answer, unless a sink takes it */
    bool body_too_large;
    const struct sw_client_source *source;
    uint64_t sent;
    const struct sw_client_sink *sink;
    bool sink_begun, sink_failed;
    uint64_t range_start; /* of Content-Range */
    uint64_t retry_after_s;
    char request_id[REQUEST_ID_MAX + 1];
    uint64_t moved_bytes, moved_ns; /* when bytes last moved, and how many there were */
    bool stalled, waiting;
    struct sw_error read_fault; /* of the source; code SW_OK: none */
};

/* --- life -------------------------------------------------------------------------------------------------------- */

void sw_client_options_default(struct sw_client_options *options) {
    *options = (struct sw_client_options){.connect_timeout_ms = 10000,
                                          .stall_timeout_ms = 60000,
                                          .answer_timeout_ms = 3600000,
                                          .clock = sw_clock_system()};
}

/* May the text stand in a header? Printable ASCII. */
static bool fits_header(const char *text) {
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p < 0x20 || *p > 0x7e) {
            return false;
        }
    }
    return true;
}

static void add_header(struct sw_client *client, const char *name, const char *value) {
    size_t size = strlen(name) + strlen(value) + 3;
    char *line SW_AUTO_FREE = sw_xmalloc(size);
    snprintf(line, size, "%s: %s", name, value);
    struct curl_slist *list = curl_slist_append(client->headers, line);
    SW_ASSERT(list);
    client->headers = list;
}

static sw_status check_parts(struct sw_client *client, CURLU *url, struct sw_error *err) {
    char *scheme = NULL, *host = NULL, *user = NULL, *query = NULL;
    bool good = curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK;
    bool bare = curl_url_get(url, CURLUPART_USER, &user, 0) != CURLUE_OK &&
                curl_url_get(url, CURLUPART_QUERY, &query, 0) != CURLUE_OK;
    sw_status status = SW_OK;
    if (!good || (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)) {
        status = sw_fail(err, SW_E_USAGE, "the server's address must begin with http:// or https://");
    } else if (!bare) {
        status = sw_fail(
            err, SW_E_USAGE,
            "the server's address must hold no user name and no query; a key belongs into SLIPWAY_API_KEY");
    } else {
        struct sw_str name = sw_str_of(host);
        if (name.len > 2 && name.data[0] == '[') { /* an IPv6 address */
            host[name.len - 1] = '\0';
            client->local = sw_is_loopback(host + 1);
        } else {
            client->local = sw_is_loopback(host);
        }
        client->encrypted = !strcmp(scheme, "https");
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    curl_free(query);
    return status;
}

static sw_status parse_server(struct sw_client *client, struct sw_error *err) {
    const char *text = client->options.server;
    CURLU *url = curl_url();
    SW_ASSERT(url);
    char *whole = NULL;
    sw_status status = SW_OK;
    if (!*text || !fits_header(text) || strlen(text) > URL_MAX ||
        curl_url_set(url, CURLUPART_URL, text, strstr(text, "://") ? 0 : CURLU_DEFAULT_SCHEME) != CURLUE_OK ||
        curl_url_set(url, CURLUPART_FRAGMENT, NULL, 0) != CURLUE_OK) {
        status = sw_fail(err, SW_E_USAGE, "'%s' is not the address of a server, such as http://127.0.0.1:8080", text);
    } else if (!strstr(text, "://") && curl_url_set(url, CURLUPART_SCHEME, "http", 0) != CURLUE_OK) {
        status = sw_fail(err, SW_E_USAGE, "'%s' is not the address of a server", text);
    } else {
        status = check_parts(client, url, err);
    }
    if (!status && curl_url_get(url, CURLUPART_URL, &whole, 0) == CURLUE_OK) {
        size_t n = strlen(whole);
        while (n > 0 && whole[n - 1] == '/') {
            n--;
        }
        client->server = sw_xstrndup(whole, n);
    }
    curl_free(whole);
    curl_url_cleanup(url);
    return status;
}

sw_status sw_client_create(const struct sw_client_options *options, struct sw_client **ret, struct sw_error *err) {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) { /* counted: harmless when it was done already */
        return sw_fail(err, SW_E_INTERNAL, "libcurl does not start");
    }
    struct sw_client *client = SW_NEW(struct sw_client);
    client->options = *options;
    sw_status status = parse_server(client, err);
    if (!status && options->api_key && (!*options->api_key || !fits_header(options->api_key))) {
        status = sw_fail(err, SW_E_USAGE, "SLIPWAY_API_KEY holds a character that no key has");
    }
    if (!status && !(client->curl = curl_easy_init())) {
        status = sw_fail(err, SW_E_INTERNAL, "libcurl does not start");
    }
    if (status) {
        sw_client_destroy(client);
        return status;
    }
    if (options->api_key) {
        char *value SW_AUTO_FREE = sw_xmalloc(strlen(options->api_key) + 8);
        snprintf(value, strlen(options->api_key) + 8, "Bearer %s", options->api_key);
        add_header(client, "Authorization", value);
    }
    if (options->actor && fits_header(options->actor)) {
        add_header(client, "X-Slipway-Actor", options->actor);
    }
    *ret = client;
    return SW_OK;
}

void sw_client_destroy(struct sw_client *client) {
    if (client) {
        curl_easy_cleanup(client->curl);
        curl_slist_free_all(client->headers);
        sw_free(client->server);
        sw_free(client);
        curl_global_cleanup();
    }
}

const char *sw_client_server(const struct sw_client *client) {
    return client->server;
}

bool sw_client_is_private(const struct sw_client *client) {
    return client->local || client->encrypted;
}

void sw_answer_deinit(struct sw_answer *answer) {
    json_decref(answer->json);
    *answer = (struct sw_answer){0};
}

json_t *sw_answer_detail(const struct sw_answer *answer, const char *key) {
    return json_object_get(json_object_get(json_object_get(answer->json, "error"), "details"), key);
}

/* --- what libcurl calls ------------------------------------------------------------------------------------------ */

static long response_code(struct transfer *t) {
    long code = 0;
    curl_easy_getinfo(t->client->curl, CURLINFO_RESPONSE_CODE, &code);
    return code;
}

/* true when `line` is the header `name`; its value without blanks in *ret. */
static bool header_is(struct sw_str line, const char *name, struct sw_str *ret) {
    struct sw_str head;
    struct sw_str value = sw_str_split(line, ':', &head);
    if (!value.data || !sw_str_ieq(head, sw_str_of(name))) {
        return false;
    }
    while (value.len && (value.data[value.len - 1] == '\n' || value.data[value.len - 1] == '\r')) {
        value.len--;
    }
    *ret = sw_str_trim(value);
    return true;
}

static size_t on_header(char *data, size_t size, size_t count, void *arg) {
    struct transfer *t = arg;
    struct sw_str line = {data, size * count}, value;
    uint64_t number;
    if (header_is(line, "X-Request-Id", &value) && value.len <= REQUEST_ID_MAX) {
        memcpy(t->request_id, value.data, value.len);
        t->request_id[value.len] = '\0';
    } else if (header_is(line, "Retry-After", &value) && sw_parse_u64(value, &number)) {
        t->retry_after_s = number;
    } else if (header_is(line, "Content-Range", &value) && sw_str_starts(value, SW_STR("bytes "))) {
        struct sw_str first;
        value.data += 6;
        value.len -= 6;
        (void)sw_str_split(value, '-', &first);
        if (sw_parse_u64(first, &number)) {
            t->range_start = number;
        }
    }
    return size * count;
}

static bool to_sink(struct transfer *t, const void *data, size_t len) {
    if (!t->sink_begun) {
        t->sink_begun = true;
        if (!t->sink->begin(t->sink->arg, response_code(t) == 206 ? t->range_start : 0)) {
            return false;
        }
    }
    return t->sink->write(t->sink->arg, data, len);
}

static size_t on_body(char *data, size_t size, size_t count, void *arg) {
    struct transfer *t = arg;
    size_t len = size * count;
    if (t->sink && response_code(t) / 100 == 2) {
        t->sink_failed = !to_sink(t, data, len);
        return t->sink_failed ? 0 : len;
    }
    if (len > SW_CLIENT_ANSWER_MAX - t->body.len) {
        t->body_too_large = true;
        return 0;
    }
    sw_buf_append(&t->body, data, len);
    return t->body.failed ? 0 : len;
}

static size_t on_read(char *buffer, size_t size, size_t count, void *arg) {
    struct transfer *t = arg;
    const struct sw_client_source *source = t->source;
    uint64_t left = source->length - t->sent;
    size_t wanted = size * count < left ? size * count : (size_t)left;
    ssize_t n = 0;
    if (wanted == 0) {
        return 0;
    }
    do {
        n = pread(source->fd, buffer, wanted, (off_t)(source->offset + t->sent));
    } while (n < 0 && errno == EINTR);
    if (n <= 0) {
        (void)sw_fail(&t->read_fault, SW_E_IO, "%s",
                      n < 0 ? strerror(errno) : "the file became shorter while it was being sent");
        return CURL_READFUNC_ABORT;
    }
    t->sent += (uint64_t)n;
    return (size_t)n;
}

/* libcurl sends anew, such as on another connection. */
static int on_seek(void *arg, curl_off_t offset, int origin) {
    struct transfer *t = arg;
    if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > t->source->length) {
        return CURL_SEEKFUNC_CANTSEEK;
    }
    t->sent = (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}

/* Called with every piece and about once a second: ends a transfer in which nothing moves. */
static int on_progress(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up) {
    struct transfer *t = arg;
    const struct sw_client_options *o = &t->client->options;
    uint64_t now = sw_now_ns(o->clock);
    uint64_t bytes = (uint64_t)down + (uint64_t)up;
    if (bytes != t->moved_bytes) {
        t->moved_bytes = bytes;
        t->moved_ns = now;
        if (t->source && t->source->moved) {
            t->source->moved(t->source->arg, (uint64_t)up);
        }
        return 0;
    }
    uint64_t to_send = t->source ? t->source->length : (uint64_t)up_total;
    t->waiting = down == 0 && (uint64_t)up >= to_send;
    uint64_t limit_ms = t->waiting ? o->answer_timeout_ms : o->stall_timeout_ms;
    t->stalled = now - t->moved_ns > limit_ms * 1000000;
    return t->stalled;
}

/* --- one request ------------------------------------------------------------------------------------------------- */

/* Is this failure of the kind that another attempt may not meet? */
static bool code_may_pass(CURLcode code) {
    switch (code) {
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_ABORTED_BY_CALLBACK: /* a stall */
    case CURLE_SSL_CONNECT_ERROR: return true;
    default: return false;
    }
}

static bool status_may_pass(long status) {
    return status == 408 || status == 429 || status == 502 || status == 503 || status == 504;
}

static sw_status connection_error(struct transfer *t, CURLcode code, struct sw_error *err) {
    struct sw_client *client = t->client;
    const char *text = client->curl_error[0] ? client->curl_error : curl_easy_strerror(code);
    if (t->read_fault.code) {
        return sw_fail(err, t->read_fault.code, "%s", t->read_fault.message);
    }
    if (t->sink_failed) {
        return sw_fail(err, t->sink->fault->code, "%s", t->sink->fault->message);
    }
    if (t->body_too_large) {
        return sw_fail(err, SW_E_TOO_LARGE, "%s answered more than %d MiB", client->server, SW_CLIENT_ANSWER_MAX >> 20);
    }
    if (t->stalled) {
        uint64_t ms = t->waiting ? client->options.answer_timeout_ms : client->options.stall_timeout_ms;
        return sw_fail(err, SW_E_UNAVAILABLE, "%s: %s for %llu s", client->server,
                       t->waiting ? "no answer" : "not a byte", (unsigned long long)(ms / 1000));
    }
    if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST) {
        long os_error = 0;
        if (curl_easy_getinfo(client->curl, CURLINFO_OS_ERRNO, &os_error) == CURLE_OK && os_error) {
            text = strerror((int)os_error);
        }
        return sw_fail(err, SW_E_UNAVAILABLE,
                       "cannot reach %s: %s. Is the server running? --server or SLIPWAY_SERVER names another one",
                       client->server, text);
    }
    return sw_fail(err, SW_E_UNAVAILABLE, "%s: %s", client->server, text);
}

static sw_status status_of_name(const char *name) {
    for (size_t i = 0; name && i < SW_STATUS_COUNT; i++) {
        if (i != SW_OK && !strcmp(name, sw_status_table[i].name)) {
            return (sw_status)i;
        }
    }
    return SW_OK;
}

static sw_status status_of_http(long http) {
    for (size_t i = 0; i < SW_STATUS_COUNT; i++) {
        if (i != SW_OK && sw_status_table[i].http == http) {
            return (sw_status)i;
        }
    }
    return http >= 500 ? SW_E_UNAVAILABLE : SW_E_IO;
}

/* An answer of 300 and above in the server's words. */
static sw_status answer_error(struct transfer *t, long http, const json_t *json, struct sw_error *err) {
    const json_t *error = json_object_get(json, "error");
    const char *message = json_string_value(json_object_get(error, "message"));
    const char *id = json_string_value(json_object_get(error, "request_id"));
    sw_status code = status_of_name(json_string_value(json_object_get(error, "code")));
    code = code ? code : status_of_http(http);
    id = id ? id : t->request_id;
    message = message ? message : json_string_value(error); /* {"error": "text"} */
    if (message) {
        return sw_fail(err, code, "%s%s%s%s", message, *id ? " (request " : "", id, *id ? ")" : "");
    }
    struct sw_str text = sw_str_trim(sw_buf_str(&t->body));
    text.len = text.len < TEXT_SHOWN_MAX ? text.len : TEXT_SHOWN_MAX;
    return sw_fail(err, code, "%s answered %ld, not as Slipway does%s" SW_STR_FMT, t->client->server, http,
                   text.len ? ": " : "", SW_STR_ARG(text));
}

static void set_common(struct transfer *t, const char *url) {
    struct sw_client *client = t->client;
    CURL *curl = client->curl;
    curl_easy_reset(curl); /* keeps the connection */
    client->curl_error[0] = '\0';
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, client->curl_error);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "slipway/" SW_VERSION);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)client->options.connect_timeout_ms);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
    if (client->local) {
        curl_easy_setopt(curl, CURLOPT_PROXY, "");
    }
}

/* Runs what was set up. */
static sw_status perform(struct transfer *t, struct sw_answer *ret, struct sw_error *err) {
    t->moved_ns = sw_now_ns(t->client->options.clock);
    CURLcode code = curl_easy_perform(t->client->curl);
    long http = response_code(t);
    sw_answer_deinit(ret);
    ret->retry_after_s = t->retry_after_s;
    /* A server that refuses an upload answers and closes before it has read all: its answer counts, not the broken
     * pipe. */
    bool answered = http >= 300 && (code == CURLE_OK || code == CURLE_SEND_ERROR);
    if (code != CURLE_OK && !answered) {
        ret->may_pass = code_may_pass(code) && !t->read_fault.code && !t->sink_failed;
        return connection_error(t, code, err);
    }
    ret->status = (int)http;
    ret->json = t->body.len ? json_loadb(t->body.data, t->body.len, 0, NULL) : NULL;
    if (http >= 300) {
        ret->may_pass = status_may_pass(http);
        return answer_error(t, http, ret->json, err);
    }
    if (t->body.len && !ret->json) {
        return sw_fail(err, SW_E_IO, "%s answered %ld, but not with JSON; is it a Slipway server?", t->client->server,
                       http);
    }
    return SW_OK;
}

static char *url_of(const struct sw_client *client, const char *path) {
    size_t size = strlen(client->server) + strlen(path) + 1;
    char *url = sw_xmalloc(size);
    snprintf(url, size, "%s%s", client->server, path);
    return url;
}

sw_status sw_client_call(struct sw_client *client, const char *method, const char *path, const json_t *body,
                         struct sw_answer *ret, struct sw_error *err) {
    struct transfer t = {.client = client};
    char *url SW_AUTO_FREE = url_of(client, path);
    char *text SW_AUTO_FREE = sw_json_compact(body);
    struct curl_slist content = {(char *)"Content-Type: application/json", client->headers};
    struct curl_slist plain = {(char *)"Accept: application/json", text ? &content : client->headers};
    sw_buf_init(&t.body, SW_CLIENT_ANSWER_MAX + 1);
    set_common(&t, url);
    curl_easy_setopt(client->curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, &plain);
    if (text) {
        curl_easy_setopt(client->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(text));
        curl_easy_setopt(client->curl, CURLOPT_POSTFIELDS, text);
    } else if (!strcmp(method, "POST")) {
        curl_easy_setopt(client->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)0);
        curl_easy_setopt(client->curl, CURLOPT_POSTFIELDS, "");
    }
    sw_status status = perform(&t, ret, err);
    sw_buf_deinit(&t.body);
    return status;
}

sw_status sw_client_put(struct sw_client *client, const char *path, const struct sw_client_source *source,
                        struct sw_answer *ret, struct sw_error *err) {
    struct transfer t = {.client = client, .source = source};
    char *url SW_AUTO_FREE = url_of(client, path);
    struct curl_slist content = {(char *)"Content-Type: application/octet-stream", client->headers};
    sw_buf_init(&t.body, SW_CLIENT_ANSWER_MAX + 1);
    set_common(&t, url);
    curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, &content);
    curl_easy_setopt(client->curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(client->curl, CURLOPT_UPLOAD_BUFFERSIZE, (long)TRANSFER_BUFFER);
    curl_easy_setopt(client->curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)source->length);
    curl_easy_setopt(client->curl, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(client->curl, CURLOPT_READDATA, &t);
    curl_easy_setopt(client->curl, CURLOPT_SEEKFUNCTION, on_seek);
    curl_easy_setopt(client->curl, CURLOPT_SEEKDATA, &t);
    sw_status status = perform(&t, ret, err);
    sw_buf_deinit(&t.body);
    return status;
}

sw_status sw_client_get(struct sw_client *client, const char *path, const struct sw_client_sink *sink,
                        struct sw_answer *ret, struct sw_error *err) {
    struct transfer t = {.client = client, .sink = sink};
    char *url SW_AUTO_FREE = url_of(client, path);
    char range[32];
    sw_buf_init(&t.body, SW_CLIENT_ANSWER_MAX + 1);
    set_common(&t, url);
    curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, client->headers);
    curl_easy_setopt(client->curl, CURLOPT_BUFFERSIZE, (long)TRANSFER_BUFFER);
    if (sink->offset) {
        snprintf(range, sizeof range, "%llu-", (unsigned long long)sink->offset);
        curl_easy_setopt(client->curl, CURLOPT_RANGE, range);
    }
    sw_status status = perform(&t, ret, err);
    if (!status && !t.sink_begun && !sink->begin(sink->arg, 0)) { /* an empty file */
        status = sw_fail(err, sink->fault->code, "%s", sink->fault->message);
    }
    sw_buf_deinit(&t.body);
    return status;
}
