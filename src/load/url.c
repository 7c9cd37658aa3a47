/* Parser of URLs; see url.h. */
#include "load/url.h"

#include "base/memory.h"

enum { PORT_HTTP = 80, PORT_HTTPS = 443, HOST_MAX = 255 };

static sw_status take_scheme(struct sw_str *rest, bool *ret_tls, struct sw_str whole, struct sw_error *err) {
    static const struct sw_str http = {"http://", 7}, https = {"https://", 8};
    struct sw_str head = {rest->data, rest->len < https.len ? rest->len : https.len};
    if (sw_str_ieq(head, https)) {
        *ret_tls = true;
        *rest = (struct sw_str){rest->data + https.len, rest->len - https.len};
        return SW_OK;
    }
    head.len = head.len < http.len ? head.len : http.len;
    *ret_tls = false;
    if (sw_str_ieq(head, http)) {
        *rest = (struct sw_str){rest->data + http.len, rest->len - http.len};
        return SW_OK;
    }
    for (size_t i = 0; i + 2 < rest->len && rest->data[i] != '/' && rest->data[i] != '?'; i++) {
        if (memcmp(rest->data + i, "://", 3) == 0) {
            return sw_fail(err, SW_E_USAGE, "'" SW_STR_FMT "' is neither http:// nor https://", SW_STR_ARG(whole));
        }
    }
    return SW_OK;
}

/* "host", "host:80", "[::1]:80" */
static sw_status split_authority(struct sw_str authority, struct sw_str *ret_host, struct sw_str *ret_port,
                                 struct sw_error *err) {
    if (memchr(authority.data, '@', authority.len)) {
        return sw_fail(err, SW_E_USAGE, "user names in a URL are not supported; give a header instead");
    }
    if (authority.len == 0 || authority.data[0] != '[') {
        *ret_port = sw_str_split(authority, ':', ret_host);
        return SW_OK;
    }
    const char *end = memchr(authority.data, ']', authority.len);
    size_t host_len = end ? (size_t)(end - authority.data) : 0;
    struct sw_str behind = {end ? end + 1 : NULL, end ? authority.len - host_len - 1 : 0};
    if (!end || (behind.len && behind.data[0] != ':')) {
        return sw_fail(err, SW_E_USAGE, "'" SW_STR_FMT "' is no [address]:port", SW_STR_ARG(authority));
    }
    *ret_host = (struct sw_str){authority.data + 1, host_len - 1};
    *ret_port = behind.len ? (struct sw_str){behind.data + 1, behind.len - 1} : (struct sw_str){0};
    return SW_OK;
}

/* Letters, digits and -._ of names; ':' of IPv6 addresses and '%' of their zones only in brackets. */
static bool host_is_valid(struct sw_str host, bool brackets) {
    for (size_t i = 0; i < host.len; i++) {
        char c = host.data[i], lower = (char)(c | 0x20);
        bool plain = (c >= '0' && c <= '9') || (lower >= 'a' && lower <= 'z') || c == '-' || c == '.' || c == '_';
        if (!plain && !(brackets && (c == ':' || c == '%'))) {
            return false;
        }
    }
    return host.len > 0 && host.len <= HOST_MAX;
}

static sw_status check_bytes(struct sw_str text, struct sw_error *err) {
    if (text.len > SW_LOAD_URL_MAX) {
        return sw_fail(err, SW_E_USAGE, "a URL of more than %d bytes", SW_LOAD_URL_MAX);
    }
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c <= ' ' || c >= 0x7f) {
            return sw_fail(err, SW_E_USAGE,
                           "'" SW_STR_FMT "': blanks and characters beyond ASCII must be escaped (%%20)",
                           SW_STR_ARG(text));
        }
    }
    return SW_OK;
}

static char *make_authority(struct sw_str host, bool brackets, uint64_t port, bool show_port) {
    char *text = sw_xmalloc(host.len + 16);
    int n = snprintf(text, host.len + 16, "%s%.*s%s", brackets ? "[" : "", (int)host.len, host.data,
                     brackets ? "]" : "");
    if (show_port) {
        snprintf(text + n, host.len + 16 - (size_t)n, ":%llu", (unsigned long long)port);
    }
    return text;
}

static char *make_target(struct sw_str rest) {
    const char *fragment = rest.len ? memchr(rest.data, '#', rest.len) : NULL;
    size_t len = fragment ? (size_t)(fragment - rest.data) : rest.len;
    bool slash = len == 0 || rest.data[0] != '/';
    char *target = sw_xmalloc(len + 2);
    snprintf(target, len + 2, "%s%.*s", slash ? "/" : "", (int)len, len ? rest.data : "");
    return target;
}

sw_status sw_load_url_parse(struct sw_str text, struct sw_load_url *ret, struct sw_error *err) {
    bool tls;
    struct sw_str rest = text, host, port_text;
    uint64_t port;
    SW_TRY(check_bytes(text, err));
    SW_TRY(take_scheme(&rest, &tls, text, err));
    size_t end = 0;
    while (end < rest.len && !strchr("/?#", rest.data[end])) {
        end++;
    }
    struct sw_str authority = {rest.data, end};
    SW_TRY(split_authority(authority, &host, &port_text, err));
    bool brackets = authority.len && authority.data[0] == '[';
    if (!host_is_valid(host, brackets)) {
        return sw_fail(err, SW_E_USAGE, "'" SW_STR_FMT "' has no valid host", SW_STR_ARG(text));
    }
    port = tls ? PORT_HTTPS : PORT_HTTP;
    if (port_text.data && (!sw_parse_u64(port_text, &port) || port == 0 || port > UINT16_MAX)) {
        return sw_fail(err, SW_E_USAGE, "'" SW_STR_FMT "' is no port; it must be a number from 1 to 65535",
                       SW_STR_ARG(port_text));
    }
    *ret = (struct sw_load_url){
        .tls = tls,
        .host = sw_xstrndup(host.data, host.len),
        .target = make_target((struct sw_str){rest.data + end, rest.len - end}),
        .authority = make_authority(host, brackets, port, port != (tls ? PORT_HTTPS : PORT_HTTP)),
        .port = (uint16_t)port,
    };
    return SW_OK;
}

void sw_load_url_deinit(struct sw_load_url *url) {
    sw_free(url->host);
    sw_free(url->target);
    sw_free(url->authority);
    *url = (struct sw_load_url){0};
}
