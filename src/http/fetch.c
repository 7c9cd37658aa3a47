/* The transfer: one hop after the other until an answer that is no redirect; see fetch.h. */
#include <arpa/inet.h>
#include <pthread.h>
#include <strings.h>

#include "base/memory.h"
#include "http/fetch_internal.h"

enum {
    HEADER_BYTES_MAX = 64 * 1024,
    PIN_MAX = SW_FETCH_HOST_MAX + 16 + SW_FETCH_ADDRESSES_MAX * (INET6_ADDRSTRLEN + 3),
};

/* One sw_fetch. */
struct fetch {
    struct sw_fetcher *fetcher;
    struct sw_fetched *result;
    uint64_t start_ns, end_ns;
    /* of the hop */
    struct fetch_target target;
    CURL *curl;
    bool blocked; /* the socket's address was not allowed */
    size_t header_bytes;
    bool answered;  /* another status than 200: its body is not read */
    sw_status full; /* why the body was not read to its end */
};

/* ---- life */

static void init_curl(void) {
    SW_ASSERT(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
}

sw_status sw_fetcher_create(const struct sw_fetch_options *options, struct sw_fetcher **ret, struct sw_error *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_curl);
    struct sw_fetcher *f = SW_NEW(struct sw_fetcher);
    f->options = *options;
    if (fetch_policy_read(f, err)) {
        sw_fetcher_destroy(f);
        return SW_E_INVALID_ARGUMENT;
    }
    f->options.hosts = f->options.ports = f->options.networks = NULL; /* borrowed for create only */
    *ret = f;
    return SW_OK;
}

void sw_fetcher_destroy(struct sw_fetcher *f) {
    if (f) {
        SW_ASSERT(atomic_load(&f->held) == 0);
        fetch_policy_clear(f);
        sw_free(f);
    }
}

void sw_fetched_drop(struct sw_fetched *fetched) {
    if (fetched->fetcher) {
        atomic_fetch_sub(&fetched->fetcher->held, fetched->charged);
        sw_buf_deinit(&fetched->buf);
        *fetched = (struct sw_fetched){.fetcher = NULL};
    }
}

static uint64_t left_ms(const struct fetch *f) {
    uint64_t now = sw_now_ns(f->fetcher->options.clock);
    return now < f->end_ns ? (f->end_ns - now + 999999) / 1000000 : 0;
}

/* ---- what libcurl asks and brings */

/* The last word on where a connection goes: this is the address that connect() gets. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address) {
    struct fetch *f = arg;
    if (purpose != CURLSOCKTYPE_IPCXN || !fetch_allows_address(f->fetcher, &address->addr)) {
        f->blocked = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* Room for n more bytes, charged before they are taken. */
static sw_status charge(struct fetch *f, size_t n) {
    struct sw_fetcher *fetcher = f->fetcher;
    if (n > fetcher->options.bytes_max - f->result->buf.len) {
        return SW_E_TOO_LARGE;
    }
    uint64_t held = atomic_fetch_add(&fetcher->held, n);
    f->result->charged += n;
    return held + n > fetcher->options.held_max ? SW_E_UNAVAILABLE : SW_OK;
}

