/* Hosts and URLs; see address.h. */
#include "cli/address.h"

#include <arpa/inet.h>

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
