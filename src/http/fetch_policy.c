/* What may be fetched: the lists of the policy, and URLs held against them. */
#include <ctype.h>

#include "base/memory.h"
#include "http/fetch_internal.h"

enum { ENTRIES_MAX = 1024 };

/* ---- lists */

static struct sw_str without_dot(struct sw_str host) {
    host.len -= host.len && host.data[host.len - 1] == '.';
    return host;
}

static char *lower_copy(struct sw_str text) {
    char *copy = sw_xstrndup(text.data, text.len);
    for (char *p = copy; *p; p++) {
        *p = (char)tolower((unsigned char)*p);
    }
    return copy;
}

/* A name or an address: letters, digits, dots and hyphens, or an IPv6 address. */
static bool is_host(struct sw_str host) {
    for (size_t i = 0; i < host.len; i++) {
        if (!isalnum((unsigned char)host.data[i]) && !strchr(".-_:", host.data[i])) {
            return false;
        }
    }
    return host.len > 0 && host.len <= SW_FETCH_HOST_MAX && host.data[0] != '.';
}

static sw_status add_host(struct sw_fetcher *f, struct sw_str text, struct sw_error *err) {
    bool wild = sw_str_starts(text, SW_STR("*."));
    struct sw_str name = without_dot(wild ? (struct sw_str){text.data + 2, text.len - 2} : text);
    if (text.len > 2 && text.data[0] == '[' && text.data[text.len - 1] == ']') {
        name = (struct sw_str){text.data + 1, text.len - 2};
    }
    if (!sw_str_is(text, "*") && !is_host(name)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT,
                       "hosts: '" SW_STR_FMT "' must be a host name, *.NAME for all below it, or * for any",
                       SW_STR_ARG(text));
    }
    name = wild ? (struct sw_str){text.data, name.len + 2} : sw_str_is(text, "*") ? text : name;
    f->hosts[f->host_count++] = lower_copy(name);
    return SW_OK;
}

static sw_status add_port(struct sw_fetcher *f, struct sw_str text, struct sw_error *err) {
    uint64_t port;
    if (!sw_parse_u64(text, &port) || port == 0 || port > UINT16_MAX) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "ports: '" SW_STR_FMT "' is no port", SW_STR_ARG(text));
    }
    f->ports[f->port_count++] = (uint16_t)port;
    return SW_OK;
}

static sw_status add_network(struct sw_fetcher *f, struct sw_str text, struct sw_error *err) {
    if (sw_network_parse(text, &f->networks[f->network_count], err)) {
        return err ? sw_error_prefix(err, "networks") : SW_E_INVALID_ARGUMENT;
    }
    f->network_count++;
    return SW_OK;
}

static size_t count_entries(const char *list) {
    size_t n = 1;
    for (; *list; list++) {
        n += *list == ',';
    }
    return n;
}

static sw_status read_list(struct sw_fetcher *f, const char *list,
                           sw_status (*add)(struct sw_fetcher *f, struct sw_str text, struct sw_error *err),
                           struct sw_error *err) {
    struct sw_str rest = sw_str_of(list), entry;
    while (rest.data) {
        rest = sw_str_split(rest, ',', &entry);
        entry = sw_str_trim(entry);
        if (entry.len) {
            SW_TRY(add(f, entry, err));
        }
    }
    return SW_OK;
}

sw_status fetch_policy_read(struct sw_fetcher *f, struct sw_error *err) {
    const struct sw_fetch_options *o = &f->options;
    const char *hosts = o->hosts ? o->hosts : "", *ports = o->ports ? o->ports : "80,443";
    const char *networks = o->networks ? o->networks : "";
    size_t n[] = {count_entries(hosts), count_entries(ports), count_entries(networks)};
    if (n[0] > ENTRIES_MAX || n[1] > ENTRIES_MAX || n[2] > ENTRIES_MAX) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "a list has more than %d entries", ENTRIES_MAX);
    }
    f->hosts = sw_xcalloc(n[0], sizeof *f->hosts);
    f->ports = sw_xcalloc(n[1], sizeof *f->ports);
    f->networks = sw_xcalloc(n[2], sizeof *f->networks);
    SW_TRY(read_list(f, hosts, add_host, err));
    SW_TRY(read_list(f, ports, add_port, err));
    return read_list(f, networks, add_network, err);
}

void fetch_policy_clear(struct sw_fetcher *f) {
    for (size_t i = 0; i < f->host_count; i++) {
        sw_free(f->hosts[i]);
    }
    sw_free(f->hosts);
    sw_free(f->ports);
    sw_free(f->networks);
}

/* ---- questions */

bool fetch_allows_address(const struct sw_fetcher *f, const struct sockaddr *address) {
    for (size_t i = 0; i < f->network_count; i++) {
        if (sw_network_has(&f->networks[i], address)) {
            return true;
        }
    }
    return sw_address_is_public(address);
}