static long status_of(const struct fetch *f) {
    long status = 0;
    curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

/* Of an answer, redirects' and trailers too; libcurl keeps them all in memory. */
static size_t take_header(char *data, size_t size, size_t count, void *arg) {
    struct fetch *f = arg;
    f->header_bytes += size * count;
    return f->header_bytes <= HEADER_BYTES_MAX ? size * count : 0;
}

static size_t take_body(char *data, size_t size, size_t count, void *arg) {
    struct fetch *f = arg;
    size_t n = size * count;
    if (status_of(f) != 200) {
        f->answered = true;
        return CURL_WRITEFUNC_ERROR;
    }
    f->full = charge(f, n);
    if (f->full) {
        return CURL_WRITEFUNC_ERROR;
    }
    sw_buf_append(&f->result->buf, data, n);
    if (f->result->buf.failed) {
        f->full = SW_E_UNAVAILABLE;
        return CURL_WRITEFUNC_ERROR;
    }
    return n;
}

/* ---- one hop */

/* "host:port:address,address": libcurl takes these for the host and asks nobody. */
static struct curl_slist *pin(const struct fetch_target *t) {
    char text[PIN_MAX];
    int n = snprintf(text, sizeof text, "%s:%u:", t->name, t->port);
    for (size_t i = 0; i < t->addresses.count; i++) {
        const struct sockaddr_storage *a = &t->addresses.items[i];
        const void *bytes = a->ss_family == AF_INET6 ? (const void *)&((const struct sockaddr_in6 *)a)->sin6_addr
                                                     : (const void *)&((const struct sockaddr_in *)a)->sin_addr;
        char address[INET6_ADDRSTRLEN];
        SW_ASSERT(inet_ntop(a->ss_family, bytes, address, sizeof address));
        n += snprintf(text + n, sizeof text - (size_t)n, a->ss_family == AF_INET6 ? "%s[%s]" : "%s%s", i ? "," : "",
                      address);
        SW_ASSERT(n > 0 && (size_t)n < sizeof text);
    }
    return curl_slist_append(NULL, text);
}

static void set_up(struct fetch *f, struct curl_slist *pins) {
    const struct sw_fetch_options *o = &f->fetcher->options;
    CURL *curl = f->curl;
    uint64_t left = left_ms(f), connect = o->connect_timeout_ms < left ? o->connect_timeout_ms : left;
    curl_easy_setopt(curl, CURLOPT_CURLU, f->target.url);
    curl_easy_setopt(curl, CURLOPT_RESOLVE, pins);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, f);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* neither http_proxy nor the like */
    curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_HTTP09_ALLOWED, 0L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "slipway/" SW_VERSION);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)(connect ? connect : 1));
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(left ? left : 1));
    curl_easy_setopt(curl, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)o->bytes_max);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, f);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, f);
}

static sw_status too_slow(const struct fetch *f, struct sw_error *err) {
    return sw_fail(err, SW_E_DEADLINE_EXCEEDED, "host '%.100s' did not answer within %llu ms", f->target.name,
                   (unsigned long long)(f->end_ns > f->start_ns ? (f->end_ns - f->start_ns) / 1000000 : 0));
}

static sw_status too_large(const struct fetch *f, struct sw_error *err) {
    return sw_fail(err, SW_E_TOO_LARGE, "larger than %llu bytes", (unsigned long long)f->fetcher->options.bytes_max);
}

/* In words of our own: libcurl's name addresses and ports. */
static sw_status explain(const struct fetch *f, CURLcode code, struct sw_error *err) {
    if (f->blocked) {
        return sw_fail(err, SW_E_UNPROCESSABLE, "host '%.100s' is not at a public address", f->target.name);
    }
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT: return too_slow(f, err);
    case CURLE_FILESIZE_EXCEEDED: return too_large(f, err);
    case CURLE_OUT_OF_MEMORY: return sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
    case CURLE_WRITE_ERROR:
        if (f->header_bytes > HEADER_BYTES_MAX) {
            return sw_fail(err, SW_E_UNPROCESSABLE, "host '%.100s' sent more than %d bytes of headers", f->target.name,
                           HEADER_BYTES_MAX);
        }
        if (f->full == SW_E_TOO_LARGE) {
            return too_large(f, err);
        }
        return sw_fail(err, SW_E_UNAVAILABLE, "no memory is left for files of other servers");
    default:
        return sw_fail(err, SW_E_UNPROCESSABLE, "fetching from host '%.100s' failed: %s", f->target.name,
                       curl_easy_strerror(code));
    }
}

static sw_status transfer(struct fetch *f, struct sw_error *err) {
    struct curl_slist *pins = f->target.numeric ? NULL : pin(&f->target);
    if (!pins && !f->target.numeric) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
    }
    set_up(f, pins);
    CURLcode code = curl_easy_perform(f->curl);
    curl_easy_setopt(f->curl, CURLOPT_RESOLVE, NULL);
    curl_slist_free_all(pins);
    return code == CURLE_OK || (f->answered && code == CURLE_WRITE_ERROR) ? SW_OK : explain(f, code, err);
}

