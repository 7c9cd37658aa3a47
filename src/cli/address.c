/* Hosts and URLs; see address.h. */
#include "cli/address.h"

#include <arpa/inet.h>
#include <stdarg.h>

enum { PATH_BYTES_MAX = 16384 };

bool sw_is_loopback(const char *host) {
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) == 1) {
        return ntohl(v4.s_addr) >> 24 == 127;
    }
    if (inet_pton(AF_INET6, host, &v6) == 1) {
        bool mapped = IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127;
        return IN6_IS_ADDR_LOOPBACK(&v6) || mapped;
    }
    return strcasecmp(host, "localhost") == 0;
}

void sw_format_url(const char *host, uint16_t port, char *ret, size_t size) {
    if (!strcmp(host, "0.0.0.0") || !strcmp(host, "::")) {
        host = "localhost"; /* any address: this one works from here */
    }
    bool brackets = strchr(host, ':') != NULL;
    snprintf(ret, size, "http://%s%s%s:%u", brackets ? "[" : "", host, brackets ? "]" : "", port);
}

void sw_url_escape(struct sw_buf *out, struct sw_str s) {
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (c && strchr(plain, c)) {
            sw_buf_append_c(out, (char)c);
        } else {
            sw_buf_printf(out, "%%%02X", c);
        }
    }
}

char *sw_url_path(const char *start, ...) {
    struct sw_buf out;
    va_list parts;
    const char *part;
    sw_buf_init(&out, PATH_BYTES_MAX);
    sw_buf_append_str(&out, sw_str_of(start));
    va_start(parts, start);
    while ((part = va_arg(parts, const char *))) {
        sw_buf_append_c(&out, '/');
        sw_url_escape(&out, sw_str_of(part));
    }
    va_end(parts);
    SW_ASSERT(!out.failed); /* texts from the command line, checked or short */
    return out.data;
}