bool fetch_allows_host(const struct sw_fetcher *f, const char *name) {
    struct sw_str host = sw_str_of(name);
    for (size_t i = 0; i < f->host_count; i++) {
        const char *entry = f->hosts[i];
        if (!strcmp(entry, "*") || !strcmp(entry, name)) {
            return true;
        }
        /* "*.example.org": what ends in ".example.org", and is longer */
        struct sw_str suffix = sw_str_of(entry + (entry[0] == '*'));
        if (entry[0] == '*' && host.len > suffix.len && sw_str_ends(host, suffix)) {
            return true;
        }
    }
    return false;
}

static bool allows_port(const struct sw_fetcher *f, uint16_t port) {
    for (size_t i = 0; i < f->port_count; i++) {
        if (f->ports[i] == port) {
            return true;
        }
    }
    return false;
}

/* ---- URLs */

static sw_status check_text(const char *url, struct sw_error *err) {
    size_t len = strlen(url);
    if (len > SW_FETCH_URL_MAX) {
        return sw_fail(err, SW_E_UNPROCESSABLE, "longer than %d bytes", SW_FETCH_URL_MAX);
    }
    for (size_t i = 0; i < len; i++) {
        if (url[i] <= ' ' || url[i] > '~' || url[i] == '\\') {
            return sw_fail(err, SW_E_UNPROCESSABLE, "byte %zu must be percent-encoded", i);
        }
    }
    return SW_OK;
}

static sw_status read_scheme(struct fetch_target *t, struct sw_error *err) {
    char *scheme = NULL;
    curl_url_get(t->url, CURLUPART_SCHEME, &scheme, 0);
    bool http = scheme && !strcasecmp(scheme, "http");
    t->https = scheme && !strcasecmp(scheme, "https");
    curl_free(scheme);
    return http || t->https ? SW_OK : sw_fail(err, SW_E_UNPROCESSABLE, "only http and https are fetched");
}

static sw_status read_host(struct fetch_target *t, struct sw_error *err) {
    char *zone = NULL, *text = NULL;
    bool zoned = curl_url_get(t->url, CURLUPART_ZONEID, &zone, 0) == CURLUE_OK;
    curl_free(zone);
    if (zoned || curl_url_get(t->url, CURLUPART_HOST, &text, 0) != CURLUE_OK) {
        curl_free(text);
        return sw_fail(err, SW_E_UNPROCESSABLE, "not an absolute URL of a host");
    }
    struct sw_str whole = sw_str_of(text), host = without_dot(whole);
    if (host.len > 2 && host.data[0] == '[') {
        host = (struct sw_str){host.data + 1, host.len - 2};
    }
    bool good = is_host(host);
    for (size_t i = 0; good && i < host.len; i++) {
        t->name[i] = (char)tolower((unsigned char)host.data[i]);
        t->name[i + 1] = '\0';
    }
    /* libcurl looks for what is pinned without the dot; so that there is one spelling only, it is taken off. */
    bool dotted = whole.len && whole.data[whole.len - 1] == '.';
    if (good && dotted && curl_url_set(t->url, CURLUPART_HOST, t->name, 0) != CURLUE_OK) {
        good = false;
    }
    sw_status status = good ? SW_OK : sw_fail(err, SW_E_UNPROCESSABLE, "'%.100s' is no host name", text);
    curl_free(text);
    return status;
}

static sw_status read_port(struct fetch_target *t, struct sw_error *err) {
    char *text = NULL;
    uint64_t port = 0;
    bool good = curl_url_get(t->url, CURLUPART_PORT, &text, CURLU_DEFAULT_PORT) == CURLUE_OK &&
                sw_parse_u64(sw_str_of(text), &port) && port > 0 && port <= UINT16_MAX;
    curl_free(text);
    t->port = (uint16_t)port;
    return good ? SW_OK : sw_fail(err, SW_E_UNPROCESSABLE, "the port is not one");
}

sw_status fetch_target_read(const struct sw_fetcher *f, const char *url, struct fetch_target *t, struct sw_error *err) {
    SW_TRY(check_text(url, err));
    t->url = curl_url();
    if (!t->url) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
    }
    CURLUcode code = curl_url_set(t->url, CURLUPART_URL, url, CURLU_DISALLOW_USER | CURLU_NON_SUPPORT_SCHEME);
    if (code == CURLUE_USER_NOT_ALLOWED) {
        return sw_fail(err, SW_E_UNPROCESSABLE, "must not contain a user name or password");
    }
    if (code != CURLUE_OK) {
        return sw_fail(err, code == CURLUE_OUT_OF_MEMORY ? SW_E_UNAVAILABLE : SW_E_UNPROCESSABLE,
                       "not an absolute URL: %s", curl_url_strerror(code));
    }
    SW_TRY(read_scheme(t, err));
    SW_TRY(read_host(t, err));
    SW_TRY(read_port(t, err));
    if (!fetch_allows_host(f, t->name)) {
        return sw_fail(err, SW_E_UNPROCESSABLE, "host '%.100s' is not one that may be fetched from", t->name);
    }
    if (!allows_port(f, t->port)) {
        return sw_fail(err, SW_E_UNPROCESSABLE, "port %u is not one that may be fetched from", t->port);
    }
    return SW_OK;
}

void fetch_target_clear(struct fetch_target *t) {
    if (t->url) {
        curl_url_cleanup(t->url);
    }
    t->url = NULL;
}