static bool is_redirect(long status) {
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* Where a redirect leads, on the heap; NULL: the answer does not say. A relative address begins where this hop was. */
static sw_status next_hop(const struct fetch *f, char **ret_next, struct sw_error *err) {
    struct curl_header *location;
    if (curl_easy_header(f->curl, "Location", 0, CURLH_HEADER, -1, &location) != CURLHE_OK) {
        return SW_OK;
    }
    CURLU *url = curl_url_dup(f->target.url);
    char *text = NULL;
    CURLUcode code = url ? curl_url_set(url, CURLUPART_URL, location->value, CURLU_NON_SUPPORT_SCHEME)
                         : CURLUE_OUT_OF_MEMORY;
    code = code ? code : curl_url_get(url, CURLUPART_URL, &text, 0);
    curl_url_cleanup(url);
    if (code != CURLUE_OK) {
        return sw_fail(err, code == CURLUE_OUT_OF_MEMORY ? SW_E_UNAVAILABLE : SW_E_UNPROCESSABLE,
                       "host '%.100s' redirects to what is no URL", f->target.name);
    }
    *ret_next = sw_xstrndup(text, strnlen(text, SW_FETCH_URL_MAX + 1));
    curl_free(text);
    return SW_OK;
}

/* *ret_next: the address of the next hop, on the heap; NULL: the body is here. */
static sw_status take_answer(const struct fetch *f, char **ret_next, struct sw_error *err) {
    long status = status_of(f);
    char *next = NULL;
    if (is_redirect(status)) {
        SW_TRY(next_hop(f, &next, err));
    }
    if (next && f->target.https && strncasecmp(next, "https:", 6) != 0) {
        sw_free(next);
        return sw_fail(err, SW_E_UNPROCESSABLE, "host '%.100s' redirects from https to http", f->target.name);
    }
    if (next) {
        *ret_next = next;
        return SW_OK;
    }
    if (status != 200) {
        return sw_fail(err, SW_E_UNPROCESSABLE, "host '%.100s' answered %ld", f->target.name, status);
    }
    if (f->result->buf.len == 0) {
        return sw_fail(err, SW_E_UNPROCESSABLE, "host '%.100s' sent nothing", f->target.name);
    }
    return SW_OK;
}

static sw_status hop(struct fetch *f, const char *url, char **ret_next, struct sw_error *err) {
    uint64_t left = left_ms(f);
    SW_TRY(fetch_target_read(f->fetcher, url, &f->target, err));
    if (left == 0) {
        return too_slow(f, err);
    }
    SW_TRY(fetch_resolve(f->fetcher, &f->target, left, err));
    f->blocked = f->answered = false;
    f->header_bytes = 0;
    f->curl = curl_easy_init();
    if (!f->curl) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
    }
    SW_TRY(transfer(f, err));
    return take_answer(f, ret_next, err);
}

static void end_hop(struct fetch *f) {
    if (f->curl) {
        curl_easy_cleanup(f->curl);
        f->curl = NULL;
    }
    fetch_target_clear(&f->target);
}

/* ---- all hops */

static sw_status follow(struct fetch *f, char *url, struct sw_error *err) {
    for (unsigned hops = 0; url; hops++) {
        char *next = NULL;
        sw_status status = hops <= f->fetcher->options.redirects_max
                               ? hop(f, url, &next, err)
                               : sw_fail(err, SW_E_UNPROCESSABLE, "redirected more than %u times",
                                         f->fetcher->options.redirects_max);
        end_hop(f);
        if (status && hops > 0 && err) {
            sw_error_prefix(err, "redirected");
        }
        sw_free(url);
        SW_TRY(status);
        url = next;
    }
    return SW_OK;
}

sw_status sw_fetch(struct sw_fetcher *fetcher, struct sw_str url, uint64_t start_ns, uint64_t deadline_ns,
                   struct sw_fetched *ret, struct sw_error *err) {
    struct sw_fetched fetched = {.fetcher = fetcher};
    struct fetch f = {.fetcher = fetcher, .result = &fetched};
    if (memchr(url.data ? url.data : "", '\0', url.len)) {
        return sw_fail(err, SW_E_UNPROCESSABLE, "contains a NUL");
    }
    f.start_ns = start_ns;
    f.end_ns = start_ns + fetcher->options.timeout_ms * 1000000;
    f.end_ns = deadline_ns && deadline_ns < f.end_ns ? deadline_ns : f.end_ns;
    sw_buf_init(&fetched.buf, fetcher->options.bytes_max + 1);
    char *copy = sw_xstrndup(url.data, url.len < SW_FETCH_URL_MAX + 1 ? url.len : SW_FETCH_URL_MAX + 1);
    sw_status status = follow(&f, copy, err);
    if (status) {
        sw_fetched_drop(&fetched);
        return status;
    }
    fetched.bytes = sw_buf_str(&fetched.buf);
    *ret = fetched;
    return SW_OK;
}
